"""What the command line prints: data on stdout, everything else on stderr, and never a save behind it."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Screen:
    """stderr: messages, and progress where it is a terminal. A closed pipe turns it off, quietly."""

    quiet: bool = False
    verbose: bool = False
    _closed: bool = False

    @cached_property
    def rich(self) -> Console:
        from rich.console import Console

        class Patient(Console):
            def on_broken_pipe(self) -> None:
                """Rich would leave the program; a sweep outlives its reader."""
                raise BrokenPipeError

        return Patient(stderr=True, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether bars can be drawn: a terminal that moves its cursor."""
        return not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """A message; `--quiet` drops it."""
        if not self.quiet:
            self.insist(text)

    def detail(self, text: str) -> None:
        """A message for `--verbose` alone."""
        if self.verbose:
            self.insist(text)

    def insist(self, text: str) -> None:
        """A message that `--quiet` does not drop: an error, or what must be known."""
        if self._closed:
            return
        try:
            self.rich.print(printable(text), markup=False)
        except (OSError, ValueError, UnicodeEncodeError):
            self._closed = True


screen = Screen()


def open_closed_streams() -> None:
    """Give a closed stdin, stdout or stderr (`2>&-`) to /dev/null.

    Otherwise the next file that is opened takes its number, and what is printed goes into that file.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def printable(text: str) -> str:
    """`text` without control characters, in what stderr can encode: a path may hold anything."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
    return _encodable(shown, sys.stderr)


def _encodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def emit(text: str) -> None:
    """Data, on stdout. A reader that has left (`| head`) is no error."""
    try:
        print(_encodable(text, sys.stdout), flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
