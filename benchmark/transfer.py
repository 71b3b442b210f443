"""What a probe learned on one corpus, asked on another: does it hold, or was it the corpus?

``<scores>/<embedder>/transfer.parquet`` has a row for each (transfer, corpus learned from, corpus judged).

The probe learns from a corpus' train and dev split; from everybody where the corpus is free and small (protocol
"folds" of `benchmark.units`). It is judged on everybody of the other corpus where that is free; where its split is
the owners', or a model of the run was trained on it, on its test split. The same corpus twice is the usual probe.
Who is in both corpora is not learned from: those persons are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from benchmark import probe, units
from benchmark.confusion import confusion_by_speaker, f1
from benchmark.embedders import Embedder, Vectors
from benchmark.evaluate import code_hash, corpora_heard, folds_of, load_matrix
from benchmark.files import as_parquet, hash_of
from benchmark.intervals import auroc, of_macro_f1
from benchmark.probe import Problem
from benchmark.task import Transfer, transfer_tasks
from benchmark.units import Numbers, Rows, TaskData, Units
from slap_model.store import write

FILE = "transfer.parquet"

SCHEMA: Mapping[str, pl.DataType] = {
    "name": pl.String(),
    "label": pl.String(),
    "train_corpus": pl.String(),
    "test_corpus": pl.String(),
    "status": pl.String(),
    "reason": pl.String(),
    "f1": pl.Float64(),
    "macro_f1": pl.Float64(),
    "macro_f1_low": pl.Float64(),
    "macro_f1_high": pl.Float64(),
    "auroc": pl.Float64(),
    "n_train_speakers": pl.Int64(),
    "n_left_out": pl.Int64(),
    "n_speakers": pl.Int64(),
    "prevalence": pl.Float64(),
    "key": pl.String(),
}

_Row = dict[str, object]


def transfer(
    embedders: Sequence[Embedder],
    transfers: Sequence[Transfer],
    meta_db: Path,
    shards: Mapping[str, Sequence[Path]],
    embeddings: Path,
    scores: Path,
    *,
    id_key: bytes,
    prune: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Judge each embedder's probe of each corpus on every other corpus; what is kept under the same key is only read.

    Args:
        embedders: those that embed audio; all of the run, as they decide which persons may be judged.
        transfers: from `benchmark.task.load_transfers`.
        meta_db: the warehouse, opened read-only.
        shards: the tars of each corpus that was embedded.
        embeddings: folder given to `embed`.
        scores: folder of the scores.
        id_key: secret key of the hashes of persons.
        prune: remove the files of embedders that are not among the given ones.
        progress: called after each (embedder, transfer) with (done, in all).

    Returns:
        As `read_transfers`, of these embedders.

    Raises:
        TaskError: a transfer's conditions do not fit ``facts``.
        LeakError: a person is in train and in test of a corpus.
        FileNotFoundError: a shard was not embedded.
    """
    tasks = [task for one in transfers for task in transfer_tasks(one).values()]
    data = iter(units.load(tasks, meta_db, shards, id_key, corpora_heard(embedders)))
    asked = [_Asked(one, {corpus: next(data) for corpus in one.corpora}) for one in transfers]
    total, done = len(embedders) * len(asked), 0
    for embedder in embedders:
        kept = _kept(scores / embedder.name / FILE)
        rows: list[_Row] = []
        for one in asked:
            rows += one.rows(embedder, shards, embeddings, kept)
            done += 1
            if progress is not None:
                progress(done, total)
        if {row["key"] for row in rows} != set(kept):
            write(scores / embedder.name / FILE, as_parquet(pl.DataFrame(rows, schema=dict(SCHEMA))))
    names = [embedder.name for embedder in embedders]
    if prune:
        for file in scores.glob(f"*/{FILE}"):
            if file.parent.name not in names:
                file.unlink()
    return read_transfers(scores).filter(pl.col("embedder").is_in(names))


def read_transfers(folder: Path) -> pl.DataFrame:
    """All transfers kept in ``folder``, with a column ``embedder`` in front.

    What an older version of the benchmark wrote, in other columns, is left out: it is computed again.
    """
    files = [file for file in sorted(folder.glob(f"*/{FILE}")) if pl.read_parquet_schema(file) == SCHEMA]
    frames = [pl.read_parquet(file).select(pl.lit(file.parent.name).alias("embedder"), pl.all()) for file in files]
    return pl.concat([pl.DataFrame(schema={"embedder": pl.String(), **SCHEMA}), *frames])


