"""Arms in figures and in the report: their own numbers, in their own places."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from matplotlib.colors import to_rgba

from resdeg.analysis.frame import load_sweep
from resdeg.errors import UsageError
from resdeg.report.kinds import FIGURES
from resdeg.report.page import make_report, render_html, render_markdown
from resdeg.report.style import THEMES
from resdeg.store import SweepStore
from tests.planted import CELLS, planted
from tests.report.browser import laid_out

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


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the Markdown table whose head starts so."""
    table = text[text.index(f"| {title} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_report_sets_each_arm_beside_the_grid(store: SweepStore) -> None:
    report = make_report(load_sweep(store.folder))
    text = render_markdown(report)
    assert rows(text, "networks") == [
        ["the grid", "plain", "8, 20", "71.0\xa0%\xa0at\xa08", "62.0 %", "9.0", "9.0", "-"],
        ["the grid", "residual", "8, 20", "81.0\xa0%\xa0at\xa020", "81.0 %", "0.0", "0.0", "-"],
        ["wide: width 2", "plain", "8, 20", "90.0\xa0%\xa0at\xa08", "90.0 %", "0.0", "0.0",
         "+28.0 (+23.0\xa0to\xa0+33.0) at\xa020"],
        ["wide: width 2", "residual", "8, 20", "90.0\xa0%\xa0at\xa08", "90.0 %", "0.0", "0.0",
         "+9.0 (+6.5\xa0to\xa0+11.5) at\xa020"],
        ["deep_only: lr 0.01", "plain", "20", "75.0\xa0%\xa0at\xa020", "75.0 %", "-", "-",
         "+13.0 (+2.2\xa0to\xa0+23.8) at\xa020"],
    ]  # fmt: skip
    (rate,) = rows(text, "network")
    assert rate[:4] == ["plain-20", "0.1, 0.01", "0.01", "70.0\xa0% (70.0\xa0to\xa070.0)"]
    assert (rate[4][:4], rate[5][:4]) == ("62.0", "75.0")
    shown = report.arms.figure
    assert (
        "wide: width 2. Plain networks, test accuracy: 90.0 % at depth 8, 90.0 % at depth 20." in shown.text
    )
    whole = render_html(report)
    assert shown.text in whole
    assert re.search(r"#[0-9a-f]{6}\b", whole[whole.index("<body>") :]) is None, "colours are the page's"


def test_the_fall_that_chosen_rates_leave_is_said(tmp_path: Path) -> None:
    slow = {"families": ["plain"], "training": {"lr": 0.01}}
    cells = {("plain", 8): [0.8] * 3, ("plain", 20): [0.7, 0.71, 0.72]}
    made = planted(
        tmp_path / "s", CELLS, data={"validation": 5000}, arms={"slow": slow},
        of_arms={"slow": {"accuracy": cells}},
    )  # fmt: skip
    for run_id in made.run_ids():
        run = made.run(run_id)
        config = run.config()
        value = 0.5 + 0.1 * (config.training.lr == 0.01) + 0.05 * (config.depth == 8)
        summary = run.summary().model_copy(update={"validation_accuracy": value})
        (run.folder / "summary.json").write_text(summary.to_json())
    report = make_report(load_sweep(made.folder))
    said = "From depth 8, the best of plain networks by validation, to depth 20 test accuracy falls by "
    for text in (render_markdown(report), unescape(render_html(report))):
        assert f"{said}9.0 points at the chosen rates; at the recipe's, 9.0." in text


def test_an_arm_that_lost_runs_says_so(store: SweepStore) -> None:
    for run_id in store.run_ids():
        run = store.run(run_id)
        if run.config().training.lr == 0.01 and run.config().seed > 0:
            update = {"status": "diverged", "test_accuracy": None, "validation_accuracy": None}
            summary = run.summary().model_copy(update=update)
            (run.folder / "summary.json").write_text(summary.to_json())
    text = render_markdown(make_report(load_sweep(store.folder)))
    assert rows(text, "networks")[-1][2] == "20 (diverged: 20)"
    assert "deep_only: diverged: plain-20 seed 1 and plain-20 seed 2" in text
    assert rows(text, "network")[0][2] == "0.1", "a rate that lost seeds is not chosen"
    assert rows(text, "networks")[-1][-1] == "+10.0 at\xa020", "one seed: no interval"


def test_a_report_without_arms_has_no_such_section(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    report = make_report(load_sweep(tmp_path / "s"))
    assert "## Arms" not in render_markdown(report) + render_html(report)
    assert "Nothing of the grid: every run" in render_markdown(report)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1440])
def test_a_browser_lays_it_out_without_overflow(store: SweepStore, width: int, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(render_html(make_report(load_sweep(store.folder))))
    layout = laid_out(tmp_path / "report.html", width, tmp_path)
    assert (layout["wide"], layout["silent"], layout["empty"], layout["twice"]) == ([], [], [], [])
    assert layout["scrolls"] <= width
    if width == 1440:
        assert layout["tables"] == 0
