"""Scores: what each embedder predicts for each task, kept as files, and the board made from them.

Every (embedder, task, mode) leaves two files. The mode is ``zero-shot`` or ``probe``; an embedder without
text has no zero-shot, the constant predictor has both.

``<predictions>/<embedder>/<task>.<mode>.parquet``, one row a unit of the test split:

==========  =======  ===================================================================================
unit_id     String   unit "speaker": `keyed_hash` of person_id; unit "utterance": the utt_id, which
                     ingest has hashed already; (unit_id, y) is unique
person      String   `keyed_hash` of person_id: who is drawn in the bootstrap
split       String   always "test"
sex         String   female, male, other or null
age         String   child, young, middle-aged, older or null
language    String   BCP-47, or null where the utterances of a speaker differ
y           Int8     1 positive, 0 negative
score       Float64  above 0: positive. Zero-shot: cosine with the positive minus with the negative prompts;
                     probe: decision function. For a speaker, the mean over the utterances
predicted   Int8     1 where score > 0
prompt_<i>  Int8     zero-shot only: predicted by prompt pair i alone, in the order of tasks.toml
==========  =======  ===================================================================================

``<scores>/<embedder>/<task>.<mode>.json``: the fields of `Score`. What cannot be scored has status
``missing``, a reason, and null where a number would stand.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark import intervals, metrics
from benchmark.baselines import AlwaysYes
from benchmark.embed import embeddings_folder, load_embeddings, shard_hash, utterance_ids
from benchmark.embedders import Embedder, Vectors, project, speaks
from benchmark.probe import probe
from benchmark.task import GROUPS, TRACKS, PromptPair, Task, rows_of
from benchmark.zeroshot import Prompts, embed_prompts, zero_shot

MODES = ("zero-shot", "probe")
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "zero-shot": ("always-yes", "random"),
    "probe": ("untrained", "random"),
}

Contender = Embedder | AlwaysYes
Decisions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One line of the results: how one embedder did on one task in one mode.

    Attributes:
        embedder, fingerprint: who.
        task, group, track, corpus: on what; from the task file.
        mode: zero-shot or probe.
        status: ok, or missing with a ``reason``; then every number below that needs predictions is None.
        synthetic: whether the corpus is its rendered miniature, not recordings of people.
        f1 .. prevalence: see `metrics.Metrics`.
        protocol: "split" (learn on train and dev, judge test) or "folds" (a small corpus that no model was
            trained on: every person is judged once a repeat, by a probe that did not hear the person).
        repeats: of the folds; 1 with a split.
        prior_random_f1, prior_random_macro_f1: expected of saying yes at random as often as yes is true.
        brier, calibration_error: of the probabilities; None where the embedder gives none.
        best_prompt, best_prompt_macro_f1 (_low, _high): the single pair that is best on the training split, from
            0, and what it earns on the test split; None in the probe.
        seeds: macro-F1 under other seeds of the split (of the folds for C, where the split is fixed).
        learning_curve: rows {n_speakers, macro_f1, low, high}: the probe trained on fewer speakers, mean, lowest
            and highest of several draws.
        n_too_weak: labelled utterances left out because who labelled them is less than the task's ``source``.
        n_train_speakers: persons the probe learned from; None in zero-shot.
        n_without_audio: labelled test utterances that are in no shard and so not judged.
        prompt_min, prompt_max: macro-F1 of the worst and the best single prompt pair; None in the probe.
        n_prompts, prompt_language: of the pairs used; None in the probe.
        ood_corpus, ood_language, ood_label: whether the embedder's training lacked the corpus, every
            language of the test split, the attribute of the positive class; ood_language is None while
            the task has no test utterance.
        key: hash of all that the score depends on; the same key is not computed again.
        hashes: manifest (of the embedder's training, empty when none), split, data (labels and audio),
            task, code, predictions (of the Parquet file, empty when missing).
    """

    embedder: str
    fingerprint: str
    task: str
    group: str
    track: str
    corpus: str
    mode: str
    status: str
    reason: str
    synthetic: bool
    ood_corpus: bool
    ood_language: bool | None
    ood_label: bool
    f1: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    macro_f1: float | None = None
    macro_f1_low: float | None = None
    macro_f1_high: float | None = None
    balanced_accuracy: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    brier: float | None = None
    calibration_error: float | None = None
    predicted_positive_rate: float | None = None
    always_yes_f1: float | None = None
    always_yes_macro_f1: float | None = None
    prior_random_f1: float | None = None
    prior_random_macro_f1: float | None = None
    protocol: str = "split"
    repeats: int = 1
    n: int | None = None
    n_speakers: int | None = None
    n_train_speakers: int | None = None
    n_without_audio: int | None = None
    prevalence: float | None = None
    prompt_min: float | None = None
    prompt_max: float | None = None
    n_prompts: int | None = None
    best_prompt: int | None = None
    best_prompt_macro_f1: float | None = None
    best_prompt_macro_f1_low: float | None = None
    best_prompt_macro_f1_high: float | None = None
    seeds: Sequence[float] | None = None
    learning_curve: Sequence[Mapping[str, float]] | None = None
    n_too_weak: int | None = None
    prompt_language: str | None = None
    key: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Board:
    """The results in short.

    Attributes:
        means: a row for each (track, stratum, embedder, mode). The stratum is all, a group
            (demographic, voice, health), in-domain, out-of-domain, new-language or new-label.
            ``complete`` says how many of the tasks have a score, as "37/38"; f1, macro_f1 (with _low and
            _high), balanced_accuracy and auroc are null unless all have.
        differences: a row for each (track, embedder, mode, reference): difference of the mean macro-F1,
            low, high, and whether the interval leaves out 0 (``separable``). Null like the means.
    """

    means: pl.DataFrame
    differences: pl.DataFrame


