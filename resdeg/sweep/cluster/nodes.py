"""The nodes of a Ray cluster: joined, asked what they see, counted, and left."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# They are read when Ray is imported or started. Ray would report that it is used, keep logs without bound,
# hide or show GPUs to tasks that ask for none, and run tasks at a niceness of 15, at which each of its own
# many wake-ups interrupts a training.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ROTATION_MAX_BYTES", str(16 * 2**20))
os.environ.setdefault("RAY_ROTATION_BACKUP_COUNT", "2")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from resdeg import files
from resdeg.errors import UsageError
from resdeg.sweep.cluster.probe import Probe, Sight, look
from resdeg.sweep.cluster.task import warm_up
from resdeg.sweep.machine import count_cores

ANSWER_WITHIN = 120.0  # seconds for a node to start a process that imports resdeg
CONNECT_WITHIN = 10.0  # seconds
_LONGEST = 24  # characters of a temporary folder with which the names of Ray's sockets are not too long


@dataclass(frozen=True)
class Node:
    """A node that is alive. memory: in bytes, as Ray counts it."""

    name: str
    host: str
    threads: float
    memory: float
    gpus: float

    def count_runs(self, *, threads: int, memory: int, gpus: float) -> int:
        """Counts the runs that find room here side by side, each with so many threads, bytes and GPUs."""
        most = min(self.threads // threads, self.memory // memory)
        return int(min(most, self.gpus / gpus) if gpus else most)


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[str]:
    """Makes this process the driver of the cluster at `address` within `with`; yields the address.

    Args:
        address: host:port, or "auto" for the one that this machine belongs to. None: what RAY_ADDRESS says,
            or else a cluster of this machine alone, which ends with this process.

    Raises:
        UsageError: there is no cluster at this address.
    """
    address = _resolve(address or os.environ.get("RAY_ADDRESS"))
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    with contextlib.ExitStack() as stack:
        if address is None:
            settings |= {"num_cpus": count_cores(), "include_dashboard": False}
            settings["_temp_dir"] = stack.enter_context(_own_folder())
        # Ray puts the folder that it is started in before all others in the import path of every worker.
        with contextlib.chdir("/"):
            try:
                context = ray.init(address=address or "local", **settings)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                raise _no_cluster(address or "this machine", str(error).strip().splitlines()[0]) from error
        stack.callback(ray.shutdown)
        if address is None:  # while the sweep is planned and priced, its workers start
            warm = ray.remote(warm_up)
            for _ in range(count_cores()):
                warm.remote()
        yield str(context.address_info["address"])


def _resolve(address: str | None) -> str | None:
    """Returns the address host:port of a cluster that answers; None where none was given.

    Ray itself waits for many minutes where nothing answers.
    """
    if address is None:
        return None
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray-address {address}: the driver must run on a node of the cluster, not as its client",
            "run resdeg on a node, with --ray-address auto",
        )
    if address == "auto":
        current = files.read(Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster")  # noqa: S108
        if current is None:
            raise _no_cluster("auto", "none was started on this machine")
        address = current.decode().strip()
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise _no_cluster(address, "an address is host:port, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error
    return address


def _no_cluster(address: str, reason: str) -> UsageError:
    return UsageError(
        f"no Ray cluster at {address}: {reason}",
        "start one (ray start --head), or leave out --ray-address for one of this machine alone",
    )


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """Makes the folder of a cluster that ends with this process; another user may own the usual one."""
    usual = tempfile.gettempdir()
    folder = usual if len(usual) <= _LONGEST else "/tmp"  # noqa: S108
    return tempfile.TemporaryDirectory(prefix="ray-", dir=folder, ignore_cleanup_errors=True)


def list_nodes() -> list[Node]:
    """Lists the nodes that are alive."""
    nodes = []
    for node in ray.nodes():
        if node["Alive"]:
            threads, memory, gpus = (node["Resources"].get(name, 0.0) for name in ("CPU", "memory", "GPU"))
            nodes.append(Node(node["NodeID"], node["NodeManagerHostname"], threads, memory, gpus))
    return nodes


def on_node(name: str) -> NodeAffinitySchedulingStrategy:
    """Returns the strategy that places a task or an actor on this node and on no other."""
    return NodeAffinitySchedulingStrategy(name, soft=False)


def ask_nodes(probe: Probe, nodes: list[Node]) -> list[Sight]:
    """Asks every node what it sees of the probe.

    Raises:
        UsageError: a node has no resdeg, or does not answer.
    """
    task = ray.remote(look)
    asked = []
    for node in nodes:
        here = task.options(num_cpus=0, max_retries=0, scheduling_strategy=on_node(node.name))
        asked.append(here.remote(str(probe.path), probe.content, node.name))
    return [
        probe.hear(_hear(reference, node.host), node.name)
        for reference, node in zip(asked, nodes, strict=True)
    ]


def _hear(reference: Any, host: str) -> Sight:
    try:
        sight: Sight = ray.get(reference, timeout=ANSWER_WITHIN)
    except ray.exceptions.RayError as error:
        missing = "resdeg" in str(error) and "ModuleNotFoundError" in str(error)
        why = "has no resdeg" if missing else f"gives no answer ({type(error).__name__})"
        raise UsageError(
            f"node {host} {why}", "install resdeg on every node, in the Python that Ray uses there"
        ) from error
    return sight
