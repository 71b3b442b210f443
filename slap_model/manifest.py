"""What a training run reads, by hash. Needs nothing but the standard library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from slap_model import store

WITHDRAWN = ".withdrawn"  # ending of the mark beside a manifest; it holds the day


class ManifestError(ValueError):
    """A manifest, or a file it names, that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Manifest:
    """What a training run reads, by hash. ``root`` is the warehouse, or its store; every path is relative to it."""

    root: Path
    hash: str
    shards: Sequence[Mapping[str, Any]]  # path, sha256, corpus, split, samples, seconds
    shares: Mapping[str, float]  # corpus -> share of it seen in one epoch
    facts: str
    captions: str
    vectors: str
    tower: str
    trained_on: Mapping[str, Sequence[str]]  # corpora, languages, labels

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read ``<root>/manifests/<hash>.json``, here or on an object store.

        Raises:
            ManifestError: absent, incomplete, or naming a path outside the warehouse.
        """
        try:
            values = json.loads(store.content(path))
            root = (path.resolve() if store.is_local(path) else path).parent.parent
            files = {key: values[key]["path"] for key in ("facts", "captions", "vectors")}
            for name in [*files.values(), *(shard["path"] for shard in values["shards"])]:
                if _leaves(root, name):
                    raise ManifestError(f"{path}: {name} leaves the warehouse")
            return cls(
                root=root,
                hash=manifest_hash(values),
                shards=values["shards"],
                shares=values["shares"],
                tower=values["tower"],
                trained_on=values["trained_on"],
                **files,
            )
        except store.StoreError as error:
            raise ManifestError(str(error)) from error
        except OSError as error:
            raise ManifestError(f"{path}: no manifest there; materialise the asset `manifest` first") from error
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ManifestError(f"{path}: not a manifest: {error!r}") from error


def _leaves(root: Path, name: str) -> bool:
    """Whether a path of a manifest leads out of its root."""
    if store.is_local(root):
        return not (root / name).resolve().is_relative_to(root)
    return PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "://" in name


def manifest_hash(values: Mapping[str, Any]) -> str:
    """Hash of a manifest's content, independent of layout."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def withdrawn_on(path: Path) -> str:
    """The day when a speaker in the manifest's shards withdrew; "" where nobody did."""
    mark = path.with_suffix(WITHDRAWN)
    return store.content(mark).decode().strip() if store.exists(mark) else ""
