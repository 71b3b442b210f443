"""Disks that are full or may not be written to: a tmpfs whose size is changed while it is mounted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOM = 512 * 2**20  # bytes, of a disk that is neither


class NoDiskError(RuntimeError):
    """No file system can be mounted here."""


@dataclass(frozen=True)
class Disk:
    """A file system of its own, in memory."""

    folder: Path

    def leave(self, free: int) -> None:
        """Make it so small that only ``free`` bytes can be written."""
        found = os.statvfs(self.folder)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        self._again(f"size={max(used + free, found.f_frsize)}")  # 0 is without limit

    def lock(self) -> None:
        """Refuse all writing, to root as well."""
        self._again("ro")

    def mend(self) -> None:
        """Room for everybody, and writing allowed."""
        self._again(f"rw,size={ROOM}")

    def _again(self, options: str) -> None:
        _run("mount", "-o", f"remount,{options}", str(self.folder))


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """A disk at an empty folder.

    Raises:
        NoDiskError: whoever runs this may not mount.
    """
    folder.mkdir(parents=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoDiskError(f"a tmpfs cannot be mounted: {getattr(error, 'stderr', '') or error}") from error
    try:
        yield Disk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
