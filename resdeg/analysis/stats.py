"""Means over seeds with their intervals, and the units in which numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; the ends are None where there are too few seeds for one."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


def student_quantile(seeds: int, error: float) -> float:
    """Returns by how many standard errors a mean over seeds is off, to one side, with probability `error`.

    The quantile is that of Student's t on seeds - 1 degrees of freedom; there are at least two seeds.
    """
    return float(scipy.special.stdtrit(seeds - 1, 1 - error))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Returns the Student-t interval of the mean over seeds, or over differences paired by seed.

    Args:
        values: one per seed, at least one, finite.

    Raises:
        ValueError: there are none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"values={list(values)}: need at least one finite number")
    mean = float(array.mean())
    if array.size == 1:
        return Estimate(mean, None, None, 1)
    standard_error = float(array.std(ddof=1)) / math.sqrt(array.size)
    half = student_quantile(array.size, (1 - confidence) / 2) * standard_error
    return Estimate(mean, mean - half, mean + half, int(array.size))


@dataclass(frozen=True)
class Unit:
    """A unit: a number is shown times `scale`, with so many decimals."""

    name: str
    scale: float
    decimals: int

    def spell(self, value: float, *, signed: bool = True) -> str:
        """Returns a number as text, whose minus is a minus sign and no hyphen.

        >>> POINTS.spell(-0.021), NATS.spell(0.01, signed=False)
        ('\u22122.1', '0.010')
        """
        shown = f"{self.scale * value:{'+' if signed else ''}.{self.decimals}f}"
        return shown.lstrip("+-") if float(shown) == 0 else shown.replace("-", "\N{MINUS SIGN}")


POINTS = Unit("points", 100.0, 1)
NATS = Unit("nats", 1.0, 3)
HALVINGS = Unit("halvings", 1.0, 2)
