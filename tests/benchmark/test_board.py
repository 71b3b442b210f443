"""Means and comparisons over the scores of a world where positive speakers hum higher."""

import pytest

from benchmark.board import board
from tests.benchmark.world import World, task


def test_the_board_has_a_mean_only_when_complete(world: World) -> None:
    full = board(world.run(), world.root / "predictions", world.tasks)
    row = full.means.filter(stratum="all", embedder="ear", mode="zero-shot").row(0, named=True)
    assert row["complete"] == "3/3"
    assert 0.5 < row["macro_f1_low"] <= row["macro_f1"] <= row["macro_f1_high"] <= 1

    world.tasks.append(task("no-corpus", corpus="absent", group="voice"))
    partial = board(world.run(), world.root / "predictions", world.tasks)
    row = partial.means.filter(stratum="all", embedder="ear", mode="zero-shot").row(0, named=True)
    assert (row["complete"], row["macro_f1"], row["f1"], row["macro_f1_low"]) == ("3/4", None, None, None)
    health = partial.means.filter(stratum="health", embedder="ear", mode="zero-shot").row(0, named=True)
    assert (health["complete"], health["macro_f1"]) == ("2/2", 1.0)
    assert partial.differences["difference"].is_null().all()


def test_the_board_compares_with_the_references_on_the_same_draws(world: World) -> None:
    world.tasks = world.tasks[:2]
    found = board(world.run(), world.root / "predictions", world.tasks).differences
    pairs = set(found.select("embedder", "mode", "reference").rows())
    assert ("ear", "zero-shot", "always-yes") in pairs
    assert ("ear", "probe", "random") in pairs
    assert ("random", "probe", "random") not in pairs
    row = found.filter(embedder="ear", mode="zero-shot", reference="always-yes").row(0, named=True)
    assert row["difference"] == pytest.approx(2 / 3)
    assert row["separable"] and 0.3 < row["low"] <= row["difference"] <= row["high"]
