"""Broken recordings, made on purpose: every format that `pipelines.audio` reads, mutated by what its container holds.

A mutant is named by two numbers, ``<seed>-<number>``, and made again from them alone: `mutant`.

Blind mutations (bits, blocks, cuts, splices of two formats) are found out by the first magic number or checksum. So
each container is parsed here into the fields that a decoder believes (sizes, counts, rates, channels, positions), one
of them is set to a value that somebody forgot to think of, and the checksums are mended, so that the lie gets as far
as the decoder. A coverage-guided mutator would need decoders built with its instrumentation; those in the wheels of
soundfile and PyAV are not, and coverage of Python alone sees nothing of them.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
CLAIMED_S = 360_000  # 100 hours
Random = np.random.Generator


@dataclass(frozen=True)
class Mutant:
    """A recording to be refused or read, with the files that lie beside it."""

    id: str
    format: str
    steps: tuple[str, ...]  # what was done to the sound file of that format
    name: str  # of the file
    content: bytes
    beside: dict[str, bytes] = field(default_factory=dict)  # files that belong to it: the header of a WFDB record


@dataclass(frozen=True)
class Field:
    """An unsigned number inside a container: ``bits`` of it, ``shift`` above the lowest, in ``size`` bytes."""

    name: str
    at: int
    size: int
    big: bool = False
    shift: int = 0
    bits: int = 0  # 0: all of them

    @property
    def width(self) -> int:
        """How many bits the number has."""
        return self.bits or 8 * self.size

    def get(self, content: bytes) -> int:
        """The number as it stands."""
        whole = int.from_bytes(content[self.at : self.at + self.size], "big" if self.big else "little")
        return (whole >> self.shift) & ((1 << self.width) - 1)

    def put(self, content: bytearray, value: int) -> None:
        """Write another number in its place; the bits around it stay."""
        order: Any = "big" if self.big else "little"
        whole = int.from_bytes(content[self.at : self.at + self.size], order)
        mask = ((1 << self.width) - 1) << self.shift
        whole = (whole & ~mask) | ((value << self.shift) & mask)
        content[self.at : self.at + self.size] = whole.to_bytes(self.size, order)


Fields = Callable[[bytes], list[Field]]
Trick = Callable[[bytes, Random], bytes]  # a mutation that only this container knows


@dataclass(frozen=True)
class Format:
    """How the files of one format are made, and what is known of them."""

    ending: str
    make: Callable[[], bytes]
    fields: Fields = lambda content: []
    tricks: tuple[Trick, ...] = ()
    repair: Callable[[bytes], bytes] = lambda content: content


def mutant(number: int, seed: int = 0) -> Mutant:
    """The mutant of that number; formats go in turn."""
    rng = np.random.default_rng((seed, number))
    names = list(FORMATS)
    kind = names[number % len(names)]
    form = FORMATS[kind]
    content, steps = sound(kind), []
    for _ in range(int(rng.choice([1, 1, 1, 2, 2, 3]))):
        said, content = _step(content, kind, rng)
        steps.append(said)
    if rng.random() < 0.7:
        content = form.repair(content)
    beside = {}
    if kind == "wfdb":
        header, said = _absurd_header(WFDB_HEADER, rng) if rng.random() < 0.8 else (WFDB_HEADER, "")
        beside, steps = {"x.hea": header}, [*steps, *filter(None, [said])]
        if said and rng.random() < 0.7:
            content = sound(kind)  # a lie about whole samples
    return Mutant(f"{seed}-{number}", kind, tuple(steps), f"x.{form.ending}", content, beside)


@cache
def sound(kind: str) -> bytes:
    """The unbroken recording from which the mutants of a format are made."""
    return FORMATS[kind].make()


def _step(content: bytes, kind: str, rng: Random) -> tuple[str, bytes]:
    """One mutation: of a field, by a trick of the container, or blind."""
    form = FORMATS[kind]
    fields, chance = form.fields(content), rng.random()
    if fields and chance < 0.55:
        chosen = fields[rng.integers(len(fields))]
        return _lie(content, chosen, rng)
    if form.tricks and chance < 0.75:
        trick = form.tricks[rng.integers(len(form.tricks))]
        return trick.__name__.strip("_"), trick(content, rng)
    blind = BLIND[rng.integers(len(BLIND))]
    return blind.__name__.strip("_"), blind(content, rng)


def _lie(content: bytes, chosen: Field, rng: Random) -> tuple[str, bytes]:
    old, top = chosen.get(content), (1 << chosen.width) - 1
    values = [0, 1, 2, top, top - 1, top >> 1, (top >> 1) + 1, old - 1, old + 1, 2 * old, old // 2, old * 65_536]
    values += [old ^ (1 << int(rng.integers(chosen.width))), int(rng.integers(min(top, 2**63 - 1) + 1))]
    values += [CLAIMED_S * RATE, 2 * CLAIMED_S * RATE, CLAIMED_S]
    value = values[rng.integers(len(values))] & top
    told = bytearray(content)
    chosen.put(told, value)
    return f"{chosen.name} {old} -> {value}", bytes(told)


# --- blind ---------------------------------------------------------------------------------------------------


def _place(content: bytes, rng: Random) -> int:
    """A position: half of all mutations are in the first 256 bytes, where the headers are."""
    return int(rng.integers(max(1, min(len(content), 256) if rng.random() < 0.5 else len(content))))


def _bit(content: bytes, rng: Random) -> bytes:
    told = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 2, 8]))):
        if told:
            told[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(told)


def _bits_of_all(content: bytes, rng: Random) -> bytes:
    told = np.frombuffer(content, np.uint8).copy()
    hit = rng.random(len(told)) < 0.01
    told[hit] ^= rng.integers(1, 256, int(hit.sum()), dtype=np.uint8)
    return told.tobytes()


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: _place(content, rng)]


def _cut_head(content: bytes, rng: Random) -> bytes:
    at = _place(content, rng)
    return content[:4] + content[at:]


def _swap(content: bytes, rng: Random) -> bytes:
    a, b = sorted((_place(content, rng), _place(content, rng)))
    size = int(rng.integers(1, 512))
    return content[:a] + content[b : b + size] + content[a + size : b] + content[a : a + size] + content[b + size :]


def _again(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), int(rng.integers(1, 4096))
    return content[:at] + content[at : at + size] * int(rng.choice([2, 3, 20])) + content[at + size :]


def _without(content: bytes, rng: Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 512)) :]


def _filled(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), int(rng.choice([1, 2, 4, 8, 64, 1024]))
    size = min(size, len(content) - at)
    return content[:at] + bytes([int(rng.choice([0, 0x7F, 0x80, 0xFF]))]) * size + content[at + size :]


def _noise(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), int(rng.choice([4, 64, 1024, 16_384]))
    return content[:at] + rng.bytes(size) + content[at + (size if rng.random() < 0.5 else 0) :]


def _spliced(content: bytes, rng: Random) -> bytes:
    """The beginning of this and the end of another format, or another one in the middle of this."""
    other = sound(list(FORMATS)[rng.integers(len(FORMATS))])
    at = _place(content, rng)
    if rng.random() < 0.5:
        return content[:at] + other[_place(other, rng) :]
    return content[:at] + other + content[at:]


def _number(content: bytes, rng: Random) -> bytes:
    size = int(rng.choice([1, 2, 4, 8]))
    at = _place(content, rng)
    chosen = Field("number", min(at, max(0, len(content) - size)), size, bool(rng.integers(2)))
    return _lie(content, chosen, rng)[1] if len(content) >= size else content


BLIND: tuple[Trick, ...] = (
    _bit, _bits_of_all, _cut, _cut_head, _swap, _again, _without, _filled, _noise, _spliced, _number,
)  # fmt: skip


# --- WAV, AIFF and their kin -----------------------------------------------------------------------------------

CODECS = (0, 1, 2, 3, 6, 7, 0x11, 0x14, 0x31, 0x40, 0x55, 0x92, 0xFFFE, 0xFFFF)  # WAVE format tags


def _chunks(content: bytes, start: int, big: bool) -> Iterator[tuple[int, bytes, int]]:
    """(position, name, size) of the chunks of a RIFF or IFF file, as far as their sizes lead."""
    order: Any = "big" if big else "little"
    at = start
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], order)
        yield at, content[at : at + 4], size
        at += 8 + size + size % 2


def _riff_fields(content: bytes) -> list[Field]:
    found = [Field("RIFF size", 4, 4)]
    for at, name, _ in itertools.islice(_chunks(content, 12, False), 20):
        said = name.decode("latin-1")
        found.append(Field(f"{said} size", at + 4, 4))
        if name == b"fmt ":
            layout = (("tag", 2), ("channels", 2), ("rate", 4), ("byte rate", 4), ("block align", 2), ("bits", 2))
            place = at + 8
            for what, size in (*layout, ("extension", 2), ("valid bits", 2), ("mask", 4), ("sub-format", 2)):
                if place + size <= len(content):
                    found.append(Field(f"fmt {what}", place, size))
                place += size
        elif name == b"fact" and at + 12 <= len(content):
            found.append(Field("fact frames", at + 8, 4))
    return [one for one in found if one.at + one.size <= len(content)]


def _riff_codec(content: bytes, rng: Random) -> bytes:
    at = content.find(b"fmt ")
    told = bytearray(content)
    told[at + 8 : at + 10] = struct.pack("<H", int(rng.choice(CODECS)))
    if rng.random() < 0.5:
        told[at + 20 : at + 24] = struct.pack("<HH", *(int(x) for x in rng.choice([0, 1, 4, 8, 33, 256, 65_535], 2)))
    return bytes(told)


def _riff_chunk(content: bytes, rng: Random) -> bytes:
    """A chunk more, of any kind, whose size may be a lie; or one again; or lists in lists."""
    places = [at for at, _, _ in itertools.islice(_chunks(content, 12, False), 20)] or [12]
    at = places[rng.integers(len(places))]
    name = [b"LIST", b"fmt ", b"data", b"fact", b"cue ", b"smpl", b"bext", b"PEAK", b"inst", b"cart", b"ds64", b"junk"]
    body = rng.bytes(int(rng.choice([0, 1, 16, 600])))
    size = int(rng.choice([len(body), 0, 0x7FFF_FFFF, 0xFFFF_FFFF, 2**16]))
    chunk = name[rng.integers(len(name))] + struct.pack("<I", size) + body
    if rng.random() < 0.2:
        chunk = b"".join(b"LIST" + struct.pack("<I", 2**31 - 12 * n) + b"INFO" for n in range(2_000))
    return content[:at] + chunk + content[at:]


def _rf64(content: bytes, rng: Random) -> bytes:
    """The 64-bit form, with sizes of its own."""
    sizes = [int(rng.choice([0, 1, 2**31, 2**32, 2**62])) for _ in range(3)]
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, *sizes, int(rng.choice([0, 1, 2**31])))
    return b"RF64\xff\xff\xff\xff" + content[8:12] + ds64 + content[12:]


def _iff_fields(content: bytes) -> list[Field]:
    found = [Field("FORM size", 4, 4, True)]
    for at, name, _ in itertools.islice(_chunks(content, 12, True), 20):
        said = name.decode("latin-1")
        found.append(Field(f"{said} size", at + 4, 4, True))
        place = at + 8
        layout: tuple[tuple[str, int], ...] = ()
        if name == b"COMM":
            layout = (("channels", 2), ("frames", 4), ("bits", 2), ("rate exponent", 2), ("rate mantissa", 8))
        elif name == b"SSND":
            layout = (("offset", 4), ("block", 4))
        for what, size in layout:
            found.append(Field(f"{said} {what}", place, size, True))
            place += size
    return [one for one in found if one.at + one.size <= len(content)]


def _aifc(content: bytes, rng: Random) -> bytes:
    """The compressed form, with a codec of its choice."""
    at = content.find(b"COMM")
    if at < 0:
        return content
    codecs = (b"ima4", b"ulaw", b"alaw", b"fl32", b"fl64", b"GSM ", b"DWVW", b"sowt", b"in24", b"NONE", b"raw ")
    codec = codecs[rng.integers(len(codecs))]
    body = content[at + 8 : at + 26] + codec + b"\0\0"
    end = at + 26
    return content[:8] + b"AIFC" + content[12:at] + b"COMM" + struct.pack(">I", len(body)) + body + content[end:]


# --- FLAC --------------------------------------------------------------------------------------------------------


@cache
def _crc_table(polynomial: int, bits: int) -> tuple[int, ...]:
    """Table of a checksum whose highest bit goes first."""
    table = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = (value << 1) ^ (polynomial if value >> (bits - 1) else 0)
            value &= (1 << bits) - 1
        table.append(value)
    return tuple(table)


def crc(data: bytes, polynomial: int, bits: int) -> int:
    """Checksum with start value 0 and without reflection: CRC-8 and CRC-16 of FLAC, CRC-32 of Ogg."""
    table, mask, value = _crc_table(polynomial, bits), (1 << bits) - 1, 0
    for byte in data:
        value = ((value << 8) & mask) ^ table[(value >> (bits - 8)) ^ byte]
    return value


def _utf8_size(first: int) -> int:
    """Bytes of FLAC's frame number, which is written as UTF-8 writes a character."""
    return 1 if first < 0x80 else max(1, 8 - (first ^ 0xFF).bit_length())


