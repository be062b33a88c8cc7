"""Locks on folders, which the kernel frees however their owner ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from resdeg import files
from resdeg.errors import BusyError, StorageError

_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}  # what `flock` answers where another process locks


@contextlib.contextmanager
def locked(path: Path, wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Holds the lock at `path`, which the kernel frees however this process ends.

    Args:
        wait: receives a message that says who holds the lock; then the lock is waited for. Without it a held
            lock is an error at once.

    Raises:
        BusyError: another process holds the lock, and `wait` is None.
        StorageError: the file system has no locks.
    """
    # The timeout is a second, because a reader's `is_locked` holds the lock for an instant.
    lock = filelock.FileLock(path, timeout=1, thread_local=False)
    note = path.with_name(path.name + "-owner")
    with files.reported("lock", path):
        # filelock would leave the group out of the mode of a new file, whatever the umask says.
        _check_locking(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, files.MODE))
        try:
            lock.acquire()
        except filelock.Timeout as error:
            holder = (files.read(note) or b"another process").decode(errors="replace").strip()
            busy = f"{path.parent} is busy: held by {holder}"
            if wait is None:
                raise BusyError(busy, "wait for it (--wait), or give another --out") from error
            wait(busy)
            lock.acquire(timeout=-1)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        files.write(note, f"pid {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
        yield
    finally:
        with contextlib.suppress(StorageError):  # a note left behind misleads nobody
            files.remove(note)
        lock.release()


def is_locked(path: Path) -> bool:
    """Says whether a process holds the lock at `path` now."""
    try:
        return not _is_free(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC))
    except OSError:  # there is no lock, or the file system has none and nobody can be writing
        return False


def _check_locking(path: Path, handle: int) -> None:
    """Closes `handle`, that of the lock at `path`, unless the file system has no locks.

    Releases of filelock wait for ever there, or take a lock that outlives its process.
    """
    try:
        _is_free(handle)
    except OSError as error:
        raise StorageError(
            f"{path.parent}: locking does not work on this file system ({error.strerror})",
            "choose a folder on another one, such as a disk of this machine, or have its locks turned on "
            "(NFS needs its lock service)",
        ) from error


def _is_free(handle: int) -> bool:
    """Says whether no process holds the lock of `handle`, which is closed.

    Whoever asks takes a shared lock for an instant, which does not seem held to another who asks.
    """
    try:
        _os_flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            raise
        return False
    finally:
        os.close(handle)
    return True


def _os_flock(handle: int, operation: int) -> None:
    fcntl.flock(handle, operation)
