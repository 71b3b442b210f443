"""How fast training is, beside the floor under it and beside open_clip's own training step.

    python -m tests.perf.train_speed                   # the paper's setting on its floor; then open_clip and the ladder
    python -m tests.perf.train_speed --only profile    # where the time of the paper's setting goes

SLAP's times are those of `slap_model.train.train` itself: read and decode FLAC from a tar, front end, both passes,
backward, clipping, AdamW, a line of log at every step. Between two of its steps the others take one each, so that all
meet the same noise; a ratio is of neighbours, and its median, least and most are printed.

* **floor**: timm's ViT forward and backward on a ready log-mel; the same on ready tokens of the visible patches
  alone; the Swin blocks of the decoder forward and backward; AdamW's step. Four measured parts, summed: no data, no
  losses.
* **open_clip** (extra `perf`): `open_clip_train.train.train_one_epoch` over one batch in memory, of its ViT-B-16 with
  an input of 1024 x 128 in one channel (so the audio tower has SLAP's size) and its own text tower at 77 tokens. Its
  AdamW is given `fused=True`, which it does not have of itself and which is 4 times faster on a CPU.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from slap_model import config, train
from slap_model.distributed import Ranks
from slap_model.manifest import Manifest
from slap_model.watch import Watch
from tests.perf import speech
from tests.perf.timing import Times, conditions, count_processor_time, now, ratios, seconds, spread

# From `base` to `fast`: each rung has the settings of those above it.
LADDER: Mapping[str, Sequence[str]] = {
    "paper (base)": (),
    "+ entailed pairs, mixed captions": ("loss.contrastive=entailment", "data.captions=mixed"),
    "+ contrastive pass on half": ("loss.contrastive_mask=0.5",),
    "+ one pass for both losses": ("loss.shared_pass=true",),
    "+ light decoder": ("decoder.depth=4",),
}


class EnoughError(Exception):
    """Ends a training that has been timed."""


def autocast(settings: config.Config, device: torch.device) -> torch.autocast:
    """As `train` has it."""
    bf16 = train.use_bf16(settings.train.precision, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


class Floor:
    """What a step of SLAP cannot do without, part by part."""

    def __init__(self, settings: config.Config, batch: int, device: torch.device) -> None:
        from timm.models.swin_transformer import SwinTransformerBlock
        from timm.models.vision_transformer import VisionTransformer

        encoder, decoder, frames, mels = (
            settings.encoder,
            settings.decoder,
            settings.frontend.frames,
            settings.frontend.mels,
        )
        self.vit = VisionTransformer(
            img_size=(frames, mels),
            patch_size=encoder.patch,
            in_chans=1,
            num_classes=0,
            global_pool="avg",
            embed_dim=encoder.dim,
            depth=encoder.depth,
            num_heads=encoder.heads,
        ).to(device)
        shifts = [0 if index % 2 == 0 else decoder.window // 2 for index in range(decoder.depth)]
        self.swin = nn.Sequential(
            *(
                SwinTransformerBlock(
                    decoder.dim, settings.grid, num_heads=decoder.heads, window_size=decoder.window, shift_size=shift
                )
                for shift in shifts
            ),
            nn.LayerNorm(decoder.dim),
            nn.Linear(decoder.dim, encoder.patch[0] * encoder.patch[1]),
        ).to(device)
        patches = settings.grid[0] * settings.grid[1]
        seen = 1 + round(patches * (1 - settings.loss.mask))
        self.mel = torch.randn(batch, 1, frames, mels, device=device)
        self.seen = torch.randn(batch, seen, encoder.dim, device=device, requires_grad=True)
        self.grid = torch.randn(batch, *settings.grid, decoder.dim, device=device, requires_grad=True)
        self.optimiser = torch.optim.AdamW([*self.vit.parameters(), *self.swin.parameters()], lr=1e-4, fused=True)
        self.autocast = partial(autocast, settings, device)

    def works(self) -> Mapping[str, Callable[[], object]]:
        """The four parts, in the order of a step."""
        return {
            "full pass": partial(self._both_ways, self.vit, self.mel),
            "visible pass": partial(self._both_ways, lambda x: self.vit.fc_norm(self.vit.blocks(x)), self.seen),
            "decoder": partial(self._both_ways, self.swin, self.grid),
            "AdamW": self._optimise,
        }

    def _both_ways(self, network: Callable[[Tensor], Tensor], x: Tensor) -> None:
        with self.autocast():
            value = network(x).float().square().mean()
        value.backward()  # type: ignore[no-untyped-call]

    def _optimise(self) -> None:
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


class OpenClip:
    """open_clip's own training step at the size of SLAP's audio tower."""

    def __init__(self, settings: config.Config, batch: int, device: torch.device) -> None:
        import open_clip  # type: ignore[import-untyped]
        from open_clip_train.scheduler import cosine_lr  # type: ignore[import-untyped]
        from open_clip_train.train import train_one_epoch  # type: ignore[import-untyped]

        frames, mels = settings.frontend.frames, settings.frontend.mels
        bf16 = train.use_bf16(settings.train.precision, device)
        quiet = logging.getLogger()
        quiet.setLevel(logging.WARNING)  # it logs each step to the root logger
        self.model = open_clip.create_model(
            "ViT-B-16", force_image_size=(frames, mels), output_dict=True, pretrained_text=False, load_weights=False
        )
        width = self.model.visual.conv1.out_channels
        self.model.visual.conv1 = nn.Conv2d(1, width, settings.encoder.patch, settings.encoder.patch, bias=False)
        self.model.to(device)
        named = list(self.model.named_parameters())
        without_decay = [p for name, p in named if p.ndim < 2 or any(part in name for part in ("bn", "ln", "bias"))]
        rest = [p for _, p in named if all(p is not other for other in without_decay)]
        optimiser = torch.optim.AdamW(
            [{"params": without_decay, "weight_decay": 0.0}, {"params": rest, "weight_decay": 0.2}],
            lr=5e-4,
            betas=(0.9, 0.98),
            eps=1e-6,
            fused=True,
        )
        arguments = SimpleNamespace(
            device=str(device),
            precision="amp_bf16" if bf16 else "fp32",
            accum_freq=1,
            distill=False,
            skip_scheduler=False,
            horovod=False,
            grad_clip_norm=1.0,  # as SLAP's step has it
            rank=0,
            world_size=1,
            batch_size=batch,
            log_every_n_steps=1,
            wandb=False,
        )
        image = torch.randn(batch, 1, frames, mels)
        words = torch.randint(1, 49_000, (batch, 77))
        words[:, -1] = 49_407  # the end, which its text tower reads
        self._run = partial(
            train_one_epoch,
            self.model,
            {"train": _OneBatch((image, words))},
            open_clip.ClipLoss(),
            0,
            optimiser,
            None,
            cosine_lr(optimiser, 5e-4, 10_000, 50_000),
            None,
            arguments,
        )

    def step(self) -> None:
        """One training step."""
        self._run()


class _OneBatch:
    """A batch as open_clip's loop wants its data."""

    num_batches = 1

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self.batch, self.num_samples, self.dataloader = batch, len(batch[0]), self

    def set_epoch(self, epoch: int) -> None:
        """There is no order."""

    def __iter__(self) -> Any:
        return iter([self.batch])


