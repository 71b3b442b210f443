"""Mozilla Common Voice (Scripted Speech): volunteers reading sentences, MP3, any number of locales, releases.

::

    cv-corpus-22.0-2025-06-20/en/validated.tsv               and train, dev, test, other, invalidated
    cv-corpus-22.0-2025-06-20/en/clips/common_voice_en_43199993.mp3
    cv-corpus-23.0-delta-2025-09-17/en/..                    what is new, without train, dev and test
    cv-corpus-1_cy/clips/<128 hex>.mp3                       releases 1 to 4 have no locale folder

What the release asks of a reader:

- The TSVs are written without any quoting, and sentences hold lone quotation marks.
- The columns grew with the releases: ``locale`` came with 5.0, ``accent`` became ``accents`` in 8.0 (not 17.0, as
  the README says), ``variant`` came with 13.0, ``sentence_id`` with 17.0; 5.0 has another order, one may hold
  ``accents`` twice. Columns are read by name, the first of two. Release 1 writes ``path`` without ``.mp3``.
- Sex is ``male female other`` until 16.1, ``male_masculine female_feminine ...`` from 17.0, ``intersex`` from
  24.0. The age bucket of the forties is spelled ``fourties``, and twenties begin at 19.
- Both are given with each clip, may be blank in one and stated in the next, and one ``client_id`` is not always
  one person: the commonest sex counts. Another sex, or ages two buckets apart, are a reject. The age holds for
  the clip it was given with. Locales of under five contributors have both blanked. Blank is unknown.
- Accents are joined by commas without escaping, and some names hold commas inside parentheses. Codes (``us``)
  until 7.0, names from 8.0, free text among them.
- The owners call the demographics of 6.0 broken: they are not used. (They say to use 5.1 and 6.1.)
- A clip is in several TSVs (validated and train); it is one utterance. ``other`` clips, on which nobody voted
  enough, are used. ``invalidated`` ones, which listeners voted down, are not.
- Train, dev and test are drawn anew for each release: they are taken from the newest one of each locale only. Each
  is speaker-disjoint, but a contributor may be in train of one locale and test of another: then in neither.
- ``clip_durations.tsv`` (``times.txt`` before) and ``reported.tsv`` are not read. Clips are of 48 or 32 kHz.
- GLOBE and CommonAccent hold the same contributors: person ``commonvoice:<client_id>``.
- Spontaneous Speech (``ss-corpus-*.tsv``) and the release of 2017 (``cv-valid-train.csv``, which has no
  ``client_id``) are other layouts and not read.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import MOST_STREAMED, cell, fold, lines_of, or_reject, said
from pipelines.schema import Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

LISTS = (
    "train",
    "dev",
    "test",
    "validated",
    "other",
    "invalidated",
)  # the first that holds a clip describes it
SPLITS = ("train", "dev", "test")
COLUMNS = ("client_id", "path", "age", "gender", "accents", "accent", "locale")
RELEASE = re.compile(r"^cv-corpus-(?P<major>\d+)(?:\.(?P<minor>\d+))?")
LOCALE = r"(?P<locale>[A-Za-z]{2,3}(?:-[A-Za-z]+)*)"
FOLDER = re.compile(rf"^(?:cv-corpus-.*_)?{LOCALE}$")
CLIP = re.compile(rf"^common_voice_{LOCALE}_\d+\.mp3$")
MARK = re.compile(r"[(),]")
REFUSED = "do_not_wish_to_say"
NOT_READ = {  # other layouts
    "cv-valid-train.csv": "the release of 2017 names no contributors (client_id): not read",
    "ss-corpus-*.tsv": "Spontaneous Speech: another corpus, not read",
}

BUCKETS = (
    (19, "teens"), (30, "twenties"), (40, "thirties"), (50, "fourties"), (60, "fifties"),
    (70, "sixties"), (80, "seventies"), (90, "eighties"), (200, "nineties"),
)  # fmt: skip
OLDER = {word: place for place, (_, word) in enumerate(BUCKETS)}


@dataclass
class Client:
    """What one ``client_id`` says of itself over all its clips; words with the first row that holds them."""

    sexes: Counter[str] = field(default_factory=Counter)
    speaker_id: str = ""
    first: dict[str, str] = field(default_factory=dict)  # word of sex or age -> file:row
    accents: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)


def scan(root: Path) -> Tables:
    """Read every locale of every release below ``root``; a clip is taken from the newest release that has it.

    Args:
        root: the folder that holds ``cv-corpus-*`` folders, or one of them, or one locale's folder.

    Raises:
        RecipeError: there is no folder with a TSV beside ``clips``.
    """
    rows = Rows("common_voice")
    folders = _locale_folders(root, rows)
    clients: dict[str, Client] = defaultdict(Client)
    for locale, releases in groupby(sorted(folders, key=_locale), key=_locale):
        settled: set[str] = set()  # clips a newer release decided on
        has_split = False
        *newer, oldest = sorted(releases, key=_age_rank)
        for folder in (*newer, oldest):
            with_splits = not has_split and any((folder / f"{split}.tsv").is_file() for split in SPLITS)
            has_split = has_split or with_splits
            decided = _scan_folder(rows, root, folder, locale, with_splits, settled, clients)
            if folder is not oldest:  # nobody asks after the last, and there may be millions
                settled.update(decided)
    _add_speakers(rows, clients)
    return rows.tables()


def _locale_folders(root: Path, rows: Rows) -> list[Path]:
    """Folders with a TSV beside ``clips``; other layouts become rejects."""
    patterns = ("", "*/", "*/*/", "*/*/*/")
    for name, reason in NOT_READ.items():
        for path in sorted(path for pattern in patterns[:3] for path in root.glob(pattern + name)):
            rows.reject(path.relative_to(root).as_posix(), reason)
    found = {clips.parent for pattern in patterns for clips in root.glob(f"{pattern}clips") if clips.is_dir()}
    found = {folder for folder in found if any((folder / f"{name}.tsv").is_file() for name in LISTS)}
    if not found:
        seen = rows.tables().rejects.select("path", "reason").iter_rows()
        instead = "".join(f"; {path}: {reason}" for path, reason in seen)
        wanted = "no validated.tsv beside a clips folder"
        raise RecipeError(f"{wanted} below {root}: unpack cv-corpus-*.tar.gz there{instead}")
    return sorted(found)


def _age_rank(folder: Path) -> tuple[int, int, bool]:
    """Newest release first, a whole release before its delta."""
    major, minor = _version(folder)
    return (-major, -minor, "delta" in _release(folder))


def _version(folder: Path) -> tuple[int, int]:
    version = RELEASE.match(_release(folder))
    return (0, 0) if version is None else (int(version["major"]), int(version["minor"] or 0))


def _release(folder: Path) -> str:
    return next((part for part in reversed(folder.parts) if part.startswith("cv-corpus")), folder.name)


def _locale(folder: Path) -> str:
    """The locale by the folder: its own name, or the end of ``cv-corpus-1_<locale>``."""
    name = FOLDER.match(folder.name)
    return name["locale"] if name else "und"


def _scan_folder(
    rows: Rows,
    root: Path,
    folder: Path,
    locale: str,
    with_splits: bool,
    settled: set[str],
    clients: dict[str, Client],
) -> Iterator[str]:
    """Add the clips of one locale of one release, and return the names of all that its lists name."""
    where = folder.relative_to(root).as_posix()
    prefix = "" if where == "." else f"{where}/"
    here = {entry.name: False for entry in os.scandir(folder / "clips") if not entry.name.startswith("._")}
    broken = _version(folder) == (6, 0)
    if broken:
        rows.reject(where, "demographics of release 6.0 are broken, say the owners: not used; take 6.1")
    for name in LISTS:
        absent, first_absent = 0, 0
        for line, row in _read_list(rows, folder / f"{name}.tsv", f"{prefix}{name}.tsv"):
            at = f"{prefix}{name}.tsv:{line}"
            client, path = row["client_id"], row["path"]
            if client is None or path is None:
                rows.reject(at, "row without client_id or path")
                continue
            file = path if path.endswith(".mp3") else f"{path}.mp3"
            if file not in here:
                absent, first_absent = absent + 1, first_absent or line
            elif not here[file]:
                here[file] = True
                clip = f"{prefix}clips/{file}"
                if file in settled:
                    rows.reject(clip, "a newer release holds it, too")
                    continue
                if name == "invalidated":
                    rows.reject(clip, "listeners voted it down: not used")
                    continue
                split = name if with_splits and name in SPLITS else None
                if broken:
                    row = dict.fromkeys(row) | {"locale": row["locale"]}
                _add_clip(rows, clip, row, at, client, locale, split, clients[client])
        if absent:
            rows.reject(f"{prefix}{name}.tsv", f"{absent} rows without their clip, the first in row {first_absent}")
    for orphan in sorted(file for file, listed in here.items() if not listed):
        rows.reject(f"{prefix}clips/{orphan}", "no TSV lists this file")
    return (file for file, listed in here.items() if listed)


def _read_list(rows: Rows, path: Path, where: str) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Line and cells of the rows of one TSV, read one at a time: the longest has two million.

    A list that cannot be read is a reject, the other lists go on.
    """
    if not path.is_file():
        return
    # only \n ends a row: a sentence may hold any other separator of lines
    lines = or_reject(rows, where, lines_of(path, most_bytes=MOST_STREAMED))
    first = next(lines, None)
    if first is None:
        return
    header = [fold(name) for name in first.split("\t")]
    places = {name: header.index(name) for name in COLUMNS if name in header}
    if not {"client_id", "path"} <= places.keys():
        rows.reject(where, f"list cannot be read: no column client_id or path; found {said(header)}")
        return
    for line, text in enumerate(lines, start=2):
        cells = text.rstrip("\r\n").split("\t")
        if cells != [""]:
            row = dict.fromkeys(COLUMNS)
            row |= {name: cell(cells[place]) for name, place in places.items() if place < len(cells)}
            yield line, row


