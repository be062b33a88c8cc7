"""The charts of C5 to C8 and C10: why accuracy falls, a line for each kind of networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from resdeg.analysis.curve import read_points
from resdeg.analysis.diagnostics import summarise_blocks
from resdeg.analysis.evidence import OWN, RELU, Evidence
from resdeg.analysis.lacks import NotAsked
from resdeg.analysis.mechanisms import average_decreases, list_activation_arms
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import Family
from resdeg.report.canvas import Axes, Figure, MaxNLocator, PercentTicks
from resdeg.report.chart import Chart, Draw, Line, make_figure, narrate, tabulate
from resdeg.report.scales import DODGE, set_depth_axis
from resdeg.report.style import LineStyle, Theme, applied
from resdeg.report.text import spell_cell, spell_mean
from resdeg.report.units import changed

DASHES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")


# ---------------------------------------------------------------- C5: losses at one depth


def chart_losses(evidence: Evidence) -> Chart | None:
    """Returns the chart of C5: clean training losses of the deepest network, by its start."""
    losses = _paired_losses(evidence)
    if not losses:
        return None
    points = {name: mean_interval(values) for name, values in losses.items()}
    frame, _ = evidence.sweep.diagnostics
    constructions = frame[frame["kind"] == "construction"]
    rows = []
    for name, point in points.items():
        rows_of_arm = constructions[constructions["arm"] == name]
        difference = "-"
        if len(rows_of_arm):
            images = int(rows_of_arm["images"].max())
            difference = f"{rows_of_arm['value'].max():.1e} on {images:,} images"
        changes = "" if name == OWN else changed(evidence.config.changes(name))
        rows.append([name, changes or "-", spell_cell(point, 3), str(point.seeds), difference])
    head = ["network", "made by", "clean training loss, nats", "seeds", "largest difference of a logit"]
    words = [f"{spell_mean(point, 3)} nats, {name}" for name, point in points.items()]

    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            colour = look.families["plain"].colour
            for position, (name, point) in enumerate(points.items()):
                _draw_bar(axes, point, position=position, colour=colour)
                axes.plot([position], [point.mean], color=colour, marker="o", markersize=6)
                spread = np.linspace(0.12, 0.24, len(losses[name]))
                axes.scatter(position + spread, losses[name], s=9, color=colour, alpha=0.55, linewidths=0)
            axes.set_xticks(range(len(points)), list(points), rotation=15)
            axes.set_xlim(-0.5, len(points) - 0.5)
            axes.set_ylabel("clean training loss, nats")
            return figure

    return Chart(
        "Clean training loss of the deepest plain network from its own start and constructed; small dots are "
        "seeds. The difference of logits is that of the construction, before it is trained on.",
        f"Clean training loss of the deepest plain network: {'; '.join(words)}.",
        (head, rows),
        draw,
    )


def _paired_losses(evidence: Evidence) -> dict[str, Sequence[float]]:
    """Returns the losses by network, over the seeds that all networks have; empty where there are none."""
    if not evidence.starts_from_he:
        return {}
    try:
        columns = evidence.losses("train_loss")
    except NotAsked:
        return {}
    seeds = [seed for seed in columns[OWN] if all(seed in column for column in columns.values())]
    return {name: [column[seed] for seed in seeds] for name, column in columns.items()} if seeds else {}


# ---------------------------------------------------------------- C6 to C8 and C10: kinds of networks


def chart_probes(evidence: Evidence) -> Chart | None:
    """Returns the chart of C6: probes of the last stage of the deepest plain networks, by block."""
    if not evidence.depths:
        return None
    seeds, _ = evidence.probes()
    if not seeds:
        return None
    first = evidence.last_block - min(map(len, seeds.values())) + 1
    blocks: dict[int, list[float]] = {}
    for accuracies in seeds.values():
        for block, accuracy in enumerate(accuracies, start=first):
            blocks.setdefault(block, []).append(accuracy)
    return _chart_kinds(
        {f"plain-{evidence.deepest}": _estimate(blocks)},
        "Accuracy of a linear probe behind each block of the last stage, in the deepest plain networks.",
        label="accuracy of a probe behind the block",
        family="plain",
        axis="block",
    )


def chart_branches(evidence: Evidence) -> Chart | None:
    """Returns the chart of C7: the size of the branch against its input, at initial values and trained."""
    branches = {depth: evidence.branches("", depth) for depth in evidence.depths}

    def ratios(state: str) -> dict[int, Estimate]:
        logarithms = {
            depth: [states[state] for states in seeds.values() if state in states]
            for depth, seeds in branches.items()
        }
        return {depth: _exponential(point) for depth, point in _estimate(logarithms).items()}

    kinds = {"trained": ratios("final"), "at initial values": ratios("initial")}
    return _chart_kinds(
        kinds,
        "Size of the branch against its input in residual networks, at initial values and trained; blocks "
        "that change the shape are left out.",
        label="||F(x)|| / ||x||, median over blocks",
        family="residual",
        decimals=2,
    )


def chart_activations(evidence: Evidence) -> Chart | None:
    """Returns the chart of C8: the decrease of the branch with ReLU and with other activations."""
    if not list_activation_arms(evidence):
        return None
    kinds = {
        arm or RELU: _estimate({evidence.deepest: seeds.values()})
        for arm, seeds in average_decreases(evidence).items()
        if seeds
    }
    if len(kinds) < 2:
        return None
    return _chart_kinds(
        kinds,
        "How much smaller the branches of residual networks get against their input in training, by "
        "nonlinearity, mean over snapshots on the way and the end: 1 is a half, below 0 they get larger.",
        label="decrease of ||F|| / ||x||, halvings",
        family="residual",
        decimals=2,
    )


def chart_starts(evidence: Evidence) -> Chart | None:
    """Returns the chart of C10: plain test accuracy by start, and how near blocks are to the identity."""
    sweep = evidence.sweep
    names = {"identity": "start as identities", "orthogonal": "orthogonal start"}
    arms = {
        names[network]: sweep.arms[arm] for network, arm in evidence.start_arms.items() if arm in sweep.arms
    }
    if not arms:
        return None
    kinds = {
        name: read_points(frame.curve, "plain", metric="test_accuracy")
        for name, frame in {"He's start": sweep, **arms}.items()
    }
    return _chart_kinds(
        kinds,
        "Test accuracy of plain networks by their start; bars are 95 % intervals. Distance to the identity "
        "and debiased CKA of trained networks: medians of the late half of the blocks, of each start.",
        label="test accuracy of plain networks",
        family="plain",
        columns=_late_columns(evidence, {depth for points in kinds.values() for depth in points}),
    )


def _late_columns(evidence: Evidence, depths: Iterable[int]) -> dict[str, dict[int, str]]:
    """Returns the nearness of late blocks to the identity at each depth, start by start, where measured."""
    frame, _ = evidence.sweep.diagnostics
    late = {
        (blocks.arm, blocks.depth): blocks.late
        for blocks in summarise_blocks(frame, evidence.config.arms)
        if blocks.family == "plain"
    }
    columns = {}
    for name, head in (("distance", "distance, late half"), ("cka", "CKA, late half")):
        starts = ("", *evidence.start_arms.values())
        values = {depth: [late.get((arm, depth), {}).get(name) for arm in starts] for depth in depths}
        if any(value is not None for row in values.values() for value in row):
            columns[head] = {
                depth: " / ".join("-" if value is None else f"{value:.2f}" for value in row)
                for depth, row in values.items()
            }
    return columns


def _estimate(columns: Mapping[int, Iterable[float]]) -> dict[int, Estimate]:
    """Returns mean and interval of each column that has values."""
    lists = {position: list(values) for position, values in columns.items()}
    return {position: mean_interval(values) for position, values in lists.items() if values}


def _exponential(point: Estimate) -> Estimate:
    """Returns the geometric mean of ratios and its interval from those of their log2."""
    low, high = (None if end is None else 2.0**end for end in (point.low, point.high))
    return Estimate(2.0**point.mean, low, high, point.seeds)


def _chart_kinds(
    kinds: Mapping[str, Mapping[int, Estimate]],
    caption: str,
    *,
    label: str,
    family: Family,
    decimals: int | None = None,
    axis: str = "depth",
    columns: Mapping[str, Mapping[int, str]] | None = None,
) -> Chart | None:
    """Returns a chart with a line for each kind of networks of a family; None without a point.

    Args:
        label: of the numbers. axis, decimals, columns: see `tabulate`.
    """
    if not any(kinds.values()):
        return None
    lines = [Line(name, points, name) for name, points in kinds.items()]
    return Chart(
        caption,
        narrate(lines, axis=axis, decimals=decimals, label=label),
        tabulate(lines, axis=axis, decimals=decimals, columns=columns),
        _draw_kinds(lines, label=label, family=family, percent=decimals is None, axis=axis),
    )


def _draw_kinds(lines: Sequence[Line], *, label: str, family: Family, percent: bool, axis: str) -> Draw:
    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            ink = look.families[family]
            for number, line in enumerate(lines):
                shift = 1.0 if axis != "depth" else DODGE ** (number - (len(lines) - 1) / 2)
                x = [position * shift for position in line.points]
                axes.plot(
                    x, [point.mean for point in line.points.values()], linestyle=DASHES[number % 4],
                    color=ink.colour, marker=ink.marker, markersize=5, linewidth=1.8, label=line.name,
                    markerfacecolor=ink.colour if number == 0 else look.paper,
                )  # fmt: skip
                for position, point in zip(x, line.points.values(), strict=True):
                    _draw_bar(axes, point, position=position, colour=ink.colour)
            if axis == "depth":
                set_depth_axis(axes, sorted({depth for line in lines for depth in line.points}), look=look)
            else:
                axes.set_xlabel(axis)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel(label)
            if percent:
                axes.yaxis.set_major_formatter(PercentTicks())
            axes.legend(loc="best")
            return figure

    return draw


def _draw_bar(axes: Axes, point: Estimate, *, position: float, colour: str) -> None:
    """Draws the interval of a point, where it has one."""
    if point.low is not None and point.high is not None:
        axes.plot([position, position], [point.low, point.high], color=colour, linewidth=1.2)
