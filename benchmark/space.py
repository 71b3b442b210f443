"""A map of each embedding space in aggregates: where groups of speakers lie, and never where a person lies.

``reports/space.json`` holds by embedder::

    {"n_speakers": 971, "n_left_out": 0, "method": "...", "grid": 32, "key": "...",
     "attributes": {"sex": {"neighbours": 0.81, "chance": 0.52,
                            "categories": [{"name": "female", "n": 488, "cells": "0012..."}, ...]}, ...}}

``cells`` is a density over the grid, row by row from the top, a digit a cell: 0 nothing, 9 the category's own maximum.
Each attribute parts all speakers into its categories; those of fewer than `SMALLEST` speakers are folded into "other",
which takes the smallest of the rest too until it is large enough, so that no difference gives away a small group. A
cell is empty where it rests on fewer than `FEWEST` speakers of the category.

``neighbours`` says how much an attribute structures the space: of a speaker's `NEAREST` nearest other people, the share
of the same category, averaged over the speakers; ``chance`` is what it would be if the space knew nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.embed import load_embeddings
from benchmark.files import file_hash, hash_of
from benchmark.task import AGE_BAND
from slap_model.store import write as put

FILE = "space.json"
GRID = 32
SMALLEST = 10  # speakers of a category
FEWEST = 3  # speakers of a category within reach of a cell
REACH = 2  # cells to each side
WIDTH = 1.2  # cells: standard deviation of the smoothing
MOST_CATEGORIES = 14  # of an attribute; more are not told apart on a page
MOST_SPEAKERS = 2000
COMPONENTS = 50
NEAREST = 10
OTHER, UNSTATED = "other", "not stated"
# A person with several is counted under the first; whoever has none and is stated to be healthy is healthy.
DIAGNOSES = (
    "parkinson",
    "alzheimer",
    "als",
    "cerebral_palsy",
    "stroke",
    "down_syndrome",
    "dysarthria",
    "cognitive_impairment",
    "voice_disorder",
    "depression",
    "anxiety",
    "ptsd",
    "covid",
    "asthma",
    "copd",
)
ATTRIBUTES = ("sex", "age", "language", "diagnosis", "corpus")

Numbers = npt.NDArray[np.float64]


def write(folders: Mapping[str, Path], shards: Mapping[str, Sequence[Path]], meta_db: Path, out: Path) -> Path:
    """Write ``space.json`` into the folder of the reports; what is in it already and still holds is not made again.

    Args:
        folders: by embedder, of its vectors, from `benchmark.embed.embed`.
        shards: tars by corpus; all of them are embedded.
        meta_db: the warehouse, opened read-only.
        out: folder of the reports.

    Raises:
        FileNotFoundError: a shard was not embedded.
    """
    facts = _facts(meta_db, sorted(shards))
    common = [facts.sort("utt_id").write_csv(), sorted(file_hash(tar) for tars in shards.values() for tar in tars)]
    old = read(out)
    maps: dict[str, Any] = {}
    for name, folder in folders.items():
        key = hash_of([folder.name, _code(), *common])
        held = old.get(name)
        found = held if held is not None and held["key"] == key else _map(folder, shards, facts)
        if found is not None:
            maps[name] = {**found, "key": key}
    put(out / FILE, json.dumps(maps, ensure_ascii=False, allow_nan=False).encode())
    return out / FILE


def read(out: Path) -> dict[str, Any]:
    """The maps by embedder in a folder of reports; empty where there are none."""
    file = out / FILE
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _map(folder: Path, shards: Mapping[str, Sequence[Path]], facts: pl.DataFrame) -> dict[str, Any] | None:
    """The map of one embedder's space; None with fewer than twice `SMALLEST` speakers."""
    vectors = load_embeddings(folder, [tar for tars in shards.values() for tar in tars])
    speakers = _speakers(vectors, facts)
    if speakers.height < 2 * SMALLEST:
        return None
    drawn = speakers.head(MOST_SPEAKERS)
    reduced = _components(np.array(drawn["vector"].to_list(), dtype=np.float64))
    at = _cells(_flat(reduced))
    near = _neighbours(reduced, drawn["person_id"].to_numpy())
    attributes = {name: _attribute(drawn[name], at, near) for name in ATTRIBUTES}
    return {
        "n_speakers": drawn.height,
        "n_left_out": speakers.height - drawn.height,
        "method": f"t-SNE of {reduced.shape[1]} principal components of the speakers' mean vectors, by cosine",
        "grid": GRID,
        "attributes": {name: found for name, found in attributes.items() if found is not None},
    }


