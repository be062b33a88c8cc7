"""`resdeg prune`: free the checkpoints of ended runs, after saying how much that frees."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.store import Prunable


def prune(
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep's folder.")],
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Also the weights that were stored on the way.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Free them without asking.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Free the checkpoints of ended runs, whose records stay. A pipe needs --yes, else it prints how much."""
    from resdeg.analysis.reader import list_runs
    from resdeg.store import SweepStore, find_prunable
    from resdeg.store import prune as free_weights

    store = SweepStore(sweep)
    list_runs(store)  # refuses what is no sweep
    prunable = find_prunable(store)
    total = sum(prunable.checkpoints.values()) + (sum(prunable.snapshots.values()) if snapshots else 0)
    if not as_json:
        _describe(sweep, prunable, with_snapshots=snapshots)
    agreed = yes or (total > 0 and not as_json and _ask(total))
    freed = free_weights(store, with_snapshots=snapshots) if agreed and total else 0
    if as_json:
        emit_json(
            {
                "folder": str(sweep),
                "checkpoints": prunable.checkpoints,
                "snapshots": prunable.snapshots,
                "others": prunable.others,
                "bytes": total,
                "freed": freed,
            }
        )
    elif agreed and total:
        emit(f"freed {size(freed)}")


def _describe(sweep: Path, prunable: Prunable, *, with_snapshots: bool) -> None:
    """Prints how much can be freed, what stays, and what can be done afterwards."""
    parts = []
    if prunable.checkpoints:
        runs = len(prunable.checkpoints)
        amount = size(sum(prunable.checkpoints.values()))
        parts.append(f"{amount} in the checkpoints of {runs} ended run{'s' * (runs != 1)}")
    stored = size(sum(prunable.snapshots.values()))
    if prunable.snapshots and with_snapshots:
        parts.append(f"{stored} in snapshots")
    emit(f"{sweep}: " + (f"to be freed: {' and '.join(parts)}" if parts else "nothing to free"))
    if prunable.snapshots and not with_snapshots:
        emit(f"{stored} of snapshots stay: --snapshots frees them too")
    if prunable.others:
        others = ", ".join(f"{count} {state}" for state, count in prunable.others.items())
        emit(f"left as they are: {others}")
    if parts:
        emit("status, plot, report and sweep go on as before, and nothing is trained again;")
        emit("diagnose, export-weights and load_model need these weights, and cannot use these runs any more")


def _ask(total: int) -> bool:
    """Asks on a terminal; elsewhere, or if the answer is no, says that nothing was freed."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        try:
            if typer.confirm(f"Free {size(total)}?", err=True):
                return True
        except typer.Abort:  # the end of the input is no answer
            screen.insist("")
        screen.insist("nothing was freed")
    else:
        screen.insist("nothing was freed: add --yes to free it")
    return False
