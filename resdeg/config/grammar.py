"""Depths, seeds, times and paths as users write them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import NamedTuple

from resdeg.errors import UsageError

DEEPEST = 5_000
MOST_RUNS = 10_000

_EXAMPLE = {"depths": "8,20,56", "seeds": "0-2"}
_RANGE = re.compile(r"([0-9]{1,9})(-|\.\.|:)([0-9]{1,9})(?:(?:\.\.|:)([0-9]{1,9}))?", re.ASCII)
_AMOUNT = r"([0-9]{1,6}(?:\.[0-9]+)?)"
_UNITS = {"d(?:ays?)?": 86_400, "h(?:(?:ou)?rs?)?": 3_600, "m(?:in(?:ute)?s?)?": 60, "s(?:ec(?:ond)?s?)?": 1}
_AMOUNTS = re.compile("".join(f"(?:{_AMOUNT}{unit})?" for unit in _UNITS), re.ASCII)
_CLOCK = re.compile(r"(?:([0-9]{1,3})-)?([0-9]{1,3}):([0-5]?[0-9]):([0-5]?[0-9])", re.ASCII)


def split_items(text: str) -> list[str]:
    """Splits a list at commas and spaces, with or without brackets around it.

    >>> split_items("8, 20"), split_items("8 20"), split_items("[8,20]")
    (['8', '20'], ['8', '20'], ['8', '20'])
    """
    inner = text.strip()
    if inner[:1] + inner[-1:] in ("[]", "()", "{}"):
        inner = inner[1:-1].strip()
    return re.split(r"\s*,\s*|\s+", inner)


def _number(text: str, what: str, whole: str) -> int:
    """Takes only ASCII digits, because int() would also take '1_000' and Arabic digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        shown = f"'{text}'" if text else "an empty item"
        raise UsageError(
            f"{what} '{whole}': {shown} is not a whole number", f"write e.g. --{what} {_EXAMPLE[what]}"
        )
    return int(text)


class _Range(NamedTuple):
    """A range as it was written, with the sign between its ends; both ends belong to it."""

    item: str
    low: int
    high: int
    step: int | None
    sign: str


def _read_range(item: str, what: str, whole: str) -> _Range | None:
    """Reads a rising range; None if the item is no range."""
    # Editors make one character of two dots or of a dash.
    match = _RANGE.fullmatch(item.replace("\u2013", "-").replace("\u2026", "..").replace("...", ".."))
    if match is None:
        return None
    low, high = int(match[1]), int(match[3])
    if high < low:
        raise UsageError(
            f"{what} '{whole}': the range {item} ends before it starts", f"write {high}{match[2]}{low}"
        )
    return _Range(item, low, high, None if match[4] is None else int(match[4]), match[2])


def parse_depths(text: str) -> tuple[int, ...]:
    """Reads depths such as '8,20,56' or '8..56'; `check_depth` judges whether each number is 6n+2.

    A range is written 8-56, 8..56 or 8:56. It includes both ends and means every depth 6n+2 in it, or those
    at a step that is a multiple of 6, as in 8:56:12.

    >>> parse_depths("2, 8..26"), parse_depths("8:32:12")
    ((2, 8, 14, 20, 26), (8, 20, 32))

    Raises:
        UsageError: an item is no whole number or rising range, or a range does not consist of depths.
    """
    depths: list[int] = []
    for item in split_items(text):
        between = _read_range(item, "depths", text)
        depths.extend([_number(item, "depths", text)] if between is None else _list_depths(between, text))
    return tuple(depths)


