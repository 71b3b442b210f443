"""Scores: what each embedder predicts for each task, kept as files.

Every (embedder, task, mode) leaves two files. The mode is ``zero-shot`` or ``probe``; an embedder without
text has no zero-shot, the constant predictor has both.

``<predictions>/<embedder>/<task>.<mode>.parquet``, one row a unit that is judged:

===========  =======  ==================================================================================
unit_id      String   unit "speaker": `keyed_hash` of person_id; unit "utterance": the utt_id, which
                      ingest has hashed already; (unit_id, y) is unique
person       String   `keyed_hash` of person_id: who is drawn in the bootstrap
split        String   "test", or "fold" where everybody is judged (`units.TaskData.protocol`)
sex          String   female, male, other or null
age          String   child, young, middle-aged, older or null
language     String   BCP-47, or null where the utterances of a speaker differ
y            Int8     1 positive, 0 negative
score        Float64  above 0: positive. Zero-shot: cosine with the positive minus with the negative prompts;
                      probe: decision function. For a speaker, the mean over the utterances; with folds, the
                      mean over the repeats
predicted    Float64  share of the repeats that say positive: 1 or 0 where there is one
folds        List     Int8: with folds, which probe judged the unit in each repeat; null where one model judged all.
                      Scores of different probes are on different scales: AUROC compares within folds
fold_scores  List     Float64: with folds, the decision in each repeat; null likewise
probability  Float64  of positive; null where the embedder gives none. Zero-shot: softmax over both classes by the
                      embedder's own ``logit_scale``
prompt_<i>   Int8     zero-shot only: predicted by prompt pair i alone, in the order of prompts.toml
best_prompt  Float64  zero-shot only: predicted by the pair that is best on those not judged with it: the
                      training split, or the other folds (share of the repeats); absent where these lack a class
===========  =======  ==================================================================================

``<scores>/<embedder>/<task>.<mode>.json``: the fields of `Score`. What cannot be scored has status
``missing``, a reason, and null where a number would stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark import metrics, probe, units
from benchmark.baselines import AlwaysYes, RandomVectors
from benchmark.confounds import Confound, NothingLeftError, chance_p
from benchmark.embed import embeddings_folder, load_embeddings
from benchmark.embedders import Embedder, Vectors, project, speaks
from benchmark.files import as_parquet, file_hash, hash_of
from benchmark.intervals import of_macro_f1
from benchmark.probe import Problem
from benchmark.score import MODES, Score, as_json, stored
from benchmark.score import prune as prune_files
from benchmark.task import PromptPair, Task, primary
from benchmark.units import MissingError, TaskData
from benchmark.zeroshot import Prompts, best_pair, embed_prompts, zero_shot
from slap_model.store import write

OWN = "own"  # the prompt language that is the corpus'
SEEDS = 5

Contender = Embedder | AlwaysYes | Confound
Numbers = npt.NDArray[np.float64]


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
    studies: bool = True,
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
        prompt_language: of the prompts, where a task has it; otherwise English. "own" is the language of the
            corpus.
        studies: whether probes are also trained with other seeds and on fewer speakers (`Score.seeds`,
            `Score.learning_curve`): several times the work of the scores.
        prune: remove the files of embedders and tasks that are not among the given ones.
        progress: called after each score with (done, in all).

    Returns:
        One score for each (embedder, task, mode that the embedder has), in this order.

    Raises:
        TaskError: a task's conditions do not fit ``facts``.
        LeakError: a person is in train and in test of a task; nothing was scored.
        FileNotFoundError: a shard was not embedded.
    """
    names = [embedder.name for embedder in embedders]
    if len(set(names)) < len(names):
        raise ValueError(f"two embedders share a name: {sorted(names)}; give one another name")
    data = units.load(tasks, meta_db, shards, id_key, corpora_heard(embedders))
    texts = [text for of_task in data for pair in _pairs(of_task, prompt_language)[1] for text in pair]
    judged = [_Judged(embedder, meta_db, shards, embeddings, texts) for embedder in embedders]
    total = len(data) * sum(len(one.modes) for one in judged)
    results: dict[tuple[str, str, str], Score] = {}
    for one in judged:
        for of_group in one.groups(data):
            for mode in one.modes:
                drafts = [
                    _draft(one, of_task, mode, split_hash, of_task.task.corpus in synthetic, prompt_language)
                    for of_task in of_group
                ]
                for score in _scores(one, mode, of_group, drafts, scores, predictions, studies):
                    results[score.embedder, score.mode, score.task] = score
                    if progress is not None:
                        progress(len(results), total)
            one.forget()
    if prune:
        expected = {(embedder, f"{task}.{mode}") for embedder, mode, task in results}
        prune_files(scores, ".json", expected)
        prune_files(predictions, ".parquet", expected)
    return [
        results[one.embedder.name, mode, of_task.task.name] for one in judged for mode in one.modes for of_task in data
    ]


