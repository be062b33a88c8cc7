"""Verdicts from effects and margins, by one rule for all claims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy.special

from resdeg.analysis.claims import CLAIMS, Claim, list_networks
from resdeg.analysis.contrasts import Collapse
from resdeg.analysis.effects import Judgeable, Peak, Sample, Witness, locate_peak
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.lacks import NotAsked, NotPlanned
from resdeg.config import Family

POWER = 0.8  # the power that `count_seeds_to_decide` asks for
MOST_SEEDS = 200  # A larger number is printed as "more than" this one.


class Verdict(StrEnum):
    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"
    NOT_ASKED = "NOT ASKED"


RULE = (
    "A claim is one part or several, each an effect and a margin. All parts lie above their margins, with "
    "the error that the claim is given: SUPPORTED. Some part lies below its margin, at every depth that "
    "could bear the claim: REFUTED. Otherwise: UNDECIDED. What the sweep holds too little for, three seeds "
    "among it: NOT ASKED."
)


@dataclass(frozen=True)
class Judged:
    """An effect, the two-sided share of the family's error that it was given, and the verdict."""

    effect: Judgeable
    alpha: float
    verdict: Verdict


@dataclass(frozen=True)
class PartFinding:
    """One part at the printed witness: its mean over seeds and its margin, as fractions."""

    name: str
    effect: float | None
    margin: float
    seeds: int


@dataclass(frozen=True)
class Finding:
    """A claim and its verdict. Numbers are in the claim's unit, as fractions.

    Args:
        needs: what the sweep lacks; the other fields are then empty.
        witness: the depth, arm or block whose numbers are printed, for a claim that there is one.
        excess: by how much the part nearest to its margin exceeds it, there.
        low, high: the interval of the excess of the whole claim; None where it has no end.
        confidence: that of the interval; Holm's share of the family's error makes it more than 95 %.
        seeds: how many have ended in every part; beyond: in how many of them every part exceeds its margin.
        smallest: the least number of the part nearest to its margin.
        few_seeds: whether no test without Student's assumptions could give a p below .05.
        dead: the networks that it reads and that did not train.
        collapse_bound: the rate of collapse that these seeds do not exclude (C3).
        deciding: seeds with which it would probably be decided; None if it is decided, or above MOST_SEEDS.
    """

    claim: Claim
    family: str
    verdict: Verdict
    rule: str
    needs: str | None = None
    witness: str | None = None
    parts: tuple[PartFinding, ...] = ()
    excess: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    seeds: int = 0
    beyond: int = 0
    smallest: float | None = None
    few_seeds: bool = False
    dead: tuple[str, ...] = ()
    collapse_bound: float | None = None
    deciding: int | None = None


def reach_verdict(effect: Judgeable, alpha: float) -> Verdict:
    """Applies RULE, each way with half of a two-sided error of `alpha`."""
    if effect.p_above() < alpha / 2:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if effect.collapsed or effect.p_below() < alpha / 2 else Verdict.UNDECIDED


def share_error(p_values: Mapping[str, float], level: float) -> dict[str, float]:
    """Returns the `alpha` of each claim.

    The probability that some claim of the family is decided wrongly is then at most `level`.
    The smallest p has level / m, the next one level / (m - 1), and so on; the first that is not below its
    share lends it to all after it (Holm 1979).
    """
    shares: dict[str, float] = {}
    failed: float | None = None
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        share = level / (len(p_values) - rank) if failed is None else failed
        if p_values[name] >= share:
            failed = share
        shares[name] = share
    return shares


def judge_family(evidence: Evidence, family: str) -> dict[str, Judged | str]:
    """Judges the claims of a family: by id, each with its verdict or with what the sweep lacks for it.

    The error is shared among the claims that the configuration can ask, whatever came out: one that it can
    ask and that is not asked yet has a p of 1.
    """
    effects: dict[str, Judgeable | str] = {}
    planned: dict[str, float] = {}
    for name, claim in CLAIMS.items():
        if evidence.rules.claims[name].family != family:
            continue
        try:
            effect = claim.effect(evidence)
        except NotPlanned as lack:
            effects[name] = lack.what
        except NotAsked as lack:
            effects[name] = lack.what if evidence.interim is None else evidence.interim
            planned[name] = 1.0
        else:
            effects[name] = effect if evidence.interim is None else evidence.interim
            planned[name] = min(1.0, 2 * min(effect.p_above(), effect.p_below()))
    shares = share_error(planned, evidence.rules.levels["family"])
    return {
        name: effect
        if isinstance(effect, str)
        else Judged(effect, shares[name], reach_verdict(effect, shares[name]))
        for name, effect in effects.items()
    }


