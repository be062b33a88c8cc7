"""The runs of a sweep that have ended, and which of them did not train."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from resdeg import data
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.rules import registered_rules
from resdeg.config import SweepConfig
from resdeg.records import ENDED

# By the names that rules.toml has for them.
METRICS = {"test": "test_accuracy", "train": "train_accuracy", "recomputed": "recomputed_train_accuracy"}
LOSSES = ("train_loss", "recomputed_train_loss")


@dataclass(frozen=True)
class EndedRun:
    """A run that finished or diverged.

    Args:
        alive: whether it learned its own training images at all; a run that diverged did not.
        numbers: the finite numbers of its row, accuracies as fractions and losses in nats. A run that
            diverged has those of a guess.
    """

    family: str
    depth: int
    seed: int
    diverged: bool
    alive: bool
    numbers: Mapping[str, float]


def chance_and_threshold(config: SweepConfig) -> tuple[float, float]:
    """Returns the accuracy of a guess, and the clean training accuracy below which a run is dead."""
    guess = 1 / data.shape(config.data).classes
    return guess, guess + registered_rules().levels["alive"] * (1 - guess)


def list_ended_runs(sweep: SweepFrame) -> list[EndedRun]:
    """Returns the runs of a sweep that have ended, by family, depth and seed.

    A run is dead where its clean training accuracy is nearer to chance than the registered share of the way
    to 1. The limit lies below a network at 30 %, and above plain-110 of He et al. 2015 (78 % training error,
    Fig. 6).
    """
    shape = data.shape(sweep.config.data)
    guess, limit = chance_and_threshold(sweep.config)
    columns = [name for name in (*METRICS.values(), *LOSSES) if name in sweep.runs]
    runs = []
    for row in sweep.runs[sweep.runs["status"].isin(ENDED)].to_dict("records"):
        diverged = row["status"] == "diverged"
        numbers = {name: math.nan if row[name] is None else float(row[name]) for name in columns}
        if diverged:
            numbers = {
                name: guess if name in METRICS.values() else math.log(shape.classes) for name in columns
            }
        alive = not diverged and numbers["train_accuracy"] >= limit
        finite = {name: number for name, number in numbers.items() if math.isfinite(number)}
        runs.append(
            EndedRun(str(row["family"]), int(row["depth"]), int(row["seed"]), diverged, alive, finite)
        )
    return runs


def list_whole_seeds(sweep: SweepFrame) -> list[int]:
    """Returns the planned seeds of a sweep, or of an arm, whose planned networks have all ended."""
    plan, runs = sweep.config, sweep.runs
    planned = runs["depth"].isin(plan.depths) & runs["family"].isin(plan.families)
    networks = len(plan.depths) * len(plan.families)
    ended = runs.loc[planned & runs["status"].isin(ENDED), "seed"].value_counts()
    return [seed for seed in plan.seeds if int(ended.get(seed, 0)) >= networks]


def find_untrainable(sweep: SweepFrame) -> list[tuple[str, int]]:
    """Returns each (family, depth) whose ended runs are all dead, which is another thing than degraded."""
    runs = list_ended_runs(sweep)
    alive = {(run.family, run.depth) for run in runs if run.alive}
    return sorted({(run.family, run.depth) for run in runs} - alive)
