from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import vctk
from pipelines.corpora._base import RecipeError

HEADER = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"


def corpus(root: Path, lines: str, *places: str, header: str = HEADER) -> Path:
    (root / vctk.TABLE).parent.mkdir(parents=True, exist_ok=True)
    (root / vctk.TABLE).write_text(header + lines)
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    return root


def accents(tables):
    return dict(tables.observations.select("speaker_id", "value").iter_rows())


@pytest.mark.trap("vctk.derived-corpora", "vctk.same-sentences")
def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 2 + 1
    assert tables.speakers["sex"].value_counts()["count"].to_list() == [4, 4]
    assert (tables.utterances["age"] < 35).any()
    assert (tables.utterances["age"] >= 60).any()
    assert set(tables.utterances["language"]) == {"en"}
    assert tables.speakers["person_id"].str.starts_with("vctk:").all()  # other corpora hold the same people
    assert tables.utterances["official_split"].null_count() == tables.utterances.height
    assert not vctk.CORPUS.official_splits


@pytest.mark.trap("vctk.two-word-accents", "vctk.unknown-accent", "vctk.ids-without-p")
def test_accents_in_the_owners_words(tables):
    assert set(accents(tables).values()) == {"English", "Australian English", "American"}
    assert set(tables.observations["attribute"]) == {"accent"}
    assert tables.observations.height == 6  # two of them are "Unknown"
    assert "vctk:s9" in tables.speakers["speaker_id"].to_list()


@pytest.mark.trap("vctk.two-microphones", "vctk.gaps")
def test_one_microphone_is_kept(root, tables):
    assert len(list(root.rglob("*_mic2.flac"))) == 7
    assert not tables.utterances["path"].str.replace(r"_mic\d.flac", "").is_duplicated().any()
    by_second = tables.utterances.filter(pl.col("device") == "mic2")
    assert by_second["path"].to_list() == ["wav48_silence_trimmed/p901/p901_009_mic2.flac"]


@pytest.mark.trap("vctk.files-of-a-mac", "vctk.gaps", "vctk.no-root-folder")
def test_traps_are_rejected(tables):
    found = dict(tables.rejects.select("path", "reason").iter_rows())
    assert found == {
        "VCTK-Corpus/wav48": "another copy or release: wav48_silence_trimmed is read",
        "speaker-info.txt:10": "row without audio",
        "speaker-info.txt:11": "line has no ID, AGE and GENDER",
        "wav48_silence_trimmed/p901/p901_1b_mic1.flac": "name is not <speaker>/<speaker>_<number>[_mic1|_mic2]",
        "wav48_silence_trimmed/p999/p999_001_mic1.flac": "speaker is not in speaker-info.txt",
    }


@pytest.mark.trap("vctk.irregular-blanks", "vctk.comments-in-brackets", "vctk.narrow-ages")
def test_irregular_lines_of_the_table(tmp_path):
    lines = (
        "p225  23  F    English    Southern  England\n"
        "p280  25  F    Unknown  France (mic2 files unavailable)\n"
        "p315 18  M   American   New England (Text and mic2 files unavailable)\n"
        "p362 29 F American\n"
        "p374  28  M    Australian English  \n"
        "p335  25  F    NewZealand English   English\n"
    )
    ids = ("p225", "p280", "p315", "p362", "p374", "p335")
    root = corpus(tmp_path, lines, *(f"wav48_silence_trimmed/{p}/{p}_001_mic1.flac" for p in ids))
    tables = vctk.scan(root)
    assert accents(tables) == {
        "vctk:p225": "English",
        "vctk:p315": "American",
        "vctk:p362": "American",
        "vctk:p374": "Australian English",
        "vctk:p335": "NewZealand English",
    }
    assert tables.utterances["age"].to_list() == [23, 25, 18, 25, 29, 28]
    assert tables.rejects.is_empty()


@pytest.mark.trap("vctk.ids-without-p", "vctk.no-root-folder")
@pytest.mark.parametrize("around", ["", "VCTK-Corpus", "vctk/VCTK-Corpus"])
def test_release_080_in_its_root_folder(tmp_path, around):
    line = "225  23  F    English    Southern  England\n"
    corpus(tmp_path / around, line, "wav48/p225/p225_001.wav", header="ID  AGE  GENDER  ACCENTS  REGION  \n")
    tables = vctk.scan(tmp_path)
    assert tables.utterances.select("path", "speaker_id", "age", "device").rows() == [
        ((Path(around) / "wav48/p225/p225_001.wav").as_posix(), "vctk:p225", 23.0, None)
    ]


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"no speaker-info.txt beside wav48_silence_trimmed or wav48"):
        vctk.scan(tmp_path)


@pytest.mark.parametrize(
    ("header", "what"), [("ID AGE SEX ACCENTS\n", "no column gender"), ("ID GENDER AGE ACCENTS\n", "in order")]
)
def test_missing_column_names_file_and_column(tmp_path, header, what):
    root = corpus(tmp_path, "", "wav48/p225/p225_001.wav", header=header)
    with pytest.raises(RecipeError, match=f"speaker-info.txt: .*{what}"):
        vctk.scan(root)
