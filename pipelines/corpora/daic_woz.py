"""DAIC-WOZ (English, depression): interviews by the virtual agent Ellie, PHQ-8 scores, AVEC 2017 splits.

189 sessions, one a person, ids 300-492 (342, 394, 398 and 460 do not exist). What the release asks of a
reader:

- ``<id>_TRANSCRIPT.csv`` is separated by **tabs**. Only the turns of ``Participant`` are used: Ellie's
  prompts predict the label by themselves (Burdisso et al. 2024). Turns start at "hi i'm ellie", last a second
  or more, are not sync marks or scrubbed entries, and lie outside two known interruptions. Four transcripts
  run ahead of their audio by a known offset. 451, 458 and 480 hold no row of Ellie: their turns start at once.
- **PHQ8_Binary is never the label** (it is wrong for 409): the warehouse cuts the PHQ-8 total. A total that
  disagrees with its eight items is not taken; one that lacks a single item is (319 lacks PHQ8_Sleep).
- **Gender is coded 0 = female, 1 = male.** The owners do not publish the code and two public readers
  contradict each other. E-DAIC says in words that 302 is a man and 303 a woman: where the tables disagree
  with that under this code, nobody's sex is taken. Compare the median F0 of the two codes as well when the
  real data arrive.
- The test labels came later, in ``full_test_split.csv`` with other column names. No age is released.
- E-DAIC holds the same people: they share their ``person_id``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora import _daic
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._daic import SHORTEST_TURN_S
from pipelines.corpora._read import Row, fold, number, read_table
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

SEX = {0.0: "female", 1.0: "male"}
ITEMS = tuple(
    f"phq8_{item}"
    for item in (
        "nointerest",
        "depressed",
        "sleep",
        "tired",
        "appetite",
        "failure",
        "concentrating",
        "moving",
    )
)
AUDIO = re.compile(r"^(?P<id>[34]\d\d)_AUDIO\.wav$")
TRAIN = "train_split_Depression_AVEC2017.csv"
DEV = "dev_split_Depression_AVEC2017.csv"
TEST = "test_split_Depression_AVEC2017.csv"  # without labels
TEST_LABELS = "full_test_split.csv"

# Seconds to add to the times of a transcript (gh:adbailey1/daic_woz_process).
OFFSET_S = {"318": 34.319917, "321": 3.8379167, "341": 6.1892, "362": 16.8582}
NOT_SPEECH = re.compile(r"^(?:[<\[]sync(?:h|ing|hing)?[>\]]|scrubbed_entry)$", re.IGNORECASE)


@dataclass
class _Person:
    split: str
    sex: str | None
    phq8: float | None
    place: str  # file:row


def scan(root: Path) -> Tables:
    """Read DAIC-WOZ below ``root``: one folder a session, the split tables beside them.

    Raises:
        RecipeError: no session or split table is found, or a table lacks a column.
    """
    rows = Rows(CORPUS.name)
    people = _people(root, rows)
    audio = sorted(path for path in root.rglob("*_AUDIO.wav") if not path.name.startswith("._"))
    if not audio:
        raise RecipeError(f"{root}: no 300_P/300_AUDIO.wav or the like found; unpack the session archives here")
    for path in audio:
        place = path.relative_to(root).as_posix()
        name = AUDIO.match(path.name)
        if name is None:
            rows.reject(place, "name is not <participant 300-492>_AUDIO.wav")
            continue
        person = people.pop(name["id"], None)
        if person is None:
            rows.reject(place, "participant is in none of the split tables, or here twice")
            continue
        turns = _turns(name["id"], path.with_name(f"{name['id']}_TRANSCRIPT.csv"), root, rows)
        if not turns:
            continue
        speaker = rows.speaker(name["id"], sex=person.sex, person_id=_daic.person_id(name["id"]))
        rows.observe(speaker, "phq8", person.phq8, source="self-report", instrument="PHQ-8", unit="points")
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
    for person in people.values():
        rows.reject(person.place, "row without audio")
    return rows.tables()


def _people(root: Path, rows: Rows) -> dict[str, _Person]:
    tables = {name: next(iter(sorted(root.rglob(name))), None) for name in (TRAIN, DEV, TEST, TEST_LABELS)}
    absent = [name for name in (TRAIN, DEV) if tables[name] is None]
    if absent or (tables[TEST] is None and tables[TEST_LABELS] is None):
        raise RecipeError(f"{root}: split table {', '.join(absent) or f'{TEST} or {TEST_LABELS}'} not found")
    if tables[TEST_LABELS] is None:
        rows.reject(TEST_LABELS, "not found: the test participants stay without PHQ-8")
    people: dict[str, _Person] = {}
    for name, split, score in (
        (TRAIN, "train", "phq8_score"),
        (DEV, "dev", "phq8_score"),
        (TEST_LABELS, "test", "phq_score"),
        (TEST, "test", None),
    ):
        table = tables[name]
        if table is None:
            continue
        place = table.relative_to(root).as_posix()
        for row in read_table(table, ("participant_id", "gender", *([score] if score else []))):
            _add(people, row, split, score, f"{place}:{row['_row']}", rows)
    _check_sex_code(people, rows)
    return people


def _check_sex_code(people: dict[str, _Person], rows: Rows) -> None:
    """Take nobody's sex where the code says the opposite of what is known of two people."""
    for identity, sex in _daic.SEX_IN_WORDS.items():
        if identity in people and people[identity].sex not in (None, sex):
            rows.reject(people[identity].place, f"{identity} is {sex}: gender is coded the other way, no sex is taken")
            for person in people.values():
                person.sex = None
            return


