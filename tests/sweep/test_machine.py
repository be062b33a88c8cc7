"""Cores and memory in containers: planted trees of every shape, and a real control group."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resdeg.sweep.estimate import fitting_jobs
from resdeg.sweep.machine import available_bytes, count_cores, find_cores, find_memory

V2 = "30 24 0:26 {top} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "33 32 0:30 {top} {point} rw,nosuid shared:9 - cgroup cgroup rw,{controllers}"
GROUPS = "/sys/fs/cgroup"
MEMINFO = "MemTotal: 64000000 kB\nMemAvailable:   32000000 kB\n"


def plant(root: Path, own: str, mounts: list[str], values: dict[str, str]) -> Path:
    """Writes the files of /proc and /sys below `root`."""
    contents = {"proc/self/cgroup": own, "proc/self/mountinfo": "\n".join(mounts), "proc/meminfo": MEMINFO}
    for name, content in {**contents, **values}.items():
        path = root / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


def plant_v2(root: Path, values: dict[str, str], *, own: str = "/", top: str = "/") -> Path:
    return plant(
        root, f"0::{own}", [V2.format(top=top, point=GROUPS)],
        {f"{GROUPS}/{name}": value for name, value in values.items()},
    )  # fmt: skip


def plant_v1(root: Path, own: str, values: dict[str, str], *, top: str = "/") -> Path:
    mounts = [
        V1.format(top=top, point=f"{GROUPS}/cpu,cpuacct", controllers="cpu,cpuacct"),
        V1.format(top=top, point=f"{GROUPS}/memory", controllers="memory"),
    ]
    groups = f"4:memory:{own}\n3:cpu,cpuacct:{own}\n1:name=systemd:{own}\n0::/"
    return plant(root, groups, mounts, {f"{GROUPS}/{name}": value for name, value in values.items()})


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("100000 50000", 2),
        ("max 100000", None),
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, quota: str, expected: int | None) -> None:
    plant_v2(tmp_path, {"cpu.max": quota})
    free = count_cores(tmp_path / "nothing")
    assert count_cores(tmp_path) == (free if expected is None else min(expected, free))
    if expected == 1:
        limit = find_cores(tmp_path)
        assert limit.amount == int(quota.split()[0]) / 100_000
        assert limit.origin == f"{GROUPS}/cpu.max"


@pytest.mark.parametrize("narrow", ["", "a/", "a/b/"])
def test_the_narrowest_of_nested_groups_counts(tmp_path: Path, narrow: str) -> None:
    values = {f"{group}cpu.max": "400000 100000" for group in ("", "a/", "a/b/")}
    values |= {f"{group}memory.max": "8000000000" for group in ("", "a/", "a/b/")}
    values |= {f"{narrow}cpu.max": "50000 100000", f"{narrow}memory.max": "1000000000"}
    values["other/cpu.max"] = "10000 100000"
    plant_v2(tmp_path, values, own="/a/b")
    assert find_cores(tmp_path).origin == f"{GROUPS}/{narrow}cpu.max"
    assert available_bytes(tmp_path) == 1_000_000_000


def test_memory_that_is_used_is_not_left(tmp_path: Path) -> None:
    values = {"memory.max": "2000000000", "memory.current": "1500000000"}
    plant_v2(tmp_path, {**values, "memory.stat": "anon 1\ninactive_file 600000000\nactive_file 5"})
    assert available_bytes(tmp_path) == 1_100_000_000, "cached files are given back"
    assert fitting_jobs(10, 8, worker_bytes=400_000_000, available=available_bytes(tmp_path)) == 2
    plant_v2(tmp_path, {"memory.current": "3000000000"})
    assert available_bytes(tmp_path) == 0
    assert fitting_jobs(10, 8, worker_bytes=400_000_000, available=available_bytes(tmp_path)) == 1


def test_the_mark_at_which_a_group_is_slowed_counts(tmp_path: Path) -> None:
    plant_v2(tmp_path, {"memory.max": "max", "memory.high": "500000000"})
    memory = find_memory(tmp_path)
    assert memory is not None
    assert (memory.amount, memory.origin) == (500_000_000, f"{GROUPS}/memory.high")


def test_version_1(tmp_path: Path) -> None:
    group = "docker/0a1b"
    plant_v1(tmp_path, f"/{group}", {
        f"cpu,cpuacct/{group}/cpu.cfs_quota_us": "150000", f"cpu,cpuacct/{group}/cpu.cfs_period_us": "100000",
        f"memory/{group}/memory.limit_in_bytes": "3000000000",
        f"memory/{group}/memory.usage_in_bytes": "2500000000",
        f"memory/{group}/memory.stat": "inactive_file 1\ntotal_inactive_file 500000000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    })  # fmt: skip
    assert find_cores(tmp_path).amount == min(1.5, count_cores(tmp_path / "nothing"))
    assert count_cores(tmp_path) == 1
    assert available_bytes(tmp_path) == 1_000_000_000


def test_no_limit_in_version_1(tmp_path: Path) -> None:
    plant_v1(tmp_path, "/", {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712", "memory/memory.usage_in_bytes": "1000000000",
    })  # fmt: skip
    assert count_cores(tmp_path) == count_cores(tmp_path / "nothing")
    assert available_bytes(tmp_path) == 32_000_000 * 1024


def test_a_container_whose_path_is_that_on_the_host(tmp_path: Path) -> None:
    """Docker without a namespace of groups: the mount begins at the container's own group."""
    plant_v1(tmp_path, "/docker/0a1b", {"memory/memory.limit_in_bytes": "700000000"}, top="/docker/0a1b")
    assert available_bytes(tmp_path) == 700_000_000
    plant_v2(tmp_path / "v2", {"memory.max": "600000000"}, own="/kubepods/pod1/0a1b")
    assert available_bytes(tmp_path / "v2") == 600_000_000
    plant_v2(tmp_path / "outside", {"memory.max": "500000000"}, own="/../../user.slice")
    assert available_bytes(tmp_path / "outside") == 500_000_000


