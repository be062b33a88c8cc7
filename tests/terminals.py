"""A real terminal of a chosen size, whose screen is read in tests."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Iterator

import pytest

from resdeg.cli.console import screen

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What a kernel gives to the commands behind `!` (jupyter_client's launcher and ipykernel's shell).
NOTEBOOK = {
    "JPY_PARENT_PID": "3",
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "PAGER": "cat",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
ENVIRONMENT = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", *NOTEBOOK)


def open_terminal(columns: int) -> tuple[int, int]:
    """Opens a terminal and returns its reader's end and the end of the program that writes."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return leader, follower


def read_all(leader: int) -> str:
    """Reads until the last writer has gone."""
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65_536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    return shown.decode()


def frames(shown: str) -> list[str]:
    """Everything that stood in a line of the screen at some time, without control sequences."""
    return [line for line in re.split(r"[\r\n]+", CONTROL.sub("", shown)) if line]


@contextlib.contextmanager
def terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, stream: str = "stderr", **environment: str
) -> Iterator[list[str]]:
    """Makes `stream` a terminal; the list has everything that was shown there, as one text, at the end."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm-256color"} | environment).items():
        monkeypatch.setenv(name, value)
    leader, follower = open_terminal(columns)
    shown: list[str] = []
    reader = threading.Thread(target=lambda: shown.append(read_all(leader)))
    reader.start()
    screen.__dict__.pop("rich", None)  # it knows an earlier stream
    try:
        with os.fdopen(follower, "w", encoding="utf-8") as file, monkeypatch.context() as patch:
            patch.setattr(sys, stream, file)
            yield shown
    finally:
        screen.__dict__.pop("rich", None)
        reader.join(10)
