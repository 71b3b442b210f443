"""Run units of work on a Ray cluster: ``SLAP_ENGINE=ray``, from the extra ``slap[ray]``.

The cluster is that of ``RAY_ADDRESS`` (the head's host:port), or the one that this machine belongs to. Each node has
this program installed in the same version, and sees the raw recordings and the store (or the warehouse) under the same
paths. A unit runs in a guard (`pipelines.guard`) inside a Ray task, so a decoder that crashes takes neither the node's
Ray worker nor another unit with it.

What is lost with a node or a worker process is done again by Ray, elsewhere; an error of the work itself is the
caller's, as it is. A unit writes whole files or none, so one that is done twice leaves the same bytes.

``SLAP_*`` is on the nodes as it is here, also where it is not set. Credentials do not travel: the variables that end in
``_KEY`` stay here, and ``AWS_*`` is each node's own, set where its ``ray start`` runs.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import signal
import socket
import statistics
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipelines.guard import Guard, Work, WorkerDiedError
from pipelines.scale import AHEAD, EngineError

Unit = TypeVar("Unit")
Result = TypeVar("Result")

QUEUED = 2  # units for each place, so that a node has the next one when it has done one
LOSSES_ALLOWED = 10  # of one unit, with its node or its Ray worker
ANSWER_S = 10.0  # how long a head node may take to answer
PATIENCE_S = 900.0  # how long the cluster may have no place for a unit: nodes may still be starting
LOOK_EVERY_S = 5.0
PACKAGES = ("slap_model", "benchmark", "pipelines")
WRITERS = ("numpy", "scipy", "polars", "soundfile", "soxr", "av", "webrtcvad-wheels")  # what a shard's bytes depend on


@dataclass(frozen=True)
class Place:
    """What a unit takes of a node."""

    cpus: int = 1
    gpus: int = 0

    def count(self, resources: Mapping[str, float]) -> int:
        """How many units fit into what a node or a cluster has."""
        places = int(resources.get("CPU", 0)) // self.cpus
        return min(places, int(resources.get("GPU", 0)) // self.gpus) if self.gpus else places


@dataclass(frozen=True)
class Terms:
    """What a node is told besides the unit."""

    memory: int | None
    threads: int
    environment: Mapping[str, str]
    program: Mapping[str, str]  # that runs here


def run(
    work: Work[Unit, Result],
    units: Iterable[Unit],
    workers: int | None,
    memory: int | None,
    whole_machine: bool = False,
) -> Generator[Result, None, None]:
    """Results in the order of ``units``, which are drawn as the cluster has places for them.

    Args:
        work: a function that its module has under its name, on the nodes, too.
        units: anything that can be pickled.
        workers: how many run at a time; None: as many as there are places.
        memory: bytes that the work may allocate in a worker; None: what the node has.
        whole_machine: a unit takes a GPU, or all processors of a node where the cluster has no GPU.

    Raises:
        EngineError: Ray is not installed, no cluster answers or has a place, or a node runs another program.
        WorkerDiedError: a unit was lost with its node again and again.
        Exception: what ``work`` raised.
    """
    left = iter(units)
    for first in left:
        left = chain([first], left)
        break
    else:
        return  # nothing to do needs no cluster
    ray = _connected()
    place = _whole(_nodes(ray)) if whole_machine else Place()
    terms = Terms(memory, place.cpus, environment(), program())
    # Ray ends the process of a task with a GPU after it, unless told otherwise: the model would be loaded every time.
    remote = ray.remote(num_cpus=place.cpus, num_gpus=place.gpus, max_retries=LOSSES_ALLOWED, max_calls=0)(_do)
    waiting: deque[Any] = deque()  # references, in the order of the units
    done: dict[Any, Any] = {}
    running: set[Any] = set()
    places = _Places(ray, place)
    try:
        while True:
            room = places.now()
            at_a_time = workers or QUEUED * max(1, room)
            while len(running) < at_a_time and len(waiting) < at_a_time * AHEAD:
                try:
                    reference = remote.remote(work, next(left), terms)
                except StopIteration:
                    break
                waiting.append(reference)
                running.add(reference)
            if not waiting:
                return
            for reference in ray.wait(list(running), timeout=LOOK_EVERY_S)[0]:
                done[reference] = _result(ray, reference)
                running.remove(reference)
            while waiting and waiting[0] in done:
                yield done.pop(waiting.popleft())
    finally:
        if running:
            ray.shutdown()  # ends what is in flight; `ray.cancel` may end this process (Ray 2.60, task_manager.cc:1329)


def _result(ray: Any, reference: Any) -> Any:
    try:
        succeeded, value = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # `_do` raises nothing: it, the work or the unit could not be loaded
        why = str(error).strip().rpartition("\n")[2]
        raise EngineError(
            f"a node of the cluster cannot load this program ({why}): install it there, in the same version, with pip "
            "install 'slap[ray]'"
        ) from error
    except ray.exceptions.RayError as error:
        raise WorkerDiedError(f"a unit was lost with its node {LOSSES_ALLOWED + 1} times: {error}") from error
    if not succeeded:
        raise value
    return value


def _nodes(ray: Any) -> list[dict[str, float]]:
    """What each node has that lives and takes work."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [resources for resources in alive if resources.get("CPU", 0) >= 1]


