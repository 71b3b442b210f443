"""Microsoft's CLAP of 2023 out of transformers' parts: HTSAT hears, GPT-2 reads, each with a projection.

The package msclap asks for an older numpy and transformers than the rest of this project, so only its weights are
taken. After https://github.com/microsoft/CLAP (MIT), but nothing is cropped at random. Its HTSAT is built without
the arguments of its configuration: the mel filters are laid out for 32 kHz and up to 14 kHz though waves come at
44.1 kHz. The matrix that is stored with the weights is what the model heard, so that one is used.

This module imports torch; `benchmark.hub` imports it when weights are loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import ClapAudioConfig, ClapAudioModel, GPT2Config, GPT2Model

from benchmark.embedders import AbsentError

HOP = 320
_HTSAT = "audio_encoder.base.htsat."
# the file's names on the left; in the audio encoder only, for GPT-2 has an attn and an mlp too
_IN_HTSAT = (
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"^bn0\.", "batch_norm."),
)
_ELSEWHERE = (
    ("audio_encoder.projection.", "audio_projection."),
    ("caption_encoder.projection.", "text_projection."),
    ("caption_encoder.base.", "text."),
)
_NOT_LEARNED = ("relative_position_index", "num_batches_tracked")  # built anew, or not used to infer


class Projection(nn.Module):
    """[n, width] to [n, joint]."""

    def __init__(self, width: int, joint: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, joint, bias=False)
        self.linear2 = nn.Linear(joint, joint, bias=False)
        self.layer_norm = nn.LayerNorm(joint)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two layers with a short cut."""
        first = self.linear1(x)
        return self.layer_norm(first + self.linear2(nn.functional.gelu(first)))  # type: ignore[no-any-return]


class MsClapNetwork(nn.Module):
    """Both towers.

    Args:
        audio: sizes of HTSAT.
        text: sizes of GPT-2.
        joint: width of the joint space.
        bins: of the spectrum: half the window plus one.
    """

    def __init__(self, audio: ClapAudioConfig, text: GPT2Config, joint: int = 1024, bins: int = 513) -> None:
        super().__init__()
        self.register_buffer("mel", torch.zeros(bins, audio.num_mel_bins))
        self.register_buffer("window", torch.hann_window(2 * (bins - 1)), persistent=False)
        self.audio: Any = ClapAudioModel(audio)
        self.text: Any = GPT2Model(text)
        self.audio_projection = Projection(audio.hidden_size, joint)
        self.text_projection = Projection(text.hidden_size, joint)

    def hear(self, waves: torch.Tensor) -> torch.Tensor:
        """Vectors [n, width] of waves [n, samples], before the projection."""
        window, filters = cast(torch.Tensor, self.window), cast(torch.Tensor, self.mel)
        spectrum = torch.stft(waves, len(window), HOP, window=window, return_complex=True)  # [n, bins, frames]
        mels = spectrum.abs().square().transpose(1, 2) @ filters
        picture = 10 * mels.clamp(min=1e-10).log10()
        return self.audio(input_features=picture[:, None]).pooler_output  # type: ignore[no-any-return]

    def read(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors [n, joint] of tokens [n, length], from each text's last token; mask [n, length] is 0 on padding."""
        hidden = self.text(input_ids=tokens, attention_mask=mask).last_hidden_state
        last = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
        return self.text_projection(last)  # type: ignore[no-any-return]


def load(folder: Path) -> MsClapNetwork:
    """The network with the weights of ``folder/model.safetensors``, which has the names of Microsoft's file.

    The sizes are those of the weights of 2023, unless ``config.json`` has others under ``audio``, ``text``, ``joint``.

    Raises:
        AbsentError: the file lacks weights of the architecture, which would be random.
    """
    from safetensors.torch import load_file

    config = folder / "config.json"
    sizes = json.loads(config.read_text()) if config.is_file() else {}
    audio, text = ClapAudioConfig(**sizes.get("audio", {})), GPT2Config(**sizes.get("text", {}))
    network = MsClapNetwork(audio, text, sizes.get("joint", 1024))
    state = renamed(load_file(folder / "model.safetensors"))
    missing = [key for key in network.state_dict() if key not in state and not key.endswith(_NOT_LEARNED)]
    if missing:
        raise AbsentError(
            f"ms-clap: the weights in {folder} lack {len(missing)} arrays of the architecture, e.g. {missing[0]}"
        )
    network.load_state_dict(state, strict=False)  # what is left over classifies sounds
    return network


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Arrays under the names of `MsClapNetwork`; query, key and value of HTSAT, one array in the file, are parted."""
    found: dict[str, torch.Tensor] = {}
    for name, array in state.items():
        if name == f"{_HTSAT}logmel_extractor.melW":
            found["mel"] = array
        elif name.startswith(_HTSAT):
            inside = name.removeprefix(_HTSAT)
            for theirs, ours in _IN_HTSAT:
                inside = re.sub(theirs, ours, inside)
            if ".qkv." in inside:
                for part, piece in zip(("query", "key", "value"), array.chunk(3), strict=True):
                    found["audio.audio_encoder." + inside.replace("qkv", part)] = piece
            else:
                found["audio.audio_encoder." + inside] = array
        else:
            for theirs, ours in _ELSEWHERE:
                if name.startswith(theirs):
                    found[ours + name.removeprefix(theirs)] = array
    return found
