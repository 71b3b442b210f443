"""What the model hears in one recording, in the benchmark's questions: ``slap describe``.

Each task's zero-shot score of the recording (cosine with the positive minus with the negative prompts) becomes a
probability by Platt's method (1999): a logistic curve through this run's own zero-shot predictions on the speakers of
the task. Both classes weigh the same in it, and every speaker the same in a class: the probability is that of somebody
of whom it was a toss-up before they spoke (base rate 0.5). Real base rates of illness are far lower; ``--base-rate``
moves the probability to them by Bayes' rule. The curve is made of what the benchmark judged, for most tasks the mean
over a speaker's utterances: one recording alone says less than its probability.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.embed import embed_waves
from benchmark.files import file_hash
from benchmark.score import Score, read_scores
from benchmark.task import GROUPS, TASKS, Task, load_tasks
from benchmark.zeroshot import embed_prompts, zero_shot
from pipelines import audio
from pipelines.collection import CollectionError, Model
from slap_model.card import OUT_OF_SCOPE

if TYPE_CHECKING:
    Numbers = npt.NDArray[np.float64]

BaseRates = Mapping[str, float]  # name of a prompt set -> share of people for whom its positive side is true
TOSS_UP = 0.5
FOLDS = 5
NOT_JUDGED = "no calibration: not judged on this task"
NOT_A_DIAGNOSIS = (
    "What follows is no diagnosis and no screening result. It comes from a model whose errors on the benchmark stand "
    "beside each line; it may not guide any decision about a person."
)
RENDERED = "calibrated on voices rendered by a speech synthesiser: it shows the machinery and means nothing for people"


@dataclass(frozen=True)
class Curve:
    """A score as a probability, with equal weight on both classes: ``1 / (1 + exp(-(slope * score + shift)))``.

    Attributes:
        slope, shift: of the logistic curve.
        low, high: the lowest and the highest score that it was fitted on; beyond them it stays level, as nobody was
            judged there.
        brier: mean squared error on speakers that the curve was not fitted on, both classes weighing the same:
            0.25 is knowing nothing; None where there are too few speakers.
    """

    slope: float
    shift: float
    low: float
    high: float
    brier: float | None

    def probability(self, score: float, base_rate: float = TOSS_UP) -> float:
        """Of the positive class, for somebody of whom it is true with ``base_rate`` before they speak."""
        odds = (
            self.slope * min(max(score, self.low), self.high) + self.shift + float(np.log(base_rate / (1 - base_rate)))
        )
        return float(1 / (1 + np.exp(-odds)))


@dataclass(frozen=True)
class Answer:
    """One task asked of the recording.

    Attributes:
        task, question, group, corpus: of the benchmark; ``question`` is the name of its set of prompts.
        negative, positive: the first pair of prompts.
        score: cosine with the positive minus with the negative prompts.
        probability: of the positive side at ``base_rate``; None without calibration.
        base_rate: before the recording was heard.
        note: why there is no probability, or what must be known of it.
        separable: whether the lower end of the interval of the task's AUROC is above 0.5.
        beyond: whether the score lies outside those of the task's speakers: the recording may be of another kind.
        macro_f1, macro_f1_low, macro_f1_high, auroc, auroc_low: of the task, zero-shot, intervals over speakers.
        n_speakers, prevalence: whom the calibration saw.
        brier: see `Curve`.
    """

    task: str
    question: str
    group: str
    corpus: str
    negative: str
    positive: str
    score: float
    probability: float | None = None
    base_rate: float = TOSS_UP
    note: str = ""
    separable: bool = False
    beyond: bool = False
    macro_f1: float | None = None
    macro_f1_low: float | None = None
    macro_f1_high: float | None = None
    auroc: float | None = None
    auroc_low: float | None = None
    n_speakers: int | None = None
    prevalence: float | None = None
    brier: float | None = None


@dataclass(frozen=True)
class Profile:
    """All answers for one recording, in the order of the groups."""

    file: str
    seconds: float
    model: str
    answers: Sequence[Answer]


def describe(
    warehouse: Path, model: Model, file: Path, *, health: bool = False, base_rates: BaseRates | None = None
) -> Profile:
    """Ask every task of the benchmark of one recording.

    Args:
        warehouse: with the scores and predictions of this model, if there are any.
        model: from `collection.load_model`.
        file: the recording.
        health: ask the questions of the group health, too.
        base_rates: instead of 0.5.

    Raises:
        CollectionError: the recording cannot be read, or a base rate is of no question or no share.
        NoTextError: the model was trained without language.
    """
    sets = {row["name"]: row["prompts"] for row in tomllib.loads(TASKS.read_text(encoding="utf-8"))["task"]}
    rates = dict(base_rates or {})
    if unknown := sorted(set(rates) - set(sets.values())):
        raise CollectionError(f"no question {unknown[0]!r}; known: {', '.join(sorted(set(sets.values())))}")
    try:
        wave = audio.load(file, rate=model.slap.sample_rate)
    except audio.AudioError as error:
        raise CollectionError(f"{file}: {error}") from error
    tasks = [task for task in load_tasks() if health or task.group != "health"]
    scores = _scores(warehouse, model)
    asked = {task.name: _pairs(task, scores.get(task.name)) for task in tasks}
    prompts = embed_prompts(model.embedder, [text for pairs in asked.values() for pair in pairs for text in pair])
    joint = model.slap.project(np.stack(embed_waves(model.embedder, [wave])))
    answers = []
    for task in sorted(tasks, key=lambda one: (GROUPS.index(one.group), sets[one.name], one.name)):
        heard = float(zero_shot(joint, asked[task.name], prompts).ensemble[0])
        answers.append(_answer(warehouse, task, sets[task.name], heard, scores.get(task.name), rates))
    name = f"{model.folder.parent.name}/{model.folder.name}" if model.slap.card.get("step") else model.folder.name
    return Profile(file.name, len(wave) / model.slap.sample_rate, name, answers)


def base_rates(given: Sequence[str]) -> dict[str, float]:
    """Base rates of questions from ``name=share``.

    Raises:
        CollectionError: one has another form, or no share between 0 and 1.
    """
    rates: dict[str, float] = {}
    for one in given:
        name, _, share = one.partition("=")
        try:
            rates[name] = float(share)
        except ValueError:
            rates[name] = float("nan")
        if not 0 < rates[name] < 1:
            raise CollectionError(f"base rate {one!r}: NAME=SHARE with a share between 0 and 1 is wanted")
    return rates


def fit(scores: Numbers, y: npt.NDArray[np.int8], person: npt.NDArray[np.str_]) -> Curve:
    """Platt's curve through scores [n] with labels [n] of persons [n]; both classes must be there."""
    slope, shift = _platt(scores, y, person)
    return Curve(slope, shift, float(scores.min()), float(scores.max()), _held_out(scores, y, person))


