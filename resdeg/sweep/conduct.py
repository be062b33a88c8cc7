"""A sweep from its configuration to its last run: planned, priced, trained, and told as events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from resdeg import data
from resdeg.config import SweepConfig
from resdeg.data.cifar import Distribution
from resdeg.errors import BusyError, DataError, ResdegError
from resdeg.records import Progress
from resdeg.room import check_room
from resdeg.store import SweepStore
from resdeg.sweep.calibration import Facts, correct, facts_of_runs, recall_all
from resdeg.sweep.destination import check_folder
from resdeg.sweep.engine import Ended, Engine, MakeEngine
from resdeg.sweep.estimate import Cost, default_jobs, run_cost, settle_group
from resdeg.sweep.plan import Plan
from resdeg.sweep.preflight import ask_preflight
from resdeg.sweep.registration import note_share, write_plan
from resdeg.sweep.shards import Shard
from resdeg.sweep.signals import handling
from resdeg.sweep.supervisor import Retry, StopNow, StopRequests, carry_out
from resdeg.sweep.workers.launch import start_server
from resdeg.sweep.workers.pool import Pool

ENOUGH = 60.0  # seconds of training that say more about a step's time than the probes did

Ask = Callable[..., Facts]  # see `ask_preflight`


@dataclass(frozen=True)
class Priced:
    """A plan, and what it costs on this machine. `costs`: by run id, of finished runs too."""

    plan: Plan
    facts: Facts
    costs: Mapping[str, Cost]
    room: int | None = None  # see `Engine.make_room`

    def missing_bytes(self) -> int:
        """Counts the bytes that its runs will add to what they have on disk."""
        runs = [run.run_id for run in self.plan.todo]
        return sum(max(0, self.costs[run].bytes - self.plan.count_bytes(run)) for run in runs)

    @cached_property
    def jobs(self) -> int:
        """How many of its runs are trained side by side."""
        if self.room is None or self.plan.config.execution.jobs != "auto":
            return default_jobs(self.plan.config, self.facts, len(self.plan.todo))
        return max(1, min(self.room, len(self.plan.todo)))


@dataclass(frozen=True)
class SetAside:
    """An earlier run now stands in `folder`, and its name is free for a new one."""

    folder: Path


@dataclass(frozen=True)
class NothingToTrain:
    """Every run that is to be trained here had finished or diverged before."""

    plan: Plan


@dataclass(frozen=True)
class Begun:
    """The plan stands in sweep.toml, as `registered`, and the first step comes next.

    engine: what the user is to know of the engine, see `Engine`.
    """

    priced: Priced
    registered: SweepConfig
    engine: str = ""


@dataclass(frozen=True)
class Over:
    """The last event of every sweep. Unless a signal stopped it, its curve can be drawn now.

    total: how many runs were to be trained; left: how many of them have neither ended nor failed; failed: by
    run id, why; signal: the number of the one that stopped the sweep; at_once: whether a second one did, so
    that the workers could not save.
    """

    total: int = 0
    left: int = 0
    failed: Mapping[str, ResdegError] = field(default_factory=dict)
    signal: int | None = None
    at_once: bool = False


Event = SetAside | NothingToTrain | Begun | Progress | Retry | Ended | Over


def price_sweep(
    config: SweepConfig,
    folder: Path,
    *,
    shard: Shard | None = None,
    fresh: bool = False,
    ask: Ask = ask_preflight,
) -> Priced:
    """Plans and prices a sweep without its data, and without torch where a calibration is at hand.

    Args:
        shard: the share of the plan that is to be trained in `folder`; all of it if that is None.
        fresh: prices the runs that the folder has as well, because they would be trained anew.
        ask: finds out what a step costs where that is not known, see `ask_preflight`.

    Raises:
        UsageError: a setting names what is not there, or the folder holds a sweep of other settings.
    """
    config.grid()[0].check_trainable()
    store = SweepStore(folder)
    check_folder(config, store)
    known = recall_all(config)
    plan = Plan.load(config, store, shard, fresh=fresh)
    return _price(plan, ask(config, read_data=False) if known is None else facts_of_runs(config, known))


def _price(plan: Plan, facts: Facts) -> Priced:
    snapshots = plan.config.execution.snapshots
    return Priced(plan, facts, {run.run_id: run_cost(run, facts, snapshots) for run in plan.config.runs()})


def run_sweep(
    config: SweepConfig,
    folder: Path,
    *,
    shard: Shard | None = None,
    fresh: bool = False,
    joins: bool = False,
    deadline: float | None = None,
    requests: StopRequests | None = None,
    waiting: Callable[[str], None] | None = None,
    fetch: Callable[[Distribution], object] = data.cifar.get,
    ask: Ask = ask_preflight,
    engine: MakeEngine = Pool,
) -> Generator[Event, None, None]:
    """Plans, prices and trains a sweep, from wherever `folder` stands; yields what happens, last an `Over`.

    While runs are trained, a signal asks the workers to save and stop, and a second one kills them. An
    iterator that is closed before its end kills them too. `follow` reads it.

    Args:
        shard: the share of the plan that is trained here; all of it if that is None. The plan that is written
            is the whole one, so that folders of shards can be put together.
        fresh: sets earlier runs of this grid aside and trains them anew.
        joins: the plan is one more run of a grid that the folder may have; see `write_plan`.
        deadline: seconds on the monotonic clock at which everything is saved and stopped.
        requests: hears the signals; a new one where none is given.
        waiting: is called with who owns the folder, which is then waited for; None: BusyError is raised.
        fetch: downloads a data set that is missing.
        ask: checks, prices and reads the data, see `ask_preflight`.
        engine: makes what trains the runs; see `Engine`.

    Raises:
        UsageError: a setting names what is not there, or the folder holds a sweep of other settings.
        DataError: the data set is missing or damaged.
        BusyError: another process owns the folder, or a worker trains a run that is to be set aside.
        StorageError: the folder cannot be written, or its disk has less room than the runs need.
    """
    config.grid()[0].check_trainable()
    store = SweepStore(folder)
    check_folder(config, store)
    missing = find_missing_data(config)
    start_server()
    facts = None
    if Plan.load(config, store, shard, fresh=fresh).todo:
        facts = _get_facts(config, missing, ask=ask, fetch=fetch)
    over = Over()
    with store.owned(waiting):
        check_folder(config, store)  # another process may have begun a sweep there
        # While we waited, another process may have finished the runs, or set finished ones aside.
        present = Plan.load(config, store, shard)
        plan = Plan.load(config, store, shard, fresh=True) if fresh else present
        if plan.todo and facts is None:
            facts = _get_facts(config, missing, ask=ask, fetch=fetch)
        priced = None if facts is None else _price(plan, facts)
        if priced is not None:
            check_room(folder, priced.missing_bytes(), purpose="this sweep")
        if fresh:
            yield from _set_aside(present)
        registered = write_plan(plan, joins=joins)
        if not joins:
            note_share(plan)
        if priced is None or not plan.todo:
            yield NothingToTrain(plan)
        else:
            requests = StopRequests() if requests is None else requests
            group = settle_group(config, priced.facts.device)
            workers = engine(folder, config.execution.model_copy(update={"group": group}))
            try:
                memory = priced.facts.worker_bytes
                room = workers.make_room(threads=config.training.threads, memory=memory)
                priced = replace(priced, room=room)
                yield Begun(priced, registered, workers.description)
                over = yield from _train(priced, workers, requests, deadline)
            finally:
                workers.kill()
    yield over


def _get_facts(
    config: SweepConfig, missing: Distribution | None, *, ask: Ask, fetch: Callable[[Distribution], object]
) -> Facts:
    """Fetches the data that is missing, and asks what the runs cost."""
    if missing is not None:
        ask(config, read_data=False)  # finds a typo before 170 MB are fetched
        fetch(missing)
    return ask(config, read_data=True)


def _set_aside(plan: Plan) -> Iterator[SetAside]:
    """Sets the runs of the share aside that have begun.

    Raises:
        BusyError: a worker that has lost its sweep still trains one of them; nothing was moved.
    """
    begun = [run.run_id for run in plan.share if plan.states[run.run_id] != "missing"]
    for run_id in begun:
        if plan.states[run_id] == "running":
            raise BusyError(
                f"{plan.store.run(run_id).folder} is busy: a worker trains it",
                "wait until it has left; nothing was set aside",
            )
    for run_id in begun:
        yield SetAside(plan.store.set_aside(run_id))


def follow(events: Generator[Event, None, None], show: Callable[[Event], object]) -> Over:
    """Shows every event of `run_sweep` and returns the last one, which is shown as well.

    A second signal may come while an event is shown. The sweep has to hear of it, because it has workers to
    kill.
    """
    with contextlib.closing(events):
        while True:
            try:
                event = next(events)
                show(event)
            except StopNow as stop:
                event = events.throw(stop)
                show(event)
            if isinstance(event, Over):
                return event


def find_missing_data(config: SweepConfig) -> Distribution | None:
    """Returns what must be downloaded first; None where the data is there, or needs no file.

    Raises:
        DataError: the data is not where the user says, which never falls through to another directory, or
            it is missing and downloads are off.
    """
    data_dir, source = config.execution.data_dir, data.source(config.data.name)
    try:
        source.check(config.data, config.execution.data_path)
    except DataError:
        if data_dir or config.execution.offline:
            raise
        return source.files
    return None


def _train(
    priced: Priced, engine: Engine, requests: StopRequests, deadline: float | None
) -> Generator[Event, None, Over]:
    plan, todo = priced.plan, priced.plan.todo
    left = {run.run_id for run in todo}
    failed: dict[str, ResdegError] = {}
    took = foreseen = 0.0  # seconds of the runs that were trained here from their first step
    at_once = False
    events = carry_out(todo, engine, jobs=priced.jobs, requests=requests, deadline=deadline)
    try:
        with handling(requests.hear), contextlib.closing(events):
            for event in events:
                if isinstance(event, Ended):
                    summary, run_id = event.summary, event.run_id
                    if summary is None or summary.status == "failed":
                        reason = summary.reason if summary else "failed"
                        failed[run_id] = event.error or ResdegError(f"{run_id}: {reason}")
                    elif summary.status == "finished" and plan.states[run_id] == "missing":
                        took += summary.seconds
                        foreseen += priced.costs[run_id].seconds
                    if summary is None or summary.status != "stopped":
                        left.discard(run_id)
                yield event
    except StopNow:
        at_once = True
    if requests.number is None and took > ENOUGH:
        correct(plan.config, took / foreseen)
    return Over(len(todo), len(left), failed, requests.number, at_once)
