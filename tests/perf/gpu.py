"""What a training does on a GPU: one script for a machine that is lent for a few minutes.

    python -m tests.perf.gpu                       # all sections, some minutes on an H100
    python -m tests.perf.gpu --only speed          # one of them
    python -m tests.perf.gpu --tiny                # a small model, on a CPU too: does the script itself work?

It needs torch, timm, pyarrow, numpy, safetensors and tqdm; without soundfile the clips are stored as plain samples, and
without tensorboard its files are left out. Each figure is one of `slap_model.train.train` itself, as its log has it.

* **parity**: losses of the first steps on the GPU in fp32 and bf16 beside the CPU's in fp32, from the same weights.
* **speed**: clips per second of `base` and `fast` with and without `train.compile`; the share of time without a batch;
  hours of 50,000 steps of 64; and the **model-FLOPs utilisation**, arithmetic that the model needs over what the GPU
  can do. It needs, for a pass of n tokens through a transformer of width d, 24 n d^2 + 4 n m d FLOPs a layer, where m
  are the tokens that each attends to (n in the encoder, the window's in the decoder), plus the layers at both ends;
  backward twice as much. What is computed again does not count. What the GPU can do is its data sheet's dense bf16
  figure where its name is in `PEAKS`, and a product of large matrices in the same run.
* **memory**: peak by batch size, with parts (`train.accumulate`) and with activations made again.
* **ranks**: two processes under `torchrun` have the contrastive loss of one with the joint batch, and so its gradients.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from slap_model import config, train
from slap_model.distributed import Ranks
from slap_model.manifest import Manifest
from slap_model.watch import Watch
from tests.perf import speech
from tests.perf.timing import conditions, seconds

PEAKS = {"H200": 989.5, "H100 PCIe": 756.5, "H100": 989.5, "A100": 312.0}  # dense bf16 TFLOP/s, NVIDIA's data sheets
TINY = (
    "frontend.frames=64",
    *("encoder.dim=64", "encoder.depth=2", "encoder.heads=2"),
    *("decoder.dim=32", "decoder.depth=2", "decoder.heads=2"),
    *("train.batch=8", "train.workers=0"),
)
Figures = Mapping[str, float]


class EnoughError(Exception):
    """Ends a training that has been watched."""


def watched(settings: config.Config, manifest: Manifest, steps: int, device: torch.device) -> list[Figures]:
    """The lines of the log of a training's first ``steps`` steps."""

    class Short(Watch):
        """A log that ends the training, before it writes a checkpoint."""

        def step(self, step: int, figures: Mapping[str, Tensor | float], last: bool = False) -> None:
            super().step(step, figures, last)
            if step == steps:
                raise EnoughError

    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(train, "Watch", Short):
        try:
            train.train(settings, manifest, Path(folder), Ranks(0, 1, device))
        except EnoughError:
            return [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    raise AssertionError("the training ended before it was watched")


def flops(settings: config.Config, clip_seconds: Sequence[float]) -> float:
    """FLOPs that a training step needs for a clip, in the mean over clips of these lengths; see the formula above."""
    return sum(_of_clip(settings, one) for one in clip_seconds) / len(clip_seconds)


def _of_clip(settings: config.Config, clip_seconds: float) -> float:
    encoder, decoder, loss, patch = settings.encoder, settings.decoder, settings.loss, settings.encoder.patch
    frames, bucket = settings.frontend.frames, settings.data.bucket
    if settings.data.lengths == "own":
        own = settings.frames_of(int(clip_seconds * settings.frontend.sample_rate))
        frames = min(frames, max(1, own // bucket) * bucket)
    patches = (frames // patch[0]) * (settings.frontend.mels // patch[1])
    values = patch[0] * patch[1]

    def visible(masked: float) -> int:
        return max(1, round(patches * (1 - masked)))

    def encoded(tokens: int) -> float:
        n, d = tokens + 1, encoder.dim
        return encoder.depth * (24 * n * d**2 + 4 * n * n * d) + 2 * patches * values * d

    seen = visible(loss.contrastive_mask)
    forward = 0.0
    if loss.contrastive_weight > 0 or loss.shared_pass:
        forward += encoded(seen)
    if loss.mae_weight > 0:
        if not loss.shared_pass:
            seen = visible(loss.mask)
            forward += encoded(seen)
        d, window = decoder.dim, decoder.window**2
        forward += decoder.depth * patches * (24 * d**2 + 4 * window * d)
        forward += 2 * seen * encoder.dim * d + 2 * patches * d * values
    return 3 * forward


def peak(device: torch.device, tiny: bool) -> float:
    """TFLOP/s of a product of large bf16 matrices, best of five."""
    n = 256 if tiny else 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = [seconds(lambda: a @ b, device) for _ in range(8)]
    return 2 * n**3 / min(times[3:]) / 1e12


def parity(manifest: Manifest, device: torch.device, more: Sequence[str]) -> float:
    """Print losses of three steps beside the CPU's; return the largest relative difference in fp32."""
    print("\nparity: loss of steps 1 to 3 from the same weights, 8 clips")
    lines: dict[str, list[Figures]] = {}
    for where, kind in ((torch.device("cpu"), "fp32"), (device, "fp32"), (device, "bf16")):
        overrides = (*more, "train.batch=8", "train.workers=0", "train.log_every=1", f"train.precision={kind}")
        lines[f"{where.type} {kind}"] = watched(config.load("base", overrides), manifest, 3, where)
    exact = lines["cpu fp32"]
    apart = 0.0
    for name, figures in lines.items():
        off = max(abs(one["loss"] / other["loss"] - 1) for one, other in zip(figures, exact, strict=True))
        print(f"  {name:10s} {'  '.join(format(one['loss'], '.6f') for one in figures)}  off by {off:.1e}", flush=True)
        apart = max(apart, off if name.endswith("fp32") else 0.0)
    return apart


def speed(
    manifests: Mapping[str, tuple[Manifest, list[float]]],
    device: torch.device,
    more: Sequence[str],
    compiled: Sequence[bool] = (False, True),
) -> None:
    """Print throughput, utilisation, wait and hours."""
    best = peak(device, tiny=bool(more))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    sheet = next((tflops for key, tflops in PEAKS.items() if key in name), None)
    print(f"\nspeed: product of matrices {best:.1f} TFLOP/s, data sheet {sheet or 'unknown'}")
    print(f"  {'setting':34s} clips/s  TFLOP/s  of sheet  of product  wait  hours of 50,000 x 64  GiB")
    for setting in ("base", "fast"):
        for block in compiled:
            for clips, (manifest, lengths) in manifests.items():
                if (setting, clips) == ("base", "real lengths"):
                    continue  # every clip fills the window there
                overrides = (*more, f"train.compile={str(block).lower()}", "train.log_every=20")
                settings = config.load(setting, overrides)
                line = watched(settings, manifest, 20 if more else 60, device)[-1]
                rate = line["clips_per_second"]
                done = rate * flops(settings, lengths) / 1e12
                what = f"{setting}, {clips}{', compiled' if block else ''}"
                print(
                    f"  {what:34s} {rate:7.1f}  {done:7.2f}  {done / sheet if sheet else float('nan'):8.2f}  "
                    f"{done / best:10.2f}  {line['data_wait']:4.2f}  {50_000 * 64 / rate / 3600:20.1f}  "
                    f"{line.get('gpu_memory_gb', float('nan')):4.1f}",
                    flush=True,
                )


def memory(manifest: Manifest, device: torch.device, more: Sequence[str]) -> None:
    """Print the peak by batch size."""
    print("\nmemory: peak GiB of a step of `base`")
    for batch in (8,) if more else (16, 32, 64, 128, 256):
        found = []
        for extra in ("train.accumulate=1", "train.accumulate=4", "train.checkpoint_activations=true"):
            settings = config.load("base", (*more, f"train.batch={batch}", extra, "train.log_every=1"))
            try:
                line = watched(settings, manifest, 2, device)[-1]
                found.append(f"{extra.removeprefix('train.')}: {line.get('gpu_memory_gb', float('nan')):.1f}")
            except torch.OutOfMemoryError:
                found.append(f"{extra.removeprefix('train.')}: does not fit")
        print(f"  batch {batch:4d}  {'  '.join(found)}", flush=True)


def ranks(manifest: Path, device: torch.device, more: Sequence[str]) -> float:
    """Print the contrastive losses of one process and of two; return the largest relative difference."""
    kind = "cuda" if device.type == "cuda" else "cpu"
    overrides = (*more, "train.batch=16", "train.steps=3", "train.log_every=1", "train.precision=fp32")
    settings = [f"--set={one}" for one in (*overrides, f"train.device={kind}")]
    losses = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 2):
            out = Path(folder) / str(count)
            start = ["torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"] if count > 1 else []
            worker = ["tests.perf.gpu", "--train", "--config=base", f"--manifest={manifest}", f"--out={out}"]
            subprocess.run([sys.executable, "-m", *start, *worker, *settings], check=True, timeout=300)
            lines = (out / "metrics.jsonl").read_text().splitlines()
            losses.append([json.loads(line)["contrastive"] for line in lines])  # `mae` is of the first process alone
    apart = float(max(abs(one / two - 1) for one, two in zip(*losses, strict=True)))
    print(f"\nranks: losses of one process {losses[0]}, of two {losses[1]}, apart by {apart:.1e}")
    return apart


def main() -> None:
    """Run the sections; exit with 1 where losses differ that should not."""
    speech.read_pcm()
    if sys.argv[1:2] == ["--train"]:  # a process of `ranks`
        sys.exit(train.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=["parity", "speed", "memory", "ranks"], default=[])
    parser.add_argument("--tiny", action="store_true", help="a small model and few steps")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    more = TINY if options.tiny else ()
    wanted = options.only or ["parity", "speed", "memory", "ranks"]
    print(conditions(device), "" if speech.DECODES else "no soundfile: clips are not decoded")
    with tempfile.TemporaryDirectory() as folder:
        clips = 64 if options.tiny else 512
        real, long = speech.seconds_like_real(clips), [10.5] * clips
        files = {
            "long clips": (speech.corpus(Path(folder) / "long", long, 384), long),
            "real lengths": (speech.corpus(Path(folder) / "real", real, 384), real),
        }
        manifests = {name: (Manifest.load(path), lengths) for name, (path, lengths) in files.items()}
        full = manifests["long clips"][0]
        apart = parity(full, device, more) if "parity" in wanted else 0.0
        if "speed" in wanted:
            speed(manifests, device, more)
        if "memory" in wanted:
            memory(full, device, more)
        if "ranks" in wanted:
            if options.tiny or torch.cuda.device_count() > 1:
                apart = max(apart, ranks(files["long clips"][0], device, more))
            else:
                print("\nranks: needs two GPUs")
    print(conditions(device))
    if apart > 1e-3:
        sys.exit(f"losses that should be equal are apart by {apart:.1e}")


if __name__ == "__main__":
    main()
