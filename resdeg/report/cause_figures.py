"""Figures and tables of C5 to C8: numbers by depth, a line for each kind of network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from resdeg.analysis.blocks import measured_blocks
from resdeg.analysis.causes import OWN, activation_decreases, constructed_losses, identity_arm
from resdeg.analysis.cells import Cells, Needs
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import Family
from resdeg.report import words
from resdeg.report.claim_figure import ClaimFigure, new_figure
from resdeg.report.figures import DODGE, depth_axis
from resdeg.report.style import LineStyle, Theme, applied
from resdeg.report.tables import Table
from resdeg.report.units import changed

DASHES: tuple[LineStyle, ...] = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Lines:
    """Numbers of several kinds of networks against depth.

    by_kind: seeds by depths of each kind. ratio: they are log2 of what is shown. decimals: of a number; None
    where it is a fraction, shown in percent.
    """

    by_kind: dict[str, pd.DataFrame]
    label: str
    family: Family
    decimals: int | None = None
    ratio: bool = False

    def point(self, kind: str, depth: int) -> Estimate | None:
        """Mean over seeds and its interval; of a ratio, the geometric mean."""
        table = self.by_kind[kind]
        values = [float(value) for value in table[depth].dropna()] if depth in table else []
        if not values:
            return None
        found = mean_interval(values)
        return _exponential(found) if self.ratio else found

    @property
    def depths(self) -> list[int]:
        return sorted({int(depth) for table in self.by_kind.values() for depth in table.columns})


def _exponential(of: Estimate) -> Estimate:
    low, high = (None if end is None else 2.0**end for end in (of.low, of.high))
    return Estimate(2.0**of.mean, low, high, of.seeds)


Read = Callable[[SweepFrame], Lines | None]


def _identity_starts(sweep: SweepFrame) -> Lines | None:
    cells = Cells.of(sweep)
    arm = identity_arm(cells)
    if isinstance(arm, Needs):
        return None
    kinds = {"He's start": cells.accuracies("plain"), "start as identities": arm.accuracies("plain")}
    return Lines(kinds, "test accuracy of plain networks", "plain")


def _branches(sweep: SweepFrame) -> Lines | None:
    cells = Cells.of(sweep)
    kinds = {
        name: cells.branches("residual", state)
        for name, state in (("trained", "final"), ("at initial values", "initial"))
    }
    if not any(table.size for table in kinds.values()):
        return None
    return Lines(kinds, "||F(x)|| / ||x||, median over blocks", "residual", decimals=2, ratio=True)


def _activations(sweep: SweepFrame) -> Lines | None:
    kinds = activation_decreases(Cells.of(sweep))
    return (
        None
        if isinstance(kinds, Needs)
        else Lines(kinds, "decrease of ||F|| / ||x||, halvings", "residual", 2)
    )


def _draw(read: Read) -> Callable[[SweepFrame, Theme], Figure | None]:
    def draw(sweep: SweepFrame, look: Theme) -> Figure | None:
        lines = read(sweep)
        if lines is None:
            return None
        with applied(look):
            figure, axes = new_figure()
            ink = look.families[lines.family]
            for number, (kind, table) in enumerate(lines.by_kind.items()):
                shift = DODGE ** (number - (len(lines.by_kind) - 1) / 2)
                found = [(d, point) for d in table.columns if (point := lines.point(kind, int(d)))]
                x = [depth * shift for depth, _ in found]
                axes.plot(
                    x, [point.mean for _, point in found], linestyle=DASHES[number % 4], color=ink.colour,
                    marker=ink.marker, markersize=5, linewidth=1.8, label=kind,
                    markerfacecolor=ink.colour if number == 0 else look.paper,
                )  # fmt: skip
                for place, (_, point) in zip(x, found, strict=True):
                    if point.low is not None and point.high is not None:
                        axes.plot([place, place], [point.low, point.high], color=ink.colour, linewidth=1.2)
            depth_axis(axes, lines.depths)
            axes.set_ylabel(lines.label)
            if lines.decimals is None:
                axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.legend(loc="best")
            return figure

    return draw


def _table(read: Read) -> Callable[[SweepFrame], Table | None]:
    def table(sweep: SweepFrame) -> Table | None:
        lines = read(sweep)
        if lines is None:
            return None
        rows = []
        for depth in lines.depths:
            points = [lines.point(kind, depth) for kind in lines.by_kind]
            seeds = " / ".join(dict.fromkeys(str(point.seeds) for point in points if point))
            rows.append([str(depth), *(words.cell(point, lines.decimals) for point in points), seeds])
        return ["depth", *lines.by_kind, "seeds"], rows

    return table


def _told(read: Read) -> Callable[[SweepFrame], str]:
    def told(sweep: SweepFrame) -> str:
        lines = read(sweep)
        if lines is None:
            return ""
        said = []
        for kind in lines.by_kind:
            points = ((depth, lines.point(kind, depth)) for depth in lines.depths)
            each = [
                f"{words.mean(point, lines.decimals)} at depth {depth}" for depth, point in points if point
            ]
            said.append(f"{kind}: {', '.join(each)}")
        return f"{lines.label[:1].upper()}{lines.label[1:]}. {'; '.join(said)}."

    return told


def _of_lines(read: Read, caption: str) -> ClaimFigure:
    return ClaimFigure(_draw(read), _table(read), _told(read), caption)


def _starts_table(sweep: SweepFrame) -> Table | None:
    """Accuracies by start and, where blocks were measured, how near the late ones are to the identity."""
    table, arm = _table(_identity_starts)(sweep), identity_arm(Cells.of(sweep))
    if table is None or isinstance(arm, Needs):
        return None
    head, rows = table
    late = {(of.arm, str(of.depth)): of.late for of in measured_blocks(sweep) if of.family == "plain"}
    for name, column in (("distance", "distance, late half"), ("cka", "CKA, late half")):
        pairs = [[late.get((of, row[0]), {}).get(name) for of in ("", arm.sweep.arm)] for row in rows]
        if any(value is not None for pair in pairs for value in pair):
            told = (" / ".join("-" if value is None else f"{value:.2f}" for value in pair) for pair in pairs)
            head = [*head[:-1], column, head[-1]]
            rows = [[*row[:-1], pair, row[-1]] for row, pair in zip(rows, told, strict=True)]
    return head, rows


# ---------------------------------------------------------------- C5, at one depth


def _losses(sweep: SweepFrame) -> dict[str, Estimate]:
    table = constructed_losses(Cells.of(sweep))
    if isinstance(table, Needs):
        return {}
    return {str(name): mean_interval([float(value) for value in table[name]]) for name in table}


def _draw_losses(sweep: SweepFrame, look: Theme) -> Figure | None:
    table = constructed_losses(Cells.of(sweep))
    if isinstance(table, Needs):
        return None
    with applied(look):
        figure, axes = new_figure()
        colour = look.families["plain"].colour
        for place, (name, point) in enumerate(_losses(sweep).items()):
            if point.low is not None and point.high is not None:
                axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.2)
            axes.plot([place], [point.mean], color=colour, marker="o", markersize=6)
            spread = np.linspace(0.12, 0.24, len(table))
            axes.scatter(place + spread, table[name], s=9, color=colour, alpha=0.55, linewidths=0)
        axes.set_xticks(range(len(table.columns)), [str(name) for name in table], rotation=15)
        axes.set_xlim(-0.5, len(table.columns) - 0.5)
        axes.set_ylabel("clean training loss, nats")
        return figure


def _losses_table(sweep: SweepFrame) -> Table | None:
    found = _losses(sweep)
    if not found:
        return None
    equal, _ = sweep.diagnostics
    equal = equal[equal["kind"] == "construction"]
    rows = []
    for name, point in found.items():
        of = equal[equal["arm"] == name]
        how = f"{of['value'].max():.1e} on {int(of['images'].max()):,} images" if len(of) else "-"
        what = "" if name == OWN else changed(sweep.config.changes(name))
        rows.append([name, what or "-", words.cell(point, 3), str(point.seeds), how])
    return ["network", "made by", "clean training loss, nats", "seeds", "largest difference of a logit"], rows


def _told_losses(sweep: SweepFrame) -> str:
    each = [f"{words.mean(point, 3)} nats, {name}" for name, point in _losses(sweep).items()]
    return f"Clean training loss of the deepest plain network: {'; '.join(each)}."


CAUSE_FIGURES = {
    "C5": ClaimFigure(
        _draw_losses,
        _losses_table,
        _told_losses,
        "Clean training loss of the deepest plain network from its own start and constructed; small dots are "
        "seeds. The difference of logits is that of the construction, before it is trained on.",
    ),
    "C6": ClaimFigure(
        _draw(_identity_starts),
        _starts_table,
        _told(_identity_starts),
        "Test accuracy of plain networks by their start; bars are 95 % intervals. Distance to the identity "
        "and debiased CKA of trained networks: medians of the late half of the blocks, of either start.",
    ),
    "C7": _of_lines(
        _branches,
        "Size of the branch against its input in residual networks, at initial values and trained; blocks "
        "that change the shape are left out.",
    ),
    "C8": _of_lines(
        _activations,
        "How much smaller the branches of residual networks get against their input in training, by "
        "nonlinearity: 1 is a half, below 0 they get larger.",
    ),
}
