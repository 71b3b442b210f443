from pathlib import Path

import polars as pl
import pytest

from pipelines.audio import decode
from pipelines.corpora import _librivox, librispeech, libritts_r
from pipelines.corpora._base import RecipeError
from pipelines.schema import Tables

HOME = "LibriTTS_R"
HEADER = "READER\tGENDER\tSUBSET\tNAME\n"


def corpus(root: Path, table: str, *places: str, list_: str = "speakers.tsv") -> Path:
    """``places`` are <subset>/<reader>/<chapter>/<file>."""
    (root / HOME).mkdir(parents=True, exist_ok=True)
    (root / HOME / list_).write_text(table)
    for place in places:
        (root / HOME / place).parent.mkdir(parents=True, exist_ok=True)
        (root / HOME / place).touch()
    return root


def sexes(tables: Tables) -> dict[str, str | None]:
    return dict(tables.speakers.select("speaker_id", "sex").iter_rows())


def reasons(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


ONE = "dev-clean/84/121123/84_121123_000007_000001.wav"


def test_miniature(root, tables):
    assert tables.speakers.height == 8 + 1
    assert tables.utterances.height == 2 * 9
    assert set(tables.utterances["official_split"]) == {"train", "dev", "test"}
    assert set(tables.utterances["session_id"].str.len_chars()) == {6}
    assert tables.observations.height == 0
    wave, rate = decode(root / tables.utterances["path"][0])
    assert rate == 24000 and wave.size == 60000
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        own = tables.utterances.filter(tables.utterances["path"].str.contains(subset)).join(
            tables.speakers, on="speaker_id"
        )
        assert {"F", "M"} <= set(own["sex"])


@pytest.mark.trap("libritts_r.same-people-as-librispeech")
def test_readers_are_those_of_librispeech(tables, rendered):
    other = librispeech.scan(rendered("librispeech", 0.1)).speakers
    both = tables.speakers.join(other, on="person_id")
    assert both.height == 9  # the eight made up ones, and 2074
    assert (both["sex"] == both["sex_right"]).all()
    assert set(tables.speakers["person_id"].str.split(":").list.first()) == {"librivox"}


@pytest.mark.trap("libritts_r.rows-without-a-name", "libritts_r.header-line")
def test_speakers_tsv(root, tables, tmp_path):
    lines = (root / HOME / "speakers.tsv").read_text().splitlines()
    nameless = [line.split("\t")[0] for line in lines if len(line.split("\t")) == 3]
    assert len(nameless) == 3
    assert f"libritts_r:{nameless[0]}" in sexes(tables)
    for header in ("READER\tGENDER\tSUBSET\tNAME", "id\tsex\tpart\twho", "12 | words"):
        found = libritts_r.scan(corpus(tmp_path, f"{header}\n84\tF\tdev-clean\nx\tF\tdev-clean\n", ONE))
        assert sexes(found) == {"libritts_r:84": "F"}
        assert reasons(found) == {f"{HOME}/speakers.tsv:3": "row is not id, F or M, subset, name"}


@pytest.mark.trap("libritts_r.two-lists", "libritts_r.pipes-in-a-name")
@pytest.mark.parametrize("name", ["SPEAKERS.txt", "SPEAKERS.TXT", "speakers.txt"])
def test_speakers_txt(tmp_path, name):
    table = "; a | comment\n84   | M | dev-clean  | 8.02 | |CBW|Made Up\n"
    tables = libritts_r.scan(corpus(tmp_path, table, ONE, list_=name))
    assert sexes(tables) == {"libritts_r:84": "M"}
    assert "Made Up" not in str(tables)
    (tmp_path / HOME / "speakers.tsv").write_text(f"{HEADER}84\tF\tdev-clean\n")
    assert sexes(libritts_r.scan(tmp_path)) == {"libritts_r:84": "F"}  # LibriTTS-R's own list is preferred


@pytest.mark.trap("libritts_r.both-sexes")
def test_sex_of_two_people_is_unknown(root, tables):
    assert sexes(tables)["libritts_r:2074"] is None
    assert sum(sex is None for sex in sexes(tables).values()) == 1
    assert "hold both sexes" in str(reasons(tables))
    assert len(_librivox.BOTH_SEXES) == 9


@pytest.mark.trap("libritts_r.unrestored-readers", "libritts_r.failed-restoration", "libritts_r.corrupt-recording")
def test_unusable_recordings(root, tables):
    paths = set(tables.utterances["path"])
    (listed,) = (root / "libritts_r_failed_speech_restoration_examples").glob("*.txt")
    failed = listed.read_text().strip().removeprefix("./")
    assert (root / HOME / failed).is_file()
    assert f"{HOME}/{failed}" not in paths
    assert not any("/157/" in path or "/1092/" in path for path in paths)
    unused = tables.rejects.filter(pl.col("path").str.ends_with(".wav"))["reason"].to_list()
    assert [reason for reason in sorted(unused) if "LibriTTS" in reason or "restoration" in reason] == [
        "corrupt in LibriTTS",
        "no usable restored sound of reader 157 (LibriTTS-P)",
        f"restoration may have failed ({listed.name})",
    ]


def test_without_the_lists_of_failures_nothing_is_left_out(copy):
    before = libritts_r.scan(copy).utterances.height
    (listed,) = (copy / "libritts_r_failed_speech_restoration_examples").glob("*.txt")
    moved = copy / HOME / listed.name
    listed.rename(moved)
    assert libritts_r.scan(copy / HOME).utterances.height == before
    moved.unlink()
    assert libritts_r.scan(copy).utterances.height == before + 1


@pytest.mark.trap("libritts_r.files-of-a-mac")
def test_files_of_a_mac(tables):
    assert not tables.utterances["path"].str.contains(r"/\._").any()
    assert next(path for path, reason in reasons(tables).items() if "AppleDouble" in reason).endswith(".wav")


@pytest.mark.trap("libritts_r.absent-subsets")
def test_readers_without_recordings(tables):
    found = tables.rejects["reason"].to_list()
    assert "subset train-other-500 is not there: 1 readers passed over" in found
    assert found.count("no recordings of this reader in train-clean-100") == 1
    assert "reader not in speakers.tsv" in found


@pytest.mark.trap("libritts_r.underscores-in-folders")
def test_underscores_in_folders(tmp_path):
    tables = libritts_r.scan(corpus(tmp_path, f"{HEADER}84\tF\tdev-clean\n", ONE.replace("dev-clean", "dev_clean")))
    assert tables.utterances["official_split"].to_list() == ["dev"]
    assert tables.rejects.height == 0


def test_odd_names(tmp_path):
    odd = ("dev-clean/84/121123/84_121123_7_1.wav", "dev-clean/84/5/84_121123_000007_000002.wav")
    tables = libritts_r.scan(corpus(tmp_path, f"{HEADER}84\tF\tdev-clean\n", ONE, *odd))
    assert tables.utterances["path"].to_list() == [f"{HOME}/{ONE}"]
    assert {path.removeprefix(f"{HOME}/") for path in reasons(tables)} == set(odd)


@pytest.mark.parametrize("around", ["", HOME])
def test_other_roots(tmp_path, around):
    corpus(tmp_path / around, f"{HEADER}84\tF\tdev-clean\n", ONE)
    assert libritts_r.scan(tmp_path).utterances.height == 1
    assert libritts_r.scan(tmp_path / around / HOME).utterances.height == 1


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"no speakers.tsv .*doc.tar.gz"):
        libritts_r.scan(tmp_path)