def _add_clip(
    rows: Rows,
    path: str,
    row: dict[str, str | None],
    at: str,
    client: str,
    locale: str,
    split: str | None,
    seen: Client,
) -> None:
    named = CLIP.match(path.rpartition("/")[2])
    language = sys.intern(row["locale"] or (named["locale"] if named else locale))
    seen.speaker_id = speaker = seen.speaker_id or f"{rows.corpus}:{client}"  # one string for all clips
    utt_id = rows.utterance(path, speaker, language=language, speech_task="read", official_split=split)
    age = row["age"] and sys.intern(row["age"])
    rows.observe(speaker, "age_range", age, source="self-report", utt_id=utt_id)
    for word in (row["age"], row["gender"]):
        if word is not None:
            seen.first.setdefault(word, at)
    if row["gender"] is not None:
        seen.sexes[row["gender"]] += 1
    accents = row["accents"] or row["accent"]
    if accents is not None and accents not in seen.accents:
        seen.accents.update(_accents(accents))
    if split is not None:
        seen.splits.add(split)


def _accents(text: str) -> Iterator[str]:
    """Split accents at the commas outside parentheses: ``India and South Asia (India, Pakistan)`` is one."""
    cuts, closes = [len(text)], False
    for mark in reversed(list(MARK.finditer(text))):  # from the end: in linear time, whatever the text
        if mark[0] != ",":
            closes = mark[0] == ")"
        elif not closes:
            cuts.append(mark.start())
    start = 0
    for end in reversed(cuts):
        name = cell(text[start:end])
        if name is not None:
            yield name
        start = end + 1


