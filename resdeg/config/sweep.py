"""A sweep: a grid of trainings, and arms beside it that differ from it in some settings."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

import tomli_w
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from resdeg.config.data_settings import DataConfig
from resdeg.config.grammar import MOST_RUNS, check_depth, parse_depths, parse_seeds, split_items
from resdeg.config.run import RunConfig
from resdeg.config.settings import (
    FAMILIES,
    AdoptedConfig,
    ClaimsConfig,
    ConstructedConfig,
    ExecutionConfig,
    Family,
    Frozen,
    ModelConfig,
    RegisteredRuns,
    Registration,
    Settings,
    TrainingConfig,
)
from resdeg.config.toml import validate
from resdeg.errors import UsageError


def _listed(parse: Any) -> BeforeValidator:
    """Reads text by `parse` and a TOML array as it is, drops duplicates and keeps the order."""

    def read(value: object) -> object:
        items = parse(value) if isinstance(value, str) else (value,) if isinstance(value, int) else value
        return tuple(dict.fromkeys(items)) if isinstance(items, (list, tuple)) else items

    return BeforeValidator(read)


Depths = Annotated[
    tuple[Annotated[int, AfterValidator(check_depth)], ...], _listed(parse_depths), Field(min_length=1)
]
Families = Annotated[tuple[Family, ...], _listed(split_items), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], _listed(parse_seeds), Field(min_length=1)
]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class ArmConfig(Frozen):
    """An arm beside the grid of a sweep: the settings in which it differs from the grid.

    Depths, families and seeds that are not given are those of the grid.
    """

    depths: Depths | None = None
    families: Families | None = None
    seeds: Seeds | None = None
    model: Settings = Field(default_factory=dict)
    training: Settings = Field(default_factory=dict)
    constructed: ConstructedConfig | None = None

    @field_validator("training")
    @classmethod
    def _no_recipe(cls, training: Settings) -> Settings:
        if "recipe" in training:
            raise UsageError("an arm has the recipe of its sweep", "name the settings that differ")
        return training


class SweepConfig(Frozen):
    """A grid of depths x families x seeds under one set of settings, and arms beside it."""

    depths: Depths = (8, 20, 56)
    families: Families = FAMILIES
    seeds: Seeds = (0, 1, 2)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    constructed: ConstructedConfig | None = None
    adopted: AdoptedConfig | None = Field(None, description="written by `resdeg adopt`, never by hand")
    execution: ExecutionConfig = ExecutionConfig()
    arms: dict[ArmName, ArmConfig] = Field(default_factory=dict)
    claims: ClaimsConfig = ClaimsConfig()
    registration: Registration | None = Field(None, description="written by `resdeg sweep`, never by hand")

    @model_validator(mode="after")
    def _witness_is_planned(self) -> Self:
        depth = self.claims.depth
        if depth is not None and (depth not in self.depths or depth == 2 or depth >= max(self.depths)):
            raise UsageError(
                f"claims.depth = {depth} is not a planned depth with a block, shallower than the deepest",
                f"planned are {', '.join(map(str, self.depths))}",
            )
        return self

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        count = sum(len(grid.depths) * len(grid.families) * len(grid.seeds) for grid in self.grids)
        if count > MOST_RUNS:
            raise UsageError(
                f"{count:,} runs are planned; the limit is {MOST_RUNS:,}", "give fewer depths or seeds"
            )
        for grid in self.grids:
            grid.grid()  # refuses impossible networks now, before anything is trained
        return self

    @model_validator(mode="after")
    def _groups_share_arithmetic(self) -> Self:
        if self.execution.runs_per_process > 1 and not self.share_arithmetic:
            raise UsageError(
                "training.threads and training.fast_math are those of a process, and differ between arms",
                "give execution.group = 1",
            )
        return self

    @property
    def share_arithmetic(self) -> bool:
        """Says whether all runs have the settings of the arithmetic that belong to a process."""
        return len({(grid.training.threads, grid.training.fast_math) for grid in self.grids}) == 1

    @cached_property
    def arm_sweeps(self) -> dict[str, SweepConfig]:
        """Each arm as a sweep of its own, whose settings are those of this sweep with the arm's changes."""
        tree = self.model_dump(exclude={"arms", "claims", "registration"}, exclude_none=True)
        arms = self.model_dump(include={"arms"}, exclude_none=True)["arms"]
        return {name: _apply_changes(tree, f"arms.{name}", changes) for name, changes in arms.items()}

    @property
    def arm_names(self) -> dict[str, str]:
        """The name of each arm by the id of its settings, the first of several; "" is the grid itself."""
        arms = {grid.settings_id: name for name, grid in reversed(self.arm_sweeps.items())}
        return arms | {self.settings_id: ""}

    @property
    def grids(self) -> list[SweepConfig]:
        """This sweep, then its arms."""
        return [self, *self.arm_sweeps.values()]  # not cached: a model that holds itself cannot be compared

    def with_registered(self) -> SweepConfig:
        """Returns this sweep with the runs that were registered, whether they are still planned or not.

        An arm is known by its settings, so that another name for it changes nothing.
        """
        if self.registration is None or self.registration.grid is None:
            return self
        registered = {arm.settings: arm for arm in (self.registration.arms or {}).values()}
        arms = {
            name: self.arms[name].model_copy(update=_join_runs(arm, registered.get(arm.settings_id)))
            for name, arm in self.arm_sweeps.items()
        }
        return self.model_copy(update={**_join_runs(self, self.registration.grid), "arms": arms})

    def changes(self, name: str) -> Settings:
        """Returns the settings that the arm changes, by dotted name, without family, depth and seed."""
        differences = self.grid()[0].differences(self.arm_sweeps[name].grid()[0])
        return {key: after for key, (_, after) in differences.items()}

    def grid(self) -> tuple[RunConfig, ...]:
        """Returns the trainings of the grid, each once.

        A network of depth 2 has no block, so plain-2 and residual-2 are one network and one training.
        """
        return self._grid

    @cached_property
    def _grid(self) -> tuple[RunConfig, ...]:
        runs: dict[str, RunConfig] = {}
        for depth in self.depths:
            for seed in self.seeds:
                for family in self.families:
                    run = RunConfig(
                        family="plain" if depth == 2 else family,
                        depth=depth,
                        seed=seed,
                        data=self.data,
                        model=self.model,
                        training=self.training,
                        constructed=self.constructed,
                        adopted=self.adopted,
                    )
                    runs.setdefault(run.run_id, run)
        return tuple(runs.values())

    def runs(self) -> tuple[RunConfig, ...]:
        """Returns the trainings of the grid and of its arms, each once."""
        return self._runs

    @cached_property
    def _runs(self) -> tuple[RunConfig, ...]:
        return tuple({run.run_id: run for grid in self.grids for run in grid.grid()}.values())

    @cached_property
    def settings_id(self) -> str:
        """The digest that all runs of the grid share, see `RunConfig.settings_id`."""
        return self.grid()[0].settings_id

    def list_settings(self) -> Settings:
        """Returns the settings that have a value as the tables of a configuration file, `execution` too."""
        tree = self.model_dump(mode="json", exclude_none=True)
        arms = {name: {k: v for k, v in arm.items() if v != {}} for name, arm in tree.pop("arms").items()}
        return {key: value for key, value in (tree | {"arms": arms}).items() if value != {}}

    def to_toml(self) -> str:
        """Writes the sweep as TOML that `resdeg sweep` reads back; it names nothing of this machine.

        The order of the runs and the snapshots are written too, because a sweep that goes on needs them.
        """
        tree = self.list_settings()
        del tree["execution"]
        usual = ExecutionConfig()
        execution = {
            name: value
            for name in ("order", "snapshots")
            if (value := getattr(self.execution, name)) != getattr(usual, name)
        }
        arms = tree.pop("arms", None)
        if execution:
            tree["execution"] = execution
        if arms:
            tree["arms"] = arms
        return tomli_w.dumps(tree)


def _join_runs(grid: SweepConfig, registered: RegisteredRuns | None) -> Settings:
    """Returns families, depths and seeds of a grid, and those that were registered, each once."""
    return {
        key: tuple(dict.fromkeys([*getattr(grid, key), *getattr(registered or grid, key)]))
        for key in ("families", "depths", "seeds")
    }


def _apply_changes(tree: Settings, name: str, changes: Settings) -> SweepConfig:
    # The grid's `dirac` belongs to an init that the arm may leave.
    if changes["model"].get("init", "dirac-mixed") != "dirac-mixed":
        tree = tree | {"model": {key: value for key, value in tree["model"].items() if key != "dirac"}}
    try:
        return validate(SweepConfig, {"sweep": tree, name: changes})
    except UsageError as error:
        what = error.what if error.what.startswith(name) else f"{name}: {error.what}"
        raise UsageError(what, error.remedy) from error
