"""The primitives that touch persistent files. No other module writes.

Every operation on the disk goes through the few functions `_os_*` at the end, so that tests can count
them, stop them and replay them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from resdeg.errors import StorageError

_TEMPORARY = ".tmp-"
_PIECE = 1 << 20  # bytes that are copied at once
MODE = 0o666  # the mode of every new file, from which the umask is subtracted
# What a file system answers that cannot sync. Some that can sync files refuse folders in the other ways, but
# an EIO of a file says that its bytes are lost.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_NO_FOLDER_SYNC = _NO_SYNC | {errno.EIO, errno.EPERM, errno.EACCES, errno.EBADF}


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
    with reported("write", path):
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
    with reported("append to", path):
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
    with reported("write", path):
        handle = _os_open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        yield handle
    finally:
        os.close(handle)


def truncate(path: Path, size: int) -> None:
    """Cuts `path` down to `size` bytes."""
    with reported("truncate", path):
        handle = _os_open(path, os.O_WRONLY)
        try:
            _os_truncate(handle, size)
            _sync_file(handle, path)
        finally:
            os.close(handle)


def move(source: Path, target: Path) -> None:
    """Renames `source` within its file system; `target` is replaced."""
    with reported("move", source):
        _os_replace(source, target)
        _sync_folder(target.parent)


def remove(path: Path) -> None:
    """Unlinks `path`, if it exists."""
    with reported("remove", path), contextlib.suppress(FileNotFoundError):
        _os_unlink(path)


def copy_new(source: Path, target: Path) -> None:
    """Copies the bytes of `source` to the new file `target`, on the disk itself, and follows no link.

    Its name is not yet safe from a crash: the caller ends with `sync_folder`.

    Raises:
        StorageError: the source is a link or cannot be read, `target` exists, or the disk refuses.
    """
    with reported("read", source):
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with reported("write", target):
            handle = _os_open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            while content := _read_piece(reader, source):
                with reported("write", target):
                    _os_write(handle, content)
            with reported("write", target):
                _sync_file(handle, target)
        finally:
            os.close(handle)
    finally:
        os.close(reader)


def _read_piece(handle: int, path: Path) -> bytes:
    with reported("read", path):
        return os.read(handle, _PIECE)


def sync_folder(folder: Path) -> None:
    """Makes the names of the files in `folder` survive a crash."""
    with reported("write", folder):
        _sync_folder(folder)


def remove_folder(path: Path) -> None:
    """Removes the folder `path` with all that is in it, if it exists; no link is followed."""
    with reported("remove", path):
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
    with reported("create folder", path):
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
    with reported("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def reported(verb: str, path: Path) -> Iterator[None]:
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
            f"the file system at {mount} cannot sync {what} ({error.strerror}): all goes on, "
            "but a power loss may cost the newest records"
        )


def _os_open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)


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
