"""Paraphrases over HTTP: a server that is slow, broken, wrong or gone, and what leaves the machine."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.paraphrase import client, run
from pipelines.paraphrase.cache import Cache
from pipelines.paraphrase.check import check
from pipelines.paraphrase.client import Endpoint, ModelError, Pace
from pipelines.paraphrase.options import Options
from pipelines.paraphrase.run import BudgetError, FactSet, Outcome
from tests.paraphrase.server import Answer, Server, completion, facts_of, good, right, serving, wanted

SETS = [
    FactSet(facts, frozenset({"androids"}), (str(number),))
    for number, facts in enumerate(
        [
            ("age=older", "depression=present", "sex=female"),
            ("age=young", "depression=absent", "sex=male"),
            ("language=it", "parkinson=present", "sex=female"),
            ("anxiety=absent", "language=es", "sex=male"),
            ("age=young", "insomnia=present", "language=fr"),
        ]
    )
]


def options(server: Server, **changes: Any) -> Options:
    return dataclasses.replace(Options("m", url=f"{server.url}/chat/completions", timeout=5.0), **changes)


def ask(
    server: Server, folder: Path, sets: list[FactSet] = SETS, tries: int = 6, **changes: Any
) -> tuple[Outcome, Cache]:
    chosen = options(server, **changes)
    cache = Cache(folder, "m", 0, "en")
    model = Endpoint(chosen, first_wait=0.01, tries=tries)
    return run.paraphrase(sets, model, chosen, cache, seed=0), cache


def test_each_set_of_facts_gets_three_descriptions_in_one_call_at_temperature_zero(tmp_path: Path) -> None:
    with serving() as server:
        outcome, _ = ask(server, tmp_path)
    assert len(server.bodies) == outcome.calls == len(SETS)
    assert {body["temperature"] for body in server.bodies} == {0}
    assert {body["model"] for body in server.bodies} == {"m"} and all("seed" in body for body in server.bodies)
    assert all(len(found) == 3 for found in outcome.accepted.values())
    for facts, found in outcome.accepted.items():
        assert [caption.used for caption in found] == [facts] * 3
        assert all(check(caption.text, facts, facts).accepted for caption in found)
    assert (outcome.tokens_in, outcome.tokens_out) == (700 * 5, 90 * 5)
    assert (outcome.retried, outcome.replaced) == (0, 0)


def test_a_slow_server_is_asked_by_several_but_no_more_than_allowed(tmp_path: Path) -> None:
    def slow(body: dict[str, Any], number: int) -> Answer:
        time.sleep(0.1)
        return good(body, number)

    with serving(slow) as server:
        outcome, _ = ask(server, tmp_path, parallel=2)
    assert outcome.paraphrases == 15 and server.most_at_once == 2


def test_errors_of_the_server_are_waited_out(tmp_path: Path) -> None:
    """Each kind of error once, then the answer; nothing is lost and nothing counted twice."""
    seen: Counter[tuple[str, ...]] = Counter()
    kinds: list[Answer] = [
        (429, {"Retry-After": "0"}, b"slow down"),
        (500, {}, b"oops"),
        (503, {}, b""),
        (200, {}, b"{broken"),
        (200, {}, json.dumps({"choices": []}).encode()),
    ]

    def flaky(body: dict[str, Any], number: int) -> Answer:
        facts = facts_of(body)
        seen[facts] += 1
        return kinds[seen[facts] - 1] if seen[facts] <= len(kinds) else good(body, number)

    with serving(flaky) as server:
        outcome, _ = ask(server, tmp_path)
    assert outcome.paraphrases == 15 and outcome.calls == 5 and len(server.bodies) == 30


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_all_threads_back(tmp_path: Path, as_date: bool) -> None:
    def once(body: dict[str, Any], number: int) -> Answer:
        if number == 0:
            # a date has whole seconds
            when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if as_date else "1"
            return 429, {"Retry-After": when}, b""
        return good(body, number)

    with serving(once) as server:
        outcome, _ = ask(server, tmp_path, SETS[:2], parallel=1)
    assert outcome.paraphrases == 6
    assert server.times[1] - server.times[0] >= 0.95


def test_a_server_that_asks_for_an_hour_is_not_waited_for(tmp_path: Path) -> None:
    with (
        serving(lambda *_: (429, {"Retry-After": "3600"}, b"quota")) as server,
        pytest.raises(ModelError, match=r"3600 s .*quota.*is kept"),
    ):
        ask(server, tmp_path)


def test_a_server_that_stays_broken_ends_the_run_with_what_it_said(tmp_path: Path) -> None:
    with (
        serving(lambda *_: (500, {}, b"the disk is full")) as server,
        pytest.raises(ModelError, match=r"failed 3 times.*HTTP 500: the disk is full.*templates alone"),
    ):
        ask(server, tmp_path, tries=3)


def test_a_hang_ends_by_the_timeout_and_a_drip_too(tmp_path: Path) -> None:
    hung = threading.Event()

    def hang(body: dict[str, Any], number: int) -> Answer:
        if number == 0:
            hung.wait(10)
        return good(body, number)

    with serving(hang) as server:
        started = time.monotonic()
        outcome, _ = ask(server, tmp_path, SETS[:1], timeout=0.3)
        assert outcome.paraphrases == 3 and time.monotonic() - started < 3
        hung.set()

    class Drip:
        def iter_content(self, _: int) -> Any:
            while True:
                time.sleep(0.05)
                yield b" "

    model = Endpoint(Options("m", url="http://127.0.0.1/v1/chat/completions", timeout=0.2))
    with pytest.raises(client._Again, match="not complete after"):
        model._read(Drip(), time.monotonic() + 0.2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "set SLAP_LLM_KEY"), (404, "SLAP_LLM_MODEL='m'"), (400, "not understood"), (307, "points elsewhere")],
)
def test_a_refusal_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, message: str) -> None:
    monkeypatch.delenv("SLAP_LLM_KEY", raising=False)
    headers = {"Location": "http://example.org/"} if status == 307 else {}
    with serving(lambda *_: (status, headers, b"no")) as server, pytest.raises(ModelError, match=message):
        ask(server, tmp_path, parallel=1)
    assert len(server.bodies) == 1


def test_the_key_comes_from_the_environment_and_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLAP_LLM_KEY", "very-secret")
    with serving() as server:
        ask(server, tmp_path, SETS[:1])
    assert server.headers[0]["Authorization"] == "Bearer very-secret"
    assert b"very-secret" not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    with (
        serving(lambda *_: (401, {}, b"bad key very-secret")) as server,
        pytest.raises(ModelError, match=r"bad key \*\*\*") as caught,
    ):
        ask(server, tmp_path / "other", SETS[:1])
    assert "very-secret" not in str(caught.value)


def test_without_a_key_nothing_of_netrc_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("SLAP_LLM_KEY", raising=False)
    with serving() as server:
        ask(server, tmp_path, SETS[:1])
    assert "Authorization" not in server.headers[0]


# Answers that are wrong


def test_two_descriptions_are_completed_and_five_cut(tmp_path: Path) -> None:
    def miscounted(body: dict[str, Any], number: int) -> Answer:
        if "refused" in body["messages"][-1]["content"]:
            return good(body, number)
        return completion(right(facts_of(body), 2 if "sex=female" in facts_of(body) else 5))

    with serving(miscounted) as server:
        outcome, _ = ask(server, tmp_path)
    assert all(len(found) == 3 for found in outcome.accepted.values())
    assert (outcome.retried, outcome.replaced, outcome.refused) == (2, 0, {"count": 2})
    assert len(server.bodies) == 5 + 2
    again = [body for body in server.bodies if len(body["messages"]) > 4]
    assert all(wanted(body) == 1 and "there were 2 descriptions" in body["messages"][-1]["content"] for body in again)


@pytest.mark.parametrize(
    "content",
    ["", "I am sorry, but I cannot help.", '{"descriptions": [', '{"descriptions": [1, 2, 3]}', "[]", "[" * 100_000],
)
def test_an_answer_that_holds_nothing_is_asked_for_twice_more_then_replaced(tmp_path: Path, content: str) -> None:
    with serving(lambda *_: completion(content)) as server:
        outcome, _ = ask(server, tmp_path, SETS[:1])
    assert len(server.bodies) == run.ROUNDS == 3
    assert (outcome.paraphrases, outcome.replaced) == (0, 3)
    assert "no JSON" in server.bodies[1]["messages"][-1]["content"]


def test_json_in_a_code_block_is_read(tmp_path: Path) -> None:
    def fenced(body: dict[str, Any], _: int) -> Answer:
        texts = json.dumps({"descriptions": right(facts_of(body), 3)})
        return completion(f"Sure! Here they are:\n```json\n{texts}\n```\nDo you want more?")

    with serving(fenced) as server:
        outcome, _ = ask(server, tmp_path)
    assert outcome.paraphrases == 15


def test_invented_facts_are_refused_with_the_reason_and_asked_again(tmp_path: Path) -> None:
    wrong = [
        "An elderly woman lives with depression and arthritis.",
        "An elderly woman lives with severe depression.",
        "An 81-year-old woman lives with depression.",
    ]

    def inventive(body: dict[str, Any], number: int) -> Answer:
        return good(body, number) if "refused" in body["messages"][-1]["content"] else completion(wrong)

    with serving(inventive) as server:
        outcome, _ = ask(server, tmp_path, SETS[:1])
    told = server.bodies[1]["messages"][-1]["content"]
    assert all(word in told for word in ("arthritis", "severe", "81", "no severity is known"))
    assert (outcome.retried, outcome.replaced, outcome.paraphrases) == (3, 0, 3)
    assert not {caption.text for caption in outcome.accepted[SETS[0].facts]} & set(wrong)


def test_what_stays_wrong_is_replaced(tmp_path: Path) -> None:
    """One right description in each answer, and an echo of an id that the model cannot have from us."""

    def half(body: dict[str, Any], _: int) -> Answer:
        return completion([right(facts_of(body), 1)[0], "Speaker androids:P017 is an elderly depressed woman.", ""])

    with serving(half) as server:
        outcome, _ = ask(server, tmp_path, SETS[:1])
    assert (outcome.paraphrases, outcome.replaced) == (1, 2)
    assert "P017" not in str(outcome.accepted)
    assert outcome.refused["twice"] == 2


# What leaves the machine


def test_no_id_age_date_or_free_text_leaves(tmp_path: Path) -> None:
    """Everything that is sent of facts with traps in them, searched as bytes."""
    import polars as pl

    secret = ["P017_Rossi", "androids:spk_8841", "1957-03-11", "i come from Anna's farm", "mario rossi", "67", "phq9"]
    facts = [
        "accent=i come from Anna's farm",
        "accent=mario rossi",
        "age=older",
        "age=67",
        "birth_year=1957-03-11",
        "comorbidity=mario rossi",
        "depression=present",
        "depression_severity=moderate",
        "diagnosis_text=androids:spk_8841",
        "phq9=14",
        "sex=female",
    ]
    pl.DataFrame(
        {
            "utt_id": ["P017_Rossi", "androids:spk_8841"],
            "corpus": ["androids", "androids"],
            "split": ["train", "train"],
            "fact_hash": ["a", "b"],
            "facts": [facts, ["accent=scottish", "language=en", "sex=male"]],
        }
    ).write_parquet(tmp_path / "facts.parquet")
    sets = run.fact_sets(tmp_path / "facts.parquet", ["androids"])
    with serving() as server:
        outcome, _ = ask(server, tmp_path, sets)
    assert outcome.paraphrases == 6
    everything = b"\n".join(server.raw).decode() + "\n".join(str(headers) for headers in server.headers)
    assert [word for word in secret if word.casefold() in "\n".join(r.decode() for r in server.raw).casefold()] == []
    assert "spk" not in everything and "androids" not in everything
    digits = [number for raw in server.raw for number in re.findall(r"\d+", _without_counts(raw))]
    assert digits == []
    assert sorted(facts_of(body) for body in server.bodies) == [
        ("accent=scottish", "language=en", "sex=male"),
        ("age=older", "depression=present", "depression_severity=moderate", "sex=female"),
    ]


def _without_counts(raw: bytes) -> str:
    """What the messages say, without the numbers of the rules themselves."""
    from pipelines.paraphrase.prompt import _prompts

    messages = json.loads(raw.partition(b"\n")[2])["messages"]
    rules = _prompts()["rules"].strip().format(n=3, language="English")
    return "\n".join(message["content"].replace(rules, "") for message in messages)


# Resuming, pace and money


def test_an_answered_question_is_never_asked_again(tmp_path: Path) -> None:
    with serving() as server:
        first, _ = ask(server, tmp_path)
        second, cache = ask(server, tmp_path)
        assert (first.calls, second.calls, second.kept_calls) == (5, 0, 5) and len(server.bodies) == 5
        assert second.accepted == first.accepted
        other, _ = Cache(tmp_path, "m", 1, "en"), Cache(tmp_path, "n", 0, "en")
        questions = run.first_questions(SETS, 0)
        assert [cache.get(q) is None for q in questions] == [False] * 5
        assert [other.get(q) is None for q in questions] == [True] * 5
        for file in cache.folder.glob("*.json"):
            file.write_text(file.read_text()[:40])  # half a file, as a broken disk leaves it
        third, _ = ask(server, tmp_path)
        assert third.calls == 5 and third.accepted == first.accepted


SCRIPT = """
import sys
from pathlib import Path
from pipelines.paraphrase import run
from pipelines.paraphrase.cache import Cache
from pipelines.paraphrase.client import Endpoint
from pipelines.paraphrase.options import Options
from tests.paraphrase.test_http import SETS
options = Options("m", url=sys.argv[1] + "/chat/completions", parallel=1, timeout=60)
run.paraphrase(SETS, Endpoint(options), options, Cache(Path(sys.argv[2]), "m", 0, "en"), seed=0)
"""


def test_a_killed_run_goes_on_without_a_paid_call_twice(tmp_path: Path) -> None:
    answered: Counter[tuple[str, ...]] = Counter()
    killed, reached = threading.Event(), threading.Event()

    def held(body: dict[str, Any], number: int) -> Answer:
        if number == 3:
            reached.set()
            killed.wait(60)
        answered[facts_of(body)] += 1
        return good(body, number)

    with serving(held) as server:
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, server.url, str(tmp_path)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert reached.wait(60)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        kept = sorted((tmp_path / "paraphrases").glob("*.json"))
        assert len(kept) == 3 and child.returncode == -signal.SIGKILL
        half = tmp_path / "paraphrases" / f".{kept[0].name}.123.tmp"
        half.write_text('{"reply": "')  # what a kill in the middle of a write leaves
        paid = dict(answered)
        killed.set()
        outcome, _ = ask(server, tmp_path, parallel=1)
    assert (outcome.calls, outcome.kept_calls, outcome.paraphrases) == (2, 3, 15)
    assert all(answered[facts] == 1 for facts in paid)


def test_a_failed_run_keeps_what_was_answered(tmp_path: Path) -> None:
    def breaks(body: dict[str, Any], number: int) -> Answer:
        return good(body, number) if number < 3 else (400, {}, b"no more")

    with serving(breaks) as server, pytest.raises(ModelError):
        ask(server, tmp_path, parallel=1)
    with serving() as server:
        outcome, _ = ask(server, tmp_path)
    assert (outcome.calls, outcome.kept_calls) == (2, 3)


def test_pace_keeps_requests_and_tokens_of_a_minute_below_the_limit() -> None:
    """A simulated hour of many threads: in no window of 60 s more than was allowed."""
    now, sent, rng = 0.0, [], random.Random(0)
    pace = Pace(10, 5000, clock=lambda: now)
    while now < 3600:
        tokens = rng.randint(100, 1500)
        while (delay := pace.delay(tokens)) > 0:
            now += delay
        sent.append((now, tokens))
        now += rng.random()
    for start, _ in sent:
        window = [tokens for when, tokens in sent if start <= when < start + 60]
        assert len(window) <= 10 and sum(window) <= 5000
    assert len(sent) > 300  # and it does not dawdle: 5000 tokens are about 6 requests a minute
    assert pace.delay(10**9) > 0
    now += 61
    assert pace.delay(10**9) == 0  # larger than the limit: alone
    pace.pause(7)
    assert pace.delay(1) == pytest.approx(7)


def test_the_limit_on_requests_holds_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Pace", lambda *limits: Pace(*limits, clock=lambda: 60 * time.monotonic()))
    with serving() as server:  # a second is a minute
        outcome, _ = ask(server, tmp_path, requests_per_minute=2)
    assert outcome.paraphrases == 15
    assert server.times[2] - server.times[0] > 0.9 and server.times[4] - server.times[2] > 0.9


def test_the_estimate_is_near_and_the_budget_holds(tmp_path: Path) -> None:
    chosen = Options("m", url="http://127.0.0.1/", price_in=2.0, price_out=8.0, budget=0.0001)
    cache = Cache(tmp_path, "m", 0, "en")
    expected = run.estimate(run.first_questions(SETS, 0), cache, chosen)
    assert (expected.calls, expected.kept) == (5, 0) and expected.cost is not None
    assert expected.cost == pytest.approx((expected.tokens_in * 2 + expected.tokens_out * 8) / 1e6)
    with pytest.raises(BudgetError, match=r"5 calls.*SLAP_LLM_BUDGET=0\.0001"):
        run.refuse_above_budget(expected, chosen)
    with serving() as server:
        with pytest.raises(BudgetError):
            ask(server, tmp_path, price_in=2.0, price_out=8.0, budget=0.0001)
        assert server.bodies == []
        outcome, _ = ask(server, tmp_path, price_in=2.0, price_out=8.0, budget=1.0)
        after = run.estimate(run.first_questions(SETS, 0), cache, chosen)
    assert (after.calls, after.cost) == (0, 0.0)
    # four letters a token: within a third of what a real answer of this length has (its texts, and the JSON about them)
    letters = sum(len(json.dumps({"descriptions": [c.text for c in found]})) for found in outcome.accepted.values())
    assert expected.tokens_out / 1.5 < letters / 4 < expected.tokens_out * 1.5


def test_retries_stop_at_the_budget(tmp_path: Path) -> None:
    with serving(lambda *_: completion("nothing")) as server:
        first = run.estimate(
            run.first_questions(SETS, 0), Cache(tmp_path, "m", 0, "en"), Options("m", price_in=2.0, price_out=8.0)
        )
        assert first.cost is not None
        with pytest.raises(BudgetError, match="next 5 calls"):
            ask(server, tmp_path, price_in=2.0, price_out=8.0, budget=first.cost * 1.5)
    assert len(server.bodies) == 5
