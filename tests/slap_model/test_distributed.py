"""Several processes compute what one does, and none waits for ever for a lost one.

One start of `two_processes` under ``torchrun`` (gloo, two processes) covers every case; what one process computes of
the joint batch is computed here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from slap_model.data import Batches, TrainingSet
from slap_model.manifest import Manifest
from tests.slap_model import made, two_processes
from tests.slap_model.two_processes import ONE, STEPS, TRAINED

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def file_of(manifest: Manifest) -> str:
    return str(manifest.root / "manifests" / f"{manifest.hash[:12]}.json")


@pytest.fixture(scope="module")
def two(shared_manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed."""
    folder = tmp_path_factory.mktemp("two")
    command = [*TORCHRUN, "-m", "tests.slap_model.two_processes", str(folder), file_of(shared_manifest)]
    ran = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return folder


def off(found: Tensor, wanted: Tensor) -> float:
    """Distance relative to the length of what is wanted."""
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-30))


@pytest.mark.parametrize("case", made.CASES)
def test_two_processes_have_the_joint_batchs_loss_and_gradients(two: Path, case: str) -> None:
    """In float64, so that 1e-9 is asked for: rounding would hide a factor that is nearly right."""
    found, wanted = load_file(two / f"{case}.safetensors"), two_processes.gradients(case, ONE)
    assert found.keys() == wanted.keys()
    whole = torch.cat([gradient.flatten() for gradient in wanted.values()]).norm()
    for name, gradient in wanted.items():
        assert (found[name] - gradient).norm() < 1e-9 * gradient.norm() + 1e-14 * whole, name


def test_without_gathering_each_process_has_its_own_negatives(two: Path) -> None:
    found = load_file(two / "no gathering.safetensors")
    halves = [two_processes.gradients("no gathering", ONE, half) for half in (0, 1)]
    joint = two_processes.gradients("no gathering", ONE)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, (halves[0][name] + halves[1][name]) / 2, rtol=1e-9, atol=1e-13)
    assert off(found["losses.contrastive"], joint["losses.contrastive"]) > 0.01


@pytest.mark.parametrize("case", TRAINED)
def test_two_processes_train_the_same_weights(two: Path, case: str, shared_manifest: Manifest, tmp_path: Path) -> None:
    """Three steps of real training in float32: each tensor within 1e-5 of its length.

    But for the keys' bias: softmax does not see it, so its gradient is rounding alone, and Adam makes steps of that.
    """
    last = f"step-{STEPS:08d}"
    found = load_file(two / case / last / "model.safetensors")
    wanted = load_file(two_processes.trained(case, shared_manifest, tmp_path, ONE) / "model.safetensors")
    for name, weight in wanted.items():
        if name.endswith("qkv.bias"):
            third = len(weight) // 3
            weight[third : 2 * third] = found[name][third : 2 * third] = 0
        assert off(found[name], weight) < 1e-5, name


def test_two_processes_stop_together_and_go_on_to_the_same_bits(two: Path) -> None:
    """Stopped after each step by a signal to one process; the other is still writing the checkpoint."""
    whole, parts = (load_file(two / run / f"step-{STEPS:08d}" / "model.safetensors") for run in (TRAINED[0], "stopped"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


# --- the order of samples ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", ["repeat", "own"])
def test_a_sample_is_the_same_in_every_process(shared_manifest: Manifest, lengths: str) -> None:
    """Its crop, caption and masks, whichever process has it and beside whichever others."""
    settings = made.settings(f"data.lengths={lengths}")

    def step(world: int) -> list[tuple[bytes, ...]]:
        rows = []
        for rank in range(world):
            data = TrainingSet(shared_manifest, settings)  # each process has its own
            batch = data.batch(next(iter(Batches(range(5, 6), 8, rank, world))))
            parts = [
                (wave, noise)
                for waves, noises in zip(batch["waves"], batch["noise"], strict=True)
                for wave, noise in zip(waves, noises, strict=True)
            ]
            told = [list(batch[name]) for name in ("text", "facts", "denied", "used")]
            rows += [tuple(t.numpy().tobytes() for t in (*part, *of)) for part, *of in zip(parts, *told, strict=True)]
        return sorted(rows)

    assert step(1) == step(2) == step(4)
    assert len(set(step(1))) == 8


# --- lost processes ---------------------------------------------------------------------------------------------


def wait_for(ready: object, seconds: float = 60) -> None:
    """Until ``ready()`` is true."""
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rank_of(pid: int) -> str:
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((word.partition(b"=")[2].decode() for word in words if word.startswith(b"RANK=")), "")


def test_a_killed_process_ends_the_job_with_a_message(shared_manifest: Manifest, tmp_path: Path) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    command = [*TORCHRUN, "-m", "slap_model.train", "--config", str(made.TINY), "--manifest", file_of(shared_manifest)]
    command += ["--out", str(out), "--set", "train.steps=100000", "--set", "train.patience=30"]
    with log.open("w") as words, subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=words) as job:
        try:
            wait_for(lambda: (out / "metrics.jsonl").is_file() and (out / "metrics.jsonl").stat().st_size > 2_000)
            (lost,) = (pid for pid in children(job.pid) if rank_of(pid) == "1")
            os.kill(lost, SIGKILL)
            began = time.monotonic()
            assert job.wait(timeout=60) != 0
            assert time.monotonic() - began < 20, "long before the patience ends"
        finally:
            job.kill()
    said = log.read_text()
    assert "error: process 0 of 2 had no answer from the others: one of them died" in said
    assert "start the same command again and it goes on from the last checkpoint" in said


@pytest.fixture
def pair() -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that ask each other all the time, with a patience of 3 s."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        "from slap_model import distributed\n"
        "with distributed.started('cpu', 3) as ranks:\n"
        "    while True:\n"
        "        distributed.any_of(0)\n"
        "        print('asked', flush=True)\n"
    )
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**ENVIRONMENT, **where, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    yield both
    for process in both:
        process.kill()
        process.wait()


def test_a_stuck_process_ends_the_others_when_their_patience_ends(pair: list[subprocess.Popen[str]]) -> None:
    stuck, other = pair
    assert other.stdout is not None
    assert other.stdout.readline() == "asked\n"
    stuck.send_signal(SIGSTOP)
    began = time.monotonic()
    _, said = other.communicate(timeout=60)
    waited = time.monotonic() - began
    assert other.returncode != 0
    assert 2 < waited < 15, waited
    assert "was stuck for 3 s (train.patience)" in said
