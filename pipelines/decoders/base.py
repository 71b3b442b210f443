"""What all decoders share: the sound that they give, and the error of what cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int16]  # samples in steps of 1 / 32768
Frames = NDArray[np.float32] | NDArray[np.int16]  # [frames, channels]
BLOCK = 2**17  # samples of all channels that are decoded at once
PREROLL_S = 0.5  # MP3 and AAC need the frames before a cut to decode its beginning


class AudioError(ValueError):
    """A recording that cannot be used. The message is a short reason without the path.

    Attributes:
        passing: the same file may work another time: it could not be read, or it changed meanwhile.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True)
class Sound:
    """A recording that is being read."""

    rate: int
    blocks: Iterator[Frames]
    full_scale: float = 32767 / 32768  # the greatest sample
    step: float = 1 / 32768  # between two samples


def bounds(start_s: float, end_s: float | None, rate: int, frames: int) -> tuple[int, int]:
    """First frame of the cut and the one after its last."""
    start = round(start_s * rate)
    end = frames if end_s is None else min(frames, round(end_s * rate))
    if start and start >= frames:
        raise AudioError(f"cut {span(start_s, end_s)} lies after the end at {frames / rate:.1f} s")
    return start, end


def span(start_s: float, end_s: float | None) -> str:
    """A cut as messages name it."""
    return f"{start_s:.1f}-{'end' if end_s is None else f'{end_s:.1f} s'}"
