"""`audio.convert`: what is stored, whatever the file, in bounded memory; and what is refused."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipelines import audio
from pipelines.audio import AudioError, Converted, convert, load
from pipelines.decoders import base, libsndfile, raw
from slap_model import flac
from tests.test_audio import LIKENESS, RATE, ramp, write, write_wfdb

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[2] / "shared")) / "audio"
STREAMINFO = slice(8, 42)  # of a FLAC: behind its mark and the header of its first block


def voice(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """A swelling hum with breath: nothing in it is periodic over the whole."""
    time = np.arange(round(seconds * rate)) / rate
    hum = np.sin(2 * np.pi * 150 * time) * (1 + np.sin(2 * np.pi * 3.1 * time))
    return (0.2 * hum + 0.02 * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)


def stored(flac: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(flac), dtype="int16")
    assert rate == RATE and samples.ndim == 1
    return samples


def steps(wave: np.ndarray) -> np.ndarray:
    """16-bit samples by the rule in words: to the nearest, and never beyond full scale."""
    return np.clip(np.round(wave.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def refused(path: Path, **cut: Any) -> AudioError:
    with pytest.raises(AudioError) as caught:
        convert(path, **cut)
    assert path.name not in str(caught.value)
    return caught.value


def same(one: Converted, other: Converted) -> bool:
    return one.flac == other.flac and one.measured == other.measured and one.clipped == other.clipped


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BLOCK", 1000)
    monkeypatch.setattr(audio, "PIECE", 333)


# --- what is stored ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LIKENESS))
def test_stored_are_the_samples_that_load_gives(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "recording", kind, np.stack([voice(), 0.3 * ramp()], axis=1))
    for cut in ({}, {"channel": 1}, {"start_s": 0.7, "end_s": 2.1}, {"start_s": 1.5, "channel": 0}):
        converted = convert(path, **cut)
        expected = steps(load(path, **cut))
        assert np.array_equal(stored(converted.flac), expected)
        assert converted.measured.samples_sha256 == hashlib.sha256(expected.astype("<i2").tobytes()).hexdigest()
        assert converted.measured.raw_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert converted.measured.seconds == len(expected) / RATE


@pytest.mark.parametrize("kind", ["wav", "wav24", "flac", "mp3", "ogg", "opus", "m4a", "nsp"])
@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.usefixtures("small_blocks")
def test_blocks_leave_no_trace(kind: str, rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording read in a hundred blocks gives the bytes of one that is read at once."""
    path = write(tmp_path / "recording", kind, voice(3.0, rate), rate)
    in_blocks = convert(path)
    monkeypatch.setattr(base, "BLOCK", 2**24)
    monkeypatch.setattr(audio, "PIECE", 2**24)
    at_once = convert(path)
    assert in_blocks.flac == at_once.flac
    for name in ("seconds", "samples_sha256", "level", "clipping", "speech"):
        assert getattr(in_blocks.measured, name) == getattr(at_once.measured, name)