def _flac_frame_head(content: bytes | bytearray, at: int) -> int:
    """Bytes of the frame header at a position, without its checksum."""
    head = content[at : at + 5]
    if len(head) < 5:
        return len(head)
    size = 4 + _utf8_size(head[4])
    size += {6: 1, 7: 2}.get(head[2] >> 4, 0)
    return size + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)


@cache
def _flac_frames() -> list[int]:
    """Where the frames of the sound recording begin."""
    content, found = sound("flac"), []
    for match in re.finditer(rb"\xff[\xf8\xf9]", content):
        at = match.start()
        end = at + _flac_frame_head(content, at)
        if end < len(content) and crc(content[at:end], 0x07, 8) == content[end]:
            found.append(at)
    return found


def flac_fields(content: bytes) -> list[Field]:
    info = 8  # after "fLaC" and the header of the first block
    found = [
        Field("block type", 4, 1),
        Field("STREAMINFO size", 5, 3, True),
        Field("smallest block", info, 2, True),
        Field("largest block", info + 2, 2, True),
        Field("smallest frame", info + 4, 3, True),
        Field("largest frame", info + 7, 3, True),
        Field("rate", info + 10, 8, True, 44, 20),
        Field("channels", info + 10, 8, True, 41, 3),
        Field("bits", info + 10, 8, True, 36, 5),
        Field("frames", info + 10, 8, True, 0, 36),
        Field("next block", 42, 4, True),
    ]
    for at in _flac_frames():
        end = at + _flac_frame_head(content, at)
        found += [
            Field("frame: sync", at, 2, True),
            Field("frame: block code", at + 2, 1, True, 4, 4),
            Field("frame: rate code", at + 2, 1, True, 0, 4),
            Field("frame: channels", at + 3, 1, True, 4, 4),
            Field("frame: bits code", at + 3, 1, True, 1, 3),
            Field("frame: number", at + 4, 1),
            Field("subframe", end + 1, 1),
            Field("subframe: order", end + 2, 4, True),
        ]
    return [one for one in found if one.at + one.size <= len(content)]


