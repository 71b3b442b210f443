"""Intervals that respect the speaker, and comparisons of embedders.

Clips of one speaker are not independent, so whole speakers are drawn, and tasks that share speakers share the
draws. The plain bootstrap (resample speakers, take percentiles: Efron & Tibshirani 1993, 13) covers too little
when speakers are few: it never sees an error that did not occur, and its spread is that of few speakers. At 12
speakers its nominal 95 % held the truth in 86 % of simulated tasks. What is done instead
(``python -m tests.benchmark.simulate`` prints how often it holds the truth):

- **Bayesian bootstrap** (Rubin 1981): each draw gives each speaker a random weight instead of a number of copies.
  The weights are gamma variables; scale does not matter to F1 and AUROC, so they need not add up. Their shape is
  not Rubin's 1 but (S - 2) / S for S speakers, with which the variance of a drawn mean is the unbiased s^2 / S
  (our choice; Praestgaard & Wellner 1993 allow any such weights).
- **Pseudo-speakers**: each draw adds four, one for each cell of the confusion, who weigh a gamma variable of shape
  1/4 and bring as many units as the mean speaker: one speaker's worth of doubt in all. With one unit a speaker and
  shape 1 this is a Dirichlet posterior of the cells, the model of Goutte & Gaussier (2005) for F1; the mass is our
  choice by simulation.
- **Half of a pseudo-speaker is shared** by all embedders on a task and half its own, so that the pairs of (embedder
  A, embedder B) right and wrong have the same small mass each. Where two embedders happened to agree on everyone,
  the interval of their difference is then not a point, unless all that they predict is the same.
- **A mean over tasks is centred.** Pseudo-speakers pull a score towards the middle. In one task that is little
  beside its interval; in a mean over many the intervals shrink and the pull does not. The draws of a mean over n
  tasks are therefore moved, by the share 1 - 1/n of the way, to the mean corrected for bias by the jackknife
  (Efron & Tibshirani 1993, 10.5). Our choice.

- **Folds.** Under the protocol "folds" a person who is judged has taught the probes that judge the others, so that
  persons are not independent. In 48 simulated populations of 16 to 80 persons (a ridge regression as the probe, 300
  corpora each) a score varied 1.0 to 2.3 times as much (variance) as its draws, the more the smaller the effect, and
  nominal 95 % held what such a probe is worth on endless new speakers in 87 % (of differences: 87 %). All draws of
  such a score are therefore moved away from their mean by the root of 1.75: 95 % (95 %); 86 % in the worst
  population, 99 % in the best. Our choice by simulation.
- **AUROC by folds** compares, within each fold of each repeat, only persons that the same probe judged: decisions of
  different probes are on different scales (Forman & Scholz 2010), and of pooled ones chance had a mean AUROC of
  0.44 to 0.46 in 400 corpora each of 16, 24 and 40 persons, where it has 0.50 to 0.51 now.

With a split everything is conditional on the trained probe: the doubt is about who was tested, not about who trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.confusion import Counts, Numbers, confusion_by_speaker, macro_f1
from benchmark.task import Task

DRAWS = 1000
LEVEL = 95.0  # of the intervals, in percent
COMPARISON_DRAWS = 10_000  # p cannot be below 2 / draws, and Holm multiplies it by the number of comparisons
POWER = 0.8  # of `minimum_detectable`
PSEUDO_MASS = 0.25  # of each of the four pseudo-speakers, in speakers
FOLDED = 1.75  # variance of a score by folds, over that of its draws; also of a rank statistic (`confounds.chance_p`)
SCALE_DIGITS = 6  # of a decision: what is equal but for rounding is a tie
DRAWS_AT_ONCE = 125  # of AUROC: [units, draws] stays within the cache

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
    """How much each speaker weighs in each draw: [n_draws, speakers], 1 on average.

    Seeded by corpus and speakers, so that all embedders, and all tasks with these speakers, share draws.
    """
    return _draws(corpus, speakers, n_draws)


@lru_cache(maxsize=128)
def _draws(corpus: str, speakers: tuple[str, ...], n_draws: int) -> Numbers:
    shape = max(len(speakers) - 2, 0.5) / len(speakers)  # two speakers: hardly more than one of them a draw
    weights = _generator(corpus, *speakers).gamma(shape, 1 / shape, (n_draws, len(speakers)))
    weights.flags.writeable = False  # it is shared
    return weights


def drawn_counts(
    corpus: str, speakers: tuple[str, ...], counts: Counts, n_draws: int = DRAWS, everyone: tuple[str, ...] = ()
) -> Numbers:
    """The confusion counts of each draw, pseudo-speakers among them: [n_draws, embedders, 4].

    Args:
        corpus: of the task.
        speakers: those of the task, sorted.
        counts: [speakers, embedders, 4], from `confusion_by_speaker`. Without the middle axis for one embedder;
            the result has none then, either.
        n_draws: of the bootstrap.
        everyone: the speakers of all tasks of the corpus, sorted, when several are to be drawn together.
    """
    weights = draws(corpus, everyone or speakers, n_draws)
    if everyone and everyone != speakers:
        column = {speaker: i for i, speaker in enumerate(everyone)}
        weights = weights[:, [column[speaker] for speaker in speakers]]
    by_embedder = counts.reshape(len(speakers), -1, 4)
    drawn = (weights @ by_embedder.reshape(len(speakers), -1)).reshape(n_draws, -1, 4)
    for i in range(by_embedder.shape[1]):
        drawn[:, i] += pseudo_speakers(corpus, speakers, by_embedder[:, i], n_draws)
    return np.asarray(drawn.reshape(n_draws, *counts.shape[1:]), dtype=np.float64)


def pseudo_speakers(corpus: str, speakers: tuple[str, ...], counts: Counts, n_draws: int = DRAWS) -> Numbers:
    """The counts that the four pseudo-speakers of a task add to each draw: [n_draws, 4].

    Args:
        corpus: seeds the half that is shared, with the speakers and their numbers of positives and negatives.
        speakers: of the task, sorted.
        counts: [speakers, 4] of one embedder; seed the half that is its own.
        n_draws: of the bootstrap.
    """
    labels = (counts[:, :2] + counts[:, 2:]).round(6)  # fractions add up to whole numbers but for rounding
    own = np.ascontiguousarray(counts).round(6)
    units = counts.sum() / len(speakers)
    halves = [_half(corpus, speakers, content.tobytes(), n_draws) for content in (labels, own)]
    return np.asarray(units * (halves[0] + halves[1]), dtype=np.float64)


@lru_cache(maxsize=64)  # the embedders of a task follow each other
def _half(corpus: str, speakers: tuple[str, ...], content: bytes, n_draws: int) -> Numbers:
    return _generator(corpus, *speakers, content).gamma(PSEUDO_MASS / 2, 1.0, (n_draws, 4))


def by_folds(predictions: pl.DataFrame) -> bool:
    """Whether several probes judged these units, so that only ``fold_scores`` of one fold are on one scale."""
    return "folds" in predictions.columns and not predictions["folds"].has_nulls()


def widened(drawn: Numbers, folds: bool | npt.NDArray[np.bool_]) -> Numbers:
    """Draws [n_draws, ...] of shares, those by folds [...] moved away from their mean; see the head of this module."""
    mean = drawn.mean(axis=0)
    return np.where(folds, (mean + np.sqrt(FOLDED) * (drawn - mean)).clip(0.0, 1.0), drawn)


def auroc(predictions: pl.DataFrame) -> float:
    """Chance that a positive is ranked above a negative, of those that the same probe judged; a tie is half.

    Args:
        predictions: columns person, y, score and, where `by_folds`, folds and fold_scores; one row a unit.
    """
    from sklearn.metrics import roc_auc_score

    if not by_folds(predictions):
        return float(roc_auc_score(predictions["y"].to_numpy(), predictions["score"].to_numpy()))
    persons = _Persons.of(predictions)
    everyone = np.ones((1, len(persons.positives)))
    return float((persons.won(everyone) / (everyone @ persons.positives) / (everyone @ persons.negatives))[0])


@dataclass(frozen=True)
class _Persons:
    """What persons [p] win of each other in the folds that they share.

    Attributes:
        positives, negatives: units of each person.
        wins: [p, p] pairs of a positive unit of one and a negative unit of the other, won by the first, in all folds.
        pairs: [p, p] how many such pairs there were.
    """

    positives: Numbers
    negatives: Numbers
    wins: Numbers
    pairs: Numbers

    @classmethod
    def of(cls, predictions: pl.DataFrame) -> _Persons:
        names, person = np.unique(predictions["person"].to_numpy(), return_inverse=True)
        positive, size = predictions["y"].to_numpy() == 1, len(names)
        folds = np.array(predictions["folds"].to_list())
        scores = np.array(predictions["fold_scores"].to_list()).round(SCALE_DIGITS)
        wins, pairs = np.zeros(size**2), np.zeros(size**2)
        for fold, score in zip(folds.T, scores.T, strict=True):
            for one in np.unique(fold):
                yes, no = (np.flatnonzero((fold == one) & (positive == label)) for label in (True, False))
                place = (person[yes][:, None] * size + person[no]).ravel()
                ahead = score[yes][:, None] - score[no]
                wins += np.bincount(place, ((np.sign(ahead) + 1) / 2).ravel(), size**2)
                pairs += np.bincount(place, minlength=size**2)
        positives, negatives = (np.bincount(person, part, size).astype(np.float64) for part in (positive, ~positive))
        return cls(positives, negatives, wins.reshape(size, size), pairs.reshape(size, size))

    def won(self, weights: Numbers) -> Numbers:
        """Of all pairs of a positive and a negative, how many are won: weights [draws, p] to [draws].

        A person's own pairs are in every fold of theirs; pairs of two persons stand for those that shared none.
        """
        own = self.positives * self.negatives
        between = (weights @ self.positives) * (weights @ self.negatives) - weights**2 @ own
        apart = 1 - np.eye(len(own))
        wins, pairs = (((weights @ (part * apart)) * weights).sum(axis=1) for part in (self.wins, self.pairs))
        share = np.divide(wins, pairs, out=np.full(len(weights), 0.5), where=pairs > 0)
        of_own = np.divide(np.diag(self.wins), np.diag(self.pairs), out=np.zeros(len(own)), where=own > 0)
        return np.asarray(between * share + weights**2 @ (own * of_own), dtype=np.float64)


def drawn_auroc(predictions: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> Numbers:
    """AUROC of each draw: [n_draws].

    A pseudo-speaker is ranked above or below everyone: a false negative is a positive that lies lowest.

    Args:
        predictions: as in `auroc`, with column predicted.
        corpus: of the task.
        n_draws: of the bootstrap.
    """
    speakers, counts = confusion_by_speaker(predictions)
    weights, pseudo = draws(corpus, speakers, n_draws), pseudo_speakers(corpus, speakers, counts, n_draws)
    folds = by_folds(predictions)
    won, n_positive, n_negative = _won_within_folds(predictions, weights) if folds else _won(predictions, weights)
    tp, fp, fn, tn = pseudo.T
    won = won + tp * (n_negative + tn + fp / 2) + tn * (n_positive + fn / 2)
    return widened(won / ((n_positive + tp + fn) * (n_negative + fp + tn)), folds)


def _won_within_folds(predictions: pl.DataFrame, weights: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    persons = _Persons.of(predictions)
    return persons.won(weights), weights @ persons.positives, weights @ persons.negatives


def _won(predictions: pl.DataFrame, weights: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Pairs that the positive wins, positives, and negatives in each draw: [n_draws] each."""
    person = np.unique(predictions["person"].to_numpy(), return_inverse=True)[1]
    y, score = predictions["y"].to_numpy() == 1, predictions["score"].to_numpy()
    order = np.argsort(score[~y], kind="stable")
    low_to_high, positive = person[~y][order], person[y]
    below = np.searchsorted(score[~y][order], score[y], "left")  # negatives that score lower
    up_to = np.searchsorted(score[~y][order], score[y], "right")  # and those that score the same, too
    found = np.empty((3, len(weights)))
    for start in range(0, len(weights), DRAWS_AT_ONCE):
        at = slice(start, start + DRAWS_AT_ONCE)
        of_speaker = np.ascontiguousarray(weights[at].T, dtype=np.float32)  # rounding: below 1e-5 of the AUROC
        negatives = np.zeros((len(low_to_high) + 1, of_speaker.shape[1]), dtype=np.float32)
        np.cumsum(of_speaker[low_to_high], axis=0, out=negatives[1:])
        beaten = (negatives[below] + negatives[up_to]) / 2  # a tie is half a win
        positives = of_speaker[positive]
        found[:, at] = np.einsum("ub,ub->b", positives, beaten), positives.sum(axis=0), negatives[-1]
    return found[0], found[1], found[2]


