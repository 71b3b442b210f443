import os
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines import audio
from pipelines.corpora import voxceleb2
from pipelines.corpora._base import RecipeError

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/voxceleb"
TABS = "Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet \nŽeljko_X \tid00012 \tn000012 \tm \tdev \n"
COMMAS = "\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r\nid00012 ,n000012 ,m ,dev \r\n"
FULL = 'Name,VoxCeleb2 ID,VGGFace2 ID,Gender,Set\n"Željko_X,_Jr.",id00012,n000012,m,dev\n'
VIDEO = "21Uxsk56VDQ"
ENRICHED = "Name,gender_wiki,gender_dbpedia,gender_gkg,video_id,description,VoxCeleb_ID,gender,speaker_age"


def touch(root: Path, *places: str) -> None:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def rejects(tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


@pytest.fixture
def one(tmp_path: Path) -> Path:
    (tmp_path / "vox2_meta.csv").write_text(TABS)
    touch(tmp_path, f"dev/aac/id00012/{VIDEO}/00001.m4a", f"dev/aac/id00012/{VIDEO}/00002.m4a")
    touch(tmp_path, "dev/aac/id00012/-_other_vid/00001.m4a")
    return tmp_path


def ages(root: Path) -> dict[str, float | None]:
    return dict(voxceleb2.scan(root).utterances.select("session_id", "age").iter_rows())


@pytest.mark.trap("voxceleb2.no-language", "voxceleb2.dev-is-train")
def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 2
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"f": 4, "m": 3, None: 1}
    assert tables.utterances["path"].str.ends_with(".m4a").all()
    assert set(tables.utterances["official_split"]) == {"train", "test"}
    assert set(tables.utterances["language"]) == {"und"}
    assert tables.speakers["person_id"].str.starts_with("voxceleb:id0").all()


def test_ages_come_young_and_old(tables):
    assert (tables.utterances["age"] < 35).any()
    assert (tables.utterances["age"] >= 60).any()


@pytest.mark.trap("voxceleb2.test-speakers-without-audio", "voxceleb2.files-of-a-mac")
def test_traps_are_rejected(tables):
    found = rejects(tables)
    text = " ".join(f"{path} {reason}" for path, reason in found.items())
    assert len(found) == 7  # and nothing is said of the Mac's twin
    assert found["vox2_meta.csv:10"] == "row without audio"
    assert "id09999/AAAAAAAAAAA/00001.m4a speaker is not in vox2_meta.csv" in text
    assert "/1.m4a path does not end like" in text
    assert "utt2age.test:" in text


@pytest.mark.trap(
    "voxceleb2.two-shapes", "voxceleb2.full-meta", "voxceleb2.commas-in-names", "voxceleb2.no-common-root"
)
@pytest.mark.parametrize("place", ["dev/aac/id00012", "dev/id00012", "aac/id00012", "vox2/dev/wav/id00012", "id00012"])
@pytest.mark.parametrize(
    ("name", "meta"),
    [
        ("vox2_meta.csv", TABS),
        ("vox2_meta.csv", COMMAS),
        ("vox2_meta.csv", COMMAS.replace(" ,", ",").replace("\r", "")),
        ("full_vox2_meta.csv", FULL),
        ("full_vox2_meta.csv", FULL.replace(",_Jr.", "").replace(",", "\t")),
    ],
)
def test_all_shapes_of_the_table_and_mirrors(tmp_path, name, meta, place):
    (tmp_path / name).write_bytes(meta.encode())
    touch(tmp_path, f"{place}/{VIDEO}/00001.m4a", f"{place}/{VIDEO}/00002.wav")
    tables = voxceleb2.scan(tmp_path)
    assert tables.utterances.height == 2
    assert tables.speakers.select("person_id", "sex").rows() == [("voxceleb:id00012", "m")]
    assert set(tables.utterances["official_split"]) == {"train"}
    assert tables.rejects.is_empty()


@pytest.mark.trap("voxceleb2.names")
def test_no_name_is_in_any_table(one, tables):
    for found in (tables, voxceleb2.scan(one)):
        for table in (found.speakers, found.utterances, found.observations, found.rejects):
            text = str(table.rows())
            assert "Žofia" not in text and "Made-up" not in text and "Željko" not in text


@pytest.mark.trap("voxceleb2.converted-in-place")
def test_a_segment_converted_in_place_is_one(one):
    touch(one, f"dev/aac/id00012/{VIDEO}/00001.wav")
    tables = voxceleb2.scan(one)
    assert tables.utterances.height == 3
    place = f"dev/aac/id00012/{VIDEO}/00001"
    assert rejects(tables) == {f"{place}.wav": f"second copy of {place}.m4a"}


@pytest.mark.trap("voxceleb2.aac")
def test_a_segment_can_be_heard(root, tables):
    wave, rate = audio.decode(root / tables.utterances["path"][0])
    assert rate == 16000
    assert 0 <= len(wave) - 3 * rate <= 2112


@pytest.mark.trap("voxceleb2.utt2age", "voxceleb2.age-of-a-video")
def test_agevoxceleb(one):
    (one / "utt2age.train").write_text(f"id00012/{VIDEO}/00001 70\nid00012/{VIDEO}/00007 70\n")
    (one / "utt2age.test").write_text("id00013/AAAAAAAAAAA/00001 5\nid00012/-_other_vid old\n")
    assert ages(one) == {f"id00012/{VIDEO}": 70.0, "id00012/-_other_vid": None}
    tables = voxceleb2.scan(one)
    assert rejects(tables) == {"utt2age.test:2": "line is not <speaker>/<video>/<segment> <age>"}
    assert set(tables.utterances["official_split"]) == {"train"}  # whatever AgeVoxCeleb's split is


