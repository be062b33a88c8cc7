"""Sweeps whose numbers are drawn about known means, without a record behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd

from resdeg.analysis.claims import CLAIMS
from resdeg.analysis.evidence import OWN, Evidence, Outcome, Quantity
from resdeg.analysis.judge import Verdict, reach_verdict
from resdeg.analysis.rules import registered_rules
from resdeg.config import SweepConfig, resolve

DEPTHS = (8, 20, 32, 56)
NOISE = 0.01
IMAGES = {"test": 10_000, "train": 50_000, "recomputed": 50_000}
LEVEL = registered_rules().levels["family"]  # Holm gives no claim more of the error than this
Means = dict[str, tuple[float, ...]]  # by "network metric", or by the name of a measured number
Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _scaled(numbers: np.ndarray) -> np.ndarray:
    return NOISE * numbers


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return _scaled(generator.normal(size=shape))


def heavy_tailed(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Student's t on three degrees of freedom, of the same deviation as the others."""
    return _scaled(generator.standard_t(3, size=shape) / np.sqrt(3))


def noisy_deepest(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The deepest network scatters ten times as much, as degraded ones do."""
    return normal(generator, shape) * np.where(np.arange(shape[1]) == shape[1] - 1, 10, 1)


def skewed_deepest(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The deepest network scatters ten times as much, to one side: mostly a little up, seldom far down."""
    numbers = normal(generator, shape)
    numbers[:, -1] = 10 * NOISE * (1 - generator.exponential(size=shape[0]))
    return numbers


def bimodal_deepest(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The deepest network has two ends: a third of its seeds lie twenty noises below the others."""
    numbers = normal(generator, shape)
    numbers[:, -1] += NOISE * np.where(generator.random(shape[0]) < 1 / 3, -20 * 2 / 3, 20 / 3)
    return numbers


NOISES: dict[str, Noise] = {
    "normal": normal,
    "t on 3 degrees of freedom": heavy_tailed,
    "the deepest ten times as noisy": noisy_deepest,
    "the deepest skewed": skewed_deepest,
    "the deepest bimodal": bimodal_deepest,
}

ARMS = {
    "identity": {"families": "plain", "model": {"init": "dirac-mixed", "dirac": 1.0}},
    "orthogonal": {"families": "plain", "model": {"init": "orthogonal"}},
    "constructed": {"families": "plain", "depths": [56], "constructed": {"from_depth": 20}},
    "slower": {"families": "plain", "depths": [56], "constructed": {"from_depth": 20, "lr": 0.01}},
    "linear": {"families": "residual", "depths": [56], "model": {"inner_activation": "none"}},
    "gelu": {"families": "residual", "depths": [56], "model": {"inner_activation": "gelu"}},
}


@cache
def planned(seeds: int) -> SweepConfig:
    """A sweep that plans what every claim but C9 needs."""
    return resolve(None, {}, [], {"depths": list(DEPTHS), "seeds": list(range(seeds)), "arms": ARMS})


@dataclass(frozen=True)
class Simulated(Evidence):
    """Evidence whose numbers are drawn. measured: by name of a number, (seeds, columns)."""

    measured: dict[str, np.ndarray] = field(default_factory=dict)
    named: int | None = None

    @property
    def named_depth(self) -> int | None:
        return self.named

    def losses(self, metric: str) -> dict[str, dict[int, float]]:
        columns = dict(zip((OWN, "constructed", "slower"), self.measured[metric].T, strict=True))
        return {name: dict(enumerate(map(float, column))) for name, column in columns.items()}

    def probes(self) -> tuple[dict[int, list[float]], int]:
        return {seed: list(map(float, row)) for seed, row in enumerate(self.measured["probes"])}, 10_000

    def branches(self, arm: str, depth: int, *, name: str = "branch") -> dict[int, dict[object, float]]:
        states = ("initial", 100, 200, 300, "final")
        numbers = self.measured[arm or "relu"]
        return {seed: dict(zip(states, map(float, row), strict=True)) for seed, row in enumerate(numbers)}

    def branch_rows(self, arm: str, depth: int, *, name: str = "branch") -> pd.DataFrame:
        return pd.DataFrame(columns=["seed", "state", "images", "value"])


def simulated(
    means: Means, seeds: int, generator: np.random.Generator, noise: Noise = normal, named: int | None = None
) -> Simulated:
    """Evidence of known means: accuracies by depth of "network metric", other numbers by their name."""
    config = planned(seeds)
    drawn = {name: np.array(row) + noise(generator, (seeds, len(row))) for name, row in means.items()}
    accuracies = {name: numbers for name, numbers in drawn.items() if " " in name}
    sweep = SimpleNamespace(config=config, arms={}, runs=None)
    evidence = Simulated(
        sweep, measured={n: rows for n, rows in drawn.items() if n not in accuracies}, named=named
    )
    outcomes = {}
    for name, numbers in accuracies.items():
        network, metric = name.split()
        for column, depth in enumerate(DEPTHS):
            values = numbers[:, column].clip(0, 1).tolist()
            outcomes[Quantity(network, depth, metric)] = {
                seed: Outcome(value, True, IMAGES[metric]) for seed, value in enumerate(values)
            }
    vars(evidence).update(
        outcomes=outcomes,
        arms=dict.fromkeys(ARMS),
        interim=None,
        schedule="short",
        deeper_plain_died=False,
    )
    return evidence


def supported(
    claim: str,
    means: Means,
    seeds: int,
    noise: Noise,
    sweeps: int,
    generator_seed: int,
    named: int | None = None,
) -> int:
    """In how many sweeps a claim is SUPPORTED, with the whole error of its family: Holm gives it no more."""
    return sum(
        said is Verdict.SUPPORTED
        for said in said_of(claim, means, seeds, noise, sweeps, generator_seed, named)
    )


def said_of(
    claim: str,
    means: Means,
    seeds: int,
    noise: Noise,
    sweeps: int,
    generator_seed: int,
    named: int | None = None,
) -> Iterator[Verdict]:
    generator = np.random.default_rng([generator_seed, seeds])
    for _ in range(sweeps):
        yield reach_verdict(CLAIMS[claim].effect(simulated(means, seeds, generator, noise, named)), LEVEL)


# ---------------------------------------------------------------- truths on the boundary, and far from it

FALL = registered_rules().fall["short"]
FAR = 4 * NOISE


def _same(deep: float, shallow: float) -> tuple[float, ...]:
    """One number at every depth but the deepest, and another there."""
    return (shallow, shallow, shallow, deep)


def _falls(fall: float, left: float, gap: float, network: str, training: float = 0.3) -> Means:
    """Plain networks that fall from every depth; another network falls by `left`, and ends `gap` above."""
    return {
        "plain test": _same(0.8 - fall, 0.8),
        "plain train": _same(0.9 - training, 0.9),
        "plain recomputed": _same(0.9 - training, 0.9),
        f"{network} test": _same(0.8 - fall + gap, 0.8 - fall + gap + left),
    }


WIDE = 0.3  # a fall that is far from every margin
_IDENTITY = {"orthogonal test": _same(0.8 - WIDE, 0.8)}  # an orthogonal start that takes nothing away
BOUNDARIES: dict[str, tuple[str, Means]] = {
    "C1, rise": ("C1", {"plain test": (0.7, 0.71, 0.71, 0.5)}),
    "C1, rise at one depth": ("C1", {"plain test": (0.7, 0.71, 0.5, 0.3)}),
    "C1, fall": ("C1", {"plain test": (0.5, 0.8, 0.8, 0.8 - FALL)}),
    "C2, fall": ("C2", _falls(FALL, 0, 0.3, "residual")),
    "C2, training": ("C2", _falls(WIDE, 0, 0.3, "residual") | {"plain train": _same(0.9 - WIDE / 2, 0.9)}),
    "C2, recomputed": (
        "C2", _falls(WIDE, 0, 0.3, "residual") | {"plain recomputed": _same(0.9 - WIDE / 2, 0.9)},
    ),
    "C3, every depth": ("C3", {"residual test": _same(0.8 - FALL, 0.8)}),
    "C3, one depth": ("C3", {"residual test": (0.6, 0.8, 0.65, 0.8 - FALL)}),
    "C4, fall": ("C4", _falls(FALL, 0, 0.3, "residual")),
    "C4, what is left": ("C4", _falls(WIDE, WIDE / 2, 0.25, "residual")),
    "C4, gap": ("C4", _falls(WIDE, 0, WIDE / 2, "residual")),
    "C10, fall": ("C10", _falls(FALL, -0.3, 0.2, "identity") | {"orthogonal test": _same(0.5, 0.8)}),
    "C10, what is left": (
        "C10", _falls(WIDE, WIDE / 2, 0.25, "identity") | {"orthogonal test": _same(0.3, 0.8)},
    ),
    "C10, gap": ("C10", _falls(WIDE, 0, WIDE / 2, "identity") | _IDENTITY),
    "C10, orthogonal": ("C10", _falls(WIDE, 0, 0.25, "identity") | {"orthogonal test": _same(0.65, 0.8)}),
    "C5": ("C5", {"train_loss": (0.5, 0.49, 0.49), "recomputed_train_loss": (0.9, 0.49, 0.49)}),
    "C6": ("C6", {"probes": (0.61, 0.61, 0.61, 0.6)}),
    "C7": ("C7", {"relu": (1.0, 0.5, 0.4, 0.3, 0.0)}),
    "C8": ("C8", {
        "relu": (1.0, 0.5, 0.5, 0.5, 0.5), "linear": (1.0, 0.75, 0.75, 0.75, 0.75), "gelu": (1.0,) * 5,
    }),
}  # fmt: skip

BEYOND: dict[str, Means] = {
    "C1": {"plain test": (0.6, 0.61 + FAR, 0.61 + FAR, 0.61 - FALL)},
    "C2": _falls(WIDE, 0, 0.3, "residual")
    | {"plain train": _same(0.9 - WIDE / 2 - FAR, 0.9), "plain recomputed": _same(0.9 - WIDE / 2 - FAR, 0.9)},
    "C3": {"residual test": _same(0.8 - FALL + FAR, 0.8)},
    "C4": _falls(WIDE, WIDE / 2 - FAR, WIDE / 2 + FAR, "residual"),
    "C10": _falls(WIDE, WIDE / 2 - FAR, WIDE / 2 + FAR, "identity")
    | {"orthogonal test": _same(0.8 - (3 * WIDE / 4 - FAR / 2) - FAR, 0.8)},
    "C5": {"train_loss": (0.49 + FAR + 0.02, 0.49, 0.49), "recomputed_train_loss": (0.5 + FAR, 0.49, 0.49)},
    "C6": {"probes": (0.61 + FAR, 0.6, 0.6, 0.6)},
    "C7": {"relu": (1.0 + FAR, 0.5, 0.4, 0.3, 0.0)},
    "C8": {
        "relu": (1.0, *[0.5] * 4), "linear": (1.0, *[0.75 + FAR] * 4), "gelu": (1.0, *[0.75 + FAR] * 4),
    },
}  # fmt: skip
