"""Who is judged and who is learned from: in a world where positive speakers hum higher."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark import evaluate, units
from benchmark.units import LeakError, TaskData
from tests.benchmark.world import KEY, World


def load(world: World, *trained_on: str) -> list[TaskData]:
    return units.load(world.tasks, world.root / "meta.db", world.shards, KEY, trained_on)


def test_a_person_on_both_sides_is_refused_before_anything_is_scored(world: World) -> None:
    world.change("UPDATE t SET split = 'train' WHERE utt_id IN ('0000', '0010')")
    with pytest.raises(LeakError, match="task toy-pd: persons of corpus toy in both train and test: 2") as error:
        world.run()
    assert "Owner" not in str(error.value)
    assert not (world.root / "scores").exists()


def test_dev_and_train_are_one_side(world: World) -> None:
    world.change("UPDATE t SET split = 'dev' WHERE utt_id = '0200'")
    assert len(load(world)) == 3


def test_few_test_persons_of_a_free_corpus_are_judged_by_folds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(world)[0]
    assert (data.free, data.protocol, len(data.judged)) == (True, "folds", 48)
    monkeypatch.setattr(units, "FEW", 12)
    data = load(world)[0]
    assert (data.free, data.protocol, len(data.judged)) == (True, "split", 24)


def test_a_split_is_kept_where_it_is_the_owners_or_a_model_heard_a_person(world: World) -> None:
    assert [data.protocol for data in load(world, "toy")] == ["split"] * 3
    assert load(world, "other")[0].protocol == "folds"
    same = "SELECT * REPLACE ('x' || utt_id AS utt_id, 'other' AS corpus) FROM t WHERE person_id = 'toy:Owner 20'"
    world.change(f"INSERT INTO t {same}")
    assert load(world, "other")[0].protocol == "split"  # one of its persons was heard in the other corpus
    assert load(world)[0].protocol == "folds"
    world.change("UPDATE person_split SET source = 'official' WHERE person_id = 'toy:Owner 1'")
    assert load(world)[0].protocol == "split"


def test_the_protocol_is_the_same_for_every_embedder_of_a_run(world: World) -> None:
    assert {score.protocol for score in world.run()} == {"split"}  # the ear was trained on the corpus
    world.embedders = world.embedders[1:]
    assert {score.protocol for score in world.run()} == {"folds"}
    assert evaluate.corpora_heard(world.embedders) == frozenset()


def test_units_average_the_utterances_of_a_speaker_and_label(world: World) -> None:
    world.change("UPDATE t SET parkinson = 'absent' WHERE utt_id = '0000'")
    data = load(world, "toy")[0]
    assert data.units.frame.height == 13
    values = data.units.mean(np.stack([data.y[data.judged], np.arange(24)]))
    assert values[0].tolist() == data.units.frame["y"].to_list()
    assert values[1].sum() == pytest.approx(0 + 1 + sum(2 * k + 0.5 for k in range(1, 12)))
    clips = load(world, "toy")[1]
    assert clips.units.frame["unit_id"].to_list() == clips.utterances[clips.judged]["utt_id"].to_list()


def test_other_splits_deal_whole_persons_in_the_same_sizes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "FEW", 5)
    data = load(world)[0]
    splits = data.other_splits(4)
    assert len({test.tobytes() for _, test in splits}) == 4
    for train, test in splits:
        assert set(data.person[train]).isdisjoint(data.person[test])
        assert (len(set(data.person[train])), len(set(data.person[test]))) == (12, 12)
        assert data.y[test].mean() == 0.5
    one = replace(data, utterances=data.utterances.filter(pl_in(data, 1)))
    assert one.other_splits(4) == []  # one person a class: nobody to deal out


def pl_in(data: TaskData, per_class: int) -> np.ndarray:
    kept = [p for label in (0, 1) for p in np.unique(data.person[data.y == label])[:per_class]]
    return np.isin(data.person, kept)


def test_the_own_language_is_the_commonest(world: World) -> None:
    world.change("UPDATE t SET language = 'it-CH' WHERE split = 'test'")
    world.change("UPDATE t SET language = 'de' WHERE utt_id LIKE '02%'")
    assert load(world)[0].own_language() == "it"
    world.change("UPDATE t SET language = NULL")
    assert load(world)[0].own_language() == ""
