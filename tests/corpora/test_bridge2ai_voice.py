import csv
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import polars as pl
import pytest

from pipelines.corpora import bridge2ai_voice as b2ai
from pipelines.corpora._base import RecipeError

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "corpora/metadata/bridge2ai_voice"
WORDS = Path(__file__).parents[2] / "warehouse" / "vocabulary" / "words.csv"


def wav(root: Path, sub: str = "p1", ses: str = "S1", task: str = "rainbow-passage") -> None:
    path = root / f"sub-{sub}" / f"ses-{ses}" / "audio" / f"sub-{sub}_ses-{ses}_task-{task}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def table(root: Path, name: str, *rows: dict[str, object]) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = ["\t".join(columns), *("\t".join(str(row.get(column, "")) for column in columns) for row in rows)]
    path = root / "phenotype" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def phq9(answer: str = "Several days", **more: object) -> dict[str, object]:
    return {"participant_id": "p1", "session_id": "S1", **dict.fromkeys(b2ai.PHQ9, answer), **more}


@pytest.fixture
def one(tmp_path):
    """One participant with one recording."""
    wav(tmp_path)
    table(tmp_path, "participants", {"participant_id": "p1", "age": 58})
    return tmp_path


def observed(tables, attribute, column="value_num"):
    own = tables.observations.filter(pl.col("attribute") == attribute)
    return own.select("speaker_id", "session_id", column, "source").rows()


def states(tables, attribute):
    return {(value, source) for _, _, value, source in observed(tables, attribute, "value")}


def reasons(tables):
    return dict(tables.rejects.select("path", "reason").iter_rows())


def people(tables, attribute, *values):
    own = tables.observations.filter((pl.col("attribute") == attribute) & pl.col("value").is_in(values))
    return {speaker.partition(":")[2][7:8] for speaker in own["speaker_id"]}


def test_miniature(tables):
    assert tables.speakers.height == 8
    assert tables.utterances.height == 3 * (8 + 2)
    assert set(tables.utterances["speech_task"]) == {"vowel", "read", "spontaneous"}
    sexes = dict(tables.speakers.select("speaker_id", "sex").iter_rows())
    depressed = {speaker for speaker, _, score, _ in observed(tables, "phq9") if score >= 10}
    others = {speaker for speaker, _, score, _ in observed(tables, "phq9") if score < 10}
    assert len({sexes[speaker] for speaker in depressed}) == 2
    assert len({sexes[speaker] for speaker in others}) >= 2
    assert people(tables, "parkinson", "Yes") == people(tables, "parkinson", "Checked") == {"3", "7"}
    assert people(tables, "healthy", "present") == {"1"}
    assert dict(tables.observations.drop_nulls("instrument").select("attribute", "instrument").iter_rows()) == {
        "phq9": "PHQ-9",
        "gad7": "GAD-7",
        "vhi10": "VHI-10",
        "moca": "MoCA",
    }


@pytest.mark.trap("bridge2ai_voice.no-speech", "bridge2ai_voice.apple-double")
def test_what_the_miniature_rejects(tables, root):
    found = reasons(tables)
    assert found.pop(".").endswith("recordings left out: 4")
    assert found.pop("phenotype/demographics/demographics.tsv").endswith("without recordings: 1")
    assert found.pop("phenotype/questionnaire/phq9.tsv:7") == "PHQ-9: 1 of 9 items are missing: no total"
    (path,) = found
    assert "in no table" in found[path]
    assert list(root.rglob("._*.wav"))
    assert not any("._" in name or "cough" in name or "audio-check" in name for name in tables.utterances["path"])


@pytest.mark.trap("bridge2ai_voice.no-totals", "bridge2ai_voice.difficulty-items")
def test_items_are_summed_without_the_difficulty(one):
    table(
        one, "phq9", phq9(hard_to_work="Extremely difficult", no_energy="Nearly every day", no_appetite="not  at all")
    )
    gad7 = dict.fromkeys(b2ai.GAD7, "More than half the days")
    table(one, "gad7", {"participant_id": "p1", "session_id": "S1", **gad7, "tough_to_work": "Very difficult"})
    tables = b2ai.scan(one)
    assert observed(tables, "phq9") == [("bridge2ai_voice:p1", "S1", 7 + 3, "self-report")]
    assert observed(tables, "gad7") == [("bridge2ai_voice:p1", "S1", 14, "self-report")]
    assert tables.rejects.is_empty()


