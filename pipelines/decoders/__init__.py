"""Files in, sounds out: which decoder reads what.

A file's content decides how it is read, not its name, since corpora hold AIFF named ``.wav``:

- Kay CSL (``.nsp`` and ``.egg`` of the Saarbruecken database) by code of our own, since the package nspfile allocates
  what a header claims,
- MP4/M4A, bare AAC, and Matroska/WebM by PyAV, from the extra ``slap[m4a]``,
- WFDB signals of PhysioNet (a ``.dat``, which has no signature, with its ``.hea`` beside it) by code of our own,
- a FLAC that is stored as it is by dr_flac (see `flac_copy`), which `sound_in` knows nothing of,
- all else (WAV, FLAC, MP3, Ogg Vorbis and Opus, AIFF, SPHERE, CAF, RF64, W64) by soundfile.

soundfile is the one route of all else that it reads, because it is faster there than PyAV (tests/perf/codecs.py, times
real time on one core of a busy machine): FLAC 4,500 and 3,200, WAV 18,900 and 870, MP3 3,500 and 1,500, Vorbis 1,400
and 790; only Opus is slower, 310 and 440, and is not worth 100 MB of FFmpeg to those who have no AAC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.decoders.base import AudioError, Sound
from pipelines.decoders.ffmpeg import by_ffmpeg, wants_ffmpeg
from pipelines.decoders.kay import by_kay
from pipelines.decoders.libsndfile import by_libsndfile
from pipelines.decoders.raw import Raw
from pipelines.decoders.wfdb import by_wfdb

RATES = (4_000, 200_000)  # Hz, least and greatest: no recording of speech lies beyond, only a broken header


@contextmanager
def sound_in(raw: Raw, start_s: float | None, end_s: float | None) -> Iterator[Sound]:
    """The cut of a file.

    Args:
        raw: the file.
        start_s: beginning of the cut.
        end_s: end of the cut.
    """
    if raw.head.startswith(b"FORMDS16"):
        reader = by_kay(raw, start_s or 0.0, end_s)
    elif wants_ffmpeg(raw.head):
        reader = by_ffmpeg(raw, start_s or 0.0, end_s)
    elif raw.path.suffix.lower() == ".dat" and raw.path.with_suffix(".hea").is_file():
        reader = by_wfdb(raw, start_s or 0.0, end_s)
    else:
        reader = by_libsndfile(raw, start_s or 0.0, end_s)
    raw.file.seek(0)
    with reader as sound:
        if not RATES[0] <= sound.rate <= RATES[1]:
            raise AudioError(f"rate of {sound.rate} Hz: only {RATES[0]} to {RATES[1]} Hz are read")
        yield sound
