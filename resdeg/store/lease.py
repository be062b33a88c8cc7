"""A lease on a folder that several hosts write in: its owner refreshes it, and looks before it writes.

`flock` is kept by the kernel of one host. Some file systems of clusters take it to the others and some do
not, so where it was seen not to be, the owner of a folder has a lease besides.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from resdeg.errors import BusyError, StorageError

LIFE = 30.0  # seconds without a refresh after which another host takes the lease
_NAME = "lease"
_LOOKS = 3  # at a lease that seems lost, because others move it aside for an instant
_PAUSE = 0.1  # seconds between two looks

Check = Callable[[], None]

_checks: dict[Path, Check] = {}  # by folder, for the leases that this process has


def make_lease(path: Path, life: float = LIFE) -> filelock.SoftFileLease:
    """Returns the lease at `path`, which nobody has taken yet."""
    return filelock.SoftFileLease(path, lease_duration=life, thread_local=False)


@contextlib.contextmanager
def leased(
    folder: Path, *, needed: bool, wait: Callable[[str], None] | None = None, life: float = LIFE
) -> Iterator[Check]:
    """Has the lease on `folder` within `with`; yields a check that raises BusyError once another one has it.

    A process that was stopped for longer than `life` may find that another one has gone on. A write is safe
    but for the instant between the check and itself.

    Within it, this process may ask for the lease on the same folder once more, and gets the same check: the
    owner of a sweep takes what a killed one left, and its engine then asks whether it needs a lease. Callers
    hold the lock of the folder, which keeps out another thread.

    Args:
        needed: False takes the lease only where others use it, so that a folder of one host has no such file.
        wait: receives a message that says who has the lease; then it is waited for. Without it a lease that
            its owner refreshes is an error.
        life: seconds, the same in every process.

    Raises:
        BusyError: another process has the lease, and `wait` is None. StorageError: the disk refuses.
    """
    path, owned = folder / _NAME, folder.resolve()
    if owned in _checks:
        yield _checks[owned]
        return
    if not needed and not path.exists():
        yield lambda: None
        return
    lease = make_lease(path, life)
    try:
        if not _acquire(lease, path, life=life):
            busy = f"{folder} is busy: held by {_name_owner(lease)}, by its lease"
            if wait is None:
                raise BusyError(busy, "wait for it (--wait), or give another --out")
            wait(busy)
            lease.acquire(timeout=-1)
    except OSError as error:
        raise StorageError(f"cannot take the lease {path}: {error.strerror or error}") from error
    token = lease.token

    def check() -> None:
        for _ in range(_LOOKS):
            owner = lease.owner
            if owner is not None and owner.token == token:
                return
            time.sleep(_PAUSE)
        raise BusyError(
            f"{folder}: this process was stopped for too long, and {_name_owner(lease)} has gone on",
            "nothing more is written here; the other one goes on",
        )

    _checks[owned] = check
    try:
        yield check
    finally:
        del _checks[owned]
        lease.release()


def is_leased_elsewhere(folder: Path) -> bool:
    """Says whether a process of another host has refreshed its lease on `folder` lately."""
    path = folder / _NAME
    owner = make_lease(path).owner if path.exists() else None
    if owner is None or owner.hostname == socket.gethostname():  # whose flock would be seen
        return False
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < 2 * LIFE  # the clocks of hosts differ
    return False


def _acquire(lease: filelock.SoftFileLease, path: Path, *, life: float) -> bool:
    """Takes the lease unless its owner refreshes it, which is seen within half its life."""
    before = _read_stamp(path)
    with contextlib.suppress(filelock.Timeout):
        lease.acquire(timeout=life / 2)
        return True
    if _read_stamp(path) != before:
        return False
    with contextlib.suppress(filelock.Timeout):
        lease.acquire(timeout=1.5 * life)
        return True
    return False


def _read_stamp(path: Path) -> tuple[int, int] | None:
    """Returns what a refresh, and another owner, would change."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_mtime_ns


def _name_owner(lease: filelock.SoftFileLease) -> str:
    owner = lease.owner
    return "another process" if owner is None else f"pid {owner.pid} on {owner.hostname}"
