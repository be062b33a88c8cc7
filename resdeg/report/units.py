"""Numbers as people say them; nothing heavy is imported here."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(8), duration(95), duration(4100)
    ('8 s', '1 min 35 s', '1 h 8 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes as people say it.

    >>> size(48_000_000)
    '48.0 MB'
    """
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def percent(fraction: float | None) -> str:
    """A fraction for people; a dash where there is none.

    >>> percent(0.0712), percent(None)
    ('7.1 %', '-')
    """
    return "-" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    """A difference of fractions in points, signed, with a minus that is one.

    >>> points(-0.021)
    '\u22122.1'
    """
    shown = f"{100 * fraction:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "\u2212")
