"""How fast a core turns recordings into tars, beside the floor, lhotse and Hugging Face datasets.

    python -m tests.perf.shard_speed                     # recordings of SLAP_REAL/audio, or ../shared/audio
    python -m tests.perf.shard_speed FOLDER --clips 500 --rounds 5

Each contestant is one process with one thread and does the same files, all once in each round; figures are medians of
the rounds with the least and the most. What counts is the time of the processor: others may use the machine, and the
tars lie on the same disk for all. Wall time is printed beside it.

- ours: `pipelines.shards.write_shard`, the real unit: hashes, measures, FLAC, sidecars, tar, index;
- floor: decode (soundfile; AAC by PyAV), soxr HQ where the rate is another, FLAC in memory by soundfile at the level of
  `pipelines.audio`, and nothing else; once with float32 samples, as any format needs, once with int16, which spares
  16-bit recordings two conversions;
- with measures: the faster of these, and what is stored of a recording besides its sound (`pipelines.measure` and the
  hash of the file), in a straight line and without any care; no tar. It says how much of the floor the measures leave;
- lhotse: ``CutSet.to_shar`` with FLAC, resampled, its libsndfile backend (faster than its default), manifests made
  beforehand;
- datasets: the ``Audio`` feature (torchcodec) decodes and resamples, soundfile encodes and webdataset writes, which is
  faster than torchcodec's encoder, than ``map`` and than Parquet. torchcodec needs FFmpeg: where the system has none,
  it gets that of PyAV's wheel.

Needs the extras ``perf``, ``m4a`` and ``voices``.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from tests.perf.timing import spread

HOME = Path(__file__).parents[2]
REAL = Path(os.environ.get("SLAP_REAL", HOME.parent / "shared")) / "audio"
RATE = 16_000
PER_TAR = 500
FLOORS = ("floor, float32", "floor, int16")
MEASURED = "with measures"
PEERS = ("lhotse", "datasets")
FLOOR_GOAL, PEER_GOAL, SIZE_GOAL, TWO_GOAL = 0.85, 1.5, 1.05, 1.8

# Hours of a collection of 3,400, by how they are stored. VoxCeleb2 is the most of it; studio recordings are at 48 kHz.
CLIP_S = 9.0
CLUSTER = 128  # cores: 8 nodes of 16
VCPU_HOUR, GB_MONTH = 0.05, 0.023  # dollars, assumed: a core of a rented node, S3's standard storage
MIX = {"M4A": 2_300.0, "WAV": 450.0, "WAV 48 kHz": 300.0, "FLAC": 200.0, "MP3": 150.0}


@dataclass(frozen=True)
class Source:
    """Recordings of one kind."""

    kind: str
    corpus: str
    files: tuple[Path, ...]
    seconds: float  # of all


@dataclass(frozen=True)
class Taken:
    """What one pass over a source cost and gave."""

    processor: float  # seconds
    wall: float
    size: int  # bytes of the tars; of the FLACs, where there are none


@dataclass(frozen=True)
class Ours:
    """What our unit did on one source."""

    rate: float  # audio hours per hour of a core
    raw: float  # bytes of the files a second of audio
    tars: float  # bytes of the tars a second of audio


Work = Callable[[Path], int]  # into an empty folder; returns bytes


# --- contestants: each gets the files before the clock runs, and gives what is timed ---


def ours(files: Sequence[Path]) -> Work:
    """The unit of `pipelines.shards`."""
    from pipelines import shards

    def work(out: Path) -> int:
        units = cut(files, out)
        for unit in units:
            shards.write_shard(unit)
        assert not any(shards.rejects_of(unit.tar) for unit in units), "a recording was refused"
        return sum(unit.tar.stat().st_size for unit in units)

    return work


def cut(files: Sequence[Path], out: Path, per_tar: int = PER_TAR) -> list[Any]:
    """Shards over files of one folder."""
    from pipelines import shards

    return [
        shards.Shard("perf", files[0].parent, out / f"train-{number:05d}.tar", "train", part, "key")
        for number, part in enumerate(rows(files).iter_slices(per_tar))
    ]


def rows(files: Sequence[Path]) -> Any:
    """Rows of shards, with facts and captions of the size that sidecars of the miniatures have (1 kB)."""
    import polars as pl

    words = {
        "speaker": "0123456789abcdef0123",
        "facts": ["alzheimer=absent", "cognitive_impairment=absent", "sex=female", "language=en"],
        "captions": ["An elderly woman who speaks English and has no cognitive impairment is heard here."] * 7,
    }
    frame = pl.DataFrame([{"utt_id": path.stem, "path": path.name, "split": "train", **words} for path in files])
    return frame.with_columns(
        start_s=pl.lit(None, pl.Float64), end_s=pl.lit(None, pl.Float64), channel=pl.lit(None, pl.Int32)
    )


def floor(files: Sequence[Path], dtype: str) -> Work:
    """The codecs and nothing else."""
    return lambda out: sum(_floor_of(path, dtype) for path in files)


def _floor_of(path: Path, dtype: str) -> int:
    import soundfile
    import soxr

    if path.suffix == ".m4a":
        wave, rate = _by_pyav(path)
    else:
        wave, rate = soundfile.read(path, dtype=dtype)
    if wave.ndim > 1:
        wave = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1, dtype=wave.dtype)
    if rate != RATE:
        wave = soxr.resample(wave, rate, RATE, quality="HQ")
    return len(_flac(wave))


def measured(files: Sequence[Path]) -> Work:
    """The codecs, and what is measured of a recording."""
    return lambda out: sum(_measured(path) for path in files)


def _measured(path: Path) -> int:
    import numpy as np
    import soundfile
    import soxr

    from pipelines.measure import Meter

    content = path.read_bytes()
    if path.suffix == ".m4a":
        wave, rate = _by_pyav(path)
        wave = np.ascontiguousarray(wave[:, 0])
    else:
        wave, rate = soundfile.read(io.BytesIO(content), dtype="float32" if path.suffix == ".mp3" else "int16")
    scale = 32768.0 if wave.dtype == np.int16 else 1.0
    meter = Meter(rate, 32767 / 32768, 1 / 32768)
    meter.native(wave, wave, float(wave.min()), float(wave.max()), scale)
    if rate != RATE:
        wave = soxr.resample(wave, rate, RATE, quality="HQ")
    if wave.dtype != np.int16:
        wave = np.clip(np.rint(wave * 32768.0), -32768.0, 32767.0).astype(np.int16)
    meter.stored(wave, 0)
    meter.measured(hashlib.sha256(content).hexdigest())
    return len(_flac(wave))


def _by_pyav(path: Path) -> tuple[Any, int]:
    """By way of a FIFO: an array of each frame takes a fifth longer, PyAV's resampler nearly twice as long."""
    import av

    fifo = av.AudioFifo()
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            fifo.write(frame)
        wave: Any = fifo.read()
        return wave.to_ndarray().T, int(stream.codec_context.sample_rate)


