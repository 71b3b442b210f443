"""Product files, here or on object storage: written whole or not at all, read by ranges.

A local file is written under a temporary name that says whose it is, and renamed. Object storage has no rename, but
an object appears under its key only when its upload is complete, so there the final key is written at once.

A URL (``s3://bucket/folder``) is a `upath.UPath`, typed as a path. Its names are joined and taken apart like those of
a path; its content is asked for here, because here requests are tried again, time-outs are finite, and what stays an
error becomes a `StoreError`. Credentials and the endpoint come from the environment (``AWS_*``) and nowhere else.
``SLAP_STORE_TIMEOUT`` (60) is how many seconds a request may be without an answer; `patience` follows from it.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import inspect
import io
import os
import re
import secrets
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

# Object stores: an object is there whole or not at all. Driver that fsspec needs, and how to get it.
DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "slap[s3]")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gcsfs")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("adlfs", "adlfs")),
}
PART = 16 * 2**20  # bytes of one part of an upload; four are in flight, so an upload takes 64 MiB of memory
PARTS_AT_ONCE = 4
REQUESTS_AT_ONCE = 16
UPLOADS_OF_A_PAGE = 1000  # the most that S3 lists at once
TRIES = 5  # of a request that is answered with 500 or 503, or whose connection breaks; up to 8 s between them
TRIES_OF_A_BODY = 3  # of an answer that breaks off in the middle, and of a request that was tried `TRIES` times
PAUSES_S = 15.0  # between all tries of a request
ABANDONED_AFTER = timedelta(days=1)  # an upload in parts that nobody has completed by then is of a killed writer

NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
ADVICE = "Free space there, or allow writing, and run again: what is complete stays"

Given = ParamSpec("Given")
Item = TypeVar("Item")
Result = TypeVar("Result")

_DRAFT = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<pid>\d+)\.tmp")


class StoreError(OSError):
    """Files cannot be kept as asked; the message names the place, as bucket and key, and says what to do."""


def place(text: str | Path) -> Path:
    """A folder or file named by a path or the URL of an object store.

    Raises:
        StoreError: no such kind of store, its driver is not installed, or the URL holds a password.
    """
    said = str(text)
    scheme, separator, rest = said.partition("://")
    if not separator:
        return Path(text)
    if scheme in ("file", "local"):
        return Path(rest)
    if "@" in urlsplit(said).netloc:
        raise StoreError(f"{scheme}://...: a URL with a user or a password in it ends in logs; set AWS_* instead")
    if scheme not in DRIVERS:
        raise StoreError(f"{said}: no object store that is known here; give a folder, or {_known()}")
    if not urlsplit(said).netloc:
        raise StoreError(f"{said}: no bucket; give {scheme}://<bucket>/<folder>")
    driver, package = DRIVERS[scheme]
    try:
        from upath import UPath

        url = UPath(said.rstrip("/"), **_options(scheme))
        _files(cast(Path, url))
    except ImportError as error:
        raise StoreError(f"{said}: {driver} is not installed: pip install '{package}'") from error
    return cast(Path, url)


def is_local(path: Path) -> bool:
    """Whether a path lies in this machine's file system."""
    return isinstance(path, os.PathLike)


# --- writing ---


