"""Sweeps of one folder name have different names where they are shown together."""

from __future__ import annotations

from pathlib import Path

import pytest

from resdeg.analysis.frame import load_sweep
from resdeg.analysis.naming import name_apart
from tests.planted import CELLS, planted


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (("a/run", "b/run"), ["a/run", "b/run"]),
        (("a/x/run", "b/x/run"), ["a/.../run", "b/.../run"]),
        (("a/run", "b/other"), ["run", "other"]),
        (("a/run", "a/run"), ["run", "run"]),
        (("a/run", "b/run", "b/other"), ["a/run", "b/run", "other"]),
        (("run", "run/run"), None),
    ],
)
def test_names_differ_by_the_nearest_parent_that_differs(tmp_path: Path, folders, names) -> None:
    for folder in sorted(set(folders)):
        planted(tmp_path / folder, CELLS)
    shown = [sweep.name for sweep in name_apart([load_sweep(tmp_path / folder) for folder in folders])]
    assert shown == ([f"{tmp_path.name}/run", "run/run"] if names is None else names)


def test_a_label_is_the_name_of_the_sweep_and_of_its_arms(tmp_path: Path) -> None:
    planted(
        tmp_path / "s", CELLS, arms={"wide": {"model": {"width": 2.0}}}, of_arms={"wide": {"accuracy": CELLS}}
    )
    (sweep,) = name_apart([load_sweep(tmp_path / "s")], ["mine"])
    assert sweep.name == "mine"
    assert sweep.arms["wide"].name == "mine, wide"
