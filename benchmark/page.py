"""What the HTML page draws from, as one JSON object: every score, interval, subgroup and hash.

The page averages the scores itself, over the tasks that its filters leave. An interval of a mean needs the draws
of the bootstrap, too large to ship; so it is computed here for every combination of the filters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from benchmark import intervals
from benchmark.confounds import NAMES as CONFOUNDS
from benchmark.confounds import Flag
from benchmark.results import CHANCE, MUTE, OURS, Results, Run
from benchmark.score import DOMAINS, MODES, Score
from benchmark.task import GROUPS, Task

NUMBERS = (
    *("macro_f1", "macro_f1_low", "macro_f1_high", "f1", "f1_low", "f1_high"),
    *("auroc", "auroc_low", "auroc_high", "balanced_accuracy", "predicted_positive_rate"),
    *("brier", "calibration_error", "n_train_speakers", "n_without_audio", "n_too_weak", "prompt_min", "prompt_max"),
    *("best_prompt", "best_prompt_macro_f1", "best_prompt_macro_f1_low", "best_prompt_macro_f1_high"),
)
HASHES = ("fingerprint", "manifest", "split", "data", "task", "code", "predictions", "key")
AT_ONCE = 32  # sets of tasks whose draws are in memory together

Json = dict[str, Any]


def page_data(
    results: Results,
    *,
    absent: Mapping[str, str],
    absent_embedders: Mapping[str, str],
    about: Mapping[str, str],
    flags: Mapping[str, Sequence[Flag]],
    transfers: pl.DataFrame | None,
    space: Mapping[str, Any] | None,
    synthetic: bool,
) -> Json:
    """All that the page shows, ready for JSON.

    Args:
        results: scores and predictions.
        absent: by corpus, why it takes no part.
        absent_embedders: by embedder, why it could not be loaded.
        about: by embedder, one line on what it is.
        flags: by task, the confounds that answer it; from `benchmark.confounds.flags`.
        transfers: from `benchmark.transfer.read_transfers`.
        space: the content of ``space.json``.
        synthetic: subgroups of rendered voices say nothing, so they are not shown.
    """
    texts = _Numbered()
    return {
        "synthetic": synthetic,
        "modes": MODES,
        "groups": [group for group in GROUPS if any(task.group == group for task in results.tasks)],
        "tracks": list(results.tracks),
        "ours": OURS,
        "embedders": [_embedder(results, name, about) for name in results.embedders],
        "tasks": [_task(results, task, absent, flags.get(task.name, ()), texts, synthetic) for task in results.tasks],
        "runs": [_run(results, run, texts, synthetic) for run in results.runs],
        "numbers": NUMBERS,
        "hashes": HASHES,
        "means": _means(results, flags),
        "absent_embedders": dict(absent_embedders),
        "transfers": _transfers(transfers) if transfers is not None and transfers.height else [],
        "space": space,
        "texts": texts.all,
    }


def as_script(data: Json) -> str:
    """The data as text that may stand inside a script element: nothing in it can close the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


