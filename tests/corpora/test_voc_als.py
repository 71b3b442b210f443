from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from pipelines.corpora._base import RecipeError
from pipelines.corpora.voc_als import HEADER, scan
from pipelines.schema import Tables


@pytest.mark.trap("voc_als.no-connected-speech", "voc_als.header-in-row-two")
def test_counts(tables: Tables) -> None:
    assert (tables.speakers.height, tables.utterances.height) == (24, 72)
    assert dict(tables.utterances["speech_task"].value_counts().iter_rows()) == {"vowel": 48, "syllables": 24}
    assert tables.utterances["age"].null_count() == 0


def test_als_has_both_sides_in_each_sex(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("attribute") == "als").join(tables.speakers, on="speaker_id")
    counts = {(row[0], row[1]): row[2] for row in states.group_by("value", "sex").len().iter_rows()}
    assert counts == {("present", "F"): 8, ("present", "M"): 8, ("absent", "F"): 4, ("absent", "M"): 4}
    healthy = tables.observations.filter(pl.col("attribute") == "healthy")
    assert set(healthy["speaker_id"]) == set(states.filter(pl.col("value") == "absent")["speaker_id"])


@pytest.mark.trap("voc_als.dash-of-controls")
def test_score_of_a_control_is_absent_not_zero(tables: Tables) -> None:
    scores = tables.observations.filter(pl.col("attribute") == "alsfrs_r")
    assert scores["speaker_id"].str.contains(":PZ").all() and scores.height == 16
    assert scores["value_num"].min() > 0 and scores["value_num"].n_unique() > 3
    assert scores["instrument"].unique().to_list() == ["ALSFRS-R"]


@pytest.mark.trap("voc_als.dash-of-controls", "voc_als.trailing-blanks", "voc_als.king-stage-words")
def test_every_clinical_column_is_a_patients(tables: Tables) -> None:
    assert "FVC% " in HEADER
    by_attribute = dict(tables.observations.group_by("attribute").len().iter_rows())
    assert by_attribute == {"als": 24, "healthy": 8} | dict.fromkeys(
        ("alsfrs_r", "alsfrs_speech", "alsfrs_swallowing", "fvc_percent", "king_stage"), 16
    )
    speech = tables.observations.filter(pl.col("attribute") == "alsfrs_speech")
    assert speech["value_num"].is_between(0, 4).all() and set(speech["instrument"]) == {"ALSFRS-R"}
    lung = tables.observations.filter(pl.col("attribute") == "fvc_percent")
    assert set(lung["value_num"]) == {84.0, 66.0} and set(lung["unit"]) == {"%"}
    stages = tables.observations.filter(pl.col("attribute") == "king_stage")["value"]
    assert set(stages) == {"2", "4A/B"}


@pytest.mark.trap("voc_als.duration-without-unit")
@pytest.mark.parametrize(
    ("name", "years"),
    [("DiseaseDuration", []), ("DiseaseDuration (months)", [1.5]), ("DiseaseDuration [years]", [18.0])],
)
def test_duration_is_read_where_its_unit_is_stated(tmp_path: Path, name: str, years: list[float]) -> None:
    header: list[object] = [name if column == "DiseaseDuration" else column for column in HEADER]
    write_corpus(tmp_path, header, [["PZ001", "ALS", "F", 63, 82, 38, 3, 4, 2, "2", 18]])
    found = scan(tmp_path).observations.filter(pl.col("attribute") == "years_since_diagnosis")
    assert found["value_num"].to_list() == years


def test_clinical_columns_may_be_absent_or_out_of_range(tmp_path: Path) -> None:
    header: list[object] = ["ID", "Category", "Sex", "Age", "ALSFRS-R_TotalScore", "ALSFRS-R_SpeechSubscore"]
    write_corpus(tmp_path, header, [["PZ001", "ALS", "F", 63, 38, 5]])
    tables = scan(tmp_path)
    assert set(tables.observations["attribute"]) == {"als", "alsfrs_r"}
    assert tables.rejects["reason"].to_list() == ["alsfrs-r_speechsubscore outside 0..4"]


