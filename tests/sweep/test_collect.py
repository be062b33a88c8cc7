"""`resdeg collect`: shards in any order are the whole sweep; what differs or is damaged is named."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resdeg import files
from resdeg.errors import BusyError, StorageError, UsageError
from resdeg.records import DiagnosticRecord, Environment, RunSummary, Segment, TimingRecord
from resdeg.store import RunStore, SweepStore, check_run, open_run
from resdeg.sweep.collect import collect_runs
from resdeg.sweep.shards import Shard, choose_share
from tests.planted import CELLS, planted

RUNS = 12
MANY = {(family, depth): [0.5 + seed / 100 for seed in range(10)]
        for family in ("plain", "residual") for depth in (8, 20)}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the runs and the plan, without locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("lock")
    }


def split(store: SweepStore, count: int, folder: Path) -> list[Path]:
    """Shares the runs of a sweep out over folders of shards, as sweeps of them would have left them."""
    config = store.planned()
    assert config is not None
    shards = []
    for number in range(1, count + 1):
        shard = folder / f"shard-{number}"
        (shard / "runs").mkdir(parents=True)
        shutil.copy(store.plan, shard)
        for run in choose_share(config.runs(), Shard(number, count)):
            own = store.run(run.run_id).folder
            if own.exists():
                shutil.copytree(own, shard / "runs" / run.run_id)
        (shard / "shard.json").write_text('{"shard": "of another test", "run_ids": []}')
        (shard / "lock").touch()
        shards.append(shard)
    return shards


@pytest.fixture
def whole(tmp_path: Path) -> SweepStore:
    """A planted sweep of twelve runs, with measured numbers of one."""
    store = planted(tmp_path / "whole", CELLS)
    record = DiagnosticRecord(kind="responses", state="final", name="std", value=1.0, images=10)
    (store.run(store.run_ids()[7]).folder / "diagnostics.jsonl").write_text(record.to_json() + "\n")
    return store


@pytest.fixture
def shards(whole: SweepStore, tmp_path: Path) -> list[Path]:
    return split(whole, 4, tmp_path)


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


# ---------------------------------------------------------------- copies that differ


def repeated(shards: list[Path], run_id: str) -> tuple[RunStore, RunStore]:
    """Puts a second copy of a run into another shard; returns the first and the second."""
    first = next(shard for shard in shards if (shard / "runs" / run_id).exists())
    second = next(shard for shard in shards if shard != first)
    shutil.copytree(first / "runs" / run_id, second / "runs" / run_id)
    return RunStore(first / "runs" / run_id), RunStore(second / "runs" / run_id)


def change(path: Path, before: bytes, after: bytes) -> None:
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))


@pytest.mark.parametrize(
    ("name", "before", "after", "says"),
    [
        ("metrics.jsonl", b'"step":782', b'"step":783', "metrics.jsonl, line 2"),
        ("metrics.jsonl", b'"step":391', b'"step":392', "metrics.jsonl, line 1"),
        ("summary.json", b'"train_loss":1.0', b'"train_loss":1.1', "summary.json, train_loss"),
        ("summary.json", b'"data_hash":"d"', b'"data_hash":"e"', "summary.json, data_hash"),
        ("config.json", b'"depth":', b'"depth": ', "config.json, line 1"),
    ],
)
def test_two_that_differ_in_one_byte_are_refused_by_name(
    whole: SweepStore, shards: list[Path], tmp_path: Path, name: str, before: bytes, after: bytes, says: str
) -> None:
    run_id = whole.run_ids()[3]
    first, second = repeated(shards, run_id)
    assert len(collect_runs(shards, tmp_path / "equal").copied) == RUNS, "two that are equal are one"
    change(second.folder / name, before, after)
    with pytest.raises(StorageError) as error:
        collect_runs(shards, tmp_path / "all")
    for text in (str(first.folder), str(second.folder), says):
        assert text in error.value.what
    assert "nothing was collected" in error.value.remedy
    assert not (tmp_path / "all").exists()
    (tmp_path / "equal" / "lock").unlink()
    there = contents(tmp_path / "equal")
    with pytest.raises(StorageError, match=str(tmp_path / "equal" / "runs" / run_id)):
        collect_runs([second.folder.parents[1]], tmp_path / "equal")
    assert contents(tmp_path / "equal") == there


def test_clocks_and_machines_may_differ(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    run_id = whole.run_ids()[3]
    for number, copy in enumerate(repeated(shards, run_id), start=1):
        summary = copy.summary()
        assert isinstance(summary, RunSummary)
        clocks = {"seconds": 1.0 * number, "start_seconds": 0.1 * number}
        (copy.folder / "summary.json").write_text(summary.model_copy(update=clocks).to_json())
        timing = TimingRecord(step=391, training_seconds=1.0 * number, evaluation_seconds=0.0)
        (copy.folder / "timing.jsonl").write_text(timing.to_json() + "\n")
        segment = Segment(
            from_step=0, semantics=1, data_hash="d", resdeg="1", python="3", torch="2", numpy="2",
            device="cpu", processor=f"host {number}", threads=number,
        )  # fmt: skip
        environment = Environment(segments=(segment,) * number)
        (copy.folder / "environment.json").write_text(environment.to_json())
    assert collect_runs(shards, tmp_path / "all").copied.keys() == {*whole.run_ids()}
    change(copy.folder / "environment.json", b'"data_hash":"d"', b'"data_hash":"e"')
    with pytest.raises(StorageError, match=r"differ in environment\.json, data_hash or semantics\n"):
        collect_runs(shards, tmp_path / "other")


def test_all_runs_that_differ_are_counted(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    for run_id in whole.run_ids()[:3]:
        change(repeated(shards, run_id)[1].folder / "metrics.jsonl", b'"step":391', b'"step":390')
    with pytest.raises(StorageError, match="line 1.*; and so do 2 more runs"):
        collect_runs(shards, tmp_path / "all")


# ---------------------------------------------------------------- runs that go on


def unfinished(run: RunStore, lines: int) -> None:
    (run.folder / "summary.json").unlink()
    metrics = run.folder / "metrics.jsonl"
    metrics.write_bytes(b"".join(metrics.read_bytes().splitlines(keepends=True)[:lines]))


@pytest.mark.parametrize("turn", [1, -1])
def test_the_copy_that_is_further_ahead_is_taken(
    whole: SweepStore, shards: list[Path], tmp_path: Path, turn: int
) -> None:
    ended, going = whole.run_ids()[:2]
    unfinished(repeated(shards, ended)[1], 1)
    for lines, copy in zip((2, 1), repeated(shards, going), strict=True):
        unfinished(copy, lines)
    with (copy.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"torn')
    collected = collect_runs(shards[::turn], tmp_path / "all")
    store = SweepStore(tmp_path / "all")
    assert store.run(ended).summary() == whole.run(ended).summary()
    assert (store.run(going).state(), len(store.run(going).metrics())) == ("interrupted", 2)
    assert (collected.ended, collected.states[going]) == (RUNS - 1, "interrupted")


def test_a_run_that_went_on_replaces_nothing(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    run_id = whole.run_ids()[0]
    source = next(shard for shard in shards if (shard / "runs" / run_id).exists())
    run, target = RunStore(source / "runs" / run_id), SweepStore(tmp_path / "all")
    unfinished(run, 1)
    collect_runs(shards, target.folder)
    shorter = contents(target.run(run_id).folder)
    shutil.rmtree(run.folder)
    shutil.copytree(whole.run(run_id).folder, run.folder)
    collected = collect_runs([source], target.folder)
    assert [*collected.copied] == [run_id]
    assert collected.set_aside == [target.folder / "set-aside" / f"{run_id}.1"]
    assert contents(collected.set_aside[0]) == shorter
    assert contents(target.run(run_id).folder) == contents(whole.run(run_id).folder)
    unfinished(run, 1)  # an old copy comes late
    assert collect_runs([source], target.folder).copied == {}
    assert contents(target.run(run_id).folder) == contents(whole.run(run_id).folder)


def test_two_that_ended_otherwise_differ(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    longer, shorter = repeated(shards, whole.run_ids()[0])
    unfinished(longer, 2)
    metrics = shorter.folder / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(StorageError, match=r"differ in metrics\.jsonl, line 2"):
        collect_runs(shards, tmp_path / "all")


# ---------------------------------------------------------------- what is damaged


def remove_settings(folder: Path) -> None:
    (folder / "config.json").unlink()


def cut_the_end(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])


def break_a_line(folder: Path) -> None:
    change(folder / "metrics.jsonl", b'"epoch":1', b'"epoch":?')


def break_the_summary(folder: Path) -> None:
    change(folder / "summary.json", b'"status"', b'"stat?s"')


def spoil_the_diagnostics(folder: Path) -> None:
    (folder / "diagnostics.jsonl").write_text('{"kind":1}\n')


def link_a_file(folder: Path) -> None:
    (folder / "metrics.jsonl").rename(folder.parents[2] / "elsewhere")
    (folder / "metrics.jsonl").symlink_to(folder.parents[2] / "elsewhere")


def link_the_folder(folder: Path) -> None:
    folder.rename(folder.parents[2] / folder.name)
    folder.symlink_to(folder.parents[2] / folder.name)


def spoil_a_snapshot(folder: Path) -> None:
    (folder / "snapshots").mkdir()
    (folder / "snapshots" / f"{391:09d}-{'0' * 16}.safetensors").write_bytes(b"other bytes")


def make_a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (remove_settings, "config.json: damaged or missing"),
        (cut_the_end, "metrics.jsonl: damaged, its end is not the one that summary.json names"),
        (break_a_line, "metrics.jsonl:1: damaged"),
        (break_the_summary, "summary.json: damaged"),
        (spoil_the_diagnostics, "diagnostics.jsonl:1: damaged"),
        (link_a_file, "metrics.jsonl: is a link"),
        (link_the_folder, "is a link, which is not followed"),
        (spoil_a_snapshot, "is damaged"),
        (make_a_pipe, "pipe: is a link or another special file"),
    ],
)
def test_a_damaged_run_is_left_out_by_name(
    whole: SweepStore, shards: list[Path], tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    run_id = whole.run_ids()[3]
    source = next(shard for shard in shards if (shard / "runs" / run_id).exists())
    damage(source / "runs" / run_id)
    collected = collect_runs(shards, tmp_path / "all")
    (problem,) = collected.problems
    assert says in problem
    assert str(source / "runs" / run_id) in problem
    assert (collected.damaged, collected.ended) == ([run_id], RUNS - 1)
    assert not (tmp_path / "all" / "runs" / run_id).exists()
    assert not (tmp_path / "all" / "collecting").exists()
    shards.append(whole.folder)
    if damage in (cut_the_end, break_a_line):
        with pytest.raises(StorageError, match=r"differ in metrics\.jsonl, line [12] \(.*: damaged"):
            collect_runs(shards, tmp_path / "all")
        shards.remove(source)
    mended = collect_runs(shards, tmp_path / "all")
    assert (mended.damaged, mended.ended) == ([], RUNS), "another folder has a whole copy"
    assert contents(tmp_path / "all") == contents(whole.folder)


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_sources_that_are_read_only_are_read(whole: SweepStore, shards: list[Path], tmp_path: Path) -> None:
    for shard in shards:
        shard.chmod(0o555)
    try:
        assert collect_runs(shards, tmp_path / "all").ended == RUNS
    finally:
        for shard in shards:
            shard.chmod(0o755)


# ---------------------------------------------------------------- kills


class Killed(BaseException):
    """The process ends here; nothing catches this."""


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["_os_fsync", "_os_replace", "_os_mkdir", "_os_open"])
def test_a_kill_leaves_whole_runs_and_the_same_call_goes_on(
    whole: SweepStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """A kill before the nth of these operations, for every n of a collection of four runs."""
    small = planted(tmp_path / "small", {("plain", 8): [0.5, 0.6], ("residual", 8): [0.5, 0.6]})
    shards = split(small, 3, tmp_path / "shards")
    number, finished = 0, False
    while not finished:
        number += 1
        left, original = number, getattr(files, operation)

        def stop(*arguments: object, original: Callable[..., object] = original) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return original(*arguments)

        folder = tmp_path / f"all-{number}"
        with monkeypatch.context() as patch:
            patch.setattr(files, operation, stop)
            try:
                collect_runs(shards, folder)
                finished = True
            except Killed:
                pass
        for name in SweepStore(folder).names():
            check_run(SweepStore(folder).run(name))
            assert contents(folder / "runs" / name) == contents(small.run(name).folder)
        assert collect_runs(shards, folder).ended == 4
        assert contents(folder) == contents(small.folder)
    assert number > 3


def test_a_full_disk_stops_it_and_the_same_call_goes_on(
    whole: SweepStore, shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    def fill(done: int, count: int) -> None:
        assert count == RUNS
        if done == 5:
            monkeypatch.setattr(files, "_os_write", refuse)

    with pytest.raises(StorageError, match="the disk is full"):
        collect_runs(shards, tmp_path / "all", progress=fill)
    monkeypatch.undo()
    assert len(SweepStore(tmp_path / "all").run_ids()) == 5
    assert collect_runs(shards, tmp_path / "all").ended == RUNS
    assert contents(tmp_path / "all") == contents(whole.folder)


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
