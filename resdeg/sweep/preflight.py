"""What is found out before the first run, in a process of its own that may load torch."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from resdeg.config import Family, RunConfig, SweepConfig
from resdeg.errors import UsageError
from resdeg.sweep.calibration import Calibration, Counts, Facts, blocks_in, priced, recall, remember

if TYPE_CHECKING:
    import torch

PROBE_STEPS = 3


def preflight(config: SweepConfig, read_data: bool) -> Facts:
    """Build every distinct net, price them, and verify the data.

    Args:
        read_data: False where nothing will be trained, so that a dry run needs no data.

    Raises:
        UsageError: a setting names what is not there; DataError: the data is not what it should be.
    """
    from resdeg import data
    from resdeg.runner import check
    from resdeg.training.device import resolve_device

    device = resolve_device(config.execution.device)
    if config.execution.graph and device.type != "cuda":
        raise UsageError("execution.graph needs a CUDA device", "leave it out, or give --device cuda")
    place = Path(config.execution.data_dir) if config.execution.data_dir else None
    kinds = {(run.settings_id, run.family, run.depth): run for run in reversed(config.runs())}
    for run in kinds.values():
        check(run, device)
    dataset = data.load(config.data, place) if read_data else None
    measured = [_calibrated(grid, device) for grid in config.grids]
    return priced(config, measured, dataset.hash if dataset else None)


def _calibrated(config: SweepConfig, device: torch.device) -> Calibration:
    known = recall(config)
    if known is not None and known.device == device.type:
        return known
    calibration = calibrate(config, device)
    remember(config, calibration)
    return calibration


def calibrate(config: SweepConfig, device: torch.device) -> Calibration:
    """Count nets of two depths of the grid, and time training steps of them."""
    from resdeg.runner import check

    depths = sorted(depth for depth in config.depths if depth > 2) or [8]
    low = depths[0] if len(depths) > 1 else 8
    high = depths[-1] if depths[-1] > low else low + 6

    first = config.grid()[0]

    def run(family: Family, depth: int) -> RunConfig:
        return first.model_copy(update={"family": family, "depth": depth, "constructed": None})

    def counts(family: Family, depth: int) -> Counts:
        found = check(run(family, depth), device)
        return Counts(parameters=found.parameters, multiply_adds=found.multiply_adds)

    timed = config.families[-1]
    stem_seconds, _ = _probe(run("plain", 2), device, config.execution.graph)
    (low_seconds, low_bytes), (high_seconds, high_bytes) = (
        _probe(run(timed, depth), device, config.execution.graph) for depth in (low, high)
    )
    # Neighbours on the machine only add time, so a shallower net never takes more than a deeper one.
    low_seconds = min(low_seconds, high_seconds)
    stem_seconds = min(stem_seconds, low_seconds)
    return Calibration(
        device=device.type,
        blocks=(blocks_in(low), blocks_in(high)),
        stem=counts("plain", 2),
        stem_seconds=stem_seconds,
        counts={family: (counts(family, low), counts(family, high)) for family in config.families},
        seconds=(low_seconds, high_seconds),
        bytes=(low_bytes, high_bytes),
    )


def _probe(run: RunConfig, device: torch.device, graph: bool) -> tuple[float, int]:
    """Seconds of one training step on random images, after one to warm up; peak bytes of this process."""
    import numpy as np
    import torch

    from resdeg import data
    from resdeg.data.images import Dataset, Split
    from resdeg.runner import Trainer

    size = data.shape(run.data)
    count = run.training.batch_size
    images = np.random.Generator(np.random.Philox(key=0)).integers(
        0, 256, (count, size.side, size.side, 3), dtype=np.uint8
    )
    split = Split(images, (np.arange(count) % size.classes).astype(np.uint8))
    dataset = Dataset("probe", size.classes, split, split, None, "")
    take_step = Trainer.from_config(run, dataset, device=device).make_step(graph=graph)
    times = []
    for step in range(PROBE_STEPS + 1):
        start = time.perf_counter()
        take_step(step, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:]), peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)  # bytes there, kilobytes here
