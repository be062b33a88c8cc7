"""What is swept: a grid of trainings, and arms beside it that differ in some settings."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

import tomli_w
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from resdeg.config.grammar import MOST_RUNS, check_depth, parse_depths, parse_seeds
from resdeg.config.run import AFFECTS_RESULT, NEUTRAL, VARIED, RunConfig
from resdeg.config.settings import (
    FAMILIES,
    AdoptedConfig,
    ClaimsConfig,
    ConstructedConfig,
    DataConfig,
    ExecutionConfig,
    Family,
    Frozen,
    ModelConfig,
    Registration,
    Settings,
    TrainingConfig,
)
from resdeg.config.toml import validate
from resdeg.errors import UsageError


def _listed(parse: Any) -> BeforeValidator:
    """Text through `parse`; a TOML array as it is; duplicates dropped, order kept."""

    def read(value: object) -> object:
        items = parse(value) if isinstance(value, str) else (value,) if isinstance(value, int) else value
        return tuple(dict.fromkeys(items)) if isinstance(items, (list, tuple)) else items

    return BeforeValidator(read)


Depths = Annotated[
    tuple[Annotated[int, AfterValidator(check_depth)], ...], _listed(parse_depths), Field(min_length=1)
]
Families = Annotated[tuple[Family, ...], _listed(lambda text: text.split(",")), Field(min_length=1)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], _listed(parse_seeds), Field(min_length=1)
]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]


class ArmConfig(Frozen):
    """An intervention beside the grid of a sweep: settings that are other than the grid's.

    Depths, families and seeds are the grid's where none are given.
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
    """The grid: depths x families x seeds under one set of settings; and arms beside it."""

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
            grid.grid()  # a network that cannot be is refused now
        return self

    @cached_property
    def arm_sweeps(self) -> dict[str, SweepConfig]:
        """Each arm as a sweep of its own: its changes laid over the settings of this one."""
        tree = self.model_dump(exclude={"arms", "claims", "registration"}, exclude_none=True)
        changes = self.model_dump(include={"arms"}, exclude_none=True)["arms"]
        return {name: _laid_over(tree, f"arms.{name}", of_arm) for name, of_arm in changes.items()}

    @property
    def grids(self) -> list[SweepConfig]:
        """This sweep, then its arms."""
        return [self, *self.arm_sweeps.values()]

    def changes(self, name: str) -> Settings:
        """What an arm changes, by dotted name; grid and values that are this sweep's own are left out."""
        own, other = (grid.grid()[0].identity() for grid in (self, self.arm_sweeps[name]))
        found = {key: other.get(key, NEUTRAL.get(key)) for key in AFFECTS_RESULT}
        mine = {key: own.get(key, NEUTRAL.get(key)) for key in AFFECTS_RESULT}
        return {k: v for k, v in found.items() if k not in VARIED and v != mine[k]}

    def grid(self) -> tuple[RunConfig, ...]:
        """The trainings of the grid. Plain-2 and residual-2 are one net (no block): trained once."""
        return self._grid

    @cached_property
    def _grid(self) -> tuple[RunConfig, ...]:
        found: dict[str, RunConfig] = {}
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
                    found.setdefault(run.run_id, run)
        return tuple(found.values())

    def runs(self) -> tuple[RunConfig, ...]:
        """The trainings of the grid and of its arms, each once."""
        return self._runs

    @cached_property
    def _runs(self) -> tuple[RunConfig, ...]:
        return tuple({run.run_id: run for grid in self.grids for run in grid.grid()}.values())

    @cached_property
    def settings_id(self) -> str:
        return self.grid()[0].settings_id

    def to_toml(self) -> str:
        """The grid as a file that `resdeg sweep` reads back; nothing of this machine in it.

        It holds what is needed to go on in place: the order of the runs, and snapshots.
        """
        tree = self.model_dump(mode="json", exclude={"execution"}, exclude_none=True)
        usual = ExecutionConfig()
        in_place = {
            name: value
            for name in ("order", "snapshots")
            if (value := getattr(self.execution, name)) != getattr(usual, name)
        }
        arms = tree.pop("arms")
        if not tree["claims"]:
            del tree["claims"]
        if in_place:
            tree["execution"] = in_place
        if arms:
            tree["arms"] = {name: {k: v for k, v in arm.items() if v != {}} for name, arm in arms.items()}
        return tomli_w.dumps(tree)


def _laid_over(tree: Settings, name: str, changes: Settings) -> SweepConfig:
    try:
        return validate(SweepConfig, {"sweep": tree, name: changes})
    except UsageError as error:
        what = error.what if error.what.startswith(name) else f"{name}: {error.what}"
        raise UsageError(what, error.remedy) from error
