"""Build ``meta.db``: the tables of all corpora, folded into one vocabulary, for DuckDB.

The SQL is in ``warehouse/sql/*.sql`` and runs in the order of its numbers. Files from 30 to 48 run once for each part
of the house (some small corpora together, or a share of the people of a large one), so that memory does not grow with
it; after 49, `pipelines.split` gives every person a split; then the rest runs. The new file replaces the old one in one
step, so whoever has the old one open reads on undisturbed. A build whose inputs did not change is skipped.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from benchmark import transfer
from pipelines import pitch, schema, withdrawals
from pipelines import split as splits
from pipelines.shards import INDEX
from slap_model import store

TABLES = schema.NAMES
VOCABULARY = ("attributes", "instruments", "words")
TRANSFERS = transfer.FILE.replace(".", "*.")  # in the folder of an embedder's scores
RECORDING = (  # columns of the view
    "utt_id",
    "corpus",
    "seconds",
    "native_rate",
    "bandwidth",
    "clipping",
    "level",
    "speech",
    "raw_sha256",
    "samples_sha256",
)
SPLIT_FILE = "split.parquet"  # in the folder of the tables
PARTS, AFTER_PARTS, AFTER_SPLIT = "30", "49", "50"  # the numbers of the SQL files where the three stages begin
OBSERVATIONS_PER_PART = 6_000_000  # smaller parts leave more half-filled row groups, larger ones take more memory
MEMORY = "2500MiB"  # for DuckDB's buffers; what does not fit goes to files beside the database
# An older format than that of the DuckDB here, so that command lines since 1.4 (2025) open the file. Formats before it
# take a third longer to write.
STORAGE_VERSION = "v1.4.0"


class WarehouseError(RuntimeError):
    """The warehouse cannot be built; the message names the file and says what to do."""


@dataclass(frozen=True)
class WarehouseReport:
    """What `build` did.

    Attributes:
        built: False where nothing had changed and the old file was kept.
        fingerprint: of everything that the file was built from.
        split_hash: of who is in which split; goes into manifests and scores.
        counts: rows by table: corpus, speaker, person_split, utterance, observation, reject.
        errors: quality findings that must be mended, in words.
        warnings: quality findings that may stay, in words.
        seconds: that the build took.
    """

    built: bool
    fingerprint: str
    split_hash: str
    counts: Mapping[str, int]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float


@store.writes_to("out")
def build(
    tables: Path,
    out: Path,
    *,
    corpora: Sequence[str],
    vocabulary: Path,
    sql: Path,
    scores: Path,
    shards: Path,
    split_seed: int = 0,
) -> WarehouseReport:
    """Build the warehouse, unless the file there was built from the same inputs.

    Args:
        tables: folder of ``<corpus>/{speaker,utterance,observation,reject}.parquet`` and ``corpus.json``;
            ``split.parquet`` is kept there too.
        out: the database file, ``warehouse/meta.db``.
        corpora: whose tables to read.
        vocabulary: folder of attributes.csv, instruments.csv and words.csv.
        sql: folder of the SQL files.
        scores: folder of ``<embedder>/<task>.<mode>.json`` and ``<embedder>/transfer.parquet``; need not exist yet.
        shards: folder of ``<corpus>/{index.parquet,rejects.json}``; need not exist yet.
        split_seed: of the hash that gives new persons a split.

    Raises:
        WarehouseError: an input is absent, or an SQL file fails on the tables.
    """
    started = time.perf_counter()
    inputs = _inputs(tables, corpora, vocabulary, sql)
    split_file = tables / SPLIT_FILE
    settings = f"{sorted(corpora)} {split_seed} {scores.resolve()} {shards.resolve()} {duckdb.__version__}"
    fingerprint = _fingerprint([*inputs, split_file], settings)
    _keep_columns(scores / ".none" / TRANSFERS.replace("*", "-columns"), transfer.SCHEMA)
    _keep_columns(shards / ".none" / "index.parquet", INDEX)
    if _stored_fingerprint(out) == fingerprint:
        return _report(out, built=False, started=started)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = store.draft(out)
    _remove(fresh)
    try:
        with duckdb.connect() as con:
            con.execute(f"SET memory_limit = '{MEMORY}'")
            con.execute("SET preserve_insertion_order = false")
            con.execute("SET checkpoint_threshold = '1TB'")  # once, at the end
            con.execute(f"SET temp_directory = {_quoted(fresh.with_name(fresh.name + '.d'))}")
            con.execute(f"ATTACH {_quoted(fresh)} AS meta (STORAGE_VERSION '{STORAGE_VERSION}')")
            con.execute("USE meta")
            con.execute("BEGIN")  # a commit to the disk for each statement would take seconds
            _set_variables(con, tables, corpora, vocabulary)
            files = sorted(sql.glob("*.sql"))
            _run(con, [file for file in files if file.name < PARTS])
            for part in _parts(tables, corpora):
                _set_part(con, tables, part)
                _run(con, [file for file in files if PARTS <= file.name < AFTER_PARTS])
                con.execute("COMMIT")
                con.execute("BEGIN")
            _run(con, [file for file in files if AFTER_PARTS <= file.name < AFTER_SPLIT])
            assigned = _assign(con, split_file, split_seed)
            con.register("assigned_split", assigned)
            con.register("voice_sample_file", _voice_sample(tables, corpora))
            _view_of_files(con, "score_file", scores.resolve() / "*" / "*.json")
            _view_of_transfers(con, scores.resolve())
            _view_of_recordings(con, shards.resolve())
            _view_of_files(con, "shard_reject_file", shards.resolve() / "*" / "rejects.json")
            _view_of_files(con, "withdrawal_file", tables.resolve().parent / withdrawals.NAME)
            _view_of_files(con, "audio_finding_file", shards.resolve() / "findings.json")
            _store_build(con, fingerprint, splits.split_hash(assigned), split_seed, sorted(corpora))
            _run(con, [file for file in files if file.name >= AFTER_SPLIT])
            # split.parquet is an input of the next build
            con.execute("UPDATE build SET fingerprint = ?", [_fingerprint([*inputs, split_file], settings)])
            con.execute("COMMIT")
            con.execute("USE memory")
            con.execute("DETACH meta")
        os.replace(fresh, out)
    finally:
        _remove(fresh)
    return _report(out, built=True, started=started)


# Questions of the checks --------------------------------------------------------------------------------


def persons_in_two_splits(meta_db: Path) -> int:
    """How many persons have utterances in more than one split. More than 0 must stop everything."""
    query = """
        SELECT count(*)
        FROM (SELECT person_id FROM person_split GROUP BY person_id HAVING count(DISTINCT split) > 1)
    """
    with _reading(meta_db) as con:
        ((n,),) = con.execute(query).fetchall()
    return int(n)


def unknown_labels(meta_db: Path) -> list[str]:
    """Words of the owners that the vocabulary lacks, as ``corpus: finding (number of rows, e.g. example)``."""
    with _reading(meta_db) as con:
        return [finding for finding in _findings(con, "error") if ": unknown " in finding]


# The build ----------------------------------------------------------------------------------------------


def _inputs(tables: Path, corpora: Sequence[str], vocabulary: Path, sql: Path) -> list[Path]:
    """All files that a build reads, or `WarehouseError` for the first one that is absent."""
    if not corpora:
        raise WarehouseError("no corpus to build from: name at least one")
    files = [tables / corpus / f"{table}.parquet" for corpus in sorted(corpora) for table in TABLES]
    files += [tables / corpus / "corpus.json" for corpus in sorted(corpora)]
    sampled = [tables / corpus / f"{pitch.TABLE}.parquet" for corpus in sorted(corpora)]
    for file in files:
        if not file.is_file():
            raise WarehouseError(f"{file} not found: ingest the corpus {file.parent.name} first")
    words = [vocabulary / f"{name}.csv" for name in VOCABULARY]
    for file in words:
        if not file.is_file():
            raise WarehouseError(f"{file} not found: it belongs to the repository, check it out again")
    models = sorted(sql.glob("*.sql"))
    if not models:
        raise WarehouseError(f"{sql} holds no SQL files: is this warehouse/sql?")
    code = [Path(__file__), Path(splits.__file__)]
    return [*files, *(file for file in sampled if file.is_file()), *words, *models, *code]


def _fingerprint(files: Sequence[Path], settings: str) -> str:
    digest = hashlib.sha256(settings.encode())
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "absent"
        digest.update(f"\n{file.parent.name}/{file.name} {content}".encode())
    return digest.hexdigest()


def _stored_fingerprint(meta_db: Path) -> str | None:
    """What the file was built from; None for a file that is absent or cannot be read and so is replaced."""
    if not meta_db.is_file():
        return None
    try:
        with _reading(meta_db) as con:
            blocks = "FROM pragma_database_size() WHERE database_name = 'meta'"
            row = con.execute(f"SELECT fingerprint, (SELECT total_blocks * block_size {blocks}) FROM build").fetchone()  # noqa: S608
    except duckdb.Error:
        return None
    if row is None or meta_db.stat().st_size < row[1]:  # torn: DuckDB notices only where it reads
        return None
    return str(row[0])


def _set_variables(con: duckdb.DuckDBPyConnection, tables: Path, corpora: Sequence[str], vocabulary: Path) -> None:
    """Tell the SQL where its files are."""
    for table in TABLES:
        files = [str(tables / corpus / f"{table}.parquet") for corpus in sorted(corpora)]
        con.execute(f"SET VARIABLE {table}_files = ?", [files])
    con.execute("SET VARIABLE corpus_files = ?", [[str(tables / corpus / "corpus.json") for corpus in sorted(corpora)]])
    for name in VOCABULARY:
        con.execute(f"SET VARIABLE {name}_csv = ?", [str(vocabulary / f"{name}.csv")])


@dataclass(frozen=True)
class _Part:
    """Some corpora, and which share of their people: those whose hash leaves ``number`` when divided by ``of``."""

    corpora: tuple[str, ...]
    number: int = 0
    of: int = 1


def _parts(tables: Path, corpora: Sequence[str]) -> Iterator[_Part]:
    """The parts of a house, each with about `OBSERVATIONS_PER_PART` observations and utterances at the most."""
    together: list[str] = []
    held = 0
    for corpus in sorted(corpora):
        rows = sum(
            pq.read_metadata(tables / corpus / f"{table}.parquet").num_rows for table in ("utterance", "observation")
        )
        if rows > OBSERVATIONS_PER_PART:
            shares = math.ceil(rows / OBSERVATIONS_PER_PART)
            yield from (_Part((corpus,), number, shares) for number in range(shares))
            continue
        if together and held + rows > OBSERVATIONS_PER_PART:
            yield _Part(tuple(together))
            together, held = [], 0
        together.append(corpus)
        held += rows
    if together:
        yield _Part(tuple(together))


def _set_part(con: duckdb.DuckDBPyConnection, tables: Path, part: _Part) -> None:
    con.execute("SET VARIABLE part_corpora = ?", [list(part.corpora)])
    con.execute("SET VARIABLE part_number = CAST(? AS UBIGINT)", [part.number])
    con.execute("SET VARIABLE part_of = CAST(? AS UBIGINT)", [part.of])
    for table in ("utterance", "observation"):
        files = [str(tables / corpus / f"{table}.parquet") for corpus in part.corpora]
        con.execute(f"SET VARIABLE part_{table}_files = ?", [files])


def _run(con: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    for file in files:
        try:
            con.execute(file.read_text(encoding="utf-8"))
        except duckdb.Error as error:
            raise WarehouseError(f"{file} failed: {error}") from error


def _assign(con: duckdb.DuckDBPyConnection, split_file: Path, seed: int) -> pl.DataFrame:
    """The split of every person, written to ``split_file`` beside those of persons of other corpora."""
    persons = con.sql("FROM candidate ORDER BY ALL").pl()
    try:
        stored = pl.read_parquet(split_file) if split_file.is_file() else None
    except PolarsError as error:  # torn; a new one would move people between the splits of models that are trained
        raise WarehouseError(
            f"{split_file} cannot be read: {error}. Bring it back from a copy; where the file is removed, every person "
            "gets a new split, and all models have to be trained anew"
        ) from error
    con.execute("SET VARIABLE official_corpora = ?", [splits.usable_official_splits(persons)])
    assigned = splits.assign(persons, stored, seed)
    known = assigned if stored is None else pl.concat([assigned, stored.join(assigned, on="person_id", how="anti")])
    known = known.sort("person_id")
    if stored is None or not known.equals(stored):
        with store.whole(split_file) as file:
            known.write_parquet(file)
    return assigned


def _voice_sample(tables: Path, corpora: Sequence[str]) -> pl.DataFrame:
    """The sampled voices of all corpora that have any, see `pipelines.pitch`."""
    files = [tables / corpus / f"{pitch.TABLE}.parquet" for corpus in sorted(corpora)]
    return pl.concat([pl.DataFrame(schema=dict(pitch.SAMPLE)), *(pl.read_parquet(f) for f in files if f.is_file())])


def _view_of_files(con: duckdb.DuckDBPyConnection, name: str, files: Path) -> None:
    """Make a view of JSON files as text. DuckDB itself writes the absolute path into the view."""
    con.sql("SELECT filename, content FROM read_text(?)", params=[str(files)]).create_view(name)


def _view_of_transfers(con: duckdb.DuckDBPyConnection, scores: Path) -> None:
    """Make the view ``transfer_file`` of the Parquet files that transfers are kept in."""
    columns = ", ".join(transfer.SCHEMA)  # by name: a column more in a later file would shift those of a *
    query = f"SELECT {columns}, filename FROM read_parquet(?, union_by_name = true, filename = true)"  # noqa: S608
    con.sql(query, params=[str(scores / "*" / TRANSFERS)]).create_view("transfer_file")


def _view_of_recordings(con: duckdb.DuckDBPyConnection, shards: Path) -> None:
    """Make the view ``recording`` of what sharding measured; an index of other code lacks columns, which are null."""
    query = f"SELECT {', '.join(RECORDING)} FROM read_parquet(?, union_by_name = true)"  # noqa: S608 - our own names
    con.sql(query, params=[str(shards / "*" / "index.parquet")]).create_view("recording")


def _keep_columns(target: Path, columns: Mapping[str, pl.DataType]) -> None:
    """A file of no rows with some columns: DuckDB cannot read Parquet files where there is none."""
    if not target.is_file() or pl.read_parquet_schema(target) != columns:
        with store.whole(target) as file:
            pl.DataFrame(schema=dict(columns)).write_parquet(file)


def _store_build(
    con: duckdb.DuckDBPyConnection, fingerprint: str, split_hash: str, split_seed: int, corpora: list[str]
) -> None:
    con.execute(
        """
        CREATE TABLE build (
            fingerprint VARCHAR, split_hash VARCHAR, split_seed BIGINT, corpora VARCHAR[],
            duckdb_version VARCHAR, built_at TIMESTAMP
        )
        """
    )
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    con.execute(
        "INSERT INTO build VALUES (?, ?, ?, ?, ?, ?)",
        [fingerprint, split_hash, split_seed, corpora, duckdb.__version__, now],
    )


def _report(meta_db: Path, *, built: bool, started: float) -> WarehouseReport:
    counts = """
        SELECT 'corpus', count(*) FROM corpus UNION ALL
        SELECT 'speaker', count(*) FROM speaker UNION ALL
        SELECT 'person_split', count(*) FROM person_split UNION ALL
        SELECT 'utterance', count(*) FROM utterance UNION ALL
        SELECT 'observation', count(*) FROM observation UNION ALL
        SELECT 'reject', count(*) FROM reject
    """
    with _reading(meta_db) as con:
        ((fingerprint, split_hash),) = con.execute("SELECT fingerprint, split_hash FROM build").fetchall()
        return WarehouseReport(
            built=built,
            fingerprint=fingerprint,
            split_hash=split_hash,
            counts=dict(con.execute(counts).fetchall()),
            errors=tuple(_findings(con, "error")),
            warnings=tuple(_findings(con, "warn")),
            seconds=time.perf_counter() - started,
        )


def _findings(con: duckdb.DuckDBPyConnection, severity: str) -> list[str]:
    query = "SELECT corpus, finding, n, example FROM quality WHERE severity = ? ORDER BY corpus, finding"
    return [
        f"{corpus}: {finding} ({n} row{'' if n == 1 else 's'}{f', e.g. {example}' if example else ''})"
        for corpus, finding, n, example in con.execute(query, [severity]).fetchall()
    ]


@contextmanager
def _reading(meta_db: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads the file that is there now.

    The file is attached, not connected to: within one process, DuckDB would hand out a connection that is
    already open on a file of that name, even after another file took its place.
    """
    with duckdb.connect() as con:
        con.execute(f"ATTACH {_quoted(meta_db)} AS meta (READ_ONLY)")
        con.execute("USE meta")
        yield con


def _quoted(path: Path) -> str:
    """A path as an SQL string: ATTACH takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def sweep(meta_db: Path) -> int:
    """Remove what builds that were killed left beside ``meta.db``; how many files and folders that were."""
    beside = f".{meta_db.name}.*.tmp"
    left = {path.with_suffix("") if path.suffix != ".tmp" else path for path in meta_db.parent.glob(f"{beside}*")}
    dead = [path for path in left if store.abandoned(path.name)]
    for path in dead:
        _remove(path)
    return len(dead)


def _remove(database: Path) -> None:
    for file in (database, database.with_name(f"{database.name}.wal")):
        file.unlink(missing_ok=True)
    shutil.rmtree(database.with_name(f"{database.name}.d"), ignore_errors=True)
