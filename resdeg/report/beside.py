"""What the report prints beside verdicts, and gives no verdict on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from resdeg.analysis.contrasts import parts_by_depth
from resdeg.analysis.effects import Sample
from resdeg.analysis.evidence import OWN, Cell, Evidence, NotAsked
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.interventions import interventions
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.analysis.units import HALVINGS, NATS, POINTS, Unit
from resdeg.report.tables import Table
from resdeg.report.units import changed, percent

LENGTHS = {"training.epochs", "training.steps"}


def beside(claim: str, evidence: Evidence) -> list[str]:
    """Sentences beside the verdict of a claim, asked or not; none where a registered sweep is not whole."""
    if claim not in LINES or not evidence.depths or evidence.interim is not None:
        return []
    return LINES[claim](evidence)


def _spelled(estimate: Estimate, unit: Unit) -> str:
    """Mean and 95 % interval."""
    if estimate.low is None or estimate.high is None:
        return unit.spell(estimate.mean)
    return f"{unit.spell(estimate.mean)} ({unit.spell(estimate.low)} to {unit.spell(estimate.high)})"


def _estimate(sample: Sample) -> Estimate | None:
    return mean_interval(list(sample.by_seed.values())) if sample.by_seed else None


def _means(evidence: Evidence, network: str, metric: str) -> dict[int, float]:
    """Mean accuracy by depth, of depths with a block."""
    return {
        cell.depth: float(np.mean([outcome.value for outcome in by_seed.values()]))
        for cell, by_seed in sorted(evidence.outcomes.items())
        if (cell.network, cell.metric) == (network, metric) and cell.depth in evidence.depths
    }


def _fall(evidence: Evidence) -> list[str]:
    """C1: the fall from the best depth with a block, whatever the grid."""
    means = _means(evidence, "plain", "test")
    if evidence.deepest not in means or len(means) < 2:
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
    means = _means(evidence, "plain", "train")
    if not means:
        return []
    best = max(means, key=lambda depth: means[depth])
    return [f"The best clean training accuracy of plain networks is at depth {best}: {percent(means[best])}."]


def _gain(evidence: Evidence) -> list[str]:
    first, deepest = evidence.depths[0], evidence.deepest
    if first == deepest:
        return []
    sample, _ = evidence.contrast({Cell("residual", deepest, "test"): 1, Cell("residual", first, "test"): -1})
    gain = _estimate(sample)
    return (
        []
        if gain is None
        else [f"Residual-{deepest} less residual-{first}: {_spelled(gain, POINTS)} points."]
    )


def _gap(evidence: Evidence) -> list[str]:
    """C4: the slope of the gap, and accuracy at dk against lambda."""
    lines = []
    depths = [
        depth
        for depth in evidence.depths
        if all(Cell(family, depth, "test") in evidence.outcomes for family in ("plain", "residual"))
    ]
    if len(depths) > 1:
        doublings = np.log2(depths)
        weights = (doublings - doublings.mean()) / ((doublings - doublings.mean()) ** 2).sum()
        gaps = {
            Cell(family, depth, "test"): float(sign * weight)
            for depth, weight in zip(depths, weights, strict=True)
            for family, sign in (("residual", 1), ("plain", -1))
        }
        by_seed = {cell: evidence.outcomes[cell] for cell in gaps}
        seeds = set.intersection(*map(set, by_seed.values()))
        slopes = [
            sum(weight * by_seed[cell][seed].value for cell, weight in gaps.items()) for seed in sorted(seeds)
        ]
        if slopes:
            slope = _spelled(mean_interval(slopes), POINTS)
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
    """C5: the constructed network against the shallow one that it was made of, at equal steps."""
    try:
        columns = evidence.losses("train_loss")
    except NotAsked:
        return []
    columns.pop(OWN)
    arms = evidence.arms_that_change("constructed")
    margin = evidence.rules.claims["C5"].numbers["margin"]
    lines = []
    for name, losses in columns.items():
        made = arms[name].constructed
        assert made is not None
        shallow = evidence.clean_losses(made.from_depth)
        seeds = sorted({*losses} & {*shallow})
        if seeds:
            difference = mean_interval([losses[seed] - shallow[seed] for seed in seeds])
            fate = "kept"
            if abs(difference.mean) > margin:
                fate = "improved" if difference.mean < 0 else "spoiled"
            lines.append(
                f"{name}: clean training loss less that of plain-{made.from_depth} after equal steps "
                f"{_spelled(difference, NATS)} nats, so the copy was {fate}."
            )
    return lines


def _branch_alone(evidence: Evidence) -> list[str]:
    """C7: the norm of the branch by itself, because x grows."""
    decrease = [
        states["initial"] - states["final"]
        for states in evidence.branches("", evidence.deepest, "branch_norm").values()
        if {"initial", "final"} <= {*states}
    ]
    if not decrease:
        return []
    spelled = _spelled(mean_interval(decrease), HALVINGS)
    return [f"norm(F(x)) alone decreases by {spelled} halvings; x grows along the network by itself."]


def _first_parts(evidence: Evidence) -> list[str]:
    """C10: the parts that need no orthogonal arm, where there is none."""
    if "orthogonal" in evidence.start_arms or "identity" not in evidence.start_arms:
        return []
    return [
        f"Without an orthogonal arm, at depth {depth}: "
        + "; ".join(f"{part.name} {POINTS.spell(part.sample.mean)}" for part in parts if part.sample.seeds)
        + "; in points."
        for depth, parts in parts_by_depth("C10", evidence).items()
        if any(part.sample.seeds for part in parts)
    ]


LINES: Mapping[str, Callable[[Evidence], list[str]]] = {
    "C1": _fall,
    "C2": _best_training_depth,
    "C3": _gain,
    "C4": _gap,
    "C5": _copy,
    "C7": _branch_alone,
    "C10": _first_parts,
}


def gradient_ratios(sweep: SweepFrame) -> Table | None:
    """The gradient's norm at the stem over that at the last 3x3 layer, before the first step."""
    frame, _ = sweep.diagnostics
    rows = frame[(frame["arm"] == "") & (frame["kind"] == "gradients") & (frame["name"] == "norm")]
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


def longer_schedules(sweep: SweepFrame) -> list[str]:
    """How a longer schedule changes the fall, where an arm has one."""
    falls = {(row.arm, row.family): row for row in interventions(sweep)}
    lines = []
    for (arm, family), row in falls.items():
        own = falls.get(("", family))
        changes = sweep.config.changes(arm) if arm else {}
        if own is None or row.fall is None or own.fall is None or not changes or not {*changes} <= LENGTHS:
            continue
        fall, in_grid = (POINTS.spell(each, signed=False) for each in (row.fall, own.fall))
        lines.append(
            f"A longer schedule, {arm} ({changed(changes)}): test accuracy of {family} networks falls by "
            f"{fall} points from depth {row.best} to {row.depths[-1]}; in the grid by {in_grid}, from depth "
            f"{own.best} to {own.depths[-1]}."
        )
    return lines
