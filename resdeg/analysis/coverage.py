"""Which networks of a sweep are measured, and whether they are enough for a claim about measured networks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.lacks import NotAsked, join_numbers
from resdeg.analysis.measured import list_uneven, list_zeros


class Network(NamedTuple):
    """The networks of one family and depth; arm: "" for those of the grid."""

    arm: str
    family: str
    depth: int

    @property
    def title(self) -> str:
        return f"{self.arm} {self.family}-{self.depth}".lstrip()


def list_ended_seeds(evidence: Evidence, network: Network) -> dict[int, bool]:
    """Returns the planned seeds of a network that have ended: whether each is alive."""
    return evidence.list_ended(network.arm, (network.family, network.depth))


def has_enough(evidence: Evidence, *, measured: Collection[int], ended: Mapping[int, bool]) -> bool:
    """Returns whether three seeds were measured, or all that are alive of three that have ended.

    Whether a claim is asked must not depend on how many networks died: with fewer than three alive it is
    asked, and UNDECIDED.

    Args:
        ended: whether each seed that has ended is alive.
    """
    least = evidence.rules.least_seeds
    alive = {seed for seed, learnt in ended.items() if learnt}
    return len(measured) >= least or (len(ended) >= least and alive <= {*measured})


def require_all(
    evidence: Evidence,
    network: Network,
    *,
    measured: Collection[int],
    how: str,
    seeds: Collection[int] | None = None,
) -> None:
    """Refuses a claim of a registered sweep before all networks that are alive are measured.

    Otherwise somebody could stop measuring when the verdict pleases. Where nothing is measured, the claim
    says so by itself.

    Args:
        how: how they are to be measured. seeds: those that count; None for all that are planned.

    Raises:
        NotAsked: says how many are measured.
    """
    if evidence.config.registration is None:
        return
    alive = {seed for seed, learnt in list_ended_seeds(evidence, network).items() if learnt}
    needed = alive if seeds is None else alive & {*seeds}
    count = len(needed & {*measured})
    if 0 < count < len(needed):
        raise NotAsked(f"interim, {count} of {len(needed)} seeds of {network.title} are measured {how}")


def describe_uneven(evidence: Evidence, networks: Iterable[Network]) -> str:
    """Names the seeds that do not count, because their states were measured on different images."""
    clauses = []
    for network in networks:
        uneven = list_uneven(evidence.branch_rows(network.arm, network.depth))
        if uneven:
            several = len(uneven) > 1
            clauses.append(
                f"; seed{'s' * several} {join_numbers(sorted(uneven))} of {network.title} "
                f"{'do' if several else 'does'} not count, because the states were measured on different "
                f"numbers of images (`resdeg diagnose --images {max(uneven.values())}` makes them equal)"
            )
    return "".join(clauses)


def describe_zeros(
    evidence: Evidence, networks: Iterable[Network], *, states: Collection[object] | None = None
) -> str:
    """Names the seeds with a state in which norm(F) is 0, which does not count.

    Args:
        states: those that are asked for; None for all.
    """
    clauses = []
    for network in networks:
        zeros = list_zeros(evidence.branch_rows(network.arm, network.depth))
        seeds = sorted(seed for seed, own in zeros.items() if states is None or not own.isdisjoint(states))
        if seeds:
            clauses.append(
                f"; norm(F) is 0 in a state of {network.title} in seed{'s' * (len(seeds) > 1)} "
                f"{join_numbers(seeds)}, and 0 has no logarithm"
            )
    return "".join(clauses)
