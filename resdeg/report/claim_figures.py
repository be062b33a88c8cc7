"""One figure for each claim: the numbers that it is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from resdeg.analysis.curve import by_seed, with_errors
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import peaks
from resdeg.analysis.stats import mean_interval
from resdeg.config import Family
from resdeg.report import words
from resdeg.report.captions import family_handles
from resdeg.report.cause_figures import CAUSE_FIGURES
from resdeg.report.claim_figure import ClaimFigure, Draw, new_figure
from resdeg.report.figures import DODGE, chance_line, depth_axis, series
from resdeg.report.style import LineStyle, Theme, applied
from resdeg.report.tables import by_depth

TRAINING_LINES: dict[str, tuple[str, LineStyle]] = {
    "test_error": ("test", "-"),
    "running_train_error": ("training, running", ":"),
    "train_error": ("training, clean", "--"),
    "recomputed_train_error": ("training, statistics recomputed", "-."),
}


def accuracy_figure(sweep: SweepFrame, look: Theme) -> Figure:
    """Test accuracy against depth, both families: the curve itself."""
    with applied(look):
        figure, axes = new_figure()
        for family in sweep.config.families:
            shift = DODGE if family == "residual" else 1 / DODGE
            series(axes, sweep.curve, sweep.runs, family, "test_accuracy", look.families[family], "-", shift)
        chance_line(axes, sweep, look)
        _finish(axes, sweep, "test accuracy")
        axes.legend(handles=family_handles(sweep, look), loc="best")
        return figure


def rise_and_fall(sweep: SweepFrame, look: Theme) -> Figure | None:
    """C1: plain test accuracy, and the interval of its peak."""
    evidence = Evidence(sweep)
    if (
        len(
            [
                depth
                for depth in evidence.depths
                if len(by_seed(sweep.runs, "test_accuracy", ("plain", depth)))
            ]
        )
        < 2
    ):
        return None
    curve_peak = None if evidence.interim else peaks(evidence).get("plain")
    with applied(look):
        figure, axes = new_figure()
        ink = look.families["plain"]
        series(axes, sweep.curve, sweep.runs, "plain", "test_accuracy", ink, "-", 1.0)
        chance_line(axes, sweep, look)
        _finish(axes, sweep, "test accuracy")
        if curve_peak is not None and curve_peak.seeds >= evidence.rules.least_seeds:
            low, high = axes.get_xlim()
            axes.axvspan(
                low if curve_peak.low is None else curve_peak.low,
                high if curve_peak.high is None else curve_peak.high,
                color=look.faint, alpha=0.55, linewidth=0, zorder=0, label="the peak lies here",
            )  # fmt: skip
            axes.legend(loc="best")
        return figure


def training_errors(sweep: SweepFrame, look: Theme) -> Figure | None:
    """C2: the training errors of plain networks beside their test error."""
    points = sweep.curve
    plain = points[points["family"] == "plain"]
    there = [metric for metric in TRAINING_LINES if metric in set(plain["metric"])]
    if plain.empty:
        return None
    with applied(look):
        figure, axes = new_figure()
        ink, runs = look.families["plain"], with_errors(sweep.runs)
        for number, metric in enumerate(there):
            shift = DODGE ** (number - (len(there) - 1) / 2)
            series(axes, points, runs, "plain", metric, ink, TRAINING_LINES[metric][1], shift, seeds=False)
        handles = [
            Line2D([], [], color=ink.colour, linestyle=TRAINING_LINES[m][1], label=TRAINING_LINES[m][0])
            for m in there
        ]
        _finish(axes, sweep, "error of plain networks")
        axes.legend(handles=handles, loc="best")
        return figure


def residual_holds(sweep: SweepFrame, look: Theme) -> Figure | None:
    """C3: residual test accuracy of depths with a block, and the fall that the margin allows."""
    evidence = Evidence(sweep)
    beyond = sweep.runs[(sweep.runs["depth"] > 2) & (sweep.runs["family"] == "residual")]
    means = beyond[beyond["status"] == "finished"].groupby("depth")["test_accuracy"].mean()
    if len(means) < 2:
        return None
    allowed = evidence.rules.fall[evidence.schedule]
    best = float(means[means.index < means.index.max()].max())
    points = sweep.curve[sweep.curve["depth"] > 2]
    with applied(look):
        figure, axes = new_figure()
        series(axes, points, beyond, "residual", "test_accuracy", look.families["residual"], "-", 1.0)
        axes.axhspan(
            best - allowed, best, color=look.faint, alpha=0.55, linewidth=0, zorder=0,
            label=f"within {allowed * 100:.0f} points of the best shallower depth",
        )  # fmt: skip
        _finish(axes, sweep, "test accuracy of residual networks", sorted(set(beyond["depth"])), decimals=1)
        axes.legend(loc="best")
        return figure


def gap_by_depth(sweep: SweepFrame, look: Theme) -> Figure | None:
    """C4: what the shortcut is worth at each depth with a block, seed by seed."""
    columns = {
        depth: by_seed(sweep.runs, "test_accuracy", ("residual", depth))
        - by_seed(sweep.runs, "test_accuracy", ("plain", depth))
        for depth in Evidence(sweep).depths
    }
    points = 100 * pd.DataFrame(columns).dropna(axis="columns", how="all").dropna(axis="index")
    if points.shape[1] < 2 or points.empty:
        return None
    with applied(look):
        figure, axes = new_figure()
        for _, seed in points.iterrows():
            axes.plot(points.columns, seed, color=look.text, linewidth=0.8, alpha=0.45)
        axes.plot(points.columns, points.mean(), color=look.text, linewidth=1.8, marker="D", markersize=5)
        if len(points) > 1:
            _bars(axes, points, look)
        axes.axhline(0, color=look.text, linewidth=0.8, linestyle=":")
        depth_axis(axes, [int(depth) for depth in points.columns])
        axes.set_ylabel("residual minus plain, points")
        return figure


def _bars(axes: Axes, points: pd.DataFrame, look: Theme) -> None:
    estimates = [mean_interval([float(value) for value in points[depth]]) for depth in points]
    reach = [0.0 if e.high is None else e.high - e.mean for e in estimates]
    axes.errorbar(
        list(points.columns), [e.mean for e in estimates], yerr=reach, fmt="none", color=look.text,
        elinewidth=1.2, capsize=3,
    )  # fmt: skip


def _finish(
    axes: Axes, sweep: SweepFrame, label: str, depths: Sequence[int] | None = None, decimals: int = 0
) -> None:
    depth_axis(axes, list(depths or sorted(set(sweep.runs["depth"]))))
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals))
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.02), min(high, 1.02))


def _of_curve(
    draw: Draw, families: tuple[Family, ...], metrics: tuple[str, ...], caption: str
) -> ClaimFigure:
    """A figure of points of the curve."""
    return ClaimFigure(
        draw,
        table=lambda sweep: by_depth(sweep, families, metrics),
        told=lambda sweep: words.told(sweep, metrics, families),
        caption=caption,
    )


CLAIM_FIGURES = {
    "C1": _of_curve(
        rise_and_fall,
        ("plain",),
        ("test_accuracy",),
        "Test accuracy of plain networks. Shaded: where its peak lies among depths with a block, at 95 %.",
    ),
    "C2": _of_curve(
        training_errors,
        ("plain",),
        tuple(TRAINING_LINES),
        "Errors of plain networks, in training and test. Running: over augmented batches while weights move.",
    ),
    "C3": _of_curve(
        residual_holds,
        ("residual",),
        ("test_accuracy",),
        "Test accuracy of residual networks beyond depth 2, and the fall that the margin allows.",
    ),
    "C4": _of_curve(
        gap_by_depth,
        ("plain", "residual"),
        ("test_accuracy",),
        "Residual minus plain in test accuracy: thin lines are seeds, the bold one their mean.",
    ),
    **CAUSE_FIGURES,
}
