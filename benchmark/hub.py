"""Embedders whose weights lie on the Hugging Face hub, or in a folder that was copied from it.

Only safetensors are read, no code of a repository is run, and revisions are pinned. Weights are looked for in
``$SLAP_MODELS/<owner>/<model>``, then in the hub's cache, then on the network (never with ``HF_HUB_OFFLINE=1``).
``python -m benchmark.hub FOLDER`` rewrites a pickled ``pytorch_model.bin`` or ``*.pth`` as safetensors, for
repositories that have nothing else; it reads tensors only (``weights_only``).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.embed import windows
from benchmark.embedders import AbsentError, Embedder, Vectors, Wave
from benchmark.files import file_hash
from benchmark.hub_models import MODELS, Model

SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
FILES = (*SAFETENSORS, "*.json", "*.txt")  # what is downloaded: never a pickle, never code


def make(name: str, models: Path | None = None) -> Embedder:
    """The embedder of that name in `MODELS`, its weights found or downloaded, but not yet loaded.

    Raises:
        AbsentError: which model, what to download, where it was looked for.
    """
    model = MODELS[name]
    made: Embedder = KINDS[model.kind](model, weights_folder(model, models))
    return made


def weights_folder(model: Model, models: Path | None = None) -> Path:
    """The folder with a model's safetensors and configuration.

    Raises:
        AbsentError: which model, what to download, where it was looked for.
    """
    own = models / model.repository if models is not None else None
    if own is not None and own.is_dir():
        folder, where = own, str(own)
    else:
        folder, where = _from_hub(model, own), f"{model.repository} (revision {model.revision or 'newest'})"
    if not list(folder.glob("*.safetensors")):
        raise AbsentError(
            f"{model.name}: {where} holds no safetensors, and pickled weights are not loaded. Convert them once: "
            f"`{_download(model)}`, `python -m benchmark.hub models/{model.repository}`, then set SLAP_MODELS=models"
        )
    return folder


def _download(model: Model) -> str:
    """The command that fetches all a model needs into one folder."""
    fetches = []
    for repository, files in (model.parts or {model.repository: ""}).items():
        revision = model.revision if repository == model.repository else ""
        words = ("hf download", repository, files, f"--revision {revision}" if revision else "")
        fetches.append(" ".join([*filter(None, words), f"--local-dir models/{model.repository}"]))
    return " && ".join(fetches)


def _from_hub(model: Model, own: Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    try:
        found = snapshot_download(
            model.repository,
            revision=model.revision or None,
            allow_patterns=list(FILES),
            local_files_only=offline,
        )
    except Exception as error:  # the hub's client has no common base: no network, gated, unknown, not in the cache
        places = f"{own if own is not None else '$SLAP_MODELS (not set)'} and {HF_HUB_CACHE}"
        how = "HF_HUB_OFFLINE is set" if offline else f"the hub answered: {type(error).__name__}"
        raise AbsentError(
            f"{model.name}: no weights of {model.repository} ({how}); looked in {places}. "
            f"With a network: `{_download(model)}`, then set SLAP_MODELS=models"
        ) from error
    return Path(found)


# --- how each is run ----------------------------------------------------------------------------------------


class InPieces:
    """Cuts waves into stretches that the model takes, and averages the stretches' vectors."""

    sample_rate: int = 16_000
    piece_s: float = 10.0  # longest stretch that the model is given
    batch: int = 16

    @property
    def together(self) -> bool:
        """Whether pieces of unequal length may share a batch: only where padding cannot be heard."""
        return False

    @cached_property
    def device(self) -> Any:
        """The GPU where there is one."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, d] of n pieces."""
        raise NotImplementedError

    def embed_audio(self, waves: Sequence[Wave]) -> Vectors:
        """Vectors [n, d], each the mean over the pieces of its wave."""
        import torch

        length = round(self.piece_s * self.sample_rate)
        pieces = [windows(np.asarray(wave, dtype=np.float32), length, length) for wave in waves]
        flat = [piece for of_one in pieces for piece in of_one]
        groups = list(self._groups(flat))
        with torch.inference_mode():
            found = [self.run([flat[i] for i in group]).float().cpu().numpy() for group in groups]
        vectors = np.concatenate(found)[np.argsort(np.concatenate(groups))]
        ends = np.cumsum([len(of_one) for of_one in pieces])
        return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])

    def _groups(self, pieces: Sequence[Wave]) -> Iterator[list[int]]:
        """Batches by index: of one length each, unless pieces of all lengths may share one."""
        by_length: dict[int, list[int]] = {}
        for i, piece in enumerate(pieces):
            by_length.setdefault(0 if self.together else len(piece), []).append(i)
        for same in by_length.values():
            for start in range(0, len(same), self.batch):
                yield same[start : start + self.batch]


