"""The table of each kind of figure, with what a reader of a paper must know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report import arm_charts, block_charts
from resdeg.report.beside import tabulate_gradients
from resdeg.report.chart import Table, read_lines, tabulate
from resdeg.report.panels import PAGES
from resdeg.report.text import describe_runs, join_words, name_data_of_all, spell_half

HALF_WIDTH = "±: half-width of the 95 % Student-t interval of the mean"
MEANS = "means over seeds"


@dataclass(frozen=True)
class PaperTable:
    """A table with what a reader must know about it.

    Args:
        name: what its label is made of. caption: sentences on what it shows and how networks were trained.
        sources: a sentence per sweep: its name, settings and seeds, and no path.
    """

    name: str
    caption: str
    sources: Sequence[str]
    table: Table


@dataclass(frozen=True)
class TableKind:
    """A kind of table.

    Args:
        title: what it shows of which images, which are put in for {}. marks: see `describe_runs`.
        tabulate: returns the table of one sweep, None where it has none, or raises a UsageError.
        intro: what its columns mean.
    """

    title: str
    marks: str
    tabulate: Callable[[SweepFrame], Table | None]
    intro: str = ""


def make_table(kind: str, sweeps: Sequence[SweepFrame]) -> PaperTable:
    """Returns the table of a kind; with several sweeps their rows are below each other.

    Raises:
        UsageError: the kind has no table, or there is nothing to show in it yet.
    """
    if kind not in TABLES:
        raise UsageError(f"--kind {kind} has no table", f"tables are: {', '.join(TABLES)}")
    made = TABLES[kind]
    by_sweep = [(sweep.name, table) for sweep in sweeps if (table := made.tabulate(sweep)) is not None]
    if not by_sweep:
        raise UsageError(
            f"{join_words(sweep.folder for sweep in sweeps)}: no run is there to tabulate",
            "tables are of finished runs, and those of blocks of networks with a block",
        )
    several = len(sweeps) > 1
    images = name_data_of_all(sweeps)
    about = ["; ".join(describe_runs(sweep, made.marks).splitlines()) for sweep in sweeps]
    if several:
        about = [f"{sweep.name}: {line}" for sweep, line in zip(sweeps, about, strict=True)]
    sentences = [f"{line[:1].upper()}{line[1:]}." for line in (made.title.format(images), *about)]
    return PaperTable(
        name="-".join([kind, *(sweep.name for sweep in sweeps)]),
        caption=" ".join([*sentences, made.intro]).rstrip(),
        sources=[_name_source(sweep) for sweep in sweeps],
        table=_stack(by_sweep) if several else by_sweep[0][1],
    )


def _name_source(sweep: SweepFrame) -> str:
    seeds = sorted(set(sweep.runs["seed"]))
    return (
        f"{sweep.name}: settings {sweep.config.settings_id}, families {', '.join(sweep.config.families)}, "
        f"depths {', '.join(map(str, sorted(set(sweep.runs['depth']))))}, "
        f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}."
    )


def _stack(by_sweep: Sequence[tuple[str, Table]]) -> Table:
    """Returns the rows of all tables below each other, behind the names of their sweeps.

    A column that a table lacks is a dash in its rows, and the last column, often the seeds, stays the last.
    """
    heads = [table[0] for _, table in sorted(by_sweep, key=lambda named: -len(named[1][0]))]
    head = [*dict.fromkeys([name for own in heads for name in own[:-1]] + [own[-1] for own in heads])]
    rows = []
    for name, (own_head, own_rows) in by_sweep:
        for row in own_rows:
            cells = dict(zip(own_head, row, strict=True))
            rows.append([name, *(cells.get(column, "-") for column in head)])
    return ["sweep", *head], rows


def _tabulate_curve(sweep: SweepFrame) -> Table | None:
    lines = [
        line
        for metric in ("test_accuracy", "train_error")
        for line in read_lines(sweep, sweep.config.families, metrics=(metric,)).values()
    ]
    return tabulate(lines, spell=spell_half)


def _tabulate_arms(sweep: SweepFrame) -> Table | None:
    arm_charts.require_arms(sweep)
    table = arm_charts.chart_arms(sweep).table
    return table if table is not None and table[1] else None


def _tabulate_blocks(sweep: SweepFrame, *, kind: str) -> Table | None:
    block_charts.select_measured(PAGES[kind], sweep)  # says what to measure first
    return block_charts.tabulate_blocks(sweep)


def _tabulate_gradients(sweep: SweepFrame) -> Table | None:
    table = tabulate_gradients(sweep)
    if table is None:
        block_charts.select_measured(PAGES["gradients"], sweep)  # says what to measure first
        raise UsageError(
            f"{sweep.folder}: no gradients at initial values were measured",
            "draw those of trained networks, with --out FILE.svg",
        )
    return table


TABLES: Mapping[str, TableKind] = {
    "curve": TableKind(
        "Test accuracy and clean training error against depth, in %, on {}", HALF_WIDTH, _tabulate_curve
    ),
    "arms": TableKind("Test accuracy of the arms on {}", MEANS, _tabulate_arms, f"{arm_charts.COLUMNS}."),
    **{
        kind: TableKind(
            "Blocks of networks on {}", MEANS, partial(_tabulate_blocks, kind=kind), block_charts.INTRO
        )
        for kind in ("identity", "probes", "lesions")
    },
    "gradients": TableKind(
        "Norm of the gradient at the stem over that at the last 3x3 layer, before the first step, on {}",
        "geometric means over seeds",
        _tabulate_gradients,
    ),
}
