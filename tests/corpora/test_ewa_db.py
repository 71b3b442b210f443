from __future__ import annotations

import json
import os
import posixpath
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import soundfile

from pipelines.corpora._base import RecipeError
from pipelines.corpora.ewa_db import DIAGNOSES, FILE, SPEAKER_HEADER, _diagnosis, scan
from pipelines.schema import Tables

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/ewa_db"


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


@pytest.mark.trap("ewa_db.naming-is-single-words")
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


@pytest.mark.trap("ewa_db.double-diagnosis", "ewa_db.impairment-of-patients")
def test_a_patient_states_only_the_own_diagnosis(tables: Tables) -> None:
    parkinson, alzheimer = said(tables, "parkinson"), said(tables, "alzheimer")
    patients = {speaker for speaker, word in parkinson.items() if word == "present"}
    both = {speaker for speaker in patients if alzheimer.get(speaker) == "present"}
    assert len(both) == 1  # Alzheimer-Parkinson
    assert not (patients - both) & set(alzheimer)
    impaired = said(tables, "cognitive_impairment")
    assert not patients & set(impaired)
    moca = said(tables, "moca")  # which decides about them: under and over 26
    assert {float(str(moca[who])) < 26 for who in patients & set(moca)} == {True, False}


@pytest.mark.trap("ewa_db.healthy-is-no-diagnosis")
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


@pytest.mark.trap("ewa_db.scores-without-documented-sentinel")
def test_scores_have_their_instrument_and_missing_ones_are_unknown(tables: Tables) -> None:
    moca = tables.observations.filter(pl.col("attribute") == "moca")
    assert set(moca["instrument"]) == {"MoCA"}
    assert moca.height == 46  # one empty, one 99
    assert moca["value_num"].max() <= 30
    assert rejected(tables)["S0489/SPEAKERS.TSV:11"] == "MOCA 99 is not 0..30: left unknown"


@pytest.mark.trap("ewa_db.no-agreement-to-publish")
def test_speakers_who_did_not_agree_are_counted_once_and_never_used(copy: Path, tables: Tables) -> None:
    assert rejected(tables)["S0489/SPEAKERS.TSV"].startswith("2 speakers did not agree to publication")
    shutil.copytree(copy / "S0489" / "Healthy" / "mini000001", copy / "S0489" / "Healthy" / "mini900101")
    with (copy / "S0489" / "FILES.TSV").open("a") as file:
        file.write("mini900101\tHealthy\tbig3\t./Healthy/mini900101//picture/big3.wav\n")
    again = scan(copy)
    assert "ewa_db:mini900101" not in set(again.speakers["speaker_id"])
    assert again.utterances.equals(tables.utterances)


@pytest.mark.trap("ewa_db.incomplete-speakers")
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


@pytest.mark.trap("ewa_db.columns-in-any-order")
def test_columns_are_read_by_name_in_any_order(copy: Path, tables: Tables) -> None:
    table = copy / "S0489" / "SPEAKERS.TSV"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    rows[0] = [f" {name.lower()} " for name in rows[0]]
    table.write_text("\n".join("\t".join(reversed(cells)) for cells in rows) + "\n")
    assert scan(copy).observations.equals(tables.observations)


@pytest.mark.trap("ewa_db.double-diagnosis")
@pytest.mark.parametrize("spelling", ["AlzheimerParkinson", "Alzheimer_Parkinson", "Parkinson-Alzheimer"])
def test_two_diseases_are_two_words_however_joined(copy: Path, tables: Tables, spelling: str) -> None:
    files = copy / "S0489" / "FILES.TSV"
    files.write_text(files.read_text().replace("/Alzheimer-Parkinson/", f"/{spelling}/"))
    (copy / "S0489" / "Alzheimer-Parkinson").rename(copy / "S0489" / spelling)
    again = scan(copy)
    assert again.observations.height == tables.observations.height


@pytest.mark.trap("ewa_db.low-quality")
def test_recordings_of_low_quality_stay_and_are_marked(tables: Tables) -> None:
    quality = said(tables, "audio_quality")
    assert len(quality) == tables.speakers.height
    assert {who for who, grade in quality.items() if grade == 0} == {
        f"ewa_db:mini{place:04d}01" for place in range(0, 48, 11)
    }


