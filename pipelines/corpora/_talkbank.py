"""What ADReSS 2020, ADReSSo 2021 and Pitt share: the same people of DementiaBank, and an interviewer to cut away.

- **The three hold the same people and recordings** under ids of their own, and the owners publish no mapping. All
  three therefore name a person ``dementiabank:<id>``. Who has worked the mapping out puts it as ``pitt_ids.csv``
  (columns ``id`` and ``pitt``, the participant's three digits) into the raw folders: then a person is the same in
  all three, and gets one split. Without it, never train on one of the three and test on another.
- The interviewer speaks too. Only turns of ``PAR`` that last a second or more become utterances. A recording
  whose table has no PAR turn is taken whole, and a reject says so; one without any table is left out. Times are
  **milliseconds**. Turns that end after the audio are cut where the audio is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.corpora._base import Licence, RecipeError, Rows
from pipelines.corpora._read import Row, cell, fold, header_line, number, read_table, text_of

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

PITT_IDS = "pitt_ids.csv"
SHORTEST_TURN_S = 1.0
MMSE_RANGE = (0, 30)
# What the class of a file or a table is called, folded. Every other word (MCI, Vascular, ...) is no answer.
DIAGNOSES = {
    "ad": "present",
    "cd": "present",
    "probablead": "present",
    "1": "present",
    "cn": "absent",
    "cc": "absent",
    "control": "absent",
    "0": "absent",
}
# Words in train, digits in one version of the test file. Other corpora use the digits the other way round.
SEXES = {"0": "male", "1": "female"}
LICENCE = Licence(
    name="TalkBank DementiaBank membership",
    url="https://talkbank.org/dementia/",
    access="agreement",
    may_train=True,
    may_redistribute=False,
    consent="not stated in the release",
)

Turn = tuple[float | None, float | None]  # seconds; (None, None) is the whole recording


@dataclass(frozen=True)
class Segment:
    """A turn of a table or a transcript, with the place where it stands."""

    where: str
    speaker: str
    begin_ms: float | None
    end_ms: float | None


@dataclass(frozen=True)
class Chat:
    """A CHAT transcript: what the ``@ID`` line says of the participant, and the turns."""

    age: float | None
    sex: str | None
    diagnosis: str | None
    mmse: float | None
    segments: tuple[Segment, ...]


class People:
    """``person_id`` of the ids of a release, by ``pitt_ids.csv`` where there is one."""

    def __init__(self, root: Path, rows: Rows) -> None:
        self.pitt: dict[str, str] = {}
        if not (root / PITT_IDS).is_file():
            return
        for row in read_table(root / PITT_IDS, ("id", "pitt")):
            own, pitt = fold(row["id"] or ""), row["pitt"] or ""
            if own and pitt.isdecimal():
                self.pitt[own] = f"{int(pitt):03d}"
            else:
                rows.reject(f"{PITT_IDS}:{row['_row']}", "needs an id and the digits of a Pitt participant")

    def person_id(self, own: str) -> str:
        """The key under which the three corpora know this person."""
        return f"dementiabank:{self.pitt.get(fold(own), own)}"


def participant_turns(segments: tuple[Segment, ...] | list[Segment], place: str, rows: Rows) -> list[Turn]:
    """The turns of PAR of a second or more; all of the recording where nobody is marked as PAR.

    Args:
        segments: of all speakers.
        place: of the table or transcript, for rejects.
        rows: where unusable segments are noted.
    """
    spoken = [segment for segment in segments if fold(segment.speaker) == "par"]
    if not spoken:
        rows.reject(place, "no PAR row: the whole recording is taken, interviewer included")
        return [(None, None)]
    turns: list[Turn] = []
    for segment in spoken:
        begin_ms, end_ms = segment.begin_ms, segment.end_ms
        if begin_ms is None or end_ms is None or end_ms <= begin_ms:
            rows.reject(segment.where, "begin and end are not two rising numbers of milliseconds")
        elif end_ms - begin_ms >= 1000 * SHORTEST_TURN_S:
            turns.append((begin_ms / 1000, end_ms / 1000))
    if not turns:
        rows.reject(place, f"no PAR turn of {SHORTEST_TURN_S:g} s or more")
    return list(dict.fromkeys(turns))


def read_chat(path: Path, place: str) -> Chat:
    """Read a ``.cha``: tiers go on in lines that start with a tab, times stand between two U+0015.

    Args:
        path: the transcript.
        place: of it below the root, for rejects.
    """
    about: list[str] = []
    segments: list[Segment] = []
    for line, text in _chat_lines(path):
        if text.startswith("@ID:"):
            fields = [field.strip() for field in text.removeprefix("@ID:").split("|")]
            if len(fields) > 8 and fold(fields[2]) == "par" and not about:
                about = fields  # language, corpus, code, age;months, sex, group, -, role, MMSE
        elif text.startswith("*"):
            for begin, end in re.findall(r"\x15(?:[^\x15]*_)??(\d+)_(\d+)\x15", text):
                segments.append(Segment(f"{place}:{line}", text[1 : text.find(":")], float(begin), float(end)))
    stated = [cell(field) for field in about] or [None] * 9
    age = number((stated[3] or "").split(";")[0])
    return Chat(age, stated[4], stated[5], number(stated[8]), tuple(segments))


def _chat_lines(path: Path) -> Iterator[tuple[int, str]]:
    started, whole = 0, ""
    for line, text in enumerate(text_of(path).split("\n"), start=1):
        if text.startswith("\t"):
            whole += " " + text.strip("\t\r")
            continue
        if whole:
            yield started, whole
        started, whole = line, text.rstrip("\r")
    if whole:
        yield started, whole


def table_by_id(table: Path, column: str, needed: tuple[str, ...], root: Path, rows: Rows) -> dict[str, Row]:
    """Rows of a table by the id in ``column``; "S001.wav" and "S001 " are S001. Columns may be parted by ";"."""
    found: dict[str, Row] = {}
    semicolons = table.is_file() and ";" in header_line(table)
    for row in read_table(table, (column, *needed), separator=";" if semicolons else ","):
        name = re.sub(r"\.(wav|mp3)$", "", row[column] or "")
        if not name or name in found:
            rows.reject(place_of(row, table, root), f"{column} is {'twice' if name else 'not'} in the table")
        else:
            found[name] = row
    return found


def place_of(row: Mapping[str, str | None], table: Path, root: Path) -> str:
    """``file:row`` of a row of a table."""
    return f"{table.relative_to(root).as_posix()}:{row['_row']}"


def mmse(score: float | None, where: str, rows: Rows) -> float | None:
    """A total of the Mini-Mental State Examination, or None where it is none."""
    if score is None or MMSE_RANGE[0] <= score <= MMSE_RANGE[1]:
        return score
    rows.reject(where, "mmse is outside 0..30: no score taken")
    return None


def diagnosis(word: str | None, where: str, rows: Rows) -> str | None:
    """Whether Alzheimer's is present, by the word of a table of test labels."""
    if word is not None and fold(word) not in DIAGNOSES:
        rows.reject(where, "dx is neither Control nor ProbableAD")
    return DIAGNOSES.get(fold(word or ""))


