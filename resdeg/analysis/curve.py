"""Points of the curve: mean and interval over seeds at each family and depth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from resdeg.analysis.metrics import CURVE_METRICS
from resdeg.analysis.stats import Estimate, mean_interval

CURVE_COLUMNS = ["family", "depth", "metric", "seeds", "mean", "low", "high"]


def add_errors(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns `runs` with an error for each accuracy: 1 - accuracy, as a fraction."""
    accuracies = [name for name in runs.columns if name.endswith("accuracy")]
    return runs.assign(**{n.replace("accuracy", "error"): 1 - runs[n].astype(float) for n in accuracies})


def compute_curve(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns CURVE_COLUMNS: one row per family, depth and metric, over the finished runs only.

    Accuracies and errors are fractions, losses nats; `low` and `high` are missing with one seed.
    A run that diverged or is not finished has no final number and is in no mean.
    """
    finished = add_errors(runs[runs["status"] == "finished"])
    rows: list[Mapping[str, object]] = []
    for (family, depth), group in finished.groupby(["family", "depth"], sort=True):
        for metric in [name for name in CURVE_METRICS if name in finished]:
            values = [float(value) for value in group[metric].dropna()]
            if values:
                point = mean_interval(values)
                rows.append({"family": family, "depth": depth, "metric": metric, **vars(point)})
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def read_points(points: pd.DataFrame, family: str, *, metric: str) -> dict[int, Estimate]:
    """Returns the points of one line of the curve by depth, rising.

    Args:
        points: CURVE_COLUMNS.
    """
    rows = points[(points["family"] == family) & (points["metric"] == metric)]
    by_depth = {}
    for row in rows.to_dict("records"):
        low, high = ((None if pd.isna(row[end]) else float(row[end])) for end in ("low", "high"))
        by_depth[int(row["depth"])] = Estimate(float(row["mean"]), low, high, int(row["seeds"]))
    return by_depth


def read_by_seed(runs: pd.DataFrame, metric: str, *, network: tuple[str, int]) -> pd.Series[float]:
    """Returns `metric` of the finished runs of one (family, depth), by seed."""
    family, depth = network
    rows = runs[(runs["status"] == "finished") & (runs["family"] == family) & (runs["depth"] == depth)]
    return rows.set_index("seed")[metric].astype(float)
