"""Configurations in files and on the command line, and what is said of a mistake in one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resdeg.config.settings import Settings
from resdeg.errors import UsageError, did_you_mean

LARGEST_CONFIG = 1_000_000  # bytes; a configuration is read whole


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
        said, line, column = _place(str(error), path.read_text("utf-8"))
        raise UsageError(
            f"{path}:{line}:{column}: {said[:1].lower()}{said[1:]}", "mend the TOML there"
        ) from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _place(message: str, text: str) -> tuple[str, int, int]:
    """What tomllib says, and the line and column: it names them, or 'at end of document'."""
    said, _, where = message.rpartition(" (at ")
    if found := re.fullmatch(r"line (\d+), column (\d+)\)", where):
        return said, int(found[1]), int(found[2])
    lines = text.rstrip().splitlines() or [""]
    return said or message, len(lines), len(lines[-1]) + 1


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
    every = error.errors(include_url=False)
    first, place = every[0], _key(every[0], layers)
    key = ".".join(place)
    # What is wrong as a whole was set by no one layer.
    setters = [name for name, layer in layers.items() if place and _sets(layer, place)]
    source = f"{setters[-1]}: " if setters else ""
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UsageError):
        return f"{source}{cause.what}", cause.remedy
    if first["type"] == "extra_forbidden":
        return f"{source}unknown key '{key}'", did_you_mean(place[-1], _fields(model, place[:-1]))
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return f"{source}{key}: '{first['input']}' is not known", did_you_mean(str(first["input"]), known)
    # A setting of several types breaks a rule of each.
    rules = [each["msg"].removeprefix("Value error, ") for each in every if _key(each, layers) == place]
    rule = ", or ".join(f"{rule[:1].lower()}{rule[1:]}" for rule in rules)
    return f"{source}{key} = {str(first['input'])[:80]}: {rule}", ""


def _key(error: ErrorDetails, layers: Mapping[str, Settings]) -> list[str]:
    """The key that is wrong; where it has several types, pydantic adds the name of one."""
    place = [part for part in error["loc"] if isinstance(part, str)]
    while error["type"] != "missing" and place and not any(_sets(layer, place) for layer in layers.values()):
        place.pop()
    return place


def _sets(layer: Settings, place: list[str]) -> bool:
    for key in place:
        if not isinstance(layer, dict) or key not in layer:
            return False
        layer = layer[key]
    return True


def _fields(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The keys of the table at `path`, for the nearest name."""
    keys = iter(path)
    for key in keys:
        field = model.model_fields.get(key)
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        model = inner[0]
        if field and get_origin(field.annotation) is dict:
            next(keys, None)  # a name that the user chose
    return list(model.model_fields)
