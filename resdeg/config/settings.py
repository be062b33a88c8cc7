"""The tables of settings besides data: model, training, construction, execution."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from resdeg.config.grammar import check_depth, check_device
from resdeg.errors import UsageError

Family = Literal["plain", "residual"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Settings = dict[str, Any]


class Frozen(BaseModel):
    """Settings that do not change, so that values derived from them can be cached (cached_property)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copies the settings with other values, and without the cached values of the old ones."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


class ModelConfig(Frozen):
    """Everything about the network except its family and depth."""

    layout: str = "staged"
    block: str = "basic"
    shortcut: str = "identity"
    shortcut_scale: float = Field(1.0, ge=0, le=2, description="lambda of F(x) + lambda · shortcut(x)")
    norm: str = "batch"
    activation: str = "relu"
    inner_activation: str | None = Field(
        None, description="of the branch, between its convolutions; none given: as `activation`"
    )
    last_scale: float = Field(1.0, ge=0, le=1, description="initial scale of a residual branch's last norm")
    init: str = "he"
    dirac: float | None = Field(None, ge=0, le=1, description="a of a · Dirac + (1 - a) · He")
    width: float = Field(1.0, gt=0, le=64, description="factor on the channels of every stage")

    @model_validator(mode="before")
    @classmethod
    def _companions(cls, values: Any) -> Any:
        """Gives StarGAN's unit its norm unless another is named; allows `dirac` only with its init."""
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

    @model_validator(mode="after")
    def _branch_ends_in_a_norm(self) -> Self:
        if self.last_scale != 1 and (self.norm == "none" or self.block == "preact"):
            raise UsageError(
                "model.last_scale scales a norm at the end of the branch, and these nets have none there",
                "give a norm, and model.block = 'basic' or 'stargan'",
            )
        return self


def _precision(value: object) -> object:
    # "auto" is fp32 everywhere, because one command must mean one sweep on every machine, and the pilot
    # (results/precision) could not have seen a difference below five points. It is resolved here, before
    # the run id is made.
    return "fp32" if value == "auto" else value


