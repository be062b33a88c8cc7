"""Where a sweep is written: its default folder, named by its settings, and the folder that it goes on in."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from resdeg import data
from resdeg.config import DataConfig, RunConfig, Settings, SweepConfig, read_toml, resolve
from resdeg.errors import DataError, UsageError
from resdeg.store import SweepStore
from resdeg.sweep.shards import Shard

LOCAL = Path("results") / "local"
# By dotted name: the value of a setting in one sweep, and in the other.
Differences = Mapping[str, tuple[Any, Any]]
_MOST_WORDS = 60  # characters of a folder's name that say how its settings differ from usual ones
_MOST_SHOWN = 4  # differences that a message names


def resolve_sweep(
    file: Path | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
    flags: Settings,
    *,
    out: Path | None = None,
    shard: Shard | None = None,
    origin: str = "command line",
    single: bool = False,
) -> tuple[SweepConfig, Path]:
    """Resolves the configuration of a sweep, see `resolve`, and the folder that it is written to.

    Args:
        file: a configuration file, or the folder of a sweep, which stands for the sweep.toml in it.
        out: the folder that the user asks for. Without it, a sweep.toml that lies in the folder of a sweep
            goes on there, and another configuration gets its `default_folder`.
        shard: the share that is to be trained, which is added to the name of a default folder, because each
            share needs a folder of its own.
        single: one run of the grid in `file` is asked for, without its arms and its claims.

    Raises:
        UsageError: a setting is wrong, or `file` is a folder without a sweep.
    """
    own = None if file is None else _find_own_folder(file)
    if file is not None and own == file:
        file = SweepStore(own).plan
    describe = data.describe_folder
    config = resolve(file, environment, assignments, flags, origin=origin, describe=describe, single=single)
    if out is not None:
        return config, out
    if own is not None:
        return config, own
    folder = default_folder(config, file, single=single)
    return config, folder if shard is None else Path(f"{folder}-shard-{shard.number}-of-{shard.count}")


def _find_own_folder(file: Path) -> Path | None:
    """Returns the folder of the sweep that `file` is, or whose plan it is; None for any other file."""
    if not os.path.isdir(file):  # noqa: PTH112 (Path.is_dir raises where a path is too long)
        store = SweepStore(file.parent)
        return store.folder if file == store.plan and store.is_sweep() else None
    if not SweepStore(file).is_sweep():
        raise UsageError(
            f"{file} holds no sweep (no sweep.toml with runs)",
            "give a sweep's folder, or a configuration; `resdeg config show` prints one",
        )
    return file


def default_folder(config: SweepConfig, file: Path | None = None, *, single: bool = False) -> Path:
    """Names the folder of a sweep for which none was given, relative to where the program runs.

    The name is <data>-<recipe>, or that of the configuration file if this has settings besides those of its
    recipe, or arms or claims. Each setting that an option changes is added to it. So the same command always
    has the same folder, and a file or a command with other settings has another one.
    """
    images = config.data.model_dump(include={"name", "folder"}, exclude_none=True)
    chosen = _name_images(config.data)
    names = {"data": images, "training": {"recipe": config.training.recipe}}
    name, usual = f"{chosen}-{config.training.recipe}", resolve(None, {}, [], names)
    if file is not None:
        grid = config.model_dump(include={"depths", "families", "seeds", "claims"}, exclude_none=True)
        try:
            alone, base = (
                resolve(file, {}, [], {**grid, **given}, describe=data.describe_folder, single=single)
                for given in ({}, names)
            )
        except (UsageError, DataError):  # only with the options is the file a possible sweep
            return LOCAL / f"{file.stem}-{config.settings_id}"
        tables = read_toml(file)
        if tables.get("arms") or tables.get("claims") or base.settings_id != usual.settings_id:
            name, usual = file.stem, base
            name += f"-{chosen}" if chosen != _name_images(alone.data) else ""
            name += f"-{config.training.recipe}" if config.training.recipe != alone.training.recipe else ""
    return LOCAL / _add_words(name, _compare(usual.grid()[0], config.grid()[0]), config)


def _name_images(config: DataConfig) -> str:
    """Names the data set for a folder's name; images of the user's own by the folder that holds them."""
    return config.name if config.folder is None else f"{config.name}-{_slug(config.folder.name)}"


def check_folder(config: SweepConfig, store: SweepStore) -> None:
    """Refuses a folder that holds a sweep of other settings; another grid or another arm of the same joins.

    Raises:
        UsageError: the settings differ; the message names them, and a folder that is free.
    """
    differences = _compare_with_folder(config, store)
    if not differences:
        return
    shown = [spell_differences(differences, "there", "here")]
    if differences.keys() & {"training.epochs", "training.steps"}:
        shown.append("another length trains anew, because the rate of every step is scaled to it")
    free = _find_free_folder(store.folder, differences, config)
    raise UsageError(
        f"{store.folder} holds a sweep of other settings: {'; '.join(shown)}",
        f"write this one elsewhere: --out {shlex.quote(str(free))}",
    )


def spell_differences(differences: Differences, before: str, after: str) -> str:
    """Names the settings that differ, each with its value `before` and its value `after`, as in "in A"."""
    shown = [
        f"{name} is {_spell(there)} {before} and {_spell(here)} {after}"
        for name, (there, here) in list(differences.items())[:_MOST_SHOWN]
    ]
    if len(differences) > _MOST_SHOWN:
        shown.append(f"and {len(differences) - _MOST_SHOWN} more")
    return "; ".join(shown)


def compare_plans(before: SweepConfig, after: SweepConfig) -> Differences:
    """Returns in what two plans differ, by dotted name: settings, grid, arms, claims and registration."""
    first, second = (tomllib.loads(config.to_toml()) for config in (before, after))
    return dict(_flatten({"": (first, second)}))


def _compare_with_folder(config: SweepConfig, store: SweepStore) -> Differences:
    """Returns the settings in which the sweep in the folder differs from `config`; none if there is none.

    Arms of the same name are compared too. Where the plan is lost or damaged the runs speak for it, so that
    the sweep that lies there can write it again.
    """
    present, first = store.planned(), config.grid()[0]
    if present is None:
        runs = [store.run(run_id).config() for run_id in store.run_ids()]
        known = {grid.settings_id for grid in config.grids}
        if not runs or any(run.settings_id in known for run in runs):
            return {}
        return _compare(runs[0], first)
    differences = _compare(present.grid()[0], first)
    if not differences:
        for name in [name for name in config.arms if name in present.arms]:
            pair = (sweep.arm_sweeps[name].grid()[0] for sweep in (present, config))
            differences |= {f"arms.{name}.{key}": values for key, values in _compare(*pair).items()}
    return differences


def _compare(before: RunConfig, after: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Returns the settings in which two runs differ, see `RunConfig.differences`, without nested tables."""
    return dict(_flatten(before.differences(after)))


