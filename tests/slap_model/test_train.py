from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from slap_model import config
from slap_model import train as training
from slap_model.data import TrainingSet
from slap_model.manifest import Manifest, ManifestError
from slap_model.model import Slap, newest_checkpoint


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


def test_resumed_training_ends_with_the_same_bits(settings: config.Config, manifest: Manifest, tmp_path: Path) -> None:
    whole = training.train(settings, manifest, tmp_path / "whole")
    # the same run, stopped after step 4 with its last checkpoint at step 3
    stopping = with_train(settings, checkpoint_every=3)
    out = tmp_path / "stopped"
    saved = training.save

    def stop_after_first(*arguments: object) -> None:
        saved(*arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save", stop_after_first)
        with pytest.raises(KeyboardInterrupt):
            training.train(stopping, manifest, out)
    assert newest_checkpoint(out).name == "step-00000003"
    resumed = training.train(stopping, manifest, out)
    for name, tensor in load_file(whole / "model.safetensors").items():
        assert torch.equal(tensor, load_file(resumed / "model.safetensors")[name]), name
    losses = [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 6


def test_killed_process_resumes_to_the_same_bits(settings: config.Config, manifest: Manifest, tmp_path: Path) -> None:
    """SIGKILL in the middle of a real training process."""
    path = manifest.root / "manifests" / f"{manifest.hash[:12]}.json"
    toml = tmp_path / "config.toml"
    values = with_train(settings, steps=60, checkpoint_every=5).as_dict()
    toml.write_text(
        "\n".join(
            f"[{section}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in fields.items())
            for section, fields in values.items()
        )
    )
    command = [sys.executable, "-m", "slap_model.train", "--config", str(toml), "--manifest", str(path), "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, text=True, env=environment)
    assert whole.returncode == 0, whole.stderr
    out = tmp_path / "killed"
    child = subprocess.Popen([*command, str(out)], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(out.glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert newest_checkpoint(out).name != "step-00000060", "the process had ended before it was killed"
    again = subprocess.run([*command, str(out)], capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    first, second = (load_file(newest_checkpoint(tmp_path / run) / "model.safetensors") for run in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


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
