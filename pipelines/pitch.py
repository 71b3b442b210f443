"""Median F0 of a sample of voices, so that a table whose sex codes are swapped is noticed.

Owners' codes for sex differ and contradict each other (NeuroVoz 0 is female, others say 0 is male); the voices do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines import audio, scale
from pipelines.guard import Note

TABLE = "voice_sample"  # file name in the folder of a corpus' tables
SAMPLE: Mapping[str, pl.DataType] = {
    "corpus": pl.String(),
    "speaker_id": pl.String(),
    "utt_id": pl.String(),
    "f0_hz": pl.Float64(),  # median over the voiced frames
    "voiced_s": pl.Float64(),  # seconds of voiced speech it rests on
}
SPEAKERS = 10  # for each of the owners' words for sex
TRIES = 3  # utterances of a speaker, until one has enough voiced speech
LONGEST = 5.0  # seconds of an utterance that are listened to
RATE = 8_000  # Hz: enough for F0, and twice as fast
FRAME = 0.01  # seconds
LOWEST, HIGHEST = 85, 400  # Hz: below 85, halved pitches of women outnumber men with lower voices
LEAST_VOICED = 0.3  # seconds; with less, a median says nothing
# Which task is listened to first: running speech says more of a voice than single words or syllables.
SPOKEN_FIRST = ("read", "spontaneous", "vowel", "digits", "words", "syllables")


def sample(root: Path, tables: Path, speakers: int = SPEAKERS) -> pl.DataFrame:
    """F0 of some speakers of each sex word, as a table with the columns of `SAMPLE`.

    A recording that cannot be decoded, or not in time, is passed over here: sharding makes it a reject.

    Args:
        root: the corpus' raw folder.
        tables: folder with ``speaker.parquet`` and ``utterance.parquet`` of the corpus.
        speakers: how many of each of the owners' words for sex, chosen by a hash of their id.
    """
    chosen = list(_chosen(tables, speakers))
    rows = scale.here(_heard, (root, chosen)) if chosen else []
    return pl.DataFrame(rows, schema=dict(SAMPLE), orient="row")


def _heard(unit: tuple[Path, list[list[dict[str, Any]]]], note: Note) -> list[tuple[Any, ...]]:
    """The rows of the sample. It runs in a worker: a recording may crash its decoder, or hang."""
    root, chosen = unit
    rows = []
    for speaker, candidates in enumerate(chosen):
        for attempt, utterance in enumerate(candidates):
            item = speaker * TRIES + attempt
            if item in note.refused:
                continue
            note(item)
            try:
                f0, voiced = _listen(root, utterance)
            except (audio.AudioError, MemoryError):
                continue
            if voiced >= LEAST_VOICED:
                rows.append((*(utterance[name] for name in ("corpus", "speaker_id", "utt_id")), f0, voiced))
                break
    return rows


def _chosen(tables: Path, speakers: int) -> Iterator[list[dict[str, Any]]]:
    """The first utterances to try of each chosen speaker."""
    people = (
        pl.scan_parquet(tables / "speaker.parquet")
        .filter(pl.col("sex").is_not_null())
        .select("speaker_id", "sex", order=pl.col("speaker_id").hash())
        .sort("sex", "order", "speaker_id")
        .filter(pl.int_range(pl.len()).over("sex") < speakers)
        .select("speaker_id")
        .collect()
    )
    if people.is_empty():
        return
    task = pl.col("speech_task").replace_strict({name: rank for rank, name in enumerate(SPOKEN_FIRST)}, default=99)
    spoken = (
        pl.scan_parquet(tables / "utterance.parquet")
        .join(people.lazy(), on="speaker_id")
        .select("corpus", "speaker_id", "utt_id", "path", "start_s", "end_s", "channel", task=task)
        .sort("speaker_id", "task", "utt_id")
        .filter(pl.int_range(pl.len()).over("speaker_id") < TRIES)
        .collect()
    )
    for part in spoken.partition_by("speaker_id", maintain_order=True):
        yield list(part.iter_rows(named=True))


def _listen(root: Path, utterance: Mapping[str, Any]) -> tuple[float, float]:
    start, end = utterance["start_s"], utterance["end_s"]
    if start is not None or end is not None:  # a turn of a long recording: no more of it than needed
        start = start or 0.0
        end = start + LONGEST if end is None else min(start + LONGEST, end)
    wave, rate = audio.decode(root / utterance["path"], start_s=start, end_s=end, channel=utterance["channel"])
    return median_f0(audio.resample(wave[: round(LONGEST * rate)], rate, RATE))


def median_f0(wave: NDArray[np.float32]) -> tuple[float, float]:
    """Median F0 in Hz over the voiced frames of ``wave`` (mono, `RATE`), and their seconds (0.0, 0.0 where none).

    The pitch is torchaudio's (normalised cross-correlation with median smoothing). A frame is voiced where it is
    loud and its pitch goes on into the next frame.
    """
    import torch
    import torchaudio.functional

    if len(wave) < RATE // 5:
        return 0.0, 0.0
    with torch.inference_mode():
        pitch = torchaudio.functional.detect_pitch_frequency(
            torch.from_numpy(wave)[None], RATE, frame_time=FRAME, freq_low=LOWEST, freq_high=HIGHEST
        )[0].numpy()
    step = round(FRAME * RATE)
    frames = min(len(pitch), len(wave) // step)
    level = np.sqrt(np.square(wave[: frames * step], dtype=np.float64).reshape(frames, step).mean(axis=1))
    pitch = pitch[:frames]
    steady = np.abs(np.diff(pitch, append=pitch[-1])) < 0.1 * pitch
    voiced = (level > 0.3 * np.percentile(level, 90)) & steady & (pitch > LOWEST + 5) & (pitch < HIGHEST - 5)
    return (float(np.median(pitch[voiced])), float(voiced.sum() * FRAME)) if voiced.any() else (0.0, 0.0)
