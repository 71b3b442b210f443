"""The audio encoder: timm's vision transformer over log-mel patches, with a masked pass for the autoencoder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from slap_model import config


def sincos_positions(grid: tuple[int, int], dim: int) -> Tensor:
    """Fixed 2-d sine-cosine positions, ``[1, 1 + time * mel, dim]``; the class token's is zero (MAE)."""
    time, mel = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    quarter = dim // 4
    omega = 1.0 / 10_000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
    parts = []
    for axis in (time, mel):
        angle = axis.reshape(-1, 1).double() * omega
        parts += [angle.sin(), angle.cos()]
    patches = torch.cat(parts, dim=1).float()
    return torch.cat([torch.zeros(1, dim), patches]).unsqueeze(0)


class AudioEncoder(nn.Module):
    """ViT over ``[batch, frames, mels]``; see `pooled` for the embedding and `visible` for the masked pass."""

    def __init__(self, settings: config.Config) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        encoder = settings.encoder
        if encoder.dim % 4:
            raise config.ConfigError(f"encoder.dim = {encoder.dim} must be a multiple of 4")
        self.grid = settings.grid
        self.patches = self.grid[0] * self.grid[1]
        self.vit = VisionTransformer(
            img_size=(settings.frontend.frames, settings.frontend.mels),
            patch_size=encoder.patch,
            in_chans=1,
            num_classes=0,
            global_pool="avg",  # puts the norm after pooling: `fc_norm`
            embed_dim=encoder.dim,
            depth=encoder.depth,
            num_heads=encoder.heads,
        )
        positions = nn.Parameter(sincos_positions(self.grid, encoder.dim), requires_grad=False)
        self.vit.pos_embed = positions
        if encoder.weights:
            load_weights(self.vit, encoder.weights)

    def pooled(self, mel: Tensor, keep: Tensor | None = None) -> Tensor:
        """Mean over the patch tokens, then norm.

        Args:
            mel: ``[batch, frames, mels]``.
            keep: ``[batch, visible]`` indices of the patches to look at; all where it is None.

        Returns:
            ``[batch, dim]``.
        """
        pooled: Tensor = self.vit.fc_norm(self._tokens(mel, keep).mean(dim=1))
        return pooled

    def visible(self, mel: Tensor, keep: Tensor) -> Tensor:
        """Tokens of the visible patches only, ``[batch, visible, dim]``; arguments as in `pooled`."""
        visible: Tensor = self.vit.fc_norm(self._tokens(mel, keep))
        return visible

    def _tokens(self, mel: Tensor, keep: Tensor | None) -> Tensor:
        patches = self._patches(mel)
        if keep is not None:
            patches = patches.gather(1, keep.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        return self._blocks(patches)[:, 1:]

    def _patches(self, mel: Tensor) -> Tensor:
        assert self.vit.pos_embed is not None
        patches: Tensor = self.vit.patch_embed(mel.unsqueeze(1)) + self.vit.pos_embed[:, 1:]
        return patches

    def _blocks(self, patches: Tensor) -> Tensor:
        assert self.vit.cls_token is not None
        assert self.vit.pos_embed is not None
        first = (self.vit.cls_token + self.vit.pos_embed[:, :1]).expand(len(patches), -1, -1)
        tokens: Tensor = self.vit.blocks(torch.cat([first, patches], dim=1))
        return tokens


def load_weights(vit: nn.Module, weights: str) -> None:
    """Start from a safetensors file or a pretrained timm model.

    AudioMAE's is ``hf_hub:gaunernst/vit_base_patch16_1024_128.audiomae_as2m``.

    Raises:
        config.ConfigError: the weights cannot be had, or do not fit the encoder.
    """
    if Path(weights).suffix == ".safetensors":
        from safetensors.torch import load_file

        if not Path(weights).is_file():
            raise config.ConfigError(f"encoder.weights: no file {weights}; leave it empty to train from scratch")
        state = load_file(weights)
    else:
        import timm

        try:
            state = timm.create_model(weights, pretrained=True, num_classes=0).state_dict()
        except Exception as error:  # timm and the hub client raise many kinds when there is no network
            raise config.ConfigError(
                f"encoder.weights: {weights!r} cannot be loaded ({error}); leave it empty to train from scratch"
            ) from error
    state = {key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: v for key, v in state.items()}
    missing, unexpected = vit.load_state_dict(state, strict=False)
    unfit = [key for key in missing if key not in {"fc_norm.weight", "fc_norm.bias"}]
    if unfit or unexpected:
        raise config.ConfigError(f"encoder.weights: {weights!r} does not fit: {(unfit + list(unexpected))[:3]}")
