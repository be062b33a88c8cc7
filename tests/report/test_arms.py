"""Arms in figures and in the report: their own numbers, in their own places."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.colors import to_rgba

from resdeg.analysis.frame import load_sweep
from resdeg.errors import UsageError
from resdeg.report.kinds import FIGURES
from resdeg.report.style import THEMES
from resdeg.store import SweepStore
from tests.planted import CELLS, planted

LOOK = THEMES["light"]
ARMS = {
    "wide": {"model": {"width": 2.0}},
    "deep_only": {"families": ["plain"], "depths": [20], "training": {"lr": 0.01}},
}


ACCURACY = {
    "wide": {cell: [0.9, 0.9, 0.9] for cell in CELLS},
    "deep_only": {("plain", 20): [0.7, 0.75, 0.8]},
}


@pytest.fixture
def store(tmp_path: Path) -> SweepStore:
    """Validation accuracy is 0.6, and 0.7 in `deep_only`."""
    of_arms = {name: {"accuracy": cells} for name, cells in ACCURACY.items()}
    made = planted(tmp_path / "s", CELLS, data={"validation": 5000}, arms=ARMS, of_arms=of_arms)
    for run_id in made.run_ids():
        run = made.run(run_id)
        value = 0.7 if run.config().training.lr == 0.01 else 0.6
        summary = run.summary().model_copy(update={"validation_accuracy": value, "validation_loss": 1.0})
        (run.folder / "summary.json").write_text(summary.to_json())
    return made


def lines(axes, family: str) -> dict[float, list[float]]:
    """The lines of one family by how opaque they are."""
    inks = {to_rgba(line.get_color()): line for line in axes.lines if line.get_linestyle() == "-"}
    own = to_rgba(LOOK.families[family].colour)[:3]
    return {round(ink[3], 1): list(line.get_ydata()) for ink, line in inks.items() if ink[:3] == own}


def test_a_panel_is_the_arm_and_faint_behind_it_the_grid(store: SweepStore) -> None:
    figure = FIGURES["arms"]([load_sweep(store.folder)], LOOK)
    wide, deep = figure.axes
    assert wide.get_title(loc="left") == "wide\nwidth 2"
    assert deep.get_title(loc="left") == "deep_only\nlr 0.01"
    assert lines(wide, "plain") == {0.4: pytest.approx([0.71, 0.62]), 1.0: pytest.approx([0.9, 0.9])}
    assert lines(deep, "plain") == {0.4: pytest.approx([0.71, 0.62]), 1.0: pytest.approx([0.75])}
    assert lines(deep, "residual") == {0.4: pytest.approx([0.71, 0.81])}


def test_a_sweep_without_arms_has_no_such_figure(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    with pytest.raises(UsageError, match="no arm has a record"):
        FIGURES["arms"]([load_sweep(tmp_path / "s")], LOOK)
