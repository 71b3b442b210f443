"""Metrics of binary predictions, with intervals over speakers (`benchmark.intervals`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmark.confusion import Counts, Numbers, confusion_by_speaker, f1, macro_f1
from benchmark.intervals import DRAWS, auroc, by_folds, drawn_auroc, drawn_counts, interval, widened

__all__ = ["Counts", "Groups", "Metrics", "Numbers", "by_group", "confusion_by_speaker", "f1", "macro_f1", "measure"]

CALIBRATION_BINS = 10
UNITS_PER_BIN = 5  # at least, so that few units give fewer bins


@dataclass(frozen=True)
class Metrics:
    """What the predictions of one task are worth; shares and scores lie in 0..1, n counts units.

    Attributes:
        f1, macro_f1: of the positive class; mean of both classes. _low, _high: 95 % over speakers.
        balanced_accuracy: mean of both classes' recall.
        auroc: chance that a positive is ranked above a negative that the same probe judged; does not depend on the
            threshold.
        brier: mean squared error of the probabilities (Brier 1950); None without probabilities.
        calibration_error: mean distance between probability and share of positives over bins of equally many
            units, weighted by units (Naeini et al. 2015 with the equal-mass bins of Nguyen & O'Connor 2015);
            10 bins, or fewer where a bin would hold fewer than 5 units. None without probabilities.
        predicted_positive_rate: share that is called positive.
        always_yes_f1, always_yes_macro_f1: what saying yes to all would earn at this prevalence.
        prior_random_f1, prior_random_macro_f1: expected of saying yes at random as often as yes is true.
        n, n_speakers, prevalence: of the units; share of positives.
    """

    f1: float
    f1_low: float
    f1_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    balanced_accuracy: float
    auroc: float
    auroc_low: float
    auroc_high: float
    brier: float | None
    calibration_error: float | None
    predicted_positive_rate: float
    always_yes_f1: float
    always_yes_macro_f1: float
    prior_random_f1: float
    prior_random_macro_f1: float
    n: int
    n_speakers: int
    prevalence: float


def measure(predictions: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> Metrics:
    """The metrics of one task.

    Args:
        predictions: columns person, y, score, predicted (0..1) and, where there are, probability, folds and
            fold_scores; one row a unit; both classes occur.
        corpus: part of the seed of the draws, so that tasks on the same speakers share them.
        n_draws: of the bootstrap.
    """
    y = predictions["y"].to_numpy()
    speakers, counts = confusion_by_speaker(predictions)
    total = counts.sum(axis=0)
    drawn, folds = drawn_counts(corpus, speakers, counts, n_draws), by_folds(predictions)
    tp, fp, fn, tn = total.tolist()
    n, n_positive = len(y), int(y.sum())
    prevalence = n_positive / n
    always_yes_f1 = 2 * prevalence / (1 + prevalence)
    random_f1 = _prior_random_f1(n, n_positive)
    seen_f1, seen_macro_f1 = float(f1(total)), float(macro_f1(total))
    seen_auroc = auroc(predictions)
    f1_low, f1_high = interval(widened(f1(drawn), folds), seen_f1)
    macro_low, macro_high = interval(widened(macro_f1(drawn), folds), seen_macro_f1)
    auroc_low, auroc_high = interval(drawn_auroc(predictions, corpus, n_draws), seen_auroc)
    brier, calibration = _of_probabilities(predictions)
    return Metrics(
        f1=seen_f1,
        f1_low=f1_low,
        f1_high=f1_high,
        macro_f1=seen_macro_f1,
        macro_f1_low=macro_low,
        macro_f1_high=macro_high,
        balanced_accuracy=(tp / (tp + fn) + tn / (tn + fp)) / 2,
        auroc=seen_auroc,
        auroc_low=auroc_low,
        auroc_high=auroc_high,
        brier=brier,
        calibration_error=calibration,
        predicted_positive_rate=(tp + fp) / n,
        always_yes_f1=always_yes_f1,
        always_yes_macro_f1=always_yes_f1 / 2,
        prior_random_f1=random_f1,
        prior_random_macro_f1=(random_f1 + _prior_random_f1(n, n - n_positive)) / 2,
        n=n,
        n_speakers=len(speakers),
        prevalence=prevalence,
    )


def _prior_random_f1(n: int, n_positive: int) -> float:
    """Expected F1 of saying yes to each of n units with the chance of the prevalence; exact.

    With k times yes, k binomial, n_positive k / n of them are right on average, and F1 = 2 right /
    (k + n_positive) is linear in them.
    """
    from scipy.stats import binom

    k = np.arange(n + 1)
    right = n_positive * k / n
    return float(binom.pmf(k, n, n_positive / n) @ (2 * right / (k + n_positive)))


def _of_probabilities(predictions: pl.DataFrame) -> tuple[float | None, float | None]:
    """Brier score and calibration error, or None twice without probabilities."""
    from sklearn.metrics import brier_score_loss

    if "probability" not in predictions.columns or predictions["probability"].has_nulls():
        return None, None
    y, probability = predictions["y"].to_numpy(), predictions["probability"].to_numpy()
    bins = max(1, min(CALIBRATION_BINS, len(y) // UNITS_PER_BIN))
    inner_edges = np.quantile(probability, np.arange(1, bins) / bins)  # equal probabilities share a bin
    off = np.bincount(np.searchsorted(inner_edges, probability), probability - y, minlength=bins)
    return float(brier_score_loss(y, probability)), float(np.abs(off).sum() / len(y))


@dataclass(frozen=True)
class Groups:
    """How parts of the speakers fare.

    Attributes:
        rows: a row a shown group, sorted: group, n_speakers, n, prevalence, macro_f1, tpr, fpr (shares of the
            positives and of the negatives that are called positive). Null where a class is absent: macro_f1,
            and tpr or fpr.
        n_hidden: groups that are not shown.
        gap: best minus worst macro-F1 of the groups that have one; None with fewer than two.
    """

    rows: pl.DataFrame
    n_hidden: int
    gap: float | None


_GROUPS = {
    "group": pl.String(),
    "n_speakers": pl.Int64(),
    "n": pl.Int64(),
    "prevalence": pl.Float64(),
    "macro_f1": pl.Float64(),
    "tpr": pl.Float64(),
    "fpr": pl.Float64(),
}


def by_group(predictions: pl.DataFrame, column: str, smallest: int = 10) -> Groups:
    """The predictions of one task by the value of a column, small groups hidden.

    A group of fewer than ``smallest`` speakers is not shown; nor is any group when fewer than that are left
    beside the shown ones, because the numbers of all would give away theirs. One group alone is no
    comparison: then there is nothing to show.

    Args:
        predictions: columns person, y, predicted and the given one; nulls of it belong to no group.
        column: sex, age, language.
        smallest: number of speakers.
    """
    shown, n_hidden = _parts(predictions, column, smallest)
    rows = [_of_group(value, part) for value, part in shown.items()]
    judged = [float(row["macro_f1"]) for row in rows if row["macro_f1"] is not None]
    gap = max(judged) - min(judged) if len(judged) > 1 else None
    return Groups(pl.DataFrame(rows, schema=_GROUPS), n_hidden, gap)


def _parts(predictions: pl.DataFrame, column: str, smallest: int) -> tuple[Mapping[str, pl.DataFrame], int]:
    """The predictions by value of a column, and how many values are hidden."""
    parts = {str(value): part for (value,), part in predictions.drop_nulls(column).group_by(column)}
    shown = {value: parts[value] for value in sorted(parts) if parts[value]["person"].n_unique() >= smallest}
    in_shown = {person for part in shown.values() for person in part["person"]}
    beside = predictions["person"].n_unique() - len(in_shown)
    if len(parts) < 2:
        return {}, 0
    if 0 < beside < smallest:
        return {}, len(parts)
    return shown, len(parts) - len(shown)


def _of_group(value: str, part: pl.DataFrame) -> dict[str, str | int | float | None]:
    speakers, counts = confusion_by_speaker(part)
    tp, fp = counts.sum(axis=0)[:2].tolist()
    n_positive, n = int(part["y"].sum()), part.height
    both = 0 < n_positive < n
    return {
        "group": value,
        "n_speakers": len(speakers),
        "n": n,
        "prevalence": n_positive / n,
        "macro_f1": float(macro_f1(counts.sum(axis=0))) if both else None,
        "tpr": tp / n_positive if n_positive else None,
        "fpr": fp / (n - n_positive) if n_positive < n else None,
    }
