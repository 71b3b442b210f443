"""Intervals that respect the speaker, and comparisons of embedders.

Clips of one speaker are not independent: drawn by clip, a nominal 95 % interval covers about half of the
time. So whole speakers are drawn, and tasks that share speakers share the draws.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.confusion import Numbers, confusion_by_speaker, macro_f1
from benchmark.task import Task

DRAWS = 1000
LEVEL = 95.0  # of the intervals, in percent
COMPARISON_DRAWS = 10_000  # p cannot be below 2 / draws, and Holm multiplies it by the number of comparisons

Interval = tuple[float, float]

_COMPARISONS = {
    "a": pl.String(),
    "b": pl.String(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "separable": pl.Boolean(),
}


def draws(corpus: str, speakers: tuple[str, ...], n_draws: int = DRAWS) -> Numbers:
    """How much each speaker weighs in each bootstrap sample: [n_draws, speakers].

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


def drawn_auroc(predictions: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> Numbers:
    """AUROC of each draw of speakers: [n_draws]; 0.5 where a draw lacks a class.

    Args:
        predictions: columns person, y, score.
        corpus: part of the seed of the draws.
        n_draws: of the bootstrap.
    """
    speakers, wins, positive, negative = _wins(predictions)
    weights = draws(corpus, speakers, n_draws)
    pairs = (weights @ positive) * (weights @ negative)
    won = ((weights @ wins) * weights).sum(axis=1)
    return np.asarray(np.divide(won, pairs, out=np.full(n_draws, 0.5), where=pairs > 0), dtype=np.float64)


def _wins(predictions: pl.DataFrame) -> tuple[tuple[str, ...], Numbers, Numbers, Numbers]:
    """How often a positive of one speaker outranks a negative of another: [speakers, speakers], a tie is half.

    AUROC of a draw is a quadratic form of its weights, so that units are sorted once for all draws. Also the
    speakers and their numbers of positives and negatives.
    """
    speakers, index = np.unique(predictions["person"].to_numpy(), return_inverse=True)
    y, score = predictions["y"].to_numpy() == 1, predictions["score"].to_numpy()
    order = np.argsort(score[~y], kind="stable")
    below = np.zeros((int((~y).sum()) + 1, len(speakers)))  # negatives of each speaker among the k lowest
    below[np.arange(1, len(below)), index[~y][order]] = 1
    below = below.cumsum(axis=0)
    ranked = score[~y][order]
    beaten = (below[np.searchsorted(ranked, score[y], "left")] + below[np.searchsorted(ranked, score[y], "right")]) / 2
    wins = np.zeros((len(speakers), len(speakers)))
    np.add.at(wins, index[y], beaten)
    positive, negative = (np.bincount(index[one], minlength=len(speakers)).astype(float) for one in (y, ~y))
    return tuple(map(str, speakers)), wins, positive, negative


def mean_macro_f1(
    predictions: Mapping[str, pl.DataFrame], tasks: Sequence[Task], n_draws: int = DRAWS
) -> tuple[float, float, float]:
    """Mean macro-F1 over tasks, with the interval (mean, low, high); see `paired_difference`."""
    observed, drawn = _mean_over_tasks([predictions], tasks, n_draws)
    return (float(observed[0]), *interval(drawn[:, 0]))


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
    observed, drawn = _mean_over_tasks([a, b], tasks, n_draws)
    return (float(observed[0] - observed[1]), *interval(drawn[:, 0] - drawn[:, 1]))


def compare_all(
    predictions: Mapping[str, Mapping[str, pl.DataFrame]],
    tasks: Sequence[Task],
    reference: str | None = None,
    n_draws: int = COMPARISON_DRAWS,
) -> pl.DataFrame:
    """Paired differences of the mean macro-F1 between embedders, corrected for their number.

    ``p`` is two-sided, from the draws: twice the smaller share of draws on one side of 0, each counted with
    one more than were seen (Davison & Hinkley 1997, 4.2), at most 1. ``p_adjusted`` is Holm's (1979)
    step-down correction over all rows, so that the chance of one false "separable" is at most 5 %.

    Args:
        predictions: by embedder and task name, all of the same units.
        tasks: those to average over; every embedder must have them all.
        reference: compare only with this embedder, as ``b``; otherwise each pair once, in the order given.
        n_draws: of the bootstrap.

    Returns:
        Columns a, b, difference (a minus b), low, high (95 %, of the one comparison), p, p_adjusted,
        separable (p_adjusted below 0.05).

    Raises:
        ValueError: when two embedders predict different units of a task.
    """
    names = list(predictions)
    pairs = (
        list(combinations(range(len(names)), 2))
        if reference is None
        else [(i, names.index(reference)) for i, name in enumerate(names) if name != reference]
    )
    if not pairs:
        return pl.DataFrame(schema=_COMPARISONS)
    observed, drawn = _mean_over_tasks(list(predictions.values()), tasks, n_draws)
    differences = [drawn[:, i] - drawn[:, j] for i, j in pairs]
    p = np.array([_p_value(one) for one in differences])
    adjusted = holm(p)
    intervals = [interval(one) for one in differences]
    return pl.DataFrame(
        {
            "a": [names[i] for i, _ in pairs],
            "b": [names[j] for _, j in pairs],
            "difference": [float(observed[i] - observed[j]) for i, j in pairs],
            "low": [low for low, _ in intervals],
            "high": [high for _, high in intervals],
            "p": p,
            "p_adjusted": adjusted,
            "separable": adjusted < 1 - LEVEL / 100,
        },
        schema=_COMPARISONS,
    )


def holm(p: Numbers) -> Numbers:
    """Holm's (1979) adjusted p-values, in the order given: [m] to [m]."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    return adjusted


def minimum_detectable(a: pl.DataFrame, b: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> float:
    """The difference in macro-F1 of one task that is found with 80 % power at 5 %, two-sided.

    The standard error of the paired difference, by the bootstrap, times the sum of the normal quantiles of
    97.5 % and 80 %: 2.80 (Cohen 1988). It is 0 where both predict the same everywhere.

    Args:
        a: predictions of one embedder.
        b: predictions of another, of the same units.
        corpus: of the task.
        n_draws: of the bootstrap.
    """
    from scipy.stats import norm

    drawn = _drawn_macro_f1([a, b], corpus, _speakers([a]), n_draws)
    return float((norm.ppf(0.975) + norm.ppf(0.8)) * (drawn[:, 0] - drawn[:, 1]).std())


def _p_value(differences: Numbers) -> float:
    seen = min((differences <= 0).sum(), (differences >= 0).sum())
    return min(1.0, 2 * (int(seen) + 1) / (len(differences) + 1))


def _mean_over_tasks(
    predictions: Sequence[Mapping[str, pl.DataFrame]], tasks: Sequence[Task], n_draws: int
) -> tuple[Numbers, Numbers]:
    """Mean macro-F1 over tasks of each embedder: as observed [embedders], and of each draw [n_draws, embedders]."""
    observed, drawn = np.zeros(len(predictions)), np.zeros((n_draws, len(predictions)))
    for corpus in sorted({task.corpus for task in tasks}):
        of_corpus = [[one[task.name] for one in predictions] for task in tasks if task.corpus == corpus]
        names = [task.name for task in tasks if task.corpus == corpus]
        everyone = _speakers([frames[0] for frames in of_corpus])
        for name, frames in zip(names, of_corpus, strict=True):
            _refuse_other_units(name, frames)
            observed += [float(macro_f1(confusion_by_speaker(frame)[1].sum(axis=0))) for frame in frames]
            drawn += _drawn_macro_f1(frames, corpus, everyone, n_draws)
    return observed / len(tasks), drawn / len(tasks)


def _drawn_macro_f1(
    frames: Sequence[pl.DataFrame], corpus: str, everyone: tuple[str, ...], n_draws: int
) -> npt.NDArray[np.float64]:
    """Macro-F1 of each draw from ``everyone`` and each embedder on one task: [n_draws, embedders]."""
    weights = draws(corpus, everyone, n_draws)
    column = {speaker: i for i, speaker in enumerate(everyone)}
    confusions = [confusion_by_speaker(frame) for frame in frames]
    speakers = confusions[0][0]
    counts = np.concatenate([counts for _, counts in confusions], axis=1)
    drawn = weights[:, [column[speaker] for speaker in speakers]] @ counts
    return macro_f1(drawn.reshape(n_draws, len(frames), 4))


def _speakers(frames: Sequence[pl.DataFrame]) -> tuple[str, ...]:
    return tuple(sorted({str(person) for frame in frames for person in frame["person"].unique()}))


def _refuse_other_units(task: str, frames: Sequence[pl.DataFrame]) -> None:
    units = [frame.select("unit_id", "y").sort("unit_id", "y") for frame in frames]
    if not all(one.equals(units[0]) for one in units[1:]):
        raise ValueError(f"task {task}: two embedders predict different units; evaluate both again")
