"""`resdeg bench`: images per second of the engine compared with two other loops."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.config import check_depth, check_device, parse_depths
from resdeg.errors import ResdegError, UsageError, did_you_mean
from resdeg.report.units import size

if TYPE_CHECKING:
    from resdeg.bench.contenders import Contender, DeviceName, Precision
    from resdeg.bench.measure import Machine, Ratio


ENOUGH = 0.97  # A smaller group with this share of the best speed needs less memory.


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
    as_json: options.AsJson = False,
) -> None:
    """Measure training steps on this CPU or GPU, paired and interleaved (about 5 minutes on 2 cores)."""
    from resdeg.bench.lineup import lineup
    from resdeg.bench.measure import best_textbook, compare, measure_machine
    from resdeg.bench.running import has_bf16
    from resdeg.sweep.machine import count_cores
    from resdeg.sweep.workers.launch import start_server

    checked = [check_depth(depth) for depth in parse_depths(depths)]
    if check_device(device) not in ("cpu", "cuda"):
        raise UsageError(f"--device: '{device}' is not cpu or cuda", did_you_mean(device, ("cpu", "cuda")))
    kind: DeviceName = "cuda" if device == "cuda" else "cpu"
    if steps is None:
        steps = 8 if kind == "cpu" else 200
    start_server()
    cores = count_cores()
    pairs = min(pairs, 3) if quick else pairs
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16(kind) else ["fp32"]
    machine = measure_machine(cores, precisions, kind)
    reference = best_textbook(cores, min(steps, 50), quick=quick, say=screen.say, device=kind)
    measured = {}
    refused: list[dict[str, object]] = []

    def refuse(depth: int, contender: Contender, error: ResdegError) -> None:
        screen.insist(f"depth {depth}: {contender.name} is not measured: {error.what}")
        refused.append({"depth": depth, "name": contender.name, "why": error.what})

    for depth in checked:
        screen.say(f"depth {depth}: {pairs} interleaved pairs against {reference.name}")
        measured[depth] = compare(
            reference.model_copy(update={"depth": depth}),
            lineup(kind, depth, cores=cores, precisions=precisions, quick=quick),
            pairs=pairs,
            steps=steps,
            machine=machine,
            refuse=functools.partial(refuse, depth),
        )
    if kind == "cuda":
        for precision in precisions:
            _remember_best_group(precision, [ratio for ratios in measured.values() for ratio in ratios])
    if as_json:
        facts = {
            "device": kind,
            "cores": cores,
            "gflops": {precision: 2 * rate / 1e9 for precision, rate in machine.multiply_adds.items()},
            "copied_gb_per_second": machine.bytes / 1e9,
            "reference": reference.name,
            "depths": {depth: [asdict(ratio) for ratio in ratios] for depth, ratios in measured.items()},
        }
        emit_json(facts | ({"not_measured": refused} if refused else {}))
    else:
        _print_tables(kind, machine, reference.name, measured)
    if refused:
        raise SystemExit(1)


def _remember_best_group(precision: Precision, ratios: list[Ratio]) -> None:
    """Stores, for `execution.group=auto`, how many runs on streams were fastest in one of the networks."""
    from resdeg.bench.lineup import GROUPS, name_group
    from resdeg.sweep.calibration import remember_group

    speeds = {
        group: ratio.images_per_second
        for ratio in reversed(ratios)  # The first network is the one that is measured in full.
        for group in GROUPS
        if ratio.name == name_group(group, precision)
    }
    if len(speeds) == len(GROUPS):
        remember_group(
            precision, min(g for g, speed in speeds.items() if speed > ENOUGH * max(speeds.values()))
        )


def _print_tables(
    kind: DeviceName, machine: Machine, reference: str, measured: dict[int, list[Ratio]]
) -> None:
    rates = machine.multiply_adds.items()
    matrix = ", ".join(f"{2 * rate / 1e9:.0f} GFLOP/s in {precision}" for precision, rate in rates)
    units = f"{machine.cores} core(s)" if kind == "cpu" else kind
    emit(
        f"{units}; matrix product {matrix}; memory {machine.bytes / 1e9:.0f} GB/s; batch 128; "
        f"reference: {reference}"
    )
    for depth, ratios in measured.items():
        _print_table(depth, reference, ratios)
    if len(machine.multiply_adds) == 1:
        screen.say(f"bf16 is not supported by this {kind}, so it was not measured")


def _print_table(depth: int, reference: str, ratios: list[Ratio]) -> None:
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
    for ratio in ratios:
        interval = f"{ratio.low:.2f} to {ratio.high:.2f}"
        emit(
            f"{ratio.name:40} {ratio.images_per_second:>9.0f} {ratio.step_seconds * 1e3:>8.0f} "
            f"{ratio.ratio:>6.2f}  {interval:14} {ratio.matrix_share:>6.1%} {ratio.floor_share:>6.1%} "
            f"{size(ratio.peak_bytes):>8}"
        )
