"""How a language puts the phrases of a caption together: a `Grammar` is data, read from ``phrases/<language>.toml``.

The sentence is the same everywhere: who speaks (a noun phrase, perhaps with traits after "with"), and what is said of
them. Languages differ in the words around it, so a new one needs two files and no code.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PHRASES = Path(__file__).parents[1] / "warehouse" / "vocabulary" / "phrases"
# Names of languages: a row per BCP-47 code, a column per language of the captions, in the form that its phrases quote
# (Slovak: the locative, after "v"). From the Unicode CLDR 49; those that it lacks, from words.csv or by hand.
LANGUAGES = PHRASES.parent / "languages.csv"


class PhraseError(ValueError):
    """Words that cannot be used; the message names the file and the row or key."""


@dataclass(frozen=True)
class Grammar:
    """The words around the phrases. Every noun phrase is complete, with its article; ``{}`` stands for what goes in.

    In languages whose adjectives agree, those of the table agree with the word for a person in ``described``; they
    stand with that word alone, and what a gendered noun needs is said by the other forms.
    """

    people: tuple[str, ...]  # the noun phrase of somebody of whom nothing else is said
    described: tuple[str, ...]  # with adjectives; the first can also take one that says the language spoken
    adjectives: str  # between two adjectives
    scenes: tuple[str, ...]  # sentences that say that somebody speaks, around a noun phrase
    subjects: tuple[str, ...]  # of a sentence, where no noun phrase is
    pronouns: Mapping[str, tuple[str, ...]]  # female, male, any: subject of a second sentence; may be empty (pro-drop)
    and_: str  # before the last item of a list; with its spaces
    comma: str
    grown_up: re.Pattern[str]  # words for the sex of adults alone
    words: Mapping[str, Mapping[str, str]]  # table -> value -> the word that a phrase quotes
    sounds: tuple[tuple[re.Pattern[str], str], ...] = ()  # what the next word's sound changes: "a" -> "an"
    # English alone puts adjectives before any noun: its nouns come without an article.
    noun: str = "{}"  # noun (with its adjectives) -> noun phrase
    subject: tuple[str, ...] = ("{}",)  # the same, as the subject of a sentence
    adjectives_with_noun: bool = False
    tangled_and: str = ""  # for a list whose items have an "and" in them; empty: `and_`
    with_: tuple[str, ...] = ()  # joins traits to a noun phrase; none: no phrase of form "having"
    has: str = ""  # says traits of a subject; empty: traits stand with a noun phrase alone
    is_: str = ""  # says an adjective of a subject; empty: adjectives stand with the noun alone
    stop: str = "."
    space: str = " "


def languages() -> tuple[str, ...]:
    """Languages that captions can be written in, by BCP-47 code: those with both files."""
    return tuple(sorted(path.stem for path in PHRASES.glob("*.csv") if path.with_suffix(".toml").is_file()))


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language.

    Raises:
        PhraseError: there is no such language, or its file lacks a key or has one too many.
    """
    path = PHRASES / f"{language}.toml"
    if language not in languages():
        raise PhraseError(
            f"there are no phrases in {language!r}, only in {list(languages())}: "
            f"add {path.name} and {language}.csv in {PHRASES}"
        )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        words = table.pop("words", {}) | {"language": _language_names(language)}
        return Grammar(**{_field(name): _value(name, value) for name, value in table.items()}, words=words)
    except (tomllib.TOMLDecodeError, TypeError, re.error) as error:
        raise PhraseError(f"{path.name}: {error}") from error


def _field(name: str) -> str:
    return f"{name}_" if name in ("and", "with", "is") else name


def _value(name: str, value: Any) -> Any:
    if name == "grown_up":
        return re.compile(value, re.IGNORECASE)
    if name == "sounds":
        return tuple((re.compile(pattern, re.IGNORECASE), spelling) for pattern, spelling in value)
    if name == "pronouns":
        if "any" not in value:
            raise TypeError("pronouns need those of anybody: any = [...]")
        return {sex: tuple(words) for sex, words in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _language_names(language: str) -> dict[str, str]:
    with LANGUAGES.open(encoding="utf-8", newline="") as file:
        return {row["code"]: row[language] for row in csv.DictReader(file) if row.get(language)}