def _flac(wave: Any) -> bytes:
    import soundfile

    from pipelines import audio

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="FLAC", subtype="PCM_16", compression_level=audio.FLAC_LEVEL / 8)
    return buffer.getvalue()


def lhotse(files: Sequence[Path]) -> Work:
    """``CutSet.to_shar``."""
    from lhotse import CutSet, Recording
    from lhotse.audio.backend import set_current_audio_backend

    set_current_audio_backend("LibsndfileBackend")
    cuts = CutSet.from_cuts(Recording.from_file(path, recording_id=path.stem).to_cut() for path in files)
    cuts = cuts.resample(RATE).to_eager()

    def work(out: Path) -> int:
        cuts.to_shar(str(out), fields={"recording": "flac"}, shard_size=PER_TAR, num_jobs=1, fault_tolerant=False)
        return sum(path.stat().st_size for path in out.glob("*.tar"))

    return work


def datasets(files: Sequence[Path]) -> Work:
    """``Dataset`` with an ``Audio`` feature, written as WebDataset."""
    import webdataset
    from datasets import Audio, Dataset

    columns = {"key": [path.stem for path in files], "audio": [str(path) for path in files]}
    data = Dataset.from_dict(columns).cast_column("audio", Audio(sampling_rate=RATE, num_channels=1))

    def work(out: Path) -> int:
        pattern = str(out / "train-%05d.tar")
        with webdataset.ShardWriter(pattern, maxcount=PER_TAR, verbose=0, encoder=False) as writer:
            for example in data:
                wave = example["audio"].get_all_samples().data[0].numpy()
                writer.write({"__key__": example["key"], "flac": _flac(wave), "json": b"{}"})
        return sum(path.stat().st_size for path in out.glob("*.tar"))

    return work


