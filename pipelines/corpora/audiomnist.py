"""AudioMNIST: 60 speakers say the English digits 50 times each, 30,000 clips of 48 kHz, most with an accent.

``data/<speaker>/<digit>_<speaker>_<repetition>.wav`` beside ``data/audioMNIST_meta.txt``. What to know:

- ``audioMNIST_meta.txt`` is JSON in spite of its name, keyed by "01" to "60".
- Age is a number for speaker 01 and text for all others; that of speaker 45 is "1234": no age.
- The accent is free text ("german" and "German", "Egyptian_American?"): the owners' word is kept.
  One native speaker's is "English" (of Delhi), which would be read as the accent of England: not used.
- ``recordingdate`` begins with a year of two digits: "17-06-22-..." is the 22nd of June 2017.
- ``origin`` is "Continent, Country, City"; the continents are unreliable ("Europe, India, Chennai"), so the
  country is all that is taken.
- Older states of the repository lack the data of speakers 17, 22 and 34 in the metadata, or their clips.
- Speaker 36 missed two takes: the owners copied others and named them ``3_36_20`` and ``3_36_29``
  (``data/36/notes.txt``). The copies are rejected where they are bytes of the originals.
- 48 men, 12 women; 3 native speakers of 60: no task of nativeness. No official split.
"""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, fold, folders, json_of, number, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

TABLE = "audioMNIST_meta.txt"
FILE = re.compile(r"^(?P<digit>\d)_(?P<speaker>\d\d)_(?P<repetition>\d{1,2})\.wav$")
OLDEST = 110
COPIES = {"3_36_20.wav": "3_36_19.wav", "3_36_29.wav": "3_36_28.wav"}  # copy -> original
RATE = 48000
NO_ACCENT = "english"  # a language here, in words.csv the accent of England


@dataclass(frozen=True)
class _Speaker:
    sex: str | None
    age: float | None
    accent: str | None
    country: str | None
    native: bool
    recorded_on: date | None


def scan(root: Path) -> Tables:
    """Read ``audioMNIST_meta.txt`` and list the folders of the speakers beside it.

    Args:
        root: the folder ``data``, the repository, or a folder around it.

    Raises:
        RecipeError: the metadata is absent or not JSON.
    """
    table = next((path / TABLE for path in folders(root) if (path / TABLE).is_file()), None)
    if table is None:
        raise RecipeError(f"{root}: {TABLE} not found; clone github.com/soerenab/AudioMNIST here")
    rows = Rows(CORPUS.name)
    place = table.relative_to(root).as_posix()
    people = {owner_id: _person(owner_id, person, place, rows) for owner_id, person in _metadata(table).items()}
    for folder in sorted(path for path in table.parent.iterdir() if path.is_dir() and path.name.isdecimal()):
        _add_folder(folder, root, people.get(folder.name), rows)
    for owner_id in people:
        if f"{CORPUS.name}:{owner_id}" not in rows.speakers:
            rows.reject(place, f"speaker {owner_id} has no recordings")
    return rows.tables()


