"""TESS: two actresses, seven emotions, and files that are not what they are called."""

import csv
import shutil
from pathlib import Path

import polars as pl
import pytest
import soundfile

from pipelines import audio
from pipelines.corpora import tess
from pipelines.corpora._base import RecipeError
from pipelines.voices import Voices

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def said(tables):
    rows = tables.observations.filter(pl.col("attribute") == "emotion")
    assert set(rows["source"]) == {"acted"}
    return {
        utt_id.rpartition("/")[2].removeprefix("tess:"): value
        for utt_id, value in rows.select("utt_id", "value").rows()
    }


@pytest.mark.trap("tess.two-speakers")
def test_two_women_whose_age_is_who_they_are(tables):
    assert set(tables.speakers["speaker_id"]) == {"tess:OAF", "tess:YAF"}
    assert set(tables.speakers["sex"]) == {"female"}
    ages = tables.utterances.select("speaker_id", "age").unique()
    assert dict(ages.iter_rows()) == {"tess:OAF": 64.0, "tess:YAF": 26.0}
    emotions = tables.observations.select("speaker_id", "value").unique()
    assert emotions.height == 2 * 7
    assert tess.CORPUS.epoch_share < 0.1
    assert tess.CORPUS.roles == ("open",)


@pytest.mark.trap("tess.irregular-folders")
def test_the_files_name_decides(copy, tables):
    assert (copy / "OAF_Pleasant_surprise").is_dir()
    assert (copy / "YAF_pleasant_surprised").is_dir()
    flat = copy / "flat"
    for file in sorted(copy.glob("[OY]AF_*/*.wav")):
        flat.mkdir(exist_ok=True)
        shutil.move(file, flat / file.name)
    again = tess.scan(flat)
    assert said(again) == said(tables)
    swapped = copy / "OAF_angry" / "YAF_back_sad.wav"
    shutil.move(flat / "YAF_back_sad.wav", swapped)
    assert said(tess.scan(copy))["YAF_back_sad"] == "sad"


@pytest.mark.trap("tess.missing-letter")
def test_oa_is_the_older_actress(tables):
    row = tables.utterances.filter(pl.col("path").str.ends_with("/OA_bite_neutral.wav"))
    assert row.select("speaker_id", "age").rows() == [("tess:OAF", 64.0)]


def test_a_corrected_name_is_a_second_copy(copy, tables):
    odd = copy / "OAF_neutral" / "OA_bite_neutral.wav"
    shutil.copy(odd, odd.with_name("OAF_bite_neutral.wav"))
    assert tess.scan(copy).utterances.height == tables.utterances.height


@pytest.mark.trap("tess.aiff-named-wav", "tess.odd-rates")
def test_every_file_is_read_whatever_it_is(root, tables):
    kinds = {Path(path).name: soundfile.info(root / path) for path in tables.utterances["path"]}
    assert kinds["YAF_germ_angry.wav"].format == "AIFF"
    assert kinds["OAF_food_fear.wav"].samplerate == 96000
    assert {kind.samplerate for name, kind in kinds.items() if name != "OAF_food_fear.wav"} == {24414}
    for path in tables.utterances["path"]:
        assert audio.load(root / path).size == pytest.approx(2 * 16000, abs=2)


@pytest.mark.trap("tess.ps")
def test_ps_is_pleasant_surprise(tables):
    assert said(tables)["OAF_back_ps"] == "pleasant surprise"
    with (VOCABULARY / "words.csv").open(encoding="utf-8") as file:
        words = {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == "emotion"}
    assert words["pleasant surprise"] == "surprised"
    assert all(words[word] for word in tess.EMOTIONS.values())


@pytest.mark.trap("tess.everything-twice")
def test_second_copies_and_other_names(tables):
    inner = "TESS Toronto emotional speech set data/YAF_neutral"
    found = reasons(tables)
    assert found[f"{inner}/YAF_back_neutral.wav"] == "second copy of a recording"
    assert "YAF_neutral/YAF_back_neutral.wav" in tables.utterances["path"].to_list()
    assert tables.utterances.height == 14
    assert found[f"{inner}/YAF_back_calm.wav"].startswith("name is not")


def test_scale_gives_more_words_and_no_more_speakers(tmp_path):
    tess.miniature(tmp_path, Voices(scale=2))
    tables = tess.scan(tmp_path)
    assert (tables.speakers.height, tables.utterances.height) == (2, 28)


def test_other_audio_is_an_error(tmp_path):
    (tmp_path / "DC_a01.wav").write_bytes(b"audio")
    with pytest.raises(RecipeError, match="no <OAF or YAF>"):
        tess.scan(tmp_path)
