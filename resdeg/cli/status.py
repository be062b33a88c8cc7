"""`resdeg status`: what is finished, running, diverged or missing, and what is left to pay."""

from __future__ import annotations

import json

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.report.units import duration, percent


def status(sweep: options.SweepArgument = None, as_json: options.AsJson = False) -> None:
    """Show the state of every run of a sweep, and what it costs to finish."""
    from resdeg.analysis.status import read_status

    folder = options.sweep_folder(sweep)
    overview = read_status(folder)
    if as_json:
        emit(json.dumps(overview.as_dict(), indent=1))
        return
    emit(
        f"{folder}: "
        + ", ".join(f"{count} {name}" for name, count in overview.counts.items())
        + (f"; adopted from {overview.adopted}, not trained here" if overview.adopted else "")
    )
    arms = any(row.arm for row in overview.rows)
    emit(
        f"{'run':32} {'state':>11} {'step':>16} {'test':>7} {'training':>8} {'time':>12}"
        + ("  arm" if arms else "")
    )
    for row in overview.rows:
        emit(
            f"{row.run_id:32} {row.state:>11} {f'{row.step:,}/{row.steps:,}' if row.steps else '-':>16} "
            f"{percent(row.test_accuracy):>7} {percent(row.train_accuracy):>8} "
            f"{duration(row.seconds) if row.seconds else '-':>12}" + (f"  {row.arm}" if row.arm else "")
        )
    for row in overview.rows:
        if row.reason and row.state in ("diverged", "failed"):
            emit(f"{row.run_id}: {row.reason}")
    for problem in overview.problems:
        screen.insist(f"left out: {problem}")
    for line in overview.mixed:
        screen.insist(f"note: {line}")
    if overview.seconds_left is not None and overview.seconds_left > 0:
        emit(f"about {duration(overview.seconds_left)} of one worker left, by the runs that are finished")