def _metadata(table: Path) -> dict[str, Mapping[str, object]]:
    try:
        people = json_of(table)
        return {str(owner_id): dict(person) for owner_id, person in people.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RecipeError(f"{table}: not a JSON object of speakers: {error}") from error


def _person(owner_id: str, person: Mapping[str, object], place: str, rows: Rows) -> _Speaker:
    age = number(person.get("age"))
    if cell(person.get("age")) is not None and not (age is not None and 0 < age <= OLDEST):
        rows.reject(place, f"speaker {owner_id}: {person['age']!r} is no age in years: left unknown")
        age = None
    origin = str(person.get("origin") or "").split(",")
    accent = cell(person.get("accent"))
    return _Speaker(
        sex=cell(person.get("gender")),
        age=age,
        accent=None if accent is not None and fold(accent) == NO_ACCENT else accent,
        country=cell(origin[1]) if len(origin) == 3 else None,
        native=(cell(person.get("native speaker")) or "").casefold() == "yes",
        recorded_on=_day(owner_id, cell(person.get("recordingdate")), place, rows),
    )


def _day(owner_id: str, text: str | None, place: str, rows: Rows) -> date | None:
    try:
        return None if text is None else datetime.strptime(text, "%y-%m-%d-%H-%M-%S").date()
    except ValueError:
        rows.reject(place, f"speaker {owner_id}: recordingdate is not yy-mm-dd-HH-MM-SS: left unknown")
        return None


def _add_folder(folder: Path, root: Path, person: _Speaker | None, rows: Rows) -> None:
    clips = visible(folder.glob("*.wav"))
    if person is None:
        rows.reject(folder.relative_to(root).as_posix(), f"{len(clips)} recordings of a speaker not in {TABLE}")
        return
    for clip in clips:
        path = clip.relative_to(root).as_posix()
        name = FILE.match(clip.name)
        original = clip.with_name(COPIES.get(clip.name, clip.name))
        if name is None or name["speaker"] != folder.name:
            rows.reject(path, "name is not <digit>_<speaker>_<repetition>.wav of its folder")
        elif original != clip and original.is_file() and filecmp.cmp(clip, original, shallow=False):
            rows.reject(path, f"the owners' copy of {original.name}")
        else:
            native = "en" if person.native else None
            speaker = rows.speaker(folder.name, sex=person.sex, native_language=native, country=person.country)
            rows.utterance(
                path, speaker, language="en", speech_task="digits", recorded_on=person.recorded_on, age=person.age
            )
    speaker = f"{CORPUS.name}:{folder.name}"
    if speaker in rows.speakers:
        rows.observe(speaker, "accent", person.accent, source="owner")


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIRST_IDS = (1, 36, 45)  # the speakers of whom the traps tell
ACCENTS = ("german", "German", "South Korean", "Egyptian_American?")
ORIGINS = ("Europe, Germany, Berlin", "Europe, India, Chennai", "Asia, South Korea, Seoul", "Africa, Egypt, Alexandria")


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up AudioMNIST: two digits a speaker."""
    people = voices.cast(CORPUS.name, 12, "en", ages=(22, 61))
    numbers = [*FIRST_IDS, *(number_ for number_ in range(2, 61) if number_ not in {17, 22, *FIRST_IDS})]
    data = root / "data"
    metadata: dict[str, dict[str, object]] = {}

    def clip(owner_id: str, index: int, digit: int, repetition: int) -> None:
        wave = voices.say(people[index], DIGITS[digit], seconds=0.8, take=repetition, rate=RATE)
        voices.write(data / owner_id / f"{digit}_{owner_id}_{repetition}.wav", wave, RATE)

    for index, (number_, voice) in enumerate(zip(numbers, people, strict=False)):
        owner_id = f"{number_:02}"
        metadata[owner_id] = {
            # traps: "german" and "German"; "English"
            "accent": "English" if index == 4 else ACCENTS[index // 2 % len(ACCENTS)],
            # traps: a number for the first, text for the others, and no age at all for speaker 45
            "age": voice.age if number_ == 1 else "1234" if number_ == 45 else str(voice.age),
            "gender": voice.sex,
            "native speaker": "yes" if index == 4 else "no",
            "origin": ORIGINS[index // 2 % len(ORIGINS)],  # trap: Chennai in Europe
            "recordingdate": f"17-06-{1 + index % 28:02}-11-04-28",  # trap: year of two digits first
            "recordingroom": "vr-romm" if index == 5 else "Kino",
        }
        for digit in (index % 10, (index + 5) % 10):
            clip(owner_id, index, digit, 7)
    for original, copy in ((19, 20), (28, 29)):  # trap: the owners' copies
        clip("36", 1, 3, original)
        recording = (data / "36" / f"3_36_{original}.wav").read_bytes()
        (data / "36" / f"3_36_{copy}.wav").write_bytes(recording)
    (data / "36" / "notes.txt").write_text("Two takes were copied.\n")
    metadata["17"] = {**metadata["01"], "age": "30"}  # trap: described, no recordings
    clip("22", 0, 1, 0)  # trap: recordings, not described
    voices.write(data / "01" / "7_02_1.wav", voices.say(people[0], "seven", seconds=0.8, rate=RATE), RATE)
    text = json.dumps(dict(sorted(metadata.items())), indent=4)
    (data / TABLE).write_text(text, "utf-8")


CORPUS = Corpus(
    name="audiomnist",
    title="AudioMNIST",
    homepage="https://github.com/soerenab/AudioMNIST",
    citation="Becker, Vielhaben, Ackermann, Müller, Lapuschkin, Samek: AudioMNIST: Exploring Explainable Artificial "
    "Intelligence for Audio Analysis on a Simple Benchmark. Journal of the Franklin Institute 361(1), 2024",
    licence=Licence(
        name="MIT",
        url="https://github.com/soerenab/AudioMNIST/blob/master/LICENSE",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="not stated in the release",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    epoch_share=0.05,  # 30,000 digits of under a second would drown every other corpus (our choice)
    traps={
        "age-types": "Age is a number for speaker 01 and text for all others.",
        "age-1234": 'Speaker 45 is "1234" years old: no age.',
        "accent-case": 'Accents are free text in several spellings ("german", "German").',
        "english-is-no-accent": "A native speaker's accent is English, which is not the accent of England.",
        "missing-speakers": "Older states of the repository lack speakers 17, 22 and 34.",
        "two-digit-year": "recordingdate begins with a year of two digits: 17-06-22 is in 2017.",
        "wrong-continents": 'The continent of origin is often wrong ("Europe, India, Chennai").',
        "copied-takes": "3_36_20 and 3_36_29 are copies of 3_36_19 and 3_36_28.",
        "json-named-txt": "The metadata is JSON in a file that ends in .txt.",
    },
)
