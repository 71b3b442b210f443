from pathlib import Path

import polars as pl
import pytest
import soundfile

from pipelines.audio import decode
from pipelines.corpora import adresso
from pipelines.corpora._base import RecipeError

SCORES = Path("ADReSSo21/diagnosis/train/adresso-train-mmse-scores.csv")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def by_hand(tmp_path):
    """Two training recordings and one of the test, without test labels."""
    home = tmp_path / "diagnosis"
    write(tmp_path / "diagnosis/train/adresso-train-mmse-scores.csv", "adressfname,mmse,dx\nadrso901,20,ad\n")
    for name in ("train/audio/ad/adrso901", "train/audio/cn/adrso902", "test-dist/audio/adrsdt9"):
        write(home / f"{name}.wav")
        table = home / f"{name.replace('audio', 'segmentation')}.csv"
        write(table, "speaker,begin,end\nINV,0,900\nPAR,900,2900\nPAR,3000,3999\nPAR,5000,6000\n")
    return tmp_path


def facts(tables, attribute):
    return dict(
        tables.observations.filter(pl.col("attribute") == attribute)
        .select("speaker_id", pl.coalesce("value", pl.col("value_num").cast(pl.String)))
        .iter_rows()
    )


@pytest.mark.trap("adresso.no-age-no-sex")
def test_miniature_counts(root):
    tables = adresso.scan(root)
    assert tables.speakers.height == 32 + 1  # and the one without PAR rows
    assert tables.utterances.height == 32 * 2 + 1
    assert tables.speakers["sex"].null_count() == tables.speakers.height
    assert tables.utterances["age"].null_count() == tables.utterances.height
    per_split = tables.utterances.group_by("official_split").agg(pl.col("speaker_id").n_unique())
    assert dict(per_split.iter_rows()) == {"train": 25, "test": 8}


def test_labels_on_both_sides_of_both_splits(root):
    tables = adresso.scan(root)
    splits = dict(tables.utterances.select("speaker_id", "official_split").iter_rows())
    found = {(splits[speaker], value) for speaker, value in facts(tables, "alzheimer").items()}
    assert found == {(split, value) for split in ("train", "test") for value in ("present", "absent")}
    scores = facts(tables, "mmse")
    assert len(scores) == 31  # one NA, one impossible
    ill = {speaker for speaker, value in facts(tables, "alzheimer").items() if value == "present"}
    assert max(float(scores[speaker]) for speaker in ill & scores.keys()) < 26
    assert min(float(score) for speaker, score in scores.items() if speaker not in ill) >= 26


@pytest.mark.trap("adresso.class-is-the-folder", "adresso.no-par-rows")
def test_traps_are_rejected(root):
    tables = adresso.scan(root)
    reasons = {Path(path).name: reason for path, reason in tables.rejects.select("path", "reason").iter_rows()}
    assert "no segmentation" in reasons["adrso898.wav"]
    assert "no PAR row" in reasons["adrso897.csv"]
    assert sorted(reason for name, reason in reasons.items() if "scores.csv:" in name)[-1] == "row without audio"
    assert {"dx contradicts the folder cn: the folder is taken"} <= set(tables.rejects["reason"])
    assert tables.rejects.filter(pl.col("path").str.contains(r"\._")).is_empty()
    whole = tables.utterances.filter(pl.col("start_s").is_null())
    assert whole["speaker_id"].to_list() == ["adresso:adrso897"]
    assert facts(tables, "alzheimer")["adresso:adrso897"] == "absent"
    assert "adresso:adrso897" not in facts(tables, "mmse")


@pytest.mark.trap("adresso.index-column", "adresso.na-mmse")
def test_columns_by_name_and_na_is_no_score(root):
    assert (root / SCORES).read_text().startswith(",adressfname,mmse,dx\n0,adrso901,NA,cn\n")
    scores = facts(adresso.scan(root), "mmse")
    assert "adresso:adrso901" not in scores
    assert scores["adresso:adrso902"] == "19.0"


@pytest.mark.trap("adresso.segment-ends-after-the-audio")
def test_a_segment_may_end_after_the_audio(root):
    """The table keeps the owners' end: the decoder cuts it."""
    last = adresso.scan(root).utterances.filter(pl.col("speaker_id") == "adresso:adrso902")["end_s"].max()
    audio = root / "ADReSSo21/diagnosis/train/audio/ad/adrso902.wav"
    whole = soundfile.info(audio).duration
    assert whole < last < whole + 0.5
    wave, rate = decode(audio, start_s=5.0, end_s=last)
    assert len(wave) == round((whole - 5.0) * rate)


@pytest.mark.trap("adresso.progression-part")
def test_the_progression_task_is_left_out(root):
    tables = adresso.scan(root)
    assert not tables.utterances["path"].str.contains("progression").any()
    assert "another one" in dict(tables.rejects.select("path", "reason").iter_rows())["ADReSSo21/progression"]


