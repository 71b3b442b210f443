"""The tables of the Markdown report: cells, rows, and which of them there are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from benchmark.confounds import NAMES as CONFOUNDS
from benchmark.confounds import Flag
from benchmark.page import missing
from benchmark.results import MUTE, OURS, SMALLEST_SUBGROUP, Mean, Results
from benchmark.score import MODES, Score
from benchmark.task import GROUPS, Task

WIDTH = 118  # of lines that a terminal should hold
WORDS = {"slap": "SLAP", "zero-shot": "Zero-shot", "probe": "Linear probe"}
STRATA = {
    "demographic": "Demog.",
    "voice": "Voice",
    "health": "Health",
    "in-domain": "In-dom.",
    "out-of-domain": "OOD",
}


@dataclass(frozen=True)
class Cell:
    """A cell: what to print, an interval and a remark beside it, and whether it holds words (set flush left)."""

    text: str
    interval: str = ""
    remark: str = ""
    wordy: bool = False

    def __str__(self) -> str:
        return " ".join(part for part in (self.text, self.interval, self.remark) if part)


@dataclass(frozen=True)
class Table:
    """A table with its caption, and a note that stands in a line of its own below it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def wordy(self) -> tuple[bool, ...]:
        """For each column, whether it holds words rather than numbers."""
        return tuple(any(row[i].wordy for row in self.rows) for i in range(len(self.columns)))


def as_markdown(table: Table) -> str:
    """A table with aligned columns under its caption."""
    lines = [[_escaped(name) for name in table.columns]]
    lines += [[_escaped(str(cell)) for cell in row] for row in table.rows]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(table.columns))]
    shape = list(zip(widths, table.wordy, strict=True))
    rule = ["-" * width if words else "-" * (width - 1) + ":" for width, words in shape]
    aligned = [
        [cell.ljust(width) if words else cell.rjust(width) for cell, (width, words) in zip(line, shape, strict=True)]
        for line in lines
    ]
    body = "\n".join("| " + " | ".join(line) + " |" for line in (aligned[0], rule, *aligned[1:]))
    caption = "\n".join([*textwrap.wrap(table.caption, WIDTH), *([table.note] if table.note else [])])
    return f"*{caption}*\n\n{body}"


def word(name: str) -> str:
    """A name as it is printed at the start of a sentence."""
    return WORDS.get(name, name)


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# --- cells ------------------------------------------------------------------------------------------------------

NOTHING = Cell("-")


def number(value: float | None, digits: int = 3, sign: str = "") -> Cell:
    """A number, or '-'."""
    return NOTHING if value is None else Cell(f"{value:{sign}.{digits}f}")


def with_interval(value: float | None, low: float | None, high: float | None, digits: int = 3, sign: str = "") -> Cell:
    """A number with its interval beside it, where it has one."""
    if value is None or low is None or high is None:
        return number(value, digits, sign)
    return replace(number(value, digits, sign), interval=f"[{low:.{digits}f}, {high:.{digits}f}]")


def _count(value: int | None) -> Cell:
    return NOTHING if value is None else Cell(str(value))


def _text(text: str) -> Cell:
    return Cell(text, wordy=True)


SIGNS = {"above": "▲", "below": "▼", "not separable": "≈"}

# --- the tables -------------------------------------------------------------------------------------------------


def overview(results: Results, track: str) -> Table:
    """The board of a track in one table that fits a terminal: both modes, and SLAP against everyone."""
    tasks, in_all = results.averaged(track), len(results.tracks[track])
    against = {(mode, one.other): one for mode in MODES for one in results.comparisons(mode, tasks)}
    rows = []
    for name in by_mean(results, track, "probe") if results.scored(track) else ():
        found = {mode: results.mean(name, mode, tasks) for mode in MODES}
        cells: list[Cell] = []
        for mode in reversed(MODES):
            mean, one = found[mode], against.get((mode, name))
            if mean is None:
                cells.append(NOTHING)
            elif mean.macro_f1 is None:
                cells.append(Cell("-", remark=f"({mean.complete})"))
            else:
                cells.append(with_interval(mean.macro_f1, mean.low, mean.high))
            if results.ours:
                cells.append(
                    replace(number(one.difference, sign="+"), remark=SIGNS.get(one.verdict, "")) if one else NOTHING
                )
        counted = sorted({f"{mean.n_scored}/{in_all}" for mean in found.values() if mean is not None})
        rows.append((_text(name), *cells, Cell(", ".join(counted))))
    beside = ("SLAP minus it",) if results.ours else ()
    said = " SLAP minus it: ▲ SLAP is above, ▼ below, ≈ not separable (Holm's correction)." if results.ours else ""
    part = "" if len(tasks) == in_all else f" that have a score, of {in_all}"
    return Table(
        f"Mean macro-F1 over the {len(tasks)} tasks of the {track} track{part}, with 95 % intervals over "
        f"speakers.{said}",
        ("Embedder", "Linear probe [95 %]", *beside, "Zero-shot [95 %]", *beside, "Tasks"),
        tuple(rows),
    )


