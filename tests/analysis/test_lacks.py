"""What a claim needs, what the sweep has, and how to get it: each kind of sweep that lacks something."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import judge_claims
from resdeg.analysis.lacks import describe_depths, describe_seeds
from resdeg.config import resolve
from tests.planted import Cells, planted

GOOD = [0.70, 0.71, 0.72]
ADOPTED = {"source": "mine", "schedule_known": False}


def read_needs(folder: Path, accuracy: Cells, **tables: object) -> dict[str, str]:
    planted(folder, accuracy, **tables)
    return {finding.claim.id: str(finding.needs) for finding in judge_claims(Evidence(load_sweep(folder)))}


@pytest.mark.parametrize(
    ("depths", "shares", "there"),
    [
        ((), False, "this sweep plans no depth with a block (depth 2 has none)"),
        ((8,), False, "the only depth with a block that this sweep plans is 8"),
        ((8, 20), True, "the depths with a block that this sweep and these arms share are 8 and 20"),
    ],
)
def test_depths_that_are_missing(depths: tuple[int, ...], shares: bool, there: str) -> None:
    said = describe_depths(resolve(None, {}, [], {}), depths, shares=shares)
    assert said == f"{there}. For example, --depths 8,20,56 trains such networks"


def test_seeds_that_are_planned_are_not_asked_for_again() -> None:
    config = resolve(None, {}, [], {"seeds": [0, 1, 2]})
    assert describe_seeds(config, 3, needed="that ended", count=0) == "3 seeds that ended; there are none"
    assert describe_seeds(config, 3, needed="that ended", count=1) == "3 seeds that ended; there is 1"


def test_a_sweep_of_one_family(tmp_path: Path) -> None:
    needs = read_needs(tmp_path / "s", {("residual", 8): GOOD, ("residual", 20): GOOD})
    lack = "this sweep has residual networks only. Without --families it trains both families"
    for claim in ("C1", "C2", "C4", "C5", "C6", "C10"):
        assert needs[claim].endswith(f"; {lack}"), claim


@pytest.mark.parametrize("claim", ["C5", "C8", "C9", "C10"])
def test_the_settings_that_are_named_are_enough(claim: str, tmp_path: Path) -> None:
    """A sweep that was planned as the reason says is asked: what it lacks then is runs, and no plan."""
    accuracy = {(family, depth): GOOD for family in ("plain", "residual") for depth in (8, 14, 20)}
    needs = read_needs(tmp_path / "s", accuracy)[claim]
    settings = re.findall(r"--set (\S+)", needs)
    assert settings
    config = resolve(None, {}, settings, {"depths": [8, 14, 20], "training": {"epochs": 2}})
    with_them = replace(load_sweep(tmp_path / "s"), config=config)
    (finding,) = (finding for finding in judge_claims(Evidence(with_them)) if finding.claim.id == claim)
    assert "--set" not in str(finding.needs)


def test_six_units_are_added_to_the_depths_of_a_sweep(tmp_path: Path) -> None:
    accuracy = {(family, depth): GOOD for family in ("plain", "residual") for depth in (2, 8, 20)}
    unit = {"block": "stargan", "layout": "isotropic"}
    needs = read_needs(tmp_path / "s", accuracy, model=unit)
    assert needs["C9"].endswith(
        "; this sweep does not plan depth 14. The same command with --depths 2,8,14,20 trains them"
    )


@pytest.mark.parametrize(
    ("snapshots", "advice"),
    [
        (3, "`resdeg diagnose` measures them"),
        (2, "A new sweep with --set execution.snapshots=3 takes them, and `resdeg diagnose` measures them"),
    ],
)
def test_snapshots_that_the_sweep_takes_are_not_asked_for(
    snapshots: int, advice: str, tmp_path: Path
) -> None:
    accuracy = {("residual", depth): GOOD for depth in (8, 20)}
    arms = {"linear": {"families": "residual", "model": {"inner_activation": "none"}}}
    needs = read_needs(tmp_path / "s", accuracy, arms=arms, execution={"snapshots": snapshots})
    assert needs["C8"].endswith(f"; they were measured at 0. {advice}")


def test_weights_of_others_are_not_to_be_trained(tmp_path: Path) -> None:
    """Nobody can add a depth, a seed or an arm to them by a command."""
    needs = read_needs(tmp_path / "s", {("plain", 20): [0.7], ("plain", 32): [0.6]}, adopted=ADOPTED)
    assert needs["C1"].endswith("are 20 and 32")
    assert needs["C2"].endswith("; there is 1")
    assert needs["C5"].endswith("; this sweep has none")


def test_a_witness_that_no_arm_has(tmp_path: Path) -> None:
    arms = {
        "identity": {"families": "plain", "depths": [8, 56], "model": {"init": "dirac-mixed", "dirac": 1.0}},
        "orthogonal": {"families": "plain", "depths": [8, 56], "model": {"init": "orthogonal"}},
    }
    begun = {"version": 2, "date": "2026-11-26", "sha256": "0" * 64, "seeds": 3, "depth": 20}
    accuracy = {("plain", depth): GOOD for depth in (8, 20, 56)}
    needs = read_needs(tmp_path / "s", accuracy, arms=arms, registration=begun)
    assert needs["C10"] == (
        "the witness that was named before the first step, depth 20, in all of its networks; these have "
        "depths 8 and 56"
    )


def test_arms_that_end_before_the_deepest(tmp_path: Path) -> None:
    arms = {
        "identity": {"families": "plain", "depths": [8, 20], "model": {"init": "dirac-mixed", "dirac": 1.0}},
        "orthogonal": {"families": "plain", "depths": [8, 20], "model": {"init": "orthogonal"}},
    }
    needs = read_needs(tmp_path / "s", {("plain", depth): GOOD for depth in (8, 20, 56)}, arms=arms)
    assert (
        ", at depth 56, too; the depths with a block that this sweep and these arms share are 8 and 20"
        in (needs["C10"])
    )
    del arms["orthogonal"]
    needs = read_needs(tmp_path / "t", {("plain", depth): GOOD for depth in (8, 20, 56)}, arms=arms)
    assert "this sweep has no arm of networks that start with orthogonal values. " in needs["C10"]