def _add_speakers(rows: Rows, clients: dict[str, Client]) -> None:
    divided = set()
    for client, seen in clients.items():
        speaker = rows.speaker(client, sex=_sex(rows, seen), person_id=f"commonvoice:{client}")
        for accent in sorted(seen.accents):
            rows.observe(speaker, "accent", accent, source="self-report")
        ages = sorted((word for word in seen.first if word in OLDER), key=lambda word: OLDER[word])
        if ages and OLDER[ages[-1]] - OLDER[ages[0]] > 1:
            rows.reject(seen.first[ages[-1]], f"contributor is in the {ages[-1]} here, in the {ages[0]} elsewhere")
        if len(seen.splits) > 1:
            divided.add(speaker)
    if divided:
        rows.take_back_splits(divided)
        rows.reject(".", f"{len(divided)} contributors are in two splits of two locales: in none of them here")


def _sex(rows: Rows, seen: Client) -> str | None:
    """The commonest word of a contributor; contradictions are also a reject (two people with one id?)."""
    stated = {word: count for word, count in seen.sexes.items() if word != REFUSED}
    if not stated:
        return REFUSED if seen.sexes else None
    word = min(stated, key=lambda gender: (-stated[gender], gender))
    for other in stated:
        # male and male_masculine are one answer in two releases
        if other.split("_")[0] != word.split("_")[0]:
            rows.reject(seen.first[other], f"contributor also states {other}; the commonest, {word}, is used")
            break
    return word


