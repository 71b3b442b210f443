"""What VoxCeleb1 and VoxCeleb2 share: a table of speakers, and audio as ``<speaker>/<video>/<segment>``.

The archives unpack without a common root and mirrors leave folders out, so a speaker's folders are found by their
name at any depth, and read one speaker at a time: a million paths are never held at once. The tables differ between
copies: tabs or commas, blanks after every cell, a byte order mark, CRLF, with or without names.

Ages lie in files of others, read wherever they lie outside the speakers' folders, the surest first (`AGE_FILES`).
An age holds for a video, so it is joined on speaker **and** video. Labels of two sources that differ by more than
two years are a reject, and the first is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.corpora._base import Licence, RecipeError, Rows
from pipelines.corpora._read import (
    MOST_STREAMED,
    Row,
    cell,
    fold,
    header_line,
    lines_of,
    number,
    or_reject,
    read_table,
    table_rows,
)
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
SPEAKER = re.compile(r"^id[01]\d{4}$")
VIDEO = re.compile(r"^[A-Za-z0-9_-]{11}$")
NAMED = re.compile(r"^(?P<video>[A-Za-z0-9_-]{11})_(?P<segment>\d{7})\.wav$")  # VoxCeleb1 as released in 2017

UTT2AGE = re.compile(r"^(?P<video>id\d{5}/[A-Za-z0-9_-]{11})/\d{5}\s+(?P<age>\d{1,3})\s*$")
ENRICHMENT = "final_dataframe_extended.csv"
AGE_FILES = ("utt2age.train", "utt2age.test", "age-train.txt", "age-test.txt", ENRICHMENT)
MOST_YEARS_APART = 2  # as far as the two sources differ where they name the same video
EXTERNAL_SEX = ("gender_wiki", "gender_dbpedia", "gender_gkg")


@dataclass(frozen=True)
class Release:
    """Where one of the two releases keeps what."""

    corpus: str
    metas: tuple[str, ...]  # names of the table of speakers, the preferred one first
    id_column: str
    other_columns: tuple[str, ...]
    speaker: re.Pattern[str]  # the name of a speaker's folder
    segment: re.Pattern[str]  # the name of a recording, with the group segment
    example: str  # a path, for messages
    name_column: str | None = None  # the name of the person, which the folders of 2017 bear
    languages: str | None = None  # a list of the language of each recording


@dataclass
class _Tree:
    """What lies below the root, outside and inside of the speakers' folders."""

    speakers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # id -> folders
    named: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # id -> folders of 2017
    beside: dict[str, str] = field(default_factory=dict)  # name of a list -> its path


def scan(release: Release, root: Path) -> Tables:
    """Read a release below ``root``.

    Args:
        release: which one.
        root: holds the table of speakers (here or one folder below) and the unpacked audio at any depth.

    Raises:
        RecipeError: the table or all audio is missing, or the table lacks a column.
    """
    rows = Rows(release.corpus)
    table = _meta_file(root, release.metas)
    where = table.relative_to(root).as_posix()
    people = _people(table, where, release, rows)
    tree = _walk(release, root, people, rows)
    ages, wrong_sex = _ages(root, tree, rows)
    languages = _languages(root, tree.beside.get(release.languages or ""), rows)
    seen = False
    for identity in sorted(tree.speakers.keys() | tree.named.keys()):
        person = people.get(identity)
        speaker = None
        for path, video, spoken in _recordings(release, root, tree, identity, rows):
            seen = True
            if person is None:
                rows.reject(path, f"speaker is not in {table.name}")
                continue
            if speaker is None:
                speaker = rows.speaker(
                    identity,
                    sex=None if identity in wrong_sex else person["gender"],
                    country=person.get("nationality"),
                    person_id=f"voxceleb:{identity}",
                )
                if identity in wrong_sex:
                    rows.reject(f"{where}:{person['_row']}", "other sources agree on another sex: sex not used")
            rows.utterance(
                path,
                speaker,
                language=languages.get(spoken, LANGUAGE),
                session_id=f"{identity}/{video}",
                official_split=SPLITS.get(fold(person["set"] or "")),
                age=ages.get(f"{identity}/{video}"),
            )
        if person is not None and speaker is not None:
            people.pop(identity)
    if not seen:
        raise RecipeError(f"{root}: no {release.example} or the like found; unpack the audio archives here")
    for person in people.values():
        rows.reject(f"{where}:{person['_row']}", "row without audio")
    return rows.tables()


