"""How long and how large a build of meta.db is at scale, and how it compares with pandas and the floor.

    python -m tests.perf.warehouse_scale                 # 5 million utterances, 50 million observations: minutes
    python -m tests.perf.warehouse_scale --utterances 500000

Prints, from one run on one machine: seconds and peak memory of `pipelines.warehouse.build` at a tenth, at about three
tenths and at the whole size, with the exponent of the growth; the same normalisation in pandas as a ratio, at the
middle size (14 GiB; at the whole it needs more memory than most machines have: ``--pandas-whole`` tries); and the
floor, a bare read of the same Parquet columns. Each measurement is a process of its own.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

HOME = Path(__file__).parents[2]


def build(tables: Path) -> None:
    """Build meta.db beside the tables."""
    from pipelines import warehouse

    warehouse.build(
        tables,
        tables.parent / f"{tables.name}.db",
        corpora=_corpora(tables),
        vocabulary=HOME / "warehouse" / "vocabulary",
        sql=HOME / "warehouse" / "sql",
        scores=tables.parent / "scores",
        shards=tables.parent / "shards",
    )


def pandas(tables: Path) -> None:
    """Normalise the tables with pandas and write the wide facts as Parquet."""
    from tests.perf.pandas_peer import normalise

    facts = normalise(tables, _corpora(tables), HOME / "warehouse" / "vocabulary")
    facts.to_parquet(tables.parent / f"{tables.name}.pandas.parquet")


def floor(tables: Path) -> None:
    """Read every column of the observations and the utterances once."""
    import duckdb

    with duckdb.connect() as con:
        for table in ("observation", "utterance"):
            con.execute(f"SELECT max(COLUMNS(*)) FROM read_parquet('{tables}/*/{table}.parquet')").fetchall()


def _corpora(tables: Path) -> list[str]:
    return sorted(card.parent.name for card in tables.glob("*/corpus.json"))


STEPS = {"build": build, "pandas": pandas, "floor": floor}


def measure(step: str, tables: Path) -> tuple[float, float]:
    """Seconds and peak GiB of one step in a process of its own, without the imports."""
    code = f"from tests.perf.warehouse_scale import run; run({step!r}, {str(tables)!r})"
    out = subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True, capture_output=True, text=True).stdout
    seconds, gibibytes = json.loads(out.splitlines()[-1])
    return seconds, gibibytes


def run(step: str, tables: str) -> None:
    """Do one step and print seconds and peak GiB as JSON."""
    import duckdb  # noqa: F401
    import polars  # noqa: F401

    started = time.perf_counter()
    STEPS[step](Path(tables))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB
    print(json.dumps([time.perf_counter() - started, peak]))


@click.command()
@click.option("--utterances", default=5_000_000, show_default=True)
@click.option("--pandas-whole", is_flag=True, help="pandas at the whole size too")
@click.option("--folder", type=click.Path(path_type=Path), help="keep the generated tables here")
def main(utterances: int, pandas_whole: bool, folder: Path | None) -> None:
    """Measure and print."""
    from tests.perf.generate import generate

    with tempfile.TemporaryDirectory() as scratch:
        home = folder or Path(scratch)
        sizes = [utterances // 10, round(utterances / math.sqrt(10)), utterances]
        seconds = []
        for size in sizes:
            tables = home / str(size)
            if not tables.is_dir():
                generate(tables, size)
            took, peak = measure("build", tables)
            bare, _ = measure("floor", tables)
            seconds.append(took)
            print(
                f"build  {size:>9,} utterances, {10 * size:>10,} observations: {took:6.1f} s, {peak:.2f} GiB; "
                f"bare read {bare:.1f} s",
                flush=True,
            )
        growth = _slope([math.log(size) for size in sizes], [math.log(took) for took in seconds])
        print(f"growth: seconds ~ utterances^{growth:.2f}")
        for size, ours in ((sizes[1], seconds[1]), (sizes[2], seconds[2]))[: 2 if pandas_whole else 1]:
            took, peak = measure("pandas", home / str(size))
            print(f"pandas {size:>9,} utterances: {took:6.1f} s, {peak:.2f} GiB: {took / ours:.1f} times the build")


def _slope(x: list[float], y: list[float]) -> float:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return products / sum((a - mean_x) ** 2 for a in x)


if __name__ == "__main__":
    main()
