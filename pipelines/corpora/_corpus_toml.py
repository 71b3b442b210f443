"""corpus.toml, the one file that declares a cohort: read, checked key by key, and written as a commented template."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from pipelines.corpora._base import Access, Licence, RecipeError
from pipelines.corpora._read import fold, text_of
from pipelines.corpora._vocabulary import attributes, instruments, language, meanings, nearest, words
from pipelines.schema import SOURCES, SPEECH_TASKS, SPLITS

NAME = "corpus.toml"
OLD_NAME = "columns.toml"
OF_RECORDING = (
    "speaker",
    "path",
    "session",
    "language",
    "split",
    "speech_task",
    "device",
    "date",
    "age",
    "channel",
    "start",
    "end",
)
OF_SPEAKER = ("sex", "birth_year", "native_language", "country", "person")
# Names that are often met and look like none of ours.
OFTEN = {
    **dict.fromkeys(("id", "subject", "participant", "patient", "proband", "sujet", "sujeto"), "speaker"),
    **dict.fromkeys(("file", "filename", "audio", "wav", "datei", "fichier", "archivo"), "path"),
    **dict.fromkeys(("gender", "geschlecht", "sexe", "sexo", "sesso"), "sex"),
    **dict.fromkeys(("alter", "edad", "eta"), "age"),
    **dict.fromkeys(("visit", "visite", "sitzung", "seance"), "session"),
    **dict.fromkeys(("task", "aufgabe", "tache", "tarea"), "speech_task"),
    **dict.fromkeys(("partition", "fold", "subset"), "split"),
}
ROLES: tuple[Literal["train", "evaluate"], ...] = ("train", "evaluate")


@dataclass(frozen=True)
class Key:
    """A key of [corpus] or [licence]: its type, an example as it is written, and what it means."""

    type: type
    example: str
    meaning: str
    required: bool = False


KEYS: Mapping[str, Mapping[str, Key]] = {
    "corpus": {
        "title": Key(str, '"Voices of my clinic"', "for reports", required=True),
        "language": Key(str, '"fr"', "spoken where the table has no column language", required=True),
        "label": Key(str, '"depression"', "the attribute that the split balances; sex by default"),
        "citation": Key(str, '""', "how to cite it"),
        "homepage": Key(str, '""', "where it is described"),
        "roles": Key(list, '["train", "evaluate"]', "what it is used for"),
        "official_splits": Key(bool, "false", "use the column split: train, dev, test"),
        "epoch_share": Key(float, "1.0", "share of it seen in one training epoch"),
        "encoding": Key(str, '"cp1252"', "of a text table that is not UTF-8"),
        "ignore": Key(list, '["notes"]', "columns that mean nothing here"),
    },
    "licence": {
        "name": Key(
            str, '"Ethics vote 123/24, data use agreement of 2024-05-01"', "what allows the use", required=True
        ),
        "url": Key(str, '""', "where its text is"),
        "access": Key(str, '"private"', f"how others get it: {', '.join(get_args(Access))}", required=True),
        "may_train": Key(bool, "true", "true or false: may models be trained on it?", required=True),
        "may_redistribute": Key(bool, "false", "true or false: may the audio be passed on?", required=True),
        "expires": Key(date, "2030-12-31", "last day on which it may be used, if there is one"),
        "consent": Key(str, '"research on speech and health"', "what the speakers agreed to", required=True),
    },
}
TABLES = (*KEYS, "columns", "words", "instruments", "sources")
TYPES = {str: 'a text such as "..."', bool: "true or false", list: 'a list such as ["..."]', date: "a day: 2030-12-31"}


@dataclass(frozen=True)
class CorpusToml:
    """The contents of corpus.toml, checked; all of it empty where there is no such file."""

    path: Path
    corpus: Mapping[str, Any] = field(default_factory=dict)
    licence: Licence | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # folded own name -> ours, one or several
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # our column -> folded own word -> our word
    instruments: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    own_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # our column -> own words as written

    @property
    def ignore(self) -> frozenset[str]:
        """Folded names of the columns that mean nothing here."""
        return frozenset(fold(name) for name in self.corpus.get("ignore", ()))

    @property
    def language(self) -> str | None:
        """The language where the table has no column for it, as a tag."""
        return language(self.corpus.get("language", ""))

    @property
    def encoding(self) -> str:
        """Of a text table; a byte order mark is skipped."""
        return str(self.corpus.get("encoding", "utf-8-sig"))


def columns() -> frozenset[str]:
    """Every column name of ours."""
    return frozenset({*OF_RECORDING, *OF_SPEAKER, *attributes()})


def guess(name: str) -> str | None:
    """The column of ours that an owner's may be, to be asked and never taken."""

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKD", text))

    by_plain = {plain(ours): ours for ours in sorted(columns())} | OFTEN
    near = get_close_matches(plain(name), by_plain, n=1, cutoff=0.8)
    return by_plain[near[0]] if near else None


