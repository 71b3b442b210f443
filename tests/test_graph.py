"""The whole graph at its smallest, and what stops it, breaks it off or spoils its input."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile

from pipelines import split
from pipelines.corpora._base import corpora
from pipelines.definitions import definitions
from pipelines.settings import PROJECT

SMALL = {
    "SLAP_SCALE": "0.1",
    "SLAP_SET": "train.steps=3 train.batch=8 train.log_every=1 train.checkpoint_every=1 encoder.depth=1 encoder.dim=48",
    "SLAP_ID_KEY": "test key",
    "SLAP_EMBEDDERS": os.environ["SLAP_EMBEDDERS"],  # of tests/conftest.py: those that cost no time
    "OMP_NUM_THREADS": "1",
}
Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SLAP_")]:
            patch.delenv(name)
        for name, value in SMALL.items():
            patch.setenv(name, value)
        for name, few in (("FOLDS", 2), ("STRENGTHS", (0.1,)), ("REPEATS", 2)):
            patch.setattr(f"benchmark.probe.{name}", few)
        yield patch


@pytest.fixture
def run(environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a job, or some of its assets, with a warehouse of its own."""
    monkeypatch.setenv("SLAP_WAREHOUSE", str(tmp_path / "warehouse"))

    def execute(job: str = "demo", assets: list[str] | None = None, **variables: str) -> dg.ExecuteInProcessResult:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        selection = [dg.AssetKey(name) for name in assets] if assets else None
        with dg.DagsterInstance.ephemeral() as instance:
            return definitions.resolve_job_def(job).execute_in_process(
                instance=instance, raise_on_error=False, asset_selection=selection
            )

    return execute


def up_to_shards(*names: str) -> list[str]:
    return [*(f"{name}_tables" for name in corpora()), "meta_db", "captions", *(f"{name}_shards" for name in names)]


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {check.check_name for check in result.get_asset_check_evaluations() if not check.passed}


def ran(result: dg.ExecuteInProcessResult) -> set[str]:
    return {"/".join(event.asset_key.path) for event in result.get_asset_materialization_events() if event.asset_key}


def ask(warehouse: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(warehouse / "meta.db"), read_only=True) as connection:
        return connection.sql(query).fetchall()


def contents(warehouse: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(warehouse)): path.read_bytes() for path in sorted(warehouse.glob(pattern))}


