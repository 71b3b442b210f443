"""Facts into captions, captions into vectors of the frozen text tower."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl

from pipelines import captions as captioning
from pipelines.assets import common
from pipelines.paraphrase import run as paraphrasing
from pipelines.paraphrase.cache import Cache
from pipelines.paraphrase.check import LANGUAGE
from pipelines.paraphrase.client import ModelError, model_of
from pipelines.paraphrase.options import Options
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


def write_templates(settings: Settings, folder: Path | None = None) -> captioning.CaptionReport:
    """Write facts and templates of the run's corpora into their folder, or into another."""
    return captioning.build(
        settings.meta_db,
        folder or settings.captions_folder,
        corpora=sorted(training_corpora(settings)),
        k=settings.captions,
        seed=settings.seed,
        languages=settings.languages,
    )


def ahead_of_paraphrases(
    settings: Settings, options: Options, facts: Path | None = None
) -> tuple[list[paraphrasing.FactSet], Cache, paraphrasing.Estimate]:
    """What would be asked about the facts of `write_templates`, where answers are kept, and what it would cost."""
    facts = facts or settings.captions_folder / "facts.parquet"
    sets = paraphrasing.fact_sets(facts, sorted(training_corpora(settings)))
    cache = Cache(settings.captions_folder, options.identity, settings.seed, LANGUAGE)
    questions = paraphrasing.first_questions(sets, settings.seed)
    return sets, cache, paraphrasing.estimate(questions, cache, options)


def add_paraphrases(
    settings: Settings, options: Options, say: Callable[[str], None], *, over_budget: bool = False
) -> paraphrasing.Outcome:
    """Have the facts of `write_templates` paraphrased, and add what is accepted to the captions.

    Args:
        settings: of the run.
        options: of the language model.
        say: is told the estimate, and how far it is.
        over_budget: begin, and go on, whatever it costs.

    Raises:
        BudgetError: it would cost more than the budget.
        ModelError: the model does not answer; what it answered is kept.
    """
    if over_budget:
        options = dataclasses.replace(options, budget=None)
    sets, cache, expected = ahead_of_paraphrases(settings, options)
    for line in expected.lines():
        say(line)
    paraphrasing.refuse_above_budget(expected, options)
    model = model_of(options)
    outcome = paraphrasing.paraphrase(sets, model, options, cache, seed=settings.seed, say=say)
    paraphrasing.merge(
        settings.captions_folder,
        sets,
        outcome,
        source=model.name,
        k=settings.captions,
        seed=settings.seed,
        alone=options.alone,
    )
    say(
        f"{outcome.paraphrases} paraphrases accepted, {outcome.retried} asked for again, "
        f"{outcome.replaced} replaced by templates"
    )
    return outcome


@dg.asset(
    deps=["meta_db"],
    group_name="captions",
    kinds={"polars", "parquet"},
)
def captions(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Several descriptions for each distinct set of facts; each knows which facts it used."""
    settings = slap.settings()
    report = write_templates(settings)
    context.log.info(
        f"{report.captions} captions for {report.fact_sets} sets of facts" + ("" if report.written else " (unchanged)")
    )
    outcome = None
    if settings.paraphrase is not None:
        try:
            outcome = add_paraphrases(settings, settings.paraphrase, context.log.info)
        except (paraphrasing.BudgetError, ModelError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
    texts = pl.read_parquet(settings.captions_folder / "captions.parquet")
    unsaid = pl.DataFrame(list(report.unsaid.items()), schema=["fact", "utterances"], orient="row")
    return dg.MaterializeResult(
        metadata={
            "captions": texts.height,
            "fact_sets": report.fact_sets,
            "preview": common.markdown(
                texts.select("text", pl.col("used").list.join(", ")).sample(min(20, texts.height), seed=0)
            ),
            "facts_without_a_phrase": common.markdown(unsaid),
            **(paraphrasing.metadata(outcome, settings.paraphrase) if outcome and settings.paraphrase else {}),
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
