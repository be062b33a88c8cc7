"""Every published figure, table and report, from the records beside it: `make figures`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from resdeg.report.kinds import FIGURES

RESULTS = Path(__file__).parents[1] / "results"
SWEEPS = sorted(path.parent for path in RESULTS.glob("**/sweep.toml") if "local" not in path.parts)
ALWAYS = ("curve.csv", "runs.csv", "curve.png", "report.md", "report.html")
RUNNING = "curve-running.png"


def required(folder: Path) -> set[str]:
    """Names of what a published sweep must show; adopted networks have no training to draw."""
    adopted = "adopted" in tomllib.loads((folder / "sweep.toml").read_text())
    return {*ALWAYS} if adopted else {*ALWAYS, "training.png"}


def figures(folder: Path) -> list[str]:
    """Names of those that are there: KIND.png, of an arm KIND-ARM.png, and RUNNING."""
    return sorted(path.name for path in folder.glob("*.png") if path.stem.partition("-")[0] in FIGURES)


def commands(folder: Path, into: Path) -> Iterator[list[str]]:
    """Arguments of resdeg that draw what `folder` shows from the records in `into`."""
    for name in figures(folder):
        kind, _, arm = Path(name).stem.partition("-")
        options = ["--arm", arm] if arm else []
        if name == RUNNING:
            options = ["--evaluation", "running", "--out", str(into / name)]
        yield ["plot", str(into), "--kind", kind, *options]
    yield ["report", str(into)]


if __name__ == "__main__":
    for sweep in SWEEPS:
        for arguments in commands(sweep, sweep):
            subprocess.run([sys.executable, "-m", "resdeg", *arguments], check=True)
