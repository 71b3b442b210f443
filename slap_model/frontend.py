"""Waveform to log-mel, batched and on the device; equal to Kaldi's fbank as AudioMAE calls it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slap_model import config

EPSILON = 1.1920928955078125e-07  # Kaldi's floor under the logarithm: float32's epsilon
PREEMPHASIS = 0.97
LOW_HZ = 20.0


def mel_banks(bins: int, fft: int, rate: int) -> Tensor:
    """Kaldi's triangular mel filters.

    Returns:
        ``[bins, fft // 2]`` weights over the bins below Nyquist.
    """

    def mel(hz: Tensor) -> Tensor:
        return 1127.0 * torch.log(1.0 + hz / 700.0)

    low, high = mel(torch.tensor([LOW_HZ, rate / 2], dtype=torch.float64))
    delta = (high - low) / (bins + 1)
    left = low + torch.arange(bins, dtype=torch.float64)[:, None] * delta
    at = mel(torch.arange(fft // 2, dtype=torch.float64) * rate / fft)[None, :]
    up, down = (at - left) / delta, (left + 2 * delta - at) / delta
    return torch.minimum(up, down).clamp(min=0).float()


class LogMel(nn.Module):
    """``[batch, samples]`` waveforms to ``[batch, frames, mels]``, normalised by stored statistics.

    Waveforms are in [-1, 1], or int16 as files have them: half as much to hand over to a device.

    Kaldi's fbank with hanning window, pre-emphasis 0.97, no dither, the mean of the waveform and of each frame
    removed (AudioMAE's settings: inferred, see the paper's front end). ``mean`` and ``std`` are buffers, so a
    checkpoint carries the statistics of the data it was trained on.
    """

    mean: Tensor
    std: Tensor
    banks: Tensor
    taper: Tensor

    def __init__(self, settings: config.Frontend) -> None:
        super().__init__()
        self.settings = settings
        self.fft = 2 ** math.ceil(math.log2(settings.window))
        self.register_buffer("banks", mel_banks(settings.mels, self.fft, settings.sample_rate), persistent=False)
        self.register_buffer("taper", torch.hann_window(settings.window, periodic=False), persistent=False)
        # AudioMAE's AudioSet statistics, (x - mean) / (2 * std), until `fit` has seen the data.
        self.register_buffer("mean", torch.tensor(-4.2677393))
        self.register_buffer("std", torch.tensor(4.5689974))

    def raw(self, waves: Tensor) -> Tensor:
        """Log-mel energies before normalisation, ``[batch, frames, mels]``."""
        settings = self.settings
        waves = waves.float() / 32768 if waves.dtype == torch.int16 else waves.float()
        waves = waves - waves.mean(dim=1, keepdim=True)
        frames = waves.unfold(1, settings.window, settings.hop)
        frames = frames - frames.mean(dim=2, keepdim=True)
        # Multiplied and subtracted in two roundings, as Kaldi does: weak bins show the difference. A frame's first
        # sample has no one before it, but the window is zero there.
        frames = F.pad(frames[..., 1:] - PREEMPHASIS * frames[..., :-1], (1, 0)) * self.taper
        spectrum = torch.fft.rfft(frames, n=self.fft)
        power = (spectrum.real.square() + spectrum.imag.square())[..., : self.fft // 2]  # abs() would take a root
        mel: Tensor = (power @ self.banks.T).clamp(min=EPSILON).log()
        return mel

    def forward(self, waves: Tensor) -> Tensor:
        """Normalised log-mel, ``[batch, frames, mels]``; computed in float32 whatever the precision around it."""
        with torch.autocast(waves.device.type, enabled=False):
            return (self.raw(waves) - self.mean) / (2 * self.std)

    @torch.no_grad()
    def fit(self, waves: Sequence[Tensor]) -> None:
        """Take mean and standard deviation of the log-mel from waves ``[samples]`` of the training data."""
        values = torch.cat([self.raw(wave[None]).flatten() for wave in waves])
        self.mean.copy_(values.mean())
        self.std.copy_(values.std().clamp(min=1e-3))