@cache
def _code() -> str:
    """Hash of this module and of the versions of what it leans on."""
    return hash_of([Path(__file__).read_text(encoding="utf-8"), [version(name) for name in ("numpy", "scikit-learn")]])


# --- the speakers -------------------------------------------------------------------------------------------


def _facts(meta_db: Path, corpora: Sequence[str]) -> pl.DataFrame:
    """utt_id, person_id and the attributes of the utterances of some corpora."""
    with duckdb.connect(str(meta_db), read_only=True) as con:
        held = {str(name) for (name,) in con.execute("SELECT column_name FROM (DESCRIBE facts)").fetchall()}
        cases = [f"WHEN {name} = 'present' THEN '{name}'" for name in DIAGNOSES if name in held]
        cases += ["WHEN healthy = 'present' THEN 'healthy'"] if "healthy" in held else []
        diagnosis = f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"
        query = f"""
            SELECT utt_id, person_id, corpus, sex, {AGE_BAND} AS age, split_part(language, '-', 1) AS language,
                   {diagnosis} AS diagnosis
            FROM facts WHERE list_contains(?, corpus)
        """  # noqa: S608 - names of our own list
        facts: pl.DataFrame = con.sql(query, params=[list(corpora)]).pl()
        return facts


def _speakers(vectors: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """A row a person and corpus, in an order that says nothing: mean vector, person_id and the attributes.

    What differs between the utterances of a person is not stated.
    """
    joined = vectors.join(facts, on="utt_id", how="inner")
    width = len(joined["vector"][0]) if joined.height else 0
    same = [
        pl.when(pl.col(name).n_unique() == 1)
        .then(pl.col(name).first())
        .cast(pl.String())
        .fill_null(UNSTATED)
        .alias(name)
        for name in ATTRIBUTES
        if name != "corpus"
    ]
    parts = joined.with_columns(pl.col("vector").list.to_array(width)) if width else joined
    means = [pl.col("vector").arr.get(i).cast(pl.Float64()).mean().alias(f"v{i}") for i in range(width)]
    grouped = parts.group_by("corpus", "person_id").agg(*same, *means)
    hashed = [hashlib.sha256(f"{c}\n{p}".encode()).hexdigest() for c, p in grouped.select("corpus", "person_id").rows()]
    columns = [f"v{i}" for i in range(width)]
    return (
        grouped.with_columns(
            pl.Series("order", hashed, pl.String()), pl.concat_list(columns or [pl.lit(0.0)]).alias("vector")
        )
        .sort("order")
        .select("person_id", *ATTRIBUTES, "vector")
    )


# --- the map ------------------------------------------------------------------------------------------------


def _components(vectors: Numbers) -> Numbers:
    """Standardised vectors [n, d] by their principal components [n, k], of length 1.

    Means of many utterances are shorter than those of few; by their length they would be everybody's neighbours.
    """
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    kept = min(COMPONENTS, *vectors.shape)
    with threadpool_limits(1):
        found = PCA(kept, svd_solver="full").fit_transform(StandardScaler().fit_transform(vectors))
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(length > 0, length, 1.0), dtype=np.float64)


