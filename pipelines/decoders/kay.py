"""Kay CSL, the ``.nsp`` and ``.egg`` of the Saarbruecken database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from pipelines.decoders import base
from pipelines.decoders.base import AudioError, Frames, Sound, bounds
from pipelines.decoders.raw import Raw

NSP_CHANNELS = {b"SDA_": 1, b"SD_B": 1, b"SDAB": 2, **{b"SD_%d" % channel: 1 for channel in range(2, 9)}}
NSP_CHUNKS = 10_000  # more of them are no Kay CSL file


@contextmanager
def by_kay(raw: Raw, start_s: float, end_s: float | None) -> Iterator[Sound]:
    """A Kay CSL file: chunks of 16-bit samples, one for each channel, or A and B interleaved in one."""
    rate, frames, parts = _nsp_parts(raw)
    start, end = bounds(start_s, end_s, rate, frames)
    yield Sound(rate, _nsp_blocks(raw, parts, start, end))


def _nsp_parts(raw: Raw) -> tuple[int, int, list[tuple[int, int]]]:
    """Rate, frames, and (position, channels) of each chunk of samples; all are as long as the header says."""
    rate = frames = 0
    found: dict[bytes, tuple[int, int]] = {}
    at, end = 12, 12 + int.from_bytes(raw.head[8:12], "little")
    for _ in range(NSP_CHUNKS):
        if at >= end:
            break
        raw.file.seek(at)
        head = raw.file.read(36)
        name, size = head[:4], int.from_bytes(head[4:8], "little")
        if len(head) < 8 or at + 8 + size > raw.size:
            break
        if name in (b"HEDR", b"HDR8"):
            rate, frames = int.from_bytes(head[28:32], "little"), int.from_bytes(head[32:36], "little")
        elif name in NSP_CHANNELS:
            found[name] = (at + 8, size)
        at += 8 + size + size % 2
    lengths = {size / 2 / NSP_CHANNELS[name] for name, (_, size) in found.items()}
    if at < end or not rate or lengths != {frames}:
        raise AudioError("not audio or corrupt: broken Kay CSL file")
    return rate, frames, [(found[name][0], width) for name, width in NSP_CHANNELS.items() if name in found]


def _nsp_blocks(raw: Raw, parts: list[tuple[int, int]], start: int, end: int) -> Iterator[Frames]:
    most = max(1, base.BLOCK // sum(width for _, width in parts))
    for at in range(start, end, most):
        columns = []
        for place, width in parts:
            raw.file.seek(place + 2 * width * at)
            columns.append(np.frombuffer(raw.file.read(2 * width * min(most, end - at)), "<i2").reshape(-1, width))
        yield np.concatenate(columns, axis=1).astype(np.float32) / np.float32(32768.0)
