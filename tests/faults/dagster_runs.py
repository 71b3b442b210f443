"""Runs that Dagster's launcher starts: a code server, and a process for each run, the run worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._cli.job import execute_launch_command
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.server import wait_for_grpc_server
from dagster_shared.cli import WorkspaceOpts

from pipelines.settings import PROJECT
from tests.faults.processes import ended

JOB = "small"  # of `tests.faults.location`
# Runs are launched at once; the queue asks for a daemon.
INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
"""
PROCESS = re.compile(r"Started process for run \(pid: (\d+)\)")


class Launched:
    """Runs launched by a Dagster instance of their own."""

    def __init__(self, instance: dg.DagsterInstance, socket: Path) -> None:
        self._instance = instance
        self._socket = socket

    def start(self, folder: Path, stage: str, die_at: int = 0) -> LaunchedRun:
        assert not die_at, "a run worker is killed from outside"
        run = execute_launch_command(
            instance=self._instance,
            workspace_opts=WorkspaceOpts(grpc_socket=str(self._socket), grpc_host="localhost"),
            job_name=JOB,
        )
        while not (pid := _process(self._instance, run.run_id)):
            time.sleep(0.005)
        return LaunchedRun(self._instance, run.run_id, pid)


@dataclass(frozen=True)
class LaunchedRun:
    """One of them."""

    instance: dg.DagsterInstance
    run_id: str
    pid: int

    def over(self) -> bool:
        return ended(self.pid)

    def end(self, seconds: float) -> str:
        started = time.monotonic()
        while not self.over():
            if time.monotonic() - started > seconds:
                return f"it did not end within {seconds:g} s"
            time.sleep(0.005)
        run = self.instance.get_run_by_id(self.run_id)
        if run is not None and run.is_success:
            return ""
        failures = [
            f"{entry.step_key}: {entry.dagster_event.step_failure_data.error_display_string}"
            for entry in self.instance.all_logs(self.run_id, dg.DagsterEventType.STEP_FAILURE)
            if entry.dagster_event is not None
        ]
        return "\n".join(failures) or f"its status is {run.status.value if run else 'unknown'}"


def _process(instance: dg.DagsterInstance, run_id: str) -> int:
    """The run worker's process, as Dagster's event log has it; 0: not yet there."""
    for entry in instance.all_logs(run_id, dg.DagsterEventType.ENGINE_EVENT):
        found = PROCESS.search(entry.message or entry.user_message)
        if found is not None:
            return int(found[1])
    return 0


@contextmanager
def launched(folder: Path) -> Iterator[Launched]:
    """A Dagster instance and a code server over the world in ``folder``."""
    home, socket = folder / "dagster", folder / "code.sock"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE)
    environment: Mapping[str, str] = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "SLAP_RAW": str(folder / "raw"),
        "SLAP_WAREHOUSE": str(folder / "warehouse"),
        "SLAP_EMBEDDERS": "random",
    }
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--module-name", "tests.faults.location"]
    with (folder / "code.log").open("w") as log, dg.DagsterInstance.from_config(str(home)) as instance:
        server = subprocess.Popen(
            [*command, "--socket", str(socket), "--log-level", "warning"],
            env=environment,
            cwd=PROJECT,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for_grpc_server(server, DagsterGrpcClient(socket=str(socket)), command, timeout=300)
            yield Launched(instance, socket)
        finally:
            server.terminate()
            server.wait()
