"""The figures of the resampler that the README states: no worse than soxr HQ, and no drift."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from pipelines import audio
from tests.perf.resampler import RATE, RATES, figures, ours, soxr_hq


@pytest.mark.parametrize("rate", RATES)
def test_ripple_aliases_images_and_delay(rate: int) -> None:
    found, peer = figures(ours, rate), figures(soxr_hq, rate)
    assert found.ripple < 0.01  # dB, up to 0.91 of half the lower rate
    assert found.leak < -130.0  # dB: images, aliases and noise below the tones
    assert np.isnan(found.alias) or found.alias < -130.0  # dB: what was beyond 8 kHz
    assert found.delay < 0.001  # microseconds
    assert found.ripple <= peer.ripple + 1e-6
    assert found.leak <= peer.leak + 0.1
    assert rate <= RATE or found.alias <= peer.alias + 0.1


def test_the_figures_tell_a_poor_resampler() -> None:
    """Every third sample, as a hurried programmer takes them."""
    found = figures(lambda wave, _: wave[::3], 48_000)
    assert found.alias > -3.0
    late = figures(lambda wave, rate: np.roll(soxr_hq(wave, rate), 1), 48_000)
    assert late.delay == pytest.approx(1e6 / RATE, rel=0.01)


@pytest.mark.parametrize("rate", [*RATES, 44_101])
def test_in_blocks_it_is_soxr_at_once(rate: int) -> None:
    wave = np.random.default_rng(0).standard_normal(5 * rate + 7).astype(np.float32) * np.float32(0.1)
    assert np.array_equal(ours(wave, rate), soxr.resample(wave, rate, RATE, quality="HQ"))


@pytest.mark.parametrize("rate", RATES)
def test_no_drift_over_an_hour(rate: int) -> None:
    """A click half a second before the end of an hour is where it was, and the hour is an hour."""
    stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality=audio.QUALITY)
    minute = np.zeros(60 * rate, np.float32)
    length = 0
    for number in range(60):
        if number == 59:
            minute[59 * rate + rate // 2] = 0.5
        resampled = audio._resampled(stream, minute, number == 59)
        length += len(resampled)
    assert length == 3600 * RATE
    click = length - len(resampled) + int(np.argmax(np.abs(resampled)))
    assert abs(click - (3599 + rate // 2 / rate) * RATE) <= 0.5


def test_steps_are_the_nearest_and_never_wrap() -> None:
    wave = np.array([0.0, 1.0, -1.0, 1.5, -7.0, 0.5 / 32768, 1.5 / 32768, 0.99999], np.float32)
    steps, beyond = audio._steps(wave, 1.0)
    assert steps.tolist() == [0, 32767, -32768, 32767, -32768, 0, 2, 32767]
    assert beyond == 4  # 1.0 is one step beyond the greatest; 0.99999 is rounded to it
