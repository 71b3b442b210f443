"""How well the faithfulness check tells good captions from corrupted ones: ``python -m tests.paraphrase.faithfulness``.

``tuning.txt`` was at hand while the check was built. ``held_out.txt`` was written when it was final. The captions of
``adversarial.txt`` are all wrong, in words that the check knows. A block begins with its facts
(``# attribute=value; ...``); a line is a caption: ``+`` says all the facts and nothing else, ``- kind:`` is corrupted.
Every caption must state all facts, as the prompt asks. Accepting is the positive answer.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.paraphrase.check import Verdict, check

HERE = Path(__file__).parent
HALVES = ("tuning", "held_out")
ADVERSARIAL = "adversarial"


@dataclass(frozen=True)
class Case:
    """A caption of the set."""

    facts: tuple[str, ...]
    good: bool
    kind: str  # of corruption; empty for a good one
    text: str

    def verdict(self) -> Verdict:
        """What the check says of it."""
        return check(self.text, self.facts, required=self.facts)


@dataclass(frozen=True)
class Score:
    """Counts over a half of the set."""

    good: int
    bad: int
    accepted_good: int
    accepted_bad: int

    @property
    def precision(self) -> float:
        """Share of the accepted captions that are good."""
        accepted = self.accepted_good + self.accepted_bad
        return self.accepted_good / accepted if accepted else 1.0

    @property
    def recall(self) -> float:
        """Share of the good captions that are accepted; 1 where there are none."""
        return self.accepted_good / self.good if self.good else 1.0


def cases(half: str) -> list[Case]:
    """The captions of a half, in order."""
    return list(_read(HERE / f"{half}.txt"))


def score(half: str) -> tuple[Score, list[tuple[Case, Verdict]]]:
    """Counts, and the captions on which the check errs."""
    judged = [(case, case.verdict()) for case in cases(half)]
    right = Counter((case.good, verdict.accepted) for case, verdict in judged)
    counts = Score(
        good=right[True, True] + right[True, False],
        bad=right[False, True] + right[False, False],
        accepted_good=right[True, True],
        accepted_bad=right[False, True],
    )
    return counts, [(case, verdict) for case, verdict in judged if case.good != verdict.accepted]


def _read(path: Path) -> Iterator[Case]:
    facts: tuple[str, ...] = ()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        sign, _, rest = line.partition(" ")
        if sign == "#":
            facts = tuple(sorted(part.strip() for part in rest.split(";")))
        elif sign == "+":
            yield Case(facts, True, "", rest)
        elif sign == "-":
            kind, _, text = rest.partition(": ")
            yield Case(facts, False, kind, text)
        elif line.strip():
            raise ValueError(f"{path.name}, line {number}: begins with none of # + -")


def main() -> None:
    """Print precision and recall of each part; with ``-v`` each error too."""
    for half in (*HALVES, ADVERSARIAL):
        counts, errors = score(half)
        kinds = Counter(case.kind for case in cases(half) if not case.good)
        if not counts.good:
            print(f"{half}: {counts.bad - counts.accepted_bad} of {counts.bad} refused")
        else:
            print(
                f"{half}: {counts.good} good, {counts.bad} corrupted; precision {counts.precision:.3f} "
                f"({counts.accepted_bad} corrupted ones accepted), recall {counts.recall:.3f} "
                f"({counts.good - counts.accepted_good} good ones refused)"
            )
        print("  corrupted: " + ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())))
        for case, verdict in errors if "-v" in sys.argv else ():
            reasons = "; ".join(problem.message for problem in verdict.problems)
            print(f"  {'refused' if case.good else 'accepted ' + case.kind}: {case.text}\n    {reasons}")


if __name__ == "__main__":
    main()