def headline(results: Results, track: str, mode: str, *, with_gap: bool) -> Table:
    """A line for each embedder, the highest mean first: the mean over all tasks, and macro-F1 by stratum."""
    strata = {name: tasks for name, tasks in results.strata(track).items() if name in STRATA}
    rows = []
    for name in by_mean(results, track, mode) if results.scored(track) else ():
        found = results.mean(name, mode, results.averaged(track))
        if found is None:
            why = f"({MUTE.get(name, 'no text side')})" if mode == "zero-shot" else ""
            cells = [NOTHING, Cell("-", remark=why), *[NOTHING] * (3 + with_gap + len(strata))]
        else:
            cells = [
                Cell(found.complete),
                with_interval(found.macro_f1, found.low, found.high),
                *(number(value) for value in (found.f1, found.balanced_accuracy, found.auroc)),
                *([number(found.gap)] if with_gap else []),
                *(_mean_or_count(results.mean(name, mode, tasks)) for tasks in strata.values()),
            ]
        rows.append((_text(name), *cells))
    gap = ("Gap",) if with_gap else ()
    return Table(
        f"{word(mode)}, {track} track: means over tasks; the last {len(strata)} columns are macro-F1 of a part.",
        ("Embedder", "Tasks", "Macro-F1 [95 %]", "F1", "Bal. acc.", "AUROC", *gap, *(STRATA[name] for name in strata)),
        tuple(rows),
    )


def by_mean(results: Results, track: str, mode: str) -> list[str]:
    """The embedders, contestants before chance, the highest mean first; in the old order without means.

    Confounds are no models, and not among them.
    """
    judged = set(results.contestants)

    def rank(name: str) -> tuple[bool, bool, float]:
        found = results.mean(name, mode, results.averaged(track))
        return name not in judged, found is None, -(found.macro_f1 or 0.0) if found else 0.0

    return sorted((name for name in results.embedders if name not in CONFOUNDS), key=rank)


def _mean_or_count(found: Mean | None) -> Cell:
    if found is None:
        return NOTHING
    return Cell("-", remark=f"({found.complete})") if found.macro_f1 is None else number(found.macro_f1)


def comparisons(results: Results, tasks: Sequence[Task]) -> Table:
    """SLAP against everyone, over all tasks."""
    rows = [
        (
            _text(mode),
            _text(found.other),
            _text(found.complete),
            with_interval(found.difference, found.low, found.high, sign="+"),
            _text(found.verdict),
            Cell(f"{found.ours_higher} of {found.n_both}"),
        )
        for mode in MODES
        for found in results.comparisons(mode, tasks)
    ]
    return Table(
        "SLAP minus another embedder, mean macro-F1 over tasks, both judged on the same draws of speakers; the "
        "verdict is corrected for the number of embedders (Holm).",
        ("Mode", "SLAP minus", "Tasks", "Difference [95 %]", "SLAP is", "SLAP higher on"),
        tuple(rows),
    )


def per_task(results: Results, mode: str, flags: Mapping[str, Sequence[Flag]]) -> Table:
    """A line for each task: what it is, chance, and everyone's macro-F1."""
    judged = [name for name in results.judged(mode) if name != "always-yes"]
    rows = [
        (
            *_about_task(results, task, flags),
            *(_of_task(results.score(name, mode, task.name)) for name in judged),
        )
        for tasks in results.tracks.values()
        for task in sorted(tasks, key=lambda task: GROUPS.index(task.group))
    ]
    prompts = "; in round brackets the worst and the best single pair of prompts" if mode == "zero-shot" else ""
    flagged = "; (!) a confound answers it, too" if any(flags.get(task.name) for task in results.tasks) else ""
    return Table(
        f"{word(mode)}, each task: macro-F1 with its 95 % interval over speakers{prompts}{flagged}.",
        ("Task", "Corpus", "Family", "Track", "New to SLAP", "Speakers", "Prevalence", "Always-yes", *judged),
        tuple(rows),
    )


def _about_task(results: Results, task: Task, flags: Mapping[str, Sequence[Flag]]) -> tuple[Cell, ...]:
    score, new = results.any_score(task.name), results.new(task.name)
    fresh = "-" if new is None else ", ".join(new) or "nothing"
    described = (
        Cell(task.name, remark="(!)" if flags.get(task.name) else "", wordy=True),
        *(_text(text) for text in (task.corpus, task.group, task.track, fresh)),
    )
    if score is None or score.always_yes_f1 is None or score.always_yes_macro_f1 is None:
        return (*described, NOTHING, NOTHING, NOTHING)
    chance = Cell(f"{score.always_yes_f1:.2f} / {score.always_yes_macro_f1:.2f}")
    return (*described, _count(score.n_speakers), number(score.prevalence, 2), chance)


