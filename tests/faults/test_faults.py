"""Nothing is lost: a few kills (``python -m tests.faults.run`` does hundreds at random moments), full disks, files that
change, hang or are torn, and a second run on the same warehouse."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from pipelines import ingest, pitch, shards, warehouse
from pipelines.settings import PROJECT
from slap_model import store
from tests.faults import drive, hooks, kill, world
from tests.faults.disk import Disk, NoDiskError, mounted
from tests.faults.kill import Bench, Case

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc for the children of a process")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk | str]:
    """The disk of all warehouses here, or why there is none."""
    try:
        with mounted(tmp_path_factory.mktemp("faults") / "warehouse") as own:
            yield own
    except NoDiskError as error:
        yield str(error)


@pytest.fixture(scope="module")
def bench(disk: Disk | str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = disk.folder.parent if isinstance(disk, Disk) else tmp_path_factory.mktemp("faults")
    with kill.bench(folder) as made:
        yield made


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """For runs in this process, which must not change the size of other tests' shards."""
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", world.UTTERANCES_PER_SHARD)


def assert_undisturbed(bench: Bench, stage: str) -> None:
    found = world.compare(bench.warehouse, bench.wanted[stage])
    assert (found.differences, found.left_over) == ([], [])
    assert found.files > 5 and found.bytes + found.rows > 0
    assert world.is_sharded(bench.warehouse) == (stage in ("shards", "embed"))
    if world.is_sharded(bench.warehouse):
        assert world.lost(bench.folder) == []


def resume(bench: Bench, stage: str) -> None:
    assert bench.start(stage).end(kill.PATIENCE_S) == ""
    assert_undisturbed(bench, stage)


# --- kills ---

FEW = [
    Case(0, "tables", kill.PARENT, (0.4,)),
    Case(1, "warehouse", kill.PARENT, (0.5, 0.8)),
    Case(2, "captions", kill.PARENT, (0.6,)),
    Case(3, "shards", kill.PARENT, (0.7, 0.9)),
    Case(4, "shards", kill.WORKER, (0.5, 0.8)),
    Case(5, "shards", kill.ALL, (0.8,)),
    Case(6, "embed", kill.PARENT, (0.5,)),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", FEW, ids=lambda case: f"{case.kind} of {case.stage}")
def test_what_a_killed_run_left_is_taken_up(bench: Bench, case: Case) -> None:
    outcome = bench.try_out(case)
    assert outcome.kills
    assert outcome.good, outcome


@pytest.mark.slow
def test_what_a_killed_run_worker_of_dagster_left_is_taken_up(bench: Bench) -> None:
    outcome = bench.try_out(Case(0, kill.DAGSTER, kill.RUN_WORKER, (0.6,)))
    assert (outcome.kills, outcome.resumed) == (1, 1)
    assert outcome.good, outcome


@pytest.mark.slow
def test_a_death_at_each_change_of_a_file_is_taken_up(bench: Bench) -> None:
    outcomes = list(bench.at_every_change("captions"))
    assert {outcome.case.kind for outcome in outcomes} == {kill.CHANGE, kill.INSIDE}
    assert not [outcome for outcome in outcomes if not outcome.good]


def test_the_comparison_sees_what_is_wrong(bench: Bench) -> None:
    bench.reset("embed")
    index = bench.warehouse / "shards" / world.CLINIC / "index.parquet"
    tar = next(index.parent.glob("*.tar"))
    content = bytearray(tar.read_bytes())
    content[5000] ^= 1
    tar.write_bytes(content)
    pl.read_parquet(index).head(-1).write_parquet(index)
    (index.parent / ".x.tmp").touch()
    (bench.warehouse / "tables" / "split.parquet").unlink()
    found = world.compare(bench.warehouse, bench.wanted["shards"])
    name = f"shards/{world.CLINIC}"
    assert found.left_over == [f"{name}/.x.tmp"]
    assert set(found.differences) == {
        "tables/split.parquet: absent",
        f"{name}/{tar.name}: other bytes",
        f"{name}/index.parquet: other bytes",
    }
    assert len(world.lost(bench.folder)) == 1


# --- full disks ---


BEGINNING = 2 * resource.getpagesize()  # bytes that a run takes before its first stage: its lock and its note


def growth(bench: Bench, stage: str) -> int:
    """How many bytes a stage adds to a disk, at the least."""
    bench.reset(stage)
    before = _used(bench.warehouse)
    return _used(bench.wanted[stage]) - before


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def assert_told(log: str, *words: str) -> None:
    """The last line says what, where, and what to do."""
    line = log.strip().splitlines()[-1]
    assert all(word in line for word in words), line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "share"),
    [("tables", 0.5), ("warehouse", 0.3), ("warehouse", 0.8), ("shards", 0.8), ("embed", 0.3)],
)
def test_a_full_disk(bench: Bench, disk: Disk | str, stage: str, share: float) -> None:
    if not isinstance(disk, Disk):
        pytest.skip(disk)
    free = BEGINNING + round(share * growth(bench, stage))
    disk.leave(free)
    try:
        said = bench.start(stage).end(kill.PATIENCE_S)
    finally:
        disk.mend()
    assert_told(said, "No space left on device", str(bench.warehouse), "run again: what is complete stays")
    assert not visible(bench, stage)
    resume(bench, stage)


