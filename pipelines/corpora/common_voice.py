"""Mozilla Common Voice (Scripted Speech): volunteers reading sentences, MP3, any number of locales, releases.

``cv-corpus-<release>/<locale>/{validated,train,dev,test,other,invalidated}.tsv`` beside ``clips/``; releases
1 to 4 have no locale folder (``cv-corpus-1_<locale>/clips``). Spontaneous Speech is another layout, not read
here. What to know:

* The TSVs are written without any quoting, and sentences hold lone quotation marks.
* The columns grew with the releases: ``accent`` became ``accents`` in 8.0, ``locale`` came with 5.0,
  ``variant`` with 13.0, ``sentence_id`` with 17.0. Columns are read by name. Release 1 writes ``path``
  without ``.mp3``.
* Sex is ``male female other`` until 16.1 and ``male_masculine female_feminine ...`` after. The age bucket of
  the forties is spelled ``fourties``. Both are given with each clip, may be blank in one and stated in the
  next, and one ``client_id`` is not always one person: the commonest word of sex counts, and a contradiction
  is also a reject. The age holds for the clip it was given with.
* Accents are joined by commas without escaping, and some names hold commas inside parentheses.
* A clip is in several TSVs (validated and train); it is one utterance. ``invalidated`` clips, which listeners
  voted down, are rejects.
* Train, dev and test are drawn anew for each release: they are taken from the newest one of each locale only.
* GLOBE and CommonAccent hold the same contributors: person ``commonvoice:<client_id>``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.corpora._read import Row, cell, read_table
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
RELEASE = re.compile(r"^cv-corpus-(?P<major>\d+)(?:\.(?P<minor>\d+))?")
OLD_LOCALE = re.compile(r"^cv-corpus-.*_(?P<locale>[A-Za-z]{2,3}(?:-[A-Za-z]+)*)$")
COMMA = re.compile(r",(?![^(]*\))")  # not inside parentheses
REFUSED = "do_not_wish_to_say"

BUCKETS = (
    (19, "teens"), (30, "twenties"), (40, "thirties"), (50, "fourties"), (60, "fifties"),
    (70, "sixties"), (80, "seventies"), (90, "eighties"), (200, "nineties"),
)  # fmt: skip


@dataclass(frozen=True)
class Clip:
    """One recording as the TSV that comes first describes it."""

    path: str
    row: str
    client: str
    language: str
    split: str | None
    age: str | None
    gender: str | None
    accents: tuple[str, ...]


def scan(root: Path) -> Tables:
    """Read every locale of every release below ``root``; a clip is taken from the newest release that has it.

    Args:
        root: the folder that holds ``cv-corpus-*`` folders, or one of them, or one locale's folder.

    Raises:
        RecipeError: there is no folder with a TSV beside ``clips``.
    """
    rows = Rows("common_voice")
    clips: dict[str, Clip] = {}
    settled: set[str] = set()  # clips a newer release decided on
    split_locales: set[str] = set()
    for folder in _locale_folders(root):
        locale = _locale(folder)
        has_splits = any((folder / f"{split}.tsv").is_file() for split in SPLITS)
        with_splits = has_splits and locale not in split_locales
        if has_splits:
            split_locales.add(locale)
        found = _scan_folder(rows, root, folder, locale, with_splits, settled)
        clips.update(found)
    _add_speakers(rows, clips.values())
    return rows.tables()


def _locale_folders(root: Path) -> list[Path]:
    """Folders with a TSV beside ``clips``, newest release first, whole releases before deltas."""
    patterns = ("clips", "*/clips", "*/*/clips", "*/*/*/clips")
    found = {clips.parent for pattern in patterns for clips in root.glob(pattern) if clips.is_dir()}
    found = {folder for folder in found if any((folder / f"{name}.tsv").is_file() for name in LISTS)}
    if not found:
        raise RecipeError(f"no validated.tsv beside a clips folder below {root}: unpack cv-corpus-*.tar.gz there")
    return sorted(sorted(found), key=_age_rank)


def _age_rank(folder: Path) -> tuple[int, int, bool]:
    name = _release(folder)
    version = RELEASE.match(name)
    if version is None:
        return (0, 0, "delta" in name)
    return (-int(version["major"]), -int(version["minor"] or 0), "delta" in name)


def _release(folder: Path) -> str:
    return next((part for part in reversed(folder.parts) if part.startswith("cv-corpus")), folder.name)


def _locale(folder: Path) -> str:
    """The locale by the folder: its own name, or the end of ``cv-corpus-1_<locale>``."""
    old = OLD_LOCALE.match(folder.name)
    return old["locale"] if old else folder.name


def _scan_folder(
    rows: Rows, root: Path, folder: Path, locale: str, with_splits: bool, settled: set[str]
) -> Iterator[tuple[str, Clip]]:
    """Yield the clips of one locale of one release as (file name, clip); the rest become rejects."""
    where = folder.relative_to(root).as_posix()
    prefix = "" if where == "." else f"{where}/"
    here = {audio.name for audio in (folder / "clips").iterdir()}
    listed: set[str] = set()
    for name in LISTS:
        for row in _read_list(rows, folder / f"{name}.tsv", f"{prefix}{name}.tsv"):
            at = f"{prefix}{name}.tsv:{row['_row']}"
            if row["client_id"] is None or row["path"] is None:
                rows.reject(at, "row without client_id or path")
                continue
            file = row["path"] if row["path"].endswith(".mp3") else f"{row['path']}.mp3"
            if file in listed or file in settled:
                listed.add(file)
                continue
            listed.add(file)
            if file not in here:
                rows.reject(at, "no such clip")
            elif name == "invalidated":
                settled.add(file)
                rows.reject(f"{prefix}clips/{file}", "voted down by listeners (invalidated.tsv)")
            else:
                settled.add(file)
                split = name if with_splits and name in SPLITS else None
                yield file, _clip(row, f"{prefix}clips/{file}", at, locale, split)
    for file in sorted(here - listed):
        rows.reject(f"{prefix}clips/{file}", "no TSV lists this clip")


def _read_list(rows: Rows, path: Path, where: str) -> list[Row]:
    """The rows of one TSV; one that cannot be read is a reject, the other lists go on."""
    if not path.is_file():
        return []
    try:
        return read_table(path, ("client_id", "path"), separator="\t", quoted=False)
    except RecipeError as error:
        rows.reject(where, f"list cannot be read: {error}")
        return []


def _clip(row: Row, path: str, at: str, locale: str, split: str | None) -> Clip:
    return Clip(
        path=path,
        row=at,
        client=row["client_id"] or "",
        language=row.get("locale") or locale,
        split=split,
        age=row.get("age"),
        gender=row.get("gender"),
        accents=_accents(row.get("accents") or row.get("accent")),
    )


def _accents(text: str | None) -> tuple[str, ...]:
    """Split accents at the commas outside parentheses: ``India and South Asia (India, Pakistan)`` is one."""
    names = (cell(part) for part in COMMA.split(text or ""))
    return tuple(name for name in names if name is not None)


def _add_speakers(rows: Rows, clips: Iterable[Clip]) -> None:
    by_client: dict[str, list[Clip]] = {}
    for clip in clips:
        by_client.setdefault(clip.client, []).append(clip)
    for client, own in by_client.items():
        speaker = rows.speaker(client, sex=_sex(rows, own), person_id=f"commonvoice:{client}")
        for accent in sorted({accent for clip in own for accent in clip.accents}):
            rows.observe(speaker, "accent", accent, source="self-report")
        for clip in own:
            utt_id = rows.utterance(
                clip.path, speaker, language=clip.language, speech_task="read", official_split=clip.split
            )
            rows.observe(speaker, "age_range", clip.age, source="self-report", utt_id=utt_id)


def _sex(rows: Rows, clips: list[Clip]) -> str | None:
    """The commonest word of a contributor; contradictions are also a reject (two people with one id?)."""
    stated = [clip for clip in clips if clip.gender not in (None, REFUSED)]
    if not stated:
        return REFUSED if any(clip.gender for clip in clips) else None
    counts = Counter(str(clip.gender) for clip in stated)
    word = min(counts, key=lambda gender: (-counts[gender], gender))
    for clip in stated:
        # male and male_masculine are one answer in two releases
        if str(clip.gender).split("_")[0] != word.split("_")[0]:
            rows.reject(clip.row, f"contributor also states {clip.gender}; the commonest, {word}, is used")
            break
    return word


def miniature(root: Path, voices: Voices) -> None:
    """Write two made-up releases: English as since 17.0, German as in releases 5 to 7."""
    english = voices.cast("common_voice-en", 16, "en", ages=(18, 85))
    german = voices.cast("common_voice-de", 8, "de", ages=(18, 85))
    new = (
        "client_id path sentence_id sentence sentence_domain up_votes down_votes "
        "age gender accents variant locale segment"
    )
    old = "client_id path sentence up_votes down_votes age gender accent locale segment"
    sexes = {"female": "female_feminine", "male": "male_masculine"}
    accents = (
        "United States English",
        "India and South Asia (India, Pakistan, Sri Lanka)",
        "England English,Low",
        "",
    )
    home = root / "cv-corpus-22.0-2025-06-20" / "en"
    _write_release(home, voices, english, new.split(), sexes, accents)
    _write_release(
        root / "cv-corpus-6.1-2020-12-11" / "de",
        voices, german, old.split(), {"female": "female", "male": "male"}, ("germany", "austria", ""),
    )  # fmt: skip
    (home / "clip_durations.tsv").write_text("clip\tduration[ms]\ncommon_voice_en_1000.mp3\t3000\n", "utf-8")
    (home / "reported.tsv").write_text("sentence_id\tsentence\tlocale\treason\n", "utf-8")
    voices.write(home / "clips" / "common_voice_en_999999.mp3", voices.say(english[0], take=5, rate=32000), 32000)


def _write_release(
    folder: Path,
    voices: Voices,
    cast: list[Voice],
    columns: list[str],
    sexes: dict[str, str],
    accents: tuple[str, ...],
) -> None:
    """One locale: every contributor reads two clips, all in one of the three splits."""
    locale = folder.name
    ranks = {"female": 0, "male": 0}
    lists: dict[str, list[dict[str, str]]] = {name: [] for name in LISTS}
    for index, voice in enumerate(cast):
        # the cast alternates young and old, so this gives every split both sexes and both ages
        held_out = ("dev", "test") if voice.sex == "female" else ("test", "dev")
        split = ("train", "train", *held_out)[ranks[voice.sex] % 4]
        ranks[voice.sex] += 1
        for take in range(2):
            clip = f"common_voice_{locale}_{1000 + 2 * index + take}.mp3"
            voices.write(folder / "clips" / clip, voices.say(voice, take=take, rate=32000), 32000)
            row = {
                "client_id": f"{index:04x}{locale.encode().hex()}".ljust(128, "0"),
                "path": clip,
                "sentence": 'A made-up sentence with one "lone quotation mark',
                "up_votes": "2",
                "down_votes": "0",
                "age": next(word for bound, word in BUCKETS if voice.age < bound),
                "gender": sexes[voice.sex],
                "locale": locale,
            }
            row["accents"] = row["accent"] = accents[index % len(accents)]
            if index % 7 == 6 and take == 0:
                row |= {"age": "", "gender": ""}  # recorded before the contributor said who reads
            lists[split].append(row)
            lists["validated"].append(row)
    # traps: a row without its clip, a clip voted down, a contributor who is two people
    lists["other"].append(lists["train"][0] | {"path": f"common_voice_{locale}_888888.mp3"})
    clip = f"common_voice_{locale}_777777.mp3"
    voices.write(folder / "clips" / clip, voices.say(cast[0], take=6, rate=32000), 32000)
    lists["invalidated"].append(lists["train"][0] | {"path": clip})
    clip = f"common_voice_{locale}_666666.mp3"
    voices.write(folder / "clips" / clip, voices.say(cast[1], take=6, rate=32000), 32000)
    other_sex = next(word for sex, word in sexes.items() if sex != cast[0].sex)
    lists["other"].append(lists["train"][0] | {"path": clip, "gender": other_sex})
    for name, rows in lists.items():
        lines = ["\t".join(columns), *("\t".join(row.get(column, "") for column in columns) for row in rows)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")


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
)
