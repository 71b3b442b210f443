"""The SLAP model and what a user calls: ``Slap.from_checkpoint(folder).embed_audio(waves)``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from slap_model import config
from slap_model.decoder import MaeDecoder
from slap_model.encoder import AudioEncoder
from slap_model.frontend import LogMel

MAX_LOG_SCALE = 4.6052  # ln 100, CLIP's bound on the inverse temperature


class CheckpointError(ValueError):
    """A folder that holds no usable checkpoint; the message says what was looked for."""


class Slap(nn.Module):
    """Audio encoder, autoencoder branch and one linear head per modality into the shared space."""

    def __init__(self, settings: config.Config) -> None:
        super().__init__()
        self.settings = settings
        self.frontend = LogMel(settings.frontend)
        self.encoder = AudioEncoder(settings)
        self.decoder = MaeDecoder(settings) if settings.loss.mae_weight > 0 else None
        self.audio_head = nn.Linear(settings.encoder.dim, settings.loss.dim, bias=False)
        self.text_head = nn.Linear(settings.text.dim, settings.loss.dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(-float(np.log(settings.loss.temperature))))
        self.bias = nn.Parameter(torch.tensor(-10.0 if settings.loss.contrastive == "siglip" else 0.0))
        self.card: dict[str, Any] = {}  # what the checkpoint says of itself: step, manifest, trained_on

    @classmethod
    def from_checkpoint(cls, folder: Path | str) -> Slap:
        """The model of a checkpoint, ready for use on the CPU.

        Args:
            folder: a checkpoint, or a run's folder whose newest checkpoint is taken.

        Raises:
            CheckpointError: there is none, or its weights do not fit its configuration.
        """
        from safetensors.torch import load_file

        folder = newest_checkpoint(Path(folder))
        card = json.loads((folder / "checkpoint.json").read_text())
        model = cls(config.parse({**card["config"], "encoder": {**card["config"]["encoder"], "weights": ""}}))
        try:
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: weights do not fit the configuration: {error}") from error
        model.card = card
        return model.eval()

    @classmethod
    def untrained(cls, folder: Path | str, seed: int = 0) -> Slap:
        """The same configuration and input statistics as a checkpoint, with random weights: a baseline."""
        trained = cls.from_checkpoint(folder)
        torch.manual_seed(seed)
        model = cls(trained.settings)
        model.frontend.load_state_dict(trained.frontend.state_dict())
        return model.eval()

    @property
    def sample_rate(self) -> int:
        """Rate that `embed_audio` expects, in Hz."""
        return self.settings.frontend.sample_rate

    @property
    def speaks_text(self) -> bool:
        """Whether language was part of the training; without it `embed_text` has no meaning."""
        return self.settings.loss.contrastive_weight > 0

    @property
    def trained_on(self) -> Mapping[str, Sequence[str]]:
        """Corpora, languages and labels of the training manifest; empty lists where untrained."""
        empty: Mapping[str, Sequence[str]] = {"corpora": [], "languages": [], "labels": []}
        return {**empty, **self.card.get("trained_on", {})}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the configuration and every weight: equal fingerprints give equal embeddings."""
        digest = hashlib.sha256(json.dumps(self.settings.as_dict(), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @torch.inference_mode()
    def embed_audio(self, waves: Sequence[np.ndarray], batch: int = 64) -> np.ndarray:
        """Embeddings before the projection, the vectors a probe uses.

        A wave is read in windows of the training crop, side by side, the last one flush with the end, and their
        vectors are averaged; a shorter wave is repeated to fill one window. Nothing is random.

        Args:
            waves: mono float32 arrays at `sample_rate`, of any length above zero.
            batch: windows in one forward pass.

        Returns:
            float32 ``[len(waves), encoder dim]``.
        """
        windows, owner = [], []
        for index, wave in enumerate(waves):
            pieces = crops(np.asarray(wave, dtype=np.float32), self.settings.samples)
            windows += pieces
            owner += [index] * len(pieces)
        device = self.log_scale.device
        vectors = []
        for start in range(0, len(windows), batch):
            stack = torch.from_numpy(np.stack(windows[start : start + batch])).to(device)
            vectors.append(self.encoder.pooled(self.frontend(stack)).float().cpu().numpy())
        sums = np.zeros((len(waves), self.settings.encoder.dim), dtype=np.float32)
        np.add.at(sums, owner, np.concatenate(vectors))
        counts = np.bincount(owner, minlength=len(waves))[:, None].astype(np.float32)
        return sums / counts

    @torch.inference_mode()
    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Audio vectors ``[n, encoder dim]`` into the shared space, unit length, ``[n, shared dim]``."""
        shared = self.audio_head(torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self.log_scale.device))
        return F.normalize(shared, dim=1).cpu().numpy()

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Descriptions into the shared space, unit length, float32 ``[len(texts), shared dim]``."""
        from slap_model.text import TextTower

        vectors = TextTower(self.settings.text.tower).encode(list(texts))
        shared = self.text_head(torch.from_numpy(vectors).to(self.log_scale.device))
        return F.normalize(shared, dim=1).cpu().numpy()


def crops(wave: np.ndarray, samples: int) -> list[np.ndarray]:
    """A wave as windows of ``samples``: side by side, the last flush with the end; shorter waves repeated."""
    if wave.ndim != 1 or not len(wave):
        raise ValueError(f"a mono wave with samples is wanted, got shape {wave.shape}")
    if len(wave) <= samples:
        return [np.resize(wave, samples)]
    starts = list(range(0, len(wave) - samples + 1, samples))
    if starts[-1] + samples < len(wave):
        starts.append(len(wave) - samples)
    return [wave[start : start + samples] for start in starts]


def newest_checkpoint(folder: Path) -> Path:
    """The folder itself where it is a checkpoint, else its newest ``step-*``.

    Raises:
        CheckpointError: neither.
    """
    if (folder / "checkpoint.json").is_file():
        return folder
    steps = sorted(path.parent for path in folder.glob("step-*/checkpoint.json"))
    if not steps:
        raise CheckpointError(f"no checkpoint in {folder}: neither checkpoint.json nor step-*/checkpoint.json")
    return steps[-1]
