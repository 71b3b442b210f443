"""VOC-ALS: Italian, amyotrophic lateral sclerosis and controls; sustained vowels and syllable repetition.

Layout (Synapse syn53009474)::

    VOC-ALS/phonationA/CT001_phonationA.wav   ... phonationE, I, O, U      CT control, PZ patient
    VOC-ALS/rhythmPA/PZ001_rhythmPA.wav       ... rhythmTA, rhythmKA
    VOC-ALS.xlsx                              sheet VOC-ALS_Data, column names in the SECOND row

Facts and traps of the release:

* The first row of the sheet holds headings of column groups. Names carry trailing blanks ("FVC% "); how the
  age column is spelt beyond "Age" is not known for certain, so any name that starts with "age" is taken.
* Controls have "-" in the clinical columns: missing, not 0.
* King's stage is a word ("4A", "4A/B"), and the sheet goes on with acoustic features that are not read.
* The unit of DiseaseDuration is not documented: it is read only where its column name states months or years.
* Numbers of subjects are not contiguous. Another packaging of partly the same recordings (the SAND challenge,
  ``sand_task_1.xlsx``) uses other ids (ID000_phonationA.wav); such names are rejected.
* Vowels and syllables alone, one session each: no connected speech. Patients and controls may differ in age.
* The native sample rate is not documented. The bulbar sub-score of the PUMNS and Cantagallo's questionnaire are
  not read: the vocabulary has no such measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

AUDIO_NAME = re.compile(r"(?P<subject>(?:CT|PZ)\d{3})_(?P<task>phonation[AEIOU]|rhythm(?:PA|TA|KA))\.wav")
CATEGORY = {"CT": "HC", "PZ": "ALS"}
SCORE = "alsfrs-r_totalscore"
STAGE = "kingclinicalstage"
DURATION = re.compile(r"diseaseduration.*\b(?P<unit>month|year)s?\b")


@dataclass(frozen=True)
class Measure:
    """A column of numbers and the attribute it becomes, where it lies between two bounds."""

    column: str
    attribute: str
    low: float
    high: float
    unit: str
    instrument: str | None = None


MEASURES = (
    Measure(SCORE, "alsfrs_r", 0, 48, "points", "ALSFRS-R"),
    Measure("alsfrs-r_speechsubscore", "alsfrs_speech", 0, 4, "points", "ALSFRS-R"),
    Measure("alsfrs-r_swallowingsubscore", "alsfrs_swallowing", 0, 4, "points", "ALSFRS-R"),
    Measure("fvc%", "fvc_percent", 0, 200, "%"),
)


def scan(root: Path) -> Tables:
    """Read the raw folder ``root`` (``<raw>/voc_als``).

    Raises:
        RecipeError: the workbook, its sheet, a needed column or the audio folders are not there.
    """
    books = sorted(root.rglob("VOC-ALS.xlsx"))
    if not books:
        raise RecipeError(f"{root}: no VOC-ALS.xlsx in it or below: put the files of Synapse syn53009474 there")
    book = books[0]
    rows = Rows("voc_als")
    recordings = _recordings_by_subject(rows, root)
    lines = _lines(book)
    age_column = _age_column(book, lines)
    for row in lines:
        where = f"{book.relative_to(root).as_posix()}:{row['_row']}"
        owner_id = row["id"] or ""
        if CATEGORY.get(owner_id[:2]) is None:
            rows.reject(where, "subject id starts neither with CT nor with PZ")
        elif row["category"] != CATEGORY[owner_id[:2]]:
            rows.reject(where, "category and subject id contradict each other")
        elif owner_id not in recordings:
            rows.reject(where, "no recording of this subject, or an earlier row of it")
        else:
            _add_subject(rows, root, row, number(row[age_column]), recordings.pop(owner_id), where)
    for left in recordings.values():
        for path, _ in left:
            rows.reject(path.relative_to(root).as_posix(), "recording without a usable row in VOC-ALS.xlsx")
    return rows.tables()


def _recordings_by_subject(rows: Rows, root: Path) -> dict[str, list[tuple[Path, str]]]:
    recordings: dict[str, list[tuple[Path, str]]] = {}
    for path in sorted(root.rglob("[!.]*.wav")):
        match = AUDIO_NAME.fullmatch(path.name)
        if match is None:
            rows.reject(path.relative_to(root).as_posix(), "name is not <CT|PZ><3 digits>_<task>.wav")
        else:
            recordings.setdefault(match["subject"], []).append((path, match["task"]))
    if not recordings:
        raise RecipeError(f"{root}: no recording like phonationA/CT001_phonationA.wav: unpack the VOC-ALS audio there")
    return recordings


def _lines(book: Path) -> list[Row]:
    """Rows of the sheet; a copy without the row of headings is read too."""
    columns = ["id", "category", "sex", SCORE]
    try:
        return read_table(book, columns, sheet="VOC-ALS_Data", header_row=1)
    except RecipeError as error:
        try:
            return read_table(book, columns, sheet="VOC-ALS_Data", header_row=0)
        except RecipeError:
            raise error from None


def _age_column(book: Path, lines: Sequence[Row]) -> str:
    if not lines:
        raise RecipeError(f"{book}: no rows below the column names")
    for name in lines[0]:
        if name.startswith("age"):
            return name
    raise RecipeError(f"{book}: no column whose name starts with age")


def _add_subject(
    rows: Rows, root: Path, row: Row, age: float | None, recordings: list[tuple[Path, str]], where: str
) -> None:
    patient = row["category"] == "ALS"
    speaker = rows.speaker(row["id"] or "", sex=row["sex"])
    rows.observe(speaker, "als", "present" if patient else "absent", source="clinician")
    if not patient:
        rows.observe(speaker, "healthy", "present", source="clinician")
    for measure in MEASURES:
        value = number(row.get(measure.column))
        if value is not None and not measure.low <= value <= measure.high:
            rows.reject(where, f"{measure.column} outside {measure.low:g}..{measure.high:g}")
        else:
            rows.observe(
                speaker,
                measure.attribute,
                value,
                source="clinician",
                instrument=measure.instrument,
                unit=measure.unit,
            )
    rows.observe(speaker, "king_stage", row.get(STAGE), source="clinician")
    rows.observe(speaker, "years_since_diagnosis", _years_ill(row), source="clinician", unit="years")
    for path, task in recordings:
        rows.utterance(
            path.relative_to(root).as_posix(),
            speaker,
            language="it",
            speech_task="vowel" if task.startswith("phonation") else "syllables",
            age=age,
        )


def _years_ill(row: Row) -> float | None:
    """Years since the onset, where the column's name says in which unit it counts."""
    for name, value in row.items():
        if (unit := DURATION.match(name)) and (duration := number(value)) is not None and duration >= 0:
            return duration / 12 if unit["unit"] == "month" else duration
    return None


