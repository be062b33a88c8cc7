"""A run is what its records say: what else lies in runs/ is named, and counted nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.status import read_status
from resdeg.errors import StorageError
from resdeg.store import SweepStore
from tests.analysis.test_anchors import full
from tests.planted import CELLS, diagnosed, planted

Change = Callable[[Path, str, str], None]  # of runs/, a run in it, and another


def copy(runs: Path, run: str, other: str) -> None:
    shutil.copytree(runs / run, runs / f"{run}.bak")


def copy_under_another_id(runs: Path, run: str, other: str) -> None:
    shutil.copytree(runs / run, runs / run.replace("-s0-", "-s9-"))


def link(runs: Path, run: str, other: str) -> None:
    (runs / "mine").symlink_to(run)


def link_to_nothing(runs: Path, run: str, other: str) -> None:
    (runs / "gone").symlink_to("nowhere")


def stray_file(runs: Path, run: str, other: str) -> None:
    (runs / "notes.txt").write_text("lr was too high")


def empty_folder(runs: Path, run: str, other: str) -> None:
    (runs / "figures").mkdir()


def copy_of_all(runs: Path, run: str, other: str) -> None:
    shutil.copytree(runs, runs.parent / "aside")
    (runs.parent / "aside").rename(runs / "runs")


def no_text_as_a_name(runs: Path, run: str, other: str) -> None:
    Path(os.fsdecode(os.fsencode(runs) + b"/\xff\n")).mkdir()


def rename(runs: Path, run: str, other: str) -> None:
    (runs / run).rename(runs / "best")


def replace(runs: Path, run: str, other: str) -> None:
    shutil.rmtree(runs / run)
    shutil.copytree(runs / other, runs / run)


def replace_settings(runs: Path, run: str, other: str) -> None:
    shutil.copy(runs / other / "config.json", runs / run)


def remove_settings(runs: Path, run: str, other: str) -> None:
    (runs / run / "config.json").unlink()


def replace_by_file(runs: Path, run: str, other: str) -> None:
    shutil.rmtree(runs / run)
    (runs / run).write_text("")


# By the change: what the line names.
ADDED: dict[Change, str] = {
    copy: ".bak", copy_under_another_id: "-s9-", link: "mine", link_to_nothing: "gone",
    stray_file: "notes.txt", empty_folder: "figures", copy_of_all: "runs/runs", no_text_as_a_name: "\\udcff",
}  # fmt: skip
LOST: dict[Change, str] = {
    rename: "best", replace: "-s0-", replace_settings: "-s0-", remove_settings: "-s0-",
    replace_by_file: "-s0-",
}  # fmt: skip


def plant(folder: Path) -> tuple[SweepStore, str, str]:
    """A measured sweep, a run of seed 0 in it and one of seed 1."""
    store = diagnosed(planted(folder, CELLS))
    run, other = (next(name for name in store.run_ids() if f"-s{seed}-" in name) for seed in (0, 1))
    return store, run, other


def assert_same_numbers(store: SweepStore, expected: SweepStore) -> None:
    """Every table of `store` is that of `expected`, in which there is nothing to be named."""
    ours, theirs = load_sweep(store.folder), load_sweep(expected.folder)
    assert theirs.problems == []
    columns = ["run_id", "family", "depth", "seed", "status", "test_accuracy", "train_accuracy"]
    begun = (sweep.runs.loc[sweep.runs["status"] != "missing", columns] for sweep in (ours, theirs))
    assert next(begun).to_csv(index=False) == next(begun).to_csv(index=False)
    pd.testing.assert_frame_equal(ours.metrics, theirs.metrics)
    pd.testing.assert_frame_equal(ours.curve, theirs.curve)
    assert ours.provenance == theirs.provenance
    pd.testing.assert_frame_equal(load_diagnostics(store.folder)[0], load_diagnostics(expected.folder)[0])
    states = (read_status(folder).counts["finished"] for folder in (store.folder, expected.folder))
    assert next(states) == next(states)


@pytest.mark.parametrize("change", ADDED, ids=lambda change: change.__name__)
def test_what_is_added_is_named_and_changes_no_number(tmp_path: Path, change: Change) -> None:
    (store, run, other), (expected, *_) = plant(tmp_path / "a" / "s"), plant(tmp_path / "b" / "s")
    change(store.folder / "runs", run, other)
    assert_same_numbers(store, expected)
    assert store.run_ids() == expected.run_ids()
    for problems in (load_sweep(store.folder).problems, read_status(store.folder).problems):
        (problem,) = problems
        assert ADDED[change] in problem
    assert load_diagnostics(store.folder)[1] == problems


@pytest.mark.parametrize("change", LOST, ids=lambda change: change.__name__)
def test_a_run_that_is_another_is_named_and_counts_as_none(tmp_path: Path, change: Change) -> None:
    (store, run, other), (expected, *_) = plant(tmp_path / "a" / "s"), plant(tmp_path / "b" / "s")
    change(store.folder / "runs", run, other)
    shutil.rmtree(expected.run(run).folder)
    assert_same_numbers(store, expected)
    for problems in (load_sweep(store.folder).problems, read_status(store.folder).problems):
        (problem,) = problems
        assert LOST[change] in problem
    if change is not rename:
        with pytest.raises(StorageError):
            store.run(run).state()


def test_the_summary_of_another_run_is_none_of_this_one(tmp_path: Path) -> None:
    store, run, other = plant(tmp_path / "s")
    shutil.copy(store.run(other).folder / "summary.json", store.run(run).folder)
    sweep = load_sweep(store.folder)
    (problem,) = sweep.problems
    assert "summary.json: identity mismatch, it belongs to" in problem
    assert run not in set(sweep.runs["run_id"])


def test_hidden_files_are_those_of_the_system(tmp_path: Path) -> None:
    (store, *_), (expected, *_) = plant(tmp_path / "a" / "s"), plant(tmp_path / "b" / "s")
    (store.folder / "runs" / ".DS_Store").write_bytes(b"\0Bud1")
    (store.folder / "runs" / ".ipynb_checkpoints").mkdir()
    assert_same_numbers(store, expected)
    assert load_sweep(store.folder).problems == []


def test_a_run_that_begins_is_no_problem(tmp_path: Path) -> None:
    """Its folder is made and locked before its settings are written."""
    store, run, _ = plant(tmp_path / "s")
    shutil.rmtree(store.run(run).folder)
    store.run(run).folder.mkdir()
    (store.run(run).folder / "lock").touch()
    sweep = load_sweep(store.folder)
    assert sweep.problems == []
    assert sweep.runs.set_index("run_id").loc[run, "status"] == "missing"


@pytest.mark.parametrize("change", [copy, replace, no_text_as_a_name], ids=lambda change: change.__name__)
def test_every_command_names_it(resdeg, tmp_path: Path, change: Change) -> None:
    store, run, other = plant(tmp_path / "s")
    change(store.folder / "runs", run, other)
    for command in ("plot", "report", "status", "diagnose"):
        done = resdeg(command, "s")
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("left out: ") == 1, (command, done.stderr)
    assert "left out: " in (store.folder / "report.md").read_text()
    full(tmp_path / "full")
    store = SweepStore(tmp_path / "full")
    run, other = store.run_ids()[:2]
    change(store.folder / "runs", run, other)
    assert resdeg("anchors", "full").stderr.count("left out: ") == 1


@pytest.mark.slow
def test_a_sweep_that_goes_on(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    """A copy is no run; another run in a run's folder is refused, and --fresh or its removal mends it."""
    sweep = ("sweep", tiny_toml, "--depths", "8", "--families", "plain", "--seeds", "0,1", "--out", "s")
    assert resdeg(*sweep).returncode == 0
    store = SweepStore(tmp_path / "s")
    run, other = store.run_ids()
    curve = (store.folder / "curve.csv").read_bytes()
    copy(store.folder / "runs", run, other)
    again = resdeg(*sweep)
    assert "all 2 runs are finished" in again.stderr
    assert "left out: " in again.stderr
    assert (store.folder / "curve.csv").read_bytes() == curve
    remove_settings(store.folder / "runs", run, other)
    assert f"{run} finished" in resdeg(*sweep).stderr, "its checkpoint says whose it is"
    assert (store.folder / "curve.csv").read_bytes() == curve
    replace(store.folder / "runs", run, other)
    refused = resdeg(*sweep)
    assert refused.returncode == 5
    assert "identity mismatch" in refused.stderr
    shutil.rmtree(store.run(run).folder)
    assert resdeg(*sweep).returncode == 0
    assert (store.folder / "curve.csv").read_bytes() == curve
