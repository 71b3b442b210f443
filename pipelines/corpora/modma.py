"""MODMA, audio part: Mandarin interviews, readings and picture descriptions of depressed people and controls.

52 subjects of Lanzhou University (23 MDD, 29 HC; 36 men, 16 women; 18 to 52 years), 29 recordings each. Layout
(signed agreement)::

    audio_lanzhou_2015/02010002/01.wav ... 29.wav            44.1 kHz, 24 bit
    audio_lanzhou_2015/subjects_information_audio_lanzhou_2015.xlsx

What to know:

* A subject's folder starts with 0201 (MDD), 0202 or 0203 (both HC); the workbook holds the id as a number, without
  its leading zero.
* A legend stands beside and below the table, in columns without a name; Sheet2 and Sheet3 are empty.
  "education（years）" has full-width parentheses.
* Depression is ``type`` (MINI, DSM-IV), not a PHQ-9 above a cut-off: patients were admitted from PHQ-9 5 up.
* PHQ-9, GAD-7, PSQI, CTQ-SF, LES and SSRS are the subjects' own answers. A total outside its scale is rejected;
  LES is a balance of good and bad events and may be negative.
* Files 01-18 are interview answers (of the participant alone, as far as is known), 19 a passage, 20-25 word
  lists, 26-29 picture descriptions.
* 02010004/24.wav to 28.wav are reported unreadable. Empty files are rejected here; a damaged one is refused when
  shards are written, since a scan decodes nothing.
* The level is very low (peaks near -40 dBFS): whatever reads it must normalise loudness.
* More than twice as many men as women, and not alike in both groups: report by sex. No official split.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, number, read_table, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

WORKBOOK = "subjects_information_audio_lanzhou_2015.xlsx"
BOOKS = "subjects_information*.xlsx"
SUBJECT = re.compile(r"0(201|202|203)\d{4}")
TYPE_OF_PREFIX = {"0201": "MDD", "0202": "HC", "0203": "HC"}
RECORDING = re.compile(r"0[1-9]|1\d|2\d")
# column -> (attribute, instrument, highest score)
SCALES = {
    "phq-9": ("phq9", "PHQ-9", 27),
    "gad-7": ("gad7", "GAD-7", 21),
    "psqi": ("psqi", "PSQI", 21),
}
TOTALS = {"ctq-sf": "ctq_sf", "les": "les", "ssrs": "ssrs"}  # column -> attribute


def scan(root: Path) -> Tables:
    """Read the raw folder ``root`` (``<raw>/modma``).

    Raises:
        RecipeError: the workbook or a needed column is not there.
    """
    books = visible(root.rglob(BOOKS))
    if not books:
        raise RecipeError(f"{root}: no {WORKBOOK} in it or below: unpack audio_lanzhou_2015 there")
    book = books[0]
    rows = Rows("modma")
    folders = {path.name: path for path in sorted(book.parent.iterdir()) if path.is_dir()}
    if not any(SUBJECT.fullmatch(name) for name in folders):
        raise RecipeError(f"{book.parent}: no subject folder like 02010002 beside the workbook")
    used = set()
    for row in read_table(book, ["subject id", "type", "age", "gender", *SCALES]):
        where = f"{book.relative_to(root).as_posix()}:{row['_row']}"
        if row["subject id"] is None:  # a line of the legend
            continue
        owner_id = _owner_id(row["subject id"])
        if owner_id is None:
            rows.reject(where, "subject id is not 0201.., 0202.. or 0203.. with eight digits")
        elif row["type"] != TYPE_OF_PREFIX[owner_id[:4]]:
            rows.reject(where, "type and subject id contradict each other")
        elif owner_id not in folders:
            rows.reject(where, "no folder of this subject")
        elif owner_id in used:
            rows.reject(where, "subject has an earlier row")
        else:
            used.add(owner_id)
            _add_subject(rows, root, row, owner_id, folders[owner_id], where)
    for name, folder in folders.items():
        if name not in used:
            rows.reject(folder.relative_to(root).as_posix(), "folder without a usable row in the workbook")
    return rows.tables()


def _owner_id(text: str) -> str | None:
    digits = number(text)
    owner_id = "" if digits is None else f"{digits:.0f}".zfill(8)
    return owner_id if SUBJECT.fullmatch(owner_id) else None


def _add_subject(rows: Rows, root: Path, row: Row, owner_id: str, folder: Path, where: str) -> None:
    patient = row["type"] == "MDD"
    speaker = rows.speaker(owner_id, sex=row["gender"])
    rows.observe(speaker, "depression", "present" if patient else "absent", source="clinician")
    if not patient:
        rows.observe(speaker, "healthy", "present", source="clinician")
    education = next((value for name, value in row.items() if name.startswith("education")), None)
    rows.observe(speaker, "education_years", number(education), source="self-report", unit="years")
    for column, (attribute, instrument, highest) in SCALES.items():
        score = number(row[column])
        if score is not None and not 0 <= score <= highest:
            rows.reject(where, f"{instrument} outside 0..{highest}")
            continue
        rows.observe(speaker, attribute, score, source="self-report", instrument=instrument, unit="points")
    for column, attribute in TOTALS.items():
        rows.observe(speaker, attribute, number(row.get(column)), source="self-report", unit="points")
    for path in visible(folder.glob("*.wav")):
        relative = path.relative_to(root).as_posix()
        if RECORDING.fullmatch(path.stem) is None:
            rows.reject(relative, "name is not 01.wav to 29.wav")
        elif path.stat().st_size == 0:
            rows.reject(relative, "empty file")
        else:
            task = _speech_task(int(path.stem))
            rows.utterance(relative, speaker, language="zh", speech_task=task, age=number(row["age"]))


def _speech_task(recording: int) -> str:
    if recording == 19:
        return "read"
    return "words" if 20 <= recording <= 25 else "spontaneous"


# The miniature -----------------------------------------------------------------------------------

HEADER = [
    "subject id", "type", "age", "gender", "education（years）", "PHQ-9", "CTQ-SF", "LES", "SSRS", "GAD-7",
    "PSQI", None, "MDD: major depressive disorder, HC: healthy control",
]  # fmt: skip
WORDS = "苹果，河流，朋友，桌子，快乐，天空。"
CONDITIONS: tuple[dict[str, float], ...] = (
    {},
    {"depression": 0.5, "anxiety": 0.3, "insomnia": 0.5},
    {"depression": 0.05, "anxiety": 0.1, "insomnia": 0.1},
    {"depression": 0.85, "anxiety": 0.6, "insomnia": 0.7},
)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: an answer, the passage and a word list a subject, and every trap named above."""
    people = voices.cast("modma", 40, "zh", CONDITIONS, ages=(18, 52))
    folder = root / "audio_lanzhou_2015"
    lines: list[list[object]] = []
    for i, voice in enumerate(people):
        patient = voice.strength("depression") > 0.2
        owner_id = f"{'0201' if patient else ('0202', '0203')[i % 4 // 2]}{i + 1:04d}"
        for take, (recording, text) in enumerate({"01": None, "19": None, "20": WORDS}.items()):
            quiet = voices.say(voice, text, rate=44100, take=take) * 0.02
            voices.write(folder / owner_id / f"{recording}.wav", quiet, 44100, subtype="PCM_24")
        scores = [
            round(highest * voice.strength(trait)) + i % 3
            for trait, highest in (("depression", 24), ("anxiety", 19), ("insomnia", 19))
        ]
        kind, sex = ("MDD" if patient else "HC"), voice.sex[0].upper()
        lines.append([int(owner_id), kind, voice.age, sex, 16, scores[0], 52, -20, 34, scores[1], scores[2]])
    patient_id = next(f"{row[0]:08d}" for row in lines if row[1] == "MDD")
    (folder / patient_id / "24.wav").write_bytes(b"")  # trap: unreadable
    (folder / patient_id / "._19.wav").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    (folder / patient_id / "30.wav").write_bytes(b"")
    (folder / "02020999").mkdir()  # a folder without a row
    lines[3][5] = 6  # trap: a patient below the cut-off of PHQ-9
    lines[0][5] = 99  # a score outside its scale
    lines[1][9] = None  # a scale that was not filled in
    lines.append([2019999, "MDD", 33, "F", 16, 18, 52, -20, 34, 11, 12])  # a row without a folder
    lines.append([2010998, "HC", 33, "F", 16, 2, 52, -20, 34, 1, 2])  # type against id
    lines.append([None] * 12 + ["PSQI: Pittsburgh Sleep Quality Index"])
    _write_book(folder / WORKBOOK, lines)


