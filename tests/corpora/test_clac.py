from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import soundfile
import xlsxwriter

from pipelines.corpora._base import RecipeError
from pipelines.corpora._read import read_table
from pipelines.corpora.clac import CORPUS, scan
from pipelines.schema import Tables

SCALE = 0.25

HEADER = ("", "speakerID", "worker_country", "age (years)", "education (years)", "gender", "symptoms")


def rejected(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def write_table(path: Path, *rows: tuple[object, ...], header: tuple[str, ...] = HEADER) -> None:
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        for line, cells in enumerate((header, *rows)):
            sheet.write_row(line, 0, cells)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.trap("clac.names-repeat-in-every-folder")
def test_three_tasks_a_speaker_although_file_names_repeat(tables: Tables) -> None:
    assert tables.speakers.height == 12
    assert tables.utterances.height == 36
    assert tables.utterances["path"].str.split("/").list.last().n_unique() == 12
    assert set(tables.utterances["speech_task"]) == {"spontaneous", "read", "digits", "words"}


@pytest.mark.trap("clac.sex-other")
def test_sex_and_age_on_both_sides_and_other_stays_other(tables: Tables) -> None:
    counts = dict(tables.speakers.group_by("sex").len().iter_rows())
    assert counts.pop("other") == 1
    assert min(counts["female"], counts["male"]) >= 5
    assert tables.utterances.filter(pl.col("age") < 35).height >= 9
    assert tables.utterances.filter(pl.col("age") >= 60).height >= 9
    assert tables.utterances["age"].null_count() == 0


@pytest.mark.trap("clac.country-none")
def test_the_country_is_a_code_and_none_none_is_unknown(tables: Tables) -> None:
    assert set(tables.speakers["country"]) == {"US", None}
    assert tables.speakers["country"].null_count() == 1


@pytest.mark.trap("clac.healthy-without-examination")
def test_healthy_is_who_reports_no_symptoms(tables: Tables) -> None:
    symptoms = tables.observations.filter(pl.col("attribute") == "symptoms")
    assert dict(symptoms.group_by("value").len().iter_rows()) == {"yes": 1, "no": 11}
    healthy = set(tables.observations.filter(pl.col("attribute") == "healthy")["speaker_id"])
    assert healthy == set(symptoms.filter(pl.col("value") == "no")["speaker_id"])


@pytest.mark.trap("clac.blank-education")
def test_a_blank_education_is_no_observation(tables: Tables) -> None:
    years = tables.observations.filter(pl.col("attribute") == "education_years")
    assert years.height == tables.speakers.height - 2
    assert set(years["unit"]) == {"years"}


@pytest.mark.trap("clac.missing-tasks")
def test_what_cannot_be_used_is_rejected(tables: Tables) -> None:
    assert rejected(tables) == {
        "CLAC-Dataset/rainbow/spk1001 (1).wav": "the name is not spkN.wav",
        "CLAC-Dataset/rainbow/spk9999.wav": "no row for this speaker in metadata.xlsx",
        "CLAC-Dataset/metadata.xlsx:14": "no audio",
    }


@pytest.mark.trap("clac.doubled-root-folder", "clac.repeat-5-times-folders")
def test_unclean_rows_and_a_doubled_root_folder(tmp_path: Path) -> None:
    home = tmp_path / "CLAC-Dataset" / "CLAC-Dataset"
    for folder in ("repeat_5_times_catastrophe", "repeat_5_times", "new task", "smr"):
        touch(home / folder / "spk1.wav")
    write_table(
        home / "metadata.xlsx",
        (0, "spk1", "Ireland", "", "", "", ""),
        (1, "spk1", "Ireland", 30, 12, "female", "no"),
        (2, "worker 7", "Ireland", 30, 12, "female", "no"),
    )
    tables = scan(tmp_path)
    tasks = {path.split("/")[2]: task for path, task in tables.utterances.select("path", "speech_task").iter_rows()}
    assert tasks == {
        "repeat_5_times_catastrophe": "words",
        "repeat_5_times": "words",
        "new task": None,
        "smr": "syllables",
    }
    assert tables.speakers.select("sex", "country").rows() == [(None, "Ireland")]
    assert tables.observations.is_empty()
    table = "CLAC-Dataset/CLAC-Dataset/metadata.xlsx"
    assert set(rejected(tables)) == {f"{table}:3", f"{table}:4"}


@pytest.mark.trap("clac.repeat-5-times-folders", "clac.missing-tasks")
def test_a_repeated_word_is_found_in_both_places(tables: Tables) -> None:
    words = tables.utterances.filter(pl.col("speech_task") == "words")["path"].to_list()
    assert words == [
        "CLAC-Dataset/repeat_5_times/artillery/spk1002.wav",
        "CLAC-Dataset/repeat_5_times_catastrophe/spk1003.wav",
    ]
    read = tables.utterances.filter(pl.col("speech_task") == "read")["speaker_id"]
    assert not {"clac:spk1002", "clac:spk1003"} & set(read)


@pytest.mark.trap("clac.unnamed-index-column")
def test_the_table_may_lack_its_unnamed_index(root: Path, copy: Path, tables: Tables) -> None:
    found = read_table(root / "CLAC-Dataset" / "metadata.xlsx")
    assert "" not in found[0] and found[0]["speakerid"] == "spk1001"
    header = [name for name in found[0] if name != "_row"]
    write_table(
        copy / "CLAC-Dataset" / "metadata.xlsx",
        *(tuple(row[name] for name in header) for row in found),
        header=tuple(header),
    )
    assert scan(copy).observations.equals(tables.observations)


@pytest.mark.trap("clac.location-is-no-accent")
def test_the_place_of_the_worker_is_no_accent(tables: Tables) -> None:
    assert set(tables.observations["attribute"]) == {"symptoms", "healthy", "education_years"}
    assert "Maryland (MD)" not in tables.observations["value"].to_list()


@pytest.mark.trap("clac.mixed-sample-rates", "clac.transcripts-and-mac-twins")
def test_only_recordings_are_read_whatever_their_rate(root: Path, tables: Tables) -> None:
    paths = set(tables.utterances["path"])
    assert {soundfile.info(root / path).samplerate for path in paths} == {16000, 48000}
    others = {path.relative_to(root).as_posix() for path in (*root.rglob("._*"), *root.rglob("*_transcript.txt"))}
    assert len(others) == 13 and not others & (paths | set(rejected(tables)))


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no metadata\.xlsx, here or in CLAC-Dataset/"):
        scan(tmp_path)


def test_a_missing_column_is_named_with_its_file(copy: Path) -> None:
    table = copy / "CLAC-Dataset" / "metadata.xlsx"
    write_table(table, (0, "spk1001", "Ireland", 30, 12, "no"), header=tuple(n for n in HEADER if n != "gender"))
    with pytest.raises(RecipeError, match=r"metadata\.xlsx: no column gender; found speakerid"):
        scan(copy)


def test_a_table_that_is_no_workbook_is_named(copy: Path) -> None:
    (copy / "CLAC-Dataset" / "metadata.xlsx").write_text("speakerID,gender\n")
    with pytest.raises(RecipeError, match=r"metadata\.xlsx: cannot be read as a table"):
        scan(copy)


def test_half_of_it_is_seen_in_an_epoch() -> None:
    assert CORPUS.epoch_share == 0.5
