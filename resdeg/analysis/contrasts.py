"""Effects of C1 to C4 and C10: contrasts of accuracies, as rules.toml lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from resdeg.analysis.effects import Joint, Part, Witness
from resdeg.analysis.evidence import Evidence, Quantity
from resdeg.analysis.lacks import (
    NotAsked,
    NotPlanned,
    advise,
    advise_settings,
    describe_depths,
    describe_families,
    describe_seeds,
    join_numbers,
)
from resdeg.config import FAMILIES


class Start(NamedTuple):
    """Initial values that C10 compares with He's: in words, and the settings of an arm that has them."""

    words: str
    settings: tuple[str, ...]


STARTS = {
    "identity": Start("as identities", ("families=plain", "model.init=dirac-mixed", "model.dirac=1")),
    "orthogonal": Start("with orthogonal values", ("families=plain", "model.init=orthogonal")),
}


def find_witness(claim: str, evidence: Evidence) -> Witness:
    """Returns the effect of a claim that says "there is a depth at which all parts hold".

    Raises:
        NotAsked: the plan has no such depths, or no candidate has enough seeds that have ended.
    """
    rule = evidence.rules.claims[claim]
    depths = _planned_depths(claim, evidence)
    candidates = depths[1:-1] if rule.numbers["witness"] == "between" else depths[:-1]
    if not candidates or depths[0] != rule.numbers.get("first_depth", depths[0]):
        raise NotPlanned(_depths_needed(claim, evidence, depths=depths))
    named = evidence.named_depth
    if named is not None and named not in candidates:
        raise NotPlanned(_witness_needed(evidence, named, depths=depths))
    networks = {term.network for part in rule.parts for term in part.terms}
    evidence.require_arms(arm for network, arm in evidence.start_arms.items() if network in networks)
    parts: dict[int | str, Joint] = {
        depth: Joint(_parts(claim, evidence, depth=depth, depths=depths)) for depth in candidates
    }
    standing = [named] if named is not None else candidates
    asked = [depth for depth in standing if _has_seeds(evidence, parts[depth])]
    if not asked:
        raise NotAsked(_seeds_needed(claim, evidence, joints=[parts[depth] for depth in standing]))
    return Witness(
        parts,
        "depth",
        max(asked, key=lambda depth: _mean_accuracy(evidence, depth)),
        named,
        guard=rule.numbers.get("guard", ""),
        refutable=("plain", depths[-1]) not in evidence.dead and not evidence.deeper_plain_died,
    )


def _planned_depths(claim: str, evidence: Evidence) -> tuple[int, ...]:
    """Returns the depths with a block that every network of the claim is planned to have.

    Raises:
        NotAsked: some network is not planned at all.
    """
    rule = evidence.rules.claims[claim]
    depths = set(evidence.depths)
    for network in dict.fromkeys(term.network for part in rule.parts for term in part.terms):
        if network in evidence.config.families:
            continue
        if network not in evidence.start_arms:
            lack = describe_families(evidence.config) if network in FAMILIES else _describe_arms(evidence)
            raise NotPlanned(f"{rule.asks}; {lack}")
        depths &= {*evidence.planned_arms[evidence.start_arms[network]].depths}
    if depths and evidence.deepest not in depths:
        shared = describe_depths(evidence.config, sorted(depths), shares=True)
        raise NotPlanned(f"{rule.asks}, at depth {evidence.deepest}, too; {shared}")
    return tuple(sorted(depths))


def _describe_arms(evidence: Evidence) -> str:
    """Says which arms of C10 a sweep lacks."""
    if not evidence.starts_from_he:
        return "and a sweep whose own networks have He's initial values, which this one has not"
    missing = [start for start in STARTS if start not in evidence.start_arms]
    words = " or ".join(STARTS[start].words for start in missing)
    settings = (f"arms.{start}.{setting}" for start in missing for setting in STARTS[start].settings)
    return f"this sweep has no arm of networks that start {words}" + advise_settings(
        evidence.config, *settings
    )


def _depths_needed(claim: str, evidence: Evidence, *, depths: tuple[int, ...]) -> str:
    rule = evidence.rules.claims[claim]
    networks = {term.network for part in rule.parts for term in part.terms}
    there = describe_depths(evidence.config, depths, shares=not networks <= {*FAMILIES})
    return f"{rule.asks}; {there}"


