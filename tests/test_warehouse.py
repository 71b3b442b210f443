"""The rules by which owners' tables become facts, on small hand-made tables."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from pipelines import pitch, warehouse, withdrawals
from pipelines.corpora._base import Rows
from pipelines.shards import INDEX
from pipelines.warehouse import WarehouseError, WarehouseReport

HOME = Path(__file__).resolve().parent.parent / "warehouse"
VOCABULARY = HOME / "vocabulary"
QUERIES = sorted((HOME / "queries").glob("*.sql"))
LICENCE = {"name": "CC0", "url": "", "access": "open", "may_train": True, "may_redistribute": True}


class House:
    """A warehouse of hand-made corpora in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta_db = folder / "meta.db"
        self.scores = folder / "the owner's scores"
        self.corpora: list[str] = []

    def add(self, rows: Rows, **card: object) -> None:
        folder = self.folder / "tables" / rows.corpus
        folder.mkdir(parents=True, exist_ok=True)
        made = rows.tables()
        for name, frame in (
            ("speaker", made.speakers),
            ("utterance", made.utterances),
            ("observation", made.observations),
            ("reject", made.rejects),
        ):
            frame.write_parquet(folder / f"{name}.parquet")
        known = {"name": rows.corpus, "title": rows.corpus, "label": "sex", "licence": LICENCE, "languages": ["en"]}
        (folder / "corpus.json").write_text(json.dumps(known | card, indent=1))
        self.corpora = sorted({*self.corpora, rows.corpus})

    def build(self, vocabulary: Path = VOCABULARY, seed: int = 0) -> WarehouseReport:
        return warehouse.build(
            self.folder / "tables",
            self.meta_db,
            corpora=self.corpora,
            vocabulary=vocabulary,
            sql=HOME / "sql",
            scores=self.scores,
            shards=self.folder / "shards",
            split_seed=seed,
        )

    def ask(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.meta_db), read_only=True) as con:
            return con.execute(query, list(parameters)).fetchall()

    def facts(self, utt_id: str) -> dict[str, str]:
        return dict(self.ask("SELECT attribute, value FROM fact WHERE utt_id = ?", utt_id))

    def wide(self, utt_id: str) -> dict[str, Any]:
        with duckdb.connect(str(self.meta_db), read_only=True) as con:
            row: dict[str, Any] = (
                con.sql("SELECT * FROM facts WHERE utt_id = ?", params=[utt_id]).pl().row(0, named=True)
            )
        return row

    @contextmanager
    def opened(self) -> Iterator[House]:
        """Keep the file open: the many short questions of a test are answered faster."""
        with duckdb.connect(str(self.meta_db), read_only=True):
            yield self

    def findings(self) -> set[str]:
        return {str(finding) for (finding,) in self.ask("SELECT finding FROM quality WHERE severity <> 'note'")}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# One case, one speaker, one utterance; all cases in one build ---------------------------------------------

