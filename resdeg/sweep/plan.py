"""The runs of a sweep, how far each one is, and the order in which they are trained."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from resdeg.config import RunConfig, SweepConfig
from resdeg.errors import StorageError
from resdeg.records import ENDED
from resdeg.store import RunState, SweepStore


def default_folder(config: SweepConfig) -> Path:
    """Returns the folder of a sweep for which none was given, relative to where the program runs."""
    return Path("results") / "local" / f"{config.data.name}-{config.training.recipe}"


@dataclass(frozen=True)
class Plan:
    """The runs of a grid and how far each one is."""

    config: SweepConfig
    store: SweepStore
    states: dict[str, RunState]

    @classmethod
    def load(cls, config: SweepConfig, store: SweepStore) -> Plan:
        """Reads how far each run is."""
        return cls(config, store, {run.run_id: _state(store, run) for run in config.runs()})

    @property
    def todo(self) -> list[RunConfig]:
        """The runs that have neither finished nor diverged, in the order in which they are to be trained.

        The deepest come first, so that no long run is left for the end. In the order "seed", runs come seed
        by seed and the arms after the grid, so that what is there is always a whole curve.
        """
        left = [run for run in self.config.runs() if self.states[run.run_id] not in ENDED]
        if self.config.execution.order == "depth":
            return sorted(left, key=lambda run: -run.depth)
        grid = {run.run_id for run in self.config.grid()}
        seeds = dict.fromkeys(run.seed for run in self.config.runs())
        rank = {seed: number for number, seed in enumerate(seeds)}
        return sorted(left, key=lambda run: (run.run_id not in grid, rank[run.seed], -run.depth))

    @property
    def others(self) -> list[str]:
        """Runs in the folder that this grid does not name; they stay there."""
        return [run_id for run_id in self.store.run_ids() if run_id not in self.states]

    @property
    def other_lengths(self) -> dict[str, int]:
        """Counts the runs in `others` that differ from a run in `todo` only in their length, by length."""
        left = {_without_length(run) for run in self.todo}
        others = [self.store.run(run_id).config() for run_id in self.others]
        return dict(Counter(run.training.length for run in others if _without_length(run) in left))


def _without_length(run: RunConfig) -> str:
    return json.dumps(run.identity() | {"training.epochs": None, "training.steps": None}, sort_keys=True)


def _state(store: SweepStore, run: RunConfig) -> RunState:
    try:
        return store.run(run.run_id).state()
    except StorageError:
        return "interrupted"  # a damaged summary: what is left of the run decides when it is opened
