"""A manifest over a few tones: high voices are "women", low voices "men"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from pipelines import manifest as manifests
from pipelines.shards import plan, summarise, write_shard
from slap_model import config
from slap_model.manifest import Manifest

TEXTS = {"sex=female": "A woman is speaking.", "sex=male": "A man is speaking."}


@pytest.fixture
def settings() -> config.Config:
    return config.parse(
        {
            "frontend": {"frames": 32},
            "encoder": {"dim": 32, "depth": 2, "heads": 2},
            "decoder": {"dim": 16, "depth": 2, "heads": 2, "window": 2},
            "loss": {"dim": 16},
            "text": {"dim": 8},
            "train": {"steps": 6, "batch": 8, "rate": 1e-3, "warmup": 1, "precision": "fp32", "log_every": 1},
        }
    )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return tones(tmp_path)


@pytest.fixture(scope="session")
def shared_manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The same for tests that change nothing in it."""
    return tones(tmp_path_factory.mktemp("tones"))


def tones(folder: Path) -> Manifest:
    rng = np.random.default_rng(0)
    warehouse, raw = folder / "warehouse", folder / "raw"
    (warehouse / "shards" / "tones").mkdir(parents=True)
    (warehouse / "captions").mkdir()
    raw.mkdir()
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    for number in range(24):
        female = number % 2
        seconds = 0.2 if number < 2 else 0.8  # two clips are shorter than a crop
        time = np.arange(int(16_000 * seconds)) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (220 if female else 110) * time) + 0.01 * rng.standard_normal(len(time))
        soundfile.write(raw / f"{number}.wav", tone, 16_000)
        row = {"utt_id": f"utt{number:02d}", "path": f"{number}.wav", "speaker": f"s{number // 2}", "split": "train"}
        rows.append({**row, "start_s": None, "end_s": None, "channel": None, "facts": [], "captions": []})
        fact = "sex=female" if female else "sex=male"
        facts.append({"utt_id": row["utt_id"], "corpus": "tones", "split": "train", "fact_hash": fact, "facts": [fact]})
    units = plan("tones", raw, pl.DataFrame(rows), warehouse / "shards" / "tones")
    for unit in units:
        write_shard(unit)
    summarise([unit.tar for unit in units], len(units), warehouse / "shards" / "tones")
    pl.DataFrame(facts).write_parquet(warehouse / "captions" / "facts.parquet")
    pl.DataFrame(
        [{"fact_hash": f, "k": 0, "language": "en", "text": t, "used": [f]} for f, t in TEXTS.items()]
    ).write_parquet(warehouse / "captions" / "captions.parquet")
    vectors = rng.standard_normal((2, 8)).astype(np.float32)
    pl.DataFrame({"text": list(TEXTS.values()), "vector": vectors.tolist()}).write_parquet(
        warehouse / "captions" / "vectors-x.parquet"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "_seen", lambda *_: {"languages": ["en"], "labels": ["sex"]})
        path, _ = manifests.write(
            warehouse, {"tones": 0.5}, vectors=warehouse / "captions" / "vectors-x.parquet", tower="x", split_hash="s"
        )
    return Manifest.load(path)
