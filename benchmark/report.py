"""The leaderboard, as Markdown for terminals and as one HTML file that needs nothing else.

Both show the same tables. What is on them is decided here; how it looks is in ``templates/``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from benchmark import intervals, metrics
from benchmark.evaluate import DOMAINS, MODES, REFERENCES, Score, board
from benchmark.task import GROUPS, TRACKS, Task

OURS = "slap"
SYNTHETIC = "Synthetic voices: rendered by espeak-ng; these scores say nothing about people."
SMALLEST_SUBGROUP = 10  # speakers

ABOUT = {
    OURS: "SLAP, trained on this run's manifest",
    "control": "the same model and data, trained without language",
    "untrained": "SLAP's architecture with random weights",
    "mel-statistics": "mean and deviation over time of a log-mel spectrogram: 128 numbers",
    "random": "random vectors: guessing",
    "always-yes": "says yes to everything",
}
LAST = ("random", "always-yes")  # at the foot of each table
MUTE = {"control": "trained without language"}  # why an embedder has no zero-shot; others have no text side
WORDS = {"slap": "SLAP", "zero-shot": "Zero-shot", "probe": "Linear probe"}
ABOUT_TRACK = {
    "paper": "The paper's tasks, reconstructed (its own list is not public).",
    "open": "Tasks on corpora that anyone may download.",
    "transfer": "Tasks on corpora made for something else.",
}
HEADLINE_STRATA = {
    "demographic": "Demog.",
    "voice": "Voice",
    "health": "Health",
    "in-domain": "In-dom.",
    "out-of-domain": "OOD",
}
MEANING = {
    "macro-F1": "mean of the F1 of yes and the F1 of no: 1 is perfect, guessing lies near 0.5, saying yes to all "
    "near 0.33",
    "F1": "of the positive class alone; at balanced classes, saying yes to all earns 0.67",
    "Bal. acc.": "balanced accuracy, the mean of both classes' recall: guessing and constants earn 0.5",
    "AUROC": "chance that a positive is ranked above a negative; does not depend on a threshold; 0.5 is guessing",
    "[low, high]": "95 % interval by drawing whole speakers 1,000 times; differences are paired: both models are "
    "judged on the same draws",
    "Tasks": "scored of all; a mean over tasks is '-' as long as one is missing",
    "Zero-shot": "the recording is compared with two opposite sentences, e.g. 'A healthy person is speaking.' and "
    "'A person with Parkinson's disease is speaking.'; nothing is trained",
    "(a to b)": "macro-F1 of the worst and the best single pair of sentences; the score uses all pairs together",
    "Linear probe": "a logistic regression on the frozen vectors, trained on the speakers of the training split",
    "In-dom. / OOD": "SLAP's training held, or did not hold, the corpus of the task; every embedder is averaged "
    "over the same tasks. 'New to SLAP' names what of corpus, language and label its training lacked",
    "Speakers, Prevalence": "of the test split; share of positives",
    "Always-yes": "F1 / macro-F1 of saying yes to all at this prevalence",
    "not separable": "the interval of the difference holds 0: these data do not say who is better",
}
PUBLISHED = (
    ("Zero-shot, 38 tasks", "62.9"),
    ("Linear probe, 38 tasks", "69.3"),
    ("Linear probe, health tasks", "57.9"),
)


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        markdown: ``leaderboard.md``.
        html: ``leaderboard.html``, one file that loads nothing.
        complete: tasks of the paper track for which every score could be computed, as "37/38"; of the other
            tracks when there is no paper track.
    """

    markdown: Path
    html: Path
    complete: str


@dataclass(frozen=True)
class Cell:
    """A cell: what to print, what to sort by (None sorts last), and an interval and a remark beside it."""

    text: str
    value: float | str | None = None
    interval: str = ""
    remark: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.interval, self.remark) if part)


@dataclass(frozen=True)
class Row:
    """A row, with what the filters of the HTML ask for and whether it is SLAP's."""

    cells: tuple[Cell, ...]
    marks: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def wordy(self) -> tuple[bool, ...]:
        """For each column, whether it holds words rather than numbers: it is set flush left."""
        return tuple(any(isinstance(cell.value, str) for cell in column) for column in self._columns())

    def _columns(self) -> Iterator[tuple[Cell, ...]]:
        for i in range(len(self.columns)):
            yield tuple(row.cells[i] for row in self.rows)


