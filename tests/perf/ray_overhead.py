"""What a unit costs beyond its work: here in a child process, and on a Ray cluster of this machine.

    python -m tests.perf.ray_overhead

starts a cluster of one node with two processors, runs units that do nothing, small ones and ones with the 500 rows of
a shard, and prints milliseconds a unit and the seconds until the first result.
"""

from __future__ import annotations

import os
import time

import polars as pl

from pipelines import scale
from pipelines.guard import Note

UNITS, CPUS, ROUNDS = 400, 2, 3
ROW = {
    "utt_id": "0" * 20,
    "path": "speaker-0000/session-00/utterance-000000.wav",
    "start_s": None,
    "end_s": None,
    "channel": None,
    "split": "train",
    "speaker": "f" * 20,
    "facts": [f"attribute-{number}=value" for number in range(8)],
    "captions": [f"A caption of the usual length, number {number}, of a person who speaks." for number in range(12)],
}
ROWS = pl.DataFrame([ROW] * 500)


def nothing(unit: object, note: Note) -> None:
    """Take a unit, and do nothing with it."""


def measured(unit: object) -> tuple[float, float]:
    """Seconds until the first result, and milliseconds a unit after it: the best of some runs."""
    first, each = [], []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        results = scale.run(nothing, [unit] * UNITS, total=UNITS, label="units")
        next(results)
        first.append(time.perf_counter() - began)
        for _ in results:
            pass
        each.append(1000 * (time.perf_counter() - began - first[-1]) / (UNITS - 1))
    return first[0], min(each)


def main() -> None:
    """Print a line for each engine and kind of unit."""
    os.environ |= {"SLAP_WORKERS": str(CPUS), "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    began = time.perf_counter()
    head = {"num_cpus": CPUS, "object_store_memory": 200 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    print(f"cluster of one node started in {time.perf_counter() - began:.1f} s")
    os.environ["RAY_ADDRESS"] = cluster.address
    for engine in scale.ENGINES:
        os.environ["SLAP_ENGINE"] = engine
        for name, unit in (("a number", 1), ("500 rows", ROWS)):
            first, each = measured(unit)
            print(f"{engine:6s} {name:9s} first result after {first:5.2f} s, {each:6.2f} ms a unit")
    import ray

    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    from tests.perf import ray_overhead  # so that `nothing` has a module that workers can import

    ray_overhead.main()
