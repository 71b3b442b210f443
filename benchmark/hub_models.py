"""The models of the Hugging Face hub that have a name on the board: one table, which imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_LIBRIVOX = ("librispeech", "libritts_r")  # LibriTTS is cut from LibriSpeech
_WHISPER = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr "
    "bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn "
    "yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su "
    "yue"
)
_NOT_KNOWN: Mapping[str, Sequence[str]] = {"corpora": (), "languages": (), "labels": ()}


@dataclass(frozen=True)
class Model:
    """A model on the hub.

    Attributes:
        name: on the board.
        repository: owner/model.
        kind: the class of `benchmark.hub` that runs it.
        about: what it is, in one sentence.
        licence: of the weights, with what must be known before use.
        revision: the commit that is taken; empty: the newest.
        family: of the registry.
        trained_on: as far as it is published.
        parts: the files to take, by repository, where one repository as a whole is not it.
    """

    name: str
    repository: str
    kind: str
    about: str
    licence: str
    revision: str = ""
    family: str = "speech"
    trained_on: Mapping[str, Sequence[str]] = field(default_factory=lambda: _NOT_KNOWN)
    parts: Mapping[str, str] = field(default_factory=dict)


def _speech(corpora: Sequence[str] = (), languages: str = "en") -> Mapping[str, Sequence[str]]:
    return {"corpora": tuple(corpora), "languages": tuple(languages.split()), "labels": ()}


# The revisions are those that mteb 2.26 pins. What Whisper heard is not published corpus by corpus.
_WAVLM_LICENCE = "MIT by its code's repository; the model's card names none"
_FRAMES = "last layer, mean over frames"
MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="whisper-medium",
            repository="openai/whisper-medium",
            revision="abdf7c39ab9d0397620ccaea8974cc764cd0953e",
            kind="Whisper",
            about="encoder of Whisper medium, mean over the frames that hold audio",
            licence="Apache-2.0",
            trained_on=_speech((), _WHISPER),
        ),
        Model(
            name="whisper-large",
            repository="openai/whisper-large-v3",
            revision="06f233fe06e710322aca913c1bc4249a0d71fce1",
            kind="Whisper",
            about="encoder of Whisper large-v3, mean over the frames that hold audio",
            licence="Apache-2.0",
            trained_on=_speech((), _WHISPER),
        ),
        Model(
            name="wav2vec2-base",
            repository="facebook/wav2vec2-base",
            revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
            kind="Wav2Vec",
            about=f"wav2vec 2.0 base, {_FRAMES}",
            licence="Apache-2.0",
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="wav2vec2-large",
            repository="facebook/wav2vec2-large",
            revision="312b2410566b698c7a649068d413b2067848bd75",
            kind="Wav2Vec",
            about=f"wav2vec 2.0 large, {_FRAMES}",
            licence="Apache-2.0",
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="hubert-base",
            repository="facebook/hubert-base-ls960",
            revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
            kind="Wav2Vec",
            about=f"HuBERT base, {_FRAMES}",
            licence="Apache-2.0",
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="hubert-large",
            repository="facebook/hubert-large-ll60k",
            kind="Wav2Vec",
            about=f"HuBERT large, {_FRAMES}",
            licence="Apache-2.0",
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="wavlm-base",
            repository="microsoft/wavlm-base",
            revision="efa81aae7ff777e464159e0f877d54eac5b84f81",
            kind="Wav2Vec",
            about=f"WavLM base, {_FRAMES}",
            licence=_WAVLM_LICENCE,
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="wavlm-large",
            repository="microsoft/wavlm-large",
            revision="c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
            kind="Wav2Vec",
            about=f"WavLM large, {_FRAMES}",
            licence=_WAVLM_LICENCE,
            trained_on=_speech(_LIBRIVOX),
        ),
        Model(
            name="audiomae",
            repository="gaunernst/vit_base_patch16_1024_128.audiomae_as2m",
            kind="AudioMae",
            about="AudioMAE ViT-B/16 (the paper's start), mean over the patches that hold audio",
            licence="contradictory in AudioMAE's own repository: CC-BY 4.0 by its README, CC-BY-NC 4.0 by its LICENSE",
        ),
        Model(
            name="hear",
            repository="google/hear-pytorch",
            kind="Hear",
            about="HeAR: health acoustic representations of 2 s clips, averaged",
            licence="Health AI Developer Foundations terms; gated: accept them on the model's page, `hf auth login`",
        ),
        Model(
            name="laion-clap",
            repository="laion/clap-htsat-unfused",
            revision="8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
            kind="Clap",
            family="audio-text",
            about="LAION CLAP (HTSAT, RoBERTa), asked in words too",
            licence="Apache-2.0",
            trained_on=_speech(),
        ),
        Model(
            name="ms-clap",
            repository="microsoft/msclap",
            revision="c47d441165daa21986ead0850660917636a81775",
            kind="MsClap",
            family="audio-text",
            about="Microsoft CLAP of 2023 (HTSAT, GPT-2), asked in words too",
            licence="unclear: MIT by the code's repository, Ms-PL by the weights' card",
            trained_on=_speech(),  # 4.6 million pairs, which its repository does not list corpus by corpus
            parts={"microsoft/msclap": "CLAP_weights_2023.pth", "openai-community/gpt2": "tokenizer.json"},
        ),
    )
}
