"""A FLAC whose frames are stored as they are, without its tags (RFC 9639)."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from pipelines.decoders import base
from pipelines.decoders.base import AudioError, Sound, Steps
from pipelines.decoders.raw import Raw
from slap_model import flac

AT_ONCE = 2**23  # samples, nearly nine minutes
FLAC_BLOCKS = 1000  # of metadata; a FLAC with more of them is not copied
SYNC_WORDS = 64  # that may look like a frame's begin in the last few of a FLAC; more are no sound, and take long


@dataclass(frozen=True)
class OriginalFlac:
    """Where the audio of a FLAC lies."""

    raw: Raw
    streaminfo: bytes
    frames_at: int

    @property
    def samples(self) -> int:
        """How many its header promises."""
        return _bits(self.streaminfo, 108, 36)

    def sound(self, rate: int) -> Sound | None:
        """Its samples by dr_flac, which takes two thirds of libsndfile's time.

        None where they are too many to be held at once.

        Raises:
            AudioError: the trainer could not decode what would be stored.
        """
        if self.raw.content is None or self.samples > AT_ONCE:
            return None
        try:
            steps = flac.decode(self._packed)
        except flac.FlacError as error:
            raise AudioError(f"not audio or corrupt: {error}") from error
        return Sound(rate, (steps[at : at + base.BLOCK, None] for at in range(0, len(steps), base.BLOCK)))

    def copy(self, steps: Iterator[Steps]) -> bytes:
        """The FLAC without any metadata but its STREAMINFO, once all its samples have been decoded and agree."""
        digest, samples = hashlib.md5(usedforsecurity=False), 0
        for block in steps:
            digest.update(block.astype("<i2", copy=False).data)
            samples += len(block)
        if digest.digest() != self.streaminfo[18:34] or samples != self.samples:
            raise AudioError("not audio or corrupt: FLAC whose samples are not those that its header promises")
        return self._packed

    @cached_property
    def _packed(self) -> bytes:
        copied = io.BytesIO()
        copied.write(b"fLaC\x80\x00\x00\x22" + self.streaminfo)  # the last metadata block, of 34 bytes
        self.raw.file.seek(self.frames_at)
        shutil.copyfileobj(self.raw.file, copied, 2**20)
        return copied.getvalue()


def to_copy(raw: Raw, rate: int) -> OriginalFlac | None:
    """A FLAC that can be stored as it is: of this rate, mono, 16 bit, with an MD5, and nothing behind its frames."""
    if not raw.head.startswith(b"fLaC"):
        return None
    file, at, last, streaminfo = raw.file, 4, False, b""
    for _ in range(FLAC_BLOCKS):  # RFC 9639, section 8
        if last:
            break
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return None
        last, kind, size = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:])
        if kind == 0:
            streaminfo = file.read(size)
        at += 4 + size
    if not last or len(streaminfo) != 34 or not any(streaminfo[18:]) or not _bits(streaminfo, 108, 36):
        return None
    form = (_bits(streaminfo, 80, 20), _bits(streaminfo, 100, 3) + 1, _bits(streaminfo, 103, 5) + 1)
    if form != (rate, 1, 16) or not _ends_with_a_frame(raw, at, _bits(streaminfo, 16, 16)):
        return None
    return OriginalFlac(raw, streaminfo, at)


def _ends_with_a_frame(raw: Raw, frames_at: int, samples: int) -> bool:
    """Whether the last byte of a FLAC is that of a frame: behind it may stand an ID3 tag with a name."""
    longest = 4 * samples + 64  # bytes of a frame of 16-bit samples, generously
    begin = max(frames_at, raw.size - longest)
    raw.file.seek(begin)
    tail = raw.file.read(longest)
    begins = [found.start() for found in re.finditer(rb"\xff[\xf8\xf9]", tail)]
    return any(_crc16(tail[begin:]) == 0 for begin in reversed(begins[-SYNC_WORDS:]))  # the last frame is the shortest


def _crc16(content: bytes) -> int:
    """CRC of a FLAC frame (x^16 + x^15 + x^2 + 1); 0 over frames that end with theirs. Halves are joined pairwise."""
    crcs = _append_zeros(0)[np.frombuffer(content, np.uint8).astype(np.uint16) << 8]
    level = 0
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, np.uint16), crcs])  # zeros in front change nothing
        crcs = _append_zeros(level)[crcs[::2]] ^ crcs[1::2]
        level += 1
    return int(crcs[0])


@cache
def _append_zeros(level: int) -> NDArray[np.uint16]:
    """[65536] the CRC after 2 ** level more bytes that are zero, of each CRC before them."""
    if level:
        half = _append_zeros(level - 1)
        return half[half]
    crcs = np.arange(65536)
    for _ in range(8):
        crcs = (crcs << 1) ^ np.where(crcs & 0x8000, 0x18005, 0)
    return crcs.astype(np.uint16)


def _bits(content: bytes, at: int, count: int) -> int:
    """A number of ``count`` bits, ``at`` bits from the beginning, big-endian."""
    return (int.from_bytes(content) >> (8 * len(content) - at - count)) & ((1 << count) - 1)
