"""What the corpora of acted emotion share: the name of a file says who speaks and what is acted.

Copies of these releases differ in their folders (flat, a folder an emotion, everything twice), so a recording is
found by its name at any depth, and the copy in the fewest folders is taken. A code of an emotion means another thing in
another corpus ("A" is anger, or *Angst*), so each recipe decodes its own codes into the owner's word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipelines.corpora._base import RecipeError, Rows

if TYPE_CHECKING:
    from pipelines.voices import Voice

LFS_POINTER = b"version https://git-lfs"
LARGEST_POINTER = 200  # bytes; a pointer has about 130

# What an emotion does to a made-up voice, an invention like all traits in `pipelines.voices`. Only ratings of the
# voice are used, so that a sad speaker does not sound like a made-up patient with depression.
SOUNDS: dict[str, dict[str, float]] = {
    "neutral": {},
    "calm": {"voice_asthenia": 0.5},
    "happy": {"voice_strain": 0.7},
    "sad": {"voice_monotony": 0.7, "voice_weakness": 0.4},
    "angry": {"voice_harshness": 0.9},
    "fearful": {"voice_breathiness": 0.8, "voice_pauses": 0.4},
    "disgusted": {"voice_roughness": 0.8},
    "surprised": {"voice_strain": 0.4, "voice_breathiness": 0.6},
    "bored": {"voice_monotony": 1.0},
}


@dataclass(frozen=True)
class Clip:
    """One recording: its ``path`` relative to the root, and the parts of its ``name``."""

    path: str
    name: re.Match[str]


def clips(
    root: Path,
    name: re.Pattern[str],
    rows: Rows,
    *,
    looks_like: str,
    advice: str,
    endings: tuple[str, ...] = (".wav",),
    key: Callable[[re.Match[str]], str] | None = None,
    twins: str | None = None,
) -> list[Clip]:
    """Find the recordings below ``root`` by their names, sorted by path.

    Args:
        root: the corpus, or a folder around it.
        name: of a file, ending and all.
        rows: takes the rejects: other names, second copies and git-lfs pointers.
        looks_like: the name in words, for the rejects.
        advice: what to do where nothing is found.
        endings: of a recording, the best first: a recording in a later one stands in where the best is missing.
        key: what two copies of a recording have in common; None: the name without its ending.
        twins: begins the name of a folder whose files are no speech, in lower case.

    Raises:
        RecipeError: there is no recording.
    """
    found: dict[str, Clip] = {}
    pointers = 0
    for ending in endings:
        for path in sorted(_files(root, ending, twins), key=lambda path: (path.count("/"), path)):
            parts = name.match(PurePosixPath(path).name)
            if parts is None:
                rows.reject(path, f"name is not {looks_like}")
                continue
            same = PurePosixPath(path).stem if key is None else key(parts)
            if is_pointer(root / path):
                pointers += 1
                rows.reject(path, "git-lfs pointer in place of audio, run `git lfs pull`")
            elif same in found:
                rows.reject(path, "second copy of a recording")
            else:
                found[same] = Clip(path, parts)
    if not found:
        raise RecipeError(
            f"{root}: no audio, only {pointers} git-lfs pointers: run `git lfs pull` in the clone"
            if pointers
            else f"{root}: no {looks_like} found; {advice}"
        )
    return sorted(found.values(), key=lambda clip: clip.path)


def _files(root: Path, ending: str, twins: str | None) -> Iterator[str]:
    for folder, inner, files in os.walk(root, followlinks=True):
        inner[:] = [name for name in inner if twins is None or not name.lower().startswith(twins)]
        inside = Path(folder).relative_to(root)
        for file in files:
            if file.lower().endswith(ending) and not file.startswith("._"):
                yield (inside / file).as_posix()


def is_pointer(path: Path) -> bool:
    """Whether git-lfs has left a pointer in place of the file."""
    if path.stat().st_size > LARGEST_POINTER:
        return False
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def observe_acted(rows: Rows, speaker_id: str, utt_id: str, emotion: str, intensity: str | None = None) -> None:
    """Record what the actor was asked for, in the owner's words; an intensity that is not given has no row."""
    rows.observe(speaker_id, "emotion", emotion, source="acted", utt_id=utt_id)
    rows.observe(speaker_id, "emotion_intensity", intensity, source="acted", utt_id=utt_id)


def as_acted(voice: Voice, emotion: str) -> Voice:
    """The made-up speaker, acting one of `SOUNDS`."""
    return replace(voice, traits=tuple(sorted(SOUNDS[emotion].items())))
