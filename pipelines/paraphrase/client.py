"""Who answers: an OpenAI-compatible endpoint, or a transformers model on this machine."""

from __future__ import annotations

import json
import math
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import requests
from jinja2 import TemplateError
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from pipelines.paraphrase.options import Options
from pipelines.paraphrase.prompt import Question

TEMPERATURE = 0.0
KEY = "SLAP_LLM_KEY"
KEPT = "what was answered is kept. Without SLAP_LLM_MODEL, captions are templates alone"
TRIES = 6  # of one request
FIRST_WAIT = 1.0  # seconds; doubles with each try
LONGEST_WAIT = 300.0  # that a server may ask for with Retry-After
LARGEST_ANSWER = 1_000_000  # bytes
RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}


class ModelError(RuntimeError):
    """A language model that does not answer; the message says what was wrong and what to do."""


@dataclass(frozen=True)
class Reply:
    """The text of an answer, and the tokens that it cost."""

    text: str
    tokens_in: int
    tokens_out: int


Keep = Callable[[int, Reply], None]


class Model(Protocol):
    """Something that answers questions."""

    name: str  # of the model: the source of its captions

    def answer(self, questions: Sequence[Question], seed: int, keep: Keep) -> None:
        """Answer all; ``keep`` is called with a question's number and reply as soon as that is there."""


