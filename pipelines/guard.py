"""One child process that does units of work, and may die of them.

Recordings are decoded by C libraries, and what nobody has tested on a broken file may crash, or never come back from a
network drive that hangs. So units run in a child process, which says which item of the unit it is working on. When it
dies, the unit starts again in a new one; an item that is to blame is refused there, and is a reject with a reason:

- a crash (SIGSEGV and the like) at the same item twice: its decoder is at fault;
- the time limit of one item, by an alarm that the kernel delivers whatever the process hangs in;
- any other death, as of a lack of memory, at the same item five times.

A guard is used by one thread at a time. The child ends with its parent, however that ends.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar, cast

Unit = TypeVar("Unit")
Result = TypeVar("Result")

CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
CRASHES_ALLOWED = 1  # at one item, before it is refused
DEATHS_ALLOWED = 4  # of another kind; somebody may have killed the process
MEMORY = 3 * 2**30  # bytes that a child may allocate: a recording that needs more fails by itself
NOWHERE = -1  # in no item: before the first one, or while the results are packed
TIMEOUT_S = 300.0  # for one item; a file on a network drive that hangs
LONGEST_TIMEOUT_S = 1e6  # the kernel takes no alarm without an end


class WorkerDiedError(RuntimeError):
    """The child died again and again, and no item is to blame."""


class UnitError(RuntimeError):
    """A unit failed in the child with an error that cannot be sent; the message is its traceback."""


@dataclass(frozen=True)
class Refusal:
    """Why an item is not worked on."""

    reason: str
    passing: bool  # another run may succeed


@dataclass
class Note:
    """What a unit says while it works: ``note(i)`` where it begins with item i."""

    refused: Mapping[int, Refusal] = field(default_factory=dict)
    timeout_s: float = TIMEOUT_S
    at: ctypes.c_longlong = field(default_factory=lambda: ctypes.c_longlong(NOWHERE))
    armed: bool = False  # the alarm ends the process, which is right for a child only

    def __call__(self, item: int) -> None:
        """Begin with an item; `NOWHERE` stops its clock."""
        self.at.value = item
        if self.armed:
            signal.setitimer(signal.ITIMER_REAL, 0.0 if item == NOWHERE else self.timeout_s)


Work = Callable[[Unit, Note], Result]


def timeout_s() -> float:
    """The time limit of one item in seconds: ``SLAP_FILE_TIMEOUT``, or `TIMEOUT_S`.

    Raises:
        ValueError: the variable holds no such number.
    """
    given = os.environ.get("SLAP_FILE_TIMEOUT")
    try:
        seconds = float(given) if given else TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_TIMEOUT_S:
        raise ValueError(f"SLAP_FILE_TIMEOUT={given!r} is no number of seconds from 0 to {LONGEST_TIMEOUT_S:g}")
    return seconds


class Guard:
    """A child process, started when it is first needed and again when it has died.

    Args:
        memory: bytes that the child may allocate; None: what the machine has.
        threads: of its numerical libraries.
    """

    def __init__(self, memory: int | None = MEMORY, threads: int = 1) -> None:
        self._memory, self._threads = memory, threads
        self._child: _Child | None = None
        self._closed = False

    def run(self, work: Work[Unit, Result], unit: Unit) -> Result:
        """Do a unit in the child, as often as it takes.

        Args:
            work: a function that its module has under its name. It calls the note with the number of each item, and
                leaves out those that the note refuses.
            unit: anything that can be pickled.

        Raises:
            WorkerDiedError: the child died too often outside an item, or cannot be started.
            Exception: what ``work`` raised.
        """
        limit = timeout_s()
        refused: dict[int, Refusal] = {}
        deaths: Counter[tuple[int, bool]] = Counter()
        while True:
            if self._closed:
                raise WorkerDiedError("the workers were told to stop")
            self._child = self._child or _Child(self._memory, self._threads)
            if self._closed:  # while it started
                self._child.process.kill()
            answer = self._child.ask((work, unit, refused, limit))
            if answer is not None:
                done, value = answer
                if done:
                    return cast(Result, value)
                raise value
            item, status = self._child.bury()
            self._child = None
            crash = -status in CRASHES
            deaths[item, crash] += 1
            refusal = _refusal(status, limit, deaths[item, crash])
            if item != NOWHERE and refusal is not None:
                refused[item] = refusal
            elif item == NOWHERE and deaths[item, crash] > DEATHS_ALLOWED:
                raise WorkerDiedError(f"a worker process ended {deaths[item, crash]} times: {_named(status)}")

    def close(self) -> None:
        """End the child at once; a unit that another thread has in it fails."""
        self._closed = True
        if self._child is not None:
            self._child.process.kill()

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.process.pid if self._child is not None else None


class _Child:
    def __init__(self, memory: int | None, threads: int) -> None:
        self._pipe, theirs = Pipe()
        watched, self._life = (
            os.pipe()
        )  # the child watches its end: ours closes when this process ends, however it does
        with tempfile.TemporaryFile() as page:
            page.write(bytes(mmap.PAGESIZE))  # not a hole: filled when the disk is full, it would end this process
            page.flush()
            self._at = _at(page.fileno())
            passed = (theirs.fileno(), watched, page.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pipelines.guard", *map(str, passed), str(memory or 0)],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                env={
                    **os.environ,
                    **dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS"), str(threads)),
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
            )
        theirs.close()
        os.close(watched)

    def ask(self, question: tuple[Any, ...]) -> tuple[bool, Any] | None:
        """Whether the unit was done, and its result or its error; None where the child died."""
        self._at.value = NOWHERE
        try:
            self._pipe.send(question)
            answer: tuple[bool, Any] = self._pipe.recv()
            return answer
        except (EOFError, OSError):
            return None

    def bury(self) -> tuple[int, int]:
        """The item at which the child died, and how it ended."""
        status = self.process.wait()
        self._pipe.close()
        os.close(self._life)
        return int(self._at.value), status


def _at(descriptor: int) -> ctypes.c_longlong:
    """A number that both processes see, and that stays when one dies."""
    return ctypes.c_longlong.from_buffer(mmap.mmap(descriptor, mmap.PAGESIZE))


def _refusal(status: int, limit: float, deaths: int) -> Refusal | None:
    """What to say of the item at which a child died for the ``deaths``-th time; None: try it again."""
    if status == -signal.SIGALRM:
        return Refusal(f"not read within {limit:g} s (SLAP_FILE_TIMEOUT): a drive that hangs?", passing=True)
    if -status in CRASHES and deaths > CRASHES_ALLOWED:
        return Refusal(f"its decoder crashed ({_named(status)})", passing=False)
    if deaths > DEATHS_ALLOWED:
        return Refusal(f"the worker process ended here {deaths} times ({_named(status)}): out of memory?", passing=True)
    return None


def _named(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


# --- the child ---


def serve(pipe: int, life: int, page: int, memory: int) -> None:
    """Do one unit after another, until the parent has no more."""
    threading.Thread(target=_end_with_parent, args=(life,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    at = _at(page)
    connection = Connection(pipe)
    while True:
        try:
            work, unit, refused, limit = connection.recv()
        except EOFError:
            return
        except Exception as error:
            _answer(connection, False, error)
            continue
        note = Note(refused, limit, at, armed=True)
        try:
            result = work(unit, note)
        except Exception as error:
            error.add_note(traceback.format_exc())
            note(NOWHERE)
            _answer(connection, False, error)
        else:
            note(NOWHERE)
            _answer(connection, True, result)


def _answer(connection: Connection, done: bool, value: object) -> None:
    """Send the result or the error; one that cannot be pickled goes as its text."""
    try:
        connection.send((done, value))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        connection.send((False, UnitError(f"{error}; {value!r}")))


def _end_with_parent(life: int) -> None:
    os.read(life, 1)  # returns when the other end has closed
    os._exit(1)


if __name__ == "__main__":
    from pipelines import guard

    guard.serve(*map(int, sys.argv[1:]))
