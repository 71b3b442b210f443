"""Scores, means and comparisons, looked up by embedder, mode and task: what every table and figure is made from.

The predictions are read once. The draws of the bootstrap are made once for each corpus and shared by all
embedders, modes and tasks, so that a mean over any set of tasks, with its interval, is a mean of draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark import intervals
from benchmark.confounds import NAMES as CONFOUNDS
from benchmark.confusion import macro_f1
from benchmark.score import DOMAINS, MODES, Score
from benchmark.task import GROUPS, TRACKS, Task, primary

OURS = "slap"
CHANCE = ("random", "always-yes")  # guessing and a constant: at the foot of each table
SMALLEST_SUBGROUP = 10  # speakers
ATTRIBUTES = ("sex", "age", "language")
MUTE = {"control": "trained without language"}  # why an embedder has no zero-shot; others have no text side

Numbers = npt.NDArray[np.float64]
Run = tuple[str, str]  # (embedder, mode)

_READ = {
    "unit_id": pl.String(),
    "person": pl.String(),
    "sex": pl.String(),
    "age": pl.String(),
    "language": pl.String(),
    "y": pl.Int8(),
    "predicted": pl.Float64(),
    "folds": pl.List(pl.Int8()),
}
# As in `intervals.minimum_detectable`; from the standard library, because scipy.stats takes long to import.
_DETECTABLE = NormalDist().inv_cdf((1 + intervals.LEVEL / 100) / 2) + NormalDist().inv_cdf(intervals.POWER)


@dataclass(frozen=True)
class Comparison:
    """One embedder minus another in mean macro-F1; the numbers are None while a task is missing.

    Attributes:
        other: who is taken away.
        mode: zero-shot or probe.
        complete: tasks that both have, of all, as "37/38".
        n_both: the first of these numbers.
        ours_higher, other_higher: tasks, among those that both have.
        difference, low, high: with the 95 % interval of this one comparison.
        p_adjusted: two-sided, after Holm's correction for everyone compared with in this mode.
    """

    other: str
    mode: str
    complete: str
    n_both: int
    ours_higher: int
    other_higher: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_adjusted: float | None = None

    @property
    def verdict(self) -> str:
        """above, below or not separable (after the correction); '-' without numbers."""
        if self.difference is None or self.p_adjusted is None:
            return "-"
        if self.p_adjusted >= 1 - intervals.LEVEL / 100:
            return "not separable"
        return "above" if self.difference > 0 else "below"


@dataclass(frozen=True)
class Mean:
    """Mean over tasks of one embedder in one mode; the numbers are None while a task is missing."""

    n_scored: int
    n_tasks: int
    macro_f1: float | None = None
    low: float | None = None
    high: float | None = None
    f1: float | None = None
    balanced_accuracy: float | None = None
    auroc: float | None = None
    gap: float | None = None

    @property
    def complete(self) -> str:
        """As "37/38"."""
        return f"{self.n_scored}/{self.n_tasks}"


@dataclass(frozen=True)
class Subgroup:
    """A part of the speakers of a task that is large enough to be shown."""

    attribute: str
    value: str
    n_speakers: int
    prevalence: float


@dataclass(frozen=True)
class Rates:
    """How one embedder does on a subgroup; None where a class is absent from it."""

    macro_f1: float | None
    tpr: float | None
    fpr: float | None


class Results:
    """All scores and predictions of a board.

    Args:
        scores: of any embedders; those of tasks that are not given are left out.
        predictions: folder of the predictions that the scores were measured on.
        tasks: all that the board should have.

    Raises:
        ValueError: when two embedders predict different units of a task.
    """

    def __init__(self, scores: Iterable[Score], predictions: Path, tasks: Sequence[Task]) -> None:
        self.tasks = list(tasks)
        self.index = {task.name: i for i, task in enumerate(self.tasks)}
        ordered = sorted(scores, key=lambda score: (_place(score.embedder), MODES.index(score.mode), score.task))
        self.scores = {(s.embedder, s.mode, s.task): s for s in ordered if s.task in self.index}
        self.embedders = list(dict.fromkeys(name for name, _, _ in self.scores))
        self.runs: list[Run] = list(dict.fromkeys((name, mode) for name, mode, _ in self.scores))
        self.ours = {task: score for (embedder, _, task), score in self.scores.items() if embedder == OURS}
        self.tracks = self._tracks()
        self._counts = _read(predictions, [key for key, s in self.scores.items() if s.status == "ok"])
        self._rates: dict[tuple[str, str, str], list[Rates]] = {}
        self._gaps: dict[tuple[str, str, str], float | None] = {}
        self._shown: dict[str, tuple[list[Subgroup], int, list[npt.NDArray[np.bool_]]]] = {}
        self.observed, self.unbiased, self.drawn = self._draw()

    def _tracks(self) -> dict[str, list[Task]]:
        """The tasks by track; a track without any score goes to the end."""
        found = {track: [task for task in self.tasks if task.track == track] for track in TRACKS}
        scored = {score.track for score in self.scores.values() if score.status == "ok"}
        order = sorted((track for track in found if found[track]), key=lambda track: track not in scored)
        return {track: found[track] for track in order}

    def _draw(self) -> tuple[Numbers, Numbers, Numbers]:
        """Macro-F1 and the same without its bias, both [runs, tasks], and of every draw [runs, tasks, draws].

        NaN where there is no score.
        """
        shape = (len(self.runs), len(self.tasks))
        observed, unbiased, drawn = (np.full((*shape, *more), np.nan) for more in ((), (), (intervals.DRAWS,)))
        by_corpus: dict[str, list[Task]] = {}
        for task in self.tasks:
            by_corpus.setdefault(task.corpus, []).append(task)
        for corpus, tasks in by_corpus.items():
            parts = {task.name: self._persons(task) for task in tasks}
            everyone = tuple(sorted({person for persons, _, _ in parts.values() for person in persons}))
            for task in tasks:
                persons, runs, counts = parts[task.name]
                if runs:
                    at = self.index[task.name]
                    observed[runs, at] = macro_f1(counts.sum(axis=0))
                    unbiased[runs, at] = intervals.unbiased_macro_f1(counts)
                    of_draws = intervals.drawn_counts(corpus, tuple(persons), counts, everyone=everyone)
                    folds = np.array([self._counts[(*self.runs[run], task.name)].folds for run in runs])
                    drawn[runs, at] = intervals.widened(macro_f1(of_draws), folds).T
        return observed, unbiased, drawn

    def drawn_means(self, runs: Sequence[int], tasks: Sequence[Task]) -> Numbers:
        """Mean over tasks of every draw: [runs, draws]."""
        at = np.ix_(runs, [self.index[task.name] for task in tasks])
        return intervals.centred(self.drawn[at].mean(axis=1), self.unbiased[at].mean(axis=1), len(tasks))

    def _persons(self, task: Task) -> tuple[list[str], list[int], Numbers]:
        """The persons of a task, the runs that judged it, and what each adds to the confusion [persons, runs, 4]."""
        runs = [i for i, run in enumerate(self.runs) if self._found(*run, task.name) is not None]
        if not runs:
            return [], [], np.zeros((0, 0, 4))
        found = [self._counts[(*self.runs[i], task.name)] for i in runs]
        if len({part.units for part in found}) > 1:
            raise ValueError(f"task {task.name}: two embedders predict different units; evaluate both again")
        persons, which = np.unique(found[0].persons, return_inverse=True)
        counts = np.zeros((len(persons), len(runs), 4))
        for i, part in enumerate(found):
            np.add.at(counts[:, i], which, part.counts)
        return [str(person) for person in persons], runs, counts

    def _found(self, embedder: str, mode: str, task: str) -> _Counts | None:
        return self._counts.get((embedder, mode, task))

    # --- single scores

    def score(self, embedder: str, mode: str, task: str) -> Score | None:
        """A score with numbers."""
        found = self.scores.get((embedder, mode, task))
        return found if found is not None and found.status == "ok" else None

    def any_score(self, task: str) -> Score | None:
        """Some score of a task with numbers: for what does not depend on the embedder."""
        return self._any.get(task)

    @cached_property
    def _any(self) -> dict[str, Score]:
        return {score.task: score for score in reversed(self.scores.values()) if score.status == "ok"}

    def has(self, embedder: str, mode: str) -> bool:
        """Whether the embedder is judged in this mode at all."""
        return (embedder, mode) in self.runs

    @property
    def contestants(self) -> list[str]:
        """Everyone but confounds, guessing and constants."""
        return [name for name in self.embedders if name not in CONFOUNDS and name not in CHANCE]

    def judged(self, mode: str) -> list[str]:
        """Who is judged in a mode and takes part in comparisons: all but those that only know confounds."""
        return [name for name, found in self.runs if found == mode and name not in CONFOUNDS]

    @cached_property
    def languages(self) -> dict[str, str]:
        """By task, the language most of its units are in, as a primary subtag; "" where it is not known."""
        by_corpus: dict[str, str] = {}
        found: dict[str, str] = {}
        for task in self.tasks:
            counted: dict[str, float] = {}
            part = next((self._counts[key] for key in self._keys(task.name)), None)
            if part is not None:
                for tag, units in zip(part.attributes["language"], part.counts.sum(axis=1), strict=True):
                    if tag is not None:
                        language = primary(str(tag))
                        counted[language] = counted.get(language, 0.0) + float(units)
            found[task.name] = max(counted, key=lambda tag: (counted[tag], tag), default="")
            by_corpus.setdefault(task.corpus, found[task.name])
        return {task.name: found[task.name] or by_corpus[task.corpus] for task in self.tasks}

    def _keys(self, task: str) -> Iterator[tuple[str, str, str]]:
        return ((*run, task) for run in self.runs if (*run, task) in self._counts)

    def new(self, task: str) -> tuple[str, ...] | None:
        """What of a task SLAP's training lacked: corpus, language, label; None where SLAP is not on the board."""
        score = self.ours.get(task)
        if score is None:
            return None
        flags = {"corpus": score.ood_corpus, "language": score.ood_language, "label": score.ood_label}
        return tuple(name for name, is_new in flags.items() if is_new)

    # --- means

    def averaged(self, track: str) -> list[Task]:
        """The tasks that a mean is over: all of the paper's, which are one list; of others those with a score.

        The open track holds whatever corpora there are: a mean over the tasks of all of them nobody would ever see.
        """
        return self.tracks[track] if track == "paper" else self.scored(track)

    def scored(self, track: str) -> list[Task]:
        """The tasks of a track that anyone has a score for."""
        return [task for task in self.tracks[track] if self.any_score(task.name) is not None]

    def strata(self, track: str) -> dict[str, list[Task]]:
        """The strata of a track that have tasks: all, groups, and in or out of SLAP's domain for everyone alike."""
        tasks = self.averaged(track)
        by_group = {group: [task for task in tasks if task.group == group] for group in GROUPS}
        by_domain = {
            name: [task for task in tasks if task.name in self.ours and lies(self.ours[task.name])]
            for name, lies in DOMAINS.items()
        }
        return {name: of_it for name, of_it in {"all": tasks, **by_group, **by_domain}.items() if of_it}

    def mean(self, embedder: str, mode: str, tasks: Sequence[Task]) -> Mean | None:
        """Mean over tasks with its interval; None where the embedder is not judged in this mode."""
        if not self.has(embedder, mode):
            return None
        run, columns = self.runs.index((embedder, mode)), [self.index[task.name] for task in tasks]
        found = [score for task in tasks if (score := self.score(embedder, mode, task.name)) is not None]
        if len(found) < len(tasks) or not tasks:
            return Mean(len(found), len(tasks))
        macro = float(self.observed[run, columns].mean())
        low, high = np.clip(intervals.interval(self.drawn_means([run], tasks)[0], macro), 0.0, 1.0).tolist()
        gaps = [gap for task in tasks if (gap := self.gap(embedder, mode, task.name)) is not None]
        return Mean(
            n_scored=len(found),
            n_tasks=len(tasks),
            macro_f1=macro,
            low=low,
            high=high,
            f1=_mean([score.f1 for score in found]),
            balanced_accuracy=_mean([score.balanced_accuracy for score in found]),
            auroc=_mean([score.auroc for score in found]),
            gap=float(np.mean(gaps)) if gaps else None,
        )

    def comparisons(self, mode: str, tasks: Sequence[Task]) -> list[Comparison]:
        """SLAP minus everyone judged in this mode, on the same draws of speakers, corrected for their number."""
        if not self.has(OURS, mode):
            return []
        others = [name for name in self.judged(mode) if name != OURS]
        counted = [self._counted(other, mode, tasks) for other in others]
        ready = [i for i, one in enumerate(counted) if one.n_both == len(tasks)]
        if not ready:
            return counted
        runs = [self.runs.index((name, mode)) for name in (OURS, *(others[i] for i in ready))]
        means = self.drawn_means(runs, tasks)
        observed = self.observed[np.ix_(runs, [self.index[task.name] for task in tasks])].mean(axis=1)
        differences, seen = means[0] - means[1:], observed[0] - observed[1:]
        low, high = intervals.limits(differences, seen)
        adjusted = intervals.holm(intervals.p_values(differences))
        for i, *numbers in zip(ready, seen.tolist(), low.tolist(), high.tolist(), adjusted.tolist(), strict=True):
            names = ("difference", "low", "high", "p_adjusted")
            counted[i] = replace(counted[i], **dict(zip(names, numbers, strict=True)))
        return counted

    def _counted(self, other: str, mode: str, tasks: Sequence[Task]) -> Comparison:
        pairs = [(self.score(OURS, mode, task.name), self.score(other, mode, task.name)) for task in tasks]
        both = [(a.macro_f1 or 0.0, b.macro_f1 or 0.0) for a, b in pairs if a is not None and b is not None]
        return Comparison(
            other=other,
            mode=mode,
            complete=f"{len(both)}/{len(tasks)}",
            n_both=len(both),
            ours_higher=sum(a > b for a, b in both),
            other_higher=sum(b > a for a, b in both),
        )

    def complete(self) -> str:
        """Tasks whose every score could be computed, of the paper track where there is one; confounds do not count."""
        tasks = self.tracks.get("paper", self.tasks)
        states = {task.name: set[str]() for task in tasks}
        for score in self.scores.values():
            if score.task in states and score.embedder not in CONFOUNDS:
                states[score.task].add(score.status)
        return f"{sum(state == {'ok'} for state in states.values())}/{len(tasks)}"

    # --- one task

    def pairs(self, mode: str, task: str) -> tuple[list[str], npt.NDArray[np.int8], float | None]:
        """Who is separable from whom on one task.

        Holm's correction is over all pairs; p is from the normal distribution with the bootstrap's standard
        error of the paired difference, because so many pairs would need far more draws.

        Returns:
            The embedders, best first; for each pair [k, k] 1 where the row is above the column, -1 below, 0 not
            separable; and the smallest difference that is found with 80 % power at 5 %, median over the pairs
            (None with fewer than two embedders, or where all predict alike).
        """
        at = self.index[task]
        names = [name for name in self.judged(mode) if self.score(name, mode, task) is not None]
        row = {name: self.runs.index((name, mode)) for name in names}
        names.sort(key=lambda name: -self.observed[row[name], at])
        rows, size = [row[name] for name in names], len(names)
        signs = np.zeros((size, size), dtype=np.int8)
        if size < 2:
            return names, signs, None
        first, second = np.triu_indices(size, 1)
        drawn = self.drawn[rows, at]
        error = (drawn[first] - drawn[second]).std(axis=1)
        difference = self.observed[rows, at][first] - self.observed[rows, at][second]
        apart = intervals.holm(_normal_p(difference, error)) < 1 - intervals.LEVEL / 100
        signs[first, second] = np.sign(difference) * apart
        return names, signs - signs.T, float(np.median(_DETECTABLE * error))

    def subgroups(self, task: str) -> tuple[list[Subgroup], int]:
        """The parts of a task's speakers that may be shown, and how many are hidden.

        A small part is not shown; nor is any part of an attribute when few people are left beside the shown
        ones, because the numbers of all would give away theirs. What the task asks about is left out.
        """
        shown, hidden, _ = self._parts(task)
        return shown, hidden

    def rates(self, embedder: str, mode: str, task: str) -> list[Rates]:
        """How an embedder does on each of `subgroups`; empty where it has no score."""
        key = (embedder, mode, task)
        if key not in self._rates:
            part = self._found(*key)
            masks = self._parts(task)[2] if part is not None else []
            self._rates[key] = [_rates(part.counts[mask].sum(axis=0)) for mask in masks] if part is not None else []
        return self._rates[key]

    def gap(self, embedder: str, mode: str, task: str) -> float | None:
        """Macro-F1 of the best minus the worst shown subgroup, of the attribute where they differ most."""
        key = (embedder, mode, task)
        if key not in self._gaps:
            self._gaps[key] = self._find_gap(*key)
        return self._gaps[key]

    def _find_gap(self, embedder: str, mode: str, task: str) -> float | None:
        by_attribute: dict[str, list[float]] = {}
        for group, rates in zip(self.subgroups(task)[0], self.rates(embedder, mode, task), strict=False):
            if rates.macro_f1 is not None:
                by_attribute.setdefault(group.attribute, []).append(rates.macro_f1)
        return max((max(values) - min(values) for values in by_attribute.values() if len(values) > 1), default=None)

    def _parts(self, name: str) -> tuple[list[Subgroup], int, list[npt.NDArray[np.bool_]]]:
        if name not in self._shown:
            self._shown[name] = self._find_parts(self.tasks[self.index[name]])
        return self._shown[name]

    def _find_parts(self, task: Task) -> tuple[list[Subgroup], int, list[npt.NDArray[np.bool_]]]:
        part = next((self._counts[key] for key in self._keys(task.name)), None)
        shown: list[Subgroup] = []
        masks: list[npt.NDArray[np.bool_]] = []
        hidden = 0
        if part is None:
            return shown, hidden, masks
        everyone = set(part.persons)
        for attribute in ATTRIBUTES:
            if attribute in task.labels:
                continue
            values = part.attributes[attribute]
            named = sorted({str(value) for value in values if value is not None})
            if len(named) < 2:
                continue
            members = {value: set(part.persons[values == value]) for value in named}
            large = [value for value in named if len(members[value]) >= SMALLEST_SUBGROUP]
            beside = len(everyone - set().union(*(members[value] for value in large)))
            if 0 < beside < SMALLEST_SUBGROUP:
                large = []
            hidden += len(named) - len(large)
            for value in large:
                masks.append(values == value)
                tp, fp, fn, tn = part.counts[masks[-1]].sum(axis=0)
                share = float((tp + fn) / (tp + fp + fn + tn))
                shown.append(Subgroup(attribute, value, len(members[value]), share))
        return shown, hidden, masks