def _flat(reduced: Numbers) -> Numbers:
    """The speakers on a plane [n, 2], neighbours beside each other."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if reduced.shape[1] < 2:
        return np.column_stack([reduced[:, 0], np.zeros(len(reduced))])
    perplexity = min(30.0, (len(reduced) - 1) / 3)
    with threadpool_limits(1):
        found = TSNE(2, perplexity=perplexity, init="pca", max_iter=500, random_state=0, n_jobs=1).fit_transform(
            reduced
        )
    return np.asarray(found, dtype=np.float64)


def _cells(plane: Numbers) -> npt.NDArray[np.int64]:
    """Row and column of each speaker's cell [n, 2]; a border of two cells stays free for the smoothing."""
    low, high = plane.min(axis=0), plane.max(axis=0)
    share = (plane - low) / np.where(high > low, high - low, 1.0)
    columns = 2 + np.minimum(np.floor(share * (GRID - 4)), GRID - 5).astype(np.int64)
    return np.column_stack([GRID - 1 - columns[:, 1], columns[:, 0]])


def _neighbours(reduced: Numbers, person: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """The speakers by their distance to each speaker [n, n], nearest first; the same person is put last."""
    squared = (reduced**2).sum(axis=1)
    distance = squared[:, None] + squared[None, :] - 2 * reduced @ reduced.T
    distance[person[:, None] == person[None, :]] = np.inf
    return np.argsort(distance, axis=1, kind="stable")


def _attribute(values: pl.Series, at: npt.NDArray[np.int64], near: npt.NDArray[np.int64]) -> dict[str, Any] | None:
    """The categories of an attribute on the grid, and how much it structures the space; None for a single category."""
    folded = _fold(values)
    names = sorted(set(folded), key=lambda name: (name == OTHER, name == UNSTATED, -folded.count(name), name))
    if len([name for name in names if name not in (OTHER, UNSTATED)]) < 1 or len(names) < 2:
        return None
    which = np.array(folded, dtype=object)
    share, chance = _structure(values.to_numpy(), near)
    return {
        "neighbours": share,
        "chance": chance,
        "categories": [
            {"name": name, "n": int((which == name).sum()), "cells": _density(at[which == name])} for name in names
        ],
    }


def _fold(values: pl.Series) -> list[str]:
    """The categories, small ones as "other"; none has fewer than `SMALLEST` speakers, unless all are one."""
    counts = {str(name): int(n) for name, n in values.value_counts().rows()}
    largest = sorted(counts, key=lambda name: (-counts[name], name))
    kept = [name for name in largest if counts[name] >= SMALLEST][:MOST_CATEGORIES]
    while kept and 0 < sum(counts[name] for name in largest if name not in kept) < SMALLEST:
        kept.pop()
    return [name if name in kept else OTHER for name in values.to_list()]


def _density(at: npt.NDArray[np.int64]) -> str:
    """The smoothed density of a category's speakers as a digit a cell; empty where it rests on too few of them."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    counts = np.zeros((GRID, GRID))
    np.add.at(counts, (at[:, 0], at[:, 1]), 1)
    side = 2 * REACH + 1
    within = np.rint(uniform_filter(counts, side, mode="constant") * side**2)
    smooth = np.where(within >= FEWEST, gaussian_filter(counts, WIDTH, mode="constant", radius=REACH), 0.0)
    if not smooth.any():
        return "0" * GRID**2
    return "".join(map(str, np.ceil(9 * smooth / smooth.max() - 1e-9).astype(int).clip(0, 9).ravel()))


def _structure(values: npt.NDArray[np.object_], near: npt.NDArray[np.int64]) -> tuple[float | None, float | None]:
    """Share of the same category among the nearest others who state one, and the share by chance.

    None with too few speakers who state it.
    """
    stated = values != UNSTATED
    n = int(stated.sum())
    if n < 2 * SMALLEST:
        return None, None
    names, codes, sizes = np.unique(values[stated].astype(str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        return None, None
    code = np.full(len(values), -1)
    code[stated] = codes
    order = near[stated]
    ranked = np.where(stated[order], order, -1)
    first = np.array([row[row >= 0][:NEAREST] for row in ranked])
    share = (code[first] == codes[:, None]).mean()
    chance = (sizes * (sizes - 1)).sum() / (n * (n - 1))
    return round(float(share), 4), round(float(chance), 4)
