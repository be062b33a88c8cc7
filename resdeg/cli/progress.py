"""Progress of a sweep, by cost: a line that a terminal draws over, plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from resdeg.cli.console import count_columns, screen
from resdeg.report.units import duration, percent

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from resdeg.records import Progress, RunSummary
    from resdeg.sweep.estimate import Cost

HEARTBEAT = 30.0  # seconds between two lines where no line can be drawn over
FRAMES = 4  # a second
NARROW, BROAD = 60, 120  # columns from which there is a short bar, and a long one


@dataclass(frozen=True)
class Standing:
    """How far a sweep is.

    share: of its cost, from 0 to 1. seconds_left: None where they are not known yet. ended, total: numbers of
    runs. running: the runs under way, in the order in which they are shown.
    """

    share: float
    elapsed: float
    seconds_left: float | None
    ended: int
    total: int
    running: Sequence[str]


def write_line(standing: Standing, width: int, *, bar: str = "") -> str:
    """Returns how far a sweep is in one line, what matters most first, as far as `width` columns hold it.

    Args:
        bar: two characters, for what is done and for what is left; empty for a line without a bar.

    >>> standing = Standing(0.437, 95, 620, 5, 18, ["plain-d56-s0", "plain-d20-s0", "plain-d8-s0"])
    >>> write_line(standing, 40)
    ' 43 %, 10 min left, 5/18 runs'
    >>> write_line(standing, 80, bar="#-")
    ' 43 % ####------, 10 min left, 5/18 runs: plain-d56-s0, plain-d20-s0, +1 more'
    """
    line = f"{int(100 * standing.share):3} %"
    if bar and width >= NARROW:
        length = 10 if width < BROAD else 20
        done = int(length * standing.share)
        line += f" {bar[0] * done}{bar[1] * (length - done)}"
    items = [] if standing.seconds_left is None else [f"{duration(standing.seconds_left)} left"]
    items.append(f"{standing.ended}/{standing.total} runs")
    for item in items:
        if len(line) + len(item) + 2 > width:
            return line[:width]
        line += f", {item}"
    line += _list_running(standing.running, width - len(line))
    elapsed = "" if bar else f"; {duration(standing.elapsed)} so far"
    return line + elapsed if len(line) + len(elapsed) <= width else line


def _list_running(running: Sequence[str], width: int) -> str:
    """Returns as many of the runs under way as fit, and how many more there are; empty where none fits."""
    for shown in range(len(running), 0, -1):
        more = len(running) - shown
        text = ": " + ", ".join([*running[:shown], *([f"+{more} more"] if more else [])])
        if len(text) <= width:
            return text
    return ""


class Board:
    """Shows what a sweep does. Everything is printed after it was saved."""

    def __init__(self, costs: Mapping[str, Cost], heartbeat: float = HEARTBEAT) -> None:
        """Makes a board of the runs that will be trained, by run id, each with its estimated cost.

        Args:
            heartbeat: seconds between two lines where no line can be drawn over.
        """
        self._cost = {run_id: cost.seconds for run_id, cost in costs.items()}
        self._stepping = {run_id: 1 - cost.clean for run_id, cost in costs.items()}
        self._share = dict.fromkeys(costs, 0.0)
        # What resumed runs had done before took none of this sweep's time, so it says nothing of the rest.
        self._before: dict[str, float] = {}
        self._running: dict[str, Progress] = {}
        self._ended: set[str] = set()
        self._start = self._beat = time.monotonic()
        self._heartbeat = heartbeat
        self._live: Live | None = None
        self._standing = self._measure()

    def __enter__(self) -> Self:
        if screen.live:
            from rich.live import Live

            self._live = Live(self, console=screen.rich, refresh_per_second=FRAMES, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        # The last column stays empty, because some terminals begin a new line behind it.
        width = min(options.max_width, count_columns(sys.stderr)) - 1
        line = write_line(self._standing, width, bar="#-" if options.ascii_only else "━┄")
        yield Text(line, no_wrap=True, overflow="crop")

    def progress(self, event: Progress) -> None:
        """Shows how far a run is."""
        if event.run_id not in self._running and event.step:
            screen.say(f"resuming {event.run_id} at step {event.step:,} of {event.steps:,}")
        self._running[event.run_id] = event
        self._share[event.run_id] = self._stepping[event.run_id] * event.step / max(1, event.steps)
        self._before.setdefault(event.run_id, self._share[event.run_id])
        if event.notice:
            screen.notice(event.notice)
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
            self._ended.add(run_id)
        self._show()

    def _measure(self) -> Standing:
        """Returns how far the sweep is; a run's name is that of its network and seed, without its hash."""
        done, elapsed = self._weigh(self._share), time.monotonic() - self._start
        fresh = done - self._weigh(self._before)
        left = elapsed * (1 - done) / fresh if fresh > 0.005 else None
        events = [self._running[run_id] for run_id in sorted(self._running)]
        names = [event.run_id.rpartition("-")[0] or event.run_id for event in events]
        if self._live is None:
            pairs = zip(names, events, strict=True)
            names = [f"{name} {event.step:,}/{event.steps:,}" for name, event in pairs]
        return Standing(done, elapsed, left, len(self._ended), len(self._cost), names)

    def _weigh(self, shares: Mapping[str, float]) -> float:
        """Returns the share of the whole cost that these shares of the runs' own are."""
        total = sum(self._cost.values())
        if total == 0:  # nothing is to be done
            return 0.0
        return sum(self._cost[run_id] * share for run_id, share in shares.items()) / total

    def _show(self) -> None:
        self._standing = self._measure()  # the thread that draws it reads nothing else
        now = time.monotonic()
        if self._live is None and now - self._beat >= self._heartbeat:
            self._beat = now
            screen.say(write_line(self._standing, count_columns(sys.stderr)))
