"""The state of every run of a sweep, from its records only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from resdeg.analysis.reader import (
    collect_provenance,
    describe_differences,
    describe_unplanned,
    list_runs,
    read_runs,
)
from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.records import ENDED
from resdeg.store import RunState, RunStore, SweepStore


@dataclass(frozen=True)
class RunRow:
    """One run. Accuracies are fractions, those of the last record while it is not finished.

    arm: the arm that it belongs to, the first of several; "" in the grid itself.
    """

    run_id: str
    arm: str
    depth: int
    state: RunState
    step: int
    steps: int | None
    test_accuracy: float | None
    train_accuracy: float | None
    seconds: float
    reason: str | None


@dataclass(frozen=True)
class ShareStatus:
    """One share of a sweep's plan, as in "3/8": how many runs it has, and how many of them have ended."""

    shard: str
    runs: int
    ended: int


@dataclass(frozen=True)
class SweepStatus:
    """Every run, how many are in which state, and seconds of one worker to the end, if known.

    problems, mixed: see SweepFrame. adopted: whose weights the runs are; None where they were trained here.
    share: the share of the plan that is trained in the folder; None for all of it.
    unplanned: see `describe_unplanned`.
    """

    folder: str
    rows: list[RunRow]
    counts: dict[str, int]
    seconds_left: float | None
    problems: list[str]
    mixed: list[str]
    adopted: str | None
    share: ShareStatus | None = None
    unplanned: str = ""

    def as_dict(self) -> dict[str, Any]:
        tree = asdict(self)
        if self.share is None:
            del tree["share"]
        if not self.unplanned:
            del tree["unplanned"]
        return tree


def read_status(folder: Path) -> SweepStatus:
    """Reads the state of every run of the sweep in `folder`.

    Raises:
        UsageError: `folder` holds no sweep.
    """
    store = SweepStore(folder)
    config, runs, problems = list_runs(store)
    read_row = partial(_row, arms=config.arm_names)
    rows = [row for _, row in read_runs(store, runs, read=read_row, problems=problems)]
    counts: dict[str, int] = dict(Counter(row.state for row in rows))
    share, here = _read_share(store, rows, problems)
    mixed = describe_differences(collect_provenance(store.run(run.run_id) for run in runs))
    adopted = None if config.adopted is None else config.adopted.source
    return SweepStatus(
        str(folder),
        rows,
        counts,
        seconds_left=estimate_seconds_left(here),
        problems=problems,
        mixed=mixed,
        adopted=adopted,
        share=share,
        unplanned=describe_unplanned(config.with_registered(), runs),
    )


def _read_share(
    store: SweepStore, rows: list[RunRow], problems: list[str]
) -> tuple[ShareStatus | None, list[RunRow]]:
    """Reads which share of the plan is trained here, and returns its rows; all rows if it is all of it."""
    try:
        share = store.share()
    except StorageError as error:
        problems.append(error.what)
        share = None
    if share is None:
        return None, rows
    own = [row for row in rows if row.run_id in share.run_ids]
    ended = sum(row.state in ENDED for row in own)
    return ShareStatus(share.shard, len(share.run_ids), ended), own


def _row(store: RunStore, run: RunConfig, *, arms: Mapping[str, str]) -> RunRow:
    """Reads the row of a run; `arms` holds the name of each arm by the id of its settings."""
    summary, records = store.summary(), store.metrics()
    state = store.state() if summary is None or store.is_running() else summary.status
    last = records[-1] if records else None
    accuracy = summary.train_accuracy if summary else None
    if accuracy is None and last is not None:
        # The clean accuracy is measured at the end, so this is the running one.
        accuracy = last.train_accuracy
    seconds = sum(record.seconds for record in store.timing())
    return RunRow(
        run_id=run.run_id,
        arm=arms[run.settings_id],
        depth=run.depth,
        state=state,
        step=max(last.step if last else 0, summary.step if summary else 0),
        steps=summary.steps if summary and summary.steps else run.training.steps,
        test_accuracy=last.test_accuracy if last else None,
        train_accuracy=accuracy,
        seconds=seconds,
        reason=summary.reason if summary else None,
    )


def estimate_seconds_left(rows: list[RunRow]) -> float | None:
    """Returns the seconds still to pay; None before a run has finished.

    A run is priced by the median of those that finished at the nearest depth, in proportion to the depth,
    because some runs take hours longer where other work is beside them.
    """
    done = defaultdict(list)
    for row in rows:
        if row.state == "finished" and row.seconds:
            done[row.depth].append(row.seconds)
    if not done:
        return None
    medians = {depth: median(seconds) for depth, seconds in done.items()}

    def price(depth: int) -> float:
        nearest = min(medians, key=lambda known: abs(known - depth))
        return medians[nearest] * depth / nearest

    return sum(max(0.0, price(row.depth) - row.seconds) for row in rows if row.state not in ENDED)
