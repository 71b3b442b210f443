"""A language model on this machine: a tiny random one, whose nonsense must never become a caption."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.paraphrase import run
from pipelines.paraphrase.cache import Cache
from pipelines.paraphrase.client import Local, ModelError, _as_text, model_of
from pipelines.paraphrase.options import Options
from tests.paraphrase.test_http import SETS

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def tiny(folder: Path, positions: int = 4096) -> Path:
    """A GPT-2 of 2 layers with random weights, and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({token: n for n, token in enumerate([*alphabet, "<end>"])}, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>")
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(alphabet) + 1,
        n_positions=positions,
        n_embd=16,
        n_layer=2,
        n_head=2,
        eos_token_id=len(alphabet),
        bos_token_id=len(alphabet),
    )
    GPT2LMHeadModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "tiny-gpt", positions=8192)


def test_nonsense_is_replaced_and_the_same_for_ever(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.Question, "most_tokens", property(lambda _: 20))
    options = Options(str(folder), parallel=2)
    model = model_of(options)
    assert isinstance(model, Local) and model.name == "tiny-gpt"
    outcomes = [
        run.paraphrase(SETS[:3], model, options, Cache(tmp_path / name, options.identity, 0, "en"), seed=0)
        for name in "ab"
    ]
    assert outcomes[0] == outcomes[1]
    assert (outcomes[0].paraphrases, outcomes[0].replaced) == (0, 9)
    assert outcomes[0].calls == 9 and outcomes[0].tokens_out <= 9 * 20 and outcomes[0].tokens_in > 9 * 1000
    kept = [sorted(file.read_text() for file in (tmp_path / name / "paraphrases").iterdir()) for name in "ab"]
    assert kept[0] == kept[1] and len(kept[0]) == 9
    assert str(folder.parent) not in kept[0][0]  # the machine's folders stay out


def test_an_answer_does_not_depend_on_its_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.Question, "most_tokens", property(lambda _: 12))
    questions = run.first_questions(SETS[:3], 0)
    said: dict[int, dict[int, str]] = {1: {}, 3: {}}
    for size, texts in said.items():
        model_of(Options(str(folder), parallel=size)).answer(questions, 0, lambda n, r, t=texts: t.update({n: r.text}))
    assert said[1] == said[3] and len(said[1]) == 3


def test_a_model_without_a_system_role_is_told_the_rules_by_the_user(folder: Path) -> None:
    tokenizer, _ = Local(Options(str(folder)))._loaded()
    question = run.first_questions(SETS[:1], 0)[0]
    tokenizer.chat_template = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHAT
    text = _as_text(tokenizer, question)
    assert text.startswith("<user>You write descriptions") and text.count("<user>") == 2
    tokenizer.chat_template = None
    assert _as_text(tokenizer, question).startswith("system: You write descriptions")


def test_pickles_and_models_that_are_too_short_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no \*\.safetensors.*pickled weights are not read"):
        Local(Options(str(tmp_path / "pickled")))
    with pytest.raises(ModelError, match=r"no folder and could not be had from the hub.*SLAP_LLM_URL"):
        Local(Options("nobody/nothing"))
    short = Local(Options(str(tiny(tmp_path / "short", positions=64))))
    with pytest.raises(ModelError, match="reads 64 tokens"):
        short.answer(run.first_questions(SETS[:1], 0), 0, lambda *_: None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be loaded"):
        Local(Options(str(tmp_path / "broken"))).answer(run.first_questions(SETS[:1], 0), 0, lambda *_: None)


def test_another_model_in_the_same_folder_is_another_model(folder: Path) -> None:
    before = Options(str(folder)).identity
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
        assert Options(str(folder)).identity != before
    finally:
        weights.write_bytes(content)
    assert Options(str(folder)).identity == before
