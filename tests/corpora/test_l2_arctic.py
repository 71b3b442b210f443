import csv
from pathlib import Path

import polars as pl
import pytest

from pipelines.audio import decode
from pipelines.corpora import l2_arctic
from pipelines.corpora._base import RecipeError
from pipelines.schema import Tables

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
HOME = "l2arctic_release_v5.0"


def corpus(root: Path, *places: str) -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    return root


def reasons(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def languages(tables: Tables) -> dict[str, str]:
    return dict(tables.speakers.select("speaker_id", "native_language").iter_rows())


def test_miniature(root, tables):
    assert tables.speakers.height == 8
    assert tables.utterances.filter(pl.col("speech_task") == "read").height == 16
    assert tables.utterances.filter(pl.col("speech_task") == "spontaneous").height == 3
    assert tables.speakers.group_by("native_language").agg(pl.col("sex").n_unique())["sex"].to_list() == [2] * 4
    assert set(tables.utterances["language"]) == {"en"}
    assert decode(root / tables.utterances["path"][0])[1] == 44100


def test_the_readme(tables):
    sexes = [sex for sex, _ in l2_arctic.SPEAKERS.values()]
    assert (len(sexes), sexes.count("F")) == (24, 12)
    for language in ("Arabic", "Chinese", "Hindi", "Korean", "Spanish", "Vietnamese"):
        assert sorted(sex for sex, own in l2_arctic.SPEAKERS.values() if own == language) == ["F", "F", "M", "M"]


@pytest.mark.trap("l2_arctic.archives-in-the-archive")
def test_packed_archives_are_named(tables, copy):
    assert "not unpacked" in reasons(tables)[f"{HOME}/YKWK.zip"]
    for name in ("ABA.zip", "suitcase_corpus.zip", "other.zip"):  # two that were unpacked, and one of no speaker
        (copy / HOME / name).touch()
    assert reasons(l2_arctic.scan(copy)) == reasons(tables)


@pytest.mark.trap("l2_arctic.doubled-folders")
@pytest.mark.parametrize("place", ["ABA", "ABA/ABA", f"{HOME}/ABA", f"{HOME}/ABA/ABA", f"{HOME}/{HOME}/ABA/ABA"])
def test_doubled_folders(tmp_path, place):
    tables = l2_arctic.scan(corpus(tmp_path, f"{place}/wav/arctic_a0001.wav"))
    assert tables.utterances["path"].to_list() == [f"{place}/wav/arctic_a0001.wav"]
    assert tables.speakers["speaker_id"].to_list() == ["l2_arctic:ABA"]
    assert tables.rejects.height == 0


def test_a_second_copy(tmp_path):
    tables = l2_arctic.scan(corpus(tmp_path, "ABA/wav/arctic_a0001.wav", "ABA/ABA/wav/arctic_a0001.wav"))
    assert tables.utterances.height == 1
    assert reasons(tables) == {"ABA/ABA/wav/arctic_a0001.wav": "second copy of ABA/wav/arctic_a0001.wav"}


@pytest.mark.trap("l2_arctic.speakers-in-the-readme")
def test_sex_and_language_are_of_the_speaker(tmp_path, tables):
    found = l2_arctic.scan(corpus(tmp_path, "HJK/wav/arctic_a0001.wav", "HKK/wav/arctic_a0001.wav"))
    assert found.speakers.select("sex", "native_language").rows() == [("F", "Korean"), ("M", "Korean")]
    assert found.observations.select("attribute", "value").unique().rows() == [("accent", "Korean")]
    assert found.observations.height == 2
    assert reasons(tables)[f"{HOME}/XYZ/wav"].startswith("folder is not one of the 24 speakers")


@pytest.mark.trap("l2_arctic.stories-in-lower-case")
def test_stories_are_of_the_same_speakers(tables):
    stories = tables.utterances.filter(pl.col("speech_task") == "spontaneous")
    assert stories["path"].str.contains("suitcase_corpus/suitcase_corpus/wav/[a-z]+.wav").all()
    read = tables.utterances.filter(pl.col("speech_task") == "read")
    assert set(stories["speaker_id"]) < set(read["speaker_id"])
    assert "not one of" in reasons(tables)[f"{HOME}/suitcase_corpus/suitcase_corpus/wav/xyz.wav"]


@pytest.mark.trap("l2_arctic.stories-of-22")
def test_speakers_without_a_story_are_no_error(tmp_path, tables):
    assert "l2_arctic:ASI" in languages(tables)
    assert not tables.utterances["path"].str.contains(r"wav/(?:asi|ska)\.wav").any()
    without = l2_arctic.scan(corpus(tmp_path, "ASI/wav/arctic_a0001.wav", "suitcase_corpus/wav/aba.wav"))
    assert set(languages(without)) == {"l2_arctic:ASI", "l2_arctic:ABA"}
    assert without.rejects.height == 0


@pytest.mark.trap("l2_arctic.same-sentences")
def test_same_sentences_are_other_utterances(tables):
    names = tables.utterances["path"].str.split("/").list.last()
    assert names.is_duplicated().any()
    assert not tables.utterances["utt_id"].is_duplicated().any()


@pytest.mark.trap("l2_arctic.chinese-is-mandarin")
def test_the_languages_are_in_the_word_table(tables):
    with WORDS.open(encoding="utf-8") as file:
        folded = {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == "language"}
    assert "Chinese" in languages(tables).values()
    own = {folded[language.casefold()] for _, language in l2_arctic.SPEAKERS.values()}
    assert own == {"ar", "zh", "hi", "ko", "es", "vi"}
    assert folded["chinese"] == folded["mandarin"]


@pytest.mark.trap("l2_arctic.no-ages")
def test_ages_are_unknown(tables):
    assert tables.utterances["age"].null_count() == tables.utterances.height
    assert tables.speakers["birth_year"].null_count() == tables.speakers.height


def test_odd_names(tables):
    odd = [path for path, reason in reasons(tables).items() if reason.startswith("name is not")]
    assert [Path(path).name for path in odd] == ["arctic_a1.wav"]
    assert tables.rejects.height == 4


@pytest.mark.parametrize("place", ["arctic_a0001.wav", "ABA.zip", "XYZ/wav/arctic_a0001.wav"])
def test_wrong_folder(tmp_path, place):
    with pytest.raises(RecipeError, match="archives of the speakers inside it"):
        l2_arctic.scan(corpus(tmp_path, place))
