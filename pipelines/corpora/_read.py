"""Reading owners' tables: columns by name, never by position; every error names the file."""

from __future__ import annotations

import atexit
import csv
import itertools
import json
import os
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TextIO, TypeVar

from pipelines.corpora._base import RecipeError, Rows
from pipelines.guard import Guard, Note

# Words that owners write for "not known". A recipe adds its own ("-1" for NeuroVoz symptoms).
MISSING = frozenset({"", "-", "//", "na", "n/a", "nan", "nu", "none", "none (none)", "unknown"})

# Endings of files that may be recordings; what is in a file decides how it is read.
AUDIO_ENDINGS = frozenset(
    {"wav", "flac", "mp3", "ogg", "oga", "opus", "aif", "aiff", "aifc", "au", "caf", "w64", "sph", "nsp"}
    | {"m4a", "mp4", "aac", "webm", "mka"}
)

# What no table of speakers is like: the memory that its reader takes is bounded by these.
MOST_BYTES = 2**29  # of a file that is held as a whole, and of what an XLSX unpacks to
MOST_STREAMED = 2**34  # bytes of a list of recordings of which one row is held at a time
LONGEST_LINE = 2**20  # characters
MOST_COLUMNS = 20_000
MOST_ROWS = 5_000_000
MOST_CELLS = 50_000_000  # rows times columns: a short row takes a cell for every column
MOST_SAID = 300  # characters of owners' names in a message
SHEET_MEMORY = 2**31  # bytes for the process that reads an XLSX
END = "\0end"  # a line after the last one: it shows whether a quotation mark is still open

T = TypeVar("T")
Row = dict[str, str | None]  # folded column name -> stripped cell; "_row" -> line number in the file


def fold(text: str) -> str:
    """A column name as it is compared: stripped, blanks collapsed, lower case."""
    return re.sub(r"\s+", " ", text).strip().casefold()


def cell(value: object) -> str | None:
    """A table cell, stripped, or None where it holds one of `MISSING`."""
    text = "" if value is None else str(value).strip()
    return None if text.casefold() in MISSING else text


def number(value: object) -> float | None:
    """A cell as a number (decimal comma allowed), or None where it is missing or not a number."""
    text = cell(value)
    try:
        return None if text is None else float(text.replace(",", "."))
    except ValueError:
        return None


def full_years(born: date | None, day: date | None) -> float | None:
    """Full years between two days; None where a day is unknown or they are in the wrong order."""
    if born is None or day is None or day < born:
        return None
    had_birthday = (day.month, day.day) >= (born.month, born.day)
    return float(day.year - born.year - (not had_birthday))


