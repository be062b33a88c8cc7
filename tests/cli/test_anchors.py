"""`resdeg anchors`: what is printed, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.test_anchors import full
from tests.planted import CELLS, planted

ROOT = Path(__file__).parents[2]


def block(page: str, title: str) -> dict[str, list[str]]:
    """The rows of a table by name, their columns apart by two spaces or more."""
    lines = page.split(title + "\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return {parts[0]: parts[1:] for parts in (re.split(r"  +", line.strip()) for line in lines)}


def test_in_an_empty_folder_the_published_numbers_stand_alone(resdeg) -> None:
    done = resdeg("anchors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ours" not in done.stdout
    rows = block(done.stdout, "test error in %, plain")
    assert rows["He et al. 2015"] == ["9.68[D]", "10.12[D]", "11.43[D]", "13.25[D]", ">60[D]"]
    assert rows["wooyeolBaek"] == ["9.74", "10.41", "11.73", "11.86*"]
    assert rows["band"] == ["8.7-9.9", "9.4-10.6", "11.3-12.1", "11.8-13.3", ">60"]
    assert block(done.stdout, "test error in %, residual")["nabla0001/resnet"][0] == "8.51(0.22)"
    assert "gradient clipping" in done.stdout
    assert "best epoch on test" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_full_sweep_is_set_beside_them(resdeg, tmp_path: Path) -> None:
    full(tmp_path / "s")
    done = resdeg("anchors", "s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("s: 64,000 steps of batch 128, fp32; last epoch\n")
    plain, residual = (block(done.stdout, f"test error in %, {f}") for f in ("plain", "residual"))
    assert plain["ours"] == ["9.50", "14.00", "-", "-", "-"]
    assert " ".join(plain["95 % interval"]) == "8.26-10.74 11.52-16.48"
    assert plain["where it lies"] == ["in band", "above", "-", "-", "-"]
    assert residual["seeds"] == ["3", "1 of 3", "not in it", "not in it", "not in it"]
    assert residual["where it lies"][:2] == ["in band", "below"]
    assert block(done.stdout, "training error in %, plain")["ours"][0] == "9.50"
    assert max(map(len, done.stdout.splitlines())) <= 80
    told = json.loads(resdeg("anchors", "s", "--json").stdout)
    assert len(told["published"]) == 75
    first = told["comparison"]["cells"][0]
    assert (first["family"], first["depth"], first["placed"]) == ("plain", 20, "in band")
    assert first["ours"]["mean"] == pytest.approx(0.095)


def test_a_short_sweep_is_refused_and_the_published_numbers_are_not(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "results" / "local" / "short", CELLS)
    (tmp_path / "results" / "local" / "last-sweep").write_text("results/local/short\n")
    for arguments in ((), ("results/local/short",)):
        done = resdeg("anchors", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        first, second = done.stderr.splitlines()
        assert "2 epochs (781 steps) of batch 128, theirs is 64,000 steps of batch 128" in first
        assert "resdeg anchors --published" in second
    alone = resdeg("anchors", "--published")
    assert alone.returncode == 0
    assert "He et al. 2015" in alone.stdout
    assert json.loads(resdeg("anchors", "--published", "--json").stdout)["comparison"] is None
    assert resdeg("anchors", "--published", "results/local/short").returncode == 2
    assert "does not exist" in resdeg("anchors", "nowhere").stderr


def test_a_short_sweep_is_refused_before_its_first_record(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, missing=12)
    assert "theirs is 64,000 steps" in resdeg("anchors", "s").stderr
    planted(tmp_path / "full", CELLS, missing=12, training={"recipe": "he2015"})
    assert "no run has a record yet" in resdeg("anchors", "full").stderr


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["| head -n 3", "| cat"])
def test_it_is_readable_on_a_narrow_pipe(tmp_path: Path, ending: str) -> None:
    """80 columns and ASCII whatever the terminal says; a reader that leaves is no error."""
    line = f"set -o pipefail; COLUMNS=40 PYTHONUTF8=0 LC_ALL=C {sys.executable} -m resdeg anchors {ending}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode("ascii").splitlines()
    assert shown[0] == "test error in %, plain"
    assert max(map(len, shown)) <= 80