def _flatten(differences: Differences) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name, values in differences.items():
        if any(isinstance(value, dict) for value in values):
            before, after = ({} if value is None else value for value in values)
            pairs = {key: (before.get(key), after.get(key)) for key in {**before, **after}}
            inner = {f"{name}.{key}".lstrip("."): pair for key, pair in pairs.items() if pair[0] != pair[1]}
            yield from _flatten(inner)
        else:
            yield name, values


def _find_free_folder(folder: Path, differences: Differences, config: SweepConfig) -> Path:
    """Names a folder beside `folder` that holds nothing yet, by what is different."""
    beside = folder if folder.name not in ("", "..") else folder.resolve()
    named = beside.parent / _add_words(beside.name, differences, config)
    free, number = named, 1
    while os.path.lexists(free):
        number += 1
        free = named.with_name(f"{named.name}-{number}")
    return free


def _add_words(name: str, differences: Differences, config: SweepConfig) -> str:
    """Adds what is different to the name of a folder, or a digest of all settings if that takes too long.

    >>> _add_words("cifar10-short", {"training.lr": (0.1, 0.05), "model.norm": ("batch", "none")}, None)
    'cifar10-short-lr-0.05-norm-none'
    """
    if not differences:
        return name
    words = "-".join(
        f"{re.sub('^(training|model|data)[.]', '', setting)}-{_spell(value)}"
        for setting, (_, value) in differences.items()
        if value is not None  # where a length in epochs is replaced by one in steps, only the latter is named
    )
    words = _slug(re.sub(r"[.](?=[a-z])", "-", words))
    return f"{name}-{words if 0 < len(words) <= _MOST_WORDS else config.settings_id}"


def _slug(words: str) -> str:
    """Writes words by the characters that every file system and shell takes as they are."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", words)


def _spell(value: object) -> str:
    """Writes the value of a setting as a configuration file has it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
