"""Bring your own cohort: a folder with a table, audio and one small file, read without writing Python.

::

    <raw>/<name>/metadata.csv      (or .tsv, .xlsx, .parquet) one row a recording
    <raw>/<name>/corpus.toml       what the cohort is, its licence, and what your columns and words mean
    <raw>/<name>/...               the audio, wherever the column "path" says

A folder of `SLAP_RAW` that holds one of the two files is a corpus of that name: lower-case letters, digits and ``_``,
and not the name of a recipe. ``slap check <folder>`` says what is understood and what is wrong.

**Columns.** ``speaker`` (a pseudonym, never a name) and ``path`` (relative to the folder) must be there. ``session
language split speech_task device date age channel start end person`` describe the recording (``start`` and ``end`` in
seconds cut a part out of it, ``date`` is 2024-12-31, ``person`` is the same for one human in two corpora); ``sex
birth_year native_language country`` describe the speaker, and all rows of a speaker have to agree on them. A column
named like an attribute of ``warehouse/vocabulary/attributes.csv`` becomes an observation: a state such as
``depression`` holds a word for present or absent, a scale such as ``phq9`` holds the score. Words are those of
``warehouse/vocabulary/words.csv`` (yes/no, 1/0, M/F, names of languages ...). An empty cell is "unknown": healthy is a
stated fact, so write absent where it is absent. A fact that stands in all rows of a speaker with one value is the
speaker's; one that is constant within each session is the session's; any other belongs to its row.

**corpus.toml**; [corpus] and [licence] have more keys than these, see `_corpus_toml.KEYS`::

    [corpus]
    title = "Voices of my clinic"
    language = "de"                 # where there is no column language
    label = "depression"            # the attribute that the split balances
    ignore = ["Notiz"]              # your columns that mean nothing here

    [licence]                       # required: nothing is used without
    name = "Ethics vote 123/24"
    access = "private"
    may_train = true
    may_redistribute = false
    consent = "research on speech and health"

    [columns]                       # your column = ours, or several of ours
    Geschlecht = "sex"
    Diagnose = ["depression", "healthy"]
    [words.sex]                     # your word = ours, in the column (our name) sex
    2 = "female"
    [words.phq9]
    "-9" = ""                       # not known
    [instruments]
    voice_roughness = "GRBAS"       # the column holds scores of this instrument instead of present/absent
    [sources]
    depression = "clinician"        # who says so; see schema.SOURCES

A column that is none of these is an error, not ignored: a misspelt ``phq-9`` would otherwise vanish.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpora import _corpus_toml
from pipelines.corpora._base import Corpus, Licence, RecipeError, Role, Rows, recipes
from pipelines.corpora._corpus_toml import OF_SPEAKER, CorpusToml
from pipelines.corpora._read import (
    MOST_BYTES,
    MOST_CELLS,
    MOST_COLUMNS,
    MOST_ROWS,
    Row,
    cell,
    fold,
    header_line,
    number,
    paths_below,
    read_table,
    said,
)
from pipelines.corpora._vocabulary import (
    AGE_RANGE,
    Attribute,
    attributes,
    instruments,
    language,
    meanings,
    nearest,
    words,
)
from pipelines.schema import SPEECH_TASKS, SPLITS, Tables

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

TABLES = ("metadata.csv", "metadata.tsv", "metadata.xlsx", "metadata.parquet")
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aiff", ".sph")
NAME = re.compile(r"[a-z][a-z0-9_]*")  # of a cohort: becomes the name of assets and folders
SELF_REPORTED = frozenset(
    {"phq9", "phq8", "gad7", "ais", "mfi_general", "psqi", "bdi2", "sds", "pcl_c", "vhi", "vhi10", "rsi"}
)  # other scales: by a clinician
TRAPS = {
    "own-columns": "Columns have the owner's names, in any language.",
    "misspelt-column": "A misspelt column would vanish, and its labels with it.",
    "own-words": "Sex, tasks and diagnoses come as codes or words of the owner's.",
    "unknown-word": "A misspelt word would become a wrong label or none.",
    "byte-order-mark": "A table saved by Excel begins with a byte order mark, before the first column's name.",
    "semicolons": "Where the decimal sign is a comma, cells are parted by semicolons.",
    "other-encoding": "A text table need not be UTF-8.",
    "decimal-comma": "Ages and scores are written with a decimal comma.",
    "missing-code": "A code such as -9 stands for not known, and is no score.",
    "empty-cell": "An empty cell is not known; it is neither absent nor zero.",
    "absent-audio": "Rows name recordings that are not there.",
    "audio-without-row": "Recordings lie in the folder that no row names.",
    "twin-of-a-mac": "A Mac leaves a ._ twin of every recording: it is no audio.",
    "same-recording-twice": "Two rows name one recording.",
    "path-leaves-folder": "A path is absolute or climbs out of the corpus folder.",
    "windows-path": "Paths are written with backslashes.",
    "rows-contradict": "Two rows of one speaker say different things about the speaker.",
    "diagnosis-of-many": "One column of diagnoses holds several states and the healthy.",
}


def byo_corpus(
    name: str,
    title: str,
    *,
    language: str,
    licence: Licence,
    citation: str,
    label: str,
    conditions: Sequence[Mapping[str, float]],
    facts: Callable[[Voice], Mapping[str, object]],
    speakers: int = 48,
    roles: tuple[Role, ...] = ("train", "evaluate"),
) -> Corpus:
    """A recipe for a corpus in the layout that the module docstring describes, with a miniature.

    Only corpora that a benchmark names need one: any other cohort declares itself by corpus.toml.

    Args:
        name: the name of the recipe's file and of the raw folder.
        title: for reports.
        language: BCP-47; of recordings for which neither the table nor corpus.toml says another.
        licence: what may be done with the corpus; a [licence] in corpus.toml goes before it.
        citation: how to cite it.
        label: the attribute that stratifies the split.
        conditions: traits of the miniature's groups of speakers, see `Voices.cast`.
        facts: the miniature's columns beside speaker, path, sex and age.
        speakers: speakers of the miniature at scale 1.
        roles: "train", "evaluate" or both.
    """
    corpus = Corpus(
        name=name,
        title=title,
        homepage="",
        citation=citation,
        licence=licence,
        languages=(language,),
        roles=roles,
        scan=lambda root: scan_byo(name, root, language),
        miniature=lambda root, voices: write_byo(
            root, voices, voices.cast(name, speakers, language, conditions), facts, corpus
        ),
        label=label,
        traps=TRAPS,
        cohort=True,
    )
    return corpus


# --- cohorts that are only a folder -----------------------------------------------------------------------


def cohorts(raw: Path) -> dict[str, Corpus]:
    """The cohorts in a raw folder by name. One that cannot be read is there too: its ``scan`` says why."""
    found: dict[str, Corpus] = {}
    faults: list[tuple[Path, str]] = []
    for folder in sorted(raw.iterdir()) if raw.is_dir() else []:
        try:
            if folder.name.startswith(".") or not (is_cohort(folder) or (folder / _corpus_toml.NAME).is_file()):
                continue
        except PermissionError:
            continue  # such as lost+found
        try:
            corpus = cohort(folder)
        except (RecipeError, OSError) as error:
            faults.append((folder, str(error)))
        else:
            found[corpus.name] = corpus
    for folder, reason in faults:  # after the others, whose names they must not take
        corpus = _unreadable(folder, reason, taken={*recipes(), *found})
        found[corpus.name] = corpus
    return dict(sorted(found.items()))


def is_cohort(folder: Path) -> bool:
    """Whether a folder is in this layout, and is not that of a recipe for another one."""
    recipe = recipes().get(folder.name)
    if recipe is not None:
        return recipe.cohort
    return any((folder / name).is_file() for name in (_corpus_toml.NAME, _corpus_toml.OLD_NAME, *TABLES))


def cohort(folder: Path) -> Corpus:
    """The corpus that a folder declares by its corpus.toml; for popgen and voces, the recipe with what it says.

    Raises:
        RecipeError: corpus.toml is absent or wrong, or the folder's name cannot be a corpus'.
    """
    name = folder.name
    recipe = recipes().get(name)
    if recipe is not None and not recipe.cohort:
        raise RecipeError(
            f"{folder / _corpus_toml.NAME}: {name!r} is the name of the corpus {recipe.title!r}: rename the folder"
        )
    if not NAME.fullmatch(name):
        raise RecipeError(f"{folder}: a cohort's folder is named with a-z, 0-9 and _: rename it, to {_clean(name)!r}")
    declared = _corpus_toml.read(folder, complete=recipe is None)
    stated: dict[str, Any] = {
        key: declared.corpus[key]
        for key in ("title", "label", "citation", "homepage", "official_splits", "epoch_share")
        if key in declared.corpus
    }
    if "roles" in declared.corpus:
        stated["roles"] = tuple(declared.corpus["roles"])
    if declared.licence is not None:
        stated["licence"] = declared.licence
    if declared.language is not None:
        stated["languages"] = (declared.language,)
    if recipe is not None:
        return replace(recipe, **stated)
    spoken = stated["languages"][0]
    optional: dict[str, Any] = {"homepage": "", "citation": "", "roles": _corpus_toml.ROLES}
    return Corpus(
        **{**optional, **stated},
        name=name,
        scan=lambda root: scan_byo(name, root, spoken),
        miniature=_no_miniature,
        cohort=True,
    )


def _unreadable(folder: Path, reason: str, taken: set[str]) -> Corpus:
    """A cohort in whose place stands only the reason: its tables are empty, and nothing is refused for it."""

    def scan(_: Path) -> Tables:
        raise RecipeError(reason)

    recipe = recipes().get(folder.name)
    if recipe is not None:
        return replace(recipe, scan=scan)
    name = _clean(folder.name)
    while name in taken:
        name += "_"
    return Corpus(
        name=name,
        title=f"{folder.name} (cannot be read: slap check)",
        homepage="",
        citation="",
        licence=Licence("none that can be read", "", "private", may_train=False, may_redistribute=False),
        languages=(),
        roles=(),
        scan=scan,
        miniature=_no_miniature,
        cohort=True,
        folder=folder.name,
    )


def _clean(name: str) -> str:
    """The nearest name that a cohort may have."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")
    return plain if NAME.fullmatch(plain) else f"cohort_{plain}".rstrip("_")


