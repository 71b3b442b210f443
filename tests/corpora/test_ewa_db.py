from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora._base import RecipeError
from pipelines.corpora.ewa_db import scan
from pipelines.schema import Tables


def rejected(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def said(tables: Tables, attribute: str) -> dict[str, object]:
    found = tables.observations.filter(pl.col("attribute") == attribute)
    return {
        speaker: score if word is None else word
        for speaker, word, score in found.select("speaker_id", "value", "value_num").iter_rows()
    }


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_three_files_a_speaker_without_single_words(tables: Tables) -> None:
    assert tables.speakers.height == 48
    assert tables.utterances.height == 144
    assert set(tables.utterances["speech_task"]) == {"spontaneous", "vowel", "syllables"}
    assert set(tables.utterances["language"]) == {"sk"}
    assert tables.utterances["recorded_on"].null_count() == 0
    assert "1 files left out: task naming" in rejected(tables)["S0489/FILES.TSV"]


def test_sex_and_age_on_both_sides(tables: Tables) -> None:
    assert tables.speakers["sex"].value_counts()["count"].to_list() == [24, 24]
    assert tables.utterances.filter(pl.col("age") < 35).height > 20
    assert tables.utterances.filter(pl.col("age") >= 60).height > 20


def test_every_diagnosis_is_present_in_some_and_absent_in_controls(tables: Tables) -> None:
    healthy = said(tables, "healthy")
    assert len(healthy) == 16
    for attribute in ("parkinson", "alzheimer", "cognitive_impairment"):
        words = said(tables, attribute)
        assert {speaker for speaker, word in words.items() if word == "absent"} == set(healthy), attribute
        assert sum(word == "present" for word in words.values()) >= 6, attribute


def test_a_patient_states_only_the_own_diagnosis(tables: Tables) -> None:
    parkinson, alzheimer = said(tables, "parkinson"), said(tables, "alzheimer")
    patients = {speaker for speaker, word in parkinson.items() if word == "present"}
    both = {speaker for speaker in patients if alzheimer.get(speaker) == "present"}
    assert len(both) == 1  # Alzheimer-Parkinson
    assert not (patients - both) & set(alzheimer)


def test_healthy_by_name_with_a_low_moca_is_no_control(tables: Tables) -> None:
    by_path = tables.utterances.filter(pl.col("path").str.contains("S0489/Healthy/"))
    called_healthy = set(by_path["speaker_id"])
    controls = set(said(tables, "healthy"))
    excluded = called_healthy - controls
    assert len(excluded) == 2
    moca = said(tables, "moca")
    assert all(float(str(moca[speaker])) < 26 for speaker in excluded)
    assert all(float(str(moca.get(speaker, 30))) >= 26 for speaker in controls)
    assert not excluded & set(said(tables, "cognitive_impairment"))


def test_scores_have_their_instrument_and_missing_ones_are_unknown(tables: Tables) -> None:
    moca = tables.observations.filter(pl.col("attribute") == "moca")
    assert set(moca["instrument"]) == {"MoCA"}
    assert moca.height == 46  # one empty, one 99
    assert moca["value_num"].max() <= 30
    assert rejected(tables)["S0489/SPEAKERS.TSV:11"] == "MOCA 99 is not 0..30: left unknown"


def test_speakers_who_did_not_agree_are_counted_once_and_never_used(copy: Path, tables: Tables) -> None:
    assert rejected(tables)["S0489/SPEAKERS.TSV"].startswith("2 speakers did not agree to publication")
    shutil.copytree(copy / "S0489" / "Healthy" / "mini000001", copy / "S0489" / "Healthy" / "mini900101")
    with (copy / "S0489" / "FILES.TSV").open("a") as file:
        file.write("mini900101\tHealthy\tbig3\t./Healthy/mini900101//picture/big3.wav\n")
    again = scan(copy)
    assert "ewa_db:mini900101" not in set(again.speakers["speaker_id"])
    assert again.utterances.equals(tables.utterances)


def test_rows_without_audio_and_audio_without_rows_are_rejected(tables: Tables) -> None:
    reasons = rejected(tables)
    assert reasons["S0489/FILES.TSV:147"] == "no audio at AUDIOFILE"
    assert reasons["S0489/Healthy/mini000001/picture/big6.wav"] == "no row for this file in FILES.TSV"
    assert len(reasons) == 5


def test_what_contradicts_itself_is_rejected_by_row(copy: Path) -> None:
    files = copy / "S0489" / "FILES.TSV"
    lines = files.read_text().splitlines()
    second = lines[2].split("\t")[0]
    edit(files, lines[1].split("\t")[-1], "Healthy/mini000001/picture/big3.mp3")
    files.write_text(files.read_text() + lines[2] + "\n" + lines[2].replace(second, "zzzzzzzz01") + "\n")
    table = copy / "S0489" / "SPEAKERS.TSV"
    rows = table.read_text().splitlines()
    rows[3] = rows[3].replace("Parkinson", "MCI")
    rows[4] = rows[4].replace("Parkinson", "Unclear")
    table.write_text("\n".join([*rows, rows[1]]) + "\n")
    reasons = rejected(scan(copy))
    assert "not ./GROUP" in reasons["S0489/FILES.TSV:2"]
    assert reasons[f"S0489/FILES.TSV:{len(lines) + 1}"] == "the file is listed twice"
    assert "no row for this speaker" in reasons[f"S0489/FILES.TSV:{len(lines) + 2}"]
    assert "DIAGNOSIS in SPEAKERS.TSV disagree" in reasons["S0489/FILES.TSV:8"]
    assert "DIAGNOSIS 'Unclear' is none of" in reasons["S0489/SPEAKERS.TSV:5"]
    assert "row 2 already" in reasons[f"S0489/SPEAKERS.TSV:{len(rows) + 1}"]


def test_columns_are_read_by_name_in_any_order(copy: Path, tables: Tables) -> None:
    table = copy / "S0489" / "SPEAKERS.TSV"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    rows[0] = [f" {name.lower()} " for name in rows[0]]
    table.write_text("\n".join("\t".join(reversed(cells)) for cells in rows) + "\n")
    assert scan(copy).observations.equals(tables.observations)


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no SPEAKERS\.TSV, here or in S0489/"):
        scan(tmp_path)


@pytest.mark.parametrize(("name", "column"), [("SPEAKERS.TSV", "PUBLISH_AGREEMENT"), ("FILES.TSV", "AUDIOFILE")])
def test_a_missing_column_is_named_with_its_file(copy: Path, name: str, column: str) -> None:
    edit(copy / "S0489" / name, column, "SOMETHING")
    with pytest.raises(RecipeError, match=rf"{name}: no column {column.lower()}"):
        scan(copy)


def test_without_the_list_of_files_nothing_is_guessed(copy: Path) -> None:
    (copy / "S0489" / "FILES.TSV").unlink()
    with pytest.raises(RecipeError, match=r"FILES\.TSV not found"):
        scan(copy)
