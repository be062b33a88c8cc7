"""Paired and interleaved measurements: ratios of neighbours in time, and never only absolute times."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from resdeg.bench import mps
from resdeg.bench.contenders import (
    COPIED,
    ON_A_GPU,
    Contender,
    DeviceName,
    Precision,
    matrix_side,
    run_config,
)
from resdeg.bench.running import NONE, Running
from resdeg.errors import ResdegError
from resdeg.models.structure import Census

WARM_UP = 3  # steps that are not counted
# A block of the textbook loop on a GPU has this share of the steps: it waits for the CPU's augmentation, so
# that whole blocks of it would take most of the bench.
TEXTBOOK_ON_A_GPU = 0.2
# The number of times that the maps must cross memory if everything possible is fused (plain, residual), and
# the bytes of weights, gradients and momentum per parameter; docs/performance.md derives both.
PASSES = {"plain": 6.0, "residual": 7.5}
PARAMETER_BYTES = 26


@dataclass(frozen=True)
class Machine:
    """The rates of all cores together: multiply-adds per second by precision, bytes moved per second."""

    cores: int
    multiply_adds: dict[str, float]
    bytes: float


@dataclass(frozen=True)
class Ratio:
    """A contender compared with the reference: the median of per-pair ratios, and both speeds.

    low, high: the 95 % bootstrap interval of the median; least, most: the range of the pairs.
    step_seconds: the time of one step of one copy.
    matrix_share: the share of the rate of a matrix product in the same precision on all cores.
    floor_share: the time that memory would take if everything were fused, as a share of the time taken.
    peak_bytes: the peak memory of all copies together.
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
    cores: int, steps: int, *, quick: bool, say: Callable[[str], None], device: DeviceName = "cpu"
) -> Contender:
    """Finds the best worker and thread count of the textbook loop on this machine by short trials.

    `quick` only tries all threads with no worker and with one per core, because these were the best before.
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


def measure_machine(cores: int, precisions: Sequence[Precision], device: DeviceName = "cpu") -> Machine:
    """Measures square products and copies, on all cores of a CPU at once; the best of three trials counts."""
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
        {
            precision: matrix_side(contender) ** 3 * per_second(contender)
            for precision, contender in matrix.items()
        },
        2 * COPIED * per_second(copy),
    )


def compare(
    reference: Contender,
    others: Sequence[Contender],
    *,
    pairs: int,
    steps: int,
    machine: Machine,
    refuse: Callable[[Contender, ResdegError], None],
) -> list[Ratio]:
    """Compares each of `others` with `reference`, in blocks of `steps` steps, ABBA, `pairs` times.

    The reference is also paired with itself: ratios within that range are no difference.

    Args:
        refuse: is called with each of `others` that cannot warm up, and why; the rest are measured.

    Raises:
        ResdegError: the reference cannot run, or a contender dies after its warm-up.
    """
    service, others = _start_service(others, refuse)
    variables = NONE if service is None else service.variables
    everyone = [
        Running.start(contender, variables if contender.mps else NONE)
        for contender in (reference, reference, *others)
    ]
    try:
        measured: list[Running] = []
        for running in everyone:
            try:
                running.images_per_second(WARM_UP)
            except ResdegError as error:
                if running.contender == reference:
                    raise
                refuse(running.contender, error)
            else:
                measured.append(running)
        speeds: list[list[float]] = [[] for _ in measured]
        for pair in range(pairs):
            order = range(len(measured)) if pair % 2 == 0 else reversed(range(len(measured)))
            for k in order:
                speeds[k].append(measured[k].images_per_second(count_steps(measured[k].contender, steps)))
    finally:
        for running in everyone:
            running.stop()
        if service is not None:
            service.stop()
    return [
        compute_ratio(
            running,
            speeds[k + 1],
            speeds[0],
            machine=machine,
            name=f"{reference.name}, again" if k == 0 else running.contender.name,
        )
        for k, running in enumerate(measured[1:])
    ]


def _start_service(
    others: Sequence[Contender], refuse: Callable[[Contender, ResdegError], None]
) -> tuple[mps.Service | None, Sequence[Contender]]:
    """Starts NVIDIA's MPS if a contender needs it; returns it and the contenders that can run."""
    if not any(contender.mps for contender in others):
        return None, others
    try:
        return mps.Service.start(), others
    except ResdegError as error:
        for contender in (each for each in others if each.mps):
            refuse(contender, error)
        return None, [contender for contender in others if not contender.mps]


def count_steps(contender: Contender, steps: int) -> int:
    """Counts the steps of one block of `contender` where most contenders take `steps`."""
    shorter = contender.kind == "textbook" and contender.device == "cuda"
    return max(1, round(steps * TEXTBOOK_ON_A_GPU)) if shorter else steps


def compute_ratio(
    running: Running, speeds: Sequence[float], reference: Sequence[float], *, machine: Machine, name: str
) -> Ratio:
    """Computes the ratio of a contender's speeds to those of the reference, pair by pair."""
    contender = running.contender
    low, high = interval(ratios := [a / b for a, b in zip(speeds, reference, strict=True)])
    speed = statistics.median(speeds)
    batch = run_config(contender).training.batch_size
    counts = count_network(contender)
    return Ratio(
        name=name,
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        least=min(ratios),
        most=max(ratios),
        pairs=len(ratios),
        images_per_second=speed,
        reference_images_per_second=statistics.median(reference),
        step_seconds=batch * contender.copies * contender.group / speed,
        matrix_share=3 * counts.multiply_adds * speed / machine.multiply_adds[contender.precision],
        floor_share=least_bytes(contender, counts) * speed / batch / machine.bytes,
        peak_bytes=running.peak_bytes,
    )


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Computes the 95 % bootstrap interval of the median (percentiles of 2,000 resamples, seeded)."""
    generator = np.random.Generator(np.random.Philox(key=0))
    drawn = generator.choice(np.asarray(ratios), (2_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return float(low), float(high)


def least_bytes(contender: Contender, counts: Census) -> float:
    """Computes the bytes that one step must move between cores and memory."""
    width = 2 if contender.precision == "bf16" else 4
    batch = run_config(contender).training.batch_size
    return PASSES[contender.family] * counts.outputs * batch * width + PARAMETER_BYTES * counts.parameters


def count_network(contender: Contender) -> Census:
    """Counts the layers, parameters and multiply-adds of the contender's network."""
    import torch

    from resdeg.runner import check

    # Every CPU has fp32, and none has fast math, so the counts, which are the same, are known even if the
    # contender cannot run here.
    counted = contender.model_copy(update={"precision": "fp32", "fast_math": False})
    return check(run_config(counted), torch.device("cpu"))
