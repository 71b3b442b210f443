"""Recordings in, samples out: the one place that knows codecs.

A file's content decides how it is read, not its name, since corpora hold AIFF named ``.wav``:

- Kay CSL (``.nsp`` and ``.egg`` of the Saarbruecken database) by nspfile,
- MP4/M4A, bare AAC, and Matroska/WebM by PyAV, from the extra ``slap[m4a]``,
- WFDB signals of PhysioNet (a ``.dat``, which has no signature, with its ``.hea`` beside it) here,
- all else (WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, SPHERE) by soundfile.

What cannot be used raises `AudioError` with a short reason and without the path, so that a caller can count
reasons; the caller knows the path.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Frames = NDArray[np.float32]  # [frames, channels]

SILENCE = 2.0 / 32768  # a recording whose samples span less than this, two steps of 16 bits, is silent
READ_UP_TO_S = 120.0  # a cut of an MP3 that begins earlier is reached by reading: its decoder complains of seeks
PREROLL_S = 0.5  # MP3 and AAC need the frames before a cut to decode its beginning
WFDB_TYPES: dict[str, np.dtype[Any]] = {"16": np.dtype("<i2"), "32": np.dtype("<i4")}
WFDB_FORMAT = re.compile(r"(?P<number>\d+)(?:\+(?P<skip>\d+))?")
WFDB_GAIN = re.compile(r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/\S*)?")


class AudioError(ValueError):
    """A recording that cannot be used. The message is a short reason without the path."""


def load(
    path: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    channel: int | None = None,
    rate: int = 16_000,
) -> Wave:
    """Read a recording, or a cut of it, as float32 mono at ``rate``.

    Args and errors are those of `decode`.
    """
    wave, native_rate = decode(path, start_s=start_s, end_s=end_s, channel=channel)
    return resample(wave, native_rate, rate)


def decode(
    path: Path, *, start_s: float | None = None, end_s: float | None = None, channel: int | None = None
) -> tuple[Wave, int]:
    """Read a recording, or a cut of it, as mono at its own sample rate.

    Args:
        path: the file.
        start_s: beginning of the cut in seconds; None: the file's beginning.
        end_s: end of the cut in seconds; None, or past the file's end: the file's end.
        channel: 0-based; None: the mean of all channels.

    Returns:
        float32 samples in about [-1, 1] (a lossy codec may overshoot), and their rate in Hz.

    Raises:
        AudioError: the file is missing, empty, a git-lfs pointer, corrupt, silent, holds samples that are not
            finite, or has no such cut or channel.
    """
    start = start_s or 0.0
    if start < 0.0 or (end_s is not None and end_s <= start):
        raise AudioError(f"cut {_span(start, end_s)} is no stretch of time")
    head = _head(path)
    if head.startswith(b"FORMDS16"):
        frames, rate = _read_nsp(path, start, end_s)
    elif _wants_ffmpeg(head):
        frames, rate = _read_ffmpeg(path, start, end_s)
    elif path.suffix.lower() == ".dat" and path.with_suffix(".hea").is_file():
        frames, rate = _read_wfdb(path, start, end_s)
    else:
        frames, rate = _read_soundfile(path, start, end_s)
    if not len(frames):
        raise AudioError("no samples")
    wave = _mono(frames, channel)
    if not np.isfinite(wave).all():
        raise AudioError("samples that are not finite")
    if wave.max() - wave.min() < SILENCE:
        raise AudioError("silent")
    return wave, rate


def resample(wave: Wave, rate: int, new_rate: int = 16_000) -> Wave:
    """Resample mono samples from ``rate`` to ``new_rate`` Hz, float32 (soxr, high quality)."""
    if rate == new_rate:
        return wave
    resampled: Wave = soxr.resample(wave, rate, new_rate, quality="HQ")
    return resampled


def encode_flac(wave: Wave, rate: int) -> bytes:
    """Encode mono samples as 16-bit FLAC; the same samples give the same bytes.

    Samples beyond [-1, 1] are clipped, never wrapped.

    Raises:
        AudioError: there are no samples, or some are not finite.
    """
    if not wave.size:
        raise AudioError("no samples")
    if not np.isfinite(wave).all():
        raise AudioError("samples that are not finite")
    steps = np.clip(np.round(wave.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, steps, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


# --- readers: each returns [frames, channels] of the cut, and the rate ---


def _read_soundfile(path: Path, start_s: float, end_s: float | None) -> tuple[Frames, int]:
    try:
        with soundfile.SoundFile(path) as file:
            rate = int(file.samplerate)
            start, end = _bounds(start_s, end_s, rate, int(file.frames))
            lead = min(start, round((PREROLL_S if start > READ_UP_TO_S * rate else READ_UP_TO_S) * rate))
            if not file.subtype.startswith("MPEG"):
                lead = 0
            if start > lead:
                file.seek(start - lead)
            return file.read(lead + end - start, dtype="float32", always_2d=True)[lead:], rate
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not audio or corrupt: {_detail(error)}") from error


def _read_nsp(path: Path, start_s: float, end_s: float | None) -> tuple[Frames, int]:
    import nspfile

    try:
        rate, samples = nspfile.read(str(path))[:2]
    except (ValueError, RuntimeError) as error:  # a bad chunk, or samples that do not fit the header
        raise AudioError("not audio or corrupt: broken Kay CSL file") from error
    start, end = _bounds(start_s, end_s, rate, len(samples))
    return samples[start:end].astype(np.float32) / 32768.0, int(rate)


def _read_wfdb(path: Path, start_s: float, end_s: float | None) -> tuple[Frames, int]:
    """A WFDB record of one segment, whose signals lie interleaved in one file of format 16 or 32.

    The header's gain is believed where it makes the full scale of the samples about 1; other units (and the
    default gain of WFDB, 200 steps a millivolt) say nothing about loudness, and full scale becomes 1.
    """
    header = _wfdb_header(path)
    width = header.sample.itemsize * len(header.scales)
    frames = (path.stat().st_size - header.skip) // width
    if frames < header.frames:
        raise AudioError(f"not audio or corrupt: {frames} of the {header.frames} frames that its header promises")
    start, end = _bounds(start_s, end_s, header.rate, frames)
    count, offset = (end - start) * len(header.scales), header.skip + start * width
    steps = np.fromfile(path, header.sample, count, offset=offset).reshape(-1, len(header.scales))
    zeros, units = np.array(header.scales).T
    return ((steps - zeros) * units).astype(np.float32), header.rate


@dataclass(frozen=True)
class _WfdbHeader:
    rate: int
    frames: int  # 0: not stated
    sample: np.dtype[Any]
    skip: int  # bytes before the first sample
    scales: list[tuple[float, float]]  # of each signal: the step that is zero, and the size of a step


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
    except (IndexError, ValueError) as error:
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


def _read_ffmpeg(path: Path, start_s: float, end_s: float | None) -> tuple[Frames, int]:
    try:
        import av
    except ImportError as error:
        raise AudioError("AAC needs PyAV: pip install 'slap[m4a]'") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError("no sound in this file")
            return _cut_of_stream(av, container, start_s, end_s)
    except av.FFmpegError as error:
        raise AudioError(f"not audio or corrupt: {error.strerror}") from error


def _cut_of_stream(av: Any, container: Any, start_s: float, end_s: float | None) -> tuple[Frames, int]:
    """Decode from a little before the cut to its end."""
    stream = container.streams.audio[0]
    rate = int(stream.codec_context.sample_rate)
    first, last = round(start_s * rate), None if end_s is None else round(end_s * rate)
    if start_s > PREROLL_S:
        container.seek(int((start_s - PREROLL_S) / stream.time_base), stream=stream)
    planar = av.AudioResampler(format="fltp")
    pieces: list[Frames] = []
    reached = 0
    for frame in container.decode(stream):
        at = round(float(frame.time) * rate)
        for part in planar.resample(frame):
            samples = part.to_ndarray().T
            reached = at + len(samples)
            begin = max(0, first - at)
            pieces.append(samples[begin : None if last is None else max(begin, last - at)])
        if last is not None and reached >= last:
            break
    if start_s and first >= reached:
        raise AudioError(f"cut {_span(start_s, end_s)} lies after the end at {reached / rate:.1f} s")
    return np.concatenate(pieces) if pieces else np.zeros((0, 1), np.float32), rate


# --- small parts ---


def _head(path: Path) -> bytes:
    """The first bytes of a file that may be audio."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError as error:
        raise AudioError("file not found") from error
    except OSError as error:  # a folder, or no permission
        raise AudioError(f"cannot be opened: {error.strerror}") from error
    if not head:
        raise AudioError("empty file")
    if head.startswith(b"version https://git-lfs"):
        raise AudioError("git-lfs pointer instead of the recording: run git lfs pull in the corpus folder")
    return head


