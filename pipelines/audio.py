"""Recordings in, samples out: the one place that knows codecs.

A file's content decides how it is read, not its name, since corpora hold AIFF named ``.wav``:

- Kay CSL (``.nsp`` and ``.egg`` of the Saarbruecken database) here: the package nspfile allocates what a header claims,
- MP4/M4A, bare AAC, and Matroska/WebM by PyAV, from the extra ``slap[m4a]``,
- WFDB signals of PhysioNet (a ``.dat``, which has no signature, with its ``.hea`` beside it) here,
- all else (WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, SPHERE, CAF, RF64, W64) by soundfile.

soundfile is the one route of all that it reads, because it is faster there than PyAV (tests/perf/codecs.py, times real
time on one core of a busy machine): FLAC 4,500 and 3,200, WAV 18,900 and 870, MP3 3,500 and 1,500, Vorbis 1,400 and
790; only Opus is slower, 310 and 440, and is not worth 100 MB of FFmpeg to those who have no AAC. FLAC is written at
level 5: level 0 encodes 4 to 28 % faster and is 2 to 5 % larger, level 8 takes twice as long for 1 to 2 % less.

`convert` makes what is stored: 16 kHz mono 16-bit FLAC. It goes through a recording block by block, so that memory does
not depend on what a header claims.

What cannot be used raises `AudioError` with a short reason and without the path, so that a caller can count
reasons; the caller knows the path.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipelines.measure import RATE, Measured, Meter

Wave = NDArray[np.float32]
Steps = NDArray[np.int16]  # samples in steps of 1 / 32768
Frames = NDArray[np.float32] | NDArray[np.int16]  # [frames, channels]

LONGEST_S = 4 * 3600.0  # seconds of a recording, or of a cut
RATES = (4_000, 200_000)  # Hz, least and greatest: no recording of speech lies beyond, only a broken header
FLAC_LEVEL = 5  # of 0 to 8
WHOLE_UP_TO = 64 * 2**20  # bytes of a file that is read into memory, so that hash and samples are of the same bytes
BLOCK = 2**17  # samples of all channels that are decoded at once
QUALITY = "HQ"  # of soxr
PIECE = 2**14  # samples that are resampled at once
FLAC_BLOCKS = 1000  # of metadata; a FLAC with more of them is not copied
SYNC_WORDS = 64  # that may look like a frame's begin in the last few of a FLAC; more are no sound, and take long
SILENCE = 2.0 / 32768  # a recording whose samples span less than this, two steps of 16 bits, is silent
READ_UP_TO_S = 120.0  # a cut of an MP3 that begins earlier is reached by reading: its decoder complains of seeks
UNCOUNTED = 2**48  # frames: libsndfile's word for a FLAC that was piped. An MP3 may have only an estimate, too
PREROLL_S = 0.5  # MP3 and AAC need the frames before a cut to decode its beginning
FULL_SCALES = {"PCM_S8": 127 / 128, "PCM_U8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
MP3_HEAD = re.compile(rb"ID3|\xff[\xe2-\xff]")
NSP_CHANNELS = {b"SDA_": 1, b"SD_B": 1, b"SDAB": 2, **{b"SD_%d" % channel: 1 for channel in range(2, 9)}}
NSP_CHUNKS = 10_000  # more of them are no Kay CSL file
WFDB_TYPES: dict[str, np.dtype[Any]] = {"16": np.dtype("<i2"), "32": np.dtype("<i4")}
WFDB_FORMAT = re.compile(r"(?P<number>\d+)(?:\+(?P<skip>\d+))?")
WFDB_GAIN = re.compile(r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/\S*)?")


class AudioError(ValueError):
    """A recording that cannot be used. The message is a short reason without the path.

    Attributes:
        passing: the same file may work another time: it could not be read, or it changed meanwhile.
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True)
class Converted:
    """A recording as it is stored."""

    flac: bytes  # 16 kHz, mono, 16 bit
    measured: Measured
    clipped: int  # stored samples that lay beyond full scale, and are at full scale now


