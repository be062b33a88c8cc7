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
    def load(
        cls, config: SweepConfig, store: SweepStore, shard: Shard | None = None, *, fresh: bool = False
    ) -> Plan:
        """Reads how far each run is.

        Args:
            shard: the share whose runs are to be trained here; all runs if that is None.
            fresh: takes the runs of the share as missing, as they are once they have been set aside.
        """
        states = {run.run_id: _state(store, run) for run in config.runs()}
        if fresh:
            states |= {run.run_id: "missing" for run in choose_share(config.runs(), shard)}
        return cls(config, store, states, shard)

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

    def count_bytes(self, run_id: str) -> int:
        """Counts the bytes that a run has on disk and keeps."""
        return 0 if self.states[run_id] == "missing" else self.store.run(run_id).count_bytes()

    @property
    def others(self) -> list[str]:
        """Runs in the folder that this grid does not name; they stay there."""
        return self.store.run_ids(without=self.states)


def _state(store: SweepStore, run: RunConfig) -> RunState:
    try:
        return store.run(run.run_id).state()
    except StorageError:
        return "interrupted"  # a damaged summary: what is left of the run decides when it is opened
