import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import esd
from pipelines.corpora._base import RecipeError


def corpus(root: Path, speaker: str, text: bytes | None, *files: str) -> Path:
    for file in files:
        path = root / speaker / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    if text is not None:
        (root / speaker / f"{speaker}.txt").write_bytes(text)
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def emotions(tables):
    return dict(tables.observations.select("utt_id", "value").iter_rows())


def test_miniature_counts(tables):
    assert set(tables.speakers["speaker_id"]) == {"esd:0003", "esd:0004", "esd:0011", "esd:0016"}
    assert tables.utterances.height == 4 * 3 + 1
    assert set(tables.utterances["language"]) == {"en", "zh"}
    assert dict(tables.speakers.select("speaker_id", "native_language").iter_rows())["esd:0004"] == "zh"
    assert set(tables.observations["source"]) == {"acted"}
    assert not tables.utterances["path"].str.contains(r"\._").any()


def test_a_larger_miniature_hears_each_emotion_from_both_sexes(rendered):
    tables = esd.scan(rendered("esd", 1.0))
    assert tables.speakers.height == 12
    both = (
        tables.observations.join(tables.speakers, on="speaker_id").group_by("value").agg(pl.col("sex").n_unique() == 2)
    )
    assert both["sex"].all() and both.height >= 4


LINES = "0001_000001\t早饭我们吃面包\t{}\r\n0001_000351\t早饭我们吃面包\t{}\r\n"


@pytest.mark.trap("esd.encodings", "esd.chinese-words")
@pytest.mark.parametrize("encoding", ["gb2312", "utf-16", "utf-16-le", "utf-8", "utf-8-sig"])
def test_text_files_in_every_encoding(tmp_path, encoding):
    files = ("Neutral/0001_000001.wav", "Angry/0001_000351.wav")
    tables = esd.scan(corpus(tmp_path, "0001", LINES.format("中立", "伤心").encode(encoding), *files))
    assert set(emotions(tables).values()) == {"Neutral"}  # the other is angry in its folder and sad in the text
    assert reasons(tables) == {"0001/Angry/0001_000351.wav": "0001.txt says Sad: the clip keeps no emotion"}


def test_latin_1(tmp_path):
    text = "0016_000351\tA café.\tSad\r\n".encode("latin-1")
    tables = esd.scan(corpus(tmp_path, "0016", text, "Angry/0016_000351.wav"))
    assert not tables.observations.height and tables.utterances.height == 1


def test_miniature_holds_four_encodings(root):
    files = {path.stem: path.read_bytes() for path in root.rglob("00*.txt")}
    assert files["0003"].startswith(b"\xff\xfe")
    for speaker, encoding in (("0004", "gb2312"), ("0016", "latin-1")):
        with pytest.raises(UnicodeDecodeError):
            files[speaker].decode("utf-8")
        assert "\t" in files[speaker].decode(encoding)


@pytest.mark.trap("esd.broken-lines")
def test_broken_lines_are_named_and_their_clips_kept(tables):
    found = {path: reason for path, reason in reasons(tables).items() if ".txt:" in path}
    assert list(found) == ["Emotion Speech Dataset/0011/0011.txt:3"]
    assert found.popitem()[1].startswith("line is not id, text, emotion")
    clips = tables.utterances.filter(pl.col("speaker_id") == "esd:0011", pl.col("official_split") == "test")
    assert clips["utt_id"].item() in emotions(tables)


def test_texts_without_clips_and_unknown_words(tables, tmp_path):
    place = "Emotion Speech Dataset/0004/0004.txt"
    assert reasons(tables)[place] == "1 lines without a clip, first 0004_001750"
    assert next(r for p, r in reasons(tables).items() if p.endswith("Old/0011_000009.wav")).startswith(
        "not in <Neutral|"
    )
    assert "keeps no emotion" in reasons(tables)["Emotion Speech Dataset/0011/Sad/train/0011_001060.wav"]
    assert "Emotion Speech Dataset/0011/Sad/train/0011_001060" not in str(emotions(tables))
    odd = esd.scan(corpus(tmp_path, "0001", LINES.format("怪", "怪").encode(), "Neutral/0001_000001.wav"))
    assert reasons(odd)["0001/0001.txt"].startswith("2 lines with the unknown emotion '怪'")
    assert list(emotions(odd).values()) == ["Neutral"]


@pytest.mark.trap("esd.two-layouts")
def test_layout_without_the_split_and_without_text_files(tmp_path):
    home = tmp_path / "Emotional Speech Dataset (ESD)" / "Emotion Speech Dataset"
    corpus(home, "0011", None, "Angry/0011_000351.wav", "Happy/evaluation/0011_000701.wav", "0011_000001.wav")
    tables = esd.scan(tmp_path)
    assert sorted(tables.utterances["official_split"].to_list(), key=str) == [None, "dev"]
    assert sorted(emotions(tables).values()) == ["Angry", "Happy"]
    assert [reason for path, reason in reasons(tables).items() if path.endswith(".txt")] == ["text file is not there"]
    assert any(path.endswith("0011/0011_000001.wav") for path in reasons(tables))


@pytest.mark.trap("esd.sex-in-no-table")
def test_sex_with_and_without_the_readme(copy, tables):
    sexes = dict(tables.speakers.select("speaker_id", "sex").iter_rows())
    assert sexes == {"esd:0003": "Female", "esd:0004": "Male", "esd:0011": "Male", "esd:0016": "Female"}
    (readme,) = copy.rglob("ReadMe.txt")
    readme.unlink()
    assert esd.scan(copy).speakers.equals(tables.speakers)
    readme.write_text("0003: Chinese Male\n")  # a corrected list wins
    assert dict(esd.scan(copy).speakers.select("speaker_id", "sex").iter_rows())["esd:0003"] == "Male"


def test_both_layouts_at_once_count_a_clip_once(tmp_path):
    files = ("Angry/0011_000351.wav", "Angry/train/0011_000351.wav")
    tables = esd.scan(corpus(tmp_path, "0011", b"0011_000351\tHello.\tAngry\n", *files))
    assert tables.utterances.height == 1
    assert reasons(tables) == {"0011/Angry/train/0011_000351.wav": "second copy of 0011/Angry/0011_000351.wav"}


def test_ten_women_and_ten_men():
    assert len(esd.WOMEN) == 10 and sum(speaker <= "0010" for speaker in esd.WOMEN) == 5


@pytest.mark.trap("esd.split-by-sentence")
def test_owners_split_is_kept_and_not_used(tables):
    splits = tables.utterances.group_by("speaker_id").agg(pl.col("official_split").n_unique())
    assert (splits["official_split"] == 3).all()
    assert set(tables.utterances["official_split"]) == {"train", "dev", "test"}
    assert not esd.CORPUS.official_splits


def test_wrong_folder(copy):
    shutil.rmtree(copy / "Emotion Speech Dataset")
    with pytest.raises(RecipeError, match="no folders 0001 to 0020"):
        esd.scan(copy)
