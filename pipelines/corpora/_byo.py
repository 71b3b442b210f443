"""Bring your own corpus: a folder with a table and audio, read without writing Python.

::

    <raw>/<name>/metadata.csv      (or .tsv, .xlsx, .parquet) one row a recording
    <raw>/<name>/columns.toml      only if your columns or words are other ones
    <raw>/<name>/...               the audio, wherever the column "path" says

**Columns.** ``speaker`` and ``path`` (relative to the folder) must be there. ``session language split speech_task
device date age channel start end person`` describe the recording (``start`` and ``end`` in seconds cut a part out
of it, ``date`` is 2024-12-31, ``person`` is the same for one human in two corpora); ``sex birth_year
native_language country`` describe the speaker, and all rows of a speaker have to agree on them. A column named
like an attribute of ``warehouse/vocabulary/attributes.csv`` becomes an observation: a state such as ``depression``
holds present or absent (yes/no, true/false and 1/0 are understood), a scale such as ``phq9`` holds the score. An
empty cell is "unknown": healthy is a stated fact, so write absent where it is absent. A fact that stands in all
rows of a speaker with one value is the speaker's; one that is constant within each session is the session's; any
other belongs to its row.

**columns.toml**, all parts optional::

    [columns]                       # your column = ours
    Geschlecht = "sex"
    [words.sex]                     # your word = ours, in the column (our name) sex
    2 = "female"
    [words.phq9]
    "-9" = ""                       # not known
    [corpus]
    language = "fr"                 # where there is no column language
    encoding = "cp1252"             # of a text table; UTF-8 otherwise
    ignore = ["notes"]              # your columns that mean nothing here
    [instruments]
    voice_roughness = "GRBAS"       # the column holds scores of this instrument instead of present/absent
    [sources]
    depression = "clinician"        # who says so; see schema.SOURCES

A column that is none of these is an error, not ignored: a misspelt ``phq-9`` would otherwise vanish.

**The corpus** itself is one file, ``pipelines/corpora/<name>.py``::

    from pipelines.corpora._byo import byo_corpus
    CORPUS = byo_corpus("my_clinic", "Voices of my clinic", language="fr", licence=..., label="depression")
"""

from __future__ import annotations

import codecs
import csv
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.corpora._base import Corpus, Licence, RecipeError, Role, Rows
from pipelines.corpora._read import Row, cell, fold, number, read_table
from pipelines.schema import SOURCES, SPEECH_TASKS, SPLITS, Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"
TABLES = ("metadata.csv", "metadata.tsv", "metadata.xlsx", "metadata.parquet")
AUDIO = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff", ".sph"})
OF_RECORDING = (
    "speaker",
    "path",
    "session",
    "language",
    "split",
    "speech_task",
    "device",
    "date",
    "age",
    "channel",
    "start",
    "end",
)
OF_SPEAKER = ("sex", "birth_year", "native_language", "country", "person")
STATE = {"yes": "present", "no": "absent", "true": "present", "false": "absent", "1": "present", "0": "absent"}
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
SELF_REPORTED = frozenset({"phq9", "phq8", "gad7", "ais", "mfi_general", "psqi"})  # other scales: by a clinician


@dataclass(frozen=True)
class Attribute:
    """A row of attributes.csv: what a column of that name holds."""

    name: str
    family: str
    kind: str  # state, scale, number, category or text
    unit: str | None
    bounds: tuple[float, float] | None  # of a number


@cache
def attributes() -> dict[str, Attribute]:
    """The attributes of the vocabulary by name."""
    found = {}
    for row in _vocabulary("attributes.csv"):
        low, _, high = row["allowed"].partition("..")
        found[row["attribute"]] = Attribute(
            name=row["attribute"],
            family=row["family"],
            kind=row["kind"],
            unit=row["unit"] or None,
            bounds=(float(low), float(high)) if high else None,
        )
    return found


