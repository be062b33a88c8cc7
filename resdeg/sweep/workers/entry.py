"""What runs inside a worker process: hearing signals, sending JSON, answering a question, training runs.

Nothing in here is called by the coordinator, and nothing here imports torch before it is needed.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from types import FrameType
from typing import Any

from resdeg import files
from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import LostError, ResdegError
from resdeg.records import Progress
from resdeg.store import OpenSession, SweepStore, open_run
from resdeg.sweep.workers.messages import pack_error

PROGRESS_EVERY = 0.2  # seconds between two messages of one run
ALIVE_EVERY = 10.0  # seconds between two signs of life where there is no progress
# Seconds after which the first thread of a worker looks up. A signal may be given to any thread, and wakes
# that one, but its handler runs in the first.
AWAKE = 0.1

_PR_SET_PDEATHSIG = 1  # sys/prctl.h


# ---------------------------------------------------------------- signals


def die_with_parent(number: signal.Signals) -> None:
    """Has this process get `number` when the thread that started it ends. Only Linux can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def when_stopped(handler: Callable[[int, FrameType | None], None]) -> None:
    """Calls `handler` when this worker is to stop: at SIGTERM, SIGHUP, or the coordinator's death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the coordinator
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, handler)
    die_with_parent(signal.SIGTERM)  # the fork server dies with the coordinator, and we with the fork server


def leave(number: int, frame: FrameType | None) -> None:
    """Ends the worker by an exception, so that no half-written file is left."""
    sys.exit(128 + number)


class StopFlag:
    """Is true once it is raised."""

    def __init__(self) -> None:
        self.raised = False

    def __call__(self) -> bool:
        return self.raised


class SignalledStop(StopFlag):
    """Is true once this process was asked to stop: by a signal, or by the coordinator's death."""

    def __init__(self) -> None:
        super().__init__()
        when_stopped(self._raise)
        self._parent = os.getppid()

    def _raise(self, number: int, frame: FrameType | None) -> None:
        self.raised = True

    def __call__(self) -> bool:
        # A parent that died before prctl sends no signal; then another process has adopted us.
        return self.raised or (sys.platform == "linux" and os.getppid() != self._parent)


def forget_callers_path() -> None:
    """Has this process import only from where the fork server does.

    multiprocessing gives a worker the path of the program that asks, which begins with the folder of its
    script or, in a notebook, with the current one. A `random.py` there is none of ours.
    """
    server = sys.modules.get("resdeg.sweep.workers.server")
    if server is not None:
        sys.path[:] = server.PATH


# ---------------------------------------------------------------- messages


def send(pipe: connection.Connection, **message: object) -> bool:
    """Sends a message; returns False if the coordinator has left."""
    try:
        pipe.send_bytes(json.dumps(message).encode())
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- one question


def answer(pipe: connection.Connection, target: Callable[..., object], *arguments: Any) -> None:
    """Sends what `target(*arguments)` returns, as JSON, or the ResdegError that it raises.

    A signal ends it at once: whoever asked has left, and nothing but the answer was wanted.
    """
    when_stopped(leave)
    forget_callers_path()
    files.hear(lambda notice: None)  # whoever asks writes to the same disks, and says what they cannot do
    try:
        result = target(*arguments)
    except ResdegError as error:
        send(pipe, error=pack_error(error))
    else:
        send(pipe, answer=result)


# ---------------------------------------------------------------- training


def train_runs(pipe: connection.Connection, folder: str, execution: str) -> None:
    """Trains the runs that `pipe` brings, saying of each how it goes, until the coordinator closes it.

    A worker for one run trains it in its first thread and leaves. A worker for several trains them side by
    side, each in a thread of its own.

    Args:
        folder: where the sweep is.
        execution: an ExecutionConfig as JSON.
    """
    stop, settings = SignalledStop(), ExecutionConfig.model_validate_json(execution)
    forget_callers_path()
    sending, notices = threading.Lock(), deque[str]()
    files.hear(notices.append)

    def report(run_id: str, *, progress: dict[str, Any] | None = None, **message: object) -> bool:
        with sending:
            if progress is None:
                return send(pipe, run=run_id, **message)
            while notices:
                send(pipe, run=run_id, progress=progress | {"record": None, "notice": notices.popleft()})
            return send(pipe, run=run_id, progress=progress)

    def train(run: RunConfig) -> None:
        train_run(run, Path(folder), settings=settings, stop=stop, send=functools.partial(report, run.run_id))

    def train_in_a_lane(run: RunConfig) -> None:
        try:
            train(run)
        except BaseException as error:  # the end of a thread, unlike that of a process, is not noticed
            traceback.print_exc()
            what = f"{run.run_id}: {type(error).__name__} in its worker"
            report(run.run_id, failed=pack_error(LostError(what)))

    if settings.runs_per_process == 1:
        run = _receive_run(pipe)
        if run is not None:
            train(run)
        return
    lanes: list[threading.Thread] = []
    while True:
        if pipe.poll(AWAKE):
            run = _receive_run(pipe)
            if run is None:
                break
            lanes.append(threading.Thread(target=train_in_a_lane, args=(run,)))
            lanes[-1].start()
    for lane in lanes:
        while lane.is_alive():
            lane.join(AWAKE)


def _receive_run(pipe: connection.Connection) -> RunConfig | None:
    """Returns the next run to train; None when the coordinator has closed the pipe, or is gone."""
    try:
        return RunConfig.model_validate_json(pipe.recv_bytes())
    except (EOFError, OSError):
        return None


def train_run(
    run: RunConfig,
    folder: Path,
    *,
    settings: ExecutionConfig,
    stop: StopFlag,
    send: Callable[..., bool],
    progress_every: float = PROGRESS_EVERY,
    alive_every: float = ALIVE_EVERY,
    open_session: OpenSession = open_run,
) -> None:
    """Trains a run of the sweep in `folder` to its end, or until `stop` is true.

    Args:
        send: sends a message to the coordinator, and returns whether it still listens.
        progress_every: seconds between two messages of progress without a record or a notice.
        alive_every: seconds between two messages where there is no progress.
        open_session: opens the run for writing, see `execute`.
    """
    last = 0.0

    def say(**message: object) -> None:
        nonlocal last
        last = time.monotonic()
        if not send(**message):
            stop.raised = True  # and not by |=, which would undo a signal that came during the message

    def report(progress: Progress) -> None:
        if progress.record or progress.notice or time.monotonic() - last >= progress_every:
            say(progress=progress.model_dump())

    def asked_to_stop() -> bool:
        """Is called at every step and every batch of an evaluation, so it is where a worker shows life."""
        if time.monotonic() - last >= alive_every:
            say(alive=True)
        return stop()

    from resdeg.runner import execute

    try:
        store = SweepStore(folder).run(run.run_id)
        summary = execute(run, store, settings, stop=asked_to_stop, report=report, open_session=open_session)
        send(summary=summary.to_json())
    except ResdegError as error:
        send(failed=pack_error(error))
