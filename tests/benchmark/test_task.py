import csv
import re
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from benchmark.sources import SOURCES
from benchmark.task import (
    MIN_PAIRS,
    PromptPair,
    Task,
    TaskError,
    Transfer,
    load_prompts,
    load_tasks,
    load_transfers,
    rows,
    rows_of,
    transfer_tasks,
)
from pipelines.corpora._base import corpora

VOCABULARY = Path(__file__).parents[2] / "warehouse" / "vocabulary"

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
prompts = "mood"
"""
TRANSFER = """
[[transfer]]
name = "phq"
group = "health"
label = "depression"
positive = "phq9 >= 10"
negative = "phq9 < 10"
corpora = ["toy", "other"]
unit = "speaker"
source = "any"
"""
SET = """
[mood]
en = [["a cheerful voice", "a depressed voice"], ["glad", "sad"], ["merry", "gloomy"], ["bright", "dark"]]
it = [["una voce allegra", "una voce depressa"], ["lieta", "triste"], ["gaia", "cupa"], ["chiara", "scura"]]
"""


def write(folder: Path, text: str, prompts: str = SET) -> tuple[Path, Path]:
    files = folder / "tasks.toml", folder / "prompts.toml"
    for file, content in zip(files, (text, prompts), strict=True):
        file.write_text(content)
    return files


def with_field(text: str, **changes: str) -> str:
    for field, value in changes.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{field} ="))
        text = text.replace(old, f'{field} = "{value}"')
    return text


def task(tmp_path: Path, **changes: str) -> Task:
    return load_tasks(*write(tmp_path, with_field(ROW, **changes)))[0]


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


def test_a_warehouse_that_knows_no_sources_says_so(tmp_path: Path, meta_db: Path) -> None:
    with pytest.raises(TaskError, match=r"toy-phq.*cannot tell.*'scale'.*build meta\.db again"):
        rows(task(tmp_path, source="scale"), meta_db)


# --- the files are checked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('unit = "speaker"', 'unit = "speaker"\nweight = 2', "unknown field weight"),
        ('unit = "speaker"\n', "", "field unit is missing"),
        ('"health"', '"wealth"', "group is 'wealth'"),
        ('"paper"', '"papers"', "track is 'papers'"),
        ('"speaker"\n', '"clip"\n', "unit is 'clip'"),
        ('"any"', '"PHQ-9, Kroenke 2001"', "source is 'PHQ-9, Kroenke 2001', but must be one of any, clinician"),
        ('"toy-phq"', '"Toy PHQ"', "a name is a file name"),
        ('"phq9 >= 10"', '"phq9 >="', "positive is not an SQL condition"),
        ('"phq9 >= 10"', '"phq9 >= 10); SELECT (1"', "one SQL condition"),
        ('"phq9 >= 10"', '""', "positive must be a text"),
        ('"mood"', '"temper"', "prompts.toml has no set 'temper'; add one"),
        ('"mood"', '{en = [["glad", "sad"]]}', "prompts must be a text.*pairs go into prompts.toml"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in ROW
    with pytest.raises(TaskError, match=f"tasks.toml: task 1.*{complaint}"):
        load_tasks(*write(tmp_path, ROW.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("en =", "fr =", "must have the language en"),
        ("it =", '"it-IT" =', "two or three small letters, not 'it-IT'"),
        (', ["bright", "dark"]]', "]", "en must have at least 4 pairs"),
        ('["bright", "dark"]', '["bright"]', r"en has \['bright'\], not a pair"),
        ('"bright"', '" "', "not a pair"),
        ('"bright"', '"dark"', "en says 'dark' twice"),
        ('"scura"', '"cupa"', "it says 'cupa' twice"),
    ],
)
def test_a_wrong_set_of_prompts_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in SET
    with pytest.raises(TaskError, match=f"prompts.toml: set mood: .*{complaint}"):
        load_tasks(*write(tmp_path, ROW, SET.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('label = "depression"\n', "", "field label is missing"),
        ('unit = "speaker"', 'unit = "speaker"\ntrack = "open"', "unknown field track"),
        ('["toy", "other"]', '["toy"]', "two or more"),
        ('["toy", "other"]', '["toy", "toy"]', "each once"),
        ('["toy", "other"]', '"toy"', "a list of names"),
        ('"any"', '"hearsay"', "source is 'hearsay'"),
        ('"phq9 < 10"', '"phq9 < 10;"', "one SQL condition|not an SQL condition"),
    ],
)
def test_a_wrong_transfer_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in TRANSFER
    with pytest.raises(TaskError, match=rf"tasks.toml: transfer 1 \(phq\): .*({complaint})"):
        load_transfers(write(tmp_path, TRANSFER.replace(old, new))[0])


@pytest.mark.parametrize("text", [ROW + "[other]\n", "task = 3\n"])
def test_only_tables_of_tasks_and_transfers_are_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(TaskError, match=r"tasks.toml: write one \[\[task\]\]"):
        load_tasks(*write(tmp_path, text))


def test_what_is_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"tasks\.toml: not a TOML file"):
        load_tasks(*write(tmp_path, "[[task"))


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"task 2 \(toy-phq\).*used before"):
        load_tasks(*write(tmp_path, ROW + ROW))
    with pytest.raises(TaskError, match=r"transfer 2 \(phq\).*used before"):
        load_transfers(write(tmp_path, TRANSFER + TRANSFER)[0])


def test_hash_follows_the_row_and_the_text_of_its_prompts(tmp_path: Path) -> None:
    one, other = task(tmp_path), task(tmp_path, positive="phq9 >= 11")
    assert one.hash == task(tmp_path).hash
    assert one.hash != other.hash
    reworded = load_tasks(*write(tmp_path, ROW, SET.replace("gloomy", "downcast")))[0]
    assert one.hash != reworded.hash


def test_labels_are_what_tells_positive_from_negative(tmp_path: Path) -> None:
    assert task(tmp_path).labels == {"depression"}
    assert task(tmp_path, positive="cognitive_impairment = 'present' OR moca < 26").labels == {"cognitive_impairment"}
    assert task(tmp_path, positive="age_low >= 60 AND sex = 'female'").labels == {"age", "sex"}
    assert task(tmp_path, positive="coalesce(voice_disorder, voice_severity) = 'sex'").labels == {
        "voice_disorder",
        "voice_severity",
    }
    of_adults = {"positive": "sex = 'female' AND age_low >= 19", "negative": "sex = 'male' and age_low >= 19"}
    assert task(tmp_path, **of_adults).labels == {"sex"}


def test_prompts_fall_back_to_english(tmp_path: Path) -> None:
    asked = task(tmp_path)
    assert asked.pairs("sk") == ("en", asked.prompts["en"])
    for tag in ("it", "it-IT", "IT_it"):
        assert asked.pairs(tag) == ("it", asked.prompts["it"])


def test_a_transfer_is_a_task_of_each_corpus(tmp_path: Path, meta_db: Path) -> None:
    (transfer,) = load_transfers(write(tmp_path, ROW + TRANSFER)[0])
    assert transfer.corpora == ("toy", "other")
    tasks = transfer_tasks(transfer)
    assert [(name, one.corpus, one.name, one.track) for name, one in tasks.items()] == [
        ("toy", "toy", "phq-toy", "transfer"),
        ("other", "other", "phq-other", "transfer"),
    ]
    assert [found.frame["y"].to_list() for found in rows_of(list(tasks.values()), meta_db)] == [[0, 1], [1]]


# --- the benchmark itself -------------------------------------------------------------------------------------

NEGATIONS = {
    "en": r"not|no|without|never|none|neither|nor|nobody|lack\w*|free of|non-?\w*|\w+n't|\w+-free|un(healthy|well)",
    "fr": r"ne|n'\w+|pas|sans|aucun\w*|jamais|non|ni|plus de|rien",
    "it": r"non|senza|nessun\w*|mai|né|niente|nulla|privo|priva",
    "es": r"no|sin|nunca|ningun\w*|ningún|jamás|ni|nada|tampoco",
    "sk": r"nie|bez|nikdy|ani|žiadn\w*|nemá\w*|netrp\w*|nemôže|ne(hovor|fajč|je|vie)\w*",
    "de": r"nicht|kein\w*|ohne|nie|niemals|weder|noch|nichts",
    "pl": r"nie|bez|nigdy|ani|żad\w*|brak\w*",
    "zh": "不|没|無|无|非|未|别|勿|莫|否",
}


def negated(language: str, text: str) -> bool:
    pattern = NEGATIONS[language] if language == "zh" else rf"(?<!\w)(?:{NEGATIONS[language]})(?!\w)"
    return re.search(pattern, text.casefold()) is not None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "A person without depression."),
        ("en", "A non-smoker is speaking."),
        ("en", "This person doesn't smoke."),
        ("fr", "Cette personne n'est pas malade."),
        ("it", "Parla una persona senza disturbi."),
        ("es", "Esta persona no fuma."),
        ("sk", "Človek bez choroby."),
        ("de", "Diese Person hat keine Stimmstörung."),
        ("pl", "Ta osoba nie jest smutna."),
        ("zh", "这个人没有抑郁症。"),
    ],
)
def test_negations_are_seen(language: str, text: str) -> None:
    assert negated(language, text)


def test_prompts_are_affirmative() -> None:
    texts = [
        (language, text)
        for languages in load_prompts().values()
        for language, pairs in languages.items()
        for pair in pairs
        for text in pair
    ]
    assert len(texts) > 500
    assert [text for language, text in texts if negated(language, text)] == []


def test_every_set_of_prompts_is_asked_and_its_pairs_differ() -> None:
    asked = {str(task.prompts) for task in load_tasks()}
    for name, languages in load_prompts().items():
        assert str(languages) in asked, f"{name} is asked by no task"
        for language, pairs in languages.items():
            assert len(pairs) >= MIN_PAIRS
            assert len({text.casefold() for pair in pairs for text in pair}) == 2 * len(pairs), (name, language)
            ends = "。" if language == "zh" else "."
            assert all(text.endswith(ends) and text[0] == text[0].upper() for pair in pairs for text in pair)


def languages_of(task: Task) -> set[str]:
    """Those of the corpus, or the one that a condition asks for."""
    if stated := re.search(r"language (?:=|IN) \(?'([a-z]+)", task.positive):
        return {stated[1]}
    return {language.split("-")[0] for language in corpora()[task.corpus].languages} - {"mul"} or {"en"}


def test_every_task_has_four_pairs_in_english_and_in_its_own_language() -> None:
    for task in load_tasks():
        assert task.corpus in corpora(), task.name
        for language in languages_of(task) | {"en"}:
            used, pairs = task.pairs(language)
            assert (used, len(set(pairs)) >= MIN_PAIRS) == (language, True), (task.name, language)


def test_the_papers_38_tasks() -> None:
    paper = [task for task in load_tasks() if task.track == "paper"]
    counts = {group: sum(task.group == group for task in paper) for group in ("demographic", "voice", "health")}
    assert counts == {"demographic": 11, "voice": 9, "health": 18}
    assert len({task.corpus for task in paper}) == 14
    assert set.union(*(languages_of(task) for task in paper)) == {"fr", "it", "es", "sk", "en", "zh", "de"}


def test_the_open_track_is_of_corpora_that_anyone_can_download() -> None:
    tasks = [task for task in load_tasks() if task.track == "open"]
    assert len(tasks) >= 20
    assert {corpora()[task.corpus].licence.access for task in tasks} == {"open"}
    spoken = {language for task in tasks if task.corpus == "common_voice" for language in languages_of(task)}
    assert spoken >= {"en", "fr", "it", "es", "sk", "zh", "de"}
    issue = (
        "common_voice librispeech crema_d speechocean762 coswara svd voiced ravdess emodb nemo speech_accent_archive"
    )
    assert {task.corpus for task in tasks} >= set(issue.split())
    asked = {label for task in tasks for label in task.labels}
    assert asked >= {"sex", "age", "accent", "native_language", "smoking", "asthma", "emotion", "voice_disorder"}


def test_transfers_ask_known_corpora_for_what_the_issue_names() -> None:
    transfers = {transfer.name: transfer for transfer in load_transfers()}
    assert transfers.keys() >= {"sex", "age", "parkinson", "depression", "alzheimer", "voice_disorder"}
    for transfer in transfers.values():
        assert set(transfer.corpora) <= set(corpora()), transfer.name
    assert {"neurovoz", "ipvs", "ewa_db"} <= set(transfers["parkinson"].corpora)
    assert {"androids", "modma", "daic_woz"} <= set(transfers["depression"].corpora)


def instruments() -> dict[tuple[str, str], tuple[str, str]]:
    """By instrument and what it measures: the cut-off, and who is cited first for it."""
    with (VOCABULARY / "instruments.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["cutoff"]]
    cited = {row["citation"]: row["citation"].removeprefix("cut-off: ").removeprefix("scale: ") for row in rows}
    return {
        (row["instrument"], row["measures"]): (row["cutoff"], re.findall("[A-Z][a-z]{3,}", cited[row["citation"]])[0])
        for row in rows
    }


BANDED = {  # states that follow from a score: what the warehouse cuts for them
    "popgen_fatigue": ("MFI", "mfi_general"),
    "ewa_db_cognitive_impairment": ("MoCA", "moca"),
    "pvqd_severity": ("CAPE-V", "voice_severity"),
    "pvqd_roughness": ("CAPE-V", "voice_roughness"),
    "pvqd_breathiness": ("CAPE-V", "voice_breathiness"),
    "pvqd_strain": ("CAPE-V", "voice_strain"),
    "voice_disorder": ("CAPE-V", "voice_severity"),
}


@pytest.mark.parametrize("asked", [*load_tasks(), *load_transfers()], ids=lambda asked: asked.name)
def test_a_cutoff_that_is_used_is_the_vocabularys_and_is_cited(asked: Task | Transfer) -> None:
    shared = set(asked.positive.split(" AND ")) & set(asked.negative.split(" AND "))  # only says who takes part
    for part in set(asked.positive.split(" AND ")) - shared:
        number = re.fullmatch(r"([a-z][a-z0-9_]*) ([<>]=? [\d.]+)", part)
        if number and number[1] in {"age_low", "age_high"}:
            assert "our choice" in asked.cutoff or "nobody lies between" in asked.cutoff
        elif number:
            ((cutoff, author),) = [known for (_, measured), known in instruments().items() if measured == number[1]]
            assert number[2] == cutoff
            assert author in asked.cutoff and re.search(r"\b(19|20)\d\d\b", asked.cutoff)
    if asked.name in BANDED:
        cutoff, _ = instruments()[BANDED[asked.name]]
        assert cutoff in asked.cutoff and BANDED[asked.name][0] in asked.cutoff
    if asked.source == "scale":
        assert asked.cutoff


def test_each_conditions_source_can_be_met() -> None:
    """What is asked is an attribute of the vocabulary or has no source, and then any is the word."""
    with (VOCABULARY / "attributes.csv").open(encoding="utf-8") as file:
        sourced = {row["attribute"] for row in csv.DictReader(file) if row["kind"] in ("state", "category", "scale")}
    everything: list[Task] = [*load_tasks(), *(t for x in load_transfers() for t in transfer_tasks(x).values())]
    assert {task.source for task in everything} <= set(SOURCES)
    for task in everything:
        if task.source != "any":
            assert task.words & sourced, task.name


def test_names_and_pairs_are_counted_once() -> None:
    tasks = load_tasks()
    assert max(Counter(task.name for task in tasks).values()) == 1
    questions = Counter((task.corpus, task.positive, task.negative) for task in tasks)
    assert max(questions.values()) == 1
    pair: PromptPair = tasks[0].prompts["en"][0]
    assert pair == ("A man is speaking.", "A woman is speaking.")  # negative first
