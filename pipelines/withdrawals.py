"""The list of withdrawals, and the filter by which ingest refuses whoever is on it.

``warehouse/withdrawals.csv`` has a row for each person who withdrew. It names nobody: ``refused`` holds keyed hashes
that stand nowhere else, so a person is recognised only by who has both the key and the person's id in a raw folder.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from pipelines.schema import REJECT, Tables
from slap_model import store

NAME = "withdrawals.csv"  # in the folder of the warehouse
LEFT_OUT = "a speaker who withdrew: left out with all recordings"
Hash = Callable[[str], str]  # the keyed hash of the warehouse's ids, see `pipelines.ingest.keyed`


class WithdrawalError(RuntimeError):
    """A list of withdrawals that cannot be followed; nothing may be read before it is mended."""


@dataclass(frozen=True)
class Withdrawal:
    """One row of the list. Counts are of what was found and removed; lists are separated by blanks."""

    date: str  # of the withdrawal, YYYY-MM-DD
    finished: str  # the day when all of it was gone; empty: the command was broken off and must be run again
    corpora: str  # all that held the person
    speakers: int
    utterances: int
    observations: int
    rejects: int
    fact_sets: int  # sets of facts that nobody else in training had, with their captions
    captions: int
    text_vectors: int
    tars: int
    embeddings: int  # files with vectors
    predictions: int  # files
    scores: int  # files
    manifests: int  # marked or removed
    checkpoints: str  # folders whose training saw the person: retrain, or do not use them
    refused: str  # keyed hashes of the person and the speakers
    key: str  # tells another id key, with which nobody on the list would be recognised


def read(path: Path, hashed: Hash) -> list[Withdrawal]:
    """The rows of the list; none where there is no list.

    Raises:
        WithdrawalError: the list is damaged, or was written with another id key.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [_row(row) for row in csv.DictReader(file, strict=True)]
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise WithdrawalError(f"{path} is damaged ({error}): restore it before anything is read") from error
    if any(row.key != key_mark(hashed) for row in rows):
        raise WithdrawalError(
            f"{path} was written with another id key, so nobody on it would be recognised: restore .id_key in "
            f"{path.parent}, or set SLAP_ID_KEY as it was"
        )
    return rows


def put(path: Path, row: Withdrawal, hashed: Hash) -> None:
    """Write a row in the place of the unfinished one for the same person, else at the end; the list is swapped."""
    rows = read(path, hashed)
    same = [old for old in rows if not old.finished and not set(old.refused.split()).isdisjoint(row.refused.split())]
    rows = [row if old in same[:1] else old for old in rows] if same else [*rows, row]
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Withdrawal)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in rows)
    store.write(path, text.getvalue().encode())  # which is on the disk then: nothing is removed before


def hashes(ids: Collection[str], hashed: Hash) -> list[str]:
    """What stands in ``refused`` for a person_id and speaker_ids."""
    return sorted(hashed(f"withdrawn {one}") for one in set(ids))


def key_mark(hashed: Hash) -> str:
    """What stands in ``key``."""
    return hashed("the key of the withdrawals")


def mark(path: Path, hashed: Hash) -> str:
    """What ingest adds to its fingerprint: changes with the people on the list; "" while there is none."""
    return mark_of(read(path, hashed), hashed)


def mark_of(rows: Sequence[Withdrawal], hashed: Hash) -> str:
    """`mark` of some rows of a list."""
    refused = sorted({one for row in rows for one in row.refused.split()})
    return f"+{hashed(' '.join(refused))}" if refused else ""


def drop(tables: Tables, path: Path, hashed: Hash) -> Tables:
    """The tables of a corpus without the people on the list: what ingest writes. Batches stay batches."""
    refused = {one for row in read(path, hashed) for one in row.refused.split()}
    speakers = refused_speakers(tables.speakers, refused, hashed) if refused else []
    return Without(tables, speakers) if speakers else tables


def refused_speakers(speakers: pl.DataFrame, refused: Collection[str], hashed: Hash) -> list[str]:
    """The speaker_ids whose person, or who themselves, are on the list."""
    listed = frozenset(refused)
    return [
        speaker_id
        for speaker_id, person_id in speakers.select("speaker_id", "person_id").iter_rows()
        if not listed.isdisjoint(hashes((speaker_id, person_id), hashed))
    ]


