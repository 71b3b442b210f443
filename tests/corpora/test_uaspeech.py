from pathlib import Path

import polars as pl
import pytest

from pipelines import ingest
from pipelines.corpora import uaspeech
from pipelines.corpora._base import RecipeError
from pipelines.voices import Voices


def corpus(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def paths(root: Path, *files: str) -> list[str]:
    return uaspeech.scan(corpus(root, *files)).utterances["path"].to_list()


def said(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return {speaker.partition(":")[2]: value for speaker, value in own.select("speaker_id", "value").iter_rows()}


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 3 + 1
    assert tables.utterances["speech_task"].value_counts().sort("count").rows() == [("digits", 8), ("words", 17)]
    assert set(reasons(tables)) == {
        "UASpeech/audio/original/F03/F03_B1_C9_M1.wav",
        "UASpeech/audio/original/F03/CM04_B1_C9_M5.wav",
    }


def test_labels_on_both_sides_for_both_sexes(tables):
    people = tables.speakers.join(
        tables.observations.filter(pl.col("attribute") == "dysarthria"), on="speaker_id"
    ).select("sex", "value")
    assert people.group_by("sex", "value").len()["len"].to_list() == [2, 2, 2, 2]


def test_never_more_than_twelve_people_at_full_scale(tmp_path):
    uaspeech.miniature(tmp_path, Voices(scale=1.0))
    assert uaspeech.scan(tmp_path).speakers.height == 12


@pytest.mark.trap("uaspeech.seven-microphones")
def test_one_microphone_an_utterance(tables, tmp_path):
    heard = tables.utterances.select("session_id", pl.col("path").str.extract(r"_([A-Z]+\d*)_M\d\.wav$"))
    assert not heard.is_duplicated().any()
    folder = "audio/original/M01/"
    names = [f"{folder}M01_B1_UW3_M{microphone}.wav" for microphone in range(2, 9)]
    assert paths(tmp_path / "all", *names) == [f"{folder}M01_B1_UW3_M5.wav"]
    assert paths(tmp_path / "some", *(name for name in names if "M5" not in name)) == [f"{folder}M01_B1_UW3_M6.wav"]
    tables = uaspeech.scan(corpus(tmp_path / "few", f"{folder}M01_B1_UW3_M8.wav", f"{folder}M01_B1_UW3_M3.wav"))
    assert tables.utterances.select("path", "device").rows() == [(f"{folder}M01_B1_UW3_M3.wav", "M3")]
    assert tables.rejects.is_empty()


@pytest.mark.trap("uaspeech.three-versions")
def test_the_original_before_the_processed_versions(tables, tmp_path):
    normalized = tables.utterances.filter(pl.col("path").str.contains("/normalized/"))
    assert normalized.height == 2  # where there is no original
    assert not tables.utterances["path"].str.contains("noisereduce").any()
    file = "M01/M01_B1_UW3_M{}.wav"
    found = paths(
        tmp_path,
        f"audio/noisereduce/{file.format(5)}",
        f"audio/normalized/{file.format(5)}",
        f"audio/original/{file.format(7)}",
    )
    assert found == [f"audio/original/{file.format(7)}"]


@pytest.mark.trap("uaspeech.control-letter")
def test_the_c_of_a_control_is_not_the_c_of_a_command(tmp_path):
    tables = uaspeech.scan(corpus(tmp_path, "a/F02/F02_B1_C1_M5.wav", "a/CF02/CF02_B1_C1_M5.wav"))
    assert tables.speakers.select("speaker_id", "sex").rows() == [
        ("uaspeech:CF02", "female"),
        ("uaspeech:F02", "female"),
    ]
    assert said(tables, "dysarthria") == {"CF02": "absent", "F02": "present"}
    assert said(tables, "cerebral_palsy") == {"CF02": "absent", "F02": "present"}
    assert not (tables.observations["attribute"] == "healthy").any()


@pytest.mark.trap("uaspeech.older-layout")
def test_both_layouts(tables, tmp_path):
    assert "UASpeech/audio/control/CF03/CF03_B3_LA_M3.wav" in tables.utterances["path"].to_list()
    files = ["audio/F02/F02_B1_C1_M5.wav", "audio/control/CF02/CF02_B1_C1_M5.wav", "flat/M01_B2_CW1_M5.wav"]
    assert sorted(paths(tmp_path, *files)) == sorted(files)


@pytest.mark.trap("uaspeech.block-is-no-speaker-split")
def test_blocks_are_sessions_and_no_split(tables):
    assert tables.utterances["official_split"].null_count() == tables.utterances.height
    assert not uaspeech.CORPUS.official_splits
    assert set(tables.utterances["session_id"].str.slice(-2)) == {"B1", "B2", "B3"}


@pytest.mark.trap("uaspeech.intelligibility-of-patients-only")
def test_intelligibility_of_the_patients_of_the_table(tables, tmp_path):
    found = said(tables, "intelligibility")
    assert found["F03"] == "very low" and found["F05"] == "high"
    assert not any(speaker.startswith("C") for speaker in found)
    assert sum(len(speakers) for speakers in uaspeech.INTELLIGIBILITY.values()) == 15
    assert said(uaspeech.scan(corpus(tmp_path, "a/M06/M06_B1_C1_M5.wav")), "intelligibility") == {}


@pytest.mark.trap("uaspeech.no-ages")
def test_no_ages_are_made_up(tables):
    assert tables.utterances["age"].null_count() == tables.utterances.height
    assert tables.speakers["birth_year"].null_count() == tables.speakers.height


@pytest.mark.parametrize(
    ("word", "task"), [("D7", "digits"), ("LZ", "words"), ("C19", "words"), ("CW100", "words"), ("UW68", "words")]
)
def test_speech_task_from_the_word(tmp_path, word, task):
    tables = uaspeech.scan(corpus(tmp_path, f"M04/M04_B1_{word}_M5.wav"))
    assert tables.utterances["speech_task"].to_list() == [task]


def test_other_names_and_folders_of_others_are_rejected(tmp_path):
    corpus(tmp_path, "M04/M04_B4_C1_M5.wav", "M04/F02_B1_C1_M5.wav", "M04/._M04_B1_C1_M5.wav", "M04/m04_b1_c1_m5.WAV")
    tables = uaspeech.scan(tmp_path)
    assert tables.speakers["speaker_id"].to_list() == ["uaspeech:M04"]
    assert reasons(tables) == {
        "M04/M04_B4_C1_M5.wav": "name is not <speaker>_B<block>_<word>_M<microphone>.wav",
        "M04/F02_B1_C1_M5.wav": "lies in the folder of another speaker",
    }


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"F02_B1_C1_M5\.wav"):
        uaspeech.scan(corpus(tmp_path, "other.wav"))


def test_copies_in_capitals_are_no_rejects(tmp_path):
    """The recipe reads names in either case, and so does what sets the other microphones aside."""
    corpus(tmp_path / "raw", *(f"audio/original/M01/m01_b1_uw3_m{microphone}.WAV" for microphone in (5, 6, 7)))
    done = ingest.ingest(uaspeech.CORPUS, tmp_path / "raw", tmp_path / "tables", b"key")
    assert (done.utterances, done.unclaimed, sum(done.set_aside.values())) == (1, 0, 2)
