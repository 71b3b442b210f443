"""What a training run reads, written down by hash. Training takes a manifest, never a glob."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark.files import tars_of
from pipelines.shards import file_sha256
from slap_model import store
from slap_model.manifest import manifest_hash


class EmptyManifestError(ValueError):
    """There is nothing to train on; the message says what was looked for."""


def write(
    warehouse: Path,
    corpora: Mapping[str, float],
    *,
    vectors: Path,
    tower: str,
    split_hash: str,
    root: Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Write ``manifests/<hash>.json`` over the training shards of the given corpora.

    Args:
        warehouse: holds facts, captions, and of each corpus the summary of its shards.
        corpora: name -> share of it seen in one epoch.
        vectors: the captions' text vectors.
        tower: name of the text tower that made them.
        split_hash: of the assignment of persons to splits.
        root: where the shards lie, and what every path in the manifest is relative to; None: ``warehouse``. Where it
            is not, facts, captions and vectors are copied there, so that a trainer needs nothing else.

    Returns:
        The manifest's path and content.

    Raises:
        EmptyManifestError: none of the corpora has training audio.
    """
    root = root or warehouse
    shards = [entry for corpus in sorted(corpora) for entry in _training_shards(warehouse, root, corpus)]
    if not shards:
        raise EmptyManifestError(
            f"no training audio in {root / 'shards'} for {', '.join(sorted(corpora)) or 'any corpus'}"
        )
    used = sorted({str(shard["corpus"]) for shard in shards})
    content: dict[str, Any] = {
        "shards": shards,
        "shares": {corpus: corpora[corpus] for corpus in used},
        "facts": _file(warehouse, warehouse / "captions" / "facts.parquet", root),
        "captions": _file(warehouse, warehouse / "captions" / "captions.parquet", root),
        "vectors": _file(warehouse, vectors, root),
        "tower": tower,
        "split": split_hash,
        "trained_on": {"corpora": used, **_seen(warehouse / "meta.db", used)},
    }
    path = root / "manifests" / f"{manifest_hash(content)[:12]}.json"
    store.write(path, json.dumps(content, indent=1, sort_keys=True).encode())
    return path, content


def _training_shards(warehouse: Path, root: Path, corpus: str) -> list[dict[str, Any]]:
    tars = [tar for tar in tars_of(corpus, warehouse / "shards", root / "shards") if tar.name.startswith("train-")]
    entries = store.at_once(lambda tar: _training_shard(root, corpus, tar), tars)
    return [entry for entry in entries if entry["samples"]]


def _training_shard(root: Path, corpus: str, tar: Path) -> dict[str, Any]:
    index = store.content(tar.with_suffix(".parquet"))
    seconds = pl.read_parquet(index, columns=["seconds"])["seconds"]
    return {
        "path": tar.relative_to(root).as_posix(),
        "sha256": pl.read_parquet_metadata(io.BytesIO(index))["sha256"],
        "corpus": corpus,
        "split": "train",
        "samples": len(seconds),
        "seconds": round(float(seconds.sum()), 3),
    }


def _file(warehouse: Path, path: Path, root: Path) -> dict[str, str]:
    name = path.relative_to(warehouse).as_posix()
    if root != warehouse:
        store.copy(path, root / name)
    return {"path": name, "sha256": file_sha256(path)}


def _seen(meta_db: Path, corpora: Sequence[str]) -> dict[str, list[str]]:
    """Languages and labels that training sees, for the out-of-distribution flags."""
    query = """
        SELECT DISTINCT attribute, value FROM fact JOIN facts USING (utt_id)
        WHERE split = 'train' AND list_contains(?, corpus) ORDER BY ALL
    """
    with duckdb.connect(str(meta_db), read_only=True) as connection:
        pairs = connection.sql(query, params=[list(corpora)]).fetchall()
    return {
        "languages": sorted({value for attribute, value in pairs if attribute == "language"}),
        "labels": sorted({attribute for attribute, _ in pairs}),
    }
