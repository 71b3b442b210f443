"""The three tables every corpus becomes, and the fourth that says what could not be read.

A recipe (``pipelines/corpora/<name>.py``) returns these tables in the owners' words; the warehouse
(``warehouse/sql``) folds the words into one vocabulary. Unknown is the absence of a row; healthy is a
stated fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

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


@dataclass(frozen=True)
class Tables:
    """What one corpus holds: ``speakers``, ``utterances``, ``observations`` and ``rejects``."""

    speakers: pl.DataFrame
    utterances: pl.DataFrame
    observations: pl.DataFrame
    rejects: pl.DataFrame


def validate(corpus: str, tables: Tables) -> Tables:
    """Return ``tables`` unchanged, or raise `SchemaError` saying what breaks the contract and where."""
    for name, frame, columns in (
        ("speaker", tables.speakers, SPEAKER),
        ("utterance", tables.utterances, UTTERANCE),
        ("observation", tables.observations, OBSERVATION),
        ("reject", tables.rejects, REJECT),
    ):
        if dict(frame.schema) != dict(columns):
            wrong = sorted(set(frame.schema.items()) ^ set(columns.items()), key=str)
            raise SchemaError(f"{corpus}: table {name} has other columns or types than its schema: {wrong}")
    speakers, utterances, observations = tables.speakers, tables.utterances, tables.observations
    _refuse(corpus, "speaker", "speaker_id twice", speakers.filter(pl.col("speaker_id").is_duplicated()))
    _refuse(corpus, "speaker", "no person_id", speakers.filter(pl.col("person_id").is_null()))
    _refuse(corpus, "utterance", "utt_id twice", utterances.filter(pl.col("utt_id").is_duplicated()))
    _refuse(
        corpus,
        "utterance",
        "speaker_id not in table speaker",
        utterances.join(speakers, on="speaker_id", how="anti"),
    )
    _refuse(
        corpus,
        "observation",
        "speaker_id not in table speaker",
        observations.join(speakers, on="speaker_id", how="anti"),
    )
    _refuse(
        corpus,
        "observation",
        "neither value nor value_num",
        observations.filter(pl.col("value").is_null() & pl.col("value_num").is_null()),
    )
    _refuse(
        corpus,
        "observation",
        f"source not one of {sorted(SOURCES)}",
        observations.filter(~pl.col("source").is_in(sorted(SOURCES))),
    )
    _refuse(
        corpus,
        "utterance",
        f"official_split not one of {SPLITS}",
        utterances.filter(~pl.col("official_split").is_in(list(SPLITS))),
    )
    _refuse(
        corpus,
        "utterance",
        f"speech_task not one of {sorted(SPEECH_TASKS)}",
        utterances.filter(~pl.col("speech_task").is_in(sorted(SPEECH_TASKS))),
    )
    _refuse(
        corpus,
        "utterance",
        "end_s not after start_s",
        utterances.filter(pl.col("end_s") <= pl.col("start_s")),
    )
    _refuse(
        corpus,
        "utterance",
        "path leaves the corpus folder",
        utterances.filter(pl.col("path").str.starts_with("/") | pl.col("path").str.split("/").list.contains("..")),
    )
    return tables


def _refuse(corpus: str, table: str, what: str, rows: pl.DataFrame) -> None:
    if rows.height:
        raise SchemaError(f"{corpus}: table {table}: {what} in {rows.height} rows, first {rows.row(0, named=True)}")
