"""One score, and the files that scores and predictions are kept in."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path

from benchmark.files import file_hash

MODES = ("zero-shot", "probe")
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "zero-shot": ("always-yes", "random"),
    "probe": ("untrained", "random"),
}


@dataclass(frozen=True)
class Score:
    """One line of the results: how one embedder did on one task in one mode.

    Attributes:
        embedder, fingerprint: who.
        task, group, track, corpus: on what; from the task file.
        mode: zero-shot or probe.
        status: ok, or missing with a ``reason``; then every number below that needs predictions is None.
        synthetic: whether the corpus is its rendered miniature, not recordings of people.
        f1 .. prevalence: see `metrics.Metrics`.
        protocol: "split" (learn on train and dev, judge test) or "folds" (a small corpus that no model was
            trained on: every person is judged once a repeat, by a probe that did not hear the person).
        repeats: of the folds; 1 with a split.
        prior_random_f1, prior_random_macro_f1: expected of saying yes at random as often as yes is true.
        brier, calibration_error: of the probabilities; None where the embedder gives none.
        best_prompt, best_prompt_macro_f1 (_low, _high): the single pair that is best on the training split, from
            0, and what it earns on the test split; None in the probe.
        seeds: macro-F1 under other seeds; of the probe only.
        seeds_of: what the seeds deal out anew: "folds" (each repeat alone), "split" (persons into train and test,
            as many as now), or "inner folds" (those that choose C, where the split is fixed).
        learning_curve: rows {n_speakers, macro_f1, low, high}: the probe trained on fewer speakers, mean, lowest
            and highest of several draws.
        n_too_weak: labelled utterances left out because who labelled them is less than the task's ``source``.
        chance_p: of a confound: how likely scores that know nothing of the label do as well; `confounds.chance_p`.
        told_by: of a confound: the properties that differ between the classes, with the AUROC of each alone.
        n_train_speakers: persons the probe learned from; None in zero-shot.
        n_without_audio: labelled test utterances that are in no shard and so not judged.
        prompt_min, prompt_max: macro-F1 of the worst and the best single prompt pair; None in the probe.
        n_prompts, prompt_language: of the pairs used; None in the probe.
        ood_corpus, ood_language, ood_label: whether the embedder's training lacked the corpus, every
            language of the test split, the attribute of the positive class; ood_language is None while
            the task has no test utterance.
        key: hash of all that the score depends on; the same key is not computed again.
        hashes: manifest (of the embedder's training, empty when none), split, data (labels and audio),
            task, code, predictions (of the Parquet file, empty when missing).
    """

    embedder: str
    fingerprint: str
    task: str
    group: str
    track: str
    corpus: str
    mode: str
    status: str
    reason: str
    synthetic: bool
    ood_corpus: bool
    ood_language: bool | None
    ood_label: bool
    f1: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    macro_f1: float | None = None
    macro_f1_low: float | None = None
    macro_f1_high: float | None = None
    balanced_accuracy: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    brier: float | None = None
    calibration_error: float | None = None
    predicted_positive_rate: float | None = None
    always_yes_f1: float | None = None
    always_yes_macro_f1: float | None = None
    prior_random_f1: float | None = None
    prior_random_macro_f1: float | None = None
    protocol: str = "split"
    repeats: int = 1
    n: int | None = None
    n_speakers: int | None = None
    n_train_speakers: int | None = None
    n_without_audio: int | None = None
    prevalence: float | None = None
    prompt_min: float | None = None
    prompt_max: float | None = None
    n_prompts: int | None = None
    best_prompt: int | None = None
    best_prompt_macro_f1: float | None = None
    best_prompt_macro_f1_low: float | None = None
    best_prompt_macro_f1_high: float | None = None
    seeds: Sequence[float] | None = None
    seeds_of: str | None = None
    learning_curve: Sequence[Mapping[str, float]] | None = None
    n_too_weak: int | None = None
    chance_p: float | None = None
    told_by: Mapping[str, float] | None = None
    prompt_language: str | None = None
    key: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


# What of a task an embedder's training lacked.
DOMAINS: Mapping[str, Callable[[Score], bool]] = {
    "in-domain": lambda score: not score.ood_corpus,
    "out-of-domain": lambda score: score.ood_corpus,
    "new-language": lambda score: bool(score.ood_language),
    "new-label": lambda score: score.ood_label,
}


def read_scores(folder: Path) -> list[Score]:
    """All scores kept in ``folder``, sorted by embedder, mode and task.

    What an older version of the benchmark wrote and this one cannot read is left out: it is computed again.
    """
    found = [score for file in folder.glob("*/*.json") if (score := parse(file.read_bytes())) is not None]
    return sorted(found, key=lambda score: (score.embedder, score.mode, score.task))


def parse(content: bytes) -> Score | None:
    """A score from the content of its file; None where it is cut off, or lacks a field that a score must have."""
    try:
        document = json.loads(content)
    except ValueError:
        return None
    if not isinstance(document, dict) or not set(document) >= _REQUIRED:
        return None
    return Score(**{name: value for name, value in document.items() if name in _FIELDS})


_FIELDS = frozenset(one.name for one in fields(Score))
_REQUIRED = frozenset(one.name for one in fields(Score) if one.default is MISSING and one.default_factory is MISSING)


def stored(score_file: Path, predictions_file: Path, key: str) -> Score | None:
    """The score kept under the same key, when its predictions are there too and unchanged."""
    score = parse(score_file.read_bytes()) if score_file.exists() else None
    if score is None or score.key != key:
        return None
    whole = score.status == "missing" or (
        predictions_file.exists() and file_hash(predictions_file) == score.hashes.get("predictions")
    )
    return score if whole else None


def as_json(score: Score) -> bytes:
    """A score as it is kept."""
    return json.dumps(asdict(score), indent=1, allow_nan=False).encode()


def prune(folder: Path, ending: str, expected: Collection[tuple[str, str]]) -> None:
    """Remove files of embedders and tasks that left the board, and folders that this empties.

    Args:
        folder: of scores or predictions.
        ending: of the files' names.
        expected: (embedder, name without ending) of those that stay.
    """
    for file in folder.glob(f"*/*{ending}"):
        if (file.parent.name, file.name.removesuffix(ending)) not in expected:
            file.unlink()
            if not any(file.parent.iterdir()):
                file.parent.rmdir()
