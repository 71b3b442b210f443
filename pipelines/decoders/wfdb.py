"""WFDB signals of PhysioNet: a ``.dat``, which has no signature, with its ``.hea`` beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.decoders import base
from pipelines.decoders.base import AudioError, Frames, Sound, bounds
from pipelines.decoders.raw import Raw

WFDB_TYPES: dict[str, np.dtype[Any]] = {"16": np.dtype("<i2"), "32": np.dtype("<i4")}
WFDB_FORMAT = re.compile(r"(?P<number>\d+)(?:\+(?P<skip>\d+))?")
WFDB_GAIN = re.compile(r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/\S*)?")


@contextmanager
def by_wfdb(raw: Raw, start_s: float, end_s: float | None) -> Iterator[Sound]:
    """A WFDB record of one segment, whose signals lie interleaved in one file of format 16 or 32.

    The header's gain is believed where it makes the full scale of the samples about 1; other units (and the
    default gain of WFDB, 200 steps a millivolt) say nothing about loudness, and full scale becomes 1.
    """
    header = _wfdb_header(raw.path)
    frames = (raw.size - header.skip) // header.width
    if frames < header.frames:
        raise AudioError(f"not audio or corrupt: {frames} of the {header.frames} frames that its header promises")
    start, end = bounds(start_s, end_s, header.rate, frames)
    yield Sound(header.rate, _wfdb_blocks(raw, header, start, end))


def _wfdb_blocks(raw: Raw, header: _WfdbHeader, start: int, end: int) -> Iterator[Frames]:
    zeros, units = np.array(header.scales).T
    most = max(1, base.BLOCK // len(header.scales))
    raw.file.seek(header.skip + start * header.width)
    for at in range(start, end, most):
        content = raw.file.read(min(most, end - at) * header.width)
        steps = np.frombuffer(content, header.sample).reshape(-1, len(header.scales))
        yield ((steps - zeros) * units).astype(np.float32)


@dataclass(frozen=True)
class _WfdbHeader:
    rate: int
    frames: int  # 0: not stated
    sample: np.dtype[Any]
    skip: int  # bytes before the first sample
    scales: list[tuple[float, float]]  # of each signal: the step that is zero, and the size of a step

    @property
    def width(self) -> int:
        """Bytes of a frame."""
        return self.sample.itemsize * len(self.scales)


def _wfdb_header(path: Path) -> _WfdbHeader:
    """The header beside a WFDB signal file (WFDB Applications Guide, header(5))."""
    text = path.with_suffix(".hea").read_text("utf-8-sig", errors="replace")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        record, signals = lines[0], lines[1 : 1 + int(lines[0][1])]
        name, kind = signals[0][:2]
        stored = WFDB_FORMAT.fullmatch(kind)
        sample = WFDB_TYPES.get(stored["number"]) if stored else None
        described = len(signals) == int(record[1]) and all(signal[:2] == [name, kind] for signal in signals)
        rate, frames = round(float(record[2].partition("/")[0])), int(record[3]) if len(record) > 3 else 0
        full_scale = 1.0 if sample is None else 2.0 ** (8 * sample.itemsize - 1)
        scales = [_wfdb_scale(signal, full_scale) for signal in signals]
    except (IndexError, ValueError, OverflowError) as error:  # the rate may be infinite
        raise AudioError("not audio or corrupt: broken WFDB header") from error
    if stored is None or sample is None or "/" in record[0]:
        raise AudioError(f"WFDB format {kind}: only records of one segment in format 16 or 32 are read")
    if not described or name != path.name:
        raise AudioError("WFDB header that describes other signal files")
    return _WfdbHeader(rate, frames, sample, int(stored["skip"] or 0), scales)


def _wfdb_scale(signal: list[str], full_scale: float) -> tuple[float, float]:
    stated = WFDB_GAIN.fullmatch(signal[2]) if len(signal) > 2 else None
    gain = float(stated["gain"]) if stated else 0.0
    if gain * 2.0 <= full_scale:
        return 0.0, 1.0 / full_scale
    zero = stated["baseline"] if stated and stated["baseline"] else signal[4] if len(signal) > 4 else "0"
    return float(zero), 1.0 / gain
