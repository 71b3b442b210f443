"""The whole suite of kills: ``python -m tests.faults.run --kills 200 --seed 0``. Case 17 of it again: ``--case 17``."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import click

from tests.faults import drive, kill
from tests.faults.kill import Outcome

COLUMNS = (
    "stage",
    "killed",
    "kills",
    "cases",
    "runs resumed",
    "files compared",
    "MB compared",
    "rows of meta.db compared",
    "differences",
    "inputs lost",
    "files left over",
)


@click.command()
@click.option("--kills", default=200, show_default=True, help="at least so many")
@click.option("--seed", default=0, show_default=True)
@click.option("--case", "numbers", type=int, multiple=True, help="only this case; may be repeated")
@click.option("--stage", "stages", type=click.Choice(list(kill.WEIGHTS)), multiple=True, help="only this stage")
@click.option(
    "--changes",
    type=click.Choice(list(drive.STAGES)),
    multiple=True,
    default=list(drive.STAGES),
    help="die at each change of a file",
)
@click.option("--folder", type=click.Path(path_type=Path), help="for the runs; default: a temporary one")
def main(
    kills: int,
    seed: int,
    numbers: tuple[int, ...],
    stages: tuple[str, ...],
    changes: tuple[str, ...],
    folder: Path | None,
) -> None:
    """Kill processes at random moments, run again, and compare with an undisturbed run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with all that it has started
    started = time.monotonic()
    weights = {stage: weight for stage, weight in kill.WEIGHTS.items() if not stages or stage in stages}
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as scratch, kill.bench((folder or Path(scratch)) / "bench") as bench:
        for number in numbers or range(kills):
            outcome = bench.try_out(kill.case(seed, number, weights))
            outcomes.append(outcome)
            click.echo("\n".join(told(outcome)), err=outcome.good)
            if sum(done.kills for done in outcomes) >= kills and not numbers:
                break
        for stage in [stage for stage in changes if not numbers]:
            for outcome in bench.at_every_change(stage):
                outcomes.append(outcome)
                click.echo("\n".join(told(outcome)), err=outcome.good)
    click.echo("\n".join(table(outcomes)))
    click.echo(f"seed {seed}, {len(outcomes)} cases, {time.monotonic() - started:.0f} s")
    sys.exit(0 if all(outcome.good for outcome in outcomes) else 1)


def told(outcome: Outcome) -> list[str]:
    """A case, and what is wrong after it."""
    case, compared = outcome.case, outcome.compared
    moments = ", ".join(f"{moment:.3f}" for moment in case.moments) or f"change {case.number}"
    lines = [f"case {case.number}: {case.kind} of {case.stage} killed at {moments}"]
    lines += [f"  {outcome.failure}"] if outcome.failure else []
    lines += [f"  lost: {name}" for name in outcome.lost]
    lines += [f"  differs: {name}" for name in compared.differences]
    return lines + [f"  left over: {name}" for name in compared.left_over]


def table(outcomes: Iterable[Outcome]) -> list[str]:
    """The outcomes by stage and by who was killed."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.case.stage, outcome.case.kind].append(outcome)
    order = list(kill.WEIGHTS)
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|---" + "|--:" * (len(COLUMNS) - 2) + "|"]
    for (stage, kind), some in sorted(groups.items(), key=lambda group: (order.index(group[0][0]), group[0][1])):
        lines.append(_row(stage, kind, some))
    return [*lines, _row("total", "", [outcome for some in groups.values() for outcome in some])]


def _row(stage: str, kind: str, outcomes: list[Outcome]) -> str:
    compared = [outcome.compared for outcome in outcomes]
    numbers = [
        sum(outcome.kills for outcome in outcomes),
        len(outcomes),
        sum(outcome.resumed for outcome in outcomes),
        sum(one.files for one in compared),
        f"{sum(one.bytes for one in compared) / 1e6:.1f}",
        sum(one.rows for one in compared),
        sum(len(one.differences) + bool(outcome.failure) for one, outcome in zip(compared, outcomes, strict=True)),
        sum(len(outcome.lost) for outcome in outcomes),
        sum(len(one.left_over) for one in compared),
    ]
    return f"| {stage} | {kind} | {' | '.join(map(str, numbers))} |"


if __name__ == "__main__":
    main()
