"""Models of the hub's families with generated weights, stored as their repositories store them.

The defaults are small, for tests; `tests/perf/embedder_rates.py` asks for the sizes of the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def whisper(folder: Path, mels: int = 80, **sizes: int) -> None:
    """A Whisper with its decoder, as the repositories hold it."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    small = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64}
    decoder = {"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32, "vocab_size": 51_865}
    config = WhisperConfig(num_mel_bins=mels, **{**small, **decoder, **sizes})
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=mels).save_pretrained(folder)


def wav2vec(folder: Path, kind: str, norm: str = "group", **sizes: Any) -> None:
    """wav2vec 2.0, HuBERT or WavLM."""
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    small = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": [16] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    }
    config = AutoConfig.for_model(
        kind, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", **{**small, **sizes}
    )
    AutoModel.from_config(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer").save_pretrained(folder)


def vit(folder: Path, **sizes: int) -> None:
    """AudioMAE's vision transformer in timm's form."""
    import timm
    from timm.models import save_for_hf

    small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    shape = {"img_size": (1024, 128), "in_chans": 1, "num_classes": 0, "global_pool": "avg", **(sizes or small)}
    model = timm.create_model("vit_base_patch16_224", pretrained=False, **shape)
    save_for_hf(model, str(folder), model_args=shape, safe_serialization=True)


def hear(folder: Path, **sizes: int) -> None:
    """HeAR's vision transformer with its pooler."""
    from transformers import ViTConfig, ViTModel

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ViTConfig(image_size=[192, 128], num_channels=1, **{"pooler_output_size": 24, **small, **sizes})
    ViTModel(config).save_pretrained(folder)


def clap(folder: Path, full: bool = False) -> None:
    """LAION CLAP with a tokenizer of single characters: the real one's vocabulary lies on the hub."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, PreTrainedTokenizerFast

    audio = {} if full else {"patch_embeds_hidden_size": 16, "hidden_size": 64, "depths": [1, 1, 1]}
    audio |= {} if full else {"num_attention_heads": [1, 2, 4], "num_hidden_layers": 3}
    text = (
        {} if full else {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    )
    shared = {} if full else {"projection_dim": 16}
    config = ClapConfig(audio_config={**audio, **shared}, text_config={**text, **shared}, **shared)
    ClapModel(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_letters(["<s>", "<pad>", "</s>", "<unk>"]),
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=77,
    )
    ClapProcessor(ClapFeatureExtractor(), tokenizer).save_pretrained(folder)


def ms_clap(folder: Path, full: bool = False) -> None:
    """Microsoft CLAP under the names of its own file, written out here: the loading code must know them."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    depths, heads, width, wide, blocks, words, joint = (
        ([2, 2, 6, 2], [4, 8, 16, 32], 96, 768, 12, 50_257, 1024) if full else ([2, 1, 1], [1, 2, 4], 16, 32, 1, 32, 16)
    )
    htsat, gpt, last = "audio_encoder.base.htsat", "caption_encoder.base", width * 2 ** (len(depths) - 1)
    shapes: dict[str, tuple[int, ...]] = {
        f"{htsat}.logmel_extractor.melW": (513, 64),
        f"{htsat}.patch_embed.proj.weight": (width, 1, 4, 4),
        f"{htsat}.patch_embed.proj.bias": (width,),
        f"{gpt}.wte.weight": (words, wide),
        f"{gpt}.wpe.weight": (1024, wide),
        f"{htsat}.head.weight": (4, last),  # of no use here, as are others in the real file
        "logit_scale": (),
    }
    norms = {f"{htsat}.patch_embed.norm": width, f"{htsat}.bn0": 64, f"{htsat}.norm": last, f"{gpt}.ln_f": wide}
    for i, (depth, n_heads) in enumerate(zip(depths, heads, strict=True)):
        here = width * 2**i
        for j in range(depth):
            block = f"{htsat}.layers.{i}.blocks.{j}"
            shapes[f"{block}.attn.relative_position_bias_table"] = (225, n_heads)
            for name, out, into in (("qkv", 3, 1), ("proj", 1, 1)):
                shapes[f"{block}.attn.{name}.weight"] = (out * here, into * here)
                shapes[f"{block}.attn.{name}.bias"] = (out * here,)
            for name, out, into in (("fc1", 4, 1), ("fc2", 1, 4)):
                shapes[f"{block}.mlp.{name}.weight"] = (out * here, into * here)
                shapes[f"{block}.mlp.{name}.bias"] = (out * here,)
            norms |= {f"{block}.norm1": here, f"{block}.norm2": here}
        if i < len(depths) - 1:
            shapes[f"{htsat}.layers.{i}.downsample.reduction.weight"] = (2 * here, 4 * here)
            norms[f"{htsat}.layers.{i}.downsample.norm"] = 4 * here
    for j in range(blocks):
        for name, into, out in (
            ("attn.c_attn", wide, 3 * wide),
            ("attn.c_proj", wide, wide),
            ("mlp.c_fc", wide, 4 * wide),
            ("mlp.c_proj", 4 * wide, wide),
        ):
            shapes[f"{gpt}.h.{j}.{name}.weight"] = (into, out)  # GPT-2 stores them turned
            shapes[f"{gpt}.h.{j}.{name}.bias"] = (out,)
        norms |= {f"{gpt}.h.{j}.ln_1": wide, f"{gpt}.h.{j}.ln_2": wide}
    for tower, into in (("audio_encoder", last), ("caption_encoder", wide)):
        shapes[f"{tower}.projection.linear1.weight"] = (joint, into)
        shapes[f"{tower}.projection.linear2.weight"] = (joint, joint)
        norms[f"{tower}.projection.layer_norm"] = joint
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    shapes |= {f"{htsat}.bn0.running_mean": (64,), f"{htsat}.bn0.running_var": (64,)}

    seed = int(torch.randint(2**31, ()))  # follows torch.manual_seed, as the other models here do
    state = {name: _array(np.random.default_rng([seed, i]), name, shapes[name]) for i, name in enumerate(shapes)}
    save_file({name: torch.from_numpy(array) for name, array in state.items()}, folder / "model.safetensors")
    if not full:
        audio = {"patch_embeds_hidden_size": width, "hidden_size": last, "depths": depths}
        audio |= {"num_attention_heads": heads, "num_hidden_layers": len(depths)}
        text = {"n_embd": wide, "n_layer": blocks, "n_head": 2, "vocab_size": words}
        (folder / "config.json").write_text(json.dumps({"audio": audio, "text": text, "joint": joint}))
    letters = _letters(["!", "<|endoftext|>", "<unk>", " "])
    letters.add_special_tokens(["<|endoftext|>"])
    letters.save(str(folder / "tokenizer.json"))


def _letters(first: list[str]) -> Any:
    """A tokenizer of small letters, after the signs of ``first``."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate([*first, *"abcdefghijklmnopqrstuvwxyz"])}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return letters


def _array(noise: np.random.Generator, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Values that keep what flows through a layer at its size; what is squared or divided by stays positive."""
    drawn = noise.standard_normal(shape)
    if name.endswith(("melW", "running_var")):
        drawn = np.abs(drawn) + 0.1
    elif len(shape) == 1 and name.endswith("weight"):
        drawn = 1 + 0.1 * drawn
    elif len(shape) > 1:
        into = shape[0] if ".c_" in name else np.prod(shape[1:])
        drawn = drawn / np.sqrt(into)
    return np.asarray(drawn, dtype=np.float32)
