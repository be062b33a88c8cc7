"""`resdeg status`: what is finished, running, diverged or missing, and what is left to pay."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.cli.outcome import show_outcome
from resdeg.errors import UsageError
from resdeg.report.units import duration, percent

if TYPE_CHECKING:
    from resdeg.analysis.frame import SweepFrame


def status(
    sweep: options.SweepArgument = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also the table and the curve of what has finished, and C1 to C4.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show the state of every run of a sweep, and what it costs to finish."""
    from resdeg.analysis.status import read_status

    folder = options.sweep_folder(sweep)
    overview = read_status(folder)
    if as_json:
        emit_json(overview.as_dict() | ({"curve": _list_points(folder)} if curve else {}))
        return
    share = overview.share
    emit(
        f"{folder}: "
        + (f"shard {share.shard}, {share.ended} of its {share.runs} runs ended; " if share else "")
        + ", ".join(f"{count} {name}" for name, count in overview.counts.items())
        + (f"; adopted from {overview.adopted}, not trained here" if overview.adopted else "")
    )
    emit(f"{'run':26} {'state':>11} {'step':>13} {'test':>7} {'training':>8} {'time':>10}")
    for arm, rows in groupby(overview.rows, key=lambda row: row.arm):
        if arm:
            emit(f"arm {arm}")
        for row in rows:
            emit(
                f"{row.run_id:26} {row.state:>11} {f'{row.step:,}/{row.steps:,}' if row.steps else '-':>13} "
                f"{percent(row.test_accuracy):>7} {percent(row.train_accuracy):>8} "
                f"{duration(row.seconds) if row.seconds else '-':>10}"
            )
    for row in overview.rows:
        if row.reason and row.state in ("diverged", "failed"):
            emit(f"{row.run_id}: {row.reason}")
    for problem in overview.problems:
        screen.insist(f"left out: {problem}")
    for line in overview.mixed:
        screen.insist(f"note: {line}")
    if overview.unplanned:
        screen.say(f"note: {overview.unplanned}")
    if overview.seconds_left is not None and overview.seconds_left > 0:
        emit(f"about {duration(overview.seconds_left)} of one worker left, by the runs that are finished")
    if curve:
        _show_curve(folder)


def _show_curve(folder: Path) -> None:
    """Prints what `resdeg sweep` ends with."""
    loaded = _load(folder)
    if loaded is not None:
        emit("")
        show_outcome(loaded.evaluated(loaded.evaluations[0]))


def _list_points(folder: Path) -> list[dict[str, object]]:
    """Returns the rows of curve.csv, as `resdeg plot --json` prints them; none before the first record."""
    loaded = _load(folder)
    points: list[dict[str, object]] = []
    if loaded is not None:
        points = json.loads(loaded.with_arms(lambda sweep: sweep.curve).to_json(orient="records"))
    return points


def _load(folder: Path) -> SweepFrame | None:
    """Reads the tables of the sweep, for which pandas is loaded; None before the first record."""
    from resdeg.analysis.frame import load_sweep

    try:
        return load_sweep(folder)
    except UsageError as error:
        screen.say(f"no curve yet: {error.what}")
        return None
