"""Figures of what `resdeg diagnose` measured: a column per depth, families side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resdeg import data
from resdeg.analysis.diagnosed import load_diagnostics
from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.captions import data_name, describe, family_handles
from resdeg.report.style import Ink, Theme, applied

Dashes = Literal["-", "--", ":"]
_FEW = 12  # places up to which each has a marker


@dataclass(frozen=True)
class Line:
    """One line of each family in a panel. ranked: values from the largest down, wherever they stand."""

    name: str
    state: str = "final"
    dashes: Dashes = "-"
    ranked: bool = False
    whole: bool = False  # of the whole net: one level, not a line over places


@dataclass(frozen=True)
class Panel:
    """A row of panels. floor: the axis starts at 0, or at what the values need."""

    label: str
    lines: tuple[Line, ...]
    floor: bool = True
    percent: bool = False


@dataclass(frozen=True)
class Page:
    """One kind's figure: its panels from the top, over the layers or the blocks of a net.

    note: what a reader of the figure must know of its places.
    """

    kind: str
    title: str
    over: Literal["layer", "block"]
    note: str
    panels: tuple[Panel, ...]
    styles: tuple[tuple[Dashes, str], ...]
    x: str = ""


def _both_states(name: str, ranked: bool = False) -> tuple[Line, ...]:
    return Line(name, "initial", "--", ranked), Line(name, ranked=ranked)


_STATES: tuple[tuple[Dashes, str], ...] = (("-", "trained"), ("--", "at initial values"))

RESPONSES = Page(
    "responses",
    "Standard deviation of layer responses",
    "layer",
    "layers from the stem on, broken between stages; ranked: from the largest down",
    (
        Panel("std, in order", _both_states("std")),
        Panel("std, ranked", _both_states("std", ranked=True)),
    ),
    _STATES,
    x="layer above, rank below",
)
IDENTITY = Page(
    "identity",
    "How far blocks are from the identity (those that keep their shape)",
    "block",
    "blocks that change the shape are left out",
    (
        Panel("||F(x)|| / ||x||", _both_states("branch")),
        Panel("||H(x) - x|| / ||x||", _both_states("distance")),
        Panel("cosine of x, H(x)", _both_states("cosine"), floor=False),
        Panel("debiased CKA", _both_states("cka"), floor=False),
        Panel("linear residual", _both_states("linear_residual")),
    ),
    _STATES,
)
PROBES = Page(
    "probes",
    "Accuracy of a linear probe after each block",
    "block",
    "block 0 is the stem; to be compared within a stage, where lines are unbroken",
    (Panel("probe accuracy", _both_states("accuracy"), percent=True),),
    _STATES,
)
LESIONS = Page(
    "lesions",
    "Accuracy with blocks replaced by the identity",
    "block",
    "blocks that change the shape stay in",
    tuple(
        Panel(
            label,
            (
                Line(f"accuracy{extent}_recomputed", dashes="--"),
                Line(f"accuracy{extent}"),
                Line("intact_accuracy", dashes=":", whole=True),
            ),
            percent=True,
        )
        for label, extent in (("without this block", ""), ("without it and later ones", "_cumulative"))
    ),
    (("-", "statistics of the intact net"), ("--", "statistics recomputed"), (":", "intact net")),
)


def _figure(page: Page, sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
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
                axes.set_xlim(0.4, (depth - 1 if page.over == "layer" else (depth - 2) // 2) + 0.6)
                if page.over == "block" and (of_depth["block"] == 0).any():
                    axes.set_xlim(left=-0.6)
                axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
            axes.set_xlabel(page.x or page.over)
            name = f"{sweep.name}: depth {depth}" if len(sweeps) > 1 else f"depth {depth}"
            grid[0][column].set_title(name, loc="left", weight="bold")
        for axes, panel in zip(grid[:, 0], page.panels, strict=True):
            axes.set_ylabel(panel.label)
            if panel.floor:
                axes.set_ylim(bottom=0)
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
            + f"\n{images:,} held-out images\n{page.note}"
            + "".join(f"\nleft out: {problem}" for problem in problems),
            x=0.01,
            ha="left",
            fontsize=9,
        )
        return figure


def _measured(page: Page, sweep: SweepFrame) -> tuple[list[tuple[int, pd.DataFrame]], list[str]]:
    """The records of this kind by depth, without depths that have no place to measure at; what is damaged."""
    frame, damaged = load_diagnostics(sweep.folder)
    of_kind = frame[(frame["arm"] == sweep.arm) & (frame["kind"] == page.kind) & frame["value"].notna()]
    placed = set(of_kind.loc[(of_kind["state"] == "final") & of_kind[page.over].notna(), "depth"])
    if not placed:
        raise UsageError(
            f"{sweep.folder}: no {page.kind} of a finished network were measured",
            f"run `resdeg diagnose {sweep.folder} --kinds {page.kind}` first",
        )
    return [(depth, of_kind[of_kind["depth"] == depth]) for depth in sorted(placed)], damaged


def _draw(axes: Axes, over: str, line: Line, rows: pd.DataFrame, ink: Ink) -> None:
    chosen = rows[(rows["name"] == line.name) & (rows["state"] == line.state)]
    if chosen.empty:
        return
    if line.whole:
        axes.axhline(chosen["value"].mean(), color=ink.colour, linestyle=line.dashes, linewidth=1.4, zorder=1)
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


def responses_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Response deviations in the order of the layers and ranked (He et al. 2015, Fig. 7)."""
    return _figure(RESPONSES, sweeps, look)


def identity_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Norms, cosine, alignment and linear residual of every block that keeps its shape."""
    return _figure(IDENTITY, sweeps, look)


def probes_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Probe accuracy after the stem and each block."""
    return _figure(PROBES, sweeps, look)


def lesions_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Accuracy without one block, and without it and all later ones."""
    return _figure(LESIONS, sweeps, look)
