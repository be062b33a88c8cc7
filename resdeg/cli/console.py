"""The output of the command line: data on stdout, everything else on stderr. No output delays a save."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Screen:
    """The stream stderr with messages, and with progress if it is a terminal. A closed pipe turns it off."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    noticed: set[str] = field(default_factory=set)
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
        """Whether a line of progress can be drawn over and over."""
        return not self.quiet and moves_cursor(sys.stderr)

    def say(self, text: str) -> None:
        """Prints a message, unless `--quiet` drops it."""
        if not self.quiet:
            self.insist(text)

    def notice(self, text: str) -> None:
        """Says what a user should know of; workers that notice the same are heard once."""
        if text not in self.noticed:
            self.noticed.add(text)
            self.say(f"notice: {text}")

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


def moves_cursor(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether `stream` is a terminal that draws over what it has shown, and not a notebook.

    A command behind `!` in a notebook has a terminal that its kernel reads, and a cell keeps every frame.
    Kernels are started with JPY_PARENT_PID (jupyter_client) and choose an inline backend (ipykernel). The
    terminals of JupyterLab have neither, and move their cursor.
    """
    if not stream.isatty() or environment.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    return "JPY_PARENT_PID" not in environment and "inline" not in environment.get("MPLBACKEND", "")


def count_columns(stream: TextIO) -> int:
    """Returns how many columns the terminal of `stream` has; without a terminal, COLUMNS or else 80."""
    with contextlib.suppress(OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
        if columns > 0:  # a terminal that nobody has given a size says 0
            return columns
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else 80


@dataclass(frozen=True)
class Paper:
    """What stdout can show: how many columns, and whether colours and characters other than ASCII."""

    width: int
    colour: bool
    unicode: bool


def measure_paper() -> Paper:
    """Returns what stdout can show; NO_COLOR counts."""
    colour = moves_cursor(sys.stdout) and not os.environ.get("NO_COLOR")
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    return Paper(count_columns(sys.stdout), colour, encoding.startswith("utf"))


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


def emit_json(tree: object) -> None:
    """Prints strict JSON on stdout; a number that is not finite is null."""
    emit(json.dumps(_keep_finite(tree), indent=1, allow_nan=False))


def _keep_finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _keep_finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_keep_finite(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def emit(text: str) -> None:
    """Prints data on stdout. A reader that has left (`| head`) is no error."""
    try:
        print(_escape_unencodable(text, sys.stdout), flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