def convert(
    path: Path, *, start_s: float | None = None, end_s: float | None = None, channel: int | None = None
) -> Converted:
    """Convert a recording, or a cut of it, to 16 kHz mono 16-bit FLAC, and measure it in the same pass.

    The same samples give the same bytes. Nothing is normalised; what lies beyond full scale is clipped. The frames of a
    FLAC that is already 16 kHz mono 16 bit are taken as they are, once they have been decoded to the end and agree with
    their MD5, but none of its tags and pictures, which may name the speaker.

    Args and errors are those of `decode`; a recording or cut of more than `LONGEST_S` is refused as well.
    """
    with _opened(path, start_s, end_s) as raw:
        original = _flac_to_copy(raw) if start_s is None and end_s is None else None
        with _sound(raw, start_s, end_s) as sound:
            meter = Meter(sound.rate, sound.full_scale, sound.step)
            steps = _stored(sound, channel, meter)
            flac = original.copy(steps) if original else _encoded(steps, RATE)
            return Converted(flac, meter.measured(raw.sha256()), meter.beyond)


def load(
    path: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    channel: int | None = None,
    rate: int = RATE,
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
        AudioError: the file is missing, empty, a git-lfs pointer, corrupt, silent, too long, holds samples that are not
            finite, or has no such cut or channel; or, ``passing``, it could not be read or changed meanwhile.
    """
    with _opened(path, start_s, end_s) as raw, _sound(raw, start_s, end_s) as sound:
        waves = [block.mono * np.float32(1 / block.scale) for block in _blocks(sound, channel)]
        return np.concatenate(waves), sound.rate


def resample(wave: Wave, rate: int, new_rate: int = RATE) -> Wave:
    """Resample mono samples from ``rate`` to ``new_rate`` Hz, float32 (soxr, high quality)."""
    if rate == new_rate:
        return wave
    resampled: Wave = soxr.resample(wave, rate, new_rate, quality=QUALITY)
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
    return _encoded(iter([_steps(wave, 1.0)[0]]), rate)


# --- from a sound to what is stored ---


@dataclass(frozen=True)
class _Sound:
    """A recording that is being read."""

    rate: int
    blocks: Iterator[Frames]
    full_scale: float = 32767 / 32768  # the greatest sample
    step: float = 1 / 32768  # between two samples


class _Block(NamedTuple):
    frames: Frames  # of the channels that are used
    mono: Frames  # [n]
    low: float  # least sample of the frames
    high: float
    scale: float  # what is full scale: 16-bit samples stay integers as long as they can, since that is faster


def _blocks(sound: _Sound, channel: int | None) -> Iterator[_Block]:
    """The blocks of a sound as mono, checked."""
    heard = 0
    low = high = 0.0
    for frames in sound.blocks:
        used = frames if channel is None else _channel(frames, channel)
        if not used.size:
            continue
        mono = used[:, 0] if used.shape[1] == 1 else used.mean(axis=1, dtype=np.float32)
        scale = 32768.0 if used.dtype == np.int16 else 1.0
        block = _Block(used, np.ascontiguousarray(mono), float(used.min()), float(used.max()), scale)
        if not (np.isfinite(block.low) and np.isfinite(block.high)):  # both are NaN where a sample is
            raise AudioError("samples that are not finite")
        bottom, top = (block.low, block.high) if used.shape[1] == 1 else (float(mono.min()), float(mono.max()))
        low, high = (min(low, bottom), max(high, top)) if heard else (bottom, top)
        heard += len(used)
        if heard > LONGEST_S * sound.rate:
            raise AudioError(f"longer than {LONGEST_S / 3600:g} hours: give cuts with start_s and end_s")
        yield block
    if not heard:
        raise AudioError("no samples")
    if high - low < SILENCE * scale:
        raise AudioError("silent")


def _channel(frames: Frames, channel: int) -> Frames:
    channels = frames.shape[1]
    if not 0 <= channel < channels:
        raise AudioError(f"channel {channel} asked of a recording with {channels} (0 is the first)")
    return frames[:, channel : channel + 1]


def _stored(sound: _Sound, channel: int | None, meter: Meter) -> Iterator[Steps]:
    """What is stored of a sound, block by block, and measured on its way."""
    stream = None if sound.rate == RATE else soxr.ResampleStream(sound.rate, RATE, 1, dtype="float32", quality=QUALITY)
    for block, last in _ending(_blocks(sound, channel)):
        meter.native(*block)
        steps, beyond = _steps(_resampled(stream, block.mono, last) if stream else block.mono, block.scale)
        meter.stored(steps, beyond)
        yield steps
    if not meter.stored_samples:
        raise AudioError("no samples")


def _resampled(stream: soxr.ResampleStream, wave: Frames, last: bool) -> Frames:
    """The samples of a block that come out of the resampler: piece by piece, which keeps its buffers in the cache."""
    begins = range(0, len(wave), PIECE)
    floats = wave.astype(np.float32, copy=False)
    pieces = [stream.resample_chunk(floats[at : at + PIECE], last and at == begins[-1]) for at in begins]
    return np.concatenate(pieces)


def _ending(blocks: Iterator[_Block]) -> Iterator[tuple[_Block, bool]]:
    """Each block, and whether it is the last."""
    before = next(blocks)  # there is one: `_blocks` has said otherwise
    for block in blocks:
        yield before, False
        before = block
    yield before, True


def _steps(wave: Frames, scale: float) -> tuple[Steps, int]:
    """16-bit samples, to the nearest, of ``wave`` in [-scale, scale]; and how many lay beyond, and were clipped."""
    if wave.dtype == np.int16:
        return wave.astype(np.int16, copy=False), 0
    scaled = np.rint(wave * np.float32(32768.0 / scale) if scale != 32768.0 else wave)  # exact: powers of two
    beyond = 0
    if scaled.size and (scaled.max() > 32767.0 or scaled.min() < -32768.0):
        beyond = int(np.count_nonzero((scaled > 32767.0) | (scaled < -32768.0)))
        np.clip(scaled, -32768.0, 32767.0, out=scaled)
    return scaled.astype(np.int16), beyond


def _encoded(steps: Iterator[Steps], rate: int) -> bytes:
    buffer = io.BytesIO()
    level = FLAC_LEVEL / 8
    with _SoundFile(buffer, "w", rate, 1, "PCM_16", format="FLAC", compression_level=level) as file:
        for block in steps:
            file.write(block)
    return buffer.getvalue()


# --- a FLAC whose frames are taken as they are ---


@dataclass(frozen=True)
class _Flac:
    """Where the audio of a FLAC lies."""

    raw: _Raw
    streaminfo: bytes
    frames_at: int

    def copy(self, steps: Iterator[Steps]) -> bytes:
        """The FLAC without any metadata but its STREAMINFO, once all its samples have been decoded and agree."""
        digest, samples = hashlib.md5(usedforsecurity=False), 0
        for block in steps:
            digest.update(block.astype("<i2", copy=False).tobytes())
            samples += len(block)
        if digest.digest() != self.streaminfo[18:34] or samples != _bits(self.streaminfo, 108, 36):
            raise AudioError("not audio or corrupt: FLAC whose samples are not those that its header promises")
        copied = io.BytesIO()
        copied.write(b"fLaC\x80\x00\x00\x22" + self.streaminfo)  # the last metadata block, of 34 bytes
        self.raw.file.seek(self.frames_at)
        shutil.copyfileobj(self.raw.file, copied, 2**20)
        return copied.getvalue()


def _flac_to_copy(raw: _Raw) -> _Flac | None:
    """A FLAC that can be stored as it is: 16 kHz, mono, 16 bit, with an MD5, and nothing behind its last frame."""
    if not raw.head.startswith(b"fLaC"):
        return None
    file, at, last, streaminfo = raw.file, 4, False, b""
    for _ in range(FLAC_BLOCKS):  # RFC 9639, section 8
        if last:
            break
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return None
        last, kind, size = bool(header[0] & 0x80), header[0] & 0x7F, int.from_bytes(header[1:])
        if kind == 0:
            streaminfo = file.read(size)
        at += 4 + size
    if not last or len(streaminfo) != 34 or not any(streaminfo[18:]) or not _bits(streaminfo, 108, 36):
        return None
    form = (_bits(streaminfo, 80, 20), _bits(streaminfo, 100, 3) + 1, _bits(streaminfo, 103, 5) + 1)
    if form != (RATE, 1, 16) or not _ends_with_a_frame(raw, at, _bits(streaminfo, 16, 16)):
        return None
    return _Flac(raw, streaminfo, at)


def _ends_with_a_frame(raw: _Raw, frames_at: int, samples: int) -> bool:
    """Whether the last byte of a FLAC is that of a frame: behind it may stand an ID3 tag with a name."""
    longest = 4 * samples + 64  # bytes of a frame of 16-bit samples, generously
    begin = max(frames_at, raw.size - longest)
    raw.file.seek(begin)
    tail = raw.file.read(longest)
    tries = itertools.islice(re.finditer(rb"\xff[\xf8\xf9]", tail), SYNC_WORDS)
    return any(_crc16(tail[found.start() :]) == 0 for found in tries)


def _crc16(content: bytes) -> int:
    """CRC of a FLAC frame (x^16 + x^15 + x^2 + 1); 0 over frames that end with theirs. Halves are joined pairwise."""
    crcs = _append_zeros(0)[np.frombuffer(content, np.uint8).astype(np.uint16) << 8]
    level = 0
    while len(crcs) > 1:
        if len(crcs) % 2:
            crcs = np.concatenate([np.zeros(1, np.uint16), crcs])  # zeros in front change nothing
        crcs = _append_zeros(level)[crcs[::2]] ^ crcs[1::2]
        level += 1
    return int(crcs[0])


@cache
def _append_zeros(level: int) -> NDArray[np.uint16]:
    """[65536] the CRC after 2 ** level more bytes that are zero, of each CRC before them."""
    if level:
        half = _append_zeros(level - 1)
        return half[half]
    crcs = np.arange(65536)
    for _ in range(8):
        crcs = (crcs << 1) ^ np.where(crcs & 0x8000, 0x18005, 0)
    return crcs.astype(np.uint16)


def _bits(content: bytes, at: int, count: int) -> int:
    """A number of ``count`` bits, ``at`` bits from the beginning, big-endian."""
    return (int.from_bytes(content) >> (8 * len(content) - at - count)) & ((1 << count) - 1)


# --- files ---


class _Memory(io.BytesIO):
    """A file in memory, as the decoders' C code reads it: a broken file may point before its beginning."""

    error: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Disk:
    """A file as the decoders' C code reads it: nothing is raised into C, and an error of the disk is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file

    def read(self, count: int = -1) -> bytes:
        try:
            return self._file.read(count)
        except OSError as error:
            self.error = error
            return b""

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()


@dataclass(frozen=True)
class _Raw:
    """A file that is being read."""

    path: Path
    head: bytes
    file: _Memory | _Disk
    size: int
    changed: int  # nanoseconds
    content: bytes | None  # all of it, where it was read into memory

    def sha256(self) -> str:
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        return _file_sha256(self.path, self.size, self.changed)


@contextmanager
def _opened(path: Path, start_s: float | None, end_s: float | None) -> Iterator[_Raw]:
    """A file that may be audio, read into memory where all of it is wanted and it is not large."""
    start = start_s or 0.0
    if start < 0.0 or (end_s is not None and end_s <= start):
        raise AudioError(f"cut {_span(start, end_s)} is no stretch of time")
    try:
        before = path.stat()
        if not stat.S_ISREG(before.st_mode):
            raise AudioError("not a file")
        with path.open("rb") as file:
            whole = start_s is None and end_s is None and before.st_size <= WHOLE_UP_TO
            content = file.read(before.st_size + 1) if whole else None
            head = content[:1024] if content is not None else file.read(1024)
            source = _Memory(content) if content is not None else _Disk(file)
            _check_head(head)
            raw = _Raw(path, head, source, before.st_size, before.st_mtime_ns, content)
            try:
                yield raw
            except Exception:
                _check_unchanged(raw)
                raise
            _check_unchanged(raw)
    except FileNotFoundError as error:
        raise AudioError("file not found") from error
    except OSError as error:  # no permission, a server that is gone, a broken disk
        raise AudioError(f"cannot be read: {error.strerror}", passing=True) from error
    except (AudioError, MemoryError):
        raise
    except Exception as error:  # whatever a decoder makes of a broken file, it stops nobody
        raise AudioError(f"not audio or corrupt: {type(error).__name__}: {error}") from error


def _check_head(head: bytes) -> None:
    if not head:
        raise AudioError("empty file")
    if head.startswith(b"version https://git-lfs"):
        raise AudioError("git-lfs pointer instead of the recording: run git lfs pull in the corpus folder")
    if head.startswith(b"NIST_1A") and b"shorten" in head:
        raise AudioError("SPHERE compressed by shorten: unpack the corpus with sph2pipe or w_decode")


def _check_unchanged(raw: _Raw) -> None:
    """Raise what the decoder could not know: an error of the disk, or that somebody wrote into the file."""
    if raw.file.error:
        raise raw.file.error
    after = raw.path.stat()
    if (after.st_size, after.st_mtime_ns) != (raw.size, raw.changed) or len(raw.content or b"") not in (0, raw.size):
        raise AudioError(f"changed while it was read: {raw.size} bytes, then {after.st_size}", passing=True)


@lru_cache(maxsize=4096)
def _file_sha256(path: Path, size: int, changed: int) -> str:
    """Hash of a file's bytes, computed once for all cuts of a file that does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- readers: each reads the cut [start_s, end_s) ---


@contextmanager
def _sound(raw: _Raw, start_s: float | None, end_s: float | None) -> Iterator[_Sound]:
    """The cut of a file.

    Args:
        raw: the file.
        start_s: beginning of the cut.
        end_s: end of the cut.
    """
    if raw.head.startswith(b"FORMDS16"):
        reader = _nsp(raw, start_s or 0.0, end_s)
    elif _wants_ffmpeg(raw.head):
        reader = _ffmpeg(raw, start_s or 0.0, end_s)
    elif raw.path.suffix.lower() == ".dat" and raw.path.with_suffix(".hea").is_file():
        reader = _wfdb(raw, start_s or 0.0, end_s)
    else:
        reader = _soundfile(raw, start_s or 0.0, end_s)
    raw.file.seek(0)
    with reader as sound:
        if not RATES[0] <= sound.rate <= RATES[1]:
            raise AudioError(f"rate of {sound.rate} Hz: only {RATES[0]} to {RATES[1]} Hz are read")
        yield sound


class _SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Without the seek that soundfile makes after every read and write.

    An MP3 read in blocks with these seeks is not the MP3 read at once: each may lose or repeat samples.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _soundfile(raw: _Raw, start_s: float, end_s: float | None) -> Iterator[_Sound]:
    try:
        with _for_libsndfile(raw) as source, _SoundFile(source, closefd=False) as file:
            rate = int(file.samplerate)
            start, end = _bounds(start_s, end_s, rate, int(file.frames))
            lead = min(start, round((PREROLL_S if start > READ_UP_TO_S * rate else READ_UP_TO_S) * rate))
            if not file.subtype.startswith("MPEG"):
                lead = 0
            if start > lead:
                file.seek(start - lead)
            scale = FULL_SCALES.get(file.subtype, 32767 / 32768)
            step = 1 / 128 if file.subtype in ("PCM_S8", "PCM_U8") else 1 / 32768
            yield _Sound(rate, _soundfile_blocks(file, lead, end - start), scale, step)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not audio or corrupt: {_detail(error)}") from error


@contextmanager
def _for_libsndfile(raw: _Raw) -> Iterator[_Memory | _Disk | int]:
    """What libsndfile reads from: the file, or for an MP3 in memory a descriptor.

    The decoder of MP3 asks for a few hundred bytes at a time, and Python would answer each time: that takes a tenth
    of the decoding.
    """
    if raw.content is None or not MP3_HEAD.match(raw.head) or not hasattr(os, "memfd_create"):
        yield raw.file
        return
    with os.fdopen(os.memfd_create("mp3"), "w+b") as memory:
        memory.write(raw.content)
        memory.seek(0)
        yield memory.fileno()


def _soundfile_blocks(file: _SoundFile, lead: int, count: int) -> Iterator[Frames]:
    """``count`` frames after ``lead`` that are read and dropped."""
    most, left = max(1, BLOCK // int(file.channels)), lead + count
    while left > 0:
        dtype = "int16" if file.subtype == "PCM_16" else "float32"
        frames = file.read(min(most, left), dtype=dtype, always_2d=True)
        if not len(frames):
            break
        left -= len(frames)
        yield frames[lead:]
        lead = max(0, lead - len(frames))
    counted = not file.subtype.startswith("MPEG") and file.frames < UNCOUNTED
    if left > 0 and counted:
        raise AudioError("not audio or corrupt: it ends before its header says")


@contextmanager
def _nsp(raw: _Raw, start_s: float, end_s: float | None) -> Iterator[_Sound]:
    """A Kay CSL file: chunks of 16-bit samples, one for each channel, or A and B interleaved in one."""
    rate, frames, parts = _nsp_parts(raw)
    start, end = _bounds(start_s, end_s, rate, frames)
    yield _Sound(rate, _nsp_blocks(raw, parts, start, end))


def _nsp_parts(raw: _Raw) -> tuple[int, int, list[tuple[int, int]]]:
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


def _nsp_blocks(raw: _Raw, parts: list[tuple[int, int]], start: int, end: int) -> Iterator[Frames]:
    most = max(1, BLOCK // sum(width for _, width in parts))
    for at in range(start, end, most):
        columns = []
        for place, width in parts:
            raw.file.seek(place + 2 * width * at)
            columns.append(np.frombuffer(raw.file.read(2 * width * min(most, end - at)), "<i2").reshape(-1, width))
        yield np.concatenate(columns, axis=1).astype(np.float32) / np.float32(32768.0)


@contextmanager
def _wfdb(raw: _Raw, start_s: float, end_s: float | None) -> Iterator[_Sound]:
    """A WFDB record of one segment, whose signals lie interleaved in one file of format 16 or 32.

    The header's gain is believed where it makes the full scale of the samples about 1; other units (and the
    default gain of WFDB, 200 steps a millivolt) say nothing about loudness, and full scale becomes 1.
    """
    header = _wfdb_header(raw.path)
    frames = (raw.size - header.skip) // header.width
    if frames < header.frames:
        raise AudioError(f"not audio or corrupt: {frames} of the {header.frames} frames that its header promises")
    start, end = _bounds(start_s, end_s, header.rate, frames)
    yield _Sound(header.rate, _wfdb_blocks(raw, header, start, end))


def _wfdb_blocks(raw: _Raw, header: _WfdbHeader, start: int, end: int) -> Iterator[Frames]:
    zeros, units = np.array(header.scales).T
    most = max(1, BLOCK // len(header.scales))
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


@contextmanager
def _ffmpeg(raw: _Raw, start_s: float, end_s: float | None) -> Iterator[_Sound]:
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
            yield _Sound(rate, _ffmpeg_blocks(av, container, rate, start_s, end_s))
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
    pieces: list[Wave] = []
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
        if waiting >= BLOCK:
            yield np.concatenate([*pieces, *_joined(joined)])
            pieces, waiting = [], 0
        if last is not None and reached >= last:
            break
    pieces += _joined(joined)
    if start_s and first >= reached:
        raise AudioError(f"cut {_span(start_s, end_s)} lies after the end at {reached / rate:.1f} s")
    if pieces:
        yield np.concatenate(pieces)


def _joined(fifo: Any) -> Iterator[Wave]:
    """What is in a FIFO of frames of one channel, as one array, if there is any."""
    frame = fifo.read()
    if frame is not None:
        yield np.frombuffer(frame.planes[0], np.float32, frame.samples).reshape(-1, 1)


# --- small parts ---


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
