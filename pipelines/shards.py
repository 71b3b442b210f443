"""Audio into WebDataset tars: 16 kHz mono FLAC with a JSON sidecar; identical input gives identical bytes.

One shard is one unit of work with a key over everything it is made from: `write_shard` is a function of its rows and
nothing else, so it runs in any process, on any machine, and again when it was lost. A shard whose key stands in its
index is never written again, so a killed run goes on where it stopped. Each utterance is in a tar or a reject with a
reason; one that may pass (a file that changed while it was read, a drive that hung) is tried again by the next run.

Facts and captions stand in the sidecar as they were at the time of writing; they are not part of the key, because the
trainer looks them up by ``utt_id``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import socket
import tarfile
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import polars as pl
from polars.exceptions import PolarsError

from benchmark.files import SIZES, corpora_with_tars
from pipelines import audio, scale
from pipelines.corpora._base import Corpus
from pipelines.guard import NOWHERE, Note
from pipelines.ingest import keyed
from pipelines.measure import Measured
from pipelines.schema import REJECT
from slap_model import store

RATE = 16_000  # Hz, the paper's
UTTERANCES_PER_SHARD = 500
CODE = "2"  # raised when the bytes of a tar would change
BOUNDS = "bounds.json"  # where each tar begins, kept from a withdrawal on, so that nobody moves to another tar
SPLITS = ("train", "dev", "test")
MADE_FROM = (
    "utt_id",
    "path",
    "start_s",
    "end_s",
    "channel",
    "speaker",
)  # the columns of a row that its audio depends on

INDEX: Mapping[str, pl.DataType] = {
    "utt_id": pl.String(),
    "corpus": pl.String(),
    "split": pl.String(),
    "shard": pl.String(),  # file name of the tar
    "offset": pl.Int64(),  # where the FLAC begins in the tar, bytes
    "size": pl.Int64(),  # of the FLAC, bytes
    # what `pipelines.measure` says
    "seconds": pl.Float64(),
    "native_rate": pl.Int64(),  # Hz, before resampling
    "raw_sha256": pl.String(),
    "samples_sha256": pl.String(),  # of the samples as they are stored
    "bandwidth": pl.Float64(),  # Hz, at the native rate
    "clipping": pl.Float64(),  # share of native samples at full scale
    "level": pl.Float64(),  # dBFS
    "speech": pl.Float64(),  # share that a VAD calls speech
}


class LicenceError(ValueError):
    """A corpus that may not be used; the message says why."""


class ShardError(RuntimeError):
    """Shards cannot be written; the message says where and what to do. What is complete stays."""


@dataclass(frozen=True)
class Shard:
    """One unit of work: the rows that go into one tar, and its key.

    Attributes:
        rows: utt_id, path, start_s, end_s, channel, split, speaker; and to write the tar, facts and captions.
    """

    corpus: str
    root: Path
    tar: Path
    split: str
    rows: pl.DataFrame
    key: str

    @property
    def index(self) -> Path:
        """The tar's own index, written last: where it stands with the shard's key, the shard is complete."""
        return self.tar.with_suffix(".parquet")


@dataclass(frozen=True)
class ShardReport:
    """What sharding one corpus did."""

    shards: int
    written: int
    utterances: int
    seconds: float
    rejects: pl.DataFrame  # corpus, path, reason
    kept: int = 0  # tars that stay without being counted: the corpus is away


def shard_corpus(
    corpus: Corpus,
    root: Path,
    meta_db: Path,
    captions: Path,
    out: Path,
    id_key: bytes,
    *,
    summary: Path | None = None,
    away: str = "",
    known: Collection[str] = (),
    log: Callable[[str], object] | None = None,
) -> ShardReport:
    """Write every shard of a corpus that is not complete, then ``index.parquet``, ``sizes.json`` and the rejects.

    Args:
        corpus: the recipe; where there is audio to shard, its licence is asked first.
        root: the corpus' raw folder.
        meta_db: for the utterances and their split.
        captions: folder of facts and captions, for the sidecars.
        out: ``shards/<corpus>``, here or on object storage.
        id_key: secret for the speakers' keyed hashes.
        summary: local folder for what is written last; None: ``out``.
        away: why the corpus as a whole is not there today, "" where it is. If it has no utterance then, its tars stay
            as they are for the day when it is back, and the summary names none of them.
        known: utterances of its last tables. A tar with others goes: who is in it could not withdraw while it is away.
        log: is told now and then how far it is.

    Raises:
        LicenceError: the licence does not allow use, or is past its date.
        ShardError: the tars cannot be written, as for lack of space.
    """
    rows = rows_to_cut(corpus.name, meta_db, id_key)
    refusal = corpus.licence.refusal(date.today())
    if refusal and rows.height:
        raise LicenceError(f"{corpus.name}: {refusal}; sharding refused")
    try:
        if store.is_local(out):
            out.mkdir(parents=True, exist_ok=True)
        store.sweep(out)
        if away and not rows.height:
            kept = _known(out, frozenset(known))
            _remove_stale(out, kept)
            return dataclasses.replace(summarise([], 0, summary or out), kept=len(kept))
        units = plan(corpus.name, root, rows, out)
        _remove_stale(out, {unit.tar.name for unit in units})
        done = store.at_once(complete, units)
        todo = [unit for unit, is_done in zip(units, done, strict=True) if not is_done]
        words = _Words(captions, rows if todo else rows.clear())
        for _ in scale.run(
            write_shard, map(words.put_into, todo), total=len(todo), label=f"{corpus.name}: shards", log=log
        ):
            pass
        store.sweep(out)  # what workers had begun that were killed, and whose units others have done since
        return summarise([unit.tar for unit in units], len(todo), summary or out)
    except OSError as error:  # of reading a recording it is an AudioError, and a reject
        raise ShardError(
            f"{corpus.name}: shards cannot be written to {error.filename or out}: {error.strerror or error}. Mend that "
            "(free space, allow writing) and run again: what is complete stays"
        ) from error


def plan(corpus: str, root: Path, rows: pl.DataFrame, out: Path) -> list[Shard]:
    """The shards of a corpus. Rows go in the order of their keyed hash, which mixes the speakers.

    They are cut into tars of `UTTERANCES_PER_SHARD`; after a withdrawal, where the tars were cut before it.
    """
    bounds = _bounds(out)
    return [
        Shard(corpus, root, out / name, split, part, _key(root, split, part))
        for split in SPLITS
        for name, part in _cut(split, rows.filter(pl.col("split") == split).sort("utt_id"), bounds)
    ]


def keep_bounds(units: Sequence[Shard], out: Path) -> None:
    """Write down where each tar begins, as the shortest prefix of an utterance id: no id stands in the file."""
    bounds: dict[str, str] = {}
    for before, unit in zip([None, *units], units, strict=False):
        first = str(unit.rows["utt_id"][0])
        same = before is not None and before.split == unit.split
        bounds[unit.tar.name] = _separator(str(before.rows["utt_id"][-1]), first) if before and same else ""
    store.write(out / BOUNDS, json.dumps(bounds, indent=1).encode())


def complete(unit: Shard) -> bool:
    """Whether the shard's tar and index are whole, were made from the same input, and hold no reject that may pass."""
    stored = _stored_if_whole(unit)
    if not stored or stored["key"] != unit.key or any(reject["passing"] for reject in json.loads(stored["rejects"])):
        return False
    return store.exists(unit.tar) and store.size(unit.tar) == int(stored["size"])


