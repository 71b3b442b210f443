"""Folders and corpora as vectors: ``slap embed``.

A folder of recordings becomes one Parquet file, ``<warehouse>/collections/<name>.parquet``, a row a recording:

===========  ===========  ==================================================================
path         String       relative to the folder
sha256       String       of the file's bytes: equal bytes are embedded once
seconds      Float64
vector       List(Float32)  before the projection, for probes
projected    List(Float32)  in the space of the texts, of length 1
fingerprint  String       of the model, `slap_model.model.Slap.fingerprint`
===========  ===========  ==================================================================

The file's metadata holds the folder. Files that cannot be read stand in ``<name>.rejects.csv`` with their reason.
While a command runs, what it has is in ``<name>.parts/``: one that was stopped goes on from there. A corpus of the
warehouse keeps its vectors where the benchmark does (`benchmark.embed`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmark.embed import embed_waves
from benchmark.files import corpora_with_tars, tars_of
from pipelines import audio
from pipelines.corpora._read import AUDIO_ENDINGS
from pipelines.settings import store_of
from slap_model import store

if TYPE_CHECKING:
    from benchmark.embedders import SlapEmbedder
    from slap_model.model import Slap

SCHEMA = {
    "path": pl.String(),
    "sha256": pl.String(),
    "seconds": pl.Float64(),
    "vector": pl.List(pl.Float32()),
    "projected": pl.List(pl.Float32()),
    "fingerprint": pl.String(),
}
AT_ONCE, BYTES_AT_ONCE = 64, 64 * 2**20  # files that are in memory together: so many, or of so many bytes
READERS = 4


class CollectionError(ValueError):
    """A folder, collection or model that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Model:
    """A loaded model and where it came from.

    Attributes:
        slap: the model.
        embedder: the same, as the benchmark wants it.
        folder: what it was loaded from.
    """

    slap: Slap
    embedder: SlapEmbedder
    folder: Path


@dataclass(frozen=True)
class Embedded:
    """What `embed_folder` did.

    Attributes:
        file: the collection.
        new: recordings that were embedded now.
        known: recordings whose vectors were there.
        rejects: files that could not be read.
        others: files that are no recordings by their name.
        seconds: of speech in the collection.
    """

    file: Path
    new: int
    known: int
    rejects: int
    others: int
    seconds: float


def load_model(warehouse: Path, folder: Path | None = None) -> Model:
    """The model of a folder, or the newest training of the warehouse that came to its end.

    Raises:
        CollectionError: there is none.
        CheckpointError: the folder holds none that can be used.
    """
    from benchmark.embedders import SlapEmbedder
    from slap_model.model import Slap, newest_checkpoint

    if folder is None:
        cards = list((warehouse / "checkpoints").glob("slap-*/step-*/checkpoint.json"))
        ended = [card for card in cards if finished(card)]
        if cards and not ended:
            raise CollectionError(
                f"no training in {warehouse / 'checkpoints'} has come to its end: let it go on, or "
                "name a checkpoint with --model"
            )
        if not ended:
            raise CollectionError(
                f"no model in {warehouse / 'checkpoints'}: train one with `slap run` (or `slap demo`), "
                "or name a checkpoint or a shared folder with --model"
            )
        folder = max(ended, key=lambda card: (card.stat().st_mtime_ns, card.parent.name)).parent
    slap = Slap.from_checkpoint(folder)
    return Model(slap, SlapEmbedder.of(slap), newest_checkpoint(folder))


def finished(card: Path) -> bool:
    """Whether the checkpoint of a card is its training's last."""
    values = json.loads(card.read_text())
    return bool(values["step"] == values["steps"])


