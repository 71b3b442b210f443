"""Who is at work in a warehouse: two runs never make the same product at the same time.

Every run has a file in ``<warehouse>/.locks`` that its processes hold by `flock` while they work, so that the kernel
frees it whatever ends them. The file says who holds it and which steps it makes: runs of different steps may go side by
side. Looking around and stepping in happen behind one gate, a file that is held for milliseconds.

Where the steps of a run have a process each, the run holds its lock while one of them works. Between two of them
another run may step in; the next step is then refused, so still no two make the same product.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

FOLDER = ".locks"  # in the warehouse
GATE = "gate"


class InUseError(RuntimeError):
    """Somebody else is at work; the message says who, since when, and what to do."""


@dataclass(frozen=True)
class Holder:
    """Who is at work.

    Attributes:
        run: id of a run; its processes share the lock.
        what: the run in words.
        steps: what it makes, by name; empty: everything.
        pid: of its first process.
        host: where that runs.
        since: when it began, UTC.
    """

    run: str
    what: str
    steps: tuple[str, ...]
    pid: int
    host: str
    since: str

    def meets(self, steps: Collection[str]) -> bool:
        """Whether it makes something that a run of ``steps`` makes, too; none are all."""
        return not self.steps or not steps or not set(self.steps).isdisjoint(steps)


@contextmanager
def held(warehouse: Path, what: str, steps: Collection[str] = (), run: str = "") -> Iterator[None]:
    """Hold the warehouse, or some steps of it, until the block ends.

    Args:
        warehouse: its folder; made where it is absent.
        what: the work in words, for whoever is refused meanwhile.
        steps: what is made; empty: everything, so that nobody else works here.
        run: whose processes do not refuse each other; empty: of this block alone.

    Raises:
        InUseError: somebody else makes one of the steps.
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    folder = warehouse / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    run = run or uuid.uuid4().hex
    with _gate(folder):
        _refuse(folder, steps, run)
        file = _enter(folder / f"{run}.json", what, steps, run)
    try:
        yield
    finally:
        with _gate(folder):
            file.close()
            _living(folder)  # removes the file unless another process of the run has it


def refuse(warehouse: Path, steps: Collection[str] = ()) -> None:
    """Raise `InUseError` while somebody makes one of the steps; takes no lock and writes nothing."""
    folder = warehouse / FOLDER
    if (folder / GATE).is_file():
        with _gate(folder):
            _refuse(folder, steps, "")


def _refuse(folder: Path, steps: Collection[str], run: str) -> None:
    for holder in _living(folder):
        if holder.run != run and holder.meets(steps):
            raise InUseError(
                f"{folder.parent} is in use: {holder.what} (process {holder.pid} on {holder.host}, since "
                f"{holder.since}). Wait until it has ended, or end it (Ctrl-C where it was started, Terminate in "
                "Dagster), then start again: what is complete is not redone"
            )


def _living(folder: Path) -> list[Holder]:
    """Who is at work now. The files of those that have ended are removed."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with path.open("r+", encoding="utf-8") as file:
            if _lock(file, fcntl.LOCK_EX):
                path.unlink()
            else:
                values = json.load(file)
                found.append(Holder(**{**values, "steps": tuple(values["steps"])}))
    return found


def _enter(path: Path, what: str, steps: Collection[str], run: str) -> IO[str]:
    """The run's file, held; written by its first process."""
    file = path.open("a+", encoding="utf-8")
    try:
        if _lock(file, fcntl.LOCK_EX):
            since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            holder = Holder(run, what, tuple(sorted(steps)), os.getpid(), socket.gethostname(), since)
            file.truncate(0)
            file.write(json.dumps(asdict(holder)))
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    except BaseException:
        with suppress(OSError):  # what could not be written cannot be flushed, and the first error is the one to see
            file.close()
        raise
    return file


def _lock(file: IO[str], kind: int) -> bool:
    """Take a lock at once, or say that somebody else has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    """Be the only one to look at the folder; whoever comes meanwhile waits."""
    with (folder / GATE).open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        yield
