"""Effects of C5 to C8: why accuracy falls, from arms beside the grid and from measured blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from resdeg.analysis.cells import Cells, Needs
from resdeg.analysis.effects import Effect, best_over, mean_of, opposite, smallest, trend

OWN = "own start"  # the column of the network that was not constructed
RELU = "relu"  # of the networks of the grid


def solver_gap(cells: Cells) -> Effect | Needs:
    """C5: clean training loss from its own start minus that of the best constructed net, in nats."""
    table = constructed_losses(cells)
    return table if isinstance(table, Needs) else best_over(-table, OWN)


def constructed_losses(cells: Cells) -> pd.DataFrame | Needs:
    """Seeds by OWN and the arms that are constructed nets of the deepest depth that has one: nats."""
    arms = {n: arm for n, arm in cells.arms_that_change("constructed").items() if len(arm.losses("plain"))}
    if not arms:
        return Needs("a finished arm of constructed networks, e.g. --set arms.c.constructed.from_depth=20")
    own = cells.losses("plain")
    depths = {int(depth) for arm in arms.values() for depth in arm.losses("plain").columns} & set(own.columns)
    if not depths:
        return Needs("plain networks of a constructed one's depth that trained from their own start")
    columns = {OWN: own} | {name: arm.losses("plain") for name, arm in arms.items()}
    deepest = max(depths)
    there = {name: of[deepest] for name, of in columns.items() if deepest in of}
    table = pd.DataFrame(there).dropna(axis="index")
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
    """The arm whose blocks start nearest to the identity."""
    arms = cells.arms_that_change("model.init", "model.dirac")
    biased = {name: float(arm.sweep.config.model.dirac or 0) for name, arm in arms.items()}
    if not any(biased.values()):
        return Needs("an arm with model.init = dirac-mixed at two depths of plain networks")
    return arms[max(biased, key=lambda name: biased[name])]


def branch_shrinks(cells: Cells) -> Effect | Needs:
    """C7: the lesser of two decreases of log2 ||F|| / ||x||: per doubling of the depth, and by training."""
    trained, initial = cells.branches("residual", "final").dropna(), cells.branches("residual", "initial")
    if trained.shape[1] < 2 or trained.empty:
        return Needs("blocks of residual networks of two depths, measured (resdeg diagnose)")
    deepest = int(trained.columns[-1])
    if deepest not in initial or (both := (initial[deepest] - trained[deepest]).dropna()).empty:
        return Needs(f"blocks of residual-{deepest} at its initial values, measured (resdeg diagnose)")
    return smallest(opposite(trend(trained)), mean_of(both.to_list(), np.sqrt(2)))


def relu_helps(cells: Cells) -> Effect | Needs:
    """C8: log2 ||F|| / ||x|| with another activation minus that with relu, the least over activations."""
    table = activation_ratios(cells)
    if isinstance(table, Needs):
        return table
    return smallest(*(mean_of(table[name].to_list(), np.sqrt(2)) for name in table))


def activation_ratios(cells: Cells) -> pd.DataFrame | Needs:
    """Seeds by arms with another activation: log2 ||F|| / ||x|| minus relu's, mean over common depths."""
    measured = measured_activations(cells)
    if isinstance(measured, Needs):
        return measured
    own, found = measured.pop(RELU), {}
    for name, of_arm in measured.items():
        difference = (of_arm - own).dropna(axis="columns", how="all").dropna()
        if difference.size:
            found[name] = difference.mean(axis="columns")
    table = pd.DataFrame(found).dropna(axis="index")
    return Needs("a depth and a seed that is measured in all of them") if table.empty else table


def measured_activations(cells: Cells) -> dict[str, pd.DataFrame] | Needs:
    """Seeds by depths of log2 ||F|| / ||x|| of trained residual networks: RELU, then each arm's."""
    arms = cells.arms_that_change("model.activation", "model.inner_activation")
    own = cells.branches("residual", "final") if arms and cells.of_relu else pd.DataFrame()
    found = {name: of for name, arm in arms.items() if (of := arm.branches("residual", "final")).size}
    if not found or not own.size:
        return Needs("residual networks with relu and an arm without, both measured (resdeg diagnose)")
    return {RELU: own} | found
