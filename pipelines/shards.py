"""Audio into WebDataset tars: 16 kHz mono FLAC with a JSON sidecar; identical input gives identical bytes.

One shard is one unit of work with a key over everything it is made from. A shard whose key stands in its index is
never written again, so a killed run goes on where it stopped. Facts and captions stand in the sidecar as they were
at the time of writing; they are not part of the key, because the trainer looks them up by ``utt_id``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines import audio, scale
from pipelines.corpora._base import Corpus
from pipelines.ingest import keyed
from pipelines.schema import REJECT

RATE = 16_000  # Hz, the paper's
UTTERANCES_PER_SHARD = 500
CODE = "1"  # raised when the bytes of a tar would change
BOUNDS = "bounds.json"  # where each tar begins, kept from a withdrawal on, so that nobody moves to another tar
SPLITS = ("train", "dev", "test")

INDEX: Mapping[str, pl.DataType] = {
    "utt_id": pl.String(),
    "corpus": pl.String(),
    "split": pl.String(),
    "shard": pl.String(),  # file name of the tar
    "offset": pl.Int64(),  # where the FLAC begins in the tar, bytes
    "size": pl.Int64(),  # of the FLAC, bytes
    "seconds": pl.Float64(),
    "native_rate": pl.Int64(),  # Hz, before resampling
    "raw_sha256": pl.String(),
}


class LicenceError(ValueError):
    """A corpus that may not be used; the message says why."""


@dataclass(frozen=True)
class Shard:
    """One unit of work: the rows that go into one tar, and its key."""

    corpus: str
    root: Path
    tar: Path
    split: str
    rows: tuple[Mapping[str, Any], ...]
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


def shard_corpus(corpus: Corpus, root: Path, meta_db: Path, captions: Path, out: Path, id_key: bytes) -> ShardReport:
    """Write every shard of a corpus that is not complete, then ``index.parquet``, ``sizes.json`` and the rejects.

    Args:
        corpus: the recipe; where there is audio to shard, its licence is asked first.
        root: the corpus' raw folder.
        meta_db: for the utterances and their split.
        captions: folder of facts and captions, for the sidecars.
        out: ``shards/<corpus>``.
        id_key: secret for the speakers' keyed hashes.

    Raises:
        LicenceError: the licence does not allow use, or is past its date.
    """
    units = list(plan(corpus.name, root, _rows(corpus.name, meta_db, captions, id_key), out))
    refusal = corpus.licence.refusal(date.today())
    if refusal and units:
        raise LicenceError(f"{corpus.name}: {refusal}; sharding refused")
    out.mkdir(parents=True, exist_ok=True)
    wanted = {unit.tar.name for unit in units}
    for stale in out.glob("*.tar"):
        if stale.name not in wanted:
            stale.unlink()
            stale.with_suffix(".parquet").unlink(missing_ok=True)
    todo = [unit for unit in units if not complete(unit)]
    scale.run(write_shard, todo, f"{corpus.name}: shards")
    return summarise([unit.tar for unit in units], len(todo), out)


def plan(corpus: str, root: Path, rows: Sequence[Mapping[str, Any]], out: Path) -> Iterator[Shard]:
    """The shards of a corpus. Rows go in the order of their keyed hash, which mixes the speakers.

    They are cut into tars of `UTTERANCES_PER_SHARD`; after a withdrawal, where the tars were cut before it.
    """
    bounds = _bounds(out)
    for split in SPLITS:
        chosen = sorted((row for row in rows if row["split"] == split), key=lambda row: str(row["utt_id"]))
        for name, part in _cut(split, chosen, bounds):
            yield Shard(corpus, root, out / name, split, part, _key(root, split, part))


def keep_bounds(units: Sequence[Shard], out: Path) -> None:
    """Write down where each tar begins, as the shortest prefix of an utterance id: no id stands in the file."""
    bounds: dict[str, str] = {}
    for before, unit in zip([None, *units], units, strict=False):
        first = str(unit.rows[0]["utt_id"])
        same = before is not None and before.split == unit.split
        bounds[unit.tar.name] = _separator(str(before.rows[-1]["utt_id"]), first) if before and same else ""
    _replace(out / BOUNDS, json.dumps(bounds, indent=1).encode())


def complete(unit: Shard) -> bool:
    """Whether the shard's tar and index are there and were made from the same input."""
    return unit.tar.is_file() and unit.index.is_file() and _stored(unit.index).get("key") == unit.key


