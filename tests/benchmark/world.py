"""Made-up warehouses, small enough to see through."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import soundfile

from benchmark.baselines import AlwaysYes, MelStatistics, RandomVectors
from benchmark.confounds import Confound
from benchmark.embed import embed, embeddings_folder
from benchmark.embedders import UNTRAINED, Embedder, Vectors, Wave
from benchmark.evaluate import Contender, evaluate
from benchmark.files import file_hash
from benchmark.score import Score
from benchmark.task import Task

KEY = b"only for tests"
SPEAKERS, CLIPS = 24, 2


class Ear:
    """Hears pitch, and has a text side that knows which word means high."""

    name = "ear"
    fingerprint = "ear 1"
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = {
        "corpora": ["toy"],
        "languages": ["it-IT"],
        "labels": ["parkinson=present", "sex"],
    }
    manifest = "m1"
    asked = 0

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        self.asked += 1
        crossings = [np.mean(np.diff(np.signbit(wave).astype(int)) != 0) for wave in waves]
        return np.array([[c - 0.06, 1e-4, 0] for c in crossings], dtype=np.float32)

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        meaning = {"high": [1, 0, 0], "low": [-1, 0, 0], "odd": [0, 0, 1], "even": [0, 1, 0]}
        return np.array([meaning[text] for text in texts], dtype=np.float32)


def task(name: str, **changes: str) -> Task:
    usual = Task(
        name=name,
        group="health",
        track="paper",
        corpus="toy",
        positive="parkinson = 'present'",
        negative="parkinson = 'absent'",
        unit="speaker",
        source="any",
        prompts={"en": (("low", "high"), ("even", "odd")), "it": (("low", "high"),)},
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


@dataclass
class World:
    """A warehouse, and who is asked what of it."""

    root: Path
    shards: dict[str, list[Path]]
    tasks: list[Task]
    embedders: list[Contender]

    def run(self, **options: object) -> list[Score]:
        for embedder in self.embedders:
            if not isinstance(embedder, AlwaysYes | Confound):
                embed(embedder, [tar for tars in self.shards.values() for tar in tars], self.root / "embeddings")
        folders = (self.root / name for name in ("embeddings", "predictions", "scores"))
        usual = {"id_key": KEY, "split_hash": "s1"}
        meta = self.root / "meta.db"
        return evaluate(self.embedders, self.tasks, meta, self.shards, *folders, **{**usual, **options})  # type: ignore[arg-type]

    def files(self) -> dict[str, int]:
        found = (file for kind in ("scores", "predictions") for file in (self.root / kind).rglob("*.*"))
        return {str(file.relative_to(self.root)): file.stat().st_mtime_ns for file in found}

    def change(self, sql: str) -> None:
        with duckdb.connect(self.root / "meta.db") as con:
            con.execute(sql).fetchall()


def hum(tmp_path: Path) -> World:
    """A corpus whose positive speakers hum higher, embedded by whoever is asked."""
    facts, audio = [], {}
    for speaker in range(SPEAKERS):
        positive = speaker % 2 == 0
        for clip in range(CLIPS):
            utt_id = f"{speaker:03}{clip}"
            split = "test" if speaker < 12 else "dev" if speaker < 14 else "train"
            state = "present" if positive else "absent"
            sex = "female" if speaker % 4 < 2 else "male"
            facts.append((utt_id, "toy", f"toy:Owner {speaker}", split, sex, 65, 70, "it", state))
            time = np.arange(8_000) / 16_000
            pitch = (900 if positive else 200) + 10 * speaker
            audio[utt_id] = np.sin(2 * np.pi * pitch * time).astype(np.float32) / 2
    schema = ["utt_id", "corpus", "person_id", "split", "sex", "age_low", "age_high", "language", "parkinson"]
    frame = pl.DataFrame(facts, schema=schema, orient="row")  # noqa: F841 - DuckDB reads it by name
    with duckdb.connect(tmp_path / "meta.db") as con:
        con.execute("CREATE TABLE t AS SELECT * FROM frame").fetchall()
        con.execute("CREATE VIEW speaker AS SELECT DISTINCT corpus, person_id FROM t").fetchall()
        con.execute("CREATE TABLE person_split AS SELECT DISTINCT person_id, split, 'hash' AS source FROM t").fetchall()
        con.execute("CREATE VIEW facts AS SELECT * FROM t").fetchall()
    tars = []
    for split in ("train", "test"):
        tars.append(tmp_path / f"{split}-00000.tar")
        with tarfile.open(tars[-1], "w") as tar:
            for utt_id, wave in audio.items():
                if (int(utt_id[:3]) < 12) == (split == "test"):
                    buffer = io.BytesIO()
                    soundfile.write(buffer, wave, 16_000, format="FLAC")
                    info = tarfile.TarInfo(f"{utt_id}.flac")
                    info.size = buffer.getbuffer().nbytes
                    buffer.seek(0)
                    tar.addfile(info, buffer)
    tasks = [task("toy-pd"), task("toy-clips", unit="utterance"), task("toy-sex", group="demographic")]
    tasks[2] = replace(tasks[2], positive="sex = 'female'", negative="sex = 'male'")
    return World(tmp_path, {"toy": tars}, tasks, [Ear(), MelStatistics(), RandomVectors(8), AlwaysYes()])


def pick(scores: Sequence[Score], embedder: str, task: str, mode: str) -> Score:
    return next(s for s in scores if (s.embedder, s.task, s.mode) == (embedder, task, mode))


class Known:
    """An embedder of vectors that the test wrote: it embeds nothing."""

    fingerprint = "known 1"
    sample_rate = 16_000

    def __init__(self, name: str = "known", trained_on: Sequence[str] = ()) -> None:
        self.name = name
        self.trained_on: Mapping[str, Sequence[str]] = {**UNTRAINED, "corpora": trained_on}

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        raise AssertionError("the vectors are written already")


def write_world(root: Path, rows: pl.DataFrame, embedders: Sequence[Embedder]) -> dict[str, list[Path]]:
    """A warehouse of utterances whose vectors are known.

    Args:
        root: folder of meta.db, tars and embeddings.
        rows: columns of ``facts``, ``source`` (of the person's split) and ``vector``.
        embedders: who gets the vectors.

    Returns:
        The tars of each corpus, without any sound in them.
    """
    facts = rows.drop("vector", "source")  # noqa: F841 - DuckDB reads it by name
    placed = rows.select("person_id", "split", "source").unique("person_id")  # noqa: F841
    with duckdb.connect(root / "meta.db") as con:
        con.execute("CREATE TABLE facts AS SELECT * FROM facts").fetchall()
        con.execute("CREATE VIEW speaker AS SELECT DISTINCT corpus, person_id FROM facts").fetchall()
        con.execute("CREATE TABLE person_split AS SELECT * FROM placed").fetchall()
    shards: dict[str, list[Path]] = {}
    for (corpus,), part in rows.group_by("corpus", maintain_order=True):
        tar = root / f"{corpus}.tar"
        with tarfile.open(tar, "w") as file:
            for utt_id in part["utt_id"]:
                file.addfile(tarfile.TarInfo(f"{utt_id}.flac"), io.BytesIO())
        shards[str(corpus)] = [tar]
        for embedder in embedders:
            target = embeddings_folder(embedder, root / "embeddings") / f"{file_hash(tar)[:16]}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            part.select("utt_id", pl.col("vector").cast(pl.List(pl.Float32()))).write_parquet(target)
    return shards
