import csv
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import voxceleb1
from pipelines.corpora._base import RecipeError

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/voxceleb"
HEADER = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
VIDEO = "1zcIwhmdeo4"
WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"


def words(domain: str) -> dict[str, str]:
    with WORDS.open(encoding="utf-8") as file:
        return {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == domain}


def touch(root: Path, *places: str) -> None:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """A table of two speakers, audio of the first."""
    (tmp_path / "vox1_meta.csv").write_text(
        HEADER + "id10001\tA.J._Buckley\tm\tIreland\tdev\nid10002\tA.R._Rahman\tm\tNew Zealand\ttest\n"
    )
    touch(tmp_path, f"wav/id10001/{VIDEO}/00001.wav")
    return tmp_path


def rejects(tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 2
    assert tables.speakers["sex"].value_counts()["count"].to_list() == [4, 4]
    assert set(tables.utterances["official_split"]) == {"train", "test"}
    assert tables.speakers["person_id"].str.starts_with("voxceleb:id1").all()


@pytest.mark.trap("voxceleb1.tabs-and-blanks", "voxceleb1.nationality-is-a-country")
def test_nationality_is_a_country_even_with_blanks_in_it(tables, one):
    assert {"New Zealand", "USA"} <= set(tables.speakers["country"])
    assert tables.observations.is_empty()  # and not an accent
    touch(one, f"wav/id10002/{VIDEO}/00001.wav")
    found = voxceleb1.scan(one)
    assert found.speakers["country"].to_list() == ["Ireland", "New Zealand"]
    assert found.utterances["official_split"].to_list() == ["train", "test"]


def test_countries_have_codes(tables):
    codes = words("country")
    assert {codes[country.casefold()] for country in tables.speakers["country"]} == {"us", "gb", "nz", "in"}
    assert words("language")["english"] == "en"
    assert (codes["usa"], codes["uk"], codes["us"], codes["south korea"], codes["na"]) == ("us", "gb", "us", "kr", "")
    assert all(len(code) in (0, 2) for code in codes.values())


@pytest.mark.trap("voxceleb1.rows-without-audio", "voxceleb1.two-voxcelebs", "voxceleb1.files-of-a-mac")
def test_traps_are_rejected(tables):
    found = rejects(tables)
    reasons = {path.rpartition("wav/")[2].split("/")[0]: reason for path, reason in found.items()}
    assert len(found) == 6  # and nothing is said of the Mac's twin
    assert reasons["id19999"] == "speaker is not in vox1_meta.csv"
    assert reasons["vox1_meta.csv:10"] == "row without audio"
    assert found["vox2/aac"] == "1 speakers' folders of the other VoxCeleb passed over"
    assert found["voxceleb1_wav/Nobody/AAAAAAAAAAA_0000001.wav"] == "folder is no name in the table"
    text = " ".join(found.values())
    assert "second copy of dev/wav/id19001/" in text
    assert "path does not end like" in text


@pytest.mark.trap("voxceleb1.video-ids", "voxceleb1.no-common-root")
@pytest.mark.parametrize("place", ["wav", "dev/wav", "VoxCeleb1/dev/wav", "."])
def test_archives_in_one_place_or_apart_and_video_ids_with_a_dash(tmp_path, place):
    (tmp_path / "vox1_meta.csv").write_text(HEADER + "id10001\tA\tm\tIreland\tdev\n")
    touch(tmp_path, f"{place}/id10001/-czIwhmdeo4/00001.wav", f"{place}/id10001/_czIwhmdeo4/00001.wav")
    tables = voxceleb1.scan(tmp_path)
    assert tables.utterances["session_id"].to_list() == ["id10001/-czIwhmdeo4", "id10001/_czIwhmdeo4"]
    touch(tmp_path, "unpacked/again/id10001/_czIwhmdeo4/00001.wav")
    again = voxceleb1.scan(tmp_path)
    assert again.utterances.height == 2
    assert "second copy of " in " ".join(rejects(again).values())


@pytest.mark.trap("voxceleb1.names-as-folders")
def test_the_layout_of_2017(one, tables):
    assert tables.utterances["path"].str.contains("^voxceleb1_wav/Made-up_Person_2/.{11}_0000001.wav$").sum() == 2
    assert "voxceleb1:id19003" in tables.speakers["speaker_id"].to_list()
    touch(one, f"voxceleb1_wav/A.R._Rahman/{VIDEO}_0000003.wav", f"voxceleb1_wav/Somebody/{VIDEO}_0000001.wav")
    touch(one, f"voxceleb1_wav/A.J._Buckley/{VIDEO}_0000001.wav")  # also there in the later layout
    found = voxceleb1.scan(one)
    assert found.utterances.select("speaker_id", "session_id").rows() == [
        ("voxceleb1:id10001", f"id10001/{VIDEO}"),
        ("voxceleb1:id10002", f"id10002/{VIDEO}"),
    ]
    assert rejects(found) == {
        f"voxceleb1_wav/Somebody/{VIDEO}_0000001.wav": "folder is no name in the table",
        f"voxceleb1_wav/A.J._Buckley/{VIDEO}_0000001.wav": f"second copy of wav/id10001/{VIDEO}/00001.wav",
    }
    for table in (found.speakers, found.utterances.drop("path", "utt_id"), tables.speakers):
        assert not any("Rahman" in str(row) or "Made-up" in str(row) for row in table.iter_rows())


@pytest.mark.trap("voxceleb1.dev-is-train")
def test_dev_is_train_and_the_split_of_utterances_is_not_read(one):
    (one / "iden_split.txt").write_text(f"3 id10001/{VIDEO}/00001.wav\n")
    assert voxceleb1.scan(one).utterances["official_split"].to_list() == ["train"]


@pytest.mark.trap("voxceleb1.language-unknown")
@pytest.mark.parametrize("header", ["", "filename,lang,conf\n"])
def test_language_is_what_the_list_of_the_workshop_says(one, tables, header):
    assert dict(tables.utterances["language"].value_counts().iter_rows()) == {"English": 14, "und": 2}
    assert voxceleb1.scan(one).utterances["language"].to_list() == ["und"]
    touch(one, f"wav/id10001/{VIDEO}/00002.wav")
    line = f"id10001/{VIDEO}/00002.wav,Norwegian,0.71\n"
    (one / "lang_vox1_final.csv").write_text(header + line + "nonsense\n")
    found = voxceleb1.scan(one)
    assert found.utterances["language"].to_list() == ["und", "Norwegian"]
    assert f"lang_vox1_final.csv:{3 if header else 2}" in rejects(found)


@pytest.mark.trap("voxceleb1.ages-of-others")
def test_an_age_holds_for_one_video(tables, one):
    aged = tables.utterances.filter(pl.col("age").is_not_null())
    assert aged.height == 3  # one of the two videos of every third speaker
    assert aged["speaker_id"].n_unique() == 3
    assert voxceleb1.scan(one).utterances["age"].to_list() == [None]


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"vox1_meta.csv not found"):
        voxceleb1.scan(tmp_path)
    (tmp_path / "vox1_meta.csv").write_text(HEADER)
    with pytest.raises(RecipeError, match=r"wav/id10001/1zcIwhmdeo4/00001.wav"):
        voxceleb1.scan(tmp_path)


