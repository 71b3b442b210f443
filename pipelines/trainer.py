"""Starting ``python -m slap_model.train``: on which GPUs, with which command, and what it said when it failed.

Nothing of Dagster is in here; `pipelines.assets.model` runs what this prepares.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pipelines.settings import Settings, SettingsError
from slap_model import config
from slap_model.watch import STARTED_BY

STOP_SECONDS = 150  # for a step and a checkpoint; Dagster calls a run cancelled after 180 in any case
TAIL = 100_000  # bytes of a trainer's last words that are kept: a traceback of each of eight processes
# The last line of a traceback, as `torch.OutOfMemoryError: CUDA out of memory`.
RAISED = re.compile(r"(?:\w+\.)*\w*(?:Error|Exception)(?:: |$)")


class NoGpuError(SettingsError):
    """Fewer GPUs are free than a training was to have; the message says what to do."""


def command(settings: Settings, overrides: Sequence[str], manifest: Path, out: Path, gpus: int) -> list[str]:
    """The command of a training; ``torchrun`` starts one process per GPU where there are several.

    Args:
        settings: whose configuration is trained.
        overrides: ``section.field=value``, all of them.
        manifest: what it reads.
        out: folder of its checkpoints.
        gpus: how many it has; 0 for the processor.
    """
    mirror = ["--mirror", str(settings.checkpoints / out.name)] if settings.apart else []
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"] if gpus > 1 else []
    told = ["--config", settings.config, "--manifest", str(manifest), "--out", str(out), *mirror]
    return [
        *(sys.executable, *several, "-m", "slap_model.train", *told),
        *(part for override in overrides for part in ("--set", override)),
    ]


def environment(gpus: Sequence[str]) -> dict[str, str]:
    """Variables for the processes of a training that this process starts on these GPUs."""
    own = {STARTED_BY: str(os.getpid()), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(STOP_SECONDS - 10)}
    return own | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})


def stop(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """Ask a trainer to end behind a checkpoint, wait for it, and end it where it does not."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    finally:  # also where it hangs, or somebody does not want to wait
        process.kill()
        process.wait()


def refuse_if_hopeless(settings: Settings, overrides: Sequence[str] = ()) -> None:
    """Refuse to train on a CPU what would take more than two days, in the words of ``slap run`` and Dagster.

    Raises:
        slap_model.watch.TooSlowError: with the days it would take here, and what to do.
        slap_model.config.ConfigError: no model can be made of the configuration.
    """
    import torch

    from slap_model import watch

    model = config.load(settings.config, [*settings.overrides, *overrides])
    device = torch.device("cuda" if visible_gpus(model) else "cpu")
    advice = [
        f"on a machine with GPUs: slap run {settings.raw} --config {settings.config} (it takes all of them; "
        "SLAP_GPUS chooses how many)",
        "in Dagster: SLAP_CONFIG=<name> chooses another configuration, SLAP_SET=train.device=cpu trains all the same",
    ]
    watch.refuse_if_hopeless(model, device, advice)


def refuse_at_once(settings: Settings) -> None:
    """`refuse_if_hopeless` before a run of the whole graph: not after hours in which tables and shards were written.

    Nothing is refused where the warehouse holds a finished training, made on another machine perhaps: whether this run
    has to train at all is known only by its manifest.
    """
    if not any(map(finished, settings.warehouse.glob("checkpoints/slap-*"))):
        refuse_if_hopeless(settings)


def finished(out: Path) -> bool:
    """Whether the newest checkpoint of a run is its last."""
    card = newest_card(out)
    return bool(card) and card["step"] == card["steps"]


def mirrored(settings: Settings, out: Path) -> bool:
    """Whether the store has the newest checkpoint of a run, where it is apart from the warehouse."""
    if not settings.apart:
        return True
    from slap_model import mirror

    return mirror.newest(settings.checkpoints / out.name) == f"step-{newest_card(out).get('step', 0):08d}"


def newest_card(out: Path) -> dict[str, Any]:
    """What the newest checkpoint of a run says of itself; empty where there is none."""
    cards = sorted(out.glob("step-*/checkpoint.json"))
    return dict(json.loads(cards[-1].read_text())) if cards else {}


def visible_gpus(model: config.Config) -> list[str]:
    """Names of the GPUs that a training of this configuration may use, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    if model.train.device == "cpu" or not torch.cuda.is_available():
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


@contextmanager
def claimed(gpus: Sequence[str], wanted: int, folder: Path | None = None) -> Iterator[list[str]]:
    """Some of the ``gpus`` that no other training of this user on this machine has, for as long as the context lasts.

    The pool `gpu` in dagster.yaml says how many trainings run at a time; this says on which GPU each of them runs.

    Args:
        gpus: `visible_gpus`; none of them: the training has the processor.
        wanted: how many (SLAP_GPUS); 0 for all.
        folder: of the lock files; a process that dies gives back what it had.

    Raises:
        NoGpuError: fewer are free, or there.
    """
    if not gpus:
        yield []
        return
    wanted = wanted or len(gpus)
    folder = folder or Path(tempfile.gettempdir()) / f"slap-gpus-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        taken: list[str] = []
        for gpu in gpus:
            if len(taken) < wanted and (lock := _locked(folder / gpu.replace("/", "-"))):
                held.enter_context(lock)
                taken.append(gpu)
        if len(taken) < wanted:
            raise NoGpuError(
                f"a training takes {wanted} of the {len(gpus)} GPUs here and {len(taken)} are free: SLAP_GPUS says how "
                "many each takes, the pool how many trainings run at a time (dagster instance concurrency set gpu 4)"
            )
        yield taken


def _locked(path: Path) -> IO[str] | None:
    file = path.open("a")  # changes nothing, whatever somebody has put there
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class LastWords(threading.Thread):
    """Passes on what a process writes to its standard error, and keeps the end of it."""

    def __init__(self, source: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._source, self._kept = source, b""
        self.start()

    def run(self) -> None:
        """Until the process, and whoever has its standard error from it, is gone."""
        while part := os.read(self._source.fileno(), 65_536):
            os.write(2, part)
            self._kept = (self._kept + part)[-TAIL:]

    def why(self, status: int, patience: float = 5.0) -> str:
        """Why the process ended with ``status``, in its own words."""
        self.join(patience)
        if status < 0:
            name = signal.Signals(-status).name
            likely = ": out of memory, most likely" if status == -signal.SIGKILL else ""
            return f"the trainer was killed by {name}{likely}"
        return reason(self._kept.decode(errors="replace")) or f"the trainer ended with status {status} and said nothing"


def reason(said: str) -> str:
    """The first error in what a trainer wrote to its standard error, else its last line.

    The first: where one of several processes dies, the others, and ``torchrun``, complain of that afterwards. Errors of
    the user begin with ``error:``, and go on in indented lines; others are the last line of a traceback.
    """
    lines = [line.rpartition("\r")[2].rstrip() for line in said.splitlines()]  # a progress bar writes over its line
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            rest = lines[number + 1 :]
            more = next((i for i, text in enumerate(rest) if not text.startswith("  ")), len(rest))
            return "\n".join([line.removeprefix("error: "), *rest[:more]])
        if RAISED.match(line):
            return line
    return next((line for line in reversed(lines) if line), "")