@pytest.mark.trap("voxceleb2.enrichment-table")
def test_the_table_of_the_enrichment(one):
    header = f"{ENRICHED},speaker_age_title_only"
    text = '"says ""hi"",\nand more"'
    (one / "voxceleb_enrichment" / "dataset").mkdir(parents=True)
    table = one / "voxceleb_enrichment" / "dataset" / "final_dataframe_extended.csv"
    table.write_text(
        f"{header}\nA B,male,male,,{VIDEO},{text},id00012,m,,31.0\nA B,male,,,-_other_vid,{text},id00012,m,33.0,99\n"
        "A B,male,male,,ZZZZZZZZZZZ,,id00012,m,,\nA B,,,,,,,m,20,\n"
    )
    assert ages(one) == {f"id00012/{VIDEO}": 31.0, "id00012/-_other_vid": 33.0}
    where = table.relative_to(one).as_posix()
    assert rejects(voxceleb2.scan(one)) == {f"{where}:5": "row names no speaker or no video"}  # as a spreadsheet counts
    table.write_text(ENRICHED.replace("VoxCeleb_ID", "id") + "\n")
    assert rejects(voxceleb2.scan(one)) == {where: "no column voxceleb_id: ages not read"}


def test_the_short_lists_of_the_enrichment(one):
    (one / "age-test.txt").write_text(
        f"speaker_age,birth_year,Name,VoxCeleb_ID,video_id\n26.0,1987.0,A_B,id00012,{VIDEO}\n"
    )
    assert ages(one)[f"id00012/{VIDEO}"] == 26.0


@pytest.mark.trap("voxceleb2.ages-disagree")
def test_ages_that_disagree(one, tables):
    said = [reason for path, reason in rejects(tables).items() if path.startswith("dataset/final_dataframe")]
    assert len(said) == 1 and "which is used" in said[0]
    (one / "utt2age.train").write_text(f"id00012/{VIDEO}/00001 70\nid00012/-_other_vid/00001 40\n")
    (one / "age-train.txt").write_text(
        f"speaker_age,birth_year,Name,VoxCeleb_ID,video_id\n72.0,1,A,id00012,{VIDEO}\n43.0,1,A,id00012,-_other_vid\n"
    )
    assert ages(one) == {f"id00012/{VIDEO}": 70.0, "id00012/-_other_vid": 40.0}
    assert rejects(voxceleb2.scan(one)) == {
        "age-train.txt:3": "id00012/-_other_vid is 43 here and 40 before, which is used"
    }


@pytest.mark.trap("voxceleb2.wrong-sex")
@pytest.mark.parametrize(
    ("others", "sex"),
    [("female,female,", None), ("female,female,male", "m"), ("female,,", "m"), (",,", "m"), ("male,male,male", "m")],
)
def test_sex_is_unknown_where_all_other_sources_contradict_it(one, tables, others, sex):
    unknown = tables.speakers.filter(pl.col("sex").is_null())
    assert unknown["speaker_id"].to_list() == ["voxceleb2:id09504"]
    table = one / "final_dataframe_extended.csv"
    table.write_text(f"{ENRICHED}\nA B,{others},{VIDEO},,id00012,m,\n")
    found = voxceleb2.scan(one)
    assert found.speakers["sex"].to_list() == [sex]
    assert ("vox2_meta.csv:2" in rejects(found)) == (sex is None)


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"vox2_meta.csv or full_vox2_meta.csv not found"):
        voxceleb2.scan(tmp_path)
    (tmp_path / "vox2_meta.csv").write_text(TABS)
    with pytest.raises(RecipeError, match=r"dev/aac/id00012/21Uxsk56VDQ/00001.m4a"):
        voxceleb2.scan(tmp_path)


def test_missing_column_names_file_and_column(tmp_path):
    (tmp_path / "vox2_meta.csv").write_text(COMMAS.replace("Gender", "Sex"))
    with pytest.raises(RecipeError, match=r"vox2_meta.csv.*no column gender"):
        voxceleb2.scan(tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_the_owners_tables(tmp_path):
    for name in ("vox2_meta.csv", "utt2age.test"):
        shutil.copy(REAL / name, tmp_path)
    lines = [line.split(" ") for line in (REAL / "utt2age.test").read_text().splitlines()]
    assert len(lines) == 16050
    touch(tmp_path, *(f"dev/aac/{line[0]}.m4a" for line in lines))
    tables = voxceleb2.scan(tmp_path)
    assert tables.speakers.height == 497
    assert set(tables.speakers["sex"]) == {"m", "f"}
    assert tables.utterances.height == 16050
    said = {f"dev/aac/{line[0]}.m4a": float(line[1]) for line in lines}
    assert dict(tables.utterances.select("path", "age").iter_rows()) == said
    assert (tables.utterances["age"].min(), tables.utterances["age"].max()) == (5.0, 80.0)
    assert tables.rejects.height == 6114 - 497
    assert set(tables.rejects["reason"]) == {"row without audio"}


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_all_speakers_of_the_owners_table(tmp_path):
    shutil.copy(REAL / "vox2_meta.csv", tmp_path)
    ids = re.findall(r"\bid0\d{4}\b", (REAL / "vox2_meta.csv").read_text("utf-8"))
    touch(tmp_path, *(f"dev/aac/{identity}/{VIDEO}/00001.m4a" for identity in ids))
    tables = voxceleb2.scan(tmp_path)
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"m": 3763, "f": 2351}
    assert dict(tables.utterances["official_split"].value_counts().iter_rows()) == {"train": 5994, "test": 120}
    assert tables.rejects.is_empty()
