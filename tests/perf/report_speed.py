"""How long the report takes to write and to open, and how large it is, at 12 embedders x 75 tasks.

    python -m tests.perf.report_speed                # in both modes where an embedder has them, and two confounds
    python -m tests.perf.report_speed --tasks 20

Makes made-up scores and predictions, then writes the report in a process of its own, beside the floor: reading all
predictions, each once. With playwright and a Chromium, also opens the page at an empty cache.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import polars as pl

from benchmark.score import read_scores
from tests.benchmark.made_up import TWELVE, many_tasks, space, transfers, write_results

HOME = Path(__file__).parents[2]
OPENED = """() => {
  const page = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [page.domContentLoadedEventEnd / 1000, paint.startTime / 1000];
}"""


def write(folder: Path, tasks: int) -> None:
    """Write the report of the results in a folder; print the seconds of wall clock and of the processor."""
    from benchmark.report import write_report

    scores = read_scores(folder / "scores")
    wall, cpu = time.perf_counter(), time.process_time()
    write_report(
        scores,
        folder / "predictions",
        many_tasks(tasks),
        folder / "reports",
        synthetic=False,
        absent={},
        transfers=transfers(),
        space=space(),
    )
    click.echo(f"{time.perf_counter() - wall} {time.process_time() - cpu}")


def floor(folder: Path) -> None:
    """Read all predictions once, in a process of its own; print the same seconds."""
    files = sorted((folder / "predictions").glob("*/*.parquet"))
    wall, cpu = time.perf_counter(), time.process_time()
    rows = sum(pl.read_parquet(file).height for file in files)
    assert rows > 0
    click.echo(f"{time.perf_counter() - wall} {time.process_time() - cpu}")


def open_page(page: Path) -> tuple[float, float] | None:
    """Seconds to DOMContentLoaded and to the first paint; None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.as_uri())
        opened.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        loaded, painted = opened.evaluate(OPENED)
        browser.close()
    return loaded, painted


def alone(what: str, *arguments: str) -> tuple[float, float]:
    """Wall and processor seconds of one step in a fresh process."""
    call = f"import sys; from pathlib import Path; from tests.perf import report_speed as r; {what}"
    done = subprocess.run(
        [sys.executable, "-c", call, *arguments], cwd=HOME, capture_output=True, text=True, check=True
    )
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


@click.command()
@click.option("--tasks", default=75, show_default=True)
def main(tasks: int) -> None:
    """Print the seconds, their ratio to the floor, and the size."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scores = write_results(folder, many_tasks(tasks), hears=TWELVE)
        click.echo(f"{len(TWELVE)} contenders, {tasks} tasks, {len(scores)} scores")
        least, least_cpu = alone("r.floor(Path(sys.argv[1]))", str(folder))
        wall, cpu = alone("r.write(Path(sys.argv[1]), int(sys.argv[2]))", str(folder), str(tasks))
        page = folder / "reports" / "leaderboard.html"
        click.echo(f"floor, reading all predictions  {least:6.2f} s  ({least_cpu:.2f} s of processor)")
        click.echo(f"report written                  {wall:6.2f} s  ({cpu:.2f} s of processor)")
        click.echo(f"ratio to the floor              {wall / least:6.1f}    ({cpu / least_cpu:.1f} of processor)")
        click.echo(f"leaderboard.html                {page.stat().st_size / 1e6:6.2f} MB")
        click.echo(f"leaderboard.md                  {page.with_suffix('.md').stat().st_size / 1e6:6.2f} MB")
        opened = open_page(page)
        if opened is None:
            click.echo("not opened: no playwright or no Chromium here")
        else:
            click.echo(f"DOMContentLoaded {opened[0]:.2f} s, first paint {opened[1]:.2f} s")


if __name__ == "__main__":
    main()