def read(folder: Path, *, complete: bool) -> CorpusToml:
    """The folder's corpus.toml; ``complete``: it has to state title, language and licence.

    Raises:
        RecipeError: not TOML, a key or word that is not known or of the wrong type, or required keys missing.
    """
    path = folder / NAME
    if not path.is_file():
        if (folder / OLD_NAME).is_file():
            raise RecipeError(f"{folder / OLD_NAME}: this file is called {NAME} now: rename it")
        if complete:
            raise RecipeError(f"{path} not found: `slap new-cohort {folder}` writes one to fill in")
        return CorpusToml(path)
    try:
        toml = tomllib.loads(text_of(path, errors="strict"))
    except (ValueError, OSError, RecursionError) as error:  # ValueError: a number of 5,000 digits as well
        raise RecipeError(f"{path}: not TOML: {error}") from error
    _allow(path, "table", toml, TABLES)
    for part in (toml, toml.get("words", {})):
        for name, table in part.items():
            if not isinstance(table, dict):
                raise RecipeError(f"{path}: {name!r} has to be a table of its own, [{name}] or [words.{name}]")
    for table in KEYS:
        _check_keys(path, table, toml.get(table, {}))
    _check_complete(path, toml, KEYS if complete else {"licence"} & toml.keys())
    corpus = toml.get("corpus", {})
    _check_corpus(path, corpus)
    known = sorted(columns())
    renamed = {fold(own): _texts(path, f"[columns] {own!r}", ours) for own, ours in toml.get("columns", {}).items()}
    _allow(path, "column of [columns]", [ours for several in renamed.values() for ours in several], known)
    _allow(path, "column of [words]", toml.get("words", {}), known)
    scales = {name: str(instrument) for name, instrument in toml.get("instruments", {}).items()}
    _allow(path, "column of [instruments]", scales, list(instruments()))
    for column, instrument in scales.items():
        _allow(path, f"instrument of {column}", [instrument], list(instruments()[column]))
    sources = {name: str(source) for name, source in toml.get("sources", {}).items()}
    _allow(path, "column of [sources]", sources, list(attributes()))
    _allow(path, "source", sources.values(), sorted(SOURCES))
    own_words = {column: tuple(table) for column, table in toml.get("words", {}).items()}
    meant = {
        column: {fold(own): str(ours) for own, ours in table.items()} for column, table in toml.get("words", {}).items()
    }
    for column, table in meant.items():
        if column not in scales:
            _allow_words(path, column, table.values())
    return CorpusToml(path, corpus, _licence(path, toml.get("licence")), renamed, meant, scales, sources, own_words)


def lines(table: str, stated: Mapping[str, object]) -> list[str]:
    """[corpus] or [licence] as TOML: every key with its meaning, those that are not stated behind a ``#``."""
    made = [f"[{table}]"]
    for name, key in KEYS[table].items():
        value = _toml(stated[name]) if name in stated else key.example
        made.append(f"{'' if name in stated else '# '}{name} = {value}  # {key.meaning}")
    return made


