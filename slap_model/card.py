"""The model card: what a stranger must know before a model is used, as the ``README.md`` of its folder.

Numbers come from the checkpoint, the manifest, the licences that the recipes state, and the benchmark's score files;
nothing is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

    from slap_model.model import Slap

# The README says the same, word for word (a test compares them).
OUT_OF_SCOPE = (
    "SLAP infers sex, age and health from a voice. Such inferences are wrong for many people, and knowing them can "
    "harm those they are right for. The models and scores made with this project are for research on groups, under the "
    "consent that the speakers gave. They are not for diagnosing or screening a person, not for hiring, insurance, "
    "credit, policing or surveillance, and not for inferring protected attributes of individuals."
)
AUDIOMAE = (
    "Training started from AudioMAE's weights. Their repository states two licences that contradict each other: "
    "CC BY 4.0 in its README, CC BY-NC 4.0 in its LICENSE file. Until its owners settle it, hold these weights, too, "
    "for non-commercial only."
)
SYNTHETIC = (
    "**This model was trained on voices rendered by a speech synthesiser.** It shows that the machinery works; "
    "its scores say nothing about people, and it is of no use on recordings."
)
PAPER = "https://arxiv.org/abs/2510.01860"
TAGS = ["audio", "speech", "speaker", "audio-text", "contrastive", "zero-shot"]

TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

SLAP (speaker contrastive language-audio pretraining): one space for voices and for descriptions of their speakers,
after [arXiv 2510.01860]({{ paper }}). An independent implementation; not the authors' weights.
{% for notice in notices %}
> {{ notice }}
{% endfor %}
## What it is not for

{{ out_of_scope }}

## Use

```python
import soundfile
from slap_model.model import Slap

slap = Slap.from_pretrained("{{ where }}")  # this folder, or its name on the hub
wave, rate = soundfile.read("voice.wav", dtype="float32")  # mono, {{ rate }} Hz, of any length
print(slap.similarity([wave], ["A woman is speaking.", "A man is speaking."]))  # cosines; softmax(x / slap.temperature)
```

`slap.embed_audio([wave])` gives the vectors before the projection (for probes), `slap.project` and `slap.embed_text`
those in the shared space.{% if not speaks %} **This model was trained without language and has no
`embed_text`.**{% endif %}

## Data

{{ corpora }}

{{ totals }}

{{ rights }}

## Scores

{{ scores }}

## Configuration

{{ summary }}

<details><summary>All of it</summary>

```json
{{ configuration }}
```

</details>

## Where it comes from

{{ hashes }}
"""


@dataclass(frozen=True)
class Heard:
    """A corpus of the training.

    Attributes:
        name, title, homepage: of the corpus.
        languages: as its recipe states them.
        licence, licence_url, access: its terms.
        may_redistribute: whether the terms let its audio be passed on; None where nobody here knows them.
        synthetic: a rendered miniature.
        samples, hours: of its training split; None where the manifest is not at hand.
        share: of it in one epoch; None likewise.
    """

    name: str
    title: str
    homepage: str
    languages: Sequence[str]
    licence: str
    licence_url: str
    access: str
    may_redistribute: bool | None
    synthetic: bool
    samples: int | None = None
    hours: float | None = None
    share: float | None = None


@dataclass(frozen=True)
class Judged:
    """A score with its interval over speakers."""

    task: str
    corpus: str
    mode: str
    split: str
    macro_f1: float
    low: float | None
    high: float | None
    auroc: float | None
    chance: float | None
    n_speakers: int | None
    prevalence: float | None
    unheard_corpus: bool


