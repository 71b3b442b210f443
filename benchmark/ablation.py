"""Ablations: which of our changes to the paper's recipe help, on one's own corpora.

An **arm** is a name and overrides of one configuration (``ablations.toml``); the first arm is the reference. Every
(arm, seed) is trained by ``python -m slap_model.train`` from the same manifest into ``<folder>/<hash>/``, where the
hash is of configuration and manifest: what is complete there is never trained again. Each checkpoint is judged by the
benchmark's own zero-shot and probe (`benchmark.embed`, `benchmark.evaluate`).

Two things leave a difference between an arm and the reference to chance: who was tested, and with which seed was
trained. `differences` has both:

- **Speakers** are drawn as everywhere in the benchmark (`benchmark.intervals`), the same for all arms and seeds.
- **Seeds** are too few to be drawn: with three of them, drawing seeds along with speakers held the truth in 77 to 85 %
  of simulations in which seeds matter. Instead, the variance between seeds is estimated from all arms together, as in
  an analysis of variance with arms and seeds as factors, and each draw adds normal noise of a variance drawn from its
  posterior (so the noise is Student's t). The part of that variance which is only the test's own is taken off first:
  the draws of speakers hold it already.

``tests/benchmark/test_ablation.py`` simulates how often that is right.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import polars as pl

from benchmark import units
from benchmark.confusion import Numbers
from benchmark.files import file_hash, hash_of
from benchmark.intervals import COMPARISON_DRAWS, LEVEL, holm, limits, mean_over_tasks, p_values
from benchmark.score import MODES, read_scores
from benchmark.task import Task
from slap_model import config
from slap_model.manifest import Manifest, withdrawn_on
from slap_model.store import write

ARMS = Path(__file__).with_name("ablations.toml")
EMBEDDER = "slap"  # the name of every checkpoint in the scores of its own folder
SHY = 4  # degrees of freedom; see `differences`
FEWEST = 5  # judged speakers of each class: a task with fewer adds more noise than it tells
PEOPLE, RENDERED = "people", "rendered"
HELPS, HURTS, NOT_SEPARABLE, ONE_SEED = "helps", "hurts", "not separable", "one seed"

_DIFFERENCES = {
    "voices": pl.String(),
    "mode": pl.String(),
    "arm": pl.String(),
    "tasks": pl.Int64(),
    "speakers": pl.Int64(),
    "macro_f1": pl.Float64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_adjusted": pl.Float64(),
    "verdict": pl.String(),
}


class AblationError(ValueError):
    """An ablation cannot be run; the message says why and what to do."""


# --- what is compared ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """One variant of the recipe.

    Attributes:
        name: small letters, digits and ``-``.
        about: what it changes, in words.
        overrides: ``section.field=value``, those of the reference first.
    """

    name: str
    about: str
    overrides: tuple[str, ...]


def load_arms(path: Path = ARMS, names: Collection[str] = ()) -> tuple[Arm, ...]:
    """The arms of a file, the reference first.

    Args:
        path: TOML with ``[[arm]]`` tables of name, about and set.
        names: those to keep beside the reference; empty: all.

    Raises:
        AblationError: the file is no such file, or a name is not in it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise AblationError(f"{path}: {error}") from error
    tables = content.get("arm")
    if not isinstance(tables, list) or not tables or set(content) != {"arm"}:
        raise AblationError(f"{path}: there must be [[arm]] tables, the reference first, and nothing else")
    for number, table in enumerate(tables, 1):
        if not isinstance(table, dict) or set(table) != {"name", "about", "set"}:
            raise AblationError(f"{path}: arm {number} must have name, about and set, and nothing else")
    known = [table["name"] for table in tables]
    if len(set(known)) < len(known):
        raise AblationError(f"{path}: every arm must have a name of its own")
    if unknown := sorted(set(names) - set(known)):
        raise AblationError(f"no arm {', '.join(unknown)}; known: {', '.join(known)}")
    reference = tuple(tables[0]["set"])
    arms = [Arm(t["name"], t["about"], reference if i == 0 else (*reference, *t["set"])) for i, t in enumerate(tables)]
    return tuple(arm for i, arm in enumerate(arms) if i == 0 or not names or arm.name in names)


