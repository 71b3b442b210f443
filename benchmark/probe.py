"""Linear probe: what a logistic regression can read from frozen vectors.

Vectors are standardised and the classes weighted to balance. How strongly to regularise is chosen inside
the training split, by folds that keep each person whole: plain folds reward recognising the person (on
data that hold nothing but speaker identity they promise macro-F1 0.82; these say 0.50).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of LogisticRegression; the smallest regularises most
FOLDS = 5
REPEATS = 10
SIZES = (8, 16, 32, 64, 128, 256)  # training persons of a learning curve
DRAWS = 5

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]
Ids = npt.NDArray[np.str_]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """One question to the rows of a matrix of vectors.

    Attributes:
        train: [n] rows to learn from.
        y: [n] their labels 0 and 1; both must occur.
        person: [n] who speaks there: the groups of the folds.
        test: [m] rows to decide on.
    """

    train: Rows
    y: Labels
    person: Ids
    test: Rows


@dataclass(frozen=True)
class Answer:
    """What a probe says of the test rows.

    Attributes:
        decisions: [m]; positive where above 0, the point where balanced classes are equally likely.
        probability: [m] of the positive class, where it is as frequent as in the training rows. Weighting the
            classes to balance moves the log odds by log(n negative / n positive): that is taken back.
        strength: the C that was chosen.
    """

    decisions: Numbers
    probability: Numbers
    strength: float


@dataclass(frozen=True)
class Folds:
    """What repeated grouped folds say of n rows, each judged once a repeat, by a probe that never heard the person.

    Attributes:
        share: [n] share of the repeats that say yes.
        decisions: [n] mean over the repeats.
        probability: [n] mean over the repeats; see `Answer`.
        by_repeat: [repeats, n] decisions. All rows of a person are judged by one probe in each repeat, so that
            they can be averaged there.
    """

    share: Numbers
    decisions: Numbers
    probability: Numbers
    by_repeat: Numbers


def probe(train: Matrix, y: Labels, person: Ids, test: Matrix, seed: int = 0) -> Numbers:
    """Train on ``train`` [n, d] and return the decisions [m] on ``test`` [m, d]: one `Problem` in a simple form."""
    rows = np.arange(len(train) + len(test))
    problem = Problem(rows[: len(train)], y, person, rows[len(train) :])
    return probe_many(np.concatenate([train, test]), [problem], seed)[0].decisions


def probe_many(x: Matrix, problems: Sequence[Problem], seed: int = 0) -> list[Answer]:
    """Answer several questions about the same vectors.

    Args:
        x: [n, d] vectors.
        problems: about its rows.
        seed: of the folds that C is chosen by.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # free BLAS threads make problems this small six times slower
        return [
            _answer(x, problem, choose_strength(x[problem.train], problem.y, problem.person, seed))
            for problem in problems
        ]


def probe_seeds(x: Matrix, problem: Problem, seeds: Sequence[int]) -> list[Answer]:
    """The answer under each of several seeds of the folds that C is chosen by."""
    return [probe_many(x, [problem], seed)[0] for seed in seeds]


def repeated_folds(
    x: Matrix, y: Labels, person: Ids, repeats: int = REPEATS, seed: int = 0, folds: int = FOLDS
) -> Folds:
    """Judge every person by probes trained on others: for corpora too small for one split.

    Each repeat deals the persons out anew, and C is chosen within what each probe trains on.

    Args:
        x: [n, d] vectors.
        y: [n] labels 0 and 1.
        person: [n] who speaks.
        repeats: how often.
        seed: of the folds.
        folds: at most; no more than persons in the rarer class.

    Raises:
        ValueError: fewer than two persons in a class.
    """
    problems = [
        Problem(fit, y[fit], person[fit], held_out)
        for repeat in range(repeats)
        for fit, held_out in outer_folds(y, person, folds, seed + repeat)
    ]
    decisions, probability = np.zeros((repeats, len(y))), np.zeros((repeats, len(y)))
    for i, (problem, answer) in enumerate(zip(problems, probe_many(x, problems, seed), strict=True)):
        repeat = i * repeats // len(problems)
        decisions[repeat, problem.test] = answer.decisions
        probability[repeat, problem.test] = answer.probability
    return Folds((decisions > 0).mean(axis=0), decisions.mean(axis=0), probability.mean(axis=0), decisions)


