"""Which labels a task's minimum source lets through, on a warehouse built by the real SQL from hand-made tables."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from benchmark import sources
from benchmark.task import Rows as RowsOfTask
from benchmark.task import Task, TaskError, rows_of
from pipelines import warehouse
from pipelines.corpora._base import Rows

HOME = Path(__file__).parents[2] / "warehouse"
LICENCE = {"name": "CC0", "url": "", "access": "open", "may_train": True, "may_redistribute": True}
Say = Callable[..., None]


@pytest.fixture(scope="module")
def meta_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each speaker is a case; their recordings are ``<speaker>:a``, of session 1, and ``:b``, of session 2."""
    folder = tmp_path_factory.mktemp("house")
    made = Rows("toy")

    def person(name: str) -> Say:
        made.speaker(name, sex="f")
        for take, session in (("a", "1"), ("b", "2")):
            made.utterance(f"{name}:{take}.wav", f"toy:{name}", language="en", session_id=session)
        return lambda attribute, value, **more: made.observe(f"toy:{name}", attribute, value, **more)

    person("clinic")("depression", "present", source="clinician")
    person("arm")("depression", "absent", source="group")
    person("score")("phq9", 14.0, source="self-report", instrument="PHQ-9")
    person("own word")("depression", "present", source="self-report")
    person("machine")("depression", "present", source="model")
    person("owners cut")("depression", "present", source="scale")
    both = person("word and score")
    both("depression", "absent", source="self-report")
    both("phq9", 14.0, source="self-report", instrument="PHQ-9")
    even = person("even vote")  # two clinicians who disagree say nothing: the speaker's own word decides
    even("depression", "present", source="clinician", rater="A")
    even("depression", "absent", source="clinician", rater="B")
    even("depression", "present", source="self-report")
    later = person("later")  # only the second session was seen by a clinician
    later("depression", "present", source="self-report")
    later("depression", "present", source="clinician", session_id="2")
    person("actor")("emotion", "angry", source="acted", utt_id="toy:actor:a")
    heard = person("heard")
    heard("emotion", "angry", source="rater", utt_id="toy:heard:a")
    heard("emotion", "neutral", source="acted", utt_id="toy:heard:b")

    tables = folder / "tables" / "toy"
    tables.mkdir(parents=True)
    frames = made.tables()
    frames.speakers.write_parquet(tables / "speaker.parquet")
    frames.utterances.write_parquet(tables / "utterance.parquet")
    frames.observations.write_parquet(tables / "observation.parquet")
    frames.rejects.write_parquet(tables / "reject.parquet")
    card = {"name": "toy", "title": "toy", "label": "sex", "licence": LICENCE, "languages": ["en"]}
    (tables / "corpus.json").write_text(json.dumps(card))
    warehouse.build(
        folder / "tables",
        folder / "meta.db",
        corpora=["toy"],
        vocabulary=HOME / "vocabulary",
        sql=HOME / "sql",
        scores=folder / "scores",
        shards=folder / "shards",
        split_seed=0,
    )
    return folder / "meta.db"


def names(found: RowsOfTask) -> set[str]:
    return {utt_id.removeprefix("toy:") for utt_id in found.frame["utt_id"]}


def asking(source: str, positive: str = "depression = 'present'", negative: str = "depression = 'absent'") -> Task:
    texts = (("glad", "sad"),)
    return Task("toy", "health", "open", "toy", positive, negative, "speaker", source, {"en": texts})


DIAGNOSED = {"clinic:a", "clinic:b", "arm:a", "arm:b", "later:b"}
SCORED = {"score:a", "score:b", "word and score:a", "word and score:b"}
STATED = {"own word:a", "own word:b", "even vote:a", "even vote:b", "later:a", "owners cut:a", "owners cut:b"}
GUESSED = {"machine:a", "machine:b"}


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("clinician", DIAGNOSED),
        ("owner", DIAGNOSED),
        ("group", DIAGNOSED),
        ("scale", DIAGNOSED | SCORED),
        ("rater", DIAGNOSED | SCORED | STATED),
        ("self-report", DIAGNOSED | SCORED | STATED),
        ("model", DIAGNOSED | SCORED | STATED | GUESSED),
        ("any", DIAGNOSED | SCORED | STATED | GUESSED),
    ],
)
def test_weaker_labels_are_left_out_and_counted(meta_db: Path, source: str, kept: set[str]) -> None:
    (found,) = rows_of([asking(source)], meta_db)
    assert names(found) == kept
    assert found.n_too_weak == len(DIAGNOSED | SCORED | STATED | GUESSED) - len(kept)
    assert found.frame["utt_id"].is_sorted()


def test_a_number_is_a_scales_whoever_filled_it_in(meta_db: Path) -> None:
    numbers = [asking(source, "phq9 >= 10", "phq9 < 10") for source in ("scale", "clinician")]
    scale, clinician = rows_of(numbers, meta_db)
    assert names(scale) == SCORED and scale.n_too_weak == 0
    assert clinician.frame.is_empty() and clinician.n_too_weak == len(SCORED)


def test_who_acts_an_emotion_knows_it_best(meta_db: Path) -> None:
    emotions = [asking(source, "emotion = 'angry'", "emotion = 'neutral'") for source in ("acted", "rater")]
    acted, rated = rows_of(emotions, meta_db)
    assert names(acted) == {"actor:a", "heard:b"} and acted.n_too_weak == 1
    assert names(rated) == {"actor:a", "heard:a", "heard:b"} and rated.n_too_weak == 0


def test_what_has_no_source_cannot_be_asked_for_one(meta_db: Path) -> None:
    with pytest.raises(TaskError, match=r"task toy: source is 'clinician'.*no source; write source = 'any'"):
        rows_of([asking("clinician", "sex = 'female'", "sex = 'male'")], meta_db)


def test_authority_is_the_warehouses(tmp_path: Path) -> None:
    sql = (HOME / "sql" / "25_words.sql").read_text()
    start = sql.index("CREATE TEMP TABLE authority")
    statement = sql[start : sql.index(";", start)]
    with duckdb.connect() as con:
        names = ", ".join(f"'{source}'" for source in sorted(sources.AUTHORITY))
        con.execute(f"CREATE TYPE source_name AS ENUM ({names})").fetchall()
        con.execute(f"CREATE TABLE observed_by AS SELECT unnest([{names}]) AS source").fetchall()
        con.execute(statement).fetchall()
        assert dict(con.execute("SELECT source, authority FROM authority").fetchall()) == dict(sources.AUTHORITY)
