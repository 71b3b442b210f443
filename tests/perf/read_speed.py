"""How fast training reads, beside webdataset's plain pipeline, lhotse Shar, and the decoder alone.

    python -m tests.perf.read_speed                     # recordings of SLAP_REAL/audio, or ../shared/audio
    python -m tests.perf.read_speed --only speed        # or handover, parts, wait, million

All take turns; a ratio is of neighbours, and its median, least and most are printed. What counts is the time of the
processor, that of the loaders included, since others may use the machine: a clip per second and worker is a clip per
second of processor. Clips per second by the wall are printed beside it.

* **speed**: 0 workers is reading in the trainer's process. Ours is `slap_model.train.loader`, the real one: two
  corpora mixed by share and shuffled, captions and vectors looked up, masks drawn, windows cut, batches of 64 put
  together. Nothing is kept from one epoch to the next (`train.cache_gb` is 0; the tars lie in the page cache for all).
  "whole" has a window as long as the longest clip, so that all that others decode is decoded. The peers get whole
  clips in the order of the tars and hand them over one by one, as they do of themselves; webdataset decodes to int16
  with the same dr_flac (`miniaudio.flac_read_s16`), and with libsndfile (`soundfile.read`). **floor**: each of them
  over bytes in memory, and nothing else.
* **handover**: the ways in which two workers could hand over what they have read.
* **parts**: milliseconds to decode a window of a clip by libsndfile, sought or after all that comes before, and of the
  whole clip by dr_flac.
* **wait**: share of the time of a training step of `base` without a batch, on this CPU, from the trainer's own log; and
  how many workers a GPU needs. What is assumed there is said so.
* **million**: a `TrainingSet` of a million utterances: peak memory, time to make it, what a forked loader adds.

Needs the extra `perf`.
"""

from __future__ import annotations

import argparse
import gc
import io
import math
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from slap_model import config, train, watch
from slap_model.data import TrainingSet
from slap_model.distributed import Ranks
from slap_model.flac import Flac, decode
from slap_model.manifest import Manifest
from slap_model.train import Stopped
from tests.perf import gpu, rows, speech
from tests.perf.timing import conditions, ratios, spread

REAL = Path(os.environ.get("SLAP_REAL", Path(__file__).parents[3] / "shared")) / "audio"
BATCH, TARS = 64, 8
ONE = Ranks(0, 1, torch.device("cpu"))
UTILISATION = (0.4, 0.6)  # of a GPU's data sheet: assumed


@dataclass(frozen=True)
class Clips:
    """Clips of one kind, in memory, as a manifest over tars, and as lhotse's shards."""

    kind: str
    packed: Sequence[bytes]
    seconds: float  # of one, in the mean
    longest: float
    manifest: Manifest
    shar: Path


Reader = Callable[[int], Iterable[object]]  # of so many workers


