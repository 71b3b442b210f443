"""Two runs never make the same: the second is refused at once, and whatever ends the first one frees it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from lock_job import JOBS, definitions, wait_for

from pipelines import leftovers, locks
from pipelines.cli import main
from pipelines.settings import PROJECT, Settings
from slap_model import store

HOLD = """
import sys, time
from pathlib import Path
from pipelines import locks
warehouse, steps, run = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with locks.held(warehouse, "a run of the test", steps.split(), run):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def others(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def hold(others: list[subprocess.Popen[str]], warehouse: Path, steps: str = "", run: str = "") -> subprocess.Popen[str]:
    """Another process that holds some steps of a warehouse, or all."""
    command = [sys.executable, "-c", HOLD, str(warehouse), steps, run]
    process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    others.append(process)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_who_is_at_work(tmp_path: Path, others: list[subprocess.Popen[str]]) -> None:
    first = hold(others, tmp_path)
    with pytest.raises(locks.InUseError) as refused, locks.held(tmp_path, "another run"):
        pass
    said = str(refused.value)
    assert f"{tmp_path} is in use: a run of the test (process {first.pid} on " in said
    assert time.strftime("%Y-%m-%d %H:", time.gmtime()) in said
    assert "\n" not in said
    with pytest.raises(locks.InUseError):
        locks.refuse(tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_whatever_ends_the_first_run_frees_it(
    tmp_path: Path, others: list[subprocess.Popen[str]], how: signal.Signals | None
) -> None:
    first = hold(others, tmp_path)
    if how is None:
        first.communicate()
    else:
        first.send_signal(how)
        first.wait()
    with locks.held(tmp_path, "another run"):
        assert len(list((tmp_path / locks.FOLDER).glob("*.json"))) == 1
    assert not list((tmp_path / locks.FOLDER).glob("*.json"))


def test_runs_of_other_steps_go_side_by_side(tmp_path: Path, others: list[subprocess.Popen[str]]) -> None:
    hold(others, tmp_path, "fsdd_tables fsdd_shards")
    with locks.held(tmp_path, "another run", ["voces_tables"]):
        pass
    for steps in (["fsdd_shards", "voces_tables"], []):
        with pytest.raises(locks.InUseError), locks.held(tmp_path, "another run", steps):
            pass


def test_processes_of_one_run_do_not_refuse_each_other(tmp_path: Path, others: list[subprocess.Popen[str]]) -> None:
    first = hold(others, tmp_path, run="r1")
    hold(others, tmp_path, run="r1")
    with locks.held(tmp_path, "the same run", run="r1"):
        first.communicate()
    with pytest.raises(locks.InUseError), locks.held(tmp_path, "another run", run="r2"):
        pass  # the second process of the first run is still there


def test_no_two_of_many_are_in_at_a_time(tmp_path: Path) -> None:
    """Twelve processes that try until they get in, so that looking and entering meet in every order."""
    script = """
import sys, time
from pathlib import Path
from pipelines import locks
while True:
    try:
        with locks.held(Path(sys.argv[1]), "one of many"):
            began = time.monotonic()
            time.sleep(0.01)
            print(began, time.monotonic())
            break
    except locks.InUseError:
        time.sleep(0.001)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) for _ in range(12)]
    spans = sorted(tuple(map(float, process.communicate(timeout=60)[0].split())) for process in started)
    assert all(process.returncode == 0 for process in started)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    locks.refuse(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


# In Dagster ---------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A warehouse, named in the environment, whose assets wait until they may end."""
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    monkeypatch.setenv("SLAP_WAREHOUSE", str(warehouse))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return warehouse


def execute(*assets: str) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("demo").execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey(name) for name in assets] or None
        )


def why(result: dg.ExecuteInProcessResult) -> str:
    from pipelines.cli import _failures

    ((_, message),) = _failures(result)
    return message


