"""The report: one HTML file that needs nothing else, and Markdown for terminals; both from the same numbers.

What is looked up lies in `results`, the Markdown's tables in `tables`, its pictures in `figures`, the page's data in
`page`; how it looks is in ``templates/``.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from benchmark import figures, tables
from benchmark.confounds import NAMES as CONFOUNDS
from benchmark.confounds import Flag, flags
from benchmark.page import as_script, page_data
from benchmark.results import OURS, SMALLEST_SUBGROUP, Comparison, Results
from benchmark.score import MODES, REFERENCES, Score
from benchmark.tables import WIDTH, Table, as_markdown, with_interval, word
from benchmark.task import Task
from slap_model.store import write

SYNTHETIC = "Synthetic voices: rendered by espeak-ng; these scores say nothing about people."
FIRST_PART_ENDS = "<!-- what follows is not printed at the end of a run -->"
SCRIPTS = ("base.js", "figures.js", "board.js", "task.js", "space.js", "panels.js")

ABOUT = {
    OURS: "SLAP, trained on this run's manifest",
    "random": "random vectors: guessing",
    "always-yes": "says yes to everything",
    **dict(
        zip(
            CONFOUNDS,
            ("knows only the recording: device, rate, level", "knows only sex and age", "hears only the silence"),
            strict=True,
        )
    ),
}
ABOUT_TRACK = {
    "paper": "The paper's tasks, reconstructed (its own list is not public).",
    "open": "Tasks on corpora that anyone may download.",
    "transfer": "Tasks on corpora made for something else.",
}
MEANING = {
    "Macro-F1": "mean of the F1 of yes and the F1 of no: 1 is perfect, guessing lies near 0.5, saying yes to all "
    "near 0.33",
    "F1": "of the positive class alone; at balanced classes, saying yes to all earns 0.67",
    "Bal. acc.": "balanced accuracy, the mean of both classes' recall: guessing and constants earn 0.5",
    "AUROC": "chance that a positive is ranked above a negative; does not depend on a threshold; 0.5 is guessing",
    "[low, high]": "95 % interval by drawing weights of whole speakers 1,000 times; differences are paired: both "
    "models are judged on the same draws",
    "Zero-shot": "the recording is compared with two opposite sentences, e.g. 'A healthy person is speaking.' and "
    "'A person with Parkinson's disease is speaking.'; nothing is trained",
    "Linear probe": "a logistic regression on the frozen vectors, trained on other speakers than it is judged on",
    "Folds": "a corpus with few test persons that no embedder was trained on is judged whole: it is dealt into folds "
    "by person, several times, and each fold is judged by a probe of the others. Who is judged taught the probes that "
    "judge the others, so the answers depend on each other, and intervals are widened for it (in simulations, 95 % "
    "then held the truth in 95 %, at worst in 86 %); AUROC compares within folds",
    "Tasks": "scored of all; a mean over tasks is '-' as long as one is missing",
    "Not separable": "after Holm's correction for the number of comparisons, these data do not say who is better",
    "In-dom. / OOD": "SLAP's training held, or did not hold, the corpus of the task; every embedder is averaged "
    "over the same tasks. 'New to SLAP' names what of corpus, language and label its training lacked",
    "Confound flag": "a probe that knows only the recording, the person's sex and age, or the silence answers the task "
    "better than chance: a question to look into before reading scores there as about the voice, not a verdict; of 100 "
    "tasks without any such link, about 5 carry a flag by chance",
    "Worst-group gap": f"macro-F1 of the best minus the worst subgroup by sex, age or language, of the attribute where "
    f"they differ most; groups under {SMALLEST_SUBGROUP} persons are never shown",
    "Always-yes": "F1 / macro-F1 of saying yes to all at this prevalence",
    "Best honest pair": "the one pair of sentences that was best on the training persons, judged on the test persons",
    "Brier, calibration error": "how far the stated probabilities lie from what is true; 0 is perfect",
}
PAPER = "Andò et al., arXiv 2510.01860"
# What the paper reports, F1 in percent: who, in which mode, and over which tasks "track|family|domain".
PUBLISHED: tuple[Mapping[str, str], ...] = (
    {"embedder": OURS, "mode": "zero-shot", "part": "paper||", "what": "SLAP, zero-shot, 38 tasks", "value": "62.9"},
    {"embedder": OURS, "mode": "probe", "part": "paper||", "what": "SLAP, linear probe, 38 tasks", "value": "69.3"},
    {"embedder": OURS, "mode": "probe", "part": "paper|health|", "what": "SLAP, probe, health tasks", "value": "57.9"},
    {
        "embedder": "ms-clap",
        "mode": "zero-shot",
        "part": "paper||",
        "what": "CLAP (Microsoft), zero-shot, 38 tasks",
        "value": "42.4",
    },
)
NOT_FOR = "A research tool: not for diagnosis, hiring, insurance, surveillance, or guessing at individuals."
CITED = (
    "Each corpus belongs to its owners and has a licence of its own; only aggregates are shown here. Cite the corpora "
    "you use, the paper, and this benchmark (citation.bib beside this file)."
)


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        markdown: ``leaderboard.md``.
        html: ``leaderboard.html``, one file that loads nothing.
        complete: tasks of the paper track for which every score could be computed, as "37/38"; of the other
            tracks when there is no paper track.
    """

    markdown: Path
    html: Path
    complete: str


