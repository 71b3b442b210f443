"""What the assets and reports ask of a built ``meta.db``."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl


def ask(meta_db: Path, query: str) -> pl.DataFrame:
    """The rows of a query, read-only."""
    with duckdb.connect(str(meta_db), read_only=True) as connection:
        rows: pl.DataFrame = connection.sql(query).pl()
        return rows


def summary(meta_db: Path) -> pl.DataFrame:
    """A row per corpus: speakers, utterances, rejects, and why there are none."""
    return ask(
        meta_db,
        """
        SELECT corpus,
            (SELECT count(*) FROM speaker AS s WHERE s.corpus = c.corpus) AS speakers,
            (SELECT count(*) FROM utterance AS u WHERE u.corpus = c.corpus) AS utterances,
            (SELECT count(*) FROM reject AS r WHERE r.corpus = c.corpus) AS rejects,
            synthetic, reason
        FROM corpus AS c ORDER BY corpus
        """,
    )


def findings(meta_db: Path) -> pl.DataFrame:
    """What is wrong with the data, counted per corpus."""
    return ask(meta_db, "SELECT severity, corpus, finding, n, example FROM quality ORDER BY severity, corpus, finding")


def accounting(meta_db: Path) -> pl.DataFrame:
    """A row per corpus: what became of its utterances. ``missing``, ``unknown`` and ``twice`` must be 0."""
    return ask(
        meta_db,
        """
        SELECT
            corpus, utterances, in_tars, rejected, missing, "unknown", twice,
            (SELECT count(*) FROM reject AS r WHERE r.corpus = a.corpus AND passing) AS tried_again_next_time
        FROM accounting AS a
        ORDER BY missing + "unknown" + twice DESC, corpus
        """,
    )


def split_hash(meta_db: Path) -> str:
    """Hash of the assignment of persons to splits."""
    return str(ask(meta_db, "SELECT split_hash FROM build")["split_hash"].item())


def synthetic_corpora(meta_db: Path) -> list[str]:
    """The corpora that are rendered miniatures."""
    return ask(meta_db, "SELECT corpus FROM corpus WHERE synthetic ORDER BY corpus")["corpus"].to_list()


def absent_corpora(meta_db: Path) -> dict[str, str]:
    """Corpus -> why it has no data."""
    rows = ask(meta_db, "SELECT corpus, reason FROM corpus WHERE coalesce(reason, '') <> '' ORDER BY corpus")
    return dict(rows.iter_rows())
