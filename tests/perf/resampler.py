"""What the resampler does to a recording, beside its peers: ripple, aliases, delay, length, speed.

    python -m tests.perf.resampler

Tones of whole Hz go in all at once; a second in the middle of what comes out is taken apart by a Fourier transform, in
which each of them stands in a line of its own. Whatever stands in another line is an alias, an image, or noise.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import numpy as np
import soxr
from numpy.typing import NDArray

from pipelines import audio
from pipelines.decoders.base import Sound

RATE = 16_000
RATES = (8_000, 11_025, 22_050, 44_100, 48_000, 96_000)
PASSBAND = 0.91  # of half the lower rate: where soxr HQ begins to fall
SECONDS = 3

Wave = NDArray[np.float32]
Resample = Callable[[Wave, int], Wave]


@dataclass(frozen=True)
class Figures:
    """What a resampler does between a rate and 16 kHz."""

    ripple: float  # dB, between the tone that is raised most and the one that is lowered most, in the passband
    leak: float  # dB of all that is not the tones, below them: images, aliases within the passband, noise
    alias: float  # dB of what comes of tones beyond 8 kHz, below them; NaN where the rate has none
    delay: float  # microseconds, the greatest of any tone


def figures(resample: Resample, rate: int) -> Figures:
    """Measure a resampler."""
    edge = min(rate, RATE) / 2
    inside = _tones(np.arange(37, int(PASSBAND * edge), 53), rate)
    heard = _lines(resample(inside.wave, rate), RATE)
    gains = heard[inside.hertz] / inside.lines
    rest = heard.copy()
    rest[inside.hertz] = 0
    alias = float("nan")
    if rate > RATE:
        outside = _tones(np.arange(RATE // 2 + 13, rate // 2 - 10, 101), rate)
        alias = _db(_lines(resample(outside.wave, rate), RATE), outside.lines)
    decibels = 20 * np.log10(np.abs(gains))
    return Figures(
        ripple=float(decibels.max() - decibels.min()),
        leak=_db(rest, inside.lines),
        alias=alias,
        delay=float(np.max(np.abs(np.angle(gains)) / (2 * np.pi * inside.hertz))) * 1e6,
    )


def ours(wave: Wave, rate: int) -> Wave:
    """In blocks, by the parts that `audio.convert` is made of, before the step to 16 bits."""
    sound = Sound(rate, (block[:, None] for block in np.array_split(wave, 7)))
    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality=audio.QUALITY)
    parts = audio._ending(audio._blocks(sound, None))
    return np.concatenate([audio._resampled(stream, block.mono, last) for block, last in parts])


def soxr_hq(wave: Wave, rate: int) -> Wave:
    """The peer of the issue."""
    return np.asarray(soxr.resample(wave, rate, RATE, quality="HQ"))


def torchaudio_default(wave: Wave, rate: int) -> Wave:
    """What most training scripts call."""
    import torch
    from torchaudio.functional import resample

    return np.asarray(resample(torch.from_numpy(wave), rate, RATE).numpy())


def torchaudio_best(wave: Wave, rate: int) -> Wave:
    """With the settings that its documentation calls kaiser_best."""
    import torch
    from torchaudio.functional import resample

    kaiser = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "beta": 14.769656459379492}
    best = resample(torch.from_numpy(wave), rate, RATE, resampling_method="sinc_interp_kaiser", **kaiser)
    return np.asarray(best.numpy())


def scipy_poly(wave: Wave, rate: int) -> Wave:
    """scipy's polyphase filter."""
    from math import gcd

    from scipy.signal import resample_poly

    step = gcd(rate, RATE)
    return np.asarray(resample_poly(wave, RATE // step, rate // step), dtype=np.float32)


RESAMPLERS: dict[str, Resample] = {
    "convert": ours,
    "soxr HQ": soxr_hq,
    "torchaudio": torchaudio_default,
    "torchaudio best": torchaudio_best,
    "scipy poly": scipy_poly,
}


@dataclass(frozen=True)
class _Tones:
    hertz: NDArray[np.int64]
    wave: Wave
    lines: NDArray[np.complex128]  # of the tones


def _tones(hertz: NDArray[np.int64], rate: int) -> _Tones:
    """Tones of equal loudness and of random phase; together they stay within full scale."""
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(hertz))
    spectrum = np.zeros(rate // 2 + 1, complex)
    spectrum[hertz] = np.exp(1j * phases)
    second = np.fft.irfft(spectrum, rate)
    second *= 0.9 / np.abs(second).max()
    wave = np.tile(second, SECONDS).astype(np.float32)
    return _Tones(hertz, wave, _lines(wave, rate)[hertz])


def _lines(wave: Wave, rate: int) -> NDArray[np.complex128]:
    """The spectrum of the second in the middle, in lines of 1 Hz; a full-scale tone has 0.5."""
    return np.asarray(np.fft.rfft(wave[rate : 2 * rate].astype(np.float64)) / rate)


def _db(lines: NDArray[np.complex128], reference: NDArray[np.complex128]) -> float:
    power = np.sum(np.abs(lines) ** 2) / np.sum(np.abs(reference) ** 2)
    return float(10 * np.log10(power + 1e-30))


@click.command(help=__doc__)
def main() -> None:
    """Print the table."""
    import torch

    torch.set_num_threads(1)
    click.echo(
        f"{'from':>6s} {'by':16s}{'ripple dB':>10s}{'leak dB':>9s}{'alias dB':>10s}{'delay us':>10s}{'x real':>8s}"
    )
    for rate in RATES:
        noise = np.random.default_rng(1).standard_normal(20 * rate).astype(np.float32) * np.float32(0.1)
        for name, resample in RESAMPLERS.items():
            found = figures(resample, rate)
            taken = []
            for _ in range(5):
                begun = time.process_time()
                resample(noise, rate)
                taken.append(time.process_time() - begun)
            speed = 20 / statistics.median(taken)
            numbers = f"{found.ripple:10.4f}{found.leak:9.1f}{found.alias:10.1f}{found.delay:10.4f}{speed:8.0f}"
            click.echo(f"{rate:6d} {name:16s}{numbers}")


if __name__ == "__main__":
    main()
