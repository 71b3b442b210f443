"""Embeddings, scores and the board."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from tqdm import tqdm

from benchmark.task import Task, load_tasks
from pipelines import ingest, meta
from pipelines.assets import common
from pipelines.assets.model import run_folder
from pipelines.resources import Slap
from pipelines.settings import Settings

if TYPE_CHECKING:
    from benchmark.embedders import Embedder
    from benchmark.evaluate import Contender


@dataclass(frozen=True)
class Entry:
    """An embedder on the board: what it is, what it needs, and how to make it (torch is imported only then)."""

    about: str
    needs: str  # the asset that must be there first
    make: Callable[[Settings], "Embedder"]


def _slap(settings: Settings, training: str) -> "Embedder":
    from benchmark.embedders import SlapEmbedder

    return SlapEmbedder(run_folder(settings, training), training)


def _untrained(settings: Settings) -> "Embedder":
    from benchmark.embedders import SlapEmbedder

    return SlapEmbedder.untrained(run_folder(settings, "slap"))


def _baseline(_: Settings, name: str) -> "Embedder":
    from benchmark import baselines

    embedder: Embedder = getattr(baselines, name)()
    return embedder


# A new model is one more row here, and a class with `embed_audio` (see benchmark/embedders.py).
EMBEDDERS = {
    "slap": Entry("SLAP as trained on this run's manifest", "slap", partial(_slap, training="slap")),
    "control": Entry("the same training without language", "control", partial(_slap, training="control")),
    "untrained": Entry("SLAP's architecture with random weights", "slap", _untrained),
    "mel": Entry("mean and deviation of the log-mel", "manifest", partial(_baseline, name="MelStatistics")),
    "random": Entry("random vectors", "manifest", partial(_baseline, name="RandomVectors")),
}


def embedding_asset(name: str, entry: Entry) -> dg.AssetsDefinition:
    """The vectors of one embedder over every benchmark shard, as an asset."""

    @dg.asset(
        name=f"{name}_embeddings",
        deps=[entry.needs],
        group_name="benchmark",
        kinds={"pytorch", "parquet"},
        description=f"Vectors of every benchmark utterance: {entry.about}. Checked first, never computed twice.",
    )
    def embeddings(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
        from benchmark.embed import embed, load_embeddings
        from benchmark.embedders import check_embedder

        settings = slap.settings()
        embedder = entry.make(settings)
        check_embedder(embedder)
        tars = [tar for part in benchmark_shards(settings).values() for tar in part]
        with tqdm(total=len(tars), desc=f"embed {name}", leave=False) as bar:
            folder = embed(
                embedder,
                tars,
                settings.warehouse / "embeddings",
                progress=lambda done, _: bar.update(done - bar.n),
            )
        vectors = load_embeddings(folder, tars)
        context.log.info(f"{vectors.height} vectors")
        return dg.MaterializeResult(
            metadata={
                "utterances": vectors.height,
                "dimensions": len(vectors["vector"][0]) if vectors.height else 0,
                "fingerprint": embedder.fingerprint,
                "path": dg.MetadataValue.path(str(folder)),
            }
        )

    return embeddings


embedding_assets = [embedding_asset(name, entry) for name, entry in EMBEDDERS.items()]


@dg.asset(
    deps=[f"{name}_embeddings" for name in EMBEDDERS],
    group_name="benchmark",
    kinds={"scikitlearn", "parquet"},
)
def scores(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """Zero-shot and linear-probe predictions and their scores, with intervals over speakers."""
    from benchmark.baselines import AlwaysYes
    from benchmark.evaluate import evaluate

    settings = slap.settings()
    contenders: list[Contender] = [*(entry.make(settings) for entry in EMBEDDERS.values()), AlwaysYes()]
    with tqdm(desc="scores", leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        results = evaluate(
            contenders,
            tasks(settings),
            settings.meta_db,
            benchmark_shards(settings),
            settings.warehouse / "embeddings",
            settings.warehouse / "predictions",
            settings.warehouse / "scores",
            id_key=ingest.id_key(settings.warehouse),
            split_hash=meta.split_hash(settings.meta_db),
            synthetic=meta.synthetic_corpora(settings.meta_db),
            progress=progress,
        )
    scored = sum(score.status == "ok" for score in results)
    context.log.info(f"{scored} scores, {len(results) - scored} missing")
    return dg.MaterializeResult(metadata={"scores": scored, "missing": len(results) - scored})


@dg.asset(
    deps=["scores"],
    group_name="benchmark",
    kinds={"markdown", "html"},
)
def leaderboard(context: dg.AssetExecutionContext, slap: Slap) -> dg.MaterializeResult[None]:
    """The leaderboard: means with intervals, chance, strata, and each task on its own."""
    from benchmark.evaluate import read_scores
    from benchmark.report import write_report

    settings = slap.settings()
    report = write_report(
        read_scores(settings.warehouse / "scores"),
        settings.warehouse / "predictions",
        tasks(settings),
        settings.reports,
        synthetic=bool(meta.synthetic_corpora(settings.meta_db)),
        absent=meta.absent_corpora(settings.meta_db),
    )
    context.log.info(f"{report.complete} tasks complete: {report.html}")
    return dg.MaterializeResult(
        metadata={
            "board": dg.MetadataValue.md(report.markdown.read_text()),
            "complete": report.complete,
            "html": dg.MetadataValue.path(str(report.html)),
        }
    )


def tasks(settings: Settings) -> tuple[Task, ...]:
    """The tasks of this run: all of the paper's, and the open ones of corpora that take part."""
    return tuple(task for task in load_tasks() if task.track == "paper" or task.corpus in common.taking_part(settings))


def benchmark_shards(settings: Settings) -> dict[str, list[Path]]:
    """The tars of every corpus that a task asks for, by corpus."""
    asked = {task.corpus for task in tasks(settings)} & set(settings.corpora)
    return {name: sorted((settings.shards / name).glob("*.tar")) for name in sorted(asked)}
