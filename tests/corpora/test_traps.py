"""Every trap that a recipe names has a test, and every test that claims a trap names one that exists."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.corpora._base import Corpus, corpora

EVERY_CORPUS = pytest.mark.parametrize("corpus", corpora().values(), ids=corpora().keys())


def claimed() -> Iterator[str]:
    """The arguments of all ``@pytest.mark.trap(...)`` in this folder."""
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.trap"):
                yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant))


@EVERY_CORPUS
def test_every_trap_has_a_test(corpus: Corpus) -> None:
    assert corpus.traps
    assert {f"{corpus.name}.{trap}" for trap in corpus.traps} <= set(claimed())


def test_claimed_traps_exist() -> None:
    known = {f"{corpus.name}.{trap}" for corpus in corpora().values() for trap in corpus.traps}
    assert set(claimed()) <= known
