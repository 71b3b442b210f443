"""Object storage over its protocol, healthy and broken: what is whole, what is tried again, and what is said."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import s3fs
from torch.utils.data import DataLoader

from slap_model import store
from slap_model.store import StoreError
from tests.s3 import Kind, Store, make_bucket

CONTENT = np.random.default_rng(0).bytes(150_000)


@pytest.fixture
def folder(s3: Store) -> Path:
    return store.place(f"{s3.bucket}/warehouse")


def uploads(s3: Store) -> list[object]:
    found: list[object] = s3fs.S3FileSystem().list_multipart_uploads(s3.bucket.removeprefix("s3://"))
    return found


# --- healthy ---


def test_a_file_comes_back_whole_and_in_parts(folder: Path, tmp_path: Path) -> None:
    target = folder / "shards" / "toy" / "train-00000.tar"
    store.write(target, CONTENT)
    assert store.content(target) == CONTENT
    assert store.read(target, 1000, 77) == CONTENT[1000:1077]
    assert store.read(target, 5, 0) == b""
    assert store.size(target) == len(CONTENT)
    assert store.exists(target)
    assert not store.exists(folder / "shards" / "toy")
    with store.here(target) as file:
        assert file.read_bytes() == CONTENT
    assert not file.exists()
    store.fetch(target, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    store.remove(target)
    store.remove(target)
    assert not store.exists(target)


def test_a_file_written_in_a_block_appears_when_the_block_ends_without_error(folder: Path) -> None:
    with store.whole(folder / "good") as file:
        file.write(CONTENT)
        assert not store.exists(folder / "good")
    assert store.content(folder / "good") == CONTENT
    with pytest.raises(ZeroDivisionError), store.whole(folder / "bad") as file:
        file.write(CONTENT)
        raise ZeroDivisionError
    assert not store.exists(folder / "bad")


def test_threads_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    contents = [letter * 200_000 for letter in (b"a", b"b")]

    def write(content: bytes) -> None:
        for _ in range(50):
            store.write(tmp_path / "file", content)
            assert (tmp_path / "file").read_bytes() in contents

    store.at_once(write, contents)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_put_moves_and_copy_copies(folder: Path, tmp_path: Path) -> None:
    for target in (folder / "moved", tmp_path / "moved"):
        (tmp_path / "local").write_bytes(CONTENT)
        store.copy(tmp_path / "local", target)
        assert store.content(target) == CONTENT
        store.put(tmp_path / "local", target)
        assert not (tmp_path / "local").exists()
        assert store.content(target) == CONTENT


def test_the_listing_of_a_url_is_that_of_a_folder(folder: Path, tmp_path: Path) -> None:
    names = (
        "index.json",
        "shards/a/train-1.tar",
        "shards/a/train-1.parquet",
        "shards/b/test-0.tar",
        "shards/b/x/y.tar",
    )
    for name in names:
        store.write(folder / name, b"x")
        store.write(tmp_path / name, b"x")
    for pattern in ("*", "*.tar", "*/*.tar", "shards/*/train-*.tar", "shards/*/*/*", "nothing/*"):
        here, there = store.listing(tmp_path, pattern), store.listing(folder, pattern)
        assert [str(path.relative_to(tmp_path)) for path in here] == [str(path.relative_to(folder)) for path in there]
    assert store.listing(folder / "absent") == store.listing(tmp_path / "absent") == []
    assert store.listing(folder / "shard") == []  # the beginning of a name is no folder
    (tar,) = store.listing(folder / "shards" / "b", "*.tar")
    assert (tar.name, tar.stem, tar.parent.name, tar.with_suffix(".parquet").name) == (
        "test-0.tar",
        "test-0",
        "b",
        "test-0.parquet",
    )


def test_another_process_sees_what_was_written_and_writes(folder: Path) -> None:
    store.listing(folder)  # a listing that was kept would hide what comes
    code = (
        "import pickle, sys; from slap_model import store; folder = pickle.load(sys.stdin.buffer); "
        "store.write(folder / 'theirs', store.content(folder / 'ours') * 2)"
    )
    store.write(folder / "ours", b"1")
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(folder), check=True)
    assert [path.name for path in store.listing(folder)] == ["ours", "theirs"]
    assert store.content(folder / "theirs") == b"11"


class _Reads:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 8

    def __getitem__(self, item: int) -> bytes:
        return store.read(self.path, item * 10, 10)


def test_processes_that_were_forked_from_a_reader_read(folder: Path) -> None:
    store.write(folder / "tar", CONTENT)
    assert store.read(folder / "tar", 0, 3) == CONTENT[:3]
    loader = DataLoader(_Reads(folder / "tar"), batch_size=None, num_workers=2, multiprocessing_context="fork")  # type: ignore[arg-type]
    assert b"".join(loader) == CONTENT[:80]


def test_reading_past_the_end_is_an_error_here_and_there(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "short", tmp_path / "short"):
        store.write(path, b"12345")
        for offset in (3, 5, 9):
            with pytest.raises(OSError, match=r"short"):
                store.read(path, offset, 4)
        with pytest.raises(FileNotFoundError):
            store.read(path.with_name("absent"), 0, 1)


# --- broken ---

FAULTS: tuple[tuple[Kind, int], ...] = (("status", 500), ("status", 503), ("hang", 0), ("drop", 0))


@pytest.mark.parametrize(("kind", "code"), [*FAULTS, ("tear", 0)])
def test_an_upload_that_fails_for_a_while_arrives(s3: Store, folder: Path, kind: Kind, code: int) -> None:
    fault = s3.fail("PUT .*/file", kind, times=2, code=code)
    store.write(folder / "file", CONTENT)
    assert fault.done == 2
    assert store.content(folder / "file") == CONTENT


@pytest.mark.parametrize(("kind", "code"), [*FAULTS, ("cut", 0)])
def test_a_download_that_fails_for_a_while_arrives(
    s3: Store, folder: Path, tmp_path: Path, kind: Kind, code: int
) -> None:
    store.write(folder / "file", CONTENT)
    faults = [s3.fail("GET .*/file", kind, code=code)]
    assert store.read(folder / "file", 10, 100_000) == CONTENT[10:100_010]
    faults.append(s3.fail("GET .*/file", kind, code=code))
    assert store.content(folder / "file") == CONTENT
    faults.append(s3.fail("GET .*/file", kind, code=code))
    store.fetch(folder / "file", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    assert [fault.done for fault in faults] == [1, 1, 1]


def test_listing_and_asking_for_the_size_are_tried_again(s3: Store, folder: Path) -> None:
    store.write(folder / "file", CONTENT)
    faults = [s3.fail("GET .*list-type", "status", code=503), s3.fail("HEAD .*/file", "drop")]
    assert [path.name for path in store.listing(folder)] == ["file"]
    assert store.size(folder / "file") == len(CONTENT)
    assert [fault.done for fault in faults] == [1, 1]


def test_an_upload_in_parts_survives_the_loss_of_one(
    s3: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 5 * 2**20)  # the smallest that S3 takes
    big = tmp_path / "big"
    big.write_bytes(CONTENT * 100)
    faults = [s3.fail("PUT .*partNumber=2", "tear"), s3.fail("POST .*uploadId=", "drop")]
    store.copy(big, folder / "big")
    with store.here(folder / "big") as back:
        assert back.read_bytes() == big.read_bytes()
    assert [fault.done for fault in faults] == [1, 1]
    assert not uploads(s3)


def test_an_upload_in_parts_that_never_succeeds_leaves_nothing(
    s3: Store, few_tries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PART", 5 * 2**20)
    target = store.place(f"{s3.bucket}/big")
    (tmp_path / "big").write_bytes(CONTENT * 100)
    fault = s3.fail("PUT .*partNumber=2", "tear", times=1000)
    with pytest.raises(StoreError, match=r"s3://.*/big: the connection breaks"):
        store.put(tmp_path / "big", target)
    assert fault.done
    assert not store.exists(target)
    assert not uploads(s3)
    assert (tmp_path / "big").is_file()


def test_a_store_that_keeps_half_an_upload_is_not_believed(s3: Store, folder: Path) -> None:
    fault = s3.fail("PUT .*/file", "halve")
    store.write(folder / "file", CONTENT)
    assert fault.done == 1
    assert store.content(folder / "file") == CONTENT
    s3.fail("PUT .*/other", "halve", times=2)
    with pytest.raises(StoreError, match="cannot be relied on"):
        store.write(folder / "other", CONTENT)
    assert not store.exists(folder / "other")


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TRIES", 2)
    monkeypatch.setattr(store, "TRIES_OF_A_BODY", 1)
    monkeypatch.setenv("SLAP_STORE_TIMEOUT", "1.5")


@pytest.mark.parametrize(
    ("kind", "code", "says"),
    [
        ("status", 500, "the store answers with an error, .*injected.*run again later"),
        ("status", 503, "the store answers with an error"),
        ("status", 403, r"refused .*AWS_\*"),
        ("hang", 0, "no answer in time.*SLAP_STORE_TIMEOUT"),
        ("drop", 0, "the connection breaks"),
        ("cut", 0, "the connection breaks"),
    ],
)
def test_an_error_that_stays_is_one_sentence_with_bucket_and_key(
    s3: Store, few_tries: None, kind: Kind, code: int, says: str
) -> None:
    target = store.place(f"{s3.bucket}/deep/file")
    store.write(target, CONTENT)
    fault = s3.fail("(GET|HEAD) .*/file", kind, times=1000, code=code)
    with pytest.raises(StoreError, match=rf"^{s3.bucket}/deep/file: {says}") as told:
        store.read(target, 0, 1000)
    assert fault.done >= 1
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__
    assert "\n" not in str(told.value)


def test_a_full_disk_is_not_taken_for_the_stores_fault(folder: Path) -> None:
    store.write(folder / "file", CONTENT)
    with pytest.raises(StoreError, match=r"No space left on device where it passes this machine.*TMPDIR"):
        store.fetch(folder / "file", Path("/dev/full"))


def test_a_bucket_that_is_not_there_is_named(s3: Store) -> None:
    absent = store.place("s3://slap-absent-bucket/x")
    for ask in (
        lambda: store.check(absent),
        lambda: store.write(absent, b"1"),
        lambda: store.read(absent, 0, 1),
        lambda: store.exists(absent),
        lambda: store.remove(absent),
    ):
        with pytest.raises(StoreError, match="there is no bucket slap-absent-bucket: make it first"):
            ask()


def test_without_credentials_it_says_which_to_set(s3: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") and "KEY" in name]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(store, "_open", {})
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(s3fs.S3FileSystem, "_cache", {})  # a client keeps what it was told
    with pytest.raises(StoreError, match="no credentials: set AWS_ACCESS_KEY_ID"):
        store.check(store.place(f"{s3.bucket}/x"))


def test_an_endpoint_where_nobody_listens_is_named(few_tries: None, monkeypatch: pytest.MonkeyPatch, s3: Store) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(store, "_open", {})
    monkeypatch.setattr(s3fs.S3FileSystem, "_cache", {})  # a client keeps what it was told
    with pytest.raises(StoreError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
        store.check(store.place("s3://bucket/x"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://AKIA:hunter2@bucket/x", "a user or a password"),
        ("ftp://server/x", "no object store that is known here"),
        ("memory://x", "no object store that is known here"),
        ("s3://", "no bucket"),
        ("gs://bucket/x", r"gcsfs is not installed: pip install 'gcsfs'"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(text: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as told:
        store.place(text)
    assert "hunter2" not in str(told.value)


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setattr(store, "_open", {})
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(StoreError, match=r"s3fs is not installed: pip install 'slap\[s3\]'"):
        store.place("s3://another-bucket/x")


def test_a_time_out_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("soon", "0", "-1", "nan"):
        monkeypatch.setenv("SLAP_STORE_TIMEOUT", wrong)
        with pytest.raises(StoreError, match="SLAP_STORE_TIMEOUT"):
            store.place("s3://bucket/x")


def test_paths_stay_paths(tmp_path: Path) -> None:
    assert store.place(str(tmp_path)) == tmp_path
    assert store.place(f"file://{tmp_path}") == tmp_path
    assert store.is_local(store.place(tmp_path))


def test_uploads_of_killed_writers_are_given_up_when_they_are_old(s3: Store, folder: Path) -> None:
    bucket = s3.bucket.removeprefix("s3://")
    files = s3fs.S3FileSystem()
    for key in ("warehouse/shards/a.tar", "warehouse-2/a.tar"):
        files.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    assert store.sweep(folder, timedelta(days=36_500)) == 0  # moto says that all began in 2010
    assert len(uploads(s3)) == 2
    assert store.sweep(folder) == 1
    assert len(uploads(s3)) == 1


class _Pages:
    """Unfinished uploads as S3 lists them, a few at once; moto answers with all on one page."""

    uploads = (*((f"w/{n}", str(n)) for n in range(2)), *(("w/2", id) for id in "abcd"), ("w/3", "x"), ("w/4", "y"))

    def call_s3(
        self, _: str, *, Bucket: str, Prefix: str, MaxUploads: int, KeyMarker: str = "", UploadIdMarker: str = ""
    ) -> dict[str, object]:
        left = [one for one in self.uploads if not KeyMarker or one > (KeyMarker, UploadIdMarker)]
        page = [{"Key": key, "UploadId": upload} for key, upload in left[:MaxUploads] if key.startswith(Prefix)]
        marks = {"NextKeyMarker": page[-1]["Key"], "NextUploadIdMarker": page[-1]["UploadId"]}
        return {"IsTruncated": len(left) > MaxUploads, "Uploads": page, **marks}


def test_all_pages_of_unfinished_uploads_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 3, 4, len(_Pages.uploads), 1000):
        monkeypatch.setattr(store, "UPLOADS_OF_A_PAGE", size)
        listed = [(one["Key"], one["UploadId"]) for one in store._uploads(_Pages(), "bucket", "w/")]
        assert listed == list(_Pages.uploads)


def test_what_a_killed_process_had_fetched_or_was_to_send_is_removed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store.write(folder / "file", CONTENT)
    code = (
        "import os, pickle, sys; from slap_model import store; folder = pickle.load(sys.stdin.buffer)\n"
        "with store.here(folder / 'file') as here, store.whole(folder / 'other') as there:\n"
        "    there.write(here.read_bytes()); there.flush(); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(folder), env=environment)
    assert killed.returncode == -9
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in {path.parent for path in left})
    with store.here(folder / "file") as mine:
        assert store.sweep(folder) == 2
        assert mine.read_bytes() == CONTENT
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not store.exists(folder / "other")


# --- one copy for all processes of a machine ---

SHARES = """
import os, sys, time
from pathlib import Path
from slap_model import store

