"""The training log: what stands in it, when it is written, what a kill leaves; and when a CPU refuses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from slap_model import config, distributed, watch
from slap_model.watch import TooSlowError, Watch

CPU = torch.device("cpu")


def with_train(settings: config.Config, **changes: object) -> config.Config:
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changes))


def lines(out: Path) -> list[dict[str, float]]:
    return watch.read(out / watch.METRICS)


def board(out: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(out / watch.TENSORBOARD)).Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


class Scalar:
    """A tensor on a GPU for `Watch`: something that becomes a number, which is counted."""

    asked = 0

    def item(self) -> float:
        Scalar.asked += 1
        return 1.5


def test_a_line_every_few_steps_and_at_the_end(settings: config.Config, tmp_path: Path) -> None:
    with Watch(tmp_path, with_train(settings, steps=7, log_every=3), CPU, 0) as log:
        for step in range(1, 8):
            log.step(step, {"loss": torch.tensor(1 / step), "learning_rate": 0.1})
    assert [line["step"] for line in lines(tmp_path)] == [3, 6, 7]
    assert lines(tmp_path)[0].keys() == {"step", "clips_per_second", "loss", "learning_rate", "data_wait"}
    assert board(tmp_path, "loss") == [(step, round(1 / step, 4)) for step in (3, 6, 7)]


def test_numbers_are_asked_for_only_where_a_line_is_written(
    settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scalar, "asked", 0)
    with Watch(tmp_path, with_train(settings, steps=100, log_every=5), CPU, 0) as log:
        for step in range(1, 11):
            log.step(step, {"loss": Scalar()})  # type: ignore[dict-item]
    assert Scalar.asked == 2


def test_a_run_that_is_stopped_notes_its_last_step(settings: config.Config, tmp_path: Path) -> None:
    with Watch(tmp_path, with_train(settings, steps=100, log_every=50), CPU, 0) as log:
        log.step(1, {"loss": 1.0})
        log.step(2, {"loss": 1.0}, last=True)
    assert [line["step"] for line in lines(tmp_path)] == [2]


def test_speed_and_data_wait_are_since_the_line_before(
    settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock)
    with Watch(tmp_path, with_train(settings, steps=4, log_every=2, batch=8), CPU, 0) as log:
        for step, wait, work in ((1, 30.0, 10.0), (2, 0.0, 40.0), (3, 1.0, 1.0), (4, 0.0, 2.0)):
            with log.waiting():
                clock += wait
            clock += work
            log.step(step, {})
    first, second = lines(tmp_path)
    assert (first["clips_per_second"], first["data_wait"]) == pytest.approx((16 / 80, 30 / 80))
    assert (second["clips_per_second"], second["data_wait"]) == pytest.approx((16 / 4, 1 / 4))


def test_a_wait_that_fails_still_counts(
    settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    monkeypatch.setattr(watch.time, "monotonic", lambda: clock)
    with Watch(tmp_path, with_train(settings, steps=1), CPU, 0) as log:
        with pytest.raises(StopIteration), log.waiting():
            clock += 3
            raise StopIteration
        clock += 1
        log.step(1, {})
    assert lines(tmp_path)[0]["data_wait"] == pytest.approx(0.75)


def test_after_a_kill_each_step_stands_once(settings: config.Config, tmp_path: Path) -> None:
    settings = with_train(settings, steps=8)
    with Watch(tmp_path, settings, CPU, 0) as log:
        for step in range(1, 7):
            log.step(step, {"loss": float(step)})
    with (tmp_path / watch.METRICS).open("a") as file:
        file.write('{"step": 7, "clips_per_sec')  # the kill; the last checkpoint is of step 4
    with Watch(tmp_path, settings, CPU, 4) as log:
        for step in range(5, 9):
            log.step(step, {"loss": float(10 * step)})
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
        *((step, float(step)) for step in range(1, 5)),
        *((step, float(10 * step)) for step in range(5, 9)),
    ]
    assert board(tmp_path, "loss") == [*((s, float(s)) for s in range(1, 5)), *((s, 10.0 * s) for s in range(5, 9))]


def test_what_is_no_number_is_left_out(settings: config.Config, tmp_path: Path) -> None:
    with Watch(tmp_path, with_train(settings, steps=1), CPU, 0) as log:
        log.step(1, {"loss": 1.0, "ranked": torch.tensor(torch.nan)})
    text = (tmp_path / watch.METRICS).read_text()
    assert "ranked" not in text
    json.loads(text, parse_constant=pytest.fail)


def test_the_other_processes_write_nothing(settings: config.Config, tmp_path: Path) -> None:
    with Watch(tmp_path / "run", with_train(settings, steps=2), CPU, 0, main=False) as log:
        with log.waiting():
            pass
        log.step(1, {"loss": 1.0})
    assert not (tmp_path / "run").exists()


def test_a_gpu_without_its_library_is_said_once(
    settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_: object) -> int:
        raise ModuleNotFoundError("nvidia-ml-py")

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "utilization", absent)
    with Watch(tmp_path, with_train(settings, steps=3), torch.device("cuda", 0), 0) as log:
        for step in (1, 2):
            log.step(step, {"loss": 1.0})
        monkeypatch.setattr(torch.cuda, "utilization", lambda _: 87)
        log.step(3, {"loss": 1.0})
    assert [line["gpu_memory_gb"] for line in lines(tmp_path)] == [3.0, 3.0, 3.0]
    assert all("gpu_utilisation" not in line for line in lines(tmp_path))
    assert capsys.readouterr().err.count("install the extra `gpu`") == 1


def test_gpu_figures(settings: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 2**29)
    monkeypatch.setattr(torch.cuda, "utilization", lambda _: 87)
    with Watch(tmp_path, with_train(settings, steps=1), torch.device("cuda", 0), 0) as log:
        log.step(1, {"loss": 1.0})
    (line,) = lines(tmp_path)
    assert (line["gpu_memory_gb"], line["gpu_utilisation"]) == (0.5, 0.87)


def test_two_processes_do_not_train_into_one_folder(settings: config.Config, tmp_path: Path) -> None:
    holding = "import sys, time, pathlib; from slap_model import watch\n"
    holding += "with watch.alone(pathlib.Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", holding, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(watch.BusyError, match="another process trains"), Watch(tmp_path, settings, CPU, 0):
        pass
    other.kill()
    other.wait()
    with Watch(tmp_path, settings, CPU, 0) as log:
        log.step(1, {"loss": 1.0})
    assert len(lines(tmp_path)) == 1


def pretend(days: dict[int, float]) -> Callable[..., float]:
    """Days by the steps of a configuration."""
    return lambda settings, device, enough=0.0: days[settings.train.steps]


def test_a_hopeless_training_is_refused_with_advice(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = config.load("tiny").train.steps
    monkeypatch.setattr(watch, "SMALLER", ("tiny",))
    monkeypatch.setattr(watch, "days_here", pretend({6: 45.2, tiny: 0.13}))
    monkeypatch.setattr(watch.sys, "argv", ["train.py", "--config", "base", "--out", "a folder"])
    with pytest.raises(TooSlowError) as refused:
        watch.refuse_if_hopeless(settings, CPU)
    said = str(refused.value)
    assert "45 days" in said
    assert watch.processor() in said
    assert "python -m slap_model.train --config base --out 'a folder'\n" in said
    assert "torchrun --standalone --nproc-per-node=4 -m slap_model.train --config base --out 'a folder'\n" in said
    assert "--config tiny takes 3 hours" in said
    assert "--set train.device=cpu" in said
    assert all(line.startswith("  ") for line in said.splitlines()[1:])  # the asset finds the whole message by this
    with pytest.raises(TooSlowError, match="\n  ask the lab\n  here: --config tiny") as refused:
        watch.refuse_if_hopeless(settings, CPU, ["ask the lab"])
    assert "torchrun" not in str(refused.value)


def test_who_says_cpu_knows(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "days_here", pretend({6: 45.0}))
    watch.refuse_if_hopeless(with_train(settings, device="cpu"), CPU)
    watch.refuse_if_hopeless(settings, torch.device("cuda", 0))
    monkeypatch.setattr(watch, "days_here", pretend({6: watch.LONG}))
    watch.refuse_if_hopeless(settings, CPU)


def test_days_grow_with_the_steps(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.3)
    few, many = (watch.days_here(with_train(settings, steps=steps), CPU) for steps in (100, 100_000))
    assert 100 < many / few < 10_000  # exact on a machine that does nothing else


def test_a_measurement_leaves_random_numbers_alone(settings: config.Config) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    watch.days_here(settings, CPU, enough=1e9)
    assert torch.equal(torch.rand(4), expected)


def test_a_measurement_asks_no_other_process(settings: config.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "gather", lambda _: pytest.fail("each process measures as long as it likes"))
    watch.days_here(settings, CPU, enough=1e9)


@pytest.mark.parametrize("name", ["demo", *watch.SMALLER])
def test_configurations_for_cpus_run(name: str) -> None:
    watch.refuse_if_hopeless(config.load(name), CPU)


def test_base_would_take_months_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 0.1)
    assert watch.days_here(config.load("base"), CPU) * torch.get_num_threads() > 20


@pytest.mark.parametrize(("days", "said"), [(45.2, "45 days"), (0.2, "5 hours"), (0.02, "29 min"), (1e-9, "1 min")])
def test_days_in_words(days: float, said: str) -> None:
    assert watch._spoken(days) == said