def judge_claims(evidence: Evidence) -> list[Finding]:
    """Judges every claim by the evidence of a sweep, in the order of CLAIMS."""
    judged = judge_family(evidence, "primary") | judge_family(evidence, "secondary")
    return [_finding(claim, evidence, judged=judged[name]) for name, claim in CLAIMS.items()]


def _finding(claim: Claim, evidence: Evidence, *, judged: Judged | str) -> Finding:
    family = evidence.rules.claims[claim.id].family
    rule = evidence.rules.spell(claim.id, evidence.schedule)
    if isinstance(judged, str):
        return Finding(claim, family, Verdict.NOT_ASKED, rule, needs=judged)
    effect, alpha = judged.effect, judged.alpha
    parts = effect.shown
    nearest = min(parts, key=lambda part: part.excess if part.sample.seeds else math.inf)
    seeds = frozenset.intersection(*(part.ended for part in parts))
    undecided = judged.verdict is Verdict.UNDECIDED
    return Finding(
        claim,
        family,
        judged.verdict,
        rule,
        witness=f"{effect.kind} {effect.best}" if isinstance(effect, Witness) else None,
        parts=tuple(
            PartFinding(part.name, _finite(part.sample.mean), part.margin, part.sample.seeds)
            for part in parts
        ),
        excess=_finite(nearest.excess),
        low=_finite(effect.lower(alpha / 2)),
        high=_finite(effect.upper(alpha / 2)),
        confidence=1 - alpha,
        seeds=len(seeds),
        beyond=sum(
            all(part.sample.by_seed.get(seed, -math.inf) > part.margin for part in parts) for seed in seeds
        ),
        smallest=min(nearest.sample.by_seed.values(), default=None),
        few_seeds=2 / 2 ** len(seeds) >= evidence.rules.levels["family"],
        dead=tuple(_dead_networks(claim.id, evidence)),
        collapse_bound=effect.bound if isinstance(effect, Collapse) else None,
        deciding=count_seeds_to_decide(effect, alpha) if undecided else None,
    )


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _dead_networks(claim: str, evidence: Evidence) -> Iterator[str]:
    networks = list_networks(claim, evidence)
    for (network, depth), seeds in evidence.dead.items():
        if (network, depth) in networks:
            yield f"{network}-{depth} seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def count_seeds_to_decide(effect: Judgeable, alpha: float) -> int | None:
    """Returns with how many seeds the printed parts would decide with probability POWER.

    Effect and spread are taken to be what they seem. None stands for more than MOST_SEEDS.
    """
    shown = effect.shown
    error = (
        alpha / 2 / (len(effect.candidates) if isinstance(effect, Witness) and effect.named is None else 1)
    )
    if all(part.excess > 0 for part in shown):
        needed = [_seeds_needed(part.sample, part.margin, side=1, error=error) for part in shown]
        return None if None in needed else max(seeds for seeds in needed if seeds is not None)
    below = [_seeds_needed(part.sample, part.margin, side=-1, error=alpha / 2 / len(shown)) for part in shown]
    return min((seeds for seeds in below if seeds is not None), default=None)


def _seeds_needed(sample: Sample, margin: float, *, side: int, error: float) -> int | None:
    distance = side * (sample.mean - margin)
    if sample.seeds < 2 or not distance > 0:
        return None
    seeds = np.arange(3, MOST_SEEDS + 1)
    critical = scipy.special.stdtrit(seeds - 1, 1 - error)
    with np.errstate(divide="ignore"):
        shift = distance * np.sqrt(seeds) / sample.deviation
    # Beyond 30 deviations the noncentral t is slow and no longer exact, and the power is 1.
    power = np.where(
        shift > critical + 30, 1.0, 1 - scipy.special.nctdtr(seeds - 1, np.minimum(shift, 40.0), critical)
    )
    enough = seeds[power >= POWER]
    return int(enough[0]) if len(enough) else None


def locate_peaks(evidence: Evidence) -> dict[Family, Peak]:
    """Returns where test accuracy has its maximum over the trained depths, by family.

    A family of which no network with a block has learnt has none, because its curve is noise at chance.
    """
    curves: dict[Family, Peak] = {}
    for family in evidence.config.families:
        if family in evidence.unlearned:
            continue
        by_depth = evidence.accuracies(family, "test")
        with_block = {depth: by_seed for depth, by_seed in by_depth.items() if depth > 2}
        peak = locate_peak(with_block, list(by_depth))
        if peak is not None:
            curves[family] = peak
    return curves
