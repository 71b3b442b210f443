"""`slap download`, against a server on this machine that breaks off, lies and ignores, and with malicious archives."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines import download
from pipelines import unpack as unpacking
from pipelines.cli import main
from pipelines.corpora._base import corpora
from pipelines.download import Download, DownloadError, File, Source
from pipelines.ingest import mark_synthetic
from pipelines.unpack import ArchiveError, NoSpaceError, unpack

BODY = hashlib.shake_256(b"slap").digest(300_000)


@dataclass
class Served:
    """A file of the server, and how the server misbehaves with it."""

    body: bytes = BODY
    ranges: bool = True
    etag: str = '"one"'
    cuts: list[int] = field(default_factory=list)  # bytes to send of each answer before breaking off
    statuses: list[int] = field(default_factory=list)  # of the first answers
    length: int | None = None  # that is announced, instead of the true one
    kind: str = "application/octet-stream"
    redirect: str = ""
    retry_after: str = ""
    at_most: int = 10**9  # bytes of one answer to a question for a range
    chunked: bool = False  # no length is announced


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        file = server.files.get(self.path.partition("?")[0])
        probe = self.path not in server.probed
        server.probed.add(self.path)
        server.seen.append((self.path, asked))
        self.close_connection = True
        if file is None:
            return self._answer(404)
        if file.redirect:
            return self._answer(302, Location=file.redirect)
        if file.statuses:
            return self._answer(file.statuses.pop(0), **({"Retry-After": file.retry_after} if file.retry_after else {}))
        body, start = file.body, 0
        headers = {"ETag": file.etag, "Content-Type": file.kind}
        if asked and file.ranges and self.headers.get("If-Range", file.etag) == file.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(body):
                return self._answer(416, **{"Content-Range": f"bytes */{len(body)}"})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        length = len(body) - start if file.length is None else file.length
        if start:
            length = min(length, file.at_most)
        cut = len(body) if probe or not file.cuts else start + file.cuts.pop(0)
        self.send_response(206 if start else 200)
        headers |= {"Transfer-Encoding": "chunked"} if file.chunked else {"Content-Length": str(length)}
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # the client has hung up
            if file.chunked:
                self.wfile.write(b"%x\r\n" % (len(body) - start))
            self.wfile.write(body[start:cut])
            if file.chunked and cut == len(body):
                self.wfile.write(b"\r\n0\r\n\r\n")
        return None

    def _answer(self, status, **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()


@pytest.fixture
def server():
    """A server with ``files`` by path and ``seen`` requests; the first for a path asks for its length only."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.files, running.seen, running.probed = {}, [], set()
        running.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def job(server, tmp_path):
    """Makes a download of files of the server into ``tmp_path``, with the waits and the messages noted."""

    def make(*files, free=10**12):
        made = Download(corpora()["fsdd"], list(files), tmp_path, free=lambda _: free)
        made.session.trust_env = False
        made.waits, made.told = [], []
        made.wait, made.say = made.waits.append, made.told.append
        return made

    return make


def one(server, name="a.bin", **fields):
    return File(name, f"{server.url}/{name}", **fields)


