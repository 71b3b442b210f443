"""The report on made-up results: what it says, what it hides, and that nothing is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmark import intervals
from benchmark.report import SYNTHETIC, Report, first_part, write_report
from benchmark.results import Results
from benchmark.score import Score
from benchmark.task import Task
from tests.benchmark.made_up import HEARS, empty, predicted, space, task, transfers, write_result, write_results

TASKS = [
    task("ewa_parkinson"),
    task("ewa_sex", "demographic"),
    task("pvqd_roughness", "voice"),
    task("voc_als"),
    task("libri_sex", "demographic", "open"),
]


def report(
    folder: Path, tasks: Sequence[Task], scores: Sequence[Score], *, synthetic: bool = False, **absent: str
) -> Report:
    out = folder / "reports"
    return write_report(scores, folder / "predictions", tasks, out, synthetic=synthetic, absent=absent)


def cells(markdown: str, caption: str) -> dict[str, list[str]]:
    """The rows of the table whose caption begins so: first cell -> the others."""
    table = re.search(rf"^\*{caption}(?:.|\n(?!\n))*\*\n\n((?:\|.*\n)+)", markdown, re.MULTILINE)
    assert table, caption
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]
    return {row[0].strip(): row[1:] for row in rows}


def data(page: str) -> dict[str, Any]:
    """What the page draws from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


@pytest.fixture
def full(tmp_path: Path) -> tuple[Path, list[Score], str]:
    scores = write_results(tmp_path, TASKS)
    return tmp_path, scores, report(tmp_path, TASKS, scores).markdown.read_text()


def test_numbers_are_those_of_the_scores(full: tuple[Path, list[Score], str]) -> None:
    folder, scores, text = full
    paper = [one for one in TASKS if one.track == "paper"]
    of_slap = [s for s in scores if (s.embedder, s.mode, s.track) == ("slap", "probe", "paper")]
    predictions = {
        one.name: pl.read_parquet(folder / "predictions" / "slap" / f"{one.name}.probe.parquet") for one in paper
    }
    macro_f1, low, high = intervals.mean_macro_f1(predictions, paper)
    tasks, macro, f1, balanced, auroc, gap, *strata = cells(text, "Linear probe, paper track")["slap"]
    assert tasks == "4/4"
    assert macro == f"{macro_f1:.3f} [{low:.3f}, {high:.3f}]"
    means = [sum(getattr(s, name) for s in of_slap) / 4 for name in ("f1", "balanced_accuracy", "auroc")]
    assert [f1, balanced, auroc] == [f"{mean:.3f}" for mean in means]
    health = [s.macro_f1 or 0.0 for s in of_slap if s.group == "health"]
    assert strata[2] == f"{sum(health) / len(health):.3f}"
    results = Results(scores, folder / "predictions", TASKS)
    assert gap == f"{sum(results.gap('slap', 'probe', one.name) or 0.0 for one in TASKS[:4]) / 4:.3f}"

    one = next(s for s in scores if (s.embedder, s.task, s.mode) == ("slap", "voc_als", "zero-shot"))
    row = cells(text, "Zero-shot, each task")["voc_als"]
    assert row[:7] == ["voc", "health", "paper", "corpus, language", "60", "0.50", "0.67 / 0.33"]
    assert row[7] == f"{one.macro_f1:.2f} [{one.macro_f1_low:.2f}, {one.macro_f1_high:.2f}] (0.40 to 0.70)"


def test_comparisons_are_those_of_the_intervals(full: tuple[Path, list[Score], str]) -> None:
    folder, _, text = full
    found = {
        (line.split("|")[1].strip(), line.split("|")[2].strip()): line
        for line in text.partition("## Open track by part")[0].splitlines()
        if re.match(r"\| (zero-shot|probe) +\|", line)
    }
    assert len(found) == 8
    paper = TASKS[:4]
    for (mode, other), line in found.items():
        ours, theirs = (
            {one.name: pl.read_parquet(folder / "predictions" / who / f"{one.name}.{mode}.parquet") for one in paper}
            for who in ("slap", other)
        )
        difference, low, high = intervals.paired_difference(ours, theirs, paper)
        assert f"{difference:+.3f} [{low:.3f}, {high:.3f}]" in line
    assert "| not separable |" in found["probe", "control"]
    assert "| below " in found["probe", "mel-statistics"]
    assert "| above " in found["zero-shot", "random"]


