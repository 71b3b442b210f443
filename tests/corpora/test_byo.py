"""The bring-your-own layout, on hand-written folders, and the two private corpora that stand on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import popgen, voces
from pipelines.corpora._base import Corpus, RecipeError
from pipelines.corpora._byo import TRAPS, scan_byo
from pipelines.corpora._vocabulary import attributes, instruments
from pipelines.schema import Tables
from pipelines.voices import Voices

Lab = Callable[..., Path]
BOTH = pytest.mark.parametrize("recipe", [popgen.CORPUS, voces.CORPUS], ids=["popgen", "voces"])


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Writes metadata.csv, corpus.toml and an empty file for each word that ends in .wav."""

    def write(*lines: str, toml: str = "", table: str = "metadata.csv", audio: tuple[str, ...] = ()) -> Path:
        (tmp_path / table).write_text("\n".join(lines) + "\n", encoding="utf-8")
        if toml:
            (tmp_path / "corpus.toml").write_text(toml, encoding="utf-8")
        words = [word for line in lines for word in line.replace(";", ",").replace("\t", ",").split(",")]
        for name in [*audio, *(word for word in words if word.endswith(".wav"))]:
            (tmp_path / name).touch()
        return tmp_path

    return write


def read(root: Path) -> Tables:
    return scan_byo("my_lab", root, "de")


def stated(tables: Tables) -> list[tuple[object, ...]]:
    columns = ("speaker_id", "session_id", "utt_id", "attribute", "value", "value_num", "instrument", "source")
    return sorted(tables.observations.select(columns).rows(), key=str)


def test_the_smallest_table(lab: Lab) -> None:
    tables = read(lab("speaker,path", "a,1.wav", "a,2.wav", "b,3.wav"))
    assert tables.speakers["speaker_id"].to_list() == ["my_lab:a", "my_lab:b"]
    assert tables.utterances["path"].to_list() == ["1.wav", "2.wav", "3.wav"]
    assert set(tables.utterances["language"]) == {"de"}
    assert tables.observations.is_empty()
    assert tables.rejects.is_empty()


def test_every_column_finds_its_place(lab: Lab) -> None:
    tables = read(
        lab(
            "speaker,path,session,language,split,speech_task,device,date,age,channel,start,end,person,"
            "sex,birth_year,native_language,country",
            "a,1.wav,s1,pt-BR,dev,read,phone,2024-05-06,31,1,0.5,2.25,family:7,Female,1993,pt,BR",
        )
    )
    assert tables.speakers.row(0, named=True) == {
        "corpus": "my_lab",
        "speaker_id": "my_lab:a",
        "person_id": "family:7",
        "sex": "female",
        "birth_year": 1993,
        "native_language": "pt",
        "country": "BR",
    }
    utterance = tables.utterances.row(0, named=True)
    assert utterance.pop("recorded_on").isoformat() == "2024-05-06"
    assert utterance == {
        "utt_id": "my_lab:1#0.500-2.250",
        "corpus": "my_lab",
        "speaker_id": "my_lab:a",
        "session_id": "s1",
        "path": "1.wav",
        "start_s": 0.5,
        "end_s": 2.25,
        "channel": 1,
        "language": "pt-BR",
        "speech_task": "read",
        "device": "phone",
        "official_split": "dev",
        "age": 31.0,
    }


def test_scales_get_their_instrument_and_states_their_word(lab: Lab) -> None:
    tables = read(lab("speaker,path,phq9,moca,depression,education_years", "a,1.wav,12,27,yes,16", "b,2.wav,,,0,"))
    assert stated(tables) == [
        ("my_lab:a", None, None, "depression", "present", None, None, "owner"),
        ("my_lab:a", None, None, "education_years", None, 16.0, None, "owner"),
        ("my_lab:a", None, None, "moca", None, 27.0, "MoCA", "clinician"),
        ("my_lab:a", None, None, "phq9", None, 12.0, "PHQ-9", "self-report"),
        ("my_lab:b", None, None, "depression", "absent", None, None, "owner"),
    ]


