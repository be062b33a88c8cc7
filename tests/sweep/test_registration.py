"""What a sweep is registered with, by whom it is kept, and what never gets a registration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.analysis.rules import registered_rules
from resdeg.config import ArmConfig, SweepConfig, read_toml, resolve, validate
from resdeg.report.text import describe_registration
from resdeg.store import SweepStore
from resdeg.sweep.plan import Plan
from resdeg.sweep.registration import registered
from tests.planted import CELLS, planted, unregister

ROOT = Path(__file__).parents[2]
SMALL = ("--depths", "8", "--families", "plain")


def registration(folder: Path) -> dict[str, Any] | None:
    return tomllib.loads((folder / "sweep.toml").read_text()).get("registration")


def test_a_sweep_is_registered_before_its_first_step(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """A limit that leaves no time to train: the registration stands, and no run has begun."""
    done = resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-2", "--out", "out", "--time-limit", "1s")
    rules = registered_rules()
    assert done.returncode == 0, done.stderr
    store = SweepStore(tmp_path / "out")
    assert store.run_ids() == []
    settings = getattr(store.planned(), "settings_id", "")
    assert registration(tmp_path / "out") == {
        "version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3,
        "grid": {"families": ["plain"], "depths": [8], "seeds": [0, 1, 2], "settings": settings},
    }  # fmt: skip
    assert (
        f"rules   version 2 of 2026-11-26 ({rules.sha256[:12]}), fixed before the first step" in done.stderr
    )
    assert resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-2", "--out", "out").returncode == 0
    assert "The rules were fixed before the first step" in resdeg("report", "out").stdout


def test_a_published_folder_that_is_swept_again_stays_younger(resdeg, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results" / "delay", tmp_path / "demo")
    for _ in range(2):
        done = resdeg("sweep", "demo/sweep.toml", "--out", "demo")
        assert done.returncode == 0, done.stderr
        assert "nothing to train" in done.stderr
        assert registration(tmp_path / "demo") is None
    said = resdeg("report", "demo").stdout
    assert "The rules (version 2, 2026-11-26, SHA-256 26ce94cd9902) are younger than these records." in said
    for form in ("report.md", "report.html"):
        assert "are younger than these records" in (tmp_path / "demo" / form).read_text()


def test_records_that_were_set_aside_are_records(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    arguments = ("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    resdeg(*arguments)
    unregister(tmp_path / "out")
    assert resdeg(*arguments, "--fresh").returncode == 0
    assert (tmp_path / "out" / "set-aside").is_dir()
    assert registration(tmp_path / "out") is None


@pytest.mark.slow
def test_a_build_with_another_margin_keeps_what_the_sweep_began_with(
    resdeg, tiny_toml: Path, tmp_path: Path
) -> None:
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    begun = registration(tmp_path / "out")
    shutil.copytree(
        ROOT / "resdeg", tmp_path / "build" / "resdeg", ignore=shutil.ignore_patterns("__pycache__")
    )
    rules = tmp_path / "build" / "resdeg" / "analysis" / "rules.toml"
    rules.write_text(rules.read_text().replace("margin = 0.01\n\n[[C1.parts]]", "margin = 0\n\n[[C1.parts]]"))

    def build(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "resdeg", *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "build")}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )

    went_on = build("sweep", tiny_toml, *SMALL, "--seeds", "0-1", "--out", "out")
    assert registration(tmp_path / "out") == begun
    assert "it is kept, although this resdeg has other rules" in went_on.stderr
    assert (
        "This sweep was begun under other rules (version 2, 2026-11-26, SHA-256 "
        in build("report", "out").stdout
    )
    assert "begun under other rules" not in resdeg("report", "out").stdout


def test_the_plan_is_registered_anew_until_a_run_has_begun(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """A mistaken plan that trained nothing binds nobody."""
    wide = ("--depths", "2,8", "--families", "plain", "--seeds", "0-6")
    resdeg("sweep", tiny_toml, *wide, "--out", "out", "--time-limit", "1s")
    assert SweepStore(tmp_path / "out").run_ids() == []
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    begun = registration(tmp_path / "out") or {}
    assert (begun["seeds"], begun["grid"]["depths"]) == (1, [8])


def register(store: SweepStore) -> SweepConfig:
    """Registers the plan of a planted sweep, as `resdeg sweep` does before its first step."""
    config, runs = store.planned(), store.folder / "runs"
    assert config is not None
    runs.rename(store.folder / "later")
    config = registered(config, store)
    (store.folder / "later").rename(runs)
    store.plan.write_text(config.to_toml())
    return config


def plan(store: SweepStore, **grid: object) -> SweepFrame:
    """Plans another grid in the folder and reads what it holds then."""
    config = store.planned()
    assert config is not None
    store.plan.write_text(registered(config.model_copy(update=grid), store).to_toml())
    return load_sweep(store.folder)


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ({}, ""),
        ({"depths": (8, 20, 26)}, " Added after the first step: depth 26."),
        ({"depths": (2, 14), "seeds": (0, 1, 2, 3)}, " Added after the first step: depths 2 and 14; seed 3."),
        ({"arms": {"low": ArmConfig(training={"lr": 0.05})}}, " Added after the first step: the arm low."),
    ],
)
def test_what_is_added_to_the_plan_is_named(grid: dict[str, object], line: str, tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    register(store)
    said = describe_registration(plan(store, **grid))
    assert said.startswith("The rules were fixed before the first step (version 2, ")
    assert said.partition(").")[2] == line


def test_seeds_that_are_added_to_an_arm_are_named(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, arms={"low": {"seeds": [0], "training": {"lr": 0.05}}})
    register(store)
    arms = {"renamed": ArmConfig(seeds=(0, 1, 2), training={"lr": 0.05})}
    assert describe_registration(plan(store, arms=arms)).endswith(
        "first step: seeds 1 and 2 of the arm renamed."
    )


def test_seeds_that_are_added_to_an_older_registration_are_counted(tmp_path: Path) -> None:
    """It has the number of seeds, and no list of them."""
    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 2}
    store = planted(tmp_path / "s", CELLS, registration=table)
    assert describe_registration(load_sweep(tmp_path / "s")).endswith(
        "). Added after the first step: 1 seed."
    )
    assert describe_registration(plan(store, seeds=(0, 1))).endswith(").")


@pytest.mark.parametrize("grid", [{"seeds": (0, 2)}, {"depths": (8,)}, {"families": ("plain",)}])
def test_a_run_that_was_registered_never_leaves_the_plan(grid: dict[str, object], tmp_path: Path) -> None:
    """Otherwise the runs that please could be chosen by what came out; a seed that is exchanged is added."""
    store = planted(tmp_path / "s", CELLS)
    config = register(store)
    evidence = Evidence(plan(store, **grid))
    assert {run.run_id for run in evidence.config.grid()} == {run.run_id for run in config.grid()}
    assert evidence.interim is None
    shutil.rmtree(store.run(config.grid()[-1].run_id).folder)
    evidence = Evidence(load_sweep(store.folder))
    assert evidence.interim == "interim, 2 of 3 seeds"
    assert "missing" in set(evidence.sweep.runs["status"])


def test_earlier_results_that_were_set_aside_are_named(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    register(store)
    assert load_sweep(store.folder).notes == []
    run_id = store.run_ids()[0]
    shutil.copytree(store.run(run_id).folder, tmp_path / "again")
    store.set_aside(run_id)
    (tmp_path / "again").rename(store.run(run_id).folder)
    (note,) = load_sweep(store.folder).notes
    assert note == "copies of runs that were set aside and count for nothing: 1"


def test_a_witness_depth_is_named_before_the_first_step_or_not_at_all(
    resdeg, tiny_toml: Path, tmp_path: Path
) -> None:
    deep = ("--depths", "2,8,14", "--families", "plain", "--seeds", "0", "--steps", "2")
    named = ("--set", "claims.depth=8")
    resdeg("sweep", tiny_toml, *deep, "--out", "named", *named)
    assert registration(tmp_path / "named")["depth"] == 8
    assert "Depth 8 was named before the first step." in resdeg("report", "named").stdout
    resdeg("sweep", tiny_toml, *deep, "--out", "late")
    late = ("--depths", "2,8,14", "--families", "plain", "--seeds", "0-1", "--steps", "2")
    done = resdeg("sweep", tiny_toml, *late, "--out", "late", *named)
    assert "claims.depth = 8 comes too late: the witness depth stays none" in done.stderr
    assert "depth" not in registration(tmp_path / "late")
    for depth in ("2", "14", "20"):
        refused = resdeg("sweep", tiny_toml, *deep, "--out", "x", "--set", f"claims.depth={depth}")
        assert refused.returncode == 2
        assert f"claims.depth = {depth} is not a planned depth with a block" in refused.stderr


def test_one_more_run_joins_and_registers_nothing_anew(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    before = (tmp_path / "out" / "sweep.toml").read_text()
    done = resdeg("train", tiny_toml, "--depth", "8", "--seed", "1", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "sweep.toml").read_text() == before


def test_a_registration_is_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3, "depth": 8}
    bare = planted(tmp_path / "bare", CELLS)
    with_it = planted(tmp_path / "with", CELLS, registration=table, claims={"depth": 8})
    assert bare.run_ids() == with_it.run_ids()
    read = validate(SweepConfig, {"s": read_toml(with_it.plan)})
    assert read.registration is not None
    assert (read.registration.depth, read.claims.depth) == (8, 8)


# ---------------------------------------------------------------- what is needed to go on in place

ARM = {"more": {"families": "plain", "depths": [20], "training": {"lr": 0.05}}}


@pytest.mark.parametrize("order", ["depth", "seed"])
def test_the_order_of_the_runs(order: str, tmp_path: Path) -> None:
    config = resolve(
        None, {}, [],
        {"depths": [8, 20], "families": "plain", "seeds": [3, 1], "arms": ARM, "execution": {"order": order}},
    )  # fmt: skip
    names = [(run.seed, run.depth, run.training.lr) for run in Plan.load(config, SweepStore(tmp_path)).todo]
    if order == "seed":
        grid = [(3, 20, 0.1), (3, 8, 0.1), (1, 20, 0.1), (1, 8, 0.1)]
        assert names == [*grid, (3, 20, 0.05), (1, 20, 0.05)], "the arms come after the grid"
    else:
        assert [depth for _, depth, _ in names] == [20, 20, 20, 20, 8, 8]


def test_sweep_toml_is_enough_to_go_on_in_place(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    more = ("--set", "execution.order=seed", "--set", "execution.snapshots=1", "--seeds", "0-1")
    resdeg("sweep", tiny_toml, *SMALL, *more, "--out", "out", "--time-limit", "1s")
    text = (tmp_path / "out" / "sweep.toml").read_text()
    done = resdeg("sweep", "out/sweep.toml", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "seed by seed" in done.stderr
    assert len(list((tmp_path / "out").glob("runs/*/snapshots/*.safetensors"))) == 2
    assert (tmp_path / "out" / "sweep.toml").read_text() == text


def test_a_sweep_ends_with_where_the_peak_is_once_networks_have_learnt(
    resdeg, tiny_toml: Path, tmp_path: Path
) -> None:
    for steps, line in (
        (3, "no plain network with a block has learnt yet, so their curve is noise: none is"),
        (32, "peak of the plain curve: best trained: 8 (1 seed: no interval)"),
    ):
        out = f"out{steps}"
        grid = ("--depths", "2,8", "--seeds", "0", "--steps", str(steps))
        done = resdeg("sweep", tiny_toml, *grid, "--out", out)
        assert done.stderr.rstrip().splitlines()[-1] == "curve:"
        assert line in done.stdout.splitlines(), done.stdout
