"""PopGen: French speech with self-rated depression, anxiety, insomnia and fatigue. Private.

The paper trains and evaluates on it (1,166 training speakers, 13,747 recordings) and does not release it. Who
has it, or a corpus like it, puts it into the layout of `pipelines.corpora._byo` under ``popgen/``: columns
speaker, path, sex, age, phq9, gad7, ais, mfi_general. Cut-offs (PHQ-9 and GAD-7 10, AIS 6, MFI general fatigue 12,
the last our choice, open in the paper) are the warehouse's, not this file's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.corpora._base import Licence
from pipelines.corpora._byo import byo_corpus

if TYPE_CHECKING:
    from pipelines.voices import Voice

# column: the trait that it measures, lowest and highest score
SCALES = {
    "phq9": ("depression", 0, 27),
    "gad7": ("anxiety", 0, 21),
    "ais": ("insomnia", 0, 24),
    "mfi_general": ("fatigue", 4, 20),
}


def _scores(person: Voice) -> dict[str, object]:
    return {column: round(low + (high - low) * person.strength(trait)) for column, (trait, low, high) in SCALES.items()}


CORPUS = byo_corpus(
    "popgen",
    "PopGen (private)",
    language="fr",
    citation="Used in: Andò, Crabeil, Lesage, Riad, Spinat: SLAP. arXiv:2510.01860 (2025). Not released.",
    licence=Licence(
        name="Private: who brings it has the right to",
        url="https://arxiv.org/abs/2510.01860",
        access="private",
        may_train=True,
        may_redistribute=False,
        consent="UNKNOWN: the paper's own terms are not public",
    ),
    label="depression",
    conditions=(
        {},
        {"depression": 0.25, "anxiety": 0.25, "insomnia": 0.1, "fatigue": 0.25},  # below every cut-off
        {"depression": 0.85, "fatigue": 0.55},
        {"anxiety": 0.55, "insomnia": 0.5},
        {"depression": 0.5, "anxiety": 0.85},
        {"insomnia": 0.85, "fatigue": 0.85},
    ),
    facts=_scores,
)
