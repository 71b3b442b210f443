from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import soundfile

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


@pytest.mark.trap("androids.number-restarts-in-each-group")
def test_one_number_in_both_groups_is_two_speakers(tables: Tables) -> None:
    assert {"androids:01_P", "androids:01_C"} <= set(tables.speakers["speaker_id"])


@pytest.mark.trap("androids.interviewer-in-whole-interview")
def test_no_whole_interview_is_used_and_missing_clips_are_cut_from_it(tables: Tables) -> None:
    whole = tables.utterances.filter(pl.col("path").str.contains("Interview-Task/audio/"))
    assert whole.height == 4  # two speakers without clips, two turns each
    assert whole["start_s"].null_count() == whole["end_s"].null_count() == 0
    assert whole["start_s"].min() == pytest.approx(2.5)  # after the interviewer's question
    assert set(whole["speaker_id"].str.slice(-1)) == {"C", "P"}
    others = tables.utterances.filter(~pl.col("path").str.contains("Interview-Task/audio/"))
    assert others["start_s"].null_count() == others.height


@pytest.mark.trap("androids.clip-order")
def test_clips_follow_in_the_order_they_were_spoken(tables: Tables) -> None:
    clips = tables.utterances.filter(pl.col("path").str.contains("audio_clip"))["path"].to_list()
    assert clips[0].endswith("_9.wav")
    assert clips[1].endswith("_10.wav")


@pytest.mark.trap("androids.education-x")
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


@pytest.mark.trap("androids.fold-lists-format")
def test_the_fold_lists_byte_order_mark_is_no_id(root: Path) -> None:
    assert (root / "Androids-Corpus" / "fold-lists.csv").read_bytes().startswith(b"\xef\xbb\xbfRead,")
    assert (root / "Androids-Corpus" / "interview_timedata.csv").read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.trap("androids.layout-variants")
def test_a_doubled_root_folder_and_no_level_audio(tmp_path: Path) -> None:
    home = tmp_path / "Androids-Corpus" / "Androids-Corpus"
    touch(home / "Reading-Task" / "HC" / "01_CF56_x.wav")
    tables = scan(tmp_path)
    assert tables.utterances["path"].to_list() == ["Androids-Corpus/Androids-Corpus/Reading-Task/HC/01_CF56_x.wav"]
    assert tables.utterances["age"].to_list() == [56]


@pytest.mark.trap("androids.layout-variants")
def test_whole_interviews_without_the_level_audio_are_cut_or_rejected(tmp_path: Path) -> None:
    for stem in ("01_CF56_1", "02_CF30_x"):
        touch(tmp_path / "Interview-Task" / "HC" / f"{stem}.wav")
    touch(tmp_path / "Interview-Task" / "audio_clip" / "03_CF44_2_1.wav")  # in no speaker's folder
    (tmp_path / "interview_timedata.csv").write_text("01_CF56_1,1.0,2.5\n")
    tables = scan(tmp_path)
    assert tables.utterances.select("path", "start_s").rows() == [("Interview-Task/HC/01_CF56_1.wav", 1.0)]
    assert set(rejected(tables)) == {"Interview-Task/HC/02_CF30_x.wav", "Interview-Task/audio_clip/03_CF44_2_1.wav"}


@pytest.mark.trap("androids.stem-disagrees")
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


@pytest.mark.trap("androids.timedata-without-header")
@pytest.mark.parametrize(
    "line",
    [
        "01_CF56_1,1.0,x",
        "01_CF56_1,1.0",
        "01_CF56_1,3.0,2.0",
        "01_CF56_1,-1.0,2.0",
        "01_CF56_1,nan,2.0",
        "01_CF56_1",
    ],
)
def test_turns_that_are_no_times_are_rejected_by_row(tmp_path: Path, line: str) -> None:
    touch(tmp_path / "Interview-Task" / "audio" / "HC" / "01_CF56_1.wav")
    (tmp_path / "interview_timedata.csv").write_text(f"{line}\n")
    tables = scan(tmp_path)
    assert tables.utterances.is_empty()
    assert set(rejected(tables)) == {"interview_timedata.csv:1", "Interview-Task/audio/HC/01_CF56_1.wav"}


