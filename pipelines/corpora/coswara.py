"""Coswara (English, India): counting, vowels, coughs and breaths of 2,746 people, recorded in their browsers.

Layout of the owners' repository, once its split archives are joined and unpacked (``extract_data.py``)::

    combined_data.csv                 one row a person; csv_labels_legend.json explains the columns
    annotations/<task>_labels.csv     FILENAME, QUALITY: 0 bad, 1 good, 2 excellent
    20200413/20200413.csv             the rows of a date;  20200413/20200413.tar.gz.aa, .ab ... (joined, then unpacked:)
    [Extracted_data/]20200413/<id>/   breathing-deep.wav ... counting-normal.wav ... vowel-a.wav, metadata.json

What the release asks of a reader:

- The five recordings of speech are read (counting, vowels). Coughs and breaths are passed over, without a reject.
- The files by date do not have the same columns. They serve only where combined_data.csv has no row of a person.
- A mark of a symptom or a condition is ``True`` or blank. Blank is unknown: nobody was asked to deny it.
- ``smoker`` mixes y and n (the later form) with True and False (the earlier one): the words stay, and fold.
- ``covid_status`` is what the person reports. healthy is no COVID-19 (and no more: some have asthma), positive_*
  is COVID-19; exposed, recovered, unidentified and under validation are neither.
- Asthma and chronic lung disease are states; other symptoms and conditions are a row each, in the legend's words.
- Two people's recordings are corrupt (found by the authors of OPERA). The ages go from 1 to 99.
- People counted in English, 232 without saying that they are proficient in it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, paths_below, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

TABLE = "combined_data.csv"
BY_DATE = re.compile(r"\d{8}\.csv")
COLUMNS = ("id", "a", "g", "covid_status", "record_date")
PERSON = re.compile(r"[A-Za-z0-9]{28}")
ANNOTATED = re.compile(r"(?P<person>[A-Za-z0-9]{28})_(?P<task>[a-z]+-[a-z]+)")
SPEECH = {  # recording -> speech task
    "counting-fast": "digits",
    "counting-normal": "digits",
    "vowel-a": "vowel",
    "vowel-e": "vowel",
    "vowel-o": "vowel",
}
NOT_SPEECH = ("breathing-deep", "breathing-shallow", "cough-heavy", "cough-shallow")
UNPACK = "join the parts of each archive and unpack them, or run the owners' extract_data.py"
CORRUPT = frozenset({"C7Km0KttQRMMM6UoyocajfgZAOB3", "kgjTguvo3vZJTO7F1qO9GxEicbA3"})
STATES = {"covid_status": "covid", "smoker": "smoking", "asthma": "asthma", "cld": "copd"}
SYMPTOMS = {  # in the words of csv_labels_legend.json
    "cold": "Cold",
    "cough": "Cough",
    "fever": "Fever",
    "diarrhoea": "Diarrhoea",
    "loss_of_smell": "Loss of Smell & Taste",
    "mp": "Muscle Pain",
    "bd": "Breathing Difficulties",
    "st": "Sore Throat",
    "ftg": "Fatigue",
}
COMORBIDITIES = {
    "ht": "Hypertension",
    "diabetes": "Diabetes",
    "ihd": "Ischemic Heart Disease",
    "pneumonia": "Pneumonia",
    "others_resp": "Respiratory illnesses other than the listed ones",
    "others_preexist": "Pre-existing conditions other than the listed ones",
}

Takes = dict[str, str]  # recording (vowel-a) -> path


def scan(root: Path) -> Tables:
    """Read Coswara below ``root``.

    Raises:
        RecipeError: there is no table, a table lacks a column, or there is no recording.
    """
    rows = Rows(CORPUS.name)
    people = _people(root, rows)
    recordings = _recordings(root, rows)
    if not recordings:
        raise RecipeError(f"{root}: tables but no <date>/<id>/vowel-a.wav: {UNPACK}")
    utterances: dict[tuple[str, str], tuple[str, str]] = {}  # person, recording -> speaker_id, utt_id
    for person, (place, row) in people.items():
        takes = recordings.pop(person, {})
        if person in CORRUPT:
            rows.reject(place, "known error: the recordings are corrupt")
            for path in takes.values():
                rows.reject(path, "of a person whose recordings are corrupt")
        elif not takes:
            rows.reject(place, "person without recordings of speech")
        else:
            utterances |= _add(person, row, place, takes, rows)
    for takes in recordings.values():
        rows.reject(takes[min(takes)].rpartition("/")[0], "person is in no table")
    _add_quality(root, utterances, rows)
    return rows.tables()


def _people(root: Path, rows: Rows) -> dict[str, tuple[str, Row]]:
    """Person -> place and row: of the combined table, else of the table of a date (a bad one stops nothing)."""
    tables = [root / place for place in paths_below(root, ".csv")]
    combined = [path for path in tables if path.name == TABLE][:1]
    by_date = [path for path in tables if BY_DATE.fullmatch(path.name)]
    if not combined and not by_date:
        raise RecipeError(f"{root}: no {TABLE} found: clone https://github.com/iiscleap/Coswara-Data there")
    people: dict[str, tuple[str, Row]] = {}
    for path in combined + by_date:
        try:
            lines = read_table(path, COLUMNS)
        except RecipeError as error:
            if path in combined:
                raise
            rows.reject(path.relative_to(root).as_posix(), str(error).removeprefix(f"{path}: "))
            continue
        for row in lines:
            place = f"{path.relative_to(root).as_posix()}:{row['_row']}"
            person = row["id"]
            if person is None or PERSON.fullmatch(person) is None:
                rows.reject(place, "id is not 28 letters and digits")
            elif person not in people:
                people[person] = (place, row)
            elif path in combined:
                rows.reject(place, f"second row of {person}")
    return people


def _recordings(root: Path, rows: Rows) -> dict[str, Takes]:
    found: dict[str, Takes] = defaultdict(dict)
    folders: set[str] = set()
    for place in paths_below(root, ".wav"):
        *inside, file = place.split("/")
        folders.update(inside)
        person, take = inside[-1] if inside else "", file.lower().removesuffix(".wav")
        if PERSON.fullmatch(person) is None:
            rows.reject(place, "recording outside the folder of a person")
        elif take in NOT_SPEECH:
            continue
        elif take not in SPEECH:
            rows.reject(place, "name is none of the nine recordings")
        elif found[person].setdefault(take, place) != place:
            rows.reject(place, f"second copy of {found[person][take]}")
    for place in paths_below(root, ".tar.gz.aa", ".tar.gz"):
        if place.rpartition("/")[2].partition(".")[0] not in folders:
            rows.reject(place, f"archive that is not unpacked: {UNPACK}")
    return dict(found)


def _add(person: str, row: Row, place: str, takes: Takes, rows: Rows) -> dict[tuple[str, str], tuple[str, str]]:
    speaker = rows.speaker(person, sex=row["g"], country=row.get("l_c"))
    for column, attribute in STATES.items():
        rows.observe(speaker, attribute, row.get(column), source="self-report")
    for attribute, words in (("symptom", SYMPTOMS), ("comorbidity", COMORBIDITIES)):
        for column, word in words.items():
            if (row.get(column) or "").casefold() == "true":
                rows.observe(speaker, attribute, word, source="self-report")
    recorded = _day(row, place, rows)
    return {
        (person, take): (
            speaker,
            rows.utterance(
                path,
                speaker,
                language="en",
                speech_task=SPEECH[take],
                recorded_on=recorded,
                age=number(row["a"]),
            ),
        )
        for take, path in sorted(takes.items())
    }


def _day(row: Row, place: str, rows: Rows) -> date | None:
    try:
        return None if row["record_date"] is None else date.fromisoformat(row["record_date"])
    except ValueError:
        rows.reject(place, "record_date is not a day like 2020-04-13: left unknown")
        return None


def _add_quality(root: Path, utterances: dict[tuple[str, str], tuple[str, str]], rows: Rows) -> None:
    """The owners' grade of each recording that is here; those of coughs, breaths and absent people are passed over."""
    tables = list(paths_below(root, *(f"{take}_labels.csv" for take in SPEECH)))
    if not tables:
        rows.reject("annotations", "not found: the recordings have no grades of quality")
    for place in tables:
        for row in read_table(root / place, ("filename", "quality")):
            name = ANNOTATED.fullmatch((row["filename"] or "").removesuffix(".wav"))
            grade = number(row["quality"])
            if name is None or grade not in (0.0, 1.0, 2.0):
                rows.reject(f"{place}:{row['_row']}", "row is not <id>_<task> with a quality of 0, 1 or 2")
            elif (name["person"], name["task"]) in utterances:
                speaker, utt_id = utterances[name["person"], name["task"]]
                rows.observe(speaker, "audio_quality", grade, unit="points", source="rater", utt_id=utt_id)


