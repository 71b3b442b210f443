"""Does a caption say what the facts say, and nothing else?

The check is a closed world: every word of a caption must belong to a phrase that states a known fact, or be a word that
states nothing. What is left over refuses the caption, whatever it means, so an invented illness, an age, an id or a
sentence in another language is refused without being understood. The phrases are those of ``phrases/en.csv`` and the
synonyms of ``warehouse/vocabulary/faithfulness.toml``. A right caption in words that neither has is refused too: it
costs a second call or a template, never a false label.
"""

from __future__ import annotations

import csv
import re
import tomllib
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from pipelines import captions
from pipelines.grammar import grammar

WORDS = captions.PHRASES.parent / "faithfulness.toml"
LANGUAGE = "en"  # the only language whose words are known
MOST_SENTENCES = 3
MOST_WORDS = 120
MOST_IN_PHRASE = 12  # words; the longest of phrases/en.csv has fewer (tested)

_TOKEN = re.compile(r"[^\W_]+|[.,;:!?]")
_STOPS = frozenset(".;:!?")
_HEALTHY = frozenset({"none", "minimal", "normal"})


@dataclass(frozen=True)
class Problem:
    """Why a caption is refused: the kind of error and a sentence that a language model can act on."""

    kind: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """What a caption states (``attribute=value``, sorted) and what is wrong with it; accepted if nothing is."""

    used: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def accepted(self) -> bool:
        """True where nothing is wrong."""
        return not self.problems


@dataclass
class _Mention:
    """Words ``start..end`` that state one of several readings, each a few facts that hold together."""

    start: int
    end: int
    readings: list[tuple[str, ...]] = field(default_factory=list)
    degree: str = ""  # the word of severity that these words are, where they can be one
    stated: tuple[str, ...] = ()  # the reading that the facts bear out


_Saying = tuple[tuple[str, ...], str]  # the facts that words state, and the class that they need


@dataclass(frozen=True)
class _Lexicon:
    phrases: Mapping[str, Sequence[_Saying]]  # words -> what they state
    patterns: Sequence[tuple[re.Pattern[str], _Saying]]  # likewise, where the words vary
    degrees: tuple[tuple[re.Pattern[str], str], ...]
    classes: Mapping[str, frozenset[str]]
    words: Mapping[str, frozenset[str]]
    topics: Mapping[str, frozenset[str]]
    syntax: Mapping[str, frozenset[str]]
    accents: frozenset[str]
    languages: frozenset[str]  # names in small letters


def check(text: str, facts: Collection[str], required: Collection[str] = ()) -> Verdict:
    """Hold a caption against the facts it may state.

    Args:
        text: an English caption.
        facts: ``attribute=value``, all that is known.
        required: facts that the caption must state, all of them.

    Returns:
        What it states, and every problem found: ``form``, ``negated``, ``hedged``, ``past``, ``other person``,
        ``number``, ``added`` (not among the facts), ``contradicts``, ``severity``, ``health`` (an illness that no
        fact names), ``origin`` (a nationality), ``unknown`` (a word that is not understood), ``dropped``.
    """
    lexicon = _lexicon()
    tokens = _tokens(text)
    problems = list(_form(text, tokens))
    mentions = _mentions(tokens, lexicon, facts)
    covered = {place for mention in mentions for place in range(mention.start, mention.end)}
    used, found = _judge(tokens, mentions, facts)
    problems += found
    problems += _leftovers(tokens, covered, mentions, facts, lexicon)
    problems += [
        Problem("dropped", f"leaves out {fact}")
        for fact in sorted(set(required) - used)
        if fact not in captions.UNSPOKEN
    ]
    return Verdict(tuple(sorted(used)), tuple(dict.fromkeys(problems)))


# Words


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _TOKEN.findall(re.sub(r"[-\u2010-\u2015/]", " ", re.sub(r"['\u2018\u2019`]", "", plain)))