@dataclass(frozen=True)
class About:
    """All that a card says.

    Attributes:
        name: the model's, as people should call it.
        where: what `from_pretrained` is given in the example.
        card: of the checkpoint.
        parameters: of the encoder and of the whole model.
        speaks: whether it was trained with language.
        corpora: what it heard.
        scores: of exactly these weights.
        hashes: by name: weights, manifest, split, code ...
        licence: of the weights, in the hub's words; "other" where nobody has said.
    """

    name: str
    where: str
    card: Mapping[str, Any]
    parameters: tuple[int, int]
    speaks: bool
    corpora: Sequence[Heard]
    scores: Sequence[Judged]
    hashes: Mapping[str, str]
    licence: str = "other"

    @classmethod
    def of(cls, model: Slap, **known: Any) -> About:
        """What the model itself knows; ``known`` are fields from elsewhere."""
        values: dict[str, Any] = {
            "name": "SLAP",
            "where": "path/to/this/folder",
            "card": model.card,
            "parameters": tuple(sum(p.numel() for p in part.parameters()) for part in (model.encoder, model)),
            "speaks": model.speaks_text,
            "corpora": [unknown(name) for name in model.trained_on["corpora"]],
            "scores": [],
            "hashes": {"manifest": model.card.get("manifest", ""), "fingerprint": model.fingerprint},
        }
        return cls(**{**values, **known})

    @property
    def started_from_audiomae(self) -> bool:
        """Whether AudioMAE's weights are under these."""
        return "audiomae" in str(self.card["config"]["encoder"].get("weights", "")).lower()


def unknown(name: str) -> Heard:
    """A corpus of which nothing but the name is at hand."""
    return Heard(name, name, "", (), "not stated here", "", "unknown", None, False)


