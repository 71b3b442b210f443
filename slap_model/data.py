"""Training batches from a manifest: which sample comes when is a function of the seed and nothing else.

Audio lies in tars whose index says where each FLAC begins, so any sample is one read; captions and their vectors are
looked up by ``utt_id``, so new captions never rewrite a tar. Sample number ``i`` of a run is always the same crop with
the same caption and the same mask, whatever the number of processes: a resumed run goes on at ``i`` without replaying
anything.

What is known of a million clips is held in a few arrays without Python objects: forked loaders share their pages, and
counting references copies none of them. The captions' vectors are a file that is mapped.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from slap_model import config, store
from slap_model.flac import Flac, FlacError
from slap_model.manifest import Manifest, ManifestError

ROWS_AT_ONCE = 65_536  # of a table too large to hold
HELD = 2**20  # bytes of a clip that waits until its batch is filled: 64 recordings of hours are too much to hold
NONE = -1  # no key: Python's hash of a text is never -1


class Kept:
    """A clip that was decoded before."""

    def __init__(self, wave: np.ndarray) -> None:
        self._wave, self.samples, self.size = wave, len(wave), 0

    def read(self, start: int, out: np.ndarray) -> None:
        """As of `Flac`."""
        out[:] = self._wave[start : start + len(out)]


@dataclass(frozen=True)
class Drawn:
    """What chance chose for one sample; its mask is drawn from ``rng`` next."""

    row: int
    clip: Flac | Kept  # of a large one, the window that the model hears
    samples: int  # of what the model hears
    at: int  # where in the clip that begins
    turn: int  # of a clip that is repeated, by how much it is turned
    facts: int  # which set
    caption: int
    rng: np.random.Generator


class TrainingSet(Dataset[dict[str, Tensor]]):
    """Sample ``i`` of a run: a crop, a caption vector, and the facts that label its pairs.

    Raises:
        ManifestError: a file of the manifest is absent or damaged, a caption lacks its vector, or no utterance has both
            audio and a caption.
    """

    def __init__(self, manifest: Manifest, settings: config.Config) -> None:
        self.root, self.settings, self.seed = manifest.root, settings, settings.train.seed
        self._cached: dict[int, np.ndarray] = {}
        self._room = int(settings.train.cache_gb * 2**30)
        try:
            self._read(manifest)
        except FileNotFoundError as error:
            raise ManifestError(f"{error.filename or error}: named by the manifest but absent") from error
        rows_of = {name: np.flatnonzero(self.corpus == code) for code, name in enumerate(self.corpora)}
        rows_of = {name: rows.astype(np.int32) for name, rows in rows_of.items() if len(rows)}
        takes = {name: max(1, round(len(rows) * manifest.shares[name])) for name, rows in rows_of.items()}
        if settings.data.balance == "corpus":
            equal = max(1, round(sum(takes.values()) / len(takes)))
            takes = dict.fromkeys(takes, equal)
        self._epochs = [(rows_of[name], self._weights_of(rows_of[name]), takes[name]) for name in takes]
        self.epoch_length = sum(takes.values())
        pa.default_memory_pool().release_unused()

    def __len__(self) -> int:
        return self.settings.train.steps * self.settings.train.batch

    def __getitem__(self, sample: int) -> dict[str, Tensor]:
        batch = self.batch([sample])
        return {name: (value if isinstance(value, Tensor) else value[0])[0] for name, value in batch.items()}

    def batch(self, samples: Sequence[int]) -> dict[str, Tensor | list[Tensor]]:
        """These samples as a batch of `slap_model.task`: clips of one length together, the shortest first.

        Each clip is decoded to its place in the batch, but a large one when it is drawn.

        Raises:
            ManifestError: a clip cannot be read.
            slap_model.store.StoreError: the store does not answer.
        """
        drawn = sorted(map(self._draw, samples), key=lambda one: one.samples)
        groups = [list(group) for _, group in groupby(drawn, key=lambda one: one.samples)]
        waves = [room(len(group), group[0].samples, dtype=torch.int16) for group in groups]
        noise = [room(len(group), 2, self._patches(group[0].samples), dtype=torch.float32) for group in groups]
        for group, wave, random in zip(groups, waves, noise, strict=True):
            for one, hears, masks in zip(group, wave.numpy(), random.numpy(), strict=True):
                self._hear(one, hears)
                one.rng.random(out=masks, dtype=np.float32)
        facts = self._hot(self._facts[[one.facts for one in drawn]])
        captions = [one.caption for one in drawn]
        return {
            "waves": waves,
            "noise": noise,
            "text": torch.from_numpy(np.asarray(self._vectors[self._vector[captions]])),
            "facts": torch.from_numpy(facts),
            "denied": torch.from_numpy(self._denied(facts)),
            "used": torch.from_numpy(self._hot(self._used[captions])),
        }

    @lru_cache(maxsize=4)  # noqa: B019 - one set lives as long as its run
    def order(self, epoch: int) -> np.ndarray:
        """Rows in the order of one epoch: each corpus' take, continuing where the last epoch left it, shuffled."""
        taken = []
        for number, (rows, weights, take) in enumerate(self._epochs):
            first, last = epoch * take, (epoch + 1) * take
            cycles = range(first // len(rows), (last - 1) // len(rows) + 1)
            endless = [self._cycle(rows, weights, (self.seed, 2, number, cycle)) for cycle in cycles]
            taken.append(np.concatenate(endless)[first - cycles[0] * len(rows) :][:take])
        return np.random.default_rng((self.seed, 3, epoch)).permutation(np.concatenate(taken))

    def sample_of_waves(self, count: int) -> list[Tensor]:
        """Waves ``[samples]`` of the first samples, for the input statistics."""
        return [self[i]["waves"] for i in range(min(count, len(self)))]

    def _cycle(self, rows: np.ndarray, weights: np.ndarray | None, seed: tuple[int, ...]) -> np.ndarray:
        """One turn of a corpus: each row once, or as often as its weight says (to within one), shuffled."""
        rng = np.random.default_rng(seed)
        if weights is not None:
            steps = (np.arange(len(rows)) + rng.random()) / len(rows)
            up_to = np.cumsum(weights)
            rows = rows[np.searchsorted(up_to / up_to[-1], steps)]
        return rng.permutation(rows)

    def _weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """How often each row of a corpus is drawn, 1 on average; None: all equally often.

        Under ``balance = "label"`` a row counts by how rare its values are among those of the same attribute, averaged
        over what is stated of it.
        """
        if self.settings.data.balance != "label":
            return None
        rows_of_set = np.bincount(self.fact_set[rows], minlength=len(self._facts))
        stating, fact = np.nonzero(np.unpackbits(self._facts, axis=1, count=len(self._attribute)))
        counts = np.bincount(fact, rows_of_set[stating], minlength=len(self._attribute))
        occur = counts > 0  # in this corpus
        of_attribute = np.bincount(self._attribute, counts)[self._attribute]
        values = np.bincount(self._attribute, occur)[self._attribute]
        rarity = np.divide(of_attribute, values * counts, out=np.zeros_like(counts), where=occur)
        stated = np.bincount(stating, minlength=len(self._facts))
        of_set = np.bincount(stating, rarity[fact], minlength=len(self._facts)) / np.maximum(stated, 1)
        weights: np.ndarray = of_set[self.fact_set[rows]]
        weights /= weights.mean()
        return weights

    def _read(self, manifest: Manifest) -> None:
        """Where each clip lies, what is known of it and what is said of that; clips without a caption are left out."""
        facts, captions, vectors = (
            manifest.root / name for name in (manifest.facts, manifest.captions, manifest.vectors)
        )
        said_of, told_of = _keys(captions, "fact_hash"), _keys(facts, "fact_hash")
        of_clip = self._read_index(manifest, facts, np.where(np.isin(told_of, said_of), told_of, NONE))
        sets, fact_set = np.unique(of_clip, return_inverse=True)
        self.fact_set = fact_set.astype(np.int32)

        set_said = _find(sets, said_of)
        rows = np.argsort(set_said, kind="stable")
        rows = rows[set_said[rows] >= 0]  # captions in the order of their sets
        used = _rows_of(captions, "used", rows)
        asked_for = of_grain(self.settings.data.captions, pc.list_value_length(used).to_numpy(), set_said[rows])
        rows, used = rows[asked_for], used.filter(pa.array(asked_for))
        self._captions = np.searchsorted(set_said[rows], np.arange(len(sets) + 1))

        stated = _rows_of(facts, "facts", _find(told_of, sets))
        vocabulary = sorted({*stated.flatten().unique().to_pylist(), *used.flatten().unique().to_pylist()})
        self._facts, self._used = (packed(lists, vocabulary) for lists in (stated, used))
        attributes = [fact.partition("=")[0] for fact in vocabulary]
        self._attribute = np.unique(attributes, return_inverse=True)[1]

        texts = _keys(vectors, "text")
        self._vector = _find(texts, _keys(captions, "text")[rows])
        if (missing := int((self._vector < 0).sum())) > 0:
            raise ManifestError(
                f"{vectors}: no vector for {missing} of {len(rows)} captions; materialise `text_vectors` and `manifest`"
            )
        self._vectors = _mapped(vectors, len(texts))

    def _read_index(self, manifest: Manifest, facts: Path, told_of: np.ndarray) -> np.ndarray:
        """Where each clip lies, and the key of its set of facts; ``told_of`` is that of each row of ``facts``."""
        self._tars = [manifest.root / shard["path"] for shard in manifest.shards]
        self.corpora = sorted({shard["corpus"] for shard in manifest.shards})
        indexes = store.at_once(_index_of, self._tars)
        rows = [len(utt_id) for utt_id, _, _ in indexes]
        utt_id, offset, size = (np.concatenate(parts) for parts in zip(*indexes, strict=True))
        codes = [self.corpora.index(shard["corpus"]) for shard in manifest.shards]
        at = _find(_keys(facts, "utt_id"), utt_id)
        of_clip: np.ndarray = np.where(at < 0, NONE, told_of[at])
        known: np.ndarray = of_clip != NONE
        if not known.any():
            raise ManifestError("no utterance of the manifest has both audio and a caption")
        self.corpus = np.repeat(np.array(codes, dtype=np.int16), rows)[known]
        self._tar = np.repeat(np.arange(len(rows), dtype=np.int32), rows)[known]
        self._offset, self._size = offset[known], size[known]
        of_known: np.ndarray = of_clip[known]
        return of_known

    def _hot(self, bits: np.ndarray) -> np.ndarray:
        """float32 ``[n, vocabulary]`` with 1 for each fact of rows of `packed`."""
        return np.unpackbits(bits, axis=1, count=len(self._attribute)).astype(np.float32)

    def _denied(self, facts: np.ndarray) -> np.ndarray:
        """float32 ``[n, vocabulary]`` with 1 for the other values of the attributes that are stated."""
        row, fact = np.nonzero(facts)
        stated = np.zeros((len(facts), int(self._attribute.max(initial=0)) + 1), dtype=bool)
        stated[row, self._attribute[fact]] = True
        denied: np.ndarray = (stated[:, self._attribute] & (facts == 0)).astype(np.float32)
        return denied

    def _patches(self, samples: int) -> int:
        settings, patch = self.settings, self.settings.encoder.patch
        return (settings.frames_of(samples) // patch[0]) * (settings.frontend.mels // patch[1])

    def _draw(self, sample: int) -> Drawn:
        """All that is random of a sample but its mask."""
        row = int(self.order(sample // self.epoch_length)[sample % self.epoch_length])
        rng = np.random.default_rng((self.seed, 1, sample))
        facts = int(self.fact_set[row])
        first, end = self._captions[facts : facts + 2]
        caption = int(first + rng.integers(end - first))
        with self._named(row):
            clip = self._clip(row)
        samples, at, turn = self.settings.samples, 0, 0
        if self.settings.data.lengths == "own":
            samples = self.settings.samples_of(self._own_frames(clip.samples))
        if clip.samples > samples:
            at = int(rng.integers(clip.samples - samples + 1))
            if clip.size > HELD:
                window = np.empty(samples, np.int16)
                with self._named(row):
                    clip.read(at, window)
                clip, at = Kept(window), 0
        elif self.settings.data.lengths != "pad":
            turn = int(rng.integers(samples))
        return Drawn(row, clip, samples, at, turn, facts, caption, rng)

    def _hear(self, drawn: Drawn, out: np.ndarray) -> None:
        """Fill ``out`` with the clip as ``data.lengths`` says."""
        clip = drawn.clip
        with self._named(drawn.row):
            if clip.samples >= len(out) and not drawn.turn:
                clip.read(drawn.at, out)
            elif self.settings.data.lengths == "pad":
                clip.read(0, out[: clip.samples])
                out[clip.samples :] = 0
            else:
                wave = np.empty(clip.samples, np.int16)
                clip.read(0, wave)
                repeated(wave, drawn.turn, out)

    @contextmanager
    def _named(self, row: int) -> Iterator[None]:
        """Say which clip it is that cannot be read."""
        try:
            yield
        except store.StoreError:  # says what to do, and the clip is not to blame
            raise
        except (OSError, FlacError) as error:
            raise ManifestError(
                f"{self._tars[self._tar[row]]}: the clip at byte {self._offset[row]} cannot be read: {error!r}; "
                "materialise the corpus' shards and `manifest` again"
            ) from error

    def _own_frames(self, samples: int) -> int:
        """Frames of a clip that keeps its length: a multiple of the bucket, so that a batch has few lengths."""
        bucket, window = self.settings.data.bucket, self.settings.frontend.frames
        frames = self.settings.frames_of(samples)
        return window if frames >= window else min(window, max(1, frames // bucket) * bucket)

    def _clip(self, row: int) -> Flac | Kept:
        """One utterance, from memory where there is room for all of it."""
        if row in self._cached:
            return Kept(self._cached[row])
        clip = Flac(store.read(self._tars[self._tar[row]], int(self._offset[row]), int(self._size[row])))
        if 2 * clip.samples > self._room:
            return clip
        wave = np.empty(clip.samples, np.int16)
        clip.read(0, wave)
        self._cached[row] = wave
        self._room -= wave.nbytes
        return Kept(wave)


class Batches(Sampler[list[int]]):
    """The sample numbers of this process's part of each step: of all numbers of the step, every ``world``-th.

    The union over the processes is the same whatever their number.
    """

    def __init__(self, steps: range, batch: int, rank: int = 0, world: int = 1) -> None:
        self.steps, self.batch, self.rank, self.world = steps, batch, rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield list(range(step * self.batch + self.rank, (step + 1) * self.batch, self.world))


def room(*shape: int, dtype: torch.dtype) -> Tensor:
    """A tensor to be filled; a loader's is in memory that the trainer shares, so that handing over copies nothing."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    shared: Any = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=dtype).set_(shared).view(shape)


def repeated(wave: np.ndarray, phase: int, out: np.ndarray) -> None:
    """Fill ``out`` with the wave again and again, turned by ``phase``: `numpy.roll` of `numpy.resize`, in one copy."""

    def pieces(first: int, count: int) -> Iterator[np.ndarray]:
        while count > 0:
            piece = wave[first : first + count]
            yield piece
            first, count = 0, count - len(piece)

    samples = len(out)
    np.concatenate([*pieces((samples - phase) % len(wave), phase), *pieces(0, samples - phase)], out=out)


def of_grain(grain: str, said: np.ndarray, fact_set: np.ndarray) -> np.ndarray:
    """Which captions ``data.captions`` asks for, of how many facts each says and the set of facts it is of."""
    if grain == "mixed":
        return np.ones(len(said), dtype=bool)
    wanted = np.full(int(fact_set.max()) + 1, 0 if grain == "full" else np.iinfo(said.dtype).max, dtype=said.dtype)
    (np.maximum if grain == "full" else np.minimum).at(wanted, fact_set, said)
    chosen: np.ndarray = said == wanted[fact_set]
    return chosen


def packed(lists: pa.Array, vocabulary: Sequence[str]) -> np.ndarray:
    """uint8 ``[len(lists), vocabulary / 8]``: a bit for each word that a list holds, as `numpy.unpackbits` reads it."""
    row = pc.list_parent_indices(lists).to_numpy()
    word = pc.index_in(lists.flatten(), value_set=pa.array(vocabulary, pa.string())).to_numpy()
    bits = np.zeros((len(lists), -(-len(vocabulary) // 8)), dtype=np.uint8)
    np.bitwise_or.at(bits, (row, word // 8), (128 >> word % 8).astype(np.uint8))
    return bits


def _index_of(tar: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The key of each ``utt_id``, and where its FLAC lies in a tar: offset and size in bytes."""
    with _table(tar.with_suffix(".parquet")) as stored:
        index = stored.read(["utt_id", "offset", "size"])
    if not store.exists(tar):
        raise FileNotFoundError(2, "no such tar", str(tar))
    return _hashed(index["utt_id"]), index["offset"].to_numpy(), index["size"].to_numpy()


def _keys(path: Path, column: str) -> np.ndarray:
    """The key of each text of a column."""
    with _table(path) as stored:
        batches = stored.iter_batches(ROWS_AT_ONCE, columns=[column])
        return np.concatenate([np.empty(0, np.int64), *(_hashed(batch.column(0)) for batch in batches)])


def _hashed(texts: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int64 keys that are equal for equal texts, in this process: a million texts are eight megabytes.

    Python's hash is keyed at random and has 64 bits: that two of a million texts share one has odds of 1 to 37 million.
    """
    return np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts))


def _find(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """int32: where among ``values`` each of ``wanted`` first stands; -1: nowhere."""
    if not len(values):
        return np.full(len(wanted), -1, np.int32)
    order = np.argsort(values, kind="stable").astype(np.int32)
    at = np.minimum(np.searchsorted(values, wanted, sorter=order), len(values) - 1)
    found: np.ndarray = np.where(values[order[at]] == wanted, order[at], -1)
    return found


def _rows_of(path: Path, column: str, rows: np.ndarray) -> pa.Array:
    """Some rows of a column that may be too large to hold, as lists of strings."""
    in_file = np.argsort(rows, kind="stable")
    wanted, parts, passed = rows[in_file], [], 0
    with _table(path) as stored:
        for batch in stored.iter_batches(ROWS_AT_ONCE, columns=[column]):
            here = wanted[np.searchsorted(wanted, passed) : np.searchsorted(wanted, passed + len(batch))]
            parts.append(batch.column(0).take(pa.array(here - passed)).cast(pa.list_(pa.string())))
            passed += len(batch)
    return pa.concat_arrays(parts).take(pa.array(np.argsort(in_file)))


def _mapped(path: Path, rows: int) -> np.ndarray:
    """The vectors of a table, float32 ``[rows, dimension]``, mapped from a file that all processes here share."""

    def fill(flat: BinaryIO) -> None:
        with _table(path) as stored:
            for batch in stored.iter_batches(ROWS_AT_ONCE // 16, columns=["vector"]):
                flat.write(batch.column(0).flatten().to_numpy(zero_copy_only=False).astype(np.float32).data)

    with ExitStack() as held:
        name = hashlib.sha256(f"{path} {store.version(path)}".encode()).hexdigest()[:32]
        flat = held.enter_context(store.shared(f"vectors-{name}", fill))
        vectors: np.ndarray = np.memmap(flat, np.float32, "r").reshape(rows, -1)
        weakref.finalize(vectors, held.pop_all().close)
    return vectors


@contextmanager
def _table(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file to read, of which no more is in memory than what is asked for.

    Raises:
        ManifestError: it is damaged.
    """
    try:
        with store.here(path) as file:
            yield pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20)
    except (pa.ArrowException, KeyError) as error:
        raise ManifestError(f"{path}: not the table that the manifest means: {error}") from error
