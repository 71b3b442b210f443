"""Run units of work: here, in a process for each core, or on a Ray cluster.

A unit is a pure function of its arguments, so it may run anywhere, in any order, and again when it was lost.
``SLAP_ENGINE`` is ``local`` (default) or ``ray``; ``SLAP_WORKERS`` is how many units run at a time (default: one for
each core, here or of the cluster).
"""

from __future__ import annotations

import atexit
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

from tqdm import tqdm

from pipelines.guard import MEMORY, Guard, Note, Work

Unit = TypeVar("Unit")
Result = TypeVar("Result")

ENGINES = ("local", "ray")
AHEAD = 4  # units that wait for each worker, so that a slow one does not stop the others
TELL_EVERY_S = 30.0


class EngineError(ValueError):
    """An engine that cannot be used; the message says what to set."""


def run(
    work: Work[Unit, Result],
    units: Iterable[Unit],
    *,
    total: int,
    label: str,
    log: Callable[[str], object] | None = None,
    memory: int | None = MEMORY,
    workers: int | None = None,
    whole_machine: bool = False,
) -> Iterator[Result]:
    """Results in the order of ``units``, which are drawn as they are needed.

    Args:
        work: a function that its module has under its name; it gets a unit and a note (see `pipelines.guard`).
        units: anything that can be pickled.
        total: how many units there are.
        label: of the progress bar.
        log: is told now and then how far it is.
        memory: bytes that a worker may allocate; None: what the machine has.
        workers: at a time; None: `SLAP_WORKERS`, or one for each core.
        whole_machine: a unit uses all cores or the GPU, and nothing in it is known to crash: here the units are done in
            this process one by one, on Ray one on each GPU or node.

    Raises:
        EngineError: ``SLAP_ENGINE`` or ``SLAP_WORKERS`` cannot be used.
        Exception: the first one that ``work`` raised; the units in flight are given up.
    """
    engine = _engine()
    started = told = time.monotonic()
    with closing(engine(work, units, workers or workers_wanted(), memory, whole_machine)) as results:
        for done, result in enumerate(tqdm(results, total=total, desc=label, leave=False), 1):
            now = time.monotonic()
            if log is not None and now - told >= TELL_EVERY_S:
                left = (now - started) / done * (total - done)
                log(f"{label}: {done} of {total}, about {left / 60:.0f} min left")
                told = now
            yield result


def here(work: Work[Unit, Result], unit: Unit, memory: int | None = MEMORY) -> Result:
    """One unit in a worker process of this machine, whatever the engine."""
    (result,) = _local(work, [unit], 1, memory, False)
    return result


def _engine() -> Callable[..., Generator[Any, None, None]]:
    if engine_name() == "ray":
        from pipelines import ray_engine

        return ray_engine.run
    return _local


def engine_name() -> str:
    """``SLAP_ENGINE``; raises `EngineError` where there is none of that name."""
    name = os.environ.get("SLAP_ENGINE") or ENGINES[0]
    if name not in ENGINES:
        raise EngineError(f"SLAP_ENGINE={name!r}: known are {', '.join(ENGINES)}")
    return name


def workers_wanted() -> int | None:
    """``SLAP_WORKERS``; None where it is not set."""
    given = os.environ.get("SLAP_WORKERS")
    if not given:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise EngineError(f"SLAP_WORKERS={given!r} is no number of workers")
    return int(given)


def in_order(submit: Callable[[Unit], Future[Result]], units: Iterable[Unit], in_flight: int) -> Iterator[Result]:
    """Results in the order of the units, of which only so many are in flight."""
    waiting: deque[Future[Result]] = deque()
    for unit in units:
        waiting.append(submit(unit))
        if len(waiting) >= in_flight:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


# --- here ---

Kind = tuple[int | None, frozenset[tuple[str, str]]]  # memory, and the environment that a child was started in

_idle: dict[Kind, list[Guard]] = {}  # children are kept for the next run, since each takes a second to start


def _local(
    work: Work[Unit, Result], units: Iterable[Unit], workers: int | None, memory: int | None, whole_machine: bool
) -> Generator[Result, None, None]:
    if whole_machine:
        yield from (work(unit, Note()) for unit in units)
        return
    workers = workers or os.cpu_count() or 1
    kind = (memory, frozenset(os.environ.items()))
    kept = _idle.pop(kind, [])
    _close_idle()  # of another environment, as of other credentials
    guards = [*kept, *(Guard(memory) for _ in range(workers - len(kept)))]
    free: queue.SimpleQueue[Guard] = queue.SimpleQueue()
    for guard in guards[:workers]:
        free.put(guard)

    def one(unit: Unit) -> Result:
        guard = free.get()
        try:
            return guard.run(work, unit)
        finally:
            free.put(guard)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="unit")
    try:
        yield from in_order(lambda unit: pool.submit(one, unit), units, workers * AHEAD)
    except BaseException:
        _close(guards)
        raise
    else:
        _idle.setdefault(kind, []).extend(guards)
    finally:
        pool.shutdown(cancel_futures=True)


def _close(guards: Iterable[Guard]) -> None:
    for guard in guards:
        guard.close()


@atexit.register
def _close_idle() -> None:
    while _idle:
        _close(_idle.popitem()[1])
