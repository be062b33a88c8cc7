"""`resdeg collect` leaves out what is damaged, by name, and whatever stops it leaves whole runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resdeg import files
from resdeg.errors import StorageError
from resdeg.store import SweepStore, check_run
from resdeg.sweep.collect import collect_runs
from tests.planted import planted
from tests.sweep.shared_out import RUNS, change, contents, cut_the_end, repeated, split, unfinished


def remove_settings(folder: Path) -> None:
    (folder / "config.json").unlink()


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


@pytest.mark.parametrize("damage", [break_the_summary, cut_the_end, spoil_a_snapshot])
def test_a_damaged_run_that_was_there_before_is_named_until_a_folder_has_it(
    whole: SweepStore, shards: list[Path], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    collect_runs(shards, tmp_path / "all")
    run_id = SweepStore(shards[0]).run_ids()[0]
    damage(tmp_path / "all" / "runs" / run_id)
    collected = collect_runs(shards[1:], tmp_path / "all")
    assert (collected.damaged, run_id in collected.present) == ([run_id], False)
    (problem,) = collected.problems
    assert str(tmp_path / "all" / "runs" / run_id) in problem
    mended = collect_runs(shards, tmp_path / "all")
    assert (mended.damaged, [*mended.copied], mended.ended) == ([], [run_id], RUNS)


def test_a_damaged_copy_that_is_ahead_lets_no_copy_in_that_is_behind(
    whole: SweepStore, shards: list[Path], tmp_path: Path
) -> None:
    """The folder has two of three records; one shard a damaged end, another the first record."""
    run_id = whole.run_ids()[0]
    first, second = repeated(shards, run_id)
    target = SweepStore(tmp_path / "all").run(run_id)
    shutil.copytree(first.folder, target.folder)
    unfinished(target, 2)
    shutil.copy(whole.plan, tmp_path / "all")
    spoil_a_snapshot(second.folder)
    unfinished(first, 1)
    collected = collect_runs(shards, tmp_path / "all")
    assert (collected.damaged, collected.set_aside, collected.present) == ([], [], [run_id])
    assert len(collected.problems) == 1
    assert len(target.metrics()) == 2


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
