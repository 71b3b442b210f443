"""Captions: what is known about a speaker, said in sentences that know which facts they used.

A caption is put together from the phrases of `pipelines.phrases` by the grammar of its language, never written by
hand and never guessed: each phrase names the facts it states, so ``used`` is exact and the contrastive loss can tell
a twin from a negative.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from polars.exceptions import PolarsError

from pipelines import grammar as grammars
from pipelines import phrases as tables
from pipelines.grammar import PHRASES, Grammar, PhraseError, grammar, languages
from pipelines.phrases import UNSPOKEN, Phrase, phrases_for, topic
from slap_model import store

__all__ = [
    "PHRASES",
    "UNSPOKEN",
    "Caption",
    "CaptionReport",
    "Phrase",
    "PhraseError",
    "build",
    "languages",
    "phrases_for",
    "render",
    "topic",
]

UNKNOWN_LANGUAGES = frozenset({"und", "mul", "mis", "zxx"})  # BCP-47's words for "not known", which is no fact
MOST_TOPICS = 8  # a longer caption reads like a form
TRIES = 6
SOURCE = "template"  # of a caption that no language model wrote


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
    unsaid: Mapping[str, int]  # fact that no phrase says in one of the languages -> utterances that have it
    written: bool  # False: the files on disk already had this key


# Saying facts


def render(facts: Sequence[str], k: int, seed: int, language: str = "en") -> list[Caption]:
    """Up to ``k`` different captions of these facts, the same for the same arguments.

    The grain is mixed: about 40 % say one topic, 40 % two or three, the rest all (at most `MOST_TOPICS`). Over the
    captions of a set every topic leads in turn. A larger ``k`` only adds captions.

    Args:
        facts: ``attribute=value``, in any order; those that no phrase says are passed over.
        k: how many; a set with few ways to say it gives fewer, one with nothing to say gives none.
        seed: another seed, other words.
        language: of the text; one of `languages`.
    """
    phrases = phrases_for(facts, language)
    topics = sorted(frozenset().union(*(phrase.topics for phrase in phrases)))
    if not topics:
        return []
    rules = grammar(language)
    name = f"{seed}|{language}|{'|'.join(sorted(set(facts)))}"
    random.Random(name).shuffle(topics)
    captions: dict[str, Caption] = {}
    for number in range(k):
        for attempt in range(TRIES):
            rng = random.Random(f"{name}|{number}|{attempt}")
            chosen = _choose_topics(rng, topics, lead=topics[number % len(topics)])
            caption = _compose(rng, rules, _choose_phrases(rng, rules, phrases, chosen))
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


def _choose_phrases(
    rng: random.Random, rules: Grammar, phrases: Sequence[Phrase], topics: Sequence[str]
) -> list[Phrase]:
    """Phrases that together say every topic once; one noun and two adjectives are the most a sentence carries."""
    waiting, chosen = list(topics), []
    room = {"noun": 1, "adjective": 2, "having": len(topics), "clause": len(topics)}
    while waiting:
        fitting = [p for p in phrases if room[p.form] and waiting[0] in p.topics and p.topics <= set(waiting)]
        if not fitting:  # the table lacks a "having" or "clause" for it: the caption says less
            waiting.pop(0)
            continue
        says = rng.choice(sorted({phrase.says for phrase in fitting}))
        form = rng.choice(sorted({phrase.form for phrase in fitting if phrase.says == says}))
        phrase = rng.choice([phrase for phrase in fitting if (phrase.says, phrase.form) == (says, form)])
        room[form] -= 1
        if not rules.adjectives_with_noun and form in ("noun", "adjective"):
            room["adjective" if form == "noun" else "noun"] = 0
        waiting = [other for other in waiting if other not in phrase.topics]
        chosen.append(phrase)
    return chosen


def _compose(rng: random.Random, rules: Grammar, phrases: Sequence[Phrase]) -> Caption:
    """One or two sentences from the phrases: a noun phrase, and what is said of it."""
    noun = ""
    adjectives: list[Phrase] = []  # with the noun
    traits: list[str] = []  # after "with"
    owned: list[str] = []  # after "has"
    predicates: list[str] = []
    sex = "any"
    for phrase in sorted(phrases, key=_adjective_rank):
        if phrase.form in ("noun", "adjective"):
            sex = next((fact.removeprefix("sex=") for fact in phrase.says if fact.startswith("sex=")), sex)
        if phrase.form == "noun":
            noun = phrase.text
        elif phrase.form == "adjective" and (not rules.is_ or "language" in phrase.topics or rng.random() < 0.7):
            adjectives.append(phrase)
        elif phrase.form == "adjective":
            predicates.append(f"{rules.is_}{rules.space}{phrase.text}")
        elif phrase.form == "having":
            (owned if rules.has and rng.random() < 0.5 else traits).append(phrase.text)
        else:
            predicates.append(phrase.text)
    for part in (traits, owned, predicates):
        rng.shuffle(part)
    if owned:
        predicates.insert(rng.randint(0, len(predicates)), f"{rules.has}{rules.space}{_listing(rules, owned)}")
    described = bool(noun or adjectives or traits)
    who = _who(rng, rules, noun, adjectives)
    if traits:
        who += f"{rules.space}{rng.choice(rules.with_)}{rules.space}{_listing(rules, traits)}"
    text = _sentences(rng, rules, who if described else "", predicates, rules.pronouns.get(sex, rules.pronouns["any"]))
    used = sorted({fact for phrase in phrases for fact in phrase.says})
    return Caption(_sounded(rules, text), tuple(used))


def _who(rng: random.Random, rules: Grammar, noun: str, adjectives: Sequence[Phrase]) -> str:
    said = rules.adjectives.join(phrase.text for phrase in adjectives)
    if noun:
        return f"{said} {noun}" if said else noun
    if not said:
        return rng.choice(rules.people)
    of_language = any("language" in phrase.topics for phrase in adjectives)
    # an "English-speaking speaker" says it twice
    return (rules.described[0] if of_language else rng.choice(rules.described)).format(said)


def _sentences(rng: random.Random, rules: Grammar, who: str, predicates: Sequence[str], pronouns: Sequence[str]) -> str:
    if not predicates:
        return _sentence(rules, rng.choice(rules.scenes).format(rules.noun.format(who)))
    if who and rng.random() < 0.5:
        scene = _sentence(rules, rng.choice(rules.scenes).format(rules.noun.format(who)))
        return f"{scene}{rules.space}{_sentence(rules, rng.choice(pronouns), predicates)}"
    subject = rng.choice(rules.subject).format(who) if who else rng.choice(rules.subjects)
    if len(predicates) < 4:
        return _sentence(rules, subject, predicates)
    middle = len(predicates) // 2
    return rules.space.join(
        [
            _sentence(rules, subject, predicates[:middle]),
            _sentence(rules, rng.choice(pronouns), predicates[middle:]),
        ]
    )


def _sentence(rules: Grammar, subject: str, predicates: Sequence[str] = ()) -> str:
    said = f"{subject}{rules.space}{_listing(rules, predicates)}" if predicates else subject
    said = said.strip()
    return said[0].upper() + said[1:] + rules.stop


def _adjective_rank(phrase: Phrase) -> tuple[int, str]:
    """English order before a noun: condition, age, sex, language."""
    order = ("age", "sex", "language")
    return max((order.index(t) + 1 for t in phrase.topics if t in order), default=0), phrase.text


def _listing(rules: Grammar, items: Sequence[str]) -> str:
    if len(items) == 1:
        return items[0]
    tangled = any(rules.and_ in item for item in items) or (len(items) > 2 and any(rules.comma in i for i in items))
    return rules.comma.join(items[:-1]) + ((tangled and rules.tangled_and) or rules.and_) + items[-1]


def _sounded(rules: Grammar, text: str) -> str:
    for pattern, spelling in rules.sounds:
        text = pattern.sub(spelling, text)
    return text


# The two files


@store.writes_to("out")
def build(
    meta_db: Path, out: Path, *, corpora: Sequence[str], k: int, seed: int, languages: Sequence[str] = ("en",)
) -> CaptionReport:
    """Write ``facts.parquet`` for all utterances and ``captions.parquet`` for those that train.

    ``facts.parquet``: utt_id, corpus, split, fact_hash, facts (sorted ``attribute=value``). ``captions.parquet``:
    fact_hash, k, language, text, used, source, for each distinct set of facts in the train split of ``corpora``; ``k``
    counts within a language, ``source`` is "template". Rows are in order of utt_id and of (fact_hash, language, k);
    files already made from the same input are left alone. A language is a fact without its region
    ("zh", not "zh-cn"): that is what a caption says.

    Args:
        meta_db: the warehouse; opened read-only.
        out: folder of the two files, made where absent.
        corpora: names of the corpora to caption.
        k: captions for a set of facts, in each language.
        seed: of `render`.
        languages: of the captions; each one of `languages`. The text tower must read them.

    Raises:
        PhraseError: a language that has no phrases, or phrases that cannot be used.
    """
    facts = _read_facts(meta_db)
    languages = sorted(set(languages))
    key = _key(facts, corpora, k, seed, languages)
    facts_file, captions_file = out / "facts.parquet", out / "captions.parquet"
    training = facts.filter((pl.col("split") == "train") & pl.col("corpus").is_in(sorted(corpora)))
    sets = training.unique("fact_hash").sort("fact_hash")
    fresh = all(path.is_file() and _written_key(path) == key for path in (facts_file, captions_file))
    if fresh:
        captions = pl.read_parquet(captions_file)
    else:
        captions = _caption_rows(sets, k, seed, languages)
        out.mkdir(parents=True, exist_ok=True)
        _write(facts, facts_file, key)
        _write(captions, captions_file, key)
    return CaptionReport(
        key=key,
        utterances=facts.height,
        fact_sets=captions["fact_hash"].n_unique(),
        captions=captions.height,
        unsaid=_unsaid(training, languages),
        written=not fresh,
    )


def _read_facts(meta_db: Path) -> pl.DataFrame:
    with duckdb.connect(str(meta_db), read_only=True) as con:
        facts: pl.DataFrame = con.sql(
            """
            WITH said AS (
                SELECT utt_id, attribute, if(attribute = 'language', split_part(value, '-', 1), value) AS value
                FROM fact
            )
            SELECT utt_id, any_value(facts.corpus) AS corpus, any_value(facts.split) AS split,
                   list_sort(list_distinct(list(said.attribute || '=' || said.value) FILTER (
                       said.attribute NOT IN (SELECT unnest($unspoken))
                       AND NOT (said.attribute = 'language' AND said.value IN (SELECT unnest($unknown)))
                   ))) AS facts
            FROM said JOIN facts USING (utt_id)
            GROUP BY utt_id
            """,
            params={"unspoken": sorted(UNSPOKEN), "unknown": sorted(UNKNOWN_LANGUAGES)},
        ).pl()
    facts = facts.with_columns(pl.col("facts").fill_null([]))
    sets = facts.select("facts").unique()
    hashes = [hashlib.sha256("\n".join(row).encode()).hexdigest()[:16] for row in sets["facts"].to_list()]
    facts = facts.join(sets.with_columns(fact_hash=pl.Series(hashes, dtype=pl.String)), on="facts", how="left")
    return facts.select("utt_id", "corpus", "split", "fact_hash", "facts").sort("utt_id")


def _key(facts: pl.DataFrame, corpora: Sequence[str], k: int, seed: int, languages: Sequence[str]) -> str:
    digest = hashlib.sha256(repr((sorted(corpora), k, seed, languages)).encode())
    files = [PHRASES / f"{language}.{kind}" for language in languages for kind in ("csv", "toml")]
    for part in (*files, grammars.LANGUAGES, *(Path(str(module.__file__)) for module in (grammars, tables))):
        if part.is_file():  # `grammar` says what is missing
            digest.update(part.read_bytes())
    digest.update(Path(__file__).read_bytes())
    digest.update(facts.drop("facts").write_csv().encode())  # fact_hash stands for the facts
    return digest.hexdigest()[:16]


def _caption_rows(sets: pl.DataFrame, k: int, seed: int, languages: Sequence[str]) -> pl.DataFrame:
    rows = [
        (fact_hash, number, language, caption.text, list(caption.used), SOURCE)
        for fact_hash, facts in sets.select("fact_hash", "facts").iter_rows()
        for language in languages
        for number, caption in enumerate(render(facts, k, seed, language))
    ]
    columns = {"fact_hash": pl.String, "k": pl.Int32, "language": pl.String, "text": pl.String}
    return pl.DataFrame(rows, schema=columns | {"used": pl.List(pl.String), "source": pl.String}, orient="row")


def _unsaid(training: pl.DataFrame, languages: Sequence[str]) -> dict[str, int]:
    counts = training.select(pl.col("facts").explode()).drop_nulls().to_series().value_counts(sort=True)
    sets = training["facts"].unique().to_list()
    unsaid: set[str] = set()
    for language in languages:
        said = {fact for facts in sets for phrase in phrases_for(facts, language) for fact in phrase.says}
        unsaid.update(set(counts.to_series()) - said)
    return {fact: count for fact, count in counts.iter_rows() if fact in unsaid}


def _written_key(path: Path) -> str | None:
    try:
        return pl.read_parquet_metadata(path).get("key")
    except PolarsError:  # torn
        return None


def _write(frame: pl.DataFrame, path: Path, key: str) -> None:
    with store.whole(path) as file:
        frame.write_parquet(file, metadata={"key": key})
