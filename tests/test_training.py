"""Training as Dagster starts it: on which GPUs, what it tells while it runs, how it fails, and how it is stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest
import torch
from click.testing import CliRunner

from pipelines import cli, curves, trainer
from pipelines.assets import model
from pipelines.resources import Slap
from pipelines.settings import PROJECT, Settings
from slap_model import config, watch
from slap_model.manifest import Manifest
from slap_model.model import Slap as Model

TINY = (
    "frontend.frames=32 encoder.patch=[16,16] encoder.dim=32 encoder.depth=1 encoder.heads=2 decoder.dim=16 text.dim=8 "
    "loss.dim=16 train.batch=8 train.warmup=1 train.log_every=1 train.checkpoint_every=1000"
)


def tones() -> Callable[[Path], Manifest]:
    """The builder of a small warehouse that the tests of `slap_model` use."""
    path = Path(__file__).parent / "slap_model" / "conftest.py"
    spec = importlib.util.spec_from_file_location("slap_model_conftest", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: Callable[[Path], Manifest] = module.tones
    return built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tones")
    manifest = tones()(home)
    (manifest.root / "manifests" / "current").write_text(f"{manifest.hash[:12]}.json")
    return manifest.root


@pytest.fixture
def warehouse(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("SLAP_") and name != "SLAP_EMBEDDERS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLAP_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.setenv("SLAP_CONFIG", "demo")
    monkeypatch.setenv("SLAP_SET", f"{TINY} train.steps=3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Path(shutil.copytree(built, tmp_path / "warehouse"))


def materialised(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize(list(assets), resources={"slap": Slap(mode="demo")}, instance=instance, raise_on_error=False)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = result.get_step_failure_events()
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    return error.message


def observations(instance: dg.DagsterInstance, name: str) -> list[dict[str, Any]]:
    records = instance.fetch_observations(dg.AssetKey(name), limit=10_000).records
    found = [record.asset_observation for record in records]
    return [{key: value.value for key, value in one.metadata.items()} for one in found if one is not None][::-1]


# --- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "start"),
    [
        (0, ["-m", "slap_model.train"]),
        (1, ["-m", "slap_model.train"]),
        (4, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", "-m", "slap_model.train"]),
    ],
)
def test_several_gpus_are_torchruns(gpus: int, start: list[str], tmp_path: Path) -> None:
    said = trainer.command(Settings(config="base"), ["train.seed=1"], tmp_path / "m.json", tmp_path / "o", gpus)
    assert said[0] == sys.executable
    assert said[1 : 1 + len(start)] == start
    told = ["--config", "base", "--manifest", str(tmp_path / "m.json"), "--out", str(tmp_path / "o")]
    assert said[1 + len(start) :] == [*told, "--set", "train.seed=1"]


@pytest.mark.parametrize(
    ("named", "count", "wanted", "gpus"),
    [
        ("", 2, "auto", ["0", "1"]),
        ("3,5", 2, "auto", ["3", "5"]),
        ("GPU-8f,GPU-91", 2, "auto", ["GPU-8f", "GPU-91"]),
        ("", 0, "auto", []),
        ("", 2, "cpu", []),
    ],
)
def test_gpus_that_a_training_may_use(
    named: str, count: int, wanted: str, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert trainer.visible_gpus(config.load("tiny", [f"train.device={wanted}"])) == gpus


def test_a_gpu_has_one_training(tmp_path: Path) -> None:
    claim = "import sys, time, pathlib; from pipelines import trainer\n"
    claim += "with trainer.claimed(['0', '1', '2'], 2, pathlib.Path(sys.argv[1])) as had:\n"
    claim += "    print(had, flush=True); time.sleep(60)"
    other = subprocess.Popen(
        [sys.executable, "-c", claim, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "['0', '1']\n"
    with trainer.claimed(["0", "1", "2"], 1, tmp_path) as had:
        assert had == ["2"]
    with (
        pytest.raises(trainer.NoGpuError, match="takes 3 of the 3 GPUs here and 1 are free"),
        trainer.claimed(["0", "1", "2"], 0, tmp_path),
    ):
        pass
    other.kill()
    other.wait()
    with trainer.claimed(["0", "1", "2"], 0, tmp_path) as had:
        assert had == ["0", "1", "2"]
    assert trainer.environment(had)["CUDA_VISIBLE_DEVICES"] == "0,1,2"


def test_more_gpus_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(trainer.NoGpuError, match="takes 4 of the 1 GPUs"), trainer.claimed(["0"], 4, tmp_path):
        pass
    with trainer.claimed(["MIG-GPU-8f/1/0"], 0, tmp_path) as had:
        assert had == ["MIG-GPU-8f/1/0"]
    with trainer.claimed([], 4, tmp_path) as had:  # a machine without: the processor
        assert had == []
        assert "CUDA_VISIBLE_DEVICES" not in trainer.environment(had)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("loading\nerror: no such manifest\n", "no such manifest"),
        ("error: 45 days here\n  do this\n  or that\nbye\n", "45 days here\n  do this\n  or that"),
        (" 10%|#  | 1/10\r 20%|## | 2/10\rerror: loss is nan\n", "loss is nan"),
        ("Traceback (most recent call last):\n  File 1\nKeyError: 'x'\n", "KeyError: 'x'"),
        (
            "torch.OutOfMemoryError: CUDA out of memory\nerror: process 1 of 2 had no answer\nW1128 agent: closing\n"
            "Traceback (most recent call last):\n"
            "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n=====\n",
            "torch.OutOfMemoryError: CUDA out of memory",
        ),
        ("/x.py:1: UserWarning: an Error: is near\nstopped at step 3\n\n", "stopped at step 3"),
        ("", ""),
    ],
)
def test_the_first_error_is_the_cause(said: str, reason: str) -> None:
    assert trainer.reason(said) == reason


def child(code: str) -> tuple[subprocess.Popen[bytes], trainer.LastWords]:
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    assert process.stderr is not None
    return process, trainer.LastWords(process.stderr)


def test_last_words_of_a_child(capfd: pytest.CaptureFixture[str]) -> None:
    process, words = child("import sys; sys.exit('x' * 200_000 + '\\nerror: no manifest')")
    assert words.why(process.wait()) == "no manifest"
    assert len(capfd.readouterr().err) > 200_000  # all of it is passed on
    process, words = child("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert words.why(process.wait()) == "the trainer was killed by SIGKILL: out of memory, most likely"
    process, words = child("raise SystemExit(3)")
    assert words.why(process.wait()) == "the trainer ended with status 3 and said nothing"


def test_who_does_not_stop_is_ended() -> None:
    deaf = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    deaf += "print('on', file=sys.stderr); time.sleep(60)"
    process, words = child(deaf)
    while not words._kept:
        time.sleep(0.01)
    trainer.stop(process, seconds=0.2)
    assert process.returncode == -signal.SIGKILL


# --- what the weights depend on -----------------------------------------------------------------------------------


def test_a_new_source_counts_unless_it_is_listed(tmp_path: Path) -> None:
    for name in ("train.py", "a_new_one.py", *model.NO_WEIGHTS):
        (tmp_path / name).touch()
    assert [path.name for path in model.weight_sources(tmp_path)] == ["a_new_one.py", "train.py"]


def test_a_run_keeps_its_folder_where_its_weights_stay(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder(more: str = "") -> Path:
        monkeypatch.setenv("SLAP_SET", f"{TINY} train.steps=3 {more}")
        return model.run_folder(Slap(mode="demo").settings(), "slap")

    assert folder("train.workers=2 train.log_every=5 train.checkpoint_every=2 train.device=cpu") == folder()
    assert folder("train.seed=1") != folder()
    before = folder()
    sources = model.weight_sources
    monkeypatch.setattr(model, "weight_sources", lambda package: sources(package)[1:])
    assert folder() != before


# --- curves -------------------------------------------------------------------------------------------------------


def made_log(steps: int, every: int = 20) -> list[dict[str, float]]:
    return [
        {"step": s, "clips_per_second": 50.0, "data_wait": 0.1, "loss": 9 / s, "contrastive": 4 / s, "mae": 5 / s}
        | {"temperature": 0.07, "gradient_norm": 1.0}
        for s in range(every, steps + 1, every)
    ]


def test_curves_are_a_picture_and_a_table() -> None:
    log = made_log(50_000)
    table = curves.table(log)
    assert table.columns == ["step", "loss", "contrastive", "mae", "temperature", "gradient_norm"]
    assert table.height <= 12
    assert table["step"][-1] == 50_000
    text = curves.picture(log, "slap")
    assert text.startswith(
        "![slap, at the last step: contrastive 8e-05, mae 0.0001, temperature 0.07, gradient norm 1]("
    )
    svg = b64decode(text.partition("base64,")[2].removesuffix(")"))
    lines = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("polyline")]
    assert len(lines) == 4
    assert all(2 <= len(line.attrib["points"].split()) <= curves.MOST for line in lines)
    assert len(text) < 50_000


def test_curves_of_what_there_is() -> None:
    log = made_log(60)
    for line in log:  # the control has no contrastive loss
        del line["contrastive"], line["temperature"]
    assert "contrastive" not in curves.table(log).columns
    assert "contrastive" not in curves.picture(log, "control")
    assert curves.picture(log[:1], "one line is no curve") == ""


def test_what_a_training_took() -> None:
    log = made_log(60)
    log[1] |= {"clips_per_second": 25.0, "data_wait": 0.5}  # 20 steps of 10 clips: 4, 8 and 4 seconds
    took = curves.spent(log, batch=10)
    assert took == {"clips_per_second": 37.5, "data_wait": 0.3, "hours": round(16 / 3600, 4)}


# --- the assets ---------------------------------------------------------------------------------------------------


def test_a_training_is_told_while_it_runs(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_SET", f"{TINY} train.steps=30")
    monkeypatch.setattr(curves, "MOST", 10)
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialised(instance, model.slap)
        assert result.success
        told = observations(instance, "slap")
    assert [line["step"] for line in told] == list(range(3, 31, 3))
    assert all(isinstance(value, int | float) for line in told for value in line.values())
    (event,) = result.get_asset_materialization_events()
    shown = {name: entry.value for name, entry in event.materialization.metadata.items()}
    assert shown["step"] == 30
    assert shown["hours"] > 0
    assert 0 <= shown["data_wait"] <= 1
    assert "data:image/svg+xml" in shown["curves"]
    assert "| 30 " in shown["loss_curve"]
    assert shown["learning_rate"] > 0
    out = Path(shown["checkpoint"])
    assert list(out.glob("tensorboard/events*"))
    (out / watch.METRICS).unlink()  # a checkpoint alone, from another machine
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialised(instance, model.slap).success
    assert not (out / watch.METRICS).exists()


def test_a_training_that_goes_on_tells_no_step_twice(warehouse: Path) -> None:
    settings = Slap(mode="demo").settings()
    out = model.run_folder(settings, "slap")
    out.mkdir(parents=True)
    (out / watch.METRICS).write_text("".join(f'{{"step": {step}, "loss": 99.0}}\n' for step in (1, 2)))  # no checkpoint
    with dg.DagsterInstance.ephemeral() as instance:
        assert materialised(instance, model.slap).success
        told = observations(instance, "slap")
    assert [line["step"] for line in told] == [1, 2, 3]
    assert all(line["loss"] < 99 for line in told)


def test_a_failed_training_says_why(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_SET", f"{TINY} train.steps=20 train.rate=1e30 train.clip=1e30")
    with dg.DagsterInstance.ephemeral() as instance:
        said = failure(materialised(instance, model.slap))
    assert "no longer finite" in said
    assert "lower train.rate" in said


def test_a_hopeless_training_is_refused_before_anything_is_read(
    warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(warehouse / "shards")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(watch, "days_here", lambda settings, device, enough=0.0: 45.0 if enough else 0.01)
    with pytest.raises(watch.TooSlowError, match="45 days here"):
        trainer.refuse_at_once(Slap(mode="demo").settings())
    with dg.DagsterInstance.ephemeral() as instance:
        said = failure(materialised(instance, model.slap))
    assert "45 days here" in said
    assert watch.processor() in said
    assert "slap run" in said
    assert "SLAP_SET=train.device=cpu" in said
    assert "--config tiny takes 14 min" in said
    assert not (warehouse / "checkpoints").exists()
    ready = warehouse / "checkpoints" / "slap-1" / "step-00000003"  # brought from a machine with a GPU
    ready.mkdir(parents=True)
    (ready / "checkpoint.json").write_text('{"step": 3, "steps": 3}')
    trainer.refuse_at_once(Slap(mode="demo").settings())


def test_slap_run_refuses_before_it_reads_a_corpus(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own" / "voces").mkdir(parents=True)
    monkeypatch.setenv("SLAP_RAW", "")  # what the command sets goes with the test
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(watch, "days_here", lambda settings, device, enough=0.0: 45.0 if enough else 0.01)
    result = CliRunner().invoke(cli.main, ["run", str(tmp_path / "own"), "--config", "base"])
    assert result.exit_code == 1
    assert "take about 45 days here" in result.output
    assert f"slap run {tmp_path / 'own'} --config base" in result.output
    assert not (warehouse / "tables").exists()


# --- ended from outside -------------------------------------------------------------------------------------------


def trainers(warehouse: Path) -> list[str]:
    """Processes that train into this warehouse."""
    found = subprocess.run(["pgrep", "-f", f"^[^ ]+ .*slap_model.train .*{warehouse}"], capture_output=True, text=True)
    return found.stdout.split()


def until(done: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="no pgrep here")
def test_one_training_a_gpu_and_a_cancelled_one_leaves_a_checkpoint(warehouse: Path, tmp_path: Path) -> None:
    """Runs of an instance with the project's own dagster.yaml, and SIGINT, as Dagster terminates a run."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text().replace(".dagster", str(home / "store")))

    def start(name: str, steps: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", name]
        variables = {**os.environ, "DAGSTER_HOME": str(home), "SLAP_SET": f"{TINY} train.steps={steps}"}
        with (tmp_path / name).open("w") as log:
            return subprocess.Popen([*command, "-m", "pipelines.definitions"], cwd=PROJECT, env=variables, stderr=log)

    def steps_of(name: str) -> list[float]:
        return [
            line["step"]
            for path in warehouse.glob(f"checkpoints/{name}-*/{watch.METRICS}")
            for line in watch.read(path)
        ]

    def cancel(process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGINT)
        process.wait()
        assert "DagsterExecutionInterruptedError" in (tmp_path / "slap").read_text()
        (out,) = warehouse.glob("checkpoints/slap-*")
        step = int(Model.from_checkpoint(out).card["step"])
        assert steps_of("slap") == list(range(1, step + 1))
        return step

    first = start("slap", steps=100_000)
    until(lambda: steps_of("slap"))
    second = start("control", steps=3)
    until(lambda: "blocked by limit for pool gpu" in (tmp_path / "control").read_text())
    assert len(trainers(warehouse)) == 1
    stopped = cancel(first)
    assert second.wait() == 0  # its turn
    assert steps_of("control") == [1, 2, 3]
    assert not trainers(warehouse)

    again = start("slap", steps=100_000)
    until(lambda: steps_of("slap")[-1] > stopped)
    assert cancel(again) > stopped
    assert not trainers(warehouse)


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="no pgrep here")
def test_a_training_does_not_outlive_a_run_that_is_killed(warehouse: Path) -> None:
    manifest = warehouse / "manifests" / (warehouse / "manifests" / "current").read_text()
    out = warehouse / "orphan"
    made = [*TINY.split(), "train.steps=100000", "train.device=cpu"]
    command = trainer.command(Settings(config="demo"), made, manifest, out, gpus=0)
    start = "import os, subprocess, sys, time; from pipelines import trainer\n"
    start += "subprocess.Popen(sys.argv[1:], env={**os.environ, **trainer.environment([])}); time.sleep(600)"
    step = subprocess.Popen([sys.executable, "-c", start, *command], cwd=PROJECT)
    until(lambda: watch.read(out / watch.METRICS))
    step.kill()
    step.wait()
    until(lambda: not trainers(warehouse))
    assert 0 < Model.from_checkpoint(out).card["step"] < 100_000


@pytest.mark.slow
def test_torchrun_passes_on_the_end_and_the_error(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = warehouse / "manifests" / (warehouse / "manifests" / "current").read_text()
    made = [*TINY.split(), "train.steps=3000", "train.device=cpu"]

    def start(out: Path, *more: str) -> tuple[subprocess.Popen[bytes], trainer.LastWords]:
        command = trainer.command(Settings(config="demo"), [*made, *more], manifest, out, gpus=2)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
        assert process.stderr is not None
        return process, trainer.LastWords(process.stderr)

    out = warehouse / "stopped"
    process, _ = start(out)
    until(lambda: watch.read(out / watch.METRICS))
    trainer.stop(process)
    assert not trainers(warehouse)
    assert 0 < Model.from_checkpoint(out).card["step"] < 3000

    process, words = start(warehouse / "failed", "train.rate=1e30", "train.clip=1e30")
    assert words.why(process.wait()).startswith("loss or gradient is no longer finite")
