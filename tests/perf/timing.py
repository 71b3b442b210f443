"""Times of works that take turns, and how they are printed."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

Times = dict[str, list[float]]
_clock = [time.perf_counter]


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, what it queued on a GPU included."""
    started = now(device)
    work()
    return now(device) - started


def now(device: torch.device) -> float:
    """The clock, once the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return _clock[0]()


def count_processor_time() -> None:
    """From here on: time of the processor, with one thread, since threads that wait for others would count as well."""
    torch.set_num_threads(1)
    _clock[0] = time.process_time


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int, warm: int, device: torch.device) -> Times:
    """Seconds of each call, ``rounds`` of each after ``warm`` that do not count; all run once, then all again."""
    times: Times = {name: [] for name in works}
    for _ in range(warm + rounds):
        for name, work in works.items():
            times[name].append(seconds(work, device))
    return {name: taken[warm:] for name, taken in times.items()}


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The quotient of each round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def conditions(device: torch.device) -> str:
    """What the figures depend on: device, threads, load."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    clock = "by the wall" if _clock[0] is time.perf_counter else "of the processor"
    return (
        f"seconds {clock}, torch {torch.__version__} on {name}, {torch.get_num_threads()} threads of "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