def time_training(
    settings: config.Config,
    manifest: Manifest,
    others: Mapping[str, Callable[[], object]],
    rounds: int,
    warm: int,
    device: torch.device,
) -> Times:
    """Seconds of ``rounds`` steps of `train.train` under "slap", and of each of the others between two of them."""
    times: Times = {"slap": [], **{name: [] for name in others}}

    class Turns(Watch):
        """The log of a training, which lets the others run when it has noted a step."""

        began = 0.0

        def step(self, step: int, figures: Mapping[str, Tensor | float], last: bool = False) -> None:
            super().step(step, figures, last)
            times["slap"].append(now(device) - self.began)
            for name, work in others.items():
                times[name].append(seconds(work, device))
            if step == warm + rounds:
                raise EnoughError
            self.began = now(device)

        def __enter__(self) -> Turns:
            self.began = now(device)
            super().__enter__()
            return self

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(train, "Watch", Turns):
        try:
            train.train(settings, manifest, Path(folder) / "run", Ranks(0, 1, device))
        except EnoughError:
            return {name: taken[warm:] for name, taken in times.items()}
    raise AssertionError("the training ended before it was timed")


def rungs(batch: int, more: Sequence[str] = ()) -> Mapping[str, config.Config]:
    """The configurations of the ladder, with a batch that this machine can hold and a log line at each step."""
    work = (f"train.batch={batch}", "train.workers=0", "train.log_every=1", *more)
    settings: dict[str, config.Config] = {}
    overrides: list[str] = []
    for name, changes in LADDER.items():
        overrides += changes
        settings[name] = config.load("base", [*overrides, *work])
    return {**settings, "+ own lengths (fast)": config.load("fast", work)}


