from __future__ import annotations

import dataclasses
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from slap_model import config, store
from slap_model import train as training
from slap_model.data import TrainingSet
from slap_model.distributed import Ranks
from slap_model.manifest import Manifest, ManifestError
from slap_model.model import Slap

CPU = torch.device("cpu")


def with_train(settings: config.Config, **changes: object) -> config.Config:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changes))


def test_samples_are_a_function_of_seed_and_number(settings: config.Config, manifest: Manifest) -> None:
    one, two = TrainingSet(manifest, settings), TrainingSet(manifest, settings)
    for number in (0, 7, 40):
        for name, tensor in one[number].items():
            assert torch.equal(tensor, two[number][name]), name
    other = TrainingSet(manifest, with_train(settings, seed=1))
    assert not all(torch.equal(one[i]["waves"], other[i]["waves"]) for i in range(8))


def test_shares_see_all_rows_in_turn(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, settings)
    assert data.epoch_length == 12  # half of 24 a epoch
    assert sorted([*data.order(0), *data.order(1)]) == list(range(24))
    assert set(data.order(2)) != set(data.order(0)) or list(data.order(2)) != list(data.order(0))


def test_denied_facts_are_the_other_values(settings: config.Config, manifest: Manifest) -> None:
    sample = TrainingSet(manifest, settings)[0]
    assert (sample["facts"] + sample["denied"]).tolist() == [1.0, 1.0]
    assert sample["used"].tolist() == sample["facts"].tolist()


def test_it_learns_to_tell_two_tones(settings: config.Config, manifest: Manifest, tmp_path: Path) -> None:
    settings = with_train(settings, steps=60, log_every=10)
    folder = training.train(settings, manifest, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert log[-1]["ranked"] > 0.9
    assert log[-1]["mae"] < log[0]["mae"]
    model = Slap.from_checkpoint(folder)
    time_axis = np.arange(12_000) / 16_000
    tones = [0.3 * np.sin(2 * np.pi * hz * time_axis).astype(np.float32) for hz in (220, 110)]
    assert model.project(model.embed_audio(tones)).shape == (2, 16)
    assert model.trained_on["corpora"] == ["tones"]


def test_untrained_keeps_statistics_and_changes_weights(
    settings: config.Config, manifest: Manifest, tmp_path: Path
) -> None:
    folder = training.train(with_train(settings, steps=1), manifest, tmp_path / "run")
    trained, untrained = Slap.from_checkpoint(folder), Slap.untrained(folder)
    assert torch.equal(trained.frontend.mean, untrained.frontend.mean)
    assert trained.fingerprint != untrained.fingerprint
    assert Slap.untrained(folder).fingerprint == untrained.fingerprint
    assert untrained.trained_on["corpora"] == []


def test_another_configuration_does_not_resume(settings: config.Config, manifest: Manifest, tmp_path: Path) -> None:
    training.train(with_train(settings, steps=1), manifest, tmp_path / "run")
    with pytest.raises(training.TrainingError, match="another manifest or configuration"):
        training.train(with_train(settings, steps=2), manifest, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_with_advice(
    settings: config.Config, manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(training.TrainingError, match=r"lower train\.rate"):
        training.train(with_train(settings, rate=1e30, clip=1e30, steps=20), manifest, tmp_path / "run")


def test_a_drive_that_hangs_is_said_so_and_nothing_waits_for_it(
    settings: config.Config, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(training.Stopped):  # the first batch of a run that goes on is read in another process
        training.train(settings, manifest, tmp_path / "run", asked_to_stop=lambda: 15)
    monkeypatch.setattr(training, "BATCH_S", 1.0)
    monkeypatch.setattr(store, "read", lambda *_: time.sleep(3600))
    with pytest.raises(store.StoreError, match=rf"^{manifest.root}: no batch was read within 1 s: the drive"):
        training.train(with_train(settings, workers=1), manifest, tmp_path / "run")
    assert not multiprocessing.active_children()


def test_a_clip_that_another_process_cannot_read_is_one_sentence(settings: config.Config, manifest: Manifest) -> None:
    data = TrainingSet(manifest, settings)
    tar = data._tars[0]
    tar.write_bytes(bytes(tar.stat().st_size))
    batches = training.loaded(training.loader(data, with_train(settings, workers=1), 0, Ranks(0, 1, CPU)), data.root)
    with pytest.raises(ManifestError, match=rf"^{tar}: the clip at byte \d+ cannot be read: .*[^\n]+$"):
        next(batches)
    assert not multiprocessing.active_children()


def test_rate_warms_up_and_decays() -> None:
    train = config.Train(steps=1000, warmup=100, rate=1.0, final=0.01)
    assert training.rate(0, train) == pytest.approx(0.01)
    assert training.rate(99, train) == pytest.approx(1.0)
    assert training.rate(1000, train) == pytest.approx(0.01)


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_broken_manifest_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(content)
    with pytest.raises(ManifestError, match=r"m\.json"):
        Manifest.load(path)
    assert training.main(["--manifest", str(path), "--out", str(tmp_path / "o")]) == 2


def test_a_manifest_cannot_leave_the_warehouse(manifest: Manifest) -> None:
    path = next((manifest.root / "manifests").glob("*.json"))
    values = json.loads(path.read_text())
    values["shards"][0]["path"] = "../../secret.tar"
    path.write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="leaves the warehouse"):
        Manifest.load(path)
