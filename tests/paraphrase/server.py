"""A chat endpoint on this machine that answers as well, or as badly, as a test wants."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipelines.captions import render

Answer = tuple[int, dict[str, str], bytes]  # status, headers, body


def facts_of(body: dict[str, Any]) -> tuple[str, ...]:
    """The facts that a request asks about, read from its text as a model would."""
    asked = [m["content"] for m in body["messages"] if m["content"].startswith("Facts:")][-1]
    lines = [line.removeprefix("- ").partition(" (for example")[0] for line in asked.splitlines()[1:]]
    return tuple(sorted(fact for line in lines for fact in line.split(", ")))


def wanted(body: dict[str, Any]) -> int:
    """How many descriptions the last message that names a number asks for."""
    for message in reversed(body["messages"]):
        if found := re.search(r"Write (\d+) (?:new|different) descriptions", message["content"]):
            return int(found[1])
    raise AssertionError("no number of descriptions is asked for")


def right(facts: Sequence[str], n: int, skip: int = 0) -> list[str]:
    """Captions that say all of these facts."""
    whole = [c.text for c in render(facts, 200, 7) if set(c.used) == set(facts)]
    assert len(whole) >= skip + n, facts
    return whole[skip : skip + n]


def completion(texts: Sequence[str] | str, usage: bool = True) -> Answer:
    """A chat completion of these descriptions, or of any text."""
    content = texts if isinstance(texts, str) else json.dumps({"descriptions": texts})
    body: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    if usage:
        body["usage"] = {"prompt_tokens": 700, "completion_tokens": 90}
    return 200, {}, json.dumps(body).encode()


def good(body: dict[str, Any], _: int) -> Answer:
    """What a model that keeps the rules answers; other words when it is asked again."""
    return completion(right(facts_of(body), wanted(body), skip=3 * ("refused" in body["messages"][-1]["content"])))


@dataclass
class Server:
    """What was asked: bodies and headers, in order."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer] = good) -> Iterator[Server]:
    """Serve ``answer(body, number of the request)`` while the context lasts."""
    lock = threading.Lock()
    at_once = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal at_once
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                number = len(server.raw)
                server.raw.append(self.path.encode() + b"\n" + raw)
                server.bodies.append(json.loads(raw))
                server.headers.append(dict(self.headers))
                server.times.append(time.monotonic())
                at_once += 1
                server.most_at_once = max(server.most_at_once, at_once)
            try:
                status, headers, content = answer(json.loads(raw), number)
            finally:
                with lock:
                    at_once -= 1
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up: what these tests are about

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server = Server(f"http://127.0.0.1:{httpd.server_port}/v1")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
