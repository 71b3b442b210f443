"""What a recording is like apart from who speaks: level, bandwidth, noise, and what is heard in its silence.

Everything is measured on the 16 kHz audio of a shard, which is what a model hears, and kept as embeddings are:
``<embeddings>/recording-<fingerprint>/<sha256 of the tar, 16 letters>.parquet`` with utt_id and vector, in the
order of `COLUMNS`. A name is ``property`` or ``property=detail``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmark.embed import read_waves, vector_files
from benchmark.embedders import Wave
from benchmark.files import as_parquet
from slap_model import store

RATE = 16_000  # Hz
FRAME, HOP, FFT = 400, 160, 512  # samples: 25 ms every 10 ms
LONGEST_S = 60.0  # of a clip that is measured; the duration is that of the whole
BANDS = 24  # mel bands of the silence
NAME = "recording"
FINGERPRINT = hashlib.sha256(
    b"recording 6: fft 512, 25/10 ms; silence: 0.2 s, 15 dB below speech, 6 dB about the 10th percentile; 24 htk bands"
).hexdigest()

LEVELS = (
    "level",  # dBFS, root mean square
    "level=peak",  # dBFS
    "clipping",  # share of samples at 0.99 of full scale or above
    "DC offset",  # dBFS, from -60 on: the mean of any wave is a little off zero, and the more so the louder it is
    "noise floor",  # dBFS, mean of the frames without speech; NaN where a clip has none
    "signal-to-noise ratio",  # dB, 95th percentile of all frames over the noise floor; NaN likewise
    "digital silence",  # 1 where a frame holds nothing but zeros
    "bandwidth",  # Hz
    "duration",  # seconds, decimal logarithm
)
OF_SILENCE = ("noise floor", "signal-to-noise ratio")  # those of `LEVELS` that a clip without silence does not have

_QUANTISATION = (2.0 / 65536) ** 2 / 12  # variance of rounding to 16 bits, which is white
_SILENT = 1e-12  # power that counts as none: -120 dBFS
_BELOW_SPEECH_DB = 15.0
_ABOVE_FLOOR_DB = 6.0
_LEAST_PAUSE, _EDGE = 20, 5  # frames: 0.2 s, longer than the closure of a stop; and the tails of speech at its ends
_NO_OFFSET_DB = -60.0
_STEP = 250.0  # Hz, of the bandwidth
_PERIODIC = 0.5  # autocorrelation from which a frame counts as voiced
_PITCH_LAGS = slice(RATE // 400, RATE // 80)  # samples: periods of 80 to 400 Hz

Numbers = npt.NDArray[np.float32]


def _band_names() -> tuple[str, ...]:
    """The property of each mel band, so that a person learns whether it is the hum or the hiss."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    centres = 700 * (10 ** (np.linspace(0, top, BANDS + 2)[1:-1] / 2595) - 1)
    return tuple("hum (below 300 Hz)" if f < 300 else "hiss (above 3 kHz)" if f > 3000 else "room" for f in centres)


SILENCE = tuple(
    f"{name}={what} {band}" for what in ("mean", "spread") for band, name in enumerate(_band_names())
)  # dBFS of a mel band over the quiet frames; NaN where a clip has no silence
COLUMNS = LEVELS + SILENCE


@store.writes_to("embeddings")
def measurements(shards: Sequence[Path], embeddings: Path) -> pl.DataFrame:
    """What the recordings of some shards are like: utt_id and `COLUMNS` (Float32), in the order of the shards.

    Args:
        shards: tars of ``<utt_id>.flac``.
        embeddings: folder of all embeddings; a shard is measured once and its file kept there.

    Raises:
        AudioError: a FLAC cannot be decoded, or is empty.
    """
    folder = embeddings / f"{NAME}-{FINGERPRINT[:12]}"
    parts = [pl.DataFrame(schema={"utt_id": pl.String(), "vector": pl.List(pl.Float32())})]
    there = {file.name for file in store.listing(folder, "*.parquet")}
    for shard, file in zip(shards, vector_files(folder, shards), strict=True):
        if file.name not in there:
            _keep(shard, file)
        parts.append(pl.read_parquet(store.source(file)))
    vectors = pl.concat(parts)
    values = vectors["vector"].list.to_array(len(COLUMNS)).to_numpy().reshape(-1, len(COLUMNS))
    return pl.concat(
        [vectors.select("utt_id"), pl.DataFrame(values, schema=dict.fromkeys(COLUMNS, pl.Float32()))],
        how="horizontal",
    )


def _keep(shard: Path, file: Path) -> None:
    found = [(utt_id, measure(wave).tolist()) for utt_id, wave in read_waves(shard, RATE)]
    frame = pl.DataFrame(found, schema={"utt_id": pl.String(), "vector": pl.List(pl.Float32())}, orient="row")
    store.write(file, as_parquet(frame))