def write_shard(unit: Shard) -> None:
    """Decode, resample, encode and pack one shard. The index is renamed into place last."""
    rejects: list[dict[str, str]] = []

    def samples() -> Iterator[tuple[bytes, dict[str, Any]]]:
        for row in unit.rows:
            try:
                yield _sample(unit, row)
            except audio.AudioError as error:
                rejects.append({"corpus": unit.corpus, "path": str(row["path"]), "reason": str(error)})

    _pack(unit.tar, samples(), unit.key, rejects)


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
    frame = pl.read_parquet(index)
    if not utterances and (left or frame.height):
        _write_index(tar, frame, key, left)
    elif left or set(frame["utt_id"]) - set(utterances):
        _pack(tar, (s for s in _samples(tar) if s[1]["utt_id"] not in utterances), key, left)
    else:
        tar.unlink()
        index.unlink()


def rejects_of(tar: Path) -> list[dict[str, str]]:
    """The files that could not go into a tar: corpus, path and reason."""
    rejects: list[dict[str, str]] = json.loads(_stored(tar.with_suffix(".parquet"))["rejects"])
    return rejects


def place(tar: Path) -> tuple[int, str]:
    """Where a tar stands among those of its corpus."""
    return SPLITS.index(tar.name.partition("-")[0]), tar.name


def speakers(tar: Path) -> dict[str, str]:
    """Utterance -> keyed hash of its speaker, as the sidecars of a tar have them."""
    return {str(sidecar["utt_id"]): str(sidecar["speaker"]) for sidecar in _sidecars(tar)}


def _pack(
    tar: Path, samples: Iterator[tuple[bytes, dict[str, Any]]], key: str, rejects: Sequence[Mapping[str, str]]
) -> None:
    """Write a tar and its index; ``rejects`` may fill while the samples are drawn."""
    import webdataset  # imports torch: seconds that the code location need not wait for

    kept: dict[str, dict[str, Any]] = {}
    draft = tar.with_suffix(".tar.tmp")
    with draft.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as writer:
        for flac, sidecar in samples:
            name = sidecar["utt_id"]
            writer.write({"__key__": name, "flac": flac, "json": json.dumps(sidecar, sort_keys=True).encode()})
            kept[name] = sidecar
    os.replace(draft, tar)
    index = pl.DataFrame([_located(tar, member, kept) for member in _flacs(tar)], schema=dict(INDEX))
    _write_index(tar, index, key, rejects)


def _write_index(tar: Path, index: pl.DataFrame, key: str, rejects: Sequence[Mapping[str, str]]) -> None:
    scratch = tar.with_suffix(".parquet.tmp")
    stored = {"key": key, "sha256": file_sha256(tar), "rejects": json.dumps(list(rejects))}
    index.write_parquet(scratch, metadata=stored)
    os.replace(scratch, tar.with_suffix(".parquet"))


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tar_sha256(tar: Path) -> str:
    """A tar's hash, as its index keeps it."""
    return _stored(tar.with_suffix(".parquet"))["sha256"]


