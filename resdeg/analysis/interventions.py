"""What the arms of a sweep do to accuracy over depth, and the learning rate that each depth would choose."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from resdeg.analysis.curve import by_seed
from resdeg.analysis.ended import untrainable
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import Family


@dataclass(frozen=True)
class Intervention:
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


@dataclass(frozen=True)
class ChosenRate:
    """The learning rate that one network has by validation accuracy, among those that were tried.

    Args:
        tried: the rates, the recipe's first.
        seeds: those that were trained with every rate; all numbers are over them.
        recipe: test accuracy with the recipe's rate; None where no seed is finished.
        validation, test: of the chosen rate.
    """

    family: Family
    depth: int
    tried: tuple[float, ...]
    chosen: float
    seeds: int
    validation: Estimate
    recipe: Estimate | None
    test: Estimate


def interventions(sweep: SweepFrame) -> list[Intervention]:
    """The grid's families, then each arm's; one without a finished run is left out."""
    return [
        found
        for of in (sweep, *sweep.arms.values())
        for family in of.config.families
        if (found := _intervention(sweep, of, family))
    ]


def _intervention(grid: SweepFrame, of: SweepFrame, family: Family) -> Intervention | None:
    points = of.curve
    means = points[points["family"] == family].pivot(index="depth", columns="metric", values="mean")
    if means.empty:
        return None
    test, training = means["test_accuracy"].astype(float), means["train_accuracy"].astype(float)
    depths = tuple(int(depth) for depth in test.index)
    several = len(depths) > 1
    lost = of.runs[(of.runs["family"] == family) & (of.runs["status"] == "diverged")]
    common, difference = _against(grid, of, family) if of.arm else (None, None)
    return Intervention(
        of.arm,
        family,
        depths,
        tuple(sorted({int(depth) for depth in lost["depth"]})),
        depths[int(test.to_numpy().argmax())],
        float(test.max()),
        float(test.iloc[-1]),
        (family, depths[-1]) not in untrainable(of),
        float(test.max() - test.iloc[-1]) if several else None,
        float(training.max() - training.iloc[-1]) if several else None,
        common,
        difference,
    )


def _against(grid: SweepFrame, of: SweepFrame, family: Family) -> tuple[int | None, Estimate | None]:
    for depth in sorted(set(of.runs["depth"]), reverse=True):
        here, there = (by_seed(sweep.runs, "test_accuracy", (family, depth)) for sweep in (of, grid))
        difference = (here - there).dropna()
        if len(difference):
            return int(depth), mean_interval([float(value) for value in difference])
    return None, None


def chosen_rates(sweep: SweepFrame) -> list[ChosenRate]:
    """For each network with several rates, that of the highest mean validation accuracy.

    Rates are the grid's and those of the arms that change `training.lr` alone. None is chosen where no
    images were held out. Equal ones leave the recipe's. Test accuracy chooses nothing.
    """
    if not sweep.config.data.validation:
        return []
    arms = [
        sweep.arms[name] for name in Evidence(sweep).arms_that_change("training.lr") if name in sweep.arms
    ]
    by_rate = {rated.config.training.lr: rated.runs for rated in (sweep, *arms)}
    return [
        found
        for family in sweep.config.families
        for depth in sorted({int(depth) for runs in by_rate.values() for depth in runs["depth"]})
        if (found := _chosen(by_rate, sweep.config.training.lr, family, depth))
    ]


@dataclass(frozen=True)
class ChosenFall:
    """Test accuracy from the best depth, by validation, to the deepest, each with the rate that it chose.

    recipe: between the same depths with the recipe's rate; None where one of them has no such number.
    """

    family: Family
    best: int
    deepest: int
    chosen: float
    recipe: float | None


def chosen_falls(rates: list[ChosenRate]) -> list[ChosenFall]:
    """One per family whose rates were chosen at two depths or more; fractions."""
    found = []
    for family in dict.fromkeys(one.family for one in rates):
        of = [one for one in rates if one.family == family]
        best, deepest = max(of, key=lambda one: one.validation.mean), of[-1]
        if len(of) > 1:
            own = best.recipe.mean - deepest.recipe.mean if best.recipe and deepest.recipe else None
            chosen = best.test.mean - deepest.test.mean
            found.append(ChosenFall(family, best.depth, deepest.depth, chosen, own))
    return found


def _chosen(
    by_rate: dict[float, pd.DataFrame], recipe: float, family: Family, depth: int
) -> ChosenRate | None:
    planned = {
        rate: there
        for rate, runs in by_rate.items()
        if (there := set(runs.loc[(runs["family"] == family) & (runs["depth"] == depth), "seed"]))
    }
    if len(planned) < 2:
        return None
    seeds = sorted(set.intersection(*planned.values()))

    def of(rate: float, metric: str) -> list[float]:
        found = by_seed(by_rate[rate], metric, (family, depth))
        return [float(value) for value in found.reindex(seeds).dropna()]

    # A rate at which a seed was lost is not chosen: the mean of the others would flatter it.
    means = {
        rate: mean_interval(values)
        for rate in planned
        if len(values := of(rate, "validation_accuracy")) == len(seeds) > 0
    }
    if not means:
        return None
    chosen = max(means, key=lambda rate: means[rate].mean)
    own = of(recipe, "test_accuracy") if recipe in planned else []
    return ChosenRate(
        family,
        depth,
        tuple(planned),
        chosen,
        len(seeds),
        means[chosen],
        mean_interval(own) if own else None,
        mean_interval(of(chosen, "test_accuracy")),
    )
