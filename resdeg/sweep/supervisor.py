"""Seeing a list of runs through: N side by side, each in its own worker, until done or told to stop."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from resdeg.config import RunConfig
from resdeg.records import Progress
from resdeg.sweep.executors import Executor
from resdeg.sweep.executors.local import Ended

GRACE = 10.0  # seconds before a time limit at which running work is asked to save
_POLL = 0.5


class StopNow(BaseException):
    """The second signal: leave at once."""


class StopRequests:
    """Within `with`: the first signal asks to stop, the second leaves. The handler does nothing else."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._heard) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise StopNow
        self.number = number


def carry_out(
    runs: Sequence[RunConfig],
    executor: Executor,
    jobs: int,
    requests: StopRequests,
    deadline: float | None = None,
) -> Iterator[Progress | Ended]:
    """Train `runs`, `jobs` at a time, in their order; what happens is yielded as it happens.

    Ends early, with every worker saved and gone, at a signal or GRACE seconds before `deadline` (on
    the monotonic clock). A run that fails stops no other.

    Raises:
        StopNow: a second signal came; the workers are killed.
    """
    waiting, running = deque(runs), set[str]()
    cancelled = False
    try:
        while running or (waiting and not cancelled):
            late = deadline is not None and time.monotonic() > deadline - GRACE
            if (requests.number is not None or late) and not cancelled:
                cancelled = True
                executor.cancel()
            while waiting and len(running) < jobs and not cancelled:
                run = waiting.popleft()
                executor.submit(run)
                running.add(run.run_id)
            for event in executor.poll(_POLL) if running else []:
                if isinstance(event, Ended):
                    running.discard(event.run_id)
                yield event
    finally:
        executor.kill()  # nobody, when all went well
