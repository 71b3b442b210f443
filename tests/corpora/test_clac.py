from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from pipelines.corpora._base import RecipeError
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


def test_three_tasks_a_speaker_although_file_names_repeat(tables: Tables) -> None:
    assert tables.speakers.height == 12
    assert tables.utterances.height == 36
    assert tables.utterances["path"].str.split("/").list.last().n_unique() == 12
    assert set(tables.utterances["speech_task"]) == {"spontaneous", "read", "digits", "words"}


def test_sex_and_age_on_both_sides_and_other_stays_other(tables: Tables) -> None:
    counts = dict(tables.speakers.group_by("sex").len().iter_rows())
    assert counts.pop("other") == 1
    assert min(counts["female"], counts["male"]) >= 5
    assert tables.utterances.filter(pl.col("age") < 35).height >= 9
    assert tables.utterances.filter(pl.col("age") >= 60).height >= 9
    assert tables.utterances["age"].null_count() == 0


def test_the_country_is_a_code_and_none_none_is_unknown(tables: Tables) -> None:
    assert set(tables.speakers["country"]) == {"US", None}
    assert tables.speakers["country"].null_count() == 1


def test_healthy_is_who_reports_no_symptoms(tables: Tables) -> None:
    symptoms = tables.observations.filter(pl.col("attribute") == "symptoms")
    assert dict(symptoms.group_by("value").len().iter_rows()) == {"present": 1, "absent": 11}
    healthy = set(tables.observations.filter(pl.col("attribute") == "healthy")["speaker_id"])
    assert healthy == set(symptoms.filter(pl.col("value") == "absent")["speaker_id"])


def test_a_blank_education_is_no_observation(tables: Tables) -> None:
    years = tables.observations.filter(pl.col("attribute") == "education_years")
    assert years.height == tables.speakers.height - 1
    assert set(years["unit"]) == {"years"}


def test_what_cannot_be_used_is_rejected(tables: Tables) -> None:
    assert rejected(tables) == {
        "CLAC-Dataset/rainbow/spk1001 (1).wav": "the name is not spkN.wav",
        "CLAC-Dataset/rainbow/spk9999.wav": "no row for this speaker in metadata.xlsx",
        "CLAC-Dataset/metadata.xlsx:14": "no audio",
    }


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
