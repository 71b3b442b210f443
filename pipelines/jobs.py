"""The two ways to run the whole graph."""

from __future__ import annotations

from typing import Any

import dagster as dg


def config(mode: str) -> dict[str, Any]:
    """A job's configuration: which corpora, and one short line per asset on the console."""
    return {"resources": {"slap": {"config": {"mode": mode}}}, "loggers": {"console": {"config": {}}}}


demo = dg.define_asset_job(
    "demo",
    selection=dg.AssetSelection.all(),
    description="Miniature corpora with rendered voices, from raw folders to the board. Says nothing about people.",
    config=config("demo"),
)
run = dg.define_asset_job(
    "run",
    selection=dg.AssetSelection.all(),
    description="The same graph on the corpora in the folder named by SLAP_RAW (or by the resource's `raw`).",
    config=config("real"),
)