def _meta_file(root: Path, names: tuple[str, ...]) -> Path:
    """The table of speakers in ``root`` or in a folder directly below it."""
    for name in names:
        found = next(iter([*root.glob(name), *sorted(root.glob(f"*/{name}"))]), None)
        if found is not None:
            return found
    raise RecipeError(f"{root}: {' or '.join(names)} not found; download it from {LICENCE.url}")


def _people(table: Path, where: str, release: Release, rows: Rows) -> dict[str, Row]:
    separator = "\t" if "\t" in header_line(table) else ","
    quoted = separator == ","  # some names hold commas, and are quoted where commas separate
    people: dict[str, Row] = {}
    for row in read_table(table, (release.id_column, *release.other_columns), separator=separator, quoted=quoted):
        identity = row[release.id_column]
        if identity is None or identity in people:
            rows.reject(f"{where}:{row['_row']}", "speaker has no id, or is here twice")
        else:
            people[identity] = row
    return people


# --- folders ----------------------------------------------------------------------------------------------


def _walk(release: Release, root: Path, people: dict[str, Row], rows: Rows) -> _Tree:
    """Find the speakers' folders and the lists beside them; a speaker's folder is not looked into."""
    tree = _Tree()
    lists = {*AGE_FILES, release.languages}
    ids = {row[release.name_column]: identity for identity, row in people.items()} if release.name_column else {}
    for folder, inner, files in os.walk(root, followlinks=True):
        inside = Path(folder).relative_to(root).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        others = 0
        deeper = []
        for name in sorted(inner):
            if release.speaker.match(name):
                tree.speakers[name].append(prefix + name)
            elif SPEAKER.match(name):
                others += 1
            elif name in ids:
                tree.named[ids[name]].append(prefix + name)
            else:
                deeper.append(name)
        inner[:] = deeper
        if others:
            rows.reject(inside, f"{others} speakers' folders of the other VoxCeleb passed over")
        for name in sorted(files):
            if name in lists:
                tree.beside.setdefault(name, prefix + name)
            elif name.endswith(AUDIO_ENDINGS) and not name.startswith("._"):
                known = NAMED.match(name) and release.name_column
                fault = "folder is no name in the table" if known else f"path does not end like {release.example}"
                rows.reject(prefix + name, fault)
    return tree


def _recordings(
    release: Release, root: Path, tree: _Tree, identity: str, rows: Rows
) -> Iterator[tuple[str, str, tuple[str, int]]]:
    """Path, video and (video, number) of the speaker's recordings, once each; the rest become rejects."""
    first: dict[tuple[str, int], str] = {}
    found = [place for folder in tree.speakers.get(identity, ()) for place in _by_id(release, root, folder, rows)]
    found += [place for folder in tree.named.get(identity, ()) for place in _by_name(release, root, folder, rows)]
    for path, video, segment in found:
        key = (f"{identity}/{video}", int(segment))
        if first.setdefault(key, path) != path:
            rows.reject(path, f"second copy of {first[key]}")
        else:
            yield path, video, key


def _by_id(release: Release, root: Path, folder: str, rows: Rows) -> Iterator[tuple[str, str, str]]:
    """The recordings of ``<speaker>/<video>/<segment>``, the layout since 2018."""
    for place, name in _audio(root, folder):
        video, _, file = name.rpartition("/")
        segment = release.segment.match(file)
        if segment is None or not VIDEO.match(video):
            rows.reject(place, f"path does not end like {release.example}")
        else:
            yield place, video, segment["segment"]


def _by_name(release: Release, root: Path, folder: str, rows: Rows) -> Iterator[tuple[str, str, str]]:
    """The recordings of ``<name>/<video>_<segment>.wav``, the layout of 2017."""
    for place, name in _audio(root, folder):
        file = NAMED.match(name)
        if file is None:
            rows.reject(place, f"path does not end like {release.example}")
        else:
            yield place, file["video"], file["segment"]


def _audio(root: Path, folder: str) -> Iterator[tuple[str, str]]:
    """The audio below one speaker's folder: path from the root, and path from the folder."""
    start = str(root / folder)
    for here, inner, files in os.walk(start, followlinks=True):
        inner.sort()
        inside = here[len(start) + 1 :].replace(os.sep, "/")
        inside = f"{inside}/" if inside else ""
        for file in sorted(files):
            if file.endswith(AUDIO_ENDINGS) and not file.startswith("._"):
                yield f"{folder}/{inside}{file}", f"{inside}{file}"


