"""What DAIC-WOZ and E-DAIC share: their people, their PHQ-8, the stretches in which others speak.

E-DAIC holds the sessions of DAIC-WOZ (ids 300-492) again, with other transcripts, and adds ids 600-718. A person is
``daic:<id>`` in both, so that nobody is in train by one corpus and in test by the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.corpora._base import Rows

if TYPE_CHECKING:
    from pipelines.voices import Voice, Voices

SHORTEST_TURN_S = 1.0

# Stretches in which other people speak (gh:adbailey1/daic_woz_process), in seconds of the recording.
INTERRUPTED_S = {"373": (395.0, 428.0), "444": (286.0, 387.0)}

# Two people of both corpora whose sex E-DAIC writes in words; DAIC-WOZ writes an undocumented code.
SEX_IN_WORDS = {"302": "male", "303": "female"}


def person_id(identity: str) -> str:
    """The person behind a participant number of either corpus."""
    return f"daic:{identity}"


def interrupted(identity: str, start_s: float, stop_s: float) -> bool:
    """Whether a turn touches a stretch in which other people speak."""
    cut_from, cut_to = INTERRUPTED_S.get(identity, (0.0, 0.0))
    return start_s < cut_to and stop_s > cut_from


def phq8(
    total: float | None, items: Sequence[float | None], binary: float | None, place: str, rows: Rows
) -> float | None:
    """The PHQ-8 total that may be trusted: of eight items their sum, of fewer the total as it stands.

    ``binary`` is only compared: the warehouse cuts the total. What does not fit together is rejected.
    """
    known = [score for score in items if score is not None]
    if len(known) == 8:
        if total is not None and total != sum(known):
            rows.reject(place, "PHQ-8 total is not the sum of its items: no score taken")
            return None
        total = sum(known)
    if total is not None and not 0 <= total <= 24:
        rows.reject(place, "PHQ-8 total is outside 0..24: no score taken")
        return None
    if total is not None and binary is not None and binary != (total >= 10):
        rows.reject(place, "PHQ-8 binary contradicts the total: the total is taken")
    return total


# --- the miniatures' people -----------------------------------------------------------------------------------

# The participants with known errors come first, so that every scale holds them.
QUIRKY = ("321", "341", "373", "409", "319", "451")


@dataclass(frozen=True)
class MadeUp:
    """A made-up participant of the DAIC-WOZ miniature; E-DAIC's holds some of them again."""

    identity: str
    voice: Voice
    items: tuple[int, ...]  # of the PHQ-8

    @property
    def score(self) -> int:
        return sum(self.items)


def made_up_people(voices: Voices) -> list[MadeUp]:
    """The participants of the DAIC-WOZ miniature, half of them with a PHQ-8 of 10 or more."""
    people = voices.cast("daic_woz", 40, "en", ({}, {"depression": 0.5}, {"depression": 0.25}, {"depression": 0.85}))
    taken = {"342", "394", "398", "460", "318", "362", "444", "492", "300", "301", "302", "303", *QUIRKY}
    others = [str(number) for number in range(304, 492) if str(number) not in taken]
    identities = [*QUIRKY, "302", "300", "303", "301", *others]  # 302 falls on a man, 303 on a woman
    return [
        MadeUp(identity, voice, eight_items(voice.strength("depression"), index))
        for index, (identity, voice) in enumerate(zip(identities, people, strict=False))
    ]


def eight_items(strength: float, index: int) -> tuple[int, ...]:
    """Eight made-up PHQ-8 items; their sum is 10 or more from a strength of 0.45."""
    score = round(23 * strength) + (index % 3 if strength else index % 5)
    return tuple(score // 8 + (item < score % 8) for item in range(8))
