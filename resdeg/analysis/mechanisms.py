"""Effects of C5 to C8: why accuracy falls, from arms and from measured blocks."""

from __future__ import annotations

import statistics

from resdeg.analysis.effects import Joint, Part, Sample, Witness
from resdeg.analysis.evidence import OWN, RELU, Evidence
from resdeg.analysis.lacks import (
    NotAsked,
    NotPlanned,
    advise_settings,
    describe_depths,
    describe_families,
    describe_probes,
    describe_seeds,
)

LOSSES = {"own start less constructed": "train_loss", "with recomputed statistics": "recomputed_train_loss"}


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
    parts: dict[str, list[Part]] = {}
    columns: dict[str, dict[int, float]] = {}
    for name, metric in LOSSES.items():
        losses = evidence.losses(metric)
        own = losses.pop(OWN)
        for arm, constructed in losses.items():
            columns.setdefault(arm, constructed)
            gap = {seed: own[seed] - loss for seed, loss in constructed.items() if seed in own}
            parts.setdefault(arm, []).append(Part(name, Sample(gap), rule.numbers["margin"], frozenset(gap)))
    candidates: dict[int | str, Joint] = {
        arm: _join(evidence, own) for arm, own in parts.items() if _have_seeds(evidence, own)
    }
    if not candidates:
        _join(evidence, max(parts.values(), key=_fewest, default=[]))
    best = min(candidates, key=lambda arm: statistics.fmean(columns[str(arm)].values()))
    return Witness(candidates, "arm", best)


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
    if images < evidence.test_images:
        raise NotAsked(describe_probes(evidence.deepest, evidence.test_images, measured=images))
    last = min(map(len, by_seed.values())) - 1
    first = evidence.last_block - last
    candidates: dict[int | str, Joint] = {}
    for number in range(last):
        gap = {seed: accuracies[number] - accuracies[last] for seed, accuracies in by_seed.items()}
        part = Part(
            "probe behind it less behind the last", Sample(gap), rule.numbers["margin"], frozenset(gap)
        )
        candidates[first + number] = _join(evidence, [part])
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
        if {"initial", "final"} <= {*states}
    }
    if not decrease:
        there = "there is no such measurement. `resdeg diagnose` makes it"
        if evidence.config.adopted is not None:
            there = "adopted weights come without their initial values"
        raise NotAsked(
            f"the blocks of residual-{evidence.deepest}, measured before the first step and after the last; "
            f"{there}"
        )
    return _join(evidence, [Part("decrease", Sample(decrease), rule.numbers["margin"], frozenset(decrease))])


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
    own = average_decreases(evidence, "")
    parts = []
    for arm in arms:
        other = average_decreases(evidence, arm) if arm in evidence.arms else {}
        difference = {seed: own[seed] - other[seed] for seed in own if seed in other}
        name = f"{RELU} less {arm}"
        parts.append(Part(name, Sample(difference), rule.numbers["margin"], frozenset(difference)))
    if not any(part.ended for part in parts):
        fewest = min(_count_snapshots(evidence, arm) for arm in ("", *arms))
        how = f"A new sweep with --set execution.snapshots={least} takes them, and " if anew else ""
        raise NotAsked(
            f"residual-{evidence.deepest} with ReLU and with another activation, both measured at {least} "
            f"snapshots on the way; they were measured at {fewest}. {how}`resdeg diagnose` measures them"
        )
    return _join(evidence, parts)


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


def _count_snapshots(evidence: Evidence, arm: str) -> int:
    """Returns at how many snapshots on the way the deepest residual networks were measured, at most."""
    if arm and arm not in evidence.arms:
        return 0
    by_seed = evidence.branches(arm, evidence.deepest).values()
    return max((len({*states} - {"initial", "final"}) for states in by_seed), default=0)


def average_decreases(evidence: Evidence, arm: str) -> dict[int, float]:
    """Returns the decrease of log2 norm(F) / norm(x), mean over snapshots and the end, by seed."""
    least = evidence.rules.claims["C8"].numbers["least_snapshots"]
    decreases = {}
    for seed, states in evidence.branches(arm, evidence.deepest).items():
        later = {state: ratio for state, ratio in states.items() if state != "initial"}
        if "initial" in states and "final" in later and len(later) > least:
            decreases[seed] = states["initial"] - sum(later.values()) / len(later)
    return decreases


def _require_residual_blocks(asks: str, evidence: Evidence) -> None:
    """Raises NotPlanned where no residual network with a block is planned."""
    if "residual" not in evidence.config.families:
        raise NotPlanned(f"{asks}; {describe_families(evidence.config)}")
    if not evidence.depths:
        raise NotPlanned(f"{asks}; {describe_depths(evidence.config, ())}")


def _fewest(parts: list[Part]) -> int:
    return min((len(part.ended) for part in parts), default=0)


def _have_seeds(evidence: Evidence, parts: list[Part]) -> bool:
    return _fewest(parts) >= evidence.rules.least_seeds


def _join(evidence: Evidence, parts: list[Part]) -> Joint:
    if not _have_seeds(evidence, parts):
        needed = "that have ended and were measured"
        least = evidence.rules.least_seeds
        raise NotAsked(describe_seeds(evidence.config, least, needed=needed, count=_fewest(parts)))
    return Joint(tuple(parts))
