"""Accuracy against depth, and training curves per depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from resdeg import data
from resdeg.analysis.curve import add_errors, read_points
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate
from resdeg.report.canvas import (
    Axes,
    Figure,
    FixedLocator,
    Line2D,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    title_figure,
)
from resdeg.report.chart import Chart, make_figure, narrate, read_lines, tabulate
from resdeg.report.style import Ink, LineStyle, Theme, applied
from resdeg.report.text import describe_peak, describe_runs, name_data

# Families stand side by side on the log axis, so that intervals do not hide each other.
DODGE = 1.025
TRAINING: LineStyle = "--"
CLEAN: LineStyle = ":"
TEST: LineStyle = "-"


# ---------------------------------------------------------------- accuracy against depth


def draw_curves(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Draws test accuracy against depth and, below it, training and test error; a column per sweep."""
    with applied(look):
        figure = Figure(figsize=(7.0 * len(sweeps), 8.2), layout="constrained")
        grid = figure.subplots(2, len(sweeps), squeeze=False, sharex="col", sharey="row")
        for column, sweep in enumerate(sweeps):
            top, bottom = grid[0][column], grid[1][column]
            points, runs = sweep.curve, add_errors(sweep.runs)
            for family in sweep.config.families:
                ink, shift = look.families[family], dodge(family)
                for axes, metric in ((top, "test_accuracy"), (bottom, "test_error")):
                    draw_points(axes, read_points(points, family, metric=metric), ink=ink, shift=shift)
                    draw_seeds(axes, runs, numbers=(family, metric), ink=ink, shift=shift)
                clean = read_points(points, family, metric="train_error")
                draw_points(bottom, clean, ink=ink, style=TRAINING, shift=shift**2)
            draw_unfinished(top, runs, look=look)
            set_depth_axis(bottom, sorted(set(sweep.runs["depth"])))
            name = "" if len(sweeps) == 1 else f"{sweep.name}\n"
            peak = describe_peak(Evidence(sweep))
            title = name + describe_runs(sweep) + (f"\n{peak}" if peak else "")
            top.set_title(title, loc="left", fontsize=8.5)
            draw_chance(top, sweep, look=look)
            _add_legends(top, bottom, sweep=sweep, look=look)
        images = " and ".join(dict.fromkeys(name_data(sweep.config) for sweep in sweeps))
        title_figure(figure, f"Accuracy against depth on {images}", weight="bold", fontsize=12)
        for axes, label in ((grid[0][0], "test accuracy"), (grid[1][0], "error")):
            axes.set_ylabel(label)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            low, high = axes.get_ylim()
            # An interval of few seeds can reach beyond 0 or 1; the axis does not follow it.
            axes.set_ylim(max(low, -0.02), min(high, 1.02))
        return figure


def chart_accuracy(sweep: SweepFrame) -> Chart:
    """Returns the chart of test accuracy against depth for both families, the curve itself."""
    families = sweep.config.families
    lines = read_lines(sweep, families, metrics=("test_accuracy",))

    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            for (family, metric), line in lines.items():
                ink, shift = look.families[family], dodge(family)
                draw_points(axes, line.points, ink=ink, shift=shift)
                draw_seeds(axes, sweep.runs, numbers=(family, metric), ink=ink, shift=shift)
            draw_chance(axes, sweep, look=look)
            finish_accuracy_axes(axes, sorted(set(sweep.runs["depth"])), label="test accuracy")
            axes.legend(handles=make_family_handles(sweep, look), loc="best")
            return figure

    caption = "Test accuracy against depth: dots are seeds, bars 95 % intervals of the mean over them."
    return Chart(caption, narrate(lines.values()), tabulate(lines.values()), draw)


def dodge(family: str) -> float:
    """Returns by what the depths of a family are multiplied in a figure."""
    return DODGE if family == "residual" else 1 / DODGE


def draw_chance(axes: Axes, sweep: SweepFrame, *, look: Theme) -> None:
    """Draws the accuracy of a guess, dotted."""
    chance = 1 / data.shape(sweep.config.data).classes
    axes.axhline(chance, color=look.text, linewidth=0.8, linestyle=":")
    axes.annotate(
        "chance", (0.25, chance), xycoords=("axes fraction", "data"), fontsize=8,
        xytext=(0, 3), textcoords="offset points", ha="center",
    )  # fmt: skip


def draw_points(
    axes: Axes, points: Mapping[int, Estimate], *, ink: Ink, style: LineStyle = TEST, shift: float = 1.0
) -> None:
    """Draws means against depth, joined, with their intervals as bars.

    Args:
        shift: what depths are multiplied by.
    """
    if not points:
        return
    axes.plot(
        [depth * shift for depth in points], [point.mean for point in points.values()],
        linestyle=style, color=ink.colour, marker=ink.marker, linewidth=1.8,
        markersize=6 if style == TEST else 4,
        markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(), markeredgecolor=ink.colour,
        zorder=3,
    )  # fmt: skip
    bars = [
        (depth * shift, point.mean, point.mean - point.low, point.high - point.mean)
        for depth, point in points.items()
        if point.low is not None and point.high is not None
    ]
    if bars:
        x, mean, below, above = zip(*bars, strict=True)
        axes.errorbar(
            x, mean, yerr=[below, above], fmt="none", color=ink.colour, elinewidth=1.2, capsize=3, zorder=2
        )


