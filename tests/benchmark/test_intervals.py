import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from benchmark import intervals, metrics
from benchmark.task import Task
from tests.benchmark.simulate import frame

Predictions = dict[str, pl.DataFrame]


def task(name: str, corpus: str = "toy") -> Task:
    return Task(name, "health", "paper", corpus, "a", "b", "utterance", "-", {"en": (("x", "y"),)})


def made_up(seed: int, n: int = 120, speakers: int = 24, effect: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    person = np.arange(n) % speakers
    y = (person % 3 == 0).astype(int)
    return frame(y, effect * (y - 0.5) + rng.standard_normal(n), person)


def flipped(predictions: pl.DataFrame, n: int, seed: int = 0) -> pl.DataFrame:
    """The same units, of which ``n`` that were right are now wrong."""
    score = predictions["score"].to_numpy().copy()
    right = np.flatnonzero((score > 0) == (predictions["y"].to_numpy() == 1))
    score[np.random.default_rng(seed).choice(right, n, replace=False)] *= -1
    return predictions.with_columns(score=pl.Series(score), predicted=pl.Series((score > 0).astype(float)))


def test_weights_are_of_the_speakers_of_the_corpus() -> None:
    speakers = tuple("abcdefghij")
    weights = intervals.draws("toy", speakers, 20_000)
    assert np.array_equal(weights, intervals.draws("toy", speakers, 20_000))
    assert not np.array_equal(weights, intervals.draws("other", speakers, 20_000))
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("n", [5, 12, 100])
def test_the_variance_of_a_drawn_mean_is_that_of_the_mean(n: int) -> None:
    """s^2 / n, where the plain bootstrap has (n - 1) / n of it."""
    values = np.random.default_rng(0).standard_normal(n)
    weights = intervals.draws("toy", tuple(map(str, range(n))), 40_000)
    drawn = weights @ values / weights.sum(axis=1)
    assert drawn.var() == pytest.approx(values.var(ddof=1) / n, rel=0.04)


def test_for_many_speakers_it_is_scipys_bootstrap() -> None:
    predictions = made_up(1, n=3000, speakers=600)
    _, counts = metrics.confusion_by_speaker(predictions)

    def statistic(index: np.ndarray, axis: int) -> np.ndarray:
        return metrics.macro_f1(counts[index].sum(axis=-2))

    peer = stats.bootstrap(
        (np.arange(600),), statistic, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    _, low, high = intervals.of_macro_f1(predictions, "toy", 4000)
    assert (low, high) == pytest.approx((peer.low, peer.high), abs=0.004)
    assert 0.03 < high - low < 0.06


def test_an_interval_holds_what_was_seen() -> None:
    y = np.arange(14) % 2
    perfect = frame(y, y - 0.5, np.arange(14))
    value, low, high = intervals.of_macro_f1(perfect, "toy")
    assert value == high == 1.0
    assert 0.7 < low < 0.9  # the exact interval of the accuracy begins at 0.77
    assert metrics.measure(perfect, "toy").auroc_high == 1.0


def test_two_speakers_have_a_wide_interval() -> None:
    predictions = frame(np.array([1, 0, 1, 0]), np.array([1.0, -1, -1, 1]), np.array([0, 0, 1, 1]))
    _, low, high = intervals.of_macro_f1(predictions, "toy")
    assert high - low > 0.7


def test_drawn_auroc_weighs_units_by_their_speaker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "PSEUDO_MASS", 1e-9)  # as good as none: leaves the weights of the speakers
    predictions = made_up(5).with_columns(score=pl.col("score").round(1))  # with ties
    speakers, _ = metrics.confusion_by_speaker(predictions)
    drawn = intervals.drawn_auroc(predictions, "toy", 200)
    column = {speaker: i for i, speaker in enumerate(speakers)}
    at = [column[person] for person in predictions["person"]]
    y, score = predictions["y"].to_numpy(), predictions["score"].to_numpy()
    for weight, value in zip(intervals.draws("toy", speakers, 200), drawn, strict=True):
        assert value == pytest.approx(roc_auc_score(y, score, sample_weight=weight[at]), abs=1e-5)


def test_pseudo_speakers_lie_at_the_ends_of_the_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made_up(5, n=24)
    fixed = np.tile([1.0, 2.0, 3.0, 4.0], (50, 1))
    monkeypatch.setattr(intervals, "pseudo_speakers", lambda *given: fixed)
    speakers, _ = metrics.confusion_by_speaker(predictions)
    weights = intervals.draws("toy", speakers, 50)
    score = np.append(predictions["score"].to_numpy(), [9, 9, -9, -9])
    y = np.append(predictions["y"].to_numpy(), [1, 0, 1, 0])
    for weight, value in zip(weights, intervals.drawn_auroc(predictions, "toy", 50), strict=True):
        assert value == pytest.approx(roc_auc_score(y, score, sample_weight=np.append(weight, fixed[0])), abs=1e-5)


def folded(units: pl.DataFrame, repeats: int = 3, folds: int = 4, seed: int = 0) -> pl.DataFrame:
    """The same units, judged by several probes: each on a scale and with an offset of its own."""
    rng = np.random.default_rng(seed)
    person = np.unique(units["person"].to_numpy(), return_inverse=True)[1]
    fold = np.stack([rng.permutation(person.max() + 1)[person] % folds for _ in range(repeats)], axis=1)
    scale, offset = rng.uniform(0.5, 2, (repeats, folds)), rng.normal(0, 9, (repeats, folds))
    at = np.arange(repeats), fold
    scores = units["score"].to_numpy()[:, None] * scale[at] + offset[at]
    return units.with_columns(
        score=pl.Series(scores.mean(axis=1)), folds=pl.Series(fold.tolist()), fold_scores=pl.Series(scores.tolist())
    )


def test_auroc_by_folds_knows_no_scale_of_a_probe() -> None:
    predictions = made_up(2, n=240, effect=2.0)
    told = roc_auc_score(predictions["y"].to_numpy(), predictions["score"].to_numpy())
    by_folds = folded(predictions)
    assert intervals.auroc(by_folds) == pytest.approx(told, abs=0.03)
    assert roc_auc_score(by_folds["y"].to_numpy(), by_folds["score"].to_numpy()) < told - 0.1  # pooled
    assert intervals.auroc(predictions) == told
    one = folded(predictions, repeats=1, folds=1)
    assert intervals.auroc(one) == pytest.approx(told)


def test_auroc_by_folds_counts_a_persons_own_pairs_no_more_than_others() -> None:
    """Loud within a person, deaf between persons: in a fold of two persons half of the pairs are of one person."""
    y, person = np.tile([0, 1], 40), np.repeat(np.arange(40), 2)
    predictions = frame(y, person % 7 + 0.1 * y, person)
    told = roc_auc_score(y, predictions["score"].to_numpy())
    assert intervals.auroc(folded(predictions, repeats=60, folds=20)) == pytest.approx(told, abs=0.03)


def test_draws_by_folds_are_those_of_their_pairs_and_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made_up(5, n=120).with_columns(score=pl.col("score").round(1))
    one = folded(predictions, repeats=2, folds=1)  # one probe judged all: both ways must agree but for the width
    plain, wide = (intervals.drawn_auroc(units, "toy", 400) for units in (predictions, one))
    assert wide.mean() == pytest.approx(plain.mean(), abs=1e-4)
    assert wide.var() == pytest.approx(intervals.FOLDED * plain.var(), rel=0.01)
    measured = [metrics.measure(units, "toy") for units in (predictions, one)]
    widths = [one.macro_f1_high - one.macro_f1_low for one in measured]
    assert widths[1] == pytest.approx(intervals.FOLDED**0.5 * widths[0], rel=0.02)


def test_differences_by_folds_are_wider_too() -> None:
    a = made_up(0)
    b = flipped(a, 10)
    plain = intervals.paired_difference({"one": a}, {"one": b}, [task("one")])
    wide = intervals.paired_difference({"one": folded(a)}, {"one": folded(b)}, [task("one")])
    assert wide[0] == plain[0]
    assert wide[2] - wide[1] == pytest.approx(intervals.FOLDED**0.5 * (plain[2] - plain[1]), rel=0.02)
    least = [intervals.minimum_detectable(*pair, "toy") for pair in ((a, b), (folded(a), folded(b)))]
    assert least[1] == pytest.approx(intervals.FOLDED**0.5 * least[0], rel=0.02)


def test_embedders_share_half_of_the_pseudo_speakers() -> None:
    speakers, a = metrics.confusion_by_speaker(made_up(0))
    b = metrics.confusion_by_speaker(flipped(made_up(0), 10))[1]
    drawn = [intervals.pseudo_speakers("toy", speakers, counts, 20_000)[:, 0] for counts in (a, b)]
    assert np.corrcoef(drawn[0], drawn[1])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert drawn[0].mean() == pytest.approx(intervals.PSEUDO_MASS * 120 / 24, rel=0.05)


def test_the_mean_over_one_task_is_that_task() -> None:
    predictions = made_up(0)
    assert intervals.mean_macro_f1({"one": predictions}, [task("one")]) == intervals.of_macro_f1(predictions, "toy")


def test_the_order_of_rows_is_nothing() -> None:
    predictions = made_up(0)
    assert intervals.of_macro_f1(predictions, "toy") == intervals.of_macro_f1(predictions.reverse(), "toy")


def test_jackknife_takes_the_bias_away() -> None:
    """Mean of many small tests: the plain macro-F1 is too low, the corrected one is within its standard error."""
    rng = np.random.default_rng(0)
    y = rng.random((20, 3000)) < 0.35
    right = rng.random((20, 3000)) < 0.75
    counts = np.stack([y & right, ~y & ~right, y & ~right, ~y & right], axis=-1).astype(float)
    truth = float(metrics.macro_f1(np.array([0.35 * 0.75, 0.65 * 0.25, 0.35 * 0.25, 0.65 * 0.75])))
    plain = metrics.macro_f1(counts.sum(axis=0)) - truth
    corrected = intervals.unbiased_macro_f1(counts) - truth
    error = corrected.std() / np.sqrt(3000)
    assert plain.mean() < -4 * error
    assert abs(corrected.mean()) < 3 * error


def test_leaving_out_the_only_positive_is_no_sign_of_bias() -> None:
    counts = np.array([[1.0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]])
    assert intervals.unbiased_macro_f1(counts) == 1.0


def test_paired_difference_sees_what_single_intervals_hide() -> None:
    tasks = [task("one"), task("two")]
    good = {name: made_up(i, n=300, speakers=60) for i, name in enumerate(("one", "two"))}
    worse = {name: flipped(predictions, 25) for name, predictions in good.items()}
    difference, low, high = intervals.paired_difference(good, worse, tasks)
    mean_good, mean_low, _ = intervals.mean_macro_f1(good, tasks)
    mean_worse, _, worse_high = intervals.mean_macro_f1(worse, tasks)
    assert difference == pytest.approx(mean_good - mean_worse)
    assert 0 < low < difference < high
    assert mean_low < worse_high  # unpaired, the two intervals overlap
    assert intervals.paired_difference(good, good, tasks) == (0.0, 0.0, 0.0)
    assert intervals.paired_difference(worse, good, tasks) == pytest.approx((-difference, -high, -low))


def test_other_units_are_refused() -> None:
    predictions = made_up(0)
    other = {"one": predictions.head(100)}
    with pytest.raises(ValueError, match="task one: two embedders predict different units; evaluate both again"):
        intervals.paired_difference({"one": predictions}, other, [task("one")])
    with pytest.raises(ValueError, match="different units"):
        intervals.compare_all({"a": {"one": predictions}, "b": other}, [task("one")], n_draws=50)
    with pytest.raises(ValueError, match="different units"):
        intervals.minimum_detectable(predictions, other["one"], "toy")


def four() -> dict[str, Predictions]:
    """A clear winner, a twin of it, and two that are worse."""
    best = {name: made_up(i, n=300, speakers=60, effect=2) for i, name in enumerate(("one", "two"))}
    return {
        "best": best,
        "twin": best,
        "close": {name: flipped(predictions, 2) for name, predictions in best.items()},
        "poor": {name: flipped(predictions, 80) for name, predictions in best.items()},
    }


def test_all_pairs_are_compared_with_holm() -> None:
    tasks = [task("one"), task("two", "other")]
    found = intervals.compare_all(four(), tasks, n_draws=4000)
    rows = {(row["a"], row["b"]): row for row in found.iter_rows(named=True)}
    assert list(rows) == [
        *(("best", "twin"), ("best", "close"), ("best", "poor")),
        *(("twin", "close"), ("twin", "poor"), ("close", "poor")),
    ]
    assert rows["best", "twin"]["p"] == 1.0 and not rows["best", "twin"]["separable"]
    assert not rows["best", "close"]["separable"]
    assert all(rows[name, "poor"]["separable"] for name in ("best", "twin", "close"))
    assert rows["best", "poor"]["p_adjusted"] > rows["best", "poor"]["p"]
    single = intervals.paired_difference(four()["best"], four()["poor"], tasks, 4000)
    assert tuple(rows["best", "poor"][name] for name in ("difference", "low", "high")) == single


def test_a_reference_is_compared_with_each() -> None:
    found = intervals.compare_all(four(), [task("one"), task("two")], reference="close", n_draws=1000)
    assert found["a"].to_list() == ["best", "twin", "poor"] and set(found["b"]) == {"close"}
    assert found["difference"][0] > 0 > found["difference"][2]
    assert intervals.compare_all({"best": four()["best"]}, [task("one")]).is_empty()


def test_holm_by_hand() -> None:
    """Holm 1979: the smallest of m times m, the next times m - 1, never below the one before."""
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.9])
    assert intervals.holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert intervals.holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])


def test_p_is_never_zero_and_at_most_one() -> None:
    drawn = np.stack([np.full(999, 0.1), np.zeros(999), np.append(np.full(989, 0.1), np.full(10, -0.1))])
    assert intervals.p_values(drawn) == pytest.approx([2 / 1000, 1.0, 22 / 1000])


def test_the_minimum_detectable_difference_shrinks_with_speakers() -> None:
    few, many = made_up(0, n=200, speakers=40), made_up(0, n=3200, speakers=640)
    a, b = (intervals.minimum_detectable(one, flipped(one, one.height // 10), "toy") for one in (few, many))
    assert 3.5 < a / b < 6  # 16 times the speakers: 4, and more because few have more doubt
    assert intervals.minimum_detectable(few, few, "toy") == 0.0
