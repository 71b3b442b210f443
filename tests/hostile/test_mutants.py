"""Broken recordings through `audio.convert` in the workers of a run: the small form of tests/hostile/run.py."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import audio, scale
from pipelines.guard import Note
from tests.hostile import run, special
from tests.hostile.mutate import FORMATS, mutant, sound

FEW = 300
LONG = {
    "100 hours of constant FLAC, length not stated", "100 hours of constant FLAC at 8 kHz", "constant FLAC of 3 hours",
    "100 hours of silent Opus packets", "100 hours of WAV, a hole",
}  # fmt: skip
CONVERTED = {
    "constant FLAC of 3 hours", "WAV claims 4 GB", "RF64 claims 100 hours", "AIFF claims 4 GB",
    "SPHERE claims 100 hours",
    "Vorbis claims 2^63 frames", "MP3 claims 2^32 frames", "WAV of 256 channels", "WAV of 1024 channels",
    "FLAC with a tail of frame headers",
}  # fmt: skip


def test_mutants_are_converted_or_refused(tmp_path: Path) -> None:
    outcomes = list(run.tried(range(FEW), 1, tmp_path / "here", workers=2))
    assert [one.id for one in outcomes] == [f"1-{number}" for number in range(FEW)]
    assert run.not_well(outcomes) == []
    assert {one.outcome for one in outcomes} >= {run.CONVERTED, run.REJECTED}
    assert {one.format for one in outcomes if one.outcome == run.CONVERTED} == set(FORMATS)
    assert {one.format for one in outcomes if one.outcome == run.REJECTED} == set(FORMATS)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= run.NAMES
    assert len(list(run.table(outcomes))) > len(FORMATS)


def test_a_mutant_is_made_again_from_its_name() -> None:
    for number in range(2 * len(FORMATS)):
        assert mutant(number, 3) == mutant(number, 3)
    assert mutant(14, 3).content != mutant(14 + len(FORMATS), 3).content
    assert mutant(14, 3).content != mutant(14, 4).content
    nsp = hashlib.sha256(mutant(14, 3).content).hexdigest()
    assert mutant(14, 3).format == "kay nsp" and nsp.startswith(
        "414d8c496333c5c4"
    )  # no encoder made it: the same everywhere


@pytest.mark.parametrize("kind", FORMATS)
def test_the_parsers_know_their_containers(kind: str, tmp_path: Path) -> None:
    """The unbroken recording converts, and mending its checksums changes nothing: so the checksums are understood."""
    form = FORMATS[kind]
    assert form.repair(sound(kind)) == sound(kind)
    path = tmp_path / f"x.{form.ending}"
    path.write_bytes(sound(kind))
    if kind == "wfdb":
        path.with_suffix(".hea").write_bytes(b"x 1 16000 6400\nx.dat 16 32768(0)/NU 16 0 0 0 0 voice\n")
    assert audio.convert(path).measured.seconds == pytest.approx(0.4, abs=0.15)  # AAC has its padding


def test_recordings_built_to_hurt(tmp_path: Path) -> None:
    names = [name for name in (*special.BYTES, *special.FILES) if name not in LONG]
    outcomes = run.tried_special(names, tmp_path, workers=2)
    assert run.not_well(outcomes) == []
    assert {one.id for one in outcomes if one.outcome == run.CONVERTED} == CONVERTED - LONG
    assert {one.outcome for one in outcomes} == {run.CONVERTED, run.REJECTED}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hours_that_are_really_there(tmp_path: Path) -> None:
    outcomes = run.tried_special(sorted(LONG), tmp_path, workers=2)
    assert run.not_well(outcomes) == []
    assert {one.id for one in outcomes if one.outcome == run.CONVERTED} == CONVERTED & LONG
    assert {one.reason[:19] for one in outcomes if one.outcome == run.REJECTED} == {"longer than 4 hours"}


def test_eight_channels_of_aac(tmp_path: Path) -> None:
    """A valid file: PyAV takes 8 planes for 9, and ended the process."""
    av: Any = pytest.importorskip("av")
    wave = np.random.default_rng(0).normal(0, 0.1, (1, 8 * 16_000)).astype(np.float32)
    with av.open(str(tmp_path / "x.m4a"), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(wave, format="flt", layout="7.1")
        frame.sample_rate, frame.pts = 16_000, 0
        for part in av.AudioResampler(format="fltp", frame_size=1024).resample(frame):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    assert run.convert(tmp_path / "x.m4a", "", "").outcome == run.CONVERTED


# --- a decoder that dies ---


def _segfault() -> None:
    ctypes.string_at(0)


def _hang() -> None:
    threading.Event().wait()


def _eat() -> None:
    np.ones(2**40, np.uint8)


def _fill() -> None:
    Path("hacked").write_bytes(b"x")


DEATHS: dict[str, tuple[Callable[[], None], str, str]] = {
    "SIGSEGV": (_segfault, run.DIED, "its decoder crashed (SIGSEGV)"),
    "SIGABRT": (os.abort, run.DIED, "its decoder crashed (SIGABRT)"),
    "hang": (_hang, run.LATE, "not read within 3 s"),
    "memory": (_eat, run.ERROR, "MemoryError"),
    "file": (_fill, run.ERROR, "OSError: [Errno 27] File too large"),
}


def deadly(unit: tuple[str, run.Unit], note: Note) -> tuple[int, list[run.Outcome]]:
    """The work of `run`, with a decoder of FLAC that does what its name says."""
    deed, mutants = unit
    converted = audio.convert

    def convert(path: Path) -> audio.Converted:
        if path.suffix == ".flac":
            DEATHS[deed][0]()
        return converted(path)

    audio.convert = convert  # type: ignore[assignment]
    try:
        return os.getpid(), run.work(mutants, note)
    finally:
        audio.convert = converted


@pytest.mark.parametrize("deed", DEATHS)
def test_a_decoder_that_dies_takes_its_worker_down_and_nothing_else(
    deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLAP_FILE_TIMEOUT", "3" if deed == "hang" else "60")
    units = [(deed, (0, tuple(range(first, first + len(FORMATS))), tmp_path)) for first in (0, len(FORMATS))]
    done = list(scale.run(deadly, units, total=2, label="deadly", workers=1))
    _, outcome, reason = DEATHS[deed]
    for pid, outcomes in done:
        assert pid != os.getpid()
        flac = outcomes[list(FORMATS).index("flac")]
        assert flac.outcome == outcome and reason in flac.reason
        assert run.not_well(one for one in outcomes if one.format != "flac") == []
        assert {one.outcome for one in outcomes if one.format != "flac"} <= {run.CONVERTED, run.REJECTED}
    assert not Path("hacked").exists() or Path("hacked").stat().st_size == 0
    Path("hacked").unlink(missing_ok=True)
