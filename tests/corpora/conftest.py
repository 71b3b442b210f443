"""Miniatures are rendered once a session; `root`, `tables` and `copy` are those of the corpus a module tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.corpora._base import corpora
from pipelines.schema import Tables
from pipelines.voices import Voices


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, float], Path]:
    """The folder of a corpus' miniature at a scale; not to be written to."""
    made: dict[tuple[str, float], Path] = {}

    def render(name: str, scale: float = 0.1) -> Path:
        if (name, scale) not in made:
            folder = tmp_path_factory.mktemp("raw") / name
            folder.mkdir()
            corpora()[name].miniature(folder, Voices(scale=scale))
            made[name, scale] = folder
        return made[name, scale]

    return render


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, rendered: Callable[[str, float], Path]) -> Path:
    """The miniature of the corpus that the module ``test_<corpus>`` is about, at its ``SCALE`` (0.1 where none)."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    return rendered(name, getattr(request.module, "SCALE", 0.1))


@pytest.fixture(scope="module")
def tables(root: Path) -> Tables:
    """What the recipe reads from `root`."""
    return corpora()[root.name].scan(root)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of `root` to spoil."""
    return Path(shutil.copytree(root, tmp_path / root.name))