def visible(bench: Bench, stage: str) -> list[str]:
    """Files that are other than they should be, and do not hide behind a point in their path."""
    found = world.compare(bench.warehouse, bench.wanted[stage])
    names = [*found.left_over, *(line.partition(":")[0] for line in found.differences if "absent" not in line)]
    return [name for name in names if not any(part.startswith(".") for part in Path(name).parts)]


@pytest.mark.parametrize("stage", ["shards", "embed"])
def test_a_disk_that_may_not_be_written_to(bench: Bench, disk: Disk | str, stage: str) -> None:
    """The lock of a run finds out first: its step is left out here."""
    if not isinstance(disk, Disk):
        pytest.skip(disk)
    bench.reset(stage)
    disk.lock()
    try:
        with pytest.raises(OSError, match="Read-only file system"):
            drive.run(bench.folder, [stage])
        with pytest.raises((shards.ShardError, store.StoreError), match=r"Read-only file system.*run again"):
            drive.STAGES[stage](world.settings(bench.folder))
    finally:
        disk.mend()
    resume(bench, stage)


@pytest.mark.parametrize(
    ("stage", "limit"), [("warehouse", 100_000), ("captions", 3_000), ("shards", 60_000), ("embed", 4_000)]
)
def test_a_limit_of_file_sizes(bench: Bench, stage: str, limit: int) -> None:
    """As a full disk, where nobody may mount one."""
    bench.reset(stage)
    command = [sys.executable, "-m", "tests.faults.drive", str(bench.folder), stage]

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ended = subprocess.run(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True, preexec_fn=limited)
    assert ended.returncode == 1
    assert_told(ended.stderr, "File too large", str(bench.warehouse), "run again: what is complete stays")
    assert not visible(bench, stage)
    resume(bench, stage)


# --- files that change, hang, or crash their decoder ---


def rejects(bench: Bench) -> dict[str, dict[str, object]]:
    """Those of the clinic that may pass, by path."""
    found = json.loads((bench.warehouse / "shards" / world.CLINIC / "rejects.json").read_text())
    return {reject["path"]: reject for reject in found if reject["passing"]}


@pytest.mark.usefixtures("small_shards")
def test_files_that_change_while_they_are_read_are_taken_by_the_next_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.reset("shards")
    raw = bench.folder / "raw" / world.CLINIC
    kept = {name: ((raw / name).read_bytes(), (raw / name).stat()) for name in (hooks.GROWING, hooks.REWRITTEN)}
    try:
        monkeypatch.setattr(shards, "write_shard", hooks.write_shard_while_files_change)
        drive.run(bench.folder, ["shards"])
        passing = rejects(bench)
        assert set(passing) == set(kept)
        assert all(str(reject["reason"]).startswith("changed while it was read") for reject in passing.values())
        assert world.lost(bench.folder) == []
    finally:
        for name, (content, about) in kept.items():  # somebody has finished writing: what is there now is the recording
            (raw / name).write_bytes(content)
            os.utime(raw / name, ns=(about.st_atime_ns, about.st_mtime_ns))
            (raw / name).with_suffix(".been").unlink(missing_ok=True)
    monkeypatch.undo()
    resume(bench, "shards")


