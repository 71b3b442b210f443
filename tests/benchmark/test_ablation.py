"""Ablations: what is run, what is kept, and whether their verdicts are right where the truth is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from benchmark import ablation, intervals
from benchmark.ablation import AblationError, Arm, Bench, Result, Run, differences, load_arms, plan, run_all, study
from benchmark.ablation_report import Setup, write_report
from benchmark.confusion import macro_f1
from benchmark.evaluate import evaluate
from benchmark.report import write_report as write_board
from benchmark.score import read_scores
from benchmark.task import Task
from slap_model import config
from tests.benchmark import made_up
from tests.benchmark.world import KEY, Ear, World, pick

ARMS = (Arm("plain", "nothing", ("loss.mask=0.7",)), Arm("other", "the mask", ("loss.mask=0.7", "loss.mask=0.5")))


# --- arms and plans -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "tiny", "small", "base", "fast"])
def test_our_arms_go_with_every_configuration(name: str) -> None:
    arms = load_arms()
    settings = [config.load(name, arm.overrides) for arm in arms]
    assert settings[0].loss.contrastive == "clip" and settings[0].data.captions == "full"
    assert len({str(one) for one in settings}) == len(arms)  # no arm is another, whatever it starts from


def test_each_single_arm_changes_one_thing_of_the_first() -> None:
    first, *others = load_arms()
    for arm in others:
        assert arm.overrides[: len(first.overrides)] == first.overrides
        assert arm.name in ("entailment-mixed", "fast", "shared-pass") or len(arm.overrides) == len(first.overrides) + 1


def test_arms_are_chosen_by_name_and_the_first_stays() -> None:
    assert [arm.name for arm in load_arms(names=["siglip", "flip"])] == ["paper", "siglip", "flip"]
    with pytest.raises(AblationError, match="no arm sigmoid; known: paper, entailment"):
        load_arms(names=["sigmoid"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[arm]]\nname = 'a'\nset = []", "arm 1 must have name, about and set"),
        ("[[arm]]\nname = 'a'\nabout = 'b'\nset = []\nsteps = 3", "and nothing else"),
        ("arm = 3", "there must be"),
        ("", "there must be"),
        ("[[arm]", "arms.toml"),
        ("[[arm]]\nname = 'a'\nabout = 'b'\nset = []\n" * 2, "a name of its own"),
    ],
)
def test_a_file_of_arms_is_checked(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "arms.toml").write_text(text)
    with pytest.raises(AblationError, match=message):
        load_arms(tmp_path / "arms.toml")


def manifest(folder: Path, mark: str = "a") -> Path:
    """A manifest of no shards, as far as a plan looks at it."""
    file = folder / "manifests" / f"{mark}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    files = {name: {"path": f"captions/{name}", "sha256": mark} for name in ("facts", "captions", "vectors")}
    shard = {"path": "shards/toy.tar", "samples": 48, "seconds": 3600.0, "corpus": "toy", "split": "train"}
    trained_on = {"corpora": ["toy"], "languages": ["it"], "labels": ["sex"]}
    values = {**files, "shards": [shard], "shares": {"toy": 1.0}, "tower": "x", "trained_on": trained_on}
    file.write_text(json.dumps(values))
    return file


def test_a_folder_is_named_by_configuration_and_data(tmp_path: Path) -> None:
    runs = plan(ARMS, (0, 1), "demo", ("train.steps=2",), manifest(tmp_path), tmp_path)
    assert [(run.arm, run.seed) for run in runs] == [("plain", 0), ("other", 0), ("plain", 1), ("other", 1)]
    assert len({run.folder for run in runs}) == 4
    assert runs == plan(ARMS, (0, 1), "demo", ("train.steps=2",), manifest(tmp_path), tmp_path)
    for changed in (
        plan(ARMS, (0, 1), "demo", ("train.steps=3",), manifest(tmp_path), tmp_path),
        plan(ARMS, (0, 1), "demo", ("train.steps=2",), manifest(tmp_path, "b"), tmp_path),
    ):
        assert {run.folder for run in changed}.isdisjoint(run.folder for run in runs)
    twin = Arm("twin", "the same in other words", ("loss.mask=0.5",))
    assert plan((ARMS[1], twin), (0,), "demo", (), manifest(tmp_path), tmp_path)[1].folder == (
        plan(ARMS, (0,), "demo", (), manifest(tmp_path), tmp_path)[1].folder
    )


def test_an_arm_that_does_not_go_with_the_configuration_stops_before_anything_is_trained(tmp_path: Path) -> None:
    wrong = Arm("wrong", "a mask that is none", ("loss.shared_pass=true", "loss.contrastive_mask=0.0"))
    with pytest.raises(config.ConfigError, match="shared_pass"):
        plan((*ARMS, wrong), (0,), "demo", (), manifest(tmp_path), tmp_path)


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(world: World) -> Bench:
    """The humming world's test speakers."""
    return Bench(manifest(world.root), world.tasks, world.root / "meta.db", world.shards, KEY, "s1", frozenset())


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, world: World) -> list[str]:
    """No training and no embedding: the names of the arms in the order in which they would have been trained."""
    asked: list[str] = []

    def train(run: Run, manifest: Path, jobs: int, bench_hash: str) -> Result:
        asked.append(f"{run.arm} {run.seed}")
        if run.arm == "broken":
            raise AblationError("training ended with 2: error: no sound")
        return Result({"train": {"batch": 8}}, "m", bench_hash, "c0de", 2, 40.0, 1, "cpu")

    def score(self: Bench, checkpoint: Path, folder: Path) -> None:
        ear = Ear()
        ear.name = ablation.EMBEDDER
        world.embedders = [ear]
        for name in ("embeddings", "predictions", "scores"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        from benchmark.embed import embed

        embed(ear, world.shards["toy"], folder / "embeddings")
        folders = (folder / name for name in ("embeddings", "predictions", "scores"))
        evaluate([ear], self.judged, self.meta_db, self.shards, *folders, id_key=KEY, studies=False)

    monkeypatch.setattr(ablation, "_train", train)
    monkeypatch.setattr(Bench, "score", score)
    return asked


def test_what_is_complete_is_not_trained_again(world: World, bench: Bench, trained: list[str]) -> None:
    runs = plan(ARMS, (0, 1), "demo", (), bench.manifest, world.root / "ablations")
    said: list[str] = []
    rounds: list[int] = []
    results = run_all(runs, bench, 1, said.append, lambda found: rounds.append(len(found)))
    assert trained == ["plain 0", "other 0", "plain 1", "other 1"]
    assert rounds == [2, 4] and len(results) == 4
    assert said[1] == "plain, seed 0: 40 clips/s"
    for run in runs:
        assert not list((run.folder / "embeddings").glob("*/*"))  # they can be made again
        assert list((run.folder / "predictions").glob("*/*"))
    again = run_all(runs, bench, 1, said.append)
    assert len(trained) == 4 and again == results
    assert said[-1].endswith("(complete before)")
    other = Bench(bench.manifest, bench.tasks, bench.meta_db, bench.shards, KEY, "another split", frozenset())
    assert len(run_all(runs, other, 1, said.append)) == 4
    assert len(trained) == 8  # judged on other people: the child says at once that it is trained


def test_a_failure_stops_nobody_else_and_is_not_compared(world: World, bench: Bench, trained: list[str]) -> None:
    arms = (ARMS[0], Arm("broken", "fails", ("loss.mask=0.6",)), ARMS[1])
    said: list[str] = []
    results = run_all(plan(arms, (0, 1), "demo", (), bench.manifest, world.root / "ablations"), bench, 2, said.append)
    assert len(results) == 4
    assert "broken, seed 0: training ended with 2: error: no sound" in said
    found = study(arms, results, bench, 200)
    assert found is not None
    assert [arm.name for arm in found.arms] == ["plain", "other"] and found.left_out == ("broken",)
    # The same ears heard the same: no difference, no verdict.
    rows = found.differences.filter(arm="other")
    assert set(rows["verdict"]) == {"not separable"} and rows["difference"].to_list() == [0.0, 0.0]
    assert study(arms[1:], results, bench) is None  # the reference failed


def test_tasks_with_few_speakers_are_left_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [task.name for task in bench.judged] == ["toy-pd", "toy-clips", "toy-sex"]
    monkeypatch.setattr(ablation, "FEWEST", 7)  # six of twelve test speakers are positive
    few = Bench(bench.manifest, bench.tasks, bench.meta_db, bench.shards, KEY, "s1", frozenset())
    with pytest.raises(AblationError, match="no task has 7 judged speakers of each class"):
        _ = few.judged


def test_a_withdrawn_manifest_is_refused(world: World, bench: Bench) -> None:
    bench.manifest.with_suffix(".withdrawn").write_text("2026-01-01")
    with pytest.raises(AblationError, match="withdrew on 2026-01-01"):
        run_all(plan(ARMS, (0,), "demo", (), bench.manifest, world.root), bench)


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    (run,) = plan(ARMS[:1], (0,), "demo", ("train.steps=1",), manifest(tmp_path), tmp_path / "ablations")
    with pytest.raises(AblationError, match=r"ended with 2: error: .*named by the manifest but absent .*log.txt"):
        ablation._train(run, manifest(tmp_path), 1, "h")


# --- verdicts -----------------------------------------------------------------------------------------------

SIZES = (76, 60, 124)  # speakers of three tasks of three corpora
DRAWS = 400


def runs_of(
    rng: np.random.Generator, arms: int, seeds: int, of_seed: float, gain: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean macro-F1 of made-up runs, and as drawn; the last arm is better by ``gain`` standard deviations.

    A run has a quality and a bias of its own (standard deviation ``of_seed``). What is heard of a speaker is in part
    the speaker's (0.6 of the variance), the arm's (0.05) and the run's.
    """
    quality = of_seed * rng.standard_normal((arms, seeds, 1)) + norm.ppf(0.78)
    quality[-1] += gain
    observed, drawn = np.zeros((arms, seeds)), np.zeros((arms, seeds, DRAWS))
    for number, size in enumerate(SIZES):
        y = np.arange(size) % 2
        heard = np.sqrt(0.6) * rng.standard_normal(size) + np.sqrt(0.05) * rng.standard_normal((arms, 1, size))
        heard = heard + np.sqrt(0.35) * rng.standard_normal((arms, seeds, size))
        bias = of_seed * rng.standard_normal((arms, seeds, 1))
        yes = (2 * y - 1) * quality + bias + heard > 0
        cells = np.stack([y * yes, (1 - y) * yes, y * ~yes, (1 - y) * ~yes], axis=-1).astype(np.float64)
        counts = cells.transpose(2, 0, 1, 3).reshape(size, arms * seeds, 4)
        speakers = tuple(f"{i:04}" for i in range(size))
        observed += macro_f1(counts.sum(axis=0)).reshape(arms, seeds) / len(SIZES)
        of_draws = macro_f1(intervals.drawn_counts(f"{number}-{rng.integers(5)}", speakers, counts, DRAWS))
        drawn += of_draws.T.reshape(arms, seeds, DRAWS) / len(SIZES)
    return observed, drawn


def verdicts(arms: int, seeds: int, of_seed: float, repetitions: int, gain: float = 0.0) -> tuple[float, float, float]:
    """Shares: intervals that hold 0, studies with a false verdict among the equal arms, last arms found better."""
    rng = np.random.default_rng([arms, seeds, int(100 * of_seed)])
    held, wrong, found = [], [], []
    for _ in range(repetitions):
        difference, drawn = differences(*runs_of(rng, arms, seeds, of_seed, gain))
        low, high = intervals.limits(drawn, difference)
        separable = intervals.holm(intervals.p_values(drawn)) < 0.05
        equal = slice(None) if gain == 0 else slice(-1)
        held.append(((low <= 0) & (high >= 0))[equal].mean())
        wrong.append(separable[equal].any())
        found.append(separable[-1] and difference[-1] > 0)
    return float(np.mean(held)), float(np.mean(wrong)), float(np.mean(found))


@pytest.mark.parametrize(("arms", "of_seed"), [(13, 0.15), (6, 0.0), (6, 0.15), (2, 0.15)])
def test_equal_arms_are_seldom_told_apart(arms: int, of_seed: float) -> None:
    """Three seeds. Of 150 studies, 7 % wrong is within two standard errors of 5 %."""
    held, wrong, _ = verdicts(arms, 3, of_seed, 150)
    assert 0.92 <= held <= 0.99
    assert wrong <= 0.075


def test_without_the_chance_of_seeds_equal_arms_are_often_told_apart() -> None:
    """Why seeds count: the intervals over speakers alone, as for a finished model, are wrong in a third of studies."""
    rng = np.random.default_rng(0)
    wrong = []
    for _ in range(60):
        _, drawn = runs_of(rng, 6, 3, 0.15)
        of_speakers = drawn.mean(axis=1)[1:] - drawn.mean(axis=1)[0]
        wrong.append((intervals.holm(intervals.p_values(of_speakers)) < 0.05).any())
    assert np.mean(wrong) > 0.3


def test_a_true_gain_is_found() -> None:
    held, wrong, found = verdicts(6, 3, 0.05, 60, gain=0.5)  # macro-F1 of 0.90 against 0.78
    assert found > 0.9 and held > 0.9 and wrong < 0.1


def test_one_seed_has_the_chance_of_speakers_only() -> None:
    observed, drawn = runs_of(np.random.default_rng(0), 3, 1, 0.1)
    difference, of_draws = differences(observed, drawn)
    assert difference == pytest.approx((observed[1:] - observed[0])[:, 0])
    assert of_draws == pytest.approx((drawn[1:] - drawn[0])[:, 0])


# --- the report ---------------------------------------------------------------------------------------------


def made_study(world: World, bench: Bench, seeds: Sequence[int], hears: Mapping[str, float]) -> ablation.Study:
    """Runs whose arms hear the label of 40 speakers of two corpora through noise."""
    arms = [Arm(name, f"what {name} changes", ()) for name in hears]
    tasks = [task_of(corpus) for corpus in ("toy", "rendered")]
    judged = Bench(bench.manifest, tasks, bench.meta_db, world.shards, KEY, "s1", frozenset({"rendered"}))
    judged.__dict__["judged"] = tuple(tasks)
    results = {}
    for seed in seeds:
        for arm in arms:
            run = Run(arm.name, seed, (), world.root / "ablations" / f"{arm.name}{seed}")
            results[run] = Result({}, "m", "b", "c0de", 3, 100.0 + seed, 1, "cpu")
            for number, task in enumerate(tasks):
                for mode in ("zero-shot", "probe"):
                    file = run.folder / "predictions" / ablation.EMBEDDER / f"{task.name}.{mode}.parquet"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    heard(hears[arm.name], [number, seed, len(mode), *arm.name.encode()]).write_parquet(file)
    found = study(arms, results, judged, 400)
    assert found is not None
    return found


def task_of(corpus: str) -> Task:
    return Task(f"{corpus}-sex", "demographic", "open", corpus, "a", "b", "speaker", "any", {"en": (("x", "y"),)})


def heard(distance: float, seed: list[int]) -> pl.DataFrame:
    rng, y = np.random.default_rng(seed), np.arange(80) % 2
    names = [f"{i:03}" for i in range(80)]
    said = rng.standard_normal(80) + distance * (y - 0.5) > 0
    return pl.DataFrame({"unit_id": names, "person": names, "y": y.astype(np.int8), "predicted": said.astype(float)})


SETUP = Setup("demo", ("train.steps=3",), {"shards": [{"samples": 48, "seconds": 3600.0}], "shares": {"toy": 1.0}})


def test_the_report_says_what_helps_and_what_does_not(world: World, bench: Bench) -> None:
    found = made_study(world, bench, (0, 1, 2), {"paper": 1.5, "better": 4.0, "worse": 0.0, "same": 1.5})
    verdict = {
        (row["arm"], row["mode"]): row["verdict"] for row in found.differences.filter(voices="people").to_dicts()
    }
    for mode in ("zero-shot", "probe"):
        assert [verdict[arm, mode] for arm in ("paper", "better", "worse", "same")] == [
            None,
            "helps",
            "hurts",
            "not separable",
        ]
    text = write_report(found, SETUP, world.root / "reports").read_text()
    assert "with train.steps=3: 3 steps of 64 clips, on 1.00 h" in text and "Seeds 0, 1, 2; trained on cpu" in text
    assert text.count("▲") == 5 and text.count("▼") == 5  # two modes and two kinds of voices, and the legend
    assert "say nothing about people" in text
    row = found.differences.filter(voices="people", mode="probe", arm="better").to_dicts()[0]
    assert f"{row['difference']:+.3f} [{row['low']:.3f}, {row['high']:.3f}] ▲" in text
    assert row["low"] < row["difference"] < row["high"] and row["p"] <= row["p_adjusted"]
    picture = ElementTree.parse(world.root / "reports" / "ablations.svg").getroot()
    words = [one.text for one in picture.iter() if one.tag.endswith("text")]
    assert words.count("better") == 2 and "People, zero-shot" in words
    data = json.loads((world.root / "reports" / "ablations.json").read_text())
    assert len(data["runs"]) == 12 and data["seeds"] == [0, 1, 2]
    assert len(data["differences"]) == 4 * 2 * 2


def test_one_seed_gives_no_verdict(world: World, bench: Bench) -> None:
    found = made_study(world, bench, (0,), {"paper": 1.5, "better": 4.0})
    assert set(found.differences.drop_nulls("verdict")["verdict"]) == {"one seed"}
    text = write_report(found, SETUP, world.root / "reports").read_text()
    assert "there is no verdict" in text and text.count("▲") == 1


def test_scores_stand_beside_the_verdicts(world: World, bench: Bench, trained: list[str]) -> None:
    results = run_all(plan(ARMS, (0, 1), "demo", (), bench.manifest, world.root / "a"), bench, 1, lambda _: None)
    found = study(ARMS, results, bench, 200)
    assert found is not None
    assert found.scores.height == 2 * 2 * 3 * 2
    reference = pick(world.run(), ablation.EMBEDDER, "toy-pd", "probe")
    rows = found.scores.filter(task="toy-pd", mode="probe")
    assert set(rows["macro_f1"]) == {reference.macro_f1} and set(rows["n_speakers"]) == {12}
    text = write_report(found, SETUP, world.root / "reports").read_text()
    assert text.count("0.000 [0.000, 0.000]") == 2


def test_the_board_points_to_the_ablations(tmp_path: Path) -> None:
    tasks = [made_up.task("ewa_sex")]
    made_up.write_results(tmp_path, tasks)
    scores = read_scores(tmp_path / "scores")
    pages = []
    for _ in range(2):
        report = write_board(scores, tmp_path / "predictions", tasks, tmp_path / "reports", synthetic=False, absent={})
        pages.append(report.markdown.read_text() + report.html.read_text())
        (tmp_path / "reports" / "ablations.md").write_text("# What helps")
    assert ["ablations.svg" in page and "`ablations.md`" in page for page in pages] == [False, True]