SEXES: list[tuple[str | None, str | None]] = [
    *((word, "female") for word in ("f", "F ", "Female", "w", "weiblich", "famale", "female_feminine")),
    *((word, "male") for word in ("m", " M", "MALE", "male_masculine", "männlich")),
    *((word, "other") for word in ("other", "non-binary / third gender", "transgender")),
    *((word, None) for word in ("do_not_wish_to_say", "Prefer not to answer", "", None)),
]
SCORES = [
    ("phq9", "PHQ-9", 4, "depression", "absent", "minimal"),
    ("phq9", "PHQ-9", 9, "depression", "absent", "mild"),
    ("phq9", "PHQ-9", 10, "depression", "present", "moderate"),
    ("phq9", "PHQ-9", 19, "depression", "present", "moderately severe"),
    ("phq9", "PHQ-9", 27, "depression", "present", "severe"),
    ("phq8", "PHQ-8", 9, "depression", "absent", "mild"),
    ("phq8", "PHQ-8", 24, "depression", "present", "severe"),
    ("gad7", "GAD-7", 9.5, "anxiety", "absent", "mild"),
    ("gad7", "GAD-7", 10, "anxiety", "present", "moderate"),
    ("ais", "AIS", 5, "insomnia", "absent", "none"),
    ("ais", "AIS", 6, "insomnia", "present", "mild"),
    ("mfi_general", "MFI", 11, "fatigue", "absent", "mild"),
    ("mfi_general", "MFI", 12, "fatigue", "present", "moderate"),
    ("moca", "MoCA", 26, "cognitive_impairment", "absent", "normal"),
    ("moca", "MoCA", 25, "cognitive_impairment", "present", "mild"),
    ("mmse", "MMSE", 24, "cognitive_impairment", "absent", "normal"),
    ("mmse", "MMSE", 0, "cognitive_impairment", "present", "severe"),
    ("voice_roughness", "GRBAS", 0, "voice_roughness", "absent", "normal"),
    ("voice_breathiness", "GRBAS", 0.5, "voice_breathiness", "present", "mild"),
    ("voice_asthenia", "GRBAS", 3, "voice_asthenia", "present", "severe"),
    ("voice_severity", "CAPE-V", 35.4, "voice_severity", "absent", "normal"),
    ("voice_severity", "CAPE-V", 35.5, "voice_severity", "present", "mild"),
    ("voice_strain", "CAPE-V", 100, "voice_strain", "present", "severe"),
    ("voice_pauses", "SAP", 2, "voice_pauses", "absent", "normal"),
    ("voice_pauses", "SAP", 3, "voice_pauses", "present", "mild"),
    ("hoehn_yahr", "Hoehn-Yahr", 2.5, "parkinson", "present", "mild"),
    ("hoehn_yahr", "Hoehn-Yahr", 3, "parkinson", "present", "moderate"),
    ("bdi2", "BDI-II", 13, "depression", "absent", "minimal"),
    ("bdi2", "BDI-II", 29, "depression", "present", "severe"),
    ("sds", "SDS", 52.5, "depression", "absent", "minimal"),
    ("sds", "SDS", 53, "depression", "present", "mild"),
]
SCALES_WITHOUT_CUTOFF = [("updrs", "UPDRS"), ("vhi", "VHI"), ("alsfrs_r", "ALSFRS-R"), ("psqi", "PSQI")]
ACCENTS = [
    ("NorthernIrish ", "northern irish"),
    ("United States English", "american"),
    ("Cornish  English", "cornish english"),
    ("Unknown", None),
]
LANGUAGES = [("EN", "en"), ("zh_CN", "zh-cn"), ("cmn", "zh"), ("und", None)]
AGES: list[tuple[float, str | None]] = [
    *((age, "child") for age in (0, 15, 15.9)),
    *((age, None) for age in (16, 17.9)),
    *((age, "young") for age in (18, 34.9)),
    *((age, "middle-aged") for age in (35, 59.9)),
    *((age, "older") for age in (60, 110)),
]
AGE_RANGES = [
    ("teens", 0, 18, None),
    ("twenties", 19, 29, "young"),
    ("thirties", 30, 39, None),
    ("fourties", 40, 49, "middle-aged"),
    ("Forties ", 40, 49, "middle-aged"),
    ("nineties", 90, 110, "older"),
    ("26-35", 26, 35, None),
    ("66 - 75", 66, 75, "older"),
    ("prefer not to answer", None, None, None),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("cases"))
    rows = Rows("c")

    def case(name: str, language: str = "en", age: float | None = None, sex: str | None = None) -> str:
        who = rows.speaker(name, sex=sex)
        rows.utterance(f"{name}.wav", who, language=language, age=age)
        return who

    for i, (word, _) in enumerate(SEXES):
        case(f"sex {i}", sex=word)
    for attribute, instrument, score, *_ in SCORES:
        who = case(f"{instrument} {attribute} {score}")
        rows.observe(who, attribute, float(score), source="scale", instrument=instrument)
    for attribute, instrument in SCALES_WITHOUT_CUTOFF:
        rows.observe(case(instrument), attribute, 3.0, source="clinician", instrument=instrument)
    for accent, _ in ACCENTS:
        rows.observe(case(f"accent {accent}"), "accent", accent, source="owner")
    for language, _ in LANGUAGES:
        case(f"language {language}", language=language)
    for age, _ in AGES:
        case(f"age {age}", age=float(age))
    for word, *_ in AGE_RANGES:
        rows.observe(case(f"range {word}"), "age_range", word, source="self-report")
    house.add(rows)
    house.build()
    with house.opened():
        yield house


def utterance(house: House, case: str) -> str:
    ((utt_id,),) = house.ask("SELECT utt_id FROM utterance WHERE speaker_id = ?", f"c:{case}")
    return str(utt_id)


def facts_beside_language(house: House, case: str) -> dict[str, str]:
    facts = house.facts(utterance(house, case))
    return {name: value for name, value in facts.items() if name != "language"}


def test_all_cases_are_known_to_the_vocabulary(cases: House) -> None:
    assert cases.findings() == set()


@pytest.mark.parametrize("i", range(len(SEXES)), ids=[str(word) for word, _ in SEXES])
def test_sex_words(cases: House, i: int) -> None:
    sex = SEXES[i][1]
    assert facts_beside_language(cases, f"sex {i}") == ({} if sex is None else {"sex": sex})


@pytest.mark.parametrize(("attribute", "instrument", "score", "target", "state", "word"), SCORES)
def test_score_gives_state_and_severity(
    cases: House, attribute: str, instrument: str, score: float, target: str, state: str, word: str
) -> None:
    case = f"{instrument} {attribute} {score}"
    assert facts_beside_language(cases, case) == {target: state, f"{target}_severity": word}
    wide = cases.wide(utterance(cases, case))
    assert wide[target] == state
    assert attribute == target or wide[attribute] == score


@pytest.mark.parametrize(("attribute", "instrument"), SCALES_WITHOUT_CUTOFF)
def test_scales_without_a_cutoff_give_numbers_only(cases: House, attribute: str, instrument: str) -> None:
    assert facts_beside_language(cases, instrument) == {}
    assert cases.wide(utterance(cases, instrument))[attribute] == 3.0


@pytest.mark.parametrize(("raw", "accent"), ACCENTS)
def test_accents_are_folded(cases: House, raw: str, accent: str | None) -> None:
    assert facts_beside_language(cases, f"accent {raw}") == ({} if accent is None else {"accent": accent})
    assert cases.wide(utterance(cases, f"accent {raw}"))["accent"] == accent


@pytest.mark.parametrize(("raw", "tag"), LANGUAGES)
def test_language_tags(cases: House, raw: str, tag: str | None) -> None:
    utt_id = utterance(cases, f"language {raw}")
    assert cases.facts(utt_id).get("language") == cases.wide(utt_id)["language"] == tag


@pytest.mark.parametrize(("age", "bucket"), AGES)
def test_exact_age(cases: House, age: float, bucket: str | None) -> None:
    utt_id = utterance(cases, f"age {age}")
    wide = cases.wide(utt_id)
    assert (wide["age_low"], wide["age_high"]) == (age, age)
    assert cases.facts(utt_id).get("age") == bucket