def _normal(phrase: str) -> str:
    return " ".join(word for word in _tokens(phrase) if word not in _STOPS and word != ",")


def _form(text: str, tokens: Sequence[str]) -> Iterator[Problem]:
    sentences = len(re.findall(r"[.!?](?=\s|$)", text.strip()))
    if not 1 <= sentences <= MOST_SENTENCES or not text.strip().endswith((".", "!")):
        yield Problem("form", "must be one to three whole sentences, each ending in a full stop")
    if len(tokens) > MOST_WORDS:
        yield Problem("form", f"is longer than {MOST_WORDS} words")
    odd = sorted(set(re.findall(r"[^\w\s.,;:!/'\u2018\u2019\u2010-\u2014-]", text)))
    if "\n" in text.strip() or odd:
        yield Problem("form", f"must be plain prose in one line, without {' '.join(odd) or 'line breaks'}")


@cache
def _lexicon() -> _Lexicon:
    table: dict[str, Any] = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    phrases: dict[str, list[_Saying]] = {}
    patterns: list[tuple[re.Pattern[str], _Saying]] = []
    for name, rows in table["says"].items():
        for facts, texts in rows.items():
            saying = (tuple(facts.split("&")), "" if name == "any" else name)
            for pattern in _split(";".join(texts.values())):
                if re.fullmatch(r"[\w ]+", pattern):
                    phrases.setdefault(pattern, []).append(saying)
                else:
                    patterns.append((_whole(pattern), saying))
    for sayable in _sayable():
        for words, says in _of_phrases(sayable):
            phrases.setdefault(words, []).append((says, ""))
    return _Lexicon(
        phrases=phrases,
        patterns=patterns,
        degrees=tuple((_whole(p), name) for name, text in table["severity"].items() for p in _split(text)),
        classes={name: frozenset(text.split()) for name, text in table["classes"].items()},
        words={name: frozenset(text.split()) for name, text in table["words"].items()}
        | {"numbers": frozenset(table["closed"]["numbers"].split())},
        topics={name: frozenset(text.split()) for name, text in table["topics"].items()},
        syntax={name: frozenset(text.split()) for name, text in table["syntax"].items()},
        accents=frozenset(table["closed"]["accents"].split()),
        languages=frozenset(table["closed"]["languages"].split()),
    )


def _sayable() -> Iterator[list[str]]:
    """Every closed fact alone, and each sex with each age: what phrases/en.csv may have words for."""
    values = closed_values()
    for attribute, allowed in values.items():
        yield from ([f"{attribute}={value}"] for value in sorted(allowed))
    yield from ([f"sex={sex}", f"age={age}"] for sex in sorted(values["sex"]) for age in sorted(values["age"]))


