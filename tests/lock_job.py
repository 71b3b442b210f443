"""A job of three small assets for the tests of the locks, as a file that Dagster's command line loads."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg

from pipelines.resources import Slap


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 60
    while not file.is_file():
        assert time.monotonic() < deadline, f"{file} never came"
        time.sleep(0.02)


def asset(name: str, *deps: str) -> dg.AssetsDefinition:
    """An asset that says that it has begun, and ends when it is told to."""

    @dg.asset(name=name, deps=deps)
    def made(slap: Slap) -> None:
        folder = slap.settings().warehouse
        (folder / f"{name} begun").touch()
        if (folder / "hold").is_file():
            wait_for(folder / f"{name} may end")

    return made


JOBS = {"demo": dg.in_process_executor, "in_processes": dg.multiprocess_executor}
definitions = dg.Definitions(
    assets=[asset("one"), asset("two"), asset("three", "two")],
    resources={"slap": Slap()},
    jobs=[dg.define_asset_job(name, selection="*", executor_def=executor) for name, executor in JOBS.items()],
)
