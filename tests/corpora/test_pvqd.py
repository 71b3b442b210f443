from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import soundfile
import xlsxwriter

from pipelines.corpora._base import RecipeError
from pipelines.corpora.pvqd import RATINGS_HEADER, scan
from pipelines.schema import Tables

SHEETS = "Voice Samples Direct Download/Ratings Spreadsheets"
UNRATED: list[object] = ["BL01", "CAPE-V Roughness"]  # a dimension of both sheets
Book = dict[str, list[list[object]]]


@pytest.mark.trap("pvqd.ids-of-varying-spelling", "pvqd.ratings-of-the-whole-sample")
def test_one_recording_a_person(tables: Tables) -> None:
    assert (tables.speakers.height, tables.utterances.height) == (47, 47)
    assert tables.utterances["path"].str.contains("/Audio Files/").all()
    assert "pvqd:SJ0005" in tables.speakers["speaker_id"].to_list()  # the file is Sj0005_ENSS.wav
    assert "pvqd:PT004" in tables.speakers["speaker_id"].to_list()  # "PT004." in the table
    assert tables.utterances["start_s"].null_count() == tables.utterances["end_s"].null_count() == 47


@pytest.mark.trap("pvqd.blank-age")
def test_age_has_young_and_old_in_each_sex(tables: Tables) -> None:
    people = tables.utterances.join(tables.speakers, on="speaker_id").select(
        pl.col("sex").str.slice(0, 1).str.to_lowercase(),
        band=pl.when(pl.col("age") < 35).then(pl.lit("young")).when(pl.col("age") >= 60).then(pl.lit("old")),
    )
    assert people.drop_nulls("band").unique().height == 4
    assert tables.utterances["age"].null_count() == 1


@pytest.mark.trap("pvqd.gender-words")
def test_sex_stays_the_owners_word(tables: Tables) -> None:
    assert set(tables.speakers["sex"]) == {"F", "f", "female", "M", "m", "male"}


@pytest.mark.trap("pvqd.raters-rated-twice")
@pytest.mark.parametrize("attribute", ["voice_severity", "voice_roughness", "voice_breathiness", "voice_strain"])
def test_ratings_of_every_rater_spread_over_the_scale(tables: Tables, attribute: str) -> None:
    marks = tables.observations.filter(pl.col("attribute") == attribute, pl.col("instrument") == "CAPE-V")
    assert marks["value_num"].is_between(0, 100).all()
    assert marks["rater"].n_unique() == 8 and marks["utt_id"].null_count() == 0
    assert marks.group_by("utt_id").len()["len"].unique().to_list() == [6]  # two of eight cells are blank
    means = marks.group_by("speaker_id").agg(pl.col("value_num").mean()).join(tables.speakers, on="speaker_id")
    means = means.with_columns(pl.col("sex").str.slice(0, 1).str.to_lowercase())
    for _, sex in means.group_by("sex"):
        assert sex.filter(pl.col("value_num") < 10).height >= 8 and sex.filter(pl.col("value_num") > 35).height >= 7


def test_grbas_has_its_own_instrument(tables: Tables) -> None:
    grades = tables.observations.filter(pl.col("instrument") == "GRBAS")
    assert grades["value_num"].is_between(0, 3).all()
    assert set(grades["attribute"]) == {
        "voice_severity", "voice_roughness", "voice_breathiness", "voice_asthenia", "voice_strain",
    }  # fmt: skip


@pytest.mark.trap(
    "pvqd.unmatched-ids", "pvqd.flat-copies", "pvqd.rating-outside-the-scale", "pvqd.notes-below-the-table"
)
def test_every_trap_is_a_reject(tables: Tables) -> None:
    found = tables.rejects.filter(~pl.col("reason").str.starts_with("rated file")).select("path", "reason")
    assert dict(found.iter_rows()) == {
        "Voice Samples Direct Download/BL01_ENSS.wav": (
            "second recording of a participant, 'Audio Files' holds the first"
        ),
        f"{SHEETS}/Demographics.xlsx:48": "no recording of this participant",
        "Voice Samples Direct Download/Audio Files/LA0047_ENSS.wav": "recording without a row in Demographics.xlsx",
        f"{SHEETS}/Ratings_both_scales.xlsx:GRBAS:2": "rater 1 time 1: rating outside 0..3",
    }
    # 6 CAPE-V and 5 GRBAS rows of the unmatched recording, and one of a file that is nowhere
    assert tables.rejects.filter(pl.col("reason").str.starts_with("rated file")).height == 12


