from __future__ import annotations

import dataclasses
import io
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from slap_model import config, store
from slap_model import data as reading
from slap_model.data import Batches, TrainingSet, of_grain, repeated, room
from slap_model.flac import NEAR
from slap_model.manifest import Manifest, ManifestError
from slap_model.model import Slap
from tests.perf import rows


def with_data(settings: config.Config, **changes: object) -> config.Config:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changes))


def short_rows(data: TrainingSet) -> list[int]:
    """Sample numbers of the first epochs that hear one of the two clips of 0.2 s (3,200 samples)."""
    return [i for i in range(48) if data._clip(int(data.order(i // 12)[i % 12])).samples < 5_000]


@pytest.mark.parametrize("lengths", ["repeat", "pad"])
def test_a_short_clip_fills_the_window(settings: config.Config, manifest: Manifest, lengths: str) -> None:
    data = TrainingSet(manifest, with_data(settings, lengths=lengths))
    number = short_rows(data)[0]
    wave = data[number]["waves"]
    assert len(wave) == settings.samples == 400 + 31 * 160
    loud = (wave[3_200:].abs() > 0.01 * 32768).float().mean()
    assert loud == 0 if lengths == "pad" else loud > 0.5


def test_clips_of_their_own_length_lose_less_than_a_bucket(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, with_data(settings, lengths="own", bucket=16))
    number = short_rows(data)[0]
    sample = data[number]
    assert settings.frames_of(len(sample["waves"])) == 16  # 0.2 s are 18 frames
    assert sample["noise"].shape == (2, 8)
    longer = next(i for i in range(12) if i not in short_rows(data))
    assert settings.frames_of(len(data[longer]["waves"])) == 32
    batch = data.batch([longer, number, longer])
    assert [tuple(w.shape) for w in batch["waves"]] == [(1, settings.samples_of(16)), (2, settings.samples)]
    assert torch.equal(batch["text"][0], sample["text"]), "the other tensors follow the order of the waves"


def test_a_clip_shorter_than_the_bucket_is_repeated(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, with_data(settings, lengths="own", bucket=32))
    assert settings.frames_of(len(data[short_rows(data)[0]]["waves"])) == 32


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_each_step(world: int) -> None:
    parts = [list(Batches(range(3, 6), 8, rank, world)) for rank in range(world)]
    for number, step in enumerate(range(3, 6)):
        assert sorted(i for part in parts for i in part[number]) == list(range(step * 8, (step + 1) * 8))
    assert all(len(batch) == 8 // world for part in parts for batch in part)


def test_rare_labels_come_more_often(settings: config.Config, manifest: Manifest) -> None:
    """Twenty women and four men: by label, both are heard equally often, and every clip still has its turn."""
    data = TrainingSet(manifest, with_data(settings, balance="label"))
    woman = int(np.flatnonzero([hot[0] for hot in data._hot(data._facts)])[0])
    men = np.flatnonzero(data.fact_set != woman)[:4]
    data.fact_set = np.where(np.isin(np.arange(24), men), data.fact_set, woman)
    rows = np.arange(24)
    weights = data._weights_of(rows)
    assert weights is not None
    assert weights[men].sum() == pytest.approx(12)
    heard = np.bincount(np.concatenate([data._cycle(rows, weights, (0, cycle)) for cycle in range(50)]), minlength=24)
    assert heard[men].sum() / heard.sum() == pytest.approx(0.5, abs=0.02)
    assert heard.min() > 0


def test_the_last_row_is_found_whatever_its_weights_sum_to(settings: config.Config, manifest: Manifest) -> None:
    """Steps of a cycle come close to 1; the sum of many weights must not round to less."""
    data = TrainingSet(manifest, settings)
    rows = np.arange(200_000, dtype=np.int32)
    weights = np.random.default_rng(0).random(len(rows))
    assert all(data._cycle(rows, weights, (0, cycle)).max() < len(rows) for cycle in range(20))


def test_corpora_can_count_the_same(settings: config.Config, manifest: Manifest, monkeypatch) -> None:
    read = TrainingSet._read

    def two_corpora(self: TrainingSet, manifest: Manifest) -> None:
        read(self, manifest)
        self.corpora, self.corpus = ["few", "many"], (np.arange(24) >= 4).astype(np.int16)

    monkeypatch.setattr(TrainingSet, "_read", two_corpora)
    shared = dataclasses.replace(manifest, shares={"few": 1.0, "many": 1.0})
    data = TrainingSet(shared, with_data(settings, balance="corpus"))
    first = data.corpus[data.order(0)]
    assert (first == 0).sum() == (first == 1).sum() == 12
    data = TrainingSet(shared, settings)
    assert (data.corpus[data.order(0)] == 0).sum() == 4


@pytest.mark.parametrize(
    ("grain", "kept"),
    [
        ("mixed", [True] * 6),
        ("full", [False, True, False, True, True, True]),
        ("short", [True, False, False, False] + [True] * 2),
    ],
)
def test_grain_of_captions(grain: str, kept: list[bool]) -> None:
    """Four captions of one set of facts, two of another."""
    said, fact_set = np.array([1, 3, 2, 3, 2, 2], dtype=np.int32), np.array([0, 0, 0, 0, 1, 1])
    assert of_grain(grain, said, fact_set).tolist() == kept


@pytest.mark.parametrize("length", [1, 7, 99, 100])
def test_a_repeated_clip_is_turned_by_its_phase(length: int) -> None:
    wave = np.arange(1, length + 1, dtype=np.int16)
    for phase in range(100):
        repeated(wave, phase, out := np.empty(100, np.int16))
        np.testing.assert_array_equal(out, np.roll(np.resize(wave, 100), phase))


# --- what is decoded --------------------------------------------------------------------------------------------


def test_a_batch_holds_what_its_samples_are(settings: config.Config, manifest: Manifest) -> None:
    """The same as one by one, shortest clips first, and where there is one of a length."""
    data = TrainingSet(manifest, with_data(settings, lengths="own", bucket=16))
    numbers = [*range(7, 20), short_rows(data)[0]]
    batch, ones = data.batch(numbers), [data[number] for number in numbers]
    ones.sort(key=lambda one: len(one["waves"]))
    assert len(batch["waves"]) == 2
    for name in ("waves", "noise"):
        rows = [row for part in batch[name] for row in part]
        assert all(torch.equal(row, one[name]) for row, one in zip(rows, ones, strict=True)), name
    for name in ("text", "facts", "denied", "used"):
        assert torch.equal(batch[name], torch.stack([one[name] for one in ones])), name


def test_a_loader_fills_memory_that_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not room(2, 3, dtype=torch.int16).is_shared()
    monkeypatch.setattr(reading, "get_worker_info", object)
    shared = room(2, 3, dtype=torch.int16)
    assert shared.is_shared()
    assert shared.shape == (2, 3) and shared.is_contiguous()
    shared.numpy()[1] = 7
    assert shared.sum() == 21


def test_of_a_long_clip_the_window_alone_is_decoded(
    settings: config.Config, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def note(self: soundfile.SoundFile, frames: int, **options: object) -> np.ndarray:
        asked.append(frames)
        return read(self, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", note)
    held = io.BytesIO()
    soundfile.write(held, np.zeros(16_000 * 300, dtype=np.int16), 16_000, format="FLAC")
    monkeypatch.setattr(store, "read", lambda *_: held.getvalue())
    data = TrainingSet(manifest, settings)
    for number in range(10):
        assert len(data[number]["waves"]) == settings.samples
    assert max(asked) < settings.samples + NEAR


def test_of_a_batch_one_long_clip_at_a_time_is_held(
    settings: config.Config, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(-9_000, 9_000, 16_000 * 60, dtype=np.int16)
    soundfile.write(held, noise, 16_000, format="FLAC")
    monkeypatch.setattr(store, "read", lambda *_: bytes(held.getbuffer()))
    data = TrainingSet(manifest, settings)
    tracemalloc.start()
    try:
        data.batch(range(12))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(held.getbuffer())
    finally:
        tracemalloc.stop()


def test_a_clip_kept_in_memory_gives_the_same_samples(settings: config.Config, manifest: Manifest) -> None:
    fresh = TrainingSet(manifest, settings)
    kept = TrainingSet(manifest, dataclasses.replace(settings, train=dataclasses.replace(settings.train, cache_gb=1.0)))
    for number in range(48):  # some twice
        assert all(torch.equal(tensor, kept[number][name]) for name, tensor in fresh[number].items())
    assert len(kept._cached) == 24


def test_waves_as_files_have_them_give_the_same_log_mel(settings: config.Config, manifest: Manifest) -> None:
    model = Slap(settings)
    wave = TrainingSet(manifest, settings)[0]["waves"][None]
    assert wave.dtype == torch.int16
    assert torch.equal(model.frontend(wave), model.frontend(wave.float() / 32768))


# --- what is wrong ----------------------------------------------------------------------------------------------


def test_a_damaged_clip_is_named(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, settings)
    row = int(data.order(0)[3])
    tar = data._tars[0]
    content = bytearray(tar.read_bytes())
    begin, end = int(data._offset[row]), int(data._offset[row] + data._size[row])
    content[begin + 100 : end] = bytes(end - begin - 100)
    tar.write_bytes(content)
    with pytest.raises(ManifestError, match=rf"train-00000\.tar: the clip at byte {begin} cannot be read"):
        data[3]


def test_a_store_that_fails_is_not_a_damaged_clip(
    settings: config.Config, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise store.StoreError("s3://bucket: no answer in time")

    data = TrainingSet(manifest, settings)
    monkeypatch.setattr(store, "read", failing)
    with pytest.raises(store.StoreError, match=r"^s3://bucket: no answer in time$"):
        data[3]


@pytest.mark.parametrize("missing", [1, 2])
def test_a_caption_without_a_vector_is_an_error_with_advice(
    settings: config.Config, manifest: Manifest, missing: int
) -> None:
    table = pq.read_table(manifest.root / manifest.vectors)
    pq.write_table(table.slice(missing), manifest.root / manifest.vectors)
    said = rf"vectors-x\.parquet: no vector for {missing} of 2 captions; materialise"
    with pytest.raises(ManifestError, match=said):
        TrainingSet(manifest, settings)


def test_a_damaged_table_is_named(settings: config.Config, manifest: Manifest) -> None:
    (manifest.root / manifest.facts).write_bytes(b"PAR1 no more")
    with pytest.raises(ManifestError, match=r"facts\.parquet: not the table"):
        TrainingSet(manifest, settings)


def test_processes_map_one_copy_of_the_vectors(
    settings: config.Config, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    one, other = TrainingSet(manifest, settings), TrainingSet(manifest, settings)
    (copy,) = (tmp_path / "scratch").rglob("vectors-*")
    wanted = np.array(pq.read_table(manifest.root / manifest.vectors)["vector"].to_pylist(), np.float32)
    del one
    assert copy.exists()
    np.testing.assert_array_equal(other._vectors, wanted)
    pq.write_table(pq.read_table(manifest.root / manifest.vectors).slice(0), manifest.root / manifest.vectors)
    again = TrainingSet(manifest, settings)
    assert len(list((tmp_path / "scratch").rglob("vectors-*"))) == 2, "what was written again is another copy"
    del other, again
    assert not list((tmp_path / "scratch").rglob("vectors-*"))


# --- memory -----------------------------------------------------------------------------------------------------


def test_memory_for_a_row_is_bounded_and_shared_with_loaders(tmp_path: Path) -> None:
    """Peak of processes over 5,000 and over 105,000 rows; as Python objects a row took four kilobytes.

    And reading does not write to the pages that a forked loader has from its parent.
    """
    few = rows.peak(rows.tables(tmp_path / "few", 5_000, sets=200))
    many = rows.peak(rows.tables(tmp_path / "many", 105_000, sets=200), samples=300)
    per_row = (many.bytes - few.bytes) / 100_000
    assert per_row < 400, f"{per_row:.0f} bytes"
    assert many.forked < 12 * 2**20, f"{many.forked / 2**20:.1f} MiB of its own"