NEW = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
)
OLD = "client_id path sentence up_votes down_votes age gender accent locale segment"
FIRST = "client_id path sentence up_votes down_votes age gender accent"
SIDES = ("train", "train", "train", "train", "test", "test")  # of the miniature's people, women and men in turn


def miniature(root: Path, voices: Voices) -> None:
    """Made-up releases: English as since 17.0 with a delta, German as in 5 to 7, the first, five other languages."""
    english = voices.cast("common_voice-en", 8, "en", ages=(18, 85))
    german = voices.cast("common_voice-de", 6, "de", ages=(18, 85))[:6]
    sexes = {"female": "female_feminine", "male": "male_masculine"}
    accents = (
        "India and South Asia (India, Pakistan, Sri Lanka)",  # trap: commas inside parentheses
        "United States English",
        "England English,Low ",  # trap: free text with a blank at its end
        "",
    )
    made = _Release(root / "cv-corpus-22.0-2025-06-20" / "en", NEW.split(), voices)
    splits = ("train", "train", "train", "train", "dev", "test", "test", "dev")  # both sexes and ages in each
    for index, (voice, split) in enumerate(zip(english, splits, strict=True)):
        for take in range(2):
            number, lists = 1000 + 2 * index + take, ("validated", split)
            if index == 6 and take == 0:  # trap: recorded before the contributor said who reads
                made.clip(voice, number, lists, take, age="", gender="")
            else:
                accent = accents[index % len(accents)]
                made.clip(voice, number, lists, take, gender=sexes[voice.sex], accents=accent)
    # traps: a clip voted down, a contributor who is two people, a row without its clip, a clip that no list has
    made.clip(english[0], 777777, ("invalidated",), 6, gender=sexes[english[0].sex])
    other = next(word for sex, word in sexes.items() if sex != english[0].sex)
    made.clip(english[1], 666666, ("other",), 6, client=english[0], gender=other)
    made.row(english[0], 888888, ("other",), gender=other)
    made.clip(english[0], 999999, (), 5)
    (made.folder / "clips" / "._common_voice_en_1000.mp3").write_bytes(b"\x00\x05\x16\x07")  # trap: a Mac's twin
    made.write()
    (made.folder / "clip_durations.tsv").write_text("clip\tduration[ms]\ncommon_voice_en_1000.mp3\t3000\n", "utf-8")
    (made.folder / "reported.tsv").write_text("sentence_id\tsentence\tlocale\treason\n", "utf-8")
    # trap: a delta has no train, dev and test
    delta = _Release(root / "cv-corpus-23.0-delta-2025-09-17" / "en", NEW.split(), voices)
    delta.clip(english[2], 2000, ("validated",), 3, gender=sexes[english[2].sex])
    delta.write()
    # trap: older words of sex, codes of accents
    made = _Release(root / "cv-corpus-6.1-2020-12-11" / "de", OLD.split(), voices)
    for index, voice in enumerate(german):
        for take in range(2):
            number, split = 1000 + 2 * index + take, SIDES[index]
            made.clip(voice, number, ("validated", split), take, gender=voice.sex, accent=("germany", "austria")[take])
    # trap: a contributor in train of English and in test of German
    made.clip(german[0], 1100, ("validated", "test"), 4, client=english[0], gender=english[0].sex)
    made.write()
    for locale in ("fr", "it", "es", "sk", "zh-CN"):  # trap: a locale of two parts
        made = _Release(root / "cv-corpus-22.0-2025-06-20" / locale, NEW.split(), voices)
        people = voices.cast(f"common_voice-{locale}", 6, locale, ages=(18, 85))
        for index, (voice, split) in enumerate(zip(people, SIDES, strict=False)):
            made.clip(voice, 1000 + index, ("validated", split), 0, gender=sexes[voice.sex])
        made.write()
    # trap: the demographics of 6.0 are broken, and its splits are not those of 6.1
    broken = _Release(root / "cv-corpus-6.0-2020-06-22" / "de", OLD.split(), voices)
    broken.clip(german[1], 500, ("validated", "test"), 2, gender="female", age="nineties")
    broken.write()
    # trap: release 1 has no locale folder, and paths without their ending
    first = _Release(root / "cv-corpus-1_en", FIRST.split(), voices)
    first.clip(english[3], 1, ("validated",), 4, gender=english[3].sex, accent="us")
    first.write()
    # trap: Spontaneous Speech
    other_corpus = root / "sps-corpus-3.0-2026-03-09-en" / "ss-corpus-en.tsv"
    other_corpus.parent.mkdir()
    other_corpus.write_text("client_id\taudio_id\taudio_file\n", "utf-8")


