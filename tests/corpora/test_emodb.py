"""EmoDB: German letters, the speakers as corrected, and the listeners' judgements."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.corpora import emodb
from pipelines.corpora._base import RecipeError
from pipelines.voices import Voices

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"


def touch(root: Path, *names: str) -> Path:
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / "wav" / name).write_bytes(b"audio")
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def said(tables, attribute="emotion", column="value"):
    rows = tables.observations.filter(pl.col("attribute") == attribute)
    return {utt_id.rpartition("/")[2]: value for utt_id, value in rows.select("utt_id", column).iter_rows()}


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * 8
    emotions = tables.observations.filter(pl.col("attribute") == "emotion").join(
        tables.speakers.select("speaker_id", "sex"), on="speaker_id"
    )
    assert set(emotions["source"]) == {"acted"}
    assert emotions.select("value", "sex").unique().height == 7 * 2
    assert set(tables.utterances["language"]) == {"de"}


@pytest.mark.trap("emodb.german-letters")
def test_letters_are_decoded_to_german_words_of_the_vocabulary(tmp_path):
    tables = emodb.scan(touch(tmp_path, *(f"03a01{letter}a.wav" for letter in "WLEAFTN")))
    with (VOCABULARY / "words.csv").open(encoding="utf-8") as file:
        words = {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == "emotion"}
    assert {name[5]: words[word.casefold()] for name, word in said(tables).items()} == {
        "W": "angry",
        "L": "bored",
        "E": "disgusted",
        "A": "fearful",
        "F": "happy",
        "T": "sad",
        "N": "neutral",
    }


@pytest.mark.trap("emodb.first-table-was-wrong")
def test_speakers_are_those_of_the_corrected_table(tmp_path):
    names = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    tables = emodb.scan(touch(tmp_path, *(f"{name}a01Na.wav" for name in names)))
    people = tables.utterances.join(tables.speakers.select("speaker_id", "sex"), on="speaker_id").sort("speaker_id")
    assert people.select("sex", "age").rows() == [
        ("male", 31.0),
        ("female", 34.0),
        ("female", 21.0),
        ("male", 32.0),
        ("male", 26.0),
        ("male", 30.0),
        ("female", 32.0),
        ("female", 35.0),
        ("male", 25.0),
        ("female", 31.0),
    ]
    assert set(tables.speakers["native_language"]) == {"de"}


@pytest.mark.trap("emodb.latin-1-commas")
def test_judgements_are_read_through_padding_and_commas(root, tables, tmp_path):
    raw = (root / emodb.JUDGED).read_bytes()
    assert b",00\xa0\xa0" in raw
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")
    assert len(said(tables, "emotion_recognised", "value_num")) == tables.utterances.height
    touch(tmp_path, "03a01Fa.wav", "03a01Wa.wav")
    lines = (
        "Nr.\tSatz\terkannt\tnatuerlich\r\n1\t03a01Fa.wav\t97,50\xa0\xa0\t65,00\xa0\r\n2\t03a01Wa\t90,00\xa0\t\xa0\r\n"
    )
    (tmp_path / emodb.JUDGED).write_bytes(lines.encode("latin-1"))
    tables = emodb.scan(tmp_path)
    assert said(tables, "emotion_recognised", "value_num") == {"03a01Fa": 97.5, "03a01Wa": 90.0}
    assert said(tables, "emotion_naturalness", "value_num") == {"03a01Fa": 65.0}
    judged = tables.observations.filter(pl.col("attribute") != "emotion")
    assert set(judged["source"]) == {"rater"}
    assert set(judged["unit"]) == {"%"}


@pytest.mark.trap("emodb.more-rows-than-files")
def test_rows_without_a_recording_are_counted(tables):
    assert reasons(tables)["erkennung.txt or db.emotion.csv"] == "judgements without a recording: 3 rows"
    assert not tables.utterances["path"].str.contains("16b10").any()


@pytest.mark.trap("emodb.laryngograms")
def test_laryngograms_are_no_speech(root, tables):
    twins = sorted(path.name for path in (root / "laryngo").iterdir())
    assert len(twins) == 3
    assert tables.utterances["path"].str.starts_with("wav/").all()
    assert tables.utterances.filter(pl.col("path").str.contains(twins[0])).height == 1
    assert not any("laryngo" in path for path in tables.rejects["path"])


def test_release_2_has_its_judgements_in_another_table(tmp_path):
    root = touch(tmp_path / "emodb", "03a01Fa.wav", "08b02Tb.wav")
    (root / "db.emotion.csv").write_text(
        "file,emotion,emotion.confidence,emotion.naturalness\n"
        "wav/03a01Fa.wav,happiness,0.9,1.0\nwav/08b02Tb.wav,sadness,0.45,na\nwav/16b10We.wav,anger,0.3,0.2\n"
    )
    tables = emodb.scan(tmp_path)
    assert said(tables, "emotion_recognised", "value_num") == {"03a01Fa": 90.0, "08b02Tb": 45.0}
    assert said(tables, "emotion_naturalness", "value_num") == {"03a01Fa": 100.0}
    assert said(tables) == {"03a01Fa": "Freude", "08b02Tb": "Trauer"}


def test_odd_names_and_rows(tables):
    found = reasons(tables)
    assert found["wav/99a01Fa.wav"] == "no such speaker"
    assert found["wav/03a01Xa.wav"].startswith("name is not")
    assert found["erkennung.txt:29"] == "no name or not 0 to 100"


def test_without_judgements(copy, tables):
    (copy / emodb.JUDGED).unlink()
    again = emodb.scan(copy)
    assert again.utterances.equals(tables.utterances)
    assert "unknown" in reasons(again)["erkennung.txt or db.emotion.csv"]
    assert set(again.observations["attribute"]) == {"emotion"}


def test_a_table_without_its_column_is_named(copy):
    (copy / emodb.JUDGED).write_text("Nr.\tSatz\tnatuerlich\n1\t03a01Fa.wav\t65,00\n")
    with pytest.raises(RecipeError, match="no column erkannt"):
        emodb.scan(copy)


def test_release_2_without_judgements_is_read(tmp_path):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "03a01Fa.wav").touch()
    (tmp_path / "db.emotion.csv").write_text("file,emotion\nwav/03a01Fa.wav,happiness\n")
    tables = emodb.scan(tmp_path)
    assert said(tables) == {"03a01Fa": "Freude"}
    assert reasons(tables)["db.emotion.csv"].startswith("judgements not read: no column emotion.confidence")


def test_there_are_ten_actors_at_any_scale(tmp_path, monkeypatch):
    monkeypatch.setattr(Voices, "say", lambda self, voice, *args, **kwargs: np.full(800, 0.1, np.float32))
    emodb.miniature(tmp_path, Voices(scale=3))
    assert emodb.scan(tmp_path).speakers.height == 10
