"""What a sweep came to, for a terminal: the table of the curve, the curve itself, its peak, C1 to C4."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from resdeg.analysis.curve import read_points
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import judge_claims
from resdeg.analysis.stats import Estimate
from resdeg.report.text import describe_budget, describe_missing, name_data, spell_cell, spell_half
from resdeg.report.verdict_text import count_seeds, describe_outcome, describe_peaks

Curves = Mapping[str, Mapping[int, Estimate]]  # points by family and depth

# The letters differ, so that families can be told apart without colour; so do solid and dashed lines.
MARKS = {"plain": "o", "residual": "x"}
BOTH = "*"
COLOURS = {"plain": "\x1b[33m", "residual": "\x1b[36m"}
PLAIN_TEXT = "\x1b[0m"
DASH = 4  # dots of a dashed line, and as many between them
BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bits by a dot's column and row
BROADEST = 96  # columns of a curve on a broad terminal
GUTTER = 8  # columns of the numbers beside it
CLAIMS = ("C1", "C2", "C3", "C4")


def summarize_sweep(
    sweep: SweepFrame, *, width: int = 80, colour: bool = False, unicode: bool = True
) -> list[str]:
    """Returns the lines of a table, a curve, its peaks and C1 to C4, for `width` columns, 40 or more.

    Args:
        colour: whether the curve may contain escape sequences for colours.
        unicode: whether it may contain braille and lines; otherwise it is ASCII.
    """
    curves: Curves = {
        family: read_points(sweep.curve, family, metric="test_accuracy") for family in sweep.config.families
    }
    if not any(curves.values()):
        return _wrap(f"{sweep.name}: no run has finished yet", width)
    evidence = Evidence(sweep)
    title = f"Test accuracy on {name_data(sweep.config)}, {describe_budget(sweep.config)}"
    missing = describe_missing(sweep)
    lines = [
        *_wrap(title, width),
        "",
        *tabulate_curves(curves, width=width),
        *(_wrap(missing, width) if missing else []),
        "",
        *draw_curves(curves, width=width, colour=colour, unicode=unicode),
        "",
        *(line for peak in describe_peaks(evidence) for line in _wrap(peak, width)),
        *(line for claim in describe_claims(evidence) for line in _wrap(claim, width, indent=15)),
    ]
    return lines if unicode else [line.replace("±", "+-") for line in lines]


def describe_claims(evidence: Evidence) -> list[str]:
    """Returns a line for each of C1 to C4: its verdict and a sentence, or what the sweep lacks for one."""
    lines = []
    for finding in judge_claims(evidence):
        if finding.claim.id in CLAIMS:
            said = finding.needs
            if said is None:
                said = f"{describe_outcome(finding).removesuffix('.')} ({count_seeds(finding)})."
            elif not said.startswith("interim"):
                said = f"It needs {said}."
            lines.append(f"{finding.claim.id} {finding.verdict:10}  {said}")
    return lines


def _wrap(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Returns the lines of `text`; those after the first are indented where that leaves room for words."""
    hanging = " " * (indent if width >= 3 * indent else 2)
    return textwrap.wrap(text, width, subsequent_indent=hanging, break_on_hyphens=False)


# ---------------------------------------------------------------- the table