@pytest.mark.usefixtures("small_shards")
def test_a_file_that_hangs_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens a file that another process has a lease on waits in the kernel, as with a server that is gone."""
    bench.reset("shards")
    path = bench.folder / "raw" / world.CLINIC / "4.flac"
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", "1")
    with path.open("r+b") as file:
        ignored = signal.signal(signal.SIGIO, signal.SIG_IGN)  # the kernel's wish that the lease be given up
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            drive.run(bench.folder, ["shards"])
        except OSError as error:
            pytest.skip(f"this file system has no leases: {error}")
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, ignored)
    assert str(rejects(bench)["4.flac"]["reason"]).startswith("not read within 1 s")
    assert world.lost(bench.folder) == []
    resume(bench, "shards")


def test_a_recording_that_crashes_its_decoder_is_left_out_of_the_voices(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.reset("embed")
    clinic = (bench.folder / "raw" / world.CLINIC, bench.warehouse / "tables" / world.CLINIC)
    whole = pitch.sample(*clinic)
    monkeypatch.setattr(pitch, "_heard", hooks.hear_and_crash)
    sample = pitch.sample(*clinic)
    assert (whole.height, sample.height) == (7, 6)


# --- files that are torn, as by a machine that lost its power ---


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


TORN = {
    "tables": (f"tables/{world.ACTORS}/*.parquet", f"tables/{world.CLINIC}/corpus.json"),
    "warehouse": ("meta.db",),
    "captions": ("captions/*.parquet",),
    "shards": (
        f"shards/{world.CLINIC}/train-*.tar",
        f"shards/{world.ACTORS}/train-*.parquet",
        f"shards/{world.ACTORS}/index.parquet",
        f"shards/{world.CLINIC}/*.json",
    ),
}


@pytest.mark.parametrize("damage", [cut, empty, zeros])
@pytest.mark.parametrize("stage", TORN)
def test_what_is_torn_is_written_again(bench: Bench, stage: str, damage: Callable[[Path], None]) -> None:
    bench.finish(stage)
    for pattern in TORN[stage]:
        torn = sorted(bench.warehouse.glob(pattern))
        assert torn
        for path in torn:
            if (path.suffix, damage) != (".tar", zeros):  # of the right size: only who reads all of a tar could know
                damage(path)
    resume(bench, stage)


@pytest.mark.parametrize("damage", [cut, empty, zeros])
def test_a_torn_split_is_never_drawn_anew(bench: Bench, damage: Callable[[Path], None]) -> None:
    bench.finish("warehouse")
    damage(bench.warehouse / "tables" / "split.parquet")
    with pytest.raises(warehouse.WarehouseError, match="Bring it back from a copy"):
        drive.STAGES["warehouse"](world.settings(bench.folder))


def test_the_id_key_of_a_killed_process_is_made_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.reset("tables")
    monkeypatch.delenv("SLAP_ID_KEY")
    (bench.warehouse / ".id_key").touch()  # it was killed before it wrote
    key = ingest.id_key(bench.warehouse)
    assert len(key) == 32
    assert ingest.id_key(bench.warehouse) == key


# --- two runs ---


def test_a_second_run_from_the_command_line_is_refused_while_the_first_lives(bench: Bench) -> None:
    bench.reset("shards")
    first = bench.start("shards")
    notes = bench.warehouse / ".locks"
    while not any(path.stat().st_size for path in notes.glob("*.json")):
        assert not first.over()
        time.sleep(0.001)
    os.kill(first.pid, signal.SIGSTOP)  # so that it lives until it is killed
    places = {"SLAP_RAW": str(bench.folder / "raw"), "SLAP_WAREHOUSE": str(bench.warehouse)}
    command = [sys.executable, "-m", "pipelines.cli", "run", "--only", ",".join(world.CORPORA)]
    second = subprocess.run(command, cwd=PROJECT, env={**os.environ, **places}, capture_output=True, text=True)
    assert second.returncode == 1
    (line,) = second.stderr.strip().splitlines()
    assert f"{bench.warehouse} is in use: a run over the small world (process {first.pid}" in line
    assert "what is complete is not redone" in line
    os.kill(first.pid, signal.SIGKILL)
    first.end(kill.PATIENCE_S)
    resume(bench, "shards")


def test_the_command_line_says_what_the_step_said() -> None:
    import dagster as dg

    from pipelines.cli import _failures

    @dg.asset
    def told() -> None:
        try:
            raise store.StoreError("/disk: No space left on device. Free space there") from OSError(28, "No space")
        except store.StoreError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    @dg.asset
    def untold() -> None:
        raise store.StoreError("/disk: No space left on device. Free space there") from OSError(28, "No space")

    for asset in (told, untold):
        ((step, message),) = _failures(dg.materialize([asset], raise_on_error=False))
        assert step == asset.key.to_user_string()
        assert message.endswith("/disk: No space left on device. Free space there")
