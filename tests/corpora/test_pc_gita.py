import unicodedata
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import pc_gita
from pipelines.corpora._base import RecipeError
from pipelines.voices import Voices

HEADER = "RECODING ORIGINAL NAME,UPDRS,UPDRS-speech,H/Y,SEX,AGE,time after diagnosis\n"


def corpus(root: Path, *files: str, table: str | None = None) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    if table is not None:
        (root / "PCGITA_metadata.csv").write_text(table, encoding="utf-8")
    return root


def said(tables, attribute):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return {
        speaker.partition(":")[2].removeprefix("AVPEPUDEA"): value if number is None else number
        for speaker, value, number in own.select("speaker_id", "value", "value_num").iter_rows()
    }


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def test_miniature_counts(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 8 * 3 + 3  # fruta, bodega and ñame
    assert set(tables.utterances["speech_task"]) == {"vowel", "spontaneous", "syllables", "read", "words"}
    assert tables.utterances["age"].null_count() == 0
    assert set(tables.speakers["sex"]) == {"F", "M"}
    found = reasons(tables)
    assert len(found) == 5
    assert found["PCGITA_metadata.xlsx:10"] == "row without recordings of AVPEPUDEAC0999"
    assert found[f"{pc_gita.HOME}/Words/Sin_normalizar/Control/apto/prueba.wav"].startswith("name does not start")


def test_labels_on_both_sides_for_both_sexes(tables):
    people = tables.speakers.join(
        tables.observations.filter(pl.col("attribute") == "parkinson"), on="speaker_id"
    ).select("sex", "value")
    assert people.group_by("sex", "value").len()["len"].to_list() == [2, 2, 2, 2]


def test_never_more_than_twelve_people_at_full_scale(tmp_path):
    pc_gita.miniature(tmp_path, Voices(scale=1.0))
    assert pc_gita.scan(tmp_path).speakers.height == 12


@pytest.mark.trap("pc_gita.folder-names")
def test_folders_in_any_spelling(tmp_path):
    files = {
        "VOWELS/Patologicas/A/AVPEPUDEA0001a1.wav": "vowel",
        "modulated vowels/hc/A/AVPEPUDEAC0001a.wav": "vowel",
        "DDK_analysis/pa-pa-pa/sin_normalizar/pd/AVPEPUDEA0001pa.wav": "syllables",
        "DDK-Analysis/pataka/sin normalizar/PD/AVPEPUDEA0001pataka.WAV": "syllables",
        "Words/Sin_normalizar/Patologica/apto/AVPEPUDEA0001apto.wav": "words",
        "sentences/laura/sin_normalizar/HC/avpepudeac0001laura.wav": "read",
        "sentences2/1_viste/non-normalized/hc/AVPEPUDEAC0001_viste.wav": "read",
        "read text/ayerfuialmedico/sin normalizar/hc/AVPEPUDEAC0001readtext.wav": "read",
        "Monologue/sin_normalizar/pd/AVPEPUDEA0001-Monologo-NR.wav": "spontaneous",
    }
    tables = pc_gita.scan(corpus(tmp_path, *files))
    assert dict(tables.utterances.select("path", "speech_task").iter_rows()) == files
    assert tables.speakers["speaker_id"].to_list() == ["pc_gita:AVPEPUDEA0001", "pc_gita:AVPEPUDEAC0001"]


@pytest.mark.trap("pc_gita.group-from-the-id")
def test_the_id_and_not_the_folder_names_the_group(tmp_path):
    tables = pc_gita.scan(
        corpus(tmp_path, "monologue/hc/AVPEPUDEA0007-Monologo.wav", "monologue/pd/AVPEPUDEAC0007-Monologo.wav")
    )
    assert said(tables, "parkinson") == {"0007": "present", "C0007": "absent"}
    assert said(tables, "healthy") == {"C0007": "present"}


@pytest.mark.trap("pc_gita.copies-of-a-recording")
def test_the_copy_that_is_not_normalised_then_the_original_rate(tmp_path):
    name = "monologue/{}/pd/AVPEPUDEA0001-Monologo-NR.wav"
    low, high = "PC-GITA_per_task_16000Hz", "PC-GITA_per_task_44100Hz"
    kept = f"{high}/{name.format('sin_normalizar')}"
    copies = [f"{low}/{name.format('sin_normalizar')}", f"{high}/{name.format('normalizado')}"]
    tables = pc_gita.scan(corpus(tmp_path, *copies, kept))
    assert tables.utterances["path"].to_list() == [kept]
    assert {path for path in reasons(tables) if path.endswith(".wav")} >= set(copies)
    assert pc_gita.scan(corpus(tmp_path / "one", copies[0])).utterances["path"].to_list() == [copies[0]]


@pytest.mark.trap("pc_gita.copies-of-a-recording")
def test_two_items_whose_files_have_one_name_are_no_copies(tmp_path):
    kept = [f"Words/Sin_normalizar/Control/{word}/AVPEPUDEAC0001.wav" for word in ("apto", "atleta")]
    copy = "Words/Normalizadas/Control/apto/AVPEPUDEAC0001.wav"
    tables = pc_gita.scan(corpus(tmp_path, *kept, copy))
    assert sorted(tables.utterances["path"]) == kept
    assert reasons(tables)[copy] == f"second copy of {kept[0]}"


@pytest.mark.trap("pc_gita.stray-bodega-folder")
def test_the_stray_folder_repeats_a_recording(tables):
    heard = tables.utterances.filter(pl.col("path").str.contains("bodega"))["path"].to_list()
    assert len(heard) == 1
    copies = [reason for path, reason in reasons(tables).items() if "bodega" in path]
    assert copies == [f"second copy of {heard[0]}"]


@pytest.mark.trap("pc_gita.fruta-lacks-0016")
def test_a_word_that_is_not_there_is_no_reject(tables):
    assert "pc_gita:AVPEPUDEA0016" in tables.speakers["speaker_id"].to_list()
    fruta = tables.utterances.filter(pl.col("path").str.contains("fruta"))
    assert fruta["speaker_id"].to_list() == ["pc_gita:AVPEPUDEAC0001"]
    assert not any("0016" in path + reason for path, reason in reasons(tables).items())


@pytest.mark.trap("pc_gita.clavo-0038-is-bad")
def test_the_bad_recording_alone_is_rejected(tables, tmp_path):
    place = f"{pc_gita.HOME}/Words/Sin_normalizar/Patologica/clavo/AVPEPUDEA0038clavo.wav"
    assert reasons(tables)[place] == "known error: a bad recording"
    assert place not in tables.utterances["path"].to_list()
    others = ["Words/PD/clavo/AVPEPUDEAC0038clavo.wav", "Words/PD/casa/AVPEPUDEA0038casa.wav"]
    assert sorted(pc_gita.scan(corpus(tmp_path, *others)).utterances["path"].to_list()) == sorted(others)


@pytest.mark.trap("pc_gita.two-ways-to-write-n-tilde")
def test_both_unicode_forms_are_one_word(tables, root):
    heard = [path for path in tables.utterances["path"] if "ñame" in unicodedata.normalize("NFC", path)]
    assert len(heard) == 1 and "Sin_normalizar" in heard[0]
    assert (root / heard[0]).is_file()  # the path is as on the disk
    copies = [path for path in reasons(tables) if "ñame" in unicodedata.normalize("NFC", path)]
    assert copies == [unicodedata.normalize("NFD", heard[0]).replace("Sin_normalizar", "Normalizadas")]


@pytest.mark.trap("pc_gita.recoding-original-name")
def test_the_id_column_in_both_spellings_and_never_by_position(tmp_path):
    file = "monologue/pd/AVPEPUDEA0001-Monologo.wav"
    for number, name in enumerate(("RECODING ORIGINAL NAME", "Recording  Original Name ")):
        table = f"AGE,SEX,{name}\n66,M, AVPEPUDEA0001 \n"
        tables = pc_gita.scan(corpus(tmp_path / str(number), file, table=table))
        assert tables.utterances["age"].to_list() == [66.0]
        assert tables.speakers["sex"].to_list() == ["M"]
        assert tables.rejects.is_empty()
    with pytest.raises(RecipeError, match=r"PCGITA_metadata\.csv: no column recoding original name"):
        pc_gita.scan(corpus(tmp_path / "other", file, table="AGE,SEX,NAME\n66,M,AVPEPUDEA0001\n"))


@pytest.mark.trap("pc_gita.no-scores-of-controls")
def test_controls_have_no_scores(tables, tmp_path):
    for attribute in ("updrs", "updrs_speech", "hoehn_yahr", "years_since_diagnosis"):
        assert set(said(tables, attribute)) == {"0001", "0016", "0038", "0002"}
    table = HEADER + "AVPEPUDEAC0001,NaN,,nan,F,70,NaN\nAVPEPUDEA0001,28,0,1,M,66,12\n"
    files = ("monologue/hc/AVPEPUDEAC0001-Monologo.wav", "monologue/pd/AVPEPUDEA0001-Monologo.wav")
    own = pc_gita.scan(corpus(tmp_path, *files, table=table))
    assert said(own, "updrs") == {"0001": 28.0}
    assert said(own, "updrs_speech") == {"0001": 0.0}  # a stated nought is a score
    assert said(own, "years_since_diagnosis") == {"0001": 12.0}


@pytest.mark.trap("pc_gita.half-stages")
def test_stages_with_halves(tables):
    assert said(tables, "hoehn_yahr")["0016"] == 2.5
    scores = tables.observations.filter(pl.col("value_num").is_not_null())
    assert set(scores.select("attribute", "instrument").iter_rows()) == {
        ("updrs", "UPDRS"),
        ("updrs_speech", "UPDRS"),
        ("hoehn_yahr", "Hoehn-Yahr"),
        ("years_since_diagnosis", None),
    }


def test_people_without_a_row_and_rows_that_are_no_person(tmp_path):
    table = HEADER + "AVPEPUDEA0001,28,0,1,M,66,12\nAVPEPUDEA0001,29,0,1,M,66,12\nMEAN,,,,,61,\n"
    files = ("monologue/hc/AVPEPUDEAC0001-Monologo.wav", "monologue/pd/AVPEPUDEA0001-Monologo.wav")
    tables = pc_gita.scan(corpus(tmp_path, *files, table=table))
    assert reasons(tables) == {
        files[0]: "AVPEPUDEAC0001 is in no row of the table: age and sex unknown",
        "PCGITA_metadata.csv:3": "second row of AVPEPUDEA0001",
        "PCGITA_metadata.csv:4": "recoding original name is not AVPEPUDEA or AVPEPUDEAC and four digits",
    }
    assert said(tables, "parkinson") == {"0001": "present", "C0001": "absent"}


def test_without_the_table_groups_are_known_and_ages_are_not(tmp_path):
    tables = pc_gita.scan(corpus(tmp_path, "monologue/pd/AVPEPUDEA0001-Monologo.wav"))
    assert reasons(tables) == {"PCGITA_metadata.xlsx": "not found: nobody has sex, age or scores"}
    assert tables.utterances["age"].to_list() == [None]
    assert said(tables, "parkinson") == {"0001": "present"}


def test_other_groups_and_folders_are_rejected(tmp_path):
    files = ("monologue/AVPEPUDEAAD0001.wav", "extra/AVPEPUDEA0002.wav", "monologue/AVPEPUDEA00031.wav")
    tables = pc_gita.scan(
        corpus(tmp_path, "monologue/pd/AVPEPUDEA0001.wav", "monologue/pd/._AVPEPUDEA0001.wav", *files)
    )
    assert tables.utterances["path"].to_list() == ["monologue/pd/AVPEPUDEA0001.wav"]
    assert set(files) < set(reasons(tables))


def test_wrong_folder(tmp_path):
    with pytest.raises(RecipeError, match=r"AVPEPUDEAC0001a1\.wav"):
        pc_gita.scan(corpus(tmp_path, table=HEADER))
