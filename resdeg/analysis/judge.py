"""Verdicts from effects and margins, by one rule for all claims."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy.special

from resdeg.analysis.claims import CLAIMS, Claim, list_networks
from resdeg.analysis.contrasts import Collapse
from resdeg.analysis.effects import Both, Judgeable, Part, Peak, Witness, locate_peak
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.lacks import NotAsked, NotPlanned
from resdeg.config import Family

POWER = 0.8  # the power that `count_seeds_to_decide` asks for
MOST_SEEDS = 200  # A larger number is only said to be larger.


class Verdict(StrEnum):
    SUPPORTED = "SUPPORTED"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"
    NOT_ASKED = "NOT ASKED"


RULE = (
    "A claim is one part or several, each an effect and a margin. All parts lie above their margins, with "
    "the error that the claim is given: SUPPORTED. Some part lies below its margin, at every candidate "
    "depth: REFUTED. Otherwise: UNDECIDED. NOT ASKED: the sweep lacks what the claim needs, for example "
    "three seeds."
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
        few_seeds: whether some printed part has too few for a p below .05 without Student's assumptions.
        dead: the networks that it reads and that did not train.
        collapse_bound: the rate of collapse that these seeds do not exclude (C3).
        deciding: seeds with which it would probably be decided, MOST_SEEDS + 1 for any number above; None if
            it is decided, or if no number of seeds would decide it.
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
    """Applies RULE, each way with half of a two-sided error of `alpha`; a collapse comes before any test."""
    if effect.collapsed or effect.p_below() < alpha / 2:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if effect.p_above() < alpha / 2 else Verdict.UNDECIDED


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
            # What has collapsed cannot be supported, so its p above decides nothing.
            p_above = 1.0 if effect.collapsed else effect.p_above()
            planned[name] = min(1.0, 2 * min(p_above, effect.p_below()))
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
        few_seeds=2 / 2 ** min(part.sample.seeds for part in parts) >= evidence.rules.levels["family"],
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
    """Returns with how many seeds the claim would be decided with probability POWER.

    Effect and spread are taken to be what they seem. MOST_SEEDS + 1 stands for any number above MOST_SEEDS.
    None stands for a claim that no number of seeds would decide: some part is not above its margin, and
    either the claim cannot be refuted, or it holds at a candidate that cannot support it.
    """
    above = _count_seeds_above(effect, alpha / 2)
    return _count_seeds_below(effect, alpha / 2) if above is None else above


def _count_seeds_above(effect: Judgeable, error: float) -> int | None:
    """Returns with how many seeds all parts would lie above their margins, at some candidate.

    Simes' test asks at most this of it, because a single candidate may have 1/c of the error.
    """
    if isinstance(effect, Witness):
        joints = effect.standing
        return _least(_count_seeds_above(joint, error / len(joints)) for joint in joints)
    if isinstance(effect, Both):
        return _greatest(_count_seeds_above(claim, error) for claim in effect.claims)
    return _greatest(_seeds_needed(part, side=1, error=error) for part in effect.shown)


def _count_seeds_below(effect: Judgeable, error: float, guard: str = "") -> int | None:
    """Returns with how many seeds some part but `guard` would lie below its margin, at every candidate."""
    if isinstance(effect, Both):
        return _least(_count_seeds_below(claim, error / len(effect.claims)) for claim in effect.claims)
    if not isinstance(effect, Witness):
        share = error / len(effect.shown)
        return _least(
            _seeds_needed(part, side=-1, error=share) for part in effect.shown if part.name != guard
        )
    if not effect.refutable:
        return None
    joints = effect.candidates.values()
    needed = [_count_seeds_below(joint, error, effect.guard) for joint in joints]
    if effect.guard:
        guards = [part for joint in joints for part in joint.shown if part.name == effect.guard]
        needed.append(_least(_seeds_needed(part, side=1, error=error / len(guards)) for part in guards))
    return _greatest(needed)


def _least(counts: Iterable[int | None]) -> int | None:
    """Returns the least number of seeds; None, that no number is enough, is more than any."""
    return min((count for count in counts if count is not None), default=None)


def _greatest(counts: Iterable[int | None]) -> int | None:
    """Returns the greatest number of seeds, see `_least`."""
    numbers = [*counts]
    return None if None in numbers else max(count for count in numbers if count is not None)


def _seeds_needed(part: Part, *, side: int, error: float) -> int | None:
    sample, distance = part.sample, side * part.excess
    if sample.seeds < 2 or not distance > 0 or sample.deviation == sample.binomial == 0:
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
    return int(enough[0]) if len(enough) else MOST_SEEDS + 1


def locate_peaks(evidence: Evidence) -> dict[Family, Peak]:
    """Returns where test accuracy has its maximum over the trained depths, by family.

    A run that diverged counts as a guess, as in the claims: without it a depth that does not always train
    would seem better than it is. A family of which no network with a block has learnt has none, because its
    curve is noise at chance.
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
