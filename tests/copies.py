"""A copy of the package that a page's reader has changed, and programs that run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copy_package(folder: Path) -> None:
    """Copies what a change of the package and its tests need into `folder`."""
    for name in ("resdeg", "tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)


def run_module(folder: Path, *arguments: str) -> str:
    """Runs `python -m` on the copy in `folder`; returns its output, and fails where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
