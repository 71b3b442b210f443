"""Tasks: each is one row of ``tasks.toml`` that says which corpus, who is positive and who is negative.

``positive`` and ``negative`` are SQL conditions over the view ``facts`` of ``meta.db``. Whoever fits
neither is left out; whoever fits both is an error of the row. Prevalence and chance are computed, never
typed.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark import sources

TASKS = Path(__file__).with_name("tasks.toml")
GROUPS = ("demographic", "voice", "health")
TRACKS = ("paper", "open", "transfer")
UNITS = ("utterance", "speaker")

PromptPair = tuple[str, str]  # (negative, positive)

# Columns of `facts` that measure something a caption or another corpus states in other words.
_MEASURES: Mapping[str, str] = {
    "age_low": "age",
    "age_high": "age",
    "phq9": "depression",
    "phq8": "depression",
    "gad7": "anxiety",
    "ais": "insomnia",
    "psqi": "insomnia",
    "mfi_general": "fatigue",
    "moca": "cognitive_impairment",
    "mmse": "cognitive_impairment",
    "updrs": "parkinson",
    "hoehn_yahr": "parkinson",
    "alsfrs_r": "als",
}
_SQL_WORDS = frozenset({"and", "or", "not", "is", "null", "in", "between", "like", "true", "false"})

# What every task needs of `facts`; of its other columns, only those that a condition names are computed.
_BASE = frozenset({"utt_id", "corpus", "person_id", "split", "sex", "age_low", "age_high", "language"})
_OF_CORPORA = "FROM meta.facts WHERE list_contains(?, corpus)"

# The age bands of the captions; someone whose known bounds fall into two bands has none.
_ROWS = """
SELECT utt_id, person_id, split, sex,
       CASE WHEN age_high <= 15 THEN 'child'
            WHEN age_low BETWEEN 18 AND 34 AND age_high <= 34 THEN 'young'
            WHEN age_low BETWEEN 35 AND 59 AND age_high <= 59 THEN 'middle-aged'
            WHEN age_low >= 60 THEN 'older' END AS age,
       language,
       coalesce(({positive}), false) AS is_positive,
       coalesce(({negative}), false) AS is_negative
