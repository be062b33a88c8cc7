"""The figures: accuracy against depth, and training curves per depth."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter

from resdeg import data
from resdeg.analysis.curve import with_errors
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.report.captions import data_name, describe, family_handles
from resdeg.report.style import Ink, LineStyle, Theme, applied
from resdeg.report.words import peak_line

DODGE = 1.025  # families side by side on the log axis, so that intervals do not hide each other
TRAINING: LineStyle = "--"
CLEAN: LineStyle = ":"
TEST: LineStyle = "-"


# ---------------------------------------------------------------- accuracy against depth


def curve_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Test accuracy against depth and, below it, training and test error; a column per sweep."""
    with applied(look):
        figure = Figure(figsize=(7.0 * len(sweeps), 8.2), layout="constrained")
        grid = figure.subplots(2, len(sweeps), squeeze=False, sharex="col", sharey="row")
        for column, sweep in enumerate(sweeps):
            top, bottom = grid[0][column], grid[1][column]
            points, runs = sweep.curve, with_errors(sweep.runs)
            for family in sweep.config.families:
                ink = look.families[family]
                shift = DODGE if family == "residual" else 1 / DODGE
                series(top, points, runs, family, "test_accuracy", ink, TEST, shift)
                series(bottom, points, runs, family, "test_error", ink, TEST, shift)
                series(bottom, points, runs, family, "train_error", ink, TRAINING, shift**2, seeds=False)
            unfinished(top, runs, look)
            depth_axis(bottom, sorted(set(sweep.runs["depth"])))
            name = "" if len(sweeps) == 1 else f"{sweep.name}\n"
            peak = peak_line(Evidence(sweep))
            top.set_title(name + describe(sweep) + (f"\n{peak}" if peak else ""), loc="left", fontsize=8.5)
            chance_line(top, sweep, look)
            _legends(top, bottom, sweep, look)
        images = " and ".join(dict.fromkeys(data_name(sweep.config) for sweep in sweeps))
        figure.suptitle(f"Accuracy against depth on {images}", x=0.01, ha="left", weight="bold", fontsize=12)
        for axes, label in ((grid[0][0], "test accuracy"), (grid[1][0], "error")):
            axes.set_ylabel(label)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            low, high = axes.get_ylim()
            # An interval of few seeds can leave the possible; the axis does not follow it there.
            axes.set_ylim(max(low, -0.02), min(high, 1.02))
        return figure


def chance_line(axes: Axes, sweep: SweepFrame, look: Theme) -> None:
    """The accuracy of a guess, dotted."""
    chance = 1 / data.shape(sweep.config.data).classes
    axes.axhline(chance, color=look.text, linewidth=0.8, linestyle=":")
    axes.annotate(
        "chance", (0.25, chance), xycoords=("axes fraction", "data"), fontsize=8,
        xytext=(0, 3), textcoords="offset points", ha="center",
    )  # fmt: skip


def series(
    axes: Axes,
    points: pd.DataFrame,
    runs: pd.DataFrame,
    family: str,
    metric: str,
    ink: Ink,
    style: LineStyle,
    shift: float,
    seeds: bool = True,
) -> None:
    """One metric of one family against depth: means joined, intervals as bars, seeds as dots."""
    rows = points[(points["family"] == family) & (points["metric"] == metric)]
    if rows.empty:
        return
    x = rows["depth"] * shift
    mean = rows["mean"].astype(float)
    face = ink.colour if ink.filled else axes.get_facecolor()
    axes.plot(
        x, mean, linestyle=style, color=ink.colour, marker=ink.marker, linewidth=1.8,
        markersize=6 if style == TEST else 4,
        markerfacecolor=face, markeredgecolor=ink.colour, zorder=3,
    )  # fmt: skip
    whole = rows.dropna(subset=["low", "high"])
    if len(whole):
        center = whole["mean"].astype(float)
        reach = [center - whole["low"].astype(float), whole["high"].astype(float) - center]
        axes.errorbar(
            whole["depth"] * shift, center, yerr=reach, fmt="none", color=ink.colour,
            elinewidth=1.2, capsize=3, zorder=2,
        )  # fmt: skip
    if seeds:
        done = runs[(runs["family"] == family) & (runs["status"] == "finished")]
        if done["seed"].nunique() > 1:
            axes.scatter(
                done["depth"] * shift**2.2, done[metric].astype(float), s=9, color=ink.colour, alpha=0.55,
                linewidths=0, zorder=4,
            )  # fmt: skip