@pytest.mark.parametrize(
    ("column", "instrument"),
    [("phq8", "PHQ-8"), ("gad7", "GAD-7"), ("ais", "AIS"), ("mfi_general", "MFI"), ("alsfrs_r", "ALSFRS-R")],
)
def test_each_scale_knows_its_instrument(lab: Lab, column: str, instrument: str) -> None:
    assert stated(read(lab(f"speaker,path,{column}", "a,1.wav,5")))[0][6] == instrument


def test_a_fact_is_stated_at_the_widest_level_where_it_is_one_value(lab: Lab) -> None:
    tables = read(
        lab(
            "speaker,path,session,gad7,phq9,voice_roughness",
            "a,1.wav,s1,4,5,",
            "a,2.wav,s1,4,5,present",
            "a,3.wav,s2,4,9,",
        )
    )
    assert [row[1:6] for row in stated(tables)] == [
        ("s1", "my_lab:2", "voice_roughness", "present", None),  # the two blanks stay unknown
        ("s1", None, "phq9", None, 5.0),
        ("s2", None, "phq9", None, 9.0),
        (None, None, "gad7", None, 4.0),
    ]


@pytest.mark.trap("popgen.own-columns", "voces.own-columns", "popgen.missing-code", "voces.missing-code")
@pytest.mark.trap("popgen.own-words", "voces.own-words", "popgen.semicolons", "voces.semicolons")
def test_other_words_come_in_by_corpus_toml(lab: Lab) -> None:
    tables = read(
        lab(
            "Kennung;Datei;Geschlecht;PHQ  gesamt;Rauigkeit;Depression;Notiz",
            "a;1.wav;2;7,5;2;ja;egal",
            "b;2.wav;1;-9;0;nein;",
            toml="""
            [columns]
            Kennung = "speaker"
            Datei = "path"
            Geschlecht = "sex"
            "PHQ gesamt" = "phq9"
            Rauigkeit = "voice_roughness"
            [words.sex]
            1 = "male"
            2 = "female"
            [words.depression]
            Ja = "present"
            nein = "absent"
            [words.phq9]
            "-9" = ""
            [corpus]
            language = "fr"
            ignore = ["Notiz"]
            [instruments]
            voice_roughness = "GRBAS"
            [sources]
            depression = "clinician"
            """,
        )
    )
    assert tables.speakers["sex"].to_list() == ["female", "male"]
    assert set(tables.utterances["language"]) == {"fr"}
    assert [row[0:1] + row[3:] for row in stated(tables)] == [
        ("my_lab:a", "depression", "present", None, None, "clinician"),
        ("my_lab:a", "phq9", None, 7.5, "PHQ-9", "self-report"),
        ("my_lab:a", "voice_roughness", None, 2.0, "GRBAS", "rater"),
        ("my_lab:b", "depression", "absent", None, None, "clinician"),
        ("my_lab:b", "voice_roughness", None, 0.0, "GRBAS", "rater"),
    ]


def test_parquet_with_numbers_and_dates(lab: Lab) -> None:
    root = lab("", audio=("1.wav",), table="notes.txt")
    frame = pl.DataFrame({"speaker": [7], "path": ["1.wav"], "age": [31.5], "phq9": [12], "depression": [True]})
    frame.with_columns(date=pl.date(2024, 5, 6)).write_parquet(root / "metadata.parquet")
    tables = read(root)
    assert tables.speakers["speaker_id"].to_list() == ["my_lab:7"]
    assert tables.utterances.select("age", pl.col("recorded_on").cast(str)).rows() == [(31.5, "2024-05-06")]
    assert [row[3:6] for row in stated(tables)] == [("depression", "present", None), ("phq9", None, 12.0)]


