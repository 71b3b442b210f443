"""The page in a browser: at desktop and phone width, light and dark, by mouse and by keyboard, with axe-core.

Skipped where playwright or a Chromium is absent. Nothing is downloaded: the browser is the system's.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from benchmark.report import SYNTHETIC, write_report
from tests.benchmark.made_up import TWELVE, empty, many_tasks, space, task, transfers, write_results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

DESKTOP, PHONE = (1280, 900), (390, 844)
NEVER = task("gone_illness", corpus="gone")


@dataclass
class Watched:
    """A page, and what it complained about or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The page of recordings, with a task that nobody could score, and of rendered voices."""
    tasks = [*many_tasks(4), NEVER]
    found: dict[bool, Path] = {}
    for synthetic in (False, True):
        folder = tmp_path_factory.mktemp("reports")
        scores = write_results(folder, tasks[:-1], hears=TWELVE, synthetic=synthetic)
        scores += [empty(NEVER, name, mode) for name, modes in TWELVE.items() for mode in modes]
        found[synthetic] = write_report(
            scores,
            folder / "predictions",
            tasks,
            folder,
            synthetic=synthetic,
            absent={"gone": "skipped: no folder raw/gone"},
            absent_embedders={"whisper-large": "no weights"},
            transfers=transfers(),
            space=space(),
        ).html
    return found


@pytest.fixture
def watched(browser: Browser, reports: dict[bool, Path]) -> Iterator[Any]:
    """Opens the page; at the end there may be no complaint in the console and no request but for the file."""
    opened: list[Watched] = []

    def open_(size: tuple[int, int] = DESKTOP, scheme: Any = "light", route: str = "", synthetic: bool = False) -> Page:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        one = Watched(page)
        opened.append(one)
        page.on("console", lambda message: one.complaints.append(message.text))
        page.on("pageerror", lambda error: one.complaints.append(str(error)))
        page.on("request", lambda request: one.requests.append(request.url))
        page.goto(reports[synthetic].as_uri() + route)
        return page

    yield open_
    for one in opened:
        assert one.complaints == []
        assert all(url.startswith("file://") and url.split("#")[0].endswith("leaderboard.html") for url in one.requests)
        one.page.close()


def column(page: Page, table: str, name: str) -> list[str]:
    """The first line of each cell of a column of the contestants."""
    headings = page.locator(f"{table} thead tr:last-child th").all_text_contents()
    at = next(i for i, text in enumerate(headings) if text.startswith(name))
    cells = page.locator(f"{table} tbody").first.locator("tr").all()
    return [cell.locator("th, td").nth(at).inner_text().split("\n")[0].split("\t")[0] for cell in cells]


def numbers(texts: list[str]) -> list[float]:
    found = [re.match(r"[−\d.]+", text) for text in texts]
    return [float(one[0].replace("−", "-")) for one in found if one]


def sideways(page: Page) -> int:
    """How far the page itself can be scrolled sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def serious(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}" for one in grave]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait in here: the page's own rules forbid the script by which Playwright would wait in there."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_sticks_out(watched: Any, size: tuple[int, int], scheme: str) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page = watched(size, scheme)
    assert serious(page) == []
    assert sideways(page) == 0
    page.goto(page.url + "#task/c00_illness")
    page.locator("#task-title").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert serious(page) == []
    assert sideways(page) == 0
    page.locator("#task .score").first.click()
    assert page.locator("#source").is_visible()
    assert serious(page) == []


def test_rendered_voices_are_said_wherever_a_number_stands(watched: Any) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page = watched(synthetic=True)
    captions = page.locator("caption, figcaption:not(:has(.swatch))").all_text_contents()  # not the map's legend
    assert len(captions) >= 8
    assert [text for text in captions if SYNTHETIC not in " ".join(text.split())] == []
    page.goto(page.url + "#task/c00_illness")
    assert page.locator(".banner").is_visible() and page.locator(".banner").inner_text() == SYNTHETIC
    captions = page.locator("#task caption, #task figcaption").all_text_contents()
    assert len(captions) >= 4
    assert [text for text in captions if SYNTHETIC not in " ".join(text.split())] == []
    assert "rendered voices have no subgroups" in page.locator("#task").inner_text()
    assert serious(page) == []


