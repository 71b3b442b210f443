"""Whether sharding stays linear in audio, and in how much memory it shards a corpus of a million utterances.

    python -m tests.perf.shard_scale                     # 0.1 to 10 hours, then a million rows: a quarter of an hour
    python -m tests.perf.shard_scale --utterances 100000

**Time.** Generated speech of real lengths, as 16 kHz WAV; per size `pipelines.shards.plan`, every unit through
`pipelines.scale` with one worker, `summarise`. Seconds are those of the processor, parent and worker together.

**Memory.** One corpus as `tests.perf.generate` makes them, its meta.db by `pipelines.warehouse`; facts and captions as
`pipelines.captions` lays them out, one set of facts a speaker, seven languages, three captions each; a million files,
which are hard links to a few half-second clips. Then what `shards.shard_corpus` does, on all rows: reading, planning
with the state of each file, asking whether each shard is complete, joining facts and captions, sending each unit to a
worker. The worker writes one unit in ``--every`` and receives the others without writing them; their indexes are copies
of one that was written, and `summarise` reads all. Peaks are those of the kernel (VmHWM) of parent and workers.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

HOME = Path(__file__).parents[2]
HOURS = (0.1, 0.3, 1.0, 3.0, 10.0)
TIME_GOAL, MEMORY_GOAL = 1.05, 1.0  # exponent; GiB
LANGUAGES, CAPTIONS = 7, 3


@dataclass(frozen=True)
class Some:
    """A shard, of which only some are written."""

    shard: Any
    write: bool


def peak() -> float:
    """GiB that this process has held at most."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found, "no VmHWM: Linux is needed"
    return int(found[1]) / 2**20


def write(unit: Some, note: Any) -> tuple[float, float]:
    """The unit of work; returns seconds of the processor and the worker's peak in GiB."""
    from pipelines import shards

    started = time.process_time()
    if unit.write:
        shards.write_shard(unit.shard, note)
    return time.process_time() - started, peak()


# --- time ---


def speech(folder: Path, hours: float) -> list[Path]:
    """Generated clips of real lengths: 64 that differ, and copies of them."""
    import shutil

    import soundfile

    from tests.perf.speech import RATE, seconds_like_real, voice

    folder.mkdir()
    lengths = seconds_like_real(64)
    originals = []
    for seed, length in enumerate(lengths):
        originals.append(folder / f"original{seed:02d}.wav")
        soundfile.write(originals[-1], voice(length, seed), RATE, subtype="PCM_16")
    files: list[Path] = []
    left = hours * 3600
    while left > 0:
        number = len(files)
        files.append(folder / f"utt{number:06d}.wav")
        shutil.copyfile(originals[number % 64], files[-1])
        left -= lengths[number % 64]
    return files


def linear(folder: str, workers: int) -> None:
    """Print hours, seconds of the processor and seconds by the wall of one folder of clips, as JSON."""
    from pipelines import scale, shards
    from tests.perf.shard_speed import rows

    root = Path(folder)
    files = sorted(root.glob("utt*.wav"))
    frame = rows(files)
    with tempfile.TemporaryDirectory() as scratch:
        warm = shards.plan("perf", root, frame[:8], Path(scratch))
        for _ in scale.run(write, (Some(unit, True) for unit in warm), total=len(warm), label="warm", workers=workers):
            pass
    with tempfile.TemporaryDirectory() as scratch:
        own, wall = time.process_time(), time.perf_counter()
        units = shards.plan("perf", root, frame, Path(scratch))
        some = (Some(unit, True) for unit in units)
        spent = [seconds for seconds, _ in scale.run(write, some, total=len(units), label="perf", workers=workers)]
        report = shards.summarise([unit.tar for unit in units], len(units), Path(scratch))
        own = time.process_time() - own + sum(spent)
        assert report.utterances == len(files)
        print(json.dumps([report.seconds / 3600, own, time.perf_counter() - wall]))


# --- memory ---


def corpus(home: Path, utterances: int) -> None:
    """Tables, facts and captions of one corpus, and its files."""
    import duckdb

    from tests.perf.generate import generate

    (name,) = generate(home / "tables", utterances, corpora=1)
    said = home / "tables" / name / "utterance.parquet"
    words(home / "captions", said)
    with duckdb.connect() as con:
        _link(home / "raw", [path for (path,) in con.execute(f"SELECT path FROM '{said}'").fetchall()])


def words(folder: Path, said: Path) -> None:
    """Facts and captions of a table of utterances, as `pipelines.captions` lays them out; one set for each speaker."""
    import duckdb

    folder.mkdir()
    facts = "['accent=us', 'age=' || (hash(fact_hash) % 60 + 20), 'alzheimer=absent', 'depression=mild', "
    facts += "'language=en', 'parkinson=absent', 'sex=female', 'smoking=never']"
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE said AS SELECT utt_id, corpus, md5(speaker_id)[:16] AS fact_hash FROM '{said}'")
        con.execute(f"""
            COPY (SELECT utt_id, corpus, 'train' AS split, fact_hash, {facts} AS facts FROM said ORDER BY utt_id)
            TO '{folder / "facts.parquet"}'
        """)
        con.execute(f"""
            COPY (
                SELECT fact_hash, k::INTEGER AS k, 'l' || language AS language,
                       'A woman of about ' || (hash(fact_hash) % 60 + 20) || ' who speaks English with an accent of '
                       || 'the United States, mildly depressed and without dementia, take ' || k AS text,
                       ['sex=female'] AS used, 'template' AS source
                FROM (SELECT DISTINCT fact_hash FROM said), range({CAPTIONS}) AS a(k), range({LANGUAGES}) AS b(language)
                ORDER BY fact_hash, language, k
            ) TO '{folder / "captions.parquet"}'
        """)


