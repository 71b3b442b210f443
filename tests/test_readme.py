from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmark.registry import ENTRIES
from pipelines.cli import corpus_table, embedder_table
from pipelines.corpora._base import recipes

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_corpus_table_is_that_of_the_recipes() -> None:
    """If this fails: replace the part between the marks with what `slap corpora --markdown` prints."""
    table = README.split("<!-- corpora -->")[1].split("<!-- /corpora -->")[0]
    assert table.strip().splitlines() == corpus_table(recipes().values())


def test_embedder_table_is_that_of_the_registry() -> None:
    """If this fails: replace the part between the marks with what `slap embedders --markdown` prints."""
    table = README.split("<!-- embedders -->")[1].split("<!-- /embedders -->")[0]
    assert table.strip().splitlines() == embedder_table(ENTRIES.values())


def test_counts_of_the_paper() -> None:
    roles = [corpus.roles for corpus in recipes().values()]
    assert sum("train" in role for role in roles) == 9
    assert sum("evaluate" in role for role in roles) == 14


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w/]+\.png)\)", README))))
def test_pictures_are_there(path: str) -> None:
    assert (ROOT / path).stat().st_size > 10_000


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:pipelines|slap_model|benchmark|warehouse)/[\w/.]+)`", README)))
)
def test_files_it_names_are_there(path: str) -> None:
    made = ("warehouse/reports", "warehouse/.id_key", "warehouse/meta.db", "warehouse/withdrawals.csv")
    assert path.startswith(made) or (ROOT / path).exists()
