"""What breaks first on the way from 3,400 hours to a million: each part measured at two sizes, and carried on.

    python -m tests.perf.million                         # 100,000 and 1,000,000 utterances: minutes
    python -m tests.perf.million --utterances 200000

One corpus, generated: tables, meta.db, facts and captions. Its shards are their indexes alone, with random hashes,
beside empty tars, since nothing here reads audio. Each step is the project's own, in a process of its own, and what it
needs is carried on in a straight line through the two sizes, or by their power of growth where that is above 1.1. A
clip is taken to have 9 seconds: 1.36 million utterances are 3,400 hours, 400 million a million hours.

Dagster's rows are those of its SQLite after runs of a few assets, with and without lines in their logs. Requests to
an object store are counted by the tests' proxy before moto's server.
"""

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import dagster as dg

from tests.perf.shard_scale import in_a_process, peak, words

NAME = "scale00"
CLIP_S = 9.0
HOURS = (3_400, 1_000_000)
PER_TAR = 500
BYTES_A_SECOND = 17_500  # of FLAC and sidecars, by the tars of shard_speed
CORES = 128  # 8 nodes of 16
ASSETS = 100  # of a run, as many as there are checks


@dataclass(frozen=True)
class Item:
    """One thing that grows; all of them are written in one list so that the table can be read there."""

    key: str  # of what is measured
    says: str
    unit: str
    scale: float  # from what is measured to the unit
    most: float  # what is bearable, in the unit
    do: str  # beyond that


GB, MINUTES, HOUR = 1e-9, 1 / 60, 1 / 3600
APART, RANGES = "a database for each corpus, attached to one", "plan by range of utt_id"
ITEMS = (
    Item("tars", "tars of one corpus in one folder", "tars", 1, 1e6, "UTTERANCES_PER_SHARD of 5,000: 790 MB a tar"),
    Item("index bytes", "indexes of the tars together", "GB", GB, 1e3, "nothing: each is read by itself"),
    Item("summary bytes", "index.parquet", "GB", GB, 50, "one file for each split"),
    Item("complete", "asking which tars are complete", "min", MINUTES, 30, "ask index.parquet, then what it lacks"),
    Item("plan", "planning, without the look at each file", "min", MINUTES, 60, RANGES),
    Item("plan GiB", "memory of planning", "GiB", 1, 32, RANGES),
    Item("summary", "summary of the tars", "min", MINUTES, 60, "add up what is new"),
    Item("summary GiB", "memory of the summary", "GiB", 1, 32, "write index.parquet by row groups"),
    Item("db", "building meta.db, 10 observations a clip", "h", HOUR, 24, APART),
    Item("db bytes", "meta.db", "GB", GB, 1e3, APART),
    Item("words bytes", "facts and captions, one set for 20 clips", "GB", GB, 1e3, "nothing: Parquet"),
    Item("manifest bytes", "manifest", "MB", 1e-6, 500, "Parquet instead of JSON"),
    Item("manifest", "reading the manifest", "s", 1, 60, "Parquet instead of JSON"),
    Item("trainer", "start of a trainer, base", "min", MINUTES, 30, "one table of all clips beside the manifest"),
    Item("trainer GiB", "memory of a trainer's index", "GiB", 1, 64, "each node reads its part of the tars"),
)


# --- steps, each in a process of its own; they print what they measured as JSON ---


@contextmanager
def timed(into: dict[str, float], key: str) -> Iterator[None]:
    """Seconds of a block."""
    started = time.perf_counter()
    yield
    into[key] = time.perf_counter() - started


def database(home: str) -> None:
    """Build meta.db."""
    from tests import houses

    found: dict[str, float] = {}
    folder = Path(home)
    with timed(found, "db"):
        houses.build(folder, [NAME])
    found["db bytes"] = (folder / "meta.db").stat().st_size
    print(json.dumps(found))


