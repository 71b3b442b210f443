"""A made-up warehouse of two corpora, small enough to see through: the positive speakers hum higher."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
from sklearn.metrics import f1_score

from benchmark import evaluate as module
from benchmark.baselines import AlwaysYes, MelStatistics, RandomVectors
from benchmark.embed import embed
from benchmark.embedders import Vectors, Wave
from benchmark.evaluate import Contender, Score, board, evaluate, keyed_hash, read_scores
from benchmark.task import Task

KEY = b"only for tests"
SPEAKERS, CLIPS = 24, 2


class Ear:
    """Hears pitch, and has a text side that knows which word means high."""

    name = "ear"
    fingerprint = "ear 1"
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = {
        "corpora": ["toy"],
        "languages": ["it-IT"],
        "labels": ["parkinson=present", "sex"],
    }
    manifest = "m1"
    asked = 0

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        self.asked += 1
        crossings = [np.mean(np.diff(np.signbit(wave).astype(int)) != 0) for wave in waves]
        return np.array([[c - 0.06, 1e-4, 0] for c in crossings], dtype=np.float32)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        meaning = {"high": [1, 0, 0], "low": [-1, 0, 0], "odd": [0, 0, 1], "even": [0, 1, 0]}
        return np.array([meaning[text] for text in texts], dtype=np.float32)


def task(name: str, **changes: str) -> Task:
    usual = Task(
        name=name,
        group="health",
        track="paper",
        corpus="toy",
        positive="parkinson = 'present'",
        negative="parkinson = 'absent'",
        unit="speaker",
        source="any",
        prompts={"en": (("low", "high"), ("even", "odd")), "it": (("low", "high"),)},
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    root: Path
    shards: dict[str, list[Path]]
    tasks: list[Task]
    embedders: list[Contender]

    def run(self, **options: object) -> list[Score]:
        for embedder in self.embedders:
            if not isinstance(embedder, AlwaysYes):
                embed(embedder, [tar for tars in self.shards.values() for tar in tars], self.root / "embeddings")
        folders = (self.root / name for name in ("embeddings", "predictions", "scores"))
        usual = {"id_key": KEY, "split_hash": "s1"}
        meta = self.root / "meta.db"
        return evaluate(self.embedders, self.tasks, meta, self.shards, *folders, **{**usual, **options})  # type: ignore[arg-type]

    def files(self) -> dict[str, int]:
        found = (file for kind in ("scores", "predictions") for file in (self.root / kind).rglob("*.*"))
        return {str(file.relative_to(self.root)): file.stat().st_mtime_ns for file in found}

    def change(self, sql: str) -> None:
        with duckdb.connect(self.root / "meta.db") as con:
            con.execute(sql).fetchall()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("benchmark.probe.FOLDS", 2)  # the choice of C has its own tests
    monkeypatch.setattr("benchmark.probe.STRENGTHS", (0.1,))
    facts, audio = [], {}
    for speaker in range(SPEAKERS):
        positive = speaker % 2 == 0
        for clip in range(CLIPS):
            utt_id = f"{speaker:03}{clip}"
            split = "test" if speaker < 12 else "dev" if speaker < 14 else "train"
            state = "present" if positive else "absent"
            sex = "female" if speaker % 4 < 2 else "male"
            facts.append((utt_id, "toy", f"toy:Owner {speaker}", split, sex, 65, 70, "it", state))
            time = np.arange(8_000) / 16_000
            pitch = (900 if positive else 200) + 10 * speaker
            audio[utt_id] = np.sin(2 * np.pi * pitch * time).astype(np.float32) / 2
    schema = ["utt_id", "corpus", "person_id", "split", "sex", "age_low", "age_high", "language", "parkinson"]
    frame = pl.DataFrame(facts, schema=schema, orient="row")  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect(tmp_path / "meta.db") as con:
        con.execute("CREATE TABLE t AS SELECT * FROM frame").fetchall()
        con.execute("CREATE VIEW speaker AS SELECT DISTINCT corpus, person_id FROM t").fetchall()
        con.execute("CREATE TABLE person_split AS SELECT DISTINCT person_id, split, 'hash' AS source FROM t").fetchall()
        con.execute("CREATE VIEW facts AS SELECT * FROM t").fetchall()
    tars = []
    for split in ("train", "test"):
        tars.append(tmp_path / f"{split}-00000.tar")
        with tarfile.open(tars[-1], "w") as tar:
            for utt_id, wave in audio.items():
                if (int(utt_id[:3]) < 12) == (split == "test"):
                    buffer = io.BytesIO()
                    soundfile.write(buffer, wave, 16_000, format="FLAC")
                    info = tarfile.TarInfo(f"{utt_id}.flac")
                    info.size = buffer.getbuffer().nbytes
                    buffer.seek(0)
                    tar.addfile(info, buffer)
    tasks = [task("toy-pd"), task("toy-clips", unit="utterance"), task("toy-sex", group="demographic")]
    tasks[2] = replace(tasks[2], positive="sex = 'female'", negative="sex = 'male'")
    return World(tmp_path, {"toy": tars}, tasks, [Ear(), MelStatistics(), RandomVectors(8), AlwaysYes()])


def pick(scores: Sequence[Score], embedder: str, task: str, mode: str) -> Score:
    return next(s for s in scores if (s.embedder, s.task, s.mode) == (embedder, task, mode))


def test_a_planted_effect_is_seen_in_both_modes(world: World) -> None:
    scores = world.run(synthetic=["toy"])
    assert len(scores) == 3 * (2 + 1 + 2 + 2)
    for name, mode in (("ear", "zero-shot"), ("ear", "probe"), ("mel-statistics", "probe")):
        score = pick(scores, name, "toy-pd", mode)
        assert (score.status, score.macro_f1, score.auroc, score.n, score.n_speakers) == ("ok", 1.0, 1.0, 12, 12)
        assert score.synthetic
    zero, probed = (pick(scores, "ear", "toy-clips", mode) for mode in ("zero-shot", "probe"))
    assert (zero.n, zero.n_speakers, zero.n_train_speakers, probed.n_train_speakers) == (24, 12, None, 12)
    assert (zero.prompt_max, zero.n_prompts, zero.prompt_language) == (1.0, 2, "en")
    assert zero.prompt_min == pytest.approx(1 / 3)  # "even" against "odd": nobody is odd
    assert (probed.prompt_min, probed.n_prompts, probed.prompt_language) == (None, None, None)
    assert pick(scores, "ear", "toy-sex", "probe").macro_f1 < 0.8  # type: ignore[operator]
    for mode in ("zero-shot", "probe"):
        constant = pick(scores, "always-yes", "toy-pd", mode)
        assert constant.f1 == constant.always_yes_f1 == pytest.approx(2 / 3)
        assert constant.predicted_positive_rate == 1.0


def test_metrics_can_be_computed_again_from_the_predictions(world: World) -> None:
    for score in world.run():
        frame = pl.read_parquet(world.root / "predictions" / score.embedder / f"{score.task}.{score.mode}.parquet")
        assert score.macro_f1 == pytest.approx(f1_score(frame["y"], frame["predicted"], average="macro"))
        assert frame["predicted"].to_list() == (frame["score"] > 0).cast(pl.Int8).to_list()
        assert (frame["split"] == "test").all()
        assert frame.select("unit_id", "y").is_unique().all()
        prompts = [name for name in frame.columns if name.startswith("prompt_")]
        assert len(prompts) == (score.n_prompts or 0)


def test_no_file_names_a_person(world: World) -> None:
    world.run()
    for file in (*world.root.glob("predictions/*/*"), *world.root.glob("scores/*/*")):
        assert b"Owner" not in file.read_bytes()
    units = pl.read_parquet(world.root / "predictions/ear/toy-pd.probe.parquet")
    assert set(units["unit_id"]) == {keyed_hash(f"toy:Owner {i}", KEY) for i in range(12)}
    assert units.equals(units.with_columns(pl.col("unit_id").alias("person")))


def test_nothing_is_computed_twice(world: World) -> None:
    first = world.run()
    files, asked = world.files(), world.embedders[0].asked  # type: ignore[union-attr]
    assert world.run() == first
    assert world.files() == files
    assert world.embedders[0].asked == asked  # type: ignore[union-attr]
    assert sorted(map(repr, read_scores(world.root / "scores"))) == sorted(map(repr, first))


def test_only_what_is_missing_or_damaged_is_computed(world: World) -> None:
    world.run()
    before = world.files()
    (world.root / "scores/ear/toy-pd.probe.json").unlink()
    (world.root / "predictions/random/toy-sex.zero-shot.parquet").write_bytes(b"cut off")
    world.run()
    after = world.files()
    assert set(after) == set(before)
    changed = {name.split("/", 1)[1].rsplit(".", 1)[0] for name in after if after[name] != before[name]}
    assert changed == {"ear/toy-pd.probe", "random/toy-sex.zero-shot"}


def test_new_labels_change_the_scores_that_use_them(world: World) -> None:
    old = world.run()
    world.change("UPDATE t SET sex = 'male' WHERE utt_id LIKE '000%'")
    changed = {new.task for was, new in zip(old, world.run(), strict=True) if was.key != new.key}
    assert changed == {"toy-sex", "toy-pd", "toy-clips"}  # sex is a subgroup of all
    assert {new.hashes["split"] for new in world.run(split_hash="s2")} == {"s2"}


def test_who_left_the_board_leaves_no_files(world: World) -> None:
    world.run()
    world.embedders, world.tasks = world.embedders[:1], world.tasks[:1]
    world.run(prune=False)
    assert (world.root / "scores/random").exists()
    world.run()
    assert {file.name for file in world.root.glob("scores/*/*")} == {"toy-pd.probe.json", "toy-pd.zero-shot.json"}
    assert [folder.name for folder in (world.root / "predictions").iterdir()] == ["ear"]


def test_flags_come_from_what_the_embedder_was_trained_on(world: World) -> None:
    world.tasks.append(task("toy-old", positive="age_low >= 68 AND sex = 'female'", negative="age_low < 0"))
    world.tasks.append(task("other-als", corpus="other", positive="utt_id = 'als'"))
    scores = world.run()
    flags = {s.task: (s.ood_corpus, s.ood_language, s.ood_label) for s in scores if s.embedder == "ear"}
    assert flags["toy-pd"] == (False, False, False)
    assert flags["toy-old"] == (False, None, False)
    assert flags["other-als"] == (True, None, True)
    untaught = pick(scores, "random", "toy-pd", "probe")
    assert (untaught.ood_corpus, untaught.ood_language, untaught.ood_label) == (True, True, True)
    assert pick(scores, "ear", "toy-pd", "probe").hashes["manifest"] == "m1"


def test_a_task_that_cannot_be_scored_says_why(world: World) -> None:
    world.tasks = [
        task("no-corpus", corpus="absent"),
        task("no-negative", negative="parkinson = 'never'"),
        task("no-train-negative", negative="parkinson = 'absent' AND split = 'test'"),
    ]
    scores = world.run()
    assert pick(scores, "ear", "no-corpus", "probe").reason == "no labelled utterance of corpus absent with audio"
    assert pick(scores, "ear", "no-negative", "zero-shot").reason == "no negative utterance in the test split"
    assert pick(scores, "ear", "no-train-negative", "probe").reason == "no negative utterance in the train split"
    assert pick(scores, "ear", "no-train-negative", "zero-shot").status == "ok"
    for score in scores:
        missing = score.status == "missing"
        assert missing == (score.f1 is None) == (score.n is None) == bool(score.reason)
        stored = json.loads((world.root / f"scores/{score.embedder}/{score.task}.{score.mode}.json").read_text())
        assert stored["status"] == score.status
    assert not (world.root / "predictions/ear/no-corpus.probe.parquet").exists()


def test_utterances_without_audio_are_counted(world: World) -> None:
    world.change("INSERT INTO t SELECT 'silent', * EXCLUDE (utt_id) FROM t WHERE utt_id = '0000'")
    score = pick(world.run(), "ear", "toy-clips", "probe")
    assert (score.n, score.n_without_audio) == (24, 1)


def test_a_speaker_with_both_labels_is_two_units_of_one_person(world: World) -> None:
    world.change("UPDATE t SET parkinson = 'absent' WHERE utt_id = '0000'")
    score = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (score.n, score.n_speakers) == (13, 12)


def test_prompts_in_the_wanted_language(world: World) -> None:
    score = pick(world.run(prompt_language="it"), "ear", "toy-pd", "zero-shot")
    assert (score.prompt_language, score.n_prompts) == ("it", 1)


def test_two_embedders_of_one_name_are_refused(world: World) -> None:
    world.embedders = [RandomVectors(8), RandomVectors(4)]
    with pytest.raises(ValueError, match="share a name"):
        world.run()


def test_the_board_has_a_mean_only_when_complete(world: World) -> None:
    full = board(world.run(), world.root / "predictions", world.tasks)
    row = full.means.filter(stratum="all", embedder="ear", mode="zero-shot").row(0, named=True)
    assert row["complete"] == "3/3"
    assert 0.5 < row["macro_f1_low"] <= row["macro_f1"] <= row["macro_f1_high"] <= 1

    world.tasks.append(task("no-corpus", corpus="absent", group="voice"))
    partial = board(world.run(), world.root / "predictions", world.tasks)
    row = partial.means.filter(stratum="all", embedder="ear", mode="zero-shot").row(0, named=True)
    assert (row["complete"], row["macro_f1"], row["f1"], row["macro_f1_low"]) == ("3/4", None, None, None)
    health = partial.means.filter(stratum="health", embedder="ear", mode="zero-shot").row(0, named=True)
    assert (health["complete"], health["macro_f1"]) == ("2/2", 1.0)
    assert partial.differences["difference"].is_null().all()


def test_the_board_compares_with_the_references_on_the_same_draws(world: World) -> None:
    world.tasks = world.tasks[:2]
    found = board(world.run(), world.root / "predictions", world.tasks).differences
    pairs = set(found.select("embedder", "mode", "reference").rows())
    assert ("ear", "zero-shot", "always-yes") in pairs
    assert ("ear", "probe", "random") in pairs
    assert ("random", "probe", "random") not in pairs
    row = found.filter(embedder="ear", mode="zero-shot", reference="always-yes").row(0, named=True)
    assert row["difference"] == pytest.approx(2 / 3)
    assert row["separable"] and 0.3 < row["low"] <= row["difference"] <= row["high"]


def test_the_code_is_part_of_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.run()[0]
    monkeypatch.setattr(module, "code_hash", lambda: "other code")
    assert world.run()[0].key != old.key
