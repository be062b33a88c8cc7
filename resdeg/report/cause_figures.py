"""Figures and tables of C5 to C8 and C10: numbers by depth, a line for each kind of network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from resdeg.analysis.blocks import measured_blocks
from resdeg.analysis.causes import activation_arms, decreases_on_the_way
from resdeg.analysis.curve import by_seed
from resdeg.analysis.evidence import OWN, RELU, Evidence, NotAsked
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
    where it is a fraction, shown in percent. axis: what the columns are, depths or blocks.
    """

    by_kind: dict[str, pd.DataFrame]
    label: str
    family: Family
    decimals: int | None = None
    ratio: bool = False
    axis: str = "depth"

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


def _starts(sweep: SweepFrame) -> Lines | None:
    arms = {
        network: sweep.arms[arm] for network, arm in Evidence(sweep).start_arms.items() if arm in sweep.arms
    }
    if not arms:
        return None
    names = {"identity": "start as identities", "orthogonal": "orthogonal start"}
    kinds = {"He's start": sweep} | {names[network]: arm for network, arm in arms.items()}
    tables = {name: _accuracies(kind) for name, kind in kinds.items()}
    return Lines(tables, "test accuracy of plain networks", "plain")


def _accuracies(sweep: SweepFrame) -> pd.DataFrame:
    """Seeds by depths of plain test accuracy."""
    depths = sorted(set(sweep.runs.loc[sweep.runs["family"] == "plain", "depth"]))
    table = {int(depth): by_seed(sweep.runs, "test_accuracy", ("plain", int(depth))) for depth in depths}
    return pd.DataFrame(table).dropna(axis="columns", how="all")


def _probes(sweep: SweepFrame) -> Lines | None:
    """C6: probes of the last stage of the deepest plain networks, by block."""
    evidence = Evidence(sweep)
    try:
        by_network, _ = evidence.probes()
    except (NotAsked, IndexError):
        return None
    first = evidence.last_block - min(map(len, by_network.values())) + 1
    rows = {seed: dict(enumerate(numbers, start=first)) for seed, numbers in by_network.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return Lines(
        {f"plain-{evidence.deepest}": table}, "accuracy of a probe behind the block", "plain", axis="block"
    )


def _branches(sweep: SweepFrame) -> Lines | None:
    evidence = Evidence(sweep)
    kinds = {"trained": "final", "at initial values": "initial"}
    tables = {
        name: pd.DataFrame(
            {
                depth: pd.Series(
                    {
                        s: states[state]
                        for s, states in evidence.branches("", depth).items()
                        if state in states
                    },
                    dtype=float,
                )
                for depth in evidence.depths
            }
        ).dropna(axis="columns", how="all")
        for name, state in kinds.items()
    }
    if not any(table.size for table in tables.values()):
        return None
    return Lines(tables, "||F(x)|| / ||x||, median over blocks", "residual", decimals=2, ratio=True)


def _activations(sweep: SweepFrame) -> Lines | None:
    evidence = Evidence(sweep)
    arms = [arm for arm in activation_arms(evidence) if arm in evidence.arms]
    if not arms:
        return None
    decreases = {
        name: decreases_on_the_way(evidence, arm) for name, arm in {RELU: "", **{a: a for a in arms}}.items()
    }
    tables = {name: pd.DataFrame({evidence.deepest: column}) for name, column in decreases.items() if column}
    if len(tables) < 2:
        return None
    return Lines(tables, "decrease of ||F|| / ||x||, halvings", "residual", 2)


def _draw(read: Read) -> Callable[[SweepFrame, Theme], Figure | None]:
    def draw(sweep: SweepFrame, look: Theme) -> Figure | None:
        lines = read(sweep)
        if lines is None:
            return None
        with applied(look):
            figure, axes = new_figure()
            ink = look.families[lines.family]
            for number, (kind, table) in enumerate(lines.by_kind.items()):
                shift = 1.0 if lines.axis != "depth" else DODGE ** (number - (len(lines.by_kind) - 1) / 2)
                columns = [int(column) for column in table.columns]
                found = [(column, point) for column in columns if (point := lines.point(kind, column))]
                x = [column * shift for column, _ in found]
                axes.plot(
                    x, [point.mean for _, point in found], linestyle=DASHES[number % 4], color=ink.colour,
                    marker=ink.marker, markersize=5, linewidth=1.8, label=kind,
                    markerfacecolor=ink.colour if number == 0 else look.paper,
                )  # fmt: skip
                for place, (_, point) in zip(x, found, strict=True):
                    if point.low is not None and point.high is not None:
                        axes.plot([place, place], [point.low, point.high], color=ink.colour, linewidth=1.2)
            if lines.axis == "depth":
                depth_axis(axes, lines.depths)
            else:
                axes.set_xlabel(lines.axis)
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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
        return [lines.axis, *lines.by_kind, "seeds"], rows

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
                f"{words.mean(point, lines.decimals)} at {lines.axis} {depth}"
                for depth, point in points
                if point
            ]
            said.append(f"{kind}: {', '.join(each)}")
        return f"{lines.label[:1].upper()}{lines.label[1:]}. {'; '.join(said)}."

    return told