@pytest.mark.parametrize(("word", "low", "high", "bucket"), AGE_RANGES)
def test_age_ranges(cases: House, word: str, low: int | None, high: int | None, bucket: str | None) -> None:
    utt_id = utterance(cases, f"range {word}")
    wide = cases.wide(utt_id)
    assert (wide["age_low"], wide["age_high"]) == (low, high)
    assert cases.facts(utt_id).get("age") == bucket


# Several observations of one speaker: a corpus each, all in one build -------------------------------------

Observe = Callable[[Rows, str, str], None]
STORIES: dict[str, Observe] = {}


def story(observe: Observe) -> Observe:
    """A corpus of the function's name: one speaker, with the observations that the function adds."""
    STORIES[observe.__name__] = observe
    return observe


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("told"))
    for name, observe in STORIES.items():
        rows = Rows(name)
        who = rows.speaker("s", birth_year=1960, sex="xq" if name == "unknown_words" else None)
        observe(rows, who, rows.utterance("u.wav", who, language="en", session_id="1"))
        house.add(rows)
    house.build()
    with house.opened():
        yield house


def facts_of(house: House, observe: Observe) -> dict[str, str]:
    facts = house.facts(f"{observe.__name__}:u")
    return {name: value for name, value in facts.items() if name != "language"}


def findings_of(house: House, observe: Observe) -> set[tuple[object, ...]]:
    query = "SELECT severity, finding, n, example FROM quality WHERE corpus = ?"
    return set(house.ask(query, observe.__name__))


@story
def instruments(rows: Rows, who: str, utt_id: str) -> None:
    rows.observe(who, "phq9", 12.0, source="self-report")
    rows.observe(who, "voice_roughness", 2.0, source="rater")
    rows.observe(who, "voice_strain", 2.0, source="rater", instrument="RBH")


def test_scale_needs_no_instrument_but_a_voice_rating_does(told: House) -> None:
    assert facts_of(told, instruments) == {"depression": "present", "depression_severity": "moderate"}
    assert findings_of(told, instruments) == {
        ("warn", "number without a known instrument", 2, "voice_roughness by none")
    }


@story
def authorities(rows: Rows, who: str, utt_id: str) -> None:
    rows.observe(who, "phq9", 7.0, source="self-report", instrument="PHQ-9")
    rows.observe(who, "depression", "present", source="clinician")
    rows.observe(who, "gad7", 12.0, source="self-report", instrument="GAD-7")
    rows.observe(who, "anxiety", "absent", source="scale")
    rows.observe(who, "smoking", "present", source="self-report")
    rows.observe(who, "smoking", "absent", source="model", utt_id=utt_id)


def test_clinician_wins_over_score_and_score_over_an_owners_cut_of_it(told: House) -> None:
    assert facts_of(told, authorities) == {
        "depression": "present",
        "depression_severity": "mild",
        "anxiety": "present",
        "anxiety_severity": "moderate",
        "smoking": "present",
    }
    assert findings_of(told, authorities) == {
        ("warn", "stated state contradicts the score", 1, "depression present, scored mild")
    }


@story
def contradictions(rows: Rows, who: str, utt_id: str) -> None:
    rows.observe(who, "phq9", 20.0, source="self-report", instrument="PHQ-9")
    rows.observe(who, "depression", "absent", source="group")
    rows.observe(who, "ais", 1.0, source="self-report", instrument="AIS")
    rows.observe(who, "insomnia", "present", source="clinician")


def test_severity_word_never_contradicts_the_state(told: House) -> None:
    assert facts_of(told, contradictions) == {"depression": "absent", "insomnia": "present"}


@story
def levels(rows: Rows, who: str, utt_id: str) -> None:
    for session, name in (("1", "b"), ("2", "c"), (None, "d")):
        rows.utterance(f"{name}.wav", who, language="en", session_id=session)
    rows.observe(who, "voice_disorder", "absent", source="clinician")
    rows.observe(who, "voice_disorder", "present", source="clinician", session_id="1")
    rows.observe(who, "voice_disorder", "absent", source="clinician", session_id="1", utt_id="levels:b")
    rows.observe(who, "phq9", 3.0, source="scale", instrument="PHQ-9")
    rows.observe(who, "phq9", 20.0, source="scale", instrument="PHQ-9", session_id="2")
    rows.observe(who, "phq9", 9.0, source="scale", instrument="PHQ-9", utt_id="levels:gone")


def test_most_specific_level_wins(told: House) -> None:
    seen = {name: told.wide(f"levels:{name}") for name in "ubcd"}
    assert {name: row["voice_disorder"] for name, row in seen.items()} == {
        "u": "present",
        "b": "absent",
        "c": "absent",
        "d": "absent",
    }
    assert {name: row["phq9"] for name, row in seen.items()} == {"u": 3, "b": 3, "c": 20, "d": 3}
    assert findings_of(told, levels) == {("warn", "observation of an unknown utterance", 1, "phq9")}


@story
def raters(rows: Rows, who: str, utt_id: str) -> None:
    for rater, grade in (("A", 1.0), ("B", 2.0), ("C", 2.0)):
        rows.observe(who, "voice_roughness", grade, source="rater", instrument="GRBAS", rater=rater, utt_id=utt_id)
    for word in ("present", "Present ", "absent"):
        rows.observe(who, "voice_nasality", word, source="rater", utt_id=utt_id)
    for word in ("present", "absent"):
        rows.observe(who, "voice_monotony", word, source="rater", utt_id=utt_id)


