"""Progress of a sweep, by cost: a bar with an ETA on a terminal, plain heartbeat lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from resdeg.cli.console import screen
from resdeg.report.units import duration, percent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from resdeg.records import Progress, RunSummary
    from resdeg.sweep.estimate import Cost

HEARTBEAT = 30.0  # seconds between two lines where there is no terminal


class Board:
    """Shows what a sweep does. Everything is printed after it was saved."""

    def __init__(self, costs: Mapping[str, Cost]) -> None:
        """Makes a board of the runs that will be trained, by run id, each with its estimated cost."""
        self._cost = {run_id: cost.seconds for run_id, cost in costs.items()}
        self._stepping = {run_id: 1 - cost.clean for run_id, cost in costs.items()}
        self._share = dict.fromkeys(costs, 0.0)
        self._running: dict[str, Progress] = {}
        self._start = self._beat = time.monotonic()
        self._first_share: float | None = None
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if screen.live:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bars

            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
            self._bars = Bars(*columns, TextColumn("{task.fields[eta]}"), console=screen.rich, transient=True)
            self._task = self._bars.add_task("starting", total=1.0, eta="")
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def progress(self, event: Progress) -> None:
        """Shows how far a run is."""
        if event.run_id not in self._running and event.step:
            screen.say(f"resuming {event.run_id} at step {event.step:,} of {event.steps:,}")
        self._running[event.run_id] = event
        self._share[event.run_id] = self._stepping[event.run_id] * event.step / max(1, event.steps)
        if self._first_share is None:
            self._first_share = self._done()  # what a resumed run had done before does not speed the ETA
        if event.notice:
            screen.say(f"notice: {event.notice}")
        if event.record:
            record = event.record
            train = "-" if record.train_accuracy is None else f"{record.train_accuracy:.3f}"
            screen.detail(
                f"{event.run_id} epoch {record.epoch}: train {train} test {record.test_accuracy:.3f}"
            )
        self._show()

    def lost(self, run_id: str) -> None:
        """Forgets where a run stood whose worker is gone; the next worker will say so again."""
        self._running.pop(run_id, None)

    def ended(self, run_id: str, summary: RunSummary | None, why: str | None) -> None:
        """Shows how a run ended; `why` it failed, where that is not in its summary."""
        self._running.pop(run_id, None)
        if summary is None or summary.status == "failed":
            screen.insist(f"{run_id} failed: {why or (summary and summary.reason)}")
        elif summary.status == "diverged":
            screen.say(f"{run_id} {summary.reason}")
        elif summary.status == "finished":
            took = f" in {duration(summary.seconds)}" if summary.seconds else ""
            screen.say(
                f"{run_id} finished{took}: test {percent(summary.test_accuracy)}, "
                f"training {percent(summary.train_accuracy)}"
            )
        if summary is None or summary.status != "stopped":
            self._share[run_id] = 1.0
        self._show()

    def _done(self) -> float:
        total = sum(self._cost.values())
        if total == 0:  # nothing is to be done
            return 0.0
        return sum(self._cost[run_id] * self._share[run_id] for run_id in self._cost) / total

    def _show(self) -> None:
        done, elapsed = self._done(), time.monotonic() - self._start
        before = 0.0 if self._first_share is None else self._first_share
        fresh = done - before
        eta = f"about {duration(elapsed * (1 - done) / fresh)} left" if fresh > 0.005 else ""
        if self._bars is not None and self._task is not None:
            running = ", ".join(sorted(self._running)) or "starting"
            self._bars.update(self._task, completed=done, description=running, eta=eta)
        elif time.monotonic() - self._beat >= HEARTBEAT:
            self._beat = time.monotonic()
            where = ", ".join(f"{p.run_id} {p.step:,}/{p.steps:,}" for p in self._running.values())
            screen.say(f"{done:4.0%} after {duration(elapsed)}{', ' + eta if eta else ''}: {where}")
