"""Simulations in which the truth is known: is what the benchmark says of it true?

``python -m tests.benchmark.simulate`` prints the tables; ``--repetitions 1000`` for less noise (about 3 minutes).
`test_simulations.py` asks the same with fewer repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
from scipy.stats import bootstrap, norm

from benchmark import intervals, metrics
from benchmark.confusion import Counts, Numbers, f1, macro_f1

SIZES = (12, 30, 100, 500)
CORPORA = 5  # names, each with draws of its own: what a thousand draws leave to chance averages out

Interval = tuple[float, float]
Row = dict[str, object]


# --- people whose scores we know --------------------------------------------------------------------------------


@dataclass(frozen=True)
class People:
    """A population of speakers, and how well a model tells its positives.

    The score of a clip is normal with variance 1: a mean by class, a part of the speaker (one for each class) and
    a part of the clip. It is called positive above 0.

    Attributes:
        unit: "speaker", one unit each; "constant", 5 to 20 clips of one label each; "varying", 5 to 20 clips whose
            labels differ within a speaker.
        prevalence: of positives.
        recall: of positives and of negatives.
        of_speaker: share of the variance that is the speaker's; with one unit a speaker it changes nothing.
    """

    unit: str
    prevalence: float
    recall: tuple[float, float]
    of_speaker: float = 0.0

    @property
    def means(self) -> tuple[float, float]:
        """Of the scores of positives and of negatives."""
        return float(norm.ppf(self.recall[0])), -float(norm.ppf(self.recall[1]))

    @property
    def truth(self) -> Mapping[str, float]:
        """What an endless test would show. Of AUROC, between speakers."""
        (right, wrong), p = self.recall, self.prevalence
        counts = np.array([p * right, (1 - p) * (1 - wrong), p * (1 - right), (1 - p) * wrong])
        positive, negative = self.means
        return {
            "macro_f1": float(macro_f1(counts)),
            "f1": float(f1(counts)),
            "auroc": float(norm.cdf((positive - negative) / np.sqrt(2))),
        }

    def draw(self, rng: np.random.Generator, speakers: int, models: int = 1, agree: float = 0.0) -> list[pl.DataFrame]:
        """Predictions of models on the same new speakers; both classes occur.

        Args:
            rng: source of chance.
            speakers: how many.
            models: how many; all of the same quality.
            agree: correlation of the scores of two models on a unit, given its label.
        """
        while True:
            person, y = self._labels(rng, speakers)
            if 0 < y.sum() < len(y):
                break
        mean = np.where(y == 1, *self.means)
        shared = self._noise(rng, person, y, speakers)
        found = []
        for _ in range(models):
            noise = np.sqrt(agree) * shared + np.sqrt(1 - agree) * self._noise(rng, person, y, speakers)
            found.append(frame(y, mean + noise, person))
        return found

    def _labels(self, rng: np.random.Generator, speakers: int) -> tuple[np.ndarray, np.ndarray]:
        if self.unit == "speaker":
            return np.arange(speakers), (rng.random(speakers) < self.prevalence).astype(np.int8)
        person = np.repeat(np.arange(speakers), rng.integers(5, 21, speakers))
        if self.unit == "constant":
            return person, (rng.random(speakers) < self.prevalence).astype(np.int8)[person]
        own = rng.beta(4 * self.prevalence, 4 * (1 - self.prevalence), speakers)
        return person, (rng.random(len(person)) < own[person]).astype(np.int8)

    def _noise(self, rng: np.random.Generator, person: np.ndarray, y: np.ndarray, speakers: int) -> np.ndarray:
        of_speaker = rng.standard_normal((speakers, 2))[person, y]
        return np.sqrt(self.of_speaker) * of_speaker + np.sqrt(1 - self.of_speaker) * rng.standard_normal(len(y))


def frame(y: np.ndarray, score: np.ndarray, person: np.ndarray) -> pl.DataFrame:
    """Predictions as `benchmark.evaluate` writes them."""
    return pl.DataFrame(
        {
            "unit_id": [f"u{i:06}" for i in range(len(y))],
            "person": [f"p{i:06}" for i in person],
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.float64),
        }
    )


RECALLS = ((0.55, 0.55), (0.7, 0.7), (0.85, 0.85), (0.95, 0.95), (0.7, 0.95), (0.95, 0.7), (0.55, 0.85))
PEOPLE = (
    *(People("speaker", p, recall) for p, recall in product((0.2, 0.35, 0.5), RECALLS)),
    *(
        People(unit, p, recall, of_speaker)
        for unit, p, recall, of_speaker in product(("constant", "varying"), (0.2, 0.35, 0.5), RECALLS, (0.3, 0.6))
    ),
)


# --- intervals --------------------------------------------------------------------------------------------------

Method = Callable[[pl.DataFrame, str, int, str], Interval]


def ours(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The intervals of the benchmark."""
    found = _DRAWN[metric](predictions, corpus, n_draws)
    return intervals.interval(found, _OBSERVED[metric](predictions))


