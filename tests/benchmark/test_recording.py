"""Measurements of a recording on made signals whose answer is known."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import firwin, lfilter

from benchmark import recording
from benchmark.embedders import Wave
from benchmark.recording import COLUMNS, RATE, SILENCE, measure, measurements

RNG = np.random.default_rng(0)


def noise(seconds: float, level_db: float) -> Wave:
    wave: Wave = (RNG.standard_normal(round(seconds * RATE)) * 10 ** (level_db / 20)).astype(np.float32)
    return wave


def hum(seconds: float, hertz: float, level_db: float) -> Wave:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = np.sin(2 * np.pi * hertz * time) * (np.sqrt(2) * 10 ** (level_db / 20))
    return np.asarray(wave, dtype=np.float32)


def voice(seconds: float, f0: float, level_db: float) -> Wave:
    """Ten harmonics: periodic, as a voice is."""
    return np.asarray(sum(hum(seconds, f0 * (i + 1), level_db - 10) for i in range(10)), dtype=np.float32)


def in_pauses(speech: Wave, room: Wave, pause_s: float) -> Wave:
    """Half a second of speech and a pause by turns, in a room that is always heard."""
    at = np.arange(len(room)) % round((0.5 + pause_s) * RATE)
    return np.where(at < 0.5 * RATE, speech, 0).astype(np.float32) + room


def rounded(wave: Wave) -> Wave:
    """As a shard keeps it: 16 bits."""
    steps: Wave = (np.round(wave * 32768) / 32768).astype(np.float32)
    return steps


def of(wave: Wave) -> dict[str, float]:
    return dict(zip(COLUMNS, measure(rounded(wave)).tolist(), strict=True))


def test_levels_of_a_sine() -> None:
    found = of(hum(2.0, 440.0, -20.0))
    assert found["level"] == pytest.approx(-20.0, abs=0.01)
    assert found["level=peak"] == pytest.approx(-17.0, abs=0.02)
    assert found["clipping"] == found["digital silence"] == 0.0
    assert found["duration"] == pytest.approx(np.log10(2.0))
    assert found["DC offset"] == pytest.approx(-60.0, abs=0.1)


def test_clipping_offset_and_digital_silence() -> None:
    sine = hum(1.0, 441.0, 3.0)  # its peaks reach 2
    assert of(np.clip(sine, -1, 1))["clipping"] == pytest.approx(1 - 2 * np.arcsin(0.5) / np.pi, abs=0.01)
    assert of(hum(1.0, 440.0, -20.0) + np.float32(0.05))["DC offset"] == pytest.approx(-26.0, abs=0.1)
    gated = noise(1.0, -20.0)
    gated[4000:6000] = 0.0
    assert of(gated)["digital silence"] == 1.0


@pytest.mark.parametrize("cut", [1700.0, 3400.0, 5500.0])
def test_bandwidth_is_where_a_low_pass_cuts(cut: float) -> None:
    wave = lfilter(firwin(1001, cut, fs=RATE, window="blackman"), 1.0, noise(3.0, -20.0)).astype(np.float32)
    assert of(wave)["bandwidth"] == pytest.approx(cut, abs=250)  # the step; and the lobe of the window is 160 Hz wide


def test_bandwidth_does_not_measure_how_bright_a_sound_is() -> None:
    dull = lfilter([1.0], [1.0, -0.95], noise(3.0, -40.0)).astype(np.float32)  # 6 dB an octave
    assert of(dull)["bandwidth"] == of(noise(3.0, -20.0))["bandwidth"] == 8000.0


@pytest.mark.parametrize("room_db", [-70.0, -55.0, -40.0])
def test_silence_is_the_room_and_not_the_speech(room_db: float) -> None:
    room = noise(6.0, room_db)
    found = of(in_pauses(voice(6.0, 140.0, -20.0), room, 0.6))
    assert found["noise floor"] == pytest.approx(room_db, abs=0.5)
    assert found["signal-to-noise ratio"] == pytest.approx(-20.0 - room_db, abs=1.0)
    means = [found[name] for name in SILENCE if "mean" in name]
    assert means == pytest.approx([room_db] * len(means), abs=3.0)  # white: the same in every band


def test_the_voice_is_not_heard_in_the_silence() -> None:
    room = noise(6.0, -60.0)
    low, high = (in_pauses(voice(6.0, f0, -20.0), room, 0.6) for f0 in (110.0, 240.0))
    heard = [[of(wave)[name] for name in SILENCE] for wave in (low, high)]
    assert heard[0] == pytest.approx(heard[1], abs=1.0)
    other = [
        of(in_pauses(voice(6.0, 110.0, -20.0), noise(6.0, -50.0), 0.6))[name] for name in SILENCE[: len(SILENCE) // 2]
    ]
    assert np.mean(other) - np.mean(heard[0][: len(other)]) == pytest.approx(10.0, abs=0.5)


def test_a_faint_voice_in_a_pause_is_left_out_and_hum_is_not() -> None:
    room = noise(6.0, -60.0)
    faint = in_pauses(voice(6.0, 140.0, -20.0), room, 0.6)
    faint[3 * RATE : 4 * RATE] += voice(1.0, 140.0, -57.0)  # quiet enough to pass for the room
    assert of(faint)["noise floor"] == pytest.approx(-60.0, abs=0.5)
    humming = in_pauses(voice(6.0, 140.0, -20.0), room + hum(6.0, 100.0, -50.0), 0.6)
    assert of(humming)["noise floor"] == pytest.approx(-50.0, abs=1.0)


@pytest.mark.parametrize(
    "wave",
    [
        voice(3.0, 140.0, -20.0),  # a held vowel
        noise(3.0, -20.0),  # nothing is quieter than the rest
        in_pauses(voice(3.0, 140.0, -20.0), noise(3.0, -60.0), 0.1),  # closures of stops
        noise(0.01, -20.0),  # shorter than a frame
        np.zeros(RATE, dtype=np.float32),
    ],
)
def test_a_clip_without_silence_has_no_room(wave: Wave) -> None:
    found = of(wave)
    assert all(np.isnan(found[name]) for name in (*SILENCE, *recording.OF_SILENCE))
    assert all(np.isfinite(found[name]) for name in recording.LEVELS if name not in recording.OF_SILENCE)


def test_a_shard_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "test-00000.tar"
    with tarfile.open(shard, "w") as tar:
        for i in range(3):
            buffer = io.BytesIO()
            soundfile.write(buffer, noise(0.5, -20.0 - i), RATE, format="FLAC")
            info = tarfile.TarInfo(f"u{i}.flac")
            info.size = buffer.getbuffer().nbytes
            buffer.seek(0)
            tar.addfile(info, buffer)
    first = measurements([shard], tmp_path / "out")
    assert first.columns == ["utt_id", *COLUMNS]
    assert first["utt_id"].to_list() == ["u0", "u1", "u2"]
    assert first["level"].to_list() == pytest.approx([-20.0, -21.0, -22.0], abs=0.3)
    monkeypatch.setattr(recording, "measure", None)
    assert measurements([shard], tmp_path / "out").equals(first, null_equal=True)
    assert measurements([], tmp_path / "out").height == 0
