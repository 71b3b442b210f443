"""Pitt corpus of DementiaBank (English, dementia and controls): Cookie Theft interviews over several visits.

243 recordings of controls and 309 of people with dementia::

    English/Pitt/Control/cookie/002-0.mp3       English/Pitt/Dementia/cookie/001-2.mp3      participant-visit
    Transcripts/Control/cookie/002-0.cha        Transcripts/Dementia/cookie/001-2.cha       (or beside the audio)
    Pitt-data.xlsx (also PItt-data.xlsx)        sheet "data", column names in the third row

What the release asks of a reader:

- The first number is the participant, the second the visit: a visit is a session, with its own age, diagnosis
  and MMSE, all from the ``@ID`` line of its transcript.
- **Dementia is not Alzheimer's.** The folder also holds mild cognitive impairment, vascular dementia and others.
  Only "ProbableAD" states Alzheimer's, "MCI" a cognitive impairment; every other word, "PossibleAD" too, is kept as
  text alone. A control may fall ill between two visits: where transcript and folder differ, the transcript counts.
- Other tasks (fluency, recall, sentence) were recorded of the group Dementia alone. Whoever trains on them learns
  the task: they are left out, and counted.
- The interviewer speaks too: see ``_talkbank.py``. So do ADReSS 2020 and ADReSSo 2021 hold the same people.
- Of ``Pitt-data.xlsx`` only years of schooling are read; its columns are not documented, so it may be absent.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora import _talkbank as talkbank
from pipelines.corpora._base import Corpus, RecipeError, Rows
from pipelines.corpora._read import fold, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

RECORDING = re.compile(
    r"(?:^|/)(?P<group>Control|Dementia)/(?P<task>\w+)/(?P<visit>(?P<participant>\d{3})-\d)\.(?:mp3|wav)$", re.I
)
OTHER_TASKS = ("fluency", "recall", "sentence")
# Words of the @ID line, folded, that state a condition. The others are kept as text alone.
STATES = {
    "probablead": ("alzheimer", "present"),
    "control": ("alzheimer", "absent"),
    "mci": ("cognitive_impairment", "present"),
}


def scan(root: Path) -> Tables:
    """Read Pitt below ``root``: the cookie recordings of both groups, and their transcripts.

    Raises:
        RecipeError: no recording like ``Control/cookie/002-0.mp3`` is found.
    """
    rows = Rows(CORPUS.name)
    people = talkbank.People(root, rows)
    transcripts = {
        (path.parent.parent.name.casefold(), path.stem): path for path in sorted(root.rglob("cookie/[0-9]*.cha"))
    }
    visits: dict[str, list[tuple[Path, re.Match[str]]]] = defaultdict(list)
    for path, name in _recordings(root, rows):
        visits[name["participant"]].append((path, name))
    if not visits:
        raise RecipeError(f"{root}: no recording like Control/cookie/002-0.mp3 found; put the Pitt audio here")
    schooling = _schooling(root, rows)
    for participant, recordings in sorted(visits.items()):
        read: list[tuple[Path, re.Match[str], talkbank.Chat, list[talkbank.Turn]]] = []
        for path, name in recordings:
            transcript = transcripts.get((name["group"].casefold(), name["visit"]))
            if transcript is None:
                rows.reject(path.relative_to(root).as_posix(), "no transcript: the participant's turns are unknown")
                continue
            place = transcript.relative_to(root).as_posix()
            chat = talkbank.read_chat(transcript, place)
            if turns := talkbank.participant_turns(chat.segments, place, rows):
                read.append((path, name, chat, turns))
        if read:
            sexes = {fold(chat.sex) for _, _, chat, _ in read if chat.sex is not None}
            if len(sexes) > 1:
                rows.reject(participant, "sex differs between visits: left empty")
            speaker = rows.speaker(
                participant, sex=sexes.pop() if len(sexes) == 1 else None, person_id=people.person_id(participant)
            )
            rows.observe(speaker, "education_years", schooling.get(int(participant)), source="owner", unit="years")
            for path, name, chat, turns in read:
                _add_visit(path, name, chat, turns, speaker, root, rows)
    return rows.tables()


def _recordings(root: Path, rows: Rows) -> list[tuple[Path, re.Match[str]]]:
    """The cookie recordings with their names; recordings of other tasks are counted by folder."""
    found: list[tuple[Path, re.Match[str]]] = []
    seen: dict[tuple[str, str], str] = {}
    others: Counter[str] = Counter()
    for path in sorted(path for ending in ("mp3", "wav") for path in root.rglob(f"*.{ending}")):
        place = path.relative_to(root).as_posix()
        name = RECORDING.search(place)
        if path.name.startswith("._"):
            continue
        if path.parent.name.casefold() in OTHER_TASKS:
            others[path.parent.relative_to(root).as_posix()] += 1
        elif name is None or name["task"].casefold() != "cookie":
            rows.reject(place, "not Control|Dementia/cookie/<3 digits>-<visit>.mp3")
        elif seen.setdefault((name["group"].casefold(), name["visit"]), place) != place:
            rows.reject(place, f"second copy of {seen[name['group'].casefold(), name['visit']]}")
        else:
            found.append((path, name))
    for folder, count in sorted(others.items()):
        rows.reject(folder, f"{count} recordings of another task, recorded of the group Dementia alone: left out")
    return found


def _add_visit(
    path: Path,
    name: re.Match[str],
    chat: talkbank.Chat,
    turns: list[talkbank.Turn],
    speaker: str,
    root: Path,
    rows: Rows,
) -> None:
    place, visit = path.relative_to(root).as_posix(), name["visit"]
    word = fold(chat.diagnosis or "")
    if not word and fold(name["group"]) == "control":
        word = "control"
    if word in STATES:
        attribute, value = STATES[word]
        rows.observe(speaker, attribute, value, source="clinician", session_id=visit)
    else:
        rows.reject(place, f"diagnosis {chat.diagnosis or 'not stated'}: says neither Alzheimer's nor control")
    rows.observe(speaker, "diagnosis_text", chat.diagnosis, source="clinician", session_id=visit)
    score = talkbank.mmse(chat.mmse, place, rows)
    rows.observe(speaker, "mmse", score, source="scale", instrument="MMSE", unit="points", session_id=visit)
    for start, end in turns:
        rows.utterance(
            place,
            speaker,
            language="en",
            speech_task="spontaneous",
            session_id=visit,
            start_s=start,
            end_s=end,
            age=chat.age,
        )


def _schooling(root: Path, rows: Rows) -> dict[int, float]:
    """Years of schooling by participant, from the workbook where it is there and has the columns id and educ."""
    book = next((path for path in sorted(root.rglob("*.xlsx")) if fold(path.name) == "pitt-data.xlsx"), None)
    if book is None:
        return {}
    try:
        lines = read_table(book, ("id", "educ"), sheet="data", header_row=2)
    except RecipeError as error:
        rows.reject(book.relative_to(root).as_posix(), f"no years of schooling: {str(error).partition(': ')[2]}")
        return {}
    found: dict[int, float] = {}
    for line in lines:
        participant, years = number(line["id"]), number(line["educ"])
        if participant is not None and years is not None and 0 <= years <= 40:
            found.setdefault(int(participant), years)
    return found


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of Pitt: eight people, of whom two came twice, and every trap named above."""
    people = talkbank.cast(voices)[:8]
    for index, voice in enumerate(people):
        participant, group = 901 + index, "Dementia" if voice.traits else "Control"
        about = (group, "ProbableAD", 17 + index) if voice.traits else (group, "Control", 29)
        visits = {0: about}
        if index == 3:
            visits[2] = ("Dementia", "ProbableAD", 12)  # trap: several visits, not numbered one after the other
        if index == 2:
            visits[1] = ("Dementia", "MCI", 25)  # trap: a control who fell ill, and dementia that is not Alzheimer's
        for visit, (folder, word, score) in visits.items():
            wave, turns = talkbank.interview(voice, voices)
            name = f"{participant}-{visit}"
            voices.write(root / "English" / "Pitt" / folder / "cookie" / f"{name}.mp3", wave, talkbank.RATE)
            lines = talkbank.chat(turns, f"{voice.age + visit};|{voice.sex}|{word}||Participant|{score}")
            talkbank.write_lines(root / "Transcripts" / folder / "cookie" / f"{name}.cha", lines)
    wave = voices.say(people[1], "cat, dog, horse", seconds=2.0)
    dementia = root / "English" / "Pitt" / "Dementia"
    voices.write(dementia / "fluency" / "902-0.mp3", wave, talkbank.RATE)  # trap: a task of one group alone
    voices.write(dementia / "cookie" / "999-0.mp3", wave, talkbank.RATE)  # trap: no transcript
    _write_book(root / "PItt-data.xlsx", [[901 + index, 8 + index] for index in range(len(people))])


