"""What an ablation found, as text, picture and data: ``ablations.md``, ``.svg``, ``.parquet`` and ``.json``."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from benchmark.ablation import FEWEST, HELPS, HURTS, PEOPLE, RENDERED, Result, Run, Study
from benchmark.files import as_parquet
from benchmark.score import MODES
from benchmark.tables import NOTHING, WIDTH, Cell, Table, as_markdown, number, with_interval
from slap_model.store import write

NAME = "ablations"
SIGNS = {HELPS: "▲", HURTS: "▼"}
VOICES = {PEOPLE: "People", RENDERED: "Rendered voices"}
NAMES = {"zero-shot": "Zero-shot", "probe": "Linear probe"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What was trained: said above every table.

    Attributes:
        config: name of the configuration.
        overrides: changes of it that all arms share.
        manifest: the content of the manifest.
    """

    config: str
    overrides: tuple[str, ...]
    manifest: Mapping[str, Any]


def write_report(study: Study, setup: Setup, out: Path) -> Path:
    """Write all four files; returns the text's.

    Args:
        study: from `benchmark.ablation.study`.
        setup: of the runs.
        out: folder of the reports.
    """
    head = [*_head(study, setup)]
    target = out / f"{NAME}.md"
    write(target, "\n".join(_markdown(study, head)).encode())
    write(target.with_suffix(".svg"), _picture(study).encode())
    write(target.with_suffix(".parquet"), as_parquet(study.scores))
    write(target.with_suffix(".json"), json.dumps(_data(study, head), indent=1).encode())
    return target


def _head(study: Study, setup: Setup) -> Iterator[str]:
    """What was run, a sentence a line."""
    shards = setup.manifest["shards"]
    clips, hours = sum(shard["samples"] for shard in shards), sum(shard["seconds"] for shard in shards) / 3600
    results = list(study.results.values())
    changed = f" with {', '.join(setup.overrides)}" if setup.overrides else ""
    first = results[0]
    batch = _value(first, "train", "batch", 64)
    yield (
        f"Configuration `{setup.config}`{changed}: {first.steps} steps of {batch} clips, on {hours:.2f} h of speech "
        f"({clips} clips of {len(setup.manifest['shares'])} corpora)."
    )
    threads = sorted({result.threads for result in results})
    where = " and ".join(sorted({result.device for result in results}))
    yield (
        f"Seeds {', '.join(map(str, study.seeds))}; trained on {where} with {' or '.join(map(str, threads))} "
        f"thread{'' if threads == [1] else 's'}."
    )
    codes = sorted({result.code for result in results})
    if len(codes) > 1:
        yield f"Trained by {len(codes)} states of the code ({', '.join(codes)}): compare speeds with care."
    if study.left_out:
        yield f"Not complete, so not compared: {', '.join(study.left_out)}."
    if len(study.seeds) == 1:
        yield "One seed: nothing tells how much of a difference is the seed's, so there is no verdict."


def _value(result: Result, section: str, name: str, default: object) -> object:
    return result.config.get(section, {}).get(name, default)


READING = (
    "Scores are macro-F1, means over tasks and seeds; differences are to the first arm, with 95 % intervals over "
    "speakers and seeds in brackets.",
    "▲ helps, ▼ hurts: separable from no difference after Holm's correction over the arms of a column (p is after it, "
    "too). Without a sign: not separable.",
    f"Judged are the tasks with {FEWEST} judged speakers of each class or more.",
)


def _markdown(study: Study, head: Sequence[str]) -> Iterator[str]:
    yield "# What helps\n"
    for sentence in (*head, *READING):
        yield textwrap.fill(f"- {sentence}", WIDTH, subsequent_indent="  ")
    yield f"\n![Differences to {study.arms[0].name} with their intervals]({NAME}.svg)\n"
    yield "## Arms\n"
    rows = [(Cell(arm.name, wordy=True), Cell(arm.about, wordy=True), *_speed(study, arm.name)) for arm in study.arms]
    table = Table(
        "What each arm changes, and how fast it trains: the fastest of its seeds, as others may use the machine",
        ("Arm", "Changes", "Clips/s", "against the first"),
        tuple(rows),
    )
    yield as_markdown(table) + "\n"
    for voices, name in VOICES.items():
        found = study.differences.filter(voices=voices)
        if found.is_empty():
            continue
        yield f"## {name}\n"
        if voices == RENDERED:
            yield "*Synthetic voices: rendered by espeak-ng; these scores say nothing about people.*\n"
        yield as_markdown(_table(study, found)) + "\n"


