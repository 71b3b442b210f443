"""How fast recordings are decoded, encoded and converted: per format and library, and `convert` beside its floor.

    python -m tests.perf.codecs ../shared/audio            # all tables
    python -m tests.perf.codecs ../shared/audio --clips 50

Times are of the processor and of one thread. What is compared takes turns clip by clip, since a machine that is shared
is slower at one moment than at the next. Libraries that are not installed are left out (miniaudio is only a peer).
"""

from __future__ import annotations

import importlib.util
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import soundfile
import soxr

from pipelines import audio
from pipelines.measure import RATE

REAL = {"FLAC": "librispeech/**/*.flac", "WAV": "speechocean762/**/*.WAV", "MP3": "common_voice/**/*.mp3"}
MADE: dict[str, dict[str, Any]] = {
    "WAV 44.1 kHz": {"format": "WAV", "subtype": "PCM_16", "rate": 44_100},
    "FLAC 44.1 kHz": {"format": "FLAC", "subtype": "PCM_16", "rate": 44_100},
    "Vorbis 44.1 kHz": {"format": "OGG", "subtype": "VORBIS", "rate": 44_100},
    "Opus 48 kHz": {"format": "OGG", "subtype": "OPUS", "rate": 48_000},
}
Work = Callable[[Path], object]


def floor(path: Path, level: int = audio.FLAC_LEVEL) -> bytes:
    """Decode, resample, encode in memory, and nothing else."""
    wave, rate = soundfile.read(path, dtype="float32")
    if rate != RATE:
        wave = soxr.resample(wave, rate, RATE, quality=audio.QUALITY)
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, RATE, format="FLAC", subtype="PCM_16", compression_level=level / 8)
    return buffer.getvalue()


def by_soundfile(path: Path) -> object:
    """float32 at the native rate."""
    return soundfile.read(path, dtype="float32")


def by_pyav(path: Path) -> object:
    """Frames of whatever FFmpeg's codec gives."""
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(audio=0)]


def by_miniaudio(path: Path) -> object:
    """float32 at the native rate; it knows neither Opus nor 24-bit FLAC beyond its own decoders."""
    import miniaudio  # type: ignore[import-not-found]

    rate = miniaudio.get_file_info(str(path)).sample_rate
    floats = miniaudio.SampleFormat.FLOAT32
    return miniaudio.decode_file(str(path), output_format=floats, nchannels=1, sample_rate=rate)


LIBRARIES = {"soundfile": by_soundfile, "av": by_pyav, "miniaudio": by_miniaudio}


def in_turns(works: Sequence[Work], paths: Sequence[Path], rounds: int) -> list[list[float]]:
    """Processor seconds over all clips, of each work in each round."""
    times = []
    for _ in range(rounds + 1):
        taken = [0.0] * len(works)
        for path in paths:
            for number, work in enumerate(works):
                begun = time.process_time()
                work(path)
                taken[number] += time.process_time() - begun
        times.append(taken)
    return [list(column) for column in zip(*times[1:], strict=True)]  # the first round warms up