@pytest.mark.trap("bridge2ai_voice.missing-item")
@pytest.mark.parametrize(("cell", "reason"), [("", "1 of 9 items"), ("Often", "none of the four answers")])
def test_a_missing_item_means_no_total(one, cell, reason):
    table(one, "phq9", phq9(trouble_sleeping=cell))
    tables = b2ai.scan(one)
    assert observed(tables, "phq9") == []
    assert any(reason in text for text in tables.rejects["reason"])


def test_a_questionnaire_that_nobody_filled_in_is_no_reject(one):
    table(one, "phq9", phq9(""))
    tables = b2ai.scan(one)
    assert tables.rejects.is_empty()
    assert tables.observations.is_empty()


@pytest.mark.trap("bridge2ai_voice.repeated-instruments")
def test_rows_belong_to_a_participant_and_a_session(one):
    wav(one, ses="S2")
    wav(one, sub="p2", ses="S1")
    table(
        one,
        "phq9",
        phq9("Not at all"),
        phq9("Nearly every day", session_id="s2"),
        phq9(participant_id="p2"),
        phq9(session_id="S3"),
        phq9(session_id=""),
    )
    tables = b2ai.scan(one)
    assert set(observed(tables, "phq9")) == {
        ("bridge2ai_voice:p1", "S1", 0, "self-report"),
        ("bridge2ai_voice:p1", "S2", 27, "self-report"),
        ("bridge2ai_voice:p2", "S1", 9, "self-report"),
    }
    assert "without recordings" in reasons(tables)["phenotype/phq9.tsv:5"]
    assert "came several times" in reasons(tables)["phenotype/phq9.tsv:6"]


@pytest.mark.trap("bridge2ai_voice.repeated-instruments")
def test_rows_of_one_session_that_differ_count_for_nothing(one):
    table(one, "phq9", phq9(), phq9(), phq9(no_energy="Not at all"))
    tables = b2ai.scan(one)
    assert observed(tables, "phq9") == []
    assert "differs between rows" in reasons(tables)["phenotype/phq9.tsv:4"]
    table(one, "phq9", phq9(session_id=""), phq9())
    assert observed(b2ai.scan(one), "phq9") == [("bridge2ai_voice:p1", "S1", 9, "self-report")]


@pytest.mark.trap("bridge2ai_voice.repeated-instruments")
def test_two_sessions_of_the_miniature_have_their_own_scores(tables):
    own = [row for row in observed(tables, "vhi10") if row[0].startswith("bridge2ai_voice:00000001")]
    assert sorted(score for _, _, score, _ in own) == [4, 5]
    assert len({session for _, session, _, _ in own}) == 2


def test_suicidal_thoughts_are_an_item(one):
    table(one, "phq9", phq9(thoughts_death="Not at all", no_energy=""))
    assert observed(b2ai.scan(one), "suicidal_ideation", "value") == [
        ("bridge2ai_voice:p1", "S1", "absent", "self-report")
    ]


@pytest.mark.trap("bridge2ai_voice.columns-not-released")
def test_scores(one):
    row = {
        "participant_id": "p1",
        "diagnosis_alz_dementia_mci_ca_moca_score": "22",
        "diagnosis_alz_dementia_mci_ca_mmse_score": "31",
        "diagnosis_als_na_alsfrs_r_score": "40.0",
        "diagnosis_als_na_fvc_percentage": "88",
        "vhi_10_calc_score": 12,
    }
    table(one, "forms", row)
    tables = b2ai.scan(one)
    scores = dict(tables.observations.select("attribute", "value_num").iter_rows())
    assert scores == {"moca": 22, "alsfrs_r": 40, "fvc_percent": 88, "vhi10": 12}
    assert "not a number from 0 to 30" in reasons(tables)["phenotype/forms.tsv:2"]
    table(one, "updrs", {"participant_id": "p1"} | dict(zip(b2ai.UPDRS_PARTS, (3, 8, 20, 1), strict=True)))
    scores = dict(b2ai.scan(one).observations.select("attribute", "value_num").iter_rows())
    assert (scores["updrs"], scores["updrs_motor"]) == (32, 20)


