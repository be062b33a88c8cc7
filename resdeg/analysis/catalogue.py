"""The sweeps below a folder: what each one is, how far it is, when it last changed, how large it is."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resdeg.analysis.reader import extend_grid, list_runs, read_runs
from resdeg.errors import UsageError
from resdeg.records import ENDED
from resdeg.store import SweepStore

_OWN = ("runs", "set-aside")  # folders of a sweep in which no other one is looked for
_LOCKS = ("lock", "diagnose.lock")  # even a reader changes their times


@dataclass(frozen=True)
class SweepEntry:
    """One sweep.

    Args:
        length: of a training, in words. families, depths, seeds: of all runs, those of earlier grids too.
        adopted: whose weights the runs are; None where they were trained.
        planned: how many runs it has. counts: the same by their state; a run that cannot be read is in none.
        changed: when a file in it last changed. bytes: of all its files.
    """

    folder: str
    data: str
    recipe: str
    length: str
    adopted: str | None
    families: tuple[str, ...]
    depths: tuple[int, ...]
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    planned: int
    counts: dict[str, int]
    changed: datetime
    bytes: int

    @property
    def ended(self) -> int:
        """How many runs have finished or diverged."""
        return sum(self.counts.get(state, 0) for state in ENDED)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ended": self.ended, "changed": self.changed.isoformat(timespec="seconds")}


def read_catalogue(folder: Path) -> tuple[list[SweepEntry], list[str]]:
    """Reads every sweep in `folder` and below, by path, and a line for each sweep or run that is left out.

    Raises:
        UsageError: there is no such folder.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 (Path.is_dir raises where a path is too long)
        what = "is no folder" if os.path.lexists(folder) else "does not exist"
        raise UsageError(f"{folder} {what}", "run `resdeg sweep` first, or give a folder with sweeps")
    entries: list[SweepEntry] = []
    problems: list[str] = []
    for store in find_sweeps(folder):
        try:
            entries.append(_describe(store, problems))
        except UsageError as error:
            problems.append(error.what)
    return entries, problems


def find_sweeps(folder: Path) -> Iterator[SweepStore]:
    """Yields the sweeps in `folder` and below, by path; hidden folders are passed over.

    A link is followed where it leads to a sweep and no further, because it may lead anywhere, or back.
    """
    store = SweepStore(folder)
    is_sweep = store.is_sweep()
    if is_sweep:
        yield store
    for path in _list_folders(folder):
        if is_sweep and path.name in _OWN:
            continue
        if not path.is_symlink():
            yield from find_sweeps(path)
        elif SweepStore(path).is_sweep():
            yield SweepStore(path)


def _list_folders(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):  # a folder that may not be read, or is gone by now
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())
    return []


def _describe(store: SweepStore, problems: list[str]) -> SweepEntry:
    """Describes a sweep; `problems` gets a line for each of its runs that cannot be read."""
    config, runs, left_out = list_runs(store)
    problems += left_out
    states = read_runs(store, runs, read=lambda run, _: run.state(), problems=problems)
    changed, count = _weigh(store.folder)
    grid = extend_grid(config, runs)
    return SweepEntry(
        folder=str(store.folder),
        data=config.data.label,
        recipe=config.training.recipe,
        length=config.training.length,
        adopted=None if config.adopted is None else config.adopted.source,
        families=grid.families,
        depths=grid.depths,
        seeds=grid.seeds,
        arms=tuple(config.arms),
        planned=len(runs),
        counts=dict(Counter(state for _, state in states)),
        changed=datetime.fromtimestamp(changed, UTC),
        bytes=count,
    )


def _weigh(folder: Path) -> tuple[float, int]:
    """Returns when a file of the sweep last changed, in seconds, and the bytes of all its files."""
    changed, total = 0.0, 0
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not SweepStore(Path(path, name)).is_sweep()]
        for name in names:
            with contextlib.suppress(OSError):  # a training replaces its files
                state = Path(path, name).lstat()
                total += state.st_size
                if name not in _LOCKS:
                    changed = max(changed, state.st_mtime)
    return changed, total
