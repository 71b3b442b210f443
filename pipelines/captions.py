"""Captions: what is known about a speaker, said in English sentences that know which facts they used.

A caption is put together from ``warehouse/vocabulary/phrases.csv``, never written by hand and never guessed: each
phrase names the facts it states, so ``used`` is exact and the contrastive loss can tell a twin from a negative.
Only affirmative words are used (an absent state is said by its antonym): text models barely hear a negation.

A row of ``phrases.csv`` is ``attribute, value, language, form, phrase``:

* ``attribute`` and ``value`` are a fact, or several joined by ``+`` (``sex+age``, ``female+child``: "girl"); ``|``
  parts alternative values, ``*`` is any. ``{value}`` and ``{adverb}`` in the phrase stand for such a value.
* ``form`` says where the phrase can stand: ``noun`` ("woman"), ``adjective`` ("elderly"), ``having`` (after "with" or
  "has": "a rough voice") or ``clause`` (after the subject: "speaks in a monotone").
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
import polars as pl

PHRASES = Path(__file__).parents[1] / "warehouse" / "vocabulary" / "phrases.csv"
FORMS = frozenset({"noun", "adjective", "having", "clause"})

# Asked by one corpus alone (CLAC), of everybody in it: a caption that said it would name the corpus.
UNSPOKEN = frozenset({"symptoms"})
UNKNOWN_LANGUAGES = frozenset({"und", "mul", "mis", "zxx"})  # BCP-47's words for "not known", which is no fact

MOST_TOPICS = 8  # a longer caption reads like a form
NEUTRAL_NOUNS = ("person", "speaker", "individual")
SUBJECTS = ("This person", "The speaker", "This speaker", "This individual")
SCENES = (
    "A {} is speaking.",
    "A {} is talking.",
    "A {} speaks.",
    "This is a {}.",
    "We hear a {}.",
    "This is the voice of a {}.",
    "A recording of a {}.",
)
ADVERBS = {
    "mild": "mildly",
    "moderate": "moderately",
    "moderately severe": "rather severely",
    "severe": "severely",
}
INITIALS = frozenset({"us", "usa", "uk"})
# Accents may be the speaker's own free text: only a short plain name becomes part of a sentence.
PLAIN_NAME = re.compile(r"(?!.*\b(no|non|not|none|unknown|other)\b)[a-z]+(?:[ -][a-z]+){0,3}")
GROWN_UP = re.compile(r"\b(man|woman|lady|gentleman)\b")  # words for the sex of adults alone
TRIES = 6


class PhraseError(ValueError):
    """A row of phrases.csv that cannot be used; the message names the file and the row."""


@dataclass(frozen=True)
class Phrase:
    """Words that state ``says`` (facts as ``attribute=value``) and stand where ``form`` allows."""

    says: tuple[str, ...]
    form: str
    text: str

    @property
    def topics(self) -> frozenset[str]:
        """What it is about: the attributes, a state and its severity being one topic."""
        return frozenset(topic(fact) for fact in self.says)


@dataclass(frozen=True)
class Caption:
    """A text and all the facts that its words state."""

    text: str
    used: tuple[str, ...]


@dataclass(frozen=True)
class CaptionReport:
    """What `build` found and wrote."""

    key: str  # hash of everything the two files depend on
    utterances: int
    fact_sets: int  # distinct sets of facts that have captions
    captions: int
    unsaid: Mapping[str, int]  # fact that no phrase says -> utterances that have it
    written: bool  # False: the files on disk already had this key


def topic(fact: str) -> str:
    """``depression`` for ``depression=present`` and for ``depression_severity=mild``."""
    attribute = fact.partition("=")[0]
    name = attribute.removesuffix("_severity")
    return attribute if name == "voice" else name  # voice_severity is itself a state


# Reading phrases.csv


@dataclass(frozen=True)
class _Row:
    attributes: tuple[str, ...]
    values: tuple[frozenset[str], ...]
    form: str
    phrase: str


@cache
def _rows(language: str) -> tuple[_Row, ...]:
    rows, languages = [], set()
    with PHRASES.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            attributes = tuple(row["attribute"].split("+"))
            values = tuple(frozenset(part.split("|")) for part in row["value"].split("+"))
            if len(attributes) != len(values) or row["form"] not in FORMS or not row["phrase"]:
                raise PhraseError(
                    f"{PHRASES.name}, row {number}: needs as many values as attributes, "
                    f"a form of {sorted(FORMS)} and a phrase"
                )
            languages.add(row["language"])
            if row["language"] == language:
                rows.append(_Row(attributes, values, row["form"], row["phrase"]))
    if not rows:
        raise PhraseError(f"{PHRASES.name} has no phrases in {language!r}, only in {sorted(languages)}: add rows")
    return tuple(rows)


def _fits(attribute: str, value: str, allowed: frozenset[str]) -> bool:
    if "*" in allowed:
        return PLAIN_NAME.fullmatch(value) is not None
    return value in allowed or (attribute == "language" and value.split("-")[0] in allowed)


def _filled(phrase: str, attribute: str, value: str) -> str:
    if attribute == "accent":
        value = " ".join(word.upper() if word in INITIALS else word.title() for word in value.split())
    return phrase.replace("{value}", value).replace("{adverb}", ADVERBS.get(value, value))


def phrases_for(facts: Sequence[str], language: str = "en") -> list[Phrase]:
    """All phrases that these facts (``attribute=value``) allow, in the order of phrases.csv.

    Raises:
        PhraseError: phrases.csv has a bad row or nothing in ``language``.
    """
    values: dict[str, list[str]] = {}
    for fact in sorted(set(facts)):
        attribute, _, value = fact.partition("=")
        if attribute not in UNSPOKEN:
            values.setdefault(attribute, []).append(value)
    found = []
    of_child = "child" in values.get("age", [])
    for row in _rows(language):
        if not all(attribute in values for attribute in row.attributes):
            continue
        if of_child and GROWN_UP.search(row.phrase):
            continue
        for chosen in itertools.product(*(values[attribute] for attribute in row.attributes)):
            if all(map(_fits, row.attributes, chosen, row.values)):
                says = tuple(sorted(f"{a}={v}" for a, v in zip(row.attributes, chosen, strict=True)))
                # The last part is the one that a phrase quotes: the severity after its state.
                found.append(Phrase(says, row.form, _filled(row.phrase, row.attributes[-1], chosen[-1])))
    return found


# Saying facts


def render(facts: Sequence[str], k: int, seed: int, language: str = "en") -> list[Caption]:
    """Up to ``k`` different captions of these facts, the same for the same arguments.

    The grain is mixed: about 40 % say one topic, 40 % two or three, the rest all (at most `MOST_TOPICS`). Over the
    captions of a set every topic leads in turn. A larger ``k`` only adds captions.

    Args:
        facts: ``attribute=value``, in any order; those that no phrase says are passed over.
        k: how many; a set with few ways to say it gives fewer, one with nothing to say gives none.
        seed: another seed, other words.
        language: of the text; one that phrases.csv has.
    """
    phrases = phrases_for(facts, language)
    topics = sorted(frozenset().union(*(phrase.topics for phrase in phrases)))
    if not topics:
        return []
    name = f"{seed}|{language}|{'|'.join(sorted(set(facts)))}"
    random.Random(name).shuffle(topics)
    captions: dict[str, Caption] = {}
    for number in range(k):
        for attempt in range(TRIES):
            rng = random.Random(f"{name}|{number}|{attempt}")
            chosen = _choose_topics(rng, topics, lead=topics[number % len(topics)])
            caption = _compose(rng, _choose_phrases(rng, phrases, chosen))
            if caption.text not in captions:
                captions[caption.text] = caption
                break
    return list(captions.values())


def _choose_topics(rng: random.Random, topics: Sequence[str], lead: str) -> list[str]:
    others = [other for other in topics if other != lead]
    grain = rng.random()
    if grain < 0.4:
        size = 1
    elif grain < 0.8:
        size = rng.randint(2, 3)
    else:
        size = MOST_TOPICS
    chosen = [lead, *rng.sample(others, min(size - 1, len(others)))]
    rng.shuffle(chosen)
    return chosen


def _choose_phrases(rng: random.Random, phrases: Sequence[Phrase], topics: Sequence[str]) -> list[Phrase]:
    """Phrases that together say every topic once; one noun and two adjectives are the most a sentence carries."""
    waiting, chosen = list(topics), []
    room = {"noun": 1, "adjective": 2, "having": len(topics), "clause": len(topics)}
    while waiting:
        fitting = [p for p in phrases if waiting[0] in p.topics <= set(waiting) and room[p.form]]
        if not fitting:  # phrases.csv lacks a "having" or "clause" for it: the caption says less
            waiting.pop(0)
            continue
        says = rng.choice(sorted({phrase.says for phrase in fitting}))
        form = rng.choice(sorted({phrase.form for phrase in fitting if phrase.says == says}))
        phrase = rng.choice([phrase for phrase in fitting if (phrase.says, phrase.form) == (says, form)])
        room[form] -= 1
        waiting = [other for other in waiting if other not in phrase.topics]
        chosen.append(phrase)
    return chosen


def _compose(rng: random.Random, phrases: Sequence[Phrase]) -> Caption:
    """One or two sentences from the phrases: a noun phrase, and what is said of it."""
    noun = ""
    adjectives: list[str] = []  # before the noun
    traits: list[str] = []  # after "with"
    owned: list[str] = []  # after "has"
    predicates: list[str] = []
    pronouns: tuple[str, ...] = ("This person", "The speaker")
    for phrase in sorted(phrases, key=_adjective_rank):
        if phrase.form in ("noun", "adjective"):
            pronouns = _pronouns(phrase) or pronouns
        if phrase.form == "noun":
            noun = phrase.text
        elif phrase.form == "adjective" and ("language" in phrase.topics or rng.random() < 0.7):
            adjectives.append(phrase.text)
        elif phrase.form == "adjective":
            predicates.append(f"is {phrase.text}")
        elif phrase.form == "having":
            (traits if rng.random() < 0.5 else owned).append(phrase.text)
        else:
            predicates.append(phrase.text)
    for part in (traits, owned, predicates):
        rng.shuffle(part)
    if owned:
        predicates.insert(rng.randint(0, len(predicates)), f"has {_listing(owned)}")
    described = bool(noun or adjectives or traits)
    if not noun:  # an "English-speaking speaker" says it twice
        noun = "person" if any(word.endswith("-speaking") for word in adjectives) else rng.choice(NEUTRAL_NOUNS)
    who = " ".join([*adjectives, noun])
    who += f" with {_listing(traits)}" if traits else ""
    text = _sentences(rng, who if described else "", predicates, pronouns)
    used = sorted({fact for phrase in phrases for fact in phrase.says})
    return Caption(_articles(text), tuple(used))


def _sentences(rng: random.Random, who: str, predicates: Sequence[str], pronouns: Sequence[str]) -> str:
    if not predicates:
        return rng.choice(SCENES).format(who)
    if who and rng.random() < 0.5:
        return f"{rng.choice(SCENES).format(who)} {rng.choice(pronouns)} {_listing(predicates)}."
    subject = f"{rng.choice(('A', 'This', 'The'))} {who}" if who else rng.choice(SUBJECTS)
    if len(predicates) < 4:
        return f"{subject} {_listing(predicates)}."
    middle = len(predicates) // 2
    return f"{subject} {_listing(predicates[:middle])}. {rng.choice(pronouns)} {_listing(predicates[middle:])}."


def _adjective_rank(phrase: Phrase) -> tuple[int, str]:
    """English order before a noun: condition, age, sex, language."""
    order = ("age", "sex", "language")
    return max((order.index(t) + 1 for t in phrase.topics if t in order), default=0), phrase.text


def _pronouns(phrase: Phrase) -> tuple[str, ...]:
    if "sex=female" in phrase.says:
        return ("She",)
    return ("He",) if "sex=male" in phrase.says else ()


def _listing(items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    tangled = any(" and " in item for item in items) or (len(items) > 2 and any(", " in item for item in items))
    return ", ".join(items[:-1]) + (", and " if tangled else " and ") + items[-1]


def _articles(text: str) -> str:
    """Put "a" or "an" as the next word sounds ("an elderly", "a US", "a European")."""

    def article(match: re.Match[str]) -> str:
        word = match[2].casefold()
        vowel = word[0] in "aeiou" and not re.match(r"uni|us[ae]?\b|uk\b|eu|one", word)
        return match[1] + ("n " if vowel or word.startswith(("hour", "honest")) else " ")

    return re.sub(r"\b([Aa])n? (?=([\w'-]+))", article, text)


# The two files


def build(meta_db: Path, out: Path, *, corpora: Sequence[str], k: int, seed: int) -> CaptionReport:
    """Write ``facts.parquet`` for all utterances and ``captions.parquet`` for those that train.

    ``facts.parquet``: utt_id, corpus, split, fact_hash, facts (sorted ``attribute=value``). ``captions.parquet``:
    fact_hash, k, language, text, used, for each distinct set of facts in the train split of ``corpora``. Rows are in
    order of utt_id and of (fact_hash, k); files already made from the same input are left alone.

    Args:
        meta_db: the warehouse; opened read-only.
        out: folder of the two files, made where absent.
        corpora: names of the corpora to caption.
        k: captions for a set of facts.
        seed: of `render`.
    """
    facts = _read_facts(meta_db)
    key = _key(facts, corpora, k, seed)
    facts_file, captions_file = out / "facts.parquet", out / "captions.parquet"
    training = facts.filter((pl.col("split") == "train") & pl.col("corpus").is_in(sorted(corpora)))
    sets = training.unique("fact_hash").sort("fact_hash")
    fresh = all(path.is_file() and _written_key(path) == key for path in (facts_file, captions_file))
    if fresh:
        captions = pl.read_parquet(captions_file)
    else:
        captions = _caption_rows(sets, k, seed)
        out.mkdir(parents=True, exist_ok=True)
        _write(facts, facts_file, key)
        _write(captions, captions_file, key)
    return CaptionReport(
        key=key,
        utterances=facts.height,
        fact_sets=captions["fact_hash"].n_unique(),
        captions=captions.height,
        unsaid=_unsaid(training),
        written=not fresh,
    )


def _read_facts(meta_db: Path) -> pl.DataFrame:
    with duckdb.connect(str(meta_db), read_only=True) as con:
        facts: pl.DataFrame = con.sql(
            """
            SELECT utt_id, any_value(facts.corpus) AS corpus, any_value(facts.split) AS split,
                   list_sort(list_distinct(list(fact.attribute || '=' || fact.value) FILTER (
                       fact.attribute NOT IN (SELECT unnest($unspoken))
                       AND NOT (fact.attribute = 'language' AND fact.value IN (SELECT unnest($unknown)))
                   ))) AS facts
            FROM fact JOIN facts USING (utt_id)
            GROUP BY utt_id
            """,
            params={"unspoken": sorted(UNSPOKEN), "unknown": sorted(UNKNOWN_LANGUAGES)},
        ).pl()
    facts = facts.with_columns(pl.col("facts").fill_null([]))
    sets = facts.select("facts").unique()
    hashes = [hashlib.sha256("\n".join(row).encode()).hexdigest()[:16] for row in sets["facts"].to_list()]
    facts = facts.join(sets.with_columns(fact_hash=pl.Series(hashes, dtype=pl.String)), on="facts", how="left")
    return facts.select("utt_id", "corpus", "split", "fact_hash", "facts").sort("utt_id")


def _key(facts: pl.DataFrame, corpora: Sequence[str], k: int, seed: int) -> str:
    digest = hashlib.sha256(repr((sorted(corpora), k, seed)).encode())
    for part in (PHRASES, Path(__file__)):
        digest.update(part.read_bytes())
    digest.update(facts.drop("facts").write_csv().encode())  # fact_hash stands for the facts
    return digest.hexdigest()[:16]


def _caption_rows(sets: pl.DataFrame, k: int, seed: int) -> pl.DataFrame:
    rows = [
        (fact_hash, number, "en", caption.text, list(caption.used))
        for fact_hash, facts in sets.select("fact_hash", "facts").iter_rows()
        for number, caption in enumerate(render(facts, k, seed))
    ]
    columns = {"fact_hash": pl.String, "k": pl.Int32, "language": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=columns | {"used": pl.List(pl.String)}, orient="row")


def _unsaid(training: pl.DataFrame) -> dict[str, int]:
    counts = training.select(pl.col("facts").explode()).drop_nulls().to_series().value_counts(sort=True)
    said: set[str] = set()
    for facts in training["facts"].unique().to_list():
        said.update(fact for phrase in phrases_for(facts) for fact in phrase.says)
    return {fact: count for fact, count in counts.iter_rows() if fact not in said}


def _written_key(path: Path) -> str | None:
    return pl.read_parquet_metadata(path).get("key")


def _write(frame: pl.DataFrame, path: Path, key: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    frame.write_parquet(draft, metadata={"key": key})
    draft.replace(path)
