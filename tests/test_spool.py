"""Rows come back as they went in, in memory or from the disk."""

import os
import tempfile

import polars as pl
import pytest

from pipelines.corpora._base import Rows
from pipelines.schema import UTTERANCE, SchemaError, Tables, validate
from pipelines.spool import Spool

COLUMNS = {"name": pl.String(), "number": pl.Float64(), "nothing": pl.String(), "day": pl.Date()}


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 10])
def test_rows_come_back_in_order(rows: int) -> None:
    spool = Spool(COLUMNS, batch=4)
    for number in range(rows):
        spool.add((f"n{number}", float(number), None, None))
    assert spool.height == rows
    for _ in range(2):  # it can be read again
        batches = list(spool.batches())
        assert all(dict(batch.schema) == COLUMNS and batch.height <= 4 for batch in batches)
        assert pl.concat(batches)["name"].to_list() == [f"n{number}" for number in range(rows)]


def test_changed_batches_are_a_new_spool() -> None:
    spool = Spool(COLUMNS, batch=2)
    for number in range(5):
        spool.add(("n", float(number), None, None))
    doubled = spool.changed(lambda batch: batch.with_columns(pl.col("number") * 2))
    assert doubled.height == 5
    assert pl.concat(doubled.batches())["number"].to_list() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_the_temporary_file_has_no_name_that_a_killed_process_could_leave(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = Spool(COLUMNS, batch=2)
    for number in range(5):
        spool.add(("n", float(number), None, None))
    assert sum(batch.height for batch in spool.batches()) == 5
    assert spool._file is not None and spool._file.seek(0, os.SEEK_END) > 0
    assert not list(tmp_path.iterdir())


def test_utterance_twice_in_two_batches_is_refused() -> None:
    rows = Rows("c", utterances=Spool(UTTERANCE, batch=3))
    who = rows.speaker("s")
    for number in range(7):
        rows.utterance(f"{number % 5}.wav", who, language="en")
    with pytest.raises(SchemaError, match="utt_id twice in 4 rows"):
        rows.tables()


def test_splits_are_taken_back() -> None:
    rows = Rows("c")
    for name in ("a", "b"):
        rows.utterance(f"{name}.wav", rows.speaker(name), language="en", official_split="test")
    rows.take_back_splits({"c:a"})
    tables: Tables = validate("c", rows.tables())
    assert dict(tables.utterances.select("speaker_id", "official_split").iter_rows()) == {"c:a": None, "c:b": "test"}


def test_a_spilled_table_is_read_batch_by_batch() -> None:
    """`batches` of a spilled table never holds more than one batch."""
    spool = Spool(COLUMNS, batch=2)
    for number in range(5):
        spool.add(("n", float(number), None, None))
    assert [batch.height for batch in spool.batches()] == [2, 2, 1]
