"""The words that captions are made of: which phrases a set of facts allows, in each language.

A language is two files in ``warehouse/vocabulary/phrases``: ``<language>.csv``, its phrases, and ``<language>.toml``,
its grammar (`pipelines.grammar`). A row of the CSV is ``attribute, value, form, phrase``:

* ``attribute`` and ``value`` are a fact, or several joined by ``+`` (``sex+age``, ``female+child``: "girl"); ``|``
  parts alternative values, ``*`` is any that the phrase has words for.
* ``form`` says where the phrase can stand: ``noun`` (who it is: "woman", "une femme"), ``adjective`` ("elderly",
  agreeing with the language's word for a person), ``having`` (after the language's "with": "a rough voice") or
  ``clause`` (what is said of the person, in the third person and without a gendered word: "speaks in a monotone").
* ``{value}`` in the phrase is the value itself, if it is a short plain name; ``{table}`` is the value's word in that
  table of the grammar (``{adverb}``: "severely"), and the row stands only for values that the table has. Of several
  facts it is the last that is quoted: the severity after its state.

Only affirmative words are used (an absent state is said by its antonym): text models barely hear a negation.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from pipelines.grammar import PHRASES, Grammar, PhraseError, grammar

COLUMNS = ("attribute", "value", "form", "phrase")
FORMS = frozenset({"noun", "adjective", "having", "clause"})

# Asked by one corpus alone (CLAC), of everybody in it: a caption that said it would name the corpus.
UNSPOKEN = frozenset({"symptoms"})

INITIALS = frozenset({"us", "usa", "uk"})
# Accents may be the speaker's own free text: only a short plain name becomes part of a sentence.
PLAIN_NAME = re.compile(r"(?!.*\b(no|non|not|none|unknown|other)\b)[a-z]+(?:[ -][a-z]+){0,3}")
PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Phrase:
    """Words that state ``says`` (facts as ``attribute=value``) and stand where ``form`` allows."""

    says: tuple[str, ...]
    form: str
    text: str

    @cached_property
    def topics(self) -> frozenset[str]:
        """What it is about: the attributes, a state and its severity being one topic."""
        return frozenset(topic(fact) for fact in self.says)


def topic(fact: str) -> str:
    """``depression`` for ``depression=present`` and for ``depression_severity=mild``."""
    attribute = fact.partition("=")[0]
    name = attribute.removesuffix("_severity")
    return attribute if name == "voice" else name  # voice_severity is itself a state


def phrases_for(facts: Sequence[str], language: str = "en") -> list[Phrase]:
    """All phrases that these facts (``attribute=value``) allow, in the order of the language's table.

    Raises:
        PhraseError: there is no such language, or its table has a bad row.
    """
    values: dict[str, list[str]] = {}
    for fact in sorted(set(facts)):
        attribute, _, value = fact.partition("=")
        if attribute not in UNSPOKEN:
            values.setdefault(attribute, []).append(value)
    rules = grammar(language)
    of_child = "child" in values.get("age", [])
    found = []
    for attributes, rows in _rows(language).items():
        if not values.keys() >= set(attributes):
            continue
        for chosen in itertools.product(*(values[attribute] for attribute in attributes)):
            says = tuple(sorted(f"{a}={v}" for a, v in zip(attributes, chosen, strict=True)))
            for row in rows:
                if of_child and rules.grown_up.search(row.phrase):
                    continue
                text = _said(row, chosen, rules)
                if text is not None:
                    found.append((row.number, Phrase(says, row.form, text)))
    return [phrase for _, phrase in sorted(found, key=lambda numbered: numbered[0])]


# Reading the tables


@dataclass(frozen=True)
class _Row:
    number: int
    attributes: tuple[str, ...]
    values: tuple[frozenset[str], ...]
    form: str
    phrase: str

    @cached_property
    def places(self) -> tuple[str, ...]:
        return tuple(PLACE.findall(self.phrase))


@cache
def _rows(language: str) -> Mapping[tuple[str, ...], Sequence[_Row]]:
    """The rows of a language's table by the attributes that they speak of."""
    rules = grammar(language)
    tables = {"value", *rules.words}
    found: dict[tuple[str, ...], list[_Row]] = {}
    path = PHRASES / f"{language}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise PhraseError(f"{path.name}: its columns are not {', '.join(COLUMNS)}")
        for number, row in enumerate(reader, start=2):
            attributes = tuple(row["attribute"].split("+"))
            values = tuple(frozenset(part.split("|")) for part in row["value"].split("+"))
            if len(attributes) != len(values) or row["form"] not in FORMS or not row["phrase"]:
                raise PhraseError(
                    f"{path.name}, row {number}: needs as many values as attributes, "
                    f"a form of {sorted(FORMS)} and a phrase"
                )
            read = _Row(number, attributes, values, row["form"], row["phrase"])
            if unknown := set(read.places) - tables:
                raise PhraseError(
                    f"{path.name}, row {number}: {{{min(unknown)}}} is no table of {language}.toml: {sorted(tables)}"
                )
            if read.form == "having" and not rules.with_:
                raise PhraseError(f'{path.name}, row {number}: {language}.toml has no "with" for it to stand after')
            found.setdefault(attributes, []).append(read)
    return found


def _said(row: _Row, chosen: Sequence[str], rules: Grammar) -> str | None:
    """The row's phrase for these values, or None where it does not fit them."""
    for value, allowed in zip(chosen, row.values, strict=True):
        if value not in allowed and "*" not in allowed:
            return None
    if not row.places:
        return row.phrase
    attribute, value = row.attributes[-1], chosen[-1]
    words = {}
    for place in row.places:
        word = _plain(attribute, value, rules) if place == "value" else rules.words[place].get(value)
        if word is None:
            return None
        words[place] = word
    return PLACE.sub(lambda place: words[place[1]], row.phrase)


def _plain(attribute: str, value: str, rules: Grammar) -> str | None:
    """A value to be quoted; None where it is no plain name, or the language has its own word for it."""
    if PLAIN_NAME.fullmatch(value) is None or value in rules.words.get(attribute, {}):
        return None
    return " ".join(word.upper() if word in INITIALS else word.title() for word in value.split())
