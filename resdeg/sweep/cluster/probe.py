"""A look at a folder from every node: whether all see the same one, and which locks hold between hosts."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import filelock

import resdeg
from resdeg import files, locks
from resdeg.errors import StorageError, UsageError
from resdeg.store.lease import make_lease

_NAME = ".probe-"


@dataclass(frozen=True)
class Sight:
    """What one node saw.

    version: of its resdeg. shares: whether it read the probe and its answer arrived. flock, lease: whether it
    found locked what the driver has locked.
    """

    host: str
    version: str
    shares: bool
    flock: bool
    lease: bool


class Probe:
    """Files in the folder of a sweep with content that no other folder has, and two locks that are held.

    Every node is asked to `look`, so nothing is guessed: a folder is shared where it was seen to be, and a
    lock holds between hosts where another host met it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._locks = folder, contextlib.ExitStack()
        self.remove()
        self.path, self.content = folder / f"{_NAME}{secrets.token_hex(8)}", secrets.token_hex(16)
        files.write(self.path, self.content.encode())
        self._locks.enter_context(locks.locked(_beside(self.path, "lock")))
        lease = make_lease(_beside(self.path, "lease"))
        lease.acquire(timeout=0)
        self._locks.callback(lease.release)

    def hear(self, sight: Sight, node: str) -> Sight:
        """Completes what a node saw by whether its answer arrived here."""
        shares = sight.shares and files.read(_beside(self.path, node)) == self.content.encode()
        return replace(sight, shares=shares)

    def remove(self) -> None:
        """Removes the probe, its answers, and what a killed driver left behind."""
        self._locks.close()
        for path in self._folder.glob(f"{_NAME}*"):
            files.remove(path)


def look(path: str, content: str, node: str) -> Sight:
    """Looks at the probe from this node, and writes an answer beside it."""
    probe, shares, flock, lease = Path(path), False, False, False
    with contextlib.suppress(StorageError):
        if files.read(probe) == content.encode():
            files.write(_beside(probe, node), content.encode())
            shares, flock = True, locks.is_locked(_beside(probe, "lock"))
            mine = make_lease(_beside(probe, "lease"))
            try:
                mine.acquire(timeout=0)
                mine.release()
            except filelock.Timeout:
                lease = True
    return Sight(socket.gethostname(), resdeg.__version__, shares, flock, lease)


def check_versions(sights: Sequence[Sight]) -> None:
    """Refuses nodes on which another resdeg would train.

    Raises:
        UsageError: the first of them, by name.
    """
    for sight in sights:
        if sight.version != resdeg.__version__:
            raise UsageError(
                f"node {sight.host} has resdeg {sight.version}, and this is {resdeg.__version__}",
                "install the same version everywhere",
            )


def needs_lease(folder: Path, sights: Sequence[Sight]) -> bool:
    """Decides whether owners of a folder that all nodes share need a lease besides flock.

    Raises:
        UsageError: neither lock holds between the hosts.
    """
    for sight in sights:
        if not sight.flock and not sight.lease:
            raise UsageError(
                f"{folder}: no lock of this machine is seen on {sight.host}, so two might write one run",
                "give --ray-stream, by which this machine alone writes, or a folder on another file system",
            )
    return not all(sight.flock for sight in sights)


def _beside(probe: Path, name: str) -> Path:
    return probe.with_name(f"{probe.name}-{name}")
