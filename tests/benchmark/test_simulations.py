"""What the benchmark says where the truth is known; `simulate` prints the same with more repetitions."""

import pytest

from benchmark import confounds, intervals
from tests.benchmark import simulate

SOME = simulate.PEOPLE[::3]


@pytest.mark.parametrize(("size", "repetitions"), [(12, 40), (30, 40), (100, 40), (500, 20)])
def test_intervals_hold_the_truth_as_often_as_they_say(size: int, repetitions: int) -> None:
    found = simulate.coverage(size, repetitions, people=SOME, n_draws=500)["ours"]
    assert 0.93 <= found.mean() <= 0.97
    for unit in ("speaker", "constant", "varying"):
        assert found[[one.unit == unit for one in SOME]].mean() >= 0.91


def test_plain_intervals_do_not() -> None:
    methods = ("percentile over speakers", "percentile over clips")
    speakers, clips = (
        found.mean()
        for found in simulate.coverage(
            12, 20, methods, people=[one for one in SOME if one.unit == "constant"], n_draws=300
        ).values()
    )
    assert clips < 0.75
    assert clips < speakers < 0.92


def test_means_and_differences_hold_the_truth_too() -> None:
    mean, difference = simulate.coverage_of_means(12, 60, corpora=3, n_draws=400)
    assert mean >= 0.88 and difference >= 0.88
    assert 0.91 <= simulate.coverage_of_differences(12, 40, n_draws=400).mean() <= 0.99


def test_who_speaks_is_worth_nothing_and_only_a_split_by_speaker_says_so() -> None:
    found = simulate.identity_only(8)
    assert found.by_speaker == pytest.approx(0.5, abs=0.06)
    assert found.held == 1.0
    assert found.folds_by_speaker == pytest.approx(0.5, abs=0.1)
    assert found.by_clip > 0.7 and found.folds_by_clip > 0.8  # what a leak promises


def test_a_planted_effect_is_found_in_its_size() -> None:
    found = simulate.planted_effect(8)
    assert found.truth == pytest.approx(0.773, abs=0.001)
    assert found.found == pytest.approx(found.truth, abs=0.04)
    assert found.held >= 7 / 8
    assert found.found_by_folds == pytest.approx(found.of_few, abs=0.08)
    assert found.held_by_folds >= 7 / 8


def test_where_there_is_nothing_to_learn_folds_say_so() -> None:
    worlds, persons = 60, 24
    found = simulate.chance_by_folds(worlds, persons)
    noise = (intervals.FOLDED / (3 * persons) / worlds) ** 0.5  # of the mean AUROC
    assert found.auroc == pytest.approx(0.5, abs=3 * noise)
    assert found.told <= 0.05 + 2 * (0.05 * 0.95 / worlds) ** 0.5
    assert found.held >= 0.93 - 2 * (0.07 * 0.93 / worlds) ** 0.5


def test_a_planted_confound_is_flagged() -> None:
    assert simulate.flagged(12, effect=2.0) >= 0.75


def test_without_a_confound_a_flag_is_rare() -> None:
    worlds = 60
    assert simulate.flagged(worlds, effect=0.0) <= confounds.LEVEL + 2 * (0.05 * 0.95 / worlds) ** 0.5


def test_a_planted_leak_is_caught() -> None:
    assert simulate.leaks_caught(3, leaked=1) == 1.0
    assert simulate.leaks_caught(3, leaked=0) == 0.0
