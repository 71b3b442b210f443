"""Work of the tests on Ray. The nodes import it from here: without torch, which takes a node seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pipelines import embedding, shards
from pipelines.guard import Note


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def double(unit: int, note: Note) -> int:
    time.sleep(0.01 * (5 - unit % 5))
    return 2 * unit


def where(unit: Path, note: Note) -> tuple[str, str]:
    (unit / str(os.getpid())).touch()
    wait_for(lambda: len(list(unit.iterdir())) > 1)  # until the other node has one, too
    return os.environ["RAY_RAYLET_PID"], os.environ.get("SLAP_FILE_TIMEOUT", "")


def settings(unit: object, note: Note) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("SLAP_")}


def device(unit: int, note: Note) -> tuple[int, str, str]:
    time.sleep(0.3)
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"]


class Held(Note):
    """Stops where the first item begins, says where that is, and waits for its end."""

    told: Path

    def __call__(self, item: int) -> None:
        hold(self.told)


def hold(told: Path) -> None:
    draft = told.with_suffix(".draft")
    draft.write_text(f"{os.environ['RAY_RAYLET_PID']} {os.getppid()}")
    draft.rename(told)
    time.sleep(3600)


def held(unit: tuple[int, shards.Shard, Path], note: Note) -> None:
    """Write a shard; the first try of the fourth is held in the middle."""
    number, shard, told = unit
    if number == 3 and not told.exists():
        note = Held()
        note.told = told
    shards.write_shard(shard, note)


def held_vectors(unit: tuple[int, embedding.Unit, Path], note: Note) -> None:
    """Embed a tar; the first try of the fourth is held."""
    number, tar, told = unit
    if number == 3 and not told.exists():
        hold(told)
    embedding.write_vectors(tar, note)


def killed_with_its_worker(unit: Path, note: Note) -> None:
    with unit.open("a") as file:
        file.write("x")
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
