"""What `measure.Meter` says of recordings whose answer is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from pipelines.audio import convert
from pipelines.measure import RATE, Measured

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[2] / "shared")) / "audio"
rng = np.random.default_rng(0)


def measured(path: Path, wave: np.ndarray, rate: int = RATE, subtype: str = "PCM_16", **cut: Any) -> Measured:
    container = {"MPEG_LAYER_III": "MP3"}.get(subtype, "WAV")
    soundfile.write(path, wave, rate, format=container, subtype=subtype)
    return convert(path, **cut).measured


def noise(seconds: float, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    return (level * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def tone(seconds: float, rate: int = RATE, hertz: float = 500.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


# --- level, length, clipping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("decibels", [0.0, -6.0, -40.0])
def test_level_of_a_tone(rate: int, decibels: float, tmp_path: Path) -> None:
    found = measured(tmp_path / "a.wav", tone(2.0, rate, level=10 ** (decibels / 20)), rate, "FLOAT")
    assert found.level == pytest.approx(decibels - 3.01, abs=0.03)
    assert found.seconds == 2.0
    assert found.native_rate == rate


@pytest.mark.parametrize(
    ("subtype", "full"),
    [("PCM_U8", 1.0), ("PCM_16", 1.0), ("PCM_24", 1.0), ("FLOAT", 1.2), ("ULAW", 1.0), ("ALAW", 1.0)],
)
@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_clipping_is_the_share_of_samples_at_full_scale(subtype: str, full: float, rate: int, tmp_path: Path) -> None:
    wave = tone(1.0, rate, level=0.5)
    wave[1000:1500] = full
    wave[2000:2250] = -full
    assert measured(tmp_path / "a.wav", wave, rate, subtype).clipping == pytest.approx(750 / rate)
    assert measured(tmp_path / "b.wav", tone(1.0, rate, level=0.9), rate, subtype).clipping == 0.0


def test_clipping_of_the_channel_that_is_used(tmp_path: Path) -> None:
    loud, quiet = tone(1.0), tone(1.0)
    loud[:1600] = 1.0
    both = np.stack([loud, quiet], axis=1)
    assert measured(tmp_path / "a.wav", both, channel=0).clipping == pytest.approx(0.1)
    assert measured(tmp_path / "a.wav", both, channel=1).clipping == 0.0
    assert measured(tmp_path / "a.wav", both).clipping == pytest.approx(0.05)  # the mean of both hides it


# --- bandwidth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
def test_noise_reaches_up_to_half_the_native_rate(rate: int, tmp_path: Path) -> None:
    assert measured(tmp_path / "a.wav", noise(2.0, rate), rate).bandwidth == pytest.approx(rate / 2, abs=250)


@pytest.mark.parametrize(("rate", "low"), [(16_000, 8_000), (44_100, 16_000), (48_000, 8_000), (96_000, 44_100)])
def test_a_recording_that_was_of_a_lower_rate(rate: int, low: int, tmp_path: Path) -> None:
    wave = soxr.resample(noise(3.0, low), low, rate)
    assert measured(tmp_path / "a.wav", wave, rate).bandwidth == pytest.approx(low / 2, rel=0.08)


def test_an_mp3_at_16_khz_with_nothing_above_4_khz(tmp_path: Path) -> None:
    narrow = soxr.resample(noise(4.0, 8_000), 8_000, RATE)
    found = measured(tmp_path / "a.mp3", narrow, subtype="MPEG_LAYER_III")
    assert found.native_rate == RATE
    assert found.bandwidth < 5_250  # the bands of MP3 overlap: a little lies above the cut
    assert measured(tmp_path / "b.mp3", noise(4.0), subtype="MPEG_LAYER_III").bandwidth > 6_500


def test_bandwidth_does_not_depend_on_loudness(tmp_path: Path) -> None:
    narrow = soxr.resample(noise(3.0, 8_000), 8_000, RATE)
    found = {measured(tmp_path / "a.wav", level * narrow).bandwidth for level in (1.0, 0.1, 0.01)}
    assert max(found) - min(found) <= 500


def test_bandwidth_is_that_of_the_cut(tmp_path: Path) -> None:
    wave = np.concatenate([soxr.resample(noise(3.0, 8_000), 8_000, RATE), noise(3.0)])
    assert measured(tmp_path / "a.wav", wave, end_s=2.9).bandwidth < 4_500
    assert measured(tmp_path / "a.wav", wave, start_s=3.1).bandwidth == 8_000


def test_rounding_to_8_bits_is_no_bandwidth(tmp_path: Path) -> None:
    narrow = soxr.resample(noise(3.0, 8_000), 8_000, RATE)
    assert measured(tmp_path / "a.wav", narrow, subtype="PCM_U8").bandwidth < 4_600


# --- speech --------------------------------------------------------------------------------------------------


def test_hiss_and_near_silence_are_no_speech(tmp_path: Path) -> None:
    assert measured(tmp_path / "a.wav", noise(5.0, level=0.001)).speech < 0.1


@pytest.mark.parametrize("seconds", [0.004, 0.01, 0.035, 0.5])
def test_clips_shorter_than_a_frame_have_a_share(seconds: float, tmp_path: Path) -> None:
    assert 0.0 <= measured(tmp_path / "a.wav", tone(seconds)).speech <= 1.0


@pytest.mark.real
def test_speech_between_silences(tmp_path: Path) -> None:
    """Real speech with as much faint hiss around it: its share halves."""
    paths = sorted(REAL.glob("librispeech/**/*.flac"))[:10]
    if not paths:
        pytest.skip(f"no recordings in {REAL}")
    alone, padded = [], []
    for path in paths:
        wave, _ = soundfile.read(path, dtype="float32")
        hiss = noise(len(wave) / RATE / 2, level=0.0003)
        alone.append(measured(tmp_path / "a.wav", wave).speech)
        padded.append(measured(tmp_path / "a.wav", np.concatenate([hiss, wave, hiss])).speech)
    assert np.mean(alone) > 0.6
    assert np.mean(padded) == pytest.approx(np.mean(alone) / 2, abs=0.06)