def clips(root: Path, count: int, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Recordings of each format, ``count`` of each at most; the rarer formats are made from the WAVs, rendered last."""
    for name, pattern in REAL.items():
        yield name, random.Random(0).sample(found := sorted(root.glob(pattern)), min(count, len(found)))
    if importlib.util.find_spec("espeakng_loader"):
        yield "rendered WAV", [_rendered(folder, number) for number in range(count)]
    sources = sorted(root.glob(REAL["WAV"]))[:count]
    for name, made in MADE.items():
        yield name, [_made(source, folder, name, **made) for source in sources]
    if importlib.util.find_spec("av"):
        yield "AAC 44.1 kHz", [_made(source, folder, "AAC", rate=44_100) for source in sources]


def _made(source: Path, folder: Path, name: str, *, rate: int, **kind: str) -> Path:
    wave, native = soundfile.read(source, dtype="float32")
    path = folder / f"{source.stem} {name}"
    if kind:
        soundfile.write(path, soxr.resample(wave, native, rate), rate, **kind)
    else:
        from pipelines.voices import Voices

        Voices().write(path.with_suffix(".m4a"), soxr.resample(wave, native, rate), rate)
        return path.with_suffix(".m4a")
    return path


def _rendered(folder: Path, number: int) -> Path:
    from pipelines.voices import Voice, Voices

    path = folder / f"rendered-{number}.wav"
    voice = Voice(str(number), "female" if number % 2 else "male", 20 + number % 60, "en")
    voices = Voices()
    voices.write(path, voices.say(voice, seconds=float(2 + number % 5), take=number), RATE)
    return path


def _seconds(paths: Sequence[Path]) -> float:
    total = 0.0
    for path in paths:
        wave, rate = audio.decode(path)
        total += wave.size / rate
    return total


def decoding(sets: dict[str, list[Path]], rounds: int) -> None:
    """Print times real time of each library on each format."""
    names = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    click.echo(f"decode, times real time\n{'':18s}" + "".join(f"{name:>12s}" for name in names))
    for kind, paths in sets.items():
        cells = []
        for name in names:
            try:
                (taken,) = in_turns([LIBRARIES[name]], paths, rounds)
                cells.append(f"{_seconds(paths) / statistics.median(taken):12.0f}")
            except Exception as error:  # a peer that cannot read a format says so in its own way
                cells.append(f"{type(error).__name__:>12.11s}")
        click.echo(f"{kind:18s}" + "".join(cells))


def levels(sets: dict[str, list[Path]], rounds: int) -> None:
    """Print time and size of each level of FLAC."""
    click.echo(f"\nencode, by level of FLAC\n{'':18s}{'level':>6s}{'x real':>8s}{'size':>8s}  (1: level 5)")
    for kind in REAL:
        waves = [audio.load(path) for path in sets.get(kind, [])]
        if not waves:
            continue
        steps = [audio._steps(wave, 1.0)[0] for wave in waves]
        sizes, times = {}, {}
        for level in (0, 3, 5, 8):
            taken = []
            for _ in range(rounds):
                begun, size = time.process_time(), 0
                for one in steps:
                    buffer = io.BytesIO()
                    kwargs = {"format": "FLAC", "subtype": "PCM_16", "compression_level": level / 8}
                    soundfile.write(buffer, one, RATE, **kwargs)
                    size += len(buffer.getvalue())
                taken.append(time.process_time() - begun)
            sizes[level], times[level] = size, statistics.median(taken)
        seconds = sum(map(len, steps)) / RATE
        for level, size in sizes.items():
            click.echo(f"{kind:18s}{level:6d}{seconds / times[level]:8.0f}{size / sizes[5]:8.3f}")


def converting(sets: dict[str, list[Path]], rounds: int) -> None:
    """Print `convert` beside its floor."""
    click.echo(f"\nconvert and its floor, hours a minute\n{'':18s}{'convert':>9s}{'floor':>8s}  share of the floor")
    for kind, paths in sets.items():
        try:
            mine, least = in_turns([audio.convert, floor], paths, rounds)
        except soundfile.LibsndfileError:  # AAC: the floor cannot read it
            continue
        ratios = [one / other for one, other in zip(least, mine, strict=True)]
        hours = _seconds(paths) / 60
        click.echo(
            f"{kind:18s}{hours / statistics.median(mine):9.1f}{hours / statistics.median(least):8.1f}"
            f"  {statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


@click.command(help=__doc__)
@click.argument("root", type=click.Path(exists=True, path_type=Path))
@click.option("--clips", "count", default=150, show_default=True, help="of each format")
@click.option("--rounds", default=5, show_default=True)
def main(root: Path, count: int, rounds: int) -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        sets = {kind: paths for kind, paths in clips(root, count, Path(folder)) if paths}
        decoding(sets, rounds)
        levels(sets, rounds)
        converting(sets, rounds)


if __name__ == "__main__":
    main()
