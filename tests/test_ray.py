# ruff: noqa: F811 - world is a fixture
"""Units on a real Ray cluster of two nodes on this machine, with nodes and processes that are killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_work import device, double, held, held_vectors, killed_with_its_worker, settings, wait_for, where
from test_guard import forever
from test_guard import work as three_items
from test_shards import make, world  # noqa: F401

from benchmark.baselines import RandomVectors
from benchmark.embedders import EmbedderError
from pipelines import embedding, ray_engine, scale, shards
from pipelines.guard import WorkerDiedError
from pipelines.scale import EngineError

ray = pytest.importorskip("ray")

QUICK = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}  # to see that a node is gone: 2 s, not 14
SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}


class Nodes:
    """A head that takes no work, and two nodes that do, of which one may be killed."""

    def __init__(self, scratch: str) -> None:
        from ray.cluster_utils import Cluster

        head = {**SMALL, "num_cpus": 0, "include_dashboard": False, "temp_dir": scratch, "_system_config": QUICK}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.complete()

    def complete(self) -> None:
        while len(self.cluster.worker_nodes) < 2:
            self.cluster.add_node(**SMALL)

    def kill(self, raylet: int) -> None:
        """What a power cut does to a node, told by the process id of its raylet."""
        node = next(node for node in self.cluster.worker_nodes if pid_of(node) == raylet)
        others = [pid for pid, environment in processes() if f"RAY_RAYLET_PID={raylet}" in environment]
        self.cluster.remove_node(node, allow_graceful=False)
        for pid in others:
            kill(pid)


def pid_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def processes() -> Iterator[tuple[int, str]]:
    """(process id, environment) of this user's processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:  # ended, or somebody else's
            continue


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture(scope="module")
def started() -> Generator[Nodes, None, None]:
    environment = pytest.MonkeyPatch()
    environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
    environment.setenv("PYTHONPATH", str(Path(__file__).parent))  # this file is installed on the nodes, so to say
    scratch = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the path of a socket may have 107 letters
    handler = signal.getsignal(signal.SIGTERM)  # a node of Ray takes it
    nodes = Nodes(scratch)
    ours = {pid for pid, _ in processes() if scratch in Path(f"/proc/{pid}/cmdline").read_text()}
    assert ours
    yield nodes
    ray.shutdown()
    nodes.cluster.shutdown()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in ours))
    shutil.rmtree(scratch)
    environment.undo()
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def nodes(started: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setenv("SLAP_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", started.cluster.address)
    ray_engine._connected()
    started.complete()
    wait_for(lambda: len(ray_engine._nodes(ray)) == 2)
    return started


def kill_in_the_middle(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, work: Callable[..., None], told: Path, victim: str = "node"
) -> None:
    """Let the next run lose its fourth unit after three results."""
    run = scale.run

    def with_a_kill(_: object, units: Iterable[object], **options: Any) -> Iterator[None]:
        results = run(work, ((number, unit, told) for number, unit in enumerate(units)), **options)
        for _ in range(3):
            yield next(results)
        wait_for(told.exists)
        raylet, worker = map(int, told.read_text().split())
        if victim == "node":
            nodes.kill(raylet)
        else:
            kill(worker)
        yield from results

    monkeypatch.setattr(scale, "run", with_a_kill)


def sharded(world: Path, monkeypatch: pytest.MonkeyPatch, out: str, engine: str) -> dict[str, bytes]:
    """Name and content of all that sharding has written."""
    monkeypatch.setenv("SLAP_ENGINE", engine)
    make(world, out)
    return {path.name: path.read_bytes() for path in (world / out).iterdir()}


# --- tests ---


def test_both_nodes_work_and_are_told_the_time_limit(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", "77")
    answers = set(scale.run(where, [tmp_path] * 2, total=2, label="test"))
    assert {raylet for raylet, _ in answers} == {str(pid_of(node)) for node in nodes.cluster.worker_nodes}
    assert {limit for _, limit in answers} == {"77"}


def test_results_come_in_the_order_of_the_units_which_are_drawn_as_they_are_needed(nodes: Nodes) -> None:
    drawn: list[int] = []

    def units() -> Iterator[int]:
        for number in range(200):
            drawn.append(number)
            yield number

    results = scale.run(double, units(), total=200, label="test")
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(drawn) < 5 + 2 * ray_engine.QUEUED * scale.AHEAD + 2
    assert list(results) == [2 * number for number in range(5, 200)]


@pytest.mark.parametrize("victim", ["node", "Ray worker"])
def test_what_is_lost_is_done_again_and_the_bytes_are_those_of_a_local_run(
    nodes: Nodes,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    victim: str,
) -> None:
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", 1)
    here = sharded(world, monkeypatch, "here", "local")
    assert len([name for name in here if name.endswith(".tar")]) == 10

    kill_in_the_middle(nodes, monkeypatch, held, world / "told", victim)
    assert sharded(world, monkeypatch, "cluster", "ray") == here
    assert (world / "told").exists()


def vectors(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_vectors_are_those_of_a_local_run_though_it_was_broken_off_and_lost_a_node(
    nodes: Nodes, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", 1)
    sharded(world, monkeypatch, "tars", "local")
    tars = sorted((world / "tars").glob("*.tar"))
    source = embedding.Source("mel-statistics")
    embedder = source.make()
    here = vectors(embedding.embed(embedder, source, tars, world / "here"))
    assert len(here) == 9  # two tars are empty, and alike

    monkeypatch.setenv("SLAP_ENGINE", "ray")
    run = scale.run

    def broken_off(*arguments: Any, **options: Any) -> Iterator[None]:
        yield next(run(*arguments, **options))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(scale, "run", broken_off)
        embedding.embed(embedder, source, tars, world / "cluster")
    ray_engine._connected()
    left = next((world / "cluster").iterdir())
    assert vectors(left)
    for late in sorted(vectors(left))[5:]:  # how far it came depends on the machine; the next run shall have work
        (left / late).unlink()
    kill_in_the_middle(nodes, monkeypatch, held_vectors, world / "told")
    assert vectors(embedding.embed(embedder, source, tars, world / "cluster")) == here
    assert (world / "told").exists()


def test_a_node_with_other_weights_is_refused(nodes: Nodes, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sharded(world, monkeypatch, "tars", "local")
    monkeypatch.setenv("SLAP_ENGINE", "ray")
    tars = sorted((world / "tars").glob("*.tar"))
    with pytest.raises(EmbedderError, match=f"embedder random: on {socket.gethostname()} its fingerprint is"):
        embedding.embed(RandomVectors(seed=1), embedding.Source("random"), tars, world / "out")
    assert not (world / "out").exists()


def test_a_decoder_that_crashes_refuses_its_item_alone(nodes: Nodes, tmp_path: Path) -> None:
    (done,) = scale.run(three_items, [(tmp_path, {1: "crash"})], total=1, label="test")
    assert done == {0: "done", 1: "its decoder crashed (SIGSEGV)", 2: "done"}


def test_an_error_of_the_work_is_the_callers_as_it_is(nodes: Nodes, tmp_path: Path) -> None:
    units = [(tmp_path, {}), (tmp_path, {1: "raise"})]
    with pytest.raises(ValueError, match="item 1") as raised:
        list(scale.run(three_items, units, total=2, label="test"))
    assert type(raised.value) is ValueError
    assert f"on the node {socket.gethostname()}" in raised.value.__notes__


def test_a_run_that_is_broken_off_leaves_nothing_at_work(nodes: Nodes, tmp_path: Path) -> None:
    units = [tmp_path / "one", tmp_path / "two"]
    results = ray_engine.run(forever, units, None, None)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        real = ray.wait

        def wait(*arguments: object, **options: object) -> object:
            if all(unit.exists() and unit.read_text() for unit in units):
                raise KeyboardInterrupt
            return real(*arguments, **{**options, "timeout": 0.1})

        patch.setattr(ray, "wait", wait)
        next(results)
    at_work = [Path("/proc") / unit.read_text() for unit in units]
    wait_for(lambda: not any(process.exists() for process in at_work))


def test_a_unit_that_is_lost_again_and_again_ends_the_run(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "LOSSES_ALLOWED", 1)
    with pytest.raises(WorkerDiedError, match="lost with its node 2 times"):
        list(scale.run(killed_with_its_worker, [tmp_path / "told"], total=1, label="test"))
    assert (tmp_path / "told").read_text() == "xx"


def test_a_node_with_another_program_is_refused(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    other = {**ray_engine.program(), "soxr": "0.5.0"}
    monkeypatch.setattr(ray_engine, "program", lambda: other)
    with pytest.raises(EngineError, match=rf"node {socket.gethostname()} has soxr .* instead of 0.5.0: its files"):
        list(scale.run(double, range(3), total=3, label="test"))


def test_a_node_without_the_program_is_said_so(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def work(unit, note):\n    return unit\n")
    monkeypatch.syspath_prepend(tmp_path)  # after the nodes were told where to import from
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(EngineError, match=r"No module named 'only_here'.*install it there"):
        list(scale.run(only_here.work, [1], total=1, label="test"))


def test_a_node_that_sees_no_recordings_is_an_error_and_no_shard_of_rejects(
    nodes: Nodes,
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = scale.run

    def elsewhere(work: Any, units: Iterator[shards.Shard], **options: Any) -> Iterator[None]:
        return run(work, (replace(unit, root=world / "not mounted") for unit in units), **options)

    monkeypatch.setattr(scale, "run", elsewhere)
    with pytest.raises(shards.ShardError, match=f"{socket.gethostname()} sees nothing in"):
        make(world)
    assert not list((world / "shards").glob("*.tar"))


def test_a_gpu_has_one_process_that_stays(nodes: Nodes) -> None:
    node = nodes.cluster.add_node(**{**SMALL, "num_cpus": 4, "num_gpus": 2})
    try:
        wait_for(lambda: len(ray_engine._nodes(ray)) == 3)
        answers = list(scale.run(device, range(8), total=8, label="test", whole_machine=True))
    finally:
        nodes.cluster.remove_node(node)
    assert {gpu for _, gpu, _ in answers} == {"0", "1"}
    assert len({(process, gpu) for process, gpu, _ in answers}) == 2
    assert {threads for _, _, threads in answers} == {"2"}


@pytest.mark.parametrize("workers", [None, "2"])
def test_a_cluster_without_a_place_is_not_waited_for_for_ever(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, workers: str | None
) -> None:
    if workers:
        monkeypatch.setenv("SLAP_WORKERS", workers)
    monkeypatch.setattr(ray_engine, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(ray_engine, "PATIENCE_S", 0.3)
    monkeypatch.setattr(ray_engine, "_whole", lambda _: ray_engine.Place(1, gpus=1))
    with pytest.raises(EngineError, match=r"no node of the Ray cluster has had 1 CPU and a GPU for 0.3 s"):
        list(scale.run(double, range(3), total=3, label="test", whole_machine=True))


@pytest.mark.parametrize(
    ("resources", "place"),
    [
        ([{"CPU": 8.0}, {"CPU": 64.0}, {"CPU": 64.0}], ray_engine.Place(64)),
        ([{"CPU": 16.0}, {"CPU": 64.0, "GPU": 8.0}], ray_engine.Place(8, gpus=1)),
        ([], ray_engine.Place(1)),
    ],
)
def test_a_whole_machine_is_a_gpu_or_a_node(resources: list[dict[str, float]], place: ray_engine.Place) -> None:
    assert ray_engine._whole(resources) == place


def test_a_node_has_the_settings_of_the_run_and_none_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ray_engine.environment():
        monkeypatch.delenv(name)
    monkeypatch.setattr(ray_engine, "_guards", {})
    with monkeypatch.context() as driver:
        driver.setenv("SLAP_STORE_TIMEOUT", "20")
        driver.setenv("SLAP_ID_KEY", "secret")
        driver.setenv("AWS_PROFILE", "driver")
        first = ray_engine.Terms(None, 1, ray_engine.environment(), ray_engine.program())
    assert first.environment == {"SLAP_STORE_TIMEOUT": "20"}
    second = replace(first, environment={"SLAP_FILE_TIMEOUT": "9"})
    for name, value in {"SLAP_FILE_TIMEOUT": "5", "SLAP_STORE_TIMEOUT": "5", "SLAP_LLM_KEY": "node's"}.items():
        monkeypatch.setenv(name, value)
    try:
        for terms in (first, second, first):  # of runs that follow one another in one Ray worker
            assert ray_engine._do(settings, None, terms) == (True, terms.environment)
    finally:
        for guard in ray_engine._guards.values():
            guard.close()


def test_places_of_a_node() -> None:
    assert ray_engine.Place(4).count({"CPU": 11.0}) == 2
    assert ray_engine.Place(4, gpus=1).count({"CPU": 64.0, "GPU": 3.0}) == 3
    assert ray_engine.Place(1, gpus=1).count({"CPU": 64.0}) == 0


# --- no cluster ---


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_ENGINE", "ray")
    list(scale.run(double, range(2), total=2, label="test"))


def test_nothing_to_do_needs_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_ENGINE", "ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    assert not list(scale.run(double, [], total=0, label="test"))


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'slap\[ray\]'"):
        refuse(monkeypatch)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "RAY_ADDRESS=127.0.0.1:1: no answer within"),
        ("nosuch.invalid:6379", "no answer within"),
        ("head:port", "is no <host>:<port>"),
    ],
)
def test_a_head_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, address: str, message: str) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=message):
        refuse(monkeypatch)


def test_no_cluster_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(EngineError, match="no Ray cluster here: start one with `ray start --head"):
        refuse(monkeypatch)
