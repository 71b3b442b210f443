from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora._base import RecipeError
from pipelines.corpora.androids import CORPUS, scan
from pipelines.schema import Tables


def rejected(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def speakers_with(tables: Tables, attribute: str, value: str) -> set[str]:
    found = tables.observations.filter(pl.col("attribute") == attribute, pl.col("value") == value)
    return set(found["speaker_id"])


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_every_speaker_reads_once_and_takes_two_turns(tables: Tables) -> None:
    assert tables.speakers.height == 32
    per_speaker = tables.utterances.group_by("speaker_id", "speech_task").len()
    assert set(per_speaker.filter(pl.col("speech_task") == "read")["len"]) == {1}
    assert set(per_speaker.filter(pl.col("speech_task") == "spontaneous")["len"]) == {2}
    assert per_speaker.height == 64


def test_patients_and_controls_are_stated_on_both_sides(tables: Tables) -> None:
    patients, controls = (speakers_with(tables, "depression", value) for value in ("present", "absent"))
    assert len(patients) == len(controls) == 16
    assert all(speaker.endswith("_P") for speaker in patients)
    assert speakers_with(tables, "healthy", "present") == controls
    assert set(tables.speakers["sex"]) == {"F", "M"}
    assert tables.utterances["age"].min() < 35 < 60 <= tables.utterances["age"].max()


def test_one_number_in_both_groups_is_two_speakers(tables: Tables) -> None:
    assert {"androids:01_P", "androids:01_C"} <= set(tables.speakers["speaker_id"])


def test_no_whole_interview_is_used_and_missing_clips_are_cut_from_it(tables: Tables) -> None:
    whole = tables.utterances.filter(pl.col("path").str.contains("Interview-Task/audio/"))
    assert whole.height == 4  # two speakers without clips, two turns each
    assert whole["start_s"].null_count() == whole["end_s"].null_count() == 0
    assert whole["start_s"].min() == pytest.approx(2.5)  # after the interviewer's question
    assert set(whole["speaker_id"].str.slice(-1)) == {"C", "P"}
    others = tables.utterances.filter(~pl.col("path").str.contains("Interview-Task/audio/"))
    assert others["start_s"].null_count() == others.height


def test_clips_follow_in_the_order_they_were_spoken(tables: Tables) -> None:
    clips = tables.utterances.filter(pl.col("path").str.contains("audio_clip"))["path"].to_list()
    assert clips[0].endswith("_9.wav")
    assert clips[1].endswith("_10.wav")


def test_an_unknown_education_is_no_observation(tables: Tables) -> None:
    education = tables.observations.filter(pl.col("attribute") == "education")
    assert education.height == tables.speakers.height - 1
    assert {"primary school", "university"} <= set(education["value"])


def test_what_cannot_be_used_is_rejected(tables: Tables) -> None:
    reasons = rejected(tables)
    home = "Androids-Corpus"
    assert "holds the interviewer" in reasons[f"{home}/Interview-Task/audio/PT/00_PF44_3.wav"]
    assert "the name is not" in reasons[f"{home}/Reading-Task/audio/HC/test recording.wav"]
    assert reasons[f"{home}/interview_timedata.csv:3"] == "no audio for this interview"
    listed = [where for where in reasons if where.startswith(f"{home}/fold-lists.csv")]
    assert len(listed) == 2  # one person in the lists of both tasks, never recorded
    assert len(reasons) == 5


def test_the_fold_lists_byte_order_mark_is_no_id(root: Path) -> None:
    assert (root / "Androids-Corpus" / "fold-lists.csv").read_bytes().startswith(b"\xef\xbb\xbfRead,")
    assert (root / "Androids-Corpus" / "interview_timedata.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_doubled_root_folder_and_no_level_audio(tmp_path: Path) -> None:
    home = tmp_path / "Androids-Corpus" / "Androids-Corpus"
    touch(home / "Reading-Task" / "HC" / "01_CF56_x.wav")
    tables = scan(tmp_path)
    assert tables.utterances["path"].to_list() == ["Androids-Corpus/Androids-Corpus/Reading-Task/HC/01_CF56_x.wav"]
    assert tables.utterances["age"].to_list() == [56]


def test_files_that_contradict_each_other_are_rejected(tmp_path: Path) -> None:
    touch(tmp_path / "Reading-Task" / "audio" / "PT" / "01_CF56_1.wav")
    touch(tmp_path / "Reading-Task" / "audio" / "HC" / "02_CF30_1.wav")
    touch(tmp_path / "Interview-Task" / "audio_clip" / "02_CF31_1" / "02_CF31_1_1.wav")
    touch(tmp_path / "Interview-Task" / "audio_clip" / "02_CF30_1" / "03_CF40_1_1.wav")
    tables = scan(tmp_path)
    assert tables.utterances["path"].to_list() == ["Reading-Task/audio/HC/02_CF30_1.wav"]
    reasons = rejected(tables)
    assert "the folder PT" in reasons["Reading-Task/audio/PT/01_CF56_1.wav"]
    assert "differ from another file" in reasons["Interview-Task/audio_clip/02_CF31_1/02_CF31_1_1.wav"]
    assert "another speaker's folder" in reasons["Interview-Task/audio_clip/02_CF30_1/03_CF40_1_1.wav"]


@pytest.mark.parametrize("line", ["01_CF56_1,1.0,x", "01_CF56_1,1.0", "01_CF56_1,3.0,2.0", "01_CF56_1"])
def test_turns_that_are_no_times_are_rejected_by_row(tmp_path: Path, line: str) -> None:
    touch(tmp_path / "Interview-Task" / "audio" / "HC" / "01_CF56_1.wav")
    (tmp_path / "interview_timedata.csv").write_text(f"{line}\n")
    tables = scan(tmp_path)
    assert tables.utterances.is_empty()
    assert set(rejected(tables)) == {"interview_timedata.csv:1", "Interview-Task/audio/HC/01_CF56_1.wav"}


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"neither Reading-Task/ nor Interview-Task/.*unpack Androids-Corpus\.zip"):
        scan(tmp_path)


def test_scan_leaves_the_folder_as_it_is(copy: Path, tables: Tables) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert scan(copy).utterances.equals(tables.utterances)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_the_corpus_is_stratified_by_what_it_is_about() -> None:
    assert (CORPUS.label, CORPUS.roles, CORPUS.licence.may_redistribute) == ("depression", ("train", "evaluate"), False)
