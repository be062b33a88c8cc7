"""What a run is: frozen settings and their identity."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self, get_args

import tomli_w
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from resdeg.config.grammar import MOST_RUNS, check_depth, parse_depths, parse_seeds
from resdeg.errors import UsageError

Family = Literal["plain", "residual"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Settings = dict[str, Any]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class HierarchyConfig(_Frozen):
    """The built-in generated data set: a random hierarchy of production rules.

    Each of `classes` is a symbol that expands `levels` times; each symbol has `synonyms`
    productions into 2x2 tuples of `symbols` lower symbols; the last level's are coloured cells of
    `cell` x `cell` pixels (side = cell * 2**levels), with noise of `noise` grey levels on top.
    """

    classes: int = Field(10, ge=2, le=256)
    levels: int = Field(3, ge=1, le=5)
    symbols: int = Field(8, ge=2, le=64)
    synonyms: int = Field(4, ge=1, le=64)
    cell: int = Field(2, ge=1, le=8)
    noise: int = Field(32, ge=0, le=255)
    train_images: int = Field(10_000, ge=1, le=1_000_000)
    test_images: int = Field(2_000, ge=1, le=1_000_000)
    seed: int = Field(0, ge=0)


class DataConfig(_Frozen):
    """Which images, and how many of the training images are held out for choices."""

    name: str = "cifar10"
    validation: int = Field(0, ge=0, description="training images held out; 0 trains on all")
    hierarchy: HierarchyConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_data_set(cls, values: Any) -> Any:
        """The table `hierarchy` goes with that data set and no other, so it moves no other's id."""
        if isinstance(values, dict):
            if values.get("name") == "hierarchy":
                return {**values, "hierarchy": values.get("hierarchy") or {}}
            if values.get("hierarchy") is not None:
                raise UsageError(
                    "data.hierarchy is set, but data.name is not 'hierarchy'", "add --data hierarchy"
                )
        return values


class ModelConfig(_Frozen):
    """Everything about the network but its family and depth."""

    layout: str = "staged"
    block: str = "basic"
    shortcut: str = "identity"
    shortcut_scale: float = Field(1.0, ge=0, le=2, description="lambda of F(x) + lambda · shortcut(x)")
    norm: str = "batch"
    activation: str = "relu"
    init: str = "he"
    dirac: float | None = Field(None, ge=0, le=1, description="a of a · Dirac + (1 - a) · He")
    width: float = Field(1.0, gt=0, le=64, description="factor on the channels of every stage")

    @model_validator(mode="before")
    @classmethod
    def _companions(cls, values: Any) -> Any:
        """StarGAN's unit brings its norm unless another is named; `dirac` goes with its init alone."""
        if not isinstance(values, dict):
            return values
        if values.get("init") == "dirac-mixed":
            values = {"dirac": 0.5} | {k: v for k, v in values.items() if v is not None}
        elif values.get("dirac") is not None:
            raise UsageError(
                "model.dirac is set, but model.init is not 'dirac-mixed'", "add --set model.init=dirac-mixed"
            )
        if values.get("block") == "stargan":
            return {"norm": "instance", **values}
        return values


def _precision(value: object) -> object:
    # The pilot (results/precision) saw no difference, but none finer than five points; and one
    # command must mean one sweep on every machine. Resolved before the run id.
    return "fp32" if value == "auto" else value


