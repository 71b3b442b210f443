"""Could the label be told without listening to the speaker? Three contenders that never do.

They are judged by the same probe on the same persons as any model and never ranked:

- ``confound-recording``: sample rate and bandwidth of the owners' file, its type, device, channel, what was asked to
  say, date, and the recording's own duration, level, bandwidth, noise (`benchmark.recording`) and share of speech. That
  share is how tightly clips were cut, but also how much somebody pauses: a flag that rests on it alone is a question.
- ``confound-person``: sex and age, without what the task asks about.
- ``confound-silence``: the mean and spread of the log-mel spectrum of frames in which nobody speaks. A clip without
  such frames borrows those of another clip of its corpus, drawn by lot: how much somebody pauses is speech, and must
  not be told from who has a silence at all.

Where one of them does well, a task carries a `Flag`: its scores may be those of a microphone.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import duckdb
import numpy as np
import polars as pl

from benchmark import recording
from benchmark.embedders import UNTRAINED
from benchmark.intervals import FOLDED, SCALE_DIGITS, auroc, by_folds
from benchmark.task import Task
from slap_model import store

if TYPE_CHECKING:
    from benchmark.score import Score

NAMES = ("confound-recording", "confound-person", "confound-silence")
WHAT: Mapping[str, str] = dict(zip(NAMES, ("recording properties", "sex and age", "silence"), strict=True))

LEVEL = 0.05  # of false alarms a task, over its confounds together
LEAST_AUROC = 0.6  # a smaller effect is not worth a flag, however sure it is; our choice
FEWEST_PERSONS = 3  # of a category; a rarer one would be an id of the person

Columns = Callable[[Path, Sequence[Path], "Task | None"], pl.DataFrame]


class NothingLeftError(ValueError):
    """A confound has no property that the task does not ask about itself; the task has no score of it."""


class Features(Protocol):
    """A contender that brings its own vectors instead of embedding audio; judged by the probe alone.

    Attributes:
        name: the name on the board and of its folders.
        fingerprint: changes whenever the vectors of the same tables and shards may change.
        trained_on: as in `benchmark.embedders.Embedder`.
        per_task: whether the vectors of a corpus differ from task to task.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def trained_on(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102
    @property
    def per_task(self) -> bool: ...  # noqa: D102

    def features(self, meta_db: Path, shards: Sequence[Path], task: Task | None = None) -> pl.DataFrame:
        """Columns utt_id and vector (List(Float32), all of one width, finite) of every utterance of ``shards``.

        The vectors depend on the tables too: a score's key needs a hash of this frame.
        """
        ...


@dataclass(frozen=True)
class Confound:
    """A contender that knows named properties and no speech; a `Features`."""

    name: str
    fingerprint: str
    per_task: bool
    columns: Columns
    trained_on: ClassVar[Mapping[str, Sequence[str]]] = UNTRAINED

    def features(self, meta_db: Path, shards: Sequence[Path], task: Task | None = None) -> pl.DataFrame:
        """The properties as vectors: utt_id and vector, in the order of the shards.

        Args:
            meta_db: the warehouse.
            shards: the tars of one corpus.
            task: what is asked; needed where ``per_task``.

        Raises:
            NothingLeftError: nothing is known but what the task asks about itself.
        """
        table = self.columns(meta_db, shards, task)
        if table.width == 1:
            raise NothingLeftError("nothing is known of these recordings that the task does not ask about itself")
        return table.select("utt_id", vector=pl.concat_list(pl.exclude("utt_id").cast(pl.Float32())))

    def told_by(
        self, meta_db: Path, shards: Sequence[Path], task: Task | None, labelled: pl.DataFrame
    ) -> dict[str, float]:
        """Which properties differ between the classes, with the AUROC of each alone; see `telling`.

        Args:
            meta_db: the warehouse.
            shards: the tars of one corpus.
            task: as in `features`.
            labelled: columns utt_id, y and person.
        """
        table = labelled.join(self.columns(meta_db, shards, task), on="utt_id", maintain_order="left")
        return telling(table.drop(labelled.columns), table["y"], table["person"])


@dataclass(frozen=True)
class Flag:
    """A warning that a task's label can be told without listening to the speaker."""

    confound: str
    macro_f1: float
    auroc: float
    auroc_low: float
    sentence: str


def contenders(embeddings: Path) -> tuple[Confound, ...]:
    """The three confounds; what they measure of audio is kept under ``embeddings``."""

    def of_recording(meta_db: Path, shards: Sequence[Path], _: Task | None) -> pl.DataFrame:
        return recording_columns(meta_db, recording.measurements(shards, embeddings), shards)

    def of_silence(_: Path, shards: Sequence[Path], __: Task | None) -> pl.DataFrame:
        measured = _borrowed(recording.measurements(shards, embeddings))
        return measured.select("utt_id", *(recording.SILENCE if measured["noise floor"].count() else ()))

    return (
        Confound(NAMES[0], _fingerprint("recording 4", recording.FINGERPRINT), False, of_recording),
        Confound(NAMES[1], _fingerprint("person 1"), True, person_columns),
        Confound(NAMES[2], _fingerprint("silence 2", recording.FINGERPRINT), False, of_silence),
    )


def _fingerprint(*parts: str) -> str:
    """With this module in it, which also says what is chance."""
    return hashlib.sha256("\n".join((*parts, Path(__file__).read_text(encoding="utf-8"))).encode()).hexdigest()


# --- what is known of a recording and of a person ---

_TABLES = """
SELECT utt_id, person_id, recorded_on,
       lower(regexp_extract(path, '\\.([A-Za-z0-9]+)$', 1)) AS "file type",
       device, CAST(channel AS VARCHAR) AS channel, speech_task AS "speech task"
FROM utterance JOIN speaker USING (corpus, speaker_id)
WHERE utt_id IN (SELECT utt_id FROM heard)
"""
_PEOPLE = "SELECT utt_id, sex, (age_low + age_high) / 2 AS age FROM facts WHERE utt_id IN (SELECT utt_id FROM heard)"
# Column of a tar's index -> property: what sharding measured before it resampled, and with its ears for speech.
_NATIVE = {"native_rate": "native sample rate", "bandwidth": "native bandwidth", "speech": "speech share"}
_NATIVE_TYPES = {"native sample rate": pl.String(), "native bandwidth": pl.Float64(), "speech share": pl.Float64()}
_CATEGORIES = ("native sample rate", "file type", "device", "channel", "speech task")


def recording_columns(meta_db: Path, measured: pl.DataFrame, shards: Sequence[Path]) -> pl.DataFrame:
    """The properties of the recordings: utt_id and numbers named ``property`` or ``property=detail``.

    A number that is not known everywhere has a column that says so, but for those of the silence. A category has a
    column for each value that at least `FEWEST_PERSONS` persons have; the others share one.

    Args:
        meta_db: the warehouse.
        measured: from `recording.measurements`.
        shards: the tars; an index beside one states what a recording was before (`_NATIVE`).
    """
    known, measured = _ask(meta_db, _TABLES, measured), _borrowed(measured)
    table = measured.select("utt_id", *recording.LEVELS).join(known, on="utt_id", how="left", maintain_order="left")
    table = table.join(_native(shards), on="utt_id", how="left", maintain_order="left")
    days = pl.col("recorded_on").cast(pl.Date())
    turn = (days.dt.month().cast(pl.Float64()) - 1) * (np.pi / 6)
    dates = {
        "session date=day": days.dt.epoch("d").cast(pl.Float64()),
        "session date=month a": turn.sin(),
        "session date=month b": turn.cos(),
    }
    numbers = table.select(*recording.LEVELS, "native bandwidth", "speech share", **dates)
    levels = [_levels(table[name], table["person_id"]) for name in _CATEGORIES]
    return pl.concat([table.select("utt_id"), _filled(numbers), *levels], how="horizontal")


def person_columns(meta_db: Path, shards: Sequence[Path], task: Task | None) -> pl.DataFrame:
    """Sex and age of who speaks, without what the task asks: utt_id and numbers named as in `recording_columns`.

    Age comes with its square, since a class may be the middle-aged.

    Raises:
        NothingLeftError: the task asks about sex and age both.
    """
    asked = task.labels if task is not None else frozenset()
    if {"sex", "age"} <= asked:
        raise NothingLeftError("the task asks about sex and age itself: nothing is left to tell it by")
    table = _people(meta_db, meta_db.stat().st_mtime_ns, tuple(shards))
    parts = [table.select("utt_id")]
    if "sex" not in asked:
        sex = pl.col("sex")
        parts.append(table.select(*(_is(sex, word).alias(f"sex={word}") for word in ("female", "male", "other"))))
    if "age" not in asked:
        age = (pl.col("age").cast(pl.Float64()) - 50) / 20
        parts.append(_filled(table.select(age.alias("age=years"), (age**2).alias("age=squared"))))
    return pl.concat(parts, how="horizontal")


@lru_cache(maxsize=64)  # all tasks of a corpus ask it, and ``facts`` is a heavy view
def _people(meta_db: Path, built: int, shards: tuple[Path, ...]) -> pl.DataFrame:
    """utt_id, sex and age of every utterance of the shards, in their order; ``built`` is when the warehouse was."""
    from benchmark.embed import utterance_ids

    heard = pl.DataFrame(
        {"utt_id": [name for shard in shards for name in utterance_ids(shard)]}, {"utt_id": pl.String()}
    )
    return heard.join(_ask(meta_db, _PEOPLE, heard), on="utt_id", how="left", maintain_order="left")


def _ask(meta_db: Path, query: str, heard: pl.DataFrame) -> pl.DataFrame:
    with duckdb.connect(str(meta_db), read_only=True) as con:
        con.register("heard", heard.select("utt_id"))
        found: pl.DataFrame = con.sql(query).pl()
        return found


def _native(shards: Sequence[Path]) -> pl.DataFrame:
    """utt_id and `_NATIVE`, the rate as text, of the shards that have an index beside them; null where one lacks it."""
    found = store.at_once(_native_of, shards)
    return pl.concat([pl.DataFrame(schema={"utt_id": pl.String(), **_NATIVE_TYPES}), *found])


def _native_of(shard: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(store.source(shard.with_suffix(".parquet")))
    except FileNotFoundError:
        return pl.DataFrame(schema={"utt_id": pl.String(), **_NATIVE_TYPES})
    there = {name: column for column, name in _NATIVE.items() if column in frame.columns}
    columns = {name: pl.col(there[name]) if name in there else pl.lit(None) for name in _NATIVE_TYPES}
    return frame.select("utt_id", **{name: columns[name].cast(kind) for name, kind in _NATIVE_TYPES.items()})


def _filled(numbers: pl.DataFrame) -> pl.DataFrame:
    """Numbers with what is not known set to the mean, a column where that is part of them, and none if it is all."""
    columns: list[pl.Series] = []
    for column in numbers:
        column = column.cast(pl.Float64()).fill_nan(None)
        if column.null_count() < len(column):
            columns.append(column.fill_null(strategy="mean"))
        if 0 < column.null_count() < len(column):
            columns.append(column.is_null().cast(pl.Float64()).alias(f"{column.name.partition('=')[0]}=unknown"))
    unique = {column.name: column for column in columns}  # the parts of a date are unknown together
    return pl.DataFrame(list(unique.values()))


def _borrowed(measured: pl.DataFrame) -> pl.DataFrame:
    """The measurements, where clips without silence borrow that of a clip drawn by lot; null if there is none.

    A mean in its place would tell who has no silence: the silences that there are may all lie on one side of it.
    """
    columns = (*recording.OF_SILENCE, *recording.SILENCE)
    table = measured.with_columns(pl.col(columns).fill_nan(None))
    lenders = np.flatnonzero(table["noise floor"].is_not_null().to_numpy())
    if not len(lenders):
        return table
    own = table["noise floor"].is_not_null().to_numpy()
    lots = [int(hashlib.sha256(utt_id.encode()).hexdigest()[:8], 16) for utt_id in table["utt_id"]]
    rows = np.where(own, np.arange(len(own)), lenders[np.array(lots) % len(lenders)])
    return table.with_columns(table.select(columns)[rows])


def _levels(values: pl.Series, person: pl.Series) -> pl.DataFrame:
    """A column for each value of a category that enough persons have, in the order of the values, numbered."""
    table = pl.DataFrame({"value": values.fill_null("unknown"), "person": person})
    common = (table.group_by("value").agg(pl.col("person").n_unique()).filter(pl.col("person") >= FEWEST_PERSONS))[
        "value"
    ].sort()
    rare = ~table["value"].is_in(common.implode())
    columns = {f"{values.name}={i}": table["value"] == value for i, value in enumerate(common)}
    if rare.any():
        columns[f"{values.name}=other"] = rare
    constant = len(columns) < 2
    return pl.DataFrame({} if constant else {name: column.cast(pl.Float64()) for name, column in columns.items()})


def _is(column: pl.Expr, word: str) -> pl.Expr:
    return column.eq_missing(word).cast(pl.Float64())


# --- is it more than chance, and by what? ---


def telling(features: pl.DataFrame, y: pl.Series, person: pl.Series) -> dict[str, float]:
    """Which properties differ between the classes by themselves: property -> AUROC, best first.

    Utterances are averaged over each person first. A property counts where Mann-Whitney's test, corrected for the
    number of columns, leaves less than 5 % to chance and the AUROC is worth a flag; 0.5 is chance, 1 parts the
    classes, in whichever direction. Categories and other properties of several columns count by their best.

    Args:
        features: columns named ``property`` or ``property=detail``; one row an utterance.
        y: labels 0 and 1.
        person: who speaks.
    """
    from scipy.stats import mannwhitneyu

    units = features.with_columns(y=y, person=person).group_by("person", "y", maintain_order=True).agg(pl.all().mean())
    yes, no = (units.filter(pl.col("y") == label).drop("y", "person").to_numpy() for label in (1, 0))
    if not len(yes) or not len(no):
        return {}
    result = mannwhitneyu(yes, no, axis=0, method="asymptotic")
    above = result.statistic / (len(yes) * len(no))
    auroc = np.maximum(above, 1 - above)
    best: dict[str, float] = {}
    for name, value, p in zip(features.columns, auroc.tolist(), result.pvalue.tolist(), strict=True):
        told = p * len(features.columns) < LEVEL and value >= LEAST_AUROC
        if told and value > best.get(name.partition("=")[0], 0.0):
            best[name.partition("=")[0]] = value
    return dict(sorted(best.items(), key=lambda item: (-item[1], item[0])))


def chance_p(predictions: pl.DataFrame) -> float:
    """How likely scores that know nothing of the label rank the persons as well as these.

    Clips of a person are not independent, so a person counts once. Where a person is on one side, persons are
    compared by their mean score (Mann-Whitney); where most persons have clips on both sides, a person's own
    positive and negative clips (Wilcoxon's signed ranks). One-sided.

    By folds, persons are compared within each fold (`intervals.auroc`), and the variance of the statistic is
    `intervals.FOLDED` times as large as these tests have it, since whoever is judged taught the probes of the other
    folds: with the variance of independent persons this AUROC of chance passed 5 % in 9 to 11 % of simulated tasks,
    with this one in 3 to 5 %.

    Args:
        predictions: columns person, y, score and, where `intervals.by_folds`, folds and fold_scores.
    """
    from scipy.stats import mannwhitneyu, norm, wilcoxon

    folds = by_folds(predictions)
    means = predictions.group_by("person", "y").agg(pl.col("score").mean()).sort("person", "y")
    both = means.filter(pl.col("y").n_unique().over("person") == 2)
    if 2 * both["person"].n_unique() > means["person"].n_unique():
        gain = both.filter(pl.col("y") == 1)["score"].to_numpy() - both.filter(pl.col("y") == 0)["score"].to_numpy()
        p = float(wilcoxon(gain, alternative="greater").pvalue) if gain.any() else 1.0
        return float(norm.sf(norm.isf(p) / np.sqrt(FOLDED))) if folds else p
    yes, no = (means.filter(pl.col("y") == label)["score"].to_numpy() for label in (1, 0))
    if not len(yes) or not len(no):
        return 1.0
    return _chance_within_folds(predictions) if folds else float(mannwhitneyu(yes, no, alternative="greater").pvalue)


def _chance_within_folds(predictions: pl.DataFrame) -> float:
    """Mann-Whitney's normal p of persons who are compared within folds; ties as often as three in a fold are tied."""
    from scipy.special import binom
    from scipy.stats import norm

    scores = pl.concat_list(
        pl.col("fold_scores").list.get(repeat).mean() for repeat in range(len(predictions["folds"][0]))
    )
    persons = predictions.group_by("person", "y").agg(pl.col("folds").first(), scores.alias("fold_scores"))
    tied, threes = 0.0, 0.0
    for fold, score in zip(
        np.array(persons["folds"].to_list()).T, np.array(persons["fold_scores"].to_list()).T, strict=True
    ):
        for one in np.unique(fold):
            alike = np.unique(score[fold == one].round(SCALE_DIGITS), return_counts=True)[1]
            tied, threes = tied + binom(alike, 3).sum(), threes + binom(alike.sum(), 3)
    n, n_positive = persons.height, int(persons["y"].sum())
    untied = 1 - tied / threes if threes else 1.0
    variance = FOLDED * untied * (n + 1) / (12 * n_positive * (n - n_positive))
    return float(norm.sf((auroc(persons) - 0.5) / np.sqrt(variance))) if variance else 1.0


def alarms(scores: Sequence[Score]) -> tuple[Score, ...]:
    """Those of the confounds' scores of one task that are beyond chance and worth a flag.

    The chances (`chance_p`) are corrected by Holm over the confounds of the task, so that a task whose label has
    nothing to do with any of them is flagged in at most 5 % of cases; of 100 such tasks, expect 5 false flags. In
    addition the AUROC has to reach `LEAST_AUROC` with its interval above 0.5, and the balanced accuracy 0.5.

    Raises:
        ValueError: a score was made without ``chance_p``.
    """
    scored = [score for score in scores if score.status == "ok"]
    if bare := [score.embedder for score in scored if score.chance_p is None]:
        raise ValueError(f"{scored[0].task}: the score of {bare[0]} has no chance_p; evaluate it again")
    found: list[Score] = []
    for rank, score in enumerate(sorted(scored, key=lambda one: one.chance_p or 0.0)):
        if (score.chance_p or 0.0) * (len(scored) - rank) >= LEVEL:
            break
        high = (score.auroc or 0.0) >= LEAST_AUROC and (score.auroc_low or 0.0) > 0.5
        if high and (score.balanced_accuracy or 0.0) > 0.5:
            found.append(score)
    return tuple(found)


def flags(scores: Sequence[Score]) -> dict[str, tuple[Flag, ...]]:
    """The flags of every task that has one, strongest first.

    Args:
        scores: of all contenders; those of the confounds in probe mode are looked at.
    """
    by_task: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        if score.embedder in NAMES and score.mode == "probe":
            by_task[score.task].append(score)
    found = {
        task: tuple(sorted(map(_flag, alarms(part)), key=lambda flag: -flag.auroc)) for task, part in by_task.items()
    }
    return {task: part for task, part in found.items() if part}


def _flag(score: Score) -> Flag:
    auroc, low, high = score.auroc or 0.0, score.auroc_low or 0.0, score.auroc_high or 0.0
    names = list(score.told_by or ())[:3]
    by = (
        f"{_listed(names)} differ{'s' if len(names) == 1 else ''} between the classes"
        if names
        else "no single one of them does it"
    )
    sentence = (
        f"The label can be told from {WHAT[score.embedder]} alone: AUROC {auroc:.2f} [{low:.2f}, {high:.2f}]; {by}."
    )
    return Flag(score.embedder, score.macro_f1 or 0.0, auroc, low, sentence)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