def test_the_board_sorts_by_mouse_and_keyboard(watched: Any) -> None:
    page = watched()
    page.select_option("select[name=only]", "scored")
    heading = page.locator("#board-table thead tr:last-child th").nth(1)
    assert heading.get_attribute("aria-sort") == "descending"
    first = numbers(column(page, "#board-table", "Linear probe: Macro-F1"))
    assert len(first) == 10 and first == sorted(first, reverse=True)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert numbers(column(page, "#board-table", "Linear probe: Macro-F1")) == sorted(first)
    page.select_option("select[name=group]", "health")  # the order stays when the filters change
    assert page.locator("#board-table th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert page.locator("#board-table tbody").nth(1).locator("tr").count() == 2  # chance stays apart
    assert "confound-" not in page.locator("#board-table").inner_text()


def test_filters_change_the_means_and_their_intervals(watched: Any) -> None:
    page = watched()
    slap = page.locator("#board-table tr.ours")
    assert "tasks" in slap.inner_text() and "-" in slap.locator("td").first.inner_text()  # a task is missing
    page.select_option("select[name=only]", "scored")
    for choice in ({"group": "health"}, {"group": ""}, {"track": "open"}, {"track": "", "language": "fr"}):
        for name, value in choice.items():
            page.select_option(f"select[name={name}]", value)
        expected = page.evaluate(
            """() => {
              const state = stateOf();
              const tasks = data.tasks.map((one, i) => i).filter((i) => data.runs[0].scores[i]
                && (!state.group || data.tasks[i].group === state.group)
                && (!state.track || data.tasks[i].track === state.track)
                && (!state.language || data.tasks[i].language === state.language));
              const run = data.runs.find((one) => one.mode === 1 && one.embedder === ours);
              return [tasks.length, tasks.reduce((sum, i) => sum + run.scores[i].v[0], 0) / tasks.length];
            }"""
        )
        assert page.locator("#filters-count").inner_text().startswith(f"{expected[0]} task")
        shown = slap.locator("td").first.inner_text()
        found = re.match(r"([\d.]+).*\[([\d.]+), ([\d.]+)\]", " ".join(shown.split()))
        assert found, shown
        assert float(found[1]) == pytest.approx(expected[1], abs=0.0006)
        assert float(found[2]) <= float(found[1]) <= float(found[3])
    page.locator("#filters button").click()
    until(lambda: page.evaluate("document.getElementById('filters-count').value").startswith("3 tasks"))


def test_the_papers_figures_stand_apart_and_only_where_they_belong(watched: Any) -> None:
    page = watched()
    apart = page.locator("#board-table tr.ours .apart-column")
    assert "62.9" in apart.inner_text() and "69.3" in apart.inner_text()
    page.select_option("select[name=group]", "health")
    assert "57.9" in apart.inner_text() and "69.3" not in apart.inner_text()
    page.select_option("select[name=track]", "open")
    assert apart.count() == 0
    assert "not to be compared" in page.locator("#published").inner_text()


def test_the_task_page_by_keyboard(watched: Any) -> None:
    page = watched()
    page.locator("#tasks-table a").first.focus()
    name = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.locator("#task-title").wait_for()
    assert page.evaluate("document.activeElement.id") == "task-title"
    assert page.title().startswith(name)
    text = page.locator("#task").inner_text()
    for said in (
        *("parkinson = 'present'", "UPDRS >= 30 (Goetz et al. 2008)", "60 persons", "macro-F1 0.333"),
        *("A question to look into", "A flag is no verdict", "3 dealings of the folds", "The probe: 5 repeats"),
        *("A <loud> voice & more.", "0.400 to 0.700", "A difference below about", "How the probe learns", "sex: male"),
    ):
        assert said in text, said
    assert page.locator("#overview").is_hidden()
    page.locator("#task a").first.focus()
    page.keyboard.press("Enter")
    page.locator("#overview").wait_for()
    assert page.evaluate("document.activeElement.textContent") == name
    page.go_back()
    page.locator("#task-title").wait_for()


def test_confounds_have_a_table_of_their_own_that_follows_the_filters(watched: Any) -> None:
    page = watched()
    first = page.locator("#confounds table").first
    assert [cell.inner_text() for cell in first.locator("tbody th").all()] == ["confound-recording", "confound-silence"]
    assert first.locator("tbody tr").first.locator("td").nth(1).inner_text() == "2 of 2"
    assert page.locator("#confounds table").nth(1).locator("tbody tr").count() == 2
    page.select_option("select[name=only]", "clean")
    assert "No task of this choice carries a flag" in page.locator("#confounds").inner_text()
    assert "confound-" not in page.locator("#board-forest, #families, #tasks").first.text_content()


def test_a_task_without_a_score_says_why(watched: Any) -> None:
    page = watched(route="#task/gone_illness")
    assert "skipped: no folder raw/gone" in page.locator("#task").inner_text()
    assert "whisper-large" in page.locator("#missing").text_content()


def test_a_number_leads_to_where_it_comes_from(watched: Any) -> None:
    page = watched()
    page.select_option("select[name=only]", "scored")
    mean = page.locator("#board-table tr.ours .score").first
    mean.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#source")
    assert dialog.locator("tbody tr").count() == 2
    dialog.locator(".score").first.press("Enter")
    task_name = page.locator("#source-title").inner_text().split(", ")[1]
    assert dialog.locator(".command code").inner_text() == f"slap trace slap/{task_name}.probe"
    hashes = dialog.locator(".hashes dd").all_inner_texts()
    assert len(hashes) == 8 and all(re.fullmatch("[0-9a-f]{64}", one) for one in hashes)
    dialog.get_by_role("button", name="Copy").click()
    until(lambda: page.locator(".command button").inner_text() in ("Copied", "Selected"))
    page.keyboard.press("Escape")
    assert dialog.is_hidden()
    one = page.locator("#tasks-table .score").first
    one.press("Enter")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "score"  # where it was opened


def test_transfer_and_map_follow_their_choices(watched: Any) -> None:
    page = watched()
    assert page.locator("#transfer .heat").count() == 9
    assert "no negative utterance" in page.locator("#transfer").inner_text()
    page.locator("#transfer select").first.select_option(label="sex")
    assert page.locator("#transfer .heat").count() == 4
    same = page.locator("#transfer .same").first
    assert "0.77" in same.inner_text()
    assert "3 persons of both corpora not learned from" in (same.get_attribute("title") or "")
    assert "81 % share the sex" in page.locator("#space").inner_text()
    page.locator("#space select").nth(1).select_option("language")
    assert "English" in page.locator("#space").inner_text()
    assert page.locator("#space svg[aria-label]").count() == page.locator("#space svg").count() == 2


def test_a_large_matrix_is_compact_and_scrolls_in_its_box(browser: Browser, tmp_path: Path) -> None:
    corpora = [f"corpus_{i:02}" for i in range(36)]
    rows = [
        {**row, "train_corpus": train, "test_corpus": test}
        for row in transfers().filter(name="sex", embedder="slap").head(1).to_dicts()
        for train in corpora
        for test in corpora
    ]
    scores = write_results(tmp_path, [NEVER])
    written = write_report(
        scores,
        tmp_path / "predictions",
        [NEVER],
        tmp_path,
        synthetic=False,
        absent={},
        transfers=pl.DataFrame(rows),
    )
    for size in (DESKTOP, PHONE):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(written.html.as_uri())
        assert page.locator("#transfer .heat").count() == 36 * 36
        assert sideways(page) == 0
        box = page.locator("#transfer .scroll")
        assert box.evaluate("one => one.scrollHeight > one.clientHeight && one.clientHeight <= innerHeight")
        box.evaluate("one => one.scrollTo(9999, 9999)")
        corner = page.locator("#transfer thead .corner").bounding_box()
        at = box.bounding_box()
        assert corner and at and abs(corner["x"] - at["x"]) < 3 and abs(corner["y"] - at["y"]) < 3
        assert page.locator("#transfer .heat").first.inner_text() == ".77"
        page.locator("#transfer select").last.select_option("full")
        assert "80 → 40 persons" in page.locator("#transfer .heat").first.inner_text()
        page.close()


def test_it_prints(watched: Any) -> None:
    page = watched()
    content = page.pdf(prefer_css_page_size=True)
    assert content.startswith(b"%PDF") and content.count(b"/Type /Page\n") <= 20
    page.goto(page.url + "#task/c00_illness")
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") <= 8
