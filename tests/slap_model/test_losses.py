"""The losses against what their definitions say, written out as loops over float64 numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

from slap_model.losses import clip_loss, entailment_loss, mae_loss, pair_labels, patchify, siglip_loss, visible_patches

ATTRIBUTES = {"sex": ["female", "male"], "age": ["child", "adult", "older"], "smoker": ["yes", "no"]}
VOCABULARY = [f"{name}={value}" for name, values in ATTRIBUTES.items() for value in values]


class Pairs(NamedTuple):
    """What is known of a batch, in words: facts of each audio, and what each caption says of its audio."""

    facts: list[set[str]]
    used: list[set[str]]

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Entailed and contradicted pairs, by way of `pair_labels`."""
        stated = [{fact.partition("=")[0] for fact in facts} for facts in self.facts]
        denied = [
            {word for word in VOCABULARY if word.partition("=")[0] in names and word not in facts}
            for names, facts in zip(stated, self.facts, strict=True)
        ]
        return pair_labels(hot(self.facts), hot(denied), hot(self.used))

    def entailed(self, audio: int, caption: int) -> bool:
        return all(fact in self.facts[audio] for fact in self.used[caption])

    def contradicted(self, audio: int, caption: int) -> bool:
        for fact in self.used[caption]:
            attribute = fact.partition("=")[0]
            known = [other for other in self.facts[audio] if other.partition("=")[0] == attribute]
            if known and fact not in known:
                return True
        return False


def hot(sets: list[set[str]]) -> torch.Tensor:
    return torch.tensor([[float(word in words) for word in VOCABULARY] for words in sets])


def random_pairs(rng: np.random.Generator, count: int) -> Pairs:
    """Speakers of whom more or less is known, with captions that say all of it, some of it or nothing."""
    facts, used = [], []
    for _ in range(count):
        known = {f"{name}={rng.choice(values)}" for name, values in ATTRIBUTES.items() if rng.random() < 0.7}
        if rng.random() < 0.1:
            known |= {"age=adult", "age=older"}  # two values of one attribute, as two diagnoses are
        facts.append(known)
        used.append({fact for fact in sorted(known) if rng.random() < 0.7})
    return Pairs(facts, used)


def log_sum_exp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def clip_by_hand(z: np.ndarray) -> float:
    count = len(z)
    total = 0.0
    for i in range(count):
        total -= z[i, i] - log_sum_exp([z[i, j] for j in range(count)])
        total -= z[i, i] - log_sum_exp([z[j, i] for j in range(count)])
    return total / (2 * count)


def siglip_by_hand(z: np.ndarray) -> float:
    count = len(z)
    total = 0.0
    for i in range(count):
        for j in range(count):
            x = z[i, j] if i == j else -z[i, j]
            total += math.log1p(math.exp(-abs(x))) + max(-x, 0.0)  # -log(sigmoid(x)) without overflow
    return total / count


def entailment_by_hand(z: np.ndarray, pairs: Pairs) -> float:
    """For each audio, the mean over the captions that it entails of -log of their share among what is known."""
    count = len(z)
    total = 0.0
    for i in range(count):
        good = [j for j in range(count) if pairs.entailed(i, j)]
        known = [j for j in range(count) if pairs.entailed(i, j) or pairs.contradicted(i, j)]
        total -= sum(z[i, j] - log_sum_exp([z[i, k] for k in known]) for j in good) / len(good)
        good = [j for j in range(count) if pairs.entailed(j, i)]
        known = [j for j in range(count) if pairs.entailed(j, i) or pairs.contradicted(j, i)]
        total -= sum(z[j, i] - log_sum_exp([z[k, i] for k in known]) for j in good) / len(good)
    return total / (2 * count)


