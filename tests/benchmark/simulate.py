"""Simulations in which the truth is known: is what the benchmark says of it true?

``python -m tests.benchmark.simulate`` prints the tables; ``--repetitions 400`` for less noise: a share of n tests has
a standard error of sqrt(0.05 * 0.95 / n), so that the worst of many populations is mostly chance when n is small.
`test_simulations.py` asks the same with fewer repetitions.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from scipy.stats import bootstrap, norm

from benchmark import confounds, intervals, metrics, probe, units
from benchmark.confusion import Counts, Numbers, f1, macro_f1
from benchmark.score import Score
from benchmark.task import Task

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

    def draw(
        self,
        rng: np.random.Generator,
        speakers: int,
        rivals: Sequence[People] = (),
        agree: float = 0.5,
        ability: Numbers | None = None,
    ) -> list[pl.DataFrame]:
        """Predictions of this model and of rivals on the same new speakers; both classes occur.

        Args:
            rng: source of chance.
            speakers: how many.
            rivals: other models, of whom the recall counts.
            agree: correlation of the scores of two models on a unit, given its label.
            ability: [speakers] normal numbers: how easily a speaker is told in every task; half of the variance.
        """
        while True:
            person, y = self._labels(rng, speakers)
            if 0 < y.sum() < len(y):
                break
        shared = self._noise(rng, person, y, speakers)
        found = []
        for model in (self, *rivals):
            noise = shared
            if rivals:
                noise = np.sqrt(agree) * shared + np.sqrt(1 - agree) * self._noise(rng, person, y, speakers)
            if ability is not None:
                noise = np.sqrt(0.5) * (noise + np.where(y == 1, 1, -1) * ability[person])
            found.append(frame(y, np.where(y == 1, *model.means) + noise, person))
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


@lru_cache
def _names(letter: str, n: int) -> pl.Series:
    return pl.Series([f"{letter}{i:06}" for i in range(n)])


def frame(y: np.ndarray, score: np.ndarray, person: np.ndarray) -> pl.DataFrame:
    """Predictions as `benchmark.evaluate` writes them."""
    return pl.DataFrame(
        {
            "unit_id": _names("u", len(y)),
            "person": _names("p", int(person.max()) + 1)[person],
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

STATISTICS: Mapping[str, Callable[[Counts], Numbers]] = {"macro_f1": macro_f1, "f1": f1}


def ours(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The intervals of the benchmark."""
    if metric == "auroc":
        from sklearn.metrics import roc_auc_score

        observed = roc_auc_score(predictions["y"].to_numpy(), predictions["score"].to_numpy())
        return intervals.interval(intervals.drawn_auroc(predictions, corpus, n_draws), observed)
    statistic, (speakers, counts) = STATISTICS[metric], metrics.confusion_by_speaker(predictions)
    drawn = intervals.drawn_counts(corpus, speakers, counts, n_draws)
    return intervals.interval(statistic(drawn), float(statistic(counts.sum(axis=0))))