class TrainingConfig(_Frozen):
    """One recipe, the same for every depth and family."""

    recipe: str = "short"
    epochs: int | None = Field(None, ge=1, le=100_000)
    steps: int | None = Field(None, ge=1, le=100_000_000)
    batch_size: int = Field(128, ge=2, le=65_536)
    lr: float = Field(0.1, ge=0, le=1e9)
    schedule: str = "triangle"
    warmup_steps: int = Field(0, ge=0, description="first steps, taken at warmup_lr")
    warmup_lr: float = Field(0.01, ge=0, le=1e9)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, le=1e9)
    pad: int = Field(4, ge=0, le=7, description="random crops out of zero padding this wide")
    flip: bool = True
    precision: Annotated[Literal["fp32", "bf16"], BeforeValidator(_precision)] = "fp32"
    threads: int = Field(1, ge=1, le=1024, description="intra-op threads on a CPU; part of the bits")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise UsageError("a training has a length: either training.epochs or training.steps, not both")
        return self

    @property
    def length(self) -> str:
        """The length as it was given, for people."""
        return f"{self.epochs} epochs" if self.epochs else f"{self.steps:,} steps"

    def total_steps(self, train_images: int) -> int:
        """Steps of the whole run: round(epochs * images / batch), batches straddling epochs."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * train_images / self.batch_size))


class ExecutionConfig(_Frozen):
    """How a sweep is carried out: nothing in here can change a result."""

    data_dir: str | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    jobs: int | Literal["auto"] = "auto"
    offline: bool = False
    graph: bool = Field(False, description="replay each step as one CUDA graph; not yet run on a GPU")

    @field_validator("jobs")
    @classmethod
    def _at_least_one(cls, jobs: int | str) -> int | str:
        if isinstance(jobs, int) and not 1 <= jobs <= 1024:
            raise ValueError(f"{jobs} is not between 1 and 1024")
        return jobs


# Each setting of a run stands in exactly one of these two lists (a test holds it so).
AFFECTS_RESULT = [
    "seed",
    "family",
    "depth",
    "data.name",
    "data.validation",
    "data.hierarchy",
    "model.layout",
    "model.block",
    "model.shortcut",
    "model.shortcut_scale",
    "model.norm",
    "model.activation",
    "model.init",
    "model.dirac",
    "model.width",
    "training.epochs",
    "training.steps",
    "training.batch_size",
    "training.lr",
    "training.schedule",
    "training.warmup_steps",
    "training.warmup_lr",
    "training.momentum",
    "training.weight_decay",
    "training.pad",
    "training.flip",
    "training.precision",
    "training.threads",
]
LEAVES_RESULT = ["training.recipe"]  # a name for the settings beside it
# Settings that came after runs had been published: at these values they are no part of an identity,
# so that those runs keep their names.
NEUTRAL: Settings = {
    "model.layout": "staged",
    "model.shortcut_scale": 1.0,
    "model.activation": "relu",
    "model.dirac": None,
}


class RunConfig(_Frozen):
    """One training: the unit that is stored, resumed and counted."""

    family: Family
    depth: int
    seed: int = Field(ge=0, lt=2**31)
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig

    @field_validator("depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        return check_depth(depth)

    def identity(self) -> Settings:
        """The settings that affect the result, by dotted name."""
        tree = self.model_dump(mode="json")
        found = {name: _at(tree, name) for name in AFFECTS_RESULT}
        return {k: v for k, v in found.items() if k not in NEUTRAL or v != NEUTRAL[k]}

    @property
    def run_id(self) -> str:
        """Readable name and 8 hex digits of the SHA-256 of `identity`."""
        return f"{self.family}-d{self.depth}-s{self.seed}-{_digest(self.identity())}"

    @property
    def settings_id(self) -> str:
        """What runs of one curve share: `identity` without family, depth and seed."""
        varied = {"family", "depth", "seed"}
        return _digest({k: v for k, v in self.identity().items() if k not in varied})


def _at(tree: Settings, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree[key]
    return tree


def _digest(settings: Settings) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def _listed(parse: Any) -> BeforeValidator:
    """Text through `parse`; a TOML array as it is; duplicates dropped, order kept."""

    def read(value: object) -> object:
        items = parse(value) if isinstance(value, str) else value
        return tuple(dict.fromkeys(items)) if isinstance(items, (list, tuple)) else items

    return BeforeValidator(read)


class SweepConfig(_Frozen):
    """The grid: depths x families x seeds under one set of settings."""

    depths: Annotated[tuple[int, ...], _listed(parse_depths)] = Field((8, 20, 56), min_length=1)
    families: Annotated[tuple[Family, ...], _listed(lambda text: text.split(","))] = Field(
        FAMILIES, min_length=1
    )
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], _listed(parse_seeds)] = Field(
        (0, 1, 2), min_length=1
    )
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    execution: ExecutionConfig = ExecutionConfig()

    @field_validator("depths")
    @classmethod
    def _depths(cls, depths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(check_depth(depth) for depth in depths)

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        count = len(self.depths) * len(self.families) * len(self.seeds)
        if count > MOST_RUNS:
            raise UsageError(
                f"{count:,} runs are planned; the limit is {MOST_RUNS:,}", "give fewer depths or seeds"
            )
        return self

    def runs(self) -> tuple[RunConfig, ...]:
        """The trainings of the grid. Plain-2 and residual-2 are one net (no block): trained once."""
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
                    )
                    found.setdefault(run.run_id, run)
        return tuple(found.values())

    @property
    def settings_id(self) -> str:
        return self.runs()[0].settings_id

    def to_toml(self) -> str:
        """The grid as a file that `resdeg sweep` reads back; nothing of this machine in it."""
        tree = self.model_dump(mode="json", exclude={"execution"}, exclude_none=True)
        return tomli_w.dumps(tree)
