"""Draw the board: the page, the exports for other programs, and the map of each embedding space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines import meta
from pipelines.settings import Settings
from slap_model import store

if TYPE_CHECKING:
    from benchmark.citation import Source
    from benchmark.report import Report
    from benchmark.score import Score
    from benchmark.task import Task


@dataclass(frozen=True)
class Drawn:
    """What was written.

    Attributes:
        report: the page.
        pictures: Markdown with the means as pictures, as Dagster shows them; "" while a task is missing.
        n_scores: rows of the exports.
    """

    report: Report
    pictures: str
    n_scores: int


def draw(
    settings: Settings,
    tasks: Sequence[Task],
    shards: Mapping[str, Sequence[Path]] | None,
    *,
    absent_embedders: Mapping[str, str],
) -> Drawn | None:
    """Write everything in ``reports/`` from the scores that are there; None where there is no score.

    Args:
        settings: where they are.
        tasks: all that the board should have.
        shards: by corpus, the tars that every embedder embedded; None leaves out the map.
        absent_embedders: by embedder, why it could not be made.
    """
    from benchmark import export, picture, space
    from benchmark.report import SYNTHETIC, write_report
    from benchmark.results import Results
    from benchmark.score import read_scores
    from benchmark.transfer import read_transfers

    scores = read_scores(settings.warehouse / "scores")
    if not scores:
        return None
    predictions = settings.warehouse / "predictions"
    transfers = read_transfers(settings.warehouse / "scores")
    absent = meta.absent_corpora(settings.meta_db)
    synthetic = bool(meta.synthetic_corpora(settings.meta_db))
    if shards is not None:
        folders = _folders(scores, settings.embeddings)
        space.write(folders, shards, settings.meta_db, settings.reports)
    report = write_report(
        scores,
        predictions,
        tasks,
        settings.reports,
        synthetic=synthetic,
        absent=absent,
        absent_embedders=absent_embedders,
        transfers=transfers,
        space=space.read(settings.reports) or None,
    )
    results = Results(scores, predictions, tasks)
    export.write(results, settings.reports, absent=absent, sources=_sources(settings), transfers=transfers)
    said = SYNTHETIC if synthetic or any(score.synthetic for score in results.scores.values()) else ""
    return Drawn(report, picture.markdown(results, said), len(results.scores))


def _folders(scores: Sequence[Score], embeddings: Path) -> dict[str, Path]:
    """The vectors of every embedder on the board that has some; the confounds and the constants have none."""
    named = {score.embedder: embeddings / f"{score.embedder}-{score.fingerprint[:12]}" for score in scores}
    return {name: folder for name, folder in sorted(named.items()) if store.listing(folder, "*.parquet")}


def _sources(settings: Settings) -> dict[str, Source]:
    from benchmark.citation import Source

    return {name: Source(corpus.title, corpus.citation, corpus.homepage) for name, corpus in settings.corpora.items()}
