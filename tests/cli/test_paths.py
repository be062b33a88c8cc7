"""No file is written that was not asked for, and a path means what it says or is refused in words."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from resdeg import files
from resdeg.data.cache import cache_folder
from tests.planted import CELLS, planted


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep in the home of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RESDEG_DATA_DIR", raising=False)
    return planted(tmp_path / "results" / "s", CELLS).folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_figure_elsewhere_is_the_only_file(resdeg, folder: Path, tmp_path: Path) -> None:
    paper, before = tmp_path / "paper", contents(folder)
    paper.mkdir()
    for name in ("runs.csv", "curve.csv"):
        (paper / name).write_text("mine")
    done = resdeg("plot", folder, "--out", "paper/f.pdf")
    assert (done.returncode, done.stdout) == (0, "paper/f.pdf\n")
    after = contents(paper)
    assert after.pop("f.pdf").startswith(b"%PDF")
    assert after == {"runs.csv": b"mine", "curve.csv": b"mine"}
    assert contents(folder) == before
    assert resdeg("plot", folder).returncode == 0
    assert contents(folder).keys() - before.keys() == {"curve.png", "curve.csv", "runs.csv"}


def test_what_is_refused_makes_no_folder(resdeg, folder: Path, tmp_path: Path) -> None:
    for option in (("--evaluation", "image"), ("--kind", "arms"), ("--arm", "wide")):
        assert resdeg("plot", folder, *option, "--out", "new/f.svg").returncode == 2
    assert not (tmp_path / "new").exists()


def test_a_report_elsewhere_has_the_figure_of_the_sweep(resdeg, folder: Path, tmp_path: Path) -> None:
    spaced = folder.rename(folder.parent / "a sweep (2)")
    assert resdeg("plot", spaced).returncode == 0
    before = contents(spaced)
    done = resdeg("report", spaced, "--out", "pages/today")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("pages/today/report.md\npages/today/report.html\n")
    assert contents(spaced) == before
    target = tmp_path / "pages" / "today"
    assert contents(target).keys() == {"report.md", "report.html", "curve.png"}
    assert "](curve.png)" in (target / "report.md").read_text()
    assert (target / "curve.png").read_bytes() == (spaced / "curve.png").read_bytes()


def test_a_report_shows_its_own_figure_whatever_was_drawn_before(resdeg, folder: Path) -> None:
    assert resdeg("plot", folder).returncode == 0
    usual = (folder / "curve.png").read_bytes()
    assert resdeg("plot", folder, folder).returncode == 0
    assert (folder / "curve.png").read_bytes() != usual
    assert resdeg("report", folder).returncode == 0
    assert "](curve.png)" in (folder / "report.md").read_text()
    assert (folder / "curve.png").read_bytes() == usual


def test_a_read_only_folder_is_named(
    resdeg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = files._os_open

    def refuse(path: Path, flags: int) -> int:
        if flags & os.O_WRONLY and path.resolve().is_relative_to(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, flags)

    monkeypatch.setattr(files, "_os_open", refuse)
    for command in ("report", "plot"):
        done = resdeg(command, folder)
        assert (done.returncode, done.stdout) == (5, "")
        assert re.search(rf"cannot write {folder}/\S+: Permission denied", done.stderr)
    assert resdeg("report", folder, "--out", "elsewhere").returncode == 0
    assert (tmp_path / "elsewhere" / "report.html").is_file()
    (tmp_path / "file").write_text("")
    refused = resdeg("report", folder, "--out", "file")
    assert refused.returncode == 5
    assert "Not a directory" in refused.stderr


def test_a_tilde_is_the_home_wherever_it_stands(resdeg, folder: Path, tmp_path: Path) -> None:
    for arguments in (("--out=~/a.svg",), ("--out", "~/b.svg")):
        done = resdeg("plot", "~/results/s", *arguments)
        assert done.returncode == 0, done.stderr
    assert {"a.svg", "b.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "~").exists()
    assert resdeg("status", "~/results/s").returncode == 0
    assert "~nobody-has-this-name does not exist" in resdeg("status", "~nobody-has-this-name").stderr


def test_a_tilde_in_the_path_of_the_data(
    resdeg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = tmp_path / "data" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    (batches / "test_batch").write_bytes(b"")
    assert resdeg("data", "path", "--data-dir=~/data").stdout.strip() == str(batches)
    monkeypatch.setenv("RESDEG_DATA_DIR", "~/data")
    assert resdeg("data", "path").stdout.strip() == str(batches)
    assert resdeg("doctor").stdout.count(str(batches)) == 1
    monkeypatch.setenv("RESDEG_DATA_DIR", "~nobody-has-this-name/data")
    done = resdeg("data", "path")
    assert done.returncode == 4
    assert "~nobody-has-this-name/data is not there" in done.stderr
    monkeypatch.setenv("RESDEG_CACHE_DIR", "~/cache")
    assert cache_folder() == tmp_path / "cache"


def test_an_empty_variable_is_none(
    resdeg, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATA_DIR", "DEVICE", "JOBS", "OFFLINE", "CACHE_DIR"):
        monkeypatch.setenv(f"RESDEG_{name}", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert str(tmp_path / "own" / "resdeg") in resdeg("data", "path").stderr
    done = resdeg("sweep", "--data", "hierarchy", "--depths", "8", "--steps", "1", "--dry-run", "--offline")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("plot", "--out="), ("plot", "--out", ""), ("report", "--out="), ("sweep", "--out", ""),
     ("sweep", "--data-dir="), ("data", "path", "--data-dir", ""), ("adopt", "a-martyn", "--from=")],
)  # fmt: skip
def test_an_empty_path_is_refused(resdeg, folder: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    before = contents(tmp_path)
    done = resdeg(*arguments)
    assert done.returncode == 2
    assert "is empty" in done.stderr
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["plot", "report", "status", "diagnose", "anchors"])
def test_a_path_in_a_sweep_is_refused_with_the_sweep(resdeg, folder: Path, command: str) -> None:
    (folder / "curve.png").write_bytes(b"")
    inner = [folder / "curve.png", folder / "sweep.toml", folder / "runs", *(folder / "runs").iterdir()][:4]
    before = contents(folder)
    for path in inner:
        done = resdeg(command, path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "lies in a sweep's folder and is none" in done.stderr
        assert "give results/s" in done.stderr
    assert contents(folder) == before


def test_a_file_a_long_name_and_a_folder_of_sweeps_are_refused(resdeg, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    shutil.copytree(folder, tmp_path / "copy")
    for path, words in (
        ("notes.txt", "notes.txt is a file, and no sweep's folder"),
        ("x" * 300, "does not exist"),
        ("results", "results holds no sweep"),
    ):
        done = resdeg("status", path)
        assert done.returncode == 2
        assert words in done.stderr
    assert resdeg("status", "copy").returncode == 0, "a whole sweep may be copied"
