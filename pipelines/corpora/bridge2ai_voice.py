"""Bridge2AI-Voice (English, also Spanish): many tasks, questionnaires and diagnoses of adults, laid out like BIDS.

PhysioNet holds derived features; the recordings need controlled access. Layout (the tables' names and folders differ
between versions, so a table is known by its columns)::

    participants.tsv   phenotype/{demographics,enrollment,questionnaire,diagnosis}/<tool>.tsv, or phenotype/<tool>.tsv
    sub-<id>/ses-<id>/audio/sub-<id>_ses-<id>_task-rainbow-passage.wav      (older: voice/..._run-1_audio.wav)

What the release asks of a reader:

- **There is no PHQ-9 and no GAD-7 total**: the items are words and are summed here, without the question how hard
  things were. A missing item means no total. VHI-10 has its total.
- Questionnaires repeat: a row belongs to a participant and a session. A row without a session counts only where the
  participant came once; rows of one session that differ count for nothing.
- Diagnoses come from two places. The clinicians' forms (``..._gold_standard_diagnosis``, ``..._gsd`` before) say yes,
  no or not certain. The check boxes of the enrolment are what participants say, ``Checked`` or ``Unchecked``.
  ``alz_dementia_mci`` is any dementia or mild impairment, not Alzheimer's disease: that stands in the disease type.
  ``insomnia`` is insomnia or another sleep disorder: unchecked it is no insomnia, checked it is kept in words.
  The forms on depression and anxiety ask whether one was *ever* diagnosed: self-report, so that PHQ-9 and GAD-7 rank
  above it.
- A control is healthy only where the assessor heard nothing either (``diagnosis_c_ac`` is no) and no form says yes.
- Smoking: only the COPD and asthma form asks who smokes now. Other smoking columns speak of the past, and most are
  not released. The parts of UPDRS may not be released either.
- An age of 90 or more is written "90 and above". Sex at birth ranks above gender identity.
- Breathing, coughs and microphone checks are no speech: left out and counted. Where no table names the language, it
  is English. Task names are spelt in several ways.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, fold, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

T = TypeVar("T")

AUDIO = re.compile(
    r"sub-(?P<sub>[^_]+)_ses-(?P<ses>[^_]+)_task-(?P<task>.+?)(?:_run-\d+)?(?:_audio)?\.(?:wav|flac)", re.IGNORECASE
)
ID_COLUMNS = ("participant_id", "record_id")
SEX_COLUMNS = ("sex_at_birth", "sex_assigned_at_birth", "gender_identity", "peds_gender_identity")
LANGUAGES = {"english": "en", "1": "en", "spanish": "es", "3": "es"}
LANGUAGE_COLUMNS = ("session_language", "selected_language")
CONTROL_COLUMNS = ("is_control_participant", "session_is_control_participant")

PHQ9 = (
    "no_interest",
    "feeling_depressed",
    "trouble_sleeping",
    "no_energy",
    "no_appetite",
    "feeling_bad_self",
    "trouble_concentrate",
    "move_speak_slow",
    "thoughts_death",
)
GAD7 = (
    "nervous_anxious",
    "cant_control_worry",
    "worry_too_much",
    "trouble_relaxing",
    "hard_to_sit_still",
    "easily_agitated",
    "afraid_of_things",
)
ANSWERS = {"not at all": 0, "several days": 1, "more than half the days": 2, "nearly every day": 3}
# attribute -> instrument, items, column of the session
SUMS = {"phq9": ("PHQ-9", PHQ9, "phq_9_session_id"), "gad7": ("GAD-7", GAD7, "gad_7_session_id")}


@dataclass(frozen=True)
class _Score:
    attribute: str
    instrument: str | None
    highest: int
    source: str
    unit: str = "points"


SCORES = {
    "vhi_10_calc_score": _Score("vhi10", "VHI-10", 40, "self-report"),
    "diagnosis_alz_dementia_mci_ca_moca_score": _Score("moca", "MoCA", 30, "clinician"),
    "diagnosis_alz_dementia_mci_ca_mmse_score": _Score("mmse", "MMSE", 30, "clinician"),
    "diagnosis_als_na_alsfrs_r_score": _Score("alsfrs_r", "ALSFRS-R", 48, "clinician"),
    "diagnosis_als_na_fvc_percentage": _Score("fvc_percent", None, 200, "clinician", "%"),
    "diagnosis_parkinsons_ma_updrs_part_iii_score": _Score("updrs_motor", "UPDRS", 132, "clinician"),
}
UPDRS_PARTS = tuple(f"diagnosis_parkinsons_ma_updrs_part_{part}_score" for part in ("i", "ii", "iii", "iv"))
SCORE_SESSIONS = {"vhi_10_calc_score": "vhi_session_id"}

# Forms: column, as released and as it was in REDCap -> attribute. The answers are folded by words.csv.
CLINICIANS = {
    "diagnosis_parkinsons_gold_standard_diagnosis": "parkinson",
    "diagnosis_parkinsons_gsd": "parkinson",
    "diagnosis_als_gold_standard_diagnosis": "als",
    "diagnosis_als_gsd": "als",
    "diagnosis_alz_dementia_mci_gold_standard_diagnosis": "cognitive_impairment",
    "diagnosis_alz_dementia_mci_gsd": "cognitive_impairment",
    "diagnosis_ca_current_smoker": "smoking",
}
EVER_DIAGNOSED = {
    "diagnosis_dmdd_gold_standard_diagnosis": "depression",
    "dmdd_diagnosed_dd": "depression",
    "diagnosis_ad_gold_standard_diagnosis": "anxiety",
    "diagnosis_diagnosed_ad": "anxiety",
}
# One disorder of the voice each: a yes is a voice disorder, a no says nothing of the others.
VOICE_FORMS = tuple(
    f"{stem}_{ending}"
    for stem in (
        "diagnosis_vfp",
        "diagnosis_uvfp",
        "diagnosis_ld",
        "diagnosis_lc",
        "diagnosis_l",
        "diagnosis_mtd",
        "diagnosis_pl",
        "diagnosis_gi",
        "diagnois_gi",  # the owners' spelling
        "diagnosis_bl",
        "diagnois_bl",
    )
    for ending in ("gold_standard_diagnosis", "gsd")
)
COPD_ASTHMA = ("diagnosis_ca_copd_asthma_gold_standard_diagnosis", "diagnosis_ca_copd_asthma")
DISEASE_TYPE = "diagnosis_alz_dementia_mci_dt"
# Check boxes of the enrolment: name -> attribute; released as self_reported_<name>, in REDCap <name> or ef_<name>.
BOXES = {
    "parkinsons": "parkinson",
    "als": "als",
    "alz_dementia_mci": "cognitive_impairment",
    "depression": "depression",
    "gad": "anxiety",
    "ptsd": "ptsd",
    "asthma": "asthma",
    "copd": "copd",
}
VOICE_BOXES = (
    "laryng_cancer",
    "benign_cord_lesion",
    "rrp",
    "spas_dys",
    "voc_fold_paralysis",
    "unilateral_vocal_fold_paralysis",
    "glottic_insufficiency",
    "laryngitis",
    "mtd",
)
YES, NO = frozenset({"yes", "1", "checked", "true"}), frozenset({"no", "0", "unchecked", "false"})

# Beginnings of task names, the first that fits.
SPEECH_TASKS = {
    "prolonged-vowel": "vowel",
    "maximum-phonation-time": "vowel",
    "glides": "vowel",
    "high-to-low": "vowel",
    "low-to-high": "vowel",
    "diadochokinesis": "syllables",
    "rainbow-passage": "read",
    "caterpillar-passage": "read",
    "cape-v-sentences": "read",
    "harvard-sentences": "read",
    "free-speech": "spontaneous",
    "picture-description": "spontaneous",
    "story-recall": "spontaneous",
    "cinderella-story": "spontaneous",
    "open-response-questions": "spontaneous",
    "animal-fluency": "words",
    "productive-vocabulary": "words",
    "random-item-generation": "words",
    "word-color-stroop": "words",
}
NO_SPEECH = ("respiration-and-cough", "voluntary-cough", "breath-sounds", "audio-check")


@dataclass(frozen=True)
class _Fact:
    attribute: str
    value: str | float
    source: str
    session: str | None = None
    instrument: str | None = None
    unit: str | None = None


@dataclass
class _Person:
    identity: str = ""  # as the file names write it
    recordings: list[tuple[str, str, str]] = field(default_factory=list)  # path, session, task
    place: str | None = None  # file:row of the first row
    words: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # column -> cells
    ages: dict[str | None, set[float]] = field(default_factory=lambda: defaultdict(set))  # by session
    languages: dict[str | None, set[str]] = field(default_factory=lambda: defaultdict(set))  # by session
    facts: dict[_Fact, str] = field(default_factory=dict)  # -> file:row

    def sessions(self) -> dict[str, str]:
        return {_key(session): session for _, session, _ in self.recordings}


def scan(root: Path) -> Tables:
    """Read Bridge2AI-Voice below ``root``: ``sub-*`` folders with recordings beside ``phenotype``.

    Raises:
        RecipeError: no such folders, no tables, or no recordings are found.
    """
    rows = Rows(CORPUS.name)
    home = _home(root)
    people = _recordings(home, root, rows)
    if not people:
        raise RecipeError(
            f"{home}: no sub-*/ses-*/audio/*_task-*.wav found; PhysioNet's release holds features only, the recordings "
            "need controlled access"
        )
    tables = [
        path for path in (home / "participants.tsv", *sorted((home / "phenotype").rglob("*.tsv"))) if path.is_file()
    ]
    if not tables:
        raise RecipeError(f"{home}: neither participants.tsv nor phenotype/*.tsv found beside the sub-* folders")
    for table in tables:
        if not table.name.startswith("._"):
            _read(table, people, root, rows)
    for person in people.values():
        _add(person, rows)
    return rows.tables()


def _home(root: Path) -> Path:
    for pattern in (".", "*", "*/*"):
        for folder in [root] if pattern == "." else sorted(root.glob(pattern)):
            if folder.is_dir() and any(folder.glob("sub-*")):
                return folder
    raise RecipeError(
        f"{root}: no sub-<participant> folders in it or below: unpack Bridge2AI-Voice here; PhysioNet's release holds "
        "features only, the recordings need controlled access"
    )


def _recordings(home: Path, root: Path, rows: Rows) -> dict[str, _Person]:
    people: dict[str, _Person] = defaultdict(_Person)
    left_out = 0
    for folder in sorted(home.glob("sub-*")):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in {".wav", ".flac"} or path.name.startswith("._"):
                continue
            place = path.relative_to(root).as_posix()
            name = AUDIO.fullmatch(path.name)
            if name is None:
                rows.reject(place, "name is not sub-<id>_ses-<id>_task-<task>.wav")
                continue
            task = re.sub(r"[^a-z0-9]+", "-", name["task"].casefold()).strip("-")
            if task.startswith(NO_SPEECH):
                left_out += 1
            else:
                person = people[_key(name["sub"])]
                person.identity = person.identity or name["sub"]
                person.recordings.append((place, name["ses"], task))
    if left_out:
        rows.reject(
            home.relative_to(root).as_posix(),
            f"breathing, coughs and microphone checks are no speech, recordings left out: {left_out}",
        )
    return dict(people)


def _key(identity: str) -> str:
    """An id as it is compared: file names hold it without blanks, and perhaps in other letters."""
    return re.sub(r"[\s_]+", "-", identity.strip().removeprefix("sub-").removeprefix("ses-")).casefold()


# --- the tables -----------------------------------------------------------------------------------------------


def _read(table: Path, people: dict[str, _Person], root: Path, rows: Rows) -> None:
    place = table.relative_to(root).as_posix()
    try:
        lines = read_table(table, separator="\t")
    except RecipeError as error:
        rows.reject(place, f"cannot be read: {error}".replace(str(root), "."))
        return
    if lines and not any(column in lines[0] for column in ID_COLUMNS):
        rows.reject(place, "no column participant_id")
        return
    silent = set()
    for line in lines:
        identity = _first(line, ID_COLUMNS)
        where = f"{place}:{line['_row']}"
        if identity is None:
            rows.reject(where, "no participant_id")
        elif _key(identity) in people:
            person = people[_key(identity)]
            person.place = person.place or where
            _collect(line, where, person, rows)
        else:
            silent.add(identity)
    if silent:
        rows.reject(place, f"participants with rows and without recordings: {len(silent)}")


def _collect(row: Row, where: str, person: _Person, rows: Rows) -> None:
    for column in (*SEX_COLUMNS, *CONTROL_COLUMNS):
        if row.get(column) is not None:
            person.words[column].add(str(row[column]))
    _collect_age_and_language(row, person)
    for fact in (*_states(row), *_texts(row)):
        person.facts.setdefault(fact, where)
    for fact in _scores(row, where, rows):
        session = _session(row, fact.session, person, where, rows)
        if session is not None:
            person.facts.setdefault(
                _Fact(fact.attribute, fact.value, fact.source, session, fact.instrument, fact.unit), where
            )


def _first(row: Row, columns: tuple[str, ...]) -> str | None:
    return next((value for column in columns if (value := row.get(column)) is not None), None)


def _collect_age_and_language(row: Row, person: _Person) -> None:
    session = row.get("session_id")
    key = None if session is None else _key(session)
    text = row.get("age")
    age = number(text)
    if age is not None:
        person.ages[key].add(age)
    elif text is not None:
        person.facts.setdefault(_Fact("age_range", text, "self-report"), "")
    spoken = fold(_first(row, LANGUAGE_COLUMNS) or "").removesuffix(".0")
    if spoken in LANGUAGES:
        person.languages[key].add(LANGUAGES[spoken])


def _states(row: Row) -> Iterator[_Fact]:
    for column, attribute in CLINICIANS.items():
        if (value := row.get(column)) is not None:
            yield _Fact(attribute, value, "clinician")
    for column, attribute in EVER_DIAGNOSED.items():
        if (value := row.get(column)) is not None:
            yield _Fact(attribute, value, "self-report")
    for name, attribute in BOXES.items():
        if (value := _box(row, name)) is not None:
            yield _Fact(attribute, value, "self-report")
    sleep = fold(_box(row, "insomnia") or "")
    if sleep in NO:
        yield _Fact("insomnia", "absent", "self-report")
    elif sleep in YES:  # which of them, the box does not say
        yield _Fact("comorbidity", "insomnia or another sleep disorder", "self-report")
    if (education := row.get("edu_level")) is not None:
        yield _Fact("education", education, "self-report")
    if any(fold(row.get(column) or "") in YES for column in VOICE_FORMS):
        yield _Fact("voice_disorder", "present", "clinician")
    if any(fold(_box(row, name) or "") in YES for name in VOICE_BOXES):
        yield _Fact("voice_disorder", "present", "self-report")
    if fold(row.get("diagnosis_c_ac") or "") in NO:
        yield _Fact("voice_disorder", "absent", "clinician")


def _box(row: Row, name: str) -> str | None:
    value = _first(row, (f"self_reported_{name}", f"ef_{name}"))
    if value is None and fold(row.get(name) or "") in {"checked", "unchecked"}:  # other tables may use such a name
        value = row[name]
    return value


def _texts(row: Row) -> Iterator[_Fact]:
    """States that stand in a word for several things."""
    disease = row.get(DISEASE_TYPE)
    if disease is not None:
        yield _Fact("diagnosis_text", disease, "clinician")
        if "alzheimer" in fold(disease) and "mixed" not in fold(disease):
            yield _Fact("alzheimer", "present", "clinician")
    lungs = fold(_first(row, COPD_ASTHMA) or "")
    both = "both" in lungs
    if both or "copd" in lungs or "asthma" in lungs:
        for attribute in ("copd", "asthma"):
            yield _Fact(attribute, "present" if both or attribute in lungs else "absent", "clinician")


def _scores(row: Row, where: str, rows: Rows) -> Iterator[_Fact]:
    """Scores of a row; the session is as the row writes it."""
    for attribute, (instrument, items, column) in SUMS.items():
        session = _first(row, (column, "session_id"))
        total = _sum(row, items, instrument, where, rows)
        if total is not None:
            yield _Fact(attribute, total, "self-report", session, instrument, "points")
    ideation = _answer(row.get("thoughts_death"))
    if ideation is not None:
        session = _first(row, ("phq_9_session_id", "session_id"))
        yield _Fact("suicidal_ideation", "present" if ideation else "absent", "self-report", session)
    for column, score in SCORES.items():
        if row.get(column) is None:
            continue
        value = number(row[column])
        if value is None or not 0 <= value <= score.highest:
            rows.reject(where, f"{column} is not a number from 0 to {score.highest}")
            continue
        session = _first(row, (SCORE_SESSIONS.get(column, "session_id"), "session_id"))
        yield _Fact(score.attribute, value, score.source, session, score.instrument, score.unit)
    parts = [value for column in UPDRS_PARTS if (value := number(row.get(column))) is not None]
    if len(parts) == len(UPDRS_PARTS):
        yield _Fact("updrs", sum(parts), "clinician", row.get("session_id"), "UPDRS", "points")


def _sum(row: Row, items: tuple[str, ...], instrument: str, where: str, rows: Rows) -> float | None:
    given = {item: value for item in items if (value := row.get(item)) is not None}
    if not given:
        return None
    answers = {item: answer for item, value in given.items() if (answer := _answer(value)) is not None}
    for item in given.keys() - answers.keys():
        rows.reject(where, f"{instrument}: {item} is none of the four answers")
    if len(answers) < len(items):
        rows.reject(where, f"{instrument}: {len(items) - len(answers)} of {len(items)} items are missing: no total")
        return None
    return float(sum(answers.values()))


def _answer(text: str | None) -> int | None:
    if text is None:
        return None
    digits = number(text)
    return ANSWERS.get(fold(text)) if digits is None else int(digits) if digits in (0, 1, 2, 3) else None


def _session(row: Row, session: str | None, person: _Person, where: str, rows: Rows) -> str | None:
    """The recorded session that a score belongs to, as the file names write it."""
    recorded = person.sessions()
    if session is not None:
        found = recorded.get(_key(session))
        if found is None:
            rows.reject(where, "score of a session without recordings")
        return found
    if len(recorded) > 1:
        rows.reject(where, "score without a session, of a participant who came several times")
        return None
    return next(iter(recorded.values()))


# --- one participant ------------------------------------------------------------------------------------------


def _add(person: _Person, rows: Rows) -> None:
    if person.place is None:
        rows.reject(person.recordings[0][0], "participant is in no table: none of the recordings is taken")
        return
    speaker = rows.speaker(person.identity, sex=_sex(person, rows))
    scores: dict[tuple[str, str | None], list[tuple[_Fact, str]]] = defaultdict(list)
    for fact, where in person.facts.items():
        if fact.session is None:
            rows.observe(speaker, fact.attribute, fact.value, source=fact.source)
        else:
            scores[fact.attribute, fact.session].append((fact, where))
    for several in scores.values():
        if len(several) > 1:
            for fact, where in several:
                rows.reject(where, f"{fact.attribute} differs between rows of one session: none is taken")
            continue
        fact, _ = several[0]
        rows.observe(
            speaker,
            fact.attribute,
            fact.value,
            source=fact.source,
            instrument=fact.instrument,
            unit=fact.unit,
            session_id=fact.session,
        )
    if _is_healthy(person):
        rows.observe(speaker, "healthy", "present", source="owner")
    for path, session, task in person.recordings:
        rows.utterance(
            path,
            speaker,
            language=_only(_of_session(person.languages, session)) or "en",
            speech_task=next((kind for name, kind in SPEECH_TASKS.items() if task.startswith(name)), None),
            session_id=session,
            age=_only(_of_session(person.ages, session)),
        )


def _sex(person: _Person, rows: Rows) -> str | None:
    for column in SEX_COLUMNS:
        words = {fold(word): word for word in sorted(person.words.get(column, ()))}
        if len(words) > 1:
            rows.reject(str(person.place), f"{column} differs between the participant's rows: sex is left unknown")
            return None
        if words:
            return next(iter(words.values()))
    return None


def _of_session(values: Mapping[str | None, set[T]], session: str) -> set[T]:
    """What rows of the session say; else rows without a session; else all rows."""
    return values.get(_key(session)) or values.get(None) or {value for several in values.values() for value in several}


def _only(values: set[T]) -> T | None:
    return next(iter(values)) if len(values) == 1 else None


def _is_healthy(person: _Person) -> bool:
    controls = {fold(word) for column in CONTROL_COLUMNS for word in person.words.get(column, ())}
    clinicians = [fact for fact in person.facts if fact.source == "clinician"]
    ill = any(fold(str(fact.value)) in YES | {"present"} for fact in clinicians if fact.attribute != "smoking")
    heard = any(fact.attribute == "voice_disorder" and fact.value == "absent" for fact in clinicians)
    return bool(controls) and controls <= YES and heard and not ill


# --- the miniature --------------------------------------------------------------------------------------------

WORDS = tuple(word.capitalize() for word in ANSWERS)
RAINBOW = "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow."
CONDITIONS: tuple[dict[str, float], ...] = (
    {},
    {"depression": 0.7},
    {"parkinson": 0.7},
    {"cognitive_impairment": 0.7},
)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: a vowel, a passage and free speech a session, and every trap named above."""
    people = voices.cast(CORPUS.name, 12, "en", CONDITIONS)
    people = people[: max(8, round(12 * min(voices.scale, 1.0)))]
    tables: dict[str, list[dict[str, object]]] = defaultdict(list)
    for index, voice in enumerate(people):
        identity = f"{index + 1:08x}-0000-4000-8000-000000000000"
        sessions = [f"{index + 1:08X}-0000-4000-9000-00000000000{n}" for n in range(2 if index in (0, 5) else 1)]
        for visit, session in enumerate(sessions):  # trap: some came twice
            _record(root, identity, session, voice, visit, voices, cough=index == 0)
            _answers(tables, identity, session, voice, index + visit, empty=index == 4)
        _forms(tables, identity, voice, index)
    # traps: a participant without recordings, a recording without a participant, a Mac's leftovers
    tables["demographics/demographics"].append(
        {"participant_id": "ffffffff-0000-4000-8000-000000000000", "age": 50, "sex_at_birth": "Male"}
    )
    stray = root / "sub-eeeeeeee" / "ses-1" / "audio" / "sub-eeeeeeee_ses-1_task-rainbow-passage.wav"
    wave = voices.say(people[0], RAINBOW, seconds=2.5, rate=16000, take=9)
    voices.write(stray, wave, 16000)
    voices.write(stray.with_name(f"._{stray.name}"), wave[:800], 16000)
    for name, lines in tables.items():
        columns = list(dict.fromkeys(column for line in lines for column in line))
        text = ["\t".join(columns), *("\t".join(str(line.get(column, "")) for column in columns) for line in lines)]
        path = root / "phenotype" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(text) + "\n", encoding="utf-8")


