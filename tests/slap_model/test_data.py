from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slap_model import config
from slap_model.data import Batches, TrainingSet, collate
from slap_model.manifest import Manifest


def with_data(settings: config.Config, **changes: object) -> config.Config:
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changes))


def short_rows(data: TrainingSet) -> list[int]:
    """Sample numbers of the first epochs that hear one of the two clips of 0.2 s (3,200 samples)."""
    return [i for i in range(48) if len(data._wave(int(data.order(i // 12)[i % 12]))) < 5_000]


@pytest.mark.parametrize("lengths", ["repeat", "pad"])
def test_a_short_clip_fills_the_window(settings: config.Config, manifest: Manifest, lengths: str) -> None:
    data = TrainingSet(manifest, with_data(settings, lengths=lengths))
    number = short_rows(data)[0]
    wave = data[number]["waves"]
    assert len(wave) == settings.samples == 400 + 31 * 160
    loud = (wave[3_200:].abs() > 0.01).float().mean()
    assert loud == 0 if lengths == "pad" else loud > 0.5


def test_clips_of_their_own_length_lose_less_than_a_bucket(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, with_data(settings, lengths="own", bucket=16))
    number = short_rows(data)[0]
    sample = data[number]
    assert settings.frames_of(len(sample["waves"])) == 16  # 0.2 s are 18 frames
    assert sample["noise"].shape == (2, 8)
    longer = next(i for i in range(12) if i not in short_rows(data))
    assert settings.frames_of(len(data[longer]["waves"])) == 32
    batch = collate([data[longer], data[number], data[longer]])
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
    men = np.flatnonzero(data._facts[data.fact_set][:, 1] == 1)[:4]
    woman = data.fact_set[np.flatnonzero(data._facts[data.fact_set][:, 0] == 1)[0]]
    data.fact_set = np.where(np.isin(np.arange(24), men), data.fact_set, woman)
    rows = np.arange(24)
    weights = data._weights_of(rows)
    assert weights is not None
    assert weights[men].sum() == pytest.approx(12)
    heard = np.bincount(np.concatenate([data._cycle(rows, weights, (0, cycle)) for cycle in range(50)]), minlength=24)
    assert heard[men].sum() / heard.sum() == pytest.approx(0.5, abs=0.02)
    assert heard.min() > 0


def test_corpora_can_count_the_same(settings: config.Config, manifest: Manifest, monkeypatch) -> None:
    read = TrainingSet._read_captions

    def two_corpora(self: TrainingSet, manifest: Manifest) -> None:
        read(self, manifest)
        self.corpus = np.where(np.arange(24) < 4, "few", "many")

    monkeypatch.setattr(TrainingSet, "_read_captions", two_corpora)
    shared = dataclasses.replace(manifest, shares={"few": 1.0, "many": 1.0})
    data = TrainingSet(shared, with_data(settings, balance="corpus"))
    first = data.corpus[data.order(0)]
    assert (first == "few").sum() == (first == "many").sum() == 12
    data = TrainingSet(shared, settings)
    assert (data.corpus[data.order(0)] == "few").sum() == 4


@pytest.mark.parametrize(("grain", "kept"), [("mixed", [0, 1, 2, 3]), ("full", [1, 3]), ("short", [0])])
def test_grain_of_captions(settings: config.Config, manifest: Manifest, grain: str, kept: list[int]) -> None:
    data = TrainingSet(manifest, with_data(settings, captions=grain))
    data._used = np.array([[1, 0, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1]], dtype=np.float32)
    assert data._of_grain(np.arange(4)).tolist() == kept
