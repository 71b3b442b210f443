"""Contrastive losses over pairs that are entailed, contradicted or unknown, and the autoencoder's loss.

Templated captions collide: with sex, age and language alone, 99 % of the rows of a batch of 1,024 have a twin,
and the CLIP loss calls the twin a negative. A caption knows the facts it used, so each (audio, caption) pair can
be labelled instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_labels(facts: Tensor, denied: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Which captions the speakers' facts entail, and which they contradict.

    Args:
        facts: ``[audios, vocabulary]``, 1 where a fact holds for the audio.
        denied: ``[audios, vocabulary]``, 1 where the attribute is stated for the audio with another value.
        used: ``[captions, vocabulary]``, 1 where the caption says the fact.

    Returns:
        Two boolean ``[audios, captions]``: entailed (all used facts hold) and contradicted (one is denied). A pair
        that is neither is unknown.
    """
    used = used.float()
    entailed = (1 - facts.float()) @ used.T == 0
    contradicted = denied.float() @ used.T > 0
    return entailed, contradicted


def entailment_loss(logits: Tensor, entailed: Tensor, contradicted: Tensor) -> Tensor:
    """Symmetric cross-entropy against equal weights on the entailed pairs, unknown pairs masked.

    Where all captions differ (entailed is the diagonal, everything else contradicted) it is the CLIP loss.

    Args:
        logits: ``[audios, captions]`` scaled similarities; audio i belongs to caption i.
        entailed: boolean ``[audios, captions]``, true on the diagonal.
        contradicted: boolean ``[audios, captions]``.

    Returns:
        The scalar loss.
    """
    logits = logits.masked_fill(~(entailed | contradicted), float("-inf"))
    losses = []
    for rows, targets in ((logits, entailed), (logits.T, entailed.T)):
        log_share = F.log_softmax(rows, dim=1).masked_fill(~targets, 0.0)
        losses.append(-(log_share.sum(dim=1) / targets.sum(dim=1)).mean())
    return torch.stack(losses).mean()


def clip_loss(logits: Tensor) -> Tensor:
    """Symmetric cross-entropy on the diagonal of ``[audios, captions]`` (Radford et al. 2021)."""
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def siglip_loss(logits: Tensor) -> Tensor:
    """Pairwise sigmoid loss, summed over pairs and averaged over audios (Zhai et al. 2023)."""
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum(dim=1).mean()


def patchify(mel: Tensor, patch: tuple[int, int]) -> Tensor:
    """``[batch, frames, mels]`` to ``[batch, patches, patch values]``, time-major like the encoder's tokens."""
    batch, frames, mels = mel.shape
    time, bins = frames // patch[0], mels // patch[1]
    return mel.view(batch, time, patch[0], bins, patch[1]).permute(0, 1, 3, 2, 4).reshape(batch, time * bins, -1)


def visible_patches(noise: Tensor, masked: float) -> tuple[Tensor, Tensor]:
    """A random unstructured mask from uniform ``noise`` ``[batch, patches]``.

    Returns:
        ``keep`` ``[batch, visible]`` indices of visible patches and ``mask`` boolean ``[batch, patches]``, true
        where hidden.
    """
    visible = max(1, round(noise.shape[1] * (1 - masked)))
    # stable: of 512 float32 numbers two are equal in one clip of 130, and devices would order them differently
    keep = noise.argsort(dim=1, stable=True)[:, :visible]
    mask = torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)
    return keep, mask


def mae_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error on the masked patches, each patch normalised (He et al. 2022, AudioMAE).

    Args:
        predicted: ``[batch, patches, patch values]``.
        target: same shape, before normalisation.
        mask: boolean ``[batch, patches]``, true where hidden.
    """
    mean, variance = target.mean(dim=2, keepdim=True), target.var(dim=2, keepdim=True)
    normalised = (target - mean) / (variance + 1e-6).sqrt()
    return (predicted.float() - normalised).square().mean(dim=2)[mask].mean()
