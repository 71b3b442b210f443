"""VOCES: Spanish speech with depression and suicidal ideation. Private.

The paper trains and evaluates on it (72 training speakers, 235 recordings) and does not release it. Who has it,
or a corpus like it, puts it into the layout of `pipelines.corpora._byo` under ``voces/``: columns speaker, path,
sex, age, depression, suicidal_ideation, the last two present or absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.corpora._base import Licence
from pipelines.corpora._byo import byo_corpus

if TYPE_CHECKING:
    from pipelines.voices import Voice


def _states(person: Voice) -> dict[str, object]:
    return {
        state: "present" if person.strength(state) >= 0.2 else "absent" for state in ("depression", "suicidal_ideation")
    }


CORPUS = byo_corpus(
    "voces",
    "VOCES (private)",
    language="es",
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
        {"depression": 0.1},
        {"depression": 0.5},
        {"depression": 0.85, "suicidal_ideation": 0.6},
        {"depression": 0.3, "suicidal_ideation": 0.85},
    ),
    facts=_states,
)