def model_card(about: About) -> ModelCard:
    """The card, with the hub's metadata (languages, licence, results) in front."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(
            task_type="audio-classification",
            task_name=f"{score.task} ({score.mode})",
            dataset_type=score.corpus,
            dataset_name=score.corpus,
            dataset_config=f"{score.task}.{score.mode}",  # results of one data set and configuration are put together
            dataset_split=score.split,
            metric_type="f1",
            metric_config="macro",
            metric_name=f"macro-F1, 95 % interval over speakers {_interval(score)}",
            metric_value=round(score.macro_f1, 4),
        )
        for score in about.scores
    ]
    data = ModelCardData(
        model_name=about.name,
        language=sorted({tag.split("-")[0] for tag in about.card["trained_on"]["languages"]} - _CODES) or None,
        license=about.licence,
        license_name="terms-of-the-training-data" if about.licence == "other" else None,
        library_name="slap",
        pipeline_tag="feature-extraction",
        tags=TAGS,
        eval_results=results or None,
    )
    settings = about.card["config"]
    card: ModelCard = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=about.name,
        where=about.where,
        paper=PAPER,
        notices=_notices(about),
        out_of_scope=OUT_OF_SCOPE,
        rate=settings["frontend"]["sample_rate"],
        speaks=about.speaks,
        corpora=_corpora(about.corpora),
        totals=_totals(about.corpora),
        rights=_rights(about.corpora),
        scores=_scores(about.scores),
        summary=_summary(about),
        configuration=json.dumps(settings, indent=1),
        hashes=_table(("What", "Hash"), [(name, f"`{value}`") for name, value in about.hashes.items() if value]),
    )
    return card


_CODES = frozenset({"mul", "und"})  # no language of the hub


def _notices(about: About) -> list[str]:
    found = [SYNTHETIC] if any(corpus.synthetic for corpus in about.corpora) else []
    return found + ([AUDIOMAE] if about.started_from_audiomae else [])


def _corpora(corpora: Sequence[Heard]) -> str:
    rows = [
        (
            f"[{_cell(one.title)}]({one.homepage})" if one.homepage else _cell(one.title),
            ", ".join(one.languages),
            "" if one.hours is None else f"{one.hours:.2f}",
            "" if one.samples is None else str(one.samples),
            "" if one.share is None else f"{one.share:g}",
            f"[{_cell(one.licence)}]({one.licence_url})" if one.licence_url else _cell(one.licence),
            {True: "yes", False: "no", None: "unknown"}[one.may_redistribute],
        )
        for one in corpora
    ]
    columns = (
        "Corpus",
        "Languages",
        "Hours",
        "Utterances",
        "Share of it per epoch",
        "Licence",
        "Audio may be passed on",
    )
    return _table(columns, rows) if rows else "No corpus is known: the model was not trained here."


def _totals(corpora: Sequence[Heard]) -> str:
    if not corpora or any(one.hours is None or one.samples is None for one in corpora):
        return "Hours are not stated: the manifest was not at hand when this card was made."
    hours, samples = sum(one.hours or 0.0 for one in corpora), sum(one.samples or 0 for one in corpora)
    return (
        f"In all {hours:.2f} hours, {samples} utterances of {len(corpora)} corpora: their training split, nothing else."
    )


def _rights(corpora: Sequence[Heard]) -> str:
    unknown_terms = [_cell(one.title) for one in corpora if one.may_redistribute is None]
    bound = [_cell(one.title) for one in corpora if one.may_redistribute is False]
    ask = "Whether weights that learned from them may be shared is for their owners to say: ask before you share them."
    found = []
    if bound:
        found.append(f"The audio of {len(bound)} of these corpora may not be passed on ({'; '.join(bound)}). {ask}")
    if unknown_terms:
        found.append(
            f"The terms of {len(unknown_terms)} corpora are not known here ({'; '.join(unknown_terms)}). {ask}"
        )
    free = "The audio of every corpus may be passed on under its licence; what that means for weights is not settled."
    return "\n\n".join(found) or free


def _scores(scores: Sequence[Judged]) -> str:
    if not scores:
        return "There is no score of exactly these weights."
    rows = [
        (
            f"`{score.task}`",
            score.mode,
            f"{score.macro_f1:.3f} ({_interval(score)})",
            "" if score.auroc is None else f"{score.auroc:.3f}",
            "" if score.chance is None else f"{score.chance:.3f}",
            "" if score.n_speakers is None else str(score.n_speakers),
            "" if score.prevalence is None else f"{score.prevalence:.2f}",
            "yes" if score.unheard_corpus else "no",
        )
        for score in scores
    ]
    columns = ("Task", "Mode", "Macro-F1 (95 % over speakers)", "AUROC", "Chance", "Speakers", "Positive", "New corpus")
    return _table(columns, rows)


def _interval(score: Judged) -> str:
    return "none" if score.low is None or score.high is None else f"{score.low:.3f} to {score.high:.3f}"


def _summary(about: About) -> str:
    settings, card = about.card["config"], about.card
    frontend, encoder, text, loss = (settings[name] for name in ("frontend", "encoder", "text", "loss"))
    window = (frontend["window"] + (frontend["frames"] - 1) * frontend["hop"]) / frontend["sample_rate"]
    rows = [
        ("Input", f"{frontend['mels']} log-mels of {frontend['sample_rate']} Hz mono, windows of {window:.2f} s"),
        ("Encoder", f"vision transformer, width {encoder['dim']}, depth {encoder['depth']}, heads {encoder['heads']}"),
        ("Started from", encoder.get("weights") or "random weights"),
        (
            "Parameters",
            f"{about.parameters[0] / 1e6:.1f} million in the encoder, {about.parameters[1] / 1e6:.1f} in all",
        ),
        ("Text tower", f"{text['tower']}, frozen"),
        ("Shared space", f"{loss['dim']} dimensions"),
        ("Contrastive loss", f"{loss['contrastive']}, weight {loss['contrastive_weight']:g}"),
        ("Autoencoder", f"weight {loss['mae_weight']:g}, {100 * loss['mask']:g} % of the patches hidden"),
        (
            "Trained",
            f"{card.get('step', '?')} steps, {card.get('samples_seen', '?')} clips, seed {card.get('seed', '?')}",
        ),
    ]
    return _table(("", ""), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor be markup."""
    plain = " ".join(text.split())
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("[", "\\["), ("]", "\\]")):
        plain = plain.replace(mark, safe)
    return plain
