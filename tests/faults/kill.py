"""Processes killed at random moments, and what the next run makes of what they left."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol
from unittest import mock

from tests.faults import drive, world
from tests.faults.processes import children
from tests.faults.world import Compared

WORKER, PARENT, ALL, RUN_WORKER = "worker", "parent", "parent and workers", "Dagster's run worker"
CHANGE, INSIDE = "parent, before each change of a file", "parent, in each file that it writes"
CHAIN, DAGSTER = "all stages", "all stages, by Dagster"
# Stage -> what can be killed there. Stages that take longer have more moments to be killed at, so they come more often.
KINDS: Mapping[str, tuple[str, ...]] = {
    "tables": (PARENT,),
    "warehouse": (PARENT,),
    "captions": (PARENT,),
    "shards": (WORKER, PARENT, ALL),
    "embed": (PARENT,),
    CHAIN: (WORKER, PARENT, ALL),
    DAGSTER: (RUN_WORKER, WORKER),
}
WEIGHTS = {"tables": 12, "warehouse": 22, "captions": 8, "shards": 30, "embed": 18, CHAIN: 6, DAGSTER: 4}
MOST_KILLS = 4  # in one case
PATIENCE_S = 300.0  # for a run that ends by itself; it takes a second or two


@dataclass(frozen=True)
class Case:
    """What happens to one warehouse.

    Attributes:
        number: with the seed it gives all the rest.
        stage: what is run.
        kind: of the process that is killed.
        moments: of the kills, as shares of how long an undisturbed run takes. Parents are killed in one run after the
            other, workers all in the same run.
    """

    number: int
    stage: str
    kind: str
    moments: tuple[float, ...]


@dataclass
class Outcome:
    """What became of a case."""

    case: Case
    kills: int = 0
    resumed: int = 0  # runs that were started on what a killed one left
    compared: Compared = field(default_factory=Compared)
    lost: list[str] = field(default_factory=list)
    failure: str = ""  # of a run that should have come to its end

    @property
    def good(self) -> bool:
        """Whether nothing was lost, left over, or other than in an undisturbed run."""
        return not (self.failure or self.lost or self.compared.differences or self.compared.left_over)


def case(seed: int, number: int, stages: Mapping[str, int] = WEIGHTS) -> Case:
    """Case ``number`` of a seed: always the same one."""
    rng = random.Random(f"{seed}/{number}")
    stage = rng.choices(list(stages), list(stages.values()))[0]
    kind = rng.choice(KINDS[stage])
    moments = [rng.random() for _ in range(rng.randint(1, MOST_KILLS))]
    return Case(number, stage, kind, tuple(sorted(moments) if kind == WORKER else moments))


class Running(Protocol):
    """A run on its way."""

    @property
    def pid(self) -> int: ...

    def over(self) -> bool: ...

    def end(self, seconds: float) -> str:
        """Wait for its end; "" where it came to its end without an error, else what it said."""
        ...


class Runner(Protocol):
    """A way to start runs."""

    def start(self, folder: Path, stage: str, die_at: int = 0) -> Running: ...


class Bench:
    """A world, what an undisturbed run makes of it stage by stage, and how long that takes.

    All runs go on in the same folder, for some products know where their inputs are.
    """

    def __init__(self, folder: Path, runners: Mapping[str, Callable[[], Runner]]) -> None:
        self.folder = folder
        self.warehouse = folder / "warehouse"
        self._makers = runners
        self._runners: dict[str, Runner] = {}
        self._seconds: dict[str, float] = {}
        self.wanted: dict[str, Path] = {}  # stage -> the warehouse after an undisturbed run
        self._before: dict[str, Path | None] = {}
        world.make(folder)
        before: Path | None = None
        for stage in drive.STAGES:
            self._undisturbed(stage, before)
            before = self.wanted[stage]

    def start(self, stage: str, die_at: int = 0) -> Running:
        way = stage if stage in self._makers else CHAIN
        if way not in self._runners:
            self._runners[way] = self._makers[way]()
        return self._runners[way].start(self.folder, stage, die_at)

    def _undisturbed(self, stage: str, before: Path | None) -> None:
        """Run a stage once, and keep what it made and how long it took."""
        self._before[stage] = before
        self.reset(stage)
        started = time.monotonic()
        failure = self.start(stage).end(PATIENCE_S)
        if failure:
            raise RuntimeError(f"an undisturbed run of {stage} failed: {failure}")
        self._seconds[stage] = time.monotonic() - started
        self.wanted[stage] = self.folder / "undisturbed" / stage
        shutil.copytree(self.warehouse, self.wanted[stage])

    def reset(self, stage: str) -> None:
        """The warehouse as it is before a stage."""
        self._become(self._before[stage])

    def finish(self, stage: str) -> None:
        """The warehouse as it is after an undisturbed run of a stage."""
        self._become(self.wanted[stage])

    def _become(self, other: Path | None) -> None:
        self.warehouse.mkdir(exist_ok=True)
        for path in self.warehouse.iterdir():  # the folder itself may be a disk
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if other is not None:
            shutil.copytree(other, self.warehouse, dirs_exist_ok=True)

    def try_out(self, case: Case) -> Outcome:
        """Do what the case says, run again to the end, and look at what there is."""
        if case.stage not in self.wanted:
            self._undisturbed(case.stage, None)
        outcome = Outcome(case)
        while not outcome.kills:  # a moment at which the run was over already is no fault
            self.reset(case.stage)
            self._strike(case, outcome)
            if outcome.failure:
                return outcome
        self._look(outcome)
        return outcome

    def at_every_change(self, stage: str) -> Iterator[Outcome]:
        """A case for each change of a file that the run itself makes: it dies there, and is run again."""
        for kind, sign, how in ((CHANGE, 1, signal.SIGKILL), (INSIDE, -1, signal.SIGXFSZ)):
            for number in itertools.count(1):
                self.reset(stage)
                died = self.start(stage, die_at=sign * number).end(PATIENCE_S)
                if not died:
                    break  # it makes fewer changes than that
                outcome = Outcome(Case(number, stage, kind, ()), kills=1, resumed=1)
                outcome.failure = self.start(stage).end(PATIENCE_S)
                if not died.startswith(f"exit status {-how}"):
                    outcome.failure = died
                self._look(outcome)
                yield outcome

    def _look(self, outcome: Outcome) -> None:
        wanted = self.wanted[outcome.case.stage]
        outcome.compared = world.compare(self.warehouse, wanted)
        if world.is_sharded(wanted) and not outcome.failure:
            outcome.lost = world.lost(self.folder)

    def _strike(self, case: Case, outcome: Outcome) -> None:
        if case.kind == WORKER:
            running, began = self.start(case.stage), time.monotonic()
            for share in case.moments:
                outcome.kills += _kill_worker(running, began + share * self._seconds[case.stage])
            outcome.failure = running.end(PATIENCE_S)
            if not outcome.kills:
                self._seconds[case.stage] = time.monotonic() - began
            return
        for share in case.moments:
            running, began = self.start(case.stage), time.monotonic()
            outcome.resumed += outcome.kills > 0
            if not _kill_run(running, began + share * self._seconds[case.stage], workers=case.kind == ALL):
                if not outcome.kills:  # the machine is less busy than it was when the time was taken
                    self._seconds[case.stage] = time.monotonic() - began
                outcome.failure = running.end(PATIENCE_S)
                return
            outcome.kills += 1
        outcome.resumed += 1
        outcome.failure = self.start(case.stage).end(PATIENCE_S)


def _kill_worker(running: Running, when: float) -> bool:
    """Kill a child of the run at a moment, or the first one that there is after it; False: there was none."""
    while not running.over():
        if time.monotonic() >= when and any(_kill(child) for child in children(running.pid)):
            return True
        time.sleep(0.001)
    return False


def _kill_run(running: Running, when: float, *, workers: bool) -> bool:
    """Kill the process of a run at a moment, with its workers or without; False: it was over before."""
    while time.monotonic() < when and not running.over():
        time.sleep(0.001)
    if running.over():
        return False
    doomed = [running.pid]
    if workers:
        os.kill(running.pid, signal.SIGSTOP)  # so that it starts no other
        doomed += children(running.pid)
    hit = [_kill(pid) for pid in doomed]
    running.end(PATIENCE_S)
    return hit[0]


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended meanwhile
        return False
    return True


# --- runs as processes of their own ---


class Forked:
    """Runs as children of a server that has imported everything: a kill meets work, not the loading of modules."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.drive"])

    def start(self, folder: Path, stage: str, die_at: int = 0) -> ForkedRun:
        stages = () if stage == CHAIN else (stage,)
        self._log.write_bytes(b"")
        process = self._context.Process(target=drive.run_with_log, args=(folder, stages, self._log, die_at))
        process.start()
        return ForkedRun(process, self._log)


@dataclass(frozen=True)
class ForkedRun:
    """One of them."""

    process: BaseProcess
    log: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None, "it was started"
        return self.process.pid

    def over(self) -> bool:
        return not self.process.is_alive()

    def end(self, seconds: float) -> str:
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            return f"it did not end within {seconds:g} s"
        return (
            "" if self.process.exitcode == 0 else f"exit status {self.process.exitcode}: {self.log.read_text()[-2000:]}"
        )


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A bench in a new folder, with the environment that its runs need."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack, mock.patch.dict(os.environ, world.ENVIRONMENT):

            def with_dagster() -> Runner:
                from tests.faults.dagster_runs import launched  # Dagster is a second to import

                return stack.enter_context(launched(folder))

            yield Bench(folder, {CHAIN: lambda: Forked(folder / "run.log"), DAGSTER: with_dagster})
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a disk in it stays until it is unmounted