def as_text(profile: Profile, *, everything: bool = False) -> str:
    """The profile for a terminal: a line for each question, by the task with the most speakers."""
    lines = [f"{profile.file}: {profile.seconds:.1f} s, heard by {profile.model}", ""]
    groups = list(dict.fromkeys(answer.group for answer in profile.answers))
    if "health" in groups:
        lines += [NOT_A_DIAGNOSIS, ""]
    lines += [OUT_OF_SCOPE, ""]
    left_out = []
    for group in groups:
        lines.append(group)
        questions = list(dict.fromkeys(one.question for one in profile.answers if one.group == group))
        for question in questions:
            of_it = [one for one in profile.answers if one.question == question and one.group == group]
            told = [one for one in of_it if one.probability is not None and (one.separable or everything)]
            judged = [one for one in of_it if one.probability is not None]
            if told:
                lines += _lines(question, told)
            elif judged:
                left_out.append(question)
            else:
                lines.append(f"  {question:22s} {of_it[0].note}")
        lines.append("")
    if left_out:
        lines.append(
            f"{len(left_out)} questions left out, as the model's score on them cannot be told from chance "
            f"(--all shows them): {', '.join(left_out)}"
        )
    if "health" not in groups:
        lines.append("Questions of health are asked with --health.")
    lines.append(
        "Each probability is for somebody of whom it was a toss-up before they spoke (--base-rate NAME=SHARE changes "
        "it), by the benchmark's speakers, whose recordings may differ from yours."
    )
    if any(RENDERED in answer.note for answer in profile.answers):
        lines.append(f"Here it is {RENDERED}.")
    return "\n".join(lines)


def as_json(profile: Profile) -> dict[str, Any]:
    """The profile as JSON can say it, with its warnings first."""
    asks_health = any(answer.group == "health" for answer in profile.answers)
    warnings = [*([NOT_A_DIAGNOSIS] if asks_health else []), OUT_OF_SCOPE]
    return {"warnings": warnings, **asdict(profile)}


# --- small parts ----------------------------------------------------------------------------------------------


def _lines(question: str, told: Sequence[Answer]) -> list[str]:
    """The more likely side; the task with the most speakers speaks for a question: choosing the best would flatter."""
    first = max(told, key=lambda one: (one.separable, one.n_speakers or 0, one.task))
    yes = (first.probability or 0.0) >= 0.5
    ordered = [first, *(one for one in told if one is not first)]
    sides = [one.probability if yes else 1 - one.probability for one in ordered if one.probability is not None]
    others = len(told) - 1
    span = f"; {others} other task{'s' * (others > 1)}: {min(sides[1:]):.2f} to {max(sides[1:]):.2f}" if others else ""
    rate = "" if first.base_rate == TOSS_UP else f" (base rate of the other side {first.base_rate:g})"
    if yes and rate:
        rate = f" (base rate {first.base_rate:g})"
    chance = "" if first.separable else " [not to be told from chance]"
    chance += " [beyond every speaker who was judged]" if first.beyond else ""
    brier = "" if first.brier is None else f", held-out Brier {first.brier:.2f}"
    interval = f"{first.macro_f1_low:.2f} to {first.macro_f1_high:.2f}"
    share = f"{first.n_speakers} speakers, {100 * (first.prevalence or 0):.0f} % positive"
    return [
        f"  {question:22s} {sides[0]:.2f}  {first.positive if yes else first.negative}{rate}{chance}",
        f"  {'':22s} {first.task}: macro-F1 {first.macro_f1:.2f} ({interval}), {share}{brier}{span}",
    ]