def draw_seeds(
    axes: Axes, runs: pd.DataFrame, *, numbers: tuple[str, str], ink: Ink, shift: float = 1.0
) -> None:
    """Draws each finished run as a dot, where there are several seeds.

    Args:
        numbers: family and metric.
    """
    family, metric = numbers
    finished = runs[(runs["family"] == family) & (runs["status"] == "finished")]
    if finished["seed"].nunique() > 1:
        axes.scatter(
            finished["depth"] * shift**2.2, finished[metric].astype(float), s=9, color=ink.colour,
            alpha=0.55, linewidths=0, zorder=4,
        )  # fmt: skip


def draw_unfinished(axes: Axes, runs: pd.DataFrame, *, look: Theme) -> None:
    """Draws the runs that have no final number, which are in no mean, by marks of their own."""
    for _, run in runs[runs["status"] != "finished"].iterrows():
        ink, shift = look.families[run["family"]], dodge(run["family"])
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


def set_depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    """Gives the axes a log scale of depth whose ticks are `depths`, which rise."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlim(depths[0] / 1.18, depths[-1] * 1.18)
    axes.set_xlabel("depth (weighted layers, 6n+2; log scale)")


def finish_accuracy_axes(axes: Axes, depths: Sequence[int], *, label: str, decimals: int = 0) -> None:
    """Gives the axes a depth scale and one of percent within 0 and 1."""
    set_depth_axis(axes, depths)
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.02), min(high, 1.02))


def make_family_handles(sweep: SweepFrame, look: Theme) -> list[Line2D]:
    """Returns the legend entries of the families in the grid."""
    handles = []
    for family in sweep.config.families:
        ink = look.families[family]
        face = ink.colour if ink.filled else look.paper
        handles.append(
            Line2D(
                [], [], color=ink.colour, marker=ink.marker, markerfacecolor=face, linewidth=1.8, label=family
            )
        )
    return handles


def _add_legends(top: Axes, bottom: Axes, *, sweep: SweepFrame, look: Theme) -> None:
    handles = make_family_handles(sweep, look)
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
    bottom.legend(handles=_error_handles(look, sweep.evaluation), loc="best")


def _error_handles(look: Theme, evaluation: str) -> list[Line2D]:
    mode = "evaluation mode, " if evaluation == "running" else ""
    clean = f"training error (clean: {mode}no augmentation)"
    named: tuple[tuple[str, LineStyle], ...] = (("test error", TEST), (clean, TRAINING))
    return [Line2D([], [], color=look.text, linestyle=style, label=label) for label, style in named]


# ---------------------------------------------------------------- training curves


def draw_training(sweeps: Sequence[SweepFrame], look: Theme) -> Figure:
    """Draws error against epoch, a panel per depth; seeds are thin lines.

    Test error is solid, training error dashed (running) and, where it was recorded, dotted (clean, on fixed
    images, only the mean).
    """
    panels = [(sweep, depth) for sweep in sweeps for depth in sorted(set(sweep.metrics["depth"]))]
    rows = -(-len(panels) // 4)
    columns = -(-len(panels) // rows)
    with applied(look):
        figure = Figure(figsize=(max(6.4, 3.4 * columns), 1.2 + 3.1 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, (sweep, depth) in zip(grid.flat, panels, strict=False):
            metrics = sweep.metrics[sweep.metrics["depth"] == depth]
            for family in sweep.config.families:
                _draw_training_lines(axes, metrics[metrics["family"] == family], ink=look.families[family])
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
        handles = make_family_handles(sweeps[0], look)
        styles: list[tuple[str, LineStyle]] = [("test", TEST), ("training (running mean)", TRAINING)]
        if any("clean_train_accuracy" in sweep.metrics for sweep in sweeps):
            styles.append(("training (clean, fixed images)", CLEAN))
        handles += [Line2D([], [], color=look.text, linestyle=style, label=label) for label, style in styles]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        title = f"Error during training on {name_data(sweeps[0].config)}"
        runs = describe_runs(sweeps[0], "thin: each seed, bold: their mean")
        title_figure(figure, f"{title}\n{runs}", fontsize=9)
        return figure


def _draw_training_lines(axes: Axes, metrics: pd.DataFrame, *, ink: Ink) -> None:
    styles: list[tuple[str, LineStyle]] = [("train_accuracy", TRAINING), ("test_accuracy", TEST)]
    styles += [("clean_train_accuracy", CLEAN)] if "clean_train_accuracy" in metrics else []
    for metric, style in styles:
        for _, run in metrics.groupby("seed") if style != CLEAN else ():
            axes.plot(
                run["epoch"], 1 - run[metric], color=ink.colour, linestyle=style, linewidth=0.7, alpha=0.4
            )
        # Runs that are not all equally far are averaged over the epochs that all of them have.
        together = metrics.groupby("epoch")[metric].agg(["mean", "count"])
        together = together[together["count"] == metrics["seed"].nunique()]
        axes.plot(
            together.index, 1 - together["mean"], color=ink.colour, linestyle=style, linewidth=1.8,
            marker=ink.marker if len(together) <= 12 and style != CLEAN else None, markersize=4,
            markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(),
        )  # fmt: skip
