from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slap_model import config
from slap_model.data import TrainingSet, collate
from slap_model.losses import patchify
from slap_model.manifest import Manifest
from slap_model.model import CheckpointError, Slap, crops
from slap_model.task import SlapTask


def batch_of(data: TrainingSet, count: int = 8) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    return collate([data[i] for i in range(count)])


@pytest.mark.parametrize("kind", ["entailment", "clip", "siglip"])
def test_every_trained_weight_gets_a_gradient(settings: config.Config, manifest: Manifest, kind: str) -> None:
    settings = dataclasses.replace(settings, loss=dataclasses.replace(settings.loss, contrastive=kind))
    model = Slap(settings)
    losses, scalars = SlapTask(model)(batch_of(TrainingSet(manifest, settings)))
    assert set(losses) == {"loss", "contrastive", "mae"}
    torch.testing.assert_close(losses["loss"], losses["contrastive"] + losses["mae"])
    losses["loss"].backward()
    without = {n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())}
    assert without <= ({"bias"} if kind != "siglip" else set())
    assert scalars["temperature"].item() == pytest.approx(0.07)


def test_encoder_tokens_lie_where_patchify_says(settings: config.Config) -> None:
    """The autoencoder's targets and the encoder's tokens must name the same patches."""
    model = Slap(settings)
    mel = torch.zeros(1, 32, 128)
    mel[:, 16:, 32:48] = 1.0  # time patch 1, mel patch 2
    hot_target = patchify(mel, (16, 16)).sum(2)[0].nonzero().flatten().tolist()
    tokens = model.encoder.vit.patch_embed(mel.unsqueeze(1)) - model.encoder.vit.patch_embed(torch.zeros(1, 1, 32, 128))
    hot_token = tokens.abs().sum(2)[0].nonzero().flatten().tolist()
    assert hot_target == hot_token == [1 * 8 + 2]


def test_masked_pass_with_nothing_masked_is_the_full_pass(settings: config.Config) -> None:
    model = Slap(settings).eval()
    mel = torch.randn(2, 32, 128)
    everything = torch.arange(16).expand(2, -1)
    torch.testing.assert_close(model.encoder.tokens(mel, everything), model.encoder.tokens(mel))


def test_embedding_is_the_same_in_any_company(settings: config.Config) -> None:
    model = Slap(settings).eval()
    rng = np.random.default_rng(0)
    waves = [rng.standard_normal(n).astype(np.float32) * 0.1 for n in (2_000, 5_360, 30_000, 7_000)]
    together = model.embed_audio(waves)
    alone = np.concatenate([model.embed_audio([wave]) for wave in waves])
    assert together.shape == (4, 32)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, model.embed_audio(waves))
    np.testing.assert_allclose(np.linalg.norm(model.project(together), axis=1), 1, atol=1e-5)


def test_crops_cover_the_wave() -> None:
    wave = np.arange(10, dtype=np.float32)
    assert [piece.tolist() for piece in crops(wave, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert [piece.tolist() for piece in crops(wave[:3], 4)] == [[0, 1, 2, 0]]
    with pytest.raises(ValueError, match="samples"):
        crops(wave[:0], 4)


def test_no_checkpoint_is_said_so(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        Slap.from_checkpoint(tmp_path)


def test_weights_start_the_encoder_or_say_why_not(settings: config.Config, tmp_path) -> None:
    """The key mapping of a pretrained timm ViT (final norm named `norm`), on generated weights."""
    from safetensors.torch import save_file

    source = Slap(settings).encoder.vit.state_dict()
    generated = {key.replace("fc_norm.", "norm."): torch.randn_like(value) for key, value in source.items()}
    save_file(generated, tmp_path / "start.safetensors")
    with_weights = dataclasses.replace(
        settings, encoder=dataclasses.replace(settings.encoder, weights=str(tmp_path / "start.safetensors"))
    )
    started = Slap(with_weights).encoder.vit.state_dict()
    for key, value in started.items():
        torch.testing.assert_close(value, generated[key.replace("fc_norm.", "norm.")])
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises((config.ConfigError, RuntimeError)):
        Slap(
            dataclasses.replace(
                settings, encoder=dataclasses.replace(settings.encoder, weights=str(tmp_path / "other.safetensors"))
            )
        )
