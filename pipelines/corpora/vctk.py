"""VCTK 0.92 (English accents): 110 speakers read sentences before two microphones, 48 kHz FLAC.

::

    speaker-info.txt                                        0.92 unpacks without a root folder
    wav48_silence_trimmed/p225/p225_001_mic1.flac           and _mic2
    VCTK-Corpus/wav48/p225/p225_001.wav                     0.80

What the release asks of a reader:

- ``speaker-info.txt`` is separated by irregular blanks, also after the header: "Australian English" and
  "NewZealand English" are two words, regions hold blanks or are empty, a comment in brackets ends some lines.
- Both microphones hear the same utterance. One is kept: ``mic1``, which every speaker has (``mic2`` failed
  for p280 and p315); ``mic2`` stands in where ``mic1`` is missing.
- p315 has no texts and p362 misses some recordings: neither is needed, numbers may have gaps.
- One speaker is ``s5``, not ``p...``. In 0.80 the ids of the table have no ``p``, the folders do; its 109 rows
  lack one speaker. Where both releases are there, 0.92 is read.
- The accent is the owners' word ("Unknown" is no accent); the language is English for all.
- No official split. Sentences 1-24 are the same for everybody. Ages are 18 to 38: no task of age.
- VoiceBank-DEMAND, DR-VCTK and ASVspoof 2019 hold the same people: person ``vctk:<id>``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, fold, folders, number, text_of
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
    table, audio = _layout(root, rows)
    people = _people(table, root, rows)
    for identity, path, mic in _recordings(audio, audio.relative_to(root).as_posix(), rows):
        person = people.get(identity)
        if person is None:
            rows.reject(path, f"speaker is not in {TABLE}")
            continue
        rows.utterance(
            path,
            rows.speaker(identity, sex=person.sex, person_id=f"vctk:{identity}"),
            language="en",
            speech_task="read",
            device=mic,
            age=person.age,
        )
    for identity, person in people.items():
        speaker = f"{CORPUS.name}:{identity}"
        if speaker in rows.speakers:
            rows.observe(speaker, "accent", person.accent, source="owner")
        else:
            rows.reject(person.place, "row without audio")
    return rows.tables()


def _layout(root: Path, rows: Rows) -> tuple[Path, Path]:
    """The table and the folder of the speakers' folders, of the newest release that is there."""
    tables = [folder / TABLE for folder in folders(root) if (folder / TABLE).is_file()]
    found = [(table, table.parent / name) for name in AUDIO_FOLDERS for table in tables]
    found = [(table, audio) for table, audio in found if audio.is_dir()]
    if not found:
        wanted = " or ".join(AUDIO_FOLDERS)
        raise RecipeError(f"{root}: no {TABLE} beside {wanted}; unpack VCTK-Corpus-0.92.zip here")
    for _, audio in found[1:]:
        rows.reject(audio.relative_to(root).as_posix(), f"another copy or release: {found[0][1].name} is read")
    return found[0]


def _people(table: Path, root: Path, rows: Rows) -> dict[str, _Speaker]:
    lines = text_of(table).splitlines() or [""]
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


def _recordings(audio: Path, where: str, rows: Rows) -> Iterator[tuple[str, str, str | None]]:
    """Speaker, path and microphone: of each utterance the first microphone that heard it."""
    for folder in sorted(entry.name for entry in os.scandir(audio) if entry.is_dir()):
        seen: set[str] = set()
        for file in sorted(entry.name for entry in os.scandir(audio / folder)):  # mic1 sorts before mic2
            if file.startswith("._") or not file.endswith((".flac", ".wav")):
                continue
            path = f"{where}/{folder}/{file}"
            name = FILE.match(file)
            if name is None or name["speaker"] != folder:
                rows.reject(path, "name is not <speaker>/<speaker>_<number>[_mic1|_mic2]")
            elif name["utterance"] not in seen:
                seen.add(name["utterance"])
                yield folder, path, name["mic"]


PLACES = (  # accent, region and comment
    ("English", "Southern  England"),
    ("American", ""),
    ("Australian English", "Sydney"),
    ("Unknown", "France (mic2 files unavailable)"),
    ("English", "Yorkshire"),
    ("NewZealand English", ""),
)


def miniature(root: Path, voices: Voices) -> None:
    """Write a miniature of VCTK 0.92: two sentences a made-up speaker, mic2 for one of them; one speaker of 0.80."""
    people = voices.cast(CORPUS.name, 12, "en")
    table = ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS "]
    audio = root / AUDIO_FOLDERS[0]
    for index, voice in enumerate(people):
        identity = "s9" if index == 7 else f"p{901 + index}"  # trap: an s
        accent, region = PLACES[index // 2 % len(PLACES)]  # trap: each has both sexes, some two words or a comment
        table.append(f"{identity}  {voice.age}  {voice.sex[0].upper()}    {accent}  {region}".rstrip())
        for take in range(2):
            wave = voices.say(voice, seconds=3.0, rate=48000, take=take)
            stem = audio / identity / f"{identity}_{5 * take + 1:03d}"  # trap: numbers with gaps
            voices.write(stem.with_name(f"{stem.name}_mic1.flac"), wave, 48000)
            if take == 1 and "mic2" not in region:  # trap: two microphones, except for some speakers
                voices.write(stem.with_name(f"{stem.name}_mic2.flac"), 0.5 * wave, 48000)
    # traps: a row without audio, half a row
    table += ["p998  23  F    English    Southern  England", "p997"]
    (root / TABLE).write_text("\n".join(table) + "\n", encoding="utf-8")
    short = np.zeros(4800, np.float32)
    voices.write(audio / "p999" / "p999_001_mic1.flac", short, 48000)  # trap: not in the table
    voices.write(audio / "p901" / "p901_1b_mic1.flac", short, 48000)  # trap: no such name
    (audio / "p901" / "._p901_001_mic1.flac").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    only_second = voices.say(people[0], seconds=2.5, rate=48000, take=5)
    voices.write(audio / "p901" / "p901_009_mic2.flac", only_second, 48000)  # trap: mic2 stands in
    # trap: release 0.80 beside it, whose table has no p
    old = root / "VCTK-Corpus"
    voices.write(old / AUDIO_FOLDERS[1] / "p901" / "p901_001.wav", short, 48000)
    (old / TABLE).write_text(f"ID  AGE  GENDER  ACCENTS  REGION  \n901  {people[0].age}  F    English\n", "utf-8")


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
    no_inputs={r"_mic2\.flac$": "the same utterance by the second microphone"},
    traps={
        "irregular-blanks": "speaker-info.txt is separated by irregular blanks, also after the header.",
        "two-word-accents": "Australian English and NewZealand English are two words.",
        "comments-in-brackets": "A comment in brackets ends some lines, after a region of several words or none.",
        "two-microphones": "Both microphones hear the same utterance, and mic2 failed for two speakers.",
        "ids-without-p": "One speaker is s5; in 0.80 the ids of the table have no p.",
        "no-root-folder": "0.92 unpacks without a root folder, 0.80 with one; both may lie in one place.",
        "gaps": "p315 has no texts, p362 misses recordings: numbers have gaps, and rows may lack audio.",
        "unknown-accent": "The accent Unknown is no accent.",
        "same-sentences": "Sentences 1-24 are the same for everybody, and there is no official split.",
        "narrow-ages": "Ages are 18 to 38.",
        "derived-corpora": "VoiceBank-DEMAND, DR-VCTK and ASVspoof 2019 hold the same people.",
        "files-of-a-mac": "Copies hold ._* files that are no audio.",
    },
)
