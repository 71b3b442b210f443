"""Captions in seven languages: every fact has its words, no words stand for two facts, and the sentences hold."""

from __future__ import annotations

import csv
import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from pipelines import captions, grammar, phrases
from pipelines.captions import PHRASES, UNSPOKEN, PhraseError, languages, phrases_for, render

LANGUAGES = ("de", "en", "es", "fr", "it", "sk", "zh")
VOCABULARY = PHRASES.parent
SQL = VOCABULARY.parent / "sql" / "60_facts.sql"

# Words that deny, and words of lacking; "un-" and "in-" inside a word are words of their own.
NEGATIONS = {
    "en": r"\b(no|not|non|never|without|neither|nor|none|nothing|cannot|free|lack\w*|absen\w*|unaffected)\b|n't\b",
    "fr": r"\b(ne|ni|non|pas|sans|jamais|rien|aucune?|nul(le)?|personne ne|manqu\w*|absen[ct]\w*|dépourvue?)\b|\bn'",
    "it": r"\b(non|no|né|senza|mai|niente|nulla|nessun\w*|neanche|neppure|priv[oa]|manca\w*|assen\w*)\b",
    "es": r"\b(no|ni|sin|nunca|jamás|nada|ningun\w*|ningún|tampoco|carec\w*|falta\w*|ausen\w*)\b",
    "sk": r"\b(nie|ani|bez|bezo|nikdy|nič|žiad\w*|chýba\w*)\b|\bne(?!rv|utr|mec|mč|gat|pál|wyor)\w+",
    "zh": r"不|没|無|无|未(?!来)|否|勿|莫|缺|(?<!南)非(?!常)",
    "de": r"\b(nicht|nichts|nie|niemals|ohne|kein\w*|weder|noch|nein|fehl\w*|abwesen\w*)\b",
}