def test_a_mount_point_with_a_space(tmp_path: Path) -> None:
    plant(
        tmp_path, "0::/", [V2.format(top="/", point="/my\\040groups")], {"my groups/memory.max": "400000000"}
    )
    assert available_bytes(tmp_path) == 400_000_000


def test_both_versions_at_once(tmp_path: Path) -> None:
    """As systemd's hybrid layout: the tree of version 2 has no controller."""
    plant(
        tmp_path, "5:cpu:/\n0::/a",
        [V1.format(top="/", point=f"{GROUPS}/cpu", controllers="cpu"), V2.format(top="/", point="/unified")],
        {f"{GROUPS}/cpu/cpu.cfs_quota_us": "25000", f"{GROUPS}/cpu/cpu.cfs_period_us": "100000",
         "unified/a/cgroup.procs": "1"},
    )  # fmt: skip
    assert find_cores(tmp_path).amount == 0.25
    assert count_cores(tmp_path) == 1


@pytest.mark.parametrize("garbage", ["", "max", "nonsense", "-5", "12 x", "\0"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, garbage: str) -> None:
    plant_v2(tmp_path, {"cpu.max": garbage, "memory.max": garbage, "memory.current": garbage})
    assert count_cores(tmp_path) == count_cores(tmp_path / "nothing")
    assert available_bytes(tmp_path) == 32_000_000 * 1024


def test_a_system_that_says_nothing(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
    assert count_cores(tmp_path) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_affinity_of_this_process() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def make_group(folder: Path) -> bool:
    """Makes a control group that grants 1.5 cores; False where this user cannot."""
    try:
        folder.mkdir()
    except OSError:
        return False
    two = (folder / "cpu.max").exists()
    try:
        (folder / ("cpu.max" if two else "cpu.cfs_quota_us")).write_text("150000 100000" if two else "150000")
    except OSError:
        folder.rmdir()
        return False
    return True


@pytest.fixture
def real_group() -> Iterator[Path]:
    folders = [Path(GROUPS) / name / f"resdeg-test-{os.getpid()}" for name in ("cpu", "cpu,cpuacct", "")]
    folder = next(filter(make_group, folders), None)
    if folder is None:
        pytest.skip("no control group with a CPU quota can be made here")
    yield folder
    folder.rmdir()


def test_a_real_group(real_group: Path) -> None:
    script = (
        f"open({str(real_group / 'cgroup.procs')!r}, 'w').write('0')\n"
        "from resdeg.sweep.machine import count_cores, find_cores\n"
        "print(count_cores(), find_cores().amount, find_cores().origin)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if "OSError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("no process can be put into a control group here")
    cores, amount, origin = done.stdout.split()
    assert cores == "1"
    assert float(amount) == min(1.5, count_cores())
    assert origin.startswith(str(real_group)) or float(amount) == 1
