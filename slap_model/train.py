"""Train SLAP: ``python -m slap_model.train --config tiny --manifest warehouse/manifests/<hash>.json --out <folder>``.

An ordinary program: Dagster starts it as a child process and reads its report, and by hand it does the same; on
several GPUs it is started by ``torchrun``. It goes on from the newest checkpoint in ``--out``; on a CPU, a run that was
killed and resumed ends with the same bits as one that was not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from slap_model import config, distributed, mirror, store
from slap_model.data import Batches, TrainingSet
from slap_model.distributed import LostRankError, Ranks
from slap_model.manifest import Manifest, ManifestError, withdrawn_on
from slap_model.model import CARD, CheckpointError, Slap, newest_checkpoint
from slap_model.task import Batch, SlapTask, to_device
from slap_model.watch import BusyError, TooSlowError, Watch, orphaned, refuse_if_hopeless

# How the work is done, not what is learned: a run goes on with other values of these.
WORK = ("device", "accumulate", "checkpoint_activations", "compile", "patience", "workers", "cache_gb")
NOTES = ("checkpoint_every", "log_every")
BATCH_S = 300.0  # that a batch may take to be read where nothing is wrong


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


class Stopped(RuntimeError):
    """The run was asked to end, and did so behind a checkpoint; ``signal`` is what asked."""

    def __init__(self, step: int, signal: int) -> None:
        super().__init__(f"stopped at step {step}, behind a checkpoint: the same command goes on from it")
        self.signal = signal


def never() -> int:
    """Nobody asks to stop."""
    return 0


def train(
    settings: config.Config,
    manifest: Manifest,
    out: Path,
    ranks: Ranks | None = None,
    asked_to_stop: Callable[[], int] = never,
    mirrored: Path | None = None,
) -> Path:
    """Train to ``settings.train.steps`` and return the final checkpoint's folder.

    Args:
        settings: model and optimisation.
        manifest: the data.
        out: folder of this run; its newest checkpoint is gone on from, ``metrics.jsonl`` grows every
            ``log_every`` steps.
        ranks: this process among those of `distributed.started`; without it the only one, on the CPU.
        asked_to_stop: asked after each step; a number above 0 ends the run behind a checkpoint.
        mirrored: folder of an object store that each checkpoint is put into, too; where its newest one is newer than
            that of ``out``, it is gone on from.

    Raises:
        TrainingError: the checkpoint in ``out`` is another run's, the batch does not divide over the processes, or the
            loss is no longer finite.
        Stopped: it was asked to.
        slap_model.store.StoreError: the store cannot be read, or does not take the last checkpoint.
    """
    ranks = ranks or Ranks(0, 1, torch.device("cpu"))
    if ranks.main:
        store.sweep(out)
    train, data, device = settings.train, TrainingSet(manifest, settings), ranks.device
    if train.batch % ranks.world:
        raise TrainingError(f"train.batch = {train.batch} does not divide over {ranks.world} processes")
    torch.manual_seed(train.seed)
    model = Slap(settings)
    model.card = {"trained_on": manifest.trained_on}
    task = SlapTask(model).to(device)
    optimiser = torch.optim.AdamW(groups(model, train.weight_decay), lr=train.rate, betas=(0.9, 0.95), fused=True)
    if mirrored is not None:
        bring(mirrored, out, ranks)
    step = resume(out, model, optimiser, settings, manifest)
    if step == 0 and not settings.encoder.weights:
        model.frontend.fit([wave.to(device) for wave in data.sample_of_waves(256)])
    if train.compile:
        compile_blocks(model)
    objective = joint(task, ranks)
    precision = torch.bfloat16 if use_bf16(train.precision, device) else torch.float32
    task.train()
    finite = torch.ones((), dtype=torch.bool, device=device)
    with Watch(out, settings, device, step, main=ranks.main) as watch:
        batches = loaded(loader(data, settings, step, ranks), manifest.root)
        while step < train.steps:
            with watch.waiting():
                batch = next(batches)
            for group in optimiser.param_groups:
                group["lr"] = rate(step, train)
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                losses, scalars = objective(to_device(batch, device))
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip)
            optimiser.step()
            task.after_step()
            finite &= torch.isfinite(losses["loss"].detach()) & torch.isfinite(norm)
            step += 1
            asked = distributed.any_of(asked_to_stop())
            last = step == train.steps or asked > 0
            saving = last or step % train.checkpoint_every == 0
            # Asking the GPU for a number waits for it: only now and then, and before anything is kept.
            if (saving or step % train.log_every == 0) and not finite:
                raise TrainingError(
                    f"loss or gradient is no longer finite by step {step} (loss {losses['loss'].item():.4g}); the last "
                    f"checkpoint in {out} is good: lower train.rate and start again from it"
                )
            figures = {"gradient_norm": norm, "learning_rate": rate(step - 1, train), **losses, **scalars}
            if last or step % train.log_every == 0:  # the autoencoder's loss is of this process's part alone
                figures |= {name: distributed.mean(value.detach()) for name, value in losses.items()}
            watch.step(step, figures, last=last)
            if saving and ranks.main:
                save(out, step, model, optimiser, settings, manifest)
                if mirrored is not None:
                    keep(checkpoint_folder(out, step), mirrored, last=last)
            if asked and step < train.steps:
                distributed.any_of(asked)  # torchrun ends the others when one leaves: not before the checkpoint stands
                raise Stopped(step, asked)
    return checkpoint_folder(out, train.steps)


def loader(data: TrainingSet, settings: config.Config, step: int, ranks: Ranks) -> DataLoader[Any]:
    """This process's part of the batches from a step on.

    They are made where they are read (`TrainingSet.batch`), and are cheap to hand over: waves as int16, a few
    tensors in shared memory.
    """
    train = settings.train
    return DataLoader(
        Readable(data),
        batch_sampler=Batches(range(step, train.steps), train.batch, ranks.rank, ranks.world),
        collate_fn=as_it_is,
        num_workers=train.workers,
        worker_init_fn=leave_signals_alone,
        timeout=data_patience(data.root) if train.workers else 0,
        pin_memory=ranks.device.type == "cuda",
    )


class Readable(Dataset[Any]):
    """The samples of a batch, or the error that kept one from being read.

    One that is raised in a process of torch's loader would arrive as a traceback in place of its message.
    """

    def __init__(self, data: TrainingSet) -> None:
        self._data = data

    def __getitems__(self, numbers: Sequence[int]) -> Batch | Exception:
        try:
            return self._data.batch(numbers)
        except (ManifestError, store.StoreError) as error:
            return error


def as_it_is(batch: Any) -> Any:
    """What `Readable` made of the numbers of a batch is the batch."""
    return batch


def data_patience(root: Path) -> float:
    """Seconds that a batch may take to come: a store below ``root`` has had its own by then, and said what is wrong.

    Raises:
        slap_model.store.StoreError: `slap_model.store.patience` raised it.
    """
    return BATCH_S if store.is_local(root) else BATCH_S + store.patience()


def loaded(batches: DataLoader[Any], root: Path) -> Iterator[Any]:
    """The batches of `loader`, with errors as they are; the processes that read them end with it, whatever they do.

    Raises:
        ManifestError: a clip cannot be read.
        slap_model.store.StoreError: the store below ``root`` does not answer, or no batch comes in time.
    """
    others = set(multiprocessing.active_children())
    coming, late = iter(batches), False
    try:
        while not late:
            try:
                batch = next(coming)
            except StopIteration:
                return
            except RuntimeError as error:
                if "timed out" not in str(error):
                    raise
                late = True
            else:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        raise store.StoreError(
            f"{root}: no batch was read within {batches.timeout:.0f} s: the drive or store hangs, or this machine has "
            "too few processors or too little memory. See to that; the same command goes on from the last checkpoint"
        )
    finally:
        del coming  # torch asks its processes to end; those that hang in a read do not hear it, nor a SIGTERM
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
            process.join(1)


def checkpoint_folder(out: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return out / f"step-{step:08d}"


def bring(mirrored: Path, out: Path, ranks: Ranks) -> None:
    """Have the newest checkpoint of the mirror in ``out``, and that of ``out`` in the mirror, whichever is newer.

    Processes of one machine share ``out``, so they look one after the other.
    """
    for turn in range(ranks.world):
        if turn == ranks.rank:
            mirror.fetch(mirrored, out)
        distributed.any_of(0)
    if ranks.main:
        own = max((card.parent for card in out.glob(f"step-*/{CARD}")), default=None)
        if own is not None and own.name > mirror.newest(mirrored):
            mirror.put(own, mirrored)


def keep(checkpoint: Path, mirrored: Path, *, last: bool) -> None:
    """Put a checkpoint into the mirror. A store that is out of order for a while costs no training of days.

    Raises:
        slap_model.store.StoreError: it does not take the last one.
    """
    try:
        mirror.put(checkpoint, mirrored)
    except store.StoreError as error:
        if last:
            raise
        print(f"warning: {checkpoint.name} is on this machine only: {error}", file=sys.stderr, flush=True)


def joint(task: SlapTask, ranks: Ranks) -> nn.Module:
    """The task, its gradients averaged over the processes where there are several."""
    if ranks.world == 1:
        return task
    from torch.nn.parallel import DistributedDataParallel

    where = [ranks.device.index] if ranks.device.type == "cuda" else None
    with warnings.catch_warnings():  # newer torch renames broadcast_buffers, 2.11 lacks the name
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(task, device_ids=where, broadcast_buffers=False, gradient_as_bucket_view=True)


def compile_blocks(model: Slap) -> None:
    """Compile the transformer blocks in place: nearly all the arithmetic, and names of weights stay as they are."""
    for block in model.encoder.vit.blocks:
        block.compile(dynamic=True)


def leave_signals_alone(worker: int) -> None:
    """In a process that loads data: the trainer alone answers to signals, and ends its loaders itself.

    A signal often goes to all of a group (torchrun, batch systems); without loaders the trainer could not end its step.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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

    final = checkpoint_folder(out, step)
    draft = store.draft(final)
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
    if card["manifest"] != manifest.hash or _learned(config.parse(card["config"])) != _learned(settings):
        raise TrainingError(f"{folder} was trained on another manifest or configuration: give another --out")
    model.load_state_dict(load_file(folder / "model.safetensors"))
    stored = load_file(folder / "optimiser.safetensors")
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in stored.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})  # moves each to its parameter's device
    return int(card["step"])


