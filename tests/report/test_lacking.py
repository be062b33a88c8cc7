"""Figures and tables of sweeps that can be loaded and lack what a kind needs: a line says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.store import SweepStore
from tests.planted import CELLS, planted


@pytest.fixture
def diverged(tmp_path: Path) -> SweepStore:
    """A sweep of which every run diverged in its first epoch."""
    store = planted(tmp_path / "diverged", CELLS, diverged={cell: {0, 1, 2} for cell in CELLS})
    for run_id in store.run_ids():
        (store.run(run_id).folder / "metrics.jsonl").unlink()
    return store


@pytest.fixture
def unfinished(tmp_path: Path) -> SweepStore:
    """A sweep with an arm, none of whose runs has ended."""
    arms = {"wide": {"model": {"width": 2.0}}}
    store = planted(tmp_path / "unfinished", CELLS, arms=arms, of_arms={"wide": {"accuracy": CELLS}})
    for run_id in store.run_ids():
        (store.run(run_id).folder / "summary.json").unlink()
    return store


def test_a_sweep_without_epochs_has_no_training_curve(resdeg, diverged: SweepStore) -> None:
    done = resdeg("plot", "diverged", "--kind", "training")
    assert (done.returncode, done.stdout) == (2, "")
    assert "diverged: no run has a record of an epoch\n" in done.stderr
    assert resdeg("plot", "diverged", "--kind", "curve").returncode == 0


@pytest.mark.parametrize("kind", ["curve", "arms"])
@pytest.mark.parametrize("x", ["parameters", "multiply-adds"])
def test_counts_of_runs_that_have_not_ended_are_missed_by_name(
    resdeg, unfinished: SweepStore, kind: str, x: str
) -> None:
    done = resdeg("plot", "unfinished", "--kind", kind, "--x", x)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"unfinished: no run has ended yet, and --x {x} needs the count of one\n" in done.stderr
    assert resdeg("plot", "unfinished", "--kind", kind, "--x", "depth").returncode == 0


@pytest.mark.parametrize("form", ["tex", "md"])
def test_arms_without_a_finished_run_have_no_table(resdeg, unfinished: SweepStore, form: str) -> None:
    done = resdeg("plot", "unfinished", "--kind", "arms", "--out", f"arms.{form}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unfinished: no run is there to tabulate" in done.stderr
    assert not (unfinished.folder.parent / f"arms.{form}").exists()