def write(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, with the folders above it."""
    if not is_local(target):
        _upload(target, content)
        return
    with whole(target) as file:
        file.write(content)


@contextmanager
def whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write to, which appears at ``target`` when the block ends without an error."""
    if not is_local(target):
        with _scratch() as local:
            with local.open("wb") as file:
                yield file
            _upload(target, local)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = draft(target.with_name(f"{target.name}.{threading.get_native_id()}"))  # two may write one file
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def writes_to(where: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """A function that writes below its parameter ``where`` raises `StoreError` where nobody can write: a full disk.

    Polars, Arrow and DuckDB hide the number of such an error in errors of their own, but not the system's words.
    """

    def of(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @functools.wraps(function)
        def telling(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            try:
                return function(*args, **kwargs)
            except StoreError:
                raise
            except Exception as error:
                words = next((words for words in map(os.strerror, NOT_WRITABLE) if words in str(error)), None)
                if words is None:
                    raise
                place = inspect.signature(function).bind(*args, **kwargs).arguments[where]
                raise StoreError(f"{place}: {words}. {ADVICE}") from error

        return telling

    return of


def put(source: Path, target: Path) -> None:
    """Move a finished local file to its place."""
    copy(source, target)
    source.unlink()


def copy(source: Path, target: Path) -> None:
    """Copy a finished local file to its place."""
    if not is_local(target):
        _upload(target, source)
        return
    with source.open("rb") as content, whole(target) as file:
        shutil.copyfileobj(content, file, PART)


def remove(path: Path) -> None:
    """Remove a file; nothing where it is absent."""
    if is_local(path):
        path.unlink(missing_ok=True)
        return
    with _told(path), _absent_is_fine():
        _files(path).rm_file(_key(path))


def _upload(target: Path, content: bytes | Path) -> None:
    """One upload to the final key. What does not arrive whole is sent once more, and removed where it stays so."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    files, key = _files(target), _key(target)
    options = {"chunksize": PART, "max_concurrency": PARTS_AT_ONCE} if _is_s3(target) else {}
    with _told(target):
        for _ in range(2):
            if isinstance(content, bytes):
                files.pipe_file(key, content, **options)
            else:
                files.put_file(str(content), key, **options)
            held = files.info(key)["size"]
            if held == size:
                return
        files.rm_file(key)
        raise StoreError(f"{target}: {size} bytes were sent and {held} arrived, twice: this store cannot be relied on")


# --- reading ---


def read(path: Path, offset: int, size: int) -> bytes:
    """``size`` bytes of a file from ``offset`` on.

    Raises:
        FileNotFoundError: absent.
        OSError: it ends before.
    """
    content: bytes
    if is_local(path):
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
    elif size == 0:
        content = b""
    else:
        with _told(path):
            content = _files(path).cat_file(_key(path), start=offset, end=offset + size, **_limit(path))
    if len(content) != size:
        raise OSError(errno.EIO, f"ends before byte {offset + size}: written again since, or cut", str(path))
    return content


def sha256(path: Path) -> str:
    """Hash of a file's bytes, read part by part."""
    digest, whole = hashlib.sha256(), size(path)
    for offset in range(0, whole, PART):
        digest.update(read(path, offset, min(PART, whole - offset)))
    return digest.hexdigest()


def content(path: Path) -> bytes:
    """All bytes of a file that fits into memory."""
    if is_local(path):
        return path.read_bytes()
    with _told(path):
        found: bytes = _files(path).cat_file(_key(path), **({"max_concurrency": 1} if _is_s3(path) else {}))
        return found


def source(path: Path) -> Path | io.BytesIO:
    """What a reader of Parquet takes: the path where it is local, else the bytes. Files of rows, not of audio."""
    return path if is_local(path) else io.BytesIO(content(path))


@contextmanager
def here(path: Path) -> Iterator[Path]:
    """A local file with the content of a file: itself, or a copy that goes with the block."""
    if is_local(path):
        yield path
        return
    with _scratch() as local:
        fetch(path, local)
        yield local


@contextmanager
def shared(name: str, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
    """A local file that the processes of this machine have together: the first one fills it, the last one removes it.

    Each holds a lock on it, which ends with the process however that ends; a copy that nobody holds is removed by the
    next who comes.

    Args:
        name: says what is in it; equal for equal content alone.
        fill: writes it; not called where it is there.

    Raises:
        StoreError: no space for it.
    """
    folder, owner = _made_scratch(), os.getpid()
    _sweep_shared(folder)
    path = folder / f"{name}.{_host()}.shared"
    file = _filled(path, fill)
    try:
        yield path
    finally:
        if os.getpid() == owner:  # a forked process has this lock, too, and must not end it
            with file:
                _remove_unheld(file, path)


def _filled(path: Path, fill: Callable[[BinaryIO], None]) -> BinaryIO:
    """The open file, with a lock that says that it is used. It is written under another name, locked by its writer."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    while True:
        if path.exists():
            if file := _locked(path, fcntl.LOCK_SH):
                return file
            continue
        try:
            file = _locked(unfinished, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody fills it, and keeps it locked under its name: not to be waited for here
            time.sleep(0.05)
            continue
        if file is None:
            continue
        try:
            if path.exists():
                unfinished.unlink()
                file.close()
                continue
            file.truncate(0)  # of a writer that was killed
            fill(file)
            file.flush()
            unfinished.rename(path)
        except BaseException as error:
            unfinished.unlink(missing_ok=True)
            file.close()
            if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
                raise StoreError(f"{path.parent}: {error.strerror}: free space, or set TMPDIR") from error
            raise
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_at(file, path):  # one lock becomes another by way of none
            return file
        file.close()


def _locked(path: Path, kind: int) -> BinaryIO | None:
    """The open file with a lock; None where it is no longer, or no longer under this name."""
    try:
        file = path.open("r+b" if kind == fcntl.LOCK_SH else "a+b")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, kind)
        if _is_at(file, path):
            return file
    except BlockingIOError:
        file.close()
        raise
    file.close()
    return None


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _remove_unheld(file: BinaryIO, path: Path) -> bool:
    """Remove a shared file where no other process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    unheld = _is_at(file, path)
    if unheld:
        path.unlink()
    return unheld


def _sweep_shared(folder: Path) -> int:
    left = 0
    for path in folder.glob(f"*.{_host()}.shared*"):
        try:
            with path.open("r+b") as file:
                left += _remove_unheld(file, path)
        except FileNotFoundError:  # another was quicker
            continue
    return left


def fetch(path: Path, target: Path) -> None:
    """Copy a file to a local one; a download that breaks off goes on where it stopped."""
    if is_local(path):
        shutil.copyfile(path, target)
        return
    with _told(path):
        _files(path).get_file(_key(path), str(target), **({"max_concurrency": 1} if _is_s3(path) else {}))
    if target.stat().st_size != size(path):
        raise StoreError(f"{path}: the download is not whole; try again")


def exists(path: Path) -> bool:
    """Whether there is such a file."""
    if is_local(path):
        return path.is_file()
    try:
        size(path)
    except FileNotFoundError:
        return False
    return True


def size(path: Path) -> int:
    """Bytes of a file; FileNotFoundError where it is absent."""
    if is_local(path):
        return path.stat().st_size
    with _told(path):
        about = _files(path).info(_key(path), **_limit(path))
    if about["type"] != "file":
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path))
    return int(about["size"])


def version(path: Path) -> str:
    """Changes when the file is written again; FileNotFoundError where it is absent."""
    if is_local(path):
        state = path.stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    with _told(path):
        about = _files(path).info(_key(path), **_limit(path))
    return f"{about['size']} {about.get('ETag')} {about.get('LastModified')}"


def listing(folder: Path, pattern: str = "*") -> list[Path]:
    """The files of a folder whose path below it is like ``pattern``, by name; none where there is no folder."""
    if is_local(folder):
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    with _told(folder), _absent_is_fine():
        return sorted(folder / name for name in _below(_files(folder), _key(folder), pattern.split("/")))
    return []


def _below(files: Any, key: str, parts: list[str]) -> Iterator[str]:
    """Names of objects, level by level. The driver's own glob takes a listing that fails for an empty one."""
    for entry in files.ls(key, detail=True):
        name = entry["name"].rstrip("/").rpartition("/")[2]
        if not fnmatchcase(name, parts[0]):
            continue
        if len(parts) == 1 and entry["type"] == "file":
            yield name
        elif len(parts) > 1 and entry["type"] == "directory":
            yield from (f"{name}/{below}" for below in _below(files, f"{key}/{name}", parts[1:]))


def at_once(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``work`` of each item, in their order: small requests, of which each would wait for the one before."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        return list(threads.map(work, items))


def check(folder: Path) -> None:
    """Ask an object store once, so that a run learns at its start that it cannot be used.

    Raises:
        StoreError: no such bucket, no credentials, no right to list, or no answer.
    """
    if not is_local(folder):
        listing(folder)


# --- what killed writers leave ---


def sweep(folder: Path, age: timedelta = ABANDONED_AFTER) -> int:
    """Remove what writers that are no more left below a folder; how many files and uploads that were.

    Args:
        folder: local, or of an object store, where nobody can tell whether a writer lives.
        age: from which an upload to an object store counts as abandoned.
    """
    if not is_local(folder):
        passing = sweep(_scratch_folder()) + _sweep_shared(_scratch_folder())
        return passing + (_sweep_uploads(folder, age) if _is_s3(folder) else 0)
    if not folder.is_dir():
        return 0
    left = [path for path in folder.rglob(".*.tmp") if abandoned(path.name)]
    for path in left:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return len(left)


def _sweep_uploads(folder: Path, age: timedelta) -> int:
    """Give up uploads in parts that were never completed: nobody sees them, but they are stored and paid for."""
    files, (bucket, _, prefix) = _files(folder), _key(folder).partition("/")
    below, oldest = prefix and f"{prefix}/", datetime.now(UTC) - age
    with _told(folder):
        uploads = list(_uploads(files, bucket, below))
        old = [one for one in uploads if one["Initiated"] < oldest]
        for one in old:
            files.abort_mpu(bucket, one["Key"], one["UploadId"])
    return len(old)


def _uploads(files: Any, bucket: str, below: str) -> Iterator[Mapping[str, Any]]:
    """The unfinished uploads, page by page: the driver's own listing ends after the first."""
    marks: dict[str, str] = {}
    while True:
        page = files.call_s3(
            "list_multipart_uploads", Bucket=bucket, Prefix=below, MaxUploads=UPLOADS_OF_A_PAGE, **marks
        )
        yield from page.get("Uploads", [])
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


@contextmanager
def _scratch() -> Iterator[Path]:
    """A local file for what goes to an object store or comes from it."""
    local = draft(_made_scratch() / secrets.token_hex(8))
    try:
        yield local
    finally:
        local.unlink(missing_ok=True)


def _made_scratch() -> Path:
    """The folder of this user; its name is known to all, so it may have been made by somebody else."""
    folder = _scratch_folder()
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise StoreError(f"{folder}: others can write there; remove it, or set TMPDIR to a folder of your own")
    return folder


def _scratch_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"slap-{os.getuid()}"


def _host() -> str:
    return re.sub(r"[^\w-]", "-", socket.gethostname())


def draft(target: Path) -> Path:
    """Where this process writes a local file before it takes its place; `sweep` knows whose it is."""
    return target.with_name(f".{target.name}.{_host()}-{os.getpid()}.tmp")


def abandoned(name: str) -> bool:
    """Whether the process that writes under this name has ended; those of other machines may live."""
    written = _DRAFT.fullmatch(name)
    return written is not None and written["host"] == _host() and not _lives(int(written["pid"]))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    try:  # one that was killed keeps its id until its parent, or what a container has for one, looks after it
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


# --- fsspec ---


_open: dict[tuple[int, str], Any] = {}  # by process and options


def _files(path: Path) -> Any:
    """The file system of a URL, one for all threads of a process: one made before a fork cannot be used after it."""
    protocol, options = path.protocol, path.storage_options  # type: ignore[attr-defined]
    key = os.getpid(), f"{protocol} {options}"
    if key not in _open:
        import fsspec

        files = fsspec.filesystem(protocol, **options)
        files.retries = TRIES_OF_A_BODY  # of s3fs, over botocore's own
        _open[key] = files
    return _open[key]


def _key(path: Path) -> str:
    return str(path.path)  # type: ignore[attr-defined]


def _is_s3(path: Path) -> bool:
    return path.protocol in ("s3", "s3a")  # type: ignore[attr-defined]


def _options(scheme: str) -> dict[str, Any]:
    """How requests are made. Listings are never kept: other processes write, too."""
    if scheme not in ("s3", "s3a"):
        return {"use_listings_cache": False}
    seconds = _timeout()
    tries = {"mode": "standard", "total_max_attempts": TRIES}
    waits = {"connect_timeout": min(seconds, 10.0), "read_timeout": seconds}
    config = {"retries": tries, "max_pool_connections": REQUESTS_AT_ONCE, **waits}
    return {"use_listings_cache": False, "config_kwargs": config}


def patience() -> float:
    """Seconds after which a small request that stays without an answer is a `StoreError`: as long as its tries take.

    botocore tries, s3fs tries that again, and to read a range once more: without a limit, a store that takes
    connections and answers nothing was asked 44 times.

    Raises:
        StoreError: ``SLAP_STORE_TIMEOUT`` is no number of seconds.
    """
    return TRIES * _timeout() + PAUSES_S


def _limit(path: Path) -> dict[str, float]:
    """Of a small request, for fsspec; what is large takes as long as it takes."""
    return {"timeout": patience()} if _is_s3(path) else {}


def _timeout() -> float:
    given = os.environ.get("SLAP_STORE_TIMEOUT") or "60"
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise StoreError(f"SLAP_STORE_TIMEOUT={given!r} is no number of seconds")
    return seconds


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in DRIVERS)


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if _no_bucket(error):
            raise


def _no_bucket(error: FileNotFoundError) -> bool:
    return "bucket does not exist" in str(error)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what a driver raises into one sentence that says what to do. An absent object stays FileNotFoundError."""
    try:
        yield
    except StoreError:
        raise
    except FileNotFoundError as error:
        if _no_bucket(error):
            raise StoreError(f"{path}: there is no bucket {_key(path).partition('/')[0]}: make it first") from None
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from None
    except Exception as error:
        why = _why(error)
        if why is None:
            raise
        raise StoreError(f"{path}: {why}") from None


def _why(error: Exception) -> str | None:
    """What to do about an error of a driver, told by the names of its classes: none of them need be installed."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    said = str(error).partition("\n")[0][:300]
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        return f"{error.strerror} where it passes this machine, {tempfile.gettempdir()}: free space, or set TMPDIR"
    if kinds & {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE)"
    if "PermissionError" in kinds:
        return f"refused ({said}): the credentials in AWS_* must be allowed to list, get, put and delete objects there"
    if kinds & {"EndpointConnectionError", "ConnectTimeoutError", "NoRegionError", "SSLError"}:
        return f"cannot be reached ({said}): see AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and the network"
    if kinds & {"ReadTimeoutError", "FSTimeoutError", "TimeoutError"}:
        waited = f"{_timeout():g} s a try, again and again"
        return f"no answer in time ({waited}): see the store's health, or raise SLAP_STORE_TIMEOUT"
    if kinds & {"HTTPClientError", "ClientPayloadError", "IncompleteReadError", "ConnectionError"}:
        return f"the connection breaks, tried again and again ({said}): see the network and run again"
    if kinds & {"OSError", "BotoCoreError", "ClientError", "HttpError", "AzureError"}:
        return f"the store answers with an error, tried again and again where that helps ({said}): run again later"
    return None
