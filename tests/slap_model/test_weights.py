"""AudioMAE's weights on the real architecture, with generated values, as the hub holds them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file, save_file

from benchmark.hub import convert
from slap_model import config, weights
from slap_model.encoder import AudioEncoder
from slap_model.frontend import LogMel
from slap_model.manifest import Manifest
from slap_model.model import Slap
from slap_model.train import train
from slap_model.weights import AUDIOMAE
from tests.slap_model import made

AUDIOSET = (-4.2677393, 4.5689974)  # mean and standard deviation of AudioMAE's log-mels, from its model card
# The hub's config.json: the pool is the architecture's, the class token, so the last norm is called `norm`.
HUB_CONFIG = {
    "architecture": "vit_base_patch16_224",
    "num_classes": 0,
    "num_features": 768,
    "pretrained_cfg": {
        "tag": "audiomae",
        "custom_load": False,
        "input_size": [1, 1024, 128],
        "fixed_input_size": True,
        "num_classes": 0,
        "pool_size": None,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "license": "cc-by-nc-4.0",
    },
}


def generated(folder: Path, pool: str = "token", **shape: Any) -> None:
    """A folder as the hub's: the architecture of AudioMAE, no weight at its initial value."""
    with torch.device("meta"):  # only the shapes are wanted
        model = timm.create_model(
            "vit_base_patch16_224", img_size=(1024, 128), in_chans=1, num_classes=0, global_pool=pool, **shape
        )
    noise = torch.Generator().manual_seed(1)
    state = {name: 0.02 * torch.randn(weight.shape, generator=noise) for name, weight in model.state_dict().items()}
    for name in state:
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    arguments = {"global_pool": pool, **shape} if pool != "token" or shape else {}
    (folder / "config.json").write_text(json.dumps(HUB_CONFIG | ({"model_args": arguments} if arguments else {})))


SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    generated(folder, "avg", **SMALL)
    return folder


def settings_of(frames: int = 1024, **encoder: object) -> config.Config:
    shape = {"dim": 32, "depth": 2, "heads": 2, **encoder}
    return config.parse(
        {"frontend": {"frames": frames}, "encoder": shape, "decoder": {"dim": 16, "depth": 1, "heads": 2}}
    )


def started(folder: Path, frames: int = 1024) -> AudioEncoder:
    return AudioEncoder(settings_of(frames, weights=str(folder))).eval()


def of_timm(folder: Path) -> Any:
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def log_mel(frames: int, seed: int = 0) -> torch.Tensor:
    return 0.5 * torch.randn(1, frames, 128, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_audiomae_at_full_size_hears_what_timm_hears(tmp_path: Path) -> None:
    """ViT-B/16 as on the hub: the class token's pool, the norm called `norm`, 1 + 64 x 8 positions."""
    generated(tmp_path)
    theirs = of_timm(tmp_path)
    assert theirs.pos_embed.shape == (1, 513, 768)
    assert sum(w.numel() for w in theirs.parameters()) == pytest.approx(85.7e6, rel=0.01)
    base = config.load("base")
    encoder = AudioEncoder(dataclasses.replace(base, encoder=dataclasses.replace(base.encoder, weights=str(tmp_path))))
    encoder.eval()
    mel = log_mel(1024)
    tokens = encoder.tokens(mel)
    expected = theirs.forward_features(mel.unsqueeze(1))[:, theirs.num_prefix_tokens :]
    torch.testing.assert_close(encoder.vit.fc_norm(tokens), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.pooled(mel), theirs.norm(tokens.mean(dim=1)), atol=1e-5, rtol=0)
    assert expected.std() > 0.1, "nothing would differ"


@torch.inference_mode()
def test_a_model_that_pools_patches_hears_what_timm_hears(small: Path) -> None:
    """The fine-tuned AudioMAE's form: the mean over the patches, the norm called `fc_norm`."""
    theirs = of_timm(small)
    mel = log_mel(1024)
    torch.testing.assert_close(started(small).pooled(mel), theirs(mel.unsqueeze(1)), atol=1e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("frames", [16, 208, 1008])
def test_a_shorter_window_has_the_first_positions(small: Path, frames: int) -> None:
    """As AudioMAE's own fine-tuning does on clips of a second; interpolating would squeeze time."""
    mel = log_mel(frames)
    short, whole = started(small, frames), started(small)
    torch.testing.assert_close(short.pooled(mel), whole.pooled(mel), atol=1e-5, rtol=0)
    stored = load_file(small / "model.safetensors")["pos_embed"]
    assert torch.equal(short.positions, stored[:, : 1 + frames // 16 * 8])


def test_every_weight_is_the_files(small: Path, tmp_path: Path) -> None:
    """Under either name of the norm, with a classifier's head or an autoencoder's decoder beside it."""
    stored = load_file(small / "model.safetensors")
    renamed = {name.replace("fc_norm.", "norm."): w for name, w in stored.items()}
    extra = {
        "head.weight": torch.zeros(527, 32),
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_pred.bias": torch.zeros(8),
    }
    save_file(renamed | extra, tmp_path / "whole.safetensors")
    for name, weight in started(tmp_path / "whole.safetensors").vit.state_dict().items():
        assert torch.equal(weight, stored[name]), name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"frames": 2048}, r"pos_embed is \[1, 513, 32\], not \[1, 1025, 32\]"),
        ({"dim": 64}, r"blocks\.0\.attn\.proj\.bias is \[32\], not \[64\]"),
        ({"depth": 3}, r"blocks\.2\.attn\.proj\.bias is missing.* and 9 more"),
        ({"depth": 1}, r"blocks\.1\.attn\.proj\.bias has no place"),
        ({"patch": (16, 32)}, r"patch_embed\.proj\.weight is \[32, 1, 16, 16\], not \[32, 1, 16, 32\]"),
    ],
)
def test_weights_that_do_not_fit_say_what_does_not(small: Path, change: dict[str, object], fault: str) -> None:
    with pytest.raises(config.ConfigError, match=rf"{fault}.*from scratch"):
        AudioEncoder(settings_of(**change, weights=str(small)))  # type: ignore[arg-type]


