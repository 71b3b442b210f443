"""How fast `Slap.embed_audio` is beside timm's bare forward pass, and the front end beside torchaudio's.

    python -m tests.perf.embed_speed

The floor is timm's ViT on ready log-mels, its weights turned to bf16 beforehand where SLAP computes in bf16: no front
end, no casts, no waves. A second line has timm under autocast, as one would call it. All take turns; ratios are of
neighbours. The vectors' distance from those of fp32 is printed for each, on random weights.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from slap_model import config
from slap_model.model import Slap
from tests.perf.speech import RATE, voice
from tests.perf.timing import conditions, count_processor_time, in_turns, ratios, spread


def embedding(model: Slap, waves: list[np.ndarray], rounds: int, batch: int) -> None:
    """Print clips per second of timm and of SLAP."""
    device, bf16 = model.device, model.precision == "bf16"
    vit = model.encoder.vit
    half = copy.deepcopy(vit).to(torch.bfloat16 if bf16 else torch.float32)
    with torch.inference_mode():
        mel = torch.cat([model.frontend(torch.from_numpy(wave)[None].to(device)) for wave in waves])[:, None]
    halves = mel.to(torch.bfloat16 if bf16 else torch.float32)

    @torch.inference_mode()
    def bare() -> Tensor:
        return torch.cat([half(part) for part in torch.split(halves, batch)]).float().cpu()

    @torch.inference_mode()
    def under_autocast() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return torch.cat([vit(part) for part in torch.split(mel, batch)]).float().cpu()

    works: Mapping[str, Callable[[], object]] = {
        "timm, weights in " + model.precision: bare,
        "timm, autocast": under_autocast,
        "Slap.embed_audio": lambda: model.embed_audio(waves, batch),
    }
    with torch.inference_mode():
        exact = torch.cat([vit(part) for part in torch.split(mel, batch)]).cpu()
    times = in_turns(works, rounds, 1, device)
    floor, *_ = times
    length = len(waves[0]) / RATE
    print(f"\n{len(waves)} clips of {length:.2f} s, {batch} at once; clips a second [least, most] of {rounds}")
    for name, work in works.items():
        rate = [len(waves) / taken for taken in times[name]]
        off = (torch.as_tensor(work()) - exact).norm(dim=1) / exact.norm(dim=1)
        share = spread(ratios(times[floor], times[name]))
        print(f"  {name:24s} {spread(rate, 2):24s} x floor {share}   off fp32 by {off.max():.2%} at most")


def front_end(model: Slap, waves: list[np.ndarray], rounds: int) -> None:
    """Print milliseconds of a log-mel here and in torchaudio."""
    import torchaudio

    stack = torch.from_numpy(np.stack(waves)).to(model.device)
    settings = model.settings.frontend

    def kaldi(wave: Tensor) -> Tensor:
        fbank: Tensor = torchaudio.compliance.kaldi.fbank(
            (wave - wave.mean())[None],
            htk_compat=True,
            sample_frequency=settings.sample_rate,
            window_type="hanning",
            num_mel_bins=settings.mels,
            dither=0.0,
        )
        return fbank

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a filter of its 128 has no weight
        spectrogram = torchaudio.transforms.MelSpectrogram(
            settings.sample_rate, 512, settings.window, settings.hop, n_mels=settings.mels
        ).to(model.device)
    works: Mapping[str, Callable[[], object]] = {
        "LogMel": lambda: model.frontend.raw(stack),
        "torchaudio Kaldi fbank": lambda: [kaldi(wave) for wave in stack],
        "torchaudio MelSpectrogram": lambda: (spectrogram(stack) + 1e-7).log(),
    }
    times = in_turns(works, 3 * rounds, 2, model.device)
    print(f"\nFront end, ms a clip [least, most] of {3 * rounds}")
    for name, taken in times.items():
        print(f"  {name:26s} {spread([1000 * one / len(waves) for one in taken], 2)}")
    off = max(float((model.frontend.raw(wave[None])[0] - kaldi(wave)).abs().max()) for wave in stack)
    print(f"  LogMel is off Kaldi's by {off:.1e} at most")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="base")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shared", action="store_true", help="processor time of one thread: others use this machine")
    options = parser.parse_args()
    if options.shared:
        count_processor_time()
    torch.manual_seed(0)
    model = Slap(config.load(options.config)).ready()
    seconds = model.settings.samples / RATE
    waves = [voice(seconds, seed)[: model.settings.samples] for seed in range(options.clips)]
    print(conditions(model.device), model.precision)
    front_end(model, waves[:8], options.rounds)
    embedding(model, waves, options.rounds, options.batch)
    print(conditions(model.device))


if __name__ == "__main__":
    main()
