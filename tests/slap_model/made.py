"""Tiny configurations, models and batches for the tests of exactness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from slap_model import config
from slap_model.model import Slap
from slap_model.task import Batch, SlapTask

TINY = Path(__file__).with_name("tiny.toml")
CASES: dict[str, list[str]] = {
    "entailment": ["loss.contrastive=entailment"],
    "clip": ["loss.contrastive=clip"],
    "siglip": ["loss.contrastive=siglip"],
    "part of the patches": ["loss.contrastive_mask=0.5"],
    "one pass for both losses": ["loss.contrastive_mask=0.6", "loss.shared_pass=true"],
    "own lengths": ["data.lengths=own"],
    "accumulate": ["train.accumulate=2"],
    "own lengths, accumulate": ["data.lengths=own", "train.accumulate=3", "loss.contrastive=siglip"],
    "activations made again": ["train.checkpoint_activations=true"],
    "autoencoder alone": ["loss.contrastive_weight=0.0"],
    "contrast alone": ["loss.mae_weight=0.0"],
}


def settings(*overrides: str) -> config.Config:
    """The tiny configuration, with ``section.field=value`` overrides."""
    return config.load(str(TINY), overrides)


@contextmanager
def in_float64() -> Iterator[None]:
    """Where the model asks for at least float32 it gets float64: rounding then hides no mistake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def doubled(batch: Batch) -> Batch:
    """The batch in float64."""
    return {
        name: value.double() if isinstance(value, Tensor) else [part.double() for part in value]
        for name, value in batch.items()
    }


def task(settings: config.Config, seed: int = 0) -> SlapTask:
    """A task in training mode, no weight at its initial value, so that none is zero or the same as another."""
    torch.manual_seed(seed)
    made = SlapTask(Slap(settings))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.train()


def samples(settings: config.Config, count: int = 8, seed: int = 0) -> list[dict[str, Tensor]]:
    """Noise with captions that have twins, pairs that are unknown, and audios that several captions fit.

    Two attributes with three and two values; an audio may lack either, a caption may say less than is known.
    """
    rng = np.random.default_rng(seed)
    attribute = np.array([0, 0, 0, 1, 1])
    made = []
    for _ in range(count):
        facts = np.zeros(5, dtype=np.float32)
        for values in (np.arange(3), np.arange(3, 5)):
            if rng.random() < 0.8:
                facts[rng.choice(values)] = 1
        stated = np.array([facts[attribute == a].any() for a in attribute])
        frames = settings.frontend.frames
        if settings.data.lengths == "own":
            frames = settings.data.bucket * int(rng.integers(1, frames // settings.data.bucket + 1))
        wave = 0.1 * rng.standard_normal(settings.samples_of(frames)).astype(np.float32)
        patches = (frames // settings.encoder.patch[0]) * settings.grid[1]
        sample = {
            "waves": wave,
            "noise": rng.random((2, patches), dtype=np.float32),
            "text": rng.standard_normal(settings.text.dim).astype(np.float32),
            "facts": facts,
            "denied": (stated & (facts == 0)).astype(np.float32),
            "used": facts * (rng.random(5) < 0.7),
        }
        made.append({name: torch.from_numpy(np.asarray(value, dtype=np.float32)) for name, value in sample.items()})
    return made


def batch(samples: Sequence[Mapping[str, Tensor]]) -> Batch:
    """Samples to a batch of `slap_model.task`, as `TrainingSet.batch` makes them."""
    groups: dict[int, list[Mapping[str, Tensor]]] = {}
    for sample in sorted(samples, key=lambda sample: len(sample["waves"])):
        groups.setdefault(len(sample["waves"]), []).append(sample)
    in_order = [sample for group in groups.values() for sample in group]
    batch: dict[str, Tensor | list[Tensor]] = {
        name: [default_collate([sample[name] for sample in group]) for group in groups.values()]
        for name in ("waves", "noise")
    }
    return batch | {name: default_collate([s[name] for s in in_order]) for name in ("text", "facts", "denied", "used")}
