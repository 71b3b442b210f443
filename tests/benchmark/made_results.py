"""Made-up scores and predictions of a small warehouse, written as the benchmark writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmark import metrics
from benchmark.files import as_parquet
from benchmark.score import Score, as_json
from benchmark.task import Task
from slap_model.store import write

HEARS: Mapping[str, float] = {"slap": 2.0, "control": 1.0, "random": 0.0}  # how far the classes lie apart
SPEAKERS = 40


def made_task(name: str, corpus: str, track: str = "paper") -> Task:
    usual = {"group": "health", "unit": "speaker", "source": "any", "track": track, "corpus": corpus}
    sex = {"positive": "sex = 'female'", "negative": "sex = 'male'"}
    return Task(name=name, **usual, **sex, prompts={"en": (("a man", "a woman"),)})


TASKS = [made_task("ewa_sex", "ewa_db"), made_task("ewa_age", "ewa_db"), made_task("ipvs_sex", "ipvs")]


def made_score(task: Task, embedder: str, mode: str = "probe", **changes: object) -> Score:
    """A score without numbers."""
    score = Score(
        embedder=embedder,
        fingerprint=hashlib.sha256(embedder.encode()).hexdigest(),
        task=task.name,
        group=task.group,
        track=task.track,
        corpus=task.corpus,
        mode=mode,
        status="missing",
        reason="no labelled utterance",
        synthetic=False,
        ood_corpus=task.corpus == "ipvs",
        ood_language=False,
        ood_label=False,
        key=f"{embedder} {task.name} {mode}",
    )
    return replace(score, **changes)  # type: ignore[arg-type]


def made_predictions(task: Task, distance: float, seed: Sequence[int], speakers: int = SPEAKERS) -> pl.DataFrame:
    """Scores of the two classes, ``distance`` standard deviations apart."""
    y = np.arange(speakers) % 2
    score = np.random.default_rng(seed).standard_normal(speakers) + distance * (y - 0.5)
    person = [f"{task.corpus}-{i:03}" for i in range(speakers)]
    return pl.DataFrame(
        {
            "unit_id": person,
            "person": person,
            "split": "test",
            "sex": "female",
            "age": "older",
            "language": "sk",
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.float64),
            "probability": 1 / (1 + np.exp(-score)),
        }
    )


def made_results(
    folder: Path, tasks: Sequence[Task] = TASKS, hears: Mapping[str, float] = HEARS, speakers: int = SPEAKERS
) -> list[Score]:
    """Write scores and predictions of all embedders on all tasks by the probe; the scores, sorted by name."""
    scores = []
    for number, task in enumerate(tasks):
        for embedder, distance in hears.items():
            frame = made_predictions(task, distance, [number, *embedder.encode()], speakers)
            scores.append(keep(folder, made_score(task, embedder), frame))
    return sorted(scores, key=lambda one: (one.embedder, one.mode, one.task))


def keep(folder: Path, score: Score, frame: pl.DataFrame | None) -> Score:
    """Write a score and its predictions; measured, where it has some."""
    place = f"{score.embedder}/{score.task}.{score.mode}"
    if frame is not None:
        content = as_parquet(frame)
        write(folder / "predictions" / f"{place}.parquet", content)
        known = {one.name for one in fields(Score)}
        numbers = {k: v for k, v in asdict(metrics.measure(frame, score.corpus)).items() if k in known}
        hashes = {"manifest": "", "split": "split-1", "data": "data-1", "task": "task-1", "code": "code-1"}
        predictions = {"predictions": hashlib.sha256(content).hexdigest()}
        score = replace(score, status="ok", reason="", **numbers, hashes={**hashes, **score.hashes, **predictions})
    write(folder / "scores" / f"{place}.json", as_json(score))
    return score