def paper(settings: config.Config, manifest: Manifest, rounds: int, device: torch.device) -> None:
    """Print the step of the paper's setting beside its floor."""
    floor = Floor(settings, settings.train.batch, device).works()
    times = time_training(settings, manifest, floor, rounds, 2, device)
    below = [sum(parts) for parts in zip(*(times[name] for name in floor), strict=True)]
    print(
        f"\nThe paper's step against its floor, seconds [least, most] of {rounds} steps of {settings.train.batch} clips"
    )
    for name in floor:
        print(f"  {name:32s} {spread(times[name])}")
    print(f"  {'floor':32s} {spread(below)}")
    print(f"  {'slap_model.train':32s} {spread(times['slap'])}")
    print(f"  {'share of the floor (goal 0.85)':32s} {spread(ratios(below, times['slap']))}")


def ladder(
    settings: Mapping[str, config.Config],
    full: Manifest,
    mixed: Manifest,
    rounds: int,
    device: torch.device,
) -> None:
    """Print clips per second of each rung beside open_clip's, on full clips; the last also on clips of real lengths."""
    batch = next(iter(settings.values())).train.batch
    peer = OpenClip(next(iter(settings.values())), batch, device)
    runs = [(name, one, full) for name, one in settings.items()]
    runs = [*runs[:-1], (f"{runs[-1][0]}, all clips long", runs[-1][1], full), (runs[-1][0], runs[-1][1], mixed)]
    print(f"\nSteps of {batch} clips beside open_clip's, clips a second and their ratio [least, most] of {rounds}")
    for name, one, manifest in runs:
        times = time_training(one, manifest, {"open_clip": peer.step}, rounds, 1, device)
        slap, other = ([batch / taken for taken in times[key]] for key in ("slap", "open_clip"))
        print(
            f"  {name:40s} {spread(slap, 2)}  open_clip {spread(other, 2)}  x {spread(ratios(slap, other), 2)}",
            flush=True,
        )


def profile(settings: config.Config, manifest: Manifest, device: torch.device) -> None:
    """Print the operators of one step by their own time."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with recorded(activities=activities) as record:
        time_training(settings, manifest, {}, 2, 1, device)
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=50))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["paper", "ladder", "profile"], help="default: paper and ladder")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--shared", action="store_true", help="processor time of one thread: others use this machine")
    options = parser.parse_args()
    if options.shared:
        count_processor_time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = rungs(options.batch, options.overrides)
    first = next(iter(settings.values()))
    print(conditions(device), "bf16" if train.use_bf16(first.train.precision, device) else "fp32")
    with tempfile.TemporaryDirectory() as folder:
        full = Manifest.load(speech.corpus(Path(folder) / "full", [10.5] * 64, first.text.dim))
        mixed = Manifest.load(speech.corpus(Path(folder) / "mixed", speech.seconds_like_real(64), first.text.dim))
        if options.only == "profile":
            profile(first, full, device)
        if options.only in (None, "paper"):
            paper(first, full, options.rounds, device)
        if options.only in (None, "ladder"):
            ladder(settings, full, mixed, options.rounds, device)
    print(conditions(device))


if __name__ == "__main__":
    main()