def test_who_is_ahead_of_slap_is_said_in_words(full: tuple[Path, list[Score], str]) -> None:
    text = " ".join(full[2].split())
    gap = r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]"
    assert re.search(rf"- Under probing, mel-statistics is ahead of SLAP by {gap}, and on 4 of 4 tasks\.", text)
    assert re.search(r"- Linear probe: SLAP's mean macro-F1 is .*, above untrained .*, above random ", text)


def test_the_headline_comes_first_and_lines_up(full: tuple[Path, list[Score], str]) -> None:
    _, _, text = full
    lines = text.splitlines()
    assert lines.index("## Paper track: 4 tasks") < lines.index("## Open track: 1 task") < lines.index("## Every task")
    assert next(i for i, line in enumerate(lines) if line.startswith("| slap")) <= 25
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(line) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("by_flag", [True, False])
def test_synthetic_voices_are_said_in_every_caption(tmp_path: Path, by_flag: bool) -> None:
    scores = write_results(tmp_path, TASKS, synthetic=not by_flag)
    written = report(tmp_path, TASKS, scores, synthetic=by_flag)
    text, page = written.markdown.read_text(), written.html.read_text()
    tables = re.findall(r"^(.*)\n\n\|", text, re.MULTILINE)
    assert len(tables) >= 8 and all(SYNTHETIC in caption for caption in tables)
    assert f"> **{SYNTHETIC}**" in text
    shown = re.findall(r"<(?:caption|figcaption)>(.*?)</(?:caption|figcaption)>", page, re.DOTALL)
    assert len(shown) >= 2 and all(SYNTHETIC in " ".join(caption.split()) for caption in shown)
    assert f'<p class="banner">{SYNTHETIC}</p>' in page
    assert data(page)["synthetic"] is True
    assert "Subgroup" not in text


def test_no_banner_over_recordings_of_people(full: tuple[Path, list[Score], str]) -> None:
    folder, _, text = full
    page = (folder / "reports" / "leaderboard.html").read_text()
    assert "Synthetic" not in text + page.replace(json.dumps(SYNTHETIC), "")
    assert data(page)["synthetic"] is False