CONTESTANTS: Mapping[str, Callable[[Sequence[Path]], Work]] = {
    "ours": ours,
    "floor, float32": lambda files: floor(files, "float32"),
    "floor, int16": lambda files: floor(files, "int16"),
    MEASURED: measured,
    "lhotse": lhotse,
    "datasets": datasets,
}


# --- in the child processes ---


@lru_cache(maxsize=1)
def _prepared(name: str, files: tuple[Path, ...]) -> Work:
    """A contestant that has seen a few of the files, so that what is imported and made once is not timed."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as out:
        CONTESTANTS[name](files[:8])(Path(out))
    return CONTESTANTS[name](files)


def once(name: str, files: tuple[Path, ...]) -> Taken:
    """One pass of a contestant."""
    work = _prepared(name, files)
    with tempfile.TemporaryDirectory(prefix="slap-perf-") as out:
        processor, wall = time.process_time(), time.perf_counter()
        size = work(Path(out))
        return Taken(time.process_time() - processor, time.perf_counter() - wall, size)


def floor_unit(files: Sequence[Path], note: object) -> int:
    """The floor as a unit of `pipelines.scale`."""
    return sum(_floor_of(path, "float32") for path in files)


# --- recordings ---


def sources(real: Path, scratch: Path, clips: int) -> Iterator[Source]:
    """Each kind of recording, repeated to ``clips`` files in a folder of its own."""
    found = {
        ("FLAC", "LibriSpeech"): sorted((real / "librispeech").glob("**/*.flac")),
        ("WAV", "speechocean762"): sorted((real / "speechocean762").glob("WAVE/**/*.WAV")),
        ("MP3", "Common Voice"): sorted((real / "common_voice").glob("**/*.mp3")),
        ("WAV 48 kHz", "rendered"): list(_rendered(scratch / "rendered")),
    }
    speech = found["FLAC", "LibriSpeech"] or found["WAV 48 kHz", "rendered"]
    found["M4A", "as VoxCeleb2"] = list(_aac(speech[:60], scratch / "aac"))
    for (kind, corpus), originals in found.items():
        if not originals:
            print(f"{kind}: no {corpus} in {real}, left out")
            continue
        lengths = [_seconds(path) for path in originals]
        folder = scratch / kind.replace(" ", "-")
        folder.mkdir()
        files = tuple(folder / f"utt{number:06d}{originals[0].suffix.lower()}" for number in range(clips))
        for number, path in enumerate(files):
            shutil.copyfile(originals[number % len(originals)], path)
        yield Source(kind, corpus, files, sum(lengths[number % len(lengths)] for number in range(clips)))


def _rendered(folder: Path) -> Iterator[Path]:
    """Clips of made-up voices at a studio's rate."""
    from pipelines.voices import Voices

    voices = Voices()
    for number, voice in enumerate(voices.cast("perf", 32, "en")):
        path = folder / f"{number}.wav"
        voices.write(path, voices.say(voice, seconds=3.0 + number % 6, rate=48_000, take=number), 48_000)
        yield path


def _aac(originals: Sequence[Path], folder: Path) -> Iterator[Path]:
    """Eight seconds of speech as VoxCeleb2 stores it: AAC, 16 kHz, mono."""
    from pipelines import audio
    from pipelines.voices import Voices

    for number, original in enumerate(originals):
        path = folder / f"{number}.m4a"
        Voices().write(path, audio.load(original, end_s=8.0), RATE)
        yield path


def _seconds(path: Path) -> float:
    import soundfile

    if path.suffix == ".m4a":
        wave, rate = _by_pyav(path)
        return len(wave) / rate
    return float(soundfile.info(path).duration)