def corpora_heard(embedders: Iterable[Contender]) -> frozenset[str]:
    """The corpora that any of the embedders was trained on."""
    return frozenset(corpus for embedder in embedders for corpus in embedder.trained_on["corpora"])


def label_of(fact: str) -> str:
    """The attribute of a label: ``depression`` for ``depression=present`` and ``depression_severity``."""
    return fact.partition("=")[0].removesuffix("_severity")


def task_hash(task: Task, prompt_language: str | None) -> str:
    """Hash of what a score asks of its task: with the prompts it used, or with none in the probe.

    So a changed prompt computes zero-shot in its language again, and nothing else.
    """
    used = {one: pairs for one, pairs in task.prompts.items() if one == prompt_language}
    return replace(task, prompts=used).hash


@cache
def code_hash() -> str:
    """Hash of what turns vectors into scores: these modules and the versions of what they lean on."""
    names = ("task", "sources", "embed", "units", "zeroshot", "probe", "confusion", "intervals", "metrics", "evaluate")
    sources = [Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in names]
    return hash_of([sources, [version(name) for name in ("numpy", "scikit-learn", "scipy")]])


# --- who is judged ------------------------------------------------------------------------------------------


class _Judged:
    """An embedder with what is loaded only when a score has to be computed: vectors and prompts."""

    def __init__(
        self,
        embedder: Contender,
        meta_db: Path,
        shards: Mapping[str, Sequence[Path]],
        embeddings: Path,
        texts: Sequence[str],
    ) -> None:
        self.embedder = embedder
        self._meta_db = meta_db
        self._shards = shards
        self._embeddings = embeddings
        self._texts = texts
        self._prompts: Prompts | None = None
        self._matrix: tuple[pl.DataFrame, Vectors] | None = None
        self._joint: Vectors | None = None

    @property
    def modes(self) -> tuple[str, ...]:
        if isinstance(self.embedder, AlwaysYes):
            return MODES
        return MODES if not isinstance(self.embedder, Confound) and speaks(self.embedder) else ("probe",)

    @property
    def studied(self) -> bool:
        """Whether other seeds and fewer speakers tell anything of this contender."""
        return not isinstance(self.embedder, AlwaysYes | RandomVectors | Confound)

    def groups(self, data: Sequence[TaskData]) -> Iterator[list[TaskData]]:
        """The tasks that share a matrix: those of one corpus, or each its own where the vectors depend on the task."""
        if isinstance(self.embedder, Confound) and self.embedder.per_task:
            yield from ([of_task] for of_task in data)
            return
        for _, of_corpus in groupby(sorted(data, key=_corpus), key=_corpus):
            yield list(of_corpus)

    def forget(self) -> None:
        """Let go of the vectors of a group."""
        self._matrix = self._joint = None

    def content(self, of_task: TaskData) -> Mapping[str, str]:
        """Hash of vectors that no fingerprint and no shard tell: those of a confound come from the tables."""
        if not isinstance(self.embedder, Confound) or not of_task.utterances.height:
            return {}
        try:
            x, rows = self.vectors(of_task)
        except NothingLeftError:
            return {"features": "none"}
        return {"features": hashlib.sha256(x[rows].tobytes()).hexdigest()}

    def refuse(self, of_task: TaskData) -> None:
        """Raise `MissingError` where a confound has nothing to tell the task by."""
        if isinstance(self.embedder, Confound):
            try:
                self.vectors(of_task)
            except NothingLeftError as error:
                raise MissingError(str(error)) from error

    def vectors(self, of_task: TaskData) -> tuple[Vectors, units.Rows]:
        """The matrix [n, d] of the corpus, and the rows in it of the task's utterances."""
        assert not isinstance(self.embedder, AlwaysYes)
        if self._matrix is None:
            shards = self._shards[of_task.task.corpus]
            if isinstance(self.embedder, Confound):
                self._matrix = _matrix(self.embedder.features(self._meta_db, shards, of_task.task))
            else:
                self._matrix = load_matrix(self.embedder, shards, self._embeddings)
        index, x = self._matrix
        rows = of_task.utterances.select("utt_id").join(index, on="utt_id", how="left", maintain_order="left")["row"]
        return x, rows.to_numpy()

    def of_confound(self, of_task: TaskData, predictions: pl.DataFrame) -> Mapping[str, Any]:
        """What only a score of a confound has: whether it is more than chance, and by which properties."""
        if not isinstance(self.embedder, Confound):
            return {}
        shards = self._shards[of_task.task.corpus]
        labelled = of_task.utterances.select("utt_id", "y", "person")
        told_by = self.embedder.told_by(self._meta_db, shards, of_task.task, labelled)
        return {"chance_p": chance_p(predictions), "told_by": told_by}

    def joint(self, of_task: TaskData) -> Vectors:
        """The vectors [n, k] of the task's utterances in the space of the texts."""
        assert not isinstance(self.embedder, AlwaysYes | Confound)
        x, rows = self.vectors(of_task)
        if self._joint is None:
            self._joint = project(self.embedder, x)
        return self._joint[rows]

    @property
    def prompts(self) -> Prompts:
        """The unit vector of every prompt of every task, computed in one go."""
        assert not isinstance(self.embedder, AlwaysYes | Confound) and speaks(self.embedder)
        if self._prompts is None:
            self._prompts = embed_prompts(self.embedder, self._texts)
        return self._prompts


