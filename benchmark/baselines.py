"""The floor that a model has to stand on: embedders that know nothing of speakers, and a constant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.embedders import UNTRAINED, Vectors, Wave


class MelStatistics:
    """Mean and standard deviation over time of a log-mel spectrogram: long-term spectrum and its spread.

    64 HTK bands, window 25 ms, hop 10 ms, at 16 kHz: 128 numbers. It has no text side.
    """

    name = "mel-statistics"
    fingerprint = hashlib.sha256(b"mel-statistics 1: 64 htk bands, fft 512, 25/10 ms, mean and std").hexdigest()
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = UNTRAINED

    @cached_property
    def _mel(self) -> Any:
        from torchaudio.transforms import MelSpectrogram

        return MelSpectrogram(
            self.sample_rate, n_fft=512, win_length=400, hop_length=160, n_mels=64, pad_mode="constant"
        )

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, 128]; one wave at a time, so neighbours cannot matter."""
        return np.stack([self._statistics(wave) for wave in waves])

    def _statistics(self, wave: Wave) -> Vectors:
        import torch

        log_mel = torch.log(self._mel(torch.from_numpy(np.ascontiguousarray(wave))) + 1e-6)  # [64, frames]
        statistics = torch.cat([log_mel.mean(dim=1), log_mel.std(dim=1, correction=0)])
        return np.asarray(statistics.numpy(), dtype=np.float32)


class MfccStatistics:
    """Mean and standard deviation over time of 20 MFCC and of their deltas: 80 numbers. It has no text side.

    64 HTK bands, window 25 ms, hop 10 ms, at 16 kHz; deltas over 9 frames.
    """

    name = "mfcc-statistics"
    fingerprint = hashlib.sha256(b"mfcc-statistics 1: 20 of 64 htk bands, fft 512, 25/10 ms, deltas over 9").hexdigest()
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = UNTRAINED

    @cached_property
    def _mfcc(self) -> Any:
        from torchaudio.transforms import MFCC

        mel = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 64, "pad_mode": "constant"}
        return MFCC(self.sample_rate, n_mfcc=20, log_mels=True, melkwargs=mel)

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, 80]; one wave at a time, so neighbours cannot matter."""
        return np.stack([self._statistics(wave) for wave in waves])

    def _statistics(self, wave: Wave) -> Vectors:
        import torch
        from torchaudio.functional import compute_deltas

        mfcc = self._mfcc(torch.from_numpy(np.ascontiguousarray(wave)))  # [20, frames]
        both = torch.cat([mfcc, compute_deltas(mfcc, win_length=9)])
        return np.asarray(torch.cat([both.mean(dim=1), both.std(dim=1, correction=0)]).numpy(), dtype=np.float32)


class RandomVectors:
    """A vector drawn from the hash of what it is given: chance, but the same on every run."""

    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = UNTRAINED

    def __init__(self, width: int = 192, seed: int = 0, name: str = "random") -> None:
        self.name = name
        self.width = width
        self.seed = seed
        self.fingerprint = hashlib.sha256(f"random 1: {width} wide, seed {seed}".encode()).hexdigest()

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, width]."""
        return np.stack([self._draw(b"audio", np.ascontiguousarray(wave).tobytes()) for wave in waves])

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, width], unrelated to those of any audio."""
        return np.stack([self._draw(b"text", text.encode()) for text in texts])

    def _draw(self, kind: bytes, content: bytes) -> Vectors:
        digest = hashlib.sha256(kind + str(self.seed).encode() + b":" + content).digest()
        return np.random.default_rng(list(digest)).standard_normal(self.width, dtype=np.float32)


class AlwaysYes:
    """Says yes to everything. No embedder: it needs no vectors, and joins the board in both modes."""

    name = "always-yes"
    fingerprint = hashlib.sha256(b"always-yes 1").hexdigest()
    trained_on: Mapping[str, Sequence[str]] = UNTRAINED

    def decide(self, n: int) -> npt.NDArray[np.float64]:
        """The decision values [n] of n utterances: 1, so that every one is predicted positive."""
        return np.ones(n)
