"""One training: its settings and its identity."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from resdeg.config.data_settings import DataConfig
from resdeg.config.grammar import check_depth
from resdeg.config.settings import (
    AdoptedConfig,
    ConstructedConfig,
    Family,
    Frozen,
    ModelConfig,
    Settings,
    TrainingConfig,
)
from resdeg.errors import UsageError

# Each setting of a run is in exactly one of these two lists; a test checks that.
AFFECTS_RESULT = [
    "seed",
    "family",
    "depth",
    "data.name",
    "data.validation",
    "data.subset",
    "data.label_noise",
    "data.hierarchy",
    "data.folder.hash",
    "model.layout",
    "model.block",
    "model.shortcut",
    "model.shortcut_scale",
    "model.norm",
    "model.activation",
    "model.inner_activation",
    "model.last_scale",
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
    "training.fused",
    "training.fast_math",
    "constructed",
    "adopted",
]
LEAVES_RESULT = [
    "training.recipe",  # only names the other training settings
    "data.folder.name",
    # The hash covers these.
    "data.folder.classes",
    "data.folder.side",
    "data.folder.train",
    "data.folder.test",
]
VARIED = ("family", "depth", "seed")  # settings that differ between the runs of one curve
# These settings were added after runs had been published. At these values they are no part of an
# identity, so that the published runs keep their names.
NEUTRAL: Settings = {
    "data.subset": None,
    "data.label_noise": 0.0,
    "data.folder.hash": None,
    "model.layout": "staged",
    "model.shortcut_scale": 1.0,
    "model.activation": "relu",
    "model.inner_activation": None,
    "model.last_scale": 1.0,
    "model.dirac": None,
    "training.fused": True,
    "training.fast_math": False,
    "constructed": None,
    "adopted": None,
}


class RunConfig(Frozen):
    """One training: the unit that is stored, resumed and counted."""

    family: Family
    depth: int
    seed: int = Field(ge=0, lt=2**31)
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    constructed: ConstructedConfig | None = None
    adopted: AdoptedConfig | None = None

    @field_validator("depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        return check_depth(depth)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.model.last_scale != 1 and self.family == "plain" and self.depth > 2:
            raise UsageError(
                "model.last_scale is for residual networks: a plain block of scale 0 lets nothing through",
                "add --families residual",
            )
        if self.constructed is not None:
            if self.family != "plain" or self.depth <= self.constructed.from_depth:
                raise UsageError(
                    f"constructed is for plain networks deeper than constructed.from_depth = "
                    f"{self.constructed.from_depth}; this is {self.family}-{self.depth}",
                    "add --families plain and greater --depths",
                )
            if self.training.precision != "fp32":
                raise UsageError("constructed compares logits up to rounding", "add --precision fp32")
            if self.training.fast_math:
                raise UsageError("constructed compares logits up to rounding", "leave out --fast-math")
            if self.adopted is not None:
                raise UsageError("a constructed network is trained here, an adopted one is not")
        return self

    def check_trainable(self) -> None:
        """Refuses a run of adopted weights, which are measured and never trained.

        Raises:
            UsageError: the weights of this run are adopted.
        """
        if self.adopted is not None:
            raise UsageError(
                f"{self.run_id} is adopted from {self.adopted.source}: it is measured and never trained",
                "`resdeg adopt` makes such runs; give `resdeg sweep` other settings",
            )

    @cached_property
    def shallow(self) -> RunConfig:
        """The run of the shallow network that a constructed run trains in its first phase."""
        assert self.constructed is not None
        return self.model_copy(update={"depth": self.constructed.from_depth, "constructed": None})

    @cached_property
    def identity(self) -> Settings:
        """The settings that affect the result, by dotted name."""
        tree = self.model_dump(mode="json")
        values = {name: _value_at(tree, name) for name in AFFECTS_RESULT}
        return {
            name: value for name, value in values.items() if name not in NEUTRAL or value != NEUTRAL[name]
        }

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Returns the settings by which this run and `other` belong to different curves, by dotted name.

        Each comes with its value here and its value in `other`; a setting that one of them does not name has
        its neutral value.
        """
        pairs = {
            name: (self.identity.get(name, NEUTRAL.get(name)), other.identity.get(name, NEUTRAL.get(name)))
            for name in AFFECTS_RESULT
            if name not in VARIED
        }
        return {name: (own, others) for name, (own, others) in pairs.items() if own != others}

    @cached_property
    def run_id(self) -> str:
        """A readable name and 8 hex digits of the SHA-256 of `identity`."""
        return f"{self.family}-d{self.depth}-s{self.seed}-{_digest(self.identity)}"

    @cached_property
    def settings_id(self) -> str:
        """The digest that runs of one curve share: `identity` without family, depth and seed."""
        return _digest({name: value for name, value in self.identity.items() if name not in VARIED})


def _value_at(tree: Settings, dotted: str) -> Any:
    """Returns the setting of this name; None where its table is not there."""
    value: Any = tree
    for key in dotted.split("."):
        value = None if value is None else value[key]
    return value


def _digest(settings: Settings) -> str:
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
