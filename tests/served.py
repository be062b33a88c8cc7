"""A scripted HTTP server on this machine."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Script = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a path with its script."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        path = self.path.removeprefix(f"http://{self.headers['Host']}")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.server.scripts[path](self)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def start(self) -> int:
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0

    def head(self, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def rest(self, content: bytes) -> bytes:
        """The headers of a good answer; what is to be sent."""
        if self.start:
            ranged = f"bytes {self.start}-{len(content) - 1}/{len(content)}"
            self.head(206, len(content) - self.start, Content_Range=ranged)
        else:
            self.head(200, len(content))
        return content[self.start :]


@dataclass
class Server(http.server.ThreadingHTTPServer):
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


@contextlib.contextmanager
def serving(**scripts: Script) -> Iterator[Server]:
    """A server that answers /name by its script."""
    with Server() as found:
        found.daemon_threads = True
        found.scripts = {f"/{name}": script for name, script in scripts.items()}
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()
