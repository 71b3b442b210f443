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
from collections.abc import Iterator, Mapping, Sequence
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
        corpus: the recipe; its licence is asked first.
        root: the corpus' raw folder.
        meta_db: for the utterances and their split.
        captions: folder of facts and captions, for the sidecars.
        out: ``shards/<corpus>``.
        id_key: secret for the speakers' keyed hashes.

    Raises:
        LicenceError: the licence does not allow use, or is past its date.
    """
    refusal = corpus.licence.refusal(date.today())
    if refusal:
        raise LicenceError(f"{corpus.name}: {refusal}; sharding refused")
    out.mkdir(parents=True, exist_ok=True)
    units = list(plan(corpus.name, root, _rows(corpus.name, meta_db, captions, id_key), out))
    wanted = {unit.tar.name for unit in units}
    for stale in out.glob("*.tar"):
        if stale.name not in wanted:
            stale.unlink()
            stale.with_suffix(".parquet").unlink(missing_ok=True)
    todo = [unit for unit in units if not complete(unit)]
    scale.run(write_shard, todo, f"{corpus.name}: shards")
    return _summarise(corpus.name, units, len(todo), out)


def plan(corpus: str, root: Path, rows: Sequence[Mapping[str, Any]], out: Path) -> Iterator[Shard]:
    """The shards of a corpus. Rows go in the order of their keyed hash, which mixes the speakers."""
    for split in ("train", "dev", "test"):
        chosen = sorted((row for row in rows if row["split"] == split), key=lambda row: str(row["utt_id"]))
        for number in range(0, len(chosen), UTTERANCES_PER_SHARD):
            part = tuple(chosen[number : number + UTTERANCES_PER_SHARD])
            tar = out / f"{split}-{number // UTTERANCES_PER_SHARD:05d}.tar"
            yield Shard(corpus, root, tar, split, part, _key(root, split, part))


def complete(unit: Shard) -> bool:
    """Whether the shard's tar and index are there and were made from the same input."""
    return unit.tar.is_file() and unit.index.is_file() and _stored(unit.index).get("key") == unit.key


def write_shard(unit: Shard) -> None:
    """Decode, resample, encode and pack one shard. The index is renamed into place last."""
    import webdataset  # imports torch: seconds that the code location need not wait for

    rejects: list[dict[str, str]] = []
    kept: dict[str, dict[str, Any]] = {}
    draft = unit.tar.with_suffix(".tar.tmp")
    with draft.open("wb") as file, webdataset.TarWriter(file, encoder=False, mtime=0) as tar:
        for row in unit.rows:
            try:
                flac, sidecar = _sample(unit, row)
            except audio.AudioError as error:
                rejects.append({"corpus": unit.corpus, "path": str(row["path"]), "reason": str(error)})
                continue
            tar.write({"__key__": row["utt_id"], "flac": flac, "json": json.dumps(sidecar, sort_keys=True).encode()})
            kept[row["utt_id"]] = sidecar
    os.replace(draft, unit.tar)
    index = pl.DataFrame([_located(unit, member, kept) for member in _flacs(unit.tar)], schema=dict(INDEX))
    stored = {"key": unit.key, "sha256": file_sha256(unit.tar), "rejects": json.dumps(rejects)}
    scratch = unit.index.with_suffix(".parquet.tmp")
    index.write_parquet(scratch, metadata=stored)
    os.replace(scratch, unit.index)


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


def _located(unit: Shard, member: Any, kept: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    utt_id = member.name.removesuffix(".flac")
    return {
        "utt_id": utt_id,
        "corpus": unit.corpus,
        "split": unit.split,
        "shard": unit.tar.name,
        "offset": member.offset_data,
        "size": member.size,
        "seconds": kept[utt_id]["seconds"],
        "native_rate": kept[utt_id]["native_rate"],
        "raw_sha256": kept[utt_id]["sha256"],
    }


def _rows(corpus: str, meta_db: Path, captions: Path, id_key: bytes) -> list[dict[str, Any]]:
    query = """
        SELECT utt_id, path, start_s, end_s, channel, person_id, split
        FROM utterance JOIN speaker USING (corpus, speaker_id) JOIN person_split USING (person_id)
        WHERE corpus = ? ORDER BY utt_id
    """
    with duckdb.connect(str(meta_db), read_only=True) as connection:
        rows = connection.sql(query, params=[corpus]).pl()
    facts = pl.read_parquet(captions / "facts.parquet", columns=["utt_id", "fact_hash", "facts"])
    texts = (
        pl.read_parquet(captions / "captions.parquet", columns=["fact_hash", "k", "text"])
        .sort("fact_hash", "k")
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


def _summarise(corpus: str, units: Sequence[Shard], written: int, out: Path) -> ShardReport:
    indexes = [pl.read_parquet(unit.index) for unit in units]
    index = pl.concat(indexes) if indexes else pl.DataFrame(schema=dict(INDEX))
    found = [reject for unit in units for reject in json.loads(_stored(unit.index)["rejects"])]
    rejects = pl.DataFrame(found, schema=dict(REJECT))
    sizes = {unit.tar.name: part.height for unit, part in zip(units, indexes, strict=True)}
    _replace(out / "index.parquet", _parquet(index))
    _replace(out / "rejects.json", json.dumps(found, indent=1).encode())
    _replace(out / "sizes.json", json.dumps(sizes, indent=1).encode())
    return ShardReport(len(units), written, index.height, float(index["seconds"].sum()), rejects)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".tmp")
    draft.write_bytes(content)
    os.replace(draft, path)
