"""Object storage for tests: moto's server in a process of its own, and a proxy before it that breaks what it is told.

Both listen on loopback only. The proxy counts what it broke, so that a test can say that its fault took place.
"""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Kind = Literal["status", "hang", "cut", "drop", "tear", "halve"]
CHECKSUM = re.compile("content-md5|x-amz-(checksum-|sdk-checksum-|content-sha256|trailer|decoded)", re.IGNORECASE)
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "expect")


@dataclass
class Fault:
    """What happens to the next ``times`` requests whose line ``METHOD /bucket/key?query`` holds ``pattern``.

    ``status`` answers with ``code``; ``hang`` waits ``seconds`` and closes; ``cut`` closes in the middle of the
    answer's body; ``drop`` does what is asked and closes without an answer; ``tear`` passes half of the request's body
    on and closes both connections; ``halve`` passes half of it on as if it were all, as no store should.
    """

    pattern: str
    kind: Kind
    times: int = 1
    code: int = 500
    seconds: float = 3.0
    done: int = 0

    def takes(self, line: str) -> bool:
        """Whether the request is one to break; it is counted then."""
        if self.done >= self.times or not re.search(self.pattern, line):
            return False
        self.done += 1
        return True


@dataclass
class Request:
    """One request that came to the proxy."""

    line: str  # METHOD /bucket/key?query
    range: str  # the header; "" without one
    sent: int  # bytes of the answer's body


@dataclass
class Store:
    """An S3 endpoint that can be made to fail."""

    endpoint: str
    upstream: tuple[str, int]
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    bucket: str = ""  # URL of the bucket of the test at work
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, pattern: str, kind: Kind, times: int = 1, *, code: int = 500, seconds: float = 3.0) -> Fault:
        """Break the next requests of this kind."""
        fault = Fault(pattern, kind, times, code, seconds)
        with self.lock:
            self.faults.append(fault)
        return fault

    def heal(self) -> None:
        """From now on nothing breaks; the list of requests begins anew."""
        with self.lock:
            self.faults.clear()
            self.requests.clear()

    def fault_of(self, line: str) -> Fault | None:
        """The fault that a request meets, if any."""
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(line)), None)


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass_on(self) -> None:
        line = f"{self.command} {self.path}"
        fault = self.store.fault_of(line)
        body = self._body()
        if fault is not None and fault.kind in ("hang", "status"):
            if fault.kind == "hang":
                time.sleep(fault.seconds)
                self.close_connection = True
            else:
                self._answer(fault.code, {"Content-Type": "application/xml"}, _error(fault.code))
            return
        if fault is not None and fault.kind == "tear":
            self._tear(body)
            return
        upstream = http.client.HTTPConnection(*self.store.upstream, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            if fault is not None and fault.kind == "halve":
                body = body[: len(body) // 2]
                headers = {name: value for name, value in headers.items() if not CHECKSUM.match(name)}
            upstream.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
            answer = upstream.getresponse()
            content = answer.read()
            with self.store.lock:
                self.store.requests.append(Request(line, self.headers.get("Range", ""), len(content)))
            if fault is not None and fault.kind == "drop":
                self.close_connection = True
                return
            cut = fault is not None and fault.kind == "cut"
            self._answer(answer.status, dict(answer.getheaders()), content, cut=cut)
        finally:
            upstream.close()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _tear(self, body: bytes) -> None:
        upstream = http.client.HTTPConnection(*self.store.upstream, timeout=30)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP_BY_HOP:
                upstream.putheader(name, value)
        upstream.putheader("Content-Length", str(len(body)))
        upstream.endheaders()
        upstream.send(body[: len(body) // 2])
        upstream.close()
        self.close_connection = True

    def _answer(self, status: int, headers: dict[str, str], content: bytes, *, cut: bool = False) -> None:
        length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in (*HOP_BY_HOP, "date", "server"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        try:
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if cut else content)
        except (BrokenPipeError, ConnectionResetError):  # who asked waits no more
            self.close_connection = True
        self.close_connection |= cut

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on


def _error(code: int) -> bytes:
    name = {500: "InternalError", 503: "SlowDown", 403: "AccessDenied"}[code]
    return f"<?xml version='1.0'?><Error><Code>{name}</Code><Message>injected</Message></Error>".encode()


@contextmanager
def moto() -> Iterator[tuple[str, int]]:
    """Host and port of a `moto_server` in a child process, on a free port of loopback."""
    command = [sys.executable, "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        found = None
        for line in process.stderr:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                break
        assert found, f"moto_server ended with status {process.wait()}"
        drain = threading.Thread(target=process.stderr.read, daemon=True)  # it logs each request
        drain.start()
        yield "127.0.0.1", int(found[1])
    finally:
        process.terminate()
        process.wait()


def make_bucket(store: Store, name: str) -> None:
    """A new bucket, by the way around the proxy."""
    connection = http.client.HTTPConnection(*store.upstream, timeout=60)  # the first request loads the server's S3
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()


@contextmanager
def served() -> Iterator[Store]:
    """moto behind the proxy."""
    with moto() as upstream:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)
        server.daemon_threads = True
        store = Store(f"http://127.0.0.1:{server.server_port}", upstream)
        server.RequestHandlerClass = type("Proxy", (_Proxy,), {"store": store})
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
