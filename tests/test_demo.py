"""What the demo promises, read from its published records and from seeds that had no part in its choice."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from resdeg.analysis.curve import read_by_seed
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.stats import Estimate, mean_interval
from resdeg.config import resolve
from tests.steadiness import CLAIMS, DRAWS, FOLDER, count_verdicts

ROOT = Path(__file__).parents[1]
METRICS = ("test_accuracy", "train_accuracy")
TABLES = {
    "published": lambda: load_sweep(FOLDER).runs,
    "fresh": lambda: pd.read_csv(FOLDER / "fresh-runs.csv").query("grammar == 2"),
}


@pytest.fixture(scope="module", params=TABLES)
def runs(request: pytest.FixtureRequest) -> pd.DataFrame:
    return TABLES[request.param]()


def difference(runs: pd.DataFrame, metric: str, *networks: tuple[str, int]) -> Estimate:
    """The first network less the second, paired by seed."""
    first, second = (read_by_seed(runs, metric, network=network) for network in networks)
    return mean_interval([float(value) for value in (first - second).dropna()])


def test_the_published_records_are_those_of_the_demo_s_settings() -> None:
    demo, published = resolve(ROOT / "configs" / "demo.toml", {}, [], {}), load_sweep(FOLDER)
    assert published.config.settings_id == demo.settings_id
    assert (published.config.depths, published.config.seeds) == (demo.depths, demo.seeds)
    assert (published.runs["status"] == "finished").all()


def test_the_demo_shows_the_degradation(runs: pd.DataFrame) -> None:
    deepest = int(runs["depth"].max())
    for metric in METRICS:
        for first, second in (
            (("plain", 8), ("plain", deepest)),
            (("residual", deepest), ("plain", deepest)),
        ):
            apart = difference(runs, metric, first, second)
            assert apart.seeds >= 5
            assert apart.low is not None
            assert apart.low > 0.2


def test_the_fall_is_gradual(runs: pd.DataFrame) -> None:
    """Each plain network is worse than the shallower ones with a block, and depth 20 lies between."""
    plain = runs[(runs["family"] == "plain") & (runs["depth"] > 2)]
    for metric in METRICS:
        means = plain.groupby("depth")[metric].mean()
        assert list(means) == sorted(means, reverse=True)
        assert means[26] + 0.1 < means[20] < means[8] - 0.05


def test_no_network_with_a_block_is_untrainable(runs: pd.DataFrame) -> None:
    assert runs[runs["depth"] > 2]["train_accuracy"].min() > 0.1 + 0.15 * 0.9


@pytest.mark.slow
def test_the_demo_s_verdicts_are_steady() -> None:
    """Any seven of 25 fresh seeds give the same four verdicts, nearly always, on each of three grammars."""
    published = pd.read_csv(FOLDER / "steadiness.csv")
    pd.testing.assert_frame_equal(count_verdicts(DRAWS), published)
    assert set(published["grammar"]) == {0, 1, 2}
    most = published.groupby(["claim", "grammar"])["share"].max()
    assert len(most) == len(CLAIMS) * 3
    assert most.min() >= 0.95
