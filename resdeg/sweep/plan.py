"""From defaults, recipe, file, environment and flags to one grid of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resdeg.config import (
    RunConfig,
    Settings,
    SweepConfig,
    is_true,
    merge,
    number_or_text,
    parse_assignment,
    read_toml,
    validate,
)
from resdeg.errors import StorageError
from resdeg.records import ENDED
from resdeg.store import RunState, SweepStore
from resdeg.training.recipes import recipe

ENVIRONMENT = {
    "RESDEG_DATA_DIR": "data_dir",
    "RESDEG_DEVICE": "device",
    "RESDEG_JOBS": "jobs",
    "RESDEG_OFFLINE": "offline",
}


def resolve(
    file: Path | None, environment: Mapping[str, str], assignments: Sequence[str], flags: Settings
) -> SweepConfig:
    """One configuration: defaults < recipe < file < environment < --set < flags.

    Raises:
        UsageError: anything in any of them is wrong, with the one that set it.
    """
    layers: dict[str, Settings] = {}
    if file is not None:
        layers[str(file)] = read_toml(file)
    layers |= {name: _variable(name, environment[name]) for name in ENVIRONMENT if environment.get(name)}
    chosen: Settings = {}
    for text in assignments:
        chosen = merge(chosen, parse_assignment(text))
    layers |= {"--set": chosen, "command line": flags}
    name = "short"
    for layer in layers.values():
        training = layer.get("training")
        if isinstance(training, dict) and isinstance(training.get("recipe"), str):
            name = training["recipe"]
    return validate(SweepConfig, {f"recipe {name}": {"training": recipe(name)}, **layers})


def _variable(name: str, text: str) -> Settings:
    value: object = number_or_text(text) if name == "RESDEG_JOBS" else text
    if name == "RESDEG_OFFLINE":
        value = is_true(text)
    return {"execution": {ENVIRONMENT[name]: value}}


def default_folder(config: SweepConfig) -> Path:
    return Path("results") / "local" / f"{config.data.name}-{config.training.recipe}"


@dataclass(frozen=True)
class Plan:
    """The runs of a grid and how far each one is."""

    config: SweepConfig
    store: SweepStore
    states: dict[str, RunState]

    @classmethod
    def of(cls, config: SweepConfig, store: SweepStore) -> Plan:
        return cls(config, store, {run.run_id: _state(store, run) for run in config.runs()})

    @property
    def todo(self) -> list[RunConfig]:
        """What is not finished or diverged, in the order in which it is to be trained.

        Deepest first, so that no long run is left for the end; or seed by seed, and the arms after the grid,
        so that what is there is always a whole curve.
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
        """Runs in the folder that this grid does not name; they are kept."""
        return [run_id for run_id in self.store.run_ids() if run_id not in self.states]


def _state(store: SweepStore, run: RunConfig) -> RunState:
    try:
        return store.run(run.run_id).state()
    except StorageError:
        return "interrupted"  # a damaged summary: what is left of the run decides when it is opened
