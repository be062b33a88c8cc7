"""The engine of this machine: runs in worker processes, one or several in each.

On CUDA each thread of a process has a stream of its own, because streams overlap while processes take turns:
on an H100 four streams trained 1.8 to 1.9 times the images of four processes. On a CPU threads share the
memory that torch takes. A process that dies takes all of its runs along, and each of them is tried again
alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import LostError
from resdeg.records import Progress
from resdeg.sweep.engine import Ended
from resdeg.sweep.workers.entry import train_runs
from resdeg.sweep.workers.messages import read_event
from resdeg.sweep.workers.process import Worker, ending

SILENCE = 600.0  # seconds without a sign of life after which a worker hangs; no step takes as long


class Pool:
    """Trains the runs of the sweep in `folder`, at most `execution.group` in each worker process."""

    description = ""

    def __init__(
        self,
        folder: Path,
        execution: ExecutionConfig,
        *,
        entry: Callable[..., None] = train_runs,
        silence: float = SILENCE,
    ) -> None:
        """Makes a pool that has no worker yet.

        Args:
            entry: what a worker runs, with its pipe, the folder and the execution as JSON; see `train_runs`.
            silence: seconds without a message of a run after which its worker is killed.
        """
        self._entry, self._arguments = entry, (str(folder), execution.model_dump_json())
        self._runs_per_process, self._silence = execution.runs_per_process, silence
        self.workers: list[Worker] = []

    def make_room(self, *, threads: int, memory: int) -> int | None:
        """Does what `Engine.make_room` says."""
        return None

    def submit(self, run: RunConfig) -> None:
        """Does what `Engine.submit` says."""
        free = [worker for worker in self.workers if len(worker.heard) < self._runs_per_process]
        worker = free[0] if free else self._start()
        worker.heard[run.run_id] = time.monotonic()
        worker.send(run.model_dump_json())

    def _start(self) -> Worker:
        self.workers.append(Worker.start(self._entry, *self._arguments))
        return self.workers[-1]

    def poll(self, timeout: float) -> list[Progress | Ended]:
        """Does what `Engine.poll` says."""
        by_pipe = {worker.pipe: worker for worker in self.workers}
        if not by_pipe:
            time.sleep(timeout)
        events: list[Progress | Ended] = []
        for ready in connection.wait(list(by_pipe), timeout):
            assert isinstance(ready, connection.Connection)
            events += self._receive(by_pipe[ready])
        for worker in list(self.workers):
            if any(time.monotonic() - heard > self._silence for heard in worker.heard.values()):
                worker.kill()
                how = ending(worker.process.exitcode)
                events += self._lose(
                    worker, f"its worker gave no sign of life for {self._silence:.0f} s ({how})"
                )
        return events

    def _receive(self, worker: Worker) -> list[Progress | Ended]:
        try:
            message = worker.receive()
        except LostError as error:
            return self._lose(worker, error.what)
        run_id = message["run"]
        worker.heard[run_id] = time.monotonic()
        event = read_event(run_id, message)
        if isinstance(event, Ended):
            del worker.heard[run_id]
            if not worker.heard:
                self.workers.remove(worker)
                worker.release()
        return [] if event is None else [event]

    def _lose(self, worker: Worker, why: str) -> list[Progress | Ended]:
        """Forgets a worker that is gone; returns the end of each of its runs."""
        self.workers.remove(worker)
        worker.release()
        return [Ended(run_id, None, LostError(f"{run_id}: {why}")) for run_id in worker.heard]

    def cancel(self) -> None:
        """Does what `Engine.cancel` says."""
        for worker in self.workers:
            worker.process.terminate()

    def kill(self) -> None:
        """Does what `Engine.kill` says."""
        for worker in self.workers:  # all at once, before the first of them is waited for
            worker.process.kill()
        while self.workers:
            self.workers.pop().release()
