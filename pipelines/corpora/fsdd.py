"""Free Spoken Digit Dataset: six men, 3,000 spoken English digits, 8 kHz WAV of half a second.

``recordings/<digit>_<speaker>_<index>.wav`` beside ``metadata.py``. What the release asks of a reader:

- ``metadata.py`` is a Python dictionary. It is parsed as a literal and never run.
- The owners' ids are first names: a speaker's id here is a hash of it, though the path holds the name.
- All speakers are male, so there is no task of sex; accent is ``<ISO-3 country>/<name>``, kept as it is.
- The owners' test set is index 0 to 4 of every speaker: kept in the table, but not speaker-disjoint, so the
  split of the system is its own.
- The dataset grows: a speaker may be in ``recordings`` before ``metadata.py`` knows of him, and the reverse.
"""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import cell, text_of, visible
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voices

NAME = re.compile(r"^(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<index>\d+)\.wav$")
LAST_TEST_INDEX = 4
LANGUAGES = {"english": "en"}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def scan(root: Path) -> Tables:
    """Read ``metadata.py`` and list ``recordings``.

    Args:
        root: the folder that holds both, or a folder around it (an unpacked archive of the repository).

    Raises:
        RecipeError: no ``metadata.py`` beside ``recordings``, or it holds no dictionary of speakers.
    """
    home = _home(root)
    rows = Rows("fsdd")
    people = _people(home / "metadata.py")
    heard = set()
    for audio in visible((home / "recordings").iterdir()):
        path = audio.relative_to(root).as_posix()
        name = NAME.match(audio.name)
        if name is None:
            rows.reject(path, "name is not <digit>_<speaker>_<index>.wav")
            continue
        person = people.get(name["speaker"])
        if person is None:
            rows.reject(path, "speaker not in metadata.py")
            continue
        speaker = rows.speaker(_owner_id(name["speaker"]), sex=cell(person.get("gender")))
        if name["speaker"] not in heard:
            heard.add(name["speaker"])
            rows.observe(speaker, "accent", cell(person.get("accent")), source="owner")
        language = cell(person.get("language")) or "english"
        rows.utterance(
            path,
            speaker,
            language=LANGUAGES.get(language.casefold(), "und"),
            speech_task="digits",
            official_split="test" if int(name["index"]) <= LAST_TEST_INDEX else "train",
        )
    silent = sum(name not in heard for name in people)
    if silent:
        rows.reject((home / "metadata.py").relative_to(root).as_posix(), f"{silent} speakers without recordings")
    return rows.tables()


def _owner_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _home(root: Path) -> Path:
    for folder in (root, *sorted(path for path in root.glob("*") if path.is_dir())):
        if (folder / "metadata.py").is_file() and (folder / "recordings").is_dir():
            return folder
    raise RecipeError(f"no metadata.py beside recordings in {root}: clone free-spoken-digit-dataset there")


def _people(path: Path) -> dict[str, dict[str, object]]:
    """The dictionary of ``metadata.py``, read as a literal: another's code is not run."""
    try:
        for statement in ast.parse(text_of(path, errors="strict")).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
                return {str(name): dict(person) for name, person in ast.literal_eval(statement.value).items()}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:  # the last two: nested
        raise RecipeError(f"{path}: not a plain dictionary of speakers: {error}") from error
    raise RecipeError(f"{path}: holds no dictionary of speakers")


def miniature(root: Path, voices: Voices) -> None:
    """Write a made-up FSDD: men only, two digits each, one of each in the owners' test set."""
    men = [voice for voice in voices.cast("fsdd", 24, "en") if voice.sex == "male"]
    recordings = root / "recordings"
    metadata: dict[str, dict[str, str]] = {}
    for number, voice in enumerate(men):
        name = "madeup" + "abcdefghijklmnopqrstuvwxyz"[number % 26] * (1 + number // 26)
        metadata[name] = {
            "gender": "male",
            "accent": "DEU/German" if number % 2 else "USA/neutral",
            "language": "english",
        }
        for index in (3, 7):  # trap: the owners' test set has the same speakers
            digit = (number + index) % 10
            wave = voices.say(voice, DIGITS[digit], seconds=0.6, take=index, rate=8000)
            voices.write(recordings / f"{digit}_{name}_{index}.wav", wave, 8000)
    # traps: a speaker nobody recorded, a speaker nobody described, a name without index, a stray script
    metadata["silent"] = {"gender": "male", "accent": "GRC/Greek", "language": "english"}
    voices.write(recordings / "4_nobody_0.wav", wave, 8000)
    voices.write(recordings / f"5_{name}.wav", wave, 8000)
    (recordings / "README.txt").write_text("Recordings go here.\n")
    (recordings / f"._4_{name}_3.wav").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    text = '"""A python dictionary to store meta-data about the speakers."""\n\nmetadata = ' + repr(metadata) + "\n"
    (root / "metadata.py").write_text(text, "utf-8")


CORPUS = Corpus(
    name="fsdd",
    title="Free Spoken Digit Dataset",
    homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    citation="Jackson et al., Free Spoken Digit Dataset, Zenodo, doi:10.5281/zenodo.1342401",
    licence=Licence(
        name="CC BY-SA 4.0",
        url="https://creativecommons.org/licenses/by-sa/4.0/",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="contributors sent in their own recordings",
    ),
    languages=("en",),
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="accent",
    epoch_share=0.05,  # 3,000 half-second digits of six men would drown every other corpus (our choice)
    traps={
        "metadata-is-code": "metadata.py is a Python dictionary: parsed, never run.",
        "all-male": "All speakers are male, so there is no task of sex.",
        "accent-with-country": "Accent is an ISO-3 country and a name: DEU/German.",
        "test-by-index": "The owners' test set is index 0 to 4 of every speaker: not speaker-disjoint.",
        "names-as-ids": "The owners' ids are first names.",
        "grows": "A speaker may have recordings and no metadata, or the reverse.",
        "files-of-a-mac": "Copies hold ._* files that are no audio.",
    },
)
