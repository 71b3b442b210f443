import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from benchmark import metrics


def predictions(y: np.ndarray, score: np.ndarray, person: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "unit_id": [f"u{i:04}" for i in range(len(y))],
            "person": person.astype(str),
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.float64),
        }
    )


def made_up(seed: int, n: int = 120, speakers: int = 24, effect: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    person = np.arange(n) % speakers
    y = (person % 3 == 0).astype(int)
    return predictions(y, effect * (y - 0.5) + rng.standard_normal(n), person)


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
    assert found.f1_low < found.f1 < found.f1_high
    assert found.auroc_low < found.auroc < found.auroc_high


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


def test_counts_add_up_the_shares_of_the_repeats() -> None:
    frame = predictions(np.array([1, 1, 0, 0]), np.zeros(4), np.array(["b", "a", "a", "b"]))
    frame = frame.with_columns(predicted=pl.Series([0.75, 1.0, 0.25, 0.0]))
    speakers, counts = metrics.confusion_by_speaker(frame)
    assert speakers == ("a", "b")
    assert counts.tolist() == [[1.0, 0.25, 0.0, 0.75], [0.75, 0.0, 0.25, 1.0]]
    found = metrics.measure(frame, "toy", n_draws=50)
    assert found.predicted_positive_rate == 0.5
    assert found.balanced_accuracy == pytest.approx((1.75 / 2 + 1.75 / 2) / 2)
    assert found.f1 == pytest.approx(2 * 1.75 / (2 * 1.75 + 0.25 + 0.25))


@pytest.mark.parametrize("seed", range(3))
def test_calibration_agrees_with_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.random(200)
    y = (rng.random(200) < probability**2).astype(int)
    frame = predictions(y, probability - 0.5, np.arange(200)).with_columns(probability=pl.Series(probability))
    found = metrics.measure(frame, "toy", n_draws=50)
    assert found.brier == pytest.approx(sk.brier_score_loss(y, probability))
    shares, means = calibration_curve(y, probability, n_bins=10, strategy="quantile")
    assert found.calibration_error == pytest.approx(np.abs(shares - means).mean())  # 20 units in each bin
    assert found.calibration_error > 0.1


def test_calibration_does_not_depend_on_the_order_of_equal_probabilities() -> None:
    y = np.array([1] * 10 + [0] * 30)
    frame = predictions(y, np.zeros(40), np.arange(40)).with_columns(probability=pl.lit(0.25))
    assert metrics.measure(frame, "toy", n_draws=50).calibration_error == pytest.approx(0.0)


def test_without_probabilities_there_is_no_calibration() -> None:
    frame = made_up(0)
    for without in (frame, frame.with_columns(probability=pl.lit(None, pl.Float64()))):
        found = metrics.measure(without, "toy", n_draws=50)
        assert found.brier is None and found.calibration_error is None


@pytest.mark.parametrize(("n", "positives"), [(12, 3), (40, 20), (7, 6)])
def test_prior_random_is_the_mean_of_guesses(n: int, positives: int) -> None:
    y = np.array([1] * positives + [0] * (n - positives))
    yes = np.random.default_rng(0).random((20_000, n)) < positives / n
    counts = np.stack([(y * yes).sum(1), ((1 - y) * yes).sum(1), (y * ~yes).sum(1), ((1 - y) * ~yes).sum(1)], axis=-1)
    found = metrics.measure(predictions(y, np.ones(n), np.arange(n)), "toy", n_draws=50)
    assert found.prior_random_f1 == pytest.approx(metrics.f1(counts).mean(), abs=0.01)
    assert found.prior_random_macro_f1 == pytest.approx(metrics.macro_f1(counts).mean(), abs=0.01)


def grouped(sizes: dict[str | None, int]) -> pl.DataFrame:
    groups = [name for name, n in sizes.items() for _ in range(n)]
    y = np.arange(len(groups)) % 2
    score = np.where(np.arange(len(groups)) % 5 == 0, -1.0, 1.0) * (y - 0.5)  # every fifth is wrong
    return predictions(y, score, np.arange(len(groups))).with_columns(sex=pl.Series(groups, dtype=pl.String()))


def test_groups_are_measured_alone() -> None:
    frame = grouped({"female": 20, "male": 16, None: 12})
    frame = frame.with_columns(predicted=pl.when(pl.col("sex") == "male").then(1.0).otherwise(pl.col("predicted")))
    found = metrics.by_group(frame, "sex")
    assert found.rows["group"].to_list() == ["female", "male"] and found.n_hidden == 0
    assert found.rows["n_speakers"].to_list() == found.rows["n"].to_list() == [20, 16]
    for row in found.rows.iter_rows(named=True):
        part = frame.filter(sex=row["group"])
        y, predicted = part["y"].to_numpy(), part["predicted"].to_numpy()
        assert row["macro_f1"] == pytest.approx(sk.f1_score(y, predicted, average="macro", zero_division=0))
        assert row["tpr"] == pytest.approx(sk.recall_score(y, predicted))
        assert row["fpr"] == pytest.approx(1 - sk.recall_score(y, predicted, pos_label=0))
        assert row["prevalence"] == 0.5
    assert found.gap == pytest.approx(found.rows["macro_f1"][0] - 1 / 3)


@pytest.mark.parametrize(
    ("sizes", "shown", "hidden"),
    [
        ({"female": 20, "male": 9}, [], 2),  # 9 beside the 20 would follow from the numbers of all
        ({"female": 20, "male": 10, "other": 3, None: 8}, ["female", "male"], 1),
        ({"female": 20, "male": 10, "other": 3}, [], 3),
        ({"female": 20}, [], 0),
        ({"female": 9, "male": 9}, [], 2),
    ],
)
def test_small_groups_are_hidden(sizes: dict[str | None, int], shown: list[str], hidden: int) -> None:
    found = metrics.by_group(grouped(sizes), "sex")
    assert (found.rows["group"].to_list(), found.n_hidden) == (shown, hidden)
    assert (found.gap is None) == (len(shown) < 2)


def test_a_group_without_a_class_has_no_macro_f1() -> None:
    frame = grouped({"female": 20, "male": 20})
    frame = frame.with_columns(y=pl.when(pl.col("sex") == "male").then(1).otherwise(pl.col("y")).cast(pl.Int8()))
    found = metrics.by_group(frame, "sex")
    assert found.rows["macro_f1"].null_count() == 1 and found.rows["fpr"].null_count() == 1
    assert found.gap is None
