"""The front end against Kaldi's, as torchaudio has it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchaudio
from torch import Tensor

from slap_model.config import Frontend
from slap_model.frontend import LogMel


def kaldi(wave: Tensor) -> Tensor:
    """AudioMAE's call: the wave's mean removed, then fbank; ``[frames, 128]``."""
    mel: Tensor = torchaudio.compliance.kaldi.fbank(
        (wave - wave.mean())[None],
        htk_compat=True,
        sample_frequency=16_000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    return mel


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


TIME = torch.arange(16_000) / 16_000
WAVES = {
    "noise": 0.1 * noise(16_000),
    "whisper": 1e-4 * noise(16_000),
    "loud": 0.9 * noise(16_000),
    "silence": torch.zeros(16_000),
    "silence, then speech": torch.cat([torch.zeros(8_000), 0.1 * noise(8_000)]),
    "a click": torch.zeros(16_000).index_fill(0, torch.tensor([7_000]), 1.0),
    "clipping": (20 * noise(16_000)).clamp(-1, 1),
    "an offset": 0.1 * noise(16_000) + 0.7,
    "nothing but an offset": torch.full((16_000,), 0.5),
    "a tone": 0.5 * torch.sin(2 * math.pi * 440 * TIME),
    "a tone above the last filter": 0.5 * torch.sin(2 * math.pi * 7_990 * TIME),
    "whole numbers of 16 bits": (8_000 * noise(16_000)).round().clamp(-32_768, 32_767),
    "the smallest steps of 16 bits": (2 * noise(16_000)).round() / 32_768,
}


@pytest.mark.parametrize("name", WAVES)
def test_equals_kaldi_fbank(name: str) -> None:
    torch.testing.assert_close(LogMel(Frontend()).raw(WAVES[name][None])[0], kaldi(WAVES[name]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("samples", [400, 401, 559, 560, 1_234, 16_000, 164_080])
def test_equals_kaldi_fbank_at_any_length(samples: int) -> None:
    waves = 0.1 * noise(2, samples)
    ours = LogMel(Frontend()).raw(waves)
    assert ours.shape == (2, 1 + (samples - 400) // 160, 128)
    for row in range(2):
        torch.testing.assert_close(ours[row], kaldi(waves[row]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32(kind: torch.dtype) -> None:
    wave = (0.1 * noise(16_000)).to(kind)
    torch.testing.assert_close(LogMel(Frontend()).raw(wave[None])[0], kaldi(wave.float()), atol=1e-3, rtol=0)


def test_mixed_precision_does_not_reach_it() -> None:
    waves, frontend = 0.1 * noise(2, 16_000), LogMel(Frontend())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = frontend(waves)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, frontend(waves))


def test_a_batch_of_equal_waves_is_that_wave() -> None:
    wave, frontend = WAVES["noise"], LogMel(Frontend())
    alone = frontend(wave[None])
    torch.testing.assert_close(frontend(wave.expand(7, -1)), alone.expand(7, -1, -1), atol=1e-5, rtol=0)
    beside = torch.stack([wave, WAVES["loud"], WAVES["silence"]])
    torch.testing.assert_close(frontend(beside)[:1], alone, atol=1e-5, rtol=0)


def test_silence_is_finite_and_statistics_normalise() -> None:
    frontend = LogMel(Frontend())
    assert torch.isfinite(frontend(torch.zeros(1, 16_000))).all()
    waves = 0.1 * noise(4, 16_000)
    frontend.fit(list(waves))
    mel = frontend(waves)
    assert abs(mel.mean().item()) < 1e-3
    assert abs(mel.std().item() - 0.5) < 1e-2
