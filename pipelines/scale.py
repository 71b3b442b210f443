"""Run units of work here. A unit is a pure function of its arguments, so it may run anywhere, in any order."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from tqdm import tqdm

Unit = TypeVar("Unit")
Result = TypeVar("Result")


def run(work: Callable[[Unit], Result], units: Sequence[Unit], label: str) -> list[Result]:
    """Results in the order of ``units``, with a progress bar.

    Threads do, because the codecs release the interpreter's lock while they decode, resample and encode.
    The first exception is raised after the units in flight have ended.
    """
    if not units:
        return []
    with ThreadPoolExecutor(max_workers=min(len(units), os.cpu_count() or 1)) as pool:
        futures = {pool.submit(work, unit): number for number, unit in enumerate(units)}
        for _ in tqdm(as_completed(futures), total=len(units), desc=label, leave=False):
            pass
    results = {number: future.result() for future, number in futures.items()}
    return [results[number] for number in range(len(units))]
