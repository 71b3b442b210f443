"""A manifest over any number of utterances that share a few clips, and what a `TrainingSet` over it takes of memory.

python -m tests.perf.rows MANIFEST SAMPLES       # in a process of its own; `peak` starts it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.perf import speech

ROOT = Path(__file__).parents[2]
CLIPS = 16  # of each tar
CAPTIONS = 8  # of each set of facts
ATTRIBUTES, VALUES = 10, 10  # of the facts
AT_ONCE = 10_000  # captions whose vectors are made at once


@dataclass(frozen=True)
class Peak:
    """What a process took, in bytes and seconds."""

    imported: int  # resident with torch, pyarrow and this package imported
    bytes: int  # peak while the set was made
    seconds: float  # of the processor, to make it
    forked: int  # that a forked child has of its own after reading samples, beyond what it had at its start


def tables(folder: Path, count: int, sets: int, tars: int = 4) -> Path:
    """Write ``count`` utterances of ``sets`` distinct sets of facts; the manifest's file.

    The tables are as large as those of so many recordings; the tars have `CLIPS` clips each, which the rows of the
    index name in turn.
    """
    rng = np.random.default_rng(0)
    clips = folder / "clips"
    made = json.loads(speech.corpus(clips, [3.0] * CLIPS, 8).read_text())
    lies = pq.read_table(clips / "made-00000.parquet").to_pydict()
    for name in ("captions", "manifests", "shards"):
        (folder / name).mkdir()
    ids = np.array([f"{number:016x}" for number in rng.permutation(count)])
    shards = []
    for number, part in enumerate(np.array_split(ids, tars)):
        tar = folder / "shards" / f"train-{number:05d}.tar"
        tar.hardlink_to(clips / "made-00000.tar")
        clip = np.arange(len(part)) % CLIPS
        columns = {name: np.array(lies[name])[clip] for name in ("offset", "size")}
        pq.write_table(pa.table({"utt_id": part, **columns}), tar.with_suffix(".parquet"))
        shards.append({"path": f"shards/{tar.name}", "corpus": f"c{number % 2}", "split": "train"})

    facts = [[f"a{a}={value}" for a, value in enumerate(row)] for row in rng.integers(VALUES, size=(sets, ATTRIBUTES))]
    keys = pa.array([f"{number:016x}" for number in range(sets)])
    of = pa.array(rng.integers(sets, size=count))
    told = {"utt_id": np.sort(ids), "fact_hash": keys.take(of), "facts": pa.array(facts).take(of)}
    pq.write_table(pa.table(told), folder / "captions" / "facts.parquet")
    said = {
        "fact_hash": keys.take(pa.array(np.repeat(np.arange(sets), CAPTIONS))),
        "text": [
            f"Caption {k} of set {n}, as long as a sentence about a speaker is."
            for n in range(sets)
            for k in range(CAPTIONS)
        ],
        "used": [row[: 1 + k % ATTRIBUTES] for row in facts for k in range(CAPTIONS)],
    }
    pq.write_table(pa.table(said), folder / "captions" / "captions.parquet")
    _vectors(said["text"], folder / "captions" / "vectors.parquet")
    values = {**made, "shards": shards, "shares": {"c0": 1.0, "c1": 0.05}}
    path = folder / "manifests" / "made.json"
    path.write_text(json.dumps(values))
    return path


def _vectors(texts: list[str], path: Path) -> None:
    schema = pa.schema({"text": pa.string(), "vector": pa.list_(pa.float32())})
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, len(texts), AT_ONCE):
            part = texts[first : first + AT_ONCE]
            flat = np.random.default_rng(first).standard_normal(len(part) * 384, dtype=np.float32)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), 384).cast(pa.list_(pa.float32()))
            writer.write_table(pa.table({"text": part, "vector": vectors}, schema))


def peak(manifest: Path, samples: int = 0) -> Peak:
    """What a process of its own takes for a `TrainingSet`, and a child of it that reads so many samples."""
    command = [sys.executable, "-m", "tests.perf.rows", str(manifest), str(samples)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr)
    return Peak(**json.loads(ran.stdout))


def main(path: Path, samples: int) -> None:
    """Print a `Peak` as JSON."""
    from slap_model import config
    from slap_model.data import TrainingSet
    from slap_model.manifest import Manifest

    imported = _memory()["VmRSS"] * 1024
    began = time.process_time()
    data = TrainingSet(Manifest.load(path), config.load("base"))
    seconds = time.process_time() - began
    found = _memory()["VmHWM"] * 1024
    print(json.dumps(asdict(Peak(imported, found, seconds, _of_a_child(data, samples) if samples else 0))))


def _of_a_child(data: object, samples: int) -> int:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        before = _own()
        for number in range(samples):
            data[number]  # type: ignore[index]
        os.write(write, str(_own() - before).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        return int(answer.read())


def _own() -> int:
    """Bytes of pages that this process alone has written to; those of a mapped file belong to the page cache."""
    found, shared = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            shared = words[1].endswith("s")
        elif words[0] == "Private_Dirty:" and not shared:
            found += int(words[1])
    return found * 1024


def _memory() -> Mapping[str, int]:
    words = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    return {line[0].rstrip(":"): int(line[1]) for line in words if len(line) == 3 and line[2] == "kB"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
