"""Effects of C5 to C8: why accuracy falls, from arms beside the grid and from measured blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resdeg.analysis.cells import Cells, Needs, without_holes
from resdeg.analysis.effects import Effect, best_over, mean_of, opposite, smallest, trend

OWN = "own start"  # the column of the network that was not constructed
RELU = "relu"  # of the networks of the grid


def solver_gap(cells: Cells) -> Effect | Needs:
    """C5: clean training loss from its own start minus that of the best constructed net, in nats.

    The smaller of that with the running statistics and with recomputed ones, where every net has those.
    """
    clean, recomputed = (constructed_losses(cells, f"{name}train_loss") for name in ("", "recomputed_"))
    if isinstance(clean, Needs):
        return clean
    effect = best_over(-clean, OWN)
    if isinstance(recomputed, Needs) or not recomputed.index.equals(clean.index):
        return effect
    whole = recomputed.columns.equals(clean.columns)
    return smallest(effect, best_over(-recomputed, OWN)) if whole else effect


def constructed_losses(cells: Cells, metric: str = "train_loss") -> pd.DataFrame | Needs:
    """Seeds by OWN and the arms that are constructed nets of the deepest depth that has one: nats.

    An arm that has fewer seeds than another, because one diverged or is not finished, is left out.
    """
    arms = {name: arm.losses(metric) for name, arm in cells.arms_that_change("constructed").items()}
    if not cells.of_he or not any(losses.size for losses in arms.values()):
        return Needs("a finished arm of constructed networks, e.g. --set arms.c.constructed.from_depth=20")
    own = cells.losses(metric)
    depths = {depth for losses in arms.values() for depth in losses.columns} & {*own.columns}
    if not depths:
        return Needs("plain networks of a constructed one's depth that trained from their own start")
    deepest = max(depths)
    there = {name: losses[deepest] for name, losses in arms.items() if deepest in losses}
    table = pd.DataFrame({OWN: own[deepest]} | there)
    seeds = table[table[OWN].notna()].count()[[*there]]
    table = without_holes(table[[OWN, *seeds.index[seeds == seeds.max()]]])
    return Needs("a seed that is finished in all of these") if table.empty else table


def cure(cells: Cells) -> Effect | Needs:
    """C6: how much less accuracy is lost per doubling of the depth where blocks start as identities."""
    gain = identity_gain(cells)
    return gain if isinstance(gain, Needs) else trend(gain)


def identity_gain(cells: Cells) -> pd.DataFrame | Needs:
    """Seeds by depths of plain test accuracy, the arm with the largest a of a · Dirac minus He's start."""
    arm = identity_arm(cells)
    return arm if isinstance(arm, Needs) else arm.minus(cells, "plain", "test_accuracy", least=2)


def identity_arm(cells: Cells) -> Cells | Needs:
    """The arm of plain networks whose blocks start nearest to the identity."""
    arms = cells.arms_that_change("model.init", "model.dirac").values()
    biased = [arm for arm in arms if arm.dirac and arm.accuracies("plain").size]
    if not cells.of_he or not biased:
        return Needs("He's start and an arm with model.init = dirac-mixed, at two depths of plain networks")
    return max(biased, key=lambda arm: arm.dirac)


def branch_shrinks(cells: Cells) -> Effect | Needs:
    """C7: the lesser of two decreases of log2 ||F|| / ||x||: per doubling of the depth, and by training."""
    initial, final = (cells.branches("residual", state) for state in ("initial", "final"))
    trained = without_holes(final)
    if trained.shape[1] < 2 or trained.empty:
        return Needs("blocks of residual networks of two depths, measured (resdeg diagnose)")
    deepest = int(trained.columns[-1])
    if deepest not in initial or (both := (initial[deepest] - trained[deepest]).dropna()).empty:
        return Needs(f"blocks of residual-{deepest} at its initial values, measured (resdeg diagnose)")
    return smallest(opposite(trend(trained)), mean_of(both.to_list(), np.sqrt(2)))


def relu_helps(cells: Cells) -> Effect | Needs:
    """C8: decrease of log2 ||F|| / ||x|| in training, relu's minus another's, the least over activations."""
    table = relu_gains(cells)
    if isinstance(table, Needs):
        return table
    return smallest(*(mean_of(table[name].to_list(), np.sqrt(2)) for name in table))


def relu_gains(cells: Cells) -> pd.DataFrame | Needs:
    """Seeds by arms with another activation: decrease with relu minus theirs, mean over common depths."""
    decreases = activation_decreases(cells)
    if isinstance(decreases, Needs):
        return decreases
    own, found = decreases.pop(RELU), {}
    for name, of_arm in decreases.items():
        difference = without_holes(own - of_arm)
        if difference.size:
            found[name] = difference.mean(axis="columns")
    table = without_holes(pd.DataFrame(found))
    return Needs("a depth and a seed that is measured in all of them") if table.empty else table


def activation_decreases(cells: Cells) -> dict[str, pd.DataFrame] | Needs:
    """Seeds by depths of the decrease of log2 ||F|| / ||x|| from initial values to the end, in residual
    networks: RELU, then each arm's.
    """
    arms = cells.arms_that_change("model.activation", "model.inner_activation")
    others = {name: arm for name, arm in arms.items() if not arm.of_relu} if cells.of_relu else {}
    found = {name: _decrease(of) for name, of in ({RELU: cells} | others if others else {}).items()}
    measured = {name: of for name, of in found.items() if of.size}
    if RELU not in measured or len(measured) < 2:
        return Needs("residual networks with relu and an arm without, both measured (resdeg diagnose)")
    return measured


def _decrease(cells: Cells) -> pd.DataFrame:
    return without_holes(cells.branches("residual", "initial") - cells.branches("residual", "final"), "all")
