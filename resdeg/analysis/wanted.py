"""Which runs of a folder are a sweep's."""

from __future__ import annotations

from resdeg.config import RunConfig, SweepConfig, read_toml, validate
from resdeg.errors import StorageError, UsageError
from resdeg.store import SweepStore


def key_of(run: RunConfig) -> dict[str, object]:
    return {"run_id": run.run_id, "family": run.family, "depth": run.depth, "seed": run.seed}


def wanted_runs(store: SweepStore) -> tuple[SweepConfig, list[RunConfig], list[str]]:
    """The grid; its runs and its arms', then others in the folder of such settings; what was not readable.

    Raises:
        UsageError: there is no sweep.
    """
    if not store.plan.is_file():
        what = "holds no sweep (no sweep.toml)" if store.folder.is_dir() else "does not exist"
        raise UsageError(f"{store.folder} {what}", "run `resdeg sweep` first, or give a sweep's folder")
    config = validate(SweepConfig, {str(store.plan): read_toml(store.plan)})
    wanted = {run.run_id: run for run in config.runs()}
    problems: list[str] = []
    settings = {grid.settings_id for grid in config.grids}
    for run_id in store.run_ids():
        if run_id not in wanted:
            try:
                run = store.run(run_id).config()
            except StorageError as error:
                problems.append(error.what)
                continue
            if run.settings_id in settings:
                wanted[run_id] = run
    return config, list(wanted.values()), problems
