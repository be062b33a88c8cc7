"""Numbers that the report prints beside verdicts, and that get no verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from resdeg.analysis.arms import compare_arms
from resdeg.analysis.contrasts import compare_depths
from resdeg.analysis.effects import Sample
from resdeg.analysis.evidence import OWN, Evidence, Quantity
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.lacks import NotAsked
from resdeg.analysis.stats import HALVINGS, NATS, POINTS, Estimate, Unit, mean_interval
from resdeg.report.chart import Table
from resdeg.report.units import changed, percent

LENGTHS = {"training.epochs", "training.steps"}


def describe_beside(claim: str, evidence: Evidence) -> list[str]:
    """Returns sentences beside the verdict of a claim, asked or not; none where a sweep is interim."""
    if claim not in LINES or not evidence.depths or evidence.interim is not None:
        return []
    return LINES[claim](evidence)


def _spell(estimate: Estimate, unit: Unit) -> str:
    """Returns mean and 95 % interval."""
    if estimate.low is None or estimate.high is None:
        return unit.spell(estimate.mean)
    return f"{unit.spell(estimate.mean)} ({unit.spell(estimate.low)} to {unit.spell(estimate.high)})"


def _estimate(sample: Sample) -> Estimate | None:
    return mean_interval(list(sample.by_seed.values())) if sample.by_seed else None


def _means(evidence: Evidence, network: str, *, metric: str) -> dict[int, float]:
    """Returns mean accuracy by depth, for depths with a block."""
    return {
        depth: float(np.mean(list(by_seed.values())))
        for depth, by_seed in evidence.accuracies(network, metric).items()
        if depth in evidence.depths
    }


def _fall(evidence: Evidence) -> list[str]:
    """Describes, for C1, the fall from the best depth with a block, whatever the grid."""
    means = _means(evidence, "plain", metric="test")
    if evidence.deepest not in means or len(means) < 2 or "plain" in evidence.unlearned:
        return []
    deepest = evidence.deepest
    best = max(means, key=lambda depth: means[depth])
    if best == deepest:
        return [f"The deepest plain network, {deepest}, is the best of those with a block."]
    fall = POINTS.spell(means[best] - means[deepest], signed=False)
    return [
        f"Plain test accuracy falls from {percent(means[best])} at depth {best}, the best with a block, to "
        f"{percent(means[deepest])} at {deepest}: by {fall} points."
    ]


def _best_training_depth(evidence: Evidence) -> list[str]:
    """Describes, for C2, the depth of the best clean training accuracy."""
    means = _means(evidence, "plain", metric="train")
    if not means or "plain" in evidence.unlearned:
        return []
    best = max(means, key=lambda depth: means[depth])
    return [f"The best clean training accuracy of plain networks is at depth {best}: {percent(means[best])}."]


def _gain(evidence: Evidence) -> list[str]:
    """Describes, for C3, what the deepest residual network gains over the shallowest."""
    first, deepest = evidence.depths[0], evidence.deepest
    if first == deepest:
        return []
    sample, _ = evidence.contrast(
        {Quantity("residual", deepest, "test"): 1, Quantity("residual", first, "test"): -1}
    )
    gain = _estimate(sample)
    if gain is None:
        return []
    return [f"Residual-{deepest} less residual-{first}: {_spell(gain, POINTS)} points."]


def _gap(evidence: Evidence) -> list[str]:
    """Describes, for C4, the slope of the gap, and accuracy at dk against lambda."""
    lines = []
    depths = [
        depth
        for depth in evidence.depths
        if all(Quantity(family, depth, "test") in evidence.outcomes for family in ("plain", "residual"))
    ]
    if len(depths) > 1:
        doublings = np.log2(depths)
        weights = (doublings - doublings.mean()) / ((doublings - doublings.mean()) ** 2).sum()
        gaps = {
            Quantity(family, depth, "test"): float(sign * weight)
            for depth, weight in zip(depths, weights, strict=True)
            for family, sign in (("residual", 1), ("plain", -1))
        }
        by_seed = {quantity: evidence.outcomes[quantity] for quantity in gaps}
        seeds = set.intersection(*map(set, by_seed.values()))
        slopes = [
            sum(weight * by_seed[quantity][seed].value for quantity, weight in gaps.items())
            for seed in sorted(seeds)
        ]
        if slopes:
            slope = _spell(mean_interval(slopes), POINTS)
            lines.append(f"The gap, residual less plain, grows by {slope} points per doubling of the depth.")
    scaled = evidence.arms_that_change("model.shortcut_scale")
    accuracies = {
        arm.model.shortcut_scale: evidence.arms[name].runs
        for name, arm in scaled.items()
        if name in evidence.arms
    } | ({evidence.config.model.shortcut_scale: evidence.sweep.runs} if scaled else {})
    means = []
    for scale, runs in sorted(accuracies.items()):
        at_deepest = runs[(runs["family"] == "residual") & (runs["depth"] == evidence.deepest)]
        finished = at_deepest.loc[at_deepest["status"] == "finished", "test_accuracy"].astype(float)
        if len(finished):
            means.append(f"{percent(float(finished.mean()))} with lambda {scale:g}")
    return [*lines, f"Test accuracy of residual-{evidence.deepest}: {', '.join(means)}."] if means else lines


def _copy(evidence: Evidence) -> list[str]:
    """Describes, for C5, a constructed network against the shallow one it was made from, at equal steps."""
    try:
        columns = evidence.losses("train_loss")
    except NotAsked:
        return []
    columns.pop(OWN)
    arms = evidence.arms_that_change("constructed")
    margin = evidence.rules.claims["C5"].numbers["margin"]
    lines = []
    for name, losses in columns.items():
        construction = arms[name].constructed
        assert construction is not None
        shallow = evidence.clean_losses(construction.from_depth)
        seeds = sorted({*losses} & {*shallow})
        if seeds:
            difference = mean_interval([losses[seed] - shallow[seed] for seed in seeds])
            fate = "kept"
            if abs(difference.mean) > margin:
                fate = "improved" if difference.mean < 0 else "spoiled"
            lines.append(
                f"{name}: clean training loss less that of plain-{construction.from_depth} after equal steps "
                f"{_spell(difference, NATS)} nats, so the copy was {fate}."
            )
    return lines


def _branch_norm(evidence: Evidence) -> list[str]:
    """Describes, for C7, the norm of the branch by itself, because x grows."""
    decrease = [
        states["initial"] - states["final"]
        for states in evidence.branches("", evidence.deepest, name="branch_norm").values()
        if {"initial", "final"} <= {*states}
    ]
    if not decrease:
        return []
    halvings = _spell(mean_interval(decrease), HALVINGS)
    return [f"norm(F(x)) alone decreases by {halvings} halvings; x grows along the network by itself."]


def _first_parts(evidence: Evidence) -> list[str]:
    """Describes, for C10, the parts that need no orthogonal arm, where there is none."""
    if "orthogonal" in evidence.start_arms or "identity" not in evidence.start_arms:
        return []
    return [
        f"Without an orthogonal arm, at depth {depth}: "
        + "; ".join(f"{part.name} {POINTS.spell(part.sample.mean)}" for part in parts if part.sample.seeds)
        + "; in points."
        for depth, parts in compare_depths("C10", evidence).items()
        if any(part.sample.seeds for part in parts)
    ]


LINES: Mapping[str, Callable[[Evidence], list[str]]] = {
    "C1": _fall,
    "C2": _best_training_depth,
    "C3": _gain,
    "C4": _gap,
    "C5": _copy,
    "C7": _branch_norm,
    "C10": _first_parts,
}


def tabulate_gradients(sweep: SweepFrame) -> Table | None:
    """Returns the gradient's norm at the stem over that at the last 3x3 layer, before the first step.

    Each number is a geometric mean over seeds of the grid, or of the arm that `sweep` is. None stands for a
    sweep without such a measure.
    """
    frame, _ = sweep.diagnostics
    rows = frame[(frame["arm"] == sweep.arm) & (frame["kind"] == "gradients") & (frame["name"] == "norm")]
    rows = rows[(rows["state"] == "initial") & (rows["depth"] > 2)]
    ratios: dict[int, dict[str, list[float]]] = {}
    for _, layers in rows.groupby(["family", "depth", "seed"]):
        records = layers.sort_values("layer").to_dict("records")
        first, last = records[0], records[-1]
        if len(records) > 1 and last["value"] > 0 and first["value"] > 0:
            by_family = ratios.setdefault(int(first["depth"]), {})
            by_family.setdefault(str(first["family"]), []).append(
                float(np.log(first["value"] / last["value"]))
            )
    if not ratios:
        return None
    families = [family for family in sweep.config.families if any(family in by for by in ratios.values())]
    table = [
        [str(depth), *(f"{np.exp(np.mean(by[family])):,.3g}" if family in by else "-" for family in families)]
        for depth, by in sorted(ratios.items())
    ]
    return ["depth", *families], table


def describe_longer_schedules(sweep: SweepFrame) -> list[str]:
    """Describes how a longer schedule changes the fall, where an arm has one."""
    curves = {(curve.arm, curve.family): curve for curve in compare_arms(sweep)}
    lines = []
    for (arm, family), curve in curves.items():
        grid = curves.get(("", family))
        changes = sweep.config.changes(arm) if arm else {}
        if grid is None or not changes or not {*changes} <= LENGTHS:
            continue
        if curve.fall is None or grid.fall is None:
            continue
        fall, in_grid = (POINTS.spell(points, signed=False) for points in (curve.fall, grid.fall))
        lines.append(
            f"A longer schedule, {arm} ({changed(changes)}): test accuracy of {family} networks falls by "
            f"{fall} points from depth {curve.best} to {curve.depths[-1]}; in the grid by {in_grid}, from "
            f"depth {grid.best} to {grid.depths[-1]}."
        )
    return lines
