"""WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, SPHERE, CAF, RF64 and W64, by soundfile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import soundfile

from pipelines.decoders import base
from pipelines.decoders.base import PREROLL_S, AudioError, Frames, Sound, bounds
from pipelines.decoders.raw import Raw

READ_UP_TO_S = 120.0  # a cut of an MP3 that begins earlier is reached by reading: its decoder complains of seeks
UNCOUNTED = 2**48  # frames: libsndfile's word for a FLAC that was piped. An MP3 may have only an estimate, too
FULL_SCALES = {"PCM_S8": 127 / 128, "PCM_U8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """Without the seek that soundfile makes after every read and write.

    An MP3 read in blocks with these seeks is not the MP3 read at once: each may lose or repeat samples.
    """

    def seekable(self) -> bool:
        """Whether to seek."""
        return False


@contextmanager
def by_libsndfile(raw: Raw, start_s: float, end_s: float | None) -> Iterator[Sound]:
    """As int16 where it holds 16-bit samples, else as float32."""
    try:
        with SoundFile(raw.file) as file:
            rate = int(file.samplerate)
            start, end = bounds(start_s, end_s, rate, int(file.frames))
            lead = min(start, round((PREROLL_S if start > READ_UP_TO_S * rate else READ_UP_TO_S) * rate))
            if not file.subtype.startswith("MPEG"):
                lead = 0
            if start > lead:
                file.seek(start - lead)
            scale = FULL_SCALES.get(file.subtype, 32767 / 32768)
            step = 1 / 128 if file.subtype in ("PCM_S8", "PCM_U8") else 1 / 32768
            yield Sound(rate, _soundfile_blocks(file, lead, end - start), scale, step)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"not audio or corrupt: {_detail(error)}") from error


def _soundfile_blocks(file: SoundFile, lead: int, count: int) -> Iterator[Frames]:
    """``count`` frames after ``lead`` that are read and dropped."""
    most, left = max(1, base.BLOCK // int(file.channels)), lead + count
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


def _detail(error: soundfile.LibsndfileError) -> str:
    """libsndfile's words: 'Error : flac decoder lost sync.' becomes 'flac decoder lost sync'."""
    return str(error.error_string).removeprefix("Error : ").rstrip(". ")
