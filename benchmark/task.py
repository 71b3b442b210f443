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

_COPY = "CREATE TABLE facts AS SELECT * FROM meta.facts WHERE list_contains(?, corpus)"

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
        source: the weakest kind of label the conditions accept, in the words of tasks.toml.
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
        words = re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"'[^']*'", " ", self.positive.lower()))
        return frozenset(_MEASURES.get(word, word) for word in words if word not in _SQL_WORDS)

    def pairs(self, language: str) -> tuple[str, tuple[PromptPair, ...]]:
        """The prompt pairs in ``language``, or the English ones; with the language they are in."""
        return (language, self.prompts[language]) if language in self.prompts else ("en", self.prompts["en"])


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
    for name, allowed in (("group", GROUPS), ("track", TRACKS), ("unit", UNITS)):
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


def rows(task: Task, meta_db: Path) -> pl.DataFrame:
    """The utterances of a task and their labels; see `rows_of`."""
    return rows_of([task], meta_db)[0]


def rows_of(tasks: Sequence[Task], meta_db: Path) -> list[pl.DataFrame]:
    """The utterances of each task and their labels; the view ``facts`` is computed once for all.

    Returns:
        For each task utt_id, person_id, split, y (1 positive, 0 negative) and, for subgroups, sex, age
        (band) and language; sorted by utt_id. Utterances that fit neither condition are left out.

    Raises:
        TaskError: when a condition does not fit ``facts``, or an utterance fits both.
    """
    corpora = sorted({task.corpus for task in tasks})
    with duckdb.connect() as con:
        quoted = str(meta_db).replace("'", "''")
        con.execute(f"ATTACH '{quoted}' AS meta (READ_ONLY)").fetchall()
        con.execute(_COPY, [corpora]).fetchall()
        # The conditions come from our own task file; still, they see this one table and no file.
        for setting in ("DETACH meta", "SET enable_external_access = false", "SET lock_configuration = true"):
            con.execute(setting).fetchall()
        return [_labelled(con, task) for task in tasks]


def _labelled(con: duckdb.DuckDBPyConnection, task: Task) -> pl.DataFrame:
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
    y = pl.col("is_positive").cast(pl.Int8).alias("y")
    return frame.filter(pl.col("is_positive") | pl.col("is_negative")).select(
        "utt_id", "person_id", "split", y, "sex", "age", "language"
    )