@pytest.mark.trap("pvqd.notes-below-the-table")
def test_notes_below_the_table_are_no_rows_but_a_broken_id_is(tmp_path: Path) -> None:
    people: list[list[object]] = [["BL01 ", "F", 30, "x"], ["B-1-L", "F", 30, "x"], ["* a note", None, None, None]]
    write_corpus(
        tmp_path, people, {"CAPE-V": [["BL01", "CAPE-V Severity", "", "", "", "", 40, "", "-"]], "GRBAS": [UNRATED]}
    )
    tables = scan(tmp_path)
    assert tables.rejects.select("path", "reason").rows() == [
        ("Demographics.xlsx:3", "participant id is not letters and digits")
    ]
    marks = tables.observations.filter(pl.col("attribute") == "voice_severity")
    assert marks.select("value_num", "rater").rows() == [(40.0, "rater 1 time 1")]


def test_a_rating_of_an_unknown_dimension_is_rejected(tmp_path: Path) -> None:
    odd: list[object] = ["BL01", "CAPE-V Hoarse", "", "", "", "", 40]
    write_corpus(tmp_path, [["BL01", "F", 30, ""]], {"CAPE-V": [odd], "GRBAS": [UNRATED]})
    tables = scan(tmp_path)
    assert tables.rejects["reason"].to_list() == ["characteristic 'CAPE-V Hoarse' is no dimension of CAPE-V"]
    assert tables.observations.filter(pl.col("instrument") == "CAPE-V").is_empty()


@pytest.mark.trap("pvqd.ids-of-varying-spelling")
def test_a_stray_period_in_a_file_name_is_no_other_person(tmp_path: Path) -> None:
    rating: list[object] = ["BL.01", "CAPE-V Severity", "", "", "", "", 40]
    write_corpus(tmp_path, [["BL01 ", "F", 30, "x"]], {"CAPE-V": [rating], "GRBAS": [UNRATED]})
    (tmp_path / "BL01_ENSS.wav").rename(tmp_path / "BL.01_ENSS.wav")
    tables = scan(tmp_path)
    assert tables.speakers["speaker_id"].to_list() == ["pvqd:BL01"] and tables.rejects.is_empty()
    assert tables.observations.filter(pl.col("attribute") == "voice_severity")["value_num"].to_list() == [40.0]


@pytest.mark.trap("pvqd.layout-variants")
def test_recordings_flat_at_the_root_are_read(tmp_path: Path) -> None:
    write_corpus(tmp_path, [["BL01", "F", 30, ""]], {"CAPE-V": [UNRATED], "GRBAS": [UNRATED]})
    assert scan(tmp_path).utterances["path"].to_list() == ["BL01_ENSS.wav"]


@pytest.mark.trap("pvqd.files-of-one-dimension")
def test_files_of_one_dimension_are_not_read(root: Path, tables: Tables) -> None:
    assert (root / SHEETS / "cape_v_strain_only.xlsx").is_file()
    strain = tables.observations.filter(
        pl.col("attribute") == "voice_strain", pl.col("instrument") == "CAPE-V", pl.col("speaker_id") == "pvqd:BL01"
    )
    assert strain.height == 6 and strain["value_num"].max() < 10


@pytest.mark.trap("pvqd.rate-in-the-header", "pvqd.mac-twins")
def test_recordings_of_both_rates_are_read_and_twins_of_a_mac_are_not(root: Path, tables: Tables) -> None:
    assert {soundfile.info(root / path).samplerate for path in tables.utterances["path"]} == {44100, 48000}
    assert [path.name for path in root.rglob("._*")] == ["._BL01_ENSS.wav"]
    assert not any("/._" in path for path in [*tables.utterances["path"], *tables.rejects["path"]])


