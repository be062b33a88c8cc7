"""Worker processes: how one is forked, and the lines of JSON that it sends.

The fork server imports torch once and never computes, so a worker starts in hundredths of a second and
one that dies takes nobody with it. No object of a worker is unpickled.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from resdeg.errors import BusyError, DataError, LostError, ResdegError, StorageError, UsageError

_context = multiprocessing.get_context("forkserver")
_ERRORS = {
    kind.exit_code: kind for kind in (ResdegError, UsageError, LostError, DataError, StorageError, BusyError)
}


def start_server() -> None:
    """Begin to import torch in the fork server, while this process goes on."""
    from multiprocessing import forkserver

    _context.set_forkserver_preload(["resdeg.sweep.executors.server"])
    # Signals belong to the coordinator: the server and its workers must outlive a Ctrl-C on the terminal.
    forkserver.ensure_running()


def spawn(target: Callable[..., None], *arguments: Any) -> tuple[Any, connection.Connection]:
    """A worker that calls `target(pipe, *arguments)`, and our end of that pipe."""
    start_server()  # one that was started without its imports would leave them to every worker
    ours, theirs = _context.Pipe(duplex=False)
    process = _context.Process(target=target, args=(theirs, *arguments), daemon=False)
    process.start()
    theirs.close()  # so that the worker's death is the end of the pipe
    return process, ours


def error_of(told: dict[str, Any]) -> ResdegError:
    return _ERRORS.get(told["code"], ResdegError)(told["what"], told["remedy"])


def send(pipe: connection.Connection, **message: object) -> bool:
    """Whether somebody listens; a coordinator that is gone is no error of its worker."""
    try:
        pipe.send_bytes(json.dumps(message).encode())
    except OSError:
        return False
    return True


def send_error(pipe: connection.Connection, error: ResdegError) -> None:
    send(pipe, error={"code": error.exit_code, "what": error.what, "remedy": error.remedy})