def _flac_block(content: bytes, rng: Random) -> bytes:
    """A metadata block more, with a size that may be a lie."""
    body = rng.bytes(int(rng.choice([0, 4, 34, 400])))
    if rng.random() < 0.5:  # comments and pictures hold lengths of their own
        body = struct.pack("<I" if rng.random() < 0.5 else ">I", int(rng.choice([0, 2**31, 2**32 - 1]))) * 8 + body
    size = int(rng.choice([len(body), 0, 2**24 - 1]))
    return content[:42] + bytes([int(rng.choice([0, 1, 2, 3, 4, 5, 6, 126, 127]))]) + size.to_bytes(3, "big") + body + (
        content[42:]
    )  # fmt: skip


def _flac_repair(content: bytes) -> bytes:
    """Right checksums for the frames that still stand where they stood."""
    told = bytearray(content)
    starts = [at for at in _flac_frames() if content[at : at + 1] == b"\xff"]
    for at, after in itertools.pairwise([*starts, len(content)]):
        end = at + _flac_frame_head(told, at)
        if end + 3 < after <= len(told):
            told[end] = crc(bytes(told[at:end]), 0x07, 8)
            told[after - 2 : after] = crc(bytes(told[at : after - 2]), 0x8005, 16).to_bytes(2, "big")
    return bytes(told)