def _record(root: Path, identity: str, session: str, voice: Voice, visit: int, voices: Voices, *, cough: bool) -> None:
    tasks: dict[str, str | None] = {
        "Prolonged-vowel" if visit else "prolonged-vowel": "vowel:a",  # trap: spelt in two ways
        "rainbow-passage": RAINBOW,
        "free-speech-1": None,
    }
    if cough:
        tasks |= {"respiration-and-cough-Cough-1": "vowel:a", "audio-check-v2-1": None}  # traps
    for take, (task, text) in enumerate(tasks.items()):
        stem = f"sub-{identity}_ses-{session}_task-{task}"
        folder = root / f"sub-{identity}" / f"ses-{session}" / "audio"
        wave = voices.say(voice, text, seconds=2.5, rate=16000, take=take + 3 * visit)
        voices.write(folder / f"{stem}.wav", wave, 16000)
        (folder / f"{stem}_recording-metadata.json").write_text(f'{{"task_name": "{task}"}}\n', encoding="utf-8")


def _answers(
    tables: dict[str, list[dict[str, object]]], identity: str, session: str, voice: Voice, turn: int, *, empty: bool
) -> None:
    depressed = voice.strength("depression") > 0
    keys: dict[str, object] = {"participant_id": identity, "session_id": session}
    phq9: dict[str, object] = {
        item: WORDS[2 if depressed and n < 7 else int((n + turn) % 4 == 0)] for n, item in enumerate(PHQ9)
    }
    phq9["thoughts_death"] = WORDS[int(depressed and turn > 4)]
    if empty:
        phq9["trouble_sleeping"] = ""  # trap: a missing item
    gad7: dict[str, object] = {item: WORDS[(2 if depressed else 0) if n % 2 else 1] for n, item in enumerate(GAD7)}
    hard = "Very difficult" if depressed else "Not difficult at all"  # trap: no part of the sums
    tables["questionnaire/phq9"].append(keys | phq9 | {"hard_to_work": hard})
    tables["questionnaire/gad7_anxiety"].append(keys | gad7 | {"tough_to_work": hard})
    tables["questionnaire/vhi10"].append(keys | {"vhi_10_calc_score": 4 + turn})