def load_matrix(embedder: Embedder, shards: Sequence[Path], embeddings: Path) -> tuple[pl.DataFrame, Vectors]:
    """The vectors [n, d] of some shards, and utt_id and row of each utterance in them.

    Raises:
        FileNotFoundError: a shard was not embedded.
    """
    return _matrix(load_embeddings(embeddings_folder(embedder, embeddings), shards))


def _matrix(found: pl.DataFrame) -> tuple[pl.DataFrame, Vectors]:
    vectors = found["vector"]
    x = vectors.list.to_array(len(vectors[0])).to_numpy()
    return found.select("utt_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("row")), x


def _corpus(of_task: TaskData) -> str:
    return of_task.task.corpus


def _pairs(of_task: TaskData, language: str) -> tuple[str, tuple[PromptPair, ...]]:
    return of_task.task.pairs(of_task.own_language() if language == OWN else language)


# --- one score ----------------------------------------------------------------------------------------------


def _draft(judged: _Judged, of_task: TaskData, mode: str, split_hash: str, synthetic: bool, language: str) -> Score:
    """The score before any number: all that it depends on, and the key made of it."""
    embedder, task = judged.embedder, of_task.task
    trained_on = embedder.trained_on
    spoken, learns = of_task.languages, not isinstance(embedder, AlwaysYes)
    prompt_language = _pairs(of_task, language)[0] if mode == "zero-shot" else None
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
        ood_language=spoken.isdisjoint(map(primary, trained_on["languages"])) if spoken else None,
        ood_label=task.labels.isdisjoint(label_of(fact) for fact in trained_on["labels"]),
        protocol=of_task.protocol,
        repeats=probe.REPEATS if of_task.protocol == "folds" and mode == "probe" and learns else 1,
        n_too_weak=of_task.n_too_weak,
        prompt_language=prompt_language,
        hashes={
            "manifest": getattr(embedder, "manifest", ""),
            "split": split_hash,
            "data": of_task.hash,
            "task": task_hash(task, prompt_language),
            "code": code_hash(),
            "predictions": "",
            **judged.content(of_task),
        },
    )
    return replace(draft, key=hash_of(asdict(draft)))


