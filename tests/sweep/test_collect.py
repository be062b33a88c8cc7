"""`resdeg collect`: shards in any order are the whole sweep; plans, folders and locks; the command."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from resdeg.errors import BusyError, UsageError
from resdeg.locks import is_locked
from resdeg.records import Environment, Segment
from resdeg.store import SweepStore, open_run
from resdeg.sweep.collect import collect_runs
from tests.planted import planted
from tests.sweep.shared_out import RUNS, change, contents, cut_the_end, split

MANY = {(family, depth): [0.5 + seed / 100 for seed in range(10)]
        for family in ("plain", "residual") for depth in (8, 20)}  # fmt: skip


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("order", range(3))
def test_eight_shards_in_any_order_are_the_whole_sweep(tmp_path: Path, order: int) -> None:
    whole = planted(tmp_path / "whole", MANY)
    shards = split(whole, 8, tmp_path)
    random.Random(order).shuffle(shards)
    before = [contents(shard) for shard in shards]
    collected = collect_runs(shards, tmp_path / "all")
    assert contents(tmp_path / "all") == contents(whole.folder)
    assert collected.ended == len(collected.states) == len(collected.copied) == 40
    assert {*collected.copied.values()} == {*shards}
    assert (collected.problems, collected.damaged, collected.present) == ([], [], [])
    assert before == [contents(shard) for shard in shards], "nothing is taken away"
    again = collect_runs(shards, tmp_path / "all")
    assert (len(again.copied), len(again.present)) == (0, 40)
    assert contents(tmp_path / "all") == contents(whole.folder)


def test_shards_come_in_one_by_one_and_the_folder_is_a_sweep_from_the_first(
    whole: SweepStore, shards: list[Path], tmp_path: Path
) -> None:
    counts = [collect_runs([shard], tmp_path / "all").ended for shard in shards]
    assert counts == sorted(counts)
    assert counts[-1] == RUNS
    assert contents(tmp_path / "all") == contents(whole.folder)


def test_night_after_night_they_differ_in_what_they_differ_in_at_once(
    whole: SweepStore, shards: list[Path], tmp_path: Path
) -> None:
    """The runs of the first night are there before, and no folder of the second night has them."""
    for number, shard in enumerate(shards):
        for run_id in SweepStore(shard).run_ids():
            segment = Segment(
                from_step=0, semantics=1, data_hash="d", resdeg="1", python="3", torch="2", numpy="2",
                device="cpu", processor=f"host {number}", threads=1,
            )  # fmt: skip
            environment = Environment(segments=(segment,))
            (shard / "runs" / run_id / "environment.json").write_text(environment.to_json())
    at_once = collect_runs(shards, tmp_path / "at-once")
    assert "the runs differ in processor" in "".join(at_once.mixed)
    nights = [collect_runs([shard], tmp_path / "all") for shard in shards]
    assert nights[-1].mixed == at_once.mixed
    assert [len(night.copied) + len(night.present) for night in nights] == [night.ended for night in nights]


def test_a_shard_can_take_the_others_in(whole: SweepStore, shards: list[Path]) -> None:
    first, *others = shards
    collected = collect_runs([*shards, *others], first)
    assert collected.ended == RUNS
    assert contents(first) == contents(whole.folder), "it is no shard any more"


def test_another_run_of_the_same_settings_comes_too_and_one_of_others_is_named(
    whole: SweepStore, shards: list[Path], tmp_path: Path
) -> None:
    other = planted(tmp_path / "other", {("plain", 8): [0.5]}, training={"epochs": 3})
    more = planted(tmp_path / "more", {("plain", 14): [0.5]})
    for store in (other, more):
        (run_id,) = store.run_ids()
        shutil.copytree(store.run(run_id).folder, shards[0] / "runs" / run_id)
    run_id = whole.run_ids()[0]
    source = next(shard for shard in shards if (shard / "runs" / run_id).exists())
    shutil.copytree(source / "runs" / run_id, shards[1] / "runs" / f"{run_id} (copy)")
    (shards[2] / "runs" / "notes.txt").write_text("mine")
    collected = collect_runs(shards, tmp_path / "all")
    assert {*SweepStore(tmp_path / "all").run_ids()} == {*whole.run_ids(), *more.run_ids()}
    assert collected.damaged == [], "the plan lacks nothing"
    assert len(collected.problems) == 3
    problems = "\n".join(collected.problems)
    for text in (
        f"{other.run_ids()[0]}: its settings are not those of this sweep",
        "(copy)/config.json: identity mismatch", "notes.txt: is no folder of a run",
    ):  # fmt: skip
        assert text in problems


# ---------------------------------------------------------------- plans, folders, locks


def test_another_plan_is_refused_with_what_is_different(
    whole: SweepStore, shards: list[Path], tmp_path: Path
) -> None:
    def refused(*sources: Path, out: str = "all") -> str:
        with pytest.raises(UsageError) as error:
            collect_runs(sources, tmp_path / out)
        return error.value.what

    other = planted(tmp_path / "other", {("plain", 8): [0.5]}, training={"epochs": 3})
    said = refused(shards[0], other.folder)
    assert said.startswith(f"{shards[0]} and {other.folder} hold different plans: ")
    assert f"depths is [8, 20] in {shards[0]} and [8] in {other.folder}" in said
    assert f"training.epochs is 2 in {shards[0]} and 3 in {other.folder}" in said
    with (shards[1] / "sweep.toml").open("a") as stream:
        stream.write('[registration]\nversion = 1\ndate = "2026-01-01"\nsha256 = "0"\nseeds = 3\n')
    said = refused(*shards)
    assert f"registration.version is none in {shards[0]} and 1 in {shards[1]}" in said
    assert "hold different plans" in refused(shards[0], out="other")
    assert not (tmp_path / "all").exists()


def test_a_folder_that_is_no_sweep_is_refused(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    for name, says in (("nowhere", "does not exist"), ("empty", "holds no sweep")):
        if name == "empty":
            (tmp_path / name).mkdir()
        with pytest.raises(UsageError, match=says):
            collect_runs([*shards, tmp_path / name], tmp_path / "all")
    with pytest.raises(UsageError, match="nothing to collect besides"):
        collect_runs([whole.folder], whole.folder)
    (shards[0] / "sweep.toml").unlink()
    with pytest.raises(UsageError, match=r"holds runs and no plan"):
        collect_runs(shards[1:], shards[0])
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("busy", ["source", "target", "run"])
def test_a_folder_that_is_written_is_refused(
    whole: SweepStore, shards: list[Path], tmp_path: Path, busy: str
) -> None:
    collect_runs(shards[:1], tmp_path / "all")
    there = contents(tmp_path / "all")
    run_id = SweepStore(shards[1]).run_ids()[0]
    run = SweepStore(shards[1]).run(run_id)
    owner = {
        "source": SweepStore(shards[1]).owned(), "target": SweepStore(tmp_path / "all").owned(),
        "run": open_run(run, run.config()),
    }[busy]  # fmt: skip
    with owner, pytest.raises(BusyError) as error:
        collect_runs(shards, tmp_path / "all")
    assert str(shards[1] if busy != "target" else tmp_path / "all") in error.value.what
    assert contents(tmp_path / "all") == there


def test_it_waits_where_it_is_asked_to(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    owner = SweepStore(shards[1]).owned()
    owner.__enter__()
    said: list[str] = []

    def wait(busy: str) -> None:
        said.append(busy)
        owner.__exit__(None, None, None)

    assert collect_runs(shards, tmp_path / "all", waiting=wait).ended == RUNS
    assert len(said) == 1
    assert f"{shards[1]} is busy" in said[0]


@pytest.mark.parametrize("turn", [1, -1])
def test_two_that_collect_from_each_other_do_not_wait_for_ever(shards: list[Path], turn: int) -> None:
    """Both lock the same folder first, so the one that waits holds nothing that the other needs."""
    first, second = shards[:2]
    owner = SweepStore(first).owned()
    owner.__enter__()
    locked: list[bool] = []

    def wait(busy: str) -> None:
        locked.append(is_locked(second / "lock"))
        owner.__exit__(None, None, None)

    source, target = (first, second)[::turn]
    collect_runs([source], target, waiting=wait)
    assert locked == [False]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_sources_that_are_read_only_are_read(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    for shard in shards:
        shard.chmod(0o555)
    try:
        assert collect_runs(shards, tmp_path / "all").ended == RUNS
    finally:
        for shard in shards:
            shard.chmod(0o755)


# ---------------------------------------------------------------- the command


def test_the_command_says_what_it_did(resdeg, whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    done = resdeg("collect", *shards[:3], "--out", "all")
    assert done.returncode == 0, done.stderr
    ended = len(SweepStore(tmp_path / "all").run_ids())
    assert done.stdout == f"all: {ended} of {RUNS} runs have ended; {ended} copied, 0 were there before\n"
    assert "train what is missing with: resdeg sweep all" in done.stderr
    done = resdeg("collect", *shards, "--out", "all", "--json")
    tree = json.loads(done.stdout)
    assert (tree["ended"], tree["copied"], tree["present"]) == (RUNS, RUNS - ended, ended)
    assert {run["state"] for run in tree["runs"]} == {"finished"}
    assert {run["copied_from"] for run in tree["runs"]} == {None, str(shards[3])}
    assert resdeg("status").stdout.startswith(f"all: {RUNS} finished"), "it is the last sweep now"
    assert resdeg("plot").returncode == 0


def test_the_command_leaves_with_the_codes_of_the_documentation(
    resdeg, whole: SweepStore, shards: list[Path]
) -> None:
    assert resdeg("collect", *shards).returncode == 2, "--out has no default"
    done = resdeg("collect", *shards, "nowhere", "--out", "all")
    assert (done.returncode, done.stdout) == (2, "")
    run_id = SweepStore(shards[0]).run_ids()[0]
    cut_the_end(shards[0] / "runs" / run_id)
    done = resdeg("collect", *shards, "--out", "all")
    assert done.returncode == 5
    assert f"left out: {shards[0] / 'runs' / run_id / 'metrics.jsonl'}: damaged" in done.stderr
    assert f"no whole copy of {run_id}" in done.stderr
    with SweepStore(shards[1]).owned():
        done = resdeg("collect", *shards, "--out", "other")
    assert done.returncode == 6
    assert "wait for it (--wait), or leave it out and collect again later" in done.stderr


# ---------------------------------------------------------------- real runs


@pytest.mark.slow
def test_a_real_sweep_in_two_shards_is_the_whole_one(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    grid = ("sweep", tiny_toml, "--depths", "8", "--seeds", "0,1", "--jobs", "1", "--set",
            "execution.snapshots=1")  # fmt: skip
    for options in (("--out", "whole"), ("--shard", "1/2", "--out", "a"), ("--shard", "2/2", "--out", "b")):
        done = resdeg(*grid, *options)
        assert done.returncode == 0, done.stderr
    assert len(SweepStore(tmp_path / "a").run_ids()) == len(SweepStore(tmp_path / "b").run_ids()) == 2

    def comparable(name: str) -> dict[str, object]:
        clocks = (
            "timing.jsonl",
            "environment.json",
            "summary.json",
            "manifest",
            "shard.json",
            "curve",
            "runs.csv",
        )
        found: dict[str, object] = {
            path: content
            for path, content in contents(tmp_path / name).items()
            if not any(clock in path for clock in clocks)
        }
        for run_id in SweepStore(tmp_path / name).run_ids():
            summary = SweepStore(tmp_path / name).run(run_id).summary()
            assert summary is not None
            found[run_id] = {key: value for key, value in summary if not key.endswith("seconds")}
        return found

    damaged, interrupted = SweepStore(tmp_path / "b").run_ids()
    (tmp_path / "b" / "runs" / interrupted / "summary.json").unlink()
    checkpoint = SweepStore(tmp_path / "b").run(damaged).checkpoint()
    assert checkpoint is not None
    weights = checkpoint[0].file
    change(tmp_path / "b" / "runs" / damaged / "checkpoint" / weights, b"\x00", b"\x01")
    done = resdeg("collect", "b", "a", "--out", "all")
    assert done.returncode == 5
    assert f"left out: b/runs/{damaged}: generation" in done.stderr
    assert f"{weights} is damaged\n" in done.stderr
    assert done.stdout == "all: 2 of 4 runs have ended; 3 copied, 0 were there before\n"
    gone_on = resdeg("sweep", "all", "--jobs", "1")
    assert gone_on.returncode == 0, gone_on.stderr
    assert comparable("all") == comparable("whole")
