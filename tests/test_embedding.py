from __future__ import annotations

import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from benchmark import registry
from benchmark.baselines import RandomVectors
from benchmark.embed import embed as embed_alone
from benchmark.embedders import Embedder, EmbedderError
from pipelines import embedding
from pipelines.assets.benchmark import EMBEDDERS
from pipelines.embedding import Source, Unit, embed, seen_by_nodes, write_vectors
from pipelines.guard import Note
from slap_model import store
from tests.s3 import Store
from tests.surface import FREE, write_checkpoint, write_corpora


@pytest.fixture
def tars(tmp_path: Path) -> list[Path]:
    write_corpora(tmp_path / "warehouse", tmp_path / "raw")
    return sorted((tmp_path / "warehouse" / "shards" / FREE.name).glob("*.tar"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """What is made, in its order."""
    seen = []
    make = Source.make

    def counted(source: Source) -> Embedder:
        seen.append(source)
        return make(source)

    monkeypatch.setattr(Source, "make", counted)
    return seen


def test_here_it_is_what_the_benchmark_does_with_the_model_that_is_there(
    tars: list[Path], tmp_path: Path, made: list[Source]
) -> None:
    embedder = RandomVectors()
    folder = embed(embedder, Source("random"), tars, tmp_path / "units")
    alone = embed_alone(embedder, tars, tmp_path / "alone")
    assert [file.name for file in sorted(folder.iterdir())] == [file.name for file in sorted(alone.iterdir())]
    assert all(file.read_bytes() == (alone / file.name).read_bytes() for file in folder.iterdir())
    assert len(tars) == 2
    assert not made
    assert not embedding._made, "the model would stay in memory"


def test_what_is_there_is_not_embedded_again(tars: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = embed(RandomVectors(), Source("random"), tars[:1], tmp_path / "out")
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    embed(RandomVectors(), Source("random"), tars, tmp_path / "out")
    assert len(list(folder.iterdir())) == 2
    assert all(file.stat().st_mtime_ns == then for file, then in before.items())


def test_a_process_loads_a_model_once(tars: list[Path], tmp_path: Path, made: list[Source]) -> None:
    print_of = RandomVectors().fingerprint
    for number, tar in enumerate(tars):  # each unit comes pickled
        unit = pickle.loads(pickle.dumps(Unit(Source("random"), print_of, tar, tmp_path / f"{number}.parquet")))
        write_vectors(unit, Note())
    assert made == [Source("random")]


def test_another_model_than_asked_for_writes_nothing(tars: list[Path], tmp_path: Path) -> None:
    unit = Unit(Source("random"), "f" * 64, tars[0], tmp_path / "vectors.parquet")
    with pytest.raises(EmbedderError, match=f"on {socket.gethostname()} its fingerprint is .*, not ffffffffffff"):
        write_vectors(unit, Note())
    assert not unit.target.exists()


def test_ours_is_made_from_its_checkpoint_in_the_precision_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    run = next((tmp_path / "checkpoints").iterdir())
    prints = {
        precision: Source("slap", run, precision=precision).make().fingerprint  # type: ignore[arg-type]
        for precision in ("fp32", "bf16")
    }
    assert len(set(prints.values())) == 2


def test_a_checkpoint_on_object_storage(tmp_path: Path, s3: Store) -> None:
    write_checkpoint(tmp_path)
    run = next((tmp_path / "checkpoints").iterdir())
    there = store.place(f"{s3.bucket}/checkpoints") / run.name
    for file in run.glob("step-*/*"):
        store.copy(file, there / file.parent.name / file.name)
    wave = [np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)]
    vectors = [Source("slap", where).make().embed_audio(wave) for where in (run, there)]
    assert np.array_equal(*vectors)


def test_nodes_see_the_store_and_perhaps_not_the_warehouse(tmp_path: Path) -> None:
    run, large = tmp_path / "checkpoints" / "slap-1", UPath("s3://bucket/slap")
    assert seen_by_nodes(run, tmp_path, tmp_path) == run
    assert seen_by_nodes(run, tmp_path, large) == large / "checkpoints" / "slap-1"
    assert seen_by_nodes(run / "step-00000002", tmp_path, large) == large / "checkpoints" / "slap-1"
    elsewhere = tmp_path / "shared"
    assert seen_by_nodes(elsewhere, tmp_path, large) == elsewhere


@pytest.mark.parametrize("name", [*EMBEDDERS, "mteb:openai/whisper-tiny"])
def test_every_embedder_is_found_by_what_its_source_says(name: str) -> None:
    asked = registry.entry(name).asked_for
    assert registry.entry(asked).name == registry.entry(name).name
