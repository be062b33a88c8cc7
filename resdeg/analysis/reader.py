"""Reads the folder of a sweep: which runs belong to it, their records, and what computed them."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from resdeg.config import RunConfig, SweepConfig, read_toml, validate
from resdeg.errors import StorageError, UsageError
from resdeg.records import MAKES_BITS
from resdeg.store import RunStore, SweepStore

# By the name of a property: each of its values, and how many runs have it.
Provenance = Mapping[str, Mapping[str, int]]
Records = TypeVar("Records")


def identify_run(run: RunConfig) -> dict[str, object]:
    """Returns the columns that identify a run in every table."""
    return {"run_id": run.run_id, "family": run.family, "depth": run.depth, "seed": run.seed}


def list_runs(store: SweepStore) -> tuple[SweepConfig, list[RunConfig], list[str]]:
    """Returns the grid, the runs of the sweep and a line for each entry of runs/ that is none.

    The runs are the planned ones of the grid and of its arms, then others in the folder whose settings are
    those of the grid or of an arm. A copy, a renamed run, a damaged one and a stray file are left out.

    Raises:
        UsageError: there is no sweep.
    """
    if not os.path.isfile(store.plan):  # noqa: PTH113 (Path.is_file raises where a path is too long)
        raise _refuse_folder(store.folder)
    config = validate(SweepConfig, {str(store.plan): read_toml(store.plan)})
    runs = {run.run_id: run for run in config.runs()}
    problems: list[str] = []
    settings = {grid.settings_id for grid in config.grids}
    for name in store.names():
        run = store.run(name)
        try:
            if not run.folder.is_dir():
                raise StorageError(f"{run.folder}: is no folder of a run")
            if name in runs:
                run.has_begun()
            elif (other := run.config()).settings_id in settings:
                runs[name] = other
        except StorageError as error:
            # A name may hold bytes that are no text, which no figure and no page can show.
            problems.append(error.what.encode(errors="backslashreplace").decode())
            runs.pop(name, None)
    return config, list(runs.values()), problems


def extend_grid(config: SweepConfig, runs: Iterable[RunConfig]) -> SweepConfig:
    """Returns the smallest grid that has the plan's families, depths and seeds and those of `runs`.

    Runs of other settings, as those of an arm, do not count.
    """
    own = [run for run in runs if run.settings_id == config.settings_id]
    present: dict[str, set[Any]] = {
        "families": {run.family for run in own if run.depth > 2},  # at depth 2 both families are one network
        "depths": {run.depth for run in own},
        "seeds": {run.seed for run in own},
    }
    wider = {
        name: tuple(sorted({*getattr(config, name), *values}))
        for name, values in present.items()
        if not values <= {*getattr(config, name)}
    }
    return config.model_copy(update=wider)


def describe_unplanned(config: SweepConfig, runs: Iterable[RunConfig]) -> str:
    """Says how many runs are outside the plan, as those of an earlier grid are, and how to plan them all.

    The text is empty where there are none, or where the runs are adopted, because no sweep can plan those.
    """
    grid = {run.run_id for run in config.grid()}
    own = [run for run in runs if run.settings_id == config.settings_id]
    count = sum(run.run_id not in grid for run in own)
    if count == 0 or config.adopted is not None:
        return ""
    wider = extend_grid(config, own)
    options = [
        f"--{name} {','.join(map(str, getattr(wider, name)))}"
        for name in ("families", "depths", "seeds")
        if getattr(wider, name) != getattr(config, name)
    ]
    lie = "lies" if count == 1 else "lie"
    drawn = ""
    if wider.families != config.families:
        drawn = f"; until then only {config.families[0]} networks are drawn"
    return (
        f"{count} of the {len(own)} runs {lie} outside the grid of sweep.toml, and claims are asked about "
        f"that grid; `resdeg sweep FOLDER {' '.join(options)}` makes one grid of all{drawn}"
    )


def _refuse_folder(folder: Path) -> UsageError:
    """Says why a path is no sweep's folder, and which folder may be meant."""
    remedy = "run `resdeg sweep` first, or give a sweep's folder"
    if not os.path.exists(folder):  # noqa: PTH110 (as above)
        return UsageError(f"{folder} does not exist", remedy)
    for parent in folder.absolute().parents:
        if (parent / "sweep.toml").is_file():
            what = "lies in a sweep's folder and is none"
            return UsageError(f"{folder} {what}", f"give {os.path.relpath(parent)}")
    if folder.is_dir():
        return UsageError(f"{folder} holds no sweep (no sweep.toml)", remedy)
    return UsageError(f"{folder} is a file, and no sweep's folder", remedy)


def read_runs(
    store: SweepStore,
    runs: Iterable[RunConfig],
    *,
    read: Callable[[RunStore, RunConfig], Records],
    problems: list[str],
) -> Iterator[tuple[RunConfig, Records]]:
    """Yields each run with what `read` returns for it.

    A run that cannot be read is left out and hides no other: `problems` gets a line for it, and only one,
    although a run may belong to several arms.
    """
    for run in runs:
        try:
            records = read(store.run(run.run_id), run)
        except StorageError as error:
            if error.what not in problems:
                problems.append(error.what)
        else:
            yield run, records


def collect_provenance(runs: Iterable[RunStore]) -> Provenance:
    """Returns the data, versions, processor, device and threads of `runs`, as far as they are recorded."""
    stores: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in ("data_hash", *MAKES_BITS)}
    for store in runs:
        with contextlib.suppress(StorageError):  # whoever reads the run names what cannot be read
            for segment in store.environment().segments:
                for name, values in stores.items():
                    if (value := getattr(segment, name)) != "":
                        values[str(value)[:40]].add(store.folder.name)
    return {
        name: {value: len(ids) for value, ids in sorted(values.items())} for name, values in stores.items()
    }


def describe_differences(provenance: Provenance) -> list[str]:
    """Returns a line for each property in which runs differ though their settings are the same.

    A curve over such runs is still a curve, but a difference between two of them may come from there.
    """
    return [
        f"the runs differ in {name}: "
        + ", ".join(f"{value} ({count} run{'s' * (count > 1)})" for value, count in values.items())
        for name, values in provenance.items()
        if len(values) > 1
    ]
