"""A share of a sweep's plan, for machines that know nothing of each other: the same share everywhere."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from resdeg import data
from resdeg.config import RunConfig
from resdeg.errors import UsageError
from resdeg.sweep.calibration import average_over_phases, blocks_in
from resdeg.sweep.estimate import count_images

_CHANNELS = 16  # of the first stage at model.width = 1


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a plan; `number` counts from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Reads the third of eight shares from "3/8".

    Raises:
        UsageError: the text is no share.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text, re.ASCII)
    if match is None:
        raise UsageError(
            f"--shard {text or repr(text)} is no share of a plan",
            "write 3/8 for the third of eight; is a variable in it empty?",
        )
    number, count = int(match[1]), int(match[2])
    if count < 1:
        raise UsageError(f"--shard {text}: a plan has at least one share", "write 1/1 for all of it")
    if not 1 <= number <= count:
        remedy = f"write 1/{count} to {count}/{count}"
        if number == 0:
            remedy += "; an array of jobs that counts from 0 has to begin at 1"
        raise UsageError(f"--shard {text}: shares are counted from 1 to {count}", remedy)
    return Shard(number, count)


def choose_share(runs: Sequence[RunConfig], shard: Shard | None) -> tuple[RunConfig, ...]:
    """Returns the runs of a share in the order of the plan; all of them if `shard` is None.

    The dearest run is given away first, always to the share that has least so far. Neither the machine nor
    the order of the plan nor what has ended already has a say, so the shares of all machines are disjoint,
    and together they are the plan. Shares beyond the number of runs are empty.
    """
    if shard is None:
        return tuple(runs)
    priced = sorted((-estimate_work(run), run.run_id) for run in runs)
    loads = [(0, number) for number in range(1, min(shard.count, len(runs)) + 1)]
    heapq.heapify(loads)
    share = set()
    for price, run_id in priced:
        load, number = loads[0]
        heapq.heapreplace(loads, (load - price, number))
        if number == shard.number:
            share.add(run_id)
    return tuple(run for run in runs if run.run_id in share)


def estimate_work(run: RunConfig) -> int:
    """Estimates the multiply-adds of a run's forward passes from its settings only.

    A calibration would be nearer to seconds, but each machine has its own, and torch would be needed to count
    exactly: the first blocks of later stages have fewer, and projections are left out.
    """
    side = data.shape(run.data).side
    channels = max(1, round(_CHANNELS * run.model.width))

    def count_at_depth(depth: int) -> float:
        return 9.0 * side**2 * channels * (3 + 2 * channels * blocks_in(depth))

    images, _ = count_images(run)
    return round(average_over_phases(run, count_at_depth) * images)
