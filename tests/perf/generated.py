"""Models of the hub's families with generated weights, stored as their repositories store them.

The defaults are small, for tests; `tests/perf/embedder_rates.py` asks for the sizes of the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, PreTrainedTokenizerFast

    audio = {} if full else {"patch_embeds_hidden_size": 16, "hidden_size": 64, "depths": [1, 1, 1]}
    audio |= {} if full else {"num_attention_heads": [1, 2, 4], "num_hidden_layers": 3}
    text = (
        {} if full else {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    )
    shared = {} if full else {"projection_dim": 16}
    config = ClapConfig(audio_config={**audio, **shared}, text_config={**text, **shared}, **shared)
    ClapModel(config).save_pretrained(folder)
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz"])}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=77,
    )
    ClapProcessor(ClapFeatureExtractor(), tokenizer).save_pretrained(folder)