def folders(root: Path, depth: int = 2) -> Iterator[Path]:
    """``root``, then the folders in it, then those in them, as far as ``depth``: where archives put their root."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = sorted(path for folder in level for path in folder.glob("[!.]*") if path.is_dir())


def visible(paths: Iterable[Path]) -> list[Path]:
    """The paths in order, without the ``._*`` twins that a Mac leaves in archives."""
    return sorted(path for path in paths if not path.name.startswith("._"))


def paths_below(root: Path, *endings: str) -> Iterator[str]:
    """Paths, relative to ``root``, of the files with one of the ``endings`` (lower case), by folder and sorted.

    For corpora of 100,000 files: no object is made of each. The ``._*`` twins of a Mac are left out.
    """
    for folder, inner, files in os.walk(root, followlinks=True):
        inner.sort()
        inside = Path(folder).relative_to(root).as_posix()
        for file in sorted(files):
            if file.lower().endswith(endings) and not file.startswith("._"):
                yield file if inside == "." else f"{inside}/{file}"


def read_table(
    path: Path,
    required: Sequence[str] = (),
    *,
    separator: str = ",",
    quoted: bool = True,
    encoding: str = "utf-8-sig",
    header_row: int = 0,
    sheet: str | None = None,
    strict: bool = False,
) -> list[Row]:
    """Read a CSV, TSV or XLSX table as text: one dict a row, keyed by folded column name.

    ``_row`` is the row's number as a person finds it in the file (the first line is 1). Rows without any
    text are dropped, missing sentinels are None, the first of two columns with one name wins.

    Args:
        path: the table; its ending decides between XLSX and text.
        required: column names (folded) that must be there.
        separator: of a text table.
        quoted: False for tables written without quoting, whose cells hold lone quotation marks.
        encoding: of a text table; a byte order mark is skipped.
        header_row: 0-based row of the column names; rows above are passed over.
        sheet: name of the XLSX sheet; the first one where it is None.
        strict: a column named twice and a row with more cells than columns are errors.

    Raises:
        RecipeError: the file is absent, unreadable, lacks a ``required`` column, or is not ``strict``.
    """
    if not path.is_file():
        raise RecipeError(f"{path.name} not found in {path.parent}: is this the corpus' root folder?")
    if path.suffix.lower() == ".xlsx":
        with _as_recipe_error(path):
            _check_size(path, MOST_BYTES)
            lines = iter(_sheet_rows(path, sheet))
    else:
        lines = table_rows(path, separator=separator, quoted=quoted, encoding=encoding)
    header = next(itertools.islice(lines, header_row, None), None)
    if header is None:
        raise RecipeError(f"{path}: holds no header in row {header_row + 1}")
    names = [fold(name) for name in header]
    absent = [name for name in required if name not in names]
    if absent:
        # Without any of them it may be a table without a header, whose first row is a person's: it is not quoted.
        found = said(filter(None, names)) if len(absent) < len(required) else f"{len(names)} others: no header?"
        raise RecipeError(f"{path}: no column {', '.join(absent)}; found {found}")
    if strict:
        _check_names(path, names)
    blank = dict.fromkeys(filter(None, names))
    rows: list[Row] = []
    long: list[int] = []
    for line, cells in enumerate(lines, start=header_row + 2):
        row: Row = {"_row": str(line)}
        for name, value in zip(names, cells, strict=False):
            if name:
                row.setdefault(name, cell(value))
        if strict and any(map(str.strip, cells[len(names) :])):
            long.append(line)
        if any(value is not None for name, value in row.items() if name != "_row"):
            rows.append(blank | row)
            if len(rows) * len(names) > MOST_CELLS:
                raise RecipeError(
                    f"{path}: has {len(names)} columns and more than {len(rows)} rows, and no table of more than "
                    f"{MOST_CELLS} cells is read"
                )
    if long:
        named = ", ".join(map(str, long[:10])) + (f" and {len(long) - 10} more" if len(long) > 10 else "")
        raise RecipeError(
            f"{path}: more cells than columns in row {named}; put a cell that holds the separator in quotation marks"
        )
    return rows


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        raise RecipeError(f"{path}: two columns are named {said(map(repr, twice))}; rename or remove one of them")


def said(names: Iterable[str]) -> str:
    """Owners' names for a message, which has room for `MOST_SAID` characters of them."""
    text = ", ".join(names)
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}..."


def table_rows(
    path: Path,
    *,
    separator: str = ",",
    quoted: bool = True,
    encoding: str = "utf-8-sig",
    most_bytes: int = MOST_BYTES,
) -> Iterator[list[str]]:
    """The rows of a text table as cells, one held at a time; blank rows are empty lists.

    Raises:
        RecipeError: it is no text table, or larger than any of a corpus.
    """
    with _as_recipe_error(path):
        _check_size(path, most_bytes)
        for number, row in enumerate(_text_rows(path, separator, quoted, encoding), start=1):
            if number > MOST_ROWS and row:
                raise ValueError(f"has more than {MOST_ROWS} rows, and no table of more is read")
            yield row


def lines_of(path: Path, *, most_bytes: int = MOST_BYTES) -> Iterator[str]:
    """The lines of a UTF-8 text with their ends, one held at a time; only ``\\n`` ends a line.

    Raises:
        RecipeError: it is no text, or larger than any list of a corpus.
    """
    with _as_recipe_error(path):
        _check_size(path, most_bytes)
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
            yield from _lines(file)


def or_reject(rows: Rows, where: str, lines: Iterator[T]) -> Iterator[T]:
    """What `table_rows` or `lines_of` gives of a side file; where it cannot be read on is a reject and the end."""
    try:
        for first in lines:
            yield first
            break
        else:
            rows.reject(where, "is empty")
        yield from lines
    except RecipeError as error:
        why = str(error).rpartition(f"{PurePosixPath(where).name}: ")[2]  # without the folders of this machine
        rows.reject(where, f"not read to its end: {why}")


