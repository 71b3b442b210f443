import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines import accounting, audio, ingest
from pipelines.corpora import voiced
from pipelines.corpora._base import RecipeError, corpora
from pipelines.voices import Voices

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"


def record(root: Path, owner_id: str, *info: str) -> Path:
    for ending in (".dat", ".hea", ".txt"):
        (root / f"{owner_id}{ending}").touch()
    (root / f"{owner_id}-info.txt").write_text("\n".join(info) + "\n", encoding="utf-8")
    return root


def said(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return {
        speaker.partition(":")[2]: value if number is None else number
        for speaker, value, number in own.select("speaker_id", "value", "value_num").iter_rows()
    }


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == tables.utterances.height == 8
    assert set(tables.utterances["speech_task"]) == {"vowel"}
    assert tables.utterances["age"].null_count() == 0
    people = tables.speakers.join(
        tables.observations.filter(pl.col("attribute") == "voice_disorder"), on="speaker_id"
    ).select("sex", "value")
    assert sorted(people.group_by("sex", "value").len()["len"]) == [2, 2, 2, 2]


def test_never_more_than_twelve_people_at_full_scale(tmp_path):
    corpora()["voiced"].miniature(tmp_path, Voices(scale=1.0))
    assert voiced.scan(tmp_path).speakers.height == 12


@pytest.mark.trap("voiced.wfdb-signal")
def test_the_signal_is_read_by_its_header(tables, root, copy):
    for place in tables.utterances["path"]:
        wave, rate = audio.decode(root / place)
        assert rate == 8000 and wave.size == 3 * 8000
        assert 0.01 < np.abs(wave).max() <= 1.0
    formats = {path.read_text().split()[5] for path in (root / voiced.HOME).glob("*.hea")}
    assert formats == {"16", "32"}
    found = reasons(tables)
    assert found[f"{voiced.HOME}/voice901.dat"].startswith("recording without its header")
    assert found[f"{voiced.HOME}/voice902.dat"] == "recording without voice<id>-info.txt"
    assert found[f"{voiced.HOME}/voice903-info.txt"] == "person without a recording (.dat)"
    assert len(found) == 3
    (copy / voiced.HOME / "voice001.hea").unlink()
    assert "voiced:voice001" not in voiced.scan(copy).speakers["speaker_id"].to_list()


def test_a_signal_that_no_person_has_is_accounted_for(copy, tmp_path):
    """No ending tells a WFDB signal from other data, so the recipe says that its .dat are recordings."""
    (copy / voiced.HOME / "voice1234.DAT").touch()
    (copy / voiced.HOME / "voices again").mkdir()
    shutil.copy(copy / voiced.HOME / "voice001.dat", copy / voiced.HOME / "voices again")
    done = ingest.ingest(corpora()["voiced"], copy, tmp_path / "tables", b"key")
    assert (done.audio_files, done.unclaimed) == (8 + 2 + 2, 2)
    rejects = pl.read_parquet(tmp_path / "tables/voiced/reject.parquet").filter(reason=accounting.UNCLAIMED)
    assert rejects["path"].to_list() == [f"{voiced.HOME}/voice1234.DAT", f"{voiced.HOME}/voices again/voice001.dat"]
    other = ingest.ingest(dataclasses.replace(corpora()["voiced"], audio_endings=()), copy, tmp_path / "other", b"key")
    assert (other.audio_files, other.unclaimed) == (0, 0)


@pytest.mark.trap("voiced.two-text-files")
def test_the_samples_as_text_are_no_facts_and_no_recording(tables, root):
    assert (root / voiced.HOME / "voice001.txt").read_text()[0] in "-0123456789"
    assert all(path.endswith(".dat") for path in tables.utterances["path"])
    assert not any(path.endswith("001.txt") for path in reasons(tables))


@pytest.mark.trap("voiced.keys-vary")
def test_keys_in_any_case_and_with_any_blanks(tmp_path):
    record(tmp_path, "voice001", "ID :\tvoice001", "AGE:\t32", "gender:\tm", "DIAGNOSIS :\thealthy", "SMOKER:\tno")
    record(tmp_path, "voice002", "ID: voice002", "Age: 41", "Gender: f", "Diagnosis: healthy", "Smoker: no")
    tables = voiced.scan(tmp_path)
    assert tables.speakers["sex"].to_list() == ["m", "f"]
    assert tables.utterances["age"].to_list() == [32.0, 41.0]
    assert said(tables, "healthy") == {"voice001": "present", "voice002": "present"}
    assert said(tables, "smoking") == {"voice001": "no", "voice002": "no"}


@pytest.mark.trap("voiced.nu-is-missing")
def test_nu_is_unknown_and_not_zero(tables, tmp_path):
    assert "voice005" not in said(tables, "rsi")
    assert set(said(tables, "cigarettes_per_day").values()) == {2.0, 15.0}
    record(tmp_path, "voice001", "Diagnosis:\thealthy", "Number of cigarettes smoked per day:\t0", "Age:\tNU")
    own = voiced.scan(tmp_path)
    assert said(own, "cigarettes_per_day") == {"voice001": 0.0}  # a stated nought is a number
    assert own.utterances["age"].to_list() == [None]


@pytest.mark.trap("voiced.decimal-comma")
def test_scores_with_a_decimal_comma(tables):
    assert said(tables, "vhi")["voice004"] == 33.5
    scores = tables.observations.filter(pl.col("attribute").is_in(["vhi", "rsi"]))
    assert set(scores.select("attribute", "instrument", "source").iter_rows()) == {
        ("vhi", "VHI", "scale"),
        ("rsi", "RSI", "scale"),
    }


@pytest.mark.trap("voiced.diagnosis-with-a-remark")
def test_only_healthy_is_healthy(tmp_path):
    for number, diagnosis in enumerate(
        ("healthy", "Healthy ", "hyperkinetic dysphonia (nodule)", "reflux laryngitis", "NU"), start=1
    ):
        record(tmp_path, f"voice{number:03d}", f"ID:\tvoice{number:03d}", f"Diagnosis:\t{diagnosis}")
    tables = voiced.scan(tmp_path)
    assert said(tables, "voice_disorder") == {
        "voice001": "absent",
        "voice002": "absent",
        "voice003": "present",
        "voice004": "present",
    }
    assert said(tables, "healthy") == {"voice001": "present", "voice002": "present"}
    assert said(tables, "diagnosis_text")["voice003"] == "hyperkinetic dysphonia (nodule)"
    assert reasons(tables)["voice005-info.txt"].startswith("no Diagnosis")
    assert tables.utterances.height == 5


@pytest.mark.trap("voiced.three-words-for-smoking")
def test_words_of_habits_are_kept_and_are_in_the_vocabulary(tables):
    assert set(said(tables, "smoking").values()) == {"no", "casual smoker", "yes"}
    assert set(said(tables, "alcohol").values()) == {"nondrinker", "casual drinker", "habitual drinker"}
    with WORDS.open(encoding="utf-8") as file:
        words = {(row["domain"], row["raw"]): row["canonical"] for row in csv.DictReader(file)}
    folded = {word: words.get(("smoking", word)) or words[("state", word)] for word in ("no", "casual smoker", "yes")}
    assert folded == {"no": "absent", "casual smoker": "present", "yes": "present"}
    assert [words["alcohol", f"{word}drinker"] for word in ("non", "casual ", "habitual ")] == [
        "none",
        "casual",
        "habitual",
    ]


def test_facts_of_another_person_are_not_taken(tmp_path):
    record(tmp_path, "voice001", "ID:\tvoice017", "Diagnosis:\thealthy")
    record(tmp_path, "voice002", "ID:\tvoice 2", "Diagnosis:\thealthy")
    tables = voiced.scan(tmp_path)
    assert tables.speakers["speaker_id"].to_list() == ["voiced:voice002"]
    assert reasons(tables) == {"voice001-info.txt": "ID is not that of the file name: recording left out"}


def test_an_outer_folder_and_resource_forks(root, tmp_path):
    shutil.copytree(root, tmp_path / "physionet.org" / "files")
    (tmp_path / "physionet.org" / "files" / voiced.HOME / "._voice001.dat").write_bytes(b"fork")
    assert voiced.scan(tmp_path).utterances.height == 8


def test_wrong_folder(tmp_path):
    (tmp_path / "voice001-info.txt").write_text("ID:\tvoice001\n")
    with pytest.raises(RecipeError, match=r"no voice001\.dat"):
        voiced.scan(tmp_path)
