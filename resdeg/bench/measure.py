"""Paired, interleaved measuring: ratios of neighbours in time, never absolute times alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resdeg.bench.contenders import Contender, Running

WARM_UP = 3  # steps, excluded


@dataclass(frozen=True)
class Ratio:
    """A contender beside the reference: median of per-pair ratios, their range, both speeds."""

    name: str
    ratio: float
    low: float
    high: float
    pairs: int
    images_per_second: float
    reference_images_per_second: float


def best_textbook(cores: int, steps: int, quick: bool, say: Callable[[str], None]) -> Contender:
    """The textbook loop at its best worker and thread count on this machine, by a short trial of each.

    `quick` tries all threads with no worker and with one per core, which is where the best was found.
    """
    speeds: dict[Contender, float] = {}
    tried = itertools.product(sorted({1, cores}), range(min(cores, 4) + 1))
    for threads, workers in [(cores, 0), (cores, min(cores, 4))] if quick else tried:
        contender = Contender(
            name=f"textbook ({threads} thread(s), {workers} worker(s))",
            kind="textbook", threads=threads, workers=workers,
        )  # fmt: skip
        running = Running.start(contender)
        try:
            running.images_per_second(WARM_UP)
            speeds[contender] = max(running.images_per_second(steps) for _ in range(2))
        finally:
            running.stop()
        say(f"tried {contender.name}: {speeds[contender]:.0f} images/s")
    return max(speeds, key=speeds.__getitem__)


def compare(reference: Contender, others: Sequence[Contender], pairs: int, steps: int) -> list[Ratio]:
    """Each of `others` against `reference`, in blocks of `steps` steps, ABBA, `pairs` times.

    The reference is also paired with itself: ratios within that range are no difference.
    """
    everyone = [Running.start(contender) for contender in (reference, reference, *others)]
    try:
        for running in everyone:
            running.images_per_second(WARM_UP)
        speeds: list[list[float]] = [[] for _ in everyone]
        for pair in range(pairs):
            order = range(len(everyone)) if pair % 2 == 0 else reversed(range(len(everyone)))
            for k in order:
                speeds[k].append(everyone[k].images_per_second(steps))
    finally:
        for running in everyone:
            running.stop()
    return [
        _ratio(running.contender.name if k else f"{reference.name}, again", speeds[k + 1], speeds[0])
        for k, running in enumerate(everyone[1:])
    ]


def _ratio(name: str, speeds: list[float], reference: list[float]) -> Ratio:
    ratios = [a / b for a, b in zip(speeds, reference, strict=True)]
    return Ratio(
        name=name,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        pairs=len(ratios),
        images_per_second=statistics.median(speeds),
        reference_images_per_second=statistics.median(reference),
    )
