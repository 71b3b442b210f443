from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora._base import RecipeError
from pipelines.corpora.neurovoz import RATED_WORDS, scan
from pipelines.schema import Tables

WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"
REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/neurovoz"
RATED = ("voice_nasality", "voice_weakness", "voice_monotony", "voice_harshness", "voice_pauses")


def rejected(tables: Tables) -> dict[str, str]:
    return dict(tables.rejects.select("path", "reason").iter_rows())


def folded(attribute: str) -> dict[str, str | None]:
    """Words of an attribute's domain -> canonical, as the warehouse folds them; None: says nothing."""
    words = pl.read_csv(WORDS, infer_schema=False).filter(pl.col("domain") == attribute)
    return dict(words.select("raw", "canonical").iter_rows())


def ratings(tables: Tables, attribute: str) -> dict[str, object]:
    found = tables.observations.filter(pl.col("attribute") == attribute, pl.col("utt_id").is_not_null())
    return {utt: number if word is None else word for utt, word, number in
            found.select("utt_id", "value", "value_num").iter_rows()}  # fmt: skip


def test_counts(tables: Tables) -> None:
    assert (tables.speakers.height, tables.utterances.height, tables.rejects.height) == (32, 96, 5)
    assert dict(tables.utterances["speech_task"].value_counts().iter_rows()) == {"read": 64, "vowel": 32}
    assert tables.utterances["language"].unique().to_list() == ["es"]


@pytest.mark.trap("neurovoz.blank-sex-and-age")
def test_sex_and_age_are_words_and_years_and_null_where_blank(tables: Tables) -> None:
    assert dict(tables.speakers["sex"].value_counts().iter_rows()) == {"female": 16, "male": 15, None: 1}
    assert tables.utterances["age"].null_count() == 3
    assert tables.utterances["age"].min() >= 31 and tables.utterances["age"].max() <= 88


@pytest.mark.trap("neurovoz.sex-code")
def test_sex_of_every_speaker_is_that_of_the_metadata_code(tmp_path: Path) -> None:
    write_tree(tmp_path, ["7,HC,0.0,50,data/audios/HC_A1_0007.wav", "8,HC,1.0,51,data/audios/HC_A1_0008.wav"])
    speakers = scan(tmp_path).speakers
    assert dict(speakers.select("speaker_id", "sex").iter_rows()) == {
        "neurovoz:0007": "female",
        "neurovoz:0008": "male",
    }


def test_parkinson_is_the_group_in_both_sexes(tables: Tables) -> None:
    states = tables.observations.filter(pl.col("attribute") == "parkinson").join(tables.speakers, on="speaker_id")
    assert states.height == 32
    counts = dict(states.group_by("value").agg(pl.col("sex").drop_nulls().n_unique()).iter_rows())
    assert counts == {"present": 2, "absent": 2}


@pytest.mark.trap("neurovoz.unknown-controls", "neurovoz.smoker-in-diagnosis")
def test_healthy_is_stated_for_controls_with_a_normal_diagnosis_only(tables: Tables) -> None:
    values = {row["speaker_id"]: row["value"] for row in
              tables.observations.filter(pl.col("attribute") == "diagnosis_text").iter_rows(named=True)}  # fmt: skip
    healthy = tables.observations.filter(pl.col("attribute") == "healthy")["speaker_id"].to_list()
    assert sorted(healthy) == sorted(who for who, text in values.items() if text.startswith("normal"))
    smokers = tables.observations.filter(pl.col("attribute") == "smoking")
    assert smokers["value"].unique().to_list() == ["normal-fumador"]
    assert folded("smoking")["normal-fumador"] == "present"
    assert set(smokers["speaker_id"]) == {who for who, text in values.items() if text == "normal-fumador"}


def test_scales_of_the_disease_are_of_patients_only(tables: Tables) -> None:
    for attribute, instrument, n in (
        ("updrs", "UPDRS", 12),
        ("hoehn_yahr", "Hoehn-Yahr", 16),
        ("years_since_diagnosis", None, 16),
    ):
        scores = tables.observations.filter(pl.col("attribute") == attribute)
        assert scores["instrument"].unique().to_list() == [instrument]
        assert scores.height == n and scores["value_num"].min() >= 1


