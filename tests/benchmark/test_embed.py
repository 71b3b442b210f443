import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.baselines import RandomVectors
from benchmark.embed import AudioError, embed, load_embeddings, utterance_ids, windows
from benchmark.embedders import UNTRAINED, Vectors, Wave


class Mean:
    """The mean of the samples and how long the wave was, in seconds; counts what it was given."""

    name = "mean"
    fingerprint = "0123456789abcdef"
    trained_on = UNTRAINED

    def __init__(self, sample_rate: int = 16_000) -> None:
        self.sample_rate = sample_rate
        self.seen = 0

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        self.seen += len(waves)
        return np.array([[wave.mean(), len(wave) / self.sample_rate] for wave in waves], dtype=np.float32)


def flac(wave: Wave) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format="FLAC")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    level = {"b": (0.25, 3.0), "a": (0.5, 1.0), "long": (-0.25, 21.0)}
    members: dict[str, bytes] = {}
    for name, (value, seconds) in level.items():
        members[f"{name}.flac"] = flac(np.full(int(seconds * 16_000), value, dtype=np.float32))
        members[f"{name}.json"] = b"{}"
    return write_tar(tmp_path / "test-00000.tar", members)


def test_vectors_by_utterance(shard: Path, tmp_path: Path) -> None:
    folder = embed(Mean(), [shard], tmp_path / "out")
    assert folder.name == "mean-0123456789ab"
    found = load_embeddings(folder, [shard])
    assert tuple(found["utt_id"]) == utterance_ids(shard) == ("b", "a", "long")
    assert np.array(found["vector"].to_list()) == pytest.approx(
        np.array([[0.25, 3.0], [0.5, 1.0], [-0.25, 10.0]]), abs=1e-4
    )


def test_never_twice_and_only_what_is_missing(shard: Path, tmp_path: Path) -> None:
    embedder, out = Mean(), tmp_path / "out"
    embed(embedder, [shard], out)
    assert embedder.seen == 2 + 4  # 21 s: windows from 0, 5, 10 and 11 s
    other = write_tar(tmp_path / "test-00001.tar", {"new.flac": flac(np.zeros(16_000, dtype=np.float32))})
    embed(embedder, [shard, other], out)
    assert embedder.seen == 2 + 4 + 1
    assert not list(out.rglob("*.tmp"))


def test_a_changed_shard_is_embedded_again(shard: Path, tmp_path: Path) -> None:
    folder = embed(Mean(), [shard], tmp_path / "out")
    write_tar(shard, {"a.flac": flac(np.zeros(16_000, dtype=np.float32))})
    with pytest.raises(FileNotFoundError, match=r"no vectors of shard test-00000\.tar"):
        load_embeddings(folder, [shard])
    embed(Mean(), [shard], tmp_path / "out")
    assert load_embeddings(folder, [shard])["utt_id"].to_list() == ["a"]


def test_other_windows_have_their_own_folder(shard: Path, tmp_path: Path) -> None:
    usual = embed(RandomVectors(4), [shard], tmp_path)
    short = embed(RandomVectors(4), [shard], tmp_path, window_s=2, hop_s=1)
    assert usual != short
    longer = [load_embeddings(folder, [shard])["vector"].to_list() for folder in (usual, short)]
    assert longer[0][1] == longer[1][1]  # 1 s: one window either way
    assert longer[0][0] != longer[1][0]


def test_the_harness_resamples(shard: Path, tmp_path: Path) -> None:
    found = load_embeddings(embed(Mean(8_000), [shard], tmp_path), [shard])
    assert found["vector"][0][1] == pytest.approx(3.0, abs=1e-3)


def test_windows_are_full_and_reach_the_end() -> None:
    wave = np.arange(23)
    assert [(piece[0], piece[-1]) for piece in windows(wave, 10, 5)] == [(0, 9), (5, 14), (10, 19), (13, 22)]
    assert [len(piece) for piece in windows(wave[:20], 10, 5)] == [10, 10, 10]
    assert [len(piece) for piece in windows(wave[:10], 10, 5)] == [10]
    assert [len(piece) for piece in windows(wave[:3], 10, 5)] == [3]


@pytest.mark.parametrize("content", [b"not audio", b""])
def test_broken_audio_is_named(tmp_path: Path, content: bytes) -> None:
    broken = write_tar(tmp_path / "test-00000.tar", {"bad.flac": content})
    with pytest.raises(AudioError, match=r"test-00000\.tar: bad\.flac"):
        embed(Mean(), [broken], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))