@dataclass(frozen=True)
class Mark:
    """A point with its interval in a forest plot, and what saying yes to all and guessing earn there."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    always_yes: float | None = None
    guessing: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Line:
    """A line of a forest plot: a mark for zero-shot and one for the probe, or a heading without marks."""

    label: str
    marks: tuple[Mark, ...] = ()
    ours: bool = True


@dataclass(frozen=True)
class Comparison:
    """SLAP minus another embedder in mean macro-F1; the numbers are None while a task is missing.

    ``ours_higher`` and ``other_higher`` count tasks, among the ``n_both`` that both have.
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

    @property
    def verdict(self) -> str:
        """above, below or not separable: where 0 lies to the interval; '-' without one."""
        if self.low is None or self.high is None:
            return "-"
        return "above" if self.low > 0 else "below" if self.high < 0 else "not separable"


def write_report(
    scores: Sequence[Score],
    predictions: Path,
    tasks: Sequence[Task],
    out: Path,
    *,
    synthetic: bool,
    absent: Mapping[str, str],
) -> Report:
    """Write ``leaderboard.md`` and ``leaderboard.html`` into ``out``; the same input gives the same bytes.

    Args:
        scores: from `benchmark.evaluate.evaluate` or `read_scores`.
        predictions: folder of the predictions that the scores were measured on.
        tasks: all that the board should have.
        out: folder of the reports.
        synthetic: whether the run is a demo; a score of a synthetic corpus has the same effect.
        absent: by corpus, why it takes no part; said beside the tasks that are missing because of it.
    """
    results = _Results(scores, predictions, tasks)
    synthetic = synthetic or any(score.synthetic for score in results.scores.values())
    content = _content(results, absent, synthetic)
    out.mkdir(parents=True, exist_ok=True)
    report = Report(out / "leaderboard.md", out / "leaderboard.html", results.complete())
    for path in (report.markdown, report.html):
        _replace(path, _template(f"{path.name}.j2").render(content))
    return report


def _content(results: _Results, absent: Mapping[str, str], synthetic: bool) -> dict[str, Any]:
    """Everything the templates print."""
    add = f" {SYNTHETIC}" if synthetic else ""

    def said(table: Table) -> Table:
        return replace(table, caption=table.caption + add)

    sections = [
        {
            "track": track,
            "title": f"{track.capitalize()} track: {_tasks(len(tasks))}",
            "about": ABOUT_TRACK[track],
            "summary": list(_sentences(results, tasks, absent)),
            "figure": _figure_of_means(results, track),
            "headlines": [said(_headline(results, track, mode)) for mode in MODES],
            "comparisons": said(_comparisons(results, tasks)) if results.ours else None,
            "strata": said(_strata(results, track)),
        }
        for track, tasks in results.tracks.items()
    ]
    return {
        "banner": SYNTHETIC if synthetic else "",
        "sections": sections,
        "per_task": [said(_per_task(results, mode)) for mode in MODES],
        "figure_of_tasks": _figure_of_tasks(results),
        "missing": said(_missing(results, absent)),
        "detail": said(_detail(results)),
        "subgroups": None if synthetic or not results.ours else _subgroups(results),
        "meaning": MEANING,
        "about": {name: ABOUT[name] for name in results.embedders if name in ABOUT},
        "published": PUBLISHED,
        "groups": [group for group in GROUPS if any(task.group == group for task in results.tasks)],
        "tracks": list(results.tracks),
        "example": next(iter(results.ours.values()), None),
    }


# --- what the tables are made from ------------------------------------------------------------------------------


