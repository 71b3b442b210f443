"""The script for GPUs works, on a small model and a CPU; its arithmetic is that of torch's own counter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from slap_model import config, data
from slap_model.data import TrainingSet
from slap_model.manifest import Manifest
from slap_model.model import Slap
from slap_model.task import SlapTask
from tests.perf import gpu, speech

SIZE = (
    "encoder.dim=128",
    "encoder.depth=3",
    "encoder.heads=2",
    "decoder.depth=4",
    "decoder.dim=64",
    "decoder.heads=2",
    "loss.dim=16",
)


@pytest.mark.parametrize("setting", ["base", "fast"])
def test_flops_are_those_that_torch_counts(tmp_path: Path, setting: str) -> None:
    settings = config.load(setting, (*SIZE, "train.batch=4", "train.precision=fp32"))
    lengths = [10.5, 4.0, 1.6, 6.0]
    made = TrainingSet(Manifest.load(speech.corpus(tmp_path / "made", lengths, settings.text.dim)), settings)
    batch = made.batch(range(4))  # the first epoch: each clip once
    task = SlapTask(Slap(settings)).train()
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        losses, _ = task(batch)
        losses["loss"].backward()
    mel = 2 * 257 * 128 * sum(part.shape[0] * part.shape[1] / 160 for part in batch["waves"])  # the front end's product
    assert gpu.flops(settings, lengths) * 4 == pytest.approx(counter.get_total_flops() - mel, rel=0.05)


def test_sections_run_on_a_cpu_without_soundfile_and_tensorboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech, "DECODES", False)
    monkeypatch.setattr(data, "Flac", data.Flac)  # `read_pcm` replaces it; this puts it back
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    speech.read_pcm()
    device, lengths = torch.device("cpu"), speech.seconds_like_real(16)
    manifest = Manifest.load(speech.corpus(tmp_path / "made", lengths, 384))
    assert gpu.parity(manifest, device, gpu.TINY) < 1e-3
    gpu.speed({"real lengths": (manifest, lengths)}, device, gpu.TINY, compiled=(False,))
    gpu.memory(manifest, device, gpu.TINY)
    out = capsys.readouterr().out
    assert "fast, real lengths" in out
    assert "batch    8" in out
