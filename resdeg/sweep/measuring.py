"""Measuring the networks of a sweep, each in a worker of its own, several side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.store import NO_CHECKPOINT, RunStore, SweepStore
from resdeg.sweep.workers.process import Worker, ask

# What a worker held for depth 56 on CIFAR-10: every kind on 1,000 images, or probes on all 10,000 (1.27 GB).
WORKER_BYTES = 1_300_000_000
# Seconds in which a worker leaves when it is asked to. Within a measure of a large net it cannot.
_PATIENCE = 8.0


@dataclass(frozen=True)
class Request:
    """What to measure: see `resdeg.runner.diagnose.diagnose`."""

    kinds: Sequence[str]
    images: int | None
    data_dir: Path | None = None
    again: bool = False


@dataclass(frozen=True)
class Measured:
    """A run has been measured.

    measures: kinds times states that were not there before; notices: what was passed over; seconds: how long
    it took.
    """

    run_id: str
    measures: int
    notices: list[str]
    seconds: float


def obstacle(store: RunStore, *, unfinished: bool = False) -> str | None:
    """Says why the run in `store` cannot be measured; None where it can.

    Args:
        unfinished: also accepts a run that was stopped, at the step of its checkpoint.
    """
    state = store.state()
    if state != "finished" and not (unfinished and state in ("stopped", "interrupted")):
        return str(state)
    if store.checkpoint() is None:
        return NO_CHECKPOINT
    try:
        store.diagnostics()
    except StorageError as error:
        return f"{error.what}; remove that file to measure anew"
    return None


def measure_run(folder: str, run: str, request: Request, threads: int) -> tuple[int, list[str]]:
    """Measures a run, in a worker; returns the `measures` and `notices` of a Measured.

    Args:
        folder: where the sweep is.
        run: a RunConfig as JSON.
    """
    import torch

    from resdeg.runner.diagnose import diagnose

    torch.set_num_threads(threads)
    notices = list[str]()
    config = RunConfig.model_validate_json(run)
    store = SweepStore(Path(folder)).run(config.run_id)
    measured = diagnose(
        store, config, kinds=request.kinds, images=request.images, data_dir=request.data_dir,
        again=request.again, warn=notices.append,
    )  # fmt: skip
    # Depth 2 has no block that could be the identity, so a measure of it may have no number.
    return sum(done.numbers > 0 for done in measured), notices


def measure(
    store: SweepStore,
    runs: Sequence[RunConfig],
    *,
    request: Request,
    jobs: int,
    cores: int,
    entry: Callable[..., object] = measure_run,
) -> Iterator[Measured]:
    """Measures `runs`, the deepest first, `jobs` side by side on `cores`; yields each when it is done.

    Whatever ends this early leaves whole kinds in the records, and no worker.

    Args:
        runs: with no `obstacle`.
        entry: what a worker answers, see `measure_run`.

    Raises:
        BusyError: another process measures this sweep.
        LostError: a worker died.
        ResdegError: whatever the first worker raised that could not go on.
    """
    if not runs:
        return
    threads = max(1, cores // jobs)
    waiting = deque(sorted(runs, key=lambda run: -run.depth))
    workers: dict[connection.Connection, tuple[Worker, str, float]] = {}
    with store.measured():
        try:
            while waiting or workers:
                while waiting and len(workers) < jobs:
                    run = waiting.popleft()
                    worker = ask(
                        entry, str(store.folder), run.model_dump_json(), request, threads,
                        subject=f"{run.run_id}: its worker",
                        remedy="if memory was short, try --jobs 1 or fewer --images",
                    )  # fmt: skip
                    workers[worker.pipe] = worker, run.run_id, time.monotonic()
                for ready in connection.wait(list(workers)):
                    assert isinstance(ready, connection.Connection)
                    worker, run_id, since = workers.pop(ready)
                    measures, notices = worker.answer()
                    yield Measured(run_id, measures, notices, time.monotonic() - since)
        finally:
            _end([worker for worker, _, _ in workers.values()])


def _end(workers: Sequence[Worker]) -> None:
    """Asks every worker to leave, and kills those that do not."""
    for worker in workers:
        worker.process.terminate()
    late = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.process.join(max(0.0, late - time.monotonic()))
        worker.kill()
