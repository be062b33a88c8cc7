"""Depths, seeds, times and paths as users write them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from resdeg.errors import UsageError

DEEPEST = 5_000
MOST_RUNS = 10_000


def _number(text: str, what: str, whole: str) -> int:
    """Takes only ASCII digits, because int() would also take ' 8 ', '1_000' and Arabic digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        shown = f"'{text}'" if text else "an empty item"
        raise UsageError(
            f"{what} '{whole}': {shown} is not a whole number", f"write e.g. --{what} {_EXAMPLE[what]}"
        )
    return int(text)


_EXAMPLE = {"depths": "8,20,56", "seeds": "0-2"}


def parse_depths(text: str) -> tuple[int, ...]:
    """Reads depths such as '8,20,56'; `check_depth` judges whether each is 6n+2.

    Raises:
        UsageError: an item is empty or not a whole number.
    """
    return tuple(_number(item, "depths", text) for item in text.split(","))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds such as '0-2' or '0,3,5-7'; ranges include both ends.

    Raises:
        UsageError: an item is not a number or a rising range, or there are too many.
    """
    seeds: list[int] = []
    for item in text.split(","):
        first, dash, last = item.partition("-")
        low = _number(first, "seeds", text)
        high = _number(last, "seeds", text) if dash else low
        if high < low:
            raise UsageError(f"seeds '{text}': the range {item} ends before it starts", f"write {high}-{low}")
        if high - low >= MOST_RUNS:  # checked before the range is built, which could fill the memory
            raise UsageError(f"seeds '{text}': {item} is more than {MOST_RUNS:,} seeds")
        seeds.extend(range(low, high + 1))
    return tuple(seeds)


def parse_time(text: str) -> float:
    """Reads seconds from '90s', '170m' or '2h'.

    Raises:
        UsageError: it is not written so, or is no time at all.

    >>> parse_time("170m")
    10200.0
    """
    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]+)?)(s|m|h)", text, re.ASCII)
    if not match or float(match[1]) == 0:
        raise UsageError(f"--time-limit {text}: not a time", "write e.g. 90s, 170m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def number_or_text(text: str) -> int | str:
    """Converts `text` to a number if it is one; other text stays, and the configuration judges it.

    >>> number_or_text("8"), number_or_text("auto")
    (8, 'auto')
    """
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text, re.ASCII) else text


def is_true(text: str) -> bool:
    """Reads an environment variable that is a switch.

    >>> is_true("1"), is_true("no"), is_true("")
    (True, False, False)
    """
    return text.strip().lower() not in ("", "0", "false", "no", "off")


def expand_home(path: Path) -> Path:
    """Replaces a leading ~ as a shell does: that of an unknown user stays as it is."""
    with contextlib.suppress(RuntimeError):
        return path.expanduser()
    return path


def check_depth(depth: int) -> int:
    """Returns `depth` if it is 6n+2 with n >= 0: a stem, 6n convolutions and a classifier.

    >>> check_depth(20)
    20

    Raises:
        UsageError: the depth is another number, or above DEEPEST.
    """
    if depth > DEEPEST:
        raise UsageError(f"depth={depth} is above the limit of {DEEPEST}")
    if depth < 2 or (depth - 2) % 6:
        below = max(2, (depth - 2) // 6 * 6 + 2)
        near = "is 2" if depth < 2 else f"are {below} and {below + 6}"
        raise UsageError(f"depth={depth} is not 6n+2", f"the nearest {near}")
    return depth
