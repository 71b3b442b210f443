"""A small world: two corpora of short clips, a few of them broken, and what has to be true of its products."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import soundfile

from pipelines.settings import Settings

CLINIC, ACTORS = "clinic", "emodb"  # a cohort in the bring-your-own layout, and a recipe of a corpus
CORPORA = (CLINIC, ACTORS)
UTTERANCES_PER_SHARD = 7
# Of its runs. With a key of its own, ids and so bytes are the same in every warehouse.
ENVIRONMENT = {"SLAP_ID_KEY": "key of the small world", "SLAP_WORKERS": "2", "OMP_NUM_THREADS": "1"}
RATE = 16_000
ALIAS = re.compile("unnamed_relation_[0-9a-f]+")  # DuckDB draws them at random

COHORT = """
[corpus]
title = "A made-up clinic"
language = "en"
label = "depression"
[licence]
name = "none needed, nobody is in it"
access = "open"
may_train = true
may_redistribute = true
consent = "made-up speakers"
"""


def settings(folder: Path) -> Settings:
    """Those of a real run on the world in ``folder``."""
    return Settings(mode="real", raw=folder / "raw", warehouse=folder / "warehouse", only=CORPORA)


def make(folder: Path, seed: int = 0) -> None:
    """Write the raw folders of both corpora: 68 utterances in 53 files, 5 of which no decoder can use."""
    rng = np.random.default_rng(seed)
    _actors(folder / "raw" / ACTORS / "wav", rng)
    _clinic(folder / "raw" / CLINIC, rng)


def _actors(wav: Path, rng: np.random.Generator) -> None:
    wav.mkdir(parents=True)
    for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"):
        for text, emotion in enumerate("FWTN", 1):
            soundfile.write(wav / f"{speaker}a0{text}{emotion}a.wav", _noise(rng, RATE), RATE)
    (wav / "03a01Fa.wav").write_bytes(b"")
    (wav / "09a02Wa.wav").write_bytes(b"RIFF, but no sound")
    soundfile.write(wav / "12a03Ta.wav", np.zeros(RATE), RATE)


def _clinic(root: Path, rng: np.random.Generator) -> None:
    root.mkdir(parents=True)
    lines = ["speaker,path,sex,depression,start,end"]
    for number in range(7):
        about = f"{'female' if number % 2 else 'male'},{'present' if number < 3 else 'absent'}"
        interview = np.stack([_noise(rng, 44_100, 3.0), _noise(rng, 44_100, 3.0)], axis=1)
        soundfile.write(root / f"{number}.wav", interview, 44_100)
        lines += [f"p{number},{number}.wav,{about},{start},{start + 0.9}" for start in (0.0, 1.0, 2.0)]
        if number % 2:  # another format for every other speaker
            soundfile.write(root / f"{number}.mp3", _noise(rng, 22_050), 22_050)
            lines.append(f"p{number},{number}.mp3,{about},,")
        else:
            soundfile.write(root / f"{number}.flac", _noise(rng, RATE), RATE)
            lines.append(f"p{number},{number}.flac,{about},,")
    (root / "1.mp3").write_bytes((root / "1.mp3").read_bytes()[:40])
    (root / "2.flac").write_bytes(b"fLaC")
    (root / "metadata.csv").write_text("\n".join(lines) + "\n")
    (root / "corpus.toml").write_text(COHORT)


def _noise(rng: np.random.Generator, rate: int, seconds: float | None = None) -> np.ndarray[Any, Any]:
    """Noise that swells and fades three times a second, as speech does."""
    length = round(rate * (seconds or rng.uniform(0.4, 1.2)))
    swell = 1 + np.sin(np.arange(length) * 6 * np.pi / rate)
    wave: np.ndarray[Any, Any] = rng.normal(0, 0.05, length) * swell
    return wave


# --- what a run left ---


@dataclass
class Compared:
    """Two warehouses, one of an undisturbed run."""

    files: int = 0
    bytes: int = 0  # that were compared and are the same
    rows: int = 0  # of meta.db
    differences: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)  # files and folders that the undisturbed run does not have


def compare(found: Path, wanted: Path) -> Compared:
    """Every file byte by byte; ``meta.db`` row by row, for DuckDB lays the same rows out in other ways.

    Who is at work stands in ``.locks`` and is no product; only what is there is compared.
    """
    result = Compared()
    here, there = _listing(found), _listing(wanted)
    result.left_over = sorted(here - there)
    result.differences = [f"{name}: absent" for name in sorted(there - here)]
    for name in sorted(here & there):
        if (wanted / name).is_dir() or name.startswith(".locks/"):
            continue
        result.files += 1
        if name == "meta.db":
            mine, theirs = _rows(found / name), _rows(wanted / name)
            result.differences += [f"meta.db: {table}" for table in theirs if mine.get(table) != theirs[table]]
            result.differences += [f"meta.db: {table} too much" for table in mine.keys() - theirs.keys()]
            result.rows += sum(len(rows) for rows in theirs.values())
            continue
        content = (found / name).read_bytes()
        if content == (wanted / name).read_bytes():
            result.bytes += len(content)
        else:
            result.differences.append(f"{name}: other bytes")
    return result


def _listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def _rows(meta_db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All tables and the text of all views; the time at which it was built is left out."""
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{meta_db}' AS meta (READ_ONLY)")
        connection.execute("USE meta")
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'meta'").fetchall()
        views = "SELECT view_name, sql FROM duckdb_views() WHERE database_name = 'meta' AND NOT internal ORDER BY ALL"
        texts = connection.execute(views).fetchall()
        rows: dict[str, list[tuple[Any, ...]]] = {"views": [(name, ALIAS.sub("alias", sql)) for name, sql in texts]}
        for (table,) in sorted(tables):
            columns = "* EXCLUDE (built_at)" if table == "build" else "*"
            rows[table] = connection.execute(f'SELECT {columns} FROM "{table}" ORDER BY ALL').fetchall()
    return rows


