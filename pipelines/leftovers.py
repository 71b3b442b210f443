"""What a killed process had begun to write: removed when the next one begins to work."""

from __future__ import annotations

from pipelines import warehouse
from pipelines.settings import Settings
from slap_model import store

# Folders of the warehouse with products. Raw folders are their owners', and Dagster's its own.
PRODUCTS = (
    "tables",
    "captions",
    "shards",
    "manifests",
    "checkpoints",
    "embeddings",
    "predictions",
    "scores",
    "reports",
    "ablations",
    "collections",
)


def clear(settings: Settings) -> int:
    """Remove unfinished files whose process has ended; how many that were. Those of the living stay."""
    apart = (settings.shards_store, settings.manifests, settings.embeddings, settings.checkpoints)
    places = dict.fromkeys([*(settings.warehouse / name for name in PRODUCTS), *apart])
    removed = warehouse.sweep(settings.meta_db)  # with the files that DuckDB has beside its own
    notes = [path for path in settings.warehouse.glob(".*.tmp") if store.abandoned(path.name)]
    for path in notes:
        path.unlink(missing_ok=True)
    return removed + len(notes) + sum(map(store.sweep, places))
