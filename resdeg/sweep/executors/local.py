"""One process per run on this machine."""

from __future__ import annotations

import functools
import json
import signal
import time
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from resdeg.config import ExecutionConfig, RunConfig, SweepConfig
from resdeg.errors import LostError, ResdegError, UsageError
from resdeg.records import Progress, RunSummary
from resdeg.sweep.calibration import Facts
from resdeg.sweep.executors.process import ending, error_of, send, send_error, spawn
from resdeg.sweep.executors.worker import StopFlag, carry
from resdeg.sweep.preflight import preflight

SILENCE = 600.0  # seconds without one after which a worker hangs; no step takes as long


@dataclass(frozen=True)
class Ended:
    """A worker is gone. `summary` is what it stored; without one, `error` says why."""

    run_id: str
    summary: RunSummary | None
    error: ResdegError | None = None


def event_of(run_id: str, message: dict[str, Any]) -> Progress | Ended | None:
    """What a worker told of a run; None where it is but a sign of life."""
    if "alive" in message:
        return None
    if "progress" in message:
        return Progress.model_validate(message["progress"])
    if "error" in message:
        return Ended(run_id, None, error_of(message["error"]))
    return Ended(run_id, RunSummary.from_json(message["summary"], "worker"))


def gone(run_id: str, why: str, code: int, if_killed: str = "") -> Ended:
    """Of a worker that left with exit code `code` and without a result."""
    hint = if_killed if code == -signal.SIGKILL else ""
    return Ended(run_id, None, LostError(f"{run_id}: {why} ({ending(code)}{hint})"))


def ask_preflight(config: SweepConfig, read_data: bool) -> Facts:
    """`preflight` in a worker, so that this process never imports torch.

    Raises:
        ResdegError: whatever it raised.
    """
    content = config.model_dump_json()
    process, pipe = spawn(_preflight, content, read_data)
    try:
        message = json.loads(pipe.recv_bytes())
    except EOFError:
        process.join()
        raise ResdegError(f"the check before the sweep died (exit code {process.exitcode})") from None
    except BaseException:  # a signal: nothing in the worker is worth waiting for
        process.kill()
        raise
    if "error" in message:
        raise error_of(message["error"])
    return Facts.model_validate(message["facts"])


def has_bf16(device: str) -> bool:
    """Whether `device` computes in bf16, asked in a worker.

    Raises:
        UsageError: it is not on this machine.
    """
    process, pipe = spawn(_tell_bf16, device)
    message = json.loads(pipe.recv_bytes())
    process.join()
    if "error" in message:
        raise error_of(message["error"])
    return bool(message["bf16"])


@dataclass
class _Worker:
    process: Any
    pipe: connection.Connection
    heard: float = field(default_factory=time.monotonic)  # when it last said something


class LocalExecutor:
    """Runs in worker processes of this machine."""

    def __init__(self, folder: Path, execution: ExecutionConfig, silence: float = SILENCE) -> None:
        self._folder, self._execution, self._silence = folder, execution, silence
        self._workers: dict[str, _Worker] = {}

    def submit(self, run: RunConfig) -> None:
        arguments = (run.model_dump_json(), str(self._folder), self._execution.model_dump_json())
        self._workers[run.run_id] = _Worker(*spawn(_train, *arguments))

    def poll(self, timeout: float) -> list[Progress | Ended]:
        pipes = {worker.pipe: run_id for run_id, worker in self._workers.items()}
        if not pipes:
            time.sleep(timeout)
        events: list[Progress | Ended] = []
        for ready in connection.wait(list(pipes), timeout):
            assert isinstance(ready, connection.Connection)
            events += self._receive(pipes[ready])
        for run_id, worker in list(self._workers.items()):
            if time.monotonic() - worker.heard > self._silence:
                worker.process.kill()
                events.append(
                    self._gone(run_id, f"its worker gave no sign of life for {self._silence:.0f} s")
                )
        return events

    def _receive(self, run_id: str) -> list[Progress | Ended]:
        worker = self._workers[run_id]
        worker.heard = time.monotonic()
        try:
            message = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):  # dead, perhaps in the middle of a message
            return [self._gone(run_id, "its worker died", if_killed=", perhaps for want of memory")]
        event = event_of(run_id, message)
        if isinstance(event, Ended):
            self._forget(run_id)
        return [] if event is None else [event]

    def _gone(self, run_id: str, why: str, if_killed: str = "") -> Ended:
        return gone(run_id, why, self._forget(run_id), if_killed)

    def _forget(self, run_id: str) -> int:
        worker = self._workers.pop(run_id)
        worker.process.join()
        return int(worker.process.exitcode)

    def cancel(self) -> None:
        for worker in self._workers.values():
            worker.process.terminate()

    def kill(self) -> None:
        for worker in self._workers.values():
            worker.process.kill()
        for run_id in list(self._workers):
            self._forget(run_id)


# ---------------------------------------------------------------- in the worker


def _train(pipe: connection.Connection, run: str, folder: str, execution: str) -> None:
    carry(run, folder, execution, StopFlag(), functools.partial(send, pipe))


def _preflight(pipe: connection.Connection, config: str, read_data: bool) -> None:
    StopFlag()
    try:
        facts = preflight(SweepConfig.model_validate_json(config), read_data)
        send(pipe, facts=facts.model_dump(mode="json"))
    except ResdegError as error:
        send_error(pipe, error)


def _tell_bf16(pipe: connection.Connection, name: str) -> None:
    from resdeg.training.device import check_precision, resolve_device

    try:
        device = resolve_device(name)
    except ResdegError as error:
        send_error(pipe, error)
        return
    try:
        check_precision("bf16", device)
        there = True
    except UsageError:
        there = False
    send(pipe, bf16=there)
