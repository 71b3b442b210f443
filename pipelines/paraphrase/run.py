"""From sets of facts to paraphrases that the check accepts, and into the table of captions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipelines import captions
from pipelines.paraphrase import prompt
from pipelines.paraphrase.cache import Cache
from pipelines.paraphrase.check import LANGUAGE, Problem, check
from pipelines.paraphrase.client import Model, Reply
from pipelines.paraphrase.options import Options
from pipelines.paraphrase.prompt import DESCRIPTIONS, Question
from slap_model import store

ROUNDS = 3  # the question, and twice what is missing
SAY_EVERY = 100  # calls


class BudgetError(RuntimeError):
    """More money than SLAP_LLM_BUDGET; the message says how much, and what to do."""


@dataclass(frozen=True)
class FactSet:
    """What is sent of one or several sets of facts, and the corpora that have them."""

    facts: tuple[str, ...]
    corpora: frozenset[str]
    hashes: tuple[str, ...]  # ``fact_hash`` of each set that is sent as these facts


@dataclass(frozen=True)
class Estimate:
    """What the first questions need; `most_cost` is with every question asked `ROUNDS` times."""

    fact_sets: int
    kept: int  # of the first questions, answered before
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    most_cost: float | None

    def lines(self) -> list[str]:
        """For people."""
        money = "unknown: set SLAP_LLM_PRICES=<in>,<out>, for a million tokens"
        if self.cost is not None and self.most_cost is not None:
            money = f"about {self.cost:.2f}, at most {self.most_cost:.2f} if everything is asked {ROUNDS} times"
        return [
            f"sets of facts: {self.fact_sets}, {self.kept} of them answered before",
            f"calls:         {self.calls}",
            f"tokens:        about {self.tokens_in} in, {self.tokens_out} out",
            f"cost:          {money}",
        ]


@dataclass
class Outcome:
    """What came of it."""

    accepted: dict[tuple[str, ...], list[captions.Caption]] = field(default_factory=dict)  # facts sent -> paraphrases
    retried: int = 0  # descriptions that were refused or missing, and asked for again
    replaced: int = 0  # descriptions that stay templates
    calls: int = 0  # answered in this run
    kept_calls: int = 0  # answered in earlier runs
    tokens_in: int = 0  # of this run
    tokens_out: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # kind of problem -> descriptions

    @property
    def paraphrases(self) -> int:
        """Descriptions that were accepted."""
        return sum(map(len, self.accepted.values()))


def fact_sets(facts_file: Path, corpora: Sequence[str]) -> list[FactSet]:
    """The sets of facts of training that can be told, joined where the same is sent; sorted."""
    training = pl.read_parquet(facts_file, columns=["corpus", "split", "fact_hash", "facts"]).filter(
        (pl.col("split") == "train") & pl.col("corpus").is_in(sorted(corpora))
    )
    rows = training.group_by("fact_hash").agg(pl.col("facts").first(), pl.col("corpus").unique().sort())
    found: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
    for fact_hash, facts, names in rows.sort("fact_hash").iter_rows():
        if told := prompt.sent(facts):
            hashes, of = found.setdefault(told, (set(), set()))
            hashes.add(fact_hash)
            of.update(names)
    return [FactSet(told, frozenset(of), tuple(sorted(hashes))) for told, (hashes, of) in sorted(found.items())]


def first_questions(sets: Sequence[FactSet], seed: int) -> list[Question]:
    """The first question about each set."""
    return [prompt.question(one.facts, one.corpora, seed=seed, language=LANGUAGE) for one in sets]


def estimate(questions: Sequence[Question], cache: Cache, options: Options) -> Estimate:
    """Calls, tokens and money, before anything is sent."""
    new = [question for question in questions if cache.get(question) is None]
    tokens_in, tokens_out = sum(q.tokens_in for q in new), sum(q.tokens_out for q in new)
    # A later round repeats the messages and the answer before it.
    most_in = sum(ROUNDS * q.tokens_in + (ROUNDS - 1) * ROUNDS * q.tokens_out for q in new)
    return Estimate(
        fact_sets=len(questions),
        kept=len(questions) - len(new),
        calls=len(new),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=options.cost(tokens_in, tokens_out),
        most_cost=options.cost(most_in, ROUNDS * tokens_out),
    )


def refuse_above_budget(expected: Estimate, options: Options) -> None:
    """Raise `BudgetError` where the first questions alone cost more than the budget."""
    if options.budget is not None and expected.cost is not None and expected.cost > options.budget:
        raise BudgetError(
            f"paraphrases would cost about {expected.cost:.2f} ({expected.calls} calls), more than "
            f"SLAP_LLM_BUDGET={options.budget:g}: raise it, or run `slap paraphrase --over-budget`"
        )


def paraphrase(
    sets: Sequence[FactSet],
    model: Model,
    options: Options,
    cache: Cache,
    *,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Ask for `DESCRIPTIONS` of each set of facts, and again for those that the check refuses.

    What an earlier run was answered is not asked again.

    Raises:
        BudgetError: the next round would cost more than is left of SLAP_LLM_BUDGET.
        ModelError: the model does not answer.
    """
    outcome = Outcome(accepted={one.facts: [] for one in sets})
    waiting = first_questions(sets, seed)
    for number in range(ROUNDS):
        replies = _answers(waiting, model, options, cache, outcome, seed, say)
        following = []
        for question, reply in zip(waiting, replies, strict=True):
            refused = _take(question, reply, outcome)
            missing = DESCRIPTIONS - len(outcome.accepted[question.facts])
            if missing and number + 1 < ROUNDS:
                outcome.retried += missing
                following.append(prompt.asked_again(question, reply.text, refused, missing))
            outcome.replaced += missing if number + 1 == ROUNDS else 0
        waiting = following
    return outcome