@pytest.mark.parametrize("attribute", RATED)
def test_every_rating_has_both_sides_in_each_sex_and_group(tables: Tables, attribute: str) -> None:
    state = pl.col("value").str.strip_chars().replace_strict(folded(attribute))  # every word is known
    observed = tables.observations.filter(pl.col("attribute") == attribute).with_columns(state).drop_nulls("value")
    rated = observed.join(tables.speakers, on="speaker_id")
    groups = tables.observations.filter(pl.col("attribute") == "parkinson").select("speaker_id", group="value")
    cells = rated.drop_nulls("sex").join(groups, on="speaker_id").group_by("value", "sex", "group").len()
    assert cells.height == 8
    assert rated["utt_id"].null_count() == 0 and not rated["utt_id"].str.contains("_A1_").any()


@pytest.mark.trap("neurovoz.unrated-files")
def test_grbas_is_a_number_per_file(tables: Tables) -> None:
    for attribute in ("voice_severity", "voice_roughness", "voice_breathiness", "voice_asthenia", "voice_strain"):
        grades = tables.observations.filter(pl.col("attribute") == attribute)
        assert grades["instrument"].unique().to_list() == ["GRBAS"]
        assert grades["value_num"].is_between(0, 3).all() and grades["value_num"].n_unique() > 1
    # "-" in A1 is null for all five; the 7 is rejected for G alone
    assert len(ratings(tables, "voice_roughness")) == 95 and len(ratings(tables, "voice_severity")) == 94


@pytest.mark.trap(
    "neurovoz.typos-in-ratings",
    "neurovoz.words-that-say-nothing",
    "neurovoz.unrated-files",
    "neurovoz.no-column-of-pauses",
)
def test_typos_fold_and_other_words_say_nothing(tmp_path: Path) -> None:
    rows = [f"{i},HC,0.0,50,data/audios/HC_CALLE_{i:04d}.wav" for i in range(1, 7)]
    words = {  # speaker -> INTENSITY, SPEED, RESONANCE, QUALITY PHONATION, PROSODY
        1: ("weak", "slow", "hypernasal", "forcedstangulated", "monointensity"),
        2: ("nromal", "normal ", "norml", "normalnormal", "nnormal "),
        3: ("increased", "accelerated", "hyponasal", "youcanonlyhearlap", "excessiveaccentuation"),
        4: ("-", "", "-", "", "-"),
    }
    write_tree(tmp_path, rows, {i: ",".join(["0,0,0,0,0", *cells]) for i, cells in words.items()})
    tables = scan(tmp_path)
    assert ratings(tables, "voice_harshness")["neurovoz:data/audios/HC_CALLE_0003"] == "youcanonlyhearlap"

    def states(attribute: str) -> dict[str, str]:
        fold = folded(attribute)
        found = {utt[-4:]: fold[str(word)] for utt, word in ratings(tables, attribute).items()}
        return {who: state for who, state in found.items() if state is not None}

    for attribute in RATED:
        assert states(attribute) == {"0001": "present", "0002": "absent"}
    assert states("voice_hyponasality") == {"0002": "absent", "0003": "present"}


@pytest.mark.trap("neurovoz.task-with-underscore")
def test_task_with_an_underscore_is_read(tables: Tables) -> None:
    assert tables.utterances.filter(pl.col("path").str.contains("_PAN_VINO_")).height == 32


@pytest.mark.trap("neurovoz.one-row-per-audio")
def test_every_trap_is_a_reject(tables: Tables) -> None:
    assert rejected(tables) == {
        "data/metadata/metadata_hc.csv:50": "audio file not found",
        "data/metadata/metadata_pd.csv:50": "audio name is not <HC|PD>_<TASK>_<4 digits>.wav",
        "data/audios/HC_U3_9999.wav": "audio file without a usable metadata row",
        "data/grbas/A1.csv:3": "G outside 0..3",
        "data/grbas/PAN_VINO.csv:34": "rated file not found among the audio",
    }


def test_rows_that_contradict_their_file_are_rejected(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        [
            "7,HC,0.0,50,data/audios/HC_A1_0007.wav",
            "7,HC,0.0,50,data/audios/HC_A1_0007.wav",
            "9,HC,0.0,50,data/audios/HC_A1_0008.wav",
            "8,PD,0.0,50,data/audios/HC_A1_0008.wav",
        ],
    )
    assert rejected(scan(tmp_path)) == {
        "data/metadata/metadata_hc.csv:3": "audio file has an earlier row",
        "data/metadata/metadata_hc.csv:4": "speaker differs between the row and the audio name",
        "data/metadata/metadata_hc.csv:5": "group differs between the row and the audio name",
        "data/audios/HC_A1_0008.wav": "audio file without a usable metadata row",
    }


