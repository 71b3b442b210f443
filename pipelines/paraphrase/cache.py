"""Answers of language models, kept by what was asked: a paid call is never paid twice.

One file an answer, in ``captions/paraphrases``, named by the set of facts and by all that the answer depends on. It
holds facts, never a speaker; the facts of somebody alone may still point to that person, so a withdrawal removes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path

from pipelines.paraphrase import prompt
from pipelines.paraphrase.client import TEMPERATURE, Reply
from pipelines.paraphrase.prompt import Question
from slap_model import store

FOLDER = "paraphrases"


class Cache:
    """Answers of one model.

    Args:
        captions: the folder of facts and captions.
        model: its name.
        seed: sent with every question.
        language: of the descriptions.
    """

    def __init__(self, captions: Path, model: str, seed: int, language: str) -> None:
        self.folder = captions / FOLDER
        self._asked = {
            "prompt": prompt.version(),
            "model": model,
            "temperature": TEMPERATURE,
            "seed": seed,
            "language": language,
        }

    def path(self, question: Question) -> Path:
        """Where the answer lies or will lie: <set of facts>-<everything that was asked>.json."""
        asked = json.dumps([self._asked, question.messages, question.most_tokens], sort_keys=True)
        return self.folder / f"{prompt.set_hash(question.facts)}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"

    def get(self, question: Question) -> Reply | None:
        """The answer, if it was given before; a file that cannot be read counts as none."""
        try:
            entry = json.loads(self.path(question).read_text(encoding="utf-8"))
            return Reply(str(entry["reply"]), int(entry["tokens_in"]), int(entry["tokens_out"]))
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return None

    def put(self, question: Question, reply: Reply) -> None:
        """Keep an answer. The file is there whole or not at all, even if the machine stops in between."""
        path = self.path(question)
        entry = {
            **self._asked,
            "facts": question.facts,
            "reply": reply.text,
            "tokens_in": reply.tokens_in,
            "tokens_out": reply.tokens_out,
        }
        store.write(path, json.dumps(entry, ensure_ascii=False, indent=1).encode())


def strangers(captions: Path, fact_sets: Collection[Collection[str]]) -> list[Path]:
    """Answers about facts that none of these sets is sent as; the facts of a person who withdrew are such."""
    kept = {prompt.set_hash(prompt.sent(facts)) for facts in fact_sets}
    return [file for file in sorted((captions / FOLDER).glob("*.json")) if file.name.partition("-")[0] not in kept]
