import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmark.probe import STRENGTHS, choose_strength, probe


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


def test_folds_keep_persons_whole() -> None:
    """Folds that split persons would find weak regularisation best: it remembers who is positive."""
    strengths = [choose_strength(*speakers_and_clips(np.random.default_rng(seed), 0.0)) for seed in range(5)]
    assert max(strengths) <= STRENGTHS[1]
    x, y, _ = speakers_and_clips(np.random.default_rng(0), 0.0)
    every_clip_its_own_person = np.arange(len(y)).astype(str)
    assert choose_strength(x, y, every_clip_its_own_person) == STRENGTHS[-1]


def test_rare_classes_are_weighted() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(200) % 10 == 0).astype(np.int8)
    x = (rng.standard_normal((200, 4)) + 1.5 * y[:, None]).astype(np.float32)
    decisions = probe(x, y, np.arange(200).astype(str), x)
    assert (decisions[y == 1] > 0).mean() > 0.8


def test_one_person_in_a_class_leaves_nothing_to_hold_out() -> None:
    x, y, person = speakers_and_clips(np.random.default_rng(0), 0.0, speakers=2)
    assert choose_strength(x, y, person) == STRENGTHS[len(STRENGTHS) // 2]
    assert np.isfinite(probe(x, y, person, x)).all()
