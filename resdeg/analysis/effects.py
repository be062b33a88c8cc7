"""Effects with intervals, by which claims are judged, each from numbers paired within a seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import scipy.special

from resdeg.analysis.rules import registered_rules
from resdeg.analysis.stats import student_quantile

ROUNDING = 1e-12  # A smaller deviation, relative to numbers above 1, is that of their last digits.


@dataclass(frozen=True)
class Sample:
    """One number per seed; its mean is tested by Student's t on n - 1 degrees of freedom.

    Args:
        by_seed: finite numbers.
        binomial: the binomial standard error of the mean, for a contrast of accuracies; else 0. The mean must
            then pass a normal test with it as well, because equal numbers of few seeds are no certainty.
    """

    by_seed: Mapping[int, float]
    binomial: float = 0.0

    @property
    def seeds(self) -> int:
        return len(self.by_seed)

    @cached_property
    def mean(self) -> float:
        """The mean over seeds; NaN without one."""
        return statistics.fmean(self.by_seed.values()) if self.by_seed else math.nan

    @cached_property
    def deviation(self) -> float:
        """Standard deviation over seeds, 0 where it is rounding only; NaN with one."""
        if self.seeds < 2:
            return math.nan
        values = self.by_seed.values()
        deviation = math.sqrt(sum((value - self.mean) ** 2 for value in values) / (self.seeds - 1))
        # Equal differences of accuracies differ by rounding, and a spread of 1e-17 would be certainty.
        return deviation if deviation > ROUNDING * max(1.0, *map(abs, values)) else 0.0

    @cached_property
    def _decides(self) -> bool:
        """Whether there are enough seeds, and some spread to judge them by."""
        return self.seeds >= registered_rules().least_seeds and (self.deviation > 0 or self.binomial > 0)

    def p_above(self, margin: float) -> float:
        """Returns the one-sided p of "the mean is not above `margin`"; 1 where there are too few seeds."""
        return self._p(self.mean - margin)

    def p_below(self, margin: float) -> float:
        """Returns the one-sided p of "the mean is not below `margin`"."""
        return self._p(margin - self.mean)

    def _p(self, distance: float) -> float:
        if not self._decides:
            return 1.0
        if self.deviation > 0:
            ratio = distance * math.sqrt(self.seeds) / self.deviation
            p = float(scipy.special.stdtr(self.seeds - 1, -ratio))
        else:
            p = 0.0 if distance > 0 else 1.0
        return max(p, float(scipy.special.ndtr(-distance / self.binomial))) if self.binomial > 0 else p

    def lower(self, error: float) -> float:
        """Returns the lower one-sided bound of the mean; minus infinity where there are too few seeds."""
        return self.mean - self._reach(error) if self._decides else -math.inf

    def upper(self, error: float) -> float:
        """Returns the upper one-sided bound of the mean."""
        return self.mean + self._reach(error) if self._decides else math.inf

    def _reach(self, error: float) -> float:
        student = student_quantile(self.seeds, error) * self.deviation / math.sqrt(self.seeds)
        return max(student, float(scipy.special.ndtri(1 - error)) * self.binomial)


@dataclass(frozen=True)
class Part:
    """One number that a claim asks for and the margin that it must exceed.

    Args:
        ended: seeds whose runs have all ended. Those that are not in the sample were left out, because a
            network that enters with minus is dead.
    """

    name: str
    sample: Sample
    margin: float
    ended: frozenset[int]

    @property
    def excess(self) -> float:
        """The mean less the margin."""
        return self.sample.mean - self.margin

    def p_above(self) -> float:
        return self.sample.p_above(self.margin)

    def p_below(self) -> float:
        return self.sample.p_below(self.margin)

    def lower(self, error: float) -> float:
        """Returns the lower bound of the excess."""
        return self.sample.lower(error) - self.margin

    def upper(self, error: float) -> float:
        """Returns the upper bound of the excess."""
        return self.sample.upper(error) - self.margin


class Judgeable(Protocol):
    """An effect that gets a verdict. Bounds are those of the excess, the effect less its margins."""

    @property
    def shown(self) -> Sequence[Part]:
        """The parts whose numbers are printed."""

    @property
    def collapsed(self) -> bool:
        """Whether deaths refute the claim where no test can."""

    def p_above(self) -> float:
        """Returns the one-sided p of "the claim does not hold"."""

    def p_below(self) -> float:
        """Returns the one-sided p of "the claim holds"; 1 where it cannot be refuted."""

    def lower(self, error: float) -> float:
        """Returns the lower bound of the excess, wrong with probability `error`."""

    def upper(self, error: float) -> float:
        """Returns the upper bound of the excess, wrong with probability `error`."""


@dataclass(frozen=True)
class Joint:
    """Parts that must all exceed their margins.

    Above, no correction is needed (an intersection-union test); below, each of m parts has 1/m of the error.
    """

    shown: tuple[Part, ...]
    collapsed: bool = False

    def p_above(self) -> float:
        return max(part.p_above() for part in self.shown)

    def p_below(self, guard: str = "") -> float:
        """Returns the p over the parts but `guard`, see Witness."""
        others = [part.p_below() for part in self.shown if part.name != guard]
        return min(1.0, len(self.shown) * min(others))

    def lower(self, error: float) -> float:
        return min(part.lower(error) for part in self.shown)

    def upper(self, error: float) -> float:
        return min(part.upper(error / len(self.shown)) for part in self.shown)

    @property
    def excess(self) -> float:
        return min(part.excess for part in self.shown)


@dataclass(frozen=True)
class Witness:
    """There is a depth (an arm, a block) at which all parts hold.

    Args:
        candidates: the parts by depth, arm or block.
        kind: what the candidates are.
        best: the candidate whose numbers are printed.
        named: the candidate that was named before the first step: only it can support the claim, and every
            candidate must fail to refute it.
        guard: the name of the part without which there is nothing to explain: the claim is refuted only where
            it holds at some candidate, and another part fails at every one.
        refutable: whether networks at dk are alive, without which nothing can refute it.
    """

    candidates: Mapping[int | str, Joint]
    kind: str
    best: int | str
    named: int | None = None
    guard: str = ""
    refutable: bool = True
    collapsed: bool = False

    @property
    def shown(self) -> tuple[Part, ...]:
        return self.candidates[self.best].shown

    @property
    def standing(self) -> list[Joint]:
        """The parts of the candidates that can support the claim."""
        return [self.candidates[self.named]] if self.named is not None else [*self.candidates.values()]

    def p_above(self) -> float:
        return simes([joint.p_above() for joint in self.standing])

    def p_below(self) -> float:
        if not self.refutable:
            return 1.0
        fails = max(joint.p_below(self.guard) for joint in self.candidates.values())
        if not self.guard:
            return fails
        guards = [
            part for joint in self.candidates.values() for part in joint.shown if part.name == self.guard
        ]
        return max(fails, simes([part.p_above() for part in guards]))

    def lower(self, error: float) -> float:
        """Returns the largest over j of the j-th largest bound at error · j / c, as in Simes' test."""
        count = len(self.standing)
        bounds = [
            sorted((joint.lower(error * j / count) for joint in self.standing), reverse=True)[j - 1]
            for j in range(1, count + 1)
        ]
        return max(bounds)

    def upper(self, error: float) -> float:
        if not self.refutable:
            return math.inf
        return max(joint.upper(error) for joint in self.candidates.values())


