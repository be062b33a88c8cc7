"""What the report prints beside verdicts: each number against one worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import Verdict
from resdeg.analysis.rules import registered_rules
from resdeg.records import DiagnosticRecord
from resdeg.report.beside import describe_beside, describe_longer_schedules, tabulate_gradients
from resdeg.store import SweepStore
from tests.planted import CELLS, PLANTS, causes, planted

THREE = {("residual", 20): [0.70, 0.71, 0.72]}


def evidence(store: SweepStore) -> Evidence:
    return Evidence(load_sweep(store.folder))


def test_the_depth_of_the_best_training_accuracy_and_the_gain(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", **PLANTS[Verdict.SUPPORTED])
    (training,) = describe_beside("C2", evidence(store))
    assert training == "The best clean training accuracy of plain networks is at depth 20: 95.0 %."
    (gain,) = describe_beside("C3", evidence(store))
    assert gain.startswith("Residual-56 less residual-8: +35.0 (")


def test_the_slope_of_the_gap_and_accuracy_against_lambda(tmp_path: Path) -> None:
    """The gap is 0 at depth 8 and 19 points at 20, 1.32 doublings on: 14.4 points per doubling."""
    arms = {
        name: {"families": "residual", "depths": [20], "model": {"shortcut_scale": scale}}
        for name, scale in (("half", 0.5), ("none", 0.0))
    }
    weaker = {("residual", 20): [0.60, 0.61, 0.62]}
    store = planted(
        tmp_path / "s", CELLS, arms=arms, of_arms={"half": {"accuracy": THREE}, "none": {"accuracy": weaker}}
    )
    slope, scaled = describe_beside("C4", evidence(store))
    assert slope.startswith("The gap, residual less plain, grows by +14.4 (")
    assert scaled == (
        "Test accuracy of residual-20: 61.0 % with lambda 0, 71.0 % with lambda 0.5, 81.0 % with lambda 1."
    )


def test_the_branch_without_its_input(tmp_path: Path) -> None:
    """norm(F) is halved, while norm(F) / norm(x) falls further."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    assert describe_beside("C7", evidence(store)) == []
    for run_id in store.run_ids():
        path = store.run(run_id).folder / "diagnostics.jsonl"
        if run_id.startswith("residual-d20"):
            lines = [
                DiagnosticRecord(
                    kind="identity",
                    state=state,
                    name="branch_norm",
                    value=value,
                    images=1000,
                    block=1,
                    stage=1,
                ).to_json()
                for state, value in (("initial", 8.0), ("final", 4.0))
            ]
            path.write_text(path.read_text() + "\n".join(lines) + "\n")
    (line,) = describe_beside("C7", evidence(store))
    assert line.startswith("norm(F(x)) alone decreases by +1.00 (+1.00 to +1.00) halvings")


def test_the_gradient_at_the_stem_against_that_at_the_last_layer(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    assert tabulate_gradients(load_sweep(store.folder)) is None
    for run_id in store.run_ids():
        run = store.run(run_id).config()
        ratio = {"plain": 100.0, "residual": 2.0}[run.family]
        lines = [
            DiagnosticRecord(
                kind="gradients",
                state=state,
                name="norm",
                value=value * (run.depth / 8),
                images=128,
                layer=layer,
            ).to_json()
            for state in ("initial", "final")
            for layer, value in ((1, ratio if state == "initial" else 1.0), (run.depth - 1, 1.0))
        ]
        (store.run(run_id).folder / "diagnostics.jsonl").write_text("\n".join(lines) + "\n")
    head, rows = tabulate_gradients(load_sweep(store.folder))
    assert list(head) == ["depth", "plain", "residual"]
    assert [list(row) for row in rows] == [["8", "100", "2"], ["20", "100", "2"]]


@pytest.mark.parametrize(("changes", "said"), [({"epochs": 6}, True), ({"lr": 0.01}, False)])
def test_a_longer_schedule_says_what_it_does_to_the_fall(
    changes: dict[str, object], said: bool, tmp_path: Path
) -> None:
    plain = {("plain", 8): [0.80, 0.81, 0.82], ("plain", 20): [0.79, 0.80, 0.81]}
    arms = {"other": {"families": "plain", "training": changes}}
    store = planted(tmp_path / "s", CELLS, arms=arms, of_arms={"other": {"accuracy": plain}})
    lines = describe_longer_schedules(load_sweep(store.folder))
    expected = (
        "A longer schedule, other (epochs 6): test accuracy of plain networks falls by 1.0 points from "
        "depth 8 to 20; in the grid by 9.0, from depth 8 to 20."
    )
    assert lines == ([expected] if said else [])


def test_the_curve_of_an_interim_sweep_says_so(resdeg, tmp_path: Path) -> None:

    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    planted(tmp_path / "s", CELLS, registration=table)
    drawn = json.loads(resdeg("plot", "s", "--json").stdout)
    assert drawn["peak"] == "interim, 3 of 5 seeds"