@pytest.mark.trap("adresso.adress-m")
def test_adress_m_is_read_whole(tmp_path):
    home = tmp_path / "ADReSS-M-train"
    write(
        home / "training-groundtruth.csv",
        (
            "adressfname,age,gender,educ,dx,mmse\nadrso901,70,female,12,ProbableAD,20\nadrso902,64,male,NA,Control,NA\n"
            "adrso903,64,male,NA,Control,29\n"
        ),
    )
    for name in ("adrso901", "adrso902", "adrso904"):
        write(home / f"train/{name}.mp3")
    tables = adresso.scan(tmp_path)
    assert facts(tables, "alzheimer") == {"adresso:adrso901": "present", "adresso:adrso902": "absent"}
    assert facts(tables, "education_years") == {"adresso:adrso901": "12.0"}
    assert tables.utterances.select("age", "start_s").rows() == [(70.0, None), (64.0, None)]
    assert tables.speakers["sex"].to_list() == ["female", "male"]
    assert tables.speakers["person_id"].to_list() == ["dementiabank:adrso901", "dementiabank:adrso902"]
    assert [Path(path).name for path in tables.rejects["path"]] == [
        "adrso904.mp3",
        "train",
        "training-groundtruth.csv:4",
    ]


@pytest.mark.trap("adresso.interviewer", "adresso.milliseconds")
def test_turns_of_the_participant_of_a_second_or_more_in_seconds(by_hand):
    turns = adresso.scan(by_hand).utterances.select("start_s", "end_s").unique().sort("start_s")
    assert turns.rows() == [(0.9, 2.9), (5.0, 6.0)]


def test_the_test_archive_may_be_unpacked_in_a_folder_of_its_own(by_hand):
    (by_hand / "test" / "ADReSSo21" / "diagnosis").mkdir(parents=True)
    (by_hand / "diagnosis" / "test-dist").rename(by_hand / "test" / "ADReSSo21" / "diagnosis" / "test-dist")
    splits = dict(adresso.scan(by_hand).utterances.select("speaker_id", "official_split").iter_rows())
    assert splits["adresso:adrsdt9"] == "test"
    (by_hand / "test").rename(by_hand.with_name(f"{by_hand.name}-elsewhere"))
    rejects = dict(adresso.scan(by_hand).rejects.select("path", "reason").iter_rows())
    assert rejects["diagnosis/test-dist"] == "not found: no test speakers"


@pytest.mark.trap("adresso.test-labels-came-later")
def test_without_test_labels_the_test_speakers_are_unlabelled(by_hand):
    tables = adresso.scan(by_hand)
    assert facts(tables, "alzheimer") == {"adresso:adrso901": "present", "adresso:adrso902": "absent"}
    assert facts(tables, "mmse") == {"adresso:adrso901": "20.0"}
    assert set(tables.rejects["path"]) == {"test_ground_truth/task1.csv", "test_ground_truth/task2.csv"}


@pytest.mark.parametrize("place", ["test_ground_truth/task1.csv", "test_results_task1_groundtruth.csv"])
def test_test_labels_under_either_name(by_hand, place):
    write(by_hand / place, "ID,Dx\nadrsdt9,Control\n")
    assert facts(adresso.scan(by_hand), "alzheimer")["adresso:adrsdt9"] == "absent"


def test_an_unknown_diagnosis_is_no_diagnosis(by_hand):
    write(by_hand / "test_ground_truth/task1.csv", "ID,Dx\nadrsdt9 ,MCI\nadrsdt8,Control\n")
    tables = adresso.scan(by_hand)
    assert "adresso:adrsdt9" not in facts(tables, "alzheimer")
    assert tables.rejects.filter(pl.col("path").str.contains("task1")).select("path", "reason").rows() == [
        ("test_ground_truth/task1.csv:2", "dx is neither Control nor ProbableAD"),
        ("test_ground_truth/task1.csv:3", "row without audio"),
    ]


def test_unreadable_segments_are_rejected_by_row(by_hand):
    table = by_hand / "diagnosis/train/segmentation/ad/adrso901.csv"
    table.write_text("speaker,begin,end\nPAR,5000,4000\nPAR,x,9000\nPAR,0,400\n")
    tables = adresso.scan(by_hand)
    assert "adresso:adrso901" not in tables.speakers["speaker_id"].to_list()
    rejected = [Path(path).name for path in tables.rejects["path"] if "adrso901" in path]
    assert rejected == ["adrso901.csv:2", "adrso901.csv:3", "adrso901.csv"]


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match="diagnosis/train/audio"):
        adresso.scan(tmp_path)


@pytest.mark.parametrize(
    ("table", "header", "missing"),
    [
        ("diagnosis/train/adresso-train-mmse-scores.csv", "adressfname,score", "mmse"),
        ("test_ground_truth/task1.csv", "ID,label", "dx"),
    ],
)
def test_missing_column_names_file_and_column(by_hand, table, header, missing):
    write(by_hand / table, header + "\nx,y,z\n")
    with pytest.raises(RecipeError, match=f"{Path(table).name}.*no column {missing}"):
        adresso.scan(by_hand)


def test_one_bad_segmentation_stops_nothing(by_hand):
    write(by_hand / "diagnosis/train/segmentation/cn/adrso902.csv", "speaker,start,end\nx,y,z\n")
    tables = adresso.scan(by_hand)
    assert "adresso:adrso902" not in tables.speakers["speaker_id"].to_list()
    assert tables.speakers.height == 2
    rejected = dict(tables.rejects.select("path", "reason").iter_rows())
    assert "no column begin" in rejected["diagnosis/train/segmentation/cn/adrso902.csv"]
