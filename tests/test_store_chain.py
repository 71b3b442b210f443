"""The whole chain on an object store: shards, manifest, training, checkpoints, vectors; byte for byte as on a disk."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from benchmark.embed import embed, load_embeddings, utterance_ids
from benchmark.embedders import SlapEmbedder
from benchmark.files import file_hash
from pipelines import manifest as manifests
from pipelines import shards, withdraw
from pipelines.settings import Settings, SettingsError, from_environment, store_of
from slap_model import distributed, mirror, store
from slap_model.distributed import LostRankError
from slap_model.manifest import Manifest, ManifestError, withdrawn_on
from slap_model.model import Slap
from slap_model.store import StoreError
from slap_model.train import Stopped, main, train
from tests import houses
from tests.s3 import Store
from tests.slap_model import made
from tests.test_shards import KEY, corpus

STEPS = 4
TEXTS = {"sex=female": "A woman.", "sex=male": "A man."}


@dataclass(frozen=True)
class House:
    """A warehouse, the store of its large files, and what the chain left there."""

    warehouse: Path
    large: Path
    manifest: Path
    run: Path
    vectors: Path

    @property
    def tars(self) -> list[Path]:
        return store.listing(self.large / "shards" / "toy", "*.tar")

    def content(self) -> dict[str, bytes]:
        """Of every file in the store, by its path there; what the trainer keeps on its own disk is not compared."""
        patterns = ("*", "*/*", "*/*/*", "*/*/*/*")
        files = [file for pattern in patterns for file in store.listing(self.large, pattern)]
        names = {file: file.relative_to(self.large).as_posix() for file in files}
        parts = ("shards/", "manifests/", "captions/", "embeddings/", "checkpoints/toy/step-")
        return {
            name: store.content(file)
            for file, name in names.items()
            if name.startswith(parts) and name not in ("shards/toy/index.parquet", *SUMMARIES)
        }


SUMMARIES = ("shards/toy/sizes.json", "shards/toy/rejects.json")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads have other last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twenty speakers with a tone each, and what sharding reads of them: meta.db, facts and captions."""
    house = tmp_path / "house"
    (tmp_path / "raw").mkdir()
    (house / "captions").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, facts = [], []
    for number in range(20):
        time = np.arange(12_800) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (220 if number % 2 else 110) * time) + 0.01 * rng.standard_normal(len(time))
        soundfile.write(tmp_path / "raw" / f"{number}.wav", tone, 16_000)
        split = "train" if number < 16 else "test"
        row = {"utt_id": f"{number:020d}", "path": f"{number}.wav", "speaker_id": f"toy:{number}", "split": split}
        rows.append(row)
        fact = "sex=female" if number % 2 else "sex=male"
        facts.append({"utt_id": row["utt_id"], "corpus": "toy", "split": split, "fact_hash": fact, "facts": [fact]})
    (tmp_path / "raw" / "3.wav").write_bytes(b"RIFF but not really a sound file")
    houses.toy(house / "meta.db", rows)
    pl.DataFrame(facts).write_parquet(house / "captions" / "facts.parquet")
    said = [{"fact_hash": fact, "k": 0, "language": "en", "text": text, "used": [fact]} for fact, text in TEXTS.items()]
    pl.DataFrame(said).write_parquet(house / "captions" / "captions.parquet")
    vectors = rng.standard_normal((2, 8)).astype(np.float32).tolist()
    pl.DataFrame({"text": list(TEXTS.values()), "vector": vectors}).write_parquet(
        house / "captions" / "vectors-x.parquet"
    )
    return tmp_path / "raw"