def collection_file(warehouse: Path, name: str) -> Path:
    """Where the collection of a name lies.

    Raises:
        CollectionError: the name is no file name.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise CollectionError(f"{name!r} cannot name a collection: give --name letters and digits")
    return warehouse / "collections" / f"{name}.parquet"


def root_of(file: Path) -> Path | None:
    """The folder that a collection was made of."""
    root = pl.read_parquet_metadata(file).get("root")
    return Path(root) if root else None


def embed_folder(
    model: Model, folder: Path, file: Path, *, progress: Callable[[int, int], None] | None = None
) -> Embedded:
    """Embed every recording below a folder that has no vectors of this model yet.

    Args:
        model: from `load_model`.
        folder: searched with all folders in it; hidden files and folders are left out.
        file: the collection; its rows follow the folder, so what was deleted there is gone here.
        progress: called with (files done, files in all).

    Raises:
        CollectionError: there is no folder or no recording in it, or the collection is another folder's.
    """
    folder = folder.resolve()
    recordings, others = _recordings(folder)
    if file.is_file() and (root := root_of(file)) != folder:
        raise CollectionError(f"the collection {file.stem!r} is of {root}: give another --name")
    parts = file.with_suffix(".parts")
    parts.mkdir(parents=True, exist_ok=True)
    kept = _kept(model, file, parts)
    have = set(kept["sha256"])
    index: list[tuple[str, str]] = []
    rejects: list[tuple[str, str]] = []
    new = done = 0
    for chunk in _read_ahead(folder, recordings, have, model.slap.sample_rate):
        fresh = {one.sha256: one for one in chunk if one.wave is not None and one.sha256 not in have}
        if fresh:
            _write_part(model, list(fresh.values()), parts / f"{len(list(parts.glob('*.parquet'))):06d}.parquet")
            have |= fresh.keys()
            new += len(fresh)
        rejects += [(one.path, one.reason) for one in chunk if one.reason]
        index += [(one.path, one.sha256) for one in chunk if not one.reason]
        done += len(chunk)
        if progress is not None:
            progress(done, len(recordings))
    rows = _finish(model, file, parts, folder, index)
    pl.DataFrame(rejects, schema={"path": pl.String, "reason": pl.String}, orient="row").write_csv(
        file.with_suffix(".rejects.csv")
    )
    return Embedded(file, new, rows.height - new, len(rejects), others, float(rows["seconds"].sum()))


def embed_corpora(model: Model, warehouse: Path, corpora: Sequence[str]) -> int:
    """Embed the shards of some corpora, or of all where none is named; returns how many tars they have.

    Raises:
        CollectionError: a corpus has no shards.
    """
    from pipelines.embedding import Source, embed, seen_by_nodes

    root = store_of(warehouse)
    summaries = warehouse / "shards"
    tars = [tar for corpus in corpora_with_tars(summaries) for tar in tars_of(corpus, summaries, root / "shards")]
    there = sorted({tar.parent.name for tar in tars})
    unknown = sorted(set(corpora) - set(there))
    if unknown or not there:
        raise CollectionError(
            f"no shards of {', '.join(unknown) or 'any corpus'} in {root / 'shards'}; "
            f"there are {', '.join(there) or 'none: run `slap run` first'}"
        )
    asked = [tar for tar in tars if not corpora or tar.parent.name in corpora]
    source = Source("slap", seen_by_nodes(model.folder.resolve(), warehouse, root), precision=model.slap.precision)
    embed(model.embedder, source, asked, root / "embeddings")
    return len(asked)


# --- reading ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Read:
    """One file: its hash, and its wave where it has to be embedded, or why it cannot be."""

    path: str
    sha256: str = ""
    wave: audio.Wave | None = None
    reason: str = ""


def _recordings(folder: Path) -> tuple[list[Path], int]:
    """The files that may be recordings, sorted, and how many others there are."""
    if not folder.is_dir():
        raise CollectionError(f"{folder} is no folder")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
    ]
    recordings = [path for path in files if path.suffix.lower().removeprefix(".") in AUDIO_ENDINGS]
    if not recordings:
        raise CollectionError(
            f"no recording in {folder}: of {len(files)} files none ends in {', '.join(sorted(AUDIO_ENDINGS))}"
        )
    return recordings, len(files) - len(recordings)


def _read_ahead(folder: Path, files: Sequence[Path], have: set[str], rate: int) -> Iterator[list[_Read]]:
    """Files in chunks; while one is embedded the next is read by other threads, since decoders leave Python's lock."""
    chunks = list(_chunks(files))
    with ThreadPoolExecutor(READERS) as pool:
        ahead = [pool.submit(_read, folder, path, have, rate) for path in chunks[0]]
        for number in range(len(chunks)):
            now, ahead = ahead, []
            if number + 1 < len(chunks):
                ahead = [pool.submit(_read, folder, path, have, rate) for path in chunks[number + 1]]
            yield [one.result() for one in now]


def _chunks(files: Sequence[Path]) -> Iterator[list[Path]]:
    chunk: list[Path] = []
    size = 0
    for path in files:
        chunk.append(path)
        size += path.stat().st_size
        if len(chunk) == AT_ONCE or size > BYTES_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _read(folder: Path, path: Path, have: set[str], rate: int) -> _Read:
    # A name that is no UTF-8 is shown with replacement marks.
    name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "replace")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return _Read(name, sha256, None if sha256 in have else audio.load(path, rate=rate))
    except Exception as error:  # a broken file may raise anything in a decoder, and must not stop the others
        return _Read(name, reason=str(error) or type(error).__name__)


# --- writing ------------------------------------------------------------------------------------------------


def _kept(model: Model, file: Path, parts: Path) -> pl.DataFrame:
    """The rows that this model has made already."""
    found = [pl.read_parquet(one) for one in ([file] if file.is_file() else []) + sorted(parts.glob("*.parquet"))]
    empty = pl.DataFrame(schema=SCHEMA)
    return pl.concat([empty, *found]).filter(fingerprint=model.slap.fingerprint).unique("sha256", maintain_order=True)


def _write_part(model: Model, some: Sequence[_Read], file: Path) -> None:
    waves = [one.wave for one in some if one.wave is not None]
    vectors = np.stack(embed_waves(model.embedder, waves)).astype(np.float32)
    frame = pl.DataFrame(
        {
            "path": [one.path for one in some],
            "sha256": [one.sha256 for one in some],
            "seconds": [len(wave) / model.slap.sample_rate for wave in waves],
            "vector": vectors.tolist(),
            "projected": model.slap.project(vectors).tolist(),
            "fingerprint": model.slap.fingerprint,
        },
        schema=SCHEMA,
    )
    with store.whole(file) as written:
        frame.write_parquet(written)


def _finish(model: Model, file: Path, parts: Path, folder: Path, index: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Put the parts together: a row for each recording that is in the folder now."""
    rows = (
        pl.DataFrame(index, schema={"path": pl.String, "sha256": pl.String}, orient="row")
        .join(_kept(model, file, parts).drop("path"), on="sha256", how="left", maintain_order="left")
        .select(*SCHEMA)
    )
    with store.whole(file) as written:
        rows.write_parquet(written, metadata={"root": str(folder)})
    shutil.rmtree(parts)
    return rows
