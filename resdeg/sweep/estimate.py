"""What a sweep costs: seconds per run and on the wall, bytes on disk; and how many workers fit."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from resdeg import data
from resdeg.config import RunConfig, SweepConfig
from resdeg.data.batch_plan import record_steps, snapshot_steps
from resdeg.sweep.calibration import Facts, recall_group
from resdeg.sweep.machine import available_bytes, count_cores

FORWARD = 1 / 3  # the share of a training step's work that the forward pass is; the backward pass is the rest
WEIGHT_BYTES = 4  # a parameter takes so many, in fp32
CHECKPOINT = 4  # times the weights are on disk: they and their momentum, in two generations
START_SECONDS = 0.3  # for fork, data and first batch
# Runs side by side on one GPU together are at most so many times as fast as one after another: captured steps
# on four and eight streams of an H100, residual-20 and 56.
OVERLAP_ON_CUDA = 1.75
GROUP_ON_CUDA = 4  # runs side by side where none were measured; an H100 has 0.9 of its best speed then
MEMORY_SHARE = 0.8  # workers may take so much of what is available


@dataclass(frozen=True)
class Cost:
    """What one run costs.

    seconds: for training and evaluation; multiply_adds: with the backward pass; bytes: on disk; clean: the
    share of the seconds that is spent after the last step, on the final clean training numbers.
    """

    seconds: float
    multiply_adds: float
    bytes: int
    clean: float


def run_cost(run: RunConfig, facts: Facts, snapshots: int = 0) -> Cost:
    """Prices a run by the seconds of a step, see `count_images`."""
    size, batch = data.shape(run.data), run.training.batch_size
    closing = record_steps(size.train, batch, run.training.total_steps(size.train))
    images, clean = count_images(run)
    work = 3 * facts.multiply_adds[run.run_id] * images
    seconds = facts.step_seconds[run.run_id] * images / batch + START_SECONDS
    copies = CHECKPOINT + len(snapshot_steps(closing, snapshots))
    on_disk = facts.parameters[run.run_id] * WEIGHT_BYTES * copies + 10_000
    return Cost(seconds, work, on_disk, clean / images)


def count_images(run: RunConfig) -> tuple[float, float]:
    """Counts the images of a run, an evaluated one as the share of a training step that its forward pass is.

    The second number is how many of them come after the last step, for the final clean training numbers.
    """
    size, batch = data.shape(run.data), run.training.batch_size
    steps = run.training.total_steps(size.train)
    closing = record_steps(size.train, batch, steps)
    # A net with instance norms is scored twice: by running and by each image's own statistics.
    ways = 2 if run.model.norm == "instance" else 1
    # One with batch norms sees all training images twice more: for their statistics, and scored by them.
    passes = ways + (2 if run.model.norm == "batch" else 0)
    clean = FORWARD * passes * size.train
    scored = len(closing) * (size.test + size.validation + size.fixed)
    return steps * batch + FORWARD * ways * scored + clean, clean


def wall_seconds(seconds: Sequence[float], jobs: int, *, one_gpu: bool) -> float:
    """Returns the seconds until the last of `jobs` workers ends, each taking the next run as it becomes free.

    Args:
        one_gpu: whether the workers share a GPU; else each has a device, or cores, of its own.

    >>> wall_seconds([3.0, 2.0, 2.0], jobs=2, one_gpu=False)
    4.0
    >>> wall_seconds([7.0, 7.0, 7.0], jobs=3, one_gpu=True)
    12.0
    """
    ends = [0.0] * jobs
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(*ends, sum(seconds) / OVERLAP_ON_CUDA if one_gpu else 0.0)


def settle_group(config: SweepConfig, device: str) -> int:
    """Settles how many runs share a worker process: 'auto' is several on CUDA alone."""
    group = config.execution.group
    if group != "auto":
        return group
    if device != "cuda" or not config.share_arithmetic:
        return 1
    known = recall_group(config.training.precision)
    return GROUP_ON_CUDA if known is None else known


def default_jobs(config: SweepConfig, facts: Facts, runs: int) -> int:
    """Counts runs side by side: as many as cores and memory allow on a CPU, one group on an accelerator."""
    if config.execution.jobs != "auto":
        return config.execution.jobs
    if facts.device != "cpu":
        return settle_group(config, facts.device)
    usable = count_cores() // config.training.threads
    return fitting_jobs(runs, usable, worker_bytes=facts.worker_bytes, available=available_bytes())


def fitting_jobs(runs: int, cores: int, *, worker_bytes: int, available: int | None) -> int:
    """Counts the workers for `runs` that find a core each, and memory.

    Args:
        worker_bytes: memory that one worker takes.
        available: memory that there is, see `available_bytes`; None where that is not known.
    """
    fitting = runs if available is None else int(MEMORY_SHARE * available // worker_bytes)
    return max(1, min(cores, runs, fitting))