@pytest.mark.trap("popgen.other-encoding", "voces.other-encoding")
def test_tables_with_tabs_and_in_another_encoding(lab: Lab) -> None:
    assert read(lab("speaker\tpath", "a\t1.wav", table="metadata.tsv")).utterances.height == 1
    root = lab("", toml='[corpus]\nencoding = "cp1252"', table="notes.txt")
    (root / "metadata.tsv").unlink()
    (root / "metadata.csv").write_bytes("speaker,path,accent\nJosé,1.wav,suisse alémanique\n".encode("cp1252"))
    tables = read(root)
    assert tables.speakers["speaker_id"].to_list() == ["my_lab:José"]
    assert tables.observations["value"].to_list() == ["suisse alémanique"]


@pytest.mark.trap("popgen.absent-audio", "voces.absent-audio")
@pytest.mark.trap("popgen.path-leaves-folder", "voces.path-leaves-folder")
@pytest.mark.trap("popgen.same-recording-twice", "voces.same-recording-twice")
def test_what_is_not_there_is_rejected_and_the_rest_is_read(lab: Lab) -> None:
    root = lab("speaker,path", "a,1.wav", "a,sub\\2.mp3", ",3.wav", "b,", "b,1.wav", "b,../5.mp3", audio=("6.wav",))
    tables = read(root)
    assert tables.utterances.height == 1
    assert dict(tables.rejects.select("path", "reason").iter_rows()) == {
        "metadata.csv:3": "no audio at this path",
        "metadata.csv:4": "no speaker",
        "metadata.csv:5": "no path",
        "metadata.csv:6": "an earlier row has this recording",
        "metadata.csv:7": "the path leaves the corpus folder: write it relative to the folder",
        "3.wav": "no row for this file in metadata.csv",
        "6.wav": "no row for this file in metadata.csv",
    }


@pytest.mark.trap("popgen.windows-path", "voces.windows-path")
def test_windows_paths_are_understood(lab: Lab) -> None:
    root = lab("speaker,path", "a,sub\\1.mp3")
    (root / "sub").mkdir()
    (root / "sub" / "1.mp3").touch()
    assert read(root).utterances["path"].to_list() == ["sub/1.mp3"]


@pytest.mark.trap("popgen.unknown-word", "voces.unknown-word")
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "depression",
            "presnt",
            r"row 3, column depression: 'presnt' is not an allowed word \(did you mean 'present'\?\)",
        ),
        ("voice_roughness", "2", r"name its instrument \(.*GRBAS.*\) under \[instruments\]"),
        ("sex", "femal", r"row 3, column sex: 'femal' .*did you mean 'female'"),
        ("speech_task", "reading", r"column speech_task: 'reading' .*did you mean 'read'"),
        ("split", "valid", r"column split: 'valid' .*allowed: dev, test, train"),
        ("phq9", "many", r"column phq9: 'many' is not a number"),
        ("phq9", "99", r"column phq9: '99' is not within 0\.\.27"),
        ("age", "-1", r"column age: '-1' is not within 0\.\.120"),
        ("language", "Frensh", r"column language: 'Frensh' is no language such as 'fr', .*did you mean 'french'"),
        ("country", "Frnace", r"column country: 'Frnace' is no country such as 'FR' .*did you mean 'france'"),
        ("native_language", "?!", r"column native_language: '\?!' is no language"),
        ("education", "secundary", r"column education: 'secundary' .*did you mean 'secondary'"),
        ("alcohol", "some", r"column alcohol: 'some' .*allowed: none, casual, habitual"),
        ("age_range", "youngish", r"column age_range: 'youngish' is not an allowed word"),
        ("depression", "krank", r"'krank' .*allowed: present, absent, yes, no.*\[words.depression\] in corpus.toml"),
        ("date", "6 May", r"column date: '6 May' is not a date"),
        ("birth_year", "93", r"column birth_year: '93' is not within 1850\.\.2100"),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(lab: Lab, column: str, value: str, message: str) -> None:
    root = lab(f"speaker,path,{column}", "a,1.wav,", f"b,2.wav,{value}")
    with pytest.raises(RecipeError, match=message):
        read(root)