def _link(root: Path, paths: list[str]) -> None:
    """Hard links to half-second clips; a file of most file systems has at most 65,000 names."""
    import soundfile

    from tests.perf.speech import RATE, voice

    clips = []
    for seed in range(1 + len(paths) // 50_000):
        clips.append(root / f"clip{seed}.wav")
        root.mkdir(exist_ok=True)
        soundfile.write(clips[-1], voice(0.5, seed), RATE, subtype="PCM_16")
    made: set[str] = set()
    for number, path in enumerate(paths):
        folder = path.rpartition("/")[0]
        if folder not in made:
            (root / folder).mkdir(parents=True)
            made.add(folder)
        os.link(clips[number % len(clips)], root / path)


def database(home: str) -> None:
    """Build meta.db."""
    from tests import houses

    houses.build(Path(home), ["scale00"])


def large(home: str, every: int) -> None:
    """What `shards.shard_corpus` does, on all rows; prints what `Large` holds, as JSON."""
    import shutil

    from pipelines import scale, shards

    folder, out = Path(home), Path(home) / "out"
    out.mkdir()
    steps: dict[str, tuple[float, float]] = {}
    at = time.perf_counter()

    def passed(step: str) -> None:
        nonlocal at
        steps[step] = (time.perf_counter() - at, peak())
        at = time.perf_counter()

    passed("imports")
    rows = shards.rows_to_cut("scale00", folder / "meta.db", b"key")
    passed("rows")
    units = shards.plan("scale00", folder / "raw", rows, out)
    passed("plan")
    todo = [unit for unit in units if not shards.complete(unit)]
    passed("what is complete")
    words = shards._Words(folder / "captions", rows)
    passed("facts and captions")
    joining = 0.0

    def with_words() -> Iterator[Some]:
        nonlocal joining
        for number, unit in enumerate(todo):
            began = time.process_time()
            full = words.put_into(unit)
            joining += time.process_time() - began
            yield Some(full, number % every == 0)

    workers = [held for _, held in scale.run(write, with_words(), total=len(todo), label="units")]
    passed("units")
    steps["of them the joins"] = (joining, peak())
    written = [unit for number, unit in enumerate(units) if number % every == 0]
    for unit in units:
        if not unit.index.is_file():
            shutil.copyfile(written[0].index, unit.index)
    at = time.perf_counter()
    report = shards.summarise([unit.tar for unit in units], len(written), out)
    passed("summary")
    print(json.dumps([len(units), len(written), report.utterances, max(workers), steps]))


# --- both ---


def in_a_process(module: str, call: str) -> Any:
    """What a function of a module of `tests.perf` prints as JSON, in a process of its own."""
    code = f"from tests.perf import {module}; {module}.{call}"
    out = subprocess.run([sys.executable, "-c", code], cwd=HOME, check=True, stdout=subprocess.PIPE, text=True).stdout
    answers = [line for line in out.splitlines() if line.startswith(("[", "{"))]  # DuckDB draws progress there as well
    return json.loads(answers[-1]) if answers else None


@click.command()
@click.option("--utterances", default=1_000_000, show_default=True, help="of the large corpus; 0: without it")
@click.option("--every", default=50, show_default=True, help="of the large corpus' units, one in so many is written")
@click.option("--hours", default=",".join(map(str, HOURS)), show_default=True, help="sizes to time; '': none")
def main(utterances: int, every: int, hours: str) -> None:
    """Measure and print."""
    sizes = [float(size) for size in hours.split(",") if size]
    with tempfile.TemporaryDirectory(prefix="slap-scale-") as scratch:
        taken = []
        for size in sizes:
            folder = Path(scratch) / f"speech{size}"
            speech(folder, size)
            taken.append(in_a_process("shard_scale", f"linear({str(folder)!r}, 1)"))
            audio, busy, wall = taken[-1]
            print(f"{audio:7.2f} h of audio: {busy:7.2f} s of the processor, {wall:7.2f} s by the wall", flush=True)
        if len(sizes) > 1:
            lengths, seconds, _ = np.log(np.array(taken)).T
            exponent = float(np.polyfit(lengths, seconds, 1)[0])
            print(f"seconds ~ hours^{exponent:.3f}, goal {TIME_GOAL}: {'met' if exponent <= TIME_GOAL else 'missed'}")
        if utterances:
            home = Path(scratch) / "large"
            corpus(home, utterances)
            in_a_process("shard_scale", f"database({str(home)!r})")
            units, written, rows, worker, steps = in_a_process("shard_scale", f"large({str(home)!r}, {every})")
            parent = max(held for _, held in steps.values())
            print(f"\n{rows:,} rows in {units:,} units, {written} of them written")
            for step, (spent, held) in steps.items():
                print(f"  {step:20s} {spent:7.1f} s, peak so far {held:.2f} GiB")
            met = "met" if max(parent, worker) <= MEMORY_GOAL else "missed"
            print(f"peak of the parent {parent:.2f} GiB, of a worker {worker:.2f} GiB, goal {MEMORY_GOAL} GiB: {met}")


if __name__ == "__main__":
    main()
