"""What the demo promises, read from its published records: tuning seeds 0-2 and fresh seeds 4-6 apart."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from resdeg.analysis.curve import read_by_seed
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import resolve

ROOT = Path(__file__).parents[1]
METRICS = ("test_accuracy", "train_accuracy")


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return load_sweep(ROOT / "results" / "demo").runs


def difference(runs: pd.DataFrame, metric: str, *networks: tuple[str, int]) -> Estimate:
    """The first network less the second, paired by seed."""
    first, second = (read_by_seed(runs, metric, network=network) for network in networks)
    return mean_interval([float(value) for value in (first - second).dropna()])


def test_the_published_records_are_those_of_the_demo_s_settings() -> None:
    demo = resolve(ROOT / "configs" / "demo.toml", {}, [], {})
    assert load_sweep(ROOT / "results" / "demo").config.settings_id == demo.settings_id
    assert {2, 8, 20} < set(demo.depths)


@pytest.mark.parametrize("seeds", [(0, 1, 2), (4, 5, 6)], ids=["tuned", "fresh"])
def test_the_demo_shows_the_degradation(published: pd.DataFrame, seeds: tuple[int, ...]) -> None:
    runs = published[published["seed"].isin(seeds)]
    deepest = int(runs["depth"].max())
    plain = runs[runs["family"] == "plain"]
    for metric in METRICS:
        means = plain.groupby("depth")[metric].mean()
        best = int(means.idxmax())
        assert min(means.index) < best < deepest
        fall = difference(runs, metric, ("plain", best), ("plain", deepest))
        gap = difference(runs, metric, ("residual", deepest), ("plain", deepest))
        assert fall.seeds == gap.seeds == 3
        assert fall.low is not None
        assert fall.low > 0
        assert gap.low is not None
        assert gap.low > 0
    dead = plain[plain["depth"] == deepest]["train_accuracy"] < 2 * 0.1
    assert not dead.any(), "degraded, not untrainable"
    assert (runs["train_accuracy"] < 1).any()
