"""The figure of the arms: each one's accuracy against depth, the grid's faint behind it."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.captions import data_name, describe, family_handles
from resdeg.report.figures import DODGE, chance_line, depth_axis, series, unfinished
from resdeg.report.style import Ink, Theme, applied
from resdeg.report.units import changed

_FAINT = "66"  # opacity of the grid's lines, as the last two digits of a colour
_ACROSS = 3  # panels in a row of a figure on its own


def arms_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Test accuracy against depth, a panel per arm: the arm's curve, and behind it its grid's.

    Raises:
        UsageError: a sweep has no arm with a record.
    """
    panels = [(sweep, arm) for sweep in sweeps for arm in armed(sweep).values()]
    with applied(look):
        figure = _panels(panels, look, min(_ACROSS, len(panels)), 3.3, 36, several=len(sweeps) > 1)
        figure.suptitle(
            f"Test accuracy with interventions on {data_name(sweeps[0].config)}\n"
            f"{describe(sweeps[0])}",
            x=0.01, ha="left", fontsize=9,
        )  # fmt: skip
        return figure


def arms_on_a_page(sweep: SweepFrame, look: Theme) -> Figure:
    """The same panels two across and without a title, as wide as the report's other figures."""
    panels = [(sweep, arm) for arm in armed(sweep).values()]
    with applied(look):
        return _panels(panels, look, 2 if len(panels) > 1 else 1, 4.5 / min(2, len(panels)), 28)


def armed(sweep: SweepFrame) -> dict[str, SweepFrame]:
    """The arms of `sweep`.

    Raises:
        UsageError: it has none.
    """
    if not sweep.arms:
        raise UsageError(
            f"{sweep.folder}: no arm has a record",
            "add a table [arms.NAME] to the sweep's file, as configs/causes-demo.toml does",
        )
    return sweep.arms


def _panels(
    panels: Sequence[tuple[SweepFrame, SweepFrame]],
    look: Theme,
    across: int,
    width: float,
    letters: int,
    several: bool = False,
) -> Figure:
    """`width`: of a panel, inches. `letters`: in a line of a panel's title."""
    rows = -(-len(panels) // across)
    figure = Figure(figsize=(max(4.5, width * across), 1.2 + 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, across, squeeze=False, sharey=True)
    for axes, (sweep, arm) in zip(grid.flat, panels, strict=False):
        _draw(axes, sweep, arm, look)
        name = arm.name if several else arm.arm
        what = fill(changed(sweep.config.changes(arm.arm)), letters)
        axes.set_title(f"{name}\n{what}", loc="left", fontsize=8.5)
    depths = sorted({int(depth) for pair in panels for each in pair for depth in each.runs["depth"]})
    for axes in grid.flat:
        depth_axis(axes, depths)
        axes.set_xlabel("")
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes in list(grid.flat)[: len(panels)][-across:]:  # the last of each column
        axes.set_xlabel("depth (log scale)")
    for axes in grid[:, 0]:
        axes.set_ylabel("test accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    low, high = grid[0][0].get_ylim()
    grid[0][0].set_ylim(max(low, -0.02), min(high, 1.05))  # where no accuracy is, but the half of a mark
    handles = family_handles(panels[0][0], look)
    handles.append(Line2D([], [], color=look.text + _FAINT, linewidth=1.8, label="without the intervention"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw(axes: Axes, sweep: SweepFrame, arm: SweepFrame, look: Theme) -> None:
    for of in (sweep, arm):
        points = of.curve
        for family in of.config.families:
            ink, shift = look.families[family], DODGE if family == "residual" else 1 / DODGE
            if of is sweep:
                ink = Ink(ink.colour + _FAINT, ink.marker, ink.filled)
            series(axes, points, of.runs, family, "test_accuracy", ink, "-", shift, seeds=of is arm)
    unfinished(axes, arm.runs, look)
    chance_line(axes, sweep, look)