def test_pitch_and_loudness_are_numbers_of_cape_v(tables: Tables) -> None:
    for attribute in ("pitch_deviance", "loudness_deviance"):
        marks = tables.observations.filter(pl.col("attribute") == attribute)
        assert marks.height == 47 * 6 and marks["instrument"].unique().to_list() == ["CAPE-V"]


@pytest.mark.trap("pvqd.exports-with-decimal-comma")
def test_exports_with_semicolons_and_decimal_commas_are_read(tmp_path: Path) -> None:
    (tmp_path / "BL01_ENSS.wav").touch()
    (tmp_path / "Demographics.csv").write_text("Participant ID ;Gender;Age;Diagnosis \nBL01 ;F;30;x\n", "utf-8-sig")
    header = "File;Characteristics;Average all ratings all times;Rater 1 Time 1;Rater 1 time 2"
    (tmp_path / "CAPE_V.CSV").write_text(f"{header}\nBL01 ;CAPE-V Severity;41,5;40,5;42,5\n")
    (tmp_path / "GRBAS.CSV").write_text(f"{header}\nBL01 ;GRBAS Grade;1;1;9\n")
    tables = scan(tmp_path)
    marks = tables.observations.filter(pl.col("attribute") == "voice_severity")
    assert marks.select("instrument", "value_num", "rater").rows() == [
        ("CAPE-V", 40.5, "rater 1 time 1"),
        ("CAPE-V", 42.5, "rater 1 time 2"),
        ("GRBAS", 1.0, "rater 1 time 1"),
    ]
    assert tables.rejects.select("path", "reason").rows() == [("GRBAS.CSV:2", "rater 1 time 2: rating outside 0..3")]


def test_other_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no Demographics\.xlsx"):
        scan(tmp_path)


def test_missing_audio_is_named(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / SHEETS, tmp_path / "Ratings Spreadsheets")
    with pytest.raises(RecipeError, match="no 'Audio Files'"):
        scan(tmp_path)


def test_missing_column_names_file_and_column(tmp_path: Path) -> None:
    write_corpus(tmp_path, [["BL01", "F", 30, ""]], {"CAPE-V": [UNRATED], "GRBAS": [UNRATED]})
    write_book(tmp_path / "Demographics.xlsx", {"Sheet1": [["Participant ID ", "Gender"], ["BL01", "F"]]})
    with pytest.raises(RecipeError, match=r"Demographics\.xlsx: no column age"):
        scan(tmp_path)


def test_missing_raters_and_sheet_are_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, [["BL01", "F", 30, ""]], {"CAPE-V": [UNRATED], "GRBAS": [UNRATED]})
    ratings = tmp_path / "Ratings_both_scales.xlsx"
    lines: list[list[object]] = [["File", "Characteristics", "Average"], ["BL01", "CAPE-V Strain", 3]]
    write_book(ratings, {"CAPE-V": lines, "GRBAS": lines})
    with pytest.raises(RecipeError, match=r"Ratings_both_scales\.xlsx: sheet CAPE-V has no column like 'Rater 1"):
        scan(tmp_path)
    write_book(ratings, {"GRBAS": lines})
    with pytest.raises(RecipeError, match=r"Ratings_both_scales\.xlsx.*CAPE-V"):
        scan(tmp_path)


def test_empty_sheet_is_named(tmp_path: Path) -> None:
    write_corpus(tmp_path, [["BL01", "F", 30, ""]], {"CAPE-V": [UNRATED], "GRBAS": []})
    with pytest.raises(RecipeError, match="sheet GRBAS has no rows"):
        scan(tmp_path)


def write_corpus(root: Path, people: list[list[object]], ratings: Book) -> None:
    (root / "BL01_ENSS.wav").touch()
    header = ["Participant ID ", "Gender", "Age", "Diagnosis "]
    write_book(root / "Demographics.xlsx", {"Sheet1": [header, *people]})
    filled = {sheet: [list(RATINGS_HEADER), *lines] for sheet, lines in ratings.items()}
    write_book(root / "Ratings_both_scales.xlsx", filled)


def write_book(path: Path, sheets: Book) -> None:
    with xlsxwriter.Workbook(path) as book:
        for title, lines in sheets.items():
            sheet = book.add_worksheet(title)
            for line, cells in enumerate(lines):
                sheet.write_row(line, 0, cells)