def test_all_wrong_cells_are_listed_up_to_ten_and_equal_ones_once(lab: Lab) -> None:
    root = lab("speaker,path,age", *(f"{i},{i}.wav,old{i}" for i in range(13)))
    with pytest.raises(RecipeError) as caught:
        read(root)
    message = str(caught.value)
    assert message.startswith(f"{root / 'metadata.csv'}:\n")
    assert message.count("column age") == 10
    assert message.endswith("... and 3 more")
    with pytest.raises(RecipeError, match=r"metadata\.csv: row 2 \(and 12 more\), column age: 'old' is not a number"):
        read(lab("speaker,path,age", *(f"{i},{i}.wav,old" for i in range(13))))


def test_a_wrong_cell_is_named_by_the_owners_column_too(lab: Lab) -> None:
    root = lab("speaker,path,Geschlecht", "a,1.wav,femal", toml='[columns]\nGeschlecht = "sex"')
    with pytest.raises(RecipeError, match=r"row 2, column geschlecht \(sex\): 'femal' .*did you mean 'female'"):
        read(root)


@pytest.mark.parametrize(
    ("column", "toml", "value", "near"),
    [
        ("depression", "MDD = 'present'", "MDDD", "MDD"),
        ("depression", "MDD = 'present'", "presnt", "present"),
        ("sex", "Patientin = 'female'", "Patentin", "Patientin"),
        ("speech_task", "Lesetext = 'read'", "Lestext", "Lesetext"),
        ("native_language", "Schwyzertitsch = 'gsw'", "schwyzertisch", "Schwyzertitsch"),
        ("country", "Eidgenossenschaft = 'CH'", "Eidgenossenschft", "Eidgenossenschaft"),
    ],
)
def test_a_word_near_one_of_the_owners_is_answered_with_that(
    lab: Lab, column: str, toml: str, value: str, near: str
) -> None:
    said = f"[words.{column}]\n{toml}"
    root = lab(f"speaker,path,{column}", f"a,1.wav,{value}", toml=said)
    with pytest.raises(RecipeError, match=rf"'{value}' is .*\(did you mean '{near}'\?\)"):
        read(root)


@pytest.mark.parametrize(
    ("word", "state"),
    [("yes", "present"), ("N", "absent"), ("TRUE", "present"), ("0", "absent"), ("neg", "absent"), ("uncertain", None)],
)
def test_states_take_the_words_of_the_vocabulary(lab: Lab, word: str, state: str | None) -> None:
    tables = read(lab("speaker,path,depression", f"a,1.wav,{word}", "b,2.wav,present"))
    said = dict(tables.observations.select("speaker_id", "value").iter_rows())
    assert said.get("my_lab:a") == state


def test_a_word_of_one_attribute_is_no_word_of_another(lab: Lab) -> None:
    assert read(lab("speaker,path,smoking", "a,1.wav,non-smoker")).observations["value"].to_list() == ["absent"]
    with pytest.raises(RecipeError, match="'non-smoker' is not an allowed word"):
        read(lab("speaker,path,depression", "a,1.wav,non-smoker"))


@pytest.mark.parametrize(
    ("said", "tag"), [("French", "fr"), ("fra", "fr"), ("pt_BR", "pt-BR"), ("de", "de"), ("", "de")]
)
def test_languages_are_tags_or_names(lab: Lab, said: str, tag: str) -> None:
    assert read(lab("speaker,path,language", f"a,1.wav,{said}")).utterances["language"].to_list() == [tag]


def test_categories_keep_the_owners_word_where_the_vocabulary_knows_it(lab: Lab) -> None:
    tables = read(lab("speaker,path,education,age_range,accent", "a,1.wav,PhD,25-34,Plattdeutsch"))
    assert [row[3:5] for row in stated(tables)] == [
        ("accent", "Plattdeutsch"),
        ("age_range", "25-34"),
        ("education", "phd"),
    ]


