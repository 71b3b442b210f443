"""Product files, here or on object storage: written whole or not at all, read by ranges.

A local file is written under a temporary name that says whose it is, and renamed. Object storage has no rename, but
an object appears under its key only when its upload is complete, so there the final key is written at once.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

_DRAFT = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>\d+)\.tmp")


def place(text: str | Path) -> Path:
    """A folder or file named by a path or an fsspec URL (``s3://bucket/folder``).

    A URL gives a `upath.UPath`, which has the methods of a path; it is typed as one.
    """
    if "://" not in str(text):
        return Path(text)
    from upath import UPath

    return cast(Path, UPath(str(text)))


def is_local(path: Path) -> bool:
    """Whether a path lies in this machine's file system."""
    return isinstance(path, os.PathLike)


def write(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, with the folders above it."""
    with whole(target) as file:
        file.write(content)


@contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write to, which appears at ``target`` when the block ends without an error."""
    if not is_local(target):
        with target.open("wb") as file:
            yield cast(BinaryIO, file)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(target)
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def put(source: Path, target: Path) -> None:
    """Move a finished local file to its place."""
    with source.open("rb") as content, whole(target) as file:
        while block := content.read(2**24):
            file.write(block)
    source.unlink()


def read(path: Path, offset: int, size: int) -> bytes:
    """``size`` bytes of a file from ``offset`` on."""
    with path.open("rb") as file:
        file.seek(offset)
        content: bytes = file.read(size)
        return content


def sweep(folder: Path) -> int:
    """Remove what writers that are no more left below a folder; how many files that were."""
    if not is_local(folder) or not folder.is_dir():
        return 0
    left = [path for path in folder.rglob(".*.tmp") if _abandoned(path.name)]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name}.{_host()}-{os.getpid()}.tmp")


def _abandoned(name: str) -> bool:
    """Whether the process that writes under this name has ended; those of other machines may live."""
    draft = _DRAFT.fullmatch(name)
    return draft is not None and draft["host"] == _host() and not _lives(int(draft["pid"]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