@dataclass(frozen=True)
class _Answer:
    """What a contender says of the utterances that are judged.

    Attributes:
        decisions: [repeats, n]; positive where above 0.
        probability: [n], or None.
        by_pair: [n, pairs] decisions by single prompt pairs; no pair in the probe.
        fold: [repeats, n] which probe judged, or None where one model judged all.
        chosen: [units] share of the repeats in which the pair chosen without the unit says yes, or None.
        best_pair: the pair that was chosen, or the one chosen most often.
    """

    decisions: Numbers
    probability: Numbers | None
    by_pair: Numbers
    fold: probe.Labels | None = None
    chosen: Numbers | None = None
    best_pair: int | None = None


def _scores(
    judged: _Judged,
    mode: str,
    group: Sequence[TaskData],
    drafts: Sequence[Score],
    scores: Path,
    predictions: Path,
    studies: bool,
) -> Iterator[Score]:
    """The scores of a group of tasks: read where they are kept, computed together where not."""
    kept: dict[int, Score] = {}
    todo: list[int] = []
    for i, (of_task, draft) in enumerate(zip(group, drafts, strict=True)):
        score_file, predictions_file = _places(draft, scores, predictions)
        found = stored(score_file, predictions_file, draft.key)
        if found is None:
            try:
                of_task.refuse(mode)
                judged.refuse(of_task)
            except MissingError as missing:
                found = replace(draft, reason=str(missing))
                predictions_file.unlink(missing_ok=True)
                write(score_file, as_json(found))
        if found is None:
            todo.append(i)
        else:
            kept[i] = found
    answers = dict(zip(todo, _answers(judged, [group[i] for i in todo], [drafts[i] for i in todo]), strict=True))
    for i, (of_task, draft) in enumerate(zip(group, drafts, strict=True)):
        score_file, predictions_file = _places(draft, scores, predictions)
        score = kept[i] if i in kept else _measured(draft, judged, of_task, answers[i], predictions_file)
        wanted = studies and judged.studied and mode == "probe" and score.status == "ok"
        if wanted and score.learning_curve is None:
            score = _studied(score, judged, of_task)
        elif i in kept:
            yield score
            continue
        write(score_file, as_json(score))
        yield score


def _places(draft: Score, scores: Path, predictions: Path) -> tuple[Path, Path]:
    name = f"{draft.task}.{draft.mode}"
    return scores / draft.embedder / f"{name}.json", predictions / draft.embedder / f"{name}.parquet"


def _answers(judged: _Judged, group: Sequence[TaskData], drafts: Sequence[Score]) -> list[_Answer]:
    """What a contender says to some tasks of a group, in the mode of their drafts."""
    pairs = [
        of_task.task.prompts[draft.prompt_language] if draft.prompt_language else ()
        for of_task, draft in zip(group, drafts, strict=True)
    ]
    if isinstance(judged.embedder, AlwaysYes):
        return [_constant(judged.embedder, *one) for one in zip(group, pairs, strict=True)]
    if all(pairs):
        return [_zero_shot(judged, *one) for one in zip(group, pairs, strict=True)]
    split = [of_task for of_task in group if of_task.protocol == "split"]
    answers = {}
    if split:
        x, _ = judged.vectors(split[0])
        problems = [_problem(of_task, judged.vectors(of_task)[1]) for of_task in split]
        for of_task, answer in zip(split, probe.probe_many(x, problems), strict=True):
            answers[of_task.task.name] = _Answer(answer.decisions[None], answer.probability, _no_pair(of_task))
    for of_task in group:
        if of_task.protocol == "folds":
            x, rows = judged.vectors(of_task)
            folds = probe.repeated_folds(x[rows], of_task.y, of_task.person, probe.REPEATS, folds=probe.FOLDS)
            answers[of_task.task.name] = _Answer(folds.by_repeat, folds.probability, _no_pair(of_task), folds.fold)
    return [answers[of_task.task.name] for of_task in group]