def _forms(tables: dict[str, list[dict[str, object]]], identity: str, voice: Voice, index: int) -> None:
    keys: dict[str, object] = {"participant_id": identity}
    traits = dict(voice.traits)
    tables["demographics/demographics"].append(
        keys
        | {
            "age": "90 and above" if index == 7 else voice.age,  # trap
            "sex_at_birth": "" if index == 3 else voice.sex.capitalize(),
            "gender_identity": f"{voice.sex.capitalize()} gender identity",
            "edu_level": ("Some college education", "College or baccalaureate degree complete")[index % 2],
        }
    )
    boxes = {
        "parkinsons": "parkinson" in traits,
        "als": False,
        "alz_dementia_mci": "cognitive_impairment" in traits,
        "depression": "depression" in traits,
        "gad": index == 5,
        "asthma": index == 6,
    }
    tables["enrollment/eligibility"].append(
        keys
        | {"is_control_participant": "No" if traits else "Yes"}
        | {f"self_reported_{name}": "Checked" if ticked else "Unchecked" for name, ticked in boxes.items()}
    )
    if not traits:  # trap: a control in whose voice the assessor heard something
        tables["diagnosis/control"].append(keys | {"diagnosis_c_ac": "Yes" if index == 4 else "No"})
    if "parkinson" in traits or index == 4:
        says = "Yes" if "parkinson" in traits else "Not certain"  # trap
        tables["diagnosis/parkinsons_disease"].append(keys | {"diagnosis_parkinsons_gold_standard_diagnosis": says})
    if "cognitive_impairment" in traits:
        disease = "Typical Alzheimer's Disease (AD) " if index == 3 else "Mild Cognitive Impairment (MCI) "
        tables["diagnosis/cognitive_impairment"].append(
            keys
            | {"diagnosis_alz_dementia_mci_gold_standard_diagnosis": "Yes", DISEASE_TYPE: disease}
            | {"diagnosis_alz_dementia_mci_ca_moca_score": 17 + index, "diagnosis_alz_dementia_mci_ca_mmse_score": ""}
        )
    if "depression" in traits or index == 2:
        says = "Yes" if "depression" in traits else "No"
        tables["diagnosis/depression"].append(keys | {"diagnosis_dmdd_gold_standard_diagnosis": says})
    if index == 6:
        tables["diagnosis/copd_and_asthma"].append(
            keys | {COPD_ASTHMA[0]: "Asthma only", "diagnosis_ca_current_smoker": "No"}
        )
    # trap: about the past
    tables["confounders/confounders"].append(keys | {"smoking_types___1": "Checked", "smoking_age_stopped": 40})


