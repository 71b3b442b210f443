"""Two runs, or two embedders, side by side: who is better on the same speakers, and why their numbers may differ.

A run is a warehouse folder, an embedder of this warehouse, or both: ``folder``, ``slap``, ``folder:slap``. Tasks are
compared in pairs, on the same draws of speakers, only where both sides judged the same units; for the rest it is said
why they cannot be.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmark.files import file_hash
from benchmark.intervals import LEVEL, compare_all, holm
from benchmark.score import MODES, Score, read_scores
from benchmark.task import Task

SHOWN = 6  # names of tasks in a list
PROVENANCE: Mapping[str, str] = {
    "manifest": "trained on another manifest",
    "split": "another split of the persons",
    "code": "scored by other code",
    "task": "another definition of the task",
    "data": "other labels or audio",
}


class CompareError(ValueError):
    """There is nothing to compare; the message says what there is instead."""


@dataclass(frozen=True)
class Side:
    """One of the two: an embedder in a warehouse, with its scores that have numbers by (task, mode)."""

    embedder: str
    warehouse: Path
    scores: Mapping[tuple[str, str], Score]


@dataclass(frozen=True)
class TaskDifference:
    """A minus B in macro-F1 of one task; without an interval where ``unpaired`` says why there is none.

    ``p_adjusted`` is after Holm's correction over the paired tasks of the mode.
    """

    task: str
    a: float
    b: float
    low: float | None = None
    high: float | None = None
    p_adjusted: float | None = None
    unpaired: str = ""

    @property
    def difference(self) -> float:
        """A minus B."""
        return self.a - self.b

    @property
    def verdict(self) -> str:
        """A above, B above, not separable, or why that cannot be said."""
        if self.p_adjusted is None:
            return self.unpaired
        if self.p_adjusted >= 1 - LEVEL / 100:
            return "not separable"
        return "A above" if self.difference > 0 else "B above"


@dataclass(frozen=True)
class ModeDifference:
    """Everything about one mode.

    Attributes:
        mode: zero-shot or probe.
        tasks: those that both have, the largest difference in A's favour first.
        only_a, only_b: tasks that one side lacks.
        mean: difference of the mean over the paired tasks, low, high; None where no task is paired.
    """

    mode: str
    tasks: Sequence[TaskDifference]
    only_a: Sequence[str]
    only_b: Sequence[str]
    mean: tuple[float, float, float] | None


@dataclass(frozen=True)
class Comparison:
    """Two sides, what differs in their provenance (in words), and their numbers by mode."""

    a: Side
    b: Side
    provenance: Sequence[str]
    modes: Sequence[ModeDifference]


def compare(a: str, b: str, here: Path) -> list[Comparison]:
    """Compare two runs.

    Args:
        a: ``<embedder>`` of the warehouse here, ``<folder>``, or ``<folder>:<embedder>``; a folder is a warehouse.
        b: the same. Where one side names no embedder, it is the other's; where neither does, all that both have.
        here: the warehouse of this project.

    Raises:
        CompareError: a side is not there, both are the same, or they have nothing in common.
    """
    sides = [_parse(text, here) for text in (a, b)]
    held = [_scores(folder) for folder, _ in sides]
    names = [sorted({score.embedder for score in scores}) for scores in held]
    (folder_a, name_a), (folder_b, name_b) = sides
    if name_a is None and name_b is None:
        pairs = [(name, name) for name in names[0] if name in names[1]]
    else:
        pairs = [(name_a or name_b or "", name_b or name_a or "")]
    for found, (folder, _), which in zip(names, sides, (0, 1), strict=True):
        for pair in pairs:
            if pair[which] not in found:
                raise CompareError(f"no embedder {pair[which]!r} in {folder}; it has {', '.join(found)}")
    if folder_a == folder_b and all(left == right for left, right in pairs):
        raise CompareError("both sides are the same: name two embedders, or another warehouse")
    if not pairs:
        raise CompareError(
            f"no embedder is in both: {folder_a} has {', '.join(names[0])}; {folder_b} has {', '.join(names[1])}. "
            "Name one each: <folder>:<embedder>"
        )
    return [_compare(_side(left, folder_a, held[0]), _side(right, folder_b, held[1])) for left, right in pairs]


def describe(comparison: Comparison) -> str:
    """A comparison as text for the terminal."""
    a, b = comparison.a, comparison.b
    lines = [
        f"A  {a.embedder}  ({a.warehouse})",
        f"B  {b.embedder}  ({b.warehouse})",
        "",
        "What differs beside the numbers",
    ]
    lines += [f"  {line}" for line in comparison.provenance] or ["  nothing that is recorded"]
    if any(score.synthetic for side in (a, b) for score in side.scores.values()):
        lines += ["", "Synthetic voices: rendered by espeak-ng; these numbers say nothing about people."]
    for mode in comparison.modes:
        lines += ["", *_mode_lines(mode)]
    return "\n".join(lines)


# --- which two ----------------------------------------------------------------------------------------------


def _parse(text: str, here: Path) -> tuple[Path, str | None]:
    """The warehouse and the embedder that a person means."""
    own = {folder.name for folder in (here / "scores").glob("*") if any(folder.glob("*.json"))}
    if text in own:
        return here.resolve(), text
    if (folder := _warehouse(Path(text))) is not None:
        return folder, None
    place, colon, name = text.rpartition(":")
    if colon and (folder := _warehouse(Path(place))) is not None:
        return folder, name
    near = difflib.get_close_matches(text, sorted(own), n=3, cutoff=0.5) or sorted(own)
    raise CompareError(
        f"{text!r} is neither a warehouse with scores nor an embedder of {here}"
        f"{' (it has ' + ', '.join(near) + ')' if near else ' (it has no scores)'}; "
        "write <embedder>, <folder> or <folder>:<embedder>"
    )


def _warehouse(folder: Path) -> Path | None:
    """The warehouse that a folder is, or whose scores it is."""
    if any((folder / "scores").glob("*/*.json")):
        return folder.resolve()
    return folder.resolve().parent if folder.name == "scores" and any(folder.glob("*/*.json")) else None


def _scores(warehouse: Path) -> list[Score]:
    found = read_scores(warehouse / "scores")
    if not found:
        raise CompareError(f"the scores in {warehouse} are of another version of the benchmark; run it again")
    return found


def _side(embedder: str, warehouse: Path, scores: Sequence[Score]) -> Side:
    own = {(s.task, s.mode): s for s in scores if s.embedder == embedder and s.status == "ok"}
    return Side(embedder, warehouse, own)


# --- numbers ------------------------------------------------------------------------------------------------


def _compare(a: Side, b: Side) -> Comparison:
    modes = [mode for mode in MODES if any((task, mode) in b.scores for task, found in a.scores if found == mode)]
    if not modes:
        raise CompareError(f"{a.embedder} of {a.warehouse} and {b.embedder} of {b.warehouse} share no scored task")
    return Comparison(a, b, _provenance(a, b), [_mode(a, b, mode) for mode in modes])


def _mode(a: Side, b: Side, mode: str) -> ModeDifference:
    of_a, of_b = ({task for task, found in side.scores if found == mode} for side in (a, b))
    both = {name: (a.scores[name, mode], b.scores[name, mode]) for name in sorted(of_a & of_b)}
    frames = {name: (_frame(a, left), _frame(b, right)) for name, (left, right) in both.items()}
    unpaired = {name: _why_not(left, right, *frames[name]) for name, (left, right) in both.items()}
    paired = [name for name in both if not unpaired[name]]
    units = {
        side: {name: frame for name in paired if (frame := frames[name][at]) is not None}
        for at, side in enumerate(("a", "b"))
    }
    tasks = {name: _task(both[name][0]) for name in paired}
    rows = {name: compare_all(units, [task]).row(0, named=True) for name, task in tasks.items()}
    adjusted = dict(zip(paired, holm(np.array([rows[name]["p"] for name in paired])), strict=True))
    found = [
        TaskDifference(
            task=name,
            a=left.macro_f1 or 0.0,
            b=right.macro_f1 or 0.0,
            low=rows[name]["low"] if name in rows else None,
            high=rows[name]["high"] if name in rows else None,
            p_adjusted=float(adjusted[name]) if name in rows else None,
            unpaired=unpaired[name],
        )
        for name, (left, right) in both.items()
    ]
    mean = compare_all(units, list(tasks.values())).row(0, named=True) if tasks else None
    return ModeDifference(
        mode=mode,
        tasks=sorted(found, key=lambda one: (-one.difference, one.task)),
        only_a=sorted(of_a - of_b),
        only_b=sorted(of_b - of_a),
        mean=None if mean is None else (mean["difference"], mean["low"], mean["high"]),
    )


def _task(score: Score) -> Task:
    """As much of the task as an interval asks for: other runs may have tasks that this code does not know."""
    known = {name: getattr(score, name) for name in ("group", "track", "corpus")}
    return Task(name=score.task, **known, positive="", negative="", unit="", source="", prompts={})


def _frame(side: Side, score: Score) -> pl.DataFrame | None:
    """The predictions behind a score; None where they are gone or not those that were scored."""
    file = side.warehouse / "predictions" / side.embedder / f"{score.task}.{score.mode}.parquet"
    if not file.is_file() or file_hash(file) != score.hashes.get("predictions"):
        return None
    return pl.read_parquet(file)


def _why_not(a: Score, b: Score, of_a: pl.DataFrame | None, of_b: pl.DataFrame | None) -> str:
    """Why two scores of a task cannot be compared on the same speakers; "" where they can."""
    if of_a is None or of_b is None:
        return f"predictions of {'A' if of_a is None else 'B'} absent or changed"
    units = [frame.select("unit_id", "y").sort("unit_id", "y") for frame in (of_a, of_b)]
    if units[0].equals(units[1]):
        return ""
    if a.protocol != b.protocol:
        return f"A by {a.protocol}, B by {b.protocol}"
    persons = [set(frame["person"]) for frame in (of_a, of_b)]
    shared = len(persons[0] & persons[1])
    if not shared:
        return "no speaker in common: other people, or hashed with another id key"
    if persons[0] == persons[1]:
        return f"the same {shared} speakers with other units or labels"
    return f"other speakers: {len(persons[0])} and {len(persons[1])}, {shared} in both"


# --- provenance and words -----------------------------------------------------------------------------------


def _provenance(a: Side, b: Side) -> list[str]:
    """What differs of where the numbers come from, in words; tasks are named where not all differ."""
    shared = sorted(a.scores.keys() & b.scores.keys())
    pairs = [(task, mode, a.scores[task, mode], b.scores[task, mode]) for task, mode in shared]
    lines = []
    if any(left.fingerprint != right.fingerprint for _, _, left, right in pairs):
        lines.append(f"weights: {_short(a)} and {_short(b)}")
    for what, words in PROVENANCE.items():
        differ = [(t, left, right) for t, _, left, right in pairs if left.hashes.get(what) != right.hashes.get(what)]
        if not differ:
            continue
        _, left, right = differ[0]
        marks = f"{left.hashes.get(what, '')[:12] or 'none'} and {right.hashes.get(what, '')[:12] or 'none'}"
        tasks = list(dict.fromkeys(task for task, _, _ in differ))
        everywhere = len(differ) == len(pairs)
        lines.append(f"{what}: {words}, " + (marks if everywhere else f"of {_listed(tasks)}"))
    if any(left.synthetic != right.synthetic for _, _, left, right in pairs):
        lines.append("voices: rendered on one side, of people on the other: the two are no results about one thing")
    return lines


def _short(side: Side) -> str:
    return next(iter(side.scores.values())).fingerprint[:12]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} task{'' if len(names) == 1 else 's'}: {', '.join(names[:SHOWN])}{more}"


def _mode_lines(mode: ModeDifference) -> list[str]:
    tasks = mode.tasks
    paired = [one for one in tasks if one.p_adjusted is not None]
    lines = [f"{mode.mode}: {len(tasks)} tasks that both have"]
    for side, names in (("A", mode.only_a), ("B", mode.only_b)):
        lines += [f"  only {side} has {_listed(names)}"] if names else []
    means = [float(np.mean([getattr(one, side) for one in tasks])) for side in "ab"]
    lines.append(f"  mean macro-F1  A {means[0]:.3f}   B {means[1]:.3f}")
    if mode.mean is None:
        lines.append("  A - B          no task can be compared on the same speakers")
    else:
        difference, low, high = mode.mean
        of = "" if len(paired) == len(tasks) else f", over the {len(paired)} tasks with the same speakers"
        verdict = "A above" if low > 0 else "B above" if high < 0 else "not separable"
        lines.append(f"  A - B          {difference:+.3f} [{low:+.3f}, {high:+.3f}]  {verdict}{of}")
    width = max(len(one.task) for one in tasks)
    lines.append(f"  {'task':<{width}}  {'A':>5}  {'B':>5}   A - B  95 % interval")
    for one in tasks:
        interval = "" if one.low is None or one.high is None else f"[{one.low:+.3f}, {one.high:+.3f}]"
        numbers = f"{one.a:.3f}  {one.b:.3f}  {one.difference:+.3f}  {interval:<16}"
        lines.append(f"  {one.task:<{width}}  {numbers}  {one.verdict}")
    if paired:
        lines.append(
            f"  each interval is of one comparison; verdicts are after Holm's correction for {len(paired)} comparisons"
        )
    return lines
