"""Numbers that the report prints beside verdicts, and that get no verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

import numpy as np

from resdeg import data
from resdeg.analysis.arms import compare_arms
from resdeg.analysis.contrasts import compare_depths
from resdeg.analysis.curve import read_by_seed
from resdeg.analysis.ended import list_ended_runs
from resdeg.analysis.evidence import OWN, Evidence, Quantity
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import HALVINGS, NATS, POINTS, Estimate, Unit, mean_interval
from resdeg.config import FAMILIES
from resdeg.report.chart import Table
from resdeg.report.text import join_words, spell_count
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


def _list_diverged(sweep: SweepFrame, family: str) -> set[tuple[int, int]]:
    """Returns depth and seed of the runs that diverged: they are in no mean here, as in the curve."""
    runs = [run for run in list_ended_runs(sweep) if run.family == family]
    return {(run.depth, run.seed) for run in runs if run.diverged}


def _left_out(count: int) -> str:
    """Says how many runs that diverged a number leaves out; empty where there are none."""
    verb = "is" if count == 1 else "are"
    return f" {spell_count(count, 'run')} that diverged {verb} left out." if count else ""


def _read_finished(
    evidence: Evidence, family: str, *, metric: str, depths: Collection[int]
) -> tuple[dict[int, dict[int, float]], int]:
    """Returns one accuracy of the runs that finished, by depth and seed, and how many runs diverged."""
    diverged = _list_diverged(evidence.grid, family)
    ended = {
        (depth, seed): value
        for depth, by_seed in evidence.accuracies(family, metric).items()
        for seed, value in by_seed.items()
        if depth in depths
    }
    table: dict[int, dict[int, float]] = {}
    for (depth, seed), value in ended.items():
        if (depth, seed) not in diverged:
            table.setdefault(depth, {})[seed] = value
    return table, len(ended.keys() & diverged)


def _plain_means(evidence: Evidence, *, metric: str) -> tuple[dict[int, float], str]:
    """Returns mean accuracy of plain networks by depth with a block, and how many runs it leaves out."""
    finished, lost = _read_finished(evidence, "plain", metric=metric, depths=evidence.depths)
    means = {depth: float(np.mean([*by_seed.values()])) for depth, by_seed in finished.items()}
    return means, _left_out(lost)


def _fall(evidence: Evidence) -> list[str]:
    """Describes, for C1, the fall from the best depth with a block, whatever the grid."""
    means, left_out = _plain_means(evidence, metric="test")
    if evidence.deepest not in means or len(means) < 2 or "plain" in evidence.unlearned:
        return []
    deepest = evidence.deepest
    best = max(means, key=lambda depth: means[depth])
    if best == deepest:
        return [f"The deepest plain network, {deepest}, is the best of those with a block.{left_out}"]
    fall = POINTS.spell(means[best] - means[deepest], signed=False)
    if fall == POINTS.spell(0.0, signed=False):
        return [f"The deepest plain network, {deepest}, is as good as the best with a block.{left_out}"]
    return [
        f"Plain test accuracy falls from {percent(means[best])} at depth {best}, the best with a block, to "
        f"{percent(means[deepest])} at {deepest}: by {fall} points.{left_out}"
    ]


def _best_training_depth(evidence: Evidence) -> list[str]:
    """Describes, for C2, the depth of the best clean training accuracy, or the depths that share it."""
    means, left_out = _plain_means(evidence, metric="train")
    if not means or "plain" in evidence.unlearned:
        return []
    highest = max(means.values())
    best = [depth for depth, mean in means.items() if math.isclose(mean, highest)]
    return [
        f"The best clean training accuracy of plain networks is at depth{'s' * (len(best) > 1)} "
        f"{join_words(best)}: {percent(highest)}.{left_out}"
    ]


def _gain(evidence: Evidence) -> list[str]:
    """Describes, for C3, what the deepest residual network gains over the shallowest."""
    first, deepest = evidence.depths[0], evidence.deepest
    if first == deepest or "residual" in evidence.unlearned:
        return []
    finished, lost = _read_finished(evidence, "residual", metric="test", depths=(first, deepest))
    shallow, deep = finished.get(first, {}), finished.get(deepest, {})
    gains = [deep[seed] - shallow[seed] for seed in sorted(deep.keys() & shallow)]
    if not gains:
        return []
    gain = _spell(mean_interval(gains), POINTS)
    return [f"Residual-{deepest} less residual-{first}: {gain} points.{_left_out(lost)}"]


def _gap(evidence: Evidence) -> list[str]:
    """Describes, for C4, the slope of the gap, and accuracy at dk against lambda."""
    lines = []
    depths = [
        depth
        for depth in evidence.depths
        if all(Quantity(family, depth, "test") in evidence.outcomes for family in FAMILIES)
    ]
    if len(depths) > 1:
        doublings = np.log2(depths)
        weights = (doublings - doublings.mean()) / ((doublings - doublings.mean()) ** 2).sum()
        plain, lost_plain = _read_finished(evidence, "plain", metric="test", depths=depths)
        residual, lost_residual = _read_finished(evidence, "residual", metric="test", depths=depths)
        cells = [table.get(depth, {}) for depth in depths for table in (plain, residual)]
        slopes = [
            sum(
                float(weight) * (residual[depth][seed] - plain[depth][seed])
                for depth, weight in zip(depths, weights, strict=True)
            )
            for seed in sorted(set.intersection(*map(set, cells)))
        ]
        if slopes:
            slope = _spell(mean_interval(slopes), POINTS)
            lines.append(
                f"The gap, residual less plain, grows by {slope} points per doubling of the depth."
                f"{_left_out(lost_plain + lost_residual)}"
            )
    return lines + _compare_scales(evidence)


def _compare_scales(evidence: Evidence) -> list[str]:
    """Describes accuracy at dk against lambda, where arms change it."""
    planned = evidence.arms_that_change("model.shortcut_scale")
    if not planned:
        return []
    arms = {
        arm.model.shortcut_scale: evidence.arms[name]
        for name, arm in planned.items()
        if name in evidence.arms
    }
    deepest, means, lost = evidence.deepest, [], 0
    for scale, sweep in sorted({**arms, evidence.config.model.shortcut_scale: evidence.grid}.items()):
        finished = read_by_seed(sweep.runs, "test_accuracy", network=("residual", deepest))
        lost += sum(depth == deepest for depth, _ in _list_diverged(sweep, "residual"))
        if len(finished):
            means.append(f"{percent(float(finished.mean()))} with lambda {scale:g}")
    if not means:
        return []
    return [f"Test accuracy of residual-{deepest}: {', '.join(means)}.{_left_out(lost)}"]


def _copy(evidence: Evidence) -> list[str]:
    """Describes, for C5, a constructed network against the shallow one it was made from, at equal steps."""
    deepest = evidence.constructed_depth
    if deepest is None:
        return []
    columns = evidence.losses("train_loss")
    columns.pop(OWN)
    margin = evidence.rules.claims["C5"].numbers["margin"]
    lines = []
    for name, losses in columns.items():
        arm = evidence.arms[name]
        assert arm.config.constructed is not None
        depth = arm.config.constructed.from_depth
        shallow = evidence.clean_losses(depth)
        diverged, shallow_diverged = (_list_diverged(sweep, "plain") for sweep in (arm, evidence.grid))
        seeds = [seed for seed in sorted(losses.keys() & shallow) if (deepest, seed) not in diverged]
        if not seeds:
            continue
        difference = mean_interval([losses[seed] - shallow[seed] for seed in seeds])
        lost = sum(((deepest, seed) in diverged) + ((depth, seed) in shallow_diverged) for seed in losses)
        lines.append(
            f"{name}: clean training loss less that of plain-{depth} trained for the same steps "
            f"{_spell(difference, NATS)} nats{_compare_copy(difference, margin)}."
            f"{_left_out(lost)}"
        )
    return lines


def _compare_copy(difference: Estimate, margin: float) -> str:
    """Says whether a loss is shown to be better or worse; empty with one seed."""
    low, high = difference.low, difference.high
    if low is None or high is None:
        return ""
    if low <= 0 <= high:
        return ": no difference is shown"
    if -margin <= low and high <= margin:
        return f": as good, to {NATS.spell(margin, signed=False)} nats"
    return f": it is {'better' if high < 0 else 'worse'}"


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


def describe_other_lengths(sweep: SweepFrame) -> list[str]:
    """Describes how a longer schedule, or a shorter one, changes the fall, where an arm has one.

    A family that falls neither there nor in the grid has no line.
    """
    images = data.shape(sweep.config.data).train
    curves = {(curve.arm, curve.family): curve for curve in compare_arms(sweep)}
    lines = []
    for (arm, family), curve in curves.items():
        grid = curves.get(("", family))
        changes = sweep.config.changes(arm) if arm else {}
        if grid is None or not changes or not {*changes} <= LENGTHS:
            continue
        steps, usual = (own.config.training.total_steps(images) for own in (sweep.arms[arm], sweep))
        if curve.fall is None or grid.fall is None or steps == usual or curve.fall == grid.fall == 0:
            continue
        fall, in_grid = (POINTS.spell(points, signed=False) for points in (curve.fall, grid.fall))
        deepest, span = curve.depths[-1], f"from depth {grid.best} to {grid.depths[-1]}"
        if curve.fall == 0:
            here = f"no depth of {family} networks has a higher test accuracy than the deepest, {deepest}"
            there = f"it falls by {in_grid} points {span}"
        else:
            falls = f"falls by {fall} points from depth {curve.best} to {deepest}"
            here = f"test accuracy of {family} networks {falls}"
            there = f"by {in_grid}, {span}"
        if grid.fall == 0:
            there = f"no depth has a higher one than the deepest, {grid.depths[-1]}"
        length = "longer" if steps > usual else "shorter"
        lines.append(f"A {length} schedule, {arm} ({changed(changes)}): {here}; in the grid {there}.")
    return lines
