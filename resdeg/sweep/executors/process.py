"""Worker processes: how one is forked, and the lines of JSON that it sends.

The fork server imports torch once and never computes, so a worker starts in hundredths of a second and
one that dies takes nobody with it. No object of a worker is unpickled.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing import connection
from types import FrameType
from typing import Any

from resdeg.errors import BusyError, DataError, LostError, ResdegError, StorageError, UsageError
from resdeg.sweep.executors.parent import die_with_parent

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


def ending(code: int) -> str:
    """How a process ended, by its exit code.

    >>> ending(1), ending(-9)
    ('exit code 1', 'signal 9')
    """
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def error_of(told: dict[str, Any]) -> ResdegError:
    """What `told` gave."""
    return _ERRORS.get(told["code"], ResdegError)(told["what"], told["remedy"])


# ---------------------------------------------------------------- in the worker


def when_stopped(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call `handler` when this worker is to stop: at SIGTERM, SIGHUP, or the coordinator's death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the coordinator
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handler)
    die_with_parent(signal.SIGTERM)  # the fork server dies with the coordinator, and we with the fork server


def send(pipe: connection.Connection, **message: object) -> bool:
    """Whether somebody listens; a coordinator that is gone is no error of its worker."""
    try:
        pipe.send_bytes(json.dumps(message).encode())
    except OSError:
        return False
    return True


def told(error: ResdegError) -> dict[str, object]:
    """What `error_of` reads."""
    return {"code": error.exit_code, "what": error.what, "remedy": error.remedy}


def send_error(pipe: connection.Connection, error: ResdegError) -> None:
    send(pipe, error=told(error))
