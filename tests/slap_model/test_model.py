from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmark.embedders import SlapEmbedder, check_embedder
from slap_model import config
from slap_model.data import TrainingSet
from slap_model.losses import patchify
from slap_model.manifest import Manifest
from slap_model.model import CheckpointError, NoTextError, Slap, filled, starts
from slap_model.task import SlapTask


def batch_of(data: TrainingSet, count: int = 8) -> dict[str, torch.Tensor | list[torch.Tensor]]:
    return data.batch(list(range(count)))


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


def test_windows_cover_the_wave() -> None:
    assert starts(10, 4) == [0, 4, 6]
    assert starts(8, 4) == [0, 4]
    assert starts(3, 4) == [0]
    wave = np.arange(3, dtype=np.float32)
    assert filled(wave, 5, "repeat").tolist() == [0, 1, 2, 0, 1]
    assert filled(wave, 5, "own").tolist() == [0, 1, 2, 0, 1]
    assert filled(wave, 5, "pad").tolist() == [0, 1, 2, 0, 0]


def of_lengths(settings: config.Config, lengths: str) -> Slap:
    torch.manual_seed(0)
    return Slap(dataclasses.replace(settings, data=dataclasses.replace(settings.data, lengths=lengths))).ready("cpu")


def noise(*samples: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(n).astype(np.float32) * 0.1 for n in samples]


@pytest.mark.parametrize("lengths", ["repeat", "pad", "own"])
def test_short_waves_are_read_as_in_training(settings: config.Config, lengths: str) -> None:
    """By the encoder itself, on the window that training would have made of each."""
    model = of_lengths(settings, lengths)
    full = settings.samples  # 5,360: 32 frames
    waves = noise(2_000, 2_900, 5_000, full)
    expected = []
    for wave in waves:
        samples = full
        if lengths == "own":  # 2,000 and 2,900 samples are 11 and 17 frames: one and two patches of 16
            samples = {2_000: 400 + 15 * 160, 2_900: full}.get(len(wave), full)
        window = np.pad(wave, (0, samples - len(wave))) if lengths == "pad" else np.resize(wave, samples)
        with torch.inference_mode():
            expected.append(model.encoder.pooled(model.frontend(torch.from_numpy(window)[None].to(model.device))))
    assert model.precision == "fp32"
    np.testing.assert_allclose(model.embed_audio(waves), torch.cat(expected).cpu().numpy(), atol=1e-5)


@pytest.mark.parametrize("lengths", ["repeat", "pad", "own"])
def test_an_embedder_keeps_its_promises(settings: config.Config, lengths: str) -> None:
    model = of_lengths(dataclasses.replace(settings, text=config.Text()), lengths)
    check_embedder(SlapEmbedder.of(model))
    long = dataclasses.replace(model.settings, frontend=dataclasses.replace(settings.frontend, frames=992))
    torch.manual_seed(0)
    check_embedder(SlapEmbedder.of(Slap(long).ready("cpu")))


def test_precision_is_part_of_the_fingerprint_and_hardly_of_the_vectors(settings: config.Config) -> None:
    model = of_lengths(settings, "repeat").ready("cpu", "fp32")
    waves = noise(3_000, 9_000)
    exact, name = model.embed_audio(waves), model.fingerprint
    model.ready("cpu", "bf16")
    assert model.fingerprint != name == model.fingerprints["fp32"]
    rounded = model.embed_audio(waves)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    with pytest.raises(ValueError, match="precision 'half'"):
        model.ready("cpu", "half")  # type: ignore[arg-type]