def write_report(
    scores: Sequence[Score],
    predictions: Path,
    tasks: Sequence[Task],
    out: Path,
    *,
    synthetic: bool,
    absent: Mapping[str, str],
    absent_embedders: Mapping[str, str] | None = None,
    transfers: pl.DataFrame | None = None,
    space: Mapping[str, Any] | None = None,
) -> Report:
    """Write ``leaderboard.md`` and ``leaderboard.html`` into ``out``; the same input gives the same bytes.

    Args:
        scores: from `benchmark.evaluate.evaluate` or `read_scores`.
        predictions: folder of the predictions that the scores were measured on.
        tasks: all that the board should have.
        out: folder of the reports.
        synthetic: whether the run is a demo; a score of a synthetic corpus has the same effect.
        absent: by corpus, why it takes no part; said beside the tasks that are missing because of it.
        absent_embedders: by embedder, why it could not be loaded.
        transfers: from `benchmark.transfer.read_transfers`.
        space: the content of ``space.json``.

    Raises:
        ValueError: when two embedders predict different units of a task.
    """
    results = Results(scores, predictions, tasks)
    synthetic = synthetic or any(score.synthetic for score in results.scores.values())
    found = flags(list(results.scores.values()))
    common: dict[str, Any] = {
        "banner": SYNTHETIC if synthetic else "",
        "meaning": MEANING,
        "about": _about(results.embedders),
        "published": PUBLISHED,
        "paper": PAPER,
        "not_for": NOT_FOR,
        "cited": CITED,
        "summaries": {track: list(_sentences(results, of_it, absent)) for track, of_it in results.tracks.items()},
        "first_part_ends": FIRST_PART_ENDS,
        "ablations": (out / "ablations.md").is_file(),  # of `benchmark.ablation_report`, from a command of its own
    }
    markdown = _markdown(results, absent, absent_embedders or {}, found, transfers, synthetic=synthetic)
    data = page_data(
        results,
        absent=absent,
        absent_embedders=absent_embedders or {},
        about=common["about"],
        flags=found,
        transfers=transfers,
        space=space,
        synthetic=synthetic,
    )
    data |= {"banner": SYNTHETIC, "published": PUBLISHED, "smallest": SMALLEST_SUBGROUP, "title": "SLAP benchmark"}
    page = {
        "data": as_script(data),
        "has": {
            "transfer": bool(data["transfers"]),
            "space": bool(space),
            "confounds": any(name in CONFOUNDS for name in results.embedders),
        },
        "missing": tables.without_score(results, absent),
        "absent_embedders": tables.without_embedder(absent_embedders or {}),
        "counts": _counts(results),
        "about_track": ABOUT_TRACK,
    }
    out.mkdir(parents=True, exist_ok=True)
    report = Report(out / "leaderboard.md", out / "leaderboard.html", results.complete())
    write(report.markdown, _template("leaderboard.md.j2").render(common | markdown).encode())
    write(report.html, _template("leaderboard.html.j2").render(common | page).encode())
    return report


