"""What is scored, from which inputs, and what is computed again; in a world where positive speakers hum higher."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score

from benchmark import evaluate as module
from benchmark import metrics, probe
from benchmark.baselines import RandomVectors
from benchmark.confounds import Confound, NothingLeftError
from benchmark.evaluate import keyed_hash, read_scores
from benchmark.task import Task
from tests.benchmark.world import KEY, Ear, World, pick, task


def test_a_planted_effect_is_seen_in_both_modes(world: World) -> None:
    scores = world.run(synthetic=["toy"])
    assert len(scores) == 3 * (2 + 1 + 2 + 2)
    for name, mode in (("ear", "zero-shot"), ("ear", "probe"), ("mel-statistics", "probe")):
        score = pick(scores, name, "toy-pd", mode)
        assert (score.status, score.macro_f1, score.auroc, score.n, score.n_speakers) == ("ok", 1.0, 1.0, 12, 12)
        assert score.synthetic
    zero, probed = (pick(scores, "ear", "toy-clips", mode) for mode in ("zero-shot", "probe"))
    assert (zero.n, zero.n_speakers, zero.n_train_speakers, probed.n_train_speakers) == (24, 12, None, 12)
    assert (zero.prompt_max, zero.n_prompts, zero.prompt_language) == (1.0, 2, "en")
    assert zero.prompt_min == pytest.approx(1 / 3)  # "even" against "odd": nobody is odd
    assert (probed.prompt_min, probed.n_prompts, probed.prompt_language) == (None, None, None)
    assert pick(scores, "ear", "toy-sex", "probe").macro_f1 < 0.8  # type: ignore[operator]
    for mode in ("zero-shot", "probe"):
        constant = pick(scores, "always-yes", "toy-pd", mode)
        assert constant.f1 == constant.always_yes_f1 == pytest.approx(2 / 3)
        assert constant.predicted_positive_rate == 1.0


def test_metrics_can_be_computed_again_from_the_predictions(world: World) -> None:
    for score in world.run():
        frame = pl.read_parquet(world.root / "predictions" / score.embedder / f"{score.task}.{score.mode}.parquet")
        assert score.macro_f1 == pytest.approx(f1_score(frame["y"], frame["predicted"], average="macro"))
        assert frame["predicted"].to_list() == (frame["score"] > 0).cast(pl.Int8).to_list()
        assert (frame["split"] == "test").all()
        assert frame.select("unit_id", "y").is_unique().all()
        prompts = [name for name in frame.columns if name.startswith("prompt_")]
        assert len(prompts) == (score.n_prompts or 0)


def test_no_file_names_a_person(world: World) -> None:
    world.run()
    for file in (*world.root.glob("predictions/*/*"), *world.root.glob("scores/*/*")):
        assert b"Owner" not in file.read_bytes()
    units = pl.read_parquet(world.root / "predictions/ear/toy-pd.probe.parquet")
    assert set(units["unit_id"]) == {keyed_hash(f"toy:Owner {i}", KEY) for i in range(12)}
    assert units.equals(units.with_columns(pl.col("unit_id").alias("person")))


def test_nothing_is_computed_twice(world: World) -> None:
    first = world.run()
    files, asked = world.files(), world.embedders[0].asked  # type: ignore[union-attr]
    assert world.run() == first
    assert world.files() == files
    assert world.embedders[0].asked == asked  # type: ignore[union-attr]
    assert sorted(map(repr, read_scores(world.root / "scores"))) == sorted(map(repr, first))


def test_only_what_is_missing_or_damaged_is_computed(world: World) -> None:
    world.run()
    before = world.files()
    (world.root / "scores/ear/toy-pd.probe.json").unlink()
    (world.root / "predictions/random/toy-sex.zero-shot.parquet").write_bytes(b"cut off")
    world.run()
    after = world.files()
    assert set(after) == set(before)
    changed = {name.split("/", 1)[1].rsplit(".", 1)[0] for name in after if after[name] != before[name]}
    assert changed == {"ear/toy-pd.probe", "random/toy-sex.zero-shot"}


def test_new_labels_change_the_scores_that_use_them(world: World) -> None:
    old = world.run()
    world.change("UPDATE t SET sex = 'male' WHERE utt_id LIKE '000%'")
    changed = {new.task for was, new in zip(old, world.run(), strict=True) if was.key != new.key}
    assert changed == {"toy-sex", "toy-pd", "toy-clips"}  # sex is a subgroup of all
    assert {new.hashes["split"] for new in world.run(split_hash="s2")} == {"s2"}


def test_who_left_the_board_leaves_no_files(world: World) -> None:
    world.run()
    world.embedders, world.tasks = world.embedders[:1], world.tasks[:1]
    world.run(prune=False)
    assert (world.root / "scores/random").exists()
    world.run()
    assert {file.name for file in world.root.glob("scores/*/*")} == {"toy-pd.probe.json", "toy-pd.zero-shot.json"}
    assert [folder.name for folder in (world.root / "predictions").iterdir()] == ["ear"]


def test_flags_come_from_what_the_embedder_was_trained_on(world: World) -> None:
    world.tasks.append(task("toy-old", positive="age_low >= 68 AND sex = 'female'", negative="age_low < 0"))
    world.tasks.append(task("other-als", corpus="other", positive="utt_id = 'als'"))
    scores = world.run()
    flags = {s.task: (s.ood_corpus, s.ood_language, s.ood_label) for s in scores if s.embedder == "ear"}
    assert flags["toy-pd"] == (False, False, False)
    assert flags["toy-old"] == (False, None, False)
    assert flags["other-als"] == (True, None, True)
    untaught = pick(scores, "random", "toy-pd", "probe")
    assert (untaught.ood_corpus, untaught.ood_language, untaught.ood_label) == (True, True, True)
    assert pick(scores, "ear", "toy-pd", "probe").hashes["manifest"] == "m1"


def test_a_task_that_cannot_be_scored_says_why(world: World) -> None:
    world.tasks = [
        task("no-corpus", corpus="absent"),
        task("no-negative", negative="parkinson = 'never'"),
        task("no-train-negative", negative="parkinson = 'absent' AND split = 'test'"),
    ]
    scores = world.run()
    assert pick(scores, "ear", "no-corpus", "probe").reason == "no labelled utterance of corpus absent with audio"
    assert pick(scores, "ear", "no-negative", "zero-shot").reason == "no negative utterance in the test split"
    assert pick(scores, "ear", "no-train-negative", "probe").reason == "no negative utterance in the train split"
    assert pick(scores, "ear", "no-train-negative", "zero-shot").status == "ok"
    for score in scores:
        missing = score.status == "missing"
        assert missing == (score.f1 is None) == (score.n is None) == bool(score.reason)
        stored = json.loads((world.root / f"scores/{score.embedder}/{score.task}.{score.mode}.json").read_text())
        assert stored["status"] == score.status
    assert not (world.root / "predictions/ear/no-corpus.probe.parquet").exists()


def test_utterances_without_audio_are_counted(world: World) -> None:
    world.change("INSERT INTO t SELECT 'silent', * EXCLUDE (utt_id) FROM t WHERE utt_id = '0000'")
    score = pick(world.run(), "ear", "toy-clips", "probe")
    assert (score.n, score.n_without_audio) == (24, 1)


def test_a_speaker_with_both_labels_is_two_units_of_one_person(world: World) -> None:
    world.change("UPDATE t SET parkinson = 'absent' WHERE utt_id = '0000'")
    score = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (score.n, score.n_speakers) == (13, 12)


def test_prompts_in_the_wanted_language(world: World) -> None:
    score = pick(world.run(prompt_language="it"), "ear", "toy-pd", "zero-shot")
    assert (score.prompt_language, score.n_prompts) == ("it", 1)


def test_two_embedders_of_one_name_are_refused(world: World) -> None:
    world.embedders = [RandomVectors(8), RandomVectors(4)]
    with pytest.raises(ValueError, match="share a name"):
        world.run()


def test_the_code_is_part_of_the_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.run()[0]
    monkeypatch.setattr(module, "code_hash", lambda: "other code")
    assert world.run()[0].key != old.key
