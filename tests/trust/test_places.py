"""Odd paths, plain terminals, small alphabets, other umasks, planted links."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trust.test_pipes import shell

SWEEP = ("--depths", "8", "--families", "plain", "--seeds", "0")
NAMES = [
    "with space", "-leading", "$HOME %s {x}", "new\nline", "ünï-日本-😀", "e\u0301 and \u00e9", "x" * 200,
    "quote'\"", "#frag?q=1",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_sweep_in_an_odd_place(resdeg, tiny_toml: Path, tmp_path: Path, name: str) -> None:
    done = resdeg("sweep", tiny_toml, *SWEEP, f"--out={name}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "curve.png").is_file()
    assert resdeg("status", tmp_path / name).returncode == 0
    assert resdeg("status").returncode == 0, "the pointer finds it"
    assert resdeg("plot", tmp_path / name, "--out", tmp_path / name / "again.svg").returncode == 0
    done = resdeg("sweep", tiny_toml, *SWEEP, f"--out={name}")
    assert "nothing to train" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    ["LC_ALL=C PYTHONIOENCODING=ascii", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", "LANG=tr_TR.UTF-8"],
)
def test_a_small_alphabet(tiny_toml: Path, tmp_path: Path, settings: str) -> None:
    place = "ünï-😀"
    resdeg = f"{settings} {sys.executable} -m resdeg"
    done = shell(f"{resdeg} sweep {tiny_toml} {' '.join(SWEEP)} --out {place}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "test" in done.stderr
    told = shell(f"{resdeg} status {place}", tmp_path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "1 finished" in told.stdout
    assert re.search(r"\d\.\d %", told.stdout), "a point in numbers, whatever the locale"


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_files_have_the_mode_of_the_umask(tiny_toml: Path, tmp_path: Path, umask: int) -> None:
    """A colleague of the group can resume, or nobody can read, as the user has it."""
    command = f"umask {umask:03o}; {sys.executable} -m resdeg sweep {tiny_toml} {' '.join(SWEEP)} --out out"
    assert shell(command, tmp_path).returncode == 0
    found = list((tmp_path / "out").rglob("*"))
    assert {path.name for path in found} >= {"a.safetensors", "lock", "curve.png", "metrics.jsonl", "runs"}
    for path in found:
        whole = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == whole & ~umask, path


@pytest.mark.slow
def test_a_linked_results_folder_is_fine(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert resdeg("sweep", tiny_toml, *SWEEP, "--out", "link").returncode == 0
    assert (tmp_path / "elsewhere" / "curve.png").is_file()


RUN_ID = "plain-d8-s0-6d57e388"  # of SWEEP
REPLACED = (
    "lock-owner",
    "sweep.toml",
    "curve.png",
    "runs.csv",
    "RUN/summary.json",
    "RUN/checkpoint/a.safetensors",
)
REFUSED = ("lock", "RUN/lock", "RUN/metrics.jsonl", "RUN/timing.jsonl", "RUN/environment.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*REPLACED, *REFUSED])
def test_a_planted_link_harms_nothing(resdeg, tiny_toml: Path, tmp_path: Path, name: str) -> None:
    """What stands at the other end stays; a file that is replaced replaces the link."""
    path = tmp_path / "out" / name.replace("RUN", f"runs/{RUN_ID}")
    path.parent.mkdir(parents=True)
    canary = tmp_path / "canary"
    canary.write_bytes(b"precious")
    path.symlink_to(canary)
    done = resdeg("sweep", tiny_toml, *SWEEP, "--out", "out")
    assert f"{RUN_ID} f" in done.stderr or "error: " in done.stderr, "finished or failed"
    assert canary.read_bytes() == b"precious"
    assert done.returncode == (0 if name in REPLACED else 5), done.stderr
    assert path.is_symlink() == (name in REFUSED)
    if name in REFUSED:
        assert name.rpartition("/")[2] in done.stderr, "it says which"


def terminal(arguments: list[object], cwd: Path, **settings: str) -> bytes:
    """What the command shows on a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "resdeg", *map(str, arguments)],
        cwd=cwd, stdout=subprocess.DEVNULL, stderr=follower, env={**os.environ, "TERM": "xterm", **settings},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    try:
        while part := os.read(leader, 65_536):
            shown += part
    except OSError:  # Linux says the end of a terminal so
        pass
    os.close(leader)
    assert process.wait(30) == 0, shown
    return shown


@pytest.mark.slow
def test_what_a_terminal_shows(tiny_toml: Path, tmp_path: Path) -> None:
    plain = terminal(["sweep", tiny_toml, *SWEEP, "--out", "a"], tmp_path, NO_COLOR="1")
    assert not re.search(rb"\x1b\[[0-9;]*(3|4|9)\d[;m]", plain), "no colour"
    assert b"\x1b[2K" in plain, "but a bar"
    assert b"\x1b" not in terminal(["sweep", tiny_toml, *SWEEP, "--out", "b"], tmp_path, TERM="dumb")
    narrow = terminal(["sweep", tiny_toml, *SWEEP, "--out", "c"], tmp_path, COLUMNS="20")
    assert b"finished in" in narrow


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["FORCE_COLOR=1", "COLUMNS=1"])
def test_a_pipe_gets_no_control_characters(tiny_toml: Path, tmp_path: Path, settings: str) -> None:
    command = f"{settings} {sys.executable} -m resdeg sweep {tiny_toml} {' '.join(SWEEP)} --out out"
    done = shell(command, tmp_path)
    assert done.returncode == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.stdout + done.stderr)
