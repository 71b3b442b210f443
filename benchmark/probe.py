"""Linear probe: what a logistic regression can read from frozen vectors.

Vectors are standardised and the classes weighted to balance. How strongly to regularise is chosen inside
the training split, by folds that keep each person whole: plain folds reward recognising the person (on
data that hold nothing but speaker identity they promise macro-F1 0.82; these say 0.50).

One task needs twenty-one regressions: five folds times four strengths, and the last on all. They read the
same vectors, so the twenty are solved together: one weight matrix with a column for each, which makes every
step a matrix product instead of twenty products with a vector (see `_fit`).
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of LogisticRegression; the smallest regularises most
FOLDS = 5
REPEATS = 5  # macro-F1 of 36 persons moves by 0.036 (one standard deviation) from one repeat to the next: 0.016 is left
SIZES = (8, 16, 32, 64, 128, 256)  # training persons of a learning curve
DRAWS = 5

LOOSE, TIGHT = 1e-3, 1e-4  # largest entry of the gradient that is left: while C is chosen, and at the end
# A dimension that hardly varies among the rows of a fold, but does elsewhere, is not blown up to count as much as the
# others: a fold's standard deviation is taken to be at least this share of that of all rows. Our choice.
LEAST_SPREAD = 0.1
ROUNDS = (8, 16, *[32] * 20)  # steps of L-BFGS-B in one scaling of the coordinates, before these are scaled anew
WILD = 5  # times the distance of the quartiles from the median: no part of the preparation
OUT_OF_STEPS = 1  # status of scipy's L-BFGS-B

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
        fold: [repeats, n] which probe of a repeat judged a row: decisions of different probes have different scales.
    """

    share: Numbers
    decisions: Numbers
    probability: Numbers
    by_repeat: Numbers
    fold: Labels


def probe(train: Matrix, y: Labels, person: Ids, test: Matrix, seed: int = 0) -> Numbers:
    """Train on ``train`` [n, d] and return the decisions [m] on ``test`` [m, d]: one `Problem` in a simple form."""
    rows = np.arange(len(train) + len(test))
    problem = Problem(rows[: len(train)], y, person, rows[len(train) :])
    return probe_many(np.concatenate([train, test]), [problem], seed)[0].decisions


def probe_many(x: Matrix, problems: Sequence[Problem], seed: int = 0) -> list[Answer]:
    """Answer several questions about the same vectors; no answer depends on what else is asked.

    Args:
        x: [n, d] vectors, finite.
        problems: about its rows.
        seed: of the folds that C is chosen by.
    """
    return _answer_groups(x, [[problem] for problem in problems], [seed] * len(problems))


def probe_seeds(x: Matrix, problems: Sequence[Problem], seeds: Sequence[int]) -> list[Answer]:
    """As `probe_many`, each problem with its own seed: the same one several times tells what the seed does."""
    return _answer_groups(x, [[problem] for problem in problems], seeds)


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
    seeds = range(seed, seed + repeats)
    groups = [
        [Problem(fit, y[fit], person[fit], held_out) for fit, held_out in outer_folds(y, person, folds, one)]
        for one in seeds
    ]
    answers = iter(_answer_groups(x, groups, seeds))
    decisions, probability = np.zeros((repeats, len(y))), np.zeros((repeats, len(y)))
    fold = np.zeros((repeats, len(y)), dtype=np.int8)
    for repeat, group in enumerate(groups):
        for k, problem in enumerate(group):
            answer = next(answers)
            fold[repeat, problem.test] = k
            decisions[repeat, problem.test] = answer.decisions
            probability[repeat, problem.test] = answer.probability
    return Folds((decisions > 0).mean(axis=0), decisions.mean(axis=0), probability.mean(axis=0), decisions, fold)


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
        vectors = _prepared(x)
        for size in [*(size for size in sizes if size < everyone), everyone]:
            drawn = [
                [_restrict(problem, some[:size]) for problem, some in zip(problems, order, strict=True)]
                for order in (orders if size < everyone else orders[:1])
            ]
            tasks = [_Task(one.train, one.y, (c,)) for draw in drawn for one, c in zip(draw, strengths, strict=True)]
            models = iter(_fit(vectors, tasks, TIGHT))
            earned = []
            for draw in drawn:
                decisions = [vectors.decide(one.test, next(models))[:, 0] for one in draw]
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


