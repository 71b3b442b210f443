"""Train SLAP: ``python -m slap_model.train --config tiny --manifest warehouse/manifests/<hash>.json --out <folder>``.

An ordinary program: Dagster starts it as a child process and reads its report, and by hand it does the same. It
goes on from the newest checkpoint in ``--out``; on a CPU, a run that was killed and resumed ends with the same bits
as one that was not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from slap_model import config
from slap_model.data import TrainingSet
from slap_model.manifest import Manifest, ManifestError, withdrawn_on
from slap_model.model import CheckpointError, Slap, SlapTask, newest_checkpoint


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


def train(settings: config.Config, manifest: Manifest, out: Path) -> Path:
    """Train to ``settings.train.steps`` and return the final checkpoint's folder.

    Args:
        settings: model and optimisation.
        manifest: the data.
        out: folder of this run; its newest checkpoint is gone on from, ``metrics.jsonl`` grows every
            ``log_every`` steps.

    Raises:
        TrainingError: the checkpoint in ``out`` is another run's, or the loss is no longer finite.
    """
    from tqdm import tqdm

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, data = settings.train, TrainingSet(manifest, settings)
    torch.manual_seed(train.seed)
    model = Slap(settings)
    model.card = {"trained_on": manifest.trained_on}
    task = SlapTask(model).to(device)
    optimiser = torch.optim.AdamW(groups(model, train.weight_decay), lr=train.rate, betas=(0.9, 0.95))
    step = resume(out, model, optimiser, settings, manifest)
    if step == 0 and not settings.encoder.weights:
        model.frontend.fit(data.sample_of_waves(256).to(device))
    loader = DataLoader(
        Subset(data, range(step * train.batch, train.steps * train.batch)),
        batch_size=train.batch,
        num_workers=train.workers,
        timeout=300 if train.workers else 0,
        persistent_workers=train.workers > 0,
    )
    precision = torch.bfloat16 if use_bf16(train.precision, device) else torch.float32
    started, first = time.monotonic(), step
    out.mkdir(parents=True, exist_ok=True)
    task.train()
    with (
        (out / "metrics.jsonl").open("a") as log,
        tqdm(total=train.steps, initial=step, unit="step", desc=out.name) as bar,
    ):
        for batch in islice(loader, train.steps - step):
            torch.manual_seed(train.seed * 1_000_003 + step)  # masks depend on the step alone: resuming is exact
            for group in optimiser.param_groups:
                group["lr"] = rate(step, train)
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                losses, scalars = task({name: tensor.to(device) for name, tensor in batch.items()})
            if not torch.isfinite(losses["loss"]):
                raise TrainingError(
                    f"loss is {losses['loss'].item()} at step {step}; the last checkpoint in {out} is good: "
                    "lower train.rate and start again from it"
                )
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
            optimiser.step()
            step += 1
            bar.update()
            if step % train.log_every == 0 or step == train.steps:
                clips = (step - first) * train.batch / (time.monotonic() - started)
                figures = {"step": float(step), "clips_per_second": clips, "gradient_norm": norm.item()}
                figures |= {"learning_rate": rate(step - 1, train)}
                figures |= {name: value.item() for name, value in {**losses, **scalars}.items()}
                log.write(json.dumps(figures) + "\n")
                log.flush()
                bar.set_postfix({name: f"{value.item():.3f}" for name, value in losses.items()})
            if step % train.checkpoint_every == 0 or step == train.steps:
                save(out, step, model, optimiser, settings, manifest)
    return newest_checkpoint(out)


def rate(step: int, train: config.Train) -> float:
    """The learning rate: linear warm-up, then exponential decay to ``rate * final`` at the last step."""
    warmup = min(train.warmup, max(1, train.steps // 5))
    if step < warmup:
        return train.rate * (step + 1) / warmup
    decay: float = train.final ** ((step - warmup) / max(1, train.steps - warmup))
    return train.rate * decay


def groups(model: Slap, decay: float) -> list[dict[str, Any]]:
    """Parameters with and without weight decay: biases, norms, tokens and the temperature have none."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for _, p in trained if p.ndim >= 2 and p.shape[0] > 1], "weight_decay": decay},
        {"params": [p for _, p in trained if p.ndim < 2 or p.shape[0] == 1], "weight_decay": 0.0},
    ]