@pytest.mark.trap("popgen.diagnosis-of-many", "voces.diagnosis-of-many")
def test_one_column_may_hold_several_states(lab: Lab) -> None:
    toml = """
    [columns]
    diagnosis = ["parkinson", "als", "healthy"]
    [words.parkinson]
    PD = "present"
    ALS = "absent"
    HC = "absent"
    [words.als]
    PD = ""
    ALS = "present"
    HC = "absent"
    [words.healthy]
    PD = "absent"
    ALS = "absent"
    HC = "present"
    """
    tables = read(lab("speaker,path,diagnosis", "a,1.wav,PD", "b,2.wav,ALS", "c,3.wav,HC", "d,4.wav,", toml=toml))
    assert [(row[0], *row[3:5]) for row in stated(tables)] == [
        ("my_lab:a", "healthy", "absent"),
        ("my_lab:a", "parkinson", "present"),
        ("my_lab:b", "als", "present"),
        ("my_lab:b", "healthy", "absent"),
        ("my_lab:b", "parkinson", "absent"),
        ("my_lab:c", "als", "absent"),
        ("my_lab:c", "healthy", "present"),
        ("my_lab:c", "parkinson", "absent"),
    ]


@pytest.mark.trap("popgen.byte-order-mark", "voces.byte-order-mark", "popgen.decimal-comma", "voces.decimal-comma")
@pytest.mark.trap("popgen.empty-cell", "voces.empty-cell")
def test_a_table_as_excel_saves_it(lab: Lab) -> None:
    root = lab("speaker;path;age;phq9;depression", "a;1.wav;31,5;7,5;", "b;2.wav;;;0")
    table = root / "metadata.csv"
    table.write_text("\ufeff" + table.read_text("utf-8").replace("\n", "\r\n"), "utf-8")
    tables = read(root)
    assert tables.utterances["age"].to_list() == [31.5, None]
    assert [(row[0], *row[3:6]) for row in stated(tables)] == [
        ("my_lab:a", "phq9", None, 7.5),
        ("my_lab:b", "depression", "absent", None),
    ]


@pytest.mark.trap("popgen.audio-without-row", "voces.audio-without-row")
@pytest.mark.trap("popgen.twin-of-a-mac", "voces.twin-of-a-mac")
def test_audio_without_a_row_is_rejected_and_a_twin_of_a_mac_is_none(lab: Lab) -> None:
    tables = read(lab("speaker,path", "a,1.wav", audio=("2.WAV", "._1.wav", "notes.txt")))
    assert tables.rejects["path"].to_list() == ["2.WAV"]


@pytest.mark.trap("popgen.rows-contradict", "voces.rows-contradict")
def test_rows_of_one_speaker_have_to_agree(lab: Lab) -> None:
    assert read(lab("speaker,path,sex", "a,1.wav,F", "a,2.wav,f")).speakers.height == 1
    with pytest.raises(RecipeError, match=r"row 3, column sex: 'm' is another value: row 2 of this speaker says 'f'"):
        read(lab("speaker,path,sex", "a,1.wav,f", "a,2.wav,m"))


def test_a_part_has_to_end_after_it_starts(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"row 2, column end: '1' is not after start"):
        read(lab("speaker,path,start,end", "a,1.wav,2,1"))


