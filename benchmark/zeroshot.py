"""Zero-shot: which of two descriptions lies nearer to the voice.

Each task has pairs of prompts, affirmative antonyms such as ("a healthy speaker", "a speaker with
Parkinson's disease"). The class is the argmax of the cosine. No prompt is searched and no threshold tuned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.confusion import macro_f1
from benchmark.embedders import TextEmbedder, Vectors
from benchmark.probe import Labels
from benchmark.task import PromptPair

Scores = npt.NDArray[np.float64]
Prompts = Mapping[str, npt.NDArray[np.float64]]  # the unit vector [k] of each text


@dataclass(frozen=True)
class ZeroShot:
    """Decision values of n utterances: cosine with the positive class minus cosine with the negative one.

    Attributes:
        ensemble: [n], by the class vectors, each the mean of its prompts.
        by_pair: [n, pairs], by each prompt pair alone.
    """

    ensemble: Scores
    by_pair: Scores


def embed_prompts(embedder: TextEmbedder, texts: Sequence[str]) -> Prompts:
    """The unit vector of each distinct text, in one call."""
    distinct = sorted(set(texts))
    return dict(zip(distinct, unit(embedder.embed_text(distinct)), strict=True))


def zero_shot(joint: Vectors, pairs: Sequence[PromptPair], prompts: Prompts) -> ZeroShot:
    """Decide for each utterance.

    Args:
        joint: [n, k] audio vectors in the joint space.
        pairs: the task's (negative, positive) prompts.
        prompts: the unit vector [k] of each of their texts.
    """
    audio = unit(joint)
    negative = np.stack([prompts[text] for text, _ in pairs])
    positive = np.stack([prompts[text] for _, text in pairs])
    # The mean of normalised prompts, normalised again: CLIP's prompt ensemble (Radford et al. 2021).
    towards = unit(positive.mean(axis=0)) - unit(negative.mean(axis=0))
    return ZeroShot(ensemble=audio @ towards, by_pair=audio @ (positive - negative).T)


def best_pair(by_pair: Scores, y: Labels) -> int:
    """The prompt pair that tells the classes apart best on the training split; of equals the first.

    Chosen there and judged on the test split it is honest, unlike the best pair of the test split.

    Args:
        by_pair: [n, pairs] decision values of training units.
        y: [n] labels 0 and 1.

    Returns:
        Index of the pair with the highest macro-F1.
    """
    yes, true = by_pair > 0, (y == 1)[:, None]
    cells = [true & yes, ~true & yes, true & ~yes, ~true & ~yes]
    return int(np.argmax(macro_f1(np.stack([cell.sum(axis=0) for cell in cells], axis=-1))))


def unit(vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Vectors of length 1 along the last axis; a zero vector stays zero."""
    wide = np.asarray(vectors, dtype=np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=-1, keepdims=True), 1e-12))
