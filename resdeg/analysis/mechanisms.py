"""Effects of C5 to C8: why accuracy falls, from arms and from measured blocks."""

from __future__ import annotations

import statistics

from resdeg.analysis.effects import Joint, Part, Sample, Witness
from resdeg.analysis.evidence import OWN, RELU, Evidence, NotAsked, NotPlanned

LOSSES = {"own start less constructed": "train_loss", "with recomputed statistics": "recomputed_train_loss"}


def compare_constructed(evidence: Evidence) -> Witness:
    """Returns the effect of C5: clean training loss from its own start less that of a copy, in nats.

    Raises:
        NotAsked: no constructed network is planned, or too few seeds have ended.
    """
    rule = evidence.rules.claims["C5"]
    if not evidence.starts_from_he or not evidence.arms_that_change("constructed"):
        raise NotPlanned(rule.asks)
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


def compare_probes(evidence: Evidence) -> Witness:
    """Returns the effect of C6: a probe behind a block less that behind the last block, as a fraction.

    Raises:
        NotAsked: there are too few test images, or nothing was measured.
    """
    rule = evidence.rules.claims["C6"]
    least = rule.numbers["least_images"]
    if (
        "plain" not in evidence.config.families
        or evidence.blocks_of_last_stage < 2
        or evidence.test_images < least
    ):
        raise NotPlanned(rule.asks)
    by_seed, images = evidence.probes()
    if images < evidence.test_images:
        raise NotAsked(
            f"probes on all {evidence.test_images:,} test images, not on {images:,} (diagnose --images)"
        )
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
    if "residual" not in evidence.config.families or not evidence.depths:
        raise NotPlanned(rule.asks)
    decrease = {
        seed: states["initial"] - states["final"]
        for seed, states in evidence.branches("", evidence.deepest).items()
        if {"initial", "final"} <= {*states}
    }
    if not decrease:
        raise NotAsked(f"blocks of residual-{evidence.deepest}, measured at both ends (resdeg diagnose)")
    return _join(evidence, [Part("decrease", Sample(decrease), rule.numbers["margin"], frozenset(decrease))])


def compare_activations(evidence: Evidence) -> Joint:
    """Returns the effect of C8: the decrease of C7 with ReLU, less that with each other activation.

    Raises:
        NotAsked: there is no such arm, or too few snapshots were measured.
    """
    rule = evidence.rules.claims["C8"]
    arms = list_activation_arms(evidence)
    if not arms or "residual" not in evidence.config.families:
        raise NotPlanned(rule.asks)
    own = average_decreases(evidence, "")
    parts = []
    for arm in arms:
        other = average_decreases(evidence, arm) if arm in evidence.arms else {}
        difference = {seed: own[seed] - other[seed] for seed in own if seed in other}
        name = f"{RELU} less {arm}"
        parts.append(Part(name, Sample(difference), rule.numbers["margin"], frozenset(difference)))
    if not any(part.ended for part in parts):
        least = rule.numbers["least_snapshots"]
        raise NotAsked(f"residual-{evidence.deepest} with ReLU and without, measured at {least} snapshots")
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


def average_decreases(evidence: Evidence, arm: str) -> dict[int, float]:
    """Returns the decrease of log2 norm(F) / norm(x), mean over snapshots and the end, by seed."""
    least = evidence.rules.claims["C8"].numbers["least_snapshots"]
    decreases = {}
    for seed, states in evidence.branches(arm, evidence.deepest).items():
        later = {state: ratio for state, ratio in states.items() if state != "initial"}
        if "initial" in states and "final" in later and len(later) > least:
            decreases[seed] = states["initial"] - sum(later.values()) / len(later)
    return decreases


def _fewest(parts: list[Part]) -> int:
    return min((len(part.ended) for part in parts), default=0)


def _have_seeds(evidence: Evidence, parts: list[Part]) -> bool:
    return _fewest(parts) >= evidence.rules.least_seeds


def _join(evidence: Evidence, parts: list[Part]) -> Joint:
    if not _have_seeds(evidence, parts):
        fewest = _fewest(parts)
        there = "there is 1" if fewest == 1 else f"there are {fewest}"
        raise NotAsked(f"{evidence.rules.least_seeds} seeds that ended and were measured; {there}")
    return Joint(tuple(parts))