def is_sharded(warehouse: Path) -> bool:
    """Whether there are tars of both corpora."""
    return all((warehouse / "shards" / corpus / "rejects.json").is_file() for corpus in CORPORA)


def lost(folder: Path) -> list[str]:
    """Inputs that are nowhere: the accounting equation of the world in ``folder``, which must have been sharded.

    Every file of audio is in the table of utterances or of rejects, and every utterance is in exactly one place: in a
    tar, where its FLAC begins at the offset that the index says, or in ``rejects.json``.
    """
    of, missing = settings(folder), []
    with duckdb.connect(str(of.meta_db), read_only=True) as connection:
        known = connection.execute("SELECT corpus, utt_id, path FROM utterance").fetchall()
    for corpus in CORPORA:
        tables = of.tables / corpus
        named = {path for its, _, path in known if its == corpus}
        named |= set(pl.read_parquet(tables / "reject.parquet")["path"])
        root = of.raw / corpus
        audio = [
            path.relative_to(root).as_posix() for path in root.rglob("*.*") if path.suffix in {".wav", ".mp3", ".flac"}
        ]
        missing += [f"{corpus}/{path}" for path in audio if path not in named]

        index = pl.read_parquet(of.shards / corpus / "index.parquet")
        rejects = json.loads((of.shards / corpus / "rejects.json").read_text())
        places = Counter([*index["utt_id"], *(reject["utt_id"] for reject in rejects)])
        utterances = {utt_id for its, utt_id, _ in known if its == corpus}
        missing += [utt_id for utt_id in utterances if places[utt_id] != 1]
        missing += [utt_id for utt_id in places if utt_id not in utterances]
        for row in index.iter_rows(named=True):
            with (of.shards / corpus / row["shard"]).open("rb") as file:
                file.seek(row["offset"])
                if file.read(4) != b"fLaC":
                    missing.append(row["utt_id"])
    return missing