def plan(home: str) -> None:
    """Plan, and write an index and an empty tar for each shard."""
    import polars as pl

    from pipelines import shards

    found: dict[str, float] = {}
    folder, out = Path(home), Path(home) / "shards" / NAME
    with timed(found, "plan"):
        rows = shards.rows_to_cut(NAME, folder / "meta.db", b"key")
        units = shards.plan(NAME, folder / "raw", rows, out)
    found["plan GiB"], found["tars"] = peak(), len(units)
    out.mkdir(parents=True)
    for unit in units:
        unit.tar.touch()
        ids = unit.rows["utt_id"]
        index = pl.DataFrame(
            {
                "utt_id": ids,
                "corpus": [NAME] * len(ids),
                "split": [unit.split] * len(ids),
                "shard": [unit.tar.name] * len(ids),
                "offset": [number * 120_000 for number in range(len(ids))],
                "size": [100_000 + 7 * number for number in range(len(ids))],
                "seconds": [CLIP_S] * len(ids),
                "native_rate": [16_000] * len(ids),
                "raw_sha256": [hashlib.sha256(f"raw {utt_id}".encode()).hexdigest() for utt_id in ids],
                "samples_sha256": [hashlib.sha256(utt_id.encode()).hexdigest() for utt_id in ids],
                "bandwidth": [7_000 + number % 1_000 for number in range(len(ids))],
                "clipping": [0.0] * len(ids),
                "level": [-20.0 - number / 100 for number in range(len(ids))],
                "speech": [0.5 + number / 1_000 for number in range(len(ids))],
            },
        ).select(pl.col(name).cast(kind) for name, kind in shards.INDEX.items())
        shards._write_index(unit.tar, index, unit.key, [], hashlib.sha256(unit.key.encode()).hexdigest(), 0)
    found["index bytes"] = sum(unit.index.stat().st_size for unit in units)
    with timed(found, "complete"):
        assert all(shards.complete(unit) for unit in units)
    print(json.dumps(found))


def summary(home: str) -> None:
    """Write the summary of all tars, and the manifest."""
    from pipelines import manifest, shards
    from slap_model.manifest import Manifest

    found: dict[str, float] = {}
    folder = Path(home)
    out = folder / "shards" / NAME
    tars = sorted(out.glob("*.tar"), key=shards.place)
    with timed(found, "summary"):
        shards.summarise(tars, 0, out)
    found["summary GiB"], found["summary bytes"] = peak(), (out / "index.parquet").stat().st_size
    vectors = folder / "captions" / "vectors.parquet"
    path, _ = manifest.write(folder, {NAME: 1.0}, vectors=vectors, tower="made up", split_hash="0")
    with timed(found, "manifest"):
        Manifest.load(path)
    found["manifest bytes"] = path.stat().st_size
    print(json.dumps(found))


def trainer(home: str) -> None:
    """Make the trainer's data set."""
    from slap_model import config
    from slap_model.data import TrainingSet
    from slap_model.manifest import Manifest

    found: dict[str, float] = {}
    (path,) = (Path(home) / "manifests").glob("*.json")
    settings, before = config.load("base"), peak()
    with timed(found, "trainer"):
        TrainingSet(Manifest.load(path), settings)
    found["trainer GiB"] = peak() - before
    print(json.dumps(found))


# --- all of it ---


def measure(home: Path, utterances: int) -> dict[str, float]:
    """What a corpus of so many utterances needs."""
    import duckdb

    from tests.perf.generate import generate

    generate(home / "tables", utterances, corpora=1)
    captions = home / "captions"
    words(captions, home / "tables" / NAME / "utterance.parquet")
    texts, vectors = captions / "captions.parquet", captions / "vectors.parquet"
    with duckdb.connect() as con:
        con.execute(f"""
            COPY (
                SELECT text, [(hash(text, i) / 2.0 ** 64)::FLOAT FOR i IN range(384)] AS vector
                FROM (SELECT DISTINCT text FROM '{texts}')
            ) TO '{vectors}'
        """)
    found: dict[str, float] = {"words bytes": sum(path.stat().st_size for path in captions.iterdir())}
    for step in ("database", "plan", "summary", "trainer"):
        found |= in_a_process("million", f"{step}({str(home)!r})")
        print(f"{utterances:>9,} utterances: {step} done", flush=True)
    return found


def carried(small: float, large: float, sizes: tuple[int, int], utterances: float) -> float:
    """A measure at another size: in a straight line through both sizes, or by a power above 1.1."""
    power = math.log(large / small) / math.log(sizes[1] / sizes[0]) if small > 0 and large > 0 else 1.0
    if power > 1.1:
        return float(large * (utterances / sizes[1]) ** power)
    return large + max(0.0, large - small) / (sizes[1] - sizes[0]) * (utterances - sizes[1])


