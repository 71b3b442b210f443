"""Archives that somebody built to write where they must not, to fill the disk or the memory, or to lose a file."""

from __future__ import annotations

import gc
import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipelines import unpack as unpacking
from pipelines.unpack import ArchiveError, NoSpaceError, unpack
from tests.hostile.run import peak, reset_peak

FEW = 64 * 2**20  # bytes that unpacking may take above what the tests already hold
GB = 2**30


def tarred(*members: tuple[Any, ...], mode: str = "w:gz", format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, content or None[, fields of its header])."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as archive:
        for name, content, *fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            for key, value in (fields[0] if fields else {}).items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header without what it announces."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def gzipped(begin: bytes, zeros: int) -> bytes:
    """Few bytes that become ``begin`` and so many megabytes of zeros."""
    return gzip.compress(begin) + gzip.compress(bytes(16 * 2**20), 1) * (zeros // 16)


def lying_zip() -> bytes:
    """A member that is longer than both of its headers say."""
    return zipped(("a.wav", bytes(2**20))).replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little"))


def overlapping_zip(count: int) -> bytes:
    """Members that are all the same megabyte of zeros, whose bytes lie there once."""
    one = zipped(("a", bytes(2**20)))
    start = one.find(b"PK\x01\x02")
    entry, end = one[start : one.find(b"PK\x05\x06")], one[one.find(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a", b"%c" % (98 + n % 20)) for n in range(count))
    sizes = count.to_bytes(2, "little") * 2 + len(entries).to_bytes(4, "little")
    return one[:start] + entries + end[:8] + sizes + end[16:]


def sparse(size: int) -> bytes:
    """A tar whose one member is all hole but for its last byte."""
    told = bytearray(header("a.wav", 512, tarfile.GNUTYPE_SPARSE))
    for at, number in ((386, 0), (398, 0), (410, size - 1), (422, 1), (483, size)):
        told[at : at + 12] = b"\x80" + number.to_bytes(11, "big")
    told[148:156] = b" " * 8
    told[148:156] = b"%06o\0 " % sum(told)
    return bytes(told) + bytes(512) + bytes(1024)


def link(target: bytes) -> bytes:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr, info.compress_type = 3, 0o120777 << 16, zipfile.ZIP_DEFLATED
    return zipped((info, target))


TAR = tarred(("a", b"x"), ("b", b"y"), mode="w")
REFUSED = {
    "tar name of 300 bytes": (tarred(("a" * 300, b"x")), "cannot lie where its name says"),
    "zip name of 300 bytes": (zipped(("ü" * 150, b"x")), "cannot lie where its name says"),
    "NUL in a name": (tarred(("ü\0b", b"x")), "embedded null byte"),
    "no name in a zip": (zipped(("Q", b"x")).replace(b"Q", b"\0"), "without a name"),
    "no name in a tar": (tarred(("", b"x")), "is a file and a folder"),
    "root as a file": (zipped(("/", b"")), "leads out of the folder"),
    "900 folders": (tarred(("/".join("a" * 900), b"x")), "more than 64 folders deep"),
    "900 folders in a zip": (zipped(("/".join("a" * 900), b"x")), "more than 64 folders deep"),
    "file, then folder": (tarred(("a", b"x"), ("a/b", b"y")), "'a' cannot lie where its name says"),
    "folder, then file": (tarred(("a/b", b"x"), ("a", b"y")), "'a' is a file and a folder"),
    "two of a name": (tarred(("a", b"x"), ("./a", b"y")), "two members are 'a', and differ"),
    "link onto a file": (
        tarred(("a", b"x"), ("b", b"y"), ("a", None, {"type": tarfile.LNKTYPE, "linkname": "b"})),
        "two members are 'a', and differ",
    ),
    "hard link to nothing": (tarred(("l", None, {"type": tarfile.LNKTYPE, "linkname": "x"})), "'x' cannot lie"),
    "hard link to itself": (tarred(("l", None, {"type": tarfile.LNKTYPE, "linkname": "l"})), "'l' cannot lie"),
    "block device": (tarred(("l", None, {"type": tarfile.BLKTYPE})), "must not be unpacked"),
    "name without end": (gzipped(header("././@LongLink", GB, tarfile.GNUTYPE_LONGNAME), 256), "endless length"),
    "pax header without end": (gzipped(header("x", GB, tarfile.XHDTYPE), 256), "endless length"),
    "link target without end": (link(b"a" * 2**20), "link to an endless name"),
    "tar.gz bomb": (gzipped(header("a.wav", 2 * GB), 2048), "would become 2.1 GB"),
    "bomb behind the end": (gzipped(header("a", 0) + bytes(1024), 128), "would become"),
    "zip that lies": (lying_zip(), "Bad CRC-32"),
    "claim of 1 EB": (header("a.wav", 2**60) + bytes(1024), "would become 1152921504.6 GB"),
    "hole of 1 EB": (sparse(2**60), "would become 1152921504.6 GB"),
    "broken header in the middle": (TAR[:1024] + b"g" * 512 + TAR[1536:], "invalid header"),
    "end in a header": (TAR[:1200], "truncated header"),
    "overlapping members": (overlapping_zip(2_000), "would become 2.1 GB"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_is_refused_in_little_memory_and_nothing_lies_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    monkeypatch.setattr(unpacking, "SMALL", 10**8)  # a bomb of a tenth of the size is built in a tenth of the time
    (tmp_path / "a").write_bytes(content)
    reset_peak()
    before = peak()
    with pytest.raises(ArchiveError, match=r"must not be unpacked|is no whole zip or tar") as caught:
        unpack(tmp_path / "a", tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert peak() - before < FEW
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) < 2**28
    assert {path.name for path in tmp_path.iterdir()} == {"a", "out"}
    shutil.rmtree(tmp_path / "out")


def test_what_fits_no_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tarred(("a.wav", bytes(300_000))))
    with pytest.raises(NoSpaceError, match="needs 300 kB to unpack, and 10 bytes are free"):
        unpack(tmp_path / "a", tmp_path / "out", lambda _: 10)


NAMES = (
    "a\nb.wav", "a\tb.wav", '"quoted".wav', "-rf", "'; DROP TABLE x.wav", "عربي.wav", "देवनागरी.wav", "😀.wav",
    "e\u0301.wav", "\u00e9.wav", "\u202egnp.wav", "a\x1b[31m.wav", "A.wav", "a.wav", " .wav", "a" * 255,
)  # fmt: skip


@pytest.mark.parametrize("make", [tarred, zipped])
def test_every_name_that_a_file_may_have_comes_out(tmp_path: Path, make: Any) -> None:
    (tmp_path / "a").write_bytes(make(*((name, name.encode()) for name in NAMES)))
    unpack(tmp_path / "a", tmp_path / "out")
    out = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    assert out == {name: name for name in NAMES}


def test_bytes_that_are_no_utf8_come_out_of_a_tar(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tarred(("a\udcff.wav", b"x"), format=tarfile.GNU_FORMAT))
    unpack(tmp_path / "a", tmp_path / "out")
    assert [bytes(path.name, "utf-8", "surrogateescape") for path in (tmp_path / "out").iterdir()] == [b"a\xff.wav"]


def test_the_same_file_twice_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(tarred(("a", b"x"), ("b", b"y"), ("./a", b"x")))
    unpack(tmp_path / "a", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"a": b"x", "b": b"y"}


def test_a_file_system_that_holds_two_names_for_one_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a Mac: A.wav and a.wav are one file. Here the file system is told so."""
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **kwargs: opened(Path(str(self).lower()), *args, **kwargs))
    (tmp_path / "a").write_bytes(tarred(("A.wav", b"x"), ("a.wav", b"y")))
    with pytest.raises(ArchiveError, match=r"two members are '[Aa]\.wav', and differ"):
        unpack(tmp_path / "a", tmp_path / "out")


def test_the_members_of_a_tar_are_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tarfile keeps a kilobyte for each member; a corpus has millions."""
    (tmp_path / "a").write_bytes(tarred(*((f"{number}.wav", b"x") for number in range(200))))
    alive: list[int] = []

    def counted(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        if member.name in ("0.wav", "199.wav"):
            alive.append(sum(isinstance(one, tarfile.TarInfo) for one in gc.get_objects()))
        return member

    monkeypatch.setattr(tarfile, "data_filter", counted)
    unpack(tmp_path / "a", tmp_path / "out")
    first, last = alive
    assert last - first < 5