def scores(warehouse: Path) -> dict[str, dict[str, object]]:
    return {name: json.loads(text) for name, text in contents(warehouse, "scores/*/*.json").items()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_whole_graph_and_a_second_run_without_work(run: Run, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    first = run()
    assert first.success
    # warnings of what the miniatures hold on purpose: scores that contradict a diagnosis, people on two sides
    assert failed_checks(first) == {"scores", "people"}
    board = (warehouse / "reports" / "leaderboard.md").read_text()
    assert "38/38" in board
    assert "Synthetic voices" in board
    assert (warehouse / "reports" / "leaderboard.html").stat().st_size > 10_000
    paper = [score for score in scores(warehouse).values() if score["track"] == "paper"]
    assert len({score["task"] for score in paper}) == 38
    assert len({score["corpus"] for score in paper}) == 14
    # a confound may have nothing to say, as the sex of who speaks where sex is asked
    assert {score["status"] for score in paper if not str(score["embedder"]).startswith("confound-")} == {"ok"}
    languages = ask(warehouse, "SELECT DISTINCT language FROM facts JOIN score USING (corpus) WHERE track = 'paper'")
    assert {language for (language,) in languages} == {"fr", "it", "es", "sk", "en", "zh", "de"}
    manifest = json.loads((warehouse / "manifests" / (warehouse / "manifests" / "current").read_text()).read_text())
    assert len(manifest["shares"]) == 9
    assert ask(warehouse, "SELECT count(*) FROM reject")[0][0]

    products = ("shards/**/*.tar", "checkpoints/**/*.safetensors", "embeddings/**/*.parquet", "scores/*/*.json")
    before = {path: path.stat().st_mtime_ns for pattern in products for path in warehouse.glob(pattern)}
    second = run()
    assert second.success
    assert {path: path.stat().st_mtime_ns for pattern in products for path in warehouse.glob(pattern)} == before


def test_a_person_in_two_splits_stops_the_graph(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = split.assign

    def leaky(*arguments: object) -> pl.DataFrame:
        assigned = honest(*arguments)
        other = pl.when(pl.col("split") == "test").then(pl.lit("train")).otherwise(pl.lit("test")).alias("split")
        return pl.concat([assigned, assigned.head(1).with_columns(other)])

    monkeypatch.setattr(split, "assign", leaky)
    result = run(assets=up_to_shards("voces"), SLAP_ONLY="voces")
    assert "one_split_per_person" in failed_checks(result)
    assert "captions" not in ran(result)
    assert "voces_shards" not in ran(result)


def test_a_licence_past_its_date_stops_the_graph(run: Run) -> None:
    licence = corpora()["voces"].licence
    held = licence.expires
    object.__setattr__(licence, "expires", date(2020, 1, 1))
    try:
        result = run(assets=up_to_shards("voces"), SLAP_ONLY="voces")
    finally:
        object.__setattr__(licence, "expires", held)
    assert failed_checks(result) == {"licence"} | {"readable"}  # readable warns of the corpora left out
    assert "meta_db" not in ran(result)


def test_an_unknown_label_stops_the_graph(run: Run, tmp_path: Path) -> None:
    from pipelines.voices import Voices

    raw = tmp_path / "raw"
    corpora()["common_voice"].miniature(raw / "common_voice", Voices(scale=0.1))
    for table in raw.rglob("*.tsv"):
        table.write_text(table.read_text().replace("female_feminine", "femail"))
    result = run("run", assets=up_to_shards("common_voice"), SLAP_RAW=str(raw))
    assert "labels_known" in failed_checks(result)
    assert "captions" not in ran(result)
    unknown = next(c for c in result.get_asset_check_evaluations() if c.check_name == "labels_known")
    assert "femail" in str(unknown.metadata["unknown"].value)


def test_bad_input_becomes_rejects_and_the_rest_goes_on(run: Run, tmp_path: Path) -> None:
    raw, warehouse = tmp_path / "raw", tmp_path / "warehouse"
    folder = raw / "voces"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["speaker,path,sex,age,depression"]
    for number in range(8):
        soundfile.write(folder / f"good{number}.wav", rng.normal(0, 0.1, 16_000), 16_000)
        sex, state = ("male", "female")[number % 2], ("absent", "present")[number < 4]
        rows.append(f"{number},good{number}.wav,{sex},40,{state}")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "corrupt.wav").write_bytes(b"RIFF" + bytes(range(256)))
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "nothing.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "orphan.wav", rng.normal(0, 0.1, 16_000), 16_000)
    rows += [f"9,{name}.wav,female,40,absent" for name in ("empty", "corrupt", "silent", "nothing", "absent")]
    (folder / "metadata.csv").write_text("\n".join(rows))
    (raw / "popgen").mkdir()  # the same layout with a missing column
    (raw / "popgen" / "metadata.csv").write_text("path,sex\na.wav,female\n")
    (raw / "torgo").mkdir()  # a wrong folder

    result = run("run", assets=up_to_shards("voces", "popgen", "torgo"), SLAP_RAW=str(raw))
    assert result.success
    rejects = dict(ask(warehouse, "SELECT path, reason FROM reject WHERE corpus = 'voces'"))
    rejected = [*rejects, *rejects.values()]
    assert rejects["metadata.csv:14"] == "no audio at this path"
    for name in ("empty.wav", "corrupt.wav", "silent.wav", "nothing.wav", "orphan.wav"):
        assert any(name in word for word in rejected), f"{name} vanished"
    (popgen,) = ask(warehouse, "SELECT reason FROM reject WHERE corpus = 'popgen'")
    assert "metadata.csv" in str(popgen[0])
    assert "speaker" in str(popgen[0])
    assert ask(warehouse, "SELECT count(*) FROM reject WHERE corpus = 'torgo'")[0][0] == 1
    index = pl.read_parquet(warehouse / "shards" / "voces" / "index.parquet")
    assert index.height == 8
    skipped = ask(warehouse, "SELECT reason FROM corpus WHERE corpus = 'svd'")[0][0]
    assert str(skipped).startswith("skipped: not found at")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """SIGKILL to the whole process group, once while sharding and once while training."""
    plain, killed = tmp_path / "plain", tmp_path / "killed"

    def start(warehouse: Path) -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLAP_")}
        home = tmp_path / f"home of {warehouse.name}"
        home.mkdir(exist_ok=True)
        steps = SMALL["SLAP_SET"].replace("steps=3", "steps=40").replace("checkpoint_every=1", "checkpoint_every=4")
        variables = SMALL | {"SLAP_SET": steps, "SLAP_ONLY": "voces,torgo,ewa_db", "SLAP_WAREHOUSE": str(warehouse)}
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "demo"],
            cwd=PROJECT,
            env={**kept, **variables, "DAGSTER_HOME": str(home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill_when(pattern: str) -> None:
        process = start(killed)
        deadline = time.monotonic() + 120
        while not list(killed.glob(pattern)) and time.monotonic() < deadline:
            assert process.poll() is None, "the run had ended before it could be killed"
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert start(plain).wait() == 0
    kill_when("shards/*/*.tar")
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("shards/*/*.parquet") if path.stem != "index"}
    kill_when("checkpoints/*/step-*/checkpoint.json")
    assert not list(killed.glob("scores/*/*.json"))
    assert start(killed).wait() == 0
    for path, written in finished.items():
        assert path.stat().st_mtime_ns == written, f"{path} was finished and is written again"
    tars = contents(plain, "shards/*/*.tar")
    assert len(tars) >= 6
    assert contents(killed, "shards/*/*.tar") == tars
    assert scores(killed) == scores(plain)
    assert len(scores(plain)) > 100


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("second copy of TIMIT/TRAIN/DR1/FAQX0/SA1.WAV", "second copy of #"),
        ("no transcript train/cd/S908.cha: the turns are unknown", "no transcript #: the turns are unknown"),
        ("row without recordings of AVPEPUDEAC0999", "row without recordings of #"),
        ("PHQ-8 outside 0..24", "PHQ-# outside #..#"),
        ("name is not <actor>/<sentence>.wav", "name is not <actor>/<sentence>.wav"),
        ("second copy of Anna Maria/hello.wav", "second copy of #"),
        ("the owners' copy of a b.wav", "the owners' copy of #"),
        ("no transcript train/Zoë.cha: the turns are unknown", "no transcript #: the turns are unknown"),
        ("DIAGNOSIS 'Zoë O\\'Hara' is none of healthy, mci", "DIAGNOSIS # is none of healthy, mci"),
        ("the participant's turns, not the doctor's", "the participant's turns, not the doctor's"),
        ("speaker anne-marie-3 has no recordings", "speaker # has no recordings"),
    ],
)
def test_reasons_in_dagster_hold_no_owners_id(reason: str, shown: str) -> None:
    from pipelines.assets import common

    assert common.reasons(pl.DataFrame({"reason": [reason]}))["reason"].item() == shown