def _table(study: Study, found: pl.DataFrame) -> Table:
    modes = [mode for mode in MODES if mode in found["mode"]]
    rows = []
    for arm in study.arms:
        cells = [Cell(arm.name, wordy=True)]
        for mode in modes:
            cells += _cells(found.row(by_predicate=(pl.col("arm") == arm.name) & (pl.col("mode") == mode), named=True))
        rows.append(tuple(cells))
    first = found.row(0, named=True)
    columns = ("Arm", *(title for mode in modes for title in (NAMES[mode], "difference", "p")))
    return Table(f"{first['tasks']} tasks, {first['speakers']} judged speakers", columns, tuple(rows))


def _cells(row: Row) -> list[Cell]:
    if row["difference"] is None:
        return [number(row["macro_f1"]), NOTHING, NOTHING]
    difference = with_interval(row["difference"], row["low"], row["high"], sign="+")
    sign = SIGNS.get(row["verdict"], "")
    return [number(row["macro_f1"]), replace(difference, remark=sign, wordy=True), number(row["p_adjusted"], 2)]


def _speed(study: Study, arm: str) -> tuple[Cell, Cell]:
    """Clips per second, and how many times that is of the reference's."""
    fastest, first = (
        max(result.clips_per_second for run, result in study.results.items() if run.arm == name)
        for name in (arm, study.arms[0].name)
    )
    return number(fastest, 0), number(fastest / first, 2)


def _data(study: Study, head: Sequence[str]) -> dict[str, Any]:
    return {
        "head": list(head),
        "arms": [{"name": arm.name, "about": arm.about, "overrides": arm.overrides} for arm in study.arms],
        "seeds": study.seeds,
        "left_out": study.left_out,
        "differences": study.differences.to_dicts(),
        "runs": [_run(run, result) for run, result in study.results.items()],
    }


def _run(run: Run, result: Result) -> Row:
    costs = {name: getattr(result, name) for name in ("clips_per_second", "threads", "device", "code")}
    return {"arm": run.arm, "seed": run.seed, "folder": run.folder.name, "steps": result.steps, **costs}


# --- the picture --------------------------------------------------------------------------------------------

PANEL, LABEL, LINE, TOP, FOOT = 300, 130, 24, 46, 30  # pixels
INK, FAINT, NEUTRAL = "#1f2933", "#d5dae0", "#6b7785"
COLOURS = {HELPS: "#0b6e99", HURTS: "#a8500a"}


def _picture(study: Study) -> str:
    """Forest plots of the differences as SVG: a panel for each kind of voices and mode."""
    arms = [arm.name for arm in study.arms[1:]]
    found = study.differences.drop_nulls("difference")
    panels = [(v, m) for v in VOICES for m in MODES if not found.filter(voices=v, mode=m).is_empty()]
    across = max(1, sum(panel[0] == panels[0][0] for panel in panels)) if panels else 1
    down = -(-len(panels) // across)
    width, height = LABEL + PANEL * across + 12, (TOP + LINE * len(arms) + FOOT) * down
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, (voices, mode) in enumerate(panels):
        x, y = LABEL + PANEL * (i % across), (TOP + LINE * len(arms) + FOOT) * (i // across)
        if i % across == 0:
            parts += [_text(LABEL - 10, y + TOP + LINE * (j + 0.5) + 4, arm, "end") for j, arm in enumerate(arms)]
        rows = {row["arm"]: row for row in found.filter(voices=voices, mode=mode).to_dicts()}
        parts += _panel(x, y, f"{VOICES[voices]}, {NAMES[mode].lower()}", [rows[arm] for arm in arms])
    return "".join([*parts, "</svg>"])


def _panel(left: float, top: float, title: str, rows: Sequence[Row]) -> list[str]:
    reach = max(0.02, *(abs(row[end]) for row in rows for end in ("low", "high")))
    middle, scale = left + PANEL / 2, (PANEL / 2 - 24) / reach
    bottom = top + TOP + LINE * len(rows)
    parts = [_text(middle, top + 22, title, "middle", bold=True)]
    for value in (-reach, 0.0, reach):
        x = round(middle + value * scale, 1)
        parts.append(
            f'<line x1="{x}" y1="{top + TOP - 8}" x2="{x}" y2="{bottom}" stroke="{INK if not value else FAINT}"/>'
        )
        parts.append(_text(x, bottom + 16, f"{value:+.2f}" if value else "0", "middle"))
    for i, row in enumerate(rows):
        y = round(top + TOP + LINE * (i + 0.5), 1)
        low, high, at = (round(middle + row[name] * scale, 1) for name in ("low", "high", "difference"))
        ink = COLOURS.get(row["verdict"], NEUTRAL)
        parts.append(f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{ink}" stroke-width="2"/>')
        parts.append(f'<circle cx="{at}" cy="{y}" r="4" fill="{ink}"/>')
    return parts


def _text(x: float, y: float, text: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{INK}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
