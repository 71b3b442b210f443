"""A training's checkpoints beside those it writes on its own disk: in a folder of the store, for other machines.

Each checkpoint is put there file by file and its card last: who reads a folder without a card sees no checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from slap_model import store
from slap_model.model import CARD

KEPT = 2  # as on the trainer's disk


def put(checkpoint: Path, mirror: Path) -> None:
    """Put a complete checkpoint (``step-<n>``) into the mirror, and drop there all but the last `KEPT`.

    Raises:
        slap_model.store.StoreError: the store does not take it.
    """
    target = mirror / checkpoint.name
    store.remove(target / CARD)  # of the same step, trained before from an older one
    for file in sorted(checkpoint.iterdir(), key=lambda file: (file.name == CARD, file.name)):
        store.copy(file, target / file.name)
    files = _files(mirror)
    for name in sorted(files)[:-KEPT]:
        _drop(files[name])


def newest(mirror: Path) -> str:
    """The name of the newest complete checkpoint (``step-<n>``); "" where there is none."""
    return max((name for name, files in _files(mirror).items() if CARD in files), default="")


def fetch(mirror: Path, out: Path) -> None:
    """Copy the newest complete checkpoint of the mirror to ``out``, where none as new is there.

    Raises:
        slap_model.store.StoreError: the store does not answer.
    """
    for _ in range(KEPT):  # the trainer may drop the one that is being copied: then it has put a newer one
        name = newest(mirror)
        if not name or max((card.parent.name for card in out.glob(f"step-*/{CARD}")), default="") >= name:
            return
        unfinished = store.draft(out / name)
        try:
            unfinished.mkdir(parents=True)
            for file in _files(mirror)[name].values():
                store.fetch(file, unfinished / file.name)
            shutil.rmtree(out / name, ignore_errors=True)
            unfinished.replace(out / name)
            return
        except (FileNotFoundError, KeyError):
            continue
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    raise store.StoreError(f"{mirror}: its checkpoints go while they are copied: does another training write there?")


def _files(mirror: Path) -> Mapping[str, Mapping[str, Path]]:
    """Checkpoint -> name -> file."""
    found: dict[str, dict[str, Path]] = {}
    for file in store.listing(mirror, "step-*/*"):
        found.setdefault(file.parent.name, {})[file.name] = file
    return found


def _drop(files: Mapping[str, Path]) -> None:
    for name in sorted(files, key=lambda name: name != CARD):
        store.remove(files[name])
