"""A sweep with arms beside its grid: planned, trained, resumed, drawn and measured like any other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import resdeg as package
from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.config import SweepConfig, resolve
from resdeg.errors import UsageError
from tests.conftest import TINY_TOML, Resdeg

ARMS = """
[arms.constructed]
families = "plain"
depths = 14
constructed = { from_depth = 8 }
[arms.identity]
families = "plain"
model = { init = "dirac-mixed", dirac = 1.0 }
[arms.linear]
families = "residual"
depths = 14
model = { inner_activation = "none" }
[arms.long]
families = "plain"
depths = 8
training = { epochs = 3 }
"""
GRID = "depths = [8, 14]\nseeds = [0]\n"


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs of the grid and five of the arms, trained by the command."""
    place = tmp_path_factory.mktemp("arms")
    (place / "arms.toml").write_text(GRID + TINY_TOML + ARMS)
    command = [sys.executable, "-m", "resdeg", "sweep", "arms.toml", "--out", "s"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert "plan    9 runs: 4 of them plain, residual x depths 8, 14 x 1 seed(s)" in done.stderr
    assert "arm     identity: init dirac-mixed, dirac 1; 2 runs: plain x depths 8, 14" in done.stderr
    assert "arm     long: epochs 3; 1 runs: plain x depths 8" in done.stderr
    return place


@pytest.fixture
def place(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_arms_are_read_as_sweeps_of_their_own(place: Path) -> None:
    sweep = package.load(place / "s")
    assert list(sweep.arms) == ["constructed", "identity", "linear", "long"]
    assert len(sweep.runs) == 4
    assert sweep.arms["long"].metrics["epoch"].max() == 3
    assert sweep.arms["identity"].name == "s, identity"
    every = [sweep, *sweep.arms.values()]
    assert len({run_id for each in every for run_id in each.runs["run_id"]}) == 9
    assert all((each.runs["status"] == "finished").all() for each in every)
    assert sweep.config.changes("constructed") == {"constructed": {"from_depth": 8, "share": 0.5, "lr": 0.1}}
    assert sweep.config.changes("linear") == {"model.inner_activation": "none"}


def test_the_tables_name_the_arm(resdeg: Resdeg, place: Path) -> None:
    assert resdeg("plot", "s").returncode == 0
    for name, rows in (("runs", 9), ("curve", None)):
        table = pd.read_csv(place / "s" / f"{name}.csv", keep_default_na=False)
        assert sorted(set(table["arm"])) == ["", "constructed", "identity", "linear", "long"]
        assert rows is None or len(table) == rows


def test_what_is_there_stays_and_what_is_lost_is_trained_again(resdeg: Resdeg, place: Path) -> None:
    done = resdeg("sweep", "arms.toml", "--out", "s")
    assert "all 9 runs are finished" in done.stderr
    arm = package.load(place / "s").arms["identity"]
    lost = arm.runs["run_id"].iloc[0]
    before = (place / "s" / "runs" / lost / "metrics.jsonl").read_bytes()
    shutil.rmtree(place / "s" / "runs" / lost)
    status = resdeg("status", "s").stdout
    assert "1 missing" in status
    assert name_arm(status, lost) == "arm identity"
    assert resdeg("sweep", "arms.toml", "--out", "s").returncode == 0
    assert (place / "s" / "runs" / lost / "metrics.jsonl").read_bytes() == before


def name_arm(shown: str, run_id: str) -> str | None:
    """Returns the last line above that of the run which names an arm."""
    lines = shown.splitlines()
    number = next(number for number, line in enumerate(lines) if line.startswith(run_id))
    return next((line for line in reversed(lines[:number]) if line.startswith("arm ")), None)


def test_a_dry_run_prices_each_arm(resdeg: Resdeg, place: Path) -> None:
    done = resdeg("sweep", "arms.toml", "--out", "new", "--dry-run", "--json")
    priced = {row["run_id"]: row for row in json.loads(done.stdout)["runs"]}
    assert len(priced) == 9
    shown = resdeg("sweep", "arms.toml", "--out", "new", "--dry-run").stdout
    for run_id, row in priced.items():
        assert name_arm(shown, run_id) == (f"arm {row['arm']}" if row["arm"] else None)
    sweep = package.load(place / "s")
    (own,) = sweep.runs.loc[(sweep.runs["family"] == "plain") & (sweep.runs["depth"] == 14), "run_id"]
    (constructed,) = sweep.arms["constructed"].runs["run_id"]
    assert priced[constructed]["arm"] == "constructed"
    assert priced[constructed]["pflop"] < priced[own]["pflop"], "half of it is a shallower net's"
    assert priced[constructed]["parameters"] == priced[own]["parameters"]


def test_arms_are_measured_too(resdeg: Resdeg, place: Path) -> None:
    done = resdeg("diagnose", "s", "--kinds", "identity", "--images", 40, "--depths", "14")
    assert done.returncode == 0, done.stderr
    frame, problems = load_diagnostics(place / "s")
    assert problems == []
    measured = frame[frame["kind"] == "identity"]
    assert set(measured["arm"]) == {"", "constructed", "identity", "linear"}
    of = measured[measured["arm"] == "constructed"]
    assert set(of["state"]) == {"final"}, "it has no initial values of its own"
    construction = frame[frame["kind"] == "construction"]
    assert construction[["arm", "name"]].to_numpy().tolist() == [["constructed", "logit_difference"]]
    assert construction["value"].item() < 1e-4
    only = resdeg("plot", "s", "--kind", "identity")
    assert only.returncode == 0, "of the grid alone"


def test_the_command_line_makes_the_same_arms() -> None:
    base = {"depths": "20", "seeds": "0", "families": "plain"}
    by_flag = resolve(None, {}, ["arms.none.model.norm=none", "arms.none.depths=[20]"], base)
    by_file = resolve(None, {}, [], {**base, "arms": {"none": {"depths": [20], "model": {"norm": "none"}}}})
    assert [run.run_id for run in by_flag.runs()] == [run.run_id for run in by_file.runs()]
    assert [run.model.norm for run in by_flag.runs()] == ["batch", "none"]
    again = SweepConfig.model_validate_json(by_flag.model_dump_json())
    assert again.runs() == by_flag.runs()
    assert again.to_toml() == by_flag.to_toml()


def test_an_arm_that_changes_nothing_is_the_grid() -> None:
    config = resolve(None, {}, ["arms.same.training.lr=0.1"], {"depths": "8", "seeds": "0"})
    assert config.changes("same") == {}
    assert len(config.runs()) == len(config.grid())


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("arms.a.model.nrom=none", "arms.a: unknown key 'model.nrom'"),
        ("arms.a.modle.norm=none", "unknown key 'arms.a.modle'"),
        ("arms.A.model.norm=none", "should match pattern"),
        ("arms.a.training.recipe=demo", "an arm has the recipe of its sweep"),
        ("arms.a.depths=7", "depth=7 is not 6n+2"),
        ("arms.a.constructed.from_depth=8", "arms.a: constructed is for plain networks deeper"),
        ("arms.a.model.last_scale=0.0", "arms.a: model.last_scale is for residual networks"),
    ],
)
def test_a_wrong_arm_is_named(assignment: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve(None, {}, [assignment], {"depths": "20", "seeds": "0"})
    assert told in str(error.value)


def test_a_wrong_key_in_an_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        resolve(None, {}, ["arms.a.familys=plain"], {"depths": "20", "seeds": "0"})
    assert "families" in str(error.value)


def test_a_figure_of_one_arm(resdeg: Resdeg, place: Path) -> None:
    """It says which networks they are, and stands beside the grid's."""
    assert resdeg("diagnose", "s", "--kinds", "responses", "--images", 40).returncode == 0
    done = resdeg("plot", "s", "--kind", "responses", "--arm", "constructed", "--out", "of.svg")
    assert done.returncode == 0, done.stderr
    drawn = (place / "of.svg").read_text()
    assert "constructed from depth 8 after 50 % of the epochs" in drawn
    assert "depth 14" in drawn
    assert "depth 8<" not in drawn
    done = resdeg("plot", "s", "--arm", "identity")
    assert done.stdout == "s/curve-identity.png\n"
    for wrong, says in (
        (("--arm", "identiy"), "did you mean 'identity'?"),
        (("--kind", "arms", "--arm", "identity"), "--kind arms draws every arm"),
    ):
        done = resdeg("plot", "s", *wrong)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