@pytest.mark.trap("neurovoz.versions")
def test_names_of_the_first_version_are_read(copy: Path) -> None:
    metadata = copy / "data" / "metadata"
    (metadata / "metadata_hc.csv").rename(metadata / "data_hc.csv")
    assert scan(copy).speakers.height == 32


@pytest.mark.trap("neurovoz.group-not-diagnosis")
def test_patients_of_other_forms_are_patients(tables: Tables) -> None:
    text = tables.observations.filter(pl.col("attribute") == "diagnosis_text")
    atypical = set(text.filter(pl.col("value") == "sindrome-parkinson-vascular")["speaker_id"])
    states = tables.observations.filter(pl.col("attribute") == "parkinson", pl.col("speaker_id").is_in(atypical))
    assert len(atypical) == states.height > 0 and set(states["value"]) == {"present"}


@pytest.mark.trap("neurovoz.symptoms-minus-one")
def test_symptoms_are_recorded_where_they_are_1(tables: Tables) -> None:
    symptoms = tables.observations.filter(pl.col("attribute") == "symptom")
    assert set(symptoms["value"]) == {
        "vocal tremor", "cephalic tremor", "mandibular tremor", "sialorrhoea", "dysphagia", "hypophonic voice",
    }  # fmt: skip
    severe = tables.observations.filter(pl.col("attribute") == "hoehn_yahr", pl.col("value_num") >= 3)
    assert set(symptoms["speaker_id"]) == set(severe["speaker_id"])


@pytest.mark.trap("neurovoz.medication-status")
def test_medication_of_patients_and_on_with_a_blank(root: Path, tables: Tables) -> None:
    assert ",ON ," in (root / "data" / "metadata" / "metadata_pd.csv").read_text(encoding="utf-8")
    state = tables.observations.filter(pl.col("attribute") == "medication_state")
    assert state.height == 16 and set(state["value"]) == {"ON", "OFF"}
    assert {word.upper() for word in folded("medication_state")} == {"ON", "OFF"}
    medication = tables.observations.filter(pl.col("attribute") == "medication")
    assert medication.height == 16 and set(medication["value"]) == {"Sinemet"}


@pytest.mark.trap("neurovoz.other-columns-per-table", "neurovoz.versions")
def test_the_vocal_folds_have_another_column_in_each_table_and_version(copy: Path, tables: Tables) -> None:
    findings = tables.observations.filter(pl.col("attribute") == "comorbidity")
    assert set(findings["value"]) == {"Right hypothonic vocal cord"}
    table = copy / "data" / "metadata" / "metadata_hc.csv"
    text = table.read_text(encoding="utf-8")
    assert "Date ,Sex" in text and "Vocal folds analysis" not in text.splitlines()[0]
    table.write_text(text.replace("Fiber/VocalFolds", "Fibro/CCVV").replace("Occupation", "Labour situation"))
    table.rename(table.with_name("data_hc.csv"))
    assert scan(copy).observations.equals(tables.observations)


@pytest.mark.trap("neurovoz.accent-in-remarks")
def test_an_accent_is_found_in_the_remarks(tables: Tables) -> None:
    accents = tables.observations.filter(pl.col("attribute") == "accent")
    assert set(accents["value"]) == {"andaluz", "Extremeña"}
    fold = folded("accent")
    assert {fold[str(word).casefold()] for word in accents["value"]} == {"andalusian", "extremaduran"}


@pytest.mark.trap("neurovoz.coarse-dates")
def test_a_month_is_no_day_of_recording(root: Path, tables: Tables) -> None:
    assert ",2016-11-01," in (root / "data" / "metadata" / "metadata_pd.csv").read_text(encoding="utf-8")
    assert tables.utterances["recorded_on"].null_count() == tables.utterances.height


@pytest.mark.trap("neurovoz.rated-names-without-group")
def test_words_are_of_one_file_and_its_name_lacks_the_group(root: Path, tables: Tables) -> None:
    assert "\nPAN_VINO_0001.wav," in (root / "data" / "grbas" / "PAN_VINO.csv").read_text(encoding="utf-8")
    named = ratings(tables, "voice_nasality")
    assert "neurovoz:data/audios/HC_PAN_VINO_0001" in named and len(named) == 64


