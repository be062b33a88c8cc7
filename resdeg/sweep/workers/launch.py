"""Starting the fork server: its socket where it fits, its modules from where they are meant to come."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from multiprocessing import util
from pathlib import Path

import resdeg
from resdeg.errors import StorageError

# Bytes of a folder in which multiprocessing can make one of its own, and bind a socket there. The path of a
# socket has 107 bytes on Linux and 103 on macOS.
LONGEST = 103 - len("/pymp-12345678/listener-12345678")
SHORT = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 (a folder of our own is made in it, as by TMPDIR)
_starting = threading.Lock()


def start_server() -> None:
    """Begins to import torch in the fork server, while this process goes on.

    Raises:
        StorageError: there is no folder for its socket.
    """
    from multiprocessing import forkserver, resource_tracker

    multiprocessing.get_context("forkserver").set_forkserver_preload(["resdeg.sweep.workers.server"])
    # Signals belong to the coordinator: the server and its workers must outlive a Ctrl-C on the terminal.
    # Python has the server ignore it only after imports of seconds; what is blocked, a process inherits.
    with _starting, _reported(), _set_variables(_list_variables(make_socket_folder())):
        resource_tracker.ensure_running()  # It would let the signal through again where it begins within.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        where = "" if error.filename is None else f" in {error.filename}"
        raise StorageError(
            f"workers cannot be started: {reason}{where}", "set TMPDIR to a folder with a short path and room"
        ) from error


def make_socket_folder(candidates: Iterable[str] | None = None) -> Path:
    """Returns the folder in which multiprocessing binds its sockets; makes it in the first one that fits.

    Args:
        candidates: folders; without them that of TMPDIR, or else one with a short path.

    Raises:
        OSError: no folder can be written to and has a path short enough.
    """
    before = tempfile.tempdir
    try:
        tempfile.tempdir = _choose_folder(_list_candidates() if candidates is None else candidates)
        return Path(util.get_temp_dir())
    finally:
        tempfile.tempdir = before


def _list_candidates() -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):  # no usual folder can be written to
        yield tempfile.gettempdir()
    yield from SHORT


def _choose_folder(candidates: Iterable[str]) -> str:
    for folder in candidates:
        if len(os.fsencode(folder)) <= LONGEST and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise OSError("no folder for temporary files can be written to and has a short path")


def _list_variables(folder: Path) -> dict[str, str]:
    """Lists the variables with which the server imports this package, and nothing from the current folder.

    Python puts that folder first for a program that is given by -c, as multiprocessing gives the server.
    Where the package itself is imported from there, as in a checkout without an installation, the path
    begins with a folder that holds nothing but a link to it.
    """
    variables = {"PYTHONSAFEPATH": "1"}
    if not _is_importable():
        link = folder / "packages" / "resdeg"
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(resdeg.__file__).resolve().parent)
        variables["PYTHONPATH"] = os.pathsep.join([str(link.parent), *_list_python_path()])
    return variables


def _is_importable() -> bool:
    """Says whether a Python that is started anew imports this package, without the folder of a script."""
    path = [*_list_python_path(), *sys.path[1:]]
    for finder in sys.meta_path:
        spec = finder.find_spec("resdeg", path if finder is PathFinder else None)
        if spec is not None:
            return Path(str(spec.origin)).resolve() == Path(resdeg.__file__).resolve()
    return False


def _list_python_path() -> list[str]:
    return list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


@contextlib.contextmanager
def _set_variables(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables within `with`, for the processes that are started there."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
