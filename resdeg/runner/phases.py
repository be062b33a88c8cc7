"""The phases of a run: one for most runs, two for a constructed network."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.config import RunConfig
from resdeg.data.batch_plan import record_steps
from resdeg.errors import UsageError
from resdeg.training.schedule import Schedule


@dataclass(frozen=True)
class Phase:
    """A stretch of a run on one network: the settings of that network, and its steps with their rates."""

    config: RunConfig
    schedule: Schedule


def plan_phases(config: RunConfig, images: int) -> list[Phase]:
    """Divides the run of `config` on that many training images into its phases.

    Raises:
        UsageError: the run takes two phases and is too short for them.
    """
    training = config.training
    closing = record_steps(images, training.batch_size, training.total_steps(images))
    if (constructed := config.constructed) is None:
        return [Phase(config, Schedule(training, closing))]
    if len(closing) < 2:
        raise UsageError("a constructed network takes two epochs at least", "give more --epochs")
    turn = min(max(round(constructed.share * len(closing)), 1), len(closing) - 1)
    rates = {name: constructed.lr * getattr(training, name) for name in ("lr", "warmup_lr")}
    deep = config.model_copy(update={"training": training.model_copy(update=rates)})
    return [
        Phase(config.shallow, Schedule(training, closing[:turn])),
        Phase(deep, Schedule(deep.training, closing, first=closing[turn - 1])),
    ]
