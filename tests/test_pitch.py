"""F0 is measured well enough to tell a swapped table, on tones, on rendered voices and on people."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines import pitch
from pipelines.corpora import librispeech
from pipelines.corpora._base import recipes
from pipelines.ingest import ingest
from pipelines.voices import Voices

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[2] / "shared")) / "audio" / "librispeech"
KEY = b"k" * 32


@pytest.mark.parametrize("hertz", [100, 140, 210, 320])
def test_f0_of_a_buzz(hertz: int) -> None:
    time = np.arange(2 * pitch.RATE) / pitch.RATE
    buzz = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 8))
    f0, voiced = pitch.median_f0((0.1 * buzz).astype(np.float32))
    assert f0 == pytest.approx(hertz, rel=0.05)
    assert voiced > 1.5


def test_silence_has_no_voice() -> None:
    assert pitch.median_f0(np.zeros(pitch.RATE, dtype=np.float32))[1] == 0
    assert pitch.median_f0(np.zeros(10, dtype=np.float32)) == (0.0, 0.0)


def test_sample_takes_a_few_of_each_word_and_passes_over_bad_files(tmp_path: Path) -> None:
    corpus = recipes()["speechocean762"]
    root = tmp_path / "raw"
    root.mkdir()
    corpus.miniature(root, Voices(scale=1.0))
    broken = sorted(root.glob("WAVE/*/*.WAV"))[0]
    broken.write_bytes(b"not audio")
    ingest(corpus, root, tmp_path / "tables", KEY)
    sample = pitch.sample(root, tmp_path / "tables" / corpus.name, speakers=3)
    speakers = pl.read_parquet(tmp_path / "tables" / corpus.name / "speaker.parquet")
    words = sample.join(speakers, on="speaker_id")["sex"].value_counts()
    assert dict(words.iter_rows()) == {"m": 3, "f": 3}
    assert sample["f0_hz"].is_between(70, 450).all() and (sample["voiced_s"] >= pitch.LEAST_VOICED).all()


@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings here")
def test_men_and_women_differ(tmp_path: Path) -> None:
    ingest(librispeech.CORPUS, REAL, tmp_path, KEY)
    sample = pitch.sample(REAL, tmp_path / "librispeech", speakers=10)
    speakers = pl.read_parquet(tmp_path / "librispeech" / "speaker.parquet")
    medians = dict(sample.join(speakers, on="speaker_id").group_by("sex").agg(pl.col("f0_hz").median()).iter_rows())
    assert medians["M"] < 145 < medians["F"]
