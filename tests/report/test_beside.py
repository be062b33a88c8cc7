"""What the report prints beside verdicts: each number against one worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import Verdict
from resdeg.analysis.rules import registered_rules
from resdeg.records import DiagnosticRecord
from resdeg.report.beside import describe_beside, describe_other_lengths, tabulate_gradients
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


SEVEN = {
    (family, depth): [accuracy + 0.001 * ((seed + depth) % 5) for seed in range(7)]
    for family, accuracies in {"plain": (0.78, 0.83, 0.56), "residual": (0.78, 0.85, 0.87)}.items()
    for depth, accuracy in zip((8, 20, 56), accuracies, strict=True)
}


def test_runs_that_diverged_are_in_no_line_and_are_counted(tmp_path: Path) -> None:
    """The lines have the numbers of the curve, where a guess of 10 % for each lost run would move them."""
    lost = {("plain", 56): {1, 3, 5}, ("residual", 56): {2}}
    store = planted(tmp_path / "s", SEVEN, diverged=lost)
    deep = [SEVEN["plain", 56][seed] for seed in (0, 2, 4, 6)]
    best = sum(SEVEN["plain", 20]) / 7
    (fall,) = describe_beside("C1", evidence(store))
    assert f"at depth 20, the best with a block, to {100 * sum(deep) / 4:.1f} % at 56: by " in fall
    assert fall.endswith(f"by {100 * (best - sum(deep) / 4):.1f} points. 3 runs that diverged are left out.")
    (training,) = describe_beside("C2", evidence(store))
    assert training.endswith(" %. 3 runs that diverged are left out.")
    (gain,) = describe_beside("C3", evidence(store))
    gains = [SEVEN["residual", 56][seed] - SEVEN["residual", 8][seed] for seed in (0, 1, 3, 4, 5, 6)]
    assert gain.startswith(f"Residual-56 less residual-8: +{100 * sum(gains) / 6:.1f} (")
    assert gain.endswith("1 run that diverged is left out.")
    (slope,) = describe_beside("C4", evidence(store))
    doublings = np.log2([8, 20, 56])
    slopes = [
        np.polyfit(doublings, [SEVEN["residual", d][s] - SEVEN["plain", d][s] for d in (8, 20, 56)], 1)[0]
        for s in (0, 4, 6)
    ]
    assert f"grows by +{100 * np.mean(slopes):.1f} (" in slope
    assert slope.endswith("per doubling of the depth. 4 runs that diverged are left out.")


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([0.5, 0.51, 0.49], "nats: it is better."),
        ([1.5, 1.51, 1.49], "nats: it is worse."),
        ([1.005, 1.0051, 1.0049], "nats: as good, to 0.010 nats."),
        ([0.3, 1.6, 0.9], "nats: no difference is shown."),
        ([0.5], "\N{MINUS SIGN}0.500 nats."),
    ],
)
def test_a_copy_is_set_beside_the_shallow_network(losses: list[float], words: str, tmp_path: Path) -> None:
    """Its clean training loss is known to an interval only, and that of plain-8 is 1 in every seed."""
    plain = {("plain", depth): [0.8] * len(losses) for depth in (8, 20)}
    arms = {"copy": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8}}}
    own = {"accuracy": plain, "losses": {("plain", 20): losses}}
    store = planted(tmp_path / "s", plain, arms=arms, of_arms={"copy": own})
    (line,) = describe_beside("C5", evidence(store))
    assert line.startswith("copy: clean training loss less that of plain-8 trained for the same steps ")
    assert line.endswith(words)


def test_a_copy_that_diverged_is_left_out(tmp_path: Path) -> None:
    plain = {("plain", depth): [0.8] * 4 for depth in (8, 20)}
    arms = {"copy": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8}}}
    losses = {("plain", 20): [0.5, 0.51, 0.49, 0.5]}
    own = {"accuracy": plain, "losses": losses, "diverged": {("plain", 20): {1}}}
    store = planted(tmp_path / "s", plain, arms=arms, of_arms={"copy": own}, diverged={("plain", 8): {3}})
    (line,) = describe_beside("C5", evidence(store))
    assert "\N{MINUS SIGN}0.505 (" in line
    assert line.endswith("nats: it is better. 2 runs that diverged are left out.")


def test_a_copy_of_which_no_run_has_ended_has_no_line(tmp_path: Path, resdeg) -> None:
    """Its arm has a record, because a run has finished an epoch."""
    plain = {("plain", depth): [0.8] * 3 for depth in (8, 20)}
    arms = {"copy": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8}}}
    store = planted(tmp_path / "s", plain, arms=arms, of_arms={"copy": {"accuracy": plain}})
    for run in load_sweep(store.folder).config.arm_sweeps["copy"].grid():
        (store.run(run.run_id).folder / "summary.json").unlink()
    assert describe_beside("C5", evidence(store)) == []
    done = resdeg("report", store.folder)
    assert done.returncode == 0, done.stderr


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
    lines = describe_other_lengths(load_sweep(store.folder))
    expected = (
        "A longer schedule, other (epochs 6): test accuracy of plain networks falls by 1.0 points from "
        "depth 8 to 20; in the grid by 9.0, from depth 8 to 20."
    )
    assert lines == ([expected] if said else [])


@pytest.mark.parametrize(
    ("epochs", "deep", "expected"),
    [
        (
            1,
            0.79,
            "A shorter schedule, other (epochs 1): test accuracy of plain networks falls by 1.0 points",
        ),
        (
            6,
            0.85,
            "A longer schedule, other (epochs 6): no depth of plain networks has a higher test accuracy than "
            "the deepest, 20; in the grid it falls by 9.0 points from depth 8 to 20.",
        ),
    ],
)
def test_another_length_is_called_what_it_is(epochs: int, deep: float, expected: str, tmp_path: Path) -> None:
    """The residual networks fall neither in the grid nor in the arm, so they have no line."""
    accuracy = CELLS | {("plain", 8): [0.8] * 3, ("plain", 20): [deep] * 3}
    arms = {"other": {"training": {"epochs": epochs}}}
    store = planted(tmp_path / "s", CELLS, arms=arms, of_arms={"other": {"accuracy": accuracy}})
    (line,) = describe_other_lengths(load_sweep(store.folder))
    assert line.startswith(expected)


def test_a_grid_that_does_not_fall_beside_a_length_that_does(tmp_path: Path) -> None:
    accuracy = {("residual", 8): [0.8] * 3, ("residual", 20): [0.7] * 3}
    arms = {"brief": {"families": "residual", "training": {"epochs": 1}}}
    store = planted(tmp_path / "s", CELLS, arms=arms, of_arms={"brief": {"accuracy": accuracy}})
    (line,) = describe_other_lengths(load_sweep(store.folder))
    assert line == (
        "A shorter schedule, brief (epochs 1): test accuracy of residual networks falls by 10.0 points from "
        "depth 8 to 20; in the grid no depth has a higher one than the deepest, 20."
    )


def test_depths_that_are_alike_are_no_fall(tmp_path: Path) -> None:
    alike = {("plain", depth): [0.8] * 3 for depth in (8, 20, 56)}
    store = planted(tmp_path / "s", alike)
    (fall,) = describe_beside("C1", evidence(store))
    assert fall == "The deepest plain network, 56, is as good as the best with a block."
    (training,) = describe_beside("C2", evidence(store))
    assert training == (
        "The best clean training accuracy of plain networks is at depths 8, 20 and 56: 81.0 %."
    )


def test_the_curve_of_an_interim_sweep_says_so(resdeg, tmp_path: Path) -> None:

    rules = registered_rules()
    table = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    planted(tmp_path / "s", CELLS, registration=table)
    drawn = json.loads(resdeg("plot", "s", "--json").stdout)
    assert drawn["peak"] == "interim, 3 of 5 seeds"
