"""Vectors of all utterances in a set of shards, computed once and kept by content.

``<out>/<embedder>-<fingerprint, 12 letters>/<sha256 of the tar, 16 letters>.parquet`` holds utt_id and
vector. The name says what went in, so a file is never stale and never computed twice.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.embedders import Embedder, Vectors, Wave
from benchmark.files import as_parquet, file_hash
from slap_model import store

WINDOW_S = 10.0  # SLAP's evaluation: windows of 10 s, 5 s overlap, mean of the embeddings
HOP_S = 5.0
_UTTERANCES_AT_ONCE = 64
_WINDOWS_IN_A_BATCH = 16


class AudioError(ValueError):
    """A shard holds audio that cannot be embedded; the message names shard and member."""


@store.writes_to("out")
def embed(
    embedder: Embedder,
    shards: Sequence[Path],
    out: Path,
    *,
    window_s: float = WINDOW_S,
    hop_s: float = HOP_S,
) -> Path:
    """Embed every utterance of ``shards`` that has no vector yet.

    Args:
        embedder: a checked embedder.
        shards: tars of ``<utt_id>.flac``.
        out: the folder of all embeddings.
        window_s: longest stretch the embedder gets, in seconds.
        hop_s: from one window's start to the next, in seconds.

    Returns:
        The embedder's folder in ``out``.
    """
    folder = embeddings_folder(embedder, out, window_s=window_s, hop_s=hop_s)
    for shard, target in unembedded(folder, shards):
        embed_shard(embedder, shard, target, window_s=window_s, hop_s=hop_s)
    return folder


def unembedded(folder: Path, shards: Sequence[Path]) -> list[tuple[Path, Path]]:
    """(tar, file of its vectors) of every tar that has no vectors yet in the folder of an embedder."""
    there = {file.name for file in store.listing(folder, "*.parquet")}
    files = zip(shards, vector_files(folder, shards), strict=True)
    return [(shard, target) for shard, target in files if target.name not in there]


def embed_shard(
    embedder: Embedder, shard: Path, target: Path, *, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> None:
    """Write the vectors of one tar, whole or not at all."""
    store.write(target, as_parquet(_vectors(embedder, shard, window_s, hop_s)))


def load_embeddings(folder: Path, shards: Sequence[Path]) -> pl.DataFrame:
    """The vectors of ``shards``: utt_id and vector (list of float32).

    Raises:
        FileNotFoundError: when a shard was not embedded yet.
    """
    files = vector_files(folder, shards)
    there = {file.name for file in store.listing(folder, "*.parquet")}
    for shard, file in zip(shards, files, strict=True):
        if file.name not in there:
            raise FileNotFoundError(f"{folder.name}: no vectors of shard {shard.name}; run benchmark.embed.embed first")
    empty = pl.DataFrame(schema={"utt_id": pl.String(), "vector": pl.List(pl.Float32())})
    return pl.concat([empty, *store.at_once(lambda file: pl.read_parquet(store.source(file)), files)])


def vector_files(folder: Path, shards: Sequence[Path]) -> list[Path]:
    """Where the vectors of each tar lie in the folder of an embedder."""
    return [folder / f"{content[:16]}.parquet" for content in store.at_once(file_hash, shards)]


def embeddings_folder(embedder: Embedder, out: Path, *, window_s: float = WINDOW_S, hop_s: float = HOP_S) -> Path:
    """Where the embedder's vectors lie; other windows than the usual ones have a folder of their own."""
    usual = (window_s, hop_s) == (WINDOW_S, HOP_S)
    return out / f"{embedder.name}-{embedder.fingerprint[:12]}{'' if usual else f'-{window_s:g}s-{hop_s:g}s'}"


def utterance_ids(shard: Path) -> tuple[str, ...]:
    """The utterances of a tar, in its order; reads the headers only, or the index of a tar on an object store."""
    return _utterance_ids(shard, file_hash(shard))


@lru_cache(maxsize=4096)
def _utterance_ids(shard: Path, content: str) -> tuple[str, ...]:
    if not store.is_local(shard):
        return tuple(pl.read_parquet(store.source(shard.with_suffix(".parquet")), columns=["utt_id"])["utt_id"])
    with tarfile.open(shard, "r:") as tar:
        return tuple(name.removesuffix(".flac") for name in tar.getnames() if name.endswith(".flac"))


def windows(wave: Wave, length: int, hop: int) -> list[Wave]:
    """Cut a wave into stretches of ``length`` samples, ``hop`` apart.

    The last one is moved back to end with the wave, so that no window is a short scrap; a wave that is
    not longer than one window is returned whole.
    """
    if len(wave) <= length:
        return [wave]
    starts = [*range(0, len(wave) - length, hop), len(wave) - length]
    return [wave[start : start + length] for start in starts]


def embed_waves(
    embedder: Embedder, waves: Sequence[Wave], *, window_s: float = WINDOW_S, hop_s: float = HOP_S
) -> list[npt.NDArray[np.float64]]:
    """The vector [d] of each wave, the mean over its windows; waves are mono at the embedder's rate."""
    length, hop = (round(seconds * embedder.sample_rate) for seconds in (window_s, hop_s))
    pieces = [windows(wave, length, hop) for wave in waves]
    embedded = _in_batches(embedder, [piece for of_one in pieces for piece in of_one])
    ends = np.cumsum([len(of_one) for of_one in pieces])
    return [part.mean(axis=0, dtype=np.float64) for part in np.split(embedded, ends[:-1])]


def _vectors(embedder: Embedder, shard: Path, window_s: float, hop_s: float) -> pl.DataFrame:
    ids: list[str] = []
    vectors: list[npt.NDArray[np.float64]] = []
    utterances = read_waves(shard, embedder.sample_rate)
    while chunk := list(islice(utterances, _UTTERANCES_AT_ONCE)):
        vectors += embed_waves(embedder, [wave for _, wave in chunk], window_s=window_s, hop_s=hop_s)
        ids += [utt_id for utt_id, _ in chunk]
    return pl.DataFrame(
        {"utt_id": ids, "vector": [vector.tolist() for vector in vectors]},
        schema={"utt_id": pl.String(), "vector": pl.List(pl.Float32())},
    )


def _in_batches(embedder: Embedder, pieces: Sequence[Wave]) -> Vectors:
    """Embed pieces shortest first, so that a batch is padded little; return them in their own order."""
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    batches = [order[i : i + _WINDOWS_IN_A_BATCH] for i in range(0, len(order), _WINDOWS_IN_A_BATCH)]
    embedded = np.concatenate([embedder.embed_audio([pieces[i] for i in batch]) for batch in batches])
    return np.asarray(embedded[np.argsort(order)], dtype=np.float32)


def read_waves(shard: Path, sample_rate: int) -> Iterator[tuple[str, Wave]]:
    """(utt_id, mono wave at ``sample_rate``) of every FLAC in a tar, in the tar's order."""
    import soundfile
    import soxr

    with store.here(shard) as file, tarfile.open(file, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if not member.name.endswith(".flac") or content is None:
                continue
            try:
                wave, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise AudioError(f"{shard.name}: {member.name} cannot be decoded; build the shard again") from error
            if not len(wave):
                raise AudioError(f"{shard.name}: {member.name} is empty; build the shard again")
            mono = wave.mean(axis=1)
            yield (
                member.name.removesuffix(".flac"),
                mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate),
            )
