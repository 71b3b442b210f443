"""A raw file while it is read: in memory or on the disk, and the same bytes from its hash to its last sample."""

from __future__ import annotations

import hashlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.decoders.base import AudioError, span

WHOLE_UP_TO = 64 * 2**20  # bytes of a file that is read into memory, so that hash and samples are of the same bytes


class Memory(io.BytesIO):
    """A file in memory, as the decoders' C code reads it: a broken file may point before its beginning."""

    error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stay where the file ends before that place begins."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class Disk:
    """A file as the decoders' C code reads it: nothing is raised into C, and an error of the disk is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file

    def read(self, count: int = -1) -> bytes:
        """Nothing where the disk fails."""
        try:
            return self._file.read(count)
        except OSError as error:
            self.error = error
            return b""

    def readinto(self, buffer: Any) -> int:
        """As `read`."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stay where there is no such place."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self._file.tell()

    def tell(self) -> int:
        """The place that is read next."""
        return self._file.tell()


@dataclass(frozen=True)
class Raw:
    """A file that is being read."""

    path: Path
    head: bytes
    file: Memory | Disk
    size: int
    changed: int  # nanoseconds
    content: bytes | None  # all of it, where it was read into memory

    def sha256(self) -> str:
        """Hash of all its bytes."""
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        return _file_sha256(self.path, self.size, self.changed)


@contextmanager
def opened(path: Path, start_s: float | None, end_s: float | None) -> Iterator[Raw]:
    """A file that may be audio, read into memory where all of it is wanted and it is not large."""
    start = start_s or 0.0
    if start < 0.0 or (end_s is not None and end_s <= start):
        raise AudioError(f"cut {span(start, end_s)} is no stretch of time")
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise AudioError("not a file")
        with path.open("rb") as file:
            whole = start_s is None and end_s is None and before.st_size <= WHOLE_UP_TO
            content = file.read(before.st_size + 1) if whole else None
            head = content[:1024] if content is not None else file.read(1024)
            source = Memory(content) if content is not None else Disk(file)
            _check_head(head)
            raw = Raw(path, head, source, before.st_size, before.st_mtime_ns, content)
            try:
                yield raw
            except Exception:
                check_unchanged(raw)
                raise
            check_unchanged(raw)
    except FileNotFoundError as error:
        raise AudioError("file not found") from error
    except OSError as error:  # no permission, a server that is gone, a broken disk
        raise AudioError(f"cannot be read: {error.strerror}", passing=True) from error
    except (AudioError, MemoryError):
        raise
    except Exception as error:  # whatever a decoder makes of a broken file, it stops nobody
        raise AudioError(f"not audio or corrupt: {type(error).__name__}: {error}") from error


def _check_head(head: bytes) -> None:
    if not head:
        raise AudioError("empty file")
    if head.startswith(b"version https://git-lfs"):
        raise AudioError("git-lfs pointer instead of the recording: run git lfs pull in the corpus folder")
    if head.startswith(b"NIST_1A") and b"shorten" in head:
        raise AudioError("SPHERE compressed by shorten: unpack the corpus with sph2pipe or w_decode")


def check_unchanged(raw: Raw) -> None:
    """Raise what the decoder could not know: an error of the disk, or that somebody wrote into the file."""
    if raw.file.error:
        raise raw.file.error
    after = raw.path.stat()
    if (after.st_size, after.st_mtime_ns) != (raw.size, raw.changed) or len(raw.content or b"") not in (0, raw.size):
        raise AudioError(f"changed while it was read: {raw.size} bytes, then {after.st_size}", passing=True)


@lru_cache(maxsize=4096)
def _file_sha256(path: Path, size: int, changed: int) -> str:
    """Hash of a file's bytes, computed once for all cuts of a file that does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