def name_ffmpeg_of_pyav(links: Path) -> None:
    """Let child processes find the FFmpeg of PyAV's wheel under the names that torchcodec asks for."""
    package = importlib.util.find_spec("av")
    libraries = Path(str(package.origin)).parents[1] / "av.libs" if package else links
    if not libraries.is_dir():  # built from source: the system has an FFmpeg
        return
    links.mkdir()
    for library in (*libraries.glob("libav*.so.*"), *libraries.glob("libsw*.so.*")):
        name, version = library.name.partition("-")[0], library.name.partition(".so.")[2].partition(".")[0]
        (links / f"{name}.so.{version}").symlink_to(library)
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [before, str(links), str(libraries)]))


# --- figures ---


def compare(source: Source, pools: Mapping[str, ProcessPoolExecutor], rounds: int) -> Ours | None:
    """Print all contestants on one source."""
    takes: dict[str, list[Taken]] = {name: [] for name in pools}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name, pool in pools.items():
            if name in failed:
                continue
            try:
                takes[name].append(pool.submit(once, name, source.files).result())
            except Exception as error:  # a peer may not know a format; what it says is printed
                failed[name] = f"{type(error).__name__}: {error}"[:100]
    print(
        f"\n{source.kind}, {source.corpus}: {len(source.files)} clips, {source.seconds / 3600:.2f} h; audio hours per "
        f"minute of a core [least, most of {rounds}], by the wall, MB"
    )
    minutes = {name: [take.processor / 60 for take in taken] for name, taken in takes.items() if taken}
    hours = source.seconds / 3600
    for name in pools:
        if name in failed:
            print(f"  {name:15s} cannot: {failed[name]}")
            continue
        walls = [60 * hours / take.wall for take in takes[name]]
        rate = spread([hours / each for each in minutes[name]], 1)
        print(f"  {name:15s} {rate:22s} {statistics.median(walls):5.1f}  {takes[name][-1].size / 1e6:7.1f}", flush=True)
    if "ours" not in minutes:
        return None
    peers = sorted((name for name in PEERS if name in minutes), key=lambda name: statistics.median(minutes[name]))
    goals = {**dict.fromkeys(FLOORS, FLOOR_GOAL), MEASURED: None, **dict.fromkeys(peers[:1], PEER_GOAL)}
    for name, goal in goals.items():
        if name in minutes:
            quotients = [a / b for a, b in zip(minutes[name], minutes["ours"], strict=True)]
            met = f", goal {goal}: {'met' if statistics.median(quotients) >= goal else 'missed'}" if goal else ""
            print(f"  ours / {name}: {spread(quotients, 2)}{met}")
    sizes = {name: takes[name][-1].size for name in PEERS if takes.get(name)}
    if sizes:
        least = min(sizes, key=lambda name: sizes[name])
        larger = takes["ours"][-1].size / sizes[least]
        met = "met" if larger <= SIZE_GOAL else "missed"
        print(f"  tars of ours / of {least}: {larger:.3f}, goal {SIZE_GOAL}: {met}")
    raw = sum(path.stat().st_size for path in source.files)
    return Ours(
        60 * hours / statistics.median(minutes["ours"]), raw / source.seconds, takes["ours"][-1].size / source.seconds
    )


def two_processes(given: Sequence[Source], scratch: Path, rounds: int) -> float:
    """Print and return by what factor two workers are faster than one, ours and the bare codecs, by the wall."""
    from pipelines import scale, shards

    codecs = importlib.import_module("tests.perf.shard_speed").floor_unit  # workers look for it by its module's name
    files = [source.files for source in given]
    parts = [part[i : i + 50] for part in files for i in range(0, min(len(part), 400), 50)]

    def run(bare: bool, workers: int, out: Path) -> float:
        units = parts if bare else [cut(part, out / str(n), 50)[0] for n, part in enumerate(parts)]
        work: Any = codecs if bare else shards.write_shard
        started = time.perf_counter()
        for _ in scale.run(work, units, total=len(units), label="perf", workers=workers):
            pass
        return time.perf_counter() - started

    factors: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds + 1):  # the first starts the workers, and does not count
        for bare, gained in factors.items():
            walls = []
            for workers in (2, 1):
                with tempfile.TemporaryDirectory(dir=scratch) as out:
                    walls.append(run(bare, workers, Path(out)))
            if number:
                gained.append(walls[1] / walls[0])
    two = statistics.median(factors[False])
    print(
        f"\nTwo workers of pipelines.scale / one, by the wall: {spread(factors[False], 2)}, goal {TWO_GOAL}: "
        f"{'met' if two >= TWO_GOAL else 'missed'}; the bare codecs in the same workers {spread(factors[True], 2)}"
    )
    return two


