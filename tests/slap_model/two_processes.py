"""What two processes compute; ``torchrun`` starts it for test_distributed, which compares it with what one computes.

``torchrun --nproc-per-node=2 -m tests.slap_model.two_processes FOLDER MANIFEST``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor

from slap_model import distributed
from slap_model import train as training
from slap_model.distributed import Ranks
from slap_model.manifest import Manifest
from slap_model.train import Stopped, joint, train
from tests.slap_model import made

ONE = Ranks(0, 1, torch.device("cpu"))
CASES = {**made.CASES, "no gathering": ["loss.gather=false"]}
TRAINED = ["entailment", "clip", "siglip", "own lengths", "accumulate"]
STEPS = 3


def gradients(case: str, ranks: Ranks, half: int | None = None) -> dict[str, Tensor]:
    """Loss and gradients in float64 of the samples of a case, or of every second one from ``half`` on."""
    settings = made.settings(*CASES[case])
    samples = made.samples(settings)
    if half is not None:
        samples = samples[half::2]
    with made.in_float64():
        task = made.task(settings)
        objective = joint(task, ranks)  # must outlive the backward pass, in which it averages
        losses, _ = objective(made.doubled(made.batch(samples[ranks.rank :: ranks.world])))
        losses["loss"].backward()
        found = {name: p.grad for name, p in task.named_parameters() if p.grad is not None}
        for name, loss in losses.items():
            total = loss.detach().clone()
            if ranks.world > 1:
                dist.all_reduce(total)
            found[f"losses.{name}"] = total / ranks.world
    return found


def trained(case: str, manifest: Manifest, out: Path, ranks: Ranks) -> Path:
    """The last checkpoint of a few steps of real training."""
    settings = made.settings(*made.CASES[case], f"train.steps={STEPS}")
    return train(settings, manifest, out / case, ranks)


def stopped(manifest: Manifest, out: Path, ranks: Ranks) -> int:
    """The first case of `TRAINED` again, asked to stop after each step; how often it had to be started.

    The last process alone is asked, and writing a checkpoint takes a while, as with a large model.
    """
    settings = made.settings(*made.CASES[TRAINED[0]], f"train.steps={STEPS}")
    quick, training.save = training.save, partial(slowly, training.save)
    for start in range(1, 10):
        try:
            train(settings, manifest, out / "stopped", ranks, lambda: int(ranks.rank == ranks.world - 1))
        except Stopped:
            continue
        training.save = quick
        return start
    raise AssertionError("it never ended")


def slowly(save: Callable[..., None], *arguments: object) -> None:
    time.sleep(0.3)
    save(*arguments)


def main(folder: Path, manifest: Manifest) -> None:
    with distributed.started("cpu", patience=60) as ranks:
        assert ranks.world == 2
        for case in CASES:
            found = gradients(case, ranks)
            if ranks.main:
                save_file(found, folder / f"{case}.safetensors")
        for case in TRAINED:
            trained(case, manifest, folder, ranks)
        starts = stopped(manifest, folder, ranks)
        assert starts == STEPS, f"process {ranks.rank} started {starts} times"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), Manifest.load(Path(sys.argv[2])))
