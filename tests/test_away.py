"""A corpus that is away as a whole keeps its tars, and nothing counts them; a person in them can still withdraw."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from pipelines import ingest, shards, withdraw
from pipelines.assets.benchmark import benchmark_shards
from pipelines.assets.model import current_manifest
from pipelines.cli import main
from pipelines.corpora._base import corpora
from pipelines.definitions import definitions
from pipelines.settings import Settings, from_environment
from slap_model.manifest import Manifest
from tests.test_withdraw import KEY, Killed, World, ask, found_in, traces_of, write_raw

BOTH = "voces,popgen"
SMALL = {"SLAP_CONFIG": "demo", "SLAP_ID_KEY": KEY, "SLAP_ONLY": BOTH, "OMP_NUM_THREADS": "1"}
REST = ("meta_db", "captions", "voces_shards", "popgen_shards", "text_vectors", "manifest")


def run(*tables: str) -> dg.ExecuteInProcessResult:
    """A run as far as the manifest; without ``tables`` those of all corpora are left as they are but for two."""
    names = [*(f"{name}_tables" for name in tables or ("voces", "popgen")), *REST]
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("run").execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey(name) for name in names]
        )
    assert result.success
    return result


def said(result: dg.ExecuteInProcessResult, asset: str, name: str) -> object:
    """What an asset noted under a name."""
    (event,) = (e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset))
    return event.materialization.metadata[name].value


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with ``raw`` and the ``warehouse`` of a run on both corpora."""
    home = tmp_path_factory.mktemp("away")
    write_raw(home / "raw")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SLAP_")]:
            patch.delenv(name)
        places = {"SLAP_RAW": home / "raw", "SLAP_WAREHOUSE": home / "warehouse", "DAGSTER_HOME": home}
        for name, value in (SMALL | places).items():
            patch.setenv(name, str(value))
        patch.setattr(shards, "UTTERANCES_PER_SHARD", 5)
        patch.setattr(ingest, "_contents", lambda _: [])  # nobody who edits a recipe meanwhile makes a run read again
        run(*corpora())
        yield home


