from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from slap_model.config import Frontend
from slap_model.frontend import LogMel


@pytest.mark.parametrize("level", [1e-4, 0.1, 0.9])
def test_equals_kaldi_fbank(level: float) -> None:
    wave = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 16_000)).astype(np.float32)) * level
    ours = LogMel(Frontend()).raw(wave)
    for row in range(2):
        kaldi = torchaudio.compliance.kaldi.fbank(
            (wave[row] - wave[row].mean())[None],
            htk_compat=True,
            sample_frequency=16_000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        torch.testing.assert_close(ours[row], kaldi, atol=1e-3, rtol=0)


def test_silence_is_finite_and_statistics_normalise() -> None:
    frontend = LogMel(Frontend())
    assert torch.isfinite(frontend(torch.zeros(1, 16_000))).all()
    waves = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    frontend.fit(waves)
    mel = frontend(waves)
    assert abs(mel.mean().item()) < 1e-3
    assert abs(mel.std().item() - 0.5) < 1e-2
