"""Every family of the hub with generated weights: the real architecture, small, through the path that loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import hub
from benchmark.embedders import AbsentError, check_embedder, project, speaks
from benchmark.hub import convert, make, pcen, weights_folder
from benchmark.hub_models import MODELS, Model
from tests.perf.generated import clap, hear, ms_clap, vit, wav2vec, whisper

SMALL: dict[str, Callable[[Path], None]] = {
    "whisper-medium": whisper,
    "whisper-large": lambda folder: whisper(folder, mels=128),
    "wav2vec2-base": lambda folder: wav2vec(folder, "wav2vec2"),
    "wav2vec2-large": lambda folder: wav2vec(folder, "wav2vec2"),
    "hubert-base": lambda folder: wav2vec(folder, "hubert"),
    "hubert-large": lambda folder: wav2vec(folder, "hubert", norm="layer"),
    "wavlm-base": lambda folder: wav2vec(folder, "wavlm"),
    "wavlm-large": lambda folder: wav2vec(folder, "wavlm", norm="layer"),
    "audiomae": vit,
    "hear": hear,
    "laion-clap": clap,
    "ms-clap": ms_clap,
}
WIDTH = {"hear": 24, "audiomae": 32, "laion-clap": 64, "ms-clap": 64}
RATE = {"laion-clap": 48_000, "ms-clap": 44_100}


def stored(name: str, models: Path) -> Path:
    folder = models / MODELS[name].repository
    SMALL[name](folder)
    return folder


def waves(rate: int, *seconds: float) -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [(0.1 * noise.standard_normal(int(rate * s))).astype(np.float32) for s in seconds]


def test_every_model_of_the_hub_is_tested() -> None:
    assert SMALL.keys() == MODELS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_model_keeps_its_promises(name: str, tmp_path: Path) -> None:
    stored(name, tmp_path)
    embedder = make(name, tmp_path)
    assert embedder.sample_rate == RATE.get(name, 16_000)
    check_embedder(embedder)
    few = waves(embedder.sample_rate, 0.01, 1.0, 2.5)
    vectors = embedder.embed_audio(few)
    assert vectors.shape == (3, WIDTH.get(name, 32))
    assert vectors.dtype == np.float32
    # the weights are what is heard: loaded again they say the same, others say something else
    again = make(name, tmp_path)
    assert again.fingerprint == embedder.fingerprint
    assert np.array_equal(again.embed_audio(few), vectors)
    torch.manual_seed(1)
    stored(name, tmp_path / "other")
    other = make(name, tmp_path / "other")
    assert other.fingerprint != embedder.fingerprint
    assert not np.allclose(other.embed_audio(few), vectors, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "seconds"), [("hear", 2.0), ("laion-clap", 10.0), ("ms-clap", 7.0), ("audiomae", 10.24)]
)
def test_a_long_wave_is_the_mean_of_its_pieces(name: str, seconds: float, tmp_path: Path) -> None:
    stored(name, tmp_path)
    embedder = make(name, tmp_path)
    (whole,) = waves(embedder.sample_rate, 2 * seconds)
    first, second = embedder.embed_audio(np.split(whole, 2))
    assert embedder.embed_audio([whole])[0] == pytest.approx((first + second) / 2, abs=1e-5)


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large"])
def test_padding_is_not_heard(name: str, tmp_path: Path) -> None:
    """With one normalisation over time only equal lengths share a batch; with one a frame, padding is masked."""
    stored(name, tmp_path)
    embedder = make(name, tmp_path)
    mixed = waves(16_000, 0.5, 3.0, 0.5, 1.7)
    assert len(list(embedder._groups(mixed))) == (1 if name == "hubert-large" else 3)  # type: ignore[attr-defined]
    alone = np.concatenate([embedder.embed_audio([wave]) for wave in mixed])
    assert embedder.embed_audio(mixed) == pytest.approx(alone, abs=1e-4)


def test_whisper_hears_the_frames_of_the_audio_alone(tmp_path: Path) -> None:
    stored("whisper-medium", tmp_path)
    embedder = make("whisper-medium", tmp_path)
    (wave,) = waves(16_000, 1.0)
    mel = embedder.extractor([wave], sampling_rate=16_000, return_tensors="pt")["input_features"]  # type: ignore[attr-defined]
    with torch.inference_mode():
        hidden = embedder.encoder(mel).last_hidden_state  # type: ignore[attr-defined]
    assert embedder.embed_audio([wave])[0] == pytest.approx(hidden[0, :50].mean(dim=0).numpy(), abs=1e-5)


@pytest.mark.parametrize("name", ["laion-clap", "ms-clap"])
def test_clap_meets_words_after_the_projection(name: str, tmp_path: Path) -> None:
    stored(name, tmp_path)
    embedder = make(name, tmp_path)
    assert speaks(embedder)
    joint = project(embedder, embedder.embed_audio(waves(embedder.sample_rate, 1.0, 10.0)))
    texts = embedder.embed_text(["a calm voice", "a rough voice of an older person"])
    assert joint.shape == texts.shape == (2, 16)
    assert np.linalg.norm(joint, axis=1) == pytest.approx(1, abs=1e-5)
    assert embedder.embed_text(["a calm voice"])[0] == pytest.approx(texts[0], abs=1e-5)


def test_ms_clap_hears_and_reads_as_its_owners_code(tmp_path: Path) -> None:
    """Expected: HTSAT_Swin_Transformer, TextEncoder and Projection of msclap 1.3.4 with these weights."""
    torch.manual_seed(0)
    stored("ms-clap", tmp_path)
    embedder = make("ms-clap", tmp_path)
    heard = embedder.embed_audio(waves(44_100, 3.0))  # which its owners repeat to 7 s, as we do
    assert heard[0, :3] == pytest.approx([-0.229055, -0.697292, 1.398497], abs=1e-5)
    assert project(embedder, heard)[0, :3] == pytest.approx([0.180508, -0.035636, -0.157853], abs=1e-5)
    assert speaks(embedder)
    text = embedder.embed_text(["a rough voice of an older person"])
    assert text[0, :3] == pytest.approx([0.135230, 0.403481, 0.077623], abs=1e-5)


def test_ms_clap_is_converted_from_the_file_of_its_owners(tmp_path: Path) -> None:
    folder = stored("ms-clap", tmp_path)
    safe = make("ms-clap", tmp_path).embed_audio(waves(44_100, 1.0))
    from safetensors.torch import load_file

    torch.save({"model": load_file(folder / "model.safetensors")}, folder / "CLAP_weights_2023.pth")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        AbsentError, match=r"hf download microsoft/msclap CLAP_weights_2023\.pth --revision c47d441"
    ) as e:
        make("ms-clap", tmp_path)
    assert "hf download openai-community/gpt2 tokenizer.json --local-dir models/microsoft/msclap" in str(e.value)
    convert(folder)
    assert np.array_equal(make("ms-clap", tmp_path).embed_audio(waves(44_100, 1.0)), safe)
    (folder / "CLAP_weights_2022.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"found CLAP_weights_2022\.pth, CLAP_weights_2023\.pth"):
        convert(folder)


@pytest.mark.parametrize(
    "lost",
    [
        "audio_encoder.base.htsat.logmel_extractor.melW",
        "audio_encoder.base.htsat.bn0.running_mean",
        "audio_encoder.base.htsat.layers.0.blocks.1.attn.qkv.weight",
        "caption_encoder.base.h.0.mlp.c_fc.bias",
        "caption_encoder.projection.linear2.weight",
    ],
)
def test_ms_clap_without_one_of_its_arrays_is_refused(lost: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = stored("ms-clap", tmp_path) / "model.safetensors"
    save_file({name: array for name, array in load_file(file).items() if name != lost}, file)
    with pytest.raises(AbsentError, match=r"ms-clap: the weights in .* lack \d arrays of the architecture"):
        make("ms-clap", tmp_path).embed_audio(waves(44_100, 1.0))


def test_ms_clap_without_a_tokenizer_is_absent(tmp_path: Path) -> None:
    (stored("ms-clap", tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(AbsentError, match=r"ms-clap: .* holds no tokenizer\.json"):
        make("ms-clap", tmp_path)


def test_the_picture_of_hear_is_of_each_wave_alone() -> None:
    quiet, loud = torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0))
    both = pcen(torch.stack([0.01 * quiet, loud]))
    assert both.shape == (2, 1, 192, 128)
    assert torch.allclose(both[:1], pcen(0.01 * quiet[None]))
    assert torch.allclose(both[:1], pcen(quiet[None]), atol=1e-3)  # and of its shape, not of its level


def test_what_is_absent_is_said(tmp_path: Path) -> None:
    with pytest.raises(AbsentError, match=r"whisper-medium: no weights of openai/whisper-medium .*HF_HUB_OFFLINE") as e:
        make("whisper-medium", tmp_path)
    assert str(tmp_path) in str(e.value)
    assert "hf download openai/whisper-medium --revision abdf7c39" in str(e.value)


def test_pickles_are_refused_and_converted(tmp_path: Path) -> None:
    folder = stored("hubert-base", tmp_path)
    safe = make("hubert-base", tmp_path).embed_audio(waves(16_000, 1.0))
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(AbsentError, match=r"holds no safetensors.*python -m benchmark\.hub"):
        make("hubert-base", tmp_path)
    convert(folder)
    assert np.array_equal(make("hubert-base", tmp_path).embed_audio(waves(16_000, 1.0)), safe)


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = stored("wavlm-base", tmp_path)
    state = load_file(folder / "model.safetensors")
    kept = {name: array for name, array in state.items() if "feature_projection" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AbsentError, match=r"wavlm-base: the weights in .* lack 4 arrays"):
        make("wavlm-base", tmp_path).embed_audio(waves(16_000, 1.0))


def test_only_safe_files_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, object] = {}

    def snapshot(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        whisper(tmp_path)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    model: Model = MODELS["whisper-medium"]
    assert weights_folder(model) == tmp_path
    assert (asked["repository"], asked["revision"], asked["local_files_only"]) == (
        model.repository,
        model.revision,
        False,
    )
    assert asked["allow_patterns"] == list(hub.FILES)
    assert not any(pattern.endswith((".bin", ".pt", ".py", "*")) for pattern in hub.FILES)