def events(home: Path, assets: int, lines: int) -> tuple[int, int]:
    """Rows of Dagster's event log after a run, and bytes of its files."""
    import sqlite3

    def made(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"asset{number}", check_specs=[dg.AssetCheckSpec("good", asset=f"asset{number}")])
        def one(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
            for line in range(lines):
                context.log.info(f"corpus: shards: {line} of {lines}, about {lines - line} min left")
            yield dg.MaterializeResult(metadata={"utterances": 1, "hours": 0.1, "shards": 1, "rejects": 0})
            yield dg.AssetCheckResult(check_name="good", passed=True, metadata={"reason": "read"})

        return one

    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
        dg.materialize([made(number) for number in range(assets)], instance=instance, run_config=quiet)
    rows = 0
    files = [path for path in home.rglob("*.db*") if path.is_file()]
    for path in files:
        if path.parent.name == "runs" and path.suffix == ".db" and path.name != "index.db":
            with sqlite3.connect(path) as con:
                rows += con.execute("SELECT count(*) FROM event_logs").fetchone()[0]
    return rows, sum(path.stat().st_size for path in files)


def dagster(scratch: Path, rate: float) -> None:
    """Print how many rows and bytes an asset and a line of a log are."""
    few, many, told = (
        events(scratch / f"dagster{number}", *sizes) for number, sizes in enumerate(((5, 0), (25, 0), (5, 200)))
    )
    asset = [(b - a) / 20 for a, b in zip(few, many, strict=True)]
    line = [(b - a) / 1_000 for a, b in zip(few, told, strict=True)]
    print(
        f"\nDagster's event log: {asset[0]:.0f} rows and {asset[1] / 1e3:.1f} kB an asset, {line[0]:.0f} row and "
        f"{line[1]:.0f} B a line; no row for a tar. Sharding on {CORES} cores, "
        f"with a line every 30 s:"
    )
    for hours in HOURS:
        run = hours / rate / CORES
        rows, size = (ASSETS * a + 120 * run * b for a, b in zip(asset, line, strict=True))
        print(f"  {hours:>9,} h of audio, {ASSETS} assets, {run:.2g} h: {rows:,.0f} rows, {size / 1e6:.0f} MB")


def requests() -> None:
    """Print how many requests to an object store a tar and its index are."""
    from tests import s3

    size = round(PER_TAR * CLIP_S * BYTES_A_SECOND)
    with s3.served() as served:
        s3.make_bucket(served, "bucket")
        os.environ |= {"AWS_ENDPOINT_URL": served.endpoint, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        from slap_model import store

        tar = store.place("s3://bucket/shards/corpus/train-00000.tar")
        store.write(tar, bytes(size))
        store.write(tar.with_suffix(".parquet"), bytes(50_000))
        lines = [request.line for request in served.requests]
    writing = sum(line.startswith(("PUT", "POST")) for line in lines)
    print(
        f"\nS3: a tar of {size / 1e6:.0f} MB and its index are {writing} requests that write and "
        f"{len(lines) - writing} that read:"
    )
    for hours in HOURS:
        tars = hours * 3600 / CLIP_S / PER_TAR
        reading = (len(lines) - writing) * tars
        print(f"  {hours:>9,} h: {writing * tars:,.0f} and {reading:,.0f}, {tars * size / 1e9:,.0f} GB")


def table(found: tuple[Mapping[str, float], Mapping[str, float]], sizes: tuple[int, int]) -> None:
    """Print each item at both ends, and the hours at which it is too much; what breaks first stands first."""
    lines = []
    for item in ITEMS:
        small, large = (each[item.key] * item.scale for each in found)
        at = [carried(small, large, sizes, hours * 3600 / CLIP_S) for hours in HOURS]
        low, high = 1.0, 1e12  # hours at which `most` is reached, by halving
        while high / low > 1.01:
            middle = math.sqrt(low * high)
            reached = carried(small, large, sizes, middle * 3600 / CLIP_S) >= item.most
            low, high = (low, middle) if reached else (middle, high)
        lines.append((high, item, small, large, at))
    print(f"\n{'':42s} {sizes[0]:>10,} {sizes[1]:>11,} {HOURS[0]:>9,} h {HOURS[1]:>11,} h  too much, from about, then")
    for high, item, small, large, at in sorted(lines, key=lambda line: line[0]):
        values = zip((small, large, *at), (10, 11, 11, 13), strict=True)
        columns = " ".join(f"{value:>{width},.4g}" for value, width in values)
        print(f"{item.says:42s} {columns}  {item.most:,g} {item.unit}, {float(f'{high:.1g}'):,.0f} h: {item.do}")


@click.command()
@click.option("--utterances", default=1_000_000, show_default=True, help="of the larger size; the other is a tenth")
@click.option(
    "--rate", default=1_000.0, show_default=True, help="audio hours a core shards in an hour: see shard_speed"
)
def main(utterances: int, rate: float) -> None:
    """Measure and print."""
    sizes = (utterances // 10, utterances)
    with tempfile.TemporaryDirectory(prefix="slap-million-") as scratch:
        homes = [Path(scratch) / str(size) for size in sizes]
        small, large = (measure(home, size) for home, size in zip(homes, sizes, strict=True))
        table((small, large), sizes)
        dagster(Path(scratch), rate)
        requests()


if __name__ == "__main__":
    main()