@dataclass(frozen=True)
class _Counts:
    """The predictions of one task, added up by person and subgroup.

    Attributes:
        persons: [rows].
        attributes: sex, age, language: each [rows], None where not known.
        counts: true positive, false positive, false negative, true negative [rows, 4].
        units: a hash of all (unit_id, y).
        folds: whether several probes judged them; see `intervals.by_folds`.
    """

    persons: npt.NDArray[Any]
    attributes: Mapping[str, npt.NDArray[Any]]
    counts: Numbers
    units: int
    folds: bool


def _read(folder: Path, keys: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], _Counts]:
    """The predictions of all scores, in one query; rows of a task come in the same order for every embedder."""
    if not keys:
        return {}
    files = {str(folder / embedder / f"{task}.{mode}.parquet"): (embedder, mode, task) for embedder, mode, task in keys}
    y, yes = pl.col("y"), pl.col("predicted")
    parts = ["file", "person", *ATTRIBUTES]
    frame = (
        pl.scan_parquet(
            list(files),
            schema=_READ,
            extra_columns="ignore",  # prompt pairs: their number differs by task
            missing_columns="insert",
            cast_options=pl.ScanCastOptions(integer_cast="allow-float"),
            include_file_paths="file",
        )
        .group_by(parts)
        .agg(
            (y * yes).sum().alias("tp"),
            ((1 - y) * yes).sum().alias("fp"),
            (y * (1 - yes)).sum().alias("fn"),
            ((1 - y) * (1 - yes)).sum().alias("tn"),
            pl.struct("unit_id", "y").hash().sum().alias("units"),
            pl.col("folds").is_not_null().all(),
        )
        .sort(parts)
        .collect()
    )
    numbers = frame["file"].rle_id().to_numpy()
    starts = np.searchsorted(numbers, np.arange(frame["file"].n_unique())).tolist()
    columns = {name: frame[name].to_numpy() for name in ("person", *ATTRIBUTES, "units", "folds")}
    counts = frame.select("tp", "fp", "fn", "tn").to_numpy()
    found: dict[tuple[str, str, str], _Counts] = {}
    for start, end in pairwise([*starts, frame.height]):
        rows = slice(start, end)
        found[files[frame["file"][start]]] = _Counts(
            persons=columns["person"][rows],
            attributes={name: columns[name][rows] for name in ATTRIBUTES},
            counts=counts[rows],
            units=int(columns["units"][rows].sum()),
            folds=bool(columns["folds"][rows].all()),
        )
    return found


def _normal_p(difference: Numbers, error: Numbers) -> Numbers:
    """Two-sided; 1 where both predict alike, so that the error is 0."""
    from scipy.special import erfc

    z = np.divide(np.abs(difference), error, out=np.zeros(len(error)), where=error > 0)
    return np.asarray(erfc(z / np.sqrt(2)), dtype=np.float64)


def _rates(counts: Numbers) -> Rates:
    tp, fp, fn, tn = counts.tolist()
    both = tp + fn > 0 and fp + tn > 0
    return Rates(
        macro_f1=float(macro_f1(counts)) if both else None,
        tpr=tp / (tp + fn) if tp + fn else None,
        fpr=fp / (fp + tn) if fp + tn else None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _place(embedder: str) -> tuple[int, str]:
    """SLAP first, then everyone by name, then confounds, then guessing and constants."""
    if embedder in CHANCE:
        return 3 + CHANCE.index(embedder), embedder
    return (0 if embedder == OURS else 2 if embedder in CONFOUNDS else 1), embedder
