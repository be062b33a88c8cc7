"""The room that is left on a disk, asked for before something is written there."""

from __future__ import annotations

import shutil
from pathlib import Path

from resdeg.errors import StorageError


def check_room(folder: Path, needed: int, *, purpose: str) -> None:
    """Refuses a folder, which need not be there yet, whose disk has less room than `needed` bytes.

    Args:
        purpose: what needs them, in the words of the message.

    Raises:
        StorageError: there is less.
    """
    free = count_free_bytes(folder)
    if free is not None and free < needed:
        raise StorageError(
            f"{folder}: {purpose} needs about {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free",
            "free some space, or choose a folder on another disk",
        )


def count_free_bytes(folder: Path) -> int | None:
    """Counts the bytes that are free for `folder`, there or not; None where the system does not say."""
    try:
        present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        usage = shutil.disk_usage(present)
    except OSError:
        return None
    return usage.free if usage.total else None  # some file systems do not count