CORPUS = Corpus(
    name="bridge2ai_voice",
    title="Bridge2AI-Voice: an ethically-sourced, diverse voice dataset linked to health information",
    homepage="https://physionet.org/content/b2ai-voice/",
    citation="Johnson et al.: Bridge2AI-Voice: an ethically-sourced, diverse voice dataset linked to health "
    "information. PhysioNet, 2024.",
    licence=Licence(
        name="Bridge2AI Voice registered or controlled access agreement",
        url="https://physionet.org/content/b2ai-voice/",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="given at enrolment (consent_status); its terms are not stated in the tables",
    ),
    languages=("en", "es"),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="depression",
    no_inputs={
        rf"(?i)_task-({'|'.join(NO_SPEECH)})": "breathing, a cough or a microphone check",
    },
    traps={
        "no-totals": "PHQ-9 and GAD-7 have no total: their items are words to be summed.",
        "missing-item": "A questionnaire may lack an item, and the rest is no total.",
        "difficulty-items": "hard_to_work and tough_to_work stand beside the items and are no part of the sums.",
        "repeated-instruments": "A participant has several rows of one questionnaire: a row belongs to a session.",
        "check-boxes": "Check boxes say Checked or Unchecked, and are what participants say of themselves.",
        "combined-box": "alz_dementia_mci is any dementia or mild impairment, insomnia is any disorder of sleep.",
        "ever-diagnosed": "The forms on depression and anxiety ask whether one was ever diagnosed.",
        "not-certain": "A clinician's form may say not certain, which is neither yes nor no.",
        "self-declared-controls": "A control may have a voice in which the assessor heard a condition.",
        "smoking": "Who smokes now stands on the COPD and asthma form only: other columns speak of the past.",
        "columns-not-released": "Columns of the dictionary that are marked for deletion, as UPDRS, may be absent.",
        "table-names": "Tables have other names and folders in other versions: only their columns are the same.",
        "old-names": "Columns have other names in REDCap, in older versions and in the release.",
        "no-speech": "Breathing, coughs and microphone checks are among the recordings.",
        "task-spelling": "A task is spelt in several ways in file names.",
        "top-coded-age": "An age of 90 or more is written as '90 and above'.",
        "sex-and-gender": "Gender identity is written as a phrase, and sex at birth may stand beside it.",
        "features-only": "PhysioNet's release holds features and no recordings.",
        "apple-double": "A folder may hold ._ files that are no recordings.",
    },
)
