"""What the report shows of one claim beside its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resdeg.analysis.frame import SweepFrame
from resdeg.report.style import Theme
from resdeg.report.tables import Table

SIZE = (4.5, 3.1)  # inches; small, so that on a phone the words in it are not
Draw = Callable[[SweepFrame, Theme], Figure | None]


@dataclass(frozen=True)
class ClaimFigure:
    """A figure, the numbers in it as a table and in words, and the line below it.

    draw, table: None where the sweep has no such numbers.
    """

    draw: Draw
    table: Callable[[SweepFrame], Table | None]
    told: Callable[[SweepFrame], str]
    caption: str


def new_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()
