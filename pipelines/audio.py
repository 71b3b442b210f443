"""Recordings in, samples out. `pipelines.decoders` knows how each format is read.

`convert` makes what is stored: 16 kHz mono 16-bit FLAC. It goes through a recording block by block, so that memory does
not depend on what a header claims. FLAC is written at level 5: level 0 encodes 4 to 28 % faster and is 2 to 5 % larger,
level 8 takes twice as long for 1 to 2 % less.

What cannot be used raises `AudioError` with a short reason and without the path, so that a caller can count
reasons; the caller knows the path.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from pipelines.decoders import flac_copy, sound_in
from pipelines.decoders.base import AudioError as AudioError
from pipelines.decoders.base import Frames, Sound, Steps
from pipelines.decoders.libsndfile import SoundFile
from pipelines.decoders.raw import opened
from pipelines.measure import RATE, Measured, Meter

Wave = NDArray[np.float32]

LONGEST_S = 4 * 3600.0  # seconds of a recording, or of a cut
FLAC_LEVEL = 5  # of 0 to 8
QUALITY = "HQ"  # of soxr
PIECE = 2**14  # samples that are resampled at once
SILENCE = 2.0 / 32768  # a recording whose samples span less than this, two steps of 16 bits, is silent


@dataclass(frozen=True)
class Converted:
    """A recording as it is stored."""

    flac: bytes  # 16 kHz, mono, 16 bit
    measured: Measured
    clipped: int  # stored samples that lay beyond full scale, and are at full scale now


def convert(
    path: Path, *, start_s: float | None = None, end_s: float | None = None, channel: int | None = None
) -> Converted:
    """Convert a recording, or a cut of it, to 16 kHz mono 16-bit FLAC, and measure it in the same pass.

    The same samples give the same bytes. Nothing is normalised; what lies beyond full scale is clipped. The frames of a
    FLAC that is already 16 kHz mono 16 bit are taken as they are, once they have been decoded to the end and agree with
    their MD5, but none of its tags and pictures, which may name the speaker.

    Args and errors are those of `decode`; a recording or cut of more than `LONGEST_S` is refused as well.
    """
    with opened(path, start_s, end_s) as raw:
        original = flac_copy.to_copy(raw, RATE) if start_s is None and end_s is None else None
        at_once = original.sound(RATE) if original else None
        with nullcontext(at_once) if at_once else sound_in(raw, start_s, end_s) as sound:
            meter = Meter(sound.rate, sound.full_scale, sound.step)
            steps = _stored(sound, channel, meter)
            flac = original.copy(steps) if original else _encoded(steps, RATE)
            return Converted(flac, meter.measured(raw.sha256()), meter.beyond)


def load(
    path: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    channel: int | None = None,
    rate: int = RATE,
) -> Wave:
    """Read a recording, or a cut of it, as float32 mono at ``rate``.

    Args and errors are those of `decode`.
    """
    wave, native_rate = decode(path, start_s=start_s, end_s=end_s, channel=channel)
    return resample(wave, native_rate, rate)


def decode(
    path: Path, *, start_s: float | None = None, end_s: float | None = None, channel: int | None = None
) -> tuple[Wave, int]:
    """Read a recording, or a cut of it, as mono at its own sample rate.

    Args:
        path: the file.
        start_s: beginning of the cut in seconds; None: the file's beginning.
        end_s: end of the cut in seconds; None, or past the file's end: the file's end.
        channel: 0-based; None: the mean of all channels.

    Returns:
        float32 samples in about [-1, 1] (a lossy codec may overshoot), and their rate in Hz.

    Raises:
        AudioError: the file is missing, empty, a git-lfs pointer, corrupt, silent, too long, holds samples that are not
            finite, or has no such cut or channel; or, ``passing``, it could not be read or changed meanwhile.
    """
    with opened(path, start_s, end_s) as raw, sound_in(raw, start_s, end_s) as sound:
        waves = [block.mono * np.float32(1 / block.scale) for block in _blocks(sound, channel)]
        return np.concatenate(waves), sound.rate


def resample(wave: Wave, rate: int, new_rate: int = RATE) -> Wave:
    """Resample mono samples from ``rate`` to ``new_rate`` Hz, float32 (soxr, high quality)."""
    if rate == new_rate:
        return wave
    resampled: Wave = soxr.resample(wave, rate, new_rate, quality=QUALITY)
    return resampled


def encode_flac(wave: Wave, rate: int) -> bytes:
    """Encode mono samples as 16-bit FLAC; the same samples give the same bytes.

    Samples beyond [-1, 1] are clipped, never wrapped.

    Raises:
        AudioError: there are no samples, or some are not finite.
    """
    if not wave.size:
        raise AudioError("no samples")
    if not np.isfinite(wave).all():
        raise AudioError("samples that are not finite")
    return _encoded(iter([_steps(wave, 1.0)[0]]), rate)


# --- from a sound to what is stored ---


class _Block(NamedTuple):
    frames: Frames  # of the channels that are used
    mono: Frames  # [n]
    low: float  # least sample of the frames
    high: float
    scale: float  # what is full scale: 16-bit samples stay integers as long as they can, since that is faster


def _blocks(sound: Sound, channel: int | None) -> Iterator[_Block]:
    """The blocks of a sound as mono, checked."""
    heard = 0
    low = high = 0.0
    for frames in sound.blocks:
        used = frames if channel is None else _channel(frames, channel)
        if not used.size:
            continue
        mono = used[:, 0] if used.shape[1] == 1 else used.mean(axis=1, dtype=np.float32)
        scale = 32768.0 if used.dtype == np.int16 else 1.0
        block = _Block(used, np.ascontiguousarray(mono), float(used.min()), float(used.max()), scale)
        if not (np.isfinite(block.low) and np.isfinite(block.high)):  # both are NaN where a sample is
            raise AudioError("samples that are not finite")
        bottom, top = (block.low, block.high) if used.shape[1] == 1 else (float(mono.min()), float(mono.max()))
        low, high = (min(low, bottom), max(high, top)) if heard else (bottom, top)
        heard += len(used)
        if heard > LONGEST_S * sound.rate:
            raise AudioError(f"longer than {LONGEST_S / 3600:g} hours: give cuts with start_s and end_s")
        yield block
    if not heard:
        raise AudioError("no samples")
    if high - low < SILENCE * scale:
        raise AudioError("silent")


def _channel(frames: Frames, channel: int) -> Frames:
    channels = frames.shape[1]
    if not 0 <= channel < channels:
        raise AudioError(f"channel {channel} asked of a recording with {channels} (0 is the first)")
    return frames[:, channel : channel + 1]


def _stored(sound: Sound, channel: int | None, meter: Meter) -> Iterator[Steps]:
    """What is stored of a sound, block by block, and measured on its way."""
    stream = None if sound.rate == RATE else soxr.ResampleStream(sound.rate, RATE, 1, dtype="float32", quality=QUALITY)
    for block, last in _ending(_blocks(sound, channel)):
        meter.native(*block)
        steps, beyond = _steps(_resampled(stream, block.mono, last) if stream else block.mono, block.scale)
        meter.stored(steps, beyond)
        yield steps
    if not meter.stored_samples:
        raise AudioError("no samples")


def _resampled(stream: soxr.ResampleStream, wave: Frames, last: bool) -> Frames:
    """The samples of a block that come out of the resampler: piece by piece, which keeps its buffers in the cache."""
    begins = range(0, len(wave), PIECE)
    floats = wave.astype(np.float32, copy=False)
    pieces = [stream.resample_chunk(floats[at : at + PIECE], last and at == begins[-1]) for at in begins]
    return np.concatenate(pieces)


def _ending(blocks: Iterator[_Block]) -> Iterator[tuple[_Block, bool]]:
    """Each block, and whether it is the last."""
    before = next(blocks)  # there is one: `_blocks` has said otherwise
    for block in blocks:
        yield before, False
        before = block
    yield before, True


def _steps(wave: Frames, scale: float) -> tuple[Steps, int]:
    """16-bit samples, to the nearest, of ``wave`` in [-scale, scale]; and how many lay beyond, and were clipped."""
    if wave.dtype == np.int16:
        return wave.astype(np.int16, copy=False), 0
    scaled = np.rint(wave * np.float32(32768.0 / scale) if scale != 32768.0 else wave)  # exact: powers of two
    beyond = 0
    if scaled.size and (scaled.max() > 32767.0 or scaled.min() < -32768.0):
        beyond = int(np.count_nonzero((scaled > 32767.0) | (scaled < -32768.0)))
        np.clip(scaled, -32768.0, 32767.0, out=scaled)
    return scaled.astype(np.int16), beyond


def _encoded(steps: Iterator[Steps], rate: int) -> bytes:
    buffer = io.BytesIO()
    level = FLAC_LEVEL / 8
    with SoundFile(buffer, "w", rate, 1, "PCM_16", format="FLAC", compression_level=level) as file:
        for block in steps:
            file.write(block)
    return buffer.getvalue()