@pytest.mark.trap("bridge2ai_voice.check-boxes", "bridge2ai_voice.combined-box")
def test_check_boxes_are_words_of_the_participant(one):
    boxes = {"parkinsons": "Checked", "alz_dementia_mci": "Checked", "gad": "Unchecked", "laryngitis": "Checked"}
    table(one, "eligibility", {"participant_id": "p1"} | {f"self_reported_{name}": box for name, box in boxes.items()})
    tables = b2ai.scan(one)
    assert states(tables, "parkinson") == {("Checked", "self-report")}
    assert states(tables, "cognitive_impairment") == {("Checked", "self-report")}
    assert states(tables, "alzheimer") == set()
    assert states(tables, "anxiety") == {("Unchecked", "self-report")}
    assert states(tables, "depression") == set()
    assert states(tables, "voice_disorder") == {("present", "self-report")}


@pytest.mark.trap("bridge2ai_voice.combined-box")
@pytest.mark.parametrize(
    ("box", "insomnia", "comorbidity"),
    [
        ("Checked", set(), {("insomnia or another sleep disorder", "self-report")}),
        ("Unchecked", {("absent", "self-report")}, set()),
        ("", set(), set()),
    ],
)
def test_another_sleep_disorder_is_no_insomnia(one, box, insomnia, comorbidity):
    table(one, "eligibility", {"participant_id": "p1", "self_reported_insomnia": box})
    tables = b2ai.scan(one)
    assert states(tables, "insomnia") == insomnia
    assert states(tables, "comorbidity") == comorbidity


@pytest.mark.trap("bridge2ai_voice.combined-box")
@pytest.mark.parametrize(
    ("disease", "alzheimer"),
    [
        ("Typical Alzheimer's Disease (AD) ", {("present", "clinician")}),
        ("Mild Cognitive Impairment (MCI) ", set()),
        ("Mixed Dementia (e.g. AD and VaD) ", set()),
        ("Lewy Body Dementia (LBD) ", set()),
    ],
)
def test_the_disease_type_says_what_the_impairment_is(one, disease, alzheimer):
    form = {"diagnosis_alz_dementia_mci_gold_standard_diagnosis": "Yes", b2ai.DISEASE_TYPE: disease}
    table(one, "cognitive_impairment", {"participant_id": "p1"} | form)
    tables = b2ai.scan(one)
    assert states(tables, "alzheimer") == alzheimer
    assert states(tables, "cognitive_impairment") == {("Yes", "clinician")}
    assert states(tables, "diagnosis_text") == {(disease.strip(), "clinician")}


@pytest.mark.trap("bridge2ai_voice.ever-diagnosed", "bridge2ai_voice.old-names")
@pytest.mark.parametrize(
    "columns",
    [
        ("diagnosis_dmdd_gold_standard_diagnosis", "diagnosis_ad_gold_standard_diagnosis", "diagnosis_als_gsd"),
        ("dmdd_diagnosed_dd", "diagnosis_diagnosed_ad", "diagnosis_als_gold_standard_diagnosis"),
    ],
)
def test_ever_diagnosed_is_no_clinicians_word(one, columns):
    table(one, "forms", {"participant_id": "p1"} | dict(zip(columns, ("Yes", "No", "Yes"), strict=True)))
    tables = b2ai.scan(one)
    assert states(tables, "depression") == {("Yes", "self-report")}
    assert states(tables, "anxiety") == {("No", "self-report")}
    assert states(tables, "als") == {("Yes", "clinician")}


@pytest.mark.trap("bridge2ai_voice.old-names")
@pytest.mark.parametrize("column", ["self_reported_parkinsons", "ef_parkinsons", "parkinsons"])
def test_names_of_a_check_box(one, column):
    table(one, "enrollment", {"participant_id": "p1", column: "Checked"})
    assert states(b2ai.scan(one), "parkinson") == {("Checked", "self-report")}


