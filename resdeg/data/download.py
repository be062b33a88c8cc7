"""One file of known size and SHA-256, from the first of several sources that gives it.

What was got is kept between sources and between runs, and continued by range requests. Nothing is
read by anyone before its SHA-256 holds. Proxies are taken from the environment.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from resdeg import __version__, files
from resdeg.errors import DataError

Octets = bytes  # within `Wanted` that name is its size
Progress = Callable[[int, int], None]  # bytes there, bytes in all

_BLOCK = 1 << 22  # written and synced at once
_TRIES = 5  # of one source that breaks off after giving something


@dataclass(frozen=True)
class Wanted:
    """The file: its name, size, SHA-256, who may have it, and what else is told of it.

    kind, magic: what it is and the first two bytes of such a file; by_hand: the command that takes a file
    which was got by other means.
    """

    name: str
    bytes: int
    sha256: str
    urls: tuple[str, ...]
    kind: str = "gzip archive"
    magic: Octets = b"\x1f\x8b"
    by_hand: str = "resdeg data import FILE"


@dataclass(frozen=True)
class Patience:
    """When to ask the next source.

    stall: seconds without a byte; rate: bytes per second, over each `window` of seconds. When every
    source was too slow, the first pass is followed by one that asks for no rate.
    """

    stall: float = 20.0
    rate: float = 100_000.0
    window: float = 15.0


PATIENT = Patience()


class _Next(Exception):  # noqa: N818 - the reason to ask the next source
    """This source does not give the file now; `again`: it may when asked with more patience."""

    def __init__(self, why: str, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


def download(
    wanted: Wanted, folder: Path, say: Callable[[str], None], progress: Progress, patience: Patience = PATIENT
) -> Path:
    """The verified file in `folder`; two processes that want it fetch it once.

    Raises:
        DataError: no source gave it; StorageError: the disk refuses.
    """
    files.make_folder(folder)
    target, lock = folder / wanted.name, folder / f"{wanted.name}.lock"
    waiting = f"another process is fetching {wanted.name}: waiting for it"
    with files.locked(lock, wait=lambda busy: say(waiting)):
        return _unlocked(wanted, target, say, progress, patience)


def _unlocked(
    wanted: Wanted, target: Path, say: Callable[[str], None], progress: Progress, patience: Patience
) -> Path:
    if is_there(wanted, target):
        return target
    part = _Part(target.with_name(f"{wanted.name}.part"), wanted, progress)
    told: list[str] = []
    urls = list(wanted.urls)
    for pace in (patience, replace(patience, rate=0.0)):
        slow = []
        for url in urls:
            host = urlsplit(url).hostname or url
            say(f"{wanted.name} from {host}" + (f", from byte {part.size:,} on" if part.size else ""))
            try:
                _from_source(url, part, pace)
            except _Next as reason:
                say(f"{host}: {reason}")
                told.append(f"{host}: {reason}")
                if reason.again:
                    slow.append(url)
                continue
            files.move(part.path, target)
            return target
        urls = slow
    raise DataError(
        f"{wanted.name} could not be fetched: {'; '.join(dict.fromkeys(told))}"[:600],
        f"try again later (what was got is kept), or get it by other means ({wanted.bytes:,} bytes, SHA-256 "
        f"{wanted.sha256[:12]}...) and run `{wanted.by_hand}`",
    )


def is_there(wanted: Wanted, path: Path) -> bool:
    """Whether the file at `path` is the wanted one, by its SHA-256."""
    return path.is_file() and _digest(path) == wanted.sha256


@dataclass
class _Part:
    """The bytes got so far, on disk."""

    path: Path
    wanted: Wanted
    progress: Progress
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.path.stat().st_size if self.path.exists() else 0
        if self.size > self.wanted.bytes:
            self.clear()

    def add(self, block: bytes) -> None:
        files.append(self.path, block)
        self.size += len(block)

    def clear(self) -> None:
        if self.path.exists():
            files.truncate(self.path, 0)
        self.size = 0

    @property
    def whole(self) -> bool:
        return self.size == self.wanted.bytes


def _from_source(url: str, part: _Part, pace: Patience) -> None:
    """Fill `part` from `url`; a source that breaks off is asked for the rest while it gives something."""
    resumed = part.size > 0
    for _ in range(_TRIES):
        before = part.size
        if not part.whole:
            _ask(url, part, pace)
        if part.whole:
            if _digest(part.path) == part.wanted.sha256:
                return
            part.clear()
            if not resumed:
                raise _Next("gave another file (its SHA-256 is wrong)")
            resumed = False  # the wrong bytes may have been an earlier source's
        elif part.size <= before:
            break
    raise _Next(f"breaks off after {part.size:,} of {part.wanted.bytes:,} bytes", again=True)


def _ask(url: str, part: _Part, pace: Patience) -> None:
    """One request for what is missing; whatever comes before it breaks off is kept."""
    start = part.size
    headers = {"User-Agent": f"resdeg/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    if urlsplit(url).scheme not in ("https", "http"):
        raise _Next("is not an https address")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was checked
    opener = urllib.request.build_opener(_HttpsOnly)
    try:
        with opener.open(request, timeout=pace.stall) as answer:
            _check_answer(answer, part, start)
            for block in _blocks(answer, pace, part):
                part.add(block)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # our part is longer than what this source has
            part.clear()
        raise _Next(
            f"answers {error.code} {error.reason}", again=error.code == 416 or error.code >= 500
        ) from error
    except TimeoutError as error:
        raise _Next(f"sends nothing for {pace.stall:g} s", again=True) from error
    except (ConnectionError, http.client.IncompleteRead):
        return  # it broke off: the rest is asked for
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _Next(f"does not answer within {pace.stall:g} s", again=True) from error
        raise _Next(f"cannot be reached ({getattr(reason, 'strerror', None) or reason})") from error


def _check_answer(answer: Any, part: _Part, start: int) -> None:
    """That it is the file, or the rest of it, by what the headers say."""
    if (answer.headers.get("Content-Type") or "").startswith("text/html"):
        raise _Next("answers with a web page")
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        given = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", answer.headers.get("Content-Range") or "")
        if not given or int(given[1]) != start or given[2] not in ("*", str(part.wanted.bytes)):
            raise _Next(f"answers another range ({answer.headers.get('Content-Range')})")
    elif answer.status == 200:
        if length is not None and int(length) != part.wanted.bytes:
            raise _Next(f"offers {int(length):,} bytes, expected {part.wanted.bytes:,}")
        part.clear()  # it does not do ranges: from the start
    else:
        raise _Next(f"answers {answer.status}")


def _blocks(answer: IO[bytes], pace: Patience, part: _Part) -> Iterator[bytes]:
    """What comes, in blocks worth writing; given up when it comes too slowly."""
    held = bytearray()
    since, got = time.monotonic(), 0
    seen = part.size
    try:
        while chunk := answer.read1(1 << 16):  # type: ignore[attr-defined]
            if seen == 0 and not part.wanted.magic.startswith(bytes(chunk[:2])):
                raise _Next(f"does not send a {part.wanted.kind}")
            held += chunk
            seen += len(chunk)
            got += len(chunk)
            if seen > part.wanted.bytes:
                held.clear()
                part.clear()
                raise _Next(f"sends more than {part.wanted.bytes:,} bytes")
            part.progress(seen, part.wanted.bytes)
            if len(held) >= _BLOCK:
                yield bytes(held)
                held.clear()
            if (passed := time.monotonic() - since) >= pace.window:
                if got / passed < pace.rate:
                    raise _Next(f"sends {got / passed / 1000:.0f} kB/s", again=True)
                since, got = time.monotonic(), 0
    finally:
        if held:
            part.add(bytes(held))


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """A redirect may lead to https alone."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise _Next(f"redirects to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
