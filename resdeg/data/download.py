"""The download of one file of known size and SHA-256, from the first of several sources that gives it.

The bytes that came are kept between sources and between runs, and range requests continue them. Nobody
reads the file before its SHA-256 holds. Proxies are taken from the environment.
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

from resdeg import __version__, files, locks
from resdeg.errors import DataError
from resdeg.room import check_room

Octets = bytes  # in the body of `RemoteFile` the name `bytes` is a size
Progress = Callable[[int, int], None]  # from the bytes that came and the bytes in all

_BLOCK = 1 << 22  # bytes that are written and synced at once
_TRIES = 5  # for one source that breaks off after it has sent something


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its name, size and SHA-256, and the addresses that may have it.

    kind, magic: what the file is, in words, and the first two bytes of such a file.
    by_hand: the command that takes the file if the user got it by other means.
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
    """The limits at which the next source is asked.

    stall: seconds without a byte; rate: the least bytes per second, over each `window` of seconds. If every
    source was too slow, a second pass asks for no rate.
    """

    stall: float = 20.0
    rate: float = 100_000.0
    window: float = 15.0


PATIENT = Patience()


class _Next(Exception):  # noqa: N818 - it is no error: the next source is asked
    """This source does not give the file now; `again` says that it may if it is asked with more patience."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


def download(
    file: RemoteFile,
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Progress,
    patience: Patience = PATIENT,
    beside: int = 0,
) -> Path:
    """Downloads the verified file into `folder`; two processes that need it download it once.

    Args:
        beside: bytes that will be written on the same disk while the file is there.

    Raises:
        DataError: no source gave it; StorageError: the disk refuses, or has too little room.
    """
    files.make_folder(folder)
    target, lock = folder / file.name, folder / f"{file.name}.lock"
    waiting = f"another process is fetching {file.name}: waiting for it"
    with locks.locked(lock, wait=lambda busy: say(waiting)):
        if not is_there(file, target):
            part = _Part(target.with_name(f"{file.name}.part"), file, progress)
            check_room(folder, file.bytes - part.size + beside, purpose=file.name)
            _ask_sources(part, say, patience)
            files.move(part.path, target)
    return target


def _ask_sources(part: _Part, say: Callable[[str], None], patience: Patience) -> None:
    """Fills `part` from the first source that gives the file; slow ones are asked again in the end."""
    file, reasons = part.file, list[str]()
    urls = list(file.urls)
    for pace in (patience, replace(patience, rate=0.0)):
        slow = []
        for url in urls:
            host = urlsplit(url).hostname or url
            say(f"{file.name} from {host}" + (f", from byte {part.size:,} on" if part.size else ""))
            try:
                _ask_source(url, part, pace)
            except _Next as reason:
                say(f"{host}: {reason}")
                reasons.append(f"{host}: {reason}")
                if reason.again:
                    slow.append(url)
            else:
                return
        urls = slow
    raise DataError(
        f"{file.name} could not be fetched: {'; '.join(dict.fromkeys(reasons))}"[:600],
        f"try again later (the bytes that came are kept), or get it by other means ({file.bytes:,} bytes, "
        f"SHA-256 {file.sha256[:12]}...) and run `{file.by_hand}`",
    )


def is_there(file: RemoteFile, path: Path) -> bool:
    """Says whether `path` holds the file, by its SHA-256."""
    return path.is_file() and _digest(path) == file.sha256


@dataclass
class _Part:
    """The bytes of `file` that came so far, on disk."""

    path: Path
    file: RemoteFile
    progress: Progress
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.path.stat().st_size if self.path.exists() else 0
        if self.size > self.file.bytes:
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
        return self.size == self.file.bytes


def _ask_source(url: str, part: _Part, pace: Patience) -> None:
    """Fills `part` from `url`; a source that breaks off is asked for the rest while it sends something."""
    resumed = part.size > 0
    for _ in range(_TRIES):
        before = part.size
        if not part.whole:
            _request(url, part, pace)
        if part.whole:
            if _digest(part.path) == part.file.sha256:
                return
            part.clear()
            if not resumed:
                raise _Next("gave another file (its SHA-256 is wrong)")
            resumed = False  # the wrong bytes may have come from an earlier source
        elif part.size <= before:
            break
    raise _Next(f"breaks off after {part.size:,} of {part.file.bytes:,} bytes", again=True)


def _request(url: str, part: _Part, pace: Patience) -> None:
    """Requests the missing bytes once; those that come before the source breaks off are kept."""
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
            for block in _read_blocks(answer, pace, part):
                part.add(block)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # the part is longer than the file of this source
            part.clear()
        raise _Next(
            f"answers {error.code} {error.reason}", again=error.code == 416 or error.code >= 500
        ) from error
    except TimeoutError as error:
        raise _Next(f"sends nothing for {pace.stall:g} s", again=True) from error
    except (ConnectionError, http.client.IncompleteRead):
        return  # the source broke off, and the caller asks for the rest
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            raise _Next(f"does not answer within {pace.stall:g} s", again=True) from error
        raise _Next(f"cannot be reached ({getattr(reason, 'strerror', None) or reason})") from error


def _check_answer(answer: Any, part: _Part, start: int) -> None:
    """Checks by the headers that the answer is the file, or the rest of it."""
    if (answer.headers.get("Content-Type") or "").startswith("text/html"):
        raise _Next("answers with a web page")
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        given = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", answer.headers.get("Content-Range") or "")
        if not given or int(given[1]) != start or given[2] not in ("*", str(part.file.bytes)):
            raise _Next(f"answers another range ({answer.headers.get('Content-Range')})")
    elif answer.status == 200:
        if length is not None and int(length) != part.file.bytes:
            raise _Next(f"offers {int(length):,} bytes, expected {part.file.bytes:,}")
        part.clear()  # the source knows no ranges, so it sends the file from the start
    else:
        raise _Next(f"answers {answer.status}")


def _read_blocks(answer: IO[bytes], pace: Patience, part: _Part) -> Iterator[bytes]:
    """Reads the answer in blocks that are worth a write; gives up if the bytes come too slowly."""
    held = bytearray()
    since, got = time.monotonic(), 0
    seen = part.size
    try:
        while chunk := answer.read1(1 << 16):  # type: ignore[attr-defined]
            if seen == 0 and not part.file.magic.startswith(bytes(chunk[:2])):
                raise _Next(f"does not send a {part.file.kind}")
            held += chunk
            seen += len(chunk)
            got += len(chunk)
            if seen > part.file.bytes:
                held.clear()
                part.clear()
                raise _Next(f"sends more than {part.file.bytes:,} bytes")
            part.progress(seen, part.file.bytes)
            if len(held) >= _BLOCK:
                block = bytes(held)
                held.clear()  # before the yield, where an error of the caller closes this generator
                yield block
            if (passed := time.monotonic() - since) >= pace.window:
                if got / passed < pace.rate:
                    raise _Next(f"sends {got / passed / 1000:.0f} kB/s", again=True)
                since, got = time.monotonic(), 0
    finally:
        if held:
            part.add(bytes(held))


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https."""

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise _Next(f"redirects to {newurl[:80]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
