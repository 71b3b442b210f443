"""What a training run reads, by hash. Needs nothing but the standard library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WITHDRAWN = ".withdrawn"  # ending of the mark beside a manifest; it holds the day


class ManifestError(ValueError):
    """A manifest, or a file it names, that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Manifest:
    """What a training run reads, by hash. ``root`` is the warehouse; every path in it is relative to it."""

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
        """Read ``<warehouse>/manifests/<hash>.json``.

        Raises:
            ManifestError: absent, incomplete, or naming a path outside the warehouse.
        """
        try:
            values = json.loads(path.read_text())
            root = path.resolve().parent.parent
            files = {key: values[key]["path"] for key in ("facts", "captions", "vectors")}
            for name in [*files.values(), *(shard["path"] for shard in values["shards"])]:
                if not (root / name).resolve().is_relative_to(root):
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
        except OSError as error:
            raise ManifestError(f"{path}: no manifest there; materialise the asset `manifest` first") from error
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ManifestError(f"{path}: not a manifest: {error!r}") from error


def manifest_hash(values: Mapping[str, Any]) -> str:
    """Hash of a manifest's content, independent of layout."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def withdrawn_on(path: Path) -> str:
    """The day when a speaker in the manifest's shards withdrew; "" where nobody did."""
    mark = path.with_suffix(WITHDRAWN)
    return mark.read_text().strip() if mark.is_file() else ""
