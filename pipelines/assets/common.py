"""What several assets need: how tables look in the Dagster UI, and which corpora take part."""

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from pipelines.corpora._base import Corpus, corpora, recipes
from pipelines.settings import Settings


def today() -> date:
    """The day on which licences are asked; one place, so that a test can choose it."""
    return date.today()


def markdown(frame: pl.DataFrame, rows: int = 30) -> dg.MarkdownMetadataValue:
    """The first rows of a table as Markdown metadata."""
    with pl.Config(
        tbl_formatting="MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=rows,
        tbl_cols=-1,
        fmt_str_lengths=200,
        tbl_width_chars=2000,
    ):
        return dg.MetadataValue.md(str(frame.head(rows)) if frame.height else "none")


# What a reason may tell of an owner: a file that it names at its end, a quoted cell, a path, a word with a digit.
AT_THE_END = r"(?s)((?:copy|second row|row without recordings) of ).*"
QUOTED = r"""(^|[\s(:])(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
PATH = r"[^\s<>:]+/[^\s<>:]+"
LETTER = r"[\p{Ll}\p{Lo}]"  # a code of an instrument has none: PHQ-8
CODE = rf"[\w'’-]*\d[\w'’-]*{LETTER}[\w'’-]*|[\w'’-]*{LETTER}[\w'’-]*\d[\w'’-]*|\w*\d\w*"


def reasons(rejects: pl.DataFrame, ids: Iterable[str] = ()) -> pl.DataFrame:
    """Rejects counted by reason, without what may name a person: that stays in the tables.

    Args:
        rejects: with a column ``reason``.
        ids: the owners' ids of the speakers; those that look like plain words are folded, too.
    """
    plain = [name for name in ids if len(name.encode()) > 2 and not re.fullmatch(r"[\w'’-]*\d[\w'’-]*", name)]
    plain.sort(key=len, reverse=True)  # Anna Maria before Anna
    folded = pl.col("reason").str.replace_all(AT_THE_END, "${1}#")
    if plain:
        folded = folded.str.replace_many(plain, ["#"] * len(plain), leftmost=True)
    folded = folded.str.replace_all(QUOTED, "${1}#").str.replace_all(rf"{PATH}|{CODE}", "#")
    return rejects.group_by(folded.alias("reason")).len("files").sort("files", "reason", descending=[True, False])


def owner_ids(settings: Settings, corpus: str) -> list[str]:
    """The owners' ids of a corpus' speakers, as `reasons` takes them."""
    speakers = pl.read_parquet(settings.tables / corpus / "speaker.parquet", columns=["speaker_id"])
    return speakers["speaker_id"].str.strip_prefix(f"{corpus}:").to_list()


def places(paths: pl.Series) -> pl.DataFrame:
    """Paths counted by their shape, ``*/*/*.wav``: names of folders and files may be ids, which stay in the tables."""
    shape = pl.col("path").str.replace_all(r"[^/]+/", "*/").str.replace(r"[^/]*?(\.\w+)?$", "*$1").alias("where")
    return paths.to_frame("path").group_by(shape).len("files").sort("files", "where", descending=[True, False])


def takes_part(settings: Settings, name: str) -> bool:
    """Whether a corpus is used in this run."""
    return name in settings.corpora and (not settings.only or name in settings.only)


def taking_part(settings: Settings) -> dict[str, Corpus]:
    """The corpora of this run."""
    return {name: corpus for name, corpus in settings.corpora.items() if takes_part(settings, name)}


def raw_root(settings: Settings, corpus: Corpus) -> Path:
    """The raw folder of one corpus; a folder that does not exist where the corpus is left out."""
    if takes_part(settings, corpus.name):
        return settings.raw / (corpus.folder or corpus.name)
    why = "left out by SLAP_ONLY" if corpus.name in settings.corpora else f"no part of a {settings.mode} run"
    return settings.raw / f"{corpus.name} ({why})"


def left_out(settings: Settings) -> list[str]:
    """Cohorts in the raw folder without tables: they came after the graph was loaded, so it has no assets for them."""
    found = (corpora() | settings.corpora).keys() - recipes().keys()
    return sorted(name for name in found if not (settings.tables / name / "corpus.json").is_file())