def _kept(file: Path) -> dict[str, _Row]:
    """The rows of a file by key; none where it is absent or an older version wrote it."""
    if not file.exists() or pl.read_parquet_schema(file) != SCHEMA:
        return {}
    return {row["key"]: row for row in pl.read_parquet(file).iter_rows(named=True)}


def key_of(fingerprint: str, transfer: Transfer, train: TaskData, test: TaskData) -> str:
    """Hash of all that the row of an embedder and two corpora depends on."""
    pair = [train.task.corpus, test.task.corpus]
    sides = [(data.hash, data.free, data.protocol) for data in (train, test)]
    return hash_of([fingerprint, asdict(transfer), *pair, sides, _code()])


@cache
def _code() -> str:
    return hash_of([code_hash(), Path(__file__).read_text(encoding="utf-8")])


@dataclass(frozen=True)
class _Side:
    """A corpus of a transfer.

    Attributes:
        data: its labelled utterances.
        learned: the rows that a probe for other corpora learns from.
        judged: the rows that probes of other corpora are judged on.
        units: what is judged.
    """

    data: TaskData
    learned: Rows
    judged: Rows
    units: Units

    @classmethod
    def of(cls, data: TaskData) -> _Side:
        everybody = np.arange(data.utterances.height)
        judged = everybody if data.free else np.flatnonzero((data.utterances["split"] == "test").to_numpy())
        learned = everybody if data.protocol == "folds" else data.train
        return cls(data, learned, judged, data.units_of(judged))

    def lacks(self, rows: Rows) -> str:
        """The class that no utterance of ``rows`` has; empty where both occur."""
        words = ((1, "positive"), (0, "negative"))
        return next((word for label, word in words if not (self.data.y[rows] == label).any()), "")