def mae_by_hand(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    errors = []
    for clip in range(len(target)):
        for patch in range(target.shape[1]):
            if not mask[clip, patch]:
                continue
            values = [float(v) for v in target[clip, patch]]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            wanted = [(v - mean) / math.sqrt(variance + 1e-6) for v in values]
            found = predicted[clip, patch]
            errors.append(sum((float(f) - w) ** 2 for f, w in zip(found, wanted, strict=True)) / len(wanted))
    return sum(errors) / len(errors)


# --- by hand ----------------------------------------------------------------------------------------------------


def test_pair_labels_in_words() -> None:
    pairs = Pairs(
        facts=[{"sex=female", "age=older"}, {"sex=male"}],
        used=[{"sex=female"}, {"sex=male"}, {"age=older"}, {"sex=male", "age=older"}, set()],
    )
    entailed, contradicted = pairs.tensors()
    assert entailed.tolist() == [[True, False, True, False, True], [False, True, False, False, True]]
    assert contradicted.tolist() == [[False, True, False, True, False], [True, False, False, False, False]]


def test_losses_of_two_pairs_in_figures() -> None:
    z = torch.tensor([[2.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    row = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-2))) / 2  # 2 over 0; 3 over 1
    column = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2  # 2 over 1; 3 over 0
    assert clip_loss(z).item() == pytest.approx((row + column) / 2, rel=1e-12)
    signs = [2.0, -0.0, -1.0, 3.0]
    assert siglip_loss(z).item() == pytest.approx(sum(math.log(1 + math.exp(-x)) for x in signs) / 2, rel=1e-12)
    twins = torch.ones(2, 2, dtype=torch.bool)  # the same caption twice: every share is right
    assert entailment_loss(z, twins, ~twins).item() == pytest.approx((row + 1 + column + 1) / 2, rel=1e-12)
    only = torch.eye(2, dtype=torch.bool)  # nothing is known of the others: nothing to learn
    assert entailment_loss(z, only, torch.zeros(2, 2, dtype=torch.bool)).item() == 0


# --- random batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_losses_are_what_the_loops_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 13))
    z = rng.normal(scale=rng.choice([0.1, 3.0, 100.0]), size=(count, count))
    logits = torch.from_numpy(z).requires_grad_()
    pairs = random_pairs(rng, count)
    entailed, contradicted = pairs.tensors()
    for i in range(count):
        for j in range(count):
            assert entailed[i, j].item() == pairs.entailed(i, j)
            assert contradicted[i, j].item() == pairs.contradicted(i, j)
    assert clip_loss(logits).item() == pytest.approx(clip_by_hand(z), rel=1e-10, abs=1e-12)
    assert siglip_loss(logits).item() == pytest.approx(siglip_by_hand(z), rel=1e-10, abs=1e-12)
    loss = entailment_loss(logits, entailed, contradicted)
    assert loss.item() == pytest.approx(entailment_by_hand(z, pairs), rel=1e-10, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.isfinite(gradient).all()
    assert (gradient[~(entailed | contradicted)] == 0).all(), "an unknown pair must not pull or push"


def test_the_random_batches_have_every_kind_of_pair() -> None:
    kinds = {"twins": 0, "several entailed": 0, "unknown": 0, "contradicted": 0, "empty caption": 0}
    for seed in range(25):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(1, 13))
        rng.normal(scale=rng.choice([0.1, 3.0, 100.0]), size=(count, count))
        pairs = random_pairs(rng, count)
        entailed, contradicted = pairs.tensors()
        kinds["twins"] += sum(pairs.used.count(words) > 1 for words in pairs.used)
        kinds["several entailed"] += int((entailed.sum(dim=1) > 1).sum())
        kinds["unknown"] += int((~(entailed | contradicted)).sum())
        kinds["contradicted"] += int(contradicted.sum())
        kinds["empty caption"] += sum(not words for words in pairs.used)
        assert not (entailed & contradicted).any()
        assert entailed.diagonal().all()
    assert min(kinds.values()) > 10, kinds


@pytest.mark.parametrize("count", [1, 2, 7])
def test_entailment_is_clip_where_all_captions_differ(count: int) -> None:
    z = torch.from_numpy(np.random.default_rng(count).normal(size=(count, count))).requires_grad_()
    diagonal = torch.eye(count, dtype=torch.bool)
    losses = [entailment_loss(z, diagonal, ~diagonal), clip_loss(z)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-14)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in losses]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seed", range(10))
def test_mae_is_what_the_loops_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips, patches, values = (int(rng.integers(low, high)) for low, high in ((1, 4), (2, 9), (2, 17)))
    target = rng.normal(-4, rng.choice([1e-4, 1.0, 50.0]), size=(clips, patches, values))
    if seed == 0:
        target[0, 0] = -15.9  # a silent patch: nothing varies
    predicted = rng.normal(size=target.shape)
    noise = torch.from_numpy(rng.random((clips, patches)))
    _, mask = visible_patches(noise, float(rng.choice([0.3, 0.7])))
    mask[:, 0] = True  # something is hidden, and in the first case it is the silence
    loss = mae_loss(torch.from_numpy(predicted).double(), torch.from_numpy(target), mask)
    assert loss.item() == pytest.approx(mae_by_hand(predicted, target, mask.numpy()), rel=1e-5)


def test_mae_counts_masked_patches_only() -> None:
    target = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    normalised = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[:, :3] = True
    predicted = normalised.clone()
    predicted[:, 3:] += 100  # visible patches may be anything
    assert mae_loss(predicted, target, mask).item() == pytest.approx(0, abs=1e-10)
    predicted[:, :3] += 2
    assert mae_loss(predicted, target, mask).item() == pytest.approx(4)


# --- patches and masks ------------------------------------------------------------------------------------------


def test_patchify_order() -> None:
    mel = torch.arange(4 * 6).float().view(1, 4, 6)
    patches = patchify(mel, (2, 3))
    assert patches.shape == (1, 4, 6)
    assert patches[0, 0].tolist() == [0, 1, 2, 6, 7, 8]  # first two frames, first three bins
    assert patches[0, 1].tolist() == [3, 4, 5, 9, 10, 11]


@pytest.mark.parametrize(("patches", "masked", "hidden"), [(100, 0.7, 70), (512, 0.7, 358), (16, 0.5, 8), (3, 0.99, 2)])
def test_a_mask_hides_the_share_it_should(patches: int, masked: float, hidden: int) -> None:
    noise = torch.rand(3, patches, generator=torch.Generator().manual_seed(0))
    keep, mask = visible_patches(noise, masked)
    assert keep.shape == (3, patches - hidden)
    assert mask.sum(1).tolist() == [hidden] * 3
    assert not mask.gather(1, keep).any()
    for row in range(3):  # the visible ones have the smallest numbers
        assert noise[row][mask[row]].min() > noise[row][~mask[row]].max()


def test_a_clip_has_the_same_mask_in_any_batch() -> None:
    """Also where two of its numbers are equal, as happens in one clip of 130."""
    noise = torch.rand(8, 512, generator=torch.Generator().manual_seed(0))
    noise[:, 100:300] = noise[:, :1]
    together, _ = visible_patches(noise, 0.7)
    for row in range(8):
        alone, _ = visible_patches(noise[row : row + 1], 0.7)
        assert torch.equal(together[row], alone[0])
        assert alone[0].tolist() == sorted(alone[0].tolist(), key=lambda at: (noise[row, at].item(), at))