FROM facts
WHERE corpus = ?
ORDER BY utt_id
"""


class TaskError(ValueError):
    """A row of the task file is wrong; the message names the file, the row and what to do."""


@dataclass(frozen=True)
class Task:
    """One binary question about the speakers of one corpus.

    Attributes:
        name: unique; also the name of the task's files.
        group: demographic, voice or health.
        track: paper (the 38), open (corpora anyone can download) or transfer.
        corpus: the recipe whose utterances are used.
        positive: SQL condition over ``facts``.
        negative: SQL condition over ``facts``.
        unit: what a prediction is about: utterance, or speaker (mean over the speaker's utterances).
        source: the weakest kind of source a label may come from, one of `sources.SOURCES`; rows whose
            label comes from a weaker one are left out and counted.
        prompts: by language, pairs (negative, positive) of affirmative descriptions.
        cutoff: the published cut-off the conditions apply, in words; may be empty.
    """

    name: str
    group: str
    track: str
    corpus: str
    positive: str
    negative: str
    unit: str
    source: str
    prompts: Mapping[str, tuple[PromptPair, ...]] = field(hash=False)
    cutoff: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of everything the row says."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def labels(self) -> frozenset[str]:
        """The attributes of the positive condition, e.g. ``{"depression"}`` for ``phq9 >= 10``."""
        return frozenset(_MEASURES.get(word, word) for word in _names(self.positive) if word not in _SQL_WORDS)

    @property
    def words(self) -> frozenset[str]:
        """Every word of both conditions outside quotes: the columns they ask are among them."""
        return _names(self.positive) | _names(self.negative)

    def pairs(self, language: str) -> tuple[str, tuple[PromptPair, ...]]:
        """The prompt pairs in ``language``, or the English ones; with the language they are in."""
        return (language, self.prompts[language]) if language in self.prompts else ("en", self.prompts["en"])


def _names(condition: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", " ", condition.lower())))


def load_tasks(path: Path = TASKS) -> tuple[Task, ...]:
    """Read and check the task file.

    Args:
        path: a TOML file of ``[[task]]`` tables.

    Raises:
        TaskError: naming file and row, for an unknown or missing field, a value out of its vocabulary,
            a condition that is not SQL, empty prompts, or a name used twice.
    """
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(content) != {"task"} or not isinstance(content["task"], list):
        raise TaskError(f"{path.name}: write one [[task]] table per task and nothing else at the top")
    tasks: list[Task] = []
    seen: set[str] = set()
    for number, row in enumerate(content["task"], 1):
        task = _task(f"{path.name}: task {number} ({row.get('name', 'no name')})", row)
        if task.name in seen:
            raise TaskError(f"{path.name}: task {number} ({task.name}): this name is used before; rename one")
        seen.add(task.name)
        tasks.append(task)
    return tuple(tasks)


def _task(where: str, row: Mapping[str, Any]) -> Task:
    known = {f.name for f in fields(Task)}
    if unknown := sorted(set(row) - known):
        raise TaskError(f"{where}: unknown field {', '.join(unknown)}; the fields are {', '.join(sorted(known))}")
    if missing := sorted(known - {"cutoff"} - set(row)):
        raise TaskError(f"{where}: field {', '.join(missing)} is missing")
    for name in sorted(set(row) - {"prompts"}):
        if not isinstance(row[name], str) or (name != "cutoff" and not row[name].strip()):
            raise TaskError(f"{where}: {name} must be a text that is not empty, not {row[name]!r}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", row["name"]):
        raise TaskError(f"{where}: a name is a file name: small letters, digits, - and _")
    for name, allowed in (("group", GROUPS), ("track", TRACKS), ("unit", UNITS), ("source", sources.SOURCES)):
        if row[name] not in allowed:
            raise TaskError(f"{where}: {name} is {row[name]!r}, but must be one of {', '.join(allowed)}")
    for name in ("positive", "negative"):
        _check_condition(where, name, row[name])
    return Task(**{**row, "prompts": _prompts(where, row["prompts"])})


def _check_condition(where: str, name: str, condition: str) -> None:
    try:
        statements = len(duckdb.extract_statements(f"SELECT ({condition})"))
    except duckdb.Error as error:
        raise TaskError(f"{where}: {name} is not an SQL condition: {error}") from error
    if statements != 1:
        raise TaskError(f"{where}: {name} must be one SQL condition, without a semicolon")


def _prompts(where: str, prompts: object) -> dict[str, tuple[PromptPair, ...]]:
    if not isinstance(prompts, dict) or "en" not in prompts:
        raise TaskError(f"{where}: prompts must have the language en: prompts = {{en = [[negative, positive]]}}")
    checked: dict[str, tuple[PromptPair, ...]] = {}
    for language, pairs in prompts.items():
        if not isinstance(pairs, list) or not pairs:
            raise TaskError(f"{where}: prompts.{language} is empty; give at least one [negative, positive] pair")
        for pair in pairs:
            texts = isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) and t.strip() for t in pair)
            if not texts or pair[0] == pair[1]:
                raise TaskError(f"{where}: prompts.{language} has {pair!r}, not a pair [negative, positive]")
        checked[language] = tuple((str(negative), str(positive)) for negative, positive in pairs)
    return checked


@dataclass(frozen=True)
class Rows:
    """The labelled utterances of a task.

    Attributes:
        frame: utt_id, person_id, split, y (1 positive, 0 negative) and, for subgroups, sex, age (band) and
            language; sorted by utt_id.
        n_too_weak: utterances that fit a condition but were left out, because someone weaker than the
            task's ``source`` says so.
    """

    frame: pl.DataFrame
    n_too_weak: int


def rows(task: Task, meta_db: Path) -> pl.DataFrame:
    """The utterances of a task and their labels; see `rows_of`."""
    return rows_of([task], meta_db)[0].frame


def rows_of(tasks: Sequence[Task], meta_db: Path) -> list[Rows]:
    """The utterances of each task and their labels; the view ``facts`` is computed once for all.

    Returns:
        For each task those that fit one of its conditions and whose values for what the conditions ask
        come from no weaker source than the task allows.

    Raises:
        TaskError: when a condition does not fit ``facts``, an utterance fits both, or the warehouse cannot
            tell the source that a task asks for.
    """
    corpora = sorted({task.corpus for task in tasks})
    with duckdb.connect() as con:
        quoted = str(meta_db).replace("'", "''")
        con.execute(f"ATTACH '{quoted}' AS meta (READ_ONLY)").fetchall()
        asked = {word for task in tasks for word in task.words}
        there = [str(name) for name, *_ in con.execute("DESCRIBE meta.facts").fetchall()]
        columns = [name for name in there if name in _BASE or name in asked]
        con.execute(f"CREATE TABLE facts AS SELECT {', '.join(columns)} {_OF_CORPORA}", [corpora]).fetchall()
        minimal = [task for task in tasks if task.source != sources.ANY]
        if minimal:
            _copy_ranks(con, minimal)
        # The conditions come from our own task file; still, they see this one table and no file.
        for setting in ("DETACH meta", "SET enable_external_access = false", "SET lock_configuration = true"):
            con.execute(setting).fetchall()
        return [_labelled(con, task) for task in tasks]


def _copy_ranks(con: duckdb.DuckDBPyConnection, tasks: Sequence[Task]) -> None:
    try:
        asked = {word for task in tasks for word in task.words}
        sources.copy_ranks(con, {task.corpus for task in tasks}, asked)
    except duckdb.CatalogException as error:
        raise TaskError(
            f"task {tasks[0].name}: the warehouse cannot tell whether a label's source is {tasks[0].source!r} or "
            f"stronger ({str(error).splitlines()[0]}); build meta.db again, or write source = {sources.ANY!r}"
        ) from error


def _labelled(con: duckdb.DuckDBPyConnection, task: Task) -> Rows:
    query = _ROWS.format(positive=task.positive, negative=task.negative)
    try:
        frame: pl.DataFrame = con.sql(query, params=[task.corpus]).pl()
    except duckdb.Error as error:
        raise TaskError(f"task {task.name}: its conditions do not fit the view facts: {error}") from error
    both = frame.filter(pl.col("is_positive") & pl.col("is_negative"))
    if both.height:
        raise TaskError(
            f"task {task.name}: {both.height} utterances are positive and negative at once, first "
            f"{both['utt_id'][0]}; make the conditions exclude each other"
        )
    fitting = frame.filter(pl.col("is_positive") | pl.col("is_negative"))
    kept = fitting
    if task.source != sources.ANY:
        strong = sources.strong_enough(con, sorted(task.words), task.source)
        if strong is None:
            raise TaskError(
                f"task {task.name}: source is {task.source!r}, but what its conditions ask has no source; "
                f"write source = {sources.ANY!r}"
            )
        kept = fitting.join(strong, on="utt_id", how="semi", maintain_order="left")
    y = pl.col("is_positive").cast(pl.Int8).alias("y")
    return Rows(
        kept.select("utt_id", "person_id", "split", y, "sex", "age", "language"),
        n_too_weak=fitting.height - kept.height,
    )
