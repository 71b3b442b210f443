"""All corpora in one database, every person in one split."""

import dagster as dg

from pipelines import meta, warehouse
from pipelines.assets import common
from pipelines.corpora._base import corpora
from pipelines.resources import Slap
from pipelines.settings import PROJECT


@dg.asset(
    deps=[f"{name}_tables" for name in corpora()],
    group_name="warehouse",
    kinds={"duckdb", "sql"},
)
def meta_db(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Every corpus in one vocabulary: `duckdb warehouse/meta.db`. Built fresh, then swapped in."""
    settings = slap.settings()
    report = warehouse.build(
        settings.tables,
        settings.meta_db,
        corpora=sorted(set(corpora()) - set(common.left_out(settings))),
        vocabulary=PROJECT / "warehouse" / "vocabulary",
        sql=PROJECT / "warehouse" / "sql",
        scores=settings.warehouse / "scores",
        shards=settings.shards,
        split_seed=settings.seed,
    )
    summary = meta.summary(settings.meta_db)
    found = summary.filter(summary["utterances"] > 0)
    context.log.info(
        f"{found['speakers'].sum()} speakers, {found['utterances'].sum()} utterances of {found.height} corpora"
        + ("" if report.built else " (unchanged)")
    )
    return dg.MaterializeResult(
        metadata={
            "corpora": found.height,
            "speakers": int(found["speakers"].sum()),
            "utterances": int(found["utterances"].sum()),
            "per_corpus": common.markdown(summary),
            "quality": common.markdown(meta.findings(settings.meta_db)),
            "split_hash": report.split_hash,
        }
    )
