"""Blocks and layers as `resdeg diagnose` measured them: a column per depth, families side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from resdeg import data
from resdeg.analysis.diagnostics import Blocks, Lost, follow_training, summarise_blocks
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import POINTS
from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, Figure, Line2D, MaxNLocator, PercentTicks
from resdeg.report.chart import Chart, Table
from resdeg.report.fitting import add_legend, add_title, title_panel
from resdeg.report.marks import make_family_handles
from resdeg.report.options import DEFAULTS, FigureOptions, choose_panels
from resdeg.report.panels import PAGES, Page, Trace
from resdeg.report.scales import set_count_axis
from resdeg.report.style import Ink, Theme, applied
from resdeg.report.svg import Picture, embed
from resdeg.report.text import describe_runs, name_data
from resdeg.report.units import percent

_FEW = 12  # positions up to which each has a marker
EMBEDDED = ("responses", "identity")  # the PAGES that the report shows
INTRO = (
    "Trained networks on held-out images, means over seeds. Size of the branch, distance from the identity, "
    "debiased CKA and linear residual: the median block of the later half, of those that keep their shape; - "
    "where there is none. "
    "Probe: accuracy behind the best block of the last stage, and behind the last. Lost: points of accuracy "
    "without one block, the mean over blocks and the largest, by the intact network's statistics and by "
    "recomputed ones."
)
HEAD = [
    "network", "seeds", "images", "‖F(x)‖ / ‖x‖", "‖H(x) - x‖ / ‖x‖", "CKA", "linear residual",
    "probe, best / last", "intact", "lost", "lost, recomputed",
]  # fmt: skip


# ---------------------------------------------------------------- the figures


def draw_page(
    page: Page, sweeps: Sequence[SweepFrame], look: Theme, options: FigureOptions = DEFAULTS
) -> Figure:
    """Draws a column per sweep and depth, a row per panel; thin lines are seeds, bold ones their mean.

    Raises:
        UsageError: a sweep has no trained network that was measured so, or the options ask for what cannot
            be drawn.
    """
    chosen = choose_panels([panel.name for panel in page.panels], options, kind=page.kind)
    page = replace(page, panels=tuple(panel for panel in page.panels if panel.name in chosen))
    # The evaluation that networks were measured in.
    shown = [sweep.evaluated(sweep.evaluations[0]) for sweep in sweeps]
    columns: list[tuple[SweepFrame, int, pd.DataFrame]] = []
    problems: list[str] = []
    for sweep in shown:
        by_depth, damaged = select_measured(page, sweep)
        columns += [(sweep, depth, rows) for depth, rows in by_depth]
        problems += damaged
    look = look.scaled(options.points)
    with applied(look):
        rows = len(page.panels)
        size = options.choose_size(max(6.4, 3.2 * len(columns)), 1.9 + (2.9 if rows == 1 else 2.1) * rows)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, len(columns), squeeze=False, sharex="col", sharey="row")
        for column, (sweep, depth, records) in enumerate(columns):
            for axes, panel in zip(grid[:, column], page.panels, strict=True):
                for trace in panel.traces:
                    for family in sweep.config.families:
                        own = records[records["family"] == family]
                        _draw_trace(axes, trace, over=page.over, rows=own, ink=look.families[family])
                if panel.percent:
                    chance = 1 / data.shape(sweep.config.data).classes
                    axes.axhline(chance, color=look.faint, linewidth=2.5, zorder=0)
                if page.over != "step":
                    axes.set_xlim(0.4, (depth - 1 if page.over == "layer" else (depth - 2) // 2) + 0.6)
                if page.over == "block" and (records["block"] == 0).any():
                    axes.set_xlim(left=-0.6)
                axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
                if options.fitted:
                    set_count_axis(axes, look=look)
            axes.set_xlabel(page.x or page.over)
            named = len(sweeps) > 1 or options.labels
            name = f"{sweep.name}: depth {depth}" if named else f"depth {depth}"
            title_panel(grid[0][column], name, across=len(columns), options=options, weight="bold")
        for row, panel in zip(grid, page.panels, strict=True):
            axes = row[0]
            axes.set_ylabel(panel.label)
            if panel.log:
                axes.set_yscale("log")
            if panel.floor:  # A correlation can be negative.
                axes.set_ylim(bottom=min(0, *(panel_axes.dataLim.y0 for panel_axes in row)))
            if panel.percent:
                axes.yaxis.set_major_formatter(PercentTicks())
        handles = make_family_handles(shown[0].config.families, look)
        # Adopted and constructed networks have no initial values, so no line shows them.
        states = {None, *(state for _, _, records in columns for state in records["state"])}
        drawn = {trace.dashes for panel in page.panels for trace in panel.traces if trace.state in states}
        handles += [
            Line2D([], [], color=look.text, linestyle=style, label=label)
            for style, label in page.styles
            if style in drawn
        ]
        if any(panel.percent for panel in page.panels):
            handles.append(Line2D([], [], color=look.faint, linewidth=2.5, label="chance"))
        images = int(columns[0][2]["images"].max())
        title = f"{page.title} on {name_data(shown[0].config)}"
        details = (
            describe_runs(shown[0], "thin: each seed, bold: their mean")
            + f"\n{images:,} {page.images}\n{page.note}"
            + "".join(f"\nleft out: {problem}" for problem in problems)
        )
        add_legend(figure, handles, columns=4 if len(handles) < 5 else 3, look=look, options=options)
        add_title(figure, title, details, look=look, options=options)
        return figure


def select_measured(page: Page, sweep: SweepFrame) -> tuple[list[tuple[int, pd.DataFrame]], list[str]]:
    """Returns the records of a page by depth, and a line for each run that is damaged.

    A depth is left out where its networks have nothing to measure, as no block that keeps its shape.

    Raises:
        UsageError: no trained network was measured so.
    """
    frame, damaged = sweep.diagnostics
    records = frame[(frame["arm"] == sweep.arm) & (frame["kind"] == page.kind) & frame["value"].notna()]
    if page.over == "step":
        records = follow_training(records, sweep.runs)
    depths = set(records.loc[(records["state"] == "final") & records[page.over].notna(), "depth"])
    if not depths:
        networks, before = "a finished network", ""
        if page.over == "step":
            networks, before = (
                "snapshots of a finished network",
                "train with --set execution.snapshots=N, then ",
            )
        raise UsageError(
            f"{sweep.folder}: no {page.kind} of {networks} were measured",
            f"{before}run `resdeg diagnose {sweep.folder} --kinds {page.kind}` first",
        )
    return [(depth, records[records["depth"] == depth]) for depth in sorted(depths)], damaged


def _draw_trace(axes: Axes, trace: Trace, *, over: str, rows: pd.DataFrame, ink: Ink) -> None:
    chosen = rows[(rows["name"] == trace.name) & ((rows["state"] == trace.state) | (trace.state is None))]
    if chosen.empty:
        return
    if trace.whole:
        # Unlike axhline, this line counts for the range of the axis, and is seen on the spine at 0.
        level, across = chosen["value"].mean(), axes.get_yaxis_transform()
        axes.plot(
            [0, 1], [level, level], transform=across, color=ink.colour, linestyle=trace.dashes,
            linewidth=1.4 * ink.weight, zorder=2.6, clip_on=False,
        )  # fmt: skip
        return
    table = chosen.pivot_table(index=["stage", over], columns="seed", values="value")
    if trace.ranked:
        ranked = {seed: table[seed].sort_values(ascending=False).to_numpy() for seed in table}
        table = pd.DataFrame(ranked, index=pd.MultiIndex.from_product([[1], range(1, len(table) + 1)]))
    # Runs are averaged over the positions that all of them have.
    mean = table.mean(axis="columns", skipna=False)
    bold = trace.dashes == "-"
    for _, stage in table.groupby(level=0):
        x = stage.index.get_level_values(1).to_numpy(float)
        if len(stage) == 1:  # A point between two gaps is drawn as a short line.
            stage, x = pd.concat([stage, stage]), np.array([x[0] - 0.3, x[0] + 0.3])
        if table.shape[1] > 1:
            axes.plot(
                x, stage, color=ink.colour, linestyle=trace.dashes, linewidth=0.6 * ink.weight, alpha=0.4
            )
        axes.plot(
            x, mean[stage.index], color=ink.colour, linestyle=trace.dashes, zorder=3,
            linewidth=(1.8 if bold else 1.1) * ink.weight,
        )  # fmt: skip
    if bold and len(table) <= _FEW:
        axes.plot(
            mean.index.get_level_values(1).to_numpy(float), mean, color=ink.colour, linestyle="none",
            marker=ink.marker, markersize=4.5 * ink.weight, zorder=4,
            markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(),
        )  # fmt: skip


# ---------------------------------------------------------------- the section of the report


@dataclass(frozen=True)
class BlockSection:
    """A table with a row per network, and pictures of what was measured in the grid."""

    intro: str
    table: Table
    figures: list[Picture]


def make_block_section(sweep: SweepFrame) -> BlockSection | None:
    """Returns the section; None where no block was measured."""
    table = tabulate_blocks(sweep)
    if table is None:
        return None
    charts = {kind: chart for kind in EMBEDDED if (chart := chart_page(PAGES[kind], sweep))}
    figures = [embed(chart, name=kind, title=PAGES[kind].title) for kind, chart in charts.items()]
    return BlockSection(INTRO, table, list(filter(None, figures)))


def tabulate_blocks(sweep: SweepFrame) -> Table | None:
    """Returns a row per network of the grid and of its arms, or of the arm that `sweep` is.

    None stands for a sweep without a measured block.
    """
    frame, _ = sweep.diagnostics
    if sweep.arm:
        networks = summarise_blocks(frame[frame["arm"] == sweep.arm], [sweep.arm])
    else:
        networks = summarise_blocks(frame, sweep.config.arms)
    return (HEAD, [_row(network) for network in networks]) if networks else None


def chart_page(page: Page, sweep: SweepFrame) -> Chart | None:
    """Returns the chart of one page for the grid; None where the grid was not measured so."""
    try:
        columns, _ = select_measured(page, sweep)
    except UsageError:
        return None
    panel = page.panels[0]
    rows = pd.concat([records for _, records in columns])
    rows = rows[(rows["name"] == panel.traces[0].name) & (rows["state"] == "final")]
    medians = rows.groupby(["family", "depth"], as_index=False)["value"].median()
    numbers = ", ".join(f"{row.value:.2f} in {row.family}-{row.depth}" for row in medians.itertuples())
    text = f"{page.title}, a column per depth. {panel.label}, median of trained networks: {numbers}."
    return Chart(f"{page.title}, networks of the grid.", text, None, partial(draw_page, page, [sweep]))


def _row(network: Blocks) -> list[str]:
    probes = "-" if network.probes is None else " / ".join(percent(value) for value in network.probes)
    return [
        network.name,
        str(network.seeds),
        network.spelled_images,
        *network.spelled_late,
        probes.replace(" %", "\N{NO-BREAK SPACE}%"),
        percent(network.intact),
        _spell_lost(network.lost),
        _spell_lost(network.recomputed),
    ]


def _spell_lost(lost: Lost | None) -> str:
    if lost is None:
        return "-"
    return f"{POINTS.spell(lost.mean, signed=False)} ({POINTS.spell(lost.largest, signed=False)})"
