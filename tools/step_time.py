"""Measures training steps of residual networks: their time against depth, or the time of each operation.

    python tools/step_time.py line --depths 8,20,56,110
    python tools/step_time.py operations --depths 20,56

docs/performance.md shows what both gave. `resdeg bench` compares the engine with other loops.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from resdeg.bench.contenders import LOOPS, Contender, DeviceName, Precision
from resdeg.bench.running import Running
from resdeg.config import check_depth, parse_depths
from resdeg.errors import ResdegError
from resdeg.models import fast
from resdeg.training.device import computes_bf16, resolve_device

WARM_UP = 4  # steps that are not counted: the first ones fetch memory from the kernel

# Each operation of torch that is counted as one of these parts. All others are counted together.
PARTS = {
    "convolution": "convolution, forward",
    "convolution_backward": "convolution, backward",
    "native_batch_norm": "batch norm, forward",
    "native_batch_norm_backward": "batch norm, backward",
    "relu_": "activation",
    "threshold_backward": "activation",
    "add": "addition",
    "add_": "addition",
    "_fused_sgd_": "optimiser",
    "norm_relu": "norm and relu, forward",  # in resdeg.models.fast, with additions
    "norm_relu_backward": "norm and relu, backward",
}
OTHERS, OUTSIDE = "input, casts, the rest", "between operations"


@dataclass(frozen=True)
class Line:
    """Seconds of a step as a line in depth: measured and fitted, with the share that the fit explains."""

    precision: str
    depths: list[int]
    seconds: list[float]
    fixed: float
    per_layer: float
    r_squared: float


@dataclass(frozen=True)
class Part:
    """Operations of a kind in one step: their number, their seconds and their share of the step."""

    name: str
    calls: float
    seconds: float
    share: float


def measure_line(
    depths: Sequence[int], precision: Precision, *, rounds: int, steps: int, device: DeviceName = "cpu"
) -> Line:
    """Measures the step time of engines of several depths, interleaved; the median of the rounds counts.

    Each engine has one thread; on CUDA its steps are captured.
    """
    engines = [
        Contender(
            name=f"{depth}", kind="engine", threads=1, precision=precision, device=device,
            graph=device == "cuda", depth=depth,
        )
        for depth in depths
    ]  # fmt: skip
    everyone = [Running.start(engine) for engine in engines]
    try:
        for running in everyone:
            running.seconds(WARM_UP)
        measured = [[running.seconds(steps) / steps for running in everyone] for _ in range(rounds)]
    finally:
        for running in everyone:
            running.stop()
    seconds = np.median(np.asarray(measured), axis=0)
    per_layer, fixed = np.polyfit(depths, seconds, 1)
    residual = ((seconds - fixed - per_layer * np.asarray(depths)) ** 2).sum()
    r_squared = 1 - residual / ((seconds - seconds.mean()) ** 2).sum()
    return Line(precision, list(depths), seconds.tolist(), float(fixed), float(per_layer), float(r_squared))


def time_operations(contender: Contender, steps: int) -> list[Part]:
    """Times every operation of `steps` steps in this process, and lists the parts, largest first.

    On a CPU an operation has ended when it returns, so its time is its own. Timing an operation costs some
    microseconds, which count as between operations (Python and autograd).
    """
    from torch.utils._python_dispatch import TorchDispatchMode

    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)

    def timed(name: str, operation: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        out = operation()
        part = PARTS.get(name.removeprefix("aten::"), OTHERS)
        seconds[part] += time.perf_counter() - start
        calls[part] += 1
        return out

    class Timer(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return timed(func._schema.name, lambda: func(*args, **(kwargs or {})))

    run = LOOPS[contender.kind](contender)
    run(WARM_UP)
    compiled = fast.call
    fast.call = lambda name, *arguments: timed(name, lambda: compiled(name, *arguments))
    start = time.perf_counter()
    with Timer():  # type: ignore[no-untyped-call]
        run(steps)
    whole = time.perf_counter() - start
    seconds[OUTSIDE] = whole - sum(seconds.values())
    return [
        Part(name, calls[name] / steps, spent / steps, spent / whole)
        for name, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]


def profile(contender: Contender, steps: int) -> list[Part]:
    """Calls `time_operations` in a new process, as threads and allocator settings belong to a process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(time_operations, contender, steps).result()


def list_precisions(device: DeviceName) -> list[Precision]:
    """Lists the precisions that `device` computes in.

    Raises:
        UsageError: the device is not on this machine.
    """
    return ["fp32", "bf16"] if computes_bf16(resolve_device(device)) else ["fp32"]


def print_lines(lines: Sequence[Line]) -> None:
    for line in lines:
        print(
            f"{line.precision}, one thread: {line.fixed * 1e3:.1f} ms and {line.per_layer * 1e3:.2f} ms per "
            f"layer, R^2 {line.r_squared:.5f}"
        )
        for depth, seconds in zip(line.depths, line.seconds, strict=True):
            fitted = line.fixed + line.per_layer * depth
            print(f"  depth {depth:>4}: {seconds * 1e3:>7.1f} ms/step, line {fitted * 1e3:>7.1f}")


def print_profiles(profiles: dict[str, list[Part]]) -> None:
    for name, parts in profiles.items():
        print(f"{name}: {sum(part.seconds for part in parts) * 1e3:.1f} ms/step")
        for part in parts:
            times = f"{part.calls:>4.0f} calls {part.seconds * 1e3:>8.2f} ms {part.share:>6.1%}"
            print(f"  {part.name:24} {times}")


def show_lines(arguments: argparse.Namespace, depths: Sequence[int]) -> None:
    steps = {"cpu": 2, "cuda": 50}[arguments.device] if arguments.steps is None else arguments.steps
    lines = [
        measure_line(depths, precision, rounds=arguments.rounds, steps=steps, device=arguments.device)
        for precision in list_precisions(arguments.device)
    ]
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        print_lines(lines)


def show_operations(arguments: argparse.Namespace, depths: Sequence[int]) -> None:
    engines = [
        Contender(
            name=f"residual-{depth} {precision}, one thread",
            kind="engine", threads=1, precision=precision, depth=depth,
        )
        for depth in depths
        for precision in list_precisions("cpu")
    ]  # fmt: skip
    profiles = {engine.name: profile(engine, arguments.steps) for engine in engines}
    if arguments.json:
        named = [
            {"name": name, "parts": [asdict(part) for part in parts]} for name, parts in profiles.items()
        ]
        print(json.dumps(named, indent=1))
    else:
        print_profiles(profiles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    line = commands.add_parser("line", help="step time against depth, and a line through it")
    line.add_argument("--rounds", type=int, default=7, help="interleaved rounds [7]")
    line.add_argument("--steps", type=int, help="steps in a round [2, on a GPU 50]")
    line.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    operations = commands.add_parser("operations", help="the time of each operation of a step, on the CPU")
    operations.add_argument("--steps", type=int, default=8, help="steps to time [8]")
    for command in (line, operations):
        command.add_argument("--depths", default="8,20,56" if command is line else "20", help="e.g. 20,56")
        command.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    try:
        depths = [check_depth(depth) for depth in parse_depths(arguments.depths)]
        if arguments.command == "line" and len(set(depths)) < 2:
            parser.error("a line needs two depths or more, e.g. --depths 8,20,56,110")
        show = show_lines if arguments.command == "line" else show_operations
        show(arguments, depths)
    except ResdegError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
