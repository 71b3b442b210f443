import csv
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import nemo
from pipelines.corpora._base import RecipeError

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
HEADER = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"


def corpus(root: Path, rows: str, *files: str, inside: str = "") -> Path:
    home = root / inside
    (home / "samples").mkdir(parents=True)
    (home / "data.tsv").write_text(HEADER + rows, encoding="utf-8")
    for file in files:
        (home / "samples" / file).touch()
    return root


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 16
    assert set(tables.speakers["sex"]) == {"female", "male"}
    assert set(tables.utterances["language"]) == {"pl"}
    assert tables.utterances["age"].is_between(23, 28).all()


def test_emotion_is_acted_and_of_the_clip_and_of_both_sexes(tables):
    assert set(tables.observations["source"]) == {"acted"}
    assert tables.observations["utt_id"].n_unique() == tables.utterances.height
    both = (
        tables.observations.join(tables.speakers, on="speaker_id").group_by("value").agg(pl.col("sex").n_unique() == 2)
    )
    assert both["sex"].all() and both.height == len(nemo.EMOTIONS)


@pytest.mark.trap("nemo.padded-speaker-id")
def test_padded_ids_meet_their_files(root, tables):
    assert "\t        MA0\t" in (root / "data.tsv").read_text("utf-8")
    assert "nemo:MA0" in tables.speakers["speaker_id"].to_list()
    assert not tables.speakers["speaker_id"].str.contains(" ").any()


@pytest.mark.trap("nemo.mixed-word-forms")
def test_every_word_of_emotion_has_a_counterpart(tables):
    with WORDS.open(encoding="utf-8") as file:
        words = {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == "emotion"}
    assert [words[word] for word in nemo.EMOTIONS] == ["angry", "fearful", "happy", "neutral", "sad", "surprised"]
    assert {"surprised", "sadness"} <= set(tables.observations["value"])


@pytest.mark.trap("nemo.lone-quotes")
def test_a_lone_quotation_mark_swallows_no_row(tmp_path):
    rows = (
        'AB0_fear_1.wav\tfear\t"Ale nie.\tale nie\t        AB0\tmale\t23\n'
        "AB0_fear_2.wav\tfear\tTak.\ttak\t        AB0\tmale\t23\n"
    )
    tables = nemo.scan(corpus(tmp_path, rows, "AB0_fear_1.wav", "AB0_fear_2.wav"))
    assert tables.utterances.height == 2 and not tables.rejects.height


@pytest.mark.trap("nemo.name-repeats-the-row", "nemo.not-all-combinations")
def test_rows_and_clips_that_do_not_meet(tables):
    found = reasons(tables)
    assert found.pop("samples/MA0_fear_88.wav") == "clip that no row of data.tsv names"
    assert sorted(found.values()) == [
        "no clip MA0_anger_90.wav in samples, or named by an earlier row",
        "row says MA0, sadness; its file is MA0_anger_89.wav",
    ]
    assert not tables.utterances["path"].str.contains("_89|_90").any()


def test_second_row_of_a_clip_and_rows_without_a_speaker(tmp_path):
    rows = (
        "AB0_fear_1.wav\tfear\tTak.\ttak\tAB0\tmale\tmłody\n"
        "AB0_fear_1.wav\tfear\tTak.\ttak\tAB0\tmale\t23\n"
        "AB0_fear_3.wav\tfear\tTak.\ttak\t\tmale\t23\n"
    )
    tables = nemo.scan(corpus(tmp_path, rows, "AB0_fear_1.wav", "._AB0_fear_1.wav"))
    assert tables.utterances["age"].to_list() == [None]
    assert list(reasons(tables)) == ["data.tsv:3", "data.tsv:4"]


def test_archive_with_a_folder_around(tmp_path):
    rows = "AB0_fear_1.wav\tfear\tTak.\ttak\tAB0\tmale\t23\n"
    tables = nemo.scan(corpus(tmp_path, rows, "AB0_fear_1.wav", inside="nEMO-main"))
    assert tables.utterances["path"].to_list() == ["nEMO-main/samples/AB0_fear_1.wav"]


def test_wrong_folder_and_missing_column(tmp_path):
    with pytest.raises(RecipeError, match=r"no data.tsv beside samples"):
        nemo.scan(tmp_path)
    corpus(tmp_path, "")
    (tmp_path / "data.tsv").write_text(HEADER.replace("gender", "sex"))
    with pytest.raises(RecipeError, match=r"data.tsv: no column gender"):
        nemo.scan(tmp_path)
