"""docs/settings.md lists every setting once, with its default and the names that it may have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from resdeg.config import ConstructedConfig, DataConfig, SweepConfig
from resdeg.config.recipes import RECIPES
from resdeg.data import DATASETS
from resdeg.models.block import BLOCKS
from resdeg.models.init import INITS
from resdeg.models.network import LAYOUTS
from resdeg.models.parts import ACTIVATIONS, NORMS, SHORTCUTS
from resdeg.training.schedule import SCHEDULES

WRITTEN_BY_RESDEG = {"adopted", "registration", "data.folder"}
OPTIONAL = {"constructed": ConstructedConfig, "data.hierarchy": type(DataConfig(name="hierarchy").hierarchy)}
PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
ROWS = {
    name: (default, values)
    for name, default, values in re.findall(
        r"^\| `([a-z_.A-Z]+)` \| (.+?) \| (.+?) \| .+ \|$", PAGE, re.MULTILINE
    )
}


def list_defaults(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Returns the default of each setting by its dotted name."""
    defaults: dict[str, object] = {}
    for name, field in model.model_fields.items():
        path = prefix + name
        table = OPTIONAL.get(path, field.annotation)
        if path in WRITTEN_BY_RESDEG:
            continue
        if path == "arms":
            defaults["arms.NAME"] = None
        elif isinstance(table, type) and issubclass(table, BaseModel):
            defaults |= list_defaults(table, f"{path}.")
        else:
            defaults[path] = field.default
    return defaults


def test_every_setting_has_a_row_and_every_row_is_a_setting() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(list_defaults(SweepConfig))
    assert {*rows} == {*ROWS}


@pytest.mark.parametrize("name", ROWS)
def test_the_default_is_that_of_the_code(name: str) -> None:
    written, default = ROWS[name][0], list_defaults(SweepConfig)[name]
    if written == "the recipe's":
        assert any(name.removeprefix("training.") in settings for settings in RECIPES.values())
    elif written == "none":
        assert default is None
    else:
        value = tomllib.loads(f"value = {written.strip('`')}")["value"]
        assert (tuple(value) if isinstance(value, list) else value) == default


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("data.name", [*DATASETS]),
        ("model.layout", [*LAYOUTS]),
        ("model.block", [*BLOCKS]),
        ("model.shortcut", [*SHORTCUTS]),
        ("model.norm", [*NORMS]),
        ("model.activation", [*ACTIVATIONS]),
        ("model.init", [*INITS]),
        ("training.recipe", [*RECIPES]),
        ("training.schedule", [*SCHEDULES]),
    ],
)
def test_the_names_are_those_of_the_registry(name: str, names: list[str]) -> None:
    assert sorted(re.findall(r"`([^`]+)`", ROWS[name][1])) == sorted(names)