def test_a_missing_task_leaves_a_count_and_a_reason_instead_of_a_mean(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    scores += [empty(TASKS[0], name, mode) for name, modes in HEARS.items() for mode in modes]
    written = report(tmp_path, TASKS, scores, ewa="skipped: not found at raw/ewa | no folder")
    text = written.markdown.read_text()
    assert written.complete == "3/4"
    row = cells(text, "Linear probe, paper track")["slap"]
    assert row[:5] == ["3/4", "-", "-", "-", "-"]
    assert row[8] == "- (1/2)"  # health
    assert re.fullmatch(r"0\.\d{3}", row[7])  # voice is complete
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
    folder, scores, _ = full
    assert not any(s.ood_corpus is False for s in scores if s.embedder != "slap")  # by their own flags they have none
    results = Results(scores, folder / "predictions", TASKS)
    in_domain = results.strata("paper")["in-domain"]
    assert [one.name for one in in_domain] == ["ewa_parkinson", "ewa_sex"]
    assert {mean.complete for name in HEARS if (mean := results.mean(name, "probe", in_domain))} == {"2/2"}


def test_a_track_without_scores_goes_to_the_end(tmp_path: Path) -> None:
    scores = write_results(tmp_path, [TASKS[4]])
    text = report(tmp_path, TASKS, scores, ewa="a", pvqd="b", voc="c").markdown.read_text()
    assert 0 < text.index("## Open track: 1 task") < text.index("## Paper track: 4 tasks")
    assert cells(text, "Tasks without a score")["voc_als"] == ["voc", "zero-shot, probe", "c"]


def test_subgroups_of_few_speakers_are_hidden(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[:2], speakers=60)
    written = report(tmp_path, TASKS[:2], scores)
    rows = [line for line in written.markdown.read_text().splitlines() if "sex: " in line]
    assert len(rows) == 2 and all("ewa_parkinson" in row for row in rows)  # not of the task that asks for the sex
    assert "| sex: male   |       20 |" in rows[1]
    groups = data(written.html.read_text())["tasks"][0]["groups"]
    assert ["sex", "male", 20, 0.5] in groups and [group[0] for group in groups] == ["sex", "sex", "age", "age"]
    scores = write_results(tmp_path, TASKS[:2], speakers=24)  # 8 men: they could be reckoned from the 16 women
    written = report(tmp_path, TASKS[:2], scores)
    text = " ".join(written.markdown.read_text().split())
    assert "sex: " not in text and "age: young" in text and "2 subgroups are hidden" in text
    assert "male" not in {group[1] for one in data(written.html.read_text())["tasks"] for group in one["groups"]}


def test_no_subgroup_of_rendered_voices(tmp_path: Path) -> None:
    page = data(report(tmp_path, TASKS[:1], write_results(tmp_path, TASKS[:1], synthetic=True)).html.read_text())
    assert page["tasks"][0]["groups"] == []
    assert not any({"gap", "groups"} & set(score) for run in page["runs"] for score in run["scores"])


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
    assert "62.9" in text and "69.3" in text and "57.9" in text
    beside = {link for link in links if not link.startswith(("#", "http"))}
    data_files = {f"leaderboard.{kind}" for kind in ("csv", "parquet", "json", "md")}
    assert beside == {*data_files, "citation.bib", "CITATION.cff"}


def test_what_comes_from_outside_is_escaped(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    page = report(tmp_path, TASKS, scores, ewa="</script><script>alert(1)</script>").html.read_text()
    assert "&lt;script&gt;alert(1)" in page and "<script>alert" not in page
    assert page.count("</script>") == 2  # of the data and of the script
    assert data(page)["tasks"][0]["missing"][0][1] == "</script><script>alert(1)</script>"


def test_intervals_of_the_page_are_those_of_the_markdown(full: tuple[Path, list[Score], str]) -> None:
    folder, _, text = full
    page = data((folder / "reports" / "leaderboard.html").read_text())
    at = page["means"]["intervals"][page["means"]["sets"]["paper||||"]]
    runs = [(page["embedders"][run["embedder"]]["name"], page["modes"][run["mode"]]) for run in page["runs"]]
    for mode, title in (("probe", "Linear probe"), ("zero-shot", "Zero-shot")):
        rows = cells(text, f"{title}, paper track")
        for run, found in zip(runs, at, strict=True):
            if run[1] == mode:
                assert rows[run[0]][1].endswith(f"[{found[0]:.3f}, {found[1]:.3f}]")
    verdict = at[runs.index(("mel-statistics", "probe"))][5]
    assert verdict == "below"
    assert page["means"]["sets"]["paper|health|out-of-domain||"] == page["means"]["sets"]["|health|out-of-domain||"]


def test_a_filter_that_leaves_a_missing_task_has_no_interval(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[1:])
    page = data(report(tmp_path, TASKS, scores).html.read_text())
    sets, found = page["means"]["sets"], page["means"]["intervals"]
    assert set(map(str, found[sets["paper||||"]])) == {"None"}
    assert None not in found[sets["paper||||scored"]] and sets["paper||||scored"] == sets["paper||||clean"]


def test_two_embedders_on_different_units_are_refused(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[:1])
    write_result(tmp_path, TASKS[0], "random", "probe", predicted(TASKS[0], "random", 0.0, 0, 40))
    with pytest.raises(ValueError, match="ewa_parkinson: two embedders predict different units"):
        report(tmp_path, TASKS[:1], scores)


def test_a_confound_without_an_answer_is_no_gap(tmp_path: Path) -> None:
    hears = {**HEARS, "confound-recording": {"probe": 3.0}}
    scores = write_results(tmp_path, TASKS[:2], hears=hears)
    scores = [s for s in scores if (s.embedder, s.task) != ("confound-recording", "ewa_sex")]
    scores.append(replace(empty(TASKS[1], "confound-recording", "probe"), reason="nothing is known"))
    written = report(tmp_path, TASKS[:2], scores)
    text = written.markdown.read_text()
    assert written.complete == "2/2"
    assert "nothing is known" not in text + written.html.read_text()
    assert not any(
        "confound-recording" in cells(text, f"{mode}, paper track") for mode in ("Zero-shot", "Linear probe")
    )
    assert cells(text, "A linear probe on what is no voice")["confound-recording"][0] == "1 of 1"
    head = first_part(text)
    assert "1 of 2 tasks carries a confound flag" in head and "Nothing is missing" in head
    assert "confound-recording" not in head


def test_what_a_run_prints_fits_a_terminal(full: tuple[Path, list[Score], str]) -> None:
    folder, scores, text = full
    head = first_part(text)
    assert max(map(len, head.splitlines())) <= 120 and len(head.splitlines()) <= 80
    overview = cells(head, "Mean macro-F1 over the 4 tasks of the paper track")
    assert list(overview)[2:] == ["mel-statistics", "control", "slap", "untrained", "random", "always-yes"]
    comparison = Results(scores, folder / "predictions", TASKS).comparisons("probe", TASKS[:4])
    signs = {"above": "▲", "below": "▼", "not separable": "≈"}
    assert {one.other: overview[one.other][1] for one in comparison} == {
        one.other: f"{one.difference:+.3f} {signs[one.verdict]}" for one in comparison
    }
    assert overview["slap"][0] == cells(text, "Linear probe, paper track")["slap"][1]
    assert overview["control"][2:] == ["-", "-", "4/4"]


def test_flags_transfers_and_absent_embedders_are_said(tmp_path: Path) -> None:
    hears = {**HEARS, "confound-recording": {"probe": 3.0}, "confound-silence": {"probe": 0.0}}
    scores = write_results(tmp_path, TASKS[:1], hears=hears)
    written = write_report(
        scores,
        tmp_path / "predictions",
        TASKS[:1],
        tmp_path / "reports",
        synthetic=False,
        absent={},
        absent_embedders={"whisper-large": "no weights"},
        transfers=transfers(),
        space=space(),
    )
    text, page = written.markdown.read_text(), data(written.html.read_text())
    assert cells(text, "Confounds: tasks")["ewa_parkinson"][0] == "confound-recording"
    assert "| ewa_parkinson (!) |" in text
    assert cells(text, "Embedders that could not be loaded")["whisper-large"] == ["no weights"]
    assert cells(text, "Transfer of parkinson, slap")["ewa"] == [
        "0.77 [0.67, 0.87]",
        "0.56 [0.46, 0.66]",
        "0.57 [0.47, 0.67]",
    ]
    assert [flag["confound"] for flag in page["tasks"][0]["flags"]] == ["confound-recording"]
    assert page["means"]["sets"].get("paper||||clean") is None  # the only task is flagged
    order = [page["embedders"][e]["name"] for e in page["tasks"][0]["pairs"][1]["order"]]
    assert "confound-recording" not in order and order[0] == "mel-statistics"
    assert page["transfers"][0]["cells"]["slap"][0][:3] == ["ewa", "ewa", 0.77]
    assert page["space"]["slap"]["n_speakers"] == 110


def test_separable_pairs_of_one_task(tmp_path: Path) -> None:
    scores = write_results(tmp_path, TASKS[:1], speakers=200)
    names, signs, detectable = Results(scores, tmp_path / "predictions", TASKS[:1]).pairs("probe", "ewa_parkinson")
    assert names[0] == "mel-statistics" and set(names) == set(HEARS)
    assert (signs == -signs.T).all()
    assert signs[0, names.index("random")] == 1 and signs[names.index("slap"), names.index("control")] == 0
    assert detectable is not None and 0.05 < detectable < 0.3


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