def launch(others: list[subprocess.Popen[str]], job: str) -> subprocess.Popen[str]:
    """A run of the job in a process of its own, or in several, as a run worker makes it."""
    command = [sys.executable, "-m", "dagster", "job", "execute", "-f", "tests/lock_job.py", "-j", job]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    others.append(process)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
def test_a_run_refuses_others_and_never_itself(house: Path, others: list[subprocess.Popen[str]], job: str) -> None:
    (house / "hold").touch()
    first = launch(others, job)
    wait_for(house / "one begun")
    refused = execute()
    assert not refused.success
    assert f"is in use: a run of the job {job} (" in why(refused)
    assert not refused.get_step_failure_events()
    assert "is in use" in why(execute("three"))
    for name in ("one", "two", "three"):
        (house / f"{name} may end").touch()
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert execute().success


@pytest.mark.slow
def test_a_killed_run_worker_frees_the_warehouse(house: Path, others: list[subprocess.Popen[str]]) -> None:
    (house / "hold").touch()
    first = launch(others, "demo")
    wait_for(house / "one begun")
    first.kill()
    first.wait()
    (house / "hold").unlink()
    assert execute().success


def test_runs_of_other_assets_go_side_by_side_in_dagster(house: Path, others: list[subprocess.Popen[str]]) -> None:
    hold(others, house, "one")
    assert execute("two", "three").success
    assert "is in use: a run of the test" in why(execute("one", "two"))


def test_wrong_settings_fail_the_run_in_one_sentence(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_SCALE", "-1")
    assert why(execute()).endswith("SLAP_SCALE='-1' is not above 0")


# On the command line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["demo"], ["withdraw", "voces", "1", "--yes"], ["run"]])
def test_the_commands_are_refused_in_one_line(
    house: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "raw" / "voces").mkdir(parents=True)
    monkeypatch.setenv("SLAP_RAW", str(tmp_path / "raw"))
    if command == ["demo"]:
        monkeypatch.delenv("SLAP_RAW")
    with locks.held(house, "a run of voces_tables", ["voces_tables"]):
        result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert f"{house} is in use: a run of voces_tables (process {os.getpid()}" in result.output
    assert len(result.output.splitlines()) == 1
    assert not (house / "run.json").exists()


def test_a_dry_run_of_a_withdrawal_is_never_refused(house: Path) -> None:
    with locks.held(house, "a run"):
        assert "is in use" not in CliRunner().invoke(main, ["withdraw", "voces", "1", "--dry-run"]).output


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc, where nobody can make a folder")
def test_a_run_that_cannot_write_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_WAREHOUSE", "/proc/no-warehouse")
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: the warehouse cannot be written to: [Errno ")
    assert len(result.output.splitlines()) == 1


# What killed processes leave ----------------------------------------------------------------------------------


def test_what_a_dead_process_began_to_write_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    settings = Settings(warehouse=tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    def drafts(pid: int) -> list[Path]:
        targets = [settings.meta_db, tmp_path / "scores" / "mfcc" / "a.json", settings.shards / "voces" / "x.tar"]
        names = [store.draft(target).name.replace(f"-{os.getpid()}.", f"-{pid}.") for target in targets]
        paths = [target.with_name(name) for target, name in zip(targets, names, strict=True)]
        return [*paths, paths[0].with_name(paths[0].name + ".wal"), paths[0].with_name(paths[0].name + ".d") / "spill"]

    for path in [*drafts(dead.pid), *drafts(os.getpid()), tmp_path / "raw" / "voces" / ".mine.tmp"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("unfinished")
    settings.meta_db.write_text("finished")
    leftovers.clear(settings)
    left = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*drafts(os.getpid()), settings.meta_db, tmp_path / "raw" / "voces" / ".mine.tmp"}
    assert leftovers.clear(settings) == 0


def test_the_note_of_a_run_names_its_steps(house: Path) -> None:
    with locks.held(house, "a run", ["b", "a"], "r1"):
        note = json.loads((house / locks.FOLDER / "r1.json").read_text())
    assert (note["steps"], note["pid"]) == (["a", "b"], os.getpid())
