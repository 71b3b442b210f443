"""The losses against written-out numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slap_model.losses import clip_loss, entailment_loss, mae_loss, pair_labels, patchify, siglip_loss, visible_patches


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5))).requires_grad_()


def test_pair_labels_by_hand() -> None:
    # vocabulary: sex=female, sex=male, age=older
    facts = torch.tensor([[1.0, 0, 1], [0, 1, 0]])  # an older woman; a man of unknown age
    denied = torch.tensor([[0.0, 1, 0], [1, 0, 0]])
    used = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])  # woman, man, older, older man
    entailed, contradicted = pair_labels(facts, denied, used)
    assert entailed.tolist() == [[True, False, True, False], [False, True, False, False]]
    assert contradicted.tolist() == [[False, True, False, True], [True, False, False, False]]


def test_entailment_is_clip_where_all_captions_differ(logits: torch.Tensor) -> None:
    diagonal = torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(entailment_loss(logits, diagonal, ~diagonal), clip_loss(logits))


def test_entailment_against_numpy(logits: torch.Tensor) -> None:
    rng = np.random.default_rng(3)
    entailed = (rng.random((5, 5)) < 0.3) | np.eye(5, dtype=bool)
    contradicted = ~entailed & (rng.random((5, 5)) < 0.6)
    z = logits.detach().numpy()

    def one_way(z: np.ndarray, good: np.ndarray, seen: np.ndarray) -> float:
        total = 0.0
        for row in range(5):
            normaliser = np.log(np.exp(z[row][seen[row]]).sum())
            total += -np.mean([z[row, j] - normaliser for j in np.flatnonzero(good[row])])
        return total / 5

    seen = entailed | contradicted
    expected = (one_way(z, entailed, seen) + one_way(z.T, entailed.T, seen.T)) / 2
    loss = entailment_loss(logits, torch.from_numpy(entailed), torch.from_numpy(contradicted))
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[torch.from_numpy(~seen)] == 0).all(), "an unknown pair must not pull or push"


def test_siglip_against_numpy(logits: torch.Tensor) -> None:
    z = logits.detach().numpy()
    signs = 2 * np.eye(5) - 1
    assert siglip_loss(logits).item() == pytest.approx(np.log1p(np.exp(-signs * z)).sum() / 5)


def test_mae_counts_masked_patches_only() -> None:
    torch.manual_seed(0)
    target = torch.randn(2, 6, 4)
    normalised = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[:, :3] = True
    predicted = normalised.clone()
    predicted[:, 3:] += 100  # visible patches may be anything
    assert mae_loss(predicted, target, mask).item() == pytest.approx(0, abs=1e-10)
    predicted[:, :3] += 2
    assert mae_loss(predicted, target, mask).item() == pytest.approx(4)


def test_patchify_order_and_mask_share() -> None:
    mel = torch.arange(4 * 6).float().view(1, 4, 6)
    patches = patchify(mel, (2, 3))
    assert patches.shape == (1, 4, 6)
    assert patches[0, 0].tolist() == [0, 1, 2, 6, 7, 8]  # first two frames, first three bins
    assert patches[0, 1].tolist() == [3, 4, 5, 9, 10, 11]
    keep, mask = visible_patches(torch.rand(3, 100), 0.7)
    assert keep.shape == (3, 30)
    assert mask.sum(1).tolist() == [70, 70, 70]
    assert not mask.gather(1, keep).any()
