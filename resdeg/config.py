"""What a run is: frozen settings, their identity, and TOML in and out."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from resdeg.errors import UsageError, did_you_mean

Family = Literal["plain", "residual"]
FAMILIES: tuple[Family, ...] = get_args(Family)
DEEPEST = 5_000
MOST_RUNS = 10_000
LARGEST_CONFIG = 1_000_000  # bytes; a configuration is read whole

Settings = dict[str, Any]


# ---------------------------------------------------------------- lists as users write them


def _number(text: str, what: str, whole: str) -> int:
    """ASCII digits alone: int() would also take ' 8 ', '1_000' and Arabic digits."""
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        shown = f"'{text}'" if text else "an empty item"
        raise UsageError(
            f"{what} '{whole}': {shown} is not a whole number", f"write e.g. --{what} {_EXAMPLE[what]}"
        )
    return int(text)


_EXAMPLE = {"depths": "8,20,56", "seeds": "0-2"}


def parse_depths(text: str) -> tuple[int, ...]:
    """Depths from '8,20,56'; whether each is 6n+2 is the model's to say.

    Raises:
        UsageError: an item is empty or not a whole number.
    """
    return tuple(_number(item, "depths", text) for item in text.split(","))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from '0-2' or '0,3,5-7'; ranges include both ends.

    Raises:
        UsageError: an item is not a number or a rising range, or there are too many.
    """
    seeds: list[int] = []
    for item in text.split(","):
        first, dash, last = item.partition("-")
        low = _number(first, "seeds", text)
        high = _number(last, "seeds", text) if dash else low
        if high < low:
            raise UsageError(f"seeds '{text}': the range {item} ends before it starts", f"write {high}-{low}")
        if high - low >= MOST_RUNS:  # counted before it is built
            raise UsageError(f"seeds '{text}': {item} is more than {MOST_RUNS:,} seeds")
        seeds.extend(range(low, high + 1))
    return tuple(seeds)


def check_depth(depth: int) -> int:
    """`depth` if it is 6n+2, n >= 0: stem, 6n convolutions, classifier.

    >>> check_depth(20)
    20
    """
    if depth > DEEPEST:
        raise UsageError(f"depth={depth} is above the limit of {DEEPEST}")
    if depth < 2 or (depth - 2) % 6:
        below = max(2, (depth - 2) // 6 * 6 + 2)
        near = "is 2" if depth < 2 else f"are {below} and {below + 6}"
        raise UsageError(f"depth={depth} is not 6n+2", f"the nearest {near}")
    return depth


# ---------------------------------------------------------------- the settings


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

    block: str = "basic"
    shortcut: str = "identity"
    norm: str = "batch"
    init: str = "he"
    width: float = Field(1.0, gt=0, le=64, description="factor on the 16, 32 and 64 channels")


def _precision(value: object) -> object:
    # fp32 until a published pilot (fp32 against bf16) says otherwise; resolved before the run id.
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
    "model.block",
    "model.shortcut",
    "model.norm",
    "model.init",
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
        return {name: _at(tree, name) for name in AFFECTS_RESULT}

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


# ---------------------------------------------------------------- files and errors


def read_toml(path: Path) -> Settings:
    """The tables of a configuration file.

    Raises:
        UsageError: missing, not a file, too large, not UTF-8 or not TOML (with line and column).
    """
    try:
        if not path.is_file():
            kind = "is not a file" if path.exists() else "does not exist"
            raise UsageError(f"{path}: {kind}", "give the path of a TOML file, e.g. configs/short.toml")
        if path.stat().st_size > LARGEST_CONFIG:
            raise UsageError(f"{path}: larger than 1 MB, so not a configuration")
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        where = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", message, re.DOTALL)
        place = f"{path}:{where[2]}:{where[3]}" if where else f"{path}"
        said = where[1] if where else message
        raise UsageError(f"{place}: {said[:1].lower()}{said[1:]}", "mend the TOML there") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def parse_assignment(text: str) -> Settings:
    """`--set training.lr=0.05` as a nested table; the value is TOML, else a bare string.

    >>> parse_assignment("training.lr=0.05")
    {'training': {'lr': 0.05}}
    """
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {text}: not KEY=VALUE", "write e.g. --set training.lr=0.05")
    try:
        parsed: Any = tomllib.loads(f"value = {value.strip()}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        parsed = value.strip()
    for key in reversed(keys):
        parsed = {key: parsed}
    return dict(parsed)


def merge(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> Settings:
    """`lower` overlaid with `upper`, table by table; a length replaces the other kind of length."""
    merged: Settings = dict(lower)
    for rival, given in (("epochs", "steps"), ("steps", "epochs")):
        if upper.get(given) is not None:
            merged.pop(rival, None)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], layers: Mapping[str, Settings]) -> Model:
    """`model` from layers of settings by source, lowest first.

    Raises:
        UsageError: the first thing wrong, with the source that set it, its key and the nearest name.
    """
    settings: Settings = {}
    for layer in layers.values():
        settings = merge(settings, layer)
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise UsageError(*_explain(model, error, layers)) from error


def _explain(
    model: type[BaseModel], error: ValidationError, layers: Mapping[str, Settings]
) -> tuple[str, str]:
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if isinstance(part, str)]
    key = ".".join(place)
    setters = [name for name, layer in layers.items() if _sets(layer, place)]
    source = f"{setters[-1]}: " if setters else ""
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UsageError):
        return f"{source}{cause.what}", cause.remedy
    if first["type"] == "extra_forbidden":
        return f"{source}unknown key '{key}'", did_you_mean(place[-1], _fields(model, place[:-1]))
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return f"{source}{key}: '{first['input']}' is not known", did_you_mean(str(first["input"]), known)
    rule = first["msg"].removeprefix("Value error, ")
    return f"{source}{key} = {str(first['input'])[:80]}: {rule[:1].lower()}{rule[1:]}", ""


def _sets(layer: Settings, place: list[str]) -> bool:
    for key in place:
        if not isinstance(layer, dict) or key not in layer:
            return False
        layer = layer[key]
    return True


def _fields(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The keys of the table at `path`, for the nearest name."""
    for key in path:
        field = model.model_fields.get(key)
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)
