import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import voxceleb2
from pipelines.corpora._base import RecipeError

SCALE = 0.25

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/voxceleb"
TABS = "Name \tVoxCeleb2 ID \tVGGFace2 ID \tGender \tSet \nŽeljko_X \tid00012 \tn000012 \tm \tdev \n"
COMMAS = "\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \r\nid00012 ,n000012 ,m ,dev \r\n"


def touch(root: Path, *places: str) -> None:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_miniature_counts(root):
    tables = voxceleb2.scan(root)
    assert tables.speakers.height == 12
    assert tables.utterances.height == 6 * 2 + 6 * 3
    assert tables.speakers["sex"].value_counts()["count"].to_list() == [6, 6]
    assert tables.utterances["path"].str.ends_with(".m4a").all()
    assert set(tables.utterances["official_split"]) == {"train", "test"}
    assert set(tables.utterances["language"]) == {"und"}
    assert tables.speakers["person_id"].str.starts_with("voxceleb:id0").all()


def test_ages_hold_for_a_video_and_come_young_and_old(root):
    utterances = voxceleb2.scan(root).utterances
    assert (utterances["age"] < 35).any()
    assert (utterances["age"] >= 60).any()
    without = utterances.filter(pl.col("age").is_null())
    assert without["speaker_id"].unique().sort().to_list() == ["voxceleb2:id09506", "voxceleb2:id09512"]
    assert utterances.group_by("session_id").agg(pl.col("age").n_unique())["age"].max() == 1


def test_traps_are_rejected(root):
    found = voxceleb2.scan(root).rejects.select("path", "reason").rows()
    text = " ".join(f"{path} {reason}" for path, reason in found)
    assert len(found) == 5
    assert "vox2_meta.csv:14 row without audio" in text
    assert "id09999/AAAAAAAAAAA/00001.m4a speaker is not in vox2_meta.csv" in text
    assert "/00001.wav second copy of dev/aac/id09501/" in text
    assert "/1.m4a path does not end like" in text
    assert "utt2age.test:" in text


@pytest.mark.parametrize("meta", [TABS, COMMAS, COMMAS.replace(" ,", ",").replace("\r", "")])
@pytest.mark.parametrize("place", ["dev/aac/id00012", "dev/id00012", "vox2/aac/id00012"])
def test_both_shapes_of_the_table_and_mirrors(tmp_path, meta, place):
    (tmp_path / "vox2_meta.csv").write_bytes(meta.encode())
    touch(tmp_path, f"{place}/21Uxsk56VDQ/00001.m4a", f"{place}/21Uxsk56VDQ/00002.wav")
    tables = voxceleb2.scan(tmp_path)
    assert tables.utterances.height == 2
    assert tables.speakers.select("person_id", "sex").rows() == [("voxceleb:id00012", "m")]
    assert set(tables.utterances["official_split"]) == {"train"}
    assert tables.rejects.is_empty()


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"vox2_meta.csv not found"):
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
    videos = {
        line.split(" ")[0].rpartition("/")[0]: float(line.split(" ")[1])
        for line in (REAL / "utt2age.test").read_text().splitlines()
    }
    touch(tmp_path, *(f"dev/aac/{video}/00001.m4a" for video in videos))
    tables = voxceleb2.scan(tmp_path)
    assert tables.speakers.height == 497
    assert set(tables.speakers["sex"]) == {"m", "f"}
    assert dict(tables.utterances.select("session_id", "age").iter_rows()) == videos
    assert tables.rejects.height == 6114 - 497
    assert set(tables.rejects["reason"]) == {"row without audio"}
