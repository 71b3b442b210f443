"""A small warehouse with a model, two corpora and a folder of the user's own, for the tests of the users' surface."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import soundfile
import torch
from safetensors.torch import save_file

from benchmark.evaluate import task_hash
from benchmark.files import file_hash
from benchmark.score import Score, as_json
from benchmark.task import load_tasks
from pipelines.corpora import clac, fsdd
from pipelines.shards import plan, summarise, write_shard
from slap_model import config
from slap_model.manifest import manifest_hash
from slap_model.model import Slap
from slap_model.text import TextTower

FREE, BOUND = fsdd.CORPUS, clac.CORPUS  # the first lets its audio be passed on, the second does not
SETTINGS = config.parse(
    {
        "frontend": {"frames": 32},
        "encoder": {"dim": 32, "depth": 2, "heads": 2},
        "decoder": {"dim": 16, "depth": 2, "heads": 2, "window": 2},
        "loss": {"dim": 16},
    }
)


def encode(tower: TextTower, texts: Sequence[str]) -> np.ndarray:
    """Instead of the text tower: a vector of each text's letters, the same everywhere."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
    return np.stack([np.random.default_rng(seed).standard_normal(384).astype(np.float32) for seed in seeds])


def tone(path: Path, hz: float, seconds: float = 0.8) -> None:
    """A recording; no two pitches give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(int(hz)).standard_normal(len(time))
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * time) + 0.01 * noise, 16_000)


def write_checkpoint(warehouse: Path, settings: config.Config = SETTINGS, seed: int = 0, name: str = "made") -> Path:
    """A training's folder as the trainer leaves it, with generated weights."""
    manifest = {"shards": [], "shares": {}, "split": "s1", **_manifest_of_shards()}
    path = warehouse / "manifests" / f"{manifest_hash(manifest)[:12]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    folder = warehouse / "checkpoints" / f"slap-{name}" / "step-00000003"
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    weights = {key: value.contiguous() for key, value in Slap(settings).state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    trained_on = {"corpora": [BOUND.name, FREE.name], "languages": ["en"], "labels": ["sex"]}
    card = {"step": 3, "steps": 3, "samples_seen": 24, "seed": 0, "manifest": manifest_hash(manifest)}
    (folder / "checkpoint.json").write_text(
        json.dumps({**card, "trained_on": trained_on, "config": settings.as_dict()})
    )
    return folder


def _manifest_of_shards() -> dict[str, object]:
    shards = [
        {"corpus": corpus.name, "path": f"shards/{corpus.name}/train-00000.tar", "samples": 10, "seconds": 1800.0}
        for corpus in (BOUND, FREE)
    ]
    return {"shards": shards, "shares": {BOUND.name: 1.0, FREE.name: 0.5}}


def write_corpora(warehouse: Path, raw: Path) -> None:
    """Shards of both corpora, two utterances of each of three speakers, and what meta.db and the tables say of them."""
    utterances, speakers = [], []
    for number, corpus in enumerate((FREE, BOUND)):
        (warehouse / "shards" / corpus.name).mkdir(parents=True)
        rows = []
        for i in range(6):
            owner = f"{corpus.name}:Owner{i // 2}"
            utt_id = hashlib.sha256(f"{corpus.name}{i}".encode()).hexdigest()[:20]
            tone(raw / corpus.name / f"{i}.wav", 100 + 40 * i + 7 * number)
            row = {"utt_id": utt_id, "path": f"{i}.wav", "speaker": owner, "split": "test" if i > 3 else "train"}
            rows.append({**row, "start_s": None, "end_s": None, "channel": None, "facts": [], "captions": []})
            utterances.append((utt_id, owner))
            speakers.append((owner, f"person {owner}"))
        shards = warehouse / "shards" / corpus.name
        units = plan(corpus.name, raw / corpus.name, pl.DataFrame(rows), shards)
        for unit in units:
            write_shard(unit)
        summarise([unit.tar for unit in units], len(units), shards)
        write_corpus_card(warehouse, corpus.name)
    with duckdb.connect(str(warehouse / "meta.db")) as con:
        con.execute("CREATE TABLE utterance (utt_id VARCHAR, speaker_id VARCHAR)")
        con.execute("CREATE TABLE speaker (speaker_id VARCHAR, person_id VARCHAR)")
        con.execute("CREATE TABLE corpus (corpus VARCHAR, synthetic BOOLEAN, reason VARCHAR)")
        con.executemany("INSERT INTO utterance VALUES (?, ?)", utterances)
        con.executemany("INSERT INTO speaker VALUES (?, ?)", sorted(set(speakers)))
        con.execute(f"INSERT INTO corpus VALUES ('{FREE.name}', true, ''), ('{BOUND.name}', false, '')")


def write_corpus_card(warehouse: Path, name: str, **licence: object) -> None:
    """``tables/<corpus>/corpus.json``, with changes to the licence."""
    corpus = {FREE.name: FREE, BOUND.name: BOUND}[name]
    values = {**dataclasses.asdict(corpus.licence), **licence}
    values["expires"] = values["expires"] and str(values["expires"])
    card = {"title": corpus.title, "homepage": corpus.homepage, "languages": corpus.languages}
    file = warehouse / "tables" / name / "corpus.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**card, "licence": values, "synthetic": False}))


def write_score(warehouse: Path, slap: Slap, task_name: str, told: bool, seed: int = 0, **changes: object) -> Score:
    """A zero-shot score of 40 speakers and its predictions; ``told``: whether the score knows the class."""
    rng = np.random.default_rng(seed)
    task = next(one for one in load_tasks() if one.name == task_name)
    y = np.arange(40) % 2
    scores = 0.02 * rng.standard_normal(40) + 0.03 * (y - 0.5) * told
    frame = pl.DataFrame({"score": scores, "y": y.astype(np.int8), "person": [f"p{i:02d}" for i in range(40)]})
    predictions = warehouse / "predictions" / "slap" / f"{task_name}.zero-shot.parquet"
    predictions.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(predictions)
    score = Score(
        embedder="slap",
        fingerprint=slap.fingerprint,
        task=task.name,
        group=task.group,
        track=task.track,
        corpus=task.corpus,
        mode="zero-shot",
        status="ok",
        reason="",
        synthetic=False,
        ood_corpus=True,
        ood_language=False,
        ood_label=False,
        macro_f1=0.8 if told else 0.5,
        macro_f1_low=0.7 if told else 0.4,
        macro_f1_high=0.9 if told else 0.6,
        auroc=0.85 if told else 0.5,
        auroc_low=0.75 if told else 0.4,
        prior_random_macro_f1=0.5,
        n_speakers=40,
        prevalence=0.5,
        prompt_language="en",
        hashes={"task": task_hash(task, "en"), "predictions": file_hash(predictions)},
    )
    score = dataclasses.replace(score, **changes)  # type: ignore[arg-type]
    file = warehouse / "scores" / "slap" / f"{task_name}.zero-shot.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(as_json(score))
    return score
