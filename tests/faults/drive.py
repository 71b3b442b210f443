"""One run over the small world, as a process to be killed: ``python -m tests.faults.drive <folder> [<stage> ...]``.

It takes the warehouse's lock and clears up what the dead left, as every run of the system does, and then calls the same
functions as the assets.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmark.baselines import RandomVectors
from pipelines import captions, embedding, ingest, leftovers, locks, shards, warehouse
from pipelines.settings import PROJECT, Settings
from tests.faults import world


def _tables(settings: Settings) -> None:
    for name in world.CORPORA:
        ingest.ingest(settings.corpora[name], settings.raw / name, settings.tables, ingest.id_key(settings.warehouse))


def _warehouse(settings: Settings) -> None:
    warehouse.build(
        settings.tables,
        settings.meta_db,
        corpora=world.CORPORA,
        vocabulary=PROJECT / "warehouse" / "vocabulary",
        sql=PROJECT / "warehouse" / "sql",
        scores=settings.warehouse / "scores",
        shards=settings.shards,
    )


def _captions(settings: Settings) -> None:
    captions.build(settings.meta_db, settings.captions_folder, corpora=[world.CLINIC], k=12, seed=0)


def _shards(settings: Settings) -> None:
    with mock.patch.object(shards, "UTTERANCES_PER_SHARD", world.UTTERANCES_PER_SHARD):
        for name in world.CORPORA:
            shards.shard_corpus(
                settings.corpora[name],
                settings.raw / name,
                settings.meta_db,
                settings.captions_folder,
                settings.shards / name,
                ingest.id_key(settings.warehouse),
            )


def _embed(settings: Settings) -> None:
    tars = [tar for name in world.CORPORA for tar in sorted((settings.shards / name).glob("*.tar"))]
    embedding.embed(RandomVectors(), embedding.Source("random"), tars, settings.embeddings)


STAGES: Mapping[str, Callable[[Settings], None]] = {
    "tables": _tables,
    "warehouse": _warehouse,
    "captions": _captions,
    "shards": _shards,
    "embed": _embed,
}


TORN_AT = 50  # bytes of a file that are written before its writer dies
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}  # audit events of Python


def run(folder: Path, stages: Sequence[str] = ()) -> None:
    """Make the products of some stages, or of all, of the world in ``folder``."""
    settings = world.settings(folder)
    with locks.held(settings.warehouse, "a run over the small world"):
        settings.claim()
        leftovers.clear(settings)
        for stage in stages or STAGES:
            STAGES[stage](settings)


def run_with_log(folder: Path, stages: Sequence[str], log: Path, die_at: int = 0) -> None:
    """The same, with what it says in a file; it may die at its n-th change of the warehouse's files, see `_die_at`."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if die_at:
        _die_at(die_at, str(folder / "warehouse"))
    run(folder, stages)


def _die_at(number: int, below: str) -> None:
    """Die before the n-th change: where Python makes, renames or removes a file, or opens one to write.

    With ``-n``: in the n-th file that is opened to write, by the kernel, at its first byte too many.
    """
    changes = 0

    def hook(event: str, details: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = event == "open" and details[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or (event in CHANGES and number > 0)) and str(details[0]).startswith(below):
            changes += 1
            if changes == number:
                os.kill(os.getpid(), signal.SIGKILL)
            elif changes == -number:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (TORN_AT, TORN_AT))

    sys.addaudithook(hook)


if __name__ == "__main__":
    os.environ.update(world.ENVIRONMENT)
    run(Path(sys.argv[1]), sys.argv[2:])