class _Results:
    """Scores, means and predictions, looked up by embedder, mode and task."""

    def __init__(self, scores: Sequence[Score], predictions: Path, tasks: Sequence[Task]) -> None:
        names = {task.name for task in tasks}
        self.tasks = tasks
        ordered = sorted(scores, key=lambda score: (_place(score.embedder), MODES.index(score.mode), score.task))
        self.scores = {(s.embedder, s.mode, s.task): s for s in ordered if s.task in names}
        self.embedders = sorted({name for name, _, _ in self.scores}, key=_place)
        self.ours = {task: score for (embedder, _, task), score in self.scores.items() if embedder == OURS}
        self.tracks = self._tracks()
        means = board(self._on_our_strata(), predictions, tasks).means
        keys = ("track", "stratum", "embedder", "mode")
        self._means = {tuple(row[key] for key in keys): row for row in means.iter_rows(named=True)}
        self._predictions = predictions
        self._frames: dict[tuple[str, str, str], pl.DataFrame] = {}

    def _tracks(self) -> dict[str, list[Task]]:
        """The tasks by track; a track without any score goes to the end."""
        found = {track: [task for task in self.tasks if task.track == track] for track in TRACKS}
        scored = {score.track for score in self.scores.values() if score.status == "ok"}
        order = sorted((track for track in found if found[track]), key=lambda track: track not in scored)
        return {track: found[track] for track in order}

    def _on_our_strata(self) -> list[Score]:
        """All scores with SLAP's flags, so that a stratum holds the same tasks whoever is judged."""
        flags = {
            task: {name: getattr(score, name) for name in ("ood_corpus", "ood_language", "ood_label")}
            for task, score in self.ours.items()
        }
        return [replace(score, **flags.get(score.task, {})) for score in self.scores.values()]

    def score(self, embedder: str, mode: str, task: str) -> Score | None:
        """A score with numbers."""
        found = self.scores.get((embedder, mode, task))
        return found if found is not None and found.status == "ok" else None

    def any_score(self, task: str) -> Score | None:
        """Some score of a task with numbers: for what does not depend on the embedder."""
        return next((s for s in self.scores.values() if s.task == task and s.status == "ok"), None)

    def has(self, embedder: str, mode: str) -> bool:
        """Whether the embedder is judged in this mode at all."""
        return any((embedder, mode) == key[:2] for key in self.scores)

    def mean(self, track: str, stratum: str, embedder: str, mode: str) -> Mapping[str, Any] | None:
        """A row of `Board.means`."""
        return self._means.get((track, stratum, embedder, mode))

    def strata(self, track: str) -> dict[str, list[Task]]:
        """The strata that have tasks, and their tasks."""
        tasks = self.tracks[track]
        by_group = {group: [task for task in tasks if task.group == group] for group in GROUPS}
        by_domain = {
            name: [task for task in tasks if task.name in self.ours and lies(self.ours[task.name])]
            for name, lies in DOMAINS.items()
        }
        return {name: of_it for name, of_it in {"all": tasks, **by_group, **by_domain}.items() if of_it}

    def frame(self, embedder: str, mode: str, task: str) -> pl.DataFrame:
        """The predictions behind a score, read once."""
        key = (embedder, mode, task)
        if key not in self._frames:
            self._frames[key] = pl.read_parquet(self._predictions / embedder / f"{task}.{mode}.parquet")
        return self._frames[key]

    def compare(self, other: str, mode: str, tasks: Sequence[Task]) -> Comparison:
        """SLAP minus another embedder over tasks, on the same draws of speakers."""
        pairs = [(self.score(OURS, mode, task.name), self.score(other, mode, task.name)) for task in tasks]
        both = [(a.macro_f1 or 0.0, b.macro_f1 or 0.0) for a, b in pairs if a is not None and b is not None]
        counted = Comparison(
            other=other,
            mode=mode,
            complete=f"{len(both)}/{len(tasks)}",
            n_both=len(both),
            ours_higher=sum(a > b for a, b in both),
            other_higher=sum(b > a for a, b in both),
        )
        if len(both) < len(tasks):
            return counted
        ours, theirs = ({task.name: self.frame(name, mode, task.name) for task in tasks} for name in (OURS, other))
        difference, low, high = intervals.paired_difference(ours, theirs, tasks)
        return replace(counted, difference=difference, low=low, high=high)

    def comparisons(self, mode: str, tasks: Sequence[Task]) -> list[Comparison]:
        """SLAP against everyone judged in this mode."""
        if not self.has(OURS, mode):
            return []
        others = [name for name in self.embedders if name != OURS and self.has(name, mode)]
        return [self.compare(other, mode, tasks) for other in others]

    def complete(self) -> str:
        """Tasks whose every score could be computed, of the paper track where there is one."""
        tasks = self.tracks.get("paper", self.tasks)
        states = [{s.status for s in self.scores.values() if s.task == task.name} for task in tasks]
        return f"{sum(state == {'ok'} for state in states)}/{len(tasks)}"


def _place(embedder: str) -> tuple[bool, int, str]:
    known = list(ABOUT)
    return embedder in LAST, known.index(embedder) if embedder in known else len(known), embedder


