"""The parts of a run: one for most, two for a constructed network."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.config import RunConfig
from resdeg.data.plan import record_steps
from resdeg.errors import UsageError


@dataclass(frozen=True)
class Part:
    """A stretch of a run on one network, with its own schedule.

    config: of that network and its rates. Its steps are those after `first`, to the last of `closing`, the
    steps that close an epoch of the run from its beginning.
    """

    config: RunConfig
    first: int
    closing: list[int]

    @property
    def longest(self) -> int:
        """Steps of the longest epoch."""
        return max(end - start for start, end in zip([0, *self.closing], self.closing, strict=False))


def parts(config: RunConfig, images: int) -> list[Part]:
    """The parts of the run of `config` on that many training images.

    Raises:
        UsageError: it is to be of two parts and too short for them.
    """
    t = config.training
    closing = record_steps(images, t.batch_size, t.total_steps(images))
    if (constructed := config.constructed) is None:
        return [Part(config, 0, closing)]
    if len(closing) < 2:
        raise UsageError("a constructed network takes two epochs at least", "give more --epochs")
    turn = min(max(round(constructed.share * len(closing)), 1), len(closing) - 1)
    rates = {name: constructed.lr * getattr(t, name) for name in ("lr", "warmup_lr")}
    after = config.model_copy(update={"training": t.model_copy(update=rates)})
    return [Part(config.shallow, 0, closing[:turn]), Part(after, closing[turn - 1], closing)]