def _detail(error: soundfile.LibsndfileError) -> str:
    """libsndfile's words: 'Error : flac decoder lost sync.' becomes 'flac decoder lost sync'."""
    return str(error.error_string).removeprefix("Error : ").rstrip(". ")


def _wants_ffmpeg(head: bytes) -> bool:
    mp4 = head[4:8] == b"ftyp"
    matroska = head.startswith(b"\x1a\x45\xdf\xa3")
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0  # bare AAC; MP3 has other layer bits
    return mp4 or matroska or adts


def _bounds(start_s: float, end_s: float | None, rate: int, frames: int) -> tuple[int, int]:
    """First frame of the cut and the one after its last."""
    start = round(start_s * rate)
    end = frames if end_s is None else min(frames, round(end_s * rate))
    if start and start >= frames:
        raise AudioError(f"cut {_span(start_s, end_s)} lies after the end at {frames / rate:.1f} s")
    return start, end


def _span(start_s: float, end_s: float | None) -> str:
    return f"{start_s:.1f}-{'end' if end_s is None else f'{end_s:.1f} s'}"


def _mono(frames: Frames, channel: int | None) -> Wave:
    channels = frames.shape[1]
    if channel is None:
        return frames[:, 0].copy() if channels == 1 else frames.mean(axis=1, dtype=np.float32)
    if not 0 <= channel < channels:
        raise AudioError(f"channel {channel} asked of a recording with {channels} (0 is the first)")
    return frames[:, channel].copy()
