"""Convert broken recordings in the workers of a real run, and say what became of each.

    python -m tests.hostile.run --mutants 10000 --seed 0
    python -m tests.hostile.run --only 0-4711 --save /tmp

Every mutant, and every recording of `special`, goes through `pipelines.audio.convert` inside a worker of
`pipelines.scale`. Well is: it was converted, or refused by an `AudioError`, or its worker died or reached the time
limit and it was refused for that. Not well, and exit status 1: another exception, a worker above `BOUND`, a file that
was not there before. While `convert` works, no file may grow: the kernel refuses (RLIMIT_FSIZE).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines import audio, scale
from pipelines.guard import Note
from tests.hostile import special
from tests.hostile.mutate import FORMATS, Mutant, mutant

BOUND = 2**30  # bytes of memory that one worker may hold at its peak
PER_UNIT = 50
TIMEOUT_S = 60.0  # for one recording, unless SLAP_FILE_TIMEOUT says another

CONVERTED, REJECTED, ERROR, DIED, LATE = "converted", "rejected", "unexpected error", "worker died", "too late"
OUTCOMES = (CONVERTED, REJECTED, ERROR, DIED, LATE)
Unit = tuple[int, tuple[int, ...], Path]  # seed, numbers of the mutants, scratch folder


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    id: str
    format: str
    outcome: str
    reason: str
    seconds: float
    peak: int  # bytes, of the whole worker while it had this mutant; 0: not known, as it died


def work(unit: Unit, note: Note) -> list[Outcome]:
    """Make and convert some mutants, in a worker."""
    seed, numbers, scratch = unit
    done = []
    for item, number in enumerate(numbers):
        made = mutant(number, seed)
        if item in note.refused:
            done.append(_ended(made.id, made.format, note.refused[item].reason))
            continue
        path = put(made, scratch / str(os.getpid()))
        note(item)
        done.append(convert(path, made.id, made.format))
    return done


def work_special(unit: tuple[str, Path], note: Note) -> Outcome:
    """Make and convert one recording of `special`, in a worker."""
    name, scratch = unit
    if note.refused:
        return _ended(name, "special", note.refused[0].reason)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = special.put(name, Path(folder))
        note(0)
        return convert(path, name, "special")


def _ended(id: str, format: str, reason: str) -> Outcome:
    """Of what ended its worker."""
    return Outcome(id, format, DIED if "crash" in reason or "ended" in reason else LATE, reason, 0.0, 0)


def put(made: Mutant, folder: Path) -> Path:
    """Write a mutant and what belongs to it, in place of the last one."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in made.beside.items():
        (folder / name).write_bytes(content)
    (folder / made.name).write_bytes(made.content)
    return folder / made.name


def convert(path: Path, id: str, format: str) -> Outcome:
    """Convert one recording and measure it."""
    reset_peak()
    started = time.perf_counter()
    try:
        with no_writing():
            audio.convert(path)
    except audio.AudioError as error:
        outcome, reason = REJECTED, str(error)
    except Exception as error:
        outcome, reason = ERROR, f"{type(error).__name__}: {error}"
    else:
        outcome, reason = CONVERTED, ""
    return Outcome(id, format, outcome, reason, time.perf_counter() - started, peak())


@contextmanager
def no_writing() -> Iterator[None]:
    """No file can grow meanwhile, whoever writes to it: Python or a C library."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def reset_peak() -> None:
    """Let `peak` count from here."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory in bytes that this process held since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None, "no Linux?"
    return int(found[1]) * 1024


def tried(numbers: Sequence[int], seed: int, scratch: Path, workers: int | None = None) -> Iterator[Outcome]:
    """The outcomes of the mutants of those numbers, in their order."""
    os.environ.setdefault("SLAP_FILE_TIMEOUT", str(TIMEOUT_S))
    cut = range(0, len(numbers), PER_UNIT)
    units = ((seed, tuple(numbers[n : n + PER_UNIT]), scratch) for n in cut)
    for outcomes in scale.run(work, units, total=len(cut), label="mutants", workers=workers):
        yield from outcomes


