"""The command, with a signal to it in a phase of a sweep.

Run as `python -m tests.trust.signalled PHASE NUMBER TIMES WHOM SENT ARGUMENT...`. WHOM is the 'command'
or its process 'group', as a terminal does it; SENT is a file that is made before the first signal.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resdeg import files
from resdeg.cli import app, plot
from resdeg.sweep import conduct
from resdeg.sweep.preflight import answer_preflight, ask_preflight
from resdeg.sweep.workers.entry import SignalledStop, train_runs
from resdeg.sweep.workers.pool import Pool
from tests.trust import signalled

WORKER_PHASES = ("start", "loading", "training", "evaluating", "saving")
PHASES = ("check", *WORKER_PHASES, "plotting")
BETWEEN = 0.2  # seconds between two signals


def send() -> None:
    """The signals, once in the whole sweep."""
    number, times, whom, sent, command = os.environ["SIGNALLED"].split("|")
    if Path(sent).exists():
        return
    Path(sent).touch()
    for k in range(int(times)):
        time.sleep(BETWEEN if k else 0)
        if whom == "group":
            os.killpg(os.getpgid(int(command)), int(number))
        else:
            os.kill(int(command), int(number))
    wait_until_told()


def wait_until_told(at_most: float = 6.0) -> None:
    """In a worker: until it has been asked to stop, so that a short run does not end before that."""
    flag = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    end = time.monotonic() + at_most
    while isinstance(flag, SignalledStop) and not flag.raised and time.monotonic() < end:
        time.sleep(0.01)


def sending(original: Callable[..., Any], at: int = 1) -> Callable[..., Any]:
    """`original`, with the signals before call number `at`."""
    calls = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            send()
        return original(*arguments, **named)

    return call


def train(pipe: Any, *arguments: str) -> None:
    from resdeg import data
    from resdeg.runner import Trainer

    match os.environ["SIGNALLED_PHASE"]:
        case "start":
            send()
        case "loading":
            data.load = sending(data.load)  # type: ignore[assignment]
        case "training":
            Trainer.batch_at = sending(Trainer.batch_at, at=12)  # type: ignore[method-assign]
        case "evaluating":
            Trainer.score = sending(Trainer.score, at=2)  # type: ignore[method-assign]
        case "saving":  # the tensors of the second checkpoint
            files._os_replace = sending(files._os_replace, at=8)
    train_runs(pipe, *arguments)


def check(config: str, *, read_data: bool) -> object:
    send()
    return answer_preflight(config, read_data=read_data)


def main() -> None:
    phase, number, times, whom, sent, *arguments = sys.argv[1:]
    os.environ["SIGNALLED"] = "|".join((number, times, whom, sent, str(os.getpid())))
    os.environ["SIGNALLED_PHASE"] = phase
    # By the module's name: a worker does not import the program that started it.
    if phase in WORKER_PHASES:
        engine = functools.partial(Pool, entry=signalled.train)
        conduct.run_sweep = functools.partial(conduct.run_sweep, engine=engine)
    elif phase == "check":
        ask = functools.partial(ask_preflight, entry=signalled.check)
        conduct.run_sweep = functools.partial(conduct.run_sweep, ask=ask)
    else:
        plot.draw = sending(plot.draw)  # type: ignore[assignment]
    sys.argv = ["resdeg", *arguments]
    app.main()


if __name__ == "__main__":
    main()
