from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import daic_woz, e_daic
from pipelines.corpora._base import RecipeError

HEADER = "Participant_ID,Gender,PHQ_Binary,PHQ_Score,PCL-C (PTSD),PTSD Severity\n"


def session(root: Path, identity: str, *turns: str) -> None:
    folder = root / "data" / f"{identity}_P"
    folder.mkdir(parents=True)
    (folder / f"{identity}_AUDIO.wav").touch()
    (folder / f"{identity}_Transcript.csv").write_text(
        "\n".join(["Start_Time,End_Time,Text,Confidence", *turns]) + "\n"
    )


@pytest.fixture
def by_hand(tmp_path):
    """One participant in each split."""
    (tmp_path / "labels").mkdir()
    for split, row in {
        "train": "300, female ,0,9,0,28.0",
        "dev": "318,male,1,12,1,50",
        "test": "600,male,0,3,0,17",
    }.items():
        (tmp_path / "labels" / f"{split}_split.csv").write_text(HEADER + row + "\n")
    for identity in ("300", "318", "600"):
        session(tmp_path, identity, '3.1,6.3,"yes, i do",0.9')
    return tmp_path


def turns(tables, identity):
    own = tables.utterances.filter(pl.col("speaker_id") == f"e_daic:{identity}")
    return own.select("start_s", "end_s").sort("start_s").rows()


