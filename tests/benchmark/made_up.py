"""Made-up results as `evaluate` writes them: each embedder hears the label through its own amount of noise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl

from benchmark import confounds, metrics
from benchmark.score import Score, read_scores
from benchmark.task import Task

HEARS: Mapping[str, Mapping[str, float]] = {  # how far the classes lie apart, in standard deviations
    "slap": {"zero-shot": 1.5, "probe": 2.0},
    "control": {"probe": 2.0},
    "untrained": {"zero-shot": 0.0, "probe": 0.5},
    "mel-statistics": {"probe": 4.0},
    "random": {"zero-shot": 0.0, "probe": 0.0},
    "always-yes": {"zero-shot": 0.0, "probe": 0.0},
}
TWELVE: Mapping[str, Mapping[str, float]] = {
    **HEARS,
    "mfcc-statistics": {"probe": 1.8},
    "egemaps": {"probe": 1.9},
    "whisper-medium": {"probe": 2.3},
    "wavlm-base": {"probe": 2.2},
    "laion-clap": {"zero-shot": 0.4, "probe": 1.2},
    "resemblyzer": {"probe": 1.5},
    "confound-recording": {"probe": 0.9},
    "confound-silence": {"probe": 0.1},
}
PAIRS = (("A calm person speaks.", "An anxious person speaks."), ("A quiet voice.", "A <loud> voice & more."))
GROUPS = ("health", "demographic", "voice")
LANGUAGES = ("en", "fr", "it", "es-ES", "de", "zh")


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
        prompts={"en": PAIRS},
        cutoff="UPDRS >= 30 (Goetz et al. 2008)",
    )


def many_tasks(count: int) -> list[Task]:
    """Two tasks a corpus, half of them on the paper track."""
    return [
        task(f"c{i // 2:02}_{'sex' if i % 2 else 'illness'}", GROUPS[i % 3], "paper" if i < count / 2 else "open")
        for i in range(count)
    ]


def write_results(
    folder: Path,
    tasks: Sequence[Task],
    *,
    synthetic: bool = False,
    speakers: int = 60,
    hears: Mapping[str, Mapping[str, float]] = HEARS,
) -> list[Score]:
    """Predictions and scores of every embedder on every task."""
    for number, one in enumerate(tasks):
        for embedder, modes in hears.items():
            for mode, distance in modes.items():
                write_result(
                    folder, one, embedder, mode, predicted(one, embedder, distance, number, speakers), synthetic
                )
    return read_scores(folder / "scores")


def write_result(
    folder: Path, one: Task, embedder: str, mode: str, frame: pl.DataFrame, synthetic: bool = False
) -> None:
    """One score and its predictions."""
    place = f"{embedder}/{one.name}.{mode}"
    frame = frame.drop("prompt_0", "prompt_1") if mode == "probe" else frame
    file = folder / "predictions" / f"{place}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(file)
    numbers = asdict(metrics.measure(frame, one.corpus))
    macro = numbers["macro_f1"]
    score = replace(
        empty(one, embedder, mode),
        status="ok",
        synthetic=synthetic,
        **numbers,
        **(of_probe(macro) if mode == "probe" else of_prompts(macro)),
        **(of_confound(frame) if embedder in confounds.NAMES else {}),
        protocol="folds" if one.corpus == "c00" else "split",
        repeats=5 if one.corpus == "c00" and mode == "probe" else 1,
        n_without_audio=0,
        hashes={name: digest(name, place) for name in ("manifest", "split", "data", "task", "code", "predictions")},
        key=digest("key", place),
    )
    kept = folder / "scores" / f"{place}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(score)))


def of_probe(macro: float) -> dict[str, object]:
    sizes = (10, 20, 40)
    curve = [{"n_speakers": n, "macro_f1": macro * n / 40, "low": macro * n / 50, "high": macro} for n in sizes]
    return {
        "n_train_speakers": 100,
        "seeds": [macro, macro * 0.95, macro * 0.9],
        "seeds_of": "folds",
        "learning_curve": curve,
    }


def of_confound(frame: pl.DataFrame) -> dict[str, object]:
    return {"chance_p": confounds.chance_p(frame), "told_by": {"sample rate": 0.8}}


def of_prompts(macro: float) -> dict[str, object]:
    honest = {f"best_prompt_macro_f1{end}": macro for end in ("", "_low", "_high")}
    return {"prompt_min": 0.4, "prompt_max": 0.7, "n_prompts": 2, "best_prompt": 1, "prompt_language": "en", **honest}


def digest(*parts: str) -> str:
    return sha256("/".join(parts).encode()).hexdigest()


def empty(one: Task, embedder: str, mode: str) -> Score:
    new = one.corpus not in ("ewa", "c00", "c01", "c02")
    return Score(
        embedder=embedder,
        fingerprint=digest("fingerprint", embedder),
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
            "language": "en" if one.corpus == "ewa" else LANGUAGES[number // 2 % len(LANGUAGES)],
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.float64),
            "probability": 1 / (1 + np.exp(-score)),
            "prompt_0": (score > 0).astype(np.int8),
            "prompt_1": (score > 0.5).astype(np.int8),
        }
    )


def transfers() -> pl.DataFrame:
    """As `benchmark.transfer.read_transfers` gives them: the diagonal is highest, one cell is missing."""
    return pl.DataFrame(list(_cells()), infer_schema_length=None)


def _cells() -> Iterator[dict[str, object]]:
    for name, corpora in {"parkinson": ("ewa", "pvqd", "voc"), "sex": ("ewa", "libri")}.items():
        for embedder, base in {"slap": 0.8, "mel-statistics": 0.65}.items():
            for train in corpora:
                for test in corpora:
                    there = (train, test) != ("voc", "pvqd")
                    value = base - 0.2 * (train != test) - 0.01 * len(test)
                    numbers = {
                        **{"f1": value, "macro_f1": value, "macro_f1_low": value - 0.1, "macro_f1_high": value + 0.1},
                        **{
                            "auroc": value,
                            "n_train_speakers": 80,
                            "n_left_out": 3,
                            "n_speakers": 40,
                            "prevalence": 0.5,
                        },
                    }
                    yield {
                        **{"embedder": embedder, "name": name, "label": name},
                        **{"train_corpus": train, "test_corpus": test, "status": "ok" if there else "missing"},
                        "reason": "" if there else "no negative utterance in the train split",
                        **{key: number if there else None for key, number in numbers.items()},
                        "key": digest(name, embedder, train, test),
                    }


def space() -> dict[str, object]:
    """As `benchmark.space.read` gives it: two groups left and right, and one group in the middle."""
    grid = 32

    def cells(centre: int) -> str:
        return "".join(str(max(0, 9 - abs(i % grid - centre) - abs(i // grid - 16))) for i in range(grid * grid))

    def group(name: str, n: int, centre: int) -> dict[str, object]:
        return {"name": name, "n": n, "cells": cells(centre)}

    attributes = {
        "sex": {"neighbours": 0.81, "chance": 0.5, "categories": [group("female", 60, 10), group("male", 50, 22)]},
        "language": {"neighbours": 0.4, "chance": 0.4, "categories": [group("en", 110, 16)]},
    }
    made = {"n_speakers": 110, "n_left_out": 0, "method": "t-SNE of 50 components", "grid": grid, "key": "k"}
    return {name: {**made, "attributes": attributes} for name in ("slap", "random")}
