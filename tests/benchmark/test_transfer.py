"""Three corpora with known vectors: in two the positive speakers lie to the right, in the third to the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmark import probe
from benchmark.task import Transfer
from benchmark.transfer import FILE, SCHEMA, read_transfers, transfer
from tests.benchmark.world import KEY, Known, write_world

SIDES = {"right": 1, "also_right": 1, "left": -1}


def rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    made = []
    for corpus, side in SIDES.items():
        for person in range(12):
            positive = person % 2 == 0
            vector = rng.standard_normal(4) + np.array([3 * side * (1 if positive else -1), 0, 0, 0])
            state, split = ("present" if positive else "absent"), ("test" if person < 4 else "train")
            name = f"{corpus}:{person}"
            made.append((f"{corpus}{person:02}", corpus, name, split, "hash", "female", 40, 45, "it", state, vector))
    schema = ("utt_id", "corpus", "person_id", "split", "source", "sex", "age_low", "age_high", "language", "als")
    return pl.DataFrame(made, schema=[*schema, "vector"], orient="row")


@dataclass
class Place:
    root: Path
    rows: pl.DataFrame
    embedders: list[Known]

    def run(self, corpora: Sequence[str] = tuple(SIDES)) -> dict[tuple[str, str], dict[str, object]]:
        if not (self.root / "meta.db").exists():
            self.shards = write_world(self.root, self.rows, self.embedders)
        asked = Transfer("als", "ALS", "als = 'present'", "als = 'absent'", tuple(corpora), "speaker", "any", "health")
        folders = self.root / "embeddings", self.root / "scores"
        found = transfer(self.embedders, [asked], self.root / "meta.db", self.shards, *folders, id_key=KEY)
        return {(row["train_corpus"], row["test_corpus"]): row for row in found.iter_rows(named=True)}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("benchmark.probe.REPEATS", 2)
    return Place(tmp_path, rows(), [Known()])


def test_what_is_shared_transfers_and_what_is_opposite_fails(place: Place) -> None:
    found = place.run()
    assert len(found) == 9
    for pair, row in found.items():
        same = SIDES[pair[0]] == SIDES[pair[1]]
        assert (row["status"], row["n_left_out"]) == ("ok", 0)
        assert (row["macro_f1"] > 0.9) if same else (row["macro_f1"] < 0.1 and row["auroc"] < 0.1)
        assert row["macro_f1_low"] <= row["macro_f1"] <= row["macro_f1_high"]
        assert (row["n_speakers"], row["prevalence"]) == (12, 0.5)
        assert row["n_train_speakers"] == (10 if pair[0] == pair[1] else 12)  # five folds
    assert read_transfers(place.root / "scores").columns == ["embedder", *SCHEMA]


def test_a_bound_corpus_is_judged_on_its_test_split(place: Place) -> None:
    official = pl.when(pl.col("corpus") == "right").then(pl.lit("official")).otherwise(pl.col("source"))
    place.rows = place.rows.with_columns(source=official)
    place.embedders = [Known(trained_on=["left"])]
    found = place.run()
    assert {test: row["n_speakers"] for (train, test), row in found.items() if train == "also_right"} == {
        "right": 4,
        "also_right": 12,
        "left": 4,
    }
    assert found["left", "also_right"]["n_train_speakers"] == 8  # its test persons are not learned from


def test_who_is_in_both_corpora_is_not_learned_from(place: Place) -> None:
    shared = pl.col("person_id").str.replace("also_right:(1|2|3)$", "right:$1")
    place.rows = place.rows.with_columns(shared)
    heard: list[tuple[set[str], set[str]]] = []
    there = place.rows.filter(pl.col("corpus").is_in(["right", "also_right"]))["person_id"].to_numpy()
    honest = probe.probe_many

    def watched(x: np.ndarray, problems: Sequence[probe.Problem], seed: int = 0) -> list[probe.Answer]:
        if len(x) == len(there):
            heard.extend((set(there[one.train]), set(there[one.test])) for one in problems)
        return honest(x, problems, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "probe_many", watched)
        found = place.run(["right", "also_right"])
    assert found["right", "also_right"]["n_left_out"] == found["also_right", "right"]["n_left_out"] == 3
    assert found["right", "also_right"]["n_train_speakers"] == 9
    assert heard and all(learned.isdisjoint(judged) for learned, judged in heard)


def test_where_nobody_is_left_the_pair_is_missing_and_says_why(place: Place) -> None:
    place.rows = place.rows.with_columns(pl.col("person_id").str.replace("also_right", "right"))
    found = place.run(["right", "also_right", "absent"])
    row = found["right", "also_right"]
    assert row["status"] == "missing" and row["macro_f1"] is None
    assert row["reason"] == (
        "no positive utterance to learn from in right without the 12 persons who are judged in also_right"
    )
    assert found["right", "absent"]["reason"] == "no labelled utterance of corpus absent with audio"
    assert found["right", "right"]["status"] == "ok"


def test_only_what_changed_is_computed_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.run()
    file = place.root / "scores" / "known" / FILE
    written, asked = file.stat().st_mtime_ns, []
    honest = probe.probe_many
    monkeypatch.setattr(probe, "probe_many", lambda x, problems, seed=0: asked.extend(problems) or honest(x, problems))
    assert place.run() == first
    assert file.stat().st_mtime_ns == written and not asked
    assert place.run(["right", "left"]) != first
    assert len(read_transfers(place.root / "scores")) == 4


def test_a_file_of_an_older_version_is_written_anew(place: Place) -> None:
    file = place.root / "scores" / "known" / FILE
    file.parent.mkdir(parents=True)
    pl.DataFrame({"name": ["als"], "key": ["k"]}).write_parquet(file)
    (place.root / "scores" / "gone").mkdir()
    pl.DataFrame(schema=dict(SCHEMA)).write_parquet(place.root / "scores" / "gone" / FILE)
    assert read_transfers(place.root / "scores").is_empty()
    assert len(place.run()) == 9
    assert not (place.root / "scores" / "gone" / FILE).exists()


def test_random_vectors_transfer_nothing_for_sure(place: Place) -> None:
    noise = np.random.default_rng(1).standard_normal((place.rows.height, 4))
    place.rows = place.rows.with_columns(pl.Series("vector", noise.tolist()))
    for row in place.run().values():
        assert row["macro_f1_low"] < 0.5 < row["macro_f1_high"]
