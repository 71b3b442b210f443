from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import eatd
from pipelines.corpora._base import RecipeError


def volunteer(root: Path, folder: str, new_label: str | None = "60.0", label: str | None = "48") -> None:
    for question in eatd.QUESTIONS:
        wav(root / folder / f"{question}.wav")
    for name, text in {"new_label.txt": new_label, "label.txt": label}.items():
        if text is not None:
            (root / folder / name).write_bytes(text.encode())


def wav(path: Path, size: int = 4000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def scores(tables):
    return dict(tables.observations.select("speaker_id", "value_num").iter_rows())


def splits(tables):
    return dict(tables.utterances.select("speaker_id", "official_split").iter_rows())


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


@pytest.mark.trap("eatd.questions", "eatd.no-demographics", "eatd.encodings")
def test_miniature(tables, root):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * 8 - 1
    assert set(tables.utterances["speech_task"]) == {"spontaneous"}
    assert set(tables.observations["attribute"]) == {"sds"}
    assert set(tables.observations["instrument"]) == {"SDS"}
    depressed = [score >= 53 for score in scores(tables).values()]
    assert sum(depressed) == 4
    assert tables.speakers["sex"].null_count() == 8
    assert tables.utterances["age"].null_count() == tables.utterances.height
    with pytest.raises(UnicodeDecodeError):
        (root / "EATD-Corpus" / "t_7" / "positive.txt").read_text("utf-8")


@pytest.mark.trap("eatd.same-number")
def test_train_and_validation_count_their_own_people(tables):
    assert {"eatd:t_5": "train", "eatd:v_5": "dev"}.items() <= splits(tables).items()
    assert {f"eatd:{side}_{n}" for side in "tv" for n in (5, 7, 9, 11)} == set(tables.speakers["speaker_id"])


@pytest.mark.trap("eatd.processed-copies", "eatd.no-frames", "eatd.apple-double")
def test_one_copy_of_every_answer_that_holds_something(tables, root):
    paths = set(tables.utterances["path"])
    assert {path for path in paths if path.endswith("_out.wav")} == {"EATD-Corpus/t_5/neutral_out.wav"}
    assert "EATD-Corpus/t_7/negative.wav" not in paths
    found = reasons(tables)
    assert found["EATD-Corpus/t_5/neutral.wav"] == "absent or empty: neutral_out.wav is taken"
    assert found["EATD-Corpus/t_7/negative.wav"] == "no recording of 0.1 s or more"
    assert (root / "EATD-Corpus" / "t_5" / "._positive.wav").is_file()
    assert not any("._" in path for path in paths | found.keys())
    assert len(found) == 3


@pytest.mark.trap("eatd.raw-total")
@pytest.mark.parametrize(
    ("new_label", "label", "score", "reason"),
    [
        ("60.0", "48", 60.0, None),
        ("60.0\n", None, 60.0, None),
        ("\ufeff60.0\r\nmore", "48", 60.0, None),
        (None, "48", 60.0, "times 1.25 is taken"),
        ("sixty", "48", 60.0, "times 1.25 is taken"),
        ("48", "48", None, "is not label.txt times 1.25"),
        (None, None, None, "no number"),
        ("15", None, None, "outside 25..100"),
    ],
)
def test_score_is_the_index(tmp_path, new_label, label, score, reason):
    volunteer(tmp_path, "EATD-Corpus/t_1", new_label, label)
    tables = eatd.scan(tmp_path)
    assert scores(tables).get("eatd:t_1") == score
    assert [reason in text for text in reasons(tables).values()] == ([] if reason is None else [True])
    assert tables.utterances.height == 3


def test_the_raw_total_of_the_miniature_is_not_taken_for_the_index(tables, root):
    total = float((root / "EATD-Corpus" / "v_9" / "label.txt").read_text())
    assert scores(tables)["eatd:v_9"] == 1.25 * total
    assert not (root / "EATD-Corpus" / "v_9" / "new_label.txt").exists()


@pytest.mark.trap("eatd.numeric-folders")
def test_folders_of_the_authors_code(tmp_path):
    volunteer(tmp_path, "EATD/Data/1")
    volunteer(tmp_path, "EATD/ValidationData/1")
    volunteer(tmp_path, "EATD/ValidationData/v_2")
    volunteer(tmp_path, "EATD/3")
    assert splits(eatd.scan(tmp_path)) == {
        "eatd:t_1": "train",
        "eatd:v_1": "dev",
        "eatd:v_2": "dev",
        "eatd:3": None,
    }


def test_second_copies_and_other_folders(tmp_path):
    volunteer(tmp_path, "Data/1")
    volunteer(tmp_path, "EATD-Corpus/t_1")
    volunteer(tmp_path, "EATD-Corpus/samples")
    tables = eatd.scan(tmp_path)
    assert tables.speakers["speaker_id"].to_list() == ["eatd:t_1"]
    assert reasons(tables)["EATD-Corpus/t_1"] == "second copy of Data/1"
    assert "not named" in reasons(tables)["EATD-Corpus/samples"]


def test_speakers_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        volunteer(tmp_path, f"t_{number}")
    assert eatd.scan(tmp_path).speakers["speaker_id"].to_list() == ["eatd:t_1", "eatd:t_2", "eatd:t_10"]


def test_a_volunteer_without_recordings_is_no_speaker(tmp_path):
    volunteer(tmp_path, "t_1")
    volunteer(tmp_path, "t_2")
    for question in eatd.QUESTIONS:
        wav(tmp_path / "t_2" / f"{question}.wav", 44)
    tables = eatd.scan(tmp_path)
    assert tables.speakers.height == 1
    assert tables.rejects.filter(pl.col("path").str.starts_with("t_2/")).height == 3


def test_wrong_folder(tmp_path):
    wav(tmp_path / "music" / "song.wav")
    with pytest.raises(RecipeError, match=r"t_1/positive.wav"):
        eatd.scan(tmp_path)