def _problem(of_task: TaskData, rows: units.Rows) -> Problem:
    """Learn from the training split, judge the test split; ``rows`` are those of the task's utterances."""
    train, judged = of_task.train, of_task.judged
    return Problem(rows[train], of_task.y[train], of_task.person[train], rows[judged])


def _constant(embedder: AlwaysYes, of_task: TaskData, pairs: Sequence[PromptPair]) -> _Answer:
    n = len(of_task.judged)
    return _Answer(embedder.decide(n)[None], None, np.ones((n, len(pairs))))


def _no_pair(of_task: TaskData) -> Numbers:
    return np.ones((len(of_task.judged), 0))


def _zero_shot(judged: _Judged, of_task: TaskData, pairs: Sequence[PromptPair]) -> _Answer:
    from scipy.special import expit

    result = zero_shot(judged.joint(of_task), pairs, judged.prompts)
    decisions, by_pair = result.ensemble[of_task.judged], result.by_pair[of_task.judged]
    scale: float | None = getattr(judged.embedder, "logit_scale", None)
    probability = None if scale is None else expit(scale * decisions)  # the softmax over two classes
    chosen, best = _honest(of_task, result.by_pair)
    return _Answer(decisions[None], probability, by_pair, chosen=chosen, best_pair=best)


def _honest(of_task: TaskData, by_pair: Numbers) -> tuple[Numbers | None, int | None]:
    """What the pair says that was chosen on others: share of the repeats [units], and the pair itself.

    With a split it is chosen on the training split. With folds, for each fold on all other folds.
    """
    if of_task.protocol == "split":
        learned = of_task.units_of(of_task.train)
        y = learned.frame["y"].to_numpy()
        if len(np.unique(y)) < 2:
            return None, None
        best = best_pair(learned.mean(by_pair[of_task.train].T).T, y)
        return (of_task.units.mean(by_pair[of_task.judged, best]) > 0).astype(np.float64), best
    try:
        rounds = [probe.outer_folds(of_task.y, of_task.person, probe.FOLDS, i) for i in range(probe.REPEATS)]
    except ValueError:  # a class with one person: nobody to choose on
        return None, None
    of_units, y = of_task.units.mean(by_pair.T).T, of_task.units.frame["y"].to_numpy()
    said = np.zeros((len(rounds), len(y)))
    chosen = []
    for repeat, parts in enumerate(rounds):
        for _, rows in parts:
            judged = np.isin(np.arange(len(y)), of_task.units.of[rows])
            chosen.append(best_pair(of_units[~judged], y[~judged]))
            said[repeat, judged] = of_units[judged, chosen[-1]] > 0
    return said.mean(axis=0), int(np.bincount(chosen).argmax())


def _measured(draft: Score, judged: _Judged, of_task: TaskData, answer: _Answer, predictions_file: Path) -> Score:
    """The score of an answer; its predictions are written."""
    frame = _predictions(of_task, answer)
    write(predictions_file, as_parquet(frame))
    single = [_macro_f1(frame, f"prompt_{i}") for i in range(answer.by_pair.shape[1])]
    score = replace(
        draft,
        status="ok",
        **asdict(metrics.measure(frame, draft.corpus)),
        n_train_speakers=of_task.n_train() if draft.mode == "probe" else None,
        n_without_audio=of_task.n_without_audio,
        prompt_min=min(single, default=None),
        prompt_max=max(single, default=None),
        n_prompts=len(single) or None,
        hashes={**draft.hashes, "predictions": file_hash(predictions_file)},
        **judged.of_confound(of_task, frame),
    )
    if answer.chosen is not None:
        chosen = frame.select("person", "y", predicted="best_prompt")
        macro, low, high = of_macro_f1(chosen, draft.corpus)
        score = replace(
            score,
            best_prompt=answer.best_pair,
            best_prompt_macro_f1=macro,
            best_prompt_macro_f1_low=low,
            best_prompt_macro_f1_high=high,
        )
    if draft.repeats > 1:
        unit = of_task.unit_ids[of_task.judged]
        y = of_task.y[of_task.judged]
        each = [probe.macro_f1_of_units(y, unit, decisions) for decisions in answer.decisions]
        score = replace(score, seeds=each, seeds_of="folds")
    return score


