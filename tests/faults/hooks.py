"""Work as workers do it, with a fault in it: workers import what they do by its name, so patches of a test do not reach
them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from pipelines import pitch, shards
from pipelines.decoders import raw as raw_files
from pipelines.guard import Note

GROWING, REWRITTEN = "0.wav", "4.flac"  # of the small world's clinic
CRASHING = ("6.wav", "6.flac")  # all recordings of a speaker


def write_shard_while_files_change(unit: shards.Shard, note: Note) -> None:
    """Somebody writes into two files after they were opened and before they were checked, the first time."""

    def change(path: Path) -> None:
        been = path.with_suffix(".been")
        if path.name not in (GROWING, REWRITTEN) or been.exists():
            return
        been.touch()
        if path.name == GROWING:
            with path.open("ab") as file:
                file.write(bytes(1000))
        else:
            path.write_bytes(path.read_bytes()[::-1])

    with _before_the_check(change):
        shards.write_shard(unit, note)


def _before_the_check(change: Callable[[Path], None]) -> AbstractContextManager[Any]:
    check = raw_files.check_unchanged

    def changed_and_checked(raw: Any) -> None:
        change(raw.path)
        check(raw)

    return mock.patch.object(raw_files, "check_unchanged", changed_and_checked)


def hear_and_crash(unit: tuple[Path, list[list[dict[str, Any]]]], note: Note) -> list[tuple[Any, ...]]:
    """A decoder that crashes at the recordings of one speaker."""
    listen = pitch._listen

    def crash(root: Path, utterance: dict[str, Any]) -> tuple[float, float]:
        if utterance["path"] in CRASHING:
            os.kill(os.getpid(), signal.SIGSEGV)
        return listen(root, utterance)

    with mock.patch.object(pitch, "_listen", crash):
        return pitch._heard(unit, note)