# The miniature -----------------------------------------------------------------------------------

HEADER = [
    "ID", "Category", "Sex", "Age (years)", "FVC% ", "ALSFRS-R_TotalScore", "ALSFRS-R_SpeechSubscore",
    "ALSFRS-R_SwallowingSubscore", "PUMNS_BulbarSubscore", "KingClinicalStage", "DiseaseDuration",
    "Cantagallo_Questionnaire", "localShimmer_A",
]  # fmt: skip
TASKS = {"phonationA": "vowel:a", "phonationI": "vowel:i", "rhythmPA": "pa pa pa pa pa pa pa pa"}
RATE = 16000  # ours: the owners do not document theirs


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: two vowels and one syllable repetition a subject, and every trap named above."""
    people = voices.cast("voc_als", 42, "it", [{}, {"als": 0.4}, {"als": 0.85}], ages=(30, 85))
    lines: list[list[object]] = []
    for i, voice in enumerate(people):
        strength = voice.strength("als")
        owner_id = f"{'PZ' if strength else 'CT'}{2 * i + 1:03d}"  # trap: not contiguous
        for take, (task, text) in enumerate(TASKS.items()):
            wave = voices.say(voice, text, seconds=2.5, rate=RATE, take=take)
            voices.write(root / "VOC-ALS" / task / f"{owner_id}_{task}.wav", wave, RATE)
        clinical: list[object] = ["-"] * 8  # trap: controls have "-", not 0
        if strength:
            score, sub_score = round(46 * (1 - 0.7 * strength)) + i // 6 % 4, round(4 * (1 - 0.7 * strength))
            stage: object = (2, "4A/B")[strength > 0.6]  # trap: numbers and words in one column
            clinical = [100 - round(40 * strength), score, sub_score, sub_score, 3, stage, 14, 60]
        lines.append([owner_id, "ALS" if strength else "HC", voice.sex[0].upper(), voice.age, *clinical, 0.031])
    lines.append(["PZ901", "ALS", "M", 63, 82, 38, 3, 4, 2, "2", 14, 60])  # trap: a row without recordings
    lines.append(["CT903", "ALS", "M", 63, 82, 38, 3, 4, 2, "2", 14, 60])  # trap: id and category contradict
    vowel = voices.say(people[0], "vowel:a", seconds=1.0, rate=RATE)
    voices.write(root / "VOC-ALS" / "phonationA" / "CT905_phonationA.wav", vowel, RATE)  # trap: without a row
    voices.write(root / "VOC-ALS" / "phonationA" / "ID000_phonationA.wav", vowel, RATE)  # trap: from SAND
    _write_book(root / "VOC-ALS.xlsx", lines)


def _write_book(path: Path, lines: list[list[object]]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
        sheet = book.add_worksheet("VOC-ALS_Data")
        sheet.write_row(0, 0, ["Demographic and clinical data"])  # trap: a row above the header
        for line, cells in enumerate([HEADER, *lines], start=1):
            sheet.write_row(line, 0, cells)


CORPUS = Corpus(
    name="voc_als",
    title="VOC-ALS (amyotrophic lateral sclerosis, Italian)",
    homepage="https://www.synapse.org/Synapse:syn53009474",
    citation="Dubbioso et al. (2024). Voice signals database of ALS patients with different dysarthria "
    "severity and healthy controls. Scientific Data. doi:10.1038/s41597-024-03597-2",
    licence=Licence(
        name="Synapse terms of use for syn53009474 (free registration)",
        url="https://www.synapse.org/Synapse:syn53009474",
        access="form",
        may_train=True,  # research use under the terms
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("it",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="als",
    traps={
        "header-in-row-two": "The first row of the sheet holds headings of column groups, the second the names.",
        "trailing-blanks": "Column names carry trailing blanks, such as 'FVC% '.",
        "age-column": "How the age column is spelt is not known for certain: any name that starts with age is taken.",
        "dash-of-controls": "Controls have '-' in the clinical columns: missing, not 0.",
        "king-stage-words": "King's stage is a number or a word such as '4A/B'.",
        "duration-without-unit": "The unit of DiseaseDuration is not documented: read only where the name states it.",
        "sand-ids": "The SAND challenge holds partly the same recordings under other ids: rejected.",
        "ids-not-contiguous": "Numbers of subjects have gaps, and a row or a recording may stand alone.",
        "no-connected-speech": "There are vowels and syllables alone.",
    },
)