def _answer_groups(x: Matrix, groups: Sequence[Sequence[Problem]], seeds: Sequence[int]) -> list[Answer]:
    """The answers, those of a group computed together, the groups on all cores."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1), ThreadPoolExecutor(os.cpu_count()) as threads:
        vectors = _prepared(x)
        answers = threads.map(lambda group, seed: _answers(vectors, group, seed), groups, seeds)
        return [answer for group in answers for answer in group]


def _answers(vectors: _Vectors, problems: Sequence[Problem], seed: int) -> list[Answer]:
    from scipy.special import expit

    strengths = _choose_strengths(vectors, problems, seed)
    models = _fit(vectors, [_Task(one.train, one.y, (c,)) for one, c in zip(problems, strengths, strict=True)], TIGHT)
    answers = []
    for problem, strength, model in zip(problems, strengths, models, strict=True):
        decisions = vectors.decide(problem.test, model)[:, 0]
        positive = problem.y.mean()
        answers.append(Answer(decisions, expit(decisions + np.log(positive / (1 - positive))), strength))
    return answers


def _choose_strengths(vectors: _Vectors, problems: Sequence[Problem], seed: int) -> list[float]:
    """The C of each problem with the lowest balanced log loss on held-out persons.

    With fewer than two persons in a class there is nothing to hold out: the middle of the grid.
    """
    parts = [_inner_folds(problem, seed) for problem in problems]
    tasks = [
        _Task(problem.train[fit], problem.y[fit], STRENGTHS)
        for problem, folds in zip(problems, parts, strict=True)
        for fit, _ in folds
    ]
    models = iter(_fit(vectors, tasks, LOOSE))
    chosen = []
    for problem, folds in zip(problems, parts, strict=True):
        losses = np.zeros(len(STRENGTHS))
        for _, held_out in folds:
            decisions = vectors.decide(problem.train[held_out], next(models))
            losses += _balanced_log_loss(problem.y[held_out], decisions)
        chosen.append(STRENGTHS[int(losses.argmin())] if folds else STRENGTHS[len(STRENGTHS) // 2])
    return chosen


def _inner_folds(problem: Problem, seed: int) -> list[tuple[Rows, Rows]]:
    """Places in ``problem.train`` to learn from and to judge, as far as both classes are left to learn from."""
    y, person = problem.y, problem.person
    folds = min(FOLDS, *(len(np.unique(person[y == label])) for label in (0, 1)))
    parts = _folds(y, person, folds, seed) if folds >= 2 else []
    return [(fit, held_out) for fit, held_out in parts if len(np.unique(y[fit])) == 2]


def _folds(y: Labels, person: Ids, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """The rows but one fold, and those of the fold, for each fold."""
    group = np.unique(person, return_inverse=True)[1].astype(np.int32)
    fold = _fold_of_row(y.astype(np.int8).tobytes(), group.tobytes(), folds, seed)
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)]


@lru_cache(maxsize=8192)  # for a small corpus, dealing takes longer than learning; all embedders share the folds
def _fold_of_row(y: bytes, group: bytes, folds: int, seed: int) -> Labels:
    from sklearn.model_selection import StratifiedGroupKFold

    labels, groups = np.frombuffer(y, np.int8), np.frombuffer(group, np.int32)
    fold = np.zeros(len(labels), np.int8)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for k, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        fold[held_out] = k
    fold.flags.writeable = False  # it is shared
    return fold


def outer_folds(y: Labels, person: Ids, folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Rows to learn from and rows to judge, no person in both and both classes among the first."""
    persons = min(len(np.unique(person[y == label])) for label in (0, 1))
    if persons < 2:
        raise ValueError("folds need at least two persons in each class: one to learn from, one to judge")
    for attempt in range(20):
        parts = _folds(y, person, min(folds, persons), seed + 1000 * attempt)
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


def _balanced_log_loss(y: Labels, decisions: Numbers) -> Numbers:
    """Log loss of each column of ``decisions`` [m, k], both classes weighing the same; an absent class is left out."""
    loss = np.logaddexp(0.0, np.where(y[:, None] == 1, -decisions, decisions))
    return np.asarray(np.mean([loss[y == label].mean(axis=0) for label in np.unique(y)], axis=0))


# --- the regressions ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Task:
    """Rows [n] to learn from, their labels, and each C to do it with."""

    rows: Rows
    y: Labels
    strengths: Sequence[float]


@dataclass(frozen=True)
class _Model:
    """Weights [d, k] of the standardised vectors and intercepts [k], a column for each C."""

    weights: Matrix
    intercepts: Numbers