class Without(Tables):
    """Tables without some speakers; a reject without a name stands for each of them."""

    def __init__(self, tables: Tables, speakers: Sequence[str]) -> None:
        self._all, self._speakers = tables, list(speakers)
        self._own = own_files(tables.batches("utterance"), speakers)

    def batches(self, name: str) -> Iterator[pl.DataFrame]:
        """The rows that are left of the table ``name``."""
        if name != "reject":
            yield from (batch.filter(~pl.col("speaker_id").is_in(self._speakers)) for batch in self._all.batches(name))
            return
        for batch in self._all.batches(name):
            yield batch.filter(~named(self._speakers, self._own))
        yield left_out(self._speakers)

    def height(self, name: str) -> int:
        """How many rows are left of the table ``name``."""
        return sum(batch.height for batch in self.batches(name))

    def _whole(self, name: str) -> pl.DataFrame:
        return pl.concat(self.batches(name))


@dataclass(frozen=True)
class Own:
    """The raw files of some speakers."""

    paths: frozenset[str]
    shared: frozenset[str]  # those in which others speak too
    folders: tuple[str, ...]  # the highest that hold utterances of these speakers and of nobody else


def own_files(utterances: Iterator[pl.DataFrame], speakers: Sequence[str]) -> Own:
    """The raw files of some speakers of a corpus.

    Args:
        utterances: all of the corpus, in frames with speaker_id and path.
        speakers: speaker_ids.
    """
    theirs = pl.col("speaker_id").is_in(list(speakers))
    mine: list[pl.Series] = []
    others: set[str] = set()  # folders
    files: set[str] = set()
    batches = [batch.select("speaker_id", "path") for batch in utterances]
    for batch in batches:
        mine.append(batch.filter(theirs)["path"])
        others.update(batch.filter(~theirs).select(_folder().unique())["path"])
    paths = {path for part in mine for path in part}
    for batch in batches:
        files.update(batch.filter(~theirs, pl.col("path").is_in(sorted(paths)))["path"])
    of_others = {above for folder in others for above in _above(folder)}
    alone: set[str] = set()
    for path in paths:
        free = [above for above in _above(path.rpartition("/")[0]) if above not in of_others]
        alone.update(free[-1:])  # the highest one
    return Own(frozenset(paths), frozenset(files), tuple(sorted(alone)))


def _folder() -> pl.Expr:
    return pl.col("path").str.replace(r"/?[^/]*$", "")


def left_out(speakers: Sequence[str]) -> pl.DataFrame:
    """A reject without a name for each speaker."""
    return pl.DataFrame(
        [(speaker.partition(":")[0], ".", LEFT_OUT) for speaker in speakers], schema=dict(REJECT), orient="row"
    )


def _above(folder: str) -> list[str]:
    """A folder and those above it, without the root."""
    whole = PurePosixPath(folder)
    return [one.as_posix() for one in (whole, *whole.parents) if one.as_posix() != "."]


def named(speakers: Sequence[str], own: Own) -> pl.Expr:
    """Whether a reject names one of the speakers, their files or a folder that is theirs alone.

    An id counts as a word of its own. A short number means something else more often than not, so in a reason it
    has to stand after a word such as "speaker", or in quotes.
    """
    file = pl.col("path").str.replace(r":\d+$", "")
    found = file.is_in(sorted(own.paths))
    spoken = sorted({*own.paths, *(stem for stem in map(_stem, own.paths) if len(stem) >= 8)})
    if spoken:
        found |= pl.col("reason").str.contains_any(spoken)
    for folder in own.folders:
        found |= (file == folder) | file.str.starts_with(f"{folder}/")
    for speaker in speakers:
        owner_id = speaker.partition(":")[2]
        word = re.escape(owner_id)
        found |= file.str.contains(rf"(^|[^A-Za-z0-9]){word}([^A-Za-z0-9]|$)")
        before = r"(^|[^A-Za-z0-9])"
        if owner_id.isdigit() and len(owner_id) < 4:
            before = r"""(?i)(speaker|subject|participant|patient|client|person|id)[^A-Za-z0-9]{1,3}|['"]"""
        found |= pl.col("reason").str.contains(rf"({before}){word}([^A-Za-z0-9]|$)")
    return found


def _stem(path: str) -> str:
    return PurePosixPath(path).stem


def _row(row: dict[str, str]) -> Withdrawal:
    values: dict[str, Any] = {
        f.name: int(row[f.name]) if f.type == "int" else str(row[f.name]) for f in fields(Withdrawal)
    }
    return Withdrawal(**values)