def _learned(settings: config.Config) -> config.Config:
    """The configuration without what changes no weight."""
    plain = config.Train()
    same = {name: getattr(plain, name) for name in (*WORK, *NOTES)}
    return replace(settings, train=replace(settings.train, **same))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as named tensors, so that no pickle is needed."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    return {
        f"{index}.{key}": value.detach().cpu().contiguous()
        for index, parameter in enumerate(parameters)
        for key, value in optimiser.state.get(parameter, {}).items()
    }


class StopSignals:
    """Calls to `asked` answer with the signal that came, 0 while none did; a second one ends the process at once."""

    def __init__(self) -> None:
        self.came = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        self.came = number
        signal.signal(number, signal.SIG_DFL)

    def asked(self) -> int:
        """The signal that came; SIGTERM also where nobody is left to send one."""
        return self.came or (signal.SIGTERM if orphaned() else 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, 3 for a lost process."""
    parser = argparse.ArgumentParser(prog="python -m slap_model.train", description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="name in slap_model/configs, or a TOML file")
    parser.add_argument("--manifest", required=True, help="a file, or its URL on an object store")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run; goes on from its checkpoints")
    parser.add_argument("--mirror", help="URL of a folder that each checkpoint is put into, too, and gone on from")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    options = parser.parse_args(arguments)
    stop = StopSignals()
    try:
        settings = config.load(options.config, options.overrides)
        listed = store.place(options.manifest)
        mirrored = store.place(options.mirror) if options.mirror else None
        manifest = Manifest.load(listed)
        if day := withdrawn_on(listed):
            raise ManifestError(
                f"{listed}: a speaker of its shards withdrew on {day}, so they are no longer those it lists; "
                "materialise the asset `manifest` and train on the new one"
            )
        patience = settings.train.patience
        if not store.is_local(manifest.root):  # a process whose store hangs is heard before the others give it up
            patience = max(patience, data_patience(manifest.root))
        with distributed.started(settings.train.device, patience) as ranks:
            refuse_if_hopeless(settings, ranks.device)
            final = train(settings, manifest, options.out, ranks, stop.asked, mirrored)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal
    except LostRankError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 3
    except (config.ConfigError, ManifestError, TrainingError, TooSlowError, BusyError, store.StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if ranks.main:
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