@pytest.fixture
def raw(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The raw folder, as it was again after the test, and a warehouse of the test's own."""
    shutil.copytree(finished / "warehouse", tmp_path / "warehouse")
    monkeypatch.setenv("SLAP_WAREHOUSE", str(tmp_path / "warehouse"))
    yield finished / "raw"
    come_back(finished / "raw", monkeypatch)


def go(raw: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """popgen is away from now on."""
    if how == "left out":
        monkeypatch.setenv("SLAP_ONLY", "voces")
        return
    (raw / "popgen").rename(raw.parent / "elsewhere")


def come_back(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_ONLY", BOTH)
    if (raw.parent / "elsewhere").exists():
        (raw.parent / "elsewhere").rename(raw / "popgen")


def settings() -> Settings:
    return from_environment("real")


def tars() -> dict[str, tuple[bytes, int]]:
    """Bytes and time of the tars of popgen and their indexes."""
    files = [*settings().shards.glob("popgen/*.tar"), *settings().shards.glob("popgen/*-*.parquet")]
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def nothing_counts_them() -> bool:
    """Whether no list of the run names a tar of popgen or what is in it, and the rest adds up."""
    now = settings()
    folder = now.shards / "popgen"
    summary = [json.loads((folder / name).read_text()) for name in ("sizes.json", "rejects.json")]
    assert summary == [{}, []]
    assert pl.read_parquet(folder / "index.parquet").height == 0
    assert ask(now.warehouse, "SELECT DISTINCT corpus FROM recording") == [("voces",)]
    assert ask(now.warehouse, 'SELECT corpus FROM accounting WHERE missing + "unknown" + twice > 0') == []
    return not benchmark_shards(now).get("popgen")


@pytest.mark.parametrize("how", ["folder gone", "left out"])
def test_tars_stay_and_nothing_counts_them_until_the_corpus_is_back(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    before, manifest = tars(), Manifest.load(current_manifest(settings()))
    assert len(before) > 4
    go(raw, how, monkeypatch)
    away = run()
    assert tars() == before
    assert nothing_counts_them()
    assert {shard["corpus"] for shard in Manifest.load(current_manifest(settings())).shards} == {"voces"}
    assert said(away, "popgen_shards", "tars_of_a_corpus_that_is_away") == len(before) / 2
    assert f"its {len(before) // 2} tars stay in {settings().shards / 'popgen'} for when it is back" in caplog.text
    come_back(raw, monkeypatch)
    back = run()
    assert said(back, "popgen_shards", "written_now") == 0
    assert tars() == before
    assert Manifest.load(current_manifest(settings())) == manifest
    assert not (settings().tables / ingest.AWAY / "popgen").exists()


def test_who_removes_the_tars_of_a_corpus_that_is_away_is_rid_of_it(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(raw, "folder gone", monkeypatch)
    run()
    assert (settings().tables / ingest.AWAY / "popgen").is_dir()
    shutil.rmtree(settings().shards / "popgen")
    run()
    assert nothing_counts_them()
    assert not any("quill00-p" in path.read_text("latin-1") for path in settings().tables.rglob("*") if path.is_file())
    assert not (settings().tables / ingest.AWAY / "popgen").exists()


def person(raw: Path, whose: str) -> World:
    """Somebody of both corpora who is trained on, or somebody of popgen alone."""
    warehouse = settings().warehouse
    people = f"SELECT person_id FROM person_split WHERE person_id LIKE '{whose}' AND split = 'train' ORDER BY 1"
    name = str(ask(warehouse, people)[0][0])
    owner_id = f"quill{name[-2:]}" if name.startswith("family:") else name.removeprefix("popgen:")
    return World(raw, warehouse, owner_id, *traces_of(raw, warehouse, name, owner_id))


def leave(world: World) -> None:
    speaker = world.owner_id if world.owner_id.endswith("-p") else f"{world.owner_id}-p"
    done = CliRunner().invoke(main, ["withdraw", "popgen", speaker, "--yes"], env={"SLAP_RAW": ""})
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("how", "whose"), [("folder gone", "family:%"), ("left out", "popgen:%")])
def test_who_withdraws_from_a_corpus_that_is_away_is_in_no_tar_of_it(
    raw: Path, monkeypatch: pytest.MonkeyPatch, how: str, whose: str
) -> None:
    world = person(raw, whose)
    before = tars()
    go(raw, how, monkeypatch)
    run()
    held = set(found_in(settings().shards / "popgen", world))
    assert held
    leave(world)
    assert found_in(world.warehouse, world) == {}
    after = tars()
    assert {name for name in before.keys() | after.keys() if before[name] != after.get(name)} == held
    assert nothing_counts_them()
    come_back(raw, monkeypatch)
    back = run()
    # Whether a tar is up to date rests on the owners' files: who cannot see them has those of the person written again.
    again = {name.partition(".")[0] for name in held & after.keys()}
    assert said(back, "popgen_shards", "written_now") == (0 if how == "left out" else len(again))
    assert found_in(world.warehouse, world) == {}
    assert {name: file[0] for name, file in tars().items() if name.endswith(".tar")} == {
        name: file[0] for name, file in after.items() if name.endswith(".tar")
    }


@pytest.mark.slow
def test_a_withdrawal_killed_among_the_tables_that_are_away_is_taken_up_again(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = person(raw, "popgen:%")
    go(raw, "folder gone", monkeypatch)
    run()

    def killed(parent: Path, name: str) -> None:
        if parent.name == ingest.AWAY:
            (parent / ".previous").mkdir()
            (parent / name).rename(parent / ".previous" / name)
            raise Killed
        swap(parent, name)

    swap = ingest._swap
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "_swap", killed)
        with pytest.raises(Killed):
            withdraw.remove(settings(), withdraw.find(settings(), "popgen", world.owner_id))
    others = tars()
    assert found_in(world.warehouse, world)
    leave(world)
    assert found_in(world.warehouse, world) == {}
    assert tars() == others
    speakers = pl.read_parquet(settings().tables / ingest.AWAY / "popgen" / "speaker.parquet")
    assert speakers.height == 11