@pytest.mark.trap("androids.timedata-without-header", "androids.interviewer-in-whole-interview")
def test_the_first_row_of_turns_is_no_header_and_rows_are_as_wide_as_there_are_turns(tmp_path: Path) -> None:
    for stem in ("01_CF56_1", "02_CF30_x"):
        touch(tmp_path / "Interview-Task" / "audio" / "HC" / f"{stem}.wav")
    (tmp_path / "Interview-Task" / "audio_clip" / "01_CF56_1").mkdir(parents=True)  # unpacked, but empty
    lines = ["01_CF56_1,3.21,9.80,15.02,31.47,40,41.5", "'02_CF30_x',1.0,2.0,,,1.0,2.0", "01_CF56_1,1.0,2.0"]
    (tmp_path / "interview_timedata.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    tables = scan(tmp_path)
    cuts = tables.utterances.group_by("speaker_id", maintain_order=True).agg("start_s", "end_s")
    assert cuts.rows() == [
        ("androids:01_C", [3.21, 15.02, 40.0], [9.8, 31.47, 41.5]),
        ("androids:02_C", [1.0], [2.0]),  # the same turn twice is one
    ]
    assert rejected(tables) == {
        "interview_timedata.csv:3": "the turns of this interview stand in interview_timedata.csv:1 already"
    }


@pytest.mark.trap("androids.folds-of-tasks-disagree")
def test_the_folds_of_the_two_tasks_disagree_and_are_no_split(root: Path, tables: Tables) -> None:
    folds: dict[str, set[int]] = {}
    for line in (root / "Androids-Corpus" / "fold-lists.csv").read_text(encoding="utf-8-sig").splitlines()[2:]:
        for column, cell in enumerate(line.split(",")):
            if cell:
                folds.setdefault(cell.strip("'"), set()).add(column % 7)
    assert sum(len(found) == 2 for found in folds.values()) > len(folds) / 2
    assert tables.utterances["official_split"].null_count() == tables.utterances.height
    assert not CORPUS.official_splits


@pytest.mark.trap("androids.fold-lists-format")
@pytest.mark.parametrize("name", ["fold-lists.csv", "fold-list.csv"])
def test_the_column_of_the_interviews_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "Reading-Task" / "HC" / "01_CF56_1.wav")
    (tmp_path / name).write_text(
        "Read,,Interview\nfold1,fold2,fold1\n'01_CF56_1'\n,,'01_CF56_1'\n", encoding="utf-8-sig"
    )
    assert rejected(scan(tmp_path)) == {
        f"{name}:4, column 3": "listed, but no spontaneous recording is usable",
    }


@pytest.mark.trap("androids.education-x")
def test_only_the_ends_of_the_education_scale_have_a_name(tmp_path: Path) -> None:
    for number, level in enumerate("1234xX", start=1):
        touch(tmp_path / "Reading-Task" / "HC" / f"{number:02d}_CF56_{level}.wav")
    education = scan(tmp_path).observations.filter(pl.col("attribute") == "education")
    assert education["value"].to_list() == ["primary school", "level 2 of 4", "level 3 of 4", "university"]


@pytest.mark.trap("androids.short-clips", "androids.mixed-sample-rates")
def test_short_clips_of_any_rate_stay(root: Path, tables: Tables) -> None:
    info = {path: soundfile.info(root / path) for path in tables.utterances["path"]}
    assert {found.samplerate for found in info.values()} == {16000, 44100}
    clips = [found.duration for path, found in info.items() if "audio_clip" in path]
    assert len(clips) == 60 and max(clips) < 5


@pytest.mark.trap("androids.mac-twins")
def test_the_twins_of_a_mac_are_passed_over(root: Path, tables: Tables) -> None:
    assert [path.name for path in root.rglob("._*")]
    assert not any("/._" in path for path in [*tables.utterances["path"], *tables.rejects["path"]])


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"neither Reading-Task/ nor Interview-Task/.*unpack Androids-Corpus\.zip"):
        scan(tmp_path)


def test_scan_leaves_the_folder_as_it_is(copy: Path, tables: Tables) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert scan(copy).utterances.equals(tables.utterances)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_the_corpus_is_stratified_by_what_it_is_about() -> None:
    assert (CORPUS.label, CORPUS.roles, CORPUS.licence.may_redistribute) == ("depression", ("train", "evaluate"), False)