def _whole(nodes: list[dict[str, float]]) -> Place:
    """A GPU with its share of processors, or all processors of the usual node."""
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    if with_gpu:
        return Place(max(1, min(int(node["CPU"] // node["GPU"]) for node in with_gpu)), gpus=1)
    return Place(int(statistics.median_high(node["CPU"] for node in nodes)) if nodes else 1)


class _Places:
    """How many units the cluster has room for; nodes come and go."""

    def __init__(self, ray: Any, place: Place) -> None:
        self._ray, self._place = ray, place
        self._looked, self._had = -math.inf, time.monotonic()
        self._last = 0

    def now(self) -> int:
        """The number of places, as of a few seconds ago at most.

        Raises:
            EngineError: there has been none for `PATIENCE_S`.
        """
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY_S:
            self._last = sum(self._place.count(resources) for resources in _nodes(self._ray))
            self._looked = now
            if self._last:
                self._had = now
        if now - self._had > PATIENCE_S:
            wanted = f"{self._place.cpus} CPU" + (" and a GPU" if self._place.gpus else "")
            raise EngineError(f"no node of the Ray cluster has had {wanted} for {PATIENCE_S:g} s: see `ray status`")
        return self._last


# --- to the cluster ---


def _connected() -> Any:
    """Ray, connected to its cluster."""
    if find_spec("ray") is None:
        raise EngineError("SLAP_ENGINE=ray: Ray is not installed: pip install 'slap[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before the import: nothing is sent to anyone
    import ray

    if ray.is_initialized():
        return ray
    address = os.environ.get("RAY_ADDRESS") or "auto"
    _knock(address)
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise EngineError(
            "SLAP_ENGINE=ray: no Ray cluster here: start one with `ray start --head --disable-usage-stats` (and `ray "
            "start --address=<head>:6379` on each other node), or set RAY_ADDRESS=<head>:6379"
        ) from error
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, handler)  # Ray takes it, but it is Dagster's, which ends a run by it
    return ray


def _knock(address: str) -> None:
    """Ray itself tries for many minutes to reach a head node that is not there."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        host, port = place.hostname, place.port
    except ValueError as error:
        raise EngineError(f"RAY_ADDRESS={address!r} is no <host>:<port>") from error
    if not host or not port:  # auto, local
        return
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except OSError as error:
        raise EngineError(
            f"RAY_ADDRESS={address}: no answer within {ANSWER_S:g} s ({error}): is the head node up?"
        ) from error


def environment() -> dict[str, str]:
    """The settings of this run: ``SLAP_*`` without its secrets."""
    return {name: value for name, value in os.environ.items() if _is_ours(name) and not name.endswith("_KEY")}


def _is_ours(name: str) -> bool:
    return name.startswith("SLAP_")


@cache
def program() -> dict[str, str]:
    """What decides the bytes that a unit writes: a hash of the sources, and the versions of what encodes them."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for source in sorted(Path(folder).rglob("*.py")):
                digest.update(source.relative_to(folder).as_posix().encode() + b"\0" + source.read_bytes())
    return {"slap": digest.hexdigest()[:12], **{name: _version(name) for name in WRITERS}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


# --- on a node ---

_guards: dict[tuple[Any, ...], Guard] = {}  # the one of this Ray worker, kept with what it has loaded


def _do(work: Work[Unit, Result], unit: Unit, terms: Terms) -> tuple[bool, Result | Exception]:
    """Whether a unit was done, and its result or its error, which Ray would wrap in one of its own."""
    try:
        _check_program(terms.program)
        for name in filter(_is_ours, list(os.environ)):  # the node's own would make its units another run's
            del os.environ[name]
        os.environ.update(terms.environment)
        return True, _guard(terms).run(work, unit)
    except Exception as error:
        error.add_note(f"on the node {socket.gethostname()}")
        return False, error


def _check_program(wanted: Mapping[str, str]) -> None:
    here = program()
    others = [f"{name} {here[name]} instead of {version}" for name, version in wanted.items() if here[name] != version]
    if others:
        raise EngineError(
            f"the node {socket.gethostname()} has {', '.join(others)}: its files would differ; install the same there"
        )


def _guard(terms: Terms) -> Guard:
    """This Ray worker's guard; another one where memory, threads, settings or the GPU are others than before."""
    settings = frozenset(terms.environment.items())
    kind = (terms.memory, terms.threads, settings, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if kind not in _guards:
        for guard in _guards.values():
            guard.close()
        _guards.clear()
        _guards[kind] = Guard(terms.memory, terms.threads)
    return _guards[kind]