@pytest.fixture
def build(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Makes a house whose large files lie where it is told."""
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", 6)
    monkeypatch.setattr(manifests, "_seen", lambda *_: {"languages": ["en"], "labels": ["sex"]})

    def shard(warehouse: Path, large: Path) -> Path:
        shards.shard_corpus(
            corpus(),
            raw,
            warehouse / "meta.db",
            warehouse / "captions",
            large / "shards" / "toy",
            KEY,
            summary=warehouse / "shards" / "toy",
        )
        vectors = warehouse / "captions" / "vectors-x.parquet"
        path, _ = manifests.write(warehouse, {"toy": 1.0}, vectors=vectors, tower="x", split_hash="s", root=large)
        return path

    def house(name: str, large: Path | None = None) -> House:
        warehouse = tmp_path / name
        shutil.copytree(tmp_path / "house", warehouse)
        large = large or warehouse
        path = shard(warehouse, large)
        run = warehouse / "checkpoints" / "toy"
        arguments = ["--config", str(made.TINY), "--manifest", str(path), "--out", str(run)]
        arguments += ["--set", "train.checkpoint_every=2", "--set", "train.workers=1"]
        arguments += [] if large == warehouse else ["--mirror", str(large / "checkpoints" / "toy")]
        assert main(arguments) == 0
        embedder = SlapEmbedder.of(Slap.from_checkpoint(run))
        tars = store.listing(large / "shards" / "toy", "*.tar")
        vectors = embed(embedder, tars, large / "embeddings")
        return House(warehouse, large, path, run, vectors)

    house.shard = shard  # type: ignore[attr-defined]
    yield house


def test_all_is_as_on_a_disk(build, s3: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    here = build("here")
    there = build("there", store.place(f"{s3.bucket}/warehouse"))
    read = [request for request in s3.requests if request.line.startswith("GET") and ".tar" in request.line]
    ours, theirs = here.content(), there.content()
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert sum(name.endswith(".tar") for name in theirs) == 4
    assert sum(name.startswith("embeddings/") for name in theirs) == 4
    assert sum(name.startswith("checkpoints/") for name in theirs) == 6  # two steps of three files
    # Summaries, which DuckDB reads, stay in the warehouse.
    for name in ("index.parquet", *(summary.rpartition("/")[2] for summary in SUMMARIES)):
        one, other = (house.warehouse / "shards" / "toy" / name for house in (here, there))
        assert one.read_bytes() == other.read_bytes()
    assert not list(there.warehouse.glob("shards/*/*.tar"))

    ranged = [request for request in read if request.range]
    assert len(ranged) == 2 * STEPS * 8  # a clip each: for the statistics of the input, and to train
    assert len(read) - len(ranged) == 4  # tars that are fetched once each to embed them

    one, other = (load_embeddings(house.vectors, house.tars) for house in (here, there))
    assert one.equals(other)
    for near, far in zip(here.tars, there.tars, strict=True):
        assert file_hash(near) == file_hash(far)
        assert utterance_ids(near) == utterance_ids(far)
    s3.heal()
    embed(SlapEmbedder.of(Slap.from_checkpoint(there.run)), there.tars, there.large / "embeddings")
    assert not [request for request in s3.requests if request.line.startswith("PUT")]  # nothing is computed twice


def test_all_is_as_on_a_disk_while_the_store_stumbles(build, s3: Store) -> None:  # type: ignore[no-untyped-def]
    here = build("here")
    faults = [
        s3.fail(r"PUT .*train-00000\.tar", "tear", times=2),
        s3.fail(r"PUT .*\.parquet", "status", times=2, code=500),
        s3.fail(r"GET .*\.tar", "cut", times=2),
        s3.fail(r"GET .*\.tar", "status", times=2, code=503),
        s3.fail(r"GET .*\.parquet", "drop", times=2),
        s3.fail(r"PUT .*model\.safetensors", "drop", times=1),
        s3.fail(r"PUT .*checkpoint\.json", "hang", times=1),
        s3.fail(r"GET .*list-type", "status", times=2, code=503),
    ]
    there = build("there", store.place(f"{s3.bucket}/warehouse"))
    assert [fault.done for fault in faults] == [fault.times for fault in faults]
    theirs = there.content()
    assert [name for name, content in here.content().items() if name in theirs and content != theirs[name]] == []
    assert len(theirs) == 4 * 2 + 1 + 3 + 6 + 4


def test_a_crash_between_tar_and_index_leaves_the_shard_to_be_written(build, s3: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    warehouse = tmp_path / "house"
    large = store.place(f"{s3.bucket}/warehouse")
    build.shard(warehouse, large)
    index = large / "shards" / "toy" / "train-00001.parquet"
    before = store.content(index)
    store.remove(index)
    s3.heal()
    path = build.shard(warehouse, large)
    assert store.content(index) == before
    written = [
        request.line.split()[1]
        for request in s3.requests
        if request.line.startswith("PUT") and "/shards/" in request.line
    ]
    assert [name.rpartition("/")[2] for name in written] == ["train-00001.tar", "train-00001.parquet"]
    assert Manifest.load(path).shards[1]["path"] == "shards/toy/train-00001.tar"


def test_another_machine_goes_on_from_the_newest_complete_checkpoint(  # type: ignore[no-untyped-def]
    build, s3: Store, tmp_path: Path
) -> None:
    large = store.place(f"{s3.bucket}/warehouse")
    manifest = Manifest.load(build.shard(tmp_path / "house", large))
    settings = made.settings("train.steps=6", "train.checkpoint_every=2")
    whole = train(settings, manifest, tmp_path / "whole")
    mirrored = large / "checkpoints" / "toy"

    asked = iter([0, 0, 0, 0, 15])
    with pytest.raises(Stopped):
        train(settings, manifest, tmp_path / "first", None, lambda: next(asked), mirrored)
    assert mirror.newest(mirrored) == "step-00000005"
    store.write(mirrored / "step-00000006" / "model.safetensors", b"of a machine that died while it sent it")
    assert mirror.newest(mirrored) == "step-00000005"

    final = train(settings, manifest, tmp_path / "second", None, mirrored=mirrored)
    for file in whole.iterdir():
        assert file.read_bytes() == (final / file.name).read_bytes()
        assert file.read_bytes() == store.content(mirrored / final.name / file.name)
    kept = sorted({file.parent.name for file in store.listing(mirrored, "step-*/*")})
    assert (
        kept == sorted(path.name for path in (tmp_path / "second").glob("step-*")) == ["step-00000005", "step-00000006"]
    )

    third = train(settings, manifest, tmp_path / "third", None, mirrored=mirrored)  # it is done: only fetched
    assert (third / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list(tmp_path.glob("*/.*"))


def test_a_store_out_of_order_costs_no_training(  # type: ignore[no-untyped-def]
    build, s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "TRIES", 1)
    monkeypatch.setattr(store, "TRIES_OF_A_BODY", 1)
    large = store.place(f"{s3.bucket}/warehouse")
    manifest = Manifest.load(build.shard(tmp_path / "house", large))
    mirrored = large / "checkpoints" / "toy"
    settings = made.settings("train.checkpoint_every=1")
    s3.fail("PUT .*step-00000002/model", "status", times=1000)
    train(settings, manifest, tmp_path / "run", None, mirrored=mirrored)
    assert "warning: step-00000002 is on this machine only: s3://" in capfd.readouterr().err
    assert mirror.newest(mirrored) == "step-00000004"

    s3.heal()
    fault = s3.fail("PUT .*step-00000004/checkpoint", "status", times=1000)
    for file in store.listing(mirrored, "*/*"):
        store.remove(file)
    shutil.rmtree(tmp_path / "run" / "step-00000004")
    with pytest.raises(StoreError, match=r"step-00000004/checkpoint\.json: the store answers with an error"):
        train(settings, manifest, tmp_path / "run", None, mirrored=mirrored)
    assert fault.done
    assert mirror.newest(mirrored) == "step-00000003"
    s3.heal()
    train(settings, manifest, tmp_path / "run", None, mirrored=mirrored)  # done, and put where it was missing
    assert mirror.newest(mirrored) == "step-00000004"


def test_the_trainer_says_what_is_wrong_with_the_store(  # type: ignore[no-untyped-def]
    build, s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def says(url: str) -> str:
        capsys.readouterr()
        arguments = ["--config", str(made.TINY), "--manifest", url, "--out", str(tmp_path / "run")]
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert "Traceback" not in said
        return said

    large = store.place(f"{s3.bucket}/warehouse")
    path = build.shard(tmp_path / "house", large)
    assert "no manifest there" in says(f"{s3.bucket}/warehouse/manifests/absent.json")
    assert "there is no bucket slap-none" in says("s3://slap-none/manifests/absent.json")
    assert "a user or a password" in says("s3://me:hunter2@bucket/manifests/absent.json")
    index = store.listing(large / "shards" / "toy", "train-*.parquet")[0]
    store.remove(index)
    assert "train-00000.parquet: named by the manifest but absent" in says(str(path))
    values = json.loads(store.content(path))
    values["facts"]["path"] = "../elsewhere.parquet"
    store.write(path, json.dumps(values).encode())
    assert "leaves the warehouse" in says(str(path))


def test_a_store_that_hangs_is_said_so_by_the_process_that_loads(  # type: ignore[no-untyped-def]
    build, s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store, "TRIES", 2)
    monkeypatch.setattr(store, "TRIES_OF_A_BODY", 1)
    monkeypatch.setenv("SLAP_STORE_TIMEOUT", "0.5")
    path = build.shard(tmp_path / "house", store.place(f"{s3.bucket}/warehouse"))
    with pytest.raises(Stopped):  # the first batch of a run that goes on is read in another process
        train(made.settings(), Manifest.load(path), tmp_path / "run", asked_to_stop=lambda: 15)
    fault = s3.fail(r"GET .*\.tar", "hang", times=1000)
    asked = ["--config", str(made.TINY), "--manifest", str(path), "--out", str(tmp_path / "run")]
    capfd.readouterr()
    assert main([*asked, "--set", "train.workers=1"]) == 2
    (said,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    tar, _, why = said.removeprefix(f"error: {s3.bucket}/warehouse/shards/toy/").partition(": ")
    assert tar in {f"train-{number:05d}.tar" for number in range(3)}
    assert (
        why == "no answer in time (0.5 s a try, again and again): see the store's health, or raise SLAP_STORE_TIMEOUT"
    )
    assert fault.done >= 2
    assert not multiprocessing.active_children()


def test_processes_wait_for_one_whose_store_hangs(  # type: ignore[no-untyped-def]
    build, s3: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def started(device: str, patience: float) -> NoReturn:
        waited.append(patience)
        raise LostRankError("as if")

    monkeypatch.setattr(distributed, "started", started)
    monkeypatch.setenv("SLAP_STORE_TIMEOUT", "200")
    for large in (tmp_path / "house", store.place(f"{s3.bucket}/warehouse")):
        path = build.shard(tmp_path / "house", large)
        asked = ["--config", str(made.TINY), "--manifest", str(path), "--out", str(tmp_path / "run")]
        assert main([*asked, "--set", "train.patience=7"]) == 3
    assert waited == [7, store.TRIES * 200 + store.PAUSES_S + 300]


def test_a_mark_of_withdrawal_beside_the_manifest_is_seen(build, s3: Store, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = build.shard(tmp_path / "house", store.place(f"{s3.bucket}/warehouse"))
    assert withdrawn_on(path) == ""
    store.write(path.with_suffix(".withdrawn"), date.today().isoformat().encode())
    assert withdrawn_on(path) == date.today().isoformat()
    with pytest.raises(ManifestError, match="no manifest there"):
        Manifest.load(path.with_name("absent.json"))


# --- settings ---


def test_the_store_of_the_settings(s3: Store, tmp_path: Path) -> None:
    told = {"SLAP_WAREHOUSE": str(tmp_path), "SLAP_STORE": f"{s3.bucket}/house/"}
    settings = from_environment("demo", told)
    assert str(settings.shards_store) == f"{s3.bucket}/house/shards"
    assert settings.shards == tmp_path / "shards"
    assert settings.apart
    settings.claim()
    assert json.loads((tmp_path / "run.json").read_text())["store"] == f"{s3.bucket}/house"
    # Later commands find it without being told.
    assert from_environment("demo", {"SLAP_WAREHOUSE": str(tmp_path)}).store == settings.store
    assert store_of(tmp_path, {}) == settings.store
    settings.claim()
    other = replace(settings, warehouse=tmp_path / "other", raw=tmp_path / "other" / "raw")
    with pytest.raises(SettingsError, match=r"holds what another warehouse made.*remove s3://.*/house/warehouse\.json"):
        other.claim()
    from_environment("demo", {**told, "SLAP_STORE": str(tmp_path)}).claim()  # here for a while, and there again
    assert not from_environment("demo", {"SLAP_WAREHOUSE": str(tmp_path)}).apart
    from_environment("demo", told).claim()


def test_a_store_that_is_not_mounted_is_refused(tmp_path: Path) -> None:
    settings = from_environment("demo", {"SLAP_WAREHOUSE": str(tmp_path / "w"), "SLAP_STORE": str(tmp_path / "drive")})
    settings.claim()
    settings.claim()
    (tmp_path / "drive").rename(tmp_path / "unmounted")
    with pytest.raises(SettingsError, match="is the drive mounted"):
        settings.claim()
    with pytest.raises(SettingsError, match="is the drive mounted"):
        withdraw.find(settings, "voces", "quill00")
    assert not (tmp_path / "drive").exists()
    (tmp_path / "unmounted").rename(tmp_path / "drive")
    for elsewhere in (tmp_path / "other", None):
        with pytest.raises(SettingsError, match=rf"is not where the last run worked: set SLAP_STORE={settings.store}"):
            withdraw.find(replace(settings, store_at=elsewhere), "voces", "quill00")
    with pytest.raises(withdraw.UnknownSpeakerError):
        withdraw.find(settings, "voces", "quill00")
    shutil.rmtree(tmp_path / "drive")
    run = tmp_path / "w" / "run.json"
    note = json.loads(run.read_text())
    run.write_text(json.dumps({name: value for name, value in note.items() if name != "store"}))  # as the message says
    settings.claim()
    assert json.loads(run.read_text()) == note


def test_without_a_store_all_lies_in_the_warehouse(tmp_path: Path) -> None:
    for told in ({}, {"SLAP_STORE": str(tmp_path)}):
        settings = from_environment("demo", {"SLAP_WAREHOUSE": str(tmp_path), **told})
        assert not settings.apart
        assert settings.shards_store == settings.shards == tmp_path / "shards"
        settings.claim()
        assert json.loads((tmp_path / "run.json").read_text()) == {"mode": "demo", "raw": str(tmp_path / "raw")}
    assert isinstance(Settings().checkpoints, Path)


def test_a_store_that_cannot_be_used_is_refused_before_any_work(s3: Store, tmp_path: Path) -> None:
    def settings(url: str) -> Settings:
        return from_environment("demo", {"SLAP_WAREHOUSE": str(tmp_path), "SLAP_STORE": url})

    with pytest.raises(SettingsError, match=r"SLAP_STORE: .*a user or a password") as told:
        settings("s3://me:hunter2@bucket/x")
    assert "hunter2" not in str(told.value)
    with pytest.raises(SettingsError, match=r"SLAP_STORE: .*no object store that is known"):
        settings("ftp://server/x")
    with pytest.raises(SettingsError, match=r"SLAP_STORE: .*there is no bucket slap-none: make it first"):
        settings("s3://slap-none/x").claim()
    assert not (tmp_path / "run.json").exists()