def flac_bomb(hours: float, rate: int = RATE, *, claims: bool = True) -> bytes:
    """A valid FLAC of constant frames, 14 bytes for every 65,535 samples; as a whole it is silent but for a step.

    Args:
        hours: that it decodes to.
        rate: Hz, one that FLAC can write in 20 bits.
        claims: whether STREAMINFO says how long it is; 0 stands for "not known".
    """
    block = 65_535
    frames = round(hours * 3600 * rate / block)
    packed = (rate << 44) | (15 << 36) | (frames * block if claims else 0)
    info = struct.pack(">HH", block, block) + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    out = [b"fLaC\x80" + len(info).to_bytes(3, "big") + info]
    for number in range(frames):
        head = b"\xff\xf8\x70\x08" + _flac_number(number) + (block - 1).to_bytes(2, "big")
        frame = head + bytes([crc(head, 0x07, 8), 0]) + (20_000 * (number % 2)).to_bytes(2, "big")
        out.append(frame + crc(frame, 0x8005, 16).to_bytes(2, "big"))
    return b"".join(out)


def _flac_number(number: int) -> bytes:
    return number.to_bytes(1, "big") if number < 128 else chr(number).encode("utf-8", "surrogatepass")


# --- MP3 -----------------------------------------------------------------------------------------------------------


def _mp3_frames(content: bytes) -> list[int]:
    return [match.start() for match in re.finditer(rb"\xff[\xf2\xf3\xfa\xfb]", content)][:40]


def _mp3_fields(content: bytes) -> list[Field]:
    found = []
    for at in _mp3_frames(content):
        bits = (("version", 19, 2), ("layer", 17, 2), ("bitrate", 12, 4), ("rate", 10, 2), ("mode", 6, 2))
        found += [Field(f"frame {what}", at, 4, True, shift, size) for what, shift, size in bits]
        found += [Field("side information", at + 4 + skip, 4, True) for skip in (0, 4, 8, 12)]
    for tag in (b"Xing", b"Info", b"VBRI"):
        at = content.find(tag)
        if at >= 0:
            said = tag.decode()
            found += [
                Field(f"{said} {what}", at + n, 4, True) for what, n in (("flags", 4), ("frames", 8), ("bytes", 12))
            ]
            found += [Field(f"{said} gap", at + 120 + 21, 3, True)]
    return [one for one in found if one.at + one.size <= len(content)]


def _mp3_tag(content: bytes, rng: Random) -> bytes:
    """An ID3v2 or APE tag before or after it, with sizes that may be lies."""
    body = rng.bytes(int(rng.choice([0, 10, 300])))
    size = int(rng.choice([len(body), 0, 2**28 - 1, 2**20]))
    safe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    inner = (b"TXXX", b"APIC", b"GEOB", b"PRIV")[rng.integers(4)] + struct.pack(">IH", int(rng.choice([0, 2**31])), 0)
    tag = b"ID3" + bytes([int(rng.choice([2, 3, 4, 255])), 0, int(rng.choice([0, 0x40, 0x80, 0xFF]))]) + safe + inner
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, *(int(x) for x in rng.choice([0, 2**31, 2**32 - 1], 3))) + bytes(8)
    return [tag + body + content, tag * 500 + content, ape + content, content + ape, content + b"TAG" + rng.bytes(125)][
        rng.integers(5)
    ]


