"""The labelled data of a task: who is judged, who is learned from, and what one prediction is about.

A person on both sides of a task is refused before anything is scored (`LeakError`).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.embed import utterance_ids
from benchmark.files import file_hash, hash_of
from benchmark.task import Rows as LabelledRows
from benchmark.task import Task, primary, rows_of

FEW = 30  # test persons; below, one split says little and a corpus that is free is judged by folds

Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]
Numbers = npt.NDArray[np.float64]


class LeakError(ValueError):
    """Somebody is learned from and judged; the message names the task and the number of persons."""


class MissingError(Exception):
    """Why a task cannot be scored; becomes the reason of its row."""


@dataclass(frozen=True)
class Bound:
    """Corpora whose split must be kept, with the reason.

    Attributes:
        official: a person of theirs has a place in the owners' split.
        heard: an embedder of the run was trained on them, or on another corpus with one of their persons.
    """

    official: frozenset[str]
    heard: frozenset[str]

    def free(self, corpus: str) -> bool:
        """Whether the persons of a corpus may be dealt out anew."""
        return corpus not in self.official | self.heard


def bound(meta_db: Path, trained_on: Collection[str]) -> Bound:
    """Which corpora keep their split.

    Args:
        meta_db: the warehouse, with ``speaker`` and ``person_split``.
        trained_on: the corpora that any embedder of the run was trained on.
    """
    official = "SELECT DISTINCT corpus FROM speaker JOIN person_split USING (person_id) WHERE source = 'official'"
    heard = (
        "SELECT DISTINCT corpus FROM speaker WHERE person_id IN "
        "(SELECT person_id FROM speaker WHERE list_contains(?, corpus))"
    )
    with duckdb.connect(str(meta_db), read_only=True) as con:
        return Bound(
            official=frozenset(row[0] for row in con.execute(official).fetchall()),
            heard=frozenset(row[0] for row in con.execute(heard, [sorted(trained_on)]).fetchall()) | set(trained_on),
        )


@dataclass(frozen=True)
class Units:
    """What the predictions are about.

    Attributes:
        frame: a row a unit: unit_id, person, split, sex, age, language, y; sorted by unit_id and y.
        of: [n] the unit of each utterance.
    """

    frame: pl.DataFrame
    of: Rows

    def mean(self, values: Numbers) -> Numbers:
        """Values of utterances [..., n] as means over those of each unit [..., units]."""
        flat = values.reshape(-1, len(self.of))
        size = np.bincount(self.of, minlength=self.frame.height)
        means = [np.bincount(self.of, row, minlength=self.frame.height) / size for row in flat]
        return np.array(means, dtype=np.float64).reshape(*values.shape[:-1], self.frame.height)


@dataclass(frozen=True)
class TaskData:
    """The labelled utterances of one task that are in a shard, the same for every embedder.

    Attributes:
        task: the question.
        utterances: utt_id, person (keyed hash), split, y, sex, age, language; sorted by utt_id.
        free: whether the persons may be dealt out anew; see `Bound`.
        protocol: "split": learn on train and dev, judge test. "folds": judge everybody, each by a probe that
            never heard the person; for free corpora with fewer than `FEW` test persons.
        n_without_audio: labelled utterances to be judged that are in no shard.
        n_too_weak: labelled utterances left out, as their label is of a weaker source than the task's.
        hash: of labels and audio.
    """

    task: Task
    utterances: pl.DataFrame
    free: bool
    protocol: str
    n_without_audio: int
    n_too_weak: int
    hash: str

    @cached_property
    def train(self) -> Rows:
        """The rows of the train and dev split."""
        return np.flatnonzero((self.utterances["split"] != "test").to_numpy())

    @cached_property
    def judged(self) -> Rows:
        """The rows that are judged: the test split, or all."""
        if self.protocol == "folds":
            return np.arange(self.utterances.height)
        return np.flatnonzero((self.utterances["split"] == "test").to_numpy())

    @cached_property
    def y(self) -> Labels:
        """[n] labels of all utterances."""
        return self.utterances["y"].to_numpy()

    @cached_property
    def person(self) -> npt.NDArray[np.str_]:
        """[n] who speaks."""
        return self.utterances["person"].to_numpy().astype(str)

    @cached_property
    def unit_ids(self) -> npt.NDArray[np.str_]:
        """[n] what a prediction of each utterance is about: the person, or the utterance itself."""
        return self.utterances["person" if self.task.unit == "speaker" else "utt_id"].to_numpy().astype(str)

    @cached_property
    def units(self) -> Units:
        """The units that are judged."""
        return self.units_of(self.judged)

    @cached_property
    def languages(self) -> frozenset[str]:
        """The languages that are judged, without their regions."""
        return frozenset(map(primary, self.utterances[self.judged]["language"].drop_nulls().unique()))

    def units_of(self, rows: Rows) -> Units:
        """The units that some utterances make up: themselves, or their speakers.

        A speaker who is positive in one session and negative in another is two units of one person.
        """
        some = self.utterances[rows].with_columns(
            pl.lit("fold").alias("split") if self.protocol == "folds" else pl.col("split")
        )
        if self.task.unit == "speaker":
            some = some.with_columns(pl.col("person").alias("unit_id"))
            same = [_if_same(column) for column in ("split", "sex", "age", "language")]
            frame = some.group_by("unit_id", "person", "y").agg(same)
        else:
            some = some.rename({"utt_id": "unit_id"})
            frame = some
        columns = ("unit_id", "person", "split", "sex", "age", "language", "y")
        frame = frame.select(columns).sort("unit_id", "y").with_row_index("unit")
        of = some.join(frame.select("unit", "unit_id", "y"), on=["unit_id", "y"], how="left", maintain_order="left")
        return Units(frame.drop("unit"), of["unit"].to_numpy().astype(np.int64))

    def other_splits(self, n: int) -> list[tuple[Rows, Rows]]:
        """New splits (rows to learn from, rows to judge), by person, with as many test persons as now.

        Persons with a positive utterance and those without are dealt out apart. Empty where there are too few.
        """
        from sklearn.model_selection import StratifiedShuffleSplit

        persons, of_row = np.unique(self.person, return_inverse=True)
        positive = np.bincount(of_row, self.y) > 0
        n_test = len(np.unique(of_row[self.judged]))
        if min(positive.sum(), (~positive).sum(), n_test, len(persons) - n_test) < 2:
            return []
        dealt = StratifiedShuffleSplit(n, test_size=n_test, random_state=0).split(persons, positive)
        splits = [(np.flatnonzero(np.isin(of_row, fit)), np.flatnonzero(np.isin(of_row, test))) for fit, test in dealt]
        return splits if all(len(np.unique(self.y[rows])) == 2 for split in splits for rows in split) else []

    def own_language(self) -> str:
        """The commonest language of the utterances, without its region; empty where none is known."""
        known = self.utterances["language"].drop_nulls().map_elements(primary, return_dtype=pl.String)
        return "" if known.is_empty() else str(known.mode().sort()[0])

    def n_train(self) -> int:
        """Persons that a probe learns from; with folds, on average."""
        from benchmark.probe import FOLDS

        if self.protocol == "split":
            return len(np.unique(self.person[self.train]))
        folds = min(FOLDS, *(len(np.unique(self.person[self.y == label])) for label in (0, 1)))
        return round(len(np.unique(self.person)) * (1 - 1 / folds))

    def refuse(self, mode: str) -> None:
        """Raise `MissingError` where a class has nobody to learn from or to judge."""
        if not self.utterances.height:
            raise MissingError(f"no labelled utterance of corpus {self.task.corpus} with audio")
        for label, word in ((1, "positive"), (0, "negative")):
            if self.protocol == "folds":
                persons = len(np.unique(self.person[self.y == label]))
                if not persons:
                    raise MissingError(f"no {word} utterance")
                if mode == "probe" and persons < 2:
                    raise MissingError(f"one {word} speaker only: folds need two")
            else:
                for part, rows in (("train", self.train), ("test", self.judged)):
                    if (part == "test" or mode == "probe") and not (self.y[rows] == label).any():
                        raise MissingError(f"no {word} utterance in the {part} split")


def load(
    tasks: Sequence[Task],
    meta_db: Path,
    shards: Mapping[str, Sequence[Path]],
    id_key: bytes,
    trained_on: Collection[str],
) -> list[TaskData]:
    """The data of each task.

    Args:
        tasks: from `benchmark.task.load_tasks`.
        meta_db: the warehouse, opened read-only.
        shards: the tars of each corpus.
        id_key: secret key of the hashes of persons.
        trained_on: the corpora that any embedder of the run was trained on.

    Raises:
        TaskError: a task's conditions do not fit ``facts``.
        LeakError: a person is in train and in test.
    """
    kept = bound(meta_db, trained_on)
    audio = {corpus: _Audio(shards.get(corpus, ())) for corpus in {task.corpus for task in tasks}}
    return [
        _data(task, rows, audio[task.corpus], id_key, kept.free(task.corpus))
        for task, rows in zip(tasks, rows_of(tasks, meta_db), strict=True)
    ]


def keyed_hash(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of an id, 20 hex digits: the same person the same hash, nobody named."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:20]


class _Audio:
    """The utterances of a corpus that have audio, and the hashes of its tars: read once for all its tasks."""

    def __init__(self, shards: Sequence[Path]) -> None:
        self.ids = pl.Series("utt_id", [name for shard in shards for name in utterance_ids(shard)], pl.String())
        self.hashes = sorted(file_hash(shard) for shard in shards)


def _data(task: Task, rows: LabelledRows, audio: _Audio, id_key: bytes, free: bool) -> TaskData:
    labelled = rows.frame
    persons = labelled["person_id"].unique()
    hashed = [keyed_hash(person, id_key) for person in persons]
    labelled = labelled.with_columns(
        pl.col("person_id").replace_strict(persons, hashed, return_dtype=pl.String()).alias("person")
    ).drop("person_id")
    _refuse_leak(task, labelled)
    heard = pl.col("utt_id").is_in(audio.ids.implode())
    data = TaskData(
        task=task,
        utterances=labelled.filter(heard).sort("utt_id"),
        free=free,
        protocol="split",
        n_without_audio=labelled.filter(pl.col("split") == "test", ~heard).height,
        n_too_weak=rows.n_too_weak,
        hash=hash_of([labelled.write_csv(), audio.hashes]),
    )
    if free and data.utterances.filter(split="test")["person"].n_unique() < FEW:
        return replace(data, protocol="folds", n_without_audio=labelled.filter(~heard).height)
    return data


def _refuse_leak(task: Task, labelled: pl.DataFrame) -> None:
    tested = pl.col("split") == "test"
    both = labelled.group_by("person").agg(sides=tested.n_unique()).filter(pl.col("sides") > 1).height
    if both:
        raise LeakError(
            f"task {task.name}: persons of corpus {task.corpus} in both train and test: {both}; nothing was scored. "
            "A person has one split: look at table person_split of meta.db, and build it again"
        )


def _if_same(column: str) -> pl.Expr:
    return pl.when(pl.col(column).n_unique() == 1).then(pl.col(column).first()).alias(column)
