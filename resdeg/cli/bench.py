"""`resdeg bench`: images per second of the engine beside two other loops."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen
from resdeg.config import check_depth, parse_depths
from resdeg.errors import UsageError, did_you_mean
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.bench.contenders import DeviceName, Precision
    from resdeg.bench.measure import Line, Ratio
    from resdeg.bench.profile import Part


def bench(
    depths: Annotated[str, typer.Option(help="Depths of the residual networks, e.g. 20,56.")] = "20",
    pairs: Annotated[int, typer.Option(min=1, max=1000, help="Interleaved pairs of blocks.")] = 7,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Steps in a block.", show_default="8, on a GPU 200"),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu or cuda.", autocompletion=options.one_of("cpu", "cuda"))
    ] = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Two settings of the textbook loop, fewer rivals, 3 pairs.")
    ] = False,
    against_depth: Annotated[
        bool, typer.Option("--line", help="Instead: step time against depth (two or more --depths), a line.")
    ] = False,
    operations: Annotated[
        bool, typer.Option("--profile", help="Instead: where the time of a step goes, by operation.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure training steps on this CPU or GPU, paired and interleaved (about 5 minutes on 2 cores)."""
    from resdeg.bench.contenders import Contender
    from resdeg.bench.lineup import lineup
    from resdeg.bench.measure import best_textbook, compare, line, machine
    from resdeg.bench.profile import profile
    from resdeg.bench.running import has_bf16
    from resdeg.sweep.estimate import count_cores
    from resdeg.sweep.workers.process import start_server

    asked = [check_depth(depth) for depth in parse_depths(depths)]
    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device: '{device}' is not cpu or cuda", did_you_mean(device, ("cpu", "cuda")))
    on: DeviceName = "cuda" if device == "cuda" else "cpu"
    if on == "cuda" and operations:
        raise UsageError("--profile times operations one after another: a GPU does not", "give --device cpu")
    if steps is None:
        steps = 8 if on == "cpu" else 200
    start_server()
    cores = count_cores()
    pairs = min(pairs, 3) if quick else pairs
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16(on) else ["fp32"]
    if operations:
        engines = [
            Contender(
                name=f"residual-{depth} {precision}, one thread",
                kind="engine", threads=1, precision=precision, depth=depth,
            )
            for depth, precision in itertools.product(asked, precisions)
        ]  # fmt: skip
        _show_profiles({engine.name: profile(engine, steps) for engine in engines}, as_json)
        return
    if against_depth:
        if len(set(asked)) < 2:
            raise UsageError("--line needs two depths or more", "write e.g. --line --depths 8,20,56,110")
        block = max(1, steps // 4)
        _show_lines([line(asked, precision, pairs, block, on) for precision in precisions], as_json)
        return
    here = machine(cores, precisions, on)
    reference = best_textbook(cores, min(steps, 50), quick, screen.say, on)
    measured = {}
    for depth in asked:
        at_depth = reference.model_copy(update={"depth": depth})
        screen.say(f"depth {depth}: {pairs} interleaved pairs against {reference.name}")
        measured[depth] = compare(at_depth, lineup(on, depth, cores, precisions, quick), pairs, steps, here)
    if as_json:
        told = {
            "device": on,
            "cores": cores,
            "gflops": {precision: 2 * rate / 1e9 for precision, rate in here.multiply_adds.items()},
            "copied_gb_per_second": here.bytes / 1e9,
            "reference": reference.name,
            "depths": {depth: [asdict(ratio) for ratio in ratios] for depth, ratios in measured.items()},
        }
        emit(json.dumps(told, indent=1))
        return
    matrix = ", ".join(f"{2 * rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in here.multiply_adds.items())
    units = f"{cores} core(s)" if on == "cpu" else on
    emit(
        f"{units}; matrix product {matrix}; memory {here.bytes / 1e9:.0f} GB/s; batch 128; "
        f"reference: {reference.name}"
    )
    for depth, ratios in measured.items():
        _table(depth, reference.name, ratios)
    if len(precisions) == 1:
        screen.say(f"bf16 is not supported by this {on}, so it was not measured")


def _show_lines(lines: list[Line], as_json: bool) -> None:
    if as_json:
        emit(json.dumps([asdict(one) for one in lines], indent=1))
        return
    for one in lines:
        emit(
            f"{one.precision}, one thread: {one.fixed * 1e3:.1f} ms and {one.per_layer * 1e3:.2f} ms per "
            f"layer, R^2 {one.r_squared:.5f}"
        )
        for depth, seconds in zip(one.depths, one.seconds, strict=True):
            fitted = one.fixed + one.per_layer * depth
            emit(f"  depth {depth:>4}: {seconds * 1e3:>7.1f} ms/step, line {fitted * 1e3:>7.1f}")


def _show_profiles(profiles: dict[str, list[Part]], as_json: bool) -> None:
    if as_json:
        told = [{"name": name, "parts": [asdict(part) for part in parts]} for name, parts in profiles.items()]
        emit(json.dumps(told, indent=1))
        return
    for name, parts in profiles.items():
        emit(f"{name}: {sum(part.seconds for part in parts) * 1e3:.1f} ms/step")
        for part in parts:
            emit(
                f"  {part.name:24} {part.calls:>4.0f} calls {part.seconds * 1e3:>8.2f} ms {part.share:>6.1%}"
            )


def _table(depth: int, reference: str, ratios: list[Ratio]) -> None:
    pairs = ratios[0].pairs
    emit(
        f"residual-{depth}: {pairs} pairs, median of ratios, 95 % interval, shares of the rate of the "
        "matrix product and of the memory floor"
    )
    emit(
        f"{'loop':40} {'images/s':>9} {'ms/step':>8} {'ratio':>6}  {'interval':14} {'matrix':>6} "
        f"{'floor':>6} {'memory':>8}"
    )
    speed = ratios[0].reference_images_per_second
    emit(f"{reference:40} {speed:>9.0f} {128 / speed * 1e3:>8.0f} {1:>6.2f}")
    for r in ratios:
        emit(
            f"{r.name:40} {r.images_per_second:>9.0f} {r.step_seconds * 1e3:>8.0f} {r.ratio:>6.2f}  "
            f"{f'{r.low:.2f} to {r.high:.2f}':14} {r.matrix_share:>6.1%} {r.floor_share:>6.1%} "
            f"{size(r.peak_bytes):>8}"
        )