@dataclass(frozen=True)
class Both:
    """Several claims that must all hold; below, each of m has 1/m of the error."""

    claims: tuple[Judgeable, ...]

    @property
    def shown(self) -> tuple[Part, ...]:
        return tuple(part for claim in self.claims for part in claim.shown)

    @property
    def collapsed(self) -> bool:
        return any(claim.collapsed for claim in self.claims)

    def p_above(self) -> float:
        return max(claim.p_above() for claim in self.claims)

    def p_below(self) -> float:
        return min(1.0, len(self.claims) * min(claim.p_below() for claim in self.claims))

    def lower(self, error: float) -> float:
        return min(claim.lower(error) for claim in self.claims)

    def upper(self, error: float) -> float:
        return min(claim.upper(error / len(self.claims)) for claim in self.claims)


def simes(p_values: Sequence[float]) -> float:
    """Returns the p of "none of them holds" (Simes 1986): the least over j of c p_(j) / j.

    >>> simes([0.04, 0.02])
    0.04
    """
    count = len(p_values)
    return min(1.0, *(count * p / rank for rank, p in enumerate(sorted(p_values), start=1)))


@dataclass(frozen=True)
class Peak:
    """The depth at which a curve has its maximum.

    Args:
        best: the depth of the highest mean, among depths with a block.
        possible: depths with a block that are not excluded as the best.
        low, high: the trained depths next to those; None where there is none, and the peak may lie beyond.
        seeds: how many have every depth with a block.
    """

    best: int
    possible: tuple[int, ...]
    low: int | None
    high: int | None
    seeds: int
    confidence: float = field(default_factory=lambda: 1 - registered_rules().levels["peak"])


def locate_peak(by_depth: Mapping[int, Mapping[int, float]], trained: Sequence[int]) -> Peak | None:
    """Returns the peak of a curve that is assumed to have one maximum (Hsu 1981, 1984).

    A depth is excluded when some other depth is better than it. The tests are on differences paired by seed,
    each with its own deviation, and simultaneous by Bonferroni, because degraded networks scatter ten times
    as much as others: Dunnett's pooled deviation then loses the peak (docs/log.md).

    Args:
        by_depth: accuracies by seed at each depth with a block; larger is better.
        trained: all depths that were trained, those without a block too.
    """
    seeds = sorted(set.intersection(*map(set, by_depth.values()))) if by_depth else []
    if not seeds:
        return None
    share = registered_rules().levels["peak"] / max(1, len(by_depth) - 1)

    def is_beaten(depth: int) -> bool:
        rivals = [
            Sample({seed: numbers[seed] - by_depth[depth][seed] for seed in seeds})
            for other, numbers in by_depth.items()
            if other != depth
        ]
        return any(rival.p_above(0.0) < share for rival in rivals)

    possible = tuple(depth for depth in sorted(by_depth) if not is_beaten(depth))
    best = max(sorted(by_depth), key=lambda depth: sum(by_depth[depth][seed] for seed in seeds))
    below = [depth for depth in trained if depth < possible[0]]
    above = [depth for depth in trained if depth > possible[-1]]
    return Peak(best, possible, max(below, default=None), min(above, default=None), len(seeds))
