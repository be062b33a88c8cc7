"""Learning rates as pure functions of the step: shapes on [0, 1), scaled to any length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resdeg.config import TrainingConfig
from resdeg.errors import UsageError, did_you_mean


def _steps(progress: float) -> float:
    """Returns 1, 1/10 from half way, and 1/100 from three quarters (He et al. 2015: 32k, 48k of 64k)."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def _triangle(progress: float) -> float:
    """Rises linearly from 0 to 1 over the first 15 %, then falls linearly to 0."""
    return progress / 0.15 if progress < 0.15 else (1 - progress) / 0.85


def _constant(progress: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "steps": _steps,
    "triangle": _triangle,
    "constant": _constant,
}


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """Returns the rate of `step` (0 to total - 1).

    Sloped shapes are read at the middle of the step, so that no step is taken at rate 0; drops
    fall exactly on the step that they name.

    Raises:
        UsageError: no schedule has the name that `config` gives.
    """
    if config.schedule not in SCHEDULES:
        raise UsageError(
            f"training.schedule: '{config.schedule}' is not known", did_you_mean(config.schedule, SCHEDULES)
        )
    if step < config.warmup_steps:
        return config.warmup_lr
    return config.lr * SCHEDULES[config.schedule]((step + 0.5) / total)


@dataclass(frozen=True)
class Schedule:
    """The steps of one phase: the learning rate of each, and those that close an epoch.

    config: the shape and the height of the rates.
    closing: the steps that close an epoch of the run, counted from its beginning, rising; the last one ends
        the phase.
    first: the step that the phase begins after.
    """

    config: TrainingConfig
    closing: Sequence[int]
    first: int = 0

    @property
    def last(self) -> int:
        """The step that ends the phase."""
        return self.closing[-1]

    @property
    def longest_epoch(self) -> int:
        """The number of steps of the longest epoch."""
        return max(end - start for _, start, end in self.epochs())

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of `step`, counted from 0; before the phase, that of its first step."""
        return learning_rate(self.config, max(step - self.first, 0), self.last - self.first)

    def epochs(self, *, after: int = 0) -> Iterator[tuple[int, int, int]]:
        """Yields number, from 1, first and closing step of every epoch that closes after step `after`."""
        for epoch, (start, end) in enumerate(zip([0, *self.closing], self.closing, strict=False), start=1):
            if end > after:
                yield epoch, start, end
