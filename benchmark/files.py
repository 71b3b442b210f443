"""Files known by what they hold."""

from __future__ import annotations

import hashlib
import io
import json
from functools import lru_cache
from pathlib import Path

import polars as pl

from slap_model import store

SIZES = "sizes.json"  # of a corpus' shards: name of each tar that the last run counts, and its utterances


def hash_of(content: object) -> str:
    """SHA-256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read once a process as long as it is not written again.

    A tar on an object store is not fetched for it: the hash is what its index keeps.
    """
    return _file_hash(path, store.version(path))


def tars_of(corpus: str, summaries: Path, large: Path) -> list[Path]:
    """The tars of a corpus that the last run counts, in the order of their names.

    A corpus that is away keeps its tars, but its summary names none: nothing may train on them or judge by them.

    Args:
        corpus: its name.
        summaries: folder of ``<corpus>/sizes.json``, ``warehouse/shards``.
        large: folder of ``<corpus>/*.tar``, here or on object storage.
    """
    summary = summaries / corpus / SIZES
    counted = json.loads(summary.read_text()) if summary.is_file() else {}
    return [tar for tar in store.listing(large / corpus, "*.tar") if tar.name in counted] if counted else []


def corpora_with_tars(summaries: Path) -> list[str]:
    """The corpora that have a summary of tars; of one that is away it may be empty."""
    return sorted(file.parent.name for file in summaries.glob(f"*/{SIZES}"))


@lru_cache(maxsize=65_536)
def _file_hash(path: Path, version: str) -> str:
    if not store.is_local(path) and path.suffix == ".tar":
        kept = pl.read_parquet_metadata(store.source(path.with_suffix(".parquet")))
        return kept["sha256"]
    with store.here(path) as local, local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def as_parquet(frame: pl.DataFrame) -> bytes:
    """A table as it is kept."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