def clips_of(kind: str, packed: Sequence[bytes], folder: Path) -> Clips:
    """The same clips for everybody; a whole number of batches, repeated where there are fewer."""
    from lhotse import Recording
    from lhotse.shar import SharWriter

    lengths = [soundfile.info(io.BytesIO(one)).duration for one in packed]
    path = speech.corpus_of(folder / "tars", packed, 384, TARS)
    (folder / "shar").mkdir()
    with SharWriter(folder / "shar", {"recording": "flac"}, shard_size=-(-len(packed) // TARS)) as writer:
        for number, one in enumerate(packed):
            writer.write(Recording.from_bytes(one, f"utt{number:05d}").to_cut())
    return Clips(kind, packed, statistics.mean(lengths), max(lengths), Manifest.load(path), folder / "shar")


def real(pattern: str, count: int) -> list[bytes]:
    """Recordings as shards hold them: a FLAC at 16 kHz is copied, others are converted."""
    import soxr

    found = []
    for path in sorted(REAL.glob(pattern))[:count]:
        if path.suffix == ".flac":
            found.append(path.read_bytes())
        else:
            wave, rate = soundfile.read(path, dtype="float32")
            found.append(speech.flac(soxr.resample(wave, rate, speech.RATE)))
    return [found[number % len(found)] for number in range(count)] if found else []


# --- contestants ------------------------------------------------------------------------------------------------


Decoder = Callable[[bytes], np.ndarray]


def by_dr_flac(packed: bytes) -> np.ndarray:
    """As miniaudio's manual has it."""
    import miniaudio

    return np.frombuffer(miniaudio.flac_read_s16(packed).samples, np.int16)


def by_libsndfile(packed: bytes) -> np.ndarray:
    """As soundfile's manual has it."""
    wave: np.ndarray = soundfile.read(io.BytesIO(packed), dtype="int16")[0]
    return wave


def floor(clips: Clips, decoder: Decoder) -> Reader:
    """The decoder over bytes in memory."""
    return lambda workers: map(decoder, clips.packed)


def webdataset(clips: Clips, decoder: Decoder) -> Reader:
    """Its plain pipeline: the members of the tars in turn."""
    import webdataset as wds

    def decoded(sample: Mapping[str, Any]) -> np.ndarray:
        return decoder(sample["flac"])

    def read(workers: int) -> Iterable[object]:
        tars = [str(clips.manifest.root / shard["path"]) for shard in clips.manifest.shards]
        data = wds.WebDataset(tars, shardshuffle=False).map(decoded)
        return wds.WebLoader(data, batch_size=None, num_workers=workers) if workers else data

    return read


class Shar(IterableDataset[np.ndarray]):
    """lhotse's shards, divided over the workers."""

    def __init__(self, folder: Path) -> None:
        self.fields = {
            "cuts": sorted(folder.glob("cuts.*.jsonl.gz")),
            "recording": sorted(folder.glob("recording.*.tar")),
        }

    def __iter__(self) -> Iterator[np.ndarray]:
        from lhotse import CutSet

        worker = get_worker_info()
        mine = slice(worker.id, None, worker.num_workers) if worker else slice(None)
        for cut in CutSet.from_shar({name: paths[mine] for name, paths in self.fields.items()}):
            yield cut.load_audio()[0]


def lhotse(clips: Clips) -> Reader:
    """Its Shar, decoded by lhotse."""
    return lambda workers: (
        DataLoader(Shar(clips.shar), batch_size=None, num_workers=workers) if workers else Shar(clips.shar)
    )


def ours(clips: Clips, *more: str) -> Reader:
    """The trainer's loader over one epoch, in which each clip comes once."""

    def read(workers: int) -> Iterable[object]:
        steps = len(clips.packed) // BATCH
        work = (f"train.batch={BATCH}", f"train.steps={steps}", f"train.workers={workers}")
        settings = config.load("base", [*more, *work])
        return train.loader(TrainingSet(clips.manifest, settings), settings, 0, ONE)

    return read


def whole(clips: Clips) -> Reader:
    """The same, with a window as long as the longest clip and clips of their own length: nothing is left out."""
    frames = math.ceil(clips.longest * 100 / 16) * 16
    return ours(clips, f"frontend.frames={frames}", "data.lengths=own", "data.bucket=16")


# --- timing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """Seconds of one pass over the clips."""

    processor: float  # of all processes
    wall: float


def taken(read: Reader, workers: int) -> Taken:
    """One pass; what the loaders took is known when they have ended."""
    data = read(workers)
    began, processor = time.perf_counter(), _processor()
    for _ in data:
        pass
    wall = time.perf_counter() - began
    del data
    gc.collect()
    return Taken(_processor() - processor, wall)


def _processor() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def in_turns(readers: Mapping[str, Reader], workers: int, rounds: int) -> Mapping[str, list[Taken]]:
    """All once, then all again; a first round does not count."""
    found: dict[str, list[Taken]] = {name: [] for name in readers}
    for _ in range(1 + rounds):
        for name, read in readers.items():
            found[name].append(taken(read, workers))
    return {name: times[1:] for name, times in found.items()}


def speed(kinds: Sequence[Clips], workers: Sequence[int], rounds: int) -> Mapping[str, float]:
    """Print clips per second of each reader; of ours by kind, in one process."""
    rates = {}
    for clips in kinds:
        for number in workers:
            peers = {
                "webdataset, dr_flac": webdataset(clips, by_dr_flac),
                "webdataset, libsndfile": webdataset(clips, by_libsndfile),
                "lhotse Shar": lhotse(clips),
            }
            own = {"slap, window of 10.24 s": ours(clips), "slap, whole": whole(clips)}
            floors = {"floor, dr_flac": floor(clips, by_dr_flac), "floor, libsndfile": floor(clips, by_libsndfile)}
            times = in_turns({**(floors if number == 0 else {}), **own, **peers}, number, rounds)
            count = len(clips.packed)
            best = min(peers, key=lambda name: statistics.median(one.processor for one in times[name]))
            rate = {name: [count / one.processor for one in found] for name, found in times.items()}
            print(
                f"\n{clips.kind}, {count} clips of {clips.seconds:.1f} s, {number} workers: clips per second of "
                f"processor, over that of {best}, and by the wall [least, most] of {rounds}"
            )
            for name, found in times.items():
                over, wall = ratios(rate[name], rate[best]), [count / one.wall for one in found]
                print(
                    f"  {name:26s} {spread(rate[name], 0):16s} x {spread(over, 2)}  wall {spread(wall, 0)}", flush=True
                )
            if number == 0:
                rates[clips.kind] = statistics.median(rate["slap, window of 10.24 s"])
    return rates


# --- how to hand over -------------------------------------------------------------------------------------------


class AsFloat(Dataset[Mapping[str, torch.Tensor]]):
    """Samples with float32 waves, as the trainer had them before it took int16."""

    def __init__(self, data: TrainingSet) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> Mapping[str, torch.Tensor]:
        sample = self.data[number]
        return {**sample, "waves": sample["waves"].float() / 32768}

    def __getitems__(self, numbers: Sequence[int]) -> Mapping[str, Any]:
        batch = self.data.batch(numbers)
        return {**batch, "waves": [wave.float() / 32768 for wave in batch["waves"]]}


def handover(clips: Clips, rounds: int) -> None:
    """Print what it costs to hand over, by how it is done."""
    count = len(clips.packed) // BATCH * BATCH
    settings = config.load("base", (f"train.batch={BATCH}", f"train.steps={count // BATCH}", "train.workers=2"))
    data = TrainingSet(clips.manifest, settings)
    loader = train.loader(data, settings, 0, ONE)
    batches_of: Any = loader.batch_sampler

    def batches(data: Any, strategy: str = "file_descriptor") -> Iterable[object]:
        torch.multiprocessing.set_sharing_strategy(strategy)
        yield from DataLoader(data, batch_sampler=batches_of, collate_fn=loader.collate_fn, num_workers=2)
        torch.multiprocessing.set_sharing_strategy("file_descriptor")

    ways: Mapping[str, Reader] = {
        "in the trainer's process": lambda _: map(data.batch, batches_of),
        "int16, in batches (the trainer's)": lambda _: batches(loader.dataset),
        "the same, shared by file name": lambda _: batches(loader.dataset, "file_system"),
        "float32, in batches": lambda _: batches(AsFloat(data)),
        "int16, clip by clip": lambda _: DataLoader(data, batch_size=None, sampler=range(count), num_workers=2),
        "float32, clip by clip": lambda _: DataLoader(
            AsFloat(data), batch_size=None, sampler=range(count), num_workers=2
        ),
    }
    times = in_turns(ways, 2, rounds)
    print(
        f"\nHanding over, two workers, {clips.kind}: milliseconds of processor for a clip; clips per second by the wall"
    )
    for name, found in times.items():
        cost = spread([1000 * one.processor / count for one in found], 2)
        print(f"  {name:36s} {cost}  wall {spread([count / one.wall for one in found], 0)}")


def parts(rounds: int) -> None:
    """Print what a window of a clip costs by where it begins."""
    window = config.load("base").samples
    print(
        "\nA window of 10.24 s, milliseconds of processor by where it begins, a second before the end of the clip: by "
        "libsndfile, sought or decoded from the start; the whole clip by dr_flac"
    )
    for begins in (0.5, 1.0, 1.5, 2.0, 5.0, 9.0, 13.0, 60.0, 280.0):
        start = int(begins * speech.RATE)
        packed = speech.flac(speech.voice(begins + 11, 0))
        ways: Mapping[str, Callable[[bytes, int, int], object]] = {
            "sought": _sought,
            "from the start": _from_the_start,
            "whole": lambda packed, *_: decode(packed),
            "ours": lambda packed, start, count: Flac(packed).read(start, np.empty(count, np.int16)),
        }
        cost: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(1 + 4 * rounds):
            for name, way in ways.items():
                began = time.process_time()
                way(packed, start, window)
                cost[name].append(1000 * (time.process_time() - began))
        print(f"  {begins:6.1f} s  " + "  ".join(f"{name} {min(times[1:]):6.2f}" for name, times in cost.items()))


def _sought(packed: bytes, start: int, count: int) -> np.ndarray:
    with soundfile.SoundFile(io.BytesIO(packed)) as sound:
        sound.seek(start)
        wave: np.ndarray = sound.read(count, dtype="int16")
        return wave


def _from_the_start(packed: bytes, start: int, count: int) -> np.ndarray:
    with soundfile.SoundFile(io.BytesIO(packed)) as sound:
        wave: np.ndarray = sound.read(start + count, dtype="int16")[start:]
        return wave


# --- is the trainer fed? ----------------------------------------------------------------------------------------


def wait(clips: Clips, batch: int, steps: int, rate: float) -> None:
    """Print the share of a step without a batch here, and how many workers, of ``rate`` clips a second, a GPU needs."""
    print(
        f"\nTraining `base`, {steps} steps of {batch} clips, this CPU: share of the time without a batch (goal: 0.03)"
    )
    for workers in (0, 2):
        work = (f"train.batch={batch}", f"train.workers={workers}", "train.log_every=1", "train.steps=1000")
        asked = partial(next, iter([0] * (steps - 1) + [15]))
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(train, "save"):
            with suppress(Stopped):
                train.train(config.load("base", work), clips.manifest, Path(folder), ONE, asked)
            log = watch.read(Path(folder) / watch.METRICS)[1:]  # the first also starts the workers
        waits, speeds = ([line[name] for line in log] for name in ("data_wait", "clips_per_second"))
        print(f"  {workers} workers: {spread(waits, 4)} at {spread(speeds, 2)} clips a second", flush=True)
    print(
        f"\nWorkers that keep an H100 busy, at {rate:.0f} clips per second of a worker (measured here, in one process)"
    )
    for name in ("base", "fast"):
        needed = gpu.flops(config.load(name), speech.seconds_like_real(64))
        for share in UTILISATION:
            reached = share * gpu.PEAKS["H100"] * 1e12 / needed
            print(
                f"  {name}: {math.ceil(reached / rate)} for {reached:.0f} clips a second (computed: {needed / 1e9:.0f} "
                f"GFLOP a clip; assumed: {share:.0%} of the data sheet's arithmetic)"
            )


def million(count: int) -> None:
    """Print what a `TrainingSet` of so many utterances takes."""
    sets = max(100, count // 64)
    with tempfile.TemporaryDirectory() as folder:
        manifest = rows.tables(Path(folder) / "rows", count, sets=sets, tars=max(4, count // 5_000))
        found = rows.peak(manifest, samples=1_000)
    peak, imported, forked = (size / 2**20 for size in (found.bytes, found.imported, found.forked))
    print(f"\nA training set of {count} utterances with {sets} sets of facts and {sets * rows.CAPTIONS} captions")
    print(f"  peak of the process {peak:.0f} MiB (goal: 1024), of which imports {imported:.0f} MiB")
    print(f"  made in {found.seconds:.1f} s of processor; a forked loader adds {forked:.0f} MiB in 1,000 samples")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["speed", "handover", "parts", "wait", "million"])
    parser.add_argument("--clips", type=int, default=1_024, help="of each kind; a multiple of 64 counts")
    parser.add_argument("--kinds", nargs="+", default=["LibriSpeech", "Common Voice", "rendered"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8, help="of the training step")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(conditions(ONE.device))
    count = options.clips // BATCH * BATCH

    def wanted(section: str) -> bool:
        return options.only in (None, section)

    with tempfile.TemporaryDirectory() as scratch:
        sources: Mapping[str, Callable[[], list[bytes]]] = {
            "LibriSpeech": lambda: real("librispeech/**/*.flac", count),
            "Common Voice": lambda: real("common_voice/**/*.mp3", count),
            "rendered": lambda: [
                speech.flac(speech.voice(s, n)) for n, s in enumerate(speech.seconds_like_real(count))
            ],
        }
        kinds = []
        for kind in options.kinds if options.only not in ("parts", "million") else []:
            if packed := sources[kind]():
                kinds.append(clips_of(kind, packed, Path(scratch) / kind))
            else:
                print(f"{kind}: no recordings in {REAL}, left out")
        rate = 0.0
        if wanted("speed") or wanted("wait"):
            rates = speed(kinds, options.workers if wanted("speed") else [0], options.rounds)
            rate = min(rates.values())
        if wanted("handover"):
            handover(kinds[0], options.rounds)
        if wanted("parts"):
            parts(options.rounds)
        if wanted("wait"):
            torch.set_num_threads(os.cpu_count() or 1)
            wait(kinds[0], options.batch, 1 + options.rounds, rate)
        if wanted("million"):
            million(options.rows)
    print(conditions(ONE.device))


if __name__ == "__main__":
    main()
