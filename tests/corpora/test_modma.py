from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import soundfile
import xlsxwriter

from pipelines import audio
from pipelines.corpora._base import RecipeError
from pipelines.corpora._read import read_table
from pipelines.corpora.modma import HEADER, WORKBOOK, scan
from pipelines.schema import Tables

BOOK = f"audio_lanzhou_2015/{WORKBOOK}"


def test_counts(tables: Tables) -> None:
    assert (tables.speakers.height, tables.utterances.height) == (32, 96)
    tasks = dict(tables.utterances["speech_task"].value_counts().iter_rows())
    assert tasks == {"spontaneous": 32, "read": 32, "words": 32}
    assert tables.utterances["age"].is_between(18, 52).all()


@pytest.mark.trap("modma.very-low-level")
def test_recordings_have_the_owners_format_and_level(root: Path, tables: Tables) -> None:
    first = root / tables.utterances["path"][0]
    assert (soundfile.info(first).samplerate, soundfile.info(first).subtype) == (44100, "PCM_24")
    wave, _ = soundfile.read(first)
    assert 0.0005 < abs(wave).max() < 0.02


def test_depression_is_the_type_in_both_sexes(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("attribute") == "depression").join(tables.speakers, on="speaker_id")
    counts = {(row[0], row[1]): row[2] for row in states.group_by("value", "sex").len().iter_rows()}
    assert counts == {(value, sex): 8 for value in ("present", "absent") for sex in "FM"}
    assert ((states["value"] == "present") == states["speaker_id"].str.contains(":0201")).all()
    healthy = tables.observations.filter(pl.col("attribute") == "healthy")
    assert set(healthy["speaker_id"]) == set(states.filter(pl.col("value") == "absent")["speaker_id"])


@pytest.mark.parametrize(
    ("attribute", "instrument", "cut", "n"),
    [("phq9", "PHQ-9", 10, 31), ("gad7", "GAD-7", 10, 31), ("psqi", "PSQI", 6, 32)],
)
def test_scales_lie_on_both_sides_of_the_cut(tables: Tables, attribute: str, instrument: str, cut: int, n: int) -> None:
    scores = tables.observations.filter(pl.col("attribute") == attribute)
    assert scores.height == n and scores["instrument"].unique().to_list() == [instrument]
    assert scores.filter(pl.col("value_num") >= cut).height >= 4
    assert scores.filter(pl.col("value_num") < cut).height >= 4


@pytest.mark.trap("modma.full-width-parentheses")
def test_education_is_read_past_the_full_width_parentheses(tables: Tables) -> None:
    years = tables.observations.filter(pl.col("attribute") == "education_years")
    assert years["value_num"].to_list() == [16.0] * 32


@pytest.mark.trap("modma.two-prefixes-of-controls", "modma.unreadable-files", "modma.negative-life-events")
def test_every_trap_is_a_reject(tables: Tables) -> None:
    assert dict(tables.rejects.select("path", "reason").iter_rows()) == {
        f"{BOOK}:2": "PHQ-9 outside 0..27",
        f"{BOOK}:34": "no folder of this subject",
        f"{BOOK}:35": "type and subject id contradict each other",
        "audio_lanzhou_2015/02010002/24.wav": "empty file",
        "audio_lanzhou_2015/02010002/30.wav": "name is not 01.wav to 29.wav",
        "audio_lanzhou_2015/02020999": "folder without a usable row in the workbook",
    }


@pytest.mark.trap("modma.ids-without-leading-zero")
def test_broken_and_repeated_ids_are_rejected(tmp_path: Path) -> None:
    lines: list[list[object]] = [
        [2010002, "MDD", 33, "F", 16, 18, 52, -20, 34, 11, 12],
        [2010002, "MDD", 33, "F", 16, 18, 52, -20, 34, 11, 12],
        [9999999, "MDD", 33, "F", 16, 18, 52, -20, 34, 11, 12],
        ["so many", "MDD", 33, "F", 16, 18, 52, -20, 34, 11, 12],
    ]
    write_corpus(tmp_path, list(HEADER), lines)
    assert dict(scan(tmp_path).rejects.select("path", "reason").iter_rows()) == {
        f"{WORKBOOK}:3": "subject has an earlier row",
        f"{WORKBOOK}:4": "subject id is not 0201.., 0202.. or 0203.. with eight digits",
        f"{WORKBOOK}:5": "subject id is not 0201.., 0202.. or 0203.. with eight digits",
    }


