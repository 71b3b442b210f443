"""Ingest: all or nothing, no owners' utterance ids, and no scan without need."""

import json
from dataclasses import fields
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipelines import ingest as module
from pipelines import pitch, withdrawals
from pipelines.corpora._base import Corpus, Licence, RecipeError, Rows
from pipelines.ingest import Ingested, id_key, ingest, keyed, render_miniature
from pipelines.schema import Tables
from pipelines.voices import Voices
from pipelines.withdrawals import Withdrawal

KEY = b"0123456789abcdef0123456789abcdef"


class Recipe:
    """A corpus of empty ``*.wav`` files that counts how often it is scanned."""

    def __init__(self) -> None:
        self.scans = 0
        self.error: Exception | None = None

    def corpus(self) -> Corpus:
        def scan(root: Path) -> Tables:
            self.scans += 1
            if self.error is not None:
                raise self.error
            rows = Rows("toy")
            for path in sorted(root.glob("**/*.wav")):
                speaker = rows.speaker(path.stem, sex="female")
                utt_id = rows.utterance(path.relative_to(root).as_posix(), speaker, language="en")
                rows.observe(speaker, "phq9", 7.0, source="scale", utt_id=utt_id)
                rows.observe(speaker, "accent", "made up", source="owner")
            return rows.tables()

        def miniature(root: Path, voices: Voices) -> None:
            if self.error is not None:
                raise self.error
            for index in range(round(4 * voices.scale)):
                (root / f"p{index}.wav").write_bytes(b"made up")

        licence = Licence("made up", "https://example.org", "open", True, False, expires=date(2030, 1, 31))
        return Corpus("toy", "Toy", "https://example.org", "none", licence, ("en",), ("open",), scan, miniature)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "raw" / "toy"
    root.mkdir(parents=True)
    (root / "anna.wav").write_bytes(b"1")
    (root / "bert.wav").write_bytes(b"2")
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tables"