# The miniature -----------------------------------------------------------------------------------

DATES = {  # folder -> day of recording and columns of its table, which differ
    "20200413": ("2020-04-13", "id,l_c,a,record_date,covid_status,iF,ep,g,l_s,dT,asthma,smoker,ht,fever"),
    "20210930": (
        "2021-09-29",
        "id,a,cough,record_date,covid_status,ep,fever,g,l_c,smoker,test_status,vacc,ht,cld,asthma,ftg,others_resp",
    ),
}
STATUSES = {  # of those with and without the trait that is heard
    True: ("positive_mild", "positive_moderate", "positive_asymp"),
    False: ("healthy", "healthy", "healthy"),
}
UNDECIDED = ("recovered_full", "no_resp_illness_exposed", "resp_illness_not_identified", "under_validation")
SMOKERS = {"20200413": ("True", "", "False"), "20210930": ("y", "n", "n")}
RATE = 44100


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of Coswara: counting and a vowel a person, a cough for some, two dates."""
    # No trait sounds like COVID-19, and none should: a rough and breathy voice stands for it.
    people = voices.cast(CORPUS.name, 12, "en-IN", ({"voice_disorder": 0.8}, {}))[: max(8, round(12 * voices.scale))]
    dates = list(DATES)
    table: list[dict[str, object]] = []
    for index, voice in enumerate(people):
        date_ = dates[index // 2 % 2]
        ill = voice.strength("voice_disorder") > 0
        status = UNDECIDED[index // 4 % 4] if index % 4 == 3 and index > 4 else STATUSES[ill][index // 4 % 3]
        row = _row(_made_up_id(index), date_, status, voice, index)
        # trap: the last is in the table of the date alone
        table.append(row | {"late": index == len(people) - 1})
        _write_person(root / "Extracted_data" / date_ / str(row["id"]), row, voice, voices, cough=index % 3 == 0)
    # traps: a person without recordings, and one whose recordings are corrupt
    for owner_id in (_made_up_id(900), min(CORRUPT)):
        row = _row(owner_id, dates[1], "healthy", people[1], 1)
        table.append(row)
        if owner_id in CORRUPT:
            _write_person(root / "Extracted_data" / dates[1] / owner_id, row, people[1], voices, cough=False)
    # traps: a person in no table, and one under two dates
    wave = voices.say(people[0], "vowel:a", seconds=2.0, rate=RATE, take=3)
    voices.write(root / "Extracted_data" / dates[0] / _made_up_id(902) / "vowel-a.wav", wave, RATE)
    voices.write(root / "Extracted_data" / dates[1] / _made_up_id(0) / "vowel-a.wav", wave, RATE)
    columns = list(dict.fromkeys([*DATES[dates[1]][1].split(","), "l_s", "diabetes", "loss_of_smell"]))
    _write(root / TABLE, columns, [row for row in table if not row.get("late")])
    for date_, (_, names) in DATES.items():
        _write(root / date_ / f"{date_}.csv", names.split(","), [row for row in table if row["date"] == date_])
    _write_annotations(root / "annotations", [str(row["id"]) for row in table])


def _made_up_id(index: int) -> str:
    return f"madeUp{index:03d}".ljust(28, "Z")


def _row(owner_id: str, date_: str, status: str, voice: Voice, index: int) -> dict[str, object]:
    marks = {"cough": "True", "fever": "True", "ftg": "True"} if status.startswith("positive") else {}
    return {
        "id": owner_id,
        "date": date_,
        "a": voice.age,
        "g": voice.sex,
        "l_c": "India",
        "record_date": DATES[date_][0],
        "covid_status": status,
        "ep": "n" if index % 5 == 4 else "y",
        "smoker": SMOKERS[date_][index // 4 % 3],  # trap: two vocabularies in one column
        "asthma": "True" if index % 6 == 1 else "",
        "cld": "True" if index % 6 == 2 else "",
        "ht": "True" if index % 4 == 2 else "",
        **marks,
    }


def _write_person(folder: Path, row: dict[str, object], voice: Voice, voices: Voices, cough: bool) -> None:
    counting = voices.say(voice, "one two three four five six seven", seconds=2.5, rate=RATE)
    voices.write(folder / "counting-normal.wav", counting, RATE)
    voices.write(folder / "vowel-e.wav", voices.say(voice, "vowel:e", seconds=2.0, rate=RATE), RATE)
    if cough:  # what a made-up cough is does not matter: it is passed over
        voices.write(folder / "cough-shallow.wav", counting[: RATE // 2], RATE)
    facts = {name: value for name, value in row.items() if name != "date" and value != ""}
    (folder / "metadata.json").write_text(json.dumps(facts), encoding="utf-8")


def _write(path: Path, columns: list[str], table: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(str(row.get(column, "")) for column in columns) for row in table]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")


def _write_annotations(folder: Path, people: list[str]) -> None:
    folder.mkdir(parents=True)
    for take in ("counting-normal", "vowel-e", "cough-shallow"):
        grades = [f"{person}_{take},{(2, 1, 2, 0)[index % 4]}" for index, person in enumerate(people)]
        if take == "vowel-e":
            grades[0] = f"{people[0]}_{take},good"  # trap: a grade that is no number
        lines = ["FILENAME, QUALITY", *grades]  # trap: the blank before QUALITY
        (folder / f"{take}_labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="coswara",
    title="Coswara (COVID-19, India)",
    homepage="https://github.com/iiscleap/Coswara-Data",
    citation="Bhattacharya, Sharma, Dutta, Chetupalli, Mote, Ganapathy et al.: Coswara: a respiratory sounds and "
    "symptoms dataset for remote screening of SARS-CoV-2 infection. Scientific Data 10, 2023. "
    "doi:10.1038/s41597-023-02266-0.",
    licence=Licence(
        name="CC BY 4.0",
        url="https://github.com/iiscleap/Coswara-Data",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the files of the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="covid",
    no_inputs={r"(?i)/(breathing|cough)-(deep|shallow|heavy)\.wav$": "a cough or a breath"},
    traps={
        "smoker-in-two-vocabularies": "smoker holds y and n beside True and False.",
        "blank-is-unknown": "A symptom or condition is True or blank; blank is not a no.",
        "status-that-is-neither": "Exposed, recovered, unidentified and under validation are neither ill nor well.",
        "columns-differ-by-date": "The tables of the dates have other columns in another order.",
        "blank-before-quality": "The annotations' second column is named with a leading blank.",
        "corrupt-people": "The recordings of two people are corrupt.",
        "person-without-recordings": "A row of the table may have no recordings: a reject, not a speaker.",
        "not-speech": "Four of nine recordings are coughs and breaths.",
        "vowels-by-file-name": "The README speaks of /a/, /i/ and /o/, the files are vowel-a, vowel-e and vowel-o.",
        "folder-is-not-the-day": "The folder is the day of the upload; record_date is the day of the recording.",
        "sex-other": "Two people's sex is other.",
        "split-archives": "The audio comes as parts of archives, which have to be joined before they are unpacked.",
    },
)