class _Asked:
    """One transfer with the data of its corpora."""

    def __init__(self, transfer: Transfer, data: Mapping[str, TaskData]) -> None:
        self.transfer = transfer
        self.sides = {corpus: _Side.of(of_corpus) for corpus, of_corpus in data.items()}

    def rows(
        self, embedder: Embedder, shards: Mapping[str, Sequence[Path]], embeddings: Path, kept: Mapping[str, _Row]
    ) -> list[_Row]:
        """A row for each pair of corpora: the kept one, or a new one."""
        pairs = [(train, test) for train in self.sides for test in self.sides]
        keys = {pair: self._key(embedder, *pair) for pair in pairs}
        found = {pair: dict(kept[key]) for pair, key in keys.items() if key in kept}
        todo = [pair for pair in pairs if pair not in found]
        found |= self._new(todo, keys, lambda corpus: load_matrix(embedder, shards[corpus], embeddings))
        return [found[pair] for pair in pairs]

    def _key(self, embedder: Embedder, train: str, test: str) -> str:
        return key_of(embedder.fingerprint, self.transfer, self.sides[train].data, self.sides[test].data)

    def _new(
        self,
        pairs: Sequence[tuple[str, str]],
        keys: Mapping[tuple[str, str], str],
        matrix: Callable[[str], tuple[pl.DataFrame, Vectors]],
    ) -> dict[tuple[str, str], _Row]:
        """The rows of pairs that have to be computed."""
        found: dict[tuple[str, str], _Row] = {}
        learned: dict[tuple[str, str], Rows] = {}
        for train, test in pairs:
            row, rows = self._draft(train, test, keys[train, test])
            found[train, test] = row
            if not row["reason"]:
                learned[train, test] = rows
        corpora = {corpus for pair in learned for corpus in pair}
        x, start = self._stack([corpus for corpus in self.sides if corpus in corpora], matrix)
        for (train, test), (decisions, fold) in self._decisions(learned, x, start).items():
            found[train, test] |= {"status": "ok", **self._measured(train, test, decisions, fold)}
        return found

    def _draft(self, train: str, test: str, key: str) -> tuple[_Row, Rows]:
        """The row of a pair before any number, with the reason if it cannot have any; and the rows to learn from."""
        row: _Row = dict.fromkeys(SCHEMA)
        names = {"name": self.transfer.name, "label": self.transfer.label, "train_corpus": train, "test_corpus": test}
        row |= {**names, "status": "missing", "reason": "", "key": key}
        source, target = self.sides[train], self.sides[test]
        rows = source.learned
        absent = next((corpus for corpus in (train, test) if not self.sides[corpus].data.utterances.height), "")
        if absent:
            return {**row, "reason": f"no labelled utterance of corpus {absent} with audio"}, rows
        if train == test:
            try:
                source.data.refuse("probe")
            except units.MissingError as missing:
                return {**row, "reason": str(missing)}, rows
            return {**row, "n_left_out": 0, "n_train_speakers": source.data.n_train()}, rows
        if word := target.lacks(target.judged):
            return {**row, "reason": f"no {word} utterance to judge in {test}"}, rows
        both = np.isin(source.data.person[rows], target.data.person[target.judged])
        n_both = len(np.unique(source.data.person[rows][both]))
        rows = rows[~both]
        if word := source.lacks(rows):
            without = f" without the {n_both} persons who are judged in {test}" if n_both else ""
            return {**row, "reason": f"no {word} utterance to learn from in {train}{without}"}, rows
        return {**row, "n_left_out": n_both, "n_train_speakers": len(np.unique(source.data.person[rows]))}, rows

    def _stack(
        self, corpora: Sequence[str], matrix: Callable[[str], tuple[pl.DataFrame, Vectors]]
    ) -> tuple[Vectors, dict[str, int]]:
        """The vectors of the labelled utterances of some corpora, one under the other; where each begins."""
        parts, start, n = [], {}, 0
        for corpus in corpora:
            index, x = matrix(corpus)
            utterances = self.sides[corpus].data.utterances.select("utt_id")
            rows = utterances.join(index, on="utt_id", how="left", maintain_order="left")["row"].to_numpy()
            parts.append(x[rows])
            start[corpus] = n
            n += len(rows)
        return (np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)), start

    def _decisions(
        self, learned: Mapping[tuple[str, str], Rows], x: Vectors, start: Mapping[str, int]
    ) -> dict[tuple[str, str], tuple[Numbers, probe.Labels | None]]:
        """Decisions [repeats, n] on the judged utterances of each pair, and which fold's probe made them.

        Pairs that share a probe train it once; there are no folds then.
        """
        decisions: dict[tuple[str, str], tuple[Numbers, probe.Labels | None]] = {}
        shared: dict[tuple[str, bytes], list[str]] = {}
        for (train, test), rows in learned.items():
            data = self.sides[train].data
            if train == test and data.protocol == "folds":
                own = x[start[train] : start[train] + data.utterances.height]
                folds = probe.repeated_folds(own, data.y, data.person, probe.REPEATS, folds=probe.FOLDS)
                decisions[train, test] = folds.by_repeat, folds.fold
            else:
                shared.setdefault((train, rows.tobytes()), []).append(test)
        problems = []
        for (train, content), tests in shared.items():
            data, rows = self.sides[train].data, np.frombuffer(content, dtype=np.int64)
            asked = [start[test] + self._judged(train, test) for test in tests]
            problems.append(Problem(start[train] + rows, data.y[rows], data.person[rows], np.concatenate(asked)))
        answers = probe.probe_many(x, problems) if problems else []
        for ((train, _), tests), answer in zip(shared.items(), answers, strict=True):
            ends = np.cumsum([len(self._judged(train, test)) for test in tests])[:-1]
            for test, part in zip(tests, np.split(answer.decisions, ends), strict=True):
                decisions[train, test] = part[None], None
        return decisions

    def _judged(self, train: str, test: str) -> Rows:
        side = self.sides[test]
        return side.data.judged if train == test else side.judged

    def _measured(self, train: str, test: str, decisions: Numbers, fold: probe.Labels | None) -> _Row:
        """The numbers of a pair."""
        side = self.sides[test]
        of = side.data.units if train == test else side.units
        values = of.mean(decisions)
        frame = of.frame.with_columns(
            score=pl.Series(values.mean(axis=0)),
            predicted=pl.Series((values > 0).mean(axis=0)),
            **folds_of(of, fold, values),
        )
        macro, low, high = of_macro_f1(frame, test)
        speakers, counts = confusion_by_speaker(frame)
        return {
            "f1": float(f1(counts.sum(axis=0))),
            "macro_f1": macro,
            "macro_f1_low": low,
            "macro_f1_high": high,
            "auroc": auroc(frame),
            "n_speakers": len(speakers),
            "prevalence": float(frame["y"].to_numpy().mean()),
        }
