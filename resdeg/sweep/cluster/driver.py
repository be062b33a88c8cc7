"""The engine of a Ray cluster: a task for each run, on whatever node has room."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import LostError, UsageError
from resdeg.records import Progress
from resdeg.store.lease import leased
from resdeg.sweep.cluster.nodes import ask_nodes, joined, list_nodes, on_node
from resdeg.sweep.cluster.probe import Probe, check_versions, needs_lease
from resdeg.sweep.cluster.recorder import Recorder
from resdeg.sweep.cluster.task import train_in_task
from resdeg.sweep.engine import Ended, MakeEngine
from resdeg.sweep.workers.messages import read_event

SILENCE = 600.0  # seconds without a message after which a task hangs
LEAVE_WITHIN = 8.0  # seconds that killed tasks are waited for
_TAKE = 1.0  # seconds over which the recorder gathers messages: each answer wakes several processes
_CALLS = 64  # that the recorder answers at once


class RayEngine:
    """Trains the runs of the sweep in `folder` as tasks of the cluster that this process has joined.

    Ray tries no task again: the supervisor does, from the run's checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        execution: ExecutionConfig,
        *,
        address: str = "",
        gpus_per_run: float = 0.0,
        stream: bool = False,
    ) -> None:
        """Finds out whether the nodes share the folder, and starts the recorder.

        Args:
            address: of the cluster, for the description.
            gpus_per_run: the share of a GPU that each run gets; with 0 it computes on CPUs.
            stream: has records come back by the recorder even where the folder is shared.

        Raises:
            UsageError: a node lacks resdeg, or has another version; or no lock holds between the hosts.
            BusyError: a driver on another host owns the folder.
        """
        self._folder, self._gpus = folder.resolve(), gpus_per_run
        device = "cuda" if gpus_per_run else "cpu"
        changes = {"group": 1, "device": device, "data_dir": execution.absolute_data_dir}
        self._execution = execution.model_copy(update=changes).model_dump_json()
        self._threads, self._memory = 1, 0
        self._runs: dict[Any, str] = {}
        self._heard: dict[str, float] = {}
        self._taking: Any = None
        self._open, self._lease = contextlib.ExitStack(), False
        self._probe: Probe | None = Probe(self._folder)
        nodes = list_nodes()
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop_probe)
            sights = ask_nodes(self._probe, nodes)
            check_versions(sights)
            if not stream and all(sight.shares for sight in sights):
                self._lease = needs_lease(self._folder, sights)
                if self._lease:
                    self._open.enter_context(leased(self._folder, needed=True))
                undo.pop_all()
        here = ray.get_runtime_context().get_node_id()
        actor = ray.remote(Recorder).options(
            num_cpus=0, max_concurrency=_CALLS, scheduling_strategy=on_node(here)
        )
        self._recorder = actor.remote(str(self._folder))
        hosts = dict.fromkeys(node.host for node in nodes)
        records = "in the folder that they share" if self._probe else "sent to this machine"
        count = f"{len(nodes)} node" + ("s" if len(nodes) > 1 else "")
        self.description = f"Ray at {address}: {count} on {', '.join(hosts)}; records are {records}"

    def make_room(self, *, threads: int, memory: int) -> int | None:
        """Does what `Engine.make_room` says.

        Raises:
            UsageError: no node has room for a run.
        """
        self._threads, self._memory = threads, memory
        nodes = list_nodes()
        room = sum(node.count_runs(threads=threads, memory=memory, gpus=self._gpus) for node in nodes)
        if room == 0:
            gpus = f", {self._gpus:g} GPU" if self._gpus else ""
            raise UsageError(
                f"no node of the cluster has room for a run, which takes {threads} thread(s), "
                f"{memory / 1e9:.1f} GB of memory{gpus}",
                "add a node (ray start), or give a smaller model or --gpus-per-run",
            )
        return room

    def submit(self, run: RunConfig) -> None:
        """Does what `Engine.submit` says."""
        task = ray.remote(train_in_task).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            memory=self._memory,
            max_retries=0,
            scheduling_strategy="SPREAD",
            name=run.run_id,
        )
        probe = None if self._probe is None else (str(self._probe.path), self._probe.content)
        reference = task.remote(
            run.model_dump_json(),
            str(self._folder),
            self._execution,
            recorder=self._recorder,
            probe=probe,
            lease=self._lease,
        )
        self._runs[reference] = run.run_id

    def poll(self, timeout: float) -> list[Progress | Ended]:
        """Does what `Engine.poll` says."""
        if self._taking is None:
            self._taking = self._recorder.take.remote(_TAKE)
        waited = [self._taking, *self._runs]
        ray.wait(waited, timeout=timeout)
        ready, _ = ray.wait(waited, num_returns=len(waited), timeout=0)
        ended = [reference for reference in ready if reference in self._runs]
        events: list[Progress | Ended] = []
        if self._taking in ready:
            events += self._hear(self._taking)
            self._taking = None
        if ended:  # what a run said before its end is told before it
            events += self._hear(self._recorder.take.remote(0.0))
        return [*events, *map(self._end, ended), *self._give_up_silent_runs()]

    def _hear(self, reference: Any) -> list[Progress | Ended]:
        """Returns the progress that the recorder has been told of runs whose end was not told yet."""
        try:
            messages = ray.get(reference)
        except ray.exceptions.RayError as error:
            raise LostError(
                "the process that hears the tasks died, perhaps for want of memory", "run the command again"
            ) from error
        events, running = [], {*self._runs.values()}
        for run_id, message in messages:
            if run_id in running:
                self._heard[run_id] = time.monotonic()
                event = read_event(run_id, message)
                if event is not None:
                    events.append(event)
        return events

    def _end(self, reference: Any) -> Ended:
        run_id = self._runs.pop(reference)
        self._heard.pop(run_id, None)
        try:
            event = read_event(run_id, ray.get(reference))
        except ray.exceptions.RayError as error:
            return self._lose(run_id, f"its task was lost ({type(error).__name__})")
        assert isinstance(event, Ended)
        return event

    def _lose(self, run_id: str, why: str) -> Ended:
        self._recorder.give_up.remote(run_id)
        return Ended(run_id, None, LostError(f"{run_id}: {why}"))

    def _give_up_silent_runs(self) -> Iterator[Ended]:
        late = time.monotonic() - SILENCE
        for reference, run_id in list(self._runs.items()):
            if self._heard.get(run_id, late) < late:
                ray.cancel(reference, force=True)
                del self._runs[reference], self._heard[run_id]
                yield self._lose(run_id, f"its task gave no sign of life for {SILENCE:.0f} s")

    def cancel(self) -> None:
        """Does what `Engine.cancel` says."""
        self._recorder.stop.remote()

    def kill(self) -> None:
        """Does what `Engine.kill` says."""
        references = list(self._runs)
        self._runs.clear()
        for reference in references:
            ray.cancel(reference, force=True)
        if references:
            ray.wait(references, num_returns=len(references), timeout=LEAVE_WITHIN)
        ray.kill(self._recorder)
        self._drop_probe()
        self._open.close()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.remove()
            self._probe = None


@contextlib.contextmanager
def join_cluster(address: str | None, *, gpus_per_run: float, stream: bool) -> Iterator[MakeEngine]:
    """Joins a cluster within `with`, see `joined`, and yields what makes the engine there.

    Args:
        gpus_per_run, stream: see `RayEngine`.
    """
    with joined(address) as joined_address:
        yield functools.partial(RayEngine, address=joined_address, gpus_per_run=gpus_per_run, stream=stream)
