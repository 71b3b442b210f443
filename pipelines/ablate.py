"""Run the ablations of `benchmark.ablation` on the warehouse of this project."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.ablation import AblationError, Arm, Bench, Result, Run, plan, run_all, study
from benchmark.ablation_report import Setup, write_report
from pipelines import ingest, meta
from pipelines.settings import Settings
from slap_model import store

if TYPE_CHECKING:
    from benchmark.task import Task

FOLDER = "ablations"  # of all runs, in the warehouse


def bench(settings: Settings, tasks: Sequence[Task], shards: Mapping[str, Sequence[Path]]) -> Bench:
    """What the arms are trained from and judged on: the last run's manifest, and its test speakers.

    Args:
        settings: of the last run.
        tasks: all that this run has.
        shards: tars by corpus.

    Raises:
        AblationError: there was no run up to the manifest.
    """
    note = settings.manifests / "current"
    if not store.exists(note) or not settings.meta_db.is_file():
        raise AblationError(f"{settings.store} has no manifest: `slap run` (or `slap demo`) first")
    return Bench(
        manifest=note.with_name(store.content(note).decode()),
        tasks=[task for task in tasks if task.corpus in shards],
        meta_db=settings.meta_db,
        shards=shards,
        id_key=ingest.id_key(settings.warehouse),
        split_hash=meta.split_hash(settings.meta_db),
        synthetic=frozenset(meta.synthetic_corpora(settings.meta_db)),
    )


def ablate(
    settings: Settings,
    judged: Bench,
    arms: Sequence[Arm],
    seeds: int,
    jobs: int = 1,
    say: Callable[[str], object] = print,
) -> tuple[Path | None, int]:
    """Train and judge every arm with every seed; the report is written after each round of seeds.

    Args:
        settings: of the last run; its configuration and overrides are what the arms change.
        judged: from `bench`.
        arms: the reference first.
        seeds: how many.
        jobs: trainings at a time.
        say: is told what happens.

    Returns:
        The report, None where the reference failed; and how many runs failed.
    """
    setup = Setup(settings.config, settings.overrides, json.loads(judged.manifest.read_text()))
    runs = plan(arms, range(seeds), settings.config, settings.overrides, judged.manifest, settings.warehouse / FOLDER)
    written: list[Path] = []

    def report(results: Mapping[Run, Result]) -> None:
        found = study(arms, results, judged)
        if found is not None:
            written[:] = [write_report(found, setup, settings.reports)]
            say(f"{len(found.seeds)} of {seeds} seeds: {written[0]}")

    results = run_all(runs, judged, jobs, say, report)
    return (written[0] if written else None), len(runs) - len(results)
