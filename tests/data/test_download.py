"""Downloads, against a scripted server on this machine: it cuts off, stalls, lies and redirects."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.request import Request

import numpy as np
import pytest

from resdeg.data.download import PATIENT, Patience, RemoteFile, _HttpsOnly, _Next, download
from resdeg.errors import DataError, StorageError
from tests.served import Handler, Script, Server, serving
from tests.trust.faults import Operations

CONTENT = b"\x1f\x8b" + np.random.default_rng(0).bytes(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(stall=0.4, rate=50_000.0, window=0.3)


def good(handler: Handler) -> None:
    handler.wfile.write(handler.rest(CONTENT))


def cut(handler: Handler) -> None:
    """100,000 bytes, then the connection is closed."""
    handler.wfile.write(handler.rest(CONTENT)[:100_000])


def always_cut(handler: Handler) -> None:
    handler.head(200, len(CONTENT))
    handler.wfile.write(CONTENT[:5_000])


def stalled(handler: Handler) -> None:
    handler.wfile.write(handler.rest(CONTENT)[:60_000])
    handler.wfile.flush()
    time.sleep(1.5)


def slow(handler: Handler) -> None:
    """About 20 kB/s."""
    content = handler.rest(CONTENT)
    for at in range(0, len(content), 1_000):
        handler.wfile.write(content[at : at + 1_000])
        handler.wfile.flush()
        time.sleep(0.05 if at < 20_000 else 0)


def silent(handler: Handler) -> None:
    time.sleep(1.5)


def short(handler: Handler) -> None:
    handler.head(200, 1_000)
    handler.wfile.write(CONTENT[:1_000])


def long(handler: Handler) -> None:
    """More than was asked for, with no length given."""
    handler.head(200)
    handler.wfile.write(CONTENT + b"more")


def page(handler: Handler) -> None:
    handler.head(200, len(CONTENT), Content_Type="text/html; charset=utf-8")
    handler.wfile.write(b"<html>sign in</html>")


def unnamed_page(handler: Handler) -> None:
    handler.head(200, len(CONTENT), Content_Type="application/octet-stream")
    handler.wfile.write(b"<html>sign in</html>".ljust(len(CONTENT)))


def changed(handler: Handler) -> None:
    content = bytearray(CONTENT)
    content[1_000] ^= 1
    handler.wfile.write(handler.rest(bytes(content)))


def redirect(handler: Handler) -> None:
    handler.head(302, 0, Location=handler.server.url("/good"))


def range_ignored(handler: Handler) -> None:
    handler.head(200, len(CONTENT))
    handler.wfile.write(CONTENT)


def other_range(handler: Handler) -> None:
    handler.head(206, 10, Content_Range=f"bytes 0-9/{len(CONTENT)}")
    handler.wfile.write(CONTENT[:10])


def other_total(handler: Handler) -> None:
    handler.head(206, 10, Content_Range=f"bytes {handler.start}-{handler.start + 9}/9999999")
    handler.wfile.write(CONTENT[:10])


def no_range(handler: Handler) -> None:
    handler.head(416, 0) if handler.start else good(handler)


def missing(handler: Handler) -> None:
    handler.send_error(404)


def failing(handler: Handler) -> None:
    handler.send_error(503)


def created(handler: Handler) -> None:
    handler.head(201, len(CONTENT))


SCRIPTS = [
    good, cut, always_cut, stalled, slow, silent, short, long, page, unnamed_page, changed, redirect,
    range_ignored, other_range, other_total, no_range, missing, failing, created,
]  # fmt: skip
WAITED_FOR = {stalled, slow, silent}  # elsewhere a loaded machine may make any source slow


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(**{script.__name__: script for script in SCRIPTS}) as found:
        yield found


@dataclass
class Fetched:
    path: Path
    said: list[str]
    progress: list[int]


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., Fetched]:
    def go(*scripts: Script | str) -> Fetched:
        patience = QUICK if WAITED_FOR.intersection(scripts) else PATIENT
        urls = tuple(s if isinstance(s, str) else server.url(f"/{s.__name__}") for s in scripts)
        said: list[str] = []
        progress: list[int] = []
        path = download(
            RemoteFile("a.tar.gz", len(CONTENT), SHA, urls),
            tmp_path / "d",
            say=said.append,
            progress=lambda done, total: progress.append(done),
            patience=patience,
        )
        assert path.read_bytes() == CONTENT
        assert not path.with_name("a.tar.gz.part").exists()
        return Fetched(path, said, progress)

    return go


def part(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "d").mkdir(exist_ok=True)
    path = tmp_path / "d" / "a.tar.gz.part"
    path.write_bytes(content)
    return path


def test_a_good_source(fetch, server: Server) -> None:
    done = fetch(good)
    assert done.progress == sorted(done.progress)
    assert done.progress[-1] == len(CONTENT)
    assert "Range" not in server.asked[0][1]
    fetch(good)
    assert len(server.asked) == 1, "what is there is not fetched again"
    done.path.write_bytes(CONTENT[:-1] + b"x")
    fetch(good)
    assert len(server.asked) == 2, "but what is there is verified"


def test_a_source_that_breaks_off_is_asked_for_the_rest(fetch, server: Server) -> None:
    fetch(cut)
    starts = [headers.get("Range") for _, headers in server.asked]
    assert starts == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_partial_file_is_continued_by_another_source(fetch, server: Server, tmp_path: Path) -> None:
    done = fetch(stalled, good)
    assert any("sends nothing for 0.4 s" in line for line in done.said)
    assert server.asked[-1][1]["Range"] == "bytes=60000-"
    assert server.asked[-1][0] == "/good"


def test_a_partial_file_of_an_earlier_run_is_continued(fetch, server: Server, tmp_path: Path) -> None:
    part(tmp_path, CONTENT[:123_456])
    fetch(good)
    assert [headers["Range"] for _, headers in server.asked] == ["bytes=123456-"]


def test_a_whole_partial_file_needs_no_server(fetch, server: Server, tmp_path: Path) -> None:
    part(tmp_path, CONTENT)
    fetch(good)
    assert server.asked == []


@pytest.mark.parametrize("ending", ["signal", "full disk"])
def test_a_write_that_is_interrupted_leaves_the_beginning_of_the_file(
    server: Server, tmp_path: Path, ending: str
) -> None:
    """The bytes are written in blocks of 4 MB, and the interruption comes at the first of them."""
    content = b"\x1f\x8b" + bytes(range(256)) * 20_000
    server.scripts["/large"] = lambda handler: handler.wfile.write(handler.rest(content))
    sha256 = hashlib.sha256(content).hexdigest()
    file = RemoteFile("a.tar.gz", len(content), sha256, (server.url("/large"),))

    def get() -> Path:
        return download(file, tmp_path / "d", say=lambda line: None, progress=lambda done, total: None)

    blocks = []

    def interrupt(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if name != "write" or len(arguments[1]) < 1 << 20:
            return original(*arguments)
        blocks.append(len(arguments[1]))
        if len(blocks) > 1:
            return original(*arguments)
        if ending == "signal":
            original(*arguments)
            raise SystemExit(143)
        original(arguments[0], arguments[1][: len(arguments[1]) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Operations(interrupt), pytest.raises((SystemExit, StorageError)):
        get()
    stored = (tmp_path / "d" / "a.tar.gz.part").read_bytes()
    assert len(stored) >= 1 << 21
    assert content.startswith(stored)
    assert get().read_bytes() == content
    assert [headers.get("Range") for _, headers in server.asked] == [None, f"bytes={len(stored)}-"]


@pytest.mark.parametrize("source", [range_ignored, no_range])
def test_a_source_without_ranges_begins_again(fetch, tmp_path: Path, source: Script) -> None:
    part(tmp_path, CONTENT[:50_000])
    fetch(source, source)


@pytest.mark.parametrize("bytes_before", [b"\x1f\x8b" + b"wrong" * 1000, CONTENT + b"too long"])
def test_a_wrong_partial_file_costs_one_more_try(fetch, tmp_path: Path, bytes_before: bytes) -> None:
    part(tmp_path, bytes_before)
    fetch(good)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (silent, "for 0.4 s|within 0.4 s"),
        (short, "offers 1,000 bytes, expected 300,002"),
        (long, "sends more than 300,002 bytes"),
        (page, "answers with a web page"),
        (unnamed_page, "does not send a gzip archive"),
        (changed, "gave another file"),
        (redirect, "redirects to http://.*, which is not https"),
        (missing, "answers 404"),
        (failing, "answers 503"),
        (created, "answers 201"),
        (always_cut, "breaks off after 5,000 of 300,002 bytes"),
        ("http://127.0.0.1:9/a.tar.gz", "cannot be reached|sends nothing"),
        ("file:///etc/passwd", "is not an https address"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_source_is_left_for_the_next(fetch, tmp_path: Path, source, told: str) -> None:
    done = fetch(source, good)
    assert any(re.search(told, line) for line in done.said), done.said
    done.path.unlink()
    with pytest.raises(DataError, match=told) as error:
        fetch(source)
    assert "resdeg data import FILE" in error.value.remedy
    kept = tmp_path / "d" / "a.tar.gz.part"
    assert not kept.exists() or CONTENT.startswith(kept.read_bytes()), "nothing wrong is kept"


@pytest.mark.parametrize("source", [other_range, other_total])
def test_another_range_is_refused(fetch, tmp_path: Path, source: Script) -> None:
    part(tmp_path, CONTENT[:50_000])
    done = fetch(source, good)
    assert any("answers another range" in line for line in done.said)


def test_a_slow_source_is_left_and_asked_with_patience_when_there_is_no_better(fetch, server: Server) -> None:
    fetch(slow, good)
    assert [path for path, _ in server.asked] == ["/slow", "/good"]
    server.asked.clear()
    fetch(good).path.unlink()
    done = fetch(missing, slow)
    assert any(re.search("sends [0-9]+ kB/s", line) for line in done.said)
    assert [path for path, _ in server.asked] == ["/missing", "/slow", "/slow"]
    assert sum("404" in line for line in done.said) == 1, "the missing one is not asked again"


def test_https_may_redirect_to_https() -> None:
    request = Request("https://one.example/a")
    handler = _HttpsOnly()
    moved = handler.redirect_request(request, None, 302, "", Message(), "https://two.example/a")
    assert moved is not None
    assert moved.full_url == "https://two.example/a"
    for target in ("http://two.example/a", "ftp://two.example/a", "file:///etc/passwd"):
        with pytest.raises(_Next, match="not https"):
            handler.redirect_request(request, None, 302, "", Message(), target)


def test_a_proxy_is_used(fetch, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    server.scripts["/good"] = good
    fetch("http://nowhere.invalid/good")
    assert server.asked[0][0] == "http://nowhere.invalid/good"
    assert server.asked[0][1]["Host"] == "nowhere.invalid"


def test_two_processes_that_want_it_fetch_it_once(server: Server, tmp_path: Path) -> None:
    def waits(handler: Handler) -> None:
        time.sleep(2.5)  # longer than the lock's second of patience
        good(handler)

    server.scripts["/waits"] = waits
    script = (
        "import sys\nfrom pathlib import Path\nfrom resdeg.data.download import RemoteFile, download\n"
        f"file = RemoteFile('a.tar.gz', {len(CONTENT)}, {SHA!r}, ({server.url('/waits')!r},))\n"
        f"print(download(file, Path({str(tmp_path / 'd')!r}), say=print, progress=lambda *_: None))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(text.splitlines()[-1] == str(tmp_path / "d" / "a.tar.gz") for text in told)
    assert (tmp_path / "d" / "a.tar.gz").read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert sum("another process is fetching" in text for text in told) == 1
