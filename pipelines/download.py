"""Download a corpus as its owners release it: ``slap download``.

The addresses are data, in ``corpora/downloads.toml``. What is fetched waits in ``<raw>/.download/<corpus>/`` until it
is whole, checked and unpacked; only then it is moved into ``<raw>/<corpus>/``. So a recipe never sees half an archive,
and a download that was stopped, or broke off, goes on where it was. ``state.json`` beside it says what is done.
"""

from __future__ import annotations

import difflib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import click
import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from pipelines.corpora._base import Corpus, Licence
from pipelines.ingest import SYNTHETIC
from pipelines.unpack import (
    CHUNK,
    ArchiveError,
    NoSpaceError,
    free_space,
    merge,
    only_folder,
    progress_bar,
    size_text,
    unpack,
    unpack_pieces,
)

TABLE = Path(__file__).parent / "corpora" / "downloads.toml"
HIDDEN = ".download"  # folder in <raw> for what is not complete
TIMEOUT = (15, 60)  # seconds to connect, and to wait for the next bytes
WAITS = (1, 2, 4, 8, 16, 32, 60, 60)  # seconds before each new try
LONGEST_WAIT = 300  # that a server may ask for with Retry-After
RETRIED = {408, 425, 429, 500, 502, 503, 504}

T = TypeVar("T")


class DownloadError(ValueError):
    """A download that cannot go on; the message says what was wrong and what to do."""


class _Broken(Exception):
    """A transfer that broke off and may be tried again."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait  # seconds, where the server asks for them


@dataclass(frozen=True)
class File:
    """One file of a corpus to fetch; see the head of ``downloads.toml``."""

    name: str
    url: str = ""
    parts: tuple[str, ...] = ()
    needed: bool = False
    unpack: bool = False
    strip: bool = False
    pieces: str = ""
    gb: float | None = None
    md5: str = ""
    sha256: str = ""

    @property
    def urls(self) -> tuple[str, ...]:
        """Its address, or those of its parts in order."""
        return self.parts or (self.url,)


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from: files to fetch, and what its user has to do (all of it, where there are no files)."""

    files: tuple[File, ...] = ()
    access: tuple[str, ...] = ()


def sources(table: Path = TABLE) -> dict[str, Source]:
    """Read the table of downloads.

    Raises:
        DownloadError: a key that is not known, or a file without address; the message names it.
    """
    known = {entry.name for entry in fields(File)}
    found = {}
    for corpus, entry in tomllib.loads(table.read_text("utf-8")).items():
        files = []
        for row in entry.get("files", ()):
            unknown = set(row) - known
            urls = [row["url"]] if "url" in row else row.get("parts", [])
            if unknown or not urls or not all(urlsplit(url).scheme in ("http", "https") for url in urls):
                wrong = f"unknown {', '.join(sorted(unknown))}" if unknown else "no http(s) address"
                raise DownloadError(f"{table.name}: [{corpus}] {row.get('name', '?')}: {wrong}")
            if not row.get("name") or Path(row["name"]).name != row["name"]:
                raise DownloadError(f"{table.name}: [{corpus}]: a file needs a name that is no path")
            files.append(File(**{**row, "parts": tuple(row.get("parts", ()))}))
        found[corpus] = Source(tuple(files), tuple(entry.get("access", ())))
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean x?`` where a known name is near, else the known names."""
    known = list(known)
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def choose(source: Source, only: Sequence[str]) -> list[File]:
    """The files of a corpus that are asked for by name and those always needed; all where none is named.

    Raises:
        DownloadError: a name that the corpus does not have.
    """
    by_name = {file.name: file for file in source.files}
    for name in only:
        if name not in by_name:
            raise DownloadError(f"--only {name}: no such file{nearest(name, by_name)}")
    return [file for file in source.files if not only or file.needed or file.name in only]


def terms(corpus: Corpus) -> str:
    """The licence of a corpus as its user has to see it before a download."""
    licence: Licence = corpus.licence
    lines = {
        "homepage": corpus.homepage or "none",
        "licence": licence.name,
        "terms": licence.url,
        "passing on": "allowed under the licence" if licence.may_redistribute else "not allowed",
        "consent": licence.consent or "UNKNOWN",
        "cite": corpus.citation,
    }
    body = (_wrapped(f"{key:10s}  ", value, hanging=12) for key, value in lines.items())
    return "\n".join((corpus.title, *body))


def access_steps(corpus: Corpus, source: Source, folder: Path) -> str:
    """How to get a corpus that cannot be downloaded for its user, as numbered steps."""
    fill = {"{folder}": str(folder), "{homepage}": corpus.homepage, "{licence_url}": corpus.licence.url}
    steps = []
    for number, text in enumerate(source.access, start=1):
        for key, value in fill.items():
            text = text.replace(key, value)
        steps.append(_wrapped(f"{number}. ", text, hanging=3))
    return "\n".join(steps)


def _wrapped(head: str, text: str, hanging: int) -> str:
    """Text of 100 columns with a hanging indent; its lines after the first are commands and stay whole."""
    text, *commands = text.strip().split("\n")
    blank = " " * (hanging + 2)
    wrapper = textwrap.TextWrapper(
        width=100,
        initial_indent=f"  {head}",
        subsequent_indent=blank,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join((wrapper.fill(text), *(f"{blank}  {command.strip()}" for command in commands)))


class _Session(requests.Session):
    """A session that follows redirects only over https, or on the same host."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            new, old = urlsplit(urljoin(resp.url, target)), urlsplit(resp.url)
            stays = (new.scheme, new.netloc) == (old.scheme, old.netloc)
            if new.scheme != "https" and not stays:
                raise DownloadError(f"{old.netloc} redirects to {new.geturl()}, which is not https: not followed")
        return target


