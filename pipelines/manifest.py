"""What a training run reads, written down by hash. Training takes a manifest, never a glob."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from pipelines.shards import file_sha256, tar_sha256
from slap_model.manifest import manifest_hash


class EmptyManifestError(ValueError):
    """There is nothing to train on; the message says what was looked for."""


def write(
    warehouse: Path, corpora: Mapping[str, float], *, vectors: Path, tower: str, split_hash: str
) -> tuple[Path, dict[str, Any]]:
    """Write ``manifests/<hash>.json`` over the training shards of the given corpora.

    Args:
        warehouse: every path in the manifest is relative to it.
        corpora: name -> share of it seen in one epoch.
        vectors: the captions' text vectors.
        tower: name of the text tower that made them.
        split_hash: of the assignment of persons to splits.

    Returns:
        The manifest's path and content.

    Raises:
        EmptyManifestError: none of the corpora has training audio.
    """
    shards = [entry for corpus in sorted(corpora) for entry in _training_shards(warehouse, corpus)]
    if not shards:
        raise EmptyManifestError(
            f"no training audio in {warehouse / 'shards'} for {', '.join(sorted(corpora)) or 'any corpus'}"
        )
    used = sorted({str(shard["corpus"]) for shard in shards})
    content: dict[str, Any] = {
        "shards": shards,
        "shares": {corpus: corpora[corpus] for corpus in used},
        "facts": _file(warehouse, warehouse / "captions" / "facts.parquet"),
        "captions": _file(warehouse, warehouse / "captions" / "captions.parquet"),
        "vectors": _file(warehouse, vectors),
        "tower": tower,
        "split": split_hash,
        "trained_on": {"corpora": used, **_seen(warehouse / "meta.db", used)},
    }
    path = warehouse / "manifests" / f"{manifest_hash(content)[:12]}.json"
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(content, indent=1, sort_keys=True))
    os.replace(draft, path)
    return path, content


def _training_shards(warehouse: Path, corpus: str) -> list[dict[str, Any]]:
    entries = []
    for tar in sorted((warehouse / "shards" / corpus).glob("train-*.tar")):
        index = pl.read_parquet(tar.with_suffix(".parquet"), columns=["seconds"])
        if index.height:
            entries.append(
                {
                    "path": tar.relative_to(warehouse).as_posix(),
                    "sha256": tar_sha256(tar),
                    "corpus": corpus,
                    "split": "train",
                    "samples": index.height,
                    "seconds": round(float(index["seconds"].sum()), 3),
                }
            )
    return entries


def _file(warehouse: Path, path: Path) -> dict[str, str]:
    return {"path": path.relative_to(warehouse).as_posix(), "sha256": file_sha256(path)}


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
