"""The exports are read back by the programs that they are for."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from benchmark import citation, export
from benchmark.citation import Source
from benchmark.results import Results
from benchmark.score import Score, read_scores
from tests.benchmark.made_results import TASKS, keep, made_predictions, made_results, made_score, made_task

SOURCES = {
    "ewa_db": Source(
        "EWA-DB: Early Warning", 'Rusko et al.: "Slovak" 50 % & more. Data 11, 1320 (2024).', "https://ewa.org"
    ),
    "ipvs": Source("Italian Parkinson's Voice", "Dimauro, 2019", ""),
    "absent": Source("Never scored", "Nobody, 2001"),
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    made_results(tmp_path)
    keep(tmp_path, made_score(made_task("svd_voice", "svd"), "slap"), None)
    return write(tmp_path)


def write(folder: Path, **options: Any) -> Path:
    tasks = [*TASKS, made_task("svd_voice", "svd")]
    results = Results(read_scores(folder / "scores"), folder / "predictions", tasks)
    out = folder / "reports"
    usual: dict[str, Any] = {"absent": {"svd": "not in SLAP_RAW"}, "sources": SOURCES}
    export.write(results, out, **{**usual, **options})
    return out


def test_every_score_is_a_row_with_all_its_fields(out: Path, tmp_path: Path) -> None:
    scores = read_scores(tmp_path / "scores")
    frame = pl.read_parquet(out / "leaderboard.parquet")
    assert frame.height == len(scores) == 10
    assert {one.name for one in fields(Score)} - {"hashes"} <= set(frame.columns)
    row = frame.filter(embedder="slap", task="ipvs_sex").row(0, named=True)
    (score,) = (one for one in scores if (one.embedder, one.task) == ("slap", "ipvs_sex"))
    assert (row["macro_f1"], row["macro_f1_low"], row["n"]) == (score.macro_f1, score.macro_f1_low, 40)
    assert row["hash_predictions"] == score.hashes["predictions"] != ""
    with (out / "leaderboard.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and list(rows[0]) == frame.columns
    assert {row["status"] for row in rows if row["task"] == "svd_voice"} == {"missing"}
    assert next(row for row in rows if row["task"] == "svd_voice")["f1"] == ""


def test_lists_and_mappings_survive(tmp_path: Path) -> None:
    curve = [{"n_speakers": 8, "macro_f1": 0.5, "low": 0.4, "high": 0.6}]
    score = replace(made_score(TASKS[0], "slap"), seeds=(0.5, 0.6), learning_curve=curve)
    frame = export.table([score])
    assert frame["seeds"].to_list() == [[0.5, 0.6]]
    assert frame["learning_curve"].to_list() == [curve]
    (row,) = csv.DictReader(export._as_csv(frame).decode().splitlines())
    assert json.loads(row["learning_curve"]) == curve
    assert export.table([]).schema == frame.schema


def test_the_json_has_means_comparisons_flags_and_what_is_absent(tmp_path: Path) -> None:
    made_results(tmp_path)
    heard = made_predictions(TASKS[2], 4.0, [7])
    told = {"chance_p": 1e-6, "told_by": {"native sample rate": 0.99}}
    keep(tmp_path, made_score(TASKS[2], "confound-recording", **told), heard)
    scores = read_scores(tmp_path / "scores")
    transfers = pl.DataFrame({"embedder": ["slap"], "name": ["sex"], "f1": [0.5]})
    out = tmp_path / "reports"
    results = Results(scores, tmp_path / "predictions", TASKS)
    export.write(results, out, absent={"svd": "no"}, sources={}, transfers=transfers)
    held = json.loads((out / "leaderboard.json").read_text())
    assert held["absent"] == {"svd": "no"} and held["transfers"][0]["f1"] == 0.5
    assert [flag["confound"] for flag in held["flags"]["ipvs_sex"]] == ["confound-recording"]
    assert len(held["scores"]) == 10 and held["synthetic"] is False
    mean = next(row for row in held["means"] if (row["embedder"], row["stratum"]) == ("slap", "all"))
    of_slap = [one.macro_f1 or 0 for one in scores if one.embedder == "slap"]
    assert mean["macro_f1"] == pytest.approx(sum(of_slap) / 3)
    theirs = {row["other"]: row for row in held["comparisons"]}
    assert set(theirs) == {"control", "random"}, "confounds are not compared"
    assert theirs["random"]["verdict"] == "above" and theirs["random"]["difference"] > 0


def test_mteb_files_have_the_shape(out: Path) -> None:
    """What `mteb.TaskResult` and `mteb.ModelMeta` require, for where mteb is not installed."""
    results = sorted((out / "mteb" / "results").glob("*/*/*.probe.json"))
    assert len(results) == 9  # what is missing has no file
    for path in results:
        held = json.loads(path.read_text())
        assert set(held) >= {"dataset_revision", "task_name", "mteb_version", "scores", "evaluation_time"}
        assert held["task_name"] == path.stem
        ((split, (entry,)),) = held["scores"].items()
        assert split == "test" and 0 <= entry["main_score"] <= 1 and entry["f1"] == entry["main_score"]
        assert entry["hf_subset"] == "default" and entry["languages"] == ["slk-Latn"]
        card = json.loads((path.parent / "model_meta.json").read_text())
        assert card["name"].replace("/", "__") == path.parent.parent.name and card["revision"] == path.parent.name


@pytest.mark.slow
def test_mteb_reads_them(out: Path, tmp_path: Path) -> None:
    mteb = pytest.importorskip("mteb")
    from mteb.models.model_meta import ModelMeta

    found = mteb.ResultCache(out / "mteb").load_results(include_remote=False)
    assert {(one.model_name, len(one.task_results)) for one in found.model_results} == {
        ("slap-benchmark/control", 3),
        ("slap-benchmark/random", 3),
        ("slap-benchmark/slap", 3),
    }
    scores = {(s.embedder, f"{s.task}.{s.mode}"): s.macro_f1 for s in read_scores(tmp_path / "scores") if s.f1}
    for one in found.model_results:
        for result in one.task_results:
            expected = scores[one.model_name.partition("/")[2], result.task_name]
            assert result.get_score() == pytest.approx(expected)
    for card in out.rglob("model_meta.json"):
        assert ModelMeta(**json.loads(card.read_text())).revision == card.parent.name


def test_what_left_the_board_leaves_the_exports(out: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "scores").glob("random/*"):
        file.unlink()
    before = (out / "leaderboard.json").read_bytes()
    assert write(tmp_path) == out
    assert (out / "leaderboard.json").read_bytes() != before
    assert not list(out.glob("mteb/results/*random*"))
    assert not list(out.rglob(".*")), "unfinished files are left"


def test_the_same_input_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    write(tmp_path)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_no_person_is_in_the_exports(out: Path, tmp_path: Path) -> None:
    persons = pl.read_parquet(tmp_path / "predictions/slap/ewa_sex.probe.parquet")["person"].to_list()
    text = "".join(path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".csv", ".bib", ".cff"))
    assert not any(person in text for person in persons)


def test_the_citations_name_paper_software_and_scored_corpora(out: Path) -> None:
    held = yaml.safe_load((out / "CITATION.cff").read_text())
    assert (held["cff-version"], held["type"]) == ("1.2.0", "software")
    assert [one["title"] for one in held["references"]] == [
        citation.PAPER,
        "EWA-DB: Early Warning",
        "Italian Parkinson's Voice",
    ]
    assert all(one["authors"] for one in held["references"])
    assert "url" not in held["references"][2]
    bib = (out / "citation.bib").read_text()
    assert re.findall(r"^@\w+\{(.*),$", bib, re.M) == ["slap2025", "slap-benchmark", "corpus-ewa_db", "corpus-ipvs"]
    assert r"50 \% \& more" in bib and "year = {2024}" in bib and "2510.01860" in bib
    assert bib.count("{") == bib.count("}")


def test_the_citation_file_of_the_software_names_the_same_work() -> None:
    software = yaml.safe_load((Path(__file__).parents[2] / "benchmark" / "CITATION.cff").read_text(encoding="utf-8"))
    report = yaml.safe_load(citation.cff({}))
    for name in ("cff-version", "title", "type", "license", "authors", "references"):
        assert software[name] == report[name]
