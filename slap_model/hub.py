"""A model as a folder in Hugging Face's layout, by `huggingface_hub`'s mixin.

It holds ``model.safetensors``, ``config.json`` and ``README.md``. ``config.json`` is the checkpoint's card:
configuration, step, manifest, what was trained on. Weights are safetensors; a pickle is neither written nor read.
`Slap.from_pretrained` and `Slap.save_pretrained` come here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelHubMixin

from slap_model import card as cards
from slap_model.model import CONFIG, WEIGHTS, CheckpointError, Precision, Slap

FILES = (CONFIG, WEIGHTS, "README.md")


class SharedSlap(ModelHubMixin, Slap, library_name="slap"):  # type: ignore[misc]  # Slap's two methods call these
    """A `Slap` that the hub's own functions can save and load."""

    @classmethod
    def of(cls, model: Slap) -> SharedSlap:
        """The same model, with the same weights in memory.

        Raises:
            CheckpointError: it came from no checkpoint, so there is nothing to say of it.
        """
        if "config" not in model.card:
            raise CheckpointError("a model without a checkpoint cannot be shared: train it, or load one")
        shared = cls(model.settings)
        shared.load_state_dict(model.state_dict(), assign=True)
        shared.card = model.card
        return shared.eval()

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save_file

        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, save_directory / WEIGHTS)
        (save_directory / CONFIG).write_text(json.dumps({"model_type": "slap", **self.card}, indent=1))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        device: str = "auto",
        precision: Precision = "auto",
        **other: Any,
    ) -> SharedSlap:
        if other:
            raise TypeError(f"from_pretrained knows no {', '.join(sorted(other))}")
        if Path(model_id).is_dir():
            return cls.from_checkpoint(model_id, device, precision)  # type: ignore[return-value]  # it is a cls
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            model_id,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=list(FILES),
        )
        return cls.from_checkpoint(folder, device, precision)  # type: ignore[return-value]

    def generate_model_card(self, *, about: cards.About | None = None, **_: Any) -> ModelCard:
        """The model's ``README.md``: what is known without a warehouse, or all of `slap export-model`."""
        return cards.model_card(about or cards.About.of(self))


def write(model: Slap, folder: Path, about: cards.About) -> None:
    """Write the three files into a folder.

    Raises:
        FileExistsError: the folder holds something else.
    """
    there = sorted(path.name for path in folder.iterdir() if path.name not in FILES) if folder.is_dir() else []
    if there:
        raise FileExistsError(f"{folder} holds {there[0]}: give a new folder, so that nothing else is shared with it")
    (folder / "README.md").unlink(missing_ok=True)  # the mixin keeps an old one
    SharedSlap.of(model).save_pretrained(folder, model_card_kwargs={"about": about})


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload what `write` wrote to the hub; the token is the hub client's own. Returns the address of the commit.

    Raises:
        FileNotFoundError: one of the files is absent.
        huggingface_hub.errors.HfHubHTTPError: the hub refused.
    """
    from huggingface_hub import HfApi

    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is absent: export the model first")
    api = HfApi()
    api.create_repo(repo_id=repository, private=private, exist_ok=True)
    return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=list(FILES)))
