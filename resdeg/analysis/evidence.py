"""The evidence of a sweep: the tables that claims read, each made of its records when it is first read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from resdeg import data
from resdeg.analysis.effects import Sample
from resdeg.analysis.ended import METRICS, list_ended_runs
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.lacks import NotAsked, describe_probes
from resdeg.analysis.rules import Rules, Schedule, registered_rules
from resdeg.config import SweepConfig
from resdeg.records import ENDED

OWN = "own start"  # the network of C5 that was not constructed
RELU = "relu"  # the networks of the grid in C8


class Outcome(NamedTuple):
    """One accuracy of a run that has ended, as a fraction; that of chance where the run diverged."""

    value: float
    alive: bool
    images: int


class Quantity(NamedTuple):
    """An accuracy that networks of one depth have.

    network: plain, residual, identity or orthogonal. metric: one of METRICS.
    """

    network: str
    depth: int
    metric: str


Outcomes = Mapping[Quantity, Mapping[int, Outcome]]


@dataclass(frozen=True)
class Evidence:
    """The tables that claims read, each made when it is first read."""

    sweep: SweepFrame
    rules: Rules = field(default_factory=registered_rules)

    # ------------------------------------------------------------ what was planned

    @property
    def config(self) -> SweepConfig:
        return self.sweep.config

    @cached_property
    def schedule(self) -> Schedule:
        """Whether training is as long as the paper's, 64,000 steps of 128 images (He et al. 2015)."""
        training = self.config.training
        images = training.total_steps(data.shape(self.config.data).train) * training.batch_size
        return "full" if images >= registered_rules().fall["full_images"] else "short"

    @cached_property
    def test_images(self) -> int:
        return data.shape(self.config.data).test

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """The planned depths with a block, rising."""
        return tuple(sorted(depth for depth in self.config.depths if depth > 2))

    @property
    def deepest(self) -> int:
        """dk, the deepest planned depth."""
        return self.depths[-1]

    @property
    def blocks_of_last_stage(self) -> int:
        """The number of blocks in the last stage of the deepest planned network."""
        return self.last_block if self.config.model.layout == "isotropic" else self.last_block // 3

    @property
    def last_block(self) -> int:
        """The number of the last block of the deepest planned network, from 1; 0 where none has a block."""
        return (self.deepest - 2) // 2 if self.depths else 0

    @property
    def named_depth(self) -> int | None:
        """The witness depth that was named before the first step."""
        registration = self.config.registration
        return None if registration is None else registration.depth

    @property
    def starts_from_he(self) -> bool:
        """Whether the networks of the grid start from He's values and are trained from there."""
        return self.config.model.init == "he" and self.config.constructed is None

    @property
    def is_relu(self) -> bool:
        """Whether ReLU is the activation everywhere."""
        model = self.config.model
        return model.activation == "relu" and model.inner_activation in (None, "relu")

    @property
    def is_stargan(self) -> bool:
        """Whether the networks are made of the notes' unit."""
        model = self.config.model
        return (model.block, model.norm) == ("stargan", "instance")

    @cached_property
    def planned_arms(self) -> dict[str, SweepConfig]:
        """The arms of the configuration."""
        return self.config.arm_sweeps

    def arms_that_change(self, *settings: str) -> dict[str, SweepConfig]:
        """Returns the planned arms that differ from the grid in some of these settings and in no other."""
        changes = {name: set(self.config.changes(name)) for name in self.planned_arms}
        return {name: self.planned_arms[name] for name, own in changes.items() if own and own <= {*settings}}

    @cached_property
    def start_arms(self) -> dict[str, str]:
        """The names of the arms that start as identities (the largest a in a · Dirac) and orthogonal."""
        if not self.starts_from_he:
            return {}
        plain = {
            name: arm.model
            for name, arm in self.arms_that_change("model.init", "model.dirac").items()
            if "plain" in arm.families
        }
        dirac = {name: model.dirac for name, model in plain.items() if model.dirac}
        orthogonal = [name for name, model in plain.items() if model.init == "orthogonal"]
        names = {"identity": max(dirac, key=lambda name: dirac[name])} if dirac else {}
        return names | ({"orthogonal": orthogonal[0]} if orthogonal else {})

    # ------------------------------------------------------------ what has ended

    @cached_property
    def whole_seeds(self) -> list[int]:
        """The planned seeds whose runs in the grid have all ended."""
        return _whole_seeds(self.sweep)

    @cached_property
    def interim(self) -> str | None:
        """Says that a registered sweep is not whole and so gives no verdict; None where it gives one."""
        registration = self.config.registration
        if registration is None:
            return None
        planned = max(registration.seeds, len(self.config.seeds))
        whole = len(self.whole_seeds)
        return None if whole >= planned else f"interim, {whole} of {planned} seeds"

    @cached_property
    def arms(self) -> dict[str, SweepFrame]:
        """The arms with a record; in a registered sweep, those that are whole."""
        if self.config.registration is None:
            return self.sweep.arms
        return {
            name: arm
            for name, arm in self.sweep.arms.items()
            if len(_whole_seeds(arm)) == len(arm.config.seeds)
        }

    @cached_property
    def outcomes(self) -> Outcomes:
        """The accuracies of the runs that have ended, by quantity and seed."""
        outcomes: dict[Quantity, dict[int, Outcome]] = {}
        _collect(outcomes, self.sweep, networks={family: family for family in self.config.families})
        for network, arm in self.start_arms.items():
            if arm in self.arms:
                _collect(outcomes, self.arms[arm], networks={"plain": network})
        return outcomes

    def accuracies(self, network: str, metric: str) -> dict[int, dict[int, float]]:
        """Returns one kind of accuracy by depth, rising, and seed."""
        return {
            quantity.depth: {seed: outcome.value for seed, outcome in by_seed.items()}
            for quantity, by_seed in sorted(self.outcomes.items())
            if (quantity.network, quantity.metric) == (network, metric)
        }

    @cached_property
    def dead(self) -> dict[tuple[str, int], list[int]]:
        """The seeds that are dead, by network and depth."""
        return {
            (quantity.network, quantity.depth): seeds
            for quantity, by_seed in sorted(self.outcomes.items())
            if quantity.metric == "test"
            and (seeds := sorted(seed for seed, outcome in by_seed.items() if not outcome.alive))
        }

    @cached_property
    def unlearned(self) -> frozenset[str]:
        """The kinds of networks of which every one with a block that has ended is dead, so all is noise."""
        alive: dict[str, bool] = {}
        for (network, depth, metric), by_seed in self.outcomes.items():
            if metric == "test" and depth > 2:
                learnt = any(outcome.alive for outcome in by_seed.values())
                alive[network] = alive.get(network, False) or learnt
        return frozenset(network for network, learnt in alive.items() if not learnt)

    def contrast(self, weights: Mapping[Quantity, float]) -> tuple[Sample, frozenset[int]]:
        """Returns a weighted sum of accuracies, and the seeds whose runs in it have all ended.

        Networks that did not train count against the claim: a dead network that enters with plus counts as
        it is, the seed of a dead network that enters with minus is left out.
        """
        outcomes = [(weight, self.outcomes.get(quantity, {})) for quantity, weight in weights.items()]
        ended = frozenset.intersection(*(frozenset(by_seed) for _, by_seed in outcomes))
        minus = [self.outcomes.get(quantity, {}) for quantity, weight in weights.items() if weight < 0]
        seeds = sorted(seed for seed in ended if all(by_seed[seed].alive for by_seed in minus))
        values = {seed: sum(weight * by_seed[seed].value for weight, by_seed in outcomes) for seed in seeds}
        variance = 0.0
        for weight, by_seed in outcomes if seeds else ():
            images = sum(by_seed[seed].images for seed in seeds)
            hits = sum(by_seed[seed].value * by_seed[seed].images for seed in seeds)
            p = (hits + 1) / (images + 2)
            variance += weight**2 * p * (1 - p) / images
        return Sample(values, math.sqrt(variance)), ended

    # ------------------------------------------------------------ what was measured

    def losses(self, metric: str) -> dict[str, dict[int, float]]:
        """Returns the clean training losses of OWN and of each constructed network, in nats by seed.

        The networks are those of the deepest constructed depth. A dead network from its own start is left
        out; a constructed network that diverged has the loss of chance.

        Raises:
            NotAsked: there is no such pair of networks.
        """
        arms = {name: self.arms[name] for name in self.arms_that_change("constructed") if name in self.arms}
        depths = [depth for arm in arms.values() for depth in arm.config.depths if depth in self.depths]
        if not depths:
            raise NotAsked(
                "constructed networks that have finished, and plain ones of the same depth from their own "
                "start; there are none of both yet"
            )
        deepest = max(depths)
        constructed = {
            name: _clean_losses(arm, deepest, metric=metric, only_alive=False) for name, arm in arms.items()
        }
        columns = {name: column for name, column in constructed.items() if column}
        return {OWN: _clean_losses(self.sweep, deepest, metric=metric, only_alive=True)} | columns

    def clean_losses(self, depth: int) -> dict[int, float]:
        """Returns clean training losses in nats by seed, of the plain networks of the grid that are alive."""
        return _clean_losses(self.sweep, depth, metric="train_loss", only_alive=True)

    def probes(self) -> tuple[dict[int, list[float]], int]:
        """Returns the accuracies of probes behind the blocks of the last stage by seed, and their images.

        The networks are the plain ones of depth dk that are alive.

        Raises:
            NotAsked: none is measured.
        """
        rows = self._measured("", ("plain", self.deepest), kind="probes", name="accuracy")
        rows = rows[(rows["state"] == "final") & rows["value"].notna()]
        if rows.empty:
            raise NotAsked(describe_probes(self.deepest, self.test_images, measured=0))
        last = rows[(rows["stage"] == rows["stage"].max()) & (rows["block"] > 0)].sort_values("block")
        table = last.pivot(index="seed", columns="block", values="value")
        by_seed = {int(str(seed)): list(map(float, row.dropna())) for seed, row in table.iterrows()}
        return by_seed, int(rows["images"].min())

    def branches(self, arm: str, depth: int, *, name: str = "branch") -> dict[int, dict[object, float]]:
        """Returns log2 of the median over residual blocks of norm(F(x)) / norm(x), by seed and state.

        Args:
            arm: "" for the grid. name: the number, see `resdeg diagnose`. Dead networks are left out.
        """
        rows = self._measured(arm, ("residual", depth), kind="identity", name=name)
        medians = rows.groupby(["seed", "state"], sort=False)["value"].median().reset_index()
        table: dict[int, dict[object, float]] = {}
        for row in medians[medians["value"] > 0].to_dict("records"):
            table.setdefault(int(row["seed"]), {})[row["state"]] = float(np.log2(row["value"]))
        return table

    def _measured(self, arm: str, network: tuple[str, int], *, kind: str, name: str) -> pd.DataFrame:
        frame, _ = self.sweep.diagnostics
        family, depth = network
        sweep = self.arms[arm] if arm else self.sweep
        runs = [run for run in list_ended_runs(sweep) if (run.family, run.depth) == network]
        alive = {run.seed for run in runs if run.alive}
        chosen = (frame["arm"] == arm) & (frame["family"] == family) & (frame["depth"] == depth)
        chosen &= (frame["kind"] == kind) & (frame["name"] == name) & frame["seed"].isin(alive)
        return frame[chosen]