def by_speaker(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The percentile bootstrap over speakers."""
    counts = metrics.confusion_by_speaker(predictions)[1]
    return intervals.interval(STATISTICS[metric](_copies(len(counts), corpus, n_draws) @ counts))


@lru_cache(maxsize=CORPORA)
def _copies(speakers: int, corpus: str, n_draws: int) -> Numbers:
    rng = np.random.default_rng([speakers, *corpus.encode()])
    return rng.multinomial(speakers, np.full(speakers, 1 / speakers), n_draws).astype(np.float64)


def by_clip(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """The percentile bootstrap over units: each lies in one cell of the confusion, so the cells are multinomial."""
    total = metrics.confusion_by_speaker(predictions)[1].sum(axis=0)
    rng = np.random.default_rng(list(corpus.encode()))
    return intervals.interval(STATISTICS[metric](rng.multinomial(len(predictions), total / total.sum(), n_draws)))


def bca(predictions: pl.DataFrame, corpus: str, n_draws: int, metric: str) -> Interval:
    """Bias-corrected and accelerated over speakers, by scipy."""
    counts = metrics.confusion_by_speaker(predictions)[1]

    def statistic(index: np.ndarray, axis: int) -> Numbers:
        return STATISTICS[metric](counts[index].sum(axis=-2))

    rng = np.random.default_rng(list(corpus.encode()))
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of draws that are all alike: there is no interval then
        found = bootstrap((np.arange(len(counts)),), statistic, n_resamples=n_draws, method="BCa", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


METHODS: Mapping[str, Callable[[pl.DataFrame, str, int, str], Interval]] = {
    "ours": ours,
    "percentile over speakers": by_speaker,
    "BCa over speakers": bca,
    "percentile over clips": by_clip,
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


A_TASK = Task("toy", "health", "paper", "corpus 0", "a = 'x'", "a = 'y'", "utterance", "any", {"en": (("x", "y"),)})
OF_A_CORPUS = (  # three tasks on the same speakers
    (People("speaker", 0.5, (0.7, 0.7)), People("speaker", 0.5, (0.65, 0.6))),
    (People("constant", 0.35, (0.85, 0.85), 0.3), People("constant", 0.35, (0.7, 0.85), 0.3)),
    (People("speaker", 0.35, (0.7, 0.95)), People("speaker", 0.35, (0.7, 0.95))),
)


def coverage_of_means(
    size: int, repetitions: int, corpora: int = 4, n_draws: int = intervals.DRAWS, seed: int = 0
) -> tuple[float, float]:
    """How often the interval of a mean over tasks, and of a difference of two such means, holds the truth.

    Args:
        size: speakers of each corpus.
        repetitions: boards drawn.
        corpora: of three tasks each; ability of a speaker is common to them.
        n_draws: of the bootstrap.
        seed: of the people.
    """
    rng = np.random.default_rng([seed, size, corpora])
    truth = np.array([[one.truth["macro_f1"] for one in models] for models in OF_A_CORPUS]).mean(axis=0)
    tasks = [replace(A_TASK, name=f"{c} {t}", corpus=f"corpus {c}") for c, t in product(range(corpora), range(3))]
    held = np.zeros(2)
    for _ in range(repetitions):
        a: dict[str, pl.DataFrame] = {}
        b: dict[str, pl.DataFrame] = {}
        for c in range(corpora):
            ability = rng.standard_normal(size)
            for t, (ours_, theirs) in enumerate(OF_A_CORPUS):
                a[f"{c} {t}"], b[f"{c} {t}"] = ours_.draw(rng, size, [theirs], ability=ability)
        _, low, high = intervals.mean_macro_f1(a, tasks, n_draws)
        _, below, above = intervals.paired_difference(a, b, tasks, n_draws)
        held += [low <= truth[0] <= high, below <= truth[0] - truth[1] <= above]
    mean, difference = (held / repetitions).tolist()
    return mean, difference


RIVALS = (  # the same quality and another; units of both kinds
    (People("speaker", 0.5, (0.7, 0.7)), People("speaker", 0.5, (0.7, 0.7))),
    (People("speaker", 0.35, (0.9, 0.9)), People("speaker", 0.35, (0.7, 0.8))),
    (People("constant", 0.5, (0.8, 0.8), 0.3), People("constant", 0.5, (0.8, 0.8), 0.3)),
    (People("varying", 0.35, (0.85, 0.85), 0.3), People("varying", 0.35, (0.7, 0.7), 0.3)),
)


def coverage_of_differences(
    size: int, repetitions: int, agree: Sequence[float] = (0.3, 0.8), n_draws: int = intervals.DRAWS, seed: int = 0
) -> Numbers:
    """How often the interval of a paired difference in one task holds the truth: [rivals x agree]."""
    rng = np.random.default_rng([seed, size])
    cases = list(product(RIVALS, agree))
    held = np.zeros(len(cases))
    for i, ((one, other), together) in enumerate(cases):
        truth = one.truth["macro_f1"] - other.truth["macro_f1"]
        for repetition in range(repetitions):
            a, b = one.draw(rng, size, [other], together)
            task = replace(A_TASK, corpus=f"corpus {repetition % CORPORA}")
            _, low, high = intervals.paired_difference({task.name: a}, {task.name: b}, [task], n_draws)
            held[i] += low <= truth <= high
    return held / repetitions


# --- the probe --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Promise:
    """Balanced accuracy of a probe on voices that say nothing but who speaks, with labels dealt out at random.

    Attributes:
        by_speaker: judged on other speakers, as the benchmark does.
        held: how often the interval of its macro-F1 held a half.
        by_clip: judged on other clips of the speakers that it learned from.
        folds_by_speaker, folds_by_clip: what cross-validation promises, by folds of whole speakers and of clips.
    """

    by_speaker: float
    held: float
    by_clip: float
    folds_by_speaker: float
    folds_by_clip: float


def identity_only(worlds: int, speakers: int = 40, clips: int = 6, width: int = 48, seed: int = 0) -> Promise:
    """Every speaker a random vector, every clip that vector with noise, the label a coin for each speaker."""
    rng = np.random.default_rng(seed)
    found = np.zeros((worlds, 5))
    person = np.repeat(np.arange(speakers), clips)
    names = person.astype(str)
    for world in range(worlds):
        voice = rng.standard_normal((speakers, width))[person]
        x = (voice + 0.5 * rng.standard_normal(voice.shape)).astype(np.float32)
        y = rng.permutation(np.arange(speakers) % 2)[person].astype(np.int8)
        for by, train in enumerate(
            (np.isin(person, rng.permutation(speakers)[: speakers // 2]), rng.random(len(y)) < 0.5)
        ):
            decisions = probe.probe(x[train], y[train], names[train], x[~train])
            of_test = frame(y[~train], decisions, person[~train])
            measured = metrics.measure(of_test, f"corpus {world % CORPORA}", 300)
            found[world, 2 * by] = measured.balanced_accuracy
            if by == 0:
                found[world, 1] = measured.macro_f1_low <= 0.5 <= measured.macro_f1_high
        found[world, 3:] = _promised(x, y, person)
    return Promise(*found.mean(axis=0).tolist())


def _promised(x: np.ndarray, y: np.ndarray, person: np.ndarray) -> tuple[float, float]:
    """Balanced accuracy that scikit-learn's cross-validation promises: by folds of whole speakers, of clips."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, StratifiedGroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    by_speaker, by_clip = (
        float(cross_val_score(pipeline, x, y, groups=groups, cv=folds, scoring="balanced_accuracy").mean())
        for folds, groups in ((StratifiedGroupKFold(5), person), (KFold(5, shuffle=True, random_state=0), None))
    )
    return by_speaker, by_clip


