"""A speaker withdraws: nothing of the person is left, nothing else is lost, and no run brings the person back."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
from click.testing import CliRunner, Result

from benchmark import transfer
from pipelines import ingest, shards, withdraw, withdrawals
from pipelines.cli import main
from pipelines.corpora._base import Rows, corpora
from pipelines.definitions import definitions
from pipelines.schema import REJECT
from pipelines.settings import OWNER, PROJECT, Settings
from pipelines.withdrawals import Withdrawal, WithdrawalError
from slap_model import store
from tests.s3 import Store

KEY = "test key"
HASHED = partial(ingest.keyed, KEY.encode())
SMALL = {
    "SLAP_CONFIG": "demo",
    "SLAP_SET": "train.steps=2 train.batch=4 train.log_every=1 encoder.depth=1 encoder.dim=48",
    "SLAP_ID_KEY": KEY,
    "SLAP_ONLY": "voces,popgen",
    "OMP_NUM_THREADS": "1",
}
TRAINED = ("slap", "control")


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@dataclass(frozen=True)
class World:
    """A finished run on two corpora that share people, and the person who will withdraw."""

    raw: Path
    warehouse: Path
    owner_id: str  # in voces; in popgen it is "<owner_id>-p"
    words: tuple[str, ...]  # everything that names the person
    flacs: tuple[bytes, ...]  # a piece of each of the person's FLACs


def write_raw(raw: Path) -> None:
    """voces and popgen: 12 speakers each, 6 of them in both, with rejects that name people."""
    rng = np.random.default_rng(0)
    for corpus, suffix, state in (("voces", "", "depression"), ("popgen", "-p", "anxiety")):
        rows = [f"speaker,path,sex,age,person,{state}"]
        for number in range(12):
            owner_id = f"quill{number:02d}{suffix}"
            person = f"family:human{number:02d}" if number < 6 else ""
            for take in range(2):
                path = raw / corpus / owner_id / f"{owner_id}_take{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, rng.normal(0, 0.1, 16_000), 16_000)
                value = "present" if number % 2 else "absent"
                sex = "female" if number % 3 else "male"
                rows.append(f"{owner_id},{owner_id}/{path.name},{sex},{10 + 6 * number},{person},{value}")
            (raw / corpus / owner_id / f"{owner_id}_broken.wav").write_bytes(b"RIFF but no sound")
            rows.append(f"{owner_id},{owner_id}/{owner_id}_broken.wav,{sex},{10 + 6 * number},{person},{value}")
            soundfile.write(raw / corpus / owner_id / f"{owner_id}_unlisted.wav", rng.normal(0, 0.1, 16_000), 16_000)
        (raw / corpus / "metadata.csv").write_text("\n".join(rows) + "\n")


def run(raw: Path, warehouse: Path) -> dg.ExecuteInProcessResult:
    os.environ.update({"SLAP_RAW": str(raw), "SLAP_WAREHOUSE": str(warehouse)})
    unused = {f"{name}_shards" for name in corpora()} - {"voces_shards", "popgen_shards"}
    keys = definitions.resolve_asset_graph().materializable_asset_keys
    chosen = sorted(key for key in keys if key.to_user_string() not in unused)
    with dg.DagsterInstance.get() as instance:
        return definitions.resolve_job_def("run").execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=chosen
        )


def slap(world: World, *arguments: str, warehouse: Path | None = None) -> Result:
    """The command, without SLAP_RAW: it asks the warehouse where the raw folder is."""
    variables = {"SLAP_RAW": "", "SLAP_WAREHOUSE": str(warehouse or world.warehouse)}
    return CliRunner().invoke(main, ["withdraw", *arguments], env=variables)


def ask(warehouse: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(warehouse / "meta.db"), read_only=True) as connection:
        return connection.sql(query).fetchall()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("withdraw")
    raw, warehouse = home / "raw", home / "warehouse"
    write_raw(raw)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SLAP_")]:
            patch.delenv(name)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        patch.setenv("SLAP_RAW", str(raw))
        patch.setenv("SLAP_WAREHOUSE", str(warehouse))
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        (home / "dagster").mkdir()
        (home / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        patch.setattr(shards, "UTTERANCES_PER_SHARD", 5)
        patch.setattr(ingest, "_contents", lambda _: [])  # nobody who edits a recipe meanwhile makes a run read again
        patch.chdir(PROJECT)
        assert run(raw, warehouse).success
        yield World(raw, warehouse, *_person(raw, warehouse, "train"))


def _person(raw: Path, warehouse: Path, split: str) -> tuple[str, tuple[str, ...], tuple[bytes, ...]]:
    """Somebody of both corpora in a split."""
    query = f"SELECT person_id FROM person_split WHERE person_id LIKE 'family:%' AND split = '{split}' ORDER BY 1"
    ((person,), *_) = ask(warehouse, query)
    owner_id = f"quill{person[-2:]}"
    words, flacs = traces_of(raw, warehouse, person, owner_id)
    assert len(flacs) == 4
    return owner_id, words, flacs


def traces_of(raw: Path, warehouse: Path, person: str, owner_id: str) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Everything that names a person, and a piece of each of the person's FLACs."""
    utterances = ask(warehouse, f"SELECT utt_id FROM facts WHERE person_id = '{person}'")
    files = [path for path in raw.rglob(f"{owner_id}*") if path.is_file()]
    words = {owner_id, person, HASHED(person), *(utt_id for (utt_id,) in utterances)}
    words |= {path.name for path in files} | {shards.file_sha256(path) for path in files}
    flacs = []
    for tar in warehouse.glob("shards/*/*.tar"):
        with tarfile.open(tar) as archive:
            for member in archive:
                if member.name.removesuffix(".flac") in words:
                    content = archive.extractfile(member)
                    assert content is not None
                    flacs.append(content.read()[2000:2064])
    assert len(utterances) == len(flacs) * 3 / 2  # one in three is broken
    return tuple(sorted(words)), tuple(flacs)