end, log = sys.argv[1], Path(sys.argv[2])

def fill(file):
    with log.open("a") as told:
        told.write("x")
    file.write(b"half")
    file.flush()
    if end == "while it fills":
        os.kill(os.getpid(), 9)
    time.sleep(0.3)
    file.write(b" and half")

with store.shared("key", fill) as path:
    assert path.read_bytes() == b"half and half"
    if end == "while it reads":
        os.kill(os.getpid(), 9)
    print(path, flush=True)
    sys.stdin.read()
    assert path.read_bytes() == b"half and half"
"""


def sharer(tmp_path: Path, end: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SHARES, end, str(tmp_path / "log")],
        env={**os.environ, "TMPDIR": str(tmp_path / "scratch")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_share_one_copy_until_the_last_has_ended(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    for end in ("while it fills", "while it reads"):
        assert sharer(tmp_path, end).wait() == -9
        assert len(list(tmp_path.glob("scratch/*/*"))) == 1
    (tmp_path / "log").unlink()
    processes = [sharer(tmp_path) for _ in range(4)]
    names = {process.stdout.readline().strip() for process in processes if process.stdout}
    assert [str(path) for path in tmp_path.glob("scratch/*/*")] == list(names)
    assert (tmp_path / "log").read_text() == "x"
    processes[0].kill()
    for process in processes:
        assert names == {str(path) for path in tmp_path.glob("scratch/*/*")}
        process.communicate("")
    assert [process.returncode for process in processes] == [-9, 0, 0, 0]
    assert not list(tmp_path.glob("scratch/*/*"))


def test_a_shared_copy_of_a_killed_process_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    assert sharer(tmp_path, "while it reads").wait() == -9
    with store.shared("other", lambda file: None) as other:
        assert list(tmp_path.glob("scratch/*/*")) == [other]
    assert not list(tmp_path.glob("scratch/*/*"))


def test_a_shared_copy_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fill(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(StoreError, match=r"No space left on device: free space, or set TMPDIR"),
        store.shared("a", fill),
    ):
        pass
    assert not list(tmp_path.glob("*/*"))
    (tmp_path / f"slap-{os.getuid()}").chmod(0o777)
    with pytest.raises(StoreError, match=r"others can write there"), store.shared("a", fill):
        pass


def test_no_secret_stands_in_what_is_pickled_or_shown(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    folder = store.place(f"{s3.bucket}/x")
    assert b"hunter2" not in pickle.dumps(folder)
    assert "hunter2" not in repr(folder) + str(folder)


def test_a_whole_bucket_may_be_the_folder(s3: Store) -> None:
    make_bucket(s3, "slap-second-bucket")
    whole = store.place("s3://slap-second-bucket/")
    store.check(whole)
    assert store.listing(whole) == []
    store.write(whole / "shards" / "file", b"1")
    assert [path.relative_to(whole).as_posix() for path in store.listing(whole, "*/*")] == ["shards/file"]
    assert store.sweep(whole) == 0
