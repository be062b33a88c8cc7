"""Measuring the networks of a sweep: each in a worker of its own, several side by side."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

from resdeg import files
from resdeg.config import RunConfig
from resdeg.errors import LostError, ResdegError, StorageError
from resdeg.store import RunStore, SweepStore
from resdeg.sweep.executors.process import ending, error_of, send, send_error, spawn, when_stopped

# Of depth 56 on CIFAR-10, measured: every kind on 1,000 images, or probes on all 10,000 (1.27 GB).
WORKER_BYTES = 1_300_000_000
_PATIENCE = (
    8.0  # seconds for a worker to leave when it is asked to; within a measure of a large net it cannot
)


@dataclass(frozen=True)
class Request:
    """What to measure: see `resdeg.runner.diagnose.diagnose`."""

    kinds: Sequence[str]
    images: int | None
    place: Path | None = None
    again: bool = False


@dataclass(frozen=True)
class Measured:
    """A run is done.

    measures: kinds times states that were not there before; notices: what was passed over.
    """

    run_id: str
    measures: int
    notices: list[str]
    seconds: float


def obstacle(store: RunStore, unfinished: bool = False) -> str | None:
    """Why the run in `store` cannot be measured; None where it can.

    Args:
        unfinished: take a run that was stopped as well, at the step of its checkpoint.
    """
    state = store.state()
    if state != "finished" and not (unfinished and state in ("stopped", "interrupted")):
        return str(state)
    if store.checkpoint() is None:
        return "no usable checkpoint (published sweeps keep their records alone)"
    try:
        store.diagnostics()
    except StorageError as error:
        return f"{error.what}; remove that file to measure anew"
    return None


def measure(
    store: SweepStore, runs: Sequence[RunConfig], request: Request, jobs: int, cores: int
) -> Iterator[Measured]:
    """Measure `runs`, the deepest first, `jobs` side by side on `cores`; each is yielded when it is done.

    Whatever ends this early leaves whole kinds in the records, and no worker.

    Args:
        runs: with no `obstacle`.

    Raises:
        BusyError: another process measures this sweep.
        LostError: a worker died.
        ResdegError: whatever the first worker raised that could not go on.
    """
    if not runs:
        return
    threads = max(1, cores // jobs)
    waiting = deque(sorted(runs, key=lambda run: -run.depth))
    workers: dict[connection.Connection, tuple[Any, str, float]] = {}
    with files.locked(store.folder / "diagnose.lock"):
        try:
            while waiting or workers:
                while waiting and len(workers) < jobs:
                    run = waiting.popleft()
                    process, pipe = spawn(
                        _measure, str(store.folder), run.model_dump_json(), request, threads
                    )
                    workers[pipe] = process, run.run_id, time.monotonic()
                for ready in connection.wait(list(workers)):
                    assert isinstance(ready, connection.Connection)
                    process, run_id, since = workers.pop(ready)
                    told = _received(ready, process, run_id)
                    yield Measured(run_id, told["measures"], told["notices"], time.monotonic() - since)
        finally:
            _end([process for process, _, _ in workers.values()])


def _received(pipe: connection.Connection, process: Any, run_id: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(pipe.recv_bytes())
    except (EOFError, OSError):
        process.join()
        what = f"{run_id}: its worker died ({ending(process.exitcode)})"
        raise LostError(what, "if memory was short, try --jobs 1 or fewer --images") from None
    process.join()
    if "error" in told:
        raise error_of(told["error"])
    return told


def _end(processes: Sequence[Any]) -> None:
    """Whoever does not leave when asked is killed."""
    for process in processes:
        process.terminate()
    late = time.monotonic() + _PATIENCE
    for process in processes:
        process.join(max(0.0, late - time.monotonic()))
        process.kill()
        process.join()


# ---------------------------------------------------------------- in the worker


def _measure(pipe: connection.Connection, folder: str, run: str, request: Request, threads: int) -> None:
    when_stopped(_leave)

    import torch

    from resdeg.runner.diagnose import diagnose

    torch.set_num_threads(threads)
    notices = list[str]()
    try:
        config = RunConfig.model_validate_json(run)
        store = SweepStore(Path(folder)).run(config.run_id)
        measured = diagnose(
            store, config, kinds=request.kinds, images=request.images, data_dir=request.place,
            again=request.again, warn=notices.append,
        )  # fmt: skip
        # A network of depth 2 has no block that could be the identity.
        measures = sum(each.numbers > 0 for each in measured)
        send(pipe, measures=measures, notices=notices)
    except ResdegError as error:
        send_error(pipe, error)


def _leave(number: int, frame: object) -> None:
    """By an exception, so that no half-written file is left."""
    sys.exit(128 + number)
