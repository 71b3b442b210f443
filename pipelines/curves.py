"""The curves of a training from its log: a table and a picture for Dagster's Markdown, and what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from benchmark.picture import data_address

Line = Mapping[str, float]  # of metrics.jsonl
CURVES = ("contrastive", "mae", "temperature", "gradient_norm")
WIDTH, HEIGHT, LEFT, TOP, FOOT = 380, 190, 52, 34, 26  # of one panel, and its margins, in pixels
MOST = 200  # points of a curve, and observations of a training: more cannot be seen
INK, FAINT = "#0b6e99", "#d5dae0"


def thinned(log: Sequence[Line], most: int = MOST) -> list[Line]:
    """At most ``most`` lines, evenly spaced, the last one among them."""
    stride = -(-len(log) // most)
    return list(reversed(log[::-1][:: max(1, stride)]))


def table(log: Sequence[Line], rows: int = 12) -> pl.DataFrame:
    """The curves at evenly spaced steps; figures that the training does not have are left out."""
    names = [name for name in ("loss", *CURVES, "ranked") if any(name in line for line in log)]
    lines = [{"step": int(line["step"])} | {name: line.get(name) for name in names} for line in thinned(log, rows)]
    return pl.DataFrame(lines).with_columns(pl.col(names).cast(pl.Float64).round(4))


def picture(log: Sequence[Line], title: str) -> str:
    """The curves as a picture in Markdown, a panel each; "" where there are none."""
    log = thinned(log)
    drawn = [
        (name, points) for name in CURVES if len(points := [(li["step"], li[name]) for li in log if name in li]) > 1
    ]
    if not drawn:
        return ""
    panels = "".join(
        f'<g transform="translate({WIDTH * (i % 2)} {HEIGHT * (i // 2)})">{_panel(name.replace("_", " "), points)}</g>'
        for i, (name, points) in enumerate(drawn)
    )
    width, height = WIDTH * min(2, len(drawn)), HEIGHT * -(-len(drawn) // 2)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12"><rect width="{width}" height="{height}" fill="#ffffff"/>'
        f"{panels}</svg>"
    )
    said = ", ".join(f"{name.replace('_', ' ')} {points[-1][1]:.4g}" for name, points in drawn)
    return f"![{title}, at the last step: {said}]({data_address(svg)})"


def spent(log: Sequence[Line], batch: int) -> dict[str, float]:
    """What a training took: clips a second over all of it, share of the time without data, hours.

    Args:
        log: lines of its metrics, of all its runs.
        batch: clips of one step.
    """
    steps = [line["step"] - before for line, before in zip(log, (0.0, *(line["step"] for line in log)), strict=False)]
    seconds = [count * batch / line["clips_per_second"] for count, line in zip(steps, log, strict=True)]
    waited = sum(part * line.get("data_wait", 0.0) for part, line in zip(seconds, log, strict=True))
    return {
        "clips_per_second": round(sum(steps) * batch / sum(seconds), 2),
        "data_wait": round(waited / sum(seconds), 4),
        "hours": round(sum(seconds) / 3600, 4),
    }


def _panel(title: str, points: Sequence[tuple[float, float]]) -> str:
    """One curve, its lowest and highest value at the left and its steps below."""
    right, bottom = WIDTH - 16, HEIGHT - FOOT
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)

    def at(step: float, value: float) -> str:
        x = LEFT + (step - steps[0]) / (steps[-1] - steps[0]) * (right - LEFT)
        y = bottom - (value - low) / (high - low or 1.0) * (bottom - TOP)
        return f"{x:.1f},{y:.1f}"

    ends = ((bottom, low), (TOP, high)) if high > low else ((bottom, low),)
    return "".join(
        [
            f'<text x="{LEFT}" y="20" font-weight="600" fill="#1f2933">{title}</text>',
            *(f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}" stroke="{FAINT}"/>' for y, _ in ends),
            *(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.4g}</text>' for y, value in ends),
            f'<text x="{LEFT}" y="{HEIGHT - 8}">step {steps[0]:.0f}</text>',
            f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end">{steps[-1]:.0f}</text>',
            f'<polyline fill="none" stroke="{INK}" stroke-width="1.5" points="{" ".join(at(*p) for p in points)}"/>',
        ]
    )