def test_raters_are_averaged_and_their_words_are_votes(told: House) -> None:
    assert facts_of(told, raters) == {
        "voice_roughness": "present",
        "voice_roughness_severity": "moderate",
        "voice_nasality": "present",
    }
    assert told.ask("SELECT value, n FROM measurement WHERE utt_id = 'raters:u'")[0] == (pytest.approx(5 / 3), 3)
    assert findings_of(told, raters) == {("warn", "raters disagree evenly", 1, "voice_monotony")}


@story
def two_protocols(rows: Rows, who: str, utt_id: str) -> None:
    rows.observe(who, "voice_severity", 1.0, source="rater", instrument="GRBAS")
    rows.observe(who, "voice_severity", 20.0, source="rater", instrument="CAPE-V")


def test_instrument_that_is_listed_first_counts(told: House) -> None:
    assert facts_of(told, two_protocols) == {"voice_severity": "absent", "voice_severity_severity": "normal"}


@story
def unknown_words(rows: Rows, who: str, utt_id: str) -> None:
    rows.observe(who, "parkinson", "maybe", source="owner")
    rows.observe(who, "mood_of_the_day", "sunny", source="owner")
    rows.observe(who, "phq9", 99.0, source="scale", instrument="PHQ-9")
    rows.observe(who, "gad7", "seven", source="scale", instrument="GAD-7")
    rows.observe(who, "education_years", 77.0, source="owner")
    rows.observe(who, "diagnosis_text", "something rare", source="clinician")
    rows.observe(who, "age_range", "umpteens", source="owner")


def test_unknown_is_no_row_and_unknown_words_reach_no_fact(told: House) -> None:
    assert facts_of(told, unknown_words) == {}
    wide = told.wide("unknown_words:u")
    assert [wide[name] for name in ("sex", "parkinson", "phq9", "gad7", "healthy", "age_low")] == [None] * 6
    assert findings_of(told, unknown_words) == {
        ("error", "unknown sex word", 1, "xq"),
        ("error", "unknown value of a state", 1, "parkinson = maybe"),
        ("error", "unknown attribute", 1, "mood_of_the_day"),
        ("warn", "score out of range", 1, "phq9 = 99.0"),
        ("warn", "scale without a number", 1, "gad7 = seven"),
        ("warn", "number outside the allowed range", 1, "education_years = 77.0"),
        ("warn", "unknown age range", 1, "age_range = umpteens"),
    }


def test_unknown_labels_are_reported_without_naming_anyone(told: House) -> None:
    assert warehouse.unknown_labels(told.meta_db) == [
        "unknown_words: unknown attribute (1 row, e.g. mood_of_the_day)",
        "unknown_words: unknown sex word (1 row, e.g. xq)",
        "unknown_words: unknown value of a state (1 row, e.g. parkinson = maybe)",
    ]


@story
def ages(rows: Rows, who: str, utt_id: str) -> None:
    day = date(2020, 5, 1)
    rows.utterance("born.wav", who, language="en", recorded_on=day)
    rows.utterance("right.wav", who, language="en", recorded_on=day, age=59.5)
    rows.utterance("wrong.wav", who, language="en", recorded_on=day, age=30.0)
    rows.utterance("old.wav", who, language="en", age=1234.0)
    rows.utterance("unborn.wav", who, language="en", age=-1.0)
    rows.observe(who, "age_range", "sixties", source="self-report", utt_id="ages:old")


def test_birth_year_gives_a_year_of_room_and_impossible_ages_are_none(told: House) -> None:
    bounds = {row[0]: row[1:] for row in told.ask("SELECT utt_id, age_low, age_high FROM facts WHERE corpus = 'ages'")}
    assert bounds == {
        "ages:u": (None, None),
        "ages:born": (59, 60),
        "ages:right": (59.5, 59.5),
        "ages:wrong": (30, 30),
        "ages:old": (60, 69),
        "ages:unborn": (None, None),
    }
    assert "age" not in told.facts("ages:born")
    assert findings_of(told, ages) == {
        ("warn", "age outside 0..110", 2, "-1.0"),
        ("warn", "age contradicts the birth year", 1, "age 30.0, born 1960, recorded 2020"),
    }


# Splits -------------------------------------------------------------------------------------------------


