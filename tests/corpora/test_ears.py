import csv
import json
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import ears
from pipelines.corpora._base import RecipeError

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
PERSON = {"age": "36-45", "gender": "female", "native language": "german", "weight": "1", "ethnicity": "x"}
# The owners' 22 emotions and "neutral", as their file names spell them.
EMOTIONS = """
    adoration amazement amusement anger confusion contentment cuteness desire disappointment disgust distress
    embarassment extasy fear guilt interest neutral pain pride realization relief sadness serenity
"""


def words(domain: str) -> dict[str, str]:
    with WORDS.open(encoding="utf-8") as file:
        return {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == domain}


def corpus(root: Path, *files: str, people: dict[str, object] | None = None) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    (root / ears.TABLE).write_text(json.dumps({"p001": PERSON} if people is None else people), "utf-8")
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def observed(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return dict(own.select(pl.coalesce("utt_id", "speaker_id"), "value").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * 8
    assert tables.utterances["age"].null_count() == tables.utterances.height
    anger = tables.observations.filter(pl.col("value") == "anger").join(tables.speakers, on="speaker_id")
    assert {"female", "male"} <= set(anger["sex"])
    found = reasons(tables)
    assert found.pop("p001/rainbow.wav") == "name is no task of EARS"
    assert found.pop("p106") == "speaker is not in speaker_statistics.json"
    assert found.pop("speaker_statistics.json") == "speaker p107 has no recordings"
    assert list(found) == ["p001", "p005"]


def test_tasks(tmp_path):
    tasks = {
        "emo_anger_sentences": "read",
        "emo_anger_freeform": "spontaneous",
        "freeform_speech_01": "spontaneous",
        "interjection_filler": None,
        "rainbow_01_whisper": "read",
        "sentences_24_regular": "read",
    }
    tables = ears.scan(corpus(tmp_path, *(f"p001/{task}.wav" for task in tasks)))
    found = {Path(path).stem: task for path, task in tables.utterances.select("path", "speech_task").iter_rows()}
    assert found == tasks
    assert set(observed(tables, "emotion").values()) == {"anger"}


@pytest.mark.trap("ears.table-elsewhere")
def test_missing_table_says_where_it_is(copy):
    (copy / ears.TABLE).unlink()
    with pytest.raises(RecipeError, match=r"no speaker_statistics.json; copy it from https://github.com"):
        ears.scan(copy)


def test_table_beside_the_folder_of_the_archives(tmp_path):
    corpus(tmp_path, "EARS/p001/rainbow_01_slow.wav")
    assert ears.scan(tmp_path).utterances["path"].to_list() == ["EARS/p001/rainbow_01_slow.wav"]


def test_table_in_a_clone_of_the_repository(tmp_path):
    corpus(tmp_path, "EARS/p001/rainbow_01_slow.wav")
    (tmp_path / "ears_dataset").mkdir()
    (tmp_path / ears.TABLE).rename(tmp_path / "ears_dataset" / ears.TABLE)
    assert ears.scan(tmp_path).speakers["sex"].to_list() == ["female"]


@pytest.mark.trap("ears.doubled-folders")
def test_doubled_folders_are_read_and_empty_ones_named(tmp_path):
    files = ("p001/rainbow_01_slow.wav", "p001/p001/rainbow_01_slow.wav", "p001/p001/rainbow_02_slow.wav")
    (tmp_path / "p002").mkdir()
    tables = ears.scan(corpus(tmp_path, *files, people={"p001": PERSON, "p002": PERSON}))
    assert tables.utterances["path"].to_list() == [files[0], files[2]]
    assert reasons(tables) == {files[1]: f"second copy of {files[0]}", "p002": "no recordings in the speaker's folder"}


@pytest.mark.trap("ears.age-is-a-range")
def test_age_is_a_range_in_the_owners_words(tables):
    ranges = observed(tables, "age_range")
    assert len(ranges) == tables.speakers.height
    assert set(ranges.values()) <= {*ears.RANGES, "prefer not to answer"}
    assert set(tables.observations.filter(pl.col("attribute") == "age_range")["source"]) == {"self-report"}


@pytest.mark.trap("ears.prefer-not-to-answer")
def test_who_prefers_not_to_answer_is_unknown(tables):
    silent = tables.speakers.filter(pl.col("sex") == "prefer not to answer")
    assert silent["native_language"].to_list() == ["prefer not to answer"]
    assert observed(tables, "age_range")[silent["speaker_id"].item()] == "prefer not to answer"
    for domain in ("sex", "age_range", "language"):
        assert words(domain)["prefer not to answer"] == ""


@pytest.mark.trap("ears.third-gender")
def test_third_gender_is_neither_of_two(tables):
    (word,) = set(tables.speakers["sex"]) - {"female", "male", "prefer not to answer"}
    assert words("sex")[word] == "other"


@pytest.mark.trap("ears.native-language-words")
def test_native_languages_have_tags():
    tags = words("language")
    owners = ("american english", "british english", "dari", "german", "mandarin", "russian", "spanish", "ukrainian")
    assert [tags[word] for word in owners] == ["en-us", "en-gb", "prs", "de", "zh", "ru", "es", "uk"]


@pytest.mark.trap("ears.misspelt-emotions", "ears.emotions-without-counterpart")
def test_emotions_of_the_file_names_are_in_the_vocabulary(tables):
    known = words("emotion")
    folded = {word: known[word] for word in EMOTIONS.split() if known[word]}
    assert folded == {
        "amusement": "amused",
        "anger": "angry",
        "disgust": "disgusted",
        "fear": "fearful",
        "neutral": "neutral",
        "sadness": "sad",
    }
    assert {"embarassment", "extasy"} <= set(observed(tables, "emotion").values())  # the owners' words stay


@pytest.mark.trap("ears.not-speech")
def test_what_is_not_speech_is_counted(tables):
    assert reasons(tables)["p001"] == "3 recordings are not speech (vegetative, nonverbal, melodic)"
    assert not tables.utterances["path"].str.contains("vegetative|nonverbal|melodic").any()


@pytest.mark.trap("ears.styles")
def test_manner_of_speaking(tables):
    styles = observed(tables, "speaking_style")
    assert {"whisper", "loud", "regular", "slow"} == set(styles.values())
    assert all(utterance.split("_")[-1] == style for utterance, style in styles.items())


@pytest.mark.trap("ears.nameless-test-set")
def test_blind_test_set_is_passed_over(root, tables):
    assert (root / "blind_testset" / "001.wav").is_file()
    assert not tables.utterances["path"].str.contains("blind").any()


def test_body_and_ethnicity_are_not_taken(tables):
    assert set(tables.observations["attribute"]) == {"age_range", "emotion", "speaking_style"}


def test_wrong_folder_and_table(tmp_path):
    with pytest.raises(RecipeError, match="no folders p001 to p107"):
        ears.scan(tmp_path)
    corpus(tmp_path, "p001/rainbow_01_slow.wav")
    (tmp_path / ears.TABLE).write_text("{")
    with pytest.raises(RecipeError, match=r"speaker_statistics.json: not a JSON object"):
        ears.scan(tmp_path)
