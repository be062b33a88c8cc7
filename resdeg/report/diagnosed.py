"""Figures of what `resdeg diagnose` measured: a column per depth, families side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resdeg import data
from resdeg.analysis.diagnosed import development
from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.captions import data_name, describe, family_handles
from resdeg.report.panels import Line, Page
from resdeg.report.style import Ink, Theme, applied

_FEW = 12  # places up to which each has a marker


def page_figure(page: Page, sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """A column per sweep and depth, a row per panel; thin lines are seeds, bold ones their mean.

    Raises:
        UsageError: a sweep has no trained network that was measured so.
    """
    shown = [sweep.evaluated(sweep.evaluations[0]) for sweep in sweeps]  # as they were measured
    columns: list[tuple[SweepFrame, int, pd.DataFrame]] = []
    problems: list[str] = []
    for sweep in shown:
        found, damaged = _measured(page, sweep)
        columns += [(sweep, depth, of_depth) for depth, of_depth in found]
        problems += damaged
    with applied(look):
        rows = len(page.panels)
        size = (max(6.4, 3.2 * len(columns)), 1.9 + (2.9 if rows == 1 else 2.1) * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, len(columns), squeeze=False, sharex="col", sharey="row")
        for column, (sweep, depth, of_depth) in enumerate(columns):
            for axes, panel in zip(grid[:, column], page.panels, strict=True):
                for line in panel.lines:
                    for family in sweep.config.families:
                        of_family = of_depth[of_depth["family"] == family]
                        _draw(axes, page.over, line, of_family, look.families[family])
                if panel.percent:
                    chance = 1 / data.shape(sweep.config.data).classes
                    axes.axhline(chance, color=look.faint, linewidth=2.5, zorder=0)
                if page.over != "step":
                    axes.set_xlim(0.4, (depth - 1 if page.over == "layer" else (depth - 2) // 2) + 0.6)
                if page.over == "block" and (of_depth["block"] == 0).any():
                    axes.set_xlim(left=-0.6)
                axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axes.set_xlabel(page.x or page.over)
            name = f"{sweep.name}: depth {depth}" if len(sweeps) > 1 else f"depth {depth}"
            grid[0][column].set_title(name, loc="left", weight="bold")
        for row, panel in zip(grid, page.panels, strict=True):
            axes = row[0]
            axes.set_ylabel(panel.label)
            if panel.log:
                axes.set_yscale("log")
            if panel.floor:  # a correlation can be below it
                axes.set_ylim(bottom=min(0, *(each.dataLim.y0 for each in row)))
            if panel.percent:
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        handles = family_handles(shown[0], look)
        handles += [
            Line2D([], [], color=look.text, linestyle=style, label=label) for style, label in page.styles
        ]
        if any(panel.percent for panel in page.panels):
            handles.append(Line2D([], [], color=look.faint, linewidth=2.5, label="chance"))
        figure.legend(handles=handles, loc="outside lower center", ncols=4 if len(handles) < 5 else 3)
        images = int(columns[0][2]["images"].max())
        figure.suptitle(
            f"{page.title} on {data_name(shown[0].config)}\n"
            + describe(shown[0], "thin: each seed, bold: their mean")
            + f"\n{images:,} {page.images}\n{page.note}"
            + "".join(f"\nleft out: {problem}" for problem in problems),
            x=0.01,
            ha="left",
            fontsize=9,
        )
        return figure


def _measured(page: Page, sweep: SweepFrame) -> tuple[list[tuple[int, pd.DataFrame]], list[str]]:
    """The records of this kind by depth, without depths that have no place to measure at; what is damaged."""
    frame, damaged = sweep.diagnostics
    of_kind = frame[(frame["arm"] == sweep.arm) & (frame["kind"] == page.kind) & frame["value"].notna()]
    if page.over == "step":
        of_kind = development(of_kind, sweep.runs)
    placed = set(of_kind.loc[(of_kind["state"] == "final") & of_kind[page.over].notna(), "depth"])
    if not placed:
        of, before = "a finished network", ""
        if page.over == "step":
            of, before = "snapshots of a finished network", "train with --set execution.snapshots=N, then "
        raise UsageError(
            f"{sweep.folder}: no {page.kind} of {of} were measured",
            f"{before}run `resdeg diagnose {sweep.folder} --kinds {page.kind}` first",
        )
    return [(depth, of_kind[of_kind["depth"] == depth]) for depth in sorted(placed)], damaged


def _draw(axes: Axes, over: str, line: Line, rows: pd.DataFrame, ink: Ink) -> None:
    chosen = rows[(rows["name"] == line.name) & ((rows["state"] == line.state) | (line.state is None))]
    if chosen.empty:
        return
    if line.whole:
        # Unlike axhline it counts for the range of the axis, and one at 0 is seen on the spine.
        level, across = chosen["value"].mean(), axes.get_yaxis_transform()
        axes.plot(
            [0, 1], [level, level], transform=across, color=ink.colour, linestyle=line.dashes,
            linewidth=1.4, zorder=2.6, clip_on=False,
        )  # fmt: skip
        return
    table = chosen.pivot_table(index=["stage", over], columns="seed", values="value")
    if line.ranked:
        ranked = {seed: table[seed].sort_values(ascending=False).to_numpy() for seed in table}
        table = pd.DataFrame(ranked, index=pd.MultiIndex.from_product([[1], range(1, len(table) + 1)]))
    # Runs are averaged over the places that all of them have.
    mean = table.mean(axis="columns", skipna=False)
    bold = line.dashes == "-"
    for _, part in table.groupby(level=0):
        x = part.index.get_level_values(1).to_numpy(float)
        if len(part) == 1:  # a point between two gaps, as a short line
            part, x = pd.concat([part, part]), np.array([x[0] - 0.3, x[0] + 0.3])
        if table.shape[1] > 1:
            axes.plot(x, part, color=ink.colour, linestyle=line.dashes, linewidth=0.6, alpha=0.4)
        axes.plot(
            x, mean[part.index], color=ink.colour, linestyle=line.dashes, linewidth=1.8 if bold else 1.1,
            zorder=3,
        )  # fmt: skip
    if bold and len(table) <= _FEW:
        axes.plot(
            mean.index.get_level_values(1).to_numpy(float), mean, color=ink.colour, linestyle="none",
            marker=ink.marker, markersize=4.5, zorder=4,
            markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(),
        )  # fmt: skip