def unfinished(axes: Axes, runs: pd.DataFrame, look: Theme) -> None:
    """Runs without a final number, drawn as what they are: never part of a mean."""
    for _, run in runs[runs["status"] != "finished"].iterrows():
        ink = look.families[run["family"]]
        shift = DODGE if run["family"] == "residual" else 1 / DODGE
        if run["status"] == "diverged":
            axes.plot(
                [run["depth"] * shift], [0.03], transform=axes.get_xaxis_transform(), marker="X",
                markersize=9, color=ink.colour, linestyle="none", clip_on=False, zorder=5,
            )  # fmt: skip
        elif pd.notna(run["test_accuracy"]):
            axes.plot(
                [run["depth"] * shift], [run["test_accuracy"]], marker="v", markersize=7, linestyle="none",
                markerfacecolor="none", markeredgecolor=ink.colour, zorder=5,
            )  # fmt: skip


def depth_axis(axes: Axes, depths: list[int]) -> None:
    """Depth on a log scale, with the depths that were trained as its ticks."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlim(depths[0] / 1.18, depths[-1] * 1.18)
    axes.set_xlabel("depth (weighted layers, 6n+2; log scale)")


def _legends(top: Axes, bottom: Axes, sweep: SweepFrame, look: Theme) -> None:
    handles = family_handles(sweep, look)
    statuses = set(sweep.runs["status"])
    if "diverged" in statuses:
        handles.append(Line2D([], [], color=look.text, marker="X", linestyle="none", label="diverged"))
    if statuses & {"running", "interrupted", "stopped", "failed"}:
        handles.append(
            Line2D(
                [], [], color=look.text, marker="v", markerfacecolor="none", linestyle="none",
                label="not finished: last epoch so far",
            )
        )  # fmt: skip
    top.legend(handles=handles, loc="best")
    bottom.legend(handles=_line_handles(look, sweep.evaluation), loc="best")


def _line_handles(look: Theme, evaluation: str) -> list[Line2D]:
    mode = "evaluation mode, " if evaluation == "running" else ""
    clean = f"training error (clean: {mode}no augmentation)"
    named: tuple[tuple[str, LineStyle], ...] = (("test error", TEST), (clean, TRAINING))
    return [Line2D([], [], color=look.text, linestyle=style, label=label) for label, style in named]


# ---------------------------------------------------------------- training curves


def training_figure(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Error against epoch, a panel per depth: test solid, training dashed (running) and, where it was
    recorded, dotted (clean, on fixed images; the mean alone); seeds thin.
    """
    panels = [(sweep, depth) for sweep in sweeps for depth in sorted(set(sweep.metrics["depth"]))]
    rows = -(-len(panels) // 4)
    columns = -(-len(panels) // rows)
    with applied(look):
        figure = Figure(figsize=(max(6.4, 3.4 * columns), 1.2 + 3.1 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (sweep, depth) in zip(grid.flat, panels, strict=False):
            of_depth = sweep.metrics[sweep.metrics["depth"] == depth]
            for family in sweep.config.families:
                _training_lines(axes, of_depth[of_depth["family"] == family], look.families[family])
            name = f"{sweep.name}: depth {depth}" if len(sweeps) > 1 else f"depth {depth}"
            axes.set_title(name, loc="left", weight="bold")
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("error")
        for axes in grid[-1]:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles = family_handles(sweeps[0], look)
        styles: list[tuple[str, LineStyle]] = [("test", TEST), ("training (running mean)", TRAINING)]
        if any("clean_train_accuracy" in sweep.metrics for sweep in sweeps):
            styles.append(("training (clean, fixed images)", CLEAN))
        handles += [Line2D([], [], color=look.text, linestyle=s, label=label) for label, s in styles]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        title = f"Error during training on {data_name(sweeps[0].config)}"
        figure.suptitle(
            f"{title}\n{describe(sweeps[0], 'thin: each seed, bold: their mean')}",
            x=0.01,
            ha="left",
            fontsize=9,
        )
        return figure


def _training_lines(axes: Axes, lines: pd.DataFrame, ink: Ink) -> None:
    styles: list[tuple[str, LineStyle]] = [("train_accuracy", TRAINING), ("test_accuracy", TEST)]
    styles += [("clean_train_accuracy", CLEAN)] if "clean_train_accuracy" in lines else []
    for metric, style in styles:
        for _, one in lines.groupby("seed") if style != CLEAN else ():
            axes.plot(
                one["epoch"], 1 - one[metric], color=ink.colour, linestyle=style, linewidth=0.7, alpha=0.4
            )
        # Runs that are not all equally far are averaged over the epochs that all of them have.
        together = lines.groupby("epoch")[metric].agg(["mean", "count"])
        together = together[together["count"] == lines["seed"].nunique()]
        axes.plot(
            together.index, 1 - together["mean"], color=ink.colour, linestyle=style, linewidth=1.8,
            marker=ink.marker if len(together) <= 12 and style != CLEAN else None, markersize=4,
            markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(),
        )  # fmt: skip
