"""Effects of C5 to C8: why accuracy falls, from arms and from measured blocks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from resdeg.analysis.coverage import (
    Network,
    describe_uneven,
    describe_zeros,
    has_enough,
    list_ended_seeds,
    require_all,
)
from resdeg.analysis.effects import Joint, Part, Sample, Witness
from resdeg.analysis.evidence import OWN, RELU, Evidence
from resdeg.analysis.lacks import (
    NotAsked,
    NotPlanned,
    advise,
    advise_settings,
    describe_depths,
    describe_families,
    describe_probes,
    describe_seeds,
)

LOSSES = {"own start less constructed": "train_loss", "with recomputed statistics": "recomputed_train_loss"}

ENDS = frozenset({"initial", "final"})  # the states before the first step and after the last


def compare_constructed(evidence: Evidence) -> Witness:
    """Returns the effect of C5: clean training loss from its own start less that of a copy, in nats.

    Raises:
        NotAsked: no constructed network is planned, or too few seeds have ended.
    """
    rule = evidence.rules.claims["C5"]
    if not evidence.starts_from_he:
        start = "a sweep whose own networks have He's initial values, which this one has not"
        raise NotPlanned(f"{rule.asks}, and {start}")
    if "plain" not in evidence.config.families:
        raise NotPlanned(f"{rule.asks}; {describe_families(evidence.config)}")
    if not evidence.arms_that_change("constructed"):
        raise NotPlanned(f"{rule.asks}; {_describe_constructed(evidence)}")
    evidence.require_arms(evidence.arms_that_change("constructed"))
    parts: dict[str, list[Part]] = {}
    columns: dict[str, dict[int, float]] = {}
    depth = evidence.constructed_depth
    own_ended = {} if depth is None else list_ended_seeds(evidence, Network("", "plain", depth))
    dead = [seed for seed, alive in own_ended.items() if not alive]
    for name, metric in LOSSES.items():
        losses = evidence.losses(metric)
        own = losses.pop(OWN)
        for arm, constructed in losses.items():
            columns.setdefault(arm, constructed)
            gap = {seed: own[seed] - loss for seed, loss in constructed.items() if seed in own}
            ended = frozenset({*constructed} & {*own, *dead})
            parts.setdefault(arm, []).append(Part(name, Sample(gap), rule.numbers["margin"], ended))
    candidates: dict[int | str, Joint] = {
        arm: Joint(tuple(own)) for arm, own in parts.items() if _have_seeds(evidence, own)
    }
    if not candidates:
        raise NotAsked(_losses_needed(evidence, max(parts.values(), key=_fewest, default=[])))
    best = min(candidates, key=lambda arm: statistics.fmean(columns[str(arm)].values()))
    return Witness(candidates, "arm", best)


def _losses_needed(evidence: Evidence, parts: Sequence[Part]) -> str:
    """Says how many seeds the arm with the most of them has; of its parts, the second may lack statistics."""
    least = evidence.rules.least_seeds
    needed, count = "that have ended and were measured", _fewest(parts[:1])
    if count >= least:
        needed = "with recomputed batch-norm statistics, which some of these networks have"
        count = _fewest(parts)
    return describe_seeds(evidence.config, least, needed=needed, count=count)


def _describe_constructed(evidence: Evidence) -> str:
    """Says that a sweep has no constructed networks, and how it gets them."""
    if len(evidence.depths) < 2:
        return describe_depths(evidence.config, evidence.depths)
    *_, shallower, deepest = evidence.depths
    return "this sweep has none" + advise_settings(
        evidence.config,
        "arms.constructed.families=plain",
        f"arms.constructed.depths={deepest}",
        f"arms.constructed.constructed.from_depth={shallower}",
    )


def compare_probes(evidence: Evidence) -> Witness:
    """Returns the effect of C6: a probe behind a block less that behind the last block, as a fraction.

    Raises:
        NotAsked: there are too few test images, or nothing was measured.
    """
    rule = evidence.rules.claims["C6"]
    least = rule.numbers["least_images"]
    if "plain" not in evidence.config.families:
        raise NotPlanned(f"{rule.asks}; {describe_families(evidence.config)}")
    if evidence.blocks_of_last_stage < 2:
        raise NotPlanned(f"{rule.asks}; {describe_depths(evidence.config, evidence.depths)}")
    if evidence.test_images < least:
        there = f"there are {evidence.test_images:,} test images. CIFAR-10 has 10,000"
        raise NotPlanned(f"{rule.asks}; {there}")
    by_seed, images = evidence.probes()
    network = Network("", "plain", evidence.deepest)
    whole = by_seed if images >= evidence.test_images else {}
    how = (
        f"on all {evidence.test_images:,} test images. `resdeg diagnose --kinds probes --images "
        f"{evidence.test_images}` measures the rest"
    )
    require_all(evidence, network, measured=whole, how=how)
    if not has_enough(evidence, measured=whole, ended=list_ended_seeds(evidence, network)):
        if not whole:
            raise NotAsked(describe_probes(evidence.deepest, evidence.test_images, measured=images))
        on = f"that have ended and were measured on all {evidence.test_images:,} test images"
        raise NotAsked(
            describe_seeds(evidence.config, evidence.rules.least_seeds, needed=on, count=len(whole))
        )
    last = min(map(len, whole.values()), default=evidence.blocks_of_last_stage) - 1
    first = evidence.last_block - last
    candidates: dict[int | str, Joint] = {}
    for number in range(last):
        gap = {seed: accuracies[number] - accuracies[last] for seed, accuracies in whole.items()}
        part = Part(
            "probe behind it less behind the last", Sample(gap), rule.numbers["margin"], frozenset(gap)
        )
        candidates[first + number] = Joint((part,))
    best = max(candidates, key=lambda block: candidates[block].excess)
    return Witness(candidates, "block", best)


def measure_branches(evidence: Evidence) -> Joint:
    """Returns the effect of C7: log2 of norm(F) / norm(x) at initial values less that at the end.

    Raises:
        NotAsked: there are no such networks, or they were not measured at both ends.
    """
    rule = evidence.rules.claims["C7"]
    _require_residual_blocks(rule.asks, evidence)
    decrease = {
        seed: states["initial"] - states["final"]
        for seed, states in evidence.branches("", evidence.deepest).items()
        if {*states} >= ENDS
    }
    network = Network("", "residual", evidence.deepest)
    zeros = describe_zeros(evidence, [network], states=ENDS)
    uneven = describe_uneven(evidence, [network]) + zeros
    remedy = "" if zeros else ". `resdeg diagnose` measures the rest"
    how = f"before the first step and after the last{uneven}{remedy}"
    require_all(evidence, network, measured=decrease, how=how)
    if not has_enough(evidence, measured=decrease, ended=list_ended_seeds(evidence, network)):
        if decrease:
            raise NotAsked(_seeds_needed(evidence, len(decrease)) + uneven)
        there = f"there is no such measurement{uneven}. `resdeg diagnose` makes it"
        if zeros:
            there = uneven.removeprefix("; ")
        elif evidence.config.adopted is not None:
            there = "adopted weights come without their initial values"
        raise NotAsked(
            f"the blocks of residual-{evidence.deepest}, measured before the first step and after the last; "
            f"{there}"
        )
    return Joint((Part("decrease", Sample(decrease), rule.numbers["margin"], frozenset(decrease)),))


def compare_activations(evidence: Evidence) -> Joint:
    """Returns the effect of C8: the decrease of C7 with ReLU, less that with each other activation.

    Raises:
        NotAsked: there is no such arm, or too few snapshots were measured.
    """
    rule = evidence.rules.claims["C8"]
    _require_residual_blocks(rule.asks, evidence)
    arms = list_activation_arms(evidence)
    least = rule.numbers["least_snapshots"]
    anew = evidence.config.execution.snapshots < least
    if not arms:
        settings = ["arms.linear.families=residual", "arms.linear.model.inner_activation=none"]
        advice = advise_settings(
            evidence.config,
            *settings,
            *[f"execution.snapshots={least}"] * anew,
            anew=anew,
            trains="such networks",
        )
        raise NotPlanned(f"{rule.asks}; this sweep has no such arm{advice}")
    evidence.require_arms(arms)
    networks = [Network(arm, "residual", evidence.deepest) for arm in ("", *arms)]
    zeros = describe_zeros(evidence, networks)
    uneven = describe_uneven(evidence, networks) + zeros
    takes = f"A new sweep with --set execution.snapshots={least} takes them, and " if anew else ""
    remedy = f"{takes}`resdeg diagnose` measures {'them' if anew else 'the rest'}"
    how = f"at {least} snapshots on the way and at both ends{uneven}" + ("" if zeros else f". {remedy}")
    shared = f"at {least} snapshots on the way that all of these networks share, and at both ends{uneven}"
    decreases, ended = average_decreases(evidence), list_ended_seeds(evidence, networks[0])
    alive = [seed for seed, learnt in ended.items() if learnt]
    measured = {network.arm: read_measured_branches(evidence, network.arm) for network in networks}
    parts, enough = [], True
    for network in networks[1:]:
        arm = network.arm
        seeds = evidence.planned_arms[arm].seeds
        require_all(evidence, networks[0], measured=measured[""], how=how, seeds=seeds)
        require_all(evidence, network, measured=measured[arm], how=how)
        own, other = decreases[""], decreases.get(arm, {})
        require_all(evidence, network, measured=other, how=shared, seeds=alive)
        difference = {seed: own[seed] - other[seed] for seed in own if seed in other}
        name = f"{RELU} less {arm}"
        parts.append(Part(name, Sample(difference), rule.numbers["margin"], frozenset(difference)))
        pairs = {
            seed: learnt and ended[seed]
            for seed, learnt in list_ended_seeds(evidence, network).items()
            if seed in ended
        }
        enough = enough and has_enough(evidence, measured=difference, ended=pairs)
    if not enough and any(part.ended for part in parts):
        raise NotAsked(_seeds_needed(evidence, _fewest(parts)) + uneven)
    if not enough:
        fewest = min(_count_snapshots(evidence, arm) for arm in ("", *arms))
        where = (
            f"residual-{evidence.deepest} with ReLU and with another activation, both measured at {least} "
        )
        if set.intersection(*map(set, measured.values())):
            again = "A new sweep takes them at the same steps in all of its networks"
            raise NotAsked(
                f"{where}snapshots on the way that they share; their snapshots were taken at other steps"
                f"{uneven}{advise(evidence.config, again)}"
            )
        advice = "" if zeros else f". {takes}`resdeg diagnose` measures them"
        raise NotAsked(f"{where}snapshots on the way; they were measured at {fewest}{uneven}{advice}")
    return Joint(tuple(parts))


def list_activation_arms(evidence: Evidence) -> list[str]:
    """Returns the arms of residual networks of depth dk that differ from the grid only in the activation."""
    if not evidence.is_relu or not evidence.depths:
        return []
    return [
        name
        for name, arm in evidence.arms_that_change("model.activation", "model.inner_activation").items()
        if (arm.model.activation != RELU or arm.model.inner_activation not in (None, RELU))
        and "residual" in arm.families
        and evidence.deepest in arm.depths
    ]


def list_measured_networks(claim: str, evidence: Evidence) -> list[Network]:
    """Returns the networks that C5, C6, C7 or C8 reads, of the grid and of its arms."""
    if claim == "C5":
        depth = evidence.constructed_depth
        arms = [name for name in evidence.arms_that_change("constructed") if name in evidence.arms]
        return [] if depth is None else [Network(arm, "plain", depth) for arm in ("", *arms)]
    arms = list_activation_arms(evidence) if claim == "C8" else []
    family = "plain" if claim == "C6" else "residual"
    return [Network(arm, family, evidence.deepest) for arm in ("", *arms)]


def _count_snapshots(evidence: Evidence, arm: str) -> int:
    """Returns at how many snapshots on the way the deepest residual networks were measured, at most."""
    if arm and arm not in evidence.arms:
        return 0
    by_seed = evidence.branches(arm, evidence.deepest).values()
    return max((len({*states} - ENDS) for states in by_seed), default=0)


def read_measured_branches(evidence: Evidence, arm: str) -> dict[int, dict[object, float]]:
    """Returns the branches of the seeds that were measured at both ends and at three snapshots.

    An arm without a record, or that is not whole in a registered sweep, has none.
    """
    if arm and arm not in evidence.arms:
        return {}
    least = evidence.rules.claims["C8"].numbers["least_snapshots"]
    return {
        seed: states
        for seed, states in evidence.branches(arm, evidence.deepest).items()
        if {*states} >= ENDS and len(states) >= least + 2
    }


def average_decreases(evidence: Evidence) -> dict[str, dict[int, float]]:
    """Returns the decrease of log2 norm(F) / norm(x), mean over snapshots and the end, by arm and seed.

    The grid's is under "". In a seed all networks are read at the snapshots that they share: branches shrink
    along the way, so other steps would be another time of training, and no effect of the activation.
    """
    least = evidence.rules.claims["C8"].numbers["least_snapshots"]
    measured = {arm: read_measured_branches(evidence, arm) for arm in ("", *list_activation_arms(evidence))}
    decreases: dict[str, dict[int, float]] = {arm: {} for arm in measured}
    for seed in sorted({seed for by_seed in measured.values() for seed in by_seed}):
        networks = {arm: by_seed[seed] for arm, by_seed in measured.items() if seed in by_seed}
        later = set.intersection(*map(set, networks.values())) - {"initial"}
        if len(later) > least:
            for arm, states in networks.items():
                ratios = [ratio for state, ratio in states.items() if state in later]
                decreases[arm][seed] = states["initial"] - sum(ratios) / len(ratios)
    return decreases


def _require_residual_blocks(asks: str, evidence: Evidence) -> None:
    """Raises NotPlanned where no residual network with a block is planned."""
    if "residual" not in evidence.config.families:
        raise NotPlanned(f"{asks}; {describe_families(evidence.config)}")
    if not evidence.depths:
        raise NotPlanned(f"{asks}; {describe_depths(evidence.config, ())}")


def _fewest(parts: Sequence[Part]) -> int:
    return min((len(part.ended) for part in parts), default=0)


def _have_seeds(evidence: Evidence, parts: Sequence[Part]) -> bool:
    return _fewest(parts) >= evidence.rules.least_seeds


def _seeds_needed(evidence: Evidence, count: int) -> str:
    needed = "that have ended and were measured"
    return describe_seeds(evidence.config, evidence.rules.least_seeds, needed=needed, count=count)
