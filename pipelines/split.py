"""Every person gets one split, once.

The owners' split is used where no person is on both sides; otherwise a hash of the person's id decides, within
strata of the corpus' main label, sex and age. What was decided before is kept, so more people, or another corpus
with the same people, never move anyone from test to train.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import polars as pl

ASSIGNMENT: Mapping[str, pl.DataType] = {
    "person_id": pl.String(),
    "split": pl.String(),
    "source": pl.String(),  # official or hash
    "stratum": pl.String(),
}
TEST_SHARE = 0.3
# A person whom two corpora place differently goes where a test set stays clean.
PRIORITY = ("test", "dev", "train")

Placed = dict[str, tuple[str, str, str]]  # person_id -> split, source, stratum


def assign(
    persons: pl.DataFrame, stored: pl.DataFrame | None, seed: int, test_share: float = TEST_SHARE
) -> pl.DataFrame:
    """The split of every person.

    Args:
        persons: a row for each (person_id, corpus, official_split), with ``official_splits`` (Boolean: the
            corpus' own split may be used), ``official_split`` (train, dev, test or null), ``label`` (value of
            the corpus' main label), ``sex`` and ``age`` in years; all but the first three may be null.
        stored: an earlier result; its persons keep what they have.
        seed: of the hash. Another seed gives another split, but only to persons who have none.
        test_share: of the persons of a stratum. A stratum of two or more has at least one person on each side.

    Returns:
        Columns of `ASSIGNMENT`, a row a person of ``persons``, sorted by person_id.
    """
    strata = _strata(persons)
    placed: Placed = {}
    if stored is not None:
        placed.update({row[0]: row[1:] for row in stored.select(list(ASSIGNMENT)).iter_rows()})
    for person, split in _official(persons).items():
        placed.setdefault(person, (split, "official", strata[person][0]))
    _place_by_hash(strata, placed, seed, test_share)
    rows = [(person, *placed[person]) for person in sorted(strata)]
    return pl.DataFrame(rows, schema=dict(ASSIGNMENT), orient="row")


def split_hash(assignment: pl.DataFrame) -> str:
    """SHA-256 of who is in which split; the order of the rows does not matter."""
    lines = (f"{person}\t{split}\n" for person, split in assignment.select("person_id", "split").iter_rows())
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def usable_official_splits(persons: pl.DataFrame) -> list[str]:
    """Corpora whose owners' split is allowed, has train and test, and has no person on two sides."""
    placed = persons.filter(pl.col("official_splits") & pl.col("official_split").is_not_null())
    sides = placed.group_by("corpus", "person_id").agg(pl.col("official_split").n_unique().alias("sides"))
    divided = sides.filter(pl.col("sides") > 1)["corpus"].unique()
    complete = (
        placed.group_by("corpus")
        .agg(pl.col("official_split").unique().alias("splits"))
        .filter(pl.col("splits").list.contains("train") & pl.col("splits").list.contains("test"))
    )
    return sorted(set(complete["corpus"]) - set(divided))


def _official(persons: pl.DataFrame) -> dict[str, str]:
    """person_id -> the owners' split, where it may be used."""
    usable = persons.filter(
        pl.col("corpus").is_in(usable_official_splits(persons)) & pl.col("official_split").is_not_null()
    )
    splits = defaultdict(set)
    for person, split in usable.select("person_id", "official_split").iter_rows():
        splits[person].add(split)
    return {person: min(several, key=PRIORITY.index) for person, several in splits.items()}


def _strata(persons: pl.DataFrame) -> dict[str, list[str]]:
    """person_id -> names of the person's strata, the finest first.

    The coarser ones are for people who are alone in a finer one. A person in several corpora is counted in
    the first of them by name. The halves of age meet at the corpus' median.
    """
    people = (
        persons.sort("person_id", "corpus")
        .group_by("person_id", "corpus", maintain_order=True)
        .agg(pl.col("label").drop_nulls().max(), pl.col("sex").drop_nulls().max(), pl.col("age").mean())
        .with_columns(median=pl.col("age").median().over("corpus"))
        .unique("person_id", keep="first", maintain_order=True)
        .with_columns(
            half=pl.when(pl.col("age").is_null())
            .then(pl.lit("?"))
            .when(pl.col("age") < pl.col("median"))
            .then(pl.lit("younger"))
            .otherwise(pl.lit("older")),
            label=pl.col("label").fill_null("?"),
            sex=pl.col("sex").fill_null("?"),
        )
    )
    columns = ("person_id", "corpus", "label", "sex", "half")
    return {
        person: [
            f"{corpus}|{label}|{sex}|{half}",
            f"{corpus}|{label}|{sex}|*",
            f"{corpus}|{label}|*|*",
            f"{corpus}|*|*|*",
        ]
        for person, corpus, label, sex, half in people.select(columns).iter_rows()
    }


def _place_by_hash(strata: Mapping[str, list[str]], placed: Placed, seed: int, test_share: float) -> None:
    """Add everybody who has no split yet, stratum by stratum, from the finest names to the coarsest."""
    left = [person for person in strata if person not in placed]
    for fineness in range(4):
        members: dict[str, list[str]] = defaultdict(list)
        for person in left:
            members[strata[person][fineness]].append(person)
        settled: dict[str, list[str]] = defaultdict(list)
        for split, _, stratum in placed.values():
            settled[stratum].append(split)
        for stratum, persons in members.items():
            alone = len(persons) + len(settled[stratum]) == 1
            if alone and fineness < 3:
                continue  # a coarser stratum finds company
            _share_out(stratum, persons, settled[stratum], placed, seed, test_share)
        left = [person for person in left if person not in placed]


def _share_out(
    stratum: str, persons: Iterable[str], settled: list[str], placed: Placed, seed: int, test_share: float
) -> None:
    """Give the first of ``persons``, by hash, to test until the stratum has its share."""
    ordered = sorted(persons, key=lambda person: _draw(person, seed))
    size = len(ordered) + len(settled)
    if size == 1:
        n_test = int(_draw(ordered[0], seed) < test_share)
    else:
        n_test = min(max(math.floor(test_share * size + 0.5), 1), size - 1) - settled.count("test")
    for place, person in enumerate(ordered):
        placed[person] = ("test" if place < n_test else "train", "hash", stratum)


def _draw(person: str, seed: int) -> float:
    """A number in [0, 1) that a person keeps for ever."""
    digest = hashlib.sha256(f"{seed}:{person}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
