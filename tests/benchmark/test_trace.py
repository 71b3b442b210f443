"""A small warehouse with a whole chain in it: raw files, shards, manifest, checkpoint, predictions, score."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from benchmark import evaluate, metrics, transfer, units
from benchmark.files import as_parquet
from benchmark.score import Score, as_json
from benchmark.task import load_tasks, load_transfers, transfer_tasks
from benchmark.trace import TraceError, trace_score
from pipelines import manifest as manifests
from pipelines.shards import plan, summarise, write_shard
from slap_model import config, store, train
from slap_model.manifest import Manifest
from slap_model.model import Slap
from slap_model.store import write
from tests.s3 import Store

NAME = "slap/ewa_db_parkinson.probe"
OWNER = "Owner_Kovac"  # as an owner may call a file
TESTED = 8
KEY = b"only for tests"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse, made once; tests that change it copy it."""
    root = tmp_path_factory.mktemp("trace")
    warehouse = root / "warehouse"
    make_shards(root / "raw", warehouse)
    manifest = make_manifest(warehouse)
    fingerprint = make_checkpoint(warehouse / "checkpoints" / "slap-1", manifest)
    make_score(warehouse, manifest, fingerprint)
    return warehouse


@pytest.fixture
def warehouse(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "warehouse"))


def make_shards(raw: Path, warehouse: Path) -> None:
    rows, facts = [], []
    raw.mkdir()
    (warehouse / "shards" / "ewa_db").mkdir(parents=True)
    for number in range(24):
        name = f"{OWNER}{number}.wav"
        tone = np.sin(np.arange(3200) * (0.02 + 0.001 * number))
        soundfile.write(raw / name, 0.3 * tone, 16_000)
        utt_id, split = f"utt{number:02d}", "test" if number < TESTED else "train"
        row = {"utt_id": utt_id, "path": name, "speaker": f"s{number}", "split": split}
        rows.append({**row, "start_s": None, "end_s": None, "channel": None, "facts": [], "captions": []})
        state = "present" if number % 2 else "absent"
        facts.append((utt_id, "ewa_db", f"{OWNER}{number}", split, "male", 65, 70, "sk", state))
    shards = plan("ewa_db", raw, pl.DataFrame(rows), warehouse / "shards" / "ewa_db")
    for unit in shards:
        write_shard(unit)
    summarise([unit.tar for unit in shards], len(shards), warehouse / "shards" / "ewa_db")
    names = ["utt_id", "corpus", "person_id", "split", "sex", "age_low", "age_high", "language", "parkinson"]
    frame = pl.DataFrame(facts, schema=names, orient="row")  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect(warehouse / "meta.db") as con:
        con.execute("CREATE TABLE facts AS SELECT *, 'absent' AS healthy FROM frame").fetchall()
        said = "utt_id, NULL AS session_id, 'parkinson' AS attribute, parkinson AS value, NULL::DOUBLE AS value_num"
        for table in (
            f"observation AS SELECT corpus, person_id AS speaker_id, {said}, '' AS instrument, 'clinician' AS source "
            "FROM frame",
            "utterance AS SELECT utt_id, corpus, person_id AS speaker_id, NULL AS session_id FROM frame",
            "attribute AS SELECT 'parkinson' AS attribute, 'state' AS kind",
            "word AS SELECT 'state' AS domain, unnest(['present', 'absent']) AS raw, raw AS canonical",
            "instrument (instrument VARCHAR, measures VARCHAR, target VARCHAR, low DOUBLE, high DOUBLE, state VARCHAR)",
        ):
            con.execute(f"CREATE TABLE {table}").fetchall()


