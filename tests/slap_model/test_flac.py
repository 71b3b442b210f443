from __future__ import annotations

import io
import random

import numpy as np
import pytest
import soundfile

from slap_model import flac
from slap_model.flac import NEAR, WORTH, Flac, FlacError, decode

RATE = 16_000
STREAMINFO = slice(18, 26)  # rate, channels, bits and samples
dr_flac = pytest.mark.skipif(not flac.HAS_DR_FLAC, reason="miniaudio has no wheel for Linux on ARM")


@pytest.fixture(params=[pytest.param("dr_flac", marks=dr_flac), "libsndfile alone"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to decode, with what is installed and without miniaudio."""
    monkeypatch.setattr(flac, "HAS_DR_FLAC", request.param == "dr_flac")


def packed_of(wave: np.ndarray, **options: object) -> bytes:
    held = io.BytesIO()
    soundfile.write(held, wave, RATE, **{"format": "FLAC", "subtype": "PCM_16", **options})
    return held.getvalue()


def noise(samples: int, loud: float = 5_000) -> np.ndarray:
    wave = np.random.default_rng(samples).standard_normal(samples) * loud
    return wave.clip(-32_768, 32_767).astype(np.int16)


def part(packed: bytes, start: int, count: int) -> np.ndarray:
    out = np.empty(count, np.int16)
    Flac(packed).read(start, out)
    return out


# --- what is right ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("samples", [1, 15, 4_095, 4_096, 4_097, 50_000])
def test_all_samples_are_those_of_libsndfile(samples: int, subtype: str) -> None:
    for wave in (noise(samples), noise(samples, 1e6), np.zeros(samples, np.int16), noise(samples) // 64 * 64):
        for level in (0.0, 0.5, 1.0):
            packed = packed_of(wave, subtype=subtype, compression_level=level)
            np.testing.assert_array_equal(decode(packed), soundfile.read(io.BytesIO(packed), dtype="int16")[0])


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_part_of_a_clip_is_that_part_of_the_whole(subtype: str) -> None:
    """From anywhere, near the beginning (decoded up to there) and far (sought), short and long, and to the very end."""
    wave = noise(200_000)
    packed = packed_of(wave, subtype=subtype)
    clip = Flac(packed)
    assert clip.samples == len(wave)
    starts = [0, 1, NEAR - 1, NEAR, NEAR + 1, 4_096 * 9, 199_999, *np.random.default_rng(1).integers(0, 199_999, 50)]
    for start in map(int, starts):
        for count in (3_000, len(wave) // WORTH, len(wave)):
            out = np.empty(min(count, len(wave) - start), np.int16)
            clip.read(start, out)
            np.testing.assert_array_equal(out, wave[start : start + count])


# --- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("decoder")
def test_damage_is_an_error_or_changes_nothing() -> None:
    """Bits, bytes and whole frames that are changed, lost, or there twice, wherever a window lies."""
    rng, wave = random.Random(0), noise(40_000)
    packed = packed_of(wave)
    told = 0
    for _ in range(400):
        bad = bytearray(packed)
        at, length = rng.randrange(100, len(bad)), rng.choice([1, 30, 500, 9_000])
        damage = rng.choice(["bit", "other", "lost", "twice", "cut"])
        if damage == "bit":
            bad[at] ^= 1 << rng.randrange(8)
        elif damage == "other":
            bad[at : at + length] = rng.randbytes(min(length, len(bad) - at))
        elif damage == "lost":
            del bad[at : at + length]
        elif damage == "twice":
            bad[at:at] = bad[at : at + length]
        else:
            del bad[at:]
        count = rng.choice([len(wave), 30_000, 5_000])
        start = rng.randrange(len(wave) - count + 1)
        try:
            found = part(bytes(bad), start, count)
        except FlacError:
            told += 1
        else:
            np.testing.assert_array_equal(found, wave[start : start + count], err_msg=f"{damage} {at} {length} {start}")
    assert told > 250


@dr_flac
def test_a_lost_frame_is_told_by_the_count() -> None:
    """What dr_flac itself says nothing about."""
    packed = bytearray(packed_of(noise(40_000)))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(FlacError, match=r"^35904 samples instead of 40000$"):
        decode(bytes(packed))
    with pytest.raises(FlacError, match=r"^35904 samples instead of 40000$"):
        part(bytes(packed), 0, 30_000)


@pytest.mark.parametrize(
    ("samples", "channels", "said"),
    [
        pytest.param(39_999, 1, "^more samples instead of 39999$", marks=dr_flac),
        (40_001, 1, "^40000 samples instead of 40001$"),
        (2**36 - 1, 1, "^68719476735 samples cannot be in "),
        (0, 1, "^0 samples cannot be in "),
        (40_000, 2, "^2 channels instead of one$"),
    ],
)
def test_a_header_that_lies_is_told(samples: int, channels: int, said: str) -> None:
    packed = bytearray(packed_of(noise(40_000)))
    packed[STREAMINFO] = (RATE << 44 | (channels - 1) << 41 | 15 << 36 | samples).to_bytes(8)
    with pytest.raises(FlacError, match=said):
        decode(bytes(packed))


def test_several_channels_are_refused() -> None:
    with pytest.raises(FlacError, match="2 channels"):
        Flac(packed_of(noise(8_000).reshape(-1, 2)))


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"fLaC",
        b"fLaC\x01" + packed_of(noise(4_000))[5:],
        packed_of(noise(4_000))[:40],
        packed_of(noise(4_000), format="WAV"),
        packed_of(noise(4_000), format="OGG", subtype="VORBIS"),
        b"ID3\x04\x00\x00\x00\x00\x00\x00" + packed_of(noise(4_000)),
    ],
)
def test_what_is_no_flac_is_refused(packed: bytes) -> None:
    with pytest.raises(FlacError, match=r"^no FLAC$"):
        Flac(packed)
