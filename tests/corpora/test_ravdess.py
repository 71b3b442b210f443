"""RAVDESS: everything is in the seven numbers of a name."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from pipelines import audio
from pipelines.corpora import ravdess
from pipelines.corpora._base import RecipeError

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"audio")
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def said(tables, attribute="emotion"):
    rows = tables.observations.filter(pl.col("attribute") == attribute, pl.col("utt_id").is_not_null())
    assert set(rows["source"]) <= {"acted"}
    return {utt_id.rpartition("/")[2]: value for utt_id, value in rows.select("utt_id", "value").iter_rows()}


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * 8 + 2
    emotions = tables.observations.filter(pl.col("attribute") == "emotion").join(
        tables.speakers.select("speaker_id", "sex"), on="speaker_id"
    )
    assert emotions["value"].n_unique() == 8
    assert emotions.select("value", "sex").unique().height >= 15
    accents = tables.observations.filter(pl.col("attribute") == "accent")
    assert accents.height == 8
    assert set(accents["value"]) == {"neutral North American"}


@pytest.mark.trap("ravdess.numbers-for-emotions")
def test_numbers_are_decoded_to_words_of_the_vocabulary(tmp_path):
    tables = ravdess.scan(touch(tmp_path, *(f"Actor_09/03-01-{n:02d}-01-01-01-09.wav" for n in range(1, 9))))
    assert list(said(tables).values()) == [
        "neutral",
        "calm",
        "happy",
        "sad",
        "angry",
        "fearful",
        "disgust",
        "surprised",
    ]
    with (VOCABULARY / "words.csv").open(encoding="utf-8") as file:
        words = {(row["domain"], row["raw"]) for row in csv.DictReader(file) if row["canonical"]}
    assert {("emotion", word) for word in ravdess.EMOTIONS.values()} <= words
    assert {("emotion_intensity", word) for word in ravdess.INTENSITIES.values()} <= words
    assert ("accent", ravdess.ACCENT.casefold()) in words


@pytest.mark.trap("ravdess.sex-in-the-number", "ravdess.no-ages")
def test_odd_is_male_and_nobody_has_an_age(tmp_path):
    tables = ravdess.scan(touch(tmp_path, *(f"Actor_{n:02d}/03-01-05-01-01-01-{n:02d}.wav" for n in (1, 2, 23, 24))))
    assert dict(tables.speakers.select("speaker_id", "sex").iter_rows()) == {
        "ravdess:01": "male",
        "ravdess:02": "female",
        "ravdess:23": "male",
        "ravdess:24": "female",
    }
    assert tables.utterances["age"].null_count() == 4
    assert "age_range" not in set(tables.observations["attribute"])


@pytest.mark.trap("ravdess.no-strong-neutral")
def test_strong_neutral_is_rejected(tmp_path):
    files = [f"Actor_01/03-01-{code}-01-01-01.wav" for code in ("01-01", "01-02", "05-02")]
    tables = ravdess.scan(touch(tmp_path, *files))
    assert said(tables, "emotion_intensity") == {
        "03-01-01-01-01-01-01": "normal",
        "03-01-05-02-01-01-01": "strong",
    }
    assert "no strong neutral" in reasons(tables)["Actor_01/03-01-01-02-01-01-01.wav"]


@pytest.mark.trap("ravdess.song-and-film")
def test_song_and_film_are_left_out(root, tables):
    assert tables.utterances["path"].str.contains(r"/03-01-[^/]+\.wav$").all()
    assert reasons(tables)["Actor_02/03-02-03-01-01-01-02.wav"] == "song, not speech"
    assert reasons(tables)["Actor_02/01-01-03-01-01-01-02.wav"] == "from a film, which repeats the sound"
    assert "seven numbers" in reasons(tables)["Actor_02/03-01-03-01-01-02.wav"]
    assert not any("._" in path for path in tables.rejects["path"])


@pytest.mark.trap("ravdess.two-channels")
def test_two_channels_become_one(root, tables):
    path = root / "Actor_05"
    stereo = [file for file in sorted(path.glob("*.wav")) if soundfile.info(file).channels == 2]
    assert len(stereo) == 1
    assert tables.utterances["channel"].null_count() == tables.utterances.height  # null: the mean of both
    both, rate = soundfile.read(stereo[0], dtype="float32")
    wave, _ = audio.decode(stereo[0])
    assert (rate, wave.ndim) == (48000, 1)
    assert np.allclose(wave, both.mean(axis=1), atol=1e-6)


@pytest.mark.trap("ravdess.everything-twice")
def test_second_copies_are_rejects(tables):
    copies = [path for path, reason in reasons(tables).items() if reason == "second copy of a recording"]
    assert len(copies) == 3 and all(path.startswith("audio_speech_actors_01-24/Actor_01/") for path in copies)
    assert tables.utterances["path"].str.starts_with("Actor_").all()


@pytest.mark.trap("ravdess.identical-takes")
def test_identical_takes_are_both_kept_with_one_speaker(root, tables):
    takes = tables.utterances.filter(pl.col("path").str.contains(r"03-01-03-01-02-0[12]-07"))
    assert len({hashlib.sha256((root / path).read_bytes()).digest() for path in takes["path"]}) == 1
    assert takes.height == 2
    assert takes["speaker_id"].unique().to_list() == ["ravdess:07"]


@pytest.mark.trap("ravdess.not-cc-by")
def test_licence_is_not_commercial():
    assert ravdess.CORPUS.licence.name == "CC BY-NC-SA 4.0"
    assert "by-nc-sa" in ravdess.CORPUS.licence.url


def test_a_folder_of_other_audio_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"no seven numbers .* Audio_Speech_Actors_01-24.zip"):
        ravdess.scan(touch(tmp_path, "speech/hello.wav", "Actor_25/03-01-05-01-01-01-25.wav"))