def make_manifest(warehouse: Path) -> Manifest:
    (warehouse / "captions").mkdir()
    for name in ("facts", "captions", "vectors-x"):
        pl.DataFrame({"text": [name]}).write_parquet(warehouse / "captions" / f"{name}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "_seen", lambda *_: {"languages": ["sk"], "labels": ["parkinson"]})
        vectors = warehouse / "captions" / "vectors-x.parquet"
        path, _ = manifests.write(warehouse, {"ewa_db": 1.0}, vectors=vectors, tower="x", split_hash="split-1")
    return Manifest.load(path)


def make_checkpoint(folder: Path, manifest: Manifest) -> str:
    small = {"dim": 16, "depth": 1, "heads": 1}
    values = {"frontend": {"frames": 32}, "encoder": small, "decoder": {**small, "window": 2}, "text": {"dim": 8}}
    settings = config.parse({**values, "loss": {"dim": 8}, "train": {"steps": 6, "batch": 4}})
    torch.manual_seed(0)
    model = Slap(settings)
    for step in (3, 6):
        with torch.no_grad():
            model.log_scale += 0.1
        train.save(folder, step, model, torch.optim.AdamW(model.parameters()), settings, manifest)
    return Slap.from_checkpoint(folder).fingerprint


def make_score(warehouse: Path, manifest: Manifest, fingerprint: str) -> None:
    y = np.arange(TESTED) % 2
    frame = pl.DataFrame({"unit_id": [f"p{i}" for i in range(TESTED)], "y": y.astype(np.int8)}).with_columns(
        pl.col("unit_id").alias("person"), (pl.col("y") - 0.5).alias("score"), pl.col("y").alias("predicted")
    )
    content = as_parquet(frame)
    write(warehouse / "predictions" / f"{NAME}.parquet", content)
    task = next(task for task in load_tasks() if task.name == "ewa_db_parkinson")
    score = Score(
        embedder="slap",
        fingerprint=fingerprint,
        task=task.name,
        group=task.group,
        track=task.track,
        corpus=task.corpus,
        mode="probe",
        status="ok",
        reason="",
        synthetic=True,
        ood_corpus=False,
        ood_language=False,
        ood_label=False,
        **asdict(metrics.measure(frame, task.corpus)),
        key="key-1",
        hashes={
            "manifest": manifest.hash,
            "split": "split-1",
            "data": "data-1",
            "task": evaluate.task_hash(task, None),
            "code": evaluate.code_hash(),
            "predictions": hashlib.sha256(content).hexdigest(),
        },
    )
    write(warehouse / "scores" / f"{NAME}.json", as_json(score))
    baseline = replace(score, embedder="random", hashes={**score.hashes, "manifest": ""})
    write(warehouse / "predictions" / f"random/{task.name}.probe.parquet", content)
    write(warehouse / "scores" / f"random/{task.name}.probe.json", as_json(baseline))


def test_a_score_is_followed_to_its_raw_files(warehouse: Path) -> None:
    text = trace_score(warehouse, NAME)
    assert text.endswith("All that was checked is as it was when the score was written.")
    assert "macro-F1 1.000 [" in text and "8 units of 8 test speakers, prevalence 0.50" in text
    assert "checkpoints/slap-1/step-00000006" in text and "6 of 6, 24 samples seen, seed 0" in text
    stored = json.loads((warehouse / "scores" / f"{NAME}.json").read_text())
    for name in ("manifest", "split", "data", "task", "code", "predictions"):
        assert stored["hashes"][name] in text
    assert "1 tars, 16 utterances" in text and "1 tars of the test split" in text
    index = pl.read_parquet(warehouse / "shards" / "ewa_db" / "test-00000.parquet")
    raw = index["raw_sha256"].sort().to_list()
    assert "8, for 8 test utterances of the task" in text and "and 3 more" in text
    assert [digest in text for digest in raw] == [True] * 5 + [False] * 3
    true = hashlib.sha256((warehouse / "captions" / "facts.parquet").read_bytes()).hexdigest()
    assert f"captions/facts.parquet {true}  ok" in text


def test_nobody_is_named(warehouse: Path) -> None:
    text = trace_score(warehouse, NAME)
    assert OWNER not in text and ".wav" not in text and "utt0" not in text


def change(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("file", "finding"),
    [
        (f"predictions/{NAME}.parquet", "predictions changed since the score was written"),
        ("captions/facts.parquet", "facts changed since training"),
        ("captions/captions.parquet", "captions changed since training"),
        ("checkpoints/slap-1/step-00000006/model.safetensors", "no checkpoint has these weights; it was removed"),
        ("shards/ewa_db/test-00000.tar", "1 are not those of their index, first test-00000.tar"),
    ],
)
def test_a_changed_file_is_said(warehouse: Path, file: str, finding: str) -> None:
    change(warehouse / file)
    text = trace_score(warehouse, NAME)
    assert f"\nNot as it was when the score was written:\n- {finding}" in text
    assert f"<- {finding}" in text


@pytest.mark.parametrize(
    ("file", "finding"),
    [
        (f"predictions/{NAME}.parquet", "predictions absent"),
        ("captions/vectors-x.parquet", "vectors absent"),
        ("shards/ewa_db/train-00000.tar", "1 absent or changed since training, first shards/ewa_db/train-00000.tar"),
        ("checkpoints/slap-1/step-00000006/checkpoint.json", "no checkpoint has these weights"),
        ("checkpoints/slap-1/step-00000006/model.safetensors", "no checkpoint has these weights"),
    ],
)
def test_an_absent_file_is_said(warehouse: Path, file: str, finding: str) -> None:
    (warehouse / file).unlink()
    assert f"\n- {finding}" in trace_score(warehouse, NAME)


def test_a_manifest_that_changed_is_said(warehouse: Path) -> None:
    file = next((warehouse / "manifests").glob("*.json"))
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "split": "split-2"}))
    text = trace_score(warehouse, NAME)
    assert "- manifest changed since training" in text
    assert "- not the split of the training: someone tested may have been trained on" in text
    file.write_text("{}")
    assert "- manifest broken: " in trace_score(warehouse, NAME)
    file.unlink()
    assert "- manifest absent" in trace_score(warehouse, NAME)


