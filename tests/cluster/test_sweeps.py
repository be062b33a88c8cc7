"""Sweeps on two Ray nodes of this machine: the bits, the accidents and the refusals of a local sweep."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resdeg.store import SweepStore
from tests.conftest import TINY_TOML
from tests.data.drawn import draw_folder

ray = pytest.importorskip("ray", reason="needs Ray: make test-ray")

from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.filterwarnings("default")]

GRID = ("--depths", "8,14", "--families", "plain,residual", "--seeds", "0")
LONG = ("--depths", "8", "--families", "plain,residual", "--seeds", "0,1", "--epochs", "40")
CLOCKS = {
    "seconds",
    "start_seconds",
    "training_seconds",
    "evaluation_seconds",
    "clean_seconds",
    "capture_seconds",
}
HANG = 120.0  # seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes of one core each; whatever the tests give them is shared with this machine."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    (folder / "tiny.toml").write_text(TINY_TOML)
    return folder


def start(
    folder: Path, *arguments: str, out: str, cluster: Cluster | None = None, plan: str = "tiny.toml"
) -> subprocess.Popen[str]:
    """Starts a sweep in a session of its own, on the cluster where one is given."""
    engine = () if cluster is None else ("--engine", "ray", "--ray-address", cluster.address)
    return subprocess.Popen(
        [sys.executable, "-m", "resdeg", "sweep", plan, *arguments, "--out", out, *engine],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Waits for a sweep to end with this exit code; returns what it said on stderr."""
    _, said = process.communicate(timeout=HANG)
    assert process.returncode == code, said
    return said


@pytest.fixture(scope="module")
def local(folder: Path) -> Callable[[tuple[str, ...]], Path]:
    """The same sweep on this machine alone, made once."""
    made: dict[tuple[str, ...], Path] = {}

    def make(arguments: tuple[str, ...]) -> Path:
        if arguments not in made:
            out = f"local-{len(made)}"
            finish(start(folder, *arguments, out=out))
            made[arguments] = folder / out
        return made[arguments]

    return make


def read_files(sweep: Path) -> dict[str, bytes]:
    """Reads all files of a sweep, without its clocks, and without what a retry or a resume leaves besides."""
    contents = {}
    for path in sorted(sweep.rglob("*")):
        name = str(path.relative_to(sweep))
        if path.is_file() and path.name not in ("timing.jsonl", "runs.csv", "environment.json"):
            contents[name] = path.read_bytes()
        if path.name == "summary.json":
            record = json.loads(contents[name])
            assert record.keys() >= CLOCKS - {"capture_seconds"}
            contents[name] = json.dumps({k: v for k, v in record.items() if k not in CLOCKS}).encode()
    return contents


def compare_bits(sweep: Path, other: Path) -> None:
    """Compares records and final weights, whatever generation of the checkpoint they stand in."""
    for run_id in SweepStore(other).run_ids():
        runs = [SweepStore(folder).run(run_id) for folder in (sweep, other)]
        assert len({(run.folder / "metrics.jsonl").read_bytes() for run in runs}) == 1, run_id
        checkpoints = [run.checkpoint() for run in runs]
        assert checkpoints[0] is not None
        assert checkpoints[1] is not None
        assert checkpoints[0][1] == checkpoints[1][1], run_id


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


def tasks_of(folder: Path) -> list[int]:
    """Lists processes of this machine that write runs of sweeps in `folder`, by their open locks."""
    numbers = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                opened = [str(handle.readlink()) for handle in (process / "fd").iterdir()]
                if any(path.startswith(f"{folder}/") and path.endswith("/lock") for path in opened):
                    numbers.append(int(process.name))
    return numbers


@pytest.mark.parametrize("stream", [False, True])
def test_a_sweep_on_two_nodes_equals_a_local_one(
    cluster: Cluster, folder: Path, local: Callable[[tuple[str, ...]], Path], stream: bool
) -> None:
    out = "streamed" if stream else "shared"
    arguments = (*GRID, "--ray-stream") if stream else GRID
    said = finish(start(folder, *arguments, out=out, cluster=cluster))
    assert "2 side by side" in said
    where = "sent to this machine" if stream else "in the folder that they share"
    assert f"Ray at {cluster.address}: 2 nodes" in said
    assert f"records are {where}" in said
    assert read_files(folder / out) == read_files(local(GRID))
    environments = (folder / out).glob("runs/*/environment.json")
    expected = {path.parent.name: path.read_bytes() for path in local(GRID).glob("runs/*/environment.json")}
    assert {path.parent.name: path.read_bytes() for path in environments} == expected
    again = finish(start(folder, *arguments, out=out, cluster=cluster))
    assert "nothing to train" in again


def test_images_in_a_relative_folder_are_found_by_the_tasks(cluster: Cluster, folder: Path) -> None:
    """They run in another working folder than the driver."""
    draw_folder(folder / "images")
    plan = '[data]\nname = "folder:images"\n[model]\nwidth = 0.25\n[training]\nepochs = 1\nbatch_size = 8\n'
    (folder / "images.toml").write_text(plan)
    finish(start(folder, *GRID, plan="images.toml", out="images-local"))
    finish(start(folder, *GRID, plan="images.toml", out="images-ray", cluster=cluster))
    assert read_files(folder / "images-ray") == read_files(folder / "images-local")


