"""Captions say exactly the facts they claim, affirmatively, and the same way every time."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl
import pytest

from benchmark.task import load_tasks
from pipelines import captions, phrases
from pipelines.captions import PHRASES, UNSPOKEN, PhraseError, build, phrases_for, render

VOCABULARY = PHRASES.parent
ENGLISH = "phrases/en.csv"
NEGATION = re.compile(
    r"\b(no|not|non|never|without|neither|nor|none|nothing|cannot|free|lack\w*|absen\w*|unaffected)\b|n't\b",
    re.IGNORECASE,
)
FACTS = [
    "accent=american",
    "age=older",
    "anxiety=absent",
    "depression=present",
    "depression_severity=moderately severe",
    "language=en",
    "parkinson=absent",
    "sex=female",
    "voice_roughness=present",
]


def table(name: str) -> list[dict[str, str]]:
    with (VOCABULARY / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def states() -> list[str]:
    return [row["attribute"] for row in table("attributes.csv") if row["kind"] == "state"]


# The phrases


@pytest.mark.parametrize(
    "fact",
    [
        *(f"sex={sex}" for sex in ("female", "male")),
        *(f"age={age}" for age in ("child", "young", "middle-aged", "older")),
        *(f"language={code}" for code in ("es", "it", "sk", "fr", "en", "zh", "de", "tw", "pl")),
        *(f"accent={accent}" for accent in ("american", "new zealand")),
        *(f"{state}={value}" for state in states() if state not in UNSPOKEN for value in ("present", "absent")),
    ],
)
def test_every_fact_has_four_phrasings(fact: str) -> None:
    found = [phrase for phrase in phrases_for([fact]) if phrase.says == (fact,)]
    assert len({phrase.text for phrase in found}) >= 4
    # A caption has room for one noun and two adjectives: every fact can also be said elsewhere.
    assert {phrase.form for phrase in found} & {"having", "clause"}


def test_every_severity_word_of_an_instrument_has_four_phrasings() -> None:
    bands = {
        (row["target"], row["state"], row["word"]) for row in table("instruments.csv") if row["word"] and row["target"]
    }
    assert bands
    for state, value, word in sorted(bands):
        facts = (f"{state}={value}", f"{state}_severity={word}")
        found = {phrase.text for phrase in phrases_for(facts) if set(phrase.says) == set(facts)}
        assert len(found) >= 4, facts


def test_no_phrase_for_an_attribute_that_does_not_exist() -> None:
    known = {row["attribute"] for row in table("attributes.csv")} | {"sex", "age", "language"}
    named = {captions.topic(part) for row in table(ENGLISH) for part in row["attribute"].split("+")}
    assert named <= known


def test_phrases_and_prompts_hold_no_negation() -> None:
    texts = [row["phrase"] for row in table(ENGLISH)]
    texts += [text for task in load_tasks() for pair in task.prompts["en"] for text in pair]
    assert [text for text in texts if NEGATION.search(text)] == []


def test_a_phrase_states_one_thing() -> None:
    """The same words never stand for two facts; else a caption would claim less, or more, than it says."""
    said = defaultdict(set)
    for row in table(ENGLISH):
        said[row["phrase"].casefold()].add((row["attribute"], row["value"]))
    assert {phrase: keys for phrase, keys in said.items() if len(keys) > 1} == {}


# Rendering


def test_a_severity_phrase_states_the_condition_too() -> None:
    facts = ["depression=present", "depression_severity=severe"]
    severe = [caption for caption in render(facts, 40, 0) if "severe" in caption.text]
    plain = [caption for caption in render(facts, 40, 0) if "severe" not in caption.text]
    assert severe and all(caption.used == tuple(facts) for caption in severe)
    assert plain and all(caption.used == ("depression=present",) for caption in plain)


def test_captions_are_the_same_in_any_order_of_facts_and_only_grow_with_k() -> None:
    assert render(FACTS, 12, 3) == render(FACTS[::-1], 12, 3)
    assert render(FACTS, 5, 3) == render(FACTS, 12, 3)[:5]
    assert render(FACTS, 12, 3) != render(FACTS, 12, 4)


def test_used_is_said_and_true() -> None:
    for caption in render(FACTS, 200, 0):
        assert set(caption.used) <= set(FACTS) and caption.used
        for fact in caption.used:
            ways = [phrase.text for phrase in phrases_for(FACTS) if fact in phrase.says]
            assert any(way.casefold() in re.sub(r"\ban ", "a ", caption.text).casefold() for way in articles(ways)), (
                caption
            )


def articles(texts: Sequence[str]) -> list[str]:
    return [re.sub(r"\ban ", "a ", text) for text in texts]


def test_the_grain_is_mixed() -> None:
    sizes = [len({captions.topic(fact) for fact in caption.used}) for caption in render(FACTS, 300, 0)]
    assert 0.25 < sizes.count(1) / len(sizes) < 0.55
    assert sizes.count(8) > 20  # all eight topics of FACTS


def test_every_fact_gets_said() -> None:
    assert {fact for caption in render(FACTS, 60, 0) for fact in caption.used} == set(FACTS)


def test_the_sentences_are_sentences() -> None:
    for caption in render(FACTS, 300, 0):
        text = caption.text
        assert re.fullmatch(r"[A-Z][^.{}]*\.( [A-Z][^.{}]*\.)?", text), text
        assert not re.search(r"\ba [aeio]|\ban [^aeioAEIO]|  | ,", text), text
        assert ("She " in text) <= ("sex=female" in caption.used), text
        assert " He " not in text


def test_two_fact_sets_share_a_text_only_where_one_says_less() -> None:
    sets = [
        ["sex=female", "age=young"],
        ["sex=female", "age=child"],
        ["sex=male", "age=child"],
        ["sex=female"],
        ["depression=present", "depression_severity=mild"],
        ["depression=absent", "depression_severity=mild"],
        ["depression=absent", "depression_severity=none"],
        ["depression=absent", "anxiety=absent"],
        ["healthy=present", "fatigue=absent"],
    ]
    used_by_text = defaultdict(set)
    for facts in sets:
        for caption in render(facts, 80, 0):
            used_by_text[caption.text].add(caption.used)
    assert all(len(used) == 1 for used in used_by_text.values())


def test_what_cannot_be_said_is_passed_over() -> None:
    assert render(["language=und", "symptoms=present"], 5, 0) == []
    own_words = "accent=I grew up in the north, so it is only a tiny bit"
    assert {caption.used for caption in render([own_words, "accent=non native", "sex=male"], 20, 0)} == {("sex=male",)}
    assert all(len({c.text for c in render([fact], 10, 0)}) == 10 for fact in ("sex=male", "stroke=absent"))


def test_a_child_is_no_woman() -> None:
    texts = [caption.text for caption in render(["age=child", "sex=female"], 200, 0)]
    assert any("girl" in text for text in texts)
    assert [text for text in texts if re.search(r"woman|lady", text)] == []


def test_articles_follow_the_sound() -> None:
    texts = " ".join(caption.text for caption in render(["accent=us", "accent=european", "als=present"], 80, 0))
    assert "a US" in texts and "a European" in texts
    assert not re.search(r"\ban (US|European)", texts)


def test_an_unknown_language_and_a_bad_row_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PhraseError, match=r"'xx'.*'en'"):
        render(["sex=male"], 1, 0, language="xx")
    bad = tmp_path / "en.csv"
    monkeypatch.setattr(phrases, "PHRASES", tmp_path)
    for row, finding in (
        ("sex+age,male,noun,boy", "row 3: needs as many values"),
        ("sex,male,pronoun,he", "row 3: needs .* a form"),
        ("sex,male,noun,{boy}", r"row 3: \{boy\} is no table of en.toml"),
    ):
        bad.write_text(f"attribute,value,form,phrase\nsex,male,noun,man\n{row}\n")
        phrases._rows.cache_clear()
        with pytest.raises(PhraseError, match=finding):
            render(["sex=male"], 1, 0)
    bad.write_text("attribute,value,language,form,phrase\nsex,male,en,noun,man\n")
    phrases._rows.cache_clear()
    with pytest.raises(PhraseError, match=r"en\.csv: its columns are not attribute, value, form, phrase"):
        render(["sex=male"], 1, 0)
    phrases._rows.cache_clear()


# The two files


def meta_db(path: Path, rows: Sequence[tuple[str, str, str, Sequence[str]]]) -> Path:
    """A warehouse of (utt_id, corpus, split, facts), with the table and the view that captions read."""
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE TABLE fact(utt_id VARCHAR, attribute VARCHAR, value VARCHAR)")
        con.execute("CREATE TABLE facts(utt_id VARCHAR, corpus VARCHAR, split VARCHAR)")
        for utt_id, corpus, split, facts in rows:
            con.execute("INSERT INTO facts VALUES (?, ?, ?)", [utt_id, corpus, split])
            for fact in facts:
                con.execute("INSERT INTO fact VALUES (?, ?, ?)", [utt_id, *fact.split("=")])
    return path


ROWS = [
    ("u3", "androids", "train", ["sex=female", "depression=present", "language=it"]),
    ("u1", "androids", "train", ["sex=female", "language=it", "depression=present"]),
    ("u2", "androids", "test", ["sex=male", "depression=absent"]),
    ("u4", "clac", "train", ["sex=male", "symptoms=absent", "language=und", "accent=tiny, I say"]),
    ("u5", "svd", "train", ["sex=male", "voice_disorder=present"]),
]


def test_build_writes_facts_of_all_and_captions_of_training_speakers(tmp_path: Path) -> None:
    db = meta_db(tmp_path / "meta.db", ROWS)
    report = build(db, tmp_path / "captions", corpora=["clac", "androids"], k=4, seed=0)
    facts = pl.read_parquet(tmp_path / "captions" / "facts.parquet")
    assert facts.columns == ["utt_id", "corpus", "split", "fact_hash", "facts"]
    assert facts["utt_id"].to_list() == ["u1", "u2", "u3", "u4", "u5"]
    assert facts["facts"][0].to_list() == ["depression=present", "language=it", "sex=female"]
    assert facts["facts"][3].to_list() == ["accent=tiny, I say", "sex=male"]
    assert facts["fact_hash"][0] == facts["fact_hash"][2] and facts["fact_hash"].n_unique() == 4

    made = pl.read_parquet(tmp_path / "captions" / "captions.parquet")
    assert dict(made.schema) == {
        "fact_hash": pl.String,
        "k": pl.Int32,
        "language": pl.String,
        "text": pl.String,
        "used": pl.List(pl.String),
        "source": pl.String,
    }
    assert set(made["fact_hash"]) == {facts["fact_hash"][0], facts["fact_hash"][3]}
    assert made["k"].to_list() == [0, 1, 2, 3] * 2
    held = dict(facts.select("fact_hash", "facts").iter_rows())
    assert all(set(row["used"]) <= set(held[row["fact_hash"]]) for row in made.iter_rows(named=True))
    assert (report.utterances, report.fact_sets, report.captions) == (5, 2, 8)
    assert report.unsaid == {"accent=tiny, I say": 1}


def test_build_in_several_languages(tmp_path: Path) -> None:
    db, out = meta_db(tmp_path / "meta.db", ROWS), tmp_path / "captions"
    english = build(db, out, corpora=["androids"], k=3, seed=0)
    alone = pl.read_parquet(out / "captions.parquet")
    report = build(db, out, corpora=["androids"], k=3, seed=0, languages=("fr", "en", "zh"))
    made = pl.read_parquet(out / "captions.parquet")
    assert report.written and report.key != english.key
    assert (report.fact_sets, report.captions) == (1, 9)
    assert made["language"].to_list() == ["en"] * 3 + ["fr"] * 3 + ["zh"] * 3 and made["k"].to_list() == [0, 1, 2] * 3
    assert made.filter(language="en").equals(alone)
    assert set(made["source"]) == {"template"}
    again = build(db, out, corpora=["androids"], k=3, seed=0, languages=("zh", "fr", "en"))
    assert (again.written, again.key) == (False, report.key)
    with pytest.raises(PhraseError, match="'xx'"):
        build(db, out, corpora=["androids"], k=3, seed=0, languages=("en", "xx"))


def test_a_language_is_a_fact_without_its_region(tmp_path: Path) -> None:
    """A caption says "speaks Chinese", so zh-cn and zh must be the same fact, or one would deny the other."""
    rows = [("u1", "c", "train", ["language=zh-cn"]), ("u2", "c", "train", ["language=zh", "language=mul"])]
    report = build(meta_db(tmp_path / "meta.db", rows), tmp_path / "captions", corpora=["c"], k=2, seed=0)
    facts = pl.read_parquet(tmp_path / "captions" / "facts.parquet")
    assert facts["facts"].to_list() == [["language=zh"], ["language=zh"]]
    assert (report.fact_sets, dict(report.unsaid)) == (1, {})


def test_build_skips_what_is_fresh_and_notices_every_change(tmp_path: Path) -> None:
    db, out = meta_db(tmp_path / "meta.db", ROWS), tmp_path / "captions"
    first = build(db, out, corpora=["androids"], k=3, seed=0)
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()}
    assert set(before) == {"facts.parquet", "captions.parquet"}
    again = build(db, out, corpora=["androids"], k=3, seed=0)
    assert first.written and not again.written
    assert (again.key, again.captions, again.unsaid) == (first.key, first.captions, first.unsaid)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.iterdir()} == before

    other = meta_db(tmp_path / "other.db", [*ROWS[1:], ("u3", "androids", "train", ["sex=male"])])
    keys = {
        first.key,
        build(db, out, corpora=["androids"], k=3, seed=1).key,
        build(db, out, corpora=["androids"], k=4, seed=0).key,
        build(db, out, corpora=["androids", "svd"], k=3, seed=0).key,
        build(other, out, corpora=["androids"], k=3, seed=0).key,
    }
    assert len(keys) == 5
    rebuilt = build(meta_db(tmp_path / "turned.db", ROWS[::-1]), out, corpora=["androids"], k=3, seed=0)
    assert rebuilt.written and rebuilt.key == first.key
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {n: data for n, (data, _) in before.items()}