def _toml(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else json.dumps(value, ensure_ascii=False)


def _check_keys(path: Path, table: str, given: Mapping[str, Any]) -> None:
    keys = KEYS[table]
    _allow(path, f"key of [{table}]", given, list(keys))
    for name, value in given.items():
        wanted = keys[name].type
        allowed = (date, str) if wanted is date else (float, int) if wanted is float else wanted
        if not isinstance(value, allowed) or (wanted is float and isinstance(value, bool)):
            said = TYPES.get(wanted, "a number such as 0.5")
            raise RecipeError(f"{path}: [{table}] {name} = {value!r} has to be {said}")


def _check_complete(path: Path, toml: Mapping[str, Any], tables: Iterable[str]) -> None:
    """Complain about all required keys that are absent or empty, with an example of each."""
    said, help_ = [], []
    for table in tables:
        missing = [
            name for name, key in KEYS[table].items() if key.required and toml.get(table, {}).get(name, "") == ""
        ]
        if missing:
            said.append(f"[{table}] does not say {', '.join(missing)}")
            help_ += [f"  [{table}]"]
            help_ += [f"  {name} = {KEYS[table][name].example}  # {KEYS[table][name].meaning}" for name in missing]
    if said:
        raise RecipeError("\n".join([f"{path}: {'; '.join(said)}. Add, with your own words:", *help_]))


def _check_corpus(path: Path, corpus: Mapping[str, Any]) -> None:
    spoken = corpus.get("language")
    if spoken and language(spoken) is None:
        raise RecipeError(
            f"{path}: [corpus] language {spoken!r} is no tag such as 'fr' or 'pt-BR'"
            f"{nearest(spoken, words('language'))}"
        )
    labels = ["sex", *(name for name, known in attributes().items() if known.kind in {"state", "category"})]
    _allow(path, "[corpus] label", [corpus.get("label", "sex")], labels)
    _allow(path, "role", _texts(path, "[corpus] roles", corpus.get("roles", [])), ROLES)
    _texts(path, "[corpus] ignore", corpus.get("ignore", []))
    if not 0 < corpus.get("epoch_share", 1.0) <= 1:
        raise RecipeError(f"{path}: [corpus] epoch_share has to be above 0 and at most 1")
    try:
        codecs.lookup(corpus.get("encoding", "utf-8"))
    except LookupError as error:
        raise RecipeError(f"{path}: encoding {corpus['encoding']!r} is not known; try 'cp1252' or 'utf-8'") from error


def _licence(path: Path, stated: Mapping[str, Any] | None) -> Licence | None:
    if stated is None:
        return None
    _allow(path, "[licence] access", [stated["access"]], get_args(Access))
    expires = stated.get("expires")
    try:
        last = date.fromisoformat(expires) if isinstance(expires, str) else expires
    except ValueError as error:
        raise RecipeError(f"{path}: [licence] expires = {expires!r} has to be {TYPES[date]}") from error
    return Licence(
        name=stated["name"],
        url=stated.get("url", ""),
        access=stated["access"],
        may_train=stated["may_train"],
        may_redistribute=stated["may_redistribute"],
        expires=last.date() if isinstance(last, datetime) else last,
        consent=stated["consent"],
    )


def _texts(path: Path, what: str, given: object) -> tuple[str, ...]:
    several = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in several):
        raise RecipeError(f'{path}: {what} has to be a text such as "age", or a list of texts')
    return tuple(several)


def _allow_words(path: Path, column: str, given: Iterable[str]) -> None:
    closed: Iterable[str] | None = meanings(column)
    if column == "speech_task":
        closed = sorted(SPEECH_TASKS)
    elif column == "split":
        closed = SPLITS
    if closed is not None:
        allowed = list(closed)
        shown = sorted(filter(None, set((meanings(column) or dict.fromkeys(allowed, "")).values()))) or None
        for word in given:
            if word and fold(word) not in allowed:
                raise RecipeError(f"{path}: [words.{column}] {word!r} is not known{nearest(word, allowed, shown)}")


def _allow(path: Path, what: str, given: Iterable[object], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for word in given:
        if word not in allowed:
            raise RecipeError(f"{path}: {what} {word!r} is not known{nearest(word, allowed)}")
