"""What the benchmark asks of a model, and a check that it keeps to it before hours are spent.

An embedder turns speech into vectors. One with text as well can be asked without training (zero-shot).
Decoding, resampling and windows belong to the harness (`benchmark.embed`), so models cannot differ there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from slap_model.model import Precision, Slap

Vectors = npt.NDArray[np.float32]
Wave = npt.NDArray[np.float32]

UNTRAINED: Mapping[str, Sequence[str]] = {"corpora": (), "languages": (), "labels": ()}


class EmbedderError(ValueError):
    """An embedder broke one of the promises; the message names embedder and promise."""


class AbsentError(RuntimeError):
    """An embedder cannot be made here; the message names the package or weights, and where they are looked for."""


class Embedder(Protocol):
    """Anything that turns speech into vectors.

    Attributes:
        name: the name on the board and of its folders: small letters, digits, ``.``, ``-`` and ``_``.
        fingerprint: changes whenever the vectors may change (e.g. a hash of the weights).
        sample_rate: in Hz, of the waves it wants.
        trained_on: lists ``corpora``, ``languages`` (BCP-47) and ``labels`` (attributes); empty when nothing.
    """

    name: str
    fingerprint: str

    @property
    def sample_rate(self) -> int: ...  # noqa: D102 - see above
    @property
    def trained_on(self) -> Mapping[str, Sequence[str]]: ...  # noqa: D102

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, d] of n mono waves in [-1, 1] of any lengths: what the probe sees."""
        ...


class TextEmbedder(Embedder, Protocol):
    """An embedder that can be asked in words.

    It may have ``logit_scale``: what its training multiplied cosines by before the softmax. With it, zero-shot has
    probabilities.
    """

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, k] of n texts, in the joint space."""
        ...


def speaks(embedder: Embedder) -> TypeGuard[TextEmbedder]:
    """Whether the embedder can be asked in words: it embeds text, and language was part of its training."""
    return hasattr(embedder, "embed_text") and bool(getattr(embedder, "speaks_text", True))


def project(embedder: Embedder, vectors: Vectors) -> Vectors:
    """Audio vectors [n, d] in the joint space [n, k]; unchanged when the embedder has no ``project``."""
    method: Callable[[Vectors], Vectors] | None = getattr(embedder, "project", None)
    return vectors if method is None else np.asarray(method(vectors), dtype=np.float32)


class SlapEmbedder:
    """Our own model, from a checkpoint folder."""

    def __init__(self, folder: Path, name: str = "slap", precision: Precision = "auto") -> None:
        from slap_model.model import Slap

        self._wrap(name, Slap.from_checkpoint(folder, precision=precision))

    @classmethod
    def of(cls, model: Slap, name: str = "slap") -> SlapEmbedder:
        """A model that is loaded already."""
        embedder = cls.__new__(cls)
        embedder._wrap(name, model)
        return embedder

    @classmethod
    def untrained(
        cls, folder: Path, seed: int = 0, name: str = "untrained", precision: Precision = "auto"
    ) -> SlapEmbedder:
        """The same architecture with random weights: what the architecture alone can do."""
        from slap_model.model import Slap

        return cls.of(Slap.untrained(folder, seed, precision=precision), name)

    def _wrap(self, name: str, model: Slap) -> None:
        self._model = model
        self.name = name
        self.fingerprint: str = model.fingerprint
        self.precision: Precision = model.precision
        self.sample_rate: int = model.sample_rate
        self.trained_on: Mapping[str, Sequence[str]] = model.trained_on
        self.speaks_text: bool = model.speaks_text
        self.manifest: str = model.card.get("manifest", "")
        self.logit_scale = 1 / model.temperature

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, d] before the projection."""
        return np.asarray(self._model.embed_audio(waves), dtype=np.float32)

    def project(self, vectors: Vectors) -> Vectors:
        """Audio vectors [n, d] in the joint space [n, k]."""
        return np.asarray(self._model.project(vectors), dtype=np.float32)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, k] of the texts, in the joint space."""
        return np.asarray(self._model.embed_text(texts), dtype=np.float32)


def check_embedder(embedder: Embedder, tolerance: float = 1e-3) -> None:
    """Raise `EmbedderError` unless the embedder keeps its promises.

    Args:
        embedder: any embedder.
        tolerance: how far two vectors of the same wave may lie apart, as a share of their length
            (bf16 on a GPU needs about 1e-2).

    Raises:
        EmbedderError: naming the promise: name, shape, finite, same twice, same in any batch, same beside
            longer neighbours, text.
    """

    def require(kept: bool, promise: str) -> None:
        if not kept:
            raise EmbedderError(f"embedder {embedder.name}: not {promise}")

    def embed(waves: Sequence[Wave]) -> Vectors:
        vectors = np.asarray(embedder.embed_audio(waves))
        require(
            vectors.ndim == 2 and len(vectors) == len(waves),
            f"the right shape: {vectors.shape}, one row a wave",
        )
        require(bool(np.isfinite(vectors).all()), "finite: NaN or infinity in a vector")
        return vectors.astype(np.float32)

    def same(a: Vectors, b: Vectors) -> bool:
        return bool(np.linalg.norm(a - b) <= tolerance * max(float(np.linalg.norm(a)), 1e-12))

    require(bool(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", embedder.name)), "a name that can be a file name")
    short, middle, other, long = (_speechlike(embedder.sample_rate, s, i) for i, s in enumerate((0.4, 3.0, 3.0, 10.0)))
    embed([np.zeros(embedder.sample_rate, dtype=np.float32)])  # silence must not give log(0)
    alone = [embed([wave])[0] for wave in (short, middle, other, long)]
    require(len({vector.shape for vector in alone}) == 1, "the right shape: its width depends on the wave")
    for wave, vector in zip((short, middle, other, long), alone, strict=True):
        require(same(vector, embed([wave])[0]), "the same twice; inference must not crop or drop at random")
    batch = embed([other, middle, other])
    require(same(alone[1], batch[1]) and same(alone[2], batch[0]), "the same in any batch; is it in eval mode?")
    padded = embed([short, long, middle])
    require(
        same(alone[0], padded[0]) and same(alone[1], padded[2]),
        "the same beside longer neighbours; mask the padding",
    )
    if speaks(embedder):
        texts = np.asarray(embedder.embed_text(["a calm voice", "a rough voice"]))
        joint = project(embedder, padded)
        require(texts.ndim == 2 and len(texts) == 2, f"the right shape of text: {texts.shape}, one row a text")
        require(joint.shape == (3, texts.shape[1]), f"in one space: audio {joint.shape}, text {texts.shape}")
        require(bool(np.isfinite(texts).all() and np.isfinite(joint).all()), "finite in the joint space")


def _speechlike(sample_rate: int, seconds: float, seed: int) -> Wave:
    """A buzz under a slow envelope, with noise: no two stretches of it are alike."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    buzz = sum(np.sin(2 * np.pi * (110 + 20 * seed) * k * (1 + 0.02 * time) * time) / k for k in range(1, 6))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * (0.3 + seed) * time)
    return np.asarray(0.1 * envelope * (buzz + 0.3 * noise), dtype=np.float32)