@pytest.mark.trap("voc_als.sand-ids", "voc_als.ids-not-contiguous")
def test_every_trap_is_a_reject(tables: Tables) -> None:
    assert dict(tables.rejects.select("path", "reason").iter_rows()) == {
        "VOC-ALS/phonationA/ID000_phonationA.wav": "name is not <CT|PZ><3 digits>_<task>.wav",
        "VOC-ALS/phonationA/CT905_phonationA.wav": "recording without a usable row in VOC-ALS.xlsx",
        "VOC-ALS.xlsx:27": "no recording of this subject, or an earlier row of it",
        "VOC-ALS.xlsx:28": "category and subject id contradict each other",
    }


@pytest.mark.trap("voc_als.age-column")
def test_odd_rows_are_rejected_and_the_age_column_may_be_spelt_otherwise(tmp_path: Path) -> None:
    header: list[object] = [name if name != "Age (years)" else "AGE" for name in HEADER]
    lines: list[list[object]] = [
        ["PZ001", "ALS", "F", 63, 82, 99],
        ["XX002", "ALS", "F", 63, 82, 38],
        ["PZ001", "ALS", "F", 63, 82, 38],
    ]
    write_corpus(tmp_path, header, lines)
    tables = scan(tmp_path)
    assert tables.utterances["age"].to_list() == [63.0]
    assert tables.observations.filter(pl.col("attribute") == "alsfrs_r").height == 0
    assert dict(tables.rejects.select("path", "reason").iter_rows()) == {
        "VOC-ALS.xlsx:3": "alsfrs-r_totalscore outside 0..48",
        "VOC-ALS.xlsx:4": "subject id starts neither with CT nor with PZ",
        "VOC-ALS.xlsx:5": "no recording of this subject, or an earlier row of it",
    }


def test_a_sheet_without_the_row_of_headings_is_read(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [["PZ001", "ALS", "F", 63, 82, 38]], headings=[])
    assert scan(tmp_path).speakers["sex"].to_list() == ["F"]


def test_other_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no VOC-ALS\.xlsx"):
        scan(tmp_path)


def test_missing_audio_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [])
    (tmp_path / "phonationA" / "PZ001_phonationA.wav").unlink()
    with pytest.raises(RecipeError, match=r"phonationA/CT001_phonationA\.wav"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("Sex", "no column sex"),
        ("ALSFRS-R_TotalScore", "no column alsfrs-r_totalscore"),
        ("Age (years)", "starts with age"),
    ],
)
def test_missing_column_names_file_and_column(tmp_path: Path, gone: str, said: str) -> None:
    header: list[object] = [name if name != gone else "other" for name in HEADER]
    write_corpus(tmp_path, header, [["PZ001", "ALS", "F", 63, 82, 38]])
    with pytest.raises(RecipeError, match=rf"VOC-ALS\.xlsx.*{said}"):
        scan(tmp_path)


def test_missing_sheet_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [], sheet="Foglio1")
    with pytest.raises(RecipeError, match=r"VOC-ALS\.xlsx.*VOC-ALS_Data"):
        scan(tmp_path)


def test_empty_table_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [])
    with pytest.raises(RecipeError, match=r"VOC-ALS\.xlsx: no rows"):
        scan(tmp_path)


def write_corpus(
    root: Path,
    header: list[object],
    lines: list[list[object]],
    sheet: str = "VOC-ALS_Data",
    headings: list[list[object]] | None = None,
) -> None:
    (root / "phonationA").mkdir()
    (root / "phonationA" / "PZ001_phonationA.wav").touch()
    with xlsxwriter.Workbook(root / "VOC-ALS.xlsx") as book:
        page = book.add_worksheet(sheet)
        for line, cells in enumerate([*([["Demographic data"]] if headings is None else headings), header, *lines]):
            page.write_row(line, 0, cells)