def _sample(unit: Shard, row: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    path = unit.root / row["path"]
    wave, native = audio.decode(path, start_s=row["start_s"], end_s=row["end_s"], channel=row["channel"])
    wave = audio.resample(wave, native, RATE)
    sidecar = {
        "utt_id": row["utt_id"],
        "corpus": unit.corpus,
        "speaker": row["speaker"],
        "split": unit.split,
        "seconds": round(len(wave) / RATE, 4),
        "native_rate": native,
        "sha256": file_sha256(path),
        "facts": row["facts"],
        "captions": row["captions"],
    }
    return audio.encode_flac(wave, RATE), sidecar


def _flacs(tar: Path) -> Iterator[Any]:
    import tarfile

    with tarfile.open(tar) as archive:
        yield from (member for member in archive if member.name.endswith(".flac"))


def _samples(tar: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """(FLAC, sidecar) of every utterance of a tar that `_pack` wrote: the FLAC stands before its sidecar."""
    import tarfile

    with tarfile.open(tar) as archive:
        flac = b""
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None, f"{tar}: {member.name} is no file"
            if member.name.endswith(".flac"):
                flac = content.read()
            else:
                yield flac, json.loads(content.read())


def _sidecars(tar: Path) -> Iterator[dict[str, Any]]:
    import tarfile

    with tarfile.open(tar) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content is not None:
                yield json.loads(content.read())


def _located(tar: Path, member: Any, kept: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    utt_id = member.name.removesuffix(".flac")
    return {
        "utt_id": utt_id,
        "corpus": kept[utt_id]["corpus"],
        "split": kept[utt_id]["split"],
        "shard": tar.name,
        "offset": member.offset_data,
        "size": member.size,
        "seconds": kept[utt_id]["seconds"],
        "native_rate": kept[utt_id]["native_rate"],
        "raw_sha256": kept[utt_id]["sha256"],
    }


def rows_to_cut(corpus: str, meta_db: Path) -> pl.DataFrame:
    """The utterances of a corpus with their person and split, in the order of utt_id."""
    query = """
        SELECT utt_id, path, start_s, end_s, channel, person_id, split
        FROM utterance JOIN speaker USING (corpus, speaker_id) JOIN person_split USING (person_id)
        WHERE corpus = ? ORDER BY utt_id
    """
    with duckdb.connect(str(meta_db), read_only=True) as connection:
        rows: pl.DataFrame = connection.sql(query, params=[corpus]).pl()
        return rows


def _rows(corpus: str, meta_db: Path, captions: Path, id_key: bytes) -> list[dict[str, Any]]:
    rows = rows_to_cut(corpus, meta_db)
    facts = pl.read_parquet(captions / "facts.parquet", columns=["utt_id", "fact_hash", "facts"])
    texts = (
        pl.read_parquet(captions / "captions.parquet", columns=["fact_hash", "language", "k", "text"])
        .sort("fact_hash", "language", "k")
        .group_by("fact_hash", maintain_order=True)
        .agg(pl.col("text").alias("captions"))
    )
    joined = rows.join(facts, on="utt_id", how="left").join(texts, on="fact_hash", how="left")
    return [
        {
            **{name: row[name] for name in ("utt_id", "path", "start_s", "end_s", "channel", "split")},
            "speaker": keyed(id_key, row["person_id"]),
            "facts": row["facts"] or [],
            "captions": row["captions"] or [],
        }
        for row in joined.iter_rows(named=True)
    ]


def _cut(
    split: str, rows: Sequence[Mapping[str, Any]], bounds: Mapping[str, str]
) -> Iterator[tuple[str, tuple[Mapping[str, Any], ...]]]:
    """(name of the tar, its rows) of a split."""
    names = sorted(name for name in bounds if name.startswith(f"{split}-"))
    starts = [bounds[name] for name in names]
    parts: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
    if names:
        for row in rows:
            parts[names[max(0, bisect_right(starts, str(row["utt_id"])) - 1)]].append(row)
    if names and all(len(part) <= UTTERANCES_PER_SHARD for part in parts.values()):
        yield from ((name, tuple(part)) for name, part in parts.items() if part)
        return
    for number in range(0, len(rows), UTTERANCES_PER_SHARD):  # never cut before, or grown since
        name = f"{split}-{number // UTTERANCES_PER_SHARD:05d}.tar"
        yield name, tuple(rows[number : number + UTTERANCES_PER_SHARD])


def _bounds(out: Path) -> dict[str, str]:
    path = out / BOUNDS
    return json.loads(path.read_text()) if path.is_file() else {}


def _separator(before: str, first: str) -> str:
    """The shortest beginning of ``first`` that comes after ``before``."""
    return next(first[:n] for n in range(1, len(first) + 1) if first[:n] > before)


def _key(root: Path, split: str, rows: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256(f"{CODE} {RATE} {split}".encode())
    for row in rows:
        path = root / row["path"]
        stat = path.stat() if path.is_file() else None
        state = (stat.st_size, stat.st_mtime_ns) if stat else None
        made_from = [row[name] for name in ("utt_id", "path", "start_s", "end_s", "channel", "speaker")]
        digest.update(json.dumps([made_from, state]).encode())
    return digest.hexdigest()


def _stored(index: Path) -> dict[str, str]:
    return dict(pl.read_parquet_metadata(index))


def summarise(tars: Sequence[Path], written: int, out: Path) -> ShardReport:
    """Write ``index.parquet``, ``rejects.json`` and ``sizes.json`` of a corpus from the indexes of its tars."""
    indexes = [pl.read_parquet(tar.with_suffix(".parquet")) for tar in tars]
    index = pl.concat(indexes) if indexes else pl.DataFrame(schema=dict(INDEX))
    found = [reject for tar in tars for reject in rejects_of(tar)]
    rejects = pl.DataFrame(found, schema=dict(REJECT))
    sizes = {tar.name: part.height for tar, part in zip(tars, indexes, strict=True)}
    _replace(out / "index.parquet", _parquet(index))
    _replace(out / "rejects.json", json.dumps(found, indent=1).encode())
    _replace(out / "sizes.json", json.dumps(sizes, indent=1).encode())
    return ShardReport(len(tars), written, index.height, float(index["seconds"].sum()), rejects)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".tmp")
    draft.write_bytes(content)
    os.replace(draft, path)