def _witness_needed(evidence: Evidence, named: int, *, depths: tuple[int, ...]) -> str:
    """Says why a named witness cannot bear a claim; `depths` are those that all its networks have."""
    witness = f"the witness that was named before the first step, depth {named},"
    if named != depths[0]:
        return f"{witness} in all of its networks; these have depths {join_numbers(depths)}"
    return (
        f"{witness} to lie between the shallowest network with a block and the deepest; it is the "
        "shallowest, so there is none from which the accuracy could rise to it"
    ) + advise(evidence.config, "A new sweep that names a deeper one (claims.depth), or none, can ask it")


def _parts(claim: str, evidence: Evidence, *, depth: int, depths: tuple[int, ...]) -> tuple[Part, ...]:
    """Returns the parts of a claim at one candidate; an optional part needs some network with its metric."""
    by_symbol = {"d": depth, "d1": depths[0], "dk": depths[-1]}
    parts = []
    for rule in evidence.rules.claims[claim].parts:
        weights = {
            Quantity(term.network, by_symbol[term.depth], term.metric): term.weight for term in rule.terms
        }
        if rule.optional and not any(
            quantity in evidence.outcomes for quantity in weights if quantity.metric == "recomputed"
        ):
            continue
        sample, ended = evidence.contrast(weights)
        margin = evidence.rules.margin(rule.margin, evidence.schedule)
        parts.append(Part(rule.name.format(**by_symbol), sample, margin, ended))
    return tuple(parts)


def compare_depths(claim: str, evidence: Evidence) -> dict[int, tuple[Part, ...]]:
    """Returns the parts of a claim at every depth shallower than dk; networks may be missing."""
    depths = evidence.depths
    return {depth: _parts(claim, evidence, depth=depth, depths=depths) for depth in depths[:-1]}


def _has_seeds(evidence: Evidence, joint: Joint) -> bool:
    return min(len(part.ended) for part in joint.shown) >= evidence.rules.least_seeds


def _seeds_needed(claim: str, evidence: Evidence, *, joints: Sequence[Joint]) -> str:
    """Says how many seeds the best of some candidates has, and what the others lack."""
    rule = evidence.rules.claims[claim]
    optional = {part.name for part in rule.parts if part.optional}

    def fewest(joint: Joint, *, required: bool) -> int:
        return min(len(part.ended) for part in joint.shown if not (required and part.name in optional))

    count, needed = max(fewest(joint, required=True) for joint in joints), "that have ended"
    if count >= evidence.rules.least_seeds:
        count = max(fewest(joint, required=False) for joint in joints)
        needed = "with recomputed batch-norm statistics, which some of these networks have,"
    needed += " at every depth it compares"
    return describe_seeds(evidence.config, evidence.rules.least_seeds, needed=needed, count=count)


def _mean_accuracy(evidence: Evidence, depth: int) -> float:
    accuracies = evidence.accuracies("plain", "test")[depth].values()
    return sum(accuracies) / len(accuracies)


@dataclass(frozen=True)
class Collapse(Joint):
    """C3's parts, and the deepest residual network's deaths, which refute the claim where no test can.

    Args:
        collapsed: it died in at least three and half of the seeds, and no shallower one in any.
        bound: the rate of deaths that these seeds do not exclude, where none died; else None.
    """

    bound: float | None = None


def compare_residual(evidence: Evidence) -> Collapse:
    """Returns the effect of C3: the deepest residual network against every shallower one.

    Raises:
        NotAsked: fewer than two depths are planned, or too few seeds have ended.
    """
    depths = _planned_depths("C3", evidence)
    if len(depths) < 2:
        raise NotPlanned(_depths_needed("C3", evidence, depths=depths))
    joint = Joint(
        tuple(part for depth in depths[:-1] for part in _parts("C3", evidence, depth=depth, depths=depths))
    )
    if not _has_seeds(evidence, joint):
        raise NotAsked(_seeds_needed("C3", evidence, joints=[joint]))
    deaths = {depth: len(seeds) for (network, depth), seeds in evidence.dead.items() if network == "residual"}
    deaths.pop(2, None)  # Depth 2 has no block, and so no shortcut.
    seeds = len(evidence.outcomes[Quantity("residual", depths[-1], "test")])
    collapsed = (
        len(depths) >= 3
        and set(deaths) == {depths[-1]}
        and deaths[depths[-1]] >= max(evidence.rules.least_seeds, seeds / 2)
    )
    bound = None if depths[-1] in deaths else 1 - evidence.rules.levels["collapse"] ** (1 / seeds)
    return Collapse(joint.shown, collapsed, bound)