def table(path: str) -> list[dict[str, str]]:
    with (VOCABULARY / path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def vocabulary() -> Mapping[str, Sequence[str]]:
    """Attribute -> the values that the view `fact` can hold, severities apart."""
    values: dict[str, Sequence[str]] = {
        "sex": sorted({row["canonical"] for row in table("words.csv") if row["domain"] == "sex" and row["canonical"]}),
        "age": ["child", "young", "middle-aged", "older"],
        "language": sorted(
            {row["canonical"].split("-")[0] for row in table("words.csv") if row["domain"] == "language"} - {""}
        ),
        "accent": sorted({row["canonical"] for row in table("words.csv") if row["domain"] == "accent"} - {""}),
    }
    for row in table("attributes.csv"):
        if row["kind"] == "state" and row["attribute"] not in UNSPOKEN:
            values[row["attribute"]] = ("absent", "present")
        elif row["kind"] == "category" and row["allowed"]:
            values[row["attribute"]] = row["allowed"].split("|")
    return values


@cache
def severities() -> Sequence[tuple[str, str, str]]:
    """(state, present or absent, severity word) as the instruments give them."""
    rows = table("instruments.csv")
    return sorted({(row["target"], row["state"], row["word"]) for row in rows if row["word"] and row["target"]})


def everything() -> Iterator[tuple[str, ...]]:
    """All that a caption may have to say, each with the facts that stand for it."""
    for attribute, values in vocabulary().items():
        for value in values:
            yield (f"{attribute}={value}",)
    for state, value, word in severities():
        yield f"{state}={value}", f"{state}_severity={word}"


def fact_sets(n: int, seed: int) -> list[list[str]]:
    """Made-up speakers: some attributes with one value each, a severity beside many a state."""
    rng = random.Random(seed)
    grades = defaultdict(list)
    for state, value, word in severities():
        grades[state, value].append(word)
    made = []
    for _ in range(n):
        attributes = rng.sample(sorted(vocabulary()), rng.choice((1, 2, 3, 4, 6, 12)))
        facts = []
        for attribute in attributes:
            value = rng.choice(vocabulary()[attribute])
            facts.append(f"{attribute}={value}")
            if grades[attribute, value] and rng.random() < 0.7:
                facts.append(f"{attribute}_severity={rng.choice(grades[attribute, value])}")
        made.append(facts)
    return made


def spoken(language: str, text: str) -> str:
    """A phrase as it may stand in a caption: with what its words' sounds change, in small letters."""
    return captions._sounded(grammar.grammar(language), text).casefold()


# The words


def test_the_languages_are_those_of_the_benchmark() -> None:
    assert languages() == LANGUAGES
    assert sorted(path.stem for path in PHRASES.glob("*.toml")) == list(LANGUAGES)


def test_the_test_knows_every_attribute_of_the_facts() -> None:
    """The view `fact` of the warehouse, read as text: what it unpivots is what has to be said."""
    worded = re.search(r"UNPIVOT \(SELECT utt_id, (.*) FROM resolved_value\)", SQL.read_text("utf-8"))
    assert worded is not None
    states = {row["attribute"] for row in table("attributes.csv") if row["kind"] == "state"}
    assert set(worded[1].split(", ")) | {"sex", "age", "language"} | (states - UNSPOKEN) == set(vocabulary())


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fact_has_its_words(language: str) -> None:
    common = {"sex", "age", "language", "accent", *(state for state, _, _ in severities())}
    lacking = []
    for facts in everything():
        found = [phrase for phrase in phrases_for(facts, language) if set(phrase.says) == set(facts)]
        # A caption has room for one noun and two adjectives: every fact can also be said elsewhere.
        elsewhere = {"having", "clause"} & {phrase.form for phrase in found}
        enough = 3 if captions.topic(facts[0]) in common else 2
        if len({phrase.text for phrase in found}) < enough or not elsewhere:
            lacking.append((facts, [phrase.text for phrase in found]))
    assert lacking == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_accents_that_the_vocabulary_names_are_translated_and_others_are_quoted(language: str) -> None:
    accents = grammar.grammar(language).words.get("accent", {})
    if language != "en":
        assert set(vocabulary()["accent"]) <= set(accents)
        assert len(set(accents.values())) == len(accents)
    quoted = {phrase.text for phrase in phrases_for(["accent=black country"], language)}
    assert quoted and all("Black Country" in text for text in quoted)
    assert not {t for t in (phrase.text for phrase in phrases_for(["accent=german"], language)) if "“" in t or "«" in t}
    for own_words in ("it is a tiny bit, so", "non native", "other", "<b>", "{value}", "a b c d e"):
        assert phrases_for([f"accent={own_words}"], language) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_words_stand_for_two_facts(language: str) -> None:
    facts = [fact for of_one in everything() for fact in of_one] + ["accent=black country"]
    said = defaultdict(set)
    for age in ("child", "older"):  # of a child no adult's word is said
        ages = {f"age={other}" for other in vocabulary()["age"] if (other == "child") != (age == "child")}
        for phrase in phrases_for([fact for fact in facts if fact not in ages], language):
            said[spoken(language, phrase.text)].add(phrase.says)
    assert {text: says for text, says in said.items() if len(says) > 1} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_of_languages_are_names(language: str) -> None:
    rows = table("languages.csv")
    names = [row[language] for row in rows]
    assert len({name.casefold() for name in names}) == len({row["code"] for row in rows}) == len(rows)
    assert [name for name in names if not re.fullmatch(r"[^\W\d_][\w' ()-]*", name)] == []
    assert set(vocabulary()["language"]) <= {row["code"] for row in rows}


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_denied(language: str) -> None:
    negation = re.compile(NEGATIONS[language], re.IGNORECASE)
    rules = grammar.grammar(language)
    texts = [row["phrase"] for row in table(f"phrases/{language}.csv")]
    texts += [*rules.people, *rules.described, *rules.scenes, *rules.subjects, *rules.with_, rules.has, rules.is_]
    texts += [word for name, words in rules.words.items() if name != "language" for word in words.values()]
    assert [text for text in texts if negation.search(text)] == []


@pytest.mark.parametrize(
    ("language", "denied"),
    [
        ("en", "speaks without pauses"),
        ("fr", "n'a pas de fièvre"),
        ("it", "una voce senza sforzo"),
        ("es", "no tiene depresión"),
        ("sk", "netrpí depresiou"),
        ("zh", "没有抑郁"),
        ("de", "hat keine Depression"),
    ],
)
def test_the_lists_of_negations_find_one(language: str, denied: str) -> None:
    assert re.search(NEGATIONS[language], denied, re.IGNORECASE)


# The sentences


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_says_one_set_of_facts(language: str) -> None:
    """No two different `used` give the same text, within a speaker and between any two."""
    used_by_text = defaultdict(set)
    for facts in fact_sets(400, seed=1):
        for caption in render(facts, 12, 0, language):
            used_by_text[caption.text.casefold()].add(caption.used)
            assert caption.used and set(caption.used) <= set(facts)
    assert {text: used for text, used in used_by_text.items() if len(used) > 1} == {}
    assert len(used_by_text) > 2000


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_used_is_said(language: str) -> None:
    for facts in fact_sets(60, seed=2):
        found = phrases_for(facts, language)
        for caption in render(facts, 12, 0, language):
            text = caption.text.casefold()
            for fact in caption.used:
                assert any(fact in p.says and spoken(language, p.text) in text for p in found), (caption, fact)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_the_same_in_any_order_and_only_grow_with_k(language: str) -> None:
    for facts in fact_sets(20, seed=3):
        assert render(facts, 12, 3, language) == render(facts[::-1], 12, 3, language)
        assert render(facts, 5, 3, language) == render(facts, 12, 3, language)[:5]
    assert render(["sex=female", "age=older"], 12, 3, language) != render(["sex=female", "age=older"], 12, 4, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_grain_is_mixed(language: str) -> None:
    facts = [
        *("sex=female", "age=older", "language=sk", "depression=present", "depression_severity=mild"),
        *("voice_roughness=absent", "parkinson=absent", "smoking=absent", "education=tertiary"),
    ]
    sizes = [len({captions.topic(fact) for fact in caption.used}) for caption in render(facts, 300, 0, language)]
    assert 0.15 < sizes.count(1) / len(sizes) < 0.55
    assert sizes.count(2) + sizes.count(3) > 60 and sizes.count(8) > 20  # all eight topics


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sentences_are_sentences(language: str) -> None:
    rules = grammar.grammar(language)
    for facts in fact_sets(150, seed=4):
        for caption in render([fact for fact in facts if not fact.startswith("accent")], 12, 0, language):
            text = caption.text
            sentences = text[: -len(rules.stop)].split(f"{rules.stop}{rules.space}")
            assert text.endswith(rules.stop) and 1 <= len(sentences) <= 2, text
            assert all(sentence[0] == sentence[0].upper() for sentence in sentences), text
            assert not re.search(r"[{}]|  | [,.]|，，|^\W", text), text
            if language == "zh":
                assert not re.search(r"[ ,.]", text), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_child_is_no_grown_up(language: str) -> None:
    grown_up = grammar.grammar(language).grown_up
    for sex in ("female", "male"):
        facts = ["age=child", f"sex={sex}"]
        texts = [caption.text for caption in render(facts, 100, 0, language)]
        assert [text for text in texts if grown_up.search(text)] == []
        assert any(set(caption.used) == set(facts) for caption in render(facts, 100, 0, language))
        assert any(grown_up.search(phrase.text) for phrase in phrases_for([f"sex={sex}"], language))


@pytest.mark.parametrize(
    ("language", "facts", "said", "wrong"),
    [
        ("en", ["age=older", "accent=american"], r"\ban (American|elderly)", r"\ba [aeio]|\ban [^aeioAEIO]"),
        ("fr", ["sex=male", "age=older"], r"voix d'un", r"\bde un|\bd' "),
        ("it", ["fatigue=absent", "depression=present"], r"\bed energica", r"\be e"),
        ("es", ["insomnia=present", "depression=present"], r"\be insomne", r"\by i"),
        ("sk", ["language=fr", "voice_weakness=absent"], r"\bvo francúzštine|\bso silným", r"\bv f|\bs s"),
    ],
)
def test_small_words_follow_the_sound(language: str, facts: list[str], said: str, wrong: str) -> None:
    texts = " ".join(caption.text for caption in render(facts, 120, 0, language))
    assert re.search(said, texts)
    assert re.findall(wrong, texts) == []


@pytest.mark.parametrize("language", ("de", "es", "fr", "it", "sk"))
def test_adjectives_stand_with_the_word_for_a_person_alone(language: str) -> None:
    """They agree with it; beside a man they would be wrong."""
    facts = ["sex=male", "age=middle-aged", "language=en", "anxiety=present", "healthy=absent"]
    nouns = {p.text for p in phrases_for(facts, language) if p.form == "noun" and "sex=male" in p.says}
    adjectives = {p.text for p in phrases_for(facts, language) if p.form == "adjective"}
    assert nouns and adjectives
    for caption in render(facts, 200, 0, language):
        if any(re.search(rf"\b{noun}\b", caption.text, re.IGNORECASE) for noun in nouns):
            assert not [word for word in adjectives if re.search(rf"\b{word}\b", caption.text)], caption.text


def test_phrases_keep_to_their_grammar() -> None:
    def phrases_of(language: str, form: str) -> list[str]:
        return [row["phrase"] for row in table(f"phrases/{language}.csv") if row["form"] == form]

    assert [text for text in phrases_of("fr", "noun") if not text.startswith(("un ", "une "))] == []  # "la voix d'{}"
    assert [text for text in phrases_of("zh", "noun") if not text.startswith("一")] == []
    assert [
        text for text in phrases_of("sk", "clause") if re.search(r"\b(sa|si)\b", text)
    ] == []  # second in a sentence
    for language, form in itertools.product(LANGUAGES, ("noun", "adjective")):
        # English alone has articles of its own in the grammar
        articles = r"(?i)\b(an?|the)\b" if language == "en" and form == "noun" else "$^"
        assert [text for text in phrases_of(language, form) if re.match(articles, text)] == []
    assert phrases_of("zh", "having") == []


# Files that cannot be used


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (("stop = ", "full_stop = "), "fr.toml: .*full_stop"),
        (("people = ", "# people = "), "fr.toml: .*people"),
        (("grown_up = '", "grown_up = '("), "fr.toml: .*unterminated"),
        (('has = "a"', "has = a"), "fr.toml: Invalid value"),
        (("any = ", "everybody = "), "fr.toml: pronouns need"),
        (('with = ["avec", "ayant"]', ""), 'fr.csv, row 2: fr.toml has no "with"'),
    ],
)
def test_a_grammar_that_cannot_be_used_is_named(
    broken: tuple[str, str], finding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (PHRASES / "fr.toml").read_text("utf-8")
    text = text if broken[0] in text else f'stop = "."\n{text}'
    (tmp_path / "fr.csv").write_text("attribute,value,form,phrase\nsex,male,having,une voix masculine\n", "utf-8")
    (tmp_path / "fr.toml").write_text(text.replace(*broken, 1), "utf-8")
    for module in (grammar, phrases):
        monkeypatch.setattr(module, "PHRASES", tmp_path)
    grammar.grammar.cache_clear()
    phrases._rows.cache_clear()
    try:
        with pytest.raises(PhraseError, match=finding):
            phrases.phrases_for(["sex=male"], "fr")
    finally:
        grammar.grammar.cache_clear()
        phrases._rows.cache_clear()
