"""The primitives that touch persistent files. No other module writes.

Every operation on the disk goes through the few functions `_os_*` at the end, so that tests can count
them, stop them and replay them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from resdeg.errors import BusyError, StorageError

_TEMPORARY = ".tmp-"
_PIECE = 1 << 20  # bytes that are copied at once
_MODE = 0o666  # the mode of every new file, from which the umask is subtracted


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
                _os_fsync(handle)
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
            _os_fsync(handle)
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
            _os_fsync(handle)
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
    """
    # The timeout is a second, because a reader's `is_locked` holds the lock for an instant.
    lock = filelock.FileLock(path, timeout=1, thread_local=False)
    note = path.with_name(path.name + "-owner")
    with _reported("lock", path):
        if not path.exists():  # filelock would leave the group out, whatever the umask says
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
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
    """Says whether a process holds the lock at `path` now; the lock is released again."""
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # the folder is read-only, so nobody can be writing in it either
        return False


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
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _os_fsync(handle)
    finally:
        os.close(handle)


def _os_open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)


def _os_write(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _os_fsync(handle: int) -> None:
    os.fsync(handle)


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
