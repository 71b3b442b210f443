"""What the assets are given: one resource that says where things lie, and the console's way of speaking."""

import logging
import os
from typing import cast

import dagster as dg

from pipelines.settings import Mode, Settings, from_environment


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
        settings = from_environment(cast(Mode, mode), {**os.environ, **{k: v for k, v in own.items() if v}})
        settings.claim()
        return settings


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
