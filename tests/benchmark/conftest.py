"""Fixtures of the benchmark's tests."""

from pathlib import Path

import pytest

from tests.benchmark.world import World, hum


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("benchmark.probe.FOLDS", 2)  # the choice of C has its own tests
    monkeypatch.setattr("benchmark.probe.STRENGTHS", (0.1,))
    monkeypatch.setattr("benchmark.probe.REPEATS", 3)
    return hum(tmp_path)
