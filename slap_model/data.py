"""Training batches from a manifest: which sample comes when is a function of the seed and nothing else.

Audio lies in tars whose ``index.parquet`` says where each FLAC begins, so any sample is one read; captions and
their vectors are looked up by ``utt_id``, so new captions never rewrite a tar. Sample number ``i`` of a run is
always the same crop with the same caption: a resumed run goes on at ``i`` without replaying anything.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset

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
            raise ManifestError(f"{error.filename}: named by the manifest but absent") from error
        self._epochs = [
            (rows, max(1, round(len(rows) * manifest.shares[corpus])))
            for corpus in sorted(set(self.corpus))
            if len(rows := np.flatnonzero(self.corpus == corpus))
        ]
        self.epoch_length = sum(take for _, take in self._epochs)

    def __len__(self) -> int:
        return self.settings.train.steps * self.settings.train.batch

    def __getitem__(self, sample: int) -> dict[str, Tensor]:
        row = int(self.order(sample // self.epoch_length)[sample % self.epoch_length])
        rng = np.random.default_rng((self.seed, 1, sample))
        captions = self._captions[self.fact_set[row]]
        caption = captions[rng.integers(len(captions))]
        facts = self._facts[self.fact_set[row]]
        return {
            "waves": torch.from_numpy(self._crop(row, rng)),
            "text": torch.from_numpy(self._vectors[caption]),
            "facts": torch.from_numpy(facts),
            "denied": torch.from_numpy(self._denied[self.fact_set[row]]),
            "used": torch.from_numpy(self._used[caption]),
        }

    @lru_cache(maxsize=4)  # noqa: B019 - one set lives as long as its run
    def order(self, epoch: int) -> np.ndarray:
        """Rows in the order of one epoch: each corpus' share, continuing where the last epoch left it, shuffled."""
        taken = []
        for number, (rows, take) in enumerate(self._epochs):
            first, last = epoch * take, (epoch + 1) * take
            cycles = range(first // len(rows), (last - 1) // len(rows) + 1)
            endless = [np.random.default_rng((self.seed, 2, number, cycle)).permutation(rows) for cycle in cycles]
            taken.append(np.concatenate(endless)[first - cycles[0] * len(rows) :][:take])
        return np.random.default_rng((self.seed, 3, epoch)).permutation(np.concatenate(taken))

    def sample_of_waves(self, count: int) -> Tensor:
        """``[count, samples]`` waves of the first samples, for the input statistics."""
        return torch.stack([self[i]["waves"] for i in range(min(count, len(self)))])

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
        attribute = np.array([fact.partition("=")[0] for fact in vocabulary])
        self._used = multi_hot(captions["used"], column)
        sets: dict[str, list[int]] = {}
        for number, key in enumerate(captions["fact_hash"]):
            sets.setdefault(key, []).append(number)

        known = np.array([fact_hash.get(utt_id, "") in sets for utt_id in self._utt_ids], dtype=bool)
        if not known.any():
            raise ManifestError("no utterance of the manifest has both audio and a caption")
        keys = sorted({fact_hash[u] for u, keep in zip(self._utt_ids, known, strict=True) if keep})
        number_of = {key: number for number, key in enumerate(keys)}
        self._captions = [np.array(sets[key]) for key in keys]
        self._facts = multi_hot([facts_of[key] for key in keys], column)
        same_attribute = attribute[:, None] == attribute[None, :]
        stated = (self._facts.astype(np.float32) @ same_attribute.astype(np.float32)) > 0
        self._denied = (stated & (self._facts == 0)).astype(np.float32)

        self._utt_ids = [u for u, keep in zip(self._utt_ids, known, strict=True) if keep]
        self.fact_set = np.array([number_of[fact_hash[u]] for u in self._utt_ids])
        self.corpus, self._tar = self.corpus[known], self._tar[known]
        self._offset, self._size = self._offset[known], self._size[known]

    def _crop(self, row: int, rng: np.random.Generator) -> np.ndarray:
        wave, samples = self._wave(row), self.settings.samples
        if len(wave) <= samples:
            # A shorter clip is repeated from a random phase: padding would teach the encoder its length.
            crop = np.roll(np.resize(wave, samples), int(rng.integers(samples)))
        else:
            start = int(rng.integers(len(wave) - samples + 1))
            crop = wave[start : start + samples]
        return crop.astype(np.float32) / 32768.0

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


def multi_hot(lists: Sequence[Sequence[str]], column: Mapping[str, int]) -> np.ndarray:
    """float32 ``[len(lists), len(column)]`` with 1 where the list holds the word; words without a column raise."""
    hot = np.zeros((len(lists), len(column)), dtype=np.float32)
    for row, words in enumerate(lists):
        hot[row, [column[word] for word in words]] = 1
    return hot