@pytest.mark.trap("ewa_db.columns-in-any-order")
def test_education_is_the_owners_word_and_empty_is_unknown(copy: Path, tables: Tables) -> None:
    school = said(tables, "education")
    assert set(school.values()) == {"Secondary", "University"}
    assert len(school) == 48 - 9 and len(said(tables, "education_years")) == 48
    edit(copy / "S0489" / "SPEAKERS.TSV", "EDUCATION_GRATUATED_SCHOOL", "EDUCATION_GRADUATED_SCHOOL")
    assert said(scan(copy), "education") == school
    assert set(said(tables, "family_history").values()) == {"no occurrence", "AD", "PD", "ADPD"}


@pytest.mark.trap("ewa_db.tab-separated-without-quotes")
def test_commas_and_lone_quotation_marks_end_no_cell(root: Path, tables: Tables) -> None:
    lines = (root / "S0489" / "SPEAKERS.TSV").read_text(encoding="utf-8").splitlines()
    assert sum('"' in line for line in lines) == 1 and any(", but less" in line for line in lines)
    assert len(said(tables, "wais")) == 48  # the last column but one, of every speaker


@pytest.mark.trap("ewa_db.paths-with-double-slash")
def test_paths_are_normalised(root: Path, tables: Tables) -> None:
    listed = (root / "S0489" / "FILES.TSV").read_text(encoding="utf-8")
    assert "./Healthy/mini000001//picture/big3.wav" in listed
    assert "S0489/Healthy/mini000001/picture/big3.wav" in tables.utterances["path"].to_list()
    assert not tables.utterances["path"].str.contains("//|/[.]/").any()


@pytest.mark.trap("ewa_db.time-with-offset")
def test_the_day_of_a_recording_is_the_local_one(tables: Tables) -> None:
    assert tables.utterances["recorded_on"].unique().to_list() == [date(2021, 12, 14)]


@pytest.mark.trap("ewa_db.json-and-mac-twins")
def test_files_beside_the_recordings_are_passed_over(root: Path, tables: Tables) -> None:
    beside = [*root.rglob("._*"), *root.rglob("*.json")]
    assert len(beside) == 2
    named = [*tables.utterances["path"], *tables.rejects["path"]]
    assert not {path.relative_to(root).as_posix() for path in beside} & set(named)


@pytest.mark.trap("ewa_db.codes-share-a-site")
def test_the_whole_code_is_the_speaker(tables: Tables) -> None:
    codes = tables.speakers["speaker_id"].str.strip_prefix("ewa_db:")
    assert codes.str.slice(0, 4).n_unique() == 1 and codes.n_unique() == 48


@pytest.mark.trap("ewa_db.incomplete-speakers")
def test_a_speaker_of_one_short_file_stays(copy: Path) -> None:
    for path in sorted((copy / "S0489" / "Healthy" / "mini000001").rglob("*.wav")):
        if path.name != "big3.wav":
            path.unlink()
    soundfile.write(copy / "S0489" / "Healthy" / "mini000001" / "picture" / "big3.wav", [0.0] * 160, 16000)
    of_one = scan(copy).utterances.filter(pl.col("speaker_id") == "ewa_db:mini000001")
    assert of_one["path"].to_list() == ["S0489/Healthy/mini000001/picture/big3.wav"]


@pytest.mark.trap("ewa_db.incomplete-speakers")
def test_a_published_speaker_without_usable_audio_is_rejected(copy: Path) -> None:
    table = copy / "S0489" / "SPEAKERS.TSV"
    row = table.read_text().splitlines()[1].replace("mini000001", "mini900301")
    table.write_text(table.read_text() + row + "\n")
    tables = scan(copy)
    assert "ewa_db:mini900301" not in set(tables.speakers["speaker_id"])
    line = len(table.read_text().splitlines())
    assert rejected(tables)[f"S0489/SPEAKERS.TSV:{line}"] == "no usable audio of this speaker"


def test_a_doubled_root_folder_is_read(copy: Path, tables: Tables) -> None:
    (copy / "S0489").rename(copy / "inner")
    (copy / "S0489").mkdir()
    (copy / "inner").rename(copy / "S0489" / "S0489")
    assert scan(copy).utterances.height == tables.utterances.height


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


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' words are not here")
def test_the_owners_columns_words_and_paths_are_known() -> None:
    facts = json.loads((REAL / "ewa_db_columns_and_vocabulary.json").read_text(encoding="utf-8"))
    speakers = facts["SPEAKERS.TSV"]
    assert set(SPEAKER_HEADER) == set(speakers["columns_seen"])
    assert {_diagnosis(word) for word in speakers["DIAGNOSIS"]} == set(DIAGNOSES)
    assert FILE.fullmatch(posixpath.normpath(facts["FILES.TSV"]["AUDIOFILE_example"]))
