"""Frees the weights of ended runs, whose records stay."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resdeg import files, locks
from resdeg.errors import BusyError, StorageError
from resdeg.records import ENDED
from resdeg.store import snapshots
from resdeg.store.folders import RunStore, SweepStore

# The manifest of the older generation goes first. Otherwise a crash could leave only that one, and an ended
# run would seem to have the weights of an earlier step.
_CHECKPOINT = ("manifest-previous.json", "manifest.json", "a.safetensors", "b.safetensors")


@dataclass(frozen=True)
class Prunable:
    """The weights that can be freed in a sweep.

    Args:
        checkpoints, snapshots: bytes by run id, of the ended runs that have any.
        others: how many runs stay as they are, by their state; "adopted" are those whose weights no training
            here can make again.
    """

    checkpoints: dict[str, int]
    snapshots: dict[str, int]
    others: dict[str, int]


def find_prunable(sweep: SweepStore) -> Prunable:
    """Weighs the checkpoints and snapshots of the ended runs of a sweep; nothing is locked or changed."""
    checkpoints: dict[str, int] = {}
    stored: dict[str, int] = {}
    others: Counter[str] = Counter()
    for run_id in sweep.run_ids():
        run = sweep.run(run_id)
        if (obstacle := _obstacle(run)) is not None:
            others[obstacle] += 1
            continue
        for paths, sizes in ((_checkpoint_files(run), checkpoints), (_snapshot_files(run), stored)):
            if count := sum(path.lstat().st_size for path in paths):
                sizes[run_id] = count
    return Prunable(checkpoints, stored, dict(others))


def prune(sweep: SweepStore, *, with_snapshots: bool) -> int:
    """Frees the checkpoints of the ended runs of a sweep, and their snapshots on request; returns the bytes.

    Both locks of the sweep are held, because a run that has just ended may be opened again by a sweep, and
    is read by `resdeg diagnose`. A run whose own lock is held stays as it is.

    Raises:
        BusyError: another process trains or measures here; StorageError: the folder cannot be written.
    """
    freed = 0
    with contextlib.ExitStack() as owned:
        try:
            owned.enter_context(sweep.owned())
            owned.enter_context(sweep.measured())
        except BusyError as error:
            raise BusyError(error.what, "wait until it has ended, and prune then") from error
        for run_id in sweep.run_ids():
            run = sweep.run(run_id)
            if _obstacle(run) is not None:
                continue
            paths = [*_checkpoint_files(run), *(_snapshot_files(run) if with_snapshots else ())]
            if paths:
                with contextlib.suppress(BusyError), locks.locked(run.folder / "lock"):
                    freed += _free(run, paths)
    return freed


def _free(run: RunStore, paths: Sequence[Path]) -> int:
    """Removes the weights of a run that this process has locked, if it has ended; returns their bytes."""
    if not run.ended():
        return 0
    freed = 0
    for path in paths:
        count = path.lstat().st_size
        files.remove(path)
        freed += count
    return freed


def _obstacle(run: RunStore) -> str | None:
    """Says why the weights of a run stay; None if they can be freed."""
    if run.folder.is_symlink():
        return "linked"  # its weights are those of another folder
    try:
        state = run.state()
        if state in ENDED and run.origin() is not None:
            return "adopted"
    except StorageError:
        return "damaged"
    return None if state in ENDED else str(state)


def _checkpoint_files(run: RunStore) -> Iterator[Path]:
    folder = run.folder / "checkpoint"
    if not folder.is_symlink():
        yield from (folder / name for name in _CHECKPOINT if os.path.lexists(folder / name))


def _snapshot_files(run: RunStore) -> Iterator[Path]:
    if not (run.folder / snapshots.FOLDER).is_symlink():
        yield from snapshots.list_snapshots(run.folder)