def _mp3_xing(content: bytes, rng: Random) -> bytes:
    """A first frame of no sound that says how long the rest is."""
    at = (_mp3_frames(content) or [0])[0]
    frame = content[at : at + 4] + bytes(32) + (b"Xing", b"Info")[rng.integers(2)]
    counts = [int(x) for x in rng.choice([0, 1, 2**31, 2**32 - 1], 2)]
    frame += struct.pack(">III", 15, *counts) + bytes(100) + struct.pack(">I", int(rng.choice([0, 100]))) + b"LAME" + (
        rng.bytes(32)
    )  # fmt: skip
    return content[:at] + frame.ljust(418, b"\0") + content[at:]


# --- Ogg -----------------------------------------------------------------------------------------------------------


def pages(content: bytes) -> list[tuple[int, int]]:
    """Where the pages begin and end, by their lacing."""
    found, at = [], content.find(b"OggS")
    while at >= 0 and at + 27 <= len(content):
        segments = content[at + 26]
        end = at + 27 + segments + sum(content[at + 27 : at + 27 + segments])
        found.append((at, min(end, len(content))))
        at = content.find(b"OggS", at + 4)
    return found[:60]


def ogg_repair(content: bytes) -> bytes:
    told = bytearray(content)
    for at, end in pages(content):
        told[at + 22 : at + 26] = bytes(4)
        told[at + 22 : at + 26] = crc(bytes(told[at:end]), 0x04C11DB7, 32).to_bytes(4, "little")
    return bytes(told)


OGG_HEADS: tuple[tuple[bytes, tuple[tuple[str, int, int], ...]], ...] = (
    (
        b"\x01vorbis",
        (("version", 7, 4), ("channels", 11, 1), ("rate", 12, 4), ("bitrate", 16, 4), ("blocks", 28, 1)),
    ),
    (b"OpusHead", (("version", 8, 1), ("channels", 9, 1), ("skip", 10, 2), ("rate", 12, 4), ("gain", 16, 2))),
    (b"OpusHead", (("mapping", 18, 1), ("streams", 19, 1), ("coupled", 20, 1))),
    (b"\x03vorbis", (("vendor", 7, 4), ("comments", 11, 4))),
    (b"OpusTags", (("vendor", 8, 4), ("comments", 12, 4))),
)


def _ogg_fields(content: bytes) -> list[Field]:
    found = []
    for at, end in pages(content):
        layout = (("version", 4, 1), ("flags", 5, 1), ("granule", 6, 8), ("serial", 14, 4), ("number", 18, 4))
        found += [Field(f"page {what}", at + n, size) for what, n, size in (*layout, ("segments", 26, 1))]
        found += [Field("lacing", at + 27 + n, 1) for n in range(min(8, content[at + 26]))]
        found += [Field("packet", n, 4) for n in range(at + 27 + content[at + 26], min(end - 4, at + 90), 4)]
    for head, layout in OGG_HEADS:
        at = content.find(head)
        if at >= 0:
            found += [Field(f"{head[-7:].decode('latin-1').strip()} {what}", at + n, s) for what, n, s in layout] * 3
    return [one for one in found if one.at + one.size <= len(content)]


def _ogg_pages(content: bytes, rng: Random) -> bytes:
    """Pages twice, gone or in another order."""
    found = [content[at:end] for at, end in pages(content)]
    if not found:
        return content
    a, b = (int(x) for x in rng.integers(len(found), size=2))
    choice = rng.integers(4)
    if choice == 0:
        found.insert(a, found[b])
    elif choice == 1:
        del found[a]
    elif choice == 2:
        found[a], found[b] = found[b], found[a]
    else:
        found = found[:a] + [found[b]] * 200 + found[a:]
    return b"".join(found)


def _ogg_chained(content: bytes, rng: Random) -> bytes:
    """A stream of another codec after it, or between its pages."""
    other = sound(("vorbis", "opus")[rng.integers(2)])
    found = pages(content) or [(0, len(content))]
    at = found[rng.integers(len(found))][0] if rng.random() < 0.5 else len(content)
    return content[:at] + other + content[at:]


def _ogg_lacing(content: bytes, rng: Random) -> bytes:
    """A page of 255 segments of one size each: packets without bytes, or one that never ends."""
    size = int(rng.choice([0, 1, 255]))
    page = (
        b"OggS\0" + bytes([int(rng.choice([0, 1, 2, 4, 5]))]) + rng.bytes(8) + content[14:18] + rng.bytes(4) + bytes(4)
    )
    page += b"\xff" + bytes([size]) * 255 + rng.bytes(255 * size)
    found = pages(content) or [(0, len(content))]
    at = found[rng.integers(len(found))][1]
    return content[:at] + page * int(rng.choice([1, 5])) + content[at:]


