"""Two runs side by side: paired where the speakers are the same, and said why not where they are not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from benchmark.compare import CompareError, Comparison, compare, describe
from benchmark.files import as_parquet, file_hash
from benchmark.score import Score, as_json, read_scores
from slap_model.store import write
from tests.benchmark.made_results import SPEAKERS, TASKS, keep, made_predictions, made_results, made_score


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    made_results(folder)
    return folder


@pytest.fixture
def other(here: Path, tmp_path: Path) -> Path:
    """The same run, copied."""
    return Path(shutil.copytree(here, tmp_path / "other"))


def only(found: list[Comparison]) -> Comparison:
    (one,) = found
    return one


def change(warehouse: Path, embedder: str, **changes: object) -> None:
    """Write all scores of an embedder again, changed."""
    for score in read_scores(warehouse / "scores"):
        if score.embedder == embedder:
            file = warehouse / "scores" / embedder / f"{score.task}.{score.mode}.json"
            write(file, as_json(replace(score, **changes)))  # type: ignore[arg-type]


def rewrite(warehouse: Path, score: Score, frame: pl.DataFrame) -> None:
    """Other predictions of a score, with their hash in it."""
    place = f"{score.embedder}/{score.task}.{score.mode}"
    write(warehouse / "predictions" / f"{place}.parquet", as_parquet(frame))
    digest = file_hash(warehouse / "predictions" / f"{place}.parquet")
    changed = replace(score, hashes={**score.hashes, "predictions": digest})
    write(warehouse / "scores" / f"{place}.json", as_json(changed))


def test_two_embedders_of_this_warehouse(here: Path) -> None:
    found = only(compare("slap", "random", here))
    (mode,) = found.modes
    assert (mode.mode, len(mode.tasks), mode.only_a, mode.only_b) == ("probe", 3, [], [])
    assert mode.mean is not None
    difference, low, high = mode.mean
    scores = {(s.embedder, s.task): s.macro_f1 or 0 for s in read_scores(here / "scores")}
    expected = sum(scores["slap", task.name] - scores["random", task.name] for task in TASKS) / 3
    assert difference == pytest.approx(expected) and 0 < low < difference < high
    assert [one.difference for one in mode.tasks] == sorted((one.difference for one in mode.tasks), reverse=True)
    assert {one.verdict for one in mode.tasks} == {"A above"}
    assert only(compare("random", "slap", here)).modes[0].mean == pytest.approx((-difference, -high, -low))
    text = describe(found)
    assert "weights: " in text and "A above" in text and "Holm's correction for 3 comparisons" in text


def test_the_verdict_is_after_the_correction(here: Path) -> None:
    """A difference that is sure alone need not be so among many."""
    one = next(o for o in only(compare("slap", "random", here)).modes[0].tasks if o.task == "ewa_sex")
    weak = replace(one, p_adjusted=0.06)
    assert weak.low is not None and weak.low > 0 and weak.verdict == "not separable"


def test_embedders_that_predict_alike_are_not_separable(here: Path, other: Path) -> None:
    found = only(compare(f"{here}:slap", f"{other}:slap", here))
    assert {one.verdict for one in found.modes[0].tasks} == {"not separable"}
    assert found.modes[0].mean == (0, 0, 0)
    assert "nothing that is recorded" in describe(found)


def test_whole_warehouses_are_compared_embedder_by_embedder(here: Path, other: Path) -> None:
    shutil.rmtree(other / "scores" / "control")
    for b in (other, other / "scores"):
        found = compare(str(here), str(b), here)
        assert [(one.a.embedder, one.b.embedder) for one in found] == [("random", "random"), ("slap", "slap")]
        assert found[0].b.warehouse == other


def test_the_other_side_has_the_same_name_where_none_is_said(here: Path, other: Path) -> None:
    for a, b in (("slap", str(other)), (str(here), f"{other}:slap")):
        found = only(compare(a, b, here))
        assert (found.a.embedder, found.b.embedder) == ("slap", "slap")
        assert (found.a.warehouse, found.b.warehouse) == (here, other)


def test_what_differs_in_provenance_is_said(here: Path, other: Path) -> None:
    hashes = {"manifest": "m2", "split": "split-1", "code": "code-2", "task": "task-1", "data": "data-1"}
    change(other, "slap", fingerprint="f2", synthetic=True)
    for score in read_scores(other / "scores"):
        if score.embedder == "slap":
            mine = hashes | ({"task": "task-2"} if score.task == "ipvs_sex" else {})
            file = other / "scores" / "slap" / f"{score.task}.probe.json"
            write(file, as_json(replace(score, hashes={**score.hashes, **mine})))
    said = only(compare("slap", str(other), here)).provenance
    assert [line.partition(":")[0] for line in said] == ["weights", "manifest", "code", "task", "voices"]
    assert "none and m2" in said[1] and "code-1 and code-2" in said[2]
    assert "of 1 task: ipvs_sex" in said[3]


def test_other_speakers_are_not_paired(here: Path, other: Path) -> None:
    scores = {s.task: s for s in read_scores(other / "scores") if s.embedder == "slap"}
    fewer = made_predictions(TASKS[0], 2.0, [0], SPEAKERS // 2)
    rewrite(other, scores["ewa_sex"], fewer)
    strangers = made_predictions(TASKS[1], 2.0, [1]).with_columns(pl.col("person", "unit_id").str.replace("^", "x"))
    rewrite(other, scores["ewa_age"], strangers)
    turned = pl.read_parquet(other / "predictions/slap/ipvs_sex.probe.parquet").with_columns(y=1 - pl.col("y"))
    rewrite(other, scores["ipvs_sex"], turned)
    found = only(compare("slap", str(other), here)).modes[0]
    assert {one.task: one.verdict for one in found.tasks} == {
        "ewa_sex": "other speakers: 40 and 20, 20 in both",
        "ewa_age": "no speaker in common: other people, or hashed with another id key",
        "ipvs_sex": "the same 40 speakers with other units or labels",
    }
    assert found.mean is None
    assert all(one.low is None for one in found.tasks)
    text = describe(only(compare("slap", str(other), here)))
    assert "no task can be compared on the same speakers" in text and "Holm" not in text


def test_another_protocol_and_lost_predictions_are_said(here: Path, other: Path) -> None:
    scores = {s.task: s for s in read_scores(other / "scores") if s.embedder == "slap"}
    more = made_predictions(TASKS[0], 2.0, [0], SPEAKERS + 2)
    rewrite(other, replace(scores["ewa_sex"], protocol="folds"), more)
    (other / "predictions/slap/ewa_age.probe.parquet").unlink()
    found = only(compare("slap", str(other), here)).modes[0]
    said = {one.task: one.verdict for one in found.tasks}
    assert said["ewa_sex"] == "A by split, B by folds" and said["ewa_age"] == "predictions of B absent or changed"
    assert said["ipvs_sex"] == "not separable" and found.mean == (0, 0, 0)
    assert "over the 1 tasks" in describe(only(compare("slap", str(other), here)))


def test_tasks_that_one_side_lacks_are_named(here: Path) -> None:
    (here / "scores/random/ewa_age.probe.json").unlink()
    keep(here, made_score(TASKS[2], "control"), None)  # missing: no numbers
    (mode,) = only(compare("random", "control", here)).modes
    assert (mode.only_a, mode.only_b, len(mode.tasks)) == (["ipvs_sex"], ["ewa_age"], 1)
    assert "only A has 1 task: ipvs_sex" in describe(only(compare("random", "control", here)))


def test_errors_say_what_there_is(here: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match=r"neither a warehouse .* nor an embedder .*slap.*<folder>:<embedder>"):
        compare("slab", "random", here)
    with pytest.raises(CompareError, match="both sides are the same"):
        compare("slap", "slap", here)
    with pytest.raises(CompareError, match="both sides are the same"):
        compare(str(here), str(here), here)
    with pytest.raises(CompareError, match=r"no embedder 'mel' in .*; it has control, random, slap"):
        compare("slap", f"{other}:mel", here)
    with pytest.raises(CompareError, match="it has no scores"):
        compare("slap", "random", tmp_path / "empty")
    shutil.rmtree(other / "scores" / "slap")
    shutil.rmtree(other / "scores" / "random")
    for file in (other / "scores" / "control").iterdir():
        file.write_text('{"of": "another version"}')
    with pytest.raises(CompareError, match="another version of the benchmark"):
        compare("slap", str(other), here)
    made_results(tmp_path / "third", hears={"mel": 1.0})
    with pytest.raises(CompareError, match="no embedder is in both"):
        compare(str(here), str(tmp_path / "third"), here)