@pytest.mark.trap("popgen.misspelt-column", "voces.misspelt-column")
@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "speaker,path,phq-9",
            r"column 'phq-9' is not known \(did you mean 'phq9'\?\); say what it is under \[columns\]",
        ),
        ("speaker,path,xyzzy", r"column 'xyzzy' is not known; say what it is .* or list it under ignore"),
        ("speaker,file", r"column 'file' is not known \(did you mean 'path'\?\)"),
        ("speaker,sex", r"metadata\.csv: no column path; found speaker, sex"),
        ("path,sex", r"metadata\.csv: no column speaker; found path, sex"),
    ],
)
def test_a_column_is_known_or_an_error(lab: Lab, header: str, message: str) -> None:
    root = lab(header, "a,b,c"[: len(header.split(",")) * 2 - 1])
    with pytest.raises(RecipeError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[columns", r"corpus\.toml: not TOML"),
        ("[colums]", r"table 'colums' is not known \(did you mean 'columns'\?\)"),
        ('columns = "x"', r"'columns' has to be a table"),
        ('[columns]\nage = "agee"', r"'agee' is not known \(did you mean 'age'\?\)"),
        ('[columns]\nnowhere = "age"', r"metadata\.csv has no column 'nowhere'"),
        ('[columns]\nage = "sex"', r"two columns are 'sex'"),
        ('[instruments]\nvoice_roughness = "GRBASS"', r"instrument of voice_roughness 'GRBASS' .*did you mean 'GRBAS'"),
        ('[sources]\nphq9 = "clinican"', r"source 'clinican' is not known \(did you mean 'clinician'\?\)"),
        ('[corpus]\nencoding = "latin-99"', r"encoding 'latin-99' is not known"),
        ('[corpus]\nlang = "fr"', r"key of \[corpus\] 'lang' is not known \(did you mean 'language'\?\)"),
        ('[corpus]\nlanguage = "Germn"', r"language 'Germn' is no tag .*did you mean 'german'"),
        ('[corpus]\nlabel = "depresion"', r"label 'depresion' is not known \(did you mean 'depression'\?\)"),
        ('[corpus]\nlabel = "phq9"', r"label 'phq9' is not known"),
        ('[corpus]\nroles = ["open"]', r"role 'open' is not known \(allowed: evaluate, train\)"),
        ('[corpus]\nroles = "train"', r"roles = 'train' has to be a list"),
        ('[corpus]\nofficial_splits = "yes"', r"official_splits = 'yes' has to be true or false"),
        ("[corpus]\ntitle = 3", r"title = 3 has to be a text"),
        ("[corpus]\nepoch_share = 2", r"epoch_share has to be above 0 and at most 1"),
        ("[corpus]\nignore = [3]", r"ignore has to be a text .* or a list of texts"),
        ("[columns]\nage = 3", r"\[columns\] 'age' has to be a text"),
        ('[words.sex]\n2 = "femal"', r"\[words.sex\] 'femal' is not known \(did you mean 'female'\?\)"),
        ('[words.depression]\nx = "krank"', r"'krank' is not known \(allowed: absent, present\)"),
        ('[words.split]\nx = "eval"', r"\[words.split\] 'eval' is not known \(allowed: dev, test, train\)"),
        ("words = 3", r"'words' has to be a table"),
        ("[words]\nsex = 3", r"'sex' has to be a table of its own"),
        ("\x00", r"corpus\.toml: not TOML"),
    ],
)
def test_corpus_toml_is_checked(lab: Lab, toml: str, message: str) -> None:
    root = lab("speaker,path,age,sex", "a,1.wav,30,f", toml=toml)
    with pytest.raises(RecipeError, match=message):
        read(root)


def test_cells_that_belong_to_no_column_are_an_error(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"metadata\.csv: more cells than columns in row 3; put a cell"):
        read(lab("speaker,path,sex", "a,1.wav,F,,", "b,2.wav,tired, hoarse,F"))
    with pytest.raises(RecipeError, match=r"metadata\.csv: two columns are named 'sex'; rename or remove one"):
        read(lab("speaker,path,sex,Sex", "a,1.wav,F,M"))


def test_a_link_out_of_the_folder_is_not_followed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x.mp3").touch()
    root = lab("speaker,path", "a,1.wav", "a,link.mp3", "a,folder/x.mp3", "a,inside.mp3")
    (root / "link.mp3").symlink_to(outside / "x.mp3")
    (root / "folder").symlink_to(outside)
    (root / "inside.mp3").symlink_to(root / "1.wav")
    tables = read(root)
    assert tables.utterances["path"].to_list() == ["1.wav", "inside.mp3"]
    assert dict(tables.rejects.select("path", "reason").iter_rows())["metadata.csv:3"].startswith("symbolic link out")


