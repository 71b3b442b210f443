import csv
from pathlib import Path

import polars as pl
import pytest
import soundfile

from pipelines.audio import decode
from pipelines.corpora import speech_accent_archive as archive
from pipelines.corpora._base import RecipeError
from pipelines.schema import Tables

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
HEADER = "age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?,,,\r\n"
AFRIKAANS = '27,9,"virginia, south africa",afrikaans1,afrikaans,female,1,south africa,FALSE,,,\r\n'


def corpus(root: Path, rows: str, *names: str, folder: str = "recordings/recordings", header: str = HEADER) -> Path:
    (root / archive.TABLE).write_bytes((header + rows).encode())
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / folder / f"{name}.mp3").touch()
    return root


def row(
    name: str, *, age: str = "30", onset: str = "9", language: str | None = None, sex: str = "female", **cells: str
):
    own = language or name.rstrip("0123456789")
    country, missing = cells.get("country", "here"), cells.get("missing", "FALSE")
    return f"{age},{onset},made up,{name},{own},{sex},1,{country},{missing},,,{cells.get('remark', '')}\r\n"


def reasons(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def column(tables: Tables, name: str) -> dict[str, object]:
    return dict(tables.speakers.select(pl.col("speaker_id").str.split(":").list.last(), name).iter_rows())


def observed(tables: Tables, attribute: str) -> dict[str, object]:
    own = tables.observations.filter(pl.col("attribute") == attribute)
    value = pl.coalesce("value", pl.col("value_num").cast(pl.String))
    return dict(own.select(pl.col("speaker_id").str.split(":").list.last(), value).iter_rows())


def ages(tables: Tables) -> dict[str, float | None]:
    return dict(tables.utterances.select(pl.col("speaker_id").str.split(":").list.last(), "age").iter_rows())


def test_miniature(root, tables):
    assert tables.speakers.height == tables.utterances.height == 8 + 1
    natives = tables.speakers.filter(pl.col("native_language") == "english")
    assert sorted(natives["sex"]) == ["female", "female", "male", "male"]
    assert set(tables.utterances["language"]) == {"en"}
    path = root / tables.utterances["path"][0]
    assert soundfile.info(path).format == "MP3"
    assert decode(path)[1] == 44100


def test_native_and_other_speakers_can_be_told(tables):
    with WORDS.open(encoding="utf-8") as file:
        folded = {line["raw"]: line["canonical"] for line in csv.DictReader(file) if line["domain"] == "language"}
    own = {str(language): folded.get(str(language)) for language in column(tables, "native_language").values()}
    assert own == {"english": "en", "mandarin": "zh", "arabic": "ar", "gaa": None, "lao": "lo", "basque": "eu"}


@pytest.mark.trap("speech_accent_archive.missing-files")
def test_rows_without_a_file(tables, tmp_path):
    missing = [place for place, reason in reasons(tables).items() if "file_missing?" in reason]
    assert missing == [f"speech-accent-archive/{archive.TABLE}:{number}" for number in (2, 3)]
    assert "haitian" not in tables.speakers["native_language"].to_list()
    # a bare name is that of nobody, also where a file of that name lies there
    found = archive.scan(corpus(tmp_path, row("swiss", missing="TRUE") + AFRIKAANS, "swiss", "afrikaans1"))
    assert list(ages(found)) == ["afrikaans1"]


@pytest.mark.trap("speech_accent_archive.truth-as-text")
def test_truth_is_text(tmp_path):
    rows = row("a1", missing="FALSE") + row("b1", missing="TRUE") + row("c1", missing="true") + row("d1", missing="")
    assert list(ages(archive.scan(corpus(tmp_path, rows, "a1", "b1", "c1", "d1")))) == ["a1", "d1"]


@pytest.mark.trap("speech_accent_archive.names-without-ending")
def test_names_without_ending(tmp_path, tables):
    found = archive.scan(corpus(tmp_path, AFRIKAANS, "afrikaans1", "afrikaans10"))
    assert found.utterances["path"].to_list() == ["recordings/recordings/afrikaans1.mp3"]
    assert reasons(found) == {
        "recordings/recordings/afrikaans10.mp3": "recording that no row of speakers_all.csv names"
    }
    at = f"speech-accent-archive/{archive.TABLE}"
    assert [where for where, reason in reasons(tables).items() if reason == "no such recording"] == [f"{at}:14"]


@pytest.mark.trap("speech_accent_archive.doubled-folder")
@pytest.mark.parametrize("folder", ["recordings/recordings", "recordings", "."])
def test_folders(tmp_path, tables, folder):
    assert tables.utterances["path"].str.starts_with("speech-accent-archive/recordings/recordings/").all()
    assert archive.scan(corpus(tmp_path, AFRIKAANS, "afrikaans1", folder=folder)).utterances.height == 1


def test_a_recording_twice(tmp_path):
    corpus(tmp_path, AFRIKAANS, "afrikaans1")
    tables = archive.scan(corpus(tmp_path, AFRIKAANS, "afrikaans1", folder="copy"))
    assert reasons(tables) == {"recordings/recordings/afrikaans1.mp3": "second copy of copy/afrikaans1.mp3"}


@pytest.mark.trap("speech_accent_archive.slip-in-sex")
def test_slip_in_sex(tables):
    assert sorted(set(column(tables, "sex").values())) == ["famale", "female", "male"]
    with WORDS.open(encoding="utf-8") as file:
        words = {line["raw"]: line["canonical"] for line in csv.DictReader(file) if line["domain"] == "sex"}
    assert words["famale"] == "female"


@pytest.mark.trap("speech_accent_archive.fractions-in-ages")
def test_fractions_in_ages(tmp_path, tables):
    assert observed(tables, "l2_onset_age")["arabic1"] == "2.5"
    assert ages(tables)["ga1"] % 1 == 0.5
    found = archive.scan(corpus(tmp_path, row("bambara1", age="15.5", onset="12"), "bambara1"))
    assert (ages(found), observed(found, "l2_onset_age")) == ({"bambara1": 15.5}, {"bambara1": "12.0"})


@pytest.mark.trap("speech_accent_archive.age-zero")
def test_age_zero_is_unknown(tmp_path, tables):
    assert ages(tables)["basque1"] is None
    assert "basque1" not in observed(tables, "l2_onset_age")  # 0 beside an age of 0
    rows = row("a1", age="0") + row("b1", age="6") + row("c1", age="") + row("d1", age="old") + row("e1", age="997")
    found = archive.scan(corpus(tmp_path, rows, "a1", "b1", "c1", "d1", "e1"))
    assert ages(found) == {"a1": None, "b1": 6.0, "c1": None, "d1": None, "e1": None}
    assert list(reasons(found)) == ["speakers_all.csv:5", "speakers_all.csv:6"]


@pytest.mark.trap("speech_accent_archive.synthesized-talkers")
def test_synthesized_talkers_are_no_people(tables):
    assert not tables.speakers["speaker_id"].str.contains("synthesized").any()
    assert list(reasons(tables).values()).count("synthesized speech, no person") == 1


@pytest.mark.trap("speech_accent_archive.columns-without-name")
def test_columns_without_name(root, tmp_path):
    lines = (root / "speech-accent-archive" / archive.TABLE).read_bytes().split(b"\r\n")
    assert lines[0].endswith(b"file_missing?,,,")
    assert any(line.endswith(b"FALSE,,,no") for line in lines)
    found = archive.scan(corpus(tmp_path, row("greek14", remark="no"), "greek14"))
    assert found.utterances.height == 1 and found.rejects.height == 0


@pytest.mark.trap("speech_accent_archive.empty-country")
def test_country_of_birth(tmp_path, tables):
    assert column(tables, "country")["lao1"] is None
    assert column(tables, "country")["ga1"] == "ghana"
    found = archive.scan(corpus(tmp_path, AFRIKAANS, "afrikaans1"))
    assert column(found, "country") == {"afrikaans1": "south africa"}


@pytest.mark.trap("speech_accent_archive.onset-of-natives")
def test_natives_learned_no_second_language(tmp_path, tables):
    natives = {name for name, language in column(tables, "native_language").items() if language == "english"}
    assert len(natives) == 4
    assert not natives & observed(tables, "l2_onset_age").keys()
    rows = row("english1", onset="0") + row("portuguese40", onset="0")
    found = archive.scan(corpus(tmp_path, rows, "english1", "portuguese40"))
    assert observed(found, "l2_onset_age") == {"portuguese40": "0.0"}


@pytest.mark.trap("speech_accent_archive.english-is-no-accent")
def test_accent_of_natives_is_not_stated(tables):
    accents = observed(tables, "accent")
    assert accents == {"mandarin1": "mandarin", "arabic1": "arabic", "ga1": "ga", "lao1": "lao", "basque1": "basque"}


@pytest.mark.trap("speech_accent_archive.names-like-codes")
def test_names_like_codes(tmp_path):
    names = ("ga1", "bai1", "kru1", "gan1")
    found = archive.scan(corpus(tmp_path, "".join(map(row, names)), *names))
    assert column(found, "native_language") == {"ga1": "gaa", "bai1": "bca", "kru1": "kro", "gan1": "gan"}
    assert observed(found, "accent")["ga1"] == "ga"


def test_files_of_a_mac_and_orphans(tables):
    orphans = [path for path, reason in reasons(tables).items() if "no row" in reason]
    assert [Path(path).name for path in orphans] == ["zulu9.mp3"]
    assert tables.rejects.height == 2 + 1 + 1 + 1


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"speakers_all.csv not found"):
        archive.scan(tmp_path)
    with pytest.raises(RecipeError, match="no recordings"):
        archive.scan(corpus(tmp_path, AFRIKAANS))
    with pytest.raises(RecipeError, match="no column age_onset"):
        archive.scan(corpus(tmp_path, "", "a1", header=HEADER.replace("age_onset", "onset")))
