"""Confounds on a made-up warehouse whose label hangs on one thing at a time, and on the miniature of IPVS."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from benchmark import confounds
from benchmark.confounds import NAMES, Confound, NothingLeftError, alarms, chance_p, contenders, flags, telling
from benchmark.evaluate import evaluate
from benchmark.files import as_parquet
from benchmark.metrics import measure
from benchmark.score import Score
from benchmark.task import Task, load_tasks
from slap_model import store
from tests import houses
from tests.s3 import Store

RATE = 16_000
PERSONS, CLIPS = 32, 2

TASK = Task(
    name="toy-ill",
    group="health",
    track="open",
    corpus="toy",
    positive="parkinson = 'present'",
    negative="parkinson = 'absent'",
    unit="speaker",
    source="any",
    prompts={"en": (("low", "high"),)},
)
Fact = Callable[[bool, np.random.Generator], object]


@dataclass
class World:
    """Persons of whom every second one is ill; what else is true of them is up to the test."""

    root: Path

    def build(
        self, ill: Mapping[str, Fact] | None = None, wave: Callable[[bool, np.random.Generator], object] | None = None
    ) -> World:
        """Write meta.db, a tar and its index; ``ill`` makes a column from (is ill, random numbers)."""
        rng = np.random.default_rng(0)
        columns: dict[str, Fact] = {
            "device": lambda *_: None,
            "channel": lambda *_: None,
            "recorded_on": lambda *_: None,
            "speech_task": lambda *_: "read",
            "ending": lambda *_: "wav",
            "sex": lambda _, rng: str(rng.choice(["female", "male"])),
            "age": lambda _, rng: float(rng.integers(20, 80)),
            "native_rate": lambda *_: 16_000,
            "bandwidth": lambda *_: 8000,
            "speech": lambda *_: 0.5,
            **(ill or {}),
        }
        people = [{name: make(i % 2 == 0, rng) for name, make in columns.items()} for i in range(PERSONS)]
        rows = [
            {"utt_id": f"{i:03}{clip}", "person_id": f"toy:Anna {i}", "split": "test" if i < 10 else "train", **person}
            | {"path": f"Anna {i}/{clip}.{person['ending']}", "parkinson": "present" if i % 2 == 0 else "absent"}
            for i, person in enumerate(people)
            for clip in range(CLIPS)
        ]
        frame = pl.DataFrame(rows, infer_schema_length=None)
        self._write_tables(frame)
        with tarfile.open(self.tar, "w") as tar:
            for row in rows:
                made = wave(row["parkinson"] == "present", rng) if wave else None
                content = _flac(made if isinstance(made, np.ndarray) else rng.normal(0, 0.01, 4000))
                info = tarfile.TarInfo(f"{row['utt_id']}.flac")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        frame.select("utt_id", "native_rate", "bandwidth", "speech").write_parquet(self.tar.with_suffix(".parquet"))
        return self

    def _write_tables(self, frame: pl.DataFrame) -> None:
        with duckdb.connect(self.root / "meta.db") as con:
            con.register("rows", frame)
            con.execute(
                "CREATE TABLE utterance AS SELECT utt_id, 'toy' AS corpus, person_id AS speaker_id, path, device, "
                "CAST(channel AS INTEGER) AS channel, CAST(recorded_on AS DATE) AS recorded_on, speech_task FROM rows;"
                "CREATE TABLE speaker AS SELECT DISTINCT 'toy' AS corpus, person_id AS speaker_id, person_id FROM rows;"
                "CREATE TABLE person_split AS SELECT DISTINCT person_id, split, 'hash' AS source FROM rows;"
                "CREATE TABLE facts AS SELECT utt_id, 'toy' AS corpus, person_id, split, CAST(sex AS VARCHAR) AS sex, "
                "CAST(age AS DOUBLE) AS age_low, CAST(age AS DOUBLE) AS age_high, 'it' AS language, parkinson FROM rows"
            ).fetchall()

    @property
    def tar(self) -> Path:
        return self.root / "train-00000.tar"

    @property
    def meta_db(self) -> Path:
        return self.root / "meta.db"

    def confound(self, name: str) -> Confound:
        return next(one for one in contenders(self.root / "embeddings") if one.name == name)

    def columns(self, name: str, task: Task | None = None) -> pl.DataFrame:
        return self.confound(name).columns(self.meta_db, [self.tar], task)

    def scores(self, *names: str, task: Task = TASK) -> list[Score]:
        folders = (self.root / name for name in ("embeddings", "predictions", "scores"))
        which = [self.confound(name) for name in names or NAMES]
        return evaluate(which, [task], self.meta_db, {"toy": [self.tar]}, *folders, id_key=b"key")


def _flac(wave: object) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="FLAC")
    return buffer.getvalue()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("benchmark.probe.STRENGTHS", (0.1,))  # the choice of C and the repeats have their own tests
    monkeypatch.setattr("benchmark.probe.REPEATS", 2)
    return World(tmp_path)


def in_pauses(room_db: float, rng: np.random.Generator, pause_s: float = 0.4) -> object:
    at = np.arange(2 * RATE) % round((0.4 + pause_s) * RATE)
    speech = np.where(at < 0.4 * RATE, rng.normal(0, 0.1, len(at)), 0.0)
    return speech + rng.normal(0, 10 ** (room_db / 20), len(at))


# --- what the contenders know ---


def test_the_faces_keep_the_promise(world: World) -> None:
    world.build(wave=lambda _, rng: in_pauses(-60, rng))
    assert tuple(one.name for one in contenders(world.root)) == NAMES
    for name in NAMES:
        confound = world.confound(name)
        frame = confound.features(world.meta_db, [world.tar], TASK)
        assert frame.schema == {"utt_id": pl.String(), "vector": pl.List(pl.Float32())}
        assert frame.height == PERSONS * CLIPS
        vectors = np.array(frame["vector"].to_list())
        assert vectors.dtype != object and np.isfinite(vectors).all()
        assert frame.equals(confound.features(world.meta_db, [world.tar], TASK))


def test_no_id_and_no_owners_word_in_the_features(world: World) -> None:
    world.build({"device": lambda ill, _: "Dr. Rossi's phone" if ill else "booth"})
    said = " ".join(name for confound in NAMES for name in world.columns(confound).columns)
    assert "device" in said
    assert not any(word in said for word in ("Anna", "Rossi", "booth", "toy:"))


def test_rare_and_unknown_categories_share_a_column_and_order_is_stable(world: World) -> None:
    seen: list[object] = []

    def device(ill: bool, _: np.random.Generator) -> object:
        seen.append(ill)
        return ["mic a", "mic b", None][len(seen) % 3] if len(seen) > 2 else f"only {len(seen)}"

    table = world.build({"device": device, "channel": lambda *_: 1}).columns("confound-recording")
    devices = table.select(column for column in table.columns if column.startswith("device"))
    assert devices.columns == ["device=0", "device=1", "device=2", "device=other"]
    assert devices.sum_horizontal().to_list() == [1.0] * table.height
    assert devices["device=other"].sum() == 2 * CLIPS
    assert not any(name.startswith(("channel", "file type")) for name in table.columns)  # the same everywhere


def test_unknown_dates_have_a_column_that_says_so(world: World) -> None:
    known = {"recorded_on": lambda ill, _: "2017-03-17" if ill else None}
    table = world.build(known).columns("confound-recording")
    assert table["session date=unknown"].to_list() == [float(i % 2) for i in range(PERSONS) for _ in range(CLIPS)]
    assert table["session date=day"].n_unique() == 1  # the mean of those known: nothing but the column above tells


def test_nothing_known_is_nothing_said(world: World) -> None:
    measured = ("native_rate", "bandwidth", "speech")
    table = world.build(dict.fromkeys(measured, lambda *_: None)).columns("confound-recording")
    assert not any(name.startswith(("session date", "device", "native", "speech share")) for name in table.columns)
    world.tar.with_suffix(".parquet").unlink()
    assert world.columns("confound-recording").equals(table)
    with pytest.raises(NothingLeftError, match="nothing is known"):
        world.confound("confound-silence").features(world.meta_db, [world.tar])  # noise without a pause


def test_indexes_on_a_store_are_asked_for_together_and_once(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tars = [store.place(f"{s3.bucket}/toy/test-{number}.tar") for number in range(4)]
    for number, tar in enumerate(tars[:3]):
        index = pl.DataFrame({"utt_id": [str(number)], "native_rate": [8000 + number]})
        store.write(tar.with_suffix(".parquet"), as_parquet(index))
    together, asked = threading.Barrier(len(tars)), store.source
    monkeypatch.setattr(store, "source", lambda path: asked(path) if together.wait(10) >= 0 else None)
    s3.heal()
    found = confounds._native(tars)
    assert found["utt_id"].to_list() == ["0", "1", "2"]
    assert found["native sample rate"].to_list() == ["8000", "8001", "8002"]
    assert found["speech share"].null_count() == 3
    assert sorted(request.line.split()[0] for request in s3.requests) == ["GET"] * len(tars)


def test_a_person_without_what_the_task_asks(world: World) -> None:
    world.build({"age": lambda ill, rng: None if rng.random() < 0.2 else 50.0})
    sex = replace(TASK, positive="sex = 'female'", negative="sex = 'male'")
    age = replace(TASK, positive="age_low >= 60", negative="age_high < 35")
    both = replace(TASK, positive="sex = 'female' AND age_low = 50", negative="sex = 'male' AND age_low < 51")
    properties = {
        task: {name.partition("=")[0] for name in world.columns(NAMES[1], task).columns[1:]}
        for task in (TASK, sex, age)
    }
    assert properties == {TASK: {"sex", "age"}, sex: {"age"}, age: {"sex"}}
    assert "age=unknown" in world.columns(NAMES[1], sex).columns
    with pytest.raises(NothingLeftError, match="sex and age itself"):
        world.columns(NAMES[1], both)
    (score,) = world.scores(NAMES[1], task=replace(both, name="toy-both"))
    assert (score.status, score.auroc) == ("missing", None)
    assert "sex and age" in score.reason


def test_who_pauses_is_not_told_from_silence(world: World) -> None:
    """The ill pause and the others do not: a clip without silence borrows one, so that the label stays unknown."""
    world.build(wave=lambda ill, rng: in_pauses(-60, rng, 0.4 if ill else 0.0))
    table = world.columns("confound-silence")
    assert not table.select(pl.exclude("utt_id").is_null().any()).row(0).count(True)
    assert flags(world.scores("confound-silence")) == {}


# --- flags, end to end ---


@pytest.mark.parametrize(
    ("facts", "confound", "property_"),
    [
        ({"native_rate": lambda ill, _: 44_100 if ill else 16_000}, NAMES[0], "native sample rate"),
        ({"bandwidth": lambda ill, rng: (8000, 3500)[ill] + int(rng.integers(9))}, NAMES[0], "native bandwidth"),
        ({"speech": lambda ill, rng: (0.9 if ill else 0.4) + rng.uniform(0, 0.1)}, NAMES[0], "speech share"),
        ({"ending": lambda ill, _: "mp3" if ill else "wav"}, NAMES[0], "file type"),
        (
            {"recorded_on": lambda ill, rng: f"{2019 if ill else 2016}-0{rng.integers(1, 9)}-11"},
            NAMES[0],
            "session date",
        ),
        ({"age": lambda ill, rng: float(rng.integers(50, 80) if ill else rng.integers(20, 60))}, NAMES[1], "age"),
        ({"sex": lambda ill, rng: "female" if ill == (rng.random() < 0.9) else "male"}, NAMES[1], "sex"),
    ],
)
def test_a_planted_confound_is_flagged_and_named(
    world: World, facts: Mapping[str, Fact], confound: str, property_: str
) -> None:
    (flag,) = flags(world.build(facts).scores())[TASK.name]
    assert flag.confound == confound
    assert flag.auroc > 0.8 and flag.auroc_low > 0.5
    assert f"from {confounds.WHAT[confound]} alone: AUROC {flag.auroc:.2f} [" in flag.sentence
    assert f"{property_} differs between the classes." in flag.sentence


def test_a_noisier_room_is_flagged_by_both_that_hear_it(world: World) -> None:
    world.build(wave=lambda ill, rng: in_pauses(-50 if ill else -60, rng))
    found = {flag.confound: flag.sentence for flag in flags(world.scores())[TASK.name]}
    assert set(found) == {NAMES[0], NAMES[2]}
    assert "signal-to-noise ratio" in found[NAMES[0]]
    assert "hiss (above 3 kHz)" in found[NAMES[2]]


def test_nothing_planted_nothing_flagged(world: World) -> None:
    scores = world.build(wave=lambda _, rng: in_pauses(-60, rng)).scores()
    assert [score.status for score in scores] == ["ok"] * 3
    assert flags(scores) == {}


# --- the rule ---


def judged(effect: float, rng: np.random.Generator, persons: int = 40, clips: int = 3) -> pl.DataFrame:
    """Predictions of a confound that knows a label through noise of its own for each person."""
    y = np.repeat(np.arange(persons) % 2, clips)
    person = np.repeat(np.arange(persons), clips)
    score = effect * (y - 0.5) + rng.normal(size=persons)[person] + 0.3 * rng.normal(size=len(person))
    return pl.DataFrame({"person": [f"p{i}" for i in person], "y": y, "score": score, "predicted": (score > 0) * 1.0})


BLANK = Score("", "", "t", "health", "open", "toy", "probe", "ok", "", False, False, None, False)


def scored(name: str, predictions: pl.DataFrame) -> Score:
    numbers = measure(predictions, "toy", 200)
    return replace(
        BLANK,
        embedder=name,
        macro_f1=numbers.macro_f1,
        auroc=numbers.auroc,
        auroc_low=numbers.auroc_low,
        auroc_high=numbers.auroc_high,
        balanced_accuracy=numbers.balanced_accuracy,
        chance_p=chance_p(predictions),
    )


def ranked(name: str, predictions: pl.DataFrame) -> Score:
    """A score whose interval and decisions object to no alarm: an upper bound of their number."""
    auroc = float(roc_auc_score(predictions["y"], predictions["score"]))
    free = replace(BLANK, auroc=auroc, auroc_low=0.51, balanced_accuracy=0.51)
    return replace(free, embedder=name, chance_p=chance_p(predictions))


def test_false_alarms_stay_near_5_percent_of_tasks_and_true_ones_are_found() -> None:
    rng = np.random.default_rng(0)
    tasks = 200
    false = sum(bool(alarms([ranked(name, judged(0.0, rng)) for name in NAMES])) for _ in range(tasks))
    assert 0.01 <= false / tasks <= 0.08  # 5 % and two standard errors of 200 tasks
    found = sum(
        bool(alarms([ranked(NAMES[0], judged(2.0, rng)), ranked(NAMES[1], judged(0.0, rng))])) for _ in range(50)
    )
    assert found >= 45


def test_chance_is_what_shuffled_labels_say() -> None:
    rng = np.random.default_rng(1)
    predictions = judged(0.8, rng, persons=30)
    persons = predictions.group_by("person", maintain_order=True).agg(pl.col("y").first(), pl.col("score").mean())
    y, score = persons["y"].to_numpy(), persons["score"].to_numpy()
    shuffled = [score[rng.permutation(y) == 1].sum() >= score[y == 1].sum() for _ in range(4000)]
    assert chance_p(predictions) == pytest.approx(np.mean(shuffled), abs=0.03)
    assert chance_p(predictions.with_columns(score=-pl.col("score"))) > 0.8


def test_clips_of_both_classes_are_compared_within_the_person() -> None:
    """Loudness of a dozen actors: persons differ more than their emotions do, but each is louder when angry."""
    rng = np.random.default_rng(2)
    person, y = np.repeat(np.arange(12), 10), np.tile(np.arange(10) % 2, 12)
    score = 3 * rng.normal(size=12)[person] + 0.8 * y + 0.5 * rng.normal(size=120)
    frame = pl.DataFrame({"person": [f"p{i}" for i in person], "y": y, "score": score})
    assert chance_p(frame) < 0.001
    assert chance_p(frame.with_columns(y=1 - pl.col("y"))) > 0.99
    assert chance_p(frame.with_columns(score=pl.lit(0.0))) == 1.0


def test_few_persons_with_many_clips_are_few() -> None:
    y = np.repeat([1, 1, 0, 0], 100)
    frame = pl.DataFrame({"person": np.repeat(["a", "b", "c", "d"], 100), "y": y, "score": y + 0.0})
    assert chance_p(frame) > 0.05  # two against two fall so in one case of six


def test_a_small_effect_is_no_flag_and_a_score_without_chance_is_an_error() -> None:
    predictions = judged(2.0, np.random.default_rng(0))
    sure = scored(NAMES[0], predictions)
    assert alarms([sure]) == (sure,)
    assert alarms([replace(sure, auroc=0.59)]) == ()
    assert alarms([replace(sure, auroc_low=0.49)]) == ()
    assert alarms([replace(sure, balanced_accuracy=0.5)]) == ()
    assert alarms([replace(sure, chance_p=0.06)]) == ()
    with pytest.raises(ValueError, match="evaluate it again"):
        alarms([replace(sure, chance_p=None)])
    assert alarms([replace(sure, status="missing", chance_p=None)]) == ()


def test_holm_asks_more_of_the_first_of_three_than_of_one() -> None:
    sure = replace(scored(NAMES[0], judged(2.0, np.random.default_rng(0))), chance_p=0.02)
    rest = [replace(sure, embedder=name, chance_p=0.5) for name in NAMES[1:]]
    assert alarms([sure]) == (sure,)
    assert alarms([sure, *rest]) == ()
    first = replace(rest[0], chance_p=0.001)
    assert alarms([sure, first, rest[1]]) == (first, sure)


def test_other_contenders_and_modes_are_not_looked_at() -> None:
    sure = scored(NAMES[0], judged(2.0, np.random.default_rng(0)))
    assert set(flags([sure])) == {"t"}
    assert flags([replace(sure, embedder="slap", chance_p=None), replace(sure, mode="zero-shot")]) == {}
    assert "no single one of them does it" in flags([sure])["t"][0].sentence


def test_telling_counts_persons_and_corrects_for_the_number_of_properties() -> None:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(24), 4)
    y = person % 2
    features = pl.DataFrame(
        {
            "level": -3.0 * y + rng.normal(size=len(y)),
            "device=0": (person % 8 < 4) * 1.0,
            **{f"noise {i}": rng.normal(size=24)[person] for i in range(40)},
        }
    )
    found = telling(features, pl.Series(y), pl.Series(person))
    assert list(found) == ["level"]
    assert found["level"] > 0.95
    assert telling(features, pl.Series(y * 0), pl.Series(person)) == {}


# --- a corpus that is known for it ---


@pytest.mark.slow
def test_ipvs_earns_its_flag_by_the_rate_of_one_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the miniature to the flag: 44.1 kHz in files of patients alone, as in the corpus itself."""
    from pipelines import captions, ingest, shards
    from pipelines.corpora.ipvs import CORPUS
    from pipelines.voices import Voices

    monkeypatch.setattr("benchmark.probe.STRENGTHS", (0.1,))
    monkeypatch.setattr("benchmark.probe.REPEATS", 2)
    raw = tmp_path / "raw"
    ingest.render_miniature(CORPUS, raw, Voices(0.9))
    ingest.ingest(CORPUS, raw, tmp_path / "tables", b"key")
    meta_db = houses.build(tmp_path, ["ipvs"])
    captions.build(meta_db, tmp_path / "captions", corpora=["ipvs"], k=1, seed=0)
    shards.shard_corpus(CORPUS, raw, meta_db, tmp_path / "captions", tmp_path / "shards", b"key")
    tars = {"ipvs": sorted((tmp_path / "shards").glob("*.tar"))}
    task = next(task for task in load_tasks() if task.name == "ipvs_parkinson")

    folders = tuple(tmp_path / name for name in ("embeddings", "predictions", "scores"))
    recording, *_ = contenders(tmp_path / "embeddings")
    (score,) = evaluate([recording], [task], meta_db, tars, *folders, id_key=b"key")
    (flag,) = flags([score])["ipvs_parkinson"]
    assert flag.confound == "confound-recording"
    assert flag.auroc >= 0.9
    # the renderer makes patients speak softly, too, which comes first; the campaign's rate and date come after
    told_by = score.told_by or {}
    assert told_by["native sample rate"] == told_by["session date"] == pytest.approx(0.75, abs=0.05)
    assert "native bandwidth" in flag.sentence  # the rate's own property, and finer than the rate itself

    def without_level(*of: object) -> pl.DataFrame:
        loud = ("level", "clipping", "DC offset", "noise floor", "signal-to-noise ratio", "digital silence")
        table = recording.columns(*of)  # type: ignore[arg-type]
        return table.select(name for name in table.columns if name.partition("=")[0] not in loud)

    campaign = replace(recording, columns=without_level, fingerprint="without level")
    (score,) = evaluate([campaign], [task], meta_db, tars, *folders, id_key=b"key")
    (flag,) = flags([score])["ipvs_parkinson"]
    assert flag.auroc >= 0.75
    assert "native sample rate" in flag.sentence
