from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipelines.audio import AudioError, decode, encode_flac, load, resample
from pipelines.voices import Voices

RATE = 16_000


def ramp(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """A wave in which every moment is recognisable: a 440 Hz tone that grows from silence to 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * time / seconds * np.sin(2 * np.pi * 440 * time)).astype(np.float32)


def reason(path: Path, **cut: Any) -> str:
    with pytest.raises(AudioError) as caught:
        decode(path, **cut)
    assert str(path) not in str(caught.value)
    return str(caught.value)


SOUNDFILE_FORMATS = {
    "wav": ("WAV", "PCM_16", 0.9999),
    "wav24": ("WAV", "PCM_24", 0.9999),
    "wavfloat": ("WAV", "FLOAT", 0.9999),
    "flac": ("FLAC", "PCM_16", 0.9999),
    "mp3": ("MP3", "MPEG_LAYER_III", 0.99),
    "ogg": ("OGG", "VORBIS", 0.99),
    "opus": ("OGG", "OPUS", 0.99),
    "aiff": ("AIFF", "PCM_16", 0.9999),
    "sph": ("NIST", "PCM_16", 0.9999),
}


def write(path: Path, kind: str, wave: np.ndarray, rate: int = RATE) -> Path:
    if kind in SOUNDFILE_FORMATS:
        container, subtype, _ = SOUNDFILE_FORMATS[kind]
        soundfile.write(path, wave, rate, format=container, subtype=subtype)
    else:
        Voices().write(path.with_suffix(f".{kind}"), wave, rate)
        path.with_suffix(f".{kind}").rename(path)
    return path


LIKENESS = {kind: likeness for kind, (_, _, likeness) in SOUNDFILE_FORMATS.items()} | {"nsp": 0.9999, "m4a": 0.99}


# --- containers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LIKENESS))
def test_every_container_is_read_by_its_content_and_not_its_name(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "recording.wav", kind, ramp())
    wave, rate = decode(path)
    assert wave.dtype == np.float32 and wave.ndim == 1
    assert rate == RATE
    assert abs(wave.size - 3 * RATE) <= 0.05 * RATE
    assert np.corrcoef(wave[: 2 * RATE], ramp()[: 2 * RATE])[0, 1] > LIKENESS[kind]


@pytest.mark.parametrize("kind", sorted(LIKENESS))
def test_a_cut_is_the_same_as_cutting_the_whole(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file", kind, ramp())
    whole, rate = decode(path)
    for start_s, end_s in ((1.1, 2.35), (0.0, 0.5), (2.0, None), (None, 1.0)):
        cut, _ = decode(path, start_s=start_s, end_s=end_s)
        first = round((start_s or 0.0) * rate)
        expected = whole[first : None if end_s is None else round(end_s * rate)]
        assert cut.size == expected.size
        assert np.abs(cut - expected).max() < 0.02
        assert np.corrcoef(cut, expected)[0, 1] > 0.999


@pytest.mark.parametrize("kind", sorted(LIKENESS))
def test_the_mean_of_the_channels_unless_one_is_named(kind: str, tmp_path: Path) -> None:
    loud = ramp()
    path = write(tmp_path / "file", kind, np.stack([loud, 0.25 * loud], axis=1))
    level = {channel: decode(path, channel=channel)[0].std() for channel in (None, 0, 1)}
    assert level[1] / level[0] == pytest.approx(0.25, rel=0.06)
    assert level[None] / level[0] == pytest.approx(0.625, rel=0.06)
    assert reason(path, channel=2) == "channel 2 asked of a recording with 2 (0 is the first)"


def test_only_the_cut_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "long.wav", "wav", ramp(60.0))
    counts: list[int] = []
    read = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, frames: int = -1, *args: Any, **kwargs: Any) -> Any:
        counts.append(frames)
        return read(self, frames, *args, **kwargs)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    decode(path, start_s=30.0, end_s=31.0)
    assert sum(counts) <= 2 * RATE


def test_a_cut_may_reach_past_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", "wav", ramp(2.0))
    assert decode(path, start_s=1.5, end_s=9.0)[0].size == RATE // 2


# --- what cannot be used --------------------------------------------------------------------------------------


def test_a_missing_file_a_folder_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert reason(tmp_path / "no.wav") == "file not found"
    assert reason(tmp_path / "empty.wav") == "empty file"
    assert reason(tmp_path) == "not a file"


def test_a_git_lfs_pointer_is_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "pointer.wav"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345\n")
    assert reason(path).startswith("git-lfs pointer")


def test_text_under_an_audio_name(tmp_path: Path) -> None:
    path = tmp_path / "note.wav"
    path.write_text("This recording was withdrawn by the speaker. " * 20)
    assert reason(path) == "not audio or corrupt: Format not recognised"


@pytest.mark.parametrize(
    ("kind", "keep"), [("flac", 0.5), ("m4a", 0.5), ("nsp", 0.5), ("wav", 0.0003), ("aiff", 0.0003)]
)
def test_half_a_file(kind: str, keep: float, tmp_path: Path) -> None:
    path = write(tmp_path / "file", kind, ramp())
    content = path.read_bytes()
    path.write_bytes(content[: max(20, int(keep * len(content)))])
    assert reason(path).startswith("not audio or corrupt: ")


def test_no_samples(tmp_path: Path) -> None:
    for kind in ("wav", "nsp"):
        path = write(tmp_path / "none", kind, np.zeros(0, np.float32))
        assert reason(path) == "no samples"


@pytest.mark.parametrize("kind", ["wav", "nsp", "m4a", "mp3"])
def test_silence_with_or_without_an_offset(kind: str, tmp_path: Path) -> None:
    assert reason(write(tmp_path / "zeros", kind, np.zeros(RATE, np.float32))) == "silent"
    if kind in {"wav", "nsp"}:
        assert reason(write(tmp_path / "offset", kind, np.full(RATE, 0.25, np.float32))) == "silent"


def test_the_quietest_speech_is_not_silence(tmp_path: Path) -> None:
    path = write(tmp_path / "quiet.wav", "wav", 0.001 * ramp())
    assert decode(path)[0].size == 3 * RATE


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(bad: float, tmp_path: Path) -> None:
    wave = ramp()
    wave[1234] = bad
    path = write(tmp_path / "bad.wav", "wavfloat", wave)
    assert reason(path) == "samples that are not finite"
    with pytest.raises(AudioError, match="not finite"):
        encode_flac(wave, RATE)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "nsp", "m4a"])
def test_a_cut_after_the_end(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "short", kind, ramp(2.0))
    assert reason(path, start_s=12.0, end_s=15.0) in {
        "cut 12.0-15.0 s lies after the end at 2.0 s",
        "cut 12.0-15.0 s lies after the end at 2.1 s",  # lossy codecs fill their last frame
    }
    assert reason(path, start_s=12.0).startswith("cut 12.0-end lies after the end at 2.")


def test_a_cut_that_is_no_stretch_of_time(tmp_path: Path) -> None:
    path = write(tmp_path / "x", "wav", ramp())
    assert reason(path, start_s=2.0, end_s=1.0) == "cut 2.0-1.0 s is no stretch of time"
    assert reason(path, start_s=1.0, end_s=1.0) == "cut 1.0-1.0 s is no stretch of time"
    assert reason(path, start_s=-1.0, end_s=1.0) == "cut -1.0-1.0 s is no stretch of time"


def test_a_channel_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "mono.wav", "wav", ramp())
    assert reason(path, channel=1) == "channel 1 asked of a recording with 1 (0 is the first)"
    assert reason(path, channel=-1) == "channel -1 asked of a recording with 1 (0 is the first)"


def test_without_pyav_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x", "m4a", ramp())
    original = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return original(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert reason(path) == "AAC needs PyAV: pip install 'slap[m4a]'"


# --- WFDB: a header and its signal file ----------------------------------------------------------------------


def write_wfdb(path: Path, wave: np.ndarray, kind: str = "16", gain: str = "", rate: int = RATE) -> Path:
    """A record of PhysioNet's form; ``gain`` is all that follows the format on a signal's line."""
    channels = np.atleast_2d(wave.T).T
    number, _, skip = kind.partition("+")
    bits = int(number)
    steps = np.clip(np.round(channels * 2.0 ** (bits - 1)), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    path.write_bytes(bytes(int(skip or 0)) + steps.astype(f"<i{bits // 8}").tobytes())
    lines = [f"{path.stem} {channels.shape[1]} {rate} {len(channels)}"]
    lines += [f"{path.name} {kind} {gain}".strip()] * channels.shape[1]
    path.with_suffix(".hea").write_text("\n".join([*lines, "#<age>: 55 <sex>: M"]) + "\n")
    return path


@pytest.mark.parametrize(
    ("kind", "gain"),
    [
        ("16", ""),
        ("32", "200 16 0 0 0 0 a"),  # WFDB's default gain
        ("16", "32768(0)/NU 16"),
        ("32", "2147483648/V 32 0"),
        ("16+24", ""),
    ],
)
def test_wfdb_gives_the_samples_that_were_written(kind: str, gain: str, tmp_path: Path) -> None:
    path = write_wfdb(tmp_path / "voice001.dat", ramp(rate=8000), kind, gain, rate=8000)
    wave, rate = decode(path)
    assert rate == 8000 and wave.dtype == np.float32
    assert np.abs(wave - ramp(rate=8000)).max() <= 1.0 / 32768
    cut, _ = decode(path, start_s=1.1, end_s=2.35)
    assert np.array_equal(cut, wave[8800:18800])
    assert decode(path, start_s=2.5, end_s=9.0)[0].size == 4000
    assert reason(path, start_s=12.0) == "cut 12.0-end lies after the end at 3.0 s"


def test_wfdb_scaled_to_the_range_of_its_samples(tmp_path: Path) -> None:
    """Gain and baseline that stretch a quiet recording over all steps give back its own loudness."""
    quiet = 0.25 * ramp(1.0)
    path = write_wfdb(tmp_path / "a.dat", 4.0 * quiet + 0.25, "16", "131072(8192)/NU 16")
    assert np.abs(decode(path)[0] - quiet).max() <= 1.0 / 131072


def test_wfdb_channels(tmp_path: Path) -> None:
    path = write_wfdb(tmp_path / "a.dat", np.stack([ramp(), 0.25 * ramp()], axis=1))
    level = {channel: decode(path, channel=channel)[0].std() for channel in (None, 0, 1)}
    assert level[1] / level[0] == pytest.approx(0.25, rel=0.001)
    assert level[None] / level[0] == pytest.approx(0.625, rel=0.001)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a 1 8000 8000\nb.dat 16\n", "WFDB header that describes other signal files"),
        ("a 2 8000 8000\na.dat 16\n", "WFDB header that describes other signal files"),
        ("a 1 8000 8000\na.dat 212\n", "WFDB format 212: only records of one segment in format 16 or 32 are read"),
        ("a/2 1 8000 8000\na.dat 16\n", "WFDB format 16: only records of one segment in format 16 or 32 are read"),
        ("a 1 8000 8001\na.dat 16\n", "not audio or corrupt: 8000 of the 8001 frames that its header promises"),
        ("a 1\na.dat 16\n", "not audio or corrupt: broken WFDB header"),
        ("a one 8000\na.dat 16\n", "not audio or corrupt: broken WFDB header"),
        ("# nothing\n", "not audio or corrupt: broken WFDB header"),
    ],
)
def test_wfdb_headers_that_cannot_be_used(header: str, said: str, tmp_path: Path) -> None:
    path = write_wfdb(tmp_path / "a.dat", ramp(1.0, 8000), rate=8000)
    path.with_suffix(".hea").write_text(header)
    assert reason(path) == said


def test_wfdb_without_its_header_is_no_audio(tmp_path: Path) -> None:
    path = write_wfdb(tmp_path / "a.dat", ramp(1.0))
    path.with_suffix(".hea").unlink()
    assert reason(path) == "not audio or corrupt: Format not recognised"


# --- resampling and encoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 50_000])
def test_load_resamples_to_16_khz_and_keeps_the_tone(rate: int, tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", "wav", ramp(rate=rate), rate)
    wave = load(path)
    assert wave.dtype == np.float32
    assert abs(wave.size - 3 * RATE) <= 1
    size = min(wave.size, 3 * RATE)
    assert np.corrcoef(wave[:size], ramp()[:size])[0, 1] > 0.9999
    assert load(path, start_s=1.0, end_s=2.0).size == RATE


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    assert np.array_equal(resample(ramp(), RATE, RATE), ramp())


def test_resampling_down_does_not_alias() -> None:
    time = np.arange(48_000) / 48_000
    above = np.sin(2 * np.pi * 11_000 * time).astype(np.float32)  # beyond what 16 kHz can hold
    assert np.abs(resample(above, 48_000)[1000:-1000]).max() < 0.001


def test_flac_is_the_same_bytes_and_the_same_samples() -> None:
    encoded = encode_flac(ramp(), RATE)
    assert encoded == encode_flac(ramp(), RATE)
    decoded, rate = soundfile.read(io.BytesIO(encoded), dtype="float32")
    assert rate == RATE
    assert np.abs(decoded - ramp()).max() <= 0.5 / 32768 + 1e-9
    assert encode_flac(decoded, RATE) == encoded  # a second generation loses nothing


def test_flac_clips_and_never_wraps() -> None:
    decoded, _ = soundfile.read(io.BytesIO(encode_flac(4.0 * ramp(), RATE)), dtype="int16")
    loud = np.abs(4.0 * ramp()) > 1.0
    assert loud.sum() > 1000
    assert np.array_equal(np.sign(decoded[loud]), np.sign(ramp()[loud]))
    assert set(np.abs(decoded[loud].astype(int))) == {32767, 32768}


def test_flac_refuses_no_samples() -> None:
    with pytest.raises(AudioError, match="no samples"):
        encode_flac(np.zeros(0, np.float32), RATE)
