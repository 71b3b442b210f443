"""One recording under two people is found, wherever it lies; the turns of two people in one file are not."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from pipelines import same_audio


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A meta.db of some people and the index of their shards: speaker, person, split, hash of file and of samples."""
    people = [
        ("a:1", "p1", "train", "h1", "s1"),
        ("a:2", "p2", "test", "h1", "s1"),  # a copy across the splits
        ("a:3", "p3", "train", "h2", "s2"),
        ("a:4", "p4", "train", "h2", "s3"),  # another turn of the same file
        ("a:5", "p5", "train", "h3", "s4"),
        ("b:5", "p5", "train", "h3", "s4"),  # the same person in two corpora
        ("a:6", "p6", "train", "h4", "s5"),
        ("b:6", "p7", "train", "h5", "s5"),  # a FLAC of a WAV, in one split, across corpora
        ("c:7", "p8", "train", "h6", None),
        ("c:8", "p9", "train", "h7", None),  # of an earlier version, which did not know the samples
    ]
    with duckdb.connect(str(tmp_path / "meta.db")) as con:
        con.execute("CREATE TABLE speaker (speaker_id VARCHAR, person_id VARCHAR)")
        con.execute("CREATE TABLE person_split (person_id VARCHAR, split VARCHAR)")
        con.execute("CREATE TABLE utterance (utt_id VARCHAR, corpus VARCHAR, speaker_id VARCHAR)")
        for speaker, person, split, _, _ in people:
            con.execute("INSERT INTO speaker VALUES (?, ?)", [speaker, person])
            con.execute("INSERT INTO utterance VALUES (?, ?, ?)", [speaker, speaker[0], speaker])
            if (person,) not in con.execute("SELECT person_id FROM person_split").fetchall():
                con.execute("INSERT INTO person_split VALUES (?, ?)", [person, split])
    for corpus in ("a", "b", "c"):
        (tmp_path / "shards" / corpus).mkdir(parents=True)
        rows = [(who, raw, samples) for who, _, _, raw, samples in people if who[0] == corpus]
        index = pl.DataFrame(rows, schema=["utt_id", "raw_sha256", "samples_sha256"], orient="row")
        if corpus == "c":
            index = index.drop("samples_sha256")
        index.write_parquet(tmp_path / "shards" / corpus / "index.parquet")
    return tmp_path


def test_copies_are_found_and_leaks_are_errors(house: Path) -> None:
    found = same_audio.write(house / "meta.db", house / "shards")
    assert [(row["severity"], row["corpus"], row["finding"], row["n"]) for row in found] == [
        ("error", "a", same_audio.LEAK, 1),
        ("warn", "a, b", same_audio.COPY, 1),
    ]
    assert same_audio.read(house / "shards") == found
    assert not any(name in (house / "shards" / same_audio.FILE).read_text() for name in ("p1", "a:1", "h1"))


def test_no_shards_no_findings(house: Path) -> None:
    assert same_audio.find(house / "meta.db", house / "nowhere") == []
    assert same_audio.read(house / "nowhere") == []
