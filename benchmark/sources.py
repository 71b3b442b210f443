"""Who stands behind a label: the authority of each value in ``facts``, from the observations it was resolved from.

A task says how weak the source of its labels may be. The warehouse lets the strongest speak first
(`warehouse/sql/25_words.sql`, `40_resolve.sql`), but does not keep who spoke; here it is found again,
by the same rules: of a state the strongest authority whose votes are not even, over utterance, session
and speaker; of a category the strongest of the most specific level. A number is a scale's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import duckdb
import polars as pl

# As in the table `authority` of warehouse/sql/25_words.sql: the lower number speaks first. A word whose source is a
# scale is an owner's cut of it; a number on a scale, cut where it was published, is 1.
AUTHORITY: Mapping[str, int] = {
    "clinician": 0,
    "owner": 0,
    "group": 0,
    "scale": 2,
    "rater": 2,
    "self-report": 2,
    "model": 3,
    "acted": 3,
}
ANY = "any"  # no minimum; the only word for what has no source: sex, age, language, country
SOURCES = (ANY, *AUTHORITY)

_NUMBER = 1

# asked (attribute, kind) and authority (source, kind, rank, floor) are filled per call.
_SAID = """
CREATE TABLE spoken AS
WITH heard AS (
    SELECT
        o.speaker_id, o.session_id, o.utt_id, o.value, o.value_num, CAST(o.source AS VARCHAR) AS source,
        CAST(o.attribute AS VARCHAR) AS attribute, CAST(o.instrument AS VARCHAR) AS instrument
    FROM meta.observation AS o
    WHERE list_contains($corpora, CAST(o.corpus AS VARCHAR))
),
-- The words of a state count as present or absent; a word that says neither is no vote.
voted AS (
    SELECT
        h.speaker_id, h.session_id, h.utt_id, a.attribute, a.kind, r.rank,
        sum(CASE coalesce(own.canonical, common.canonical) WHEN 'present' THEN 1 WHEN 'absent' THEN -1 ELSE 0 END)
            AS votes
    FROM heard AS h
    JOIN asked AS a ON a.attribute = h.attribute AND a.kind = 'state'
    JOIN authority AS r ON r.source = h.source AND r.kind = a.kind
    LEFT JOIN words AS own ON own.domain = h.attribute AND own.raw = fold(h.value)
    LEFT JOIN words AS common ON common.domain = 'state' AND common.raw = fold(h.value)
    WHERE h.value IS NOT NULL
    GROUP BY ALL
),
scored AS (
    SELECT DISTINCT h.speaker_id, h.session_id, h.utt_id, a.attribute, a.kind, $scale AS rank
    FROM heard AS h
    JOIN scales AS s ON s.measures = h.attribute
        AND (fold(s.instrument) = fold(h.instrument) OR (fold(h.instrument) IS NULL AND s.is_scale))
    JOIN asked AS a ON a.attribute = s.target AND a.kind = 'state'
    WHERE h.value_num BETWEEN s.low AND s.high
),
-- A number was read on a scale, whoever filled it in.
measured AS (
    SELECT DISTINCT h.speaker_id, h.session_id, h.utt_id, a.attribute, a.kind, $scale AS rank
    FROM heard AS h
    JOIN asked AS a ON a.attribute = h.attribute AND a.kind = 'scale'
    WHERE h.value_num IS NOT NULL
),
named AS (
    SELECT h.speaker_id, h.session_id, h.utt_id, a.attribute, a.kind, min(r.rank) AS rank
    FROM heard AS h
    JOIN asked AS a ON a.attribute = h.attribute AND a.kind = 'category'
    JOIN authority AS r ON r.source = h.source AND r.kind = a.kind
    WHERE h.value IS NOT NULL
    GROUP BY ALL
)
SELECT * EXCLUDE (votes) FROM voted WHERE votes <> 0
UNION ALL SELECT * FROM scored
UNION ALL SELECT * FROM measured
UNION ALL SELECT * FROM named
"""

_RANKS = """
CREATE TABLE ranks AS
WITH u AS (
    SELECT utt_id, speaker_id, coalesce(session_id, '') AS session_id
    FROM meta.utterance
    WHERE list_contains($corpora, CAST(corpus AS VARCHAR))
),
reached AS (
    SELECT u.utt_id, s.attribute, s.kind, s.rank, 3 AS level
    FROM spoken AS s JOIN u ON u.utt_id = s.utt_id AND u.speaker_id = s.speaker_id
    UNION ALL
    SELECT u.utt_id, s.attribute, s.kind, s.rank, 2
    FROM spoken AS s JOIN u ON u.speaker_id = s.speaker_id AND u.session_id = s.session_id
    WHERE s.utt_id IS NULL AND s.session_id IS NOT NULL
    UNION ALL
    SELECT u.utt_id, s.attribute, s.kind, s.rank, 1
    FROM spoken AS s JOIN u ON u.speaker_id = s.speaker_id
    WHERE s.utt_id IS NULL AND s.session_id IS NULL
)
SELECT utt_id, attribute, if(kind = 'state', min(rank), arg_max(rank, level)) AS rank
FROM reached
GROUP BY utt_id, attribute, kind
"""

_STRONG = """
SELECT r.utt_id
FROM ranks AS r
JOIN asked AS a USING (attribute)
JOIN authority AS floor ON floor.kind = a.kind AND floor.source = $source
WHERE list_contains($words, r.attribute)
GROUP BY r.utt_id
HAVING max(r.rank - floor.floor) <= 0
"""


def copy_ranks(con: duckdb.DuckDBPyConnection, corpora: Collection[str], asked: Collection[str]) -> None:
    """Make the table ``ranks(utt_id, attribute, rank)``: the authority of each value, for `strong_enough`.

    Args:
        con: has the warehouse attached as ``meta``.
        corpora: whose utterances.
        asked: attributes, states and categories; others are ignored, for they have no source or are numbers.

    Raises:
        duckdb.Error: the warehouse lacks observation, attribute, instrument, utterance or word.
    """
    con.execute(
        "CREATE TEMP MACRO fold(raw) AS nullif(lower(trim(regexp_replace(raw, '\\s+', ' ', 'g'))), '')"
    ).fetchall()
    con.execute(
        "CREATE TABLE asked AS SELECT attribute, kind FROM meta.attribute "
        "WHERE list_contains(?, attribute) AND kind IN ('state', 'category', 'scale')",
        [sorted(asked)],
    ).fetchall()
    con.execute("CREATE TABLE authority (source VARCHAR, kind VARCHAR, rank INTEGER, floor INTEGER)").fetchall()
    con.executemany(
        "INSERT INTO authority VALUES (?, ?, ?, ?)",
        [(source, kind, *_ranks(source, kind)) for source in AUTHORITY for kind in ("state", "category", "scale")],
    ).fetchall()
    con.execute("CREATE TABLE words AS SELECT domain, raw, canonical FROM meta.word").fetchall()
    con.execute(
        "CREATE TABLE scales AS SELECT i.instrument, i.measures, i.target, a.kind = 'scale' AS is_scale, "
        "min(i.low) AS low, max(i.high) AS high FROM meta.instrument AS i "
        "JOIN meta.attribute AS a ON a.attribute = i.measures WHERE i.state IS NOT NULL GROUP BY ALL"
    ).fetchall()
    con.execute(_SAID, {"corpora": sorted(corpora), "scale": _NUMBER}).fetchall()
    con.execute(_RANKS, {"corpora": sorted(corpora)}).fetchall()


def strong_enough(con: duckdb.DuckDBPyConnection, words: Sequence[str], source: str) -> pl.DataFrame | None:
    """The utterances whose values for the attributes among ``words`` all come from ``source`` or a stronger one.

    Args:
        con: after `copy_ranks`.
        words: those of a task's conditions; a value that an utterance lacks does not count.
        source: one of `AUTHORITY`.

    Returns:
        utt_id; None when no attribute among the words has a source.
    """
    if not con.execute("SELECT 1 FROM asked WHERE list_contains(?, attribute)", [words]).fetchall():
        return None
    found: pl.DataFrame = con.sql(_STRONG, params={"words": words, "source": source}).pl()
    return found


def _ranks(source: str, kind: str) -> tuple[int, int]:
    """The authority of a word of that source, and the weakest that passes where a task names the source."""
    if source == "acted" and kind == "category":
        return 0, 0  # who acts an emotion knows it
    return AUTHORITY[source], _NUMBER if source == "scale" else AUTHORITY[source]
