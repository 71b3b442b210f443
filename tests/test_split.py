"""Every person in one split, for ever."""

from __future__ import annotations

import random

import polars as pl
import pytest

from pipelines.split import assign, split_hash, usable_official_splits

COLUMNS = {
    "person_id": pl.String(),
    "corpus": pl.String(),
    "official_splits": pl.Boolean(),
    "official_split": pl.String(),
    "label": pl.String(),
    "sex": pl.String(),
    "age": pl.Float64(),
}


def persons(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def crowd(n: int, corpus: str = "c", seed: int = 0) -> pl.DataFrame:
    draw = random.Random(seed)
    return persons(
        *(
            (
                f"{corpus}:{seed}-{i}",
                corpus,
                False,
                None,
                draw.choice(["present", "absent"]),
                draw.choice(["female", "male"]),
                draw.uniform(18, 85),
            )
            for i in range(n)
        )
    )


def splits(assignment: pl.DataFrame) -> dict[str, str]:
    return dict(assignment.select("person_id", "split").iter_rows())


def test_same_people_same_split_whatever_the_order_of_rows() -> None:
    people = crowd(60)
    assert assign(people, None, 0).equals(assign(people.reverse(), None, 0))
    assert splits(assign(people, None, 1)) != splits(assign(people, None, 0))


def test_every_stratum_has_its_share_of_test() -> None:
    assigned = assign(crowd(400), None, 0)
    shares = assigned.group_by("stratum").agg(
        n=pl.len(), test=(pl.col("split") == "test").sum(), sources=pl.col("source").unique()
    )
    assert shares.height == 8  # label x sex x half of age
    for row in shares.iter_rows(named=True):
        assert abs(row["test"] - 0.3 * row["n"]) <= 0.5
        assert row["sources"] == ["hash"]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_small_strata_have_both_sides(size: int) -> None:
    people = persons(*((f"p{i}", "c", False, None, "present", "female", 50.0) for i in range(size)))
    assert set(splits(assign(people, None, 0)).values()) == {"train", "test"}


def test_people_alone_in_a_stratum_find_company_in_a_coarser_one() -> None:
    people = persons(
        ("a", "c", False, None, "present", "female", 30.0),
        ("b", "c", False, None, "present", "male", 70.0),
        ("x", "c", False, None, "absent", "female", 70.0),
        ("y", "c", False, None, "absent", "male", 30.0),
    )
    placed = splits(assign(people, None, 0))
    assert {placed["a"], placed["b"]} == {"train", "test"}
    assert {placed["x"], placed["y"]} == {"train", "test"}


def test_adding_people_and_a_corpus_moves_nobody() -> None:
    grown = crowd(37)
    stored = assign(grown, None, 0)
    for step in range(1, 6):
        grown = pl.concat([grown, crowd(11, seed=step), crowd(step * 7, corpus="another", seed=step)])
        later = assign(grown, stored, 0)
        assert splits(stored).items() <= splits(later).items()
        stored = later
    test_share = stored.filter(pl.col("split") == "test").height / stored.height
    assert 0.2 < test_share < 0.4


def test_stored_people_count_towards_the_share() -> None:
    one = persons(("a", "c", False, None, "present", "female", 50.0))
    two = persons(*one.rows(), ("b", "c", False, None, "present", "female", 50.0))
    for seed in range(20):
        stored = assign(one, None, seed).with_columns(stratum=pl.lit("c|present|female|older"))
        assert set(splits(assign(two, stored, seed)).values()) == {"train", "test"}


def test_official_split_is_followed_where_people_are_on_one_side() -> None:
    people = persons(
        ("a", "c", True, "train", None, None, None),
        ("b", "c", True, "dev", None, None, None),
        ("d", "c", True, "test", None, None, None),
        ("d", "c", True, None, None, None, None),
        ("e", "c", True, None, None, None, None),
    )
    assigned = assign(people, None, 0)
    placed = {row[0]: row[1:3] for row in assigned.iter_rows()}
    assert placed["a"] == ("train", "official")
    assert placed["b"] == ("dev", "official")
    assert placed["d"] == ("test", "official")
    assert placed["e"][1] == "hash"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("a", "train"), ("a", "test"), ("b", "test")], "a person on both sides"),
        ([("a", "train"), ("b", "train")], "no test"),
        ([("a", "test"), ("b", "test")], "no train"),
    ],
)
def test_official_split_is_not_followed(rows: list[tuple[str, str]], why: str) -> None:
    people = persons(*((person, "c", True, split, None, None, None) for person, split in rows))
    assert usable_official_splits(people) == [], why
    assert set(assign(people, None, 0)["source"]) == {"hash"}, why


def test_official_split_needs_the_corpus_to_allow_it() -> None:
    rows = [("a", "train"), ("b", "test")]
    people = persons(*((person, "c", False, split, None, None, None) for person, split in rows))
    assert usable_official_splits(people) == []


def test_person_in_two_corpora_has_one_split_and_official_test_wins() -> None:
    people = persons(
        ("shared", "a", True, "train", None, None, None),
        ("a1", "a", True, "test", None, None, None),
        ("shared", "b", True, "test", None, None, None),
        ("b1", "b", True, "train", None, None, None),
        ("half", "b", True, "test", None, None, None),
        ("half", "hashed", False, None, None, None, None),
        ("h1", "hashed", False, None, None, None, None),
    )
    assigned = assign(people, None, 0)
    assert assigned["person_id"].is_unique().all()
    assert splits(assigned)["shared"] == "test"
    assert splits(assigned)["half"] == "test"


def test_stored_wins_over_an_official_split_that_comes_later() -> None:
    stored = assign(
        persons(("a", "c", True, "train", None, None, None), ("b", "c", True, "test", None, None, None)), None, 0
    )
    turned = persons(("a", "c", True, "test", None, None, None), ("b", "c", True, "train", None, None, None))
    assert splits(assign(turned, stored, 0)) == {"a": "train", "b": "test"}


def test_split_hash_sees_people_and_splits_only() -> None:
    assigned = assign(crowd(20), None, 0)
    assert split_hash(assigned) == split_hash(assigned.reverse().with_columns(stratum=pl.lit("other")))
    flipped = assigned.with_columns(split=pl.lit("train"))
    assert split_hash(assigned) != split_hash(flipped)
    assert split_hash(assigned) != split_hash(assigned.head(19))


def test_nobody_gives_an_empty_assignment() -> None:
    assert assign(crowd(0), None, 0).height == 0