@cache
def instruments() -> dict[str, dict[str, tuple[float, float]]]:
    """Attribute -> the instruments that measure it -> lowest and highest score."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in _vocabulary("instruments.csv"):
        measured = found.setdefault(row["measures"], {})
        low, high = float(row["low"]), float(row["high"])
        lowest, highest = measured.get(row["instrument"], (low, high))
        measured[row["instrument"]] = (min(low, lowest), max(high, highest))
    return found


@cache
def sex_words() -> tuple[str, ...]:
    """The words for sex that the warehouse folds into female, male and other."""
    return tuple(row["raw"] for row in _vocabulary("words.csv") if row["domain"] == "sex")


def _vocabulary(name: str) -> list[dict[str, str]]:
    with (VOCABULARY / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@dataclass(frozen=True)
class ColumnsToml:
    """The contents of columns.toml, checked; all of it empty where there is no such file."""

    columns: Mapping[str, str]  # folded own name -> ours
    words: Mapping[str, Mapping[str, str]]  # our column -> folded own word -> our word
    instruments: Mapping[str, str]
    sources: Mapping[str, str]
    ignore: frozenset[str]
    language: str | None
    encoding: str


def byo_corpus(
    name: str,
    title: str,
    *,
    language: str,
    licence: Licence,
    homepage: str = "",
    citation: str = "",
    roles: tuple[Role, ...] = ("train", "evaluate"),
    label: str = "sex",
    epoch_share: float = 1.0,
    official_splits: bool = False,
    speakers: int = 40,
    conditions: Sequence[Mapping[str, float]] = ({},),
    facts: Callable[[Voice], Mapping[str, object]] | None = None,
) -> Corpus:
    """A corpus in the layout that the module docstring describes.

    Args:
        name: the name of the recipe's file and of the raw folder.
        title: for reports.
        language: BCP-47; of recordings for which neither the table nor columns.toml says another.
        licence: what may be done with the corpus.
        homepage: where it is described.
        citation: how to cite it.
        roles: "train", "evaluate" or both.
        label: the attribute that stratifies the split.
        epoch_share: share of the corpus seen in one training epoch.
        official_splits: use the column ``split``.
        speakers: speakers of the miniature at scale 1.
        conditions: traits of the miniature's groups of speakers, see `Voices.cast`.
        facts: the miniature's columns beside speaker, path, sex and age; by default each trait as a state.
    """
    return Corpus(
        name=name,
        title=title,
        homepage=homepage,
        citation=citation,
        licence=licence,
        languages=(language,),
        roles=roles,
        scan=lambda root: scan_byo(name, root, language),
        miniature=lambda root, voices: write_byo(
            root, voices, voices.cast(name, speakers, language, conditions), facts or _states(conditions)
        ),
        label=label,
        epoch_share=epoch_share,
        official_splits=official_splits,
    )


def scan_byo(corpus: str, root: Path, language: str) -> Tables:
    """Read a folder in the bring-your-own layout.

    A row without audio and audio without a row are rejects. A wrong cell is an error, because whoever owns
    the table can mend it.

    Raises:
        RecipeError: no table, a column missing or unknown, or cells that hold no allowed word or number;
            the message names file, row and column and the nearest allowed word.
    """
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        raise RecipeError(f"{root}: found none of {', '.join(TABLES)}; see pipelines/corpora/_byo.py for the layout")
    mapping = _read_mapping(root / "columns.toml")
    reader = _Reader(corpus, root, table, mapping, mapping.language or language)
    return reader.read(_read_rows(table, mapping))


# --- the table and columns.toml ---------------------------------------------------------------------------


def _read_rows(table: Path, mapping: ColumnsToml) -> list[Row]:
    """The table with our column names; our words are put in later, cell by cell."""
    if table.suffix == ".parquet":
        try:
            frame = pl.read_parquet(table)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RecipeError(f"{table}: cannot be read as Parquet: {error}") from error
        rows: list[Row] = []
        for line, cells in enumerate(frame.iter_rows(named=True), start=1):
            rows.append({fold(name): cell(value) for name, value in cells.items()} | {"_row": str(line)})
        names = [fold(name) for name in frame.columns]
    else:
        separator = "\t" if table.suffix == ".tsv" else _separator(table, mapping.encoding)
        rows = read_table(table, separator=separator, encoding=mapping.encoding)
        names = [name for name in rows[0] if name != "_row"] if rows else []
    if not rows:
        raise RecipeError(f"{table}: holds no rows")
    renamed = _rename(table, names, mapping)
    return [{new: row.get(old) for old, new in renamed.items()} | {"_row": row["_row"]} for row in rows]


def _separator(table: Path, encoding: str) -> str:
    """Comma, semicolon or tab: whichever the header line has most of."""
    if table.suffix == ".xlsx":
        return ","
    with table.open(encoding=encoding, errors="replace") as file:
        header = file.readline()
    return max(",;\t", key=header.count)


def _rename(table: Path, names: Sequence[str], mapping: ColumnsToml) -> dict[str, str]:
    """Own column name -> ours, for the columns that mean something; complains about all others."""
    known = {*OF_RECORDING, *OF_SPEAKER, *attributes()}
    absent = [name for name in [*mapping.columns, *mapping.ignore] if name not in names]
    if absent:
        raise RecipeError(f"{table.parent / 'columns.toml'}: {table.name} has no column {', '.join(absent)}")
    renamed: dict[str, str] = {}
    for name in names:
        ours = mapping.columns.get(name, name)
        if name in mapping.ignore or ours.startswith("unnamed") or not ours:
            continue
        if ours not in known:
            raise RecipeError(
                f"{table}: column {name!r} is not known{_nearest(ours, known)}; map it under [columns] in "
                "columns.toml, or list it under ignore"
            )
        if ours in renamed.values():
            raise RecipeError(f"{table}: two columns are {ours!r}; list one of them under ignore in columns.toml")
        renamed[name] = ours
    for required in ("speaker", "path"):
        if required not in renamed.values():
            raise RecipeError(f"{table}: no column {required}; found {', '.join(names)}; see columns.toml [columns]")
    return renamed


def _read_mapping(path: Path) -> ColumnsToml:
    parts = ("columns", "words", "corpus", "instruments", "sources")
    toml: dict[str, Any] = {}
    if path.is_file():
        try:
            toml = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{path}: not TOML: {error}") from error
    _allow(path, "table", toml, parts)
    for part in (toml, toml.get("words", {})):
        for name, table in part.items():
            if not isinstance(table, dict):
                raise RecipeError(f"{path}: {name!r} has to be a table of its own, [{name}] or [words.{name}]")
    _allow(path, "key of [corpus]", toml.get("corpus", {}), ("language", "encoding", "ignore"))
    known = [*OF_RECORDING, *OF_SPEAKER, *attributes()]
    columns = {fold(own): str(ours) for own, ours in toml.get("columns", {}).items()}
    _allow(path, "column of [columns]", columns.values(), known)
    _allow(path, "column of [words]", toml.get("words", {}), known)
    _allow(path, "column of [instruments]", toml.get("instruments", {}), list(attributes()))
    for column, instrument in toml.get("instruments", {}).items():
        _allow(path, f"instrument of {column}", [instrument], list(instruments().get(column, {})))
    _allow(path, "column of [sources]", toml.get("sources", {}), list(attributes()))
    _allow(path, "source", toml.get("sources", {}).values(), sorted(SOURCES))
    corpus = toml.get("corpus", {})
    encoding = corpus.get("encoding", "utf-8-sig")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise RecipeError(f"{path}: encoding {encoding!r} is not known; try 'cp1252' or 'utf-8'") from error
    return ColumnsToml(
        columns=columns,
        words={
            column: {str(own).strip().casefold(): str(ours) for own, ours in words.items()}
            for column, words in toml.get("words", {}).items()
        },
        instruments=toml.get("instruments", {}),
        sources=toml.get("sources", {}),
        ignore=frozenset(fold(name) for name in corpus.get("ignore", ())),
        language=corpus.get("language"),
        encoding=encoding,
    )


def _allow(path: Path, what: str, given: Iterable[object], allowed: Sequence[str]) -> None:
    for word in given:
        if word not in allowed:
            raise RecipeError(f"{path}: {what} {word!r} is not known{_nearest(word, allowed)}")


def _nearest(word: object, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)``, or the allowed words where none is near and they are few."""
    by_folded = {name.casefold(): name for name in sorted(allowed)}
    near = get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {by_folded[near[0]]!r}?)"
    return f" (allowed: {', '.join(by_folded.values())})" if len(by_folded) <= 12 else ""