def test_a_pickle_is_refused_and_its_conversion_read(small: Path, tmp_path: Path) -> None:
    """AudioMAE's own file and the hub's copy are pickles."""
    stored = load_file(small / "model.safetensors")
    torch.save(stored, tmp_path / "pytorch_model.bin")
    for given in (tmp_path, tmp_path / "pytorch_model.bin", f"local-dir:{tmp_path}"):
        with pytest.raises(config.ConfigError, match=rf"pickle.*python -m benchmark\.hub {tmp_path}.*from scratch"):
            weights.read(str(given))
    convert(tmp_path)
    assert weights.read(str(tmp_path)).keys() == stored.keys()
    assert weights.read(f"local-dir:{tmp_path}").keys() == stored.keys()
    with pytest.raises(config.ConfigError, match="pickle"):
        weights.read(str(tmp_path / "pytorch_model.bin"))


def test_what_is_not_there_or_no_safetensors_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"no file .*start\.safetensors.*contradictory.*from scratch"):
        weights.read(str(tmp_path / "start.safetensors"))
    with pytest.raises(config.ConfigError, match=r"no file vit_base_patch16_224;.*hf_hub:owner/name"):
        weights.read("vit_base_patch16_224")
    (tmp_path / "page.safetensors").write_text("<html>not found</html>")
    with pytest.raises(config.ConfigError, match=r"page\.safetensors is no safetensors file"):
        weights.read(str(tmp_path / "page.safetensors"))


def test_without_a_network_the_hub_says_what_to_do() -> None:
    """Every test runs with HF_HUB_OFFLINE=1."""
    with pytest.raises(config.ConfigError, match=r"out of reach.*hf download gaunernst/.*contradictory") as caught:
        AudioEncoder(settings_of(weights=AUDIOMAE))
    assert "from scratch" in str(caught.value)
    with pytest.raises(config.ConfigError, match="cannot be loaded"):
        weights.read("hf_hub:no/such/name")


def test_the_hub_is_asked_for_safetensors_only(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, filename: str, revision: str | None, **_: object) -> str:
        asked.append((repository, filename, revision))
        if repository == "a/pickle":
            raise EntryNotFoundError("404")
        return str(small / filename)

    monkeypatch.setattr(
        "timm.models._hub.hf_hub_download",
        lambda repo_id, filename, revision, **k: download(repo_id, filename, revision),
    )
    assert weights.read("hf_hub:a/b@abc").keys() == load_file(small / "model.safetensors").keys()
    with pytest.raises(config.ConfigError, match=r"holds no model\.safetensors.*hf download a/pickle --revision abc"):
        weights.read("hf_hub:a/pickle@abc")
    assert asked == [("a/b", "model.safetensors", "abc"), ("a/pickle", "model.safetensors", "abc")]


def test_the_input_statistics_are_those_of_the_weights(tmp_path: Path, shared_manifest: Manifest) -> None:
    """What the weights were trained on is what they hear; from scratch, the data's own."""
    generated(tmp_path / "start", embed_dim=16, depth=1, num_heads=2)
    cards = {}
    for start in (str(tmp_path / "start"), ""):
        settings = made.settings(f"encoder.weights={start}", "train.steps=1")
        folder = train(settings, shared_manifest, tmp_path / f"run {len(cards)}")
        cards[start] = json.loads((folder / "checkpoint.json").read_text())["input"]
        frontend = Slap.from_checkpoint(folder).frontend
        assert [frontend.mean.item(), frontend.std.item()] == pytest.approx([*cards[start].values()])
    given, own = cards.values()
    assert [*given.values()] == pytest.approx(AUDIOSET, rel=1e-6)
    assert abs(own["mean"] - AUDIOSET[0]) > 0.1
    frontend, wave = LogMel(config.Frontend()), torch.from_numpy(np.sin(np.arange(16_000, dtype=np.float32)))[None]
    expected = (frontend.raw(wave) - AUDIOSET[0]) / (2 * AUDIOSET[1])  # as AudioMAE's card normalises
    torch.testing.assert_close(frontend(wave), expected)
