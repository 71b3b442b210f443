"""Androids Corpus: Italian reading and interviews of people with depression and healthy controls.

118 participants (Tao, Esposito, Vinciarelli, Interspeech 2023): 112 read, 116 were interviewed (874 clips), 110
did both. Everything known about a speaker stands in the file name, ``01_CF56_1.wav``: number, P(atient) or
C(ontrol), sex, age, education. The diagnosis is a psychiatrist's; there is no score of any questionnaire.

::

    Androids-Corpus/Reading-Task/audio/{HC,PT}/01_CF56_1.wav         the level "audio" is not always there
    Androids-Corpus/Interview-Task/audio/{HC,PT}/01_CF56_1.wav       whole interview, BOTH voices
    Androids-Corpus/Interview-Task/audio_clip/01_CF56_1/01_CF56_1_4.wav   4th turn of the participant
    Androids-Corpus/fold-lists.csv   Androids-Corpus/interview_timedata.csv

What to know:

* A whole interview also holds the interviewer, so it is never an utterance: the clips are, and where a speaker
  has no usable clip the turns of ``interview_timedata.csv`` are cut from it.
* ``interview_timedata.csv`` has no header: name, start, end, start, end, ... in seconds, as many as there are turns.
* The number restarts in each group, so the speaker is number and group: ``01_C``. All files of a speaker say the
  same sex, age and education; one that does not is rejected.
* Education is 1 (primary school) to 4 (university), ``x`` where not given (``X`` in the owners' README). The owners
  name the ends only, so 2 and 3 stay the owners' levels and fold to nothing.
* The owners' folds of the two tasks disagree for 85 of 110 shared speakers, so they are no split.
  ``fold-lists.csv`` (``fold-list.csv`` in the README; byte order mark, two header rows, ids in apostrophes, ragged)
  only tells which recordings ought to be there.
* Clips are numbered 1 to 10 and more: their order is that of the number, not of the letters. Some are shorter
  than 5 s; they stay.
* The root folder is sometimes doubled. The rate is not the same everywhere: it is read from the header.
* 2.6 women to a man; ages 19 to 71. Report by sex and age.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import folders, or_reject, table_rows, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

NAME = re.compile(
    r"(?P<stem>(?P<number>\d{2,3})_(?P<group>[PC])(?P<sex>[MF])(?P<age>\d{2})_(?P<education>[1-4xX]))"
    r"(?:_(?P<turn>\d{1,2}))?"
)
FOLDER_GROUP = {"HC": "C", "PT": "P"}
EDUCATION = {"1": "primary school", "2": "level 2 of 4", "3": "level 3 of 4", "4": "university"}
Turns = list[tuple[float, float]]


def scan(root: Path) -> Tables:
    """Read the corpus below ``root``; see the module docstring for the layout.

    Raises:
        RecipeError: neither ``Reading-Task`` nor ``Interview-Task`` is there.
    """
    home = _home(root)
    rows = Rows("androids")
    reader = _Reader(rows, root)
    for path in visible(home.glob("Reading-Task/**/*.wav")):
        reader.recording(path, "read", group_folder=path.parent.name)
    clips = home / "Interview-Task" / "audio_clip"
    for path in sorted(visible(clips.glob("**/*.wav")), key=_turn_order):
        reader.recording(path, "spontaneous", stem=path.parent.name)
    reader.whole_interviews(home)
    reader.fold_lists(home)
    return rows.tables()


def _home(root: Path) -> Path:
    for folder in folders(root):
        if (folder / "Reading-Task").is_dir() or (folder / "Interview-Task").is_dir():
            return folder
    raise RecipeError(
        f"{root}: found neither Reading-Task/ nor Interview-Task/, here or in Androids-Corpus/: "
        "unpack Androids-Corpus.zip into this folder"
    )


def _turn_order(path: Path) -> tuple[str, int, str]:
    """Clips in the order they were spoken: by the number at the end, not by the letters."""
    last = path.stem.rpartition("_")[2]
    return path.parent.name, int(last) if last.isdecimal() else 0, path.name


class _Reader:
    """Adds recordings to ``rows`` and remembers which speakers and recordings it has met."""

    def __init__(self, rows: Rows, root: Path) -> None:
        self.rows = rows
        self.root = root
        self.stems: dict[str, str] = {}  # "01_C" -> "01_CF56_1"
        self.heard: dict[str, set[str]] = {"read": set(), "spontaneous": set()}  # task -> stems

    def recording(
        self,
        path: Path,
        speech_task: str,
        *,
        group_folder: str | None = None,
        stem: str | None = None,
        turns: Turns | None = None,
    ) -> None:
        """Add the utterance or, with ``turns``, the utterances of one file, and what its name says."""
        where = path.relative_to(self.root).as_posix()
        name = NAME.fullmatch(path.stem)
        if name is None:
            self.rows.reject(where, "the name is not NN_[PC][MF]AGE_EDUCATION[_TURN].wav")
        elif group_folder is not None and FOLDER_GROUP.get(group_folder, name["group"]) != name["group"]:
            self.rows.reject(where, f"the name says group {name['group']}, the folder {group_folder}")
        elif stem is not None and name["stem"] != stem:
            self.rows.reject(where, "the clip lies in another speaker's folder")
        elif self.stems.setdefault(f"{name['number']}_{name['group']}", name["stem"]) != name["stem"]:
            self.rows.reject(where, "sex, age or education differ from another file of this speaker")
        else:
            speaker_id = self._speaker(name)
            pieces: Sequence[tuple[float | None, float | None]] = turns or [(None, None)]
            for start_s, end_s in pieces:
                self.rows.utterance(
                    where,
                    speaker_id,
                    language="it",
                    speech_task=speech_task,
                    start_s=start_s,
                    end_s=end_s,
                    age=float(name["age"]),
                )
            self.heard[speech_task].add(name["stem"])

    def _speaker(self, name: re.Match[str]) -> str:
        owner_id = f"{name['number']}_{name['group']}"
        known = f"{self.rows.corpus}:{owner_id}" in self.rows.speakers
        speaker_id = self.rows.speaker(owner_id, sex=name["sex"])
        if not known:
            patient = name["group"] == "P"
            self.rows.observe(speaker_id, "depression", "present" if patient else "absent", source="clinician")
            self.rows.observe(speaker_id, "healthy", None if patient else "present", source="group")
            self.rows.observe(speaker_id, "education", EDUCATION.get(name["education"]), source="self-report")
        return speaker_id

    def whole_interviews(self, home: Path) -> None:
        """Cut the participant's turns out of the interviews that have no usable clip."""
        clipped = set(self.heard["spontaneous"])
        turns = self._turns(home / "interview_timedata.csv")
        files = [path for path in visible(home.glob("Interview-Task/**/*.wav")) if "audio_clip" not in path.parts]
        interviews = {path.stem: path for path in files}
        for stem, path in interviews.items():
            if stem in clipped:
                continue
            if stem in turns:
                self.recording(path, "spontaneous", group_folder=path.parent.name, turns=turns[stem][1])
            else:
                where = path.relative_to(self.root).as_posix()
                self.rows.reject(where, "no clips and no turns in interview_timedata.csv: it holds the interviewer")
        for stem, (where, _) in turns.items():
            if stem not in interviews and stem not in clipped:
                self.rows.reject(where, "no audio for this interview")

    def _turns(self, path: Path) -> dict[str, tuple[str, Turns]]:
        """Turns in seconds of each interview, with the row they stand in: stem,start,end,start,end,..."""
        turns: dict[str, tuple[str, Turns]] = {}
        for where, cells in self._lines(path):
            stem = cells[0].strip("'").removesuffix(".wav")
            try:
                times = [round(float(cell), 3) for cell in cells[1:] if cell]
            except ValueError:
                self.rows.reject(where, "a time is not a number of seconds")
                continue
            pairs = list(dict.fromkeys(zip(times[::2], times[1::2], strict=False)))
            if not pairs or len(times) % 2 or not all(0 <= start < end < math.inf for start, end in pairs):
                self.rows.reject(where, "the times are not pairs of start and a later end")
            elif stem in turns:
                self.rows.reject(where, f"the turns of this interview stand in {turns[stem][0]} already")
            else:
                turns[stem] = (where, pairs)
        return turns

    def fold_lists(self, home: Path) -> None:
        """Reject the recordings that the owners' fold lists name and that are not there."""
        for path in visible(home.glob("fold-list*.csv")):
            interview = 5  # the column from which on the folds are those of the interviews
            for where, cells in self._lines(path):
                interview = next((i for i, cell in enumerate(cells) if cell.casefold() == "interview"), interview)
                for column, cell in enumerate(cells):
                    task = "read" if column < interview else "spontaneous"
                    stem = cell.strip("'")
                    if NAME.fullmatch(stem) and stem not in self.heard[task]:
                        self.rows.reject(f"{where}, column {column + 1}", f"listed, but no {task} recording is usable")

    def _lines(self, path: Path) -> Iterator[tuple[str, list[str]]]:
        """Rows of a side file as ("file:row", stripped cells); none where the file is absent."""
        if path.is_file():
            name = path.relative_to(self.root).as_posix()
            for number, cells in enumerate(or_reject(self.rows, name, table_rows(path)), start=1):
                if any(cell.strip() for cell in cells):
                    yield f"{name}:{number}", [cell.strip() for cell in cells]


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature: reading and two turns a speaker, of controls and of mild to severe depression."""
    home = root / "Androids-Corpus"
    conditions: Sequence[Mapping[str, float]] = ({}, {"depression": 0.1}, {"depression": 0.5}, {"depression": 0.85})
    people = voices.cast("androids", 48, "it", conditions, ages=(19, 85))
    numbers = {"C": 0, "P": 0}
    timedata, folds = [], []
    for place, person in enumerate(people):
        group = "P" if person.strength("depression") >= 0.2 else "C"
        numbers[group] += 1  # trap: 01 is a control and another 01 a patient
        education = "x" if place == 2 else str(1 + place % 4)  # trap: x is not given
        stem = f"{numbers[group]:02d}_{group}{person.sex[0].upper()}{person.age:02d}_{education}"
        folder = {"C": "HC", "P": "PT"}[group]
        folds.append(stem)
        read = voices.say(person, take=0, rate=44100)
        voices.write(home / "Reading-Task" / "audio" / folder / f"{stem}.wav", read, 44100)
        clips = home / "Interview-Task" / "audio_clip" / stem
        if place in (5, 22):  # trap: no clips, so the turns are cut out of the whole interview
            wave, times = _interview(voices, person, voices.cast("androids interviewer", 8, "it")[0])
            voices.write(home / "Interview-Task" / "audio" / folder / f"{stem}.wav", wave, 16000)
            timedata.append(",".join([stem, *(f"{time:.2f}" for time in times)]))
        else:
            for turn, take in ((9, 1), (10, 2)):  # trap: sorted by letters, 10 comes before 9
                voices.write(clips / f"{stem}_{turn}.wav", voices.say(person, take=take), 16000)
        if place == 22:
            clips.mkdir(parents=True)  # trap: a folder of clips that holds none
        if place == 0:  # trap: a whole interview beside its clips
            whole = home / "Interview-Task" / "audio" / folder / f"{stem}.wav"
            voices.write(whole, voices.say(person, take=1, seconds=2.0), 16000)
            whole.with_name(f"._{whole.name}").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin

    orphan = voices.say(people[0], take=3)
    voices.write(home / "Interview-Task" / "audio" / "PT" / "00_PF44_3.wav", orphan, 16000)  # no clips, no turns
    voices.write(home / "Reading-Task" / "audio" / "HC" / "test recording.wav", orphan, 16000)
    timedata.append("00_CM60_2,0.50,3.10,4.00,7.20")  # a row without audio
    (home / "interview_timedata.csv").write_text("\n".join(timedata) + "\n", encoding="utf-8-sig")
    _write_folds(home / "fold-lists.csv", [*folds, "00_PF31_4"])  # the last was never recorded
    (home / "Androids.conf").write_text("; openSMILE configuration of the owners' baseline\n", encoding="utf-8")


def _interview(voices: Voices, person: Voice, asker: Voice) -> tuple[np.ndarray, list[float]]:
    """One question and two answers, and the start and end of each answer in seconds."""
    question, first, second = (
        voices.say(asker, take=0, seconds=2.0),
        voices.say(person, take=1),
        voices.say(person, take=2),
    )
    gap = np.zeros(8000, dtype=np.float32)
    wave = np.concatenate([question, gap, first, gap, second])
    start = len(question) + len(gap)
    again = start + len(first) + len(gap)
    marks = [start, start + len(first), again, len(wave)]
    return wave, [mark / 16000 for mark in marks]


def _write_folds(path: Path, stems: list[str]) -> None:
    """The owners' list: five columns a task, two empty ones between, ids in apostrophes, ragged ends."""
    lines = ["Read,,,,,,,Interview,,,,", "fold1,fold2,fold3,fold4,fold5,,,fold1,fold2,fold3,fold4,fold5"]
    for first in range(0, len(stems), 5):
        five = [f"'{stem}'" for stem in stems[first : first + 5]]
        cells = five + [""] * (5 - len(five))
        lines.append(",".join([*cells, "", "", *reversed(cells)]))  # the folds of the two tasks disagree
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


