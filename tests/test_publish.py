"""Sharing a model: the Hugging Face folder, its card, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub import ModelCard

from pipelines import publish
from pipelines.cli import main
from pipelines.collection import Model, load_model
from pipelines.publish import RightsError
from slap_model import card, config, hub
from slap_model.model import CheckpointError, Slap
from tests.surface import BOUND, FREE, SETTINGS, write_checkpoint, write_corpus_card, write_score


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    folder = tmp_path / "warehouse"
    write_checkpoint(folder)
    for corpus in (BOUND, FREE):
        write_corpus_card(folder, corpus.name)
    return folder


@pytest.fixture
def model(warehouse: Path) -> Model:
    return load_model(warehouse)


def test_from_pretrained_is_from_checkpoint_bit_for_bit(warehouse: Path, model: Model, tmp_path: Path) -> None:
    publish.export(warehouse, model, tmp_path / "shared", name="Test")
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == sorted(hub.FILES)
    waves = [np.random.default_rng(i).standard_normal(3_000 * (i + 1)).astype(np.float32) * 0.1 for i in range(3)]
    for load in (Slap.from_pretrained, Slap.from_checkpoint):
        again = load(tmp_path / "shared")
        assert again.fingerprint == model.slap.fingerprint
        assert again.card["manifest"] == model.slap.card["manifest"]
        assert again.trained_on == model.slap.trained_on
        assert not again.training
        for name, tensor in model.slap.state_dict().items():
            assert again.state_dict()[name].equal(tensor), name
        vectors = again.embed_audio(waves)
        np.testing.assert_array_equal(vectors, model.slap.embed_audio(waves))
        np.testing.assert_array_equal(again.project(vectors), model.slap.project(vectors))
    # And once more round, by the mixin's own way.
    Slap.from_pretrained(tmp_path / "shared").save_pretrained(tmp_path / "twice")
    assert Slap.from_pretrained(tmp_path / "twice").fingerprint == model.slap.fingerprint
    assert isinstance(Slap.from_pretrained(tmp_path / "twice", precision="bf16"), Slap)


def test_the_hub_is_asked_for_safe_files_only(monkeypatch: pytest.MonkeyPatch, model: Model, tmp_path: Path) -> None:
    import huggingface_hub
    from huggingface_hub import hub_mixin

    model.slap.save_pretrained(tmp_path / "shared")
    asked: dict[str, Any] = {}

    def snapshot(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tmp_path / "shared")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setattr(hub_mixin, "hf_hub_download", lambda **_: str(tmp_path / "shared" / "config.json"))
    found = Slap.from_pretrained("somebody/slap", revision="v1")
    assert found.fingerprint == model.slap.fingerprint
    assert (asked["name"], asked["revision"]) == ("somebody/slap", "v1")
    assert sorted(asked["allow_patterns"]) == ["README.md", "config.json", "model.safetensors"]


def test_the_card_says_what_must_be_known(warehouse: Path, model: Model, tmp_path: Path) -> None:
    score = write_score(warehouse, model.slap, "crema_d_sex", told=True)
    write_score(warehouse, model.slap, "crema_d_age", told=True, fingerprint="f" * 64)  # of other weights
    about = publish.export(warehouse, model, tmp_path / "shared", name="Test", where="me/test")
    written = ModelCard.load(tmp_path / "shared" / "README.md")
    written.validate = None  # type: ignore[method-assign]  # it would ask the hub
    text = written.text
    assert written.data.library_name == "slap"
    assert written.data.license == "other"
    assert written.data.language == ["en"]
    results = written.data.eval_results
    assert [(one.dataset_config, one.metric_value) for one in results] == [("crema_d_sex.zero-shot", 0.8)]
    assert "0.700 to 0.900" in results[0].metric_name
    assert "| `crema_d_sex` | zero-shot | 0.800 (0.700 to 0.900) | 0.850 |" in text
    assert "crema_d_age" not in text
    assert card.OUT_OF_SCOPE in text
    for corpus in (BOUND, FREE):
        assert f"[{corpus.licence.name}]({corpus.licence.url})" in text.replace("\\", "")
    assert "| en | 0.50 | 10 | 0.5 |" in text  # hours, utterances and share of the free one
    assert "In all 1.00 hours, 20 utterances of 2 corpora" in text
    assert f"may not be passed on ({BOUND.title})" in text
    assert 'Slap.from_pretrained("me/test")' in text
    hashes = {"s1", str(model.slap.card["manifest"]), model.slap.fingerprint, *about.hashes.values()}
    assert all(f"`{value}`" in text for value in hashes)
    assert json.dumps(model.slap.card["config"], indent=1) in text
    assert card.AUDIOMAE not in text
    assert score.task in text
    assert str(tmp_path) not in (tmp_path / "shared" / "README.md").read_text()


def test_the_example_of_the_card_runs(warehouse: Path, model: Model, tmp_path: Path, monkeypatch: Any) -> None:
    from slap_model.text import TextTower
    from tests.surface import encode, tone

    monkeypatch.setattr(TextTower, "encode", encode)
    monkeypatch.chdir(tmp_path)
    tone(tmp_path / "voice.wav", 120.0)
    publish.export(warehouse, model, tmp_path / "shared", name="Test")
    code = re.search(r"```python\n(.*?)```", (tmp_path / "shared" / "README.md").read_text(), re.DOTALL)
    assert code is not None
    exec(code[1], {})


def test_audiomae_and_rendered_voices_are_named(warehouse: Path, tmp_path: Path) -> None:
    values = SETTINGS.as_dict()
    values["encoder"]["weights"] = "hf_hub:gaunernst/vit_base_patch16_1024_128.audiomae_as2m"
    folder = write_checkpoint(tmp_path / "other", SETTINGS, name="audiomae")
    stored = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**stored, "config": values}))
    file = warehouse / "tables" / FREE.name / "corpus.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "synthetic": True}))
    publish.export(warehouse, load_model(warehouse, folder), tmp_path / "shared", name="Test")
    text = (tmp_path / "shared" / "README.md").read_text()
    assert card.AUDIOMAE in text
    assert card.SYNTHETIC in text


def test_a_model_alone_has_an_honest_card(model: Model, tmp_path: Path) -> None:
    model.slap.save_pretrained(tmp_path / "shared")
    text = (tmp_path / "shared" / "README.md").read_text()
    assert "There is no score of exactly these weights." in text
    assert "Hours are not stated" in text
    assert f"The terms of 2 corpora are not known here ({BOUND.name}; {FREE.name})" in text
    with pytest.raises(CheckpointError, match="without a checkpoint cannot be shared"):
        Slap(SETTINGS).save_pretrained(tmp_path / "nothing")
    control = config.parse({**SETTINGS.as_dict(), "loss": {**SETTINGS.as_dict()["loss"], "contrastive_weight": 0.0}})
    Slap.from_checkpoint(write_checkpoint(tmp_path / "w", control)).save_pretrained(tmp_path / "control")
    assert "trained without language" in (tmp_path / "control" / "README.md").read_text()


def test_titles_of_corpora_cannot_break_the_card() -> None:
    assert card._cell("A | b\n<script> [x](http://y)") == r"A \| b &lt;script> \[x\](http://y)"


def test_what_a_program_can_see_is_forbidden_is_refused(warehouse: Path, model: Model, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    write_corpus_card(warehouse, FREE.name, may_train=False)
    with pytest.raises(RightsError, match=f"{FREE.name}: licence .* does not allow training"):
        publish.export(warehouse, model, out, name="Test")
    write_corpus_card(warehouse, FREE.name, expires="2020-01-01")
    with pytest.raises(RightsError, match="expired on 2020-01-01"):
        publish.export(warehouse, model, out, name="Test")
    write_corpus_card(warehouse, FREE.name)
    (warehouse / "manifests" / f"{model.slap.card['manifest'][:12]}.withdrawn").write_text("2026-01-02")
    with pytest.raises(RightsError, match="a speaker whom this model heard withdrew on 2026-01-02"):
        publish.export(warehouse, model, out, name="Test")
    assert not out.exists()


def test_nothing_else_is_shared_with_it(warehouse: Path, model: Model, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "patients.csv").write_text("names")
    with pytest.raises(FileExistsError, match=r"holds patients\.csv: give a new folder"):
        publish.export(warehouse, model, tmp_path / "shared", name="Test")
    with pytest.raises(FileNotFoundError, match="export the model first"):
        hub.push(tmp_path / "shared", "me/test", private=True)


def test_uploads_only_when_told_and_with_the_owners_consent(
    warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    calls: list[tuple[str, dict[str, Any]]] = []

    class Api:
        def create_repo(self, **options: Any) -> None:
            calls.append(("create", options))

        def upload_folder(self, **options: Any) -> str:
            calls.append(("upload", options))
            return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setenv("SLAP_WAREHOUSE", str(warehouse))
    out = str(tmp_path / "shared")
    run = CliRunner().invoke(main, ["export-model", out])
    assert run.exit_code == 0, run.output
    assert f"Ask before you share it: the licences of {BOUND.title}" in run.output
    refused = CliRunner().invoke(main, ["export-model", out, "--push", "me/test"])
    assert refused.exit_code != 0
    assert "not uploaded: --owners-agree" in refused.output
    assert calls == []
    pushed = CliRunner().invoke(main, ["export-model", out, "--push", "me/test", "--owners-agree"])
    assert pushed.exit_code == 0, pushed.output
    assert "https://hub/commit" in pushed.output
    assert calls[0] == ("create", {"repo_id": "me/test", "private": True, "exist_ok": True})
    assert calls[1][1]["repo_id"] == "me/test"
    assert Path(calls[1][1]["folder_path"]) == tmp_path / "shared"
    assert sorted(calls[1][1]["allow_patterns"]) == ["README.md", "config.json", "model.safetensors"]


def test_the_readme_says_the_same_of_its_use() -> None:
    readme = " ".join((Path(__file__).parent.parent / "README.md").read_text().split())
    assert card.OUT_OF_SCOPE in readme
