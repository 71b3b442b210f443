"""PVQD: the Perceptual Voice Qualities Database, English voices rated by several experts.

296 recordings, one a participant. Layout (Mendeley Data 9dz247gnyb), usually inside ``Voice Samples Direct
Download/``::

    Audio Files/BL01_ENSS.wav                      one file a person: /a/, /i/ and six CAPE-V sentences
    Ratings Spreadsheets/Demographics.xlsx
    Ratings Spreadsheets/Ratings_both_scales.xlsx  sheets CAPE-V and GRBAS, one row per (file, dimension)
    Ratings Spreadsheets/grbas_grade_only.xlsx ... eleven files of one dimension each: not read

What to know:

* The id is the letters and digits a name starts with; its case varies (SJ1001, Sj2003), one id has a stray
  period, many a trailing blank. Ids that still do not match (SJ against ST) are rejected, not guessed.
* Demographics.xlsx holds notes below its rows; ``Gender`` mixes F, m, female and male; an age may be blank. The
  diagnosis is free text and no label: the label is the raters' severity, which is mild for most.
* Four raters rated twice: columns ``Rater 1 Time 1``, ``Rater 1 time 2``, ...; blank where one did not rate.
  Every rating becomes an observation; the warehouse averages them. The file's own averages are not read, nor are
  the files of one dimension, which hold the same and spell their columns in five ways.
* Some versions hold the recordings a second time, flat in the root folder.
* The ratings hold for the whole sample, not for its vowels or sentences alone, so nothing is cut out of it (a
  timing.csv that others made tells where the parts lie).
* The text speaks of 44.1 and of 48 kHz: the header tells.
* Tables exported by users (Demographics.csv, CAPE_V.csv and GRBAS.csv, with semicolons and decimal commas) are
  read where the workbook is not there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, fold, header_line, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices, Wave

AUDIO_ID = re.compile(r"\D+\d+")
PERSON_ID = re.compile(r"[A-Z]{2,4}\d+")
RATER_COLUMN = re.compile(r"rater\s*(\d+)\s*time\s*(\d+)")

# sheet -> (highest rating, unit, {last word of "Characteristics": attribute})
SCALES: dict[str, tuple[float, str, dict[str, str]]] = {
    "CAPE-V": (
        100,
        "mm",
        {
            "severity": "voice_severity",
            "roughness": "voice_roughness",
            "breathiness": "voice_breathiness",
            "strain": "voice_strain",
            "pitch": "pitch_deviance",
            "loudness": "loudness_deviance",
        },
    ),
    "GRBAS": (
        3,
        "grade",
        {
            "grade": "voice_severity",
            "roughness": "voice_roughness",
            "breathiness": "voice_breathiness",
            "asthenia": "voice_asthenia",
            "strain": "voice_strain",
        },
    ),
}


def scan(root: Path) -> Tables:
    """Read the raw folder ``root`` (``<raw>/pvqd``, with or without the release's own root folder).

    Raises:
        RecipeError: a spreadsheet, a sheet or a needed column is not there.
    """
    demographics = _only(root, "Demographics.xlsx", "demographics")
    ratings = {sheet: _only(root, "Ratings_both_scales.xlsx", _letters(sheet)) for sheet in SCALES}
    rows = Rows("pvqd")
    audio = _audio_by_id(rows, root)
    utterances: dict[str, tuple[str, str]] = {}  # id -> (utt_id, speaker_id)
    for row in _table(demographics, ["participant id", "gender", "age"]):
        where = f"{demographics.relative_to(root).as_posix()}:{row['_row']}"
        owner_id = _person_id(row["participant id"])
        if owner_id is None:
            if row["gender"] or row["age"]:  # otherwise a note below the table
                rows.reject(where, "participant id is not letters and digits")
        elif owner_id not in audio:
            rows.reject(where, "no recording of this participant")
        elif owner_id in utterances:
            rows.reject(where, "participant has an earlier row")
        else:
            speaker = rows.speaker(owner_id, sex=row["gender"])
            rows.observe(speaker, "diagnosis_text", row.get("diagnosis"), source="clinician")
            path = audio[owner_id].relative_to(root).as_posix()
            utterance = rows.utterance(path, speaker, language="en", speech_task="read", age=number(row["age"]))
            utterances[owner_id] = (utterance, speaker)
    for owner_id, recording in audio.items():
        if owner_id not in utterances:
            rows.reject(recording.relative_to(root).as_posix(), "recording without a row in Demographics.xlsx")
    for sheet in SCALES:
        _add_ratings(rows, root, ratings[sheet], sheet, utterances)
    return rows.tables()


def _only(root: Path, name: str, export: str) -> Path:
    """The workbook ``name``, or the .csv whose name has the letters of ``export``."""
    books = visible(root.rglob(name))
    exports = [path for path in visible(root.rglob("*")) if path.suffix.lower() == ".csv"]
    found = books + [path for path in exports if _letters(path.stem) == export]
    if not found:
        raise RecipeError(f"{root}: no {name} in it or below: unpack PVQD's 'Ratings Spreadsheets' there")
    return found[0]


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.casefold())


def _table(path: Path, required: Sequence[str], sheet: str | None = None) -> list[Row]:
    """The rows of a workbook, or of a table that somebody exported from it."""
    if path.suffix.lower() == ".xlsx":
        return read_table(path, required, sheet=sheet)
    return read_table(path, required, separator=";" if ";" in header_line(path) else ",")


def _audio_by_id(rows: Rows, root: Path) -> dict[str, Path]:
    """Recordings by upper-case id; of two with one name the one in ``Audio Files`` is kept."""
    recordings = sorted(visible(root.rglob("*.wav")), key=lambda path: path.parent.name != "Audio Files")
    if not recordings:
        raise RecipeError(f"{root}: no 'Audio Files' folder with .wav recordings: unpack PVQD there")
    audio: dict[str, Path] = {}
    for path in recordings:
        match = AUDIO_ID.match(path.stem)
        where = path.relative_to(root).as_posix()
        if match is None:
            rows.reject(where, "name does not start with letters and digits")
        elif (owner_id := _id(match[0])) in audio:
            rows.reject(where, f"second recording of a participant, {audio[owner_id].parent.name!r} holds the first")
        else:
            audio[owner_id] = path
    return audio


def _person_id(text: str | None) -> str | None:
    letters = _id(text or "")
    return letters if PERSON_ID.fullmatch(letters) else None


def _id(text: str) -> str:
    """An id in one spelling: file and table differ in case, blanks and a stray period."""
    return re.sub(r"[\s.]", "", text).upper()


def _add_ratings(rows: Rows, root: Path, book: Path, sheet: str, utterances: dict[str, tuple[str, str]]) -> None:
    highest, unit, attributes = SCALES[sheet]
    lines = _table(book, ["file", "characteristics"], sheet)
    name = book.relative_to(root).as_posix() + (f":{sheet}" if book.suffix.lower() == ".xlsx" else "")
    raters = _rater_columns(book, sheet, lines)
    for row in lines:
        where = f"{name}:{row['_row']}"
        owner = AUDIO_ID.match(row["file"] or "")
        ids = utterances.get(_id(owner[0])) if owner else None
        if ids is None:
            rows.reject(where, "rated file not found among the recordings")
            continue
        attribute = attributes.get(fold(row["characteristics"] or "").rpartition(" ")[2])
        if attribute is None:
            rows.reject(where, f"characteristic {row['characteristics']!r} is no dimension of {sheet}")
            continue
        utterance, speaker = ids
        for column, rater in raters.items():
            rating = number(row[column])
            if rating is not None and not 0 <= rating <= highest:
                rows.reject(where, f"{rater}: rating outside 0..{highest:g}")
                continue
            rows.observe(
                speaker,
                attribute,
                rating,
                source="rater",
                instrument=sheet,
                unit=unit,
                utt_id=utterance,
                rater=rater,
            )


def _rater_columns(book: Path, sheet: str, lines: Sequence[Row]) -> dict[str, str]:
    if not lines:
        raise RecipeError(f"{book}: sheet {sheet} has no rows below the column names")
    columns = {name: RATER_COLUMN.fullmatch(name) for name in lines[0]}
    found = {name: f"rater {match[1]} time {match[2]}" for name, match in columns.items() if match}
    if not found:
        raise RecipeError(f"{book}: sheet {sheet} has no column like 'Rater 1 Time 1'")
    return found


# The miniature -----------------------------------------------------------------------------------

SENTENCES = (
    "The blue spot is on the key again.",
    "How hard did he hit him?",
    "We were away a year ago.",
    "We eat eggs every Easter.",
    "My mama makes lemon jam.",
    "Peter will keep at the peak.",
)
# Each quality is heard with and without each of the others; non-cases lie near 0.
QUALITIES: tuple[dict[str, float], ...] = (
    {},
    {"voice_roughness": 0.85, "voice_strain": 0.5},
    {"voice_roughness": 0.05, "voice_breathiness": 0.05, "voice_strain": 0.05},
    {"voice_roughness": 0.45, "voice_breathiness": 0.65},
    {"voice_strain": 0.06},
    {"voice_breathiness": 0.4, "voice_strain": 0.85},
)
FAMILIES = ("BL{:02d}", "LA{:04d}", "NYU{:04d}", "PT{:03d}", "SJ{:04d}")
RATINGS_HEADER = (
    ["File", "Characteristics", "Average", "Standard Deviation", "", "Category"]
    + [f"Rater {rater} {time}" for rater in range(1, 5) for time in ("Time 1", "time 2")]
)  # fmt: skip


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature at 44.1 kHz: one file a person, vowels and sentences, and every trap named above."""
    folder = root / "Voice Samples Direct Download"
    people = voices.cast("pvqd", 48, "en", QUALITIES)
    demographics: list[list[object]] = []
    sheets: dict[str, list[list[object]]] = {sheet: [] for sheet in SCALES}
    for i, voice in enumerate(people):
        owner_id = FAMILIES[i % len(FAMILIES)].format(i + 1)
        stem = f"{owner_id.capitalize() if i % 15 == 4 else owner_id}_ENSS"
        rate = 48000 if i == 1 else 44100  # trap: the header tells
        wave = _sample(voices, voice, i, rate)
        voices.write(folder / "Audio Files" / f"{stem}.wav", wave, rate)
        if i == 0:  # trap: the flat copy of some versions, and a Mac's twin
            voices.write(folder / f"{stem}.wav", wave, rate)
            (folder / "Audio Files" / f"._{stem}.wav").write_bytes(b"\x00\x05\x16\x07")
        gender = {"female": ("F", "f", "female"), "male": ("M", "m", "male")}[voice.sex][i % 3]
        hoarse = _severity(voice) > 0.2
        diagnosis = "Muscle tension dysphonia" if hoarse else "Normal"
        demographics.append([f"{owner_id}." if i == 3 else f"{owner_id} ", gender, voice.age, diagnosis])
        for sheet, lines in sheets.items():
            lines.extend(_rating_rows(voice, owner_id, sheet, i))
    demographics[-1][2] = None  # trap: an age that was not written down
    demographics[-2][0] = "ST9001"  # trap: a participant id nobody can match: a row and a recording are left over
    demographics.append(["* Ages are at the time of the recording", None, None, None])
    sheets["CAPE-V"].append(["ZZ99", "CAPE-V Severity", 40, 0, None, "Moderate", 40])
    sheets["GRBAS"][0][6] = 9
    _write_books(folder / "Ratings Spreadsheets", demographics, sheets)


def _severity(voice: Voice) -> float:
    return max((strength for _, strength in voice.traits), default=0.0)


def _sample(voices: Voices, voice: Voice, i: int, rate: int) -> Wave:
    texts = ("vowel:a", "vowel:i", SENTENCES[i % 6], SENTENCES[(i + 1) % 6])
    parts = [
        voices.say(voice, text, seconds=1.0 if text.startswith("vowel") else 2.5, rate=rate, take=take)
        for take, text in enumerate(texts)
    ]
    return np.concatenate(parts)


def _rating_rows(voice: Voice, owner_id: str, sheet: str, i: int) -> list[list[object]]:
    highest, _, attributes = SCALES[sheet]
    strengths = dict(voice.traits) | {"voice_severity": _severity(voice)}
    lines: list[list[object]] = []
    for dimension, attribute in attributes.items():
        strength = strengths.get(attribute, 0.0)
        ratings: list[object] = []
        for rater in range(8):
            opinion = highest * (strength + (rater - 3.5) * 0.01)  # raters differ a little, always the same way
            ratings.append(round(min(max(opinion, 0), highest)) if (rater + i) % 4 < 3 else None)
        category = ("Normal", "Mild", "Moderate", "Severe")[min(3, int(4 * strength))]
        label = f"{sheet} {dimension.capitalize()}"
        lines.append([owner_id, label, round(highest * strength, 1), 0.1, None, category, *ratings])
    return lines


def _write_books(folder: Path, demographics: list[list[object]], sheets: dict[str, list[list[object]]]) -> None:
    import xlsxwriter

    folder.mkdir(parents=True, exist_ok=True)
    books = {
        "Demographics.xlsx": {"Sheet1": [["Participant ID ", "Gender", "Age", "Diagnosis "], *demographics]},
        "Ratings_both_scales.xlsx": {name: [RATINGS_HEADER, *lines] for name, lines in sheets.items()},
        # trap: a file of one dimension, with columns of its own
        "cape_v_strain_only.xlsx": {"Sheet1": [["File", "Average Values", "Category Value"], ["BL01", 99, "Severe"]]},
    }
    for name, content in books.items():
        with xlsxwriter.Workbook(folder / name) as book:
            book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
            for title, lines in content.items():
                sheet = book.add_worksheet(title)
                for line, cells in enumerate(lines):
                    sheet.write_row(line, 0, cells)


CORPUS = Corpus(
    name="pvqd",
    title="Perceptual Voice Qualities Database",
    homepage="https://data.mendeley.com/datasets/9dz247gnyb",
    citation="Walden (2020). Perceptual Voice Qualities Database (PVQD). Journal of Voice. doi:10.17632/9dz247gnyb",
    licence=Licence(
        name="CC BY 4.0 as far as we know; the exact licence text is UNKNOWN, read it at the download",
        url="https://data.mendeley.com/datasets/9dz247gnyb",
        access="open",
        may_train=True,
        may_redistribute=False,  # until the licence text is read
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="voice_severity",
    traps={
        "ids-of-varying-spelling": "Ids differ in case, a stray period and trailing blanks between file and table.",
        "unmatched-ids": "Three ids match no recording (SJ against ST): rejected, never guessed.",
        "notes-below-the-table": "Notes stand below the 297 rows of Demographics.xlsx.",
        "gender-words": "Gender mixes F, f, female, M, m and male.",
        "blank-age": "An age may be blank.",
        "flat-copies": "Some versions hold the recordings a second time in the root folder.",
        "raters-rated-twice": "Rater 1 Time 1, Rater 1 time 2, ...: eight columns, blank where one did not rate.",
        "rating-outside-the-scale": "CAPE-V is 0-100, GRBAS 0-3: another number is rejected by row.",
        "files-of-one-dimension": "Eleven more files hold averages under columns of varying names: not read.",
        "ratings-of-the-whole-sample": "A file holds two vowels and six sentences, and is rated as a whole.",
        "layout-variants": "Audio Files/ or flat, with or without the release's root folder.",
        "exports-with-decimal-comma": "Users export the sheets as .csv with semicolons and decimal commas.",
        "rate-in-the-header": "The text speaks of 44.1 and of 48 kHz.",
        "mac-twins": "Files named ._* are no recordings.",
    },
)
