"""The board as a picture in Markdown: means with intervals, an SVG inside a data address.

Dagster 1.13 shows pictures in Markdown only as ``![text](data:...)``: it removes SVG and ``<img>`` written as HTML.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmark.results import OURS, Mean, Results
from benchmark.score import MODES

WIDTH, LABEL, ROW, TOP, FOOT = 720, 190, 26, 58, 46  # pixels
SHIFT = 5  # of the marks of the two modes from the middle of a row
INK, FAINT, OURS_INK, OTHER_INK = "#1f2933", "#d5dae0", "#0b6e99", "#6b7785"
NAMES = {"zero-shot": "zero-shot", "probe": "linear probe"}


@dataclass(frozen=True)
class Row:
    """An embedder, and its mean macro-F1 by mode where all tasks are scored."""

    embedder: str
    means: dict[str, Mean]

    @property
    def best(self) -> float:
        """The higher of the means: rows are sorted by it."""
        return max((mean.macro_f1 or 0.0 for mean in self.means.values()), default=0.0)


def markdown(results: Results, banner: str = "") -> str:
    """A picture of the means for each track that has some; "" where no track has.

    Args:
        results: of the board.
        banner: said under the title of each picture, e.g. that the voices are rendered.
    """
    parts = []
    for track, tasks in results.tracks.items():
        rows = _rows(results, track)
        if rows:
            title = f"Mean macro-F1 over the {len(tasks)} tasks of the {track} track"
            text = ", ".join(f"{row.embedder} {row.best:.3f}" for row in rows)
            parts.append(f"![{_plain(f'{title}: {text}')}]({data_address(forest(rows, title, banner))})")
    return "\n\n".join(parts)


def data_address(svg: str) -> str:
    """An SVG as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _rows(results: Results, track: str) -> list[Row]:
    found = []
    for embedder in results.embedders:
        means = {
            mode: mean
            for mode in MODES
            if embedder in results.judged(mode)
            and (mean := results.mean(embedder, mode, results.averaged(track))) is not None
            and mean.macro_f1 is not None
        }
        found += [Row(embedder, means)] if means else []
    return sorted(found, key=lambda row: -row.best)


def forest(rows: Sequence[Row], title: str, banner: str = "") -> str:
    """A forest plot as SVG: zero-shot as a ring, the probe as a dot, 95 % intervals over speakers as lines."""
    height = TOP + ROW * len(rows) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 22, title, size=15, bold=True),
        _text(12, 42, banner, INK if not banner else "#a1480d"),
    ]
    for step in range(0, 11, 2):
        x = _x(step / 10)
        lines.append(f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{height - FOOT}" stroke="{FAINT}"/>')
        lines.append(_text(x, height - FOOT + 18, f"{step / 10:.1f}", anchor="middle"))
    for i, row in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        ink = OURS_INK if row.embedder == OURS else OTHER_INK
        lines.append(_text(LABEL - 12, y + 4, row.embedder, INK, anchor="end", bold=row.embedder == OURS))
        for mode, mean in row.means.items():
            lines += _mark(mean, y + (SHIFT if mode == "probe" else -SHIFT), ink, filled=mode == "probe")
    y = height - 12
    for x, filled, mode in ((LABEL, False, "zero-shot"), (LABEL + 120, True, "probe")):
        lines.append(_dot(x, y - 4, OTHER_INK, filled))
        lines.append(_text(x + 12, y, NAMES[mode]))
    lines.append(_text(LABEL + 240, y, "lines: 95 % intervals over speakers"))
    return "".join([*lines, "</svg>"])


def _mark(mean: Mean, y: float, ink: str, filled: bool) -> list[str]:
    if mean.macro_f1 is None:
        return []
    found = []
    if mean.low is not None and mean.high is not None:
        found.append(
            f'<line x1="{_x(mean.low)}" y1="{y}" x2="{_x(mean.high)}" y2="{y}" stroke="{ink}" stroke-width="2"/>'
        )
    return [*found, _dot(_x(mean.macro_f1), y, ink, filled)]


def _dot(x: float, y: float, ink: str, filled: bool) -> str:
    return f'<circle cx="{x}" cy="{y}" r="4" fill="{ink if filled else "#ffffff"}" stroke="{ink}" stroke-width="2"/>'


def _text(
    x: float, y: float, text: str, ink: str = INK, size: int = 13, anchor: str = "start", bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{ink}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _x(value: float) -> float:
    return round(LABEL + min(1.0, max(0.0, value)) * (WIDTH - LABEL - 24), 1)


def _plain(text: str) -> str:
    """A text that may stand in the brackets of Markdown."""
    return text.replace("[", "(").replace("]", ")")
