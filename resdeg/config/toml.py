"""Configurations in files and on the command line, and the messages about mistakes in them."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resdeg.config.settings import Settings
from resdeg.config.synonyms import FIXED, SETTINGS, normalized
from resdeg.errors import UsageError, did_you_mean, find_nearest

_OTHERS = ("adopted", "claims", "registration")  # tables that hold no setting of a training
LARGEST_CONFIG = 1_000_000  # bytes; a configuration is read whole


def read_toml(path: Path) -> Settings:
    """Reads the tables of a configuration file; a byte-order mark, as Windows' editors write it, is no text.

    Raises:
        UsageError: the path is no file, or the file is too large, not UTF-8 or not TOML (with line and
            column).
    """
    text = _read_text(path)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        reason, line, column = _locate(str(error), text)
        other = path.suffix.lower() in (".yaml", ".yml", ".json")
        raise UsageError(
            f"{path}:{line}:{column}: {reason[:1].lower()}{reason[1:]}",
            "write it as TOML; `resdeg config show` prints an example" if other else "correct the TOML there",
        ) from error


def _read_text(path: Path) -> str:
    try:
        if not path.is_file():
            kind = "is not a file" if path.exists() else "does not exist"
            raise UsageError(
                f"{path}: {kind}", "give the path of a TOML file; `resdeg config show` prints an example"
            )
        if path.stat().st_size > LARGEST_CONFIG:
            raise UsageError(f"{path}: larger than 1 MB, so not a configuration")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    # A NUL is part of no TOML, and half of the bytes of English text in UTF-16.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise UsageError(f"{path}: UTF-16 text, which some editors call Unicode", "save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from error


def _locate(message: str, text: str) -> tuple[str, int, int]:
    """Splits a message of tomllib into its reason, line and column.

    A message that ends in 'at end of document' has no numbers, so they are those of the end of `text`.
    """
    reason, _, position = message.rpartition(" (at ")
    if match := re.fullmatch(r"line (\d+), column (\d+)\)", position):
        return reason, int(match[1]), int(match[2])
    lines = text.rstrip().splitlines() or [""]
    return reason or message, len(lines), len(lines[-1]) + 1


def parse_assignment(text: str) -> Settings:
    """Reads a KEY=VALUE of `--set` as a nested table; a value that is no TOML is a string.

    >>> parse_assignment("training.lr=0.05")
    {'training': {'lr': 0.05}}

    Raises:
        UsageError: the text is not KEY=VALUE.
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
    """Overlays `lower` with `upper`, table by table; a length replaces the other kind of length."""
    merged: Settings = dict(lower)
    for other, length in (("epochs", "steps"), ("steps", "epochs")):
        if upper.get(length) is not None:
            merged.pop(other, None)
    for key, value in upper.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], layers: Mapping[str, Settings]) -> Model:
    """Makes a `model` from layers of settings by source, lowest first.

    Raises:
        UsageError: a setting is wrong; the message names the first one, its source and the nearest name.
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
    first, keys = every[0], _wrong_keys(every[0], layers)
    key = ".".join(keys)
    # A model that is wrong as a whole has no key, and no single layer set it.
    setters = [name for name, layer in layers.items() if keys and sets(layer, keys)]
    source = f"{setters[-1]}: " if setters else ""
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UsageError):
        return f"{source}{cause.what}", cause.remedy
    if first["type"] == "extra_forbidden":
        return f"{source}unknown key '{key}'", _answer_key(model, keys)
    if first["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        return f"{source}{key}: '{first['input']}' is not known", did_you_mean(str(first["input"]), known)
    # A setting that may have several types breaks one rule of each.
    rules = [each["msg"].removeprefix("Value error, ") for each in every if _wrong_keys(each, layers) == keys]
    rule = ", or ".join(f"{rule[:1].lower()}{rule[1:]}" for rule in rules)
    return f"{source}{key} = {str(first['input'])[:80]}: {rule}", ""


def _answer_key(model: type[BaseModel], keys: list[str]) -> str:
    """Says what an unknown key is called here or in which table it stands, or else names the nearest one."""
    name = normalized(keys[-1])
    if name in FIXED:
        return f"it does not vary: {FIXED[name]}"
    *table, key = keys
    arm = keys[:2] if keys[:1] == ["arms"] else []  # an arm has tables of its own
    tables = [name for name in _field_names(model, arm) if name not in _OTHERS]
    settings = {name: _field_names(model, [name]) for name in tables}
    elsewhere = [f"{name}.{key}" for name, names in settings.items() if key in names]
    meant = SETTINGS.get(name) or (elsewhere[0] if len(elsewhere) == 1 else "")
    if meant.partition(".")[0] in tables:
        return f"did you mean '{'.'.join([*arm, meant])}'?"
    names = _field_names(model, table)
    near = find_nearest(key, names)
    return did_you_mean(key, names) if near is None else f"did you mean '{'.'.join([*table, near])}'?"


def _wrong_keys(error: ErrorDetails, layers: Mapping[str, Settings]) -> list[str]:
    """Lists the keys down to the wrong setting, without the name of a type that pydantic may add."""
    keys = [part for part in error["loc"] if isinstance(part, str)]
    while error["type"] != "missing" and keys and not any(sets(layer, keys) for layer in layers.values()):
        keys.pop()
    return keys


def sets(layer: Settings, keys: Sequence[str]) -> bool:
    """Says whether a layer has the setting at these keys."""
    for key in keys:
        if not isinstance(layer, dict) or key not in layer:
            return False
        layer = layer[key]
    return True


def _field_names(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """Lists the keys of the table at `path`, among which the nearest name is looked for."""
    keys = iter(path)
    for key in keys:
        field = model.model_fields.get(key)
        kinds = [field.annotation, *get_args(field.annotation)] if field else []
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not inner:
            return []
        model = inner[0]
        if field and get_origin(field.annotation) is dict:
            next(keys, None)  # passes over a name that the user chose
    return list(model.model_fields)
