"""The evidence of a sweep: the tables that claims read, each made of its records when it is first read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from resdeg import data
from resdeg.analysis.effects import Sample
from resdeg.analysis.ended import METRICS, find_untrainable, list_ended_runs, list_whole_seeds
from resdeg.analysis.frame import SweepFrame, keep_planned
from resdeg.analysis.lacks import NotAsked
from resdeg.analysis.measured import read_branches, read_losses, read_probes
from resdeg.analysis.rules import Rules, Schedule, registered_rules
from resdeg.config import SweepConfig

OWN = "own start"  # the network of C5 that was not constructed
RELU = "relu"  # the networks of the grid in C8


class Outcome(NamedTuple):
    """One accuracy of a run that has ended, as a fraction; that of chance where the run diverged."""

    value: float
    alive: bool
    images: int


class Quantity(NamedTuple):
    """An accuracy that networks of one depth have.

    network: see `Evidence.name_network`. metric: one of METRICS.
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
        """The names of the arms that start as identities (a = 1 in a · Dirac) and orthogonal."""
        if not self.starts_from_he:
            return {}
        plain = {
            name: arm.model
            for name, arm in self.arms_that_change("model.init", "model.dirac").items()
            if "plain" in arm.families
        }
        starts = {
            "identity": [name for name, model in plain.items() if model.dirac == 1],
            "orthogonal": [name for name, model in plain.items() if model.init == "orthogonal"],
        }
        return {network: names[0] for network, names in starts.items() if names}

    def name_network(self, arm: str, family: str) -> str:
        """Returns what outcomes call a network: plain, residual, identity, orthogonal, linear residual."""
        if family == "plain" and arm in self.start_arms.values():
            return next(network for network, name in self.start_arms.items() if name == arm)
        return f"{arm} {family}" if arm else family

    # ------------------------------------------------------------ what has ended

    @cached_property
    def grid(self) -> SweepFrame:
        """The planned runs of the grid; no claim counts another run that is in the folder."""
        return keep_planned(self.sweep)

    @cached_property
    def whole_seeds(self) -> list[int]:
        """The planned seeds whose runs in the grid have all ended."""
        return list_whole_seeds(self.grid)

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
        """The planned runs of the arms with a record; in a registered sweep, of those that are whole."""
        arms = {name: keep_planned(arm) for name, arm in self.sweep.arms.items()}
        if self.config.registration is None:
            return arms
        return {
            name: arm for name, arm in arms.items() if len(list_whole_seeds(arm)) == len(arm.config.seeds)
        }

    def require_arms(self, names: Iterable[str]) -> None:
        """Refuses a claim of a registered sweep that reads arms of which one is not whole.

        Raises:
            NotAsked: says how many seeds of that arm have ended.
        """
        for name in names:
            if self.config.registration is not None and name not in self.arms:
                arm = self.sweep.arms.get(name)
                whole = 0 if arm is None else len(list_whole_seeds(arm))
                planned = len(self.planned_arms[name].seeds)
                raise NotAsked(f"interim, {whole} of {planned} seeds of the arm {name}")

    @cached_property
    def outcomes(self) -> Outcomes:
        """The accuracies of the planned runs that have ended, by quantity and seed."""
        outcomes: dict[Quantity, dict[int, Outcome]] = {}
        for arm, sweep in {"": self.grid, **self.arms}.items():
            shape = data.shape(sweep.config.data)
            images = {"test": shape.test, "train": shape.train, "recomputed": shape.train}
            for run in list_ended_runs(sweep):
                network = self.name_network(arm, run.family)
                for metric in [name for name, column in METRICS.items() if column in run.numbers]:
                    outcome = Outcome(run.numbers[METRICS[metric]], run.alive, images[metric])
                    outcomes.setdefault(Quantity(network, run.depth, metric), {})[run.seed] = outcome
        return outcomes

    def list_ended(self, arm: str, network: tuple[str, int]) -> dict[int, bool]:
        """Returns the planned seeds of a (family, depth) that have ended: whether each is alive."""
        family, depth = network
        by_seed = self.outcomes.get(Quantity(self.name_network(arm, family), depth, "test"), {})
        return {seed: outcome.alive for seed, outcome in by_seed.items()}

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
    def deeper_plain_died(self) -> bool:
        """Whether all plain networks of some depth in the folder that is deeper than dk are dead."""
        dead = find_untrainable(self.sweep)  # No plan names such a depth, so these are all of its runs.
        return any(family == "plain" and depth > self.deepest for family, depth in dead)

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

    @cached_property
    def constructed_depth(self) -> int | None:
        """The deepest depth of constructed networks that the grid plans, too; None where there is none."""
        arms = [self.planned_arms[name] for name in self.arms_that_change("constructed") if name in self.arms]
        return max((depth for arm in arms for depth in arm.depths if depth in self.depths), default=None)

    def losses(self, metric: str) -> dict[str, dict[int, float]]:
        """Returns the clean training losses of OWN and of each constructed network, in nats by seed.

        The networks are those of the deepest constructed depth. A dead network from its own start is left
        out; a constructed network that diverged has the loss of chance.

        Raises:
            NotAsked: there is no such pair of networks.
        """
        depth = self.constructed_depth
        if depth is None:
            raise NotAsked(
                "constructed networks that have finished, and plain ones of the same depth from their own "
                "start; there are none of both yet"
            )
        columns = {
            name: column
            for name in self.arms_that_change("constructed")
            if name in self.arms
            and (column := read_losses(self.arms[name], depth, metric=metric, only_alive=False))
        }
        return {OWN: read_losses(self.grid, depth, metric=metric, only_alive=True)} | columns

    def clean_losses(self, depth: int) -> dict[int, float]:
        """Returns clean training losses in nats by seed, of the plain networks of the grid that are alive."""
        return read_losses(self.grid, depth, metric="train_loss", only_alive=True)

    def probes(self) -> tuple[dict[int, list[float]], int]:
        """Returns what `read_probes` does of the plain networks of depth dk that are alive."""
        return read_probes(self._measures("", ("plain", self.deepest), kind="probes", name="accuracy"))

    def branches(self, arm: str, depth: int, *, name: str = "branch") -> dict[int, dict[object, float]]:
        """Returns what `read_branches` does of the residual networks of one depth that are alive.

        Args:
            arm: "" for the grid. name: the number, see `resdeg diagnose`.
        """
        return read_branches(self.branch_rows(arm, depth, name=name))

    def branch_rows(self, arm: str, depth: int, *, name: str = "branch") -> pd.DataFrame:
        """Returns the DIAGNOSTIC_COLUMNS that `branches` reads, also those that it leaves out."""
        return self._measures(arm, ("residual", depth), kind="identity", name=name)

    def _measures(self, arm: str, network: tuple[str, int], *, kind: str, name: str) -> pd.DataFrame:
        """Returns DIAGNOSTIC_COLUMNS of one number of the networks of one family and depth that are alive."""
        frame, _ = self.sweep.diagnostics
        family, depth = network
        alive = [seed for seed, learnt in self.list_ended(arm, network).items() if learnt]
        chosen = (frame["arm"] == arm) & (frame["family"] == family) & (frame["depth"] == depth)
        chosen &= (frame["kind"] == kind) & (frame["name"] == name) & frame["seed"].isin(alive)
        return frame[chosen]