def _list_depths(between: _Range, whole: str) -> range:
    item, low, high, step, sign = between
    if high > DEEPEST:  # checked before the range is built
        raise UsageError(f"depths '{whole}': {item} goes above the limit of {DEEPEST}")
    if step is None:
        depths = range(low + (2 - low) % 6, high + 1, 6)
        if not depths:
            raise UsageError(f"depths '{whole}': no depth 6n+2 lies in {item}", _name_nearest(low))
        return depths
    if step == 0:
        raise UsageError(f"depths '{whole}': the step of {item} is 0", f"write {low}{sign}{high}")
    depths = range(low, high + 1, step)
    if (low - 2) % 6 or step % 6:
        near = [str(depth) for depth in dict.fromkeys(max(2, (depth + 1) // 6 * 6 + 2) for depth in depths)]
        listed = ",".join(near) if len(near) <= 12 else f"{','.join(near[:10])}, ..."
        raise UsageError(
            f"depths '{whole}': the depths of {item} are not all 6n+2", f"the nearest are {listed}"
        )
    return depths


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads seeds such as '0-2', '0..2' or '0,3,5-7'; ranges include both ends.

    Raises:
        UsageError: an item is not a number or a rising range, or there are too many.
    """
    seeds: list[int] = []
    for item in split_items(text):
        between = _read_range(item, "seeds", text)
        seeds.extend([_number(item, "seeds", text)] if between is None else _list_seeds(between, text))
    return tuple(seeds)


def _list_seeds(between: _Range, whole: str) -> range:
    item, low, high, step, sign = between
    if step is not None:
        raise UsageError(
            f"seeds '{whole}': a range of seeds has no step",
            f"write e.g. {low},{low + step},{low + 2 * step}",
        )
    if high - low >= MOST_RUNS:  # checked before the range is built, which could fill the memory
        raise UsageError(f"seeds '{whole}': {item} is more than {MOST_RUNS:,} seeds")
    if sign == ":" and high > low:  # a slice of Python leaves out its end, a range here includes it
        without = f"{low}-{high - 1}" if high - 1 > low else f"{low}"
        raise UsageError(
            f"seeds '{whole}': {item} may or may not include {high}",
            f"write {low}-{high} with it, or {without} without it",
        )
    return range(low, high + 1)


def parse_time(text: str) -> float:
    """Reads seconds from '90s', '170m', '1h30m', '2d', '2 hours', '02:00:00' or '1-12:00:00' (days first).

    Raises:
        UsageError: it is not written so, lacks its unit, or is no time at all.

    >>> parse_time("170m"), parse_time("1h30m"), parse_time("02:00:00")
    (10200.0, 5400.0, 7200.0)
    """
    spelt = re.sub(r"(?<=[0-9])\s+(?=[a-z])|(?<=[a-z])\s+(?=[0-9])", "", text.strip().lower())
    if match := _CLOCK.fullmatch(spelt) or _AMOUNTS.fullmatch(spelt):
        amounts = (0.0 if amount is None else float(amount) for amount in match.groups())
        seconds = sum(amount * unit for amount, unit in zip(amounts, _UNITS.values(), strict=True))
        if seconds > 0:
            return seconds
    remedy = "write e.g. 90s, 170m, 2h, 1h30m or 02:00:00"
    if re.fullmatch(_AMOUNT, spelt, re.ASCII) and float(spelt) > 0:
        raise UsageError(f"--time-limit {text}: no unit", f"write {spelt}s, {spelt}m or {spelt}h")
    if match := re.fullmatch(r"([0-9]{1,3}):([0-5]?[0-9])", spelt, re.ASCII):
        first, second = int(match[1]), int(match[2])
        remedy = f"write {first}h{second}m or {first}m{second}s"
    raise UsageError(f"--time-limit {text}: not a time", remedy)


def number_or_text(text: str) -> int | str:
    """Converts `text` to a number if it is one; other text stays, and the configuration judges it.

    >>> number_or_text("8"), number_or_text("-1"), number_or_text("auto")
    (8, -1, 'auto')
    """
    return int(text) if re.fullmatch(r"-?[0-9]{1,6}", text, re.ASCII) else text


def check_device(name: object) -> object:
    """Returns the name of a device, unless other programs call it so and another name is meant here.

    Raises:
        UsageError: it is such a name; the remedy says what to write.
    """
    spelt = name.strip().lower() if isinstance(name, str) else ""
    if match := re.fullmatch(r"(?:(?:cuda|gpu|nvidia):?)?([0-9]{1,3})(?:,[0-9]{1,3})*", spelt, re.ASCII):
        raise UsageError(
            f"device '{name}': which GPU is not a setting, and a sweep computes on one",
            f"write --device cuda, and CUDA_VISIBLE_DEVICES={match[1]} before the command",
        )
    if spelt in ("gpu", "nvidia", "amd", "rocm", "hip", "metal", "apple"):
        raise UsageError(
            f"device '{name}' is not known", "write cuda for a GPU of NVIDIA or AMD, mps for one of Apple"
        )
    return name


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
        raise UsageError(f"depth={depth} is not 6n+2", _name_nearest(depth))
    return depth


def _name_nearest(depth: int) -> str:
    below = max(2, (depth - 2) // 6 * 6 + 2)
    return "the nearest is 2" if depth < 2 else f"the nearest are {below} and {below + 6}"