def first_part(markdown: str) -> str:
    """What of ``leaderboard.md`` a person wants to see at the end of a run: the board, and what to look into."""
    return markdown.partition(FIRST_PART_ENDS)[0].rstrip() + "\n"


def _about(embedders: Sequence[str]) -> dict[str, str]:
    """What each embedder is, in one line; nothing for one that no registry knows."""
    from benchmark.registry import ENTRIES

    known = {entry.name: entry.about for entry in ENTRIES.values()} | ABOUT
    return {name: known[name] for name in embedders if name in known}


def _counts(results: Results) -> str:
    """How large the board is."""
    scored = [task for task in results.tasks if results.any_score(task.name) is not None]
    languages = {results.languages[task.name] for task in scored} - {""}
    parts = (
        (len(results.contestants), "embedder", "embedders"),
        (len(scored), "task", "tasks"),
        (len({task.corpus for task in scored}), "corpus", "corpora"),
        (len(languages), "language", "languages"),
    )
    return " · ".join(f"{n} {one if n == 1 else many}" for n, one, many in parts)


# --- the Markdown -----------------------------------------------------------------------------------------------


def _markdown(
    results: Results,
    absent: Mapping[str, str],
    absent_embedders: Mapping[str, str],
    found: Mapping[str, Sequence[Flag]],
    transfers: pl.DataFrame | None,
    *,
    synthetic: bool,
) -> dict[str, Any]:
    """The tables and pictures, each with the banner in its caption."""

    def said(table: Table) -> Table | None:
        if not table.rows:
            return None
        return replace(table, note=SYNTHETIC) if synthetic else table

    return {
        "sections": [
            {
                "track": track,
                "title": f"{track.capitalize()} track: {_tasks(len(tasks))}",
                "about": ABOUT_TRACK[track],
                "overview": said(tables.overview(results, track)),
                "modes": [
                    {
                        "title": word(mode),
                        "table": said(tables.headline(results, track, mode, with_gap=not synthetic)),
                        "forest": _forest(results, track, mode),
                    }
                    for mode in MODES
                ],
                "comparisons": said(tables.comparisons(results, results.averaged(track))),
            }
            for track, tasks in results.tracks.items()
        ],
        "per_task": [said(tables.per_task(results, mode, found)) for mode in MODES],
        "notes": list(_notes(results, absent, absent_embedders, found)),
        "betrayed": said(tables.betrayed(results, found)),
        "flagged": said(tables.flagged(results, found)),
        "missing": said(tables.without_score(results, absent)),
        "absent_embedders": said(tables.without_embedder(absent_embedders)),
        "transfers": [said(tables.transfer(transfers, *of)) for of in _matrices(transfers)]
        if transfers is not None
        else [],
        "subgroups": said(tables.subgroups(results)) if not synthetic and results.ours else None,
        "example": next(iter(results.ours.values()), None),
    }


def _matrices(transfers: pl.DataFrame) -> list[tuple[str, str]]:
    """The labels, each with SLAP, or with everyone where SLAP is not among them; the page has all."""
    pairs = sorted(set(transfers.select("name", "embedder").iter_rows()))
    return [pair for pair in pairs if pair[1] == OURS] or pairs


def _forest(results: Results, track: str, mode: str) -> str:
    """Everyone's mean as a picture of characters; empty where nobody has one."""
    marks = []
    for name in tables.by_mean(results, track, mode):
        found = results.mean(name, mode, results.averaged(track))
        if found is not None and name != "always-yes":
            marks.append(figures.Mark(name, found.macro_f1, found.low, found.high, f"{found.complete} tasks"))
    if not any(mark.value is not None for mark in marks):
        return ""
    constant = results.mean("always-yes", mode, results.averaged(track))
    return figures.forest(marks, constant.macro_f1 if constant else None)


# --- sentences --------------------------------------------------------------------------------------------------


