"""Learning rates as pure functions of the step: shapes on [0, 1), scaled to any length."""

from __future__ import annotations

from collections.abc import Callable

from resdeg.config import TrainingConfig
from resdeg.errors import UsageError, did_you_mean


def _steps(t: float) -> float:
    """1, then 1/10 from half way, then 1/100 from three quarters (He et al. 2015: 32k, 48k of 64k)."""
    return 1.0 if t < 0.5 else 0.1 if t < 0.75 else 0.01


def _triangle(t: float) -> float:
    """Linearly from 0 to 1 over the first 15 %, then linearly to 0."""
    return t / 0.15 if t < 0.15 else (1 - t) / 0.85


def _constant(t: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "steps": _steps,
    "triangle": _triangle,
    "constant": _constant,
}


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """The rate for `step` (0 to total - 1).

    Sloped shapes are read at the middle of the step, so that no step is taken at rate 0; drops
    fall exactly on the step that they name.
    """
    if config.schedule not in SCHEDULES:
        raise UsageError(
            f"training.schedule: '{config.schedule}' is not known", did_you_mean(config.schedule, SCHEDULES)
        )
    if step < config.warmup_steps:
        return config.warmup_lr
    return config.lr * SCHEDULES[config.schedule]((step + 0.5) / total)