class Pace:
    """Keeps requests and tokens of the last minute below what was allowed, over all threads."""

    def __init__(
        self,
        requests_per_minute: float = math.inf,
        tokens_per_minute: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = (requests_per_minute, tokens_per_minute)
        self._clock = clock
        self._sent: deque[tuple[float, int]] = deque()
        self._not_before = 0.0
        self._lock = threading.Lock()

    def delay(self, tokens: int) -> float:
        """Seconds to wait before such a request; 0 counts it as sent. A request above the limit goes alone."""
        with self._lock:
            now = self._clock()
            while self._sent and self._sent[0][0] <= now - 60:
                self._sent.popleft()
            if now < self._not_before:
                return self._not_before - now
            spent = sum(earlier for _, earlier in self._sent)
            if self._sent and (len(self._sent) + 1 > self._most[0] or spent + tokens > self._most[1]):
                return max(self._sent[0][0] + 60 - now, 0.01)
            self._sent.append((now, tokens))
            return 0.0

    def pause(self, seconds: float) -> None:
        """Let nobody send before: a server that is overloaded is so for all threads."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)


class _Bearer(AuthBase):
    """The key, if there is one. Without an auth of ours, requests would send what stands in ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if key := os.environ.get(KEY):
            request.headers["Authorization"] = f"Bearer {key}"
        return request


class _Again(Exception):
    """A request that may be sent again, after ``wait`` seconds where the server asks for them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Endpoint:
    """A server that speaks OpenAI's chat protocol.

    Args:
        options: address, model, pace and timeout.
        first_wait: seconds before the second try; doubles with each further one.
        tries: of one request.
    """

    def __init__(self, options: Options, *, first_wait: float = FIRST_WAIT, tries: int = TRIES) -> None:
        self.name = options.model
        self._options, self._first_wait, self._tries = options, first_wait, tries
        self._pace = Pace(options.requests_per_minute, options.tokens_per_minute)
        self._stop = threading.Event()
        self._local = threading.local()

    def answer(self, questions: Sequence[Question], seed: int, keep: Keep) -> None:
        """Answer all, a few at a time; the first that fails for good ends the others.

        Raises:
            ModelError: the server refuses, or stays silent over all tries. What was answered has been kept.
        """
        self._stop.clear()

        def one(number: int) -> None:
            if self._stop.is_set():
                return
            try:
                keep(number, self._ask(questions[number], seed))
            except BaseException:
                self._stop.set()  # here, or the next in the queue would still be sent
                raise

        pool = ThreadPoolExecutor(self._options.parallel, thread_name_prefix="paraphrase")
        try:
            jobs = [pool.submit(one, number) for number in range(len(questions))]
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)

    def _ask(self, question: Question, seed: int) -> Reply:
        body = {
            "model": self.name,
            "messages": list(question.messages),
            "temperature": TEMPERATURE,
            "seed": seed,
            "max_tokens": question.most_tokens,
        }
        reason = ""
        for number in range(self._tries):
            self._wait_turn(question)
            try:
                return self._post(body, question)
            except _Again as error:
                reason = str(error)
                asked = error.wait
            if asked is not None and asked > LONGEST_WAIT:
                raise ModelError(f"{self._who()} asks to wait {asked:.0f} s ({reason}); run again then: {KEPT}")
            if number + 1 < self._tries:
                pause = min(self._first_wait * 2**number, 60.0) * random.uniform(0.75, 1.25)
                if asked is not None:
                    self._pace.pause(asked)
                self._stop.wait(max(pause, asked or 0.0))
            if self._stop.is_set():
                break
        raise ModelError(f"{self._who()} failed {self._tries} times, the last time: {reason}. Run again later: {KEPT}")

    def _wait_turn(self, question: Question) -> None:
        while (seconds := self._pace.delay(question.tokens_in + question.tokens_out)) > 0:
            if self._stop.wait(min(seconds, 1.0)):
                raise ModelError("stopped")

    def _post(self, body: dict[str, Any], question: Question) -> Reply:
        deadline = time.monotonic() + self._options.timeout
        try:
            with self._session().post(
                self._options.url,
                json=body,
                auth=_Bearer(),
                stream=True,
                allow_redirects=False,  # the facts go where the user said, and nowhere else
                timeout=(min(15.0, self._options.timeout), self._options.timeout),
            ) as response:
                content = self._read(response, deadline)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _Again(
                f"{type(error).__name__} (no answer within {self._options.timeout:g} s, or a broken connection)"
            ) from error
        if response.status_code in RETRIED:
            raise _Again(f"HTTP {response.status_code}: {_shown(content)}", _retry_after(response))
        if response.status_code != HTTPStatus.OK:
            raise ModelError(self._refusal(response.status_code, content))
        return _reply(content, question)

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        """The body; a server that drips it is cut off at the deadline."""
        content = b""
        for chunk in response.iter_content(65536):
            content += chunk
            if time.monotonic() > deadline:
                raise _Again(f"the answer was not complete after {self._options.timeout:g} s")
            if len(content) > LARGEST_ANSWER:
                raise ModelError(f"{self._who()} answers with more than {LARGEST_ANSWER} bytes: is it a chat endpoint?")
        return content

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session

    def _who(self) -> str:
        return f"SLAP_LLM_URL {self._options.url}"

    def _refusal(self, status: int, content: bytes) -> str:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            todo = f"set {KEY}" if not os.environ.get(KEY) else f"{KEY} is not accepted"
        elif status == HTTPStatus.NOT_FOUND:
            todo = f"is SLAP_LLM_MODEL={self.name!r} served there, and the address right?"
        elif 300 <= status < 400:
            todo = "it points elsewhere: set SLAP_LLM_URL to the address that answers"
        else:
            todo = "the request is not understood"
        return f"{self._who()}: HTTP {status}: {_shown(content)}; {todo}"


def _shown(content: bytes) -> str:
    """The beginning of what a server says, without the key that it may repeat."""
    text = " ".join(content[:2000].decode("utf-8", "replace").split())
    if key := os.environ.get(KEY):
        text = text.replace(key, "***")
    return text[:200] or "(empty)"


def _retry_after(response: requests.Response) -> float | None:
    """Seconds that the server asks to wait, given as such or as a date."""
    text = response.headers.get("Retry-After", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _reply(content: bytes, question: Question) -> Reply:
    try:
        answer = json.loads(content)
        text = answer["choices"][0]["message"]["content"] or ""
        usage = answer.get("usage") or {}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _Again(f"the body is no chat completion: {_shown(content)}") from error
    if not isinstance(text, str):
        raise _Again("the message's content is no text")
    counts = [usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")]
    known = [count if isinstance(count, int) else None for count in counts]
    return Reply(
        text,
        question.tokens_in if known[0] is None else known[0],
        len(text) // 4 if known[1] is None else known[1],
    )


class Local:
    """A causal language model of transformers: safetensors alone, no code from the model's folder, greedy.

    Args:
        options: ``model`` is a folder, or a name on the Hugging Face hub; ``parallel`` prompts make a batch.
    """

    def __init__(self, options: Options) -> None:
        from slap_model.text import SAFE_FILES

        self._options = options
        folder = Path(options.model)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            try:
                folder = Path(snapshot_download(options.model, allow_patterns=SAFE_FILES))
            except (OSError, ValueError) as error:
                raise ModelError(
                    f"SLAP_LLM_MODEL={options.model!r} is no folder and could not be had from the hub: {error}. "
                    "For an endpoint, set SLAP_LLM_URL too"
                ) from error
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"SLAP_LLM_MODEL={options.model!r}: no *.safetensors in it; pickled weights are not read")
        self._folder = folder
        self.name = options.source

    def answer(self, questions: Sequence[Question], seed: int, keep: Keep) -> None:
        """Answer all, in batches of prompts of about one length; greedy, so the seed has nothing to choose.

        Raises:
            ModelError: the folder holds no model and tokenizer that transformers can load, or a prompt is too long.
        """
        import torch

        tokenizer, model = self._loaded()
        order = sorted(range(len(questions)), key=lambda number: questions[number].tokens_in)
        for batch in _batches(order, self._options.parallel):
            prompts = [_as_text(tokenizer, questions[number]) for number in batch]
            inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
            most = max(questions[number].most_tokens for number in batch)
            length, room = inputs["input_ids"].shape[1], getattr(model.config, "max_position_embeddings", None)
            if room is not None and length + most > room:
                raise ModelError(
                    f"SLAP_LLM_MODEL={self.name!r} reads {room} tokens; a prompt and its answer need {length + most}"
                )
            with torch.inference_mode():
                made = model.generate(
                    **inputs, max_new_tokens=most, do_sample=False, pad_token_id=tokenizer.pad_token_id
                )
            for number, mask, row in zip(batch, inputs["attention_mask"], made[:, length:], strict=True):
                text = tokenizer.decode(row, skip_special_tokens=True)
                written = int((row != tokenizer.pad_token_id).sum())
                keep(number, Reply(text, int(mask.sum()), written))

    def _loaded(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                self._folder, trust_remote_code=False, local_files_only=True, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError, ImportError) as error:
            raise ModelError(f"SLAP_LLM_MODEL={self.name!r} cannot be loaded: {error}") from error
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer, model.train(False).to(torch.device(device))


def _batches(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _as_text(tokenizer: Any, question: Question) -> str:
    messages = list(question.messages)
    if not tokenizer.chat_template:
        return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages) + "\n\nassistant: "
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except TemplateError:  # some models know no system: the user says it
        rules, first, *others = messages
        joined = {"role": "user", "content": f"{rules['content']}\n\n{first['content']}"}
        return str(tokenizer.apply_chat_template([joined, *others], tokenize=False, add_generation_prompt=True))


def model_of(options: Options) -> Model:
    """The model that the options name."""
    return Endpoint(options) if options.url else Local(options)