def test_another_task_row_or_code_is_said(warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.trace.code_hash", lambda: "other")
    monkeypatch.setattr("benchmark.trace.load_tasks", lambda: ())
    text = trace_score(warehouse, NAME)
    assert "- the benchmark's code is not the one that scored" in text
    assert "- its row in tasks.toml is not the one that was scored" in text
    assert "8 test utterances of the corpus" in text


def test_a_baseline_has_no_checkpoint(warehouse: Path) -> None:
    text = trace_score(warehouse, NAME.replace("slap", "random"))
    assert "none: this embedder was not trained on a manifest" in text and "manifests/" not in text


def test_a_missing_score_is_followed_as_far_as_it_goes(warehouse: Path) -> None:
    file = warehouse / "scores" / f"{NAME}.json"
    stored = json.loads(file.read_text())
    gone = {**stored, "status": "missing", "reason": "no positive utterance in the test split", "f1": None}
    file.write_text(json.dumps({**gone, "macro_f1": None, "hashes": {**stored["hashes"], "predictions": ""}}))
    text = trace_score(warehouse, NAME)
    assert "missing: no positive utterance in the test split" in text and "\npredictions" not in text


@pytest.mark.parametrize("name", ["slap/ewa_db_parkinsn.probe", "slap/ewa_db_parkinson", "../scores/" + NAME])
def test_an_unknown_name_lists_the_near_ones(warehouse: Path, name: str) -> None:
    with pytest.raises(TraceError, match=r"no score .* among 2; near it: .*slap/ewa_db_parkinson\.probe") as caught:
        trace_score(warehouse, name)
    assert "\n" not in str(caught.value)


def test_no_scores_at_all(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="run the benchmark first"):
        trace_score(tmp_path, NAME)


# Protocol, prompts, confounds, labels


def scored(warehouse: Path, name: str, **changes: object) -> str:
    """The trace of a score that is like the stored one but for some fields, under another name."""
    stored = Score(**json.loads((warehouse / "scores" / f"{NAME}.json").read_text()))
    embedder, _, place = name.partition("/")
    score = replace(stored, embedder=embedder, **changes)  # type: ignore[arg-type]
    write(warehouse / "scores" / f"{name}.json", as_json(score))
    content = (warehouse / "predictions" / f"{NAME}.parquet").read_bytes()
    write(warehouse / "predictions" / embedder / f"{place}.parquet", content)
    return trace_score(warehouse, name, KEY)


def data_hash(warehouse: Path) -> str:
    task = next(task for task in load_tasks() if task.name == "ewa_db_parkinson")
    tars = sorted((warehouse / "shards" / "ewa_db").glob("*.tar"))
    meta_db = source_tables(warehouse)
    (data,) = units.load([task], meta_db, {"ewa_db": tars}, KEY, ())
    return data.hash


def source_tables(warehouse: Path) -> Path:
    """The warehouse with the tables that say whose split is the owners'."""
    meta_db = warehouse / "meta.db"
    with duckdb.connect(meta_db) as con:
        con.execute("CREATE TABLE IF NOT EXISTS speaker AS SELECT DISTINCT corpus, person_id FROM facts").fetchall()
        con.execute(
            "CREATE TABLE IF NOT EXISTS person_split AS SELECT DISTINCT person_id, split, 'hash' AS source FROM facts"
        ).fetchall()
    return meta_db


def test_labels_and_audio_are_checked_with_the_id_key(warehouse: Path) -> None:
    hashes = json.loads((warehouse / "scores" / f"{NAME}.json").read_text())["hashes"]
    right = data_hash(warehouse)
    text = scored(warehouse, NAME, hashes={**hashes, "data": right})
    assert f"{right}  ok" in text
    assert "labels or audio are not" not in text
    assert f"{right} (not checked: " in trace_score(warehouse, NAME)
    with duckdb.connect(warehouse / "meta.db") as con:
        con.execute("UPDATE facts SET parkinson = 'absent' WHERE utt_id = 'utt01'").fetchall()
    assert "- labels or audio are not those that were scored" in trace_score(warehouse, NAME, KEY)
    assert "- labels or audio are not those that were scored" in trace_score(warehouse, NAME, b"another key")


def test_shards_and_manifest_on_an_object_store_are_followed(warehouse: Path, s3: Store) -> None:
    hashes = json.loads((warehouse / "scores" / f"{NAME}.json").read_text())["hashes"]
    here = scored(warehouse, NAME, hashes={**hashes, "data": data_hash(warehouse)})
    large = store.place(f"{s3.bucket}/house")
    for pattern in ("shards/*/*-*", "manifests/*", "captions/*.parquet"):
        for file in warehouse.glob(pattern):
            store.put(file, large / file.relative_to(warehouse))
    s3.heal()
    there = trace_score(warehouse, NAME, KEY, large)
    assert there == here.replace("bytes against", "sizes against")
    assert not [request for request in s3.requests if request.line.startswith("GET") and ".tar" in request.line]
    tar = store.listing(large / "shards" / "ewa_db", "test-*.tar")[0]
    store.write(tar, b"half")
    assert f"1 are not those of their index, first {tar.name}" in trace_score(warehouse, NAME, KEY, large)


@pytest.mark.parametrize("remote", [False, True])
def test_other_bytes_of_the_same_size_are_seen_where_tars_are_read(warehouse: Path, s3: Store, remote: bool) -> None:
    large = store.place(f"{s3.bucket}/house") if remote else warehouse
    if remote:
        for pattern in ("shards/*/*-*", "manifests/*", "captions/*.parquet"):
            for file in warehouse.glob(pattern):
                store.put(file, large / file.relative_to(warehouse))
    whole = trace_score(warehouse, NAME, large=large, hashed=True)
    assert "All that was checked is as it was" in whole
    assert "bytes against the manifest  ok" in whole and "bytes against their indexes  ok" in whole
    trained, judged = (
        store.listing(large / "shards" / "ewa_db", pattern)[0] for pattern in ("train-*.tar", "test-*.tar")
    )
    for tar in (trained, judged):
        content = bytearray(store.content(tar))
        content[1000] ^= 1
        store.write(tar, bytes(content))
    found = trace_score(warehouse, NAME, large=large, hashed=True)
    assert f"- 1 absent or changed since training, first shards/ewa_db/{trained.name}" in found
    assert f"- 1 are not those of their index, first {judged.name}" in found
    blind = trace_score(warehouse, NAME, large=large)
    assert trained.name not in blind
    assert (judged.name in blind) is not remote


def test_a_corpus_in_folds_is_followed_in_all_its_tars(warehouse: Path) -> None:
    source_tables(warehouse)
    text = scored(warehouse, NAME, protocol="folds", repeats=10)
    assert "folds, 10 times: every person judged by a probe that never heard the person" in text
    assert "2 tars of all splits" in text and "24, for 24 judged utterances of the task" in text
    change(warehouse / "shards" / "ewa_db" / "train-00000.tar")
    assert "1 are not those of their index, first train-00000.tar" in trace_score(warehouse, NAME)


def test_the_prompts_are_printed(warehouse: Path) -> None:
    source_tables(warehouse)
    task = next(task for task in load_tasks() if task.name == "ewa_db_parkinson")
    changes = {"mode": "zero-shot", "prompt_language": "en", "n_prompts": len(task.prompts["en"]), "best_prompt": 1}
    text = scored(warehouse, "slap/ewa_db_parkinson.zero-shot", **changes)
    for number, (no, yes) in enumerate(task.prompts["en"]):
        assert f"{no} / {yes}{'  (best on the training split)' if number == 1 else ''}\n" in text
    assert "\nprompts" not in trace_score(warehouse, NAME)
    text = scored(warehouse, "slap/ewa_db_parkinson.zero-shot", **changes, protocol="folds")
    assert "folds: every person judged; zero-shot learns from nobody" in text
    assert "  (best on the other folds, most often)\n" in text and "training split" not in text


def test_a_confound_says_what_it_is_told(warehouse: Path) -> None:
    source_tables(warehouse)
    hashes = json.loads((warehouse / "scores" / f"{NAME}.json").read_text())["hashes"]
    told = {"chance_p": 0.00012, "told_by": {"native sample rate": 0.97}, "hashes": {**hashes, "manifest": ""}}
    text = scored(warehouse, "confound-recording/ewa_db_parkinson.probe", **told)
    assert "p = 0.00012" in text and "native sample rate, AUROC 0.97 alone" in text
    assert "none: a confound, which is told recording properties and hears no speech" in text


# Transfer


MOVED = "slap/transfer/parkinson/ewa_db->neurovoz"


@pytest.fixture
def moved(warehouse: Path) -> Path:
    """The warehouse with a second corpus of the same audio, and a transfer between the two."""
    shutil.copytree(warehouse / "shards" / "ewa_db", warehouse / "shards" / "neurovoz")
    with duckdb.connect(source_tables(warehouse)) as con:
        others = "'neurovoz' AS corpus, 'n' || person_id AS person_id"
        con.execute(f"INSERT INTO facts BY NAME SELECT * REPLACE ({others}) FROM facts").fetchall()
    asked = next(one for one in load_transfers() if one.name == "parkinson")
    tasks = transfer_tasks(asked)
    tars = {name: sorted((warehouse / "shards" / name).glob("*.tar")) for name in ("ewa_db", "neurovoz")}
    train, test = units.load([tasks[name] for name in tars], warehouse / "meta.db", tars, KEY, ["ewa_db"])
    score = json.loads((warehouse / "scores" / f"{NAME}.json").read_text())
    row = {
        **{"name": "parkinson", "label": asked.label, "train_corpus": "ewa_db", "test_corpus": "neurovoz"},
        **{"status": "ok", "reason": "", "f1": 0.5, "macro_f1": 0.625, "macro_f1_low": 0.5, "macro_f1_high": 0.75},
        **{"auroc": 0.7, "n_train_speakers": 16, "n_left_out": 3, "n_speakers": 24, "prevalence": 0.5},
        "key": transfer.key_of(score["fingerprint"], asked, train, test),
    }
    frame = pl.DataFrame([row], schema=dict(transfer.SCHEMA))
    write(warehouse / "scores" / "slap" / transfer.FILE, as_parquet(frame))
    return warehouse


def test_a_transfer_is_followed_to_both_corpora(moved: Path) -> None:
    text = trace_score(moved, MOVED, KEY)
    assert "macro-F1 0.625 [0.500, 0.750]" in text and "3 persons of both corpora" in text
    assert "learned from 16 speakers of ewa_db, judged on 24 of neurovoz" in text
    assert "(weights, labels, audio, definition, code)  ok" in text
    assert "checkpoints/slap-1/step-00000006" in text and "manifests/" in text
    assert "shards/ewa_db: 2 tars" in text and "shards/neurovoz: 2 tars" in text
    assert text.endswith("All that was checked is as it was when the score was written.")
    assert OWNER not in text
    assert "(not checked: it takes the id key and meta.db)" in trace_score(moved, MOVED)


def test_a_changed_label_of_a_transfer_is_said(moved: Path) -> None:
    with duckdb.connect(moved / "meta.db") as con:
        con.execute("UPDATE facts SET parkinson = 'absent' WHERE corpus = 'neurovoz'").fetchall()
    finding = "- weights, labels, audio, definition or code are not those of the number"
    assert finding in trace_score(moved, MOVED, KEY)


def test_a_transfer_that_is_not_there_lists_the_near_ones(moved: Path, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"no transfer .* among 1; near it: slap/transfer/parkinson/ewa_db->neurovoz"):
        trace_score(moved, "slap/transfer/parkinson/ewa_db->ipvs", KEY)
    with pytest.raises(TraceError, match="run the benchmark first"):
        trace_score(tmp_path, MOVED, KEY)