class _Vectors:
    """All rows, standardised as a whole, and their principal axes.

    That is for the digits and the path only, and wild values have no part in it: one of a thousand standard
    deviations, of a person who is only judged, took the others' digits and axes and turned their decisions.
    """

    def __init__(self, x: Matrix) -> None:
        n, d = x.shape
        low, middle, high = np.percentile(x[:: max(1, n // 256)], [25, 50, 75], axis=0).astype(np.float32)
        reach = np.where(high > low, WILD * (high - low), np.inf)
        tame = np.clip(x, middle - reach, middle + reach)
        mean, std = tame.mean(axis=0), tame.std(axis=0)
        std = np.where(std == 0, 1, std)
        self.x: Matrix = ((x - mean) / std).astype(np.float32)
        tame = ((tame - mean) / std).astype(np.float32)
        across = tame.T @ tame if n >= d else tame @ tame.T  # the smaller has the same eigenvalues
        values, axes = np.linalg.eigh(across.astype(np.float64))
        kept = values > 1e-6 * values[-1]
        values, axes = values[kept], axes[:, kept]
        self.axes: Matrix = (axes if n >= d else tame.T @ (axes / np.sqrt(values))).astype(np.float32)
        self.variance: Numbers = values / n

    def decide(self, rows: Rows, model: _Model) -> Numbers:
        """Decision values [m, k] of some rows."""
        return np.asarray(self.x[rows] @ model.weights + model.intercepts, dtype=np.float64)


_last: list[tuple[weakref.ref[Matrix], _Vectors]] = []


def _prepared(x: Matrix) -> _Vectors:
    """The vectors of ``x``, kept while it is asked again: scores, seeds and curves of a corpus read one matrix."""
    if not (_last and _last[0][0]() is x):
        _last[:] = [(weakref.ref(x), _Vectors(x))]
    return _last[0][1]


def _fit(vectors: _Vectors, tasks: Sequence[_Task], tolerance: float) -> list[_Model]:
    """Balanced logistic regressions on standardised vectors, solved together; scikit-learn's but for `LEAST_SPREAD`.

    What is minimised is the sum of their losses, by scipy's L-BFGS-B. It walks straight where all directions curve
    alike, and here they do not: frozen vectors vary a thousand times more along some axes than along others, and a
    loss that is nearly won is flat. The curvature along an axis is about (variance along it) x (mean of p (1 - p)) +
    (penalty): by its root every coordinate is scaled, anew after each round, as p becomes known. That shapes only the
    path: where it ends is given by each task's own rows, labels and standard deviations.

    Args:
        vectors: of all rows.
        tasks: what to learn.
        tolerance: of the largest entry of the gradient in these coordinates.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    if not tasks:
        return []
    used = np.unique(np.concatenate([task.rows for task in tasks]))
    x, axes = vectors.x[used], vectors.axes
    weight, sign = (np.zeros((len(used), len(tasks)), np.float32) for _ in range(2))
    scale = np.ones((x.shape[1], len(tasks)), np.float32)
    for k, task in enumerate(tasks):
        rows, positive = np.searchsorted(used, task.rows), task.y == 1
        weight[rows, k] = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum())
        sign[rows, k] = np.where(positive, 1, -1)
        std = x[rows].std(axis=0)
        scale[:, k] = 1 / np.maximum(std, LEAST_SPREAD)
    columns = [len(task.strengths) for task in tasks]
    weight, sign, scale = (np.repeat(one, columns, axis=1) for one in (weight, sign, scale))
    penalty = np.array([1 / (c * len(task.rows)) for task in tasks for c in task.strengths], np.float32)

    def loss_and_gradient(walked: Numbers, unit: Numbers) -> tuple[float, Numbers]:
        place = (walked.reshape(unit.shape) * unit).astype(np.float32)  # [axes + 1, columns]; last the intercept
        weights = (axes @ place[:-1]) * scale
        margin = sign * (x @ (weights * scale) + place[-1])
        decay = np.exp(-np.abs(margin))
        loss = np.vdot(weight, np.log(1 + decay) - np.minimum(margin, 0)) + np.vdot(penalty * weights, weights) / 2
        pull = -sign * weight * np.exp(-np.maximum(margin, 0)) / (1 + decay)
        gradient = np.empty_like(unit)
        gradient[:-1] = axes.T @ (((x.T @ pull) * scale + penalty * weights) * scale)
        gradient[-1] = pull.sum(axis=0)
        return float(loss), (gradient * unit).ravel()

    place = np.zeros((axes.shape[1] + 1, len(penalty)))
    spread = np.array([1 / (4 + 60 * c**0.75) for task in tasks for c in task.strengths])  # mean of p (1 - p): a guess
    for steps in ROUNDS:
        unit = 1 / np.sqrt(np.vstack([vectors.variance[:, None] * spread + penalty, spread]))
        options = {"gtol": tolerance, "ftol": 1e-9, "maxiter": steps, "maxcor": 5}
        found = minimize(loss_and_gradient, (place / unit).ravel(), unit, "L-BFGS-B", jac=True, options=options)
        place = found.x.reshape(unit.shape) * unit
        weights = (axes @ place[:-1].astype(np.float32)) * scale**2
        if found.status != OUT_OF_STEPS:
            break
        p = expit(x @ weights + place[-1])
        spread = np.maximum((weight * p * (1 - p)).sum(axis=0), 1e-4)
    else:
        log.info("%d regressions on %d rows were stopped before they converged", len(penalty), len(used))
    ends = np.cumsum(columns)[:-1]
    split = zip(np.split(weights, ends, axis=1), np.split(place[-1], ends), strict=True)
    return [_Model(*one) for one in split]
