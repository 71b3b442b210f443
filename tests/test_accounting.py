"""Every audio file of a raw folder is an utterance, a reject, or set aside with a reason."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import polars as pl
import pytest

from pipelines import accounting, withdrawals
from pipelines.accounting import UNCLAIMED, is_audio, unclaimed
from pipelines.assets import common
from pipelines.corpora._base import Corpus, Licence, Rows
from pipelines.ingest import ingest, keyed
from pipelines.schema import Tables

KEY = b"0123456789abcdef"


def files(*paths: str) -> list[pl.DataFrame]:
    return [pl.DataFrame({"path": [path]}, schema=dict(accounting.FILE)) for path in paths]


def tables(utterances: list[str], rejects: list[str]) -> Tables:
    rows = Rows("toy")
    speaker = rows.speaker("a")
    for path in utterances:
        rows.utterance(path, speaker, language="en")
    for path in rejects:
        rows.reject(path, "of no use")
    return rows.tables()


@pytest.mark.parametrize(
    ("path", "rejects", "lost"),
    [
        ("a/1.wav", [], False),  # an utterance
        ("a/2.wav", [], True),
        ("a/2.wav", ["a/2.wav"], False),
        ("a/2.wav", ["a/2.wav:7"], False),  # a row of it
        ("a/2.wav", ["a/2.wa", "2.wav", "."], True),
        ("a/2.wav", ["a"], True),  # a folder with an utterance: which of its files is meant is not said
        ("b/c/2.wav", ["b"], False),  # a folder of nothing else
        ("b/c/2.wav", ["b/c"], False),
        ("b/c/2.wav", ["b/d", "c"], True),
        ("be/2.wav", ["b"], True),
        ("a/it's 100%_ü\n.wav", [], True),
        ("a/it's 100%_ü\n.wav", ["a/it's 100%_ü\n.wav"], False),
    ],
)
def test_what_claims_a_file(tmp_path: Path, path: str, rejects: list[str], lost: bool) -> None:
    found = pl.concat(unclaimed(files("a/1.wav", path), tables(["a/1.wav"], rejects), tmp_path))
    assert found["path"].to_list() == ([path] if lost else [])
    assert not list(tmp_path.iterdir())


def test_no_audio_and_no_tables(tmp_path: Path) -> None:
    nothing = [pl.DataFrame(schema=dict(accounting.FILE))]
    assert pl.concat(unclaimed(nothing, tables([], []), tmp_path)).is_empty()
    found = pl.concat(unclaimed(files("b.wav", "a.flac"), tables([], []), tmp_path))
    assert found["path"].to_list() == ["a.flac", "b.wav"]


@pytest.mark.parametrize(
    ("path", "audio"),
    [
        ("a/b.wav", True),
        ("A.WAV", True),
        ("x.nsp", True),
        ("a.wav/notes.txt", False),
        ("a/._b.wav", False),
        (".download/b.wav", False),
        ("__MACOSX/b.wav", False),
        ("wav", False),
        ("a.wav.txt", False),
    ],
)
def test_audio_is_told_by_the_ending(path: str, audio: bool) -> None:
    assert is_audio(path) == audio


def scan(root: Path) -> Tables:
    """Reads ``<speaker>/<name>.wav`` and forgets all others."""
    rows = Rows("toy")
    for path in sorted(root.glob("*/*.wav")):
        rows.utterance(path.relative_to(root).as_posix(), rows.speaker(path.parent.name), language="en")
    return rows.tables()


@pytest.fixture
def corpus() -> Corpus:
    licence = Licence("made up", "https://example.org", "open", True, False)
    return Corpus(
        "toy", "Toy", "https://example.org", "none", licence, ("en",), ("open",), scan, lambda root, voices: None
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    for path in ("anna/1.wav", "bert/1.wav", "bert/2.mp3", "bert/cough.mp3", "stray.flac", "bert/notes.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"1")
    return folder


def rejected(out: Path) -> dict[str, str]:
    return dict(pl.read_parquet(out / "toy" / "reject.parquet").select("path", "reason").iter_rows())


def test_what_a_recipe_passes_over_is_a_reject(corpus: Corpus, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    done = ingest(corpus, root, out, KEY)
    assert (done.utterances, done.audio_files, done.unclaimed, done.rejects) == (2, 5, 3, 3)
    assert rejected(out) == dict.fromkeys(["bert/2.mp3", "bert/cough.mp3", "stray.flac"], UNCLAIMED)
    again = ingest(corpus, root, out, KEY)
    assert again == dataclasses.replace(done, changed=False)


def test_what_is_no_input_is_set_aside_with_its_reason(corpus: Corpus, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    corpus = dataclasses.replace(corpus, no_inputs={r"/cough\.": "a cough", r"^anna/": "never: it is an utterance"})
    done = ingest(corpus, root, out, KEY)
    assert (done.set_aside, done.unclaimed) == ({"a cough": 1}, 2)
    assert "bert/cough.mp3" not in rejected(out)


def test_files_of_who_withdrew_do_not_come_back_as_rejects(corpus: Corpus, root: Path, tmp_path: Path) -> None:
    def hashed(text: str) -> str:
        return keyed(KEY, text)

    gone = withdrawals.hashes(["toy:bert"], hashed)
    row = dict.fromkeys((field.name for field in dataclasses.fields(withdrawals.Withdrawal)), 0)
    words = dict.fromkeys(("date", "finished", "corpora", "checkpoints"), "")
    row |= words | {"refused": " ".join(gone), "key": withdrawals.key_mark(hashed)}
    withdrawals.put(tmp_path / withdrawals.NAME, withdrawals.Withdrawal(**row), hashed)  # type: ignore[arg-type]
    ingest(corpus, root, tmp_path / "tables", KEY)
    assert not [path for path in rejected(tmp_path / "tables") if "bert" in path]
    assert "stray.flac" in rejected(tmp_path / "tables")


def test_names_that_are_no_unicode_are_counted_too(corpus: Corpus, root: Path, tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(root) + b"/\xff.wav", os.O_CREAT))
    assert ingest(corpus, root, tmp_path / "tables", KEY).unclaimed == 4


def test_places_show_no_names() -> None:
    shown = common.places(pl.Series(["Mario Rossi/F01/a b.wav", "Anna/x/c.wav", "q.FLAC", "loose"]))
    assert shown.rows() == [("*/*/*.wav", 2), ("*", 1), ("*.FLAC", 1)]
