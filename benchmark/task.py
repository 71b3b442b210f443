"""Tasks: each is one row of ``tasks.toml`` that says which corpus, who is positive and who is negative.

``positive`` and ``negative`` are SQL conditions over the view ``facts`` of ``meta.db``. Whoever fits
neither is left out; whoever fits both is an error of the row. Prevalence and chance are computed, never
typed. ``prompts`` names a set of ``prompts.toml``. A ``[[transfer]]`` row asks one question of several corpora.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from benchmark import sources
from benchmark.files import hash_of

TASKS = Path(__file__).with_name("tasks.toml")
PROMPTS = Path(__file__).with_name("prompts.toml")
MIN_PAIRS = 4  # of prompts in a language: fewer and one unlucky wording decides
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
    "bdi2": "depression",
    "sds": "depression",
    "gad7": "anxiety",
    "pcl_c": "ptsd",
    "ais": "insomnia",
    "psqi": "insomnia",
    "mfi_general": "fatigue",
    "moca": "cognitive_impairment",
    "mmse": "cognitive_impairment",
    "updrs": "parkinson",
    "hoehn_yahr": "parkinson",
    "alsfrs_r": "als",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_SQL_WORDS = frozenset({"and", "or", "not", "is", "null", "in", "between", "like", "true", "false"})

# What every task needs of `facts`; of its other columns, only those that a condition names are computed.
_BASE = frozenset({"utt_id", "corpus", "person_id", "split", "sex", "age_low", "age_high", "language"})
_OF_CORPORA = "FROM meta.facts WHERE list_contains(?, corpus)"

# The age bands of the captions, as SQL over `facts`; someone whose known bounds fall into two bands has none.
AGE_BAND = """
    CASE WHEN age_high <= 15 THEN 'child'
         WHEN age_low BETWEEN 18 AND 34 AND age_high <= 34 THEN 'young'
         WHEN age_low BETWEEN 35 AND 59 AND age_high <= 59 THEN 'middle-aged'
         WHEN age_low >= 60 THEN 'older' END
"""

_ROWS = """
SELECT utt_id, person_id, split, sex,
       {age_band} AS age,
       language,
       coalesce(({positive}), false) AS is_positive,
       coalesce(({negative}), false) AS is_negative
FROM facts
WHERE corpus = ?
ORDER BY utt_id
"""


class TaskError(ValueError):
    """A row of the task file or a set of prompts is wrong; the message names the file, the row and what to do."""


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
        prompts: by language (two or three letters), pairs (negative, positive) of affirmative descriptions;
            in the file, the name of their set. Empty in the task of a transfer, which asks none.
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
        """SHA-256 of everything the row says, its prompts' texts included."""
        return hash_of(asdict(self))

    @property
    def labels(self) -> frozenset[str]:
        """The attributes that tell positive from negative, e.g. ``{"depression"}`` for ``phq9 >= 10``.

        What both conditions ask in the same words, such as ``language = 'fr'``, only says who takes part.
        """
        positive, negative = (_parts(condition) for condition in (self.positive, self.negative))
        told = {name for part in positive - negative for name in _names(part)}
        return frozenset(_MEASURES.get(name, name) for name in told)

    @property
    def words(self) -> frozenset[str]:
        """The names in both conditions: the columns they ask are among them."""
        return _names(self.positive) | _names(self.negative)

    def pairs(self, language: str) -> tuple[str, tuple[PromptPair, ...]]:
        """The prompt pairs in ``language`` (a tag such as fr, zh-CN), or the English ones; with their language."""
        own = primary(language)
        return (own, self.prompts[own]) if own in self.prompts else ("en", self.prompts["en"])


@dataclass(frozen=True)
class Transfer:
    """One question asked of several corpora: a probe that learned it in one is judged in the others.

    Attributes:
        name: unique among the transfers.
        label: what is asked, for people to read.
        positive, negative, unit, source, cutoff: as of a `Task`, for every corpus alike.
        corpora: in the order in which they are shown; at least two.
        group: demographic, voice or health.
    """

    name: str
    label: str
    positive: str
    negative: str
    corpora: tuple[str, ...]
    unit: str
    source: str
    group: str
    cutoff: str = ""


def primary(tag: str) -> str:
    """A language without its region: ``it`` of ``it-IT``."""
    return re.split("[-_]", tag.lower())[0]


def transfer_tasks(transfer: Transfer) -> dict[str, Task]:
    """The task of each corpus of a transfer, in the order of its corpora; named ``<transfer>-<corpus>``."""
    shared = {name: getattr(transfer, name) for name in ("group", "positive", "negative", "unit", "source", "cutoff")}
    return {
        corpus: Task(name=f"{transfer.name}-{corpus}", track="transfer", corpus=corpus, prompts={}, **shared)
        for corpus in transfer.corpora
    }


def _parts(condition: str) -> frozenset[str]:
    return frozenset(part.strip() for part in re.split(r"\sand\s", condition, flags=re.IGNORECASE))