def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    kinds = ["wav", "flac", "mp3", "ogg", "wav24"]
    paths = [write(tmp_path / kind, kind, voice(2.0, 22_050), 22_050) for kind in kinds] * 4
    alone = [convert(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        assert all(same(*pair) for pair in zip(alone, pool.map(convert, paths), strict=True))


@pytest.mark.parametrize(
    ("container", "subtype", "least"),
    [
        ("WAV", "PCM_U8", 0.98),
        ("WAV", "PCM_32", 0.9999),
        ("WAV", "DOUBLE", 0.9999),
        ("WAV", "ULAW", 0.999),
        ("WAV", "ALAW", 0.999),
        ("WAVEX", "PCM_16", 0.9999),
        ("WAVEX", "PCM_24", 0.9999),
        ("RF64", "PCM_16", 0.9999),
        ("W64", "PCM_16", 0.9999),
        ("CAF", "PCM_16", 0.9999),
        ("AIFF", "PCM_24", 0.9999),
        ("AU", "ULAW", 0.999),
        ("FLAC", "PCM_24", 0.9999),
        ("NIST", "ULAW", 0.999),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 96_000])
def test_further_containers_and_codings(container: str, subtype: str, least: float, rate: int, tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    soundfile.write(path, voice(2.0, rate), rate, format=container, subtype=subtype)
    converted = convert(path)
    assert converted.measured.native_rate == rate
    assert len(stored(converted.flac)) == 2 * RATE
    reference = tmp_path / "reference.wav"
    soundfile.write(reference, voice(2.0, rate), rate, subtype="FLOAT")
    assert np.corrcoef(stored(converted.flac), stored(convert(reference).flac))[0, 1] > least


def test_wfdb_is_stored(tmp_path: Path) -> None:
    path = write_wfdb(tmp_path / "a.dat", voice(2.0, 8000), rate=8000)
    assert len(stored(convert(path).flac)) == 2 * RATE
    assert np.array_equal(stored(convert(path, start_s=0.5, end_s=1.5).flac), steps(load(path, start_s=0.5, end_s=1.5)))


def test_loud_clips_are_clipped_and_counted(tmp_path: Path) -> None:
    wave = 4.0 * ramp()
    path = write(tmp_path / "loud.wav", "wavfloat", wave)
    converted = convert(path)
    samples = stored(converted.flac)
    loud = np.abs(wave) > 1.0
    assert np.array_equal(np.sign(samples[loud]), np.sign(wave[loud]))
    assert set(np.abs(samples[loud].astype(int))) == {32767, 32768}
    assert converted.clipped == np.count_nonzero((np.round(wave * 32768) > 32767) | (np.round(wave * 32768) < -32768))
    assert converted.clipped > 1000


def test_nothing_is_normalised(tmp_path: Path) -> None:
    quiet = convert(write(tmp_path / "quiet.wav", "wav24", 0.01 * voice()))
    plain = convert(write(tmp_path / "plain.wav", "wav24", voice()))
    assert quiet.measured.level == pytest.approx(plain.measured.level - 40.0, abs=0.05)


# --- a FLAC that is copied -----------------------------------------------------------------------------------


def with_tags(flac: bytes, name: bytes) -> bytes:
    """The FLAC with a block of 'application' data before its audio that holds a name."""
    block = b"test" + name
    head = bytearray(flac[:42])
    head[4] &= 0x7F  # STREAMINFO is no longer the last block, if it was
    return bytes(head) + bytes([0x02]) + len(block).to_bytes(3) + block + flac[42:]


def test_a_flac_is_copied_without_its_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    content = path.read_bytes()
    path.write_bytes(with_tags(content, b"Jane Doe"))
    flac = convert(path).flac
    assert b"Jane Doe" not in flac
    assert flac[42:] == content[-len(flac[42:]) :]  # frames, byte by byte
    assert flac[STREAMINFO] == content[STREAMINFO]
    assert flac[:8] == b"fLaC\x80\x00\x00\x22"
    assert np.array_equal(stored(flac), stored(content))


def test_a_copied_flac_is_verbatim_even_at_another_level(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, steps(voice()), RATE, subtype="PCM_16", compression_level=0.0)
    plain = tmp_path / "a.wav"
    soundfile.write(plain, steps(voice()), RATE, subtype="PCM_16")
    assert len(convert(path).flac) > len(convert(plain).flac)
    assert convert(path).measured.samples_sha256 == convert(plain).measured.samples_sha256


def test_a_name_behind_the_last_frame_is_not_copied(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    plain = convert(path).flac
    path.write_bytes(path.read_bytes() + b"TAG" + b"Jane Doe".ljust(125, b"\0"))
    flac = convert(path).flac
    assert b"Jane" not in flac
    assert np.array_equal(stored(flac), stored(plain))


@pytest.mark.parametrize(
    ("rate", "subtype", "channels", "cut"),
    [(22_050, "PCM_16", 1, {}), (RATE, "PCM_24", 1, {}), (RATE, "PCM_16", 2, {}), (RATE, "PCM_16", 1, {"end_s": 1.0})],
)
def test_other_flacs_are_encoded_anew(
    rate: int, subtype: str, channels: int, cut: dict[str, float], tmp_path: Path
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.stack([voice(rate=rate)] * channels, axis=1), rate, subtype=subtype)
    converted = convert(path, **cut)
    assert np.array_equal(stored(converted.flac), steps(load(path, **cut)))


def test_a_flac_whose_samples_are_not_those_of_its_md5_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    content = bytearray(path.read_bytes())
    content[41] ^= 1
    path.write_bytes(content)
    assert str(refused(path)) == "not audio or corrupt: FLAC whose samples are not those that its header promises"
    content[26:42] = bytes(16)  # no MD5: it is encoded anew
    path.write_bytes(content)
    assert convert(path).measured.seconds == 3.0


@pytest.mark.parametrize("damage", ["flip", "junk", "half"])
def test_a_damaged_flac_is_refused(damage: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "flip":
        content[middle] ^= 0x10
    path.write_bytes(content[:middle] + (bytes(50) + content[middle:] if damage == "junk" else b""))
    if damage == "flip":
        path.write_bytes(content)
    assert str(refused(path)).startswith("not audio or corrupt: ")


def frames_of(flac: bytes, count: int) -> bytes:
    """The FLAC with another number of samples in its header."""
    info = int.from_bytes(flac[STREAMINFO])
    shift = 8 * 34 - 144
    info = info & ~(((1 << 36) - 1) << shift) | count << shift
    return flac[:8] + info.to_bytes(34) + flac[42:]


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    plain = convert(path)
    path.write_bytes(frames_of(path.read_bytes(), 0))  # as ffmpeg writes it into a pipe
    assert convert(path).measured.samples_sha256 == plain.measured.samples_sha256


@pytest.mark.parametrize("longest", [2_048, 4_096])
def test_what_is_copied_is_read_by_the_trainer_whatever_its_header_says_of_its_frames(
    longest: int, tmp_path: Path
) -> None:
    """dr_flac leaves out frames of 4,096 samples where the header says that none is longer than 2,048."""
    path = write(tmp_path / "a.flac", "flac", voice() / 64)
    content = bytearray(path.read_bytes())
    content[8:12] = longest.to_bytes(2) * 2
    path.write_bytes(content)
    copied = convert(path).flac
    assert copied[8:12] == content[8:12]
    assert np.array_equal(flac.decode(copied), stored(copied))


def test_a_flac_that_holds_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", voice())
    fewer = stored(path.read_bytes())[:-100]
    content = bytearray(frames_of(path.read_bytes(), len(fewer)))
    content[26:42] = hashlib.md5(fewer.astype("<i2").tobytes(), usedforsecurity=False).digest()
    path.write_bytes(content)
    if flac.HAS_DR_FLAC:  # libsndfile does not look behind them
        assert str(refused(path)) == f"not audio or corrupt: more samples instead of {len(fewer)}"
    else:
        assert np.array_equal(flac.decode(convert(path).flac), fewer)


# --- memory, whatever a header claims ------------------------------------------------------------------------


def test_headers_that_claim_a_hundred_hours(tmp_path: Path) -> None:
    flac = write(tmp_path / "a.flac", "flac", voice())
    flac.write_bytes(frames_of(flac.read_bytes(), 100 * 3600 * RATE))
    assert str(refused(flac)) == "not audio or corrupt: it ends before its header says"
    wav = write(tmp_path / "a.wav", "wav", voice())
    content = bytearray(wav.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    wav.write_bytes(content)
    assert convert(wav).measured.seconds == 3.0


@pytest.mark.parametrize("rate", [1, 3_999, 200_001, 2**31 - 1])
def test_rates_at_which_nobody_records(rate: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", "wav", voice())
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    assert str(refused(path)) == f"rate of {rate} Hz: only 4000 to 200000 Hz are read"


def test_longer_than_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "LONGEST_S", 2.0)
    path = write(tmp_path / "a.wav", "wav", voice())
    assert str(refused(path)).endswith("hours: give cuts with start_s and end_s")
    assert convert(path, start_s=1.0).measured.seconds == 2.0


LONG = """
import resource, sys
from pathlib import Path
from pipelines import audio
audio.convert(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = audio.convert(Path(sys.argv[2])).measured.seconds
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_a_bomb_is_converted_in_little_memory(tmp_path: Path) -> None:
    """Ten minutes at 96 kHz are 230 MB of floats; as FLAC of a tick and silence they fit into a few hundred kB."""
    short, bomb = write(tmp_path / "short.wav", "wav24", voice(1.0, 96_000), 96_000), tmp_path / "bomb.flac"
    minute = np.zeros(60 * 96_000, np.int16)
    minute[1000] = 20_000
    with soundfile.SoundFile(bomb, "w", 96_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(10):
            file.write(minute)
    assert bomb.stat().st_size < 2**20
    ran = subprocess.run(
        [sys.executable, "-c", LONG, short, bomb], check=True, capture_output=True, text=True, timeout=280
    )
    seconds, megabytes = map(float, ran.stdout.split())
    assert seconds == 600.0
    assert megabytes < 60


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "a.mp3", "mp3", voice()), tmp_path / "bad.mp3"
    bad.write_bytes(b"ID3\x04" + bytes(range(256)) * 8)
    convert(good)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        convert(good)
        refused(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# --- files that move -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [{}, {"start_s": 0.5}])
def test_a_file_that_changes_while_it_is_read(
    cut: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", "wav", voice())
    blocks = libsndfile._soundfile_blocks

    def disturbed(*args: Any) -> Iterator[Any]:
        for block in blocks(*args):
            with path.open("ab") as file:
                file.write(b"more")
            yield block

    monkeypatch.setattr(libsndfile, "_soundfile_blocks", disturbed)
    error = refused(path, **cut)
    assert error.passing
    assert str(error).startswith("changed while it was read: ")


def test_a_file_that_shrinks_under_the_decoder_is_not_called_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.flac", "flac", voice(20.0))
    monkeypatch.setattr(base, "BLOCK", 1000)
    blocks = libsndfile._soundfile_blocks

    def disturbed(*args: Any) -> Iterator[Any]:
        for block in blocks(*args):
            os.truncate(path, 100_000)
            yield block

    monkeypatch.setattr(libsndfile, "_soundfile_blocks", disturbed)
    assert refused(path, start_s=0.5).passing


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_under_a_cut(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile takes an error for the end of the file: the cut would be short, and nobody would know."""
    path = write(tmp_path / "a.wav", "wav", voice(20.0))
    reads: list[int] = []
    read = raw.Disk.read

    def failing(self: raw.Disk, count: int = -1) -> bytes:
        reads.append(count)
        if len(reads) > 12:
            self._file = Broken(code)  # type: ignore[assignment]
        return read(self, count)

    monkeypatch.setattr(raw.Disk, "read", failing)
    error = refused(path, start_s=0.5)
    assert error.passing
    assert str(error) == f"cannot be read: {os.strerror(code)}"


class Broken:
    """A file on a disk that has failed."""

    def __init__(self, code: int) -> None:
        self.code = code

    def read(self, count: int) -> bytes:
        raise OSError(self.code, os.strerror(self.code))

    def seek(self, offset: int, whence: int) -> int:
        raise OSError(self.code, os.strerror(self.code))

    def tell(self) -> int:
        return 0


def test_what_may_pass_and_what_will_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.wav").touch()
    assert not refused(tmp_path / "empty.wav").passing
    assert not refused(tmp_path / "no.wav").passing

    def denied(self: Path, *args: Any, **kwargs: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write(tmp_path / "a.wav", "wav", voice())
    monkeypatch.setattr(Path, "open", denied)
    assert refused(path).passing


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert str(refused(tmp_path / "pipe.wav")) == "not a file"


def test_the_hash_of_a_file_with_many_cuts_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "interview.wav", "wav", voice(5.0))
    hashed: list[str] = []
    digest = hashlib.file_digest

    def counting(file: Any, name: str) -> Any:
        hashed.append(name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counting)
    found = {convert(path, start_s=at / 10, end_s=at / 10 + 1.0).measured.raw_sha256 for at in range(30)}
    assert found == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(hashed) == 1
    write(path, "wav", 0.5 * voice(5.0))
    os.utime(path, (1, 1))
    assert convert(path, start_s=1.0).measured.raw_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_shorten_in_sphere_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "sa1.wav"
    header = b"NIST_1A\n   1024\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n"
    path.write_bytes(header.ljust(1024) + b"ajkg" + bytes(5000))
    assert "sph2pipe" in str(refused(path))


# --- real recordings -----------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    "pattern", ["librispeech/**/*.flac", "speechocean762/**/*.WAV", "common_voice/**/*.mp3", "fsdd/**/*.wav"]
)
def test_real_recordings_come_through_unchanged(pattern: str) -> None:
    paths = sorted(REAL.glob(pattern))[:20]
    if not paths:
        pytest.skip(f"no recordings in {REAL}")
    for path in paths:
        converted = convert(path)
        assert np.array_equal(stored(converted.flac), steps(load(path)))
        assert 0.2 < converted.measured.speech <= 1.0
        assert -60.0 < converted.measured.level < 0.0
