"""What LibriSpeech and LibriTTS-R share: LibriVox' readers, the tree of subsets, and the list of readers.

Both are ``<root>/<subset>/<reader>/<chapter>/<recording>`` beside one list with sex and subset of every reader
of all subsets. A reader id is LibriVox', so the same id is the same person: ``librivox:<id>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import RecipeError, Rows
from pipelines.corpora._read import text_of

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

SEXES = frozenset({"F", "M"})

# excluded_spk_list.txt of LibriTTS-P (github.com/line/LibriTTS-P): more than one person under one id
BOTH_SEXES = frozenset({"1734", "2074", "2262", "3546", "3793", "4455", "6032", "8097", "8295"})


@dataclass(frozen=True)
class Release:
    """How one release is laid out."""

    root: str  # the owners' root folder
    archives: str  # what to unpack
    name: re.Pattern[str]  # of a recording, with the groups reader and chapter
    name_in_words: str
    lists: tuple[str, ...]  # names of the list of readers in lower case, the preferred one first


@dataclass(frozen=True)
class Reader:
    """One row of the list of readers."""

    row: int
    sex: str
    subset: str


def scan(release: Release, root: Path, rows: Rows, left_out: Mapping[str, str] | None = None) -> None:
    """Read the list of readers and every recording of the subsets that are there.

    Args:
        release: the layout.
        root: the owners' root folder, or one or two folders around it.
        rows: takes what is found.
        left_out: reader or recording (without ending) -> why it is not used; its reject.

    Raises:
        RecipeError: there is no list of readers.
    """
    home, list_ = _home(release, root)
    where = list_.relative_to(root).as_posix()
    readers = _readers(list_, where, rows)
    subsets = sorted(folder for folder in home.iterdir() if folder.is_dir())
    heard: set[str] = set()
    for audio in _recordings(subsets, Path(release.name_in_words).suffix):
        path = audio.relative_to(root).as_posix()
        name = release.name.match(audio.name)
        if audio.name.startswith("._"):
            rows.reject(path, "AppleDouble file of a Mac, no audio")
        elif name is None:
            rows.reject(path, f"name is not {release.name_in_words}")
        elif (audio.parent.parent.name, audio.parent.name) != (name["reader"], name["chapter"]):
            rows.reject(path, "reader or chapter of the name is not that of its folders")
        elif name["reader"] not in readers:
            rows.reject(path, f"reader not in {list_.name}")
        else:
            reader = name["reader"]
            heard.add(reader)
            reason = (left_out or {}).get(reader) or (left_out or {}).get(audio.stem)
            if reason is not None:
                rows.reject(path, reason)
                continue
            speaker = rows.speaker(
                reader,
                sex=None if reader in BOTH_SEXES else readers[reader].sex,
                person_id=f"librivox:{reader}",
            )
            rows.utterance(
                path,
                speaker,
                language="en",
                speech_task="read",
                session_id=name["chapter"],
                official_split=_split(audio.parents[2].name),
            )
    for reader in sorted(heard & BOTH_SEXES):
        rows.reject(f"{where}:{readers[reader].row}", "recordings hold both sexes (LibriTTS-P): sex not used")
    _reject_unheard(rows, readers, heard, {_subset(folder.name) for folder in subsets}, where)


def _home(release: Release, root: Path) -> tuple[Path, Path]:
    """The folder of the subsets, and its list of readers, whose name is upper case in one release only."""
    for folder in (root, root / release.root, root / release.root / release.root):
        files = {path.name.casefold(): path for path in sorted(folder.iterdir())} if folder.is_dir() else {}
        for name in release.lists:
            if name in files:
                return folder, files[name]
    name = release.lists[0]
    raise RecipeError(f"no {name} in {root} or {root / release.root}: unpack {release.archives} there")


def _recordings(subsets: list[Path], ending: str) -> Iterator[Path]:
    """All recordings, folder by folder."""
    for subset in subsets:
        for chapter in sorted(subset.glob("*/*")):
            yield from sorted(chapter.glob(f"*{ending}"))


def _readers(path: Path, where: str, rows: Rows) -> dict[str, Reader]:
    """The readers by id; rows that cannot be read become rejects.

    The ``.txt`` list is padded, starts with ``;`` comments, and its last field, a name, holds pipes itself in
    one row. The ``.tsv`` list has a header line, and some rows lack the name.
    """
    readers = {}
    tabbed = path.suffix.casefold() == ".tsv"
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        if not line.strip() or line.startswith(";") or (tabbed and number == 1):
            continue
        fields = [field.strip() for field in (line.split("\t") if tabbed else line.split("|", 4))]
        if len(fields) < (3 if tabbed else 4) or not fields[0].isdigit() or fields[1] not in SEXES:
            columns = "id, F or M, subset, name" if tabbed else "id | F or M | subset | minutes | name"
            rows.reject(f"{where}:{number}", f"row is not {columns}")
            continue
        readers[fields[0]] = Reader(number, fields[1], fields[2])
    return readers


def _reject_unheard(rows: Rows, readers: dict[str, Reader], heard: set[str], subsets: set[str], where: str) -> None:
    """Readers without audio: one reject each, or one for a whole subset that was not downloaded."""
    silent = {key: reader for key, reader in readers.items() if key not in heard}
    for reader in silent.values():
        if reader.subset in subsets:
            rows.reject(f"{where}:{reader.row}", f"no recordings of this reader in {reader.subset}")
    for subset in sorted({reader.subset for reader in silent.values()} - subsets):
        count = sum(reader.subset == subset for reader in silent.values())
        rows.reject(where, f"subset {subset} is not there: {count} readers passed over")


def _subset(folder: str) -> str:
    """``train-clean-100``, also where the folder has the underscores of LibriTTS-R's archives."""
    return folder.replace("_", "-")


def _split(subset: str) -> str | None:
    kind = _subset(subset).split("-")[0]
    return kind if kind in ("train", "dev", "test") else None


@dataclass(frozen=True)
class MadeUp:
    """A reader of the miniatures."""

    voice: Voice
    reader: str
    chapter: str
    subset: str


def made_up(voices: Voices, n: int) -> list[MadeUp]:
    """The readers of the miniatures, the same people in both; every subset hears both sexes."""
    people = []
    ranks = {"female": 0, "male": 0}
    for index, voice in enumerate(voices.cast("librispeech", n, "en")):
        held_out = ("dev-clean", "test-clean") if voice.sex == "female" else ("test-clean", "dev-clean")
        subset = ("train-clean-100", "train-clean-100", *held_out)[ranks[voice.sex] % 4]
        ranks[voice.sex] += 1
        people.append(MadeUp(voice, str(90001 + 7 * index), str(700100 + index), subset))
    return people
