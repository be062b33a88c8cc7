"""Paired, interleaved measuring: ratios of neighbours in time, never absolute times alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from resdeg.bench.contenders import MATRIX, Contender, Running, run_config

WARM_UP = 3  # steps, excluded


@dataclass(frozen=True)
class Ratio:
    """A contender beside the reference: median of per-pair ratios with its interval, both speeds.

    low, high: 95 % bootstrap interval of the median; least, most: the range of the pairs. step_seconds:
    of one step of one copy. matrix_share: of the rate of a matrix product in the same precision on all
    cores. peak_bytes: of all copies.
    """

    name: str
    ratio: float
    low: float
    high: float
    least: float
    most: float
    pairs: int
    images_per_second: float
    reference_images_per_second: float
    step_seconds: float
    matrix_share: float
    peak_bytes: int


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


def matrix_rate(cores: int, precision: Literal["fp32", "bf16"]) -> float:
    """Multiply-adds per second of square products, a thread per core: the best of three trials."""
    contender = Contender(name="matrix", kind="matrix", threads=1, copies=cores, precision=precision)
    running = Running.start(contender)
    try:
        running.seconds(2)
        return cores * 8 * MATRIX**3 / min(running.seconds(8) for _ in range(3))
    finally:
        running.stop()


def compare(
    reference: Contender, others: Sequence[Contender], pairs: int, steps: int, rates: Mapping[str, float]
) -> list[Ratio]:
    """Each of `others` against `reference`, in blocks of `steps` steps, ABBA, `pairs` times.

    The reference is also paired with itself: ratios within that range are no difference.

    Args:
        rates: multiply-adds per second of the matrix product by precision, see `matrix_rate`.
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
        _ratio(running, f"{reference.name}, again" if k == 0 else "", speeds[k + 1], speeds[0], rates)
        for k, running in enumerate(everyone[1:])
    ]


def _ratio(
    running: Running, name: str, speeds: list[float], reference: list[float], rates: Mapping[str, float]
) -> Ratio:
    contender = running.contender
    low, high = interval(ratios := [a / b for a, b in zip(speeds, reference, strict=True)])
    speed = statistics.median(speeds)
    batch = run_config(contender).training.batch_size
    return Ratio(
        name=name or contender.name,
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        least=min(ratios),
        most=max(ratios),
        pairs=len(ratios),
        images_per_second=speed,
        reference_images_per_second=statistics.median(reference),
        step_seconds=batch * contender.copies / speed,
        matrix_share=3 * multiply_adds(contender) * speed / rates[contender.precision],
        peak_bytes=running.peak_bytes,
    )


@dataclass(frozen=True)
class Line:
    """Seconds of a step as a line in depth: measured, fitted, and the share that the fit explains."""

    precision: str
    depths: list[int]
    seconds: list[float]
    fixed: float
    per_layer: float
    r_squared: float


def line(depths: Sequence[int], precision: Literal["fp32", "bf16"], rounds: int, steps: int) -> Line:
    """Step time of one-thread engines of several depths, interleaved; the median of the rounds counts."""
    everyone = [
        Running.start(Contender(name=f"{d}", kind="engine", threads=1, precision=precision, depth=d))
        for d in depths
    ]
    try:
        for running in everyone:
            running.seconds(WARM_UP)
        told = [[running.seconds(steps) / steps for running in everyone] for _ in range(rounds)]
    finally:
        for running in everyone:
            running.stop()
    seconds = np.median(np.asarray(told), axis=0)
    per_layer, fixed = np.polyfit(depths, seconds, 1)
    rest = ((seconds - fixed - per_layer * np.asarray(depths)) ** 2).sum()
    r_squared = 1 - rest / ((seconds - seconds.mean()) ** 2).sum()
    return Line(precision, list(depths), seconds.tolist(), float(fixed), float(per_layer), float(r_squared))


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the median (percentiles of 2,000 resamples, seeded)."""
    generator = np.random.Generator(np.random.Philox(key=0))
    drawn = generator.choice(np.asarray(ratios), (2_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def multiply_adds(contender: Contender) -> int:
    """Of one image's forward pass."""
    import torch

    from resdeg.runner import check

    return check(run_config(contender), torch.device("cpu")).multiply_adds
