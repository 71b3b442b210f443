from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import soundfile
import xlsxwriter

from pipelines.corpora._base import RecipeError
from pipelines.corpora.ipvs import TableRows, miniature, scan
from pipelines.schema import Tables
from pipelines.voices import Voices

HOME = "Italian Parkinson's Voice and speech"
YOUNG, ELDERLY = "15 Young Healthy Control", "22 Elderly Healthy Control"
PATIENTS = "28 People with Parkinson's disease"


def test_counts(tables: Tables) -> None:
    # 32 people: 8 young with 2 files, 24 others with 3, one patient recorded twice
    assert (tables.speakers.height, tables.utterances.height) == (32, 8 * 2 + 24 * 3 + 3)
    assert dict(tables.utterances["speech_task"].value_counts().iter_rows()) == {"read": 66, "vowel": 25}


def test_parkinson_is_the_group_folder_and_not_the_root(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("attribute") == "parkinson").select("speaker_id", "value")
    heard = tables.utterances.join(states, on="speaker_id")
    assert (heard["path"].str.contains(PATIENTS, literal=True) == (heard["value"] == "present")).all()
    assert dict(states["value"].value_counts().iter_rows()) == {"present": 16, "absent": 16}
    sexes = states.join(tables.speakers, on="speaker_id").drop_nulls("sex").select("value", "sex").unique()
    assert sexes.height == 4


def test_person_in_two_range_folders_is_one_speaker_with_two_sessions(tables: Tables) -> None:
    sessions = tables.utterances.drop_nulls("session_id").group_by("speaker_id").agg(pl.col("session_id").unique())
    twice = sessions.filter(pl.col("session_id").list.len() == 2)
    assert twice.height == 1
    ranges = {session.split("/")[1] for session in twice["session_id"].item()}
    assert ranges == {"6-10", "11-16"}
    ages = tables.utterances.filter(pl.col("speaker_id") == twice["speaker_id"].item())["age"].unique().to_list()
    assert len(ages) == 1 and ages[0] % 1 == 0.5  # the rows say 1 year apart


def test_no_name_in_an_id_or_a_reason(root: Path, tables: Tables) -> None:
    names = {path.name for path in (root / HOME).rglob("*") if path.is_dir() and len(path.name.split()[-1]) == 1}
    words = {word.casefold() for name in names for word in name.split() if len(word) > 1}
    assert len(words) > 10
    texts = [*tables.speakers["speaker_id"], *tables.speakers["person_id"], *tables.rejects["reason"]]
    assert not [text for text in texts for word in words if word in text.casefold()]


def test_larger_casts_have_a_name_for_everybody(tmp_path: Path) -> None:
    miniature(tmp_path, Voices(scale=1.0))
    assert scan(tmp_path).speakers.height == 40


def test_dates_of_both_campaigns_are_read(tables: Tables) -> None:
    assert set(tables.utterances["recorded_on"]) == {date(2016, 6, 14), date(2017, 3, 17)}


def test_the_miniature_has_the_rate_that_gives_patients_away(root: Path, tables: Tables) -> None:
    rates = {path: soundfile.info(root / path).samplerate for path in tables.utterances["path"]}
    fast = [path for path, rate in rates.items() if rate == 44100]
    assert fast and all(PATIENTS in path for path in fast)
    assert any(rate == 16000 for path, rate in rates.items() if PATIENTS in path)


def test_folders_in_capitals_and_surname_first_are_matched(root: Path, tables: Tables) -> None:
    folders = {Path(path).parent.name for path in tables.utterances.drop_nulls("age")["path"]}
    assert [name for name in folders if name.isupper()]
    assert [name for name in folders if len(name.split()[0]) == 1]


def test_every_trap_is_a_reject_or_null(tables: Tables) -> None:
    reasons = sorted(
        (path.split("/")[1][:2], Path(path).name if ".xlsx" in path or ".wav" in path else "", reason)
        for path, reason in tables.rejects.select("path", "reason").iter_rows()
    )
    assert reasons == [
        ("15", "15 YHC.xlsx:11", "row matches no folder: resolve by hand"),
        ("22", "", "sex differs in table and file names: left empty"),
        ("22", "Tab 3.xlsx:11", "row matches no folder: resolve by hand"),
        ("28", "", "folder matches no row of the group's table: kept without age, resolve by hand"),
        ("28", "TAB 5.xlsx:20", "row matches no folder: resolve by hand"),
        ("28", "TAB 5.xlsx:7", "row matches no folder: resolve by hand"),
        ("28", "registrazione.wav", "name starts with none of the task codes"),
    ]
    assert tables.speakers["sex"].null_count() == 1
    assert tables.utterances["age"].null_count() == 3  # of the unmatched folder, whose sex its file names tell


def test_accents_and_stray_marks_do_not_part_folder_and_row(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=[" Nicolò * ", "Querti", "M", 61])
    tables = scan(tmp_path)
    assert tables.utterances.select("age", "recorded_on").rows() == [(61.0, date(2017, 3, 17))]
    assert tables.speakers["sex"].to_list() == ["male"] and tables.rejects.is_empty()


def test_rows_of_one_name_far_apart_in_age_leave_it_empty() -> None:
    assert TableRows("", ages=[60.0, 61.0]).age() == 60.5
    assert TableRows("", ages=[60.0, 75.0]).age() is None


def test_row_without_surname_and_file_outside_a_folder_are_rejected(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=["Nicolo", "//", "M", 61])
    (tmp_path / YOUNG / "B1X60M170320171104.wav").touch()
    reasons = dict(scan(tmp_path).rejects.select("path", "reason").iter_rows())
    assert reasons[f"{YOUNG}/table.xlsx:3"] == "row without name or surname"
    assert reasons[f"{YOUNG}/B1X60M170320171104.wav"] == "recording outside a person's folder"


def test_mirror_with_an_outer_folder_is_read(tmp_path: Path) -> None:
    write_corpus(tmp_path / "italian_parkinson" / HOME, folder="Nicolo Q", row=["Nicolo", "Q", "M", 61])
    assert scan(tmp_path).speakers.height == 1


def test_other_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="15 Young Healthy Control"):
        scan(tmp_path)


def test_missing_table_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "ipvs")
    (tmp_path / "ipvs" / HOME / ELDERLY / "Tab 3.xlsx").unlink()
    with pytest.raises(RecipeError, match=r"22 Elderly Healthy Control: no \.xlsx"):
        scan(tmp_path / "ipvs")


def test_missing_column_names_file_and_column(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=["Nicolo", "Q", "M", 61], header=["name", "surname", "sex", "x"])
    with pytest.raises(RecipeError, match=r"table\.xlsx: no column age"):
        scan(tmp_path)


def write_corpus(root: Path, *, folder: str, row: list[object], header: list[str] | None = None) -> None:
    """One young control; the other groups have a table and nobody in it."""
    for group in (YOUNG, ELDERLY, PATIENTS):
        (root / group).mkdir(parents=True)
        with xlsxwriter.Workbook(root / group / "table.xlsx") as book:
            sheet = book.add_worksheet()
            sheet.write(0, 0, "Table")
            sheet.write_row(1, 0, header or ["name", "surname", "sex", "age"])
            sheet.write_row(2, 0, row if group == YOUNG else [None])
    (root / YOUNG / folder).mkdir()
    (root / YOUNG / folder / "B1NCL61M170320171104.wav").touch()
