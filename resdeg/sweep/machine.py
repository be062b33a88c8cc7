"""What this process may have of its machine: cores and memory, within the limits of its container.

Every function reads below a root folder, which is / unless a test plants another one. Where the system says
nothing, as macOS has no /proc, no limit is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes the spaces of a path


@dataclass(frozen=True)
class Limit:
    """How much of something this process may have, and where that is written.

    amount: cores, which a quota may give in fractions; or bytes.
    """

    amount: float
    origin: str


def count_cores(root: Path = _ROOT) -> int:
    """Counts the cores that this process may use: a quota of 1.5 gives 1, and one of 0.5 gives 1 as well."""
    return max(1, int(find_cores(root).amount))


def available_bytes(root: Path = _ROOT) -> int | None:
    """Returns the bytes that new processes may take without swapping; None where the system does not say."""
    memory = find_memory(root)
    return None if memory is None else int(memory.amount)


def find_cores(root: Path = _ROOT) -> Limit:
    """Finds the narrowest limit on cores: the processor, this process's affinity, or a CPU quota."""
    count = os.cpu_count()
    limits = [Limit(1 if count is None else count, "the machine")]
    if hasattr(os, "sched_getaffinity"):
        limits.append(Limit(len(os.sched_getaffinity(0)), "the affinity of this process"))
    limits += _find_quotas(root)
    return min(limits, key=lambda limit: limit.amount)


def find_memory(root: Path = _ROOT) -> Limit | None:
    """Finds the least room for new processes: free memory, or what a control group's limit leaves."""
    limits = [*_find_memory_limits(root)]
    path = Path("/proc/meminfo")
    if match := re.search(r"^MemAvailable:\s+(\d+) kB", _read(root, path), re.MULTILINE):
        limits.insert(0, Limit(1024 * int(match[1]), str(path)))
    return min(limits, key=lambda limit: limit.amount, default=None)


# ---------------------------------------------------------------- control groups


def _find_quotas(root: Path) -> Iterator[Limit]:
    """Yields the cores that each group around this process grants: microseconds per period of so many."""
    for group in _list_groups(root, ""):
        path = group / "cpu.max"
        if match := re.match(r"(\d+) (\d+)", _read(root, path)):
            yield from _divide(int(match[1]), int(match[2]), path)
    for group in _list_groups(root, "cpu"):
        path = group / "cpu.cfs_quota_us"
        quota, period = (_read_number(root, each) for each in (path, group / "cpu.cfs_period_us"))
        if quota is not None and period is not None:
            yield from _divide(quota, period, path)


def _divide(quota: int, period: int, path: Path) -> Iterator[Limit]:
    if quota > 0 and period > 0:
        yield Limit(quota / period, str(path))


def _find_memory_limits(root: Path) -> Iterator[Limit]:
    """Yields the bytes that each group around this process leaves.

    Cached files that nobody has used lately are given back first, so they do not count as used.
    """
    names = {
        "": (("memory.max", "memory.high"), "memory.current", "inactive_file"),
        "memory": (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
    }
    for controller, (limit_names, used_name, cached_name) in names.items():
        for group in _list_groups(root, controller):
            used = _read_number(root, group / used_name)
            cached = re.search(rf"^{cached_name} (\d+)", _read(root, group / "memory.stat"), re.MULTILINE)
            held = 0 if used is None else used - (int(cached[1]) if cached else 0)
            for name in limit_names:
                limit = _read_number(root, group / name)
                if limit is not None:
                    yield Limit(max(0, limit - max(0, held)), str(group / name))


def _list_groups(root: Path, controller: str) -> list[Path]:
    """Lists the folders of the control groups around this process, the innermost first.

    Args:
        controller: one of version 1, such as "cpu"; "" for the tree of version 2, which has them all.
    """
    own = None
    for line in _read(root, Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            own = PurePosixPath(path)
    mount = _find_mount(root, controller)
    if own is None or mount is None:
        return []
    top, point = mount
    # A container sees its own group as the root of the mount, while its path may be that on the host.
    below = own.relative_to(top) if own.is_relative_to(top) else PurePosixPath()
    folder = point / below
    if ".." in below.parts or not _below(root, folder).is_dir():
        folder = point
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(point))]


def _find_mount(root: Path, controller: str) -> tuple[PurePosixPath, Path] | None:
    """Finds where a tree of control groups is mounted: the group that is its top, and the folder."""
    for line in _read(root, Path("/proc/self/mountinfo")).splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.partition(" ")
        if kind == ("cgroup" if controller else "cgroup2"):
            if controller and controller not in options.split(" ")[-1].split(","):
                continue
            top, point = (_OCTAL.sub(_unescape, field) for field in fields.split(" ")[3:5])
            return PurePosixPath(top), Path(point)
    return None


def _unescape(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _read(root: Path, path: Path) -> str:
    """Reads a file of the system; there is no text in one that is not there."""
    try:
        return _below(root, path).read_text(errors="replace")
    except OSError:
        return ""


def _read_number(root: Path, path: Path) -> int | None:
    """Reads a whole number; None where there is none, as in "max" for no limit, or -1."""
    text = _read(root, path).strip()
    return int(text) if text.isdecimal() else None
