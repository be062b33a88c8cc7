"""The operations on the disk that `resdeg.files` makes: counted, stopped, made to fail.

Everything persistent goes through that one module, so its few primitives are the whole surface. They are
patched from here; nothing of it ships.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

from resdeg import files

OPERATIONS = ("open", "write", "fsync", "replace", "truncate", "unlink", "mkdir")

MOMENTS = ("before", "in", "after")

Act = Callable[[int, str, Callable[..., Any], tuple[Any, ...]], Any]


class Operations:
    """Passes every operation to `act` with its number, from 1, in the order in which they come."""

    def __init__(self, act: Act) -> None:
        self.act, self.log = act, list[str]()
        self._originals = {name: getattr(files, f"_os_{name}") for name in OPERATIONS}

    def __enter__(self) -> Operations:
        for name, original in self._originals.items():
            setattr(files, f"_os_{name}", self._counted(name, original))
        return self

    def __exit__(self, *ending: object) -> None:
        for name, original in self._originals.items():
            setattr(files, f"_os_{name}", original)

    def _counted(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.log.append(name)
            return self.act(len(self.log), name, original, arguments)

        return call


def nothing(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return original(*arguments)


def kill(when: str, at: int) -> Act:
    """SIGKILL to this process 'before', 'in' (half a write) or 'after' operation `at`."""

    def act(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if number != at:
            return original(*arguments)
        if when == "in" and name == "write":
            handle, content = arguments
            original(handle, content[: len(content) // 2])
        if when == "after":
            original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")

    return act


def fail(number_of: int, at: int, lasting: bool = True) -> Act:
    """Operation `at`, and with `lasting` every later one, fails; on a full disk half a write fitted."""

    def act(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if number < at or (number > at and not lasting):
            return original(*arguments)
        if name == "write" and number_of == errno.ENOSPC:  # what fitted was written
            handle, content = arguments
            original(handle, content[: len(content) // 2])
        raise OSError(number_of, os.strerror(number_of))

    return act
