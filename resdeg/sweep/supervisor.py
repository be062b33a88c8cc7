"""Training a list of runs, several side by side, until they are done or are to stop."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import FrameType

from resdeg.config import RunConfig
from resdeg.errors import LostError
from resdeg.records import Progress
from resdeg.sweep.engine import Ended, Engine

GRACE = 10.0  # seconds before a time limit at which running work is asked to save
PATIENCE = 8.0  # seconds for that; a step that takes longer is lost, back to its last checkpoint
RETRIES = 2
_POLL = 0.5


class StopNow(BaseException):
    """A second signal came: leave at once."""


class StopRequests:
    """Hears signals, see `handling`: the first one asks to stop, the second raises StopNow.

    number: the first signal; None while there was none.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def hear(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise StopNow
        self.number = number


@dataclass(frozen=True)
class Retry:
    """A worker was lost; its run will be tried again from its checkpoint, for the `attempt`-th time."""

    run_id: str
    why: str
    attempt: int


def carry_out(
    runs: Sequence[RunConfig],
    engine: Engine,
    *,
    jobs: int,
    requests: StopRequests,
    deadline: float | None = None,
) -> Generator[Progress | Retry | Ended, None, None]:
    """Trains `runs`, `jobs` at a time, in their order; yields what happens as it happens.

    A run that fails stops no other. One whose worker was lost is tried again at most RETRIES times:
    after the others and alone, because memory that was short is the likeliest reason.

    Ends early, with every worker saved and gone, at a signal or GRACE seconds before `deadline` (on
    the monotonic clock). A worker that does not go within PATIENCE seconds is killed.

    Raises:
        StopNow: a second signal came; the workers are killed.
    """
    waiting, again, running = deque(runs), deque[RunConfig](), dict[str, RunConfig]()
    lost = Counter[str]()
    cancelled: float | None = None
    try:
        while running or ((waiting or again) and cancelled is None):
            now = time.monotonic()
            late = deadline is not None and now > deadline - GRACE
            if (requests.number is not None or late) and cancelled is None:
                cancelled = now
                engine.cancel()
            if cancelled is not None and now > cancelled + PATIENCE:
                return
            if not running and not waiting and again:
                waiting.append(again.popleft())
            while waiting and len(running) < jobs and cancelled is None:
                run = waiting.popleft()
                engine.submit(run)
                running[run.run_id] = run
            for event in engine.poll(_POLL) if running else []:
                if isinstance(event, Ended):
                    run = running.pop(event.run_id)
                    if isinstance(event.error, LostError) and lost[run.run_id] < RETRIES:
                        lost[run.run_id] += 1
                        again.append(run)
                        yield Retry(run.run_id, event.error.what, lost[run.run_id])
                        continue
                yield event
    finally:
        engine.kill()  # there is no worker left when all went well
