import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import voxceleb1
from pipelines.corpora._base import RecipeError

SCALE = 0.5

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/voxceleb"
HEADER = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"


def touch(root: Path, *places: str) -> None:
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_miniature_counts(root):
    tables = voxceleb1.scan(root)
    assert tables.speakers.height == 24
    assert tables.utterances.height == 12 * 2 + 12 * 3
    assert tables.speakers["sex"].value_counts()["count"].to_list() == [12, 12]
    assert set(tables.utterances["official_split"]) == {"train", "test"}
    assert set(tables.utterances["language"]) == {"und"}
    assert tables.speakers["person_id"].str.starts_with("voxceleb:id1").all()


def test_nationality_is_a_country_even_with_blanks_in_it(root):
    tables = voxceleb1.scan(root)
    assert {"New Zealand", "Trinidad and Tobago"} <= set(tables.speakers["country"])
    assert tables.observations.is_empty()  # and not an accent


def test_traps_are_rejected(root):
    found = voxceleb1.scan(root).rejects.select("path", "reason").rows()
    reasons = {path.rpartition("wav/")[2].split("/")[0]: reason for path, reason in found}
    assert len(found) == 4
    assert reasons["id19999"] == "speaker is not in vox1_meta.csv"
    assert reasons["vox1_meta.csv:26"] == "row without audio"
    text = " ".join(reason for _, reason in found)
    assert "second copy of dev/wav/id19001/" in text
    assert "path does not end like" in text


def test_both_archives_in_one_place_and_video_ids_with_a_dash(tmp_path):
    (tmp_path / "vox1_meta.csv").write_text(HEADER + "id10001\tA\tm\tIreland\tdev\n")
    touch(tmp_path, "wav/id10001/-czIwhmdeo4/00001.wav", "wav/id10001/_czIwhmdeo4/00001.wav")
    tables = voxceleb1.scan(tmp_path)
    assert tables.utterances["session_id"].to_list() == ["id10001/-czIwhmdeo4", "id10001/_czIwhmdeo4"]


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"vox1_meta.csv not found"):
        voxceleb1.scan(tmp_path)
    (tmp_path / "vox1_meta.csv").write_text(HEADER)
    touch(tmp_path, "voxceleb1_wav/A.J._Buckley/1zcIwhmdeo4_0000001.wav")  # the release of 2017
    with pytest.raises(RecipeError, match=r"wav/id10001/1zcIwhmdeo4/00001.wav"):
        voxceleb1.scan(tmp_path)


def test_missing_column_names_file_and_column(tmp_path):
    (tmp_path / "vox1_meta.csv").write_text(HEADER.replace("Nationality", "Country"))
    with pytest.raises(RecipeError, match=r"vox1_meta.csv.*no column nationality"):
        voxceleb1.scan(tmp_path)


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' table is not here")
def test_the_owners_table(tmp_path):
    shutil.copy(REAL / "vox1_meta.csv", tmp_path)
    ids = [line.split("\t")[0] for line in (tmp_path / "vox1_meta.csv").read_text().splitlines()[1:]]
    touch(tmp_path, *(f"wav/{identity}/1zcIwhmdeo4/00001.wav" for identity in ids[:-1]))
    tables = voxceleb1.scan(tmp_path)
    assert tables.speakers.height == 1250
    assert tables.rejects["path"].to_list() == ["vox1_meta.csv:1252"]
    assert set(tables.speakers["sex"]) == {"m", "f"}
    assert tables.speakers["country"].n_unique() == 36
    assert (
        tables.utterances["official_split"].value_counts().filter(pl.col("official_split") == "test")["count"].sum()
        == 40
    )
