"""Warehouses for tests: meta.db of a folder as the pipeline builds it, or the little of it that sharding reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from pipelines import warehouse
from pipelines.settings import PROJECT


def build(folder: Path, corpora: Sequence[str]) -> Path:
    """Build ``meta.db`` in a folder from its ``tables``, with the SQL and the vocabulary of the project.

    Args:
        folder: holds ``tables/<corpus>``, and ``scores`` and ``shards`` where there are any.
        corpora: names of those that take part.
    """
    home, meta_db = PROJECT / "warehouse", folder / "meta.db"
    warehouse.build(
        folder / "tables",
        meta_db,
        corpora=corpora,
        vocabulary=home / "vocabulary",
        sql=home / "sql",
        scores=folder / "scores",
        shards=folder / "shards",
    )
    return meta_db


def toy(meta_db: Path, rows: Sequence[dict[str, str]]) -> None:
    """Write a ``meta.db`` that holds what sharding reads of a corpus ``toy``: a recording and a person each.

    Args:
        meta_db: the file, which must not be there.
        rows: ``utt_id``, ``path``, ``speaker_id`` and ``split``.
    """
    frame = pl.DataFrame(rows).with_columns(corpus=pl.lit("toy"), person_id=pl.col("speaker_id"))
    with duckdb.connect(str(meta_db)) as connection:
        connection.register("frame", frame)
        connection.execute(
            "CREATE TABLE utterance AS SELECT utt_id, corpus, speaker_id, path, CAST(NULL AS DOUBLE) AS start_s,"
            " CAST(NULL AS DOUBLE) AS end_s, CAST(NULL AS INTEGER) AS channel FROM frame"
        )
        connection.execute("CREATE TABLE speaker AS SELECT corpus, speaker_id, person_id FROM frame")
        connection.execute("CREATE TABLE person_split AS SELECT person_id, split FROM frame")
