"""A table that grows row by row in flat memory: full batches go to a temporary Parquet file.

A corpus may have millions of recordings, and a recipe meets them one by one. What does not fill one batch never
touches the disk.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import polars as pl
import pyarrow.parquet as pq

BATCH = 50_000  # rows


class Spool:
    """Rows of one table; `batches` reads them in the order in which they were added."""

    def __init__(self, columns: Mapping[str, pl.DataType], batch: int = BATCH) -> None:
        self._columns, self._batch = dict(columns), batch
        self._rows: list[tuple[Any, ...]] = []
        self._file: IO[bytes] | None = None  # without a name: gone with this process, however that ends
        self._writer: pq.ParquetWriter | None = None
        self.height = 0

    def add(self, row: tuple[Any, ...]) -> None:
        """Add a row, its values in the order of the columns."""
        self._rows.append(row)
        self.height += 1
        if len(self._rows) == self._batch:
            self._write()

    def batches(self) -> Iterator[pl.DataFrame]:
        """The rows in frames of at most one batch; one empty frame where there are none. Nothing is added after."""
        if self._file is None:
            yield self._frame()
            return
        if self._writer is not None:
            if self._rows:
                self._write()
            self._writer.close()
            self._writer = None
        with pq.ParquetFile(self._file) as file:
            for group in range(file.num_row_groups):
                yield _framed(pl.from_arrow(file.read_row_group(group)), self._columns)

    def changed(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Spool:
        """A spool of the same rows, each batch changed by a function that keeps the columns."""
        other = Spool(self._columns, self._batch)
        for batch in self.batches():
            other._put(change(batch))
            other.height += batch.height
        return other

    def _frame(self) -> pl.DataFrame:
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in self._columns)
        series = [
            pl.Series(name, values, dtype=dtype, strict=False)
            for (name, dtype), values in zip(self._columns.items(), columns, strict=True)
        ]
        return pl.DataFrame(series)

    def _write(self) -> None:
        self._put(self._frame())
        self._rows.clear()

    def _put(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if self._writer is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd", compression_level=1)
        self._writer.write_table(table)


def _framed(frame: pl.DataFrame | pl.Series, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    assert isinstance(frame, pl.DataFrame)
    return frame.cast(pl.Schema(columns))
