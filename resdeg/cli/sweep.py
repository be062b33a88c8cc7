"""`resdeg sweep` and `resdeg train`: plan, price, train, draw."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.announce import announce, show_dry_run
from resdeg.cli.console import emit, screen
from resdeg.cli.data import download
from resdeg.config import SweepConfig
from resdeg.errors import DataError, ResdegError, UsageError

if TYPE_CHECKING:
    from resdeg.data.cifar import Distribution
    from resdeg.sweep.calibration import Facts
    from resdeg.sweep.estimate import Cost
    from resdeg.sweep.plan import Plan

_ENOUGH = 60.0  # seconds of training that say more about a step's time than the probes did


def sweep(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.toml]", help="A configuration, e.g. configs/short.toml.")
    ] = None,
    depths: Annotated[str | None, typer.Option(help="Depths 6n+2, e.g. 8,20,56 (default).")] = None,
    families: Annotated[str | None, typer.Option(help="plain,residual (default) or one of them.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, e.g. 0-2 (default) or 0,3.")] = None,
    data: options.DataOption = None,
    data_dir: options.DataDir = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    assignments: options.Assignments = None,
    precision: options.Precision = None,
    device: options.Device = None,
    jobs: options.Jobs = None,
    offline: options.Offline = False,
    time_limit: options.TimeLimit = None,
    out: options.Out = None,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """Train plain and residual networks over depths and seeds; the same command again resumes."""
    given = options.flags(
        data, data_dir, recipe, epochs, steps, precision, device, jobs, offline,
        depths=depths, families=families, seeds=seeds,
    )  # fmt: skip
    _carry_through(config, assignments or [], given, out, time_limit, wait, dry_run, fresh, as_json)


def train(
    config: Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="A configuration.")] = None,
    family: Annotated[str, typer.Option(help="plain or residual.")] = "plain",
    depth: Annotated[str, typer.Option(help="Weighted layers, 6n+2.")] = "20",
    seed: Annotated[str, typer.Option(help="One whole number.")] = "0",
    data: options.DataOption = None,
    data_dir: options.DataDir = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    assignments: options.Assignments = None,
    precision: options.Precision = None,
    device: options.Device = None,
    offline: options.Offline = False,
    time_limit: options.TimeLimit = None,
    out: options.Out = None,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
    fresh: options.Fresh = False,
    as_json: options.AsJson = False,
) -> None:
    """Train one network: a sweep of one run, in the same folder and with the same records."""
    given = options.flags(
        data, data_dir, recipe, epochs, steps, precision, device, "1", offline,
        depths=depth, families=family, seeds=seed,
    )  # fmt: skip
    _carry_through(config, assignments or [], given, out, time_limit, wait, dry_run, fresh, as_json, one=True)


def _carry_through(
    file: Path | None,
    assignments: list[str],
    given: dict[str, object],
    out: Path | None,
    time_limit: str | None,
    wait: bool,
    dry_run: bool,
    fresh: bool,
    as_json: bool,
    one: bool = False,
) -> None:
    from resdeg.config import resolve
    from resdeg.store import SweepStore
    from resdeg.sweep.calibration import priced, recall_all
    from resdeg.sweep.estimate import costs
    from resdeg.sweep.executors.local import ask_preflight
    from resdeg.sweep.executors.process import start_server
    from resdeg.sweep.plan import Plan, default_folder
    from resdeg.sweep.registration import described

    started = time.monotonic()
    limit = options.parse_time(time_limit) if time_limit else None
    config = resolve(file, os.environ, assignments, given)
    config.grid()[0].check_trainable()
    if one and len(config.runs()) != 1:
        raise UsageError(
            "resdeg train makes one run", "give one --family, --depth and --seed; else resdeg sweep"
        )
    store = SweepStore(out or default_folder(config))
    missing = None if dry_run else _missing(config)
    known = recall_all(config) if dry_run else None
    if known is None:
        start_server()
    plan = Plan.of(config, store)
    wanted = config.runs() if dry_run or fresh else plan.todo
    waiting = (lambda busy: screen.say(f"waiting: {busy}")) if wait else None
    if not wanted:
        with store.owned(waiting):
            _write_plan(plan, one)
        _announce_nothing(plan)
        _draw(plan)
        return
    if missing is not None:
        ask_preflight(config, read_data=False)  # a typo is found before 170 MB are fetched
        download(missing, config.execution.offline)
    facts = priced(config, known) if known else ask_preflight(config, read_data=not dry_run)
    of_runs = dict(costs(config.runs(), facts, config.execution.snapshots))
    if dry_run:
        show_dry_run(plan, facts, of_runs, as_json)
        return
    with store.owned(waiting):
        if fresh:
            _set_aside(plan)
        plan = Plan.of(config, store)  # another process may have finished it while we waited
        written = _write_plan(plan, one)
        if plan.todo:
            jobs = options.default_jobs(config, facts, len(plan.todo))
            announce(plan, facts, of_runs, jobs)
            screen.say(f"rules   {described(written)}")
            _train(plan, facts, of_runs, jobs, started + limit if limit else None)
        else:
            _announce_nothing(plan)
    _draw(plan)


def _missing(config: SweepConfig) -> Distribution | None:
    """What must be downloaded first: nothing where it is there, or needs no file.

    Raises:
        DataError: it is not where the user says, which never falls through to another place, or it is
            not there and downloads are off.
    """
    from resdeg import data

    place = config.execution.data_dir
    try:
        data.check_data_dir(config.data, Path(place) if place else None)
    except DataError:
        if place or config.execution.offline:
            raise
        return data.source(config.data.name).files
    return None


def _write_plan(plan: Plan, one: bool) -> SweepConfig:
    """Name the grid in sweep.toml, with the registration it began with; returns the plan that stands there.

    One more run of a grid's settings joins the grid and replaces nothing.
    """
    from resdeg import files
    from resdeg.config import read_toml, validate
    from resdeg.sweep.registration import registered

    path = plan.store.plan
    options.remember(plan.store.folder)
    if one and path.is_file():
        present = validate(SweepConfig, {str(path): read_toml(path)})
        if present.settings_id == plan.config.settings_id:
            return present
    config = registered(plan.config, plan.store)
    files.write(path, config.to_toml().encode())
    return config


def _set_aside(plan: Plan) -> None:
    for run_id, state in plan.states.items():
        if state != "missing":
            screen.say(f"set aside: {plan.store.set_aside(run_id)}")


def _announce_nothing(plan: Plan) -> None:
    screen.say(f"all {len(plan.states)} runs are finished: nothing to train")


def _train(plan: Plan, facts: Facts, priced: dict[str, Cost], jobs: int, deadline: float | None) -> None:
    """See the runs through; leave with the code that the documentation gives to how it went."""
    from resdeg.cli.progress import Board
    from resdeg.sweep.calibration import correct
    from resdeg.sweep.executors import EXECUTORS, Where
    from resdeg.sweep.executors.local import Ended
    from resdeg.sweep.supervisor import RETRIES, Retry, StopNow, StopRequests, carry_out

    todo = plan.todo
    executor = EXECUTORS["local"](Where(plan.store.folder, plan.config.execution))
    failed: list[ResdegError] = []
    took = foreseen = 0.0  # of the runs that were trained here from their first step
    left = {run.run_id for run in todo}
    with StopRequests() as requests:
        board = Board({run.run_id: priced[run.run_id] for run in todo})
        try:
            with board:
                for event in carry_out(todo, executor, jobs, requests, deadline):
                    if isinstance(event, Retry):
                        board.lost(event.run_id)
                        screen.insist(f"{event.why}; to be tried again ({event.attempt} of {RETRIES})")
                        continue
                    if not isinstance(event, Ended):
                        board.progress(event)
                        continue
                    board.ended(event.run_id, event.summary, event.error.what if event.error else None)
                    status = event.summary.status if event.summary else "failed"
                    if event.summary and status == "finished" and plan.states[event.run_id] == "missing":
                        took += event.summary.seconds
                        foreseen += priced[event.run_id].seconds
                    if status == "failed":
                        failed.append(event.error or ResdegError(f"{event.run_id} failed"))
                    if status != "stopped":
                        left.discard(event.run_id)
        except StopNow:
            screen.insist("stopped at once; the last checkpoints stand")
        if requests.number is not None:
            screen.insist(f"stopped: {len(left)} of {len(todo)} runs are left. {_resume_line()}")
            raise SystemExit(128 + requests.number)
    if took > _ENOUGH:
        correct(plan.config, took / foreseen)
    if left:
        screen.insist(f"time limit reached: {len(left)} of {len(todo)} runs are left. {_resume_line()}")
    if failed:
        codes = {error.exit_code for error in failed}
        _draw(plan)
        screen.insist(
            f"{len(failed)} of {len(todo)} runs failed; see above, and error.txt in their folders. "
            + _resume_line()
        )
        raise SystemExit(codes.pop() if len(codes) == 1 and codes <= {4, 5, 6} else 3)


def _resume_line() -> str:
    return f"Go on with: {shlex.join(['resdeg', *sys.argv[1:]])}"


def _draw(plan: Plan) -> None:
    """Draw what there is, and say last where it is."""
    from resdeg.cli.plot import draw

    with _told_not_raised():
        drawn = draw([plan.store.folder], "curve", None, "light")
        if drawn.peak:
            screen.say(drawn.peak)
        screen.say("curve:")
        emit(str(drawn.figure))


@contextmanager
def _told_not_raised() -> Iterator[None]:
    """A sweep that has no point to draw yet is no failure of the sweep."""
    try:
        yield
    except UsageError as error:
        screen.say(f"no curve yet: {error.what}")
