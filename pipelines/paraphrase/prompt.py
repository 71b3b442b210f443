"""What leaves the machine: a set of facts, banded and closed, and the rules of writing about it."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipelines import captions
from pipelines.paraphrase.check import Problem, closed_accent, closed_values

PROMPTS = Path(__file__).with_name("prompts.toml")
DESCRIPTIONS = 3  # for a set of facts, as in the paper
LANGUAGES = {"en": "English"}  # those that the check reads
HINTS = 3  # phrases shown for a fact
MOST_STARTS = 20  # brackets of a reply that are tried as the beginning of its JSON

Message = dict[str, str]  # role and content, as chat endpoints take them


class OutgoingError(ValueError):
    """Something would leave the machine that must not: a value that is not of the closed vocabulary."""


@dataclass(frozen=True)
class Question:
    """One call: the messages, and the most tokens that an answer may have."""

    facts: tuple[str, ...]
    messages: tuple[Message, ...]
    wanted: int  # descriptions

    @property
    def tokens_in(self) -> int:
        """About how many tokens the messages are: four letters each, as of English."""
        return sum(len(message["content"]) // 4 + 4 for message in self.messages)

    @property
    def tokens_out(self) -> int:
        """About how many tokens the answer will have."""
        return 10 + self.wanted * (8 + 5 * len({captions.topic(fact) for fact in self.facts}))

    @property
    def most_tokens(self) -> int:
        """Where an answer is cut off."""
        return 100 + 3 * self.tokens_out


def version() -> str:
    """Of the prompt: paraphrases made with another are made again."""
    return str(_prompts()["version"])


def sent(facts: Collection[str], language: str = "en") -> tuple[str, ...]:
    """The facts that a language model is told, sorted: closed values that have words.

    An accent in the owner's or the speaker's own words stays here, and so does the severity of an absent state, which
    has no affirmative plain word. Ages are bands already: `fact` in the warehouse has nothing finer.
    """
    held = set(facts)
    closed = [
        fact
        for fact in sorted(held)
        if _is_closed(fact) and f"{fact.partition('=')[0].removesuffix('_severity')}=absent" not in held - {fact}
    ]
    said = {fact for phrase in captions.phrases_for(closed, language) for fact in phrase.says}
    return tuple(fact for fact in closed if fact in said)


def set_hash(facts: Sequence[str]) -> str:
    """16 hex digits of a set of facts, made as ``fact_hash`` is."""
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()[:16]


def question(facts: Sequence[str], corpora: Collection[str], *, seed: int, language: str = "en") -> Question:
    """Ask for `DESCRIPTIONS` of these facts, in shuffled order, with the examples of one of the corpora.

    Raises:
        OutgoingError: a fact is not of the closed vocabulary.
    """
    open_facts = [fact for fact in facts if not _is_closed(fact)]
    if open_facts:
        raise OutgoingError(
            f"attribute {open_facts[0].partition('=')[0]}: a value outside the vocabulary may not leave"
        )
    examples = _prompts()["examples"]
    example = examples[min((name for name in corpora if name in examples), default="default")]
    rules = _prompts()["rules"].strip().format(n=DESCRIPTIONS, language=LANGUAGES[language])
    messages = (
        {"role": "system", "content": rules},
        {"role": "user", "content": _listed(example["facts"], seed, language)},
        {"role": "assistant", "content": json.dumps({"descriptions": example["descriptions"]})},
        {"role": "user", "content": _listed(facts, seed, language)},
    )
    return Question(tuple(sorted(facts)), messages, DESCRIPTIONS)


def asked_again(
    question: Question, reply: str, refused: Sequence[tuple[str, Sequence[Problem]]], missing: int
) -> Question:
    """Ask for what is missing, and say why the rest of the reply was refused."""
    reasons = [f"- {json.dumps(text)}: {'; '.join(p.message for p in problems)}" for text, problems in refused]
    content = _prompts()["again"].strip().format(n=missing, reasons="\n".join(reasons))
    more = ({"role": "assistant", "content": reply or "(empty)"}, {"role": "user", "content": content})
    return Question(question.facts, (*question.messages, *more), missing)


def descriptions(reply: str) -> list[str]:
    """The descriptions in a reply, each in one line; none where it holds no list of texts.

    Words around the JSON and the fences of a code block are passed over: models add them whatever they are told.
    """
    for match in itertools.islice(re.finditer(r"[\[{]", reply), MOST_STARTS):
        try:
            found, _ = json.JSONDecoder().raw_decode(reply, match.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        texts = found.get("descriptions") if isinstance(found, dict) else found
        if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
            return [" ".join(text.split()) for text in texts]
    return []


@cache
def _prompts() -> dict[str, Any]:
    return tomllib.loads(PROMPTS.read_text(encoding="utf-8"))


def _is_closed(fact: str) -> bool:
    attribute, _, value = fact.partition("=")
    if attribute == "accent":
        return closed_accent(value)
    if attribute == "language":
        return re.fullmatch(r"[a-z]{2,3}", value) is not None
    return value in closed_values().get(attribute, ())


def _listed(facts: Sequence[str], seed: int, language: str) -> str:
    """The facts in an order of their own, a state beside its severity, each with a few phrases that state it."""
    rng = random.Random(f"{seed}|{language}|{'|'.join(sorted(facts))}")
    topics: dict[str, list[str]] = {}
    for fact in sorted(facts):
        topics.setdefault(captions.topic(fact), []).append(fact)
    names = sorted(topics)
    rng.shuffle(names)
    lines = []
    for name in names:
        says = tuple(topics[name])
        found = [phrase.text for phrase in captions.phrases_for(says, language) if phrase.says == says]
        texts = [re.sub(r"\ba (?=[aeioAEIO])", "an ", text) for text in found]
        hints = "; ".join(rng.sample(texts, min(HINTS, len(texts))))
        lines.append(f"- {', '.join(says)}" + (f" (for example: {hints})" if hints else ""))
    return "Facts:\n" + "\n".join(lines)