@pytest.mark.trap("bridge2ai_voice.not-certain")
@pytest.mark.parametrize("answer", ["Not certain", "notCertain"])
def test_not_certain_is_folded_to_unknown(one, answer):
    table(one, "forms", {"participant_id": "p1", "diagnosis_parkinsons_gold_standard_diagnosis": answer})
    assert states(b2ai.scan(one), "parkinson") == {(answer, "clinician")}
    with WORDS.open(encoding="utf-8") as file:
        words = {row["raw"]: row["canonical"] for row in csv.DictReader(file) if row["domain"] == "state"}
    assert words[answer.casefold()] == ""


@pytest.mark.trap("bridge2ai_voice.self-declared-controls")
@pytest.mark.parametrize(
    ("control", "heard", "parkinson", "healthy"),
    [
        ("Yes", "No", "", True),
        ("Yes", "No", "No", True),
        ("Yes", "Yes", "", False),
        ("Yes", "", "", False),
        ("No", "No", "", False),
        ("Yes", "No", "Yes", False),
    ],
)
def test_a_control_is_healthy_where_the_assessor_agrees(one, control, heard, parkinson, healthy):
    table(one, "enrollment/eligibility", {"participant_id": "p1", "is_control_participant": control})
    form = {"diagnosis_c_ac": heard, "diagnosis_parkinsons_gold_standard_diagnosis": parkinson}
    table(one, "diagnosis/control", {"participant_id": "p1"} | form)
    assert states(b2ai.scan(one), "healthy") == ({("present", "owner")} if healthy else set())


@pytest.mark.parametrize(
    ("answer", "copd", "asthma"),
    [
        ("COPD only", "present", "absent"),
        ("Asthma only", "absent", "present"),
        ("bothCopdAsthma", "present", "present"),
        ("None", None, None),
    ],
)
def test_lungs(one, answer, copd, asthma):
    table(one, "copd_and_asthma", {"participant_id": "p1", b2ai.COPD_ASTHMA[0]: answer})
    tables = b2ai.scan(one)
    assert states(tables, "copd") == (set() if copd is None else {(copd, "clinician")})
    assert states(tables, "asthma") == (set() if asthma is None else {(asthma, "clinician")})


@pytest.mark.trap("bridge2ai_voice.smoking")
def test_only_the_form_on_lungs_says_who_smokes(one, tables):
    past = {"smoking_entire_life": "Yes", "smoking_types___1": "Checked", "smoking_age_stopped": 40}
    table(one, "confounders", {"participant_id": "p1"} | past)
    assert states(b2ai.scan(one), "smoking") == set()
    table(one, "copd_and_asthma", {"participant_id": "p1", "diagnosis_ca_current_smoker": "Yes"})
    assert states(b2ai.scan(one), "smoking") == {("Yes", "clinician")}
    assert people(tables, "smoking", "Yes", "No") == {"7"}


def test_a_disorder_of_the_voice(one):
    table(one, "laryngitis", {"participant_id": "p1", "diagnosis_l_gold_standard_diagnosis": "No"})
    assert states(b2ai.scan(one), "voice_disorder") == set()
    table(one, "benign_lesions", {"participant_id": "p1", "diagnois_bl_gold_standard_diagnosis": "Yes"})
    assert states(b2ai.scan(one), "voice_disorder") == {("present", "clinician")}


@pytest.mark.trap("bridge2ai_voice.top-coded-age")
def test_ages(one, tables):
    assert b2ai.scan(one).utterances["age"].to_list() == [58]
    (path,) = one.glob("phenotype/participants.tsv")
    path.write_text("participant_id\tage\np1\t90 and above\n")
    aged = b2ai.scan(one)
    assert aged.utterances["age"].to_list() == [None]
    assert states(aged, "age_range") == {("90 and above", "self-report")} == states(tables, "age_range")


