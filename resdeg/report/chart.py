"""A chart: one set of numbers, from which its figure, its table and its alternative text follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from resdeg.analysis.curve import read_points
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.metrics import CURVE_METRICS
from resdeg.analysis.stats import Estimate
from resdeg.report.canvas import Axes, Figure
from resdeg.report.style import Theme
from resdeg.report.text import spell_cell, spell_mean

SIZE = (4.5, 3.1)  # inches; small, because its text must be readable on a phone
Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head, rows
Draw = Callable[[Theme], Figure]


@dataclass(frozen=True)
class Chart:
    """A figure, the numbers in it as a table and in words, and the line below it.

    Args:
        text: the numbers for readers who cannot see the figure.
        table: None where there are no numbers. draw: None where there are too few for a figure.
    """

    caption: str
    text: str
    table: Table | None
    draw: Draw | None


@dataclass(frozen=True)
class Line:
    """The points of one line: means over seeds with their intervals, by depth or by block.

    Args:
        name: the head of its column. subject: what the alternative text calls it.
    """

    name: str
    points: Mapping[int, Estimate]
    subject: str


def read_lines(
    sweep: SweepFrame, families: Iterable[str], *, metrics: Iterable[str]
) -> dict[tuple[str, str], Line]:
    """Returns lines of the curve by family and metric, those without a point left out."""
    names = [(family, metric) for family in families for metric in metrics]
    return {
        (family, metric): Line(
            f"{family}, {CURVE_METRICS[metric]}",
            points,
            f"{family.capitalize()} networks, {CURVE_METRICS[metric]}",
        )
        for family, metric in names
        if (points := read_points(sweep.curve, family, metric=metric))
    }


def tabulate(
    lines: Iterable[Line],
    *,
    axis: str = "depth",
    decimals: int | None = None,
    columns: Mapping[str, Mapping[int, str]] | None = None,
    spell: Callable[[Estimate | None, int | None], str] = spell_cell,
) -> Table | None:
    """Returns a row per depth or block, a column per line, and the seeds; None without a point.

    Args:
        axis: the head of the first column. decimals: see `spell_mean`.
        columns: further columns by their heads, before the seeds. spell: writes a point with `decimals`.
    """
    lines, further = list(lines), columns or {}
    positions = sorted({position for line in lines for position in line.points})
    if not positions:
        return None
    rows = []
    for position in positions:
        points = [line.points.get(position) for line in lines]
        seeds = " / ".join(dict.fromkeys(str(point.seeds) for point in points if point))
        cells = (spell(point, decimals) for point in points)
        rows.append([str(position), *cells, *(column[position] for column in further.values()), seeds])
    return [axis, *(line.name for line in lines), *further, "seeds"], rows


def spell_pipes(table: Table) -> str:
    """Returns a table in Markdown, a line per row."""
    head, rows = table
    lines = [f"| {' | '.join(row)} |\n" for row in (head, *rows)]
    return "".join([lines[0], "|" + "---|" * len(head) + "\n", *lines[1:]])


def narrate(
    lines: Iterable[Line], *, axis: str = "depth", decimals: int | None = None, label: str = ""
) -> str:
    """Returns the points of all lines in words: a sentence per line, or one sentence after a label."""
    clauses = []
    for line in lines:
        points = sorted(line.points.items())
        each = (f"{spell_mean(point, decimals)} at {axis} {position}" for position, point in points)
        clauses.append(f"{line.subject}: {', '.join(each)}")
    if label:
        return f"{label[:1].upper()}{label[1:]}. {'; '.join(clauses)}."
    return " ".join(f"{clause}." for clause in clauses)


def make_figure() -> tuple[Figure, Axes]:
    """Returns an empty figure of the size that a page has."""
    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()
