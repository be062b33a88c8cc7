"""The axes of figures of networks: what x counts and y shows, and on which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate
from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, FixedLocator, LogLocator, MaxNLocator, NullLocator, PercentTicks
from resdeg.report.fitting import SpacedLabels
from resdeg.report.options import DEFAULTS, FigureOptions, Scale, X, Y
from resdeg.report.style import Theme
from resdeg.report.text import join_words

# Families stand side by side on the axis, so that intervals do not hide each other: on a log scale a step is
# a factor, on a linear one a share of the range.
DODGE = 1.025
NARROW, WIDE = (0.02, 0.02), (0.06, 0.06)  # margins beyond 0 and 1; the wide ones are for small axes
STEP = 0.007
_SIDES = {"plain": -1.0, "residual": 1.0}


@dataclass(frozen=True)
class NetworkAxis:
    """Where the networks of one sweep stand along x.

    Args:
        counts: what x counts, by family and depth; depths themselves are not listed.
        span: from the first to the last value of all sweeps on the axis.
    """

    x: X = "depth"
    scale: Scale = "log"
    counts: Mapping[tuple[str, int], float] = field(default_factory=dict)
    span: float = 0.0

    def locate(self, family: str, depth: int, steps: float = 1.0) -> float | None:
        """Returns the position of a network: so many steps beside its count, on its family's side.

        It is None if the count is not known.
        """
        count = depth if self.x == "depth" else self.counts.get((family, depth))
        if count is None:
            return None
        turns = steps * _SIDES[family]
        return count * DODGE**turns if self.scale == "log" else count + turns * STEP * self.span

    def arrange(
        self, points: Mapping[int, Estimate], family: str, steps: float = 1.0
    ) -> dict[float, Estimate]:
        """Returns the points of a family by position instead of depth."""
        positions = {self.locate(family, depth, steps): point for depth, point in points.items()}
        return {position: point for position, point in positions.items() if position is not None}


def read_axes(sweeps: Sequence[SweepFrame], options: FigureOptions) -> tuple[list[NetworkAxis], list[float]]:
    """Returns the axis of each sweep, on one scale for all, and the values that are to have ticks.

    Raises:
        UsageError: what x counts is not known of any run.
    """
    counts = [_count(sweep.runs, options.x) for sweep in sweeps]
    ticks = sorted({value for own in counts for value in own.values()})
    if not ticks:
        folders = dict.fromkeys(sweep.folder for sweep in sweeps)
        raise UsageError(
            f"{join_words(folders)}: no run has ended yet, and --x {options.x} needs the count of one",
            "let a run end, or draw it with --x depth",
        )
    span = ticks[-1] - ticks[0]
    return [NetworkAxis(options.x, options.scale, own, span) for own in counts], ticks


def set_network_axis(axes: Axes, ticks: Sequence[float], *, options: FigureOptions, look: Theme) -> None:
    """Gives the axes a scale along x whose ticks are `ticks`, which rise."""
    log = options.scale == "log"
    axes.set_xscale(options.scale)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    spell = spell_whole if options.x == "depth" else spell_count
    axes.xaxis.set_major_formatter(SpacedLabels(spell, size=look.points(10)))
    if log:
        axes.set_xlim(ticks[0] / 1.18, ticks[-1] * 1.18)
    else:
        width = ticks[-1] - ticks[0]
        margin = 0.05 * width if width else 0.1 * ticks[0]
        axes.set_xlim(ticks[0] - margin, ticks[-1] + margin)
    axes.set_xlabel(_label(options))


def set_depth_axis(axes: Axes, depths: Sequence[int], *, look: Theme) -> None:
    """Gives the axes a log scale of depth whose ticks are `depths`, which rise."""
    set_network_axis(axes, depths, options=DEFAULTS, look=look)


def set_count_axis(axes: Axes, *, look: Theme) -> None:
    """Gives narrow axes few ticks along x, at whole numbers, whose labels do not touch."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(SpacedLabels(spell_whole, size=look.points(10)))


def set_value_axis(
    axes: Axes,
    y: Y,
    *,
    look: Theme,
    values: Sequence[float] = (),
    decimals: int = 0,
    margins: tuple[float, float] = NARROW,
) -> None:
    """Gives the axes a scale of percent within 0 and 1, or for log-error one of powers of ten.

    Args:
        values: what is drawn; a log scale begins below the smallest of them that is not 0.
        margins: how far the scale may go beyond 0 and 1, for the halves of marks.
    """
    axes.yaxis.set_major_formatter(PercentTicks(decimals))
    if y != "log-error":
        low, high = axes.get_ylim()
        # An interval of few seeds can reach beyond 0 or 1; the axis does not follow it.
        axes.set_ylim(max(low, -margins[0]), min(high, 1 + margins[1]))
        return
    positive = [value for value in values if value > 0] or [0.01]
    low, high = min(positive), max(positive)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.25, min(1.0, high * 1.25) if high < 1 else 1.02)
    fine = (1.0, 1.5, *map(float, range(2, 10)))
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0) if high / low > 5 else fine
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=50))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(SpacedLabels(spell_percent, size=look.points(10)))


def spell_whole(value: float) -> str:
    return str(round(value))


def spell_percent(fraction: float) -> str:
    """Returns a fraction in percent, as short as it is exact.

    >>> spell_percent(0.05), spell_percent(0.002)
    ('5%', '0.2%')
    """
    return f"{100 * fraction:.10g}%"


def spell_count(value: float) -> str:
    """Returns a number of parameters or multiply-adds as tables do.

    >>> spell_count(634), spell_count(75_290), spell_count(272_474), spell_count(40_600_000)
    ('634', '75 k', '0.27 M', '41 M')
    >>> spell_count(1_730_714), spell_count(254_000_000)
    ('1.7 M', '254 M')
    """
    if value < 1000:
        return f"{value:g}"
    unit, divisor = ("k", 1e3) if value < 1e5 else ("M", 1e6) if value < 1e9 else ("G", 1e9)
    scaled = value / divisor
    decimals = 2 if scaled < 0.995 else 1 if scaled < 9.95 else 0
    return f"{scaled:.{decimals}f} {unit}"


def _label(options: FigureOptions) -> str:
    if not options.fitted:
        return "depth (weighted layers, 6n+2; log scale)"
    words = "multiply-adds per image" if options.x == "multiply-adds" else options.x
    return f"{words} (log scale)" if options.scale == "log" else words


def _count(runs: pd.DataFrame, x: X) -> dict[tuple[str, int], float]:
    """Returns what x counts by family and depth; runs that have not ended do not know their own count."""
    column = {"depth": "depth", "parameters": "parameters", "multiply-adds": "multiply_adds"}[x]
    rows = runs.dropna(subset=[column]).to_dict("records")
    return {(str(row["family"]), int(row["depth"])): float(row[column]) for row in rows}
