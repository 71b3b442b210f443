from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import torgo
from pipelines.corpora._base import RecipeError


def wav(root: Path, place: str, frames: int = 100) -> None:
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * (torgo.WAV_HEADER_BYTES + 2 * frames))


@pytest.mark.trap("torgo.no-table")
def test_miniature_counts(root):
    tables = torgo.scan(root)
    assert tables.speakers.height == 32
    assert tables.utterances.height == 32 * 3 + 1
    assert tables.observations.height == 32
    assert set(tables.utterances["speech_task"]) == {"read", "words", "spontaneous", None}


@pytest.mark.trap("torgo.severity-disagrees", "torgo.no-table")
def test_neither_severity_nor_age_is_made_up(root):
    tables = torgo.scan(root)
    assert set(tables.observations["attribute"]) == {"dysarthria"}
    assert set(tables.observations["value"]) == {"present", "absent"}
    assert tables.utterances["age"].null_count() == tables.utterances.height


@pytest.mark.trap("torgo.prompt-and-audio-part")
def test_a_recording_without_a_prompt_is_kept(root):
    kept = torgo.scan(root).utterances.filter(pl.col("path") == "M01/Session1/wav_arrayMic/0004.wav")
    assert kept["speech_task"].to_list() == [None]


@pytest.mark.trap("torgo.two-microphones", "torgo.no-frames")
def test_labels_on_both_sides_for_both_sexes(root):
    tables = torgo.scan(root)
    people = tables.speakers.join(tables.observations, on="speaker_id").select("sex", "value")
    assert people.group_by("sex", "value").len()["len"].to_list() == [8, 8, 8, 8]
    letters = dict(tables.observations.select("speaker_id", "value").iter_rows())
    assert letters["torgo:F01"] == letters["torgo:M01"] == "present"
    assert letters["torgo:FC01"] == letters["torgo:MC01"] == "absent"


@pytest.mark.trap("torgo.discard-prompt", "torgo.prompt-and-audio-part", "torgo.odd-names")
def test_one_microphone_an_utterance(root):
    tables = torgo.scan(root)
    once = tables.utterances.select("session_id", pl.col("path").str.slice(-8))
    assert not once.is_duplicated().any()
    by_array = tables.utterances.filter(pl.col("device") == "arrayMic")
    assert by_array["path"].to_list() == ["M01/Session1/wav_arrayMic/0004.wav"]  # the head's file has no frames


@pytest.mark.trap("torgo.odd-sessions", "torgo.no-frames", "torgo.two-microphones")
def test_traps_are_rejected(root):
    found = dict(torgo.scan(root).rejects.select("path", "reason").iter_rows())
    assert found.keys() == {
        "M001/Session1/wav_headMic/0001.wav",
        "M01/Session1/wav_headMic/0004.wav",
        "M01/Session1/wav_headMic/0005.wav",
        "M01/Session1/wav_headMic/0007 (copy).wav",
        "M01/Session1/prompts/0006.txt",
    }
    assert "xxx" in found["M01/Session1/wav_headMic/0005.wav"]
    assert found["M01/Session1/wav_headMic/0004.wav"] == "no frames: the other microphone is read"
    assert found["M01/Session1/prompts/0006.txt"] == "prompt without audio"


def test_archives_in_folders_of_their_own_and_odd_sessions(tmp_path):
    wav(tmp_path, "F/F03/Session2_1/wav_arrayMic/0100.wav")
    wav(tmp_path, "FC/FC03/Session1/wav_headMic/0100.wav", frames=0)
    tables = torgo.scan(tmp_path)
    assert tables.utterances.select("speaker_id", "session_id", "device").rows() == [
        ("torgo:F03", "F03/Session2_1", "arrayMic")
    ]
    assert tables.rejects["reason"].to_list() == ["no frames"]


@pytest.mark.trap("torgo.instruction-prompts")
@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        ("[say Ah-P-Eee repeatedly]", "syllables"),
        ("[relax your mouth in its normal position]", None),
        ("tear [as in tear up that paper]", "words"),
        ("input/images/boat.jpg", "spontaneous"),
        ("The quick brown fox.", "read"),
        ("", None),
    ],
)
def test_speech_task_from_the_prompt(tmp_path, prompt, task):
    wav(tmp_path, "M04/Session1/wav_headMic/0001.wav")
    (tmp_path / "M04/Session1/prompts").mkdir()
    (tmp_path / "M04/Session1/prompts/0001.txt").write_text(prompt + "\n")
    assert torgo.scan(tmp_path).utterances["speech_task"].to_list() == [task]


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"F01/Session1/wav_headMic/0001.wav"):
        torgo.scan(tmp_path)