def tried_special(names: Sequence[str], scratch: Path, workers: int | None = None) -> list[Outcome]:
    """The outcomes of the recordings of `special` of those names."""
    os.environ.setdefault("SLAP_FILE_TIMEOUT", str(TIMEOUT_S))
    units = ((name, scratch) for name in names)
    return list(scale.run(work_special, units, total=len(names), label="special", workers=workers))


def not_well(outcomes: Iterable[Outcome]) -> list[str]:
    """Each mutant that did more than be converted or refused, in a line."""
    return [
        f"{one.id} ({one.format}): {one.outcome} {one.reason[:200]!r}, {one.peak >> 20} MiB"
        for one in outcomes
        if one.outcome == ERROR or one.peak > BOUND
    ]


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The outcomes by format, the reasons, the slowest, and what killed a worker."""
    yield f"| {'format':10s} | mutants | {' | '.join(OUTCOMES)} | peak MiB | seconds | slowest |"
    yield "|---|" + "---:|" * (len(OUTCOMES) + 4)
    for name in [*FORMATS, "all"]:
        chosen = [one for one in outcomes if name in (one.format, "all")]
        if not chosen:
            continue
        counts = Counter(one.outcome for one in chosen)
        seconds = [one.seconds for one in chosen]
        numbers = [len(chosen), *(counts[outcome] for outcome in OUTCOMES), max(one.peak for one in chosen) >> 20]
        yield f"| {name:10s} | {' | '.join(map(str, numbers))} | {sum(seconds):.1f} | {max(seconds):.2f} |"
    reasons = Counter(re.sub(r"-?\d[\d.e+]*", "#", one.reason) for one in outcomes if one.outcome == REJECTED)
    yield ""
    yield from (f"{count:6d}  rejected: {reason[:150]}" for reason, count in reasons.most_common(25))
    if len(reasons) > 25:
        yield f"{sum(reasons.values()) - sum(n for _, n in reasons.most_common(25)):6d}  rejected for other reasons"
    yield ""
    slow = sorted(outcomes, key=lambda one: -one.seconds)[:5]
    yield "slowest: " + ", ".join(f"{one.id} ({one.format}) {one.seconds:.2f} s, {one.outcome}" for one in slow)
    yield from (
        f"{one.id} ({one.format}): {one.outcome}: {one.reason}" for one in outcomes if one.outcome in (DIED, LATE)
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Convert broken recordings in the workers of a real run.")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="ID", help="one mutant, such as 0-4711: seed and number")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="with --only: where to leave the file")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    numbers: Sequence[int] = range(asked.first, asked.first + asked.mutants)
    seed = asked.seed
    if asked.only:
        seed, number = (int(part) for part in asked.only.split("-"))
        numbers = [number]
        made = mutant(number, seed)
        print(f"{made.id}: {made.format}, {len(made.content)} bytes, sha256 {hashlib.sha256(made.content).hexdigest()}")
        print("\n".join(f"  {step}" for step in made.steps))
        if asked.save:
            print(f"  left in {put(made, asked.save / made.id)}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slap-hostile-") as folder:
        there = Path(folder, "here")
        outcomes = list(tried(numbers, seed, there, asked.workers))
        built = [] if asked.only else tried_special([*special.BYTES, *special.FILES], Path(folder), asked.workers)
        strange = [path for path in Path(folder).rglob("*") if path.is_file() and path.name not in NAMES]
    print("\n".join(table(outcomes)))
    if asked.only:
        print(outcomes[0])
    for one in built:
        print(f"{one.id}: {one.outcome} {one.reason}, {one.seconds:.1f} s, {one.peak >> 20} MiB")
    bad = not_well([*outcomes, *built]) + [f"a file that nobody asked for: {path.name}" for path in strange]
    print("\n".join(bad))
    took = time.monotonic() - started
    print(
        f"{len(outcomes)} mutants and {len(built)} built recordings in {took:.0f} s, seed {seed}: {len(bad)} not well"
    )
    return 1 if bad else 0


NAMES = {f"x.{form.ending}" for form in FORMATS.values()} | {"x.hea"}

if __name__ == "__main__":
    from tests.hostile import run  # workers look `work` up by its module's name, which is not __main__

    sys.exit(run.main())