def measure(wave: Wave) -> Numbers:
    """The measurements of one mono wave at 16 kHz, in the order of `COLUMNS`."""
    heard = wave[: round(LONGEST_S * RATE)]
    offset = float(heard.mean())
    level = float(np.sqrt(np.mean(np.square(heard))))
    peak = float(np.abs(heard).max())
    clipped = float(np.mean(np.abs(heard) >= 0.99))
    frames = _frames(heard - np.float32(offset))
    energy = _db(np.einsum("ij,ij->i", frames, frames) / FRAME)
    power = _power(frames)
    quiet = silent_frames(energy, power)
    floor = float(energy[quiet].mean()) if quiet.any() else np.nan
    levels = [
        *(float(_db(value**2)) for value in (level, peak)),
        clipped,
        max(float(_db(offset**2)), _NO_OFFSET_DB),
        floor,
        float(np.percentile(energy, 95)) - floor,
        float(not _frames(heard).any(axis=1).all()),
        bandwidth(heard),
        float(np.log10(len(wave) / RATE)),
    ]
    return np.array([*levels, *_silence(power, quiet)], dtype=np.float32)


def bandwidth(wave: Wave) -> float:
    """The highest frequency in Hz that carries energy: 10 dB above the noise of rounding to 16 bits.

    Above the cut of a codec, of a filter or of a lower native rate there is nothing but rounding. A limit in dB below
    the spectrum's peak would measure how bright the voice is; so would the exact place where the slope of a cut meets
    the rounding, and it is given to 250 Hz.

    Args:
        wave: mono, at 16 kHz.
    """
    spectrum = _power(_frames(wave, FFT, FFT // 2), "blackmanharris").mean(axis=0)
    carries = np.flatnonzero(spectrum > 10 * _QUANTISATION)
    return _STEP * round(float(carries[-1] if len(carries) else 0) * RATE / FFT / _STEP)


def silent_frames(energy: Numbers, power: Numbers) -> npt.NDArray[np.bool_]:
    """The frames in which nobody speaks.

    They lie 15 dB below the speech (95th percentile) and no more than 6 dB above the 10th percentile, in a pause of at
    least 0.2 s, of which 50 ms at either end are left out; voiced ones are left out. Where most of them are periodic it
    is hum and not a voice, and they stay.

    Args:
        energy: [n] in dBFS.
        power: [n, 257] spectra of the frames.
    """
    from scipy.ndimage import binary_erosion, binary_opening

    floor, speech = np.percentile(energy, [10, 95])
    quiet = energy <= min(speech - _BELOW_SPEECH_DB, floor + _ABOVE_FLOOR_DB)
    pauses = binary_opening(quiet, np.ones(_LEAST_PAUSE))
    inner = np.asarray(binary_erosion(pauses, np.ones(2 * _EDGE + 1), border_value=1), dtype=np.bool_)
    at = np.flatnonzero(inner)
    voiced = _periodicity(power[at]) > _PERIODIC
    if 2 * voiced.sum() < len(at):
        inner[at[voiced]] = False
    return inner


def _silence(power: Numbers, quiet: npt.NDArray[np.bool_]) -> Numbers:
    """Mean and spread of the log-mel bands over quiet frames, [2 * BANDS]; NaN without any."""
    if not quiet.any():
        return np.full(2 * BANDS, np.nan, dtype=np.float32)
    bands = _db(power[quiet] @ _filters())
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


@cache
def _filters() -> Numbers:
    """[257, BANDS] triangular filters, each summing to 1, so that a band holds the mean power of its bins."""
    from torchaudio.functional import melscale_fbanks

    filters = melscale_fbanks(FFT // 2 + 1, 0.0, RATE / 2, BANDS, RATE).numpy()
    return np.asarray(filters / filters.sum(axis=0), dtype=np.float32)


def _frames(wave: Wave, length: int = FRAME, hop: int = HOP) -> Numbers:
    """[n, length]; a wave that is shorter than a frame is filled up with zeros."""
    padded = np.pad(wave, (0, max(0, length - len(wave))))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]


@cache
def _window(name: str, length: int) -> Numbers:
    from scipy.signal import get_window

    return np.asarray(get_window(name, length), dtype=np.float32)


def _power(frames: Numbers, name: str = "hann") -> Numbers:
    """[n, 257] power spectra, scaled so that white noise of variance v has v in every bin.

    The side lobes of the Blackman-Harris window lie 92 dB down; those of the Hann window, which tells neighbours apart
    better, would carry loud speech over the cut of a low-pass.
    """
    from scipy.fft import rfft

    window = _window(name, frames.shape[1])
    spectra = rfft(frames * window, FFT, axis=1)
    return np.asarray((spectra.real**2 + spectra.imag**2) / np.square(window).sum(), dtype=np.float32)


def _periodicity(power: Numbers) -> Numbers:
    """How like itself each frame is a period of 80 to 400 Hz later, [n] up to about 1."""
    from scipy.fft import irfft

    heard = power.copy()
    heard[:, : round(60 * FFT / RATE) + 1] = 0.0  # rumble is no pitch
    window = irfft(np.abs(np.fft.rfft(_window("hann", FRAME), FFT)) ** 2)
    similar = irfft(heard, FFT, axis=1)
    shape = similar[:, _PITCH_LAGS] / (window[_PITCH_LAGS] / window[0])
    return np.asarray(shape.max(axis=1, initial=0.0) / np.maximum(similar[:, 0], 1e-20), dtype=np.float32)


def _db(power: npt.ArrayLike) -> Numbers:
    """Decibels of a power, full scale 0; zeros give -120."""
    return np.asarray(10 * np.log10(np.asarray(power) + _SILENT), dtype=np.float32)
