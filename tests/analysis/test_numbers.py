"""Intervals, points and differences, against numbers worked out elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from resdeg.analysis.curve import compute_curve
from resdeg.analysis.ended import find_untrainable
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.metrics import CURVE_METRICS, RUN_METRICS
from resdeg.analysis.stats import mean_interval
from resdeg.config import resolve
from resdeg.errors import UsageError
from resdeg.records import RunSummary
from resdeg.store import RunStore
from tests.planted import CELLS, planted


def test_student_t_interval_of_three() -> None:
    estimate = mean_interval([1.0, 2.0, 4.0])
    # t(.975, 2) = 4.302653; s = sqrt(7/3)
    half = 4.302653 * (7 / 3) ** 0.5 / 3**0.5
    assert estimate.mean == pytest.approx(7 / 3)
    assert (estimate.low, estimate.high) == pytest.approx((7 / 3 - half, 7 / 3 + half))


def test_intervals_cover_the_mean_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    samples = generator.normal(3.0, 2.0, (2000, 3))
    inside = [e.low <= 3.0 <= e.high for e in (mean_interval(list(row)) for row in samples)]
    assert 0.935 <= np.mean(inside) <= 0.965


def test_one_seed_has_no_interval_and_none_has_no_mean() -> None:
    assert mean_interval([0.5]).low is None
    for values in ([], [float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            mean_interval(values)


def test_points_of_a_planted_sweep(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS)
    sweep = load_sweep(tmp_path / "s")
    assert len(sweep.runs) == 12
    points = compute_curve(sweep.runs).set_index(["family", "depth", "metric"])
    point = points.loc[("plain", 20, "test_accuracy")]
    assert (point["mean"], point["seeds"]) == (pytest.approx(0.62), 3)
    assert point["low"] == pytest.approx(0.62 - 4.302653 * 0.02 / 3**0.5)
    assert points.loc[("plain", 20, "train_error")]["mean"] == pytest.approx(0.37)


def test_a_missing_a_diverged_and_a_damaged_run_hide_no_other(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS, missing=1)
    ids = store.run_ids()
    diverged = store.run(ids[0])
    summary = diverged.summary().model_copy(update={"status": "diverged", "test_accuracy": None})
    (diverged.folder / "summary.json").write_text(summary.to_json())
    (store.run(ids[1]).folder / "metrics.jsonl").write_text("rot\n")
    sweep = load_sweep(tmp_path / "s")
    assert sweep.runs["status"].value_counts().to_dict() == {"finished": 9, "missing": 1, "diverged": 1}
    assert len(sweep.problems) == 1
    assert "metrics.jsonl:1: damaged" in sweep.problems[0]
    counted = compute_curve(sweep.runs)
    assert counted[counted["metric"] == "test_accuracy"]["seeds"].sum() == 9


def test_other_settings_in_the_folder_are_not_mixed_in(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    other = resolve(None, {}, [], {"depths": "14", "seeds": "0", "training": {"epochs": 9}}).runs()[0]
    same = resolve(None, {}, [], {"depths": "14", "seeds": "0", "training": {"epochs": 2}}).runs()[0]
    for run in (other, same):
        store.run(run.run_id).folder.mkdir()
        (store.run(run.run_id).folder / "config.json").write_text(run.model_dump_json())
    runs = load_sweep(tmp_path / "s").runs
    assert set(runs["depth"]) == {8, 14, 20}
    assert other.run_id not in set(runs["run_id"])


def test_a_sweep_without_a_record_is_said(tmp_path: Path) -> None:
    planted(tmp_path / "s", CELLS, missing=12)
    with pytest.raises(UsageError, match="no run has a record yet"):
        load_sweep(tmp_path / "s")


def test_an_empty_table_has_the_columns() -> None:
    empty = pd.DataFrame(columns=["status", "family", "depth", "test_accuracy"])
    assert list(compute_curve(empty).columns) == ["family", "depth", "metric", "seeds", "mean", "low", "high"]


def test_recomputed_numbers_have_points_where_they_were_recorded(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", CELLS)
    old = load_sweep(tmp_path / "s")
    assert not [name for name in [*old.runs, *old.metrics] if name.startswith(("recomputed_", "clean_"))]
    run = store.run(next(run_id for run_id in store.run_ids() if run_id.startswith("plain-d20")))
    changed(run, recomputed_train_accuracy=0.75, recomputed_train_loss=0.5)
    points = load_sweep(tmp_path / "s").curve
    recomputed = points[points["metric"].str.startswith("recomputed_")]
    assert recomputed[["family", "depth", "metric", "seeds", "mean"]].to_numpy().tolist() == [
        ["plain", 20, "recomputed_train_accuracy", 1, 0.75], ["plain", 20, "recomputed_train_error", 1, 0.25],
    ]  # fmt: skip
    assert len(points) == len(old.curve) + 2, "and no other point moved"


def changed(run: RunStore, **fields: object) -> None:
    """Rewrite how a planted run ended."""
    (run.folder / "summary.json").write_text(run.summary().model_copy(update=fields).to_json())


def test_untrainable_is_near_chance_in_training_and_degraded_is_not(tmp_path: Path) -> None:
    """Clean training accuracy is test accuracy + .01 here; the limit for ten classes is .235."""
    cells = {
        ("plain", 8): [0.90, 0.90], ("plain", 32): [0.30, 0.56], ("plain", 56): [0.22, 0.228],
        ("plain", 110): [0.21, 0.21], ("residual", 8): [0.20, 0.26], ("residual", 32): [0.90, 0.90],
        ("residual", 56): [0.1, 0.1], ("residual", 110): [0.1, 0.1],
    }  # fmt: skip
    store = planted(tmp_path / "s", cells)
    runs = {name: store.run(name) for name in store.run_ids()}

    def find_runs(cell: str) -> list[RunStore]:
        return [run for name, run in sorted(runs.items()) if name.startswith(f"{cell}-")]

    for run in find_runs("residual-d56"):
        changed(run, status="diverged", train_accuracy=None)
    changed(find_runs("residual-d110")[0], status="diverged", train_accuracy=None)
    changed(find_runs("residual-d110")[1], status="stopped", train_accuracy=None)
    changed(find_runs("plain-d56")[1], status="diverged", train_accuracy=None)
    assert find_untrainable(load_sweep(tmp_path / "s")) == [
        ("plain", 56), ("plain", 110), ("residual", 56), ("residual", 110),
    ]  # fmt: skip


def test_a_published_sweep_is_degraded_and_not_untrainable() -> None:
    demo = load_sweep(Path(__file__).parents[2] / "results" / "delay")
    assert [network for network in find_untrainable(demo) if network[1] > 2] == []


def test_the_table_of_metrics_is_that_of_the_records() -> None:
    """Every accuracy and loss that a run ends with is a column, and every point of the curve has one."""
    recorded = {name for name in RunSummary.model_fields if name.endswith(("_accuracy", "_loss"))}
    assert recorded == {*RUN_METRICS}
    assert len(RUN_METRICS) == len({*RUN_METRICS})
    columns = {name.replace("_error", "_accuracy") for name in CURVE_METRICS}
    assert columns <= recorded