@dataclass(frozen=True)
class Planted:
    """What is found of an effect of known size.

    Attributes:
        truth: macro-F1 of the best possible decision.
        found: mean of the measured ones.
        held: how often the interval held the truth.
        found_by_folds, held_by_folds: of repeated folds on few speakers. Their truth, ``of_few``, is what such a
            probe earns on endless new speakers.
        of_few: see there.
    """

    truth: float
    found: float
    held: float
    of_few: float
    found_by_folds: float
    held_by_folds: float


def planted_effect(worlds: int, distance: float = 1.5, width: int = 8, few: int = 24, seed: int = 0) -> Planted:
    """Normal clouds whose means lie ``distance`` standard deviations apart along one direction."""
    rng = np.random.default_rng(seed)
    truth = float(norm.cdf(distance / 2))
    found = np.zeros((worlds, 7))
    direction = np.ones(width) / np.sqrt(width)

    def people(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = (np.arange(n) % 2).astype(np.int8)
        return (rng.standard_normal((n, width)) + distance * np.outer(y - 0.5, direction)).astype(np.float32), y

    many, labels = people(4000)
    for world in range(worlds):
        corpus = f"corpus {world % CORPORA}"
        (x, y), (test, y_test) = people(400), people(100)
        decisions = probe.probe(x, y, np.arange(len(y)).astype(str), test)
        found[world, :3] = intervals.of_macro_f1(frame(y_test, decisions, np.arange(len(y_test))), corpus, 500)
        x, y = people(few)
        names = np.arange(few).astype(str)
        judged = judged_by_folds(x, y, probe.REPEATS, seed=world)
        found[world, 3:6] = intervals.of_macro_f1(judged, corpus, 500)
        learned = rng.permutation(few)[: few * 4 // 5]
        endless = frame(labels, probe.probe(x[learned], y[learned], names[learned], many), np.arange(len(labels)))
        found[world, 6] = _macro_f1(endless)
    value, low, high, by_folds, below, above, of_few = found.T
    return Planted(
        truth=truth,
        found=float(value.mean()),
        held=float(((low <= truth) & (truth <= high)).mean()),
        of_few=float(of_few.mean()),
        found_by_folds=float(by_folds.mean()),
        held_by_folds=float(((below <= of_few.mean()) & (of_few.mean() <= above)).mean()),
    )


def judged_by_folds(x: np.ndarray, y: np.ndarray, repeats: int, seed: int) -> pl.DataFrame:
    """Predictions of repeated folds for persons of one clip each."""
    folds = probe.repeated_folds(x, y, np.arange(len(y)).astype(str), repeats, seed=seed)
    return frame(y, folds.decisions, np.arange(len(y))).with_columns(
        predicted=pl.Series(folds.share),
        folds=pl.Series(folds.fold.T.tolist()),
        fold_scores=pl.Series(folds.by_repeat.T.tolist()),
    )


@dataclass(frozen=True)
class Chance:
    """What repeated folds make of vectors that know nothing of the label.

    Attributes:
        persons: judged.
        auroc, pooled_auroc: mean AUROC, within folds as the benchmark has it, and of all decisions together.
        balanced_accuracy: mean.
        told: how often `confounds.chance_p` lies below 5 %.
        plainly_told: how often Mann-Whitney's p of the pooled decisions does.
        held: how often the interval of AUROC held a half.
    """

    persons: int
    auroc: float
    pooled_auroc: float
    balanced_accuracy: float
    told: float
    plainly_told: float
    held: float


def chance_by_folds(worlds: int, persons: int, width: int = 4, repeats: int = 2, seed: int = 0) -> Chance:
    """Half of the persons are positive, at random."""
    rng = np.random.default_rng([seed, persons])
    found = np.zeros((worlds, 6))
    for world in range(worlds):
        y = rng.permutation(np.arange(persons) % 2).astype(np.int8)
        x = rng.standard_normal((persons, width)).astype(np.float32)
        judged = judged_by_folds(x, y, repeats, seed=world % 20)
        plain = judged.drop("folds", "fold_scores")
        measured = metrics.measure(judged, f"corpus {world % CORPORA}", 300)
        found[world] = [
            measured.auroc,
            intervals.auroc(plain),
            measured.balanced_accuracy,
            confounds.chance_p(judged) < confounds.LEVEL,
            confounds.chance_p(plain) < confounds.LEVEL,
            measured.auroc_low <= 0.5 <= measured.auroc_high,
        ]
    return Chance(persons, *found.mean(axis=0).tolist())


def _macro_f1(predictions: pl.DataFrame) -> float:
    return float(macro_f1(metrics.confusion_by_speaker(predictions)[1].sum(axis=0)))


# --- confounds and leaks ----------------------------------------------------------------------------------------


def flagged(worlds: int, effect: float, speakers: int = 60, clips: int = 3, seed: int = 0) -> float:
    """How often a task is flagged whose positives were recorded otherwise, by ``effect`` standard deviations.

    The three confounds see six properties each; one property of the recording has the effect. With effect 0 every
    flag is a false alarm.
    """
    rng = np.random.default_rng([seed, round(100 * effect)])
    person = np.repeat(np.arange(speakers), clips)
    names = person.astype(str)
    alarms = 0
    for _ in range(worlds):
        y = rng.permutation(np.arange(speakers) % 2)[person].astype(np.int8)
        scores = []
        for name in confounds.NAMES:
            x = rng.standard_normal((speakers, 6))[person] + 0.3 * rng.standard_normal((len(y), 6))
            x[:, 0] += effect * y * (name == confounds.NAMES[0])
            train = person % 10 < 5
            decisions = probe.probe(x[train].astype(np.float32), y[train], names[train], x[~train].astype(np.float32))
            scores.append(_score(name, frame(y[~train], decisions, person[~train])))
        alarms += bool(confounds.flags(scores))
    return alarms / worlds


def _score(embedder: str, predictions: pl.DataFrame) -> Score:
    measured = metrics.measure(predictions, "corpus 0", 500)
    return Score(
        embedder=embedder,
        fingerprint="",
        task=A_TASK.name,
        group=A_TASK.group,
        track=A_TASK.track,
        corpus="corpus 0",
        mode="probe",
        status="ok",
        reason="",
        synthetic=True,
        ood_corpus=True,
        ood_language=None,
        ood_label=True,
        **asdict(measured),
        chance_p=confounds.chance_p(predictions),
    )


def leaks_caught(worlds: int, leaked: int, speakers: int = 40, clips: int = 3, seed: int = 0) -> float:
    """How often a task is refused in which ``leaked`` persons have clips in train and in test."""
    rng = np.random.default_rng([seed, leaked])
    caught = 0
    for _ in range(worlds):
        person = np.repeat(np.arange(speakers), clips)
        side = rng.permutation(np.arange(speakers) % 2)[person]
        moved = np.isin(person, rng.permutation(speakers)[:leaked]) & (np.arange(len(person)) % clips == 0)
        facts = pl.DataFrame(
            {
                "utt_id": [f"u{i:04}" for i in range(len(person))],
                "corpus": "corpus 0",
                "person_id": [f"p{i}" for i in person],
                "split": np.where(side ^ moved, "test", "train"),
                "sex": None,
                "age_low": None,
                "age_high": None,
                "language": "en",
                "a": np.where(person % 2, "x", "y"),
            },
            schema_overrides={"sex": pl.String(), "age_low": pl.Int64(), "age_high": pl.Int64()},
        )
        with tempfile.TemporaryDirectory() as folder:
            meta_db = Path(folder) / "meta.db"
            with duckdb.connect(meta_db) as con:
                con.register("made", facts)
                con.execute("CREATE TABLE facts AS SELECT * FROM made").fetchall()
                con.execute("CREATE TABLE speaker AS SELECT DISTINCT corpus, person_id FROM facts").fetchall()
                con.execute(
                    "CREATE TABLE person_split AS SELECT person_id, any_value(split) AS split, 'hash' AS source "
                    "FROM facts GROUP BY person_id"
                ).fetchall()
            try:
                units.load([A_TASK], meta_db, {}, b"only for simulations", ())
            except units.LeakError:
                caught += 1
    return caught / worlds


# --- tables -----------------------------------------------------------------------------------------------------


def tables(repetitions: int) -> Iterator[tuple[str, list[Row]]]:
    """Every table with its caption."""
    yield (
        f"Share of nominal 95 % intervals that hold the truth, and of {len(PEOPLE)} populations the worst; "
        f"{repetitions} tests of each. Macro-F1 unless said otherwise.",
        list(_coverage_rows(repetitions)),
    )
    yield (
        f"The same for a mean over 12 tasks of 4 corpora and for paired differences; {4 * repetitions} tests of each.",
        [
            {
                "speakers": size,
                "mean over 12 tasks": mean,
                "difference of two means": difference,
                "difference in one task": float(single.mean()),
                "its worst case": float(single.min()),
            }
            for size in SIZES
            for mean, difference in [coverage_of_means(size, 4 * repetitions)]
            for single in [coverage_of_differences(size, 4 * repetitions)]
        ],
    )
    worlds = max(20, repetitions // 2)
    yield f"Voices that say only who speaks; {worlds} worlds.", [asdict(identity_only(worlds))]
    yield (
        f"A planted effect, d = 1.5, 400 speakers to learn from and 100 to judge; by folds, 24; {4 * worlds} worlds.",
        [asdict(planted_effect(4 * worlds))],
    )
    yield (
        f"Repeated folds where there is nothing to learn; {8 * worlds} worlds.",
        [asdict(chance_by_folds(8 * worlds, persons)) for persons in (16, 24, 40)],
    )
    yield (
        f"Flags and refusals; {8 * worlds} worlds each.",
        [
            {"planted": "nothing", "found": flagged(8 * worlds, 0.0), "should be": "at most 0.05"},
            *(
                {
                    "planted": f"confound, d = {effect}",
                    "found": flagged(8 * worlds, effect),
                    "should be": "the more, the larger d",
                }
                for effect in (1.0, 2.0, 3.0)
            ),
            {"planted": "no leak", "found": leaks_caught(worlds, 0), "should be": "0"},
            {"planted": "leak of one person", "found": leaks_caught(worlds, 1), "should be": "1"},
        ],
    )


def _coverage_rows(repetitions: int) -> Iterator[Row]:
    by_size = {size: coverage(size, repetitions, tuple(METHODS)) for size in SIZES}
    for method in METHODS:
        yield _row(method, {size: found[method] for size, found in by_size.items()})
    for metric in ("f1", "auroc"):
        found = {size: coverage(size, repetitions, metric=metric)["ours"] for size in SIZES}
        yield _row(f"ours, {metric}", found)


def _row(name: str, by_size: Mapping[int, Numbers]) -> Row:
    return {"intervals": name} | {
        key: value
        for size, found in by_size.items()
        for key, value in ((f"{size} speakers", float(found.mean())), (f"worst at {size}", float(found.min())))
    }


def as_markdown(rows: Sequence[Row]) -> str:
    """A table of words and shares."""
    cells = [list(rows[0]), ["---"] * len(rows[0])]
    cells += [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def main() -> None:
    """Print the tables."""
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=20, help="tests drawn from each population")
    repetitions = parser.parse_args().repetitions
    with threadpool_limits(limits=1):
        for caption, rows in tables(repetitions):
            print(f"*{caption}*\n\n{as_markdown(rows)}\n", flush=True)


if __name__ == "__main__":
    main()
