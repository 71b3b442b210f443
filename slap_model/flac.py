"""FLAC of one channel to 16-bit samples: whole by dr_flac, a part of something long by libsndfile.

dr_flac (in the wheel of `miniaudio`) decodes in little more than half the time of libsndfile
(tests/perf/read_speed.py). But it leaves out a damaged frame without a word: only who decodes to the end, and counts,
knows that nothing is missing. So its ways to jump ahead are not used, which crafted files have led astray besides
(https://github.com/mackron/dr_libs/pull/330). libsndfile jumps ahead and reports damage at once, and has the last word
on what dr_flac leaves out: it also reads frames that are longer than the header says. There is no wheel of miniaudio
for Linux on ARM; without it libsndfile decodes everything, to the same samples.
"""

from __future__ import annotations

import importlib.util
import io

import numpy as np

HAS_DR_FLAC = importlib.util.find_spec("miniaudio") is not None
# The whole of a clip by dr_flac takes as long as a part of it by libsndfile where it is about this many parts long.
WORTH = 2
# Up to here libsndfile decodes what comes before a part rather than jumping over it: finding a place in a FLAC costs as
# much as decoding about a second (tests/perf/read_speed.py).
NEAR = 16_000
LONGEST_FRAME = 65_535  # samples, in at least ten bytes (RFC 9639, section 9; STREAMINFO: section 8.2)


class FlacError(ValueError):
    """Bytes that are no whole FLAC of one channel; the message says what is wrong."""


def decode(packed: bytes) -> np.ndarray:
    """int16 ``[samples]``, all of a FLAC.

    Raises:
        FlacError: it is none, has several channels, or holds less or more than its header says.
    """
    clip = Flac(packed)
    wave = np.empty(clip.samples, np.int16)
    clip.read(0, wave)
    return wave


class Flac:
    """A FLAC in memory, of which parts are decoded.

    Raises:
        FlacError: it is none, or has several channels.
    """

    def __init__(self, packed: bytes) -> None:
        if len(packed) < 42 or packed[:4] != b"fLaC" or packed[4] & 0x7F:  # its first block is STREAMINFO
            raise FlacError("no FLAC")
        self._packed, self.size = packed, len(packed)
        streaminfo = int.from_bytes(packed[18:26])  # Hz: 20 bits, channels - 1: 3, bits - 1: 5, samples: 36
        channels, self.samples = (streaminfo >> 41 & 7) + 1, streaminfo & 2**36 - 1
        if channels != 1:
            raise FlacError(f"{channels} channels instead of one")
        if not 0 < self.samples <= LONGEST_FRAME * len(packed) // 10:
            raise FlacError(f"{self.samples} samples cannot be in {len(packed)} bytes")

    def read(self, start: int, out: np.ndarray) -> None:
        """Fill ``out``, int16 ``[count]`` without gaps, with the samples from ``start`` on.

        Raises:
            FlacError: it is damaged, or holds less or more than its header says.
        """
        if not HAS_DR_FLAC or self.samples > WORTH * len(out):
            self._read_part(start, out)
        elif len(out) == self.samples:
            self._read_all(out)
        else:
            whole = np.empty(self.samples, np.int16)
            self._read_all(whole)
            out[:] = whole[start : start + len(out)]

    def _read_all(self, out: np.ndarray) -> None:
        from miniaudio import ffi, lib

        packed = ffi.from_buffer(self._packed)  # the decoder keeps the address
        room = ffi.from_buffer("short[]", out, require_writable=True)
        decoder = lib.ma_dr_flac_open_memory(packed, len(packed), ffi.NULL)
        if not decoder:
            raise FlacError("no FLAC")
        try:
            if decoder.channels != 1:  # it would write twice as much
                raise FlacError(f"{decoder.channels} channels instead of one")
            found = lib.ma_dr_flac_read_pcm_frames_s16(decoder, len(room), room)
            more = lib.ma_dr_flac_read_pcm_frames_s16(decoder, 1, ffi.new("short[1]"))
        finally:
            lib.ma_dr_flac_close(decoder)
        if more:
            raise FlacError(f"more samples instead of {self.samples}")
        if found < len(room):
            try:
                self._read_part(0, out)
            except FlacError as error:
                raise FlacError(f"{found} samples instead of {self.samples}") from error

    def _read_part(self, start: int, out: np.ndarray) -> None:
        import soundfile

        skipped = start if start < NEAR else 0
        try:
            with soundfile.SoundFile(io.BytesIO(self._packed)) as sound:
                sound.seek(start - skipped)
                wave = sound.read(skipped + len(out), dtype="int16")[skipped:]
        except soundfile.LibsndfileError as error:
            raise FlacError(str(error)) from error
        if len(wave) < len(out):
            raise FlacError(f"{start + len(wave)} samples instead of {self.samples}")
        out[:] = wave
