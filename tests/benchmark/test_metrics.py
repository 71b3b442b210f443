import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from benchmark import intervals, metrics
from benchmark.task import Task


def predictions(y: np.ndarray, score: np.ndarray, person: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit_id": [f"u{i:04}" for i in range(len(y))],
            "person": person.astype(str),
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.int8),
        }
    )


def made_up(seed: int, n: int = 120, speakers: int = 24, effect: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    person = np.arange(n) % speakers
    y = (person % 3 == 0).astype(int)
    return predictions(y, effect * (y - 0.5) + rng.standard_normal(n), person)


def task(name: str, corpus: str) -> Task:
    return Task(name, "health", "paper", corpus, "a", "b", "utterance", "-", {"en": (("x", "y"),)})


@pytest.mark.parametrize("seed", range(5))
def test_numbers_agree_with_sklearn(seed: int) -> None:
    frame = made_up(seed)
    y, predicted, score = (frame[name].to_numpy() for name in ("y", "predicted", "score"))
    found = metrics.measure(frame, "toy", n_draws=50)
    assert found.f1 == pytest.approx(sk.f1_score(y, predicted))
    assert found.macro_f1 == pytest.approx(sk.f1_score(y, predicted, average="macro"))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, predicted))
    assert found.auroc == pytest.approx(sk.roc_auc_score(y, score))
    assert found.always_yes_f1 == pytest.approx(sk.f1_score(y, np.ones_like(y)))
    assert found.always_yes_macro_f1 == pytest.approx(sk.f1_score(y, np.ones_like(y), average="macro"))
    assert (found.n, found.n_speakers) == (120, 24)
    assert found.predicted_positive_rate == pytest.approx(predicted.mean())
    assert found.macro_f1_low < found.macro_f1 < found.macro_f1_high


def test_always_yes_earns_two_thirds_on_balanced_classes() -> None:
    y = np.array([0, 1] * 10)
    found = metrics.measure(predictions(y, np.ones(20), np.arange(20)), "toy")
    assert found.f1 == found.always_yes_f1 == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx(1 / 3)
    assert found.auroc == 0.5


@pytest.mark.parametrize(("y", "predicted"), [([1, 1], [1, 1]), ([0, 0], [0, 0]), ([0, 0], [1, 1]), ([1, 0], [0, 0])])
def test_a_draw_without_a_class_counts_as_in_sklearn(y: list[int], predicted: list[int]) -> None:
    _, counts = metrics.confusion_by_speaker(predictions(np.array(y), np.array(predicted) - 0.5, np.zeros(2)))
    expected = sk.f1_score(y, predicted, labels=[0, 1], average="macro", zero_division=0)
    assert float(metrics.macro_f1(counts.sum(axis=0))) == pytest.approx(expected)


def test_the_bootstrap_equals_resampling_the_rows() -> None:
    frame = made_up(3)
    speakers, counts = metrics.confusion_by_speaker(frame)
    weights = intervals.draws("toy", speakers, 3)
    fast = metrics.macro_f1(weights @ counts)
    for weight, value in zip(weights, fast, strict=True):
        parts = [
            frame.filter(person=who) for who, times in zip(speakers, weight, strict=True) for _ in range(int(times))
        ]
        drawn = pl.concat(parts)
        assert value == pytest.approx(sk.f1_score(drawn["y"], drawn["predicted"], average="macro"))


def test_draws_are_shared_by_tasks_on_the_same_speakers_only() -> None:
    speakers = ("a", "b", "c", "d", "e")
    assert (intervals.draws("toy", speakers, 20).sum(axis=1) == 5).all()
    assert np.array_equal(intervals.draws("toy", speakers, 20), intervals.draws("toy", speakers, 20))
    assert not np.array_equal(intervals.draws("toy", speakers, 20), intervals.draws("other", speakers, 20))


def test_intervals_over_speakers_cover_and_over_clips_do_not() -> None:
    """30 speakers x 20 clips whose errors are the speaker's: the nominal 95 % must hold by speaker."""

    def simulate(rng: np.random.Generator, speakers: int) -> np.ndarray:
        """Confusion counts [speakers, clips, 4] of speakers who are each mostly right or mostly wrong."""
        y = (np.arange(speakers) % 2 == 0)[:, None]
        right = rng.random((speakers, 20)) < rng.beta(0.7, 0.3, speakers)[:, None]
        yes = y == right
        return np.stack([y & yes, ~y & yes, y & ~yes, ~y & ~yes], axis=-1).astype(float)

    rng = np.random.default_rng(0)
    truth = float(metrics.macro_f1(simulate(rng, 20_000).sum(axis=(0, 1))))
    covered = np.zeros(2)
    for trial in range(200):
        counts = simulate(rng, 30)
        for i, units in enumerate((counts.sum(axis=1), counts.reshape(-1, 4))):
            names = tuple(map(str, range(len(units))))
            low, high = intervals.interval(metrics.macro_f1(intervals.draws(str(trial), names, 200) @ units))
            covered[i] += low <= truth <= high
    by_speaker, by_clip = covered / 200
    assert 0.88 <= by_speaker <= 0.99
    assert by_clip < 0.75


def test_paired_difference_sees_what_single_intervals_hide() -> None:
    rng = np.random.default_rng(1)
    tasks = [task("one", "toy"), task("two", "toy")]
    good, slightly_worse = {}, {}
    for i, name in enumerate(("one", "two")):
        frame = made_up(i, n=300, speakers=60)
        worse = frame["score"].to_numpy().copy()
        right = np.flatnonzero((worse > 0) == (frame["y"].to_numpy() == 1))
        worse[rng.choice(right, 25, replace=False)] *= -1
        good[name] = frame
        slightly_worse[name] = predictions(frame["y"].to_numpy(), worse, frame["person"].to_numpy())
    difference, low, high = intervals.paired_difference(good, slightly_worse, tasks)
    mean_good, mean_low, _ = intervals.mean_macro_f1(good, tasks)
    mean_worse, _, worse_high = intervals.mean_macro_f1(slightly_worse, tasks)
    assert difference == pytest.approx(mean_good - mean_worse)
    assert 0 < low < difference < high
    assert mean_low < worse_high  # unpaired, the two intervals overlap
    assert intervals.paired_difference(good, good, tasks) == (0.0, 0.0, 0.0)


def test_paired_difference_refuses_other_units() -> None:
    frame = made_up(0)
    with pytest.raises(ValueError, match="different units"):
        intervals.paired_difference({"one": frame}, {"one": frame.head(100)}, [task("one", "toy")])
