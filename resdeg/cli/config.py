"""`resdeg config`: what would be trained, and where each setting comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, printable
from resdeg.config import Settings, arrange_options

config = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@config.callback()
def _common() -> None:
    """Show what would be trained."""  # Typer makes a group of a single command only if there is a callback.


@config.command()
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="A configuration.")] = None,
    depths: options.Depths = None,
    families: options.Families = None,
    seeds: options.Seeds = None,
    data: options.DataOption = None,
    data_dir: options.DataDir = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    assignments: options.Assignments = None,
    precision: options.Precision = None,
    fast_math: options.FastMath = False,
    device: options.Device = None,
    jobs: options.Jobs = None,
    offline: options.Offline = False,
    origin: Annotated[
        bool,
        typer.Option("--origin", help="Say of each setting where it comes from: a default, the recipe, ..."),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Print the settings that `resdeg sweep` would train with, as a TOML file that it reads."""
    from resdeg.config import SweepConfig, list_layers, name_origins, validate
    from resdeg.data import describe_folder

    given = arrange_options(
        data=data, data_dir=data_dir, recipe=recipe, epochs=epochs, steps=steps, precision=precision,
        fast_math=fast_math, device=device, jobs=jobs, offline=offline, depths=depths, families=families,
        seeds=seeds,
    )  # fmt: skip
    layers = list_layers(file, os.environ, assignments or [], given, describe=describe_folder)
    settings = validate(SweepConfig, layers).list_settings()
    origins = {
        name: _describe(source, file) for name, source in name_origins(settings, layers).items() if origin
    }
    if as_json:
        emit_json(_list_values(settings, origins) if origin else settings)
    else:
        emit(_as_toml(settings, origins))


def _describe(source: str, file: Path | None) -> str:
    from resdeg.config import ENVIRONMENT

    if source in ENVIRONMENT:
        return f"environment {source}"
    if source == "command line":
        return "option"
    shown = printable(source).replace("\n", "\\n")  # a comment is one line, and a path may hold anything
    return f"file {shown}" if file is not None and source == str(file) else shown


def _list_values(settings: Settings, origins: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Returns the value and the origin of each setting by its dotted name."""
    values = {}
    for name, source in origins.items():
        value: object = settings
        for key in name.split("."):
            assert isinstance(value, dict)
            value = value[key]
        values[name] = {"value": value, "origin": source}
    return values


def _as_toml(settings: Settings, origins: Mapping[str, str]) -> str:
    """Writes TOML with the origin of each setting as a comment behind it."""
    import tomli_w

    table, lines = "", []
    for line in tomli_w.dumps(settings).splitlines():
        if header := re.fullmatch(r"\[(.*)\]", line):
            table = f"{header[1]}."
        # The items of an array are indented, so that no other line begins with a key.
        key = re.match(r"([\w-]+) = ", line)
        source = origins.get(table + key[1]) if key else None
        lines.append(f"{line}  # {source}" if source else line)
    return "\n".join(lines)
