"""Shares of a plan: disjoint, whole, balanced, and the same on every machine."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import resdeg
from resdeg.config import RunConfig, resolve
from resdeg.errors import UsageError
from resdeg.models.network import build_model
from resdeg.models.structure import census
from resdeg.store import SweepStore
from resdeg.sweep.destination import resolve_sweep
from resdeg.sweep.plan import Plan
from resdeg.sweep.shards import Shard, choose_share, estimate_work, parse_shard
from tests.planted import ARMS, CELLS, planted

GRID = {"depths": [2, 8, 20, 56], "seeds": [0, 1, 2, 3, 4], "arms": ARMS}


def plan_of(**tables: object) -> tuple[RunConfig, ...]:
    return resolve(None, {}, [], {**GRID, **tables}).runs()


def share_out(runs: tuple[RunConfig, ...], count: int) -> list[set[str]]:
    return [
        {run.run_id for run in choose_share(runs, Shard(number, count))} for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 200])
def test_the_shares_are_the_plan_arms_included(count: int) -> None:
    runs = plan_of()
    shares = share_out(runs, count)
    assert sorted(run_id for share in shares for run_id in share) == sorted(run.run_id for run in runs)
    assert len(runs) == 105
    assert sum(not share for share in shares) == max(0, count - len(runs))


def test_the_order_of_the_plan_and_the_machine_have_no_say(tmp_path: Path) -> None:
    runs = plan_of()
    shares = share_out(runs, 8)
    mixed = list(runs)
    random.Random(0).shuffle(mixed)
    assert share_out(tuple(mixed), 8) == shares
    assert share_out(plan_of(depths=[56, 2, 20, 8], seeds=[4, 2, 0, 1, 3]), 8) == shares
    settings = {"jobs": 7, "device": "cuda", "order": "seed"}
    assert share_out(plan_of(execution=settings), 8) == shares


def test_the_shares_of_a_known_plan_are_those_of_every_version() -> None:
    """Another rule would share out otherwise, and machines with two versions would train some runs twice."""
    runs = resolve(None, {}, [], {"depths": [8, 20], "seeds": [0, 1]}).runs()
    names = [sorted(name.rpartition("-")[0] for name in share) for share in share_out(runs, 3)]
    assert names == [
        ["plain-d20-s0", "residual-d20-s1"], ["plain-d20-s1", "plain-d8-s0", "residual-d8-s0"],
        ["plain-d8-s1", "residual-d20-s0", "residual-d8-s1"],
    ]  # fmt: skip


def test_no_share_takes_much_longer_than_another() -> None:
    runs = plan_of()
    work = {run.run_id: estimate_work(run) for run in runs}
    loads = [sum(work[run_id] for run_id in share) for share in share_out(runs, 8)]
    assert max(loads) < 1.1 * min(loads)
    assert max(loads) - min(loads) <= max(work.values())


def test_what_has_ended_has_no_say(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, missing=5)
    config = store.planned()
    assert config is not None
    plan = Plan.load(config, store, Shard(2, 3))
    assert plan.share == choose_share(config.runs(), Shard(2, 3))
    assert len(plan.states) == 12
    assert 0 < len(plan.todo) < len(plan.share)
    assert {*plan.todo} < {*plan.share}


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_the_price_follows_the_work(family: str, width: float) -> None:
    """Work per image is that of the census, up to projections and the first blocks of later stages."""
    settings = {"depths": [8, 56], "seeds": [0], "families": family, "model": {"width": width}}
    shallow, deep = resolve(None, {}, [], settings).runs()
    counted = [census(build_model(run.family, run.depth, run.model), 32) for run in (shallow, deep)]
    ratio = counted[1].multiply_adds / counted[0].multiply_adds
    assert estimate_work(deep) / estimate_work(shallow) == pytest.approx(ratio, rel=0.25)


def test_a_constructed_run_counts_with_both_networks() -> None:
    arms = resolve(None, {}, [], {**GRID, "arms": {"built": ARMS["constructed"]}})
    grid = {run.depth: estimate_work(run) for run in arms.grid() if run.family == "plain"}
    (built, *_) = arms.arm_sweeps["built"].runs()
    assert estimate_work(built) == pytest.approx((grid[8] + grid[20]) / 2, rel=1e-6)


# ---------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0/8", "from 1 to 8.*an array of jobs that counts from 0 has to begin at 1"),
        ("9/8", "--shard 9/8: shares are counted from 1 to 8\nwrite 1/8 to 8/8$"),
        ("3/0", "at least one share"),
        ("a/b", "--shard a/b is no share of a plan\nwrite 3/8"),
        ("/8", "is a variable in it empty"),
        ("", "--shard '' is no share"),
        ("3", "no share"),
        ("-1/8", "no share"),
        ("3/8/9", "no share"),
        ("1.5/8", "no share"),
        ("٣/8", "no share"),
    ],
)
def test_what_is_no_share_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){says}"):
        parse_shard(text)


def test_a_share_is_read_as_people_write_it() -> None:
    assert parse_shard("3/8") == Shard(3, 8) == parse_shard(" 03 / 8 ")
    assert str(parse_shard("03/08")) == "3/8"


def test_each_share_has_a_default_folder_of_its_own(tmp_path: Path) -> None:
    def named(shard: Shard | None, file: Path | None = None, out: Path | None = None) -> str:
        return str(resolve_sweep(file, {}, [], {}, out=out, shard=shard)[1])

    assert named(Shard(3, 8)) == f"{named(None)}-shard-3-of-8" == "results/local/cifar10-short-shard-3-of-8"
    store = planted(tmp_path / "s", CELLS)
    assert named(Shard(3, 8), store.folder) == str(store.folder), "a shard goes on where it is"
    assert named(Shard(3, 8), out=tmp_path / "t") == str(tmp_path / "t")


def test_the_command_names_the_share_before_anything_is_trained(resdeg, tiny_toml: Path) -> None:
    options = ("sweep", tiny_toml, "--depths", "2,8", "--seeds", "0,1", "--dry-run", "--jobs", "1")
    done = resdeg(*options, "--shard", "2/4")
    assert done.returncode == 0, done.stderr
    assert "plan    6 runs" in done.stderr
    assert "shard 2/4: 2 of them" in done.stderr
    assert "with --seeds 0" not in done.stderr
    assert len(done.stdout.splitlines()) == 3, "a line for each of its runs"
    refused = resdeg(*options, "--shard", "5/4")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "shares are counted from 1 to 4" in refused.stderr
    assert "Traceback" not in refused.stderr


# ---------------------------------------------------------------- what is trained


@pytest.mark.slow
def test_a_shard_trains_its_share_and_says_so(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    grid = ("sweep", tiny_toml, "--depths", "2,8", "--seeds", "0", "--steps", "2", "--jobs", "1")
    done = resdeg(*grid, "--shard", "1/3", "--json")
    assert done.returncode == 0, done.stderr
    tree = json.loads(done.stdout)
    assert tree["shard"] == "1/3"
    assert [run["state"] for run in tree["runs"]] == ["finished"]
    assert "shard 1/3 is done; put all shards together with: resdeg collect" in done.stderr
    folder = tmp_path / "results" / "local" / "tiny-steps-2-shard-1-of-3"
    assert SweepStore(folder).run_ids() == [tree["runs"][0]["run_id"]]
    assert "all 1 runs of shard 1/3 are finished: nothing to train" in resdeg(*grid, "--shard", "1/3").stderr
    said = resdeg("status", folder)
    assert said.stdout.startswith(f"{folder}: shard 1/3, 1 of its 1 runs ended; 2 missing, 1 finished")
    assert "left" not in said.stdout, "what other shards train is not left to this one"
    assert json.loads(resdeg("status", folder, "--json").stdout)["share"] == {
        "shard": "1/3", "runs": 1, "ended": 1,
    }  # fmt: skip
    empty = resdeg(*grid, "--shard", "4/4", "--out", "empty")
    assert empty.returncode == 0
    assert "shard 4/4 is empty, because the plan has 3 runs" in empty.stderr
    assert (tmp_path / "empty" / "sweep.toml").read_bytes() == (folder / "sweep.toml").read_bytes()
    fresh = resdeg(*grid, "--shard", "2/3", "--out", folder, "--fresh")
    assert fresh.returncode == 0
    assert "set aside" not in fresh.stderr, "the run of another share stays"
    whole = resdeg(*grid, "--out", folder)
    assert whole.returncode == 0, whole.stderr
    assert not (folder / "shard.json").exists()
    assert "share" not in json.loads(resdeg("status", folder, "--json").stdout)


@pytest.mark.slow
def test_python_trains_a_share_too(tiny_toml: Path, tmp_path: Path) -> None:
    swept = resdeg.sweep(
        config=tiny_toml, depths=8, seeds=0, steps=2, jobs=1, shard="1/2", out=tmp_path / "out"
    )
    assert sorted(swept.runs["status"]) == ["finished", "missing"]
    with pytest.raises(UsageError, match="from 1 to 2"):
        resdeg.sweep(config=tiny_toml, shard="0/2", out=tmp_path / "out")


def test_a_damaged_note_hides_no_run(resdeg, tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    store.share_note.write_text("{}")
    done = resdeg("status", "s")
    assert done.returncode == 0
    assert done.stdout.startswith("s: 12 finished")
    assert "left out: s/shard.json: damaged" in done.stderr