def read(out: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(out / "toy" / f"{table}.parquet")


def card(out: Path) -> dict:
    return json.loads((out / "toy" / "corpus.json").read_text("utf-8"))


def test_tables_and_card_are_written(recipe, root, out):
    result = ingest(recipe.corpus(), root, out, KEY)
    counts = (result.speakers, result.utterances, result.observations, result.rejects)
    assert (result.found, result.reason, result.changed, result.synthetic) == (True, "", True, False)
    assert counts == (2, 2, 4, 0)
    assert card(out)["counts"] == {
        "speakers": 2,
        "utterances": 2,
        "observations": 4,
        "rejects": 0,
        "audio_files": 2,
        "unclaimed": 0,
    }
    assert card(out)["licence"]["expires"] == "2030-01-31"
    assert card(out)["root"] == str(root)
    assert read(out, "reject").height == 0


def test_utterance_ids_are_keyed_in_both_tables(recipe, root, out, tmp_path):
    ingest(recipe.corpus(), root, out, KEY)
    expected = [keyed(KEY, "toy:anna"), keyed(KEY, "toy:bert")]
    assert read(out, "utterance")["utt_id"].to_list() == expected
    assert set(read(out, "observation")["utt_id"].drop_nulls()) == set(expected)
    assert read(out, "observation")["utt_id"].null_count() == 2
    assert all(len(name) == 20 and int(name, 16) >= 0 for name in expected)
    ingest(recipe.corpus(), root, tmp_path / "other", KEY[::-1])
    other = pl.read_parquet(tmp_path / "other" / "toy" / "utterance.parquet")["utt_id"]
    assert not set(other) & set(expected)


def test_without_change_the_scan_is_not_called(recipe, root, out):
    first = ingest(recipe.corpus(), root, out, KEY)
    second = ingest(recipe.corpus(), root, out, KEY)
    assert recipe.scans == 1
    assert second == Ingested(**{**first.__dict__, "changed": False})


@pytest.mark.parametrize("change", ["new file", "touched file", "other key", "moved", "lost table", "damaged card"])
def test_any_change_scans_again(recipe, root, out, change):
    ingest(recipe.corpus(), root, out, KEY)
    key = KEY
    if change == "new file":
        (root / "carl.wav").write_bytes(b"3")
    elif change == "touched file":
        (root / "anna.wav").write_bytes(b"longer")
    elif change == "other key":
        key = KEY[::-1]
    elif change == "moved":
        root = root.rename(root.with_name("elsewhere"))
    elif change == "lost table":
        (out / "toy" / "speaker.parquet").unlink()
    else:
        (out / "toy" / "corpus.json").write_text("{")
    assert ingest(recipe.corpus(), root, out, key).changed
    assert recipe.scans == 2
    assert card(out)["root"] == str(root)


def test_changed_code_scans_again(recipe, root, out, tmp_path, monkeypatch):
    code = tmp_path / "recipe.py"
    code.write_text("first")
    monkeypatch.setattr(module, "_code", lambda corpus: [code])
    ingest(recipe.corpus(), root, out, KEY)
    code.write_text("other")
    assert ingest(recipe.corpus(), root, out, KEY).changed
    assert recipe.scans == 2


def test_absent_folder_is_skipped_and_found_when_it_comes(recipe, root, out):
    away = root.rename(root.with_name("away"))
    result = ingest(recipe.corpus(), root, out, KEY)
    assert (result.found, result.utterances, recipe.scans) == (False, 0, 0)
    assert result.reason == f"skipped: not found at {root}"
    assert read(out, "utterance").height == 0
    assert not ingest(recipe.corpus(), root, out, KEY).changed
    away.rename(root)
    assert ingest(recipe.corpus(), root, out, KEY).utterances == 2


def test_folder_that_was_removed_leaves_no_rows(recipe, root, out):
    ingest(recipe.corpus(), root, out, KEY)
    root.rename(root.with_name("away"))
    assert ingest(recipe.corpus(), root, out, KEY).utterances == 0
    assert read(out, "speaker").height == 0


def test_who_was_in_a_corpus_stays_known_while_it_is_away(recipe, root, out):
    last = out / module.AWAY / "toy"
    ingest(recipe.corpus(), root, out, KEY)
    gone = root.rename(root.with_name("away"))
    for other_key in (KEY, KEY, b"other"):  # away for several runs: the empty tables do not replace the last ones
        ingest(recipe.corpus(), root, out, other_key)
        assert pl.read_parquet(last / "speaker.parquet")["speaker_id"].to_list() == ["toy:anna", "toy:bert"]
    gone.rename(root)
    assert ingest(recipe.corpus(), root, out, KEY).utterances == 2
    assert not last.exists()


def test_tables_of_people_without_recordings_do_not_replace_the_last_ones(recipe, root, out):
    ingest(recipe.corpus(), root, out, KEY)
    module._put_away(out, "toy")
    rows = Rows("toy")
    rows.speaker("anna", sex="female")
    (out / "toy").mkdir()
    for name, table in (("speaker", rows.tables().speakers), ("utterance", read_away(out).clear())):
        table.write_parquet(out / "toy" / f"{name}.parquet")
    module._put_away(out, "toy")
    assert read_away(out).height == 2


def read_away(out):
    return pl.read_parquet(out / module.AWAY / "toy" / "utterance.parquet")


@pytest.mark.parametrize("left", ["nothing", "a table"])
def test_a_folder_without_recordings_says_why_there_are_none(recipe, root, out, left):
    ingest(recipe.corpus(), root, out, KEY)
    for path in root.glob("*.wav"):
        path.rename(root / "speakers.csv") if left == "a table" else path.unlink()
    assert ingest(recipe.corpus(), root, out, KEY).reason == f"no recording that can be used in {root}"
    assert (out / module.AWAY / "toy").is_dir()


def test_a_corpus_whose_people_all_withdrew_is_not_away(recipe, root, out):
    ingest(recipe.corpus(), root, out, KEY)
    hashed = partial(keyed, KEY)
    refused = " ".join(withdrawals.hashes(["toy:anna", "toy:bert"], hashed))
    about = {field.name: 0 if field.type == "int" else "" for field in fields(Withdrawal)}
    about |= {"refused": refused, "key": withdrawals.key_mark(hashed)}
    withdrawals.put(out.parent / withdrawals.NAME, Withdrawal(**about), hashed)
    result = ingest(recipe.corpus(), root, out, KEY)
    assert (result.speakers, result.utterances, result.reason) == (0, 0, "")
    assert not (out / module.AWAY / "toy").exists()


@pytest.mark.parametrize("at", ["_swap", "_remove"])
def test_killed_on_the_way_the_last_tables_are_still_there(recipe, root, out, monkeypatch, at):
    ingest(recipe.corpus(), root, out, KEY)
    root.rename(root.with_name("away"))
    with monkeypatch.context() as patch:
        patch.setattr(module, at, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingest(recipe.corpus(), root, out, KEY)
    ingest(recipe.corpus(), root, out, KEY)
    assert pl.read_parquet(out / module.AWAY / "toy" / "speaker.parquet").height == 2


@pytest.mark.parametrize("left", ["whole", "half removed"])
def test_a_run_killed_before_it_forgot_is_made_good_by_the_next(recipe, root, out, monkeypatch, left):
    ingest(recipe.corpus(), root, out, KEY)
    gone = root.rename(root.with_name("away"))
    ingest(recipe.corpus(), root, out, KEY)
    gone.rename(root)
    remove = module._remove

    def killed(folder, *_):
        if left == "whole" or (folder == out / module.AWAY / ".partial" / "toy" and folder.exists()):
            raise ZeroDivisionError
        remove(folder)

    with monkeypatch.context() as patch:
        patch.setattr(module, "forget" if left == "whole" else "_remove", killed)
        with pytest.raises(ZeroDivisionError):
            ingest(recipe.corpus(), root, out, KEY)
    ingest(recipe.corpus(), root, out, KEY)
    result = ingest(recipe.corpus(), root, out, KEY)
    assert (result.utterances, result.changed) == (2, False)
    assert [path for path in (out / module.AWAY).rglob("*") if path.is_file()] == []


def test_broken_corpus_is_one_reject(recipe, root, out):
    recipe.error = RecipeError("SPEAKERS.TXT not found: unpack the archive")
    result = ingest(recipe.corpus(), root, out, KEY)
    assert (result.found, result.speakers, result.rejects) == (True, 0, 1)
    assert result.reason == "SPEAKERS.TXT not found: unpack the archive"
    assert read(out, "reject").row(0) == ("toy", ".", result.reason)


def test_tables_that_break_the_contract_are_one_reject(recipe, root, out):
    (root / "sub").mkdir()
    (root / "anna.flac").write_bytes(b"1")
    corpus = recipe.corpus()

    def twice(root: Path) -> Tables:
        rows = Rows("toy")
        speaker = rows.speaker("anna")
        rows.utterance("anna.wav", speaker, language="en")
        rows.utterance("anna.flac", speaker, language="en")
        return rows.tables()

    result = ingest(Corpus(**{**corpus.__dict__, "scan": twice}), root, out, KEY)
    assert (result.utterances, result.rejects) == (0, 1)
    assert "utt_id twice" in result.reason


def test_other_errors_of_a_recipe_are_not_hidden(recipe, root, out):
    recipe.error = KeyError("a mistake in the recipe")
    with pytest.raises(KeyError):
        ingest(recipe.corpus(), root, out, KEY)
    assert not (out / "toy").exists()


def test_what_a_killed_run_left_is_cleaned(recipe, root, out):
    ingest(recipe.corpus(), root, out, KEY)
    half = out / ".partial" / "toy"
    half.mkdir(parents=True)
    (half / "speaker.parquet").write_bytes(b"half")
    assert not ingest(recipe.corpus(), root, out, KEY).changed
    assert not half.exists()
    # killed between the two renames: the old folder is aside, the new one not yet in place
    (out / "toy").rename(out / ".previous" / "toy")
    assert not ingest(recipe.corpus(), root, out, KEY).changed
    assert read(out, "speaker").height == 2
    assert recipe.scans == 1


@pytest.mark.parametrize("step", ["write_table", "rename"])
def test_killed_at_any_step_the_next_run_is_whole(recipe, root, out, monkeypatch, step):
    ingest(recipe.corpus(), root, out, KEY)
    (root / "carl.wav").write_bytes(b"3")
    owner = pq.ParquetWriter if step == "write_table" else Path
    plain, calls = getattr(owner, step), []

    def kill(self, *args, **kwargs):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, step, kill)
        ingest(recipe.corpus(), root, out, KEY)
    assert ingest(recipe.corpus(), root, out, KEY).speakers == 3
    assert read(out, "speaker").height == 3
    assert sorted(path.name for path in out.glob("*/*")) == [
        "corpus.json",
        *sorted(f"{t}.parquet" for t in (*module.TABLES, pitch.TABLE)),
    ]


def test_links_out_of_the_folder_are_not_followed(recipe, root, out, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "dora.wav").write_bytes(b"4")
    (root / "dora.wav").symlink_to(tmp_path / "secret" / "dora.wav")
    (root / "emil.wav").symlink_to("anna.wav")  # stays inside
    result = ingest(recipe.corpus(), root, out, KEY)
    assert read(out, "utterance")["path"].to_list() == ["anna.wav", "bert.wav", "emil.wav"]
    assert read(out, "reject")["path"].to_list() == ["dora.wav"]
    assert keyed(KEY, "toy:dora") not in set(read(out, "observation")["utt_id"].drop_nulls())
    assert result.rejects == 1


def test_corpus_folder_may_itself_be_a_link(recipe, root, out, tmp_path):
    elsewhere = root.rename(tmp_path / "disk")
    root.symlink_to(elsewhere)
    assert ingest(recipe.corpus(), root, out, KEY).utterances == 2


def test_miniature_is_rendered_once_and_marked(recipe, tmp_path, out):
    root = tmp_path / "raw" / "toy"
    assert render_miniature(recipe.corpus(), root, Voices(1.0))
    assert not render_miniature(recipe.corpus(), root, Voices(1.0))
    assert ingest(recipe.corpus(), root, out, KEY).synthetic
    assert card(out)["synthetic"] is True
    assert render_miniature(recipe.corpus(), root, Voices(0.5))
    assert sorted(path.name for path in root.iterdir()) == ["SYNTHETIC.txt", "p0.wav", "p1.wav"]


def test_miniature_never_replaces_real_data(recipe, root):
    with pytest.raises(RecipeError, match=r"without SYNTHETIC\.txt"):
        render_miniature(recipe.corpus(), root, Voices(1.0))
    assert (root / "anna.wav").read_bytes() == b"1"


def test_miniature_that_failed_leaves_nothing(recipe, tmp_path):
    root = tmp_path / "raw" / "toy"
    recipe.error = RecipeError("no voices")
    with pytest.raises(RecipeError):
        render_miniature(recipe.corpus(), root, Voices(1.0))
    assert not root.exists()
    recipe.error = None
    assert render_miniature(recipe.corpus(), root, Voices(1.0))


def test_id_key_is_made_once_and_private(tmp_path, monkeypatch):
    monkeypatch.delenv("SLAP_ID_KEY", raising=False)
    key = id_key(tmp_path)
    assert len(key) == 32 and id_key(tmp_path) == key
    assert (tmp_path / ".id_key").stat().st_mode & 0o777 == 0o600
    assert id_key(tmp_path / "other") != key
    monkeypatch.setenv("SLAP_ID_KEY", "from the environment")
    assert id_key(tmp_path) == b"from the environment"


def test_damaged_id_key_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.delenv("SLAP_ID_KEY", raising=False)
    (tmp_path / ".id_key").write_text("abc")
    with pytest.raises(ValueError, match="64 hexadecimal"):
        id_key(tmp_path)
    assert (tmp_path / ".id_key").read_text() == "abc"
