"""Facts into captions, captions into vectors of the frozen text tower."""

import dagster as dg
import polars as pl

from pipelines import captions as captioning
from pipelines.assets import common
from pipelines.resources import Slap
from pipelines.settings import Settings
from slap_model import config


def training_corpora(settings: Settings) -> dict[str, float]:
    """The corpora that this run trains on, with the share of each seen in one epoch."""
    return {
        name: corpus.epoch_share
        for name, corpus in common.taking_part(settings).items()
        if set(corpus.roles) & set(settings.train_on)
    }


@dg.asset(
    deps=["meta_db"],
    group_name="captions",
    kinds={"polars", "parquet"},
)
def captions(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Several descriptions for each distinct set of facts; each knows which facts it used."""
    settings = slap.settings()
    report = captioning.build(
        settings.meta_db,
        settings.captions_folder,
        corpora=sorted(training_corpora(settings)),
        k=settings.captions,
        seed=settings.seed,
    )
    context.log.info(
        f"{report.captions} captions for {report.fact_sets} sets of facts" + ("" if report.written else " (unchanged)")
    )
    texts = pl.read_parquet(settings.captions_folder / "captions.parquet")
    unsaid = pl.DataFrame(list(report.unsaid.items()), schema=["fact", "utterances"], orient="row")
    return dg.MaterializeResult(
        metadata={
            "captions": report.captions,
            "fact_sets": report.fact_sets,
            "preview": common.markdown(
                texts.select("text", pl.col("used").list.join(", ")).sample(min(20, texts.height), seed=0)
            ),
            "facts_without_a_phrase": common.markdown(unsaid),
        }
    )


@dg.asset(
    deps=["captions"],
    group_name="captions",
    kinds={"pytorch", "parquet"},
)
def text_vectors(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """One vector per caption from the frozen text tower, so that training never runs it."""
    from slap_model.text import TextTower, text_vectors

    settings = slap.settings()
    tower = TextTower(config.load(settings.config, settings.overrides).text.tower)
    texts = pl.read_parquet(settings.captions_folder / "captions.parquet")["text"].unique().sort().to_list()
    vectors = text_vectors(texts, tower, settings.captions_folder)
    context.log.info(f"{len(vectors)} texts, {tower.dimension} dimensions")
    return dg.MaterializeResult(metadata={"texts": len(vectors), "dimensions": tower.dimension, "tower": tower.name})