def interval(values: Numbers, observed: float | None = None) -> Interval:
    """The middle 95 % of the drawn values, widened to hold the observed one where that lies outside.

    A perfect score does: no draw with a pseudo-speaker is quite perfect.
    """
    low, high = limits(values, None if observed is None else np.asarray(observed))
    return float(low), float(high)


def limits(values: Numbers, observed: Numbers | None = None) -> tuple[Numbers, Numbers]:
    """As `interval`, of many at once: values [..., draws] and observed [...] to low and high [...]."""
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2], axis=-1)
    return (low, high) if observed is None else (np.minimum(low, observed), np.maximum(high, observed))


def p_values(differences: Numbers) -> Numbers:
    """Two-sided, from drawn differences [..., draws] to [...].

    Twice the smaller share of draws on one side of 0, each side counted with one draw more than was seen
    (Davison & Hinkley 1997, 4.2), at most 1.
    """
    seen = np.minimum((differences <= 0).sum(axis=-1), (differences >= 0).sum(axis=-1))
    return np.asarray(np.minimum(1.0, 2 * (seen + 1) / (differences.shape[-1] + 1)))


def unbiased_macro_f1(counts: Counts) -> Numbers:
    """Macro-F1 less its bias by the jackknife: counts [speakers, ..., 4] to [...].

    Speakers without whom a class would be empty are not left out: a task is only scored where both occur.
    """
    total = counts.sum(axis=0)
    without = total - counts
    whole = (without[..., :2] + without[..., 2:] > 0.5).all(axis=-1)
    change = np.where(whole, macro_f1(without) - macro_f1(total), 0.0).sum(axis=0) / np.maximum(whole.sum(axis=0), 1)
    return np.asarray(macro_f1(total) - (len(counts) - 1) * change)


