"""Weights to start the audio encoder from: AudioMAE's, or those of any timm vision transformer over the same patches.

`AUDIOMAE` is AudioMAE's ViT-B/16 (Huang et al. 2022, "Masked Autoencoders that Listen"), pretrained on AudioSet, in
timm's form. With weights the input statistics stay AudioMAE's; without them the encoder starts from scratch. Only
safetensors are read: a pickle can run code, and the hub's copy of AudioMAE is one, so it is converted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from slap_model import config

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

AUDIOMAE = "hf_hub:gaunernst/vit_base_patch16_1024_128.audiomae_as2m"
AUDIOMAE_LICENCE = (
    "AudioMAE's licence is contradictory in its own repository: CC BY 4.0 by its README, CC BY-NC 4.0 by its LICENSE"
)
SCRATCH = "leave encoder.weights empty to train from scratch"
FILE = "model.safetensors"
PICKLES = (".bin", ".ckpt", ".pkl", ".pt", ".pth")
NOT_ENCODER = ("head.", "decoder", "mask_token")  # a classifier on top; the decoder of an autoencoder


def load_weights(vit: VisionTransformer, weights: str) -> None:
    """Fill the encoder's vision transformer.

    Args:
        vit: over one channel, with a class token and its norm after pooling.
        weights: a safetensors file, a folder with ``model.safetensors``, or ``hf_hub:owner/name[@revision]``.

    Raises:
        config.ConfigError: the weights cannot be had, are no safetensors, or do not fit the encoder.
    """
    vit.load_state_dict(fitted(read(weights), vit, weights))


def read(weights: str) -> dict[str, Tensor]:
    """The tensors of ``weights``, see `load_weights`."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for prefix in ("hf_hub:", "hf-hub:"):
        if weights.startswith(prefix):
            return _of_the_hub(weights.removeprefix(prefix))
    path = Path(weights.removeprefix("local-dir:"))
    pickles = [path] if path.suffix in PICKLES else sorted(p for p in path.glob("*") if p.suffix in PICKLES)
    if path.is_dir():
        path = path / FILE
    if pickles and not (path.is_file() and path.name == FILE):
        raise config.ConfigError(
            f"encoder.weights: {pickles[0]} is a pickle, which can run code: it is not read. {_convert(path.parent)}"
        )
    if not path.is_file():
        raise config.ConfigError(
            f"encoder.weights: no file {path}; give a safetensors file, a folder with {FILE} or "
            f"hf_hub:owner/name (AudioMAE: {AUDIOMAE}; {AUDIOMAE_LICENCE}), or {SCRATCH}"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise config.ConfigError(f"encoder.weights: {path} is no safetensors file ({error}); {SCRATCH}") from error


def fitted(state: Mapping[str, Tensor], vit: VisionTransformer, weights: str) -> dict[str, Tensor]:
    """The tensors under the names and with the positions of ``vit``.

    A transformer that pools its class token calls the last norm ``norm``, ours ``fc_norm``: it stands at the same
    place. A shorter window has the first positions of the longer one, as in AudioMAE's own fine-tuning.

    Raises:
        config.ConfigError: a tensor is missing, left over, or of another shape; a few are named.
    """
    ours = {
        f"fc_{name}" if name.startswith("norm.") else name: tensor
        for name, tensor in state.items()
        if not name.startswith(NOT_ENCODER)
    }
    wanted = vit.state_dict()
    if "pos_embed" in ours and ours["pos_embed"].ndim == 3:
        ours["pos_embed"] = ours["pos_embed"][:, : wanted["pos_embed"].shape[1]]
    faults = [f"{name} is missing" for name in wanted.keys() - ours.keys()]
    faults += [f"{name} has no place" for name in ours.keys() - wanted.keys()]
    faults += [
        f"{name} is {list(tensor.shape)}, not {list(wanted[name].shape)}"
        for name, tensor in ours.items()
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise config.ConfigError(
            f"encoder.weights: {weights} does not fit the encoder: {'; '.join(sorted(faults)[:3])}{more}. "
            "AudioMAE wants encoder dim = 768, depth = 12, heads = 12, patch = [16, 16] and frontend mels = 128, "
            f"frames <= 1024. Else {SCRATCH}"
        )
    return ours


def _of_the_hub(name: str) -> dict[str, Tensor]:
    """``model.safetensors`` of a repository, by way of timm; never a pickle, which timm would fall back on."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from timm.models import load_state_dict_from_hf

    where = f"encoder.weights: hf_hub:{name}"
    try:
        state: dict[str, Tensor] = load_state_dict_from_hf(name, FILE)
    except LocalEntryNotFoundError as error:
        raise config.ConfigError(
            f"{where} is not in the cache and the hub is out of reach. {_download(name)}"
        ) from error
    except EntryNotFoundError as error:
        raise config.ConfigError(f"{where} holds no {FILE}, and pickles are not read. {_download(name)}") from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise config.ConfigError(f"{where} cannot be loaded: {error}; {SCRATCH}") from error
    return state


def _download(name: str) -> str:
    """How to get a repository's weights as safetensors."""
    repository, _, revision = name.partition("@")
    folder = f"models/{repository}"
    pinned = f" --revision {revision}" if revision else ""
    licence = f" {AUDIOMAE_LICENCE}." if f"hf_hub:{repository}" == AUDIOMAE else ""
    return f"Fetch it once: `hf download {repository}{pinned} --local-dir {folder}`. {_convert(folder)}{licence}"


def _convert(folder: Path | str) -> str:
    return (
        f"`python -m benchmark.hub {folder}` writes a pickle's tensors as {FILE}; then set "
        f'encoder.weights = "{folder}", or {SCRATCH}.'
    )