def _write_book(path: Path, lines: list[list[object]]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
        sheet = book.add_worksheet("Sheet1")
        for line, cells in enumerate([HEADER, *lines]):
            sheet.write_row(line, 0, cells)
        book.add_worksheet("Sheet2")
        book.add_worksheet("Sheet3")


CORPUS = Corpus(
    name="modma",
    title="MODMA audio (depression, Mandarin)",
    homepage="http://modma.lzu.edu.cn",
    citation="Cai et al. (2022). A multi-modal open dataset for mental-disorder analysis. Scientific Data. "
    "doi:10.1038/s41597-022-01211-x",
    licence=Licence(
        name="MODMA end user licence agreement (signed, by e-mail)",
        url="http://modma.lzu.edu.cn",
        access="agreement",
        may_train=True,  # research use under the agreement
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("zh",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="depression",
    traps={
        "ids-without-leading-zero": "The workbook holds 2010002 for the folder 02010002.",
        "two-prefixes-of-controls": "0201 is MDD, 0202 and 0203 are controls; an id against its type is rejected.",
        "legend-beside-the-table": "A legend stands in columns without a name and in rows below; two sheets are empty.",
        "full-width-parentheses": "The column is education（years）.",
        "label-is-the-interview": "Depression is type, by interview: patients have a PHQ-9 of 5 and more, not of 10.",
        "negative-life-events": "LES may be negative; a PHQ-9, GAD-7 or PSQI outside its scale is rejected.",
        "task-by-number": "01-18 are answers, 19 a passage, 20-25 word lists, 26-29 picture descriptions.",
        "unreadable-files": "Some recordings of one subject are reported unreadable: they never stop the corpus.",
        "very-low-level": "Peaks lie near -40 dBFS: the level says nothing about the speaker.",
        "mac-twins": "Files named ._* are no recordings.",
    },
)
