"""What a sweep is registered with, by whom it is kept, and what never gets a registration."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resdeg.analysis.frame import load_sweep
from resdeg.analysis.rules import registered_rules
from resdeg.config import Registration, SweepConfig, read_toml, resolve, validate
from resdeg.report.text import describe_registration
from resdeg.store import SweepStore
from resdeg.sweep.plan import Plan
from resdeg.sweep.registration import registered
from tests.planted import CELLS, planted

ROOT = Path(__file__).parents[2]
SMALL = ("--depths", "8", "--families", "plain")


def registration(folder: Path) -> dict[str, object] | None:
    return tomllib.loads((folder / "sweep.toml").read_text()).get("registration")


def test_a_sweep_is_registered_before_its_first_step(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """A limit that leaves no time to train: the registration stands, and no run has begun."""
    done = resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-2", "--out", "out", "--time-limit", "1s")
    rules = registered_rules()
    assert done.returncode == 0, done.stderr
    assert SweepStore(tmp_path / "out").run_ids() == []
    assert registration(tmp_path / "out") == {
        "version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3, "depths": [8],
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
    assert "The rules (version 2, 2026-11-26) are younger than these records." in said
    for form in ("report.md", "report.html"):
        assert "are younger than these records" in (tmp_path / "demo" / form).read_text()


def test_records_that_were_set_aside_are_records(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    arguments = ("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    resdeg(*arguments)
    plan = tmp_path / "out" / "sweep.toml"
    plan.write_text(re.sub(r"\[registration\][^[]*", "", plan.read_text()))
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
    assert registration(tmp_path / "out") == {**(begun or {}), "extended_after": 1}
    assert "it is kept, although this resdeg has other rules" in went_on.stderr
    assert (
        "This sweep was begun under other rules (version 2, 2026-11-26, SHA-256 "
        in build("report", "out").stdout
    )
    assert "begun under other rules" not in resdeg("report", "out").stdout


def test_seeds_that_are_added_after_a_report_are_named(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """One of two registered seeds was whole, which ends without a verdict, but with a report of the curve."""
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-1", "--out", "out")
    shutil.rmtree(next((tmp_path / "out" / "runs").glob("*-s1-*")))
    resdeg("report", "out")
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-2", "--out", "out")
    assert registration(tmp_path / "out")["extended_after"] == 1


def test_seeds_that_are_added_to_a_whole_sweep_are_named(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """The sweep itself ended with its verdicts, so no report is needed for a look."""
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-1", "--out", "out", "--time-limit", "1s")
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-2", "--out", "out")
    assert "extended_after" not in registration(tmp_path / "out"), "there was nothing to look at"
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-3", "--out", "out")
    assert registration(tmp_path / "out")["extended_after"] == 3
    assert "The sweep was extended after a look at 3 seeds." in resdeg("report", "out").stdout
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0-4", "--out", "out")
    assert registration(tmp_path / "out")["extended_after"] == 3, "the first look is the one that counts"


def test_a_seed_that_left_the_plan_was_seen_all_the_same(tmp_path: Path) -> None:
    """Three registered seeds are whole; one is taken out of the plan, and then exchanged for a fourth."""
    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3}
    store = planted(tmp_path / "s", CELLS, registration=table)
    config = validate(SweepConfig, {"s": read_toml(store.plan)})
    store.plan.write_text(config.model_copy(update={"seeds": (0, 1)}).to_toml())
    exchanged = registered(config.model_copy(update={"seeds": (0, 1, 3)}), store).registration
    assert exchanged is not None
    assert exchanged.extended_after == 3


def test_the_plan_is_registered_anew_until_a_run_has_begun(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """A mistaken plan that trained nothing binds nobody."""
    wide = ("--depths", "2,8", "--families", "plain", "--seeds", "0-6")
    resdeg("sweep", tiny_toml, *wide, "--out", "out", "--time-limit", "1s")
    assert SweepStore(tmp_path / "out").run_ids() == []
    resdeg("sweep", tiny_toml, *SMALL, "--seeds", "0", "--out", "out")
    begun = registration(tmp_path / "out") or {}
    assert (begun["seeds"], begun["depths"]) == (1, [8])


def test_depths_that_leave_the_plan_or_come_later_are_named(tmp_path: Path) -> None:
    """Which depths claims are asked about could be chosen by what came out."""
    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 3}
    store = planted(tmp_path / "s", CELLS, registration={**table, "depths": [8, 14, 26]})
    config = validate(SweepConfig, {"s": read_toml(store.plan)})
    assert config.depths == (8, 20)
    line = describe_registration(load_sweep(tmp_path / "s"))
    assert "Depths that were registered and are no longer planned: 14 and 26." in line
    assert "Depths that were added after the first step: 20." in line
    store.plan.write_text(config.model_copy(update={"registration": Registration(**table)}).to_toml())
    assert "Depths" not in describe_registration(load_sweep(tmp_path / "s")), "an older sweep has no list"


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
