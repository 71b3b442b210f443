"""Embeddings, scores and the board."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from tqdm import tqdm

from benchmark import registry
from benchmark.embedders import AbsentError, EmbedderError
from benchmark.files import tars_of
from benchmark.task import Task, Transfer, load_tasks, load_transfers
from pipelines import board, ingest, meta
from pipelines.assets import common
from pipelines.assets.model import run_folder
from pipelines.resources import Slap
from pipelines.settings import Settings

if TYPE_CHECKING:
    from benchmark.embedders import Embedder
    from benchmark.evaluate import Contender
    from pipelines.embedding import Source

# Chosen when the graph is loaded, as the corpora are: one asset an embedder.
EMBEDDERS = registry.choose(os.environ.get("SLAP_EMBEDDERS", ""), quick=not os.environ.get("SLAP_RAW"))


def asset_name(embedder: str) -> str:
    """The name of an embedder's asset: Dagster takes letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", embedder) + "_embeddings"


def registry_context(settings: Settings) -> registry.Context:
    """What the registry may ask for: this run's checkpoints, and the folder of models."""
    return registry.Context(checkpoint=lambda training: run_folder(settings, training), models=settings.models)


def embedding_asset(name: str, entry: registry.Entry) -> dg.AssetsDefinition:
    """The vectors of one embedder over every benchmark shard, as an asset."""

    @dg.asset(
        name=asset_name(name),
        deps=[entry.needs],
        group_name="benchmark",
        kinds={"pytorch", "parquet"},
        description=f"Vectors of every benchmark utterance: {entry.about}. Checked first, never computed twice.",
        metadata={"family": entry.family, "licence": entry.licence, "weights": entry.weights or "in packages"},
    )
    def embeddings(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
        from benchmark.embed import load_embeddings
        from benchmark.embedders import check_embedder
        from pipelines.embedding import embed

        settings = slap.settings()
        note = _absence(settings, name)
        note.unlink(missing_ok=True)
        try:
            embedder = entry.make(registry_context(settings))
            check_embedder(embedder)
        except (AbsentError, EmbedderError) as error:
            if entry.family == "ours":
                raise dg.Failure(str(error), allow_retries=False) from error
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(str(error))
            context.log.warning(f"not on the board: {error}")
            return dg.MaterializeResult(metadata={"missing": str(error)})
        tars = [tar for part in benchmark_shards(settings).values() for tar in part]
        folder = embed(embedder, _source(settings, entry, embedder), tars, settings.embeddings, context.log.info)
        vectors = load_embeddings(folder, tars)
        context.log.info(f"{vectors.height} vectors")
        return dg.MaterializeResult(
            metadata={
                "utterances": vectors.height,
                "dimensions": len(vectors["vector"][0]) if vectors.height else 0,
                "sample_rate": embedder.sample_rate,
                "fingerprint": embedder.fingerprint,
                "path": dg.MetadataValue.path(str(folder)),
            }
        )

    return embeddings


def _source(settings: Settings, entry: registry.Entry, embedder: "Embedder") -> "Source":
    """How a node makes the same embedder."""
    from pipelines.embedding import Source, seen_by_nodes

    checkpoint = None
    if entry.family == "ours":
        checkpoint = seen_by_nodes(run_folder(settings, entry.needs), settings.warehouse, settings.store)
    return Source(entry.asked_for, checkpoint, settings.models, getattr(embedder, "precision", "auto"))


embedding_assets = [embedding_asset(name, entry) for name, entry in EMBEDDERS.items()]


@dg.asset(deps=["manifest"], group_name="benchmark", kinds={"numpy", "parquet"})
def recording_features(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Duration, level, bandwidth, noise and silence of every benchmark recording: what the confounds are told."""
    from benchmark.recording import COLUMNS, measurements

    settings = slap.settings()
    tars = [tar for part in benchmark_shards(settings).values() for tar in part]
    table = measurements(tars, settings.embeddings)
    context.log.info(f"{table.height} recordings measured")
    return dg.MaterializeResult(
        metadata={
            "recordings": table.height,
            "measurements": len(COLUMNS),
            "summary": common.markdown(table.drop("utt_id").describe().head(9)),
        }
    )


@dg.asset(
    deps=[*(asset_name(name) for name in EMBEDDERS), "recording_features"],
    group_name="benchmark",
    kinds={"scikitlearn", "parquet"},
)
def scores(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Zero-shot and linear-probe predictions and their scores, with intervals over speakers."""
    from benchmark import confounds
    from benchmark.baselines import AlwaysYes, RandomVectors
    from benchmark.evaluate import evaluate
    from benchmark.transfer import transfer

    settings = slap.settings()
    embeddings = settings.embeddings
    embedders = present(settings)
    contenders: list[Contender] = [*embedders, AlwaysYes(), *confounds.contenders(embeddings)]
    with tqdm(desc="scores", leave=False) as bar:

        def progress(done: int, total: int) -> None:  # moves the bar that `bar` names at the time
            bar.total = total
            bar.update(done - bar.n)

        results = evaluate(
            contenders,
            tasks(settings),
            settings.meta_db,
            benchmark_shards(settings),
            embeddings,
            settings.warehouse / "predictions",
            settings.warehouse / "scores",
            id_key=ingest.id_key(settings.warehouse),
            split_hash=meta.split_hash(settings.meta_db),
            synthetic=meta.synthetic_corpora(settings.meta_db),
            progress=progress,
        )
    with tqdm(desc="transfers", leave=False) as bar:
        moved = transfer(
            [embedder for embedder in embedders if not isinstance(embedder, RandomVectors)],
            transfers(settings),
            settings.meta_db,
            benchmark_shards(settings),
            embeddings,
            settings.warehouse / "scores",
            id_key=ingest.id_key(settings.warehouse),
            progress=progress,
        )
    absent = absent_embedders(settings)
    scored = sum(score.status == "ok" for score in results)
    context.log.info(
        f"{scored} scores, {len(results) - scored} missing; {moved.height} transfers; {len(absent)} embedders absent"
    )
    return dg.MaterializeResult(
        metadata={
            "scores": scored,
            "missing": len(results) - scored,
            "transfers": moved.filter(status="ok").height,
            "absent": ", ".join(absent) or "none",
        }
    )


def present(settings: Settings) -> list["Embedder"]:
    """The embedders of this run whose vectors are there."""
    absent = absent_embedders(settings)
    context = registry_context(settings)
    return [entry.make(context) for name, entry in EMBEDDERS.items() if name not in absent]


def absent_embedders(settings: Settings) -> Mapping[str, str]:
    """Embedders of this run that could not be made, by name, with the reason."""
    notes = {name: _absence(settings, name) for name in EMBEDDERS}
    return {name: note.read_text() for name, note in notes.items() if note.is_file()}


def _absence(settings: Settings, name: str) -> Path:
    """The file that says why an embedder has no vectors; there is none where it has."""
    return settings.warehouse / "embeddings" / "absent" / f"{name}.txt"


@dg.asset(
    deps=["scores"],
    group_name="benchmark",
    kinds={"markdown", "html"},
)
def leaderboard(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """The leaderboard: means with intervals, chance, strata, each task on its own, and the exports."""
    settings = slap.settings()
    drawn = board.draw(
        settings, tasks(settings), benchmark_shards(settings), absent_embedders=absent_embedders(settings)
    )
    if drawn is None:
        raise dg.Failure("there is no score to draw: see the asset scores", allow_retries=False)
    report = drawn.report
    context.log.info(f"{report.complete} tasks complete: {report.html}")
    return dg.MaterializeResult(
        metadata={
            "board": dg.MetadataValue.md(f"{drawn.pictures}\n\n{report.markdown.read_text()}"),
            "complete": report.complete,
            "exported": drawn.n_scores,
            "html": dg.MetadataValue.path(str(report.html)),
        }
    )


def tasks(settings: Settings) -> tuple[Task, ...]:
    """The tasks of this run: all of the paper's, and the open ones of corpora that take part."""
    return tuple(task for task in load_tasks() if task.track == "paper" or task.corpus in common.taking_part(settings))


def transfers(settings: Settings) -> tuple[Transfer, ...]:
    """The transfers between corpora that take part, where there are two at least."""
    there = common.taking_part(settings)
    some = [
        replace(one, corpora=tuple(corpus for corpus in one.corpora if corpus in there)) for one in load_transfers()
    ]
    return tuple(one for one in some if len(one.corpora) > 1)


def benchmark_shards(settings: Settings) -> dict[str, list[Path]]:
    """The tars of every corpus that a task or a transfer asks for, by corpus."""
    moved = {corpus for one in transfers(settings) for corpus in one.corpora}
    asked = ({task.corpus for task in tasks(settings)} | moved) & set(settings.corpora)
    return {name: tars_of(name, settings.shards, settings.shards_store) for name in sorted(asked)}