@pytest.mark.trap("modma.task-by-number")
@pytest.mark.parametrize(
    ("recording", "task"),
    [
        ("01", "spontaneous"),
        ("18", "spontaneous"),
        ("19", "read"),
        ("20", "words"),
        ("25", "words"),
        ("26", "spontaneous"),
    ],
)
def test_number_of_a_recording_tells_its_task(tmp_path: Path, recording: str, task: str) -> None:
    write_corpus(tmp_path, list(HEADER), [[2010002, "MDD", 33, "F"]], recording)
    assert scan(tmp_path).utterances["speech_task"].to_list() == [task]


@pytest.mark.trap("modma.ids-without-leading-zero", "modma.two-prefixes-of-controls")
def test_ids_get_their_zero_back_and_both_prefixes_of_controls_are_read(tables: Tables) -> None:
    ids = tables.speakers["speaker_id"]
    assert set(ids.str.slice(0, len("modma:0201"))) == {"modma:0201", "modma:0202", "modma:0203"}
    assert ids.str.len_chars().unique().to_list() == [len("modma:02010002")]


@pytest.mark.trap("modma.legend-beside-the-table")
def test_the_legend_is_no_subject(root: Path, tables: Tables) -> None:
    rows = read_table(root / BOOK)
    assert any("Pittsburgh" in str(row) and row["subject id"] is None for row in rows)
    assert not tables.observations["value"].drop_nulls().str.contains("disorder|Pittsburgh").any()
    assert f"{BOOK}:36" not in tables.rejects["path"].to_list()


@pytest.mark.trap("modma.label-is-the-interview")
def test_a_patient_below_the_cut_off_stays_a_patient(tables: Tables) -> None:
    mild = tables.observations.filter(pl.col("attribute") == "phq9", pl.col("value_num") == 6)["speaker_id"]
    patients = tables.observations.filter(pl.col("attribute") == "depression", pl.col("value") == "present")
    assert set(mild) & set(patients["speaker_id"])


@pytest.mark.trap("modma.negative-life-events")
def test_other_questionnaires_are_carried_also_below_zero(tables: Tables) -> None:
    for attribute, total in {"ctq_sf": 52, "les": -20, "ssrs": 34}.items():
        assert tables.observations.filter(pl.col("attribute") == attribute)["value_num"].to_list() == [total] * 32


@pytest.mark.trap("modma.unreadable-files")
def test_a_damaged_file_is_listed_and_refused_when_it_is_decoded(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [[2010002, "MDD", 33, "F"]], "24")
    path = scan(tmp_path).utterances["path"].item()
    with pytest.raises(audio.AudioError, match="not audio or corrupt"):
        audio.decode(tmp_path / path)


@pytest.mark.trap("modma.mac-twins")
def test_the_twins_of_a_mac_are_passed_over(root: Path, tables: Tables) -> None:
    assert [path.name for path in root.rglob("._*")] == ["._19.wav"]
    assert not any("/._" in path for path in [*tables.utterances["path"], *tables.rejects["path"]])


def test_other_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=WORKBOOK):
        scan(tmp_path)


def test_workbook_without_subjects_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, list(HEADER), [])
    (tmp_path / "02010002" / "01.wav").unlink()
    (tmp_path / "02010002").rmdir()
    with pytest.raises(RecipeError, match="no subject folder like 02010002"):
        scan(tmp_path)


@pytest.mark.parametrize(("gone", "said"), [("type", "type"), ("PHQ-9", "phq-9")])
def test_missing_column_names_file_and_column(tmp_path: Path, gone: str, said: str) -> None:
    header: list[object] = [name if name != gone else "other" for name in HEADER]
    write_corpus(tmp_path, header, [[2010002, "MDD", 33, "F"]])
    with pytest.raises(RecipeError, match=rf"{WORKBOOK}: no column {said}"):
        scan(tmp_path)


def write_corpus(root: Path, header: list[object], lines: list[list[object]], recording: str = "01") -> None:
    (root / "02010002").mkdir()
    (root / "02010002" / f"{recording}.wav").write_bytes(b"not decoded by a scan")
    with xlsxwriter.Workbook(root / WORKBOOK) as book:
        sheet = book.add_worksheet("Sheet1")
        for line, cells in enumerate([header, *lines]):
            sheet.write_row(line, 0, cells)