def ranges(server):
    """What was asked for, without the questions for lengths."""
    return [asked for _, asked in server.seen[1:]]


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def tarred(*members, mode="w:gz"):
    """A tar of (name, content or TarInfo type, link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content, *target in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes) and not target:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content, target[0]
                archive.addfile(info)
    return out.getvalue()


def saved(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# -- fetching -------------------------------------------------------------------------------------------------------


def test_file_is_fetched_and_a_second_call_does_nothing(server, job, tmp_path):
    server.files["/a.bin"] = Served()
    job(one(server)).run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    state = json.loads((tmp_path / ".download" / "fsdd" / "state.json").read_text())
    assert state["files"]["a.bin"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert state["licence"] == [corpora()["fsdd"].licence.name, corpora()["fsdd"].licence.url]
    assert [path.name for path in (tmp_path / "fsdd").iterdir()] == ["a.bin"]
    before = len(server.seen)
    again = job(one(server))
    assert again.accepted and not again.missing
    again.run()
    assert len(server.seen) == before


def test_removed_folder_is_downloaded_anew(server, job, tmp_path):
    server.files["/a.bin"] = Served()
    job(one(server)).run()
    (tmp_path / "fsdd" / "a.bin").unlink()
    job(one(server)).run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY


def test_broken_transfer_goes_on_where_it_broke(server, job, tmp_path):
    server.files["/a.bin"] = Served(cuts=[100_000, 50_000])
    task = job(one(server, sha256=hashlib.sha256(BODY).hexdigest()))
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=100000-", "bytes=150000-"]
    assert task.waits == [1, 1]  # each try came further, so the tries are counted anew


def test_a_new_process_goes_on_where_the_last_stopped(server, job, tmp_path):
    server.files["/a.bin"] = Served(cuts=[100_000])
    first = job(one(server))

    def stop(_):
        raise KeyboardInterrupt

    first.wait = stop
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert not (tmp_path / "fsdd").exists()
    second = job(one(server))
    second.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert server.seen[-1][1] == "bytes=100000-"
    assert any("100 kB here" in line for line in second.told)


def test_server_that_ignores_ranges(server, job, tmp_path):
    server.files["/a.bin"] = Served(ranges=False, cuts=[100_000])
    task = job(one(server))
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert any("from the start" in line for line in task.told)


def test_file_that_changed_on_the_server_is_not_mixed(server, job, tmp_path):
    served = server.files["/a.bin"] = Served(cuts=[100_000])
    task = job(one(server))

    def change(pause):
        served.body, served.etag = BODY[::-1], '"two"'

    task.wait = change
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY[::-1]


def test_ranges_that_come_in_shorter_answers_than_asked_for(server, job, tmp_path):
    server.files["/a.bin"] = Served(cuts=[100_000], at_most=80_000)
    task = job(one(server))
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert ranges(server) == [None, "bytes=100000-", "bytes=180000-", "bytes=260000-"]


def test_416_with_all_bytes_here_is_complete(server, job, tmp_path):
    server.files["/a.bin"] = Served(length=len(BODY) + 10)  # announces more than there is
    task = job(one(server))
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert ranges(server) == [None, f"bytes={len(BODY)}-"]


def test_416_with_too_many_bytes_here_starts_again(server, job, tmp_path):
    served = server.files["/a.bin"] = Served(cuts=[100_000])
    task = job(one(server))

    def shrink(_):
        served.body = BODY[:70_000]

    task.wait = shrink
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY[:70_000]


def test_server_that_always_announces_too_much_is_given_up(server, job, tmp_path):
    server.files["/a.bin"] = Served(length=len(BODY) + 10, ranges=False)
    task = job(one(server))
    with pytest.raises(DownloadError, match=r"300 kB of 300 kB. Tried 9 times"):
        task.run()
    assert task.waits == list(download.WAITS)
    assert not (tmp_path / "fsdd").exists()


def test_server_that_announces_no_length(server, job, tmp_path):
    server.files["/a.bin"] = Served(chunked=True, ranges=False, cuts=[100_000])
    task = job(one(server))
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert any("size unknown" in line for line in task.told) and any("connection broke" in line for line in task.told)


def test_too_short_a_length_is_found_by_the_checksum(server, job, tmp_path):
    server.files["/a.bin"] = Served(length=1000)
    with pytest.raises(DownloadError, match="wrong md5"):
        job(one(server, md5=hashlib.md5(BODY).hexdigest())).run()


def test_503_then_200(server, job, tmp_path):
    server.files["/a.bin"] = Served(statuses=[503, 429])
    task = job(one(server))
    task.run()
    assert task.waits == [1, 2]
    assert any("503" in line and "trying again in 1 s" in line for line in task.told)


def test_server_says_how_long_to_wait(server, job):
    server.files["/a.bin"] = Served(statuses=[503], retry_after="7")
    task = job(one(server))
    task.run()
    assert task.waits == [7]


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(404, "moved or removed"), (403, "an account or a form"), (418, "answers 418")],
)
def test_final_answers_say_what_to_do(server, job, tmp_path, status, meaning):
    server.files["/a.bin"] = Served(statuses=[status])
    with pytest.raises(DownloadError, match=meaning) as raised:
        job(one(server)).run()
    assert corpora()["fsdd"].homepage in str(raised.value)
    assert not (tmp_path / "fsdd").exists()


def test_web_page_in_place_of_the_file(server, job):
    server.files["/a.zip"] = Served(b"<html>log in</html>", kind="text/html; charset=utf-8")
    with pytest.raises(DownloadError, match="a web page and not with the file"):
        job(one(server, "a.zip", unpack=True)).run()


def test_no_network(job, tmp_path):
    task = job(File("a.bin", "http://127.0.0.1:9/a.bin"))  # nobody listens there
    with pytest.raises(DownloadError, match=r"no connection to 127.0.0.1:9. Tried 4 times. Check the network"):
        task.run()
    assert task.waits == [1, 2, 4]


def test_redirect_stays_on_the_host_or_goes_to_https(server, job, tmp_path):
    server.files["/a.bin"] = Served(redirect="/b.bin")
    server.files["/b.bin"] = Served()
    job(one(server)).run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    server.files["/c.bin"] = Served(redirect="http://localhost:9/b.bin")
    with pytest.raises(DownloadError, match="not https: not followed"):
        job(one(server, "c.bin")).run()


def test_wrong_bytes_are_kept_aside_and_fetched_anew(server, job, tmp_path):
    served = server.files["/a.bin"] = Served(b"x" * len(BODY))
    file = one(server, md5=hashlib.md5(BODY).hexdigest().upper())
    with pytest.raises(
        DownloadError, match=r"wrong md5 \w{32}, the owners say \w{32}\. It was kept as .*a\.bin\.wrong"
    ):
        job(file).run()
    assert not (tmp_path / "fsdd").exists()
    assert (tmp_path / ".download" / "fsdd" / "a.bin.wrong").read_bytes() == served.body
    served.body = BODY
    task = job(file)
    task.run()
    assert (tmp_path / "fsdd" / "a.bin").read_bytes() == BODY
    assert any("checksum right" in line for line in task.told)
    assert not list((tmp_path / ".download").rglob("*.wrong"))


def test_parts_are_joined_in_order(server, job, tmp_path):
    whole = zipped(**{"wav/id1/1.wav": BODY})
    third = len(whole) // 3
    pieces = {"aa": whole[:third], "ab": whole[third : 2 * third], "ac": whole[2 * third :]}
    for piece, body in pieces.items():
        server.files[f"/x_part{piece}"] = Served(body, cuts=[10] if piece == "ab" else [])
    parts = tuple(f"{server.url}/x_part{piece}" for piece in pieces)
    job(File("x.zip", parts=parts, unpack=True, md5=hashlib.md5(whole).hexdigest())).run()
    assert (tmp_path / "fsdd/wav/id1/1.wav").read_bytes() == BODY
    assert sorted(path.name for path in (tmp_path / ".download/fsdd").iterdir()) == ["lock", "state.json"]


def test_only_the_missing_file_is_fetched_and_folders_are_merged(server, job, tmp_path):
    server.files["/a"] = Served(tarred(("L/LIST.TXT", b"all"), ("L/a/1.wav", b"one")))
    server.files["/b"] = Served(tarred(("L/LIST.TXT", b"all"), ("L/b/2.wav", b"two")))
    a, b = (one(server, name, unpack=True) for name in "ab")
    job(a).run()
    job(a, b).run()
    found = {str(path.relative_to(tmp_path / "fsdd")) for path in (tmp_path / "fsdd").rglob("*") if path.is_file()}
    assert found == {"L/LIST.TXT", "L/a/1.wav", "L/b/2.wav"}
    assert [path for path, _ in server.seen] == ["/a", "/a", "/b", "/b"]


def test_strip_drops_the_root_folder_and_pieces_are_unpacked(server, job, tmp_path):
    inner = tarred(("20200413/id1/vowel-a.wav", BODY))
    half = len(inner) // 2
    server.files["/c.zip"] = Served(
        zipped(
            **{
                "Coswara-Data-abc/README.md": "x",
                "Coswara-Data-abc/20200413/20200413.tar.gz.aa": inner[:half],
                "Coswara-Data-abc/20200413/20200413.tar.gz.ab": inner[half:],
            }
        )
    )
    job(one(server, "c.zip", unpack=True, strip=True, pieces="Extracted_data")).run()
    assert (tmp_path / "fsdd/Extracted_data/20200413/id1/vowel-a.wav").read_bytes() == BODY
    assert not list((tmp_path / "fsdd").rglob("*.tar.gz.*"))
    assert (tmp_path / "fsdd/README.md").is_file()


def test_second_download_at_the_same_time_is_refused(server, job):
    server.files["/a.bin"] = Served(statuses=[503])
    first, second = job(one(server)), job(one(server))

    def meanwhile(_):
        with pytest.raises(DownloadError, match="another download of fsdd"):
            second.run()

    first.wait = meanwhile
    first.run()
    assert not second.waits


# -- space, folders -------------------------------------------------------------------------------------------------


def test_too_little_space_is_said_with_the_numbers_before_anything_is_fetched(server, job, tmp_path):
    server.files["/a.zip"] = Served(zipped(**{"a.wav": BODY}), length=3_000_000_000)
    server.files["/b.zip"] = Served(zipped(**{"b.wav": BODY}), length=2_000_000_000)
    files = [one(server, name, unpack=True) for name in ("a.zip", "b.zip")]
    with pytest.raises(DownloadError) as raised:
        job(*files, free=9_999_999_999).run()
    assert "needs 10.0 GB" in str(raised.value) and "5.0 GB to download" in str(raised.value)
    assert "--only (a.zip, b.zip)" in str(raised.value) and "--to" in str(raised.value)
    assert len(server.seen) == 2 and not (tmp_path / "fsdd").exists()


def test_size_of_the_table_counts_where_the_server_names_none(server, job):
    server.files["/a.zip"] = Served(length=None)
    task = job(one(server, "a.zip", unpack=True, gb=7.5), free=10**10)
    task._length = lambda url, file: None
    with pytest.raises(DownloadError, match=r"needs 15\.0 GB"):
        task.run()


def test_disk_that_fills_up_is_a_message_and_the_download_goes_on_later(server, job, tmp_path, monkeypatch):
    server.files["/a.zip"] = Served(zipped(**{"a.wav": BODY}))
    file = one(server, "a.zip", unpack=True)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "_write", full)
        with pytest.raises(DownloadError, match=r"is full .* make room and run the same command again"):
            job(file).run()
    assert not (tmp_path / ".download/fsdd/unpacking").exists() and not (tmp_path / "fsdd/a.wav").exists()
    asked = len(server.seen)
    job(file).run()
    assert (tmp_path / "fsdd/a.wav").read_bytes() == BODY
    assert len(server.seen) == asked  # the archive was still there


def test_zip_that_needs_more_than_is_free_is_not_begun(tmp_path):
    archive = saved(tmp_path, "a.zip", zipped(**{"a.wav": BODY}))
    with pytest.raises(NoSpaceError, match="needs 300 kB to unpack, and 10 bytes are free"):
        unpack(archive, tmp_path / "out", lambda _: 10)


def test_folder_with_other_files_is_refused(server, job, tmp_path):
    (tmp_path / "fsdd").mkdir()
    job(one(server)).check_folder()  # empty is well
    (tmp_path / "fsdd" / "mine.wav").write_bytes(b"x")
    with pytest.raises(DownloadError, match="not downloaded by this command"):
        job(one(server)).run()
    mark_synthetic(tmp_path / "fsdd")
    with pytest.raises(DownloadError, match="made-up speakers: name another folder with --to"):
        job(one(server)).run()


# -- archives -------------------------------------------------------------------------------------------------------

OUT = {"parent": "../evil", "deep": "a/../../evil", "absolute": "/tmp/evil", "windows": "..\\evil", "drive": "C:/evil"}


@pytest.mark.parametrize("name", OUT.values(), ids=OUT)
@pytest.mark.parametrize(
    "make", [lambda name: zipped(**{name: "x"}), lambda name: tarred((name, b"x"))], ids=["zip", "tar"]
)
def test_no_path_leaves_the_folder(tmp_path, make, name):
    (tmp_path / "in").mkdir()
    archive = saved(tmp_path, "a", make(name))
    with pytest.raises(ArchiveError, match="must not be unpacked"):
        unpack(archive, tmp_path / "in" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "in", "out"]


def linked_zip(target, kind=0o120777):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a/link")
        info.create_system, info.external_attr = 3, kind << 16
        archive.writestr(info, target)
        archive.writestr("a/b.wav", b"x")
    return out.getvalue()


BAD_LINKS = {
    "zip link": linked_zip("../../etc/passwd"),
    "zip absolute link": linked_zip("/etc/passwd"),
    "zip fifo": linked_zip("", 0o010644),
    "tar link": tarred(("a/link", tarfile.SYMTYPE, "../../etc/passwd")),
    "tar absolute link": tarred(("a/link", tarfile.SYMTYPE, "/etc/passwd")),
    "tar hard link": tarred(("a/link", tarfile.LNKTYPE, "../etc/passwd")),
    "tar fifo": tarred(("a/fifo", tarfile.FIFOTYPE, "")),
    "tar device": tarred(("a/null", tarfile.CHRTYPE, "")),
    "tar through a link": tarred(("a", tarfile.SYMTYPE, ".."), ("a/evil", b"x")),
}


@pytest.mark.parametrize("data", BAD_LINKS.values(), ids=BAD_LINKS)
def test_links_out_and_special_files_are_refused(tmp_path, data):
    archive = saved(tmp_path, "archive", data)
    with pytest.raises(ArchiveError, match="must not be unpacked"):
        unpack(archive, tmp_path / "out")
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink() or path.name == "evil"]


def test_links_inside_are_left_out_and_hard_links_copied(tmp_path):
    members = (("a/b.wav", b"x"), ("a/soft.wav", tarfile.SYMTYPE, "b.wav"), ("a/hard.wav", tarfile.LNKTYPE, "a/b.wav"))
    assert unpack(saved(tmp_path, "t", tarred(*members)), tmp_path / "tar") == 1
    assert sorted(path.name for path in (tmp_path / "tar/a").iterdir()) == ["b.wav", "hard.wav"]
    assert unpack(saved(tmp_path, "z", linked_zip("b.wav")), tmp_path / "zip") == 1
    assert [path.name for path in (tmp_path / "zip/a").iterdir()] == ["b.wav"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_in_any_compression(tmp_path, mode):
    unpack(saved(tmp_path, "t", tarred(("a/b.wav", BODY), ("a", tarfile.DIRTYPE, ""), mode=mode)), tmp_path / "out")
    assert (tmp_path / "out/a/b.wav").read_bytes() == BODY


FLIPPED = bytearray(gzip.compress(tarred(("b.wav", BODY), mode="w"), compresslevel=0))
FLIPPED[150_000] ^= 1
BROKEN = {
    "cut zip": zipped(**{"a.wav": BODY})[:-100],
    "cut tar": tarred(("a.wav", BODY), mode="w")[:100_000],
    "cut tar.gz": tarred(("a.wav", BODY))[:-2000],
    "tar.gz without its sum": tarred(("a.wav", BODY))[:-8],
    "a wrong bit in tar.gz": bytes(FLIPPED),
    "page": b"\n<!DOCTYPE html><html></html>",
    "text": b"version https://git-lfs.github.com/spec/v1" * 20,
    "nothing": b"",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_archives_are_said_to_be_broken(server, job, tmp_path, data):
    server.files["/a.zip"] = Served(data)
    with pytest.raises(DownloadError, match=r"a\.zip: is (no whole zip or tar|a web page).*kept as .*a\.zip\.wrong"):
        job(one(server, "a.zip", unpack=True)).run()
    assert not [path for path in (tmp_path / "fsdd").rglob("*") if path.is_file()]
    server.files["/a.zip"] = Served(zipped(**{"a.wav": "x"}))
    job(one(server, "a.zip", unpack=True)).run()
    assert (tmp_path / "fsdd/a.wav").read_text() == "x"


# -- the table ------------------------------------------------------------------------------------------------------


def test_every_corpus_has_files_or_says_how_to_get_it():
    table = download.sources()
    assert not set(corpora()) - set(table), "corpora without an entry in downloads.toml"
    for name, corpus in corpora().items():
        source = table[name]
        assert source.files or source.access, name
        assert not (source.files and corpus.licence.access != "open"), f"{name} is not open, and has addresses"
        assert len({file.name for file in source.files}) == len(source.files), name
        if source.access:
            assert any("{folder}" in step for step in source.access), f"{name}: where do the files go?"
            assert "{" not in download.access_steps(corpus, source, Path("/raw") / name).replace("{}", "")


def test_table_names_recipes_only():
    planned = set(download.sources()) - set(corpora())
    assert not planned, f"entries of downloads.toml without a recipe: {', '.join(sorted(planned))}"


def test_faults_of_the_table_are_named(tmp_path):
    for text, wrong in {
        'files = [{name = "a", url = "ftp://x/a"}]': r"\[c\] a: no http",
        'files = [{name = "a"}]': r"\[c\] a: no http",
        'files = [{name = "../a", url = "http://x/a"}]': "a name that is no path",
        'files = [{name = "a", url = "http://x/a", md6 = "0"}]': "unknown md6",
    }.items():
        (tmp_path / "t.toml").write_text(f"[c]\n{text}\n")
        with pytest.raises(DownloadError, match=wrong):
            download.sources(tmp_path / "t.toml")


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def slap(server, tmp_path, monkeypatch):
    """Runs ``slap download`` with fsdd at the server; gives exit code and everything printed."""
    server.files["/fsdd.zip"] = Served(zipped(**{"free-spoken-digit-dataset-x/metadata.py": "metadata = {}"}))
    table = {**download.sources(), "fsdd": Source((one(server, "fsdd.zip", unpack=True, strip=True),))}
    monkeypatch.setattr(download, "sources", lambda: table)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SLAP_RAW", raising=False)

    def run(*arguments, answer=""):
        result = CliRunner().invoke(main, ["download", *arguments], input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


def test_licence_is_shown_and_asked_for(slap, server, tmp_path):
    code, text = slap("fsdd", "--to", str(tmp_path), answer="n\n")
    assert code == 1 and "the terms were not accepted; nothing was downloaded" in text
    corpus = corpora()["fsdd"]
    for shown in (corpus.title, corpus.homepage, corpus.licence.name, corpus.licence.url, corpus.licence.consent):
        assert shown in text
    assert corpus.citation.split(",")[0] in text
    code, text = slap("fsdd", "--to", str(tmp_path))
    assert code == 1 and "add --accept-licence" in text
    assert not server.seen and not (tmp_path / "fsdd").exists()
    code, text = slap("fsdd", "--to", str(tmp_path), answer="y\n")
    assert code == 0 and f"SLAP_RAW={tmp_path} make run" in text
    assert (tmp_path / "fsdd/metadata.py").is_file()
    code, text = slap("fsdd", "--to", str(tmp_path))
    assert code == 0 and "Nothing to do" in text


def test_accept_licence_is_for_scripts(slap, tmp_path):
    code, text = slap("fsdd", "--to", str(tmp_path), "--accept-licence")
    assert code == 0 and corpora()["fsdd"].licence.url in text


def test_raw_folder_of_the_settings_is_the_default(slap, tmp_path, monkeypatch):
    monkeypatch.setenv("SLAP_RAW", str(tmp_path / "raw"))
    assert slap("fsdd", "--accept-licence")[0] == 0
    assert (tmp_path / "raw/fsdd/metadata.py").is_file()
    monkeypatch.delenv("SLAP_RAW")
    monkeypatch.setenv("SLAP_WAREHOUSE", str(tmp_path / "house"))
    assert slap("fsdd", "--accept-licence")[0] == 0
    assert (tmp_path / "house/raw/fsdd/metadata.py").is_file()


def test_gated_corpora_are_explained_and_not_downloaded(slap, server, tmp_path):
    table = download.sources()
    for name, corpus in corpora().items():
        if name in table and not table[name].files:
            code, text = slap(name, "--to", str(tmp_path), "--accept-licence")
            assert code == 1 and "nothing was downloaded" in text, name
            assert "1. " in text and corpus.licence.access in text
    assert not server.seen and not list(tmp_path.iterdir())


def test_unknown_names_are_answered_with_the_nearest(slap, tmp_path):
    code, text = slap("librespeech")
    assert code == 1 and "did you mean librispeech?" in text
    code, text = slap("librispeech", "--only", "train-clean100")
    assert code == 1 and "did you mean train-clean-100?" in text


def test_list_of_what_there_is(slap):
    code, text = slap()
    assert code == 0
    assert all(name in text for name in corpora())
    assert "by hand: agreement" in text and "train-clean-100" in text


def test_what_is_left_to_do_is_said_after_the_download(slap, tmp_path):
    table = download.sources()
    table["fsdd"] = replace(table["fsdd"], access=("Put the list into {folder}.",))
    for said in ("Done.", "Nothing to do"):
        code, text = slap("fsdd", "--to", str(tmp_path), "--accept-licence")
        assert code == 0 and said in text and f"1. Put the list into {tmp_path / 'fsdd'}." in " ".join(text.split())


def test_folder_that_cannot_be_written_is_a_message(slap, tmp_path):
    (tmp_path / download.HIDDEN).write_text("x")
    code, text = slap("fsdd", "--to", str(tmp_path), "--accept-licence")
    assert code == 1 and f"Error: {tmp_path / download.HIDDEN}" in text and "directory" in text.casefold()


@pytest.mark.parametrize("to", ["file", "file/below"])
def test_file_in_place_of_the_folder_is_said_before_the_licence(slap, server, tmp_path, to):
    (tmp_path / "file").write_text("x")
    code, text = slap("fsdd", "--to", str(tmp_path / to))
    assert code == 1 and text.startswith(f"Error: {tmp_path / 'file'} is a file, not a folder: name another folder")
    assert corpora()["fsdd"].licence.url not in text
    assert not server.seen and (tmp_path / "file").read_text() == "x"


def test_ctrl_c_is_a_message(slap, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Download, "_transfer", stop)
    code, text = slap("fsdd", "--to", str(tmp_path), "--accept-licence")
    assert code == 1 and "it goes on where it stopped" in text


def test_choose_keeps_the_order_of_the_table():
    source = Source(tuple(File(name, f"http://x/{name}") for name in "abc"))
    assert [file.name for file in download.choose(source, ["c", "a"])] == ["a", "c"]
    assert download.choose(source, []) == list(source.files)
    needed = Source((replace(source.files[0], needed=True), *source.files[1:]))
    assert [file.name for file in download.choose(needed, ["c"])] == ["a", "c"]


def test_steps_are_wrapped_and_commands_stay_whole():
    command = "git clone " + "x" * 120
    source = Source(access=("word " * 30, f"Run:\n    {command}\n    ls {{folder}}"))
    lines = download.access_steps(corpora()["fsdd"], source, Path("/raw/fsdd")).splitlines()
    assert lines[0].startswith("  1. word") and len(lines[0]) <= 100 and lines[1].startswith("     word")
    assert lines[-3:] == ["  2. Run:", f"       {command}", "       ls /raw/fsdd"]