def learning_curve(
    x: Matrix,
    problems: Sequence[Problem],
    y: Labels,
    unit: Ids,
    strengths: Sequence[float],
    sizes: Sequence[int] = SIZES,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[dict[str, float]]:
    """What the probe would earn with fewer persons to learn from.

    Persons are drawn whole, in the proportion of the classes and at least one of each; the draws of one
    number grow into those of the next. C stays what all persons chose: it weighs a sum over rows, so that
    the same C is the same prior on the weights however many rows there are.

    Args:
        x: [n, d] vectors.
        problems: one with all persons of a split, or those of the folds, which are judged together.
        y: [n] labels of the rows of ``x``; only those of test rows are read.
        unit: [n] what one prediction is about; decisions of test rows that share unit and label are averaged.
        strengths: C of each problem, of its `Answer`.
        sizes: numbers of persons; those that reach all persons give way to one point with all.
        draws: of persons at each size.
        seed: of the draws.

    Returns:
        Rows {n_speakers, macro_f1, low, high}: mean, lowest and highest over the draws.
    """
    from threadpoolctl import threadpool_limits

    everyone = min(len(np.unique(problem.person)) for problem in problems)
    orders = [[_stratified_order(problem, seed + draw) for problem in problems] for draw in range(draws)]
    judged = np.concatenate([problem.test for problem in problems])
    curve: list[dict[str, float]] = []
    with threadpool_limits(limits=1):
        for size in [*(size for size in sizes if size < everyone), everyone]:
            earned = []
            for order in orders if size < everyone else orders[:1]:
                smaller = [_restrict(problem, some[:size]) for problem, some in zip(problems, order, strict=True)]
                decisions = [
                    _decide(x[one.train], one.y, x[one.test], [strength])[0]
                    for one, strength in zip(smaller, strengths, strict=True)
                ]
                earned.append(macro_f1_of_units(y[judged], unit[judged], np.concatenate(decisions)))
            row = {"macro_f1": float(np.mean(earned)), "low": min(earned), "high": max(earned)}
            curve.append({"n_speakers": float(size), **row})
    return curve


def macro_f1_of_units(y: Labels, unit: Ids, decisions: Numbers) -> float:
    """Macro-F1 where the decisions of rows that share unit and label are averaged first.

    Args:
        y: [m] labels 0 and 1.
        unit: [m] what one prediction is about.
        decisions: [m]; positive where above 0.
    """
    from sklearn.metrics import f1_score

    _, first, of_row = np.unique(np.stack([unit, y.astype(str)]), axis=1, return_index=True, return_inverse=True)
    yes = np.bincount(of_row, decisions) > 0
    return float(f1_score(y[first], yes, average="macro", labels=[0, 1], zero_division=0))


def choose_strength(x: Matrix, y: Labels, person: Ids, seed: int = 0) -> float:
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


def outer_folds(y: Labels, person: Ids, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to learn from and rows to judge, no person in both and both classes among the first."""
    from sklearn.model_selection import StratifiedGroupKFold

    persons = min(len(np.unique(person[y == label])) for label in (0, 1))
    if persons < 2:
        raise ValueError("folds need at least two persons in each class: one to learn from, one to judge")
    for attempt in range(20):
        splitter = StratifiedGroupKFold(min(folds, persons), shuffle=True, random_state=seed + 1000 * attempt)
        parts = list(splitter.split(y, y, person))
        if all(len(np.unique(y[fit])) == 2 for fit, _ in parts):  # a large person can take a class out of the rest
            return parts
    raise ValueError("no folds leave both classes to learn from: too few persons, or persons with both labels")


def _stratified_order(problem: Problem, seed: int) -> Ids:
    """All persons in an order of which every beginning holds the kinds of person in proportion.

    The kinds: with negative rows, with positive rows, with both. One of each comes first, so that both classes occur.
    """
    persons, of_row = np.unique(problem.person, return_inverse=True)
    has_positive = np.bincount(of_row, problem.y) > 0
    has_negative = np.bincount(of_row, 1 - problem.y) > 0
    kind = has_positive + 2 * has_negative
    place = np.zeros(len(persons))
    rng = np.random.default_rng(seed)
    for one in np.unique(kind):
        size = (kind == one).sum()
        place[kind == one] = rng.permutation(size) / size
    return np.asarray(persons[np.lexsort((rng.random(len(persons)), place))])


def _restrict(problem: Problem, persons: Ids) -> Problem:
    """The same question, with fewer persons to learn from."""
    kept = np.isin(problem.person, persons)
    return Problem(problem.train[kept], problem.y[kept], problem.person[kept], problem.test)


def _answer(x: Matrix, problem: Problem, strength: float) -> Answer:
    from scipy.special import expit

    decisions = _decide(x[problem.train], problem.y, x[problem.test], [strength])[0]
    odds = problem.y.mean() / (1 - problem.y.mean())
    return Answer(decisions, expit(decisions + np.log(odds)), strength)


def _decide(x: Matrix, y: Labels, other: Matrix, strengths: Sequence[float]) -> list[Numbers]:
    """Decision values of ``other`` by a regression trained on ``x``, for each C in ``strengths``."""
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression

    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std == 0] = 1.0
    x, other = (x - mean) / std, (other - mean) / std
    with config_context(assume_finite=True, skip_parameter_validation=True):
        models = [LogisticRegression(C=c, class_weight="balanced", max_iter=300).fit(x, y) for c in strengths]
        return [np.asarray(model.decision_function(other), dtype=np.float64) for model in models]


def _balanced_log_loss(y: Labels, decisions: Numbers) -> float:
    """Log loss with both classes weighing the same; a class that is absent does not count."""
    loss = np.logaddexp(0.0, np.where(y == 1, -decisions, decisions))
    return float(np.mean([loss[y == label].mean() for label in np.unique(y)]))