def _add(people: dict[str, _Person], row: Row, split: str, score: str | None, place: str, rows: Rows) -> None:
    identity = number(row["participant_id"])
    if identity is None or not 300 <= identity <= 492:
        rows.reject(place, "participant_id is not a number from 300 to 492")
        return
    code = number(row["gender"])
    sex = None if code is None else SEX.get(code)
    if sex is None:
        rows.reject(place, "gender is neither 0 nor 1: sex is left unknown")
    person = _Person(split, sex, _phq8(row, score, place, rows) if score else None, place)
    before = people.setdefault(f"{identity:.0f}", person)
    if before is person:
        return
    if before.split != split or score is not None:
        rows.reject(place, "participant is in an earlier row too: that one is taken")
    elif before.sex != sex:
        rows.reject(place, f"gender contradicts {before.place}: sex is left unknown")
        before.sex = None


def _phq8(row: Row, column: str, place: str, rows: Rows) -> float | None:
    items = [number(row.get(item)) for item in ITEMS]
    binary = number(row.get(column.replace("_score", "_binary")))
    return _daic.phq8(number(row[column]), items, binary, place, rows)


def _turns(identity: str, transcript: Path, root: Path, rows: Rows) -> list[tuple[float, float]]:
    place = transcript.relative_to(root).as_posix()
    if not transcript.is_file():
        rows.reject(place, "no transcript: the participant's turns are unknown")
        return []
    columns = ("start_time", "stop_time", "speaker", "value")
    try:
        lines = read_table(transcript, columns, separator="\t", quoted=False)
    except RecipeError as error:
        rows.reject(place, f"cannot be read, the session is left out: {error}".replace(str(root), "."))
        return []
    begin = _interview_start(lines)
    offset = OFFSET_S.get(identity, 0.0)
    turns = []
    for line in lines:
        if fold(line["speaker"] or "") != "participant":
            continue
        start, stop = number(line["start_time"]), number(line["stop_time"])
        if start is None or stop is None or stop <= start:
            rows.reject(f"{place}:{line['_row']}", "start_time and stop_time are not two rising numbers")
            continue
        usable = not NOT_SPEECH.match(line["value"] or "") and not _daic.interrupted(identity, start, stop)
        if usable and start >= begin and stop - start >= SHORTEST_TURN_S:
            turns.append((round(start + offset, 3), round(stop + offset, 3)))
    if not turns:
        rows.reject(place, f"no turn of the participant of {SHORTEST_TURN_S:g} s or more")
    return list(dict.fromkeys(turns))