class _Numbered:
    """Long texts that many scores share, each kept once and referred to by number."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, content: Any) -> int:
        key = json.dumps(content, ensure_ascii=False)
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(content)
        return self._places[key]


def _embedder(results: Results, name: str, about: Mapping[str, str]) -> Json:
    kind = "confound" if name in CONFOUNDS else "chance" if name in CHANCE else "model"
    return {"name": name, "about": about.get(name, ""), "kind": kind, "mute": MUTE.get(name, "no text side")}


def _task(
    results: Results,
    task: Task,
    absent: Mapping[str, str],
    flags: Sequence[Flag],
    texts: _Numbered,
    synthetic: bool,
) -> Json:
    score = results.any_score(task.name)
    groups, hidden = ([], 0) if synthetic else results.subgroups(task.name)
    new = results.new(task.name)
    return {
        **{name: getattr(task, name) for name in ("name", "group", "track", "corpus", "unit", "source", "cutoff")},
        "positive": " ".join(task.positive.split()),
        "negative": " ".join(task.negative.split()),
        "prompts": texts.place({language: list(map(list, pairs)) for language, pairs in task.prompts.items()}),
        "language": results.languages[task.name],
        "new": None if new is None else list(new),
        "domains": [
            name for name, lies in DOMAINS.items() if task.name in results.ours and lies(results.ours[task.name])
        ],
        "n": score and score.n,
        "n_speakers": score and score.n_speakers,
        "prevalence": score and _rounded(score.prevalence),
        "chance": score
        and [
            _rounded(value)
            for value in (
                *(score.always_yes_f1, score.always_yes_macro_f1),
                *(score.prior_random_f1, score.prior_random_macro_f1),
            )
        ],
        "protocol": score.protocol if score else "split",
        "repeats": max((one.repeats for one in _of_task(results, task)), default=1),  # a zero-shot has none
        "flags": [
            {
                "confound": flag.confound,
                "macro_f1": _rounded(flag.macro_f1),
                "auroc": _rounded(flag.auroc),
                "auroc_low": _rounded(flag.auroc_low),
                "sentence": flag.sentence,
            }
            for flag in flags
        ],
        "groups": [[one.attribute, one.value, one.n_speakers, _rounded(one.prevalence)] for one in groups],
        "hidden": hidden,
        "pairs": [_pairs(results, mode, task) for mode in MODES],
        "missing": [[modes, reason] for reason, modes in missing(results, task, absent).items()],
    }


def missing(results: Results, task: Task, absent: Mapping[str, str]) -> dict[str, list[str]]:
    """Why a task has no score: by reason, the modes it stands for.

    A confound that has no answer is no gap in the board.
    """
    found: dict[str, list[str]] = {}
    of_task = _of_task(results, task)
    for score in of_task:
        if score.status != "ok":
            modes = found.setdefault(absent.get(task.corpus, score.reason), [])
            modes += [score.mode] if score.mode not in modes else []
    if not of_task:
        found[absent.get(task.corpus, "not scored yet")] = list(MODES)
    return {reason: [mode for mode in MODES if mode in modes] for reason, modes in found.items()}


def _of_task(results: Results, task: Task) -> list[Score]:
    """The scores of a task, with numbers or without, of all but the confounds."""
    runs = [run for run in results.runs if run[0] not in CONFOUNDS]
    return [results.scores[key] for run in runs if (key := (*run, task.name)) in results.scores]


def _pairs(results: Results, mode: str, task: Task) -> Json:
    """Who is separable from whom: a character for each pair of the order, row by row above the diagonal."""
    names, signs, detectable = results.pairs(mode, task.name)
    upper = signs[np.triu_indices(len(names), 1)]
    return {
        "order": [results.embedders.index(name) for name in names],
        "signs": "".join("+" if sign > 0 else "-" if sign < 0 else "0" for sign in upper.tolist()),
        "detectable": _rounded(detectable),
    }


def _run(results: Results, run: Run, texts: _Numbered, synthetic: bool) -> Json:
    embedder, mode = run
    return {
        "embedder": results.embedders.index(embedder),
        "mode": MODES.index(mode),
        "scores": [
            _score(results, score, texts, synthetic) if (score := results.score(*run, task.name)) else None
            for task in results.tasks
        ],
    }


def _score(results: Results, score: Score, texts: _Numbered, synthetic: bool) -> Json:
    hashes = {"fingerprint": score.fingerprint, "key": score.key, **score.hashes}
    found: Json = {
        "v": [_rounded(getattr(score, name)) for name in NUMBERS],
        "h": [texts.place(hashes.get(name, "")) for name in HASHES],
    }
    if not synthetic:
        run = (score.embedder, score.mode)
        found["gap"] = _rounded(results.gap(*run, score.task))
        rates = results.rates(*run, score.task)
        found["groups"] = [[_rounded(value, 3) for value in (one.macro_f1, one.tpr, one.fpr)] for one in rates]
    if score.seeds:
        found["seeds"] = [_rounded(value) for value in score.seeds]
        found["seeds_of"] = score.seeds_of
    if score.learning_curve:
        columns = ("n_speakers", "macro_f1", "low", "high")
        found["curve"] = [[_rounded(point[name]) for name in columns] for point in score.learning_curve]
    if score.prompt_language:
        found["language"] = score.prompt_language
    return found


def _transfers(transfers: pl.DataFrame) -> list[Json]:
    """By label: the corpora, and for each embedder the cells of its matrix."""
    columns = (
        *("train_corpus", "test_corpus", "macro_f1", "macro_f1_low", "macro_f1_high", "f1", "auroc"),
        *("n_train_speakers", "n_speakers", "prevalence", "reason", "n_left_out"),
    )
    found: list[Json] = []
    for (name,), part in transfers.sort("name", "embedder", "train_corpus", "test_corpus").group_by(
        "name", maintain_order=True
    ):
        cells = {
            str(embedder): [[_rounded(value) for value in row] for row in of_it.select(columns).iter_rows()]
            for (embedder,), of_it in part.group_by("embedder", maintain_order=True)
        }
        corpora = sorted({*part["train_corpus"], *part["test_corpus"]})
        found.append({"name": name, "label": part["label"][0], "corpora": corpora, "cells": cells})
    return found


# --- means over every combination of the filters ----------------------------------------------------------------


def _means(results: Results, flags: Mapping[str, Sequence[Flag]]) -> Json:
    """Intervals of the means, for every set of tasks that the page's filters can leave.

    ``sets`` gives the place of a combination "track|group|domain|language|only" in ``intervals``; there, for each
    run: low, high, and of SLAP minus this run: difference, low, high, verdict. None where a task is missing.
    """
    places: dict[tuple[int, ...], int] = {}
    sets = {key: places.setdefault(chosen, len(places)) for key, chosen in _combinations(results, flags) if chosen}
    chosen = list(places)
    return {
        "sets": sets,
        "intervals": [
            row for at in range(0, len(chosen), AT_ONCE) for row in _intervals(results, chosen[at : at + AT_ONCE])
        ],
    }


def _combinations(results: Results, flags: Mapping[str, Sequence[Flag]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    tasks = results.tasks
    domains = {
        name: {i for i, task in enumerate(tasks) if task.name in results.ours and lies(results.ours[task.name])}
        for name, lies in DOMAINS.items()
    }
    scored = {i for i, task in enumerate(tasks) if results.any_score(task.name) is not None}
    clean = {i for i in scored if not flags.get(tasks[i].name)}
    everything = set(range(len(tasks)))
    for track in ("", *results.tracks):
        of_track = {i for i in everything if track in ("", tasks[i].track)}
        for group in ("", *GROUPS):
            of_group = {i for i in of_track if group in ("", tasks[i].group)}
            for domain in ("", *domains):
                of_domain = of_group & domains[domain] if domain else of_group
                for language in ("", *sorted(set(results.languages.values()) - {""})):
                    left = {i for i in of_domain if language in ("", results.languages[tasks[i].name])}
                    for only, among in (("", left), ("scored", left & scored), ("clean", left & clean)):
                        yield f"{track}|{group}|{domain}|{language}|{only}", tuple(sorted(among))


def _intervals(results: Results, sets: Sequence[tuple[int, ...]]) -> list[list[Any]]:
    """For each set and run; all draws of these sets are in memory at once."""
    weights = np.zeros((len(sets), len(results.tasks)))
    for row, chosen in enumerate(sets):
        weights[row, list(chosen)] = 1 / len(chosen)
    runs, tasks = results.observed.shape
    there = ~np.isnan(results.observed)
    complete = np.array([there[:, list(chosen)].all(axis=1) for chosen in sets])  # [sets, runs]
    drawn = np.nan_to_num(results.drawn).transpose(1, 0, 2).reshape(tasks, -1)
    observed, unbiased = (weights @ np.nan_to_num(one).T for one in (results.observed, results.unbiased))
    sizes = np.array([[len(chosen)] for chosen in sets])
    means = intervals.centred((weights @ drawn).reshape(len(sets), runs, -1), unbiased, sizes)
    low, high = np.clip(intervals.limits(means, observed), 0.0, 1.0)  # a mean is moved by its bias, past 1 at times
    found: list[list[Any]] = [
        [[_rounded(low[s, r]), _rounded(high[s, r])] if complete[s, r] else None for r in range(runs)]
        for s in range(len(sets))
    ]
    for mode in MODES:
        of_mode = [results.runs.index((name, mode)) for name in results.judged(mode)]
        if not results.has(OURS, mode):
            continue
        ours = results.runs.index((OURS, mode))
        others = [run for run in of_mode if run != ours]
        differences = means[:, [ours]] - means[:, others]
        seen = observed[:, [ours]] - observed[:, others]
        (below, above), p = intervals.limits(differences, seen), intervals.p_values(differences)
        for s in range(len(sets)):
            ready = [i for i, run in enumerate(others) if complete[s, run] and complete[s, ours]]
            if not ready:
                continue
            for i, adjusted in zip(ready, intervals.holm(p[s, ready]), strict=True):
                difference = float(seen[s, i])
                apart = adjusted < 1 - intervals.LEVEL / 100
                verdict = ("above" if difference > 0 else "below") if apart else "not separable"
                numbers = (difference, below[s, i], above[s, i])
                found[s][others[i]] += [*(_rounded(number) for number in numbers), verdict]
    return found


def _rounded(value: Any, digits: int = 5) -> Any:
    """Numbers as short as the page can use; None for what is not a number."""
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    return round(number, digits) if np.isfinite(number) else None
