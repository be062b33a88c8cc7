"""The marks of figures of networks: points with intervals, seeds, unfinished runs, chance, the legend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from resdeg import data
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate
from resdeg.report.canvas import Axes, Line2D
from resdeg.report.style import Ink, Stroke, Theme

TEST: Stroke = "-"
Locate = Callable[[int], float | None]


def draw_points(
    axes: Axes,
    points: Mapping[float, Estimate] | Mapping[int, Estimate],
    *,
    ink: Ink,
    style: Stroke = TEST,
    small: bool = False,
    thin: bool = False,
    log: bool = False,
) -> None:
    """Draws means, joined, with their intervals as bars.

    Args:
        points: by position. small, thin: whether its markers are small, and its line thin.
        log: whether the axis has no 0; a mean of 0 is then an open triangle at its lower end.
    """
    if log:
        for position in [position for position, point in points.items() if point.mean <= 0]:
            axes.plot(
                [position], [0.02], transform=axes.get_xaxis_transform(), marker="v", linestyle="none",
                markersize=6 * ink.weight, markeredgecolor=ink.colour, markerfacecolor="none", zorder=5,
            )  # fmt: skip
        points = {position: point for position, point in points.items() if point.mean > 0}
    if not points:
        return
    axes.plot(
        list(points), [point.mean for point in points.values()],
        linestyle=style, color=ink.colour, marker=ink.marker, linewidth=(0.9 if thin else 1.8) * ink.weight,
        markersize=(4 if small else 6) * ink.weight,
        markerfacecolor=ink.colour if ink.filled else axes.get_facecolor(), markeredgecolor=ink.colour,
        markeredgewidth=min(1.0, ink.weight), zorder=3,
    )  # fmt: skip
    bars = [
        (position, point.mean, point.mean - point.low, point.high - point.mean)
        for position, point in points.items()
        if point.low is not None and point.high is not None
    ]
    if bars:
        x, mean, below, above = zip(*bars, strict=True)
        axes.errorbar(
            x, mean, yerr=[below, above], fmt="none", color=ink.colour, elinewidth=1.2 * ink.weight,
            capsize=3 * ink.weight, zorder=2,
        )  # fmt: skip


def draw_seeds(axes: Axes, runs: pd.DataFrame, *, numbers: tuple[str, str], ink: Ink, locate: Locate) -> None:
    """Draws each finished run as a dot, where there are several seeds.

    Args:
        numbers: family and metric. locate: the position of a depth.
    """
    family, metric = numbers
    finished = runs[(runs["family"] == family) & (runs["status"] == "finished")]
    if finished["seed"].nunique() > 1:
        axes.scatter(
            [0.0 if (x := locate(depth)) is None else x for depth in finished["depth"]],
            finished[metric].astype(float), s=9 * ink.weight**2, color=ink.colour, alpha=0.55, linewidths=0,
            zorder=4,
        )  # fmt: skip


def draw_unfinished(
    axes: Axes, runs: pd.DataFrame, *, look: Theme, locate: Callable[[str, int], float | None],
    metric: str = "test_accuracy",
) -> None:  # fmt: skip
    """Draws the runs that have no final number, which are in no mean, by marks of their own."""
    for _, run in runs[runs["status"] != "finished"].iterrows():
        ink, position = look.families[run["family"]], locate(run["family"], run["depth"])
        if position is None:
            continue
        if run["status"] == "diverged":
            axes.plot(
                [position], [0.03], transform=axes.get_xaxis_transform(), marker="X",
                markersize=9 * ink.weight, color=ink.colour, linestyle="none", clip_on=False, zorder=5,
            )  # fmt: skip
        elif pd.notna(run[metric]):
            axes.plot(
                [position], [run[metric]], marker="v", markersize=7 * ink.weight, linestyle="none",
                markerfacecolor="none", markeredgecolor=ink.colour, zorder=5,
            )  # fmt: skip


def draw_chance(axes: Axes, sweep: SweepFrame, *, look: Theme, error: bool = False) -> None:
    """Draws the accuracy, or the error, of a guess, dotted."""
    chance = 1 / data.shape(sweep.config.data).classes
    level = 1 - chance if error else chance
    axes.axhline(level, color=look.text, linewidth=0.8, linestyle=":")
    axes.annotate(
        "chance", (0.25, level), xycoords=("axes fraction", "data"), fontsize=look.points(8),
        xytext=(0, 3), textcoords="offset points", ha="center", annotation_clip=True,
    )  # fmt: skip


def make_family_handles(families: Iterable[str], look: Theme) -> list[Line2D]:
    """Returns the legend entries of families, each once."""
    return [_make_family_handle(family, look) for family in dict.fromkeys(families)]


def _make_family_handle(family: str, look: Theme) -> Line2D:
    ink = look.families[family]
    face = ink.colour if ink.filled else look.paper
    return Line2D(
        [], [], color=ink.colour, marker=ink.marker, markerfacecolor=face, linewidth=1.8 * ink.weight,
        markersize=6 * ink.weight, label=family,
    )  # fmt: skip


def make_status_handles(statuses: set[str], look: Theme) -> list[Line2D]:
    """Returns the legend entries of runs that have no final number."""
    handles = []
    if "diverged" in statuses:
        handles.append(Line2D([], [], color=look.text, marker="X", linestyle="none", label="diverged"))
    if statuses & {"running", "interrupted", "stopped", "failed"}:
        handles.append(
            Line2D(
                [], [], color=look.text, marker="v", markerfacecolor="none", linestyle="none",
                label="not finished: last epoch so far",
            )
        )  # fmt: skip
    return handles
