"""The hub's architectures at full size with generated weights: do they keep their promises, and how fast are they?

``python -m tests.perf.embedder_rates [NAME ...]`` prints one line a model: parameters, dimensions, sample rate,
check, seconds for a clip of 10 s (median of 3), and that as a multiple of the mel statistics in the same run.
Generated weights say nothing of quality. Whisper large needs 12 GB of memory while it is made.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from benchmark.embedders import Embedder, check_embedder
from benchmark.hub import make
from benchmark.hub_models import MODELS
from benchmark.registry import ENTRIES, Context, choose
from tests.perf.generated import clap, hear, ms_clap, vit, wav2vec, whisper


def _whisper(width: int, layers: int, heads: int, mels: int) -> Callable[[Path], None]:
    sizes = {"d_model": width, "encoder_layers": layers, "encoder_attention_heads": heads, "encoder_ffn_dim": 4 * width}
    return partial(whisper, mels=mels, **sizes)  # the decoder stays small: it is not used


def _wav2vec(kind: str, *, large: bool = False, norm: str = "group") -> Callable[[Path], None]:
    width, layers, heads = (1024, 24, 16) if large else (768, 12, 12)
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    rest = {"intermediate_size": 4 * width, "conv_dim": [512] * 7}
    return partial(
        wav2vec,
        kind=kind,
        norm=norm,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=16,
        **sizes,
        **rest,
    )


_VIT_L = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
FULL: Mapping[str, Callable[[Path], None]] = {
    "wav2vec2-base": _wav2vec("wav2vec2"),
    "hubert-base": _wav2vec("hubert"),
    "wavlm-base": _wav2vec("wavlm"),
    "audiomae": partial(vit, embed_dim=768, depth=12, num_heads=12),
    "laion-clap": partial(clap, full=True),
    "ms-clap": partial(ms_clap, full=True),
    "wav2vec2-large": _wav2vec("wav2vec2", large=True),
    "hubert-large": _wav2vec("hubert", large=True, norm="layer"),
    "wavlm-large": _wav2vec("wavlm", large=True, norm="layer"),
    "hear": partial(hear, pooler_output_size=512, **_VIT_L),
    "whisper-medium": _whisper(1024, 24, 16, 80),
    "whisper-large": _whisper(1280, 32, 20, 128),
}


def seconds_a_clip(embedder: Embedder, seconds: float = 10.0) -> float:
    """Median of 3, after one to warm up."""
    wave = (0.1 * np.random.default_rng(0).standard_normal(int(seconds * embedder.sample_rate))).astype(np.float32)
    took = []
    for _ in range(4):
        started = time.perf_counter()
        embedder.embed_audio([wave])
        took.append(time.perf_counter() - started)
    return statistics.median(took[1:])


def line(name: str, embedder: Embedder, parameters: str, mel: float) -> None:
    """Check an embedder and print what it is."""
    check_embedder(embedder)
    width = embedder.embed_audio([np.zeros(embedder.sample_rate, dtype=np.float32)]).shape[1]
    took = seconds_a_clip(embedder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{name:18s} {parameters:>12s} {width:6d} {embedder.sample_rate:7d} {'passed':>7s} "
        f"{took:8.3f} {took / mel:8.0f} {memory:7.1f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FULL)}, or of what loads offline; default: all")
    names = parser.parse_args().names
    plain = [name for name, entry in choose().items() if entry.family != "ours"]
    mel = seconds_a_clip(ENTRIES["mel-statistics"].make(Context(checkpoint=Path)))
    print(
        f"{'embedder':18s} {'parameters':>12s} {'width':>6s} {'Hz':>7s} {'check':>7s} "
        f"{'s / 10 s':>8s} {'x mel':>8s} {'GiB':>7s}"
    )
    for name in names or [*plain, *FULL]:
        if name not in FULL:
            line(name, ENTRIES[name].make(Context(checkpoint=Path)), "-", mel)
            continue
        with tempfile.TemporaryDirectory() as folder:
            FULL[name](Path(folder) / MODELS[name].repository)
            embedder = make(name, Path(folder))
            embedder.embed_audio([np.zeros(embedder.sample_rate, dtype=np.float32)])
            part = getattr(embedder, "encoder", None) or embedder.network  # type: ignore[attr-defined]
            line(name, embedder, f"{sum(p.numel() for p in part.parameters()):,}", mel)
            del embedder, part


if __name__ == "__main__":
    main()
