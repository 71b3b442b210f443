"""The same recording under two people: a copy, a mislabelled file, or one person with two ids.

Sharding knows the hash of every raw file, so this is asked after it. Two utterances are the same audio where raw hash,
cut and channel are the same: the turns of two people in one file are not.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import duckdb

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
            FROM read_parquet(?) AS i
            JOIN utterance AS u ON u.utt_id = i.utt_id
            JOIN speaker AS s ON s.speaker_id = u.speaker_id
            JOIN person_split AS p ON p.person_id = s.person_id
            GROUP BY i.raw_sha256, coalesce(u.start_s, 0), coalesce(u.end_s, -1), coalesce(u.channel, -1)
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
    shards.mkdir(parents=True, exist_ok=True)
    draft = shards / f"{FILE}.{os.getpid()}.tmp"
    draft.write_text(json.dumps(found, indent=1))
    os.replace(draft, shards / FILE)
    return found


def read(shards: Path) -> list[dict[str, Any]]:
    """The findings as `write` left them."""
    path = shards / FILE
    return list(json.loads(path.read_text())) if path.is_file() else []