def use_bf16(wanted: str, device: torch.device) -> bool:
    """Whether to run in bfloat16: ``auto`` does on GPUs and on processors that multiply it natively."""
    if wanted != "auto":
        return wanted == "bf16"
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def save(
    out: Path,
    step: int,
    model: Slap,
    optimiser: torch.optim.Optimizer,
    settings: config.Config,
    manifest: Manifest,
) -> None:
    """Write ``out/step-<n>`` under a temporary name, rename it, and drop all but the last two."""
    from safetensors.torch import save_file

    final, draft = out / f"step-{step:08d}", out / f".step-{step:08d}.tmp"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()},
        draft / "model.safetensors",
    )
    save_file(optimiser_tensors(optimiser), draft / "optimiser.safetensors")
    card = {
        "step": step,
        "steps": settings.train.steps,
        "samples_seen": step * settings.train.batch,
        "seed": settings.train.seed,  # every random number of step n follows from seed and n
        "manifest": manifest.hash,
        "trained_on": manifest.trained_on,
        "input": {"mean": model.frontend.mean.item(), "std": model.frontend.std.item()},
        "config": settings.as_dict(),
        "torch": torch.__version__,
    }
    (draft / "checkpoint.json").write_text(json.dumps(card, indent=1))
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    for old in sorted(out.glob("step-*"))[:-2]:
        shutil.rmtree(old)


def resume(
    out: Path, model: Slap, optimiser: torch.optim.Optimizer, settings: config.Config, manifest: Manifest
) -> int:
    """Load the newest checkpoint of ``out`` into model and optimiser; the step it stands at, 0 where there is none.

    Raises:
        TrainingError: the checkpoint was trained with another configuration or on another manifest.
    """
    from safetensors.torch import load_file

    try:
        folder = newest_checkpoint(out)
    except CheckpointError:
        return 0
    card = json.loads((folder / "checkpoint.json").read_text())
    if card["manifest"] != manifest.hash or config.parse(card["config"]) != settings:
        raise TrainingError(f"{folder} was trained on another manifest or configuration: give another --out")
    model.load_state_dict(load_file(folder / "model.safetensors"))
    stored = load_file(folder / "optimiser.safetensors")
    for index, parameter in enumerate(p for group in optimiser.param_groups for p in group["params"]):
        optimiser.state[parameter] = {
            key: stored[f"{index}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{index}.{key}" in stored
        }
    return int(card["step"])


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as named tensors, so that no pickle is needed."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    return {
        f"{index}.{key}": value.detach().cpu().contiguous()
        for index, parameter in enumerate(parameters)
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m slap_model.train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="name in slap_model/configs, or a TOML file")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of this run; goes on from its checkpoints")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    options = parser.parse_args(arguments)
    try:
        settings = config.load(options.config, options.overrides)
        manifest = Manifest.load(options.manifest)
        if day := withdrawn_on(options.manifest):
            raise ManifestError(
                f"{options.manifest}: a speaker of its shards withdrew on {day}, so they are no longer those it lists; "
                "materialise the asset `manifest` and train on the new one"
            )
        final = train(settings, manifest, options.out)
    except (config.ConfigError, ManifestError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    report_to_dagster(final)
    print(final)
    return 0


def report_to_dagster(final: Path) -> None:
    """Tell the Dagster run that started this process what was trained; nothing when started by hand."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        pipes.report_custom_message({"checkpoint": str(final)})


if __name__ == "__main__":
    sys.exit(main())
