from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import guard, scale
from pipelines.guard import Guard, Note, Refusal

Unit = tuple[Path, dict[int, str]]  # scratch folder; item -> what it does


def work(unit: Unit, note: Note) -> dict[int, str]:
    """Three items, which do what the unit says the first time or always."""
    scratch, deeds = unit
    done = {}
    for item in range(3):
        if item in note.refused:
            done[item] = note.refused[item].reason
            continue
        note(item)
        deed = deeds.get(item, "")
        first = not (scratch / f"been-{item}").exists()
        (scratch / f"been-{item}").touch()
        if deed == "crash" or (deed == "crash once" and first):
            ctypes.string_at(0)
        elif deed == "abort":
            os.abort()
        elif deed == "kill" or (deed == "kill once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        elif deed == "hang":
            os.mkfifo(scratch / "fifo")
            (scratch / "fifo").open("rb").read()
        elif deed == "raise":
            raise ValueError(f"item {item}")
        elif deed == "eat":
            bytearray(4 * 2**30)
        done[item] = "done"
    return done


@pytest.fixture
def one() -> Iterator[Guard]:
    guarded = Guard()
    yield guarded
    guarded.close()


def test_a_unit_is_done_in_another_process(one: Guard, tmp_path: Path) -> None:
    assert one.run(work, (tmp_path, {})) == dict.fromkeys(range(3), "done")
    assert one.pid not in (None, os.getpid())


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("crash", "its decoder crashed (SIGSEGV)"),
        ("abort", "its decoder crashed (SIGABRT)"),
        ("kill", "the worker process ended here 5 times (SIGKILL): out of memory?"),
        ("hang", "not read within 0.5 s (SLAP_FILE_TIMEOUT): a drive that hangs?"),
    ],
)
def test_the_item_to_blame_is_refused_and_the_others_are_done(
    one: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str, reason: str
) -> None:
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", "0.5" if deed == "hang" else "60")
    assert one.run(work, (tmp_path, {1: deed})) == {0: "done", 1: reason, 2: "done"}


@pytest.mark.parametrize("deed", ["crash once", "kill once"])
def test_one_death_refuses_nothing(one: Guard, tmp_path: Path, deed: str) -> None:
    assert one.run(work, (tmp_path, {1: deed})) == dict.fromkeys(range(3), "done")


def test_an_error_is_the_callers(one: Guard, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="item 2"):
        one.run(work, (tmp_path, {2: "raise"}))
    assert one.run(work, (tmp_path, {})) == dict.fromkeys(range(3), "done")


def test_a_child_may_not_take_all_the_memory(one: Guard, tmp_path: Path) -> None:
    with pytest.raises(MemoryError):
        one.run(work, (tmp_path, {0: "eat"}))


def test_what_may_pass_is_told_from_what_stays() -> None:
    assert guard._refusal(-signal.SIGALRM, 1.0, 1) == Refusal(
        "not read within 1 s (SLAP_FILE_TIMEOUT): a drive that hangs?", passing=True
    )
    crashed = guard._refusal(-signal.SIGSEGV, 1.0, 2)
    assert crashed is not None and not crashed.passing


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", value)
    with pytest.raises(ValueError, match="SLAP_FILE_TIMEOUT"):
        guard.timeout_s()


def forever(unit: Path, note: Note) -> None:
    unit.write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def test_the_child_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = "import sys, pathlib; from pipelines.guard import Guard; from tests.test_guard import forever\n"
    code += "Guard().run(forever, pathlib.Path(sys.argv[1]))"
    told = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", code, str(told)])
    _until(lambda: told.exists() and told.read_text() != "")
    parent.kill()
    parent.wait()
    child = Path("/proc") / told.read_text()
    _until(lambda: not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2].split()[0])


def test_closing_stops_a_unit_that_another_thread_has_in_it(one: Guard, tmp_path: Path) -> None:
    failed: list[Exception] = []

    def ask() -> None:
        try:
            one.run(forever, tmp_path / "pid")
        except guard.WorkerDiedError as error:
            failed.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    _until(lambda: (tmp_path / "pid").exists())
    one.close()
    thread.join(20)
    assert len(failed) == 1


def test_closing_while_the_child_starts_stops_it(one: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = guard._Child.__init__

    def start_and_close(self: guard._Child, memory: int | None, threads: int) -> None:
        start(self, memory, threads)
        one.close()

    monkeypatch.setattr(guard._Child, "__init__", start_and_close)
    with pytest.raises(guard.WorkerDiedError, match="told to stop"):
        one.run(forever, tmp_path / "pid")


def double(unit: int, note: Note) -> int:
    time.sleep(0.01 * (5 - unit % 5))
    return 2 * unit


def refuse_seven(unit: int, note: Note) -> int:
    if unit == 7:
        raise ValueError("seven")
    return unit


def test_results_come_in_the_order_of_the_units() -> None:
    assert list(scale.run(double, range(20), total=20, label="test", workers=2)) == [2 * n for n in range(20)]


def test_units_are_drawn_as_they_are_needed() -> None:
    drawn: list[int] = []

    def units() -> object:
        for number in range(1000):
            drawn.append(number)
            yield number

    results = scale.run(double, units(), total=1000, label="test", workers=1)  # type: ignore[arg-type]
    assert next(results) == 0
    assert len(drawn) <= scale.AHEAD
    results.close()  # type: ignore[attr-defined]


def test_the_first_error_ends_the_run() -> None:
    with pytest.raises(ValueError, match="seven"):
        list(scale.run(refuse_seven, range(100), total=100, label="test", workers=2))


@pytest.mark.parametrize(("name", "value"), [("SLAP_ENGINE", "spark"), ("SLAP_WORKERS", "0"), ("SLAP_WORKERS", "many")])
def test_settings_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(scale.EngineError, match=value):
        list(scale.run(double, range(2), total=2, label="test"))


def _until(condition: object, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def spoken_of(unit: str, note: Note) -> str | None:
    return os.environ.get(unit)


def test_a_child_that_was_kept_does_not_remember_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("one", "two"):
        monkeypatch.setenv("SLAP_OF_THIS_TEST", value)
        assert list(scale.run(spoken_of, ["SLAP_OF_THIS_TEST"], total=1, label="test", workers=1)) == [value]
