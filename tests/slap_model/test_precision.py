"""The temperature under mixed precision: it neither overflows nor gets stuck at its bound."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from slap_model.task import Batch, SlapTask
from slap_model.train import groups
from tests.slap_model import made

LN_100 = math.log(100)
KINDS = ["entailment", "clip", "siglip"]


def of(kind: str) -> tuple[SlapTask, Batch]:
    settings = made.settings(f"loss.contrastive={kind}")
    return made.task(settings), made.batch(made.samples(settings))


def losses_of(task: SlapTask, batch: Batch, mixed: bool = True) -> dict[str, torch.Tensor]:
    autocast: Any = torch.autocast("cpu", dtype=torch.bfloat16) if mixed else nullcontext()
    with autocast:
        found: dict[str, torch.Tensor] = task(batch)[0]
    return found


def opposed(task: SlapTask, batch: Batch) -> Batch:
    """Each caption's vector turned away from its audio: the harder the temperature, the larger the loss."""
    with torch.no_grad():
        audio = torch.cat([task.heard(w, n)[0] for w, n in zip(batch["waves"], batch["noise"], strict=True)])
        backwards = -audio @ torch.linalg.pinv(task.model.text_head.weight).T
    return {**batch, "text": backwards}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("log_scale", [-5.0, 2.66, LN_100, 10.0, 80.0])
def test_no_temperature_overflows(kind: str, log_scale: float) -> None:
    """The bound is 4.6; at 80 the scale is 5e34, where bfloat16 and float32 still have numbers."""
    task, batch = of(kind)
    with torch.no_grad():
        task.model.log_scale.fill_(log_scale)
    losses = losses_of(task, batch)
    assert losses["contrastive"].dtype == torch.float32
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.autograd.backward(losses["loss"])
    for name, parameter in task.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 1e6])
def test_the_bound_holds_after_every_step_and_can_be_left(kind: str, rate: float) -> None:
    """A clamp in the forward pass would do the first, but kill the gradient that the second needs."""
    task, batch = of(kind)
    log_scale = task.model.log_scale
    optimiser = torch.optim.AdamW([log_scale], lr=rate, weight_decay=0.0)
    log_scale.grad = torch.tensor(-1.0)  # whatever the loss wants: up
    for _ in range(60):
        optimiser.step()
        task.after_step()
        assert log_scale.item() <= LN_100 + 1e-4
    assert log_scale.item() == pytest.approx(LN_100, abs=1e-4)
    wrong = opposed(task, batch)
    optimiser = torch.optim.AdamW([log_scale], lr=0.1, weight_decay=0.0)
    for _ in range(3):
        optimiser.zero_grad()
        losses = losses_of(task, wrong)
        assert torch.isfinite(losses["loss"])
        torch.autograd.backward(losses["loss"])
        assert log_scale.grad is not None
        assert log_scale.grad.item() > 1e-3, "the bound must not swallow the gradient"
        optimiser.step()
        task.after_step()
    assert log_scale.item() == pytest.approx(LN_100 - 0.3, abs=0.02)


def test_the_temperature_has_no_weight_decay() -> None:
    task, _ = of("siglip")
    decayed, plain = groups(task.model, 0.1)
    assert any(p is task.model.log_scale for p in plain["params"])
    assert any(p is task.model.bias for p in plain["params"])
    assert not any(p.ndim == 0 for p in decayed["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision_is_near_float32(kind: str) -> None:
    """At the hardest temperature, where a cosine that is 0.4 % off would be a logit that is 0.4 off."""
    task, batch = of(kind)
    with torch.no_grad():
        task.model.log_scale.fill_(LN_100)
    mixed, full = losses_of(task, batch), losses_of(task, batch, mixed=False)
    for name in full:
        assert mixed[name].item() == pytest.approx(full[name].item(), rel=0.03), name
