"""NeuroVoz: Castilian Spanish, Parkinson's disease and controls, with perceptual ratings per file.

Layout (Zenodo 10777657: 108 speakers, and 13647600: 112 speakers)::

    data/audios/HC_A1_0034.wav  PD_PAN_VINO_0004.wav   <group>_<task>_<speaker>.wav
    data/metadata/metadata_hc.csv  metadata_pd.csv     one row per AUDIO (v1: data_hc.csv, data_pd.csv)
    data/grbas/<TASK>.csv                              ratings; names without the group prefix
    data/audio_features/  data/transcriptions/         not read; the HNR in there is not Praat's

What to know:

* A task may hold an underscore (PAN_VINO), so a name is split at its first and last field only. FREE, the
  monologue, is not certain to be spelt so; a task that is not known is left without a speech task.
* The metadata hold one row per audio, some of them for files that are not there; what is said of a speaker is read
  from the first of the speaker's rows. A speaker is in one group.
* Column names carry trailing blanks, and the two metadata files do not have the same columns; v1 calls one
  Fibro/CCVV that is Fiber/VocalFolds now.
* Sex is 0 = female, 1 = male (DAIC-WOZ may have it the other way round); blank for one control, age for two.
* Symptoms are 0, 1 and -1 = missing. Only a 1 is recorded, by the column's name.
* Parkinson or control is ``Group``; ``Diagnosis`` also holds atypical and vascular forms and misspelt slugs, kept as
  text. Some controls have the diagnosis ``unknown``: they are no patients, and not stated to be healthy.
  ``normal-fumador`` is a smoker; nothing says who does not smoke.
* All patients but two were recorded ON medication: ``ON``, ``ON `` or ``OFF``.
* The ratings are of one expert, per file, never of a speaker. They hold typos ("norml", "forcedstangulated"), "-" for
  missing and remarks ("youcanonlyhearlap"); about 90 files are unrated; vowels have GRBAS only, PATAKA no prosody.
  The words go on as they are: words.csv folds them, and gives no meaning to one that is neither the rated deviation
  nor "normal" ("increased" is no weak voice, and no normal one).
* The words were translated by a machine: "blown" is breathy, "undrawn" imprecise, "somethinghard" somewhat hard.
* Dates are the first of a month, so no day of recording is given. Occupation, comments and doctor are not read; of
  the remarks only the name of an accent is.

**Inappropriate pauses have no column.** We take SPEED "slow" as pauses present and SPEED "normal" as absent.
This is our inference, as is taking PROSODY "monointensity" for monotony: how the paper made its labels is not
known. Intelligibility without, with mild and with moderate deficiency is our high, mid and low.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, folders, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

AUDIO_NAME = re.compile(r"(?P<group>HC|PD)_(?P<task>[A-Z_]+[1-3]?)_(?P<id>\d{4})\.wav")
VOWEL = re.compile(r"[AEIOU][1-3]")
SEX = {0.0: "female", 1.0: "male"}

RATED_WORDS = (  # column -> attribute; words.csv has the words
    ("resonance", "voice_nasality"),
    ("resonance", "voice_hyponasality"),
    ("intensity", "voice_weakness"),
    ("prosody", "voice_monotony"),
    ("quality phonation", "voice_harshness"),
    ("speed", "voice_pauses"),
    ("speed", "speech_rate"),
    ("articles", "articulation"),
    ("tone", "voice_pitch"),
    ("glototic attack", "voice_onset"),
    ("intelligibility", "intelligibility"),
)
GRBAS = {
    "g": "voice_severity",
    "r": "voice_roughness",
    "b": "voice_breathiness",
    "a": "voice_asthenia",
    "s": "voice_strain",
}
SYMPTOMS = ("vocal tremor", "cephalic tremor", "mandibular tremor", "sialorrhoea", "dysphagia", "hypophonic voice")
VOCAL_FOLDS = ("vocal folds analysis", "fiber/vocalfolds", "fibro/ccvv")
NO_FINDING = frozenset({"normal", "not performed"})
ACCENT = re.compile(r"\b(andalu[zc]\w*|extreme[nñ][oa])\b", re.IGNORECASE)
PHRASES = frozenset({
    "ABLANDADA", "ACAMPADA", "BARBAS", "BURRO", "CALLE", "CARMEN", "DIABLO", "GANGA", "MANGA", "PAN_VINO",
    "PATATA_BLANDA", "PERRO", "PETACA_BLANCA", "PIDIO", "SOMBRA", "TOMAS",
})  # fmt: skip


def scan(root: Path) -> Tables:
    """Read the raw folder ``root`` (``<raw>/neurovoz``, with or without the zip's ``data`` folder).

    Raises:
        RecipeError: the tree or a needed column is not there.
    """
    data = _data_folder(root)
    audio = {path.name: path for path in visible((data / "audios").glob("*.wav"))}
    rows = Rows("neurovoz")
    utterances: dict[str, tuple[str, str]] = {}  # audio name -> (utt_id, speaker_id)
    group_of: dict[str, str] = {}
    for table in _metadata_files(data / "metadata"):
        for row in read_table(table, ["id", "group", "sex", "age", "audio"]):
            where = f"{table.relative_to(root).as_posix()}:{row['_row']}"
            name = Path(row["audio"] or "").name
            match = AUDIO_NAME.fullmatch(name)
            if match is None:
                rows.reject(where, "audio name is not <HC|PD>_<TASK>_<4 digits>.wav")
            elif match["group"] != row["group"]:
                rows.reject(where, "group differs between the row and the audio name")
            elif number(row["id"]) != int(match["id"]):
                rows.reject(where, "speaker differs between the row and the audio name")
            elif group_of.setdefault(match["id"], match["group"]) != match["group"]:
                rows.reject(where, "speaker is in both groups")
            elif name not in audio:
                rows.reject(where, "audio file not found")
            elif name in utterances:
                rows.reject(where, "audio file has an earlier row")
            else:
                path = audio[name].relative_to(root).as_posix()
                utterances[name] = _add_utterance(rows, row, path, match["id"], match["task"])
    for name, recording in audio.items():
        if name not in utterances:
            rows.reject(recording.relative_to(root).as_posix(), "audio file without a usable metadata row")
    _add_ratings(rows, root, data / "grbas", utterances)
    return rows.tables()


def _data_folder(root: Path) -> Path:
    for folder in folders(root):
        if (folder / "audios").is_dir() and (folder / "metadata").is_dir():
            return folder
    raise RecipeError(f"{root}: no folder with audios/ and metadata/: unpack NeuroVoz so that data/audios is inside")


def _metadata_files(folder: Path) -> list[Path]:
    found = []
    for group in ("hc", "pd"):
        choices = [folder / f"metadata_{group}.csv", folder / f"data_{group}.csv"]
        existing = [path for path in choices if path.is_file()]
        if not existing:
            raise RecipeError(f"{folder}: neither {choices[0].name} nor {choices[1].name} is there")
        found.append(existing[0])
    return found


def _add_utterance(rows: Rows, row: Row, path: str, owner_id: str, task: str) -> tuple[str, str]:
    new = f"neurovoz:{owner_id}" not in rows.speakers
    sex = number(row["sex"])
    speaker = rows.speaker(owner_id, sex=None if sex is None else SEX.get(sex))
    if new:
        _observe_speaker(rows, speaker, row)
    utterance = rows.utterance(path, speaker, language="es", speech_task=_speech_task(task), age=number(row["age"]))
    return utterance, speaker


def _observe_speaker(rows: Rows, speaker: str, row: Row) -> None:
    patient = row["group"] == "PD"
    diagnosis = row.get("diagnosis")
    rows.observe(speaker, "parkinson", "present" if patient else "absent", source="group")
    rows.observe(speaker, "diagnosis_text", diagnosis, source="clinician")
    if not patient and diagnosis is not None and diagnosis.startswith("normal"):
        rows.observe(speaker, "healthy", "present", source="clinician")
    if diagnosis is not None and "fumador" in diagnosis:
        rows.observe(speaker, "smoking", diagnosis, source="clinician")
    for column, attribute, instrument, unit in (
        ("updrs scale", "updrs", "UPDRS", "points"),
        ("h-y stadium", "hoehn_yahr", "Hoehn-Yahr", "stage"),
        ("time disease (years)", "years_since_diagnosis", None, "years"),
    ):
        score = number(row.get(column))
        rows.observe(speaker, attribute, score, source="clinician", instrument=instrument, unit=unit)
    rows.observe(speaker, "medication", row.get("medication"), source="clinician")
    rows.observe(speaker, "medication_state", row.get("medication status"), source="clinician")
    for symptom in SYMPTOMS:
        if number(row.get(symptom)) == 1:
            rows.observe(speaker, "symptom", symptom, source="clinician")
    for column in VOCAL_FOLDS:
        finding = row.get(column)
        if finding is not None and finding.casefold() not in NO_FINDING:
            rows.observe(speaker, "comorbidity", finding, source="clinician")
    accent = ACCENT.search(row.get("observations") or "")
    rows.observe(speaker, "accent", accent and accent[1], source="owner")


def _speech_task(task: str) -> str | None:
    if VOWEL.fullmatch(task):
        return "vowel"
    if task in PHRASES:
        return "read"
    return {"PATAKA": "syllables", "FREE": "spontaneous"}.get(task)


def _add_ratings(rows: Rows, root: Path, folder: Path, utterances: dict[str, tuple[str, str]]) -> None:
    tables = [path for path in visible(folder.glob("*.csv")) if path.stem != "missing_grbas"]  # lists, rates nothing
    if not tables:
        rows.reject(folder.relative_to(root).as_posix(), "no <TASK>.csv with ratings: unpack grbas of NeuroVoz")
    by_rated_name = {name.split("_", 1)[1]: ids for name, ids in utterances.items()}
    for table in tables:
        name = table.relative_to(root).as_posix()
        try:
            lines = read_table(table, ["text_patient_id", *GRBAS])
        except RecipeError as error:
            rows.reject(name, str(error).removeprefix(f"{table}: "))
            continue
        for row in lines:
            where = f"{name}:{row['_row']}"
            ids = by_rated_name.get(row["text_patient_id"] or "")
            if ids is None:
                rows.reject(where, "rated file not found among the audio")
            else:
                _observe_ratings(rows, row, where, *ids)


def _observe_ratings(rows: Rows, row: Row, where: str, utterance: str, speaker: str) -> None:
    for column, attribute in GRBAS.items():
        grade = number(row[column])
        if grade is not None and not 0 <= grade <= 3:
            rows.reject(where, f"{column.upper()} outside 0..3")
            continue
        rows.observe(speaker, attribute, grade, source="rater", instrument="GRBAS", unit="grade", utt_id=utterance)
    for column, attribute in RATED_WORDS:
        rows.observe(speaker, attribute, row.get(column), source="rater", utt_id=utterance)


# The miniature -----------------------------------------------------------------------------------

METADATA_COLUMNS = [
    "ID", "Group", "Date ", "Sex", "Age", "Diagnosis", "Vocal tremor", "Cephalic tremor", "Mandibular tremor",
    "Sialorrhoea", "Dysphagia", "Hypophonic voice", "Time Disease (years)", "UPDRS scale", "H-Y Stadium",
    "Date Evaluation Scales ", "Medication ", "Medication status", "Occupation", "Fiber/VocalFolds",
    "Observations", "Doctor", "Vocal folds analysis", "Audio",
]  # fmt: skip
SYMPTOM_COLUMNS = METADATA_COLUMNS[6:12]
ONLY_HC, ONLY_PD = {"Fiber/VocalFolds"}, {"Doctor", "Vocal folds analysis"}
GRBAS_COLUMNS = [
    "text_patient_id", "G", "R", "B", "A", "S", "TOTAL", "COMMENTS ", "GLOTOTIC ATTACK", "INTENSITY", "SPEED",
    "RESONANCE", "ARTICLES", "TONE", "QUALITY PHONATION", "INTELLIGIBILITY", "PROSODY",
]  # fmt: skip
SENTENCES = {
    "PAN_VINO": "Al pan, pan, y al vino, vino, dice siempre mi abuela.",
    "CALLE": "La calle está vacía y llueve desde ayer por la mañana.",
    "PERRO": "El perro corre por la playa detrás de la pelota roja.",
    "TOMAS": "Tomás compra tomates en la tienda de la esquina.",
}
NASAL, WEAK, FLAT, HARSH, SLOW = (
    "voice_nasality",
    "voice_weakness",
    "voice_monotony",
    "voice_harshness",
    "voice_pauses",
)
# Dealt out inside each (group, sex). The first four hold every deviation, so that the smallest cast does too; each
# deviation falls on young and old, and on mild and severe disease.
DEVIATIONS: tuple[tuple[str, ...], ...] = (
    (),
    (NASAL, WEAK),
    (FLAT, HARSH),
    (SLOW, NASAL),
    (SLOW, HARSH),
    (FLAT, NASAL),
    (HARSH, NASAL),
    (WEAK, SLOW),
    (WEAK, FLAT),
    (),
    (FLAT, SLOW),
    (HARSH, WEAK),
)
STRENGTHS = (0.8, 0.95, 0.7)
PRESENT_FROM = 0.4  # the made-up rater writes the deviation's word from this strength


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature at 44.1 kHz: two sentences and a vowel a speaker, and every trap named above."""
    people = voices.cast("neurovoz", 48, "es", [{}, {"parkinson": 0.3}, {}, {"parkinson": 0.6}], ages=(31, 88))
    people = _with_deviations(people)
    data = root / "data"
    tasks = list(SENTENCES)
    metadata: dict[str, list[dict[str, object]]] = {"HC": [], "PD": []}
    ratings: dict[str, list[dict[str, object]]] = {task: [] for task in ("A1", *tasks)}
    for i, voice in enumerate(people):
        group, owner_id = ("PD" if voice.strength("parkinson") else "HC"), f"{i + 1:04d}"
        for take, task in enumerate(("PAN_VINO", tasks[1 + i % 3], "A1")):
            name = f"{group}_{task}_{owner_id}.wav"
            wave = voices.say(voice, SENTENCES.get(task, "vowel:a"), rate=44100, take=take)
            voices.write(data / "audios" / name, wave, 44100)
            metadata[group].append(_metadata_row(voice, group, i, name))
            ratings[task].append(_rating_row(voice, task, owner_id))
            if task in SENTENCES:
                transcript = data / "transcriptions" / f"{group}_{task}_{owner_id}.txt"
                transcript.parent.mkdir(parents=True, exist_ok=True)
                transcript.write_text(SENTENCES[task], encoding="utf-8")
    _set_traps(voices, people[0], data, metadata, ratings)
    for group, lines in metadata.items():
        left_out = ONLY_PD if group == "HC" else ONLY_HC
        columns = [column for column in METADATA_COLUMNS if column not in left_out]
        _write_csv(data / "metadata" / f"metadata_{group.casefold()}.csv", columns, lines)
    for task, lines in ratings.items():
        columns = GRBAS_COLUMNS[:8] if task == "A1" else GRBAS_COLUMNS  # vowels have GRBAS only
        _write_csv(data / "grbas" / f"{task}.csv", columns, lines)
    _write_csv(data / "grbas" / "missing_grbas.csv", ["missing"], [{"missing": "A2_0001.wav"}])


def _with_deviations(people: Sequence[Voice]) -> list[Voice]:
    dealt: dict[tuple[bool, str], int] = {}
    changed = []
    for voice in people:
        cell = (voice.strength("parkinson") > 0, voice.sex)
        turn = dealt.get(cell, 0)
        dealt[cell] = turn + 1
        strength = STRENGTHS[turn % len(STRENGTHS)]
        extra = tuple((attribute, strength) for attribute in DEVIATIONS[turn % len(DEVIATIONS)])
        changed.append(replace(voice, traits=(*voice.traits, *extra)))
    return changed


def _metadata_row(voice: Voice, group: str, i: int, name: str) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(METADATA_COLUMNS, "")
    row |= {
        "ID": i + 1,
        "Group": group,
        "Date ": "2016-11-01",
        "Sex": "0.0" if voice.sex == "female" else "1.0",
        "Age": float(voice.age),
        "Audio": f"data/audios/{name}",
    }
    if group == "HC":
        return (
            row
            | dict.fromkeys(SYMPTOM_COLUMNS, -1 if i % 5 == 0 else 0)  # trap: -1 is missing
            | {
                "Diagnosis": ("normal", "normal", "normal-fumador", "normal", "unknown")[i % 5],
                "Fiber/VocalFolds": ("Normal", "Right hypothonic vocal cord", "Not performed")[i % 3],
                "Observations": "Acento andaluz" if i % 9 == 2 else "",
            }
        )
    strength = voice.strength("parkinson")
    return (
        row
        | dict.fromkeys(SYMPTOM_COLUMNS, int(strength > 0.4))
        | {
            "Diagnosis": ("enfermedad-parkinson", "sindrome-parkinson-vascular")[i % 7 == 3],
            "Time Disease (years)": round(2 + 20 * strength, 1),
            "UPDRS scale": "" if i % 8 == 7 else float(round(5 + 45 * strength) + i % 5),  # not filled for everyone
            "H-Y Stadium": float(round(1 + 4 * strength)),
            "Medication ": "Sinemet",
            "Medication status": ("ON", "ON ", "OFF")[i % 3],
            "Observations": "Extremeña" if i % 9 == 7 else "",
            "Doctor": 4.0,
            "Vocal folds analysis": "Normal",
        }
    )


def _rating_row(voice: Voice, task: str, owner_id: str) -> dict[str, object]:
    harsh, weak = voice.strength(HARSH), voice.strength(WEAK)
    grades = {"R": round(3 * harsh), "B": round(weak), "A": round(3 * weak), "S": round(2 * harsh)}

    def word(attribute: str, deviation: str) -> str:
        return deviation if voice.strength(attribute) >= PRESENT_FROM else "normal"

    return {
        "text_patient_id": f"{task}_{owner_id}.wav",
        "G": max(grades.values()),
        **grades,
        "TOTAL": max(grades.values()) + sum(grades.values()),
        "COMMENTS ": "",
        "GLOTOTIC ATTACK": "normal",
        "INTENSITY": word(WEAK, "weak"),
        "SPEED": word(SLOW, "slow"),
        "RESONANCE": word(NASAL, "hypernasal"),
        "ARTICLES": "normal ",
        "TONE": "normal",
        "QUALITY PHONATION": word(HARSH, "forcedstangulated"),
        "INTELLIGIBILITY": "normal",
        "PROSODY": word(FLAT, "monointensity"),
    }


def _set_traps(
    voices: Voices,
    voice: Voice,
    data: Path,
    metadata: dict[str, list[dict[str, object]]],
    ratings: dict[str, list[dict[str, object]]],
) -> None:
    hc, pd, sentences = metadata["HC"], metadata["PD"], ratings["PAN_VINO"]
    for row in hc[-3:]:  # one control without sex and age
        row |= {"Sex": "", "Age": ""}
    hc.append(hc[0] | {"Audio": "data/audios/HC_A2_0001.wav"})  # a row without audio
    pd.append(pd[0] | {"Audio": "data/audios/PD_A1.wav"})  # a name that cannot be read
    vowel = voices.say(voice, "vowel:a", seconds=1.0, rate=44100)
    voices.write(data / "audios" / "HC_U3_9999.wav", vowel, 44100)  # audio without a row
    twin = data / "audios" / "._HC_A1_0001.wav"  # a Mac's twin
    twin.write_bytes(b"\x00\x05\x16\x07")
    normal = [row for row in sentences if row["RESONANCE"] == "normal"]
    normal[0]["RESONANCE"] = "norml"
    normal[1]["RESONANCE"] = "hyponasal"
    clear = [row for row in sentences if row["QUALITY PHONATION"] == "normal"]
    clear[0]["QUALITY PHONATION"] = "normalnormal"
    clear[1]["QUALITY PHONATION"] = "youcanonlyhearlap"  # a remark in a rating's column
    loud = [row for row in sentences if row["INTENSITY"] == "normal"]
    loud[0]["INTENSITY"] = "increased"
    sentences[0] |= {"ARTICLES": "nomal ", "TONE": "inestabke", "INTELLIGIBILITY": "2 mild deficiency"}
    sentences[1] |= {"ARTICLES": "undrawn ", "TONE": "deep", "INTELLIGIBILITY": "moderatedeficiency"}
    sentences[2] |= {"GLOTOTIC ATTACK": "somethinghard", "INTELLIGIBILITY": "nnormal "}
    lively = [row for row in sentences if row["PROSODY"] == "normal"]
    lively[0]["PROSODY"] = "variationsinintensity"
    steady = [row for row in sentences if row["SPEED"] == "normal"]
    steady[0]["SPEED"] = "accelerated"
    sentences.append(sentences[0] | {"text_patient_id": "PAN_VINO_9998.wav"})  # a rating without audio
    ratings["A1"][0] |= dict.fromkeys(("G", "R", "B", "A", "S", "TOTAL"), "-")
    ratings["A1"][1] |= {"G": 7}  # a slip of the rater's pen


def _write_csv(path: Path, columns: Sequence[str], lines: Sequence[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)


CORPUS = Corpus(
    name="neurovoz",
    title="NeuroVoz (Parkinson's disease, Castilian Spanish)",
    homepage="https://zenodo.org/records/13647600",
    citation="Mendes-Laureano et al. (2024). NeuroVoz: a Castillian Spanish corpus of parkinsonian speech. "
    "Scientific Data 11:1367. doi:10.1038/s41597-024-04186-z",
    licence=Licence(
        name="NeuroVoz data use agreement (restricted Zenodo record)",
        url="https://zenodo.org/records/13647600",
        access="agreement",
        may_train=True,  # research use under the agreement
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("es",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="parkinson",
    traps={
        "task-with-underscore": "PAN_VINO is one task: a name is split at its first and last field only.",
        "one-row-per-audio": "The metadata hold a row per audio, not per speaker, some of them without a file.",
        "other-columns-per-table": "Columns carry trailing blanks and differ between the two groups and the versions.",
        "sex-code": "Sex is 0.0 = female, 1.0 = male.",
        "blank-sex-and-age": "Sex is blank for one control, age for two.",
        "symptoms-minus-one": "Symptoms use -1 for missing.",
        "group-not-diagnosis": "Group tells patient or control; Diagnosis also holds atypical forms and typos.",
        "unknown-controls": "Some controls have the diagnosis unknown: not stated to be healthy.",
        "smoker-in-diagnosis": "normal-fumador is a smoker; nothing says who does not smoke.",
        "medication-status": "ON is also written with a trailing blank.",
        "rated-names-without-group": "The ratings name a file without its group, and rate files, not speakers.",
        "unrated-files": "Ratings are blank or - for about 90 files, vowels have GRBAS only.",
        "typos-in-ratings": "normal is also norml, nromal, nomal and normalnormal; harsh is forcedstangulated.",
        "words-that-say-nothing": "increased, blown or a remark is neither the rated deviation nor its absence.",
        "no-column-of-pauses": "Inappropriate pauses have no column: SPEED slow stands for them.",
        "accent-in-remarks": "An accent is named in free text only.",
        "coarse-dates": "Dates are the first of a month: no day of recording is given.",
        "versions": "v1 calls its tables data_hc.csv and data_pd.csv.",
        "features-and-mac-twins": "Shipped features, transcripts and ._* files are not read.",
    },
)
