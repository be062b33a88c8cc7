"""A reader that leaves, a closed stream: no traceback, and the sweep goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted import planted

RESDEG = f"{sys.executable} -m resdeg"


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """By bash, with the code of the first program of the pipe."""
    line = f"set -o pipefail; {command}"
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_status_into_a_reader_that_leaves(tmp_path: Path) -> None:
    cells = {(family, depth): [0.5] * 10 for family in ("plain", "residual") for depth in range(8, 140, 6)}
    planted(tmp_path / "many", cells)
    done = shell(f"{RESDEG} status many | head -n 1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["2>&1 | head -n 1", "2>&1 | tee told.txt", "2>&-", ">&-", "<&-"])
def test_a_sweep_outlives_its_reader(resdeg, tiny_toml: Path, tmp_path: Path, ending: str) -> None:
    done = shell(f"{RESDEG} sweep {tiny_toml} --depths 2,8 --seeds 0 --out out {ending}", tmp_path)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    rows = json.loads(resdeg("status", "out", "--json").stdout)["rows"]
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert (tmp_path / "out" / "curve.png").is_file()
    if "tee" in ending:
        assert "finished in" in (tmp_path / "told.txt").read_text()
