"""Pictures made of characters, for the terminal and for Dagster's Markdown; the HTML page draws its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 41  # characters from 0 to 1: one is 0.025


@dataclass(frozen=True)
class Mark:
    """A line of a forest plot; without a value, why not."""

    label: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    remark: str = ""


def forest(marks: Sequence[Mark], chance: float | None = None) -> str:
    """A forest plot of values between 0 and 1, a line each; ``:`` stands where saying yes to all lies."""
    wide = max((len(mark.label) for mark in marks), default=0)
    lines = [f"{'':{wide}}  0        0.25      0.5       0.75      1"]
    for mark in marks:
        if mark.value is None:
            lines.append(f"{mark.label:>{wide}}  {mark.remark}".rstrip())
            continue
        drawn = [" "] * WIDTH
        if chance is not None:
            drawn[_at(chance)] = ":"
        if mark.low is not None and mark.high is not None:
            for i in range(_at(mark.low), _at(mark.high) + 1):
                drawn[i] = "─"
        drawn[_at(mark.value)] = "●"
        lines.append(f"{mark.label:>{wide}}  {''.join(drawn)}  {mark.value:.3f}")
    return "\n".join(lines)


def _at(value: float) -> int:
    return round(min(1.0, max(0.0, value)) * (WIDTH - 1))
