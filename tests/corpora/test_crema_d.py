"""CREMA-D: acted and voted emotion, levels, git-lfs, and the owners' table of actors."""

import csv
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines import audio
from pipelines.corpora import crema_d
from pipelines.corpora._base import RecipeError

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/crema_d"
VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"
PEOPLE = '"ActorID","Age","Sex","Race","Ethnicity"\n1001,51,"Male","Caucasian","Not Hispanic"\n'
VOTES = '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"\n'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 70494\n"


def corpus(root: Path, *files: str, votes: str = "", people: str = PEOPLE) -> Path:
    (root / crema_d.TABLE).write_text(people, "utf-8")
    if votes:
        (root / "processedResults").mkdir()
        (root / "processedResults" / crema_d.VOTES).write_text(VOTES + votes, "utf-8")
    for file in files:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_bytes(b"audio")
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def said(tables, attribute="emotion", source="acted"):
    rows = tables.observations.filter((pl.col("attribute") == attribute) & (pl.col("source") == source))
    return {utt_id.removeprefix("crema_d:AudioWAV/"): value for utt_id, value in rows.select("utt_id", "value").rows()}


def test_miniature_has_every_emotion_from_both_sexes_young_and_old(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * 8
    people = tables.utterances.join(tables.speakers.select("speaker_id", "sex"), on="speaker_id").join(
        tables.observations.filter((pl.col("attribute") == "emotion") & (pl.col("source") == "acted")), on="utt_id"
    )
    assert people.select("sex", "value").unique().height == 2 * 6
    assert people.filter(pl.col("age") < 35)["sex"].n_unique() == 2
    assert people.filter(pl.col("age") >= 60)["sex"].n_unique() == 2
    assert tables.utterances["age"].is_between(20, 74).all()


def test_words_are_in_the_vocabulary():
    with (VOCABULARY / "words.csv").open(encoding="utf-8") as file:
        words = {(row["domain"], row["raw"]): row["canonical"] for row in csv.DictReader(file)}
    assert [words["emotion", word] for word in crema_d.EMOTIONS.values()] == [
        "angry",
        "disgusted",
        "fearful",
        "happy",
        "neutral",
        "sad",
    ]
    assert [words["emotion_intensity", word] for word in ("low", "medium", "high")] == ["low", "medium", "high"]


@pytest.mark.trap("crema_d.acted-is-not-heard", "crema_d.tied-votes", "crema_d.three-votes")
def test_the_voices_vote_is_beside_the_acted_emotion(tmp_path):
    files = [f"AudioWAV/1001_{sentence}_ANG_XX.wav" for sentence in ("DFA", "ITS", "TSI", "WSI")]
    votes = (
        '"1","1001_DFA_ANG_XX","D","61","A","62","S","63"\n'
        '"2","1001_ITS_ANG_XX","A:D","37.2:58.6","A","62","A","63"\n'
        '"3","1001_TSI_ANG_XX","Q","61","A","62","A","63"\n'
        '"4","1001_IWW_ANG_XX","A","61","A","62","A","63"\n'
    )
    tables = crema_d.scan(corpus(tmp_path, *files, votes=votes))
    assert set(said(tables).values()) == {"anger"}
    assert len(said(tables)) == 4
    assert said(tables, source="rater") == {"1001_DFA_ANG_XX": "disgust"}  # neither the face's nor a tied vote
    assert tables.rejects.select("path", "reason").rows() == [
        ("processedResults/summaryTable.csv:4", "VoiceVote is not one of A, D, F, H, N, S"),
        ("processedResults/summaryTable.csv", "tied votes, no emotion is recorded as heard: 1"),
        ("processedResults/summaryTable.csv", "votes on recordings that are not here: 1"),
    ]


def test_votes_may_be_missing_or_in_another_folder(tmp_path):
    root = corpus(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav")
    assert reasons(crema_d.scan(root)) == {"summaryTable.csv": "not there: only the acted emotion is known"}
    (root / "data" / "InfoAndStats" / "processedResults").mkdir(parents=True)
    votes = root / "data" / "InfoAndStats" / "processedResults" / crema_d.VOTES
    votes.write_text(VOTES + '"1","1001_DFA_ANG_XX","D","61","A","62","S","63"\n')
    assert said(crema_d.scan(root), source="rater") == {"1001_DFA_ANG_XX": "disgust"}


@pytest.mark.trap("crema_d.level-not-specified")
def test_only_a_level_that_is_given_is_recorded(tmp_path):
    files = [f"AudioWAV/1001_IEO_SAD_{level}.wav" for level in ("LO", "MD", "HI")]
    tables = crema_d.scan(corpus(tmp_path, *files, "AudioWAV/1001_DFA_SAD_XX.wav"))
    assert said(tables, "emotion_intensity") == {
        "1001_IEO_SAD_LO": "low",
        "1001_IEO_SAD_MD": "medium",
        "1001_IEO_SAD_HI": "high",
    }


@pytest.mark.trap("crema_d.silent-recording")
def test_the_recording_without_signal_is_left_out(root, tables):
    with pytest.raises(audio.AudioError, match="silent"):
        audio.load(root / "AudioWAV" / "1076_MTI_SAD_XX.wav")
    assert reasons(tables)["AudioWAV/1076_MTI_SAD_XX.wav"] == "known error: no signal"
    assert not tables.utterances["path"].str.contains("1076_MTI_SAD").any()
    assert "crema_d:1076" in tables.speakers["speaker_id"].to_list()


@pytest.mark.trap("crema_d.lfs-pointers")
def test_pointers_are_rejects_and_alone_they_are_an_error(root, tables, tmp_path):
    assert reasons(tables)["AudioWAV/1001_WSI_NEU_XX.wav"].startswith("git-lfs pointer in place of audio")
    assert not tables.utterances["path"].str.contains("1001_WSI").any()
    corpus(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1001_ITS_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3")
    for file in (tmp_path / "AudioWAV").iterdir():
        file.write_bytes(POINTER)
    tables = crema_d.scan(tmp_path)
    assert tables.utterances["path"].to_list() == ["AudioMP3/1001_DFA_ANG_XX.mp3"]
    assert [path for path, reason in reasons(tables).items() if "pointer" in reason] == [
        "AudioWAV/1001_DFA_ANG_XX.wav",
        "AudioWAV/1001_ITS_ANG_XX.wav",
    ]
    (tmp_path / "AudioMP3" / "1001_DFA_ANG_XX.mp3").write_bytes(POINTER)
    with pytest.raises(RecipeError, match=r"only 3 git-lfs pointers: run `git lfs pull`"):
        crema_d.scan(tmp_path)


@pytest.mark.trap("crema_d.lfs-pointers")
def test_a_pointer_in_place_of_the_votes_is_no_error(copy, tables):
    (copy / "processedResults" / crema_d.VOTES).write_bytes(POINTER)
    again = crema_d.scan(copy)
    assert again.utterances.equals(tables.utterances)
    assert set(again.observations["source"]) == {"acted"}
    assert "git-lfs pointer" in reasons(again)["processedResults/summaryTable.csv"]


@pytest.mark.trap("crema_d.three-copies")
def test_one_copy_of_each_clip_is_an_utterance(tables):
    assert "second copy of a recording" in [reason for path, reason in reasons(tables).items() if "AudioMP3" in path]
    stems = tables.utterances["path"].str.extract(r"([^/]+)\.\w+$")
    assert stems.n_unique() == tables.utterances.height
    endings = tables.utterances["path"].str.extract(r"\.(\w+)$").value_counts()
    assert dict(endings.iter_rows()) == {"wav": 23, "mp3": 1}  # that one has no WAV


@pytest.mark.trap("crema_d.sensitive-columns")
def test_race_and_ethnicity_are_not_taken(tmp_path):
    tables = crema_d.scan(corpus(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav"))
    frames = (tables.speakers, tables.utterances, tables.observations, tables.rejects)
    assert not any("Caucasian" in str(frame.rows()) or "Hispanic" in str(frame.rows()) for frame in frames)
    assert set(tables.observations["attribute"]) == {"emotion"}


def test_odd_rows_and_names(root, tables, tmp_path):
    found = reasons(tables)
    assert found["VideoDemographics.csv:2"] == "row without audio"
    assert found["AudioWAV/1001_ABC_NEU_XX.wav"].startswith("name is not <actor>_<sentence>")
    people = PEOPLE + '1001,20,"Female","x","y"\n1002,,"Female","x","y"\n'
    files = [f"AudioWAV/{actor}_DFA_ANG_XX.wav" for actor in (1001, 1002, 1003)]
    tables = crema_d.scan(corpus(tmp_path, *files, people=people))
    assert tables.utterances["age"].to_list() == [51.0, None]
    assert tables.speakers["sex"].to_list() == ["Male", "Female"]
    assert reasons(tables)["VideoDemographics.csv:3"] == "actor has no id, or is here twice"
    assert reasons(tables)["AudioWAV/1003_DFA_ANG_XX.wav"] == "actor is not in VideoDemographics.csv"


def test_a_missing_table_or_column_is_named(copy):
    table = copy / crema_d.TABLE
    table.write_text(table.read_text().replace('"Sex"', '"Gender"'))
    with pytest.raises(RecipeError, match="no column sex"):
        crema_d.scan(copy)
    table.unlink()
    with pytest.raises(RecipeError, match=r"VideoDemographics\.csv not found"):
        crema_d.scan(copy)


def test_root_may_be_a_folder_around_it(copy, tables, tmp_path):
    inner = tmp_path / "outer" / "CREMA-D-master"
    inner.parent.mkdir()
    shutil.move(copy, inner)
    again = crema_d.scan(inner.parent)
    assert again.utterances.height == tables.utterances.height
    assert again.utterances["path"].str.starts_with("CREMA-D-master/").all()


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' table is not here")
def test_the_owners_table(record_property, tmp_path):
    people = (REAL / crema_d.TABLE).read_text("utf-8")
    actors = pl.read_csv(people.encode(), infer_schema=False)["ActorID"].to_list()
    tables = crema_d.scan(corpus(tmp_path, *(f"AudioWAV/{actor}_DFA_ANG_XX.wav" for actor in actors), people=people))
    assert tables.speakers.height == 91
    record_property("real", f"crema_d: {tables.speakers.height} actors read")
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"Male": 48, "Female": 43}
    assert (tables.utterances["age"].min(), tables.utterances["age"].max()) == (20.0, 74.0)
    assert tables.utterances["age"].null_count() == 0
    assert reasons(tables) == {"summaryTable.csv": "not there: only the acted emotion is known"}
