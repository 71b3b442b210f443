"""The audio encoder: timm's vision transformer over log-mel patches, with a masked pass for the autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slap_model import config
from slap_model.weights import load_weights


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
    """ViT over ``[batch, frames, mels]``; see `pooled` for the embedding and `tokens` for the masked pass."""

    def __init__(self, settings: config.Config) -> None:
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        encoder = settings.encoder
        if encoder.dim % 4:
            raise config.ConfigError(f"encoder.dim = {encoder.dim} must be a multiple of 4")
        self.patch = encoder.patch
        self.thrifty = settings.train.checkpoint_activations
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
        self.vit.pos_embed = nn.Parameter(sincos_positions(settings.grid, encoder.dim), requires_grad=False)
        if encoder.weights:
            load_weights(self.vit, encoder.weights)

    @property
    def positions(self) -> Tensor:
        """``[1, 1 + patches, dim]``, the class token's first."""
        positions: Tensor | None = self.vit.pos_embed
        assert positions is not None
        return positions

    def grid_of(self, mel: Tensor) -> tuple[int, int]:
        """Patches along time and frequency of a log-mel, which may be shorter than the window."""
        return mel.shape[1] // self.patch[0], mel.shape[2] // self.patch[1]

    def tokens(self, mel: Tensor, keep: Tensor | None = None, rounded: bool = False) -> Tensor:
        """Patch tokens after the last block, before the norm.

        Args:
            mel: ``[batch, frames, mels]``; fewer frames than the window have its first positions.
            keep: ``[batch, visible]`` indices of the patches to look at; all where it is None.
            rounded: whether the sum that runs through the blocks is kept in autocast's precision, as the products are:
                an eighth of the time less on a CPU, for it spares casts. For use, not for training; the vectors of a
                ViT-B with random weights are 0.37 % from those of fp32 then, else 0.34 %.

        Returns:
            ``[batch, patches or visible, dim]``.
        """
        assert self.vit.cls_token is not None
        patches = self.vit.patch_embed.proj(mel.unsqueeze(1)).flatten(2).transpose(1, 2)
        patches = patches + self.positions[:, 1 : 1 + patches.shape[1]]
        if keep is not None:
            patches = patches.gather(1, keep.unsqueeze(-1).expand(-1, -1, patches.shape[-1]))
        first = (self.vit.cls_token + self.positions[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat([first.to(patches.dtype), patches], dim=1)
        if rounded and torch.is_autocast_enabled(mel.device.type):
            tokens = tokens.to(torch.get_autocast_dtype(mel.device.type))
        if self.thrifty and self.training:
            from timm.models import checkpoint_seq

            tokens = checkpoint_seq(self.vit.blocks, tokens)
        else:
            tokens = self.vit.blocks(tokens)
        seen: Tensor = tokens[:, 1:]
        return seen

    def pool(self, tokens: Tensor) -> Tensor:
        """Mean over ``[batch, tokens, dim]``, then norm: ``[batch, dim]``."""
        pooled: Tensor = self.vit.fc_norm(tokens.mean(dim=1))
        return pooled

    def pooled(self, mel: Tensor) -> Tensor:
        """The embedding ``[batch, dim]`` of ``[batch, frames, mels]``."""
        return self.pool(self.tokens(mel, rounded=True).float())