@dataclass(frozen=True)
class Bench:
    """What checkpoints are trained from and judged on.

    Attributes:
        manifest: the file that training reads.
        tasks: those to judge by; the ones with too few speakers are left out.
        meta_db: the warehouse.
        shards: tars by corpus.
        id_key: secret key of the hashes of persons.
        split_hash: of the table that gives each person a split.
        synthetic: corpora that are miniatures.
    """

    manifest: Path
    tasks: Sequence[Task]
    meta_db: Path
    shards: Mapping[str, Sequence[Path]]
    id_key: bytes
    split_hash: str
    synthetic: frozenset[str]

    @cached_property
    def judged(self) -> tuple[Task, ...]:
        """The tasks with at least `FEWEST` judged speakers of each class.

        Raises:
            AblationError: there is none.
        """
        heard = Manifest.load(self.manifest).trained_on["corpora"]
        data = units.load(self.tasks, self.meta_db, self.shards, self.id_key, heard)
        enough = tuple(of_task.task for of_task in data if _fewest(of_task) >= FEWEST)
        if not enough:
            raise AblationError(f"no task has {FEWEST} judged speakers of each class: there is nothing to compare by")
        return enough

    @cached_property
    def hash(self) -> str:
        """Of everything but the checkpoint that a score depends on."""
        from benchmark.evaluate import code_hash

        tars = {corpus: [file_hash(tar) for tar in self.shards[corpus]] for corpus in sorted(self._corpora)}
        return hash_of([code_hash(), self.split_hash, [task.hash for task in self.judged], tars])

    @property
    def _corpora(self) -> frozenset[str]:
        return frozenset(task.corpus for task in self.judged)

    def voices(self, task: Task) -> str:
        """Whether people speak in a task, or rendered voices."""
        return RENDERED if task.corpus in self.synthetic else PEOPLE

    def score(self, checkpoint: Path, folder: Path) -> None:
        """Leave predictions and scores of a checkpoint in a folder."""
        from benchmark.embed import embed
        from benchmark.embedders import SlapEmbedder
        from benchmark.evaluate import evaluate

        embedder = SlapEmbedder(checkpoint, EMBEDDER)
        shards = {corpus: self.shards[corpus] for corpus in sorted(self._corpora)}
        embed(embedder, [tar for of_corpus in shards.values() for tar in of_corpus], folder / "embeddings")
        evaluate(
            [embedder],
            self.judged,
            self.meta_db,
            shards,
            folder / "embeddings",
            folder / "predictions",
            folder / "scores",
            id_key=self.id_key,
            split_hash=self.split_hash,
            synthetic=self.synthetic,
            studies=False,
        )


def _fewest(of_task: units.TaskData) -> int:
    judged = of_task.judged
    return min(len(np.unique(of_task.person[judged][of_task.y[judged] == label])) for label in (0, 1))


