"""The vocabulary tables of ``warehouse/vocabulary`` as a reader of cohorts needs them: attributes, scales, words."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from pipelines.corpora._read import fold

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"
LANGUAGE = re.compile(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", re.IGNORECASE)
AGE_RANGE = re.compile(r"[0-9]+ ?[-–] ?[0-9]+")


@dataclass(frozen=True)
class Attribute:
    """A row of attributes.csv: what a column of that name holds."""

    name: str
    family: str
    kind: str  # state, scale, number, category or text
    unit: str | None
    bounds: tuple[float, float] | None  # of a number
    allowed: tuple[str, ...]  # of a category; none: any word


@cache
def attributes() -> dict[str, Attribute]:
    """The attributes of the vocabulary by name."""
    found = {}
    for row in _table("attributes.csv"):
        low, _, high = row["allowed"].partition("..")
        found[row["attribute"]] = Attribute(
            name=row["attribute"],
            family=row["family"],
            kind=row["kind"],
            unit=row["unit"] or None,
            bounds=(float(low), float(high)) if high else None,
            allowed=tuple(filter(None, row["allowed"].split("|"))) if row["kind"] in {"state", "category"} else (),
        )
    return found


@cache
def instruments() -> dict[str, dict[str, tuple[float, float]]]:
    """Attribute -> the instruments that measure it -> lowest and highest score."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in _table("instruments.csv"):
        measured = found.setdefault(row["measures"], {})
        low, high = float(row["low"]), float(row["high"])
        lowest, highest = measured.get(row["instrument"], (low, high))
        measured[row["instrument"]] = (min(low, lowest), max(high, highest))
    return found


@cache
def targets() -> dict[str, str]:
    """Attribute that is measured -> the state that its scores decide."""
    return {row["measures"]: row["target"] for row in _table("instruments.csv") if row["target"]}


@cache
def words(domain: str) -> Mapping[str, str]:
    """Folded word -> the word that the warehouse makes of it, "" where it says "unknown"."""
    return {fold(row["raw"]): row["canonical"] for row in _table("words.csv") if row["domain"] == domain}


@cache
def meanings(column: str) -> Mapping[str, str] | None:
    """Allowed folded word -> its meaning, for a column whose words are a closed list; None where any word goes."""
    attribute = attributes().get(column)
    if column == "sex":
        return words("sex")
    if attribute is not None and attribute.kind == "state":
        return {**words("state"), **words(column)}
    if attribute is not None and attribute.allowed:
        return {word: word for word in attribute.allowed} | dict(words(column))
    return None


def language(text: str) -> str | None:
    """A language as a BCP-47 tag: from a tag or from a name that words.csv knows; None where it is neither."""
    named = words("language").get(fold(text))
    if named:
        return named
    return text.replace("_", "-") if LANGUAGE.fullmatch(text) else None


def nearest(word: object, allowed: Iterable[str], otherwise: Iterable[str] | None = None) -> str:
    """`` (did you mean 'x'?)``; where none is near `` (allowed: ...)``: ``otherwise``, or all if they are few."""
    by_folded = {name.casefold(): name for name in sorted(allowed)}
    near = get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f" (did you mean {by_folded[near[0]]!r}?)"
    shown = list(by_folded.values()) if otherwise is None else list(otherwise)
    return f" (allowed: {', '.join(shown)})" if 0 < len(shown) <= 20 else ""


def _table(name: str) -> list[dict[str, str]]:
    with (VOCABULARY / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
