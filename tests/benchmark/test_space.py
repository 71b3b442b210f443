"""A planted space: the sexes lie apart, the languages do not, and nobody can be found on the map."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from benchmark import space
from benchmark.files import file_hash

SPEAKERS = 120


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, a shard that stands for the audio, and facts."""
    folder = tmp_path_factory.mktemp("space")
    rng = np.random.default_rng(0)
    rows: list[tuple[Any, ...]] = []
    vectors = []
    for number in range(SPEAKERS):
        sex = "female" if number % 2 else "male"
        language = ("en", "es-CO", "it")[number % 3]
        state = "present" if number < 6 else "absent"  # too few to be shown
        age = None if number % 10 == 0 else 65
        home = rng.standard_normal(8) + (3 if number % 2 else -3) * (np.arange(8) < 4)
        for clip in range(1 + number % 3):
            rows.append((f"u{number}-{clip}", "toy", f"Owner {number}", sex, age, age, language, state, "absent"))
            vectors.append((f"u{number}-{clip}", (home + 0.1 * rng.standard_normal(8)).tolist()))
    names = ["utt_id", "corpus", "person_id", "sex", "age_low", "age_high", "language", "parkinson", "healthy"]
    facts = pl.DataFrame(rows, schema=names, orient="row")  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect(folder / "meta.db") as con:
        con.execute("CREATE TABLE facts AS SELECT * FROM facts").fetchall()
    tar = folder / "test-00000.tar"
    tar.write_bytes(b"stands for audio")
    (folder / "ear-1").mkdir()
    pl.DataFrame(vectors, schema={"utt_id": pl.String(), "vector": pl.List(pl.Float32())}, orient="row").write_parquet(
        folder / "ear-1" / f"{file_hash(tar)[:16]}.parquet"
    )
    return folder


@pytest.fixture(scope="module")
def found(made: Path) -> dict[str, Any]:
    out = made / "reports"
    space.write({"ear": made / "ear-1"}, {"toy": [made / "test-00000.tar"]}, made / "meta.db", out)
    result: dict[str, Any] = space.read(out)["ear"]
    return result


def categories(found: dict[str, Any], attribute: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["attributes"][attribute]["categories"]}


def density(cells: str) -> np.ndarray[Any, Any]:
    return np.array([int(digit) for digit in cells]).reshape(space.GRID, space.GRID)


def test_what_structures_the_space_is_told_from_what_does_not(found: dict[str, Any]) -> None:
    sex, language = found["attributes"]["sex"], found["attributes"]["language"]
    assert sex["neighbours"] > 0.95 and sex["chance"] == pytest.approx(59 / 119, abs=1e-4)
    assert abs(language["neighbours"] - language["chance"]) < 0.06


def test_the_sexes_lie_apart_on_the_map(found: dict[str, Any]) -> None:
    women, men = (density(categories(found, "sex")[name]["cells"]) for name in ("female", "male"))
    assert women.max() == men.max() == 9
    assert ((women > 0) & (men > 0)).sum() < 0.1 * ((women > 0) | (men > 0)).sum()


def test_small_categories_are_folded_and_no_difference_gives_one_away(found: dict[str, Any]) -> None:
    assert found["n_speakers"] == SPEAKERS
    for attribute in found["attributes"].values():
        sizes = [one["n"] for one in attribute["categories"]]
        assert min(sizes) >= space.SMALLEST and sum(sizes) == SPEAKERS
    assert "diagnosis" not in found["attributes"], "6 of 120 have one: nothing may be shown"
    assert {name: one["n"] for name, one in categories(found, "age").items()} == {"older": 108, "not stated": 12}
    assert set(categories(found, "language")) == {"en", "es", "it"}
    assert "corpus" not in found["attributes"]


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"a": 30, "b": 20, "c": 10}, {"a": 30, "b": 20, "c": 10}),
        ({"a": 30, "b": 20, "c": 4}, {"a": 30, "other": 24}),  # 4 would follow from the rest
        ({"a": 30, "b": 20, "c": 6, "d": 5}, {"a": 30, "b": 20, "other": 11}),
        ({"a": 30, "b": 4}, {"other": 34}),
        ({"a": 4, "b": 4}, {"other": 8}),
    ],
)
def test_folding(counts: dict[str, int], shown: dict[str, int]) -> None:
    values = pl.Series([name for name, n in counts.items() for _ in range(n)])
    assert Counter(space._fold(values)) == shown


def test_a_lonely_speaker_is_on_no_map() -> None:
    at = np.array([[16, 16]] * 12 + [[4, 4], [4, 5]])
    cells = density(space._density(at))
    assert cells[16, 16] == 9 and cells[:9, :9].sum() == 0
    assert density(space._density(at[-2:])).sum() == 0
    assert len(space._density(at)) == space.GRID**2


def test_a_person_in_two_corpora_is_no_neighbour_of_itself() -> None:
    reduced = np.array([[1.0, 0.0], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    near = space._neighbours(reduced, np.array(["p", "p", "q", "r"], dtype=object))
    assert near[0].tolist() == [2, 3, 0, 1]


def test_the_file_names_nobody_and_is_not_made_twice(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ({"ear": made / "ear-1"}, {"toy": [made / "test-00000.tar"]}, made / "meta.db", tmp_path)
    file = space.write(*given)
    first = file.read_bytes()
    assert b"Owner" not in first and b"u0-" not in first
    assert set(space.read(tmp_path)) == {"ear"} == set(json.loads(first))
    with monkeypatch.context() as patch:
        patch.setattr(space, "_map", lambda *_: pytest.fail("made again"))
        assert space.write(*given).read_bytes() == first
    file.unlink()
    assert space.write(*given).read_bytes() == first, "the same input gives the same map"
    assert space.read(tmp_path / "none") == {}


def test_few_speakers_have_no_map(made: Path, tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "meta.db") as con:
        con.execute(f"ATTACH '{made / 'meta.db'}' AS old (READ_ONLY)").fetchall()
        con.execute("CREATE TABLE facts AS FROM old.facts WHERE utt_id < 'u11'").fetchall()
    tars = {"toy": [made / "test-00000.tar"]}
    space.write({"ear": made / "ear-1"}, tars, tmp_path / "meta.db", tmp_path)
    assert space.read(tmp_path) == {}
