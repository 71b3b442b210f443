"""Gradients of the whole objective by finite differences, in float64 on a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

from slap_model.task import Batch, SlapTask
from tests.slap_model import made

STEP = 1e-6


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    with made.in_float64():
        yield


def loss_of(task: SlapTask, batch: Batch) -> Tensor:
    losses: dict[str, Tensor] = task(batch)[0]
    return losses["loss"]


@pytest.mark.parametrize("case", made.CASES)
def test_gradients_are_finite_differences(case: str) -> None:
    """Of every trained tensor, along a random direction through all its entries."""
    settings = made.settings(*made.CASES[case])
    task = made.task(settings)
    batch = made.doubled(made.batch(made.samples(settings, 5)))
    torch.autograd.backward(loss_of(task, batch))
    noise = torch.Generator().manual_seed(2)
    trained = {name: p for name, p in task.named_parameters() if p.requires_grad}
    idle = {name.removeprefix("model.") for name, p in task.named_parameters() if not p.requires_grad}
    assert idle <= {"encoder.vit.pos_embed", "bias", "audio_head.weight", "text_head.weight", "log_scale"}
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=noise)
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                parameter.add_(sign * STEP * direction)
                values.append(loss_of(task, batch).item())
                parameter.sub_(sign * STEP * direction)
        measured = (values[0] - values[1]) / (2 * STEP)
        assert (parameter.grad * direction).sum().item() == pytest.approx(measured, rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize("case", ["accumulate", "activations made again"])
def test_saving_memory_changes_no_gradient(case: str) -> None:
    plain, thrifty = (made.task(made.settings(*overrides)) for overrides in ([], made.CASES[case]))
    batch = made.doubled(made.batch(made.samples(made.settings(), 5)))  # 5 do not divide by 2
    for task in (plain, thrifty):
        torch.autograd.backward(loss_of(task, batch))
    for (name, one), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-14, msg=name)


def test_accumulating_keeps_inputs_instead_of_activations() -> None:
    """What the forward pass keeps for the backward pass decides how much memory a step needs."""
    batch = made.doubled(made.batch(made.samples(made.settings(), 8)))
    kept: dict[int, int] = {}
    for parts in (1, 4):
        task = made.task(made.settings(f"train.accumulate={parts}"))
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(noted, sizes), lambda tensor: tensor):
            loss_of(task, batch)
        kept[parts] = sum(sizes)
    inputs = sum(part.numel() for name in ("waves", "noise") for part in batch[name])
    assert kept[4] < 1.1 * inputs
    assert kept[1] > 4 * inputs


def noted(sizes: list[int], tensor: Tensor) -> Tensor:
    sizes.append(tensor.numel())
    return tensor
