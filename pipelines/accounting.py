"""Is every audio file of a raw folder accounted for? Each is an utterance, a reject, or set aside with a reason."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq

from pipelines.corpora._read import AUDIO_ENDINGS
from pipelines.schema import Tables

FILE: Mapping[str, pl.DataType] = {"path": pl.String()}  # below the corpus folder, as in table utterance
UNCLAIMED = "no row of the corpus names this audio file"
MEMORY = "1GiB"  # for DuckDB's buffers; what does not fit goes to files


def is_audio(path: str, more: Sequence[str] = ()) -> bool:
    """Whether a path below a corpus folder ends like audio; hidden files and the twins of a Mac are none.

    Args:
        path: of a file.
        more: endings of audio in this corpus alone, see `Corpus.audio_endings`.
    """
    dot, ending = path.rpartition(".")[1:]
    if not dot or (ending.lower() not in AUDIO_ENDINGS and ending.lower() not in more):
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def unclaimed(audio: Iterable[pl.DataFrame], tables: Tables, scratch: Path) -> Iterator[pl.DataFrame]:
    """The audio files that are no utterance and no reject, in frames of `FILE`, sorted; in flat memory.

    A reject claims the file that it names, with or without a row (``file:row``); a folder that holds no utterance is
    claimed with all that lies below.

    Args:
        audio: every audio file, in frames of `FILE`.
        tables: of the corpus.
        scratch: folder for what does not fit into memory.
    """
    sources = {"audio": audio, "named": tables.batches("utterance"), "refused": tables.batches("reject")}
    with tempfile.TemporaryDirectory(dir=scratch) as folder, duckdb.connect() as con:
        con.execute(f"SET memory_limit = '{MEMORY}'")
        con.execute("SET temp_directory = ?", [f"{folder}/spill"])
        con.execute(
            "CREATE MACRO folders(path) AS list_transform(range(1, len(string_split(path, '/'))), "
            "lambda n: array_to_string(string_split(path, '/')[:n], '/'))"
        )
        for name, frames in sources.items():
            # By way of a file: DuckDB's threads and a generator of frames may wait for each other for ever.
            file = Path(folder, f"{name}.parquet")
            write_batches((frame.select("path") for frame in frames), file)
            con.execute(f"CREATE TABLE {name} AS SELECT DISTINCT path FROM read_parquet(?)", [str(file)])  # noqa: S608
        found = Path(folder, "found.parquet")
        con.sql(
            """
            WITH lost AS (
                FROM audio
                ANTI JOIN named USING (path)
                ANTI JOIN refused USING (path)
                ANTI JOIN (SELECT regexp_replace(path, ':[^/:]*$', '') AS path FROM refused) USING (path)
            ),
            above AS (SELECT path, unnest(folders(path)) AS folder FROM lost),
            used AS (SELECT DISTINCT unnest(folders(path)) AS folder FROM named),
            below AS (
                SELECT a.path
                FROM above AS a
                SEMI JOIN refused AS r ON r.path = a.folder
                ANTI JOIN used AS u ON u.folder = a.folder
            )
            SELECT path FROM lost ANTI JOIN below USING (path) ORDER BY path
            """
        ).write_parquet(str(found))
        yield pl.DataFrame(schema=dict(FILE))  # one frame at least
        with pq.ParquetFile(found) as file_of_lost:
            for batch in file_of_lost.iter_batches(50_000):
                yield pl.DataFrame(batch)


def set_aside(paths: pl.DataFrame, reasons: Mapping[str, str]) -> tuple[pl.DataFrame, dict[str, int]]:
    """What is left of unclaimed files without those that are no inputs, and how many of these by reason.

    Args:
        paths: a frame of `FILE`.
        reasons: a regular expression -> why files whose path it is found in are no inputs (see `Corpus.no_inputs`).
    """
    counts: dict[str, int] = {}
    for pattern, why in reasons.items():
        hit = paths["path"].str.contains(pattern)
        if n := int(hit.sum()):
            counts[why] = counts.get(why, 0) + n
        paths = paths.filter(~hit)
    return paths, counts


def write_batches(batches: Iterable[pl.DataFrame], path: Path) -> int:
    """Write at least one frame as a Parquet file, a batch at a time, and return the number of rows."""
    rows = 0
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for batch in batches:
            table = batch.to_arrow()
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd"))
            if batch.height or not rows:
                writer.write_table(table)
            rows += batch.height
    return rows
