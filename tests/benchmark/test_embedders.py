from collections.abc import Sequence

import numpy as np
import pytest

from benchmark.baselines import AlwaysYes, MelStatistics, RandomVectors
from benchmark.embedders import UNTRAINED, EmbedderError, Vectors, Wave, check_embedder, project, speaks


class Loudness:
    """A correct embedder of two numbers; the ones below each break one promise."""

    name = "loudness"
    fingerprint = "1"
    sample_rate = 16_000
    trained_on = UNTRAINED

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        return np.stack([self.embed_one(wave) for wave in waves])

    def embed_one(self, wave: Wave) -> Vectors:
        return np.array([np.sqrt(np.mean(wave**2)), np.mean(np.abs(np.diff(wave)))], dtype=np.float32)


class RandomCrop(Loudness):
    def embed_one(self, wave: Wave) -> Vectors:
        start = np.random.randint(max(1, len(wave) - 16_000))
        return super().embed_one(wave[start : start + 16_000])


class BatchNormalised(Loudness):
    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        vectors = super().embed_audio(waves)
        return vectors - vectors.mean(axis=0) / 2


class PaddingIncluded(Loudness):
    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        longest = max(map(len, waves))
        return super().embed_audio([np.pad(wave, (0, longest - len(wave))) for wave in waves])


class LogOfSilence(Loudness):
    def embed_one(self, wave: Wave) -> Vectors:
        with np.errstate(divide="ignore"):
            return np.log(super().embed_one(wave))


class OneForAll(Loudness):
    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        return super().embed_audio(waves)[:1]


class FrameByFrame(Loudness):
    def embed_one(self, wave: Wave) -> Vectors:
        return wave[::160]


class OtherSpace(Loudness):
    def embed_text(self, texts: Sequence[str]) -> Vectors:
        return np.ones((len(texts), 5), dtype=np.float32)


class BadName(Loudness):
    name = "../slap"


@pytest.mark.parametrize("embedder", [Loudness(), MelStatistics(), RandomVectors()], ids=lambda e: e.name)
def test_good_embedders_pass(embedder: Loudness) -> None:
    check_embedder(embedder)


@pytest.mark.parametrize(
    ("embedder", "promise"),
    [
        (RandomCrop(), "the same twice"),
        (BatchNormalised(), "the same in any batch"),
        (PaddingIncluded(), "the same beside longer neighbours"),
        (LogOfSilence(), "finite"),
        (OneForAll(), "the right shape"),
        (FrameByFrame(), "the right shape"),
        (OtherSpace(), "in one space"),
        (BadName(), "a name that can be a file name"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_broken_promise_is_named(embedder: Loudness, promise: str) -> None:
    with pytest.raises(EmbedderError, match=f"embedder {embedder.name}: not {promise}"):
        check_embedder(embedder)


def test_who_can_be_asked_in_words() -> None:
    silent = RandomVectors()
    silent.speaks_text = False  # type: ignore[attr-defined]
    assert speaks(RandomVectors())
    assert not speaks(silent)
    assert not speaks(MelStatistics())


def test_project_is_the_identity_where_there_is_none() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert project(RandomVectors(3), vectors) is vectors


def test_random_vectors_depend_on_content_and_seed_alone() -> None:
    waves = [np.full(100, value, dtype=np.float32) for value in (0.1, 0.2)]
    first, second = RandomVectors(8).embed_audio(waves)
    assert np.array_equal(RandomVectors(8).embed_audio(waves[1:])[0], second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(RandomVectors(8, seed=1).embed_audio(waves)[0], first)
    assert RandomVectors(8, seed=1).fingerprint != RandomVectors(8).fingerprint


def test_mel_statistics_hear_pitch_and_its_movement() -> None:
    time = np.arange(16_000) / 16_000
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (200, 3000))
    of_low, of_high, of_both = MelStatistics().embed_audio([low, high, np.concatenate([low, high])])
    assert of_low[:64].argmax() < of_high[:64].argmax()
    assert of_both[64:].max() > 3 * max(of_low[64:].max(), of_high[64:].max())


def test_always_yes_says_yes() -> None:
    assert (AlwaysYes().decide(3) > 0).all()