def centred(means: Numbers, unbiased: Numbers, n_tasks: Numbers | int) -> Numbers:
    """Drawn means over n tasks, moved by the share 1 - 1/n to what they should be on average.

    Args:
        means: [..., draws].
        unbiased: [...], mean of `unbiased_macro_f1` over the same tasks.
        n_tasks: [...] or one number.
    """
    by = (1 - 1 / np.asarray(n_tasks)) * (unbiased - means.mean(axis=-1))
    return np.asarray(means + by[..., None], dtype=np.float64)


def of_macro_f1(predictions: pl.DataFrame, corpus: str, n_draws: int = DRAWS) -> tuple[float, float, float]:
    """Macro-F1 of one task with its interval: value, low, high.

    Args:
        predictions: columns person, y, predicted and, where several probes judged, folds; one row a unit.
        corpus: of the task.
        n_draws: of the bootstrap.
    """
    speakers, counts = confusion_by_speaker(predictions)
    observed = float(macro_f1(counts.sum(axis=0)))
    drawn = macro_f1(drawn_counts(corpus, speakers, counts, n_draws))
    return (observed, *interval(widened(drawn, by_folds(predictions)), observed))


def mean_macro_f1(
    predictions: Mapping[str, pl.DataFrame], tasks: Sequence[Task], n_draws: int = DRAWS
) -> tuple[float, float, float]:
    """Mean macro-F1 over tasks, with the interval (mean, low, high); see `paired_difference`."""
    observed, drawn = mean_over_tasks([predictions], tasks, n_draws)
    low, high = np.clip(interval(drawn[0], float(observed[0])), 0.0, 1.0).tolist()  # `centred` can move past 1
    return float(observed[0]), low, high


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
    observed, drawn = mean_over_tasks([a, b], tasks, n_draws)
    difference = float(observed[0] - observed[1])
    return (difference, *interval(drawn[0] - drawn[1], difference))