def _no_miniature(root: Path, voices: Voices) -> None:
    raise RecipeError(f"{root.name} is a cohort: it has no miniature")


def scan_byo(corpus: str, root: Path, language: str) -> Tables:
    """Read a folder in the bring-your-own layout.

    A row without audio and audio without a row are rejects. A wrong cell is an error, because whoever owns
    the table can mend it.

    Raises:
        RecipeError: no table, a column missing or unknown, or cells that hold no allowed word or number;
            the message names file, row and column and the nearest allowed word.
    """
    table = read_cohort_table(root)
    return _Reader(corpus, root, table, table.toml.language or language).read()


# --- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A cohort's table with our column names; our words are put in later, cell by cell."""

    path: Path
    toml: CorpusToml
    rows: list[Row]
    own: Mapping[str, str]  # our column -> the owner's
    ignored: tuple[str, ...]


def metadata_file(root: Path) -> Path:
    """The table of a cohort's folder.

    Raises:
        RecipeError: there is none, or more than one.
    """
    found = [root / name for name in TABLES if (root / name).is_file()]
    if not found:
        raise RecipeError(f"{root}: found none of {', '.join(TABLES)}; see pipelines/corpora/_byo.py for the layout")
    if len(found) > 1:
        raise RecipeError(f"{root}: holds {' and '.join(path.name for path in found)}; keep one of them")
    return found[0]


