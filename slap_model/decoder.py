"""The autoencoder's decoder: shifted-window attention over the patch grid (AudioMAE's choice: inferred)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slap_model import config
from slap_model.encoder import sincos_positions


class MaeDecoder(nn.Module):
    """Reconstructs every patch from the visible tokens."""

    positions: Tensor

    def __init__(self, settings: config.Config) -> None:
        super().__init__()
        from timm.models.swin_transformer import SwinTransformerBlock

        decoder, self.grid = settings.decoder, settings.grid
        window = (min(decoder.window, self.grid[0]), min(decoder.window, self.grid[1]))
        self.enter = nn.Linear(settings.encoder.dim, decoder.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder.dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.register_buffer("positions", sincos_positions(self.grid, decoder.dim)[:, 1:], persistent=False)
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    decoder.dim,
                    self.grid,
                    num_heads=decoder.heads,
                    window_size=window,
                    shift_size=0 if index % 2 == 0 else min(window) // 2,
                )
                for index in range(decoder.depth)
            )
        )
        self.norm = nn.LayerNorm(decoder.dim)
        self.leave = nn.Linear(decoder.dim, settings.encoder.patch[0] * settings.encoder.patch[1])

    def forward(self, visible: Tensor, keep: Tensor) -> Tensor:
        """Predicted patches.

        Args:
            visible: ``[batch, visible, encoder dim]`` tokens of the patches that were seen.
            keep: ``[batch, visible]`` their indices.

        Returns:
            ``[batch, patches, patch values]``.
        """
        batch, count = len(visible), self.grid[0] * self.grid[1]
        seen = self.enter(visible)
        tokens = self.mask_token.to(seen.dtype).expand(batch, count, -1)
        tokens = tokens.scatter(1, keep.unsqueeze(-1).expand(-1, -1, seen.shape[-1]), seen) + self.positions
        tokens = self.blocks(tokens.view(batch, *self.grid, -1)).view(batch, count, -1)
        patches: Tensor = self.leave(self.norm(tokens))
        return patches
