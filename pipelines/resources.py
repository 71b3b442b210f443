"""What the assets are given: one resource that says where things lie, and the console's way of speaking."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import dagster as dg

from pipelines import leftovers, locks
from pipelines.settings import Mode, Settings, SettingsError, from_environment


class Slap(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Mode, folders and sizes of a run; what is left empty comes from the environment (see `pipelines.settings`)."""

    mode: str = ""  # demo or real; empty: real where SLAP_RAW is set, else demo
    raw: str = ""  # folder with one folder per corpus, for real runs
    warehouse: str = ""  # where the products go
    scale: float = 0.0  # of the miniatures; 0: SLAP_SCALE or 1

    def settings(self) -> Settings:
        """The run's `Settings`; raises `SettingsError` where they cannot be worked with."""
        mode = self.mode or ("real" if os.environ.get("SLAP_RAW") else "demo")
        if mode not in ("demo", "real"):
            raise dg.Failure(f"resource slap: mode {mode!r} is neither demo nor real", allow_retries=False)
        own = {"SLAP_RAW": self.raw, "SLAP_WAREHOUSE": self.warehouse, "SLAP_SCALE": str(self.scale or "")}
        return from_environment(cast(Mode, mode), {**os.environ, **{k: v for k, v in own.items() if v}})

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Slap"]:
        """Hold the steps of the run in its warehouse, so that no other run makes the same, and clear up there.

        Raises:
            dg.Failure: another run is at work, or the settings or the folder cannot be worked with.
        """
        with ExitStack() as stack:
            if context.run is not None:  # a resource that is set up by hand makes nothing
                stack.enter_context(at_work(self, context.run))
            yield self


@contextmanager
def at_work(slap: Slap, run: dg.DagsterRun) -> Iterator[None]:
    """Hold what a run makes and clear up, or fail in one sentence."""
    with ExitStack() as stack:
        try:
            settings = slap.settings()
            steps = run.step_keys_to_execute or ()
            stack.enter_context(locks.held(settings.warehouse, work(run), steps, run.run_id))
            settings.claim()
            leftovers.clear(settings)
        except (locks.InUseError, SettingsError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except OSError as error:
            raise dg.Failure(f"the warehouse cannot be written to: {error}", allow_retries=False) from error
        yield


def work(run: dg.DagsterRun) -> str:
    """A run in words: the whole graph, or the assets that it makes."""
    chosen = sorted(key.to_user_string() for key in run.asset_selection or ())
    named = ", ".join(chosen[:4]) + (f" and {len(chosen) - 4} more" if len(chosen) > 4 else "")
    return f"a run of {named or f'the job {run.job_name}'} ({run.run_id[:8]})"


def _said(record: logging.LogRecord) -> str:
    """What an asset said, without Dagster's run id and step around it."""
    meta = getattr(record, "dagster_meta", None) or {}
    return str(meta.get("orig_message") or record.getMessage())


class _Short(logging.Formatter):
    """Only what a person wants to read: the message, with the asset's name before it."""

    def format(self, record: logging.LogRecord) -> str:
        meta = getattr(record, "dagster_meta", None) or {}
        message = _said(record)
        step = str(meta.get("step_key") or "")
        return f"  {step:32s} {message}" if step else f"  {message}"


@dg.logger({}, description="One short line per asset")
def console(_: dg.InitLoggerContext) -> logging.Logger:
    """Console logger of the command line; the full log stands in Dagster's event log."""
    logger = logging.getLogger("slap.console")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Short())
        handler.addFilter(lambda record: not _said(record).startswith("[pipes]"))
        logger.addHandler(handler)
    logger.propagate = False
    return logger
