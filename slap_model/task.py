"""The training objective: a batch in, losses and figures out. The loop knows neither CLIP nor MAE.

A batch holds clips of one or several lengths and what is known of them:

* ``waves``: a list of ``[n_g, samples_g]``, one per length, in [-1, 1] or as int16; ``noise``: a list of
  ``[n_g, 2, patches_g]`` uniform numbers, drawn per sample, from which the masks are made: the same on every device and
  for every number of processes;
* ``text [n, text dim]`` and the multi-hot ``facts``, ``denied``, ``used`` ``[n, vocabulary]`` of `losses.pair_labels`,
  rows in the order of the waves.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from slap_model import distributed
from slap_model.losses import (
    clip_loss,
    entailment_loss,
    mae_loss,
    pair_labels,
    patchify,
    siglip_loss,
    visible_patches,
)
from slap_model.model import MAX_LOG_SCALE, Slap

Batch = Mapping[str, Tensor | list[Tensor]]
CONTRASTIVE, RECONSTRUCTION = 0, 1  # rows of the noise: which pass it masks


class SlapTask(nn.Module):
    """Contrastive loss against the captions' vectors plus the masked autoencoder's, by their weights."""

    def __init__(self, model: Slap) -> None:
        super().__init__()
        self.model = model
        weights = model.settings.loss
        idle: list[Tensor] = []  # no loss reaches them: a parameter that waits for a gradient stops DDP
        if weights.contrastive_weight == 0:
            idle += [model.audio_head.weight, model.text_head.weight, model.log_scale]
        if weights.contrastive_weight == 0 or weights.contrastive != "siglip":
            idle.append(model.bias)
        for parameter in idle:
            parameter.requires_grad_(False)

    def forward(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses (``loss`` to minimise, ``contrastive`` and ``mae`` as far as they count) and scalars worth logging.

        Under several processes the contrastive loss is that of the joint batch and the autoencoder's that of this
        process: averaged over the processes, as DDP does with gradients, both are the joint batch's.
        """
        weights, train = self.model.settings.loss, self.model.settings.train
        waves, noises = list(batch["waves"]), list(batch["noise"])
        count = sum(len(part) for part in waves)
        if train.accumulate > 1:
            waves, noises = (_cut(parts, -(-count // train.accumulate)) for parts in (waves, noises))
        shared, mae = [], noises[0].new_zeros(())
        for part, noise in zip(waves, noises, strict=True):
            if train.accumulate > 1:  # its activations are made again in the backward pass, one part at a time
                embedded, error = checkpoint(self.heard, part, noise, use_reentrant=False)
            else:
                embedded, error = self.heard(part, noise)
            shared.append(embedded)
            mae = mae + error * (len(part) / count)
        losses: dict[str, Tensor] = {}
        scalars: dict[str, Tensor] = {}
        total = mae.new_zeros(())
        if weights.contrastive_weight > 0:
            losses["contrastive"], scalars = self.contrastive(torch.cat(shared), batch)
            total = total + weights.contrastive_weight * losses["contrastive"]
        if weights.mae_weight > 0:
            losses["mae"] = mae
            total = total + weights.mae_weight * mae
        return {"loss": total, **losses}, scalars

    def heard(self, waves: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors in the shared space ``[n, shared dim]`` of clips of one length, and their reconstruction error.

        The contrastive pass sees the full log-mel, or a part of its patches where ``contrastive_mask`` says so (FLIP,
        Li et al. 2023). The autoencoder has a pass of its own, unless ``shared_pass`` lets it hide the same patches.
        """
        loss, model = self.model.settings.loss, self.model
        mel = model.frontend(waves)
        grid = model.encoder.grid_of(mel)
        embedded = tokens = mel.new_zeros(())
        keep = mask = None
        if loss.contrastive_weight > 0 or loss.shared_pass:
            if loss.contrastive_mask > 0:
                keep, mask = visible_patches(noise[:, CONTRASTIVE], loss.contrastive_mask)
            tokens = model.encoder.tokens(mel, keep)
            embedded = F.normalize(model.audio_head(model.encoder.pool(tokens)).float(), dim=1)
        if model.decoder is None:
            return embedded, mel.new_zeros(())
        if not loss.shared_pass:
            keep, mask = visible_patches(noise[:, RECONSTRUCTION], loss.mask)
            tokens = model.encoder.tokens(mel, keep)
        assert keep is not None and mask is not None
        predicted = model.decoder(model.encoder.vit.fc_norm(tokens), keep, grid)
        return embedded, mae_loss(predicted, patchify(mel, model.settings.encoder.patch), mask)

    def contrastive(self, audio: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of the joint batch from unit vectors ``[n, shared dim]``, and figures worth logging."""
        model, loss = self.model, self.model.settings.loss
        text, facts, denied, used = (_tensor(batch[name]) for name in ("text", "facts", "denied", "used"))
        text = F.normalize(model.text_head(text).float(), dim=1)
        if loss.gather:
            audio, text = distributed.gather(audio), distributed.gather(text)
            facts, denied, used = (distributed.gather(labels) for labels in (facts, denied, used))
        with torch.autocast(audio.device.type, enabled=False):  # cosines of bf16 would be 0.4 % coarse
            logits = audio @ text.T * model.log_scale.exp()
            entailed, contradicted = pair_labels(facts, denied, used)
            if loss.contrastive == "entailment":
                value = entailment_loss(logits, entailed, contradicted)
            elif loss.contrastive == "clip":
                value = clip_loss(logits)
            else:
                value = siglip_loss(logits + model.bias)
        # Share of contradicted captions that score below the audio's own: 0.5 is chance.
        ranked = (logits.diag()[:, None] > logits)[contradicted].float().mean()
        return value, {
            "temperature": (-model.log_scale.detach()).exp(),
            "ranked": ranked,
            "entailed": entailed.float().mean(),
            "unknown": (~(entailed | contradicted)).float().mean(),
        }

    @torch.no_grad()
    def after_step(self) -> None:
        """Keep the inverse temperature at or below 100, as CLIP does: clipped here, its gradient never dies."""
        self.model.log_scale.clamp_(max=MAX_LOG_SCALE)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``; the copies of pinned memory do not wait."""

    def moved(value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        return [part.to(device, non_blocking=True) for part in value]

    return {name: moved(value) for name, value in batch.items()}


def _cut(parts: list[Tensor], most: int) -> list[Tensor]:
    """The parts, none longer than ``most`` rows."""
    return [piece for part in parts for piece in torch.split(part, most)]


def _tensor(value: Tensor | list[Tensor]) -> Tensor:
    assert isinstance(value, Tensor)
    return value
