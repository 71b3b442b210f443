import csv
import os
import shutil
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import coswara
from pipelines.corpora._base import RecipeError
from pipelines.voices import Voices

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/coswara"
WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
ONE, TWO, THREE = ("one".ljust(28, "A"), "two".ljust(28, "B"), "three".ljust(28, "C"))


def corpus(root: Path, table: str, *files: str, name: str = coswara.TABLE) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(table, encoding="utf-8")
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def said(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return {speaker.partition(":")[2]: value for speaker, value in own.select("speaker_id", "value").iter_rows()}


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


@cache
def vocabulary() -> dict[tuple[str, str], str]:
    with WORDS.open(encoding="utf-8") as file:
        return {(row["domain"], row["raw"]): row["canonical"] for row in csv.DictReader(file)}


def folded(attribute: str, word: str) -> str:
    """What words.csv makes of an owner's word; "" where it is stated as unknown."""
    own = (attribute, word.casefold())
    return vocabulary()[own if own in vocabulary() else ("state", word.casefold())]


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 2 + 1
    assert set(tables.utterances["speech_task"]) == {"digits", "vowel"}
    assert tables.utterances["age"].null_count() == tables.utterances["recorded_on"].null_count() == 0
    assert set(tables.speakers["country"]) == {"India"}


def test_labels_on_both_sides_for_both_sexes(tables):
    own = tables.observations.filter(pl.col("attribute") == "covid").join(tables.speakers, on="speaker_id")
    sides = {(sex, folded("covid", value)) for sex, value in own.select("sex", "value").iter_rows()}
    assert sides >= {(sex, state) for sex in ("female", "male") for state in ("present", "absent")}


def test_never_more_than_twelve_people_at_full_scale(tmp_path):
    coswara.miniature(tmp_path, Voices(scale=1.0))
    assert coswara.scan(tmp_path).speakers.height == 12


@pytest.mark.trap("coswara.smoker-in-two-vocabularies")
def test_the_words_for_smoking_are_kept_and_folded(tables):
    assert set(said(tables, "smoking").values()) <= {"True", "False", "y", "n"}
    assert {"True", "y"} <= set(said(tables, "smoking").values())
    assert [folded("smoking", word) for word in ("True", "y", "False", "n")] == ["present"] * 2 + ["absent"] * 2


@pytest.mark.trap("coswara.blank-is-unknown")
def test_only_what_is_stated_is_observed(tmp_path):
    table = (
        "id,a,g,covid_status,record_date,asthma,cld,smoker,cold,ftg,loss_of_smell,ht,others_preexist\n"
        f"{ONE},30,male,healthy,2020-04-13,True,,,True,True,True,True,True\n"
        f"{TWO},30,male,healthy,2020-04-13,,,,,,,,\n"
        f"{THREE},30,male,healthy,2020-04-13,False,False,n,False,False,False,False,False\n"
    )
    tables = coswara.scan(corpus(tmp_path, table, *(f"20200413/{person}/vowel-a.wav" for person in (ONE, TWO, THREE))))
    observed = tables.observations.filter(pl.col("speaker_id") == f"coswara:{ONE}").select("attribute", "value")
    assert set(observed.iter_rows()) == {
        ("covid", "healthy"),
        ("asthma", "True"),
        ("symptom", "Cold"),
        ("symptom", "Fatigue"),
        ("symptom", "Loss of Smell & Taste"),
        ("comorbidity", "Hypertension"),
        ("comorbidity", "Pre-existing conditions other than the listed ones"),
    }
    blank = tables.observations.filter(pl.col("speaker_id") == f"coswara:{TWO}")
    assert blank["attribute"].to_list() == ["covid"]
    denied = tables.observations.filter(pl.col("speaker_id") == f"coswara:{THREE}").select("attribute", "value")
    assert set(denied.iter_rows()) == {("covid", "healthy"), ("asthma", "False"), ("copd", "False"), ("smoking", "n")}
    assert set(tables.observations["source"]) == {"self-report"}


@pytest.mark.trap("coswara.status-that-is-neither")
def test_every_status_is_ill_well_or_neither(tables):
    positive = ("positive_mild", "positive_moderate", "positive_asymp")
    neither = ("no_resp_illness_exposed", "resp_illness_not_identified", "recovered_full", "under_validation")
    assert {folded("covid", word) for word in positive} == {"present"}
    assert {folded("covid", word) for word in neither} == {""}
    assert folded("covid", "healthy") == "absent"
    assert set(said(tables, "covid").values()) & set(neither)  # kept in the owners' words
    assert not (tables.observations["attribute"] == "healthy").any()


@pytest.mark.trap("coswara.columns-differ-by-date")
def test_the_table_of_a_date_serves_who_is_not_in_the_combined_one(tables, copy):
    late = f"coswara:{coswara._made_up_id(7)}"
    assert late in tables.speakers["speaker_id"].to_list()
    (copy / coswara.TABLE).unlink()
    alone = coswara.scan(copy)
    assert alone.speakers.sort("speaker_id").equals(
        tables.speakers.sort("speaker_id")
    )  # whatever the columns and their order
    assert said(alone, "covid") == said(tables, "covid")
    assert said(alone, "asthma") == said(tables, "asthma")
    (copy / "20210930" / "20210930.csv").write_text("id,a\nx,1\n")
    spoiled = coswara.scan(copy)
    assert reasons(spoiled)["20210930/20210930.csv"].startswith("no column g, covid_status, record_date")
    assert 0 < spoiled.speakers.height < alone.speakers.height


def test_the_combined_table_is_believed(tmp_path):
    header = "id,a,g,covid_status,record_date\n"
    corpus(tmp_path, f"covid_status,id,g,a,record_date\nhealthy,{ONE},male,31,2020-04-13\n")
    corpus(tmp_path, f"{header}{ONE},30,female,positive_mild,2020-04-13\n", name="20200413/20200413.csv")
    tables = coswara.scan(corpus(tmp_path, f"{header}", f"20200413/{ONE}/vowel-a.wav", name="20200414/20200414.csv"))
    assert said(tables, "covid") == {ONE: "healthy"}
    assert tables.utterances["age"].to_list() == [31.0]


@pytest.mark.trap("coswara.blank-before-quality")
def test_the_owners_grade_of_each_recording(tables):
    grades = tables.observations.filter(pl.col("attribute") == "audio_quality")
    assert set(grades["value_num"]) == {0.0, 1.0, 2.0}
    assert grades["utt_id"].null_count() == 0
    assert grades.height == 8 * 2 - 1  # one grade is the word "good"; one recording has none
    assert "0, 1 or 2" in reasons(tables)["annotations/vowel-e_labels.csv:2"]


def test_without_annotations_there_are_no_grades(copy):
    shutil.rmtree(copy / "annotations")
    tables = coswara.scan(copy)
    assert reasons(tables)["annotations"].startswith("not found")
    assert "audio_quality" not in set(tables.observations["attribute"])


@pytest.mark.trap("coswara.corrupt-people")
def test_corrupt_people_are_rejected(tables):
    corrupt = [path for path, reason in reasons(tables).items() if reason.startswith("known error")]
    assert len(corrupt) == 1
    assert not any(person in path for path in tables.utterances["path"] for person in coswara.CORRUPT)


@pytest.mark.trap("coswara.person-without-recordings")
def test_people_without_recordings_and_without_a_row(tables):
    found = Counter(reasons(tables).values())
    assert found["person without recordings of speech"] == 1
    assert f"coswara:{coswara._made_up_id(900)}" not in tables.speakers["speaker_id"].to_list()
    assert reasons(tables)[f"Extracted_data/20200413/{coswara._made_up_id(902)}"] == "person is in no table"


@pytest.mark.trap("coswara.not-speech")
def test_coughs_and_breaths_are_passed_over(tables, root, tmp_path):
    assert list(root.rglob("cough-shallow.wav"))
    assert {Path(path).stem for path in tables.utterances["path"]} == {"counting-normal", "vowel-e", "vowel-a"}
    assert not any("cough" in path for path in reasons(tables))
    table = f"id,a,g,covid_status,record_date\n{ONE},30,male,healthy,2020-04-13\n"
    files = [f"20200413/{ONE}/{take}.wav" for take in (*coswara.NOT_SPEECH, *coswara.SPEECH, "humming")]
    own = coswara.scan(corpus(tmp_path, table, *files))
    assert dict(own.utterances.select(pl.col("path").str.split("/").list.last(), "speech_task").iter_rows()) == {
        f"{take}.wav": task for take, task in coswara.SPEECH.items()
    }
    assert reasons(own)[f"20200413/{ONE}/humming.wav"] == "name is none of the nine recordings"


@pytest.mark.trap("coswara.vowels-by-file-name")
def test_the_files_of_the_vowels_are_a_e_and_o():
    assert [take for take, task in coswara.SPEECH.items() if task == "vowel"] == ["vowel-a", "vowel-e", "vowel-o"]


@pytest.mark.trap("coswara.folder-is-not-the-day")
def test_the_day_is_that_of_the_table(tables):
    days = tables.utterances.filter(pl.col("path").str.contains("/20210930/"))["recorded_on"].unique().to_list()
    assert date(2021, 9, 29) in days and date(2021, 9, 30) not in days


@pytest.mark.trap("coswara.sex-other")
def test_a_third_sex_is_kept_and_in_the_vocabulary(tmp_path):
    table = f"id,a,g,covid_status,record_date\n{ONE},30,other,healthy,13/04/2020\n"
    tables = coswara.scan(corpus(tmp_path, table, f"20200413/{ONE}/vowel-a.wav"))
    assert tables.speakers["sex"].to_list() == ["other"]
    assert folded("sex", "other") == "other"
    assert tables.utterances["recorded_on"].to_list() == [None]
    assert "record_date is not a day" in reasons(tables)[f"{coswara.TABLE}:2"]


@pytest.mark.trap("coswara.split-archives")
def test_archives_that_are_not_unpacked_are_named(tmp_path):
    table = f"id,a,g,covid_status,record_date\n{ONE},30,male,healthy,2020-04-13\n"
    parts = [f"{day}/{day}.tar.gz.{part}" for day in ("20200413", "20200415") for part in ("aa", "ab")]
    with pytest.raises(RecipeError, match=r"extract_data\.py"):
        coswara.scan(corpus(tmp_path, table, *parts))
    tables = coswara.scan(corpus(tmp_path, table, f"Extracted_data/20200413/{ONE}/vowel-a.wav"))
    archives = {path: reason for path, reason in reasons(tables).items() if "tar" in path}
    assert set(archives) == {"20200415/20200415.tar.gz.aa"}
    assert archives["20200415/20200415.tar.gz.aa"].startswith("archive that is not unpacked")


def test_ids_and_copies(tmp_path):
    table = (
        f"id,a,g,covid_status,record_date\n{ONE},30,male,healthy,2020-04-13\n{ONE},30,male,healthy,2020-04-13\nx,1,,,\n"
    )
    files = (f"a/20200413/{ONE}/vowel-a.wav", f"b/20200413/{ONE}/vowel-a.wav", "a/vowel-a.wav")
    assert reasons(coswara.scan(corpus(tmp_path, table, *files))) == {
        f"{coswara.TABLE}:3": f"second row of {ONE}",
        f"{coswara.TABLE}:4": "id is not 28 letters and digits",
        "b/20200413/" + f"{ONE}/vowel-a.wav": f"second copy of a/20200413/{ONE}/vowel-a.wav",
        "a/vowel-a.wav": "recording outside the folder of a person",
        "annotations": "not found: the recordings have no grades of quality",
    }


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"no combined_data\.csv"):
        coswara.scan(tmp_path)
    with pytest.raises(RecipeError, match=r"combined_data\.csv: no column g, covid_status"):
        coswara.scan(corpus(tmp_path, f"id,a,record_date\n{ONE},3,2020-04-13\n", f"20200413/{ONE}/vowel-a.wav"))


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    """The owners' tables in the owners' layout, with an empty file for two recordings of each person."""
    root = tmp_path_factory.mktemp("coswara")
    shutil.copy(REAL / coswara.TABLE, root)
    shutil.copytree(REAL / "annotations", root / "annotations", copy_function=shutil.copyfile)
    for table in sorted((REAL / "by_date").glob("*.csv")):
        (root / table.stem).mkdir()
        shutil.copyfile(table, root / table.stem / table.name)
    for person in pl.read_csv(REAL / coswara.TABLE, infer_schema=False)["id"]:
        folder = root / "Extracted_data" / "20200413" / person
        folder.mkdir(parents=True)
        (folder / "counting-normal.wav").touch()
        (folder / "vowel-o.wav").touch()
    return root


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_the_owners_people(record_property, owners):
    tables = coswara.scan(owners)
    people = pl.read_csv(REAL / coswara.TABLE, infer_schema=False)
    assert people.height == people["id"].n_unique() == 2746
    assert tables.rejects["reason"].value_counts(sort=True).rows() == [
        ("of a person whose recordings are corrupt", 4),
        ("known error: the recordings are corrupt", 2),
    ]
    assert tables.speakers.height == 2746 - 2
    record_property(
        "real", f"coswara: {people.height:,} people; {tables.speakers.height:,} read, 2 corrupt ones rejected"
    )
    sound = people.filter(~pl.col("id").is_in(list(coswara.CORRUPT)))
    assert Counter(tables.speakers["sex"]) == Counter(sound["g"])
    assert tables.utterances.height == 2 * 2744
    assert tables.utterances["recorded_on"].null_count() == 0
    assert (tables.utterances["age"].min(), tables.utterances["age"].max()) == (1.0, 99.0)
    for column, attribute in coswara.STATES.items():
        assert Counter(said(tables, attribute).values()) == Counter(sound[column].drop_nulls().to_list())
    for column, word in {**coswara.SYMPTOMS, **coswara.COMORBIDITIES}.items():
        own = tables.observations.filter(pl.col("value") == word)
        assert own.height == (sound[column] == "True").sum(), column


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_every_word_of_the_owners_is_in_the_vocabulary(owners):
    tables = coswara.scan(owners)
    states = {
        attribute: Counter(folded(attribute, word) for word in said(tables, attribute).values())
        for attribute in coswara.STATES.values()
    }
    assert states["covid"].keys() == {"present", "absent", ""}
    assert states["covid"]["absent"] <= 1433 and states["covid"]["present"] <= 426 + 165 + 90
    assert sum(states["covid"].values()) == 2744
    assert states["smoking"].keys() == {"present", "absent"}  # 225 smoke, 861 do not, before the two corrupt ones
    assert 223 <= states["smoking"]["present"] <= 225 and 859 <= states["smoking"]["absent"] <= 861
    assert states["asthma"].keys() == states["copd"].keys() == {"present"}
    assert all(folded("sex", word) for word in set(tables.speakers["sex"]))


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_the_owners_annotations(owners):
    tables = coswara.scan(owners)
    grades = tables.observations.filter(pl.col("attribute") == "audio_quality")
    assert set(grades["value_num"]) == {0.0, 1.0, 2.0}
    assert grades.height == 2744 + 2744 - 1  # one vowel-o has no grade


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' tables are not here")
def test_the_owners_tables_by_date(owners, tmp_path):
    tables = coswara.scan(owners)
    for table in sorted((REAL / "by_date").glob("*.csv")):
        people = pl.read_csv(table, infer_schema=False)["id"].to_list()
        root = corpus(
            tmp_path / table.stem,
            table.read_text("utf-8-sig"),
            *(f"{table.stem}/{person}/vowel-o.wav" for person in people),
            name=f"{table.stem}/{table.name}",
        )
        own = coswara.scan(root)
        assert own.speakers.height == len(set(people) - coswara.CORRUPT)
        same = pl.col("speaker_id").is_in(own.speakers["speaker_id"].to_list())
        words = ["speaker_id", "attribute", "value"]
        expected = tables.observations.filter(same, pl.col("value").is_not_null()).select(words).sort(words)
        assert own.observations.select(words).sort(words).equals(expected)