def test_age_and_language_of_a_session(one):
    wav(one, ses="S2")
    (one / "participants.tsv").write_text("participant_id\tselected_language\np1\tEnglish\n")
    sessions = [{"participant_id": "p1", "session_id": f"S{n}", "age": 57 + n, "session_language": lang} for n, lang in
                ((1, "1.0"), (2, "3"))]  # fmt: skip
    table(one, "participants", *sessions)
    found = b2ai.scan(one).utterances.select("session_id", "age", "language").sort("session_id").rows()
    assert found == [("S1", 58, "en"), ("S2", 59, "es")]


@pytest.mark.trap("bridge2ai_voice.sex-and-gender")
def test_sex_at_birth_ranks_above_gender_identity(one, tables):
    phrase = {"participant_id": "p1", "gender_identity": "Female gender identity"}
    table(one, "demographics", phrase)
    assert b2ai.scan(one).speakers["sex"].to_list() == ["Female gender identity"]
    table(one, "demographics", phrase | {"sex_at_birth": "Male"})
    assert b2ai.scan(one).speakers["sex"].to_list() == ["Male"]
    table(
        one,
        "demographics",
        {"participant_id": "p1", "sex_at_birth": "Male"},
        {"participant_id": "p1", "sex_at_birth": "Female"},
    )
    differs = b2ai.scan(one)
    assert differs.speakers["sex"].to_list() == [None]
    assert "differs" in differs.rejects["reason"][0]
    assert set(tables.speakers["sex"]) == {"Female", "Male", "Female gender identity"}


@pytest.mark.trap("bridge2ai_voice.table-names")
@pytest.mark.parametrize(
    "name", ["phq9", "questionnaire/phq9", "questionnaire/q_generic_patient_health_questionnaire9"]
)
def test_a_table_is_known_by_its_columns(tmp_path, name):
    root = tmp_path / "bridge2ai-voice" / "adult"
    wav(root)
    table(root, name, phq9())
    (root / "phenotype" / "._phq9.tsv").write_bytes(b"\x00\x05")
    tables = b2ai.scan(tmp_path)
    assert observed(tables, "phq9") == [("bridge2ai_voice:p1", "S1", 9, "self-report")]
    assert tables.rejects.is_empty()


def test_a_table_without_participants_is_rejected(one):
    table(one, "other", {"subject": "p1", "x": 1})
    (one / "phenotype" / "empty.tsv").write_text("")
    found = reasons(b2ai.scan(one))
    assert found["phenotype/other.tsv"] == "no column participant_id"
    assert "cannot be read" in found["phenotype/empty.tsv"]
    assert str(one) not in found["phenotype/empty.tsv"]


@pytest.mark.trap("bridge2ai_voice.task-spelling")
@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("Prolonged-vowel", "vowel"),
        ("prolonged vowel", "vowel"),
        ("High-to-Low", "vowel"),
        ("Maximum-phonation-time-2", "vowel"),
        ("Diadochokinesis-(v2)-puhtuhkuh", "syllables"),
        ("Cape-V-sentences-1-(v2)", "read"),
        ("Free Speech", "spontaneous"),
        ("free-speech-3", "spontaneous"),
        ("Animal-fluency", "words"),
        ("Loudness", None),
    ],
)
def test_tasks(one, task, kind):
    wav(one, ses="S2", task=task)
    found = dict(b2ai.scan(one).utterances.select("session_id", "speech_task").iter_rows())
    assert found["S2"] == kind


@pytest.mark.trap("bridge2ai_voice.no-speech")
@pytest.mark.parametrize(
    "task", ["Audio-Check-1", "audio_check", "Respiration-and-cough-Breath-1", "Voluntary Cough", "Breath-Sounds"]
)
def test_what_is_no_speech_is_left_out_and_counted(one, task):
    wav(one, ses="S2", task=task)
    tables = b2ai.scan(one)
    assert tables.utterances["session_id"].to_list() == ["S1"]
    assert reasons(tables)["."].endswith("left out: 1")