CORPUS = Corpus(
    name="androids",
    title="Androids Corpus",
    homepage="https://github.com/androidscorpus/data",
    citation=(
        "Tao, Esposito, Vinciarelli: The Androids Corpus: A New Publicly Available Benchmark for Speech Based "
        "Depression Detection. Interspeech 2023."
    ),
    licence=Licence(
        name="Academic, non-commercial research; no further distribution",
        url="https://github.com/androidscorpus/data",
        access="open",
        may_train=True,
        may_redistribute=False,
        consent="not stated in the release",
    ),
    languages=("it",),
    roles=("train", "evaluate"),
    scan=scan,
    miniature=miniature,
    label="depression",
    no_inputs={r"(^|/)Interview-Task/audio/": "a whole interview, with the interviewer's voice; its clips are read"},
    traps={
        "interviewer-in-whole-interview": "Interview-Task/audio holds both voices: only the clips, or turns cut by "
        "interview_timedata.csv, are utterances.",
        "timedata-without-header": "interview_timedata.csv has no header and as many pairs of seconds as there are "
        "turns; times that are no pairs are rejected by row.",
        "number-restarts-in-each-group": "01_C and 01_P are two people: the speaker is number and group.",
        "education-x": "Education is x (README: X) where it was not given; only 1 and 4 have a name.",
        "folds-of-tasks-disagree": "A speaker is in another fold in the other task, so the folds are no split.",
        "fold-lists-format": "fold-lists.csv has a byte order mark, two header rows, ids in apostrophes, ragged ends.",
        "clip-order": "Clips are numbered: 10 follows 9, although it does not in the alphabet.",
        "short-clips": "Some clips are shorter than 5 s; they stay.",
        "stem-disagrees": "Group folder, clip folder and the other files of a speaker must say the same.",
        "layout-variants": "The root folder is sometimes doubled and the level audio/ missing.",
        "mixed-sample-rates": "The rate differs between files: it is read from the header.",
        "mac-twins": "Files named ._* are no recordings.",
    },
)
