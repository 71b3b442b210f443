"""Metrics of binary predictions, with intervals that respect the speaker.

Clips of one speaker are not independent: drawn by clip, a nominal 95 % interval covers about half of the
time. So whole speakers are drawn. A draw may lack a class; F1 of a class that occurs neither in labels nor
in predictions is 0 then, as in scikit-learn with ``labels=[0, 1], zero_division=0``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.task import Task

DRAWS = 1000
LEVEL = 95.0  # percentile intervals, in percent

Counts = npt.NDArray[Any]  # [..., 4]: true positive, false positive, false negative, true negative
Numbers = npt.NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Metrics:
    """What the predictions of one task are worth; shares and scores lie in 0..1, n counts units.

    ``auroc`` is the only number that does not depend on the threshold. ``always_yes_f1`` is what saying
    yes to all would earn at this prevalence, and ``always_yes_macro_f1`` half of it.
    """

    f1: float
    f1_low: float
    f1_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    balanced_accuracy: float
    auroc: float
    predicted_positive_rate: float
    always_yes_f1: float
    always_yes_macro_f1: float
    n: int
    n_speakers: int
    prevalence: float


def measure(predictions: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> Metrics:
    """The metrics of one task.

    Args:
        predictions: columns person, y, score, predicted; one row a unit; both classes occur.
        corpus: part of the seed of the draws, so that tasks on the same speakers share them.
        n_draws: of the bootstrap.
    """
    from sklearn.metrics import roc_auc_score

    y, predicted = predictions["y"].to_numpy(), predictions["predicted"].to_numpy()
    speakers, counts = confusion_by_speaker(predictions)
    total = counts.sum(axis=0)
    drawn = draws(corpus, speakers, n_draws) @ counts
    tp, fp, fn, tn = total.tolist()
    prevalence = (tp + fn) / len(y)
    always_yes_f1 = 2 * prevalence / (1 + prevalence)
    (f1_low, f1_high), (macro_low, macro_high) = interval(f1(drawn)), interval(macro_f1(drawn))
    return Metrics(
        f1=float(f1(total)),
        f1_low=f1_low,
        f1_high=f1_high,
        macro_f1=float(macro_f1(total)),
        macro_f1_low=macro_low,
        macro_f1_high=macro_high,
        balanced_accuracy=(tp / (tp + fn) + tn / (tn + fp)) / 2,
        auroc=float(roc_auc_score(y, predictions["score"].to_numpy())),
        predicted_positive_rate=float(predicted.mean()),
        always_yes_f1=always_yes_f1,
        always_yes_macro_f1=always_yes_f1 / 2,
        n=len(y),
        n_speakers=len(speakers),
        prevalence=prevalence,
    )


def f1(counts: Counts) -> Numbers:
    """F1 of the positive class from counts [..., 4]; 0 where it is undefined."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    return _ratio(2 * tp, 2 * tp + fp + fn)


def macro_f1(counts: Counts) -> Numbers:
    """Mean of the F1 of both classes from counts [..., 4]."""
    return (f1(counts) + f1(counts[..., ::-1])) / 2


def _ratio(above: Counts, below: Counts) -> Numbers:
    return np.asarray(np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0), dtype=np.float64)


def confusion_by_speaker(predictions: pl.DataFrame) -> tuple[tuple[str, ...], Counts]:
    """The speakers, sorted, and what each adds to the confusion: counts [speakers, 4]."""
    speakers, index = np.unique(predictions["person"].to_numpy(), return_inverse=True)
    wrong = predictions["y"].to_numpy() != predictions["predicted"].to_numpy()
    no = predictions["predicted"].to_numpy() == 0
    cell = np.where(no, 3 - wrong, wrong)  # tp 0, fp 1, fn 2, tn 3
    counts = np.bincount(4 * index + cell, minlength=4 * len(speakers)).reshape(-1, 4)
    return tuple(map(str, speakers)), counts.astype(np.float64)


def draws(corpus: str, speakers: tuple[str, ...], n_draws: int = DRAWS) -> Numbers:
    """How often each speaker is in each bootstrap sample: [n_draws, speakers], each row sums to speakers.

    Seeded by corpus and speakers, so that all embedders, and all tasks with these speakers, share draws.
    """
    return _draws(corpus, speakers, n_draws)


@lru_cache(maxsize=128)
def _draws(corpus: str, speakers: tuple[str, ...], n_draws: int) -> Numbers:
    seed = hashlib.sha256("\n".join((corpus, *speakers)).encode()).digest()
    even = np.full(len(speakers), 1 / len(speakers))
    counts = np.random.default_rng(list(seed)).multinomial(len(speakers), even, size=n_draws).astype(np.float64)
    counts.flags.writeable = False  # it is shared
    return counts


def interval(values: Numbers) -> Interval:
    """The percentile interval of bootstrap values."""
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def mean_macro_f1(
    predictions: Mapping[str, pl.DataFrame], tasks: Sequence[Task], n_draws: int = DRAWS
) -> tuple[float, float, float]:
    """Mean macro-F1 over tasks, with the interval (mean, low, high); see `paired_difference`."""
    observed, drawn = _mean_over_tasks(predictions, tasks, n_draws)
    return (observed, *interval(drawn))


def paired_difference(
    a: Mapping[str, pl.DataFrame], b: Mapping[str, pl.DataFrame], tasks: Sequence[Task], n_draws: int = DRAWS
) -> tuple[float, float, float]:
    """How much better A is than B: difference of mean macro-F1 over tasks, low, high.

    Both are judged on the same draws of speakers. Within a corpus one draw serves all tasks, so that
    tasks which share speakers rise and fall together.

    Args:
        a: predictions by task name.
        b: predictions by task name, of the same units.
        tasks: those to average over; both must have them all.
        n_draws: of the bootstrap.

    Raises:
        ValueError: when A and B predict different units of a task.
    """
    for task in tasks:
        if not _units(a[task.name]).equals(_units(b[task.name])):
            raise ValueError(f"task {task.name}: the two embedders predict different units; evaluate both again")
    observed_a, drawn_a = _mean_over_tasks(a, tasks, n_draws)
    observed_b, drawn_b = _mean_over_tasks(b, tasks, n_draws)
    return (observed_a - observed_b, *interval(drawn_a - drawn_b))


def _units(predictions: pl.DataFrame) -> pl.DataFrame:
    return predictions.select("unit_id", "y").sort("unit_id", "y")


def _mean_over_tasks(
    predictions: Mapping[str, pl.DataFrame], tasks: Sequence[Task], n_draws: int
) -> tuple[float, Numbers]:
    """Mean macro-F1 over tasks: as observed, and of each draw [n_draws]."""
    confusion = {task.name: confusion_by_speaker(predictions[task.name]) for task in tasks}
    observed = np.mean([macro_f1(counts.sum(axis=0)) for _, counts in confusion.values()])
    drawn = np.zeros(n_draws)
    for corpus in sorted({task.corpus for task in tasks}):
        of_corpus = [confusion[task.name] for task in tasks if task.corpus == corpus]
        everyone = tuple(sorted({speaker for speakers, _ in of_corpus for speaker in speakers}))
        column = {speaker: i for i, speaker in enumerate(everyone)}
        weights = draws(corpus, everyone, n_draws)
        for speakers, counts in of_corpus:
            drawn += macro_f1(weights[:, [column[speaker] for speaker in speakers]] @ counts)
    return float(observed), drawn / len(tasks)
