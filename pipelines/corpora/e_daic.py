"""E-DAIC (English, depression and PTSD): DAIC-WOZ extended by interviews that an AI led, AVEC 2019 splits.

275 people (163 train, 56 dev, 56 test): ids 300-492 were interviewed by a Wizard of Oz (the sessions of DAIC-WOZ),
600-718 by an AI, which is a confound of everything else. Layout (each folder comes as ``300_P.tar.gz``)::

    data/300_P/300_AUDIO.wav   data/300_P/300_Transcript.csv   data/300_P/features/*.csv
    labels/{train,dev,test}_split.csv   labels/Detailed_PHQ8_Labels.csv   metadata_mapped.csv

What the release asks of a reader:

- ``<id>_Transcript.csv`` is separated by **commas** (DAIC-WOZ: tabs) and comes from a speech recogniser: start,
  end, text, confidence, no speaker. It holds the participant's speech and no row of the interviewer, whose voice
  is in the recording. So its rows of a second or more are the utterances, and the whole file never is. A
  recogniser may have taken up a word of the interviewer.
- The transcripts are others than DAIC-WOZ's: its offsets are not added. Its two stretches in which other people
  speak are cut here too.
- **"PCL-C (PTSD)" is a yes or no, "PTSD Severity" the score.** PHQ_Binary and that flag are never the label:
  the warehouse cuts the totals.
- Fewer folders are released than the tables have rows (about 219).
- DAIC-WOZ holds the same people: they share their ``person_id``. No age is released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora import _daic
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._daic import SHORTEST_TURN_S
from pipelines.corpora._read import Row, number, read_table
from pipelines.schema import SPLITS, Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

DETAILED = "Detailed_PHQ8_Labels.csv"
LABEL_COLUMNS = ("participant_id", "gender", "phq_score")
TURN_COLUMNS = ("start_time", "end_time")
PCL_C = (17, 85)


@dataclass
class _Person:
    split: str
    row: Row
    place: str  # file:row


def scan(root: Path) -> Tables:
    """Read E-DAIC below ``root``: one unpacked folder a session, the split tables anywhere.

    Raises:
        RecipeError: no session or split table is found, or a table lacks a column.
    """
    rows = Rows(CORPUS.name)
    people = _people(root, rows)
    items = _items(root, rows)
    audio = sorted(path for path in root.rglob("*_AUDIO.wav") if not path.name.startswith("._"))
    if not audio:
        raise RecipeError(f"{root}: no 300_P/300_AUDIO.wav or the like found; unpack data/*_P.tar.gz in place")
    for archive in sorted(root.rglob("[!.]*_P.tar.gz")):
        identity = archive.name.removesuffix("_P.tar.gz")
        if not any(path.name == f"{identity}_AUDIO.wav" for path in audio):
            rows.reject(archive.relative_to(root).as_posix(), "archive is not unpacked")
    for path in audio:
        place = path.relative_to(root).as_posix()
        identity = path.name.removesuffix("_AUDIO.wav")
        person = people.pop(identity, None)
        if person is None:
            rows.reject(place, "participant is in none of the split tables, or here twice")
            continue
        turns = _turns(identity, path.with_name(f"{identity}_Transcript.csv"), root, rows)
        if turns:
            _add(identity, person, items.get(identity, []), place, turns, rows)
    for person in people.values():
        rows.reject(person.place, "row without audio")
    return rows.tables()


def _people(root: Path, rows: Rows) -> dict[str, _Person]:
    people: dict[str, _Person] = {}
    tables = {split: next(iter(sorted(root.rglob(f"{split}_split.csv"))), None) for split in SPLITS}
    if not any(tables.values()):
        raise RecipeError(f"{root}: labels/train_split.csv and its like not found")
    for split, table in tables.items():
        if table is None:
            rows.reject(f"{split}_split.csv", "not found: its participants are left out")
            continue
        for row in read_table(table, LABEL_COLUMNS):
            place = f"{table.relative_to(root).as_posix()}:{row['_row']}"
            identity = number(row["participant_id"])
            if identity is None:
                rows.reject(place, "participant_id is not a number")
            elif f"{identity:.0f}" in people:
                rows.reject(place, "participant is in an earlier row too: that one is taken")
            else:
                people[f"{identity:.0f}"] = _Person(split, row, place)
    return people


def _items(root: Path, rows: Rows) -> dict[str, list[float | None]]:
    """Participant -> the eight PHQ-8 items, where the table of items is there and reads as such."""
    table = next(iter(sorted(root.rglob(DETAILED))), None)
    if table is None:
        return {}
    items = {}
    for row in read_table(table, ("participant_id",)):
        identity = number(row["participant_id"])
        columns = [name for name in row if name.startswith("phq_8") and name != "phq_8total"]
        if identity is None or len(columns) != 8:
            rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "no participant_id and eight items")
        else:
            items[f"{identity:.0f}"] = [number(row[name]) for name in columns]
    return items


def _add(
    identity: str,
    person: _Person,
    items: list[float | None],
    place: str,
    turns: list[tuple[float, float]],
    rows: Rows,
) -> None:
    row = person.row
    speaker = rows.speaker(identity, sex=row["gender"], person_id=_daic.person_id(identity))
    phq8 = _daic.phq8(number(row["phq_score"]), items, number(row.get("phq_binary")), person.place, rows)
    rows.observe(speaker, "phq8", phq8, source="self-report", instrument="PHQ-8", unit="points")
    pcl_c = number(row.get("ptsd severity"))
    if pcl_c is not None and not PCL_C[0] <= pcl_c <= PCL_C[1]:
        rows.reject(person.place, "PTSD Severity is outside 17..85: no score taken")
    else:
        rows.observe(speaker, "pcl_c", pcl_c, source="self-report", instrument="PCL-C", unit="points")
    for start, end in turns:
        rows.utterance(
            place,
            speaker,
            language="en",
            speech_task="spontaneous",
            start_s=start,
            end_s=end,
            official_split=person.split,
        )


def _turns(identity: str, transcript: Path, root: Path, rows: Rows) -> list[tuple[float, float]]:
    place = transcript.relative_to(root).as_posix()
    if not transcript.is_file():
        rows.reject(place, "no transcript: the participant's turns are unknown")
        return []
    try:
        lines = read_table(transcript, TURN_COLUMNS)
    except RecipeError as error:
        rows.reject(place, f"cannot be read, the session is left out: {error}".replace(str(root), "."))
        return []
    turns = []
    for line in lines:
        start, end = number(line["start_time"]), number(line["end_time"])
        if start is None or end is None or end <= start:
            rows.reject(f"{place}:{line['_row']}", "start_time and end_time are not two rising numbers")
        elif end - start >= SHORTEST_TURN_S and not _daic.interrupted(identity, start, end):
            turns.append((round(start, 3), round(end, 3)))
    if not turns:
        rows.reject(place, f"no turn of {SHORTEST_TURN_S:g} s or more")
    return list(dict.fromkeys(turns))


# --- the miniature --------------------------------------------------------------------------------------------

SHARED = ("302", "303", "341", "451", "373", "321")  # also in the miniature of DAIC-WOZ
ITEM_NAMES = ("NoInterest", "Depressed", "Sleep", "Tired", "Appetite", "Failure", "Concentrating", "Moving")


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of E-DAIC: half the people are also in DAIC-WOZ's, half were interviewed by the AI."""
    again = {person.identity: person for person in _daic.made_up_people(voices)}
    cast = voices.cast(CORPUS.name, 6, "en", ({}, {"depression": 0.6}))
    count = 4 if voices.scale < 0.5 else 6
    people = [again[identity] for identity in SHARED[:count]]
    people += [
        _daic.MadeUp(str(600 + index), voice, _daic.eight_items(voice.strength("depression"), index))
        for index, voice in enumerate(cast[:count])
    ]
    header = "Participant_ID,Gender,PHQ_Binary,PHQ_Score,PCL-C (PTSD),PTSD Severity"
    tables = {split: [header] for split in SPLITS}
    detailed = [f"Participant_ID,{','.join('PHQ_8' + name for name in ITEM_NAMES)},PHQ_8Total"]
    for index, person in enumerate(people):
        gender = f" {person.voice.sex} " if index % 3 == 0 else person.voice.sex  # trap: blanks
        severity = 20 + 2 * person.score
        binary = int(person.score >= 10) if person.identity != "600" else 1  # trap: 600 scores less
        line = f"{person.identity},{gender},{binary},{person.score},{int(severity >= 44)},{severity:.1f}"
        tables[("train", "dev")[index % 2] if person.identity < "600" else ("test", "train")[index // 2 % 2]].append(
            line
        )
        detailed.append(f"{person.identity},{','.join(map(str, person.items))},{person.score}")
        _interview(root / "data" / f"{person.identity}_P", person, voices)
    tables["train"].append("718,male,0,4,0,28.0")  # trap: a row without audio
    for split, lines in tables.items():
        _write(root / "labels" / f"{split}_split.csv", lines)
    _write(root / "labels" / DETAILED, detailed)
    # traps: an archive that nobody unpacked, audio without a row, a Mac's leftovers
    (root / "data" / "717_P.tar.gz").write_bytes(b"\x1f\x8b")
    orphan = root / "data" / "716_P" / "716_AUDIO.wav"
    voices.write(orphan, voices.say(cast[0], seconds=2.5, take=7), 16000)
    voices.write(orphan.with_name("._716_AUDIO.wav"), np.zeros(80, np.float32), 16000)


def _interview(folder: Path, person: _daic.MadeUp, voices: Voices) -> None:
    rate = 16000
    asks: Voice = replace(person.voice, seed="ellie", sex="female", age=30, traits=())
    turns = [  # trap: the interviewer is heard and has no row
        (None, asks, 1.5, 0.0),
        ("i grew up near the sea, and i liked it", person.voice, 3.0, 0.91),
        (None, asks, 1.2, 0.0),
        ("good", person.voice, 0.5, 0.77),
        ("we used to go there every summer", person.voice, 3.2, 0.88),
    ]
    clock = 0.0
    parts: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = []
    lines = ["Start_Time,End_Time,Text,Confidence"]
    for take, (text, voice, seconds, confidence) in enumerate(turns):
        wave = voices.say(voice, text, seconds=seconds, rate=rate, take=take)
        if text is not None:
            lines.append(f'{clock:.2f},{clock + seconds:.2f},"{text}",{confidence}')
        parts += [wave, np.zeros(rate // 5, np.float32)]
        clock += seconds + 0.2
    if person.identity in _daic.INTERRUPTED_S:
        lines.append("400.00,404.00,someone else is in the room,0.80")
    voices.write(folder / f"{person.identity}_AUDIO.wav", np.concatenate(parts), rate)
    _write(folder / f"{person.identity}_Transcript.csv", lines)
    _write(folder / "features" / f"{person.identity}_BoAW_openSMILE_2.3.0_MFCC.csv", ["0.0,0.1"])


def _write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="e_daic",
    title="E-DAIC: Extended Distress Analysis Interview Corpus",
    homepage="https://dcapswoz.ict.usc.edu",
    citation="Ringeval et al.: AVEC 2019 workshop and challenge: state-of-mind, detecting depression with AI, and "
    "cross-cultural affect recognition. AVEC 2019. DeVault et al.: SimSensei kiosk. AAMAS 2014.",
    licence=Licence(
        name="E-DAIC end user licence agreement (USC ICT)",
        url="https://dcapswoz.ict.usc.edu",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="depression",
    official_splits=True,
    traps={
        "comma-separated-transcript": "The transcripts are separated by commas, where DAIC-WOZ's are by tabs.",
        "interviewer": "The interviewer is heard in the recording and has no row, and the transcript has no speaker.",
        "daic-woz-offsets": "The offsets of DAIC-WOZ's transcripts do not belong to these other transcripts.",
        "interruptions": "Other people speak for a while in 373 and 444.",
        "ptsd-columns": "'PCL-C (PTSD)' is a yes or no, and 'PTSD Severity' is the PCL-C score.",
        "wrong-binary": "PHQ_Binary may contradict PHQ_Score.",
        "gender-with-blanks": "Gender words may stand between blanks.",
        "fewer-folders": "The tables have more rows than folders with audio are released.",
        "packed-folders": "A folder comes as a tar.gz and may not have been unpacked.",
        "apple-double": "The archives hold ._ files that are no recordings.",
        "shared-people": "DAIC-WOZ holds the same people.",
    },
)
