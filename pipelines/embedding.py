"""Vectors of tars as units of work: one tar and an embedder that any process can make.

On one machine they are done in this process, with all its cores or its GPU: a second process of torch on the same
cores makes both several times slower. On Ray each node, or each GPU, has one process that loads the model once.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.embed import embed_shard, embeddings_folder, unembedded
from benchmark.embedders import Embedder, EmbedderError
from pipelines import scale
from pipelines.guard import Note
from slap_model import store

if TYPE_CHECKING:
    from slap_model.model import Precision


@dataclass(frozen=True)
class Source:
    """How an embedder is made, in any process.

    Attributes:
        name: the registry's, as one asks for it.
        checkpoint: the training that it needs, where the nodes see it; None: it needs none.
        models: folder of models that were downloaded by hand.
        precision: of our own models: a node with a GPU would choose another one than a head without.
    """

    name: str
    checkpoint: Path | None = None
    models: Path | None = None
    precision: Precision = "auto"

    def make(self) -> Embedder:
        """The embedder; `AbsentError` where something that it needs is missing."""
        with _local(self.checkpoint) as folder:
            context = registry.Context(lambda _: folder, self.models, self.precision)
            return registry.entry(self.name).make(context)


@dataclass(frozen=True)
class Unit:
    """One tar to embed.

    Attributes:
        source: of the embedder.
        fingerprint: that it has to have: the vectors lie under it.
        tar: of FLACs.
        target: file of its vectors.
    """

    source: Source
    fingerprint: str
    tar: Path
    target: Path


@store.writes_to("out")
def embed(
    embedder: Embedder,
    source: Source,
    tars: Sequence[Path],
    out: Path,
    log: Callable[[str], object] | None = None,
) -> Path:
    """Embed every utterance of some tars that has no vector yet, here or on Ray.

    Args:
        embedder: a checked embedder.
        source: how another process makes the same one.
        tars: of ``<utt_id>.flac``.
        out: the folder of all embeddings, here or on object storage.
        log: is told now and then how far it is.

    Returns:
        The embedder's folder in ``out``.

    Raises:
        EmbedderError: a node makes another embedder of the same name, as with other weights.
    """
    folder = embeddings_folder(embedder, out)
    units = [Unit(source, embedder.fingerprint, tar, target) for tar, target in unembedded(folder, tars)]
    _keep(source, embedder)  # what is done here need not make it again
    try:
        for _ in scale.run(
            write_vectors,
            units,
            total=len(units),
            label=f"embed {embedder.name}",
            log=log,
            memory=None,
            whole_machine=True,
        ):
            pass
    finally:
        _made.clear()
    return folder


def seen_by_nodes(checkpoint: Path, warehouse: Path, large: Path) -> Path:
    """A training of the warehouse, where the store has it: nodes see the store, and perhaps not the warehouse.

    Args:
        checkpoint: folder of a training, or of one of its steps.
        warehouse: where trainings write.
        large: the store, which may be the warehouse.
    """
    trainings = warehouse / "checkpoints"
    if large == warehouse or not checkpoint.is_relative_to(trainings):
        return checkpoint
    return large / "checkpoints" / checkpoint.relative_to(trainings).parts[0]


def write_vectors(unit: Unit, note: Note) -> None:
    """Embed one tar: the work of a unit. An item of its own would be too short to be told.

    Raises:
        EmbedderError: what is made here is not the embedder whose vectors are asked for.
    """
    embedder = _made.get(unit.source)
    if embedder is None:
        embedder = unit.source.make()
        _keep(unit.source, embedder)
    if embedder.fingerprint != unit.fingerprint:
        raise EmbedderError(
            f"embedder {embedder.name}: on {socket.gethostname()} its fingerprint is {embedder.fingerprint[:12]}, not "
            f"{unit.fingerprint[:12]}: other weights or another version of a package; make them the same"
        )
    embed_shard(embedder, unit.tar, unit.target)


_made: dict[Source, Embedder] = {}  # the one of this process: a model is loaded once, and gone when the next one comes


def _keep(source: Source, embedder: Embedder) -> None:
    _made.clear()
    _made[source] = embedder


@contextmanager
def _local(checkpoint: Path | None) -> Iterator[Path]:
    """A training's folder in this machine's file system; a copy that goes with the block where it is a URL."""
    if checkpoint is None or store.is_local(checkpoint):
        yield checkpoint or Path()
        return
    from slap_model import mirror  # imports torch

    with tempfile.TemporaryDirectory(prefix="slap-") as folder:
        mirror.fetch(checkpoint, Path(folder))
        yield Path(folder)