def test_older_file_names(one):
    path = one / "sub-p1" / "ses-S9" / "voice" / "sub-p1_ses-S9_task-rainbow-passage_run-1_audio.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    (one / "sub-p1" / "song.wav").touch()
    tables = b2ai.scan(one)
    assert set(tables.utterances["session_id"]) == {"S1", "S9"}
    assert "name is not" in reasons(tables)["sub-p1/song.wav"]


@pytest.mark.trap("bridge2ai_voice.features-only")
def test_wrong_folder(tmp_path):
    table(tmp_path, "phq9", phq9())
    with pytest.raises(RecipeError, match="features only"):
        b2ai.scan(tmp_path)
    (tmp_path / "sub-p1" / "ses-S1").mkdir(parents=True)
    with pytest.raises(RecipeError, match="features only"):
        b2ai.scan(tmp_path)
    wav(tmp_path / "elsewhere")
    with pytest.raises(RecipeError, match=r"participants.tsv"):
        b2ai.scan(tmp_path / "elsewhere")


needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the owners' metadata is not here")


@pytest.mark.real
@needs_real
@pytest.mark.trap("bridge2ai_voice.columns-not-released", "bridge2ai_voice.old-names")
def test_the_owners_dictionary_knows_the_columns():
    with (REAL / "bids_field_organization.csv").open(encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    released, in_redcap, kept = defaultdict(set), set(), defaultdict(set)
    for line in lines:
        released[line["column_name"]].add(line["schema_name"])
        in_redcap.add(line["column_name_source"])
        kept[line["column_name"]].add(line["delete"])
    assert all("phq9" in released[item] for item in b2ai.PHQ9)
    assert all("gad7_anxiety" in released[item] for item in b2ai.GAD7)
    for column in (*b2ai.CLINICIANS, *b2ai.EVER_DIAGNOSED, b2ai.DISEASE_TYPE, *b2ai.SCORES, *b2ai.UPDRS_PARTS):
        assert column in released or column in in_redcap, column
    assert all(f"self_reported_{name}" in released and name in in_redcap for name in b2ai.BOXES)
    assert all(kept[column] == {"YES"} for column in (*b2ai.UPDRS_PARTS, "smoking_entire_life", "is_regular_smoker"))
    assert kept["diagnosis_ca_current_smoker"] == {"NO"}


@pytest.mark.real
@needs_real
def test_the_owners_synthetic_rows(tmp_path):
    """A thousand made-up REDCap rows, of which single cells are filled: no questionnaire is complete."""
    with (REAL / "sdv_redcap_synthetic_data_1000_rows.csv").open(encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    sessions: dict[str, set[str]] = defaultdict(set)
    names = Counter()
    for line in lines:
        sessions[line["record_id"]] |= {value for name, value in line.items() if name.endswith("session_id") and value}
        if line["recording_name"]:
            names[line["recording_name"]] += 1
    for record, own in sessions.items():
        for session in own or {"none"}:
            wav(tmp_path, record, session)
    table(tmp_path, "redcap", *lines)
    tables = b2ai.scan(tmp_path)
    assert tables.speakers.height == 175
    told = Counter(re.sub(r"\d+ of", "n of", reason) for reason in tables.rejects["reason"])
    assert told["PHQ-9: n of 9 items are missing: no total"] == 127
    assert told["GAD-7: n of 7 items are missing: no total"] == 95
    assert not any("none of the four answers" in reason for reason in told)
    assert not {"phq9", "gad7"} & set(tables.observations["attribute"])
    with WORDS.open(encoding="utf-8") as file:
        words = {(row["domain"], row["raw"]) for row in csv.DictReader(file)}
    said = tables.observations.filter(pl.col("attribute").is_in(["parkinson", "depression", "asthma", "anxiety"]))
    assert {value.casefold() for value in said["value"]} == {"checked", "unchecked"}
    assert all(("sex", sex.casefold()) in words for sex in tables.speakers["sex"].drop_nulls())
    assert tables.speakers["sex"].drop_nulls().len() > 0
    for name in names:  # every task that the owners name is known
        task = re.sub(r"[^a-z0-9]+", "-", name.casefold())
        assert task.startswith((*b2ai.SPEECH_TASKS, *b2ai.NO_SPEECH, "loudness")), name
