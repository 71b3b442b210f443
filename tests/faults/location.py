"""The small world as a code location of Dagster: the system's own assets, over its two corpora and small shards."""

from __future__ import annotations

import dataclasses

import dagster as dg

from benchmark import registry
from pipelines import shards
from pipelines.corpora import _base, emodb
from tests.faults import world

_base.recipes = lambda: {world.ACTORS: emodb.CORPUS}  # type: ignore[assignment]  # not fifty steps for nothing
shards_first = dataclasses.replace(registry.ENTRIES["random"], needs=f"{world.ACTORS}_shards")
registry.ENTRIES = {"random": shards_first}  # else they come after the manifest, which is not made here

from pipelines import definitions as the_system  # noqa: E402
from pipelines.jobs import config  # noqa: E402

JOB = "small"
STEPS = [f"{name}_tables" for name in world.CORPORA]
STEPS += ["meta_db", "captions", *(f"{name}_shards" for name in world.CORPORA), "random_embeddings"]

shards.UTTERANCES_PER_SHARD = world.UTTERANCES_PER_SHARD
definitions = dg.Definitions.merge(
    the_system.definitions,  # by its module: Dagster takes a file with two definitions for a mistake
    dg.Definitions(jobs=[dg.define_asset_job(JOB, selection=dg.AssetSelection.assets(*STEPS), config=config("real"))]),
)