def _of_phrases(facts: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for phrase in captions.phrases_for(facts, LANGUAGE):
        if any("_severity=" in fact for fact in phrase.says) and any(fact.endswith("=present") for fact in phrase.says):
            continue  # its word of severity is read for itself, so that what is joined to it is seen
        yield re.sub(r"^(an?|the) ", "", _normal(phrase.text)), phrase.says


@lru_cache(maxsize=64)
def _own(facts: frozenset[str]) -> tuple[dict[str, list[_Saying]], dict[str, str]]:
    """The phrases of a set of facts, and the names of its languages."""
    languages = {}
    for fact in facts:
        if fact.startswith("language="):
            for phrase in captions.phrases_for([fact], LANGUAGE):
                if phrase.text.startswith("speaks "):
                    languages[_normal(phrase.text.removeprefix("speaks "))] = fact
    if "language=zh" in facts:
        languages |= dict.fromkeys(("mandarin", "chinese", "mandarin chinese"), "language=zh")
    phrases: dict[str, list[_Saying]] = {}
    for words, says in _of_phrases(sorted(facts)):
        phrases.setdefault(words, []).append((says, ""))
    return phrases, languages


@cache
def closed_values() -> dict[str, frozenset[str]]:
    """Attribute -> the values that it may have: those of the vocabulary, where the owners' own words have no place."""
    folder = WORDS.parent
    found: dict[str, frozenset[str]] = {
        "sex": frozenset({"female", "male", "other"}),
        "age": frozenset({"child", "young", "middle-aged", "older"}),
    }
    with (folder / "attributes.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] in ("state", "category") and row["allowed"] and row["attribute"] not in captions.UNSPOKEN:
                found[row["attribute"]] = frozenset(row["allowed"].split("|"))
    states = [name for name, values in found.items() if values == {"present", "absent"}]
    with (folder / "instruments.csv").open(encoding="utf-8", newline="") as file:
        words = frozenset(row["word"] for row in csv.DictReader(file) if row["target"] and row["word"])
    return found | {f"{state}_severity": words for state in states}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _whole(pattern: str) -> re.Pattern[str]:
    # Commas inside a phrase are optional: "a smooth, clear voice".
    return re.compile(rf"(?<!\S)(?:{pattern.replace(' ', '(?: ,)? ')})(?!\S)")


def closed_accent(value: str) -> bool:
    """An accent made of the names of places and peoples alone, so that it can hold nothing else of the speaker's."""
    words = value.casefold().replace("-", " ").split()
    return 0 < len(words) <= 4 and set(words) <= _lexicon().accents


# What is mentioned


def _mentions(tokens: Sequence[str], lexicon: _Lexicon, facts: Collection[str]) -> list[_Mention]:
    text, starts, place = " ".join(tokens), {}, 0
    ends = {}
    for number, token in enumerate(tokens):
        starts[place] = number
        place += len(token)
        ends[place] = number + 1
        place += 1
    spans: dict[tuple[int, int], _Mention] = {}
    needing: list[tuple[int, int, tuple[str, ...], str]] = []

    def mention(start: int, end: int) -> _Mention:
        return spans.setdefault((start, end), _Mention(start, end))

    def said(start: int, end: int, saying: _Saying) -> None:
        says, name = saying
        if name:
            needing.append((start, end, says, name))
        else:
            mention(start, end).readings.append(says)

    own, languages = _own(frozenset(facts))
    words = [(token, number) for number, token in enumerate(tokens) if token != ","]
    for first in range(len(words)):
        for last in range(first, min(first + MOST_IN_PHRASE, len(words))):
            key = " ".join(token for token, _ in words[first : last + 1])
            for saying in (*lexicon.phrases.get(key, ()), *own.get(key, ())):
                said(words[first][1], words[last][1] + 1, saying)
    for pattern, saying in lexicon.patterns:
        for match in pattern.finditer(text):
            said(starts[match.start()], ends[match.end()], saying)
    for pattern, degree in lexicon.degrees:
        for match in pattern.finditer(text):
            mention(starts[match.start()], ends[match.end()]).degree = degree
    _name_languages(tokens, lexicon, languages, mention)
    _name_accents(tokens, lexicon, facts, mention)
    seen = {place for start, end in spans for place in range(start, end)}
    seen |= {place for start, end, _, _ in needing for place in range(start, end)}
    for start, end, says, name in needing:
        if _of_class(tokens, start, end, seen, lexicon.classes[name]):
            mention(start, end).readings.append(says)
    chosen: list[_Mention] = []
    taken: set[int] = set()
    for candidate in sorted(spans.values(), key=lambda m: (m.start - m.end, m.start)):
        places = set(range(candidate.start, candidate.end))
        if not places & taken:
            taken |= places
            candidate.readings = list(dict.fromkeys(candidate.readings))
            chosen.append(candidate)
    return sorted(chosen, key=lambda m: m.start)


def _of_class(tokens: Sequence[str], start: int, end: int, seen: Collection[int], names: frozenset[str]) -> bool:
    """Whether the words stand beside a word of the class, with only other qualities in between."""
    if any(token in names for token in tokens[start:end]):
        return True
    inverted = False  # "quiet and flat is the voice"
    for place in range(end, len(tokens)):
        if tokens[place] in names:
            return True
        if tokens[place] in ("is", "are") or (inverted and tokens[place] in ("the", "her", "his", "their", "this")):
            inverted = True
            continue
        if place not in seen and tokens[place] not in _lexicon().syntax["joints"] and tokens[place] != "in":
            break
    for place in range(start - 1, -1, -1):
        if tokens[place] in names:
            return True
        if place not in seen and tokens[place] not in _lexicon().syntax["links"]:
            break
    return False


def _name_languages(tokens: Sequence[str], lexicon: _Lexicon, own: Mapping[str, str], mention: Any) -> None:
    for size in (2, 1):
        for start in range(len(tokens) - size + 1):
            end = start + size
            name = " ".join(tokens[start:end])
            if name not in own and name not in lexicon.languages:
                continue
            if _is_language(tokens, start, end, lexicon):
                mention(start, end).readings.append((own.get(name, f"language={name}"),))


def _is_language(tokens: Sequence[str], start: int, end: int, lexicon: _Lexicon) -> bool:
    """Whether a name is said of what is spoken: alone it would be a nationality."""
    after, before = [*tokens[end : end + 2], "", ""], ["", "", *tokens[:start]][-2:]
    if (
        after[0] in lexicon.syntax["tongue"]
        or after[:2] == ["is", "spoken"]
        or before in (["speaker", "of"], ["speakers", "of"])
    ):
        return True
    if before[1] in lexicon.syntax["possessive"] and after[0] == "is":  # "her English is"
        return True
    return before[1] in lexicon.syntax["spoken"] or (
        before[0] in ("speaks", "speaking") and before[1] not in ("an", "a")
    )


def _name_accents(tokens: Sequence[str], lexicon: _Lexicon, facts: Collection[str], mention: Any) -> None:
    own = {word for fact in facts if fact.startswith("accent=") for word in _tokens(fact.partition("=")[2])}
    start = 0
    while start < len(tokens):
        end = start
        while end < len(tokens) and tokens[end] in lexicon.accents | own:
            end += 1
        if end > start:
            after = tokens[end] if end < len(tokens) else ""
            before = list(tokens[max(0, start - 3) : start])
            spoken = after in _lexicon().syntax["accent_after"] or "accent" in before or before[-1:] == ["sounds"]
            if spoken:
                mention(start, end + (after in _lexicon().syntax["accent_after"])).readings.append(
                    (f"accent={' '.join(tokens[start:end])}",)
                )
        start = max(end, start + 1)


# What the facts say to it


def _bears_out(stated: str, facts: Collection[str]) -> str | None:
    """The fact that is stated, if it is one; an accent is known by its words."""
    if stated in facts:
        return stated
    attribute, _, value = stated.partition("=")
    accents = (fact for fact in facts if attribute == "accent" == fact.partition("=")[0])
    return next((fact for fact in accents if _normal(fact.partition("=")[2]) == value), None)


def _judge(
    tokens: Sequence[str], mentions: Sequence[_Mention], facts: Collection[str]
) -> tuple[set[str], list[Problem]]:
    used: set[str] = set()
    problems: list[Problem] = []
    degrees = _attached(tokens, mentions, facts)
    several = []
    for mention in mentions:
        if not mention.readings or mention.start in {start for start, _ in degrees}:
            continue
        true = [borne for reading in mention.readings if (borne := _all_borne(reading, facts))]
        true.sort(key=len, reverse=True)  # "young boy" says the sex too
        if not true:
            problems.append(_denial(tokens, mention, facts))
        elif len(true) == 1:
            mention.stated = true[0]
            used.update(true[0])
        else:
            several.append((mention, true))
    for mention, true in several:  # words with several meanings say what is not said yet
        mention.stated = next((reading for reading in true if not set(reading) <= used), true[0])
        used.update(mention.stated)
    grown_up = grammar(LANGUAGE).grown_up
    for mention in mentions if "age=child" in facts else ():
        if grown_up.search(" ".join(tokens[mention.start : mention.end])):
            problems.append(Problem("contradicts", f"{_quote(tokens, mention)} is said of adults, but age=child"))
    for (start, degree), target in degrees.items():
        word = next(m for m in mentions if m.start == start)
        said, problem = _degree(_quote(tokens, word), degree, target, facts)
        used.update(said)
        problems += problem
    return used, problems


def _all_borne(reading: tuple[str, ...], facts: Collection[str]) -> tuple[str, ...]:
    borne = [fact for stated in reading if (fact := _bears_out(stated, facts))]
    return tuple(borne) if len(borne) == len(reading) else ()


def _denial(tokens: Sequence[str], mention: _Mention, facts: Collection[str]) -> Problem:
    known = {fact.partition("=")[0]: fact for fact in facts}
    for reading in mention.readings:
        for stated in reading:
            attribute = stated.partition("=")[0]
            if attribute in known and not _bears_out(stated, facts):
                return Problem("contradicts", f"{_quote(tokens, mention)} contradicts {known[attribute]}")
    said = next(s for s in mention.readings[0] if not _bears_out(s, facts))
    return Problem("added", f"{_quote(tokens, mention)} says {said}, which is not among the facts")


def _quote(tokens: Sequence[str], mention: _Mention) -> str:
    return '"' + " ".join(tokens[mention.start : mention.end]) + '"'


def _attached(
    tokens: Sequence[str], mentions: Sequence[_Mention], facts: Collection[str]
) -> dict[tuple[int, str], list[_Mention]]:
    """Words of severity -> what they are said of: the state itself, then those joined to it by "and"."""
    lexicon = _lexicon()
    at = {place: mention for mention in mentions for place in range(mention.start, mention.end)}
    found: dict[tuple[int, str], list[_Mention]] = {}
    for mention in mentions:
        if not mention.degree:
            continue
        ahead = range(mention.end, len(tokens))
        behind = _towards(tokens, range(mention.start - 1, -1, -1), lexicon.syntax["back"], at)
        # "of a mild degree" looks back even where a state follows
        looks_back = (
            set(tokens[mention.end : mention.end + 1]) <= {"degree", "severity"}
            and "of" in tokens[max(0, mention.start - 2) : mention.start]
        )
        target = (
            (behind if looks_back else None)
            or _towards(tokens, ahead, lexicon.syntax["forms"], at)
            or behind
            or _towards(tokens, ahead, lexicon.syntax["forms"] | lexicon.syntax["lasting"], at)
        )
        if target is not None and (not mention.readings or _states_of(target, "present")):
            spread = mention.degree not in ("whole", "partly")
            found[mention.start, mention.degree] = [target, *(_joined(tokens, target, at) if spread else ())]
        elif not mention.readings:
            found[mention.start, mention.degree] = []
    return found


def _states_of(mention: _Mention, *values: str) -> bool:
    return any(fact.partition("=")[2] in values for reading in mention.readings for fact in reading)


def _towards(
    tokens: Sequence[str], places: Iterable[int], skipped: frozenset[str], at: Mapping[int, _Mention]
) -> _Mention | None:
    for place in places:
        mention = at.get(place)
        if mention is not None and mention.readings:
            return mention if _states_of(mention, "present", "absent") else None
        if mention is not None or tokens[place] not in skipped:
            return None
    return None


def _joined(tokens: Sequence[str], first: _Mention, at: Mapping[int, _Mention]) -> list[_Mention]:
    """States that "and" joins to the first, without verb or severity of their own: "severe depression and anxiety"."""
    joined, place = [], first.end
    verbs = _lexicon().syntax["verbs"]
    while place < len(tokens):
        mention = at.get(place)
        if mention is None and tokens[place] in (",", "and"):
            place += 1
        elif mention is None or mention.degree or tokens[place] in verbs or not _states_of(mention, "present"):
            break
        else:
            joined.append(mention)
            place = mention.end
    return joined


def _degree(
    word: str, degree: str, target: Sequence[_Mention], facts: Collection[str]
) -> tuple[set[str], list[Problem]]:
    """What a word of severity adds to its state, and whether the facts bear it out."""
    if not target:
        return set(), [Problem("severity", f"{word} is said of nothing that the facts name")]
    severity = {fact.partition("=")[0]: fact.partition("=")[2] for fact in facts}
    said, problems = set(), []
    for number, mention in enumerate(target):
        for fact in mention.stated:
            attribute, _, value = fact.partition("=")
            name = f"{attribute}_severity"
            known = severity.get(name)
            if value == "present" and attribute != "healthy":
                right = known == degree
            elif value == "absent" or attribute == "healthy":
                right = {
                    "whole": known is None or known in _HEALTHY,
                    "severe": known is None or known in _HEALTHY,  # "very relaxed"
                    "partly": known == "mild",
                }.get(degree, False)
            else:
                right = False
            if right and known is not None:
                said.add(f"{name}={known}")
            elif not right and (number == 0 or known is not None):
                truth = f"{name}={known}" if known else "no severity is known"
                problems.append(Problem("severity", f"{word} is wrong of {fact}: {truth}"))
    return said, problems


# What is left over


def _leftovers(
    tokens: Sequence[str],
    covered: Collection[int],
    mentions: Sequence[_Mention],
    facts: Collection[str],
    lexicon: _Lexicon,
) -> Iterator[Problem]:
    words = lexicon.words
    attributes = {fact.partition("=")[0] for fact in facts}
    neutral = words["neutral"].union(*(lexicon.topics.get(name, frozenset()) for name in attributes))
    ill = any(fact.endswith("=present") for fact in facts if fact != "healthy=present") or "healthy=absent" in facts
    if ill:
        neutral |= words["ill"]
    for place, token in enumerate(tokens):
        if place in covered or token in _STOPS or token == ",":
            continue
        if token in words["negations"] or (token.endswith("nt") and token[:-2] in {"is", "does", "do", "has", "are"}):
            yield Problem("negated", _negation(tokens, place, mentions))
        elif token in words["hedges"]:
            yield Problem("hedged", f'"{token}" makes it uncertain: state it plainly')
        elif token in words["elsewhen"] or (token == "used" and tokens[place + 1 : place + 2] == ["to"]):
            yield Problem("past", f'"{token}" speaks of another time: say how it is')
        elif token in words["numbers"] or any(letter.isdigit() for letter in token):
            yield Problem("number", f'"{token}" is a number or an age that the facts do not hold')
        elif token in neutral:
            continue
        elif token in words["others"]:
            yield Problem("other person", f'"{token}" speaks of somebody else')
        elif token in words["health"] or token in words["ill"]:
            yield Problem("health", f'"{token}" is not among the facts')
        elif token in lexicon.accents or token in lexicon.languages:
            yield Problem("origin", f'"{token}" is an origin: the facts hold a language or an accent alone')
        else:
            yield Problem("unknown", f'"{token}" is not covered by the facts: use plainer words')


def _negation(tokens: Sequence[str], place: int, mentions: Sequence[_Mention]) -> str:
    """Say what is negated: the next thing that is mentioned, up to the end of the clause."""
    for there in range(place + 1, min(place + 8, len(tokens))):
        if tokens[there] in _STOPS or tokens[there] == "but":
            break
        for mention in mentions:
            if mention.start == there and mention.readings:
                return (
                    f'"{tokens[place]}" negates {_quote(tokens, mention)}: say only what is there, '
                    "by the opposite where a state is absent"
                )
    return f'"{tokens[place]}" is a negation: say only what is there, by the opposite where a state is absent'