def opus_bomb(hours: float) -> bytes:
    """Opus of packets that hold one byte and decode to 120 ms of silence each; the last granule claims all of it."""
    serial = b"\0\0\0\1"
    head = b"OpusHead\x01\x01" + struct.pack("<HIhB", 312, 48_000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 4) + b"bomb" + struct.pack("<I", 0)
    out = [_page(0, 2, serial, 0, [head]), _page(0, 0, serial, 1, [tags])]
    count = round(hours * 3600 / 0.12)
    granule = 0
    for number, first in enumerate(range(0, count, 127), start=2):
        packets = [b"\x1b\x02"] * min(127, count - first)  # SILK, 60 ms, two frames a packet, no bytes in them
        granule += 5760 * len(packets)
        out.append(_page(granule, 4 if first + 127 >= count else 0, serial, number, packets))
    return b"".join(out)


def _page(granule: int, flags: int, serial: bytes, number: int, packets: list[bytes]) -> bytes:
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS\0" + bytes([flags]) + struct.pack("<Q", granule) + serial + struct.pack("<II", number, 0)
    return ogg_repair(head + bytes([len(lacing)]) + lacing + b"".join(packets))


# --- MP4, bare AAC, Matroska ---------------------------------------------------------------------------------------

BOXES = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"mvex", b"moof", b"traf"))


LEAVES = frozenset(
    (b"stsz", b"stts", b"stsc", b"stco", b"co64", b"ctts", b"elst", b"sidx", b"trun", b"meta", b"esds", b"mdat",
     b"free", b"cmov", b"uuid", b"tfhd", b"trex", b"keys", b"ilst", b"dref", b"pssh")
)  # fmt: skip