def _interview_start(lines: list[Row]) -> float:
    """Where chatter ends and the interview begins; three transcripts hold no row of Ellie: their start."""
    ellie = [line for line in lines if fold(line["speaker"] or "") == "ellie"]
    greeting = [line for line in ellie if "hi i'm ellie" in (line["value"] or "").casefold()]
    return next((number(line["start_time"]) or 0.0 for line in greeting or ellie), 0.0)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of DAIC-WOZ: one short interview a made-up participant; half score 10 or more."""
    people = _daic.made_up_people(voices)
    header = f"Participant_ID,PHQ8_Binary,PHQ8_Score,Gender,{','.join(_owners_items())}"
    tables = {
        TRAIN: [header],
        DEV: [header],
        TEST: ["participant_ID,Gender"],
        TEST_LABELS: ["Participant_ID,PHQ_Binary,PHQ_Score,Gender"],
    }
    seen: Counter[tuple[float, str]] = Counter()
    for person in people:
        identity, voice, score = person.identity, person.voice, person.score
        strength = voice.strength("depression")
        binary = 0 if identity == "409" else int(score >= 10)  # trap
        gender = int(voice.sex == "male")
        cells = [str(item) for item in person.items]
        if identity == "319":
            cells[2] = ""  # trap: one item was not entered; the total stands
        seen[strength, voice.sex] += 1
        if identity in _daic.QUIRKY or seen[strength, voice.sex] % 4 in (0, 1):
            tables[TRAIN].append(f"{identity},{binary},{score},{gender},{','.join(cells)}")
        elif seen[strength, voice.sex] % 4 == 2:
            tables[DEV].append(f"{identity},{binary},{score},{gender},{','.join(cells)}")
        else:
            tables[TEST].append(f"{identity},{gender}")
            tables[TEST_LABELS].append(f"{identity},{binary},{score},{gender}")
        _interview(root, identity, voice, voices)
    # traps: a row without audio, junk at the end, audio without a row, a Mac's leftovers
    tables[TRAIN].append("492,1,13,0,2,1,2,1,3,2,1,1")
    tables[TRAIN] += [",,,,,,,,,,,", "x,,,,,,,,,,,"]
    for name, lines in tables.items():
        (root / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    orphan = root / "444_P" / "444_AUDIO.wav"
    voices.write(orphan, voices.say(people[0].voice, seconds=2.5, take=7), 16000)
    voices.write(orphan.with_name("._444_AUDIO.wav"), np.zeros(80, np.float32), 16000)


def _owners_items() -> list[str]:
    words = ("NoInterest", "Depressed", "Sleep", "Tired", "Appetite", "Failure", "Concentrating", "Moving")
    return [f"PHQ8_{word}" for word in words]


def _interview(root: Path, identity: str, voice: Voice, voices: Voices) -> None:
    rate = 16000
    ellie = replace(voice, seed="ellie", sex="female", age=30, traits=())
    turns = [
        ("Participant", voice, 0.0, "<synch>"),
        ("Participant", voice, 1.1, "is it on"),  # chatter before the interview
        ("Ellie", ellie, 1.5, "hi i'm ellie thanks for coming in today"),
        ("Participant", voice, 3.0, "i grew up near the sea"),
        ("Participant", voice, 0.5, "good"),
        ("Participant", voice, 3.2, 'she said "go" and i went'),
        ("Participant", voice, 0.0, "scrubbed_entry"),
    ]
    if identity == "451":  # no row of Ellie in this transcript
        turns = [turn for turn in turns if turn[0] != "Ellie"]
    offset = OFFSET_S.get(identity, 0.0)
    clock = offset
    parts = [np.zeros(round(offset * rate), np.float32)]
    lines = ["start_time\tstop_time\tspeaker\tvalue"]
    for take, (who, speaker, seconds, value) in enumerate(turns):
        wave = np.zeros(round(1.2 * rate), np.float32)
        if seconds:
            wave = voices.say(speaker, seconds=seconds, rate=rate, take=take)[: round(seconds * rate)]
        start, clock = clock - offset, clock + len(wave) / rate
        lines.append(f"{start:.3f}\t{clock - offset:.3f}\t{who}\t{value}")
        parts += [wave, np.zeros(rate // 5, np.float32)]
        clock += 0.2
    if identity in _daic.INTERRUPTED_S:
        lines.append("400.000\t404.000\tParticipant\tsomeone else is in the room")
    folder = root / f"{identity}_P"
    voices.write(folder / f"{identity}_AUDIO.wav", np.concatenate(parts), rate)
    (folder / f"{identity}_TRANSCRIPT.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


CORPUS = Corpus(
    name="daic_woz",
    title="DAIC-WOZ: Distress Analysis Interview Corpus, Wizard of Oz",
    homepage="https://dcapswoz.ict.usc.edu",
    citation="Gratch et al.: The Distress Analysis Interview Corpus of human and computer interviews. LREC 2014.",
    licence=Licence(
        name="DAIC-WOZ end user licence agreement (USC ICT)",
        url="https://dcapswoz.ict.usc.edu",
        access="agreement",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("evaluate",),
    scan=scan,
    miniature=miniature,
    label="depression",
    official_splits=True,
    traps={
        "tab-separated-transcript": "The transcripts are named .csv and separated by tabs.",
        "lone-quotation-mark": "The transcripts are written without quoting and hold lone quotation marks.",
        "interviewer": "Ellie's voice and prompts are in every recording, and the prompts predict the label.",
        "chatter-before-greeting": "Participant and staff chat before Ellie's first row.",
        "no-row-of-ellie": "Three transcripts (451, 458, 480) hold no row of Ellie.",
        "sync-tokens": "Rows that say <sync>, <synch>, [syncing] or scrubbed_entry hold no speech.",
        "transcript-offset": "The transcripts of 318, 321, 341 and 362 run ahead of their audio.",
        "interruptions": "Other people speak for a while in 373 and 444.",
        "wrong-binary": "PHQ8_Binary of 409 is 0 although the total is 10.",
        "missing-item": "PHQ8_Sleep of 319 is empty although the total stands.",
        "sex-code": "Gender is an undocumented code, and two public readers contradict each other.",
        "test-columns": "The test tables write participant_ID and PHQ_Score where the others write PHQ8_Score.",
        "junk-rows": "Some copies of the split tables end in blank or junk lines.",
        "missing-sessions": "Four ids do not exist, and rows may be without audio and audio without a row.",
        "apple-double": "The archives hold ._ files that are no recordings.",
        "shared-people": "E-DAIC holds the same people.",
    },
)
