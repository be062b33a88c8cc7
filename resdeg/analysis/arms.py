"""Arms: what each does to accuracy over depth, and the learning rate that each depth would choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from resdeg.analysis.curve import read_by_seed
from resdeg.analysis.ended import find_untrainable
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import Family


@dataclass(frozen=True)
class ArmCurve:
    """One family of the grid, or of an arm, over its depths. Fractions; means are over finished seeds.

    Args:
        arm: its name; empty for the grid.
        depths: those with a finished run.
        diverged: those with a run that diverged, which is in no mean.
        best: the depth of the highest mean test accuracy.
        trained: whether the deepest network is above chance on its own training images.
        fall, training_fall: mean at the best depth minus mean at the deepest, of test accuracy and of clean
            training accuracy, each from its own best depth; None with one depth.
        common: the deepest depth at which a seed is finished here and in the grid; None without one.
        difference: test accuracy there, this minus the grid's, over the seeds of both; None for the grid.
    """

    arm: str
    family: Family
    depths: tuple[int, ...]
    diverged: tuple[int, ...]
    best: int
    best_accuracy: float
    deepest_accuracy: float
    trained: bool
    fall: float | None
    training_fall: float | None
    common: int | None
    difference: Estimate | None


def compare_arms(grid: SweepFrame) -> list[ArmCurve]:
    """Returns the grid's families, then each arm's; a family without a finished run is left out."""
    return [
        curve
        for sweep in (grid, *grid.arms.values())
        for family in sweep.config.families
        if (curve := _arm_curve(grid, sweep, family=family))
    ]


def _arm_curve(grid: SweepFrame, sweep: SweepFrame, *, family: Family) -> ArmCurve | None:
    points = sweep.curve
    means = points[points["family"] == family].pivot(index="depth", columns="metric", values="mean")
    if means.empty:
        return None
    test, training = means["test_accuracy"].astype(float), means["train_accuracy"].astype(float)
    depths = tuple(int(depth) for depth in test.index)
    several = len(depths) > 1
    lost = sweep.runs[(sweep.runs["family"] == family) & (sweep.runs["status"] == "diverged")]
    common, difference = _compare_with_grid(grid, sweep, family=family) if sweep.arm else (None, None)
    return ArmCurve(
        sweep.arm,
        family,
        depths,
        diverged=tuple(sorted({int(depth) for depth in lost["depth"]})),
        best=depths[int(test.to_numpy().argmax())],
        best_accuracy=float(test.max()),
        deepest_accuracy=float(test.iloc[-1]),
        trained=(family, depths[-1]) not in find_untrainable(sweep),
        fall=float(test.max() - test.iloc[-1]) if several else None,
        training_fall=float(training.max() - training.iloc[-1]) if several else None,
        common=common,
        difference=difference,
    )


def _compare_with_grid(
    grid: SweepFrame, sweep: SweepFrame, *, family: Family
) -> tuple[int | None, Estimate | None]:
    for depth in sorted(set(sweep.runs["depth"]), reverse=True):
        own, in_grid = (
            read_by_seed(frame.runs, "test_accuracy", network=(family, depth)) for frame in (sweep, grid)
        )
        difference = (own - in_grid).dropna()
        if len(difference):
            return int(depth), mean_interval([float(value) for value in difference])
    return None, None


# ---------------------------------------------------------------- learning rates


@dataclass(frozen=True)
class ChosenRate:
    """The learning rate that validation accuracy chooses for one network, among those that were tried.

    Args:
        tried: the rates, the recipe's first. chosen: one of them.
        seeds: those that were trained with every rate; all numbers are over them.
        recipe: test accuracy with the recipe's rate, over those of the seeds that finished; None without one.
        validation, test: accuracy with the chosen rate.
    """

    family: Family
    depth: int
    tried: tuple[float, ...]
    chosen: float
    seeds: int
    validation: Estimate
    recipe: Estimate | None
    test: Estimate


@dataclass(frozen=True)
class ChosenFall:
    """Test accuracy from the best depth, by validation, to the deepest, each with the rate that it chose.

    chosen: the fall with the chosen rates, as a fraction; negative where accuracy rises.
    recipe: that with the recipe's rate, between the same depths and over the same seeds; None where some of
        these did not finish with it.
    """

    family: Family
    best: int
    deepest: int
    chosen: float
    recipe: float | None


def choose_rates(evidence: Evidence) -> list[ChosenRate]:
    """Returns, for each network with several rates, that of the highest mean validation accuracy.

    Rates are the grid's and those of the arms that change `training.lr` only. None is chosen where no
    images were held out. Equal means leave the recipe's. Test accuracy chooses nothing.
    """
    sweep = evidence.sweep
    if not sweep.config.data.validation:
        return []
    arms = [sweep.arms[name] for name in evidence.arms_that_change("training.lr") if name in sweep.arms]
    by_rate = {rated.config.training.lr: rated.runs for rated in (sweep, *arms)}
    return [
        chosen
        for family in sweep.config.families
        for depth in sorted({int(depth) for runs in by_rate.values() for depth in runs["depth"]})
        if (chosen := _choose_rate(by_rate, sweep.config.training.lr, network=(family, depth)))
    ]


def _choose_rate(
    by_rate: dict[float, pd.DataFrame], recipe: float, *, network: tuple[Family, int]
) -> ChosenRate | None:
    family, depth = network
    planned = {
        rate: seeds
        for rate, runs in by_rate.items()
        if (seeds := set(runs.loc[(runs["family"] == family) & (runs["depth"] == depth), "seed"]))
    }
    if len(planned) < 2:
        return None
    common = sorted(set.intersection(*planned.values()))

    def accuracies(rate: float, metric: str) -> list[float]:
        finished = read_by_seed(by_rate[rate], metric, network=network)
        return [float(value) for value in finished.reindex(common).dropna()]

    # A rate at which a seed was lost is not chosen: the mean of the others would flatter it.
    means = {
        rate: mean_interval(values)
        for rate in planned
        if len(values := accuracies(rate, "validation_accuracy")) == len(common) > 0
    }
    if not means:
        return None
    chosen = max(means, key=lambda rate: means[rate].mean)
    own = accuracies(recipe, "test_accuracy") if recipe in planned else []
    return ChosenRate(
        family,
        depth,
        tried=tuple(planned),
        chosen=chosen,
        seeds=len(common),
        validation=means[chosen],
        recipe=mean_interval(own) if own else None,
        test=mean_interval(accuracies(chosen, "test_accuracy")),
    )


def compute_falls(rates: Sequence[ChosenRate]) -> list[ChosenFall]:
    """Returns the fall of each family whose best depth, at the chosen rates, is not its deepest."""
    falls = []
    for family in dict.fromkeys(rate.family for rate in rates):
        chosen = [rate for rate in rates if rate.family == family]
        best, deepest = max(chosen, key=lambda rate: rate.validation.mean), chosen[-1]
        if best.depth != deepest.depth:
            recipe = [
                rate.recipe.mean
                for rate in (best, deepest)
                if rate.recipe is not None and rate.recipe.seeds == rate.seeds
            ]
            own = recipe[0] - recipe[1] if len(recipe) == 2 else None
            fall = best.test.mean - deepest.test.mean
            falls.append(ChosenFall(family, best.depth, deepest.depth, fall, own))
    return falls
