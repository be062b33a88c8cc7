"""Copies the ended runs of a sweep into a published folder: `make export FROM=SWEEP TO=results/NAME`.

A run that is under way would look different in a clone, and the weights are too large to publish.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from resdeg.store import SweepStore

KEPT_BACK = ("checkpoint", "snapshots", "lock", "lock-owner", "*.tmp-*")


def export(sweep: Path, published: Path) -> list[str]:
    """Copies sweep.toml and what ended runs left, without weights; returns the ids of the runs, sorted."""
    store = SweepStore(sweep)
    ended = [run_id for run_id in store.run_ids() if store.run(run_id).ended()]
    (published / "runs").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(store.plan, published / "sweep.toml")
    for run_id in ended:
        target = published / "runs" / run_id
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(store.run(run_id).folder, target, ignore=shutil.ignore_patterns(*KEPT_BACK))
    return ended


if __name__ == "__main__":
    for run_id in export(Path(sys.argv[1]), Path(sys.argv[2])):
        print(run_id)
