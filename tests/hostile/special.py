"""Recordings that are built to hurt, one for each idea: bombs, claims of 100 hours, files that are none."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tests.hostile.mutate import (
    CLAIMED_S,
    RATE,
    Field,
    boxes,
    flac_bomb,
    flac_fields,
    ogg_repair,
    opus_bomb,
    pages,
    sound,
)

FRAMES = CLAIMED_S * RATE  # 100 hours


def _flac_claims() -> bytes:
    told = bytearray(sound("flac"))
    next(field for field in flac_fields(sound("flac")) if field.name == "frames").put(told, FRAMES)
    return bytes(told)


def _wav_claims() -> bytes:
    return b"RIFF\xff\xff\xff\xff" + sound("wav")[8:40] + struct.pack("<I", 2**32 - 2) + sound("wav")[44:]


def _rf64_claims() -> bytes:
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 2 * FRAMES + 100, 2 * FRAMES, FRAMES, 0)
    head = b"RF64\xff\xff\xff\xffWAVE" + ds64 + sound("wav")[12:36] + b"data\xff\xff\xff\xff"
    return head + sound("wav")[44:]


def _aiff_claims() -> bytes:
    told = bytearray(sound("aiff"))
    at = told.find(b"COMM")
    told[at + 10 : at + 14] = struct.pack(">I", 2**32 - 1)
    at = told.find(b"SSND")
    told[at + 4 : at + 8] = struct.pack(">I", 2**32 - 1)
    return bytes(told)


def _sphere_claims() -> bytes:
    return (
        re.sub(rb"sample_count -i \d+", b"sample_count -i %d" % FRAMES, sound("sphere"))[:1024].ljust(1024)
        + (sound("sphere")[1024:])
    )


def _nsp_claims() -> bytes:
    told = bytearray(sound("kay nsp"))
    told[44:48] = struct.pack("<I", 2**32 - 1)
    return bytes(told)


def _ogg_claims(kind: str) -> bytes:
    """The last page says that 100 hours, or all that 63 bits can say, lie before it."""
    told = bytearray(sound(kind))
    at, _ = pages(sound(kind))[-1]
    told[at + 6 : at + 14] = struct.pack("<Q", 48_000 * CLAIMED_S if kind == "opus" else 2**63 - 1)
    return ogg_repair(bytes(told))


def _mp3_claims() -> bytes:
    frame = sound("mp3")[:4] + bytes(32) + b"Xing" + struct.pack(">III", 3, 2**32 - 1, 2**32 - 1)
    return frame.ljust(418, b"\0") + sound("mp3")


def _mp4_claims(name: bytes) -> bytes:
    """All numbers of a table of samples, times or chunks are as great as can be."""
    content = sound("m4a")
    told = bytearray(content)
    for at, box, size, _ in boxes(content, 0, len(content)):
        if box == name:
            for place in range(at + 12, at + size - 3, 4):
                Field("", place, 4, True).put(told, 2**31 - 1)
    return bytes(told)


def _mp4_many_samples() -> bytes:
    """178 million samples of no bytes in one chunk: an index of four gigabytes out of a file of four kilobytes."""
    content = bytearray(sound("m4a"))
    for at, box, _, _ in boxes(bytes(content), 0, len(content)):
        if box == b"stsz":
            content[at + 12 : at + 20] = struct.pack(">II", 1, 178_000_000)
        elif box in (b"stts", b"stsc"):
            content[at + 16 : at + 24] = struct.pack(">II", 178_000_000 if box == b"stts" else 1, 178_000_000)
    return bytes(content)


def _nested(name: bytes, depth: int) -> bytes:
    head = sound("m4a")[:32]
    return head + b"".join(struct.pack(">I", 8 * (depth - n)) + name for n in range(depth))


def _flac_tail() -> bytes:
    """Behind the last frame of a FLAC, a quarter of a megabyte of what may be the beginning of one."""
    told = bytearray(sound("flac"))
    told[8:12] = struct.pack(">HH", 65_535, 65_535)
    return bytes(told) + b"\xff\xf8\xc9\x08\0" * 52_000


def _flac_pictures() -> bytes:
    """A thousand pictures of 16 MB each, as their headers say."""
    content = sound("flac")
    return content[:42] + (b"\x06\xff\xff\xff" + struct.pack(">II", 3, 2**31) + bytes(64)) * 1_000 + content[42:]


def _channels(count: int) -> bytes:
    """A WAV of so many channels."""
    samples = np.random.default_rng(0).integers(-9000, 9000, (400, count)).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 1, count, RATE, 2 * RATE * count % 2**32, 2 * count % 65_536, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def _rate(rate: int) -> bytes:
    told = bytearray(sound("wav"))
    told[24:28] = struct.pack("<I", rate)
    return bytes(told)


def _playlist(target: Path | str) -> bytes:
    """An MP4 for whoever looks at its first bytes, a playlist for whoever looks further."""
    manifest = (
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        b'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static" '
        b'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4">'
        b'<Representation id="1" bandwidth="1"><BaseURL>%s</BaseURL></Representation></AdaptationSet></Period></MPD>'
    )
    return b"\0\0\0\x1cftypM4A \0\0\x02\0M4A isomiso2" + manifest % os.fsencode(str(target))


BYTES: dict[str, Callable[[], bytes]] = {
    "100 hours of constant FLAC": lambda: flac_bomb(100),
    "100 hours of constant FLAC, length not stated": lambda: flac_bomb(100, claims=False),
    "100 hours of constant FLAC at 8 kHz": lambda: flac_bomb(100, 8_000),
    "constant FLAC of 3 hours": lambda: flac_bomb(3),
    "100 hours of silent Opus packets": lambda: opus_bomb(100),
    "FLAC claims 100 hours": _flac_claims,
    "WAV claims 4 GB": _wav_claims,
    "RF64 claims 100 hours": _rf64_claims,
    "AIFF claims 4 GB": _aiff_claims,
    "SPHERE claims 100 hours": _sphere_claims,
    "NSP claims 2^32 frames": _nsp_claims,
    "Opus claims 100 hours": lambda: _ogg_claims("opus"),
    "Vorbis claims 2^63 frames": lambda: _ogg_claims("vorbis"),
    "MP3 claims 2^32 frames": _mp3_claims,
    **{f"MP4 claims 2^31 in {name}": partial(_mp4_claims, name.encode()) for name in ("stsz", "stts", "stsc")},
    "MP4 of 178 million samples": _mp4_many_samples,
    "MP4 boxes in boxes": lambda: _nested(b"moov", 100_000),
    "MP4 tracks in tracks": lambda: _nested(b"trak", 100_000),
    "Matroska elements in elements": lambda: (
        sound("webm")[:40] + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 50_000
    ),
    "FLAC with a tail of frame headers": _flac_tail,
    "FLAC with endless pictures": _flac_pictures,
    "ID3 of 256 MB": lambda: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + sound("mp3"),
    "ID3 tags in a row": lambda: b"ID3\x04\0\0\0\0\0\0" * 100_000 + sound("mp3"),
    "MP3 of nothing but sync words": lambda: b"\xff\xfb\x90\x00" * 250_000,
    "ADTS of nothing but headers": lambda: b"\xff\xf1\x50\x40\x00\xff\xfc" * 150_000,
    **{f"WAV of {count} channels": partial(_channels, count) for count in (0, 256, 1024, 1025, 65_535)},
    **{f"WAV at {rate} Hz": partial(_rate, rate) for rate in (0, 1, 200_001, 2**31 - 1, 2**32 - 1)},
    "playlist of a local file": lambda: _playlist("file:///etc/hostname"),
    "playlist of a host": lambda: _playlist("http://127.0.0.1:9/x.m4a"),
    "concatenation of a local file": lambda: b"ffconcat version 1.0\nfile /etc/hostname\n",
    "half a megabyte of zeros": lambda: bytes(2**19),
    "half a megabyte of 0xFF": lambda: b"\xff" * 2**19,
}


def put(name: str, folder: Path) -> Path:
    """Write one of `BYTES` or `FILES` into a folder."""
    path = folder / "x.wav"
    if name in BYTES:
        path.write_bytes(BYTES[name]())
    else:
        FILES[name](path)
    return path


def _sparse(path: Path) -> None:
    """A WAV of 100 hours that takes no room: a hole of 11.5 GB behind a header."""
    path.write_bytes(_rf64_claims())
    os.truncate(path, 2 * FRAMES + 100)


def _sparse_noise(path: Path) -> None:
    path.write_bytes(sound("wav")[:4] + b"\xff" * 100)
    os.truncate(path, 20 * 2**30)


def _to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _to_itself(path: Path) -> None:
    path.symlink_to(path)


def _long_header(path: Path) -> None:
    """A WFDB signal whose text header is a hole of 20 GB."""
    path.with_suffix(".dat").write_bytes(sound("wfdb"))
    path.with_suffix(".hea").touch()
    os.truncate(path.with_suffix(".hea"), 20 * 2**30)
    path.symlink_to(path.with_suffix(".dat"))


FILES: dict[str, Callable[[Path], None]] = {
    "100 hours of WAV, a hole": _sparse,
    "20 GB that are no audio": _sparse_noise,
    "link to /dev/zero": _to_zeros,
    "link to itself": _to_itself,
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
}
