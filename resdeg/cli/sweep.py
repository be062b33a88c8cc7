"""`resdeg sweep` and `resdeg train`: run a sweep, and print what happens."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import engines, options
from resdeg.cli.announce import announce, say_nothing_to_train, show_dry_run
from resdeg.cli.console import emit, screen
from resdeg.cli.data import download
from resdeg.cli.outcome import show_document, show_outcome
from resdeg.cli.progress import Board
from resdeg.config import Settings, arrange_options, parse_time
from resdeg.errors import ResdegError, UsageError

if TYPE_CHECKING:
    from resdeg.cli.plot import Drawn
    from resdeg.config import SweepConfig
    from resdeg.sweep.conduct import Event, Over
    from resdeg.sweep.shards import Shard


def sweep(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG.toml|SWEEP]",
            help="A configuration, as `resdeg config show` prints it; or a sweep's folder, to go on in it.",
        ),
    ] = None,
    depths: options.Depths = None,
    families: options.Families = None,
    seeds: options.Seeds = None,
    data: options.DataOption = None,
    data_dir: options.DataDir = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    assignments: options.Assignments = None,
    precision: options.Precision = None,
    fast_math: options.FastMath = False,
    device: options.Device = None,
    jobs: options.Jobs = None,
    offline: options.Offline = False,
    time_limit: options.TimeLimit = None,
    out: options.Out = None,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
    fresh: options.Fresh = False,
    shard: options.ShardOption = None,
    as_json: options.AsJson = False,
    engine: engines.EngineName = "local",
    ray_address: engines.RayAddress = None,
    gpus_per_run: engines.GpusPerRun = None,
    ray_stream: engines.RayStream = False,
) -> None:
    """Train plain and residual networks over depths and seeds; the same command again resumes."""
    given = arrange_options(
        data=data, data_dir=data_dir, recipe=recipe, epochs=epochs, steps=steps, precision=precision,
        fast_math=fast_math, device=device, jobs=jobs, offline=offline, depths=depths, families=families,
        seeds=seeds,
    )  # fmt: skip
    choose = functools.partial(
        engines.choose_engine, engine, address=ray_address, gpus_per_run=gpus_per_run, stream=ray_stream
    )
    _run(
        config, given, assignments=assignments, out=out, time_limit=time_limit, wait=wait, dry_run=dry_run,
        fresh=fresh, as_json=as_json, single=False, share=shard, choose=choose,
    )  # fmt: skip


def train(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG.toml|SWEEP]", help="A configuration, or a sweep's folder."),
    ] = None,
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
    fast_math: options.FastMath = False,
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
    given = arrange_options(
        data=data, data_dir=data_dir, recipe=recipe, epochs=epochs, steps=steps, precision=precision,
        fast_math=fast_math, device=device, jobs="1", offline=offline, depths=depth, families=family,
        seeds=seed,
    )  # fmt: skip
    _run(
        config, given, assignments=assignments, out=out, time_limit=time_limit, wait=wait, dry_run=dry_run,
        fresh=fresh, as_json=as_json, single=True,
    )  # fmt: skip


def _run(
    file: Path | None,
    given: Settings,
    *,
    assignments: list[str] | None,
    out: Path | None,
    time_limit: str | None,
    wait: bool,
    dry_run: bool,
    fresh: bool,
    as_json: bool,
    single: bool,
    share: str | None = None,
    choose: engines.Choose = engines.choose_engine,
) -> None:
    """Prices the sweep or runs it; leaves with the exit code that the documentation gives to how it went.

    Args:
        choose: chooses the engine for a device, see `choose_engine`.
    """
    from resdeg.sweep.conduct import follow, price_sweep, run_sweep
    from resdeg.sweep.destination import resolve_sweep
    from resdeg.sweep.shards import parse_shard

    started = time.monotonic()
    limit = parse_time(time_limit) if time_limit else None
    shard = None if share is None else parse_shard(share)
    config, folder = resolve_sweep(
        file, os.environ, assignments or [], given, out=out, shard=shard, single=single
    )
    config.grid()[0].check_trainable()
    if single and len(config.runs()) != 1:
        raise UsageError(
            "resdeg train makes one run", "give one --family, --depth and --seed; else resdeg sweep"
        )
    with choose(device=config.execution.device, dry_run=dry_run) as engine, _Show() as show:
        if dry_run:
            show_dry_run(price_sweep(config, folder, shard=shard, fresh=fresh), as_json)
            return
        run = run_sweep if engine is None else functools.partial(run_sweep, engine=engine)
        events = run(
            config,
            folder,
            shard=shard,
            fresh=fresh,
            joins=single,
            deadline=None if limit is None else started + limit,
            waiting=(lambda busy: screen.say(f"waiting: {busy}")) if wait else None,
            fetch=lambda distribution: download(distribution, config.execution.offline),
        )
        over = follow(events, show)
    _conclude(over, folder, config=config, shard=shard, as_json=as_json)


class _Show(contextlib.ExitStack):
    """Prints the events of a sweep; within `with`, the board of its progress is drawn."""

    _board: Board

    def __call__(self, event: Event) -> None:
        from resdeg.records import Progress
        from resdeg.sweep import conduct
        from resdeg.sweep.engine import Ended
        from resdeg.sweep.registration import described
        from resdeg.sweep.supervisor import RETRIES, Retry

        match event:
            case conduct.SetAside():
                screen.say(f"set aside: {event.folder}")
            case conduct.NothingToTrain():
                options.remember(event.plan.store.folder)
                screen.say(say_nothing_to_train(event.plan))
            case conduct.Begun():
                priced = event.priced
                options.remember(priced.plan.store.folder)
                announce(priced)
                if event.engine:
                    screen.say(f"engine  {event.engine}")
                screen.say(f"rules   {described(event.registered)}")
                board = Board({run.run_id: priced.costs[run.run_id] for run in priced.plan.todo})
                self._board = self.enter_context(board)
            case Progress():
                self._board.progress(event)
            case Retry():
                self._board.lost(event.run_id)
                screen.insist(f"{event.why}; to be tried again ({event.attempt} of {RETRIES})")
            case Ended():
                self._board.ended(event.run_id, event.summary, event.error.what if event.error else None)


def _conclude(over: Over, folder: Path, *, config: SweepConfig, shard: Shard | None, as_json: bool) -> None:
    """Says what is left and what failed, shows what there is, and leaves with the code of how it went."""
    # A second --fresh would set aside what this command has trained.
    arguments = [argument for argument in sys.argv[1:] if argument != "--fresh"]
    resume = f"Go on with: {shlex.join(['resdeg', *arguments])}"
    if over.at_once:
        screen.insist("stopped at once; the last checkpoints stand")
    if over.signal is not None:
        screen.insist(f"stopped: {over.left} of {over.total} runs are left. {resume}")
    elif over.left:
        screen.insist(f"time limit reached: {over.left} of {over.total} runs are left. {resume}")
    drawn = None if over.signal is not None else _draw(folder)
    if as_json:
        show_document(config, folder, over, shard=shard, figure=None if drawn is None else drawn.figure)
    elif drawn is not None:
        if not screen.quiet:
            show_outcome(drawn.sweep)
        screen.say("curve:")
        emit(str(drawn.figure))
    if over.signal is not None:
        raise SystemExit(128 + over.signal)
    if over.failed:
        screen.insist(
            f"{len(over.failed)} of {over.total} runs failed; see above, and error.txt in their folders. "
            + resume
        )
        raise SystemExit(_exit_code(over.failed.values()))
    if shard is not None and not over.left:
        screen.say(f"shard {shard} is done; put all shards together with: resdeg collect SHARD ... --out DIR")


def _exit_code(failed: Iterable[ResdegError]) -> int:
    """Returns the code that all failed runs would give, if it says what to do; else that for failed runs."""
    codes = {error.exit_code for error in failed}
    return codes.pop() if len(codes) == 1 and codes <= {4, 5, 6} else 3


def _draw(folder: Path) -> Drawn | None:
    """Draws what there is; None where a sweep has no point to draw yet, which is no failure of the sweep."""
    from resdeg.cli.plot import draw

    try:
        return draw([folder], "curve", None, "light")
    except UsageError as error:
        screen.say(f"no curve yet: {error.what}")
        return None
