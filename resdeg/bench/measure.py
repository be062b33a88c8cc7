"""Paired, interleaved measuring: ratios of neighbours in time, never absolute times alone."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from resdeg.bench.contenders import COPIED, ON_A_GPU, Contender, DeviceName, Precision, run_config, side
from resdeg.bench.running import Running
from resdeg.models.structure import Census

WARM_UP = 3  # steps, excluded
# How often the maps must cross memory when everything that can be fused is (plain, residual), and
# bytes of weights, gradients and momentum per parameter: docs/performance.md derives them.
PASSES = {"plain": 6.0, "residual": 7.5}
PARAMETER_BYTES = 26


@dataclass(frozen=True)
class Machine:
    """What all cores can do together: multiply-adds per second by precision, bytes moved per second."""

    cores: int
    multiply_adds: dict[str, float]
    bytes: float


@dataclass(frozen=True)
class Ratio:
    """A contender beside the reference: median of per-pair ratios with its interval, both speeds.

    low, high: 95 % bootstrap interval of the median; least, most: the range of the pairs. step_seconds:
    of one step of one copy. matrix_share: of the rate of a matrix product in the same precision on all
    cores. floor_share: the time that memory alone would take, were everything fused, of the time
    taken. peak_bytes: of all copies.
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
    floor_share: float
    peak_bytes: int


def best_textbook(
    cores: int, steps: int, quick: bool, say: Callable[[str], None], device: DeviceName = "cpu"
) -> Contender:
    """The textbook loop at its best worker and thread count on this machine, by a short trial of each.

    `quick` tries all threads with no worker and with one per core, which is where the best was found.
    """
    speeds: dict[Contender, float] = {}
    tried = itertools.product(sorted({1, cores}), range(min(cores, 4) + 1))
    for threads, workers in [(cores, 0), (cores, min(cores, 4))] if quick else tried:
        contender = Contender(
            name=f"textbook ({threads} thread(s), {workers} worker(s))",
            kind="textbook", threads=threads, workers=workers, device=device,
        )  # fmt: skip
        running = Running.start(contender)
        try:
            running.images_per_second(WARM_UP)
            speeds[contender] = max(running.images_per_second(steps) for _ in range(2))
        finally:
            running.stop()
        say(f"tried {contender.name}: {speeds[contender]:.0f} images/s")
    return max(speeds, key=speeds.__getitem__)


def machine(cores: int, precisions: Sequence[Precision], device: DeviceName = "cpu") -> Machine:
    """Measure square products and copies, on a CPU on each core at once: the best of three trials of each."""
    copies, times = (cores, 8) if device == "cpu" else (1, 8 * ON_A_GPU)

    def per_second(contender: Contender) -> float:
        running = Running.start(contender)
        try:
            running.seconds(2)
            return copies * times / min(running.seconds(times) for _ in range(3))
        finally:
            running.stop()

    copy = Contender(name="copy", kind="copy", threads=1, copies=copies, device=device)
    matrix = {
        precision: copy.model_copy(update={"name": "matrix", "kind": "matrix", "precision": precision})
        for precision in precisions
    }
    return Machine(
        cores,
        {precision: side(contender) ** 3 * per_second(contender) for precision, contender in matrix.items()},
        2 * COPIED * per_second(copy),
    )


def compare(
    reference: Contender, others: Sequence[Contender], pairs: int, steps: int, on: Machine
) -> list[Ratio]:
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
        _ratio(running, f"{reference.name}, again" if k == 0 else "", speeds[k + 1], speeds[0], on)
        for k, running in enumerate(everyone[1:])
    ]


def _ratio(running: Running, name: str, speeds: list[float], reference: list[float], on: Machine) -> Ratio:
    contender = running.contender
    low, high = interval(ratios := [a / b for a, b in zip(speeds, reference, strict=True)])
    speed = statistics.median(speeds)
    batch = run_config(contender).training.batch_size
    counts = census_of(contender)
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
        step_seconds=batch * contender.copies * contender.group / speed,
        matrix_share=3 * counts.multiply_adds * speed / on.multiply_adds[contender.precision],
        floor_share=least_bytes(contender, counts) * speed / batch / on.bytes,
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


def line(
    depths: Sequence[int],
    precision: Precision,
    rounds: int,
    steps: int,
    device: DeviceName = "cpu",
) -> Line:
    """Step time of engines of several depths, interleaved; the median of the rounds counts.

    One thread each; on CUDA, captured.
    """
    one = Contender(
        name="", kind="engine", threads=1, precision=precision, device=device, graph=device == "cuda"
    )
    everyone = [Running.start(one.model_copy(update={"name": f"{d}", "depth": d})) for d in depths]
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


def least_bytes(contender: Contender, counts: Census) -> float:
    """That one step must move between cores and memory."""
    width = 2 if contender.precision == "bf16" else 4
    batch = run_config(contender).training.batch_size
    return PASSES[contender.family] * counts.outputs * batch * width + PARAMETER_BYTES * counts.parameters


def census_of(contender: Contender) -> Census:
    import torch

    from resdeg.runner import check

    # In fp32, which every CPU has: the counts are the same, and may be asked for where they cannot be run.
    counted = contender.model_copy(update={"precision": "fp32"})
    return check(run_config(counted), torch.device("cpu"))
