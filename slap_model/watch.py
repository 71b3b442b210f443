"""What a training looks like while it runs, and whether it can end at all on this machine.

`Watch` turns the figures of the steps into lines of ``metrics.jsonl``, TensorBoard events and a progress bar;
`refuse_if_hopeless` stops a training that would take weeks on a CPU before it has read anything.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slap_model import config

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from slap_model.task import Batch

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
STARTED_BY = "SLAP_STARTED_BY"  # environment variable: id of the process that a training must not outlive
LONG = 2.0  # days on a CPU: over a weekend somebody may wait; `base` takes months, and nobody means that
SMALLER = ("small", "tiny")  # configurations that are offered instead
SECONDS = 1.0  # a step of a measurement has as many clips as take this long: below it overheads are measured
PATIENCE = 3.0  # seconds that steps are measured before the fastest counts


class TooSlowError(RuntimeError):
    """A training that would not end on this machine; the message says how long it takes and what to do."""


class BusyError(RuntimeError):
    """Another process trains into the same folder."""


class Watch:
    """The log of one training, a context manager around its loop.

    ``metrics.jsonl`` gets a line every ``train.log_every`` steps and at the last one: the figures given, and

    * ``step``: steps done, 1 after the first;
    * ``clips_per_second``: of all processes together, since the line before;
    * ``data_wait``: share of the wall time since the line before that this process had no batch to work on;
    * ``gpu_memory_gb``: peak of the tensors in GiB since the start, and ``gpu_utilisation``: share of the last second
      or less in which the GPU was busy; both of this process's GPU, and left out where there is none.

    A figure that is no finite number (``ranked`` of a batch without a contradicted pair) is left out of its line.
    TensorBoard (``tensorboard --logdir <out>``) has the same figures under the same names.

    A run that goes on from step ``first_step`` drops the lines behind it, which a killed process may have left: each
    step stands once.

    Args:
        out: folder of the run; made where it is absent.
        settings: of the run.
        device: of this process.
        first_step: steps done so far.
        main: whether this process writes; the others only keep `waiting` and `step` as calls.

    Raises:
        BusyError: on entering, where another process is in the loop of the same run.
    """

    def __init__(
        self, out: Path, settings: config.Config, device: torch.device, first_step: int, main: bool = True
    ) -> None:
        self._out, self._train, self._device, self._main = out, settings.train, device, main
        self._first = self._last = first_step
        self._waited = 0.0
        self._asks_utilisation = device.type == "cuda"
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if self._main:
            from tqdm import tqdm

            self._out.mkdir(parents=True, exist_ok=True)
            self._open.enter_context(alone(self._out))
            cut(self._out / METRICS, self._first)
            self._log = self._open.enter_context((self._out / METRICS).open("a"))
            self._board = self._tensorboard()
            self._bar = self._open.enter_context(
                tqdm(total=self._train.steps, initial=self._first, unit="step", desc=self._out.name)
            )
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in here counts as waiting for data."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._waited += time.monotonic() - began

    def step(self, step: int, figures: Mapping[str, Tensor | float], last: bool = False) -> None:
        """Note a step that is done.

        Tensors become numbers only where a line is written: asking the GPU for a number waits for it.

        Args:
            step: steps done, this one included.
            figures: by name, scalars.
            last: whether the loop ends here, before ``train.steps``.
        """
        if not self._main:
            return
        self._bar.update(step - self._bar.n)
        if step % self._train.log_every and step != self._train.steps and not last:
            return
        numbers = {name: value if isinstance(value, float | int) else value.item() for name, value in figures.items()}
        now = time.monotonic()
        seconds = max(now - self._since, 1e-9)
        line = {
            "step": step,
            "clips_per_second": (step - self._last) * self._train.batch / seconds,
            **{name: number for name, number in numbers.items() if math.isfinite(number)},
            "data_wait": min(1.0, self._waited / seconds),
            **self._of_gpu(),
        }
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()
        if self._board is not None:
            for name, number in line.items():
                if name != "step":
                    self._board.add_scalar(name, number, step)
            self._board.flush()
        self._bar.set_postfix({name: f"{line[name]:.3f}" for name in ("loss", "contrastive", "mae") if name in line})
        self._since, self._last, self._waited = now, step, 0.0

    def _tensorboard(self) -> SummaryWriter | None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # a machine with GPUs may have torch and little else
            print("tensorboard is not installed: its files are left out", file=sys.stderr)
            return None
        writer = SummaryWriter(str(self._out / TENSORBOARD), purge_step=self._first + 1)
        self._open.callback(writer.close)
        return writer

    def _of_gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        import torch

        found = {"gpu_memory_gb": torch.cuda.max_memory_allocated(self._device) / 2**30}
        if self._asks_utilisation:
            try:
                found["gpu_utilisation"] = torch.cuda.utilization(self._device) / 100
            except Exception as error:  # pynvml's own kinds, which have no name where it is absent
                self._asks_utilisation = False
                why = "install the extra `gpu`" if isinstance(error, ImportError) else str(error)
                self._bar.write(f"GPU utilisation is not in the log: {why}", file=sys.stderr)
        return found


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder, until the end of this one at the latest.

    A trainer whose Dagster run was killed may live on: two that write the same checkpoints would spoil both.

    Raises:
        BusyError: another one is there.
    """
    with (out / "lock").open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process: its data loaders do not inherit it
        except BlockingIOError as error:
            raise BusyError(f"another process trains into {out}: wait for it or end it") from error
        yield


