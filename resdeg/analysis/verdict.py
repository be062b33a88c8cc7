"""From an effect, a margin and an interval to a verdict: one rule for all claims."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import scipy.stats

from resdeg.analysis.effects import LEVEL, Effect, Sample

POWER = 0.8  # of the sweep that `seeds_to_decide` asks for
MOST_SEEDS = 200  # more than this is said as "more than"


class Verdict(StrEnum):
    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"


RULE = (
    "A claim is one effect and one margin. The interval of the effect lies wholly above the margin: "
    "SUPPORTED; wholly below it: REFUTED; otherwise, and always with one seed: UNDECIDED."
)


def verdict(effect: Effect, margin: float, alpha: float) -> Verdict:
    """RULE, for a two-sided interval that is wrong with probability `alpha`."""
    low, high = effect.interval(alpha)
    if low > margin:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if high < margin else Verdict.UNDECIDED


def holm(p_values: Mapping[str, float], level: float = LEVEL) -> dict[str, float]:
    """The `alpha` of each claim's interval, so that no claim of the family is decided wrongly but with
    probability `level` (Holm 1979).

    The smallest p has level / m, the next one level / (m - 1), and so on; the first that is not below
    its share lends it to all after it.
    """
    shares: dict[str, float] = {}
    failed: float | None = None
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        share = failed or level / (len(p_values) - rank)
        if p_values[name] >= share:
            failed = share
        shares[name] = share
    return shares


def seeds_to_decide(effect: Effect, margin: float, alpha: float, scatter: float) -> int | None:
    """Seeds with which the interval would leave `margin` out with probability POWER, were the effect and
    the spread what they seem; None above MOST_SEEDS.

    Args:
        scatter: what every network's number is taken to scatter by, where one seed shows nothing of it.
    """
    if effect.estimate > margin:
        return _all(effect.above, margin, alpha / 2, scatter)
    share = alpha / 2 / len(effect.below)
    found = [_all(samples, -margin, share, scatter) for samples in effect.below]
    return min((n for n in found if n is not None), default=None)


def _all(samples: tuple[Sample, ...], margin: float, alpha: float, scatter: float) -> int | None:
    needed = [_one(sample, margin, alpha, scatter) for sample in samples]
    return None if None in needed else max(n for n in needed if n is not None)


def _one(sample: Sample, margin: float, alpha: float, scatter: float) -> int | None:
    distance = sample.mean - margin
    deviation = scatter * sample.scale if sample.seeds < 2 else sample.deviation
    if distance <= 0:
        return None
    n = np.arange(2, MOST_SEEDS + 1)
    wanted = scipy.stats.t.ppf(1 - alpha, n - 1)
    with np.errstate(divide="ignore"):
        shift = distance * np.sqrt(n) / deviation
    # Beyond 30 deviations scipy's noncentral t is slow and no longer exact; the answer is yes.
    power = np.where(shift > wanted + 30, 1.0, scipy.stats.nct.sf(wanted, n - 1, np.minimum(shift, 40.0)))
    enough = n[power >= POWER]
    return int(enough[0]) if len(enough) else None