def embedding_rate() -> float:
    """Clips of `CLIP_S` that one core embeds in a second, with the encoder of `base` and random weights."""
    import torch

    from slap_model import config
    from slap_model.model import Slap
    from tests.perf.speech import voice

    torch.set_num_threads(1)
    model = Slap(config.load("base")).ready()
    waves = [voice(CLIP_S, seed) for seed in range(8)]
    model.embed_audio(waves[:2], 2)
    started = time.process_time()
    model.embed_audio(waves, 8)
    return len(waves) / (time.process_time() - started)


def project(found: Mapping[str, Ours], two: float, embeds: float) -> None:
    """Print the hours and the money that `MIX` takes, here and on 8 nodes of 16 cores.

    Args:
        found: by kind.
        two: by what factor two workers are faster than one.
        embeds: clips per second of a core.
    """
    missing = sorted(set(MIX) - set(found))
    if missing:
        print(f"\nNo projection: {', '.join(missing)} not measured")
        return
    hours = sum(MIX.values())
    weighed = [(each, found[kind]) for kind, each in MIX.items()]
    busy = {
        "sharding": sum(each / ours.rate for each, ours in weighed),
        "embedding with `base`": hours / CLIP_S / embeds,
    }
    gives = min(1.0, two / 2)  # of a core, for each that works
    mix = ", ".join(f"{each:,.0f} {kind}" for kind, each in MIX.items())
    print(f"\n{hours:,.0f} hours ({mix}): core-hours, hours here, hours on 8 nodes of 16 cores, dollars there")
    for work, core in busy.items():
        here, there = core / gives / (os.cpu_count() or 1), core / gives / CLUSTER
        print(f"  {work:22s} {core:7.2f} {here:7.2f} {there:7.3f} {there * CLUSTER * VCPU_HOUR:7.2f}")
    raw = 3600 * sum(each * ours.raw for each, ours in weighed)
    tars = 3600 * sum(each * ours.tars for each, ours in weighed)
    seconds = 3600 * busy["sharding"] / gives / CLUSTER
    print(
        f"  {raw / 1e9:,.0f} GB of raw files, at {raw / seconds / 1e6:,.0f} MB/s where they come that fast; "
        f"{tars / 1e9:,.0f} GB of tars, {tars / 1e9 * GB_MONTH:.2f} dollars a month"
    )


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=REAL)
@click.option("--clips", default=2000, show_default=True, help="of each kind")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", multiple=True, help="kinds; all where none is named")
@click.option("--without", multiple=True, type=click.Choice(list(CONTESTANTS)))
def main(folder: Path, clips: int, rounds: int, only: tuple[str, ...], without: tuple[str, ...]) -> None:
    """Measure and print."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1")
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory(prefix="slap-perf-") as scratch_text:
        scratch = Path(scratch_text)
        os.environ["HF_HOME"] = str(scratch / "hf")
        given = [source for source in sources(folder, scratch, clips) if not only or source.kind in only]
        names = [name for name in CONTESTANTS if name not in without]
        name_ffmpeg_of_pyav(scratch / "ffmpeg")
        pools = {name: ProcessPoolExecutor(1, get_context("spawn")) for name in names}
        try:
            found = {source.kind: compare(source, pools, rounds) for source in given}
        finally:
            for pool in pools.values():
                pool.shutdown()
        if "ours" in names:
            two = two_processes(given, scratch, rounds)
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                embeds = pool.submit(embedding_rate).result()
            project({kind: ours for kind, ours in found.items() if ours}, two, embeds)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
