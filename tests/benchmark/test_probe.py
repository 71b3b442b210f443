import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.probe import (
    FOLDS,
    STRENGTHS,
    Problem,
    learning_curve,
    macro_f1_of_units,
    outer_folds,
    probe,
    probe_many,
    probe_seeds,
    repeated_folds,
)


def speakers_and_clips(
    rng: np.random.Generator, effect: float, speakers: int = 40, clips: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors that are a speaker's own place plus a little noise, and ``effect`` of the label on four axes."""
    person = np.repeat(np.arange(speakers), clips)
    y = rng.permutation(np.arange(speakers) % 2)[person].astype(np.int8)
    x = rng.standard_normal((speakers, 32))[person] + 0.1 * rng.standard_normal((len(person), 32))
    x[:, :4] += effect * (y[:, None] - 0.5)
    return x.astype(np.float32), y, person.astype(str)


def macro_f1(effect: float, seed: int) -> float:
    x, y, person = speakers_and_clips(np.random.default_rng(seed), effect)
    test = person.astype(int) >= 28
    decisions = probe(x[~test], y[~test], person[~test], x[test])
    return float(f1_score(y[test], decisions > 0, average="macro"))


def test_identity_alone_scores_chance() -> None:
    assert np.mean([macro_f1(0.0, seed) for seed in range(12)]) == pytest.approx(0.5, abs=0.08)


def test_a_planted_effect_is_found() -> None:
    assert np.mean([macro_f1(3.0, seed) for seed in range(4)]) > 0.9


def everything(x: np.ndarray, y: np.ndarray, person: np.ndarray) -> Problem:
    rows = np.arange(len(x))
    return Problem(rows, y, person, rows)


def test_folds_keep_persons_whole() -> None:
    """Folds that split persons would find weak regularisation best: it remembers who is positive."""
    for seed in range(5):
        x, y, person = speakers_and_clips(np.random.default_rng(seed), 0.0)
        assert probe_many(x, [everything(x, y, person)])[0].strength <= STRENGTHS[1]
    every_clip_its_own_person = np.arange(len(y)).astype(str)
    assert probe_many(x, [everything(x, y, every_clip_its_own_person)])[0].strength == STRENGTHS[-1]


def test_rare_classes_are_weighted() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(200) % 10 == 0).astype(np.int8)
    x = (rng.standard_normal((200, 4)) + 1.5 * y[:, None]).astype(np.float32)
    decisions = probe(x, y, np.arange(200).astype(str), x)
    assert (decisions[y == 1] > 0).mean() > 0.8


def test_one_person_in_a_class_leaves_nothing_to_hold_out() -> None:
    x, y, person = speakers_and_clips(np.random.default_rng(0), 0.0, speakers=2)
    answer = probe_many(x, [everything(x, y, person)])[0]
    assert answer.strength == STRENGTHS[len(STRENGTHS) // 2]
    assert np.isfinite(answer.decisions).all()


# --- the same as scikit-learn -------------------------------------------------------------------------------


def balanced_log_loss(model: GridSearchCV, x: np.ndarray, y: np.ndarray) -> float:
    loss = np.logaddexp(0, np.where(y == 1, -1, 1) * model.decision_function(x))
    return -float(np.mean([loss[y == label].mean() for label in np.unique(y)]))


def grid_search(x: np.ndarray, problem: Problem) -> tuple[np.ndarray, float]:
    """Decisions and C by scikit-learn alone, converged further than by default, where C=1 is off by 0.1."""
    regression = LogisticRegression(class_weight="balanced", max_iter=10_000, tol=1e-6)
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), regression),
        {"logisticregression__C": STRENGTHS},
        scoring=balanced_log_loss,
        cv=StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0),
    )
    grid.fit(x[problem.train].astype(np.float64), problem.y, groups=problem.person)
    return grid.decision_function(x[problem.test]), grid.best_params_["logisticregression__C"]


