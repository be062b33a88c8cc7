"""The output of the command line: data on stdout, everything else on stderr. No output delays a save."""

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
    """The stream stderr with messages, and with progress if it is a terminal. A closed pipe turns it off."""

    quiet: bool = False
    verbose: bool = False
    _closed: bool = False

    @cached_property
    def rich(self) -> Console:
        from rich.console import Console

        class Patient(Console):
            def on_broken_pipe(self) -> None:
                """Raises, because rich would exit, and a sweep must outlive its reader."""
                raise BrokenPipeError

        return Patient(stderr=True, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether bars can be drawn, which needs a terminal that moves its cursor."""
        return not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str) -> None:
        """Prints a message, unless `--quiet` drops it."""
        if not self.quiet:
            self.insist(text)

    def detail(self, text: str) -> None:
        """Prints a message only under `--verbose`."""
        if self.verbose:
            self.insist(text)

    def insist(self, text: str) -> None:
        """Prints a message even under `--quiet`: an error, or what the user must know."""
        if self._closed:
            return
        try:
            self.rich.print(printable(text), markup=False)
        except (OSError, ValueError, UnicodeEncodeError):
            self._closed = True


screen = Screen()


def open_closed_streams() -> None:
    """Opens /dev/null for a closed stdin, stdout or stderr (`2>&-`).

    Otherwise the next file that is opened takes its number, and all that is printed goes into that file.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def printable(text: str) -> str:
    """Escapes control characters and what stderr cannot encode, because a path may hold anything."""
    escaped = "".join(
        character if character.isprintable() or character in "\n\t" else f"\\x{ord(character):02x}"
        for character in text
    )
    return _escape_unencodable(escaped, sys.stderr)


def _escape_unencodable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def emit(text: str) -> None:
    """Prints data on stdout. A reader that has left (`| head`) is no error."""
    try:
        print(_escape_unencodable(text, sys.stdout), flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
