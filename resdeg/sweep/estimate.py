"""What a sweep costs: seconds per run, on the wall with some workers, and bytes on disk."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from resdeg import data
from resdeg.config import RunConfig
from resdeg.data.plan import record_steps, snapshot_steps
from resdeg.sweep.calibration import Facts

FORWARD = 1 / 3  # of a training step's work; the backward pass does the other two thirds
WEIGHT_BYTES = 4  # of a parameter, in fp32
CHECKPOINT = 4  # times the weights: they and their momentum, in two generations
START_SECONDS = 0.3  # fork, data, first batch


@dataclass(frozen=True)
class Cost:
    """Of one run: training seconds with its evaluations, multiply-adds with backward, bytes kept.

    clean: the share of the seconds that is spent after the last step, on the final clean training numbers.
    """

    seconds: float
    multiply_adds: float
    bytes: int
    clean: float


def run_cost(run: RunConfig, facts: Facts, snapshots: int = 0) -> Cost:
    """From the seconds of a step, measured; evaluation counted as forward passes."""
    size = data.shape(run.data)
    t = run.training
    steps = t.total_steps(size.train)
    closing = record_steps(size.train, t.batch_size, steps)
    # A net with instance norms is scored twice: by running and by each image's own statistics.
    ways = 2 if run.model.norm == "instance" else 1
    # One with batch norms sees all training images twice more: for their statistics, and scored by them.
    passes = ways + (2 if run.model.norm == "batch" else 0)
    clean = FORWARD * passes * size.train
    scored = len(closing) * (size.test + size.validation + size.fixed)
    images = steps * t.batch_size + FORWARD * ways * scored + clean
    work = 3 * facts.multiply_adds[run.run_id] * images
    seconds = facts.step_seconds[run.run_id] * images / t.batch_size + START_SECONDS
    copies = CHECKPOINT + len(snapshot_steps(closing, snapshots))
    kept = facts.parameters[run.run_id] * WEIGHT_BYTES * copies + 10_000
    return Cost(seconds, work, kept, clean / images)


def wall_seconds(seconds: Iterable[float], jobs: int) -> float:
    """When the last of `jobs` workers ends, each taking the next run as it becomes free.

    >>> wall_seconds([3.0, 2.0, 2.0], jobs=2)
    4.0
    """
    ends = [0.0] * jobs
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def costs(runs: Iterable[RunConfig], facts: Facts, snapshots: int = 0) -> Mapping[str, Cost]:
    return {run.run_id: run_cost(run, facts, snapshots) for run in runs}


def available_bytes() -> int | None:
    """Memory that new processes may take without swapping: the machine's, and this control group's.

    None where the system does not say.
    """
    found = []
    for place, pattern, unit in (
        ("/proc/meminfo", r"MemAvailable:\s+(\d+) kB", 1024),
        ("/sys/fs/cgroup/memory.max", r"(\d+)", 1),
    ):
        try:
            told = re.search(pattern, Path(place).read_text())
        except OSError:
            continue
        if told:
            found.append(int(told[1]) * unit)
    return min(found, default=None)
