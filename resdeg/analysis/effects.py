"""Effects with intervals: what a claim is judged by, each from numbers paired by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import scipy.special

SQRT2 = math.sqrt(2)  # scale of a difference of two networks
LEVEL = 0.05  # of a family of claims, two-sided; and of the peak's interval, one-sided


@dataclass(frozen=True)
class Sample:
    """One number per seed whose mean is asked for, with Student's t on n - 1 degrees of freedom.

    Args:
        values: one per seed, finite.
        scale: deviation of a value where every network's own deviation is 1 and seeds are not related;
            used for planning alone, where one seed shows no deviation.
    """

    values: tuple[float, ...]
    scale: float = 1.0

    @property
    def seeds(self) -> int:
        return len(self.values)

    @cached_property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @cached_property
    def deviation(self) -> float:
        """Standard deviation over seeds; NaN with one."""
        if self.seeds < 2:
            return math.nan
        return math.sqrt(sum((value - self.mean) ** 2 for value in self.values) / (self.seeds - 1))

    @property
    def negative(self) -> Sample:
        return Sample(tuple(-value for value in self.values), self.scale)

    def bound(self, alpha: float) -> float:
        """Lower one-sided bound of the mean, wrong with probability `alpha`; minus infinity with one seed."""
        if self.seeds < 2:
            return -math.inf
        reach = float(scipy.special.stdtrit(self.seeds - 1, 1 - alpha))
        return self.mean - reach * self.deviation / math.sqrt(self.seeds)

    def p_above(self, margin: float) -> float:
        """One-sided p of "the mean is not above `margin`"; 1 with one seed."""
        if self.seeds < 2:
            return 1.0
        distance, error = self.mean - margin, self.deviation / math.sqrt(self.seeds)
        if error == 0:
            return 0.0 if distance > 0 else 1.0
        return float(scipy.special.stdtr(self.seeds - 1, -distance / error))


@dataclass(frozen=True)
class Effect:
    """A scalar with an interval that holds although parts of it were chosen after seeing the data.

    It is above a margin when every sample of `above` is. It is below it when every sample of one of the
    tuples in `below`, which holds them negated, is above the negated margin. All of several must hold,
    so they need no correction (an intersection-union test); one of several may hold, so the tuples
    share the error.
    """

    estimate: float
    above: tuple[Sample, ...]
    below: tuple[tuple[Sample, ...], ...]

    @property
    def seeds(self) -> int:
        return min(sample.seeds for sample in self.above)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Lower and upper end, each wrong with probability `alpha` / 2."""
        low = min(sample.bound(alpha / 2) for sample in self.above)
        share = alpha / 2 / len(self.below)
        high = min(max(-sample.bound(share) for sample in either) for either in self.below)
        return min(low, self.estimate), max(high, self.estimate)

    def p(self, margin: float) -> float:
        """Two-sided: the smallest `alpha` at which the interval leaves `margin` out."""
        above = max(sample.p_above(margin) for sample in self.above)
        either = [max(sample.p_above(-margin) for sample in samples) for samples in self.below]
        return min(1.0, 2 * min(above, len(self.below) * min(either)))


def mean_of(values: Sequence[float], scale: float = 1.0) -> Effect:
    """The mean over seeds of a number that was fixed before the run."""
    sample = Sample(tuple(map(float, values)), scale)
    return Effect(sample.mean, (sample,), ((sample.negative,),))


def best_over(table: pd.DataFrame, control: object) -> Effect:
    """How far the best of the other depths lies above `control`; negative where `control` is the best.

    The best depth is seen in the data, so a t-test of "best against control" would find a fall where
    there is none. From below, each seed is therefore compared at the depth that is best in the *other*
    seeds, which can only understate the fall. From above no choice is made: all the other depths must
    lie below.

    Args:
        table: a column per depth (or arm), at least two; a row per seed.
    """
    is_control = np.asarray(table.columns) == control
    numbers = table.to_numpy(dtype=float)  # (seeds, depths)
    values = numbers[:, ~is_control]
    gaps = values - numbers[:, is_control]
    n = len(table)
    if n == 1:
        chosen = [int(values[0].argmax())]
    else:
        chosen = [int((values.sum(axis=0) - values[seed]).argmax()) for seed in range(n)]
    kept = Sample(tuple(float(gaps[seed, depth]) for seed, depth in enumerate(chosen)), SQRT2)
    each = tuple(Sample(tuple((-column).tolist()), SQRT2) for column in gaps.T)
    return Effect(kept.mean, (kept,), (each,))


def opposite(effect: Effect) -> Effect:
    """Minus an effect that has one way of being below."""
    (either,) = effect.below
    return Effect(-effect.estimate, either, (effect.above,))


def beyond(effect: Effect, margin: float) -> Effect:
    """`effect` less `margin`, so that effects with margins of their own can be compared."""

    def less(sample: Sample, by: float) -> Sample:
        return Sample(tuple(value - by for value in sample.values), sample.scale)

    return Effect(
        effect.estimate - margin,
        tuple(less(sample, margin) for sample in effect.above),
        tuple(tuple(less(sample, -margin) for sample in either) for either in effect.below),
    )


def smallest(*effects: Effect) -> Effect:
    """The least of several effects: above a margin when all of them are."""
    return Effect(
        min(effect.estimate for effect in effects),
        tuple(sample for effect in effects for sample in effect.above),
        tuple(either for effect in effects for either in effect.below),
    )


def trend(table: pd.DataFrame) -> Effect:
    """Slope of each seed's numbers over log2(depth), by least squares: change per doubling of the depth.

    Args:
        table: a column per depth, at least two; a row per seed.
    """
    x = np.log2(np.asarray(table.columns, dtype=float))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    return mean_of(table.to_numpy(dtype=float) @ weights, float(np.linalg.norm(weights)))


def possible_peaks(table: pd.DataFrame, alpha: float = LEVEL) -> list[int]:
    """Depths that are not excluded as the best: an interval for the peak (Hsu 1981, 1984).

    Hsu's comparison with the best: a depth is left out when some other depth is better than it, each
    depth being the control in turn. On differences paired by seed, each with its own deviation, and
    simultaneous by Bonferroni, because degraded networks scatter ten times as much as others: Dunnett's
    pooled deviation then loses the peak (docs/log.md).

    Args:
        table: a column per depth, a row per seed; larger is better. One seed excludes nothing.
    """
    numbers = table.to_numpy(dtype=float)  # (seeds, depths)
    share = alpha / max(1, numbers.shape[1] - 1)

    def is_beaten(column: int) -> bool:
        ahead = np.delete(numbers, column, axis=1) - numbers[:, [column]]
        return any(Sample(tuple(values.tolist())).p_above(0.0) < share for values in ahead.T)

    return [int(depth) for column, depth in enumerate(table.columns) if not is_beaten(column)]
