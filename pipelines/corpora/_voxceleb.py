"""What VoxCeleb1 and VoxCeleb2 share: a table of speakers, and audio as ``<speaker>/<video>/<segment>``.

The archives unpack without a common root and mirrors leave folders out, so audio is found by the end of its
path. The tables differ between copies: tabs or commas, blanks after every cell, a byte order mark, CRLF.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.corpora._base import Licence, RecipeError, Rows
from pipelines.corpora._read import Row, fold, read_table
from pipelines.schema import Tables

LICENCE = Licence(
    name="CC BY 4.0 for the metadata; the videos belong to their owners",
    url="https://mm.kaist.ac.kr/datasets/voxceleb/",
    access="form",
    may_train=True,
    may_redistribute=False,
    consent="not stated in the release; recordings of public figures, taken from YouTube",
)

# No release says which language is spoken, and it varies: BCP-47 "undetermined".
LANGUAGE = "und"

SPLITS = {"dev": "train", "test": "test"}  # the owners' "dev" is what others call train
AUDIO_ENDINGS = (".wav", ".m4a")


@dataclass(frozen=True)
class Release:
    """Where one of the two releases keeps what."""

    corpus: str
    meta: str  # name of the table of speakers
    id_column: str
    other_columns: tuple[str, ...]
    audio: re.Pattern[str]  # groups speaker, video, segment, on a path relative to the root
    example: str  # a path, for messages


def scan(release: Release, root: Path, rows: Rows, ages: Mapping[str, float] | None = None) -> Tables:
    """Read a release below ``root``.

    Args:
        release: which one.
        root: holds the table of speakers (here or one folder below) and the unpacked audio at any depth.
        rows: where to collect.
        ages: years of age by ``<speaker>/<video>``, where they are known.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    table = meta_file(root, release.meta)
    people = _people(table, release, root, rows)
    heard: set[str] = set()
    places: dict[tuple[str, ...], str] = {}
    for place in _audio_paths(root):
        name = release.audio.search(place)
        if name is None:
            rows.reject(place, f"path does not end like {release.example}")
            continue
        first = places.setdefault(name.group("speaker", "video", "segment"), place)
        person = people.get(name["speaker"])
        if first != place:
            rows.reject(place, f"second copy of {first}")
        elif person is None:
            rows.reject(place, f"speaker is not in {release.meta}")
        else:
            heard.add(name["speaker"])
            rows.utterance(
                place,
                rows.speaker(
                    name["speaker"],
                    sex=person["gender"],
                    country=person.get("nationality"),
                    person_id=f"voxceleb:{name['speaker']}",
                ),
                language=LANGUAGE,
                session_id=f"{name['speaker']}/{name['video']}",
                official_split=SPLITS.get(fold(person["set"] or "")),
                age=(ages or {}).get(f"{name['speaker']}/{name['video']}"),
            )
    if not places:
        raise RecipeError(
            f"{root}: no {release.example} or the like found; unpack the audio archives here "
            "(releases that name the folders after people cannot be read)"
        )
    for identity, person in people.items():
        if identity not in heard:
            rows.reject(f"{table.relative_to(root).as_posix()}:{person['_row']}", "row without audio")
    return rows.tables()


def meta_file(root: Path, name: str) -> Path:
    """The table ``name`` in ``root`` or in a folder directly below it.

    Raises:
        RecipeError: it is in neither.
    """
    found = next(iter([*root.glob(name), *sorted(root.glob(f"*/{name}"))]), None)
    if found is None:
        raise RecipeError(f"{root}: {name} not found; download it from {LICENCE.url}")
    return found


def _people(table: Path, release: Release, root: Path, rows: Rows) -> dict[str, Row]:
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        separator = "\t" if "\t" in file.readline() else ","
    people: dict[str, Row] = {}
    for row in read_table(table, (release.id_column, *release.other_columns), separator=separator, quoted=False):
        identity = row[release.id_column]
        if identity is None or identity in people:
            rows.reject(f"{table.relative_to(root).as_posix()}:{row['_row']}", "speaker has no id, or is here twice")
        else:
            people[identity] = row
    return people


def _audio_paths(root: Path) -> Iterator[str]:
    """All audio below ``root``, sorted by folder. A million files: `os.walk` makes no object of each."""
    for folder, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        inside = Path(folder).relative_to(root).as_posix()
        for file in sorted(files):
            if file.endswith(AUDIO_ENDINGS) and not file.startswith("._"):
                yield file if inside == "." else f"{inside}/{file}"


def made_up_video(speaker: str, number: int) -> str:
    """A video id as YouTube forms them: 11 characters, some of which begin with ``-`` or ``_``."""
    digest = hashlib.sha256(f"{speaker}/{number}".encode()).hexdigest()
    return f"{'-_aZ'[int(digest[0], 16) % 4]}{digest[1:11]}"