# --- training and scoring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm: its name.
        seed: of training.
        command: configuration and overrides, as `slap_model.train` takes them.
        folder: of this run; holds ``training/``, ``predictions/``, ``scores/`` and ``result.json``.
    """

    arm: str
    seed: int
    command: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Result:
    """What a complete run leaves beside its predictions.

    Attributes:
        config: all values that its hash is made of: those that differ from `config.Config`'s defaults.
        manifest: hash of what it was trained on.
        bench: hash of what it was judged on.
        code: hash of ``slap_model`` when training began.
        steps: of training.
        clips_per_second: of training, over the whole run.
        threads: that it could use.
        device: "cpu" or "cuda".
    """

    config: Mapping[str, Any]
    manifest: str
    bench: str
    code: str
    steps: int
    clips_per_second: float
    threads: int
    device: str


def plan(
    arms: Sequence[Arm], seeds: Sequence[int], name: str, overrides: Sequence[str], manifest: Path, out: Path
) -> list[Run]:
    """Every arm with every seed, seeds outermost: each round of seeds makes a table.

    Args:
        arms: from `load_arms`.
        seeds: of training.
        name: of the configuration that the arms change.
        overrides: changes that all arms share; an arm's own come after them.
        manifest: that training reads.
        out: folder of all runs.

    Raises:
        config.ConfigError: an arm does not go with the configuration.
    """
    known = Manifest.load(manifest).hash
    runs = []
    for seed in seeds:
        for arm in arms:
            changes = (*overrides, *arm.overrides, f"train.seed={seed}")
            digest = hash_of([told(config.load(name, changes)), known])[:16]
            command = ("--config", name, *(part for change in changes for part in ("--set", change)))
            runs.append(Run(arm.name, seed, command, out / digest))
    return runs


def told(settings: config.Config) -> dict[str, dict[str, Any]]:
    """What a configuration changes of the defaults, by section; so a field that is new later changes no hash."""
    values, defaults = settings.as_dict(), config.Config().as_dict()
    return {
        section: {name: value for name, value in fields.items() if value != defaults[section][name]}
        for section, fields in values.items()
    }


def run_all(
    runs: Sequence[Run],
    bench: Bench,
    jobs: int = 1,
    say: Callable[[str], object] = print,
    after_round: Callable[[Mapping[Run, Result]], object] = lambda results: None,
) -> dict[Run, Result]:
    """Train and judge what is not complete yet.

    A training that fails ends neither the others nor the command; it has no result.

    Args:
        runs: from `plan`.
        bench: what is judged on.
        jobs: trainings at a time.
        say: is told one line a run.
        after_round: is called after each round of seeds with all results so far.

    Raises:
        AblationError: the manifest cannot be trained on any more, or no task has enough speakers.
    """
    if day := withdrawn_on(bench.manifest):
        raise AblationError(
            f"{bench.manifest}: a speaker of its shards withdrew on {day}; materialise the asset `manifest` first"
        )
    say(f"{len(runs)} runs, judged by {len(bench.judged)} tasks with {FEWEST} speakers of each class or more")
    scoring = Lock()  # embedding uses all cores by itself
    busy = {run.folder: Lock() for run in runs}  # two arms may come to the same configuration
    results: dict[Run, Result] = {}

    def one(run: Run) -> None:
        with busy[run.folder]:
            attempt(run)

    def attempt(run: Run) -> None:
        label = f"{run.arm}, seed {run.seed}"
        result = complete(run, bench)
        again = " (complete before)" if result else ""
        if result is None:
            try:
                result = _train(run, bench.manifest, jobs, bench.hash)
            except AblationError as error:
                say(f"{label}: {error}")
                return
            with scoring:
                bench.score(run.folder / "training", run.folder)
            _forget_vectors(run.folder)
            write(run.folder / "result.json", json.dumps(asdict(result), indent=1).encode())
        results[run] = result
        say(f"{label}: {result.clips_per_second:.0f} clips/s{again}")

    for seed in dict.fromkeys(run.seed for run in runs):
        of_seed = [run for run in runs if run.seed == seed]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, of_seed))
        after_round(results)
    return results


def complete(run: Run, bench: Bench) -> Result | None:
    """The result of a run that was judged on this very bench; None where there is none."""
    file = run.folder / "result.json"
    if not file.is_file():
        return None
    found = Result(**json.loads(file.read_text()))
    return found if found.bench == bench.hash else None


def _train(run: Run, manifest: Path, jobs: int, bench_hash: str) -> Result:
    """Train to the end, going on from the newest checkpoint; raises `AblationError` with what the child said."""
    training, log = run.folder / "training", run.folder / "log.txt"
    run.folder.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1
    environment = {"OMP_NUM_THREADS": str(max(1, cores // jobs)), **os.environ}
    code = code_hash()
    command = [sys.executable, "-m", "slap_model.train", *run.command]
    command += ["--manifest", str(manifest), "--out", str(training)]
    with log.open("wb") as said:
        status = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    if status != 0:
        raise AblationError(f"training ended with {status}: {_last_words(log)} (all of it: {log})")
    rates = [json.loads(line)["clips_per_second"] for line in (training / "metrics.jsonl").read_text().splitlines()]
    card = json.loads(max(training.glob("step-*/checkpoint.json")).read_text())
    return Result(
        config=told(config.parse(card["config"])),
        manifest=card["manifest"],
        bench=bench_hash,
        code=code,
        steps=card["step"],
        clips_per_second=len(rates) / sum(1 / rate for rate in rates),  # lines are the same number of steps apart
        threads=int(environment["OMP_NUM_THREADS"]),
        device="cuda" if _has_gpu() else "cpu",
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").replace("\r", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _forget_vectors(folder: Path) -> None:
    """Vectors can be made again from the checkpoint; a study would keep a set for every run."""
    for file in (folder / "embeddings").glob("*/*"):
        file.unlink()


def code_hash() -> str:
    """Hash of the sources that train: runs with different ones may differ for that reason."""
    import slap_model

    digest = hashlib.sha256()
    for source in sorted(Path(slap_model.__path__[0]).glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


# --- what helps ---------------------------------------------------------------------------------------------


def differences(observed: Numbers, drawn: Numbers) -> tuple[Numbers, Numbers]:
    """How much better each arm is than the first, over seeds: mean [arms - 1], and as drawn [arms - 1, draws].

    With one seed the draws hold the chance of who was tested only. See the head of this module.

    Args:
        observed: [arms, seeds] mean macro-F1 of each run.
        drawn: [arms, seeds, draws] the same in each draw of speakers.
    """
    arms, seeds = observed.shape
    means = drawn.mean(axis=1)
    if seeds > 1 and arms > 1:
        freedom = (arms - 1) * (seeds - 1)
        of_test = _between_seeds(drawn - drawn.mean(axis=-1, keepdims=True)).mean()
        # An estimate on few degrees of freedom may by chance be all the test's: then less is taken off.
        variance = max(0.0, _between_seeds(observed).item() - of_test * freedom / (freedom + SHY))
        rng = np.random.default_rng([arms, seeds])
        variances = variance * freedom / rng.chisquare(freedom, drawn.shape[-1])
        means = means + rng.standard_normal(means.shape) * np.sqrt(variances / seeds)
    mean = observed.mean(axis=1)
    return mean[1:] - mean[0], means[1:] - means[0]


def _between_seeds(values: Numbers) -> Numbers:
    """Variance of a run that neither its arm nor its seed explains: [arms, seeds, ...] to [...]."""
    residuals = values - values.mean(axis=0, keepdims=True) - values.mean(axis=1, keepdims=True)
    residuals = residuals + values.mean(axis=(0, 1), keepdims=True)
    freedom = (values.shape[0] - 1) * (values.shape[1] - 1)
    return np.asarray((residuals**2).sum(axis=(0, 1)) / freedom)


@dataclass(frozen=True)
class Study:
    """The runs that can be compared, and what they say.

    Attributes:
        arms: that finished with every seed of ``seeds``; the reference first.
        left_out: names of arms that did not.
        seeds: those that the reference finished.
        results: of the runs that are compared.
        scores: one row a run and task: arm, seed, task, corpus, group, voices, mode, macro_f1, n_speakers.
        differences: one row an arm, mode and kind of voices; of the reference without a difference.
    """

    arms: tuple[Arm, ...]
    left_out: tuple[str, ...]
    seeds: tuple[int, ...]
    results: Mapping[Run, Result]
    scores: pl.DataFrame
    differences: pl.DataFrame


def study(
    arms: Sequence[Arm], results: Mapping[Run, Result], bench: Bench, n_draws: int = COMPARISON_DRAWS
) -> Study | None:
    """Compare what is complete; None while the reference has no result.

    Args:
        arms: those asked for, the reference first.
        results: of complete runs.
        bench: what they were judged on.
        n_draws: of the bootstrap.
    """
    done = {(run.arm, run.seed): run for run in results}
    seeds = tuple(seed for name, seed in done if name == arms[0].name)
    there = tuple(arm for arm in arms if all((arm.name, seed) in done for seed in seeds))
    if not seeds:
        return None
    runs = [done[arm.name, seed] for arm in there for seed in seeds]
    rows: list[dict[str, Any]] = []
    for voices in (PEOPLE, RENDERED):
        of_voices = [task for task in bench.judged if bench.voices(task) == voices]
        for mode in MODES:
            tasks = [task for task in of_voices if all(_predictions(run, task, mode).is_file() for run in runs)]
            if tasks:
                rows += _compared(there, seeds, runs, tasks, voices, mode, n_draws)
    scores = pl.DataFrame([row for run in runs for row in _scores(run, bench)])
    return Study(
        arms=there,
        left_out=tuple(arm.name for arm in arms if arm not in there),
        seeds=seeds,
        results={run: results[run] for run in runs},
        scores=scores,
        differences=pl.DataFrame(rows, schema=_DIFFERENCES),
    )


def _compared(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    runs: Sequence[Run],
    tasks: Sequence[Task],
    voices: str,
    mode: str,
    n_draws: int,
) -> Iterator[dict[str, Any]]:
    frames = [{task.name: pl.read_parquet(_predictions(run, task, mode)) for task in tasks} for run in runs]
    observed, drawn = mean_over_tasks(frames, tasks, n_draws)
    shape = (len(arms), len(seeds))
    observed, drawn = observed.reshape(shape), drawn.reshape(*shape, n_draws)
    difference, of_draws = differences(observed, drawn)
    low, high = limits(of_draws, difference)
    p = p_values(of_draws)
    adjusted = holm(p)
    shared = {
        "voices": voices,
        "mode": mode,
        "tasks": len(tasks),
        "speakers": len({person for frame in frames[0].values() for person in frame["person"]}),
    }
    yield {**shared, "arm": arms[0].name, "macro_f1": observed[0].mean()}
    for i, arm in enumerate(arms[1:]):
        numbers = {"difference": difference[i], "low": low[i], "high": high[i], "p": p[i], "p_adjusted": adjusted[i]}
        verdict = HELPS if difference[i] > 0 else HURTS
        if len(seeds) == 1:
            verdict = ONE_SEED
        elif adjusted[i] >= 1 - LEVEL / 100:
            verdict = NOT_SEPARABLE
        yield {**shared, "arm": arm.name, "macro_f1": observed[i + 1].mean(), **numbers, "verdict": verdict}


def _predictions(run: Run, task: Task, mode: str) -> Path:
    return run.folder / "predictions" / EMBEDDER / f"{task.name}.{mode}.parquet"


def _scores(run: Run, bench: Bench) -> Iterator[dict[str, Any]]:
    """The scores of a run, one row a task and mode."""
    tasks = {task.name: task for task in bench.judged}
    for score in read_scores(run.folder / "scores"):
        if score.status == "ok" and score.task in tasks:
            task = tasks[score.task]
            yield {
                "arm": run.arm,
                "seed": run.seed,
                "task": task.name,
                "corpus": task.corpus,
                "group": task.group,
                "voices": bench.voices(task),
                "mode": score.mode,
                "macro_f1": score.macro_f1,
                "n_speakers": score.n_speakers,
            }
