"""Unpack what others packed: only files and folders, only below the folder, or not at all."""

from __future__ import annotations

import bz2
import errno
import filecmp
import gzip
import lzma
import os
import re
import shutil
import stat
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

CHUNK = 1 << 20
LONG_HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
OPENERS: dict[bytes, Callable[[BufferedReader], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
RATIO = 200  # times its own size an archive may hold; audio packs to a half at best, tables to a twentieth
SMALL = 10**9  # bytes that any archive may hold
DEPTH = 64  # folders in each other
LONGEST_NAME = 1 << 16  # bytes of a member's name, a link's target or the header that holds them
# What the file system says of a member that cannot lie where its name says, or of a name that it does not take.
OF_A_MEMBER = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
)
PIECE = re.compile(r"^(?P<archive>.+\.(?:tar|tar\.gz|tgz))\.(?P<piece>[a-z]{2})$")


def size_text(size: float) -> str:
    """A number of bytes for people: 17.9 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def free_space(folder: Path) -> int:
    """Free bytes of the disk that holds ``folder``, which need not exist."""
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def progress_bar(name: str, total: int | None, have: int = 0) -> tqdm[Any]:
    """A progress bar, silent where nobody watches."""
    return tqdm(
        desc=f"  {name}", total=total, initial=have, unit="B", unit_scale=True, disable=None, leave=False,
        dynamic_ncols=True,
    )  # fmt: skip


class ArchiveError(ValueError):
    """An archive that cannot be unpacked, or must not be."""


class NoSpaceError(ValueError):
    """An archive that holds more than there is room for."""


def unpack(archive: Path, folder: Path, free: Callable[[Path], int] = free_space) -> int:
    """Unpack a zip or tar into ``folder`` and return how many links were left out.

    Only files and folders are written. A link that stays inside is left out; everything that would leave the
    folder, every special file, a second file of one name (also where the file system holds two names for one) and
    what unpacks to more than `RATIO` times the archive are refused.

    Raises:
        ArchiveError: no such archive, a broken one, or one that must not be unpacked.
        NoSpaceError: what is in it does not fit on the disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with archive.open("rb") as opened:
        head = opened.peek(CHUNK).lstrip()
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return _unpack_zip(opened, folder, archive.name, free)
        if head.startswith(b"<"):
            raise ArchiveError("is a web page and no archive")
        return _unpack_tar(opened, folder, archive.name, archive.stat().st_size, free)


@contextmanager
def _archive_errors() -> Iterator[None]:
    """Turn what the libraries say of broken and forbidden archives into `ArchiveError`."""
    try:
        yield
    except (ArchiveError, NoSpaceError):
        raise
    except tarfile.FilterError as error:
        raise ArchiveError(f"must not be unpacked: {error}") from error
    except (
        EOFError,
        ValueError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        raise ArchiveError(f"is no whole zip or tar archive ({error})") from error
    except OSError as error:
        if error.errno in OF_A_MEMBER:
            member = Path(str(error.filename)).name[:60]
            raise ArchiveError(
                f"must not be unpacked: {member!r} cannot lie where its name says ({error.strerror})"
            ) from error
        if error.errno is not None:  # of the disk; gzip and bz2 give no number for broken data
            raise
        raise ArchiveError(f"is no whole zip or tar archive ({error})") from error


def _unpack_zip(opened: IO[bytes], folder: Path, name: str, free: Callable[[Path], int]) -> int:
    links = 0
    with _archive_errors(), zipfile.ZipFile(opened) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        _Room(opened.seek(0, os.SEEK_END), folder, free).take(size)
        with progress_bar(f"{name}: unpacking", size) as bar:
            for member in members:
                if not member.filename:
                    raise ArchiveError("must not be unpacked: a member without a name")
                kind = stat.S_IFMT(member.external_attr >> 16)
                path = _inside(member.filename, folder)
                if kind == stat.S_IFLNK:
                    if member.file_size > LONGEST_NAME:
                        raise ArchiveError(f"must not be unpacked: {member.filename!r} is a link to an endless name")
                    _inside(str(PurePosixPath(member.filename).parent / archive.read(member).decode()), folder)
                    links += 1
                elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise ArchiveError(f"must not be unpacked: {member.filename!r} is a special file")
                elif member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    with archive.open(member) as content:
                        _write(content, path)
                bar.update(member.file_size)
    return links


def _unpack_tar(
    opened: BufferedReader, folder: Path, name: str, size: int, free: Callable[[Path], int] = free_space
) -> int:
    if not hasattr(tarfile, "data_filter"):
        raise ArchiveError("cannot be unpacked safely by this Python: 3.11.4 or later is needed")
    links = 0
    with _archive_errors():
        head = opened.peek(CHUNK)
        opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
        # unlike tarfile's own streams, these check the sums inside
        plain: Any = _Counted(opener(opened) if opener else opened, _Room(size, folder, lambda _: sys.maxsize))
        written = _Room(size, folder, free)  # apart from what is read: a sparse member is long without bytes
        with (
            tarfile.open(fileobj=plain, mode="r|", tarinfo=_Member) as archive,
            progress_bar(f"{name}: unpacking", size) as bar,
        ):
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep all of a million
                path = _inside(member.name, folder)
                written.take(member.size)
                tarfile.data_filter(member, str(folder))  # refuses links out and special files
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif member.islnk():
                    with _inside(member.linkname, folder).open("rb") as other:
                        written.take(os.fstat(other.fileno()).st_size)
                        _write(other, path)
                elif member.issym():
                    links += 1
                else:
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file has content
                    _write(content, path)
                bar.update(opened.tell() - bar.n)
            while plain.read(CHUNK):
                pass  # to the end, where the sums are
    return links


class _Room:
    """How much may still come out of an archive."""

    def __init__(self, archive_bytes: int, folder: Path, free: Callable[[Path], int]) -> None:
        self._most = max(SMALL, RATIO * archive_bytes)
        self._archive, self._folder, self._free = archive_bytes, folder, free(folder)
        self._taken = 0

    def take(self, size: int) -> None:
        """Count some bytes more; raises where they are too many for the disk or for an honest archive."""
        self._taken += size
        if self._taken > self._most:
            raise ArchiveError(
                f"must not be unpacked: {size_text(self._archive)} would become {size_text(self._taken)} or more"
            )
        if self._taken > self._free:
            raise NoSpaceError(
                f"needs {size_text(self._taken)} to unpack, and {size_text(self._free)} are free in {self._folder}"
            )


class _Counted:
    """A stream that is read no further than there is room: headers and what follows the end count as well."""

    def __init__(self, stream: IO[bytes], room: _Room) -> None:
        self._stream, self._room = stream, room

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._room.take(len(content))
        return content


class _Member(tarfile.TarInfo):
    """A header of a tar. tarfile takes a broken one for the end, and reads names of any length into memory."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tarfile_)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise ArchiveError(f"is no whole zip or tar archive ({error})") from error

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in LONG_HEADERS and self.size > LONGEST_NAME:
            raise ArchiveError("must not be unpacked: a header of endless length")
        return super()._proc_member(tarfile_)  # type: ignore[misc,no-any-return]


def _inside(name: str, folder: Path) -> Path:
    """The path of a member below ``folder``.

    Raises:
        ArchiveError: the name is absolute or leads out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if len(path.parts) > DEPTH:
        raise ArchiveError(f"must not be unpacked: {name[:60]!r} and on lies more than {DEPTH} folders deep")
    depth, drive = 0, bool(path.parts) and re.fullmatch("[A-Za-z]:", path.parts[0])
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0 or path.is_absolute() or drive:
            raise ArchiveError(f"must not be unpacked: {name!r} leads out of the folder")
    return folder / os.path.normpath(path)


def _write(content: IO[bytes], path: Path) -> None:
    """Write a file that is not there yet; the same content a second time is no harm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        out = path.open("xb")
    except FileExistsError:
        if not path.is_file():
            raise ArchiveError(f"must not be unpacked: {path.name!r} is a file and a folder") from None
        with tempfile.NamedTemporaryFile(dir=path.parent) as again:
            shutil.copyfileobj(content, again, CHUNK)
            again.flush()
            if not filecmp.cmp(again.name, path, shallow=False):
                raise ArchiveError(f"must not be unpacked: two members are {path.name!r}, and differ") from None
        return
    with out:
        shutil.copyfileobj(content, out, CHUNK)


def only_folder(folder: Path) -> Path:
    """The single folder in ``folder``, or itself where it holds anything else."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def merge(source: Path, target: Path) -> None:
    """Move all of ``source`` into ``target``; folders that are in both are merged."""
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if entry.is_dir() and there.is_dir():
            merge(entry, there)
        else:
            os.replace(entry, there)


class _Chain(RawIOBase):
    """Files read one after the other as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._left = list(paths)
        self._open: IO[bytes] | None = None
        self._read = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._read

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._open is None:
                if not self._left:
                    return 0
                self._open = self._left.pop(0).open("rb")
            data = self._open.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                self._read += len(data)
                return len(data)
            self._open.close()
            self._open = None


def unpack_pieces(root: Path, folder: Path) -> int:
    """Unpack all ``x.tar.gz.aa``, ``x.tar.gz.ab``, ... below ``root`` into ``folder``, and remove them."""
    groups: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        found = PIECE.match(path.name)
        if found is not None and path.is_file():
            groups.setdefault(path.with_name(found["archive"]), []).append(path)
    links = 0
    for archive, pieces in sorted(groups.items()):
        folder.mkdir(parents=True, exist_ok=True)
        size = sum(piece.stat().st_size for piece in pieces)
        links += _unpack_tar(BufferedReader(_Chain(pieces)), folder, archive.name, size)
        for piece in pieces:
            piece.unlink()
    return links