@dataclass
class Download:
    """One download of a corpus into ``<raw>/<corpus>/``.

    `wait` and `free` are there to be replaced in tests.
    """

    corpus: Corpus
    files: list[File]
    raw: Path
    say: Callable[[str], object] = print
    wait: Callable[[float], object] = time.sleep
    free: Callable[[Path], int] = free_space
    session: requests.Session = field(default_factory=_Session)

    def __post_init__(self) -> None:
        """Ask for bytes as they are: a length is only good for what is not compressed on the way."""
        self.session.headers.update({"Accept-Encoding": "identity", "User-Agent": "slap-download"})

    @property
    def folder(self) -> Path:
        """Where the recipe looks for the corpus."""
        return self.raw / self.corpus.name

    @property
    def hidden(self) -> Path:
        """Where its files wait until they are complete."""
        return self.raw / HIDDEN / self.corpus.name

    @functools.cached_property
    def state(self) -> dict[str, Any]:
        """What is done: the accepted licence, and per file its address, size and sha256."""
        path = self.hidden / "state.json"
        try:
            state: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):  # nothing was downloaded yet
            state = {}
        if "files" in state and not (self.folder.is_dir() and any(self.folder.iterdir())):
            state["files"] = {}  # removed by hand: all over again
        return state

    @property
    def missing(self) -> list[File]:
        """The files that are not in place."""
        done = self.state.get("files", {})
        return [file for file in self.files if done.get(file.name, {}).get("urls") != list(file.urls)]

    @property
    def accepted(self) -> bool:
        """Whether the user accepted this very licence at an earlier download."""
        return bool(self.state.get("licence") == [self.corpus.licence.name, self.corpus.licence.url])

    def check_folder(self) -> None:
        """Refuse a folder that holds something else.

        Raises:
            DownloadError: it is a file or below one, or it holds a miniature, or files that were not downloaded here.
        """
        elsewhere = "name another folder with --to (or SLAP_RAW)"
        for path in (self.folder, *self.folder.parents):
            if path.exists() and not path.is_dir():
                raise DownloadError(f"{path} is a file, not a folder: {elsewhere}")
        if (self.folder / SYNTHETIC).is_file():
            raise DownloadError(f"{self.folder} holds the demo's made-up speakers: {elsewhere}")
        if "files" not in self.state and self.folder.is_dir() and any(self.folder.iterdir()):
            raise DownloadError(
                f"{self.folder} holds files that were not downloaded by this command: move them away, or {elsewhere}"
            )

    def run(self) -> None:
        """Fetch, check and put in place all files that are missing. The licence must have been accepted.

        Raises:
            DownloadError: see its message; what is complete stays, the next call goes on from there.
        """
        self.check_folder()
        with self._told(), self._alone():
            lengths = self._plan()
            self.state.setdefault("files", {})
            self.state["licence"] = [self.corpus.licence.name, self.corpus.licence.url]
            self.state.setdefault("accepted", datetime.now(UTC).isoformat(timespec="seconds"))
            self._save()
            for file in self.missing:
                self._get(file, lengths[file.name])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep a second download of the same corpus out."""
        self.hidden.mkdir(parents=True, exist_ok=True)
        with (self.hidden / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DownloadError(f"another download of {self.corpus.name} into {self.raw} is running") from error
            except OSError:
                pass  # a file system without locks: then the user has to take care
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn errors of the system into messages for the user."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadError(
                    f"the disk of {self.raw} is full ({size_text(self.free(self.raw))} free): make room and run the "
                    "same command again; it goes on where it stopped"
                ) from error
            raise DownloadError(f"{error.filename or self.raw}: {error.strerror or error}") from error

    def _save(self) -> None:
        temporary = self.hidden / "state.json.tmp"
        temporary.write_text(json.dumps(self.state, indent=1), "utf-8")
        os.replace(temporary, self.hidden / "state.json")

    # -- before anything is fetched -------------------------------------------------------------------------------

    def _plan(self) -> dict[str, list[int | None]]:
        """Ask for the length of every file, show it, and compare it with the free space."""
        lengths: dict[str, list[int | None]] = {}
        fetch = needed = 0
        unknown = False
        for file in self.missing:
            whole = self.hidden / file.name
            if whole.is_file():
                lengths[file.name], size = [None] * len(file.urls), whole.stat().st_size
                had = size
            else:
                lengths[file.name] = [self._length(url, file) for url in file.urls]
                known = [length for length in lengths[file.name] if length is not None]
                size = sum(known) if len(known) == len(file.urls) else round((file.gb or 0) * 1e9)
                parts = zip(self._partials(file), file.urls, strict=True)
                had = sum(_size(part) for part, url in parts if _read_note(part, url))
            told = f"about {size_text(size)}" if None in lengths[file.name] else size_text(size)
            self.say(f"  {file.name}  {told if size else 'size unknown'}" + (f", {size_text(had)} here" if had else ""))
            unknown |= not size
            fetch += max(size - had, 0)
            needed += max(size - had, 0) + (size if file.unpack or file.parts else 0)
        free = self.free(self.raw)
        if needed > free:
            others = [file.name for file in self.files] if len(self.files) > 1 else []
            fewer = f", or take fewer files with --only ({', '.join(others)})" if others else ""
            raise DownloadError(
                f"{self.corpus.name} needs {size_text(needed)} in {self.raw} ({size_text(fetch)} to download, the rest "
                f"to unpack), and {size_text(free)} are free: make room, name another folder with --to{fewer}"
            )
        more = " and what is not known" if unknown else ""
        self.say(
            f"  to download {size_text(fetch)}, with unpacking {size_text(needed)}{more}; free {size_text(free)}\n"
        )
        return lengths

    def _length(self, url: str, file: File) -> int | None:
        """The length that the server announces, or None."""

        def ask() -> int | None:
            with closing(self._request(url, {})) as response:
                if response.status_code != HTTPStatus.OK:
                    self._refuse(response, url)
                self._refuse_page(response, file)
                return _announced(response)

        return self._retry(ask, file.name, WAITS[:3])

    # -- one file -------------------------------------------------------------------------------------------------

    def _partials(self, file: File) -> list[Path]:
        return [self.hidden / f"{file.name}.{number}.part" for number in range(len(file.urls))]

    def _get(self, file: File, lengths: Sequence[int | None]) -> None:
        """Fetch one file, check it, and put it (or what is in it) in place."""
        whole = self.hidden / file.name
        if not whole.is_file():
            partials = self._partials(file)
            for number, (url, partial, length) in enumerate(zip(file.urls, partials, lengths, strict=True), start=1):
                name = file.name if len(partials) == 1 else f"{file.name}, part {number} of {len(partials)}"
                transfer = functools.partial(self._transfer, url, partial, file, name, length)
                self._retry(transfer, name, WAITS, functools.partial(_size, partial))
            _join(partials)
            digests = self._check(file, partials[0])
            os.replace(partials[0], whole)
            for partial in partials:
                _note(partial).unlink(missing_ok=True)
        else:
            digests = self._check(file, whole)
        size = whole.stat().st_size
        self.folder.mkdir(parents=True, exist_ok=True)
        if file.unpack:
            self._unpack(file, whole)
        else:
            os.replace(whole, self.folder / file.name)
        self.state["files"][file.name] = {
            "urls": list(file.urls),
            "bytes": size,
            "sha256": digests,
            "done": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._save()
        (self.hidden / f"{file.name}.wrong").unlink(missing_ok=True)
        checked = "checksum right" if file.md5 or file.sha256 else "no checksum of the owners is known"
        self.say(f"  {file.name}: {'unpacked' if file.unpack else 'in place'} ({checked})")

    def _retry(
        self, action: Callable[[], T], name: str, waits: Sequence[float], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Run ``action`` until it does not break off; tries are counted anew whenever it came further."""
        failures, furthest = 0, progress()
        while True:
            try:
                return action()
            except _Broken as error:
                if progress() > furthest:
                    failures, furthest = 0, progress()
                if failures == len(waits):
                    raise DownloadError(
                        f"{name}: {error}. Tried {failures + 1} times. Check the network (behind a proxy: set "
                        "HTTPS_PROXY) and run the same command again: it goes on where it stopped"
                    ) from error
                pause = waits[failures] if error.wait is None else min(max(error.wait, 0), LONGEST_WAIT)
                failures += 1
                self.say(f"  {name}: {error}; trying again in {pause:g} s ({failures} of {len(waits)})")
                self.wait(pause)

    def _request(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            response = self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.exceptions.SSLError as error:
            host = urlsplit(url).netloc
            raise DownloadError(f"the certificate of {host} cannot be checked: not downloaded ({error})") from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _Broken(f"no connection to {urlsplit(url).netloc}") from error
        except requests.RequestException as error:
            raise DownloadError(f"{url}: {error}") from error
        if response.status_code in RETRIED:
            response.close()
            asked = response.headers.get("Retry-After", "")
            raise _Broken(f"the server answers {_status(response)}", float(asked) if asked.isdecimal() else None)
        return response

    def _refuse(self, response: requests.Response, url: str) -> None:
        """Say what a final answer of the server means."""
        page = self.corpus.homepage or self.corpus.licence.url
        if response.status_code in (401, 403):
            meaning = f"the server refuses it; it may ask for an account or a form by now. See {page}"
        elif response.status_code in (404, 410):
            meaning = (
                f"the owners have moved or removed it. See {page}, and correct the address in {TABLE.name} "
                "or tell the project"
            )
        else:
            meaning = f"see {page}"
        raise DownloadError(f"{url} answers {_status(response)}: {meaning}")

    def _refuse_page(self, response: requests.Response, file: File) -> None:
        if response.headers.get("Content-Type", "").startswith("text/html"):
            page = self.corpus.homepage or self.corpus.licence.url
            raise DownloadError(
                f"{response.url} answers with a web page and not with the file: it may have moved, or ask for a login. "
                f"See {page}"
            )

    def _transfer(self, url: str, partial: Path, file: File, name: str, length: int | None) -> None:
        """One try: ask for what is missing of ``partial`` and append it."""
        note = _read_note(partial, url)
        have = _size(partial) if note else 0
        total = note.get("total")
        if have and have == total:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and note.get("validator"):
            headers["If-Range"] = note["validator"]
        with closing(self._request(url, headers)) as response:
            if have and response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if _range_total(response) == have:
                    return
                _forget(partial)
                raise _Broken("the server has another file by now: starting again", 0)
            if have and response.status_code == HTTPStatus.PARTIAL_CONTENT:
                if _range_start(response) != have or (total and _range_total(response) not in (total, None)):
                    _forget(partial)
                    raise _Broken("the server has another file by now: starting again", 0)
                total = _range_total(response) or total
            elif response.status_code == HTTPStatus.OK:
                if have:
                    self.say(f"  {name}: the server does not go on in the middle: from the start")
                have, total = 0, _announced(response)
            else:
                self._refuse(response, url)
            self._refuse_page(response, file)
            validator = response.headers.get("ETag", "")
            if not validator or validator.startswith("W/"):
                validator = response.headers.get("Last-Modified", "")
            _note(partial).write_text(json.dumps({"url": url, "total": total, "validator": validator}), "utf-8")
            if have == 0:
                partial.write_bytes(b"")
            self._receive(response, partial, file, name, have, total or length)
        if total is not None and _size(partial) != total:
            short = _size(partial) < total
            got = f"{size_text(_size(partial))} of {size_text(total)}"
            if not short:
                _forget(partial)
            raise _Broken(f"the connection ended after {got}")

    def _receive(
        self, response: requests.Response, partial: Path, file: File, name: str, have: int, total: int | None
    ) -> None:
        compressed = response.headers.get("Content-Encoding", "identity") != "identity" and not file.unpack
        with partial.open("ab") as out, progress_bar(name, total, have) as bar:
            try:
                for data in response.raw.stream(CHUNK, decode_content=compressed):
                    out.write(data)
                    bar.update(len(data))
            except HTTPError as error:
                out.flush()
                whole = "" if total is None else f" of {size_text(total)}"
                raise _Broken(f"the connection broke after {size_text(_size(partial))}{whole}") from error

    def _check(self, file: File, path: Path) -> str:
        """The sha256 of a file, which is set aside where a published checksum differs."""
        digests = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
        with path.open("rb") as opened, progress_bar(f"{file.name}: checking", path.stat().st_size) as bar:
            while data := opened.read(CHUNK):
                for digest in digests.values():
                    digest.update(data)
                bar.update(len(data))
        for kind, digest in digests.items():
            expected = cast(str, getattr(file, kind)).casefold()
            if expected and digest.hexdigest() != expected:
                raise DownloadError(
                    f"{file.name}: wrong {kind} {digest.hexdigest()}, the owners say {expected}. {self._aside(file)}"
                )
        return digests["sha256"].hexdigest()

    def _aside(self, file: File) -> str:
        """Set a bad file aside and say so."""
        wrong = self.hidden / f"{file.name}.wrong"
        for path in (self.hidden / file.name, self._partials(file)[0]):
            if path.is_file():
                os.replace(path, wrong)
        for partial in self._partials(file):
            _forget(partial)
        return f"It was kept as {wrong}, not used; run the same command again to download it anew"

    def _unpack(self, file: File, archive: Path) -> None:
        """Unpack beside, and move what came out into the corpus' folder."""
        staging = self.hidden / "unpacking"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            left_out = unpack(archive, staging, self.free)
            root = only_folder(staging) if file.strip else staging
            if file.pieces:
                left_out += unpack_pieces(root, root / file.pieces)
            merge(root, self.folder)
        except NoSpaceError as error:
            raise DownloadError(f"{file.name} {error}: make room and run the same command again") from error
        except ArchiveError as error:
            raise DownloadError(f"{file.name}: {error}. {self._aside(file)}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if left_out:
            self.say(f"  {file.name}: {left_out} links inside the archive were left out")
        archive.unlink()


def _status(response: requests.Response) -> str:
    return f"{response.status_code} {response.reason or ''}".strip()


def _announced(response: requests.Response) -> int | None:
    """Content-Length, where it is that of the bytes as they will be written."""
    length = response.headers.get("Content-Length", "")
    encoded = response.headers.get("Content-Encoding", "identity") != "identity"
    return int(length) if length.isdecimal() and not encoded else None


def _range(response: requests.Response) -> re.Match[str] | None:
    return re.match(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)$", response.headers.get("Content-Range", ""))


def _range_start(response: requests.Response) -> int | None:
    found = _range(response)
    return int(found[1]) if found and found[1] else None


def _range_total(response: requests.Response) -> int | None:
    found = _range(response)
    return int(found[2]) if found and found[2] else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _note(partial: Path) -> Path:
    """What the server said of a file that is not complete: address, length, version."""
    return partial.with_name(f"{partial.name}.json")


def _read_note(partial: Path, url: str) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(_note(partial).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return note if note.get("url") == url else {}


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _note(partial).unlink(missing_ok=True)


def _join(partials: list[Path]) -> None:
    """Append all parts to the first; each is removed once all are in."""
    if len(partials) == 1:
        return
    first, joined = partials[0], partials[0].with_suffix(".joined")
    with joined.open("wb") as out:
        for partial in partials:
            with partial.open("rb") as opened:
                shutil.copyfileobj(opened, out, CHUNK)
    os.replace(joined, first)
    for partial in partials[1:]:
        partial.unlink()


# -- the command ----------------------------------------------------------------------------------------------------


def listing(recipes: Iterable[Corpus]) -> list[str]:
    """One line a corpus: what `slap download` does for it."""
    known = sources()
    lines = []
    for corpus in recipes:
        source = known.get(corpus.name, Source())
        if source.files:
            gb = sum(file.gb or 0 for file in source.files)
            offer = f"download, about {gb:g} GB" if gb else "download"
            if len(source.files) > 1:
                offer += f" ({', '.join(file.name for file in source.files)})"
        else:
            offer = "by hand" if corpus.licence.access == "open" else f"by hand: {corpus.licence.access}"
        lines.append(f"{corpus.name:24s} {offer}")
    return lines


def from_terminal(corpus: Corpus, raw: Path, only: Sequence[str], accept_licence: bool) -> None:
    """Show the licence, ask, and download; or show how else the corpus is got.

    Raises:
        DownloadError: nothing could be downloaded, or not all.
    """
    source = sources().get(corpus.name, Source())
    raw = raw.resolve()
    folder = raw / corpus.name
    if not source.files:
        click.echo(terms(corpus) + "\n")
        if source.access:
            click.echo("How to get it:\n" + access_steps(corpus, source, folder) + "\n")
        why = "has to be downloaded by hand" if corpus.licence.access == "open" else "cannot be downloaded for you"
        raise DownloadError(f"{corpus.name} {why} (access: {corpus.licence.access}); nothing was downloaded")
    task = Download(corpus, choose(source, only), raw, say=tqdm.write)
    task.check_folder()
    left = f"\nLeft for you to do:\n{access_steps(corpus, source, folder)}" if source.access else ""
    if not task.missing:
        click.echo(f"Nothing to do: {folder} has it all. To download it anew, remove that folder first.{left}")
        return
    click.echo(terms(corpus) + "\n")
    if accept_licence or task.accepted:
        click.echo("The terms are accepted" + ("." if accept_licence else " since the last download."))
    else:
        _ask(corpus)
    click.echo(f"\nTo {folder}:")
    try:
        task.run()
    except KeyboardInterrupt as error:
        raise DownloadError("stopped; run the same command again: it goes on where it stopped") from error
    click.echo(f"\nDone.{left}\nTo use it: SLAP_RAW={raw} make run")


def _ask(corpus: Corpus) -> None:
    click.echo(f"To download it you have to accept the owners' terms at {corpus.licence.url}")
    try:
        accepted = click.confirm("Have you read them, and do you accept them?")
    except click.Abort as error:
        raise DownloadError(
            "nobody to ask: read the terms, then add --accept-licence; nothing was downloaded"
        ) from error
    if not accepted:
        raise DownloadError("the terms were not accepted; nothing was downloaded")