class _Missing(Exception):
    """Why a task cannot be scored; becomes the reason of its row."""


def keyed_hash(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of an id, 20 hex digits: the same person the same hash, nobody named."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:20]


def evaluate(
    embedders: Sequence[Contender],
    tasks: Sequence[Task],
    meta_db: Path,
    shards: Mapping[str, Sequence[Path]],
    embeddings: Path,
    predictions: Path,
    scores: Path,
    *,
    id_key: bytes,
    split_hash: str = "",
    synthetic: Collection[str] = (),
    prompt_language: str = "en",
    prune: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[Score]:
    """Score each embedder on each task; what is scored already, from the same inputs, is only read.

    Args:
        embedders: with distinct names; their vectors were made by `benchmark.embed.embed`.
        tasks: from `benchmark.task.load_tasks`.
        meta_db: the warehouse, opened read-only.
        shards: the tars of each corpus that was embedded.
        embeddings: folder given to `embed`.
        predictions: folder for the predictions.
        scores: folder for the scores.
        id_key: secret key of the hashes of persons.
        split_hash: of the table that gives each person a split.
        synthetic: corpora that are miniatures.
        prompt_language: of the prompts, where a task has it; otherwise English.
        prune: remove the files of embedders and tasks that are not among the given ones.
        progress: called after each score with (done, in all).

    Returns:
        One score for each (embedder, task, mode that the embedder has), in this order.

    Raises:
        TaskError: a task's conditions do not fit ``facts``.
        FileNotFoundError: a shard was not embedded.
    """
    names = [embedder.name for embedder in embedders]
    if len(set(names)) < len(names):
        raise ValueError(f"two embedders share a name: {sorted(names)}; give one another name")
    data = [
        _TaskData(task, labelled, shards.get(task.corpus, ()), id_key)
        for task, labelled in zip(tasks, rows_of(tasks, meta_db), strict=True)
    ]
    texts = [text for task in tasks for pair in task.pairs(prompt_language)[1] for text in pair]
    judged = [_Judged(embedder, shards, embeddings, texts) for embedder in embedders]
    work = [(one, mode, of_task) for one in judged for mode in one.modes for of_task in data]
    results: list[Score] = []
    for done, (one, mode, of_task) in enumerate(work, 1):
        place = Path(one.embedder.name) / f"{of_task.task.name}.{mode}"
        draft = _draft(one.embedder, of_task, mode, split_hash, of_task.task.corpus in synthetic, prompt_language)
        stored = _stored(scores / f"{place}.json", predictions / f"{place}.parquet", draft.key)
        results.append(
            stored or _score(draft, one, of_task, scores / f"{place}.json", predictions / f"{place}.parquet")
        )
        if progress is not None:
            progress(done, len(work))
    if prune:
        expected = {(score.embedder, f"{score.task}.{score.mode}") for score in results}
        _prune(scores, ".json", expected)
        _prune(predictions, ".parquet", expected)
    return results


def read_scores(folder: Path) -> list[Score]:
    """All scores kept in ``folder``, sorted by embedder, mode and task."""
    found = [Score(**json.loads(file.read_text())) for file in folder.glob("*/*.json")]
    return sorted(found, key=lambda score: (score.embedder, score.mode, score.task))


# --- one score ----------------------------------------------------------------------------------------------


class _TaskData:
    """The labelled utterances of one task that are in a shard, the same for every embedder."""

    def __init__(self, task: Task, labelled: pl.DataFrame, shards: Sequence[Path], id_key: bytes) -> None:
        persons = labelled["person_id"].unique()
        hashed = [keyed_hash(person, id_key) for person in persons]
        labelled = labelled.with_columns(
            pl.col("person_id").replace_strict(persons, hashed, return_dtype=pl.String()).alias("person")
        ).drop("person_id")
        with_audio = pl.Series("utt_id", [name for shard in shards for name in utterance_ids(shard)], pl.String())
        heard = pl.col("utt_id").is_in(with_audio.implode())
        self.task = task
        self.test = labelled.filter(pl.col("split") == "test", heard)
        self.train = labelled.filter(pl.col("split").is_in(["train", "dev"]), heard)
        self.n_without_audio = labelled.filter(pl.col("split") == "test", ~heard).height
        self.hash = _hash([labelled.write_csv(), sorted(shard_hash(shard) for shard in shards)])

    def refuse(self, part: str, utterances: pl.DataFrame) -> None:
        """Raise `_Missing` unless both classes occur in a part."""
        if not self.train.height + self.test.height:
            raise _Missing(f"no labelled utterance of corpus {self.task.corpus} with audio")
        for label, word in ((1, "positive"), (0, "negative")):
            if not (utterances["y"] == label).any():
                raise _Missing(f"no {word} utterance in the {part} split")


class _Judged:
    """An embedder with what is loaded only when a score has to be computed: vectors and prompts."""

    def __init__(
        self,
        embedder: Contender,
        shards: Mapping[str, Sequence[Path]],
        embeddings: Path,
        texts: Sequence[str],
    ) -> None:
        self.embedder = embedder
        self._shards = shards
        self._embeddings = embeddings
        self._texts = texts
        self._vectors: dict[str, pl.DataFrame] = {}

    @property
    def modes(self) -> tuple[str, ...]:
        with_text = isinstance(self.embedder, AlwaysYes) or speaks(self.embedder)
        return MODES if with_text else ("probe",)

    def vectors(self, utterances: pl.DataFrame, corpus: str) -> Vectors:
        """The vectors [n, d] of utterances of a corpus."""
        assert not isinstance(self.embedder, AlwaysYes)
        if corpus not in self._vectors:
            folder = embeddings_folder(self.embedder, self._embeddings)
            self._vectors[corpus] = load_embeddings(folder, self._shards[corpus])
        found = utterances.join(self._vectors[corpus], on="utt_id", how="left", maintain_order="left")["vector"]
        return found.list.to_array(len(found[0])).to_numpy()

    @cached_property
    def prompts(self) -> Prompts:
        """The unit vector of every prompt of every task, computed in one go."""
        assert not isinstance(self.embedder, AlwaysYes) and speaks(self.embedder)
        return embed_prompts(self.embedder, self._texts)

    def decide(self, of_task: _TaskData, mode: str, pairs: Sequence[PromptPair]) -> tuple[Decisions, Decisions]:
        """Decision values of the test utterances: [n], and in zero-shot [n, pairs] by single prompt pairs."""
        test, corpus = of_task.test, of_task.task.corpus
        if isinstance(self.embedder, AlwaysYes):
            by_pair = len(pairs) if mode == "zero-shot" else 0
            return self.embedder.decide(test.height), np.ones((test.height, by_pair))
        heard = self.vectors(test, corpus)
        if mode == "zero-shot":
            result = zero_shot(project(self.embedder, heard), pairs, self.prompts)
            return result.ensemble, result.by_pair
        y, person = of_task.train["y"].to_numpy(), of_task.train["person"].to_numpy()
        return probe(self.vectors(of_task.train, corpus), y, person, heard), np.ones((test.height, 0))


def _draft(
    embedder: Contender, of_task: _TaskData, mode: str, split_hash: str, synthetic: bool, language: str
) -> Score:
    """The score before any number: all that it depends on, and the key made of it."""
    task, trained_on = of_task.task, embedder.trained_on
    spoken = {_primary(tag) for tag in of_task.test["language"].drop_nulls()}
    draft = Score(
        embedder=embedder.name,
        fingerprint=embedder.fingerprint,
        task=task.name,
        group=task.group,
        track=task.track,
        corpus=task.corpus,
        mode=mode,
        status="missing",
        reason="",
        synthetic=synthetic,
        ood_corpus=task.corpus not in trained_on["corpora"],
        ood_language=spoken.isdisjoint(map(_primary, trained_on["languages"])) if spoken else None,
        ood_label=task.labels.isdisjoint(label_of(fact) for fact in trained_on["labels"]),
        prompt_language=task.pairs(language)[0] if mode == "zero-shot" else None,
        hashes={
            "manifest": getattr(embedder, "manifest", ""),
            "split": split_hash,
            "data": of_task.hash,
            "task": task.hash,
            "code": code_hash(),
            "predictions": "",
        },
    )
    return replace(draft, key=_hash(asdict(draft)))


def _score(draft: Score, judged: _Judged, of_task: _TaskData, score_file: Path, predictions_file: Path) -> Score:
    """Predict and measure, or say why not; either way the score is written."""
    try:
        if draft.mode == "probe":
            of_task.refuse("train", of_task.train)
        of_task.refuse("test", of_task.test)
    except _Missing as missing:
        score = replace(draft, reason=str(missing))
        predictions_file.unlink(missing_ok=True)
        _write(score_file, _as_json(score))
        return score
    pairs = of_task.task.pairs(draft.prompt_language or "en")[1]
    decisions, by_pair = judged.decide(of_task, draft.mode, pairs)
    predictions = _units(of_task, decisions, by_pair)
    _write(predictions_file, _as_parquet(predictions))
    single = [_macro_f1(predictions, f"prompt_{i}") for i in range(by_pair.shape[1])]
    numbers = metrics.measure(predictions, draft.corpus)
    score = replace(
        draft,
        status="ok",
        **asdict(numbers),
        n_train_speakers=of_task.train["person"].n_unique() if draft.mode == "probe" else None,
        n_without_audio=of_task.n_without_audio,
        prompt_min=min(single, default=None),
        prompt_max=max(single, default=None),
        n_prompts=len(single) or None,
        hashes={**draft.hashes, "predictions": _file_hash(predictions_file)},
    )
    _write(score_file, _as_json(score))
    return score


def _units(of_task: _TaskData, decisions: Decisions, by_pair: Decisions) -> pl.DataFrame:
    """The predictions, one row a unit: utterances as they are, or the mean over those of a speaker.

    A speaker who is positive in one session and negative in another is two units of one person.
    """
    values = ["score", *(f"prompt_{i}" for i in range(by_pair.shape[1]))]
    frame = of_task.test.with_columns(
        pl.Series(name, column) for name, column in zip(values, [decisions, *by_pair.T], strict=True)
    )
    if of_task.task.unit == "speaker":
        same = [_if_same(column) for column in ("sex", "age", "language")]
        frame = frame.group_by("person", "y").agg(pl.col(values).mean(), pl.lit("test").alias("split"), *same)
        frame = frame.with_columns(pl.col("person").alias("unit_id"))
    else:
        frame = frame.rename({"utt_id": "unit_id"})
    return (
        frame.with_columns(
            (pl.col(values[1:]) > 0).cast(pl.Int8), (pl.col("score") > 0).cast(pl.Int8).alias("predicted")
        )
        .select("unit_id", "person", "split", "sex", "age", "language", "y", "score", "predicted", *values[1:])
        .sort("unit_id", "y")
    )


def _if_same(column: str) -> pl.Expr:
    return pl.when(pl.col(column).n_unique() == 1).then(pl.col(column).first()).alias(column)


def _macro_f1(predictions: pl.DataFrame, column: str) -> float:
    _, counts = metrics.confusion_by_speaker(predictions.with_columns(pl.col(column).alias("predicted")))
    return float(metrics.macro_f1(counts.sum(axis=0)))


def label_of(fact: str) -> str:
    """The attribute of a label: ``depression`` for ``depression=present`` and ``depression_severity``."""
    return fact.partition("=")[0].removesuffix("_severity")


def _primary(tag: str) -> str:
    return tag.lower().partition("-")[0]


# --- files --------------------------------------------------------------------------------------------------


@cache
def code_hash() -> str:
    """Hash of what turns vectors into scores: these modules and the versions of what they lean on."""
    names = ("task", "embed", "zeroshot", "probe", "confusion", "intervals", "metrics", "evaluate")
    sources = [Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in names]
    return _hash([sources, [version(name) for name in ("numpy", "scikit-learn")]])


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _stored(score_file: Path, predictions_file: Path, key: str) -> Score | None:
    """The score kept under the same key, when its predictions are there too and unchanged."""
    if not score_file.exists():
        return None
    stored = json.loads(score_file.read_text())
    if stored["key"] != key:
        return None
    score = Score(**stored)
    whole = score.status == "missing" or (
        predictions_file.exists() and _file_hash(predictions_file) == score.hashes["predictions"]
    )
    return score if whole else None


def _as_json(score: Score) -> bytes:
    return json.dumps(asdict(score), indent=1, allow_nan=False).encode()


def _as_parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(target)


def _prune(folder: Path, ending: str, expected: Collection[tuple[str, str]]) -> None:
    """Remove files of embedders and tasks that left the board, and folders that this empties."""
    for file in folder.glob(f"*/*{ending}"):
        if (file.parent.name, file.name.removesuffix(ending)) not in expected:
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()


# --- the board ----------------------------------------------------------------------------------------------

DOMAINS: Mapping[str, Callable[[Score], bool]] = {
    "in-domain": lambda score: not score.ood_corpus,
    "out-of-domain": lambda score: score.ood_corpus,
    "new-language": lambda score: bool(score.ood_language),
    "new-label": lambda score: score.ood_label,
}
_MEANS = {
    "track": pl.String(),
    "stratum": pl.String(),
    "embedder": pl.String(),
    "mode": pl.String(),
    "complete": pl.String(),
    "f1": pl.Float64(),
    "macro_f1": pl.Float64(),
    "macro_f1_low": pl.Float64(),
    "macro_f1_high": pl.Float64(),
    "balanced_accuracy": pl.Float64(),
    "auroc": pl.Float64(),
}
_DIFFERENCES = {
    "track": pl.String(),
    "embedder": pl.String(),
    "mode": pl.String(),
    "reference": pl.String(),
    "complete": pl.String(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "separable": pl.Boolean(),
}


def board(scores: Sequence[Score], predictions: Path, tasks: Sequence[Task]) -> Board:
    """Means over tasks, and differences to the references; null as long as a task is missing.

    Args:
        scores: from `evaluate` or `read_scores`.
        predictions: folder of the predictions that the scores were measured on.
        tasks: all that the board should have.
    """
    means: list[dict[str, object]] = []
    differences: list[dict[str, object]] = []
    for track in TRACKS:
        of_track = [task for task in tasks if task.track == track]
        if not of_track:
            continue
        runs = {
            (embedder, mode): _Run(embedder, mode, of_track, scores, predictions)
            for embedder, mode in sorted({(score.embedder, score.mode) for score in scores})
        }
        for run in runs.values():
            means += [{"track": track, **run.mean(stratum, of_it)} for stratum, of_it in run.strata()]
            references = [name for name in REFERENCES[run.mode] if (name, run.mode) in runs and name != run.embedder]
            differences += [{"track": track, **run.difference(runs[name, run.mode])} for name in references]
    return Board(means=pl.DataFrame(means, schema=_MEANS), differences=pl.DataFrame(differences, schema=_DIFFERENCES))


class _Run:
    """The scores and predictions of one embedder in one mode on the tasks of one track."""

    def __init__(
        self, embedder: str, mode: str, tasks: Sequence[Task], scores: Sequence[Score], predictions: Path
    ) -> None:
        self.embedder = embedder
        self.mode = mode
        self.tasks = tasks
        self.scores = {score.task: score for score in scores if (score.embedder, score.mode) == (embedder, mode)}
        self.units = {
            task.name: pl.read_parquet(predictions / embedder / f"{task.name}.{mode}.parquet")
            for task in tasks
            if task.name in self.scores and self.scores[task.name].status == "ok"
        }

    def strata(self) -> Iterator[tuple[str, list[Task]]]:
        """Each stratum that has a task, with its tasks."""
        yield "all", list(self.tasks)
        by_group = {group: [task for task in self.tasks if task.group == group] for group in GROUPS}
        scored = [task for task in self.tasks if task.name in self.scores]
        by_domain = {name: [task for task in scored if lies(self.scores[task.name])] for name, lies in DOMAINS.items()}
        yield from ((name, tasks) for name, tasks in {**by_group, **by_domain}.items() if tasks)

    def mean(self, stratum: str, tasks: Sequence[Task]) -> dict[str, object]:
        """A row of `Board.means`."""
        row: dict[str, object] = {
            "stratum": stratum,
            "embedder": self.embedder,
            "mode": self.mode,
            "complete": self._complete(tasks),
        }
        if any(task.name not in self.units for task in tasks):
            return row
        columns = ("f1", "balanced_accuracy", "auroc")
        plain = {name: np.mean([getattr(self.scores[task.name], name) for task in tasks]) for name in columns}
        macro, low, high = intervals.mean_macro_f1(self.units, tasks)
        return {**row, **plain, "macro_f1": macro, "macro_f1_low": low, "macro_f1_high": high}

    def difference(self, reference: _Run) -> dict[str, object]:
        """A row of `Board.differences`."""
        row: dict[str, object] = {
            "embedder": self.embedder,
            "mode": self.mode,
            "reference": reference.embedder,
            "complete": self._complete(self.tasks),
        }
        if any(task.name not in self.units or task.name not in reference.units for task in self.tasks):
            return row
        difference, low, high = intervals.paired_difference(self.units, reference.units, self.tasks)
        return {**row, "difference": difference, "low": low, "high": high, "separable": low > 0 or high < 0}

    def _complete(self, tasks: Sequence[Task]) -> str:
        return f"{sum(task.name in self.units for task in tasks)}/{len(tasks)}"