def _of_lines(read: Read, caption: str) -> ClaimFigure:
    return ClaimFigure(_draw(read), _table(read), _told(read), caption)


def _starts_table(sweep: SweepFrame) -> Table | None:
    """Accuracies by start and, where blocks were measured, how near the late ones are to the identity."""
    table, arms = _table(_starts)(sweep), Evidence(sweep).start_arms.values()
    if table is None:
        return None
    head, rows = table
    late = {(net.arm, str(net.depth)): net.late for net in measured_blocks(sweep) if net.family == "plain"}
    for name, column in (("distance", "distance, late half"), ("cka", "CKA, late half")):
        groups = [[late.get((arm, row[0]), {}).get(name) for arm in ("", *arms)] for row in rows]
        if any(value is not None for group in groups for value in group):
            cells = (
                " / ".join("-" if value is None else f"{value:.2f}" for value in group) for group in groups
            )
            head = [*head[:-1], column, head[-1]]
            rows = [[*row[:-1], cell, row[-1]] for row, cell in zip(rows, cells, strict=True)]
    return head, rows


# ---------------------------------------------------------------- C5, at one depth


def _losses(sweep: SweepFrame) -> dict[str, Sequence[float]]:
    """Clean training losses of the deepest network from its own start and of each constructed one."""
    evidence = Evidence(sweep)
    if not evidence.starts_from_he:
        return {}
    try:
        columns = evidence.losses("train_loss")
    except NotAsked:
        return {}
    seeds = [seed for seed in columns[OWN] if all(seed in column for column in columns.values())]
    return {name: [column[seed] for seed in seeds] for name, column in columns.items()} if seeds else {}


def _draw_losses(sweep: SweepFrame, look: Theme) -> Figure | None:
    columns = _losses(sweep)
    if not columns:
        return None
    with applied(look):
        figure, axes = new_figure()
        colour = look.families["plain"].colour
        for place, losses in enumerate(columns.values()):
            point = mean_interval(losses)
            if point.low is not None and point.high is not None:
                axes.plot([place, place], [point.low, point.high], color=colour, linewidth=1.2)
            axes.plot([place], [point.mean], color=colour, marker="o", markersize=6)
            spread = np.linspace(0.12, 0.24, len(losses))
            axes.scatter(place + spread, losses, s=9, color=colour, alpha=0.55, linewidths=0)
        axes.set_xticks(range(len(columns)), list(columns), rotation=15)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylabel("clean training loss, nats")
        return figure


def _losses_table(sweep: SweepFrame) -> Table | None:
    found = _losses(sweep)
    if not found:
        return None
    equal, _ = sweep.diagnostics
    equal = equal[equal["kind"] == "construction"]
    rows = []
    for name, losses in found.items():
        point = mean_interval(losses)
        of = equal[equal["arm"] == name]
        how = f"{of['value'].max():.1e} on {int(of['images'].max()):,} images" if len(of) else "-"
        what = "" if name == OWN else changed(sweep.config.changes(name))
        rows.append([name, what or "-", words.cell(point, 3), str(point.seeds), how])
    return ["network", "made by", "clean training loss, nats", "seeds", "largest difference of a logit"], rows


def _told_losses(sweep: SweepFrame) -> str:
    each = [f"{words.mean(mean_interval(losses), 3)} nats, {name}" for name, losses in _losses(sweep).items()]
    return f"Clean training loss of the deepest plain network: {'; '.join(each)}."


CAUSE_FIGURES = {
    "C5": ClaimFigure(
        _draw_losses,
        _losses_table,
        _told_losses,
        "Clean training loss of the deepest plain network from its own start and constructed; small dots are "
        "seeds. The difference of logits is that of the construction, before it is trained on.",
    ),
    "C6": _of_lines(
        _probes,
        "Accuracy of a linear probe behind each block of the last stage, in the deepest plain networks.",
    ),
    "C10": ClaimFigure(
        _draw(_starts),
        _starts_table,
        _told(_starts),
        "Test accuracy of plain networks by their start; bars are 95 % intervals. Distance to the identity "
        "and debiased CKA of trained networks: medians of the late half of the blocks, of each start.",
    ),
    "C7": _of_lines(
        _branches,
        "Size of the branch against its input in residual networks, at initial values and trained; blocks "
        "that change the shape are left out.",
    ),
    "C8": _of_lines(
        _activations,
        "How much smaller the branches of residual networks get against their input in training, by "
        "nonlinearity, mean over snapshots on the way and the end: 1 is a half, below 0 they get larger.",
    ),
}