@contextmanager
def _as_recipe_error(path: Path) -> Iterator[None]:
    """Say of which table an error is."""
    try:
        yield
    except RecipeError:
        raise
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise RecipeError(f"{path}: cannot be read as a table: {str(error).partition(chr(10))[0]}") from error


def text_of(path: Path, encoding: str = "utf-8-sig", errors: str = "replace") -> str:
    """All of a text file.

    Raises:
        RecipeError: it is larger than any text of a corpus.
    """
    _check_size(path, MOST_BYTES)
    return path.read_text(encoding, errors=errors)


def bytes_of(path: Path) -> bytes:
    """All of a text file whose encoding only its bytes tell.

    Raises:
        RecipeError: it is larger than any text of a corpus.
    """
    _check_size(path, MOST_BYTES)
    return path.read_bytes()


def json_of(path: Path) -> Any:
    """What a JSON file holds; a byte order mark is skipped.

    Raises:
        RecipeError: it is larger than any of a corpus, or no JSON, or nested too deeply.
    """
    _check_size(path, MOST_BYTES)
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not JSON: {error}") from error


def _check_size(path: Path, most: int) -> None:
    size = path.stat().st_size
    if size > most:
        raise RecipeError(f"{path}: has {size} bytes, and no table or text of more than {most} is read")


def header_line(path: Path, encoding: str = "utf-8-sig") -> str:
    """The first line of a text table, or as much of it as a line may have."""
    with path.open(encoding=encoding, errors="replace") as file:
        return file.readline(LONGEST_LINE)


def _text_rows(path: Path, separator: str, quoted: bool, encoding: str) -> Iterator[list[str]]:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    first = 1  # line of the row that is being read
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        rows = csv.reader(itertools.chain(_lines(file), [END]), delimiter=separator, quoting=quoting)
        try:
            for row in rows:
                if row and row[-1].endswith(END):
                    if row != [END]:
                        raise ValueError(f"a quotation mark in row {first} or after it is never closed")
                    return
                if len(row) > MOST_COLUMNS:
                    raise ValueError(
                        f"row {first} has {len(row)} columns, and no table of more than {MOST_COLUMNS} is read"
                    )
                yield row
                first = rows.line_num + 1
        except csv.Error as error:
            place = f"the row that begins in line {first}"
            raise ValueError(f"{place}: {error}; is a quotation mark not closed?") from error


def _lines(file: TextIO) -> Iterator[str]:
    for number in itertools.count(1):
        line = file.readline(LONGEST_LINE)
        if not line:
            return
        if "\0" in line:
            raise ValueError(
                f'row {number} holds NUL bytes: it is damaged, or text in UTF-16 (a cohort says encoding = "utf-16")'
            )
        if len(line) == LONGEST_LINE:
            raise ValueError(f"row {number} has {LONGEST_LINE} characters or more, and is no row of a table")
        yield line


def _sheet_rows(path: Path, sheet: str | None) -> list[list[str]]:
    """The rows of an XLSX, read by a process of its own: its reader aborts on a cell far out, and may never end."""
    with zipfile.ZipFile(path) as book:
        size = sum(member.file_size for member in book.infolist())
    if size > MOST_BYTES:
        raise ValueError(f"unpacks to {size} bytes, and no table of more than {MOST_BYTES} is read")
    with _one_at_a_time:
        return _sheet_reader().run(_read_sheet, (path, sheet))


_one_at_a_time = threading.Lock()


@cache
def _sheet_reader() -> Guard:
    guard = Guard(SHEET_MEMORY)
    atexit.register(guard.close)
    return guard


def _read_sheet(unit: tuple[Path, str | None], note: Note) -> list[list[str]]:
    import fastexcel

    path, sheet = unit
    if note.refused:
        raise ValueError(f"the reader of XLSX gave up ({note.refused[0].reason}): save it as CSV")
    note(0)
    try:
        book = fastexcel.read_excel(path)
        table = book.load_sheet(sheet if sheet is not None else 0, header_row=None, skip_rows=0, dtypes="string")
        return [["" if value is None else str(value) for value in row] for row in table.to_polars().iter_rows()]
    except (fastexcel.FastExcelError, MemoryError) as error:
        raise ValueError(str(error) or "needs more memory than a table may take") from error
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the reader of XLSX failed: {error}") from None  # a panic of Rust is no Exception
