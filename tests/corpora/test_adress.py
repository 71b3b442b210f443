from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import adress, adresso, pitt
from pipelines.corpora._base import RecipeError

HOME = Path("ADReSS-IS2020-data")
CHAT = "@UTF8\n*INV:\twhat is going on ? \x150_900\x15\n*PAR:\tthe boy\n\tis falling . \x15900_2900\x15\n@End\n"


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def by_hand(tmp_path):
    """A control and a patient in train, one in test without labels; the archives unpacked beside each other."""
    train, test = tmp_path / "ADReSS-IS2020-train/train", tmp_path / "ADReSS-IS2020-test/test"
    for home, name in ((train, "cc/S001"), (train, "cd/S079"), (test, "S160")):
        write(home / f"Full_wave_enhanced_audio/{name}.wav")
        write(home / f"transcription/{name}.cha", CHAT)
    write(train / "cc_meta_data.txt", "ID   ; age; gender ; mmse\nS001 ;  74; male ; NA\n")
    write(train / "cd_meta_data.txt", "ID   ; age; gender ; mmse\nS079 ;  66; female ; 19\n")
    write(test / "meta_data.txt", "ID   ; age; gender \nS160 ;  70; female \n")
    return tmp_path


def facts(tables, attribute):
    return dict(
        tables.observations.filter(pl.col("attribute") == attribute)
        .select("speaker_id", pl.coalesce("value", pl.col("value_num").cast(pl.String)))
        .iter_rows()
    )


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 2
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"female": 4, "male": 4}
    assert tables.utterances["age"].is_between(60, 85).all()
    per_split = tables.utterances.group_by("official_split").agg(pl.col("speaker_id").n_unique())
    assert dict(per_split.iter_rows()) == {"train": 6, "test": 2}


@pytest.mark.trap("adress.padded-tables", "adress.na-mmse")
def test_cells_are_stripped_and_na_is_no_score(by_hand):
    tables = adress.scan(by_hand)
    people = tables.speakers.select("speaker_id", "sex").sort("speaker_id").rows()
    assert people == [("adress:S001", "male"), ("adress:S079", "female"), ("adress:S160", "female")]
    assert sorted(tables.utterances["age"]) == [66.0, 70.0, 74.0]
    assert facts(tables, "mmse") == {"adress:S079": "19.0"}


@pytest.mark.trap("adress.test-has-no-class")
def test_test_speakers_are_unlabelled_until_the_labels_come(by_hand):
    tables = adress.scan(by_hand)
    assert facts(tables, "alzheimer") == {"adress:S001": "absent", "adress:S079": "present"}
    assert "no labels of the test" in tables.rejects["reason"].item()
    write(by_hand / adress.LABELLED_TEST, "ID   ; age; gender ; Label ; mmse\nS160 ;  70; 1 ; 1 ; 20 \n")
    tables = adress.scan(by_hand)
    assert facts(tables, "alzheimer")["adress:S160"] == "present"
    assert facts(tables, "mmse")["adress:S160"] == "20.0"
    assert tables.rejects.is_empty()


@pytest.mark.trap("adress.sex-in-digits")
@pytest.mark.parametrize(("word", "sex"), [("0", "male"), ("1", "female"), ("female", "female")])
def test_sex_of_the_test_table(by_hand, word, sex):
    write(by_hand / adress.LABELLED_TEST, f"ID; age; gender; Label; mmse\nS160; 70; {word}; 0; 30\n")
    assert dict(adress.scan(by_hand).speakers.select("speaker_id", "sex").iter_rows())["adress:S160"] == sex


@pytest.mark.trap("adress.chunks-repeat-the-audio")
def test_chunks_are_passed_over(root, tables):
    assert list(root.rglob("Normalised_audio-chunks/*/S902-*.wav"))
    assert tables.utterances["path"].str.contains("/Full_wave_enhanced_audio/").all()
    assert not tables.rejects["path"].str.contains("chunks").any()


@pytest.mark.trap("adress.interviewer", "adress.milliseconds")
def test_turns_of_the_participant_in_seconds(by_hand):
    turns = adress.scan(by_hand).utterances.select("start_s", "end_s").unique()
    assert turns.rows() == [(0.9, 2.9)]


def test_what_lies_alone_is_rejected(tables):
    reasons = sorted(reason.split(":")[0] for reason in tables.rejects["reason"])
    assert [reason.split(" ADReSS")[0] for reason in reasons] == [
        "no transcript",
        "recording without a row in cd_meta_data.txt",
    ]


def test_rows_without_audio_and_impossible_scores(by_hand):
    table = by_hand / "ADReSS-IS2020-train/train/cd_meta_data.txt"
    table.write_text("ID; age; gender; mmse\nS079; 66; female; 44\nS080; 66; female; 20\nS079; 1; male; 1\n")
    tables = adress.scan(by_hand)
    found = {Path(path).name: reason for path, reason in tables.rejects.select("path", "reason").iter_rows()}
    assert found["cd_meta_data.txt:2"] == "mmse is outside 0..30: no score taken"
    assert found["cd_meta_data.txt:3"] == "row without audio"
    assert found["cd_meta_data.txt:4"] == "id is twice in the table"
    assert facts(tables, "mmse") == {}


@pytest.mark.trap("adress.same-people", "adresso.same-people", "pitt.same-people")
def test_the_family_knows_a_person_by_one_key(rendered):
    keys = [set(recipe.scan(rendered(recipe.CORPUS.name)).speakers["person_id"]) for recipe in (adress, adresso, pitt)]
    same = {f"dementiabank:{number}" for number in range(901, 909)}
    assert keys[0] == keys[2] == same
    assert same < keys[1]
    assert all(key.startswith("dementiabank:") for key in keys[1])


def test_without_a_mapping_no_id_is_made_up(by_hand):
    assert "dementiabank:S001" in adress.scan(by_hand).speakers["person_id"].to_list()
    write(by_hand / "pitt_ids.csv", "id,pitt\ns001,7\nS079,x\n")
    tables = adress.scan(by_hand)
    assert {"dementiabank:007", "dementiabank:S079"} < set(tables.speakers["person_id"])
    assert tables.rejects["path"][0] == "pitt_ids.csv:3"


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match="train/Full_wave_enhanced_audio"):
        adress.scan(tmp_path)


def test_missing_column_names_file_and_column(by_hand):
    write(by_hand / "ADReSS-IS2020-train/train/cc_meta_data.txt", "ID; age; sex; mmse\nS001; 74; male; 30\n")
    with pytest.raises(RecipeError, match=r"cc_meta_data\.txt.*no column gender"):
        adress.scan(by_hand)