def _names(condition: str) -> frozenset[str]:
    """Words that are neither quoted, nor of SQL, nor functions."""
    unquoted = re.sub(r"'[^']*'", " ", condition.lower())
    return frozenset(re.findall(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()", unquoted)) - _SQL_WORDS


def load_tasks(path: Path = TASKS, prompts: Path = PROMPTS) -> tuple[Task, ...]:
    """Read and check the tasks of a task file.

    Args:
        path: a TOML file of ``[[task]]`` tables, and ``[[transfer]]`` tables for `load_transfers`.
        prompts: a TOML file of prompt sets; see `load_prompts`.

    Raises:
        TaskError: naming file and row, for an unknown or missing field, a value out of its vocabulary,
            a condition that is not SQL, a set of prompts that is not there, or a name used twice.
    """
    sets = load_prompts(prompts)
    tasks = []
    for where, row in _tables(path, "task"):
        _check_row(where, row, Task)
        if row["prompts"] not in sets:
            raise TaskError(f"{where}: {prompts.name} has no set {row['prompts']!r}; add one, or name another")
        tasks.append(Task(**{**row, "prompts": sets[row["prompts"]]}))
    return tuple(tasks)


def load_transfers(path: Path = TASKS) -> tuple[Transfer, ...]:
    """Read and check the ``[[transfer]]`` tables of a task file.

    Raises:
        TaskError: as `load_tasks`, and for fewer than two corpora or one named twice.
    """
    transfers = []
    for where, row in _tables(path, "transfer"):
        corpora = row.get("corpora", [])
        if not isinstance(corpora, list) or not all(isinstance(corpus, str) for corpus in corpora):
            raise TaskError(f"{where}: corpora must be a list of names, not {corpora!r}")
        if len(corpora) < 2 or len(set(corpora)) < len(corpora):
            raise TaskError(f"{where}: corpora must be two or more, each once, not {corpora!r}")
        _check_row(where, row, Transfer)
        transfers.append(Transfer(**{**row, "corpora": tuple(corpora)}))
    return tuple(transfers)


def load_prompts(path: Path = PROMPTS) -> dict[str, dict[str, tuple[PromptPair, ...]]]:
    """The sets of prompts by name, and by language in them.

    Raises:
        TaskError: naming file and set, for a set without English, a language with fewer than `MIN_PAIRS`
            pairs or with a text twice, or what is no pair.
    """
    return {name: _prompts(f"{path.name}: set {name}", content) for name, content in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{path.name}: not a TOML file: {error}") from error


def _tables(path: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """The tables of one kind, each with words that say where it is; no name twice."""
    content = _read(path)
    if set(content) - {"task", "transfer"} or not all(isinstance(rows, list) for rows in content.values()):
        raise TaskError(
            f"{path.name}: write one [[task]] table a task, one [[transfer]] table a transfer, nothing else at the top"
        )
    tables = []
    seen: set[str] = set()
    for number, row in enumerate(content.get(kind, []), 1):
        name = str(row.get("name", "no name"))
        where = f"{path.name}: {kind} {number} ({name})"
        if name in seen and "name" in row:
            raise TaskError(f"{where}: this name is used before; rename one")
        seen.add(name)
        tables.append((where, row))
    return tables


def _check_row(where: str, row: Mapping[str, Any], kind: type[Task] | type[Transfer]) -> None:
    known = {f.name for f in fields(kind)}
    if unknown := sorted(set(row) - known):
        raise TaskError(f"{where}: unknown field {', '.join(unknown)}; the fields are {', '.join(sorted(known))}")
    if missing := sorted(known - {"cutoff"} - set(row)):
        raise TaskError(f"{where}: field {', '.join(missing)} is missing")
    for name in sorted(set(row) - {"corpora"}):
        if not isinstance(row[name], str) or (name != "cutoff" and not row[name].strip()):
            hint = "; pairs go into prompts.toml, here stands the name of their set" if name == "prompts" else ""
            raise TaskError(f"{where}: {name} must be a text that is not empty, not {row[name]!r}{hint}")
    if not _NAME.fullmatch(row["name"]):
        raise TaskError(f"{where}: a name is a file name: small letters, digits, - and _")
    for name, allowed in (("group", GROUPS), ("track", TRACKS), ("unit", UNITS), ("source", sources.SOURCES)):
        if name in known and row[name] not in allowed:
            raise TaskError(f"{where}: {name} is {row[name]!r}, but must be one of {', '.join(allowed)}")
    for name in ("positive", "negative"):
        _check_condition(where, name, row[name])


def _check_condition(where: str, name: str, condition: str) -> None:
    try:
        statements = len(duckdb.extract_statements(f"SELECT ({condition})"))
    except duckdb.Error as error:
        raise TaskError(f"{where}: {name} is not an SQL condition: {error}") from error
    if statements != 1:
        raise TaskError(f"{where}: {name} must be one SQL condition, without a semicolon")


def _prompts(where: str, content: object) -> dict[str, tuple[PromptPair, ...]]:
    if not isinstance(content, dict) or "en" not in content:
        raise TaskError(f"{where}: it must have the language en: en = [[negative, positive], ...]")
    checked: dict[str, tuple[PromptPair, ...]] = {}
    for language, pairs in content.items():
        if not _LANGUAGE.fullmatch(language):
            raise TaskError(f"{where}: a language is two or three small letters, not {language!r}")
        if not isinstance(pairs, list) or len(pairs) < MIN_PAIRS:
            raise TaskError(f"{where}: {language} must have at least {MIN_PAIRS} pairs [negative, positive]")
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(t, str) and t.strip() for t in pair)):
                raise TaskError(f"{where}: {language} has {pair!r}, not a pair [negative, positive] of texts")
        texts = [text for pair in pairs for text in pair]
        if twice := sorted({text for text in texts if texts.count(text) > 1}):
            raise TaskError(f"{where}: {language} says {twice[0]!r} twice; every text must be another")
        checked[language] = tuple((negative, positive) for negative, positive in pairs)
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
    query = _ROWS.format(age_band=AGE_BAND, positive=task.positive, negative=task.negative)
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
