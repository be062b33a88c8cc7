"""What a sweep came to: table, curve and verdicts for people, one JSON document for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from resdeg.cli.console import emit, emit_json, measure_paper

if TYPE_CHECKING:
    from resdeg.analysis.frame import SweepFrame
    from resdeg.config import SweepConfig
    from resdeg.sweep.conduct import Over
    from resdeg.sweep.shards import Shard


def show_outcome(sweep: SweepFrame) -> None:
    """Prints the table, the curve, the peaks and C1 to C4 on stdout, as its terminal can show them."""
    from resdeg.report.terminal import summarize_sweep

    paper = measure_paper()
    # The last column stays empty, because some terminals begin a new line behind it.
    lines = summarize_sweep(sweep, width=max(40, paper.width) - 1, colour=paper.colour, unicode=paper.unicode)
    emit("\n".join(lines))


def show_document(
    config: SweepConfig, folder: Path, over: Over, *, shard: Shard | None, figure: Path | None
) -> None:
    """Prints one JSON document on stdout: every run that was asked for, with its final state.

    A run whose records cannot be read has no numbers; the state of one that failed is "failed" whatever it
    left behind.
    """
    from resdeg.analysis.status import read_status
    from resdeg.sweep.shards import choose_share

    overview = read_status(folder)
    rows = {row["run_id"]: row for row in overview.as_dict()["rows"]}
    runs: list[dict[str, object]] = []
    for run in choose_share(config.runs(), shard):
        row = {"run_id": run.run_id, "family": run.family, "depth": run.depth, "seed": run.seed}
        row |= rows.get(run.run_id, {"state": "missing"})
        if run.run_id in over.failed:
            row |= {"state": "failed", "reason": over.failed[run.run_id].what}
        runs.append(row)
    stopped = f"signal {over.signal}" if over.signal is not None else "time limit" if over.left else None
    emit_json(
        {
            "folder": str(folder),
            **({} if shard is None else {"shard": str(shard)}),
            "runs": runs,
            "left": over.left,
            "failed": len(over.failed),
            "stopped": stopped,
            "figure": None if figure is None else str(figure),
            "problems": overview.problems,
        }
    )
