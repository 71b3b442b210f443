"""The three tables every corpus becomes, and the fourth that says what could not be read.

A recipe (``pipelines/corpora/<name>.py``) returns these tables in the owners' words; the warehouse
(``warehouse/sql``) folds the words into one vocabulary. Unknown is the absence of a row; healthy is a
stated fact.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import polars as pl

from pipelines.spool import Spool

SPEAKER: Mapping[str, pl.DataType] = {
    "corpus": pl.String(),
    "speaker_id": pl.String(),  # "<corpus>:<owner id>"
    "person_id": pl.String(),  # the same where two corpora hold the same person
    "sex": pl.String(),  # the owner's word; folded by warehouse/vocabulary/words.csv
    "birth_year": pl.Int32(),
    "native_language": pl.String(),  # BCP-47
    "country": pl.String(),
}

UTTERANCE: Mapping[str, pl.DataType] = {
    "utt_id": pl.String(),
    "corpus": pl.String(),
    "speaker_id": pl.String(),
    "session_id": pl.String(),
    "path": pl.String(),  # relative to the corpus root, "/" as separator
    "start_s": pl.Float64(),  # seconds; null: from the beginning
    "end_s": pl.Float64(),  # seconds; null: to the end
    "channel": pl.Int32(),  # 0-based; null: mean of all channels
    "language": pl.String(),  # BCP-47
    "speech_task": pl.String(),  # read, spontaneous, vowel, syllables, words, digits
    "device": pl.String(),
    "recorded_on": pl.Date(),
    "official_split": pl.String(),  # train, dev, test or null
    "age": pl.Float64(),  # years at the recording
}

OBSERVATION: Mapping[str, pl.DataType] = {
    "corpus": pl.String(),
    "speaker_id": pl.String(),
    "session_id": pl.String(),  # null: holds for the speaker
    "utt_id": pl.String(),  # null: holds for the session or speaker
    "attribute": pl.String(),  # a row of warehouse/vocabulary/attributes.csv
    "value": pl.String(),
    "value_num": pl.Float64(),
    "unit": pl.String(),
    "instrument": pl.String(),  # a row of warehouse/vocabulary/instruments.csv
    "source": pl.String(),  # one of SOURCES
    "rater": pl.String(),
}

REJECT: Mapping[str, pl.DataType] = {
    "corpus": pl.String(),
    "path": pl.String(),  # file, or file:row
    "reason": pl.String(),
}

SOURCES = frozenset({"clinician", "scale", "self-report", "rater", "group", "owner", "model", "acted"})
SPLITS = ("train", "dev", "test")
SPEECH_TASKS = frozenset({"read", "spontaneous", "vowel", "syllables", "words", "digits"})


class SchemaError(ValueError):
    """A recipe returned tables that break the contract; the message names corpus, table and rows."""


Table = pl.DataFrame | Spool
NAMES = ("speaker", "utterance", "observation", "reject")
COLUMNS = dict(zip(NAMES, (SPEAKER, UTTERANCE, OBSERVATION, REJECT), strict=True))


class Tables:
    """What one corpus holds. `batches` reads a table of any size in flat memory; the properties hold it whole."""

    def __init__(self, speakers: Table, utterances: Table, observations: Table, rejects: Table) -> None:
        self._tables = dict(zip(NAMES, (speakers, utterances, observations, rejects), strict=True))

    def batches(self, name: str) -> Iterator[pl.DataFrame]:
        """The rows of the table ``speaker``, ``utterance``, ``observation`` or ``reject``, one frame at least."""
        table = self._tables[name]
        return iter((table,)) if isinstance(table, pl.DataFrame) else table.batches()

    def height(self, name: str) -> int:
        """How many rows the table ``name`` has."""
        return self._tables[name].height

    def with_rejects(self, rows: Iterable[pl.DataFrame]) -> Tables:
        """The same tables with more rejects after those that there are."""
        rejects = Spool(REJECT)
        for batch in itertools.chain(self.batches("reject"), rows):
            for row in batch.iter_rows():
                rejects.add(row)
        return Tables(self._tables["speaker"], self._tables["utterance"], self._tables["observation"], rejects)

    @property
    def speakers(self) -> pl.DataFrame:
        """Table ``speaker``."""
        return self._whole("speaker")

    @property
    def utterances(self) -> pl.DataFrame:
        """Table ``utterance``."""
        return self._whole("utterance")

    @property
    def observations(self) -> pl.DataFrame:
        """Table ``observation``."""
        return self._whole("observation")

    @property
    def rejects(self) -> pl.DataFrame:
        """Table ``reject``."""
        return self._whole("reject")

    def _whole(self, name: str) -> pl.DataFrame:
        table = self._tables[name]
        return table if isinstance(table, pl.DataFrame) else pl.concat(table.batches())


def validate(corpus: str, tables: Tables) -> Tables:
    """Return ``tables`` unchanged, or raise `SchemaError` saying what breaks the contract and where.

    Memory is flat but for eight bytes an utterance.
    """
    for name, columns in COLUMNS.items():
        for batch in tables.batches(name):
            if dict(batch.schema) != dict(columns):
                wrong = sorted(set(batch.schema.items()) ^ set(columns.items()), key=str)
                raise SchemaError(f"{corpus}: table {name} has other columns or types than its schema: {wrong}")
    speakers = tables.speakers
    _refuse(corpus, "speaker", "speaker_id twice", speakers.filter(pl.col("speaker_id").is_duplicated()))
    _refuse(corpus, "speaker", "no person_id", speakers.filter(pl.col("person_id").is_null()))
    _refuse(corpus, "utterance", "utt_id twice", _twice(tables))
    for name, rules in (("utterance", UTTERANCE_RULES), ("observation", OBSERVATION_RULES)):
        for batch in tables.batches(name):
            strangers = batch.join(speakers, on="speaker_id", how="anti")
            _refuse(corpus, name, "speaker_id not in table speaker", strangers)
            for what, broken in rules.items():
                _refuse(corpus, name, what, batch.filter(broken))
    return tables


UTTERANCE_RULES = {
    f"official_split not one of {SPLITS}": ~pl.col("official_split").is_in(list(SPLITS)),
    f"speech_task not one of {sorted(SPEECH_TASKS)}": ~pl.col("speech_task").is_in(sorted(SPEECH_TASKS)),
    "end_s not after start_s": pl.col("end_s") <= pl.col("start_s"),
    "path leaves the corpus folder": pl.col("path").str.starts_with("/")
    | pl.col("path").str.contains(r"(^|/)\.\.(/|$)"),
}
OBSERVATION_RULES = {
    "neither value nor value_num": pl.col("value").is_null() & pl.col("value_num").is_null(),
    f"source not one of {sorted(SOURCES)}": ~pl.col("source").is_in(sorted(SOURCES)),
}


def _twice(tables: Tables) -> pl.DataFrame:
    """The utterances whose id stands twice. Ids are compared by 64-bit hash first: equal hashes are looked at."""
    hashes = [batch["utt_id"].hash().to_numpy() for batch in tables.batches("utterance")]
    values, counts = np.unique(np.concatenate(hashes), return_counts=True)
    suspects = pl.Series(values[counts > 1], dtype=pl.UInt64)
    if suspects.is_empty():
        return pl.DataFrame(schema=dict(UTTERANCE))
    rows = pl.concat(
        batch.filter(batch["utt_id"].hash().is_in(suspects.implode())) for batch in tables.batches("utterance")
    )
    return rows.filter(pl.col("utt_id").is_duplicated())


def _refuse(corpus: str, table: str, what: str, rows: pl.DataFrame) -> None:
    if rows.height:
        error = SchemaError(f"{corpus}: table {table}: {what} in {rows.height} row{'' if rows.height == 1 else 's'}")
        error.add_note(f"first: {rows.row(0, named=True)}")  # in the traceback only: the message goes to the reports
        raise error
