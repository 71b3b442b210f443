"""Linear probe: what a logistic regression can read from frozen vectors.

Vectors are standardised and the classes weighted to balance. How strongly to regularise is chosen inside
the training split, by folds that keep each person whole: plain folds reward recognising the person (on
data that hold nothing but speaker identity they promise macro-F1 0.82; these say 0.50).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of LogisticRegression; the smallest regularises most
FOLDS = 5

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]
Persons = npt.NDArray[np.str_]
Decisions = npt.NDArray[np.float64]


def probe(train: Matrix, y: Labels, person: Persons, test: Matrix, seed: int = 0) -> Decisions:
    """Train on ``train`` and decide on ``test``.

    Args:
        train: [n, d] vectors.
        y: [n] labels 0 and 1; both must occur.
        person: [n] who speaks: the groups of the folds.
        test: [m, d] vectors.
        seed: of the folds.

    Returns:
        [m] decision values; positive where above 0.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # free BLAS threads make problems this small six times slower
        return _decide(train, y, test, [choose_strength(train, y, person, seed)])[0]


def choose_strength(x: Matrix, y: Labels, person: Persons, seed: int = 0) -> float:
    """The C with the lowest balanced log loss on held-out persons.

    With fewer than two persons in a class there is nothing to hold out: the middle of the grid.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(FOLDS, *(len(np.unique(person[y == label])) for label in (0, 1)))
    if folds < 2:
        return STRENGTHS[len(STRENGTHS) // 2]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    losses = np.zeros(len(STRENGTHS))
    for fit, held_out in splitter.split(x, y, person):
        if len(np.unique(y[fit])) == 2:  # a large person can take a whole class out of the rest
            decisions = _decide(x[fit], y[fit], x[held_out], STRENGTHS)
            losses += [_balanced_log_loss(y[held_out], one) for one in decisions]
    return STRENGTHS[int(losses.argmin())]


def _decide(x: Matrix, y: Labels, other: Matrix, strengths: Sequence[float]) -> list[Decisions]:
    """Decision values of ``other`` by a regression trained on ``x``, for each C in ``strengths``."""
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression

    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1.0
    x, other = (x - mean) / std, (other - mean) / std
    # lbfgs: 3 ms for 200 x 192 and 6 for 200 x 768, where liblinear takes 4 and 9. As long goes into
    # checking arguments, unless told not to; the embedder check has seen that the vectors are finite.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        models = [LogisticRegression(C=c, class_weight="balanced", max_iter=300).fit(x, y) for c in strengths]
        return [np.asarray(model.decision_function(other), dtype=np.float64) for model in models]


def _balanced_log_loss(y: Labels, decisions: Decisions) -> float:
    """Log loss with both classes weighing the same; a class that is absent does not count."""
    loss = np.logaddexp(0.0, np.where(y == 1, -decisions, decisions))
    return float(np.mean([loss[y == label].mean() for label in np.unique(y)]))
