"""`slap search`: voices that fit a description, and the page on which they can be heard."""

from __future__ import annotations

import base64
import io
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from benchmark.embed import read_waves
from pipelines import audio, search
from pipelines.cli import main
from pipelines.collection import CollectionError, Model, embed_corpora, embed_folder, load_model
from pipelines.search import Hit, _why_silent, write_page
from pipelines.settings import Settings
from slap_model import config
from slap_model.model import NoTextError
from slap_model.text import TextTower
from tests.surface import BOUND, FREE, SETTINGS, encode, tone, write_checkpoint, write_corpora

QUERY = "an elderly man with a <hoarse> voice"
EVIL = '<img src=x onerror="alert(1)">.wav'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Model]:
    """A warehouse in which both corpora and a folder of the user's own are embedded."""
    root = tmp_path_factory.mktemp("search")
    warehouse = root / "warehouse"
    write_checkpoint(warehouse)
    write_corpora(warehouse, root / "raw")
    for number, name in enumerate(("one.wav", EVIL)):
        tone(root / "mine" / name, 500 + 60 * number)
    model = load_model(warehouse)
    embed_corpora(model, warehouse, [])
    embed_folder(model, root / "mine", warehouse / "collections" / "mine.parquet")
    return Settings(warehouse=warehouse), model


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextTower, "encode", encode)


def test_hits_are_the_highest_cosines(made: tuple[Settings, Model]) -> None:
    settings, model = made
    found = search.search(settings, model, QUERY, top=99, each=True)
    assert found.searched == {BOUND.name: 6, FREE.name: 6, "own:mine": 2}
    scores = [hit.score for hit in found.hits]
    assert scores == sorted(scores, reverse=True)
    by_hand = {}
    for corpus in (FREE, BOUND):
        for tar in (settings.shards / corpus.name).glob("*.tar"):
            for utt_id, wave in read_waves(tar, 16_000):
                by_hand[utt_id] = (model.slap.similarity([wave], [QUERY]).item(), tar.name.partition("-")[0])
    root = settings.warehouse.parent / "mine"
    by_hand |= {n: (model.slap.similarity([audio.load(root / n)], [QUERY]).item(), "") for n in ("one.wav", EVIL)}
    assert {hit.id for hit in found.hits} == set(by_hand)
    for hit in found.hits:
        assert hit.score == pytest.approx(by_hand[hit.id][0], abs=1e-4)
        assert hit.split == by_hand[hit.id][1]


def test_one_hit_a_person_unless_asked(made: tuple[Settings, Model]) -> None:
    settings, model = made
    every = search.search(settings, model, QUERY, top=99, each=True).hits
    found = search.search(settings, model, QUERY, top=99).hits
    persons = [hit.person for hit in found if hit.person]
    assert len(persons) == len(set(persons)) == 6  # three speakers in each corpus
    assert len(found) == 8
    best = {hit.person: hit.score for hit in reversed(every) if hit.person}
    assert {hit.person: hit.score for hit in found if hit.person} == best
    assert search.search(settings, model, QUERY, top=3).hits == found[:3]


def test_no_owner_is_named(made: tuple[Settings, Model], tmp_path: Path) -> None:
    settings, model = made
    found = search.search(settings, model, QUERY, top=99, each=True)
    write_page(settings, found, tmp_path / "out.html", own_sound=True)
    page = (tmp_path / "out.html").read_text()
    for shown in (search.table(found), page):
        assert "Owner" not in shown
        assert str(settings.warehouse.parent) not in shown


def test_only_what_is_asked_is_searched(made: tuple[Settings, Model]) -> None:
    settings, model = made
    found = search.search(settings, model, QUERY, within=[FREE.name, "mine"], top=99)
    assert {hit.corpus for hit in found.hits} == {FREE.name, "own:mine"}
    with pytest.raises(CollectionError, match=r"vctk: no vectors of this model .*slap embed --corpus vctk"):
        search.search(settings, model, QUERY, within=["vctk", FREE.name])
    with pytest.raises(CollectionError, match="say what to search for"):
        search.search(settings, model, " ")


def test_vectors_of_another_model_are_not_searched(made: tuple[Settings, Model], tmp_path: Path) -> None:
    settings, _ = made
    other = load_model(tmp_path, write_checkpoint(tmp_path / "w", seed=5))
    with pytest.raises(CollectionError, match=r"nothing in .*mine: embedded by another model: `slap embed"):
        search.search(settings, other, QUERY)


def test_a_model_without_language_cannot_search(tmp_path: Path) -> None:
    control = config.parse({**SETTINGS.as_dict(), "loss": {**SETTINGS.as_dict()["loss"], "contrastive_weight": 0.0}})
    model = load_model(tmp_path, write_checkpoint(tmp_path / "w", control))
    with pytest.raises(NoTextError, match="trained without language"):
        search.search(Settings(warehouse=tmp_path / "w"), model, QUERY)


