"""Sweeps whose numbers are drawn about known means, without a record behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from resdeg.analysis.cells import Cells, Needs
from resdeg.analysis.claims import CLAIMS
from resdeg.analysis.findings import judge

DEPTHS = (8, 20, 32, 56)
NOISE = 0.01
FALLS = (0.6, 0.9, 0.8, 0.6)  # accuracies by depth
Truth = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Simulated(Cells):
    """Cells whose numbers are drawn, without a sweep behind them; `beside`: arms by what they change."""

    tables: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    beside: dict[str, dict[str, Simulated]] = field(default_factory=dict)
    of_he: bool = True
    of_relu: bool = True
    dirac: float = 0.0

    @property
    def schedule(self):
        return "short"

    @property
    def of_stargan(self):
        return False

    def training_metrics(self, family):
        return ["train_accuracy", "recomputed_train_accuracy"]

    def arms_that_change(self, *settings):
        return self.beside.get(settings[0], {})

    def branches(self, family, state):
        return self._pivot(family, state)

    def _pivot(self, family, metric):
        return self.tables.get((family, metric), pd.DataFrame())


def simulated(truth: Truth, seeds: int, generator: np.random.Generator) -> Simulated:
    """A sweep of known means: plain, training (of plain) and residual accuracy by depth."""

    def draw(means: tuple[float, ...]) -> pd.DataFrame:
        noise = NOISE * generator.normal(size=(seeds, len(DEPTHS)))
        return pd.DataFrame(np.array(means) + noise, columns=list(DEPTHS))

    clean = draw(truth["training"])
    return Simulated(
        None, (),
        tables={
            ("plain", "test_accuracy"): draw(truth["plain"]),
            ("residual", "test_accuracy"): draw(truth["residual"]),
            ("plain", "train_accuracy"): clean,
            ("plain", "recomputed_train_accuracy"): clean + NOISE / 4 * generator.normal(size=clean.shape),
        },
    )  # fmt: skip


def counted(
    truth: Truth, seeds: int, make: Callable[..., Simulated] = simulated, family: str = "primary"
) -> dict[str, Counter[str]]:
    """Verdicts in 1,000 sweeps, by claim of a family."""
    generator = np.random.default_rng(seeds)
    found: dict[str, Counter[str]] = {name: Counter() for name in CLAIMS}
    for _ in range(1000):
        for name, judged in judge(make(truth, seeds, generator), family).items():
            found[name][str(judged.verdict) if not isinstance(judged, Needs) else "needs"] += 1
    return found


def simulated_causes(truth: Truth, seeds: int, generator: np.random.Generator) -> Simulated:
    """A sweep with arms, of known means.

    truth: `losses`, that from its own start and those of constructed nets; `gain` of identity starts; log2
    ||F|| / ||x|| by depth, `initial`, `final`, and at the end with two other activations, `gelu` and `none`.
    """

    def draw(means: tuple[float, ...]) -> pd.DataFrame:
        noise = NOISE * generator.normal(size=(seeds, len(means)))
        return pd.DataFrame(np.array(means) + noise, columns=list(DEPTHS[-len(means) :]))

    def arm(**tables: tuple[float, ...]) -> Simulated:
        named = {"initial": "residual", "final": "residual"}
        drawn = {(named.get(name, "plain"), name): draw(means) for name, means in tables.items()}
        return Simulated(None, (), tables=drawn, of_relu="final" not in tables, dirac=float(len(tables)))

    own, *constructed = truth["losses"]
    grid = arm(test_accuracy=FALLS, train_loss=(own,), initial=truth["initial"], final=truth["final"])
    gains = tuple(np.array(FALLS) + truth["gain"])
    return replace(
        grid,
        of_relu=True,
        beside={
            "constructed": {str(loss): arm(train_loss=(loss,)) for loss in constructed},
            "model.init": {"identity": arm(test_accuracy=gains)},
            "model.activation": {
                name: arm(initial=truth["initial"], final=truth[name]) for name in ("gelu", "none")
            },
        },
    )
