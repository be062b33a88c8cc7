"""Intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval; the ends are None where there are too few seeds for one."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Student-t interval of the mean over seeds (or over differences paired by seed).

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
    error = float(array.std(ddof=1)) / np.sqrt(array.size)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, array.size - 1)) * error
    return Estimate(mean, mean - half, mean + half, int(array.size))
