"""What `resdeg diagnose` measured, as a data frame: one row per record."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from resdeg.analysis.frame import key_of, wanted_runs
from resdeg.config import FAMILIES
from resdeg.records import DiagnosticRecord
from resdeg.store import SweepStore

DIAGNOSTIC_COLUMNS = [
    "run_id", "family", "depth", "seed",
    "kind", "state", "name", "layer", "block", "stage", "value", "images", "note",
]  # fmt: skip


def load_diagnostics(folder: Path | str) -> pd.DataFrame:
    """DIAGNOSTIC_COLUMNS: a row per record of the sweep in `folder`, empty where nothing was measured.

    `state` is "initial", "final" or a step; layer, block and stage are missing where they do not apply, and
    so is a value that was not finite. Depth 2 is one net in both families: a row in each of the grid.

    Raises:
        UsageError: there is no sweep.
        StorageError: a file is damaged.
    """
    store = SweepStore(Path(folder))
    config, runs, _ = wanted_runs(store)
    rows: list[dict[str, object]] = []
    for run in runs:
        records = [_row(record) for record in store.run(run.run_id).diagnostics()]
        for family in FAMILIES if run.depth == 2 else (run.family,):
            if family in config.families:
                rows += [{**key_of(run), "family": family, **record} for record in records]
    frame = pd.DataFrame(rows, columns=DIAGNOSTIC_COLUMNS)
    places = dict.fromkeys(("layer", "block", "stage"), "Int64")
    return frame.astype({**places, "value": "float64", "state": "object"})


def _row(record: DiagnosticRecord) -> dict[str, object]:
    return {name: value for name, value in record if name in DIAGNOSTIC_COLUMNS}


def digest(frame: pd.DataFrame) -> pd.DataFrame:
    """A row per run, kind, name and state: the first, median and last value over layers or blocks."""
    keys = ["run_id", "kind", "name", "state"]
    found = frame.groupby(keys, sort=False)["value"].agg(["first", "median", "last", "size"])
    return found.reset_index()