def read_names_and_rows(path: Path, encoding: str) -> tuple[list[str], list[Row]]:
    """The folded column names and the rows of a table in one of the four formats."""
    if path.suffix == ".parquet":
        frame = _parquet(path)
        rows: list[Row] = []
        held = 0
        for line, cells in enumerate(frame.iter_rows(named=True, buffer_size=32), start=1):
            row = {fold(name): cell(value) for name, value in cells.items()}
            held += sum(len(text) for text in row.values() if text is not None)
            if held > MOST_BYTES:
                raise RecipeError(f"{path}: holds more than {MOST_BYTES} characters, and no table of more is read")
            rows.append(row | {"_row": str(line)})
        return [fold(name) for name in frame.columns], rows
    rows = read_table(path, separator=_separator(path, encoding), encoding=encoding, strict=True)
    if not rows:
        raise RecipeError(f"{path}: holds no rows")
    return [name for name in rows[0] if name != "_row"], rows


def _parquet(path: Path) -> pl.DataFrame:
    """A Parquet table, whose bytes say little of its size: one number may stand for millions."""
    try:
        found = pq.read_metadata(path)
        size = sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
        rows, columns = found.num_rows, found.num_columns
        if rows > MOST_ROWS or columns > MOST_COLUMNS or rows * columns > MOST_CELLS or size > MOST_BYTES:
            raise RecipeError(
                f"{path}: has {rows} rows and {columns} columns and unpacks to {size} bytes, and no table of more "
                f"than {MOST_ROWS} rows, {MOST_COLUMNS} columns, {MOST_CELLS} cells or {MOST_BYTES} bytes is read"
            )
        leaves = map(found.schema.column, range(columns))
        if lists := [leaf.path for leaf in leaves if leaf.max_repetition_level]:
            raise RecipeError(f"{path}: has lists in column {said(lists)}; a cell of a table is one word or number")
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise RecipeError(f"{path}: cannot be read as Parquet: {error}") from error