def test_a_wrong_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none of metadata\.csv, .*_byo\.py"):
        popgen.CORPUS.scan(tmp_path)


def test_an_empty_table_and_a_broken_one(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"metadata\.csv: holds no rows"):
        read(lab("speaker,path"))
    root = lab("", table="notes.txt")
    (root / "metadata.csv").unlink()
    (root / "metadata.parquet").write_text("no Parquet")
    with pytest.raises(RecipeError, match=r"metadata\.parquet: cannot be read as Parquet"):
        read(root)


def test_every_scale_of_the_vocabulary_has_one_instrument() -> None:
    scales = [attribute.name for attribute in attributes().values() if attribute.kind == "scale"]
    assert len(scales) >= 10
    assert all(len(instruments()[name]) == 1 for name in scales)


@BOTH
def test_both_private_corpora_have_the_traps_of_the_layout(recipe: Corpus) -> None:
    assert recipe.traps is TRAPS
    assert recipe.cohort


@pytest.fixture(scope="module")
def french(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("raw") / "popgen"
    popgen.CORPUS.miniature(root, Voices(scale=0.1))
    return popgen.CORPUS.scan(root)


@pytest.fixture(scope="module")
def spanish(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    root = tmp_path_factory.mktemp("raw") / "voces"
    voces.CORPUS.miniature(root, Voices(scale=0.1))
    return voces.CORPUS.scan(root)


@pytest.mark.parametrize("name", ["french", "spanish"])
def test_private_corpora_cross_sex_and_age(name: str, request: pytest.FixtureRequest) -> None:
    tables: Tables = request.getfixturevalue(name)
    assert tables.utterances.height == 3 * tables.speakers.height >= 120
    sexes = dict(tables.speakers.group_by("sex").len().iter_rows())
    assert set(sexes) == {"female", "male"}
    assert sexes["female"] == sexes["male"]
    assert tables.utterances.filter(pl.col("age") < 35).height >= 30
    assert tables.utterances.filter(pl.col("age") >= 60).height >= 30
    assert tables.utterances["age"].null_count() == 6  # one speaker's cells are empty, another's hold -9
    assert set(tables.utterances["speech_task"]) == {"read", "spontaneous"}
    assert dict(tables.rejects.select("path", "reason").iter_rows()) == {
        "audio/essai.wav": "no row for this file in metadata.csv",
        f"metadata.csv:{3 * tables.speakers.height + 2}": "no audio at this path",
        f"metadata.csv:{3 * tables.speakers.height + 3}": "the path leaves the corpus folder: write it relative to the "
        "folder",
        f"metadata.csv:{3 * tables.speakers.height + 4}": "an earlier row has this recording",
    }


@pytest.mark.parametrize(
    ("scale", "instrument", "cutoff"),
    [("phq9", "PHQ-9", 10), ("gad7", "GAD-7", 10), ("ais", "AIS", 6), ("mfi_general", "MFI", 12)],
)
def test_popgen_scores_lie_on_both_sides_of_the_cutoff(
    french: Tables, scale: str, instrument: str, cutoff: int
) -> None:
    scores = french.observations.filter(pl.col("attribute") == scale)
    assert scores.height == french.speakers.height
    assert set(scores["instrument"]) == {instrument}
    assert scores["utt_id"].null_count() == scores.height  # constant, so the speaker's
    cases = scores.filter(pl.col("value_num") >= cutoff)
    assert cases.height == scores.height / 3
    assert cases["value_num"].n_unique() == 2  # moderate and severe
    assert scores.filter(pl.col("value_num") < cutoff)["value_num"].n_unique() == 2  # none and mild


def test_voces_states_lie_on_both_sides(spanish: Tables) -> None:
    counts = {row[:2]: row[2] for row in spanish.observations.group_by("attribute", "value").len().iter_rows()}
    assert counts == {
        ("depression", "present"): 24,
        ("depression", "absent"): 16,
        ("suicidal_ideation", "present"): 16,
        ("suicidal_ideation", "absent"): 24,
    }
