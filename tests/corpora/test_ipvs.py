from __future__ import annotations

import shutil
from collections.abc import Callable
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


@pytest.mark.trap("ipvs.root-says-parkinson")
def test_parkinson_is_the_group_folder_and_not_the_root(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("attribute") == "parkinson").select("speaker_id", "value")
    heard = tables.utterances.join(states, on="speaker_id")
    assert (heard["path"].str.contains(PATIENTS, literal=True) == (heard["value"] == "present")).all()
    assert dict(states["value"].value_counts().iter_rows()) == {"present": 16, "absent": 16}
    sexes = states.join(tables.speakers, on="speaker_id").drop_nulls("sex").select("value", "sex").unique()
    assert sexes.height == 4


@pytest.mark.trap("ipvs.one-person-twice")
def test_person_in_two_range_folders_is_one_speaker_with_two_sessions(tables: Tables) -> None:
    sessions = tables.utterances.drop_nulls("session_id").group_by("speaker_id").agg(pl.col("session_id").unique())
    twice = sessions.filter(pl.col("session_id").list.len() == 2)
    assert twice.height == 1
    ranges = {session.split("/")[1] for session in twice["session_id"].item()}
    assert ranges == {"6-10", "11-16"}
    ages = tables.utterances.filter(pl.col("speaker_id") == twice["speaker_id"].item())["age"].unique().to_list()
    assert len(ages) == 1 and ages[0] % 1 == 0.5  # the rows say 1 year apart


@pytest.mark.trap("ipvs.folders-are-names")
def test_no_name_in_an_id_or_a_reason(root: Path, tables: Tables) -> None:
    names = {path.name for path in (root / HOME).rglob("*") if path.is_dir() and len(path.name.split()[-1]) == 1}
    words = {word.casefold() for name in names for word in name.split() if len(word) > 1}
    assert len(words) > 10
    texts = [*tables.speakers["speaker_id"], *tables.speakers["person_id"], *tables.rejects["reason"]]
    assert not [text for text in texts for word in words if word in text.casefold()]


def test_larger_casts_have_a_name_for_everybody(tmp_path: Path) -> None:
    miniature(tmp_path, Voices(scale=1.0))
    assert scan(tmp_path).speakers.height == 40


@pytest.mark.trap("ipvs.two-kinds-of-dates")
def test_dates_of_both_campaigns_are_read(tables: Tables) -> None:
    assert set(tables.utterances["recorded_on"]) == {date(2016, 6, 14), date(2017, 3, 17)}


@pytest.mark.trap("ipvs.rate-gives-patients-away")
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_rate_gives_patients_of_2016_away(rendered: Callable[[str, float], Path], scale: float) -> None:
    root = rendered("ipvs", scale)
    for path, day in scan(root).utterances.select("path", "recorded_on").iter_rows():
        fast = PATIENTS in path and day.year == 2016
        assert soundfile.info(root / path).samplerate == (44100 if fast else 16000)
    years = scan(root).utterances.filter(pl.col("path").str.contains(PATIENTS, literal=True))["recorded_on"].dt.year()
    assert set(years) == {2016, 2017}  # not all patients have the telltale rate


@pytest.mark.trap("ipvs.young-have-no-vowels")
def test_the_young_read_alone(tables: Tables) -> None:
    young = tables.utterances.filter(pl.col("path").str.contains(YOUNG, literal=True))
    assert set(young["speech_task"]) == {"read"}
    others = tables.utterances.filter(~pl.col("path").str.contains(YOUNG, literal=True))
    assert set(others["speech_task"]) == {"read", "vowel"}


@pytest.mark.trap("ipvs.two-digits")
def test_two_digits_of_a_file_name_are_no_age(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=["Nicolo", "Rerti", "M", 61])  # matches no folder
    tables = scan(tmp_path)
    assert tables.utterances["age"].to_list() == [None]
    assert tables.speakers["birth_year"].to_list() == [None]
    assert tables.speakers["sex"].to_list() == ["male"]  # that letter is reliable


@pytest.mark.trap("ipvs.header-in-row-two", "ipvs.marks-and-footnotes")
def test_patients_have_ages_though_their_table_starts_in_column_b(tables: Tables) -> None:
    patients = tables.utterances.filter(pl.col("path").str.contains(PATIENTS, literal=True))
    assert patients["age"].null_count() == 3  # of the folder that matches no row
    assert not tables.rejects["reason"].str.contains("registrazioni").any()  # footnotes are passed over


@pytest.mark.trap("ipvs.name-and-initial")
def test_folders_in_capitals_and_surname_first_are_matched(root: Path, tables: Tables) -> None:
    folders = {Path(path).parent.name for path in tables.utterances.drop_nulls("age")["path"]}
    assert [name for name in folders if name.isupper()]
    assert [name for name in folders if len(name.split()[0]) == 1]


@pytest.mark.trap("ipvs.unmatched-folder", "ipvs.sex-contradicts")
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


@pytest.mark.trap("ipvs.marks-and-footnotes", "ipvs.header-in-row-two")
def test_accents_and_stray_marks_do_not_part_folder_and_row(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=[" Nicolò * ", "Querti", "M", 61])
    tables = scan(tmp_path)
    assert tables.utterances.select("age", "recorded_on").rows() == [(61.0, date(2017, 3, 17))]
    assert tables.speakers["sex"].to_list() == ["male"] and tables.rejects.is_empty()


@pytest.mark.trap("ipvs.name-and-initial")
@pytest.mark.parametrize("folder", ["Querti N", "QUERTI NICOLO", "Nicolo Querti", "N Querti"])
def test_a_folder_written_surname_first_is_matched_where_the_table_has_the_surname(tmp_path: Path, folder: str) -> None:
    write_corpus(tmp_path, folder=folder, row=["Nicolò", "Querti", "M", 61])
    tables = scan(tmp_path)
    assert tables.utterances["age"].to_list() == [61.0] and tables.rejects.is_empty()


def test_rows_of_one_name_far_apart_in_age_leave_it_empty() -> None:
    assert TableRows("", ages=[60.0, 61.0]).age() == 60.5
    assert TableRows("", ages=[60.0, 75.0]).age() is None


def test_row_without_surname_and_file_outside_a_folder_are_rejected(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=["Nicolo", "//", "M", 61])
    (tmp_path / YOUNG / "B1X60M170320171104.wav").touch()
    reasons = dict(scan(tmp_path).rejects.select("path", "reason").iter_rows())
    assert reasons[f"{YOUNG}/table.xlsx:3"] == "row without name or surname"
    assert reasons[f"{YOUNG}/B1X60M170320171104.wav"] == "recording outside a person's folder"


@pytest.mark.trap("ipvs.outer-folder")
def test_mirror_with_an_outer_folder_is_read(tmp_path: Path) -> None:
    write_corpus(tmp_path / "italian_parkinson" / HOME, folder="Nicolo Q", row=["Nicolo", "Q", "M", 61])
    assert scan(tmp_path).speakers.height == 1


def test_what_macos_leaves_is_passed_over(tmp_path: Path) -> None:
    write_corpus(tmp_path, folder="Nicolo Q", row=["Nicolo", "Q", "M", 61])
    (tmp_path / YOUNG / "._15 YHC.xlsx").touch()
    (tmp_path / YOUNG / "Nicolo Q" / "._B1NCL61M170320171104.wav").touch()
    tables = scan(tmp_path)
    assert tables.utterances["age"].to_list() == [61.0] and tables.rejects.is_empty()


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
