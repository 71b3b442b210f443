from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

from pipelines.corpora import pitt
from pipelines.corpora._base import RecipeError


def visit(root: Path, place: str, about: str, turn: str = "\x15900_2900\x15") -> None:
    """A recording and its transcript below ``root``; ``about`` is age, sex, group and MMSE of the @ID line."""
    age, sex, group, mmse = about.split(",")
    audio, transcript = root / f"{place}.mp3", root / "Transcripts" / f"{place}.cha"
    for path in (audio, transcript):
        path.parent.mkdir(parents=True, exist_ok=True)
    audio.touch()
    transcript.write_text(
        f"@ID:\teng|Pitt|PAR|{age};|{sex}|{group}||Participant|{mmse}||\n"
        f"@ID:\teng|Pitt|INV|||||Investigator|||\n*INV:\tgo . \x150_900\x15\n*PAR:\tcookie . {turn}\n@End\n"
    )


def states(tables):
    rows = tables.observations.filter(pl.col("attribute").is_in(["alzheimer", "cognitive_impairment"]))
    return {
        session: (attribute, value)
        for session, attribute, value in rows.select("session_id", "attribute", "value").iter_rows()
    }


def test_miniature_counts(tables):
    assert (tables.speakers.height, tables.utterances.height) == (8, (8 + 2) * 2)
    assert tables.utterances["path"].str.ends_with(".mp3").all()
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"female": 4, "male": 4}
    assert tables.utterances["age"].null_count() == 0
    assert set(tables.speakers["person_id"]) == {f"dementiabank:{number}" for number in range(901, 909)}


@pytest.mark.trap("pitt.visits-of-one-participant")
def test_a_visit_is_a_session_of_the_participant(tables):
    sessions = tables.utterances.filter(pl.col("speaker_id") == "pitt:904").select("session_id", "age").unique()
    assert sorted(sessions["session_id"]) == ["904-0", "904-2"]
    assert sessions["age"].max() - sessions["age"].min() == 2
    scores = tables.observations.filter(attribute="mmse", speaker_id="pitt:904").select("session_id", "value_num")
    assert dict(scores.iter_rows()) == {"904-0": 20.0, "904-2": 12.0}


@pytest.mark.trap("pitt.control-who-falls-ill")
def test_states_are_of_the_visit(tables):
    assert states(tables)["903-0"] == ("alzheimer", "absent")
    assert states(tables)["903-1"] == ("cognitive_impairment", "present")


@pytest.mark.trap("pitt.dementia-is-not-alzheimers")
@pytest.mark.parametrize("word", ["Vascular", "PossibleAD", "Memory", ""])
def test_other_dementia_states_nothing(tmp_path, word):
    visit(tmp_path, "Dementia/cookie/001-0", f"60,male,{word},20")
    tables = pitt.scan(tmp_path)
    assert states(tables) == {}
    assert tables.utterances.height == 1
    texts = tables.observations.filter(attribute="diagnosis_text")["value"].to_list()
    assert texts == ([word] if word else [])
    assert "neither Alzheimer's nor control" in tables.rejects["reason"].item()


def test_a_control_without_a_word_is_a_control_by_the_folder(tmp_path):
    visit(tmp_path, "Control/cookie/002-0", "60,male,,")
    assert states(pitt.scan(tmp_path)) == {"002-0": ("alzheimer", "absent")}


@pytest.mark.trap("pitt.tasks-of-one-group")
def test_other_tasks_are_left_out_and_counted(root, tables):
    assert (root / "English/Pitt/Dementia/fluency/902-0.mp3").is_file()
    assert not tables.utterances["path"].str.contains("fluency").any()
    reason = dict(tables.rejects.select("path", "reason").iter_rows())["English/Pitt/Dementia/fluency"]
    assert reason.startswith("1 recordings of another task")


@pytest.mark.trap("pitt.interviewer")
@pytest.mark.parametrize("turn", ["\x15900_2900\x15", '\x15%snd:"002-0"_900_2900\x15'])
def test_only_the_participant_is_heard(tmp_path, turn):
    visit(tmp_path, "Control/cookie/002-0", "60,male,Control,30", turn)
    assert pitt.scan(tmp_path).utterances.select("start_s", "end_s").rows() == [(0.9, 2.9)]


@pytest.mark.trap("pitt.workbook")
def test_years_of_schooling_from_the_workbook(tables, tmp_path):
    years = tables.observations.filter(attribute="education_years")
    assert dict(years.select("speaker_id", "value_num").iter_rows())["pitt:904"] == 11.0
    visit(tmp_path, "Control/cookie/002-0", "60,male,Control,30")
    with xlsxwriter.Workbook(tmp_path / "Pitt-data.xlsx") as book:
        book.add_worksheet("data").write_row(2, 0, ["id", "years"])
    assert dict(pitt.scan(tmp_path).rejects.select("path", "reason").iter_rows()) == {
        "Pitt-data.xlsx": "no years of schooling: no column educ; found id, years"
    }


def test_sex_that_differs_between_visits_is_left_empty(tmp_path):
    visit(tmp_path, "Control/cookie/002-0", "60,male,Control,30")
    visit(tmp_path, "Control/cookie/002-1", "61,female,Control,30")
    tables = pitt.scan(tmp_path)
    assert tables.speakers["sex"].to_list() == [None]
    assert tables.rejects["reason"].to_list() == ["sex differs between visits: left empty"]


def test_odd_files_are_rejected(tmp_path):
    visit(tmp_path, "Control/cookie/002-0", "60,male,Control,30")
    visit(tmp_path, "copy/Control/cookie/002-0", "60,male,Control,30")
    for odd in ("Control/cookie/2.mp3", "Control/cookie/003-0.mp3", "Control/cookie/._003-0.mp3"):
        (tmp_path / odd).touch()
    assert dict(pitt.scan(tmp_path).rejects.select("path", "reason").iter_rows()) == {
        "Control/cookie/2.mp3": "not Control|Dementia/cookie/<3 digits>-<visit>.mp3",
        "Control/cookie/003-0.mp3": "no transcript: the participant's turns are unknown",
        "copy/Control/cookie/002-0.mp3": "second copy of Control/cookie/002-0.mp3",
    }


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"Control/cookie/002-0\.mp3"):
        pitt.scan(tmp_path)