def tabulate_curves(curves: Curves, *, width: int) -> list[str]:
    """Returns the lines of a table: depth, mean and 95 % interval of each family, seeds.

    Intervals are written as "low to high", or after a plus-minus sign where that is too broad.
    """
    depths = sorted({depth for points in curves.values() for depth in points})
    for spell in (_spell_ends, spell_half):
        rows = [["depth", *curves, "seeds"]]
        for depth in depths:
            points = [own.get(depth) for own in curves.values()]
            seeds = dict.fromkeys(str(point.seeds) if point else "-" for point in points)
            rows.append([str(depth), *map(spell, points), "/".join(seeds)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) <= width:
            break
    if any(point.low is not None for points in curves.values() for point in points.values()):
        note = "in brackets" if spell is _spell_ends else "behind ±"
        note = f"mean over seeds; {note} its 95 % interval"
    else:
        note = "one seed: no interval"
    lines = ["  ".join(cell.rjust(own) for cell, own in zip(row, widths, strict=True)) for row in rows]
    return [*lines, *_wrap(note, width)]


def _spell_ends(point: Estimate | None) -> str:
    return spell_cell(point).replace("\N{NO-BREAK SPACE}", " ")


# ---------------------------------------------------------------- the curve


@dataclass
class _Sheet:
    """Characters in which a curve is drawn, each with 2 x 4 dots for its lines.

    dots: by (column, row) of a dot, the families whose lines go through it. marks: by (column, row) of a
    character, the families that have a point there.
    """

    columns: int
    rows: int
    dots: dict[tuple[int, int], set[str]] = field(default_factory=dict)
    marks: dict[tuple[int, int], set[str]] = field(default_factory=dict)

    def draw_line(self, family: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Joins two positions, each from 0 to 1 along both axes; the line of residual networks is dashed."""
        first, last = self._locate_dot(start), self._locate_dot(end)
        steps = max(abs(last[0] - first[0]), abs(last[1] - first[1]), 1)
        for step in range(steps + 1):
            if family == "residual" and step // DASH % 2:
                continue
            dot = tuple(round(a + (b - a) * step / steps) for a, b in zip(first, last, strict=True))
            self.dots.setdefault((dot[0], dot[1]), set()).add(family)

    def draw_mark(self, family: str, position: tuple[float, float]) -> None:
        """Draws the mark of a family."""
        column, row = self._locate_dot(position)
        self.marks.setdefault((column // 2, row // 4), set()).add(family)

    def _locate_dot(self, position: tuple[float, float]) -> tuple[int, int]:
        x, y = position
        return round(x * (2 * self.columns - 1)), round((1 - y) * (4 * self.rows - 1))

    def render_row(self, row: int, *, colour: bool, unicode: bool) -> str:
        """Returns a row of characters."""
        return "".join(
            self._render_cell(column, row, colour=colour, unicode=unicode) for column in range(self.columns)
        ).rstrip()

    def _render_cell(self, column: int, row: int, *, colour: bool, unicode: bool) -> str:
        families, bits = set(self.marks.get((column, row), ())), 0
        if families:
            cell = BOTH if len(families) > 1 else MARKS[next(iter(families))]
        else:
            for x, y in ((x, y) for x in range(2) for y in range(4)):
                through = self.dots.get((2 * column + x, 4 * row + y), set())
                families |= through
                bits |= BRAILLE[x][y] if through else 0
            if not bits:
                return " "
            cell = chr(0x2800 + bits) if unicode else "."
        if colour and len(families) == 1:
            return COLOURS[next(iter(families))] + cell + PLAIN_TEXT
        return cell


def draw_curves(curves: Curves, *, width: int, colour: bool, unicode: bool) -> list[str]:
    """Returns the lines of a drawing: accuracy against depth, on a log scale of depth as in the figure."""
    sheet = _Sheet(max(8, min(width, BROADEST) - GUTTER), 8 if width < 60 else 12)
    means = [point.mean for points in curves.values() for point in points.values()]
    ticks = choose_ticks(min(means), max(means))
    depths = sorted({depth for points in curves.values() for depth in points})
    across = {depth: _locate_depth(depth, depths) for depth in depths}
    for family, points in curves.items():
        positions = [
            (across[depth], (point.mean - ticks[0]) / (ticks[-1] - ticks[0]))
            for depth, point in points.items()
        ]
        for start, end in pairwise(positions):
            sheet.draw_line(family, start, end)
        for position in positions:
            sheet.draw_mark(family, position)
    side, corner, floor = "│└─" if unicode else "|+-"
    labels = {
        round((1 - number / (len(ticks) - 1)) * (sheet.rows - 1)): f"{100 * tick:5.4g} %"
        for number, tick in enumerate(ticks)
    }
    lines = [
        f"{labels.get(row, ''):>7}{side}{sheet.render_row(row, colour=colour, unicode=unicode)}"
        for row in range(sheet.rows)
    ]
    lines += [f"{'':7}{corner}{floor * sheet.columns}", f"  depth {_label_depths(across, sheet.columns)}"]
    return [*lines, f"{'':8}{'   '.join(_name_marks(curves, sheet, colour=colour))}"]


def _name_marks(curves: Curves, sheet: _Sheet, *, colour: bool) -> Iterator[str]:
    for family in curves:
        mark = COLOURS[family] + MARKS[family] + PLAIN_TEXT if colour else MARKS[family]
        yield f"{mark} {family}"
    if any(len(families) > 1 for families in sheet.marks.values()):
        yield f"{BOTH} both"


def _locate_depth(depth: int, depths: Sequence[int]) -> float:
    """Returns the position of a depth on a log scale from 0 to 1, with a margin; 0.5 where it is alone."""
    first, last = math.log(depths[0]), math.log(depths[-1])
    return 0.5 if first == last else 0.03 + 0.94 * (math.log(depth) - first) / (last - first)


def _label_depths(across: Mapping[int, float], columns: int) -> str:
    """Returns the depths below their points; both ends come first, and those without room are left out."""
    line = [" "] * columns
    depths = [*across]
    for depth in dict.fromkeys([depths[0], depths[-1], *depths]):
        text = str(depth)
        start = int(across[depth] * (columns - 1)) - (len(text) - 1) // 2
        start = max(0, min(start, columns - len(text)))
        if all(cell == " " for cell in line[max(0, start - 1) : start + len(text) + 1]):
            line[start : start + len(text)] = text
    return "".join(line).rstrip()


def choose_ticks(low: float, high: float) -> list[float]:
    """Returns three to six round numbers, equally far apart, that enclose two fractions.

    >>> choose_ticks(0.62, 0.91)
    [0.6, 0.7, 0.8, 0.9, 1.0]
    >>> choose_ticks(0.5, 0.5)
    [0.495, 0.5, 0.505]
    """
    if high - low < 0.01:
        low = min(max(0.0, (low + high) / 2 - 0.005), 0.99)
        high = low + 0.01
    for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= 5:
            break
    return [round(number * step, 6) for number in range(first, max(last, first + 2) + 1)]
