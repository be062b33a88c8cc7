"""Numbers as people say them. Every command loads this module, so nothing heavy is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def duration(seconds: float) -> str:
    """Returns a time as people say it.

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
    """Returns a number of bytes as people say it.

    >>> size(48_000_000)
    '48.0 MB'
    """
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def changed(settings: Mapping[str, Any]) -> str:
    """Returns what an arm changes in words; the settings are given by dotted name, None where it has none.

    >>> changed({"model.init": "dirac-mixed", "model.dirac": 1.0, "training.epochs": 30})
    'init dirac-mixed, dirac 1, epochs 30'
    >>> changed({"model.init": "he", "model.dirac": None, "training.epochs": None, "training.steps": 20})
    'init he, steps 20'
    >>> changed({"constructed": {"from_depth": 20, "share": 0.5, "lr": 0.1}})
    'constructed from depth 20 after 50 % of the epochs, rates times 0.1'
    """
    phrases = []
    for name, value in settings.items():
        if name == "constructed" and value:
            share = f"{100 * value['share']:.0f} %"
            phrases.append(
                f"constructed from depth {value['from_depth']} after {share} of the epochs, "
                f"rates times {value['lr']:g}"
            )
        elif value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            phrases.append(f"{name.rpartition('.')[2].replace('_', ' ')} {shown}")
    return ", ".join(phrases)


def percent(fraction: float | None) -> str:
    """Returns a fraction in percent; a dash where there is none.

    >>> percent(0.0712), percent(None)
    ('7.1 %', '-')
    """
    return "-" if fraction is None or math.isnan(fraction) else f"{100 * fraction:.1f} %"
