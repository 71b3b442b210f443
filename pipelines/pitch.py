"""Median F0 of a sample of voices, so that a table whose sex codes are swapped is noticed.

Owners' codes for sex differ and contradict each other (NeuroVoz 0 is female, others say 0 is male); the voices do not.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

TABLE = "voice_sample"  # file name in the folder of a corpus' tables
SAMPLE: Mapping[str, pl.DataType] = {
    "corpus": pl.String(),
    "speaker_id": pl.String(),
    "utt_id": pl.String(),
    "f0_hz": pl.Float64(),  # median over the voiced frames
    "voiced_s": pl.Float64(),  # seconds of voiced speech it rests on
}