def by_speaker(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The percentile bootstrap over speakers."""
    return _percentile(metrics.confusion_by_speaker(predictions)[1], corpus, n_draws, metric)


def by_unit(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The percentile bootstrap over units."""
    alone = predictions.with_columns(person=pl.col("unit_id"))
    return _percentile(metrics.confusion_by_speaker(alone)[1], corpus, n_draws, metric)


def _percentile(counts: Counts, corpus: str, n_draws: int, metric: str) -> Interval:
    rng = np.random.default_rng([len(counts), CORPORA, *corpus.encode()])
    copies = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), n_draws).astype(np.float64)
    return intervals.interval({"macro_f1": macro_f1, "f1": f1}[metric](copies @ counts))


def bca(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """Bias-corrected and accelerated over speakers, by scipy."""
    counts = metrics.confusion_by_speaker(predictions)[1]

    def statistic(index: np.ndarray, axis: int) -> Numbers:
        return {"macro_f1": macro_f1, "f1": f1}[metric](
            counts[index].sum(axis=axis if axis >= 0 else index.ndim + axis)
        )

    rng = np.random.default_rng([len(counts), *corpus.encode()])
    found = bootstrap(
        (np.arange(len(counts)),), statistic, n_resamples=n_draws, method="BCa", rng=rng, vectorized=True
    ).confidence_interval
    return float(found.low), float(found.high)


def _total(predictions: pl.DataFrame) -> Counts:
    return metrics.confusion_by_speaker(predictions)[1].sum(axis=0)


def _drawn_counts(predictions: pl.DataFrame, corpus: str, n_draws: int) -> Counts:
    return intervals.drawn_counts(corpus, *metrics.confusion_by_speaker(predictions), n_draws)


def _observed_auroc(predictions: pl.DataFrame) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(predictions["y"].to_numpy(), predictions["score"].to_numpy()))


_DRAWN: Mapping[str, Callable[[pl.DataFrame, str, int], Numbers]] = {
    "macro_f1": lambda *given: macro_f1(_drawn_counts(*given)),
    "f1": lambda *given: f1(_drawn_counts(*given)),
    "auroc": lambda predictions, corpus, n_draws: intervals.drawn_auroc(predictions, corpus, n_draws),
}
_OBSERVED: Mapping[str, Callable[[pl.DataFrame], float]] = {
    "macro_f1": lambda predictions: float(macro_f1(_total(predictions))),
    "f1": lambda predictions: float(f1(_total(predictions))),
    "auroc": _observed_auroc,
}
METHODS: Mapping[str, Method] = {
    "ours": ours,
    "percentile, speakers": by_speaker,
    "percentile, clips": by_unit,
    "BCa, speakers": bca,
}


def coverage(
    size: int,
    repetitions: int,
    methods: Sequence[str] = ("ours",),
    metric: str = "macro_f1",
    people: Sequence[People] = PEOPLE,
    n_draws: int = intervals.DRAWS,
    seed: int = 0,
) -> dict[str, Numbers]:
    """How often intervals hold the truth: by method, [populations].

    Args:
        size: speakers in the test.
        repetitions: tests drawn from each population.
        methods: names of `METHODS`.
        metric: macro_f1, f1 or auroc; the last by our method only.
        people: the populations.
        n_draws: of the bootstrap.
        seed: of the people.
    """
    rng = np.random.default_rng([seed, size])
    held = {method: np.zeros(len(people)) for method in methods}
    for i, population in enumerate(people):
        truth = population.truth[metric]
        for repetition in range(repetitions):
            (predictions,) = population.draw(rng, size)
            for method in methods:
                low, high = METHODS[method](predictions, f"corpus {repetition % CORPORA}", n_draws, metric)
                held[method][i] += low <= truth <= high
    return {method: found / repetitions for method, found in held.items()}