def sound_files(folder: Path, *endings: str) -> list[Path]:
    """Recordings right in ``folder``; what macOS leaves in archives is passed over."""
    return sorted(
        path for path in folder.glob("*") if path.suffix.lower() in endings and not path.name.startswith("._")
    )


def refuse_left_over(left: dict[str, Row], table: Path, root: Path, rows: Rows) -> None:
    """Note the rows of a table that no recording asked for."""
    for row in left.values():
        rows.reject(place_of(row, table, root), "row without audio")


def readable(table: Path, rows: Rows, root: Path, *columns: str) -> list[Row] | None:
    """Rows of a recording's own table; None, and a reject, where it is no such table. One bad file stops nothing."""
    try:
        return read_table(table, columns)
    except RecipeError as error:
        rows.reject(table.relative_to(root).as_posix(), str(error).partition(": ")[2])
        return None


# What the miniatures of the family share ------------------------------------------------------------

RATE = 16000


def cast(voices: Voices) -> list[Voice]:
    """The made-up people of DementiaBank: the same in the three miniatures, healthy and ill in turn."""
    return voices.cast("adresso", 40, "en", ({}, {"alzheimer": 0.5}, {}, {"alzheimer": 0.85}), ages=(60, 85))


def interview(voice: Voice, voices: Voices) -> tuple[NDArray[Any], list[tuple[str, int, int]]]:
    """A question, three answers of which one is too short, and who speaks from when to when in milliseconds."""
    asker = replace(voice, seed="adresso-interviewer", sex="female", age=40, traits=())
    parts: list[NDArray[Any]] = []
    segments: list[tuple[str, int, int]] = []
    clock = 0.0
    for turn, (who, speaker, seconds) in enumerate(
        (("INV", asker, 1.5), ("PAR", voice, 3.2), ("PAR", voice, 0.6), ("PAR", voice, 3.0))
    ):
        wave = voices.say(speaker, seconds=seconds, rate=RATE, take=turn)[: round(seconds * RATE)]
        begin, clock = clock, clock + len(wave) / RATE
        segments.append((who, round(1000 * begin), round(1000 * clock)))
        parts += [wave, np.zeros(RATE // 5, np.float32)]
        clock += 0.2
    # trap: one segment in the release may end after the audio; the last one does so here
    who, begin_ms, _ = segments[-1]
    segments[-1] = (who, begin_ms, round(1000 * clock) + 150)
    return np.concatenate(parts), segments


def chat(segments: list[tuple[str, int, int]], about: str) -> list[str]:
    """Lines of a transcript; the second turn goes on in a second line, as CHAT's do."""
    lines = ["@UTF8", "@Begin", "@Languages:\teng", "@Participants:\tPAR Participant, INV Investigator"]
    lines += [f"@ID:\teng|Pitt|PAR|{about}||", "@ID:\teng|Pitt|INV|||||Investigator|||"]
    for turn, (who, begin, end) in enumerate(segments):
        lines.append(f"*{who}:\tand then" + ("\n\t" if turn == 1 else " ") + f"the boy . \x15{begin}_{end}\x15")
        lines.append("%mor:\tconj|and adv:tem|then")
    return [*lines, "@End"]


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file and make its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
