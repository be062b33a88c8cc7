"""What, besides its settings, determines a run's bits."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path

import numpy as np
import torch

import resdeg
from resdeg.config import RunConfig
from resdeg.data.images import Dataset
from resdeg.models.fast import can_compile
from resdeg.records import SEMANTICS, Segment

_COMPUTING = ("data", "models", "training", "runner", "randomness.py")  # The code of these makes numbers.


def describe_segment(config: RunConfig, dataset: Dataset, *, device: torch.device, step: int) -> Segment:
    """Describes what this process computes with, from `step` on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Segment(
        from_step=step,
        semantics=SEMANTICS,
        data_hash=dataset.hash,
        resdeg=resdeg.__version__,
        code=digest_code(Path(__file__).parents[1]),
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        device=name,
        processor=f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        threads=config.training.threads,
        norms="fused" if fuses(config, device) else "torch",
    )


def fuses(config: RunConfig, device: torch.device) -> bool:
    """Says whether the norms of this training compute, in the same pass, what follows them."""
    return config.training.fused and can_compile(device, config.training.threads)


@functools.cache
def digest_code(package: Path) -> str:
    """Returns twelve hexadecimal digits of the SHA-256 of all source that makes numbers, and of its paths."""
    digest = hashlib.sha256()
    for room in _COMPUTING:
        source = package / room
        for path in sorted([*source.rglob("*.py"), *source.rglob("*.cpp")]) if source.is_dir() else [source]:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]