class TrainingConfig(Frozen):
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
    fused: bool = Field(
        default=True, description="norm, addition and relu at once where they can be; part of the bits"
    )
    fast_math: bool = Field(
        default=False, description="CUDA only: TF32, cuDNN's fastest algorithms, bits that do not repeat"
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise UsageError("a training has a length: either training.epochs or training.steps, not both")
        return self

    @property
    def length(self) -> str:
        """The length in words, in the unit in which it was given."""
        return f"{self.epochs} epochs" if self.epochs is not None else f"{self.steps:,} steps"

    def total_steps(self, train_images: int) -> int:
        """Counts the steps of the whole run: round(epochs * images / batch), as batches straddle epochs."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * train_images / self.batch_size))


class ConstructedConfig(Frozen):
    """The constructed solution (He et al. 2015, Sec. 1), trained further: one run of two phases.

    In the first phase a plain network of `from_depth` trains under the recipe's schedule, scaled to the
    steps of that phase. Then identity blocks are inserted, and the deeper network takes the other steps,
    under the schedule scaled to them and with its rates times `lr`. So the run has as many steps as a
    network of its depth that starts anew.
    """

    from_depth: int = 20
    share: float = Field(0.5, gt=0, lt=1, description="of the epochs that the shallow net trains, rounded")
    lr: float = Field(0.1, ge=0, le=10, description="factor on the recipe's rates after the construction")

    @field_validator("from_depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        if check_depth(depth) == 2:
            raise UsageError("constructed.from_depth = 2 has no block that identities could follow", "give 8")
        return depth


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # TOML has only arrays


Channels = Annotated[
    tuple[
        Annotated[float, Field(ge=-1e3, le=1e3)],
        Annotated[float, Field(ge=-1e3, le=1e3)],
        Annotated[float, Field(ge=-1e3, le=1e3)],
    ],
    BeforeValidator(_as_tuple),
]


class AdoptedConfig(Frozen):
    """Weights that another program trained: their source, and the input that they were trained on.

    mean, deviation: of the channels red, green and blue, for pixels in [0, 1]. None stands for the input of
    resdeg's own trainings: the per-pixel mean and the deviation of the training images.
    """

    source: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)
    mean: Channels | None = None
    deviation: Channels | None = None
    schedule_known: bool = Field(
        default=False, description="whether `training` says how the weights were trained"
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.deviation is None):
            raise UsageError("an input has a mean and a deviation, or neither", "give --mean and --std")
        if self.deviation is not None and min(self.deviation) <= 0:
            raise UsageError("a deviation of the input is not above 0", "give e.g. --std 0.247")
        return self


class ClaimsConfig(Frozen):
    """Choices besides the rules on which verdicts rest; they count if they precede the first step."""

    depth: int | None = Field(
        None, description="witness depth of C1, C2, C4 and C10; none: any depth may be it"
    )


class RegisteredRuns(Frozen):
    """The runs of a grid, or of an arm, that were planned before the first step; its settings_id."""

    # TOML has arrays, which are lists.
    families: tuple[Family, ...] = Field(strict=False)
    depths: tuple[int, ...] = Field(strict=False)
    seeds: tuple[int, ...] = Field(strict=False)
    settings: str


class Registration(Frozen):
    """What was fixed before the first step of a sweep; it is written once into sweep.toml and never changed.

    version, date, sha256: of the rules of the claims. seeds: their number. depth: the witness depth, if it
    was named. grid, arms: the planned runs. Sweeps that older versions began have neither grid nor arms.
    """

    version: int
    date: str
    sha256: str
    seeds: int = Field(ge=1)
    depth: int | None = None
    grid: RegisteredRuns | None = None
    arms: dict[str, RegisteredRuns] | None = None


class ExecutionConfig(Frozen):
    """How a sweep is carried out. No setting in this table can change a result."""

    data_dir: str | None = None
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], BeforeValidator(check_device)] = "auto"
    jobs: int | Literal["auto"] = "auto"
    offline: bool = False
    graph: bool | Literal["auto"] = Field(
        default="auto",
        description="replay each step as one CUDA graph; auto: on CUDA, where it can be captured",
    )
    group: int | Literal["auto"] = Field(
        "auto",
        description="runs in one worker process, a thread each; on CUDA a stream each, and auto is what "
        "`resdeg bench --device cuda` found best there, or 4",
    )
    order: Literal["depth", "seed"] = Field(
        "depth", description="deepest first, or all depths of a seed before the next seed"
    )
    # Weights are stored after this many evenly spaced epochs, for `resdeg diagnose` to measure.
    snapshots: int = Field(0, ge=0, le=20)

    def captures(self, device: str) -> bool:
        """Says whether steps are to be replayed as CUDA graphs on a device of this type."""
        return device == "cuda" if self.graph == "auto" else self.graph

    @property
    def data_path(self) -> Path | None:
        """The path of the data set; None stands for the cache."""
        return Path(self.data_dir) if self.data_dir else None

    @property
    def absolute_data_dir(self) -> str | None:
        """`data_dir` for a process with another working folder, and with a home of its own."""
        if not self.data_dir or self.data_dir.startswith("~"):
            return self.data_dir
        return str(Path(self.data_dir).absolute())

    @property
    def runs_per_process(self) -> int:
        """How many runs share a worker process; one, as long as the sweep has not settled 'auto'."""
        return 1 if self.group == "auto" else self.group

    @field_validator("group")
    @classmethod
    def _not_too_many(cls, group: int | str) -> int | str:
        if isinstance(group, int) and not 1 <= group <= 64:
            raise ValueError(f"{group} is not between 1 and 64")
        return group

    @field_validator("jobs")
    @classmethod
    def _at_least_one(cls, jobs: int | str) -> int | str:
        if isinstance(jobs, int) and not 1 <= jobs <= 1024:
            raise UsageError(
                f"execution.jobs = {jobs}: {jobs} is not between 1 and 1024",
                "write auto for as many runs side by side as this machine carries",
            )
        return jobs