@pytest.fixture
def world(finished: World, tmp_path: Path) -> World:
    """A copy that a test may spoil."""
    shutil.copytree(finished.warehouse, tmp_path / "warehouse")
    return World(finished.raw, tmp_path / "warehouse", finished.owner_id, finished.words, finished.flacs)


def texts(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what it holds packed: tables, members, rows."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".parquet":
        frame = pl.read_parquet(io.BytesIO(content))
        yield str(pl.read_parquet_metadata(io.BytesIO(content))).encode()
        yield json.dumps(frame.to_dicts(), default=str).encode()
    elif path.suffix == ".db" and content[8:12] == b"DUCK":
        with duckdb.connect(str(path), read_only=True) as connection:
            for (name,) in connection.sql("SELECT table_name FROM information_schema.tables").fetchall():
                yield connection.sql(f'FROM "{name}"').pl().write_json().encode()
    elif path.suffix == ".db":
        with sqlite3.connect(path) as connection:
            yield "\n".join(connection.iterdump()).encode()
    elif path.suffix == ".tar":
        with tarfile.open(path) as archive:
            for member in archive:
                yield member.name.encode()


def found_in(folder: Path, world: World) -> dict[str, set[str]]:
    """File -> which of the words that name the person stand in it."""
    hits: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            held = list(texts(path))
            said = {word for word in world.words if any(word.encode() in text for text in held)}
            said |= {"audio" for flac in world.flacs if any(flac in text for text in held)}
            if said or any(word in str(path) for word in world.words):
                hits[str(path.relative_to(folder))] = said
    return hits


def contents(warehouse: Path) -> dict[str, bytes]:
    """All files but the database, which says when it was built, and its checkpoints."""
    return {
        str(path.relative_to(warehouse)): path.read_bytes()
        for path in sorted(warehouse.rglob("*"))
        if path.is_file() and path.name != "meta.db" and "checkpoints" not in path.parts
    }


def facts(warehouse: Path) -> list[tuple[Any, ...]]:
    return ask(warehouse, "FROM facts ORDER BY utt_id")


def move_to(large: Path, warehouse: Path) -> None:
    """What is large goes to an object store, as if the run had been told of it."""
    for pattern in ("shards/*/*.tar", "shards/*/*-*.parquet", "manifests/*", "embeddings/*/*.parquet"):
        for file in warehouse.glob(pattern):
            store.put(file, large / file.relative_to(warehouse))
    for pattern in ("captions/*.parquet", "checkpoints/*/step-*/*"):
        for file in warehouse.glob(pattern):
            store.copy(file, large / file.relative_to(warehouse))
    note = json.loads((warehouse / "run.json").read_text())
    (warehouse / "run.json").write_text(json.dumps({**note, "store": str(large), "id": "test"}))
    store.write(large / OWNER, json.dumps({"id": "test"}).encode())


def test_a_withdrawal_from_an_object_store_ends_as_one_from_a_disk(
    world: World, finished: World, s3: Store, tmp_path: Path
) -> None:
    apart, large = tmp_path / "apart", store.place(f"{s3.bucket}/house")
    shutil.copytree(finished.warehouse, apart)
    move_to(large, apart)
    s3.heal()
    for warehouse in (world.warehouse, apart):
        result = slap(world, "voces", world.owner_id, "--yes", warehouse=warehouse)
        assert result.exit_code == 0, result.output
    assert f"{large}: earlier versions of objects, if the bucket keeps versions" in result.output
    files = [file for depth in ("*/*", "*/*/*", "*/*/*/*") for file in store.listing(large, depth)]
    left = {file.relative_to(large).as_posix(): store.content(file) for file in files}
    assert left == {name: (world.warehouse / name).read_bytes() for name in left}
    for kind in ("shards/voces/train-", "shards/popgen/", "captions/", "checkpoints/"):
        assert any(name.startswith(kind) for name in left), kind
    fetched = tmp_path / "fetched"
    for name, content in left.items():
        store.write(fetched / name, content)
    assert not found_in(fetched, world)
    local = [path for pattern in ("shards/*/*.tar", "embeddings/*/*.parquet") for path in world.warehouse.glob(pattern)]
    assert {path.relative_to(world.warehouse).as_posix() for path in local} <= left.keys()
    for name in ("index.parquet", "rejects.json", "sizes.json"):
        one, other = (warehouse / "shards" / "voces" / name for warehouse in (world.warehouse, apart))
        assert one.read_bytes() == other.read_bytes()
    assert not (apart / "manifests").exists() or not any((apart / "manifests").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_left_and_nobody_comes_back(world: World, finished: World) -> None:
    warehouse = world.warehouse
    before = found_in(warehouse, world)
    for kind in (
        "tables/voces",
        "tables/popgen",
        "tables/split",
        "meta.db",
        "captions/facts",
        "shards/voces",
        "shards/popgen",
        "embeddings",
    ):
        assert any(path.startswith(kind) for path in before), f"{kind} never held the person: the search is blind"
    learned, elsewhere = (warehouse / "scores" / name / transfer.FILE for name in ("mel-statistics", "random"))
    write_transfer(learned, "clac", "voces")
    write_transfer(elsewhere, "clac", "ewa_db")
    assert {path.name for path in (warehouse / "reports").iterdir()} >= {"leaderboard.json", "mteb", "CITATION.cff"}
    tars = {tar: (shards.file_sha256(tar), tar.stat().st_mtime_ns) for tar in warehouse.glob("shards/*/*.tar")}
    untouched = {tar: state for tar, state in tars.items() if str(tar.relative_to(warehouse)) not in before}
    assert untouched
    assert len(untouched) < len(tars)
    n_people = ask(warehouse, "SELECT count(*) FROM person_split")[0][0]
    rejects = ask(warehouse, "SELECT count(*) FROM reject")[0][0]

    dry = slap(world, "voces", world.owner_id, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert found_in(warehouse, world) == before
    assert not (warehouse / "withdrawals.csv").exists()
    assert slap(world, "voces", world.owner_id).exit_code == 1  # nobody said yes
    assert found_in(warehouse, world) == before

    done = slap(world, "voces", f"voces:{world.owner_id}", "--yes")
    assert done.exit_code == 0, done.output
    assert str(world.raw / "popgen" / f"{world.owner_id}-p") in done.output
    assert f"{world.raw / 'popgen'}: rows of the owners' own tables, and transcripts" in done.output
    assert (world.raw / "voces" / world.owner_id / f"{world.owner_id}_take0.wav").is_file()
    assert found_in(warehouse, world) == {}
    assert {tar: (shards.file_sha256(tar), tar.stat().st_mtime_ns) for tar in untouched} == untouched
    assert ask(warehouse, "SELECT count(*) FROM person_split")[0][0] == n_people - 1
    (row,) = pl.read_csv(warehouse / "withdrawals.csv").to_dicts()
    assert (row["speakers"], row["utterances"], row["corpora"]) == (2, 6, "popgen voces")
    assert {name.partition("-")[0] for name in row["checkpoints"].split()} == set(TRAINED)
    assert row["finished"]
    assert row["tars"] == len(tars) - len(untouched) > 0
    assert rejects - ask(warehouse, "SELECT count(*) FROM reject")[0][0] == 2 * (1 + 1) - 2  # broken, unlisted; a note
    board = (warehouse / "reports" / "leaderboard.md").read_text()
    assert "0/" in board
    assert not learned.exists(), "a transfer judged on the person's corpus is an aggregate over the person"
    assert elsewhere.is_file()
    exported = pl.read_parquet(warehouse / "reports" / "leaderboard.parquet")
    assert exported.filter(status="ok", corpus="voces").is_empty()
    assert not list((warehouse / "reports" / "mteb").rglob("voces*"))
    assert not (warehouse / "reports" / "space.json").exists(), "a map of vectors that are gone"

    rewritten = {tar: shards.file_sha256(tar) for tar in warehouse.glob("shards/*/*.tar")}
    tables = {path: path.stat().st_mtime_ns for path in warehouse.glob("tables/[pv]o[pc]*/*.parquet")}
    assert run(world.raw, warehouse).success
    assert found_in(warehouse, world) == {}
    assert {tar: shards.file_sha256(tar) for tar in warehouse.glob("shards/*/*.tar")} == rewritten
    assert {path: path.stat().st_mtime_ns for path in tables} == tables, "tables without the person were read anew"
    assert shards_written_afresh(world) == {
        tar.name: digest for tar, digest in rewritten.items() if tar.parent.name == "voces"
    }
    counted = [json.loads(path.read_text()) for path in warehouse.glob("scores/*/voces*.json")]
    assert counted
    old = {
        path.name: json.loads(path.read_text()) for path in finished.warehouse.glob("scores/mel-statistics/voces*.json")
    }
    new = {path.name: json.loads(path.read_text()) for path in warehouse.glob("scores/mel-statistics/voces*.json")}
    assert any(
        score["n_train_speakers"] == old[name]["n_train_speakers"] - 1
        for name, score in new.items()
        if score["status"] == "ok"
    )

    read_again(world)
    assert found_in(warehouse, world) == {}
    again = slap(world, "voces", world.owner_id, "--yes")
    assert again.exit_code == 0
    assert "nothing of the speaker is left" in again.output


@pytest.mark.slow
def test_a_tested_person_leaves_predictions_and_scores(world: World) -> None:
    warehouse = world.warehouse
    tested = World(world.raw, warehouse, *_person(world.raw, warehouse, "test"))
    before = found_in(warehouse, tested)
    assert any(path.startswith("predictions/slap/voces") for path in before)
    others = {path: path.stat().st_mtime_ns for path in warehouse.glob("scores/*/ewa_db*.json")}
    assert others
    done = slap(tested, "popgen", f"{tested.owner_id}-p", "--yes")
    assert done.exit_code == 0, done.output
    assert found_in(warehouse, tested) == {}
    assert found_in(warehouse, world), "another person went too"
    assert not list(warehouse.glob("scores/*/voces*")) + list(warehouse.glob("predictions/*/popgen*"))
    assert {path: path.stat().st_mtime_ns for path in others} == others
    (row,) = withdrawals.read(warehouse / "withdrawals.csv", HASHED)
    assert row.checkpoints == ""
    assert len(list(warehouse.glob("manifests/*.json"))) == 1
    assert not list(warehouse.glob("manifests/*.withdrawn"))


def write_transfer(file: Path, learned: str, judged: str) -> None:
    file.parent.mkdir(exist_ok=True)
    row = {"name": "sex", "train_corpus": learned, "test_corpus": judged, "macro_f1": 0.5}
    pl.DataFrame([row], schema=dict(transfer.SCHEMA)).write_parquet(file)


def shards_written_afresh(world: World) -> dict[str, str]:
    out = world.warehouse.parent / "afresh"
    out.mkdir()
    shutil.copy(world.warehouse / "shards" / "voces" / shards.BOUNDS, out)
    rows = shards.rows_to_cut("voces", world.warehouse / "meta.db", KEY.encode())
    words = shards._Words(world.warehouse / "captions", rows)
    for unit in shards.plan("voces", world.raw / "voces", rows, out):
        shards.write_shard(words.put_into(unit))
    return {tar.name: shards.file_sha256(tar) for tar in out.glob("*.tar")}


def read_again(world: World) -> None:
    """Tables from nothing, and meta.db."""
    settings = withdraw.of_last_run(Settings(warehouse=world.warehouse))
    for name in ("voces", "popgen"):
        shutil.rmtree(settings.tables / name)
        ingest.ingest(corpora()[name], world.raw / name, settings.tables, KEY.encode())
    withdraw._rebuild(settings)


# Function, which call of it, and whether the command is killed after the call or before it.
STEPS: list[tuple[Any, str, int, bool]] = [
    (withdrawals, "put", 1, True),
    (shards, "_write_index", 1, False),
    (shards, "take_out", 2, True),
    (shards, "summarise", 1, False),
    (withdraw._Texts, "remove", 1, True),
    (ingest, "_swap", 1, True),
    (withdraw, "_rebuild", 1, False),
    (withdraw, "_rebuild", 1, True),
    (withdrawals, "put", 2, False),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_anywhere_and_run_again_ends_the_same(
    world: World, finished: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slap(world, "voces", world.owner_id, "--yes").exit_code == 0
    whole = contents(world.warehouse)
    for place, name, time, late in STEPS:
        warehouse = tmp_path / f"{name} {time} {late}"
        shutil.copytree(finished.warehouse, warehouse)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed_at(getattr(place, name), time, late))
            with pytest.raises(Killed):
                slap(world, "voces", world.owner_id, "--yes", warehouse=warehouse)
        second = slap(world, "voces", world.owner_id, "--yes", warehouse=warehouse)
        assert second.exit_code == 0, second.output
        ended = contents(warehouse)
        differs = {path for path in whole.keys() | ended.keys() if whole.get(path) != ended.get(path)}
        assert not differs, f"killed at {name}, call {time}, {'after' if late else 'before'} it"
        assert facts(warehouse) == facts(world.warehouse)
        shutil.rmtree(warehouse)


def killed_at(function: Callable[..., Any], time: int, late: bool) -> Callable[..., Any]:
    calls = 0

    def killed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == time and not late:
            raise Killed
        result = function(*arguments, **named)
        if calls == time:
            raise Killed
        return result

    return killed


@pytest.mark.slow
def test_a_run_between_the_kill_and_the_second_try(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(withdraw, "_stop_manifests", killed_at(withdraw._stop_manifests, 1, False))
        with pytest.raises(Killed):
            slap(world, "voces", world.owner_id, "--yes")
    read_again(world)
    assert not any(path.startswith("tables/voces") for path in found_in(world.warehouse, world))
    assert found_in(world.warehouse, world)
    assert slap(world, "voces", world.owner_id, "--yes").exit_code == 0
    assert found_in(world.warehouse, world) == {}


@pytest.mark.slow
def test_an_unknown_speaker_is_answered_alike_whoever_else_exists(world: World) -> None:
    before = contents(world.warehouse)
    nobody = slap(world, "voces", "nobody", "--yes")
    elsewhere = slap(world, "voces", f"{world.owner_id}-p", "--yes")  # a speaker of popgen
    other_prefix = slap(world, "voces", f"popgen:{world.owner_id}-p", "--yes")
    assert nobody.exit_code == 1
    assert "speaker_id" in nobody.output
    assert nobody.output == elsewhere.output == other_prefix.output
    assert contents(world.warehouse) == before
    unread = slap(world, "vctk", "p225", "--yes")
    assert (unread.exit_code, unread.output) == (1, nobody.output.replace("voces", "vctk"))
    assert "known:" in slap(world, "vozes", "nobody").output


@pytest.mark.slow
def test_events_that_name_the_person_leave_dagster(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "logs").mkdir(parents=True)
    (tmp_path / "home" / "logs" / "x.err").write_text(f"AudioError: {world.owner_id}/{world.owner_id}_take0.wav\n")
    events = tmp_path / "home" / "history" / "runs" / "index.db"
    events.parent.mkdir(parents=True)
    with sqlite3.connect(events) as database:
        database.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT NOT NULL)")
        said = [(f"SchemaError: first {{'speaker_id': 'voces:{world.owner_id}'}}",), ("all well",)]
        database.executemany("INSERT INTO event_logs (event) VALUES (?)", said)
    assert slap(world, "voces", world.owner_id, "--yes").exit_code == 0
    assert found_in(tmp_path / "home", world) == {}
    with sqlite3.connect(events) as database:
        assert database.execute("SELECT event FROM event_logs").fetchall() == [("all well",)]


@pytest.mark.slow
def test_a_manifest_of_the_person_trains_no_more_and_still_traces(world: World) -> None:
    from benchmark.trace import trace_score
    from slap_model.train import main as train

    (manifest,) = world.warehouse.glob("manifests/*.json")
    lost = json.loads(manifest.read_text()) | {"tower": "another"}
    (manifest.parent / "000000000000.json").write_text(json.dumps(lost))  # of no checkpoint
    assert slap(world, "voces", world.owner_id, "--yes").exit_code == 0
    assert [path.name for path in world.warehouse.glob("manifests/*.json")] == [manifest.name]
    assert train(["--manifest", str(manifest), "--out", str(world.warehouse / "checkpoints" / "x")]) == 2
    score = next(world.warehouse.glob("scores/slap/*.json"))
    assert "withdrawn" in trace_score(world.warehouse, f"slap/{score.stem}")


# The list and the filter, without a run


def toy() -> Rows:
    rows = Rows("toy")
    for owner_id in ("7", "anna-9", "zed"):
        speaker = rows.speaker(owner_id, person_id=f"human:{owner_id}")
        rows.utterance(f"{owner_id}/a.wav", speaker, language="en")
        rows.observe(speaker, "age", 40, source="owner")
    for path, reason in (
        ("anna-9/b.wav", "silent"),
        ("table.csv:7", "no audio"),
        ("table.csv:12", "speaker 7 has no sex"),
        ("other/c.wav", "not listed, see anna-9/a.wav"),
        ("sheet", "7 columns"),
        ("zed/b.wav", "silent"),
    ):
        rows.reject(path, reason)
    return rows


def listed(path: Path, *ids: str) -> Path:
    refused = " ".join(withdrawals.hashes(ids, HASHED))
    counts = [0] * 12
    row = Withdrawal("2026-01-01", "2026-01-01", "toy", *counts, "", refused, withdrawals.key_mark(HASHED))
    withdrawals.put(path, row, HASHED)
    return path


@pytest.mark.parametrize("by", ["human:anna-9", "toy:anna-9"])
def test_ingest_refuses_by_person_and_by_speaker(tmp_path: Path, by: str) -> None:
    tables = withdrawals.drop(toy().tables(), listed(tmp_path / "withdrawals.csv", by), HASHED)
    assert tables.speakers["speaker_id"].to_list() == ["toy:7", "toy:zed"]
    assert tables.utterances["path"].to_list() == ["7/a.wav", "zed/a.wav"]
    assert tables.observations.height == 2
    assert "anna" not in str(tables.rejects.to_dicts())
    assert tables.rejects["path"].to_list() == ["table.csv:7", "table.csv:12", "sheet", "zed/b.wav", "."]


def test_transfers_from_or_to_a_corpus_of_the_person_go(tmp_path: Path) -> None:
    scores = tmp_path / "scores"
    for name, learned, judged in (("to", "clac", "voces"), ("from", "voces", "clac"), ("neither", "clac", "ewa_db")):
        (scores / name).mkdir(parents=True)
        write_transfer(scores / name / transfer.FILE, learned, judged)
    (scores / "damaged").mkdir()
    (scores / "damaged" / transfer.FILE).write_bytes(b"PAR1")
    found = withdraw._scores(Settings(warehouse=tmp_path), [], ["voces"])
    assert sorted(file.parent.name for file in found) == ["damaged", "from", "to"]


def test_a_short_number_is_not_taken_for_a_row(tmp_path: Path) -> None:
    rejects = withdrawals.drop(toy().tables(), listed(tmp_path / "withdrawals.csv", "toy:7"), HASHED).rejects
    assert rejects["path"].to_list() == ["anna-9/b.wav", "table.csv:7", "other/c.wav", "sheet", "zed/b.wav", "."]
    assert rejects.schema == pl.Schema(REJECT)


def test_the_list_names_nobody_and_is_not_followed_with_another_key(tmp_path: Path) -> None:
    path = listed(tmp_path / "withdrawals.csv", "human:anna-9", "toy:anna-9")
    assert "anna" not in path.read_text()
    assert HASHED("human:anna-9") not in path.read_text()  # the hash that stands in shards
    assert withdrawals.mark(path, HASHED)
    with pytest.raises(WithdrawalError, match="another id key"):
        withdrawals.mark(path, partial(ingest.keyed, b"other"))
    path.write_text("date,corpora\n2026-01-01,toy\n")
    with pytest.raises(WithdrawalError, match="damaged"):
        withdrawals.read(path, HASHED)
    assert withdrawals.mark(tmp_path / "none.csv", HASHED) == ""


def test_only_dagsters_own_folders_are_searched(tmp_path: Path) -> None:
    said = "AudioError: anna-9/a.wav\n"
    logs = [f"{folder}/run/compute_logs/step.err" for folder in ("storage", "logs", ".dagster/logs")]
    others = ["job.err", "cluster/anna-9.out", "cluster/logs/job.err"]
    for name in [*logs, *others]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(said)
    (tmp_path / "cluster" / "mail.db").write_text("no database")  # is not opened
    names = ("history/runs/index.db", ".dagster/storage/history/runs/index.db", "x.db")
    databases = [tmp_path / name for name in names]
    for path in databases:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE event_logs (event TEXT)")
            database.execute("INSERT INTO event_logs VALUES (?)", (said,))
            database.commit()
    withdraw._remove_from_dagster(tmp_path, ["anna-9"])
    assert [(tmp_path / name).read_text() for name in logs] == ["", "", ""]
    assert [(tmp_path / name).read_text() for name in others] == [said, said, said]
    left = []
    for path in databases:
        with closing(sqlite3.connect(path)) as database:
            left.append(database.execute("SELECT event FROM event_logs").fetchall())
    assert left == [[], [], [(said,)]]


def test_tars_keep_their_people_after_a_withdrawal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "UTTERANCES_PER_SHARD", 4)
    columns = dict.fromkeys(("start_s", "end_s", "channel"))
    rows = [
        {"utt_id": HASHED(str(n)), "path": "x.wav", "split": "train", "speaker": str(n), **columns} for n in range(18)
    ]

    def plan(rows: list[dict[str, Any]]) -> list[shards.Shard]:
        return shards.plan("toy", tmp_path, pl.DataFrame(rows), tmp_path)

    def cut(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
        return {unit.tar.name: unit.rows["utt_id"].to_list() for unit in plan(rows)}

    before = cut(rows)
    shards.keep_bounds(plan(rows), tmp_path)
    assert cut(rows) == before
    gone = {before["train-00001.tar"][0], *before["train-00002.tar"]}
    rest = [row for row in rows if row["utt_id"] not in gone]
    kept = {name: [utt_id for utt_id in part if utt_id not in gone] for name, part in before.items()}
    assert cut(rest) == {name: part for name, part in kept.items() if part}
    shards.keep_bounds(plan(rest), tmp_path)
    assert cut(rest) == {name: part for name, part in kept.items() if part}
    assert not any(utt_id in (tmp_path / shards.BOUNDS).read_text() for part in before.values() for utt_id in part)
    more = rows + [{**rows[0], "utt_id": HASHED(f"new {n}")} for n in range(30)]
    assert all(len(part) <= 4 for part in cut(more).values())


def test_what_a_killed_worker_of_another_machine_left_in_a_folder_of_the_store_goes(tmp_path: Path) -> None:
    tars = tmp_path / "store" / "shards" / "toy"
    tars.mkdir(parents=True)
    left = tars / ".train-00000.tar.another-machine-7.tmp"
    for path in (left, tars / "train-00000.tar"):
        path.touch()
    withdraw._clear_drafts(Settings(warehouse=tmp_path / "warehouse", store_at=tmp_path / "store"))
    assert [path.name for path in tars.iterdir()] == ["train-00000.tar"]


def test_what_ablations_judged_goes_and_their_checkpoints_are_listed(tmp_path: Path) -> None:
    run = tmp_path / "ablations" / "0a1b"
    gone = ("predictions/slap/a.probe.parquet", "scores/slap/a.probe.json", "embeddings/x/1.parquet", "result.json")
    stays = ("training/step-2/checkpoint.json", "log.txt")
    for name in (*gone, *stays):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    settings = Settings(warehouse=tmp_path)
    assert {str(path.relative_to(run)) for path in withdraw._boards(settings)} == set(gone)
    assert [name for name, _ in withdraw._cards(settings)] == ["ablations/0a1b"]