def related(
    seed: int, effects: list[float], speakers: int, clips: int, width: int
) -> tuple[np.ndarray, list[Problem], list[np.ndarray]]:
    """Vectors as encoders make them: a few axes vary a hundred times more than the rest, and one not at all."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(speakers), clips)
    own = rng.standard_normal((speakers, width))
    labels = [(rng.random(speakers) < 0.4).astype(np.int8) for _ in effects]
    for k, (effect, label) in enumerate(zip(effects, labels, strict=True)):
        own[:, 3 * k : 3 * k + 3] += effect * label[:, None]
    clip = (own[person] + 0.5 * rng.standard_normal((len(person), width))) / np.arange(1, width + 1)
    x = 5 + clip @ np.linalg.qr(rng.standard_normal((width, width)))[0]
    x[:, 7] = 2.5
    train, test = np.flatnonzero(person % 4 > 0), np.flatnonzero(person % 4 == 0)
    problems = [Problem(train, label[person][train], person[train].astype(str), test) for label in labels]
    return x.astype(np.float32), problems, [label[person][test] for label in labels]


@pytest.mark.parametrize(("speakers", "clips", "width"), [(80, 4, 64), (40, 2, 128)])
def test_choice_and_decisions_are_those_of_a_grid_search(speakers: int, clips: int, width: int) -> None:
    x, problems, truth = related(0, [0.0, 1.0, 2.0, 6.0], speakers, clips, width)
    chosen = set()
    for problem, y, answer in zip(problems, truth, probe_many(x, problems), strict=True):
        expected, strength = grid_search(x, problem)
        assert answer.strength == strength
        assert answer.decisions == pytest.approx(expected, abs=0.02, rel=0.01)
        ours, theirs = (f1_score(y, one > 0, average="macro") for one in (answer.decisions, expected))
        assert ours == pytest.approx(theirs, abs=0.001)
        chosen.add(strength)
    assert len(chosen) > 1  # the tasks are not all alike


def test_no_answer_depends_on_what_else_is_asked() -> None:
    x, problems, _ = related(1, [1.0, 2.0], 40, 3, 32)
    together, alone = probe_many(x, problems), [probe_many(x, [problem])[0] for problem in problems]
    for one, other in zip(together, alone, strict=True):
        assert (one.decisions == other.decisions).all() and one.strength == other.strength


def test_seeds_deal_the_inner_folds_anew() -> None:
    x, problems, _ = related(2, [1.0], 40, 3, 32)
    answers = probe_seeds(x, [problems[0]] * 8, range(8))
    assert (answers[3].decisions == probe_many(x, problems, seed=3)[0].decisions).all()
    assert len({answer.strength for answer in answers}) > 1


def test_probability_is_calibrated_to_the_training_prevalence() -> None:
    """A balanced regression says 0.5 where both classes are as likely; taken back, its mean is the prevalence."""
    rng = np.random.default_rng(0)
    y = (np.arange(4000) % 10 == 0).astype(np.int8)
    x = (rng.standard_normal((4000, 6)) + 0.5 * y[:, None]).astype(np.float32)
    answer = probe_many(x, [everything(x, y, (np.arange(4000) % 399).astype(str))])[0]
    assert answer.probability.mean() == pytest.approx(0.1, abs=0.01)
    likely = answer.probability > np.quantile(answer.probability, 0.9)
    assert answer.probability[likely].mean() == pytest.approx(y[likely].mean(), abs=0.05)
    assert (answer.decisions > 0).mean() > 0.2  # which the decisions are not


# --- small corpora ------------------------------------------------------------------------------------------


def test_repeated_folds_judge_each_person_by_others() -> None:
    """On vectors that hold nothing but identity, a probe that heard the person would know the label."""
    shares = []
    for seed in range(6):
        x, y, person = speakers_and_clips(np.random.default_rng(seed), 0.0, speakers=24, clips=4)
        folds = repeated_folds(x, y, person, repeats=3)
        shares.append(((folds.by_repeat > 0) == y).mean())
        assert folds.by_repeat.shape == (3, len(y))
        assert (folds.by_repeat != 0).all()
        assert folds.share == pytest.approx((folds.by_repeat > 0).mean(axis=0))
        assert folds.decisions == pytest.approx(folds.by_repeat.mean(axis=0))
        assert ((folds.probability > 0) & (folds.probability < 1)).all()
    assert np.mean(shares) < 0.6
    x, y, person = speakers_and_clips(np.random.default_rng(0), 3.0, speakers=24, clips=4)
    assert ((repeated_folds(x, y, person, repeats=2).share > 0.5) == y).mean() > 0.9


def test_outer_folds_judge_each_row_once_and_split_nobody() -> None:
    _, y, person = speakers_and_clips(np.random.default_rng(0), 0.0, speakers=13, clips=3)
    parts = outer_folds(y, person, 5, seed=4)
    assert sorted(np.concatenate([held_out for _, held_out in parts])) == list(range(len(y)))
    assert all(not set(person[fit]) & set(person[held_out]) for fit, held_out in parts)


def test_folds_need_two_persons_a_class() -> None:
    y, person = np.array([0, 0, 0, 1], np.int8), np.array(list("aabc"))
    with pytest.raises(ValueError, match="two persons in each class"):
        outer_folds(y, person, 5, seed=0)


def curve_of(effect: float, prevalence: float) -> tuple[list[dict[str, float]], float]:
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(120), 3)
    y = (rng.random(120) < prevalence).astype(np.int8)[person]
    x = (rng.standard_normal((120, 20))[person] + effect * y[:, None] + rng.standard_normal((360, 20)) / 4).astype("f4")
    train, test = np.flatnonzero(person < 80), np.flatnonzero(person >= 80)
    problem = Problem(train, y[train], person[train].astype(str), test)
    answer = probe_many(x, [problem])[0]
    curve = learning_curve(x, [problem], y, person.astype(str), [answer.strength], sizes=(4, 16, 64, 200))
    return curve, macro_f1_of_units(y[test], person[test].astype(str), answer.decisions)


def test_a_learning_curve_rises_to_the_score() -> None:
    curve, score = curve_of(0.5, 0.5)
    assert [row["n_speakers"] for row in curve] == [4, 16, 64, 80]
    assert all(row["low"] <= row["macro_f1"] <= row["high"] for row in curve)
    assert curve[0]["macro_f1"] < curve[-1]["macro_f1"]
    assert curve[-1]["macro_f1"] == curve[-1]["low"] == score


def test_a_rare_class_is_in_every_draw() -> None:
    """With one person in twelve positive, four persons drawn at random would mostly hold none: all would be no."""
    curve, _ = curve_of(2.0, 0.08)
    assert curve[0]["low"] > 0.5


def test_units_average_their_rows() -> None:
    y, unit = np.array([1, 1, 0, 0], np.int8), np.array(list("aabb"))
    assert macro_f1_of_units(y, unit, np.array([3.0, -1.0, 1.0, -3.0])) == 1.0
    assert macro_f1_of_units(y, unit, np.array([1.0, -3.0, 3.0, -1.0])) == 0.0
    once_ill_once_well = np.array(list("aaaa"))
    assert macro_f1_of_units(y, once_ill_once_well, np.array([3.0, -1.0, 1.0, -3.0])) == 1.0


def test_a_wild_test_vector_changes_nothing_for_the_others() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(80) % 2).astype(np.int8)
    train, test = (rng.standard_normal((n, 30)).astype(np.float32) for n in (80, 20))
    train[y == 1, 0] += 1
    calm = probe(train, y, np.arange(80).astype(str), test)[3:]
    for size in (10, 1e3, 1e5):
        wild = np.concatenate([size * test[:3], test[3:]])
        assert probe(train, y, np.arange(80).astype(str), wild)[3:] == pytest.approx(calm, abs=5e-3)