def observed(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return dict(own.select("speaker_id", "value_num").iter_rows())


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 2 * 8
    splits = dict(tables.utterances.select("speaker_id", "official_split").iter_rows())
    assert set(splits.values()) == {"train", "dev", "test"}
    depressed = {speaker for speaker, score in observed(tables, "phq8").items() if score >= 10}
    sexes = dict(tables.speakers.select("speaker_id", "sex").iter_rows())
    assert {sexes[speaker] for speaker in depressed} == {"female", "male"} == set(sexes.values())
    assert {sexes[speaker] for speaker in sexes.keys() - depressed} == {"female", "male"}
    assert dict(tables.observations.select("attribute", "instrument").iter_rows()) == {
        "phq8": "PHQ-8",
        "pcl_c": "PCL-C",
    }


@pytest.mark.trap("e_daic.fewer-folders", "e_daic.packed-folders", "e_daic.apple-double", "e_daic.wrong-binary")
def test_what_the_miniature_rejects(tables, root):
    found = reasons(tables)
    assert found.pop("data/717_P.tar.gz") == "archive is not unpacked"
    assert "none of the split tables" in found.pop("data/716_P/716_AUDIO.wav")
    assert sorted(found.values()) == ["PHQ-8 binary contradicts the total: the total is taken", "row without audio"]
    assert (root / "data" / "716_P" / "._716_AUDIO.wav").is_file()
    assert observed(tables, "phq8")["e_daic:600"] < 10


@pytest.mark.trap("e_daic.shared-people")
def test_the_people_of_daic_woz_are_the_same_people(tables, rendered):
    columns = ("person_id", "sex")
    before = dict(daic_woz.scan(rendered("daic_woz")).speakers.select(columns).iter_rows())
    here = dict(tables.speakers.select(columns).iter_rows())
    assert len(here.keys() & before.keys()) == 4
    assert all(here[person] == before[person] for person in here.keys() & before.keys())


@pytest.mark.trap("e_daic.interviewer")
def test_only_rows_of_the_transcript_are_cut_out_and_never_the_whole_file(tables, root):
    assert tables.utterances.select("start_s", "end_s").null_count().row(0) == (0, 0)
    assert turns(tables, "600") == [(1.7, 4.7), (7.0, 10.2)]  # the interviewer has the first 1.5 s
    text = (root / "data" / "600_P" / "600_Transcript.csv").read_text()
    assert "speaker" not in text.casefold()


@pytest.mark.trap("e_daic.comma-separated-transcript", "e_daic.daic-woz-offsets")
def test_transcripts_are_not_those_of_daic_woz(by_hand):
    assert turns(e_daic.scan(by_hand), "318") == [(3.1, 6.3)]  # DAIC-WOZ adds 34 s to 318
    path = by_hand / "data" / "318_P" / "318_Transcript.csv"
    path.write_text("start_time\tstop_time\tspeaker\tvalue\n1\t5\tParticipant\tyes\n")
    tables = e_daic.scan(by_hand)
    assert turns(tables, "318") == []
    assert "no column start_time" in reasons(tables)["data/318_P/318_Transcript.csv"]
    assert tables.speakers.height == 2


def test_short_and_impossible_rows(by_hand):
    path = by_hand / "data" / "300_P" / "300_Transcript.csv"
    path.write_text("Start_Time,End_Time,Text,Confidence\n1,1.5,yes,1\n5,4,no,1\n6,8,well,0.5\n6,8,well,0.5\nx,9,b,1\n")
    tables = e_daic.scan(by_hand)
    assert turns(tables, "300") == [(6.0, 8.0)]
    assert {place[-2:] for place in reasons(tables)} == {":3", ":6"}


@pytest.mark.trap("e_daic.interruptions")
def test_interruptions_are_cut(by_hand):
    session(by_hand, "373", "390,394,a,1", "394,396,b,1", "400,410,c,1", "428,430,d,1")
    with (by_hand / "labels" / "dev_split.csv").open("a") as table:
        table.write("373,male,0,0,0,17\n")
    assert turns(e_daic.scan(by_hand), "373") == [(390.0, 394.0), (428.0, 430.0)]


@pytest.mark.trap("e_daic.ptsd-columns", "e_daic.gender-with-blanks")
def test_scores_and_sex(by_hand):
    tables = e_daic.scan(by_hand)
    assert observed(tables, "phq8") == {"e_daic:300": 9, "e_daic:318": 12, "e_daic:600": 3}
    assert observed(tables, "pcl_c") == {"e_daic:300": 28, "e_daic:318": 50, "e_daic:600": 17}
    sexes = dict(tables.speakers.select("speaker_id", "sex").iter_rows())
    assert sexes == {"e_daic:300": "female", "e_daic:318": "male", "e_daic:600": "male"}
    assert "ptsd" not in tables.observations["attribute"].to_list()


def test_scores_outside_their_scale_are_unknown(by_hand):
    (by_hand / "labels" / "test_split.csv").write_text(HEADER + "600,male,0,25,0,0\n")
    tables = e_daic.scan(by_hand)
    assert "e_daic:600" not in observed(tables, "phq8") | observed(tables, "pcl_c")
    assert set(tables.rejects["reason"]) == {
        "PHQ-8 total is outside 0..24: no score taken",
        "PTSD Severity is outside 17..85: no score taken",
    }


def test_items_check_the_total(by_hand):
    names = ",".join(f"PHQ_8{name}" for name in e_daic.ITEM_NAMES)
    table = by_hand / "labels" / e_daic.DETAILED
    table.write_text(f"Participant_ID,{names},PHQ_8Total\n300,2,1,2,1,1,1,1,0,9\n318,1,1,1,1,1,1,1,1,12\n")
    tables = e_daic.scan(by_hand)
    assert observed(tables, "phq8") == {"e_daic:300": 9, "e_daic:600": 3}
    assert "not the sum" in reasons(tables)["labels/dev_split.csv:2"]
    table.write_text("Participant_ID,PHQ_8Total\n300,9\n")
    assert "eight items" in reasons(e_daic.scan(by_hand))[f"labels/{e_daic.DETAILED}:2"]


def test_doubled_root_folder_and_a_missing_split(by_hand, tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    by_hand.rename(root / "E-DAIC")
    assert e_daic.scan(root).speakers.height == 3
    (root / "E-DAIC" / "labels" / "test_split.csv").unlink()
    tables = e_daic.scan(root)
    assert tables.speakers.height == 2
    assert "not found" in reasons(tables)["test_split.csv"]


def test_session_without_transcript_is_rejected(by_hand):
    (by_hand / "data" / "300_P" / "300_Transcript.csv").unlink()
    tables = e_daic.scan(by_hand)
    assert tables.speakers.height == 2
    assert "no transcript" in reasons(tables)["data/300_P/300_Transcript.csv"]


def test_wrong_folder(by_hand, tmp_path_factory):
    with pytest.raises(RecipeError, match=r"train_split.csv"):
        e_daic.scan(tmp_path_factory.mktemp("empty"))
    for path in by_hand.rglob("*_AUDIO.wav"):
        path.unlink()
    with pytest.raises(RecipeError, match=r"unpack data/\*_P.tar.gz"):
        e_daic.scan(by_hand)


def test_missing_column_names_file_and_column(by_hand):
    (by_hand / "labels" / "dev_split.csv").write_text("Participant_ID,Gender\n1,2\n")
    with pytest.raises(RecipeError, match=r"dev_split.csv.*no column phq_score"):
        e_daic.scan(by_hand)
