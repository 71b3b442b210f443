"""What a recording is like, measured while it is converted: block by block, in one pass.

The numbers are columns of the warehouse, because they are confounds: a corpus whose patients were recorded by telephone
and whose controls were not is told apart by bandwidth alone.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache

import _webrtcvad  # the extension itself: one call for a frame, not two
import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz, of the stored audio
# WebRTC's detector. It hears a quarter of the time: all of it would take nearly as long as the encoding.
VAD_MODE = 3  # of 0 (calls most things speech) to 3
VAD_FRAME, VAD_EVERY = 160, 640  # samples: 10 ms are heard every 40 ms
RESOLUTION = 31.25  # Hz, of the spectra of the bandwidth
SPECTRA = 16  # of a block, evenly spread
STEP = 250.0  # Hz, of the bandwidth
ABOVE_NOISE = 10.0  # power over the noise of rounding that counts as carried
SILENT = 1e-12  # power that counts as none: -120 dBFS

Samples = NDArray[np.float32] | NDArray[np.int16]


@dataclass(frozen=True)
class Measured:
    """What a recording, or the cut of it that is stored, is like."""

    seconds: float  # of the stored audio
    native_rate: int  # Hz, before resampling
    raw_sha256: str  # of the raw file's bytes
    samples_sha256: str  # of the stored samples, 16 bit, little-endian
    bandwidth: float  # Hz, at the native rate: the highest frequency that carries energy
    clipping: float  # share of native samples at full scale
    level: float  # dBFS, root mean square of the stored audio
    speech: float  # share of the stored audio that a voice activity detector calls speech


class Meter:
    """Measures a recording from its blocks. One meter is for one recording and one thread."""

    def __init__(self, rate: int, full_scale: float, step: float) -> None:
        """Begin.

        Args:
            rate: native rate, Hz.
            full_scale: the greatest value a native sample can have, of 1.
            step: distance of two native samples, of 1.
        """
        self.rate = rate
        self.full_scale = full_scale
        self.samples = 0
        self.clipped = 0
        self.stored_samples = 0
        self.beyond = 0  # stored samples that were clipped
        self._window, power = _window(rate)
        self._noise = step**2 / 12 * power  # of rounding, which is white, in every line of a spectrum
        self._spectrum = np.zeros(len(self._window) // 2 + 1)
        self._spectra = 0
        self._digest = hashlib.sha256()
        self._energy = 0.0
        self._vad = _webrtcvad.create()
        _webrtcvad.init(self._vad)
        _webrtcvad.set_mode(self._vad, VAD_MODE)
        self._waiting = np.zeros(0, np.int16)
        self._heard = 0  # frames
        self._speech = 0  # frames

    def native(self, frames: Samples, mono: Samples, low: float, high: float, scale: float) -> None:
        """Take a block at the native rate: [n, channels] that are used, their mono [n], and their least and greatest.

        ``scale`` is full scale: 32768 where samples are in steps of 16 bits.
        """
        top = self.full_scale * scale
        self.samples += frames.size
        if high >= top or low <= -top:
            self.clipped += int(np.count_nonzero((frames >= top) | (frames <= -top)))
        self._spectra_of(mono, scale)

    def stored(self, steps: NDArray[np.int16], beyond: int) -> None:
        """Take a block as it is stored: 16 kHz, 16 bit; and how many of its samples were clipped."""
        self.beyond += beyond
        content = np.ascontiguousarray(steps, dtype="<i2")
        self._digest.update(content.data)
        self.stored_samples += len(content)
        wide = content.astype(np.float64)  # squares and their sums stay exact, whatever the order of summing
        self._energy += float(wide @ wide)
        self._hear(np.concatenate([self._waiting, content]) if len(self._waiting) else content)

    def measured(self, raw_sha256: str) -> Measured:
        """All of it, once the last block is taken."""
        if not self._heard:  # shorter than what is heard at a time
            rest = np.zeros(VAD_EVERY, np.int16)
            rest[: len(self._waiting)] = self._waiting
            self._hear(rest)
        power = self._energy / 32768.0**2 / max(1, self.stored_samples)
        return Measured(
            seconds=self.stored_samples / RATE,
            native_rate=self.rate,
            raw_sha256=raw_sha256,
            samples_sha256=self._digest.hexdigest(),
            bandwidth=self._bandwidth(),
            clipping=self.clipped / max(1, self.samples),
            level=round(10 * math.log10(power + SILENT), 2),
            speech=self._speech / self._heard,
        )

    def _hear(self, steps: NDArray[np.int16]) -> None:
        end = len(steps) - len(steps) % VAD_EVERY
        content = steps[:end].reshape(-1, VAD_EVERY)[:, :VAD_FRAME].tobytes()
        size = 2 * VAD_FRAME
        for at in range(0, len(content), size):
            self._speech += _webrtcvad.process(self._vad, RATE, content[at : at + size], VAD_FRAME)
        self._heard += len(content) // size
        self._waiting = steps[end:]

    def _spectra_of(self, mono: Samples, scale: float) -> None:
        """Add the power of spectra that are evenly spread over a block."""
        from scipy.fft import rfft

        window, length = self._window, len(self._window)
        whole = mono if len(mono) >= length else np.concatenate([mono, np.zeros(length - len(mono), mono.dtype)])
        count = min(SPECTRA, len(whole) // length)
        hop = len(whole) // count
        frames = whole[: count * hop].reshape(count, hop)[:, :length]
        windowed = frames.astype(np.float32)
        windowed *= window / np.float32(scale)
        spectra = rfft(windowed, axis=1)
        self._spectrum += np.square(spectra.view(np.float32)).sum(axis=0).reshape(-1, 2).sum(axis=1)
        self._spectra += count

    def _bandwidth(self) -> float:
        carries = np.flatnonzero(self._spectrum > ABOVE_NOISE * self._noise * self._spectra)
        hertz = float(carries[-1]) * self.rate / len(self._window) if len(carries) else 0.0
        return min(self.rate / 2, STEP * round(hertz / STEP))


@cache
def _window(rate: int) -> tuple[NDArray[np.float32], float]:
    """The window of the spectra of a rate, and its power.

    It is Blackman-Harris, whose side lobes lie 92 dB down: loud speech does not leak over the cut of a low-pass.
    """
    from scipy.fft import next_fast_len
    from scipy.signal import get_window

    window = np.asarray(get_window("blackmanharris", next_fast_len(round(rate / RESOLUTION), real=True)))
    return window.astype(np.float32), float(np.square(window).sum())
