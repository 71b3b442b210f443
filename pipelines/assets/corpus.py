"""One chain per corpus, from a factory: the raw folder, its tables, its shards."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from pipelines import accounting, guard, ingest, meta, scale, shards
from pipelines.assets import common
from pipelines.corpora._base import Corpus
from pipelines.resources import Slap


def corpus_assets(corpus: Corpus) -> list[dg.AssetSpec | dg.AssetsDefinition]:
    """The raw folder (external), ``<corpus>_tables`` with its checks, and ``<corpus>_shards``."""
    licence = corpus.licence
    about = {
        "homepage": dg.MetadataValue.url(corpus.homepage),
        "citation": corpus.citation,
        "licence": f"{licence.name} ({licence.access})",
        "licence_url": dg.MetadataValue.url(licence.url),
        "consent": licence.consent,
    }
    raw = dg.AssetSpec(
        f"{corpus.name}_raw",
        description=f"{corpus.title}, as its owners release it. Languages: {', '.join(corpus.languages)}.",
        metadata=about,
        group_name="corpora",
        kinds={"file"},
    )

    @dg.asset(
        name=f"{corpus.name}_tables",
        deps=[raw],
        group_name="corpora",
        kinds={"polars", "parquet"},
        pool="io",
        description=f"Speakers, utterances, observations and rejects of {corpus.title}.",
        metadata=about,
        check_specs=[
            dg.AssetCheckSpec(
                "licence",
                asset=f"{corpus.name}_tables",
                blocking=True,
                description="The licence allows use today.",
            ),
            dg.AssetCheckSpec(
                "readable",
                asset=f"{corpus.name}_tables",
                description="The raw folder was found and could be read.",
            ),
            dg.AssetCheckSpec(
                "accounted",
                asset=f"{corpus.name}_tables",
                description="Every audio file is an utterance, is rejected with a reason, or is known to be no input.",
            ),
        ],
    )
    def tables(
        context: dg.AssetExecutionContext, slap: Slap
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        settings = slap.settings()
        current = settings.corpora.get(corpus.name, corpus)  # as this run's raw folder declares it
        root = common.raw_root(settings, current)
        if settings.mode == "demo" and common.takes_part(settings, corpus.name):
            from pipelines.voices import Voices

            ingest.render_miniature(current, root, Voices(scale=settings.scale, seed=settings.seed))
        result = ingest.ingest(current, root, settings.tables, ingest.id_key(settings.warehouse))
        context.log.info(
            result.reason
            or f"{result.speakers} speakers, {result.utterances} utterances, {result.rejects} rejects"
            + ("" if result.changed else " (unchanged)")
        )
        rejects = pl.read_parquet(settings.tables / corpus.name / "reject.parquet")
        yield dg.MaterializeResult(
            metadata={
                "found": result.found,
                "speakers": result.speakers,
                "utterances": result.utterances,
                "observations": result.observations,
                "rejects": result.rejects,
                "reject_reasons": common.markdown(common.reasons(rejects, common.owner_ids(settings, corpus.name))),
                "synthetic": result.synthetic,
                **({"reason": result.reason} if result.reason else {}),
            }
        )
        refusal = current.licence.refusal(common.today()) if result.utterances else None
        yield dg.AssetCheckResult(
            check_name="licence",
            passed=refusal is None,
            metadata={"licence": current.licence.name, "reason": refusal or "allowed"},
        )
        yield dg.AssetCheckResult(
            check_name="readable",
            passed=not result.reason,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"reason": result.reason or "read"},
        )
        lost = rejects.filter(pl.col("reason") == accounting.UNCLAIMED)["path"]
        yield dg.AssetCheckResult(
            check_name="accounted",
            passed=not result.unclaimed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "audio_files": result.audio_files,
                "passed_over": result.unclaimed,
                "where": common.markdown(common.places(lost)),
                "no_inputs": common.markdown(
                    pl.DataFrame(list(result.set_aside.items()), schema=["why", "files"], orient="row")
                ),
                "what_to_do": "the view reject of meta.db names them; mend the owners' table, or the recipe "
                f"(pipelines/corpora/{corpus.name}.py) where such files are no inputs: see no_inputs in _base.py",
            },
        )

    @dg.asset(
        name=f"{corpus.name}_shards",
        deps=[tables, "meta_db", "captions"],
        group_name="shards",
        kinds={"webdataset", "flac"},
        pool="io",
        description=f"{corpus.title} as WebDataset tars: 16 kHz mono FLAC with a JSON sidecar.",
    )
    def shard(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
        settings = slap.settings()
        current = settings.corpora.get(corpus.name, corpus)
        away = meta.absent_corpora(settings.meta_db).get(corpus.name, "")
        try:
            report = shards.shard_corpus(
                current,
                common.raw_root(settings, current),
                settings.meta_db,
                settings.captions_folder,
                settings.shards_store / corpus.name,
                ingest.id_key(settings.warehouse),
                summary=settings.shards / corpus.name,
                away=away,
                known=ingest.last_utterances(settings.tables, corpus.name) if away else (),
                log=context.log.info,
            )
        except (shards.LicenceError, shards.ShardError, guard.WorkerDiedError, scale.EngineError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info(
            f"{report.utterances} utterances, {report.seconds / 3600:.2f} h in {report.shards} shards "
            f"({report.written} written), {report.rejects.height} rejects"
        )
        if report.kept:
            context.log.warning(
                f"{away}: its {report.kept} tars stay in {settings.shards_store / corpus.name} for when it is back; "
                "nothing counts, trains on or judges by them until then. To be rid of them for good, remove that "
                "folder: the next run then forgets who was in them"
            )
        elif away:
            ingest.forget(settings.tables, corpus.name)
        return dg.MaterializeResult(
            metadata={
                "utterances": report.utterances,
                "hours": round(report.seconds / 3600, 3),
                "shards": report.shards,
                "written_now": report.written,
                "tars_of_a_corpus_that_is_away": report.kept,
                "rejects": report.rejects.height,
                "reject_reasons": common.markdown(
                    common.reasons(report.rejects, common.owner_ids(settings, corpus.name))
                ),
            }
        )

    return [raw, tables, shard]