# --- cells ------------------------------------------------------------------------------------------------


class _Reader:
    """Turns the rows of one table into `Tables`, and collects every wrong cell before it complains."""

    def __init__(self, corpus: str, root: Path, table: Path, mapping: ColumnsToml, language: str) -> None:
        self.rows = Rows(corpus)
        self.root = root
        self.table = table
        self.mapping = mapping
        self.language = language
        self.wrong: list[str] = []

    def read(self, table: list[Row]) -> Tables:
        """All tables, or a `RecipeError` that lists the wrong cells."""
        kept: list[tuple[Row, str, str]] = []  # row, speaker_id, utt_id
        heard: set[str] = set()
        owners: dict[str, Row] = {}
        for row in table:
            path = self._path(row)
            if path is not None:
                speaker_id = self._speaker(row, owners)
                utt_id = self._utterance(row, path, speaker_id)
                if utt_id in heard:
                    self.rows.utterances.pop()
                    self.rows.reject(f"{self.table.name}:{row['_row']}", "an earlier row has this recording")
                else:
                    heard.add(utt_id)
                    kept.append((row, speaker_id, utt_id))
        for name in sorted(set(table[0]) & set(attributes())):
            self._observations(attributes()[name], kept)
        if self.wrong:
            more = f"\n... and {len(self.wrong) - 10} more" if len(self.wrong) > 10 else ""
            raise RecipeError("\n".join(self.wrong[:10]) + more)
        self._orphans()
        return self.rows.tables()

    def _path(self, row: Row) -> str | None:
        """The recording's path, or None after a reject."""
        where = f"{self.table.name}:{row['_row']}"
        path = PurePosixPath((row["path"] or "").replace("\\", "/"))
        if row["path"] is None or row["speaker"] is None:
            self.rows.reject(where, "no path" if row["path"] is None else "no speaker")
        elif path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            self.rows.reject(where, "the path leaves the corpus folder: write it relative to the folder")
        elif not (self.root / path).is_file():
            self.rows.reject(where, "no audio at this path")
        else:
            return path.as_posix()
        return None

    def _speaker(self, row: Row, owners: dict[str, Row]) -> str:
        """Add the speaker of a row; all rows of a speaker must agree on what is the speaker's."""
        owner_id = row["speaker"] or ""
        first = owners.setdefault(owner_id, row)
        if row is not first:
            for column in OF_SPEAKER:
                if (self._own(row, column) or "").casefold() != (self._own(first, column) or "").casefold():
                    said = f"row {first['_row']} of this speaker says {first.get(column) or ''!r}"
                    self._complain(row, column, f"is another value: {said}")
            return f"{self.rows.corpus}:{owner_id}"
        year = self._number(row, "birth_year", (1850, 2100))
        return self.rows.speaker(
            owner_id,
            sex=self._word(row, "sex", sex_words()),
            birth_year=None if year is None else int(year),
            native_language=self._language(row, "native_language"),
            country=self._own(row, "country"),
            person_id=self._own(row, "person"),
        )

    def _utterance(self, row: Row, path: str, speaker_id: str) -> str:
        channel = self._number(row, "channel", (0, 63))
        start_s, end_s = self._number(row, "start", (0, 1e6)), self._number(row, "end", (0, 1e6))
        if end_s is not None and end_s <= (start_s or 0.0):
            self._complain(row, "end", "is not after start")
        return self.rows.utterance(
            path,
            speaker_id,
            language=self._language(row, "language") or self.language,
            speech_task=self._word(row, "speech_task", sorted(SPEECH_TASKS)),
            session_id=self._own(row, "session"),
            start_s=start_s,
            end_s=end_s,
            channel=None if channel is None else int(channel),
            device=self._own(row, "device"),
            recorded_on=self._date(row),
            official_split=self._word(row, "split", SPLITS),
            age=self._number(row, "age", (0, 120)),
        )

    def _observations(self, attribute: Attribute, kept: list[tuple[Row, str, str]]) -> None:
        """The observations of one column, each at the widest level at which it is one value."""
        instrument = self._instrument(attribute)
        source = self.mapping.sources.get(attribute.name) or _source(attribute)
        values = {utt_id: self._value(attribute, row) for row, _, utt_id in kept}
        of_speaker: dict[str, list[tuple[str | None, str]]] = {}
        for row, speaker_id, utt_id in kept:
            of_speaker.setdefault(speaker_id, []).append((self._own(row, "session"), utt_id))
        for speaker_id, places in of_speaker.items():
            for session_id, of_utterance, value in _widest(places, values):
                self.rows.observe(
                    speaker_id,
                    attribute.name,
                    value,
                    source=source,
                    instrument=instrument,
                    unit=attribute.unit,
                    session_id=session_id,
                    utt_id=of_utterance,
                )

    def _instrument(self, attribute: Attribute) -> str | None:
        """What columns.toml names; a scale's own where it has but one."""
        own = list(instruments().get(attribute.name, {})) if attribute.kind == "scale" else []
        return self.mapping.instruments.get(attribute.name) or (own[0] if len(own) == 1 else None)

    def _value(self, attribute: Attribute, row: Row) -> str | float | None:
        if attribute.kind in {"category", "text"}:
            return self._own(row, attribute.name)
        if attribute.kind in {"scale", "number"}:
            return self._number(row, attribute.name, attribute.bounds)
        instrument = self.mapping.instruments.get(attribute.name)
        if instrument is not None:
            return self._number(row, attribute.name, instruments()[attribute.name][instrument])
        word = self._word(row, attribute.name, ("present", "absent", *STATE))
        return STATE.get(word or "", word)

    # One cell each; a wrong one is complained about and read as unknown.

    def _own(self, row: Row, column: str) -> str | None:
        text = row.get(column)
        return self.mapping.words.get(column, {}).get((text or "").casefold(), text or "") or None

    def _word(self, row: Row, column: str, allowed: Sequence[str]) -> str | None:
        word = self._own(row, column)
        if word is not None and word.casefold() not in allowed:
            hint = _nearest(word, allowed)
            if number(word) is not None and column in instruments():
                names = ", ".join(instruments()[column])
                hint = f": for a score, name its instrument ({names}) under [instruments] in columns.toml"
            self._complain(row, column, f"is not an allowed word{hint}")
            return None
        return None if word is None else word.casefold()

    def _number(self, row: Row, column: str, bounds: tuple[float, float] | None) -> float | None:
        text = self._own(row, column)
        value = number(text)
        if text is not None and value is None:
            self._complain(row, column, "is not a number")
        elif value is not None and bounds is not None and not bounds[0] <= value <= bounds[1]:
            self._complain(row, column, f"is not within {bounds[0]:g}..{bounds[1]:g}; leave it empty where unknown")
            return None
        return value

    def _language(self, row: Row, column: str) -> str | None:
        tag = self._own(row, column)
        if tag is not None and not LANGUAGE.fullmatch(tag):
            self._complain(row, column, "is not a language tag such as 'fr' or 'pt-BR'")
        return tag

    def _date(self, row: Row) -> date | None:
        text = self._own(row, "date")
        try:
            return None if text is None else date.fromisoformat(text[:10])
        except ValueError:
            self._complain(row, "date", "is not a date such as 2024-12-31")
            return None

    def _complain(self, row: Row, column: str, what: str) -> None:
        said = row.get(column)
        self.wrong.append(f"{self.table}: row {row['_row']}, column {column}: {said or ''!r} {what}")

    def _orphans(self) -> None:
        """Reject the audio files that no row names."""
        named = {utterance["path"] for utterance in self.rows.utterances}
        for path in sorted(self.root.rglob("*")):
            where = path.relative_to(self.root).as_posix()
            if path.suffix.lower() in AUDIO and where not in named and path.is_file():
                self.rows.reject(where, f"no row for this file in {self.table.name}")


