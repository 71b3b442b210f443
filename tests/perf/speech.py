"""Generated speech-like clips, as waves or as a manifest over tars of FLAC, to train on for speed."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from slap_model import data

RATE = 16_000
DECODES = importlib.util.find_spec("soundfile") is not None
FACTS = {
    "sex": ("female", "male"),
    "age": ("child", "young", "middle", "old"),
    "depression": ("none", "mild", "severe"),
}
CORPORA = ("made", "made too")
# Seconds of the clips in ../shared/audio at the deciles from 0 to 100 %, from the files' headers: LibriSpeech (251),
# speechocean762 (750) and Common Voice Twi (272), each corpus with the same weight. The half-second digits of the Free
# Spoken Digit Dataset are left out: they would make `lengths = "own"` look better than speech does.
DECILES = (1.6, 2.7, 3.2, 3.5, 4.1, 4.6, 5.6, 8.3, 13.4, 14.9, 17.2)


def seconds_like_real(count: int) -> list[float]:
    """Lengths of ``count`` clips, evenly spread over the distribution of real ones, in a fixed random order."""
    at = (np.random.default_rng(0).permutation(count) + 0.5) / count
    return [float(one) for one in np.interp(at, np.linspace(0, 1, len(DECILES)), DECILES)]


def voice(seconds: float, seed: int) -> np.ndarray:
    """Harmonics of a gliding pitch under a syllable's envelope, with breath: float32 in [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    phase = np.cumsum(2 * np.pi * (rng.uniform(90, 250) + 20 * np.sin(2 * np.pi * time)) / RATE)
    tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.abs(np.sin(2 * np.pi * 2 * time))
    return (0.1 * tone + 0.01 * rng.standard_normal(len(time))).astype(np.float32)


def corpus(folder: Path, seconds: Sequence[float], text_dim: int) -> Path:
    """Write a corpus with a clip for each of ``seconds``, all sets of `FACTS` in turn, and random caption vectors.

    Returns:
        the manifest's file.
    """
    pack = flac if DECODES else pcm
    return corpus_of(folder, [pack(voice(length, number)) for number, length in enumerate(seconds)], text_dim)


def corpus_of(folder: Path, clips: Sequence[bytes], text_dim: int, tars: int = 1) -> Path:
    """The same of clips that are packed already, in one or several tars, which belong to two corpora in turn."""
    (folder / "captions").mkdir(parents=True)
    (folder / "manifests").mkdir()
    names = [f"utt{number:05d}" for number in range(len(clips))]
    shards = []
    for number in range(tars):
        path = folder / f"made-{number:05d}.tar"
        _pack(path, dict(list(zip(names, clips, strict=True))[number::tars]))
        shards.append({"path": path.name, "corpus": CORPORA[number % 2], "split": "train"})

    sets = [
        [f"sex={s}", f"age={a}", f"depression={d}"]
        for s in FACTS["sex"]
        for a in FACTS["age"]
        for d in FACTS["depression"]
    ]
    sets = sets[: len(names)]  # captions speak of facts that there are
    keys = [" ".join(facts) for facts in sets]
    of = [number % len(sets) for number in range(len(names))]
    write(
        folder / "captions" / "facts.parquet",
        utt_id=names,
        fact_hash=[keys[i] for i in of],
        facts=[sets[i] for i in of],
    )
    used = [facts[:count] for facts in sets for count in (1, 2, 3)]  # of one, two and three facts: pairs of all kinds
    texts = [f"{key} in {count}" for key in keys for count in (1, 2, 3)]
    write(
        folder / "captions" / "captions.parquet",
        fact_hash=[key for key in keys for _ in range(3)],
        k=[k for _ in keys for k in range(3)],
        language=["en"] * len(texts),
        text=texts,
        used=used,
        source=["template"] * len(texts),
    )
    vectors = np.random.default_rng(0).standard_normal((len(texts), text_dim)).astype(np.float32)
    write(folder / "captions" / "vectors.parquet", text=texts, vector=list(vectors))
    values = {
        "shards": shards,
        "shares": dict.fromkeys(CORPORA, 1.0),
        **{name: {"path": f"captions/{name}.parquet"} for name in ("facts", "captions", "vectors")},
        "tower": "made up",
        "trained_on": {"corpora": list(CORPORA), "languages": ["en"], "labels": []},
    }
    path = folder / "manifests" / "made.json"
    path.write_text(json.dumps(values))
    return path


def _pack(path: Path, clips: Mapping[str, bytes]) -> None:
    """A tar as shards are, and its index."""
    offsets, sizes = [], []
    with tarfile.open(path, "w") as tar:
        for name, packed in clips.items():
            for ending, content in (("flac", packed), ("json", json.dumps({"utt_id": name}).encode())):
                member = tarfile.TarInfo(f"{name}.{ending}")
                member.size = len(content)
                if ending == "flac":
                    offsets.append(tar.offset + tarfile.BLOCKSIZE)
                    sizes.append(member.size)
                tar.addfile(member, io.BytesIO(content))
    write(path.with_suffix(".parquet"), utt_id=list(clips), offset=offsets, size=sizes)


def flac(wave: np.ndarray) -> bytes:
    """A clip as shards hold it."""
    import soundfile

    packed = io.BytesIO()
    soundfile.write(packed, wave, RATE, format="FLAC")
    return packed.getvalue()


def pcm(wave: np.ndarray) -> bytes:
    """A clip as plain int16, for machines without soundfile."""
    return (wave * 32767).astype(np.int16).tobytes()


def read_pcm() -> None:
    """Let `TrainingSet` read what `pcm` wrote, where soundfile is absent; its time is then without decoding."""
    if not DECODES:
        data.Flac = Pcm  # type: ignore[assignment, misc]


class Pcm(data.Kept):
    """What `pcm` wrote."""

    def __init__(self, packed: bytes) -> None:
        super().__init__(np.frombuffer(packed, dtype=np.int16))


def write(path: Path, **columns: Sequence[object]) -> None:
    """A Parquet file of these columns."""
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
