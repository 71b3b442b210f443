"""The floor of sharding makes what our unit makes, and figures are carried on right."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipelines import audio, shards
from tests.perf import million, shard_speed
from tests.perf.speech import RATE, voice


@pytest.mark.parametrize(("rate", "off"), [(RATE, 0), (48_000, 1)])
def test_the_floor_makes_the_samples_that_our_unit_stores(tmp_path: Path, rate: int, off: int) -> None:
    files = [tmp_path / f"utt{number}.wav" for number in range(3)]
    for number, path in enumerate(files):
        soundfile.write(path, voice(2.0, number), rate, subtype="PCM_16")
    shard_speed.ours(files)(tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        for path in files:
            member = tar.extractfile(f"{path.stem}.flac")
            assert member is not None
            packed = member.read()
            assert shard_speed._measured(path) == len(packed) or off  # the same samples give the same FLAC
            stored, _ = soundfile.read(io.BytesIO(packed), dtype="int16")
            wave, native = soundfile.read(path, dtype="float32")
            floor, _ = soundfile.read(io.BytesIO(shard_speed._flac(audio.resample(wave, native))), dtype="int16")
            assert len(floor) == len(stored)
            assert np.abs(floor.astype(int) - stored).max() <= off  # soxr's samples are rounded here and there


def test_shards_are_cut_like_those_of_a_run(tmp_path: Path) -> None:
    units = shard_speed.cut([tmp_path / f"utt{number:04d}.wav" for number in range(1_001)], tmp_path)
    assert [unit.rows.height for unit in units] == [shard_speed.PER_TAR, shard_speed.PER_TAR, 1]
    assert shard_speed.PER_TAR == million.PER_TAR == shards.UTTERANCES_PER_SHARD
    assert set(shards.MADE_FROM) <= set(units[0].rows.columns)


def test_the_projection_adds_core_hours(capsys: pytest.CaptureFixture[str]) -> None:
    found = {kind: shard_speed.Ours(rate=1_000.0, raw=10_000.0, tars=20_000.0) for kind in shard_speed.MIX}
    shard_speed.project(found, two=2.0, embeds=10.0)
    said = capsys.readouterr().out
    assert "sharding" in said and f"{3.4:7.2f}" in said  # 3,400 h at 1,000 of an hour
    assert f"{3_400 * 3_600 / 9 / 10 / 3_600:7.2f}" in said
    assert "122 GB of raw files" in said and "245 GB of tars" in said
    found.pop("MP3")
    shard_speed.project(found, two=2.0, embeds=10.0)
    assert "No projection: MP3 not measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("small", "large", "at"),
    [(1.0, 10.0, 1_000.0), (5.0, 14.0, 1_004.0), (1.0, 100.0, 1e6), (7.0, 7.0, 7.0), (8.0, 7.0, 7.0)],
    ids=["a line", "a line above a base", "a square", "constant", "noise"],
)
def test_measures_are_carried_on(small: float, large: float, at: float) -> None:
    assert million.carried(small, large, (10, 100), 10_000) == pytest.approx(at)