def _source(attribute: Attribute) -> str:
    if attribute.kind == "scale":
        return "self-report" if attribute.name in SELF_REPORTED else "clinician"
    return "rater" if attribute.family == "voice" else "owner"


Value = str | float | None


def _widest(
    places: list[tuple[str | None, str]], values: Mapping[str, Value]
) -> list[tuple[str | None, str | None, Value]]:
    """Where to state a fact of one speaker, as (session, utterance, value): None where it holds for all of them.

    ``places`` are the speaker's (session, utterance). A blank among the values keeps the fact at the rows that
    state it: one rated recording does not speak for the others.
    """
    different = {values[utt_id] for _, utt_id in places}
    if len(different) == 1:
        return [(None, None, different.pop())]
    stated: list[tuple[str | None, str | None, Value]] = []
    for session in dict.fromkeys(session for session, _ in places):
        members = [utt_id for other, utt_id in places if other == session]
        different = {values[utt_id] for utt_id in members}
        if session is not None and len(different) == 1:
            stated.append((session, None, different.pop()))
        else:
            stated.extend((session, utt_id, values[utt_id]) for utt_id in members)
    return stated


# --- the miniature ----------------------------------------------------------------------------------------


def write_byo(
    root: Path, voices: Voices, people: Sequence[Voice], facts: Callable[[Voice], Mapping[str, object]]
) -> None:
    """Write three recordings of each speaker, a table whose columns and words are a French lab's, and its map.

    The traps: a row without audio, audio without a row, an empty cell, a decimal comma, a byte order mark.
    """
    columns = {"sujet": "speaker", "fichier": "path", "sexe": "sex", "âge": "age"}
    extra = list(facts(people[0])) if people else []
    lines = [[*columns, "tâche", *extra, "remarques"]]
    for place, person in enumerate(people):
        row = facts(person)
        for take in range(3):
            path = f"audio/S{place:03d}/S{place:03d}_{take + 1}.wav"
            voices.write(root / path, voices.say(person, take=take), 16000)
            sex = {"male": "1", "female": "2"}[person.sex]
            age = "" if place == 1 else f"{person.age},0"
            task = ("lecture", "récit")[take % 2]
            lines.append([f"S{place:03d}", path, sex, age, task, *(str(row[name]) for name in extra), ""])
    lines.append(["S999", "audio/S999/S999_1.wav", "2", "40", "lecture", *("" for _ in extra), "absent"])
    voices.write(root / "audio" / "essai.wav", voices.say(people[0], take=3), 16000)
    text = "\n".join(";".join(cells) for cells in lines)
    (root / "metadata.csv").write_text(text + "\n", encoding="utf-8-sig")
    (root / "columns.toml").write_text(_MINIATURE_TOML, encoding="utf-8")


_MINIATURE_TOML = """\
[columns]
sujet = "speaker"
fichier = "path"
sexe = "sex"
"âge" = "age"
"tâche" = "speech_task"

[words.sex]
1 = "male"
2 = "female"

[words.speech_task]
lecture = "read"
"récit" = "spontaneous"

[corpus]
ignore = ["remarques"]
"""


def _states(conditions: Sequence[Mapping[str, float]]) -> Callable[[Voice], Mapping[str, object]]:
    """The columns of a miniature that come from traits: each a state, present from a strength of 0.2."""
    names = sorted({name for condition in conditions for name in condition})
    return lambda person: {name: "present" if person.strength(name) >= 0.2 else "absent" for name in names}
