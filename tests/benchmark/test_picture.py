"""The picture holds what the board says, in a form that Dagster shows."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmark import picture
from benchmark.results import Results
from tests.benchmark.made_results import TASKS, made_results

SVG = "{http://www.w3.org/2000/svg}"


def drawn(markdown: str) -> list[ElementTree.Element]:
    """The pictures of a text; nothing else may be in it."""
    lines = markdown.split("\n\n")
    found = [re.fullmatch(r"!\[[^\]\[]+\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", line) for line in lines]
    return [ElementTree.fromstring(base64.b64decode(one.group(1))) for one in found if one]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(made_results(tmp_path), tmp_path / "predictions", TASKS)


def test_every_mean_is_a_dot_on_its_interval(results: Results) -> None:
    (svg,) = drawn(picture.markdown(results, "Made-up <voices>"))
    texts = [one.text for one in svg.iter(f"{SVG}text")]
    assert texts[:2] == ["Mean macro-F1 over the 3 tasks of the paper track", "Made-up <voices>"]
    assert [text for text in texts if text in ("slap", "control", "random")] == ["slap", "control", "random"]
    dots = [float(one.get("cx", 0)) for one in svg.iter(f"{SVG}circle")][:3]
    mean = results.mean("slap", "probe", TASKS)
    assert mean is not None and mean.macro_f1 is not None
    assert dots[0] == pytest.approx(picture._x(mean.macro_f1)) and dots == sorted(dots, reverse=True)
    intervals = [one for one in svg.iter(f"{SVG}line") if one.get("stroke-width")]
    assert len(intervals) == 3
    assert all(float(i.get("x1", 0)) <= dot <= float(i.get("x2", 0)) for i, dot in zip(intervals, dots, strict=True))


def test_the_text_beside_the_picture_says_the_same(results: Results) -> None:
    mean = results.mean("slap", "probe", TASKS)
    assert mean is not None and f"slap {mean.macro_f1:.3f}" in picture.markdown(results).partition("](")[0]


def test_a_track_without_means_has_no_picture(tmp_path: Path) -> None:
    lost = replace(TASKS[0], name="lost")
    scores = made_results(tmp_path)
    assert picture.markdown(Results(scores, tmp_path / "predictions", [*TASKS, lost])) == ""
    both = [*TASKS, replace(lost, track="open")]
    assert len(drawn(picture.markdown(Results(scores, tmp_path / "predictions", both)))) == 1
