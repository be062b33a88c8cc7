"""One configuration from defaults, recipe, file, environment and flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from resdeg.config.grammar import is_true, number_or_text
from resdeg.config.recipes import recipe
from resdeg.config.settings import Settings
from resdeg.config.sweep import SweepConfig
from resdeg.config.toml import merge, parse_assignment, read_toml, sets, validate
from resdeg.errors import UsageError

ENVIRONMENT = {
    "RESDEG_DATA_DIR": "data_dir",
    "RESDEG_DEVICE": "device",
    "RESDEG_JOBS": "jobs",
    "RESDEG_OFFLINE": "offline",
}
DEFAULT_RECIPE = "short"
FOLDER = "folder"  # the data set of a user's own images; `folder:DIR` says where they are

Describe = Callable[[Path], Settings]  # see `resdeg.data.describe_folder`


def arrange_options(
    *,
    data: str | None = None,
    data_dir: Path | str | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    steps: int | None = None,
    precision: str | None = None,
    fast_math: bool = False,
    device: str | None = None,
    jobs: int | str | None = None,
    offline: bool = False,
    **grid: object,
) -> Settings:
    """Arranges the options of a command as the tables of a configuration file; None was not given.

    Args:
        grid: keys of the file that stand in no table, e.g. depths.

    Raises:
        UsageError: `epochs` and `steps` were both given.
    """
    if epochs is not None and steps is not None:
        raise UsageError("--epochs and --steps are two ways to give the length", "give only one of them")
    tables: dict[str, Settings] = {
        "data": {"name": data},
        "training": {
            "recipe": recipe,
            "epochs": epochs,
            "steps": steps,
            "precision": precision,
            "fast_math": fast_math or None,
        },
        "execution": {
            "data_dir": None if data_dir is None else str(data_dir),
            "device": device,
            "jobs": number_or_text(jobs) if isinstance(jobs, str) else jobs,
            "offline": offline or None,
        },
    }
    given = {name: _without_none(table) for name, table in tables.items()}
    return _without_none(grid) | {name: table for name, table in given.items() if table}


def _without_none(table: Mapping[str, object]) -> Settings:
    return {key: value for key, value in table.items() if value is not None}


def list_layers(
    file: Path | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
    flags: Settings,
    *,
    origin: str = "command line",
    describe: Describe | None = None,
    single: bool = False,
) -> dict[str, Settings]:
    """Lists the settings by their source, lowest first: recipe < file < environment < --set < flags.

    Args:
        origin: what an error calls the source of `flags`.
        describe: reads the images of `--data folder:DIR` for the table data.folder; None: the name stays.
        single: leaves the arms and the claims of the file out, because one run of its grid is asked for.

    Raises:
        UsageError: the file or an assignment cannot be read, or the recipe is not known.
        DataError: see `describe`.
    """
    layers: dict[str, Settings] = {}
    if file is not None:
        layers[str(file)] = read_toml(file)
        for table in ("arms", "claims") if single else ():
            layers[str(file)].pop(table, None)
    layers |= {name: _read_variable(name, environment[name]) for name in ENVIRONMENT if environment.get(name)}
    chosen: Settings = {}
    for text in assignments:
        chosen = merge(chosen, parse_assignment(text))
    layers |= {"--set": chosen, origin: flags}
    layers = _settle_folder(layers, describe)
    name = DEFAULT_RECIPE
    for layer in layers.values():
        training = layer.get("training")
        if isinstance(training, dict) and isinstance(training.get("recipe"), str):
            name = training["recipe"]
    return {f"recipe {name}": {"training": recipe(name)}, **layers}


def resolve(
    file: Path | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
    flags: Settings,
    *,
    origin: str = "command line",
    describe: Describe | None = None,
    single: bool = False,
) -> SweepConfig:
    """Merges the layers of settings, see `list_layers`; a setting that none of them has is at its default.

    Raises:
        UsageError: a setting is wrong; the message names the layer that set it.
        DataError: see `list_layers`.
    """
    layers = list_layers(
        file, environment, assignments, flags, origin=origin, describe=describe, single=single
    )
    return validate(SweepConfig, layers)


def _settle_folder(layers: dict[str, Settings], describe: Describe | None) -> dict[str, Settings]:
    """Replaces `folder:DIR` by the table of the images in DIR, if this is the data set that counts.

    RESDEG_DATA_DIR says where CIFAR is, so a user's own images are not looked for there.
    """
    names = {source: _setting(layer, "data", "name") for source, layer in layers.items()}
    sources = [source for source, name in names.items() if name is not None]
    name, colon, path = str(names[sources[-1]]).partition(":") if sources else ("", "", "")
    if name != FOLDER:
        return layers
    layers = {source: layer for source, layer in layers.items() if source != "RESDEG_DATA_DIR"}
    if not colon or describe is None:
        return layers
    if not path:
        raise UsageError("data.name = 'folder:' names no folder", "give --data folder:DIR")
    source = sources[-1]
    data_dirs = {other: _setting(layer, "execution", "data_dir") for other, layer in layers.items()}
    if data_dirs[source] not in (None, path):
        raise UsageError(
            f"{source}: the images are to be in {path} and in {data_dirs[source]}", "give one of the two"
        )
    # A higher layer may say where the folder is now.
    higher = list(layers)[list(layers).index(source) :]
    data_dir = [path, *(str(data_dirs[other]) for other in higher if data_dirs[other] is not None)][-1]
    table = {"name": name, "folder": describe(Path(data_dir))}
    layers[source] = merge(layers[source], {"data": table, "execution": {"data_dir": data_dir}})
    return layers


def _setting(layer: Settings, table: str, name: str) -> object:
    """Returns a setting of a layer; None where it has none."""
    settings = layer.get(table)
    return settings.get(name) if isinstance(settings, dict) else None


def name_origins(settings: Settings, layers: Mapping[str, Settings]) -> dict[str, str]:
    """Names the source of every setting by its dotted name: the highest layer that has it, or "default".

    Args:
        settings: a resolved configuration, as `SweepConfig.list_settings` gives it.
        layers: see `list_layers`.
    """
    origins: dict[str, str] = {}
    for keys in _list_leaves(settings):
        name = ".".join(keys)
        setters = [source for source, layer in layers.items() if sets(layer, keys)]
        origins[name] = setters[-1] if setters else "default"
    if origins["training.recipe"] == f"recipe {DEFAULT_RECIPE}":
        origins["training.recipe"] = "default"  # nobody named it
    return origins


def _list_leaves(settings: Settings) -> Iterator[list[str]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from ([key, *keys] for keys in _list_leaves(value))
        else:
            yield [key]


def _read_variable(name: str, text: str) -> Settings:
    value: object = number_or_text(text) if name == "RESDEG_JOBS" else text
    if name == "RESDEG_OFFLINE":
        value = is_true(text)
    return {"execution": {ENVIRONMENT[name]: value}}
