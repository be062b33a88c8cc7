"""The primitives that touch persistent files. No other module writes.

Every operation on the disk goes through the few functions `_os_*` at the end, so that tests can count
them, stop them and replay them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from resdeg.errors import BusyError, StorageError

_TEMPORARY = ".tmp-"
_PIECE = 1 << 20  # bytes that are copied at once
_MODE = 0o666  # the mode of every new file, from which the umask is subtracted
# What a file system answers that cannot sync. Some that can sync files refuse folders in the other ways, but
# an EIO of a file says that its bytes are lost.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FOLDER_SYNC = _NO_SYNC | {errno.EIO, errno.EPERM, errno.EACCES, errno.EBADF}
_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}  # what `flock` answers where another process locks


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


_hear: Callable[[str], object] = _warn
_warned = set[tuple[str, int]]()


def hear(listener: Callable[[str], object]) -> Callable[[str], object]:
    """Has `listener` receive what users should know of a disk; until then Python's warnings say it.

    A listener hears once of each file system what it cannot do. Returns the listener until now.
    """
    global _hear
    before, _hear = _hear, listener
    _warned.clear()
    return before


def write(path: Path, content: bytes) -> None:
    """Replaces `path` with `content` as one step: after a crash it holds the old or the new bytes.

    Raises:
        StorageError: the disk refuses; the old content stays.
    """
    # The name is unique, so that two writers never share it. O_EXCL and O_NOFOLLOW follow no planted link.
    temporary = path.with_name(f".{path.name[:200]}{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    with _reported("write", path):
        try:
            handle = _os_open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                _os_write(handle, content)
                _sync_file(handle, path)
            finally:
                os.close(handle)
            _os_replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
    """Adds `content` at the end of `path`, on the disk itself. The caller holds the lock.

    Raises:
        StorageError: the disk refuses; a torn tail may be left, which `truncate` cuts.
    """
    with _reported("append to", path):
        new = not path.exists()
        handle = _os_open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            _os_write(handle, content)
            _sync_file(handle, path)
        finally:
            os.close(handle)
        if new:
            _sync_folder(path.parent)


@contextlib.contextmanager
def opened_for_output(path: Path) -> Iterator[int]:
    """Empties `path` and opens it within `with`, for the output of another program; yields the descriptor."""
    with _reported("write", path):
        handle = _os_open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        yield handle
    finally:
        os.close(handle)


def truncate(path: Path, size: int) -> None:
    """Cuts `path` down to `size` bytes."""
    with _reported("truncate", path):
        handle = _os_open(path, os.O_WRONLY)
        try:
            _os_truncate(handle, size)
            _sync_file(handle, path)
        finally:
            os.close(handle)


def move(source: Path, target: Path) -> None:
    """Renames `source` within its file system; `target` is replaced."""
    with _reported("move", source):
        _os_replace(source, target)
        _sync_folder(target.parent)


def remove(path: Path) -> None:
    """Unlinks `path`, if it exists."""
    with _reported("remove", path), contextlib.suppress(FileNotFoundError):
        _os_unlink(path)


def copy_new(source: Path, target: Path) -> None:
    """Copies the bytes of `source` to the new file `target`, on the disk itself, and follows no link.

    Its name is not yet safe from a crash: the caller ends with `sync_folder`.

    Raises:
        StorageError: the source is a link or cannot be read, `target` exists, or the disk refuses.
    """
    with _reported("read", source):
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with _reported("write", target):
            handle = _os_open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            while content := _read_piece(reader, source):
                with _reported("write", target):
                    _os_write(handle, content)
            with _reported("write", target):
                _os_fsync(handle)
        finally:
            os.close(handle)
    finally:
        os.close(reader)


def _read_piece(handle: int, path: Path) -> bytes:
    with _reported("read", path):
        return os.read(handle, _PIECE)


def sync_folder(folder: Path) -> None:
    """Makes the names of the files in `folder` survive a crash."""
    with _reported("write", folder):
        _sync_folder(folder)


def remove_folder(path: Path) -> None:
    """Removes the folder `path` with all that is in it, if it exists; no link is followed."""
    with _reported("remove", path):
        if path.is_symlink():
            _os_unlink(path)
        elif path.exists():
            for entry in path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    remove_folder(entry)
                else:
                    _os_unlink(entry)
            _os_rmdir(path)


def make_folder(path: Path) -> None:
    """Creates `path` and its parents."""
    with _reported("create folder", path):
        if path.is_dir():
            return
        if path.parent != path:
            make_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            _os_mkdir(path)
            _sync_folder(path.parent)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def remove_temporaries(folder: Path) -> None:
    """Removes what killed writers left behind in `folder`. The caller holds the lock."""
    for path in folder.glob(f".*{_TEMPORARY}*"):
        remove(path)


def read(path: Path) -> bytes | None:
    """Reads the bytes of `path`; None if there is no such file."""
    with _reported("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


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
    with _reported("lock", path):
        # filelock would leave the group out of the mode of a new file, whatever the umask says.
        _check_locking(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
        try:
            lock.acquire()
        except filelock.Timeout as error:
            holder = (read(note) or b"another process").decode(errors="replace").strip()
            busy = f"{path.parent} is busy: held by {holder}"
            if wait is None:
                raise BusyError(busy, "wait for it (--wait), or give another --out") from error
            wait(busy)
            lock.acquire(timeout=-1)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        write(note, f"pid {os.getpid()} on {socket.gethostname()} since {since}\n".encode())
        yield
    finally:
        with contextlib.suppress(StorageError):  # a note left behind misleads nobody
            remove(note)
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
            f"{path.parent}: locking does not work on this file system ({os.strerror(error.errno or 0)})",
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


@contextlib.contextmanager
def _reported(verb: str, path: Path) -> Iterator[None]:
    """Turns an OSError into a StorageError whose message a user can act on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"cannot {verb} {path}: the disk is full", "free some space, then run it again"
            ) from error
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {verb} {path}: {reason}", "check the path, or choose another") from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename or a new name in `folder` survive a crash."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _os_fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
        _warn_once("folders", folder, error)


def _sync_file(handle: int, path: Path) -> None:
    """Makes the bytes of `path` survive a crash, unless its file system can do that to no file."""
    try:
        _os_fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        _warn_once("files", path.parent, error)


def _warn_once(what: str, folder: Path, error: OSError) -> None:
    """Says that the file system of `folder` cannot sync, unless the listener has heard it."""
    subject = what, folder.stat().st_dev
    if subject not in _warned:
        _warned.add(subject)
        mount = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_mount())
        _hear(
            f"the file system at {mount} cannot sync {what} ({os.strerror(error.errno or 0)}): all goes on, "
            "but a power loss may cost the newest records"
        )


def _os_open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)


def _os_write(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _os_fsync(handle: int) -> None:
    os.fsync(handle)


def _os_flock(handle: int, operation: int) -> None:
    fcntl.flock(handle, operation)


def _os_replace(source: Path, target: Path) -> None:
    os.replace(source, target)


def _os_truncate(handle: int, size: int) -> None:
    os.ftruncate(handle, size)


def _os_unlink(path: Path) -> None:
    os.unlink(path)


def _os_mkdir(path: Path) -> None:
    os.mkdir(path)


def _os_rmdir(path: Path) -> None:
    path.rmdir()
