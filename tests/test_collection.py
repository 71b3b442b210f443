"""`slap embed`: folders of recordings as vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines import audio, collection
from pipelines.collection import CollectionError, Model, embed_corpora, embed_folder, load_model
from slap_model.model import CheckpointError
from tests.surface import FREE, tone, write_checkpoint, write_corpora


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_checkpoint(tmp_path / "warehouse")
    return load_model(tmp_path / "warehouse")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings, one of them twice, one broken, and what is none."""
    root = tmp_path / "voices"
    for number, name in enumerate(("b.wav", "a/one.flac", "a/TWO.WAV")):
        tone(root / name, 110 + 50 * number, 0.2 + number)
    shutil.copy(root / "b.wav", root / "copy.wav")
    (root / "broken.wav").write_bytes(b"RIFF but nothing more")
    (root / "notes.txt").write_text("no recording")
    (root / ".cache").mkdir()
    shutil.copy(root / "b.wav", root / ".cache" / "hidden.wav")
    return root


@pytest.fixture
def embedded(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many waves the encoder got, call by call."""
    counts: list[int] = []

    def counted(embedder: object, waves: Sequence[audio.Wave]) -> list[np.ndarray]:
        counts.append(len(waves))
        return original(embedder, waves)  # type: ignore[arg-type,return-value]

    original = collection.embed_waves
    monkeypatch.setattr(collection, "embed_waves", counted)
    return counts


def test_a_row_for_each_recording(model: Model, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "voices.parquet"
    seen: list[tuple[int, int]] = []
    done = embed_folder(model, folder, file, progress=lambda n, of: seen.append((n, of)))
    rows = pl.read_parquet(file)
    assert rows["path"].to_list() == ["a/TWO.WAV", "a/one.flac", "b.wav", "copy.wav"]
    assert rows["seconds"].to_list() == [2.2, 1.2, 0.2, 0.2]
    assert (done.new, done.rejects, done.others) == (3, 1, 1)
    assert done.seconds == pytest.approx(3.8)
    assert seen[-1] == (5, 5)
    assert set(rows["fingerprint"]) == {model.slap.fingerprint}
    wave = audio.load(folder / "a/one.flac")
    np.testing.assert_allclose(rows["vector"][1].to_numpy(), model.slap.embed_audio([wave])[0], atol=1e-5)
    joint = np.stack(rows["projected"].to_list())
    np.testing.assert_allclose(joint, model.slap.project(np.stack(rows["vector"].to_list())), atol=1e-6)
    rejects = pl.read_csv(file.with_suffix(".rejects.csv"))
    assert rejects["path"].to_list() == ["broken.wav"]
    assert "not audio or corrupt" in rejects["reason"][0]
    assert collection.root_of(file) == folder.resolve()
    assert not file.with_suffix(".parts").exists()


def test_what_is_unchanged_is_not_embedded_again(
    model: Model, folder: Path, tmp_path: Path, embedded: list[int]
) -> None:
    file = tmp_path / "voices.parquet"
    embed_folder(model, folder, file)
    first = pl.read_parquet(file)
    assert sum(embedded) == 3  # the copy has the same bytes
    again = embed_folder(model, folder, file)
    assert sum(embedded) == 3
    assert (again.new, again.known) == (0, 4)
    assert pl.read_parquet(file).equals(first)
    (folder / "b.wav").rename(folder / "renamed.wav")
    (folder / "a" / "one.flac").unlink()
    tone(folder / "a" / "TWO.WAV", 333.0)
    changed = embed_folder(model, folder, file)
    assert sum(embedded) == 4
    assert (changed.new, changed.known) == (1, 2)
    rows = pl.read_parquet(file)
    assert rows["path"].to_list() == ["a/TWO.WAV", "copy.wav", "renamed.wav"]
    assert rows["vector"][2].to_list() == first["vector"][2].to_list()
    other = write_checkpoint(tmp_path / "elsewhere", seed=1)
    assert embed_folder(load_model(tmp_path, other), folder, file).new == 2  # another model's vectors are no help


def test_a_command_that_was_stopped_goes_on(
    model: Model, folder: Path, tmp_path: Path, embedded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "AT_ONCE", 2)
    file = tmp_path / "voices.parquet"

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_folder(model, folder, file, progress=stop)
    assert sum(embedded) == 2
    assert not file.exists()
    assert embed_folder(model, folder, file).new == 1
    assert sum(embedded) == 3
    assert pl.read_parquet(file)["path"].to_list() == ["a/TWO.WAV", "a/one.flac", "b.wav", "copy.wav"]


def test_a_folder_of_nothing_but_broken_files_is_all_rejects(model: Model, tmp_path: Path) -> None:
    root = tmp_path / "broken"
    root.mkdir()
    (root / "x.wav").write_bytes(b"no")
    done = embed_folder(model, root, tmp_path / "broken.parquet")
    assert (done.new, done.known, done.rejects) == (0, 0, 1)
    assert pl.read_parquet(done.file).height == 0


def test_wrong_folders_and_names_are_said_so(model: Model, folder: Path, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    with pytest.raises(CollectionError, match="is no folder"):
        embed_folder(model, tmp_path / "nowhere", tmp_path / "x.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CollectionError, match=r"no recording in .*of 0 files none ends in"):
        embed_folder(model, tmp_path / "empty", tmp_path / "x.parquet")
    file = tmp_path / "voices.parquet"
    embed_folder(model, folder, file)
    tone(tmp_path / "others" / "x.wav", 200.0)
    with pytest.raises(CollectionError, match="give another --name"):
        embed_folder(model, tmp_path / "others", file)
    for bad in ("", "../out", ".hidden"):
        with pytest.raises(CollectionError, match="cannot name a collection"):
            collection.collection_file(warehouse, bad)
    with pytest.raises(CollectionError, match=r"no model in .*train one with"):
        load_model(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        load_model(warehouse, tmp_path / "empty")
    with pytest.raises(CollectionError, match="no shards of any corpus"):
        embed_corpora(model, warehouse, [])


def test_the_newest_training_is_taken(model: Model, tmp_path: Path) -> None:
    newer = write_checkpoint(tmp_path / "warehouse", seed=2, name="a-newer-one")
    assert load_model(tmp_path / "warehouse").folder == newer


def test_corpora_get_their_vectors_where_the_benchmark_looks(model: Model, tmp_path: Path) -> None:
    from benchmark.embed import embeddings_folder, load_embeddings

    warehouse = tmp_path / "warehouse"
    write_corpora(warehouse, tmp_path / "raw")
    tars = sorted((warehouse / "shards" / FREE.name).glob("*.tar"))
    assert embed_corpora(model, warehouse, [FREE.name]) == len(tars) == 2
    assert load_embeddings(embeddings_folder(model.embedder, warehouse / "embeddings"), tars).height == 6
    with pytest.raises(CollectionError, match=f"no shards of vctk .*there are .*{FREE.name}"):
        embed_corpora(model, warehouse, ["vctk"])


def test_a_training_that_goes_on_is_no_model_yet(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "warehouse")
    card = next((tmp_path / "warehouse" / "checkpoints").glob("slap-*/step-*/checkpoint.json"))
    values = json.loads(card.read_text())
    card.write_text(json.dumps({**values, "steps": values["step"] + 1}))
    with pytest.raises(CollectionError, match="has come to its end"):
        load_model(tmp_path / "warehouse")
    assert load_model(tmp_path / "warehouse", card.parent).folder == card.parent
