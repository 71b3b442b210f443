"""Confusion counts of binary predictions, and the F1 that follows from them.

Counts may be fractions: a unit that is judged several times, by probes trained on other folds, adds the share
of the times that it was called positive. F1 of a class that occurs neither in labels nor in predictions is 0,
as in scikit-learn with ``labels=[0, 1], zero_division=0``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Counts = npt.NDArray[Any]  # [..., 4]: true positive, false positive, false negative, true negative
Numbers = npt.NDArray[np.float64]


def confusion_by_speaker(predictions: pl.DataFrame) -> tuple[tuple[str, ...], Counts]:
    """The speakers, sorted, and what each adds to the confusion: counts [speakers, 4].

    Args:
        predictions: columns person, y (1 or 0) and predicted (the share of the judgements that say yes, 0..1).
    """
    speakers, index = np.unique(predictions["person"].to_numpy(), return_inverse=True)
    y = predictions["y"].to_numpy().astype(np.float64)
    yes = predictions["predicted"].to_numpy().astype(np.float64)
    of_units = np.stack([y * yes, (1 - y) * yes, y * (1 - yes), (1 - y) * (1 - yes)])
    counts = np.stack([np.bincount(index, cell, minlength=len(speakers)) for cell in of_units], axis=-1)
    return tuple(map(str, speakers)), counts


def f1(counts: Counts) -> Numbers:
    """F1 of the positive class from counts [..., 4]; 0 where it is undefined."""
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    return _ratio(2 * tp, 2 * tp + fp + fn)


def macro_f1(counts: Counts) -> Numbers:
    """Mean of the F1 of both classes from counts [..., 4]."""
    return (f1(counts) + f1(counts[..., ::-1])) / 2


def _ratio(above: Counts, below: Counts) -> Numbers:
    return np.asarray(np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0), dtype=np.float64)
