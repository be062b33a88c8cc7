"""`resdeg list`: the sweeps below a folder, in a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from resdeg import locks
from tests.planted import CELLS, planted
from tests.terminals import open_terminal, read_all

ADOPTED = {"adopted": {"source": "someone"}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three sweeps at different depths of a folder, and much that is none."""
    results = tmp_path / "results"
    planted(results / "local" / "whole", CELLS)
    planted(results / "local" / "half", CELLS, missing=4, arms={"wide": {"model": {"width": 2.0}}})
    planted(results / "elsewhere" / "deep" / "nets", CELLS, **ADOPTED)
    (results / "local" / "last-sweep").write_text("whole\n")
    (results / "empty" / "runs").mkdir(parents=True)
    (results / "handwritten").mkdir()
    (results / "handwritten" / "sweep.toml").write_text("method = 'bayes'\n")
    planted(results / ".hidden", CELLS)
    whole = results / "local" / "whole"
    shutil.copytree(next((whole / "runs").iterdir()), whole / "set-aside" / "earlier.1")
    return results


def test_it_says_what_how_far_when_and_how_large(resdeg, results: Path) -> None:
    os.utime(results / "local" / "whole" / "sweep.toml", (2_000_000_000, 2_000_000_000))
    done = resdeg("list")
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["sweep", "ended", "changed", "size", "what"]
    assert [line.split()[:2] for line in lines] == [
        ["results/elsewhere/deep/nets", "12/12"],
        ["results/local/half", "8/24"],
        ["results/local/whole", "12/12"],
    ]
    changed = f"{datetime.fromtimestamp(2_000_000_000):%Y-%m-%d %H:%M}"
    grid = "plain, residual x depths 8, 20 x 3 seeds"
    assert lines[2].split("  ")[-3:] == [changed, "0.0 MB", f"cifar10 short, 2 epochs: {grid}"]
    assert lines[1].endswith(f"{grid}, 1 arm")
    assert "cifar10, adopted from someone: " in lines[0]


def test_json_has_the_numbers(resdeg, results: Path) -> None:
    whole = results / "local" / "whole"
    listed = {entry["folder"]: entry for entry in json.loads(resdeg("list", results, "--json").stdout)}
    entry = listed[str(whole)]
    assert (entry["data"], entry["recipe"], entry["ended"], entry["planned"]) == ("cifar10", "short", 12, 12)
    assert (entry["families"], entry["depths"], entry["seeds"]) == (["plain", "residual"], [8, 20], [0, 1, 2])
    assert entry["bytes"] == sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    assert datetime.fromisoformat(entry["changed"]).tzinfo is not None
    assert listed[str(results / "local" / "half")]["counts"] == {"missing": 16, "finished": 8}
    assert [path.name for path in map(Path, listed)] == ["nets", "half", "whole"]


def test_reading_changes_nothing_and_a_run_under_way_is_named(resdeg, results: Path) -> None:
    half = results / "local" / "half"
    run = next((half / "runs").iterdir())
    (run / "summary.json").unlink()
    before = json.loads(resdeg("list", half, "--json").stdout)
    with locks.locked(run / "lock"):
        assert "7/24, 1 running" in resdeg("list", half).stdout
    after = json.loads(resdeg("list", half, "--json").stdout)
    assert after == before, "and a lock is no change"


def test_a_folder_is_looked_through_once(resdeg, results: Path, tmp_path: Path) -> None:
    """Links lead to sweeps, and in no circle; a folder that is a sweep itself is listed."""
    (results / "circle").symlink_to(results)
    shutil.move(results / "local" / "whole", tmp_path / "scratch")
    (results / "local" / "whole").symlink_to(tmp_path / "scratch")
    names = [line.split()[0] for line in resdeg("list").stdout.splitlines()[1:]]
    assert names == ["results/elsewhere/deep/nets", "results/local/half", "results/local/whole"]
    assert len(resdeg("list", "results/local/half").stdout.splitlines()) == 2


def test_a_sweep_that_cannot_be_read_hides_no_other(resdeg, results: Path) -> None:
    (results / "local" / "half" / "sweep.toml").write_text("depths = [8")
    done = resdeg("list")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "left out: results/local/half/sweep.toml" in done.stderr


def test_a_copied_and_a_damaged_run_are_named(resdeg, results: Path) -> None:
    runs = results / "local" / "whole" / "runs"
    first, second, *_ = sorted(runs.iterdir())
    shutil.copytree(first, runs / "copy")
    (second / "summary.json").write_text("{")
    done = resdeg("list")
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()[1:]] == ["12/12", "8/24", "11/12"]
    copied, damaged = done.stderr.splitlines()
    assert copied.startswith("left out: results/local/whole/runs/copy")
    assert damaged.startswith(f"left out: results/local/whole/runs/{second.name}/summary.json")


@pytest.mark.parametrize(
    ("given", "says"), [((), "results does not exist"), (("file",), "file is no folder")]
)
def test_a_folder_that_is_not_there_is_named(
    resdeg, tmp_path: Path, given: tuple[str, ...], says: str
) -> None:
    (tmp_path / "file").write_text("")
    done = resdeg("list", *given)
    assert (done.returncode, says in done.stderr) == (2, True)


def test_nothing_is_said_of_an_empty_folder_but_that(resdeg, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    done = resdeg("list")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no sweep in results or below\n")
    assert json.loads(resdeg("list", "--json").stdout) == []


@pytest.mark.parametrize("columns", [30, 80, 120, 250])
def test_it_fits_the_terminal_and_cuts_nothing(results: Path, tmp_path: Path, columns: int) -> None:
    leader, follower = open_terminal(columns)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", "list"], cwd=tmp_path, stdout=follower,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    os.close(follower)
    shown = read_all(leader)
    assert process.wait(30) == 0
    lines = shown.replace("\r\n", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    words = " ".join(shown.split())
    for text in ("results/elsewhere/deep/nets", "12/12", "plain, residual x depths 8, 20 x 3 seeds, 1 arm"):
        assert text in words
    assert len(lines) == 4 or columns < 250
