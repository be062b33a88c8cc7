"""The textbook loop trains, and a measurement is a ratio of neighbours."""

from __future__ import annotations

import torch

from resdeg.bench.contenders import DATA
from resdeg.bench.measure import _ratio
from resdeg.bench.textbook import TextbookLoop
from resdeg.config import DataConfig, HierarchyConfig, ModelConfig
from resdeg.data import load
from resdeg.models import build_model


def test_the_textbook_loop_trains() -> None:
    rules = HierarchyConfig(
        levels=1, cell=4, symbols=4, synonyms=1, noise=8, train_images=256, test_images=10
    )
    split = load(DataConfig(name="hierarchy", hierarchy=rules)).train
    with torch.random.fork_rng():
        torch.manual_seed(0)
        losses = TextbookLoop(build_model("residual", 8, config=ModelConfig(width=0.5)), split, 32, 0).run(40)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_its_images_are_those_of_the_engine_s_size() -> None:
    assert DATA.hierarchy is not None
    assert DATA.hierarchy.cell * 2**DATA.hierarchy.levels == 32


def test_a_ratio_is_the_median_over_pairs() -> None:
    ratio = _ratio("x", [20.0, 22.0, 60.0], [10.0, 10.0, 20.0])
    assert (ratio.ratio, ratio.low, ratio.high) == (2.2, 2.0, 3.0)