def read_cohort_table(root: Path) -> Table:
    """The rows of the folder's table, with the columns that corpus.toml and the vocabulary know."""
    toml = _corpus_toml.read(root, complete=False)
    path = metadata_file(root)
    names, rows = read_names_and_rows(path, toml.encoding)
    if not rows:
        raise RecipeError(f"{path}: holds no rows")
    own = _columns(path, names, toml)
    _check_decoded(path, rows, own, toml)
    renamed = [{ours: row.get(name) for ours, name in own.items()} | {"_row": row["_row"]} for row in rows]
    return Table(path, toml, renamed, own, tuple(name for name in names if name in toml.ignore))


def _check_decoded(table: Path, rows: Sequence[Row], own: Mapping[str, str], toml: CorpusToml) -> None:
    """Complain about bytes that are no text: two people may become one where a letter is lost."""
    wrong = [
        f"row {row['_row']}, column {name} is not text in {toml.encoding.removesuffix('-sig')}"  # may be a name
        for row in rows
        for name in own.values()
        if "\ufffd" in (row.get(name) or "")
    ]
    if wrong:
        raise RecipeError(
            _listed(table, wrong) + f'; say the right one in [corpus] of {toml.path.name}: encoding = "cp1252"'
        )


def _separator(table: Path, encoding: str) -> str:
    """Comma, semicolon or tab: whichever the header line has most of."""
    if table.suffix != ".csv":
        return "\t" if table.suffix == ".tsv" else ","
    header = header_line(table, encoding)
    return max(",;\t", key=header.count)


def _columns(table: Path, names: Sequence[str], toml: CorpusToml) -> dict[str, str]:
    """Our column -> the owner's, for the columns that mean something; complains about all others."""
    for name in [*toml.columns, *toml.ignore]:
        if name not in names:
            raise RecipeError(f"{toml.path}: {table.name} has no column {name!r}{nearest(name, names)}")
    own: dict[str, str] = {}
    strange: list[str] = []
    for name in names:
        if name in toml.ignore or name.startswith("unnamed"):
            continue
        for ours in toml.columns.get(name, (name,)):
            if ours not in _corpus_toml.columns():
                near = _corpus_toml.guess(name)
                strange.append(f"column {name!r} is not known" + (f" (did you mean {near!r}?)" if near else ""))
            elif ours in own:
                raise RecipeError(
                    f"{table}: two columns are {ours!r}: {own[ours]!r} and {name!r}; list one of them under ignore in "
                    f"[corpus] of {toml.path.name}"
                )
            else:
                own[ours] = name
    if strange and not own:  # the first row may be no header but a person: it is not quoted
        raise RecipeError(
            f"{table}: none of its {len(names)} columns is known. Is its first row the header? Then say what each is "
            f"under [columns] of {toml.path.name}"
        )
    if strange:
        remedy = f"say what it is under [columns] of {toml.path.name}, or list it under ignore in its [corpus]"
        raise RecipeError(_listed(table, strange) + f"; {remedy}")
    for required in ("speaker", "path"):
        if required not in own:
            raise RecipeError(
                f"{table}: no column {required}; found {said(names)}; say which it is under [columns] of "
                f'{toml.path.name}: <your column> = "{required}"'
            )
    return own