def _whole_seeds(sweep: SweepFrame) -> list[int]:
    runs = sweep.runs
    planned = runs["depth"].isin(sweep.config.depths) & runs["family"].isin(sweep.config.families)
    networks = len(sweep.config.depths) * len(sweep.config.families)
    ended = runs.loc[planned & runs["status"].isin(ENDED), "seed"].value_counts()
    return [seed for seed in sweep.config.seeds if int(ended.get(seed, 0)) >= networks]


def _clean_losses(sweep: SweepFrame, depth: int, *, metric: str, only_alive: bool) -> dict[int, float]:
    return {
        run.seed: run.numbers[metric]
        for run in list_ended_runs(sweep)
        if (run.family, run.depth) == ("plain", depth)
        and metric in run.numbers
        and (run.alive or not only_alive)
    }


def _collect(
    outcomes: dict[Quantity, dict[int, Outcome]], sweep: SweepFrame, *, networks: Mapping[str, str]
) -> None:
    """Adds the outcomes of a sweep to `outcomes`; `networks` names the network of each family."""
    shape = data.shape(sweep.config.data)
    images = {"test": shape.test, "train": shape.train, "recomputed": shape.train}
    for run in list_ended_runs(sweep):
        for metric, column in METRICS.items():
            if run.family in networks and column in run.numbers:
                quantity = Quantity(networks[run.family], run.depth, metric)
                outcomes.setdefault(quantity, {})[run.seed] = Outcome(
                    run.numbers[column], run.alive, images[metric]
                )
