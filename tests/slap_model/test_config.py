from __future__ import annotations

import pytest

from slap_model import config


@pytest.mark.parametrize("name", [path.stem for path in sorted(config.CONFIGS.glob("*.toml"))])
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
    assert (base.loss.contrastive, base.loss.contrastive_mask, base.loss.shared_pass) == ("clip", 0.0, False)
    assert (base.data.captions, base.data.balance) == ("full", "shares")


def test_like_changes_only_what_it_says() -> None:
    base, fast = config.load("base"), config.load("fast")
    assert (fast.encoder, fast.frontend, fast.text, fast.train) == (base.encoder, base.frontend, base.text, base.train)
    assert fast.loss.mask == base.loss.mask
    assert fast.loss.shared_pass and not base.loss.shared_pass


def test_like_must_name_a_configuration(tmp_path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('like = "bass"\n')
    with pytest.raises(config.ConfigError, match=r"mine\.toml: like = 'bass'"):
        config.load(str(mine))
    mine.write_text("[train\n")
    with pytest.raises(config.ConfigError, match=r"mine\.toml: "):
        config.load(str(mine))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", "unknown field train.stepz"),
        ("trainer.steps=3", "unknown field trainer"),
        ("train.steps=many", "int wanted"),
        ("loss.contrastive=maximum", "one of entailment"),
        ("steps", "not of the form"),
        ("encoder.patch=[16]", "two whole numbers"),
        ("frontend.frames=200", "no multiple of the patch"),
        ("train.accumulate=0", "at least 1"),
        ("train.log_every=0", r"train\.log_every = 0: at least 1"),
        ("encoder.patch=[0,16]", "at least 1"),
        ("encoder.heads=7", r"encoder\.dim = 128 does not divide"),
        ("loss.temperature=0", "above 0"),
        ("loss.contrastive_mask=1.5", "from 0 to below 1"),
    ],
)
def test_errors_name_the_field(override: str, message: str) -> None:
    with pytest.raises(config.ConfigError, match=message):
        config.load("demo", [override])


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(config.ConfigError, match=r"base, demo.*tiny"):
        config.load("huge")


def test_fields_that_do_not_go_together() -> None:
    with pytest.raises(config.ConfigError, match="contrastive_mask"):
        config.load("base", ["loss.shared_pass=true"])
    with pytest.raises(config.ConfigError, match=r"data\.bucket = 10"):
        config.load("base", ["data.lengths=own", "data.bucket=10"])


def test_a_section_is_a_table(tmp_path) -> None:
    mine = tmp_path / "mine.toml"
    for text in ("train = 3\n", 'like = "base"\ntrain = 3\n'):
        mine.write_text(text)
        for overrides in ([], ["train.steps=3"]):
            with pytest.raises(config.ConfigError, match=r"train = 3: a section wanted"):
                config.load(str(mine), overrides)
    with pytest.raises(config.ConfigError, match=r"loss\.mask = 1\.5"):
        config.load("base", ["loss.mask=1.5"])