def _write_book(path: Path, lines: list[list[int]]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # or no two miniatures were the same bytes
        sheet = book.add_worksheet("data")
        for line, cells in enumerate([["Pitt"], ["demographics"], ["id", "educ "], *lines]):
            sheet.write_row(line, 0, cells)


CORPUS = Corpus(
    name="pitt",
    title="Pitt corpus of DementiaBank",
    homepage="https://talkbank.org/dementia/access/English/Pitt.html",
    citation="Becker, Boller, Lopez, Saxton, McGonigle: The natural history of Alzheimer's disease: description of "
    "study cohort and accuracy of diagnosis. Archives of Neurology 51, 1994.",
    licence=talkbank.LICENCE,
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="alzheimer",
    traps={
        "visits-of-one-participant": "The first three digits are the participant, the last one the visit.",
        "dementia-is-not-alzheimers": "The folder Dementia also holds MCI, vascular and other dementia.",
        "control-who-falls-ill": "A person may be a control at one visit and ill at the next: states are a visit's.",
        "tasks-of-one-group": "Fluency, recall and sentence were recorded of Dementia alone: left out.",
        "interviewer": "The interviewer speaks too: turns of PAR come from the transcripts.",
        "workbook": "The workbook has its header in the third row, a misspelt name and undocumented columns.",
        "same-people": "ADReSS 2020 and ADReSSo 2021 hold the same people under other ids.",
    },
)