def test_missing_column_names_file_and_column(tmp_path):
    (tmp_path / "vox1_meta.csv").write_text(HEADER.replace("Nationality", "Country"))
    with pytest.raises(RecipeError, match=r"vox1_meta.csv.*no column nationality"):
        voxceleb1.scan(tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' table is not here")
def test_the_owners_table(record_property, tmp_path):
    shutil.copy(REAL / "vox1_meta.csv", tmp_path)
    lines = [line.split("\t") for line in (tmp_path / "vox1_meta.csv").read_text().splitlines()[1:]]
    touch(tmp_path, *(f"wav/{line[0]}/{VIDEO}/00001.wav" for line in lines))
    tables = voxceleb1.scan(tmp_path)
    assert tables.rejects.is_empty()
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"m": 690, "f": 561}
    record_property("real", f"voxceleb1: {tables.speakers.height:,} speakers read, 690 m and 561 f")
    assert tables.speakers["country"].n_unique() == 36
    assert len({words("country")[country.casefold()] for country in tables.speakers["country"]}) == 36
    assert tables.speakers.filter(pl.col("country") == "New Zealand").height == 8
    splits = tables.utterances["official_split"].value_counts()
    assert dict(splits.iter_rows()) == {"train": 1211, "test": 40}
    # the same people, in the folders of 2017
    shutil.rmtree(tmp_path / "wav")
    touch(tmp_path, *(f"voxceleb1_wav/{line[1]}/{VIDEO}_0000001.wav" for line in lines))
    assert voxceleb1.scan(tmp_path).speakers.equals(tables.speakers)
