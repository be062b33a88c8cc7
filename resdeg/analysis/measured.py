"""What was measured of networks that trained: clean losses, probes behind blocks, and branches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resdeg.analysis.ended import list_ended_runs
from resdeg.analysis.frame import SweepFrame


def read_losses(sweep: SweepFrame, depth: int, *, metric: str, only_alive: bool) -> dict[int, float]:
    """Returns one of LOSSES of the plain networks of one depth, in nats by seed.

    Args:
        only_alive: leaves out dead networks.
    """
    return {
        run.seed: run.numbers[metric]
        for run in list_ended_runs(sweep)
        if (run.family, run.depth) == ("plain", depth)
        and metric in run.numbers
        and (run.alive or not only_alive)
    }


def read_probes(rows: pd.DataFrame) -> tuple[dict[int, list[float]], int]:
    """Returns the accuracies of probes behind the blocks of the last stage by seed, and their images.

    Seeds that were measured on fewer images than others are left out. Nothing measured gives ({}, 0).

    Args:
        rows: DIAGNOSTIC_COLUMNS of the kind "probes" of one network.
    """
    rows = rows[(rows["state"] == "final") & rows["value"].notna()]
    if rows.empty:
        return {}, 0
    images = int(rows["images"].max())
    rows = rows[rows["images"] == images]
    last = rows[(rows["stage"] == rows["stage"].max()) & (rows["block"] > 0)].sort_values("block")
    table = last.pivot(index="seed", columns="block", values="value")
    return {int(str(seed)): list(map(float, row.dropna())) for seed, row in table.iterrows()}, images


def read_branches(rows: pd.DataFrame) -> dict[int, dict[object, float]]:
    """Returns log2 of the median over residual blocks of norm(F(x)) / norm(x), by seed and state.

    A seed whose states were measured on different numbers of images is left out, see `list_uneven`, and so is
    a state in which the median is 0, see `list_zeros`.

    Args:
        rows: DIAGNOSTIC_COLUMNS of one number of the kind "identity" of one network.
    """
    rows = rows[~rows["seed"].isin(list_uneven(rows))]
    medians = rows.groupby(["seed", "state"], sort=False)["value"].median().reset_index()
    table: dict[int, dict[object, float]] = {}
    for row in medians[medians["value"] > 0].to_dict("records"):
        table.setdefault(int(row["seed"]), {})[row["state"]] = float(np.log2(row["value"]))
    return table


def list_zeros(rows: pd.DataFrame) -> dict[int, set[object]]:
    """Returns the states in which the median over blocks is 0, which has no logarithm, by seed.

    Args:
        rows: as `read_branches` takes them.
    """
    medians = rows.groupby(["seed", "state"], sort=False)["value"].median().reset_index()
    zeros: dict[int, set[object]] = {}
    for row in medians[medians["value"] == 0].to_dict("records"):
        zeros.setdefault(int(row["seed"]), set()).add(row["state"])
    return zeros


def list_uneven(rows: pd.DataFrame) -> dict[int, int]:
    """Returns the seeds whose states do not compare, because they were measured on different images.

    Returns:
        The largest number of images by seed.
    """
    images = rows.groupby("seed")["images"].agg(["nunique", "max"])
    uneven = images[images["nunique"] > 1]
    return {int(str(seed)): int(most) for seed, most in uneven["max"].items()}
