from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.embedders import AbsentError, check_embedder
from benchmark.registry import ENTRIES, FAMILIES, Context, RegistryError, choose, entry

HERE = Context(checkpoint=lambda name: Path("nowhere") / name)


def test_entries_say_what_they_are() -> None:
    for name, found in ENTRIES.items():
        assert name == found.name
        assert found.family in FAMILIES
        assert found.about and found.licence
        assert set(found.modes) <= {"zero-shot", "probe"}
    assert {"slap", "control", "untrained", "mel-statistics", "whisper-large", "ms-clap"} <= ENTRIES.keys()
    assert "audEERING" in ENTRIES["egemaps"].licence
    assert "contradictory" in ENTRIES["audiomae"].licence


def test_the_default_loads_offline() -> None:
    chosen = choose()
    assert list(chosen)[:3] == ["slap", "control", "untrained"]
    assert "random" in chosen
    assert not any(found.weights for found in chosen.values())
    assert "egemaps" not in choose(quick=True)
    assert "egemaps" in choose("egemaps", quick=True)


def test_names_choose_in_their_order() -> None:
    assert list(choose(" random, slap,mteb:openai/whisper-tiny ,")) == ["random", "slap", "mteb-openai-whisper-tiny"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("slap,whisper-mediun", "no embedder 'whisper-mediun'; near it: whisper-medium"),
        ("slap,slap", "'slap' is named twice"),
        ("mteb:", "no embedder 'mteb:'"),
    ],
)
def test_wrong_names_are_refused(names: str, said: str) -> None:
    with pytest.raises(RegistryError, match=said):
        choose(names)


@pytest.mark.parametrize("name", ["mel-statistics", "mfcc-statistics", "random"])
def test_an_entry_makes_the_embedder_of_its_name(name: str) -> None:
    embedder = entry(name).make(HERE)
    assert embedder.name == name
    check_embedder(embedder)


def test_choosing_imports_no_torch() -> None:
    code = "import sys, benchmark.registry as r; r.choose(); r.entry('mteb:x/y'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_model_of_mteb() -> None:
    pytest.importorskip("mteb")
    embedder = entry("mteb:mteb/baseline-random-encoder").make(HERE)
    assert embedder.name == "mteb-mteb-baseline-random-encoder"
    waves = [np.full(16_000, level, dtype=np.float32) for level in (0.1, 0.2, 0.1)]
    first, second, third = embedder.embed_audio(waves)
    assert np.array_equal(first, third)
    assert not np.array_equal(first, second)
    check_embedder(embedder)


def test_an_unknown_model_of_mteb_is_named() -> None:
    pytest.importorskip("mteb")
    with pytest.raises(AbsentError, match=r"no audio model of that name; near it: .*openai/whisper"):
        entry("mteb:openai/whisper-mediun").make(HERE)


def test_a_model_of_mteb_without_a_network_is_absent() -> None:
    pytest.importorskip("mteb")
    embedder = entry("mteb:openai/whisper-tiny").make(HERE)
    assert "en" in embedder.trained_on["languages"]
    with pytest.raises(AbsentError, match="mteb cannot load openai/whisper-tiny"):
        check_embedder(embedder)