def _predictions(of_task: TaskData, answer: _Answer) -> pl.DataFrame:
    """The table of predictions; see the head of this module."""
    mean = of_task.units.mean
    decisions = mean(answer.decisions)
    columns = {
        "score": pl.Series(decisions.mean(axis=0)),
        "predicted": pl.Series((decisions > 0).mean(axis=0)),
        "probability": pl.Series([None] * decisions.shape[1], dtype=pl.Float64)
        if answer.probability is None
        else pl.Series(mean(answer.probability)),
        **folds_of(of_task.units, answer.fold, decisions),
    }
    for i, one in enumerate(mean(answer.by_pair.T.copy())):
        columns[f"prompt_{i}"] = pl.Series((one > 0).astype(np.int8))
    if answer.chosen is not None:
        columns["best_prompt"] = pl.Series(answer.chosen)
    return of_task.units.frame.with_columns(**columns)


def folds_of(of: units.Units, fold: probe.Labels | None, decisions: Numbers) -> dict[str, pl.Series]:
    """The columns folds and fold_scores of some units.

    Args:
        of: the units; all utterances of one lie in one fold.
        fold: [repeats, n] of the utterances, or None where one model judged all.
        decisions: [repeats, units].
    """
    kinds = {"folds": pl.List(pl.Int8()), "fold_scores": pl.List(pl.Float64())}
    if fold is None:
        return {name: pl.Series([None] * decisions.shape[1], dtype=kind) for name, kind in kinds.items()}
    values = (of.mean(fold.astype(np.float64)).round().astype(np.int8), decisions)
    lists = (pl.Series(list(np.ascontiguousarray(value.T))) for value in values)
    return {name: one.cast(kind) for one, (name, kind) in zip(lists, kinds.items(), strict=True)}


def _macro_f1(predictions: pl.DataFrame, column: str) -> float:
    _, counts = metrics.confusion_by_speaker(predictions.with_columns(pl.col(column).alias("predicted")))
    return float(metrics.macro_f1(counts.sum(axis=0)))


# --- studies ------------------------------------------------------------------------------------------------


def _studied(score: Score, judged: _Judged, of_task: TaskData) -> Score:
    """The score with what other seeds and fewer speakers earn."""
    x, rows = judged.vectors(of_task)
    y = np.zeros(len(x), dtype=np.int8)
    unit = np.full(len(x), "", dtype=of_task.unit_ids.dtype)
    y[rows], unit[rows] = of_task.y, of_task.unit_ids

    def asked(fit: units.Rows, held_out: units.Rows) -> Problem:
        return Problem(rows[fit], of_task.y[fit], of_task.person[fit], rows[held_out])

    if of_task.protocol == "folds":
        problems = [asked(*part) for part in probe.outer_folds(of_task.y, of_task.person, probe.FOLDS, 0)]
        answers = probe.probe_many(x, problems)
    else:
        problems = [asked(of_task.train, of_task.judged)]
        others = [asked(*part) for part in of_task.other_splits(SEEDS)] if of_task.free else []
        again = others or problems * SEEDS
        seeds = [0] * SEEDS if others else range(1, SEEDS + 1)
        answers = probe.probe_seeds(x, [*problems, *again], [0, *seeds])
        each = [
            probe.macro_f1_of_units(y[one.test], unit[one.test], answer.decisions)
            for one, answer in zip(again, answers[1:], strict=True)
        ]
        score = replace(score, seeds=each, seeds_of="split" if others else "inner folds")
    strengths = [answer.strength for answer in answers[: len(problems)]]
    return replace(score, learning_curve=probe.learning_curve(x, problems, y, unit, strengths))
