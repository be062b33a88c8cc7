"""A real run in a process of its own, with a fault in it; forked from the server that has torch loaded."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from resdeg.config import RunConfig
from resdeg.errors import LostError
from resdeg.store import RunStore
from resdeg.sweep.workers.process import Worker
from tests.trust import faults

_WRITES = 0o3  # O_WRONLY or O_RDWR among the flags of an open


@dataclass
class Told:
    """How a process ended, and what it said before.

    shown: steps whose records it showed; begun: the step it continued from; operations: names, in order.
    """

    exitcode: int
    shown: list[int]
    begun: int | None
    operations: list[str]
    audited: dict[str, int]
    status: str | None


def run(store: RunStore, config: RunConfig, when: str = "", at: int = 0) -> Told:
    """Train `config` to its end, or until it is killed.

    Args:
        when: 'before', 'in' or 'after' operation `at`; at 'step' number `at`; at a 'time', `at`
            milliseconds after its first step; '' for never.
    """
    worker = Worker.start(_child, str(store.folder), config.model_dump_json(), when, at)
    report = Told(0, [], None, [], {}, None)
    try:
        while True:
            message = worker.receive()
            report.shown += message.get("shown", [])
            for name in ("begun", "operations", "audited", "status"):
                if name in message:
                    setattr(report, name, message[name])
    except LostError:  # it has left, in one way or another
        pass
    report.exitcode = worker.process.exitcode
    return report


def signature(store: RunStore) -> tuple[str, bytes]:
    """A digest of weights, momentum and running sums, and the bytes of the metrics."""
    checkpoint = store.checkpoint()
    assert checkpoint is not None
    return hashlib.sha256(checkpoint[1]).hexdigest(), (store.folder / "metrics.jsonl").read_bytes()


def _child(pipe: connection.Connection, folder: str, config: str, when: str, at: int) -> None:
    from resdeg.config import ExecutionConfig
    from resdeg.records import Progress
    from resdeg.runner import execute

    audited: dict[str, int] = {}

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if not arguments or folder not in str(arguments[0]) or str(arguments[0]).endswith("lock"):
            return  # it lies elsewhere, or is filelock's own file
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & _WRITES):
                return
        elif event == "os.mkdir" and Path(str(arguments[0])).exists():
            return  # filelock makes sure that the folder is there
        elif event not in ("os.rename", "os.remove", "os.mkdir", "os.truncate"):
            return
        audited[event] = audited.get(event, 0) + 1

    def report(progress: Progress) -> None:
        steps.append(progress.step)
        if when == "step" and len(steps) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        if when == "time" and len(steps) == 1:
            signal.setitimer(signal.ITIMER_REAL, at / 1000)  # SIGALRM ends it as abruptly as SIGKILL
        if progress.record is not None:
            pipe.send_bytes(json.dumps({"shown": [progress.record.step]}).encode())
        elif len(steps) == 1:
            pipe.send_bytes(json.dumps({"begun": progress.step}).encode())

    steps: list[int] = []
    store, settings = RunStore(Path(folder)), RunConfig.model_validate_json(config)
    sys.addaudithook(audit)
    with faults.Operations(faults.kill(when, at) if when in faults.MOMENTS else faults.nothing) as operations:
        summary = execute(settings, store, ExecutionConfig(device="cpu"), report=report)
    ending = {"operations": operations.log, "audited": audited, "status": summary.status}
    pipe.send_bytes(json.dumps(ending).encode())
