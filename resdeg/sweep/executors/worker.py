"""What a worker does with a run: carry it out, tell of it, stop when it is asked to."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import ResdegError
from resdeg.records import Progress
from resdeg.sweep.executors.process import told, when_stopped

_PROGRESS_EVERY = 0.2  # seconds between two messages of one run
_ALIVE_EVERY = 10.0  # seconds between two signs of life where there is no progress


class StopFlag:
    """True once this process was asked to stop: by a signal, or by the coordinator's death."""

    def __init__(self) -> None:
        self.raised = False
        when_stopped(self._raise)
        self._parent = os.getppid()

    def _raise(self, number: int, frame: object) -> None:
        self.raised = True

    def __call__(self) -> bool:
        # A parent that died before prctl sends no signal; then another process has adopted us.
        return self.raised or (sys.platform == "linux" and os.getppid() != self._parent)


def carry(run: str, folder: str, execution: str, asked: StopFlag, send: Callable[..., bool]) -> None:
    """Carry out a run, given and told of as JSON.

    Args:
        send: a message to the coordinator; whether anybody listens.
    """
    last = 0.0

    def tell(**message: object) -> None:
        nonlocal last
        last = time.monotonic()
        if not send(**message):
            asked.raised = True  # and not by |=, which would undo a signal that came during the message

    def report(progress: Progress) -> None:
        if progress.record or progress.notice or time.monotonic() - last >= _PROGRESS_EVERY:
            tell(progress=progress.model_dump())

    def stop() -> bool:
        """Asked at every step and every batch of an evaluation."""
        if time.monotonic() - last >= _ALIVE_EVERY:
            tell(alive=True)
        return asked()

    from resdeg.runner import execute
    from resdeg.store import SweepStore

    try:
        config = RunConfig.model_validate_json(run)
        settings = ExecutionConfig.model_validate_json(execution)
        store = SweepStore(Path(folder)).run(config.run_id)
        summary = execute(config, store, settings, stop=stop, report=report)
        send(summary=summary.to_json())
    except ResdegError as error:
        send(error=told(error))