@pytest.mark.parametrize("stream", [False, True])
def test_a_node_that_dies_costs_only_its_runs_an_attempt(
    cluster: Cluster, folder: Path, local: Callable[[tuple[str, ...]], Path], stream: bool
) -> None:
    out = f"killed-{stream}"
    node = cluster.add_node(num_cpus=1)
    sweep = start(folder, *LONG, *(("--ray-stream",) if stream else ()), out=out, cluster=cluster)
    store = SweepStore(folder / out)

    def all_have_records() -> bool:
        return sum(len(store.run(run_id).metrics()) > 2 for run_id in store.run_ids()) >= 3

    wait_for(all_have_records, "three runs on three nodes")
    ended = {run_id for run_id in store.run_ids() if store.run(run_id).ended()}
    cluster.remove_node(node, allow_graceful=False)
    said = finish(sweep)
    lost = [line for line in said.splitlines() if "to be tried again" in line]
    assert len(lost) == 1, said
    assert "its task was lost" in lost[0]
    assert not any(run_id in lost[0] for run_id in ended)
    compare_bits(folder / out, local(LONG))


def test_a_driver_that_is_killed_leaves_nothing_and_goes_on(
    cluster: Cluster, folder: Path, local: Callable[[tuple[str, ...]], Path]
) -> None:
    sweep = start(folder, *LONG, out="orphan", cluster=cluster)
    store = SweepStore(folder / "orphan")
    wait_for(lambda: any(store.run(run_id).metrics() for run_id in store.run_ids()), "a record")
    assert tasks_of(store.folder)
    os.killpg(sweep.pid, signal.SIGKILL)
    killed = time.monotonic()
    sweep.communicate(timeout=HANG)
    wait_for(lambda: not tasks_of(store.folder), "that nobody writes")
    assert time.monotonic() - killed < 10
    finish(start(folder, *LONG, out="orphan", cluster=cluster))
    compare_bits(store.folder, local(LONG))
    assert not list(store.folder.glob(".probe-*")), "the probe of the killed driver is removed too"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(
    cluster: Cluster, folder: Path, local: Callable[[tuple[str, ...]], Path], number: signal.Signals
) -> None:
    out = f"stopped-{number.name}"
    sweep = start(folder, *LONG, out=out, cluster=cluster)
    store = SweepStore(folder / out)
    wait_for(lambda: any(store.run(run_id).metrics() for run_id in store.run_ids()), "a record")
    sweep.send_signal(number)
    said = finish(sweep, 128 + number)
    assert "Go on with" in said
    assert not tasks_of(store.folder)
    stopped = [run_id for run_id in store.run_ids() if store.run(run_id).state() == "stopped"]
    assert stopped, "the runs were saved, not lost"
    if number is signal.SIGTERM:
        finish(start(folder, *LONG, out=out, cluster=cluster))
        compare_bits(store.folder, local(LONG))


def test_two_drivers_have_one_owner(cluster: Cluster, folder: Path) -> None:
    endless = (*LONG, "--epochs", "4000")
    first = start(folder, *endless, out="both", cluster=cluster)
    store = SweepStore(folder / "both")
    wait_for(lambda: any(store.run(run_id).metrics() for run_id in store.run_ids()), "a record")
    said = finish(start(folder, *endless, out="both", cluster=cluster), 6)
    assert "is busy: held by pid" in said
    patient = start(folder, *endless, "--wait", "--time-limit", "60s", out="both", cluster=cluster)
    assert patient.stderr is not None
    assert "waiting: " in patient.stderr.readline()
    first.send_signal(signal.SIGTERM)
    finish(first, 128 + signal.SIGTERM)
    assert "time limit reached: 4 of 4 runs are left" in finish(patient)


def test_a_time_limit_stops_in_time(cluster: Cluster, folder: Path) -> None:
    began = time.monotonic()
    said = finish(
        start(folder, *LONG, "--epochs", "4000", "--time-limit", "40s", out="limit", cluster=cluster)
    )
    assert "time limit reached: 4 of 4 runs are left" in said
    assert time.monotonic() - began < 60


def test_a_node_that_does_not_share_the_folder_is_noticed(cluster: Cluster, folder: Path) -> None:
    """A node in a mount namespace of its own, where another file system lies over the folder."""
    hidden = folder / "hidden"
    hidden.mkdir()
    script = (
        f"mount -t tmpfs none {hidden} && exec {sys.executable} -m ray.scripts.scripts start --block "
        + (f"--address {cluster.address} --num-cpus 1")
    )
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare, to mount a file system that one node alone sees")
    node = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        time.sleep(8)  # Ray says nothing when the node is there
        if node.poll() is not None:
            pytest.skip("a file system cannot be mounted here")
        said = finish(start(folder, *GRID, out="hidden/out", cluster=cluster))
        assert "3 nodes" in said
        assert "records are sent to this machine" in said
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()
    assert len(SweepStore(hidden / "out").run_ids()) == 4