def clinic(n: int = 40, corpus: str = "clinic") -> Rows:
    """n people, half of them with Parkinson's disease, two utterances each, some of everything."""
    rows = Rows(corpus)
    for i in range(n):
        who = rows.speaker(f"{i:03d}", sex="fm"[i // 2 % 2], native_language="es")
        for take in (1, 2):
            rows.utterance(f"{i:03d}_{take}.wav", who, language="es", speech_task="read", age=40.0 + i % 40)
        rows.observe(who, "parkinson", "present" if i % 2 else "absent", source="clinician")
        rows.observe(who, "phq9", float(i % 28), source="self-report", instrument="PHQ-9")
        rows.observe(who, "voice_roughness", float(i % 4), source="rater", instrument="GRBAS")
    rows.reject("noise.wav", "no row 17 in the table")
    return rows


def test_people_are_split_by_stratum_and_nobody_twice(house: House) -> None:
    house.add(clinic(), label="parkinson")
    report = house.build()
    assert report.counts["person_split"] == 40 and len(report.split_hash) == 64
    assert warehouse.persons_in_two_splits(house.meta_db) == 0
    rows = house.ask("SELECT parkinson, split, count(DISTINCT person_id) FROM facts GROUP BY ALL ORDER BY ALL")
    assert [row[:2] for row in rows] == [
        ("absent", "test"),
        ("absent", "train"),
        ("present", "test"),
        ("present", "train"),
    ]
    assert all(5 <= int(str(row[2])) <= 15 for row in rows)


def test_person_in_two_corpora_has_one_split_and_another_corpus_moves_nobody(house: House) -> None:
    house.add(clinic(), label="parkinson")
    house.build()
    before = dict(house.ask("SELECT person_id, split FROM person_split"))
    again = Rows("again")
    for i in range(0, 60, 2):
        who = again.speaker(f"{i:03d}", person_id=f"clinic:{i:03d}")
        again.utterance(f"{i}.wav", who, language="es", official_split="test" if i % 4 else "train")
    house.add(again, official_splits=True)
    house.build()
    after = dict(house.ask("SELECT person_id, split FROM person_split"))
    assert before.items() <= after.items() and len(after) == 50
    assert warehouse.persons_in_two_splits(house.meta_db) == 0
    assert "official split not followed" in house.findings()


def test_split_outlives_the_database(house: House) -> None:
    house.add(clinic(), label="parkinson")
    first = house.build().split_hash
    house.meta_db.unlink()
    assert house.build(seed=1).split_hash == first
    (house.folder / "tables" / "split.parquet").unlink()
    house.meta_db.unlink()
    assert house.build(seed=1).split_hash != first


def test_persons_in_two_splits_are_counted(house: House) -> None:
    house.add(clinic(), label="parkinson")
    house.build()
    with duckdb.connect(str(house.meta_db)) as con:
        con.execute("INSERT INTO person_split SELECT person_id, 'dev', source, stratum FROM person_split LIMIT 3")
    assert warehouse.persons_in_two_splits(house.meta_db) == 3


def test_official_split_with_a_person_on_both_sides_is_not_used(house: House) -> None:
    rows = Rows("c")
    for person, split in (("a", "train"), ("a", "test"), ("b", "test"), ("d", "train")):
        rows.utterance(f"{person}-{split}.wav", rows.speaker(person), language="en", official_split=split)
    house.add(rows, official_splits=True)
    house.build()
    assert house.ask("SELECT DISTINCT source FROM person_split") == [("hash",)]
    assert warehouse.persons_in_two_splits(house.meta_db) == 0
    finding = "official split cannot be used, so a hash splits the corpus"
    assert house.ask("SELECT finding, example FROM quality") == [(finding, "it has a person on two sides")]


# The file -----------------------------------------------------------------------------------------------


def test_reader_with_the_old_file_open_is_undisturbed(house: House) -> None:
    house.add(clinic(10))
    house.build()
    with duckdb.connect(str(house.meta_db), read_only=True) as reader:
        assert reader.execute("SELECT count(*) FROM facts").fetchone() == (20,)
        house.add(clinic(30))
        report = house.build()
        assert report.built and report.counts["utterance"] == 60
        assert reader.execute("SELECT count(*) FROM facts WHERE sex = 'female'").fetchone() == (12,)
    assert house.ask("SELECT count(*) FROM facts") == [(60,)]
    assert [path.name for path in house.folder.glob("meta.db*")] == ["meta.db"]


def test_reader_in_another_process_is_undisturbed(house: House) -> None:
    house.add(clinic(10))
    house.build()
    program = """
import duckdb, sys
con = duckdb.connect(sys.argv[1], read_only=True)
print(con.execute("SELECT count(*) FROM facts").fetchone()[0], flush=True)
sys.stdin.readline()
print(con.execute("SELECT count(*) FROM facts").fetchone()[0], flush=True)
"""
    command = [sys.executable, "-c", program, str(house.meta_db)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None and reader.stdout is not None
        assert reader.stdout.readline() == "20\n"
        house.add(clinic(30))
        assert house.build().built
        reader.stdin.write("go on\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "20\n"
    assert house.ask("SELECT count(*) FROM facts") == [(60,)]


def test_build_is_skipped_until_an_input_changes(house: House, tmp_path: Path) -> None:
    house.add(clinic(10))
    first = house.build()
    assert first.built
    again = house.build()
    assert not again.built
    assert replace(again, built=True, seconds=0) == replace(first, seconds=0)
    vocabulary = tmp_path / "vocabulary"
    shutil.copytree(VOCABULARY, vocabulary)
    assert not house.build(vocabulary).built
    with (vocabulary / "words.csv").open("a") as words:
        words.write("sex,frau,female,,\n")
    assert house.build(vocabulary).built
    house.add(clinic(12))
    assert house.build(vocabulary).built
    assert house.build(vocabulary, seed=5).built


def test_broken_old_file_is_replaced(house: House) -> None:
    house.add(clinic(4))
    house.meta_db.write_bytes(b"not a database")
    assert house.build().built
    assert house.ask("SELECT count(*) FROM facts") == [(8,)]


def test_failed_build_keeps_the_old_file(house: House, tmp_path: Path) -> None:
    house.add(clinic(4))
    house.build()
    sql = tmp_path / "sql"
    shutil.copytree(HOME / "sql", sql)
    (sql / "99_broken.sql").write_text("SELECT * FROM nothing_of_that_name;")
    with pytest.raises(WarehouseError, match=r"99_broken\.sql failed"):
        warehouse.build(
            tmp_path / "tables",
            house.meta_db,
            corpora=["clinic"],
            vocabulary=VOCABULARY,
            sql=sql,
            scores=house.scores,
            shards=house.folder / "shards",
        )
    assert house.ask("SELECT count(*) FROM facts") == [(8,)]
    assert [path.name for path in house.folder.glob("meta.db*")] == ["meta.db"]


def test_missing_tables_are_named(house: House) -> None:
    house.add(clinic(4))
    house.corpora.append("absent")
    with pytest.raises(WarehouseError, match=r"absent.speaker\.parquet not found: ingest the corpus absent first"):
        house.build()


def test_corpus_without_rows_is_still_a_corpus(house: House) -> None:
    house.add(Rows("empty"), found=False, reason="skipped: not found", licence=None)
    house.build()
    assert house.ask("SELECT corpus, found, reason FROM corpus") == [("empty", False, "skipped: not found")]
    assert house.ask("FROM facts") == [] and house.ask("FROM quality") == []


# Scores, comments, queries ------------------------------------------------------------------------------


def test_score_view_sees_new_files_and_minds_no_empty_folder(house: House) -> None:
    house.add(clinic(4))
    house.build()
    assert house.ask("FROM score") == []
    folder = house.scores / "slap"
    folder.mkdir(parents=True)
    score = {"embedder": "slap", "task": "sex", "group": "demographic", "mode": "probe", "f1": 0.5, "auroc": None}
    (folder / "sex.probe.json").write_text(json.dumps(score, indent=2))
    query = "SELECT embedder, task, task_group, mode, f1, auroc FROM score"
    assert house.ask(query) == [("slap", "sex", "demographic", "probe", 0.5, None)]
    (folder / "sex.zero-shot.json").write_text('{"embedder": "sl')  # a damaged file hides no other
    assert house.ask("SELECT count(*), count(embedder) FROM score") == [(2, 1)]


def test_score_view_has_a_column_for_every_field_of_a_score(asked: House) -> None:
    evaluate = pytest.importorskip("benchmark.evaluate")
    columns = {row[0] for row in asked.ask("DESCRIBE score")}
    fields = {"task_group" if name == "group" else name for name in evaluate.Score.__dataclass_fields__}
    assert fields <= columns


def test_lists_of_a_score_are_lists(house: House) -> None:
    house.add(clinic(4))
    house.build()
    folder = house.scores / "slap"
    folder.mkdir(parents=True)
    curve = [{"n_speakers": 8, "macro_f1": 0.5, "low": 0.25, "high": 0.75}]
    told = {"told_by": {"native sample rate": 0.9}, "hashes": {"split": "s1"}}
    (folder / "sex.probe.json").write_text(json.dumps({"seeds": [0.5, 1], "learning_curve": curve, **told}))
    query = "SELECT seeds, learning_curve[1].high, told_by['native sample rate'], hashes['split'] FROM score"
    assert house.ask(query) == [([0.5, 1.0], 0.75, 0.9, "s1")]


def test_transfer_view_sees_new_files_and_minds_no_empty_folder(house: House) -> None:
    house.add(clinic(4))
    house.build()
    assert house.ask("FROM transfer") == []
    row = {"name": "sex", "train_corpus": "a", "test_corpus": "b", "macro_f1": 0.5, "of_another_version": 1}
    write_transfers(house.scores, "slap", row)
    write_transfers(house.scores, "random", {"name": "sex", "macro_f1": 0.25})
    query = "SELECT embedder, name, train_corpus, macro_f1, auroc FROM transfer ORDER BY embedder"
    assert house.ask(query) == [("random", "sex", None, 0.25, None), ("slap", "sex", "a", 0.5, None)]
    shutil.rmtree(house.scores)
    assert house.build().built is False
    assert house.ask("FROM transfer") == [], "a build that is skipped leaves the view without files"


def write_transfers(scores: Path, embedder: str, *rows: dict[str, object]) -> None:
    (scores / embedder).mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(scores / embedder / "transfer.parquet")


def write_shards(
    house: House, corpus: str, recordings: list[str], rejects: list[dict[str, object]] | None = None
) -> None:
    """What sharding leaves of a corpus: the index of its recordings, all alike, and its rejects."""
    folder = house.folder / "shards" / corpus
    folder.mkdir(parents=True, exist_ok=True)
    measured = {"seconds": 2.5, "native_rate": 8000, "bandwidth": 3500, "clipping": 0.0, "level": -20.0, "speech": 0.5}
    rows = [{"utt_id": utt_id, "corpus": corpus, **measured, "raw_sha256": "a"} for utt_id in recordings]
    pl.DataFrame(rows, schema={name: dtype for name, dtype in INDEX.items() if rows and name in rows[0]}).write_parquet(
        folder / "index.parquet"
    )
    (folder / "rejects.json").write_text(json.dumps(rejects or []))


def test_recordings_are_read_anew_and_minded_when_absent(house: House) -> None:
    house.add(clinic(4))
    house.build()
    assert house.ask("FROM recording") == []
    write_shards(house, "clinic", ["a", "b"])
    query = "SELECT utt_id, native_rate, bandwidth, speech, samples_sha256 FROM recording ORDER BY utt_id"
    assert house.ask(query) == [("a", 8000, 3500, 0.5, None), ("b", 8000, 3500, 0.5, None)]
    shutil.rmtree(house.folder / "shards")
    assert house.build().built is False
    assert house.ask("FROM recording") == [], "a build that is skipped leaves the view without files"


def test_the_accounting_finds_what_is_missing_unknown_or_twice(house: House) -> None:
    house.add(clinic(4))
    house.add(clinic(1, "whole"))
    house.build()
    ids = [utt_id for (utt_id,) in house.ask("SELECT utt_id FROM utterance WHERE corpus = 'clinic' ORDER BY ALL")]
    ids += [utt_id for (utt_id,) in house.ask("SELECT utt_id FROM utterance WHERE corpus = 'whole' ORDER BY ALL")]
    n = len(ids) - 2
    assert set(house.ask("SELECT corpus, utterances, missing FROM accounting")) == {("clinic", n, n), ("whole", 2, 2)}
    reject = {"corpus": "clinic", "path": "p", "reason": "r", "passing": False}
    rejects = [{**reject, "utt_id": ids[1]}, {**reject, "utt_id": ids[2]}]
    write_shards(house, "clinic", [ids[0], ids[0], ids[2], "stranger"], rejects)
    write_shards(house, "whole", [ids[-1]], [{**reject, "corpus": "whole", "utt_id": ids[-2]}])
    columns = 'corpus, utterances, in_tars, rejected, missing, "unknown", twice'
    assert house.ask(f"SELECT {columns} FROM accounting ORDER BY corpus") == [
        ("clinic", n, 2, 1, n - 3, 1, 2),
        ("whole", 2, 1, 1, 0, 0, 0),
    ]


def test_every_table_and_column_is_explained(asked: House) -> None:
    assert (
        asked.ask(
            """
        SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL
        UNION ALL SELECT table_name, NULL FROM duckdb_tables() WHERE NOT internal AND comment IS NULL
        UNION ALL SELECT view_name, NULL FROM duckdb_views() WHERE NOT internal AND comment IS NULL
        """
        )
        == []
    )


def test_facts_has_a_column_for_every_state_and_scale(asked: House) -> None:
    types = {row[0]: row[1] for row in asked.ask("DESCRIBE facts")}
    with (VOCABULARY / "attributes.csv").open(encoding="utf-8") as file:
        kinds = {row["attribute"]: row["kind"] for row in csv.DictReader(file)}
    assert {name for name, kind in kinds.items() if kind == "state"} <= {n for n, t in types.items() if t == "VARCHAR"}
    assert {name for name, kind in kinds.items() if kind == "scale"} <= {n for n, t in types.items() if t == "DOUBLE"}
    assert asked.ask("SELECT count(*), count(DISTINCT utt_id) FROM facts") == [(81, 81)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("asked"))
    house.add(clinic(), label="parkinson", roles=["train"])
    muddle = Rows("muddle")
    muddle.utterance("u.wav", muddle.speaker("a", sex="f", person_id="p"), language="the language of birds")
    muddle.speaker("b", sex="m", person_id="p")
    house.add(muddle)
    house.build()
    folder = house.scores / "slap"
    folder.mkdir(parents=True)
    score = {"embedder": "slap", "task": "sex", "group": "demographic", "track": "paper", "mode": "probe", "f1": 0.5}
    (folder / "sex.probe.json").write_text(json.dumps(score))
    pair = {"name": "sex", "train_corpus": "clinic", "test_corpus": "muddle", "status": "ok", "macro_f1": 0.5}
    write_transfers(house.scores, "slap", pair)
    write_shards(house, "muddle", recordings=["muddle:u"])
    with house.opened():
        yield house


@pytest.mark.parametrize("query", QUERIES, ids=lambda path: path.stem)
def test_example_queries_answer(asked: House, query: Path, tmp_path: Path) -> None:
    text = query.read_text()
    assert text.startswith("-- ") and "?" in text.splitlines()[0]
    assert asked.ask(text) != []
    if command_line := shutil.which("duckdb"):
        # of a copy: the command line opens a file to write, which no other reader may then have open
        copy = shutil.copy(asked.meta_db, tmp_path)
        subprocess.run([command_line, str(copy)], input=text, text=True, check=True, capture_output=True)


def test_the_share_of_women_is_of_those_whose_sex_is_known() -> None:
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE facts AS FROM (VALUES ('a', 'test', 'p', 'female', 1, 1), ('a', 'test', 'q', NULL, 1, 1), "
            "('b', 'test', 'r', NULL, 1, 1)) AS t(corpus, split, person_id, sex, age_low, age_high)"
        )
        answer = con.sql((HOME / "queries" / "06_split_balance.sql").read_text()).pl()
    assert answer["female"].to_list() == [1.0, None]


def test_muddled_people_and_languages_are_found(asked: House) -> None:
    assert asked.findings() == {"person of two sexes", "speaker without an utterance", "language is not a BCP-47 tag"}


def test_there_are_enough_example_queries() -> None:
    assert len(QUERIES) >= 8


# Voices against sex codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("women", "men", "severity"),
    [(210, 115, None), (115, 210, "error"), (130, 115, "warn"), (210, 190, "warn")],
)
def test_sex_codes_that_contradict_the_voices_are_found(
    house: House, women: int, men: int, severity: str | None
) -> None:
    rows = Rows("clinic")
    voices = []
    for number in range(12):
        sex, hertz = ("f", women) if number % 2 else ("m", men)
        who = rows.speaker(str(number), sex=sex)
        utt_id = rows.utterance(f"{number}.wav", who, language="en", age=40.0)
        voices.append(("clinic", who, utt_id, float(hertz + number), 2.0))
    child = rows.speaker("child", sex="m")
    voices.append(("clinic", child, rows.utterance("c.wav", child, language="en", age=8.0), 390.0, 2.0))
    house.add(rows)
    sample = pl.DataFrame(voices, schema=dict(pitch.SAMPLE), orient="row")
    sample.write_parquet(house.folder / "tables" / "clinic" / f"{pitch.TABLE}.parquet")
    house.build()
    found = house.ask("SELECT severity, n FROM quality WHERE finding = 'median F0 contradicts the sex code'")
    assert found == ([] if severity is None else [(severity, 12)])


def test_words_that_no_table_knows_are_listed_with_what_became_of_them(house: House) -> None:
    rows = Rows("words")
    who = rows.speaker("s", sex="f", country="Ruritania")
    rows.utterance("u.wav", who, language="en")
    rows.observe(who, "accent", "Ruritanian Hills", source="self-report")
    rows.observe(who, "emotion", "wistful", source="acted")
    rows.observe(who, "smoking", "pipe on Sundays", source="self-report")
    house.add(rows)
    house.build()
    assert set(house.ask("SELECT domain, raw, n, kept FROM unknown_word")) == {
        ("accent", "ruritanian hills", 1, True),
        ("country", "Ruritania", 1, True),
        ("emotion", "wistful", 1, False),
        ("smoking", "pipe on sundays", 1, False),
    }
    wide = house.wide("words:u")
    assert (wide["accent"], wide["emotion"], wide["smoking"]) == ("ruritanian hills", None, None)


@pytest.mark.parametrize("word", ["y", "True", " YES ", "1", "present", "casual smoker"])
def test_states_are_folded_by_the_table(house: House, word: str) -> None:
    rows = Rows("c")
    who = rows.speaker("s")
    rows.utterance("u.wav", who, language="en")
    rows.observe(who, "smoking", word, source="self-report")
    house.add(rows)
    house.build()
    assert house.wide("c:u")["smoking"] == "present" and house.findings() == set()


def test_who_acts_an_emotion_knows_it_better_than_who_hears_it(house: House) -> None:
    rows = Rows("c")
    who = rows.speaker("s")
    utt_id = rows.utterance("u.wav", who, language="en")
    rows.observe(who, "emotion", "Sad", source="acted", utt_id=utt_id)
    for rater in "abc":
        rows.observe(who, "emotion", "happy", source="rater", rater=rater, utt_id=utt_id)
    house.add(rows)
    house.build()
    assert house.wide("c:u")["emotion"] == "sad"


def test_withdrawals_are_read_anew(house: House) -> None:
    house.add(clinic(4))
    house.build()
    assert house.ask("FROM withdrawal") == []
    counts = {field.name: 3 for field in fields(withdrawals.Withdrawal)}
    words = {"date": "2026-02-01", "finished": "", "corpora": "clinic", "checkpoints": "slap-1 slap-2", "refused": "x"}
    row = withdrawals.Withdrawal(**{**counts, **words, "key": withdrawals.key_mark(str)})
    withdrawals.put(house.folder / withdrawals.NAME, row, str)
    assert house.ask("SELECT corpora, finished, speakers, tars, scores, checkpoints FROM withdrawal") == [
        ("clinic", None, 3, 3, 3, "slap-1 slap-2")
    ]
    assert all("x" not in str(cell) for found in house.ask("FROM withdrawal") for cell in found)


# The vocabulary -----------------------------------------------------------------------------------------


def bands() -> dict[tuple[str, str], pl.DataFrame]:
    table = pl.read_csv(VOCABULARY / "instruments.csv")
    return {(str(key[0]), str(key[1])): band.sort("low") for key, band in table.group_by("instrument", "measures")}


@pytest.mark.parametrize("scale", sorted(bands()))
def test_bands_of_an_instrument_meet_and_agree_with_its_cutoff(scale: tuple[str, str]) -> None:
    band = bands()[scale]
    assert band["high"].to_list()[:-1] == band["low"].to_list()[1:]
    assert band["citation"].str.len_chars().min() > 10  # type: ignore[operator]
    target, cutoff = band["target"][0], band["cutoff"][0]
    if target is None:  # words for people to read; nothing is derived
        assert band["state"].null_count() == band.height
        return
    sign, bound = cutoff.split()
    for row in band.iter_rows(named=True):
        above = row["low"] >= float(bound)
        assert row["state"] == ("present" if above == (sign == ">=") else "absent")


def test_vocabulary_names_only_known_attributes_and_states() -> None:
    attributes = pl.read_csv(VOCABULARY / "attributes.csv")
    states = set(attributes.filter(pl.col("kind") == "state")["attribute"])
    instruments = pl.read_csv(VOCABULARY / "instruments.csv")
    assert set(instruments["measures"]) <= set(attributes["attribute"])
    assert set(instruments["target"].drop_nulls()) <= states
    scales = attributes.filter(pl.col("kind") == "scale")
    assert set(scales["attribute"]) <= set(instruments["measures"])
    for name, allowed in scales.select("attribute", "allowed").iter_rows():
        measured = instruments.filter(pl.col("measures") == name)
        low, high = map(float, allowed.split(".."))
        assert (measured["low"].min(), measured["high"].max()) == (low, high), name


def test_words_are_listed_once() -> None:
    words = pl.read_csv(VOCABULARY / "words.csv", infer_schema=False)
    assert words.select("domain", pl.col("raw").str.strip_chars().str.to_lowercase()).is_duplicated().sum() == 0
    sexes = words.filter(pl.col("domain") == "sex")["canonical"].drop_nulls()
    assert set(sexes) == {"female", "male", "other"}


def test_rejects_of_sharding_appear_without_a_build(house: House) -> None:
    house.add(clinic(4))
    house.build()
    query = "SELECT corpus, path, reason, utt_id, passing FROM reject WHERE stage = 'audio' ORDER BY corpus"
    assert house.ask(query) == []
    reject = {"corpus": "clinic", "path": "a.wav", "reason": "empty file"}
    write_shards(house, "clinic", [], [{**reject, "utt_id": "u", "passing": True}])
    write_shards(house, "other", [], [{**reject, "corpus": "other"}])  # of an earlier version
    assert house.ask(query) == [
        ("clinic", "a.wav", "empty file", "u", True),
        ("other", "a.wav", "empty file", None, False),
    ]
