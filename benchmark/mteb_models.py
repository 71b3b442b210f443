"""``mteb:<name>``: any audio model that mteb registers, with mteb's own wrapper, under this benchmark's rules.

mteb decides how a model is loaded: its wrappers may read pickled weights, which ours never do. A model whose
entry asks for code of its repository is refused.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmark.embedders import AbsentError, Vectors, Wave

# mteb writes ISO 639-3, this benchmark BCP-47: the languages that its corpora have
_LANGUAGES = {
    "eng": "en", "deu": "de", "fra": "fr", "ita": "it", "spa": "es", "slk": "sk", "zho": "zh", "cmn": "zh", "pol": "pl",
    "nld": "nl", "por": "pt", "ces": "cs", "aka": "tw", "twi": "tw", "hin": "hi", "rus": "ru", "ara": "ar", "jpn": "ja",
}  # fmt: skip


class MtebEmbedder:
    """A model of mteb; waves go through it one by one, so neighbours cannot matter.

    Raises:
        AbsentError: mteb has no audio model of that name.
    """

    def __init__(self, model: str, name: str) -> None:
        from mteb import get_model_metas

        metas = {meta.name: meta for meta in get_model_metas(modalities=["audio"]) if meta.name}
        if model not in metas:
            near = ", ".join(difflib.get_close_matches(model, metas, n=3, cutoff=0.3))
            raise AbsentError(f"mteb:{model}: mteb {version('mteb')} has no audio model of that name; near it: {near}")
        self._meta: Any = metas[model]
        if self._meta.loader_kwargs.get("trust_remote_code"):
            raise AbsentError(f"mteb:{model}: its entry in mteb runs code of the model's repository; that is refused")
        self.name = name
        self.speaks_text = "text" in self._meta.modalities
        content = f"mteb 1: {version('mteb')} {model} {self._meta.revision}"
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

    @cached_property
    def trained_on(self) -> Mapping[str, Sequence[str]]:
        """As far as mteb says: its names of data sets are matched with those of our corpora."""
        from benchmark.task import load_tasks

        heard = ["".join(filter(str.isalnum, name.lower())) for name in self._meta.training_datasets or ()]
        corpora = {task.corpus for task in load_tasks()}
        known = [corpus for corpus in corpora if any(corpus.replace("_", "") in name for name in heard)]
        codes = {language.split("-")[0] for language in self._meta.languages or ()}
        languages = {_LANGUAGES.get(code, code) for code in codes}
        return {"corpora": tuple(sorted(known)), "languages": tuple(sorted(languages)), "labels": ()}

    @cached_property
    def _model(self) -> Any:
        from mteb import get_model

        try:
            return get_model(self._meta.name, revision=self._meta.revision)
        except Exception as error:  # each of mteb's wrappers fails in its own way: no network, no package, gated
            raise AbsentError(
                f"{self.name}: mteb cannot load {self._meta.name} ({type(error).__name__}: {str(error)[:200]}); "
                f"its weights would be downloaded from {self._meta.reference}"
            ) from error

    @property
    def sample_rate(self) -> int:
        """The model's own where its wrapper says so; otherwise 16 kHz, and mteb resamples."""
        return int(getattr(self._model, "sampling_rate", 16_000))

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, d]."""
        clips = [{"audio": {"array": np.array(wave), "sampling_rate": self.sample_rate}} for wave in waves]
        return self._encode(clips, "audio")

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, d] of texts, in the joint space."""
        return self._encode([{"text": text} for text in texts], "text")

    def _encode(self, rows: Sequence[Mapping[str, Any]], kind: str) -> Vectors:
        from mteb import get_task
        from torch.utils.data import DataLoader

        rows_of: Any = _Rows(rows, kind)
        loader: Any = DataLoader(rows_of, batch_size=1, collate_fn=_columns)
        asked = {"task_metadata": get_task("CREMA_D").metadata, "hf_split": "test", "hf_subset": "default"}
        found = self._model.encode(loader, show_progress_bar=False, **asked)
        return np.asarray(found, dtype=np.float32)


class _Rows:
    """What mteb's wrappers ask of a data set: rows, and ``features`` that name the columns."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
        self._rows = rows
        self.features = {kind: None}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self._rows[index])


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}
