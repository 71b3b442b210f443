"""The whole system as Dagster sees it: one chain per corpus, then warehouse, captions, training, benchmark."""

from __future__ import annotations

import dagster as dg

from pipelines import checks, jobs
from pipelines.assets import benchmark, captions, model, warehouse
from pipelines.assets.corpus import corpus_assets
from pipelines.corpora._base import corpora
from pipelines.resources import Slap, console

definitions = dg.Definitions(
    assets=[
        *(asset for corpus in corpora().values() for asset in corpus_assets(corpus)),
        warehouse.meta_db,
        captions.captions,
        captions.text_vectors,
        model.manifest,
        model.slap,
        model.control,
        *benchmark.embedding_assets,
        benchmark.recording_features,
        benchmark.scores,
        benchmark.leaderboard,
    ],
    asset_checks=[
        checks.one_split_per_person,
        checks.labels_known,
        checks.cohorts_in_graph,
        checks.board_complete,
        checks.same_audio,
        checks.nothing_lost,
        *checks.quality_checks,
    ],
    jobs=[jobs.demo, jobs.run],
    resources={"slap": Slap()},
    loggers={"console": console},
    executor=dg.in_process_executor,  # a step in a subprocess costs three seconds, in process a tenth of one
)