def made_from(unit: Shard) -> bool:
    """Whether the index says that the shard was made from the same input, whatever became of its tar since."""
    return _stored_if_whole(unit).get("key") == unit.key


def write_shard(unit: Shard, note: Note | None = None) -> None:
    """Decode, resample, encode and pack one shard; its index is written last.

    Args:
        unit: with facts and captions in its rows.
        note: is told which row comes, and refuses rows that cannot be worked on (see `pipelines.guard`).

    Raises:
        ShardError: the raw folder is not to be seen from this machine.
        OSError: the tar cannot be written.
    """
    if not _holds_anything(unit.root):  # where a drive is not mounted, its folder may be there, but empty
        raise ShardError(
            f"{unit.corpus}: {socket.gethostname()} sees nothing in {unit.root}: mount the recordings there"
        )
    note = note or Note()
    rejects: list[dict[str, Any]] = []
    _pack(unit.tar, _samples_of(unit, note, rejects), unit.key, rejects)


def _holds_anything(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return next(entries, None) is not None


def take_out(tar: Path, utterances: Collection[str], paths: Collection[str], key: str) -> None:
    """Write a tar again without some utterances, and its index without them and without some rejects.

    What stays is copied as it is: the bytes are those that `write_shard` would give for the remaining rows.

    Args:
        tar: the tar; it goes with its index where nothing of it remains, and stays where only rejects go.
        utterances: ids to leave out.
        paths: raw files whose rejects go.
        key: of the remaining rows; "" lets the next run write the tar anew.
    """
    index = tar.with_suffix(".parquet")
    left = [reject for reject in rejects_of(tar) if reject["path"] not in paths]
    frame = _read_index(index)
    if not utterances and (left or frame.height):
        stored = _stored(index)
        _write_index(tar, frame, key, left, stored["sha256"], int(stored["size"]))
    elif left or set(frame["utt_id"]) - set(utterances):
        rows = {str(row["utt_id"]): row for row in frame.iter_rows(named=True) if row["utt_id"] not in utterances}
        with _opened(tar) as archive:
            _pack(tar, (s for s in _samples_in(archive, rows)), key, left)
    else:
        store.remove(index)
        store.remove(tar)


def rejects_of(tar: Path) -> list[dict[str, Any]]:
    """The utterances that could not go into a tar: utt_id, corpus, path, reason, and passing (may work next time)."""
    rejects: list[dict[str, Any]] = json.loads(_stored(tar.with_suffix(".parquet"))["rejects"])
    return rejects


def place(tar: Path) -> tuple[int, str]:
    """Where a tar stands among those of its corpus."""
    return SPLITS.index(tar.name.partition("-")[0]), tar.name


def speakers(tar: Path) -> dict[str, str]:
    """Utterance -> keyed hash of its speaker, as the sidecars of a tar have them."""
    with _opened(tar) as archive:
        sidecars = [json.loads(_content(archive, member)) for member in archive if member.name.endswith(".json")]
    return {str(sidecar["utt_id"]): str(sidecar["speaker"]) for sidecar in sidecars}


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tar_sha256(tar: Path) -> str:
    """A tar's hash, as its index keeps it."""
    return _stored(tar.with_suffix(".parquet"))["sha256"]


def rows_to_cut(corpus: str, meta_db: Path, id_key: bytes) -> pl.DataFrame:
    """The utterances of a corpus in the order of utt_id, with their split and the keyed hash of their person."""
    query = """
        SELECT utt_id, path, start_s, end_s, channel, split, person_id
        FROM utterance JOIN speaker USING (corpus, speaker_id) JOIN person_split USING (person_id)
        WHERE corpus = ? ORDER BY utt_id
    """
    with duckdb.connect(str(meta_db), read_only=True) as connection:
        rows: pl.DataFrame = connection.sql(query, params=[corpus]).pl()
    people = rows["person_id"].unique()
    hashed = pl.Series([keyed(id_key, person) for person in people], dtype=pl.String())
    return rows.with_columns(speaker=pl.col("person_id").replace_strict(people, hashed)).drop("person_id")


def summarise(tars: Sequence[Path], written: int, out: Path) -> ShardReport:
    """Write ``index.parquet``, ``rejects.json`` and ``sizes.json`` of a corpus from the indexes of its tars."""
    indexes = store.at_once(_read_index, [tar.with_suffix(".parquet") for tar in tars])
    index = pl.concat([pl.DataFrame(schema=dict(INDEX)), *indexes])
    found = [reject for rejects in store.at_once(rejects_of, tars) for reject in rejects]
    rejects = pl.DataFrame([[reject[name] for name in REJECT] for reject in found], schema=dict(REJECT), orient="row")
    sizes = {tar.name: part.height for tar, part in zip(tars, indexes, strict=True)}
    store.write(out / "index.parquet", _parquet(index))
    store.write(out / "rejects.json", json.dumps(found, indent=1).encode())
    store.write(out / SIZES, json.dumps(sizes, indent=1).encode())
    return ShardReport(len(tars), written, index.height, float(index["seconds"].sum()), rejects)


def leave_out(summaries: Path, corpora: Collection[str]) -> list[str]:
    """Count no tar of a corpus that is no part of the graph, as a cohort whose folder is gone; its tars stay.

    Args:
        summaries: folder of all corpora's summaries.
        corpora: those of the graph, whose shards have been looked at.

    Returns:
        The corpora that were counted until now.
    """
    gone = [name for name in corpora_with_tars(summaries) if name not in corpora]
    counted = [name for name in gone if json.loads((summaries / name / SIZES).read_text())]
    for name in counted:
        summarise([], 0, summaries / name)
    return counted


# --- one shard ---


class _Words:
    """Facts and captions of a corpus' utterances, which are put into a shard's rows when its turn comes.

    Facts are read for each shard: a million lists of them take half a gibibyte.
    """

    def __init__(self, captions: Path, rows: pl.DataFrame) -> None:
        self._facts = pl.scan_parquet(captions / "facts.parquet").select("utt_id", "fact_hash", "facts")
        texts = pl.scan_parquet(captions / "captions.parquet").select("fact_hash", "language", "k", "text")
        here = rows.lazy().select("utt_id")
        sets = self._facts.join(here, on="utt_id", how="semi").select("fact_hash").unique().collect()
        self._texts = (
            texts.join(sets.lazy(), on="fact_hash", how="semi")
            .sort("fact_hash", "language", "k")
            .group_by("fact_hash", maintain_order=True)
            .agg(pl.col("text").alias("captions"))
            .collect()
        )

    def put_into(self, unit: Shard) -> Shard:
        first, last = (pl.lit(unit.rows["utt_id"][end]) for end in (0, -1))  # both tables are in the order of utt_id
        facts = self._facts.filter(pl.col("utt_id").is_between(first, last)).collect()
        rows = unit.rows.join(facts, on="utt_id", how="left", maintain_order="left")
        rows = rows.join(self._texts, on="fact_hash", how="left", maintain_order="left").drop("fact_hash")
        # copied: a list column that was joined is pickled with all texts of the corpus
        copies = {name: pl.Series(rows[name].to_list(), dtype=rows.schema[name]) for name in ("facts", "captions")}
        return dataclasses.replace(unit, rows=rows.with_columns(**copies))


def _samples_of(
    unit: Shard, note: Note, rejects: list[dict[str, Any]]
) -> Iterator[tuple[bytes, dict[str, Any], dict[str, Any]]]:
    """(FLAC, sidecar, row of the index) of each utterance; those that cannot be used go to ``rejects``."""
    for item, row in enumerate(unit.rows.iter_rows(named=True)):
        try:
            if item in note.refused:
                raise audio.AudioError(note.refused[item].reason, passing=note.refused[item].passing)
            note(item)
            converted = _convert(unit.root, row)
        except audio.AudioError as error:
            rejects.append(
                {
                    "utt_id": row["utt_id"],
                    "corpus": unit.corpus,
                    "path": row["path"],
                    "reason": str(error),
                    "passing": error.passing,
                }
            )
            continue
        yield converted.flac, _sidecar(unit, row, converted.measured), _index_row(unit, row, converted.measured)
    note(NOWHERE)


def _convert(root: Path, row: Mapping[str, Any]) -> audio.Converted:
    path = PurePosixPath(row["path"])
    if path.is_absolute() or ".." in path.parts:
        raise audio.AudioError("path that leaves the corpus folder")
    try:
        return audio.convert(root / path, start_s=row["start_s"], end_s=row["end_s"], channel=row["channel"])
    except MemoryError as error:
        raise audio.AudioError("needs more memory than a worker may take", passing=True) from error


def _sidecar(unit: Shard, row: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    return {
        "utt_id": row["utt_id"],
        "corpus": unit.corpus,
        "speaker": row["speaker"],
        "split": unit.split,
        "seconds": round(measured.seconds, 4),
        "native_rate": measured.native_rate,
        "sha256": measured.raw_sha256,
        "facts": row["facts"] or [],
        "captions": row["captions"] or [],
    }


def _index_row(unit: Shard, row: Mapping[str, Any], measured: Measured) -> dict[str, Any]:
    about = {"utt_id": row["utt_id"], "corpus": unit.corpus, "split": unit.split, "shard": unit.tar.name}
    return about | vars(measured)


def _pack(
    tar: Path,
    samples: Iterable[tuple[bytes, dict[str, Any], dict[str, Any]]],
    key: str,
    rejects: Sequence[Mapping[str, Any]],
) -> None:
    """Write a tar and its index; ``rejects`` may fill while the samples are drawn."""
    rows, digest, size = [], hashlib.sha256(), 0
    with store.whole(tar) as file:
        for flac, sidecar, row in samples:
            utterance = sidecar["utt_id"]
            packed = _member(f"{utterance}.flac", flac)
            packed += _member(f"{utterance}.json", json.dumps(sidecar, sort_keys=True).encode())
            rows.append(row | {"offset": size + tarfile.BLOCKSIZE, "size": len(flac)})
            digest.update(packed)
            size += file.write(packed)
        end = bytes(2 * tarfile.BLOCKSIZE + -(size + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)
        digest.update(end)
        size += file.write(end)
    _write_index(tar, pl.DataFrame(rows, schema=dict(INDEX)), key, rejects, digest.hexdigest(), size)


def _member(name: str, content: bytes) -> bytes:
    """A member of a tar, the same bytes whoever makes it and when. Its content begins after one block.

    `tarfile.TarFile.addfile` would write it in pieces of 16 KiB and less, which takes longer.
    """
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o444
    return member.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _write_index(
    tar: Path, index: pl.DataFrame, key: str, rejects: Sequence[Mapping[str, Any]], sha256: str, size: int
) -> None:
    stored = {"key": key, "sha256": sha256, "size": str(size), "rejects": json.dumps(list(rejects))}
    store.write(tar.with_suffix(".parquet"), _parquet(index, stored))


@contextmanager
def _opened(tar: Path) -> Iterator[tarfile.TarFile]:
    with store.here(tar) as file, tarfile.open(file, mode="r:") as archive:
        yield archive


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    assert content is not None, f"{member.name} is no file"
    return content.read()


def _samples_in(
    archive: tarfile.TarFile, rows: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[bytes, dict[str, Any], dict[str, Any]]]:
    """(FLAC, sidecar, row of the index) of some utterances of a tar: the FLAC stands before its sidecar."""
    flac = b""
    for member in archive:
        name, _, kind = member.name.rpartition(".")
        if name not in rows:
            continue
        if kind == "flac":
            flac = _content(archive, member)
        else:
            yield flac, json.loads(_content(archive, member)), rows[name]


# --- the plan ---


def _known(out: Path, known: frozenset[str]) -> set[str]:
    """Names of the tars that hold, and refuse, only such utterances."""
    there = {tar.name for tar in store.listing(out, "*.tar")}
    indexes = [index for index in store.listing(out, "*-*.parquet") if index.with_suffix(".tar").name in there]
    named = store.at_once(_utterances_in, indexes)
    return {
        index.with_suffix(".tar").name
        for index, utterances in zip(indexes, named, strict=True)
        if utterances is not None and utterances <= known
    }


def _utterances_in(index: Path) -> set[str] | None:
    """Those of a tar's index and its rejects; None where it is torn or of other code."""
    content = store.content(index)
    try:
        rejects = json.loads(pl.read_parquet_metadata(io.BytesIO(content))["rejects"])
        held = pl.read_parquet(content, columns=["utt_id"])["utt_id"]
    except (PolarsError, KeyError):
        return None
    return {*held, *(reject["utt_id"] for reject in rejects)}


def _remove_stale(out: Path, wanted: Collection[str]) -> None:
    for stale in [*store.listing(out, "*-*.parquet"), *store.listing(out, "*.tar")]:
        if stale.with_suffix(".tar").name not in wanted:
            store.remove(stale)


def _cut(split: str, rows: pl.DataFrame, bounds: Mapping[str, str]) -> Iterator[tuple[str, pl.DataFrame]]:
    """(name of the tar, its rows) of a split."""
    names = sorted(name for name in bounds if name.startswith(f"{split}-"))
    if names:
        ids = rows["utt_id"].to_list()
        starts = [0, *(bisect_left(ids, bounds[name]) for name in names[1:]), len(ids)]
        parts = [rows[start:end] for start, end in pairwise(starts)]
        if all(part.height <= UTTERANCES_PER_SHARD for part in parts):
            yield from ((name, part) for name, part in zip(names, parts, strict=True) if part.height)
            return
    for number, part in enumerate(rows.iter_slices(UTTERANCES_PER_SHARD)):  # never cut before, or grown since
        if part.height:
            yield f"{split}-{number:05d}.tar", part


def _bounds(out: Path) -> dict[str, str]:
    path = out / BOUNDS
    return json.loads(store.content(path)) if store.exists(path) else {}


def _separator(before: str, first: str) -> str:
    """The shortest beginning of ``first`` that comes after ``before``."""
    return next(first[:n] for n in range(1, len(first) + 1) if first[:n] > before)


def _key(root: Path, split: str, rows: pl.DataFrame) -> str:
    digest = hashlib.sha256(f"{CODE} {RATE} {split}".encode())
    for row in rows.select(MADE_FROM).iter_rows(named=True):
        path = root / row["path"]
        stat = path.stat() if path.is_file() else None
        state = (stat.st_size, stat.st_mtime_ns) if stat else None
        digest.update(json.dumps([*row.values(), state]).encode())
    return digest.hexdigest()


# --- files ---


def _stored_if_whole(unit: Shard) -> dict[str, str]:
    """What the index of a shard keeps; nothing where it is absent, torn, or of other code."""
    try:
        stored = _stored(unit.index)
    except (FileNotFoundError, PolarsError):
        return {}
    return stored if {"key", "size", "rejects"} <= stored.keys() else {}


def _stored(index: Path) -> dict[str, str]:
    return dict(pl.read_parquet_metadata(store.source(index)))


def _read_index(index: Path) -> pl.DataFrame:
    return pl.read_parquet(store.source(index))


def _parquet(frame: pl.DataFrame, stored: Mapping[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata=dict(stored or {}))
    return buffer.getvalue()
