"""A wheel installed outside the clone works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import resdeg

ROOT = Path(__file__).parents[1]


PACKED = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "resdeg")


@pytest.mark.slow
@pytest.mark.parametrize("compiler", [True, False])
def test_a_wheel_works_outside_the_clone(tmp_path: Path, compiler: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(["cp", "-r", *(str(ROOT / name) for name in PACKED), source], check=True)
    own = dict(os.environ) if compiler else {**os.environ, "CC": "false", "CXX": "false"}
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    site = tmp_path / "site"
    for arguments in (
        ["wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source)],
        ["install", "--no-deps", "--target", str(site), "resdeg", "--no-index", "-f", str(tmp_path)],
    ):
        subprocess.run([*pip, *arguments], check=True, capture_output=True, cwd=tmp_path, env=own)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"resdeg-{resdeg.__version__}-py3-none-"), (
        "for every Python, on this platform"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    script = "import resdeg; print(resdeg.__file__); from resdeg.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "sweep", "--depths", "8", "--seeds", "0", "--dry-run"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith(str(site))
    assert "residual-d8-s0" in done.stdout
    assert (site / "resdeg" / "py.typed").is_file()
    there = shutil.which(sysconfig.get_config_var("CXX").split()[0]) is not None
    assert bool([*site.glob("resdeg/models/_norm_relu*")]) == (compiler and there)
    told = subprocess.run(
        [sys.executable, "-c", script, "doctor"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"norms      {'with' if compiler and there else 'torch'}" in told.stdout, told.stderr
    table = subprocess.run(
        [sys.executable, "-c", script, "anchors"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert table.returncode == 0, table.stderr
    assert "He et al. 2015" in table.stdout
    assert (site / "bin" / "resdeg").is_file()
