"""One configuration from defaults, recipe, file, environment and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from resdeg.config.grammar import is_true, number_or_text
from resdeg.config.recipes import recipe
from resdeg.config.settings import Settings
from resdeg.config.sweep import SweepConfig
from resdeg.config.toml import merge, parse_assignment, read_toml, validate

ENVIRONMENT = {
    "RESDEG_DATA_DIR": "data_dir",
    "RESDEG_DEVICE": "device",
    "RESDEG_JOBS": "jobs",
    "RESDEG_OFFLINE": "offline",
}


def resolve(
    file: Path | None, environment: Mapping[str, str], assignments: Sequence[str], flags: Settings
) -> SweepConfig:
    """Merges the layers of settings: defaults < recipe < file < environment < --set < flags.

    Raises:
        UsageError: a setting is wrong; the message names the layer that set it.
    """
    layers: dict[str, Settings] = {}
    if file is not None:
        layers[str(file)] = read_toml(file)
    layers |= {name: _read_variable(name, environment[name]) for name in ENVIRONMENT if environment.get(name)}
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


def _read_variable(name: str, text: str) -> Settings:
    value: object = number_or_text(text) if name == "RESDEG_JOBS" else text
    if name == "RESDEG_OFFLINE":
        value = is_true(text)
    return {"execution": {ENVIRONMENT[name]: value}}
