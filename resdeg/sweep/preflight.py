"""What is found out before the first run, in a worker that may load torch."""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resdeg.config import ExecutionConfig, Family, RunConfig, SweepConfig
from resdeg.errors import UsageError
from resdeg.sweep.calibration import Calibration, Counts, Facts, blocks_in, facts_of_runs, recall, remember
from resdeg.sweep.workers.process import call

if TYPE_CHECKING:
    import torch

PROBE_STEPS = 3

Probe = Callable[..., tuple[float, int]]  # see `probe_step`


def answer_preflight(config: str, *, read_data: bool) -> dict[str, Any]:
    """Answers `ask_preflight`, in a worker: a SweepConfig as JSON in, Facts as JSON out."""
    return preflight(SweepConfig.model_validate_json(config), read_data=read_data).model_dump(mode="json")


def ask_preflight(
    config: SweepConfig, *, read_data: bool, entry: Callable[..., object] = answer_preflight
) -> Facts:
    """Runs `preflight` in a worker, so that this process never imports torch.

    Args:
        entry: what the worker answers, see `answer_preflight`.

    Raises:
        LostError: the worker died; ResdegError: whatever `preflight` raised.
    """
    content = config.model_dump_json()
    check = functools.partial(entry, read_data=read_data)
    return Facts.model_validate(call(check, content, subject="the check before the sweep"))


def preflight(config: SweepConfig, *, read_data: bool, probe: Probe | None = None) -> Facts:
    """Builds every distinct net, prices them, and verifies the data.

    Args:
        read_data: False where nothing will be trained, so that a dry run needs no data.
        probe: times a training step, see `probe_step`.

    Raises:
        UsageError: a setting names what is not there; DataError: the data is not what it should be.
    """
    from resdeg import data
    from resdeg.runner import check
    from resdeg.training.device import resolve_device

    device = resolve_device(config.execution.device)
    if config.execution.captures(device.type) and device.type != "cuda":
        raise UsageError("execution.graph needs a CUDA device", "leave it out, or give --device cuda")
    kinds = {(run.settings_id, run.family, run.depth): run for run in reversed(config.runs())}
    for run in kinds.values():
        check(run, device)
    dataset = data.load(config.data, config.execution.data_path) if read_data else None
    calibrations = [_recall_or_calibrate(grid, device, probe) for grid in config.grids]
    return facts_of_runs(config, calibrations, dataset.hash if dataset else None)


def _recall_or_calibrate(config: SweepConfig, device: torch.device, probe: Probe | None) -> Calibration:
    known = recall(config)
    if known is not None and known.device == device.type:
        return known
    calibration = calibrate(config, device, probe=probe)
    remember(config, calibration)
    return calibration


def calibrate(config: SweepConfig, device: torch.device, *, probe: Probe | None = None) -> Calibration:
    """Counts nets of two depths of the grid, and times training steps of them by `probe`, or `probe_step`."""
    from resdeg.runner import check

    depths = sorted(depth for depth in config.depths if depth > 2) or [8]
    low = depths[0] if len(depths) > 1 else 8
    high = depths[-1] if depths[-1] > low else low + 6

    first = config.grid()[0]
    probe = probe_step if probe is None else probe

    def run(family: Family, depth: int) -> RunConfig:
        return first.model_copy(update={"family": family, "depth": depth, "constructed": None})

    def counts(family: Family, depth: int) -> Counts:
        census = check(run(family, depth), device)
        return Counts(parameters=census.parameters, multiply_adds=census.multiply_adds)

    timed = config.families[-1]
    stem_seconds, _ = probe(run("plain", 2), device, execution=config.execution)
    (low_seconds, low_bytes), (high_seconds, high_bytes) = (
        probe(run(timed, depth), device, execution=config.execution) for depth in (low, high)
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


def probe_step(run: RunConfig, device: torch.device, *, execution: ExecutionConfig) -> tuple[float, int]:
    """Times a training step on random images, after one to warm up.

    Returns:
        Seconds of a step, and peak bytes of this process.
    """
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
    refused = (lambda error: None) if execution.graph == "auto" else None
    trainer = Trainer.from_config(run, dataset, device=device)
    take_step = trainer.make_step(graph=execution.captures(device.type), refused=refused)
    times = []
    for step in range(PROBE_STEPS + 1):
        start = time.perf_counter()
        take_step(step, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:]), peak_bytes()


def peak_bytes() -> int:
    """Returns the most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)  # bytes there, kilobytes here
