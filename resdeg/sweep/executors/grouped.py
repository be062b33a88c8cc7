"""Several runs in one worker process, each in a thread of its own.

On CUDA the processes of a machine take turns, while threads of one process overlap there, each on a stream
of its own; on a CPU they share the memory that torch takes. A process that dies takes its whole group along:
each of them is tried again alone.
"""

from __future__ import annotations

import contextlib
import functools
import json
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import LostError
from resdeg.records import Progress
from resdeg.sweep.executors.local import SILENCE, Ended, event_of, gone
from resdeg.sweep.executors.process import send, spawn, told
from resdeg.sweep.executors.worker import StopFlag, carry

# Seconds after which the first thread of a worker looks up. A signal may be given to any thread, and wakes
# that one, but its handler runs in the first.
_AWAKE = 0.1


@dataclass
class _Host:
    process: Any
    answers: connection.Connection
    commands: connection.Connection
    heard: dict[str, float] = field(default_factory=dict)  # of each of its runs: when it last said something


class GroupedExecutor:
    """Runs in worker processes of this machine, at most `execution.group` in each."""

    def __init__(self, folder: Path, execution: ExecutionConfig, silence: float = SILENCE) -> None:
        self._folder, self._execution, self._silence = folder, execution, silence
        self._hosts: list[_Host] = []

    def submit(self, run: RunConfig) -> None:
        room = [host for host in self._hosts if len(host.heard) < self._execution.group]
        host = room[0] if room else self._start()
        host.heard[run.run_id] = time.monotonic()
        with contextlib.suppress(OSError):  # it has just died, which the next poll sees
            host.commands.send_bytes(run.model_dump_json().encode())

    def _start(self) -> _Host:
        theirs, ours = connection.Pipe(duplex=False)
        process, answers = spawn(_host, theirs, str(self._folder), self._execution.model_dump_json())
        theirs.close()
        self._hosts.append(_Host(process, answers, ours))
        return self._hosts[-1]

    def poll(self, timeout: float) -> list[Progress | Ended]:
        by_pipe = {host.answers: host for host in self._hosts}
        if not by_pipe:
            time.sleep(timeout)
        events: list[Progress | Ended] = []
        for ready in connection.wait(list(by_pipe), timeout):
            assert isinstance(ready, connection.Connection)
            events += self._receive(by_pipe[ready])
        for host in list(self._hosts):
            if any(time.monotonic() - heard > self._silence for heard in host.heard.values()):
                host.process.kill()
                events += self._lost(host, f"its worker gave no sign of life for {self._silence:.0f} s")
        return events

    def _receive(self, host: _Host) -> list[Progress | Ended]:
        try:
            message = json.loads(host.answers.recv_bytes())
        except (EOFError, OSError):  # dead, perhaps in the middle of a message
            return self._lost(host, "its worker died", if_killed=", perhaps for want of memory")
        run_id = message["run"]
        host.heard[run_id] = time.monotonic()
        event = event_of(run_id, message)
        if isinstance(event, Ended):
            del host.heard[run_id]
            if not host.heard:
                self._end(host)
        return [] if event is None else [event]

    def _lost(self, host: _Host, why: str, if_killed: str = "") -> list[Progress | Ended]:
        code = self._end(host)
        return [gone(run_id, why, code, if_killed) for run_id in host.heard]

    def _end(self, host: _Host) -> int:
        self._hosts.remove(host)
        host.commands.close()  # upon which it leaves
        host.process.join()
        return int(host.process.exitcode)

    def cancel(self) -> None:
        for host in self._hosts:
            host.process.terminate()

    def kill(self) -> None:
        for host in list(self._hosts):
            host.process.kill()
            self._end(host)


# ---------------------------------------------------------------- in the worker


def _host(pipe: connection.Connection, commands: connection.Connection, folder: str, execution: str) -> None:
    """Carry out every run that `commands` brings, side by side, until it is closed."""
    asked, one_at_a_time = StopFlag(), threading.Lock()
    lanes: list[threading.Thread] = []

    def tell(run_id: str, **message: object) -> bool:
        with one_at_a_time:
            return send(pipe, run=run_id, **message)

    def carry_out(run: str) -> None:
        run_id = RunConfig.model_validate_json(run).run_id
        try:
            carry(run, folder, execution, asked, functools.partial(tell, run_id))
        except BaseException as error:  # nobody would hear that a thread has ended, as of a process
            traceback.print_exc()
            tell(run_id, error=told(LostError(f"{run_id}: {type(error).__name__} in its worker")))

    with contextlib.suppress(EOFError):
        while True:
            if commands.poll(_AWAKE):
                lanes.append(threading.Thread(target=carry_out, args=(commands.recv_bytes().decode(),)))
                lanes[-1].start()
    for lane in lanes:
        while lane.is_alive():
            lane.join(_AWAKE)