def test_fingerprint_tells_what_changes_vectors_from_what_does_not(settings: config.Config) -> None:
    def named(**sections: object) -> str:
        torch.manual_seed(0)
        return Slap(dataclasses.replace(settings, **sections)).fingerprint  # type: ignore[arg-type]

    same = named(train=dataclasses.replace(settings.train, steps=7, rate=0.5))
    assert same == named() == of_lengths(settings, "repeat").ready("cpu").fingerprint
    assert named(data=dataclasses.replace(settings.data, lengths="pad")) != same
    model = of_lengths(settings, "repeat").ready("cpu")
    with torch.no_grad():
        model.audio_head.weight[0, 0] += 1
    assert model.fingerprint != same


def test_waves_that_would_be_misread_are_refused(settings: config.Config) -> None:
    model = of_lengths(settings, "repeat")
    good = noise(2_000)[0]
    assert model.embed_audio([]).shape == (0, 32)
    for bad, said in (
        (good[:0], "wave 1: a mono wave with samples"),
        (np.stack([good, good]), "wave 1: a mono wave with samples"),
        ((good * 32768).astype(np.int16), r"wave 1: float samples in \[-1, 1\]"),
        (np.full(2_000, np.nan, dtype=np.float32), "wave 1: some samples are not finite"),
    ):
        with pytest.raises(ValueError, match=said):
            model.embed_audio([good, bad])


def test_similarity_is_the_cosine_of_both_sides(settings: config.Config) -> None:
    spoken = dataclasses.replace(settings, text=config.Text())
    torch.manual_seed(0)
    model = Slap(spoken).ready("cpu")
    waves, texts = noise(2_000, 6_000), ["A woman is speaking.", "A man is speaking."]
    vectors = model.embed_audio(waves)
    cosines = model.similarity(waves, texts)
    assert cosines.shape == (2, 2)
    np.testing.assert_allclose(cosines, model.similarity(vectors, texts), atol=1e-5)
    audio, text = model.project(vectors), model.embed_text(texts)
    np.testing.assert_allclose(cosines, audio @ text.T, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, atol=1e-5)
    assert model.temperature == pytest.approx(0.07)
    with pytest.raises(ValueError, match=r"vectors \[n, 32\] or a list of waves"):
        model.similarity(audio, texts)


def test_a_model_without_language_says_so(settings: config.Config) -> None:
    control = Slap(dataclasses.replace(settings, loss=dataclasses.replace(settings.loss, contrastive_weight=0.0)))
    assert not control.speaks_text
    with pytest.raises(NoTextError, match="trained without language"):
        control.ready().similarity(noise(2_000), ["A man is speaking."])


def checkpoint(settings: config.Config, folder: Path) -> Slap:
    """A checkpoint as training writes it, with generated weights."""
    torch.manual_seed(0)
    model = Slap(settings)
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    trained_on = {"corpora": ["fsdd"], "languages": ["en"], "labels": ["sex"]}
    card = {"step": 3, "steps": 3, "samples_seen": 24, "seed": 0, "manifest": "abc", "trained_on": trained_on}
    (folder / "checkpoint.json").write_text(json.dumps({**card, "config": settings.as_dict()}))
    return model


def test_folder_that_is_no_model_is_said_so(settings: config.Config, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*: neither"):
        Slap.from_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*: no folder"):
        Slap.from_checkpoint(tmp_path / "nowhere")
    checkpoint(settings, tmp_path / "run" / "step-00000003")
    assert Slap.from_checkpoint(tmp_path / "run").card["step"] == 3
    weights = tmp_path / "run" / "step-00000003" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="weights are broken or do not fit"):
        Slap.from_checkpoint(tmp_path / "run")
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is absent"):
        Slap.from_checkpoint(tmp_path / "run")
    (weights.parent / "checkpoint.json").write_text('{"architectures": ["Bert"]}')
    with pytest.raises(CheckpointError, match="no description of a SLAP model"):
        Slap.from_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("name", ["nobody/nothing", "/no/such/folder", "shared/"])
def test_no_such_shared_model_is_said_so(name: str) -> None:
    with pytest.raises(CheckpointError, match="is no folder, and the hub does not give it"):
        Slap.from_pretrained(name)