def _scores(warehouse: Path, model: Model) -> dict[str, Score]:
    """This model's zero-shot scores, by task."""
    known = set(model.slap.fingerprints.values())
    return {
        score.task: score
        for score in read_scores(warehouse / "scores")
        if score.embedder == model.embedder.name and score.mode == "zero-shot" and score.fingerprint in known
    }


def _pairs(task: Task, score: Score | None) -> Sequence[tuple[str, str]]:
    language = score.prompt_language if score is not None and score.prompt_language else "en"
    return task.pairs(language)[1]


def _answer(warehouse: Path, task: Task, question: str, heard: float, score: Score | None, rates: BaseRates) -> Answer:
    negative, positive = _pairs(task, score)[0]
    rate = rates.get(question, TOSS_UP)
    bare = Answer(task.name, question, task.group, task.corpus, negative, positive, heard, base_rate=rate)
    predictions = _predictions(warehouse, task, score)
    if score is None or isinstance(predictions, str):
        return Answer(**{**asdict(bare), "note": predictions if isinstance(predictions, str) else NOT_JUDGED})
    columns = (predictions[name].to_numpy() for name in ("score", "y", "person"))
    curve = fit(*columns)
    known = ("macro_f1", "macro_f1_low", "macro_f1_high", "auroc", "auroc_low", "n_speakers", "prevalence")
    return Answer(
        **{
            **asdict(bare),
            **{name: getattr(score, name) for name in known},
            "probability": curve.probability(heard, rate),
            "separable": score.auroc_low is not None and score.auroc_low > 0.5,
            "beyond": not curve.low <= heard <= curve.high,
            "note": RENDERED if score.synthetic else "",
            "brier": curve.brier,
        }
    )


def _predictions(warehouse: Path, task: Task, score: Score | None) -> pl.DataFrame | str:
    """The zero-shot predictions of a task, or why they cannot be used."""
    from benchmark.evaluate import task_hash

    if score is None or score.status != "ok":
        return NOT_JUDGED
    if score.hashes.get("task") != task_hash(task, score.prompt_language):
        return "no calibration: the task or its prompts have changed since it was judged"
    file = warehouse / "predictions" / score.embedder / f"{task.name}.zero-shot.parquet"
    if not file.is_file() or file_hash(file) != score.hashes.get("predictions"):
        return "no calibration: its predictions are gone or are not those of its score"
    found = pl.read_parquet(file, columns=["score", "y", "person"])
    return found if found["y"].n_unique() == 2 else "no calibration: only one side was judged"


def _platt(scores: Numbers, y: npt.NDArray[np.int8], person: npt.NDArray[np.str_]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    centre, scale = float(scores.mean()), float(scores.std()) or 1.0
    z = ((scores - centre) / scale)[:, None]
    # Platt's targets: short of 0 and 1 by as much as the number of speakers leaves open, so that a few speakers
    # who happen to be told apart without error do not give certainty.
    target, weight = np.empty(len(y)), _weights(y, person)
    for label in (0, 1):
        n = len(np.unique(person[y == label]))
        target[y == label] = (n + 1) / (n + 2) if label else 1 / (n + 2)
    curve = LogisticRegression(C=np.inf).fit(
        np.concatenate([z, z]),
        np.repeat([1, 0], len(y)),
        sample_weight=np.concatenate([weight * target, weight * (1 - target)]),
    )
    slope = float(curve.coef_[0, 0]) / scale
    return slope, float(curve.intercept_[0]) - slope * centre


def _weights(y: npt.NDArray[np.int8], person: npt.NDArray[np.str_]) -> Numbers:
    """[n] weights: each class 1/2 in all, each speaker the same within it."""
    weight = np.zeros(len(y))
    for label in (0, 1):
        rows = np.flatnonzero(y == label)
        _, of, count = np.unique(person[rows], return_inverse=True, return_counts=True)
        weight[rows] = 0.5 / (len(count) * count[of])
    return weight * len(y)


def _held_out(scores: Numbers, y: npt.NDArray[np.int8], person: npt.NDArray[np.str_]) -> float | None:
    from sklearn.model_selection import StratifiedGroupKFold

    fewest = min(len(np.unique(person[y == label])) for label in (0, 1))
    if fewest < 2:
        return None
    told = np.full(len(y), np.nan)
    for fit_on, judge in StratifiedGroupKFold(min(FOLDS, fewest)).split(scores, y, person):
        if len(np.unique(y[fit_on])) == 2:
            slope, shift = _platt(scores[fit_on], y[fit_on], person[fit_on])
            told[judge] = 1 / (1 + np.exp(-(slope * scores[judge] + shift)))
    if np.isnan(told).any():
        return None
    return float(np.average((told - y) ** 2, weights=_weights(y, person)))
