"""The script tools/step_time.py, run as its users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resdeg.models.fast import library

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "step_time.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def measure(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_operations_account_for_every_convolution() -> None:
    parts = {
        part["name"]: part for part in measure("operations", "--depths", "8", "--steps", "2")[0]["parts"]
    }
    assert parts["convolution, forward"]["calls"] == parts["convolution, backward"]["calls"] == 7
    if library() is None:
        assert parts["batch norm, forward"]["calls"] == parts["batch norm, backward"]["calls"] == 7
        assert parts["activation"]["calls"] == 14, "forward and backward"
    else:
        assert parts["norm and relu, forward"]["calls"] == parts["norm and relu, backward"]["calls"] == 7
        assert "batch norm, forward" not in parts
    assert parts["optimiser"]["calls"] == 1
    assert sum(part["share"] for part in parts.values()) == pytest.approx(1)
    assert parts["convolution, backward"]["share"] > 0


@pytest.mark.slow
def test_two_depths_are_on_a_line() -> None:
    for line in measure("line", "--depths", "8,20", "--rounds", "1", "--steps", "1"):
        assert min(line["seconds"]) > 0
        assert line["r_squared"] == pytest.approx(1)
        assert line["fixed"] + 20 * line["per_layer"] == pytest.approx(line["seconds"][1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depths", "reason"),
    [("8", "a line needs two depths"), ("8,9", "depth=9 is not 6n+2"), ("8,x", "is not a whole number")],
)
def test_depths_without_a_line_are_refused(depths: str, reason: str) -> None:
    refused = run("line", "--depths", depths)
    assert refused.returncode == 2
    assert reason in refused.stderr
