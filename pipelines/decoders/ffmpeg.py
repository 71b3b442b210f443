"""AAC in MP4/M4A or bare, and Matroska/WebM, by PyAV, from the extra ``slap[m4a]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.decoders import base
from pipelines.decoders.base import PREROLL_S, AudioError, Frames, Sound, span
from pipelines.decoders.raw import Raw


def wants_ffmpeg(head: bytes) -> bool:
    """Whether a file begins like one of those."""
    mp4 = head[4:8] == b"ftyp"
    matroska = head.startswith(b"\x1a\x45\xdf\xa3")
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # bare AAC; MP3 has other layer bits
    return mp4 or matroska or adts


@contextmanager
def by_ffmpeg(raw: Raw, start_s: float, end_s: float | None) -> Iterator[Sound]:
    """Its first stream of audio, as float32."""
    try:
        import av
    except ImportError as error:
        raise AudioError("AAC needs PyAV: pip install 'slap[m4a]'", passing=True) from error
    try:
        with av.open(raw.file, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise AudioError("no sound in this file")
            codec = container.streams.audio[0].codec_context
            if codec is None:
                raise AudioError("not audio or corrupt: sound of an unknown codec")
            rate = int(codec.sample_rate)
            yield Sound(rate, _ffmpeg_blocks(av, container, rate, start_s, end_s))
    except av.FFmpegError as error:
        raise AudioError(f"not audio or corrupt: {error.strerror}") from error


def _ffmpeg_blocks(av: Any, container: Any, rate: int, start_s: float, end_s: float | None) -> Iterator[Frames]:
    """Decode from a little before the cut to its end."""
    stream = container.streams.audio[0]
    first, last = round(start_s * rate), None if end_s is None else round(end_s * rate)
    if start_s > PREROLL_S:
        container.seek(int((start_s - PREROLL_S) / stream.time_base), stream=stream)
    packed = av.AudioResampler(format="flt")  # not fltp: PyAV sees 9 planes in 8 channels, and reads behind them
    joined = av.AudioFifo()
    pieces: list[NDArray[np.float32]] = []
    reached = waiting = channels = 0
    single = False  # AAC of one channel: its frames are many and short, and are joined in C
    for frame in container.decode(stream):
        if not channels:
            channels = frame.layout.nb_channels
            single = channels == 1 and frame.format.name in ("flt", "fltp")
        if frame.layout.nb_channels != channels or frame.sample_rate != rate:
            raise AudioError("not audio or corrupt: channels or rate change in the middle")
        all_of_it = first == 0 and last is None and reached > 0
        at = reached if all_of_it or frame.time is None else round(float(frame.time) * rate)
        reached = at + frame.samples
        if single and (all_of_it or (at >= first and (last is None or reached <= last))):
            frame.pts = None  # or it must follow on
            joined.write(frame)
            waiting += frame.samples
        else:
            pieces += _joined(joined)
            for part in packed.resample(frame):
                samples = np.frombuffer(part.planes[0], np.float32, part.samples * channels).reshape(-1, channels)
                begin = max(0, first - at)
                pieces.append(samples[begin : None if last is None else max(begin, last - at)])
                at += len(samples)
                waiting += pieces[-1].size
        if waiting >= base.BLOCK:
            yield np.concatenate([*pieces, *_joined(joined)])
            pieces, waiting = [], 0
        if last is not None and reached >= last:
            break
    pieces += _joined(joined)
    if start_s and first >= reached:
        raise AudioError(f"cut {span(start_s, end_s)} lies after the end at {reached / rate:.1f} s")
    if pieces:
        yield np.concatenate(pieces)


def _joined(fifo: Any) -> Iterator[NDArray[np.float32]]:
    """What is in a FIFO of frames of one channel, as one array, if there is any."""
    frame = fifo.read()
    if frame is not None:
        yield np.frombuffer(frame.planes[0], np.float32, frame.samples).reshape(-1, 1)
