"""Reads the folder of a sweep: which runs belong to it, their records, and what computed them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

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
    """Returns the grid, the runs of the sweep and a line for each folder that cannot be read.

    The runs are the planned ones of the grid and of its arms, then others in the folder whose settings are
    those of the grid or of an arm.

    Raises:
        UsageError: there is no sweep.
    """
    if not store.plan.is_file():
        what = "holds no sweep (no sweep.toml)" if store.folder.is_dir() else "does not exist"
        raise UsageError(f"{store.folder} {what}", "run `resdeg sweep` first, or give a sweep's folder")
    config = validate(SweepConfig, {str(store.plan): read_toml(store.plan)})
    runs = {run.run_id: run for run in config.runs()}
    problems: list[str] = []
    settings = {grid.settings_id for grid in config.grids}
    others = (run_id for run_id in store.run_ids() if run_id not in runs)
    for run in _read_configs(store, others, problems=problems):
        if run.settings_id in settings:
            runs[run.run_id] = run
    return config, list(runs.values()), problems


def _read_configs(store: SweepStore, run_ids: Iterable[str], *, problems: list[str]) -> Iterator[RunConfig]:
    for run_id in run_ids:
        try:
            config = store.run(run_id).config()
        except StorageError as error:
            problems.append(error.what)
        else:
            yield config


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
