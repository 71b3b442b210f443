from __future__ import annotations

import pytest

from slap_model import config


@pytest.mark.parametrize("name", ["demo", "tiny", "base"])
def test_shipped_configurations_load(name: str) -> None:
    settings = config.load(name)
    assert config.parse(settings.as_dict()) == settings
    assert settings.grid[0] * settings.encoder.patch[0] == settings.frontend.frames


def test_base_is_the_paper_as_far_as_it_is_known() -> None:
    base = config.load("base")
    assert (base.train.steps, base.train.batch) == (50_000, 64)
    assert (base.loss.mask, base.loss.contrastive_weight, base.loss.mae_weight) == (0.7, 1.0, 1.0)
    assert (base.frontend.mels, base.frontend.window, base.frontend.hop) == (128, 400, 160)
    assert base.loss.dim == 512


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", "unknown field train.stepz"),
        ("trainer.steps=3", "unknown field trainer"),
        ("train.steps=many", "int wanted"),
        ("loss.contrastive=maximum", "one of entailment"),
        ("steps", "not of the form"),
        ("encoder.patch=[16]", "two whole numbers"),
    ],
)
def test_errors_name_the_field(override: str, message: str) -> None:
    with pytest.raises(config.ConfigError, match=message):
        config.load("demo", [override])


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(config.ConfigError, match=r"base, demo.*tiny"):
        config.load("huge")
