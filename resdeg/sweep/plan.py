"""The runs of a sweep, how far each one is, and the order in which they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from resdeg.config import RunConfig, SweepConfig
from resdeg.errors import StorageError
from resdeg.records import ENDED
from resdeg.store import RunState, SweepStore
from resdeg.sweep.shards import Shard, choose_share


@dataclass(frozen=True)
class Plan:
    """The runs of a grid and how far each one is, those of other shards too."""

    config: SweepConfig
    store: SweepStore
    states: dict[str, RunState]
    shard: Shard | None = None

    @classmethod
    def load(cls, config: SweepConfig, store: SweepStore, shard: Shard | None = None) -> Plan:
        """Reads how far each run is; only those of `shard` are to be trained here, or else all of them."""
        return cls(config, store, {run.run_id: _state(store, run) for run in config.runs()}, shard)

    @cached_property
    def share(self) -> tuple[RunConfig, ...]:
        """The runs that are trained here: those of the shard, or else all of them."""
        return choose_share(self.config.runs(), self.shard)

    @property
    def todo(self) -> list[RunConfig]:
        """The share's runs that have neither finished nor diverged, in the order of their training.

        The deepest come first, so that no long run is left for the end. In the order "seed", runs come seed
        by seed and the arms after the grid, so that what is there is always a whole curve.
        """
        left = [run for run in self.share if self.states[run.run_id] not in ENDED]
        if self.config.execution.order == "depth":
            return sorted(left, key=lambda run: -run.depth)
        grid = {run.run_id for run in self.config.grid()}
        seeds = dict.fromkeys(run.seed for run in self.config.runs())
        rank = {seed: number for number, seed in enumerate(seeds)}
        return sorted(left, key=lambda run: (run.run_id not in grid, rank[run.seed], -run.depth))

    @property
    def others(self) -> list[str]:
        """Runs in the folder that this grid does not name; they stay there."""
        return self.store.run_ids(without=self.states)


def _state(store: SweepStore, run: RunConfig) -> RunState:
    try:
        return store.run(run.run_id).state()
    except StorageError:
        return "interrupted"  # a damaged summary: what is left of the run decides when it is opened