def test_a_demo_never_replaces_a_real_run(tmp_path: Path) -> None:
    from pipelines.settings import Settings, SettingsError

    (tmp_path / "fsdd").mkdir()
    real = Settings(mode="real", raw=tmp_path, warehouse=tmp_path / "warehouse")
    real.claim()
    with pytest.raises(SettingsError, match="a demo would replace"):
        dataclasses.replace(real, mode="demo").claim()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "set SLAP_RAW"),
        ({"SLAP_RAW": "/nowhere/at/all"}, "/nowhere/at/all is no folder"),
        ({"SLAP_RAW": "."}, "holds no folder with a corpus's name"),
        ({"SLAP_RAW": ".", "SLAP_ONLY": "torgo"}, "holds no folder of torgo (SLAP_ONLY)"),
        ({"SLAP_RAW": ".", "SLAP_SCALE": "-1"}, "SLAP_SCALE='-1' is not above 0"),
        ({"SLAP_RAW": ".", "SLAP_CONFIG": "huge"}, "no configuration 'huge'"),
        ({"SLAP_RAW": ".", "SLAP_ONLY": "torgo,tango"}, "SLAP_ONLY names tango"),
    ],
)
def test_wrong_settings_end_in_one_line(tmp_path: Path, variables: dict[str, str], message: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLAP_")}
    process = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "run"],
        cwd=PROJECT,
        env={**kept, **variables, "SLAP_WAREHOUSE": str(tmp_path), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert message in process.stderr
    assert "Traceback" not in process.stderr
