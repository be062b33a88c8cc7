"""What `resdeg diagnose` measured, as a data frame: one row per record."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pandas as pd

from resdeg.analysis.wanted import key_of, wanted_runs
from resdeg.config import FAMILIES
from resdeg.errors import StorageError
from resdeg.records import DiagnosticRecord, State
from resdeg.store import SweepStore

DIAGNOSTIC_COLUMNS = [
    "run_id", "arm", "family", "depth", "seed",
    "kind", "state", "name", "layer", "block", "stage", "value", "images", "note",
]  # fmt: skip


def load_diagnostics(folder: Path | str) -> tuple[pd.DataFrame, list[str]]:
    """DIAGNOSTIC_COLUMNS: a row per record of the sweep in `folder`, empty where nothing was measured; and
    what could not be read, which hides no other run.

    `arm` is "" in the grid itself; a run that is in several arms has a row in each. `state` is "initial",
    "final" or a step; layer, block and stage are missing where they do not apply, and so is a value that was
    not finite. Depth 2 is one net in both families: a row in each of the grid.

    Raises:
        UsageError: there is no sweep.
    """
    store = SweepStore(Path(folder))
    config, runs, problems = wanted_runs(store)
    rows: list[dict[str, object]] = []
    grids = [(arm, of.settings_id, of.families) for arm, of in {"": config, **config.arm_sweeps}.items()]
    for run in runs:
        try:
            records = [_row(record) for record in store.run(run.run_id).diagnostics()]
        except StorageError as error:
            problems.append(error.what)
            continue
        own = run.settings_id
        for arm, settings_id, families in grids:
            for family in FAMILIES if run.depth == 2 else (run.family,):
                if settings_id == own and family in families:
                    key = {**key_of(run), "arm": arm, "family": family}
                    rows += [{**key, **record} for record in records]
    frame = pd.DataFrame(rows, columns=DIAGNOSTIC_COLUMNS)
    places = dict.fromkeys(("layer", "block", "stage"), "Int64")
    return frame.astype({**places, "value": "float64", "state": "object"}), problems


def _row(record: DiagnosticRecord) -> dict[str, object]:
    return {name: value for name, value in record if name in DIAGNOSTIC_COLUMNS}


def when(state: State) -> float:
    """Where a state stands in the order of training.

    >>> sorted(["final", 391, "initial", 40], key=when)
    ['initial', 40, 391, 'final']
    """
    return {"initial": -inf, "final": inf}[state] if isinstance(state, str) else state


def development(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The median over blocks of each number, of finished networks that were measured at snapshots.

    Args:
        frame: DIAGNOSTIC_COLUMNS; runs: RUN_COLUMNS of the same sweep, whose last step is the final state's.

    Returns:
        The frame's columns but layer and block, and `step`: 0 at initial values; `stage` is 1 everywhere.
    """
    on_the_way = frame.loc[frame["state"].map(lambda state: not isinstance(state, str)), "run_id"]
    finished = frame.loc[frame["state"] == "final", "run_id"]
    of = frame[frame["run_id"].isin({*on_the_way} & {*finished}) & frame["block"].notna()]
    keys = ["run_id", "arm", "family", "depth", "seed", "kind", "state", "name"]
    each = of.groupby(keys, sort=False)
    table = each.agg(value=("value", "median"), images=("images", "max")).reset_index()
    last = table["run_id"].map(runs.drop_duplicates("run_id").set_index("run_id")["step"])
    step = table["state"].where(table["state"] != "initial", 0).where(table["state"] != "final", last)
    return table.assign(step=step.astype("Int64"), stage=1)


def digest(frame: pd.DataFrame) -> pd.DataFrame:
    """The first, median and last value over layers or blocks: a row per run, kind, name and state.

    Columns run_id, kind, name, state, places, images, first, median, last. A value that is missing
    stays missing; the median is over those that are there.
    """
    rows: list[dict[str, object]] = []
    # A run stands in the frame once for each of its arms, and depth 2 for each family.
    once = frame.drop_duplicates([name for name in frame.columns if name not in ("arm", "family")])
    keys = ["run_id", "kind", "name", "state"]
    for key, of_key in once.groupby(keys, sort=False):
        value = of_key["value"]
        spread = {"first": value.iloc[0], "median": value.median(), "last": value.iloc[-1]}
        images = of_key["images"].max()
        rows.append(dict(zip(keys, key, strict=True)) | {"places": len(value), "images": images} | spread)
    return pd.DataFrame(rows)
