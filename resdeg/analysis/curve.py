"""Points of the curve: mean and interval over seeds at each family and depth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from resdeg.analysis.stats import Estimate, mean_interval

METRICS = (
    "test_accuracy", "train_accuracy", "running_train_accuracy", "validation_accuracy",
    "test_error", "train_error", "running_train_error", "test_loss", "train_loss",
    "image_test_accuracy", "image_train_accuracy", "image_test_error", "image_train_error",
    "recomputed_train_accuracy", "recomputed_train_error",
)  # fmt: skip
CURVE_COLUMNS = ["family", "depth", "metric", "seeds", "mean", "low", "high"]


def with_errors(runs: pd.DataFrame) -> pd.DataFrame:
    """`runs` with an error beside each accuracy: 1 - accuracy, as a fraction."""
    accuracies = [name for name in runs.columns if name.endswith("accuracy")]
    return runs.assign(**{n.replace("accuracy", "error"): 1 - runs[n].astype(float) for n in accuracies})


def curve(runs: pd.DataFrame) -> pd.DataFrame:
    """CURVE_COLUMNS: one row per family, depth and metric, over the finished runs alone.

    Accuracies and errors are fractions, losses nats; `low` and `high` are missing with one seed.
    A run that diverged or is not finished has no final number and is in no mean.
    """
    finished = with_errors(runs[runs["status"] == "finished"])
    rows: list[Mapping[str, object]] = []
    for (family, depth), group in finished.groupby(["family", "depth"], sort=True):
        for metric in [name for name in METRICS if name in finished]:
            values = [float(value) for value in group[metric].dropna()]
            if values:
                point = mean_interval(values)
                rows.append({"family": family, "depth": depth, "metric": metric, **vars(point)})
    return pd.DataFrame(rows, columns=CURVE_COLUMNS)


def by_seed(runs: pd.DataFrame, metric: str, cell: tuple[str, int]) -> pd.Series[float]:
    """`metric` of the finished runs of one (family, depth), by seed."""
    family, depth = cell
    of = runs[(runs["status"] == "finished") & (runs["family"] == family) & (runs["depth"] == depth)]
    return of.set_index("seed")[metric].astype(float)


def paired_difference(runs: pd.DataFrame, metric: str, a: tuple[str, int], b: tuple[str, int]) -> Estimate:
    """Mean of a - b over the seeds that both have finished, with its paired Student-t interval.

    Args:
        a, b: (family, depth).

    Raises:
        ValueError: no seed is finished in both.
    """
    difference = (by_seed(runs, metric, a) - by_seed(runs, metric, b)).dropna()
    return mean_interval([float(value) for value in difference])