def test_the_other_words_of_raters_fold_too(tables: Tables) -> None:
    for attribute, some in {
        "articulation": {"normal", "imprecise"},
        "voice_pitch": {"normal", "low", "unstable"},
        "voice_onset": {"normal", "hard"},
        "speech_rate": {"normal", "slow", "fast"},
        "intelligibility": {"high", "mid", "low"},
    }.items():
        fold = folded(attribute)
        assert {fold[str(word)] for word in ratings(tables, attribute).values()} == some


@pytest.mark.trap("neurovoz.features-and-mac-twins")
def test_only_recordings_are_read(root: Path, copy: Path, tables: Tables) -> None:
    features = copy / "data" / "audio_features" / "audio_features.csv"
    features.parent.mkdir()
    features.write_text("AudioPath,HNR\ndata/audios/HC_A1_0001.wav,21.5\n")
    assert [path.name for path in root.rglob("._*")] == ["._HC_A1_0001.wav"]
    again = scan(copy)
    assert again.observations.equals(tables.observations) and again.rejects.equals(tables.rejects)
    assert not any("/._" in path for path in [*again.utterances["path"], *again.rejects["path"]])


@pytest.mark.parametrize(("task", "known"), [("FREE", "spontaneous"), ("PATAKA", "syllables"), ("MONOLOGUE", None)])
def test_a_task_that_is_not_known_has_no_speech_task(tmp_path: Path, task: str, known: str | None) -> None:
    write_tree(tmp_path, [f"7,HC,0.0,50,data/audios/HC_{task}_0007.wav"])
    assert scan(tmp_path).utterances["speech_task"].to_list() == [known]


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="the owners' words are not here")
def test_every_word_of_the_owners_is_in_the_table() -> None:
    vocabulary = json.loads((REAL / "neurovoz_value_vocabulary.json").read_text(encoding="utf-8"))
    for column, attribute in RATED_WORDS:
        words = {word.strip().casefold() for word in vocabulary[column.replace(" ", "_")]} - {""}
        assert words and not words - folded(attribute).keys()
    assert {word.strip().casefold() for word in vocabulary["Medication status"]} - {""} <= folded(
        "medication_state"
    ).keys()
    slugs = [slug for slug in vocabulary["Diagnosis"] if "fumador" in slug]
    assert slugs and set(slugs) <= folded("smoking").keys()


def test_a_table_without_ratings_is_rejected_and_the_others_are_read(copy: Path, tables: Tables) -> None:
    (copy / "data" / "grbas" / "notes.csv").write_text("who,what\n1,2\n")
    again = scan(copy)
    assert "no column text_patient_id" in rejected(again)["data/grbas/notes.csv"]
    assert again.observations.equals(tables.observations)


def test_other_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"audios/ and metadata/"):
        scan(tmp_path)


def test_missing_table_is_named(copy: Path) -> None:
    (copy / "data" / "metadata" / "metadata_pd.csv").unlink()
    with pytest.raises(RecipeError, match=r"metadata_pd\.csv nor data_pd\.csv"):
        scan(copy)


def test_missing_ratings_are_named(copy: Path) -> None:
    shutil.rmtree(copy / "data" / "grbas")
    without = scan(copy)
    assert "no <TASK>.csv with ratings" in rejected(without)["data/grbas"]
    assert without.utterances.height and not set(without.observations["instrument"]) & {"GRBAS"}


def test_missing_column_names_file_and_column(copy: Path) -> None:
    table = copy / "data" / "metadata" / "metadata_hc.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",Sex,", ",S,", 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"metadata_hc\.csv: no column sex"):
        scan(copy)


def write_tree(root: Path, hc_rows: list[str], rated: dict[int, str] | None = None) -> None:
    """A hand-written corpus of controls: silent empty files suffice, since a scan decodes nothing."""
    data = root / "data"
    for folder in ("audios", "metadata", "grbas"):
        (data / folder).mkdir(parents=True)
    for row in hc_rows:
        (data / "audios" / Path(row.split(",")[-1]).name).touch()
    header = "ID,Group,Sex,Age,Audio"
    (data / "metadata" / "metadata_hc.csv").write_text("\n".join([header, *hc_rows]), encoding="utf-8")
    (data / "metadata" / "metadata_pd.csv").write_text(header, encoding="utf-8")
    columns = "text_patient_id,G,R,B,A,S,INTENSITY,SPEED,RESONANCE,QUALITY PHONATION,PROSODY"
    lines = [f"CALLE_{i:04d}.wav,{cells}" for i, cells in (rated or {}).items()]
    (data / "grbas" / "CALLE.csv").write_text("\n".join([columns, *lines]), encoding="utf-8")
