"""Made-up results: each embedder hears the label through its own amount of noise."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmark import evaluate, metrics
from benchmark.evaluate import Score, board, read_scores
from benchmark.report import SYNTHETIC, Report, write_report
from benchmark.task import Task

HEARS: Mapping[str, Mapping[str, float]] = {  # how far the classes lie apart, in standard deviations
    "slap": {"zero-shot": 1.5, "probe": 2.0},
    "control": {"probe": 2.0},
    "untrained": {"zero-shot": 0.0, "probe": 0.5},
    "mel-statistics": {"probe": 4.0},
    "random": {"zero-shot": 0.0, "probe": 0.0},
    "always-yes": {"zero-shot": 0.0, "probe": 0.0},
}


def task(name: str, group: str = "health", track: str = "paper", corpus: str = "") -> Task:
    return Task(
        name=name,
        group=group,
        track=track,
        corpus=corpus or name.partition("_")[0],
        positive="sex = 'female'" if name.endswith("_sex") else "parkinson = 'present'",
        negative="sex = 'male'" if name.endswith("_sex") else "parkinson = 'absent'",
        unit="speaker",
        source="any",
        prompts={"en": (("low", "high"), ("down", "up"))},
    )


TASKS = [
    task("ewa_parkinson"),
    task("ewa_sex", "demographic"),
    task("pvqd_roughness", "voice"),
    task("voc_als"),
    task("libri_sex", "demographic", "open"),
]


def write_results(
    folder: Path,
    tasks: Sequence[Task],
    *,
    synthetic: bool = False,
    speakers: int = 60,
    hears: Mapping[str, Mapping[str, float]] = HEARS,
) -> list[Score]:
    """Predictions and scores of every embedder on every task, written as `evaluate` writes them."""
    for number, one in enumerate(tasks):
        for embedder, modes in hears.items():
            for mode, distance in modes.items():
                place = f"{embedder}/{one.name}.{mode}"
                frame = predicted(one, embedder, distance, number, speakers)
                if mode == "probe":
                    frame = frame.drop("prompt_0", "prompt_1")
                content = evaluate.as_parquet(frame)
                evaluate.write(folder / "predictions" / f"{place}.parquet", content)
                single = (0.4, 0.7) if mode == "zero-shot" else (None, None)
                score = replace(
                    empty(one, embedder, mode),
                    status="ok",
                    synthetic=synthetic,
                    **asdict(metrics.measure(frame, one.corpus)),
                    n_train_speakers=100 if mode == "probe" else None,
                    n_without_audio=0,
                    prompt_min=single[0],
                    prompt_max=single[1],
                    hashes={"predictions": hashlib.sha256(content).hexdigest()},
                )
                evaluate.write(folder / "scores" / f"{place}.json", evaluate.as_json(score))
    return read_scores(folder / "scores")


def empty(one: Task, embedder: str, mode: str) -> Score:
    new = one.corpus != "ewa"
    return Score(
        embedder=embedder,
        fingerprint=f"fingerprint of {embedder}",
        task=one.name,
        group=one.group,
        track=one.track,
        corpus=one.corpus,
        mode=mode,
        status="missing",
        reason="no labelled utterance",
        synthetic=False,
        ood_corpus=new or embedder != "slap",
        ood_language=new,
        ood_label=False,
    )


def predicted(one: Task, embedder: str, distance: float, number: int, speakers: int) -> pl.DataFrame:
    rng = np.random.default_rng([number, *embedder.encode()])
    y = np.arange(speakers) % 2
    score = rng.standard_normal(speakers) + distance * (y - 0.5)
    if embedder == "always-yes":
        score = np.ones(speakers)
    person = [f"{one.corpus}{i:03}" for i in range(speakers)]
    ages = np.where(np.arange(speakers) % 4 < 2, "young", "older")
    return pl.DataFrame(
        {
            "unit_id": person,
            "person": person,
            "split": "test",
            "sex": np.where(np.arange(speakers) % 3 < 2, "female", "male"),
            "age": ages,
            "language": "en",
            "y": y.astype(np.int8),
            "score": score,
            "predicted": (score > 0).astype(np.int8),
            "prompt_0": (score > 0).astype(np.int8),
            "prompt_1": (score > 0.5).astype(np.int8),
        }
    )


def report(
    folder: Path, tasks: Sequence[Task], scores: Sequence[Score], *, synthetic: bool = False, **absent: str
) -> Report:
    out = folder / "reports"
    return write_report(scores, folder / "predictions", tasks, out, synthetic=synthetic, absent=absent)


def cells(markdown: str, caption: str) -> dict[str, list[str]]:
    """The rows of the table whose caption begins so: first cell -> the others."""
    table = re.search(rf"^\*{caption}.*\*\n\n((?:\|.*\n)+)", markdown, re.MULTILINE)
    assert table, caption
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]
    return {row[0].strip(): row[1:] for row in rows}


@pytest.fixture
def full(tmp_path: Path) -> tuple[Path, list[Score], str]:
    scores = write_results(tmp_path, TASKS)
    return tmp_path, scores, report(tmp_path, TASKS, scores).markdown.read_text()


def test_numbers_are_those_of_the_scores(full: tuple[Path, list[Score], str]) -> None:
    folder, scores, text = full
    means = board(scores, folder / "predictions", TASKS).means
    mean = means.filter(track="paper", stratum="all", embedder="slap", mode="probe").row(0, named=True)
    tasks, macro, f1, balanced, auroc, *strata = cells(text, "Linear probe, paper track")["slap"]
    assert tasks == "4/4"
    assert macro == f"{mean['macro_f1']:.3f} [{mean['macro_f1_low']:.3f}, {mean['macro_f1_high']:.3f}]"
    assert [f1, balanced, auroc] == [f"{mean[name]:.3f}" for name in ("f1", "balanced_accuracy", "auroc")]
    health = means.filter(track="paper", stratum="health", embedder="slap", mode="probe")["macro_f1"][0]
    assert strata[2] == f"{health:.3f}"

    one = next(s for s in scores if (s.embedder, s.task, s.mode) == ("slap", "voc_als", "zero-shot"))
    row = cells(text, "Zero-shot, each task")["voc_als"]
    assert row[:7] == ["voc", "health", "paper", "corpus, language", "60", "0.50", "0.67 / 0.33"]
    assert row[7] == f"{one.macro_f1:.2f} [{one.macro_f1_low:.2f}, {one.macro_f1_high:.2f}] (0.40 to 0.70)"


def test_comparisons_are_those_of_the_board(full: tuple[Path, list[Score], str]) -> None:
    folder, scores, text = full
    differences = board(scores, folder / "predictions", TASKS).differences.filter(track="paper", embedder="slap")
    assert differences.height == 8
    found = {
        (line.split("|")[1].strip(), line.split("|")[2].strip()): line
        for line in text.partition("## Every task")[0].splitlines()
        if re.match(r"\| (zero-shot|probe) +\|", line)
    }
    for row in differences.iter_rows(named=True):
        line = found[row["mode"], row["reference"]]
        assert f"{row['difference']:+.3f} [{row['low']:.3f}, {row['high']:.3f}]" in line
        assert ("not separable" in line) != row["separable"]
    assert "| not separable |" in found["probe", "control"]
    assert "| below " in found["probe", "mel-statistics"]
    assert "| above " in found["zero-shot", "random"]


def test_who_is_ahead_of_slap_is_said_in_words(full: tuple[Path, list[Score], str]) -> None:
    _, _, text = full
    gap = r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]"
    assert re.search(rf"- Under probing, mel-statistics is ahead of SLAP by {gap}, and on 4 of 4 tasks\.", text)
    assert re.search(r"- Linear probe: SLAP's mean macro-F1 is .*, above untrained .*, above random ", text)


def test_the_headline_comes_first_and_lines_up(full: tuple[Path, list[Score], str]) -> None:
    _, _, text = full
    lines = text.splitlines()
    assert lines.index("## Every task") <= 60
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(line) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("by_flag", [True, False])
def test_synthetic_voices_are_said_in_every_caption(tmp_path: Path, by_flag: bool) -> None:
    scores = write_results(tmp_path, TASKS, synthetic=not by_flag)
    written = report(tmp_path, TASKS, scores, synthetic=by_flag)
    text, page = written.markdown.read_text(), written.html.read_text()
    tables = re.findall(r"^(.*)\n\n\|", text, re.MULTILINE)
    assert len(tables) >= 10 and all(SYNTHETIC in caption for caption in tables)
    assert f"> **{SYNTHETIC}**" in text
    shown = re.findall(r"<(?:caption|figcaption)>(.*?)</(?:caption|figcaption)>", page, re.DOTALL)
    assert len(shown) >= 12 and all(SYNTHETIC in " ".join(caption.split()) for caption in shown)
    assert f'<p class="banner" role="note">{SYNTHETIC}</p>' in page
    assert "Subgroup" not in text


def test_no_banner_over_recordings_of_people(full: tuple[Path, list[Score], str]) -> None:
    folder, _, text = full
    assert "Synthetic" not in text + (folder / "reports" / "leaderboard.html").read_text()


def test_a_missing_task_leaves_a_count_and_a_reason_instead_of_a_mean(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    scores += [empty(TASKS[0], name, mode) for name, modes in HEARS.items() for mode in modes]
    written = report(tmp_path, TASKS, scores, ewa="skipped: not found at raw/ewa | no folder")
    text = written.markdown.read_text()
    assert written.complete == "3/4"
    row = cells(text, "Linear probe, paper track")["slap"]
    assert row[:5] == ["3/4", "-", "-", "-", "-"]
    assert row[7] == "- (1/2)"  # health
    assert re.fullmatch(r"0\.\d{3}", row[6])  # voice is complete
    reasons = cells(text, "Tasks without a score")
    assert reasons["ewa_parkinson"] == ["ewa", "zero-shot, probe", "skipped: not found at raw/ewa \\| no folder"]
    assert "1 of 4 tasks has no score (corpus ewa)" in text
    assert cells(text, "Linear probe, each task")["ewa_parkinson"][4:] == ["-"] * 8
    assert "skipped: not found at raw/ewa | no folder" in written.html.read_text()


def test_without_an_absent_corpus_the_reason_is_that_of_the_score(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    scores.append(replace(empty(TASKS[0], "slap", "probe"), reason="no positive utterance in the train split"))
    reasons = cells(report(tmp_path, TASKS, scores).markdown.read_text(), "Tasks without a score")
    assert reasons["ewa_parkinson"] == ["ewa", "probe", "no positive utterance in the train split"]


def test_no_language_no_zero_shot(full: tuple[Path, list[Score], str]) -> None:
    _, _, text = full
    zero = cells(text, "Zero-shot, paper track")
    assert zero["control"][:2] == ["-", "- (trained without language)"]
    assert zero["mel-statistics"][1] == "- (no text side)"


def test_every_embedder_is_averaged_over_the_same_tasks(full: tuple[Path, list[Score], str]) -> None:
    _, _, text = full
    parts = [line for line in text.splitlines() if line.startswith("| in-domain")]
    assert {line.split("|")[3].strip() for line in parts} == set(HEARS)
    assert all("2/2" in line for line in parts)


def test_a_track_without_scores_goes_to_the_end(tmp_path: Path) -> None:
    scores = write_results(tmp_path, [TASKS[4]])
    text = report(tmp_path, TASKS, scores, ewa="a", pvqd="b", voc="c").markdown.read_text()
    assert 0 < text.index("## Open track: 1 task") < text.index("## Paper track: 4 tasks")
    assert cells(text, "Tasks without a score")["voc_als"] == ["voc", "zero-shot, probe", "c"]


def test_subgroups_of_few_speakers_are_hidden(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[:2], speakers=60)
    rows = [line for line in report(tmp_path, TASKS[:2], scores).markdown.read_text().splitlines() if "sex: " in line]
    assert len(rows) == 4 and all("ewa_parkinson" in row for row in rows)  # not of the task that asks for the sex
    assert "| sex: male   |       20 |" in rows[1]
    scores = write_results(tmp_path, TASKS[:2], speakers=24)  # 8 men: they could be reckoned from the 16 women
    text = report(tmp_path, TASKS[:2], scores).markdown.read_text()
    assert "sex: " not in text and "age: young" in text and "4 subgroups are hidden" in text


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects what would be loaded."""

    empty = frozenset({"meta", "input", "br", "line", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.scopes = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.empty and tag != "option":
            self.open.append(tag)
        given = dict(attrs)
        self.loads += [(tag, given[name] or "") for name in ("src", "href", "srcset", "data") if name in given]
        self.ids += [given["id"] or ""] if "id" in given else []
        assert tag != "th" or given.get("scope") in ("col", "row")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.empty and tag != "option":
            assert self.open.pop() == tag, tag


def test_the_page_is_whole_and_loads_nothing(full: tuple[Path, list[Score], str]) -> None:
    folder, _, _ = full
    text = (folder / "reports" / "leaderboard.html").read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    links = [target for tag, target in page.loads if tag == "a"]
    assert len(links) == len(page.loads)  # nothing but links
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(page.ids)
    assert "default-src 'none'" in text and "@import" not in text and "url(" not in text
    assert text.count("<caption>") == text.count("<table")
    assert "62.9" in text and "69.3" in text and "57.9" in text


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    page = report(tmp_path, TASKS, scores, ewa="<script>alert(1)</script>").html.read_text()
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page


def test_the_same_input_gives_the_same_bytes(full: tuple[Path, list[Score], str]) -> None:
    folder, scores, _ = full
    files = [folder / "reports" / name for name in ("leaderboard.md", "leaderboard.html")]
    before = [file.read_bytes() for file in files]
    report(folder, TASKS, scores[::-1])
    assert [file.read_bytes() for file in files] == before
    assert sorted(file.name for file in (folder / "reports").iterdir()) == ["leaderboard.html", "leaderboard.md"]


def test_a_board_without_slap_is_a_board_still(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS, hears={"mine": {"probe": 1.0}, "random": {"probe": 0.0}})
    text = report(tmp_path, TASKS, scores).markdown.read_text()
    assert list(cells(text, "Linear probe, paper track"))[2:] == ["mine", "random"]
    assert "SLAP minus another" not in text
