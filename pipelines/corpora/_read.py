"""Reading owners' tables: columns by name, never by position; every error names the file."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path

from pipelines.corpora._base import RecipeError

# Words that owners write for "not known". A recipe adds its own ("-1" for NeuroVoz symptoms).
MISSING = frozenset({"", "-", "//", "na", "n/a", "nan", "nu", "none", "none (none)", "unknown"})

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
    try:
        lines = list(
            _sheet_rows(path, sheet)
            if path.suffix.lower() == ".xlsx"
            else _text_rows(path, separator, quoted, encoding)
        )
    except (ValueError, OSError, csv.Error) as error:
        raise RecipeError(f"{path}: cannot be read as a table: {str(error).partition(chr(10))[0]}") from error
    if len(lines) <= header_row:
        raise RecipeError(f"{path}: holds no header in row {header_row + 1}")
    names = [fold(name) for name in lines[header_row]]
    absent = [name for name in required if name not in names]
    if absent:
        raise RecipeError(f"{path}: no column {', '.join(absent)}; found {', '.join(filter(None, names))}")
    if strict:
        _check_shape(path, names, lines[header_row + 1 :], header_row + 2)
    rows: list[Row] = []
    for line, cells in enumerate(lines[header_row + 1 :], start=header_row + 2):
        row: Row = {"_row": str(line)}
        for name, value in zip(names, cells, strict=False):
            if name:
                row.setdefault(name, cell(value))
        if any(value is not None for name, value in row.items() if name != "_row"):
            rows.append(dict.fromkeys(filter(None, names)) | row)
    return rows


def _check_shape(path: Path, names: Sequence[str], lines: Sequence[Sequence[str]], first: int) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise RecipeError(f"{path}: two columns are named {', '.join(map(repr, twice))}; rename or remove one of them")
    long = [str(row) for row, cells in enumerate(lines, start=first) if any(map(str.strip, cells[len(names) :]))]
    if long:
        named = ", ".join(long[:10]) + (f" and {len(long) - 10} more" if len(long) > 10 else "")
        raise RecipeError(
            f"{path}: more cells than columns in row {named}; put a cell that holds the separator in quotation marks"
        )


def _text_rows(path: Path, separator: str, quoted: bool, encoding: str) -> Iterator[list[str]]:
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        yield from csv.reader(file, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def _sheet_rows(path: Path, sheet: str | None) -> Iterator[list[str]]:
    import fastexcel

    try:
        book = fastexcel.read_excel(path)
        table = book.load_sheet(sheet if sheet is not None else 0, header_row=None, skip_rows=0, dtypes="string")
    except fastexcel.FastExcelError as error:
        raise ValueError(str(error)) from error
    for row in table.to_polars().iter_rows():
        yield ["" if value is None else str(value) for value in row]
