import json
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import audiomnist
from pipelines.corpora._base import RecipeError

PERSON = {
    "accent": "German",
    "age": "25",
    "gender": "male",
    "native speaker": "no",
    "origin": "Europe, Germany, Hamburg",
    "recordingdate": "17-06-26-17-57-29",
    "recordingroom": "Kino",
}


def corpus(root: Path, people: dict[str, dict[str, object]], *files: str, inside: str = "data") -> Path:
    home = root / inside
    home.mkdir(parents=True)
    (home / audiomnist.TABLE).write_text(json.dumps(people), "utf-8")
    for file in files:
        (home / file).parent.mkdir(exist_ok=True)
        (home / file).write_bytes(file.encode())
    return root


def reasons(tables):
    return list(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 2 * 8 + 2  # two originals of the copied takes
    assert set(tables.utterances["speech_task"]) == {"digits"}
    assert set(tables.speakers["sex"]) == {"female", "male"}
    assert set(tables.speakers["native_language"]) == {None, "en"}
    assert ("data/01/7_02_1.wav", "name is not <digit>_<speaker>_<repetition>.wav of its folder") in reasons(tables)


@pytest.mark.trap("audiomnist.age-types")
def test_age_as_number_or_text(tmp_path):
    people = {"01": PERSON | {"age": 30}, "02": PERSON, "03": {"gender": "female"}}
    tables = audiomnist.scan(corpus(tmp_path, people, *(f"{n}/1_{n}_0.wav" for n in people)))
    assert tables.utterances["age"].to_list() == [30.0, 25.0, None]
    assert not tables.rejects.height


@pytest.mark.trap("audiomnist.age-1234")
def test_nobody_is_1234_years_old(tables):
    ages = dict(tables.utterances.select("speaker_id", "age").iter_rows())
    assert ages.pop("audiomnist:45") is None
    assert None not in ages.values()
    assert ("data/audioMNIST_meta.txt", "speaker 45: '1234' is no age in years: left unknown") in reasons(tables)


@pytest.mark.trap("audiomnist.accent-case")
def test_accents_are_the_owners_words_one_a_speaker(tables):
    accents = tables.observations.filter(pl.col("attribute") == "accent")
    assert accents["speaker_id"].is_unique().all() and accents.height == tables.speakers.height - 1
    assert {"german", "German", "Egyptian_American?"} <= set(accents["value"])  # the warehouse ignores case


@pytest.mark.trap("audiomnist.english-is-no-accent")
def test_english_is_not_the_accent_of_england(tables):
    native = tables.speakers.filter(pl.col("native_language") == "en")
    assert native.height == 1
    accents = tables.observations.filter(pl.col("attribute") == "accent")
    assert not set(native["speaker_id"]) & set(accents["speaker_id"])


@pytest.mark.trap("audiomnist.missing-speakers")
def test_speakers_in_only_one_place(tables):
    found = reasons(tables)
    assert ("data/audioMNIST_meta.txt", "speaker 17 has no recordings") in found
    assert ("data/22", "1 recordings of a speaker not in audioMNIST_meta.txt") in found
    assert not {"audiomnist:17", "audiomnist:22"} & set(tables.speakers["speaker_id"])


@pytest.mark.trap("audiomnist.two-digit-year")
def test_year_comes_first(tmp_path):
    people = {"02": PERSON, "03": PERSON | {"recordingdate": "26.6.17"}}
    tables = audiomnist.scan(corpus(tmp_path, people, "02/1_02_0.wav", "03/1_03_0.wav"))
    assert tables.utterances["recorded_on"].to_list() == [date(2017, 6, 26), None]
    assert "recordingdate" in reasons(tables)[0][1]


@pytest.mark.trap("audiomnist.wrong-continents")
def test_country_without_its_continent(tmp_path):
    people = {"15": PERSON | {"origin": "Europe, India, Chennai"}, "16": PERSON | {"origin": "Europe"}}
    tables = audiomnist.scan(corpus(tmp_path, people, "15/1_15_0.wav", "16/1_16_0.wav"))
    assert tables.speakers["country"].to_list() == ["India", None]


@pytest.mark.trap("audiomnist.copied-takes")
def test_copies_are_dropped_and_true_takes_are_not(tables, tmp_path):
    own = tables.utterances.filter(pl.col("speaker_id") == "audiomnist:36")["path"].to_list()
    assert {"data/36/3_36_19.wav", "data/36/3_36_28.wav"} <= set(own)
    assert not {"data/36/3_36_20.wav", "data/36/3_36_29.wav"} & set(own)
    assert ("data/36/3_36_20.wav", "the owners' copy of 3_36_19.wav") in reasons(tables)
    mended = audiomnist.scan(corpus(tmp_path, {"36": PERSON}, "36/3_36_19.wav", "36/3_36_20.wav"))
    assert mended.utterances.height == 2


@pytest.mark.trap("audiomnist.json-named-txt")
def test_metadata_is_json(tmp_path):
    tables = audiomnist.scan(corpus(tmp_path, {"02": PERSON}, "02/1_02_0.wav", inside="AudioMNIST-master/data"))
    assert tables.utterances["path"].to_list() == ["AudioMNIST-master/data/02/1_02_0.wav"]
    (tmp_path / "AudioMNIST-master/data" / audiomnist.TABLE).write_text("speaker,age\n01,30\n")
    with pytest.raises(RecipeError, match=r"audioMNIST_meta.txt: not a JSON object"):
        audiomnist.scan(tmp_path)
    (tmp_path / "AudioMNIST-master/data" / audiomnist.TABLE).write_text("[1]")
    with pytest.raises(RecipeError, match=r"audioMNIST_meta.txt: not a JSON object"):
        audiomnist.scan(tmp_path)


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"audioMNIST_meta.txt not found"):
        audiomnist.scan(tmp_path)