def _listed(table: Path, faults: Sequence[str]) -> str:
    """The faults of a table, each on a line of its own, at most ten."""
    if len(faults) == 1:
        return f"{table}: {faults[0]}"
    more = [f"... and {len(faults) - 10} more"] if len(faults) > 10 else []
    return "\n  ".join([f"{table}:", *faults[:10], *more])


# --- cells ------------------------------------------------------------------------------------------------


class _Reader:
    """Turns the rows of one table into `Tables`, and collects every wrong cell before it complains."""

    def __init__(self, corpus: str, root: Path, table: Table, language: str) -> None:
        self.rows = Rows(corpus)
        self.root = root
        self.table = table
        self.toml = table.toml
        self.language = language
        self.wrong: dict[str, list[str]] = {}  # what is wrong with a cell -> the rows in which it is
        self.real: dict[PurePosixPath, Path] = {}  # folder of the table's paths -> where it lies, links followed

    def read(self) -> Tables:
        """All tables, or a `RecipeError` that lists the wrong cells."""
        kept: list[tuple[Row, str, str]] = []  # row, speaker_id, utt_id
        heard: set[tuple[str, float | None, float | None]] = set()
        named: set[str] = set()
        owners: dict[str, Row] = {}
        for row in self.table.rows:
            path = self._path(row)
            if path is None:
                continue
            named.add(path)
            start_s, end_s = self._number(row, "start", (0, 1e6)), self._number(row, "end", (0, 1e6))
            if end_s is not None and end_s <= (start_s or 0.0):
                self._complain(row, "end", "is not after start")
            part = (os.path.splitext(path)[0], start_s, end_s)  # noqa: PTH122 (as in an utterance's id)
            if part in heard:
                self.rows.reject(f"{self.table.path.name}:{row['_row']}", "an earlier row has this recording")
                continue
            heard.add(part)
            speaker_id = self._speaker(row, owners)
            kept.append((row, speaker_id, self._utterance(row, path, speaker_id, start_s, end_s)))
        for name in sorted(set(self.table.own) & set(attributes())):
            self._observations(attributes()[name], kept)
        if self.wrong:
            said = [
                f"row {rows[0]}{f' (and {len(rows) - 1} more)' if len(rows) > 1 else ''}, {what}"
                for what, rows in self.wrong.items()
            ]
            raise RecipeError(_listed(self.table.path, said))
        for path in paths_below(self.root, *AUDIO):
            if path not in named:
                self.rows.reject(path, f"no row for this file in {self.table.path.name}")
        return self.rows.tables()

    def _is_inside(self, path: PurePosixPath) -> bool:
        """Whether a file lies in the corpus folder once links are followed; on a network drive each look costs."""
        for folder in (PurePosixPath(), path.parent):
            if folder not in self.real:
                self.real[folder] = (self.root / folder).resolve()
        file = self.real[path.parent] / path.name
        return (file.resolve() if file.is_symlink() else file).is_relative_to(self.real[PurePosixPath()])

    def _path(self, row: Row) -> str | None:
        """The recording's path, or None after a reject."""
        where = f"{self.table.path.name}:{row['_row']}"
        path = PurePosixPath((row["path"] or "").replace("\\", "/"))
        if row["path"] is None or row["speaker"] is None:
            self.rows.reject(where, "no path" if row["path"] is None else "no speaker")
        elif not path.parts:
            self.rows.reject(where, "no audio at this path")
        elif path.is_absolute() or ".." in path.parts or path.parts[0][1:2] == ":":  # C:
            self.rows.reject(where, "the path leaves the corpus folder: write it relative to the folder")
        elif not _is_file(self.root / path):
            self.rows.reject(where, "no audio at this path")
        elif not self._is_inside(path):
            self.rows.reject(
                where, "symbolic link out of the corpus folder, not followed: put the audio into the folder"
            )
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
            sex=self._word(row, "sex", list(words("sex")), ("female", "male", "other")),
            birth_year=None if year is None else int(year),
            native_language=self._language(row, "native_language"),
            country=self._country(row),
            person_id=self._own(row, "person"),
        )

    def _utterance(self, row: Row, path: str, speaker_id: str, start_s: float | None, end_s: float | None) -> str:
        channel = self._number(row, "channel", (0, 63))
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
        source = self.toml.sources.get(attribute.name) or _source(attribute)
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
        """What corpus.toml names; a scale's own where it has but one."""
        own = list(instruments().get(attribute.name, {})) if attribute.kind == "scale" else []
        return self.toml.instruments.get(attribute.name) or (own[0] if len(own) == 1 else None)

    def _value(self, attribute: Attribute, row: Row) -> str | float | None:
        if attribute.kind == "text":
            return self._own(row, attribute.name)
        if attribute.kind == "category":
            return self._category(row, attribute)
        if attribute.kind in {"scale", "number"}:
            return self._number(row, attribute.name, attribute.bounds)
        instrument = self.toml.instruments.get(attribute.name)
        if instrument is not None:
            return self._number(row, attribute.name, instruments()[attribute.name][instrument])
        word = self._word(row, attribute.name, list(meanings(attribute.name) or {}), ("present", "absent", "yes", "no"))
        return (meanings(attribute.name) or {})[word] or None if word is not None else None

    def _category(self, row: Row, attribute: Attribute) -> str | None:
        """The owner's word: one that the warehouse knows where it knows a list of them."""
        allowed = meanings(attribute.name)
        word = self._own(row, attribute.name)
        if allowed is not None:
            word = self._word(row, attribute.name, list(allowed), attribute.allowed)
        elif attribute.name == "age_range" and word is not None and not AGE_RANGE.fullmatch(word):
            word = self._word(row, attribute.name, list(words("age_range")), ("18-34 and so on",))
        return word

    # One cell each; a wrong one is complained about and read as unknown.

    def _own(self, row: Row, column: str) -> str | None:
        text = row.get(column) or ""
        return self.toml.words.get(column, {}).get(fold(text), text) or None

    def _word(self, row: Row, column: str, allowed: Sequence[str], shown: Sequence[str] | None = None) -> str | None:
        """One of the allowed words, folded; ``shown`` stands for them in a complaint where none is near."""
        word = self._own(row, column)
        if word is None or fold(word) in allowed:
            return None if word is None else fold(word)
        if number(word) is not None and column in instruments():
            names = ", ".join(instruments()[column])
            hint = f": for a score, name its instrument ({names}) under [instruments] in corpus.toml"
        else:
            near = self._nearest(column, word, allowed, shown)
            hint = f"{near}; mend it, or map it under [words.{column}] in corpus.toml"
        self._complain(row, column, f"is not an allowed word{hint}")
        return None

    def _nearest(self, column: str, word: str, allowed: Iterable[str], shown: Iterable[str] | None = None) -> str:
        """The hint for a wrong word; the owner's words of [words.<column>] are as good as ours."""
        return nearest(word, [*self.toml.own_words.get(column, ()), *allowed], shown)

    def _number(self, row: Row, column: str, bounds: tuple[float, float] | None) -> float | None:
        text = self._own(row, column)
        value = number(text)
        if text is not None and value is None:
            self._complain(row, column, "is not a number")
        elif value is not None and bounds is not None and not bounds[0] <= value <= bounds[1]:
            remedy = f'a code for "not known" is mapped to "" under [words.{column}] in corpus.toml'
            self._complain(row, column, f"is not within {bounds[0]:g}..{bounds[1]:g}; {remedy}")
            return None
        return value

    def _language(self, row: Row, column: str) -> str | None:
        """A tag or a name as a tag; None where it is empty or a word for "unknown"."""
        text = self._own(row, column)
        tag = None if text is None else language(text)
        if text is not None and tag is None and fold(text) not in words("language"):
            near = self._nearest(column, text, words("language"))
            self._complain(row, column, f"is no language such as 'fr', 'pt-BR' or 'French'{near}")
        return tag

    def _country(self, row: Row) -> str | None:
        """The owner's word for a country: a name or code that the warehouse knows."""
        text = self._own(row, "country")
        if text is not None and fold(text) not in words("country"):
            near = self._nearest("country", text, words("country"))
            self._complain(row, "country", f"is no country such as 'FR' or 'France'{near}")
        return text

    def _date(self, row: Row) -> date | None:
        text = self._own(row, "date")
        try:
            return None if text is None else date.fromisoformat(text[:10])
        except ValueError:
            self._complain(row, "date", "is not a date such as 2024-12-31")
            return None

    def _complain(self, row: Row, column: str, what: str) -> None:
        own = self.table.own[column]
        where = column if own == column else f"{own} ({column})"
        self.wrong.setdefault(f"column {where}: {row.get(column) or ''!r} {what}", []).append(row["_row"] or "")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


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
    root: Path, voices: Voices, people: Sequence[Voice], facts: Callable[[Voice], Mapping[str, object]], corpus: Corpus
) -> None:
    """Write three recordings of each speaker, a table whose columns and words are a French lab's, and corpus.toml.

    The traps: a byte order mark, semicolons, a decimal comma, an empty cell and a code for "not known", codes for sex,
    words for tasks, rows without audio, out of the folder or of a recording that an earlier row has, audio without a
    row and the twin that a Mac leaves of it, a path with backslashes.
    """
    columns = {"sujet": "speaker", "fichier": "path", "sexe": "sex", "âge": "age"}
    extra = list(facts(people[0])) if people else []
    unknown = ["" for _ in extra]
    lines = [[*columns, "tâche", *extra, "remarques"]]
    for place, person in enumerate(people):
        row = facts(person)
        for take in range(3):
            path = f"audio/S{place:03d}/S{place:03d}_{take + 1}.wav"
            voices.write(root / path, voices.say(person, take=take), 16000)
            sex = {"male": "1", "female": "2"}[person.sex]
            age = {1: "", 2: "-9"}.get(place, f"{person.age},0")  # trap: empty-cell, missing-code, decimal-comma
            task = ("lecture", "récit")[take % 2]
            written = path.replace("/", "\\") if place == 0 else path  # trap: windows-path
            lines.append([f"S{place:03d}", written, sex, age, task, *(str(row[name]) for name in extra), ""])
    lines.append(["S999", "audio/S999/S999_1.wav", "2", "40", "lecture", *unknown, "absent"])  # trap: absent-audio
    lines.append(["S999", "../ailleurs.wav", "2", "40", "lecture", *unknown, ""])  # trap: path-leaves-folder
    lines.append([*lines[4][:-1], "doublon"])  # trap: same-recording-twice
    voices.write(root / "audio" / "essai.wav", voices.say(people[0], take=3), 16000)  # trap: audio-without-row
    (root / "audio" / "._essai.wav").write_bytes(b"\x00\x05\x16\x07")  # trap: twin-of-a-mac
    text = "\n".join(";".join(cells) for cells in lines)
    (root / "metadata.csv").write_text(text + "\n", encoding="utf-8-sig")  # trap: byte-order-mark
    (root / _corpus_toml.NAME).write_text(_declaration(corpus), encoding="utf-8")


def _declaration(corpus: Corpus) -> str:
    """The miniature's corpus.toml: the recipe's own [corpus] and [licence], and the map of a French lab."""
    said = {"title": corpus.title, "language": corpus.languages[0], "label": corpus.label, "citation": corpus.citation}
    licence = corpus.licence
    use = {name: getattr(licence, name) for name in _corpus_toml.KEYS["licence"] if getattr(licence, name) is not None}
    parts = (
        _corpus_toml.lines("corpus", said | {"roles": list(corpus.roles), "ignore": ["remarques"]}),
        _corpus_toml.lines("licence", use),
    )
    return "\n\n".join(["\n".join(part) for part in parts] + [_MINIATURE_MAP])


_MINIATURE_MAP = """\
[columns]
sujet = "speaker"
fichier = "path"
sexe = "sex"
"âge" = "age"
"tâche" = "speech_task"

[words.sex]
1 = "male"
2 = "female"

[words.age]
"-9" = ""

[words.speech_task]
lecture = "read"
"récit" = "spontaneous"
"""
