"""Made-up results: each embedder hears the label through its own amount of noise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmark import evaluate, metrics
from benchmark.evaluate import Score, board, read_scores
from benchmark.report import SYNTHETIC, Report, write_report
from benchmark.task import Task

HEARS: Mapping[str, Mapping[str, float]] = {  # how far the classes lie apart, in standard deviations
    "slap": {"zero-shot": 1.5, "probe": 2.0},
    "control": {"probe": 2.0},
    "untrained": {"zero-shot": 0.0, "probe": 0.5},
    "mel-statistics": {"probe": 4.0},
    "random": {"zero-shot": 0.0, "probe": 0.0},
    "always-yes": {"zero-shot": 0.0, "probe": 0.0},
}


def task(name: str, group: str = "health", track: str = "paper", corpus: str = "") -> Task:
    return Task(
        name=name,
        group=group,
        track=track,
        corpus=corpus or name.partition("_")[0],
        positive="sex = 'female'" if name.endswith("_sex") else "parkinson = 'present'",
        negative="sex = 'male'" if name.endswith("_sex") else "parkinson = 'absent'",
        unit="speaker",
        source="any",
        prompts={"en": (("low", "high"), ("down", "up"))},
    )


TASKS = [
    task("ewa_parkinson"),
    task("ewa_sex", "demographic"),
    task("pvqd_roughness", "voice"),
    task("voc_als"),
    task("libri_sex", "demographic", "open"),
]


def write_results(
    folder: Path,
    tasks: Sequence[Task],
    *,
    synthetic: bool = False,
    speakers: int = 60,
    hears: Mapping[str, Mapping[str, float]] = HEARS,
) -> list[Score]:
    """Predictions and scores of every embedder on every task, written as `evaluate` writes them."""
    for number, one in enumerate(tasks):
        for embedder, modes in hears.items():
            for mode, distance in modes.items():
                place = f"{embedder}/{one.name}.{mode}"
                frame = predicted(one, embedder, distance, number, speakers)
                if mode == "probe":
                    frame = frame.drop("prompt_0", "prompt_1")
                content = evaluate._as_parquet(frame)
                evaluate._write(folder / "predictions" / f"{place}.parquet", content)
                single = (0.4, 0.7) if mode == "zero-shot" else (None, None)
                score = replace(
                    empty(one, embedder, mode),
                    status="ok",
                    synthetic=synthetic,
                    **asdict(metrics.measure(frame, one.corpus)),
                    n_train_speakers=100 if mode == "probe" else None,
                    n_without_audio=0,
                    prompt_min=single[0],
                    prompt_max=single[1],
                    hashes={"predictions": hashlib.sha256(content).hexdigest()},
                )
                evaluate._write(folder / "scores" / f"{place}.json", evaluate._as_json(score))
    return read_scores(folder / "scores")


def empty(one: Task, embedder: str, mode: str) -> Score:
    new = one.corpus != "ewa"
    return Score(
        embedder=embedder,
        fingerprint=f"fingerprint of {embedder}",
        task=one.name,
        group=one.group,
        track=one.track,
        corpus=one.corpus,
        mode=mode,
        status="missing",
        reason="no labelled utterance",
        synthetic=False,
        ood_corpus=new or embedder != "slap",
        ood_language=new,
        ood_label=False,
    )


def predicted(one: Task, embedder: str, distance: float, number: int, speakers: int) -> pl.DataFrame:
    rng = np.random.default_rng([number, *embedder.encode()])
    y = np.arange(speakers) % 2
    score = rng.standard_normal(speakers) + distance * (y - 0.5)
    if embedder == "always-yes":
        score = np.ones(speakers)
    person = [f"{one.corpus}{i:03}" for i in range(speakers)]
    ages = np.where(np.arange(speakers) % 4 < 2, "young", "older")
    return pl.DataFrame(
        {
            "unit_id": person,
            "person": person,
            "split": "test",
            "sex": np.where(np.arange(speakers) % 3 < 2, "female", "male"),
            "age": ages,
            "language": "en",
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.int8),
            "prompt_0": (score > 0).astype(np.int8),
            "prompt_1": (score > 0.5).astype(np.int8),
        }
    )


def report(
    folder: Path, tasks: Sequence[Task], scores: Sequence[Score], *, synthetic: bool = False, **absent: str
) -> Report:
    out = folder / "reports"
    return write_report(scores, folder / "predictions", tasks, out, synthetic=synthetic, absent=absent)
