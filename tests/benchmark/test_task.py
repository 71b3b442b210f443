from pathlib import Path

import duckdb
import pytest

from benchmark.task import Task, TaskError, load_tasks, rows

ROW = """
[[task]]
name = "toy-phq"
group = "health"
track = "paper"
corpus = "toy"
positive = "phq9 >= 10"
negative = "phq9 < 10"
unit = "speaker"
source = "any"
cutoff = ">= 10"
prompts = { en = [["a cheerful speaker", "a depressed speaker"]] }
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "tasks.toml"
    file.write_text(text)
    return file


@pytest.fixture
def meta_db(tmp_path: Path) -> Path:
    path = tmp_path / "meta.db"
    with duckdb.connect(path) as con:
        con.execute(
            """
            CREATE TABLE t AS SELECT * FROM (VALUES
                ('u3', 'toy', 'p2', 'test', 'female', 20, 25, 'it', 14.0),
                ('u1', 'toy', 'p1', 'train', 'male', 60, 70, 'it', 3.0),
                ('u2', 'toy', 'p1', 'train', 'male', 30, 40, 'it', NULL),
                ('u4', 'other', 'p9', 'test', 'male', 30, 30, 'en', 20.0))
            AS v(utt_id, corpus, person_id, split, sex, age_low, age_high, language, phq9)
            """
        ).fetchall()
        con.execute("CREATE VIEW facts AS SELECT * FROM t").fetchall()
    return path


def task(tmp_path: Path, **changes: str) -> Task:
    text = ROW
    for field, value in changes.items():
        old = next(line for line in ROW.splitlines() if line.startswith(f"{field} ="))
        text = text.replace(old, f'{field} = "{value}"')
    return load_tasks(write(tmp_path, text))[0]


def test_rows_labels_only_those_who_fit_a_condition(tmp_path: Path, meta_db: Path) -> None:
    found = rows(task(tmp_path), meta_db)
    assert found.select("utt_id", "person_id", "split", "y").rows() == [
        ("u1", "p1", "train", 0),
        ("u3", "p2", "test", 1),
    ]
    assert found["age"].to_list() == ["older", "young"]


def test_rows_while_another_connection_of_this_process_reads(tmp_path: Path, meta_db: Path) -> None:
    with duckdb.connect(meta_db, read_only=True):
        assert rows(task(tmp_path), meta_db).height == 2


@pytest.mark.parametrize(
    ("positive", "complaint"),
    [
        ("phq9 >= 2", "positive and negative at once"),
        ("gad9 >= 10", "do not fit the view facts"),
        ("phq9 in (SELECT column0 FROM read_csv('/etc/hostname'))", "do not fit the view facts"),
    ],
)
def test_rows_refuses_conditions(tmp_path: Path, meta_db: Path, positive: str, complaint: str) -> None:
    with pytest.raises(TaskError, match=f"toy-phq.*{complaint}"):
        rows(task(tmp_path, positive=positive), meta_db)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('unit = "speaker"', 'unit = "speaker"\nweight = 2', "unknown field weight"),
        ('unit = "speaker"\n', "", "field unit is missing"),
        ('"health"', '"wealth"', "group is 'wealth'"),
        ('"paper"', '"papers"', "track is 'papers'"),
        ('"speaker"\n', '"clip"\n', "unit is 'clip'"),
        ('"toy-phq"', '"Toy PHQ"', "a name is a file name"),
        ('"phq9 >= 10"', '"phq9 >="', "positive is not an SQL condition"),
        ('"phq9 >= 10"', '"phq9 >= 10); SELECT (1"', "one SQL condition"),
        ('"phq9 >= 10"', '""', "positive must be a text"),
        ('{ en = [["a cheerful speaker", "a depressed speaker"]] }', "{}", "must have the language en"),
        ('[["a cheerful speaker", "a depressed speaker"]]', "[]", "prompts.en is empty"),
        (', "a depressed speaker"', "", "not a pair"),
        ('"a depressed speaker"', '"a cheerful speaker"', "not a pair"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in ROW
    with pytest.raises(TaskError, match=f"tasks.toml: task 1.*{complaint}"):
        load_tasks(write(tmp_path, ROW.replace(old, new)))


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task 2 \(toy-phq\).*used before"):
        load_tasks(write(tmp_path, ROW + ROW))


def test_hash_follows_the_content(tmp_path: Path) -> None:
    assert task(tmp_path).hash == task(tmp_path).hash
    assert task(tmp_path).hash != task(tmp_path, positive="phq9 >= 11").hash


def test_labels_are_the_attributes_of_the_positive_condition(tmp_path: Path) -> None:
    assert task(tmp_path).labels == {"depression"}
    assert task(tmp_path, positive="cognitive_impairment = 'present' OR moca < 26").labels == {"cognitive_impairment"}
    assert task(tmp_path, positive="age_low >= 60 AND sex = 'female'").labels == {"age", "sex"}


def test_prompts_fall_back_to_english(tmp_path: Path) -> None:
    assert task(tmp_path).pairs("sk") == ("en", (("a cheerful speaker", "a depressed speaker"),))


def test_the_papers_38_tasks() -> None:
    paper = [task for task in load_tasks() if task.track == "paper"]
    counts = {group: sum(task.group == group for task in paper) for group in ("demographic", "voice", "health")}
    assert counts == {"demographic": 11, "voice": 9, "health": 18}
    assert len({task.corpus for task in paper}) == 14
