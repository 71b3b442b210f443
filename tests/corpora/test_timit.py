from datetime import date
from pathlib import Path

import polars as pl
import pytest
import soundfile

from pipelines.audio import decode
from pipelines.corpora import timit
from pipelines.corpora._base import RecipeError
from pipelines.schema import Tables

ROW = "CJF0  F  1  TRN  03/03/86  06/17/60  5'11\"  WHT  BS\n"


def corpus(root: Path, table: str | None, *places: str, where: str = "TIMIT/DOC/SPKRINFO.TXT") -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).touch()
    if table is not None:
        (root / where).parent.mkdir(parents=True, exist_ok=True)
        (root / where).write_text(table)
    return root


def one(tables: Tables) -> tuple[object, ...]:
    """Sex, year of birth, day and age of the one utterance."""
    joined = tables.utterances.join(tables.speakers, on="speaker_id")
    (row,) = joined.select("sex", "birth_year", "recorded_on", "age").rows()
    return row


def reasons(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def observed(tables: Tables, attribute: str) -> dict[str, str]:
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return dict(own.select("speaker_id", "value").iter_rows())


def test_miniature(tables):
    assert tables.speakers.height == 8 + 3
    assert tables.utterances.height == 4 * 2 + 4 * 3 + 1 + 3
    own = tables.utterances.join(tables.speakers, on="speaker_id").filter(pl.col("age").is_not_null())
    cells = own.select("official_split", "sex", old=pl.col("age") >= 60).unique()
    assert cells.height == 2 * 2 * 2
    assert set(observed(tables, "accent").values()) == {f"DR{region}" for region in range(1, 9)}


@pytest.mark.trap("timit.sphere-named-wav")
def test_recordings_are_sphere_and_can_be_read(root, tables):
    path = next(root / path for path in tables.utterances["path"] if path.endswith("SX101.WAV"))
    assert path.read_bytes().startswith(b"NIST_1A\n   1024\n")
    assert soundfile.info(path).format == "NIST"
    wave, rate = decode(path)
    assert rate == 16000 and wave.size == 40000


@pytest.mark.trap("timit.folder-is-sex-and-id")
def test_folder_is_sex_and_id(tmp_path):
    tables = timit.scan(corpus(tmp_path, ROW, "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV"))
    assert tables.speakers["speaker_id"].to_list() == ["timit:FCJF0"]
    assert one(tables) == ("F", 1960, date(1986, 3, 3), 25.0)
    assert tables.rejects.height == 0


def test_folder_and_row_disagree(tmp_path):
    tables = timit.scan(corpus(tmp_path, ROW, "TIMIT/TRAIN/DR2/MCJF0/SA1.WAV"))
    assert one(tables)[0] is None
    assert observed(tables, "accent") == {"timit:MCJF0": "DR2"}
    assert sorted(tables.rejects["reason"]) == [
        "region is not that of folder MCJF0: the folder's is used",
        "sex is not that of folder MCJF0: left unknown",
    ]


@pytest.mark.trap("timit.case-of-names")
def test_names_in_lower_case(tmp_path, tables):
    where = "timit/doc/spkrinfo.txt"
    lower = timit.scan(corpus(tmp_path, ROW, "timit/train/dr1/fcjf0/sa1.wav", where=where))
    assert lower.utterances["speaker_id"].to_list() == ["timit:FCJF0"]
    assert lower.utterances["official_split"].to_list() == ["train"]
    assert one(lower)[3] == 25.0
    # the same sentence in both spellings is one utterance
    assert reasons(tables)["copy/train/dr1/faqx0/sa1.wav"] == "second copy of TIMIT/TRAIN/DR1/FAQX0/SA1.WAV"


@pytest.mark.trap("timit.twins-with-two-endings")
def test_twins(tables):
    twins = [path for path in tables.utterances["path"] if path.endswith(".WAV.wav")]
    assert [Path(path).name for path in twins] == ["SX399.WAV.wav"]  # its SPHERE file is not there
    folder = Path(twins[0]).parent.as_posix()
    assert f"{folder}/SA1.WAV" in set(tables.utterances["path"])
    assert reasons(tables)[f"{folder}/SA1.WAV.wav"] == f"second copy of {folder}/SA1.WAV"


@pytest.mark.trap("timit.list-elsewhere")
def test_where_the_list_is(tmp_path):
    kaggle = corpus(tmp_path, ROW, "archive/data/TRAIN/DR1/FCJF0/SA1.WAV", where="archive/SPKRINFO.TXT")
    assert one(timit.scan(kaggle))[3] == 25.0
    (kaggle / "archive/SPKRINFO.TXT").unlink()
    without = timit.scan(kaggle)
    assert one(without) == ("F", None, None, None)
    assert observed(without, "accent") == {"timit:FCJF0": "DR1"}
    assert list(reasons(without)) == ["SPKRINFO.TXT"]


@pytest.mark.trap("timit.comments-and-blanks")
def test_comments_and_blanks(root, tmp_path):
    lines = (root / "TIMIT" / "DOC" / "SPKRINFO.TXT").read_text().splitlines()
    assert sum(line.startswith(";") for line in lines) == 39
    table = "; ID  Sex\n;\n" + ROW.rstrip() + "  BEST NEW ENGLAND ACCENT SO FAR\n"
    tables = timit.scan(corpus(tmp_path, table, "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV"))
    assert observed(tables, "education") == {"timit:FCJF0": "BS"}
    assert tables.rejects.height == 0


@pytest.mark.trap("timit.two-digit-years")
def test_years_are_of_the_twentieth_century(tmp_path, tables):
    assert tables.speakers["birth_year"].drop_nulls().is_between(1909, 1966).all()
    assert tables.utterances["age"].drop_nulls().is_between(21, 76).all()
    for day, age in (("03/03/60", 26.0), ("03/04/60", 25.0), ("01/01/12", 74.0)):
        found = timit.scan(corpus(tmp_path, ROW.replace("06/17/60", day), "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV"))
        assert one(found)[3] == age


@pytest.mark.trap("timit.unknown-dates")
def test_unknown_dates(tables):
    joined = tables.utterances.join(tables.speakers, on="speaker_id")
    rows = {row[0]: row[1:] for row in joined.select("speaker_id", "birth_year", "recorded_on", "age").iter_rows()}
    assert rows["timit:MWWW0"] == (None, None, None)
    assert rows["timit:FVVV0"] == (1960, date(1986, 3, 4), None)
    assert not any("is not a date" in reason for reason in tables.rejects["reason"])


@pytest.mark.parametrize("wrong", ["17/06/60", "1960", "06-17-60"])
def test_wrong_dates_are_rejects(tmp_path, wrong):
    tables = timit.scan(corpus(tmp_path, ROW.replace("06/17/60", wrong), "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV"))
    assert one(tables) == ("F", None, date(1986, 3, 3), None)
    assert "BirthDate is not a date" in reasons(tables)["TIMIT/DOC/SPKRINFO.TXT:1"]


@pytest.mark.trap("timit.unknown-codes")
def test_unknown_codes(tables):
    degrees = observed(tables, "education")
    assert set(degrees.values()) == {"BS", "HS", "PHD", "MS", "AS"}
    assert "timit:FCQX0" not in degrees and "timit:MWWW0" not in degrees
    assert not tables.observations["value"].str.contains("?", literal=True).any()


@pytest.mark.trap("timit.sentences-of-all")
def test_sentences_of_all_are_kept_and_can_be_told(tables):
    everyone = tables.utterances.filter(pl.col("path").str.contains(r"/SA\d\.WAV$"))
    assert everyone.height == tables.speakers.height
    assert set(everyone["official_split"]) == {"train", "test"}
    assert not tables.utterances["utt_id"].is_duplicated().any()


@pytest.mark.trap("timit.recorded-again")
def test_person_is_of_the_family(tables):
    assert (tables.speakers["person_id"] == tables.speakers["speaker_id"]).all()
    assert tables.speakers["person_id"].str.contains(r"^timit:[FM][A-Z]{3}\d$").all()


def test_rows_and_folders_without_each_other(tables):
    found = reasons(tables)
    assert found["TIMIT/DOC/SPKRINFO.TXT:50"] == "row without audio"
    assert found["TIMIT/DOC/SPKRINFO.TXT:51"].startswith("row is not ID")
    assert "has no row" in found["TIMIT/TRAIN/DR8/FZZZ0/SA1.WAV"]
    assert len(found) == 5


def test_odd_paths(tmp_path):
    odd = ("TIMIT/TRAIN/DR9/FCJF0/SA2.WAV", "TIMIT/TRAIN/DR1/FCJF0/SB1.WAV", "TIMIT/SA1.WAV")
    mac = "TIMIT/TRAIN/DR1/FCJF0/._SA1.WAV"
    tables = timit.scan(corpus(tmp_path, ROW, "TIMIT/TRAIN/DR1/FCJF0/SA1.WAV", mac, *odd))
    assert tables.utterances.height == 1
    assert set(reasons(tables)) == set(odd)


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match="no TRAIN/DR1"):
        timit.scan(corpus(tmp_path, ROW, "TIMIT/SA1.WAV"))