def orphaned() -> bool:
    """Whether the process that started this one, a step of a Dagster run, was killed: nobody waits for the end."""
    starter = os.environ.get(STARTED_BY)
    if not starter:
        return False
    try:
        os.kill(int(starter), 0)
    except (ProcessLookupError, PermissionError):  # gone, or another user's by now
        return True
    return False


def read(metrics: Path) -> list[dict[str, float]]:
    """The lines of a ``metrics.jsonl``; none where the file is absent, and not the one a kill (or a look) cut short."""
    lines = metrics.read_text(errors="replace").splitlines() if metrics.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def cut(metrics: Path, step: int) -> None:
    """Drop what a ``metrics.jsonl`` says of later steps than ``step``."""
    kept = [json.dumps(line) + "\n" for line in read(metrics) if line["step"] <= step]
    draft = metrics.with_suffix(".draft")
    draft.write_text("".join(kept))
    draft.replace(metrics)


def days_here(settings: config.Config, device: torch.device, enough: float = 0.0) -> float:
    """Days that the whole training takes at the speed of a few steps on made-up input.

    Measured are forward and backward passes, of as many clips at once as take a second, and the fastest counts; the
    optimiser and the reading of data come on top.

    Args:
        settings: of the training.
        device: where it would run; under ``torchrun`` each process measures its own part at the same time.
        enough: days below which the answer need not be exact: the measurement ends as soon as one step is so fast.
    """
    import torch

    from slap_model.model import Slap
    from slap_model.task import SlapTask, to_device
    from slap_model.train import use_bf16

    # Neither weights nor a compilation are worth their wait here, and processes do not wait for one another: each
    # makes as many steps as it has time for.
    settings = replace(
        settings,
        encoder=replace(settings.encoder, weights=""),
        loss=replace(settings.loss, gather=False),
        train=replace(settings.train, accumulate=1, compile=False),
    )
    train = settings.train
    available = cores()

    def clock() -> float:
        # What others take from the processor at the moment says nothing of the days to come: its time counts.
        return time.process_time() / available if device.type == "cpu" else time.monotonic()

    share = max(1, train.batch // int(os.environ.get("WORLD_SIZE", 1)))  # clips of a step in this process
    precision = torch.bfloat16 if use_bf16(train.precision, device) else torch.float32
    with torch.random.fork_rng(devices=[]):
        task = SlapTask(Slap(settings)).to(device).train()

        def days(clips: int) -> tuple[float, float]:
            batch = to_device(made_up(settings, clips), device)
            began = clock()
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                losses, _ = task(batch)
            losses["loss"].backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = clock() - began
            return train.steps * share / clips * seconds / 86_400, seconds

        found, _ = days(1)  # the slowest: it also loads and plans what the others need
        clips, began = 1, time.monotonic()
        while found > enough and time.monotonic() - began < PATIENCE:
            measured, seconds = days(clips)
            found = min(found, measured)
            clips = min(2 * clips, share) if seconds < SECONDS else clips
    return found


def made_up(settings: config.Config, clips: int) -> Batch:
    """A batch of noise in the shape of `slap_model.task`'s, each clip with a caption of its own."""
    import torch

    time_patches, mel_patches = settings.grid
    facts = torch.eye(clips)
    return {
        "waves": [torch.randn(clips, settings.samples) * 0.1],
        "noise": [torch.rand(clips, 2, time_patches * mel_patches)],
        "text": torch.randn(clips, settings.text.dim),
        "facts": facts,
        "denied": 1 - facts,
        "used": facts,
    }


def refuse_if_hopeless(settings: config.Config, device: torch.device, advice: Sequence[str] = ()) -> None:
    """Refuse a training that would take more than `LONG` days on a CPU; ``train.device = "cpu"`` says "I know".

    Args:
        settings: of the training.
        device: where it would run; nothing is measured on a GPU.
        advice: where and how to run it instead, a line each; without it this process's own command on GPUs.

    Raises:
        TooSlowError: with the days here, the processor, and what to do.
    """
    if device.type != "cpu" or settings.train.device == "cpu":
        return
    days = days_here(settings, device, enough=LONG)
    if days <= LONG:
        return
    print(f"no GPU, and this would take about {days:.0f} days here: timing smaller ones", file=sys.stderr, flush=True)
    command = f"-m slap_model.train {shlex.join(sys.argv[1:])}"
    offers = [f"--config {name} takes {_spoken(days_here(config.load(name), device))}" for name in SMALLER]
    lines = [
        f"without a GPU these {settings.train.steps} steps of {settings.train.batch} clips take about {days:.0f} days "
        f"here ({processor()}, measured), so nothing was started",
        *(
            advice
            or (
                f"on a machine with a GPU: python {command}",
                f"on one with four: torchrun --standalone --nproc-per-node=4 {command}",
            )
        ),
        f"here: {', '.join(offers)}",
        "here all the same: --set train.device=cpu",
    ]
    raise TooSlowError("\n  ".join(lines))


def _spoken(days: float) -> str:
    for unit, seconds in (("days", 86_400), ("hours", 3600)):
        if days * 86_400 >= 2 * seconds:
            return f"{days * 86_400 / seconds:.0f} {unit}"
    return f"{max(1, round(days * 1440))} min"


def cores() -> float:
    """Processors that work for this process: its threads, or fewer where a container or an affinity allows fewer."""
    import torch

    found = [float(torch.get_num_threads())]
    if hasattr(os, "sched_getaffinity"):
        found.append(float(len(os.sched_getaffinity(0))))
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, _, period = quota.read_text().partition(" ")
        found += [int(limit) / int(period)] if limit != "max" else []
    return min(found)


def processor() -> str:
    """Name of this machine's processor and how many threads work on it here."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"
