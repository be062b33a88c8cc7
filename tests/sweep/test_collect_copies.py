"""`resdeg collect` on a run that is there twice: two that differ are refused, the further one is taken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from resdeg.errors import StorageError
from resdeg.records import Environment, RunSummary, Segment, TimingRecord
from resdeg.store import RunStore, SweepStore
from resdeg.sweep.collect import collect_runs
from tests.sweep.shared_out import RUNS, change, contents, repeated, unfinished


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
