"""`resdeg prune`: the weights of ended runs go, their records and everything else stays."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import resdeg as package
from resdeg import files, locks
from resdeg.errors import StorageError
from resdeg.store import SweepStore, find_prunable, open_run, prune
from tests.planted import CELLS, planted

GRID = ("--depths", "8", "--seeds", "0-1", "--set", "execution.snapshots=1")


def weights(folder: Path) -> dict[str, int]:
    """The files of weights below a folder, and their bytes."""
    names = ("*/checkpoint/*", "*/snapshots/*")
    return {str(path): path.stat().st_size for name in names for path in sorted(folder.glob(f"runs/{name}"))}


def records(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name not in ("checkpoint", "snapshots") and "lock" not in path.name
    }


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four finished runs with a snapshot each, trained once for all tests."""
    from tests.conftest import TINY_TOML

    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY_TOML)
    command = [sys.executable, "-m", "resdeg", "sweep", "tiny.toml", *GRID, "--out", "s"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "s"


def with_status(folder: Path, index: int, status: str | None) -> str:
    """Lets a run have ended otherwise; None: it was killed."""
    store = SweepStore(folder)
    run = store.run(store.run_ids()[index])
    summary = run.summary()
    assert summary is not None
    (run.folder / "summary.json").unlink()
    if status is not None:
        changed = summary.model_copy(update={"status": status})
        (run.folder / "summary.json").write_text(changed.to_json())
    return run.folder.name


def test_a_pipe_hears_how_much_and_nothing_is_freed(resdeg, folder: Path) -> None:
    before = weights(folder)
    done = resdeg("prune", "s")
    assert done.returncode == 0
    total = sum(size for path, size in before.items() if "checkpoint" in path)
    assert f"s: to be freed: {total / 1e6:.1f} MB in the checkpoints of 4 ended runs" in done.stdout
    assert "diagnose, export-weights and load_model need these weights" in done.stdout
    assert "of snapshots stay: --snapshots frees them too" in done.stdout
    assert "nothing was freed: add --yes" in done.stderr
    tree = json.loads(resdeg("prune", "s", "--json").stdout)
    assert (tree["bytes"], tree["freed"], len(tree["checkpoints"])) == (total, 0, 4)
    assert weights(folder) == before


def test_afterwards_all_that_reads_records_works_and_nothing_is_trained(resdeg, folder: Path) -> None:
    assert resdeg("diagnose", "s", "--kinds", "identity", "--images", "20", "--depths", "8").returncode == 0
    shown = {command: resdeg(command, "s").stdout for command in ("status", "plot", "report")}
    before, held = records(folder), weights(folder)
    done = resdeg("prune", "s", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    left = weights(folder)
    assert all("snapshots" in path for path in left)
    assert len(left) == 4
    freed = sum(held.values()) - sum(left.values())
    assert done.stdout.splitlines()[-1] == f"freed {freed / 1e6:.1f} MB"
    assert records(folder) == before
    for command, output in shown.items():
        assert resdeg(command, "s").stdout == output
    again = resdeg("sweep", "s")
    assert "all 4 runs are finished: nothing to train" in again.stderr
    more = resdeg("sweep", "tiny.toml", *GRID, "--seeds", "0-2", "--out", "s")
    assert more.returncode == 0, more.stderr
    assert "4 finished before" in more.stderr
    assert {
        name: content for name, content in records(folder).items() if name.endswith("metrics.jsonl")
    }.items() >= {name: content for name, content in before.items() if name.endswith("metrics.jsonl")}.items()
    assert "nothing to free" not in resdeg("prune", "s", "--yes").stdout, "the two new runs"
    assert "s: nothing to free" in resdeg("prune", "s", "--yes").stdout


def test_snapshots_can_go_later(resdeg, folder: Path) -> None:
    assert resdeg("prune", "s", "--yes").returncode == 0
    done = resdeg("prune", "s", "--yes", "--snapshots")
    assert re.match(r"s: to be freed: [0-9.]+ MB in snapshots\n", done.stdout)
    assert weights(folder) == {}


def test_what_cannot_be_done_any_more_says_so(resdeg, folder: Path) -> None:
    assert resdeg("prune", "s", "--yes", "--snapshots").returncode == 0
    assert weights(folder) == {}
    assert resdeg("prune", "s").stdout == "s: nothing to free\n"
    run = SweepStore(folder).run(SweepStore(folder).run_ids()[0]).folder
    with pytest.raises(StorageError, match=r"`resdeg prune` frees checkpoints.*\n.*--fresh"):
        package.load_model(run)
    measured = resdeg("diagnose", "s")
    assert (measured.returncode, "`resdeg prune` frees checkpoints" in measured.stderr) == (2, True)
    assert "with --fresh where checkpoints are gone" in measured.stderr
    done = resdeg("export-weights", run, "--layout", "akamaster", "--out", "w.pt")
    assert (done.returncode, "`resdeg prune` frees checkpoints" in done.stderr) == (5, True)
    fresh = resdeg("sweep", "s", "--seeds", "0", "--fresh")
    assert fresh.returncode == 0, fresh.stderr
    package.load_model(run)


@pytest.mark.parametrize("status", ["stopped", "failed", None])
def test_a_run_that_has_not_ended_is_left_as_it_is(resdeg, folder: Path, status: str | None) -> None:
    run_id = with_status(folder, 1, status)
    done = resdeg("prune", "s", "--yes", "--snapshots")
    assert f"left as they are: 1 {status or 'interrupted'}" in done.stdout
    assert {Path(path).parts[-3] for path in weights(folder)} == {run_id}
    assert SweepStore(folder).run(run_id).checkpoint() is not None


def test_a_run_that_diverged_has_ended(resdeg, folder: Path) -> None:
    with_status(folder, 1, "diverged")
    assert "of 4 ended runs" in resdeg("prune", "s", "--yes").stdout
    assert all("snapshots" in path for path in weights(folder))
    assert "nothing to train" in resdeg("sweep", "s").stderr


def test_a_run_under_way_is_left_and_a_busy_sweep_is_refused(resdeg, folder: Path) -> None:
    store = SweepStore(folder)
    run = store.run(store.run_ids()[2])
    with open_run(run, run.config()):
        done = resdeg("prune", "s", "--yes")
        assert "left as they are: 1 running" in done.stdout
    assert {Path(path).parts[-3] for path in weights(folder) if "checkpoint" in path} == {run.folder.name}
    held = weights(folder)
    for lock in (store.folder / "lock", store.folder / "diagnose.lock"):
        with locks.locked(lock):
            assert resdeg("prune", "s").returncode == 0, "to say how much needs no lock"
            done = resdeg("prune", "s", "--yes")
            assert done.returncode == 6
            assert "is busy: held by pid" in done.stderr
            assert "wait until it has ended" in done.stderr
    assert weights(folder) == held


def test_a_crash_leaves_no_older_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each file that goes, a run has its last weights or none."""
    store = SweepStore(folder)
    run = store.run(store.run_ids()[0])
    last, original = run.checkpoint()[0].step, files._os_unlink
    seen: list[int | None] = []

    def unlink(path: Path) -> None:
        original(path)
        if path.parent == run.folder / "checkpoint":
            checkpoint = run.checkpoint()
            seen.append(None if checkpoint is None else checkpoint[0].step)

    monkeypatch.setattr(files, "_os_unlink", unlink)
    assert prune(store, with_snapshots=False) > 0
    assert len(seen) == 4
    assert {*seen} == {last, None}


def test_what_is_not_of_the_run_stays(resdeg, folder: Path, tmp_path: Path) -> None:
    """Foreign files, copies, links to another sweep, adopted weights, and runs that were set aside."""
    store = SweepStore(folder)
    first, second, third, fourth = (store.run(run_id).folder for run_id in store.run_ids())
    (first / "checkpoint" / "notes.txt").write_text("mine")
    (first / "snapshots" / "best.safetensors").write_text("mine")
    shutil.copytree(second, second.with_name(f"{second.name}.bak"))
    shutil.move(third, tmp_path / third.name)
    third.symlink_to(tmp_path / third.name)
    shutil.move(second / "checkpoint", tmp_path / "elsewhere")
    (second / "checkpoint").symlink_to(tmp_path / "elsewhere")
    origin = {
        "source": "x",
        "file": "f",
        "bytes": 1,
        "sha256": "0",
        "layout": "akamaster",
        "schema_version": 6,
    }
    (fourth / "origin.json").write_text(json.dumps(origin))
    done = resdeg("prune", "s", "--yes", "--snapshots")
    assert "left as they are: 1 linked, 1 adopted" in done.stdout
    assert [path.name for path in first.glob("checkpoint/*")] == ["notes.txt"]
    assert [path.name for path in first.glob("snapshots/*")] == ["best.safetensors"]
    assert len(list((folder / "runs" / f"{second.name}.bak" / "checkpoint").iterdir())) == 4
    for kept in (tmp_path / third.name / "checkpoint", tmp_path / "elsewhere", fourth / "checkpoint"):
        assert len(list(kept.iterdir())) == 4


def test_a_folder_that_is_no_sweep_is_refused(resdeg, tmp_path: Path) -> None:
    store = planted(tmp_path / "p", CELLS)
    before = sorted(store.folder.rglob("*"))
    for path in (tmp_path, store.folder / "runs", tmp_path / "nowhere"):
        assert resdeg("prune", path, "--yes").returncode == 2
    done = resdeg("prune", "p", "--yes")
    assert (done.returncode, done.stdout) == (0, "p: nothing to free\n")
    assert sorted(store.folder.rglob("*")) == before
    assert find_prunable(store).checkpoints == {}


@pytest.mark.parametrize(
    ("answer", "frees"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)]
)
def test_a_terminal_is_asked(folder: Path, answer: bytes, frees: bool) -> None:
    before = weights(folder)
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", "prune", "s"],
        cwd=folder.parent, stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(leader, 65_536)
        except OSError:
            break
        if not part:
            break
        shown += part
        if answer and b"[y/N]" in shown:
            os.write(leader, answer)
            answer = b""
    os.close(leader)
    assert process.wait(30) == 0, shown
    assert bool(re.search(rb"freed [0-9.]+ MB", shown)) == frees
    assert (b"nothing was freed" in shown) != frees
    assert (weights(folder) == before) != frees
