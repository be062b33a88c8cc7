"""What a run is, and how users write it down."""

from resdeg.config.data_settings import DataConfig, FolderConfig, HierarchyConfig
from resdeg.config.grammar import (
    check_depth,
    check_device,
    expand_home,
    is_true,
    number_or_text,
    parse_depths,
    parse_seeds,
    parse_time,
)
from resdeg.config.recipes import RECIPES, recipe
from resdeg.config.resolve import ENVIRONMENT, FOLDER, arrange_options, list_layers, name_origins, resolve
from resdeg.config.run import AFFECTS_RESULT, LEAVES_RESULT, NEUTRAL, RunConfig
from resdeg.config.settings import (
    FAMILIES,
    AdoptedConfig,
    ClaimsConfig,
    ConstructedConfig,
    ExecutionConfig,
    Family,
    ModelConfig,
    RegisteredRuns,
    Registration,
    Settings,
    TrainingConfig,
)
from resdeg.config.sweep import ArmConfig, SweepConfig
from resdeg.config.toml import merge, parse_assignment, read_toml, validate

__all__ = [
    "AFFECTS_RESULT",
    "ENVIRONMENT",
    "FAMILIES",
    "FOLDER",
    "LEAVES_RESULT",
    "NEUTRAL",
    "RECIPES",
    "AdoptedConfig",
    "ArmConfig",
    "ClaimsConfig",
    "ConstructedConfig",
    "DataConfig",
    "ExecutionConfig",
    "Family",
    "FolderConfig",
    "HierarchyConfig",
    "ModelConfig",
    "RegisteredRuns",
    "Registration",
    "RunConfig",
    "Settings",
    "SweepConfig",
    "TrainingConfig",
    "arrange_options",
    "check_depth",
    "check_device",
    "expand_home",
    "is_true",
    "list_layers",
    "merge",
    "name_origins",
    "number_or_text",
    "parse_assignment",
    "parse_depths",
    "parse_seeds",
    "parse_time",
    "read_toml",
    "recipe",
    "resolve",
    "validate",
]