def boxes(content: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[int, bytes, int, int]]:
    """(position, name, size, depth) of the boxes of an MP4, those inside others after them."""
    at = start
    while at + 8 <= end and depth < 12:
        size = int.from_bytes(content[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        if size < 8:
            return
        yield at, name, size, depth
        if name in BOXES:
            yield from boxes(content, at + 8, min(end, at + size), depth + 1)
        at += size


def _mp4_fields(content: bytes) -> list[Field]:
    found = []
    for at, name, size, _ in itertools.islice(boxes(content, 0, len(content)), 60):
        said = name.decode("latin-1")
        found += [Field(f"{said} size", at, 4, True)] * 2
        if name not in BOXES and name != b"mdat":
            found += [Field(f"{said}+{n}", at + n, 4, True) for n in range(8, min(size, 72) - 3, 4)]
    return [one for one in found if one.at + one.size <= len(content)]


def _mp4_box(content: bytes, rng: Random) -> bytes:
    """A box more (any name, any size), one again, or boxes in boxes."""
    found = list(itertools.islice(boxes(content, 0, len(content)), 60))
    at, _, size, _ = found[rng.integers(len(found))] if found else (0, b"", len(content), 0)
    names = sorted(BOXES | LEAVES)
    choice = rng.integers(4)
    if choice == 0:
        return content[: at + size] + content[at : at + size] * int(rng.choice([1, 40])) + content[at + size :]
    if choice == 1:
        name, depth = names[rng.integers(len(names))], int(rng.choice([10, 200, 20_000]))
        nest = b"".join(struct.pack(">I", 8 * (depth - n)) + name for n in range(depth))
        return content[:at] + nest + content[at:]
    counts = struct.pack(">III", 0, *(int(x) for x in rng.choice([0, 1, 2**16, 2**31, 2**32 - 1], 2)))
    body = counts + rng.bytes(int(rng.choice([0, 12, 100])))
    size = int(rng.choice([8 + len(body), 0, 1, 7, 2**31, 2**32 - 1]))
    return content[:at] + struct.pack(">I", size) + names[rng.integers(len(names))] + body + content[at:]


def _adts_fields(content: bytes) -> list[Field]:
    found = []
    for match in itertools.islice(re.finditer(rb"\xff[\xf0\xf1\xf8\xf9]", content), 30):
        at = match.start()
        bits = (("profile", 38, 2), ("rate", 34, 4), ("channels", 30, 3), ("size", 13, 13), ("buffer", 2, 11))
        found += [Field(f"frame {what}", at, 7, True, shift, size) for what, shift, size in (*bits, ("blocks", 0, 2))]
        found += [Field("element", at + 7, 4, True)]
    return [one for one in found if one.at + one.size <= len(content)]


MASTER = frozenset((0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0xAE, 0xE1, 0x1F43B675, 0x1C53BB6B, 0x1254C367))


def _vint(content: bytes, at: int, marked: bool) -> tuple[int, int]:
    """(value, bytes) of an EBML number; an id keeps its length mark."""
    first = content[at] if at < len(content) else 0
    size = 9 - first.bit_length() if first else 8
    value = int.from_bytes(content[at : at + size], "big")
    return (value if marked else value & ((1 << 7 * size) - 1)), size


def _elements(content: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """(position, id, bytes of the id, bytes of the size) of the elements of a Matroska file."""
    at = start
    while at + 2 <= end and depth < 8:
        name, a = _vint(content, at, True)
        size, b = _vint(content, at + a, False)
        yield at, name, a, b
        if name in MASTER:
            yield from _elements(content, at + a + b, min(end, at + a + b + size), depth + 1)
        at += a + b + size


def _mkv_fields(content: bytes) -> list[Field]:
    found = []
    for at, name, a, b in itertools.islice(_elements(content, 0, len(content)), 80):
        found.append(Field(f"{name:x} size", at + a, b, True))
        if name not in MASTER:
            size, _ = _vint(content, at + a, False)
            found.append(Field(f"{name:x}", at + a + b, max(1, min(size, 8)), True))
        found.append(Field(f"{name:x} id", at, a, True))
    return [one for one in found if one.at + one.size <= len(content)]


def _mkv_element(content: bytes, rng: Random) -> bytes:
    """An element more, of unknown size, or many in each other."""
    elements = list(itertools.islice(_elements(content, 0, len(content)), 80))
    at = elements[rng.integers(len(elements))][0] if elements else 0
    name = (b"\x18\x53\x80\x67", b"\xae", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b", b"\x63\xa2", b"\xec")[
        rng.integers(6)
    ]
    size = (b"\xff", b"\x01" + b"\xff" * 7, b"\x08\x7f\xff\xff\xff", b"\x80")[rng.integers(4)]
    return content[:at] + (name + size) * int(rng.choice([1, 50, 20_000])) + content[at:]


# --- SPHERE, Kay CSL, WFDB -----------------------------------------------------------------------------------------

WFDB_HEADER = b"x 1 16000 6400\nx.dat 16 32768(0)/NU 16 0 0 0 0 voice\n# <age>: 32\n"
ABSURD = (
    "0", "1", "-1", "2", "7", "255", "65536", "2147483647", "2147483648", "4294967296", "5760000000", "1e400", "-1e400",
    "nan", "inf", "1e-300", "99999999999999999999999999", "9" * 5000, "0x10", "", "%n%s", "../../../etc/passwd",
    "/etc/passwd", "http://127.0.0.1:9/x", "\0", "é", "16x2:3+5", "212", "8", "24", "61", "160", "516",
)  # fmt: skip


def _absurd_header(header: bytes, rng: Random) -> tuple[bytes, str]:
    """A text header with one to three of its words replaced, or a line again, gone or endless."""
    text, said = header.decode("latin-1"), []
    for _ in range(int(rng.integers(1, 4))):
        words = list(re.finditer(r"[^\s()/+]+", text))
        choice = rng.random()
        if words and choice < 0.8:
            word = words[rng.integers(len(words))]
            new = ABSURD[rng.integers(len(ABSURD))]
            text = text[: word.start()] + new + text[word.end() :]
            said.append(f"{word[0][:20]!r} -> {new[:20]!r}")
        else:
            lines = text.splitlines(keepends=True) or [""]
            at = int(rng.integers(len(lines)))
            lines[at] = (lines[at] * 2, "", lines[at] * 3_000, lines[at].strip())[rng.integers(4)]
            text = "".join(lines)
            said.append(f"line {at + 1}")
    return text.encode("utf-8" if rng.random() < 0.5 else "latin-1", "replace"), "; ".join(said)


def _sphere_header(content: bytes, rng: Random) -> bytes:
    """The text header, the first kilobyte, with other words; its size is kept, as a reader counts it."""
    head, _ = _absurd_header(content[:1024].rstrip(b"\0 \n"), rng)
    return head[: 1024 if rng.random() < 0.8 else None].ljust(1024) + content[1024:]


def _sphere_coding(content: bytes, rng: Random) -> bytes:
    codings = (b"ulaw", b"alaw", b"pcm,embedded-shorten-v2.00", b"pcm-1", b"shorten")
    coding = codings[rng.integers(len(codings))]
    line = b"sample_coding -s%d %s\n" % (len(coding), coding)
    return (
        content[:1024].rstrip(b"\0 \n").replace(b"end_head", line + b"end_head\n")[:1024].ljust(1024) + content[1024:]
    )


def _nsp_fields(content: bytes) -> list[Field]:
    found = [Field("FORM size", 8, 4)] * 2
    for at, name, _ in itertools.islice(_chunks(content, 12, False), 12):
        said = name.decode("latin-1")
        found += [Field(f"{said} size", at + 4, 4)] * 2
        if name == b"HEDR":
            found += [Field(f"HEDR {what}", at + 8 + n, s) for what, n, s in (("rate", 20, 4), ("frames", 24, 4))] * 2
            found += [Field("HEDR peak", at + 8 + 28, 2), Field("HEDR date", at + 8, 4)]
    return [one for one in found if one.at + one.size <= len(content)]


def _nsp_chunk(content: bytes, rng: Random) -> bytes:
    """A chunk more: channels that are not of one length, two headers, a note."""
    names = (b"SDA_", b"SD_B", b"SDAB", b"SD_2", b"SD_8", b"HDR8", b"HEDR", b"NOTE", b"MKA_")
    body = rng.bytes(int(rng.choice([0, 1, 2, 4, 400])))
    size = int(rng.choice([len(body), 0, 2**31, 2**32 - 1]))
    places = [at for at, _, _ in itertools.islice(_chunks(content, 12, False), 12)] or [12]
    at = places[rng.integers(len(places))] if rng.random() < 0.5 else len(content)
    return content[:at] + names[rng.integers(len(names))] + struct.pack("<I", size) + body + content[at:]


def _nsp_one_sample(content: bytes, rng: Random) -> bytes:
    """A header of many frames over a channel of one."""
    frames = int(rng.choice([2, 10**8, 2**31, 2**32 - 1]))
    header = b"Jan 01 00:00:00 2000" + struct.pack("<IIHH", RATE, frames, 1, 0xFFFF)
    chunks = b"HEDR" + struct.pack("<I", len(header)) + header + b"SDA_" + struct.pack("<I", 2) + rng.bytes(2)
    return b"FORMDS16" + struct.pack("<I", len(chunks)) + chunks


# --- sound recordings ----------------------------------------------------------------------------------------------


def _wave(seconds: float = 0.4, channels: int = 1, rate: int = RATE) -> NDArray[np.float32]:
    """A tone in noise, the same in every process: ``[frames, channels]``."""
    rng = np.random.default_rng(1)
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 220 * time)[:, None] + rng.normal(0, 0.02, (len(time), channels))
    return np.asarray(tone, np.float32)


def _by_soundfile(container: str, subtype: str, channels: int = 1) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        soundfile.write(out, _wave(channels=channels), RATE, format=container, subtype=subtype)
        return out.getvalue()

    return make


def _ogg(subtype: str) -> Callable[[], bytes]:
    def make() -> bytes:
        told = bytearray(_by_soundfile("OGG", subtype)())
        for at, _ in pages(bytes(told)):
            told[at + 14 : at + 18] = b"\0\0\0\1"  # libsndfile draws a number for each file
        return ogg_repair(bytes(told))

    return make


def _by_av(container: str, codec: str, rate: int = RATE) -> Callable[[], bytes]:
    def make() -> bytes:
        import av

        out = io.BytesIO()
        with av.open(out, "w", format=container, options={"fflags": "+bitexact"}) as file:
            stream: Any = file.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(_wave(rate=rate).T.copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        return out.getvalue()

    return make


def _nsp() -> bytes:
    samples = np.round(_wave()[:, 0] * 32_767).astype("<i2")
    header = b"Jan 01 00:00:00 2000" + struct.pack("<IIHH", RATE, len(samples), int(np.abs(samples).max()), 0xFFFF)
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body for name, body in ((b"HEDR", header), (b"SDA_", samples.tobytes()))
    )
    return b"FORMDS16" + struct.pack("<I", len(chunks)) + chunks


def _wfdb() -> bytes:
    return np.round(_wave()[:, 0] * 32_767).astype("<i2").tobytes()


RIFF = (_riff_fields, (_riff_codec, _riff_chunk, _rf64))
OGG = (_ogg_fields, (_ogg_pages, _ogg_chained, _ogg_lacing), ogg_repair)
FORMATS: dict[str, Format] = {
    "wav": Format("wav", _by_soundfile("WAV", "PCM_16"), *RIFF),
    "wav 8 bit": Format("wav", _by_soundfile("WAV", "PCM_U8"), *RIFF),
    "wav 24 bit": Format("wav", _by_soundfile("WAVEX", "PCM_24", channels=2), *RIFF),
    "wav float": Format("wav", _by_soundfile("WAV", "FLOAT", channels=2), *RIFF),
    "wav adpcm": Format("wav", _by_soundfile("WAV", "IMA_ADPCM"), *RIFF),
    "aiff": Format("wav", _by_soundfile("AIFF", "PCM_16"), _iff_fields, (_aifc,)),
    "flac": Format("flac", _by_soundfile("FLAC", "PCM_16"), flac_fields, (_flac_block,), _flac_repair),
    "mp3": Format("mp3", _by_soundfile("MP3", "MPEG_LAYER_III"), _mp3_fields, (_mp3_tag, _mp3_xing)),
    "vorbis": Format("ogg", _ogg("VORBIS"), *OGG),
    "opus": Format("opus", _ogg("OPUS"), *OGG),
    "m4a": Format("m4a", _by_av("mp4", "aac"), _mp4_fields, (_mp4_box,)),
    "aac": Format("aac", _by_av("adts", "aac"), _adts_fields),
    "webm": Format("webm", _by_av("webm", "libopus", 48_000), _mkv_fields, (_mkv_element,)),
    "sphere": Format("sph", _by_soundfile("NIST", "PCM_16"), lambda _: [], (_sphere_header, _sphere_coding) * 2),
    "kay nsp": Format("nsp", _nsp, _nsp_fields, (_nsp_chunk, _nsp_one_sample)),
    "wfdb": Format("dat", _wfdb),
    "w64": Format("wav", _by_soundfile("W64", "PCM_16")),  # and others that libsndfile tells by their content
    "caf": Format("wav", _by_soundfile("CAF", "ALAC_16")),
    "au": Format("wav", _by_soundfile("AU", "PCM_16")),
}