def compare_all(
    predictions: Mapping[str, Mapping[str, pl.DataFrame]],
    tasks: Sequence[Task],
    reference: str | None = None,
    n_draws: int = COMPARISON_DRAWS,
) -> pl.DataFrame:
    """Paired differences of the mean macro-F1 between embedders, corrected for their number.

    ``p`` is `p_values`; ``p_adjusted`` is Holm's (1979) step-down correction over all rows, so that the chance
    of a single false "separable" among them is at most 5 %.

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
    observed, drawn = mean_over_tasks(list(predictions.values()), tasks, n_draws)
    first, second = np.array(pairs).T
    difference, differences = observed[first] - observed[second], drawn[first] - drawn[second]
    low, high = limits(differences, difference)
    p = p_values(differences)
    adjusted = holm(p)
    return pl.DataFrame(
        {
            "a": [names[i] for i in first],
            "b": [names[i] for i in second],
            "difference": difference,
            "low": low,
            "high": high,
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

    The standard error of the paired difference, by the draws, times the sum of the normal quantiles of
    97.5 % and 80 %: 2.80 (Cohen 1988). It is 0 where both predict the same everywhere.

    Args:
        a: predictions of one embedder.
        b: predictions of another, of the same units.
        corpus: of the task.
        n_draws: of the bootstrap.

    Raises:
        ValueError: when the two predict different units.
    """
    from scipy.stats import norm

    _refuse_other_units("", [a, b])
    drawn = [
        widened(macro_f1(drawn_counts(corpus, *confusion_by_speaker(one), n_draws)), by_folds(one)) for one in (a, b)
    ]
    return float((norm.ppf((1 + LEVEL / 100) / 2) + norm.ppf(POWER)) * (drawn[0] - drawn[1]).std())


