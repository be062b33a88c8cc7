"""`resdeg diagnose`: measure the networks of a sweep, at initial values, on the way and trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.config.grammar import parse_depths, parse_seeds
from resdeg.errors import UsageError, did_you_mean
from resdeg.report.units import duration, percent

if TYPE_CHECKING:
    import pandas as pd

    from resdeg.analysis.diagnostics import Blocks

# The names of DIAGNOSTICS are written out here, because a help text must not load torch.
KINDS = ("responses", "identity", "probes", "lesions", "gradients")
_SPREAD = ("first", "median", "last")
_MOST_TABLES = 4  # More networks than these get a line each, instead of a table each.


def diagnose(
    sweep: options.SweepArgument = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            help=f"{','.join(KINDS)} (default), or some of them.", autocompletion=options.one_of(*KINDS)
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=4,
            help="Held-out images, or all there are; as many training images, five times for probes. "
            "Not given: 1000, and what was measured on more stays.",
        ),
    ] = None,
    depths: Annotated[str | None, typer.Option(help="Only these depths, e.g. 20,56.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Only these seeds, e.g. 0-2.")] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also runs that were stopped, at their newest checkpoint.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what is there, on --images images.")
    ] = False,
    jobs: options.Jobs = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure finished networks: responses, identity, probes, lesions, gradients; what is there stays."""
    from resdeg import data
    from resdeg.analysis.diagnostics import load_diagnostics, summarise_blocks
    from resdeg.analysis.reader import list_runs, read_runs
    from resdeg.store import SweepStore
    from resdeg.sweep.estimate import fitting_jobs
    from resdeg.sweep.machine import available_bytes, count_cores
    from resdeg.sweep.measuring import WORKER_BYTES, Request, measure, obstacle

    store = SweepStore(options.sweep_folder(sweep))
    chosen_kinds = _parse_kinds(kinds)
    config, runs, problems = list_runs(store)
    test_images = data.shape(config.data).test
    if images is not None and images > test_images:
        screen.insist(
            f"--images {images:,}: there are {test_images:,} test images, and all of them are taken"
        )
    chosen = [
        run
        for run in runs
        if (depths is None or run.depth in parse_depths(depths))
        and (seeds is None or run.seed in parse_seeds(seeds))
    ]
    readable = read_runs(
        store, chosen, read=lambda store, _: obstacle(store, unfinished=unfinished), problems=problems
    )
    obstacles = {run.run_id: reason for run, reason in readable}
    for line in _list_skipped(obstacles):
        screen.insist(f"skipped, {line}")
    able = [run for run in chosen if run.run_id in obstacles and obstacles[run.run_id] is None]
    cores = count_cores()
    side_by_side = options.given_jobs(jobs)
    if side_by_side is None:
        side_by_side = fitting_jobs(len(able), cores, worker_bytes=WORKER_BYTES, available=available_bytes())
    request = Request(chosen_kinds, images, options.resolve_data_dir(data_dir, config.data.name), again)
    measured = measure(store, able, request=request, jobs=side_by_side, cores=cores)
    for count, done in enumerate(measured, start=1):
        for notice in done.notices:
            screen.insist(notice)
        if done.measures:
            screen.say(
                f"{done.run_id}: measured {done.measures} times in {duration(done.seconds)} "
                f"({count} of {len(able)} networks)"
            )
    if config.adopted is not None:
        screen.say(f"note: adopted from {config.adopted.source}: initial values are not known")
    frame, damaged = load_diagnostics(store.folder)
    for problem in dict.fromkeys([*problems, *damaged]):
        screen.insist(f"left out: {problem}")
    shown = frame[frame["run_id"].isin(list(obstacles)) & frame["kind"].isin(chosen_kinds)]
    if shown.empty:
        raise UsageError(
            f"{store.folder}: nothing could be measured",
            "networks that are finished and have their checkpoints can: run `resdeg sweep` first, "
            "with --fresh where checkpoints are gone",
        )
    if as_json:
        emit(shown.to_json(orient="records", indent=1))
    elif shown["run_id"].nunique() > _MOST_TABLES and (networks := summarise_blocks(shown, config.arms)):
        emit(_overview(networks))
        screen.say("every number: --json; a network's own table: --depths, --seeds, --kinds")
    else:
        emit(_table(shown))


def _parse_kinds(kinds: str | None) -> list[str]:
    """Returns `kinds` in the order of KINDS; all of them where none is given."""
    names = [name.strip() for name in kinds.split(",")] if kinds else list(KINDS)
    for name in names:
        if name not in KINDS:
            raise UsageError(f"--kinds {name} is not known", did_you_mean(name, KINDS))
    return [kind for kind in KINDS if kind in names]


def _list_skipped(obstacles: dict[str, str | None]) -> list[str]:
    """Returns a line for each reason, with the runs that it holds for."""
    reasons = dict.fromkeys(why for why in obstacles.values() if why is not None)
    return [
        f"{reason}: {', '.join(run_id for run_id, why in obstacles.items() if why == reason)}"
        for reason in reasons
    ]


def _overview(networks: Sequence[Blocks]) -> str:
    """Returns a line per trained network, means over seeds: the report's table of blocks, for a terminal."""
    lines = [
        f"{'network':24} {'seeds':>5} {'images':>14} {'branch':>6} {'distance':>8} {'CKA':>5} {'linear':>6} "
        f"{'probe':>7} {'intact':>7} {'lost':>5}"
    ]
    for network in networks:
        branch, distance, cka, linear = network.spelled_late
        lost = "-" if network.lost is None else f"{100 * network.lost.mean:.1f}"
        probe = network.probes[1] if network.probes else None
        lines.append(
            f"{network.name:24} {network.seeds:>5} {network.spelled_images:>14} "
            f"{branch:>6} {distance:>8} {cka:>5} {linear:>6} "
            f"{percent(probe):>7} {percent(network.intact):>7} {lost:>5}"
        )
    return "\n".join(lines)


def _table(frame: pd.DataFrame) -> str:
    """Returns a table per run: first, median and last over layers or blocks of every number but losses.

    The states of a number stand below each other in the order of training.
    """
    from resdeg.analysis.diagnostics import digest, rank_state

    lines: list[str] = []
    for run_id, rows in digest(frame[~frame["name"].str.contains("loss")]).groupby("run_id", sort=False):
        spread = "".join(f" {column:>8}" for column in _SPREAD)
        lines += [f"{run_id}", f"  {'kind':10} {'number':30} {'state':>14} {'images':>6}{spread}"]
        for (kind, name), measures in rows.groupby(["kind", "name"], sort=False):
            begins = f"  {kind:10} {name:30}"
            ordered = measures.sort_values("state", key=lambda states: states.map(rank_state))
            for _, row in ordered.iterrows():
                state = row["state"] if isinstance(row["state"], str) else f"step {row['state']}"
                lines.append(f"{begins:43} {state:>14} {row['images']:>6}{_cells(row)}")
                begins = ""
    return "\n".join(lines)


def _cells(row: pd.Series[Any]) -> str:
    """Returns three columns; a number of the whole network fills the last."""
    names = _SPREAD if row["places"] > 1 else ("last",)
    return "".join(f" {row[name]:8.4g}" for name in names).rjust(27)
