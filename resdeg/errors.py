"""The errors that users are meant to see, each with the exit code of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ResdegError(Exception):
    """An expected failure: what happened and where, then what to do about it.

    The command line prints it as one or two lines and exits with `exit_code`; a traceback appears only
    under `--debug`.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}" if self.remedy else self.what


class UsageError(ResdegError, ValueError):
    """A command, option or configuration is wrong, or there is nothing to read."""

    exit_code = 2


class LostError(ResdegError):
    """A worker left no result: it was killed, silent or out of memory. Another attempt may succeed."""

    exit_code = 3


class DataError(ResdegError):
    """A data set is missing or cannot be verified."""

    exit_code = 4


class StorageError(ResdegError):
    """The disk refuses, or what it holds is damaged beyond both generations."""

    exit_code = 5


class BusyError(ResdegError):
    """Another process owns the directory."""

    exit_code = 6


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggests a remedy for a misspelt name: the nearest known name, or else all of them.

    >>> did_you_mean("plane", ["plain", "residual"])
    "did you mean 'plain'?"
    >>> did_you_mean("xyz", ["plain", "residual"])
    'known: plain, residual'
    """
    names = sorted(known)
    near = find_nearest(name, names)
    return f"known: {', '.join(names)}" if near is None else f"did you mean '{near}'?"


def find_nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that a misspelt one resembles; None where none is near enough."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)