class OfHub(InPieces):
    """A model of `MODELS` from its folder. Weights are loaded when the first wave comes."""

    version = "1"  # changes when the vectors may change though the weights are the same

    def __init__(self, model: Model, folder: Path) -> None:
        self.name = model.name
        self.folder = folder
        self.trained_on = model.trained_on
        files = sorted(
            file for kind in ("*.safetensors", "*config.json", "tokenizer.json") for file in folder.glob(kind)
        )
        parts = [type(self).__name__, self.version, *(f"{file.name}:{file_hash(file)}" for file in files)]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def load(self, kind: Any, **options: Any) -> Any:
        """The folder as a model of transformers, in float32, ready to infer.

        Raises:
            AbsentError: the file lacks weights of the architecture, which would be random.
        """
        import torch

        with _quiet():
            model, report = kind.from_pretrained(
                self.folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                **options,
            )
        # masked_spec_embed stands for masked frames in training and is never used here
        missing = sorted(key for key in report["missing_keys"] if not key.endswith("masked_spec_embed"))
        if missing:
            lacks = f"the weights in {self.folder} lack {len(missing)} arrays of the architecture, e.g. {missing[0]}"
            raise AbsentError(f"{self.name}: {lacks}")
        return model.to(self.device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers lists every array of a decoder that is not loaded; that is as it should be."""
    import logging as levels

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(levels.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


class WhisperEncoder(InPieces):
    """Mean over the encoder's frames that hold audio. Every piece is padded to 30 s: so Whisper was trained.

    A subclass gives ``extractor`` and ``encoder``.
    """

    piece_s = 30.0
    batch = 4
    samples_a_frame = 320  # a mel frame is 160 samples, and the second convolution has stride 2
    extractor: Any
    encoder: Any

    @property
    def together(self) -> bool:
        """Yes: every piece is padded to the same 30 s."""
        return True

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, d] of n pieces."""
        import torch

        mel = self.extractor(list(pieces), sampling_rate=self.sample_rate, return_tensors="pt")["input_features"]
        hidden = self.encoder(mel.to(self.device)).last_hidden_state  # [n, 1500, d]
        real = [-(-len(piece) // self.samples_a_frame) for piece in pieces]
        return torch.stack([of_one[:frames].mean(dim=0) for of_one, frames in zip(hidden, real, strict=True)])


class Whisper(OfHub, WhisperEncoder):
    """A Whisper of any size."""

    @cached_property
    def extractor(self) -> Any:
        """Its mel front end, as the repository configures it."""
        from transformers import WhisperFeatureExtractor

        return WhisperFeatureExtractor.from_pretrained(self.folder)

    @cached_property
    def encoder(self) -> Any:
        """The encoder alone; the decoder is let go."""
        from transformers import WhisperModel

        return self.load(WhisperModel).encoder


class Wav2Vec(OfHub):
    """wav2vec 2.0, HuBERT and WavLM: the last layer, mean over frames.

    Some (``feat_extract_norm = "group"``: all base models) normalise the first convolution over the whole time axis,
    padding included, so only pieces of one length share a batch; others normalise each frame, and padding is masked.
    """

    piece_s = 30.0
    batch = 8

    @cached_property
    def extractor(self) -> Any:
        """Normalises each wave where the model was trained so."""
        from transformers import Wav2Vec2FeatureExtractor

        return Wav2Vec2FeatureExtractor.from_pretrained(self.folder)

    @cached_property
    def network(self) -> Any:
        """The transformer with its convolutions."""
        from transformers import AutoModel

        return self.load(AutoModel)

    @property
    def together(self) -> bool:
        """Where each frame is normalised by itself."""
        return bool(self.network.config.feat_extract_norm == "layer")

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, d] of n pieces."""
        import torch

        least = self._samples_of_one_frame()
        waves = [np.pad(piece, (0, max(0, least - len(piece)))) for piece in pieces]
        ready = self.extractor(
            waves, sampling_rate=self.sample_rate, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        values, mask = ready["input_values"].to(self.device), ready["attention_mask"].to(self.device)
        padded = self.together and len({len(wave) for wave in waves}) > 1
        hidden = self.network(values, attention_mask=mask if padded else None).last_hidden_state
        frames = [self._frames(len(wave)) for wave in waves]
        return torch.stack([of_one[:real].mean(dim=0) for of_one, real in zip(hidden, frames, strict=True)])

    def _frames(self, samples: int) -> int:
        """Frames that hold audio only."""
        for kernel, stride in zip(self.network.config.conv_kernel, self.network.config.conv_stride, strict=True):
            samples = (samples - kernel) // stride + 1
        return samples

    def _samples_of_one_frame(self) -> int:
        samples = 1
        config = self.network.config
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            samples = (samples - 1) * stride + kernel
        return samples


class AudioMae(OfHub):
    """AudioMAE's encoder by timm: Kaldi's 128 log-mels, 1,024 frames, mean over the patches that hold audio."""

    piece_s = 10.24
    frames = 1024

    @property
    def together(self) -> bool:
        """Yes: every piece is padded to 1,024 frames, as in training."""
        return True

    @cached_property
    def front_end(self) -> Any:
        """SLAP's own front end with AudioSet's statistics: it is AudioMAE's."""
        from slap_model.config import Frontend
        from slap_model.frontend import LogMel

        return LogMel(Frontend(mels=128, window=400, hop=160, sample_rate=self.sample_rate)).to(self.device)

    @cached_property
    def network(self) -> Any:
        """The vision transformer."""
        import timm

        return timm.create_model(f"local-dir:{self.folder}", pretrained=True, num_classes=0).to(self.device).eval()

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, d] of n pieces."""
        import torch

        mels, real = [], []
        for piece in pieces:
            wave = torch.from_numpy(np.pad(piece, (0, max(0, 400 - len(piece))))).to(self.device)
            raw = self.front_end.raw(wave[None])[0, : self.frames]  # [frames, 128]
            real.append(-(-len(raw) // 16))
            # zeros before normalisation, as AudioMAE pads
            padded = torch.nn.functional.pad(raw, (0, 0, 0, self.frames - len(raw)))
            mels.append((padded - self.front_end.mean) / (2 * self.front_end.std))
        tokens = self.network.forward_features(torch.stack(mels)[:, None])[:, self.network.num_prefix_tokens :]
        across = tokens.shape[1] // (self.frames // 16)  # patches across frequency; time runs slowest
        return torch.stack([of_one[: across * n].mean(dim=0) for of_one, n in zip(tokens, real, strict=True)])


class Hear(OfHub):
    """HeAR: a vision transformer over the PCEN mel of 2 s; its pooled vector, averaged over the stretches."""

    piece_s = 2.0

    @property
    def together(self) -> bool:
        """Yes: every piece is padded to 2 s."""
        return True

    @cached_property
    def network(self) -> Any:
        """The vision transformer."""
        from transformers import AutoModel

        return self.load(AutoModel)

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, d] of n pieces."""
        import torch

        length = round(self.piece_s * self.sample_rate)
        waves = torch.from_numpy(np.stack([np.pad(piece, (0, length - len(piece))) for piece in pieces]))
        return self.network(pixel_values=pcen(waves).to(self.device)).pooler_output


def pcen(waves: Any) -> Any:
    """HeAR's picture [n, 1, 192, 128] of waves [n, 32000]: mels whose energy is divided by its recent past.

    After https://github.com/Google-Health/hear (Apache-2.0), but each wave is scaled by itself: there the loudest
    of a batch scales all of it.
    """
    import torch
    from torch.nn import functional

    low, high = waves.amin(dim=1, keepdim=True), waves.amax(dim=1, keepdim=True)
    scaled = 2 * (waves - low) / (high - low + 1e-8) - 1
    frames = functional.pad(scaled, (0, 400 - 160)).unfold(1, 400, 160) * torch.hann_window(400)
    energy = torch.fft.rfft(frames).abs().square() @ _triangles()  # [n, 200, 128]
    smooth = [energy[:, 0]]
    for now in energy[:, 1:].unbind(dim=1):
        smooth.append(0.04 * now + 0.96 * smooth[-1])
    gained = (energy / (1e-8 + torch.stack(smooth, dim=1)) ** 0.8 + 2.0) ** 0.5 - 2.0**0.5
    return functional.interpolate(gained[:, None], size=(192, 128), mode="bilinear", align_corners=False)


def _triangles() -> Any:
    """128 triangles over 201 frequencies up to 8 kHz, straight in mel (not in Hz); the constant part is left out."""
    import torch

    def mel(hz: Any) -> Any:
        return 2595.0 * torch.log10(1.0 + hz / 700.0)

    at = mel(torch.linspace(0.0, 8000.0, 201))[:, None]
    edges = torch.linspace(0.0, float(mel(torch.tensor(8000.0))), 130)
    up, down = (at - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - at) / (edges[2:] - edges[1:-1])
    weights = torch.minimum(up, down).clamp(min=0.0)
    weights[0] = 0.0
    return weights


class AudioText(OfHub):
    """Two towers: the probe sees the audio tower's pooled vector; text is met after the projection.

    A subclass gives ``network``, with the layer ``audio_projection``.
    """

    network: Any

    @property
    def together(self) -> bool:
        """Yes: every piece is made as long as a clip."""
        return True

    def project(self, vectors: Vectors) -> Vectors:
        """Audio vectors [n, 768] in the joint space [n, k], of length 1; k is 512 for LAION's, 1024 for Microsoft's."""
        import torch
        from torch.nn.functional import normalize

        with torch.inference_mode():
            given = torch.from_numpy(np.array(vectors, dtype=np.float32)).to(self.device)
            return np.asarray(normalize(self.network.audio_projection(given), dim=1).cpu().numpy())


class Clap(AudioText):
    """LAION CLAP: clips of 10 s at 48 kHz, shorter ones repeated and padded, nothing cropped at random."""

    sample_rate = 48_000
    piece_s = 10.0

    @cached_property
    def processor(self) -> Any:
        """Mel front end and tokenizer."""
        from transformers import ClapProcessor

        return ClapProcessor.from_pretrained(self.folder)

    @cached_property
    def network(self) -> Any:
        """Both towers."""
        from transformers import ClapModel

        return self.load(ClapModel)

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before the softmax."""
        return float(self.network.logit_scale_a.detach().exp())

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, 768] of n pieces."""
        ready = self.processor.feature_extractor(
            list(pieces),
            sampling_rate=self.sample_rate,
            truncation="rand_trunc",  # it never comes to that: no piece is longer than a clip
            padding="repeatpad",
            return_tensors="pt",
        )
        return self.network.audio_model(input_features=ready["input_features"].to(self.device)).pooler_output

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, 512] of texts, in the joint space, of length 1."""
        import torch

        with torch.inference_mode():
            tokens = self.processor.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            return np.asarray(self.network.get_text_features(**tokens.to(self.device)).pooler_output.cpu().numpy())


class MsClap(AudioText):
    """Microsoft CLAP: clips of 7 s at 44.1 kHz, shorter ones repeated, nothing cropped at random."""

    sample_rate = 44_100
    piece_s = 7.0

    def __init__(self, model: Model, folder: Path) -> None:
        if not (folder / "tokenizer.json").is_file():
            raise AbsentError(f"{model.name}: {folder} holds no tokenizer.json; it is GPT-2's: `{_download(model)}`")
        super().__init__(model, folder)

    @cached_property
    def tokenizer(self) -> Any:
        """GPT-2's, which has no sign for padding: Microsoft took its first."""
        from transformers import PreTrainedTokenizerFast

        kind: Any = PreTrainedTokenizerFast
        return kind(tokenizer_file=str(self.folder / "tokenizer.json"), pad_token="!")

    @cached_property
    def network(self) -> Any:
        """Both towers."""
        from benchmark import ms_clap

        return ms_clap.load(self.folder).to(self.device).eval()

    def run(self, pieces: Sequence[Wave]) -> Any:
        """A tensor [n, 768] of n pieces."""
        import torch

        length = round(self.piece_s * self.sample_rate)
        clips = np.stack([np.resize(piece, length) for piece in pieces])  # np.resize repeats
        return self.network.hear(torch.from_numpy(clips).to(self.device))

    def embed_text(self, texts: Sequence[str]) -> Vectors:
        """Vectors [n, 1024] of texts, in the joint space, of length 1."""
        import torch
        from torch.nn.functional import normalize

        longest = self.network.text.config.n_positions
        ended = [f"{text} <|endoftext|>" for text in texts]
        with torch.inference_mode():
            tokens = self.tokenizer(ended, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            read = self.network.read(tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device))
            return np.asarray(normalize(read, dim=1).cpu().numpy())


KINDS: Mapping[str, Callable[[Model, Path], Any]] = {
    kind.__name__: kind for kind in (Whisper, Wav2Vec, AudioMae, Hear, Clap, MsClap)
}


def convert(folder: Path) -> Path:
    """Write the tensors of ``pytorch_model.bin`` or of the one ``*.pth`` in ``folder`` as ``model.safetensors``.

    Raises:
        FileNotFoundError: there is no such file, or more than one.
        pickle.UnpicklingError: it holds more than tensors.
    """
    import torch
    from safetensors.torch import save_file

    found = sorted([*folder.glob("pytorch_model.bin"), *folder.glob("*.pth")])
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise FileNotFoundError(f"{folder}: one pytorch_model.bin or *.pth is converted, found {names}")
    state = torch.load(found[0], map_location="cpu", weights_only=True)
    state = state.get("model", state)  # Microsoft's CLAP lies one level deeper
    target = folder / "model.safetensors"
    # cloned: safetensors refuses arrays that share memory
    save_file({name: array.clone().contiguous() for name, array in state.items()}, target, metadata={"format": "pt"})
    return target


if __name__ == "__main__":
    print(convert(Path(sys.argv[1])))
