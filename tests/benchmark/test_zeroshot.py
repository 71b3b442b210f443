import numpy as np
import pytest

from benchmark.baselines import RandomVectors
from benchmark.zeroshot import best_pair, embed_prompts, unit, zero_shot

PAIRS = (("calm", "rough"), ("smooth", "hoarse"))


def test_the_class_is_the_argmax_of_the_cosine() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((50, 8)).astype(np.float32) * rng.uniform(0.1, 9, (50, 1)).astype(np.float32)
    prompts = {text: unit(rng.standard_normal(8)) for pair in PAIRS for text in pair}
    result = zero_shot(audio, PAIRS, prompts)
    for i, (negative, positive) in enumerate(PAIRS):
        cosines = unit(audio) @ np.stack([prompts[negative], prompts[positive]]).T
        assert ((result.by_pair[:, i] > 0) == cosines.argmax(axis=1)).all()
    of_class = [unit(np.mean([prompts[pair[k]] for pair in PAIRS], axis=0)) for k in (0, 1)]
    assert ((result.ensemble > 0) == (unit(audio) @ np.stack(of_class).T).argmax(axis=1)).all()


def test_one_pair_is_its_own_ensemble() -> None:
    embedder = RandomVectors(16)
    prompts = embed_prompts(embedder, ["calm", "rough", "calm"])
    assert sorted(prompts) == ["calm", "rough"]
    result = zero_shot(np.eye(16, dtype=np.float32), PAIRS[:1], prompts)
    assert result.ensemble == pytest.approx(result.by_pair[:, 0])


def test_unit_leaves_zero_alone() -> None:
    assert unit([[3.0, 4.0], [0.0, 0.0]]).tolist() == [[0.6, 0.8], [0.0, 0.0]]


def test_the_best_pair_is_the_first_of_the_best() -> None:
    y = np.array([1, 1, 0, 0], np.int8)
    right, wrong, yes = np.array([2.0, 1, -1, -2]), np.array([-1.0, -1, 1, 1]), np.ones(4)
    assert best_pair(np.stack([wrong, yes, right, right], axis=1), y) == 2
    assert best_pair(np.stack([yes, wrong], axis=1), y) == 0
