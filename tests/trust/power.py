"""Power loss: what a disk may hold when everything that was not synced may be gone.

The operations of a run are recorded, and from any beginning of them disk images are built that a file
system may leave: bytes not synced are absent, cut or zeroed, names in a folder that was not synced
are as they were some operations ago. A kill proves nothing of this, because the kernel goes on writing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.trust import faults


@dataclass
class Inode:
    """A file: the bytes that are safe, and those that the kernel holds."""

    safe: bytes = b""
    held: bytes = b""


Names = dict[str, Inode]


@dataclass
class Folder:
    """Names in one folder: the states since it was last synced, oldest first; the last is what is seen."""

    states: list[Names] = field(default_factory=lambda: [{}])

    @property
    def now(self) -> Names:
        return self.states[-1]

    def change(self, names: Names) -> None:
        self.states.append(names)


class Disk:
    """Replays recorded operations; `image` writes out one state that a crash now may leave."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: dict[Path, Folder] = {root: Folder()}

    def apply(self, name: str, path: Path, detail: Any) -> None:
        folder = self.folders.get(path.parent, Folder())
        inode = folder.now.get(path.name)
        match name:
            case "mkdir":
                self.folders[path] = Folder()  # it is there at the latest when something in it is synced
            case "open" if inode is None:
                folder.change({**folder.now, path.name: Inode()})
            case "write":
                assert inode is not None
                inode.held += detail
            case "truncate":
                assert inode is not None
                inode.held = inode.held[:detail]
            case "fsync" if path in self.folders:
                self.folders[path].states = [self.folders[path].now]
            case "fsync":
                assert inode is not None
                inode.safe = inode.held
            case "unlink":
                folder.change({key: value for key, value in folder.now.items() if key != path.name})
            case "replace":
                assert inode is not None
                target: Path = detail
                assert target.parent == path.parent, "a file is renamed within its folder"
                rest = {key: value for key, value in folder.now.items() if key != path.name}
                folder.change({**rest, target.name: inode})

    def image(self, place: Path, choose: random.Random | None) -> None:
        """One legal state under `place`; without `choose`, only what was synced is there."""
        for path, folder in self.folders.items():
            names = choose.choice(folder.states) if choose else folder.states[0]
            here = place / path.relative_to(self.root)
            here.mkdir(parents=True, exist_ok=True)
            for name, inode in names.items():
                (here / name).write_bytes(_left(inode, choose))


def _left(inode: Inode, choose: random.Random | None) -> bytes:
    if choose is None or inode.held == inode.safe or not inode.held.startswith(inode.safe):
        return choose.choice([inode.safe, inode.held]) if choose else inode.safe
    added = inode.held[len(inode.safe) :]
    kept = added[: choose.randrange(len(added) + 1)]
    zeros = b"\0" * choose.choice([0, 1, len(added) - len(kept)])
    return inode.safe + (kept + zeros)[: len(added)]


Recorded = tuple[str, Path, Any]


def recorder(log: list[Recorded]) -> faults.Act:
    """Carries every operation out and notes it with the path it was on."""

    def act(number: int, name: str, original: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        first = arguments[0]
        path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
        detail = arguments[1] if len(arguments) > 1 else None
        result = original(*arguments)
        log.append((name, path, bytes(detail) if name == "write" else detail))
        return result

    return act
