"""`resdeg bench`: images per second of the engine beside the textbook loop."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, screen


def bench(
    pairs: Annotated[int, typer.Option(min=1, max=1000, help="Interleaved pairs of blocks.")] = 7,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Steps in a block.")] = 8,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two settings of the textbook loop instead of all; 3 pairs.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Measure ResNet-20 training steps on this CPU, paired and interleaved (about 3 minutes on 2 cores)."""
    from resdeg.bench.contenders import Contender
    from resdeg.bench.measure import best_textbook, compare
    from resdeg.sweep.executors.local import has_bf16, start_server

    start_server()
    cores = options.cores()
    pairs = min(pairs, 3) if quick else pairs
    reference = best_textbook(cores, steps, quick, screen.say)
    precisions = ["fp32", "bf16"] if has_bf16() else ["fp32"]
    engines = [
        Contender(name=f"engine {precision}", kind="engine", threads=cores, precision=precision)
        for precision in precisions
    ]
    screen.say(f"measuring {pairs} interleaved pairs against {reference.name}")
    ratios = compare(reference, engines, pairs, steps)
    if as_json:
        emit(json.dumps([asdict(ratio) for ratio in ratios], indent=1))
        return
    emit(f"residual-20, batch 128, {cores} core(s); reference: {reference.name}")
    emit(f"{'loop':40} {'images/s':>9} {'ratio':>6}  range over {pairs} pairs")
    emit(f"{reference.name:40} {ratios[0].reference_images_per_second:>9.0f} {1:>6.2f}")
    for r in ratios:
        emit(f"{r.name:40} {r.images_per_second:>9.0f} {r.ratio:>6.2f}  {r.low:.2f} to {r.high:.2f}")
    if len(precisions) == 1:
        screen.say("bf16 is not supported by this cpu, so it was not measured")
