"""A run that was stopped or killed, at any step, ends with the same bits as one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import Tensor

from slap_model import config, watch
from slap_model.manifest import Manifest
from slap_model.model import newest_checkpoint
from slap_model.train import Stopped, train
from tests.slap_model import made

STEPS = 6
FILES = ("model.safetensors", "optimiser.safetensors")
ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """Stands for what no code of a killed process sees: nothing of the run may answer to it."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes started here: sums of several threads have other last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings(*overrides: str) -> config.Config:
    return made.settings(f"train.steps={STEPS}", "data.lengths=own", *overrides)


@pytest.fixture(scope="module")
def whole(shared_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("whole")
    train(settings(), shared_manifest, out)
    torch.set_num_threads(threads)
    return out


def assert_same_bits(one: Path, other: Path) -> None:
    """Of the weights and of the optimiser's state, in the last checkpoints of two runs."""
    assert newest_checkpoint(one).name == newest_checkpoint(other).name
    for file in FILES:
        first, second = (load_file(newest_checkpoint(run) / file) for run in (one, other))
        assert first.keys() == second.keys()
        different = [name for name in first if not torch.equal(first[name], second[name])]
        assert not different, different


def assert_each_step_once(run: Path, steps: int = STEPS) -> None:
    """In the log."""
    assert [line["step"] for line in watch.read(run / watch.METRICS)] == list(range(1, steps + 1))


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in watch.read(run / watch.METRICS)]


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The run is dead after ``step`` is logged, before its checkpoint."""
    noted = watch.Watch.step

    def note(self: watch.Watch, now: int, figures: Mapping[str, Tensor | float], last: bool = False) -> None:
        noted(self, now, figures, last)
        if now == step:
            raise Killed

    monkeypatch.setattr(watch.Watch, "step", note)


def test_stopped_after_every_step(whole: Path, shared_manifest: Manifest, tmp_path: Path) -> None:
    for step in range(1, STEPS):
        with pytest.raises(Stopped, match=f"stopped at step {step}, behind a checkpoint"):
            train(settings(), shared_manifest, tmp_path, asked_to_stop=lambda: 15)
        assert newest_checkpoint(tmp_path).name == f"step-{step:08d}"
    train(settings(), shared_manifest, tmp_path, asked_to_stop=lambda: 15)  # the last step is the end anyway
    assert_same_bits(tmp_path, whole)
    assert_each_step_once(tmp_path)
    assert losses(tmp_path) == losses(whole)


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_after_any_step(whole: Path, shared_manifest: Manifest, tmp_path: Path, step: int) -> None:
    """With a checkpoint every two steps; what was done since the last one is done again."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        die_at(patch, step)
        train(settings("train.checkpoint_every=2"), shared_manifest, tmp_path)
    kept = [path.name for path in tmp_path.glob("step-*")]
    assert len(kept) == min(2, (step - 1) // 2)
    train(settings("train.checkpoint_every=2"), shared_manifest, tmp_path)
    assert_same_bits(tmp_path, whole)
    assert_each_step_once(tmp_path)
    assert losses(tmp_path) == losses(whole)


def test_killed_in_the_middle_of_a_checkpoint(
    whole: Path, shared_manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half written is not taken for a checkpoint, neither under its draft's name nor without its card."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "rename", killed)
        train(settings("train.checkpoint_every=2"), shared_manifest, tmp_path)
    (draft,) = tmp_path.glob(".step-*")
    assert (draft / "checkpoint.json").is_file()
    shutil.copytree(draft, tmp_path / "step-00000003")
    (tmp_path / "step-00000003" / "checkpoint.json").unlink()
    train(settings("train.checkpoint_every=2"), shared_manifest, tmp_path)
    assert_same_bits(tmp_path, whole)
    assert_each_step_once(tmp_path)
    assert not list(tmp_path.glob(".step-*"))


def killed(*_: object) -> None:
    raise Killed


def test_how_the_work_is_done_may_change_on_the_way(whole: Path, shared_manifest: Manifest, tmp_path: Path) -> None:
    """Loaders, memory and processes are no part of what is learned."""
    with pytest.raises(Stopped):
        train(settings("train.workers=2"), shared_manifest, tmp_path, asked_to_stop=lambda: 15)
    with pytest.raises(Stopped):
        train(settings("train.cache_gb=0.1", "train.workers=1"), shared_manifest, tmp_path, asked_to_stop=lambda: 15)
    train(settings("train.checkpoint_activations=true", "train.patience=9.0"), shared_manifest, tmp_path)
    assert_same_bits(tmp_path, whole)


# --- real processes ---------------------------------------------------------------------------------------------


def started(manifest: Manifest, out: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "slap_model.train", "--config", str(made.TINY), "--out", str(out)]
    command += ["--manifest", str(manifest.root / "manifests" / f"{manifest.hash[:12]}.json")]
    for override in overrides:
        command += ["--set", override]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(ready: Callable[[], object], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        assert child.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def ends_as_if_undisturbed(manifest: Manifest, out: Path, overrides: list[str], undisturbed: Path) -> None:
    """Go on from what ``out`` has to a step that is a little further, and do the same without a break.

    The log and the board have each step once, also those that the killed process did after its last checkpoint.
    """
    reached = int(newest_checkpoint(out).name.removeprefix("step-"))
    assert 0 < reached < 100_000
    time.sleep(1)  # the board's files are read in the order of their seconds
    # the number of steps bends the learning rate, so both runs keep it and are stopped at the same step
    for run, first in ((out, reached), (undisturbed, 0)):
        asked = iter([0] * (reached - first + 2) + [15])
        with pytest.raises(Stopped):
            train(made.settings(*overrides), manifest, run, asked_to_stop=partial(next, asked))
    assert_same_bits(out, undisturbed)
    assert_each_step_once(out, reached + 3)
    assert losses(out) == losses(undisturbed)
    board = EventAccumulator(str(out / watch.TENSORBOARD)).Reload()
    assert [event.step for event in board.Scalars("loss")] == list(range(1, reached + 4))


def test_a_killed_process(shared_manifest: Manifest, tmp_path: Path) -> None:
    out, overrides = tmp_path / "killed", ["train.steps=100000", "train.checkpoint_every=5"]
    with started(shared_manifest, out, *overrides) as child:
        wait_for(lambda: list(out.glob("step-*/checkpoint.json")), child)
        child.send_signal(signal.SIGKILL)
    ends_as_if_undisturbed(shared_manifest, out, overrides, tmp_path / "undisturbed")


def test_a_process_asked_to_end(shared_manifest: Manifest, tmp_path: Path) -> None:
    """SIGTERM to the trainer and its loaders, as ``torchrun`` and batch systems send it to all of a group."""
    out, overrides = tmp_path / "asked", ["train.steps=100000", "train.workers=2"]
    with started(shared_manifest, out, *overrides) as child:
        wait_for(lambda: len(watch.read(out / watch.METRICS)) > 2, child)
        os.killpg(child.pid, signal.SIGTERM)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM, said
    assert "behind a checkpoint: the same command goes on from it" in said
    last = int(newest_checkpoint(out).name.removeprefix("step-"))
    assert [line["step"] for line in watch.read(out / watch.METRICS)] == list(range(1, last + 1))
    ends_as_if_undisturbed(shared_manifest, out, overrides, tmp_path / "undisturbed")
