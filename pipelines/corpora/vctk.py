"""VCTK 0.92 (English accents): 110 speakers read sentences before two microphones, 48 kHz FLAC.

- ``speaker-info.txt`` is separated by irregular blanks: "Australian English" and "NewZealand English" are two
  words, regions hold blanks or are empty, and a comment in brackets ends some lines.
- Both microphones hear the same utterance. One is kept: ``mic1``, which every speaker has (``mic2`` failed
  for two); ``mic2`` stands in where ``mic1`` is missing.
- The accent is the owners' word ("Unknown" is no accent); the language is English for all.
- No official split. Sentences 1-24 are the same for everybody. Ages are 18 to 38: no task of age.
- Release 0.80 (``wav48/p225/p225_001.wav``, ids in the table without ``p``) is read too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, fold, number
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "speaker-info.txt"
COLUMNS = ("id", "age", "gender", "accents")
FILE = re.compile(r"^(?P<speaker>[ps]\d+)_(?P<utterance>\d+)(?:_(?P<mic>mic[12]))?\.(?:flac|wav)$")
AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48")
TWO_WORD_ACCENTS = frozenset({"Australian English", "NewZealand English"})


@dataclass(frozen=True)
class _Speaker:
    place: str  # file:line
    sex: str | None
    age: float | None
    accent: str | None


def scan(root: Path) -> Tables:
    """Read VCTK: ``speaker-info.txt`` beside ``wav48_silence_trimmed`` (release 0.92) or ``wav48`` (0.80).

    Raises:
        RecipeError: the table or the audio folder is missing, or the table lacks a column.
    """
    rows = Rows(CORPUS.name)
    table, audio = _layout(root)
    people = _people(table, root, rows)
    for (identity, _), path in _recordings(audio, root, rows).items():
        person = people.get(identity)
        if person is None:
            rows.reject(path.relative_to(root).as_posix(), f"speaker is not in {TABLE}")
            continue
        name = FILE.match(path.name)
        rows.utterance(
            path.relative_to(root).as_posix(),
            rows.speaker(identity, sex=person.sex, person_id=f"vctk:{identity}"),
            language="en",
            speech_task="read",
            device=None if name is None else name["mic"],
            age=person.age,
        )
    for identity, person in people.items():
        speaker = f"{CORPUS.name}:{identity}"
        if speaker in rows.speakers:
            rows.observe(speaker, "accent", person.accent, source="owner")
        else:
            rows.reject(person.place, "row without audio")
    return rows.tables()


def _layout(root: Path) -> tuple[Path, Path]:
    for table in [*root.glob(TABLE), *sorted(root.glob(f"*/{TABLE}"))]:
        for folder in AUDIO_FOLDERS:
            if (table.parent / folder).is_dir():
                return table, table.parent / folder
    raise RecipeError(f"{root}: no {TABLE} beside {' or '.join(AUDIO_FOLDERS)}; unpack VCTK-Corpus-0.92.zip here")


def _people(table: Path, root: Path, rows: Rows) -> dict[str, _Speaker]:
    lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    names = fold(lines[0]).split()
    absent = [name for name in COLUMNS if name not in names]
    if absent or tuple(names[:4]) != COLUMNS:
        wrong = f"no column {', '.join(absent)}" if absent else "columns are not ID AGE GENDER ACCENTS in order"
        raise RecipeError(f"{table}: {wrong}; found {lines[0]!r}")
    people: dict[str, _Speaker] = {}
    for number_, line in enumerate(lines[1:], start=2):
        place = f"{table.relative_to(root).as_posix()}:{number_}"
        words = re.sub(r"\(.*\)?\s*$", "", line).split()
        if not line.strip():
            continue
        if len(words) < 3:
            rows.reject(place, "line has no ID, AGE and GENDER")
            continue
        identity = f"p{words[0]}" if words[0].isdecimal() else words[0]
        two = " ".join(words[3:5])
        accent = two if two in TWO_WORD_ACCENTS else "".join(words[3:4])
        people[identity] = _Speaker(place, cell(words[2]), number(words[1]), cell(accent))
    return people


def _recordings(audio: Path, root: Path, rows: Rows) -> dict[tuple[str, str], Path]:
    """One file for each (speaker, utterance): the first microphone that heard it."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(audio.glob("*/*")):  # mic1 sorts before mic2
        if path.name.startswith("._") or path.suffix not in {".flac", ".wav"}:
            continue
        name = FILE.match(path.name)
        if name is None or name["speaker"] != path.parent.name:
            rows.reject(path.relative_to(root).as_posix(), "name is not <speaker>/<speaker>_<number>[_mic1|_mic2]")
        else:
            found.setdefault((name["speaker"], name["utterance"]), path)
    return found


ACCENTS = ("English", "Scottish", "American", "NorthernIrish", "Australian English", "Unknown")
REGIONS = ("Southern  England", "Fife", "", "Belfast", "Sydney", "France (mic2 files unavailable)")


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VCTK 0.92: two or three sentences a made-up speaker, mic2 for one of them."""
    people = voices.cast(CORPUS.name, 48, "en")
    table = ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS "]
    audio = root / AUDIO_FOLDERS[0]
    for index, voice in enumerate(people):
        identity = "s9" if index == 7 else f"p{901 + index}"
        accent = index // 4 % len(ACCENTS)  # each has both sexes and two ages
        sex = voice.sex[0].upper()
        table.append(f"{identity}  {voice.age}  {sex}    {ACCENTS[accent]}  {REGIONS[accent]}".rstrip())
        for take in range(2 + index % 2):
            wave = voices.say(voice, seconds=3.0, rate=48000, take=take)
            stem = audio / identity / f"{identity}_{take + 1:03d}"
            voices.write(stem.with_name(f"{stem.name}_mic1.flac"), wave, 48000)
            if take == 1 and "mic2" not in REGIONS[accent]:
                voices.write(stem.with_name(f"{stem.name}_mic2.flac"), 0.5 * wave, 48000)
    table += ["p998  23  F    English    Southern  England", "p997"]  # a row without audio; half a row
    (root / TABLE).write_text("\n".join(table) + "\n", encoding="utf-8")
    short = np.zeros(4800, np.float32)
    voices.write(audio / "p999" / "p999_001_mic1.flac", short, 48000)  # not in the table
    voices.write(audio / "p901" / "p901_1b_mic1.flac", short, 48000)  # no such name
    only_second = voices.say(people[0], seconds=2.5, rate=48000, take=5)
    voices.write(audio / "p901" / "p901_009_mic2.flac", only_second, 48000)  # mic2 stands in


CORPUS = Corpus(
    name="vctk",
    title="CSTR VCTK Corpus 0.92",
    homepage="https://datashare.ed.ac.uk/handle/10283/3443",
    citation="Yamagishi, Veaux, MacDonald: CSTR VCTK Corpus: English Multi-speaker Corpus for CSTR Voice "
    "Cloning Toolkit (version 0.92). University of Edinburgh, 2019. doi:10.7488/ds/2645",
    licence=Licence(
        name="CC BY 4.0",
        url="https://datashare.ed.ac.uk/handle/10283/3443",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("train",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.25,
)