def _of_task(score: Score | None) -> Cell:
    if score is None:
        return NOTHING
    cell = with_interval(score.macro_f1, score.macro_f1_low, score.macro_f1_high, 2)
    if score.prompt_min is None or score.prompt_max is None:
        return cell
    return replace(cell, remark=f"({score.prompt_min:.2f} to {score.prompt_max:.2f})")


def without_score(results: Results, absent: Mapping[str, str]) -> Table:
    """The tasks without a score, and why."""
    rows = [
        (_text(task.name), _text(task.corpus), _text(", ".join(modes)), _text(reason))
        for tasks in results.tracks.values()
        for task in tasks
        for reason, modes in missing(results, task, absent).items()
    ]
    return Table("Tasks without a score.", ("Task", "Corpus", "Mode", "Reason"), tuple(rows))


def without_embedder(absent_embedders: Mapping[str, str]) -> Table:
    """The embedders that could not be loaded, and why."""
    rows = [(_text(name), _text(reason)) for name, reason in sorted(absent_embedders.items())]
    return Table("Embedders that could not be loaded.", ("Embedder", "Reason"), tuple(rows))


def betrayed(results: Results, flags: Mapping[str, Sequence[Flag]]) -> Table:
    """A line for each confound: how often it answers, and how well."""
    rows = []
    for name in (name for name in CONFOUNDS if name in results.embedders):
        scores = [score for task in results.tasks if (score := results.score(name, "probe", task.name)) is not None]
        flagged = sum(flag.confound == name for task in results.tasks for flag in flags.get(task.name, ()))
        means = [
            [value for one in scores if (value := getattr(one, what)) is not None] for what in ("macro_f1", "auroc")
        ]
        rows.append(
            (
                _text(name),
                Cell(f"{flagged} of {len(scores)}"),
                *(number(sum(values) / len(values) if values else None) for values in means),
            )
        )
    return Table(
        "A linear probe on what is no voice: the recording's properties, sex and age, or the silence; means over the "
        "tasks where it knows anything.",
        ("Confound", "Flags, of tasks", "Macro-F1", "AUROC"),
        tuple(rows),
    )


def flagged(results: Results, flags: Mapping[str, Sequence[Flag]]) -> Table:
    """The confounds that answer a task."""
    rows = [
        (_text(task.name), _text(flag.confound), number(flag.macro_f1, 2), number(flag.auroc, 2), _text(flag.sentence))
        for task in results.tasks
        for flag in flags.get(task.name, ())
    ]
    return Table(
        "Confounds: tasks that a probe answers without listening to the voice: a question to look into, no verdict.",
        ("Task", "Confound", "Macro-F1", "AUROC", "What it means"),
        tuple(rows),
    )


def transfer(transfers: pl.DataFrame, name: str, embedder: str) -> Table:
    """The matrix of one label and embedder: trained on the row, tested on the column."""
    part = transfers.filter(pl.col("name") == name, pl.col("embedder") == embedder)
    cells = {(row["train_corpus"], row["test_corpus"]): row for row in part.iter_rows(named=True)}
    corpora = sorted({corpus for pair in cells for corpus in pair})

    def cell(train: str, test: str) -> Cell:
        row = cells.get((train, test))
        return with_interval(row["macro_f1"], row["macro_f1_low"], row["macro_f1_high"], 2) if row else NOTHING

    rows = tuple((_text(train), *(cell(train, test) for test in corpora)) for train in corpora)
    return Table(
        f"Transfer of {name}, {embedder}: macro-F1 of a probe trained on the row and tested on the column.",
        ("Trained on", *corpora),
        rows,
    )


def subgroups(results: Results) -> Table:
    """How SLAP does on parts of the speakers; small parts are hidden."""
    rows = list(_subgroup_rows(results))
    hidden = sum(results.subgroups(task.name)[1] for task in results.tasks if task.name in results.ours)
    return Table(
        f"SLAP by subgroup, linear probe. TPR and FPR: share of positives and of negatives it says yes to. "
        f"{hidden} subgroups are hidden, because they or the rest beside them have fewer than {SMALLEST_SUBGROUP} "
        f"speakers.",
        ("Task", "Subgroup", "Speakers", "Prevalence", "Macro-F1", "TPR", "FPR", "Gap of the task"),
        tuple(rows),
    )


def _subgroup_rows(results: Results) -> Iterator[tuple[Cell, ...]]:
    for task in (task for tasks in results.tracks.values() for task in tasks):
        rates = results.rates(OURS, "probe", task.name)
        gap = results.gap(OURS, "probe", task.name)
        for group, of_it in zip(results.subgroups(task.name)[0], rates, strict=False):
            yield (
                *(_text(text) for text in (task.name, f"{group.attribute}: {group.value}")),
                _count(group.n_speakers),
                *(number(value, 2) for value in (group.prevalence, of_it.macro_f1, of_it.tpr, of_it.fpr, gap)),
            )
