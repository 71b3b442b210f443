"""Training batches from a manifest: which sample comes when is a function of the seed and nothing else.

Audio lies in tars whose ``index.parquet`` says where each FLAC begins, so any sample is one read; captions and
their vectors are looked up by ``utt_id``, so new captions never rewrite a tar. Sample number ``i`` of a run is
always the same crop with the same caption and the same mask, whatever the number of processes: a resumed run goes on
at ``i`` without replaying anything.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from slap_model import config
from slap_model.manifest import Manifest, ManifestError


class TrainingSet(Dataset[dict[str, Tensor]]):
    """Sample ``i`` of a run: a crop, a caption vector, and the facts that label its pairs.

    Raises:
        ManifestError: a file of the manifest is absent, or no utterance has both audio and a caption.
    """

    def __init__(self, manifest: Manifest, settings: config.Config) -> None:
        self.settings, self.seed = settings, settings.train.seed
        self._cached: dict[int, np.ndarray] = {}
        self._room = int(settings.train.cache_gb * 2**30)
        try:
            self._read_audio_index(manifest)
            self._read_captions(manifest)
        except FileNotFoundError as error:
            raise ManifestError(f"{error.filename or error}: named by the manifest but absent") from error
        rows_of = {name: np.flatnonzero(self.corpus == name) for name in sorted(set(self.corpus))}
        takes = {name: max(1, round(len(rows) * manifest.shares[name])) for name, rows in rows_of.items()}
        if settings.data.balance == "corpus":
            equal = max(1, round(sum(takes.values()) / len(takes)))
            takes = dict.fromkeys(takes, equal)
        self._epochs = [(rows_of[name], self._weights_of(rows_of[name]), takes[name]) for name in takes]
        self.epoch_length = sum(takes.values())

    def __len__(self) -> int:
        return self.settings.train.steps * self.settings.train.batch

    def __getitem__(self, sample: int) -> dict[str, Tensor]:
        row = int(self.order(sample // self.epoch_length)[sample % self.epoch_length])
        rng = np.random.default_rng((self.seed, 1, sample))
        captions = self._captions[self.fact_set[row]]
        caption = captions[rng.integers(len(captions))]
        wave = self._crop(row, rng)
        return {
            "waves": torch.from_numpy(wave),
            "noise": torch.from_numpy(rng.random((2, self._patches(len(wave))), dtype=np.float32)),
            "text": torch.from_numpy(self._vectors[caption]),
            "facts": torch.from_numpy(self._facts[self.fact_set[row]]),
            "denied": torch.from_numpy(self._denied[self.fact_set[row]]),
            "used": torch.from_numpy(self._used[caption]),
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
            rows = rows[np.searchsorted(np.cumsum(weights) / weights.sum(), steps)]
        return rng.permutation(rows)

    def _weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """How often each row of a corpus is drawn, 1 on average; None: all equally often.

        Under ``balance = "label"`` a row counts by how rare its values are among those of the same attribute, averaged
        over what is stated of it.
        """
        if self.settings.data.balance != "label":
            return None
        facts = self._facts[self.fact_set[rows]]
        counts = facts.sum(axis=0)
        same = (self._attribute[:, None] == self._attribute[None, :]).astype(np.float32)
        values = same @ (counts > 0)  # of the attribute that occur in this corpus
        rarity = np.divide(same @ counts, values * counts, out=np.zeros_like(counts), where=counts > 0)
        weights: np.ndarray = (facts @ rarity) / np.maximum(facts.sum(axis=1), 1)
        weights /= weights.mean()
        return weights

    def _read_audio_index(self, manifest: Manifest) -> None:
        paths, utt_ids, corpora, tars, offsets, sizes = [], [], [], [], [], []
        for shard in manifest.shards:
            tar = manifest.root / shard["path"]
            index = pq.read_table(tar.with_suffix(".parquet"), columns=["utt_id", "offset", "size"]).to_pydict()
            if not tar.is_file():
                raise FileNotFoundError(2, "no such tar", str(tar))
            paths.append(tar)
            utt_ids += index["utt_id"]
            offsets += index["offset"]
            sizes += index["size"]
            corpora += [shard["corpus"]] * len(index["utt_id"])
            tars += [len(paths) - 1] * len(index["utt_id"])
        self._paths, self._utt_ids = paths, utt_ids
        self.corpus, self._tar = np.array(corpora), np.array(tars)
        self._offset, self._size = np.array(offsets), np.array(sizes)

    def _read_captions(self, manifest: Manifest) -> None:
        table = pq.read_table(manifest.root / manifest.facts).to_pydict()
        fact_hash = dict(zip(table["utt_id"], table["fact_hash"], strict=True))
        facts_of = dict(zip(table["fact_hash"], table["facts"], strict=True))
        captions = pq.read_table(manifest.root / manifest.captions).to_pydict()
        vectors = pq.read_table(manifest.root / manifest.vectors).to_pydict()
        vector_row = {text: row for row, text in enumerate(vectors["text"])}
        self._vectors = np.array(vectors["vector"], dtype=np.float32)[[vector_row[text] for text in captions["text"]]]

        vocabulary = sorted({fact for facts in facts_of.values() for fact in facts})
        column = {fact: number for number, fact in enumerate(vocabulary)}
        attribute = self._attribute = np.array([fact.partition("=")[0] for fact in vocabulary])
        self._used = multi_hot(captions["used"], column)
        sets: dict[str, list[int]] = {}
        for number, key in enumerate(captions["fact_hash"]):
            sets.setdefault(key, []).append(number)

        known = np.array([fact_hash.get(utt_id, "") in sets for utt_id in self._utt_ids], dtype=bool)
        if not known.any():
            raise ManifestError("no utterance of the manifest has both audio and a caption")
        keys = sorted({fact_hash[u] for u, keep in zip(self._utt_ids, known, strict=True) if keep})
        number_of = {key: number for number, key in enumerate(keys)}
        self._captions = [self._of_grain(np.array(sets[key])) for key in keys]
        self._facts = multi_hot([facts_of[key] for key in keys], column)
        same_attribute = attribute[:, None] == attribute[None, :]
        stated = (self._facts.astype(np.float32) @ same_attribute.astype(np.float32)) > 0
        self._denied = (stated & (self._facts == 0)).astype(np.float32)

        self._utt_ids = [u for u, keep in zip(self._utt_ids, known, strict=True) if keep]
        self.fact_set = np.array([number_of[fact_hash[u]] for u in self._utt_ids])
        self.corpus, self._tar = self.corpus[known], self._tar[known]
        self._offset, self._size = self._offset[known], self._size[known]

    def _of_grain(self, captions: np.ndarray) -> np.ndarray:
        """Of the captions of one set of facts, those that ``data.captions`` asks for."""
        said = self._used[captions].sum(axis=1)
        grain = self.settings.data.captions
        if grain == "mixed":
            return captions
        chosen: np.ndarray = captions[said == (said.max() if grain == "full" else said.min())]
        return chosen

    def _patches(self, samples: int) -> int:
        settings, patch = self.settings, self.settings.encoder.patch
        return (settings.frames_of(samples) // patch[0]) * (settings.frontend.mels // patch[1])

    def _crop(self, row: int, rng: np.random.Generator) -> np.ndarray:
        """A window of the clip at a random place, or the whole clip as ``data.lengths`` says."""
        wave, samples = self._wave(row), self.settings.samples
        lengths = self.settings.data.lengths
        if lengths == "own":
            samples = self.settings.samples_of(self._own_frames(len(wave)))
        if len(wave) > samples:
            start = int(rng.integers(len(wave) - samples + 1))
            crop = wave[start : start + samples]
        elif lengths == "pad":
            crop = np.pad(wave, (0, samples - len(wave)))
        else:  # repeated from a random phase
            crop = np.roll(np.resize(wave, samples), int(rng.integers(samples)))
        return crop.astype(np.float32) / 32768.0

    def _own_frames(self, samples: int) -> int:
        """Frames of a clip that keeps its length: a multiple of the bucket, so that a batch has few lengths."""
        bucket, window = self.settings.data.bucket, self.settings.frontend.frames
        frames = self.settings.frames_of(samples)
        return window if frames >= window else min(window, max(1, frames // bucket) * bucket)

    def _wave(self, row: int) -> np.ndarray:
        """One utterance as int16, from memory where there is room."""
        import soundfile

        if row in self._cached:
            return self._cached[row]
        with self._paths[self._tar[row]].open("rb") as tar:
            tar.seek(int(self._offset[row]))
            packed = tar.read(int(self._size[row]))
        wave: np.ndarray = soundfile.read(io.BytesIO(packed), dtype="int16")[0]
        if wave.nbytes <= self._room:
            self._cached[row] = wave
            self._room -= wave.nbytes
        return wave


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


def collate(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor | list[Tensor]]:
    """Samples to a batch of `slap_model.task`: clips of one length together, the shortest first."""
    groups: dict[int, list[Mapping[str, Tensor]]] = {}
    for sample in sorted(samples, key=lambda sample: len(sample["waves"])):
        groups.setdefault(len(sample["waves"]), []).append(sample)
    in_order = [sample for group in groups.values() for sample in group]
    batch: dict[str, Tensor | list[Tensor]] = {
        name: [torch.stack([sample[name] for sample in group]) for group in groups.values()]
        for name in ("waves", "noise")
    }
    return batch | {name: torch.stack([s[name] for s in in_order]) for name in ("text", "facts", "denied", "used")}


def multi_hot(lists: Sequence[Sequence[str]], column: Mapping[str, int]) -> np.ndarray:
    """float32 ``[len(lists), len(column)]`` with 1 where the list holds the word; words without a column raise."""
    hot = np.zeros((len(lists), len(column)), dtype=np.float32)
    for row, words in enumerate(lists):
        hot[row, [column[word] for word in words]] = 1
    return hot
