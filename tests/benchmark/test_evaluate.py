"""What is scored, from which inputs, and what is computed again; in a world where positive speakers hum higher."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score

from benchmark import evaluate as module
from benchmark import metrics, probe
from benchmark.baselines import RandomVectors
from benchmark.confounds import Confound, NothingLeftError
from benchmark.score import read_scores
from benchmark.task import Task
from benchmark.units import keyed_hash
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


# --- folds --------------------------------------------------------------------------------------------------


def unheard(world: World) -> World:
    """The same ear, trained on nothing: its few speakers are judged by folds."""
    ear = Ear()
    ear.trained_on = {"corpora": [], "languages": [], "labels": []}
    world.embedders = [ear, RandomVectors(8)]
    return world


def test_folds_judge_everybody_by_probes_that_never_heard_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unheard(world).tasks = world.tasks[:1]
    asked: list[probe.Problem] = []
    honest = probe._answer_groups

    def watched(x: np.ndarray, groups: list[list[probe.Problem]], seeds: Sequence[int]) -> list[probe.Answer]:
        asked.extend(problem for group in groups for problem in group)
        return honest(x, groups, seeds)

    monkeypatch.setattr(probe, "_answer_groups", watched)
    score = pick(world.run(studies=False), "ear", "toy-pd", "probe")
    assert (score.protocol, score.repeats, score.n, score.n_speakers, score.macro_f1) == ("folds", 3, 24, 24, 1.0)
    assert (score.n_train_speakers, score.seeds, score.seeds_of) == (12, [1.0] * 3, "folds")
    assert len(asked) == 2 * 3 * 2  # two embedders, three repeats of two folds
    persons = np.repeat(np.arange(24), 2)
    for problem in asked:
        assert set(persons[problem.train]).isdisjoint(persons[problem.test])
    for first, second in zip(asked[::2], asked[1::2], strict=True):
        assert sorted([*first.test, *second.test]) == list(range(48))
    units = pl.read_parquet(world.root / "predictions/ear/toy-pd.probe.parquet")
    assert set(units["split"]) == {"fold"} and units.height == 24
    assert set(units["folds"].explode()) == {0, 1}
    assert units["score"].to_list() == pytest.approx(units["fold_scores"].list.mean().to_list())
    assert units["predicted"].to_list() == [np.mean(np.array(one) > 0) for one in units["fold_scores"]]


def test_shares_of_the_repeats_flow_into_the_metrics(world: World) -> None:
    unheard(world)
    score = pick(world.run(), "random", "toy-sex", "probe")
    frame = pl.read_parquet(world.root / "predictions/random/toy-sex.probe.parquet")
    assert set((frame["predicted"] * 3).round(9)) == {0.0, 1.0, 2.0, 3.0}
    _, counts = metrics.confusion_by_speaker(frame)
    assert score.macro_f1 == pytest.approx(float(metrics.macro_f1(counts.sum(axis=0))))
    assert frame["probability"].is_between(0, 1).all() and score.brier is not None


def test_one_person_of_a_class_cannot_be_folded_but_asked(world: World) -> None:
    unheard(world).tasks = [task("one", positive="parkinson = 'present' AND utt_id LIKE '000%'")]
    scores = world.run()
    assert pick(scores, "ear", "one", "probe").reason == "one positive speaker only: folds need two"
    zero_shot = pick(scores, "ear", "one", "zero-shot")
    assert (zero_shot.status, zero_shot.n, zero_shot.best_prompt) == ("ok", 13, None)


# --- prompts ------------------------------------------------------------------------------------------------


def test_own_prompts_are_those_of_the_corpus_language(world: World) -> None:
    score = pick(world.run(prompt_language="own"), "ear", "toy-pd", "zero-shot")
    assert (score.prompt_language, score.n_prompts) == ("it", 1)
    world.change("UPDATE t SET language = 'pl'")
    score = pick(world.run(prompt_language="own"), "ear", "toy-pd", "zero-shot")
    assert (score.prompt_language, score.n_prompts) == ("en", 2)


def test_the_honest_prompt_is_chosen_without_the_test_split(world: World) -> None:
    world.tasks = [task("toy-pd", prompts={"en": (("high", "low"), ("low", "high"))})]
    before = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (before.best_prompt, before.best_prompt_macro_f1, before.prompt_max) == (1, 1.0, 1.0)
    flip = "CASE parkinson WHEN 'present' THEN 'absent' ELSE 'present' END"
    world.change(f"UPDATE t SET parkinson = {flip} WHERE split = 'test'")
    after = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (after.best_prompt, after.best_prompt_macro_f1, after.prompt_max) == (1, 0.0, 1.0)
    assert after.best_prompt_macro_f1_low == 0.0 and 0 < after.best_prompt_macro_f1_high < 0.5  # type: ignore[operator]
    frame = pl.read_parquet(world.root / "predictions/ear/toy-pd.zero-shot.parquet")
    assert frame["best_prompt"].to_list() == frame["prompt_1"].to_list()


def test_the_honest_prompt_of_folds_is_chosen_on_the_other_folds(world: World) -> None:
    unheard(world).tasks = [task("toy-pd", prompts={"en": (("even", "odd"), ("high", "low"), ("low", "high"))})]
    score = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (score.best_prompt, score.best_prompt_macro_f1, score.n) == (2, 1.0, 24)


def test_without_a_class_to_choose_on_no_prompt_is_the_best(world: World) -> None:
    world.tasks = [task("toy-pd", negative="parkinson = 'absent' AND split = 'test'")]
    score = pick(world.run(), "ear", "toy-pd", "zero-shot")
    assert (score.status, score.best_prompt, score.best_prompt_macro_f1) == ("ok", None, None)


def test_zero_shot_is_a_probability_where_the_embedder_has_a_scale(world: World) -> None:
    file = world.root / "predictions/ear/toy-clips.zero-shot.parquet"
    assert pick(world.run(), "ear", "toy-clips", "zero-shot").brier is None
    assert pl.read_parquet(file)["probability"].null_count() == 24
    world.embedders[0].logit_scale = 14.0  # type: ignore[union-attr]
    world.embedders[0].fingerprint = "ear 2"  # type: ignore[union-attr]
    assert pick(world.run(), "ear", "toy-clips", "zero-shot").brier is not None
    frame = pl.read_parquet(file)
    assert frame["probability"].to_list() == pytest.approx(expit(14 * frame["score"].to_numpy()))


# --- what is computed again ---------------------------------------------------------------------------------


def changed(world: World, **options: object) -> set[str]:
    """The scores and predictions that a run writes, as <embedder>/<task>.<mode>."""
    before = world.files()
    world.run(**options)
    after = world.files()
    return {name.split("/", 1)[1].rsplit(".", 1)[0] for name in after if after[name] != before.get(name)}


def test_a_new_embedder_task_or_prompt_computes_only_itself(world: World) -> None:
    world.run()
    world.embedders.append(RandomVectors(4, name="another"))
    assert {name.split("/")[0] for name in changed(world)} == {"another"}
    world.tasks.append(task("toy-new"))
    assert {name.split("/")[1].split(".")[0] for name in changed(world)} == {"toy-new"}
    prompts = world.tasks[0].prompts
    world.tasks[0] = replace(world.tasks[0], prompts={**prompts, "it": (("high", "low"),)})
    assert changed(world) == set()  # nobody was asked in Italian
    world.tasks[0] = replace(world.tasks[0], prompts={**prompts, "en": (("low", "high"),)})
    assert changed(world) == {f"{name}/toy-pd.zero-shot" for name in ("ear", "random", "always-yes", "another")}


def test_scores_of_another_version_are_computed_again_and_break_nothing(world: World) -> None:
    world.run()
    folder = world.root / "scores" / "ear"
    whole = json.loads((folder / "toy-pd.probe.json").read_text())
    (folder / "toy-pd.probe.json").write_text(json.dumps({**whole, "of_the_future": 1, "key": "old"}))
    lacking = {name: value for name, value in whole.items() if name != "status"}
    (folder / "toy-clips.probe.json").write_text(json.dumps(lacking))
    (folder / "toy-sex.probe.json").write_text("[]")
    (folder / "toy-pd.zero-shot.json").write_text('{"embedder": "e')
    assert len(read_scores(world.root / "scores")) == 21 - 3
    assert {name for name in changed(world) if name.startswith("ear")} >= {"ear/toy-pd.probe", "ear/toy-sex.probe"}
    assert len(read_scores(world.root / "scores")) == 21


# --- studies ------------------------------------------------------------------------------------------------


def test_other_seeds_and_fewer_speakers_are_studied_where_they_tell_something(world: World) -> None:
    scores = world.run(studies=False)
    assert all(score.seeds is None and score.learning_curve is None for score in scores)
    plain = {(score.embedder, score.task, score.mode): score for score in scores}
    for score in world.run():
        assert score.key == plain[score.embedder, score.task, score.mode].key
        assert score.macro_f1 == plain[score.embedder, score.task, score.mode].macro_f1
        if score.mode == "probe" and score.embedder in ("ear", "mel-statistics"):
            assert score.seeds_of == "inner folds" and len(score.seeds or ()) == module.SEEDS
            assert [point["n_speakers"] for point in score.learning_curve or ()] == [8, 12]
        else:
            assert score.seeds is None and score.learning_curve is None
    assert changed(world) == set()
    assert changed(world, studies=False) == set()


def test_a_free_corpus_is_split_anew_for_the_seeds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.units.FEW", 5)
    score = pick(unheard(world).run(), "ear", "toy-pd", "probe")
    assert (score.protocol, score.seeds_of, score.seeds) == ("split", "split", [1.0] * module.SEEDS)
    assert score.learning_curve and score.learning_curve[-1]["macro_f1"] == score.macro_f1


# --- confounds ----------------------------------------------------------------------------------------------


def test_a_confound_is_judged_like_any_probe_and_says_what_told_it(world: World) -> None:
    def columns(meta_db: Path, shards: Sequence[Path], asked: Task | None) -> pl.DataFrame:
        if asked is not None and asked.name == "toy-sex":
            raise NothingLeftError("nothing is left")
        with duckdb.connect(str(meta_db), read_only=True) as con:
            return con.sql("SELECT utt_id, (parkinson = 'present')::DOUBLE AS device FROM facts").pl()

    world.embedders = [Confound("confound-person", "c1", True, columns), Ear()]
    scores = world.run()
    told = pick(scores, "confound-person", "toy-pd", "probe")
    assert (told.macro_f1, told.told_by, told.learning_curve) == (1.0, {"device": 1.0}, None)
    assert told.chance_p is not None and told.chance_p < 0.01
    assert pick(scores, "confound-person", "toy-sex", "probe").reason == "nothing is left"
    assert pick(scores, "ear", "toy-pd", "probe").told_by is None
    assert changed(world) == set()
    world.change("UPDATE t SET parkinson = 'absent' WHERE utt_id = '0000'")
    assert changed(world) >= {"confound-person/toy-pd.probe"}