def _sentences(results: Results, tasks: Sequence[Task], absent: Mapping[str, str]) -> Iterator[str]:
    """A track in a few plain sentences: where SLAP stands, who is ahead of it, what is missing."""
    averaged = results.averaged(tasks[0].track)
    part = "" if len(averaged) == len(tasks) else f" over the {_tasks(len(averaged))} with a score"
    for mode in MODES if results.scored(tasks[0].track) else ():
        found = results.mean(OURS, mode, averaged)
        if found is None:
            continue
        against = results.comparisons(mode, averaged)
        if found.macro_f1 is None:
            yield f"{word(mode)}: {found.complete} tasks have a score, so SLAP has no mean yet."
        else:
            value = with_interval(found.macro_f1, found.low, found.high)
            references = [_beside(one) for one in against if one.other in REFERENCES[mode] and one.low is not None]
            yield (
                f"{word(mode)}: SLAP's mean macro-F1{part} is {value}" + "".join(f", {one}" for one in references) + "."
            )
        yield from (_ahead(one) for one in against if _is_ahead(one))
        if alike := [
            one.other for one in against if one.verdict == "not separable" and one.other not in REFERENCES[mode]
        ]:
            yield f"{_under(mode)}, not separable from SLAP: {', '.join(alike)}."
    without = {task.corpus: absent.get(task.corpus) for task in tasks if results.any_score(task.name) is None}
    if without:
        missing = sum(results.any_score(task.name) is None for task in tasks)
        verb = "has" if missing == 1 else "have"
        yield (
            f"{missing} of {_tasks(len(tasks))} {verb} no score (corpus {', '.join(sorted(without))}); "
            "the reasons stand under 'What is missing'."
        )


def _notes(
    results: Results,
    absent: Mapping[str, str],
    absent_embedders: Mapping[str, str],
    found: Mapping[str, Sequence[Flag]],
) -> Iterator[str]:
    """What to look into, and what is missing."""
    if flagged := sum(bool(found.get(task.name)) for task in results.tasks):
        yield (
            f"{flagged} of {_tasks(len(results.tasks))} {'carries' if flagged == 1 else 'carry'} a confound flag: a "
            "probe that does not listen to the voice answers them, too. A question to look into, no verdict: of 100 "
            "tasks without such a link, about 5 carry one by chance."
        )
    lost = {row[0].text for row in tables.without_score(results, absent).rows}
    if lost:
        yield f"{_tasks(len(lost))} without a score; the reasons stand under 'What is missing'."
    if absent_embedders:
        yield f"Could not be loaded: {', '.join(sorted(absent_embedders))}; the reasons stand under 'What is missing'."
    if not lost and not absent_embedders:
        yield "Nothing is missing: every task has a score, and every embedder could be loaded."


def _tasks(count: int) -> str:
    return f"{count} task{'' if count == 1 else 's'}"


def _beside(found: Comparison) -> str:
    difference = with_interval(found.difference, found.low, found.high, sign="+")
    said = f"{found.verdict} from" if found.verdict == "not separable" else found.verdict
    return f"{said} {found.other} ({difference})"


def _is_ahead(found: Comparison) -> bool:
    """Whether the other embedder is separably higher, or without a mean, whether it wins more tasks."""
    if found.difference is None:
        return found.other_higher > found.ours_higher
    return found.verdict == "below"


def _ahead(found: Comparison) -> str:
    other, wins, under = found.other, f"{found.other_higher} of {_tasks(found.n_both)}", _under(found.mode)
    if found.difference is None or found.low is None or found.high is None:
        return f"{under}, {other} is ahead of SLAP on {wins}; no mean yet ({found.complete})."
    gap = with_interval(-found.difference, -found.high, -found.low)
    return f"{under}, {other} is ahead of SLAP by {gap}, and on {wins}."


def _under(mode: str) -> str:
    return "Under probing" if mode == "probe" else "Zero-shot"


# --- output -----------------------------------------------------------------------------------------------------


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).with_name("templates")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown"] = as_markdown
    environment.filters["item"] = lambda text: textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ")
    environment.filters["raw"] = Markup
    environment.globals["style"] = Markup((folder / "leaderboard.css").read_text(encoding="utf-8"))
    scripts = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment.globals["script"] = Markup(scripts)
    return environment


def _template(name: str) -> Any:
    return _environment().get_template(name)
