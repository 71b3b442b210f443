"""The autoencoder's decoder: shifted-window attention over the patch grid (AudioMAE's choice: inferred)."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from slap_model import config
from slap_model.encoder import sincos_positions


class MaeDecoder(nn.Module):
    """Reconstructs every patch from the visible tokens."""

    positions: Tensor

    def __init__(self, settings: config.Config) -> None:
        super().__init__()
        decoder, grid = settings.decoder, settings.grid
        window = (min(decoder.window, grid[0]), min(decoder.window, grid[1]))
        self.enter = nn.Linear(settings.encoder.dim, decoder.dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder.dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.register_buffer("positions", sincos_positions(grid, decoder.dim)[:, 1:], persistent=False)
        self.blocks = nn.Sequential(
            *(
                swin_block()(
                    decoder.dim,
                    grid,
                    num_heads=decoder.heads,
                    window_size=window,
                    shift_size=0 if index % 2 == 0 else min(window) // 2,
                )
                for index in range(decoder.depth)
            )
        )
        self.norm = nn.LayerNorm(decoder.dim)
        self.leave = nn.Linear(decoder.dim, settings.encoder.patch[0] * settings.encoder.patch[1])

    def forward(self, visible: Tensor, keep: Tensor, grid: tuple[int, int]) -> Tensor:
        """Predicted patches.

        Args:
            visible: ``[batch, visible, encoder dim]`` tokens of the patches that were seen.
            keep: ``[batch, visible]`` their indices.
            grid: patches along time and frequency, at most those of the window.

        Returns:
            ``[batch, patches, patch values]``.
        """
        batch, count = len(visible), grid[0] * grid[1]
        seen = self.enter(visible)
        tokens = self.mask_token.to(seen.dtype).expand(batch, count, -1)
        tokens = tokens.scatter(1, keep.unsqueeze(-1).expand(-1, -1, seen.shape[-1]), seen) + self.positions[:, :count]
        tokens = self.blocks(tokens.view(batch, *grid, -1)).view(batch, count, -1)
        patches: Tensor = self.leave(self.norm(tokens))
        return patches


@cache
def swin_block() -> type[nn.Module]:
    """timm's shifted-window block for grids of any size, whose attention masks are made once per size."""
    from timm.models.swin_transformer import SwinTransformerBlock

    class Block(SwinTransformerBlock):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            settings["dynamic_mask"] = True
            super().__init__(*arguments, **settings)
            self.masks: dict[tuple[Any, ...], Tensor | None] = {}

        def get_attn_mask(self, x: Tensor | None = None, *_: Any, **__: Any) -> Tensor | None:
            assert x is not None
            key = (*x.shape[1:3], x.device, x.dtype)
            if key not in self.masks:
                self.masks[key] = super().get_attn_mask(x)
            return self.masks[key]

    return Block