def _answers(
    questions: Sequence[Question],
    model: Model,
    options: Options,
    cache: Cache,
    outcome: Outcome,
    seed: int,
    say: Callable[[str], None],
) -> list[Reply]:
    replies = [cache.get(question) for question in questions]
    new = [number for number, reply in enumerate(replies) if reply is None]
    outcome.kept_calls += len(questions) - len(new)
    tokens_in, tokens_out = (sum(getattr(questions[n], name) for n in new) for name in ("tokens_in", "tokens_out"))
    spent = options.cost(outcome.tokens_in + tokens_in, outcome.tokens_out + tokens_out)
    if options.budget is not None and spent is not None and new and spent > options.budget:
        raise BudgetError(
            f"with the next {len(new)} calls this run would cost about {spent:.2f}, more than "
            f"SLAP_LLM_BUDGET={options.budget:g}; what was answered is kept: raise the budget and run again"
        )
    lock = threading.Lock()

    def keep(position: int, reply: Reply) -> None:
        cache.put(questions[new[position]], reply)
        with lock:
            replies[new[position]] = reply
            outcome.calls += 1
            outcome.tokens_in += reply.tokens_in
            outcome.tokens_out += reply.tokens_out
            if outcome.calls % SAY_EVERY == 0:
                say(f"{outcome.calls} calls answered by {model.name}")

    if new:
        model.answer([questions[number] for number in new], seed, keep)
    return [reply for reply in replies if reply is not None]


def _take(question: Question, reply: Reply, outcome: Outcome) -> list[tuple[str, Sequence[Problem]]]:
    """Accept what is right in a reply; give back the rest with the reasons."""
    accepted = outcome.accepted[question.facts]
    texts = prompt.descriptions(reply.text)
    refused: list[tuple[str, Sequence[Problem]]] = []
    if not texts:
        refused.append((reply.text[:80], [Problem("answer", "the answer held no JSON with descriptions")]))
    elif len(texts) < question.wanted:
        refused.append(("", [Problem("count", f"there were {len(texts)} descriptions, {question.wanted} are needed")]))
    for text in texts:
        if len(accepted) == DESCRIPTIONS:
            break  # more than were asked for
        verdict = check(text, question.facts, required=question.facts)
        problems = list(verdict.problems)
        if any(text.casefold() == other.text.casefold() for other in accepted):
            problems.append(Problem("twice", "is there already: use other words"))
        if problems:
            refused.append((text, problems))
        else:
            accepted.append(captions.Caption(text, verdict.used))
    for kind in {problem.kind for _, problems in refused for problem in problems}:
        outcome.refused[kind] = outcome.refused.get(kind, 0) + 1
    return refused


# Into the table of captions


def merge(
    folder: Path, sets: Sequence[FactSet], outcome: Outcome, *, source: str, k: int, seed: int, alone: bool
) -> int:
    """Add the paraphrases to ``captions.parquet``, after the templates in their language; written whole or not at all.

    For each description that was refused to the end, the set gets one more template instead, so that no set of facts
    has fewer captions than another.

    Args:
        folder: of ``captions.parquet``, as `captions.build` wrote it.
        sets: the sets of facts.
        outcome: of `paraphrase`.
        source: name of the model.
        k: templates that each set has.
        seed: of the templates.
        alone: keep no templates but those that replace a description.

    Returns:
        Rows of the table.
    """
    path = folder / "captions.parquet"
    table = pl.read_parquet(path)
    held = {
        row[0]: row[1] for row in pl.read_parquet(folder / "facts.parquet", columns=["fact_hash", "facts"]).iter_rows()
    }
    rows = []
    for one in sets:
        found = outcome.accepted[one.facts]
        for fact_hash in one.hashes:
            rows += [(fact_hash, k + n, LANGUAGE, c.text, list(c.used), source) for n, c in enumerate(found)]
            first = 0 if alone else k
            spare = captions.render(held[fact_hash], first + DESCRIPTIONS - len(found), seed, LANGUAGE)[first:]
            rows += [
                (fact_hash, k + len(found) + n, LANGUAGE, c.text, list(c.used), captions.SOURCE)
                for n, c in enumerate(spare)
            ]
    added = pl.DataFrame(rows, schema=table.schema, orient="row")
    if alone:
        told = sorted({fact_hash for one in sets for fact_hash in one.hashes})
        table = table.filter(~(pl.col("fact_hash").is_in(told) & (pl.col("language") == LANGUAGE)))
    merged = pl.concat([table, added]).sort("fact_hash", "language", "k", maintain_order=True)
    # A key of its own: without a model, the next run must write the templates anew.
    with store.whole(path) as file:
        merged.write_parquet(file, metadata={"key": f"paraphrased by {source}"})
    return merged.height


def metadata(outcome: Outcome, options: Options) -> Mapping[str, str | int | float]:
    """The outcome in numbers."""
    cost = options.cost(outcome.tokens_in, outcome.tokens_out)
    return {
        "paraphrases_accepted": outcome.paraphrases,
        "paraphrases_retried": outcome.retried,
        "paraphrases_replaced": outcome.replaced,
        "refused_for": ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.refused.items())),
        "calls": outcome.calls,
        "calls_of_earlier_runs": outcome.kept_calls,
        "tokens_in": outcome.tokens_in,
        "tokens_out": outcome.tokens_out,
        **({"cost": round(cost, 4)} if cost is not None else {}),
    }
