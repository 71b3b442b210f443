"""The SLAP model and what a user calls: ``Slap.from_checkpoint(folder).embed_audio(waves)``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slap_model import config
from slap_model.decoder import MaeDecoder
from slap_model.encoder import AudioEncoder
from slap_model.frontend import LogMel

if TYPE_CHECKING:
    from slap_model.text import TextTower

MAX_LOG_SCALE = 4.6052  # ln 100, CLIP's bound on the inverse temperature
WIDE = 384  # encoders at least as wide run in bf16 on processors that multiply it natively
BATCH = {"cuda": 64, "cpu": 8}  # windows in one forward pass; more of a ViT-B than 8 no longer fit a CPU's cache
CARD, CONFIG, WEIGHTS = "checkpoint.json", "config.json", "model.safetensors"

Precision = Literal["auto", "fp32", "bf16"]
Wave = np.ndarray


class CheckpointError(ValueError):
    """A folder that holds no usable model; the message says what was looked for."""


class NoTextError(ValueError):
    """Text was asked of a model that was trained without language."""


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
        self._wanted: Precision = "auto"

    # --- where it comes from ----------------------------------------------------------------------------------

    @classmethod
    def from_checkpoint(cls, folder: Path | str, device: str = "auto", precision: Precision = "auto") -> Slap:
        """The model of a folder, ready for use.

        Args:
            folder: a checkpoint, a run's folder whose newest checkpoint is taken, or what `save_pretrained` wrote.
            device: "auto" is the GPU where there is one, else the CPU.
            precision: of `embed_audio`; "auto" is bf16 on GPUs, and for wide encoders on CPUs that multiply it
                natively, else fp32.

        Raises:
            CheckpointError: there is none, or its weights do not fit its configuration.
        """
        from safetensors.torch import load_file

        folder = newest_checkpoint(Path(folder))
        card_file = card_of(folder)
        try:
            card = json.loads(card_file.read_text())
            # A checkpoint has all weights: those that training started from need not be there.
            model = cls(config.parse({**card["config"], "encoder": {**card["config"]["encoder"], "weights": ""}}))
            model.load_state_dict(load_file(folder / WEIGHTS))
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder}: {error.filename or WEIGHTS} is absent; copy the whole folder") from error
        except (KeyError, TypeError, json.JSONDecodeError, config.ConfigError) as error:
            raise CheckpointError(f"{card_file} is no description of a SLAP model: {error!r}") from error
        except Exception as error:  # safetensors has an exception of its own for a broken file
            raise CheckpointError(f"{folder}: weights are broken or do not fit the configuration: {error}") from error
        model.card = card
        return model.ready(device, precision)

    @classmethod
    def from_pretrained(cls, name: Path | str, device: str = "auto", precision: Precision = "auto", **hub: Any) -> Slap:
        """The model of a folder in Hugging Face's layout, or of a repository on the hub.

        Args:
            name: the folder that `save_pretrained` wrote, or ``<owner>/<model>``.
            device: as in `from_checkpoint`.
            precision: as in `from_checkpoint`.
            hub: ``revision``, ``cache_dir``, ``token`` ... of `huggingface_hub.ModelHubMixin.from_pretrained`.

        Raises:
            CheckpointError: it is no such model.
        """
        from slap_model.hub import SharedSlap

        try:
            shared: Slap = SharedSlap.from_pretrained(name, device=device, precision=precision, **hub)
        except CheckpointError:
            raise
        except (OSError, ValueError) as error:  # the hub's client: no network, no such repository, no such name
            raise CheckpointError(f"{name} is no folder, and the hub does not give it: {error}") from error
        return shared

    def save_pretrained(self, folder: Path | str, **hub: Any) -> None:
        """Write ``model.safetensors``, ``config.json`` and a short ``README.md`` into a folder.

        `slap export-model` writes the same with a full model card.
        """
        from slap_model.hub import SharedSlap

        SharedSlap.of(self).save_pretrained(folder, **hub)

    @classmethod
    def untrained(cls, folder: Path | str, seed: int = 0, device: str = "auto", precision: Precision = "auto") -> Slap:
        """The same configuration and input statistics as a checkpoint, with random weights: a baseline."""
        trained = cls.from_checkpoint(folder, "cpu")
        torch.manual_seed(seed)
        model = cls(trained.settings)
        model.frontend.load_state_dict(trained.frontend.state_dict())
        return model.ready(device, precision)

    def ready(self, device: str = "auto", precision: Precision = "auto") -> Slap:
        """This model on a device, in evaluation mode, computing in a precision."""
        if precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision {precision!r}: auto, fp32 or bf16 is wanted")
        self._wanted = precision
        found = "cuda" if torch.cuda.is_available() else "cpu"
        return self.to(found if device == "auto" else device).eval()

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.log_scale.device

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """What `embed_audio` multiplies in here."""
        if self._wanted != "auto":
            return self._wanted
        if self.device.type == "cuda":
            return "bf16"
        wide = self.settings.encoder.dim >= WIDE  # below, casting costs more than it gains
        native = self.device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        return "bf16" if wide and native else "fp32"

    @property
    def sample_rate(self) -> int:
        """Rate that `embed_audio` expects, in Hz."""
        return self.settings.frontend.sample_rate

    @property
    def speaks_text(self) -> bool:
        """Whether language was part of the training; without it `embed_text` has no meaning."""
        return self.settings.loss.contrastive_weight > 0

    @property
    def temperature(self) -> float:
        """What cosines are divided by before a softmax; learned."""
        return float((-self.log_scale.detach().clamp(max=MAX_LOG_SCALE)).exp())

    @property
    def trained_on(self) -> Mapping[str, Sequence[str]]:
        """Corpora, languages and labels of the training manifest; empty lists where untrained."""
        empty: Mapping[str, Sequence[str]] = {"corpora": [], "languages": [], "labels": []}
        return {**empty, **self.card.get("trained_on", {})}

    @property
    def fingerprint(self) -> str:
        """Hash of all that an embedding depends on: weights, shape, how short clips are read, and the precision."""
        return self.fingerprints[self.precision]

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprint in each precision: embeddings of this model may have been made in the other one."""
        return {name: hashlib.sha256(f"{self._content} {name}".encode()).hexdigest() for name in ("fp32", "bf16")}

    @cached_property
    def _content(self) -> str:
        """Hash of the weights and of those settings that change embeddings; the decoder does not."""
        settings = self.settings
        encoder = {name: value for name, value in asdict(settings.encoder).items() if name != "weights"}
        shape = [asdict(settings.frontend), encoder, asdict(settings.text), settings.loss.dim, settings.data.lengths]
        digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            if not name.startswith("decoder."):
                digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    # --- use --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def embed_audio(self, waves: Sequence[Wave], batch: int | None = None) -> np.ndarray:
        """Embeddings before the projection, the vectors a probe uses.

        A wave is read in windows of the training crop, side by side, the last one flush with the end, and their
        vectors are averaged. A shorter wave is one window, made as in training (``data.lengths``): repeated to fill
        it, padded with silence, or at its own length, repeated to whole patches. Nothing is random.

        Args:
            waves: mono float arrays in [-1, 1] at `sample_rate`, of any length above zero.
            batch: windows in one forward pass; None: what suits the device.

        Returns:
            float32 ``[len(waves), encoder dim]``.

        Raises:
            ValueError: a wave is empty, not mono, not float, or not finite.
        """
        checked = [_checked(wave, number) for number, wave in enumerate(waves)]
        if not checked:
            return np.zeros((0, self.settings.encoder.dim), dtype=np.float32)
        owner, parts = [], []
        kind = self.device.type
        # One context for all batches: it keeps the weights that it has cast.
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            for owners, stack in self._stacks(checked, batch or BATCH.get(kind, 8)):
                owner += owners
                parts.append(self.encoder.pooled(self.frontend(stack.to(self.device))).float())
        vectors = torch.cat(parts).cpu().numpy()  # here, not in the loop: a GPU is never waited for
        sums = np.zeros((len(checked), vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, owner, vectors)
        return sums / np.bincount(owner, minlength=len(checked))[:, None].astype(np.float32)

    def _stacks(self, waves: Sequence[Wave], batch: int) -> Iterator[tuple[list[int], Tensor]]:
        """All windows, longest first, in stacks of equal length: whose each is, and ``[n, samples]``."""
        cuts: dict[int, list[tuple[int, int]]] = {}  # samples of the window -> whose, and where it begins
        for number, wave in enumerate(waves):
            length = window_samples(len(wave), self.settings)
            cuts.setdefault(length, []).extend((number, start) for start in starts(len(wave), length))
        for length, of_length in sorted(cuts.items(), reverse=True):
            for at in range(0, len(of_length), batch):
                some = of_length[at : at + batch]
                windows = [
                    filled(waves[n][start : start + length], length, self.settings.data.lengths) for n, start in some
                ]
                yield [number for number, _ in some], torch.from_numpy(np.stack(windows))

    @torch.inference_mode()
    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Audio vectors ``[n, encoder dim]`` into the shared space, unit length, ``[n, shared dim]``."""
        shared = self.audio_head(torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self.device))
        return F.normalize(shared, dim=1).cpu().numpy()

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """Descriptions into the shared space, unit length, float32 ``[len(texts), shared dim]``.

        Raises:
            NoTextError: the model was trained without language.
            TextTowerError: its text tower cannot be loaded.
        """
        if not self.speaks_text:
            raise NoTextError("this model was trained without language (loss.contrastive_weight = 0): it knows no text")
        vectors = self._tower.encode(list(texts))
        shared = self.text_head(torch.from_numpy(vectors).to(self.device))
        return F.normalize(shared, dim=1).cpu().numpy()

    @cached_property
    def _tower(self) -> TextTower:
        from slap_model.text import TextTower

        return TextTower(self.settings.text.tower, self.device.type)

    def similarity(self, audio: Sequence[Wave] | np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """How well each text describes each voice: the cosine in the shared space.

        It lies in [-1, 1] and ranks texts for a voice and voices for a text; its height means nothing by itself.
        ``softmax(cosine / temperature)`` over texts is the share that training's loss gives each.

        Args:
            audio: a list of waves as in `embed_audio`, or the array ``[n, encoder dim]`` that it returned.
            texts: descriptions.

        Returns:
            float32 ``[len(audio), len(texts)]``.
        """
        vectors = audio if isinstance(audio, np.ndarray) and audio.ndim == 2 else self.embed_audio(list(audio))
        if vectors.shape[1] != self.settings.encoder.dim:
            wanted = f"an array of vectors [n, {self.settings.encoder.dim}] or a list of waves is wanted"
            raise ValueError(f"{wanted}, not an array {vectors.shape}")
        return np.asarray(self.project(vectors) @ self.embed_text(texts).T)


def window_samples(length: int, settings: config.Config) -> int:
    """Samples of the windows that a wave of ``length`` samples is read in."""
    if settings.data.lengths != "own" or length >= settings.samples:
        return settings.samples
    window, hop, patch = settings.frontend.window, settings.frontend.hop, settings.encoder.patch[0]
    frames = 1 + -(-max(0, length - window) // hop)  # the fewest that hear every sample
    whole = min(-(-frames // patch) * patch, settings.frontend.frames)
    return window + (whole - 1) * hop


def starts(length: int, window: int) -> list[int]:
    """Where the windows of a wave begin: side by side, the last one flush with the end."""
    if length <= window:
        return [0]
    found = list(range(0, length - window + 1, window))
    return found if found[-1] + window == length else [*found, length - window]


def filled(wave: Wave, samples: int, lengths: str) -> Wave:
    """A wave as one window: cut, or padded with silence where ``lengths`` is "pad", else repeated."""
    if len(wave) >= samples:
        return wave[:samples]
    return np.pad(wave, (0, samples - len(wave))) if lengths == "pad" else np.resize(wave, samples)


def _checked(wave: Wave, number: int) -> Wave:
    """The wave as float32, after what would give wrong vectors without a word."""
    given = np.asarray(wave)
    if given.ndim != 1 or not len(given):
        raise ValueError(f"wave {number}: a mono wave with samples is wanted, got shape {given.shape}")
    if not np.issubdtype(given.dtype, np.floating):
        raise ValueError(f"wave {number}: float samples in [-1, 1] are wanted, got {given.dtype}")
    ready = given.astype(np.float32, copy=False)
    if not np.isfinite(ready).all():
        raise ValueError(f"wave {number}: some samples are not finite")
    return ready


def card_of(folder: Path) -> Path:
    """The file that describes the model of a folder: a checkpoint's own, or that of Hugging Face's layout."""
    own = folder / CARD
    return own if own.is_file() else folder / CONFIG


def newest_checkpoint(folder: Path) -> Path:
    """The folder itself where it holds a model, else its newest ``step-*``.

    Raises:
        CheckpointError: neither.
    """
    if card_of(folder).is_file():
        return folder
    steps = sorted(path.parent for path in folder.glob(f"step-*/{CARD}"))
    if not steps:
        what = "no folder" if not folder.is_dir() else f"neither {CARD}, {CONFIG} nor step-*/{CARD} in it"
        raise CheckpointError(f"no checkpoint in {folder}: {what}")
    return steps[-1]
