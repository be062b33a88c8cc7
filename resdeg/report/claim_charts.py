"""One chart for each claim: the numbers that it is judged by."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from resdeg.analysis.curve import read_by_seed
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.judge import locate_peaks
from resdeg.analysis.stats import mean_interval
from resdeg.report.canvas import Figure, Line2D
from resdeg.report.chart import Chart, make_figure, narrate, read_lines, tabulate
from resdeg.report.curve_chart import finish_accuracy_axes
from resdeg.report.marks import draw_chance, draw_points, draw_seeds
from resdeg.report.mechanism_charts import (
    chart_activations,
    chart_branches,
    chart_losses,
    chart_probes,
    chart_starts,
)
from resdeg.report.scales import DODGE, set_depth_axis
from resdeg.report.style import LineStyle, Theme, applied

ERRORS: dict[str, tuple[str, LineStyle]] = {
    "test_error": ("test", "-"),
    "running_train_error": ("training, running", ":"),
    "train_error": ("training, clean", "--"),
    "recomputed_train_error": ("training, statistics recomputed", "-."),
}


def chart_rise_and_fall(evidence: Evidence) -> Chart:
    """Returns the chart of C1: plain test accuracy, and the interval of its peak."""
    sweep = evidence.sweep
    lines = read_lines(sweep, ("plain",), metrics=("test_accuracy",))
    points = {depth: point for line in lines.values() for depth, point in line.points.items()}
    peak = None if evidence.interim else locate_peaks(evidence).get("plain")

    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            ink = look.families["plain"]
            draw_points(axes, points, ink=ink)
            draw_seeds(axes, sweep.runs, numbers=("plain", "test_accuracy"), ink=ink, locate=float)
            draw_chance(axes, sweep, look=look)
            finish_accuracy_axes(axes, sorted(set(sweep.runs["depth"])), label="test accuracy", look=look)
            if peak is not None and peak.seeds >= evidence.rules.least_seeds:
                low, high = axes.get_xlim()
                axes.axvspan(
                    low if peak.low is None else peak.low,
                    high if peak.high is None else peak.high,
                    color=look.faint, alpha=0.55, linewidth=0, zorder=0, label="the peak lies here",
                )  # fmt: skip
                axes.legend(loc="best")
            return figure

    return Chart(
        "Test accuracy of plain networks. Shaded: where its peak lies among depths with a block, at 95 %.",
        narrate(lines.values()),
        tabulate(lines.values()),
        draw if len({*points} & {*evidence.depths}) > 1 else None,
    )


def chart_errors(evidence: Evidence) -> Chart:
    """Returns the chart of C2: the training errors of plain networks beside their test error."""
    sweep = evidence.sweep
    lines = read_lines(sweep, ("plain",), metrics=ERRORS)

    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            ink, handles = look.families["plain"], []
            for number, ((_, metric), line) in enumerate(lines.items()):
                label, style = ERRORS[metric]
                shift = DODGE ** (number - (len(lines) - 1) / 2)
                shifted = {depth * shift: point for depth, point in line.points.items()}
                draw_points(axes, shifted, ink=ink, style=style, small=style != "-")
                handles.append(Line2D([], [], color=ink.colour, linestyle=style, label=label))
            finish_accuracy_axes(
                axes, sorted(set(sweep.runs["depth"])), label="error of plain networks", look=look
            )
            axes.legend(handles=handles, loc="best")
            return figure

    return Chart(
        "Errors of plain networks, in training and test. Running: over augmented batches while weights move.",
        narrate(lines.values()),
        tabulate(lines.values()),
        draw if lines else None,
    )


def chart_residual(evidence: Evidence) -> Chart:
    """Returns the chart of C3: residual test accuracy, and the fall that the margin allows."""
    sweep = evidence.sweep
    lines = read_lines(sweep, ("residual",), metrics=("test_accuracy",))
    points = {depth: point for line in lines.values() for depth, point in line.points.items() if depth > 2}
    runs = sweep.runs[(sweep.runs["depth"] > 2) & (sweep.runs["family"] == "residual")]
    allowed = evidence.rules.fall[evidence.schedule]

    def draw(look: Theme) -> Figure:
        best = max(point.mean for depth, point in points.items() if depth < max(points))
        with applied(look):
            figure, axes = make_figure()
            ink = look.families["residual"]
            draw_points(axes, points, ink=ink)
            draw_seeds(axes, runs, numbers=("residual", "test_accuracy"), ink=ink, locate=float)
            axes.axhspan(
                best - allowed, best, color=look.faint, alpha=0.55, linewidth=0, zorder=0,
                label=f"within {allowed * 100:.0f} points of the best shallower depth",
            )  # fmt: skip
            label = "test accuracy of residual networks"
            finish_accuracy_axes(axes, sorted(set(runs["depth"])), label=label, decimals=1, look=look)
            axes.legend(loc="best")
            return figure

    return Chart(
        "Test accuracy of residual networks beyond depth 2, and the fall that the margin allows.",
        narrate(lines.values()),
        tabulate(lines.values()),
        draw if len(points) > 1 else None,
    )


def chart_gap(evidence: Evidence) -> Chart:
    """Returns the chart of C4: the accuracy that the shortcut adds at each depth with a block, by seed."""
    runs = evidence.sweep.runs
    lines = read_lines(evidence.sweep, ("plain", "residual"), metrics=("test_accuracy",))
    columns = {
        depth: read_by_seed(runs, "test_accuracy", network=("residual", depth))
        - read_by_seed(runs, "test_accuracy", network=("plain", depth))
        for depth in evidence.depths
    }
    gaps = 100 * pd.DataFrame(columns).dropna(axis="columns", how="all").dropna(axis="index")

    def draw(look: Theme) -> Figure:
        with applied(look):
            figure, axes = make_figure()
            for _, seed in gaps.iterrows():
                axes.plot(gaps.columns, seed, color=look.text, linewidth=0.8, alpha=0.45)
            axes.plot(gaps.columns, gaps.mean(), color=look.text, linewidth=1.8, marker="D", markersize=5)
            if len(gaps) > 1:
                estimates = [mean_interval([float(value) for value in gaps[depth]]) for depth in gaps]
                axes.errorbar(
                    list(gaps.columns), [point.mean for point in estimates],
                    yerr=[0.0 if point.high is None else point.high - point.mean for point in estimates],
                    fmt="none", color=look.text, elinewidth=1.2, capsize=3,
                )  # fmt: skip
            axes.axhline(0, color=look.text, linewidth=0.8, linestyle=":")
            set_depth_axis(axes, [int(depth) for depth in gaps.columns], look=look)
            axes.set_ylabel("residual minus plain, points")
            return figure

    return Chart(
        "Residual minus plain in test accuracy: thin lines are seeds, the bold one their mean.",
        narrate(lines.values()),
        tabulate(lines.values()),
        draw if gaps.shape[1] > 1 and len(gaps) else None,
    )


CLAIM_CHARTS: dict[str, Callable[[Evidence], Chart | None]] = {
    "C1": chart_rise_and_fall,
    "C2": chart_errors,
    "C3": chart_residual,
    "C4": chart_gap,
    "C5": chart_losses,
    "C6": chart_probes,
    "C7": chart_branches,
    "C8": chart_activations,
    "C10": chart_starts,
}
