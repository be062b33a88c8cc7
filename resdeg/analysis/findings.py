"""What a sweep says of each claim."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.analysis.cells import Cells, Needs
from resdeg.analysis.claims import CLAIMS, Claim
from resdeg.analysis.effects import Effect, possible_peaks
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.verdict import Verdict, holm, seeds_to_decide, verdict
from resdeg.config import FAMILIES, Family


@dataclass(frozen=True)
class Finding:
    """A claim and what became of it. Effect, ends and margin in the claim's unit, as fractions.

    Args:
        needs: what the sweep lacks; then there is no effect.
        confidence: of the interval; Holm's share of the family's error makes it more than 95 %.
        low, high: the interval; None with one seed.
        seeds: those the effect was taken over.
        deciding: seeds with which it would probably be decided; None if it is, or if more than can be
            asked for.
    """

    claim: Claim
    verdict: Verdict
    rule: str
    margin: float
    needs: str | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    seeds: int = 0
    deciding: int | None = None


@dataclass(frozen=True)
class Judged:
    """An effect, the share of error that its interval was given, and the verdict."""

    effect: Effect
    alpha: float
    verdict: Verdict


def judge(cells: Cells, family: str) -> dict[str, Judged | Needs]:
    """The claims of a family by their ids; their intervals share the family's error by Holm's rule."""
    effects = {name: claim.effect(cells) for name, claim in CLAIMS.items() if claim.family == family}
    asked = {name: effect for name, effect in effects.items() if isinstance(effect, Effect)}
    margins = {name: CLAIMS[name].margin(cells) for name in asked}
    shares = holm({name: effect.p(margins[name]) for name, effect in asked.items()})
    judged = {
        name: Judged(effect, shares[name], verdict(effect, margins[name], shares[name]))
        for name, effect in asked.items()
    }
    return {**judged, **{name: effect for name, effect in effects.items() if isinstance(effect, Needs)}}


def findings(sweep: SweepFrame) -> list[Finding]:
    """What `sweep` says of every claim, in the order of CLAIMS."""
    cells = Cells.of(sweep)
    judged = judge(cells, "primary") | judge(cells, "secondary")
    return [_finding(claim, cells, judged[name]) for name, claim in CLAIMS.items()]


def _finding(claim: Claim, cells: Cells, judged: Judged | Needs) -> Finding:
    margin, rule = claim.margin(cells), claim.rule_for(cells)
    if isinstance(judged, Needs):
        return Finding(claim, Verdict.UNDECIDED, rule, margin, needs=judged.what)
    effect, alpha = judged.effect, judged.alpha
    low, high = effect.interval(alpha) if effect.seeds > 1 else (None, None)
    undecided = judged.verdict is Verdict.UNDECIDED
    return Finding(
        claim,
        judged.verdict,
        rule,
        margin,
        effect=effect.estimate,
        low=low,
        high=high,
        confidence=1 - alpha,
        seeds=effect.seeds,
        deciding=seeds_to_decide(effect, margin, alpha, claim.unit.scatter) if undecided else None,
    )


def peaks(sweep: SweepFrame) -> dict[Family, list[int]]:
    """The depths of each family that may be the best in test accuracy (see `possible_peaks`)."""
    cells = Cells.of(sweep)
    tables = {family: cells.table(family, "test_accuracy", least=2) for family in FAMILIES}
    return {f: possible_peaks(table) for f, table in tables.items() if not isinstance(table, Needs)}
