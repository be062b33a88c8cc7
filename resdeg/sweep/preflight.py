"""What is found out before the first run, in a process of its own that may load torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from resdeg.config import RunConfig, SweepConfig

if TYPE_CHECKING:
    import torch

PROBE_STEPS = 3


class Facts(BaseModel):
    """Counts and measured seconds per step by run id; the data's hash where it was read."""

    model_config = ConfigDict(frozen=True)

    device: str
    parameters: dict[str, int]
    multiply_adds: dict[str, int]
    step_seconds: dict[str, float]
    data_hash: str | None


def preflight(config: SweepConfig, read_data: bool) -> Facts:
    """Build every distinct net on the meta device, time two of them, and verify the data.

    Args:
        read_data: False where nothing will be trained, so that a dry run needs no data.

    Raises:
        UsageError: a setting names what is not there; DataError: the data is not what it should be.
    """
    from resdeg import data
    from resdeg.runner import check
    from resdeg.training.device import resolve_device

    device = resolve_device(config.execution.device)
    place = Path(config.execution.data_dir) if config.execution.data_dir else None
    runs = config.runs()
    kinds: dict[tuple[str, int], RunConfig] = {}
    for run in runs:
        kinds.setdefault((run.family, run.depth), run)
    counts = {kind: check(run, device) for kind, run in kinds.items()}
    dataset = data.load(config.data, place) if read_data else None
    seconds = _step_seconds(kinds, {kind: c.multiply_adds for kind, c in counts.items()}, device)
    by_kind = {run.run_id: (run.family, run.depth) for run in runs}
    return Facts(
        device=device.type,
        parameters={run_id: counts[kind].parameters for run_id, kind in by_kind.items()},
        multiply_adds={run_id: counts[kind].multiply_adds for run_id, kind in by_kind.items()},
        step_seconds={run_id: seconds[kind] for run_id, kind in by_kind.items()},
        data_hash=dataset.hash if dataset else None,
    )


def _step_seconds(
    kinds: dict[tuple[str, int], RunConfig], work: dict[tuple[str, int], int], device: torch.device
) -> dict[tuple[str, int], float]:
    """Measured on the shallowest and the deepest net; between them a step's time is a line in its work."""
    ordered = sorted(kinds, key=lambda kind: (work[kind], kind[0]))
    low, high = ordered[0], ordered[-1]
    t_low = _probe(kinds[low], device)
    t_high = _probe(kinds[high], device) if high != low else t_low
    slope = (t_high - t_low) / (work[high] - work[low]) if work[high] > work[low] else 0.0
    return {kind: t_low + slope * (work[kind] - work[low]) for kind in kinds}


def _probe(run: RunConfig, device: torch.device) -> float:
    """Seconds of one training step on random images, after one step to warm up."""
    import numpy as np
    import torch

    from resdeg import data
    from resdeg.data.images import Dataset, Split
    from resdeg.runner import Training
    from resdeg.training.device import autocast
    from resdeg.training.loop import train_step

    size = data.shape(run.data)
    count = run.training.batch_size
    images = np.random.Generator(np.random.Philox(key=0)).integers(
        0, 256, (count, size.side, size.side, 3), dtype=np.uint8
    )
    split = Split(images, (np.arange(count) % size.classes).astype(np.uint8))
    dataset = Dataset("probe", size.classes, split, split, None, "")
    training = Training.of(run, dataset, device)
    cast = autocast(run.training, device)
    times = []
    for step in range(PROBE_STEPS + 1):
        start = time.perf_counter()
        train_step(training.state, training.batch_at(step), 0.0, cast, 0)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