class Page(HTMLParser):
    """What a browser would make of it: tags, sources, and the cells of each row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_sound_only_where_the_licence_lets_it_be_passed_on(made: tuple[Settings, Model], tmp_path: Path) -> None:
    settings, model = made
    found = search.search(settings, model, QUERY, top=99, each=True)
    assert write_page(settings, found, tmp_path / "out.html") == 6
    page = Page((tmp_path / "out.html").read_text())
    assert len(page.sources) == page.tags.count("audio") == 6
    for row in page.rows[1:]:
        expected = {
            FREE.name: "",
            BOUND.name: f"no sound: the licence of {BOUND.name} ({BOUND.licence.name}) does not let it be passed on",
            "own:mine": "your own file: --own-sound puts it here",
        }[row[2]]
        assert row[7] == expected
    played = {}
    for source in page.sources:
        wave, rate = soundfile.read(io.BytesIO(base64.b64decode(source.removeprefix("data:audio/flac;base64,"))))
        played[round(float(np.abs(wave).sum()), 3)] = rate
    there = {
        round(float(np.abs(wave).sum()), 3)
        for tar in (settings.shards / FREE.name).glob("*.tar")
        for _, wave in read_waves(tar, 16_000)
    }
    assert {round(value, 1) for value in played} == {round(value, 1) for value in there}
    assert set(played.values()) == {16_000}
    assert write_page(settings, found, tmp_path / "own.html", own_sound=True) == 8


def test_expired_and_unknown_licences_are_silent(made: tuple[Settings, Model]) -> None:
    from dataclasses import replace

    expired = replace(FREE, licence=replace(FREE.licence, expires=date(2020, 1, 1)))
    assert _why_silent(expired) == f"no sound: the licence of {FREE.name} expired on 2020-01-01"
    assert _why_silent(FREE) == ""
    hit = Hit(0.5, "x", "nobody_knows", "test", "", 1.0)
    assert "licence is not known" in str(search._sound(made[0], hit, own_sound=True))


def test_a_path_out_of_the_folder_is_not_read(made: tuple[Settings, Model]) -> None:
    settings, _ = made
    tone(settings.warehouse.parent / "secret.wav", 90.0)
    hit = Hit(0.5, "../secret.wav", "own:mine", "", "", 1.0)
    assert search._sound(settings, hit, own_sound=True) == "no sound: the folder is not known"


def test_names_cannot_become_markup_and_nothing_is_fetched(made: tuple[Settings, Model], tmp_path: Path) -> None:
    settings, model = made
    found = search.search(settings, model, QUERY, within=["mine"], top=9)
    write_page(settings, found, tmp_path / "out.html", own_sound=True)
    text = (tmp_path / "out.html").read_text()
    page = Page(text)
    assert "img" not in page.tags
    assert "script" not in page.tags
    assert "hoarse" not in page.tags
    assert {row[6] for row in page.rows[1:]} == {"one.wav", EVIL}
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"https?:", text)
    assert search.CAUTION in " ".join(text.split())
    assert search.plain("a\x1b[31mb\n") == "a\N{REPLACEMENT CHARACTER}[31mb\N{REPLACEMENT CHARACTER}"


def test_rendered_voices_are_called_so(made: tuple[Settings, Model], tmp_path: Path) -> None:
    settings, model = made
    for within, said in ((FREE.name, True), (BOUND.name, False)):
        write_page(settings, search.search(settings, model, QUERY, within=[within]), tmp_path / "out.html")
        assert ("rendered by a speech synthesiser" in (tmp_path / "out.html").read_text()) is said


def test_the_command(made: tuple[Settings, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = made
    monkeypatch.setenv("SLAP_WAREHOUSE", str(settings.warehouse))
    page = tmp_path / "out.html"
    run = CliRunner().invoke(main, ["search", QUERY, "--in", "mine", "--html", str(page)])
    assert run.exit_code == 0, run.output
    assert "of 2 utterances in own:mine (2)" in run.output
    assert "0 of 2 hits can be heard" in run.output
    assert page.is_file()
    again = CliRunner().invoke(main, ["embed", str(settings.warehouse.parent / "mine")])
    assert "0 new, 2 known" in again.output
    for arguments, said in (
        (["search", QUERY, "--in", "vctk"], "Error: vctk: no vectors of this model"),
        (["embed"], "name a FOLDER"),
        (["embed", str(tmp_path / "gone")], "gone is no folder"),
        (["search", QUERY, "--model", str(tmp_path / "gone")], "no checkpoint in"),
    ):
        wrong = CliRunner().invoke(main, arguments)
        assert wrong.exit_code != 0
        assert said in wrong.output
        assert "Traceback" not in wrong.output


def test_axe_finds_nothing_grave(made: tuple[Settings, Model], tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.benchmark.test_page import CHROMIUM, serious

    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    settings, model = made
    write_page(settings, search.search(settings, model, QUERY, top=99), tmp_path / "out.html", own_sound=True)
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        complaints: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "out.html").as_uri())
        page.evaluate("document.querySelector('audio').load()")
        page.wait_for_function("document.querySelector('audio').networkState !== 2")
        assert page.evaluate("document.querySelector('audio').error") is None
        assert complaints == []
        assert all(url.startswith(("file:", "data:")) for url in asked)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        page.evaluate("document.querySelector('meta[http-equiv]').remove()")  # forbids axe
        assert serious(page) == []
        browser.close()
