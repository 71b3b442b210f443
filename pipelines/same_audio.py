"""The same recording under two people: a copy, a mislabelled file, or one person with two ids.

Sharding knows the hash of the samples that it stored, so this is asked after it: a FLAC and a WAV of one recording are
the same, and so are two files that differ in their header. The turns of two people in one file are not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

from slap_model import store

FILE = "findings.json"  # in the folder of the shards; meta.db shows it in its view `quality`
LEAK = "same audio under two people, in two splits"
COPY = "same audio under two people"


def find(meta_db: Path, shards: Path) -> list[dict[str, Any]]:
    """The findings, as rows of the table ``quality``: an error where the two people lie in two splits.

    Args:
        meta_db: for persons and splits.
        shards: folder of ``<corpus>/index.parquet``.
    """
    indexes = sorted(str(path) for path in shards.glob("*/index.parquet"))
    if not indexes:
        return []
    query = """
        WITH copied AS (
            SELECT
                string_agg(DISTINCT u.corpus, ', ' ORDER BY u.corpus) AS corpus,
                count(DISTINCT p.split) > 1 AS leak
            FROM read_parquet(?, union_by_name = true) AS i
            JOIN utterance AS u ON u.utt_id = i.utt_id
            JOIN speaker AS s ON s.speaker_id = u.speaker_id
            JOIN person_split AS p ON p.person_id = s.person_id
            WHERE i.samples_sha256 IS NOT NULL  -- of an earlier version: the corpus is no longer part of the graph
            GROUP BY i.samples_sha256
            HAVING count(DISTINCT s.person_id) > 1
        )
        SELECT leak, corpus, count(*) AS n
        FROM copied
        GROUP BY corpus, leak
        ORDER BY leak DESC, corpus
    """
    with duckdb.connect(str(meta_db), read_only=True) as con:
        rows = con.execute(query, [indexes]).fetchall()
    return [
        {"severity": severity, "corpus": corpus, "finding": finding, "n": n, "example": None}
        for leak, corpus, n in rows
        for severity, finding in [("error", LEAK) if leak else ("warn", COPY)]
    ]


def write(meta_db: Path, shards: Path) -> list[dict[str, Any]]:
    """Look for copies and leave the findings where the view ``quality`` reads them."""
    found = find(meta_db, shards)
    store.write(shards / FILE, json.dumps(found, indent=1).encode())
    return found


def read(shards: Path) -> list[dict[str, Any]]:
    """The findings as `write` left them."""
    path = shards / FILE
    return list(json.loads(path.read_text())) if path.is_file() else []
