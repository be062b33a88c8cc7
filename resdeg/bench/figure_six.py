"""How long Figure 6 of He et al. 2015 takes on this GPU for one seed, computed from measured steps.

`python -m resdeg.bench.figure_six` times captured steps of each of its nine networks, several runs side by
side on streams, and their evaluations. The answer, JSON, is computed from these and not measured as a whole:
checkpoints, the reading of the data and a group that is not full at the end are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from resdeg.bench.contenders import SCORED, Contender, Precision
from resdeg.bench.measure import WARM_UP
from resdeg.bench.running import Running, has_bf16
from resdeg.config import Family
from resdeg.sweep.workers.launch import start_server

STEPS = 64_000  # of each network, in batches of 128
# Images that a run scores: the test images and as many training images after each of 164 epochs, and at the
# end all training images twice and, for the recomputed statistics, once more.
SCORED_BY_A_RUN = 164 * 20_000 + 3 * 50_000
FAMILIES: tuple[Family, Family] = ("plain", "residual")
NETS = [*((family, depth) for depth in (20, 32, 44, 56) for family in FAMILIES), (FAMILIES[1], 110)]

Record = dict[str, Any]


def measure(contender: Contender, training: Running, scoring: Running, steps: int) -> Record:
    """Times `steps` captured steps of every run of the group, and their evaluations, all warmed up."""
    step_seconds = training.seconds(steps) / steps / contender.group
    image_seconds = scoring.seconds(3) / 3 / contender.group / SCORED
    return {
        "family": contender.family,
        "depth": contender.depth,
        "steps": steps * contender.group,
        "step_seconds": step_seconds,
        "image_seconds": image_seconds,
        "training_seconds": STEPS * step_seconds,
        "evaluation_seconds": SCORED_BY_A_RUN * image_seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the times of the nine networks, and their sum, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m resdeg.bench.figure_six", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=100, help="measured steps of each run [100]")
    parser.add_argument("--group", type=int, default=4, help="runs side by side [4]")
    parser.add_argument("--nets", type=int, default=len(NETS), help="how many of the networks [all]")
    options = parser.parse_args(arguments)
    start_server()
    precision: Precision = "bf16" if options.device == "cuda" and has_bf16("cuda") else "fp32"
    contenders = [
        Contender(
            name=f"{family}-{depth}", kind="engine", threads=1, precision=precision,
            graph=options.device == "cuda", group=options.group, device=options.device,
            family=family, depth=depth,
        )
        for family, depth in NETS[: options.nets]
    ]  # fmt: skip
    scorers = [each.model_copy(update={"kind": "score", "graph": False}) for each in contenders]
    everyone = [Running.start(contender) for contender in contenders + scorers]
    training, scoring = everyone[: len(contenders)], everyone[len(contenders) :]
    try:
        for running in everyone:  # Nobody is measured while another one still begins.
            running.seconds(WARM_UP)
        measured = [measure(*each, options.steps) for each in zip(contenders, training, scoring, strict=True)]
    finally:
        for running in everyone:
            running.stop()
    parts = ("training_seconds", "evaluation_seconds")
    print(
        json.dumps(
            {
                "what": "computed from measured steps, not measured as a whole",
                "precision": precision,
                "side_by_side": options.group,
                "nets": measured,
                "minutes_for_one_seed": sum(net[part] for net in measured for part in parts) / 60,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