def mean_over_tasks(
    predictions: Sequence[Mapping[str, pl.DataFrame]], tasks: Sequence[Task], n_draws: int
) -> tuple[Numbers, Numbers]:
    """Mean macro-F1 over tasks of each embedder: as observed [embedders], and of each draw [embedders, n_draws].

    Args:
        predictions: of each embedder, by task name.
        tasks: those to average over; every embedder must have them all.
        n_draws: of the bootstrap.

    Raises:
        ValueError: when two embedders predict different units of a task.
    """
    size = len(predictions)
    observed, unbiased, drawn = np.zeros(size), np.zeros(size), np.zeros((size, n_draws))
    for corpus in sorted({task.corpus for task in tasks}):
        of_corpus = [task for task in tasks if task.corpus == corpus]
        for task in of_corpus:
            _refuse_other_units(f"task {task.name}: ", [one[task.name] for one in predictions])
        everyone = _speakers([predictions[0][task.name] for task in of_corpus])
        for task in of_corpus:
            confusions = [confusion_by_speaker(one[task.name]) for one in predictions]
            counts = np.stack([counts for _, counts in confusions], axis=1)
            observed += macro_f1(counts.sum(axis=0))
            unbiased += unbiased_macro_f1(counts)
            folds = np.array([by_folds(one[task.name]) for one in predictions])
            drawn += widened(macro_f1(drawn_counts(corpus, confusions[0][0], counts, n_draws, everyone)), folds).T
    n = len(tasks)
    return observed / n, centred(drawn / n, unbiased / n, n)


def _speakers(frames: Sequence[pl.DataFrame]) -> tuple[str, ...]:
    return tuple(sorted({str(person) for frame in frames for person in frame["person"].unique()}))


def _refuse_other_units(where: str, frames: Sequence[pl.DataFrame]) -> None:
    units = [frame.select("unit_id", "y").sort("unit_id", "y") for frame in frames]
    if not all(one.equals(units[0]) for one in units[1:]):
        raise ValueError(f"{where}two embedders predict different units; evaluate both again")


def _generator(*seeds: str | bytes) -> np.random.Generator:
    """A generator seeded by the content, the same on every machine."""
    digest = hashlib.sha256()
    for seed in seeds:
        content = seed if isinstance(seed, bytes) else seed.encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return np.random.default_rng(list(digest.digest()))