class _Release:
    """One locale of one made-up release."""

    def __init__(self, folder: Path, columns: list[str], voices: Voices) -> None:
        self.folder, self.columns, self.voices = folder, columns, voices
        self.locale = _locale(folder)
        self.lists: dict[str, list[str]] = {name: [] for name in LISTS}

    def clip(
        self, voice: Voice, number: int, lists: tuple[str, ...], take: int, client: Voice | None = None, **cells: str
    ) -> None:
        """Record a clip, and name it in the ``lists``."""
        name = self.row(client or voice, number, lists, **cells)
        wave = self.voices.say(voice, take=take, seconds=2.5, rate=32000)
        self.voices.write(self.folder / "clips" / name, wave, 32000)

    def row(self, client: Voice, number: int, lists: tuple[str, ...], **cells: str) -> str:
        """Name a clip in the ``lists``, and return its name."""
        old = "sentence_id" not in self.columns and "locale" not in self.columns
        stem = f"common_voice_{self.locale}_{number}"
        stem = hashlib.sha512(stem.encode()).hexdigest() if old else stem
        row = {
            "client_id": hashlib.sha512(client.seed.encode()).hexdigest(),
            "path": stem if old else f"{stem}.mp3",
            "sentence": 'A made-up sentence with one "lone quotation mark',  # trap: no quoting
            "up_votes": "2",
            "down_votes": "0",
            "age": next(word for bound, word in BUCKETS if client.age < bound),  # trap: fourties
            "locale": self.locale,
        } | cells
        for name in lists:
            self.lists[name].append("\t".join(row.get(column, "") for column in self.columns))
        return f"{stem}.mp3"

    def write(self) -> None:
        """Write the lists that are not empty, and validated."""
        for name, rows in self.lists.items():
            if rows or name == "validated":
                lines = ["\t".join(self.columns), *rows]
                (self.folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


CORPUS = Corpus(
    name="common_voice",
    title="Mozilla Common Voice (Scripted Speech)",
    homepage="https://commonvoice.mozilla.org/datasets",
    citation="Ardila et al., Common Voice: A Massively-Multilingual Speech Corpus, LREC 2020",
    licence=Licence(
        name="CC0 1.0",
        url="https://creativecommons.org/publicdomain/zero/1.0/",
        access="open",
        may_train=True,
        may_redistribute=True,
        consent="volunteers gave their clips to the public domain; users agree not to identify them",
    ),
    languages=("mul",),  # each utterance has its own
    roles=("open",),
    scan=scan,
    miniature=miniature,
    label="sex",
    official_splits=True,
    traps={
        "no-quoting": "The TSVs are written without quoting, and sentences hold lone quotation marks.",
        "headers-of-25-releases": "Columns came, went and moved; one release may hold accents twice.",
        "path-without-ending": "Release 1 writes path without .mp3, and has no locale folder.",
        "accents-since-8": "accent (codes) until 7.0, accents (names) from 8.0, whatever the README says.",
        "commas-in-accents": "Accents are joined by commas, and some names hold commas inside parentheses.",
        "free-text-accents": "An accent may be any text, with blanks at its end.",
        "fourties": "The bucket of the forties is spelled fourties; twenties begin at 19.",
        "three-eras-of-gender": "Words of sex changed with 17.0 and 24.0.",
        "client-is-not-a-person": "One client_id may be several people: ages and sexes differ between its clips.",
        "blanked-demographics": "Age and sex may be blank in one clip and stated in the next; small locales have none.",
        "broken-6.0": "The demographics of release 6.0 are broken.",
        "clip-in-several-lists": "A clip is in validated and in train; it is one recording.",
        "voted-down": "Clips in invalidated were voted down by listeners.",
        "listed-without-clip": "A list may name clips that are not there, and clips may be in no list.",
        "splits-change": "Train, dev and test are drawn anew for every release.",
        "delta-releases": "A delta has no train, dev and test, and repeats nothing.",
        "same-contributor-in-two-locales": "A contributor may be in train of one locale and in test of another.",
        "other-layouts": "Spontaneous Speech and the release of 2017 are other layouts.",
        "files-of-a-mac": "Copies hold ._* files that are no audio.",
    },
)