# --- labels of others -------------------------------------------------------------------------------------


def _ages(root: Path, tree: _Tree, rows: Rows) -> tuple[dict[str, float], set[str]]:
    """Ages in years by ``<speaker>/<video>``; speakers whose sex all of at least two other sources contradict."""
    ages: dict[str, float] = {}
    wrong_sex: set[str] = set()
    for name in AGE_FILES:
        where = tree.beside.get(name)
        if where is None:
            continue
        lines = _utt2age(root, where, rows) if name.startswith("utt2age") else _enrichment(root, where, rows, wrong_sex)
        for line, video, age in lines:
            if abs(ages.setdefault(video, age) - age) > MOST_YEARS_APART:
                rows.reject(f"{where}:{line}", f"{video} is {age:g} here and {ages[video]:g} before, which is used")
    return ages, wrong_sex


def _utt2age(root: Path, where: str, rows: Rows) -> Iterator[tuple[int, str, float]]:
    """AgeVoxCeleb: ``id00042/34f5sBShxSo/00001 70``, separated by a blank, no header; a line a recording."""
    last = None
    for line, text in enumerate(or_reject(rows, where, lines_of(root / where)), start=1):
        found = UTT2AGE.match(text)
        if found is None:
            rows.reject(f"{where}:{line}", "line is not <speaker>/<video>/<segment> <age>")
        elif found.groups() != last:  # the other lines of a video say the same
            last = found.groups()
            yield line, found["video"], float(found["age"])


def _enrichment(root: Path, where: str, rows: Rows, wrong_sex: set[str]) -> Iterator[tuple[int, str, float]]:
    """VoxCeleb enrichment: one row a video, commas; most rows of the large table have no age."""
    stated: dict[str, dict[str, str | None]] = {}
    # descriptions of videos make it large
    lines = or_reject(rows, where, table_rows(root / where, most_bytes=MOST_STREAMED))
    header = [fold(name) for name in next(lines, ())]
    if not header:
        return
    absent = {"voxceleb_id", "video_id", "speaker_age"} - set(header)
    if absent:
        rows.reject(where, f"no column {', '.join(sorted(absent))}: ages not read")
        return
    for line, cells in enumerate(lines, start=2):
        if not cells:
            continue
        row = dict(zip(header, cells, strict=False))
        speaker, video = cell(row.get("voxceleb_id")), cell(row.get("video_id"))
        if speaker is None or video is None:
            rows.reject(f"{where}:{line}", "row names no speaker or no video")
            continue
        stated.setdefault(speaker, {name: row.get(name) for name in ("gender", *EXTERNAL_SEX)})
        age = number(row.get("speaker_age"))
        age = number(row.get("speaker_age_title_only")) if age is None else age
        if age is not None:
            yield line, f"{speaker}/{video}", age
    for speaker, words in stated.items():
        own = _first_letter(words["gender"])
        others = [letter for letter in (_first_letter(words[name]) for name in EXTERNAL_SEX) if letter]
        if own and len(others) > 1 and own not in others:
            wrong_sex.add(speaker)


def _first_letter(word: str | None) -> str:
    """``m`` or ``f`` of m, male, f, female: enough to see whether two sources agree."""
    return fold(word or "")[:1]


def _languages(root: Path, where: str | None, rows: Rows) -> dict[tuple[str, int], str]:
    """The language of each recording by (``<speaker>/<video>``, number), in the words of the list."""
    languages: dict[tuple[str, int], str] = {}
    if where is None:
        return languages
    for line, cells in enumerate(or_reject(rows, where, table_rows(root / where)), start=1):
        video, _, segment = (cells[0] if cells else "").strip().removesuffix(".wav").rpartition("/")
        language = cell(cells[1]) if len(cells) > 1 else None
        if segment.isdecimal() and len(segment) < 10 and language is not None:
            languages[video, int(segment)] = language
        elif line > 1:  # whether line 1 is a header is not known for sure
            rows.reject(f"{where}:{line}", "line is not <speaker>/<video>/<segment>.wav,<language>,<score>")
    return languages


def made_up_video(speaker: str, number_: int) -> str:
    """A video id as YouTube forms them: 11 characters, some of which begin with ``-`` or ``_``."""
    digest = hashlib.sha256(f"{speaker}/{number_}".encode()).hexdigest()
    return f"{'-_aZ'[int(digest[0], 16) % 4]}{digest[1:11]}"
