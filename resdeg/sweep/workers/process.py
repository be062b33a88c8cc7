"""Worker processes: how one is forked, and how it is heard.

The fork server imports torch once and never computes, so a worker starts in hundredths of a second and
one that dies takes nobody with it. Messages are JSON: no object of a worker is unpickled.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from resdeg.errors import LostError
from resdeg.sweep.workers import entry
from resdeg.sweep.workers.launch import start_server
from resdeg.sweep.workers.messages import unpack_error

_context = multiprocessing.get_context("forkserver")
_starting = threading.Lock()


@dataclass(eq=False)
class Worker:
    """A process, our end of the pipe to it, and when each of its runs last said something.

    subject, remedy: what a LostError calls the worker, and what it advises. heard: by run id, in seconds of
    the monotonic clock; empty for a worker that trains no run.
    """

    process: Any
    pipe: connection.Connection
    subject: str
    remedy: str = ""
    heard: dict[str, float] = field(default_factory=dict)

    @classmethod
    def start(
        cls, target: Callable[..., None], *arguments: Any, subject: str = "its worker", remedy: str = ""
    ) -> Worker:
        """Starts a process that calls `target(pipe, *arguments)`.

        Args:
            target: a function of a module, since the process imports it by name.
        """
        start_server()  # one that was started without its imports would leave them to every worker
        ours, theirs = _context.Pipe()
        process = _context.Process(target=target, args=(theirs, *arguments), daemon=False)
        with _hidden_script():
            process.start()
        theirs.close()  # so that the worker's death is the end of the pipe
        return cls(process, ours, subject, remedy)

    def send(self, text: str) -> None:
        """Sends `text`. A worker that has just died does not get it, which the next `receive` says."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(text.encode())

    def receive(self) -> dict[str, Any]:
        """Waits for the next message.

        Raises:
            LostError: the worker died, perhaps in the middle of a message; the error says how.
            ResdegError: what the worker raised and sent.
        """
        try:
            message: dict[str, Any] = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
            raise LostError(f"{self.subject} died ({ending(code)}{hint})", self.remedy) from None
        if "error" in message:
            raise unpack_error(message["error"])
        return message

    def answer(self) -> Any:
        """Waits for the answer of a worker that `ask` started; the worker is gone afterwards.

        Raises:
            ResdegError: see `receive`.
        """
        try:
            return self.receive()["answer"]
        finally:
            self.kill()  # it has answered, or a signal came: nothing in it is worth waiting for

    def release(self) -> None:
        """Closes the pipe, upon which the worker leaves, and waits until it has left."""
        self.pipe.close()
        self.process.join()

    def kill(self) -> None:
        """Ends the process now."""
        if self.process.is_alive():
            self.process.kill()
        self.release()


def ask(
    target: Callable[..., object], *arguments: Any, subject: str = "its worker", remedy: str = ""
) -> Worker:
    """Starts a worker that answers one question: what `target(*arguments)` returns, which JSON can hold."""
    return Worker.start(entry.answer, target, *arguments, subject=subject, remedy=remedy)


def call(
    target: Callable[..., object], *arguments: Any, subject: str = "its worker", remedy: str = ""
) -> Any:
    """Returns what `target(*arguments)` returns in a worker, so that this process never imports torch.

    Whatever interrupts the wait, a signal for one, kills the worker.

    Raises:
        LostError: the worker died; the error names `subject` and how it ended.
        ResdegError: what `target` raised.
    """
    return ask(target, *arguments, subject=subject, remedy=remedy).answer()


@contextlib.contextmanager
def _hidden_script() -> Iterator[None]:
    """Keeps a process that is started within `with` from importing the program that this one runs.

    multiprocessing would run a script that calls `resdeg.sweep` once more in every worker, unless the script
    guards itself by `if __name__ == "__main__"`. No worker needs anything from there.
    """
    with _starting:  # a second thread would take the stand-in of the first for the script
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


def ending(code: int) -> str:
    """Says how a process ended, by its exit code.

    >>> ending(1), ending(-9)
    ('exit code 1', 'signal 9')
    """
    return f"signal {-code}" if code < 0 else f"exit code {code}"
