"""The board: means over tasks, and which embedders can be told apart; made from scores and their predictions.

Confounds are no contestants: they are left out here, and flag tasks instead (`benchmark.confounds.flags`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.confounds import NAMES
from benchmark.confusion import confusion_by_speaker, macro_f1
from benchmark.intervals import LEVEL, POWER, by_folds, compare_all, drawn_counts, mean_macro_f1, widened
from benchmark.score import MODES, Score
from benchmark.task import GROUPS, TRACKS, Task

DOMAINS: Mapping[str, Callable[[Score], bool]] = {
    "in-domain": lambda score: not score.ood_corpus,
    "out-of-domain": lambda score: score.ood_corpus,
    "new-language": lambda score: bool(score.ood_language),
    "new-label": lambda score: score.ood_label,
}
_MEANS = {
    "track": pl.String(),
    "stratum": pl.String(),
    "embedder": pl.String(),
    "mode": pl.String(),
    "complete": pl.String(),
    "f1": pl.Float64(),
    "macro_f1": pl.Float64(),
    "macro_f1_low": pl.Float64(),
    "macro_f1_high": pl.Float64(),
    "balanced_accuracy": pl.Float64(),
    "auroc": pl.Float64(),
}
_DIFFERENCES = {
    "track": pl.String(),
    "embedder": pl.String(),
    "mode": pl.String(),
    "reference": pl.String(),
    "complete": pl.String(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "separable": pl.Boolean(),
}
_DETECTABLE = {
    "track": pl.String(),
    "mode": pl.String(),
    "task": pl.String(),
    "pairs": pl.Int64(),
    "detectable": pl.Float64(),
}
_PLAIN = ("f1", "balanced_accuracy", "auroc")

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Board:
    """The results in short.

    Attributes:
        means: a row for each (track, stratum, embedder, mode). The stratum is all, a group
            (demographic, voice, health), in-domain, out-of-domain, new-language or new-label.
            ``complete`` says how many of the tasks have a score, as "37/38"; f1, macro_f1 (with _low and
            _high), balanced_accuracy and auroc are null unless all have.
        differences: a row for each (track, mode, embedder, reference), each pair in both orders: difference of
            the mean macro-F1 (embedder minus reference), its 95 % interval low and high, p, p_adjusted (Holm
            over the pairs of the track and mode), and whether they are ``separable`` after that. Null like the
            means.
        detectable: a row for each (track, mode, task): the difference in macro-F1 between two embedders that
            this task's speakers would show with 80 % power at 5 %, the median over ``pairs`` of embedders.
    """

    means: pl.DataFrame
    differences: pl.DataFrame
    detectable: pl.DataFrame


def board(scores: Sequence[Score], predictions: Path, tasks: Sequence[Task]) -> Board:
    """Means over tasks, and differences; null as long as a task is missing.

    Args:
        scores: from `evaluate` or `read_scores`; those of confounds are left out.
        predictions: folder of the predictions that the scores were measured on.
        tasks: all that the board should have.
    """
    means: list[dict[str, object]] = []
    differences: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    contestants = [score for score in scores if score.embedder not in NAMES]
    for track in TRACKS:
        of_track = [task for task in tasks if task.track == track]
        for mode in MODES if of_track else ():
            field = _Field([score for score in contestants if score.mode == mode], predictions, of_track)
            same = {"track": track, "mode": mode}
            means += [{**row, **same} for row in field.means()]
            differences += [{**row, **same} for row in field.differences()]
            found += [{**row, **same} for row in field.detectable()]
    return Board(
        means=pl.DataFrame(means, schema=_MEANS),
        differences=pl.DataFrame(differences, schema=_DIFFERENCES),
        detectable=pl.DataFrame(found, schema=_DETECTABLE),
    )


class _Field:
    """All embedders in one mode on the tasks of one track."""

    def __init__(self, scores: Sequence[Score], predictions: Path, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.names = sorted({score.embedder for score in scores})
        self.scores = {(score.embedder, score.task): score for score in scores}
        self.units: dict[str, dict[str, pl.DataFrame]] = {name: {} for name in self.names}
        wanted = {task.name for task in tasks}
        for score in scores:
            if score.status == "ok" and score.task in wanted:
                file = predictions / score.embedder / f"{score.task}.{score.mode}.parquet"
                columns = ["unit_id", "person", "y", "predicted", "folds"]
                kept = [column for column in columns if column in pl.read_parquet_schema(file)]
                self.units[score.embedder][score.task] = pl.read_parquet(file, columns=kept)

    def means(self) -> list[dict[str, object]]:
        """Rows of `Board.means`."""
        return [self._mean(name, stratum, tasks) for name in self.names for stratum, tasks in self._strata(name)]

    def _strata(self, name: str) -> list[tuple[str, list[Task]]]:
        """Each stratum that has a task, with its tasks."""
        by_group = [(group, [task for task in self.tasks if task.group == group]) for group in GROUPS]
        scored = [task for task in self.tasks if (name, task.name) in self.scores]
        by_domain = [
            (domain, [task for task in scored if lies(self.scores[name, task.name])])
            for domain, lies in DOMAINS.items()
        ]
        return [("all", list(self.tasks)), *((one, tasks) for one, tasks in (*by_group, *by_domain) if tasks)]

    def _mean(self, name: str, stratum: str, tasks: Sequence[Task]) -> dict[str, object]:
        row: dict[str, object] = {"stratum": stratum, "embedder": name, "complete": self._complete(name, tasks)}
        if any(task.name not in self.units[name] for task in tasks):
            return row
        of_tasks = [self.scores[name, task.name] for task in tasks]
        plain = {column: float(np.mean([getattr(score, column) for score in of_tasks])) for column in _PLAIN}
        macro, low, high = mean_macro_f1(self.units[name], tasks)
        return {**row, **plain, "macro_f1": macro, "macro_f1_low": low, "macro_f1_high": high}

    def differences(self) -> list[dict[str, object]]:
        """Rows of `Board.differences`."""
        whole = [name for name in self.names if len(self.units[name]) == len(self.tasks)]
        compared = compare_all({name: self.units[name] for name in whole}, self.tasks)
        found: dict[tuple[str, str], dict[str, object]] = {}
        for row in compared.iter_rows(named=True):
            numbers = {column: row[column] for column in ("p", "p_adjusted", "separable")}
            difference, low, high = row["difference"], row["low"], row["high"]
            found[row["a"], row["b"]] = {**numbers, "difference": difference, "low": low, "high": high}
            found[row["b"], row["a"]] = {**numbers, "difference": -difference, "low": -high, "high": -low}
        return [
            {
                "embedder": name,
                "reference": reference,
                "complete": self._complete(name, self.tasks),
                **found.get((name, reference), {}),
            }
            for name in self.names
            for reference in self.names
            if name != reference
        ]

    def detectable(self) -> list[dict[str, object]]:
        """Rows of `Board.detectable`."""
        rows: list[dict[str, object]] = []
        for task in self.tasks:
            frames = [self.units[name][task.name] for name in self.names if task.name in self.units[name]]
            if len(frames) > 1:
                drawn = [
                    widened(macro_f1(drawn_counts(task.corpus, *confusion_by_speaker(frame))), by_folds(frame))
                    for frame in frames
                ]
                pairs = detectable(np.stack(drawn, axis=1))
                rows.append({"task": task.name, "pairs": len(pairs), "detectable": float(np.median(pairs))})
        return rows

    def _complete(self, name: str, tasks: Sequence[Task]) -> str:
        return f"{sum(task.name in self.units[name] for task in tasks)}/{len(tasks)}"


def detectable(drawn: Numbers) -> Numbers:
    """`intervals.minimum_detectable` of each pair of embedders at once, from their draws [n_draws, embedders]."""
    from scipy.stats import norm

    first, second = np.triu_indices(drawn.shape[1], k=1)
    cov = np.cov(drawn, rowvar=False, bias=True)
    variance = np.diag(cov)[first] + np.diag(cov)[second] - 2 * cov[first, second]
    quantiles = norm.ppf((1 + LEVEL / 100) / 2) + norm.ppf(POWER)
    return np.asarray(quantiles * np.sqrt(variance.clip(min=0.0)), dtype=np.float64)