def _word(name: str) -> str:
    return WORDS.get(name, name)


# --- cells ------------------------------------------------------------------------------------------------------

NOTHING = Cell("-")


def _number(value: float | None, digits: int = 3, sign: str = "") -> Cell:
    return NOTHING if value is None else Cell(f"{value:{sign}.{digits}f}", value)


def _with_interval(value: float | None, low: float | None, high: float | None, digits: int = 3, sign: str = "") -> Cell:
    if low is None or high is None:
        return _number(value, digits, sign)
    return replace(_number(value, digits, sign), interval=f"[{low:.{digits}f}, {high:.{digits}f}]")


def _count(value: int | None) -> Cell:
    return NOTHING if value is None else Cell(str(value), float(value))


def _text(text: str) -> Cell:
    return Cell(text, text)


# --- the tables -------------------------------------------------------------------------------------------------


def _headline(results: _Results, track: str, mode: str) -> Table:
    """A line for each embedder: the mean over all tasks, and macro-F1 by stratum."""
    strata = [name for name in HEADLINE_STRATA if name in results.strata(track)]
    rows = []
    for name in results.embedders:
        row = results.mean(track, "all", name, mode)
        if row is None:
            why = Cell("-", remark=f"({MUTE.get(name, 'no text side')})" if mode == "zero-shot" else "")
            cells = [NOTHING, why, *[NOTHING] * (3 + len(strata))]
        else:
            by_stratum = [results.mean(track, stratum, name, mode) for stratum in strata]
            cells = [
                Cell(row["complete"], float(row["complete"].partition("/")[0])),
                _with_interval(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"]),
                *(_number(row[column]) for column in ("f1", "balanced_accuracy", "auroc")),
                *(_mean_or_count(of_stratum) for of_stratum in by_stratum),
            ]
        rows.append(Row((_text(name), *cells), ours=name == OURS))
    caption = f"{_word(mode)}, {track} track: means over tasks; the last {len(strata)} columns are macro-F1 of a part."
    columns = ("Embedder", "Tasks", "Macro-F1 [95 %]", "F1", "Bal. acc.", "AUROC")
    return Table(caption, (*columns, *(HEADLINE_STRATA[name] for name in strata)), tuple(rows))


def _mean_or_count(row: Mapping[str, Any] | None) -> Cell:
    if row is None:
        return NOTHING
    if row["macro_f1"] is None:
        return Cell("-", remark=f"({row['complete']})")
    return _number(row["macro_f1"])


def _comparisons(results: _Results, tasks: Sequence[Task]) -> Table:
    """SLAP against everyone, over all tasks."""
    rows = []
    for mode in MODES:
        for found in results.comparisons(mode, tasks):
            cells = (
                _text(mode),
                _text(found.other),
                _text(found.complete),
                _with_interval(found.difference, found.low, found.high, sign="+"),
                _text(found.verdict),
                Cell(f"{found.ours_higher} of {found.n_both}", float(found.ours_higher)),
            )
            rows.append(Row(cells, {"verdict": found.verdict}))
    return Table(
        "SLAP minus another embedder, mean macro-F1 over tasks, both judged on the same draws of speakers.",
        ("Mode", "SLAP minus", "Tasks", "Difference [95 %]", "SLAP is", "SLAP higher on"),
        tuple(rows),
    )


def _strata(results: _Results, track: str) -> Table:
    """Every mean with its interval, and SLAP against everyone, by stratum."""
    rows = []
    for stratum, tasks in results.strata(track).items():
        for mode in MODES:
            against = {found.other: found for found in results.comparisons(mode, tasks)}
            for name in results.embedders:
                row = results.mean(track, stratum, name, mode)
                if row is None:
                    continue
                found = against.get(name)
                difference = (found.difference, found.low, found.high) if found else (None, None, None)
                cells = (
                    *(_text(text) for text in (stratum, mode, name)),
                    Cell(row["complete"], float(row["complete"].partition("/")[0])),
                    _with_interval(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"]),
                    *(_number(row[column]) for column in ("f1", "balanced_accuracy", "auroc")),
                    _with_interval(*difference, sign="+"),
                    _text(found.verdict if found else ""),
                )
                marks = {"stratum": stratum, "mode": mode}
                rows.append(Row(cells, marks, ours=name == OURS))
    return Table(
        f"Means by part of the {track} track, and SLAP's difference to each embedder there.",
        (
            *("Part", "Mode", "Embedder", "Tasks", "Macro-F1 [95 %]", "F1", "Bal. acc.", "AUROC"),
            *("SLAP minus it [95 %]", "SLAP is"),
        ),
        tuple(rows),
    )


def _per_task(results: _Results, mode: str) -> Table:
    """A line for each task: what it is, chance, and everyone's macro-F1."""
    judged = [name for name in results.embedders if results.has(name, mode) and name != "always-yes"]
    rows = [
        Row(
            (*_about_task(results, task), *(_of_task(results.score(name, mode, task.name)) for name in judged)),
            _marks(results, task),
        )
        for tasks in results.tracks.values()
        for task in sorted(tasks, key=lambda task: GROUPS.index(task.group))
    ]
    prompts = "; in round brackets the worst and the best single pair of prompts" if mode == "zero-shot" else ""
    return Table(
        f"{_word(mode)}, each task: macro-F1 with its 95 % interval over speakers{prompts}.",
        (*("Task", "Corpus", "Group", "Track", "New to SLAP", "Speakers", "Prevalence", "Always-yes"), *judged),
        tuple(rows),
    )


def _about_task(results: _Results, task: Task) -> tuple[Cell, ...]:
    score = results.any_score(task.name)
    described = (_text(task.name), _text(task.corpus), _text(task.group), _text(task.track), _text(_new(results, task)))
    if score is None or score.always_yes_f1 is None or score.always_yes_macro_f1 is None:
        return (*described, NOTHING, NOTHING, NOTHING)
    chance = Cell(f"{score.always_yes_f1:.2f} / {score.always_yes_macro_f1:.2f}", score.always_yes_f1)
    return (*described, _count(score.n_speakers), _number(score.prevalence, 2), chance)


def _of_task(score: Score | None) -> Cell:
    if score is None:
        return NOTHING
    cell = _with_interval(score.macro_f1, score.macro_f1_low, score.macro_f1_high, 2)
    if score.prompt_min is None or score.prompt_max is None:
        return cell
    return replace(cell, remark=f"({score.prompt_min:.2f} to {score.prompt_max:.2f})")


def _new(results: _Results, task: Task) -> str:
    """What of the task SLAP's training lacked, in words; '-' where SLAP is not on the board."""
    score = results.ours.get(task.name)
    if score is None:
        return "-"
    flags = {"corpus": score.ood_corpus, "language": score.ood_language, "label": score.ood_label}
    return ", ".join(name for name, new in flags.items() if new) or "nothing"


def _marks(results: _Results, task: Task) -> dict[str, str]:
    new = _new(results, task)
    return {"group": task.group, "track": task.track, "new": new, "name": f"{task.name} {task.corpus}"}


def _missing(results: _Results, absent: Mapping[str, str]) -> Table:
    """The tasks without a score, and why."""
    rows = []
    for task in (task for tasks in results.tracks.values() for task in tasks):
        of_task = [score for score in results.scores.values() if score.task == task.name]
        modes: dict[str, list[str]] = {}
        for score in of_task:
            if score.status != "ok":
                modes.setdefault(absent.get(task.corpus, score.reason), []).append(score.mode)
        if not of_task:
            modes[absent.get(task.corpus, "not scored yet")] = list(MODES)
        for reason, found in modes.items():
            of = ", ".join(mode for mode in MODES if mode in found)
            rows.append(Row((_text(task.name), _text(task.corpus), _text(of), _text(reason)), _marks(results, task)))
    return Table("Tasks without a score.", ("Task", "Corpus", "Mode", "Reason"), tuple(rows))


def _detail(results: _Results) -> Table:
    """All numbers of SLAP's scores."""
    rows = []
    for mode in MODES:
        for task in (task for tasks in results.tracks.values() for task in tasks):
            score = results.score(OURS, mode, task.name)
            if score is None:
                continue
            cells = (
                _text(task.name),
                _text(mode),
                _with_interval(score.macro_f1, score.macro_f1_low, score.macro_f1_high, 2),
                _with_interval(score.f1, score.f1_low, score.f1_high, 2),
                *(_number(value, 2) for value in (score.balanced_accuracy, score.auroc, score.predicted_positive_rate)),
                *(_count(value) for value in (score.n, score.n_speakers, score.n_train_speakers)),
                _count(score.n_without_audio),
            )
            rows.append(Row(cells, _marks(results, task)))
    return Table(
        "SLAP, each task, all numbers.",
        (
            *("Task", "Mode", "Macro-F1 [95 %]", "F1 [95 %]", "Bal. acc.", "AUROC", "Says yes"),
            *("Units", "Speakers", "Train speakers", "Without audio"),
        ),
        tuple(rows),
    )


def _subgroups(results: _Results) -> Table:
    """How SLAP does on parts of the speakers; small parts are hidden."""
    rows: list[Row] = []
    hidden = 0
    for mode in MODES:
        for task in (task for tasks in results.tracks.values() for task in tasks):
            if results.score(OURS, mode, task.name) is None:
                continue
            frame = results.frame(OURS, mode, task.name)
            for attribute in ("sex", "age", "language"):
                if attribute in task.labels:
                    continue
                shown, n_hidden = _parts(frame, attribute)
                hidden += n_hidden
                rows += _subgroup_rows(results, task, mode, attribute, shown)
    return Table(
        f"SLAP by subgroup, each task. TPR and FPR: share of positives and of negatives it says yes to. "
        f"Gap: macro-F1 to the best subgroup. {hidden} subgroups are hidden, because they or the rest beside them "
        f"have fewer than {SMALLEST_SUBGROUP} speakers.",
        ("Task", "Mode", "Subgroup", "Speakers", "Prevalence", "Macro-F1", "TPR", "FPR", "Gap"),
        tuple(rows),
    )


def _parts(frame: pl.DataFrame, attribute: str) -> tuple[dict[str, pl.DataFrame], int]:
    """The predictions by value of an attribute, and how many values are hidden.

    A small part is not shown; nor is any part when few people are left beside the shown ones, because the
    numbers of all would give away theirs.
    """
    parts = {str(value): part for (value,), part in frame.drop_nulls(attribute).group_by(attribute)}
    shown = {value: parts[value] for value in sorted(parts) if parts[value]["person"].n_unique() >= SMALLEST_SUBGROUP}
    in_shown = {person for part in shown.values() for person in part["person"]}
    beside = frame["person"].n_unique() - len(in_shown)
    if len(parts) < 2:
        return {}, 0
    if 0 < beside < SMALLEST_SUBGROUP:
        return {}, len(parts)
    return shown, len(parts) - len(shown)


def _subgroup_rows(
    results: _Results, task: Task, mode: str, attribute: str, parts: Mapping[str, pl.DataFrame]
) -> Iterator[Row]:
    counts = {value: metrics.confusion_by_speaker(part)[1].sum(axis=0) for value, part in parts.items()}
    judged = {value: float(metrics.macro_f1(c)) for value, c in counts.items() if c[0] + c[2] and c[1] + c[3]}
    best = max(judged.values(), default=None)
    for value, part in parts.items():
        tp, fp, fn, tn = counts[value].tolist()
        macro = judged.get(value)
        cells = (
            *(_text(text) for text in (task.name, mode, f"{attribute}: {value}")),
            _count(part["person"].n_unique()),
            _number((tp + fn) / part.height, 2),
            _number(macro, 2),
            _number(tp / (tp + fn) if tp + fn else None, 2),
            _number(fp / (fp + tn) if fp + tn else None, 2),
            _number(macro - best if macro is not None and best is not None else None, 2),
        )
        yield Row(cells, _marks(results, task))


# --- sentences --------------------------------------------------------------------------------------------------


def _sentences(results: _Results, tasks: Sequence[Task], absent: Mapping[str, str]) -> Iterator[str]:
    """A track in a few plain sentences: where SLAP stands, who is ahead of it, what is missing."""
    track = tasks[0].track
    for mode in MODES:
        row = results.mean(track, "all", OURS, mode)
        if row is None:
            continue
        against = results.comparisons(mode, tasks)
        if row["macro_f1"] is None:
            yield f"{_word(mode)}: {row['complete']} tasks have a score, so SLAP has no mean yet."
        else:
            value = _with_interval(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"])
            references = [
                _beside(found) for found in against if found.other in REFERENCES[mode] and found.low is not None
            ]
            yield f"{_word(mode)}: SLAP's mean macro-F1 is {value}" + "".join(f", {one}" for one in references) + "."
        yield from (_ahead(found, tasks) for found in against if _is_ahead(found))
    without = {task.corpus: absent.get(task.corpus) for task in tasks if results.any_score(task.name) is None}
    if without:
        missing = sum(results.any_score(task.name) is None for task in tasks)
        verb = "has" if missing == 1 else "have"
        yield (
            f"{missing} of {_tasks(len(tasks))} {verb} no score (corpus {', '.join(sorted(without))}); "
            "the reasons stand under 'Tasks without a score'."
        )


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"


def _beside(found: Comparison) -> str:
    difference = _with_interval(found.difference, found.low, found.high, sign="+")
    word = f"{found.verdict} from" if found.verdict == "not separable" else found.verdict
    return f"{word} {found.other} ({difference})"


def _is_ahead(found: Comparison) -> bool:
    """Whether the other embedder's mean is higher, or without a mean, whether it wins more tasks."""
    if found.difference is None:
        return found.other_higher > found.ours_higher
    return found.difference < 0


def _ahead(found: Comparison, tasks: Sequence[Task]) -> str:
    other, wins = found.other, f"{found.other_higher} of {_tasks(found.n_both)}"
    under = "Under probing" if found.mode == "probe" else "Zero-shot"
    if found.difference is None or found.low is None or found.high is None:
        return f"{under}, {other} is ahead of SLAP on {wins}; no mean yet ({found.complete})."
    gap = _with_interval(-found.difference, -found.high, -found.low)
    doubt = "" if found.verdict == "below" else ", not separable"
    return f"{under}, {other} is ahead of SLAP by {gap}{doubt}, and on {wins}."


# --- figures ----------------------------------------------------------------------------------------------------


def _figure_of_means(results: _Results, track: str) -> list[Line]:
    """Everyone's mean in both modes; nothing where nobody has one."""
    lines = [
        Line(name, tuple(_mean_mark(results, track, name, mode) for mode in MODES), ours=name == OURS)
        for name in results.embedders
    ]
    return lines if any(mark.value is not None for line in lines for mark in line.marks) else []


def _mean_mark(results: _Results, track: str, name: str, mode: str) -> Mark:
    row = results.mean(track, "all", name, mode)
    always_yes = (results.mean(track, "all", "always-yes", mode) or {}).get("macro_f1")
    if row is None:
        return Mark(remark=MUTE.get(name, "no text side"))
    if row["macro_f1"] is None:
        return Mark(remark=f"{row['complete']} tasks")
    return Mark(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"], always_yes)


def _figure_of_tasks(results: _Results) -> list[Line]:
    """SLAP on each task in both modes, by track and group; nothing where SLAP is not on the board."""
    lines: list[Line] = []
    for track, tasks in results.tracks.items() if results.ours else ():
        for group in GROUPS:
            of_group = [task for task in tasks if task.group == group]
            if of_group:
                lines.append(Line(f"{track}: {group}"))
                lines += [
                    Line(task.name, tuple(_task_mark(results, task, mode) for mode in MODES)) for task in of_group
                ]
    return lines


def _task_mark(results: _Results, task: Task, mode: str) -> Mark:
    score = results.score(OURS, mode, task.name)
    if score is None:
        return Mark(remark="no score")
    guess = results.score("random", mode, task.name)
    return Mark(
        score.macro_f1,
        score.macro_f1_low,
        score.macro_f1_high,
        always_yes=score.always_yes_macro_f1,
        guessing=guess.macro_f1 if guess is not None else None,
    )


# --- output -----------------------------------------------------------------------------------------------------


def as_markdown(table: Table) -> str:
    """A table with aligned columns under its caption."""
    lines = [[_escaped(name) for name in table.columns]]
    lines += [[_escaped(str(cell)) for cell in row.cells] for row in table.rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(table.columns))]
    shape = list(zip(widths, table.wordy, strict=True))
    rule = ["-" * width if words else "-" * (width - 1) + ":" for width, words in shape]
    aligned = [
        [cell.ljust(width) if words else cell.rjust(width) for cell, (width, words) in zip(line, shape, strict=True)]
        for line in lines
    ]
    body = "\n".join("| " + " | ".join(line) + " |" for line in (aligned[0], rule, *aligned[1:]))
    return f"*{table.caption}*\n\n{body}"


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = as_markdown
    environment.filters["word"] = _word
    environment.globals["modes"] = MODES
    return environment


def _template(name: str) -> Any:
    return _environment().get_template(name)


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, path)
