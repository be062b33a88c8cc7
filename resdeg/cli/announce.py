"""What `resdeg sweep` prints before the first step: the plan, the recipe, the cost."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from resdeg.cli.console import emit, emit_json, screen
from resdeg.errors import DataError, StorageError
from resdeg.report.units import changed, duration, size
from resdeg.room import count_free_bytes

if TYPE_CHECKING:
    from resdeg.config import SweepConfig
    from resdeg.sweep.conduct import Priced
    from resdeg.sweep.plan import Plan


def announce(priced: Priced) -> None:
    """Prints the plan, the recipe and the cost, before the first step."""
    from resdeg.sweep.estimate import wall_seconds

    plan, facts, jobs = priced.plan, priced.facts, priced.jobs
    config, training, todo = plan.config, plan.config.training, plan.todo
    done = len(plan.share) - len(todo)
    in_grid = f"{len(config.grid())} of them " if config.arms else ""
    screen.say(
        f"plan    {len(plan.states)} runs: {in_grid}{', '.join(config.families)} x depths "
        f"{', '.join(map(str, config.depths))} x {len(config.seeds)} seed(s)"
        + (", seed by seed" if config.execution.order == "seed" else "")
        + (f"; shard {plan.shard}: {len(plan.share)} of them" if plan.shard is not None else "")
        + (f"; {done} finished before" if done else "")
    )
    for name, grid in config.arm_sweeps.items():
        screen.say(
            f"arm     {name}: {changed(config.changes(name))}; {len(grid.grid())} runs: "
            f"{', '.join(grid.families)} x depths {', '.join(map(str, grid.depths))}"
        )
    screen.say(
        f"recipe  {training.recipe}: {training.length}, lr {training.lr:g} {training.schedule}, "
        f"batch {training.batch_size}, SGD momentum {training.momentum:g}, "
        f"weight decay {training.weight_decay:g}, {training.precision}"
        + (", fast math" if training.fast_math else "")
    )
    known = f", hash {facts.data_hash[:12]}" if facts.data_hash else ""
    screen.say(f"data    {config.data.label} ({_locate_images(config)}){known}")
    one_gpu = facts.device == "cuda" and priced.room is None  # a cluster may have many
    wall = wall_seconds([priced.costs[run.run_id].seconds for run in todo], jobs, one_gpu=one_gpu)
    first_ids = {run.run_id for run in config.model_copy(update={"seeds": config.seeds[:1]}).runs()}
    first = [run for run in todo if run.run_id in first_ids]  # arms may have seeds of their own
    alone = ""
    if len(config.seeds) > 1 and first and plan.shard is None:  # other seeds would be shared out otherwise
        seconds = [priced.costs[run.run_id].seconds for run in first]
        wall_of_first = wall_seconds(seconds, jobs, one_gpu=one_gpu)
        alone = f" (with --seeds {config.seeds[0]}: {duration(wall_of_first)})"
    memory = size(jobs * facts.worker_bytes)
    disk = size(sum(priced.costs[run.run_id].bytes for run in todo))
    screen.say(
        f"cost    about {duration(wall)}{alone} on {facts.device}, {jobs} side by side; about {memory} of "
        f"memory, {disk} on disk, in {plan.store.folder}"
    )
    if plan.others:
        screen.say(f"note    {len(plan.others)} other runs in this folder are kept")


def _locate_images(config: SweepConfig) -> str:
    """Says where the images are; where they are not there yet, as before a dry run, what comes of it."""
    from resdeg.data.cache import cache_folder
    from resdeg.sweep.conduct import find_missing_data

    if config.data.name == "hierarchy":
        return "built in"
    data_dir = config.execution.data_dir
    try:
        missing = find_missing_data(config)
    except DataError:
        return f"not found in {data_dir}" if data_dir else "not in the cache, and downloads are off"
    except StorageError:  # no home: a sweep says so when it needs a cache
        missing = None
    if missing is None:
        return data_dir or "cache"
    archive = next(layout.archive_bytes for layout in missing.layouts if layout.urls)
    return f"to be downloaded into {cache_folder()}, {size(archive)}"


def say_nothing_to_train(plan: Plan) -> str:
    """Says why nothing is trained: all runs have ended, or the plan has fewer runs than shards."""
    if plan.shard is None:
        return f"all {len(plan.states)} runs are finished: nothing to train"
    if not plan.share:
        return f"shard {plan.shard} is empty, because the plan has {len(plan.states)} runs: nothing to train"
    return f"all {len(plan.share)} runs of shard {plan.shard} are finished: nothing to train"


def show_dry_run(priced: Priced, as_json: bool) -> None:
    """Prints the plan and its cost, run by run, on stdout."""
    plan, facts = priced.plan, priced.facts
    arms = plan.config.arm_names
    rows = [
        {
            "run_id": run_id,
            "arm": arms[run.settings_id],
            "state": plan.states[run_id],
            "parameters": facts.parameters[run_id],
            "pflop": 2 * priced.costs[run_id].multiply_adds / 1e15,
            "seconds": priced.costs[run_id].seconds,
            "bytes": priced.costs[run_id].bytes,
        }
        for run_id, run in ((run.run_id, run) for run in plan.share)
    ]
    needed, free = priced.missing_bytes(), count_free_bytes(plan.store.folder)
    if as_json:
        emit_json(
            {
                "folder": str(plan.store.folder), "device": facts.device, "missing_bytes": needed,
                "free_bytes": free, "runs": rows,
            }
        )  # fmt: skip
        return
    announce(priced)
    if free is not None and free < needed:
        screen.say(f"note    only {size(free)} are free there, so this sweep would be refused")
    emit(f"{'run':26} {'state':>11} {'parameters':>10} {'PFLOP':>8} {'time':>10} {'disk':>9}")
    for arm, of_arm in groupby(rows, key=lambda row: str(row["arm"])):
        if arm:
            emit(f"arm {arm}")
        for row in of_arm:
            emit(
                f"{row['run_id']:26} {row['state']:>11} {row['parameters']:>10,} {row['pflop']:>8.3f} "
                f"{duration(float(str(row['seconds']))):>10} {size(float(str(row['bytes']))):>9}"
            )
